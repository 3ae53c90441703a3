package logtogin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a stranger sends is parsed by code that the public API reaches only
// through a whole sign-in, too slowly for fuzzing.

func FuzzReturnPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/profile?x=1#y", "//evil.example", `/\evil.example`, "/%2f%2fevil.example", "/%255cevil", "/a/../b", "/.%2e/x", "/a//b", "/\t/x", "/a%00",
		"/%25252fevil.example", "https:evil.example", "/caf%C3%A9", "/a;b=1", "/@me", "/:80", "/%", "/a?//b", "/a#//b", "/a%2fb",
	} {
		f.Add(seed)
	}
	base := &url.URL{Scheme: "https", Host: "app.example.com"}
	f.Fuzz(func(t *testing.T, given string) {
		if !isSafePath(given) {
			return
		}
		if given[0] != '/' || len(given) > maxReturnPath {
			t.Fatalf("%q is accepted", given)
		}
		reference, err := url.Parse(given)
		if err != nil {
			t.Fatalf("%q: %v", given, err)
		}
		if to := base.ResolveReference(reference); to.Host != base.Host || to.Scheme != base.Scheme || to.User != nil {
			t.Fatalf("%q leads to %s", given, to)
		}
		decoded, _, _ := strings.Cut(given, "#")
		decoded, _, _ = strings.Cut(decoded, "?")
		for range 5 {
			if strings.HasPrefix(decoded, "//") || strings.ContainsAny(decoded, "\\") || strings.ContainsFunc(decoded, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
				t.Fatalf("%q becomes %q", given, decoded)
			}
			if clean := path.Clean(decoded); clean != decoded && clean+"/" != decoded {
				t.Fatalf("%q becomes %q and is cleaned to %q", given, decoded, clean)
			}
			if decoded, err = url.PathUnescape(decoded); err != nil {
				return
			}
		}
	})
}

func FuzzCallbackQuery(f *testing.F) {
	for _, seed := range []string{
		"code=x&state=y&iss=https%3A%2F%2Fexample.logto.app%2Foidc", "error=access_denied&error_description=%3Cscript%3E&state=y", "", "code", "code=&code=",
		"state=a&state=a", "code=x;state=y", "%", "a=%zz", "code[]=x", "code=x&code=y", "=&=", "&&&", "Code=x", "code=%00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		answer, err := parseCallback(query)
		if err != nil {
			if !errors.Is(err, ErrInvalidCallback) || strings.ContainsFunc(err.Error(), func(r rune) bool { return r > 0x7e }) {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		params, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("%q is accepted", query)
		}
		for name, got := range map[string]string{"code": answer.code, "state": answer.state, "iss": answer.issuer, "error": answer.errorCode} {
			if values := params[name]; len(values) > 1 || params.Get(name) != got {
				t.Fatalf("%q: %s is %q of %q", query, name, got, values)
			}
		}
	})
}

// fuzzKey signs what fuzzing begins with.
type fuzzKey struct {
	private *ecdsa.PrivateKey
	set     []byte
}

