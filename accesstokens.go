package logtogin

import (
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/logto"
)

// The access tokens that a session keeps.

// accessToken returns the session's token for a target.
func (s *session) accessToken(target tokenTarget) (accessToken, bool) {
	for _, token := range s.accessTokens {
		if token.target() == target {
			return token, true
		}
	}
	return accessToken{}, false
}

func (t accessToken) target() tokenTarget { return tokenTarget{t.resource, t.organization} }

func (t accessToken) public() *AccessToken {
	token := &AccessToken{Value: t.token, Expiry: t.expires, Scopes: strings.Fields(t.scope)}
	if read, err := logto.ReadAccessToken(t.token); err == nil {
		token.Claims = newAccessTokenClaims(read)
	}
	return token
}

// newAccessToken is the access token of an answer, with what it was asked for. One that Bearer refuses, because its user
// has just been revoked, is renewed as soon as a new one is accepted.
func (a *Auth) newAccessToken(subject string, got *logto.Tokens, target tokenTarget) accessToken {
	token := accessToken{
		resource: target.resource, organization: target.organization,
		token: got.AccessToken, scope: got.Scope, expires: got.Expires, renewAt: got.RenewAt,
	}
	if until := a.revocations.refusesTokensUntil(subject); !until.IsZero() {
		token.renewAt = earlier(token.renewAt, until.Add(time.Second))
	}
	return token
}
