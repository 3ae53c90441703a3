package logtogin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// two are two instances of an application that Logto tells of sign-outs.
func two(t *testing.T, logto *logtotest.Server, change func(*logtogin.Config)) [2]*application {
	t.Helper()
	var apps [2]*application
	for i := range apps {
		apps[i] = told(t, logto, func(cfg *logtogin.Config) {
			change(cfg)
			if i > 0 {
				cfg.BaseURL = apps[0].url
			}
		})
		apps[i].router.GET("/api", apps[i].auth.Bearer(ordersAPI), func(*gin.Context) {})
	}
	return apps
}

// What one instance learns the others know after a second at the latest, and ask for it
// once in half a second at most.
func TestInstancesLearnOfRevocationsWithinASecond(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(app *application, logto *logtotest.Server, b *browser){
		"a logout token": func(app *application, logto *logtotest.Server, _ *browser) {
			if answer := app.logoutToken(tokenFor(app.t, logto, aliceID, "")); answer.status != http.StatusOK {
				app.t.Errorf("%d %s", answer.status, answer.body)
			}
		},
		"a user is revoked": func(app *application, _ *logtotest.Server, _ *browser) {
			if err := app.auth.RevokeUser(app.t.Context(), aliceID); err != nil {
				app.t.Error(err)
			}
		},
		"a webhook": func(app *application, logto *logtotest.Server, _ *browser) {
			logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhook", SigningKey: "key"})
			logto.SuspendUser(aliceID, true)
		},
		"a sign-out with a copy of the cookie": func(app *application, _ *logtotest.Server, b *browser) {
			send(app.t, http.MethodGet, app.url+"/sign-out", b.ours(app), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWaysShared(t, func(t *testing.T, logto *logtotest.Server, now *clock, state *commonState, apps [2]*application) {
				apps[1].router.POST("/webhook", apps[1].auth.WebhookHandler("key"))
				b := newBrowser(t)
				b.signIn(apps[0].url+"/profile", alice())
				cookies := b.ours(apps[0])
				if !signedInWith(t, apps[0], cookies...) || !signedInWith(t, apps[1], cookies...) {
					t.Fatal("not signed in")
				}
				now.advance(time.Second)
				revoke(apps[1], logto, b)
				if signedInWith(t, apps[1], cookies...) {
					t.Error("where it was revoked it goes on")
				}
				now.advance(time.Second)
				if signedInWith(t, apps[0], cookies...) {
					t.Error("at the other instance it goes on")
				}
				before := state.reads()
				for range 20 {
					signedInWith(t, apps[0], cookies...)
				}
				if reads := state.reads() - before; reads > 0 {
					t.Errorf("%d reads in no time", reads)
				}
			})
		})
	}
}

// bothWaysShared is bothWays for two instances with a shared state.
func bothWaysShared(t *testing.T, test func(t *testing.T, logto *logtotest.Server, now *clock, state *commonState, apps [2]*application)) {
	t.Helper()
	for name, store := range map[string]func() *serverStore{"in cookies": nil, "in a store": newServerStore} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			state := newCommonState()
			var shared *serverStore
			if store != nil {
				shared = store()
			}
			test(t, logto, now, state, two(t, logto, func(cfg *logtogin.Config) {
				change(cfg)
				cfg.SharedState = state
				if shared != nil {
					cfg.Store = shared
				}
			}))
		})
	}
}

func (s *commonState) reads() (count int) {
	s.set(func() { count = s.readings })
	return count
}

