package logtogin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// What a stranger sends is parsed by code that the public API reaches only
// through a whole sign-in, too slowly for fuzzing.

// C98.
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

// C98.
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

// A logout token that a Logto has sent, and the key that it signed with.
const (
	sampleLogoutToken = "eyJhbGciOiJFUzM4NCIsInR5cCI6ImxvZ291dCtqd3QiLCJraWQiOiIyZXFmbWhGNElGRXZWTFNiUzFxV0JnNmN6NlVlSVBGQjczVHZHUy1PeWlnIn0." +
		"eyJzdWIiOiJiOHNjbTI5MTU4YmQiLCJldmVudHMiOnsiaHR0cDovL3NjaGVtYXMub3BlbmlkLm5ldC9ldmVudC9iYWNrY2hhbm5lbC1sb2dvdXQiOnt9fSwianRpIjoialdaYTZfQ3RiNUM1dzFLSzhUU09pUktpaGdQNmxSZHE5Smt2c2dJTUtKaiIsInNpZCI" +
		"6IjdyMjQyUmVla01sRDZxcklqQTl4bGZEa3ZialAtMWEtalRxbnJBbzFsc1kiLCJhdWQiOiJkeXNqb2hva3hsMWNqZXhpbWg0c2wiLCJleHAiOjE3OTU0MTcyMTMsImlhdCI6MTc5NTQxNzA5MywiaXNzIjoiaHR0cDovL2xvY2FsaG9zdDozMDAxL29pZGMifQ." +
		"1MqiF7W3T105wZ4xu0SAKQ9cQ6CVnng-MHvrF_DhIitm8_9nQeFTzb2rsy5_zORlg5VvgAF6bal-0RD13RhNTw4J_yMGZiVRdx1oisA06DvwoYN3uOTGF7h_s21VDQJn"
	sampleLogtoKey = `{"kty":"EC","use":"sig","kid":"2eqfmhF4IFEvVLSbS1qWBg6cz6UeIPFB73TvGS-Oyig","alg":"ES384","crv":"P-384",` +
		`"x":"JiRSGjRW1O_ES3XDOu-gOBzQ0xKY1ZNiroSK4phWf9G-RsWCCdgtjUJYw1Tz_jFl","y":"bXyCmwIVatfUAwDA6ZmD05V8sTM-k_IuLnm4CGzYOlLg_J3hB7kq4hO9h95-Vx_1"}`
)

const (
	sampleIssuer   = "http://localhost:3001/oidc"
	sampleAppID    = "dysjohokxl1cjeximh4sl"
	sampleIssuedAt = 1795417093
)

// verifySample verifies a logout token at the time of the sample, with the key of the sample
// and another one.
func verifySample(f *testing.F, other string) (verify func(token string) (*logoutToken, error)) {
	set := []byte(`{"keys":[` + sampleLogtoKey + other + `]}`)
	keys := newKeySet(time.Now, func(context.Context) ([]byte, error) { return set, nil })
	f.Cleanup(keys.current.Close)
	now := time.Unix(sampleIssuedAt+10, 0)
	verify = func(token string) (*logoutToken, error) {
		return verifyLogoutToken(context.Background(), keys, token, sampleIssuer, sampleAppID, now, time.Minute)
	}
	if token, err := verify(sampleLogoutToken); err != nil || token.subject != "b8scm29158bd" || token.sessionID != "7r242ReekMlD6qrIjA9xlfDkvbjP-1a-jTqnrAo1lsY" || token.issuedAt.Unix() != sampleIssuedAt {
		f.Fatalf("%+v, %v", token, err)
	}
	return verify
}

// FuzzLogoutToken puts tokens together of three parts, which can have dots themselves.
func FuzzLogoutToken(f *testing.F) {
	verify := verifySample(f, "")
	parts := strings.Split(sampleLogoutToken, ".")
	header, claims, signature := parts[0], parts[1], parts[2]
	f.Add(header, claims, signature)
	f.Add(header, claims, signature[:len(signature)-1])
	f.Add(header, claims, "")
	f.Add(base64url.EncodeToString([]byte(`{"alg":"none"}`)), claims, "")
	f.Add(header, "e30", signature)
	f.Add("\n"+header, claims, signature)
	f.Add(header, claims, signature+".a.b")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		found, err := verify(a + "." + b + "." + c)
		switch {
		case err == nil && (a != header || b != claims):
			t.Fatalf("%q %q %q is believed: %+v", a, b, c, found)
		case err != nil && !errors.Is(err, ErrInvalidToken):
			t.Fatalf("%q %q %q: %v", a, b, c, err)
		}
	})
}

