package logtotest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
)

var base64url = base64.RawURLEncoding

type signingKey struct {
	id        string
	algorithm string
	private   crypto.Signer
	jwk       map[string]any
}

// RotateKey makes a new key that signs from now on, as Logto's rotation does.
// The JWK set lists it first, then the one before it; older keys are gone. alg
// is one of ES256, ES384 (which the server starts with), ES512, RS256, PS256
// and EdDSA. Any other is an error.
//
// For a token with a key that it does not know, Bearer fetches the keys at most once in
// 10 s by the application's clock: Advance by those before a token is to be accepted that
// was made after the rotation.
func (s *Server) RotateKey(alg string) error {
	key, err := newSigningKey(alg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = []signingKey{key, s.keys[0]}
	return nil
}

func newSigningKey(algorithm string) (signingKey, error) {
	private, jwk, err := generateKey(algorithm)
	if err != nil {
		return signingKey{}, fmt.Errorf("logtotest: key for %q: %w", algorithm, err)
	}
	// The members so far are the ones that RFC 7638 asks for, and Marshal sorts
	// them as it asks.
	required, err := json.Marshal(jwk)
	if err != nil {
		return signingKey{}, fmt.Errorf("logtotest: %w", err)
	}
	thumbprint := sha256.Sum256(required)
	id := base64url.EncodeToString(thumbprint[:])
	jwk["kid"] = id
	jwk["use"] = "sig"
	if jwk["kty"] != "RSA" {
		jwk["alg"] = algorithm
	}
	return signingKey{id: id, algorithm: algorithm, private: private, jwk: jwk}, nil
}

func generateKey(algorithm string) (crypto.Signer, map[string]any, error) {
	switch algorithm {
	case "ES256":
		return generateECKey(elliptic.P256())
	case "ES384":
		return generateECKey(elliptic.P384())
	case "ES512":
		return generateECKey(elliptic.P521())
	case "RS256", "PS256":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, nil, err
		}
		return key, map[string]any{
			"kty": "RSA",
			"n":   base64url.EncodeToString(key.N.Bytes()),
			"e":   base64url.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}, nil
	case "EdDSA":
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		return key, map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64url.EncodeToString(public)}, nil
	}
	return nil, nil, errUnknownAlgorithm
}

func generateECKey(curve elliptic.Curve) (crypto.Signer, map[string]any, error) {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, nil, err
	}
	x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
	return key, map[string]any{
		"kty": "EC",
		"crv": curve.Params().Name,
		"x":   base64url.EncodeToString(x),
		"y":   base64url.EncodeToString(y),
	}, nil
}

func (s *Server) currentKeys() []signingKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	var keys []map[string]any
	for _, key := range s.currentKeys() {
		keys = append(keys, maps.Clone(key.jwk))
	}
	set, err := changed(s.currentHooks().keys, map[string]any{"keys": keys})
	if err != nil {
		writeError(w, serverError(err))
		return
	}
	w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	writeJSON(w, http.StatusOK, "application/jwk-set+json; charset=utf-8", set)
}
