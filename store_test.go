package logtogin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// inStore is an application whose sessions are kept by a server.
func inStore(t *testing.T, logto *logtotest.Server, store *serverStore, change func(*logtogin.Config)) *application {
	t.Helper()
	return newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.Store = store
		if change != nil {
			change(cfg)
		}
	})
}

// bothWays runs a test with sessions in cookies and with sessions in a store.
func bothWays(t *testing.T, test func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application)) {
	t.Helper()
	for name, store := range map[string]*serverStore{"in cookies": nil, "in a store": newServerStore()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			test(t, logto, func(change func(*logtogin.Config)) *application {
				if store == nil {
					return newApplication(t, logto, change)
				}
				return inStore(t, logto, store, change)
			})
		})
	}
}

func sessionCookie(t *testing.T, b *browser, app *application) *http.Cookie {
	t.Helper()
	for _, cookie := range b.ours(app) {
		if !isAttempt(cookie) {
			return cookie
		}
	}
	t.Fatal("no session cookie")
	return nil
}

func signedInWith(t *testing.T, app *application, cookies ...*http.Cookie) bool {
	t.Helper()
	return strings.HasPrefix(send(t, http.MethodGet, app.url+"/", cookies, nil).body, "signed in as ")
}

// C56, C58, C66.
func TestAServerSideSessionIsRenewedSealedAndDeleted(t *testing.T) {
	t.Parallel()
	for name, ownIDs := range map[string]bool{"a store that takes the ID it is given": false, "a store that insists on its own": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newServerStore()
			store.ownIDs = ownIDs
			logto := logtotest.NewServer(t)
			app := inStore(t, logto, store, nil)
			other := inStore(t, logto, store, func(cfg *logtogin.Config) { cfg.BaseURL = app.url })

			b := newBrowser(t)
			b.get(app.url + "/")
			form := b.get(app.url + "/profile")
			if len(store.values(t)) > 0 {
				t.Error("a visitor has a record")
			}
			name := "logtogin_" + strings.TrimPrefix(b.ours(app)[0].Name, "logtogin_")[:8]
			b.plant(app, []*http.Cookie{{Name: name, Value: "key-chosen"}})
			if page := b.enter(form, logtotest.DefaultUser()); page.status != http.StatusOK {
				t.Fatalf("%d %s", page.status, page.body)
			}
			first := sessionCookie(t, b, app)
			if records := store.values(t); len(records) != 1 || records["chosen"] != "" {
				t.Errorf("records %v", records)
			}
			for _, value := range store.values(t) {
				for _, secret := range []string{"eyJhbGciOi", "alice", logto.AppID()} {
					if strings.Contains(value, secret) {
						t.Errorf("the store sees %q in %s", secret, value)
					}
				}
			}
			if !signedInWith(t, other, first) {
				t.Error("another instance does not know the session")
			}
			b.get(app.url + "/sign-in")
			second := sessionCookie(t, b, app)
			if second.Value == first.Value || signedInWith(t, other, first) || !signedInWith(t, other, second) || len(store.values(t)) != 1 {
				t.Errorf("after another sign-in: %q and %q, %d records", first.Value, second.Value, len(store.values(t)))
			}
			b.get(app.url + "/sign-out")
			if signedInWith(t, other, second) || len(store.values(t)) > 0 {
				t.Errorf("after the sign-out there are %d records", len(store.values(t)))
			}
			for _, cookie := range b.ours(app) {
				if !isAttempt(cookie) {
					t.Errorf("the browser still has %s", cookie.Name)
				}
			}
		})
	}
}

// Whoever can write to the store must not make one user another.
func TestRecordsOfAStoreCannotBeSwapped(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	logto := logtotest.NewServer(t)
	bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"})
	app := inStore(t, logto, store, nil)
	alice, bobs := newBrowser(t), newBrowser(t)
	alice.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	bobs.signIn(app.url+"/sign-in", bob)
	aliceKey := strings.TrimPrefix(sessionCookie(t, alice, app).Value, "key-")
	bobKey := strings.TrimPrefix(sessionCookie(t, bobs, app).Value, "key-")
	store.set(func() {
		store.records[aliceKey], store.records[bobKey] = store.records[bobKey], store.records[aliceKey]
	})
	if alice.isSignedIn(app) || bobs.isSignedIn(app) {
		t.Error("a record was believed under another key")
	}
}

