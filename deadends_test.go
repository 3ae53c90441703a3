package logtogin_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// offered are the links of a page, by their texts.
func offered(shown page) map[string]string {
	links := map[string]string{}
	for _, link := range linkOnPage.FindAllStringSubmatch(shown.body, -1) {
		links[link[2]] = strings.ReplaceAll(link[1], "&amp;", "&")
	}
	return links
}

var linkOnPage = regexp.MustCompile(`<a class="button" href="([^"]*)"[^>]*>([^<]*)</a>`)

// An account that is refused is still signed in at Logto: another sign-in would end on the same page. A
// sign-out leads to a sign-in of another user.
func TestARefusedAccountCanBeLeft(t *testing.T) {
	t.Parallel()
	noMembers := func(c *gin.Context, result *logtogin.SignInResult) error {
		if result.Claims.Username == "carol" {
			return &logtogin.RefusalError{Message: "Carol is not a customer."}
		}
		return nil
	}
	denied := func(logto *logtotest.Server) {
		logto.ChangeCallback(func(query url.Values) url.Values {
			return url.Values{"error": {"access_denied"}, "state": query["state"], "iss": query["iss"]}
		})
	}
	for name, test := range map[string]struct {
		refuse  func(*logtotest.Server)
		forgive func(*logtotest.Server)
		config  func(*logtogin.Config)
		says    string
	}{
		"an account that was deleted": {refuse: func(logto *logtotest.Server) { logto.DeleteUser("carol") }, says: "cannot use this application"},
		"an account without access":   {denied, func(logto *logtotest.Server) { logto.ChangeCallback(nil) }, nil, "cannot use this application"},
		"an account that a script at Logto refuses": {
			func(logto *logtotest.Server) {
				logto.Intercept(logtotest.Token, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusBadRequest)
					_, _ = w.Write([]byte(`{"error":"access_denied","error_description":"not from here"}`))
				})
			},
			func(logto *logtotest.Server) { logto.Intercept(logtotest.Token, nil) }, nil, "cannot use this application",
		},
		"an account that the application refuses": {config: func(cfg *logtogin.Config) { cfg.OnSignedIn = noMembers }, says: "Carol is not a customer."},
		"an account with too much data": {
			func(logto *logtotest.Server) {
				logto.ChangeIDToken(func(token *logtotest.JWT) {
					var picture strings.Builder
					for range 1000 {
						picture.WriteString(rand.Text())
					}
					token.Claims["picture"] = picture.String()
				})
			},
			func(logto *logtotest.Server) { logto.ChangeIDToken(nil) }, nil, "more data",
		},
	} {
		for after, leads := range map[string]bool{"/": true, "": false} {
			t.Run(fmt.Sprintf("%s, AfterSignOut is %q", name, after), func(t *testing.T) {
				t.Parallel()
				logto := logtotest.NewServer(t)
				carol := logto.AddUser(logtotest.User{Username: "carol", Password: "carol-password"})
				var failed error
				app := newApplication(t, logto, func(cfg *logtogin.Config) {
					cfg.AfterSignOut = after
					if test.config != nil {
						test.config(cfg)
					}
					cfg.OnError = func(_ *gin.Context, err error) { failed = err }
				})
				logto.RegisterPostLogoutRedirectURIs(app.url + "/")
				b := newBrowser(t)
				b.signIn(app.url+"/sign-in", carol)
				for _, cookie := range b.ours(app) {
					b.plant(app, []*http.Cookie{{Name: cookie.Name, MaxAge: -1}})
				}
				if test.refuse != nil {
					test.refuse(logto)
				}
				shown := b.get(app.url + "/sign-in?return_to=/profile")
				if shown.status != logtogin.StatusCode(failed) || (shown.status != http.StatusForbidden && !errors.Is(failed, logtogin.ErrSessionTooLarge)) ||
					errors.Is(failed, logtogin.ErrAccountRefused) == errors.Is(failed, logtogin.ErrSessionTooLarge) || !strings.Contains(shown.body, test.says) {
					t.Fatalf("got %v, %d %s %s, want 403", failed, shown.status, shown.url, shown.body)
				}
				links, want := offered(shown), map[string]string{"Use another account": "/sign-out"}
				if !leads {
					want = map[string]string{"Sign out, in a new tab": "/sign-out", "Sign in": "/sign-in?return_to=%2Fprofile"}
				}
				if tells := strings.Contains(shown.body, "Sign out first"); tells == leads && errors.Is(failed, logtogin.ErrAccountRefused) {
					t.Errorf("it says to sign out first: %v", tells)
				}
				if fmt.Sprint(links) != fmt.Sprint(want) || app.auth.SignOutPath() != "/sign-out" {
					t.Fatalf("got the links %v, want %v", links, want)
				}
				if test.forgive != nil {
					test.forgive(logto)
				}
				left := b.submit(b.get(app.url+"/sign-out"), nil)
				next := "/profile"
				if leads && left.url.Path != "/" {
					t.Fatalf("the sign-out ends at %s: %s", left.url, left.body)
				} else if !leads {
					next = links["Sign in"]
				}
				if arrived := b.signIn(app.url+next, logtotest.DefaultUser()); arrived.url.Path != "/profile" || !strings.Contains(arrived.body, "alice") {
					t.Errorf("another user arrives at %s", arrived.url)
				}
			})
		}
	}
}

