package browser_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/oidcprovider"
)

// The paths of the application.
const (
	signOutPage  = "/ways"    // has a form or a link for each way to sign out
	framedPage   = "/framed"  // the same, and may have frames
	scriptedPage = "/scripts" // may fetch
	hintedPage   = "/hinted"  // its forms may lead to Logto
	guardedPage  = "/guarded"
	shellPage    = "/shell"   // is public, and fetches guardedPage
	goodbye      = "/goodbye" // Config.AfterSignOut
)

// What Chromium says when a policy stops something. Its endings differ.
const (
	stoppedForm  = "form-action 'self'"
	stoppedFrame = "frame-ancestors 'none'"
)

// The application's own pages have a Content-Security-Policy whose form-action does not allow Logto.
func TestWaysToSignOut(t *testing.T) {
	s := startToSignOut(t)
	elsewhere := startElsewhere(t, s)
	b := startChromium(t)

	// at opens a page of a user who is signed in.
	at := func(t *testing.T, path string) *tab {
		t.Helper()
		tab := b.window(t)
		tab.openSignedIn(s, path)
		return tab
	}

	for name, selector := range map[string]string{
		"a form":                           "#form button",
		"a link":                           "#link",
		"a form for a sign-out everywhere": "#everywhere button",
	} {
		t.Run(name+" ends the session here and at Logto", func(t *testing.T) {
			t.Parallel()
			tab := at(t, signOutPage)
			tab.click(selector)
			tab.arrives(200, s.address+goodbye, "Goodbye")
			tab.isSignedOut(s)
		})
	}

	t.Run("a form for a sign-out here leaves Logto's session alone", func(t *testing.T) {
		t.Parallel()
		tab := at(t, signOutPage)
		tab.click("#here button")
		tab.arrives(200, s.address+goodbye, "Goodbye")
		tab.isSignedOutHere(s)
	})

	for name, selector := range map[string]string{
		"a form with a new window":       "#blank button",
		"a form with a window of a name": "#window button",
	} {
		t.Run(name+" ends the session here and at Logto", func(t *testing.T) {
			t.Parallel()
			tab := at(t, signOutPage)
			tab.click(selector)
			opened := tab.opens(s.address + goodbye)
			opened.waitFor("the page after the sign-out", func(found seen) bool { return strings.Contains(found.Text, "Goodbye") })
			tab.isSignedOut(s)
		})
	}

	t.Run("a form with a frame ends the session here only", func(t *testing.T) {
		t.Parallel()
		tab := at(t, framedPage)
		tab.mayHappen("a request failed: net::ERR_BLOCKED_BY_RESPONSE")
		tab.click("#frame button")
		tab.complainsOf(stoppedFrame)
		tab.waitFor("the same page", func(found seen) bool { return found.Address == s.address+framedPage })
		tab.isSignedOutHere(s)
	})

	const post = `fetch("/sign-out", {method: "POST"})`
	t.Run("a script that navigates ends the session here and at Logto", func(t *testing.T) {
		for name, script := range map[string]string{
			"fetch":          `void ` + post + `.then(r => r.json()).then(told => location.assign(told.location))`,
			"XMLHttpRequest": `{ const r = new XMLHttpRequest(); r.open("POST", "/sign-out"); r.onload = () => location.assign(JSON.parse(r.responseText).location); r.send() }`,
			"htmx": `void fetch("/sign-out", {method: "POST", headers: {"HX-Request": "true", "HX-Current-URL": location.href}}).
				then(r => { location.href = r.headers.get("HX-Redirect") })`,
			"htmx with GET": `void fetch("/sign-out", {headers: {"HX-Request": "true", "HX-Current-URL": location.href}}).
				then(r => { location.href = r.headers.get("HX-Redirect") })`,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tab := at(t, scriptedPage)
				run(tab, chromedp.Evaluate[any](script))
				tab.arrives(200, s.address+goodbye, "Goodbye")
				tab.isSignedOut(s)
			})
		}
	})

	t.Run("a script that does not navigate ends the session here only", func(t *testing.T) {
		for name, script := range map[string]string{
			"fetch": post + `.then(async r => r.status === 200 && !!(await r.json()).location)`,
			"XMLHttpRequest": `new Promise(done => { const r = new XMLHttpRequest(); r.open("POST", "/sign-out");
				r.onload = () => done(r.status === 200 && !!JSON.parse(r.responseText).location); r.send() })`,
			"sendBeacon": `navigator.sendBeacon("/sign-out")`,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tab := at(t, scriptedPage)
				if !run(tab, chromedp.Evaluate[bool](script, chromedp.EvalAwaitPromise)) {
					t.Error("it was not answered 200 with a location")
				}
				tab.isRefusedByGuard(s) // a beacon says nothing when it has arrived
				tab.isSignedOutHere(s)
			})
		}
	})

	t.Run("a script with GET signs nobody out", func(t *testing.T) {
		t.Parallel()
		tab := at(t, scriptedPage)
		tab.mayFail(403, "/sign-out")
		if status := run(tab, chromedp.Evaluate[int](`fetch("/sign-out").then(r => r.status)`, chromedp.EvalAwaitPromise)); status != http.StatusForbidden {
			t.Errorf("it was answered %d", status)
		}
		tab.isSignedIn(s)
	})

	for name, origin := range map[string]string{
		"another origin of the same site": elsewhere,
		"another site":                    strings.Replace(elsewhere, "localhost", "127.0.0.1", 1),
	} {
		t.Run("a form of "+name+" signs nobody out", func(t *testing.T) {
			t.Parallel()
			tab := at(t, guardedPage)
			tab.open(origin + "/")
			tab.arrives(200, origin+"/")
			tab.mayFail(403, "/sign-out")
			tab.click("#form button")
			tab.arrives(403, s.address+"/sign-out", "The request came from another site.")
			tab.isSignedIn(s)
		})

		t.Run("a link of "+name+" leads to a button, which ends the session here and at Logto", func(t *testing.T) {
			t.Parallel()
			tab := at(t, guardedPage)
			tab.open(origin + "/")
			tab.arrives(200, origin+"/")
			tab.click("#link")
			tab.arrives(200, s.address+"/sign-out", "Sign out?")
			tab.isSignedIn(s)
			tab.open(origin + "/")
			tab.arrives(200, origin+"/")
			tab.click("#link")
			tab.arrives(200, s.address+"/sign-out", "Sign out?")
			tab.click("form button")
			tab.arrives(200, s.address+goodbye, "Goodbye")
			tab.isSignedOut(s)
		})
	}

	t.Run("a form with the ID token as a hint needs a policy that allows Logto", func(t *testing.T) {
		t.Parallel()
		tab := at(t, hintedPage)
		tab.click("#hinted button")
		tab.arrives(200, s.address+goodbye, "Goodbye")
		if visits := strings.Join(tab.visited(), "\n"); !strings.Contains(visits, "id_token_hint=") {
			t.Errorf("no hint was sent:\n%s", visits)
		}
		tab.isSignedOut(s)

		tab = at(t, signOutPage)
		tab.click("#hinted button")
		tab.complainsOf(stoppedForm)
		tab.waitFor("the same page", func(found seen) bool { return found.Address == s.address+signOutPage })
		tab.isSignedOutHere(s)
	})

	t.Run("without scripts a form leads to Logto", func(t *testing.T) {
		for name, way := range map[string]struct{ path, selector string }{
			"by a form":                            {signOutPage, "#form button"},
			"by a form with the ID token, allowed": {hintedPage, "#hinted button"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				tab := at(t, way.path)
				tab.setScripts(false)
				tab.click(way.selector)
				tab.arrivesAtLogto(s, "/oidc/session/end")
				tab.setScripts(true) // Logto's own page needs one
				tab.reload()
				tab.arrives(200, s.address+goodbye, "Goodbye")
				tab.isSignedOut(s)
			})
		}
		t.Run("by a form for a sign-out here", func(t *testing.T) {
			t.Parallel()
			tab := at(t, signOutPage)
			tab.setScripts(false)
			tab.click("#here button")
			tab.arrives(200, s.address+goodbye, "Goodbye")
			tab.setScripts(true)
			tab.isSignedOutHere(s)
		})
	})

	t.Run("the back button does not show a public page that has fetched guarded data", func(t *testing.T) {
		tab := at(t, guardedPage)
		tab.open(s.address + shellPage)
		// The page before has the same text.
		tab.waitFor("the guarded data", func(found seen) bool {
			return found.Address == s.address+shellPage && strings.Contains(found.Text, "A guarded page")
		})
		tab.open(s.address + signOutPage)
		tab.arrives(200, s.address+signOutPage)
		tab.mayFail(401, guardedPage)
		tab.click("#link")
		tab.arrives(200, s.address+goodbye, "Goodbye")
		call(tab, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: tab.entry(s.address + shellPage)})
		tab.waitFor("the page without the data", func(found seen) bool {
			return found.Address == s.address+shellPage && strings.Contains(found.Text, "401")
		})
	})

	t.Run("the back button leads past all steps of the sign-out", func(t *testing.T) {
		for _, selector := range []string{"#form button", "#here button"} {
			t.Run(selector, func(t *testing.T) {
				t.Parallel()
				tab := at(t, guardedPage)
				tab.open(s.address + signOutPage)
				tab.arrives(200, s.address+signOutPage)
				before := tab.history()
				tab.click(selector)
				tab.arrives(200, s.address+goodbye, "Goodbye")
				if now, want := tab.history(), append(before, s.address+goodbye); strings.Join(now, " ") != strings.Join(want, " ") {
					t.Errorf("the history is %q, not %q", now, want)
				}
				// The page with the button may be as it was; where it is not, the guard asks for a sign-in.
				tab.back()
				tab.waitFor("the page with the button", func(found seen) bool {
					return found.Address == s.address+signOutPage || strings.HasPrefix(found.Address, s.logto+"/sign-in")
				})
			})
		}
	})
}

