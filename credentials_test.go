package logtogin_test

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What no guard may let through, whatever the request looks like.

// countingFiles counts how often somebody asks for a file.
type countingFiles struct {
	fs.FS
	count *atomic.Int64
}

func (f countingFiles) Open(name string) (fs.File, error) {
	f.count.Add(1)
	return f.FS.Open(name)
}

// guardedRouters are the ways in which a guard comes before a handler. The path is one that the
// handler serves.
var guardedRouters = map[string]func(router *gin.Engine, guard, handler gin.HandlerFunc, files http.FileSystem){
	"Any": func(router *gin.Engine, guard, handler gin.HandlerFunc, _ http.FileSystem) {
		router.Any("/page", guard, handler)
	},
	"NoRoute": func(router *gin.Engine, guard, handler gin.HandlerFunc, _ http.FileSystem) {
		router.NoRoute(guard, handler)
	},
	"a used guard and NoRoute": func(router *gin.Engine, guard, handler gin.HandlerFunc, _ http.FileSystem) {
		router.Use(guard)
		router.NoRoute(handler)
	},
	"NoMethod": func(router *gin.Engine, guard, handler gin.HandlerFunc, _ http.FileSystem) {
		router.HandleMethodNotAllowed = true
		router.NoMethod(guard, handler)
		router.Handle("SEARCH", "/page", guard, handler)
	},
	"Static": func(router *gin.Engine, guard, _ gin.HandlerFunc, files http.FileSystem) {
		router.Group("/", guard).StaticFS("/page", files)
	},
	"Static and OPTIONS": func(router *gin.Engine, guard, handler gin.HandlerFunc, files http.FileSystem) {
		group := router.Group("/", guard)
		group.StaticFS("/page", files)
		group.OPTIONS("/page/*file", handler)
	},
	"Group": func(router *gin.Engine, guard, handler gin.HandlerFunc, _ http.FileSystem) {
		group := router.Group("/", guard)
		for _, method := range methods {
			group.Handle(method, "/page", handler)
		}
	},
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodConnect, http.MethodOptions, http.MethodTrace, "PROPFIND", "UNKNOWN",
}

// shapes are headers of requests without credentials that something might take for harmless.
var shapes = map[string]http.Header{
	"nothing":               {},
	"a preflight":           {"Origin": {"https://spa.example.com"}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {"authorization"}},
	"a navigation":          {"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"none"}},
	"a prefetch":            {"Accept": {"text/html"}, "Sec-Purpose": {"prefetch;prerender"}},
	"a WebSocket":           {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}},
	"htmx":                  {"Hx-Request": {"true"}},
	"another method within": {"X-Http-Method-Override": {"OPTIONS"}},
	"an empty token":        {"Authorization": {""}},
	"a strange token":       {"Authorization": {"Basic YTpi"}},
	"a strange cookie":      {"Cookie": {"logtogin=1; session=2"}},
}

