package browser_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

func TestWithTheFake(t *testing.T) {
	s := startWithFake(t)
	b := startChromium(t)
	tryScenarios(t, s, b)

	t.Run("a new user signs up", func(t *testing.T) {
		tab := b.window(t)
		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "Create account")
		tab.click(`a[href="/sign-up"]`)
		tab.arrivesAtLogto(s, "/register")
		run(tab, chromedp.SendKeys(chromedp.CSS("#name"), "Carol Example"))
		tab.signsInAs("carol", "a password of her own")
		tab.arrives(200, s.address+"/", "Hello, Carol Example")
		tab.click(`nav a[href="/teams"]`)
		tab.arrives(200, s.address+"/teams", "You are a member of no organization")
	})
}

func TestWithTheEngineInsideLogto(t *testing.T) {
	s := startWithProvider(t)
	b := startChromium(t)
	tryScenarios(t, s, b)

	t.Run("a sign-up asks for the registration page", func(t *testing.T) {
		tab := b.window(t)
		tab.open(s.address + "/sign-up")
		tab.arrivesAtLogto(s, "/sign-in")
		if address := run(tab, chromedp.Location()); !strings.Contains(address, "first_screen=register") {
			t.Errorf("Logto was asked for %s", address)
		}
	})
	// The last: the clock of Logto stays where it is.
	t.Run("a form is sent when Logto has given up the session", func(t *testing.T) {
		tab := b.window(t)
		tab.openSignedIn(s, "/calls")
		s.provider.Advance(15 * 24 * time.Hour)
		tab.mayFail(401, "/calls")
		tab.click(`button[value="/api/orders"]`)
		// The handler has run, so only it could know what was saved.
		tab.arrives(401, s.address+"/calls", "Not signed in", "Sign in first.")
		tab.click(`a[href^="/sign-in"]`)
		tab.arrivesAtLogto(s, "/sign-in")
	})
}

