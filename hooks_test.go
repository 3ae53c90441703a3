package logtogin_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

func TestOnSignedInDecidesWhoGetsIn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hook   func(*gin.Context, *logtogin.SignInResult) error
		status int
		shows  string
		hides  string
		path   string
	}{
		"it agrees":       {func(*gin.Context, *logtogin.SignInResult) error { return nil }, 200, `"username":"alice"`, "", "/profile"},
		"it turns away":   {refuse(&logtogin.RefusalError{Message: "Only <staff> may enter."}), 403, "Only &lt;staff&gt; may enter.", "<staff>", "/callback"},
		"it fails":        {refuse(errors.New("pq: connection refused")), 500, "went wrong", "pq", "/callback"},
		"Logto is down":   {refuse(logtogin.ErrProviderUnavailable), 503, "unavailable", "", "/callback"},
		"it leads away":   {leadTo("/?welcome"), 200, "signed in as alice", "", "/"},
		"it leads astray": {leadTo("//evil.example"), 500, "not set up correctly", "evil", "/callback"},
		"it has answered": {func(c *gin.Context, _ *logtogin.SignInResult) error { c.String(http.StatusTeapot, "mine"); return nil }, 418, "mine", "Sign-in", "/callback"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newServerStore()
			app := inStore(t, logtotest.NewServer(t), store, func(cfg *logtogin.Config) { cfg.OnSignedIn = test.hook })
			b := newBrowser(t)
			page := b.signIn(app.url+"/profile", logtotest.DefaultUser())
			if (len(store.values(t)) == 1) != (test.status == http.StatusOK) {
				t.Errorf("%d records", len(store.values(t)))
			}
			if page.status != test.status || !strings.Contains(page.body, test.shows) || page.url.Path != test.path ||
				(test.hides != "" && strings.Contains(page.body, test.hides)) {
				t.Errorf("%s: %d %s", page.url, page.status, page.body)
			}
			if b.isSignedIn(app) != (test.status == http.StatusOK) {
				t.Error("signed in or out, and it should be the other")
			}
			if test.status != http.StatusOK && len(setCookies(page)) > 0 {
				t.Errorf("half a session: %v", setCookies(page))
			}
		})
	}
}

func refuse(err error) func(*gin.Context, *logtogin.SignInResult) error {
	return func(*gin.Context, *logtogin.SignInResult) error { return err }
}

func leadTo(path string) func(*gin.Context, *logtogin.SignInResult) error {
	return func(_ *gin.Context, result *logtogin.SignInResult) error { result.ReturnTo = path; return nil }
}

func TestOnSignedInKnowsTheUser(t *testing.T) {
	t.Parallel()
	var app *application
	asked := 0
	app = newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnSignedIn = func(c *gin.Context, result *logtogin.SignInResult) error {
			asked++
			claims, err := app.auth.Claims(c)
			if err != nil || claims.Subject != result.Claims.Subject || !app.auth.IsAuthenticated(c) || result.ReturnTo != "/profile" {
				t.Errorf("%v %v %+v", claims, err, result)
			}
			info, err := app.auth.UserInfo(c)
			if err != nil || info.Email != logtotest.DefaultUser().Email {
				t.Errorf("%v %v", info, err)
			}
			result.Claims.Subject = "spoiled"
			return nil
		}
	})
	b := newBrowser(t)
	page := b.signIn(app.url+"/profile", logtotest.DefaultUser())
	if sub := decode(t, page.body)["sub"]; sub == "spoiled" || sub == "" || asked != 1 {
		t.Errorf("%v, asked %d times", sub, asked)
	}
}

