package logto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"

	"github.com/logtogin/logtogin/internal/fault"
)

func TestTokensInAnotherFormAreRefused(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	keys := key.provider(t, nil).keys
	token := key.sign(t, idHeader, `{"a":1}`)
	parts := strings.Split(token, ".")
	signed := func(header, payload string) string { return key.signInput(t, header+"."+payload) }
	// Of the last character of a signature for ES256, four bits carry no data.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	for name, test := range map[string]struct{ token, want string }{
		"a good token":                {token, ""},
		"a payload that is no JSON":   {signed(parts[0], encoded("text")), ""},
		"an empty payload":            {signed(parts[0], ""), ""},
		"nothing":                     {"", notCompact},
		"one part":                    {parts[0], notCompact},
		"two parts":                   {parts[0] + "." + parts[1], notCompact},
		"four parts":                  {token + ".", notCompact},
		"four parts that are signed":  {signed(parts[0], parts[1]+"."), notCompact},
		"five parts, as encrypted":    {"a.b.c.d.e", notCompact},
		"only dots":                   {strings.Repeat(".", 100_000), notCompact},
		"JSON serialization":          {`{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`, notCompact},
		"a line break at the end":     {token + "\n", notCompact},
		"a line break at the front":   {"\r\n" + token, notCompact},
		"a line break in the header":  {signed(parts[0][:4]+"\n"+parts[0][4:], parts[1]), notCompact},
		"a line break in the payload": {signed(parts[0], parts[1]+"\r"), notCompact},
		"a space in front":            {" " + token, notBase64URL},
		"a tab at the end":            {token + "\t", notBase64URL},
		"a padded header":             {signed(base64.URLEncoding.EncodeToString([]byte(`{"alg":"ES256" }`)), parts[1]), notBase64URL},
		"a padded payload":            {signed(parts[0], base64.URLEncoding.EncodeToString([]byte(`{"a":1}`))), notBase64URL},
		"a padded signature":          {token + "==", notBase64URL},
		"the alphabet of base64":      {signed(parts[0], base64.RawStdEncoding.EncodeToString([]byte("\xfb\xff\xfe"))), notBase64URL},
		"spare bits in the header":    {signed(encoded(`{"alg":"ES256" }`)[:21]+"R", parts[1]), notBase64URL},
		"spare bits in the payload":   {signed(parts[0], "e31"), notBase64URL},
		"spare bits in the signature": {token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])+1]), notBase64URL},
		"a NUL":                       {signed(parts[0], "e30\x00"), notBase64URL},
		"no header":                   {signed("", parts[1]), "the header is not a JSON object"},
		"a header that is a list":     {signed(encoded("["+idHeader+"]"), parts[1]), "the header is not a JSON object"},
		"a header that is null":       {signed(encoded("null"), parts[1]), "the header is not a JSON object"},
		"a header with alg twice":     {signed(encoded(`{"alg":"none","alg":"ES256"}`), parts[1]), "the header is a JSON object with a member that occurs twice"},
		"crit":                        {signed(encoded(`{"alg":"ES256","crit":["exp"]}`), parts[1]), "the header has a critical extension"},
		"an empty crit":               {signed(encoded(`{"alg":"ES256","crit":[]}`), parts[1]), "the header has a critical extension"},
		"a null as crit":              {signed(encoded(`{"alg":"ES256","crit":null}`), parts[1]), "the header has a critical extension"},
		"b64 that is false":           {signed(encoded(`{"alg":"ES256","b64":false}`), parts[1]), "the header has a critical extension"},
		"b64 that is true":            {signed(encoded(`{"alg":"ES256","b64":true}`), parts[1]), "the header has a critical extension"},
		"crit and b64":                {signed(encoded(`{"alg":"ES256","b64":false,"crit":["b64"]}`), parts[1]), "the header has a critical extension"},
	} {
		_, err := keys.verifySignature(t.Context(), test.token, unknownKeyCooldown)
		checkTokenError(t, name, test.token, err, test.want)
	}
}

