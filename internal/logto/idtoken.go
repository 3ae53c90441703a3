package logto

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/oauth"
)

// IDToken holds the claims of an ID token (OpenID Connect Core, section 2).
type IDToken struct {
	Claims    jsonobject.Object // all of them
	Issuer    string            // iss
	Subject   string            // sub
	Audience  []string          // aud
	IssuedAt  time.Time         // iat
	Expiry    time.Time         // exp
	AuthTime  time.Time         // auth_time, the zero time if there is none
	SessionID string            // sid, "" if there is none
}

// ReadIDToken reads an ID token that was verified before. Nothing of it is checked.
func ReadIDToken(token string) (IDToken, error) {
	payload, err := payloadOf(token)
	if err != nil {
		return IDToken{}, err
	}
	return readIDToken(payload)
}

func readIDToken(payload []byte) (IDToken, error) {
	claims, err := jsonobject.Parse(payload)
	if err != nil {
		return IDToken{}, fault.InvalidTokenf("the claims are %v", err)
	}
	return IDTokenOf(claims), nil
}

// IDTokenOf reads the claims of an ID token. Nothing of them is checked; one of another type
// leaves its field at the zero value.
func IDTokenOf(claims jsonobject.Object) IDToken {
	token := IDToken{Claims: claims, Issuer: claims.Text("iss"), Subject: claims.Text("sub"), SessionID: claims.Text("sid")}
	token.Audience, _ = claims.TextOrTexts("aud")
	token.IssuedAt, _ = claims.Seconds("iat")
	token.Expiry, _ = claims.Seconds("exp")
	token.AuthTime, _ = claims.Seconds("auth_time")
	return token
}

// IDTokenExpectation holds what VerifyIDToken checks beyond Settings.
type IDTokenExpectation struct {
	// Nonce is the nonce of the sign-in attempt that the token answers.
	Nonce string
	// Original, instead of Nonce, is the ID token that a refreshed one takes the place of.
	Original *IDToken
	// AccessToken came with it; at_hash is about that.
	AccessToken string
	// MaxAge is what was asked for; 0 for none.
	MaxAge time.Duration
	// Freshness is how old the token may be.
	Freshness time.Duration
}

// VerifyRefreshed is VerifyIDToken for an answer to a refresh, whose ID token takes the place of the original one. It
// returns when the new one expires.
func (p *Provider) VerifyRefreshed(ctx context.Context, original string, got *oauth.Tokens, freshness time.Duration) (expiry time.Time, err error) {
	before, err := ReadIDToken(original)
	if err != nil {
		return time.Time{}, err
	}
	token, err := p.VerifyIDToken(ctx, got.IDToken, IDTokenExpectation{Original: &before, AccessToken: got.AccessToken, Freshness: freshness})
	return token.Expiry, err
}

// VerifyIDToken makes the checks of OpenID Connect Core, section 3.1.3.7, and of section 12.2
// for a refreshed one, on a token that came straight from the token endpoint.
//
// The error is a fault.InvalidToken, which names the check; among these a fault.AnotherUser if a
// refreshed token is about another user than the original, and a fault.NotAuthenticatedAgain
// if auth_time does not satisfy MaxAge; or a fault.ProviderUnavailable if the keys cannot be
// had.
func (p *Provider) VerifyIDToken(ctx context.Context, token string, want IDTokenExpectation) (IDToken, error) {
	now := p.settings.Now()
	const noCooldown = 0 // only the token endpoint sends these
	verified, err := p.keys.verifySignature(ctx, token, noCooldown)
	if err != nil {
		return IDToken{}, err
	}
	if typ := verified.header.Text("typ"); typ != "" && !strings.EqualFold(typ, "JWT") {
		return IDToken{}, fault.InvalidTokenf("the type is not that of an ID token")
	}
	found, err := readIDToken(verified.payload)
	if err != nil {
		return IDToken{}, err
	}
	check := idTokenCheck{IDTokenExpectation: want, settings: &p.settings, now: now}
	if err := check.all(&found, verified.algorithm); err != nil {
		return IDToken{}, err
	}
	return found, nil
}

// idTokenCheck is an IDTokenExpectation and what is the same for all ID tokens.
type idTokenCheck struct {
	IDTokenExpectation
	settings *Settings
	now      time.Time
}