// What an instance learns at its start: everything that is still in force.
func TestAnInstanceThatStartsLearnsWhatWasRevokedBefore(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	shared := func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state }
	app := told(t, logto, shared)
	b, out := newBrowser(t), newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	out.signIn(app.url+"/profile", alice())
	cookies, signedOut := b.ours(app), out.ours(app)
	token := logto.AccessToken(alice(), ordersAPI)
	out.get(app.url + "/sign-out")
	now.advance(time.Second)
	for range 2500 { // more than are read at a time
		if err := app.auth.RevokeUser(t.Context(), "somebody else"); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	logout := tokenFor(t, logto, aliceID, "")
	if answer := app.logoutToken(logout); answer.status != http.StatusOK {
		t.Fatal(answer.status)
	}
	now.advance(time.Minute)
	restarted := told(t, logto, func(cfg *logtogin.Config) { shared(cfg); cfg.BaseURL = app.url })
	restarted.router.GET("/api", restarted.auth.Bearer(ordersAPI), func(*gin.Context) {})
	if signedInWith(t, restarted, cookies...) || signedInWith(t, restarted, signedOut...) {
		t.Error("a session is back")
	}
	if page := send(t, http.MethodGet, restarted.url+"/api", nil, http.Header{"Authorization": {"Bearer " + token}}); page.status != http.StatusUnauthorized {
		t.Errorf("a token is back: %d", page.status)
	}
	if answer := restarted.logoutToken(logout); answer.status != http.StatusBadRequest {
		t.Errorf("a logout token works again: %d", answer.status)
	}
}

// What an instance has read it does not read again, also after an outage.
func TestALogIsReadOnce(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	app := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state })
	for range 1500 {
		if err := app.auth.RevokeUser(t.Context(), "somebody"); err != nil {
			t.Fatal(err)
		}
	}
	other := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState, cfg.BaseURL = state, app.url })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	cookies := b.ours(app)
	read := func() int {
		t.Helper()
		before := state.entriesRead()
		now.advance(time.Second)
		if !signedInWith(t, other, cookies...) {
			t.Error("signed out")
		}
		return state.entriesRead() - before
	}
	// And one more: the first instance had told something before it knew the log, and has told it again.
	if entries := read(); entries != 1501 {
		t.Errorf("at first: %d entries", entries)
	}
	if entries := read(); entries != 0 {
		t.Errorf("then: %d entries", entries)
	}
	state.set(func() { state.down = errors.New("down") })
	read()
	state.set(func() { state.down = nil })
	if err := app.auth.RevokeUser(t.Context(), "somebody"); err != nil {
		t.Fatal(err)
	}
	before := state.entriesRead()
	eventually(t, func() bool { read(); return state.entriesRead() > before })
	if entries := state.entriesRead() - before; entries != 1 {
		t.Errorf("after an outage: %d entries", entries)
	}
}

func (s *commonState) entriesRead() (count int) {
	s.set(func() { count = s.entries })
	return count
}

// A clock that goes back keeps nobody from learning what has been ended.
func TestRevocationsAreLearntAfterAClockHasGoneBack(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	apps := two(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state })
	b := newBrowser(t)
	b.signIn(apps[0].url+"/profile", alice())
	cookies := b.ours(apps[0])
	if !signedInWith(t, apps[1], cookies...) {
		t.Fatal("not signed in")
	}
	now.advance(-time.Hour)
	send(t, http.MethodGet, apps[0].url+"/sign-out", cookies, nil)
	if signedInWith(t, apps[1], cookies...) {
		t.Error("at the other instance it goes on")
	}
}

// "Until now" includes this very moment.
func TestARevocationEndsWhatBeganAtTheSameMoment(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	_, change := withClock(logto, forAPIs)
	for name, revoke := range map[string]func(app *application, b *browser) error{
		"of the user":    func(app *application, _ *browser) error { return app.auth.RevokeUser(t.Context(), aliceID) },
		"of the session": func(app *application, b *browser) error { return app.auth.RevokeSession(t.Context(), b.sidOf(app)) },
	} {
		app := told(t, logto, change)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		if err := revoke(app, b); err != nil || b.isSignedIn(app) {
			t.Errorf("%s: signed in %v, %v", name, b.isSignedIn(app), err)
		}
	}
}

