package logtogin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// Engines within engines, requests that Gin handles anew, and requests that handlers change.

// A requirement that answers in another way than by its result, and loses the guard's traces by
// that, lets nobody through.
func TestARequirementThatAnswersLetsNobodyThrough(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	app.router.GET("/upgrade", func(c *gin.Context) { c.String(http.StatusForbidden, "please upgrade") })
	app.router.GET("/silent", func(*gin.Context) {})
	anew := func(path string) func(c *gin.Context) {
		return func(c *gin.Context) {
			c.Request.URL.Path = path
			app.router.HandleContext(c)
		}
	}
	token := bearerHeader(logto.AccessToken(alice(), ordersAPI))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	secret := func(c *gin.Context) { c.String(http.StatusOK, "secret") }
	for name, answer := range map[string]func(*gin.Context){
		"by a page, with a clone": func(c *gin.Context) {
			c.Request = c.Request.Clone(c.Request.Context())
			anew("/upgrade")(c)
		},
		"by a page of the router": anew("/upgrade"), "by a page without an answer": anew("/silent"), "by forgetting the keys": func(c *gin.Context) { c.Keys = nil },
	} {
		app.router.GET("/session/"+slug(name), app.auth.Guard(logtogin.MatchClaims("premium", func(c *gin.Context, _ *logtogin.Claims) bool {
			answer(c)
			return false
		})), secret)
		app.router.GET("/token/"+slug(name), app.auth.Bearer(ordersAPI, logtogin.MatchToken("premium", func(c *gin.Context, _ *logtogin.AccessTokenClaims) bool {
			answer(c)
			return false
		})), secret)
		for _, kind := range []string{"session", "token"} {
			header := http.Header{"Accept": nil}
			if kind == "token" {
				header = token
			}
			response, err := app.fetch(http.MethodGet, "/"+kind+"/"+slug(name), b.ours(app), header)
			if err != nil {
				t.Errorf("%s, %s: %v", kind, name, err)
				continue
			}
			if body, _ := io.ReadAll(response.Body); strings.Contains(string(body), "secret") || (response.StatusCode != http.StatusForbidden && name != "by a page without an answer") {
				t.Errorf("%s, %s: got %d %s, want 403 without the secret", kind, name, response.StatusCode, body)
			}
		}
	}
}

// After Bearer there is no session, whatever cookies the request has, also where an inner engine or a
// time limit has a writer of its own, and when a handler gives its request another context.
func TestAfterBearerThereIsNoSessionAnywhere(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	inner := gin.New()
	ask := func(c *gin.Context) {
		_, byContext := app.auth.Claims(c)
		_, byCopy := app.auth.Claims(c.Copy())
		c.String(http.StatusOK, "%s; %t", identityOf(c), errors.Is(byContext, logtogin.ErrNotSignedIn) && errors.Is(byCopy, logtogin.ErrNotSignedIn))
	}
	bearer := app.auth.Bearer(ordersAPI)
	for path, handlers := range map[string][]gin.HandlerFunc{
		"/plain": {bearer, ask}, "/inner": {bearer, gin.WrapH(inner)}, "/limited": {bearer, gin.WrapH(http.TimeoutHandler(inner, time.Hour, ""))},
		"/context": {bearer, func(c *gin.Context) { c.Request = c.Request.WithContext(context.WithoutCancel(t.Context())) }, ask},
		"/clone":   {bearer, func(c *gin.Context) { c.Request = c.Request.Clone(context.WithoutCancel(t.Context())) }, ask},
	} {
		app.router.GET(path, handlers...)
		inner.GET(path, ask)
	}
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	token := bearerHeader(logto.AccessToken(logtotest.User{ID: "carol"}, ordersAPI))
	for _, path := range []string{"/plain", "/inner", "/limited", "/context", "/clone"} {
		response, err := app.fetch(http.MethodGet, path, b.ours(app), token)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != "token of carol; true" {
			t.Errorf("%s: got %s, want the token of carol and no session", path, body)
		}
	}
}