// FuzzLogoutClaims goes past the signature. It is the same each time for the same token, so
// that what is covered is, too.
func FuzzLogoutClaims(f *testing.F) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	sign := func(header, claims string) string {
		input := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString([]byte(claims))
		return input + "." + base64url.EncodeToString(ed25519.Sign(private, []byte(input)))
	}
	verify := verifySample(f, fmt.Sprintf(`,{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}`, base64url.EncodeToString(public)))
	raw, err := payloadOf(sampleLogoutToken)
	if err != nil {
		f.Fatal(err)
	}
	sample := string(raw)
	const header = `{"alg":"EdDSA","kid":"k","typ":"logout+jwt"}`
	f.Add(header, sample)
	f.Add(`{"alg":"EdDSA"}`, strings.Replace(sample, `"exp":1795417213,`, "", 1))
	f.Add(`{"alg":"EdDSA","typ":"JWT"}`, sample)
	f.Add(`{"alg":"EdDSA","typ":null}`, sample)
	f.Add(`{"alg":"EdDSA","typ":"application/logout+JWT"}`, strings.Replace(sample, `"sub":"b8scm29158bd",`, "", 1))
	f.Add(`{"alg":"none"}`, sample)
	for _, claims := range []string{
		strings.Replace(sample, "{}", "[]", 1), strings.Replace(sample, `"sub"`, `"nonce"`, 1), strings.Replace(sample, `"b8scm29158bd"`, `""`, 1), strings.Replace(sample, `"dysjohokxl1cjeximh4sl"`, `["dysjohokxl1cjeximh4sl","x"]`, 1),
		`{}`, `[]`, `{"sub":"a","sub":"b"}`, `{"iat":1e300}`, "{\"jti\":\"\xff\"}",
	} {
		f.Add(header, claims)
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		found, err := verify(sign(header, claims))
		if err != nil {
			if !errors.Is(err, ErrInvalidToken) {
				t.Fatalf("%q %q: %v", header, claims, err)
			}
			return
		}
		var head, members map[string]any
		if json.Unmarshal([]byte(header), &head) != nil || json.Unmarshal([]byte(claims), &members) != nil {
			t.Fatalf("%q %q is believed", header, claims)
		}
		if typ, ok := head["typ"]; ok && strings.TrimPrefix(strings.ToLower(fmt.Sprint(typ)), "application/") != "logout+jwt" {
			t.Fatalf("the type %v is believed", typ)
		}
		audience, ok := members["aud"].([]any)
		if !ok {
			audience = []any{members["aud"]}
		}
		events, _ := members["events"].(map[string]any)
		_, isLogout := events[backchannelEvent].(map[string]any)
		iat, hasIssuedAt := members["iat"].(float64)
		_, hasNonce := members["nonce"]
		sub, hasSub := members["sub"].(string)
		sid, hasSession := members["sid"].(string)
		switch {
		case members["iss"] != sampleIssuer, !slices.Contains(audience, any(sampleAppID)), !isLogout, hasNonce, members["jti"] != found.id || found.id == "",
			!hasIssuedAt || iat > sampleIssuedAt+71 || iat < sampleIssuedAt-350, sub != found.subject, sid != found.sessionID,
			(sub == "" && sid == "") || (hasSub && sub == "") || (hasSession && sid == ""):
			t.Fatalf("%q is believed: %+v", claims, found)
		}
		if exp, ok := members["exp"].(float64); members["exp"] != nil && (!ok || exp <= sampleIssuedAt-50) {
			t.Fatalf("%q is believed, although it has expired", claims)
		}
	})
}

