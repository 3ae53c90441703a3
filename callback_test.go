package logtogin_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// untilCallback signs in at an address and returns the callback, which is not visited.
func (b *browser) untilCallback(app *application, address string) string {
	b.t.Helper()
	b.stopAt(app.url + "/callback")
	shown := b.signIn(address, logtotest.DefaultUser())
	b.keepGoing()
	callback := shown.header.Get("Location")
	if !strings.Contains(callback, "code=") {
		b.t.Fatalf("no callback: %d %s %s", shown.status, shown.url, shown.body)
	}
	return callback
}

// A callback without its attempt goes on to the page of its state, but only if that cannot lead to
// anything that the user would not have otherwise.
func TestACallbackWithoutItsAttemptLeadsToItsPageIfTheUserHasSignedInSince(t *testing.T) {
	t.Parallel()
	const wanted = "/profile?wanted"
	change := func(callback string, change func(url.Values)) string {
		u, err := url.Parse(callback)
		if err != nil {
			t.Fatal(err)
		}
		query := u.Query()
		change(query)
		u.RawQuery = query.Encode()
		return u.String()
	}
	for name, test := range map[string]struct {
		options logtogin.SignInOptions
		visit   func(app *application, b *browser, now *clock, callback string) page
		resumes bool
	}{
		"a reload": {visit: func(_ *application, b *browser, _ *clock, callback string) page {
			b.get(callback)
			return b.get(callback)
		}, resumes: true},
		"a reload after hours": {visit: func(_ *application, b *browser, now *clock, callback string) page {
			b.get(callback)
			now.advance(23 * time.Hour)
			return b.get(callback)
		}, resumes: true},
		"the user has signed in in another tab, and the cookie has gone": {visit: func(app *application, b *browser, now *clock, callback string) page {
			attempt := b.attempts(app)[0]
			now.advance(2 * time.Minute)
			b.plant(app, []*http.Cookie{{Name: attempt.Name, MaxAge: -1}})
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			return b.get(callback)
		}, resumes: true},
		"an hour later, with the cookie": {visit: func(app *application, b *browser, now *clock, callback string) page {
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			now.advance(61 * time.Minute)
			return b.get(callback)
		}, resumes: true},
		"a day later": {visit: func(_ *application, b *browser, now *clock, callback string) page {
			b.get(callback)
			now.advance(24 * time.Hour)
			return b.get(callback)
		}},
		"the session is older than the sign-in": {visit: func(app *application, b *browser, now *clock, _ string) page {
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			now.advance(2 * time.Minute)
			callback := b.untilCallback(app, app.url+"/sign-in?return_to="+url.QueryEscape(wanted))
			b.plant(app, []*http.Cookie{{Name: b.attempts(app)[1].Name, MaxAge: -1}, {Name: b.attempts(app)[0].Name, MaxAge: -1}})
			return b.get(callback)
		}},
		"the session is as old as clocks may differ": {visit: func(app *application, b *browser, now *clock, _ string) page {
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			now.advance(10 * time.Second)
			session := sessionCookie(t, b, app)
			callback := b.untilCallback(app, app.url+"/sign-in?return_to="+url.QueryEscape(wanted))
			return send(t, http.MethodGet, callback, []*http.Cookie{session}, nil)
		}},
		"without a session": {visit: func(app *application, b *browser, _ *clock, callback string) page {
			b.plant(app, []*http.Cookie{{Name: b.attempts(app)[0].Name, MaxAge: -1}})
			return b.get(callback)
		}},
		"after a sign-out": {visit: func(app *application, b *browser, _ *clock, callback string) page {
			b.get(callback)
			b.get(app.url + "/sign-out")
			return b.get(callback)
		}},
		"in another browser": {visit: func(app *application, _ *browser, _ *clock, callback string) page {
			return newBrowser(t).get(callback)
		}},
		"without a code": {visit: func(_ *application, b *browser, _ *clock, callback string) page {
			b.get(callback)
			return b.get(change(callback, func(query url.Values) { query.Del("code") }))
		}},
		"with an error": {visit: func(_ *application, b *browser, _ *clock, callback string) page {
			b.get(callback)
			return b.get(change(callback, func(query url.Values) { query.Del("code"); query.Set("error", "access_denied") }))
		}},
		"with a changed state": {visit: func(_ *application, b *browser, _ *clock, callback string) page {
			b.get(callback)
			return b.get(change(callback, func(query url.Values) { query.Set("state", query.Get("state")[1:]) }))
		}},
		"of a sign-in that had to authenticate": {options: logtogin.SignInOptions{MaxAge: time.Hour}, visit: func(_ *application, b *browser, _ *clock, callback string) page {
			b.get(callback)
			return b.get(callback)
		}},
		"of a sign-in with a login prompt": {options: logtogin.SignInOptions{Prompt: logtogin.PromptLoginConsent}, visit: func(_ *application, b *browser, _ *clock, callback string) page {
			b.get(callback)
			return b.get(callback)
		}},
		"of a sign-in of a certain user": {options: logtogin.SignInOptions{LoginHint: "alice"}, visit: func(_ *application, b *browser, _ *clock, callback string) page {
			b.get(callback)
			return b.get(callback)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			now, withNow := withClock(logto)
			app := newApplication(t, logto, withNow)
			app.router.GET("/start", func(c *gin.Context) {
				test.options.ReturnTo = c.Query("return_to")
				app.auth.SignIn(c, test.options)
			})
			b := newBrowser(t)
			callback := b.untilCallback(app, app.url+"/start?return_to="+url.QueryEscape(wanted))
			shown := test.visit(app, b, now, callback)
			switch {
			case test.resumes && (shown.status != http.StatusOK || shown.url.RequestURI() != wanted):
				t.Errorf("it leads to %d %s: %s", shown.status, shown.url, shown.body)
			case !test.resumes && (shown.status != http.StatusBadRequest || len(setCookies(shown)) > 0):
				t.Errorf("it is answered %d %s", shown.status, shown.url)
			case !test.resumes && name != "with a changed state" && !strings.Contains(shown.body, `href="/sign-in?return_to=%2Fprofile%3Fwanted"`):
				t.Errorf("the page does not know the way: %s", shown.body)
			}
		})
	}
}

