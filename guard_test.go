package logtogin_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

const browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// The table "How it answers" of the design, for a visitor.
func TestGuardAnswersAVisitor(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	handled := false
	guarded := func(c *gin.Context) { handled = true; c.String(http.StatusOK, "SECRET") }
	app.router.Handle(http.MethodGet, "/deep/page", app.auth.Guard(), guarded)
	app.router.Handle(http.MethodHead, "/deep/page", app.auth.Guard(), guarded)
	app.router.Handle(http.MethodPut, "/deep/page", app.auth.Guard(), guarded)
	const signIn = "/sign-in?return_to=%2Fdeep%2Fpage%3Fq%3D1"
	for name, test := range map[string]struct {
		method     string
		header     http.Header
		status     int
		location   string
		hxRedirect string
	}{
		"a navigation":                        {header: http.Header{"Accept": {browserAccept}, "Sec-Fetch-Mode": {"navigate"}}, status: 302, location: signIn},
		"a navigation without Fetch Metadata": {header: http.Header{"Accept": {browserAccept}, "Sec-Fetch-Mode": nil}, status: 302, location: signIn},
		"HEAD":                                {method: "HEAD", header: http.Header{"Accept": {browserAccept}}, status: 302, location: signIn},
		"PUT":                                 {method: "PUT", header: http.Header{"Accept": {browserAccept}}, status: 401},
		"fetch that takes anything":           {header: http.Header{"Accept": {"*/*"}, "Sec-Fetch-Mode": {"cors"}}, status: 401},
		"fetch that takes HTML":               {header: http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"same-origin"}}, status: 401},
		"curl":                                {header: http.Header{"Accept": {"*/*"}, "Sec-Fetch-Mode": nil}, status: 401},
		"no Accept":                           {header: http.Header{"Accept": nil, "Sec-Fetch-Mode": nil}, status: 401},
		"an API client":                       {header: http.Header{"Accept": {"application/json"}, "Sec-Fetch-Mode": nil}, status: 401},
		"HTML with quality zero":              {header: http.Header{"Accept": {"application/json, text/html;q=0"}, "Sec-Fetch-Mode": nil}, status: 401},
		"HTML in capitals":                    {header: http.Header{"Accept": {"Text/HTML"}, "Sec-Fetch-Mode": nil}, status: 302, location: signIn},
		"an htmx request":                     {header: http.Header{"Accept": {"*/*"}, "Hx-Request": {"true"}, "Sec-Fetch-Mode": {"cors"}, "Hx-Current-Url": {app.url + "/shown?x=1"}}, status: 401, hxRedirect: "/sign-in?return_to=%2Fshown%3Fx%3D1"},
		"an htmx request of another":          {header: http.Header{"Accept": {"*/*"}, "Hx-Request": {"true"}, "Sec-Fetch-Mode": {"cors"}, "Hx-Current-Url": {"https://evil.example/x"}}, status: 401, hxRedirect: "/sign-in"},
		"a websocket upgrade":                 {header: http.Header{"Accept": nil, "Sec-Fetch-Mode": {"websocket"}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"}}, status: 401},
	} {
		t.Run(name, func(t *testing.T) {
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			page := send(t, method, app.url+"/deep/page?q=1", nil, test.header)
			if page.status != test.status || withoutAttempt(page.header.Get("Location")) != test.location || withoutAttempt(page.header.Get("HX-Redirect")) != test.hxRedirect {
				t.Errorf("%d to %q, htmx to %q", page.status, page.header.Get("Location"), page.header.Get("HX-Redirect"))
			}
			if page.header.Get("Cache-Control") != "private, no-store" || page.header.Get("Vary") != "Cookie" {
				t.Errorf("headers are %v", page.header)
			}
			if test.status == 401 && (page.header.Get("Content-Type") != "application/problem+json" || decode(t, page.body)["status"] != 401.0) {
				t.Errorf("no problem document: %v %s", page.header, page.body)
			}
			if set := setCookies(page); (len(set) > 0) != (test.status == 302) || len(set) > 1 || (len(set) == 1 && !isAttempt(set[0])) {
				t.Errorf("a refused visitor gets the cookies %v", set)
			}
		})
	}
	if handled { // C86
		t.Error("the handler ran")
	}
}

