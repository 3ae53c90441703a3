package logtotest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

// member decodes a member of a JWK.
func member(t *testing.T, jwk map[string]any, name string) []byte {
	t.Helper()
	text, _ := jwk[name].(string)
	value, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(value) == 0 {
		t.Fatalf("%s of %v: %v", name, jwk, err)
	}
	return value
}

func verifyEC(t *testing.T, jwk map[string]any, curve elliptic.Curve, digest, signature []byte) bool {
	t.Helper()
	point := append([]byte{4}, append(member(t, jwk, "x"), member(t, jwk, "y")...)...)
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		t.Fatal(err)
	}
	half := len(signature) / 2
	r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
	return half == (curve.Params().BitSize+7)/8 && ecdsa.Verify(key, digest, r, s)
}

func verifyRSA(t *testing.T, jwk map[string]any) *rsa.PublicKey {
	t.Helper()
	exponent := new(big.Int).SetBytes(member(t, jwk, "e"))
	return &rsa.PublicKey{N: new(big.Int).SetBytes(member(t, jwk, "n")), E: int(exponent.Int64())}
}

func TestKeysOfEachAlgorithm(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		required string // of RFC 7638, in its order
		verify   func(t *testing.T, jwk map[string]any, input, signature []byte) bool
	}{
		"ES256": {"crv kty x y", func(t *testing.T, jwk map[string]any, input, signature []byte) bool {
			sum := sha256.Sum256(input)
			return verifyEC(t, jwk, elliptic.P256(), sum[:], signature)
		}},
		"ES384": {"crv kty x y", func(t *testing.T, jwk map[string]any, input, signature []byte) bool {
			sum := sha512.Sum384(input)
			return verifyEC(t, jwk, elliptic.P384(), sum[:], signature)
		}},
		"ES512": {"crv kty x y", func(t *testing.T, jwk map[string]any, input, signature []byte) bool {
			sum := sha512.Sum512(input)
			return verifyEC(t, jwk, elliptic.P521(), sum[:], signature)
		}},
		"RS256": {"e kty n", func(t *testing.T, jwk map[string]any, input, signature []byte) bool {
			sum := sha256.Sum256(input)
			return rsa.VerifyPKCS1v15(verifyRSA(t, jwk), crypto.SHA256, sum[:], signature) == nil
		}},
		"PS256": {"e kty n", func(t *testing.T, jwk map[string]any, input, signature []byte) bool {
			sum := sha256.Sum256(input)
			return rsa.VerifyPSS(verifyRSA(t, jwk), crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: 32}) == nil
		}},
		"EdDSA": {"crv kty x", func(t *testing.T, jwk map[string]any, input, signature []byte) bool {
			return ed25519.Verify(member(t, jwk, "x"), input, signature)
		}},
	}
	for algorithm, test := range tests {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, logtotest.NewServer(t))
			before, _ := decodeToken(t, b.tokens()["id_token"])
			if err := b.server.RotateKey(algorithm); err != nil {
				t.Fatal(err)
			}
			token, _ := b.tokens()["id_token"].(string)
			header, _ := decodeToken(t, token)

			got := b.get(b.server.Endpoint() + "/oidc/jwks")
			if got.header.Get("Cache-Control") != "no-cache, max-age=0, must-revalidate" ||
				got.header.Get("Content-Type") != "application/jwk-set+json; charset=utf-8" {
				t.Errorf("header %v", got.header)
			}
			keys, _ := decode(t, got.body)["keys"].([]any)
			if len(keys) != 2 {
				t.Fatalf("keys %v", keys)
			}
			current, previous := keys[0].(map[string]any), keys[1].(map[string]any)
			if header["alg"] != algorithm || header["kid"] != current["kid"] || before["kid"] != previous["kid"] || current["use"] != "sig" {
				t.Errorf("header %v, keys %v", header, keys)
			}
			if _, has := current["alg"]; has != (current["kty"] != "RSA") || (has && current["alg"] != algorithm) {
				t.Errorf("alg of %v", current)
			}

			var members []string
			for name := range strings.FieldsSeq(test.required) {
				members = append(members, fmt.Sprintf("%q:%q", name, current[name]))
			}
			thumbprint := sha256.Sum256([]byte("{" + strings.Join(members, ",") + "}"))
			if want := base64.RawURLEncoding.EncodeToString(thumbprint[:]); current["kid"] != want {
				t.Errorf("kid %v, want %s", current["kid"], want)
			}

			end := strings.LastIndex(token, ".")
			signature, err := base64.RawURLEncoding.DecodeString(token[end+1:])
			if err != nil || !test.verify(t, current, []byte(token[:end]), signature) {
				t.Errorf("signature of %s with %v (%v)", token, current, err)
			}
			hint := b.get(b.server.Endpoint() + "/oidc/session/end?id_token_hint=" + token)
			if hint.status != http.StatusOK {
				t.Errorf("as a hint: %s", hint.body)
			}
		})
	}
}

func TestARotationKeepsOnePreviousKey(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	for range 2 {
		if err := b.server.RotateKey("ES256"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.server.RotateKey("RS256"); err != nil {
		t.Fatal(err)
	}
	if keys, _ := decode(t, b.get(b.server.Endpoint()+"/oidc/jwks").body)["keys"].([]any); len(keys) != 2 {
		t.Errorf("keys %v", keys)
	}
	document := decode(t, b.get(b.server.Endpoint()+"/oidc/.well-known/openid-configuration").body)
	if got := fmt.Sprint(document["id_token_signing_alg_values_supported"]); got != "[RS256 ES256]" {
		t.Errorf("algorithms %s", got)
	}
	for _, unknown := range []string{"", "none", "HS256", "es256"} {
		if err := b.server.RotateKey(unknown); err == nil {
			t.Errorf("there is a key for %q", unknown)
		}
	}
}

func TestSignTokenWantsAKeyThatFits(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"ES256", "RS256", "PS256", "EdDSA", "HS256", "ES257"} {
		if token, err := logtotest.SignToken(algorithm, 1, nil, nil); err == nil {
			t.Errorf("%s: %s", algorithm, token)
		}
	}
	if _, err := logtotest.SignToken("none", nil, nil, map[string]any{"x": func() {}}); err == nil {
		t.Error("claims that are no JSON")
	}
}

func TestSignInputTakesWhatIsNoToken(t *testing.T) {
	t.Parallel()
	if token, err := logtotest.SignInput("none", nil, "not even. base64"); err != nil || token != "not even. base64." {
		t.Errorf("%q, %v", token, err)
	}
}
