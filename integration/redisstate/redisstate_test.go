// Package redisstate_test runs the shared state on real Redis servers.
package redisstate_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/servers"
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

func TestLogs(t *testing.T) {
	forEachClient(t, func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState) {
		ctx := t.Context()
		read := func(cursor string, limit int, want ...string) (next string) {
			t.Helper()
			entries, next, err := state.Read(ctx, "logtogin:log", cursor, limit)
			if err != nil || !slices.Equal(entries, want) {
				t.Errorf("after %q: %q %v, want %q", cursor, entries, err, want)
			}
			return next
		}
		cursor := read("", 10)
		for _, entry := range []string{"one", "two", "three"} {
			if err := state.Append(ctx, "logtogin:log", entry, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		cursor = read(cursor, 2, "one", "two")
		cursor = read(cursor, 2, "three")
		cursor = read(cursor, 2)
		if err := state.Append(ctx, "logtogin:log", "four", time.Hour); err != nil {
			t.Fatal(err)
		}
		read(cursor, 10, "four")
		read("", 10, "one", "two", "three", "four")
		read("", 1, "one")
		// It goes when its entries have.
		if left := client.PTTL(ctx, "logtogin:log").Val(); left < time.Hour || left > 3*time.Hour {
			t.Errorf("%v are left", left)
		}
		if entries, _, err := state.Read(ctx, "logtogin:another", "", 10); len(entries) > 0 || err != nil {
			t.Errorf("%q %v", entries, err)
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
		if err := state.Append(ctx, "logtogin:log", "new", time.Hour); err != nil {
			t.Fatal(err)
		}
		if count := client.XLen(ctx, "logtogin:log").Val(); count > 100 {
			t.Errorf("%d entries are kept", count)
		}
		if err := state.Append(ctx, "logtogin:other", "lasting", 100*24*time.Hour); err != nil {
			t.Fatal(err)
		}
		if count := client.XLen(ctx, "logtogin:other").Val(); count != 1 {
			t.Errorf("%d entries", count)
		}
	})
}

func TestOneOfManySetsAValueAndTakesALock(t *testing.T) {
	forEachClient(t, func(t *testing.T, _ redis.UniversalClient, state logtogin.SharedState) {
		var set, locked atomic.Int64
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if done, err := state.SetIfAbsent(t.Context(), "logtogin:value", "x", time.Minute); err != nil {
					t.Error(err)
				} else if done {
					set.Add(1)
				}
				if _, ok, err := state.TryLock(t.Context(), "logtogin:lock", time.Minute); err != nil {
					t.Error(err)
				} else if ok {
					locked.Add(1)
				}
			})
		}
		all.Wait()
		if set.Load() != 1 || locked.Load() != 1 {
			t.Errorf("%d have set it, %d have locked it", set.Load(), locked.Load())
		}
	})
}

func TestLocks(t *testing.T) {
	forEachClient(t, func(t *testing.T, client redis.UniversalClient, state logtogin.SharedState) {
		ctx := t.Context()
		unlock, ok, err := state.TryLock(ctx, "logtogin:lock", time.Minute)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, ok, err := state.TryLock(ctx, "logtogin:lock", time.Minute); ok || err != nil {
			t.Error("taken twice:", ok, err)
		}
		if err := unlock(ctx); err != nil {
			t.Error(err)
		}
		again, ok, err := state.TryLock(ctx, "logtogin:lock", time.Minute)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		// The first holder comes late: it must not take it away from the second.
		if err := unlock(ctx); err != nil {
			t.Error(err)
		}
		if _, ok, err := state.TryLock(ctx, "logtogin:lock", time.Minute); ok || err != nil {
			t.Error("released by somebody else:", ok, err)
		}
		// One that has expired is no error.
		if err := client.Del(ctx, "logtogin:lock").Err(); err != nil {
			t.Fatal(err)
		}
		if err := again(ctx); err != nil {
			t.Error(err)
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
		"Append": func(ctx context.Context) error { return state.Append(ctx, "logtogin:log", "x", time.Minute) },
		"Read":   func(ctx context.Context) error { _, _, err := state.Read(ctx, "logtogin:log", "", 10); return err },
		"TryLock": func(ctx context.Context) error {
			_, _, err := state.TryLock(ctx, "logtogin:lock", time.Minute)
			return err
		},
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
