package logtogin_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// ledTo is where a guard leads, which is not visited.
func (b *browser) ledTo(app *application, page string) string {
	b.t.Helper()
	b.stopAt(app.url + "/sign-in")
	led := b.get(app.url + page).header.Get("Location")
	b.keepGoing()
	return app.url + led
}

// What a guard has sealed does not make another path of the address a safe one.
func TestAStartLeadsToNoPathThatIsNotSafe(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	b := newBrowser(t)
	start := b.ledTo(app, "/profile")
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	for _, paths := range badReturnPaths {
		for _, path := range paths {
			address := app.url + "/sign-in?return_to=" + url.QueryEscape(path) + start[strings.Index(start, "&attempt="):]
			shown := send(t, http.MethodGet, address, b.ours(app), nil)
			if shown.header.Get("Location") != "/" {
				t.Errorf("%q leads to %d %q", path, shown.status, shown.header.Get("Location"))
			}
		}
	}
}

func TestASessionThatIsThereByThenNeedsNoSignIn(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		b := newBrowser(t)
		started := b.ledTo(app, "/profile?1")
		now.advance(time.Second)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		before := sessionCookie(t, b, app)
		late := newBrowser(t) // the request of a second tab left before the session was there
		now.advance(50 * time.Millisecond)
		second := late.ledTo(app, "/profile?2")
		b.plant(app, late.attempts(app))
		logto.ResetCalls()
		for page, address := range map[string]string{"/profile?1": started, "/profile?2": second} {
			if shown := b.get(address); shown.url.RequestURI() != page || shown.status != http.StatusOK {
				t.Errorf("%s arrives at %d %s", page, shown.status, shown.url)
			}
		}
		if calls := logto.Calls(); calls.Authorization != 0 || sessionCookie(t, b, app).Value != before.Value || len(b.attempts(app)) != 0 {
			t.Errorf("got %+v and the cookies %v, want no sign-in", calls, b.ours(app))
		}
	})
}

// A user who signs in once more gets what is new about the account.
func TestASignInByALinkReplacesTheSession(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		user := logtotest.DefaultUser()
		user.Username, user.ID = "dora", ""
		user = logto.AddUser(user)
		now, change := withClock(logto)
		app := start(func(cfg *logtogin.Config) { change(cfg); cfg.IdleTimeout = 5 * time.Minute })
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", user)
		before := sessionCookie(t, b, app)
		callback := b.untilCallback(app, app.url+"/sign-in")
		now.advance(40 * time.Second)
		b.get(app.url + "/profile") // which renews the session
		b.get(callback)
		if after := sessionCookie(t, b, app); after.Value == before.Value || signedInWith(t, app, before) {
			t.Error("the session from before goes on")
		}
	})
}

func TestTheSignInRouteSaysWhatIsDown(t *testing.T) {
	t.Parallel()
	t.Run("Logto, to each tab", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		logto.Misbehave(faults.Down)
		b := newBrowser(t)
		for range 3 {
			if shown := b.get(app.url + "/profile"); shown.status != http.StatusServiceUnavailable || len(b.attempts(app)) > 0 {
				t.Errorf("%d %s with %v", shown.status, shown.url, b.attempts(app))
			}
		}
	})
	t.Run("the store", func(t *testing.T) {
		t.Parallel()
		store := newServerStore()
		app := inStore(t, logtotest.NewServer(t), store, nil)
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		led := newBrowser(t).ledTo(app, "/profile")
		store.down = errors.New("down")
		if shown := b.get(led); shown.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", shown.status, shown.url)
		}
	})
}

// Nobody has to sign in because a store is down.
func TestThePageOfAnOutageOffersAnotherTry(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	store.down = errors.New("down")
	form := b.header.Clone()
	form.Set("Referer", app.url+"/form?a=b")
	for name, test := range map[string]struct {
		method, path string
		header       http.Header
		offered      string
	}{
		"a page":                   {http.MethodGet, "/profile?x=1", nil, `/profile?x=1">Try again<`},
		"a form":                   {http.MethodPost, "/profile", form, `/form?a=b">Try again<`},
		"a form of unknown origin": {http.MethodPost, "/profile", nil, `/">Go to the start page<`},
	} {
		shown := send(t, test.method, app.url+test.path, b.ours(app), test.header)
		if shown.status != http.StatusServiceUnavailable || !strings.Contains(shown.body, `href="`+test.offered) || strings.Count(shown.body, "href=") != 1 {
			t.Errorf("%s: got %d %s, want 503 with %s", name, shown.status, shown.body, test.offered)
		}
	}
}

func TestAnAgeBehindAnInnerEngineGoesInNoCircles(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	outer := gin.New()
	outer.Use(app.auth.Guard(logtogin.MaxAge(5 * time.Minute)))
	outer.NoRoute(gin.WrapH(app.router))
	app.server.Handler = outer
	b := newBrowser(t)
	if shown := b.get(app.url + "/profile"); shown.status != http.StatusInternalServerError || len(b.visited) > 3 {
		t.Errorf("%d %s after %q", shown.status, shown.url, b.visited)
	}
	if !strings.Contains(app.log.String(), "put the guard on the engine with the routes") {
		t.Errorf("%s", app.log)
	}
}

