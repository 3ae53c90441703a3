package logtogin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What could be left over: of a session that has ended, of a request that is over,
// of a refusal.

// A write that the store does after its time-out must not bring back a session
// that was signed out in the meantime.
func TestALateWriteBringsNoSessionBack(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	var hold atomic.Pointer[chan struct{}]
	store.beforeSave = func() {
		if held := hold.Swap(nil); held != nil {
			<-*held
		}
	}
	logto := logtotest.NewServer(t)
	now := newClock()
	logto.SetNow(now.Now)
	change := func(cfg *logtogin.Config) { cfg.Now, cfg.IdleTimeout = now.Now, 10*time.Minute }
	app := inStore(t, logto, store, change)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	cookie := sessionCookie(t, b, app)
	now.advance(2 * time.Minute)
	synctest.Test(t, func(t *testing.T) {
		own := app.bubbled(t, func(cfg *logtogin.Config) {
			change(cfg)
			cfg.Endpoint, cfg.AppID, cfg.AppSecret, cfg.Store = logto.Endpoint(), logto.AppID(), logto.AppSecret(), store
		})
		held := make(chan struct{})
		hold.Store(&held)
		if w := own.ask("/profile", header(cookie)); w.Code != http.StatusOK || hold.Load() != nil {
			t.Fatalf("a session that cannot be written is as good as before: %d %s", w.Code, w.Body)
		}
		if w := own.ask("/sign-out", header(cookie)); w.Code != http.StatusFound || len(store.values(t)) > 0 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		close(held)
		synctest.Wait() // for the late write, and that it is undone
	})
	if len(store.values(t)) > 0 || signedInWith(t, app, cookie) {
		t.Error("the session is back")
	}
}

func TestASignOutWritesNoActivity(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	logto := logtotest.NewServer(t)
	now := newClock()
	logto.SetNow(now.Now)
	app := inStore(t, logto, store, func(cfg *logtogin.Config) { cfg.Now, cfg.IdleTimeout = now.Now, 10*time.Minute })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	now.advance(2 * time.Minute)
	var saves atomic.Int64
	store.set(func() { store.beforeSave = func() { saves.Add(1) } })
	b.get(app.url + "/sign-out")
	if saves.Load() != 1 || len(store.values(t)) > 0 { // the deletion
		t.Errorf("%d saves, %d records", saves.Load(), len(store.values(t)))
	}
}

func TestASignOutReadsTheStoreOnce(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	var loads atomic.Int64
	store.set(func() { store.beforeLoad = func() { loads.Add(1) } })
	if b.get(app.url + "/sign-out"); loads.Load() != 1 {
		t.Errorf("%d times", loads.Load())
	}
}

