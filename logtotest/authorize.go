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
	authTime  time.Time
	expiresAt time.Time
	used      bool
}

func (s *Server) serveAuthorization(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if failure := s.checkRecipient(query); failure != nil {
		failure.State, failure.Issuer = query.Get("state"), s.Issuer()
		writeError(w, failure)
		return
	}
	request, failure := s.parseAuthorizationRequest(query)
	if failure != nil {
		s.answerError(w, request, failure)
		return
	}
	current := s.currentSession(r)
	silent := slices.Contains(request.prompt, "none")
	switch {
	case s.mustSignIn(current, request) && silent:
		s.answerError(w, request, newError(http.StatusBadRequest, "login_required", "End-User authentication is required"))
	case s.mustSignIn(current, request):
		s.startInteraction(w, request)
	case silent && !s.hasGranted(current, request):
		s.answerError(w, request, newError(http.StatusBadRequest, "consent_required", "requested scopes not granted"))
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
	return current.grant != nil && !current.grant.revoked && current.grant.covers(request)
}

func (s *Server) startInteraction(w http.ResponseWriter, request authorizationRequest) {
	started := &interaction{uid: randomToken(), request: request, expiresAt: s.clock().Add(interactionLifetime)}
	s.mu.Lock()
	s.interactions[started.uid] = started
	s.mu.Unlock()
	setCookie(w, interactionCookie, started.uid)
	s.setLogtoCookie(w)

	page := "/sign-in"
	if request.startsWithRegistration() {
		page = "/register"
	}
	location := page + "?app_id=" + url.QueryEscape(s.appID)
	for _, name := range []string{"organization_id", "login_hint", "identifier", "ui_locales", "one_time_token"} {
		if value := request.extra.Get(name); value != "" {
			location += "&" + name + "=" + url.QueryEscape(value)
		}
	}
	redirect(w, location)
}

// serveResume is where the sign-in pages send the browser when they are done.
func (s *Server) serveResume(w http.ResponseWriter, r *http.Request) {
	current := s.currentInteraction(r)
	if current == nil || current.uid != r.PathValue("uid") {
		failure := invalidRequest("authorization request has expired")
		failure.Code, failure.Message = "session.not_found", "Session not found. Please go back and sign in again."
		writeError(w, failure)
		return
	}
	s.mu.Lock()
	userID := current.userID
	if userID != "" {
		delete(s.interactions, current.uid)
	}
	s.mu.Unlock()
	if userID == "" {
		redirect(w, "/sign-in?app_id="+url.QueryEscape(s.appID))
		return
	}
	clearCookie(w, interactionCookie)
	signedIn := s.signIn(w, s.currentSession(r), userID)
	s.answerCode(w, current.request, signedIn)
}

func (s *Server) answerCode(w http.ResponseWriter, request authorizationRequest, current *session) {
	code := randomToken()
	expiresAt := s.clock().Add(codeLifetime)
	s.mu.Lock()
	if current.grant == nil || current.grant.revoked {
		current.grant = &grant{}
	}
	current.grant.extend(request)
	s.codes[code] = &authorizationCode{
		request:   request,
		session:   current,
		grant:     current.grant,
		authTime:  current.signedInAt,
		expiresAt: expiresAt,
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
	if change := s.currentFaults().callback; change != nil {
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