// A sign-in on an inner engine ends the session that a guard outside is about to renew, and the new
// one's cookie must reach the browser.
func TestASignInBelowAGuardReachesTheBrowser(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		outside := map[string]func(auth *logtogin.Auth) []gin.HandlerFunc{
			"a guard": func(auth *logtogin.Auth) []gin.HandlerFunc { return []gin.HandlerFunc{auth.Optional()} },
			"who asks": func(auth *logtogin.Auth) []gin.HandlerFunc {
				return []gin.HandlerFunc{func(c *gin.Context) { auth.IsAuthenticated(c) }}
			},
			"both": func(auth *logtogin.Auth) []gin.HandlerFunc {
				return []gin.HandlerFunc{func(c *gin.Context) { auth.IsAuthenticated(c) }, auth.Optional()}
			},
			"a lost context": func(auth *logtogin.Auth) []gin.HandlerFunc {
				return []gin.HandlerFunc{auth.Optional(), func(c *gin.Context) { c.Request = c.Request.WithContext(context.WithoutCancel(t.Context())) }}
			},
		}
		for name, handlers := range outside {
			for _, isLimited := range []bool{false, true} {
				now, change := withClock(logto, func(cfg *logtogin.Config) {
					cfg.IdleTimeout = 5 * time.Minute
					cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/callback"
				})
				app := start(change)
				inner := gin.New()
				inner.GET("/callback", func(c *gin.Context) {
					if _, err := app.auth.HandleCallback(c); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					c.String(http.StatusOK, "done")
				})
				inner.GET("/leave", func(c *gin.Context) {
					if _, err := app.auth.SignOutURL(c, logtogin.SignOutOptions{}); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					c.String(http.StatusOK, "done")
				})
				var below http.Handler = inner
				if isLimited {
					below = http.TimeoutHandler(inner, time.Hour, "")
				}
				app.router.NoRoute(append(handlers(app.auth), gin.WrapH(below))...)
				b := newBrowser(t)
				b.signIn(app.url+"/sign-in", alice())
				now.advance(40 * time.Second) // a renewal is due
				b.signIn(app.url+"/sign-in", alice())
				if !b.isSignedIn(app) {
					t.Errorf("%s outside, limited %t: the user is signed out by signing in", name, isLimited)
				}
				now.advance(40 * time.Second)
				b.get(app.url + "/leave")
				if left := b.ours(app); len(left) > 0 {
					t.Errorf("%s outside, limited %t: after the sign-out the browser still has %v", name, isLimited, left)
				}
			}
		}
	})
}

// Who signs out with a cookie that cannot be read says nothing about the cookies of others.
func TestAWorthlessCookieStopsNobodysSignOut(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	var held gates
	app.router.GET("/leave", app.auth.Optional(), func(c *gin.Context) {
		if _, err := app.auth.SignOutURL(c, logtogin.SignOutOptions{}); err != nil {
			t.Error(err)
		}
		held.pass(c)
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	good := sessionCookie(t, b, app)
	worthless := &http.Cookie{Name: good.Name, Value: "worthless"}
	response := app.fetchHeld(&held, "slow", "/leave", []*http.Cookie{good, worthless}, nil, func() {
		if _, err := app.fetch(http.MethodGet, "/leave", []*http.Cookie{worthless}, nil); err != nil {
			t.Error(err)
		}
	})
	if response == nil || len(response.Cookies()) != 1 || response.Cookies()[0].MaxAge >= 0 {
		t.Errorf("got %+v, want the deletion of the cookie", response)
	}
}

// A middleware between two guards gives the request other cookies. The second guard goes by them.
func TestAGuardGoesByTheCookiesThatTheRequestHasNow(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		logto.AddUser(bob())
		app := start(nil)
		bobs := newBrowser(t)
		bobs.signIn(app.url+"/profile", bob())
		replaced := map[string]string{"none": "", "bob's": header(bobs.ours(app)...)}
		wants := map[string]string{"none": "", "bob's": "bob"}
		before := map[string]gin.HandlerFunc{"Optional": app.auth.Optional(), "Guard": app.auth.Guard(), "who asks": func(c *gin.Context) { app.auth.IsAuthenticated(c) }, "nothing": func(*gin.Context) {}}
		for first, handler := range before {
			for whose, cookies := range replaced {
				path := "/" + slug(first) + "/" + slug(whose)
				app.router.GET(path, handler, func(c *gin.Context) {
					c.Request = c.Request.Clone(c.Request.Context())
					c.Request.Header.Del("Cookie")
					if cookies != "" {
						c.Request.Header.Set("Cookie", cookies)
					}
				}, app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, identityOf(c)) })
				b := newBrowser(t)
				b.signIn(app.url+"/profile", alice())
				page := send(t, http.MethodGet, app.url+path, b.ours(app), http.Header{"Accept": nil})
				if want := wants[whose]; (want == "") != (page.status == http.StatusUnauthorized) || (want != "" && page.body != want) {
					t.Errorf("%s, then %s cookies: got %d %s, want %q", first, whose, page.status, page.body, want)
				}
			}
		}
	})
}

