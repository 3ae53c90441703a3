package logtotest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"
)

const (
	sessionCookie     = "_session"
	interactionCookie = "_interaction_" // the ID of the application follows

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
	// applications are those that were signed in to, by ID.
	applications map[string]*participant
}

// participant is an application within a session.
type participant struct {
	// sid is the same for all sign-ins of the application in this session, and
	// another one for each application.
	sid   string
	grant *grant
}

// grant is what the user gave to an application in one session. All sign-ins
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

// grantFor returns the application's grant, or nil. The lock is held.
func (s *session) grantFor(appID string) *grant {
	if p := s.applications[appID]; p != nil && !p.grant.revoked {
		return p.grant
	}
	return nil
}

// join makes the application a participant with a grant for the request. The
// lock is held.
func (s *session) join(request authorizationRequest) *participant {
	p := s.applications[request.app.ID]
	if p == nil {
		p = &participant{sid: randomToken(), grant: &grant{}}
		s.applications[request.app.ID] = p
	}
	if p.grant.revoked {
		p.grant = &grant{}
	}
	p.grant.extend(request)
	return p
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
	consented bool   // to a third-party application
	// onlyConsent says that the user was signed in when it began.
	onlyConsent bool
	// joined says that the browser's session is the user's by now.
	joined bool
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
// another user ends, and the applications in it are told.
func (s *Server) signIn(w http.ResponseWriter, previous *session, userID string) *session {
	now := s.clock()
	current := &session{
		id: randomToken(), userID: userID, signedInAt: now, expiresAt: now.Add(sessionLifetime),
		applications: map[string]*participant{},
	}
	s.mu.Lock()
	var replaced *session
	if previous != nil && previous.userID == userID {
		delete(s.sessions, previous.id)
		previous.id, previous.signedInAt, previous.expiresAt = current.id, current.signedInAt, current.expiresAt
		current = previous
	} else {
		replaced = previous
	}
	s.sessions[current.id] = current
	s.mu.Unlock()
	if replaced != nil {
		s.end(replaced)
	}
	setCookie(w, sessionCookie, current.id)
	return current
}

// end tells the applications of the session, and keeps grants with
// offline_access alive: such tokens survive a sign-out at Logto until they are
// revoked.
func (s *Server) end(ended *session) {
	s.mu.Lock()
	wasEnded := ended.ended
	ended.ended = true
	delete(s.sessions, ended.id)
	told := map[string]string{}
	for id, p := range ended.applications {
		told[id] = p.sid
		if !p.grant.offline {
			p.grant.revoked = true
		}
	}
	s.mu.Unlock()
	if !wasEnded {
		s.sendLogoutTokens(ended.userID, told)
	}
}

// forgetUser makes every token of the user worthless and ends the user's
// sessions, without telling anybody: that is what a suspension does.
func (s *Server) forgetUser(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, found := range s.sessions {
		if found.userID == userID {
			found.ended = true
			delete(s.sessions, id)
		}
	}
	for _, tokens := range []map[string]*issuedToken{s.accessTokens, s.refreshTokens} {
		for _, token := range tokens {
			if token.source.userID == userID {
				token.source.grant.revoked = true
			}
		}
	}
}

// currentInteraction is the one that a sign-in page is shown for.
func (s *Server) currentInteraction(r *http.Request) *interaction {
	cookie, err := r.Cookie(interactionCookie + r.URL.Query().Get("app_id"))
	if err != nil {
		return nil
	}
	return s.interactionOf(r, cookie.Value)
}

// interactionOf returns the interaction if this browser has started it.
func (s *Server) interactionOf(r *http.Request, uid string) *interaction {
	now := s.clock()
	s.mu.Lock()
	found := s.interactions[uid]
	s.mu.Unlock()
	if found == nil || now.After(found.expiresAt) {
		return nil
	}
	cookie, err := r.Cookie(interactionCookie + found.request.app.ID)
	if err != nil || cookie.Value != uid {
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
func setLogtoCookie(w http.ResponseWriter, appID string) {
	w.Header().Add("Set-Cookie", `_logto={"appId":"`+appID+`"}; Path=/; HttpOnly; SameSite=Lax`)
}
