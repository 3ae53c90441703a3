package logtogin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/remote"
)

// What Logto answers is parsed, too, by code that is reached only through HTTP. The seeds
// are answers of a real Logto.

const fuzzIssuer = "https://example.logto.app/oidc"

// fixedAnswer is a Logto that always answers the same.
type fixedAnswer struct {
	status      int
	contentType string
	retryAfter  string
	body        []byte
}

func (a fixedAnswer) RoundTrip(request *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Request: request,
		Header: http.Header{"Content-Type": {a.contentType}, "Retry-After": {a.retryAfter}},
		Body:   io.NopCloser(bytes.NewReader(a.body)),
	}, nil
}

// providerWith calls a Logto that answers so, and whose endpoints are known already.
func providerWith(tb testing.TB, answer fixedAnswer) *provider {
	p := &provider{
		issuer: fuzzIssuer, appID: "app", appSecret: "secret", now: func() time.Time { return time.Unix(1_800_000_000, 0) },
		client: &http.Client{Transport: answer}, timed: func(context.Context, Event) func(error) { return func(error) {} },
	}
	p.metadata = remote.New(remote.Policy{
		Timeout: requestTimeout, RenewAfter: time.Hour, Lifetime: time.Hour, KeepFor: time.Hour, RetryAfter: time.Second,
	}, p.now, func(context.Context) (*metadata, error) {
		return &metadata{tokenEndpoint: fuzzIssuer + "/token", userInfoEndpoint: fuzzIssuer + "/me"}, nil
	})
	tb.Cleanup(p.metadata.Close)
	return p
}

// sampleAnswers are those of a real Logto whose names begin so.
func sampleAnswers(f *testing.F, prefixes ...string) (answers []fixedAnswer) {
	raw, err := os.ReadFile("logtotest/testdata/samples.json")
	if err != nil {
		f.Fatal(err)
	}
	var samples map[string]struct {
		Status  int
		Headers map[string]string
		Body    json.RawMessage
	}
	if err := json.Unmarshal(raw, &samples); err != nil {
		f.Fatal(err)
	}
	for name, sample := range samples {
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				answers = append(answers, fixedAnswer{sample.Status, sample.Headers["content-type"], "", sample.Body})
			}
		}
	}
	if len(answers) == 0 {
		f.Fatal("no samples")
	}
	return answers
}

// checkAnswerError: whatever Logto sends is a refusal, an outage or a token that is not good.
// Of the body, an error holds nothing but OAuth's two members.
func checkAnswerError(t *testing.T, answer fixedAnswer, err error) {
	var refused *ProviderError
	switch {
	case errors.As(err, &refused):
		if refused.Code == "" || refused.Status == http.StatusTooManyRequests || refused.Status >= 500 {
			t.Fatalf("%d %q is a refusal: %v", answer.status, answer.body, err)
		}
	case !errors.Is(err, ErrProviderUnavailable) && !errors.Is(err, ErrInvalidToken):
		t.Fatalf("%d %q: %v", answer.status, answer.body, err)
	case len(answer.body) > 50 && strings.Contains(err.Error(), string(answer.body)):
		t.Fatalf("the error has the body: %v", err)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		t.Fatalf("%q", err)
	}
	if wait := retryAfterIn(err); wait < 0 || wait > maxRetryAfter {
		t.Fatalf("%q: wait for %v", answer.retryAfter, wait)
	}
}

