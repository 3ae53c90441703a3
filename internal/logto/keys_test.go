package logto

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

// rsaMember is a member of a key set whose modulus has this many bits.
func rsaMember(bits uint, change members) members {
	modulus := new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1)
	return members{"kty": "RSA", "n": base64url.EncodeToString(modulus.Bytes()), "e": "AQAB", "kid": "k"}.with(change)
}

func TestOnlyKeysThatCanVerifyAreKept(t *testing.T) {
	t.Parallel()
	ec, ec384, ec521, ed := newTestKeyOf(t, "ES256", "k").member, newTestKeyOf(t, "ES384", "k").member, newTestKeyOf(t, "ES512", "k").member, newTestKeyOf(t, "EdDSA", "k").member
	good := newTestKeyOf(t, "ES256", "good").member.json()
	noAlgorithm := members{"alg": absent{}}
	for name, test := range map[string]struct {
		member string
		want   string // the algorithms, "" if the key is left out
	}{
		"EC on P-256":                   {ec.json(), "ES256"},
		"EC on P-384":                   {ec384.json(), "ES384"},
		"EC on P-521":                   {ec521.json(), "ES512"},
		"OKP on Ed25519":                {ed.json(), "EdDSA"},
		"RSA":                           {rsaMember(2048, nil).json(), "RS256 PS256"},
		"RSA of 4096 bits":              {rsaMember(4096, nil).json(), "RS256 PS256"},
		"RSA for RS256":                 {rsaMember(2048, members{"alg": "RS256"}).json(), "RS256"},
		"RSA for PS256":                 {rsaMember(2048, members{"alg": "PS256"}).json(), "PS256"},
		"EC without alg":                {ec.with(noAlgorithm).json(), "ES256"},
		"OKP without alg":               {ed.with(noAlgorithm).json(), "EdDSA"},
		"without use":                   {ec.with(members{"use": absent{}}).json(), "ES256"},
		"with an unknown member":        {ec.with(members{"x-logto": members{"a": 1}}).json(), "ES256"},
		"for encryption":                {ec.with(members{"use": "enc"}).json(), ""},
		"for an unknown use":            {ec.with(members{"use": "tls"}).json(), ""},
		"RSA of 1024 bits":              {rsaMember(1024, nil).json(), ""},
		"RSA of 2047 bits":              {rsaMember(2047, nil).json(), ""},
		"RSA for RS512":                 {rsaMember(2048, members{"alg": "RS512"}).json(), ""},
		"RSA for RSA-OAEP":              {rsaMember(2048, members{"alg": "RSA-OAEP"}).json(), ""},
		"RSA for ES256":                 {rsaMember(2048, members{"alg": "ES256"}).json(), ""},
		"RSA without a modulus":         {rsaMember(2048, members{"n": absent{}}).json(), ""},
		"EC for the other curve":        {ec.with(members{"alg": "ES384"}).json(), ""},
		"EC for HS256":                  {ec.with(members{"alg": "HS256"}).json(), ""},
		"EC for none":                   {ec.with(members{"alg": "none"}).json(), ""},
		"EC for ECDH-ES":                {ec.with(members{"alg": "ECDH-ES"}).json(), ""},
		"EC that is not on its curve":   {ec.with(members{"y": ec["x"]}).json(), ""},
		"EC that is the zero point":     {ec.with(members{"x": base64url.EncodeToString(make([]byte, 32)), "y": base64url.EncodeToString(make([]byte, 32))}).json(), ""},
		"EC on another curve's name":    {ec.with(members{"crv": "P-384", "alg": absent{}}).json(), ""},
		"EC on an unknown curve":        {ec.with(members{"crv": "P-192"}).json(), ""},
		"EC without y":                  {ec.with(members{"y": absent{}}).json(), ""},
		"OKP of another length":         {ed.with(members{"x": "AAAA"}).json(), ""},
		"OKP on X25519":                 {ed.with(members{"crv": "X25519", "alg": absent{}}).json(), ""},
		"oct":                           {`{"kty":"oct","k":"c2VjcmV0","kid":"k"}`, ""},
		"oct for HS256":                 {`{"kty":"oct","k":"c2VjcmV0","kid":"k","alg":"HS256","use":"sig"}`, ""},
		"oct for ES256":                 {`{"kty":"oct","k":"c2VjcmV0","kid":"k","alg":"ES256"}`, ""},
		"an unknown kind":               {`{"kty":"AKP","alg":"ML-DSA-44","pub":"AAAA","kid":"k"}`, ""},
		"without a kind":                {ec.with(members{"kty": absent{}}).json(), ""},
		"a kid that is a number":        {ec.with(members{"kid": 7}).json(), ""},
		"a member that is empty":        {`{}`, ""},
		"a member that is null":         {`null`, ""},
		"a member that is a number":     {`7`, ""},
		"a member that is a string":     {`"k"`, ""},
		"a member that is a list":       {`[` + ec.json() + `]`, ""},
		"base64url that cannot be read": {ec.with(members{"x": "!"}).json(), ""},
	} {
		for where, set := range map[string]string{"before": keySetOf(test.member, good), "after": keySetOf(good, test.member)} {
			keys, err := parseKeys([]byte(set))
			if err != nil {
				t.Errorf("%s, %s a good key: %v", name, where, err)
				continue
			}
			var got []string
			isGoodThere := false
			for _, key := range keys {
				if key.id == "good" {
					isGoodThere = true
					continue
				}
				for _, algorithm := range key.algorithms {
					got = append(got, algorithm.String())
				}
				if key.id != "k" {
					t.Errorf("%s: the key has the name %q, want \"k\"", name, key.id)
				}
			}
			if strings.Join(got, " ") != test.want || !isGoodThere {
				t.Errorf("%s, %s a good key: got %q, with the good key: %t, want %q, true", name, where, got, isGoodThere, test.want)
			}
		}
		_, err := parseKeys([]byte(keySetOf(test.member)))
		if (err == nil) != (test.want != "") {
			t.Errorf("%s, alone: got the error %v, want one: %t", name, err, test.want == "")
		}
	}
}

