package stores_test

import (
	"maps"
	"testing"
	"time"

	ginsessions "github.com/gin-contrib/sessions"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func TestASessionLivesOnEveryStore(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) backend{
		"the plugin's own cookies":                           ownCookies,
		"the cookie store":                                   ginCookies,
		"memstore":                                           inMemory,
		"redis as NewStore makes it":                         onRedis(redisDefault, raiseSetMaxLength),
		"redis with a pool that has time-outs":               onRedis(redisPool, raiseSetMaxLength),
		"redis with SetMaxLength":                            onRedis(redisRaised, ""),
		"redis with JSON":                                    onRedis(redisJSON, raiseSetMaxLength),
		"memcached as NewStore makes it":                     onMemcached(nil, raiseMaxLength),
		"memcached with MaxLength":                           onMemcached(raised, ""),
		"mongodriver, with FerretDB in the place of MongoDB": onMongoDB,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeOfASession(t, open(t))
		})
	}
}

// world is what one test of the life of a session begins with. What earlier
// ones have left in the backend does not count as a record.
type world struct {
	backend
	t     *testing.T
	logto *logtotest.Server
	alice logtotest.User
	bob   logtotest.User
	store ginsessions.Store
	left  map[string]string
}

func newWorld(t *testing.T, b backend) *world {
	t.Helper()
	w := &world{backend: b, t: t, store: b.open(t)}
	w.alice = logtotest.DefaultUser()
	w.logto = logtotest.NewServer(t)
	w.bob = w.logto.AddUser(logtotest.User{Username: "bobby", Password: "tables"})
	began := time.Now().Truncate(time.Second)
	w.logto.SetNow(func() time.Time { return began }) // only tests move it
	if b.remembers() {
		w.left = b.records(t)
	}
	return w
}

// start starts an application by the clock of this world.
func (w *world) start(change func(*logtogin.Config)) *application {
	w.t.Helper()
	return newApplication(w.t, w.logto, w.store, func(cfg *logtogin.Config) {
		cfg.Now = w.logto.Now
		if change != nil {
			change(cfg)
		}
	})
}

// impatient starts another instance on the same store, which waits for it only for a moment.
// What has to succeed goes to an application that waits for longer.
func (w *world) impatient(app *application) *application {
	w.t.Helper()
	return newApplication(w.t, w.logto, w.store, func(cfg *logtogin.Config) {
		cfg.Now, cfg.BaseURL, cfg.StoreTimeout = w.logto.Now, app.url, 300*time.Millisecond
	})
}

// another starts another instance of an application, with a store of its own.
func (w *world) another(app *application, change func(*logtogin.Config)) *application {
	w.t.Helper()
	return newApplication(w.t, w.logto, w.open(w.t), func(cfg *logtogin.Config) {
		cfg.Now, cfg.BaseURL = w.logto.Now, app.url
		if change != nil {
			change(cfg)
		}
	})
}

// stored is what this test has put into the backend and not deleted.
func (w *world) stored() map[string]string {
	w.t.Helper()
	found := w.records(w.t)
	maps.DeleteFunc(found, func(key, _ string) bool {
		_, isOld := w.left[key]
		return isOld
	})
	return found
}

// expectStored checks how many records there are, if there are any at all.
func (w *world) expectStored(want int, when string) {
	w.t.Helper()
	if !w.remembers() {
		return
	}
	if found := w.stored(); len(found) != want {
		w.t.Errorf("%s the backend has %d records, want %d", when, len(found), want)
	}
}

// instances are applications that must agree about a session that has ended:
// with sessions in cookies only the one that ended it can know.
func (w *world) instances(app *application, change func(*logtogin.Config)) []*application {
	w.t.Helper()
	if !w.remembers() {
		return []*application{app}
	}
	return []*application{app, w.another(app, change)}
}