// C68.
func TestAStoreThatFailsSignsNobodyOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ fail, recover func(*serverStore) }{
		"down": {
			func(s *serverStore) { s.down = errors.New("dial tcp: connection refused") },
			func(s *serverStore) { s.down = nil },
		},
		"frozen": {
			func(s *serverStore) { s.frozen = make(chan struct{}) },
			func(s *serverStore) { close(s.frozen); s.frozen = nil },
		},
		"panicking": {
			func(s *serverStore) { s.panics = true },
			func(s *serverStore) { s.panics = false },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newServerStore()
			logto := logtotest.NewServer(t)
			app := inStore(t, logto, store, func(cfg *logtogin.Config) { cfg.StoreTimeout = time.Minute })
			// Whatever has to succeed goes to the other instance.
			impatient := inStore(t, logto, store, func(cfg *logtogin.Config) { cfg.BaseURL, cfg.StoreTimeout = app.url, 50*time.Millisecond })
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			before := b.ours(app)
			waiting := newBrowser(t)
			callback := waiting.signInUntilCallback(app, logtotest.DefaultUser())
			store.set(func() { test.fail(store) })

			for path, status := range map[string]int{"/profile": http.StatusServiceUnavailable, "/sign-out": http.StatusServiceUnavailable, "/": http.StatusOK} {
				page := b.get(impatient.url + path)
				if page.status != status || len(page.header.Values("Set-Cookie")) > 0 || (status >= 500) != (page.header.Get("Retry-After") != "") {
					t.Errorf("%s: %d %v", path, page.status, page.header)
				}
				if status == http.StatusOK && page.body != "not signed in" {
					t.Errorf("%s: %s", path, page.body)
				}
			}
			if page := send(t, http.MethodGet, impatient.url+"/profile", b.ours(app), http.Header{"Accept": {"application/json"}}); page.status != http.StatusServiceUnavailable {
				t.Errorf("for a script: %d", page.status)
			}
			if page := waiting.get(strings.Replace(callback.String(), app.url, impatient.url, 1)); page.status != http.StatusServiceUnavailable {
				t.Errorf("the callback: %d %s", page.status, page.body)
			}
			for _, cookie := range waiting.ours(app) {
				if !isAttempt(cookie) {
					t.Errorf("half a session: %s", cookie.Name)
				}
			}
			if page := newBrowser(t).get(impatient.url + "/"); page.body != "not signed in" {
				t.Errorf("a visitor: %d %s", page.status, page.body)
			}

			store.set(func() { test.recover(store) })
			if page := b.get(app.url + "/profile"); page.status != http.StatusOK || !slices.EqualFunc(before, b.ours(app), func(x, y *http.Cookie) bool { return x.String() == y.String() }) {
				t.Errorf("afterwards: %d %s", page.status, page.body)
			}
			if !strings.Contains(impatient.log.String(), "level=ERROR") {
				t.Error("the operator is not told")
			}
		})
	}
}

