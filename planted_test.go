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

// An attacker who can plant cookies in a victim's browser, from a sibling
// domain or over http, gains nothing by it beyond a failed sign-in.

func TestPlantedAttemptDoesNotShareTheVictimsSession(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	started := send(t, http.MethodGet, app.url+"/sign-in", nil, nil)
	planted := setCookies(started)
	authorization, err := url.Parse(started.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}

	victim := newBrowser(t)
	victim.plant(app, planted)
	if page := victim.signIn(authorization.String(), logtotest.DefaultUser()); page.body != "signed in as alice" {
		t.Fatalf("the victim: %d %s", page.status, page.body)
	}
	for name, query := range map[string]url.Values{
		"without a code":    {"state": authorization.Query()["state"]},
		"with another code": {"state": authorization.Query()["state"], "code": {"x"}, "iss": {logto.Issuer()}},
	} {
		page := send(t, http.MethodGet, app.url+"/callback?"+query.Encode(), planted, nil)
		if page.status != http.StatusBadRequest || len(setCookies(page)) > 0 {
			t.Errorf("the attacker %s: %d to %s, %d cookies", name, page.status, page.header.Get("Location"), len(setCookies(page)))
		}
	}
	if calls := logto.Calls(); calls.Token != 1 {
		t.Errorf("%d token calls", calls.Token)
	}
}

func (b *browser) plant(app *application, cookies []*http.Cookie) {
	b.t.Helper()
	u, err := url.Parse(app.url)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, cookies)
}

// A session that has ended, kept by the browser under another path, must not
// hide the one that goes on: the user would be sent in circles.
func TestEndedSessionDoesNotHideAnother(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	ended := b.ours(app)[0]
	b.get(app.url + "/sign-out")
	again := newBrowser(t)
	again.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	good := again.ours(app)[0]
	if page := send(t, http.MethodGet, app.url+"/", []*http.Cookie{ended, good}, nil); page.body != "signed in as alice" {
		t.Errorf("before the good one: %s", page.body)
	}
	// A sign-out ends all sessions that the request carries.
	other := newBrowser(t)
	other.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	second := other.ours(app)[0]
	send(t, http.MethodGet, app.url+"/sign-out", []*http.Cookie{good, second}, nil)
	for _, cookie := range []*http.Cookie{good, second} {
		if page := send(t, http.MethodGet, app.url+"/", []*http.Cookie{cookie}, nil); page.body != "not signed in" {
			t.Errorf("after the sign-out: %s", page.body)
		}
	}
}

func TestCrossOriginRequestsThatLookHarmless(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	app.router.GET("/socket", app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "opened") })
	app.router.POST("/optional", app.auth.Optional(), func(c *gin.Context) {
		_, signedIn := logtogin.ClaimsFrom(c)
		c.JSON(http.StatusOK, signedIn)
	})
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	foreign := http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://evil.example.com"}}
	own := http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {app.url}}
	socket := func(from http.Header) int {
		header := from.Clone()
		header.Set("Upgrade", "WebSocket")
		header.Set("Connection", "Upgrade")
		header.Set("Sec-Fetch-Mode", "websocket")
		return send(t, http.MethodGet, app.url+"/socket", b.ours(app), header).status
	}
	if status := socket(foreign); status != http.StatusForbidden {
		t.Errorf("a WebSocket from another origin: %d", status)
	}
	if status := socket(own); status != http.StatusOK {
		t.Errorf("a WebSocket of the application: %d", status)
	}
	for want, header := range map[string]http.Header{"false": foreign, "true": own} {
		if page := send(t, http.MethodPost, app.url+"/optional", b.ours(app), header); page.body != want {
			t.Errorf("optional from %s: %s", header.Get("Origin"), page.body)
		}
	}
	for _, dest := range []string{"object", "embed"} {
		page := send(t, http.MethodGet, app.url+"/sign-out", b.ours(app), http.Header{"Sec-Fetch-Dest": {dest}, "Sec-Fetch-Site": {"same-origin"}})
		if page.status != http.StatusForbidden {
			t.Errorf("sign-out by an %s: %d", dest, page.status)
		}
	}
}