func TestAFormThatIsSentWithoutASessionGetsAPage(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	page := send(t, http.MethodPost, app.url+"/profile", nil, http.Header{
		"Accept": {browserAccept}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {app.url}, "Referer": {app.url + "/edit?x=1"},
	})
	if page.status != http.StatusUnauthorized || !strings.Contains(page.body, "What you have sent was not saved") ||
		!strings.Contains(page.body, `href="/sign-in?return_to=%2Fedit%3Fx%3D1"`) {
		t.Errorf("%d %s", page.status, page.body)
	}
}

func TestGuardRefusesUnsafeMethodsFromOtherOrigins(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.TrustedOrigins = []string{"https://www.example.com"} })
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	for name, test := range map[string]struct {
		header http.Header
		status int
	}{
		"from itself":                   {http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {app.url}}, http.StatusOK},
		"from no browser":               {nil, http.StatusOK},
		"from a trusted origin":         {http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://www.example.com"}}, http.StatusOK},
		"from another site":             {http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}, http.StatusForbidden},
		"from a sibling domain":         {http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://evil.example.com"}}, http.StatusForbidden},
		"from an old browser":           {http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden},
		"from the other scheme":         {http.Header{"Origin": {"https" + strings.TrimPrefix(app.url, "http") + ":1"}}, http.StatusForbidden},
		"from a page without an origin": {http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"null"}}, http.StatusForbidden},
	} {
		page := send(t, http.MethodPost, app.url+"/profile", b.ours(app), test.header)
		if page.status != test.status {
			t.Errorf("%s: %d, want %d", name, page.status, test.status)
		}
	}
}

func TestSessionEndsAbsolutely(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*logtogin.Config)
		ends   time.Duration
	}{
		"by default after 14 days":                       {func(*logtogin.Config) {}, 14 * 24 * time.Hour},
		"after SessionLifetime":                          {func(cfg *logtogin.Config) { cfg.SessionLifetime = 90 * time.Minute }, 90 * time.Minute},
		"with the ID token if there is no refresh token": {func(cfg *logtogin.Config) { cfg.Prompt = logtogin.PromptOmit }, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			now := newClock()
			logto.SetNow(now.Now)
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Now = now.Now; test.change(cfg) })
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			cookies := b.ours(app)
			isSignedIn := func() bool {
				return send(t, http.MethodGet, app.url+"/", cookies, nil).body == "signed in as alice"
			}
			for range 10 { // activity does not stretch it
				now.advance(test.ends/10 - time.Second)
				if !isSignedIn() {
					t.Fatal("the session ended early")
				}
			}
			now.advance(10 * time.Second)
			if isSignedIn() {
				t.Error("the session goes on")
			}
		})
	}
}