// The session that was there before survives, in the same request, too.
func TestARefusedSignInEndsNoOtherSession(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]func(){"refused": nil, "panicking": func() { panic("the hook panics") }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"})
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				cfg.OnSignedIn = func(_ *gin.Context, result *logtogin.SignInResult) error {
					if result.Claims.Username != "bob" {
						return nil
					}
					if refusal != nil {
						refusal()
					}
					return &logtogin.RefusalError{Message: "not bob"}
				}
			})
			afterwards := ""
			app.router.GET("/mine", gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }),
				func(c *gin.Context) {
					defer func() {
						if claims, err := app.auth.Claims(c); err == nil {
							afterwards = claims.Username
						}
					}()
					_, err := app.auth.HandleCallback(c)
					if !errors.Is(err, logtogin.ErrSignInRefused) || logtogin.StatusCode(err) != http.StatusForbidden {
						t.Errorf("error is %v", err)
					}
					var reason *logtogin.RefusalError
					if !errors.As(err, &reason) || reason.Message != "not bob" {
						t.Errorf("error is %v", err)
					}
					c.Status(http.StatusForbidden)
				})
			app.router.GET("/enter", func(c *gin.Context) { app.auth.SignIn(c, logtogin.SignInOptions{RedirectURI: "/mine"}) })
			alice, other := newBrowser(t), newBrowser(t)
			alice.signIn(app.url+"/profile", logtotest.DefaultUser())
			other.stopAt(app.url + "/mine")
			callback := other.signIn(app.url+"/enter", bob).header.Get("Location")
			alice.plant(app, other.ours(app))
			page := alice.get(callback)
			if page.status < 400 || !alice.isSignedIn(app) || afterwards != "alice" {
				t.Errorf("%d, afterwards %q", page.status, afterwards)
			}
		})
	}
}

func TestOnSignedOutHearsWhoHasLeft(t *testing.T) {
	t.Parallel()
	var app *application
	var left []string
	app = newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnSignedOut = func(c *gin.Context, claims *logtogin.Claims) {
			left = append(left, claims.Username)
			if app.auth.IsAuthenticated(c) {
				t.Error("the session is still there")
			}
		}
	})
	b := newBrowser(t)
	b.get(app.url + "/sign-out")
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	b.get(app.url + "/sign-out")
	b.get(app.url + "/sign-out")
	if len(left) != 1 || left[0] != "alice" {
		t.Errorf("%q", left)
	}
}

func TestOnSignedOutHearsOfEverySessionOfTheBrowser(t *testing.T) {
	t.Parallel()
	var left []string
	logto := logtotest.NewServer(t)
	bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"})
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.OnSignedOut = func(_ *gin.Context, claims *logtogin.Claims) { left = append(left, claims.Username) }
	})
	one, other := newBrowser(t), newBrowser(t)
	one.signIn(app.url+"/profile", logtotest.DefaultUser())
	other.signIn(app.url+"/profile", bob)
	send(t, http.MethodGet, app.url+"/sign-out", []*http.Cookie{one.ours(app)[0], other.ours(app)[0]}, nil)
	if !slices.Equal(left, []string{"alice", "bob"}) {
		t.Errorf("%q", left)
	}
}

