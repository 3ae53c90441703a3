package logtogin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// testKey is a key of nobody else.
type testKey struct{}

// gate holds a handler until the test lets it go on.
type gate struct{ entered, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

// wait is called by the handler.
func (g *gate) wait() {
	close(g.entered)
	<-g.open
}

// gates are the gates of requests, by the header X-Gate.
type gates struct {
	mu     sync.Mutex
	byName map[string]*gate
}

func (g *gates) add(name string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byName == nil {
		g.byName = map[string]*gate{}
	}
	g.byName[name] = newGate()
	return g.byName[name]
}

// pass holds a request that has a gate.
func (g *gates) pass(c *gin.Context) {
	g.mu.Lock()
	found := g.byName[c.GetHeader("X-Gate")]
	g.mu.Unlock()
	if found != nil {
		found.wait()
	}
}

// fetch sends a request with these cookies and follows no redirect.
func (app *application) fetch(method, path string, cookies []*http.Cookie, header http.Header) (*http.Response, error) {
	r, err := http.NewRequest(method, app.url+path, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, header)
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	response, err := (&http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, err
}

func failed(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }

func slug(name string) string { return strings.ReplaceAll(name, " ", "-") }

func bob() logtotest.User {
	return logtotest.User{ID: "bob", Username: "bob", Password: "bob's password"}
}

// fetchHeld fetches a page whose handler waits at the gate of this name, does something meanwhile, and
// returns the response, or nil if there is none.
func (app *application) fetchHeld(held *gates, name, path string, cookies []*http.Cookie, header http.Header, meanwhile func()) *http.Response {
	app.t.Helper()
	gate, done := held.add(name), make(chan *http.Response)
	all := http.Header{"X-Gate": {name}}
	maps.Copy(all, header)
	go func() {
		response, err := app.fetch(http.MethodGet, path, cookies, all)
		if err != nil {
			app.t.Error(err)
		}
		done <- response
	}()
	<-gate.entered
	meanwhile()
	close(gate.open)
	return <-done
}

// contextsOf are the contexts that may be handed to a goroutine.
func contextsOf(t *testing.T, c *gin.Context) map[string]context.Context {
	derived, cancel := context.WithTimeout(c.Request.Context(), time.Minute)
	t.Cleanup(cancel)
	ofCopy, cancel := context.WithTimeout(c.Copy(), time.Minute)
	t.Cleanup(cancel)
	return map[string]context.Context{
		"c.Request.Context()": c.Request.Context(), "a context derived from that": derived, "c.Copy()": c.Copy(), "a context derived from c.Copy()": ofCopy,
	}
}

// Gin uses a *gin.Context again for another request, and a goroutine that was given a context
// which outlives the handler must not see that one's user.
func TestWhoeverOutlivesTheHandlerSeesTheSameUser(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		logto.AddUser(bob())
		now, change := withClock(logto)
		app := start(change)
		var kept map[string]context.Context
		app.router.GET("/keep", app.auth.Guard(), func(c *gin.Context) { kept = contextsOf(t, c) })
		app.router.GET("/other", app.auth.Guard(), func(*gin.Context) {})
		cookiesOf := func(user logtotest.User) http.Header {
			b := newBrowser(t)
			b.signIn(app.url+"/profile", user)
			return http.Header{"Cookie": {header(sessionCookie(t, b, app))}}
		}
		alices, bobs := cookiesOf(alice()), cookiesOf(bob())
		serve := func(path string, header http.Header) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header = header
			app.router.ServeHTTP(w, r)
			return w
		}
		serve("/keep", alices)
		for range 20 {
			serve("/other", bobs)
		}
		check := func(when string) {
			t.Helper()
			for what, ctx := range kept {
				claims, err := app.auth.Claims(ctx)
				if err != nil || claims.Username != "alice" {
					t.Errorf("%s, %s: got %+v, %v, want alice", when, what, claims, err)
				}
				if claims, ok := logtogin.ClaimsFrom(ctx); !ok || claims.Username != "alice" {
					t.Errorf("%s, %s: ClaimsFrom is %+v, %t, want alice", when, what, claims, ok)
				}
				if token, err := app.auth.AccessToken(ctx); err != nil || token.Value == "" {
					t.Errorf("%s, %s: no access token: %v", when, what, err)
				}
				if info, err := app.auth.UserInfo(ctx); err != nil || info.Username != "alice" {
					t.Errorf("%s, %s: UserInfo is %+v, %v, want alice", when, what, info, err)
				}
			}
		}
		check("while the token is good")
		now.advance(2 * time.Hour) // past the life of the tokens
		check("once the token has expired")
		if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
			t.Fatal(err)
		}
		for what, ctx := range kept {
			if _, err := app.auth.Claims(ctx); !errors.Is(err, logtogin.ErrNotSignedIn) {
				t.Errorf("after a revocation, %s: got %v, want ErrNotSignedIn", what, err)
			}
		}
	})
}

