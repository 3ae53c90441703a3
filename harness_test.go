package logtogin_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// application is a Gin application that uses the plugin as its users do, on a
// real listener.
type application struct {
	t      *testing.T
	url    string
	auth   *logtogin.Auth
	router *gin.Engine
	log    *logBuffer
	store  *serverStore // nil with sessions in cookies
	server *http.Server
	before atomic.Pointer[gin.HandlerFunc] // a middleware before everything
}

func (app *application) inStore() bool { return app.store != nil }

// newApplication starts an application that signs in at logto. change may
// adjust its configuration.
func newApplication(t *testing.T, logto *logtotest.Server, change func(*logtogin.Config)) *application {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := &application{t: t, url: "http://" + listener.Addr().String(), router: gin.New(), log: &logBuffer{}}
	cfg := logtogin.Config{
		Endpoint:  logto.Endpoint(),
		AppID:     logto.AppID(),
		AppSecret: logto.AppSecret(),
		BaseURL:   app.url,
		Scopes:    []string{"email"},
		Logger:    slog.New(slog.NewTextHandler(app.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	app.store, _ = cfg.Store.(*serverStore)
	app.router.Use(func(c *gin.Context) {
		if middleware := app.before.Load(); middleware != nil {
			(*middleware)(c)
		}
	})
	app.auth, err = logtogin.Register(app.router, cfg)
	if err != nil {
		t.Fatal(err)
	}
	app.router.GET("/", app.auth.Optional(), func(c *gin.Context) {
		if claims, ok := logtogin.ClaimsFrom(c); ok {
			c.String(http.StatusOK, "signed in as "+claims.Username)
			return
		}
		c.String(http.StatusOK, "not signed in")
	})
	app.router.GET("/profile", app.auth.Guard(), func(c *gin.Context) {
		c.JSON(http.StatusOK, c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims))
	})
	app.router.POST("/profile", app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "posted") })
	app.router.GET("/user-info", app.auth.Guard(), func(c *gin.Context) {
		info, err := app.auth.UserInfo(c)
		if err != nil {
			c.String(http.StatusBadGateway, err.Error())
			return
		}
		c.JSON(http.StatusOK, info)
	})
	app.server = &http.Server{Handler: app.router}
	server := &httptest.Server{Listener: listener, Config: app.server}
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := app.auth.Close(); err != nil {
			t.Error(err)
		}
	})
	return app
}

// logBuffer collects what the plugin logs.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// browser is an HTTP client that behaves like one: it keeps cookies, follows
// redirects, says that it navigates, and fills in forms.
type browser struct {
	t       *testing.T
	client  *http.Client
	visited []string // every address requested, in order
	header  http.Header
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, header: http.Header{
		"Accept":         {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Sec-Fetch-Mode": {"navigate"},
		"Sec-Fetch-Dest": {"document"},
	}}
	b.client = &http.Client{
		Jar:       jar,
		Timeout:   time.Minute,
		Transport: &http.Transport{},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if len(b.visited) > 100 {
				t.Fatalf("the redirects go in circles: %v", b.visited[90:])
			}
			b.visited = append(b.visited, r.URL.String())
			return nil
		},
	}
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

// page is what the browser shows in the end.
type page struct {
	status int
	header http.Header
	url    *url.URL
	body   string
}

func (b *browser) get(address string) page {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

func (b *browser) post(address string, form url.Values) page {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(r)
}

func (b *browser) do(r *http.Request) page {
	b.t.Helper()
	for name, values := range b.header {
		if r.Header.Get(name) == "" {
			r.Header[name] = values
		}
	}
	b.visited = append(b.visited, r.URL.String())
	response, err := b.client.Do(r)
	return readPage(b.t, response, err)
}

// readPage reads what a client or a transport has returned.
func readPage(t *testing.T, response *http.Response, err error) page {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return page{response.StatusCode, response.Header, response.Request.URL, string(body)}
}

// stopAt makes the browser stop before it requests an address that begins so,
// and show the redirect instead.
func (b *browser) stopAt(prefix string) {
	follow := b.client.CheckRedirect
	b.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), prefix) {
			return http.ErrUseLastResponse
		}
		return follow(r, via)
	}
	b.t.Cleanup(func() { b.client.CheckRedirect = follow })
}

