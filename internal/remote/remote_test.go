package remote_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logtogin/logtogin/internal/flight"
	"github.com/logtogin/logtogin/internal/remote"
)

var (
	policy = remote.Policy{
		Timeout: 10 * time.Second, RenewAfter: 5 * time.Minute, Lifetime: 10 * time.Minute,
		KeepFor: time.Hour, RetryAfter: time.Second,
	}
	errDown = errors.New("down")
)

// source is what a Value is a copy of.
type source struct {
	fetches atomic.Int64
	down    atomic.Bool
	takes   time.Duration
}

func (s *source) fetch(ctx context.Context) (int64, error) {
	n := s.fetches.Add(1)
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if s.down.Load() {
		return 0, errDown
	}
	return n, nil
}

// run tests in a bubble with a clock of its own.
func run(t *testing.T, s *source, test func(t *testing.T, v *remote.Value[int64])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := remote.New(policy, time.Now, s.fetch)
		defer v.Close()
		test(t, v)
	})
}

// pass lets time pass on the bubble's clock.
func pass(d time.Duration) { <-time.After(d) }

func expect(t *testing.T, v *remote.Value[int64], s *source, want, fetches int64, wantErr error) {
	t.Helper()
	got, err := v.Get(t.Context())
	synctest.Wait()
	if got.Value != want || !errors.Is(err, wantErr) || s.fetches.Load() != fetches {
		t.Errorf("%d, %v after %d fetches; want %d, %v after %d", got.Value, err, s.fetches.Load(), want, wantErr, fetches)
	}
}

func TestValueIsFetchedRenewedAndKept(t *testing.T) {
	t.Parallel()
	s := &source{}
	run(t, s, func(t *testing.T, v *remote.Value[int64]) {
		expect(t, v, s, 1, 1, nil)
		pass(4 * time.Minute)
		expect(t, v, s, 1, 1, nil)
		pass(2 * time.Minute)
		expect(t, v, s, 1, 2, nil) // renewed behind the caller's back
		expect(t, v, s, 2, 2, nil)
		pass(11 * time.Minute)
		expect(t, v, s, 3, 3, nil) // waited for

		s.down.Store(true)
		pass(11 * time.Minute)
		expect(t, v, s, 3, 4, nil)
		expect(t, v, s, 3, 4, nil) // the failure is remembered
		pass(2 * time.Second)
		expect(t, v, s, 3, 5, nil)
		pass(time.Hour)
		expect(t, v, s, 0, 6, errDown)
		expect(t, v, s, 0, 6, errDown)
		s.down.Store(false)
		pass(2 * time.Second)
		expect(t, v, s, 7, 7, nil)
	})
}

// C46.
func TestWaitersShareAFetchThatNobodyCanCancel(t *testing.T) {
	t.Parallel()
	s := &source{takes: time.Second}
	run(t, s, func(t *testing.T, v *remote.Value[int64]) {
		first, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := v.Get(first); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left: %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			all.Go(func() {
				if got, err := v.Get(t.Context()); err != nil || got.Value != 1 {
					t.Errorf("%d, %v", got.Value, err)
				}
			})
		}
		synctest.Wait()
		leave()
		all.Wait()
		if s.fetches.Load() != 1 {
			t.Errorf("%d fetches", s.fetches.Load())
		}
	})
}

// C42.
func TestNewer(t *testing.T) {
	t.Parallel()
	s := &source{}
	run(t, s, func(t *testing.T, v *remote.Value[int64]) {
		seen, err := v.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			got, final, err := v.Newer(t.Context(), seen.Generation, 10*time.Second)
			if err != nil || !final || got.Value != 1 {
				t.Fatalf("within the cooldown: %d, %v, %v", got.Value, final, err)
			}
		}
		pass(11 * time.Second)
		for range 1000 {
			if _, _, err := v.Newer(t.Context(), seen.Generation, 10*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if s.fetches.Load() != 2 {
			t.Errorf("%d fetches", s.fetches.Load())
		}
		got, final, err := v.Newer(t.Context(), 2, 0)
		if err != nil || !final || got.Value != 3 {
			t.Errorf("without a cooldown: %d, %v, %v", got.Value, final, err)
		}
	})
}

func TestNewerDoesNotTrustAFetchThatWasUnderWay(t *testing.T) {
	t.Parallel()
	s := &source{takes: time.Second}
	run(t, s, func(t *testing.T, v *remote.Value[int64]) {
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := v.Get(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if got, final, err := v.Newer(t.Context(), 0, 0); err != nil || final || got.Value != 1 {
			t.Errorf("%d, %v, %v", got.Value, final, err)
		}
		all.Wait()
	})
}

func TestFetchesEnd(t *testing.T) {
	t.Parallel()
	t.Run("after the time-out", func(t *testing.T) {
		run(t, &source{takes: time.Hour}, func(t *testing.T, v *remote.Value[int64]) {
			if _, err := v.Get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	})
	t.Run("with Close", func(t *testing.T) {
		run(t, &source{takes: time.Second}, func(t *testing.T, v *remote.Value[int64]) {
			var all sync.WaitGroup
			all.Go(func() {
				if _, err := v.Get(t.Context()); !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
			})
			synctest.Wait()
			v.Close()
			all.Wait()
			pass(2 * time.Second)
			if _, err := v.Get(t.Context()); !errors.Is(err, flight.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	})
	t.Run("with a panic, as an error that is remembered", func(t *testing.T) {
		fetches := 0
		v := remote.New(policy, time.Now, func(context.Context) (int, error) {
			fetches++
			panic("what was read")
		})
		defer v.Close()
		for range 2 {
			if _, err := v.Get(t.Context()); err == nil {
				t.Error("no error")
			}
		}
		if fetches != 1 {
			t.Errorf("%d fetches", fetches)
		}
	})
}