// All methods that ask for the session of a request, by name.
func sessionMethods(auth *logtogin.Auth) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"IsAuthenticated":   func(ctx context.Context) error { auth.IsAuthenticated(ctx); return nil },
		"Claims":            func(ctx context.Context) error { _, err := auth.Claims(ctx); return err },
		"IDToken":           func(ctx context.Context) error { _, err := auth.IDToken(ctx); return err },
		"UserInfo":          func(ctx context.Context) error { _, err := auth.UserInfo(ctx); return err },
		"AccessToken":       func(ctx context.Context) error { _, err := auth.AccessToken(ctx); return err },
		"ClearAccessTokens": func(ctx context.Context) error { return auth.ClearAccessTokens(ctx) },
		"HTTPClient":        func(ctx context.Context) error { auth.HTTPClient(ctx); return nil },
	}
}

func TestGoroutinesOfOneHandlerMayAskAtTheSameTime(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = 100 * time.Hour })
		app := start(change)
		handler := func(c *gin.Context) {
			contexts := contextsOf(t, c)
			contexts["c"] = c
			if c.FullPath() == "/unguarded" {
				delete(contexts, "c.Request.Context()")
				delete(contexts, "a context derived from that")
			}
			var asking sync.WaitGroup
			for what, ctx := range contexts {
				for name, call := range sessionMethods(app.auth) {
					for range 2 {
						asking.Go(func() {
							if err := call(ctx); err != nil && !(name == "ClearAccessTokens" && errors.Is(err, logtogin.ErrResponseStarted)) {
								t.Errorf("%s of %s at %s: %v", name, what, c.FullPath(), err)
							}
						})
					}
				}
			}
			if c.FullPath() == "/guarded" { // below a guard, the handler need not wait to answer
				c.Header("X-Own", "header")
				c.String(http.StatusOK, "answer")
			}
			asking.Wait()
		}
		app.router.GET("/guarded", app.auth.Guard(), handler)
		app.router.GET("/optional", app.auth.Optional(), handler)
		app.router.GET("/unguarded", handler)
		for _, path := range []string{"/guarded", "/optional", "/unguarded"} {
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			for range 3 {
				now.advance(2 * time.Hour)
				if page := b.get(app.url + path); page.status != http.StatusOK {
					t.Errorf("%s: got %d %s", path, page.status, page.body)
				}
			}
			if !b.isSignedIn(app) {
				t.Errorf("%s: signed out", path)
			}
		}
	})
}

