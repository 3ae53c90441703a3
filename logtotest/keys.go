package logtotest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
)

var base64url = base64.RawURLEncoding

type signingKey struct {
	id        string
	algorithm string
	private   crypto.Signer
	public    map[string]any // as a JWK
}

// RotateKey makes a new key sign at once, as Logto does, and keeps the
// previous one in the key set. The algorithm is one of ES256, ES384, ES512,
// RS256, PS256 and EdDSA; the server starts with ES384.
func (s *Server) RotateKey(algorithm string) error {
	key, err := newSigningKey(algorithm)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = []signingKey{key, s.keys[0]}
	return nil
}

func newSigningKey(algorithm string) (key signingKey, err error) {
	key.algorithm = algorithm
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	switch algorithm {
	case "ES256", "ES384", "ES512":
		private, err := ecdsa.GenerateKey(curves[algorithm], rand.Reader)
		if err != nil {
			return key, err
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			return key, err
		}
		half := len(point) / 2
		key.private = private
		key.public = map[string]any{
			"kty": "EC", "crv": private.Curve.Params().Name,
			"x": base64url.EncodeToString(point[1 : 1+half]), "y": base64url.EncodeToString(point[1+half:]),
		}
	case "RS256", "PS256":
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return key, err
		}
		key.private = private
		key.public = map[string]any{
			"kty": "RSA", "n": base64url.EncodeToString(private.N.Bytes()),
			"e": base64url.EncodeToString(big.NewInt(int64(private.E)).Bytes()),
		}
	case "EdDSA":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return key, err
		}
		key.private = private
		key.public = map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64url.EncodeToString(public)}
	default:
		return key, fmt.Errorf("logtotest: no key for the algorithm %q", algorithm)
	}
	// RFC 7638: the members so far are the required ones, and Marshal sorts them.
	required, err := json.Marshal(key.public)
	if err != nil {
		return key, err
	}
	thumbprint := sha256.Sum256(required)
	key.id = base64url.EncodeToString(thumbprint[:])
	key.public["kid"] = key.id
	key.public["use"] = "sig"
	if key.public["kty"] != "RSA" { // as Logto
		key.public["alg"] = algorithm
	}
	return key, nil
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	keys := make([]any, 0, len(s.keys))
	for _, key := range s.keys {
		public := map[string]any{}
		for name, value := range key.public {
			public[name] = value
		}
		keys = append(keys, public)
	}
	change := s.faults.keys
	s.mu.Unlock()

	var set any = map[string]any{"keys": keys}
	if change != nil {
		set = change(set.(map[string]any))
	}
	w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	writeJSON(w, http.StatusOK, "application/jwk-set+json; charset=utf-8", set)
}

// SignToken makes a JWT in compact form. The algorithm decides how it is
// signed, whatever the header says; one that is "none" leaves the signature
// empty. Key is a crypto.Signer, or []byte for HS256.
func SignToken(algorithm string, key any, header, claims map[string]any) (string, error) {
	head, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	return SignInput(algorithm, key, base64url.EncodeToString(head)+"."+base64url.EncodeToString(payload))
}

// SignInput appends the signature of a JWS signing input, which may be any
// text: it is what SignToken does last, for tokens that are wrong on purpose.
func SignInput(algorithm string, key any, input string) (string, error) {
	signature, err := sign(algorithm, key, []byte(input))
	if err != nil {
		return "", err
	}
	return input + "." + base64url.EncodeToString(signature), nil
}

func sign(algorithm string, key any, input []byte) ([]byte, error) {
	hashes := map[string]crypto.Hash{
		"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512,
		"RS256": crypto.SHA256, "PS256": crypto.SHA256,
	}
	digest := func() []byte {
		hasher := hashes[algorithm].New()
		hasher.Write(input)
		return hasher.Sum(nil)
	}
	switch private := key.(type) {
	case []byte:
		mac := hmac.New(sha256.New, private)
		mac.Write(input)
		return mac.Sum(nil), nil
	case *ecdsa.PrivateKey:
		if algorithm == "none" {
			return nil, nil
		}
		r, s, err := ecdsa.Sign(rand.Reader, private, digest())
		if err != nil {
			return nil, err
		}
		size := (private.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
	case *rsa.PrivateKey:
		if algorithm == "PS256" {
			return rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest(), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest())
	case ed25519.PrivateKey:
		return ed25519.Sign(private, input), nil
	}
	if algorithm == "none" {
		return nil, nil
	}
	return nil, fmt.Errorf("logtotest: %T cannot sign %s", key, algorithm)
}