// A handler that asks about the session after it has written is no reason to warn.
func TestASessionIsNotRenewedOnceTheResponseHasBegun(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now := newClock()
	logto.SetNow(now.Now)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Now, cfg.IdleTimeout = now.Now, 10*time.Minute })
	app.router.GET("/late", func(c *gin.Context) {
		c.String(http.StatusOK, "first, ")
		c.String(http.StatusOK, "%v", app.auth.IsAuthenticated(c))
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	now.advance(2 * time.Minute)
	page := b.get(app.url + "/late")
	if page.body != "first, true" || strings.Contains(app.log.String(), "WARN") {
		t.Errorf("%s, log: %s", page.body, app.log)
	}
}

// A store that fails is heard of once per request, also where nobody sees an error.
func TestAStoreFailureIsLoggedOnce(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	app.router.GET("/asked", func(c *gin.Context) { c.JSON(http.StatusOK, app.auth.IsAuthenticated(c)) })
	app.router.GET("/asked-twice", app.auth.Optional(), func(c *gin.Context) { c.JSON(http.StatusOK, app.auth.IsAuthenticated(c)) })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	store.set(func() { store.down = errors.New("the database is gone") })
	for i, path := range []string{"/profile", "/", "/asked", "/asked-twice"} {
		b.get(app.url + path)
		if count := strings.Count(app.log.String(), "the database is gone"); count != i+1 {
			t.Errorf("after %s the log says it %d times: %s", path, count, app.log)
		}
	}
}

// Visitors decide how long the parameters of a callback are.
func TestLongCallbacksAreNotKeptInMemory(t *testing.T) {
	app := newApplication(t, logtotest.NewServer(t), nil)
	callback := func(length int) (status int) {
		w := app.ask("/sign-in", "")
		location, err := url.Parse(w.Header().Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		query := url.Values{"state": location.Query()["state"], "iss": {location.Scheme + "://" + location.Host + "/oidc"}, "error": {"x"}, "error_description": {strings.Repeat("a", length)}}
		return app.ask("/callback?"+query.Encode(), header((&http.Response{Header: w.Header()}).Cookies()...)).Code
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	callback(10)
	before := heap()
	for i := range 500 {
		length := 7 << 10
		if i%25 == 0 {
			length = 500 << 10
		}
		if status := callback(length); status != http.StatusBadRequest {
			t.Fatal(status)
		}
	}
	if after := heap(); after > before+3<<20 { // 500 × 7 KiB alone would be 3.4 MiB
		t.Errorf("%d KiB are kept", (after-before)>>10)
	}
}

// The client has gone, and the application goes on with the request.
func TestTheStoreSharesNothingWithTheRequest(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	cookie := header(sessionCookie(t, b, app))
	app.router.POST("/form", app.auth.Optional(), func(c *gin.Context) { _ = c.PostForm("x") })
	for i := range 200 {
		ctx, leave := context.WithCancel(t.Context())
		if i%2 == 0 {
			leave()
		} else {
			store.set(func() { store.beforeLoad = leave })
		}
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/form", strings.NewReader("x=y"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", cookie)
		app.router.ServeHTTP(httptest.NewRecorder(), r)
		leave()
	}
	if strings.Contains(app.log.String(), "level=ERROR") {
		t.Errorf("clients that leave are the operator's errors: %.300s", app.log)
	}
}

func TestOnErrorIsNotAskedAboutItself(t *testing.T) {
	t.Parallel()
	var app *application
	asked := 0
	app = newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.Endpoint = "http://127.0.0.1:1" // where nobody is
		cfg.OnError = func(c *gin.Context, _ error) {
			asked++
			app.auth.SignIn(c, logtogin.SignInOptions{})
		}
	})
	for range 2 {
		if page := send(t, http.MethodGet, app.url+"/callback", nil, nil); page.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", page.status, page.body)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func TestOnSignedInMaySignOut(t *testing.T) {
	t.Parallel()
	for _, ownIDs := range []bool{false, true} {
		store := newServerStore()
		store.ownIDs = ownIDs
		var app *application
		app = inStore(t, logtotest.NewServer(t), store, func(cfg *logtogin.Config) {
			cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
				_, err := app.auth.SignOutURL(c, logtogin.SignOutOptions{})
				return err
			}
		})
		b := newBrowser(t)
		page := b.signIn(app.url+"/profile", logtotest.DefaultUser())
		if page.status != http.StatusInternalServerError || b.isSignedIn(app) || len(store.values(t)) > 0 {
			t.Errorf("own IDs %v: %d, %d records", ownIDs, page.status, len(store.values(t)))
		}
	}
}

func TestASignOutThatComesTooLateEndsTheSession(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		app := start(nil)
		app.router.GET("/late", func(c *gin.Context) {
			c.String(http.StatusOK, "begun")
			if _, err := app.auth.SignOutURL(c, logtogin.SignOutOptions{}); !errors.Is(err, logtogin.ErrResponseStarted) {
				t.Errorf("error is %v", err)
			}
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		b.get(app.url + "/late")
		if b.isSignedIn(app) || (app.inStore() && len(app.store.values(t)) > 0) {
			t.Error("the session goes on")
		}
	})
}

