package logtogin

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/jsonobject"
)

// maxToken bounds the tokens that are looked at.
const maxToken = 64 << 10

// base64url is the encoding of JWS (RFC 7515, section 2), spare bits zero.
var base64url = base64.RawURLEncoding.Strict()

// signed is a token whose signature has been verified and whose claims have
// not.
type signed struct {
	algorithm jwa.SignatureAlgorithm
	header    jsonobject.Object
	payload   []byte
	// withdrawals is how often keys had been withdrawn before the one was fetched by which
	// it was verified.
	withdrawals uint64
}

// verifySignature checks the form, the header and the signature of a token in
// compact serialization (RFC 7515). It does not look at the claims.
//
// Algorithms other than RS256, PS256, ES256, ES384, ES512 and EdDSA are
// refused, "none" and HMAC among them; so is any critical extension. Keys in
// the header, embedded or by reference, are never used.
func verifySignature(ctx context.Context, keys *keySet, token string, cooldown time.Duration) (*signed, error) {
	if len(token) > maxToken || strings.Count(token, ".") != 2 || strings.ContainsAny(token, "\r\n") {
		return nil, fault.InvalidTokenf("not a signed token in compact form")
	}
	last := strings.LastIndexByte(token, '.')
	signingInput := token[:last]
	encodedHeader, encodedPayload, _ := strings.Cut(signingInput, ".")
	rawHeader, err1 := base64url.DecodeString(encodedHeader)
	payload, err2 := base64url.DecodeString(encodedPayload)
	signature, err3 := base64url.DecodeString(token[last+1:])
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, fault.InvalidTokenf("not base64url")
	}
	header, err := jsonobject.Parse(rawHeader)
	if err != nil {
		return nil, fault.InvalidTokenf("the header is %v", err)
	}
	if header.Has("crit") || header.Has("b64") {
		return nil, fault.InvalidTokenf("the header has a critical extension")
	}
	keyID, algorithm := header.Text("kid"), jwa.SignatureAlgorithm(header.Text("alg"))
	switch algorithm {
	case jwa.RS256, jwa.PS256, jwa.ES256, jwa.ES384, jwa.ES512, jwa.EdDSA:
	default:
		return nil, fault.InvalidTokenf("the algorithm is not allowed")
	}

	candidates, withdrawals, err := keys.find(ctx, keyID, algorithm, cooldown)
	if err != nil {
		return nil, err
	}
	if len(candidates) == 0 {
		return nil, fault.InvalidTokenf("no key of Logto's fits")
	}
	verifier, err := jws.NewVerifier(algorithm)
	if err != nil {
		return nil, fault.InvalidTokenf("the algorithm is not available")
	}
	for _, key := range candidates {
		if verifier.Verify([]byte(signingInput), signature, key.public) == nil {
			return &signed{algorithm, header, payload, withdrawals}, nil
		}
	}
	return nil, fault.InvalidTokenf("the signature is wrong")
}

// idTokenExpectation is what an ID token must say to be believed.
type idTokenExpectation struct {
	issuer, appID string
	nonce         string        // of the attempt that the token answers
	original      *Claims       // of the ID token that a refreshed one takes the place of; instead of nonce
	accessToken   string        // that came with it; for at_hash
	maxAge        time.Duration // that was asked for; 0 for none
	freshness     time.Duration // how old the token may be
	now           time.Time
	skew          time.Duration
}

// verifyIDToken makes the checks of OpenID Connect Core, section 3.1.3.7, on a
// token that came straight from the token endpoint.
func verifyIDToken(ctx context.Context, keys *keySet, token string, want idTokenExpectation) (*Claims, error) {
	const anyTime = 0 // the token endpoint does not send us unknown keys for fun
	verified, err := verifySignature(ctx, keys, token, anyTime)
	if err != nil {
		return nil, err
	}
	typ := verified.header.Text("typ")
	if typ != "" && !strings.EqualFold(typ, "JWT") {
		return nil, fault.InvalidTokenf("the type is not that of an ID token")
	}
	claims, err := newClaims(verified.payload)
	if err != nil {
		return nil, fault.InvalidTokenf("the claims are %v", err)
	}
	if err := want.check(claims, verified.algorithm); err != nil {
		return nil, err
	}
	return claims, nil
}