func TestCloseSaysThatTheStoreHangs(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	store := newServerStore()
	router := gin.New()
	auth, err := logtogin.Register(router, logtogin.Config{
		Endpoint: logto.Endpoint(), AppID: logto.AppID(), AppSecret: logto.AppSecret(), BaseURL: "http://localhost:8080",
		Store: store, StoreTimeout: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	router.GET("/", auth.Guard(), func(*gin.Context) { t.Error("let through") })
	get := func(path string, cookies ...*http.Cookie) *http.Response {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		for _, cookie := range cookies {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		return w.Result()
	}
	name := attemptCookie.FindString(get("/sign-in").Cookies()[0].Name)[:len("_12345678")]
	name = "logtogin" + name
	store.frozen = make(chan struct{})
	if answer := get("/", &http.Cookie{Name: name, Value: "key-x"}); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d", answer.StatusCode)
	}
	if err := auth.Close(); err == nil {
		t.Error("a goroutine of ours is still there, and Close says nothing")
	}
	close(store.frozen)
}

// C65 and the idle time-out.
func TestIdleSessionsEnd(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now := newClock()
		logto.SetNow(now.Now)
		app := start(func(cfg *logtogin.Config) {
			cfg.Now, cfg.IdleTimeout, cfg.SessionLifetime = now.Now, 30*time.Minute, 3*time.Hour
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		for range 7 { // 2 h 55 min, never idle for long
			now.advance(25 * time.Minute)
			if !b.isSignedIn(app) {
				t.Fatal("an active session ended")
			}
		}
		now.advance(5 * time.Minute)
		if b.isSignedIn(app) {
			t.Error("activity stretched the absolute lifetime")
		}
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		now.advance(30*time.Minute - time.Second)
		if !b.isSignedIn(app) {
			t.Error("the session ended early")
		}
		now.advance(30 * time.Minute)
		if b.isSignedIn(app) {
			t.Error("an idle session goes on")
		}
	})
}

func TestAShorterLifetimeHoldsForSessionsThatAreThere(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now := newClock()
		logto.SetNow(now.Now)
		app := start(func(cfg *logtogin.Config) { cfg.Now = now.Now })
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		restarted := start(func(cfg *logtogin.Config) { cfg.Now, cfg.BaseURL, cfg.SessionLifetime = now.Now, app.url, time.Hour })
		now.advance(time.Hour - time.Second)
		if !signedInWith(t, restarted, b.ours(app)...) {
			t.Error("it ends early")
		}
		now.advance(time.Second)
		if signedInWith(t, restarted, b.ours(app)...) || !signedInWith(t, app, b.ours(app)...) {
			t.Error("it ends where it should not, or does not")
		}
	})
}

func TestActivityIsWrittenOnceInATenthOfTheTimeOut(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now := newClock()
		logto.SetNow(now.Now)
		var written atomic.Int64
		app := start(func(cfg *logtogin.Config) {
			cfg.Now, cfg.IdleTimeout = now.Now, 10*time.Minute
			if store, ok := cfg.Store.(*serverStore); ok {
				store.beforeSave = func() { written.Add(1) }
			}
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		written.Store(0)
		for i := range 20 { // 10 minutes
			now.advance(30 * time.Second)
			page := b.get(app.url + "/profile")
			lines := len(page.header.Values("Set-Cookie"))
			if app.inStore() && lines > 0 {
				t.Errorf("request %d: the cookie of a store is written again", i)
			}
			written.Add(int64(lines))
		}
		if written.Load() != 10 {
			t.Errorf("%d times", written.Load())
		}
	})
}

// The clock of the machine was a day ahead and is put right.
func TestAClockThatGoesBackDoesNoHarm(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now := newClock()
		logto.SetNow(now.Now)
		app := start(func(cfg *logtogin.Config) { cfg.Now, cfg.IdleTimeout = now.Now, time.Hour })
		now.advance(24 * time.Hour)
		b, waiting := newBrowser(t), newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		callback := waiting.signInUntilCallback(app, logtotest.DefaultUser())
		now.advance(-24 * time.Hour)
		if page := b.get(app.url + "/profile"); page.status != http.StatusOK {
			t.Errorf("%d %s", page.status, page.body)
		}
		if page := waiting.get(callback.String()); page.status != http.StatusOK {
			t.Errorf("a sign-in under way: %d %s", page.status, page.body)
		}
		now.advance(time.Hour)
		if b.isSignedIn(app) {
			t.Error("idle time is counted from a time that never was")
		}
	})
}

