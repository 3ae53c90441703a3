package logtogin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// Sign-outs at the same moment as something else of the same session.

// holding stops the first one that passes until the test lets it go on.
type holding struct {
	gate *gate
	came atomic.Bool
}

func newHolding() *holding { return &holding{gate: newGate()} }

func (h *holding) pass() {
	if h.came.CompareAndSwap(false, true) {
		h.gate.wait()
	}
}

// later is an answer that has not come yet.
func later(do func() page) <-chan page {
	answer := make(chan page, 1)
	go func() { answer <- do() }()
	return answer
}

// hookedState calls a hook before it is asked for a value.
type hookedState struct {
	*commonState
	beforeGet atomic.Pointer[func()]
}

func (s *hookedState) Get(ctx context.Context, key string) (string, bool, error) {
	if hook := s.beforeGet.Load(); hook != nil {
		(*hook)()
	}
	return s.commonState.Get(ctx, key)
}

// The second one finds the session ended and is answered like the first one, which then is, too. The
// application is told once.
func TestTwoSignOutsAtTheSameMomentAreOne(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]func(w *witness, p sessionPlace, held *holding) bool{
		"the first one waits for Logto to revoke its refresh token": func(w *witness, _ sessionPlace, held *holding) bool {
			w.logto.Intercept(logtotest.Revocation, func(a http.ResponseWriter, r *http.Request, next http.Handler) {
				held.pass()
				next.ServeHTTP(a, r)
			})
			return true
		},
		"the first one is in OnSignedOut": func(w *witness, _ sessionPlace, held *holding) bool {
			w.onSignedOut = held.pass
			return true
		},
		"the first one has asked the store for the record": func(w *witness, _ sessionPlace, held *holding) bool {
			if w.store != nil {
				w.store.beforeLoad = held.pass
			}
			return w.store != nil
		},
		"the first one is about to delete the record": func(w *witness, _ sessionPlace, held *holding) bool {
			if w.store != nil {
				w.store.beforeSave = held.pass
			}
			return w.store != nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyWay(t, func(t *testing.T, p sessionPlace, by way) {
				w := witnessed(t, p)
				b := newBrowser(t)
				b.signIn(w.apps[0].url+"/profile", alice())
				cookies := b.ours(w.apps[0])
				held := newHolding()
				if !hold(w, p, held) {
					return
				}
				first := later(func() page { return by.signOut(w.apps[0], cookies) })
				<-held.gate.entered
				second := by.signOut(w.apps[0], cookies)
				close(held.gate.open)
				for i, answer := range []page{<-first, second} {
					if to := by.leads(answer); !strings.HasPrefix(to, w.logto.Issuer()+"/session/end?") {
						t.Errorf("answer %d: %d leads to %q", i, answer.status, to)
					}
				}
				if events, hooks := w.tellings(); events != 1 || hooks != 1 {
					t.Errorf("%d events, %d calls of OnSignedOut", events, hooks)
				}
				w.nothingLives()
			})
		})
	}
}

// Each instance answers as if it were alone, and tells the application, because neither knows of the other one.
func TestTwoSignOutsAtTheSameMomentAtTwoInstances(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, p sessionPlace, by way) {
		if !p.inStore {
			return
		}
		w := witnessed(t, p)
		b := newBrowser(t)
		b.signIn(w.apps[0].url+"/profile", alice())
		cookies := b.ours(w.apps[0])
		held := newHolding()
		w.store.set(func() { w.store.beforeSave = held.pass })
		first := later(func() page { return by.signOut(w.apps[0], cookies) })
		<-held.gate.entered
		second := by.signOut(w.apps[1], cookies)
		close(held.gate.open)
		for i, answer := range []page{<-first, second} {
			if to := by.leads(answer); !strings.HasPrefix(to, w.logto.Issuer()+"/session/end?") {
				t.Errorf("answer %d: %d leads to %q", i, answer.status, to)
			}
		}
		w.nothingLives()
	})
}