func TestNoRequestWithoutCredentialsPassesAGuard(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.ReleaseMode)
	logto := logtotest.NewServer(t)
	auth, err := logtogin.Register(gin.New(), logto.Config("https://app.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = auth.Close() })
	guards := map[string]gin.HandlerFunc{
		"Guard": auth.Guard(), "Bearer": auth.Bearer(ordersAPI), "BearerOrganization": auth.BearerOrganization(logtogin.OrganizationID("acme")),
		"SessionOrBearer": auth.SessionOrBearer(auth.Guard(), auth.Bearer(ordersAPI)),
	}
	for what, guard := range guards {
		for way, build := range guardedRouters {
			var reached atomic.Int64
			router := gin.New()
			files := http.FS(countingFiles{fstest.MapFS{"file": {Data: []byte("secret")}}, &reached})
			build(router, guard, func(c *gin.Context) { reached.Add(1) }, files)
			for _, method := range methods {
				for shape, header := range shapes {
					for _, path := range []string{"/page", "/page/file"} {
						r := httptest.NewRequest(method, path, nil)
						r.Header = header.Clone()
						w := httptest.NewRecorder()
						router.ServeHTTP(w, r)
						if count := reached.Swap(0); count > 0 || strings.Contains(w.Body.String(), "secret") {
							t.Errorf("%s before %s, %s %s like %s: the handler was reached, status %d", what, way, method, path, shape, w.Code)
						}
						if w.Code < 300 {
							t.Errorf("%s before %s, %s %s like %s: got %d", what, way, method, path, shape, w.Code)
						}
					}
				}
			}
		}
	}
}

// A handler that is reached shows that the test above would see it.
func TestCredentialsPassTheSameGuards(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	auth, err := logtogin.Register(gin.New(), logto.Config("https://app.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = auth.Close() })
	token := bearerHeader(logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI))
	for way, build := range guardedRouters {
		var reached atomic.Int64
		router := gin.New()
		files := http.FS(countingFiles{fstest.MapFS{"file": {Data: []byte("secret")}}, &reached})
		build(router, auth.Bearer(ordersAPI), func(c *gin.Context) { reached.Add(1) }, files)
		for _, path := range []string{"/page", "/page/file"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header = token.Clone()
			router.ServeHTTP(httptest.NewRecorder(), r)
		}
		if reached.Load() == 0 {
			t.Errorf("%s: the handler was not reached with a token", way)
		}
	}
}

// Method and path of a route of ours mean nothing on another engine, or when something else answers
// there.
func TestOnlyTheHandlersOfThisPackagePassAGuard(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.ReleaseMode)
	logto := logtotest.NewServer(t)
	router := gin.New()
	auth, err := logtogin.New(logto.Config("https://app.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = auth.Close() })
	router.Use(auth.Guard())
	if err := auth.RegisterRoutes(router.Group("/auth")); err != nil {
		t.Fatal(err)
	}
	var reached atomic.Int64
	handler := func(c *gin.Context) { reached.Add(1) }
	others := map[string]*gin.Engine{"routes": gin.New(), "NoRoute": gin.New(), "a catch-all": gin.New(), "a group": gin.New()}
	for _, engine := range others {
		engine.Use(auth.Guard())
	}
	own := []string{"GET /auth/sign-in", "GET /auth/sign-up", "GET /auth/callback", "GET /auth/sign-out", "POST /auth/sign-out", "POST /auth/backchannel-logout"}
	for _, route := range own {
		method, path, _ := strings.Cut(route, " ")
		others["routes"].Handle(method, path, handler)
		others["a group"].Group("/auth").Handle(method, strings.TrimPrefix(path, "/auth"), handler)
	}
	others["NoRoute"].NoRoute(handler)
	others["a catch-all"].Any("/*path", handler)
	for what, engine := range others {
		for _, route := range own {
			method, path, _ := strings.Cut(route, " ")
			w := httptest.NewRecorder()
			engine.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			if reached.Swap(0) > 0 || w.Code != http.StatusUnauthorized {
				t.Errorf("%s of another engine, %s: got %d, want 401 and nobody reached", what, route, w.Code)
			}
		}
	}
	for _, route := range own {
		method, path, _ := strings.Cut(route, " ")
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Accept", "text/html")
		router.ServeHTTP(w, r)
		if location := w.Header().Get("Location"); w.Code == http.StatusUnauthorized || strings.Contains(location, "return_to") {
			t.Errorf("%s below a guard of its own: got %d %s, want its own answer", route, w.Code, location)
		}
	}
	// The routes of another Auth pass, too: only code of this package runs.
	second, err := logtogin.New(logto.Config("https://app.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	if err := second.RegisterRoutes(router.Group("/second")); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/second/sign-in", nil))
	if location := w.Header().Get("Location"); !strings.HasPrefix(location, logto.Endpoint()) {
		t.Errorf("the sign-in of another Auth below a guard: got %d %s, want Logto", w.Code, location)
	}
}

// What a browser loads in advance, or into a page that is there, starts no sign-in and spends no
// callback: six of them would push out a real one.
func TestNothingBeginsBeforeTheUserAsks(t *testing.T) {
	t.Parallel()
	loads := map[string]struct {
		header http.Header
		status int
	}{
		"a prefetch":            {http.Header{"Sec-Purpose": {"prefetch"}, "Sec-Fetch-Mode": {"navigate"}}, http.StatusServiceUnavailable},
		"a prerender":           {http.Header{"Sec-Purpose": {"prefetch;prerender"}, "Sec-Fetch-Mode": {"navigate"}}, http.StatusServiceUnavailable},
		"an old prefetch":       {http.Header{"Purpose": {"prefetch"}}, http.StatusServiceUnavailable},
		"a prefetch of Firefox": {http.Header{"X-Moz": {"prefetch"}}, http.StatusServiceUnavailable},
		"a preview of Safari":   {http.Header{"X-Purpose": {"preview"}}, http.StatusServiceUnavailable},
		"an object":             {http.Header{"Sec-Fetch-Dest": {"object"}, "Sec-Fetch-Mode": {"navigate"}}, http.StatusNoContent},
		"an image":              {http.Header{"Sec-Fetch-Dest": {"image"}, "Sec-Fetch-Mode": {"no-cors"}}, http.StatusNoContent},
		"an embed":              {http.Header{"Sec-Fetch-Dest": {"embed"}, "Sec-Fetch-Mode": {"navigate"}}, http.StatusNoContent},
	}
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		var own *application
		app := start(nil)
		app.router.GET("/danger", app.auth.Guard(logtogin.MaxAge(60e9)), func(c *gin.Context) { c.String(http.StatusOK, "danger") })
		own = start(func(cfg *logtogin.Config) {
			cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/callback"
		})
		own.router.GET("/callback", func(c *gin.Context) {
			result, err := own.auth.HandleCallback(c)
			if err != nil {
				own.auth.Refuse(c, err)
				return
			}
			c.Redirect(http.StatusFound, result.ReturnTo)
		})
		for what, load := range loads {
			load.header.Set("Accept", "text/html")
			b := newBrowser(t)
			for _, who := range []string{"a visitor", "a user who signed in long ago"} {
				for range 6 {
					response, err := app.fetch(http.MethodGet, "/danger", b.ours(app), load.header)
					if what == "an image" { // is no navigation, and told so
						if err != nil || response.StatusCode != http.StatusUnauthorized || len(response.Cookies()) > 0 {
							t.Errorf("%s of %s: got %+v, %v, want 401 without cookies", what, who, response, err)
						}
						continue
					}
					if err != nil || response.StatusCode != load.status || len(response.Cookies()) > 0 || response.Header.Get("Cache-Control") == "" {
						t.Errorf("%s of %s: got %+v, %v, want %d without cookies", what, who, response, err, load.status)
					}
				}
				b.signIn(app.url+"/profile", alice()) // without max_age, which never suffices
			}
			for name, at := range map[string]*application{"the callback route": app, "a callback of the application's own": own} {
				want := load.status
				if at == own && load.status == http.StatusNoContent {
					want = http.StatusBadRequest // there is no answer that stands for nothing
				}
				b := newBrowser(t)
				callback := b.signInUntilCallback(at, alice())
				logto.ResetCalls()
				response, err := at.fetch(http.MethodGet, callback.RequestURI(), b.cookies(at.url), load.header)
				if err != nil || response.StatusCode != want || len(response.Cookies()) > 0 || logto.Calls().Token > 0 {
					t.Errorf("%s of %s: got %+v, %v and %d calls, want %d and none", what, name, response, err, logto.Calls().Token, want)
				}
				if page := b.get(callback.String()); page.status >= 400 || !b.isSignedIn(at) {
					t.Errorf("%s after %s: got %d %s, want a session", name, what, page.status, page.body)
				}
			}
		}
	})
}

// An application that gets no refresh tokens asks for tokens of an API, and sends its users through
// sign-ins that do not help.
func TestARefusalThatASignInDoesNotCureGoesInNoCircles(t *testing.T) {
	t.Parallel()
	causes := map[string]func(auth *logtogin.Auth, c *gin.Context) error{
		"no refresh token": func(auth *logtogin.Auth, c *gin.Context) error {
			_, err := auth.AccessToken(c, logtogin.Resource(ordersAPI))
			return err
		},
		"a demand of the application": func(auth *logtogin.Auth, c *gin.Context) error {
			auth.IsAuthenticated(c)
			return logtogin.ErrInsufficientAuthentication
		},
		"an error of the application": func(auth *logtogin.Auth, c *gin.Context) error {
			auth.IsAuthenticated(c)
			return fmt.Errorf("the wrong tenant: %w", logtogin.ErrNotSignedIn)
		},
	}
	for cause, ask := range causes {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
				now, change := withClock(logto, func(cfg *logtogin.Config) {
					cfg.OmitReservedScopes, cfg.Scopes = true, []string{"openid"}
				})
				app := start(change)
				handler := func(c *gin.Context) {
					if err := ask(app.auth, c); err != nil {
						app.auth.Refuse(c, err)
						return
					}
					c.String(http.StatusOK, "the page")
				}
				app.router.GET("/guarded", app.auth.Guard(), handler)
				app.router.GET("/unguarded", handler)
				app.router.GET("/unasked", func(c *gin.Context) { app.auth.Refuse(c, logtogin.ErrNotSignedIn) })
				for _, path := range []string{"/guarded", "/unguarded", "/unasked"} {
					b := newBrowser(t)
					b.signIn(app.url+"/profile", alice())
					now.advance(time.Hour) // after what was remembered of another one
					b.signIn(app.url+"/sign-in", alice())
					logto.ResetCalls()
					page := b.get(app.url + path)
					if page.status != http.StatusForbidden || !strings.Contains(page.body, "You have just signed in") || strings.Contains(page.body, "/sign-in") {
						t.Errorf("%s: got %d at %s: %s, want a page that says so and offers no sign-in", path, page.status, page.url, page.body)
					}
					if calls := logto.Calls(); calls.Token > 1 || calls.Authorization > 1 {
						t.Errorf("%s: got %+v, want one sign-in", path, calls)
					}
				}
				if !strings.Contains(app.log.String(), "another sign-in would not help") {
					t.Errorf("the log does not say so: %s", app.log)
				}
			})
		})
	}
}

