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
		s.answerError(w, request, failure)
		return
	}
	current := s.currentSession(r)
	silent := slices.Contains(request.prompt, "none")
	switch {
	case s.mustSignIn(current, request) && silent:
		s.answerError(w, request, newError(http.StatusBadRequest, "login_required", "End-User authentication is required"))
	case s.mustSignIn(current, request):
		s.startInteraction(w, request, "")
	case silent && !s.hasGranted(current, request):
		s.answerError(w, request, newError(http.StatusBadRequest, "consent_required", "requested scopes not granted"))
	case s.mustConsent(current, request):
		s.startInteraction(w, request, current.userID)
	default:
		s.answerCode(w, request, current)
	}
}

func (s *Server) mustSignIn(current *session, request authorizationRequest) bool {
	if current == nil || slices.Contains(request.prompt, "login") {
		return true
	}
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	// "=" makes max_age=0 ask even within the second of the sign-in.
	tooOld := request.maxAge == 0 || (request.maxAge > 0 && now.Sub(current.signedInAt) > request.maxAge)
	return tooOld || (request.hintedUserID != "" && request.hintedUserID != current.userID)
}

func (s *Server) hasGranted(current *session, request authorizationRequest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	granted := current.grantFor(request.app.ID)
	return granted != nil && granted.covers(request)
}

// mustConsent reports whether the user has to agree on a page: first-party
// applications are agreed to without one.
func (s *Server) mustConsent(current *session, request authorizationRequest) bool {
	return request.app.ThirdParty &&
		(slices.Contains(request.prompt, "consent") || !s.hasGranted(current, request))
}

// startInteraction begins with the sign-in page, or with the consent page if it
// is known who the user is.
func (s *Server) startInteraction(w http.ResponseWriter, request authorizationRequest, userID string) {
	started := &interaction{
		uid: randomToken(), request: request, expiresAt: s.clock().Add(interactionLifetime),
		userID: userID, onlyConsent: userID != "",
	}
	s.mu.Lock()
	s.interactions[started.uid] = started
	s.mu.Unlock()
	setCookie(w, interactionCookie+request.app.ID, started.uid)
	setLogtoCookie(w, request.app.ID)

	page := "/sign-in"
	switch {
	case userID != "":
		page = "/consent"
	case request.startsWithRegistration():
		page = "/register"
	}
	location := page + "?app_id=" + url.QueryEscape(request.app.ID)
	for _, name := range []string{"organization_id", "login_hint", "identifier", "ui_locales", "one_time_token"} {
		if value := request.extra.Get(name); value != "" {
			location += "&" + name + "=" + url.QueryEscape(value)
		}
	}
	redirect(w, location)
}

// serveResume is where the sign-in pages send the browser when they are done.
func (s *Server) serveResume(w http.ResponseWriter, r *http.Request) {
	current := s.interactionOf(r, r.PathValue("uid"))
	if current == nil {
		failure := invalidRequest("authorization request has expired")
		failure.Code, failure.Message = "session.not_found", "Session not found. Please go back and sign in again."
		writeError(w, failure)
		return
	}
	s.mu.Lock()
	userID, consented := current.userID, current.consented
	mustJoin := userID != "" && !current.onlyConsent && !current.joined
	if mustJoin {
		current.joined = true
	}
	s.mu.Unlock()
	request := current.request
	if userID == "" {
		redirect(w, "/sign-in?app_id="+url.QueryEscape(request.app.ID))
		return
	}
	signedIn := s.currentSession(r)
	if mustJoin {
		signedIn = s.signIn(w, signedIn, userID)
	}
	switch {
	case signedIn == nil || signedIn.userID != userID:
		redirect(w, "/sign-in?app_id="+url.QueryEscape(request.app.ID))
		return
	case s.mustConsent(signedIn, request) && !consented:
		redirect(w, "/consent?app_id="+url.QueryEscape(request.app.ID))
		return
	}
	s.finishInteraction(w, current)
	s.answerCode(w, request, signedIn)
}

func (s *Server) finishInteraction(w http.ResponseWriter, finished *interaction) {
	s.mu.Lock()
	delete(s.interactions, finished.uid)
	s.mu.Unlock()
	clearCookie(w, interactionCookie+finished.request.app.ID)
}

func (s *Server) answerCode(w http.ResponseWriter, request authorizationRequest, current *session) {
	user, ok := s.user(func(u User) bool { return u.ID == current.userID })
	switch {
	case !ok || user.IsSuspended:
		s.answerError(w, request, invalidGrant())
		return
	case !request.app.allows(user.ID) && s.hasGranted(current, request):
		s.answerError(w, request, newError(http.StatusBadRequest, "access_denied", "access to the application is denied"))
		return
	case !request.app.allows(user.ID):
		showPage(w, http.StatusForbidden, "message.html", messagePage{
			Heading: "You cannot use this app",
			Text:    "Your account has no access to it.",
		})
		return
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
	s.answer(w, request, http.StatusOK, url.Values{"code": {code}})
}

func (s *Server) answerError(w http.ResponseWriter, request authorizationRequest, failure *oidcError) {
	parameters := url.Values{"error": {failure.Name}}
	if failure.Description != "" {
		parameters.Set("error_description", failure.Description)
	}
	s.answer(w, request, failure.status, parameters)
}

// answer sends the authorization response; status counts for form_post only.
func (s *Server) answer(w http.ResponseWriter, request authorizationRequest, status int, parameters url.Values) {
	if request.state != "" {
		parameters.Set("state", request.state)
	}
	parameters.Set("iss", s.Issuer())
	if change := s.currentHooks().callback; change != nil {
		parameters = change(parameters)
	}
	switch request.responseMode {
	case "form_post":
		showPage(w, status, "submit.html", submitPage{Action: request.redirectURI, Parameters: parameters})
	case "fragment":
		redirect(w, request.redirectURI+"#"+parameters.Encode())
	default:
		redirect(w, withQuery(request.redirectURI, parameters))
	}
}

func withQuery(uri string, parameters url.Values) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + parameters.Encode()
	}
	return uri + "?" + parameters.Encode()
}
