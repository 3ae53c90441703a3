package logtotest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/logtogin/logtogin/logtotest/internal/jose"
)

// RotateKey makes a new key that signs from now on, as Logto's rotation does.
// The JWK set lists it first, then the one before it; older keys are gone. alg
// is one of ES256, ES384 (which the server starts with), ES512, RS256, PS256
// and EdDSA. Any other is an error.
//
// For a token with a key that it does not know, Bearer fetches the keys at most once in
// 10 s by the application's clock: Advance by those before a token is to be accepted that
// was made after the rotation.
func (s *Server) RotateKey(alg string) error {
	key, err := jose.NewKey(alg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = []jose.Key{key, s.keys[0]}
	return nil
}

func (s *Server) currentKeys() []jose.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// signToken signs claims, to which it adds issuer and times, with the current key, after the
// hooks have had their way.
func (s *Server) signToken(kind tokenKind, lifetime time.Duration, claims map[string]any) (string, error) {
	now := s.Now()
	claims["iss"], claims["iat"], claims["exp"] = s.Issuer(), now.Unix(), now.Add(lifetime).Unix()
	key := s.currentKeys()[0]
	token := JWT{
		Header:    map[string]any{"alg": key.Algorithm, "kid": key.ID},
		Claims:    claims,
		Algorithm: key.Algorithm,
		Key:       key.Private,
	}
	if typ := tokenTypes[kind]; typ != "" {
		token.Header["typ"] = typ
	}
	if err := s.changeToken(kind, &token); err != nil {
		return "", err
	}
	if token.Raw != "" {
		return token.Raw, nil
	}
	return SignToken(token.Algorithm, token.Key, token.Header, token.Claims)
}

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
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	keys := s.currentKeys()
	if err == nil && header.Alg == keys[0].Algorithm && hint.Issuer == s.Issuer() {
		for _, key := range keys {
			if key.ID == header.Kid && key.Algorithm == header.Alg && key.Verify([]byte(parts[0]+"."+parts[1]), signature) {
				return hint, nil
			}
		}
	}
	return hint, invalidRequest("could not validate id_token_hint")
}

func decodePart(part string, into any) error {
	decoded, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(decoded, into)
}