// A script of a browser without Fetch Metadata says what it is by another header.
func TestAScriptIsToldAndNotRedirected(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	for _, test := range []struct {
		name, with, accept string
		want               int
	}{
		{"jQuery", "XMLHttpRequest", "text/html, */*; q=0.01", http.StatusUnauthorized},
		{"in lower case", "xmlhttprequest", "text/html", http.StatusUnauthorized},
		{"an Android WebView", "com.example.app", "text/html", http.StatusFound},
		{"a browser", "", "text/html", http.StatusFound},
	} {
		header := http.Header{"Accept": {test.accept}}
		if test.with != "" {
			header.Set("X-Requested-With", test.with)
		}
		response, err := app.fetch(http.MethodGet, "/profile", nil, header)
		if err != nil || response.StatusCode != test.want {
			t.Errorf("%s: got %+v, %v, want %d", test.name, response, err, test.want)
		}
		if test.want == http.StatusUnauthorized {
			response, err := app.fetch(http.MethodGet, "/sign-in", nil, header)
			if err != nil || response.StatusCode != http.StatusNoContent || len(response.Cookies()) > 0 {
				t.Errorf("%s at the sign-in route: got %+v, %v, want 204 and no attempt", test.name, response, err)
			}
		}
	}
}

// A proxy in front may ask for credentials of its own, which say nothing to the application.
func TestCredentialsOfAnotherSchemeAreNoToken(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/both", app.auth.SessionOrBearer(app.auth.Guard(), app.auth.Bearer(ordersAPI)), func(c *gin.Context) { c.String(http.StatusOK, identityOf(c)) })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for authorization, want := range map[string]string{"Basic c3RhZ2luZzpzZWNyZXQ=": "200 alice", "": "200 alice", "Bearer abc": "401", "bearer a.b.c": "401"} {
		response, err := app.fetch(http.MethodGet, "/both", b.ours(app), http.Header{"Authorization": {authorization}})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		if got := fmt.Sprint(response.StatusCode, " ", string(body)); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %s, want %s", authorization, got, want)
		}
	}
}

