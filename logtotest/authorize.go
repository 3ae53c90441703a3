package logtotest

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	codeLifetime        = 60 * time.Second
	interactionLifetime = time.Hour

	resourceOrganizations = "urn:logto:resource:organizations"
)

// interaction is an authorization request on its way through the pages.
type interaction struct {
	id, clientID, redirectURI, state, nonce, challenge string
	scopes, resources                                  []string
	loginHint                                          string
	register, showAuthTime                             bool
	expires                                            time.Time

	user     string // once signed in
	authTime time.Time
}

// userSession is a browser's session at the fake Logto.
type userSession struct {
	user     string
	authTime time.Time
	grant    *grant // shared by all sign-ins of the application in this browser
}

// authorizationCode is single use; used ones are kept to notice a replay.
type authorizationCode struct {
	interaction *interaction
	grant       *grant
	expires     time.Time
	used        bool
}

// grant is what tokens hang on; revoking it kills them all.
type grant struct {
	revoked bool
}

var extraParams = []string{
	"first_screen", "interaction_mode", "direct_sign_in", "identifier",
	"login_hint", "one_time_token", "organization_id", "ui_locales",
}

func (s *Server) serveAuthorization(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	redirectURI := query.Get("redirect_uri")
	if query.Get("client_id") != s.appID {
		writeError(w, http.StatusBadRequest, "invalid_client", "client is invalid")
		return
	}
	if !s.acceptsRedirectURI(redirectURI) {
		writeError(w, http.StatusBadRequest, "invalid_redirect_uri", "redirect_uri did not match any of the client's registered redirect_uris")
		return
	}
	request, code, description := s.readRequest(query)
	if code == "" {
		session := s.session(r)
		prompts := strings.Fields(query.Get("prompt"))
		maxAge, hasMaxAge := seconds(query.Get("max_age"))
		mustLogIn := session == nil || slices.Contains(prompts, "login") ||
			(hasMaxAge && s.now().Sub(session.authTime) >= maxAge)
		request.showAuthTime = hasMaxAge || slices.Contains(prompts, "login")
		switch {
		case mustLogIn && slices.Contains(prompts, "none"):
			code, description = "login_required", "end-user authentication is required"
		case mustLogIn:
			s.interactions[request.id] = request
			s.showPages(w, r, request)
			return
		default:
			request.user, request.authTime = session.user, session.authTime
			s.answerWithCode(w, r, request, session)
			return
		}
	}
	s.answer(w, r, redirectURI, url.Values{"error": {code}, "error_description": {description}, "state": query["state"]})
}

// readRequest checks what Logto checks and reports with a redirect.
func (s *Server) readRequest(query url.Values) (request *interaction, code, description string) {
	for name, values := range query {
		if len(values) > 1 && name != "resource" {
			return nil, "invalid_request", "'" + name + "' parameter must not be provided twice"
		}
	}
	scopes := strings.Fields(query.Get("scope"))
	prompts := strings.Fields(query.Get("prompt"))
	switch {
	case query.Get("response_type") != "code":
		return nil, "unsupported_response_type", "unsupported response_type requested"
	case !slices.Contains(scopes, "openid"):
		return nil, "invalid_request", "openid scope must be requested"
	case query.Get("code_challenge") != "" && query.Get("code_challenge_method") != "S256":
		return nil, "invalid_request", "not supported value of code_challenge_method"
	case slices.Contains(prompts, "none") && len(prompts) > 1:
		return nil, "invalid_request", "prompt none must only be used alone"
	}
	for _, prompt := range prompts {
		if !slices.Contains([]string{"none", "login", "consent"}, prompt) {
			return nil, "invalid_request", "unsupported prompt value requested"
		}
	}
	for _, resource := range query["resource"] {
		if resource != resourceOrganizations && !slices.Contains(s.resources, resource) {
			return nil, "invalid_target", "resource indicator is missing, or unknown"
		}
	}
	if !slices.Contains(prompts, "consent") {
		scopes = slices.DeleteFunc(scopes, func(scope string) bool { return scope == "offline_access" })
	}
	request = &interaction{
		id:          rand.Text(),
		clientID:    s.appID,
		redirectURI: query.Get("redirect_uri"),
		state:       query.Get("state"),
		nonce:       query.Get("nonce"),
		challenge:   query.Get("code_challenge"),
		scopes:      scopes,
		resources:   query["resource"],
		expires:     s.now().Add(interactionLifetime),
	}
	// One value that is wrong and Logto ignores them all.
	if extra := readExtraParams(query); extra != nil {
		request.loginHint = extra["login_hint"]
		request.register = extra["first_screen"] == "register" || extra["first_screen"] == "identifier:register" ||
			(extra["first_screen"] == "" && extra["interaction_mode"] == "signUp")
	}
	return request, "", ""
}