// What each page offers, and where that leads.
func TestEachErrorHasAWayOn(t *testing.T) {
	t.Parallel()
	const (
		retry, signIn, signOut, start = "Try again", "Sign in", "Use another account", "Go to the start page"
	)
	refused := func(code string, status int) error { return &logtogin.ProviderError{Code: code, Status: status} }
	for _, test := range []struct {
		err    error
		offers []string
	}{
		{logtogin.ErrTokenExpired, nil}, // is led to a sign-in
		{logtogin.ErrNotSignedIn, nil},
		{logtogin.ErrInsufficientAuthentication, nil},
		{logtogin.ErrNoAttempt, []string{signIn}},
		{logtogin.ErrInvalidCallback, []string{signIn}},
		{logtogin.ErrIssuerMismatch, []string{signIn}},
		{logtogin.ErrCancelled, []string{signIn}},
		{logtogin.ErrInvalidToken, []string{start}}, // of user info; at a callback it is a sign-in
		{refused("invalid_grant", 400), []string{signIn}},
		{refused("login_required", 0), []string{signIn}},
		{refused("server_error", 0), []string{signIn}},
		{logtogin.ErrInsufficientRights, []string{start, signOut}},
		{&logtogin.RequirementError{Requirement: "a role"}, []string{start, signOut}},
		{refused("access_denied", 403), []string{start, signOut}},
		{refused("access_denied", 400), []string{start, signOut}},
		{fmt.Errorf("%w: %w", logtogin.ErrAccountRefused, refused("access_denied", 0)), []string{signOut}},
		{fmt.Errorf("%w: %w", logtogin.ErrSignInRefused, errors.New("of the application")), []string{start}},
		{logtogin.ErrSessionTooLarge, []string{start}},
		{logtogin.ErrCrossOrigin, []string{start}},
		{logtogin.ErrStoreUnavailable, []string{retry}},
		{logtogin.ErrProviderUnavailable, []string{retry}},
		{&url.Error{Op: "Get", URL: "https://api.example.com", Err: errors.New("refused")}, []string{retry}},
		{&url.Error{Op: "Get", URL: "https://api.example.com", Err: context.DeadlineExceeded}, []string{retry}},
		{refused("invalid_target", 400), []string{start}},
		{refused("invalid_scope", 0), []string{start}},
		{refused("invalid_client", 401), []string{start}},
		{logtogin.ErrInvalidOptions, []string{start}},
		{logtogin.ErrNoSuchClaim, []string{start}},
		{errors.New("of the application"), []string{start}},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			t.Parallel()
			app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) { cfg.AfterSignOut = "/" })
			app.router.GET("/fails", func(c *gin.Context) { app.auth.Refuse(c, test.err) })
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			header := http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}}
			shown := send(t, http.MethodGet, app.url+"/fails?x=1", b.ours(app), header)
			if test.offers == nil {
				if shown.status != http.StatusFound || !strings.HasPrefix(shown.header.Get("Location"), "/sign-in?") {
					t.Errorf("got %d to %s, want a redirect to the sign-in", shown.status, shown.header.Get("Location"))
				}
				return
			}
			links := offered(shown)
			addresses := map[string]string{retry: "/fails?x=1", signIn: "/sign-in?return_to=%2Ffails%3Fx%3D1", signOut: "/sign-out", start: "/"}
			for text, address := range links {
				if address, _, _ = strings.Cut(address, "&attempt="); !slices.Contains(test.offers, text) || address != addresses[text] {
					t.Errorf("got %q, which leads to %s, want %q", text, address, test.offers)
				}
			}
			if shown.status != logtogin.StatusCode(test.err) || len(links) != len(test.offers) {
				t.Errorf("got %d with %v, want %q", shown.status, links, test.offers)
			}
		})
	}
}