func TestAPanicInOnSignedOutKeepsNobodySignedIn(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnSignedOut = func(*gin.Context, *logtogin.Claims) { panic("the hook panics") }
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	cookies := b.ours(app)
	r, err := http.NewRequest(http.MethodGet, app.url+"/sign-out", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := b.client.Do(r); err == nil { // without gin.Recovery the connection breaks
		_ = response.Body.Close()
	}
	if signedInWith(t, app, cookies...) {
		t.Error("signed in")
	}
}

func TestOnErrorDrawsEveryRefusal(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	store := newServerStore()
	draw := func(c *gin.Context, err error) { c.String(logtogin.StatusCode(err), "drawn: "+err.Error()) }
	app := inStore(t, logto, store, func(cfg *logtogin.Config) {
		cfg.OnError = func(c *gin.Context, err error) { draw(c, err) }
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	signedIn := b.ours(app)
	script := http.Header{"Accept": {"application/json"}, "Sec-Fetch-Mode": nil}
	foreign := http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}

	type request struct {
		method, path string
		cookies      []*http.Cookie
		header       http.Header
		status       int
		is           error
	}
	requests := map[string]request{
		"a script that is not signed in": {http.MethodGet, "/profile", nil, script, 401, logtogin.ErrNotSignedIn},
		"a form of another origin":       {http.MethodPost, "/profile", signedIn, foreign, 403, logtogin.ErrCrossOrigin},
		"a foreign sign-out":             {http.MethodPost, "/sign-out", signedIn, foreign, 403, logtogin.ErrCrossOrigin},
		"a cancelled consent":            {http.MethodGet, "/callback", nil, nil, 400, logtogin.ErrCancelled},
		"a callback of nobody's":         {http.MethodGet, "/callback?code=x&state=y", nil, nil, 400, logtogin.ErrNoAttempt},
		"a callback twice over":          {http.MethodGet, "/callback?state=x&state=y", nil, nil, 400, logtogin.ErrInvalidCallback},
	}
	check := func(t *testing.T, what string, r request, wantBody bool) {
		t.Helper()
		page := send(t, r.method, app.url+r.path, r.cookies, r.header)
		if page.status != r.status || strings.HasPrefix(page.body, "drawn: "+r.is.Error()) != wantBody {
			t.Errorf("%s: %d %s", what, page.status, page.body)
		}
		if !strings.Contains(page.header.Get("Cache-Control"), "no-store") || len(setCookies(page)) > 0 {
			t.Errorf("%s: %v", what, page.header)
		}
	}
	for name, r := range requests {
		check(t, name, r, true)
	}
	down := request{http.MethodGet, "/profile", signedIn, nil, 503, logtogin.ErrStoreUnavailable}
	store.set(func() { store.down = errors.New("down") })
	check(t, "the store is down", down, true)
	store.set(func() { store.down = nil })

	draw = func(*gin.Context, error) {}
	for name, r := range requests {
		check(t, name+", and the hook does nothing", r, false)
	}
	draw = func(c *gin.Context, _ error) { c.Status(http.StatusOK) }
	check(t, "the hook sets a status only", requests["a cancelled consent"], false)
	draw = func(c *gin.Context, err error) { c.String(http.StatusOK, "drawn: "+err.Error()) }
	check(t, "the hook says 200", requests["a cancelled consent"], true)
	draw = func(c *gin.Context, err error) {
		c.Status(http.StatusNotModified)
		_, _ = c.Writer.WriteString("drawn: " + err.Error())
	}
	check(t, "the hook says 304", requests["a cancelled consent"], true)
	draw = func(c *gin.Context, err error) { _, _ = c.Writer.WriteString("drawn: " + err.Error()) }
	check(t, "the hook says nothing of the status", requests["a cancelled consent"], true)
	draw = func(c *gin.Context, err error) { c.JSON(http.StatusGone, gin.H{}) }
	if page := send(t, http.MethodGet, app.url+"/callback", nil, nil); page.status != http.StatusGone {
		t.Errorf("an error of its own: %d", page.status)
	}
	draw = func(c *gin.Context, _ error) { c.Redirect(http.StatusFound, "/sorry") }
	if page := send(t, http.MethodGet, app.url+"/callback", nil, nil); page.status != http.StatusFound {
		t.Errorf("a redirect: %d", page.status)
	}
	// A visitor's navigation is a way to sign in, no error.
	if page := send(t, http.MethodGet, app.url+"/profile", nil, nil); page.status != http.StatusFound || !strings.HasPrefix(page.header.Get("Location"), "/sign-in") {
		t.Errorf("%d %s", page.status, page.header.Get("Location"))
	}
}

// With whatever recovers from panics, the answer stays an error, nobody gets half a session,
// and the next requests find all as it was.
func TestAPanicInOnErrorLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, draw := range map[string]func(*gin.Context){
		"at once":                 func(*gin.Context) {},
		"after a status":          func(c *gin.Context) { c.Status(http.StatusOK) },
		"in the middle of a page": func(c *gin.Context) { c.String(http.StatusOK, "half a page") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for where, store := range map[string]*serverStore{"in cookies": nil, "in a store": newServerStore()} {
				logto := logtotest.NewServer(t)
				router := gin.New()
				router.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
				cfg := logto.Config("https://app.example.com")
				panics := 0
				cfg.Logger = slog.New(slog.DiscardHandler)
				cfg.OnError = func(c *gin.Context, _ error) {
					panics++
					draw(c)
					panic("the hook panics")
				}
				if store != nil {
					cfg.Store = store
				}
				auth, err := logtogin.Register(router, cfg)
				if err != nil {
					t.Fatal(err)
				}
				closed(t, auth)
				router.Any("/profile", auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "the profile") })
				get := func(client *http.Client, path string) (int, string) {
					response, err := client.Get(path)
					if err != nil {
						t.Fatal(err)
					}
					defer response.Body.Close()
					body, err := io.ReadAll(response.Body)
					if err != nil {
						t.Fatal(err)
					}
					return response.StatusCode, string(body)
				}
				refused := func(what string, client *http.Client, path string) {
					t.Helper()
					before := panics
					if status, body := get(client, path); status < http.StatusBadRequest || panics != before+1 {
						t.Errorf("%s, %s: %d %s, %d panics", where, what, status, body, panics-before)
					}
				}

				client := logto.Browser(t, router, logtotest.DefaultUser())
				logto.Misbehave(faults.WrongNonce)
				refused("a sign-in that fails", client, "/profile")
				logto.Behave()
				refused("a callback that nobody waits for", client, "/callback?code=x&state=y")
				visitor := httptest.NewRequest(http.MethodGet, "/profile", nil)
				w := httptest.NewRecorder()
				router.ServeHTTP(w, visitor)
				if w.Code < http.StatusBadRequest || w.Header().Get("Set-Cookie") != "" {
					t.Errorf("%s, a visitor: %d %v", where, w.Code, w.Header())
				}
				if store != nil && len(store.values(t)) > 0 {
					t.Errorf("%d records", len(store.values(t)))
				}
				if status, body := get(client, "/profile"); status != http.StatusOK || body != "the profile" {
					t.Errorf("%s, afterwards: %d %s", where, status, body)
				}
				refused("signed in, a callback of nobody's", client, "/callback?state=x&state=y")
				if status, body := get(client, "/profile"); status != http.StatusOK || body != "the profile" {
					t.Errorf("%s, in the end: %d %s", where, status, body)
				}
			}
		})
	}
}