func TestTokensAreAsLongAs64KiB(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	keys := key.provider(t, nil).keys
	tokenOf := func(length int) string {
		for filler := range 4 { // no base64 has one character more than a multiple of four
			header := encoded(`{"alg":"ES256"` + strings.Repeat(" ", filler) + `}`)
			left := length - len(header) - len("..") - base64url.EncodedLen(64)
			if left%4 != 1 {
				return key.signInput(t, header+"."+strings.Repeat("A", left))
			}
		}
		t.Fatalf("no token has the length %d", length)
		return ""
	}
	for length, want := range map[int]string{MaxToken - 1: "", MaxToken: "", MaxToken + 1: notCompact, MaxToken + 4: notCompact} {
		token := tokenOf(length)
		if len(token) != length {
			t.Fatalf("the token has the length %d, want %d", len(token), length)
		}
		_, err := keys.verifySignature(t.Context(), token, unknownKeyCooldown)
		checkTokenError(t, fmt.Sprintf("%d bytes", length), token, err, want)
	}
}

func TestOnlyAsymmetricAlgorithmsAreAllowed(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	keys := key.provider(t, nil).keys
	for _, algorithm := range []any{
		"none", "None", "NONE", "nOnE", "", nil, absent{}, 7, []string{"ES256"}, "HS256", "HS384", "HS512", "RS384", "RS512", "PS384", "PS512", "ES256K", "es256", "ES256 ", "Ed25519", "A128KW", "dir",
	} {
		header := members{"kid": "k"}.with(members{"alg": algorithm}).json()
		input := encoded(header) + "." + encoded("{}")
		mac := hmac.New(sha256.New, []byte("secret"))
		mac.Write([]byte(input))
		for name, token := range map[string]string{"signed": key.signInput(t, input), "unsigned": input + ".", "by HMAC with the client secret": input + "." + base64url.EncodeToString(mac.Sum(nil))} {
			_, err := keys.verifySignature(t.Context(), token, unknownKeyCooldown)
			checkTokenError(t, fmt.Sprintf("alg %v, %s", algorithm, name), token, err, notAllowed)
		}
	}
}

func TestAKeyVerifiesOnlyTheAlgorithmsThatFitIt(t *testing.T) {
	t.Parallel()
	algorithms := []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"}
	byAlgorithm := map[string]*testKey{}
	var set []string
	for _, algorithm := range algorithms {
		key := newTestKeyOf(t, algorithm, "key-"+algorithm)
		byAlgorithm[algorithm] = key
		set = append(set, key.member.json())
	}
	keys := newTestProvider(t, answers{"/oidc/jwks": json200(keySetOf(set...))}, nil).keys
	for _, algorithm := range algorithms {
		for _, signer := range algorithms {
			key := byAlgorithm[signer]
			named, unnamed := "", ""
			if algorithm != signer {
				named, unnamed = noKeyFits, wrongSigned
			}
			token := key.sign(t, members{"alg": algorithm, "kid": key.member["kid"]}.json(), "{}")
			found, err := keys.verifySignature(t.Context(), token, unknownKeyCooldown)
			checkTokenError(t, algorithm+" signed by "+signer, token, err, named)
			if err == nil && (found.algorithm != jwa.SignatureAlgorithm(algorithm) || string(found.payload) != "{}" || found.header.Text("alg") != algorithm) {
				t.Errorf("%s: got %+v, want the algorithm and the parts of the token", algorithm, found)
			}
			token = key.sign(t, members{"alg": algorithm}.json(), "{}")
			_, err = keys.verifySignature(t.Context(), token, unknownKeyCooldown)
			checkTokenError(t, algorithm+" signed by "+signer+", no kid", token, err, unnamed)
		}
	}
}

func TestAKeyIsChosenByItsName(t *testing.T) {
	t.Parallel()
	first, second, foreign := newTestKeyOf(t, "ES256", "first"), newTestKeyOf(t, "ES256", "second"), newTestKeyOf(t, "ES256", "first")
	unnamed := newTestKeyOf(t, "ES256", "")
	delete(unnamed.member, "kid")
	set := keySetOf(first.member.json(), second.member.json(), unnamed.member.json())
	keys := newTestProvider(t, answers{"/oidc/jwks": json200(set)}, nil).keys
	for name, test := range map[string]struct {
		key  *testKey
		kid  any
		want string
	}{
		"the first by its name":            {first, "first", ""},
		"the second by its name":           {second, "second", ""},
		"the first without a name":         {first, absent{}, ""},
		"the second without a name":        {second, absent{}, ""},
		"the second with an empty name":    {second, "", ""},
		"a key that has none":              {unnamed, absent{}, ""},
		"the second by the first's name":   {second, "first", wrongSigned},
		"a key that has none, with a name": {unnamed, "first", wrongSigned},
		"a name in another case":           {first, "First", noKeyFits},
		"an unknown name":                  {first, "third", noKeyFits},
		"a path as a name":                 {first, "../first", noKeyFits},
		"a foreign key by a known name":    {foreign, "first", wrongSigned},
		"a foreign key without a name":     {foreign, absent{}, wrongSigned},
	} {
		token := test.key.sign(t, members{"alg": "ES256"}.with(members{"kid": test.kid}).json(), "{}")
		_, err := keys.verifySignature(t.Context(), token, unknownKeyCooldown)
		checkTokenError(t, name, token, err, test.want)
	}
}