// Logto delivers to a route that a guard over the whole router cannot know.
func TestAWebhookPassesAGuard(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	group := app.router.Group("/", app.auth.Guard())
	group.POST("/webhook", app.auth.WebhookHandler("key"))
	logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhook", SigningKey: "key", Events: []string{"User.SuspensionStatus.Updated"}})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	logto.SuspendUser(aliceID, true)
	if b.isSignedIn(app) {
		t.Errorf("a suspended user is signed in: %+v", logto.Deliveries())
	}
	if page := send(t, http.MethodPost, app.url+"/webhook", nil, nil); page.status != http.StatusUnauthorized {
		t.Errorf("without a signature: got %d, want 401", page.status)
	}
}

// A hook of a guard that refuses sees nobody, also if an outer guard has let somebody through.
func TestAGuardThatRefusesHidesWhatOuterGuardsHaveFound(t *testing.T) {
	t.Parallel()
	var seen []string
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	cfg := logto.Config(app.url)
	cfg.Cookies.Name = "other"
	cfg.OnError = func(c *gin.Context, _ error) {
		seen = append(seen, identityOf(c), identityOf(c.Request.Context()), identityByKeys(c))
	}
	second, err := logtogin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	requirement := logtogin.MatchClaims("nobody", func(c *gin.Context, _ *logtogin.Claims) bool {
		seen = append(seen, identityOf(c), identityByKeys(c))
		return false
	})
	app.router.GET("/session", app.auth.Guard(), second.Guard(), func(*gin.Context) {})
	app.router.GET("/token", app.auth.Guard(), second.Bearer(ordersAPI), func(*gin.Context) {})
	app.router.GET("/requirement", app.auth.Guard(), app.auth.Guard(requirement), func(*gin.Context) {})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	for _, path := range []string{"/session", "/token", "/requirement"} {
		response, err := app.fetch(http.MethodGet, path, b.ours(app), http.Header{"Accept": nil})
		if err != nil || response.StatusCode < 400 {
			t.Errorf("%s: got %+v, %v, want a refusal", path, response, err)
		}
	}
	if len(seen) != 8 || slices.ContainsFunc(seen, func(who string) bool { return who != "nobody" }) {
		t.Errorf("the hooks see %q, want nobody", seen)
	}
}

