package logtogin_test

import (
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// proxied is an application behind a proxy that removes the path of its BaseURL. The browsers of it find it at that
// address, whatever its host.
type proxied struct {
	t      *testing.T
	base   *url.URL // as browsers have it
	router *gin.Engine
	auth   *logtogin.Auth
	rest   http.RoundTripper
}

func newProxied(t *testing.T, logto *logtotest.Server, asBrowsersHaveIt, group string, change func(*logtogin.Config)) (*proxied, error) {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	base, err := url.Parse(asBrowsersHaveIt)
	if err != nil {
		t.Fatal(err)
	}
	app := &proxied{t: t, base: base, router: gin.New(), rest: &http.Transport{}}
	cfg := logtogin.Config{
		Endpoint: logto.Endpoint(), AppID: logto.AppID(), AppSecret: logto.AppSecret(), BaseURL: asBrowsersHaveIt,
		AfterSignOut: "/bye", Logger: (&logBuffer{}).logger(),
	}
	change(&cfg)
	routes := app.router.Group(group)
	if app.auth, err = logtogin.Register(routes, cfg); err != nil {
		return nil, err
	}
	closed(t, app.auth)
	page := func(c *gin.Context) { c.String(http.StatusOK, "a page") }
	routes.GET("/page", app.auth.Guard(), page)
	routes.GET("/who", app.auth.Optional(), func(c *gin.Context) {
		claims, _ := logtogin.ClaimsFrom(c)
		if claims == nil {
			claims = &logtogin.Claims{}
		}
		c.String(http.StatusOK, "%q", claims.Username)
	})
	routes.POST("/page", app.auth.Guard(), page)
	routes.GET("/files/*path", app.auth.Guard(), page)
	app.router.GET("/bye", page)
	return app, nil
}

func (app *proxied) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != app.base.Host || r.URL.Scheme != app.base.Scheme {
		return app.rest.RoundTrip(r)
	}
	path, ok := strings.CutPrefix(r.URL.RequestURI(), app.base.EscapedPath())
	if !ok {
		app.t.Errorf("the browser asks for %s", r.URL)
	}
	var body io.Reader = http.NoBody
	if r.Body != nil {
		body = r.Body
	}
	received := httptest.NewRequest(r.Method, path, body)
	received.Host, received.Header = r.URL.Host, r.Header
	recorder := httptest.NewRecorder()
	app.router.ServeHTTP(recorder, received)
	response := recorder.Result()
	for _, name := range []string{"Location", "Hx-Redirect"} {
		if strings.ContainsFunc(response.Header.Get(name), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			app.t.Errorf("%s: %s", name, response.Header.Get(name))
		}
	}
	response.Request = r
	return response, nil
}

func (app *proxied) browser() *browser {
	b := newBrowser(app.t)
	b.client.Transport, b.client.Jar = app, escapedJar{b.client.Jar}
	return b
}

// escapedJar compares the paths of cookies with the path as it was sent, as browsers do (RFC 6265, section 5.1.4). The
// jar of net/http compares the decoded path.
type escapedJar struct{ http.CookieJar }

func (j escapedJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.CookieJar.SetCookies(asSent(u), cookies)
}
func (j escapedJar) Cookies(u *url.URL) []*http.Cookie { return j.CookieJar.Cookies(asSent(u)) }

func asSent(u *url.URL) *url.URL {
	sent := *u
	sent.Path, sent.RawPath = u.EscapedPath(), ""
	return &sent
}

