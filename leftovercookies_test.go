package logtogin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// A browser keeps the cookies of before when Domain, Path or Name change. Each deployment is a new process without
// memory of what another has ended.
func TestASessionOfAnEarlierCookieConfigurationNeverComesBack(t *testing.T) {
	t.Parallel()
	const site = "https://app.example.com"
	options := map[string]logtogin.CookieOptions{
		"the default":              {},
		"a domain":                 {Domain: "example.com"},
		"a domain with a dot":      {Domain: ".example.com"},
		"the host as domain":       {Domain: "app.example.com"},
		"a path":                   {Path: "/app"},
		"a path with a slash":      {Path: "/app/"},
		"a domain and a path":      {Domain: "example.com", Path: "/app"},
		"another name":             {Name: "other"},
		"another name, and a path": {Name: "other", Path: "/app"},
	}
	for first, before := range options {
		for second, after := range options {
			for _, inStore := range []bool{false, true} {
				if before.Name != after.Name || (before.Path == after.Path && strings.TrimPrefix(before.Domain, ".") == strings.TrimPrefix(after.Domain, ".")) {
					continue
				}
				t.Run(fmt.Sprintf("%s, then %s, in a store: %t", first, second, inStore), func(t *testing.T) {
					t.Parallel()
					logto := logtotest.NewServer(t)
					logto.RegisterRedirectURIs(site + "/app/callback")
					logto.RegisterPostLogoutRedirectURIs(site + "/bye")
					bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob's password"})
					var sessions *serverStore
					if inStore {
						sessions = newServerStore()
					}
					deploy := func(cookies logtogin.CookieOptions) *proxied {
						app, err := newProxied(t, logto, site, "/app", func(cfg *logtogin.Config) {
							cfg.Cookies, cfg.Prompt = cookies, logtogin.PromptLoginConsent
							if inStore {
								cfg.Store = sessions
							}
						})
						if err != nil {
							t.Fatal(err)
						}
						return app
					}
					b := deploy(before).browser()
					who := func() string { return b.get(site + "/app/who").body }
					use := func(cookies logtogin.CookieOptions) { b.client.Transport = deploy(cookies) }
					b.signIn(site+"/app/sign-in", logtotest.DefaultUser())
					if got := who(); got != `"alice"` {
						t.Fatalf("before: %s", got)
					}
					use(after)
					if got := who(); got == `"bob"` {
						t.Fatalf("after the change: %s", got)
					}
					b.signIn(site+"/app/sign-in", bob)
					if got := who(); got != `"bob"` {
						t.Errorf("after Bob's sign-in: %s", got)
					}
					use(before)
					if got := who(); got == `"alice"` {
						t.Errorf("after Bob's sign-in, as it was before: %s", got)
					}
					use(after)
					if got := who(); got != `"bob"` {
						t.Errorf("after Bob's sign-in, once more: %s", got)
					}
					b.post(site+"/app/sign-out", nil)
					for name, cookies := range map[string]logtogin.CookieOptions{"before": before, "after": after} {
						if use(cookies); who() != `""` {
							t.Errorf("after Bob's sign-out, as it was %s: %s", name, who())
						}
					}
				})
			}
		}
	}
}

// Alice signs out, and not Bob in: her cookie of before must go as well.
func TestASignOutForgetsTheCookiesOfEarlierConfigurations(t *testing.T) {
	t.Parallel()
	const site = "https://app.example.com"
	logto := logtotest.NewServer(t)
	logto.RegisterRedirectURIs(site + "/app/callback")
	deploy := func(cookies logtogin.CookieOptions) *proxied {
		app, err := newProxied(t, logto, site, "/app", func(cfg *logtogin.Config) { cfg.Cookies = cookies })
		if err != nil {
			t.Fatal(err)
		}
		return app
	}
	before, after := logtogin.CookieOptions{}, logtogin.CookieOptions{Domain: "example.com"}
	b := deploy(before).browser()
	b.signIn(site+"/app/sign-in", logtotest.DefaultUser())
	b.client.Transport = deploy(after)
	b.header.Set("Sec-Fetch-Site", "same-origin")
	b.stopAt(logto.Endpoint())
	if page := b.get(site + "/app/sign-out"); page.status != http.StatusFound {
		t.Errorf("the sign-out: %d", page.status)
	}
	b.client.Transport = deploy(before)
	if page := b.get(site + "/app/who"); page.body != `""` {
		t.Errorf("after the sign-out: %s", page.body)
	}
	if left := b.cookies(site + "/app/"); len(left) > 0 {
		t.Errorf("%d cookies are left", len(left))
	}
}