// What one instance says late, or by a clock that goes after, takes nothing back.
func TestAnOlderRevocationUndoesNoNewerOne(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hidden bool // no sid in ID tokens
		revoke func(t *testing.T, logto *logtotest.Server, app *application, sid string)
	}{
		"of a user": {false, func(t *testing.T, _ *logtotest.Server, app *application, _ string) {
			if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
				t.Error(err)
			}
		}},
		"of a session": {false, func(t *testing.T, _ *logtotest.Server, app *application, sid string) {
			if err := app.auth.RevokeSession(t.Context(), sid); err != nil {
				t.Error(err)
			}
		}},
		"by a logout token for the user": {false, func(t *testing.T, logto *logtotest.Server, app *application, _ string) {
			if answer := app.logoutToken(tokenFor(t, logto, aliceID, "")); answer.status != http.StatusOK {
				t.Errorf("%d %s", answer.status, answer.body)
			}
		}},
		"by a logout token, and sessions have no sid": {true, func(t *testing.T, logto *logtotest.Server, app *application, _ string) {
			if answer := app.logoutToken(tokenFor(t, logto, aliceID, "unknown")); answer.status != http.StatusOK {
				t.Errorf("%d %s", answer.status, answer.body)
			}
		}},
		"by a webhook": {false, func(_ *testing.T, logto *logtotest.Server, _ *application, _ string) {
			logto.SuspendUser(aliceID, true)
		}},
		"by a webhook that the user has changed": {false, func(_ *testing.T, logto *logtotest.Server, _ *application, _ string) {
			changed, _ := logto.User(aliceID)
			changed.Name = logto.Now().String() // Guard asks, and learns the rest
			logto.Intercept(logtotest.Token, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
			})
			logto.AddUser(changed)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			app := told(t, logto, change)
			app.router.POST("/webhook", app.auth.WebhookHandler("key"))
			logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhook", SigningKey: "key", Events: []string{"User.Data.Updated", "User.SuspensionStatus.Updated"}})
			if test.hidden {
				registered := logto.Application()
				registered.BackchannelLogoutSessionRequired = false
				logto.AddApplication(registered)
			}
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			cookies, sid := b.ours(app), b.sidOf(app)
			now.advance(10 * time.Second)
			test.revoke(t, logto, app, sid)
			now.advance(-20 * time.Second)
			test.revoke(t, logto, app, sid)
			now.advance(20 * time.Second)
			if page := send(t, http.MethodGet, app.url+"/profile", cookies, nil); page.status != http.StatusFound {
				t.Errorf("it goes on: %d %s", page.status, page.body)
			}
		})
	}
}

// C84: a logout token that could not be recorded is not answered 200, and works when it
// comes again. Guards go on by what they know, and catch up.
func TestASharedStateThatIsDownIsNoSecret(t *testing.T) {
	t.Parallel()
	bothWaysShared(t, func(t *testing.T, logto *logtotest.Server, now *clock, state *commonState, apps [2]*application) {
		b := newBrowser(t)
		b.signIn(apps[0].url+"/profile", alice())
		cookies := b.ours(apps[0])
		if !signedInWith(t, apps[1], cookies...) {
			t.Fatal("not signed in")
		}
		now.advance(time.Second)
		token := tokenFor(t, logto, aliceID, "")
		state.set(func() { state.down = errors.New("down") })
		if answer := apps[0].logoutToken(token); answer.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", answer.status, answer.body)
		}
		if err := apps[0].auth.RevokeUser(t.Context(), "somebody"); !errors.Is(err, logtogin.ErrStoreUnavailable) {
			t.Error(err)
		}
		now.advance(time.Second)
		for range 10 {
			if !signedInWith(t, apps[1], cookies...) {
				t.Error("the other instance cannot know")
			}
		}
		if lines := strings.Count(apps[1].log.String(), "the shared state does not work"); lines > 1 {
			t.Errorf("%d lines in the log", lines)
		}
		state.set(func() { state.down = nil })
		// After a failure the state is left alone for a moment of real time.
		eventually(t, func() bool { return apps[0].logoutToken(token).status == http.StatusOK })
		eventually(t, func() bool {
			now.advance(time.Second)
			return !signedInWith(t, apps[1], cookies...)
		})
	})
}

// eventually asks until it is so, for a minute at most.
func eventually(t *testing.T, isSo func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(time.Minute)
	for !isSo() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatal("it is not so after a minute")
		}
	}
}

