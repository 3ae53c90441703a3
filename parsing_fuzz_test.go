package logtogin

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/logto"
)

// What a stranger sends is parsed by code that the public API reaches only
// through a whole sign-in, too slowly for fuzzing.

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
			r.Header.Set(logto.WebhookSignature, signature)
			read, err := logto.ReadWebhook(httptest.NewRecorder(), r, time.Second, keys)
			return newWebhookEvent(read), err
		}
		isGood := slices.ContainsFunc(keys, func(key string) bool { return strings.EqualFold(signature, sign(key, body)) })
		if _, err := read(signature); (errors.Is(err, logto.ErrWebhookSignature) || errors.Is(err, logto.ErrWebhookUnsigned)) == isGood {
			t.Fatalf("%q for %q: %v", signature, body, err)
		}
		event, err := read(sign("key", body))
		if err != nil {
			if !errors.Is(err, ErrInvalidToken) || errors.Is(err, logto.ErrWebhookSignature) {
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
		"Bearer eyJhbGciOiJFUzM4NCJ9.e30.AAAA", "bearer a.b.c", "Bearer", "Bearer ", "Bearer  a.b.c", "Bearer a.b.c ", "Bearer\ta.b.c", "Bearer a.b.c, Bearer a.b.c", "Basic YTpi",
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

// C98: what Logto sends with a refusal cannot make a line of a log look like another one.
func FuzzProviderErrorText(f *testing.F) {
	f.Add("access_denied", "the user is not allowed")
	f.Add("\x9e", "\n\"\\\u2028")
	f.Add(strings.Repeat("a", 100), strings.Repeat("ä", 300))
	f.Fuzz(func(t *testing.T, code, description string) {
		text := (&ProviderError{Code: code, Description: description}).Error()
		if strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) || len(text) > 500 {
			t.Fatalf("%q %q: %q", code, description, text)
		}
	})
}

// C98: what Logto signs comes back from Claims as it was sent.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"i","sub":"u","aud":"app","exp":1800003600,"iat":1800000000,"nonce":"n"}`, `{"sub":null,"aud":[],"exp":"1"}`, `{"roles":["a",null],"organizations":{}}`, `{"address":{"streetAddress":1},"created_at":-1}`,
		`{"organization_data":[{"id":"o"},7],"identities":{"google":{"userId":1}},"sso_identities":[null],"custom_data":[]}`, `{"exp":1e400}`, " {\n\"a\" : 1 }", "{\"a\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		token, err := logto.ReadIDToken("." + base64.RawURLEncoding.EncodeToString(raw) + ".")
		if err != nil {
			return
		}
		claims := newClaims(token)
		out, err := json.Marshal(claims)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if a, b := decodeExactly(raw), decodeExactly(out); a == nil || !reflect.DeepEqual(a, b) {
			t.Fatalf("%q comes back as %q", raw, out)
		}
		if claims.Subject != token.Claims.Text("sub") {
			t.Fatalf("%q is about %q, want %q", raw, claims.Subject, token.Subject)
		}
		var again Claims
		if err := again.UnmarshalJSON(raw); err != nil || !reflect.DeepEqual(again.own(), claims.own()) {
			t.Fatalf("%q is unmarshalled as %+v, want %+v, %v", raw, again, claims, err)
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
