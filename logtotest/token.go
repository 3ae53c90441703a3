package logtotest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	app, form, failure := s.clientForm(w, r)
	if failure != nil {
		writeError(w, failure)
		return
	}
	var answer map[string]any
	grantType := form.Get("grant_type")
	isMachine := app.Type == MachineToMachine
	switch {
	case grantType == "":
		failure = invalidRequest("missing required parameter 'grant_type'")
	case grantType == "authorization_code" && !isMachine:
		answer, failure = s.exchangeCode(app, form)
	case grantType == "refresh_token" && !isMachine:
		answer, failure = s.refresh(app, form)
	case grantType == "client_credentials" && isMachine:
		answer, failure = s.clientCredentials(app, form)
	case slices.Contains(grantTypes, grantType):
		failure = invalidRequest("requested grant type is not allowed for this client")
	default:
		failure = newError(http.StatusBadRequest, "unsupported_grant_type", "unsupported grant_type requested")
	}
	if failure != nil {
		s.explain(failure)
		writeError(w, failure)
		return
	}
	s.writeDocument(w, Token, jsonType, answer)
}

func (s *Server) exchangeCode(app *Application, form url.Values) (map[string]any, *oidcError) {
	if failure := require(form, "code", "redirect_uri"); failure != nil {
		return nil, failure
	}
	code, failure := s.consumeCode(app, form)
	if failure != nil {
		return nil, failure
	}
	signIn := tokenSource{
		app:       app,
		session:   code.session,
		grant:     code.grant,
		userID:    code.session.userID,
		nonce:     code.request.nonce,
		sid:       code.sid,
		scopes:    code.request.scopes,
		resources: code.request.resources,
	}
	if code.request.authTimeAsked() {
		signIn.authTime = code.authTime
	}
	// organization_id counts in refreshes only.
	answer, failure := s.issue(signIn, tokenRequest{resources: form["resource"], scopes: signIn.scopes})
	if failure == nil && (slices.Contains(signIn.scopes, "offline_access") || (app.AlwaysIssueRefreshToken && app.Type != Native)) {
		answer["refresh_token"] = s.remember(s.refreshTokens, signIn, signIn.scopes, app.RefreshTokenLifetime)
	}
	return answer, failure
}

// consumeCode makes its checks in Logto's order: a request that is wrong in
// another way neither uses the code up nor counts as a replay.
func (s *Server) consumeCode(app *Application, form url.Values) (*authorizationCode, *oidcError) {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.codes[form.Get("code")]
	if code == nil || code.request.app.ID != app.ID || now.After(code.expiresAt) || !code.grant.isAlive(now) {
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
			return nil, resourceNotRequested(resource)
		}
	}
	code.used = true
	return code, nil
}

// clientCredentials gets a machine a token for itself (RFC 6749, section 4.4).
func (s *Server) clientCredentials(app *Application, form url.Values) (map[string]any, *oidcError) {
	target := audience{resource: form.Get("resource"), organizationID: form.Get("organization_id")}
	_, known := s.resource(target.resource)
	_, isMember := app.Organizations[target.organizationID]
	switch {
	case target.isLogto():
		return nil, newError(http.StatusBadRequest, "invalid_target", "both `resource` and `organization_id` are not provided")
	case len(form["resource"]) > 1:
		return nil, newError(http.StatusBadRequest, "invalid_target", "only a single resource indicator value is supported for this grant type")
	case target.resource != "" && !known:
		return nil, unknownResource(target.resource)
	case target.organizationID != "" && !isMember:
		return nil, newError(http.StatusForbidden, "access_denied", "app has not associated with the organization")
	}
	scopes := s.permitted(app.holder(), target, strings.Fields(form.Get("scope")))
	scope := strings.Join(scopes, " ")
	answer := map[string]any{"token_type": "Bearer", "scope": scope}
	if scope == "" && target.resource != "" {
		delete(answer, "scope")
		scope = noScope
	}
	token, lifetime, err := s.signAccessToken(app.ID, app.ID, target, scope)
	if err != nil {
		return nil, serverError(err)
	}
	answer["access_token"], answer["expires_in"] = token, int(lifetime/time.Second)
	return answer, nil
}