// Whoever can write into the shared state can revoke nobody.
func TestEntriesOfOthersRevokeNobody(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	app := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state })
	other := told(t, logto, func(cfg *logtogin.Config) {
		change(cfg)
		cfg.SharedState, cfg.Secrets = state, []string{strings.Repeat("x", 32)}
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	now.advance(time.Second)
	if err := other.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	state.set(func() {
		for log := range state.logs {
			state.logs[log] = append(state.logs[log], "", "x", strings.Repeat("A", 200))
		}
	})
	now.advance(time.Second)
	if !b.isSignedIn(app) {
		t.Error("revoked by somebody else")
	}
	if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil || b.isSignedIn(app) {
		t.Errorf("%v, signed in %v", err, b.isSignedIn(app))
	}
}

// Of a user nothing can be read in the log, and entries are kept as long as sessions.
func TestWhatTheLogSays(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	state := newCommonState()
	app := told(t, logto, func(cfg *logtogin.Config) { cfg.SharedState, cfg.SessionLifetime = state, 50*time.Hour })
	if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	for log, entries := range state.logs {
		if len(entries) != 1 || strings.Contains(entries[0], aliceID) || strings.Contains(log, logto.AppID()) {
			t.Errorf("%s: %q", log, entries)
		}
		if lifetime := state.lifetimes[log]; lifetime != 50*time.Hour {
			t.Errorf("kept for %v", lifetime)
		}
	}
	if len(state.logs) != 1 {
		t.Errorf("%d logs", len(state.logs))
	}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	now, change := withClock(logto)
	var events []string
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		change(cfg)
		cfg.Scopes = rightsScopes
		cfg.OnWebhook = func(_ *gin.Context, event *logtogin.WebhookEvent) error {
			events = append(events, event.Event)
			if !event.Has("hookId") || event.HookID == "" || !event.CreatedAt.Equal(now.Now()) || len(event.UserIDs) != 1 {
				t.Errorf("%+v", event)
			}
			return nil
		}
	})
	app.router.POST("/webhook", app.auth.WebhookHandler("old key", "key"))
	logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhook", SigningKey: "key"})
	app.guarded("/admin", logtogin.Role("admin"))
	app.guarded("/in/:org", logtogin.InOrganization(logtogin.FromParam("org")))
	b := newBrowser(t)
	if page := b.signIn(app.url+"/admin", alice()); page.status != http.StatusOK {
		t.Fatalf("%d %s", page.status, page.body)
	}
	status := func(path string) int { return send(t, http.MethodGet, app.url+path, b.ours(app), nil).status }
	expect := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	id := idOf(t, logto, "alice")
	tokens := logto.Calls().Token

	now.advance(time.Minute)
	changed, _ := logto.User(id)
	changed.Roles = nil
	logto.AddUser(changed)
	expect("Logto tells nothing of the roles", b.get(app.url+"/admin").status, http.StatusOK)
	expect("without a call", logto.Calls().Token-tokens, 0)
	changed.Name = "Alicia"
	logto.AddUser(changed)
	expect("the role is gone with the next event", b.get(app.url+"/admin").status, http.StatusForbidden)
	expect("with one call", logto.Calls().Token-tokens, 1)
	expect("and no other", b.get(app.url+"/admin").status, http.StatusForbidden)
	expect("of Logto", logto.Calls().Token-tokens, 1)

	now.advance(time.Minute)
	expect("a member", b.get(app.url+"/in/acme").status, http.StatusOK)
	logto.SetMembership(id, "acme", nil)
	expect("a member no more", b.get(app.url+"/in/acme").status, http.StatusForbidden)

	now.advance(time.Minute)
	logto.SuspendUser(id, false) // which it was not
	expect("not suspended", status("/profile"), http.StatusOK)
	logto.SuspendUser(id, true)
	expect("suspended", status("/profile"), http.StatusFound)
	logto.SuspendUser(id, false)
	expect("the old session stays ended", status("/profile"), http.StatusFound)
	now.advance(time.Second)
	again := newBrowser(t)
	again.signIn(app.url+"/profile", alice())
	if !again.isSignedIn(app) {
		t.Error("a later sign-in has ended")
	}
	logto.DeleteUser(id)
	if again.isSignedIn(app) {
		t.Error("a deleted user goes on")
	}
	for _, want := range []string{"User.Data.Updated", "Organization.Membership.Updated", "User.SuspensionStatus.Updated", "PostSignIn", "User.Deleted"} {
		if !slices.Contains(events, want) {
			t.Errorf("%s is not among %q", want, events)
		}
	}
}

