package logtotest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
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

// whySignIn says, as Logto does, why the user has to sign in although there may be a session. It is empty if
// the session will do.
func (s *Server) whySignIn(current *session, request authorizationRequest) string {
	if current == nil {
		return "End-User authentication is required"
	}
	now := s.clock()
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

// hasGranted ignores scopes that no role of the user allows. They are never granted, so each
// sign-in would ask for consent again.
func (s *Server) hasGranted(current *session, request authorizationRequest) bool {
	user, _ := s.user(func(u User) bool { return u.ID == current.userID })
	scopes, permissions := s.grantable(user, request)
	granted := s.grantOf(current, request.app)
	s.mu.Lock()
	defer s.mu.Unlock()
	return granted != nil && granted.covers(scopes, permissions)
}

// grantOf returns nil if the user has granted the application nothing in this session.
func (s *Server) grantOf(current *session, app *Application) *grant {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return current.grantFor(app.ID, now)
}

// mustConsent reports whether the request leads to the consent page. The page asks nothing for
// first-party applications. Native applications are led there each time, because any other application
// of the device can have their client ID (RFC 8252, section 8.6).
func (s *Server) mustConsent(current *session, request authorizationRequest) bool {
	return request.app.Type == Native || slices.Contains(request.prompt, "consent") || !s.hasGranted(current, request)
}

func (s *Server) answerCode(request authorizationRequest, current *session) reply {
	request.app = s.registered(request.app)
	user, ok := s.user(func(u User) bool { return u.ID == current.userID })
	switch {
	case !ok || user.IsSuspended:
		return s.answerError(request, invalidGrant())
	case !request.app.allows(user.ID):
		return s.answerError(request, accessDenied())
	}
	scopes, permissions := s.grantable(user, request)
	code := randomToken()
	now := s.clock()
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
	if change := s.currentHooks().callback; change != nil {
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

func withQuery(uri string, parameters url.Values) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + parameters.Encode()
	}
	return uri + "?" + parameters.Encode()
}
