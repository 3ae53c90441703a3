package main

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// startApp runs the application and a fake Logto.
func startApp(t *testing.T, changes ...func(*logtogin.Config)) (baseURL string, fake *logtotest.Server) {
	t.Helper()
	fake, err := logtotest.Start(logtotest.DefaultUser())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	server := httptest.NewUnstartedServer(nil)
	baseURL = "http://" + server.Listener.Addr().String()
	cfg := fakeConfig(fake, baseURL)
	for _, change := range changes {
		change(&cfg)
	}
	router, auth, err := newApp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = router
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	return baseURL, fake
}

// browser keeps cookies and follows redirects.
type browser struct {
	t      *testing.T
	client *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar}}
}

// document is a page and the address where it was found.
type document struct {
	status int
	url    *url.URL
	header http.Header
	body   string
}

func (b *browser) do(method, address string, form url.Values) document {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return document{response.StatusCode, response.Request.URL, response.Header, string(body)}
}

func (b *browser) get(address string) document {
	b.t.Helper()
	return b.do(http.MethodGet, address, nil)
}

var (
	formTag   = regexp.MustCompile(`<form\b[^>]*>`)
	inputTag  = regexp.MustCompile(`<input\b[^>]*>`)
	attribute = regexp.MustCompile(`([a-z-]+)="([^"]*)"`)
)

func attributes(tag string) map[string]string {
	found := map[string]string{}
	for _, match := range attribute.FindAllStringSubmatch(tag, -1) {
		found[match[1]] = html.UnescapeString(match[2])
	}
	return found
}

// submit sends the form of a page that has one, with its fields as they are
// except for those given.
func (b *browser) submit(page document, fields map[string]string) document {
	b.t.Helper()
	form := formTag.FindString(page.body)
	if form == "" {
		b.t.Fatalf("no form at %s:\n%s", page.url, page.body)
	}
	values := url.Values{}
	for _, tag := range inputTag.FindAllString(page.body, -1) {
		input := attributes(tag)
		values.Set(input["name"], input["value"])
	}
	for name, value := range fields {
		if !values.Has(name) {
			b.t.Fatalf("the form at %s has no field %q", page.url, name)
		}
		values.Set(name, value)
	}
	action, err := page.url.Parse(attributes(form)["action"])
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(strings.ToUpper(attributes(form)["method"]), action.String(), values)
}

// signIn opens an address that leads to Logto and signs in there.
func (b *browser) signIn(address string) document {
	b.t.Helper()
	user := logtotest.DefaultUser()
	return b.submit(b.get(address), map[string]string{"username": user.Username, "password": user.Password})
}

func (d document) mustBe(t *testing.T, status int, address string, contents ...string) {
	t.Helper()
	if d.status != status || d.url.String() != address {
		t.Fatalf("%d at %s, want %d at %s\n%s", d.status, d.url, status, address, d.body)
	}
	if n := strings.Count(d.body, "<h1"); n != 1 {
		t.Errorf("%s has %d h1, want one", address, n)
	}
	for _, content := range contents {
		if !strings.Contains(html.UnescapeString(d.body), content) {
			t.Errorf("%s lacks %q:\n%s", address, content, d.body)
		}
	}
}

func TestHomeOfVisitor(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	home := b.get(base + "/")
	home.mustBe(t, http.StatusOK, base+"/", "You are not signed in", `href="/sign-in"`, `href="/sign-up"`, `<a href="/" aria-current="page">`)
	if strings.Contains(home.body, "/sign-out") {
		t.Error("a visitor is offered to sign out")
	}
	policy := home.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'self'") || strings.Contains(policy, "form-action") {
		t.Errorf("Content-Security-Policy is %q", policy)
	}
	b.get(base+"/nothing").mustBe(t, http.StatusNotFound, base+"/nothing", "Page not found")
	for path, mediaType := range map[string]string{"/static/style.css": "text/css", "/static/icon.svg": "image/svg+xml"} {
		file := b.get(base + path)
		if file.status != http.StatusOK || !strings.HasPrefix(file.header.Get("Content-Type"), mediaType) {
			t.Errorf("%s: %d %s", path, file.status, file.header.Get("Content-Type"))
		}
	}
}

