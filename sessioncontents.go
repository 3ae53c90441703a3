package logtogin

import (
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
)

// What a session keeps, as the application gets it: the claims of its ID token and its access tokens.

// publicToken is what the application gets.
func publicToken(t session.AccessToken) *AccessToken {
	token := &AccessToken{Value: t.Token, Expiry: t.Expires, Scopes: strings.Fields(t.Scope)}
	if read, err := logto.ReadAccessToken(t.Token); err == nil {
		token.Claims = newAccessTokenClaims(read)
	}
	return token
}

// newAccessToken is the access token of an answer, with what it was asked for. One that Bearer refuses, because its user
// has just been revoked, is renewed as soon as a new one is accepted.
func (a *Auth) newAccessToken(subject string, got *logto.Tokens, target session.Target) session.AccessToken {
	token := session.AccessToken{
		Resource: target.Resource, Organization: target.Organization,
		Token: got.AccessToken, Scope: got.Scope, Expires: got.Expires, RenewAt: got.RenewAt,
	}
	if until := a.revocations.refusesTokensUntil(subject); !until.IsZero() {
		token.RenewAt = earlier(token.RenewAt, until.Add(time.Second))
	}
	return token
}

// claimsOf are the claims of the ID token of a session, for the caller alone.
func claimsOf(record *session.Session) (*Claims, error) {
	if known, ok := record.Memo.(*Claims); ok {
		return known.own(), nil
	}
	token, err := logto.ReadIDToken(record.IDToken)
	if err != nil {
		return nil, ErrNotSignedIn
	}
	return newClaims(token), nil
}