// Both redeem their codes, and pages that are under way with the session of the first one stay good.
func TestCallbacksThatCrossShareASession(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		var resumed []bool
		app := start(change)
		app.router.GET("/own", func(c *gin.Context) {
			result, err := app.auth.HandleCallback(c)
			if err != nil {
				app.auth.Refuse(c, err)
				return
			}
			resumed = append(resumed, result.Resumed)
			c.Redirect(http.StatusFound, result.ReturnTo)
		})
		app.router.GET("/start", func(c *gin.Context) {
			app.auth.SignIn(c, logtogin.SignInOptions{ReturnTo: c.Query("return_to"), RedirectURI: "/own"})
		})
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser()) // a session from before, which both replace
		old := sessionCookie(t, b, app)
		now.advance(time.Minute)
		until := func(page string) string {
			b.stopAt(app.url + "/own")
			callback := b.get(app.url + "/start?return_to=" + page).header.Get("Location")
			b.keepGoing()
			return callback
		}
		one, two := until("/profile?1"), until("/profile?2")
		now.advance(time.Second)
		logto.ResetCalls()
		if shown := b.get(one); shown.url.RequestURI() != "/profile?1" {
			t.Fatalf("the first tab arrives at %s: %s", shown.url, shown.body)
		}
		first, session := b.ours(app), sessionCookie(t, b, app)
		if signedInWith(t, app, old) {
			t.Error("the session from before lives on")
		}
		if shown := b.get(two); shown.url.RequestURI() != "/profile?2" {
			t.Fatalf("the second tab arrives at %s: %s", shown.url, shown.body)
		}
		if sessionCookie(t, b, app).Value != session.Value {
			t.Error("the second callback changes the session")
		}
		if calls := logto.Calls(); calls.Token != 2 || calls.Revocation != 0 {
			t.Errorf("got %+v, want two codes redeemed and nothing revoked", calls)
		}
		for what, cookies := range map[string][]*http.Cookie{"of the first callback": first, "of the second callback": b.ours(app)} {
			if !signedInWith(t, app, cookies...) {
				t.Errorf("a request with the cookies %s is a visitor's", what)
			}
		}
		if app.inStore() {
			if records := app.store.values(t); len(records) != 1 {
				t.Errorf("%d records", len(records))
			}
		}
		for range 2 {
			b.get(two)
		}
		if !slices.Equal(resumed, []bool{false, true, true, true}) {
			t.Errorf("got %v", resumed)
		}
		// The session can be refreshed.
		now.advance(61 * time.Minute)
		if shown := b.get(app.url + "/profile"); shown.status != http.StatusOK || logto.Calls().Token != 3 {
			t.Errorf("%d %s, %d token calls", shown.status, shown.url, logto.Calls().Token)
		}
		// A sign-out ends the session for both.
		b.get(app.url + "/sign-out")
		if signedInWith(t, app, first...) {
			t.Error("the session of the first callback outlives the sign-out")
		}
	})
}

