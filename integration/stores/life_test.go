package stores_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
)

// lifeOfASession is what a session must do on every store.
func lifeOfASession(t *testing.T, b backend) {
	tests := map[string]func(*testing.T, *world){
		"a sign-in sets one session cookie with the right attributes":   aSignInSetsOneCookie,
		"a cookie from before the sign-in opens nothing":                aPlantedCookieOpensNothing,
		"each sign-in changes the cookie and the old one is worthless":  eachSignInChangesTheCookie,
		"two tabs sign in one after the other":                          twoTabsSignIn,
		"two tabs sign in at the same moment":                           twoTabsSignInAtOnce,
		"twenty requests at once all see the session":                   twentyRequestsAtOnce,
		"activity is written once in a tenth of the idle time-out":      activityIsWritten,
		"an idle session ends":                                          anIdleSessionEnds,
		"activity does not stretch the absolute lifetime":               activityDoesNotStretchTheLifetime,
		"a rotated secret goes through both":                            secretsAreRotated,
		"another user's sign-in leaves nothing of the first":            usersAreSwitched,
		"a signed-out cookie opens nothing":                             signOutIsForGood,
		"what is kept is sealed":                                        whatIsKeptIsSealed,
		"the application's own session lives beside it":                 theApplicationsSessionLivesBeside,
		"an access token that is too large is given up, not the user":   aLargeAccessToken,
		"tokens are refreshed once":                                     tokensAreRefreshedOnce,
		"an ID token that is too large fails the sign-in with a remedy": aLargeIDToken,
	}
	if b.remembers() {
		tests["records that are swapped sign both users out"] = swappedRecordsSignOut
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, newWorld(t, b)) })
	}
}

func aSignInSetsOneCookie(t *testing.T, w *world) {
	app, b := w.start(nil), newBrowser(t)
	if page := b.Look(app.url + "/profile"); page.Status != http.StatusFound || !strings.HasPrefix(page.Header.Get("Location"), "/sign-in?") {
		t.Errorf("a visitor gets %d %v", page.Status, page.Header)
	}
	callback := b.signInUntilCallback(app, "/sign-in?return_to=/profile", w.alice)
	w.expectStored(0, "before the callback")
	page := b.Look(callback)
	if page.Status != http.StatusFound || page.Header.Get("Location") != "/profile" {
		t.Fatalf("the callback is answered %d %v", page.Status, page.Header)
	}
	for _, cookie := range page.Cookies {
		switch {
		case !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" || cookie.Secure:
			t.Errorf("attributes: %s", cookie.Raw)
		case sessionCookieName.MatchString(cookie.Name):
			if cookie.MaxAge != int(14*24*time.Hour/time.Second) {
				t.Errorf("it lives for %d s", cookie.MaxAge)
			}
		case !attemptCookieName.MatchString(cookie.Name) || cookie.MaxAge >= 0:
			t.Errorf("another cookie: %s", cookie.Raw)
		}
	}
	if found := sessionCookies(page.Cookies); len(found) == 0 || (w.remembers() && len(found) != 1) {
		t.Errorf("%d session cookies", len(found))
	}
	if page := b.Get(app.url + "/profile"); page.Body != "profile of alice" || len(page.Cookies) > 0 {
		t.Errorf("the guarded page: %d %s %v", page.Status, page.Body, page.Cookies)
	}
	w.expectStored(1, "after the sign-in")
}

func aPlantedCookieOpensNothing(t *testing.T, w *world) {
	app := w.start(nil)
	planted := map[string][]*http.Cookie{}

	attacker := newBrowser(t)
	attacker.mustSignIn(app, w.bob)
	planted["the attacker's own session"] = attacker.session(app)
	if w.store != nil {
		planted["an empty session that the store has made"] = mint(t, w, attacker.session(app)[0].Name)
	}
	for name, cookies := range planted {
		victim := newBrowser(t)
		victim.plant(app, cookies)
		victim.mustSignIn(app, w.alice)
		if slices.ContainsFunc(victim.session(app), func(now *http.Cookie) bool {
			return slices.ContainsFunc(cookies, func(was *http.Cookie) bool { return was.Value == now.Value })
		}) {
			t.Errorf("%s: the cookie is the same after the sign-in", name)
		}
		for i, app := range w.instances(app, nil) {
			if got := user(t, app, cookies); got != "a visitor" {
				t.Errorf("%s: on instance %d the planted cookie belongs to %s", name, i, got)
			}
			if got := user(t, app, victim.session(app)); got != "alice" {
				t.Errorf("%s: on instance %d the new cookie belongs to %s", name, i, got)
			}
		}
	}
}