func TestOfAPrivateKeyOnlyThePublicPartIsKept(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		key := newTestKeyOf(t, algorithm, "k")
		change := members{}
		switch private := key.private.(type) {
		case *rsa.PrivateKey:
			change = members{"d": base64url.EncodeToString(private.D.Bytes()), "p": base64url.EncodeToString(private.Primes[0].Bytes()), "q": base64url.EncodeToString(private.Primes[1].Bytes())}
		case *ecdsa.PrivateKey:
			raw, err := private.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			change = members{"d": base64url.EncodeToString(raw)}
		case ed25519.PrivateKey:
			change = members{"d": base64url.EncodeToString(private.Seed())}
		}
		keys, err := parseKeys([]byte(keySetOf(key.member.with(change).json())))
		if err != nil || len(keys) != 1 {
			t.Errorf("%s: got %d keys, %v, want one", algorithm, len(keys), err)
			continue
		}
		switch keys[0].public.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		default:
			t.Errorf("%s: got a %T, want a public key", algorithm, keys[0].public)
		}
	}
}

func TestKeySetsWithoutAUsableKeyAreErrors(t *testing.T) {
	t.Parallel()
	good := newTestKey(t).member.json()
	const notObject, noList, noKey = "the key set is not a JSON object", "the key set has no list of keys", "the key set has no usable key; Logto's signing keys must be EC, Ed25519 or RSA of 2048 bits or more"
	for set, want := range map[string]string{
		``: notObject, `null`: notObject, `[` + good + `]`: notObject, `{"keys":[` + good + `]`: notObject, `{"keys":[` + good + `]}x`: notObject,
		`{"keys":[],"keys":[` + good + `]}`: "the key set is a JSON object with a member that occurs twice",
		`{}`:                                noList, `{"Keys":[` + good + `]}`: noList, `{"keys":{}}`: noList, `{"keys":` + good + `}`: noList, `{"keys":"x"}`: noList, `{"keys":7}`: noList,
		`{"keys":[]}`: noKey, `{"keys":null}`: noKey, `{"keys":[7,null,{}]}`: noKey,
	} {
		if keys, err := parseKeys([]byte(set)); err == nil || err.Error() != want || keys != nil {
			t.Errorf("%s: got %v, %v, want the error %q", set, keys, err, want)
		}
	}
}

