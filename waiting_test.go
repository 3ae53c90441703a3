package logtogin_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// refresh follows the meta element of a waiting page.
func (b *browser) refresh(shown page) page {
	b.t.Helper()
	found := metaRefresh.FindStringSubmatch(shown.body)
	if found == nil {
		b.t.Fatalf("%s does not wait: %d %s", shown.url, shown.status, shown.body)
	}
	next, err := shown.url.Parse(html.UnescapeString(found[2]))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.get(next.String())
}

func waits(shown page) bool { return metaRefresh.MatchString(shown.body) }

func isForm(shown page) bool { return strings.Contains(shown.body, `name="password"`) }

// insist follows the button of a waiting page.
func (b *browser) insist(shown page) page {
	b.t.Helper()
	link := regexp.MustCompile(`href="([^"]+)">Sign in here`).FindStringSubmatch(shown.body)
	if link == nil {
		b.t.Fatalf("%s has no button: %s", shown.url, shown.body)
	}
	next, err := shown.url.Parse(html.UnescapeString(link[1]))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.get(next.String())
}

func TestATabWaitsForTheOneAtLogto(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	plain := newApplication(t, logto, nil)
	plain.guarded("/recent", logtogin.MaxAge(time.Minute))
	other := logtotest.NewServer(t)
	second, err := logtogin.Register(plain.router.Group("/second"), logtogin.Config{
		Endpoint: other.Endpoint(), AppID: other.AppID(), AppSecret: other.AppSecret(), BaseURL: plain.url,
		Cookies: logtogin.CookieOptions{Name: strings.Repeat("n", 22)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	plain.router.GET("/second/page", second.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "page") })
	below := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.BaseURL += "/front" })
	front := gin.New()
	front.Any("/front/*path", gin.WrapH(http.StripPrefix("/front", below.router)))
	below.server.Handler = front

	for name, address := range map[string]string{
		"an application":                 plain.url + "/profile",
		"a page with MaxAge":             plain.url + "/recent",
		"another Auth on the engine":     plain.url + "/second/page",
		"a base URL with a path":         below.url + "/front/profile",
		"a base URL with a path, escape": below.url + "/front/profile?q=%26attempt%3Dx&attempt=y",
	} {
		b := newBrowser(t)
		form := b.get(address)
		shown := b.get(address + "#two")
		if !isForm(form) || !waits(shown) {
			t.Fatalf("%s: %s, %s", name, form.url, shown.url)
		}
		for what, want := range map[string]string{
			"Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer",
			"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		} {
			if got := shown.header.Get(what); got != want {
				t.Errorf("%s: %s is %q", name, what, got)
			}
		}
		if strings.Contains(shown.body, "<script") || !strings.Contains(shown.body, `name="robots" content="noindex"`) {
			t.Errorf("%s: %s", name, shown.body)
		}
		again := b.refresh(shown)
		if !waits(again) {
			t.Errorf("%s: before the other tab has signed in: %s", name, again.url)
		}
		if arrived := b.enter(form, logtotest.DefaultUser()); arrived.status != http.StatusOK || arrived.url.String() != address {
			t.Errorf("%s: the first tab arrives at %d %s", name, arrived.status, arrived.url)
		}
		if arrived := b.refresh(again); arrived.status != http.StatusOK || arrived.url.String() != address {
			t.Errorf("%s: the second tab arrives at %d %s", name, arrived.status, arrived.url)
		}
		for _, cookie := range b.ours(plain) {
			if isAttempt(cookie) {
				t.Errorf("%s: the browser still has %s", name, cookie.Name)
			}
		}
	}
}

// What the guard has asked for is sealed: who waits no longer signs in as strictly.
func TestAUserWhoInsistsSignsInAsTheGuardHasAsked(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)

	app.guarded("/recent", logtogin.MaxAge(time.Minute))
	b := newBrowser(t)
	b.get(app.url + "/recent")
	shown := b.get(app.url + "/recent")
	b.stopAt(logto.Endpoint())
	request, err := url.Parse(b.insist(shown).header.Get("Location"))
	if err != nil || request.Query().Get("max_age") != "60" {
		t.Errorf("Logto is asked by %s", request)
	}
	// A changed parameter is worth as much as none.
	changed := strings.Replace(html.UnescapeString(shown.body), "attempt=", "attempt=x", 2)
	request, err = url.Parse(b.insist(page{url: shown.url, body: changed}).header.Get("Location"))
	if err != nil || request.Query().Has("max_age") {
		t.Errorf("Logto is asked by %s", request)
	}
}