// mint has the store make a cookie for a session that holds nothing of ours.
func mint(t *testing.T, w *world, name string) []*http.Cookie {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	session, err := w.store.New(r, name)
	if err != nil {
		t.Fatal(err)
	}
	session.Values["chosen"] = "by the attacker"
	answer := httptest.NewRecorder()
	if err := w.store.Save(r, answer, session); err != nil {
		t.Fatal(err)
	}
	cookies := answer.Result().Cookies()
	if len(cookies) != 1 || cookies[0].Name != name {
		t.Fatalf("the store sets %v", cookies)
	}
	return cookies
}

func eachSignInChangesTheCookie(t *testing.T, w *world) {
	app, b := w.start(nil), newBrowser(t)
	instances := w.instances(app, nil)
	var earlier [][]*http.Cookie
	for i := range 3 {
		b.mustSignIn(app, w.alice)
		now := b.session(app)
		for j, was := range earlier {
			if was[0].Value == now[0].Value {
				t.Errorf("sign-in %d has the cookie of sign-in %d", i, j)
			}
			for k, app := range instances {
				if got := user(t, app, was); got != "a visitor" {
					t.Errorf("after sign-in %d the cookie of sign-in %d belongs to %s on instance %d", i, j, got, k)
				}
			}
		}
		for k, app := range instances {
			if got := user(t, app, now); got != "alice" {
				t.Errorf("the cookie of sign-in %d belongs to %s on instance %d", i, got, k)
			}
		}
		earlier = append(earlier, now)
		w.expectStored(1, fmt.Sprintf("after sign-in %d", i))
	}
}

func twoTabsSignIn(t *testing.T, w *world) {
	app, b := w.start(nil), newBrowser(t)
	first := b.signInUntilCallback(app, "/sign-in?return_to=/profile%3Ftab=1", w.alice)
	second := b.signInUntilCallback(app, "/sign-in?return_to=/profile%3Ftab=2", w.alice)
	for i, callback := range []string{second, first} {
		page := b.Get(callback)
		if want := fmt.Sprintf("%s/profile?tab=%d", app.url, 2-i); page.Status != http.StatusOK || page.URL.String() != want {
			t.Errorf("the tab arrives at %s: %d %s", page.URL, page.Status, page.Body)
		}
		w.expectStored(1, "after a tab's sign-in")
	}
	if got := user(t, app, b.cookies(app)); got != "alice" {
		t.Errorf("the browser belongs to %s", got)
	}
}

func twoTabsSignInAtOnce(t *testing.T, w *world) {
	app, b := w.start(nil), newBrowser(t)
	callbacks := []string{
		b.signInUntilCallback(app, "/sign-in?return_to=/profile%3Ftab=1", w.alice),
		b.signInUntilCallback(app, "/sign-in?return_to=/profile%3Ftab=2", w.alice),
	}
	pages, errs := make([]page, len(callbacks)), make([]error, len(callbacks))
	var tabs sync.WaitGroup
	for i, callback := range callbacks {
		tabs.Go(func() { pages[i], errs[i] = b.Try(http.MethodGet, callback, nil) })
	}
	tabs.Wait()
	for i, page := range pages {
		if errs[i] != nil || page.Body != "profile of alice" || page.URL.RawQuery != fmt.Sprintf("tab=%d", i+1) {
			t.Errorf("tab %d arrives at %s: %d %s (%v)", i+1, page.URL, page.Status, page.Body, errs[i])
		}
	}
	if got := user(t, app, b.cookies(app)); got != "alice" {
		t.Errorf("the browser belongs to %s", got)
	}
	// The browser keeps one of the sessions; it must end with the sign-out.
	kept := b.session(app)
	b.Get(app.url + "/sign-out")
	if got := user(t, app, kept); got != "a visitor" {
		t.Errorf("after the sign-out the cookie belongs to %s", got)
	}
}

func twentyRequestsAtOnce(t *testing.T, w *world) {
	app := w.start(func(cfg *logtogin.Config) { cfg.IdleTimeout = time.Hour })
	b := newBrowser(t)
	b.mustSignIn(app, w.alice)
	for when, wait := range map[string]time.Duration{"when nothing is due": 0, "when the activity is to be written": 10 * time.Minute} {
		w.logto.Advance(wait)
		for i, page := range atOnce(t, b, app.url+"/profile", 20) {
			if page.Body != "profile of alice" {
				t.Errorf("request %d %s: %d %s", i, when, page.Status, page.Body)
			}
		}
		if got := user(t, app, b.cookies(app)); got != "alice" {
			t.Errorf("%s the browser belongs to %s afterwards", when, got)
		}
	}
	w.expectStored(1, "after all of them")
}