// However long the host and the path are.
func TestALeftoverOfALongPathIsForgotten(t *testing.T) {
	t.Parallel()
	const site = "https://a.b.c.d.example.com"
	for _, before := range []logtogin.CookieOptions{
		{Path: "/x/y"}, {Path: "/x/y/z/"}, {Domain: "example.com", Path: "/x/y/z"}, {Domain: "b.c.d.example.com", Path: "/x/"},
	} {
		logto := logtotest.NewServer(t)
		logto.RegisterRedirectURIs(site + "/x/y/z/callback")
		bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob's password"})
		deploy := func(cookies logtogin.CookieOptions) *proxied {
			app, err := newProxied(t, logto, site, "/x/y/z", func(cfg *logtogin.Config) { cfg.Cookies, cfg.Prompt = cookies, logtogin.PromptLoginConsent })
			if err != nil {
				t.Fatal(err)
			}
			return app
		}
		b := deploy(before).browser()
		b.signIn(site+"/x/y/z/sign-in", logtotest.DefaultUser())
		b.client.Transport = deploy(logtogin.CookieOptions{})
		b.signIn(site+"/x/y/z/sign-in", bob)
		b.client.Transport = deploy(before)
		if page := b.get(site + "/x/y/z/who"); page.body != `""` {
			t.Errorf("%+v: %s", before, page.body)
		}
	}
}

// However many cookies of that name a browser sends, and from wherever, the answer stays small.
func TestLeftoversTakeLittleRoom(t *testing.T) {
	t.Parallel()
	const site = "https://app.example.com"
	logto := logtotest.NewServer(t)
	logto.RegisterRedirectURIs(site + "/app/callback")
	deploy := func(path string) *proxied {
		app, err := newProxied(t, logto, site, "/app", func(cfg *logtogin.Config) { cfg.Cookies.Name, cfg.Cookies.Path = "mine", path })
		if err != nil {
			t.Fatal(err)
		}
		return app
	}
	var pairs []string
	before := deploy("/app")
	for range 8 {
		b := before.browser()
		b.signIn(site+"/app/sign-in", logtotest.DefaultUser())
		for _, cookie := range b.cookies(site + "/app/") {
			pairs = append(pairs, cookie.Name+"="+cookie.Value)
		}
	}
	name, _, _ := strings.Cut(pairs[0], "=")
	for _, planted := range []string{name + "=1.abcdefgh.%d", name + "_%d=x", name + "=%d"} {
		for i := range 200 {
			pairs = append(pairs, fmt.Sprintf(planted, i))
		}
	}
	now := deploy("/").browser()
	now.stopAt(logto.Endpoint())
	now.header.Set("Cookie", strings.Join(pairs, "; "))
	page := now.get(site + "/app/sign-out")
	lines := page.header.Values("Set-Cookie")
	if page.status != http.StatusFound || len(lines) > 30 || len(lines) < 2 {
		t.Errorf("%d with %d lines of %d bytes", page.status, len(lines), len(strings.Join(lines, "")))
	}
}