// The usual fallback of a front end lets Gin handle the request anew on a guarded page.
func TestASessionLivesOnThroughPagesThatGinBeginsAnew(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = time.Hour })
		app := start(change)
		app.router.NoRoute(app.auth.Guard(), func(c *gin.Context) {
			c.Request.URL.Path = "/profile"
			app.router.HandleContext(c)
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		for round := range 6 {
			now.advance(20 * time.Minute)
			if page := b.get(app.url + "/elsewhere"); page.status != http.StatusOK || page.url.Path != "/elsewhere" {
				t.Errorf("round %d: got %d at %s, want the page", round, page.status, page.url)
			}
		}
	})
}

func TestGoroutinesMayAskAfterGinHasBegunAnew(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = 10 * time.Minute })
	app := newApplication(t, logto, change)
	ask := func(c *gin.Context) {
		var asking sync.WaitGroup
		for range 3 {
			asking.Go(func() { _, _ = app.auth.Claims(c) })
		}
		asking.Wait()
	}
	app.router.GET("/asks", ask)
	app.router.GET("/anew", app.auth.Guard(), func(c *gin.Context) {
		c.Request.URL.Path = "/asks"
		app.router.HandleContext(c)
	})
	app.router.GET("/outside", func(c *gin.Context) { c.Next(); ask(c) }, app.auth.Guard(), func(*gin.Context) {})
	guard := app.auth.Guard()
	app.router.GET("/by-hand", func(c *gin.Context) { guard(c); ask(c) })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for range 10 {
		now.advance(2 * time.Minute)
		for _, path := range []string{"/anew", "/outside", "/by-hand"} {
			if page := b.get(app.url + path); page.status != http.StatusOK {
				t.Errorf("%s: got %d", path, page.status)
			}
		}
	}
}

// A hook that shows a page of the router in the place of the callback has answered it.
func TestAHookThatAnswersByAPageOfTheRouterRefuses(t *testing.T) {
	t.Parallel()
	var app *application
	app = newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
			c.Request.URL.Path = "/invitation"
			app.router.HandleContext(c)
			return nil
		}
	})
	app.router.GET("/invitation", func(c *gin.Context) { c.String(http.StatusForbidden, "by invitation only") })
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, logtotest.DefaultUser())
	if page := b.get(callback.String()); page.status != http.StatusForbidden || page.body != "by invitation only" {
		t.Errorf("got %d %s, want the page of the hook", page.status, page.body)
	}
	b.get(callback.String())
	if b.isSignedIn(app) {
		t.Error("the reload signs the user in")
	}
}

// A hook that shows a guarded page is not asked about its own failure.
func TestAnOnErrorThatBeginsAnewEnds(t *testing.T) {
	t.Parallel()
	var app *application
	calls := 0
	app = newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnError = func(c *gin.Context, _ error) {
			calls++
			c.Request.URL.Path = "/profile"
			app.router.HandleContext(c)
		}
	})
	if response, err := app.fetch(http.MethodPost, "/guarded", nil, nil); err != nil || response.StatusCode != http.StatusNotFound {
		t.Fatalf("got %+v, %v", response, err)
	}
	response, err := app.fetch(http.MethodGet, "/profile", nil, nil)
	if err != nil || response.StatusCode != http.StatusUnauthorized || calls != 1 {
		t.Errorf("got %+v, %v after %d calls of the hook, want 401 after one", response, err, calls)
	}
}

// A callback route of the application's own that lies behind a guard would make an endless circle.
func TestAGuardedCallbackIsAMistakeThatIsNamed(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/welcome"
	})
	app.router.GET("/welcome", app.auth.Guard(), func(*gin.Context) { t.Error("the handler was reached") })
	b := newBrowser(t)
	if page := b.signIn(app.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusInternalServerError || page.url.Path != "/welcome" {
		t.Errorf("got %d at %s, want 500 at the callback", page.status, page.url)
	}
	if !strings.Contains(app.log.String(), "lies behind a guard") {
		t.Errorf("the log does not say so: %s", app.log)
	}
}