// C64.
func TestAnOutdatedSecretIsReplacedAtTheNextRequest(t *testing.T) {
	t.Parallel()
	secret := func(letter string) string { return strings.Repeat(letter, 32) }
	bothWays(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		old := start(secrets(secret("o")))
		moved := func(list ...string) *application {
			return start(func(cfg *logtogin.Config) { cfg.BaseURL, cfg.Secrets = old.url, list })
		}
		b := newBrowser(t)
		b.signIn(old.url+"/profile", logtotest.DefaultUser())
		before := sessionCookie(t, b, old)
		removed := moved(secret("n"))
		if page := send(t, http.MethodGet, removed.url+"/profile", []*http.Cookie{before}, http.Header{"Accept": {"text/html"}}); page.status != http.StatusFound {
			t.Errorf("without the old secret: %d %s", page.status, page.body)
		}
		both := moved(secret("n"), secret("o"))
		page := send(t, http.MethodGet, both.url+"/profile", []*http.Cookie{before}, nil)
		cookies := setCookies(page)
		if both.inStore() {
			cookies = []*http.Cookie{before}
		}
		if page.status != http.StatusOK || !signedInWith(t, removed, cookies...) {
			t.Errorf("%d, and the new secret alone does not open it afterwards", page.status)
		}
		if again := send(t, http.MethodGet, both.url+"/profile", cookies, nil); len(setCookies(again)) > 0 {
			t.Error("it is written again each time")
		}
	})
}

// C57.
func TestSigningInAsAnotherUserLeavesNothingOfTheFirst(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"})
		app := start(nil)
		alice := newBrowser(t)
		alice.signIn(app.url+"/profile", logtotest.DefaultUser())
		before := sessionCookie(t, alice, app)
		// Signed out at Logto, but not here.
		other := newBrowser(t)
		callback := other.signInUntilCallback(app, bob)
		alice.plant(app, other.ours(app))
		if page := alice.get(callback.String()); page.body != "signed in as bob" {
			t.Fatalf("%d %s", page.status, page.body)
		}
		if signedInWith(t, app, before) {
			t.Error("the first user's cookie is still good")
		}
		after := sessionCookie(t, alice, app)
		for _, order := range [][]*http.Cookie{{before, after}, {after, before}} {
			if page := send(t, http.MethodGet, app.url+"/", order, nil); page.body != "signed in as bob" {
				t.Errorf("with both cookies: %s", page.body)
			}
		}
		if calls := logto.Calls(); calls.Revocation != 1 {
			t.Errorf("%d revocations", calls.Revocation)
		}
	})
}

// C59: the session is written because of its activity while it is signed out.
func TestARequestInFlightCannotBringASessionBack(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	logto := logtotest.NewServer(t)
	now := newClock()
	logto.SetNow(now.Now)
	app := inStore(t, logto, store, func(cfg *logtogin.Config) { cfg.Now, cfg.IdleTimeout = now.Now, time.Hour })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	cookie := sessionCookie(t, b, app)
	now.advance(10 * time.Minute)

	var under atomic.Bool
	signedOut := make(chan page, 1)
	store.set(func() {
		store.beforeSave = func() {
			if under.CompareAndSwap(false, true) {
				signedOut <- send(t, http.MethodGet, app.url+"/sign-out", []*http.Cookie{cookie}, nil)
			}
		}
	})
	page := send(t, http.MethodGet, app.url+"/profile", []*http.Cookie{cookie}, http.Header{"Accept": {"text/html"}})
	if out := <-signedOut; out.status != http.StatusFound {
		t.Fatalf("the sign-out: %d %s", out.status, out.body)
	}
	if page.status != http.StatusFound || !strings.HasPrefix(page.header.Get("Location"), "/sign-in") {
		t.Errorf("the request in flight: %d %s", page.status, page.body)
	}
	if records := store.values(t); len(records) > 0 {
		t.Error("the record is back")
	}
}

