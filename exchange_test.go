package logtogin_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-gonic/gin"
	gorilla "github.com/gorilla/sessions"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// A session that two guards have renewed and a handler has refreshed is sent once, and it is the
// newest version.
func TestGuardsBehindEachOtherSendOneVersionOfASession(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, rotating(logto), func(cfg *logtogin.Config) {
		cfg.IdleTimeout, cfg.RevalidateAfter = 24*time.Hour, -1
	})
	app := newApplication(t, logto, change)
	refresh := func(auth *logtogin.Auth) gin.HandlerFunc {
		return func(c *gin.Context) {
			if _, err := auth.AccessToken(c, logtogin.Resource(ordersAPI)); err != nil {
				t.Error(err)
			}
		}
	}
	ask := func(c *gin.Context) { app.auth.IsAuthenticated(c) }
	for path, guards := range map[string][]gin.HandlerFunc{
		"/one": {app.auth.Guard()}, "/two": {app.auth.Optional(), app.auth.Guard()}, "/three": {app.auth.Optional(), app.auth.Guard(), app.auth.Guard()},
		"/asked": {ask, app.auth.Guard()}, "/refreshed": {refresh(app.auth), app.auth.Optional(), app.auth.Guard()},
	} {
		app.router.GET(path, append(guards, refresh(app.auth))...)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		now.advance(4 * time.Hour)
		response, err := app.fetch(http.MethodGet, path, b.ours(app), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(response.Cookies()) != 1 {
			t.Errorf("%s: got the cookies %q, want one", path, response.Header.Values("Set-Cookie"))
			continue
		}
		// An instance that remembers nothing goes by the cookie alone.
		restarted := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
		restarted.router.GET("/token", restarted.auth.Guard(), refresh(restarted.auth))
		now.advance(4 * time.Hour)
		if response, err := restarted.fetch(http.MethodGet, "/token", response.Cookies(), nil); err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%s, after a restart: got %+v, %v, want 200", path, response, err)
		}
	}
}

// What a hook starts in a goroutine may ask while the session is being made.
func TestAGoroutineOfOnSignedInMayAsk(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		var asking sync.WaitGroup
		var app *application
		app = start(func(cfg *logtogin.Config) {
			cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
				kept := c.Copy()
				asking.Go(func() {
					for range 50 {
						if claims, err := app.auth.Claims(kept); err != nil || claims.Username != "alice" {
							t.Errorf("got %+v, %v, want alice", claims, err)
						}
						if _, err := app.auth.AccessToken(kept); err != nil {
							t.Error(err)
						}
					}
				})
				return nil
			}
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		asking.Wait()
		if !b.isSignedIn(app) {
			t.Error("not signed in")
		}
	})
}

// A hook may begin another sign-in in the place of the one that it refuses.
func TestASignInThatOnSignedInStartsKeepsItsCookie(t *testing.T) {
	t.Parallel()
	var app *application
	var refuses atomic.Bool
	refuses.Store(true)
	app = newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
			if !refuses.Swap(false) {
				return nil
			}
			address, err := app.auth.SignInURL(c, logtogin.SignInOptions{ReturnTo: "/profile"})
			c.Set("address", address)
			return errors.Join(errors.New("once more"), err)
		}
		cfg.OnError = func(c *gin.Context, _ error) {
			if address := c.GetString("address"); address != "" {
				c.Redirect(http.StatusSeeOther, address)
			}
		}
	})
	b := newBrowser(t)
	if page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); page.url.Path != "/profile" || page.status != http.StatusOK {
		t.Errorf("got %s %d %s, want the page that the second sign-in returns to", page.url, page.status, page.body)
	}
}

// While a callback makes a new session, a goroutine learns that Logto does not renew the old one.
func TestTheEndOfAnOldSessionLeavesTheNewOneAlone(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, func(cfg *logtogin.Config) {
		cfg.RevalidateAfter, cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = -1, "-", "/callback"
	})
	app := newApplication(t, logto, change)
	app.router.GET("/callback", app.auth.Optional(), func(c *gin.Context) {
		finish := func() {
			result, err := app.auth.HandleCallback(c)
			if err != nil {
				c.String(http.StatusInternalServerError, err.Error())
				return
			}
			c.Redirect(http.StatusFound, result.ReturnTo)
		}
		if !app.auth.IsAuthenticated(c) {
			finish()
			return
		}
		held := newGate()
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.FormValue("grant_type") == "refresh_token" {
				held.wait()
			}
			next.ServeHTTP(w, r)
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := app.auth.AccessToken(c.Request.Context(), logtogin.Resource(ordersAPI)); !errors.Is(err, logtogin.ErrNotSignedIn) {
				t.Errorf("the old session: got %v, want ErrNotSignedIn", err)
			}
		}()
		<-held.entered
		result, err := app.auth.HandleCallback(c)
		close(held.open)
		<-done
		if err != nil {
			t.Error(err)
			return
		}
		c.Redirect(http.StatusFound, result.ReturnTo)
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	now.advance(2 * time.Hour)
	callback := b.signInUntilCallback(app, alice())
	response, err := app.fetch(http.MethodGet, callback.RequestURI(), b.cookies(app.url), http.Header{"Accept": {"text/html"}})
	if err != nil || response.StatusCode != http.StatusFound {
		t.Fatalf("got %+v, %v", response, err)
	}
	if !signedInWith(t, app, response.Cookies()...) {
		t.Errorf("the cookies %q are of no session", response.Header.Values("Set-Cookie"))
	}
}

