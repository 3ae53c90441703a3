// Package seal encrypts and authenticates small values under secrets that can
// be rotated.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// ErrOpen says that a value was not sealed by any of the secrets, for this
// purpose and this context, or was changed since. Which of these it was is
// deliberately not told.
var ErrOpen = errors.New("seal: the value cannot be opened")

// encoding is strict: each sealed value has exactly one spelling.
var encoding = base64.RawURLEncoding.Strict()

// Sealer seals with its first secret and opens with all of them. It is safe
// for concurrent use.
//
// Values are sealed by AES-256-GCM under a random nonce of 96 bits (NIST SP
// 800-38D); at 2^32 values under one secret it is time to rotate it.
type Sealer struct {
	keys []cipher.AEAD
}

// New derives one key for each secret by HKDF-SHA-256 (RFC 5869). The purpose
// goes into the derivation: what is sealed for one purpose cannot be opened
// for another, even under the same secret.
func New(secrets []string, purpose string) (*Sealer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("seal: no secret")
	}
	sealer := &Sealer{}
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, []byte(secret), nil, purpose, 32)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		sealer.keys = append(sealer.keys, aead)
	}
	return sealer, nil
}

// Seal returns the value sealed, in the characters of base64url. The context,
// for example the name of the cookie that carries the value, is authenticated
// and must be given to Open again.
func (s *Sealer) Seal(value []byte, context string) string {
	return encoding.EncodeToString(s.keys[0].Seal(nil, nil, value, []byte(context)))
}

// Open returns what Seal was given, and whether it was sealed under the first
// of the secrets; or else ErrOpen.
func (s *Sealer) Open(sealed, context string) (value []byte, isCurrent bool, err error) {
	value, isCurrent, _, err = s.OpenIn(sealed, context)
	return value, isCurrent, err
}

// OpenIn is Open for a value that was sealed in one of these contexts. It also returns the index of that.
func (s *Sealer) OpenIn(sealed string, contexts ...string) (value []byte, isCurrent bool, context int, err error) {
	ciphertext, err := encoding.DecodeString(sealed)
	if err != nil {
		return nil, false, 0, ErrOpen
	}
	for i, key := range s.keys {
		for context, text := range contexts {
			if value, err := key.Open(nil, nil, ciphertext, []byte(text)); err == nil {
				return value, i == 0, context, nil
			}
		}
	}
	return nil, false, 0, ErrOpen
}