func readExtraParams(query url.Values) map[string]string {
	extra := map[string]string{}
	for _, name := range extraParams {
		extra[name] = query.Get(name)
	}
	screens := []string{
		"", "sign_in", "register", "reset_password", "identifier:sign_in", "identifier:register",
		"single_sign_on", "signIn",
	}
	if !slices.Contains(screens, extra["first_screen"]) || !slices.Contains([]string{"", "signIn", "signUp"}, extra["interaction_mode"]) {
		return nil
	}
	for _, identifier := range strings.Fields(extra["identifier"]) {
		if !slices.Contains([]string{"email", "phone", "username"}, identifier) {
			return nil
		}
	}
	return extra
}

func (s *Server) acceptsRedirectURI(uri string) bool {
	if len(s.redirectURIs) > 0 {
		return slices.Contains(s.redirectURIs, uri)
	}
	u, err := url.Parse(uri)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && isLoopbackHost(u.Host)
}

// showPages sends the browser to the sign-in or the registration page.
func (s *Server) showPages(w http.ResponseWriter, r *http.Request, request *interaction) {
	setCookie(w, "_interaction", request.id)
	// Logto's own cookie of this name holds JSON with bare quotes, which is
	// no valid cookie value and reaches every port of the host.
	w.Header().Add("Set-Cookie", `_logto={"appId":"`+s.appID+`"}; path=/; samesite=lax; httponly`)
	page := "/sign-in"
	if request.register {
		page = "/register"
	}
	http.Redirect(w, r, page+"?app_id="+url.QueryEscape(s.appID), http.StatusSeeOther)
}

// serveResume goes on with an authorization request after the pages.
func (s *Server) serveResume(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request := s.interactions[r.PathValue("id")]
	cookie, err := r.Cookie("_interaction")
	if request == nil || err != nil || cookie.Value != request.id || request.user == "" || s.now().After(request.expires) {
		writeError(w, http.StatusBadRequest, "invalid_request", "authorization request has expired")
		return
	}
	delete(s.interactions, request.id)
	session := s.session(r)
	if session == nil || session.user != request.user {
		session = &userSession{user: request.user}
		id := rand.Text()
		s.sessions[id] = session
		setCookie(w, "_session", id)
	}
	session.authTime = request.authTime
	s.answerWithCode(w, r, request, session)
}

func (s *Server) answerWithCode(w http.ResponseWriter, r *http.Request, request *interaction, session *userSession) {
	if session.grant == nil || session.grant.revoked {
		session.grant = &grant{}
	}
	code := token()
	s.codes[code] = &authorizationCode{interaction: request, grant: session.grant, expires: s.now().Add(codeLifetime)}
	s.answer(w, r, request.redirectURI, url.Values{"code": {code}, "state": {request.state}})
}

// answer redirects to the application with the authorization response.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, redirectURI string, params url.Values) {
	if params.Get("state") == "" {
		params.Del("state")
	}
	params.Set("iss", s.Issuer())
	if s.faults.callback != nil {
		params = s.faults.callback(params)
	}
	u, err := url.Parse(redirectURI)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_redirect_uri", "redirect_uri cannot be parsed")
		return
	}
	query := u.Query()
	for name, values := range params {
		query[name] = values
	}
	u.RawQuery = query.Encode()
	http.Redirect(w, r, u.String(), http.StatusSeeOther)
}

func (s *Server) session(r *http.Request) *userSession {
	cookie, err := r.Cookie("_session")
	if err != nil {
		return nil
	}
	return s.sessions[cookie.Value]
}

func setCookie(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func seconds(text string) (time.Duration, bool) {
	n, err := strconv.Atoi(text)
	return time.Duration(n) * time.Second, err == nil && n >= 0
}

// token is 43 characters, as Logto's opaque tokens and codes.
func token() string { return (rand.Text() + rand.Text())[:43] }
