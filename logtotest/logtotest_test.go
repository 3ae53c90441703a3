package logtotest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest"
)

const (
	redirectURI = "http://localhost:8080/callback"
	verifier    = "a-verifier-of-at-least-forty-three-characters-xx"
)

// person is a browser at the fake Logto that stays there: redirects to the
// application are shown, not followed.
type person struct {
	t      *testing.T
	logto  *logtotest.Server
	client *http.Client
}

func newPerson(t *testing.T, logto *logtotest.Server) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: 10 * time.Second, Transport: &http.Transport{}}
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), logto.Endpoint()) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	t.Cleanup(client.CloseIdleConnections)
	return &person{t, logto, client}
}

func (p *person) send(r *http.Request, err error) (*http.Response, map[string]any) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	var members map[string]any
	_ = json.Unmarshal(body, &members)
	return response, members
}

func (p *person) authorize(change func(url.Values)) (*http.Response, map[string]any) {
	p.t.Helper()
	sum := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {p.logto.AppID()}, "redirect_uri": {redirectURI}, "response_type": {"code"},
		"scope": {"openid offline_access profile email"}, "state": {"s"}, "nonce": {"n"}, "prompt": {"consent"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if change != nil {
		change(query)
	}
	return p.send(http.NewRequest(http.MethodGet, p.logto.Issuer()+"/auth?"+query.Encode(), nil))
}

func (p *person) post(path string, form url.Values) (*http.Response, map[string]any) {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodPost, p.logto.Endpoint()+path, strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(path, "/oidc/token") {
			r.SetBasicAuth(p.logto.AppID(), p.logto.AppSecret())
		}
	}
	return p.send(r, err)
}

// callback is what the fake Logto tells the application.
func callback(t *testing.T, response *http.Response) url.Values {
	t.Helper()
	location, err := url.Parse(response.Header.Get("Location"))
	if err != nil || !strings.HasPrefix(location.String(), redirectURI+"?") {
		t.Fatalf("%d to %q", response.StatusCode, response.Header.Get("Location"))
	}
	return location.Query()
}

func (p *person) code() string {
	p.t.Helper()
	response, _ := p.authorize(nil)
	if response.Request.URL.Path == "/sign-in" {
		response, _ = p.post("/sign-in", url.Values{"username": {"alice"}, "password": {"wonderland"}})
	}
	return callback(p.t, response).Get("code")
}

func (p *person) redeem(code string) (*http.Response, map[string]any) {
	p.t.Helper()
	return p.post("/oidc/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	})
}

func (p *person) refresh(tokens map[string]any) int {
	p.t.Helper()
	response, _ := p.post("/oidc/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}})
	return response.StatusCode
}

func TestCodes(t *testing.T) {
	t.Parallel()
	t.Run("one that comes twice kills what the first time yielded", func(t *testing.T) {
		p := newPerson(t, logtotest.NewServer(t))
		code := p.code()
		_, tokens := p.redeem(code)
		if status := p.refresh(tokens); status != http.StatusOK {
			t.Fatalf("refresh: %d", status)
		}
		if response, answer := p.redeem(code); response.StatusCode != http.StatusBadRequest || answer["error"] != "invalid_grant" || answer["code"] != "oidc.invalid_grant" {
			t.Errorf("second time: %d %v", response.StatusCode, answer)
		}
		if status := p.refresh(tokens); status != http.StatusBadRequest {
			t.Errorf("refresh after the replay: %d", status)
		}
	})
	t.Run("a wrong verifier does not consume it", func(t *testing.T) {
		p := newPerson(t, logtotest.NewServer(t))
		code := p.code()
		response, _ := p.post("/oidc/token", url.Values{
			"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {"wrong"},
		})
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("wrong verifier: %d", response.StatusCode)
		}
		if response, _ := p.redeem(code); response.StatusCode != http.StatusOK {
			t.Errorf("right verifier: %d", response.StatusCode)
		}
	})
	t.Run("it is dead after a minute", func(t *testing.T) {
		logto := logtotest.NewServer(t)
		p := newPerson(t, logto)
		code := p.code()
		logto.SetNow(func() time.Time { return time.Now().Add(62 * time.Second) })
		if response, _ := p.redeem(code); response.StatusCode != http.StatusBadRequest {
			t.Errorf("%d", response.StatusCode)
		}
	})
}

func TestAuthorizationErrorsComeWithTheRedirect(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	for name, test := range map[string]struct {
		change func(url.Values)
		error  string
	}{
		"a parameter twice":           {func(q url.Values) { q.Add("nonce", "m") }, "invalid_request"},
		"an unknown prompt":           {func(q url.Values) { q.Set("prompt", "create") }, "invalid_request"},
		"an unknown resource":         {func(q url.Values) { q.Set("resource", "https://api.example.test") }, "invalid_target"},
		"plain PKCE":                  {func(q url.Values) { q.Set("code_challenge_method", "plain") }, "invalid_request"},
		"another response type":       {func(q url.Values) { q.Set("response_type", "code id_token") }, "unsupported_response_type"},
		"no page allowed, no session": {func(q url.Values) { q.Set("prompt", "none") }, "login_required"},
	} {
		response, _ := newPerson(t, logto).authorize(test.change)
		if answer := callback(t, response); answer.Get("error") != test.error || answer.Get("state") != "s" || answer.Get("iss") != logto.Issuer() {
			t.Errorf("%s: %v", name, answer)
		}
	}
	logto.RegisterRedirectURIs("http://localhost:9999/")
	if response, answer := newPerson(t, logto).authorize(nil); response.StatusCode != http.StatusBadRequest || answer["error"] != "invalid_redirect_uri" {
		t.Errorf("unregistered redirect URI: %d %v", response.StatusCode, answer)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	for name, test := range map[string]struct {
		change func(url.Values)
		path   string
	}{
		"sign-in first":                         {nil, "/sign-in"},
		"registration first":                    {func(q url.Values) { q.Set("first_screen", "register") }, "/register"},
		"one wrong parameter voids all of them": {func(q url.Values) { q.Set("first_screen", "register"); q.Set("identifier", "mail") }, "/sign-in"},
	} {
		p := newPerson(t, logto)
		if response, _ := p.authorize(test.change); response.Request.URL.Path != test.path {
			t.Errorf("%s: %s", name, response.Request.URL)
		}
	}
	p := newPerson(t, logto)
	p.authorize(nil)
	if response, _ := p.post("/sign-in", url.Values{"username": {"alice"}, "password": {"wrong"}}); response.StatusCode != http.StatusBadRequest {
		t.Errorf("wrong password: %d", response.StatusCode)
	}
	first := p.code()
	if again, _ := p.authorize(nil); callback(t, again).Get("code") == first {
		t.Error("the second sign-in needs no form, but a code of its own")
	}
}

func TestOfflineAccessNeedsConsent(t *testing.T) {
	t.Parallel()
	p := newPerson(t, logtotest.NewServer(t))
	p.code()
	response, _ := p.authorize(func(q url.Values) { q.Del("prompt") })
	_, tokens := p.redeem(callback(t, response).Get("code"))
	if tokens["refresh_token"] != nil || tokens["scope"] != "openid profile email" || tokens["token_type"] != "Bearer" {
		t.Errorf("%v", tokens)
	}
}

func TestOtherHostsAreRefused(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	r, err := http.NewRequest(http.MethodGet, logto.Issuer()+"/jwks", nil)
	if err == nil {
		r.Host = "evil.example"
	}
	if response, _ := newPerson(t, logto).send(r, err); response.StatusCode != http.StatusForbidden {
		t.Errorf("%d", response.StatusCode)
	}
}
