package logtotest

import (
	"encoding/json"
	"fmt"

	"github.com/logtogin/logtogin/logtotest/internal/jose"
)

// JWT is a token on its way to be signed.
type JWT struct {
	// Header and Claims are what the token will say. Numbers are float64, as
	// in any decoded JSON.
	Header, Claims map[string]any

	// Algorithm and Key are what it is signed with; SignToken says which fit
	// together. They do not follow Header["alg"], nor does the header follow
	// them.
	Algorithm string
	Key       any

	// Raw, if set, is sent in place of the signed token.
	Raw string
}

// SignToken makes a JWT (a JWS in compact form). alg decides how it is signed,
// whatever the header says: ES256, ES384 or ES512 with an *ecdsa.PrivateKey of
// any curve, RS256 or PS256 with an *rsa.PrivateKey, EdDSA with an
// ed25519.PrivateKey, HS256 with a []byte, none with whatever there is.
func SignToken(alg string, key any, header, claims map[string]any) (string, error) {
	head, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("logtotest: header: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("logtotest: claims: %w", err)
	}
	return SignInput(alg, key, jose.Encode(head)+"."+jose.Encode(payload))
}

// SignInput appends the signature of a JWS signing input, which may be any
// text: it is the last step of SignToken, for tokens that are malformed on
// purpose.
func SignInput(alg string, key any, input string) (string, error) {
	signature, err := jose.Sign(alg, key, []byte(input))
	if err != nil {
		return "", fmt.Errorf("logtotest: sign with %q and %T: %w", alg, key, err)
	}
	return input + "." + jose.Encode(signature), nil
}