// The same with two instances: the other one has deleted the record, or has
// written it already.
func TestASessionIsReadAgainBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		meanwhile func(app *application, cookie *http.Cookie)
		status    int
		records   int
	}{
		"signed out meanwhile": {func(app *application, _ *http.Cookie) { clear(app.store.records) }, http.StatusFound, 0},
		"written meanwhile": {func(app *application, cookie *http.Cookie) {
			send(app.t, http.MethodGet, app.url+"/profile", []*http.Cookie{cookie}, nil)
		}, http.StatusOK, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newServerStore()
			logto := logtotest.NewServer(t)
			now := newClock()
			logto.SetNow(now.Now)
			app := inStore(t, logto, store, func(cfg *logtogin.Config) { cfg.Now, cfg.IdleTimeout = now.Now, time.Hour })
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			cookie := sessionCookie(t, b, app)
			now.advance(10 * time.Minute)
			var loads, saves atomic.Int64
			store.set(func() {
				store.beforeSave = func() { saves.Add(1) }
				store.beforeLoad = func() {
					if loads.Add(1) == 2 {
						test.meanwhile(app, cookie)
					}
				}
			})
			page := send(t, http.MethodGet, app.url+"/profile", []*http.Cookie{cookie}, http.Header{"Accept": {"text/html"}})
			if page.status != test.status || len(store.values(t)) != test.records || saves.Load() != int64(test.records) {
				t.Errorf("%d, %d records, %d saves", page.status, len(store.values(t)), saves.Load())
			}
		})
	}
}

// What a code has yielded is kept although nobody waits for it.
func TestABrowserThatLeavesTheCallbackLosesNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		app := start(nil)
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		callback := b.signInUntilCallback(app, logtotest.DefaultUser())
		left, leave := context.WithCancel(t.Context())
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			leave()
			next.ServeHTTP(w, r)
		})
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(left, http.MethodGet, callback.RequestURI(), nil)
		r.Header.Set("Cookie", header(b.ours(app)...))
		app.router.ServeHTTP(w, r)
		page := b.get(callback.String())
		if page.body != "signed in as alice" || !b.isSignedIn(app) || logto.Calls().Token != 2 {
			t.Errorf("%d %s, %d token calls", page.status, page.body, logto.Calls().Token)
		}
	})
}

func TestASessionThatEndsDuringARequestIsNoticed(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		app := start(func(cfg *logtogin.Config) { cfg.IdleTimeout = time.Hour })
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		app.router.GET("/long", app.auth.Guard(), func(c *gin.Context) {
			c.String(http.StatusOK, "begun")
			send(t, http.MethodGet, app.url+"/sign-out", b.ours(app), nil)
			if _, err := app.auth.Claims(c); !errors.Is(err, logtogin.ErrNotSignedIn) {
				t.Errorf("error is %v", err)
			}
		})
		if page := send(t, http.MethodGet, app.url+"/long", b.ours(app), nil); page.body != "begun" {
			t.Errorf("%d %s", page.status, page.body)
		}
	})
}

func TestSignInAndSignOutInOneResponse(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		app := start(func(cfg *logtogin.Config) { cfg.SignInDefaults.RedirectURI = "/mine" })
		app.router.GET("/mine", func(c *gin.Context) {
			if _, err := app.auth.HandleCallback(c); err != nil {
				t.Error(err)
			}
			if _, err := app.auth.SignOutURL(c, logtogin.SignOutOptions{LocalOnly: true}); err != nil {
				t.Error(err)
			}
			if app.auth.IsAuthenticated(c) {
				t.Error("still signed in")
			}
			c.String(http.StatusOK, "in and out")
		})
		b := newBrowser(t)
		page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		if page.body != "in and out" || b.isSignedIn(app) {
			t.Errorf("%d %s", page.status, page.body)
		}
		for _, cookie := range setCookies(page) {
			t.Errorf("%s is set", cookie.Name)
		}
		if app.inStore() && len(app.store.values(t)) > 0 {
			t.Error("there is a record")
		}
	})
}

// A large session makes unfinished attempts give way.
func TestASessionBesideManyAttemptsStaysSmall(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["custom_data"] = strings.Repeat("data ", 700) })
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.stopAt(logto.Endpoint())
	for range 5 {
		b.get(app.url + "/sign-in?return_to=/" + strings.Repeat("a", 590))
	}
	b.keepGoing()
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	if size := cookieBytes(b.ours(app)); size > 8<<10 || !b.isSignedIn(app) {
		t.Errorf("%d bytes", size)
	}
}