func TestASignOutThatFailsHalfwayIsHeardOf(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	var heard atomic.Int64
	app := inStore(t, logtotest.NewServer(t), store, func(cfg *logtogin.Config) {
		cfg.OnSignedOut = func(*gin.Context, *logtogin.Claims) { heard.Add(1) }
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	cookie := sessionCookie(t, b, app)
	store.set(func() { store.beforeSave = func() { panic("down") } })
	if page := b.get(app.url + "/sign-out"); page.status != http.StatusServiceUnavailable {
		t.Errorf("%d", page.status)
	}
	if signedInWith(t, app, cookie) {
		t.Error("signed in")
	}
	store.set(func() { store.beforeSave = nil })
	b.get(app.url + "/sign-out")
	if heard.Load() != 1 || len(store.values(t)) > 0 {
		t.Errorf("heard %d times, %d records", heard.Load(), len(store.values(t)))
	}
}

func TestWhatDependsOnTheSessionIsNotCached(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	for path, look := range map[string]func(*gin.Context){
		"/claims": func(c *gin.Context) { _, _ = app.auth.Claims(c) },
		"/token":  func(c *gin.Context) { _, _ = app.auth.IDToken(c) },
		"/is":     func(c *gin.Context) { _ = app.auth.IsAuthenticated(c) },
	} {
		app.router.GET(path, func(c *gin.Context) { look(c); c.String(http.StatusOK, "x") })
	}
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for _, path := range []string{"/claims", "/token", "/is"} {
		mine, visitors := b.get(app.url+path), newBrowser(t).get(app.url+path)
		if mine.header.Get("Cache-Control") != "private, no-store" || mine.header.Get("Vary") != "Cookie" ||
			visitors.header.Get("Cache-Control") != "" || visitors.header.Get("Vary") != "Cookie" {
			t.Errorf("%s: %v and %v", path, mine.header, visitors.header)
		}
	}
}

func TestOnErrorMayRedirectAnyRequest(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnError = func(c *gin.Context, _ error) { c.Redirect(http.StatusSeeOther, "/sorry") }
	})
	app.router.HEAD("/profile", app.auth.Guard())
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
		page := send(t, method, app.url+"/profile", nil, http.Header{"Accept": {"application/json"}})
		if page.status != http.StatusSeeOther || page.header.Get("Location") != "/sorry" {
			t.Errorf("%s: %d %s", method, page.status, page.body)
		}
	}
}

func TestVisitorsWriteNothingIntoTheStore(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	name := sessionCookie(t, b, app).Name
	store.set(func() { store.beforeSave = func() { t.Error("a write") }; store.signs = true })
	page := send(t, http.MethodGet, app.url+"/sign-out", []*http.Cookie{{Name: name, Value: "junk"}, {Name: name, Value: "more"}}, nil)
	if gone := (&http.Response{Header: page.header}).Cookies(); page.status != http.StatusFound || len(gone) != 1 || gone[0].MaxAge >= 0 {
		t.Errorf("%d %v", page.status, gone)
	}
	store.set(func() { store.beforeSave = nil })
}

func TestPathsOfOnSignedInAreThoseOfTheApplication(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{"/welcome?x=1": "/app/welcome?x=1", "/sign-out": "", "//evil.example": "", "": ""} {
		var seen string
		app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
			cfg.BaseURL += "/app"
			cfg.OnSignedIn = func(_ *gin.Context, result *logtogin.SignInResult) error {
				seen, result.ReturnTo = result.ReturnTo, to
				return nil
			}
		})
		b := newBrowser(t)
		b.stopAt(app.url + "/app/callback")
		callback, err := url.Parse(b.signIn(app.url+"/sign-in?return_to=/profile", logtotest.DefaultUser()).header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		page := send(t, http.MethodGet, app.url+"/callback?"+callback.RawQuery, b.ours(app), nil)
		if seen != "/profile" || page.header.Get("Location") != want || (want == "") != (page.status == http.StatusInternalServerError) {
			t.Errorf("%q: saw %q, %d to %q", to, seen, page.status, page.header.Get("Location"))
		}
	}
}

func TestErrorsOfOnSignedInAreNotShown(t *testing.T) {
	t.Parallel()
	for _, hidden := range []error{
		&logtogin.ProviderError{Code: "internal", Description: "hidden detail"}, logtogin.ErrNotSignedIn, logtogin.ErrNoAttempt, logtogin.ErrCancelled,
	} {
		app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
			cfg.OnSignedIn = refuse(fmt.Errorf("hidden: %w", hidden))
		})
		page := newBrowser(t).signIn(app.url+"/profile", logtotest.DefaultUser())
		if page.status != http.StatusInternalServerError || strings.Contains(page.body, "hidden") || strings.Contains(page.body, "internal") {
			t.Errorf("%v: %d %s", hidden, page.status, page.body)
		}
		if log := app.log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "hidden") {
			t.Errorf("%v: the operator is not told: %s", hidden, log)
		}
	}
}

// Whoever can read a store must not be able to use what is there as a cookie of an
// instance that keeps sessions in cookies.
func TestARecordOfAStoreIsNoCookie(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	logto := logtotest.NewServer(t)
	app := inStore(t, logto, store, nil)
	inCookies := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.BaseURL = app.url })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	name := sessionCookie(t, b, app).Name
	for _, sealed := range store.values(t) {
		if signedInWith(t, inCookies, &http.Cookie{Name: name, Value: "1.AAAAAAAA." + sealed}) {
			t.Error("signed in")
		}
	}
}
