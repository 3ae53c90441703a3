package shared_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logtogin/logtogin/internal/seal"
	"github.com/logtogin/logtogin/internal/shared"
	"github.com/logtogin/logtogin/memorystate"
)

// faulty is a Store that can be down or not answer.
type faulty struct {
	*memorystate.State
	isDown atomic.Bool
	hangs  bool
	calls  atomic.Int64
}

func (f *faulty) fail(ctx context.Context) error {
	f.calls.Add(1)
	if f.hangs {
		select {} // whatever the context says
	}
	if f.isDown.Load() {
		return errors.New("connection refused")
	}
	return ctx.Err()
}

func (f *faulty) Get(ctx context.Context, key string) (string, bool, error) {
	if err := f.fail(ctx); err != nil {
		return "", false, err
	}
	return f.State.Get(ctx, key)
}

func (f *faulty) Append(ctx context.Context, log, entry string, lifetime time.Duration) (time.Time, error) {
	if err := f.fail(ctx); err != nil {
		return time.Time{}, err
	}
	return f.State.Append(ctx, log, entry, lifetime)
}

func (f *faulty) Read(ctx context.Context, log, cursor string, limit int) ([]string, string, error) {
	if err := f.fail(ctx); err != nil {
		return nil, "", err
	}
	return f.State.Read(ctx, log, cursor, limit)
}

var silent = slog.New(slog.DiscardHandler)

func TestWithoutAStoreNothingIsKnownAndEverybodyIsFirst(t *testing.T) {
	t.Parallel()
	state := shared.New(nil, "app:", silent)
	state.Set(t.Context(), "key", "value", time.Hour)
	if value, ok := state.Get(t.Context(), "key"); ok {
		t.Errorf("got %q, want nothing", value)
	}
	if !state.IsFirst(t.Context(), "key", "value", time.Hour) || state.Exists() {
		t.Error("somebody is taken for the second one")
	}
	if err := state.Close(); err != nil {
		t.Error(err)
	}
}

func TestAStoreThatFailsIsLeftAloneForASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{State: memorystate.New()}
		store.isDown.Store(true)
		state := shared.New(store, "app:", silent)
		for range 10 {
			state.Get(t.Context(), "key")
		}
		if calls := store.calls.Load(); calls != 1 {
			t.Errorf("it was called %d times, want once", calls)
		}
		store.isDown.Store(false)
		began, ticker := time.Now(), time.NewTicker(100*time.Millisecond)
		defer ticker.Stop()
		for works := false; !works; { // in simulated time
			<-ticker.C
			_, works = state.SetIfAbsent(t.Context(), "key", "value", time.Hour)
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it was called again after %v, want a second", took)
		}
	})
}

func TestAStoreThatDoesNotAnswerDelaysNobodyForLong(t *testing.T) {
	t.Parallel()
	store := &faulty{State: memorystate.New(), hangs: true}
	state := shared.New(store, "app:", silent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			state.Get(context.Background(), "key")
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("somebody still waits")
	}
}

// log is a log of words, and what an instance knows.
type log struct {
	*shared.Log
	known []string
	ahead atomic.Int64 // how far its clock is ahead
}

func newLog(t *testing.T, store shared.Store, secret string) *log {
	t.Helper()
	sealer, err := seal.New([]string{secret}, "words")
	if err != nil {
		t.Fatal(err)
	}
	l := &log{}
	l.Log = shared.NewLog(shared.LogSettings{
		State: shared.New(store, "app:", silent), Kind: "words", Lifetime: time.Hour, Sealer: sealer, Logger: silent,
		Now: func() time.Time { return time.Now().Add(time.Duration(l.ahead.Load())) },
		Apply: func(entry []byte) error {
			if string(entry) == "unreadable" {
				return errors.New("of another version")
			}
			if !slices.Contains(l.known, string(entry)) {
				l.known = append(l.known, string(entry))
			}
			return nil
		},
		All: func() iter.Seq[[]byte] {
			return func(yield func([]byte) bool) {
				for _, word := range l.known {
					if !yield([]byte(word)) {
						return
					}
				}
			}
		},
	})
	t.Cleanup(l.Stop)
	return l
}

func (l *log) add(t *testing.T, word string) {
	t.Helper()
	l.known = append(l.known, word)
	if _, works := l.Append(t.Context(), []byte(word)); !works {
		l.AppendLater([]byte(word))
	}
}

func (l *log) want(t *testing.T, words string) {
	t.Helper()
	if got := strings.Join(l.known, " "); got != words {
		t.Errorf("got %q, want %q", got, words)
	}
}

var secret = strings.Repeat("s", 32)