func TestOnlyTheFirst64KeysAreRead(t *testing.T) {
	t.Parallel()
	ed := newTestKeyOf(t, "EdDSA", "")
	named := func(from, to int) (set []string) {
		for i := from; i < to; i++ {
			set = append(set, ed.member.with(members{"kid": fmt.Sprint(i)}).json())
		}
		return set
	}
	unusable := slices.Repeat([]string{"{}"}, maxKeys)
	for name, test := range map[string]struct {
		set  []string
		want int
		last string
	}{
		"as many as there may be":           {named(0, maxKeys), maxKeys, "63"},
		"one more":                          {named(0, maxKeys+1), maxKeys, "63"},
		"a thousand":                        {named(0, 1000), maxKeys, "63"},
		"unusable ones, the last one good":  {append(slices.Clone(unusable[1:]), named(0, 1)...), 1, "0"},
		"too many unusable ones before one": {append(slices.Clone(unusable), named(0, 1)...), 0, ""},
	} {
		keys, err := parseKeys([]byte(keySetOf(test.set...)))
		if len(keys) != test.want || (err == nil) != (test.want > 0) {
			t.Errorf("%s: got %d keys, %v, want %d", name, len(keys), err, test.want)
		} else if test.want > 0 && keys[test.want-1].id != test.last {
			t.Errorf("%s: the last key is %q, want %q", name, keys[test.want-1].id, test.last)
		}
	}
}

