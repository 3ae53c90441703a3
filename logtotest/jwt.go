package logtotest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // registers crypto.SHA384 and crypto.SHA512
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

var errUnknownAlgorithm = errors.New("unknown algorithm")

var algorithmHash = map[string]crypto.Hash{
	"ES256": crypto.SHA256,
	"ES384": crypto.SHA384,
	"ES512": crypto.SHA512,
	"RS256": crypto.SHA256,
	"PS256": crypto.SHA256,
}

var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

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
	return SignInput(alg, key, base64url.EncodeToString(head)+"."+base64url.EncodeToString(payload))
}

// SignInput appends the signature of a JWS signing input, which may be any
// text: it is the last step of SignToken, for tokens that are malformed on
// purpose.
func SignInput(alg string, key any, input string) (string, error) {
	signature, err := sign(alg, key, []byte(input))
	if err != nil {
		return "", fmt.Errorf("logtotest: sign with %q and %T: %w", alg, key, err)
	}
	return input + "." + base64url.EncodeToString(signature), nil
}

func sign(algorithm string, key any, input []byte) ([]byte, error) {
	wrongKey := errors.New("the key is not of the right type")
	switch algorithm {
	case "none":
		return nil, nil
	case "HS256":
		secret, ok := key.([]byte)
		if !ok {
			return nil, wrongKey
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil), nil
	case "ES256", "ES384", "ES512":
		private, ok := key.(*ecdsa.PrivateKey)
		if !ok {
			return nil, wrongKey
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
			return nil, wrongKey
		}
		if algorithm == "PS256" {
			return rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest(algorithm, input), pssOptions)
		}
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest(algorithm, input))
	case "EdDSA":
		private, ok := key.(ed25519.PrivateKey)
		if !ok {
			return nil, wrongKey
		}
		return ed25519.Sign(private, input), nil
	}
	return nil, errUnknownAlgorithm
}

func verified(key signingKey, input, signature []byte) bool {
	sum := func() []byte { return digest(key.algorithm, input) }
	switch public := key.private.Public().(type) {
	case *ecdsa.PublicKey:
		size := coordinateSize(public)
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, sum(), r, s)
	case *rsa.PublicKey:
		if key.algorithm == "PS256" {
			return rsa.VerifyPSS(public, crypto.SHA256, sum(), signature, pssOptions) == nil
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum(), signature) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(public, input, signature)
	}
	return false
}

func digest(algorithm string, input []byte) []byte {
	hash := algorithmHash[algorithm].New()
	hash.Write(input)
	return hash.Sum(nil)
}

func coordinateSize(key *ecdsa.PublicKey) int { return (key.Params().BitSize + 7) / 8 }

// idTokenHint is what an ID token says that an app sends back as a hint.
type idTokenHint struct {
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
}

// checkHint accepts expired tokens, and only tokens of the algorithm that signs
// now: a hint does not survive a rotation to another type of key.
func (s *Server) checkHint(token string) (hint idTokenHint, failure *oidcError) {
	var header struct{ Alg, Kid string }
	parts := strings.Split(token, ".")
	if len(parts) != 3 || decodePart(parts[0], &header) != nil || decodePart(parts[1], &hint) != nil {
		return hint, invalidRequest("could not decode id_token_hint")
	}
	signature, err := base64url.DecodeString(parts[2])
	keys := s.currentKeys()
	if err == nil && header.Alg == keys[0].algorithm && hint.Issuer == s.Issuer() {
		for _, key := range keys {
			if key.id == header.Kid && key.algorithm == header.Alg && verified(key, []byte(parts[0]+"."+parts[1]), signature) {
				return hint, nil
			}
		}
	}
	return hint, invalidRequest("could not validate id_token_hint")
}

func decodePart(part string, into any) error {
	decoded, err := base64url.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(decoded, into)
}