func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	secret := func(letter string) string { return strings.Repeat(letter, 32) }
	logto := logtotest.NewServer(t)
	for name, test := range map[string]struct {
		before, after func(*logtogin.Config)
		signedIn      bool
	}{
		"nothing changed (a restart)":    {secrets(), secrets(), true},
		"new before old":                 {secrets(secret("o")), secrets(secret("n"), secret("o")), true},
		"the old one removed":            {secrets(secret("o")), secrets(secret("n")), false},
		"Secrets set for the first time": {secrets(), secrets(secret("n")), false},
		"AppSecret kept in PreviousAppSecrets": {secrets(), func(cfg *logtogin.Config) {
			cfg.Secrets, cfg.PreviousAppSecrets = []string{secret("n")}, []string{cfg.AppSecret}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := newApplication(t, logto, test.before)
			b := newBrowser(t)
			b.signIn(old.url+"/sign-in", logtotest.DefaultUser())
			cookies := b.ours(old)
			restarted := newApplication(t, logto, test.after)
			page := send(t, http.MethodGet, restarted.url+"/", cookies, nil)
			if page.status != http.StatusOK || (page.body == "signed in as alice") != test.signedIn {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
	}
}

// Without Secrets they are derived from AppSecret: with another one everybody signs in again,
// and nobody needs to hear of it.
func TestAnotherAppSecretSignsOutQuietly(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		state := newCommonState()
		old := start(func(cfg *logtogin.Config) { cfg.SharedState = state })
		b, waiting := newBrowser(t), newBrowser(t)
		b.signIn(old.url+"/profile", logtotest.DefaultUser())
		waiting.get(old.url + "/sign-in")
		cookies := append(b.ours(old), waiting.ours(old)...)
		registered := logto.Application()
		registered.Secret = "another-" + registered.Secret
		logto.AddApplication(registered)
		app := start(func(cfg *logtogin.Config) { cfg.SharedState, cfg.AppSecret = state, registered.Secret })
		for path, want := range map[string]struct {
			status int
			body   string
		}{
			"/": {http.StatusOK, "not signed in"}, "/profile": {http.StatusFound, ""}, "/sign-in": {http.StatusFound, ""}, "/sign-out": {http.StatusFound, ""},
		} {
			if page := send(t, http.MethodGet, app.url+path, cookies, nil); page.status != want.status || page.body != want.body {
				t.Errorf("%s: %d %s", path, page.status, page.body)
			}
		}
		again := newBrowser(t)
		again.plant(app, cookies)
		if page := again.signIn(app.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusOK || !again.isSignedIn(app) {
			t.Errorf("signing in again: %d %s", page.status, page.body)
		}
		if log := app.log.String(); strings.Contains(log, "level=ERROR") {
			t.Errorf("the log: %s", log)
		}
	})
}

func secrets(list ...string) func(*logtogin.Config) {
	return func(cfg *logtogin.Config) { cfg.Secrets = list }
}

// A session of many claims takes several cookies; one that is too large fails
// with an error and keeps what was there.
func TestLargeSessions(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		size    int
		cookies int
		fits    bool
	}{
		"100 bytes of claims":    {100, 1, true},
		"4 000 bytes of claims":  {4_000, 2, true},
		"20 000 bytes of claims": {20_000, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			big := logtotest.DefaultUser()
			big.Username = "big"
			big.Claims = map[string]any{"website": strings.Repeat("w", test.size)}
			logto.AddUser(big)
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.SignInDefaults.Prompt = logtogin.PromptLoginConsent })
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			page := b.signIn(app.url+"/sign-in", big)
			who := b.get(app.url + "/").body
			if test.fits && who != "signed in as big" || !test.fits && who != "signed in as alice" {
				t.Errorf("%s; %d %s", who, page.status, page.body)
			}
			if !test.fits && page.status != http.StatusInternalServerError {
				t.Errorf("%d %s", page.status, page.body)
			}
			if ours := b.ours(app); len(ours) != test.cookies {
				t.Errorf("%d cookies", len(ours))
			}
			for _, cookie := range b.ours(app) {
				if size := len(cookie.Name) + 1 + len(cookie.Value); size > 3800 {
					t.Errorf("a cookie of %d bytes", size)
				}
			}
			b.get(app.url + "/sign-out")
			if left := b.ours(app); len(left) > 0 {
				t.Errorf("the sign-out leaves %v", left)
			}
		})
	}
}

// C57: signing in as somebody else leaves nothing of the first user, whose
// refresh token is revoked; signing in again as the same user revokes nothing,
// because Logto shares the grant.
func TestSigningInAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		second      string
		revocations int
	}{
		"as another user": {"bob", 1},
		"as the same":     {"alice", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bob := logtotest.DefaultUser()
			bob.Username = "bob"
			logto := logtotest.NewServer(t, logtotest.DefaultUser(), bob)
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Prompt = logtogin.PromptLoginConsent })
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			first := b.ours(app)

			form := b.get(app.url + "/sign-in")
			if who := b.get(app.url + "/").body; who != "signed in as alice" {
				t.Errorf("while signing in again: %s", who)
			}
			again := logtotest.DefaultUser()
			again.Username = test.second
			if page := b.enter(form, again); page.body != "signed in as "+test.second {
				t.Errorf("%d %s", page.status, page.body)
			}
			if page := send(t, http.MethodGet, app.url+"/", first, nil); page.body != "not signed in" {
				t.Errorf("the first session's cookie: %s", page.body)
			}
			if calls := logto.Calls(); calls.Revocation != test.revocations {
				t.Errorf("%d revocations, want %d", calls.Revocation, test.revocations)
			}
		})
	}
}