// A user signs in, uses a guarded page and signs out, whatever form the addresses of the application have.
func TestAddressesAreRightHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ given, asBrowsersHaveIt, group, groupEscaped, cookiePath string }{
		"letters outside ASCII in the host": {"https://bücher.example", "https://xn--bcher-kva.example", "", "", ""},
		"a host in upper case":              {"https://APP.example", "https://app.example", "", "", ""},
		"a colon without a port":            {"https://app.example:", "https://app.example", "", "", ""},
		"the usual port with a zero":        {"https://app.example:0443", "https://app.example", "", "", ""},
		"another port with a zero":          {"https://app.example:08443", "https://app.example:8443", "", "", ""},
		"a long IPv6 address":               {"https://[2001:DB8:0:0::1]", "https://[2001:db8::1]", "", "", ""},
		"a long IPv6 address with a port":   {"http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000", "", "", ""},
		"a space in the path":               {"https://app.example/my app/", "https://app.example/my%20app", "", "", "/my app"},
		"an escaped space in the path":      {"https://app.example/my%20app", "https://app.example/my%20app", "", "", "/my%20app"},
		"an escaped slash":                  {"https://app.example/a%2Fb", "https://app.example/a%2Fb", "", "", "/a%2Fb"},
		"an escape that need not be":        {"https://app.example/%7Euser", "https://app.example/%7Euser", "", "", "/%7Euser"},
		"a tilde":                           {"https://app.example/~user", "https://app.example/~user", "", "", "/~user"},
		"letters outside ASCII in the path": {"https://app.example/größe", "https://app.example/gr%C3%B6%C3%9Fe", "", "", "/größe"},
		"half of the path escaped":          {"https://app.example/gr%c3%b6ße%2Fx", "https://app.example/gr%c3%b6%C3%9Fe%2Fx", "", "", "/gr%c3%b6ße%2Fx"},
		"a group outside ASCII":             {"https://app.example", "https://app.example", "/größe", "/gr%C3%B6%C3%9Fe", "/größe"},
		"a group with a space":              {"https://app.example", "https://app.example", "/my app", "/my%20app", "/my app"},
		"a group with odd characters":       {"https://app.example", "https://app.example", "/a'(b)!$&+,=@~|^", "/a'(b)!$&+,=@~%7C%5E", "/"},
		"an apostrophe in the group":        {"https://app.example/b%7E'(c)", "https://app.example/b%7E'(c)", "/o'neil", "/o'neil", "/b%7E'(c)/o'neil"},
		"a path and a group":                {"https://app.example/größe/%7E", "https://app.example/gr%C3%B6%C3%9Fe/%7E", "/été", "/%C3%A9t%C3%A9", "/größe/%7E/été"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			app, err := newProxied(t, logto, test.asBrowsersHaveIt, test.group, func(cfg *logtogin.Config) {
				cfg.BaseURL, cfg.Cookies.Path = test.given, test.cookiePath
			})
			if err != nil {
				t.Fatal(err)
			}
			routes := test.asBrowsersHaveIt + test.groupEscaped
			logto.RegisterRedirectURIs(routes + "/callback")
			logto.RegisterPostLogoutRedirectURIs(test.asBrowsersHaveIt + "/bye")
			b := app.browser()
			b.stopAt(logto.Endpoint())
			usual := b.header
			b.header = http.Header{"Hx-Request": {"true"}, "Hx-Current-Url": {routes + "/page?x=y"}, "Sec-Fetch-Mode": {"cors"}}
			part := b.get(routes + "/page")
			b.header = usual
			redirect, err := app.base.Parse(part.header.Get("Hx-Redirect"))
			if err != nil || !strings.HasPrefix(redirect.String(), routes+"/sign-in?") || redirect.Query().Get("return_to") != test.groupEscaped+"/page?x=y" {
				t.Errorf("htmx is sent to %v (%v)", redirect, err)
			}
			page := b.get(routes + "/page?q=%C3%BC")
			authorization, err := url.Parse(page.header.Get("Location"))
			if err != nil || authorization.Query().Get("redirect_uri") != routes+"/callback" {
				t.Fatalf("%d: the redirect URI is %q (%v), want %s", page.status, authorization.Query().Get("redirect_uri"), err, routes+"/callback")
			}

			b = app.browser()
			if page := b.signIn(routes+"/page?q=%C3%BC", logtotest.DefaultUser()); page.body != "a page" || page.url.String() != routes+"/page?q=%C3%BC" {
				t.Fatalf("after the sign-in: %d %s at %s", page.status, page.body, page.url)
			}
			for origin, want := range map[string]int{app.base.Scheme + "://" + app.base.Host: http.StatusOK, "https://other.example": http.StatusForbidden} {
				b.header = http.Header{"Accept": usual["Accept"], "Origin": {origin}} // of a browser of before 2020
				if page := b.post(routes+"/page", nil); page.status != want {
					t.Errorf("a form of %s: %d", origin, page.status)
				}
			}
			b.header = usual.Clone()
			b.header.Set("Sec-Fetch-Site", "cross-site") // a link of another site
			asked := b.get(routes + "/sign-out")
			action := html.UnescapeString(formAction.FindStringSubmatch(asked.body + `<form action="">`)[1])
			if app.base.Scheme+"://"+app.base.Host+action != routes+"/sign-out" {
				t.Errorf("the form of the sign-out leads to %q", action)
			}
			b.header = usual
			leaving := b.post(routes+"/sign-out", nil)
			if leaving.status != http.StatusOK || !strings.Contains(leaving.body, url.QueryEscape(test.asBrowsersHaveIt+"/bye")) {
				t.Errorf("the sign-out: %d %s", leaving.status, leaving.body)
			}
			b.stopAt(logto.Endpoint())
			if page := b.get(routes + "/page"); page.status != http.StatusFound {
				t.Errorf("after the sign-out: %d", page.status)
			}
		})
	}
}

