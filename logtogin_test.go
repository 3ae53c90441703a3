package logtogin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func TestSignInEndsOnTheGuardedPageAndSignOutEndsIt(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.AfterSignOut = "/" })
	logto.RegisterPostLogoutRedirectURIs(app.url + "/")
	b := newBrowser(t)

	profile := b.signIn(app.url+"/profile?tab=2", logtotest.DefaultUser())
	if profile.status != http.StatusOK || profile.url.RequestURI() != "/profile?tab=2" {
		t.Fatalf("arrived at %s: %d %s", profile.url, profile.status, profile.body)
	}
	claims := decode(t, profile.body)
	if claims["username"] != "alice" || claims["email"] != "alice@example.test" || claims["iss"] != logto.Issuer() {
		t.Errorf("claims are %s", profile.body)
	}
	info := b.get(app.url + "/user-info")
	if info.status != http.StatusOK || decode(t, info.body)["sub"] != claims["sub"] {
		t.Errorf("user info is %d %s", info.status, info.body)
	}

	stolen := b.ours(app)
	page := b.submit(b.get(app.url+"/sign-out"), nil)
	if page.url.String() != app.url+"/" || page.body != "not signed in" {
		t.Errorf("after the sign-out: %s %s", page.url, page.body)
	}
	if left := b.ours(app); len(left) > 0 {
		t.Errorf("the sign-out leaves cookies: %v", left)
	}
	thief := newBrowser(t)
	appURL, _ := url.Parse(app.url)
	thief.client.Jar.SetCookies(appURL, stolen)
	if thief.isSignedIn(app) {
		t.Error("the cookie from before the sign-out still signs in")
	}
}

func TestSignUpShowsTheRegistrationFirst(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	form := b.get(app.url + "/sign-up")
	if form.url.Path != "/register" {
		t.Fatalf("sign-up leads to %s", form.url)
	}
	page := b.submit(form, url.Values{"username": {"bob"}, "password": {"builder"}})
	if page.body != "signed in as bob" {
		t.Errorf("after the sign-up: %s %s", page.url, page.body)
	}
}

// The table "Calls to Logto" of the design.
func TestCallsToLogto(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	inBackground := false
	expect := func(what string, want logtotest.Calls) {
		t.Helper()
		want.Authorization = logto.Calls().Authorization // the browser's, not ours
		want.EndSession = logto.Calls().EndSession
		got := logto.Calls()
		if inBackground {
			got.Discovery, got.Keys = 0, 0
		}
		if got != want {
			t.Errorf("%s: calls are %+v, want %+v", what, got, want)
		}
		logto.ResetCalls()
	}
	expect("start", logtotest.Calls{})

	first := newBrowser(t)
	form := first.get(app.url + "/sign-in")
	expect("sign-in redirect, cold", logtotest.Calls{Discovery: 1})
	first.enter(form, alice())
	expect("callback, cold", logtotest.Calls{Token: 1, Keys: 1})

	second := newBrowser(t)
	form = second.get(app.url + "/sign-in")
	expect("sign-in redirect, warm", logtotest.Calls{})
	second.enter(form, alice())
	expect("callback, warm", logtotest.Calls{Token: 1})
	second.get(app.url + "/profile")
	expect("guarded page", logtotest.Calls{})
	second.get(app.url + "/user-info")
	expect("user info", logtotest.Calls{UserInfo: 1})
	second.token(app, url.Values{"resource": {ordersAPI}})
	expect("access token, the first for a resource", logtotest.Calls{Token: 1})
	second.token(app, url.Values{"resource": {ordersAPI}})
	expect("access token, cached", logtotest.Calls{})
	// Metadata and keys are renewed now and then, in the background and once for everybody.
	inBackground = true
	now.advance(61 * time.Minute)
	second.token(app, url.Values{"resource": {ordersAPI}})
	expect("access token, to be refreshed", logtotest.Calls{Token: 1})
	second.get(app.url + "/profile")
	expect("guarded page, once the ID token was renewed", logtotest.Calls{})
	second.get(app.url + "/user-info")
	expect("user info, token expired", logtotest.Calls{Token: 1, UserInfo: 1})
	now.advance(61 * time.Minute)
	for _, calls := range []logtotest.Calls{{Token: 1}, {}, {}} {
		second.get(app.url + "/profile")
		expect("guarded page, in each life of an ID token", calls)
	}
	second.get(app.url + "/sign-out")
	expect("sign-out", logtotest.Calls{Revocation: 1})
	second.get(app.url + "/sign-out")
	expect("sign-out of nobody", logtotest.Calls{})
}

func TestTwoApplicationsOnOneHostDoNotMeet(t *testing.T) {
	t.Parallel()
	one, two := logtotest.NewServer(t), logtotest.NewServer(t)
	app := newApplication(t, one, nil)
	other, err := logtogin.Register(app.router.Group("/two"), logtogin.Config{
		Endpoint: two.Endpoint(), AppID: two.AppID(), AppSecret: two.AppSecret(), BaseURL: app.url,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	app.router.GET("/two/profile", other.Guard(), func(c *gin.Context) {
		c.JSON(http.StatusOK, c.MustGet(logtogin.ClaimsKey))
	})
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	form := b.get(app.url + "/two/profile")
	if !strings.HasPrefix(form.url.String(), two.Endpoint()) {
		t.Fatalf("the session of one application opens the other: %s", form.url)
	}
	page := b.enter(form, logtotest.DefaultUser())
	if page.url.Path != "/two/profile" || decode(t, page.body)["iss"] != two.Issuer() {
		t.Errorf("second application: %s %s", page.url, page.body)
	}
	if page := b.get(app.url + "/profile"); decode(t, page.body)["iss"] != one.Issuer() {
		t.Errorf("first application: %s", page.body)
	}
}