// Requests that are not Logto's, and those that come again.
func TestWebhookRequests(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto)
	var told []string
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		change(cfg)
		cfg.OnWebhook = func(_ *gin.Context, event *logtogin.WebhookEvent) error {
			told = append(told, event.Event)
			if event.Event == "Fails" {
				return errors.New("the application fails")
			}
			return nil
		}
	})
	app.router.POST("/webhook", app.auth.WebhookHandler("one", "two"))
	deleted := func(at time.Time) string {
		return `{"event":"User.Deleted","hookId":"h","createdAt":"` + at.UTC().Format("2006-01-02T15:04:05.000Z") + `","data":{"id":"` + aliceID + `"}}`
	}
	post := func(body string, signatures ...string) int {
		r, err := http.NewRequest(http.MethodPost, app.url+"/webhook", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Logto-Signature-Sha-256"] = signatures
		r.Header["Content-Type"] = []string{"application/json"}
		b := newBrowser(t)
		b.header = nil
		return b.do(r).status
	}
	signed := func(key, body string) string { return logtotest.WebhookSignature(key, body) }
	before := now.Now()
	now.advance(time.Hour)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	good, old := deleted(now.Now()), deleted(before)
	recently := now.Now().UTC().Format(time.RFC3339)
	nobody, fails := `{"event":"User.Deleted","createdAt":"`+recently+`"}`, `{"event":"Fails","createdAt":"`+recently+`"}`
	for name, test := range map[string]struct {
		body       string
		signatures []string
		status     int
	}{
		"no signature":             {good, nil, 401},
		"an empty signature":       {good, []string{""}, 401},
		"by another key":           {good, []string{signed("three", good)}, 401},
		"by an empty key":          {good, []string{signed("", good)}, 401},
		"of another body":          {good, []string{signed("one", old)}, 401},
		"not in hex":               {good, []string{"x"}, 401},
		"cut off":                  {good, []string{signed("one", good)[:32]}, 401},
		"two signatures":           {good, []string{signed("one", good), signed("one", good)}, 401},
		"an old body":              {old, []string{signed("one", old)}, 200},
		"no JSON":                  {"x", []string{signed("one", "x")}, 400},
		"a list":                   {"[]", []string{signed("one", "[]")}, 400},
		"no event":                 {`{"createdAt":"2026-01-01T00:00:00Z"}`, []string{signed("one", `{"createdAt":"2026-01-01T00:00:00Z"}`)}, 400},
		"no createdAt":             {`{"event":"User.Deleted"}`, []string{signed("two", `{"event":"User.Deleted"}`)}, 400},
		"a createdAt that is none": {`{"event":"User.Deleted","createdAt":1}`, []string{signed("two", `{"event":"User.Deleted","createdAt":1}`)}, 400},
		"two mebibytes":            {strings.Repeat(" ", 2<<20), []string{signed("one", strings.Repeat(" ", 2<<20))}, 400},
		"an event without a user":  {nobody, []string{signed("two", nobody)}, 200},
		"the application fails":    {fails, []string{signed("two", fails)}, 500},
	} {
		if status := post(test.body, test.signatures...); status != test.status {
			t.Errorf("%s: %d, want %d", name, status, test.status)
		}
		if !b.isSignedIn(app) {
			t.Fatalf("%s: the session has ended", name)
		}
	}
	if slices.Sort(told); !slices.Equal(told, []string{"Fails", "User.Deleted"}) { // not of an old one
		t.Errorf("the application was told of %q", told)
	}
	// A clock that goes before ours does not end the sign-ins of tomorrow.
	future := deleted(now.Now().Add(24 * time.Hour))
	if status := post(future, signed("two", future)); status != http.StatusOK || b.isSignedIn(app) {
		t.Errorf("%d, signed in %v", status, b.isSignedIn(app))
	}
	now.advance(2 * time.Minute)
	later := newBrowser(t)
	later.signIn(app.url+"/profile", alice())
	if !later.isSignedIn(app) {
		t.Error("a later sign-in has ended")
	}
}

