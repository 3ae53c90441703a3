package browser_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// Each page in all ways to look at it. What it looks like is in the folder "screenshots".
func TestPages(t *testing.T) {
	s := startWithFake(t)
	b := startChromium(t)

	t.Run("of a visitor", func(t *testing.T) {
		tab := b.window(t)
		tab.shows(s, 200, "/", "home-visitor")
		tab.shows(s, 200, "/rights", "rights-visitor")
		tab.mayFail(404, "/nowhere")
		tab.shows(s, 404, "/nowhere", "not-found")
		tab.mayFail(400, "/callback")
		tab.shows(s, 400, "/callback", "sign-in-failed")
		tab.open(s.address + "/sign-in")
		tab.arrivesAtLogto(s, "/sign-in")
		tab.looksGood("fake-sign-in")
		tab.open(s.address + "/sign-up")
		tab.arrivesAtLogto(s, "/register")
		tab.looksGood("fake-register")
	})

	t.Run("of a user", func(t *testing.T) {
		tab := b.window(t)
		tab.openSignedIn(s, "/profile")
		for _, page := range []struct{ path, name string }{
			{"/", "home"}, {"/profile", "profile"}, {"/teams", "teams"}, {"/teams/acme", "team"}, {"/teams/acme/billing", "billing"},
			{"/rights", "rights"}, {"/admin", "admin"}, {"/editors", "editors"}, {"/protected?page=2", "protected"}, {"/calls", "calls"},
		} {
			tab.shows(s, 200, page.path, page.name)
		}
		tab.openSignedIn(s, "/payments") // which asks once more
		tab.looksGood("payments")
		tab.mayFail(403, "/teams/globex/billing")
		tab.shows(s, 403, "/teams/globex/billing", "not-allowed")

		tab.open(s.address + "/calls")
		tab.arrives(200, s.address+"/calls")
		tab.click(`button[value="/api/orders"]`)
		tab.arrives(200, s.address+"/calls", "200 OK")
		tab.looksGood("calls-answer")
		tab.click(`button[value="/api/jobs"]`)
		tab.arrives(200, s.address+"/calls", "403 Forbidden")
		tab.looksGood("calls-refused")

		tab.open(s.address + "/tokens")
		tab.arrives(200, s.address+"/tokens")
		tab.click("main > form button")
		tab.arrives(200, s.address+"/tokens?cleared", "The tokens were cleared")
		run(tab, chromedp.Evaluate[any](`document.querySelectorAll("details").forEach(d => { d.open = true })`))
		tab.looksGood("tokens")

		tab.open(s.logto + "/oidc/session/end/success")
		tab.arrives(200, s.logto+"/oidc/session/end/success")
		tab.looksGood("fake-signed-out")
		tab.open(s.address + "/sign-out")
		tab.arrives(200, s.address+"/sign-out", "Sign out?")
		tab.looksGood("sign-out")

		tab.open(s.address + "/calls")
		tab.arrives(200, s.address+"/calls")
		tab.forget(s.address)
		tab.mayFail(401, "/calls")
		tab.click(`button[value="/api/orders"]`)
		tab.arrives(401, s.address+"/calls", "Not signed in")
		tab.looksGood("form-after-session")
	})

	t.Run("while Logto does not answer", func(t *testing.T) {
		alone := startExample(t, func(string) []string {
			return []string{"LOGTO_ENDPOINT=http://127.0.0.1:9", "LOGTO_APP_ID=app", "LOGTO_APP_SECRET=the secret of the application"}
		})
		tab := b.window(t)
		tab.mayFail(503, "/sign-in")
		tab.open(alone.address + "/profile")
		tab.waitFor("an apology", func(found seen) bool { return found.Status == 503 })
		tab.looksGood("unavailable")
	})
}

func (b *tab) shows(s *site, status int, path, name string) {
	b.Helper()
	b.open(s.address + path)
	b.arrives(status, s.address+path)
	b.looksGood(name)
}

// tooWide are the elements that reach beyond the window, if it can be scrolled sideways.
const tooWide = `(() => {
	const width = document.documentElement.clientWidth
	if (document.scrollingElement.scrollWidth <= width) return []
	return [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > width).map(e => e.outerHTML.slice(0, 200))
})()`

// pale are the texts with less contrast than WCAG 2.2 asks for at level AA.
const pale = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true})
	const colors = (...layers) => { // of the topmost last
		canvas.clearRect(0, 0, 1, 1)
		for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1) }
		return canvas.getImageData(0, 0, 1, 1).data
	}
	const luminance = ([...color]) => color.slice(0, 3).map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
		.reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0)
	const empty = document.body.appendChild(document.createElement("div"))
	empty.style.backgroundColor = "Canvas"
	const sheet = getComputedStyle(empty).backgroundColor
	empty.remove()
	const found = []
	for (const element of document.querySelectorAll("body *")) {
		const text = [...element.childNodes].filter(n => n.nodeType == 3).map(n => n.data.trim()).join("")
		if (!text || !element.checkVisibility() || ["SCRIPT", "STYLE"].includes(element.tagName)) continue
		const layers = [sheet]
		const ancestors = []
		for (let e = element; e; e = e.parentElement) ancestors.unshift(e)
		for (const e of ancestors) layers.push(getComputedStyle(e).backgroundColor)
		const style = getComputedStyle(element), size = parseFloat(style.fontSize)
		const ground = luminance(colors(...layers)), ink = luminance(colors(...layers, style.color))
		const contrast = (Math.max(ground, ink) + .05) / (Math.min(ground, ink) + .05)
		const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700)
		if (contrast < (isLarge ? 3 : 4.5)) found.push(contrast.toFixed(2) + ": " + text)
	}
	return found
})()`

const ink = `getComputedStyle(document.body).color`

// looksGood looks at the page on a desk and on a phone, by day and by night.
func (b *tab) looksGood(name string) {
	b.Helper()
	var seen []string
	for _, colors := range []string{"light", "dark"} {
		b.setColors(colors)
		for _, width := range []int64{1200, 390} {
			b.setWidth(width, width == 390)
			if elements := run(b, chromedp.Evaluate[[]string](tooWide)); len(elements) > 0 {
				b.Errorf("%s is wider than %d pixels: %q", name, width, elements)
			}
			b.photograph(fmt.Sprintf("%s-%d-%s", name, width, colors))
		}
		if texts := run(b, chromedp.Evaluate[[]string](pale)); len(texts) > 0 {
			b.Errorf("%s is hard to read when it is %s: %q", name, colors, texts)
		}
		seen = append(seen, run(b, chromedp.Evaluate[string](ink)))
	}
	if seen[0] == seen[1] {
		b.Errorf("%s looks the same in light and dark: %s", name, seen[0])
	}
}
