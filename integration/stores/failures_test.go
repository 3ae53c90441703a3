package stores_test

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/servers"
)

// patience is how long something may take that happens at once on an idle
// machine.
const patience = time.Minute

// eventually waits until something is so.
func eventually(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !isSo() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%v later it is still not so: %s", patience, what)
		}
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
		page := b.look(impatient.url + path)
		if page.status != http.StatusServiceUnavailable || page.header.Get("Retry-After") == "" ||
			page.header.Get("Location") != "" || len(page.header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s is answered %d %v", what, page.status, page.header)
		}
		if !strings.Contains(page.body, "temporarily unavailable") || !strings.Contains(page.body, "try again") {
			t.Errorf("%s says %s", what, page.body)
		}
		if err := impatient.lastError(); !errors.Is(err, logtogin.ErrStoreUnavailable) {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
	if page := b.look(impatient.url + "/"); page.body != "for a visitor" || len(page.cookies) > 0 {
		t.Errorf("a page for everybody is answered %d %s %v", page.status, page.body, page.cookies)
	}
	if page := newBrowser(t).look(impatient.url + "/profile"); page.status != http.StatusFound {
		t.Errorf("a visitor, of whom the store knows nothing, gets %d %s", page.status, page.body)
	}
	page := returning.look(strings.Replace(callback, app.url, impatient.url, 1))
	if page.status != http.StatusServiceUnavailable || page.header.Get("Retry-After") == "" || len(sessionCookies(page.cookies)) > 0 {
		t.Errorf("the callback is answered %d %v", page.status, page.header)
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
		return page.body == "profile of "+want || (f.forgets && page.status == http.StatusFound)
	})
	if got := user(t, app, returning.cookies(app)); got != "a visitor" {
		t.Errorf("the sign-in that failed has signed in %s", got)
	}
	returning.mustSignIn(app, w.bob)
	b.get(app.url + "/sign-out")
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
	b.client.CloseIdleConnections()
	before := goroutines(t)

	server.Freeze()
	pages := atOnce(t, b, impatient.url+"/profile", 50)
	for i, page := range pages {
		if page.status != http.StatusServiceUnavailable || page.header.Get("Retry-After") == "" || len(page.header.Values("Set-Cookie")) > 0 {
			t.Errorf("request %d is answered %d %v", i, page.status, page.header)
		}
	}
	b.client.CloseIdleConnections()
	if during := runtime.NumGoroutine(); during <= before {
		t.Errorf("%d goroutines before and %d while redis is frozen: this test sees nothing", before, during)
	}

	server.Thaw()
	eventually(t, "the session works again", func() bool {
		return b.look(impatient.url+"/profile").body == "profile of alice"
	})
	for i, page := range atOnce(t, b, app.url+"/profile", 50) {
		if page.body != "profile of alice" {
			t.Errorf("afterwards, request %d is answered %d %s", i, page.status, page.body)
		}
	}
	b.client.CloseIdleConnections()
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
	page := alices.look(app.url + "/profile")
	if page.status != http.StatusFound || !strings.HasPrefix(page.header.Get("Location"), "/sign-in?") || len(besidesAttempts(page.cookies)) > 0 {
		t.Errorf("a guarded page is answered %d %v", page.status, page.header)
	}
	if now := alices.session(app); len(now) != 1 || now[0].Value != before[0].Value {
		t.Errorf("the browser has %v", now)
	}
	page = bobs.look(callback)
	if page.status != http.StatusServiceUnavailable || len(sessionCookies(page.cookies)) > 0 {
		t.Errorf("a callback is answered %d %v", page.status, page.header)
	}
	if err := app.lastError(); !errors.Is(err, logtogin.ErrStoreUnavailable) {
		t.Errorf("the error is %v", err)
	}
}