func (want *idTokenExpectation) check(claims *Claims, algorithm jwa.SignatureAlgorithm) error {
	if claims.Issuer != want.issuer {
		return fault.InvalidTokenf("iss is not %s", want.issuer)
	}
	if claims.Subject == "" {
		return fault.InvalidTokenf("sub is missing")
	}
	if want.appID == "" || !slices.Contains(claims.Audience, want.appID) {
		return fault.InvalidTokenf("aud is not this application")
	}
	if azp, present, ok := claims.object.OptionalText("azp"); !ok || (present && azp != want.appID) || (!present && len(claims.Audience) > 1) {
		return fault.InvalidTokenf("azp is not this application")
	}
	if err := want.checkTimes(claims); err != nil {
		return err
	}
	if err := want.checkSameSignIn(claims); err != nil {
		return err
	}
	if hash, present, ok := claims.object.OptionalText("at_hash"); !ok || (present && hash != tokenHash(algorithm, want.accessToken)) {
		return fault.InvalidTokenf("at_hash is not that of the access token")
	}
	return nil
}

// checkSameSignIn makes sure that the token belongs to the sign-in attempt, or that a
// refreshed one belongs to the same sign-in as the one before (OpenID Connect Core,
// section 12.2).
func (want *idTokenExpectation) checkSameSignIn(claims *Claims) error {
	nonce, present, ok := claims.object.OptionalText("nonce")
	if want.original == nil {
		if want.nonce == "" || subtle.ConstantTimeCompare([]byte(nonce), []byte(want.nonce)) != 1 {
			return fault.InvalidTokenf("nonce is not that of the sign-in attempt")
		}
		return nil
	}
	if claims.Subject != want.original.Subject {
		return fault.AnotherUser
	}
	before, after := slices.Sorted(slices.Values(want.original.Audience)), slices.Sorted(slices.Values(claims.Audience))
	if !slices.Equal(before, after) {
		return fault.InvalidTokenf("aud is not that of the ID token before")
	}
	if original, _, _ := want.original.object.OptionalText("nonce"); !ok || (present && nonce != original) {
		return fault.InvalidTokenf("nonce is not that of the ID token before")
	}
	if claims.Has("auth_time") && want.original.Has("auth_time") && !claims.AuthTime.Equal(want.original.AuthTime) {
		return fault.InvalidTokenf("auth_time is not that of the ID token before")
	}
	return nil
}

func (want *idTokenExpectation) checkTimes(claims *Claims) error {
	set := claims.object
	expiry, ok := set.Seconds("exp")
	if !ok || !want.now.Before(expiry.Add(want.skew)) {
		return fault.InvalidTokenf("exp is missing or past")
	}
	issuedAt, ok := set.Seconds("iat")
	if !ok || issuedAt.After(want.now.Add(want.skew)) || issuedAt.Before(want.now.Add(-want.freshness-want.skew)) {
		return fault.InvalidTokenf("iat is missing, in the future, or long past")
	}
	if set.Has("nbf") {
		notBefore, ok := set.Seconds("nbf")
		if !ok || notBefore.After(want.now.Add(want.skew)) {
			return fault.InvalidTokenf("nbf is in the future")
		}
	}
	authTime, ok := set.Seconds("auth_time")
	if set.Has("auth_time") && !ok {
		return fault.InvalidTokenf("auth_time is not a time")
	}
	if want.maxAge > 0 && (!ok || want.now.After(authTime.Add(want.maxAge+want.skew))) {
		return fault.NotAuthenticatedAgain
	}
	return nil
}

// unknownKeyCooldown is how soon after a fetch of the keys a token with an unknown key
// causes the next one. Anybody can send such a token.
const unknownKeyCooldown = 10 * time.Second

// logoutKeyCooldown is the same for logout tokens, which Logto sends once.
const logoutKeyCooldown = time.Second

// verifyAccessToken makes those checks of RFC 9068, section 4, that are the same for every
// guard: type, signature, issuer and times. The audience is the guard's business.
func verifyAccessToken(ctx context.Context, keys *keySet, token string, issuers []string, now time.Time, skew time.Duration) (*verifiedToken, error) {
	verified, err := verifySignature(ctx, keys, token, unknownKeyCooldown)
	if err != nil {
		return nil, err
	}
	typ := verified.header.Text("typ")
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "at+jwt":
	case "logout+jwt":
		return nil, fault.InvalidTokenf("it is a logout token")
	case "jwt", "":
		return nil, fault.InvalidTokenf("it is an ID token or one of another kind, not an access token (typ at+jwt)")
	default:
		return nil, fault.InvalidTokenf("typ is not at+jwt")
	}
	claims, err := newAccessTokenClaims(verified.payload)
	if err != nil {
		return nil, fault.InvalidTokenf("the claims are %v", err)
	}
	set := claims.object
	expiry, hasExpiry := set.Seconds("exp")
	issuedAt, hasIssuedAt := set.Seconds("iat")
	notBefore, hasNotBefore := set.Seconds("nbf")
	switch {
	case !slices.Contains(issuers, claims.Issuer):
		return nil, fault.InvalidTokenf("iss is not %s", strings.Join(issuers, " or "))
	case claims.Subject == "" || claims.ClientID == "":
		return nil, fault.InvalidTokenf("sub or client_id is missing")
	case len(claims.Audience) == 0:
		return nil, fault.InvalidTokenf("aud is missing")
	case !hasExpiry || !now.Before(expiry.Add(skew)):
		return nil, fault.InvalidTokenf("exp is missing or past")
	case !hasIssuedAt || issuedAt.After(now.Add(skew)):
		return nil, fault.InvalidTokenf("iat is missing or in the future")
	case set.Has("nbf") && (!hasNotBefore || notBefore.After(now.Add(skew))):
		return nil, fault.InvalidTokenf("nbf is in the future")
	case set.Has("organization_id") && claims.OrganizationID == "":
		return nil, fault.InvalidTokenf("organization_id is empty or no string")
	}
	return &verifiedToken{claims, expiry.Add(skew), verified.withdrawals}, nil
}