// The session ends on the server, too: a copy of the cookie is worth nothing even where it belongs.
func TestALeftoverEndsAndItsRefreshTokenIsRevoked(t *testing.T) {
	t.Parallel()
	const site = "https://app.example.com"
	for _, inStore := range []bool{false, true} {
		for how, leave := range map[string]func(b *browser, bob logtotest.User){
			"another user signs in": func(b *browser, bob logtotest.User) { b.signIn(site+"/app/sign-in", bob) },
			"a sign-out":            func(b *browser, _ logtotest.User) { b.post(site+"/app/sign-out", nil) },
		} {
			t.Run(fmt.Sprintf("%s, in a store: %t", how, inStore), func(t *testing.T) {
				t.Parallel()
				logto := logtotest.NewServer(t)
				logto.RegisterRedirectURIs(site + "/app/callback")
				logto.RegisterPostLogoutRedirectURIs(site + "/bye")
				bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob's password"})
				state, sessions, now := newCommonState(), newServerStore(), newClock()
				logto.SetNow(now.Now)
				deploy := func(cookies logtogin.CookieOptions) *proxied {
					app, err := newProxied(t, logto, site, "/app", func(cfg *logtogin.Config) {
						cfg.Cookies, cfg.Prompt, cfg.SharedState, cfg.Now = cookies, logtogin.PromptLoginConsent, state, now.Now
						if inStore {
							cfg.Store = sessions
						}
					})
					if err != nil {
						t.Fatal(err)
					}
					return app
				}
				before := deploy(logtogin.CookieOptions{Path: "/app"})
				b := before.browser()
				b.signIn(site+"/app/sign-in", logtotest.DefaultUser())
				copied := b.cookies(site + "/app/")
				b.client.Transport = deploy(logtogin.CookieOptions{})
				logto.ResetCalls()
				leave(b, bob)
				if revoked := logto.Calls().Revocation; revoked != 1 {
					t.Errorf("%d refresh tokens are revoked", revoked)
				}
				now.advance(2 * time.Second) // the other instance learns of it
				thief := before.browser()
				at, err := url.Parse(site + "/app/")
				if err != nil {
					t.Fatal(err)
				}
				thief.client.Jar.SetCookies(at, copied)
				if page := thief.get(site + "/app/who"); page.body != `""` {
					t.Errorf("with a copy of the cookie: %s", page.body)
				}
			})
		}
	}
}

// Else the cookies of a browser would take twice the room. Logto shares the grant between the sign-ins of one browser, so
// the refresh token stays.
func TestALeftoverOfTheSameUserIsReplaced(t *testing.T) {
	t.Parallel()
	const site = "https://app.example.com"
	for _, inStore := range []bool{false, true} {
		logto, sessions := logtotest.NewServer(t), newServerStore()
		logto.RegisterRedirectURIs(site + "/app/callback")
		deploy := func(cookies logtogin.CookieOptions) *proxied {
			app, err := newProxied(t, logto, site, "/app", func(cfg *logtogin.Config) {
				cfg.Cookies = cookies
				if inStore {
					cfg.Store = sessions
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			return app
		}
		b := deploy(logtogin.CookieOptions{}).browser()
		b.signIn(site+"/app/sign-in", logtotest.DefaultUser())
		sizes := []int{0, 0}
		size := func() (bytes int) {
			for _, cookie := range b.cookies(site + "/app/") {
				bytes += len(cookie.Name) + len(cookie.Value)
			}
			return bytes
		}
		sizes[0] = size()
		for _, cookies := range []logtogin.CookieOptions{{Domain: "example.com"}, {Path: "/app"}, {Domain: "app.example.com", Path: "/app/"}} {
			b.client.Transport = deploy(cookies)
			logto.ResetCalls()
			b.get(site + "/app/sign-in")
			if page := b.get(site + "/app/who"); page.body != `"alice"` || logto.Calls().Revocation != 0 {
				t.Errorf("%+v: %s, %d refresh tokens are revoked", cookies, page.body, logto.Calls().Revocation)
			}
		}
		if sizes[1] = size(); sizes[1] > sizes[0]+200 {
			t.Errorf("in a store %t: the cookies have grown from %d to %d bytes", inStore, sizes[0], sizes[1])
		}
	}
}

// The path of a cookie can be the callback itself.
func TestALeftoverAtTheCallbackItselfIsForgotten(t *testing.T) {
	t.Parallel()
	const site = "https://app.example.com"
	logto := logtotest.NewServer(t)
	logto.RegisterRedirectURIs(site + "/app")
	bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob's password"})
	deploy := func(path string) *proxied {
		app, err := newProxied(t, logto, site, "/app", func(cfg *logtogin.Config) {
			cfg.Cookies.Path, cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI, cfg.Prompt = path, "-", "/app", logtogin.PromptLoginConsent
		})
		if err != nil {
			t.Fatal(err)
		}
		app.router.GET("/app", func(c *gin.Context) {
			if result, err := app.auth.HandleCallback(c); err == nil {
				c.Redirect(http.StatusFound, result.ReturnTo)
			}
		})
		return app
	}
	b := deploy("/app").browser()
	b.signIn(site+"/app/sign-in", logtotest.DefaultUser())
	b.client.Transport = deploy("/")
	b.signIn(site+"/app/sign-in", bob)
	b.client.Transport = deploy("/app")
	if page := b.get(site + "/app/who"); page.body != `""` {
		t.Errorf("%s", page.body)
	}
}
