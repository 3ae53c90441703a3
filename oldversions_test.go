package logtogin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-contrib/sessions/cookie"
	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// Whoever comes with an old version of a session must never use a refresh token that Logto
// has replaced: Logto would revoke the grant, and the user would be signed out.

// An HTTPClient in a background job, and the request of an open stream, outlive refreshes.
func TestLongLivedClientsGoOnWithTheNewestVersion(t *testing.T) {
	t.Parallel()
	for name, isPublic := range map[string]bool{"a refresh token for each use": true, "one that is replaced after 70 % of its life": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			changes := []func(*logtogin.Config){forAPIs}
			if isPublic {
				changes = append(changes, rotating(logto))
			}
			now, change := withClock(logto, changes...)
			app := newApplication(t, logto, change)
			orders := newAPI(t)
			var job *http.Client
			app.calling("/job", func(_ *gin.Context, client *http.Client) { job = client })
			entered, goOn, streamed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			app.router.GET("/stream", app.auth.Guard(), func(c *gin.Context) {
				c.String(http.StatusOK, "begin")
				c.Writer.Flush()
				close(entered)
				<-goOn
				_, err := app.auth.AccessToken(c)
				streamed <- err
			})
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			if !isPublic {
				now.advance(9*24*time.Hour + 18*time.Hour) // 70 % of 14 days are 9.8
				b.get(app.url + "/profile")
			}
			b.get(app.url + "/job")
			cookies := b.ours(app)
			streaming := make(chan struct{})
			go func() {
				defer close(streaming)
				send(t, http.MethodGet, app.url+"/stream", cookies, nil)
			}()
			<-entered
			for range 2 {
				now.advance(61 * time.Minute)
				if page := b.get(app.url + "/profile"); page.status != http.StatusOK {
					t.Fatalf("%d %s", page.status, page.body)
				}
			}
			now.advance(12 * time.Minute)
			if status, err := post(t, job, orders.url, strings.NewReader("x")); status != http.StatusOK || err != nil {
				t.Errorf("the job: %d %v", status, err)
			}
			close(goOn)
			if err := <-streamed; err != nil {
				t.Errorf("the stream: %v", err)
			}
			<-streaming
			if !b.isSignedIn(app) {
				t.Error("the user has been signed out")
			}
		})
	}
}

// Logto has replaced the refresh token, but the rest of its answer cannot be used just now.
func TestARefreshTokenThatWasReplacedIsNotLost(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]func(*logtotest.Server) (mend func()){
		"the keys are down after a rotation": func(logto *logtotest.Server) func() {
			if err := logto.RotateKey("ES384"); err != nil {
				t.Error(err)
			}
			logto.Misbehave(faults.KeysDown)
			return logto.Behave
		},
		"Logto's clock is an hour ahead": func(logto *logtotest.Server) func() {
			logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["iat"] = token.Claims["exp"] })
			return func() { logto.ChangeIDToken(nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
				now, change := withClock(logto, rotating(logto))
				app := start(change)
				b := signInAndExpire(app, now)
				mend := wrong(logto)
				if _, page := b.token(app, nil); page.status == http.StatusOK {
					t.Errorf("%d %s", page.status, page.body)
				}
				mend()
				now.advance(20 * time.Second)
				// Another process knows what the browser or the store knows.
				restarted := start(func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
				if page := send(t, http.MethodGet, restarted.url+"/token", b.ours(app), nil); page.status != http.StatusOK {
					t.Errorf("afterwards: %d %s", page.status, page.body)
				}
			})
		})
	}
}

// The cookie store of gin-contrib is one of cookies, whatever it is called.
func TestARefreshedSessionReachesTheBrowserFromAnyCookieStore(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, rotating(logto), func(cfg *logtogin.Config) { cfg.Store = cookie.NewStore([]byte(strings.Repeat("k", 32))) })
	app := newApplication(t, logto, change)
	b := signInAndExpire(app, now)
	if page := b.get(app.url + "/profile"); page.status != http.StatusOK || len(setCookies(page)) == 0 {
		t.Errorf("%d, cookies %v", page.status, setCookies(page))
	}
	now.advance(61 * time.Minute)
	restarted := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
	if page := send(t, http.MethodGet, restarted.url+"/profile", b.ours(app), nil); page.status != http.StatusOK {
		t.Errorf("after a restart: %d %s", page.status, page.body)
	}
	b.get(app.url + "/sign-out")
	if len(b.ours(app)) > 0 {
		t.Error("the cookie is still there")
	}
}

// A callback route of the application's own that asks for a token at once.
func TestATokenInTheCallbackIsInTheCookies(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, rotating(logto), func(cfg *logtogin.Config) {
		cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/own-callback"
	})
	app := newApplication(t, logto, change)
	app.router.GET("/own-callback", func(c *gin.Context) {
		result, err := app.auth.HandleCallback(c)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := app.auth.AccessToken(c, logtogin.Resource(ordersAPI)); err != nil {
			t.Error(err)
		}
		c.Redirect(http.StatusFound, result.ReturnTo)
	})
	logto.RegisterRedirectURIs(app.url + "/own-callback")
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	now.advance(61 * time.Minute)
	restarted := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
	if page := send(t, http.MethodGet, restarted.url+"/profile", b.ours(app), nil); page.status != http.StatusOK {
		t.Errorf("after a restart: %d %s", page.status, page.body)
	}
}

// A background job is no activity of the user's.
func TestABackgroundJobKeepsNoIdleSessionAlive(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(func(cfg *logtogin.Config) { change(cfg); cfg.IdleTimeout = 90 * time.Minute })
		orders := newAPI(t)
		var job *http.Client
		app.calling("/job", func(_ *gin.Context, client *http.Client) { job = client })
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		b.get(app.url + "/job")
		now.advance(61 * time.Minute)
		if status, err := post(t, job, orders.url, strings.NewReader("x")); status != http.StatusOK || err != nil {
			t.Fatalf("%d %v", status, err)
		}
		now.advance(61 * time.Minute)
		if page := send(t, http.MethodGet, app.url+"/profile", b.ours(app), nil); page.status != http.StatusFound {
			t.Errorf("%d", page.status)
		}
	})
}

// Which tokens there can be is up to the user; how many are kept is not.
func TestASessionRemembersSixteenAccessTokens(t *testing.T) {
	t.Parallel()
	user := alice()
	user.Organizations = map[string][]string{}
	logto := withAPIs(t)
	names := []string{}
	for _, letter := range "abcdefghijklmnopqrst" {
		id := "organization-" + string(letter)
		names = append(names, id)
		logto.AddOrganization(logtotest.Organization{ID: id, Name: id})
		logto.SetMembership(aliceID, id, []string{})
	}
	app := newApplication(t, logto, func(cfg *logtogin.Config) { forAPIs(cfg); cfg.Store = newServerStore() })
	app.guarded("/in/:org", logtogin.OrganizationAccess(logtogin.FromParam("org")))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	visit := func(names []string) (calls int64) {
		t.Helper()
		logto.ResetCalls()
		for _, name := range names {
			if page := b.get(app.url + "/in/" + name); page.status != http.StatusOK {
				t.Fatalf("%s: %d %s", name, page.status, page.body)
			}
		}
		return int64(logto.Calls().Token)
	}
	if calls := visit(names); calls != 20 {
		t.Errorf("%d calls", calls)
	}
	if calls := visit(names[4:]); calls != 0 {
		t.Errorf("%d calls for the latest sixteen", calls)
	}
	if calls := visit(names[:4]); calls != 4 {
		t.Errorf("%d calls for the first four", calls)
	}
}
