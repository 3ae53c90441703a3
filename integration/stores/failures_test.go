package stores_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/processes"
	"github.com/logtogin/logtogin/integration/servers"
)

// patience is how long something may take that happens at once on an idle
// machine.
const patience = time.Minute

// eventually waits until something is so.
func eventually(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := processes.Until(ctx, func() error {
		if !isSo() {
			return fmt.Errorf("%v later it is still not so: %s", patience, what)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// failing is a store on a server that can be made to fail.
type failing struct {
	server  *servers.Server
	backend backend
	forgets bool // whatever it kept, when it is stopped
}

func failingRedis(t *testing.T) failing {
	server := servers.Redis(t)
	return failing{server: server, backend: redisBackend(server, redisDefault, raiseSetMaxLength)}
}

func failingRedisPool(t *testing.T) failing {
	server := servers.Redis(t)
	return failing{server: server, backend: redisBackend(server, redisPool, raiseSetMaxLength)}
}

func failingMemcached(t *testing.T) failing {
	server := servers.Memcached(t)
	return failing{server: server, backend: memcachedBackend(t, server, nil, raiseMaxLength), forgets: true}
}

func TestAStoreThatFailsSignsNobodyOut(t *testing.T) {
	t.Parallel()
	signsNobodyOut(t, map[string]func(*testing.T) failing{
		"redis as NewStore makes it":           failingRedis,
		"redis with a pool that has time-outs": failingRedisPool,
		"memcached":                            failingMemcached,
	})
}

func signsNobodyOut(t *testing.T, stores map[string]func(*testing.T) failing) {
	for name, open := range stores {
		t.Run(name+", stopped", func(t *testing.T) {
			t.Parallel()
			f := open(t)
			whileItFails(t, f, f.server.Stop, f.server.Start)
		})
		t.Run(name+", frozen", func(t *testing.T) {
			t.Parallel()
			f := open(t)
			f.forgets = false
			whileItFails(t, f, f.server.Freeze, f.server.Thaw)
		})
	}
}

func whileItFails(t *testing.T, f failing, fail, recover func()) {
	w := newWorld(t, f.backend)
	app := w.start(nil)
	impatient := w.impatient(app)
	b, returning := newBrowser(t), newBrowser(t)
	b.mustSignIn(app, w.alice)
	cookies := b.session(app)
	callback := returning.signInUntilCallback(app, "/sign-in?return_to=/profile", w.bob)
	fail()

	for what, path := range map[string]string{"a guarded page": "/profile", "the sign-out": "/sign-out"} {
		page := b.Look(impatient.url + path)
		if page.Status != http.StatusServiceUnavailable || page.Header.Get("Retry-After") == "" ||
			page.Header.Get("Location") != "" || len(page.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s is answered %d %v", what, page.Status, page.Header)
		}
		if !strings.Contains(page.Body, "temporarily unavailable") || !strings.Contains(page.Body, "try again") {
			t.Errorf("%s says %s", what, page.Body)
		}
		if err := impatient.lastError(); !errors.Is(err, logtogin.ErrStoreUnavailable) {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
	if page := b.Look(impatient.url + "/"); page.Body != "for a visitor" || len(page.Cookies) > 0 {
		t.Errorf("a page for everybody is answered %d %s %v", page.Status, page.Body, page.Cookies)
	}
	if page := newBrowser(t).Look(impatient.url + "/profile"); page.Status != http.StatusFound {
		t.Errorf("a visitor, of whom the store knows nothing, gets %d %s", page.Status, page.Body)
	}
	page := returning.Look(strings.Replace(callback, app.url, impatient.url, 1))
	if page.Status != http.StatusServiceUnavailable || page.Header.Get("Retry-After") == "" || len(sessionCookies(page.Cookies)) > 0 {
		t.Errorf("the callback is answered %d %v", page.Status, page.Header)
	}
	if left := returning.session(app); len(left) > 0 {
		t.Errorf("after the sign-in that failed the browser has %v", left)
	}

	recover()
	want := "alice"
	if f.forgets {
		want = "a visitor"
	}
	eventually(t, "the cookie from before belongs to "+want, func() bool {
		page := replay(t, app, "/profile", cookies)
		return page.Body == "profile of "+want || (f.forgets && page.Status == http.StatusFound)
	})
	if got := user(t, app, returning.cookies(app)); got != "a visitor" {
		t.Errorf("the sign-in that failed has signed in %s", got)
	}
	returning.mustSignIn(app, w.bob)
	b.Get(app.url + "/sign-out")
	if got := user(t, app, cookies); got != "a visitor" {
		t.Errorf("after a sign-out that worked the cookie belongs to %s", got)
	}
}

// NewStore gives the calls to Redis no time-out at all. This test counts
// goroutines, so no other may run beside it.
func TestAFrozenRedisHoldsNoRequest(t *testing.T) {
	server := servers.Redis(t)
	w := newWorld(t, redisBackend(server, redisDefault, raiseSetMaxLength))
	app := w.start(nil)
	impatient := w.impatient(app)
	b := newBrowser(t)
	b.mustSignIn(app, w.alice)
	b.Client.CloseIdleConnections()
	before := goroutines(t)

	server.Freeze()
	pages := atOnce(t, b, impatient.url+"/profile", 50)
	for i, page := range pages {
		if page.Status != http.StatusServiceUnavailable || page.Header.Get("Retry-After") == "" || len(page.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("request %d is answered %d %v", i, page.Status, page.Header)
		}
	}
	b.Client.CloseIdleConnections()
	if during := runtime.NumGoroutine(); during <= before {
		t.Errorf("%d goroutines before and %d while redis is frozen: this test sees nothing", before, during)
	}

	server.Thaw()
	eventually(t, "the session works again", func() bool {
		return b.Look(impatient.url+"/profile").Body == "profile of alice"
	})
	for i, page := range atOnce(t, b, app.url+"/profile", 50) {
		if page.Body != "profile of alice" {
			t.Errorf("afterwards, request %d is answered %d %s", i, page.Status, page.Body)
		}
	}
	b.Client.CloseIdleConnections()
	eventually(t, "no goroutine is left behind", func() bool { return runtime.NumGoroutine() <= before })
}

// goroutines counts them when their number has settled.
func goroutines(t *testing.T) int {
	t.Helper()
	count, same := runtime.NumGoroutine(), 0
	eventually(t, "the number of goroutines stays the same", func() bool {
		now := runtime.NumGoroutine()
		if now != count {
			count, same = now, 0
		}
		same++
		return same > 20
	})
	return count
}

// mongodriver takes any failure to read a session for a new session, so that
// nothing can be told from a visitor but a call that lasts too long.
func TestMongodriverHidesThatItsStoreIsDown(t *testing.T) {
	t.Parallel()
	address, stop := servers.MongoDB(t)
	hidesFailures(t, mongoBackend(t, strings.TrimSuffix(address, "/")+"/?serverSelectionTimeoutMS=2000"), stop)
}

// hidesFailures is what such a store leaves possible: a user looks like a
// visitor for a while, and a sign-in says that it has failed.
func hidesFailures(t *testing.T, b backend, stop func()) {
	w := newWorld(t, b)
	app := w.start(nil)
	alices, bobs := newBrowser(t), newBrowser(t)
	alices.mustSignIn(app, w.alice)
	before := alices.session(app)
	callback := bobs.signInUntilCallback(app, "/sign-in", w.bob)
	stop()
	page := alices.Look(app.url + "/profile")
	if page.Status != http.StatusFound || !strings.HasPrefix(page.Header.Get("Location"), "/sign-in?") || len(besidesAttempts(page.Cookies)) > 0 {
		t.Errorf("a guarded page is answered %d %v", page.Status, page.Header)
	}
	if now := alices.session(app); len(now) != 1 || now[0].Value != before[0].Value {
		t.Errorf("the browser has %v", now)
	}
	page = bobs.Look(callback)
	if page.Status != http.StatusServiceUnavailable || len(sessionCookies(page.Cookies)) > 0 {
		t.Errorf("a callback is answered %d %v", page.Status, page.Header)
	}
	if err := app.lastError(); !errors.Is(err, logtogin.ErrStoreUnavailable) {
		t.Errorf("the error is %v", err)
	}
}
