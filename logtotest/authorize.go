package logtotest

import (
	"net/http"
	"net/url"
	"slices"
	"time"
)

const codeLifetime = time.Minute

// authorizationCode is what a code stands for.
type authorizationCode struct {
	request   authorizationRequest
	session   *session
	grant     *grant
	sid       string // "" if tokens are to have none
	authTime  time.Time
	expiresAt time.Time
	used      bool
}

func (s *Server) serveAuthorization(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	app, failure := s.checkRecipient(query)
	if failure != nil {
		failure.State, failure.Issuer = query.Get("state"), s.Issuer()
		writeError(w, failure)
		return
	}
	request, failure := s.parseAuthorizationRequest(app, query)
	if failure != nil {
		s.explain(failure)
		s.answerError(request, failure)(w)
		return
	}
	v := s.readVisit(r)
	answer := s.answerRequest(r, v.signedIn(), request)
	s.writeVisit(w, v, v.id)
	answer(w)
}

// serveResume is where the pages send the browser when they are done. As Logto's engine does, it
// reads the session first and writes it last, and nothing prevents another request of the same
// browser in between.
func (s *Server) serveResume(w http.ResponseWriter, r *http.Request) {
	v := s.readVisit(r)
	resumed, failure := s.interactionToResume(r, v)
	if failure != nil {
		s.writeVisit(w, v, v.id)
		failure.Issuer = s.Issuer()
		writeError(w, failure)
		return
	}
	s.dropInteraction(resumed.uid)
	hasSignedIn := resumed.hasSignedIn
	if resumed.userID != "" {
		v.session, hasSignedIn = s.logIn(v, resumed.userID), true
	}
	var answer reply
	if missing := s.nextPrompt(v.signedIn(), resumed.request, hasSignedIn, resumed.consented); missing == promptNothing {
		answer = s.answerCode(resumed.request, v.session)
	} else {
		answer = s.startInteraction(r, interaction{request: resumed.request, session: v.signedIn(), hasSignedIn: hasSignedIn}, missing)
	}
	clearCookie(w, resumeCookie, resumePath(resumed.uid))
	s.writeVisit(w, v, randomToken())
	answer(w)
}

// logIn returns the session of a user who has just given the password. A session of another user
// ends, and its applications are notified.
func (s *Server) logIn(v visit, userID string) *session {
	now := s.Now()
	previous := v.signedIn()
	if previous != nil && previous.userID == userID {
		s.mu.Lock()
		defer s.mu.Unlock()
		previous.signedInAt = now
		return previous
	}
	if previous != nil {
		s.endSession(previous)
	}
	return &session{userID: userID, signedInAt: now, applications: map[string]*participant{}}
}

// reply writes an answer that has been prepared. The session is stored in between, as Logto
// does: after the parameters of the answer are known, and before the browser has it.
type reply func(http.ResponseWriter)

func (s *Server) answerRequest(r *http.Request, current *session, request authorizationRequest) reply {
	silent := slices.Contains(request.prompt, "none")
	// With an earlier grant, a user without access is refused at once, whatever the prompt.
	if current != nil && !request.app.allows(current.userID) && s.grantOf(current, request.app) != nil {
		return s.answerError(request, accessDenied())
	}
	switch missing := s.nextPrompt(current, request, false, false); {
	case missing == promptNothing:
		return s.answerCode(request, current)
	case silent && missing == promptLogin:
		return s.answerError(request, newError(http.StatusBadRequest, "login_required", s.whySignIn(current, request)))
	case silent && request.app.Type == Native:
		return s.answerError(request, newError(http.StatusBadRequest, "interaction_required", "native clients require End-User interaction"))
	case silent:
		return s.answerError(request, newError(http.StatusBadRequest, "consent_required", "requested scopes not granted"))
	default:
		return s.startInteraction(r, interaction{request: request, session: current}, missing)
	}
}

func (s *Server) answerCode(request authorizationRequest, current *session) reply {
	request.app = s.registered(request.app)
	user, ok := s.activeUser(current.userID)
	switch {
	case !ok:
		return s.answerError(request, invalidGrant())
	case !request.app.allows(user.ID):
		return s.answerError(request, accessDenied())
	}
	scopes, permissions := s.grantable(user, request)
	code := randomToken()
	now := s.Now()
	expiresAt := now.Add(codeLifetime)
	s.mu.Lock()
	joined := current.join(request.app.ID, now)
	joined.grant.extend(scopes, permissions)
	request.scopes = joined.grant.granted(request)
	s.codes[code] = &authorizationCode{
		request:   request,
		session:   current,
		grant:     joined.grant,
		authTime:  current.signedInAt,
		expiresAt: expiresAt,
	}
	if request.app.BackchannelLogoutURI != "" && request.app.BackchannelLogoutSessionRequired {
		s.codes[code].sid = joined.sid
	}
	s.mu.Unlock()
	return s.answer(request, http.StatusOK, url.Values{"code": {code}})
}

func (s *Server) answerError(request authorizationRequest, failure *oidcError) reply {
	parameters := url.Values{"error": {failure.Name}}
	if failure.Scope != "" {
		parameters.Set("scope", failure.Scope)
	}
	if failure.Description != "" {
		parameters.Set("error_description", failure.Description)
	}
	return s.answer(request, failure.status, parameters)
}

// answer is the authorization response; status counts for form_post only.
func (s *Server) answer(request authorizationRequest, status int, parameters url.Values) reply {
	if request.state != "" {
		parameters.Set("state", request.state)
	}
	parameters.Set("iss", s.Issuer())
	for _, change := range hooksIn(s, &s.hooks.callback) {
		parameters = change(parameters)
	}
	return func(w http.ResponseWriter) {
		switch request.responseMode {
		case "form_post":
			showPage(w, status, "submit.html", submitPage{Action: request.redirectURI, Parameters: parameters})
		case "fragment":
			redirect(w, request.redirectURI+"#"+parameters.Encode())
		default:
			redirect(w, withQuery(request.redirectURI, parameters))
		}
	}
}
