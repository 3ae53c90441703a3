package logtotest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	form, failure := s.clientForm(w, r)
	if failure != nil {
		writeError(w, failure)
		return
	}
	var answer map[string]any
	switch form.Get("grant_type") {
	case "":
		failure = invalidRequest("missing required parameter 'grant_type'")
	case "authorization_code":
		answer, failure = s.exchangeCode(form)
	case "refresh_token":
		answer, failure = s.refresh(form)
	case "client_credentials", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange":
		failure = invalidRequest("requested grant type is not allowed for this client")
	default:
		failure = newError(http.StatusBadRequest, "unsupported_grant_type", "unsupported grant_type requested")
	}
	if failure != nil {
		writeError(w, failure)
		return
	}
	document, err := changed(s.currentFaults().tokenAnswer, answer)
	if err != nil {
		writeError(w, serverError(err))
		return
	}
	writeJSON(w, http.StatusOK, "application/json; charset=utf-8", document)
}

func require(form url.Values, names ...string) *oidcError {
	for _, name := range names {
		if form.Get(name) == "" {
			return invalidRequest("missing required parameter '" + name + "'")
		}
	}
	return nil
}

func (s *Server) exchangeCode(form url.Values) (map[string]any, *oidcError) {
	if failure := require(form, "code", "redirect_uri"); failure != nil {
		return nil, failure
	}
	code, failure := s.consumeCode(form)
	if failure != nil {
		return nil, failure
	}
	signIn := tokenSource{
		session:   code.session,
		grant:     code.grant,
		userID:    code.session.userID,
		nonce:     code.request.nonce,
		scopes:    code.request.scopes,
		resources: code.request.resources,
	}
	if code.request.authTimeAsked() {
		signIn.authTime = code.authTime
	}
	answer, failure := s.issue(signIn, form["resource"], signIn.scopes)
	if failure == nil && slices.Contains(signIn.scopes, "offline_access") {
		answer["refresh_token"] = s.issueRefreshToken(signIn)
	}
	return answer, failure
}

// consumeCode makes its checks in Logto's order: a request that is wrong in
// another way neither uses the code up nor counts as a replay.
func (s *Server) consumeCode(form url.Values) (*authorizationCode, *oidcError) {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.codes[form.Get("code")]
	if code == nil || now.After(code.expiresAt) || code.grant.revoked {
		return nil, invalidGrant()
	}
	if verifier := form.Get("code_verifier"); verifier != "" || code.request.codeChallenge != "" {
		if !pkceForm.MatchString(verifier) {
			return nil, invalidRequest("code_verifier must be a string with a minimum length of 43 characters")
		}
		if !code.request.verifierMatches(verifier) {
			return nil, invalidGrant()
		}
	}
	if form.Get("redirect_uri") != code.request.redirectURI {
		return nil, invalidGrant()
	}
	if code.used {
		code.grant.revoked = true
		return nil, invalidGrant()
	}
	for _, resource := range form["resource"] {
		if !slices.Contains(code.request.resources, resource) || resource == organizationsResource {
			return nil, invalidTarget()
		}
	}
	code.used = true
	return code, nil
}

func (s *Server) refresh(form url.Values) (map[string]any, *oidcError) {
	if failure := require(form, "refresh_token"); failure != nil {
		return nil, failure
	}
	if form.Has("organization_id") {
		// Better than a token that is not for the organization.
		return nil, invalidRequest("logtotest does not issue organization tokens")
	}
	value := form.Get("refresh_token")
	token := s.liveToken(s.refreshTokens, value)
	if token == nil {
		return nil, invalidGrant()
	}
	scopes := token.source.scopes
	if narrowed := strings.Fields(form.Get("scope")); len(narrowed) > 0 {
		for _, scope := range narrowed {
			if !slices.Contains(scopes, scope) {
				failure := newError(http.StatusBadRequest, "invalid_scope", "refresh token missing requested scope")
				failure.Scope = scope
				return nil, failure
			}
		}
		scopes = narrowed
	}
	answer, failure := s.issue(token.source, form["resource"], scopes)
	if failure != nil {
		return nil, failure
	}
	answer["refresh_token"] = value
	return answer, nil
}

func (s *Server) serveRevocation(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	form, failure := s.clientForm(w, r)
	if failure == nil {
		failure = require(form, "token")
	}
	value := form.Get("token")
	if failure == nil && strings.Count(value, ".") == 2 {
		failure = newError(http.StatusBadRequest, "unsupported_token_type",
			"Structured JWT Tokens cannot be revoked via the revocation_endpoint")
	}
	if failure != nil {
		writeError(w, failure)
		return
	}
	for _, tokens := range []map[string]*issuedToken{s.refreshTokens, s.accessTokens} {
		if token := s.liveToken(tokens, value); token != nil {
			s.mu.Lock()
			token.source.grant.revoked = true
			s.mu.Unlock()
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
}