// A handler makes requests of its own with the context of the request that it handles. They have
// other credentials, or none.
func TestARequestWithTheContextOfAnotherOneIsNobodyYet(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		logto.AddUser(bob())
		app := start(nil)
		app.router.GET("/unguarded", func(c *gin.Context) {
			if app.auth.IsAuthenticated(c) {
				claims, _ := app.auth.Claims(c)
				c.String(http.StatusOK, "by the method: "+claims.Username)
				return
			}
			c.String(http.StatusOK, "by the method: nobody, and "+identityOf(c))
		})
		var of string // whose cookies the inner request has
		app.router.GET("/outer", app.auth.Guard(), func(c *gin.Context) {
			for _, path := range []string{"/", "/profile", "/unguarded"} {
				r := httptest.NewRequestWithContext(c.Request.Context(), http.MethodGet, path, nil)
				r.Header.Set("Cookie", of)
				w := httptest.NewRecorder()
				app.router.ServeHTTP(w, r)
				fmt.Fprintln(c.Writer, path, w.Code, w.Body)
			}
		})
		bobs := newBrowser(t)
		bobs.signIn(app.url+"/profile", bob())
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		for _, test := range []struct{ cookies, want string }{{"", "nobody"}, {header(bobs.ours(app)...), "bob"}} {
			of = test.cookies
			body := b.get(app.url + "/outer").body
			if strings.Contains(body, "alice") || (test.want == "bob") != strings.Contains(body, "/ 200 signed in as bob") || (test.want == "nobody") != strings.Contains(body, "/profile 401") {
				t.Errorf("with the cookies of %s: got %s", test.want, body)
			}
		}
	})
}

// A handler lets Gin begin anew with another route of the router, behind the back of the guard.
func TestGinBeginsAnewBelowAGuard(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = time.Hour })
	app := newApplication(t, logto, change)
	app.router.GET("/plain", func(c *gin.Context) { c.String(http.StatusOK, identityOf(c)) })
	rewrite := func(path string) gin.HandlerFunc {
		return func(c *gin.Context) {
			c.Request.URL.Path = path
			app.router.HandleContext(c)
		}
	}
	app.router.GET("/rewrite", app.auth.Guard(), rewrite("/plain"))
	app.router.GET("/guarded", app.auth.Guard(), rewrite("/profile"))
	app.router.GET("/enter", app.auth.Optional(), rewrite("/sign-in"))
	app.router.GET("/leave", app.auth.Guard(), rewrite("/sign-out"))
	for path, want := range map[string]string{"/rewrite": "alice", "/guarded": `"username":"alice"`} {
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		now.advance(30 * time.Minute)
		if page := b.get(app.url + path); !strings.Contains(page.body, want) || page.header.Get("Cache-Control") != "private, no-store" || !strings.Contains(page.header.Get("Vary"), "Cookie") {
			t.Errorf("%s: got %q %v, want %s", path, page.body, page.header, want)
		}
	}
	b := newBrowser(t)
	if page := b.signIn(app.url+"/enter", logtotest.DefaultUser()); page.status != http.StatusOK || !b.isSignedIn(app) {
		t.Errorf("/enter: got %d %s, want a session", page.status, page.body)
	}
	b.get(app.url + "/leave")
	if len(b.ours(app)) > 0 {
		t.Errorf("/leave: the browser still has %v", b.ours(app))
	}
}

// A middleware outside the guard answers for the handler, once it knows what that has found.
func TestAMiddlewareOutsideAGuardMayStillAnswer(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/step-up", func(c *gin.Context) {
		c.Next()
		if c.Errors.Last() != nil {
			app.auth.SignIn(c, logtogin.SignInOptions{MaxAge: time.Minute})
		}
	}, app.auth.Guard(), func(c *gin.Context) { _ = c.Error(errors.New("too old")) })
	app.router.GET("/leave", gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) {
		app.auth.SignOut(c, logtogin.SignOutOptions{})
	}), app.auth.Guard(), func(*gin.Context) { panic("the handler fails") })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for _, path := range []string{"/step-up", "/leave"} {
		response, err := app.fetch(http.MethodGet, path, b.ours(app), http.Header{"Accept": {"text/html"}})
		if err != nil || response.StatusCode != http.StatusFound || len(response.Cookies()) == 0 {
			t.Errorf("%s: got %+v, %v, want a redirect with a cookie", path, response, err)
		}
	}
}

