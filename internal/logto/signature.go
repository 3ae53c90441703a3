package logto

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/jsonobject"
)

// MaxToken bounds the tokens that are looked at.
const MaxToken = 64 << 10

// base64url is the encoding of JWS (RFC 7515, section 2), spare bits zero.
var base64url = base64.RawURLEncoding.Strict()

// signed is a token whose signature has been verified and whose claims have
// not.
type signed struct {
	algorithm jwa.SignatureAlgorithm
	header    jsonobject.Object
	payload   []byte
	// withdrawals is keys.withdrawals when the key was fetched.
	withdrawals uint64
}

// verifySignature checks the form, the header and the signature of a token in
// compact serialization (RFC 7515). It does not look at the claims.
//
// Algorithms other than RS256, PS256, ES256, ES384, ES512 and EdDSA are
// refused, "none" and HMAC among them; so is any critical extension. Keys in
// the header, embedded or by reference, are never used.
func (k *keySet) verifySignature(ctx context.Context, token string, cooldown time.Duration) (*signed, error) {
	if len(token) > MaxToken || strings.Count(token, ".") != 2 || strings.ContainsAny(token, "\r\n") {
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
		return nil, fault.InvalidTokenf("the algorithm is not allowed; Logto's signing key must be EC, Ed25519 or RSA")
	}

	candidates, withdrawals, err := k.find(ctx, keyID, algorithm, cooldown)
	if err != nil {
		return nil, err
	}
	if len(candidates) == 0 {
		return nil, fault.InvalidTokenf("no key of Logto's fits; if that lasts, look for a cache before its jwks_uri")
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

// payloadOf returns the claims of a token that was verified before.
func payloadOf(token string) ([]byte, error) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, fault.InvalidTokenf("not a signed token in compact form")
	}
	return base64url.DecodeString(payload)
}