// Who has copied the cookie of a session has not authenticated again when the user does.
func TestACallbackThatHadToAuthenticateReplacesAParallelSession(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		app.guarded("/recent", logtogin.MaxAge(10*time.Minute))
		b := newBrowser(t)
		b.stopAt(logto.Endpoint())
		stepUp := b.get(app.url + "/recent").header.Get("Location")
		b.keepGoing()
		now.advance(time.Second)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		copied := sessionCookie(t, b, app)
		now.advance(30 * time.Minute)
		if shown := b.enter(b.get(stepUp), logtotest.DefaultUser()); shown.url.Path != "/recent" {
			t.Fatalf("%d %s", shown.status, shown.url)
		}
		if shown := send(t, http.MethodGet, app.url+"/recent", []*http.Cookie{copied}, http.Header{"Accept": {"application/json"}}); shown.status != http.StatusUnauthorized {
			t.Errorf("the copied cookie is answered %d", shown.status)
		}
	})
}

// A sign-in without a refresh token leaves a session that has one as it is: nothing would tell otherwise
// that the user was deleted.
func TestAParallelSignInWithoutARefreshTokenChangesNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		app.router.GET("/start", func(c *gin.Context) { app.auth.SignIn(c, logtogin.SignInOptions{Prompt: logtogin.PromptOmit}) })
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		callback := b.untilCallback(app, app.url+"/start")
		now.advance(time.Second)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		b.get(callback)
		logto.DeleteUser(logtotest.DefaultUser().Username)
		now.advance(24 * time.Hour)
		if b.isSignedIn(app) {
			t.Error("a user who was deleted is signed in")
		}
	})
}

// A hook may lose the session that another tab has begun. What was redeemed is good then.
func TestAParallelSessionThatIsLostDuringTheHookIsReplaced(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*serverStore, *clock){
		"it idles out":            func(_ *serverStore, now *clock) { now.advance(11 * time.Second) },
		"the store has lost it":   func(store *serverStore, _ *clock) { store.set(func() { clear(store.records) }) },
		"nothing happens with it": func(*serverStore, *clock) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, logto := newServerStore(), withAPIs(t)
			now, change := withClock(logto, forAPIs)
			var app *application
			isSecond := false
			app = inStore(t, logto, store, func(cfg *logtogin.Config) {
				change(cfg)
				cfg.IdleTimeout = 10 * time.Second
				cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
					if isSecond {
						lose(store, now)
						_, _ = app.auth.AccessToken(c, logtogin.Resource(ordersAPI))
					}
					return nil
				}
			})
			b := newBrowser(t)
			callback := b.untilCallback(app, app.url+"/sign-in?return_to=/profile")
			now.advance(time.Second)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			isSecond = true
			if shown := b.get(callback); shown.status != http.StatusOK || shown.url.Path != "/profile" {
				t.Errorf("%d %s %s", shown.status, shown.url, app.log)
			}
		})
	}
}

// No tab is parallel to a sign-in that comes later, or that asks for more.
func TestASignInThatNoTabIsParallelToReplacesTheSession(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options logtogin.SignInOptions
		later   time.Duration
	}{
		"a minute later":         {later: time.Minute},
		"with a stronger method": {options: logtogin.SignInOptions{ExtraParams: map[string]string{"acr_values": "mfa"}}, later: time.Second},
		"of a certain user":      {options: logtogin.SignInOptions{LoginHint: "alice"}, later: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
				now, change := withClock(logto)
				app := start(change)
				app.router.GET("/link", func(c *gin.Context) {
					address, err := app.auth.SignInURL(c, test.options)
					if err != nil {
						t.Error(err)
					}
					c.String(http.StatusOK, address)
				})
				b := newBrowser(t)
				address := b.get(app.url + "/link").body
				b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
				before := sessionCookie(t, b, app)
				now.advance(test.later)
				b.get(address)
				if sessionCookie(t, b, app).Value == before.Value || signedInWith(t, app, before) {
					t.Error("the session from before goes on")
				}
			})
		})
	}
}

