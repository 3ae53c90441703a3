package logtogin_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// revokeOthers adds a route that ends the other sessions of the user.
func (app *application) revokeOthers() {
	app.router.POST("/others", app.auth.Guard(), func(c *gin.Context) {
		if err := app.auth.RevokeOtherSessions(c.Request.Context()); err != nil {
			app.auth.Refuse(c, err)
		}
	})
}

func TestTheOtherSessionsOfAUserEnd(t *testing.T) {
	t.Parallel()
	bothWaysShared(t, func(t *testing.T, logto *logtotest.Server, now *clock, _ *commonState, apps [2]*application) {
		for _, app := range apps {
			app.revokeOthers()
		}
		signIn := func(user logtotest.User) *browser {
			b := newBrowser(t)
			b.signIn(apps[0].url+"/profile", user)
			return b
		}
		here, elsewhere := signIn(alice()), signIn(alice())
		stranger := signIn(logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"}))
		token := logto.AccessToken(alice(), ordersAPI)
		if answer := send(t, http.MethodPost, apps[0].url+"/others", here.ours(apps[0]), nil); answer.status != http.StatusOK {
			t.Fatalf("got %d %s", answer.status, answer.body)
		}
		later := signIn(alice())
		now.advance(time.Second)
		for i, app := range apps {
			for name, want := range map[*browser]bool{here: true, elsewhere: false, stranger: true, later: true} {
				if got := signedInWith(t, app, name.ours(apps[0])...); got != want {
					t.Errorf("instance %d: got %v, want %v", i, got, want)
				}
			}
			if answer := send(t, http.MethodGet, app.url+"/api", nil, http.Header{"Authorization": {"Bearer " + token}}); answer.status != http.StatusOK {
				t.Errorf("instance %d: a token of the user: got %d, want 200", i, answer.status)
			}
		}
		// The one that asks then may itself be one of the others.
		if answer := send(t, http.MethodPost, apps[1].url+"/others", later.ours(apps[0]), nil); answer.status != http.StatusOK {
			t.Fatalf("got %d %s", answer.status, answer.body)
		}
		now.advance(time.Second)
		for i, app := range apps {
			if signedInWith(t, app, here.ours(apps[0])...) || !signedInWith(t, app, later.ours(apps[0])...) {
				t.Errorf("instance %d: the first one goes on, or the second one does not", i)
			}
		}
	})
}

// Two that ask at the same moment, at two instances, end each other, whatever the order in which the instances learn
// of it.
func TestTwoThatEndEachOther(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	apps := two(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state })
	var browsers [2]*browser
	for i, app := range apps {
		app.revokeOthers()
		browsers[i] = newBrowser(t)
		browsers[i].signIn(apps[0].url+"/profile", alice())
	}
	state.set(func() { state.down = errors.New("down") })
	for i, app := range apps {
		if answer := send(t, http.MethodPost, app.url+"/others", browsers[i].ours(apps[0]), nil); answer.status != http.StatusServiceUnavailable {
			t.Fatalf("got %d %s, want 503", answer.status, answer.body)
		}
	}
	state.set(func() { state.down = nil })
	eventually(t, func() bool {
		now.advance(time.Second)
		good := 0
		for _, app := range apps {
			for _, b := range browsers {
				if signedInWith(t, app, b.ours(apps[0])...) {
					good++
				}
			}
		}
		return good == 0
	})
}

func TestWhoHasNoSessionEndsNoOthers(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	if err := app.auth.RevokeOtherSessions(context.Background()); !errors.Is(err, logtogin.ErrNoRequest) {
		t.Errorf("got %v, want ErrNoRequest", err)
	}
	var failure error
	app.router.GET("/others", func(c *gin.Context) { failure = app.auth.RevokeOtherSessions(c) })
	if send(t, http.MethodGet, app.url+"/others", nil, nil); !errors.Is(failure, logtogin.ErrNotSignedIn) {
		t.Errorf("got %v, want ErrNotSignedIn", failure)
	}
}

// A user who has lost the password to somebody gets rid of them by a new one, if the application wants that.
func TestAPasswordResetEndsSessionsIfItIsToldTo(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{false, true} {
		t.Run(fmt.Sprint(ends), func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			cause := ""
			app := told(t, logto, func(cfg *logtogin.Config) {
				change(cfg)
				cfg.EndSessionsOnPasswordReset = ends
				cfg.OnEvent = func(_ context.Context, event logtogin.Event) { cause = cmp.Or(event.Cause, cause) }
			})
			app.router.POST("/webhooks/logto", app.auth.WebhookHandler("key"))
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			now.advance(10 * time.Second)
			body := fmt.Sprintf(`{"event":"PostResetPassword","createdAt":%q,"userId":%q,"user":{"id":%q}}`, now.Now().UTC().Format(time.RFC3339Nano), aliceID, aliceID)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app.url+"/webhooks/logto", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("logto-signature-sha-256", logtotest.WebhookSignature("key", body))
			if answer := newBrowser(t).do(r); answer.status != http.StatusOK {
				t.Fatalf("got %d", answer.status)
			}
			if cause == "password_reset" != ends {
				t.Errorf("the cause is %q", cause)
			}
			if b.isSignedIn(app) == ends {
				t.Errorf("signed in: %v, want %v", !ends, ends)
			}
			now.advance(10 * time.Second)
			b.signIn(app.url+"/sign-in", alice())
			if !b.isSignedIn(app) {
				t.Error("a later sign-in has ended, too")
			}
		})
	}
}