// Logto's clock may go before ours or after it, by less than Config.ClockSkew.
func TestWebhooksFromAnotherClock(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"ahead": 30 * time.Second, "behind": -30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withRights(t)
			now, change := withClock(logto)
			logto.SetNow(func() time.Time { return now.Now().Add(ahead) })
			app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.Scopes = rightsScopes })
			app.router.POST("/webhook", app.auth.WebhookHandler("key"))
			logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhook", SigningKey: "key"})
			app.guarded("/admin", logtogin.Role("admin"))
			b := newBrowser(t)
			if page := b.signIn(app.url+"/admin", alice()); page.status != http.StatusOK {
				t.Fatalf("%d %s", page.status, page.body)
			}
			now.advance(10 * time.Second)
			changed, _ := logto.User("alice")
			changed.Name, changed.Roles = "Alicia", nil // of the roles alone, Logto would tell nothing
			logto.AddUser(changed)
			if page := b.get(app.url + "/admin"); page.status != http.StatusForbidden {
				t.Errorf("the role is gone: %d", page.status)
			}
			now.advance(time.Second)
			logto.SuspendUser(changed.ID, true)
			if b.isSignedIn(app) {
				t.Error("a suspended user goes on")
			}
		})
	}
}

// What is done with the keys afterwards, and what is answered: by the application, or that the
// others cannot be told, with which the application is not told either.
func TestAnswersToWebhooks(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	state := newCommonState()
	told, posted := 0, 0
	var answer func(*gin.Context)
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.SharedState = state
		cfg.OnWebhook = func(c *gin.Context, _ *logtogin.WebhookEvent) error {
			told++
			if answer != nil {
				answer(c)
			}
			return nil
		}
	})
	keys := []string{"one", "two"}
	app.router.POST("/webhook", app.auth.WebhookHandler(keys...))
	keys[0] = "stolen"
	post := func(key string) *httptest.ResponseRecorder {
		posted++
		body := fmt.Sprintf(`{"event":"Organization.Membership.Updated","createdAt":%q,"addedUserIds":["u","v"],"number":%d}`, time.Now().UTC().Format(time.RFC3339), posted)
		r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body))
		r.Header.Set("Logto-Signature-Sha-256", logtotest.WebhookSignature(key, body))
		w := httptest.NewRecorder()
		app.router.ServeHTTP(w, r)
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%v", w.Header())
		}
		return w
	}
	if w := post("stolen"); w.Code != http.StatusUnauthorized || told != 0 {
		t.Errorf("a key that was put there later: %d", w.Code)
	}
	for _, key := range []string{"one", "two"} {
		if w := post(key); w.Code != http.StatusOK {
			t.Errorf("signed by %s: %d", key, w.Code)
		}
	}
	answer = func(c *gin.Context) { c.String(http.StatusAccepted, "later") }
	if w := post("one"); w.Code != http.StatusAccepted || w.Body.String() != "later" || told != 3 {
		t.Errorf("the application has answered: %d %s, told %d times", w.Code, w.Body, told)
	}
	state.set(func() { state.down = errors.New("down") })
	if w := post("one"); w.Code != http.StatusServiceUnavailable || told != 3 {
		t.Errorf("the others cannot be told: %d, told %d times", w.Code, told)
	}
}

func TestWebhookHandlersNeedAKey(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	for name, keys := range map[string][]string{"none": nil, "an empty one": {""}, "an empty one beside another": {"key", ""}} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			app.auth.WebhookHandler(keys...)
		})
	}
}

