package logto

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

const testIssuer = "https://example.logto.app/oidc"

// testNow is the time at which everything happens.
var testNow = time.Unix(1_800_000_000, 0)

// publicError stands for the error that an application gets to see.
type publicError struct {
	code, description string
	status            int
}

// Error leaves out what Logto has sent: which characters of that an application gets to see is
// up to the error of the application.
func (e *publicError) Error() string { return "refused" }

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

// clock is testNow until it is moved on.
type clock struct{ passed atomic.Int64 }

func (c *clock) now() time.Time { return testNow.Add(time.Duration(c.passed.Load())) }

func (c *clock) advance(by time.Duration) { c.passed.Add(int64(by)) }

// sentRequest is a request as it was sent.
type sentRequest struct {
	method, url string
	header      http.Header
	body        string
}

// form returns the parameters in the body, for a request that must be a form.
func (r sentRequest) form(tb testing.TB) url.Values {
	tb.Helper()
	form, err := url.ParseQuery(r.body)
	if err != nil || r.method != http.MethodPost || r.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		tb.Fatalf("%s with the type %q and the body %q is no form: %v", r.method, r.header.Get("Content-Type"), r.body, err)
	}
	return form
}

// observedLogto is a Logto whose answers can change. It remembers what it was sent.
type observedLogto struct {
	mu      sync.Mutex
	answers answers
	sent    map[string][]sentRequest // by path
}

func newObservedLogto(initial answers) *observedLogto {
	return &observedLogto{answers: maps.Clone(initial), sent: map[string][]sentRequest{}}
}

func (l *observedLogto) RoundTrip(request *http.Request) (*http.Response, error) {
	sent := sentRequest{method: request.Method, url: request.URL.String(), header: request.Header.Clone()}
	if request.Body != nil {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		sent.body = string(body)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[request.URL.Path] = append(l.sent[request.URL.Path], sent)
	return l.answers.RoundTrip(request)
}

// answer changes the answer at a path.
func (l *observedLogto) answer(path string, with fixedAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[path] = with
}

// requests returns what was sent to a path.
func (l *observedLogto) requests(path string) []sentRequest {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent[path])
}

// onlyRequest returns the one request that was sent to a path.
func (l *observedLogto) onlyRequest(tb testing.TB, path string) sentRequest {
	tb.Helper()
	sent := l.requests(path)
	if len(sent) != 1 {
		tb.Fatalf("%d requests to %s, want 1", len(sent), path)
	}
	return sent[0]
}

// testKey signs tokens.
type testKey struct {
	private crypto.Signer
	member  members // its public key, as it stands in a key set
	set     string  // the key set with its public key
}

// newTestKey makes a key for ES256 with the name "k".
func newTestKey(tb testing.TB) *testKey {
	tb.Helper()
	return newTestKeyOf(tb, "ES256", "k")
}

// newTestKeyOf makes a key for this algorithm with this name.
func newTestKeyOf(tb testing.TB, algorithm, id string) *testKey {
	tb.Helper()
	member := members{"use": "sig", "alg": algorithm, "kid": id}
	k := &testKey{member: member}
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	switch algorithm {
	case "RS256", "PS256":
		private := testRSAKey()
		k.private = private
		member["kty"], member["n"], member["e"] = "RSA", base64url.EncodeToString(private.N.Bytes()), "AQAB"
	case "EdDSA":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		k.private = private
		member["kty"], member["crv"], member["x"] = "OKP", "Ed25519", base64url.EncodeToString(public)
	default:
		private, err := ecdsa.GenerateKey(curves[algorithm], rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		point, err := private.PublicKey.Bytes()
		if err != nil {
			tb.Fatal(err)
		}
		k.private = private
		half := len(point) / 2
		member["kty"], member["crv"] = "EC", private.Params().Name
		member["x"], member["y"] = base64url.EncodeToString(point[1:1+half]), base64url.EncodeToString(point[1+half:])
	}
	k.set = keySetOf(member.json())
	return k
}

// testRSAKey is shared, because it takes long to make.
var testRSAKey = sync.OnceValue(func() *rsa.PrivateKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return private
})

// keySetOf is the key set with these members.
func keySetOf(members ...string) string { return `{"keys":[` + strings.Join(members, ",") + `]}` }

// provider makes a Provider of a Logto whose key this is.
func (k *testKey) provider(tb testing.TB, change func(*Settings)) *Provider {
	tb.Helper()
	return newTestProvider(tb, answers{"/oidc/jwks": json200(k.set)}, change)
}