// With sessions in cookies and several instances, nobody knows of the user's other tabs; asking
// counts as activity then.
func TestAStreamThatKeepsAskingDoesNotIdleOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		state logtogin.SharedState
		want  string
	}{
		"with a shared state": {newCommonState(), "for an hour"}, "of one instance": {nil, "over after 10 minutes"},
	} {
		logto := logtotest.NewServer(t)
		now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout, cfg.SharedState = 10*time.Minute, test.state })
		app := newApplication(t, logto, change)
		app.router.GET("/stream", app.auth.Guard(), func(c *gin.Context) {
			for minute := range 60 {
				now.advance(time.Minute)
				if !app.auth.IsAuthenticated(c) {
					c.String(http.StatusOK, "over after %d minutes", minute+1)
					return
				}
			}
			c.String(http.StatusOK, "for an hour")
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		if got := b.get(app.url + "/stream").body; got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// closingStore fails while it is closed.
type closingStore struct {
	ginsessions.Store
	isClosed atomic.Bool
}

func (s *closingStore) New(r *http.Request, name string) (*gorilla.Session, error) {
	if s.isClosed.Load() {
		return nil, errors.New("the store is down")
	}
	return s.Store.New(r, name)
}

// Whether the user was active at another instance, a store that is down does not say.
func TestAStoreThatIsDownSignsNobodyOutOfAStream(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	store := &closingStore{Store: newServerStore()}
	now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout, cfg.Store = 10*time.Minute, store })
	app := newApplication(t, logto, change)
	other := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
	b := newBrowser(t)
	app.router.GET("/stream", app.auth.Guard(), func(c *gin.Context) {
		cookies := c.Request.Cookies()
		for range 3 {
			now.advance(5 * time.Minute)
			if _, err := other.fetch(http.MethodGet, "/profile", cookies, nil); err != nil {
				t.Error(err)
			}
		}
		store.isClosed.Store(true)
		for name, call := range sessionMethods(app.auth) {
			if err := call(c); name != "IsAuthenticated" && name != "HTTPClient" && !errors.Is(err, logtogin.ErrStoreUnavailable) {
				t.Errorf("%s while the store is down: got %v, want ErrStoreUnavailable", name, err)
			}
		}
		store.isClosed.Store(false)
		if _, err := app.auth.Claims(c); err != nil {
			t.Errorf("when the store is back: got %v", err)
		}
		now.advance(11 * time.Minute)
		if _, err := app.auth.Claims(c); !errors.Is(err, logtogin.ErrNotSignedIn) {
			t.Errorf("when the user is idle at both: got %v, want ErrNotSignedIn", err)
		}
	})
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	b.get(app.url + "/stream")
}

// The server ends the context of a request when the handler has returned. A copy is for what goes
// on afterwards.
func TestACopyOutlivesTheRequest(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		kept := make(chan map[string]context.Context, 1)
		keep := func(c *gin.Context) {
			kept <- map[string]context.Context{"c.Copy()": c.Copy(), "context.WithoutCancel(c.Request.Context())": context.WithoutCancel(c.Request.Context())}
		}
		app.router.GET("/guarded", app.auth.Guard(), keep)
		app.router.GET("/unguarded", func(c *gin.Context) { kept <- map[string]context.Context{"c.Copy()": c.Copy()} })
		for _, path := range []string{"/guarded", "/unguarded"} {
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			now.advance(2 * time.Hour) // so that Logto has to be asked
			b.get(app.url + path)
			for what, ctx := range <-kept {
				if token, err := app.auth.AccessToken(ctx); err != nil || token.Value == "" {
					t.Errorf("%s, %s: got %v, want a token", path, what, err)
				}
				if info, err := app.auth.UserInfo(ctx); err != nil || info.Username != "alice" {
					t.Errorf("%s, %s: got %v, want alice", path, what, err)
				}
			}
		}
	})
}

// blockingStore holds a call that reads until the test lets it go on.
type blockingStore struct {
	ginsessions.Store
	held atomic.Pointer[gate]
}