func TestSignIn(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	user := logtotest.DefaultUser()
	profile := b.signIn(base + "/profile")
	profile.mustBe(t, http.StatusOK, base+"/profile", "Your profile", user.Name, user.Username, user.Email, fake.AppID(), `"sub": "`)

	home := b.get(base + "/")
	home.mustBe(t, http.StatusOK, base+"/", "Hello, "+user.Name, "ID token claims", "User info", `action="/sign-out"`)
	blocks := regexp.MustCompile(`(?s)<code>(.*?)</code>`).FindAllStringSubmatch(home.body, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d JSON texts on the home page, want claims and user info", len(blocks))
	}
	for _, block := range blocks {
		var claims map[string]any
		if err := json.Unmarshal([]byte(html.UnescapeString(block[1])), &claims); err != nil {
			t.Fatal(err)
		}
		if claims["email"] != user.Email || claims["sub"] == "" {
			t.Errorf("claims are %v", claims)
		}
	}
}

func TestSignInFromHome(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	b.signIn(base+"/sign-in").mustBe(t, http.StatusOK, base+"/", "Hello, ")
}

func TestSignUp(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	home := b.submit(b.get(base+"/sign-up"), map[string]string{"username": "bob", "password": "builder", "name": "<b>Bob</b>"})
	home.mustBe(t, http.StatusOK, base+"/", "Hello, <b>Bob</b>")
	if strings.Contains(home.body, "<b>Bob") {
		t.Error("the name is not escaped")
	}
}

func TestDeepLink(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	b.signIn(base+"/protected?page=2").mustBe(t, http.StatusOK, base+"/protected?page=2",
		"/protected?page=2", `<a href="/protected?page=2" aria-current="page">`)
}

func TestUserInfoFails(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	fake.Close()
	b.get(base+"/").mustBe(t, http.StatusOK, base+"/", "Hello, ", "You are still signed in")
}

func TestUserInfoAfterHours(t *testing.T) {
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	base, fake := startApp(t, func(cfg *logtogin.Config) { cfg.SessionLifetime, cfg.Now = 24*time.Hour, now })
	fake.SetNow(now)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	later.Store(int64(2 * time.Hour))
	b.get(base+"/").mustBe(t, http.StatusOK, base+"/", "Hello, ", "Fetched from Logto just now")
}

func TestAUserWhoWasRemoved(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	profile := b.signIn(base + "/profile")
	fake.DeleteUser(regexp.MustCompile(`&#34;sub&#34;: &#34;(.*?)&#34;`).FindStringSubmatch(profile.body)[1])
	if page := b.get(base + "/"); strings.Contains(page.body, "Hello, ") {
		t.Errorf("%d %s", page.status, page.body)
	}
}

func TestSignOut(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	profile := b.signIn(base + "/profile")
	before := b.client.Jar.Cookies(profile.url)

	// The sign-out button, then Logto's page that submits itself.
	home := b.submit(b.submit(profile, nil), nil)
	home.mustBe(t, http.StatusOK, base+"/", "You are not signed in")

	thief := newBrowser(t)
	thief.client.Jar.SetCookies(profile.url, before)
	thief.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, who := range []*browser{b, thief} {
		who.client.CheckRedirect = thief.client.CheckRedirect
		answer := who.get(base + "/profile")
		if answer.status != http.StatusFound || answer.header.Get("Location") != "/sign-in?return_to=%2Fprofile" {
			t.Errorf("%d %s, want a redirect to the sign-in", answer.status, answer.header.Get("Location"))
		}
	}
}