func TestKeysAreTheSameByNameAndValue(t *testing.T) {
	t.Parallel()
	parse := func(member members) verificationKey {
		keys, err := parseKeys([]byte(keySetOf(member.json())))
		if err != nil {
			t.Fatal(err)
		}
		return keys[0]
	}
	ec, ed := newTestKey(t).member, newTestKeyOf(t, "EdDSA", "k").member
	for name, test := range map[string]struct {
		a, b members
		want bool
	}{
		"the same":                 {ec, ec, true},
		"the same without alg":     {ec, ec.with(members{"alg": absent{}}), true},
		"another name":             {ec, ec.with(members{"kid": "l"}), false},
		"no name":                  {ec, ec.with(members{"kid": absent{}}), false},
		"another value":            {ec, newTestKey(t).member, false},
		"another kind":             {ec, ed, false},
		"the same RSA":             {rsaMember(2048, nil), rsaMember(2048, nil), true},
		"another length of RSA":    {rsaMember(2048, nil), rsaMember(2049, nil), false},
		"another exponent":         {rsaMember(2048, nil), rsaMember(2048, members{"e": "Aw"}), false},
		"another value on Ed25519": {ed, newTestKeyOf(t, "EdDSA", "k").member, false},
	} {
		if got := parse(test.a).equal(parse(test.b)); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
	if (verificationKey{id: "k", public: "text"}).equal(verificationKey{id: "k", public: "text"}) {
		t.Error("values that are no keys are the same")
	}
}

func TestAnUnknownKeyCausesOneFetchPerCooldown(t *testing.T) {
	t.Parallel()
	known, unknown := newTestKeyOf(t, "ES256", "known"), newTestKeyOf(t, "ES256", "unknown")
	ofAccess := func(p *Provider, token string) error {
		_, _, err := p.VerifyAccessToken(t.Context(), token)
		return err
	}
	ofLogout := func(p *Provider, token string) error { _, err := p.VerifyLogoutToken(t.Context(), token); return err }
	for name, test := range map[string]struct {
		cooldown time.Duration
		next     time.Duration // after a fetch that was in vain
		typ      string
		claims   members
		verify   func(p *Provider, token string) error
	}{
		"access tokens": {unknownKeyCooldown, maxKeyCooldown, "at+jwt", accessClaims, ofAccess},
		"logout tokens": {logoutKeyCooldown, 2 * logoutKeyCooldown, "logout+jwt", logoutClaims, ofLogout},
	} {
		logto, moment := newObservedLogto(answers{"/oidc/jwks": json200(known.set)}), &clock{}
		p := newTestProvider(t, logto, func(settings *Settings) { settings.Now = moment.now })
		verify := func(key *testKey, kid, want string, fetches int) {
			t.Helper()
			token := key.sign(t, members{"alg": "ES256", "kid": kid, "typ": test.typ}.json(), test.claims.json())
			checkTokenError(t, name, token, test.verify(p, token), want)
			if got := len(logto.requests("/oidc/jwks")); got != fetches {
				t.Errorf("%s: %d fetches by a token with the kid %s after %v, want %d", name, got, kid, moment.now().Sub(testNow), fetches)
			}
		}
		verify(known, "known", "", 1)
		for i := range 100 {
			verify(unknown, fmt.Sprint("random ", i), noKeyFits, 1)
		}
		moment.advance(test.cooldown - 1)
		verify(unknown, "unknown", noKeyFits, 1)
		moment.advance(1)
		verify(unknown, "unknown", noKeyFits, 2)
		verify(unknown, "unknown", noKeyFits, 2)
		logto.answer("/oidc/jwks", json200(keySetOf(known.member.json(), unknown.member.json())))
		moment.advance(test.next - 1)
		verify(unknown, "unknown", noKeyFits, 2)
		verify(known, "known", "", 2)
		moment.advance(1)
		verify(unknown, "unknown", "", 3)
		verify(unknown, "unknown", "", 3)
	}
}

func TestAnUnknownKeyOfAnIDTokenCausesAFetchEachTime(t *testing.T) {
	t.Parallel()
	known, unknown := newTestKeyOf(t, "ES256", "known"), newTestKeyOf(t, "ES256", "unknown")
	logto := newObservedLogto(answers{"/oidc/jwks": json200(known.set)})
	p := newTestProvider(t, logto, nil)
	verify := func(key *testKey, want string, fetches int) {
		t.Helper()
		token := key.sign(t, members{"alg": "ES256", "kid": key.member["kid"]}.json(), idClaims.json())
		_, err := p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", Freshness: freshness})
		checkTokenError(t, fmt.Sprint(key.member["kid"]), token, err, want)
		if got := len(logto.requests("/oidc/jwks")); got != fetches {
			t.Errorf("%d fetches, want %d", got, fetches)
		}
	}
	verify(known, "", 1)
	verify(unknown, noKeyFits, 2)
	verify(unknown, noKeyFits, 3)
	verify(known, "", 3)
	logto.answer("/oidc/jwks", json200(unknown.set))
	verify(unknown, "", 4)
	verify(known, noKeyFits, 5)
}

func TestKnownKeysVerifyThroughAnOutage(t *testing.T) {
	t.Parallel()
	known, unknown := newTestKeyOf(t, "ES256", "known"), newTestKeyOf(t, "ES256", "unknown")
	logto, moment := newObservedLogto(answers{"/oidc/jwks": json200(known.set)}), &clock{}
	p := newTestProvider(t, logto, func(settings *Settings) { settings.Now = moment.now })
	verify := func(key *testKey) error {
		_, err := p.keys.verifySignature(t.Context(), key.sign(t, members{"alg": "ES256", "kid": key.member["kid"]}.json(), "{}"), unknownKeyCooldown)
		return err
	}
	if err := verify(known); err != nil {
		t.Fatal(err)
	}
	logto.answer("/oidc/jwks", fixedAnswer{status: http.StatusServiceUnavailable})
	for _, age := range []time.Duration{unknownKeyCooldown, keysLifetime, keysKeepFor - 1} {
		moment.passed.Store(int64(age))
		if err := verify(known); err != nil {
			t.Errorf("a known key after %v: got the error %v, want none", age, err)
		}
		if err := verify(unknown); !errors.Is(err, fault.ProviderUnavailable) || errors.Is(err, fault.InvalidToken) {
			t.Errorf("an unknown key after %v: got the error %v, want a fault.ProviderUnavailable alone", age, err)
		}
	}
	moment.passed.Store(int64(keysKeepFor))
	if err := verify(known); !errors.Is(err, fault.ProviderUnavailable) {
		t.Errorf("a known key after %v: got the error %v, want a fault.ProviderUnavailable", keysKeepFor, err)
	}
}

// C98.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(newTestKey(f).set))
	for _, seed := range []string{`{"keys":[]}`, `{"keys":null}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, `{"keys":[1,null,{}]}`, `{}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeys(body)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Fatalf("%q: %d keys, %v", body, len(keys), err)
		}
	})
}