// What OnError needs to know: who reads the answer, and where to try again.
func TestOnErrorCanOfferAWayBack(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	var app *application
	app = newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.OnError = func(c *gin.Context, err error) {
			status := logtogin.StatusCode(err)
			if !app.auth.WantsPage(c) {
				c.JSON(status, gin.H{"sign_in": app.auth.SignInPath(c)})
				return
			}
			c.String(status, "go to "+app.auth.SignInPath(c))
		}
	})
	var before, after gin.ResponseWriter
	watched := app.router.Group("/watched", func(c *gin.Context) {
		before = c.Writer
		c.Next()
		after = c.Writer
	})
	watched.GET("/page", app.auth.Guard(), func(c *gin.Context) {})
	app.router.GET("/link", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"page": app.auth.WantsPage(c), "sign_in": app.auth.SignInPath(c)})
	})
	navigation := http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}}
	script := http.Header{"Accept": {"application/json"}}
	for name, test := range map[string]struct {
		path   string
		header http.Header
		status int
		body   string
	}{
		"an API call":                 {"/watched/page", script, 401, `{"sign_in":"/sign-in"}`},
		"a cancelled consent":         {"/callback", navigation, 400, "go to /sign-in"},
		"a program at the callback":   {"/callback", script, 400, `{"sign_in":"/sign-in"}`},
		"a handler asked by a page":   {"/link?x=1", navigation, 200, `{"page":true,"sign_in":"/sign-in?return_to=%2Flink%3Fx%3D1"}`},
		"a handler asked by a script": {"/link?x=1", script, 200, `{"page":false,"sign_in":"/sign-in"}`},
	} {
		if page := send(t, http.MethodGet, app.url+test.path, nil, test.header); page.status != test.status || page.body != test.body {
			t.Errorf("%s: %d %s", name, page.status, page.body)
		}
	}
	if before == nil || before != after {
		t.Error("OnError has left another ResponseWriter behind")
	}
	logto.Misbehave(faults.WrongNonce)
	if page := newBrowser(t).signIn(app.url+"/profile?tab=2", logtotest.DefaultUser()); page.status != 400 || page.body != "go to /sign-in?return_to=%2Fprofile%3Ftab%3D2" {
		t.Errorf("a failed sign-in: %d %s", page.status, page.body)
	}
}

