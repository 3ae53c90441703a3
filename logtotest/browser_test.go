package logtotest_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func TestSignOutsRunToTheirEnd(t *testing.T) {
	t.Parallel()
	link := func(client *http.Client) (*http.Response, error) { return client.Get("/sign-out") }
	for name, test := range map[string]struct {
		after, want string
		signOut     func(*http.Client) (*http.Response, error)
	}{
		"by a link":        {"/goodbye", "https://app.example.com/goodbye", link},
		"by a form":        {"/goodbye", "https://app.example.com/goodbye", func(client *http.Client) (*http.Response, error) { return client.PostForm("/sign-out", url.Values{}) }},
		"on Logto's page":  {"", "/oidc/session/end/success", link},
		"by the last link": {"/goodbye", "https://app.example.com/goodbye", func(client *http.Client) (*http.Response, error) { _, _ = link(client); return link(client) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			cfg := logto.Config("https://app.example.com")
			cfg.AfterSignOut = test.after
			logto.RegisterPostLogoutRedirectURIs("https://app.example.com/goodbye")
			router, _ := newApp(t, cfg, "/")
			router.GET("/goodbye", func(*gin.Context) {})
			client, browser := logto.SignIn(t, router, logtotest.DefaultUser()), logto.Browser(t, router, logtotest.DefaultUser())
			read(t, browser, "/profile")
			for _, signedIn := range []*http.Client{client, browser} {
				response, err := test.signOut(signedIn)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				if at := response.Request.URL; response.StatusCode != http.StatusOK || (at.String() != test.want && at.Path != test.want) {
					t.Errorf("%d at %s", response.StatusCode, at)
				}
			}
			// With a session at Logto, this sign-in would be silent.
			if response, err := client.Get("/profile"); !errors.Is(err, logtotest.ErrSignInPage) {
				t.Errorf("%v %v", response, err)
			}
			if status, _ := read(t, browser, "/profile"); status != http.StatusOK {
				t.Errorf("signing in again: %d", status)
			}
		})
	}
}

func TestAClientOfSignInFailsWhereSomebodyWouldHaveToSignIn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*logtotest.Server)
		path   string
		want   error
	}{
		"the session at Logto lives":     {func(logto *logtotest.Server) { logto.Advance(2 * time.Hour) }, "/sign-in", nil},
		"it has ended":                   {func(logto *logtotest.Server) { logto.Advance(15 * 24 * time.Hour) }, "/profile", logtotest.ErrSignInPage},
		"the guard asks for another one": {func(*logtotest.Server) {}, "/payments", logtotest.ErrSignInPage},
		"a registration is asked for":    {func(logto *logtotest.Server) { logto.Advance(15 * 24 * time.Hour) }, "/sign-up", logtotest.ErrSignInPage},
		"a consent is asked for": {func(logto *logtotest.Server) {
			app := logto.Application()
			app.ThirdParty, app.ConsentScopes = true, []string{"profile"}
			logto.AddApplication(app)
		}, "/sign-in", logtotest.ErrSignInPage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			router, auth := newApp(t, logto.Config("https://app.example.com"), "/")
			router.GET("/", func(*gin.Context) {})
			router.GET("/payments", auth.Guard(logtogin.MaxAge(5*time.Minute)), func(*gin.Context) {})
			client, browser := logto.SignIn(t, router, logtotest.DefaultUser()), logto.Browser(t, router, logtotest.DefaultUser())
			test.change(logto)
			response, err := client.Get(test.path)
			if !errors.Is(err, test.want) || (err == nil && response.StatusCode != http.StatusOK) {
				t.Errorf("%v %v", response, err)
			}
			if err != nil && !strings.Contains(err.Error(), "Browser lets a test see this page") {
				t.Error(err)
			}
			if status, body := read(t, browser, test.path); status != http.StatusOK {
				t.Errorf("a browser: %d %s", status, body)
			}
		})
	}
}

// Two sign-ins in a row are more redirects than http.Client follows by itself.
func TestABrowserFollowsAsManyRedirectsAsBrowsersDo(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, auth := newApp(t, logto.Config("https://app.example.com"), "/")
	router.GET("/payments", auth.Guard(logtogin.MaxAge(5*time.Minute)), func(*gin.Context) {})
	if status, body := read(t, logto.Browser(t, router, logtotest.DefaultUser()), "/sign-in?return_to=/payments"); status != http.StatusOK || logto.Calls().Token != 2 {
		t.Errorf("%d %s, %+v", status, body, logto.Calls())
	}
	if status, body := read(t, logto.SignInAt(t, router, "/payments", logtotest.DefaultUser()), "/payments"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	visits := 0
	router.GET("/endless", func(c *gin.Context) { visits++; c.Redirect(http.StatusFound, "/endless") })
	if _, err := logto.Visitor(t, router).Get("/endless"); err == nil || !strings.Contains(err.Error(), "after 20 redirects") || visits != 21 {
		t.Errorf("%v after %d visits", err, visits)
	}
}

func TestAVisitorIsSentToLogtoAndDoesNotGo(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"https://app.example.com", "https://example.com/app"} {
		logto := logtotest.NewServer(t)
		router, _ := newApp(t, logto.Config(base), "/")
		router.GET("/", func(c *gin.Context) {
			if seen, err := c.Cookie("seen"); err == nil {
				c.String(http.StatusOK, seen)
				return
			}
			c.SetCookie("seen", "you were here", 60, "/", "", true, true)
			c.Redirect(http.StatusFound, base+"/")
		})
		client := logto.Visitor(t, router)
		if status, body := read(t, client, "/"); status != http.StatusOK || body != "you were here" {
			t.Errorf("%d %s", status, body)
		}
		response, err := client.Get("/profile")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if to, err := response.Location(); err != nil || response.StatusCode != http.StatusFound || !strings.HasPrefix(to.String(), logto.Endpoint()+"/oidc/auth?") {
			t.Errorf("%d to %v: %v", response.StatusCode, to, err)
		}
		if calls := logto.Calls(); calls.Authorization != 0 {
			t.Errorf("%+v", calls)
		}
	}
}