// atOnce sends many requests from one browser, following no redirect, and waits
// for all answers.
func atOnce(t *testing.T, b *browser, address string, count int) []page {
	t.Helper()
	b.Stops = never
	defer func() { b.Stops = nil }()
	pages, errs := make([]page, count), make([]error, count)
	var requests sync.WaitGroup
	begin := make(chan struct{})
	for i := range count {
		requests.Go(func() {
			<-begin
			pages[i], errs[i] = b.Try(http.MethodGet, address, nil)
		})
	}
	close(begin)
	requests.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	return pages
}

func usersAreSwitched(t *testing.T, w *world) {
	app, b := w.start(nil), newBrowser(t)
	b.mustSignIn(app, w.alice)
	alices := b.session(app)
	var aliceKey string
	if w.remembers() {
		for aliceKey = range w.stored() {
		}
	}
	b.forgetLogto(app)
	b.mustSignIn(app, w.bob)
	for i, app := range w.instances(app, nil) {
		if got := user(t, app, alices); got != "a visitor" {
			t.Errorf("on instance %d the first user's cookie belongs to %s", i, got)
		}
		if got := user(t, app, b.session(app)); got != w.bob.Username {
			t.Errorf("on instance %d the second user's cookie belongs to %s", i, got)
		}
	}
	w.expectStored(1, "after the second user's sign-in")
	if w.remembers() {
		if _, still := w.stored()[aliceKey]; still {
			t.Error("the first user's record is still there")
		}
	}
	for _, both := range [][]*http.Cookie{append(slices.Clone(alices), b.session(app)...), append(b.session(app), alices...)} {
		if got := user(t, app, both); got != w.bob.Username {
			t.Errorf("with both cookies the request belongs to %s", got)
		}
	}
}

func signOutIsForGood(t *testing.T, w *world) {
	app, b := w.start(nil), newBrowser(t)
	instances := w.instances(app, nil)
	b.mustSignIn(app, w.alice)
	kept := b.session(app)
	page := b.Look(app.url + "/sign-out")
	if page.Status != http.StatusFound || !strings.HasPrefix(page.Header.Get("Location"), w.logto.Endpoint()+"/") {
		t.Errorf("the sign-out is answered %d %v", page.Status, page.Header)
	}
	if left := b.session(app); len(left) > 0 {
		t.Errorf("the browser keeps %v", left)
	}
	w.expectStored(0, "after the sign-out")
	for i, app := range instances {
		if got := user(t, app, kept); got != "a visitor" {
			t.Errorf("on instance %d the cookie belongs to %s", i, got)
		}
		page := replay(t, app, "/profile", kept)
		if page.Status != http.StatusFound || !strings.HasPrefix(page.Header.Get("Location"), "/sign-in?") {
			t.Errorf("on instance %d the guarded page is answered %d %s", i, page.Status, page.Body)
		}
	}
	w.expectStored(0, "after the cookie was replayed")
}

func swappedRecordsSignOut(t *testing.T, w *world) {
	app, alices, bobs := w.start(nil), newBrowser(t), newBrowser(t)
	swap := func() {
		records := w.stored()
		if len(records) != 2 {
			t.Fatalf("%d records", len(records))
		}
		var keys []string
		for key := range records {
			keys = append(keys, key)
		}
		w.write(t, keys[0], records[keys[1]])
		w.write(t, keys[1], records[keys[0]])
	}
	alices.mustSignIn(app, w.alice)
	bobs.mustSignIn(app, w.bob)
	swap()
	for name, b := range map[string]*browser{"alice": alices, "bob": bobs} {
		if got := user(t, app, b.session(app)); got != "a visitor" {
			t.Errorf("with the records swapped, the cookie of %s belongs to %s", name, got)
		}
		if page := replay(t, app, "/profile", b.session(app)); page.Status != http.StatusFound || len(besidesAttempts(page.Cookies)) > 0 {
			t.Errorf("with the records swapped, %s gets %d %s", name, page.Status, page.Body)
		}
	}
	// The cookies were good, and would be again.
	swap()
	if got := user(t, app, alices.session(app)) + user(t, app, bobs.session(app)); got != w.alice.Username+w.bob.Username {
		t.Errorf("with the records swapped back, the cookies belong to %s", got)
	}
}