func TestSessionMethodsNeedARequest(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	withoutRequest, _ := gin.CreateTestContext(httptest.NewRecorder())
	for what, ctx := range map[string]context.Context{
		"context.Background()": context.Background(), "a request without a guard": httptest.NewRequest(http.MethodGet, "/", nil).Context(),
		"a *gin.Context without a request": withoutRequest, "a context derived from one": context.WithValue(withoutRequest, testKey{}, 1),
	} {
		for name, call := range sessionMethods(app.auth) {
			err := call(ctx)
			switch name {
			case "IsAuthenticated":
				if app.auth.IsAuthenticated(ctx) {
					t.Errorf("%s is authenticated", what)
				}
			case "HTTPClient":
				if _, err := app.auth.HTTPClient(ctx).Get("http://127.0.0.1:1/"); !errors.Is(err, logtogin.ErrNoRequest) {
					t.Errorf("%s of %s: got %v, want ErrNoRequest", name, what, err)
				}
			default:
				if !errors.Is(err, logtogin.ErrNoRequest) {
					t.Errorf("%s of %s: got %v, want ErrNoRequest", name, what, err)
				}
			}
		}
		if _, ok := logtogin.ClaimsFrom(ctx); ok {
			t.Errorf("%s has claims", what)
		}
		if _, ok := logtogin.AccessTokenClaimsFrom(ctx); ok {
			t.Errorf("%s has a token", what)
		}
	}
}

// Handlers of other libraries get the request and its context, and no *gin.Context.
func TestHandlersBelowWrapHFindTheUser(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	inner := http.NewServeMux()
	inner.HandleFunc("/session", func(w http.ResponseWriter, r *http.Request) {
		claims, ok := logtogin.ClaimsFrom(r.Context())
		if !ok {
			http.Error(w, "no claims", http.StatusInternalServerError)
			return
		}
		own, err := app.auth.Claims(r.Context())
		_, isByToken := logtogin.AccessTokenClaimsFrom(r.Context())
		token, tokenErr := app.auth.AccessToken(r.Context())
		if err != nil || isByToken || tokenErr != nil || token.Value == "" {
			t.Errorf("got %v, %t, %v", err, isByToken, tokenErr)
		}
		_, _ = io.WriteString(w, claims.Username+" and "+own.Username)
	})
	inner.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		claims, ok := logtogin.AccessTokenClaimsFrom(r.Context())
		if !ok {
			http.Error(w, "no claims", http.StatusInternalServerError)
			return
		}
		if _, ok := logtogin.ClaimsFrom(r.Context()); ok {
			t.Error("after Bearer there are claims of a user")
		}
		for name, call := range sessionMethods(app.auth) {
			if err := call(r.Context()); name != "IsAuthenticated" && name != "HTTPClient" && !errors.Is(err, logtogin.ErrNotSignedIn) {
				t.Errorf("%s after Bearer: got %v, want ErrNotSignedIn", name, err)
			}
		}
		_, _ = io.WriteString(w, claims.Subject)
	})
	app.router.GET("/session", app.auth.Guard(), gin.WrapH(inner))
	app.router.GET("/token", app.auth.Bearer(ordersAPI), gin.WrapH(inner))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	if page := b.get(app.url + "/session"); page.body != "alice and alice" {
		t.Errorf("got %d %q, want alice twice", page.status, page.body)
	}
	// The cookie comes along, and is not looked at.
	response, err := app.fetch(http.MethodGet, "/token", b.ours(app), bearerHeader(logto.AccessToken(logtotest.User{ID: "carol"}, ordersAPI)))
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(response.Body); string(body) != "carol" {
		t.Errorf("got %d %q, want carol", response.StatusCode, body)
	}
}

