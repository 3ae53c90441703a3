package logtotest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"github.com/logtogin/logtogin/logtotest/internal/jose"
)

// session is one browser's sign-in at the provider. The ID in the browser's cookie changes with
// each interaction; the session and the sids and grants of its applications stay.
type session struct {
	userID     string // "" if the session is anonymous; never changes
	signedInAt time.Time
	expiresAt  time.Time
	ended      bool
	// ids are the IDs by which a cookie finds the session, one for each row in Server.sessions.
	// Requests of one browser that change the ID at the same time leave more than one.
	ids []string
	// applications were signed in to, by ID.
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
	scopes      []string            // of the provider
	permissions map[string][]string // by the indicator of the resource
	offline     bool
	revoked     bool
	expiresAt   time.Time
}

// grantLifetime is counted from the first authorization, however often the grant is used.
const grantLifetime = 180 * 24 * time.Hour

func newGrant(now time.Time) *grant {
	return &grant{permissions: map[string][]string{}, expiresAt: now.Add(grantLifetime)}
}

func (g *grant) isAlive(now time.Time) bool { return !g.revoked && !now.After(g.expiresAt) }

// covers ignores resources of which nothing is asked: Logto grants them without a question.
func (g *grant) covers(scopes []string, permissions map[string][]string) bool {
	for resource, wanted := range permissions {
		if !containsAll(g.permissions[resource], wanted) {
			return false
		}
	}
	return containsAll(g.scopes, scopes)
}

func (g *grant) extend(scopes []string, permissions map[string][]string) {
	g.scopes = append(g.scopes, scopes...)
	for resource, granted := range permissions {
		g.permissions[resource] = append(g.permissions[resource], granted...)
	}
	g.offline = g.offline || slices.Contains(scopes, "offline_access")
}

// granted returns which of the requested scopes the grant has, for the requested resources.
func (g *grant) granted(request authorizationRequest) []string {
	all := slices.Clone(g.scopes)
	for _, resource := range request.resources {
		all = append(all, g.permissions[resource]...)
	}
	return intersection(request.scopes, all)
}

// join makes the application a participant with a grant. The lock is held.
func (s *session) join(appID string, now time.Time) *participant {
	p := s.applications[appID]
	if p == nil {
		p = &participant{sid: randomToken(), grant: newGrant(now)}
		s.applications[appID] = p
	}
	if !p.grant.isAlive(now) {
		p.grant = newGrant(now)
	}
	return p
}

func randomToken() string {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return jose.Encode(random)
}

// visit is what a request has read by its session cookie. Another request may delete the row
// before the answer is written.
type visit struct {
	id      string   // of the row
	session *session // nil without a cookie, and a new anonymous one with a stale cookie
}

// signedIn is nil unless the session is a user's.
func (v visit) signedIn() *session {
	if v.session == nil || v.session.userID == "" {
		return nil
	}
	return v.session
}

// readVisit changes nothing; writeVisit does.
func (s *Server) readVisit(r *http.Request) visit {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return visit{}
	}
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.sessions[cookie.Value]
	if found == nil || now.After(found.expiresAt) {
		return visit{id: randomToken(), session: &session{}}
	}
	return visit{id: cookie.Value, session: found}
}

// writeVisit stores the session under this ID in place of the ID that was read, prolongs it and
// sets the cookie. It ignores what other requests have written since the read. So a request with
// a stale cookie replaces the good cookie that the answer to another request has set.
func (s *Server) writeVisit(w http.ResponseWriter, v visit, id string) {
	if v.session == nil {
		return
	}
	now := s.Now()
	s.mu.Lock()
	if v.id != id {
		s.deleteRow(v.id)
	}
	// A session that was ended since the read stays ended.
	if !v.session.ended {
		v.session.expiresAt = now.Add(sessionLifetime)
		if s.sessions[id] == nil {
			s.sessions[id] = v.session
			v.session.ids = append(v.session.ids, id)
		}
	}
	s.mu.Unlock()
	setCookie(w, sessionCookie, id, "/", sessionLifetime)
}

// deleteRow is called with the lock held.
func (s *Server) deleteRow(id string) {
	if found := s.sessions[id]; found != nil {
		delete(s.sessions, id)
		found.ids = slices.DeleteFunc(found.ids, func(of string) bool { return of == id })
	}
}

// discard deletes all rows of a session. The lock is held.
func (s *Server) discard(ended *session) {
	ended.ended = true
	for _, id := range ended.ids {
		delete(s.sessions, id)
	}
	ended.ids = nil
}

// lookUp reports whether a session exists. Logto looks a session up without its cookie for pages
// and for tokens that end with the session. It expects one row and deletes all rows if there are
// several. The lock is held.
func (s *Server) lookUp(wanted *session) bool {
	if len(wanted.ids) > 1 {
		s.discard(wanted)
	}
	return len(wanted.ids) == 1
}

// forgetUser makes every token of the user worthless and ends the user's
// sessions, without telling anybody: that is what a suspension does.
func (s *Server) forgetUser(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, found := range s.sessions {
		if found.userID == userID {
			s.discard(found)
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