// Gin decodes paths and browsers do not, so that a page can be guarded to which the session is not sent.
func TestAPageOutsideTheCookiePathIsNoCircle(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ group, cookiePath, page, want string }{
		{"/app", "/app", "/app/page", "/app/page"},
		{"/app", "/app/", "/app/page", "/app/page"},
		{"/app", "/app", "/%61pp/page?q=%61%2F", "/app/page?q=%61%2F"},
		{"/app", "/app", "/%61pp/fi%6Ces/a%2Fb?q", "/app/files/a%2Fb?q"},
		{"/app", "/app", "/other", ""},
		{"/app", "/app", "/apple", ""},
		{"/app", "/app/", "/app", ""},
		{"/app", "/app", "/%2561pp", ""},
		{"/größe", "/größe", "/gr%c3%b6%c3%9fe/page", "/gr%C3%B6%C3%9Fe/page"},
		{"/größe", "/größe", "/gr%C3%B6%C3%9Fe/p%61ge", "/gr%C3%B6%C3%9Fe/p%61ge"},
		{"/o'neil", "/o'neil", "/o%27neil/page", "/o'neil/page"},
		{"/my app", "/my%20app", "/my%20app/page", "/my%20app/page"},
		{"/app", "/", "/other", "/other"},
	} {
		logto := logtotest.NewServer(t)
		log := &logBuffer{}
		app, err := newProxied(t, logto, "https://app.example", test.group, func(cfg *logtogin.Config) {
			cfg.Cookies.Path, cfg.AfterSignIn, cfg.Logger = test.cookiePath, test.group+"/page", log.logger()
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/other", "/apple", "/app", "/%61pp"} {
			app.router.GET(path, app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "a page") })
		}
		logto.RegisterRedirectURIs("https://app.example" + (&url.URL{Path: test.group}).EscapedPath() + "/callback")
		logto.RegisterRedirectURIs("https://app.example" + test.group + "/callback")
		b := app.browser()
		b.signIn("https://app.example"+strings.ReplaceAll(test.group, " ", "%20")+"/sign-in", logtotest.DefaultUser())
		page := b.get("https://app.example" + test.page)
		switch {
		case test.want == "" && (page.status != http.StatusInternalServerError || !strings.Contains(log.String(), "outside Config.Cookies.Path")):
			t.Errorf("%s in %s: %d at %s, and the log says %s", test.page, test.cookiePath, page.status, page.url, log)
		case test.want != "" && (page.body != "a page" || page.url.String() != "https://app.example"+test.want):
			t.Errorf("%s in %s: %d at %s, want %s", test.page, test.cookiePath, page.status, page.url, test.want)
		}
		b.header = http.Header{"Accept": {"*/*"}}
		if script := b.get("https://app.example" + test.page); test.want == "" && script.status != http.StatusUnauthorized {
			t.Errorf("a script at %s: %d", test.page, script.status)
		}
	}
}

// A path comes back as it was sent.
func TestAPageWithAnEscapedSlashComesBackAsItWas(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	app.router.GET("/files/*path", app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "a file") })
	for sent, want := range map[string]string{"/files/a%2Fb|c?d=|": "/files/a%2Fb%7Cc?d=|", "/files/%7Euser|": "/files/%7Euser%7C", "/files/a%2Fb": "/files/a%2Fb"} {
		r := httptest.NewRequest(http.MethodGet, sent, nil) // clients of net/http escape the path anew
		r.Header.Set("Accept", "text/html")
		refused := httptest.NewRecorder()
		app.router.ServeHTTP(refused, r)
		to, err := url.Parse(refused.Header().Get("Location"))
		if err != nil || to.Query().Get("return_to") != want {
			t.Errorf("%s: to %s", sent, to)
		}
	}
}