func TestSignaturesThatWereChangedAreWrong(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"} {
		key := newTestKeyOf(t, algorithm, "k")
		keys := key.provider(t, nil).keys
		input := encoded(`{"alg":"`+algorithm+`"}`) + "." + encoded(`{"sub":"u"}`)
		signature := key.signature(t, input)
		changed := func(at int) string {
			copied := append([]byte(nil), signature...)
			copied[at] ^= 1
			return base64url.EncodeToString(copied)
		}
		for name, token := range map[string]string{
			"the first bit":        input + "." + changed(0),
			"the last bit":         input + "." + changed(len(signature)-1),
			"nothing":              input + ".",
			"a byte less":          input + "." + base64url.EncodeToString(signature[:len(signature)-1]),
			"a byte more":          input + "." + base64url.EncodeToString(append(signature[:len(signature):len(signature)], 0)),
			"only zeros":           input + "." + base64url.EncodeToString(make([]byte, len(signature))),
			"that of other claims": encoded(`{"alg":"`+algorithm+`"}`) + "." + encoded(`{"sub":"v"}`) + "." + base64url.EncodeToString(signature),
		} {
			_, err := keys.verifySignature(t.Context(), token, unknownKeyCooldown)
			checkTokenError(t, algorithm+": "+name, token, err, wrongSigned)
		}
	}
}

func TestKeysInAHeaderAreIgnored(t *testing.T) {
	t.Parallel()
	own, foreign := newTestKeyOf(t, "ES256", "k"), newTestKeyOf(t, "ES256", "foreign")
	logto := newObservedLogto(answers{"/oidc/jwks": json200(own.set), "/foreign": json200(foreign.set)})
	keys := newTestProvider(t, logto, nil).keys
	for name, value := range map[string]any{"jwk": foreign.member, "jku": "https://example.logto.app/foreign", "x5u": "https://example.logto.app/foreign", "x5c": []string{"AAAA"}} {
		for _, test := range []struct {
			key  *testKey
			kid  any
			want string
		}{
			{own, "k", ""},
			{foreign, "foreign", noKeyFits},
			{foreign, absent{}, wrongSigned},
			{foreign, "k", wrongSigned},
		} {
			token := test.key.sign(t, members{"alg": "ES256"}.with(members{name: value, "kid": test.kid}).json(), "{}")
			_, err := keys.verifySignature(t.Context(), token, unknownKeyCooldown)
			checkTokenError(t, fmt.Sprintf("%s and the kid %v", name, test.kid), token, err, test.want)
		}
	}
	if sent := logto.requests("/foreign"); len(sent) != 0 {
		t.Errorf("%d requests to the address in the header, want none", len(sent))
	}
}

func TestATokenIsNotRefusedWhileTheKeysCannotBeHad(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	for name, answer := range map[string]fixedAnswer{
		"an outage": {status: 503}, "no JSON": json200("x"), "no key": json200(`{"keys":[]}`), "a key that is not usable": json200(keySetOf(key.member.with(members{"use": "enc"}).json())),
	} {
		keys := newTestProvider(t, answers{"/oidc/jwks": answer}, nil).keys
		if _, err := keys.verifySignature(t.Context(), key.sign(t, idHeader, "{}"), unknownKeyCooldown); !errors.Is(err, fault.ProviderUnavailable) || errors.Is(err, fault.InvalidToken) {
			t.Errorf("%s: got the error %v, want a fault.ProviderUnavailable alone", name, err)
		}
		// What no key could verify causes no call.
		if _, err := keys.verifySignature(t.Context(), "a.b.c", unknownKeyCooldown); !errors.Is(err, fault.InvalidToken) {
			t.Errorf("%s: got the error %v for what is no token, want a fault.InvalidToken", name, err)
		}
	}
}
