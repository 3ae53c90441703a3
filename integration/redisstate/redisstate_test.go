// Package redisstate_test runs the shared state on real Redis servers.
package redisstate_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/servers"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/redisstate"
)

// clients are one of a single server, and one of a cluster.
var clients = map[string]func(t *testing.T) redis.UniversalClient{
	"a single server": func(t *testing.T) redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: servers.Redis(t).Address()})
	},
	"a cluster": func(t *testing.T) redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{servers.RedisCluster(t)[0].Address()}})
	},
}

func forEachClient(t *testing.T, test func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState)) {
	t.Helper()
	for name, open := range clients {
		t.Run(name, func(t *testing.T) {
			client := open(t)
			t.Cleanup(func() { _ = client.Close() })
			test(t, client, redisstate.New(client))
		})
	}
}

func TestValues(t *testing.T) {
	forEachClient(t, func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState) {
		ctx := t.Context()
		expect := func(key, want string) {
			t.Helper()
			if value, ok, err := state.Get(ctx, key); value != want || ok != (want != "") || err != nil {
				t.Errorf("%s: %q %v %v, want %q", key, value, ok, err, want)
			}
		}
		setIfAbsent := func(key, value string, want bool) {
			t.Helper()
			if set, err := state.SetIfAbsent(ctx, key, value, time.Hour); set != want || err != nil {
				t.Errorf("%s: %v %v", key, set, err)
			}
		}
		expect("logtogin:a", "")
		setIfAbsent("logtogin:a", "first", true)
		setIfAbsent("logtogin:a", "second", false)
		expect("logtogin:a", "first")
		if err := state.Set(ctx, "logtogin:a", "third", time.Minute); err != nil {
			t.Fatal(err)
		}
		expect("logtogin:a", "third")
		expect("logtogin:b", "")
		if left := client.PTTL(ctx, "logtogin:a").Val(); left <= 0 || left > time.Minute {
			t.Errorf("%v are left of a minute", left)
		}
		// Redis takes 0 for "for ever".
		for _, lifetime := range []time.Duration{0, -time.Hour, time.Nanosecond} {
			if err := state.Set(ctx, "logtogin:c", "c", lifetime); err != nil {
				t.Errorf("%v: %v", lifetime, err)
			}
			if left := client.PTTL(ctx, "logtogin:c").Val(); left == -1 {
				t.Errorf("a lifetime of %v lasts for ever", lifetime)
			}
		}
	})
}

func TestRedisKeepsTheContract(t *testing.T) {
	forEachClient(t, func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState) {
		logtotest.SharedStateContract(t, func(t testing.TB) logtogin.SharedState {
			empty(t, client)
			return state
		})
	})
}

// empty is what becomes of a Redis that is started again without its data.
func empty(t testing.TB, client redis.UniversalClient) {
	t.Helper()
	flush := func(ctx context.Context, one *redis.Client) error { return one.FlushAll(ctx).Err() }
	var err error
	switch client := client.(type) {
	case *redis.Client:
		err = flush(t.Context(), client)
	case *redis.ClusterClient:
		err = client.ForEachMaster(t.Context(), flush)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Whatever is lost of a log, those who have read it are told, also if its clock is behind then.
func TestALogThatIsNotTheSameAnyMore(t *testing.T) {
	const log, name = "logtogin:log", "{logtogin:log}:name"
	for what, lose := range map[string]func(ctx context.Context, client redis.UniversalClient, backup string) error{
		"the log was deleted": func(ctx context.Context, client redis.UniversalClient, _ string) error {
			return client.Del(ctx, log).Err()
		},
		"its name was deleted": func(ctx context.Context, client redis.UniversalClient, _ string) error {
			return client.Del(ctx, name).Err()
		},
		"an older state of it was restored": func(ctx context.Context, client redis.UniversalClient, backup string) error {
			return client.RestoreReplace(ctx, log, time.Hour, backup).Err()
		},
		"its last entries are lost": func(ctx context.Context, client redis.UniversalClient, _ string) error {
			return client.XTrimMaxLen(ctx, log, 0).Err()
		},
		"it begins again with smaller IDs": func(ctx context.Context, client redis.UniversalClient, _ string) error {
			if err := client.Del(ctx, log).Err(); err != nil {
				return err
			}
			return client.XAdd(ctx, &redis.XAddArgs{Stream: log, ID: "1-1", Values: []string{"entry", "of a clock that is behind"}}).Err()
		},
	} {
		t.Run(what, func(t *testing.T) {
			forEachClient(t, func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState) {
				ctx := t.Context()
				empty(t, client)
				add := func() {
					t.Helper()
					if _, err := state.Append(ctx, log, "entry", time.Hour); err != nil {
						t.Fatal(err)
					}
				}
				add()
				backup, err := client.Dump(ctx, log).Result()
				if err != nil {
					t.Fatal(err)
				}
				add()
				_, cursor, err := state.Read(ctx, log, "", 10)
				if err != nil {
					t.Fatal(err)
				}
				// Redis makes IDs of milliseconds: within one, the next entry could get the ID of the one that is lost.
				for began := client.Time(ctx).Val(); client.Time(ctx).Val().Sub(began) < 2*time.Millisecond; {
				}
				if err := lose(ctx, client, backup); err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					if entries, _, err := state.Read(ctx, log, cursor, 10); !errors.Is(err, logtogin.ErrLogReplaced) {
						t.Errorf("after %d entries: got %q %v, want ErrLogReplaced", i, entries, err)
					}
					add()
				}
			})
		})
	}
}

