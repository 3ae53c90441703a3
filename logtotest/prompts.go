package logtotest

import "slices"

// prompt is the page that an authorization request needs.
type prompt int

const (
	promptNothing prompt = iota
	promptLogin
	promptConsent
)

// nextPrompt returns the page that has to come before a code. hasSignedIn and consented say
// which pages this request has passed.
func (s *Server) nextPrompt(current *session, request authorizationRequest, hasSignedIn, consented bool) prompt {
	switch {
	case current == nil, !hasSignedIn && s.whySignIn(current, request) != "":
		return promptLogin
	case !consented && s.mustConsent(current, request):
		return promptConsent
	}
	return promptNothing
}

// whySignIn says, as Logto does, why the user has to sign in although there may be a session. It is empty if
// the session will do.
func (s *Server) whySignIn(current *session, request authorizationRequest) string {
	if current == nil {
		return "End-User authentication is required"
	}
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	// max_age=0 asks even within the second of the sign-in.
	case slices.Contains(request.prompt, "login"), request.maxAge == 0:
		return "login prompt was not resolved"
	case request.maxAge > 0 && now.Sub(current.signedInAt) > request.maxAge:
		return "End-User authentication could not be obtained"
	case request.hintedUserID != "" && request.hintedUserID != current.userID:
		return "id_token_hint and authenticated subject do not match"
	}
	return ""
}

// mustConsent reports whether the request leads to the consent page. The page asks nothing for
// first-party applications. Native applications are led there each time, because any other application
// of the device can have their client ID (RFC 8252, section 8.6).
// Scopes that no role of the user allows do not count: they are never granted, so each sign-in would
// ask for consent again.
func (s *Server) mustConsent(current *session, request authorizationRequest) bool {
	user, _ := s.userByID(current.userID)
	scopes, permissions := s.grantable(user, request)
	granted := s.grantOf(current, request.app)
	s.mu.Lock()
	defer s.mu.Unlock()
	return request.app.Type == Native || slices.Contains(request.prompt, "consent") || granted == nil || !granted.covers(scopes, permissions)
}

// grantOf returns nil if the user has granted the application nothing in this session.
func (s *Server) grantOf(current *session, app *Application) *grant {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := current.applications[app.ID]; p != nil && p.grant.isAlive(now) {
		return p.grant
	}
	return nil
}
