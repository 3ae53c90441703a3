package logtotest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func (s *Server) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	challenge := fmt.Sprintf("Bearer realm=%q", s.Issuer())
	value, failure := bearerToken(r)
	if failure != nil {
		if failure.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		writeError(w, failure)
		return
	}
	refuse := func(failure *oidcError, more string) {
		w.Header().Set("WWW-Authenticate", challenge+
			fmt.Sprintf(", error=%q, error_description=%q%s", failure.Name, failure.Description, more))
		writeError(w, failure)
	}
	// An access token for a resource is a JWT, which is none of these.
	token := s.liveToken(s.accessTokens, value)
	if token == nil {
		refuse(newError(http.StatusUnauthorized, "invalid_token", "invalid token provided"), "")
		return
	}
	if failure := s.checkOrigin(w, r, token.source.app); failure != nil {
		writeError(w, failure)
		return
	}
	if !slices.Contains(token.scopes, "openid") {
		failure := newError(http.StatusForbidden, "insufficient_scope", "access token missing openid scope")
		failure.Scope = "openid"
		refuse(failure, `, scope="openid"`)
		return
	}
	user, ok := s.activeUser(token.source.userID)
	if !ok {
		writeError(w, invalidGrant())
		return
	}
	s.writeDocument(w, UserInfo, jsonType, s.userInfo(user, token.scopes))
}

// bearerToken takes the token from the header or, as RFC 6750 allows, from a
// form.
func bearerToken(r *http.Request) (string, *oidcError) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return "", invalidRequest("invalid authorization header value format")
		}
		return token, nil
	}
	if r.Method == http.MethodPost && r.ParseForm() == nil && r.PostForm.Get("access_token") != "" {
		return r.PostForm.Get("access_token"), nil
	}
	return "", newError(http.StatusUnauthorized, "invalid_token", "no access token provided")
}