// A sign-in that fails for a cause that lasts leads to no page that would begin it again, but for "Try again".
func TestASignInThatFailsLeadsToNoGuardedPage(t *testing.T) {
	t.Parallel()
	refuse := func(err error) func(*logtogin.Config) {
		return func(cfg *logtogin.Config) {
			cfg.OnSignedIn = func(*gin.Context, *logtogin.SignInResult) error { return err }
		}
	}
	without := func(cfg *logtogin.Config) {
		refuse(&logtogin.RefusalError{Message: "not you"})(cfg)
		cfg.Paths.SignOut = "-"
	}
	for name, test := range map[string]struct {
		config func(*logtogin.Config)
		code   string // of Logto
		status int
		offers map[string]string // with a page of AfterSignOut
	}{
		"an error of the application":          {refuse(errors.New("a database is down")), "", 500, map[string]string{"Try again": "/sign-in?return_to=%2Fprofile", "Go to the start page": "/seen"}},
		"a mistake in the Console":             {nil, "invalid_scope", 400, map[string]string{"Try again": "/sign-in?return_to=%2Fprofile", "Go to the start page": "/seen"}},
		"a refused account without a sign-out": {without, "", 403, map[string]string{"Go to the start page": "/seen"}},
	} {
		for _, after := range []string{"/seen", "", "https://www.example.com/"} {
			t.Run(name+" "+after, func(t *testing.T) {
				t.Parallel()
				logto := logtotest.NewServer(t)
				if test.code != "" {
					logto.ChangeCallback(func(query url.Values) url.Values {
						return url.Values{"error": {test.code}, "state": query["state"], "iss": query["iss"]}
					})
				}
				app := newApplication(t, logto, func(cfg *logtogin.Config) {
					cfg.AfterSignIn, cfg.AfterSignOut = "/profile", after
					if test.config != nil {
						test.config(cfg)
					}
				})
				app.router.GET("/seen", func(*gin.Context) {})
				want := maps.Clone(test.offers)
				if after != "/seen" {
					delete(want, "Go to the start page")
				}
				b := newBrowser(t)
				shown := b.signIn(app.url+"/profile", logtotest.DefaultUser())
				if shown.status != test.status || fmt.Sprint(offered(shown)) != fmt.Sprint(want) {
					t.Errorf("got %d with %v, want %d with %v", shown.status, offered(shown), test.status, want)
				}
				if start := offered(shown)["Go to the start page"]; start != "" {
					if led := b.get(app.url + start); led.status != http.StatusOK || led.url.Path != start {
						t.Errorf("the start page leads to %d %s", led.status, led.url)
					}
				}
			})
		}
	}
}

// A router may take an address of another host for one of our routes.
func TestNoPageLeadsToAnotherHost(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(*logtogin.Config) {})
	app.router.RemoveExtraSlash = true
	logto.Misbehave(faults.Down)
	for _, route := range []string{"sign-up", "sign-in", "sign-out", "callback"} {
		for _, header := range []http.Header{{"Accept": {"text/html"}}, {"Hx-Request": {"true"}}} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path, r.URL.RawPath = "//evil.example/x/../../../../"+route, "//evil.example/x%2F..%2F..%2F..%2F"+route
			r.Header = header
			w := httptest.NewRecorder()
			app.router.ServeHTTP(w, r)
			if all := w.Body.String() + fmt.Sprint(w.Header()); w.Code == http.StatusNotFound || strings.Contains(all, "evil") {
				t.Errorf("%s with %v: %d %s", route, header, w.Code, all)
			}
		}
	}
}

// The start page cannot be the way on from itself.
func TestAStartPageThatIsRefusedDoesNotLeadToItself(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) { cfg.AfterSignIn, cfg.AfterSignOut = "/admin", "/" })
	app.router.GET("/admin", app.auth.Guard(logtogin.MatchClaims("nobody", func(*gin.Context, *logtogin.Claims) bool { return false })), func(c *gin.Context) { c.String(http.StatusOK, "admin") })
	b := newBrowser(t)
	if shown := b.signIn(app.url+"/admin?x=1", logtotest.DefaultUser()); shown.status != http.StatusForbidden || fmt.Sprint(offered(shown)) != "map[Use another account:/sign-out]" {
		t.Errorf("got %d with %v, want another account only", shown.status, offered(shown))
	}
	if shown := b.get(app.url + "/callback"); shown.url.Path != "/admin" || shown.status != http.StatusForbidden {
		t.Errorf("got %d at %s", shown.status, shown.url)
	}
}