// Whatever guards stand before a handler, it sees what the last one has found, by every way to
// ask.
func TestOneIdentityPerRequest(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	logto.AddUser(bob())
	app := newApplication(t, logto, forAPIs)
	other := logto.AddApplication(logtotest.Application{})
	second, err := logtogin.New(logtogin.Config{
		Endpoint: logto.Endpoint(), AppID: other.ID, AppSecret: other.Secret, BaseURL: app.url, Logger: app.log.logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	guards := map[string]struct {
		handler gin.HandlerFunc
		want    string
	}{
		"Guard":              {app.auth.Guard(), "alice"},
		"Optional":           {app.auth.Optional(), "alice"},
		"Bearer":             {app.auth.Bearer(ordersAPI), "token of carol"},
		"Optional of second": {second.Optional(), "nobody"}, // alice is signed in at the first one only
		"Bearer of second":   {second.Bearer(ordersAPI), "token of carol"},
		"SessionOrBearer":    {app.auth.SessionOrBearer(app.auth.Guard(), app.auth.Bearer(ordersAPI)), "token of carol"},
	}
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	token := logto.AccessToken(logtotest.User{ID: "carol"}, ordersAPI)
	for outer, first := range guards {
		for inner, last := range guards {
			name := outer + ", then " + inner
			app.router.GET("/"+slug(name), first.handler, last.handler, func(c *gin.Context) {
				for how, got := range map[string]string{
					"by the *gin.Context": identityOf(c), "by its copy": identityOf(c.Copy()), "by the context of the request": identityOf(c.Request.Context()),
					"by a derived context": identityOf(context.WithValue(c, testKey{}, 1)), "by the keys": identityByKeys(c),
				} {
					if got != last.want {
						t.Errorf("%s, %s: got %q, want %q", name, how, got, last.want)
					}
				}
			})
			response, err := app.fetch(http.MethodGet, "/"+slug(name), b.ours(app), bearerHeader(token))
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("%s: got %v, %v", name, response, err)
			}
		}
	}
}

func identityOf(ctx context.Context) string {
	var found []string
	if claims, ok := logtogin.ClaimsFrom(ctx); ok {
		found = append(found, claims.Username)
	}
	if claims, ok := logtogin.AccessTokenClaimsFrom(ctx); ok {
		found = append(found, "token of "+claims.Subject)
	}
	if len(found) == 0 {
		return "nobody"
	}
	return strings.Join(found, " and ")
}

func identityByKeys(c *gin.Context) string {
	var found []string
	if claims, ok := c.Get(logtogin.ClaimsKey); ok {
		found = append(found, claims.(*logtogin.Claims).Username)
	}
	if claims, ok := c.Get(logtogin.AccessTokenClaimsKey); ok {
		found = append(found, "token of "+claims.(*logtogin.AccessTokenClaims).Subject)
	}
	if len(found) == 0 {
		return "nobody"
	}
	return strings.Join(found, " and ")
}

func TestClaimsThatTheApplicationSetsCountWithoutAGuardOnly(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	made := &logtogin.Claims{}
	made.Username = "made up"
	app.router.GET("/unguarded", func(c *gin.Context) {
		c.Set(logtogin.ClaimsKey, made)
		c.String(http.StatusOK, identityOf(c))
	})
	app.router.GET("/guarded", app.auth.Guard(), func(c *gin.Context) {
		c.Set(logtogin.ClaimsKey, made)
		c.String(http.StatusOK, identityOf(c))
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	if got := b.get(app.url + "/unguarded").body; got != "made up" {
		t.Errorf("without a guard: got %q, want what was made up", got)
	}
	if got := b.get(app.url + "/guarded").body; got != "alice" {
		t.Errorf("with a guard: got %q, want alice", got)
	}
}

// The server removes the temporary files of the request that it knows, and a guard gives the
// handler another one.
func TestAGuardLeavesNoFilesOfAForm(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.MaxMultipartMemory = 1
	var during int
	handler := func(c *gin.Context) {
		if _, err := c.FormFile("file"); err != nil {
			t.Error(err)
		}
		during = len(filesIn(t, temporary))
	}
	app.router.POST("/guarded", app.auth.Guard(), handler)
	app.router.POST("/twice", app.auth.Optional(), app.auth.Guard(), handler)
	app.router.POST("/logged", app.auth.Guard(), func(c *gin.Context) { c.Writer = &givenUp{ResponseWriter: c.Writer} }, handler)
	app.router.POST("/panic", gin.RecoveryWithWriter(io.Discard), app.auth.Guard(), handler, func(*gin.Context) { panic("the handler fails") })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	for _, path := range []string{"/guarded", "/twice", "/logged", "/panic"} {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, err := form.CreateFormFile("file", "large.bin")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write(make([]byte, 11<<20)) // net/http keeps 10 MiB in memory
		_ = form.Close()
		r, err := http.NewRequest(http.MethodPost, app.url+path, &body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", form.FormDataContentType())
		r.Close = true
		b.do(r) // the answer ends when the server has closed the connection, after the files
		if during == 0 {
			t.Errorf("%s: there was no file, so that this test sees nothing", path)
		}
		eventually(t, func() bool { return len(filesIn(t, temporary)) == 0 })
	}
}

func filesIn(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "multipart-*"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); err != nil {
		t.Fatal(err)
	}
	return files
}

// While a handler runs for long, as for server-sent events, the session can end by its lifetime
// and for want of activity.
func TestALongHandlerSeesItsSessionEnd(t *testing.T) {
	t.Parallel()
	ways := map[string]struct {
		during func(t *testing.T, app *application, b *browser, now *clock)
		want   bool
	}{
		"nothing happens":             {func(*testing.T, *application, *browser, *clock) {}, true},
		"the lifetime ends":           {func(_ *testing.T, _ *application, _ *browser, now *clock) { now.advance(9 * 24 * time.Hour) }, false},
		"the user is idle":            {func(_ *testing.T, _ *application, _ *browser, now *clock) { now.advance(11 * time.Minute) }, false},
		"the user is active in a tab": {activeElsewhere, true},
		"the user signs out":          {func(_ *testing.T, app *application, b *browser, _ *clock) { b.get(app.url + "/sign-out") }, false},
		"the user is revoked": {func(t *testing.T, app *application, _ *browser, _ *clock) {
			if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
				t.Error(err)
			}
		}, false},
	}
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, func(cfg *logtogin.Config) {
			cfg.IdleTimeout, cfg.SessionLifetime = 10*time.Minute, 8*24*time.Hour
		})
		app := start(change)
		var held gates
		type sight struct {
			isAuthenticated bool
			claims, token   error
		}
		seen := make(chan map[string]sight, 1)
		app.router.GET("/stream", app.auth.Guard(), func(c *gin.Context) {
			c.Writer.Flush()
			contexts := contextsOf(t, c)
			contexts["c"] = c
			held.pass(c)
			sights := map[string]sight{}
			for what, ctx := range contexts {
				_, err := app.auth.Claims(ctx)
				_, tokenErr := app.auth.AccessToken(ctx)
				sights[what] = sight{app.auth.IsAuthenticated(ctx), err, tokenErr}
			}
			seen <- sights
		})
		for name, way := range ways {
			now.advance(time.Minute)
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			gate := held.add(name)
			cookies := b.ours(app)
			go func() { _, _ = app.fetch(http.MethodGet, "/stream", cookies, http.Header{"X-Gate": {name}}) }()
			<-gate.entered
			way.during(t, app, b, now)
			close(gate.open)
			for what, got := range <-seen {
				if got.isAuthenticated != way.want || (got.claims == nil) != way.want || (got.token == nil) != way.want {
					t.Errorf("%s, by %s: got %+v, want signed in: %t", name, what, got, way.want)
				}
				if !way.want && (!errors.Is(got.claims, logtogin.ErrNotSignedIn) || !errors.Is(got.token, logtogin.ErrNotSignedIn)) {
					t.Errorf("%s, by %s: got %+v, want ErrNotSignedIn", name, what, got)
				}
			}
		}
	})
}

func activeElsewhere(t *testing.T, app *application, b *browser, now *clock) {
	for range 5 {
		now.advance(5 * time.Minute)
		if !b.isSignedIn(app) {
			t.Error("the other tab is signed out")
		}
	}
}