// Between its expiry and the skew an ID token is still believed, but a session
// that ends with it would have ended already.
func TestSessionThatWouldBeBornDeadIsRefused(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Prompt = logtogin.PromptOmit })
	logto.ChangeIDToken(func(token *logtotest.JWT) {
		token.Claims["exp"] = time.Now().Add(-30 * time.Second).Unix()
	})
	b := newBrowser(t)
	page := b.signIn(app.url+"/profile", logtotest.DefaultUser())
	if page.status != http.StatusBadRequest || page.url.Path != "/callback" {
		t.Errorf("%d at %s", page.status, page.url)
	}
}

func TestSharedOutcomeOfAnEndedSessionIsNone(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.Paths.Callback = "-"
		cfg.SignInDefaults.RedirectURI = "/own-callback"
	})
	app.router.GET("/own-callback", func(c *gin.Context) {
		result, err := app.auth.HandleCallback(c)
		if err != nil {
			c.String(http.StatusBadRequest, err.Error())
			return
		}
		claims, err := app.auth.Claims(c)
		if err != nil {
			t.Errorf("after the callback: %v", err)
			return
		}
		c.String(http.StatusOK, result.Claims.Subject+" "+claims.Subject)
	})
	b := newBrowser(t)
	b.stopAt(app.url + "/own-callback")
	callback := b.signIn(app.url+"/sign-in", logtotest.DefaultUser()).header.Get("Location")
	b.keepGoing()
	cookies := b.ours(app)
	first := send(t, http.MethodGet, callback, cookies, nil)
	second := send(t, http.MethodGet, callback, cookies, nil)
	if subject, again, _ := strings.Cut(second.body, " "); first.body != second.body || subject != again {
		t.Errorf("%q, then %q", first.body, second.body)
	}
	send(t, http.MethodGet, app.url+"/sign-out", setCookies(first), nil)
	if third := send(t, http.MethodGet, callback, cookies, nil); third.status != http.StatusBadRequest || len(setCookies(third)) > 0 {
		t.Errorf("after the sign-out: %d %s", third.status, third.body)
	}
}

func TestTwoSignInAddressesInOneResponse(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	app.router.GET("/choose", func(c *gin.Context) {
		for range 6 {
			if _, err := app.auth.SignInURL(c, logtogin.SignInOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	names := map[string]bool{}
	for _, cookie := range setCookies(send(t, http.MethodGet, app.url+"/choose", nil, nil)) {
		names[cookie.Name] = true
	}
	if len(names) != 6 {
		t.Errorf("six addresses share %d slots", len(names))
	}
}

// A header full of session cookies costs the sign-out no more than a few looks.
func TestSignOutLooksAtAFewCookiesOnly(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	ours := b.ours(app)[0]
	pair := ours.Name + "=" + ours.Value
	flood := strings.Repeat(ours.Name+"=x; ", 2_000)
	page := send(t, http.MethodPost, app.url+"/sign-out", nil, http.Header{"Cookie": {pair + "; " + flood}})
	if page.status != http.StatusOK {
		t.Errorf("%d", page.status)
	}
	if home := send(t, http.MethodGet, app.url+"/", b.ours(app), nil); home.body != "not signed in" {
		t.Error(home.body)
	}
}

// Whatever a redirect URI and a return path take together, the sign-in starts.
func TestReturnPathGivesWayToALongRedirectURI(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	app.router.GET("/start", func(c *gin.Context) {
		app.auth.SignIn(c, logtogin.SignInOptions{RedirectURI: "/" + strings.Repeat("r", 200), ReturnTo: c.Query("return_to")})
	})
	for length := 500; length <= 600; length++ {
		if page := send(t, http.MethodGet, app.url+"/start?return_to=/"+strings.Repeat("x", length-1), nil, nil); page.status != http.StatusFound {
			t.Errorf("a return path of %d bytes: %d", length, page.status)
		}
	}
}
