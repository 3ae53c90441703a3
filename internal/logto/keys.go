package logto

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/remote"
)

// Logto serves its keys with "no-cache", so how long they are kept is ours to
// say. A key that Logto withdraws is refused after the lifetime at the latest.
const (
	keysRenewAfter = 5 * time.Minute
	keysLifetime   = 10 * time.Minute
	keysKeepFor    = 24 * time.Hour // over an outage of Logto

	maxKeys       = 64
	minRSAKeyBits = 2048 // RFC 7518, section 3.3
)

// keySet are Logto's signing keys (JWKS, RFC 7517).
type keySet struct {
	current *remote.Value[keys]
	// fruitless counts the fetches in a row for unknown keys of tokens that anybody can send.
	fruitless atomic.Int64
}

// maxKeyCooldown is how long no keys are fetched at most for such tokens.
const maxKeyCooldown = unknownKeyCooldown

// keys are those of one fetch.
type keys struct {
	usable []verificationKey
	// withdrawals counts the fetches that dropped a known key. A token that was verified under a
	// lower count is verified again.
	withdrawals uint64
}

// verificationKey is a public key and the algorithms it may be used with.
type verificationKey struct {
	id         string
	algorithms []jwa.SignatureAlgorithm
	public     any // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

func newKeySet(now func() time.Time, fetch func(context.Context) ([]byte, error)) *keySet {
	var before keys // one fetch at a time is under way
	return &keySet{current: remote.New(remote.Policy{
		Timeout:    oauth.RequestTimeout,
		RenewAfter: keysRenewAfter,
		Lifetime:   keysLifetime,
		KeepFor:    keysKeepFor,
		RetryAfter: failureMemory,
	}, now, func(ctx context.Context) (keys, error) {
		body, err := fetch(ctx)
		if err != nil {
			return keys{}, err
		}
		usable, err := parseKeys(body)
		if err != nil {
			return keys{}, err
		}
		fetched := keys{usable, before.withdrawals}
		if slices.ContainsFunc(before.usable, func(key verificationKey) bool { return !slices.ContainsFunc(usable, key.equal) }) {
			fetched.withdrawals++
		}
		before = fetched
		return fetched, nil
	})}
}

// equal reports whether two keys are the same under the same name.
func (key verificationKey) equal(other verificationKey) bool {
	public, ok := key.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.id == other.id && public.Equal(other.public)
}

// KeyWithdrawals returns how many fetches dropped a known key. It fetches the keys first if they
// are stale. The error is a fault.ProviderUnavailable.
func (p *Provider) KeyWithdrawals(ctx context.Context) (uint64, error) {
	known, err := p.keys.current.Get(ctx)
	if err != nil {
		return 0, unavailable("the key set", err)
	}
	return known.Value.withdrawals, nil
}

// find returns the keys that a token with this header can have been signed by, the one named
// or without a name all that fit the algorithm, and how often keys had been withdrawn before
// they were fetched. If there are none, Logto may have rotated its keys, and they are fetched
// again unless that was done within cooldown, which is doubled by each fetch that was in vain: a token that anybody can
// send must not cause a fetch each time.
func (k *keySet) find(ctx context.Context, id string, algorithm jwa.SignatureAlgorithm, cooldown time.Duration) (fitting []verificationKey, withdrawals uint64, err error) {
	known, err := k.current.Get(ctx)
	if err != nil {
		return nil, 0, unavailable("the key set", err)
	}
	final := false
	before := known.Generation
	if cooldown > 0 {
		cooldown = min(cooldown<<min(k.fruitless.Load(), 6), maxKeyCooldown)
	}
	fitting = fittingKeys(known.Value.usable, id, algorithm)
	// Twice: a fetch that was under way may have been answered before the keys
	// were rotated. The one after it was not.
	for round := 0; round < 2 && len(fitting) == 0 && !final; round++ {
		known, final, err = k.current.Newer(ctx, known.Generation, cooldown)
		if err != nil {
			return nil, 0, unavailable("the key set", err)
		}
		fitting = fittingKeys(known.Value.usable, id, algorithm)
	}
	switch {
	case known.Generation == before:
	case len(fitting) > 0:
		k.fruitless.Store(0)
	case cooldown > 0:
		k.fruitless.Add(1)
	}
	return fitting, known.Value.withdrawals, nil
}

func fittingKeys(keys []verificationKey, id string, algorithm jwa.SignatureAlgorithm) (fitting []verificationKey) {
	for _, key := range keys {
		if id != "" && key.id != id {
			continue
		}
		for _, usable := range key.algorithms {
			if usable == algorithm {
				fitting = append(fitting, key)
			}
		}
	}
	return fitting
}

// parseKeys reads a JWKS key by key, so that one that cannot be read does not
// spoil the others, and leaves out all that cannot verify a signature of
// Logto's: encryption keys, symmetric keys, weak keys.
func parseKeys(body []byte) ([]verificationKey, error) {
	set, err := jsonobject.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("the key set is %w", err)
	}
	var members []json.RawMessage
	if json.Unmarshal(set.Member("keys"), &members) != nil {
		return nil, errors.New("the key set has no list of keys")
	}
	var keys []verificationKey
	for _, member := range members[:min(len(members), maxKeys)] {
		key, err := jwk.ParseKey(member)
		if err != nil || (key.KeyUsage() != "" && key.KeyUsage() != "sig") {
			continue
		}
		public, err := key.PublicKey()
		if err != nil {
			continue
		}
		var raw any
		if err := public.Raw(&raw); err != nil {
			continue
		}
		usable := verificationKey{id: key.KeyID(), public: raw}
		for _, algorithm := range algorithmsOf(raw) {
			if named := key.Algorithm().String(); named == "" || named == algorithm.String() {
				usable.algorithms = append(usable.algorithms, algorithm)
			}
		}
		if len(usable.algorithms) > 0 {
			keys = append(keys, usable)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no usable key; Logto's signing keys must be EC, Ed25519 or RSA of 2048 bits or more")
	}
	return keys, nil
}

// algorithmsOf returns what a key of this type and curve can be used with
// (RFC 7518, section 3.1, and RFC 8037). Symmetric keys have none: a public
// document that holds a secret proves nothing.
func algorithmsOf(public any) []jwa.SignatureAlgorithm {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= minRSAKeyBits {
			return []jwa.SignatureAlgorithm{jwa.RS256, jwa.PS256}
		}
	case rsa.PublicKey:
		return algorithmsOf(&key)
	case *ecdsa.PublicKey:
		if _, err := key.ECDH(); err != nil { // not on its curve
			return nil
		}
		switch key.Curve {
		case elliptic.P256():
			return []jwa.SignatureAlgorithm{jwa.ES256}
		case elliptic.P384():
			return []jwa.SignatureAlgorithm{jwa.ES384}
		case elliptic.P521():
			return []jwa.SignatureAlgorithm{jwa.ES512}
		}
	case ecdsa.PublicKey:
		return algorithmsOf(&key)
	case ed25519.PublicKey:
		if len(key) == ed25519.PublicKeySize {
			return []jwa.SignatureAlgorithm{jwa.EdDSA}
		}
	}
	return nil
}