// Only the same user's session goes on.
func TestACallbackOfAnotherUserReplacesTheSession(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"})
		now, change := withClock(logto)
		app := start(change)
		b, bobs := newBrowser(t), newBrowser(t)
		bobs.get(app.url + "/")
		ofBob := bobs.get(app.url + "/sign-in") // bob fills in a form in the same browser
		now.advance(time.Second)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		ofAlice := b.ours(app)
		bobs.stopAt(app.url + "/callback")
		callback := bobs.enter(ofBob, bob).header.Get("Location")
		b.plant(app, bobs.attempts(app))
		if shown := b.get(callback); shown.body != "signed in as bob" {
			t.Errorf("%d %s", shown.status, shown.body)
		}
		if signedInWith(t, app, ofAlice...) {
			t.Error("alice's session lives on")
		}
	})
}

// One attempt, two callbacks at the same moment, at two instances with a shared state.
func TestOneAttemptAtTwoInstancesIsOneSession(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	state := newCommonState()
	shared := func(cfg *logtogin.Config) { cfg.SharedState, cfg.Secrets = state, []string{strings.Repeat("s", 32)} }
	one := newApplication(t, logto, shared)
	two := newApplication(t, logto, func(cfg *logtogin.Config) { shared(cfg); cfg.BaseURL = one.url })
	b := newBrowser(t)
	callback := b.signInUntilCallback(one, logtotest.DefaultUser())
	cookies := header(b.ours(one)...)
	var all sync.WaitGroup
	answers := make([]*httptest.ResponseRecorder, 6)
	for i := range answers {
		app := []*application{one, two}[i%2]
		all.Go(func() { answers[i] = app.ask(callback.RequestURI(), cookies) })
	}
	all.Wait()
	if calls := logto.Calls(); calls.Token != 1 {
		t.Errorf("%d token calls", calls.Token)
	}
	for i, w := range answers {
		set := (&http.Response{Header: w.Header()}).Cookies()
		if w.Code != http.StatusFound || !signedInWith(t, two, set...) {
			t.Errorf("answer %d is %d with %v", i, w.Code, set)
		}
	}
}

// The user has left a page with a link open, and signs in when it is too late.
func TestALinkThatIsFollowedTooLateEndsOnAPageThatKnowsTheWay(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{61 * time.Minute, 25 * time.Hour} {
		logto := logtotest.NewServer(t)
		now, change := withClock(logto)
		app := newApplication(t, logto, change)
		app.router.GET("/link", func(c *gin.Context) {
			address, err := app.auth.SignInURL(c, logtogin.SignInOptions{ReturnTo: "/profile?wanted"})
			if err != nil {
				t.Error(err)
			}
			c.String(http.StatusOK, address)
		})
		b := newBrowser(t)
		address := b.get(app.url + "/link").body
		now.advance(late)
		shown := b.signIn(address, logtotest.DefaultUser())
		if shown.status != http.StatusBadRequest || !strings.Contains(shown.body, `href="/sign-in?return_to=%2Fprofile%3Fwanted"`) {
			t.Errorf("after %s: %d %s", late, shown.status, shown.body)
		}
		if arrived := b.signIn(app.url+"/sign-in?return_to=%2Fprofile%3Fwanted", logtotest.DefaultUser()); arrived.url.RequestURI() != "/profile?wanted" {
			t.Errorf("after %s the button leads to %s", late, arrived.url)
		}
	}
}

// A deep link of 2,000 bytes survives the whole way.
func TestALongDeepLinkSurvives(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	for _, part := range []string{"a", "%26", "/"} {
		wanted := "/profile?q=" + strings.Repeat(part, 1_989/len(part))
		b := newBrowser(t)
		if shown := b.signIn(app.url+wanted, logtotest.DefaultUser()); shown.status != http.StatusOK || shown.url.RequestURI() != wanted {
			t.Errorf("of %q: it arrives at %d %s", part, shown.status, shown.url)
		}
		for _, visited := range b.visited {
			if len(visited) > 8_000 {
				t.Errorf("of %q: an address of %d bytes: %.60s", part, len(visited), visited)
			}
		}
	}
}