func TestNobodyWaitsForLong(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (*application, *browser, *clock) {
		logto := logtotest.NewServer(t)
		now, change := withClock(logto)
		return newApplication(t, logto, change), newBrowser(t), now
	}
	t.Run("a user who comes back and tries again later goes to Logto", func(t *testing.T) {
		t.Parallel()
		app, b, now := start(t)
		b.get(app.url + "/profile")
		now.advance(16 * time.Second)
		if shown := b.get(app.url + "/profile"); !isForm(shown) {
			t.Errorf("%s", shown.url)
		}
	})
	t.Run("a tab whose other tab was closed goes to Logto after ten minutes", func(t *testing.T) {
		t.Parallel()
		app, b, now := start(t)
		b.get(app.url + "/profile")
		shown, requests := b.get(app.url+"/profile"), 0
		for began := now.Now(); waits(shown); requests++ {
			if now.Now().Sub(began) > 11*time.Minute {
				t.Fatal("it waits for more than ten minutes")
			}
			var seconds int
			_, _ = fmt.Sscan(metaRefresh.FindStringSubmatch(shown.body)[1], &seconds)
			now.advance(time.Duration(seconds) * time.Second)
			shown = b.refresh(shown)
		}
		if !isForm(shown) || requests > 90 {
			t.Errorf("after %d requests: %s", requests, shown.url)
		}
	})
	t.Run("a tab whose other tab never went to Logto goes there after a quarter of a minute", func(t *testing.T) {
		t.Parallel()
		app, b, now := start(t)
		b.stopAt(app.url + "/sign-in")
		b.get(app.url + "/profile") // a user clicks twice: the first answer is dropped
		b.keepGoing()
		shown := b.get(app.url + "/profile")
		now.advance(15 * time.Second)
		if !waits(shown) || !isForm(b.refresh(shown)) {
			t.Errorf("%s", shown.url)
		}
	})
	t.Run("the last of the tabs that give up begins as a guard would", func(t *testing.T) {
		t.Parallel()
		app, b, _ := start(t)
		b.get(app.url + "/profile")
		two, three := b.get(app.url+"/profile?2"), b.get(app.url+"/profile?3")
		for _, cookie := range b.attempts(app) { // the first tab was closed, and its sign-in removed
			b.plant(app, []*http.Cookie{{Name: cookie.Name, MaxAge: -1}})
		}
		if two = b.refresh(two); !isForm(two) {
			t.Fatalf("the second tab shows %s", two.url)
		}
		if three = b.refresh(three); !waits(three) {
			t.Fatalf("the third tab shows %s", three.url)
		}
		b.enter(two, logtotest.DefaultUser())
		if three = b.refresh(three); three.url.RequestURI() != "/profile?3" {
			t.Errorf("the third tab arrives at %s", three.url)
		}
	})
	t.Run("a link of the application goes to Logto at once", func(t *testing.T) {
		t.Parallel()
		app, b, _ := start(t)
		b.get(app.url + "/profile")
		if shown := b.get(app.url + "/sign-in?return_to=/profile"); !isForm(shown) {
			t.Errorf("%s", shown.url)
		}
		// Nor does a guard wait for it.
		b = newBrowser(t)
		b.get(app.url + "/sign-in")
		if shown := b.get(app.url + "/profile"); !isForm(shown) {
			t.Errorf("%s", shown.url)
		}
	})
	t.Run("a client without cookies goes to Logto at once", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app, b := newApplication(t, logto, nil), newBrowser(t)
		b.client.Jar = nil
		b.stopAt(logto.Endpoint())
		for range 3 {
			if shown := b.get(app.url + "/profile"); shown.url.Path != "/sign-in" || !strings.HasPrefix(shown.header.Get("Location"), logto.Endpoint()) {
				t.Errorf("%s: %d %v", shown.url, shown.status, shown.header)
			}
		}
	})
}

