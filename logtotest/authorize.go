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
	switch missing := s.nextPrompt(current, request, false, false); {
	case missing == promptNothing:
		return s.answerCode(request, current)
	case silent && missing == promptLogin:
		return s.answerError(request, newError(http.StatusBadRequest, "login_required", "End-User authentication is required"))
	case silent:
		return s.answerError(request, newError(http.StatusBadRequest, "consent_required", "requested scopes not granted"))
	default:
		return s.startInteraction(r, interaction{request: request, session: current}, missing)
	}
}

func (s *Server) mustSignIn(current *session, request authorizationRequest) bool {
	if slices.Contains(request.prompt, "login") {
		return true
	}
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	// "=" makes max_age=0 ask even within the second of the sign-in.
	tooOld := request.maxAge == 0 || (request.maxAge > 0 && now.Sub(current.signedInAt) > request.maxAge)
	return tooOld || (request.hintedUserID != "" && request.hintedUserID != current.userID)
}

// hasGranted ignores scopes that no role of the user allows. They are never granted, so each
// sign-in would ask for consent again.
func (s *Server) hasGranted(current *session, request authorizationRequest) bool {
	if user, ok := s.user(func(u User) bool { return u.ID == current.userID }); ok {
		request.scopes = s.grantable(user.holder(), request.resources, request.scopes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	granted := current.grantFor(request.app.ID)
	return granted != nil && granted.covers(request)
}

// mustConsent reports whether the request leads to the consent page. The page asks nothing for
// first-party applications.
func (s *Server) mustConsent(current *session, request authorizationRequest) bool {
	return slices.Contains(request.prompt, "consent") || !s.hasGranted(current, request)
}

func (s *Server) answerCode(request authorizationRequest, current *session) reply {
	user, ok := s.user(func(u User) bool { return u.ID == current.userID })
	switch {
	case !ok || user.IsSuspended:
		return s.answerError(request, invalidGrant())
	case !request.app.allows(user.ID) && s.hasGranted(current, request):
		return s.answerError(request, newError(http.StatusBadRequest, "access_denied", "access to the application is denied"))
	case !request.app.allows(user.ID):
		return func(w http.ResponseWriter) {
			showPage(w, http.StatusForbidden, "message.html", messagePage{
				Heading: "You cannot use this app",
				Text:    "Your account has no access to it.",
			})
		}
	}
	request.scopes = s.grantable(user.holder(), request.resources, request.scopes)
	code := randomToken()
	expiresAt := s.clock().Add(codeLifetime)
	s.mu.Lock()
	joined := current.join(request)
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