func (s *blockingStore) New(r *http.Request, name string) (*gorilla.Session, error) {
	if held := s.held.Swap(nil); held != nil {
		held.wait()
	}
	return s.Store.New(r, name)
}

// The session of a request is read once. A goroutine that waits for another one to read it waits no
// longer than its own context lets it.
func TestAGoroutineThatWaitsForASessionMayGiveUp(t *testing.T) {
	t.Parallel()
	store := &blockingStore{Store: newServerStore()}
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) { cfg.Store, cfg.StoreTimeout = store, time.Minute })
	app.router.GET("/unguarded", func(c *gin.Context) {
		held := newGate()
		store.held.Store(held)
		var reading sync.WaitGroup
		for range 3 {
			reading.Go(func() {
				if _, err := app.auth.Claims(c); err != nil {
					t.Errorf("who has patience: got %v, want the claims", err)
				}
			})
		}
		<-held.entered
		impatient, cancel := context.WithCancel(c)
		cancel()
		if _, err := app.auth.Claims(impatient); !errors.Is(err, context.Canceled) || !errors.Is(err, logtogin.ErrStoreUnavailable) {
			t.Errorf("who has none: got %v, want ErrStoreUnavailable, because of the context", err)
		}
		close(held.open)
		reading.Wait()
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	b.get(app.url + "/unguarded")
}

func TestIsAuthenticatedWithoutARequestIsHeardOf(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	if app.auth.IsAuthenticated(t.Context()) || !strings.Contains(app.log.String(), "IsAuthenticated is false because it was asked without a request") {
		t.Errorf("got %s, want a warning", app.log)
	}
}

// The attempt of a sign-in is spent when a hook has answered the callback itself, and a spent one
// need not lie in the browser for an hour.
func TestAHookThatAnswersLeavesNoCookieOfTheAttempt(t *testing.T) {
	t.Parallel()
	for name, guard := range map[string]func(*logtogin.Auth) gin.HandlerFunc{
		"behind a guard": (*logtogin.Auth).Optional, "without one": func(*logtogin.Auth) gin.HandlerFunc { return func(*gin.Context) {} },
	} {
		app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
			cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/callback"
			cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
				c.String(http.StatusForbidden, "by invitation only")
				return nil
			}
		})
		app.router.GET("/callback", guard(app.auth), func(c *gin.Context) {
			if _, err := app.auth.HandleCallback(c); !errors.Is(err, logtogin.ErrResponseStarted) {
				t.Errorf("%s: got %v, want ErrResponseStarted", name, err)
			}
		})
		b := newBrowser(t)
		if page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); page.body != "by invitation only" {
			t.Errorf("%s: got %d %s", name, page.status, page.body)
		}
		if left := b.ours(app); len(left) > 0 {
			t.Errorf("%s: the browser still has %v", name, left)
		}
	}
}

// With Engine.ContextWithFallback a *gin.Context answers for the keys of its request, too.
func TestWhatIsCalledForAHandlerDoesNotAskItsGinContext(t *testing.T) {
	t.Parallel()
	for _, withFallback := range []bool{false, true} {
		var asked atomic.Bool
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, func(cfg *logtogin.Config) {
			cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				if c, _ := r.Context().Value(gin.ContextKey).(*gin.Context); c != nil {
					t.Errorf("with fallback: %t: the call to %s can reach the *gin.Context, which Gin uses again", withFallback, r.URL.Path)
				}
				asked.Store(true)
				return http.DefaultTransport.RoundTrip(r)
			})}
		})
		app.router.ContextWithFallback = withFallback
		app.router.GET("/info", app.auth.Guard(), func(c *gin.Context) {
			for what, ctx := range contextsOf(t, c) {
				if info, err := app.auth.UserInfo(ctx); err != nil || info.Username != "alice" {
					t.Errorf("with fallback: %t, %s: got %+v, %v, want alice", withFallback, what, info, err)
				}
			}
			if _, err := app.auth.UserInfo(context.WithValue(c, testKey{}, 1)); err != nil {
				t.Error(err)
			}
			impatient, cancel := context.WithCancel(c)
			cancel()
			if _, err := app.auth.UserInfo(impatient); !errors.Is(err, context.Canceled) || errors.Is(err, logtogin.ErrProviderUnavailable) {
				t.Errorf("with fallback: %t, with a context that has ended: got %v, want its error", withFallback, err)
			}
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		asked.Store(false)
		b.get(app.url + "/info")
		if !asked.Load() {
			t.Error("Logto was not asked, so that this test sees nothing")
		}
	}
}

