package logtogin_test

import (
	"errors"
	"html"
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

func TestWhoMaySignOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		method string
		header http.Header
		status int
		ends   bool
	}{
		"GET by a link of the application": {"GET", http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusFound, true},
		"GET from the address bar":         {"GET", http.Header{"Sec-Fetch-Site": {"none"}}, http.StatusFound, true},
		"GET without Fetch Metadata":       {"GET", http.Header{"Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil}, http.StatusFound, true},
		"GET from another site":            {"GET", http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusOK, false},
		"GET from a sibling domain":        {"GET", http.Header{"Sec-Fetch-Site": {"same-site"}}, http.StatusOK, false},
		"GET by an image":                  {"GET", http.Header{"Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}}, http.StatusForbidden, false},
		"GET by a script":                  {"GET", http.Header{"Accept": {"*/*"}, "Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}, http.StatusForbidden, false},
		"GET by an XMLHttpRequest":         {"GET", http.Header{"Accept": {"*/*"}, "X-Requested-With": {"XMLHttpRequest"}, "Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil}, http.StatusForbidden, false},
		"GET by a prefetch":                {"GET", http.Header{"Sec-Purpose": {"prefetch"}}, http.StatusServiceUnavailable, false},
		"POST by a form":                   {"POST", http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusOK, true},
		"POST by a form with a target":     {"POST", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Dest": {"iframe"}}, http.StatusOK, true},
		"POST without Fetch Metadata":      {"POST", http.Header{"Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil}, http.StatusOK, true},
		"POST by a script":                 {"POST", http.Header{"Accept": {"*/*"}, "Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}, http.StatusOK, true},
		"POST by a beacon":                 {"POST", http.Header{"Accept": {"*/*"}, "Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"empty"}}, http.StatusOK, true},
		"POST by an XMLHttpRequest":        {"POST", http.Header{"Accept": {"text/html, */*"}, "X-Requested-With": {"XMLHttpRequest"}, "Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil}, http.StatusOK, true},
		"POST by a program":                {"POST", http.Header{"Accept": nil, "Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil}, http.StatusOK, true},
		"POST by htmx":                     {"POST", http.Header{"Accept": {"*/*"}, "Hx-Request": {"true"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}, http.StatusNoContent, true},
		"POST from another site (C79)":     {"POST", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}, http.StatusForbidden, false},
		"POST with the Origin null":        {"POST", http.Header{"Origin": {"null"}}, http.StatusForbidden, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			page := send(t, test.method, app.url+"/sign-out", b.ours(app), test.header)
			if page.status != test.status {
				t.Errorf("%d %s", page.status, page.body)
			}
			ended := send(t, http.MethodGet, app.url+"/", b.ours(app), nil).body == "not signed in"
			if ended != test.ends {
				t.Errorf("ended: %v", ended)
			}
			if cleared := page.header.Get("Clear-Site-Data"); (cleared == `"cache"`) != test.ends {
				t.Errorf("to be cleared: %q", cleared)
			}
			if test.status == http.StatusForbidden && strings.Contains(page.body, "/sign-in") {
				t.Errorf("what another site has sent is no reason to sign in: %s", page.body)
			}
			if test.method == http.MethodPost && test.ends {
				leadsOn(t, logto, page)
			}
			if test.status == http.StatusOK && !test.ends {
				if page.header.Get("Referrer-Policy") != "same-origin" || !strings.Contains(page.header.Get("Content-Security-Policy"), "form-action 'self'") ||
					!strings.Contains(page.body, `<form method="post" action="/sign-out">`) {
					t.Errorf("%v %s", page.header, page.body)
				}
			}
		})
	}
}

// leadsOn checks how the answer to a POST leads to Logto: by a page without script and form, or by a member
// or a header for scripts. A redirect would be stopped by form-action.
func leadsOn(t *testing.T, logto *logtotest.Server, answer page) {
	t.Helper()
	end := logto.Issuer() + "/session/end?client_id=" + logto.AppID()
	switch kind, _, _ := strings.Cut(answer.header.Get("Content-Type"), ";"); {
	case answer.header.Get("Location") != "":
		t.Errorf("it redirects to %s", answer.header.Get("Location"))
	case kind == "text/html":
		if !strings.Contains(answer.body, `<meta http-equiv="refresh" content="0; url=`+html.EscapeString(end)+`">`) ||
			!strings.Contains(answer.body, `<a class="button" href="`+html.EscapeString(end)+`">Continue</a>`) ||
			strings.Contains(answer.body, "<script") || strings.Contains(answer.body, "<form") || strings.Contains(answer.body, "id_token_hint") {
			t.Errorf("the page is %s", answer.body)
		}
		if !strings.Contains(answer.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("the headers are %v", answer.header)
		}
	case kind == "application/json":
		if got := decode(t, answer.body)["location"]; got != end {
			t.Errorf("the address is %q", got)
		}
	case answer.header.Get("HX-Redirect") != end:
		t.Errorf("%d %v %s", answer.status, answer.header, answer.body)
	}
	if cache := answer.header.Get("Cache-Control"); cache != "private, no-store" {
		t.Errorf("Cache-Control is %q", cache)
	}
}

// With a hint the address carries the ID token, which no page should. A redirect within the application may
// lead on to Logto, where form-action stops it.
func TestAFormIsRedirectedWithAHintOnly(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	for name, test := range map[string]struct {
		options logtogin.SignOutOptions
		status  int
		leads   string
	}{
		"with the ID token": {logtogin.SignOutOptions{IDTokenHint: true}, http.StatusSeeOther, ""},
		"only here":         {logtogin.SignOutOptions{LocalOnly: true}, http.StatusOK, `content="0; url=/">`},
		"to a path":         {logtogin.SignOutOptions{LocalOnly: true, PostLogoutRedirect: "/bye?a=b&c"}, http.StatusOK, `/bye?a=b&amp;c">`},
	} {
		app := newApplication(t, logto, nil)
		app.router.POST("/leave", func(c *gin.Context) { app.auth.SignOut(c, test.options) })
		app.router.DELETE("/leave", func(c *gin.Context) { app.auth.SignOut(c, test.options) })
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		answer := send(t, http.MethodPost, app.url+"/leave", b.ours(app), nil)
		if answer.status != test.status || !strings.Contains(answer.body, test.leads) {
			t.Errorf("%s: %d %v %s", name, answer.status, answer.header, answer.body)
		}
		answer = send(t, http.MethodDelete, app.url+"/leave", b.ours(app), http.Header{"Accept": {"*/*"}, "Sec-Fetch-Mode": {"cors"}})
		if answer.status != http.StatusOK || decode(t, answer.body)["location"] == "" {
			t.Errorf("%s, by a script: %d %v %s", name, answer.status, answer.header, answer.body)
		}
	}
}

func TestWhatIsNoSignOutSaysWhy(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	prefetch := send(t, http.MethodGet, app.url+"/sign-out", nil, http.Header{"Sec-Purpose": {"prefetch"}, "Sec-Fetch-Mode": {"no-cors"}})
	if prefetch.status != http.StatusServiceUnavailable || prefetch.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a prefetch: got %d %q, want 503 no-store", prefetch.status, prefetch.header.Get("Cache-Control"))
	}
	form := send(t, http.MethodPost, app.url+"/sign-out", nil, http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"cross-site"}})
	if form.status != http.StatusForbidden || !strings.Contains(form.body, "another site") {
		t.Errorf("a form of another site: got %d %s, want 403 and a page", form.status, form.body)
	}
	own := send(t, http.MethodPost, app.url+"/sign-out", nil, http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"same-origin"}})
	if own.status != http.StatusOK || own.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("a form: got %d, Referrer-Policy %q, want 200 no-referrer", own.status, own.header.Get("Referrer-Policy"))
	}
}

func TestAnOperatorMayKeepTheCache(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) { cfg.KeepCacheOnSignOut = true })
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	if page := send(t, http.MethodGet, app.url+"/sign-out", b.ours(app), nil); page.status != http.StatusFound || page.header.Get("Clear-Site-Data") != "" {
		t.Errorf("got %d with Clear-Site-Data %q, want 302 without", page.status, page.header.Get("Clear-Site-Data"))
	}
}

// A script is never answered by a page, and a user who wants to leave is not offered a sign-in.
func TestASignOutThatFailsSaysSo(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	store.down = errors.New("down")
	script := http.Header{"Accept": {"*/*"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}
	for name, test := range map[string]struct {
		method string
		header http.Header
		kind   string
	}{
		"a link": {http.MethodGet, nil, "text/html; charset=utf-8"}, "a form": {http.MethodPost, nil, "text/html; charset=utf-8"}, "a script": {http.MethodPost, script, "application/problem+json"},
	} {
		answer := send(t, test.method, app.url+"/sign-out", b.ours(app), test.header)
		if answer.status != http.StatusServiceUnavailable || answer.header.Get("Content-Type") != test.kind || strings.Contains(answer.body, "/sign-in") ||
			(test.kind != "application/problem+json" && !strings.Contains(answer.body, `href="/sign-out">Try again`)) {
			t.Errorf("%s: %d %v %s", name, answer.status, answer.header, answer.body)
		}
	}
	store.set(func() { store.down = nil })
	if !b.isSignedIn(app) {
		t.Error("the session has ended all the same")
	}
	script.Set("Origin", "https://evil.example")
	script.Set("Sec-Fetch-Site", "cross-site")
	if answer := send(t, http.MethodPost, app.url+"/sign-out", b.ours(app), script); answer.status != http.StatusForbidden || answer.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("another site: %d %v", answer.status, answer.header)
	}
}

func TestWhereSignOutGoes(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	end := logto.Issuer() + "/session/end"
	for name, test := range map[string]struct {
		config  func(*logtogin.Config)
		options logtogin.SignOutOptions
		want    func(app *application) string
	}{
		"to Logto's own page by default": {
			nil, logtogin.SignOutOptions{},
			func(*application) string { return end + "?client_id=" + logto.AppID() },
		},
		"to a path of the application": {
			func(cfg *logtogin.Config) { cfg.AfterSignOut = "/bye" }, logtogin.SignOutOptions{State: "a b&c"},
			func(app *application) string {
				return end + "?client_id=" + logto.AppID() + "&post_logout_redirect_uri=" + url.QueryEscape(app.url+"/bye") + "&state=a+b%26c"
			},
		},
		"to an absolute URL": {
			nil, logtogin.SignOutOptions{PostLogoutRedirect: "https://www.example.com/bye"},
			func(*application) string {
				return end + "?client_id=" + logto.AppID() + "&post_logout_redirect_uri=" + url.QueryEscape("https://www.example.com/bye")
			},
		},
		"state without an address is left out": {
			nil, logtogin.SignOutOptions{State: "x"},
			func(*application) string { return end + "?client_id=" + logto.AppID() },
		},
		"only here": {
			nil, logtogin.SignOutOptions{LocalOnly: true},
			func(*application) string { return "/" },
		},
		"only here, to a path": {
			nil, logtogin.SignOutOptions{LocalOnly: true, PostLogoutRedirect: "/bye"},
			func(app *application) string { return app.url + "/bye" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApplication(t, logto, test.config)
			app.router.GET("/leave", func(c *gin.Context) { app.auth.SignOut(c, test.options) })
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			page := send(t, http.MethodGet, app.url+"/leave", b.ours(app), nil)
			if got := page.header.Get("Location"); page.status != http.StatusFound || got != test.want(app) {
				t.Errorf("%d to %s, want %s", page.status, got, test.want(app))
			}
		})
	}
	t.Run("with the ID token as a hint", func(t *testing.T) {
		t.Parallel()
		app := newApplication(t, logto, nil)
		app.router.GET("/leave", func(c *gin.Context) { app.auth.SignOut(c, logtogin.SignOutOptions{IDTokenHint: true}) })
		app.router.GET("/token", func(c *gin.Context) {
			token, err := app.auth.IDToken(c)
			c.String(http.StatusOK, "%s%v", token, err)
		})
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		token := strings.TrimSuffix(b.get(app.url+"/token").body, "<nil>")
		page := send(t, http.MethodGet, app.url+"/leave", b.ours(app), nil)
		location, err := url.Parse(page.header.Get("Location"))
		if err != nil || location.Query().Get("id_token_hint") != token || strings.Count(token, ".") != 2 {
			t.Errorf("hint is %q, token is %q", location.Query().Get("id_token_hint"), token)
		}
	})
	for name, target := range map[string]string{ // C10
		"another scheme":         "javascript:alert(1)",
		"without https":          "http://www.example.com/",
		"a path of another host": "//evil.example",
	} {
		t.Run("not to "+name, func(t *testing.T) {
			t.Parallel()
			app := newApplication(t, logto, nil)
			app.router.GET("/leave", func(c *gin.Context) {
				app.auth.SignOut(c, logtogin.SignOutOptions{PostLogoutRedirect: target})
			})
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			page := send(t, http.MethodGet, app.url+"/leave", b.ours(app), nil)
			if page.status != http.StatusInternalServerError || page.header.Get("Location") != "" {
				t.Errorf("%d to %s", page.status, page.header.Get("Location"))
			}
			if home := send(t, http.MethodGet, app.url+"/", b.ours(app), nil); home.body != "not signed in" {
				t.Errorf("the session goes on: %s", home.body)
			}
		})
	}
}

// C92: where a sign-out leads is Config's, not the request's.
func TestHeadersOfTheRequestLeadNoSignOutAstray(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.AfterSignOut = "/bye" })
	app.router.GET("/leave", func(c *gin.Context) { app.auth.SignOut(c, logtogin.SignOutOptions{LocalOnly: true}) })
	app.router.GET("/leave-by-path", func(c *gin.Context) {
		app.auth.SignOut(c, logtogin.SignOutOptions{PostLogoutRedirect: "/seen"})
	})
	atLogto := logto.Issuer() + "/session/end?client_id=" + logto.AppID() + "&post_logout_redirect_uri="
	all := http.Header{}
	for name, value := range forgedAddresses {
		all.Set(name, value)
	}
	requests := []http.Header{nil, all}
	for name, value := range forgedAddresses {
		requests = append(requests, http.Header{name: {value}})
	}
	for path, want := range map[string]string{
		"/sign-out": atLogto + url.QueryEscape(app.url+"/bye"), "/leave": app.url + "/bye", "/leave-by-path": atLogto + url.QueryEscape(app.url+"/seen"),
	} {
		for _, forged := range requests {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			for name := range forged {
				r.Header.Set(name, forged.Get(name))
			}
			if host := forged.Get("Host"); host != "" {
				r.Host = host
			}
			w := httptest.NewRecorder()
			app.router.ServeHTTP(w, r)
			if got := w.Header().Get("Location"); w.Code != http.StatusFound || got != want {
				t.Errorf("%s with %v: %d to %s, want %s", path, forged, w.Code, got, want)
			}
		}
	}
}

// C80.
func TestLogtoBeingDownDoesNotStopASignOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		breakIt  func(*logtotest.Server)
		location string // "" for Logto's
	}{
		"revocation fails": {func(logto *logtotest.Server) {
			logto.Intercept(logtotest.Revocation, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.WriteHeader(http.StatusInternalServerError)
			})
		}, ""},
		"revocation never answers": {func(logto *logtotest.Server) {
			logto.Intercept(logtotest.Revocation, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
				<-r.Context().Done()
			})
		}, ""},
		"Logto is gone": {func(logto *logtotest.Server) { logto.Close() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			test.breakIt(logto)
			page := send(t, http.MethodGet, app.url+"/sign-out", b.ours(app), nil)
			if page.status != http.StatusFound || !strings.HasPrefix(page.header.Get("Location"), logto.Issuer()+"/session/end?") {
				t.Errorf("%d to %s", page.status, page.header.Get("Location"))
			}
			if home := send(t, http.MethodGet, app.url+"/", b.ours(app), nil); home.body != "not signed in" {
				t.Errorf("after the sign-out: %s", home.body)
			}
			if !strings.Contains(app.log.String(), "could not be revoked") {
				t.Errorf("the log says nothing: %s", app.log)
			}
		})
	}
	t.Run("Logto was never reached", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		logto.Close()
		page := send(t, http.MethodGet, app.url+"/sign-out", nil, nil)
		if page.status != http.StatusFound || page.header.Get("Location") != "/" {
			t.Errorf("%d to %s", page.status, page.header.Get("Location"))
		}
	})
}

func TestSignOutKillsTheRefreshTokenAtLogto(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	var refreshToken string
	logto.ChangeTokenAnswer(func(answer map[string]any) any {
		refreshToken = answer["refresh_token"].(string)
		return answer
	})
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	refresh := func() int {
		r, err := http.NewRequest(http.MethodPost, logto.Issuer()+"/token", strings.NewReader(url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {refreshToken},
		}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(logto.AppID(), logto.AppSecret())
		return newBrowser(t).do(r).status
	}
	if status := refresh(); status != http.StatusOK {
		t.Fatalf("before the sign-out: %d", status)
	}
	b.get(app.url + "/sign-out")
	if status := refresh(); status != http.StatusBadRequest {
		t.Errorf("after the sign-out: %d", status)
	}
}

func TestSignOutByHTMX(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	header := http.Header{"Hx-Request": {"true"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {app.url}}
	page := send(t, http.MethodPost, app.url+"/sign-out", b.ours(app), header)
	if page.status != http.StatusNoContent || !strings.HasPrefix(page.header.Get("HX-Redirect"), logto.Issuer()+"/session/end?") {
		t.Errorf("%d to %s", page.status, page.header.Get("HX-Redirect"))
	}
	if home := send(t, http.MethodGet, app.url+"/", b.ours(app), nil); home.body != "not signed in" {
		t.Error(home.body)
	}
}

// A sign-out whose response comes late deletes no cookie of a sign-in that has happened since.
func TestASignOutThatIsAnsweredLastDeletesNoNewerCookie(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		var held gates
		now, change := withClock(logto, func(cfg *logtogin.Config) {
			cfg.IdleTimeout = 10 * time.Minute
			cfg.OnSignedOut = func(c *gin.Context, _ *logtogin.Claims) {
				if c.FullPath() == "/sign-out" {
					held.pass(c)
				}
			}
		})
		app := start(change)
		app.router.GET("/leave", app.auth.Optional(), func(c *gin.Context) {
			address, err := app.auth.SignOutURL(c, logtogin.SignOutOptions{})
			if err != nil {
				t.Error(err)
			}
			if c.GetHeader("X-Held") == "by the handler" {
				held.pass(c)
			}
			c.String(http.StatusOK, address)
		})
		for name, test := range map[string]struct {
			path, held string
			before     func(b *browser)                         // the sign-out
			meanwhile  func(b *browser, cookies []*http.Cookie) // before the user signs in again
		}{
			"of two":             {"/leave", "by the handler", func(*browser) {}, func(b *browser, _ []*http.Cookie) { b.get(app.url + "/sign-out") }},
			"of an idle session": {"/leave", "by the handler", func(*browser) { now.advance(11 * time.Minute) }, func(*browser, []*http.Cookie) {}},
			"alone":              {"/leave", "by the handler", func(*browser) {}, func(*browser, []*http.Cookie) {}},
			"in OnSignedOut":     {"/sign-out", "", func(*browser) {}, func(*browser, []*http.Cookie) {}},
		} {
			now.advance(time.Minute)
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			cookies := b.ours(app)
			test.before(b)
			response := app.fetchHeld(&held, name, test.path, cookies, http.Header{"X-Held": {test.held}, "Accept": {"text/html"}}, func() {
				test.meanwhile(b, cookies)
				b.signIn(app.url+"/sign-in", alice())
			})
			if response == nil || len(response.Cookies()) > 0 {
				t.Errorf("%s: got %+v, want no cookies", name, response)
			}
			if !b.isSignedIn(app) {
				t.Errorf("%s: signed out", name)
			}
		}
	})
}
