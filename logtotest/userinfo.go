package logtotest

import (
	"net/http"
	"slices"
	"strings"
)

func (s *Server) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	found := s.accessTokens[bearer]
	if !strings.EqualFold(scheme, "Bearer") || found == nil || found.grant.revoked || s.now().After(found.expires) {
		s.refuseToken(w, http.StatusUnauthorized, "invalid_token", "invalid token provided")
		return
	}
	if !slices.Contains(found.request.scopes, "openid") {
		s.refuseToken(w, http.StatusForbidden, "insufficient_scope", "access token missing openid scope")
		return
	}
	user, ok := s.userByID(found.request.user)
	if !ok {
		writeInvalidGrant(w)
		return
	}
	var answer any = user.claims(found.request.scopes, true)
	if s.faults.userInfo != nil {
		answer = s.faults.userInfo(answer.(map[string]any))
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, "application/json; charset=utf-8", answer)
}

func (s *Server) refuseToken(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.Issuer()+`", error="`+code+`", error_description="`+description+`"`)
	writeError(w, status, code, description)
}