func newFuzzKey(f *testing.F) *fuzzKey {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"k","x":%q,"y":%q}]}`,
		base64url.EncodeToString(point[1:33]), base64url.EncodeToString(point[33:]))
	return &fuzzKey{private, []byte(set)}
}

func (k *fuzzKey) sign(f *testing.F, header, claims string) string {
	input := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		f.Fatal(err)
	}
	return input + "." + base64url.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func FuzzIDToken(f *testing.F) {
	key := newFuzzKey(f)
	keys := newKeySet(time.Now, func(context.Context) ([]byte, error) { return key.set, nil })
	f.Cleanup(keys.current.Close)
	now := time.Unix(1_800_000_000, 0)
	const good = `{"iss":"https://example.logto.app/oidc","sub":"u","aud":"app","exp":1800003600,"iat":1800000000,"nonce":"n"}`
	valid := key.sign(f, `{"alg":"ES256","kid":"k"}`, good)
	for _, seed := range []string{
		valid, key.sign(f, `{"alg":"none"}`, good), key.sign(f, `{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}`, good),
		key.sign(f, `{"alg":"ES256","kid":"k"}`, `{"exp":1e300}`), key.sign(f, `{"alg":"ES256","kid":"k"}`, `[]`), key.sign(f, `{"alg":"ES256"}`, `{"sub":"u","sub":"v"}`),
		"..", "a.b.c", strings.Repeat(".", 1000), "", valid + ".", valid[:len(valid)-1], "\n" + valid,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := verifyIDToken(t.Context(), keys, token, idTokenExpectation{
			issuer: "https://example.logto.app/oidc", appID: "app", nonce: "n", freshness: time.Hour, now: now, skew: time.Minute,
		})
		switch {
		case err == nil && token != valid && !strings.HasPrefix(token, valid[:strings.LastIndexByte(valid, '.')+1]):
			t.Fatalf("%q is believed: %+v", token, claims)
		case err != nil && !errors.Is(err, ErrInvalidToken):
			t.Fatalf("%q: %v", token, err)
		}
	})
}

// FuzzClaims goes past the signature: what Logto signs is read, too.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"i","sub":"u","aud":"app","exp":1800003600,"iat":1800000000,"nonce":"n"}`, `{"sub":null,"aud":[],"exp":"1"}`, `{"roles":["a",null],"organizations":{}}`, `{"a":[ ],"b":[ "x" , "y\\n","]" ],"c":["ä"],"d":["a",1],"e":["a",["b"]]}`,
		`{"Sub":"x","sub":"y","\u0073ub":"z"}`, `{"address":{"streetAddress":1},"created_at":-1}`, `{"exp":1e400}`, `{"a":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
		`{"":"","a\"b":":","{":"}"}`, " {\n\"a\" : 1 ,\t\"b\":[ 1 , {\"c\":\"}\"} ] , \"\\u00e4\":-1.5e3,\"Ã¤Ã¤\":true , \"n\":null } ", `{"a":1,"\u0061":2}`, `{ }`, "{\"\xff\":1,\"\ufffd\":2}", `[]`, `null`, `{}x`, "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		claims, err := newClaims(bytes.Clone(raw))
		if err != nil {
			return
		}
		out, err := json.Marshal(claims)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			t.Fatalf("%q is accepted: %v", raw, err)
		}
		if a, b := decodeExactly(raw), decodeExactly(out); a == nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%q comes back as %q", raw, out)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil || len(members) != len(claims.members) {
			t.Fatalf("%q: %d members, want %d, %v", raw, len(claims.members), len(members), err)
		}
		for name, value := range members {
			if !bytes.Equal(claims.members[name], value) {
				t.Fatalf("%q: %q is %q, want %q", raw, name, claims.members[name], value)
			}
		}
		for name, value := range members {
			var elements []*string
			isList := json.Unmarshal(value, &elements) == nil && elements != nil && !slices.Contains(elements, nil)
			list, ok := texts(&claims.jsonObject, name)
			if ok != isList || (ok && len(list) != len(elements)) {
				t.Fatalf("%q: %s is the list %q", raw, value, list)
			}
			for i, text := range list {
				if text != *elements[i] {
					t.Fatalf("%q: %s is the list %q", raw, value, list)
				}
			}
		}
		want := idTokenExpectation{issuer: "i", appID: "app", nonce: "n", freshness: time.Hour, now: time.Unix(1_800_000_000, 0), skew: time.Minute}
		if want.check(claims, "ES256") == nil && (claims.Subject == "" || claims.Issuer != "i") {
			t.Fatalf("%q is believed", raw)
		}
	})
}

// decodeExactly keeps numbers as they are written.
func decodeExactly(raw []byte) (value any) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	_ = decoder.Decode(&value)
	return value
}

func FuzzKeySet(f *testing.F) {
	f.Add(newFuzzKey(f).set)
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

func FuzzRecords(f *testing.F) {
	at := time.Unix(1_800_000_000, 0)
	f.Add((&attempt{state: "s", nonce: "n", verifier: "v", startedAt: at, redirectURI: "https://app.example.com/callback", returnTo: "/x", maxAge: time.Minute}).encode())
	f.Add((&session{
		id: "i", startedAt: at, activeAt: at, expires: at.Add(time.Hour), begunAt: at, subject: "u", logtoSessionID: "sid", idToken: "eyJ9.eyJ9.AA", refreshToken: "r",
		accessTokens: []accessToken{{resource: "r", organization: "o", token: "t", scope: "a b", expires: at}},
	}).encode())
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{2})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, record []byte) {
		if a, err := decodeAttempt(record); err == nil {
			again, err := decodeAttempt(a.encode())
			if err != nil || *again != *a || record[0] != attemptFormat {
				t.Fatalf("%x: %+v comes back as %+v, %v", record, a, again, err)
			}
		}
		if s, err := decodeSession(record); err == nil {
			again, err := decodeSession(s.encode())
			if err != nil || !reflect.DeepEqual(again, s) || record[0] != sessionFormat {
				t.Fatalf("%x: %+v comes back as %+v, %v", record, s, again, err)
			}
			if _, err := decodeSession(append(s.encode(), 0)); err == nil {
				t.Fatalf("%x: what follows a record is accepted", record)
			}
		}
	})
}
