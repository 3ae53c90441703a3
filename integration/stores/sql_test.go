//go:build !race

package stores_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	ginsessions "github.com/gin-contrib/sessions"
	gingorm "github.com/gin-contrib/sessions/gorm"
	ginpostgres "github.com/gin-contrib/sessions/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/logtogin/logtogin/integration/servers"
)

// The stores of this file race by themselves: see the comment on the package.

func TestASessionLivesOnEveryStoreThatRaces(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		open   func(t *testing.T, raise bool) backend
		raised bool
	}{
		"postgres as NewStore makes it":      {onPostgres, false},
		"postgres with MaxLength":            {onPostgres, true},
		"gorm, on SQLite, as NewStore makes": {onGorm, false},
		"gorm, on SQLite, with MaxLength":    {onGorm, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lifeOfASession(t, test.open(t, test.raised))
		})
	}
}

func onPostgres(t *testing.T, raise bool) backend {
	return postgresBackend(t, servers.Postgres(t), raise)
}

func postgresBackend(t *testing.T, server *servers.Server, raise bool) backend {
	t.Helper()
	db := database(t, "postgres", server.DatabaseURL("sessions"))
	limitConnections(db)
	return inTable(db, raise, func(t *testing.T) ginsessions.Store {
		t.Helper()
		return postgresStore(t, db)
	}, "SELECT encode(key, 'escape'), encode(data, 'escape') FROM http_sessions", "UPDATE http_sessions SET data = $1 WHERE key = $2")
}

func postgresStore(t *testing.T, db *sql.DB) ginsessions.Store {
	t.Helper()
	store, err := ginpostgres.NewStore(db, storeKey)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// limitConnections sets the pool that docs/sessions.md recommends.
func limitConnections(db *sql.DB) {
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
}

func onGorm(t *testing.T, raise bool) backend {
	b, _ := gormBackend(t, raise)
	return b
}

// gormBackend also returns the database, which it would be the server's part to
// have.
func gormBackend(t *testing.T, raise bool) (backend, *sql.DB) {
	t.Helper()
	// SQLite lets one connection write at a time; the others are to wait.
	address := "file:" + filepath.Join(t.TempDir(), "sessions.db") + "?_journal_mode=WAL&_busy_timeout=60000&_txlock=immediate"
	opened, err := gorm.Open(sqlite.Open(address), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}
	db, err := opened.DB()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	limitConnections(db)
	return inTable(db, raise, func(*testing.T) ginsessions.Store {
		return gingorm.NewStore(opened, false, storeKey)
	}, "SELECT id, data FROM sessions", "UPDATE sessions SET data = $1 WHERE id = $2"), db
}

func database(t *testing.T, driver, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func inTable(db *sql.DB, raise bool, open func(*testing.T) ginsessions.Store, query, update string) backend {
	b := backend{
		open:   open,
		remedy: raiseMaxLength,
		records: func(t *testing.T) map[string]string {
			rows, err := db.Query(query)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = rows.Close() }()
			found := map[string]string{}
			for rows.Next() {
				var key, value string
				if err := rows.Scan(&key, &value); err != nil {
					t.Fatal(err)
				}
				if _, twice := found[key]; twice {
					t.Errorf("there are two records with the key %s", key)
				}
				found[key] = value
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			return found
		},
		write: func(t *testing.T, key, value string) {
			result, err := db.Exec(update, value, key)
			if err != nil {
				t.Fatal(err)
			}
			if changed, err := result.RowsAffected(); err != nil || changed != 1 {
				t.Fatalf("%d records were changed, %v", changed, err)
			}
		},
	}
	if raise {
		b.remedy = ""
		b.open = func(t *testing.T) ginsessions.Store { return raised(open(t)) }
	}
	return b
}

func TestAStoreThatFailsAndRacesSignsNobodyOut(t *testing.T) {
	t.Parallel()
	signsNobodyOut(t, map[string]func(*testing.T) failing{"postgres": failingPostgres})
}

func failingPostgres(t *testing.T) failing {
	server := servers.Postgres(t)
	return failing{server: server, backend: postgresBackend(t, server, false)}
}

// The store of gorm reports no error when it reads a session.
func TestGormHidesThatItsStoreIsDown(t *testing.T) {
	t.Parallel()
	b, db := gormBackend(t, false)
	hidesFailures(t, b, func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// The pool of database/sql has no limit of its own, and PostgreSQL accepts 100 connections
// by default. All calls meet a table that is locked, so that none ends before others begin.
func TestPostgresWithoutALimitedPoolServesManyRequestsAtOnce(t *testing.T) {
	t.Parallel()
	const most = 64
	address := servers.Postgres(t).DatabaseURL("sessions")
	db, observer := database(t, "postgres", address), database(t, "postgres", address)
	w := newWorld(t, backend{open: func(t *testing.T) ginsessions.Store { return postgresStore(t, db) }})
	app, b := w.start(nil), newBrowser(t)
	b.mustSignIn(app, w.alice)

	locking, err := observer.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locking.Exec("LOCK TABLE http_sessions IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan []page, 1)
	go func() { answered <- atOnce(t, b, app.url+"/profile", 200) }()
	var waiting, same int
	eventually(t, "the number of calls stays the same", func() bool {
		before := waiting
		if err := observer.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		if same++; waiting != before {
			same = 0
		}
		return waiting >= most && same > 20
	})
	if waiting != most {
		t.Errorf("%d calls at a time", waiting)
	}
	if err := locking.Rollback(); err != nil {
		t.Fatal(err)
	}
	for i, page := range <-answered {
		if page.Body != "profile of alice" {
			t.Errorf("request %d: %d %s (%v)", i, page.Status, page.Body, app.lastError())
		}
	}
}