// An outage just then costs a reload, not a new start.
func TestACallbackDuringAnOutageCanBeReloaded(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, logtotest.DefaultUser())
	// Another instance, which has not met Logto yet.
	now := newClock()
	second := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.BaseURL, cfg.Now = app.url, now.Now })
	down := true
	logto.Intercept(logtotest.Discovery, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		next.ServeHTTP(w, r)
	})
	address := second.url + callback.RequestURI()
	page := send(t, http.MethodGet, address, b.ours(app), nil)
	if page.status != http.StatusServiceUnavailable || len(page.header.Values("Set-Cookie")) > 0 {
		t.Errorf("%d %v", page.status, page.header)
	}
	down = false
	now.advance(2 * time.Second) // a failure is remembered for one
	page = send(t, http.MethodGet, address, b.ours(app), nil)
	if page.status != http.StatusFound || page.header.Get("Location") != "/" {
		t.Errorf("%d %s", page.status, page.body)
	}
}

// An Auth without sessions answers errors, too.
func TestRefusingWithoutABaseURL(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	auth, router, _ := resourceServer(t, logto, nil)
	router.GET("/rights", func(c *gin.Context) { auth.Refuse(c, logtogin.ErrInsufficientRights) })
	router.GET("/path", func(c *gin.Context) { c.String(http.StatusOK, "path %q", auth.SignInPath(c)) })
	for name, header := range map[string]http.Header{"htmx": {"Hx-Request": {"true"}, "Hx-Current-Url": {"https://x.example/"}}, "a page": {"Accept": {"text/html"}}, "a program": {}} {
		if w := ask(router, "/rights", header); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w := ask(router, "/path", header); w.Body.String() != `path ""` {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
}

// The state says where the user had wanted to go, if it was sealed here.
func TestTheWayBackAfterACallbackWithoutAnAttempt(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.stopAt(app.url + "/callback")
	callback := b.signIn(app.url+"/sign-in?return_to=/wanted", logtotest.DefaultUser()).header.Get("Location")
	b.keepGoing()
	for name, test := range map[string]struct{ callback, way string }{
		"in another browser": {callback, "/sign-in?return_to=%2Fwanted"},
		"cancelled":          {app.url + "/callback", "/sign-in"},
		"another state":      {app.url + "/callback?state=x&code=y", "/sign-in"},
	} {
		page := newBrowser(t).get(test.callback)
		if page.status != http.StatusBadRequest || !strings.Contains(page.body, `href="`+test.way+`"`) {
			t.Errorf("%s: %d %s", name, page.status, page.body)
		}
	}
}

// A hook that panics has spent the attempt: the cookie goes, and nobody at another instance waits for an outcome.
func TestAPanicInOnSignedInSettlesTheAttempt(t *testing.T) {
	t.Parallel()
	logto, state := logtotest.NewServer(t), newCommonState()
	events := &eventLog{}
	change := func(cfg *logtogin.Config) {
		cfg.SharedState, cfg.OnEvent = state, events.add
		cfg.OnSignedIn = func(*gin.Context, *logtogin.SignInResult) error { panic("the hook panics") }
	}
	app := newApplication(t, logto, change)
	other := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
	middleware := gin.RecoveryWithWriter(io.Discard)
	app.before.Store(&middleware)
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, alice())
	events.take()
	cookies := b.cookies(app.url)
	page := b.get(callback.String())
	if page.status != http.StatusInternalServerError || len(b.attempts(app)) != 0 {
		t.Errorf("got %d and %d attempts, want 500 and none", page.status, len(b.attempts(app)))
	}
	if got := events.take(); !slices.Contains(got, "sign_in_failed refused_by_application") {
		t.Errorf("got the events %q, want that the sign-in has failed", got)
	}
	state.set(func() { state.calls = 0 })
	again := send(t, http.MethodGet, other.url+callback.RequestURI(), cookies, nil)
	state.set(func() {
		if again.status != http.StatusBadRequest || state.calls > 10 { // a waiting callback asks again and again
			t.Errorf("at the other instance: got %d after %d calls of the shared state, want 400 at once", again.status, state.calls)
		}
	})
}