// A visitor of a page with two ages is sent through the sign-in that satisfies both.
func TestTheSmallestAgeIsAskedFor(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	app.guarded("/pay", logtogin.MaxAge(time.Hour), logtogin.MaxAge(5*time.Minute), logtogin.MaxAge(time.Minute*30))
	for _, who := range []string{"a visitor", "a user"} {
		b := newBrowser(t)
		if who == "a user" {
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
		}
		b.stopAt(logto.Endpoint())
		if page := b.get(app.url + "/pay"); !strings.Contains(page.header.Get("Location"), "max_age=300") {
			t.Errorf("%s: got %v, want max_age=300", who, page.header)
		}
	}
}

// Logto refuses the session, or the user signs out, while a guard looks at its requirements.
func TestASessionThatEndsDuringItsRequirementsPassesNoGuard(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		logto := withRights(t)
		var held gates
		app := start(func(cfg *logtogin.Config) {
			cfg.Endpoint, cfg.AppID, cfg.AppSecret, cfg.Scopes = logto.Endpoint(), logto.AppID(), logto.AppSecret(), rightsScopes
		})
		app.guarded("/either", logtogin.AnyOf(logtogin.OrganizationAccess(logtogin.OrganizationID("acme")), logtogin.Role("admin")))
		app.guarded("/function", logtogin.MatchClaims("asks", func(c *gin.Context, _ *logtogin.Claims) bool {
			_, _ = app.auth.AccessToken(c, logtogin.Organization("acme"))
			return true
		}))
		app.guarded("/slow", logtogin.MatchClaims("waits", func(c *gin.Context, _ *logtogin.Claims) bool {
			held.pass(c)
			return true
		}))
		for _, path := range []string{"/either", "/function", "/slow"} {
			logto.Behave()
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			if path != "/slow" {
				oauthError(http.StatusBadRequest, "invalid_grant")(logto)
				if page := send(t, http.MethodGet, app.url+path, b.ours(app), http.Header{"Accept": nil}); page.status != http.StatusUnauthorized {
					t.Errorf("%s: got %d %s, want 401", path, page.status, page.body)
				}
				continue
			}
			response := app.fetchHeld(&held, path, path, b.ours(app), nil, func() { b.get(app.url + "/sign-out") })
			if response == nil || response.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: got %+v, want 401", path, response)
			}
		}
	})
}

