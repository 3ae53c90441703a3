package logtotest

import (
	"slices"
	"strings"
	"time"
)

const (
	accessTokenLifetime  = time.Hour
	idTokenLifetime      = time.Hour
	refreshTokenLifetime = 14 * 24 * time.Hour
)

// tokenSource is the sign-in that a token comes from.
type tokenSource struct {
	session           *session
	grant             *grant
	userID            string
	nonce             string
	authTime          time.Time // zero: not asked for
	scopes, resources []string
}

// issuedToken is an opaque token.
type issuedToken struct {
	source    tokenSource
	scopes    []string
	expiresAt time.Time
}

// liveToken is nil for a token that is unknown, expired or revoked, or that
// ended with the browser session because it came without offline_access.
func (s *Server) liveToken(tokens map[string]*issuedToken, value string) *issuedToken {
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	token := tokens[value]
	if token == nil || token.source.grant.revoked || now.After(token.expiresAt) {
		return nil
	}
	if token.source.session.ended && !slices.Contains(token.source.scopes, "offline_access") {
		return nil
	}
	return token
}

// issue makes the token answer, all but its refresh token.
func (s *Server) issue(source tokenSource, resources, scopes []string) (map[string]any, *oidcError) {
	for _, resource := range resources {
		if !slices.Contains(source.resources, resource) || resource == organizationsResource {
			return nil, invalidTarget()
		}
	}
	user, ok := s.user(func(u User) bool { return u.ID == source.userID })
	if !ok {
		return nil, invalidGrant()
	}
	ofProvider := slices.Clone(scopes)
	ofProvider = slices.DeleteFunc(ofProvider, func(scope string) bool { return !slices.Contains(supportedScopes, scope) })
	answer := map[string]any{
		"expires_in": int(accessTokenLifetime / time.Second),
		"token_type": "Bearer",
	}
	// Asked for two resources at once, Logto answers as if for none.
	if len(resources) == 1 {
		ofResource := slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return slices.Contains(supportedScopes, scope) })
		token, err := s.signAccessToken(source, resources[0], ofResource)
		if err != nil {
			return nil, serverError(err)
		}
		answer["access_token"], answer["scope"] = token, strings.Join(ofResource, " ")
	} else {
		answer["access_token"], answer["scope"] = s.issueAccessToken(source, ofProvider), strings.Join(ofProvider, " ")
	}
	if slices.Contains(scopes, "openid") {
		token, err := s.signIDToken(user, source, ofProvider)
		if err != nil {
			return nil, serverError(err)
		}
		answer["id_token"] = token
	}
	return answer, nil
}

func (s *Server) issueAccessToken(source tokenSource, scopes []string) string {
	return s.remember(s.accessTokens, issuedToken{source: source, scopes: scopes}, accessTokenLifetime)
}

func (s *Server) issueRefreshToken(source tokenSource) string {
	return s.remember(s.refreshTokens, issuedToken{source: source, scopes: source.scopes}, refreshTokenLifetime)
}

func (s *Server) remember(tokens map[string]*issuedToken, token issuedToken, lifetime time.Duration) string {
	value := randomToken()
	token.expiresAt = s.clock().Add(lifetime)
	s.mu.Lock()
	defer s.mu.Unlock()
	tokens[value] = &token
	return value
}

func (s *Server) signAccessToken(source tokenSource, resource string, scopes []string) (string, error) {
	key := s.currentKeys()[0]
	now := s.clock()
	return SignToken(key.algorithm, key.private,
		map[string]any{"alg": key.algorithm, "typ": "at+jwt", "kid": key.id},
		map[string]any{
			"jti":       randomToken(),
			"sub":       source.userID,
			"iat":       now.Unix(),
			"exp":       now.Add(accessTokenLifetime).Unix(),
			"scope":     strings.Join(scopes, " "),
			"client_id": s.appID,
			"iss":       s.Issuer(),
			"aud":       resource,
		})
}

func (s *Server) signIDToken(user User, source tokenSource, scopes []string) (string, error) {
	now := s.clock()
	claims := user.idTokenClaims(scopes)
	if !source.authTime.IsZero() {
		claims["auth_time"] = source.authTime.Unix()
	}
	if source.nonce != "" {
		claims["nonce"] = source.nonce
	}
	claims["aud"] = s.appID
	claims["exp"] = now.Add(idTokenLifetime).Unix()
	claims["iat"] = now.Unix()
	claims["iss"] = s.Issuer()

	key := s.currentKeys()[0]
	token := IDToken{
		Header:    map[string]any{"alg": key.algorithm, "kid": key.id},
		Claims:    claims,
		Algorithm: key.algorithm,
		Key:       key.private,
	}
	if change := s.currentFaults().idToken; change != nil {
		var err error
		if token.Claims, err = decodedJSON(claims); err != nil {
			return "", err
		}
		change(&token)
		if token.Raw != "" {
			return token.Raw, nil
		}
	}
	return SignToken(token.Algorithm, token.Key, token.Header, token.Claims)
}
