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
const refreshGrace = 3 * time.Second

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
	now := s.Now()
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
	now := s.Now()
	s.mu.Lock()
	isDue := app.isPublic() || !token.replacedAt.IsZero() ||
		now.Sub(token.issuedAt) >= token.expiresAt.Sub(token.issuedAt)*7/10
	if !isDue {
		s.mu.Unlock()
		return value
	}
	token.replacedAt = now
	s.mu.Unlock()
	lifetime := app.RefreshTokenLifetime
	if app.Type == SinglePage {
		lifetime = token.expiresAt.Sub(now)
	}
	return s.remember(s.refreshTokens, token.source, token.scopes, lifetime)
}