// Of a thousand sign-ins that another site has begun, the user of this one must not notice anything.
func TestNobodyWaitsForTheSignInsOfOtherSites(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	b := newBrowser(t)
	form := b.get(app.url + "/profile?mine")
	follow := b.client.CheckRedirect
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	b.header.Set("Sec-Fetch-Site", "cross-site")
	for i := range 1000 {
		path := "/profile"
		if i%2 == 0 {
			path = "/sign-in?return_to=/" + strings.Repeat("x", 1_000)
		}
		b.get(app.url + path)
		if size := cookieBytes(b.ours(app)); size > 8<<10 {
			t.Fatalf("after %d our cookies have %d bytes", i, size)
		}
		now.advance(10 * time.Millisecond)
		b.visited = nil
	}
	b.client.CheckRedirect = follow
	if shown := b.get(app.url + "/profile"); !waits(shown) {
		t.Errorf("one of the other site does not wait: %s", shown.url)
	}
	b.header.Del("Sec-Fetch-Site")
	now.advance(6 * time.Second) // more than 15 seconds after the user's own
	b.stopAt(logto.Endpoint())
	if shown := b.get(app.url + "/profile"); !strings.HasPrefix(shown.header.Get("Location"), logto.Endpoint()) {
		t.Errorf("the user waits at %s", shown.url)
	}
	b.keepGoing()
	if arrived := b.enter(form, logtotest.DefaultUser()); arrived.url.RequestURI() != "/profile?mine" {
		t.Errorf("the user's own sign-in ends at %d %s", arrived.status, arrived.url)
	}
}

// Without a shared state, an instance may not know that another one has ended the session. The user
// must not be sent back and forth between them.
func TestASessionThatOneInstanceHasEndedLeadsNowhereAtAnother(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	user := logto.AddUser(logtotest.User{Username: "carol", Password: "carol-password"})
	change := secrets(strings.Repeat("s", 32))
	one := newApplication(t, logto, change)
	two := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = one.url })
	b := newBrowser(t)
	b.signIn(one.url+"/profile", user)
	if err := one.auth.RevokeUser(t.Context(), user.ID); err != nil {
		t.Fatal(err)
	}
	b.stopAt(one.url + "/sign-in")
	led := b.get(one.url + "/profile").header.Get("Location")
	b.keepGoing()
	b.stopAt(logto.Endpoint())
	if shown := b.get(two.url + led); !strings.HasPrefix(shown.header.Get("Location"), logto.Endpoint()) {
		t.Errorf("%q leads to %d %s", led, shown.status, shown.url)
	}
}

func TestSecretsMayBeRotatedDuringASignIn(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, secrets(strings.Repeat("o", 32)))
	b := newBrowser(t)
	form := b.get(app.url + "/profile?1")
	shown := b.get(app.url + "/profile?2")
	rotated := newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.Secrets, cfg.BaseURL = []string{strings.Repeat("n", 32), strings.Repeat("o", 32)}, app.url
	})
	app.server.Handler = rotated.router
	if shown = b.refresh(shown); !waits(shown) {
		t.Errorf("the second tab shows %s", shown.url)
	}
	if arrived := b.enter(form, logtotest.DefaultUser()); arrived.url.RequestURI() != "/profile?1" || arrived.status != http.StatusOK {
		t.Errorf("the first tab arrives at %d %s", arrived.status, arrived.url)
	}
	if arrived := b.refresh(shown); arrived.url.RequestURI() != "/profile?2" || arrived.status != http.StatusOK {
		t.Errorf("the second tab arrives at %d %s", arrived.status, arrived.url)
	}
}