// A user who is suspended cannot call APIs any more, with tokens that are still good.
func TestASuspensionEndsAccessTokens(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	app.router.POST("/webhook", app.auth.WebhookHandler("key"))
	app.router.GET("/api", app.auth.Bearer(ordersAPI), func(*gin.Context) {})
	logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhook", SigningKey: "key"})
	token := logto.AccessToken(alice(), ordersAPI)
	ask := func() int {
		return send(t, http.MethodGet, app.url+"/api", nil, http.Header{"Authorization": {"Bearer " + token}}).status
	}
	if status := ask(); status != http.StatusOK {
		t.Fatal(status)
	}
	logto.SuspendUser(aliceID, true)
	if status := ask(); status != http.StatusUnauthorized {
		t.Error(status)
	}
}

// Redis, frozen, and not thawed before there is an answer. Logto waits for 2.5 seconds, five
// times as long as a call to the state may take.
func TestALogoutTokenIsAnsweredWhileTheSharedStateIsFrozen(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	state := newCommonState()
	app := told(t, logto, func(cfg *logtogin.Config) { cfg.SharedState = state })
	token := tokenFor(t, logto, aliceID, "")
	thaw := make(chan struct{})
	state.set(func() { state.frozen = thaw })
	defer close(thaw)
	if status := app.logoutToken(token).status; status != http.StatusServiceUnavailable {
		t.Error(status)
	}
}

// heldState holds the reading of the log until it is let go.
type heldState struct {
	*commonState
	begun chan struct{}
	goOn  chan struct{}
}

func (s *heldState) Read(ctx context.Context, log, cursor string, limit int) ([]string, string, error) {
	if s.begun != nil && strings.HasSuffix(log, ":revocations") {
		select {
		case s.begun <- struct{}{}:
		default:
		}
		<-s.goOn
	}
	return s.commonState.Read(ctx, log, cursor, limit)
}

// That somebody has begun to read does not mean that it is known.
func TestRequestsWaitForTheReadingThatIsUnderWay(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	held := &heldState{commonState: newCommonState()}
	app := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = held })
	other := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState, cfg.BaseURL = held.commonState, app.url })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	cookies := b.ours(app)
	now.advance(time.Minute)
	if err := other.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	now.advance(10 * time.Minute)
	held.begun, held.goOn = make(chan struct{}, 1), make(chan struct{})
	answers := make(chan bool, 2)
	ask := func() { answers <- signedInWith(t, app, cookies...) }
	go ask()
	<-held.begun
	go ask()
	select {
	case signedIn := <-answers:
		t.Errorf("answered before it is known: signed in %v", signedIn)
	case <-time.After(50 * time.Millisecond): // usually enough to be wrong
	}
	close(held.goOn)
	for range 2 {
		if <-answers {
			t.Error("signed in")
		}
	}
}

// A store that all instances have in common: one signs out while another writes the record.
func TestASignOutElsewhereIsNotUndoneByARefreshHere(t *testing.T) {
	t.Parallel()
	for name, idle := range map[string]time.Duration{"a refresh": 0, "activity": 10 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			state, store := newCommonState(), newServerStore()
			apps := two(t, logto, func(cfg *logtogin.Config) {
				change(cfg)
				cfg.SharedState, cfg.Store, cfg.IdleTimeout = state, store, idle
			})
			b := newBrowser(t)
			b.signIn(apps[0].url+"/profile", alice())
			cookies := b.ours(apps[0])
			now.advance(61 * time.Minute)
			var isOut atomic.Bool
			store.set(func() {
				store.beforeSave = func() {
					if isOut.CompareAndSwap(false, true) {
						send(t, http.MethodGet, apps[1].url+"/sign-out", cookies, nil)
					}
				}
			})
			if page := send(t, http.MethodGet, apps[0].url+"/profile", cookies, nil); page.status != http.StatusFound {
				t.Errorf("the request in flight: %d %s", page.status, page.body)
			}
			if records := len(store.values(t)); records > 0 {
				t.Errorf("%d records", records)
			}
			if signedInWith(t, apps[0], cookies...) || signedInWith(t, apps[1], cookies...) {
				t.Error("signed in")
			}
		})
	}
}