// What a requirement leaves in the context of the request is there for the handler.
func TestARequirementMayAddToTheContextOfTheRequest(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/added", app.auth.Guard(logtogin.MatchClaims("adds to the context", func(c *gin.Context, _ *logtogin.Claims) bool {
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), testKey{}, "added"))
		return true
	})), func(c *gin.Context) {
		c.String(http.StatusOK, "%v for %s", c.Request.Context().Value(testKey{}), identityOf(c.Request.Context()))
	})
	b := newBrowser(t)
	if page := b.signIn(app.url+"/added", logtotest.DefaultUser()); page.body != "added for alice" {
		t.Errorf("got %s, want what the requirement has added", page.body)
	}
}

// A handler that hands its request on without the cookies still knows whom it serves.
func TestAHandlerMayTakeTheCookiesFromItsRequest(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/proxy", app.auth.Guard(), func(c *gin.Context) {
		c.Request = c.Request.Clone(c.Request.Context())
		c.Request.Header.Del("Cookie")
		for what, ctx := range map[string]context.Context{"c": c, "c.Request.Context()": c.Request.Context(), "c.Copy()": c.Copy()} {
			if got := identityOf(ctx); got != "alice" {
				t.Errorf("ClaimsFrom(%s): got %s, want alice", what, got)
			}
			if claims, err := app.auth.Claims(ctx); err != nil || claims.Username != "alice" {
				t.Errorf("Claims(%s): got %+v, %v, want alice", what, claims, err)
			}
		}
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	b.get(app.url + "/proxy")
}

func TestOnErrorGetsAWriterThatHasDeadlines(t *testing.T) {
	t.Parallel()
	var hook error
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnError = func(c *gin.Context, _ error) {
			hook = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(time.Minute))
		}
	})
	if _, err := app.fetch(http.MethodGet, "/profile", nil, nil); err != nil || hook != nil {
		t.Errorf("got %v, %v, want a deadline", err, hook)
	}
}

// A guard lets nobody through whom it has not checked to the end, whatever the middlewares outside
// make of a panic.
func TestARequirementThatPanicsLetsNobodyThrough(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	panics := logtogin.MatchClaims("panics", func(*gin.Context, *logtogin.Claims) bool { panic("the requirement fails") })
	recovery := gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.String(http.StatusInternalServerError, "failed") })
	app.router.GET("/panics", recovery, app.auth.Guard(panics), func(c *gin.Context) { c.String(http.StatusOK, ", and the page") })
	app.router.GET("/nested", recovery, app.auth.Guard(), app.auth.Guard(panics), func(c *gin.Context) { c.String(http.StatusOK, ", and the page") })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for _, path := range []string{"/panics", "/nested"} {
		if page := b.get(app.url + path); page.status != http.StatusInternalServerError || page.body != "failed" {
			t.Errorf("%s: got %d %q, want 500 without the page", path, page.status, page.body)
		}
	}
}

// What a user sees is private also if the session was known before Optional asked for it.
func TestOptionalKeepsWhatAUserSeesOutOfCaches(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	ask := func(c *gin.Context) { app.auth.IsAuthenticated(c) }
	public := func(c *gin.Context) {
		c.Header("Cache-Control", "public, max-age=60")
		c.String(http.StatusOK, identityOf(c))
	}
	anew := func(c *gin.Context) {
		c.Request.URL.Path = "/asked"
		app.router.HandleContext(c)
	}
	app.router.GET("/asked", ask, app.auth.Optional(), public)
	app.router.GET("/optional", app.auth.Optional(), anew)
	app.router.GET("/guarded", app.auth.Guard(), anew)
	app.router.GET("/unguarded", ask, anew)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for _, path := range []string{"/asked", "/optional", "/guarded", "/unguarded"} {
		if page := b.get(app.url + path); page.body != "alice" || page.header.Get("Cache-Control") != "private, no-store" {
			t.Errorf("%s: got %q %v, want a private page", path, page.body, page.header)
		}
	}
}

// Goroutines of one handler may ask several Auth, also without a guard.
func TestGoroutinesMayAskSeveralAuth(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = 10 * time.Minute })
	app := newApplication(t, logto, change)
	second := secondAuth(t, app, logto, change)
	handler := func(c *gin.Context) {
		var asking sync.WaitGroup
		for _, auth := range []*logtogin.Auth{app.auth, second} {
			for range 2 {
				asking.Go(func() { auth.IsAuthenticated(c) })
			}
		}
		asking.Wait()
		c.String(http.StatusOK, "done")
	}
	app.router.GET("/unguarded", handler)
	app.router.GET("/optional", second.Optional(), handler)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for range 20 {
		now.advance(2 * time.Minute)
		for _, path := range []string{"/unguarded", "/optional"} {
			if page := b.get(app.url + path); page.body != "done" {
				t.Errorf("%s: got %d %s", path, page.status, page.body)
			}
		}
	}
	if !b.isSignedIn(app) {
		t.Error("signed out")
	}
}