func TestGuardPanicsWithoutWhatSessionsNeed(t *testing.T) {
	t.Parallel()
	auth, err := logtogin.New(logtogin.Config{Endpoint: "https://example.logto.app"})
	if err != nil {
		t.Fatal(err)
	}
	defer auth.Close()
	for name, guard := range map[string]func() gin.HandlerFunc{
		"Guard":    func() gin.HandlerFunc { return auth.Guard() },
		"Optional": auth.Optional,
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			guard()
		}()
	}
}

// C67.
func TestOptionalIsForEverybody(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	visitor := send(t, http.MethodGet, app.url+"/", nil, nil)
	if visitor.status != http.StatusOK || visitor.header.Get("Cache-Control") != "" || visitor.header.Get("Vary") != "Cookie" {
		t.Errorf("visitor: %d %v", visitor.status, visitor.header)
	}
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	user := b.get(app.url + "/")
	if user.body != "signed in as alice" || user.header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("user: %s %v", user.body, user.header)
	}
}

// C67: what a signed-in user gets is nobody else's.
func TestAGuardedPageIsNotStored(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		app := start(nil)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			page := send(t, method, app.url+"/profile", b.ours(app), nil)
			if page.status != http.StatusOK || page.header.Get("Cache-Control") != "private, no-store" || page.header.Get("Vary") != "Cookie" {
				t.Errorf("%s: %d %v", method, page.status, page.header)
			}
		}
	})
}