// Both have found the session alive when neither has ended it: the first one asks the shared state for the
// newest version of the session until the second one does so, too, or is answered.
func TestTwoSignOutsThatBothFindTheSessionTellTheApplicationOnce(t *testing.T) {
	t.Parallel()
	state := &hookedState{commonState: newCommonState()}
	w := witnessed(t, sessionPlace{}, func(*logtotest.Server) func(*logtogin.Config) {
		return func(cfg *logtogin.Config) { cfg.SharedState = state }
	})
	w.isKnownElsewhere = true
	b := newBrowser(t)
	b.signIn(w.apps[0].url+"/profile", alice())
	cookies := b.ours(w.apps[0])
	asked, together := make(chan struct{}), make(chan struct{})
	var asking atomic.Int64
	var once sync.Once
	meet := func() {
		switch asking.Add(1) {
		case 1:
			close(asked)
			<-together
		case 2:
			once.Do(func() { close(together) })
		}
	}
	state.beforeGet.Store(&meet)
	by := ways["a link"]
	first := later(func() page { return by.signOut(w.apps[0], cookies) })
	<-asked
	by.signOut(w.apps[0], cookies)
	once.Do(func() { close(together) })
	<-first
	if events, hooks := w.tellings(); events != 1 || hooks != 1 {
		t.Errorf("%d events, %d calls of OnSignedOut", events, hooks)
	}
	w.nothingLives()
}

// The refresh yields a refresh token that nobody knows when the sign-out is answered. It is revoked, also if
// Logto could not revoke the one before.
func TestASignOutDuringARefreshLeavesNoTokenAlive(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		path      string
		early     bool // held before Logto has made the new tokens
		elsewhere bool // the sign-out is handled by the other instance
		fails     bool // Logto does not revoke while the sign-out lasts
	}{
		"a token":                    {path: "/token"},
		"a page":                     {path: "/profile"},
		"not yet at Logto":           {path: "/token", early: true},
		"at another instance":        {path: "/token", elsewhere: true},
		"a page at another instance": {path: "/profile", elsewhere: true, early: true},
		"which is not revoked":       {path: "/token", fails: true},
		"not yet, and not revoked":   {path: "/token", early: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyWay(t, func(t *testing.T, p sessionPlace, by way) {
				w := witnessed(t, p, rotating)
				if test.elsewhere && !w.isKnownElsewhere {
					return
				}
				b := signInAndExpire(w.apps[0], w.now)
				cookies := b.ours(w.apps[0])
				held, release := holdRefresh(w.logto)
				if test.early {
					early := newHolding()
					w.logto.Intercept(logtotest.Token, func(a http.ResponseWriter, r *http.Request, next http.Handler) {
						early.pass()
						next.ServeHTTP(a, r)
					})
					held, release = early.gate.entered, func() { close(early.gate.open) }
				}
				refreshed := later(func() page { return send(t, http.MethodGet, w.apps[0].url+test.path, cookies, nil) })
				<-held
				if test.fails {
					w.logto.Intercept(logtotest.Revocation, func(a http.ResponseWriter, _ *http.Request, _ http.Handler) { a.WriteHeader(http.StatusBadGateway) })
				}
				at := w.apps[0]
				if test.elsewhere {
					at = w.apps[1]
				}
				if answer := by.signOut(at, cookies); !strings.HasPrefix(by.leads(answer), w.logto.Issuer()) {
					t.Errorf("the sign-out: %d %s", answer.status, answer.body)
				}
				w.logto.Intercept(logtotest.Revocation, nil)
				release()
				if answer := <-refreshed; answer.status == http.StatusOK || len(setCookies(answer)) > len((&http.Response{Header: answer.header}).Cookies()) {
					t.Errorf("the refresh: %d %s", answer.status, answer.body)
				}
				w.isKnownElsewhere = w.isKnownElsewhere || test.elsewhere
				w.nothingLives()
			})
		})
	}
}