// tryScenarios are those that no Logto makes a difference to.
func tryScenarios(t *testing.T, s *site, b chromium) {
	// The same four steps as TestCheckpoint of docs, which is the checkpoint of docs/tutorial.md.
	t.Run("a visitor signs in, sees the profile and signs out", func(t *testing.T) {
		tab := b.window(t)
		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "You are not signed in")
		tab.click(".account a")
		tab.arrivesAtLogto(s, "/sign-in")
		tab.signsIn(s)
		tab.arrives(200, s.address+"/", "Hello, Alice Example")
		tab.click(`nav a[href="/profile"]`)
		tab.arrives(200, s.address+"/profile", "alice@example.test")
		tab.signsOut(s)
		tab.open(s.address + "/profile")
		tab.arrivesAtLogto(s, "/sign-in")
	})

	t.Run("a second tab waits while the first is at Logto, and goes on by itself", func(t *testing.T) {
		one := b.window(t)
		one.open(s.address + "/protected?page=1")
		one.arrivesAtLogto(s, "/sign-in")
		other := one.another()
		other.open(s.address + "/protected?page=2")
		other.waits(s)
		one.signsIn(s)
		one.arrives(200, s.address+"/protected?page=1")
		other.arrives(200, s.address+"/protected?page=2")
	})

	t.Run("two tabs in which the user has followed links to the sign-in come back from Logto at once", func(t *testing.T) {
		one := b.window(t)
		one.openSignedIn(s, "/profile")
		one.forget(s.address) // Logto still knows the user
		other := one.another()
		var held []*callback
		// One after the other to Logto, of whose interactions an application has one in a browser.
		for i, tab := range []*tab{one, other} {
			caught := tab.holdCallback()
			tab.open(fmt.Sprintf("%s/sign-in?return_to=%%2Fprotected%%3Fpage%%3D%d", s.address, i+1))
			held = append(held, caught())
		}
		for _, callback := range held {
			callback.release()
		}
		one.arrives(200, s.address+"/protected?page=1")
		other.arrives(200, s.address+"/protected?page=2")
	})

	t.Run("the user follows links to the sign-in in two tabs and signs in, in one of them", func(t *testing.T) {
		one := b.window(t)
		other := one.another()
		for _, tab := range []*tab{one, other} {
			tab.open(s.address + "/")
			tab.arrives(200, s.address+"/", "You are not signed in")
			tab.click(".account a")
			tab.arrivesAtLogto(s, "/sign-in") // a user who asks for it is not told to wait
		}
		other.signsIn(s)
		other.arrives(200, s.address+"/", "Hello, Alice Example")
		one.back()
		one.arrives(200, s.address+"/") // as it was, if the browser has kept it
		one.open(s.address + "/protected?page=1")
		one.arrives(200, s.address+"/protected?page=1")
	})

	t.Run("the user goes back from Logto, tries again and does not want to wait", func(t *testing.T) {
		tab := b.window(t)
		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "You are not signed in")
		tab.click(`nav a[href="/profile"]`)
		tab.arrivesAtLogto(s, "/sign-in")
		tab.back()
		tab.arrives(200, s.address+"/") // as it was, if the browser has kept it
		tab.open(s.address + "/profile")
		tab.waits(s) // nothing says that the form has been left
		tab.doesNotWait(s)
		tab.arrivesAtLogto(s, "/sign-in")
		tab.signsIn(s)
		tab.arrives(200, s.address+"/profile", "alice@example.test")
	})

	t.Run("the back button after a sign-in leads past Logto", func(t *testing.T) {
		tab := b.window(t)
		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "You are not signed in")
		tab.click(`nav a[href="/profile"]`)
		tab.arrivesAtLogto(s, "/sign-in")
		atLogto := pathOf(run(tab, chromedp.Location()))
		tab.signsIn(s)
		tab.arrives(200, s.address+"/profile")
		tab.mayFail(400, atLogto) // there is no sign-in any more that this page would be for
		tab.back()
		tab.waitFor("Logto", func(found seen) bool { return strings.HasPrefix(found.Address, s.logto) })
		tab.back()
		tab.arrives(200, s.address+"/") // as it was, if the browser has kept it
		tab.open(s.address + "/profile")
		tab.arrives(200, s.address+"/profile", "alice@example.test")
	})

	t.Run("the back button after a sign-out leads to no page that was left before", func(t *testing.T) {
		tab := b.window(t)
		tab.openSignedIn(s, "/profile")
		tab.click(`nav a[href="/rights"]`)
		tab.arrives(200, s.address+"/rights", "Open one to see")
		tab.signsOut(s)
		tab.back()
		tab.arrives(200, s.address+"/rights", "Sign in to see")
		tab.back()
		tab.arrivesAtLogto(s, "/sign-in")
	})

	t.Run("the callback is opened again", func(t *testing.T) {
		tab := b.window(t)
		caught := tab.holdCallback()
		tab.open(s.address + "/protected?page=3")
		tab.arrivesAtLogto(s, "/sign-in")
		tab.signsIn(s)
		held := caught()
		held.release()
		tab.arrives(200, s.address+"/protected?page=3")
		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "Hello, Alice Example")
		tab.open(held.address)
		tab.arrives(200, s.address+"/protected?page=3") // which its state names

		stranger := b.window(t)
		stranger.mayFail(400, "/callback")
		stranger.open(held.address)
		stranger.arrives(400, held.address, "Sign-in did not work", "not started in this browser")
		if cookies := stranger.cookies(s.address); len(cookies) > 0 {
			t.Errorf("a stranger got cookies: %v", cookies)
		}
		stranger.click("a.button")
		stranger.arrivesAtLogto(s, "/sign-in")
	})

	t.Run("the callback is opened twice at once", func(t *testing.T) {
		one := b.window(t)
		caught := one.holdCallback()
		one.open(s.address + "/protected?page=3")
		one.arrivesAtLogto(s, "/sign-in")
		one.signsIn(s)
		held := caught()
		other := one.another()
		again := other.holdCallback()
		other.open(held.address)
		twin := again()
		held.release()
		twin.release()
		one.arrives(200, s.address+"/protected?page=3")
		other.arrives(200, s.address+"/protected?page=3")
		other.open(s.address + "/calls")
		other.arrives(200, s.address+"/calls")
		other.click(`button[value="/api/orders"]`)
		other.arrives(200, s.address+"/calls", "200 OK") // the code was not spent twice, which ends the grant
	})

	t.Run("a deep link keeps its query and its fragment", func(t *testing.T) {
		const link = "/protected?page=2&q=a%26b%3Dc+%C3%BC#content"
		tab := b.window(t)
		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "You are not signed in")
		// The server does not get to know the fragment, so the browser has to keep it.
		tab.open(s.address + link)
		tab.arrivesAtLogto(s, "/sign-in")
		tab.signsIn(s)
		tab.waitFor(link, func(found seen) bool {
			return strings.TrimSuffix(found.Address, "#content") == strings.TrimSuffix(s.address+link, "#content")
		})
		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "Hello, Alice Example")
		tab.forget(s.address)
		tab.open(s.address + link)
		tab.arrives(200, s.address+link, "Page 2")
		if target := run(tab, chromedp.Evaluate[string](`document.querySelector(":target").id`)); target != "content" {
			t.Errorf("the browser went to %q", target)
		}

		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "Hello, Alice Example")
		tab.forget(s.address)
		tab.open(s.address + "/sign-in?return_to=%2Fprotected%3Fpage%3D2%23content")
		tab.arrives(200, s.address+"/protected?page=2#content", "Page 2")
	})

	t.Run("a form is sent with a session that has expired", func(t *testing.T) {
		tab := b.window(t)
		tab.openSignedIn(s, "/calls")
		tab.forget(s.address)
		tab.mayFail(401, "/calls")
		tab.click(`button[value="/api/orders"]`)
		tab.arrives(401, s.address+"/calls", "Not signed in", "Sign in first. What you have sent was not saved; send it again then.")
		tab.click(`a[href^="/sign-in"]`)
		tab.arrives(200, s.address+"/calls") // Logto knows the user
		tab.click(`button[value="/api/orders"]`)
		tab.arrives(200, s.address+"/calls", "200 OK", "rocket skates")
	})

	t.Run("the user signs out in another tab", func(t *testing.T) {
		open := b.window(t)
		open.openSignedIn(s, "/calls")
		other := open.another()
		other.open(s.address + "/")
		other.arrives(200, s.address+"/", "Hello, Alice Example")
		other.signsOut(s)

		open.mayFail(401, "/calls")
		open.click(`button[value="/api/orders"]`)
		open.arrives(401, s.address+"/calls", "Not signed in")
		open.back()
		open.arrivesAtLogto(s, "/sign-in")
	})

	t.Run("the user signs out everywhere in another browser", func(t *testing.T) {
		open, other := b.window(t), b.window(t)
		open.openSignedIn(s, "/calls")
		other.openSignedIn(s, "/profile")
		other.click(`form[action="/sign-out-everywhere"] button`)
		other.arrives(200, s.address+"/", "You are not signed in")

		open.mayFail(401, "/calls")
		open.click(`button[value="/api/orders"]`)
		open.arrives(401, s.address+"/calls", "Not signed in")
		open.open(s.address + "/")
		open.arrives(200, s.address+"/", "You are not signed in")
		// Who comes again at once is not kept out by what was ended.
		other.openSignedIn(s, "/profile")
		other.reload()
		other.arrives(200, s.address+"/profile", "alice@example.test")
	})

	t.Run("the user signs out at Logto", func(t *testing.T) {
		open := b.window(t)
		open.openSignedIn(s, "/protected")
		open.click(`nav a[href="/rights"]`)
		open.arrives(200, s.address+"/rights", "Open one to see")
		other := open.another()
		other.open(s.logto + "/oidc/session/end")
		other.waitFor("the end at Logto", func(found seen) bool { return strings.HasPrefix(found.Address, s.logto+"/oidc/session/end/success") })
		open.click(`th a[href="/protected"]`)
		open.arrivesAtLogto(s, "/sign-in")
	})

	t.Run("another site leads to the sign-out", func(t *testing.T) {
		tab := b.window(t)
		tab.openSignedIn(s, "/profile")
		tab.open(s.logto + "/oidc/session/end/success")
		tab.waitFor("Logto", func(found seen) bool { return strings.HasPrefix(found.Address, s.logto) })
		tab.open(s.address + "/sign-out")
		tab.arrives(200, s.address+"/sign-out", "Sign out?")
		tab.back()
		tab.waitFor("Logto", func(found seen) bool { return strings.HasPrefix(found.Address, s.logto) })
		tab.open(s.address + "/profile")
		tab.arrives(200, s.address+"/profile")
	})

	t.Run("links that are fetched in advance start and end nothing", func(t *testing.T) {
		tab := b.window(t)
		call(tab, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true}) // for the rules, which are a script within the page
		tab.open(s.address + "/")
		tab.arrives(200, s.address+"/", "You are not signed in")
		tab.fetchInAdvance(s, "/sign-in")
		if cookies := tab.cookies(s.address); len(cookies) > 0 {
			t.Errorf("cookies were set: %v", cookies)
		}
		tab.click(".account a")
		tab.arrivesAtLogto(s, "/sign-in")
		tab.signsIn(s)
		tab.arrives(200, s.address+"/", "Hello, Alice Example")

		tab.fetchInAdvance(s, "/sign-out")
		tab.open(s.address + "/profile")
		tab.arrives(200, s.address+"/profile")
		tab.fetchInAdvance(s, "/sign-out")
		tab.open(s.address + "/sign-out")
		tab.arrives(200, s.address+"/", "You are not signed in")
	})

	t.Run("a private window is signed out", func(t *testing.T) {
		b.window(t).openSignedIn(s, "/profile")
		private := b.window(t)
		private.open(s.address + "/")
		private.arrives(200, s.address+"/", "You are not signed in")
		private.open(s.address + "/profile")
		private.arrivesAtLogto(s, "/sign-in")
	})
}