// A start is sealed for no certain browser, so a link on another site can have one of somebody else's.
func TestNobodyWaitsForAStartThatAnotherSiteHasPassedOn(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	for name, begin := range map[string]func(*browser){
		"of another browser": func(b *browser) {
			attacker := newBrowser(t)
			attacker.stopAt(app.url + "/sign-in")
			start := attacker.get(app.url + "/profile").header.Get("Location")
			now.advance(time.Second)
			b.header.Set("Sec-Fetch-Site", "cross-site")
			b.get(app.url + start)
		},
		"that has waited": func(b *browser) {
			b.header.Set("Sec-Fetch-Site", "cross-site")
			b.stopAt(app.url + "/sign-in")
			b.get(app.url + "/profile?1")
			b.keepGoing()
			shown := b.get(app.url + "/profile?2")
			now.advance(16 * time.Second)
			b.header.Set("Sec-Fetch-Site", "same-origin") // of the meta element
			if shown = b.refresh(shown); !isForm(shown) {
				t.Errorf("%s", shown.url)
			}
		},
	} {
		b := newBrowser(t)
		begin(b)
		b.header.Set("Sec-Fetch-Site", "none")
		now.advance(5 * time.Second)
		if shown := b.get(app.url + "/profile?mine"); !isForm(shown) {
			t.Errorf("%s: the user waits at %s", name, shown.url)
		}
	}
}

// A session with which the application is not content is not what a tab has waited for, whatever the
// guard knows of it.
func TestARefusedSessionGoesInNoCircles(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		path   string
		header http.Header
		skew   time.Duration
	}{
		"Optional while Logto is down":              {path: "/own"},
		"a part of a page while Logto is down":      {path: "/part", header: http.Header{"Hx-Request": {"true"}, "Sec-Fetch-Mode": {"cors"}}},
		"a token that is missing, clocks are apart": {path: "/token", skew: -30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			now, change := withClock(logto)
			app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.MaxStale = time.Minute })
			refuse := func(c *gin.Context) {
				if _, ok := logtogin.ClaimsFrom(c); !ok {
					app.auth.Refuse(c, logtogin.ErrNotSignedIn)
				}
			}
			app.router.GET("/own", app.auth.Optional(), refuse)
			app.router.GET("/part", app.auth.Optional(), refuse)
			app.router.GET("/token", app.auth.Guard(), func(c *gin.Context) { app.auth.Refuse(c, logtogin.ErrTokenExpired) })
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			if now.advance(time.Second + test.skew); test.skew == 0 {
				now.advance(2 * time.Hour)
				logto.Intercept(logtotest.Token, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
					w.WriteHeader(http.StatusServiceUnavailable)
				})
			}
			address := app.url + test.path
			if test.header != nil {
				test.header.Set("Hx-Current-Url", app.url+"/")
				address = app.url + send(t, http.MethodGet, address, b.ours(app), test.header).header.Get("HX-Redirect")
			}
			b.visited = nil
			shown := b.get(address)
			if len(b.visited) > 12 || shown.status < 400 {
				t.Errorf("it ends at %d %s after %d requests", shown.status, shown.url, len(b.visited))
			}
		})
	}
}

// A page that is refused with a session is not led back to by that very session.
func TestATabWithARefusedSessionWaitsForANewOne(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	app.guarded("/recent", logtogin.MaxAge(time.Minute))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	now.advance(3 * time.Minute)
	form := b.get(app.url + "/recent?1")
	shown := b.get(app.url + "/recent?2")
	if shown = b.refresh(shown); !isForm(form) || !waits(shown) {
		t.Fatalf("%s, %s", form.url, shown.url)
	}
	b.enter(form, logtotest.DefaultUser())
	if shown = b.refresh(shown); shown.url.RequestURI() != "/recent?2" || shown.status != http.StatusOK {
		t.Errorf("it arrives at %d %s", shown.status, shown.url)
	}
	// One that comes to the sign-in route when another tab has signed in goes on, too.
	now.advance(3 * time.Minute)
	b.stopAt(app.url + "/sign-in")
	late := b.get(app.url + "/recent?3").header.Get("Location")
	b.keepGoing()
	now.advance(16 * time.Second)
	b.enter(b.get(app.url+"/recent?4"), logtotest.DefaultUser())
	if shown = b.get(app.url + late); shown.url.RequestURI() != "/recent?3" || shown.status != http.StatusOK {
		t.Errorf("it arrives at %d %s", shown.status, shown.url)
	}
}