// What could not be told is told later: a sign-out is none that could be said again.
func TestWhatCouldNotBeToldIsToldLater(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	apps := two(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state })
	for _, app := range apps {
		app.router.POST("/webhook", app.auth.WebhookHandler("key"))
	}
	out, b := newBrowser(t), newBrowser(t)
	out.signIn(apps[0].url+"/profile", alice())
	b.signIn(apps[0].url+"/profile", alice())
	signedOut, cookies := out.ours(apps[0]), b.ours(apps[0])
	now.advance(time.Second)
	state.set(func() { state.down = errors.New("down") })
	send(t, http.MethodGet, apps[0].url+"/sign-out", signedOut, nil)
	if answer := apps[0].logoutToken(tokenFor(t, logto, aliceID, "")); answer.status != http.StatusServiceUnavailable {
		t.Errorf("%d", answer.status)
	}
	for what, cookies := range map[string][]*http.Cookie{"signed out": signedOut, "logged out": cookies} {
		if signedInWith(t, apps[0], cookies...) {
			t.Errorf("%s, and goes on here", what)
		}
	}
	state.set(func() { state.down = nil })
	for _, cookies := range [][]*http.Cookie{signedOut, cookies} {
		eventually(t, func() bool {
			now.advance(time.Second)
			return !signedInWith(t, apps[1], cookies...)
		})
	}
}

// Instances whose clocks differ: a change is heeded once, and no sign-in to come is ended.
func TestAnInstanceWhoseClockGoesBefore(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	app := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state })
	app.tokenRoutes()
	ahead := told(t, logto, func(cfg *logtogin.Config) {
		change(cfg)
		cfg.SharedState, cfg.BaseURL = state, app.url
		cfg.Now = func() time.Time { return now.Now().Add(time.Hour) }
	})
	ahead.router.POST("/webhook", ahead.auth.WebhookHandler("key"))
	logto.AddWebhook(logtotest.Webhook{URL: ahead.url + "/webhook", SigningKey: "key", Events: []string{"User.Data.Updated"}})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	user, _ := logto.User(aliceID)
	user.Name = "Alicia"
	logto.AddUser(user)
	now.advance(time.Second)
	logto.ResetCalls()
	for range 10 {
		if _, page := b.token(app, nil); page.status != http.StatusOK {
			t.Fatalf("%d %s", page.status, page.body)
		}
		now.advance(time.Millisecond)
	}
	if calls := logto.Calls().Token; calls != 1 {
		t.Errorf("%d token calls", calls)
	}
	if err := ahead.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	now.advance(time.Second)
	if b.isSignedIn(app) {
		t.Error("the session goes on")
	}
	now.advance(2 * time.Minute)
	later := newBrowser(t)
	later.signIn(app.url+"/profile", alice())
	if !later.isSignedIn(app) {
		t.Error("a later sign-in has ended")
	}
}

// A session may be shorter than a token.
func TestARevokedTokenStaysRevoked(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto)
	app := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SessionLifetime = 15 * time.Minute })
	app.router.GET("/api", app.auth.Bearer(ordersAPI), func(*gin.Context) {})
	token := bearerHeader(logto.AccessToken(alice(), ordersAPI))
	if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if page := send(t, http.MethodGet, app.url+"/api", nil, token); page.status != http.StatusUnauthorized {
			t.Errorf("%d", page.status)
		}
		now.advance(16 * time.Minute)
	}
}

// A browser that comes back to sign in: the refresh token from before goes, because Logto's
// logout leaves it alone.
func TestARevokedSessionThatASignInReplaces(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		if answer := app.logoutToken(tokenFor(t, logto, idOf(t, logto, "alice"), "")); answer.status != http.StatusOK {
			t.Fatal(answer.status)
		}
		now.advance(time.Second)
		b.signIn(app.url+"/sign-in", alice())
		if calls := logto.Calls().Revocation; calls != 1 || !b.isSignedIn(app) {
			t.Errorf("%d revocations, signed in %v", calls, b.isSignedIn(app))
		}
	})
}