// C68: a page for everybody goes on, and whoever asks is told why nobody is signed in.
func TestOptionalTellsThatTheStoreIsDown(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	var asked error
	app.router.GET("/asks", app.auth.Optional(), func(c *gin.Context) {
		_, isKnown := logtogin.ClaimsFrom(c)
		_, asked = app.auth.Claims(c)
		c.JSON(http.StatusOK, []bool{isKnown, app.auth.IsAuthenticated(c)})
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for name, test := range map[string]struct {
		down error
		is   error
		body string
	}{
		"up":   {nil, nil, "[true,true]"},
		"down": {errors.New("connection refused"), logtogin.ErrStoreUnavailable, "[false,false]"},
	} {
		store.set(func() { store.down = test.down })
		page := send(t, http.MethodGet, app.url+"/asks", b.ours(app), nil)
		if page.status != http.StatusOK || page.body != test.body || len(page.header.Values("Set-Cookie")) > 0 || !errors.Is(asked, test.is) {
			t.Errorf("%s: %d %s, %v", name, page.status, page.body, asked)
		}
	}
	store.set(func() { store.down = nil })
	if page := newBrowser(t).get(app.url + "/asks"); !errors.Is(asked, logtogin.ErrNotSignedIn) || page.body != "[false,false]" {
		t.Errorf("a visitor: %s, %v", page.body, asked)
	}
}

// Two applications of Logto in one router: the last guard that ran decides whose
// claims a handler sees.
func TestOptionalHidesTheClaimsOfAnotherAuth(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	other, err := logtogin.Register(app.router.Group("/other"), logtogin.Config{
		Endpoint: logto.Endpoint(), AppID: "another", AppSecret: logto.AppSecret(), BaseURL: app.url,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	app.router.GET("/both", app.auth.Optional(), other.Optional(), func(c *gin.Context) {
		_, isKnown := logtogin.ClaimsFrom(c)
		c.JSON(http.StatusOK, gin.H{"own": app.auth.IsAuthenticated(c), "in the context": isKnown})
	})
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	if page := b.get(app.url + "/both"); page.body != `{"in the context":false,"own":true}` {
		t.Errorf("%s", page.body)
	}
}

// C6: an origin is compared as a whole, not by how it begins or ends.
func TestTrustedOriginsAreComparedAsAWhole(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.TrustedOrigins = []string{"https://good.com"} })
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	for _, origin := range []string{
		"https://good.com.evil.com", "https://evilgood.com", "https://good.com@evil.com",
		"http://good.com", "https://good.com:8443", "https://sub.good.com",
	} {
		page := send(t, http.MethodPost, app.url+"/profile", b.ours(app), http.Header{"Origin": {origin}, "Sec-Fetch-Site": {"cross-site"}})
		if page.status != http.StatusForbidden {
			t.Errorf("%s: %d", origin, page.status)
		}
	}
}

// C8: the router's own redirects do not leave the host either.
func TestRoutersOwnRedirectsStayHere(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	for _, path := range []string{"//evil.com/", "//evil.com/sign-in/", "/sign-in/", "/%2fevil.com/", "/\\evil.com/", "//sign-in/"} {
		page := send(t, http.MethodGet, app.url+path, nil, http.Header{"X-Forwarded-Prefix": {"//evil.com"}})
		location, err := url.Parse(page.header.Get("Location"))
		if err != nil || (location.Host != "" && "http://"+location.Host != app.url) {
			t.Errorf("%s leads to %s", path, page.header.Get("Location"))
		}
	}
}

// A whole router can be guarded: its own routes let people in.
func TestGuardingAWholeRouter(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	cfg := logto.Config("https://app.example.com")
	auth, err := logtogin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, auth)
	router := gin.New()
	router.Use(auth.Guard())
	if err := auth.RegisterRoutes(router); err != nil {
		t.Fatal(err)
	}
	reached := 0
	page := func(c *gin.Context) { reached++; c.String(http.StatusOK, "in") }
	router.GET("/page", page)
	router.POST("/sign-in", page) // the application's own
	router.GET("/Sign-In", page)
	for path, method := range map[string]string{"/page": "GET", "/sign-in": "POST", "/Sign-In": "GET"} {
		w := httptest.NewRecorder()
		if router.ServeHTTP(w, httptest.NewRequest(method, path, nil)); w.Code != http.StatusUnauthorized {
			t.Errorf("a visitor at %s %s: %d", method, path, w.Code)
		}
	}
	if reached > 0 {
		t.Errorf("%d handlers have run", reached)
	}
	// Logto has no session here (C85).
	token, err := logto.LogoutToken(logto.AppID(), "somebody", "")
	if err != nil {
		t.Fatal(err)
	}
	told := httptest.NewRequest(http.MethodPost, "/backchannel-logout", strings.NewReader("logout_token="+token))
	told.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	if router.ServeHTTP(w, told); w.Code != http.StatusOK {
		t.Errorf("a logout token: %d %s", w.Code, w.Body)
	}
	client := logto.SignIn(t, router, logtotest.DefaultUser())
	if response, err := client.Get("/page"); err != nil || response.StatusCode != http.StatusOK || reached != 1 {
		t.Errorf("%v %v", response, err)
	}
}

// Whoever has filled in a form gets something to read, and a way back to the form.
func TestAFormWithoutASessionIsAnsweredByAPage(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	form := func(referer string) page {
		return send(t, http.MethodPost, app.url+"/profile", nil, http.Header{"Referer": {referer}, "Sec-Fetch-Site": {"same-origin"}})
	}
	if page := form(app.url + "/form?x=1"); page.status != 401 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") ||
		!strings.Contains(page.body, `href="/sign-in?return_to=%2Fform%3Fx%3D1"`) {
		t.Errorf("%d %v %s", page.status, page.header, page.body)
	}
	if page := form("https://evil.example/x"); !strings.Contains(page.body, `href="/sign-in"`) {
		t.Errorf("%s", page.body)
	}
	script := send(t, http.MethodPost, app.url+"/profile", nil, http.Header{"Sec-Fetch-Mode": {"cors"}, "Accept": {"*/*"}})
	if script.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%v", script.header)
	}
}