// A handler makes requests to its own router, for a batch, with the cookies and the context of the
// request that it handles.
func TestARequestWithinAHandlerLeavesTheOuterResponseAlone(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = 24 * time.Hour })
		app := start(change)
		app.router.GET("/unguarded", func(c *gin.Context) {
			claims, err := app.auth.Claims(c)
			if err != nil {
				c.String(http.StatusUnauthorized, "nobody")
				return
			}
			c.String(http.StatusOK, claims.Username)
		})
		batch := func(c *gin.Context) {
			within := httptest.NewRequestWithContext(c.Request.Context(), http.MethodGet, "/unguarded", nil)
			within.Header["Cookie"] = c.Request.Header["Cookie"]
			w := httptest.NewRecorder()
			app.router.ServeHTTP(w, within)
			if err := app.auth.ClearAccessTokens(c); err != nil && !errors.Is(err, logtogin.ErrNotSignedIn) {
				t.Errorf("after the request within: %v", err)
			}
			if _, err := app.auth.SignInURL(c, logtogin.SignInOptions{}); err != nil {
				t.Errorf("after the request within: %v", err)
			}
			c.String(http.StatusOK, w.Body.String())
		}
		app.router.GET("/guarded", app.auth.Guard(), batch)
		app.router.GET("/optional", app.auth.Optional(), batch)
		for _, path := range []string{"/guarded", "/optional"} {
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			now.advance(4 * time.Hour)
			response, err := app.fetch(http.MethodGet, path, b.ours(app), nil)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("%s: got %+v, %v", path, response, err)
			}
			if body, _ := io.ReadAll(response.Body); string(body) != "alice" {
				t.Errorf("%s: the request within is of %q, want alice", path, body)
			}
			if want := map[bool]int{true: 1, false: 2}[app.inStore()]; len(response.Cookies()) != want {
				t.Errorf("%s: got the cookies %q, want %d", path, response.Header.Values("Set-Cookie"), want)
			}
		}
		if response, err := app.fetch(http.MethodGet, "/optional", nil, nil); err != nil || len(response.Cookies()) != 1 {
			t.Errorf("a visitor: got %+v, %v, want the cookie of the attempt", response, err)
		}
	})
}

// secondAuth is another Auth of the application, with sessions of its own.
func secondAuth(t *testing.T, app *application, logto *logtotest.Server, change func(*logtogin.Config)) *logtogin.Auth {
	t.Helper()
	cfg := logto.Config(app.url)
	change(&cfg)
	cfg.Cookies.Name = "other"
	second, err := logtogin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	return second
}

// A cookie that a middleware before the guard has set is taken back, too, in whatever way it got
// there.
func TestACookieFromBeforeAGuardIsTakenBack(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = 10 * time.Minute })
	app := newApplication(t, logto, change)
	second := secondAuth(t, app, logto, change)
	ask := func(c *gin.Context) { app.auth.IsAuthenticated(c) }
	var held gates
	slow := func(c *gin.Context) {
		held.pass(c)
		c.String(http.StatusOK, "done")
	}
	inner := gin.New()
	inner.GET("/inner/page", app.auth.Guard(), slow)
	app.router.GET("/other", ask, second.Optional(), slow)
	app.router.GET("/both", ask, second.Optional(), app.auth.Guard(), slow)
	app.router.GET("/inner/page", ask, gin.WrapH(inner))
	inner.GET("/wrapped/page", ask, slow)
	app.router.GET("/wrapped/page", app.auth.Guard(), func(c *gin.Context) { c.Writer = &givenUp{ResponseWriter: c.Writer} }, gin.WrapH(inner))
	for _, path := range []string{"/other", "/both", "/inner/page", "/wrapped/page"} {
		now.advance(time.Minute)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		cookies := b.ours(app)
		now.advance(2 * time.Minute)
		response := app.fetchHeld(&held, path, path, cookies, nil, func() { b.get(app.url + "/sign-out") })
		if response == nil || len(response.Cookies()) > 0 || response.Header.Get("Cache-Control") != "private, no-store" {
			t.Errorf("%s: got %+v, want a private page without cookies", path, response)
		}
	}
}
