package logtotest

import (
	"net/http"
	"strings"
)

// clientToken is the opaque token that an application asks about.
func (s *Server) clientToken(w http.ResponseWriter, r *http.Request, what string) (*Application, string, *oidcError) {
	w.Header().Set("Cache-Control", "no-store")
	app, form, failure := s.clientForm(w, r)
	if failure == nil {
		failure = require(form, "token")
	}
	token := form.Get("token")
	if failure == nil && strings.Count(token, ".") == 2 {
		failure = newError(http.StatusBadRequest, "unsupported_token_type", "Structured JWT Tokens cannot be "+what)
	}
	return app, token, failure
}

func (s *Server) serveRevocation(w http.ResponseWriter, r *http.Request) {
	app, token, failure := s.clientToken(w, r, "revoked via the revocation_endpoint")
	if failure == nil {
		failure = s.revoke(app, token)
	}
	if failure != nil {
		writeError(w, failure)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
}

func (s *Server) serveIntrospection(w http.ResponseWriter, r *http.Request) {
	app, token, failure := s.clientToken(w, r, "introspected via the introspection_endpoint")
	if failure != nil {
		writeError(w, failure)
		return
	}
	writeJSON(w, http.StatusOK, jsonType, s.introspect(app, token))
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