// backchannelEvent is the member of "events" that makes a token a logout token.
const backchannelEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutToken is what a logout token that was verified says.
type logoutToken struct {
	id        string // jti
	subject   string // sub, or "" if there is a sid
	sessionID string // sid, or "" if there is a sub
	issuedAt  time.Time
}

// verifyLogoutToken makes the checks of OpenID Connect Back-Channel Logout 1.0, section
// 2.6, but for that of its having come before. "exp" need not be there, because Logto 1.41
// and older sends none; "iat" must be recent in any case.
func verifyLogoutToken(ctx context.Context, keys *keySet, token, issuer, appID string, now time.Time, skew time.Duration) (*logoutToken, error) {
	verified, err := verifySignature(ctx, keys, token, logoutKeyCooldown)
	if err != nil {
		return nil, err
	}
	typ, hasType, isText := verified.header.OptionalText("typ")
	if !isText || (hasType && strings.TrimPrefix(strings.ToLower(typ), "application/") != "logout+jwt") {
		return nil, fault.InvalidTokenf("typ is not logout+jwt")
	}
	set, err := jsonobject.Parse(verified.payload)
	if err != nil {
		return nil, fault.InvalidTokenf("the claims are %v", err)
	}
	audience, hasAudience := set.TextOrTexts("aud")
	issuedAt, hasIssuedAt := set.Seconds("iat")
	expiry, hasExpiry := set.Seconds("exp")
	found := &logoutToken{id: set.Text("jti"), subject: set.Text("sub"), sessionID: set.Text("sid"), issuedAt: issuedAt}
	switch {
	case set.Text("iss") != issuer:
		return nil, fault.InvalidTokenf("iss is not %s", issuer)
	case appID == "" || !hasAudience || !slices.Contains(audience, appID):
		return nil, fault.InvalidTokenf("aud is not this application")
	case !hasIssuedAt || issuedAt.After(now.Add(skew)) || issuedAt.Before(now.Add(-logoutTokenAge-skew)):
		return nil, fault.InvalidTokenf("iat is missing, in the future, or long past")
	case set.Has("exp") && (!hasExpiry || !now.Before(expiry.Add(skew))):
		return nil, fault.InvalidTokenf("exp is past")
	case !hasLogoutEvent(set):
		return nil, fault.InvalidTokenf("events does not say that it is a logout")
	case found.subject == "" && found.sessionID == "", set.Has("sub") && found.subject == "", set.Has("sid") && found.sessionID == "":
		return nil, fault.InvalidTokenf("sub and sid are missing or empty")
	case set.Has("nonce"):
		return nil, fault.InvalidTokenf("it has a nonce, as ID tokens have")
	case found.id == "":
		return nil, fault.InvalidTokenf("jti is missing")
	}
	return found, nil
}

func hasLogoutEvent(set jsonobject.Object) bool {
	events, err := jsonobject.Parse(set.Member("events"))
	if err != nil {
		return false
	}
	_, err = jsonobject.Parse(events.Member(backchannelEvent))
	return err == nil
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

// checkUserInfo makes sure that a user info answer is about the user of the
// session (OpenID Connect Core, section 5.3.2).
func checkUserInfo(body []byte, subject string) (*UserInfo, error) {
	set, err := jsonobject.Parse(body)
	if err != nil {
		return nil, fault.InvalidTokenf("the user info is %v", err)
	}
	info := &UserInfo{UserClaims: newUserClaims(set)}
	if info.Subject == "" || info.Subject != subject {
		return nil, fault.InvalidTokenf("the user info is about another user")
	}
	return info, nil
}

// payloadOf returns the claims of a token that was verified before.
func payloadOf(token string) ([]byte, error) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, fault.InvalidTokenf("not a signed token in compact form")
	}
	return base64url.DecodeString(payload)
}
