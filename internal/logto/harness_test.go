package logto

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
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

const testIssuer = "https://example.logto.app/oidc"

// testNow is the time at which everything happens.
var testNow = time.Unix(1_800_000_000, 0)

// publicError stands for the error that an application gets to see.
type publicError struct {
	code, description string
	status            int
}

func (e *publicError) Error() string { return "refused: " + e.code }

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

// json200 is the usual answer.
func json200(body string) fixedAnswer {
	return fixedAnswer{status: http.StatusOK, contentType: "application/json", body: []byte(body)}
}

// testMetadata is what discovery tells.
const testMetadata = `{"issuer":"https://example.logto.app/oidc","authorization_endpoint":"https://example.logto.app/oidc/auth","token_endpoint":"https://example.logto.app/oidc/token",` +
	`"userinfo_endpoint":"https://example.logto.app/oidc/me","end_session_endpoint":"https://example.logto.app/oidc/session/end","revocation_endpoint":"https://example.logto.app/oidc/token/revocation",` +
	`"jwks_uri":"https://example.logto.app/oidc/jwks","authorization_response_iss_parameter_supported":true}`

// answers is a Logto with an answer for each path, and metadata.
type answers map[string]fixedAnswer

func (a answers) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, ok := a[request.URL.Path]
	switch {
	case !ok && strings.HasSuffix(request.URL.Path, "/.well-known/openid-configuration"):
		answer = json200(testMetadata)
	case !ok:
		answer = fixedAnswer{status: http.StatusNotFound}
	}
	return answer.RoundTrip(request)
}

// newTestProvider makes a Provider of a Logto that is this transport.
func newTestProvider(tb testing.TB, transport http.RoundTripper, change func(*Settings)) *Provider {
	tb.Helper()
	settings := Settings{
		Issuer: testIssuer, AccessTokenIssuers: []string{testIssuer}, AppID: "app", AppSecret: "secret",
		HTTPClient: &http.Client{Transport: transport}, ClockSkew: time.Minute,
		Now:     func() time.Time { return testNow },
		Observe: func(context.Context, string) func(error) { return func(error) {} },
		PublicRefusal: func(code, description string, status int) error {
			return &publicError{code, description, status}
		},
	}
	if change != nil {
		change(&settings)
	}
	p := New(settings)
	tb.Cleanup(p.Close)
	return p
}

// testKey signs tokens.
type testKey struct {
	private *ecdsa.PrivateKey
	set     string // the key set with its public key
}

func newTestKey(tb testing.TB) *testKey {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return &testKey{private, fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"k","x":%q,"y":%q}]}`,
		base64url.EncodeToString(point[1:33]), base64url.EncodeToString(point[33:]))}
}

// provider makes a Provider of a Logto whose key this is.
func (k *testKey) provider(tb testing.TB, change func(*Settings)) *Provider {
	tb.Helper()
	return newTestProvider(tb, answers{"/oidc/jwks": json200(k.set)}, change)
}

func (k *testKey) sign(tb testing.TB, header, claims string) string {
	tb.Helper()
	input := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return input + "." + base64url.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// sampleAnswers are those of a real Logto whose names begin so.
func sampleAnswers(f *testing.F, prefixes ...string) (answers []fixedAnswer) {
	raw, err := os.ReadFile("../../logtotest/testdata/samples.json")
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
	var refused *Refusal
	switch {
	case errors.As(err, &refused):
		if refused.Code == "" || refused.Status == http.StatusTooManyRequests || refused.Status >= 500 {
			t.Fatalf("%d %q is a refusal: %v", answer.status, answer.body, err)
		}
	case !errors.Is(err, fault.ProviderUnavailable) && !errors.Is(err, fault.InvalidToken):
		t.Fatalf("%d %q: %v", answer.status, answer.body, err)
	case len(answer.body) > 50 && strings.Contains(err.Error(), string(answer.body)):
		t.Fatalf("the error has the body: %v", err)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		t.Fatalf("%q", err)
	}
	if wait := RetryAfterOf(err); wait < 0 || wait > maxRetryAfter {
		t.Fatalf("%q: wait for %v", answer.retryAfter, wait)
	}
}
