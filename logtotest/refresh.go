package logtotest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A refresh token of an application with a secret stays the same until 70 % of
// its life have passed; public clients get another one each time. One that was
// replaced is good for three more seconds, each use of it included; after that,
// it counts as stolen, and the whole grant is revoked.
const (
	refreshGrace = 3 * time.Second
)

func (s *Server) issueRefreshToken(source tokenSource) string {
	now := s.clock()
	return s.remember(s.refreshTokens, issuedToken{
		source: source, scopes: source.scopes, issuedAt: now, expiresAt: now.Add(source.app.RefreshTokenLifetime),
	})
}

func (s *Server) refresh(app *Application, form url.Values) (map[string]any, *oidcError) {
	if failure := require(form, "refresh_token"); failure != nil {
		return nil, failure
	}
	value := form.Get("refresh_token")
	token := s.liveToken(s.refreshTokens, value)
	if token == nil || token.source.app.ID != app.ID || s.wasStolen(value, token) {
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
	source := token.source
	source.app = app // as it is registered now
	if !app.allows(source.userID) {
		return nil, accessDenied()
	}
	answer, failure := s.issue(source, tokenRequest{
		resources: form["resource"], organizationID: form.Get("organization_id"), scopes: scopes,
	})
	if failure != nil {
		return nil, failure
	}
	answer["refresh_token"] = s.rotate(app, value, token)
	return answer, nil
}

// wasStolen revokes everything if the token was replaced too long ago.
func (s *Server) wasStolen(value string, token *issuedToken) bool {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if token.replacedAt.IsZero() || now.Sub(token.replacedAt) <= refreshGrace {
		return false
	}
	delete(s.refreshTokens, value)
	token.source.grant.revoked = true
	return true
}

// rotate returns the refresh token to go on with.
func (s *Server) rotate(app *Application, value string, token *issuedToken) string {
	now := s.clock()
	s.mu.Lock()
	isDue := app.isPublic() || !token.replacedAt.IsZero() ||
		now.Sub(token.issuedAt) >= token.expiresAt.Sub(token.issuedAt)*7/10
	if !isDue {
		s.mu.Unlock()
		return value
	}
	token.replacedAt = now
	next := *token
	s.mu.Unlock()
	next.replacedAt, next.issuedAt = time.Time{}, now
	if app.Type != SinglePage {
		next.expiresAt = now.Add(app.RefreshTokenLifetime)
	}
	return s.remember(s.refreshTokens, next)
}

func (s *Server) serveRevocation(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	app, form, failure := s.clientForm(w, r)
	if failure == nil {
		failure = require(form, "token")
	}
	value := form.Get("token")
	if failure == nil && strings.Count(value, ".") == 2 {
		failure = newError(http.StatusBadRequest, "unsupported_token_type",
			"Structured JWT Tokens cannot be revoked via the revocation_endpoint")
	}
	if failure == nil {
		failure = s.revoke(app, value)
	}
	if failure != nil {
		writeError(w, failure)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
}

// revoke ends the whole grant, also for an access token.
func (s *Server) revoke(app *Application, value string) *oidcError {
	token := s.opaque(value)
	switch {
	case token == nil:
		return nil // RFC 7009, section 2.2
	case token.source.app.ID != app.ID && app.isPublic():
		return nil
	case token.source.app.ID != app.ID:
		return invalidRequest("client is not authorized to revoke the presented token")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token.source.grant.revoked = true
	return nil
}

// opaque finds a live token of either kind.
func (s *Server) opaque(value string) *issuedToken {
	if token := s.liveToken(s.refreshTokens, value); token != nil {
		return token
	}
	return s.liveToken(s.accessTokens, value)
}

func (s *Server) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	app, form, failure := s.clientForm(w, r)
	if failure == nil {
		failure = require(form, "token")
	}
	value := form.Get("token")
	if failure == nil && strings.Count(value, ".") == 2 {
		failure = newError(http.StatusBadRequest, "unsupported_token_type",
			"Structured JWT Tokens cannot be introspected via the introspection_endpoint")
	}
	if failure != nil {
		writeError(w, failure)
		return
	}
	writeJSON(w, http.StatusOK, "application/json; charset=utf-8", s.introspect(app, value))
}

// introspect tells a public client about its own tokens only.
func (s *Server) introspect(app *Application, value string) map[string]any {
	token := s.opaque(value)
	if token == nil || (app.isPublic() && token.source.app.ID != app.ID) {
		return map[string]any{"active": false}
	}
	answer := map[string]any{
		"active":    true,
		"sub":       token.source.userID,
		"client_id": token.source.app.ID,
		"exp":       token.expiresAt.Unix(),
		"iat":       token.issuedAt.Unix(),
		"iss":       s.Issuer(),
		"scope":     strings.Join(token.scopes, " "),
	}
	if s.liveToken(s.accessTokens, value) != nil {
		answer["token_type"] = "Bearer"
	}
	if token.source.sid != "" {
		answer["sid"] = token.source.sid
	}
	return answer
}