// startToSignOut starts an application with pages of its own, with the engine inside Logto.
func startToSignOut(t *testing.T) *site {
	t.Helper()
	server, address := unstarted(t)
	s := &site{address: "http://" + address, username: oidcprovider.DefaultUsername, password: oidcprovider.DefaultPassword}
	s.provider = oidcprovider.Start(t, oidcprovider.Config{
		Clients: []oidcprovider.Client{{
			RedirectURIs:           []string{s.address + "/callback"},
			PostLogoutRedirectURIs: []string{s.address + goodbye},
		}},
	})
	s.logto = s.provider.Endpoint()

	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(func(c *gin.Context) {
		policy := "default-src 'none'; form-action 'self'"
		switch c.FullPath() {
		case framedPage:
			policy += "; frame-src *"
		case scriptedPage:
			policy += "; connect-src 'self'"
		case hintedPage:
			policy += " " + s.logto
		case shellPage:
			policy += "; connect-src 'self'; script-src 'unsafe-inline'"
		}
		c.Header("Content-Security-Policy", policy)
	})
	auth, err := logtogin.Register(router, logtogin.Config{
		Endpoint: s.logto, AppID: oidcprovider.DefaultClientID, AppSecret: oidcprovider.DefaultClientSecret, BaseURL: s.address,
		AfterSignOut: goodbye,
		Logger:       slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	for path, body := range map[string]string{
		signOutPage: `<form id="form" method="post" action="/sign-out"><button>Sign out</button></form>
<form id="everywhere" method="post" action="/sign-out-everywhere"><button>Sign out everywhere</button></form>
<form id="here" method="post" action="/sign-out-here"><button>Sign out here</button></form>
<form id="blank" method="post" action="/sign-out" target="_blank"><button>Sign out</button></form>
<form id="window" method="post" action="/sign-out" target="another"><button>Sign out</button></form>
<form id="hinted" method="post" action="/sign-out-hinted"><button>Sign out</button></form>
<a id="link" href="/sign-out">Sign out</a>`,
		framedPage: `<form id="frame" method="post" action="/sign-out" target="inside"><button>Sign out</button></form>
<iframe name="inside"></iframe>`,
		scriptedPage: `<p>A page with scripts`,
		hintedPage:   `<form id="hinted" method="post" action="/sign-out-hinted"><button>Sign out</button></form>`,
		guardedPage:  `<p>A guarded page`,
	} {
		router.GET(path, auth.Guard(), show(body))
	}
	router.GET(goodbye, show("<p>Goodbye"))
	router.GET(shellPage, show(`<p id="data"></p>
<script>fetch("`+guardedPage+`").then(async r => { data.textContent = r.ok ? await r.text() : r.status })</script>`))
	router.POST("/sign-out-here", func(c *gin.Context) { auth.SignOut(c, logtogin.SignOutOptions{LocalOnly: true}) })
	router.POST("/sign-out-hinted", func(c *gin.Context) { auth.SignOut(c, logtogin.SignOutOptions{IDTokenHint: true}) })
	router.POST("/sign-out-everywhere", auth.Guard(), func(c *gin.Context) {
		claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
		if err := auth.RevokeUser(c.Request.Context(), claims.Subject); err != nil {
			t.Error(err)
		}
		auth.SignOut(c, logtogin.SignOutOptions{})
	})
	server.Config.Handler = router
	server.Start()
	return s
}

func show(body string) gin.HandlerFunc {
	page := []byte("<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>A page</title>\n" + body)
	return func(c *gin.Context) { c.Data(http.StatusOK, "text/html; charset=utf-8", page) }
}

// startElsewhere starts a site that leads to the sign-out of an application. It is another origin of the same
// site, and by the name 127.0.0.1 another site.
func startElsewhere(t *testing.T, s *site) (origin string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!DOCTYPE html>
<html lang="en"><title>Elsewhere</title>
<form id="form" method="post" action="%[1]s/sign-out"><button>Win a prize</button></form>
<a id="link" href="%[1]s/sign-out">Win a prize</a>`, s.address)
	}))
	t.Cleanup(server.Close)
	return "http://localhost:" + portOf(server.Listener)
}

// opens waits for a window that has been opened from this tab and has arrived at an address.
func (b *tab) opens(address string) *tab {
	b.Helper()
	var opened *tab
	err := b.until(func(ctx context.Context) error {
		targets, err := chromedp.Targets(ctx)
		if err != nil {
			return err
		}
		for _, found := range targets {
			if found.BrowserContextID == chromedp.FromContext(b.ctx).BrowserContextID && found.URL == address {
				opened = openTab(b.T, b.ctx, chromedp.WithTargetID(found.TargetID))
				// The debugger wants to see the page that is there, which was not to be stored.
				opened.mayHappen("a request failed: net::ERR_CACHE_MISS")
				return nil
			}
		}
		return errors.New("no window shows it")
	})
	if err != nil {
		b.Fatalf("%s: %v", address, err)
	}
	return opened
}

// isSignedOut: a guard leads to Logto, which asks who the user is.
func (b *tab) isSignedOut(s *site) {
	b.Helper()
	b.open(s.address + guardedPage)
	b.arrivesAtLogto(s, "/sign-in")
}

// isSignedOutHere: a guard leads to Logto, which knows the user.
func (b *tab) isSignedOutHere(s *site) {
	b.Helper()
	if asked := b.asksAtLogto(s); !asked {
		b.Error("the session of the application goes on")
	}
}

func (b *tab) isSignedIn(s *site) {
	b.Helper()
	if asked := b.asksAtLogto(s); asked {
		b.Error("the session of the application has ended")
	}
}

// asksAtLogto opens a guarded page and reports whether the way there leads by Logto.
func (b *tab) asksAtLogto(s *site) (asked bool) {
	b.Helper()
	before := len(b.visited())
	b.open(s.address + guardedPage)
	b.arrives(200, s.address+guardedPage, "A guarded page")
	for _, visit := range b.visited()[before:] {
		asked = asked || strings.HasPrefix(visit, "GET "+s.logto+"/oidc/auth")
	}
	return asked
}

// isRefusedByGuard waits until a guard answers a script of the page 401.
func (b *tab) isRefusedByGuard(s *site) {
	b.Helper()
	b.mayFail(401, guardedPage)
	err := b.until(func(ctx context.Context) error {
		status, err := chromedp.Run(ctx, chromedp.Evaluate[int](`fetch("`+guardedPage+`").then(r => r.status)`, chromedp.EvalAwaitPromise))
		if err == nil && status != http.StatusUnauthorized {
			err = fmt.Errorf("the guard answers %d", status)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (b *tab) setScripts(allowed bool) {
	b.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !allowed})
}

// history are the addresses that the back button leads to, and the address of the page.
func (b *tab) history() (addresses []string) {
	b.Helper()
	history := call(b, page.GetNavigationHistory, cdp.Empty{})
	for _, entry := range history.Entries[:history.CurrentIndex+1] {
		addresses = append(addresses, entry.URL)
	}
	return addresses
}

// entry is the last one of the history with this address.
func (b *tab) entry(address string) (id int64) {
	b.Helper()
	for _, entry := range call(b, page.GetNavigationHistory, cdp.Empty{}).Entries {
		if entry.URL == address {
			id = entry.ID
		}
	}
	return id
}

// complainsOf waits for a problem with this text, and expects it.
func (b *tab) complainsOf(text string) {
	b.Helper()
	err := b.until(func(context.Context) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, found := range b.problems {
			if strings.Contains(found.what, text) {
				b.expected = append(b.expected, problem{pathOf(found.address), found.what})
				return nil
			}
		}
		return errors.New("nothing was stopped")
	})
	if err != nil {
		b.Fatalf("%s: %v", text, err)
	}
}