func (b *browser) keepGoing() {
	b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		b.visited = append(b.visited, r.URL.String())
		return nil
	}
}

var (
	formAction  = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)
	hiddenInput = regexp.MustCompile(`<input type="hidden"[^>]*>`)
	attribute   = regexp.MustCompile(`(name|value)="([^"]*)"`)
)

// submit sends the form of a page with its hidden fields and the given ones.
func (b *browser) submit(shown page, fields url.Values) page {
	b.t.Helper()
	action := formAction.FindStringSubmatch(shown.body)
	if action == nil {
		b.t.Fatalf("%s shows no form: %d %s", shown.url, shown.status, shown.body)
	}
	target, err := shown.url.Parse(action[1])
	if err != nil {
		b.t.Fatal(err)
	}
	form := url.Values{}
	for _, input := range hiddenInput.FindAllString(shown.body, -1) {
		found := map[string]string{}
		for _, match := range attribute.FindAllStringSubmatch(input, -1) {
			found[match[1]] = match[2]
		}
		form.Set(found["name"], found["value"])
	}
	for name, values := range fields {
		form[name] = values
	}
	return b.post(target.String(), form)
}

// enter fills in the sign-in form of the fake Logto.
func (b *browser) enter(shown page, user logtotest.User) page {
	b.t.Helper()
	return b.submit(shown, url.Values{"username": {user.Username}, "password": {user.Password}})
}

// signIn goes to an address that leads to the sign-in form, and through it.
func (b *browser) signIn(address string, user logtotest.User) page {
	b.t.Helper()
	shown := b.get(address)
	if !strings.Contains(shown.body, `name="password"`) {
		return shown // signed in at Logto already
	}
	return b.enter(shown, user)
}

// signInUntilCallback signs in and stops before the callback, which it
// returns.
func (b *browser) signInUntilCallback(app *application, user logtotest.User) *url.URL {
	b.t.Helper()
	b.stopAt(app.url + "/callback")
	shown := b.signIn(app.url+"/sign-in", user)
	b.keepGoing()
	callback, err := url.Parse(shown.header.Get("Location"))
	if err != nil || callback.Query().Get("state") == "" {
		b.t.Fatalf("no callback: %d %q %s", shown.status, shown.header.Get("Location"), shown.body)
	}
	return callback
}

// cookies are those that the browser sends to an address.
func (b *browser) cookies(address string) []*http.Cookie {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.client.Jar.Cookies(u)
}

// ours are the cookies of the plugin among them.
func (b *browser) ours(app *application) (found []*http.Cookie) {
	b.t.Helper()
	return ours(b.cookies(app.url))
}

func ours(cookies []*http.Cookie) (found []*http.Cookie) {
	for _, cookie := range cookies {
		if strings.HasPrefix(cookie.Name, "logtogin_") {
			found = append(found, cookie)
		}
	}
	return found
}

var attemptCookie = regexp.MustCompile(`_[0-9a-f]{8}_[A-Za-z0-9_-]{12}$`)

// isAttempt reports whether a cookie belongs to an attempt, and not to a session.
func isAttempt(cookie *http.Cookie) bool { return attemptCookie.MatchString(cookie.Name) }

// attempts are the cookies of attempts that the browser sends.
func (b *browser) attempts(app *application) []*http.Cookie {
	b.t.Helper()
	return slices.DeleteFunc(b.ours(app), func(cookie *http.Cookie) bool { return !isAttempt(cookie) })
}

var sealedAttempt = regexp.MustCompile(`[?&]attempt=[\w-]{50,}$`)

// withoutAttempt is an address of the sign-in route without what a guard has sealed into it.
func withoutAttempt(address string) string { return sealedAttempt.ReplaceAllString(address, "") }

// isSignedIn asks the application.
func (b *browser) isSignedIn(app *application) bool {
	b.t.Helper()
	return strings.HasPrefix(b.get(app.url+"/").body, "signed in as ")
}

// decode reads a page as JSON with its members exactly as they are.
func decode(t *testing.T, body string) map[string]any {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return members
}

// clock is a clock that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