// A guard on an engine outside cannot know the routes of an engine within.
func TestAGuardOutsideTheEngineOfTheRoutesIsAMistakeThatIsNamed(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	inner := app.server.Handler
	for name, build := range map[string]func(outer *gin.Engine){
		"a used guard": func(outer *gin.Engine) { outer.Use(app.auth.Guard()); outer.NoRoute(gin.WrapH(inner)) },
		"a catch-all":  func(outer *gin.Engine) { outer.Any("/*any", app.auth.Guard(), gin.WrapH(inner)) },
	} {
		outer := gin.New()
		build(outer)
		server := httptest.NewServer(outer)
		t.Cleanup(server.Close)
		page := newBrowser(t).get(server.URL + "/profile")
		if page.status != http.StatusInternalServerError || page.url.Path != "/sign-in" || !strings.Contains(app.log.String(), "lies behind a guard") {
			t.Errorf("%s: got %d at %s, want 500 at the sign-in route", name, page.status, page.url)
		}
	}
}

// A goroutine that a requirement starts is told to use a copy.
func TestAGoroutineOfARequirementMayAsk(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	var asking sync.WaitGroup
	audit := logtogin.MatchClaims("audit", func(c *gin.Context, _ *logtogin.Claims) bool {
		kept := c.Copy()
		asking.Go(func() {
			if claims, err := app.auth.Claims(kept); err != nil || claims.Username != "alice" {
				t.Errorf("got %+v, %v, want alice", claims, err)
			}
			identityOf(kept)
		})
		return true
	})
	app.router.GET("/one", app.auth.Guard(audit), func(*gin.Context) {})
	app.router.GET("/two", app.auth.Guard(), app.auth.Guard(audit), func(*gin.Context) {})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for range 10 {
		b.get(app.url + "/one")
		b.get(app.url + "/two")
	}
	asking.Wait()
}

// What was offered to one browser says nothing about another one that was signed in before.
func TestAnOfferToOneBrowserIsNoneToAnother(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	app.router.GET("/refused", app.auth.Guard(), func(c *gin.Context) { app.auth.Refuse(c, logtogin.ErrTokenExpired) })
	first, second := newBrowser(t), newBrowser(t)
	first.signIn(app.url+"/profile", logtotest.DefaultUser())
	second.signIn(app.url+"/profile", logtotest.DefaultUser())
	for name, b := range map[string]*browser{"the first": first, "the second": second} {
		now.advance(time.Second)
		if page := send(t, http.MethodGet, app.url+"/refused", b.ours(app), nil); page.status != http.StatusFound {
			t.Errorf("%s: got %d, want a redirect to the sign-in", name, page.status)
		}
	}
}