// The largest session leaves room for twenty attempts beside it.
func TestTheLargestSessionLeavesRoomForAttempts(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	data := 0
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["custom_data"] = strings.Repeat("d", data) })
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	data = (6_392 - cookieBytes(b.ours(app)) - 2*90) * 3 / 4 // base64, and what a second cookie takes
	b = newBrowser(t)
	b.stopAt(logto.Endpoint())
	for range 20 {
		b.get(app.url + "/sign-in?return_to=/" + strings.Repeat("a", 2_000))
	}
	b.keepGoing()
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	if size, count := cookieBytes(b.ours(app)), len(b.attempts(app)); size > 8<<10 || size < 7_700 || count != 20 {
		t.Errorf("%d bytes, %d attempts", size, count)
	}
}

func TestWhatAStoreHasNoRoomFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limit    int
		signedIn bool
		userInfo bool
	}{
		"room for everything":                   {4000, true, true},
		"room for all but the access token":     {1300, true, false},
		"no room for the ID token and the like": {600, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newServerStore()
			store.limit = test.limit
			logto := logtotest.NewServer(t)
			logto.ChangeTokenAnswer(func(answer map[string]any) any {
				answer["access_token"] = strings.Repeat("a", 600)
				return answer
			})
			logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "at_hash") })
			app := inStore(t, logto, store, nil)
			b := newBrowser(t)
			page := b.signIn(app.url+"/profile", logtotest.DefaultUser())
			if (page.status == http.StatusOK) != test.signedIn || b.isSignedIn(app) != test.signedIn {
				t.Errorf("%d %s", page.status, page.body)
			}
			if !test.signedIn && (page.status != http.StatusInternalServerError || !strings.Contains(app.log.String(), "MaxLength")) {
				t.Errorf("%d %s", page.status, app.log)
			}
			if len(store.values(t)) != map[bool]int{true: 1}[test.signedIn] {
				t.Errorf("%d records", len(store.values(t)))
			}
		})
	}
}

// 200 requests at once never make more than 64 calls to a store at a time, and none waits for
// longer than StoreTimeout. By the clock of a bubble.
func TestManyRequestsMakeFewCallsAtATime(t *testing.T) {
	t.Parallel()
	const requests, most = 200, 64
	for name, test := range map[string]struct {
		takes  time.Duration // a call to the store
		status int
		last   time.Duration // when the last request has its answer
	}{
		"a store that answers":         {100 * time.Millisecond, http.StatusOK, 400 * time.Millisecond},
		"a store that does not answer": {time.Hour, http.StatusServiceUnavailable, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto, store := logtotest.NewServer(t), newServerStore()
			now := newClock()
			logto.SetNow(now.Now)
			app := inStore(t, logto, store, func(cfg *logtogin.Config) { cfg.Now = now.Now })
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			cookies := header(b.ours(app)...)
			synctest.Test(t, func(t *testing.T) {
				own := app.bubbled(t, func(cfg *logtogin.Config) {
					cfg.Endpoint, cfg.AppID, cfg.AppSecret = logto.Endpoint(), logto.AppID(), logto.AppSecret()
					cfg.Store, cfg.Now = store, now.Now
				})
				var running, peak atomic.Int64
				store.beforeLoad = func() {
					current := running.Add(1)
					defer running.Add(-1)
					for old := peak.Load(); current > old && !peak.CompareAndSwap(old, current); old = peak.Load() {
					}
					<-time.After(test.takes)
				}
				began := time.Now()
				atOnce(requests, func(int) {
					if w := own.ask("/profile", cookies); w.Code != test.status || time.Since(began) > test.last {
						t.Errorf("after %v: %d %s", time.Since(began), w.Code, w.Body)
					}
				})
				if took := time.Since(began); peak.Load() != most || took != test.last {
					t.Errorf("%d calls at a time, the last request after %v", peak.Load(), took)
				}
				<-time.After(time.Hour) // until the store has answered all
				store.beforeLoad = nil
			})
		})
	}
}