func TestConfiguredDestinationsAreEscaped(t *testing.T) {
	t.Parallel()
	const site = "https://bücher.example/größe"
	logto := logtotest.NewServer(t)
	app, err := newProxied(t, logto, "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe", "", func(cfg *logtogin.Config) {
		cfg.BaseURL, cfg.Cookies = site, logtogin.CookieOptions{Domain: ".BÜCHER.example"}
		cfg.AfterSignIn, cfg.AfterSignOut = "/größe?q=a b|c", "https://WWW.bücher.example:443/ende?x=ü"
		cfg.SignInDefaults.RedirectURI, cfg.Paths.Callback = "https://BÜCHER.example:443/größe/zurück", "-"
	})
	if err != nil {
		t.Fatal(err)
	}
	const base = "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe"
	logto.RegisterRedirectURIs(base + "/zur%C3%BCck")
	logto.RegisterPostLogoutRedirectURIs("https://www.xn--bcher-kva.example/ende?x=%C3%BC")
	app.router.GET("/zurück", func(c *gin.Context) {
		result, err := app.auth.HandleCallback(c)
		if err != nil {
			t.Error(err)
			return
		}
		c.Redirect(http.StatusFound, result.ReturnTo)
	})
	app.router.GET("/größe", func(c *gin.Context) { c.String(http.StatusOK, "%s", c.Query("q")) })
	b := app.browser()
	page := b.signIn(base+"/sign-in", logtotest.DefaultUser())
	if page.body != "a b|c" || page.url.String() != base+"/gr%C3%B6%C3%9Fe?q=a%20b%7Cc" {
		t.Errorf("after the sign-in: %q at %s", page.body, page.url)
	}
	for _, cookie := range setCookies(b.get(base + "/sign-up")) {
		if cookie.Domain != "xn--bcher-kva.example" {
			t.Errorf("the Domain of %s is %q", cookie.Name, cookie.Domain)
		}
	}
	b.stopAt(logto.Endpoint())
	leaving, err := url.Parse(b.get(base + "/sign-out").header.Get("Location"))
	if err != nil || leaving.Query().Get("post_logout_redirect_uri") != "https://www.xn--bcher-kva.example/ende?x=%C3%BC" {
		t.Errorf("the sign-out leads to %s (%v)", leaving, err)
	}
	b.header = http.Header{"Hx-Request": {"true"}}
	part, err := url.Parse(b.get(base + "/sign-in?return_to=/a").header.Get("Hx-Redirect"))
	if err != nil || part.String() != "/gr%C3%B6%C3%9Fe/sign-in?return_to=/a" {
		t.Errorf("htmx is sent to %s (%v)", part, err)
	}
}

// What is not there is no mistake of the operator, and a part of a page leads to the spelling that has the session.
func TestOtherSpellingsOfAPageAreNoErrors(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	log := &logBuffer{}
	app, err := newProxied(t, logto, "https://app.example", "/app", func(cfg *logtogin.Config) { cfg.Cookies.Path, cfg.Logger = "/app", log.logger() })
	if err != nil {
		t.Fatal(err)
	}
	app.router.NoRoute(app.auth.Guard())
	b := app.browser()
	b.stopAt(logto.Endpoint())
	app.router.GET("/:section/page", app.auth.Guard(), func(*gin.Context) {})
	for _, app.router.RemoveExtraSlash = range []bool{false, true} {
		for _, path := range []string{"/wp-login.php", "//app/page", "/APP/page", "/%61pp//page", "/%2561pp/page", "/wp/page"} {
			if page := b.get("https://app.example" + path); page.status >= http.StatusInternalServerError {
				t.Errorf("%s: %d", path, page.status)
			}
		}
	}
	if strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%s", log)
	}
	b.header = http.Header{"Hx-Request": {"true"}, "Hx-Current-Url": {"https://app.example/%61pp/list?x=%2F"}, "Sec-Fetch-Mode": {"cors"}}
	part, err := url.Parse(b.get("https://app.example/%61pp/page").header.Get("Hx-Redirect"))
	if err != nil || part.Query().Get("return_to") != "/app/list?x=%2F" {
		t.Errorf("a part is led to %s (%v)", part, err)
	}
}