// A page waits two seconds for Logto, and goes on with the session as it is: not with one that has ended
// meanwhile.
func TestAPageThatWaitsForARefreshInVainKnowsOfASignOut(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, p sessionPlace, by way) {
		if by.method == http.MethodPost {
			return // each waits two seconds
		}
		w := witnessed(t, p, rotating)
		b := signInAndExpire(w.apps[0], w.now)
		cookies := b.ours(w.apps[0])
		held, release := holdRefresh(w.logto)
		waiting := later(func() page { return send(t, http.MethodGet, w.apps[0].url+"/profile", cookies, nil) })
		<-held
		at := w.apps[0]
		if p.shares {
			at = w.apps[1]
		}
		by.signOut(at, cookies)
		w.now.advance(time.Second) // after which the other instance knows of it
		if answer := <-waiting; answer.status != http.StatusFound {
			t.Errorf("%d %s", answer.status, answer.body)
		}
		release()
		eventually(t, func() bool { return w.logto.Calls().Revocation == 2 })
		w.nothingLives()
	})
}

func TestAPageDuringASignOutRefreshesNothing(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, p sessionPlace, by way) {
		w := witnessed(t, p, rotating)
		b := signInAndExpire(w.apps[0], w.now)
		cookies := b.ours(w.apps[0])
		held := newHolding()
		w.logto.Intercept(logtotest.Revocation, func(a http.ResponseWriter, r *http.Request, next http.Handler) {
			held.pass()
			next.ServeHTTP(a, r)
		})
		signedOut := later(func() page { return by.signOut(w.apps[0], cookies) })
		<-held.gate.entered
		w.logto.ResetCalls()
		for _, app := range w.apps {
			if app == w.apps[1] && !w.isKnownElsewhere {
				continue
			}
			w.now.advance(time.Second)
			for path, want := range map[string]int{"/profile": http.StatusFound, "/token": http.StatusUnauthorized} {
				if answer := send(t, http.MethodGet, app.url+path, cookies, nil); answer.status != want || len(setCookies(answer)) > 1 {
					t.Errorf("%s: %d %s", path, answer.status, answer.body)
				}
			}
		}
		if made := refreshes(w.logto); len(made) > 0 {
			t.Errorf("%d refreshes", len(made))
		}
		close(held.gate.open)
		<-signedOut
		w.nothingLives()
	})
}

// A sign-in that another tab is about to finish is not stopped: its session begins, and ends by a sign-out of
// its own.
func TestASignOutWhileAnotherTabFinishesASignIn(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, p sessionPlace, by way) {
		w := witnessed(t, p, rotating)
		b := newBrowser(t)
		b.signIn(w.apps[0].url+"/profile", alice())
		before := b.ours(w.apps[0])
		w.now.advance(2 * time.Minute) // it is not the session of a parallel tab
		callback := b.signInUntilCallback(w.apps[0], alice())
		cookies := b.ours(w.apps[0])
		held, release := holdRefresh(w.logto)
		finished := later(func() page { return send(t, http.MethodGet, callback.String(), cookies, nil) })
		<-held
		by.signOut(w.apps[0], cookies)
		release()
		answer := <-finished
		begun := setCookies(answer)
		if answer.status != http.StatusFound || !signedInWith(t, w.apps[0], begun...) {
			t.Errorf("the sign-in: %d %s", answer.status, answer.body)
		}
		if signedInWith(t, w.apps[0], before...) {
			t.Error("the session before goes on")
		}
		by.signOut(w.apps[0], begun)
		if events, hooks := w.tellings(); events != 2 || hooks != 2 {
			t.Errorf("%d events, %d calls of OnSignedOut", events, hooks)
		}
		w.nothingLives()
	})
}