func (k *testKey) sign(tb testing.TB, header, claims string) string {
	tb.Helper()
	return k.signInput(tb, base64url.EncodeToString([]byte(header))+"."+base64url.EncodeToString([]byte(claims)))
}

// signInput signs exactly this, which can be what is no token.
func (k *testKey) signInput(tb testing.TB, input string) string {
	tb.Helper()
	return input + "." + base64url.EncodeToString(k.signature(tb, input))
}

func (k *testKey) signature(tb testing.TB, input string) (signature []byte) {
	tb.Helper()
	var err error
	switch private := k.private.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(private, []byte(input))
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(input))
		if k.member["alg"] == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, private, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
		}
	case *ecdsa.PrivateKey:
		size := (private.Params().BitSize + 7) / 8
		hasher := map[int]func() hash.Hash{32: sha256.New, 48: sha512.New384, 66: sha512.New}[size]()
		hasher.Write([]byte(input))
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, private, hasher.Sum(nil)); err == nil {
			signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
	return signature
}

// members holds the members of a JSON object.
type members map[string]any

// absent, as a change, takes a member away.
type absent struct{}

func (m members) json() string {
	encoded, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

// with is a copy with these changes.
func (m members) with(changes members) members {
	changed := maps.Clone(m)
	for name, value := range changes {
		if value == (absent{}) {
			delete(changed, name)
		} else {
			changed[name] = value
		}
	}
	return changed
}

// at is a time relative to testNow as tokens give it.
func at(from time.Duration) int64 { return testNow.Add(from).Unix() }

// What the errors about tokens say after fault.InvalidToken; "…" stands for the rest, such as the cure.
const (
	wrongIssuer      = "iss is not " + testIssuer
	wrongAudience    = "aud is not this application"
	wrongParty       = "azp is not this application"
	wrongExpiry      = "exp is …"
	wrongIssuedAt    = "iat is …"
	wrongNotBefore   = "nbf is in the future"
	wrongNonce       = "nonce is not that of the sign-in attempt"
	wrongAuthTime    = "auth_time is not a time"
	wrongAccessToken = "at_hash is not that of the access token"

	notCompact   = "not a signed token in compact form"
	notBase64URL = "not base64url"
	notAllowed   = "the algorithm is not allowed; …"
	noKeyFits    = "no key of Logto's fits; …"
	wrongSigned  = "the signature is wrong"
)

// garbage is what no reader takes for a token.
var garbage = []string{
	"", ".", "a", "a.b", "opaque", "..", "...", "a.!.c", "a.e30=.c", "a.e3 0.c", "a.e31.c",
	"a." + base64url.EncodeToString([]byte("[]")) + ".c", "a." + base64url.EncodeToString([]byte("null")) + ".c", "a." + base64url.EncodeToString([]byte(`{"sub":"u","sub":"v"}`)) + ".c",
	"e30." + strings.Repeat("A", 1<<16) + ".c",
}

// encoded is a part of a token.
func encoded(text string) string { return base64url.EncodeToString([]byte(text)) }

// checkTokenError makes sure that a token was refused by this check and that the error keeps
// the token to itself. An empty check means that the token must be accepted.
func checkTokenError(t *testing.T, name, token string, err error, check string) {
	t.Helper()
	switch {
	case check == "" && err != nil:
		t.Errorf("%s: got the error %v, want none", name, err)
	case check == "":
	case err == nil:
		t.Errorf("%s: got no error, want %q", name, check)
	case !errors.Is(err, fault.InvalidToken) || errors.Is(err, fault.ProviderUnavailable):
		t.Errorf("%s: got the error %v, want a fault.InvalidToken", name, err)
	case !isSaid(err, fault.InvalidToken.Error()+": "+check):
		t.Errorf("%s: got the error %q, want %q after %q", name, err, check, fault.InvalidToken)
	}
	if err == nil {
		return
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			t.Errorf("%s: the error %q holds %q of the token", name, err, part)
		}
	}
}

// sampleAnswers returns the answers of a real Logto whose names begin with a prefix.
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
	var refused *oauth.Refusal
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
	if wait := oauth.RetryAfterOf(err); wait < 0 || wait > maxRetryAfter {
		t.Fatalf("%q: wait for %v", answer.retryAfter, wait)
	}
}