func TestWantsFake(t *testing.T) {
	tests := map[string]struct {
		environ []string
		want    bool
		missing []string
	}{
		"nothing":             {environ: []string{"HOME=/", "ADDR=:80", "MY_LOGTO_ENDPOINT=x"}, want: true},
		"all":                 {environ: []string{"LOGTO_ENDPOINT=a", "LOGTO_APP_ID=b", "LOGTO_APP_SECRET=c=d"}},
		"all and more":        {environ: []string{"LOGTO_ENDPOINT=a", "LOGTO_APP_ID=b", "LOGTO_APP_SECRET=c", "LOGTO_BASE_URL=d"}},
		"one lacks":           {environ: []string{"LOGTO_ENDPOINT=a", "LOGTO_APP_ID=b"}, missing: []string{"LOGTO_APP_SECRET"}},
		"two lack":            {environ: []string{"LOGTO_APP_ID=b"}, missing: []string{"LOGTO_ENDPOINT", "LOGTO_APP_SECRET"}},
		"one is empty":        {environ: []string{"LOGTO_ENDPOINT=a", "LOGTO_APP_ID=", "LOGTO_APP_SECRET=c"}, missing: []string{"LOGTO_APP_ID"}},
		"all are empty":       {environ: []string{"LOGTO_ENDPOINT=", "LOGTO_APP_ID=", "LOGTO_APP_SECRET="}, missing: []string{"LOGTO_ENDPOINT", "LOGTO_APP_ID", "LOGTO_APP_SECRET"}},
		"only others are set": {environ: []string{"LOGTO_BASE_URL=d"}, missing: []string{"LOGTO_ENDPOINT", "LOGTO_APP_ID", "LOGTO_APP_SECRET"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := wantsFake(test.environ)
			if got != test.want || (err != nil) != (test.missing != nil) {
				t.Fatalf("%v, %v", got, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), strings.Join(test.missing, ", ")+" missing;") {
				t.Errorf("%q does not name %v", err, test.missing)
			}
		})
	}
}

func TestRealConfig(t *testing.T) {
	for _, name := range []string{"LOGTO_BASE_URL", "LOGTO_AFTER_SIGN_OUT", "LOGTO_SESSION_LIFETIME", "LOGTO_CLOCK_SKEW"} {
		t.Setenv(name, "")
	}
	t.Setenv("LOGTO_ENDPOINT", "https://example.logto.app")
	t.Setenv("LOGTO_APP_ID", "app")
	t.Setenv("LOGTO_APP_SECRET", "secret")

	cfg, err := realConfig("http://localhost:8080")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Endpoint != "https://example.logto.app" || cfg.AppID != "app" || cfg.AppSecret != "secret" ||
		cfg.BaseURL != "http://localhost:8080" || cfg.AfterSignOut != "" {
		t.Errorf("%+v", cfg)
	}

	t.Setenv("LOGTO_BASE_URL", "https://app.example.com")
	t.Setenv("LOGTO_AFTER_SIGN_OUT", "/bye")
	if cfg, err = realConfig("http://localhost:8080"); err != nil {
		t.Fatal(err)
	}
	if cfg.BaseURL != "https://app.example.com" || cfg.AfterSignOut != "/bye" {
		t.Errorf("%+v", cfg)
	}

	t.Setenv("LOGTO_CLOCK_SKEW", "soon")
	if _, err := realConfig("http://localhost:8080"); err == nil {
		t.Error("a clock skew that is no duration was accepted")
	}
}

func TestListen(t *testing.T) {
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"127.0.0.1:0": "http://" + addr,
		"localhost:0": "http://localhost:" + port,
		":0":          "http://localhost:" + port,
		"0.0.0.0:0":   "http://localhost:" + port,
		"[::]:0":      "http://localhost:" + port,
		"[::1]:0":     "http://[::1]:" + port,
	} {
		if got := localURL(given, listener); got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
	if _, err := listen(addr); err == nil || !strings.Contains(err.Error(), "another program listens on "+addr) {
		t.Errorf("for a port that is taken: %v", err)
	}
}

func TestServeShutsDown(t *testing.T) {
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cancel() // A request under way is still answered.
		w.WriteHeader(http.StatusNoContent)
	})
	go func() { ended <- serve(ctx, listener, handler) }()
	if answer := newBrowser(t).get("http://" + listener.Addr().String()); answer.status != http.StatusNoContent {
		t.Errorf("status %d", answer.status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestConfigErrors: what New refuses must come out of newApp.
func TestConfigErrors(t *testing.T) {
	if _, _, err := newApp(logtogin.Config{}); err == nil {
		t.Error("an empty configuration was accepted")
	}
}