func (want *idTokenCheck) all(found *IDToken, algorithm jwa.SignatureAlgorithm) error {
	if found.Issuer != want.settings.Issuer {
		return fault.InvalidTokenf("iss is not %s", want.settings.Issuer)
	}
	if found.Subject == "" {
		return fault.InvalidTokenf("sub is missing")
	}
	if want.settings.AppID == "" || !slices.Contains(found.Audience, want.settings.AppID) {
		return fault.InvalidTokenf("aud is not this application")
	}
	if azp, present, ok := found.Claims.OptionalText("azp"); !ok || (present && azp != want.settings.AppID) || (!present && len(found.Audience) > 1) {
		return fault.InvalidTokenf("azp is not this application")
	}
	if err := want.checkTimes(found); err != nil {
		return err
	}
	if err := want.checkSameSignIn(found); err != nil {
		return err
	}
	if hash, present, ok := found.Claims.OptionalText("at_hash"); !ok || (present && hash != tokenHash(algorithm, want.AccessToken)) {
		return fault.InvalidTokenf("at_hash is not that of the access token")
	}
	return nil
}

// checkSameSignIn makes sure that the token belongs to the sign-in attempt, or that a
// refreshed one belongs to the same sign-in as the one before (OpenID Connect Core,
// section 12.2).
func (want *idTokenCheck) checkSameSignIn(found *IDToken) error {
	nonce, present, ok := found.Claims.OptionalText("nonce")
	if want.Original == nil {
		if want.Nonce == "" || subtle.ConstantTimeCompare([]byte(nonce), []byte(want.Nonce)) != 1 {
			return fault.InvalidTokenf("nonce is not that of the sign-in attempt")
		}
		return nil
	}
	if found.Subject != want.Original.Subject {
		return fault.AnotherUser
	}
	before, after := slices.Sorted(slices.Values(want.Original.Audience)), slices.Sorted(slices.Values(found.Audience))
	if !slices.Equal(before, after) {
		return fault.InvalidTokenf("aud is not that of the ID token before")
	}
	if original, _, _ := want.Original.Claims.OptionalText("nonce"); !ok || (present && nonce != original) {
		return fault.InvalidTokenf("nonce is not that of the ID token before")
	}
	if found.Claims.Has("auth_time") && want.Original.Claims.Has("auth_time") && !found.AuthTime.Equal(want.Original.AuthTime) {
		return fault.InvalidTokenf("auth_time is not that of the ID token before")
	}
	return nil
}

// clockCure is what the operator does about a token from the past or the future.
const clockCure = "compare the clock of this machine with Logto's (NTP), and the difference with Config.ClockSkew"

func inSeconds(d time.Duration) int64 { return int64(d.Round(time.Second) / time.Second) }

func (want *idTokenCheck) checkTimes(found *IDToken) error {
	claims := found.Claims
	expiry, hasExpiry := claims.Seconds("exp")
	issuedAt, hasIssuedAt := claims.Seconds("iat")
	// Logto has issued the token just now, so the age is about how far the clocks are apart.
	age := want.now.Sub(issuedAt)
	switch {
	case !hasExpiry:
		return fault.InvalidTokenf("exp is missing")
	case !hasIssuedAt:
		return fault.InvalidTokenf("iat is missing")
	case !want.now.Before(expiry.Add(want.settings.ClockSkew)):
		return fault.InvalidTokenf("exp is %d seconds past, and iat %d seconds; %s", inSeconds(want.now.Sub(expiry)), inSeconds(age), clockCure)
	case age < -want.settings.ClockSkew:
		return fault.InvalidTokenf("iat is %d seconds in the future; %s", inSeconds(-age), clockCure)
	case age > want.Freshness+want.settings.ClockSkew:
		return fault.InvalidTokenf("iat is %d seconds past; %s", inSeconds(age), clockCure)
	}
	if claims.Has("nbf") {
		notBefore, ok := claims.Seconds("nbf")
		if !ok || notBefore.After(want.now.Add(want.settings.ClockSkew)) {
			return fault.InvalidTokenf("nbf is in the future")
		}
	}
	authTime, ok := claims.Seconds("auth_time")
	if claims.Has("auth_time") && !ok {
		return fault.InvalidTokenf("auth_time is not a time")
	}
	if want.MaxAge > 0 && (!ok || want.now.After(authTime.Add(want.MaxAge+want.settings.ClockSkew))) {
		return fault.NotAuthenticatedAgain
	}
	return nil
}

// tokenHash is the at_hash of an access token (OpenID Connect Core, section
// 3.1.3.6): the left half of its hash, by the hash of the signature algorithm.
func tokenHash(algorithm jwa.SignatureAlgorithm, accessToken string) string {
	var hasher hash.Hash
	switch algorithm {
	case jwa.ES384:
		hasher = sha512.New384()
	case jwa.ES512, jwa.EdDSA:
		hasher = sha512.New()
	default:
		hasher = sha256.New()
	}
	hasher.Write([]byte(accessToken))
	sum := hasher.Sum(nil)
	return base64url.EncodeToString(sum[:len(sum)/2])
}