// An entry is kept for its lifetime, also if later ones are kept for less.
func TestAShortLifetimeCutsNoLongOne(t *testing.T) {
	forEachClient(t, func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState) {
		for _, lifetime := range []time.Duration{time.Minute, 100 * time.Hour, time.Minute} {
			if _, err := state.Append(t.Context(), "logtogin:log", "entry", lifetime); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{"logtogin:log", "{logtogin:log}:name"} {
			if left := client.PTTL(t.Context(), key).Val(); left < 100*time.Hour {
				t.Errorf("%v of %s are left, want 100 hours at least", left, key)
			}
		}
	})
}

// A log goes when its entries have.
func TestALogGoesByItself(t *testing.T) {
	forEachClient(t, func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState) {
		if _, err := state.Append(t.Context(), "logtogin:log", "entry", time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"logtogin:log", "{logtogin:log}:name"} {
			if left := client.PTTL(t.Context(), key).Val(); left < time.Hour || left > 3*time.Hour {
				t.Errorf("%v of %s are left", left, key)
			}
		}
	})
}

// Entries whose time is over go when others come.
func TestOldEntriesOfALogGo(t *testing.T) {
	forEachClient(t, func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState) {
		ctx := t.Context()
		old := strconv.FormatInt(time.Now().Add(-48*time.Hour).UnixMilli(), 10)
		for i := range 500 { // Redis drops them by the hundred
			if err := client.XAdd(ctx, &redis.XAddArgs{Stream: "logtogin:log", ID: old + "-" + strconv.Itoa(i), Values: []string{"entry", "old"}}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := state.Append(ctx, "logtogin:log", "new", time.Hour); err != nil {
			t.Fatal(err)
		}
		if count := client.XLen(ctx, "logtogin:log").Val(); count > 100 {
			t.Errorf("%d entries are kept", count)
		}
		if _, err := state.Append(ctx, "logtogin:other", "lasting", 100*24*time.Hour); err != nil {
			t.Fatal(err)
		}
		if count := client.XLen(ctx, "logtogin:other").Val(); count != 1 {
			t.Errorf("%d entries", count)
		}
	})
}

// With ContextTimeoutEnabled a call ends with its context, whatever Redis does. Without,
// nobody waits for it either: that is tested with the application.
func TestAFrozenRedisKeepsNobodyWaiting(t *testing.T) {
	server := servers.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: server.Address(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = client.Close() })
	state := redisstate.New(client)
	if err := state.Set(t.Context(), "logtogin:a", "a", time.Minute); err != nil {
		t.Fatal(err)
	}
	server.Freeze()
	defer server.Thaw()
	for name, call := range map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error { _, _, err := state.Get(ctx, "logtogin:a"); return err },
		"Set": func(ctx context.Context) error { return state.Set(ctx, "logtogin:a", "b", time.Minute) },
		"SetIfAbsent": func(ctx context.Context) error {
			_, err := state.SetIfAbsent(ctx, "logtogin:b", "b", time.Minute)
			return err
		},
		"Delete": func(ctx context.Context) error { return state.Delete(ctx, "logtogin:a") },
		"Append": func(ctx context.Context) error {
			_, err := state.Append(ctx, "logtogin:log", "x", time.Minute)
			return err
		},
		"Read": func(ctx context.Context) error { _, _, err := state.Read(ctx, "logtogin:log", "", 10); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		done := make(chan error, 1)
		go func() { done <- call(ctx) }()
		select {
		case err := <-done:
			if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s waits on after its context has ended", name)
		}
		cancel()
	}
}
