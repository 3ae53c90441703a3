package servers

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
	_ "github.com/lib/pq" // the driver "postgres"

	"github.com/logtogin/logtogin/integration/processes"
)

// Redis starts a Redis that has written everything to a file before it answers, so that it
// has its data again after a crash of its own. It does not wait for the disk, which on a
// busy machine can take seconds.
func Redis(tb testing.TB) *Server {
	tb.Helper()
	dir := tb.TempDir()
	return start(tb, recipe{
		program: program(tb, "redis-server", "redis-server"),
		args: func(port string) []string {
			return []string{"--bind", host, "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "no"}
		},
		dir: dir,
		ask: says("PING\r\n", "+PONG"),
		end: syscall.SIGKILL,
	})
}

// clusterMembers is how many a Redis Cluster has at least, and slots what they share.
const (
	clusterMembers = 3
	slots          = 16384
)

// RedisCluster starts a Redis Cluster with three members, each of which has a third of the
// slots.
func RedisCluster(tb testing.TB) (members []*Server) {
	tb.Helper()
	for range clusterMembers {
		dir := tb.TempDir()
		members = append(members, start(tb, recipe{
			program: program(tb, "redis-server", "redis-server"),
			args: func(port string) []string {
				return []string{"--bind", host, "--port", port, "--dir", dir, "--save", "", "--cluster-enabled", "yes"}
			},
			dir:     dir,
			ask:     says("PING\r\n", "+PONG"),
			besides: clusterBus,
			end:     syscall.SIGKILL,
		}))
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for i, member := range members {
		for _, command := range []string{
			fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d\r\n", i*slots/clusterMembers, (i+1)*slots/clusterMembers-1),
			fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d\r\n", i+1),
			fmt.Sprintf("CLUSTER MEET %s %s\r\n", host, members[0].port),
		} {
			if err := says(command, "+OK")(ctx, member.Address()); err != nil {
				tb.Fatalf("servers: making a cluster: %s: %v", command, err)
			}
		}
	}
	for _, member := range members {
		err := processes.Until(ctx, func() error {
			return says("CLUSTER INFO\r\n", "cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d", clusterMembers))(ctx, member.Address())
		})
		if err != nil {
			tb.Fatalf("servers: the cluster is not ready: %v", err)
		}
	}
	return members
}

// clusterBus is the distance to the port where the members of a cluster talk to each other.
const clusterBus = 10000

// Memcached starts a Memcached, which forgets everything when it is stopped.
func Memcached(tb testing.TB) *Server {
	tb.Helper()
	dir := tb.TempDir()
	return start(tb, recipe{
		program: program(tb, "memcached", "memcached"),
		args: func(port string) []string {
			args := []string{"-l", host, "-p", port, "-U", "0", "-m", "16", "-t", "2"}
			if os.Getuid() == 0 {
				args = append(args, "-u", "root")
			}
			return args
		},
		dir: dir,
		ask: says("version\r\n", "VERSION"),
		end: syscall.SIGKILL,
	})
}

// Application starts a web application that ends by SIGTERM. variables are those of its
// environment; one of them has to tell it the port, on localhost. Stop waits for the
// requests under way, as a deployment does.
func Application(tb testing.TB, path string, variables func(port string) []string) *Server {
	tb.Helper()
	return start(tb, recipe{
		program:   path,
		args:      func(string) []string { return nil },
		dir:       tb.TempDir(),
		variables: variables,
		ask: func(ctx context.Context, address string) error {
			request, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+address, nil)
			if err != nil {
				return err
			}
			request.Close = true
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			return response.Body.Close()
		},
		end: syscall.SIGTERM,
	})
}

// postgresUser is who owns the server and the database of that name.
const postgresUser = "postgres"

// Postgres starts a PostgreSQL that trusts everybody on this machine.
func Postgres(tb testing.TB) *Server {
	tb.Helper()
	const debianPackage, places = "postgresql", "/usr/lib/postgresql/*/bin"
	initdb := program(tb, "initdb", debianPackage, places)
	postgres := program(tb, "postgres", debianPackage, places)

	// tb.TempDir lies below a directory that only the user of the test may enter.
	dir, err := os.MkdirTemp("", "postgres-for-a-test-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	credential := unprivileged(tb, debianPackage)
	if credential != nil {
		if err := os.Chown(dir, int(credential.Uid), int(credential.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, initdb, "-D", data, "-U", postgresUser, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	command.Dir = dir
	command.SysProcAttr = attributes(credential)
	if said, err := command.CombinedOutput(); err != nil {
		tb.Fatalf("servers: initdb: %v\n%s", err, said)
	}
	return start(tb, recipe{
		program: postgres,
		args: func(port string) []string {
			return []string{"-D", data, "-h", host, "-p", port, "-k", ""}
		},
		dir:        dir,
		credential: credential,
		ask: func(ctx context.Context, address string) error {
			db, err := sql.Open("postgres", databaseURL(address, postgresUser))
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			return db.PingContext(ctx)
		},
		end: syscall.SIGQUIT, // an immediate shutdown, after which it recovers as after a crash
	})
}

// DatabaseURL makes a new, empty database in a PostgreSQL server and returns its
// address.
func (s *Server) DatabaseURL(name string) string {
	s.tb.Helper()
	db, err := sql.Open("postgres", databaseURL(s.Address(), postgresUser))
	if err != nil {
		s.tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		s.tb.Fatalf("servers: %v", err)
	}
	return databaseURL(s.Address(), name)
}

func databaseURL(address, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(postgresUser), Host: address, Path: "/" + database,
		RawQuery: "sslmode=disable&connect_timeout=60",
	}
	return u.String()
}

// unprivileged is whom a server is run as that refuses to run as root: nil for
// the user of the test.
func unprivileged(tb testing.TB, debianPackage string) *syscall.Credential {
	tb.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	account, err := user.Lookup(postgresUser)
	if err != nil {
		tb.Fatalf("servers: PostgreSQL does not run as root: %v: install the Debian package %s", err, debianPackage)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// makingFerretDB keeps ferretdb.New to itself, which sets a variable of its package.
var makingFerretDB sync.Mutex

// MongoDB starts a FerretDB inside the test: an independent server for MongoDB's
// protocol that keeps its data in SQLite. MongoDB itself is not in Debian. The
// result is its address and a function that stops it for good.
func MongoDB(tb testing.TB) (address string, stop func()) {
	tb.Helper()
	makingFerretDB.Lock()
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: host + ":0"},
		Logger:    slog.New(slog.DiscardHandler),
		Handler:   "sqlite",
		SQLiteURL: (&url.URL{Scheme: "file", Opaque: tb.TempDir() + "/"}).String(),
	})
	makingFerretDB.Unlock()
	if err != nil {
		tb.Fatalf("servers: FerretDB: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	var stopped bool
	stop = func() {
		tb.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Errorf("servers: FerretDB: %v", err)
			}
		case <-time.After(stopTimeout):
			tb.Errorf("servers: FerretDB did not end within %v", stopTimeout)
		}
	}
	tb.Cleanup(stop)
	return server.MongoDBURI(), stop
}