// C98.
func FuzzTokenAnswer(f *testing.F) {
	for _, answer := range sampleAnswers(f, "token-", "refresh ") {
		f.Add(answer.status, answer.contentType, answer.retryAfter, answer.body)
	}
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"access_token":"a"}`, `{"access_token":"a","token_type":"DPoP"}`, `{"access_token":"a","token_type":"bearer","expires_in":"60"}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":-1}`, `{"access_token":"a","token_type":"Bearer","expires_in":1e400}`, `{"access_token":"a","token_type":"Bearer","expires_in":1e15}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":"NaN"}`, `{"access_token":"a","token_type":"Bearer","id_token":1,"scope":[]}`, `{"error":"invalid_grant"}`, `{"error":1}`,
	} {
		f.Add(http.StatusOK, "application/json", "3", []byte(body))
	}
	f.Add(http.StatusOK, "application/x-www-form-urlencoded", "", []byte("access_token=a&token_type=Bearer&expires_in=60"))
	f.Add(http.StatusTooManyRequests, "text/html", "99999999999", []byte("<h1>slow down</h1>"))
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, body []byte) {
		answer := fixedAnswer{status, contentType, retryAfter, body}
		p := providerWith(t, answer)
		got, err := p.refresh(t.Context(), "refresh token", tokenTarget{})
		if err != nil {
			checkAnswerError(t, answer, err)
			return
		}
		asked := p.now()
		if status < 200 || status > 299 || got.accessToken == "" {
			t.Fatalf("%d %q is a token", status, body)
		}
		if life := got.expires.Sub(asked); life < time.Second || life > maxTokenLife || got.renewAt.After(got.expires) || got.renewAt.Before(asked) {
			t.Fatalf("%q: expires after %v, to be renewed at %v", body, life, got.renewAt)
		}
	})
}

// C98.
func FuzzUserInfo(f *testing.F) {
	for _, answer := range sampleAnswers(f, "userinfo") {
		f.Add(answer.status, answer.contentType, answer.body)
	}
	for _, body := range []string{`{"sub":"b8scm29158bd"}`, `{"sub":"other"}`, `{"sub":"b8scm29158bd","sub":"other"}`, `{"sub":["b8scm29158bd"]}`, `{}`, `null`, ``} {
		f.Add(http.StatusOK, "application/json", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		answer := fixedAnswer{status: status, contentType: contentType, body: body}
		raw, err := providerWith(t, answer).userInfo(t.Context(), "access token")
		if err != nil {
			checkAnswerError(t, answer, err)
			return
		}
		info, err := checkUserInfo(raw, "b8scm29158bd")
		if err != nil {
			checkAnswerError(t, answer, err)
			return
		}
		out, err := json.Marshal(info)
		if err != nil || status != http.StatusOK || info.Subject != "b8scm29158bd" || !reflect.DeepEqual(decodeExactly(body), decodeExactly(out)) {
			t.Fatalf("%d %q is %q, %v", status, body, out, err)
		}
	})
}

// C98.
func FuzzDiscovery(f *testing.F) {
	const good = `{"issuer":"https://example.logto.app/oidc","authorization_endpoint":"https://example.logto.app/oidc/auth","token_endpoint":"https://example.logto.app/oidc/token",` +
		`"userinfo_endpoint":"https://example.logto.app/oidc/me","end_session_endpoint":"https://example.logto.app/oidc/session/end","revocation_endpoint":"https://example.logto.app/oidc/token/revocation",` +
		`"jwks_uri":"https://example.logto.app/oidc/jwks","authorization_response_iss_parameter_supported":true}`
	for _, seed := range []string{
		good, strings.ReplaceAll(good, "oidc/token\"", "oidc/token#x\""), strings.ReplaceAll(good, "https://example.logto.app/oidc/me", "http://example.logto.app/oidc/me"),
		strings.ReplaceAll(good, "https://example.logto.app/oidc/jwks", "https://user@example.logto.app"), strings.ReplaceAll(good, `"https://example.logto.app/oidc/auth"`, "null"),
		strings.ReplaceAll(good, "true", `"yes"`), `{"issuer":"https://example.logto.app/oidc"}`, `{}`, ``, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := providerWith(t, fixedAnswer{status: http.StatusOK, contentType: "application/json", body: body})
		m, err := p.discover(t.Context())
		if err != nil {
			if len(body) > 50 && strings.Contains(err.Error(), string(body)) {
				t.Fatalf("the error has the body: %v", err)
			}
			return
		}
		var document struct{ Issuer string }
		if err := json.Unmarshal(body, &document); err != nil || document.Issuer != fuzzIssuer {
			t.Fatalf("%q is believed", body)
		}
		for _, endpoint := range []string{m.authorizationEndpoint, m.tokenEndpoint, m.userInfoEndpoint, m.endSessionEndpoint, m.revocationEndpoint, m.keysEndpoint} {
			if u, err := url.Parse(endpoint); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
				t.Fatalf("%q: the endpoint %q", body, endpoint)
			}
		}
	})
}
