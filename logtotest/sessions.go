package logtotest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"
)

const (
	sessionCookie     = "_session"
	interactionCookie = "_interaction"

	sessionLifetime     = 14 * 24 * time.Hour
	interactionLifetime = time.Hour
)

// session is one browser's sign-in at the provider.
type session struct {
	id         string
	userID     string
	signedInAt time.Time
	expiresAt  time.Time
	ended      bool
	grant      *grant
}

// grant is what the user gave to the application in one session. All sign-ins
// of the session share it, so that revoking it ends them all.
type grant struct {
	scopes, resources []string
	offline           bool
	revoked           bool
}

func (g *grant) covers(request authorizationRequest) bool {
	return containsAll(g.scopes, request.scopes) && containsAll(g.resources, request.resources)
}

func (g *grant) extend(request authorizationRequest) {
	g.scopes = append(g.scopes, request.scopes...)
	g.resources = append(g.resources, request.resources...)
	g.offline = g.offline || slices.Contains(request.scopes, "offline_access")
}

func containsAll(set, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(value string) bool { return !slices.Contains(set, value) })
}

// interaction is a sign-in that waits for the user to fill in a page.
type interaction struct {
	uid       string
	request   authorizationRequest
	expiresAt time.Time
	userID    string // once the user has signed in
}

func randomToken() string {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return base64url.EncodeToString(random)
}

// currentSession also prolongs the session, as each visit at Logto does.
func (s *Server) currentSession(r *http.Request) *session {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.sessions[cookie.Value]
	if found == nil || now.After(found.expiresAt) {
		return nil
	}
	found.expiresAt = now.Add(sessionLifetime)
	return found
}

// signIn gives the session a new id, against session fixation; a session of
// another user ends.
func (s *Server) signIn(w http.ResponseWriter, previous *session, userID string) *session {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	current := &session{id: randomToken(), userID: userID, signedInAt: now, expiresAt: now.Add(sessionLifetime)}
	if previous != nil && previous.userID == userID {
		delete(s.sessions, previous.id)
		previous.id, previous.signedInAt, previous.expiresAt = current.id, current.signedInAt, current.expiresAt
		current = previous
	} else if previous != nil {
		s.end(previous)
	}
	s.sessions[current.id] = current
	setCookie(w, sessionCookie, current.id)
	return current
}

// end keeps a grant with offline_access alive: such tokens survive a sign-out
// at Logto until they are revoked. It needs the lock.
func (s *Server) end(ended *session) {
	ended.ended = true
	delete(s.sessions, ended.id)
	if ended.grant != nil && !ended.grant.offline {
		ended.grant.revoked = true
	}
}

func (s *Server) currentInteraction(r *http.Request) *interaction {
	cookie, err := r.Cookie(interactionCookie)
	if err != nil {
		return nil
	}
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.interactions[cookie.Value]
	if found == nil || now.After(found.expiresAt) {
		return nil
	}
	return found
}

func setCookie(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", SameSite: http.SameSiteLaxMode, HttpOnly: true})
}

func clearCookie(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, SameSite: http.SameSiteLaxMode, HttpOnly: true})
}

// setLogtoCookie writes the header by hand, because http.SetCookie would drop
// the raw double quotes that Logto's cookie is known for.
func (s *Server) setLogtoCookie(w http.ResponseWriter) {
	w.Header().Add("Set-Cookie", `_logto={"appId":"`+s.appID+`"}; Path=/; HttpOnly; SameSite=Lax`)
}