// A form to a page with MaxAge leads to a sign-in at which the user authenticates again, and not to one
// after which the form is refused once more.
func TestTheSignInThatAPageOffersCuresTheError(t *testing.T) {
	t.Parallel()
	for name, onError := range map[string]bool{"on our page": false, "on a page of the application": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			now, change := withClock(logto, func(*logtogin.Config) {})
			var auth *logtogin.Auth
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				change(cfg)
				if onError {
					cfg.OnError = func(c *gin.Context, err error) {
						c.String(logtogin.StatusCode(err), `<a class="button" href="%s">Sign in</a>`, auth.SignInPath(c))
					}
				}
			})
			auth = app.auth
			app.router.GET("/form", func(c *gin.Context) { c.String(http.StatusOK, "form") })
			app.router.POST("/pay", app.auth.Guard(logtogin.MaxAge(5*time.Minute)), func(c *gin.Context) { c.String(http.StatusOK, "paid") })
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			now.advance(10 * time.Minute)
			pay := func() page {
				header := b.header.Clone()
				for name, value := range map[string]string{"Referer": app.url + "/form?a=b", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Accept": "text/html"} {
					header.Set(name, value)
				}
				return send(t, http.MethodPost, app.url+"/pay", b.ours(app), header)
			}
			shown := pay()
			link := offered(shown)["Sign in"]
			if shown.status != http.StatusUnauthorized || link == "" {
				t.Fatalf("got %d %s, want 401 with a sign-in", shown.status, shown.body)
			}
			if arrived := b.signIn(app.url+link, logtotest.DefaultUser()); arrived.url.RequestURI() != "/form?a=b" {
				t.Fatalf("arrives at %s: %s", arrived.url, arrived.body)
			}
			if shown := pay(); shown.body != "paid" {
				t.Errorf("after the sign-in: %d %s", shown.status, shown.body)
			}
		})
	}
}

// Without a sign-in route or a sign-out route there is another way on.
func TestPagesWithoutRoutesLeadToTheStartPage(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.Paths.SignIn, cfg.Paths.SignUp, cfg.Paths.SignOut, cfg.AfterSignOut = "-", "-", "-", "/seen"
	})
	if shown := newBrowser(t).get(app.url + "/profile"); shown.status != http.StatusUnauthorized || fmt.Sprint(offered(shown)) != "map[Go to the start page:/]" {
		t.Errorf("a page: got %d with %v", shown.status, offered(shown))
	}
	if shown := newBrowser(t).get(app.url + "/callback?code=x&state=y"); shown.status != http.StatusBadRequest || fmt.Sprint(offered(shown)) != "map[Go to the start page:/seen]" {
		t.Errorf("a callback: got %d with %v", shown.status, offered(shown))
	}
}

// A form that was shown by the answer to a form cannot be asked for again.
func TestAFormIsNotTriedAgainAtItsOwnAddress(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	store.down = errors.New("down")
	shown := send(t, http.MethodPost, app.url+"/profile", []*http.Cookie{}, http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Referer": {app.url + "/profile?x=1"}})
	if _, ok := offered(shown)["Try again"]; ok {
		t.Errorf("got %v", offered(shown))
	}
}

// A sign-in that was not allowed to show a page is offered once more with one.
func TestASignInThatNeedsAPageGetsOne(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) { cfg.Prompt = logtogin.PromptNone })
	b := newBrowser(t)
	shown := b.get(app.url + "/profile")
	if shown.status != http.StatusBadRequest || !strings.Contains(shown.body, "login_required") {
		t.Fatalf("got %d %s", shown.status, shown.body)
	}
	if arrived := b.signIn(app.url+offered(shown)["Sign in"], logtotest.DefaultUser()); arrived.url.Path != "/profile" {
		t.Errorf("arrives at %s: %s", arrived.url, arrived.body)
	}
}

func TestAnOutageAtACallbackOfTheApplicationOffersASignIn(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/own-callback" })
	logto.RegisterRedirectURIs(app.url + "/own-callback")
	app.router.GET("/own-callback", func(c *gin.Context) {
		if _, err := app.auth.HandleCallback(c); err != nil {
			app.auth.Refuse(c, err)
		}
	})
	logto.Misbehave(faults.TokenDown)
	b := newBrowser(t)
	if shown := b.signIn(app.url+"/profile", logtotest.DefaultUser()); shown.status != http.StatusServiceUnavailable || fmt.Sprint(offered(shown)) != "map[Try again:/sign-in?return_to=%2Fprofile]" {
		t.Errorf("got %d with %v", shown.status, offered(shown))
	}
}

func TestAnOutageOnOurRoutesOffersThemAgain(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	logto.Misbehave(faults.Down)
	for path, want := range map[string]string{
		"/sign-in?return_to=/profile": "/sign-in?return_to=%2Fprofile",
		"/sign-up?return_to=/profile": "/sign-up?return_to=/profile",
	} {
		if links := offered(newBrowser(t).get(app.url + path)); fmt.Sprint(links) != fmt.Sprint(map[string]string{"Try again": want}) {
			t.Errorf("%s: got %v, want %s", path, links, want)
		}
	}
	logto.Behave()
	app = newApplication(t, logto, nil) // the other one remembers the outage for a moment
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, logtotest.DefaultUser())
	logto.Misbehave(faults.Down)
	b.keepGoing()
	if shown := b.get(callback.String()); shown.status != http.StatusServiceUnavailable || !strings.HasPrefix(offered(shown)["Try again"], "/sign-in") {
		t.Errorf("callback: got %d %v", shown.status, offered(shown))
	}
}
