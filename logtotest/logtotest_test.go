package logtotest_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

const (
	callbackURI = "http://localhost:8080/callback"
	signedOut   = "http://localhost:8080/bye"
	everything  = "openid offline_access profile email phone roles custom_data identities " +
		"urn:logto:scope:organizations urn:logto:scope:organization_roles"
)

// browser keeps cookies and does not follow redirects on its own, so that a
// test sees each step.
type browser struct {
	t      *testing.T
	server *logtotest.Server
	client *http.Client
}

type response struct {
	status   int
	header   http.Header
	location *url.URL
	body     string
}

func newBrowser(t *testing.T, server *logtotest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, server: server, client: &http.Client{
		Jar:           jar,
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) do(r *http.Request) response {
	b.t.Helper()
	got, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	location, _ := got.Location()
	return response{status: got.StatusCode, header: got.Header, location: location, body: string(body)}
}

func (b *browser) get(address string) response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

func (b *browser) post(address string, form url.Values, options ...func(*http.Request)) response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, option := range options {
		option(r)
	}
	return b.do(r)
}

// pkce is a verifier and its S256 challenge.
func pkce() (verifier, challenge string) {
	verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}

// signIn is one authorization request and what the app has to remember of it.
type signIn struct {
	parameters url.Values
	verifier   string
}

func (b *browser) newSignIn(changes ...string) signIn {
	verifier, challenge := pkce()
	parameters := url.Values{
		"client_id": {b.server.AppID()}, "redirect_uri": {callbackURI}, "response_type": {"code"},
		"scope": {everything}, "prompt": {"consent"}, "state": {rand.Text()}, "nonce": {rand.Text()},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			parameters.Del(changes[i])
		} else {
			parameters.Set(changes[i], changes[i+1])
		}
	}
	return signIn{parameters: parameters, verifier: verifier}
}

func (b *browser) authorize(attempt signIn) response {
	b.t.Helper()
	return b.get(b.server.Endpoint() + "/oidc/auth?" + attempt.parameters.Encode())
}

// follow goes from hop to hop within the server. It stops before a page that somebody has to
// fill in, and before the app.
func (b *browser) follow(got response) response {
	b.t.Helper()
	for got.location != nil && strings.HasPrefix(got.location.String(), b.server.Endpoint()) {
		next := b.get(got.location.String())
		if next.status == http.StatusOK && next.location == nil {
			return got
		}
		got = next
	}
	return got
}

// submit fills in a page and follows the browser back to the app.
func (b *browser) submit(page *url.URL, fields ...string) response {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	submitted := b.post(page.String(), form)
	if submitted.status != http.StatusSeeOther {
		b.t.Fatalf("submitting %s: %d %s", page, submitted.status, submitted.body)
	}
	return b.follow(submitted)
}

// callback signs the default user in and returns the parameters of the
// callback.
func (b *browser) callback(attempt signIn) url.Values {
	b.t.Helper()
	got := b.follow(b.authorize(attempt))
	if got.location == nil {
		b.t.Fatalf("authorization: %d %s", got.status, got.body)
	}
	if got.location.Path == "/sign-in" {
		user := logtotest.DefaultUser()
		got = b.submit(got.location, "username", user.Username, "password", user.Password)
	}
	if got.status != http.StatusSeeOther || !strings.HasPrefix(got.location.String(), callbackURI+"?") {
		b.t.Fatalf("no callback but %d %v %s", got.status, got.location, got.body)
	}
	return got.location.Query()
}

func basicAuth(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

func (b *browser) asApp() func(*http.Request) {
	return basicAuth(b.server.AppID(), b.server.AppSecret())
}

func codeForm(code string, attempt signIn) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callbackURI},
		"code_verifier": {attempt.verifier},
	}
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

func (b *browser) token(form url.Values) response {
	b.t.Helper()
	return b.post(b.server.Endpoint()+"/oidc/token", form, b.asApp())
}

// tokens signs in as far as the tokens.
func (b *browser) tokens(changes ...string) map[string]any {
	b.t.Helper()
	attempt := b.newSignIn(changes...)
	got := b.token(codeForm(b.callback(attempt).Get("code"), attempt))
	if got.status != http.StatusOK {
		b.t.Fatalf("token endpoint: %d %s", got.status, got.body)
	}
	return decode(b.t, got.body)
}

func (b *browser) userInfo(accessToken string) response {
	b.t.Helper()
	return b.post(b.server.Endpoint()+"/oidc/me", nil, func(r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+accessToken)
	})
}

var xsrfField = regexp.MustCompile(`name="xsrf" value="([^"]+)"`)

// signOut is what the browser does with the self-submitting form.
func (b *browser) signOut(query url.Values) response {
	b.t.Helper()
	page := b.get(b.server.Endpoint() + "/oidc/session/end?" + query.Encode())
	field := xsrfField.FindStringSubmatch(page.body)
	if page.status != http.StatusOK || field == nil {
		b.t.Fatalf("no sign-out form but %d %s", page.status, page.body)
	}
	return b.post(b.server.Endpoint()+"/oidc/session/end/confirm", url.Values{
		"xsrf": {html.UnescapeString(field[1])}, "logout": {"yes"},
	})
}

func decode(t *testing.T, body string) map[string]any {
	t.Helper()
	var decoded map[string]any
	if err := json.Unmarshal([]byte(body), &decoded); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return decoded
}

// decodeToken reads a JWT without checking it.
func decodeToken(t *testing.T, token any) (header, claims map[string]any) {
	t.Helper()
	text, _ := token.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %v", token)
	}
	var decoded [2]map[string]any
	for i := range decoded {
		part, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		decoded[i] = decode(t, string(part))
	}
	return decoded[0], decoded[1]
}

func (r response) wantError(t *testing.T, status int, name string) {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	body := decode(t, r.body)
	if body["error"] != name || body["code"] != "oidc."+name || body["message"] == "" {
		t.Errorf("body %s, want the error %s", r.body, name)
	}
	if name == "invalid_grant" && body["error_uri"] != "https://openid.sh/debug/invalid_grant" {
		t.Errorf("error_uri missing in %s", r.body)
	}
}