// FuzzWebhook takes a body with a signature as it comes, and then with one that is good.
func FuzzWebhook(f *testing.F) {
	keys := []string{"old key", "key"}
	sign := func(key, body string) string {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	for _, body := range []string{
		`{"event":"User.SuspensionStatus.Updated","hookId":"h","createdAt":"2026-11-24T09:00:00.000Z","params":{"userId":"u"},"data":{"id":"u","isSuspended":true}}`,
		`{"event":"User.Deleted","createdAt":"2026-11-24T09:00:00Z","data":null,"params":{"userId":"u"},"status":204}`,
		`{"event":"User.Data.Updated","createdAt":"2026-11-24T09:00:00+01:00","data":{"id":"u"}}`,
		`{"event":"Organization.Membership.Updated","createdAt":"2026-11-24T09:00:00Z","organizationId":"o","addedUserIds":["a","b","a",""],"removedUserIds":["c"]}`,
		`{"event":"PostSignIn","createdAt":"2026-11-24T09:00:00Z","userId":"u","userIp":"::1"}`,
		`{"event":"Role.Created","createdAt":"2026-11-24T09:00:00Z","data":{"id":"role"}}`,
		`{}`, `[]`, "", `{"event":"a","event":"b"}`, `{"event":"a","createdAt":"9999-99-99T00:00:00Z"}`, `{"data":[],"params":7,"addedUserIds":[null]}`, strings.Repeat("[", 1000),
	} {
		for _, signature := range []string{sign("key", body), strings.ToUpper(sign("old key", body)), sign("", body), "", "0", "zz", sign("key", body)[:32]} {
			f.Add(body, signature)
		}
	}
	f.Fuzz(func(t *testing.T, body, signature string) {
		read := func(signature string) (*WebhookEvent, error) {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			r.Header.Set(webhookSignature, signature)
			return readWebhook(r, keys)
		}
		isGood := slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(signature, sign(key, body)) })
		if _, err := read(signature); errors.Is(err, errWebhookSignature) == isGood {
			t.Fatalf("%q for %q: %v", signature, body, err)
		}
		event, err := read(sign("key", body))
		if err != nil {
			if !errors.Is(err, ErrInvalidToken) || errors.Is(err, errWebhookSignature) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var members map[string]any
		if err := json.Unmarshal([]byte(body), &members); err != nil || members["event"] != event.Event || event.Event == "" {
			t.Fatalf("%q: %+v, %v", body, event, err)
		}
		if out, err := json.Marshal(event); err != nil || !reflect.DeepEqual(decodeExactly([]byte(body)), decodeExactly(out)) {
			t.Fatalf("%q comes back as %q, %v", body, out, err)
		}
		at, err := time.Parse(time.RFC3339, fmt.Sprint(members["createdAt"]))
		if err != nil || !event.CreatedAt.Equal(at) {
			t.Fatalf("%q: it was created at %v, %v", body, event.CreatedAt, err)
		}
		data, _ := members["data"].(map[string]any)
		params, _ := members["params"].(map[string]any)
		named := []any{members["userId"], params["userId"]}
		if strings.HasPrefix(event.Event, "User.") {
			named = append(named, data["id"])
		}
		for _, list := range []string{"addedUserIds", "removedUserIds"} {
			if ids, ok := members[list].([]any); ok {
				named = append(named, ids...)
			}
		}
		for i, id := range event.UserIDs {
			if id == "" || slices.Contains(event.UserIDs[:i], id) || !slices.Contains(named, any(id)) {
				t.Fatalf("%q is about %q", body, event.UserIDs)
			}
		}
		if event.IsSuspended != (data["isSuspended"] == true) {
			t.Fatalf("%q: suspended is %v", body, event.IsSuspended)
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{
		"Bearer " + sampleLogoutToken, "bearer a.b.c", "Bearer", "Bearer ", "Bearer  a.b.c", "Bearer a.b.c ", "Bearer\ta.b.c", "Bearer a.b.c, Bearer a.b.c", "Basic YTpi",
		"", " Bearer a.b.c", "Bearer ..", "Bearer a.b", "Bearer a.b.c.d.e", "Bearer \xff.a.b", "Bearer a.b.c\x00", "DPoP a.b.c", "Bearer " + strings.Repeat("a", 70_000), "Bearer=a.b.c", "Bearer a.b.c=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		token, err := tokenOf(http.Header{"Authorization": {line}})
		if err != nil {
			if token != "" || errors.Is(err, ErrNotSignedIn) == errors.Is(err, ErrInvalidToken) {
				t.Fatalf("%q: %q, %v", line, token, err)
			}
			if _, rest, _ := strings.Cut(line, " "); len(rest) >= 16 && strings.Contains(err.Error(), rest) {
				t.Fatalf("the error tells the token: %v", err)
			}
			return
		}
		scheme, ok := strings.CutSuffix(line, token)
		if !ok || !strings.EqualFold(strings.TrimRight(scheme, " "), "Bearer") || !strings.HasSuffix(scheme, " ") {
			t.Fatalf("%q has the token %q", line, token)
		}
		if strings.Count(token, ".") != 2 || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") != "" || len(line) > maxAuthorization {
			t.Fatalf("%q has the token %q", line, token)
		}
		if _, err := tokenOf(http.Header{"Authorization": {line, line}}); !errors.Is(err, errBearerRequest) {
			t.Fatalf("%q twice: %v", line, err)
		}
	})
}

// C98: FuzzClaims goes past the signature: what Logto signs is read, too.
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

// C98.
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

// C98.
func FuzzRecords(f *testing.F) {
	at := time.Unix(1_800_000_000, 0)
	f.Add((&attempt{state: "s", nonce: "n", verifier: "v", startedAt: at, redirectURI: "https://app.example.com/callback", returnTo: "/x", maxAge: time.Minute}).encode())
	f.Add((&session{
		id: "i", startedAt: at, activeAt: at, expires: at.Add(time.Hour), begunAt: at, subject: "u", logtoSessionID: "sid", idToken: "eyJ9.eyJ9.AA", refreshToken: "r",
		accessTokens: []accessToken{{resource: "r", organization: "o", token: "t", scope: "a b", expires: at}},
	}).encode())
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(revocation{kind: loggedOutLogtoSession, name: "sid", subject: "u", at: at, expires: at.Add(time.Hour), tokenID: "jti"}.encode())
	f.Add([]byte{2})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, record []byte) {
		if made, err := decodeRevocation(record); err == nil {
			again, err := decodeRevocation(made.encode())
			if err != nil || again != made || record[0] != revocationFormat {
				t.Fatalf("%x: %+v comes back as %+v, %v", record, made, again, err)
			}
		}
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