func TestWhatOneInstanceAppendsTheOthersLearn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memorystate.New()
		one, other := newLog(t, store, secret), newLog(t, store, secret)
		one.add(t, "a")
		shared.KeepUp(t.Context(), other.Log)
		other.want(t, "a")
		one.add(t, "b")
		other.ahead.Add(int64(time.Second))
		shared.KeepUp(t.Context(), other.Log)
		other.want(t, "a b")
		one.add(t, "c")
		other.CatchUp(t.Context())
		other.want(t, "a b c")
	})
}

func TestAClientThatHasHungUpWaitsForTheLogAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memorystate.New()
		one, other := newLog(t, store, secret), newLog(t, store, secret)
		one.add(t, "a")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		shared.KeepUp(ctx, other.Log)
		other.want(t, "a")
	})
}

func TestWhatCouldNotBeAppendedIsAppendedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{State: memorystate.New()}
		store.isDown.Store(true)
		one, other := newLog(t, store, secret), newLog(t, store.State, secret)
		one.add(t, "a")
		one.add(t, "b")
		store.isDown.Store(false)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for len(other.known) < 2 { // in simulated time; without the second word the bubble ends with the test's time limit
			<-ticker.C
			other.CatchUp(t.Context())
		}
		other.want(t, "a b")
	})
}

func TestWhatCannotBeReadIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memorystate.New()
		one, stranger, other := newLog(t, store, secret), newLog(t, store, strings.Repeat("x", 32)), newLog(t, store, secret)
		one.add(t, "a")
		one.add(t, "unreadable")
		stranger.add(t, "sealed by another secret")
		one.add(t, "b")
		other.CatchUp(t.Context())
		other.want(t, "a b")
		if troubles, works := other.Troubles(t.Context()); !works || troubles.Unreadable != 2 || troubles.Replaced != 0 {
			t.Errorf("got %+v, %t, want two unreadable entries", troubles, works)
		}
	})
}

func TestALogThatWasLostIsPublishedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{State: memorystate.New()}
		one := newLog(t, store, secret)
		one.add(t, "a")
		one.add(t, "b")
		one.CatchUp(t.Context())
		store.State = memorystate.New() // was emptied
		one.CatchUp(t.Context())
		other := newLog(t, store, secret)
		other.CatchUp(t.Context())
		other.want(t, "a b")
		if troubles := one.Trouble().And(other.Trouble()); troubles.Replaced != 1 || troubles.ReplacedAt.IsZero() {
			t.Errorf("got %+v, want one log that was replaced", troubles)
		}
	})
}

// slow is a Store whose log takes its time to be read, or has always just been replaced.
type slow struct {
	*memorystate.State
	takes      time.Duration
	isReplaced bool
	reads      atomic.Int64
}

// Read looks before it takes its time.
func (s *slow) Read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, err error) {
	s.reads.Add(1)
	if s.isReplaced {
		return nil, "", shared.ErrLogReplaced
	}
	entries, next, err = s.State.Read(ctx, log, cursor, limit)
	select {
	case <-time.After(s.takes):
		return entries, next, err
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
}

func TestCatchUpDoesNotTrustAReadingThatWasUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &slow{State: memorystate.New(), takes: 100 * time.Millisecond}
		one, other := newLog(t, store.State, secret), newLog(t, store, secret)
		go shared.KeepUp(t.Context(), other.Log)
		synctest.Wait()
		one.add(t, "a")
		began := time.Now()
		other.CatchUp(t.Context())
		other.want(t, "a")
		if took := time.Since(began); took != 200*time.Millisecond {
			t.Errorf("it took %v, want the rest of the reading under way, and another one", took)
		}
	})
}

func TestStopEndsTheReadingThatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t, &slow{State: memorystate.New(), takes: 100 * time.Millisecond}, secret)
		began := time.Now()
		go shared.KeepUp(t.Context(), l.Log)
		synctest.Wait()
		l.Stop()
		l.CatchUp(t.Context())
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestALogThatCannotBeReadIsNotReadForEachRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &slow{State: memorystate.New(), isReplaced: true}
		l := newLog(t, store, secret)
		shared.KeepUp(t.Context(), l.Log)
		reads := store.reads.Load()
		for range 10 {
			shared.KeepUp(t.Context(), l.Log)
		}
		if got := store.reads.Load(); got != reads {
			t.Errorf("it was read %d times, want %d", got, reads)
		}
		l.ahead.Add(int64(500 * time.Millisecond))
		shared.KeepUp(t.Context(), l.Log)
		if got := store.reads.Load(); got != 2*reads {
			t.Errorf("half a second later: it was read %d times, want %d", got, 2*reads)
		}
	})
}