// The other instance writes the record of the session at the very moment in which it is deleted.
func TestASignOutWhileARefreshElsewhereWritesTheRecord(t *testing.T) {
	t.Parallel()
	w := witnessed(t, sessionPlace{inStore: true, shares: true}, rotating)
	b := signInAndExpire(w.apps[0], w.now)
	cookies := b.ours(w.apps[0])
	held := newHolding()
	w.store.set(func() { w.store.beforeSave = held.pass })
	refreshed := later(func() page { return send(t, http.MethodGet, w.apps[0].url+"/token", cookies, nil) })
	<-held.gate.entered
	ways["a link"].signOut(w.apps[1], cookies)
	close(held.gate.open)
	if answer := <-refreshed; answer.status != http.StatusUnauthorized {
		t.Errorf("%d %s", answer.status, answer.body)
	}
	w.nothingLives()
}

// While the shared state is down, a sign-out holds where it was handled, and in a store everywhere. The other
// instances learn of it when the shared state is back.
func TestASignOutWhileTheSharedStateIsDown(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, p sessionPlace, by way) {
		if !p.shares {
			return
		}
		w := witnessed(t, p)
		b := newBrowser(t)
		b.signIn(w.apps[0].url+"/profile", alice())
		w.state.set(func() { w.state.down = errors.New("connection refused") })
		answer := by.signOut(w.apps[0], b.ours(w.apps[0]))
		if to := by.leads(answer); !strings.HasPrefix(to, w.logto.Issuer()+"/session/end?") {
			t.Errorf("%d leads to %q", answer.status, to)
		}
		if events, hooks := w.tellings(); events != 1 || hooks != 1 {
			t.Errorf("%d events, %d calls of OnSignedOut", events, hooks)
		}
		w.isKnownElsewhere = !p.inCookies()
		w.nothingLives()
		w.state.set(func() { w.state.down = nil })
		eventually(t, func() bool {
			w.now.advance(time.Second)
			return !w.anyWorks(w.apps[1])
		})
	})
}

// Browsers delete a cookie at the end of its session, so that only copies come later: they must not end what the
// user has begun since, which shares the grant at Logto.
func TestACopyOfAnExpiredCookieEndsNothing(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.SessionLifetime = 2 * time.Hour })
		app := start(change)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		old := b.ours(app)
		if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
			t.Fatal(err)
		}
		now.advance(2*time.Hour + time.Minute)
		b.signIn(app.url+"/profile", alice())
		logto.ResetCalls()
		for range 3 {
			send(t, http.MethodGet, app.url+"/", old, nil)
			send(t, http.MethodGet, app.url+"/sign-out", old, nil)
		}
		if calls := logto.Calls().Revocation; calls != 0 || !b.isSignedIn(app) {
			t.Errorf("got %d revocations, signed in: %v, want none and true", calls, b.isSignedIn(app))
		}
	})
}

// Eight sessions that were revoked are taken away in the time for one.
func TestRevokedSessionsAreTakenAwayInBoundedTime(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	_, change := withClock(logto)
	app := newApplication(t, logto, change)
	var cookies []*http.Cookie
	for range 3 {
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		cookies = append(cookies, b.ours(app)...)
	}
	if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	logto.Intercept(logtotest.Revocation, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
	send(t, http.MethodGet, app.url+"/", cookies, nil)
	if calls := logto.Calls().Revocation; calls != 1 {
		t.Errorf("got %d calls that were waited for, want one", calls)
	}
}

// The next user of a browser takes over from one who has gone away without a sign-out.
func TestASignInOfAnotherUserRevokesAnIdleSession(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = 10 * time.Minute })
		app := start(change)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		cookies := b.ours(app)
		now.advance(11 * time.Minute)
		other := newBrowser(t)
		other.plant(app, cookies)
		other.signIn(app.url+"/profile", logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"}))
		if calls := logto.Calls().Revocation; calls != 1 {
			t.Errorf("got %d revocations, want 1", calls)
		}
	})
}
