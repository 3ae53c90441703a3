package main

import (
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest/faults"
)

func TestHomeOfVisitor(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	home := b.get(base + "/")
	home.mustBe(t, http.StatusOK, base+"/", "You are not signed in", `href="/sign-in"`, `href="/sign-up"`, `href="/" aria-current="page"`)
	for _, section := range sections {
		home.mustBe(t, http.StatusOK, base+"/", `href="`+section.Path+`"`, section.Text)
	}
	home.mustLack(t, "/sign-out")
	policy := home.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'self'") || !strings.Contains(policy, "form-action 'self'") {
		t.Errorf("Content-Security-Policy is %q", policy)
	}
	b.get(base+"/nothing").mustBe(t, http.StatusNotFound, base+"/nothing", "Page not found")
	for path, mediaType := range map[string]string{"/static/style.css": "text/css", "/static/icon.svg": "image/svg+xml"} {
		file := b.get(base + path)
		if file.status != http.StatusOK || !strings.HasPrefix(file.header.Get("Content-Type"), mediaType) {
			t.Errorf("%s: %d %s", path, file.status, file.header.Get("Content-Type"))
		}
		if caching := file.header.Get("Cache-Control"); caching != "max-age=3600" {
			t.Errorf("%s: Cache-Control: %s", path, caching)
		}
	}
}

// TestPages: what the content security policy forbids, and what a visitor of the pages must
// be asked for.
func TestPages(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	for _, path := range []string{"/", "/profile", "/protected", "/teams", "/teams/acme", "/rights", "/admin", "/tokens", "/calls"} {
		page := b.get(base + path)
		page.mustBe(t, http.StatusOK, base+path, `<html lang="en">`, `<main id="content"`, `action="/sign-out"`)
		page.mustLack(t, "<script", "<style", " style=", " onclick=")
		if path != "/" && path != "/rights" {
			newBrowser(t).get(base+path).mustLeadToSignIn(t, fake)
		}
	}
}

func TestSignIn(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	user := alice()
	profile := b.signIn(base + "/profile")
	profile.mustBe(t, http.StatusOK, base+"/profile", "Your profile", user.Name, user.Username, user.Email, fake.AppID(), "acme, globex", "Fetched from Logto just now")
	blocks := jsonIn(profile)
	if len(blocks) != 2 {
		t.Fatalf("%d JSON texts in the profile, want claims and user info", len(blocks))
	}
	for _, block := range blocks {
		var claims map[string]any
		if err := json.Unmarshal([]byte(block), &claims); err != nil {
			t.Fatal(err)
		}
		picture, isThere := claims["picture"]
		if claims["email"] != user.Email || claims["sub"] == "" || !isThere || picture != nil {
			t.Errorf("claims are %v", claims)
		}
	}
	b.get(base+"/").mustBe(t, http.StatusOK, base+"/", "Hello, "+user.Name, `action="/sign-out"`)
}

var codeBlock = regexp.MustCompile(`(?s)<pre[^>]*><code>(.*?)</code>`)

// jsonIn returns the JSON texts that a page shows.
func jsonIn(page document) (texts []string) {
	for _, block := range codeBlock.FindAllStringSubmatch(page.body, -1) {
		texts = append(texts, html.UnescapeString(block[1]))
	}
	return texts
}

func TestSignInFromHome(t *testing.T) {
	base, _ := startApp(t)
	newBrowser(t).signIn(base+"/sign-in").mustBe(t, http.StatusOK, base+"/", "Hello, ")
}

func TestSignUp(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	home := b.submit(b.get(base+"/sign-up"), "", map[string]string{"username": "carol", "password": "singing", "name": "<b>Carol</b>"})
	home.mustBe(t, http.StatusOK, base+"/", "Hello, <b>Carol</b>")
	if strings.Contains(home.body, "<b>Carol") {
		t.Error("the name is not escaped")
	}
	b.get(base+"/teams").mustBe(t, http.StatusOK, base+"/teams", "You are a member of no organization")
	b.get(base+"/editors").mustBe(t, http.StatusForbidden, base+"/editors", needs[editorsRoute])
}

func TestDeepLink(t *testing.T) {
	base, _ := startApp(t)
	newBrowser(t).signIn(base+"/protected?page=2").mustBe(t, http.StatusOK, base+"/protected?page=2",
		"/protected?page=2", `<a href="/protected?page=2" aria-current="page">`)
}

func TestCancelledSignIn(t *testing.T) {
	base, fake := startApp(t)
	fake.Misbehave(faults.Cancelled)
	b := newBrowser(t)
	page := b.signIn(base + "/profile")
	page.mustBe(t, http.StatusBadRequest, base+"/callback?", "You have not signed in", `href="/sign-in`)
}

func TestLogtoFails(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	fake.Close()
	b.get(base+"/profile").mustBe(t, http.StatusOK, base+"/profile", "Your profile", "You are still signed in")
	b.get(base+"/teams").mustBe(t, http.StatusOK, base+"/teams", "acme")
}

func TestAfterHours(t *testing.T) {
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	base, fake := startApp(t, func(cfg *config) { cfg.Logto.SessionLifetime, cfg.Logto.Now = 24*time.Hour, now })
	fake.SetNow(now)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	later.Store(int64(2 * time.Hour))
	b.get(base+"/profile").mustBe(t, http.StatusOK, base+"/profile", "Your profile", "Fetched from Logto just now")
}

func TestSignOut(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	profile := b.signIn(base + "/profile")
	before := b.client.Jar.Cookies(profile.url)

	// The sign-out button, then Logto's page that submits itself.
	home := b.submit(b.submit(profile, "/sign-out", nil), "", nil)
	home.mustBe(t, http.StatusOK, base+"/", "You are not signed in")

	thief := newBrowser(t)
	thief.client.Jar.SetCookies(profile.url, before)
	for _, who := range []*browser{b, thief} {
		who.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		answer := who.get(base + "/profile")
		if answer.status != http.StatusFound || !strings.HasPrefix(answer.header.Get("Location"), "/sign-in?return_to=%2Fprofile&attempt=") {
			t.Errorf("%d %s, want a redirect to the sign-in", answer.status, answer.header.Get("Location"))
		}
	}
}
