package logtotest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	accessTokenLifetime = time.Hour
	idTokenLifetime     = time.Hour
)

// tokenSource is the sign-in that a token comes from.
type tokenSource struct {
	app               *Application
	session           *session
	grant             *grant
	userID            string
	nonce             string
	sid               string
	authTime          time.Time // zero: not asked for
	scopes, resources []string
}

// issuedToken is an opaque token.
type issuedToken struct {
	source              tokenSource
	scopes              []string
	issuedAt, expiresAt time.Time

	// Of refresh tokens: when it was replaced by another.
	replacedAt time.Time
}

// isOffline reports whether the token outlives the browser's session.
func (t *issuedToken) isOffline() bool { return slices.Contains(t.source.scopes, "offline_access") }

// liveToken is nil for a token that is unknown, expired or revoked, or that
// ended with the browser session because it came without offline_access.
func (s *Server) liveToken(tokens map[string]*issuedToken, value string) *issuedToken {
	now := s.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	token := tokens[value]
	if token == nil || !token.source.grant.isAlive(now) || now.After(token.expiresAt) {
		return nil
	}
	if !token.isOffline() && !s.lookUp(token.source.session) {
		return nil
	}
	return token
}

// tokenRequest is what a token request asks of a sign-in.
type tokenRequest struct {
	resources      []string
	organizationID string
	scopes         []string
}

// issue makes the token answer, all but its refresh token.
func (s *Server) issue(source tokenSource, asked tokenRequest) (map[string]any, *oidcError) {
	user, ok := s.activeUser(source.userID)
	if !ok {
		return nil, invalidGrant()
	}
	target, failure := s.audienceOf(user, source, asked)
	if failure != nil {
		return nil, failure
	}
	ofProvider := intersection(asked.scopes, supportedScopes)
	answer := map[string]any{"token_type": "Bearer", "expires_in": int(accessTokenLifetime / time.Second)}
	if target.isLogto() {
		answer["access_token"], answer["scope"] = s.remember(s.accessTokens, source, ofProvider, accessTokenLifetime), strings.Join(ofProvider, " ")
	} else {
		scopes := s.permitted(user.holder(), target, s.granted(source, target, asked.scopes))
		token, lifetime, err := s.signAccessToken(source.app.ID, user.ID, target, strings.Join(scopes, " "))
		if err != nil {
			return nil, serverError(err)
		}
		answer["access_token"], answer["scope"] = token, strings.Join(scopes, " ")
		answer["expires_in"] = int(lifetime / time.Second)
	}
	if slices.Contains(asked.scopes, "openid") {
		token, err := s.signIDToken(user, source, ofProvider)
		if err != nil {
			return nil, serverError(err)
		}
		answer["id_token"] = token
	}
	return answer, nil
}

// granted returns which of the scopes the user has granted for this audience. Permissions of organizations
// have no bound of their own: what the roles allow now counts.
func (s *Server) granted(source tokenSource, target audience, scopes []string) []string {
	if target.resource == "" {
		return scopes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return intersection(source.app.consentable(scopes), source.grant.permissions[target.resource])
}

// audienceOf decides what the access token is for.
func (s *Server) audienceOf(user User, source tokenSource, asked tokenRequest) (target audience, failure *oidcError) {
	for _, resource := range asked.resources {
		if !slices.Contains(source.resources, resource) || resource == organizationsResource {
			return target, resourceNotRequested(resource)
		}
	}
	target.organizationID = asked.organizationID
	switch ofAPI := slices.DeleteFunc(slices.Clone(source.resources), func(r string) bool { return r == organizationsResource }); {
	case len(asked.resources) == 1:
		target.resource = asked.resources[0]
	// Without openid the token is of no use at Logto.
	case len(asked.resources) == 0 && asked.organizationID == "" && !slices.Contains(asked.scopes, "openid") && len(ofAPI) == 1:
		target.resource = ofAPI[0]
	}
	// Asked for two resources at once, Logto answers as if for none.
	if target.organizationID == "" {
		return target, nil
	}
	if !slices.Contains(source.scopes, scopeOrganizations) {
		failure = newError(http.StatusForbidden, "insufficient_scope", "refresh token missing required scope")
		failure.Scope = scopeOrganizations
		return target, failure
	}
	return target, s.checkMembership(user, target.organizationID)
}

func (s *Server) checkMembership(user User, organizationID string) *oidcError {
	organization, exists := s.organization(organizationID)
	_, isMember := user.Organizations[organizationID]
	switch {
	case !exists || !isMember:
		return newError(http.StatusForbidden, "access_denied", "user is not a member of the organization")
	case organization.RequiresMFA && !user.HasMFA:
		return newError(http.StatusForbidden, "access_denied", "organization requires MFA but user has no MFA configured")
	}
	return nil
}

// remember makes an opaque token.
func (s *Server) remember(tokens map[string]*issuedToken, source tokenSource, scopes []string, lifetime time.Duration) string {
	now := s.Now()
	value := randomToken()
	s.mu.Lock()
	defer s.mu.Unlock()
	tokens[value] = &issuedToken{source: source, scopes: scopes, issuedAt: now, expiresAt: now.Add(lifetime)}
	return value
}

// signAccessToken makes a JWT access token (RFC 9068); scope is left out if it is
// noScope.
func (s *Server) signAccessToken(appID, subject string, target audience, scope string) (token string, lifetime time.Duration, err error) {
	lifetime = accessTokenLifetime
	if resource, ok := s.resource(target.resource); ok {
		lifetime = resource.AccessTokenLifetime
	}
	claims := map[string]any{
		"jti":       randomToken(),
		"sub":       subject,
		"scope":     scope,
		"client_id": appID,
		"aud":       target.claim(),
	}
	if scope == noScope {
		delete(claims, "scope")
	}
	if target.resource != "" && target.organizationID != "" {
		claims["organization_id"] = target.organizationID
	}
	token, err = s.signToken(accessToken, lifetime, claims)
	return token, lifetime, err
}

const noScope = "\x00"

func (s *Server) signIDToken(user User, source tokenSource, scopes []string) (string, error) {
	claims := s.userInfo(user, scopes)
	maps.DeleteFunc(claims, func(name string, _ any) bool { return slices.Contains(userInfoOnly, name) })
	if !source.authTime.IsZero() {
		claims["auth_time"] = source.authTime.Unix()
	}
	if source.nonce != "" {
		claims["nonce"] = source.nonce
	}
	if source.sid != "" {
		claims["sid"] = source.sid
	}
	claims["aud"] = source.app.ID
	return s.signToken(idToken, idTokenLifetime, claims)
}