// The guard sees a cookie that the sign-in route is not sent.
func TestAnOlderSessionUnderAPathGoesInNoCircles(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		app.guarded("/recent", logtogin.MaxAge(time.Minute))
		other, b := newBrowser(t), newBrowser(t)
		other.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		planted := *sessionCookie(t, other, app)
		now.advance(10 * time.Second)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		planted.Path = "/recent"
		b.plant(app, []*http.Cookie{&planted})
		now.advance(5 * time.Minute)
		b.visited = nil
		if shown := b.get(app.url + "/recent"); !isForm(shown) || len(b.visited) > 5 {
			t.Errorf("it ends at %d %s after %d requests", shown.status, shown.url, len(b.visited))
		}
	})
}

// A page that is loaded in advance has offered nothing to its user.
func TestAPrefetchIsNoOffer(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	app.router.GET("/token", app.auth.Guard(), func(c *gin.Context) { app.auth.Refuse(c, logtogin.ErrTokenExpired) })
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	now.advance(time.Minute)
	send(t, http.MethodGet, app.url+"/token", b.ours(app), http.Header{"Sec-Purpose": {"prefetch"}})
	now.advance(5 * time.Second)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	b.stopAt(app.url + "/sign-in")
	if shown := b.get(app.url + "/token"); shown.status != http.StatusFound {
		t.Errorf("%d %s", shown.status, shown.body)
	}
}

// htmx loads parts of a page, also where browsers send no Fetch Metadata.
func TestAPartOfAPageLeadsToItsPage(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	app.guarded("/recent", logtogin.MaxAge(time.Minute))
	b := newBrowser(t)
	for _, who := range []string{"a visitor", "a user"} {
		for _, path := range []string{"/profile", "/recent"} {
			if who == "a user" && path == "/profile" {
				b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
				now.advance(time.Hour)
				continue
			}
			shown := send(t, http.MethodGet, app.url+path, b.ours(app), http.Header{
				"Hx-Request": {"true"}, "Hx-Current-Url": {app.url + "/profile?page"}, "Accept": {"text/html"}, "Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil,
			})
			led := shown.header.Get("HX-Redirect")
			if challenge := shown.header.Get("WWW-Authenticate"); (challenge != "") != (who == "a user") {
				t.Errorf("%s at %s: the challenge is %q", who, path, challenge)
			}
			if shown.status != http.StatusUnauthorized || withoutAttempt(led) != "/sign-in?return_to=%2Fprofile%3Fpage" || slices.ContainsFunc(setCookies(shown), isAttempt) {
				t.Errorf("%s at %s: %d %v", who, path, shown.status, shown.header)
				continue
			}
			b.stopAt(logto.Endpoint())
			request, err := url.Parse(b.get(app.url + led).header.Get("Location"))
			b.keepGoing()
			if err != nil || request.Query().Has("max_age") != (path == "/recent") || strings.HasPrefix(request.Query().Get("prompt"), "login") != (who == "a user") {
				t.Errorf("%s at %s: Logto is asked by %s", who, path, request)
			}
			b = newBrowser(t)
		}
	}
}

// A tab that has waited asks Logto for all that its guard wants.
func TestATabThatHasWaitedSignsInAsTheGuardHasAsked(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	app.guarded("/recent", logtogin.MaxAge(time.Minute))
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	now.advance(time.Hour)
	b.get(app.url + "/recent?1")
	shown := b.get(app.url + "/recent?2")
	if !waits(shown) || !waits(b.refresh(shown)) {
		t.Fatalf("the second tab shows %s", shown.url)
	}
	b.stopAt(logto.Endpoint())
	for what, follow := range map[string]func(page) page{"insists": b.insist, "has waited for ten minutes": func(shown page) page {
		now.advance(10 * time.Minute)
		return b.refresh(shown)
	}} {
		request, err := url.Parse(follow(shown).header.Get("Location"))
		if err != nil || request.Query().Get("max_age") != "60" || request.Query().Get("prompt") != "login consent" {
			t.Errorf("a user who %s: Logto is asked by %s", what, request)
		}
	}
}

// Logto's pages open in no frame, so nobody waits for one.
func TestNobodyWaitsForAFrame(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	b := newBrowser(t)
	b.header.Set("Sec-Fetch-Dest", "iframe")
	b.get(app.url + "/profile")
	b.header.Set("Sec-Fetch-Dest", "document")
	if shown := b.get(app.url + "/profile"); !isForm(shown) {
		t.Errorf("%s", shown.url)
	}
}

// The page of a callback route of the application's own knows the way, too.
func TestTheButtonOfAnOwnCallbackKnowsTheWay(t *testing.T) {
	t.Parallel()
	for _, isAbsolute := range []bool{false, true} {
		app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
			cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/welcome"
			if isAbsolute {
				cfg.SignInDefaults.RedirectURI = cfg.BaseURL + "/welcome"
			}
		})
		app.router.GET("/welcome", func(c *gin.Context) {
			if _, err := app.auth.HandleCallback(c); err != nil {
				app.auth.Refuse(c, err)
			}
		})
		b := newBrowser(t)
		b.stopAt(app.url + "/welcome")
		callback := b.signIn(app.url+"/profile?wanted", logtotest.DefaultUser()).header.Get("Location")
		for what, test := range map[string]struct{ address, way string }{
			"in another browser": {callback, "/sign-in?return_to=%2Fprofile%3Fwanted"},
			"with nothing":       {app.url + "/welcome", "/sign-in"},
			"with a wrong state": {app.url + "/welcome?code=x&state=y", "/sign-in"},
		} {
			if shown := newBrowser(t).get(test.address); shown.status != http.StatusBadRequest || !strings.Contains(shown.body, `href="`+test.way+`"`) {
				t.Errorf("%s: %d %s", what, shown.status, shown.body)
			}
		}
	}
}
