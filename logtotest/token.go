package logtotest

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const tokenLifetime = time.Hour

// issuedToken is an opaque access token or a refresh token.
type issuedToken struct {
	grant   *grant
	request *interaction
	expires time.Time
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.authenticateClient(w, r) {
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		s.redeemCode(w, r.PostForm)
	case "refresh_token":
		s.refresh(w, r.PostForm)
	default:
		writeError(w, http.StatusBadRequest, "unsupported_grant_type", "unsupported grant_type requested")
	}
}

// authenticateClient accepts client_secret_basic and client_secret_post, one
// at a time.
func (s *Server) authenticateClient(w http.ResponseWriter, r *http.Request) bool {
	if err := r.ParseForm(); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "failed to parse the request body")
		return false
	}
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		if secret != "" {
			writeError(w, http.StatusBadRequest, "invalid_request", "client authentication must only be provided using one mechanism")
			return false
		}
		var err1, err2 error
		id, err1 = url.QueryUnescape(user)
		secret, err2 = url.QueryUnescape(password)
		if err1 != nil || err2 != nil {
			writeError(w, http.StatusBadRequest, "invalid_request", "client_id and client_secret in the authorization header are not properly encoded")
			return false
		}
	}
	switch {
	case id != s.appID:
		writeError(w, http.StatusBadRequest, "invalid_client", "client is invalid")
		return false
	case secret != s.appSecret:
		w.Header().Set("WWW-Authenticate", `Basic realm="`+s.Issuer()+`", error="invalid_client", error_description="client authentication failed"`)
		writeError(w, http.StatusUnauthorized, "invalid_client", "client authentication failed")
		return false
	}
	return true
}

func (s *Server) redeemCode(w http.ResponseWriter, form url.Values) {
	code := s.codes[form.Get("code")]
	switch {
	case code == nil, s.now().After(code.expires):
		writeInvalidGrant(w)
		return
	case code.used:
		code.grant.revoked = true
		writeInvalidGrant(w)
		return
	case form.Get("redirect_uri") != code.interaction.redirectURI, !matchesChallenge(code.interaction.challenge, form.Get("code_verifier")):
		writeInvalidGrant(w)
		return
	}
	code.used = true
	refreshToken := ""
	if slices.Contains(code.interaction.scopes, "offline_access") {
		refreshToken = token()
		s.refreshTokens[refreshToken] = &issuedToken{code.grant, code.interaction, s.now().Add(14 * 24 * time.Hour)}
	}
	s.issue(w, code.grant, code.interaction, refreshToken, "")
}

func matchesChallenge(challenge, verifier string) bool {
	if challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64url.EncodeToString(sum[:]) == challenge
}

func (s *Server) refresh(w http.ResponseWriter, form url.Values) {
	found := s.refreshTokens[form.Get("refresh_token")]
	if found == nil || found.grant.revoked || s.now().After(found.expires) {
		writeInvalidGrant(w)
		return
	}
	resource := form.Get("resource")
	if resource != "" && !slices.Contains(found.request.resources, resource) {
		writeError(w, http.StatusBadRequest, "invalid_target", "resource indicator is missing, or unknown")
		return
	}
	s.issue(w, found.grant, found.request, form.Get("refresh_token"), resource)
}

// issue answers with tokens: an opaque access token, or a JWT for a resource.
func (s *Server) issue(w http.ResponseWriter, under *grant, request *interaction, refreshToken, resource string) {
	user, ok := s.userByID(request.user)
	if !ok {
		writeInvalidGrant(w)
		return
	}
	now := s.now()
	accessToken := token()
	var err error
	if resource == "" {
		s.accessTokens[accessToken] = &issuedToken{under, request, now.Add(tokenLifetime)}
	} else if accessToken, err = s.resourceToken(request, resource, now); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	idToken, err := s.idToken(user, request, now)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer := map[string]any{
		"access_token": accessToken,
		"expires_in":   int(tokenLifetime / time.Second),
		"id_token":     idToken,
		"scope":        strings.Join(request.scopes, " "),
		"token_type":   "Bearer",
	}
	if refreshToken != "" {
		answer["refresh_token"] = refreshToken
	}
	var changed any = answer
	if s.faults.tokenAnswer != nil {
		changed = s.faults.tokenAnswer(answer)
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, "application/json; charset=utf-8", changed)
}

func (s *Server) idToken(user User, request *interaction, now time.Time) (string, error) {
	claims := user.claims(request.scopes, false)
	claims["iss"] = s.Issuer()
	claims["aud"] = s.appID
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(tokenLifetime).Unix()
	if request.nonce != "" {
		claims["nonce"] = request.nonce
	}
	if request.showAuthTime {
		claims["auth_time"] = request.authTime.Unix()
	}
	key := s.keys[0]
	made := &IDToken{
		Header:    map[string]any{"alg": key.algorithm, "kid": key.id},
		Claims:    claims,
		Algorithm: key.algorithm,
		Key:       key.private,
	}
	if s.faults.idToken != nil {
		s.faults.idToken(made)
	}
	if made.Raw != "" {
		return made.Raw, nil
	}
	return SignToken(made.Algorithm, made.Key, made.Header, made.Claims)
}

func (s *Server) resourceToken(request *interaction, resource string, now time.Time) (string, error) {
	var scopes []string
	for _, scope := range request.scopes {
		if !slices.Contains(knownScopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	key := s.keys[0]
	return SignToken(key.algorithm, key.private,
		map[string]any{"alg": key.algorithm, "typ": "at+jwt", "kid": key.id},
		map[string]any{
			"jti": rand.Text(), "sub": request.user, "iat": now.Unix(), "exp": now.Add(tokenLifetime).Unix(),
			"scope": strings.Join(scopes, " "), "client_id": s.appID, "iss": s.Issuer(), "aud": resource,
		})
}

func (s *Server) serveRevocation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.authenticateClient(w, r) {
		return
	}
	for _, tokens := range []map[string]*issuedToken{s.refreshTokens, s.accessTokens} {
		if found := tokens[r.PostForm.Get("token")]; found != nil {
			found.grant.revoked = true
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func writeInvalidGrant(w http.ResponseWriter) {
	writeError(w, http.StatusBadRequest, "invalid_grant", "grant request is invalid")
}