// Clocks of instances that are apart by less than half of ClockSkew: a session that was begun a moment before a
// revocation by a clock that is ahead ends, and a later one does not, wherever it begins.
func TestClocksThatAreApartLetNoSessionSlipThrough(t *testing.T) {
	t.Parallel()
	for _, apart := range []time.Duration{-25 * time.Second, 0, 25 * time.Second} {
		t.Run(apart.String(), func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			state := newCommonState()
			setUp := func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state }
			one := told(t, logto, setUp)
			other := told(t, logto, func(cfg *logtogin.Config) {
				setUp(cfg)
				cfg.BaseURL = one.url
				cfg.Now = func() time.Time { return now.Now().Add(apart) }
			})
			one.server.Handler = other.router // the sign-in is at the other instance
			b := newBrowser(t)
			b.signIn(one.url+"/profile", alice())
			one.server.Handler = one.router
			if err := one.auth.RevokeUser(t.Context(), aliceID); err != nil {
				t.Fatal(err)
			}
			now.advance(time.Second)
			for name, app := range map[string]*application{"here": one, "at the other instance": other} {
				if signedInWith(t, app, b.ours(one)...) {
					t.Errorf("%s the session goes on", name)
				}
			}
			for _, router := range []http.Handler{one.router, other.router} {
				one.server.Handler = router
				again := newBrowser(t)
				again.signIn(one.url+"/profile", alice())
				one.server.Handler = one.router
				now.advance(time.Second)
				if !signedInWith(t, one, again.ours(one)...) || !signedInWith(t, other, again.ours(one)...) {
					t.Error("a later sign-in is no good")
				}
			}
		})
	}
}

// The cause of a revocation and the reason of its failure are two things.
func TestARevocationThatFailsSaysBoth(t *testing.T) {
	t.Parallel()
	state := newCommonState()
	events := &eventLog{}
	var last logtogin.Event
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.SharedState = state
		cfg.OnEvent = func(ctx context.Context, event logtogin.Event) { events.add(ctx, event); last = event }
	})
	if err := app.auth.RevokeUser(t.Context(), "u"); err != nil || last.Cause != "user" || last.Reason != "" {
		t.Errorf("got %v, %+v, want the cause user", err, last)
	}
	state.set(func() { state.down = errors.New("down") })
	if err := app.auth.RevokeUser(t.Context(), "u"); err == nil || last.Cause != "user" || last.Reason != "store_unavailable" {
		t.Errorf("got %v, %+v, want the cause user and the reason store_unavailable", err, last)
	}
}

// The operator can tell whom the application has refused.
func TestTheLogNamesTheUserWhomTheApplicationRefuses(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{"with a message": &logtogin.RefusalError{Message: "no"}, "by an error": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				cfg.OnSignedIn = func(*gin.Context, *logtogin.SignInResult) error { return refusal }
			})
			newBrowser(t).signIn(app.url+"/profile", alice())
			if !strings.Contains(app.log.String(), "sub="+idOf(t, logto, "alice")) {
				t.Errorf("got %s", app.log)
			}
		})
	}
}

// A session that begins after a revocation by a clock that is ahead is ended by the next one, whatever clock that has.
func TestARevocationAfterALaterSignInEndsIt(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(app *application, b *browser) error{
		"of the user":    func(app *application, _ *browser) error { return app.auth.RevokeUser(t.Context(), aliceID) },
		"of the session": func(app *application, b *browser) error { return app.auth.RevokeSession(t.Context(), b.sidOf(app)) },
		"of the others": func(app *application, _ *browser) error {
			here := newBrowser(t)
			here.signIn(app.url+"/profile", alice())
			if answer := send(t, http.MethodPost, app.url+"/others", here.ours(app), nil); answer.status != http.StatusOK {
				return errors.New(answer.body)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			state := newCommonState()
			setUp := func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state }
			slow := told(t, logto, setUp)
			slow.revokeOthers()
			fast := told(t, logto, func(cfg *logtogin.Config) {
				setUp(cfg)
				cfg.BaseURL = slow.url
				cfg.Now = func() time.Time { return now.Now().Add(25 * time.Second) }
			})
			if err := fast.auth.RevokeUser(t.Context(), aliceID); err != nil {
				t.Fatal(err)
			}
			now.advance(time.Second)
			b := newBrowser(t)
			b.signIn(slow.url+"/profile", alice())
			now.advance(10 * time.Second)
			if err := revoke(slow, b); err != nil {
				t.Fatal(err)
			}
			now.advance(time.Second)
			for name, app := range map[string]*application{"here": slow, "at the other instance": fast} {
				if signedInWith(t, app, b.ours(slow)...) {
					t.Errorf("%s the session goes on", name)
				}
			}
		})
	}
}

// Two sign-ins just after a revocation are two sessions: the callback of the first one still leads on.
func TestSessionsAfterARevocationCanBeToldApart(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	now.advance(5 * time.Second)
	callback := b.signInUntilCallback(app, alice())
	b.keepGoing()
	b.get(callback.String())
	now.advance(3 * time.Minute)
	if shown := b.get(callback.String()); shown.status != http.StatusOK {
		t.Errorf("got %d %s", shown.status, shown.url)
	}
}

// Tokens that Logto issues just after a revocation are refused, but not for as long as they last.
func TestTokensAfterARevocationAreRenewed(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	app.router.GET("/api", app.auth.Bearer(ordersAPI), func(*gin.Context) {})
	if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	now.advance(10 * time.Second)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	call := func() int {
		token, _ := b.token(app, map[string][]string{"resource": {ordersAPI}})
		return send(t, http.MethodGet, app.url+"/api", nil, bearerHeader(token.Value)).status
	}
	if status := call(); status != http.StatusUnauthorized {
		t.Errorf("at once: got %d, want 401", status)
	}
	now.advance(25 * time.Second)
	if status := call(); status != http.StatusOK {
		t.Errorf("after half of ClockSkew: got %d, want 200", status)
	}
}