// waits for the page that says that another tab is at Logto.
func (b *tab) waits(s *site) {
	b.Helper()
	b.waitFor("the page of a tab that waits", func(found seen) bool {
		return strings.HasPrefix(found.Address, s.address+"/sign-in?") && found.Status == 200 &&
			found.Title == "One moment" && strings.Contains(found.Text, "Sign in here")
	})
}

// doesNotWait follows the link on that page. The page is soon replaced by another one like it, so that a
// click may come too late.
func (b *tab) doesNotWait(s *site) {
	b.Helper()
	err := b.until(func(ctx context.Context) error {
		address, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(() => {
			const link = document.querySelector('a.button[href^="/sign-in?"]')
			if (link && link.innerText === "Sign in here" && !window.isClicked) {
				window.isClicked = true
				link.click()
			}
			return location.href
		})()`))
		if err == nil && !strings.HasPrefix(address, s.logto) {
			err = fmt.Errorf("the tab is at %s", address)
		}
		return err
	})
	if err != nil {
		b.Fatalf("%v; the page is %s", err, b.describe())
	}
}

func (b *tab) signsOut(s *site) {
	b.Helper()
	b.click(`form[action="/sign-out"] button`)
	b.arrives(200, s.address+"/", "You are not signed in")
}

func (b *tab) reload() {
	b.Helper()
	run(b, chromedp.Reload())
}

// callback is a request to the callback that the browser is kept from sending.
type callback struct {
	address string
	release func()
}

// holdCallback stops the next request to the callback on its way. caught waits for it.
func (b *tab) holdCallback() (caught func() *callback) {
	b.Helper()
	requests := make(chan *fetch.EventRequestPaused, 1)
	err := chromedp.Listen(b.ctx, func(event any) {
		if paused, ok := event.(*fetch.EventRequestPaused); ok {
			requests <- paused
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	call(b, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: "*/callback?*"}}})
	return func() *callback {
		b.Helper()
		select {
		case paused := <-requests:
			return &callback{paused.Request.URL, func() {
				b.Helper()
				call(b, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: paused.RequestID})
				call(b, fetch.Disable, cdp.Empty{})
			}}
		case <-time.After(wait):
			b.Fatalf("no callback, but %s", b.describe())
			return nil
		}
	}
}

// fetchInAdvance has the browser fetch a link in each way that there is, and returns when
// the example has refused them all.
func (b *tab) fetchInAdvance(s *site, path string) {
	b.Helper()
	before := s.refusals(path)
	for i, way := range []string{
		`const link = document.createElement("link"); link.rel = "prefetch"; link.href = %q; document.head.append(link)`,
		`const rules = document.createElement("script"); rules.type = "speculationrules"; rules.textContent = JSON.stringify({prefetch: [{urls: [%q], eagerness: "immediate"}]}); document.head.append(rules)`,
		`const rules = document.createElement("script"); rules.type = "speculationrules"; rules.textContent = JSON.stringify({prerender: [{urls: [%q], eagerness: "immediate"}]}); document.head.append(rules)`,
	} {
		b.mayFail(503, path)
		link := path
		if strings.Contains(way, "prerender") { // Chromium may take for it what it has fetched by then
			link += "?prerendered"
		}
		run(b, chromedp.Evaluate[any]("{"+fmt.Sprintf(way, link)+"}"))
		err := b.until(func(context.Context) error {
			if s.refusals(path) < before+i+1 {
				return errors.New("not refused")
			}
			return nil
		})
		if err != nil {
			b.Fatalf("%s was not fetched by the way number %d", path, i)
		}
	}
}

// refusals is how often a path was refused, by the example's log.
func (s *site) refusals(path string) (n int) {
	for line := range strings.Lines(s.process.Output()) {
		if strings.Contains(line, "| 503 |") && strings.Contains(line, fmt.Sprintf("%q", path)) {
			n++
		}
	}
	return n
}
