package logto

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/recent"
)

// unknownKeyCooldown is how soon after a fetch of the keys a token with an unknown key
// causes the next one. Anybody can send such a token.
const unknownKeyCooldown = 10 * time.Second

// AccessToken holds the claims of an access token that is a JWT (RFC 9068, section 2.2).
type AccessToken struct {
	Claims         jsonobject.Object // all of them
	Subject        string            // sub
	ClientID       string            // client_id
	Issuer         string            // iss
	Audience       []string          // aud
	Scopes         []string          // scope
	OrganizationID string            // organization_id
	IssuedAt       time.Time         // iat
	Expiry         time.Time         // exp
	ID             string            // jti
}

// ReadAccessToken parses an access token without verifying it: for tokens that were verified
// before, and for tokens that another API verifies.
func ReadAccessToken(token string) (AccessToken, error) {
	payload, err := payloadOf(token)
	if err != nil {
		return AccessToken{}, err
	}
	return readAccessToken(payload)
}

func readAccessToken(payload []byte) (AccessToken, error) {
	claims, err := jsonobject.Parse(payload)
	if err != nil {
		return AccessToken{}, fault.InvalidTokenf("the claims are %v", err)
	}
	return AccessTokenOf(claims), nil
}

// AccessTokenOf reads the claims of an access token. Nothing of them is checked; one of another
// type leaves its field at the zero value.
func AccessTokenOf(claims jsonobject.Object) AccessToken {
	token := AccessToken{
		Claims:         claims,
		Subject:        claims.Text("sub"),
		ClientID:       claims.Text("client_id"),
		Issuer:         claims.Text("iss"),
		Scopes:         strings.Fields(claims.Text("scope")),
		OrganizationID: claims.Text("organization_id"),
		ID:             claims.Text("jti"),
	}
	token.Audience, _ = claims.TextOrTexts("aud")
	token.IssuedAt, _ = claims.Seconds("iat")
	token.Expiry, _ = claims.Seconds("exp")
	return token
}

// IsBearerToken reports whether a text has the form of a token in the header Authorization, which is b64token of
// RFC 6750, section 2.1.
func IsBearerToken(text string) bool {
	for i := range len(text) {
		if !inBearerToken[text[i]] {
			return false
		}
	}
	return text != ""
}

var inBearerToken = func() (is [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") {
		is[b] = true
	}
	return is
}()

// maxVerified bounds the verified tokens in memory, of about 2 KiB each. That so few do is because
// those that come often are kept.
const maxVerified = 8192

// verifiedAccessToken is an access token whose type, signature, issuer and times were verified.
type verifiedAccessToken struct {
	AccessToken
	acceptedUntil time.Time // its expiry and the clock skew
	// withdrawals is how often keys had been withdrawn at verification. If it was more often by now, the key may be
	// withdrawn, too.
	withdrawals uint64
}

// VerifyAccessToken makes those checks of RFC 9068, section 4, that are the same for every API:
// type, signature, issuer and times. It does not check the audience, nor what the token permits.
// A token is verified once and then remembered while it lasts and its key is Logto's; isKnown
// says that it was. The result is shared: do not change it.
//
// The error is a fault.InvalidToken, which names the check, or a fault.ProviderUnavailable if
// the keys cannot be had.
func (p *Provider) VerifyAccessToken(ctx context.Context, token string) (found *AccessToken, isKnown bool, err error) {
	withdrawals, err := p.KeyWithdrawals(ctx)
	if err != nil {
		return nil, false, err
	}
	digest := recent.DigestOf(token)
	known, ok := p.verified.Get(digest)
	if ok && known.withdrawals == withdrawals && p.settings.Now().Before(known.acceptedUntil) {
		return &known.AccessToken, true, nil
	}
	verified, err := p.verifyAccessToken(ctx, token)
	if err != nil {
		return nil, false, err
	}
	p.verified.Put(digest, verified)
	return &verified.AccessToken, false, nil
}

func (p *Provider) verifyAccessToken(ctx context.Context, token string) (*verifiedAccessToken, error) {
	now, skew, issuers := p.settings.Now(), p.settings.ClockSkew, p.settings.AccessTokenIssuers
	verified, err := p.keys.verifySignature(ctx, token, unknownKeyCooldown)
	if err != nil {
		return nil, err
	}
	if err := checkAccessTokenType(verified.header.Text("typ")); err != nil {
		return nil, err
	}
	found, err := readAccessToken(verified.payload)
	if err != nil {
		return nil, err
	}
	claims := found.Claims
	_, hasExpiry := claims.Seconds("exp")
	_, hasIssuedAt := claims.Seconds("iat")
	notBefore, hasNotBefore := claims.Seconds("nbf")
	switch {
	case !slices.Contains(issuers, found.Issuer):
		// A tenant signs by the same keys under each of its domains.
		err = fault.Misconfiguredf("iss is not %s; if the client signs in at another domain of this Logto, add its issuer to Config.AdditionalIssuers, or change Config.Endpoint", strings.Join(issuers, " or "))
	case found.Subject == "" || found.ClientID == "":
		err = fault.InvalidTokenf("sub or client_id is missing")
	case len(found.Audience) == 0:
		err = fault.InvalidTokenf("aud is missing")
	case !hasExpiry:
		err = fault.InvalidTokenf("exp is missing")
	case !hasIssuedAt:
		err = fault.InvalidTokenf("iat is missing")
	case !now.Before(found.Expiry.Add(skew)): // which happens to every token that a client keeps
		err = fault.InvalidTokenf("exp is %d seconds past", inSeconds(now.Sub(found.Expiry)))
	case found.IssuedAt.After(now.Add(skew)):
		err = fault.Misconfiguredf("iat is %d seconds in the future; %s", inSeconds(found.IssuedAt.Sub(now)), clockCure)
	case claims.Has("nbf") && (!hasNotBefore || notBefore.After(now.Add(skew))):
		err = fault.InvalidTokenf("nbf is in the future")
	case claims.Has("organization_id") && found.OrganizationID == "":
		err = fault.InvalidTokenf("organization_id is empty or no string")
	}
	if err != nil {
		return nil, err
	}
	return &verifiedAccessToken{found, found.Expiry.Add(skew), verified.withdrawals}, nil
}

// checkAccessTokenType tells access tokens from all else that Logto signs (RFC 9068,
// section 4; RFC 8725, section 3.11).
func checkAccessTokenType(typ string) error {
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "at+jwt":
		return nil
	case "logout+jwt":
		return fault.InvalidTokenf("it is a logout token")
	case "jwt", "":
		return fault.InvalidTokenf("it is an ID token or one of another kind, not an access token (typ at+jwt)")
	}
	return fault.InvalidTokenf("typ is not at+jwt")
}
