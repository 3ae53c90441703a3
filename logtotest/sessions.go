package logtotest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"
)

// session is one browser's sign-in at the provider. What it knows of the applications belongs
// to it, and not to the ID in the browser's cookie, which changes with each interaction.
type session struct {
	userID     string // "" if the session is anonymous; never changes
	signedInAt time.Time
	expiresAt  time.Time
	ended      bool
	// ids are the rows by which a cookie finds the session. More than one is the damage that
	// requests of one browser do when they change the ID at the same time.
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

func randomToken() string {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	return base64url.EncodeToString(random)
}

// visit is a request of a browser with the session that its cookie named when the request came.
// The row may be gone by the time at which the answer is written.
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
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.sessions[cookie.Value]
	if found == nil || now.After(found.expiresAt) {
		return visit{id: randomToken(), session: &session{}}
	}
	return visit{id: cookie.Value, session: found}
}

// writeVisit stores the session under this ID in place of the one that was read, whatever other
// requests have done since, and prolongs it. The cookie always follows: that of a stale request
// replaces the good one that another answer may have set.
func (s *Server) writeVisit(w http.ResponseWriter, v visit, id string) {
	if v.session == nil {
		return
	}
	now := s.clock()
	s.mu.Lock()
	if v.id != id {
		s.deleteRow(v.id)
	}
	// A sign-out, or a suspension, in the meantime stands.
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

// lookUp finds a session by itself and not by a cookie, as Logto does for pages and for tokens
// that end with the session, and reports whether it is there. Logto expects one row and deletes
// them all if there are several. The lock is held.
func (s *Server) lookUp(wanted *session) bool {
	if len(wanted.ids) > 1 {
		s.discard(wanted)
	}
	return len(wanted.ids) == 1
}

// logIn makes the session that of the user, who has just given the password. A session of
// another user ends, and the applications in it are told.
func (s *Server) logIn(v visit, userID string) *session {
	now := s.clock()
	previous := v.signedIn()
	if previous != nil && previous.userID == userID {
		s.mu.Lock()
		defer s.mu.Unlock()
		previous.signedInAt = now
		return previous
	}
	if previous != nil {
		s.end(previous)
	}
	return &session{userID: userID, signedInAt: now, applications: map[string]*participant{}}
}

// end tells the applications of the session, and keeps grants with
// offline_access alive: such tokens survive a sign-out at Logto until they are
// revoked.
func (s *Server) end(ended *session) {
	s.mu.Lock()
	wasEnded := ended.ended
	s.discard(ended)
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
