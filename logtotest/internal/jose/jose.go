// Package jose makes the keys and signatures of the fake Logto (RFC 7515, 7517 and 7518), those
// included that nobody should accept.
package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // registers crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

var (
	errUnknownAlgorithm = errors.New("unknown algorithm")
	errWrongKey         = errors.New("the key is not of the right type")
)

var hashes = map[string]crypto.Hash{
	"ES256": crypto.SHA256,
	"ES384": crypto.SHA384,
	"ES512": crypto.SHA512,
	"RS256": crypto.SHA256,
	"PS256": crypto.SHA256,
}

var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// Key is a key pair of the server.
type Key struct {
	ID        string // its thumbprint (RFC 7638)
	Algorithm string
	Private   crypto.Signer
	JWK       map[string]any // of the public key
}

// NewKey makes a key for ES256, ES384, ES512, RS256, PS256 or EdDSA. Any other algorithm is an
// error.
func NewKey(algorithm string) (Key, error) {
	private, jwk, err := generate(algorithm)
	if err != nil {
		return Key{}, fmt.Errorf("logtotest: key for %q: %w", algorithm, err)
	}
	// The members so far are the ones that RFC 7638 asks for, and Marshal sorts
	// them as it asks.
	required, err := json.Marshal(jwk)
	if err != nil {
		return Key{}, fmt.Errorf("logtotest: %w", err)
	}
	thumbprint := sha256.Sum256(required)
	id := Encode(thumbprint[:])
	jwk["kid"] = id
	jwk["use"] = "sig"
	if jwk["kty"] != "RSA" {
		jwk["alg"] = algorithm
	}
	return Key{ID: id, Algorithm: algorithm, Private: private, JWK: jwk}, nil
}

func generate(algorithm string) (crypto.Signer, map[string]any, error) {
	switch algorithm {
	case "ES256":
		return generateEC(elliptic.P256())
	case "ES384":
		return generateEC(elliptic.P384())
	case "ES512":
		return generateEC(elliptic.P521())
	case "RS256", "PS256":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, nil, err
		}
		return key, map[string]any{"kty": "RSA", "n": Encode(key.N.Bytes()), "e": Encode(big.NewInt(int64(key.E)).Bytes())}, nil
	case "EdDSA":
		public, key, err := ed25519.GenerateKey(rand.Reader)
		return key, map[string]any{"kty": "OKP", "crv": "Ed25519", "x": Encode(public)}, err
	}
	return nil, nil, errUnknownAlgorithm
}

func generateEC(curve elliptic.Curve) (crypto.Signer, map[string]any, error) {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, nil, err
	}
	x, y := point[1:1+len(point)/2], point[1+len(point)/2:]
	return key, map[string]any{"kty": "EC", "crv": curve.Params().Name, "x": Encode(x), "y": Encode(y)}, nil
}

// Encode is base64url without padding.
func Encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// Sign signs with an algorithm and any key that fits it: ES256, ES384 or ES512 with an
// *ecdsa.PrivateKey of any curve, RS256 or PS256 with an *rsa.PrivateKey, EdDSA with an
// ed25519.PrivateKey, HS256 with a []byte, none with whatever there is.
func Sign(algorithm string, key any, input []byte) ([]byte, error) {
	switch algorithm {
	case "none":
		return nil, nil
	case "HS256":
		secret, ok := key.([]byte)
		if !ok {
			return nil, errWrongKey
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil), nil
	case "ES256", "ES384", "ES512":
		private, ok := key.(*ecdsa.PrivateKey)
		if !ok {
			return nil, errWrongKey
		}
		r, s, err := ecdsa.Sign(rand.Reader, private, digest(algorithm, input))
		if err != nil {
			return nil, err
		}
		size := coordinateSize(&private.PublicKey)
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
	case "RS256", "PS256":
		private, ok := key.(*rsa.PrivateKey)
		if !ok {
			return nil, errWrongKey
		}
		if algorithm == "PS256" {
			return private.Sign(rand.Reader, digest(algorithm, input), pssOptions)
		}
		return private.Sign(rand.Reader, digest(algorithm, input), crypto.SHA256)
	case "EdDSA":
		private, ok := key.(ed25519.PrivateKey)
		if !ok {
			return nil, errWrongKey
		}
		return ed25519.Sign(private, input), nil
	}
	return nil, errUnknownAlgorithm
}

// Verify reports whether the key has signed the input.
func (k Key) Verify(input, signature []byte) bool {
	sum := func() []byte { return digest(k.Algorithm, input) }
	switch public := k.Private.Public().(type) {
	case *ecdsa.PublicKey:
		size := coordinateSize(public)
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, sum(), r, s)
	case *rsa.PublicKey:
		if k.Algorithm == "PS256" {
			return rsa.VerifyPSS(public, crypto.SHA256, sum(), signature, pssOptions) == nil
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum(), signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(public, input, signature)
	}
	return false
}

func digest(algorithm string, input []byte) []byte {
	hash := hashes[algorithm].New()
	hash.Write(input)
	return hash.Sum(nil)
}

func coordinateSize(key *ecdsa.PublicKey) int { return (key.Params().BitSize + 7) / 8 }
