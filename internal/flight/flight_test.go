package flight_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logtogin/logtogin/internal/flight"
)

// group is a Group of which a bubble with a clock of its own sees that no goroutine is left.
type group struct{ flight.Group[string, int64] }

// in runs a test in such a bubble.
func in(t *testing.T, test func(t *testing.T, g *group)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &group{}
		defer g.Close()
		test(t, g)
	})
}

// counter is work that takes a second and yields how often it was done.
type counter struct{ atomic.Int64 }

func (c *counter) work(ctx context.Context) (int64, error) {
	n := c.Add(1)
	select {
	case <-time.After(time.Second):
		return n, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func TestCallersWithTheSameKeyShareTheWork(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, g *group) {
		var work, others counter
		var mine atomic.Int64
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				call, isMine := g.Start(t.Context(), "key", work.work)
				if isMine {
					mine.Add(1)
				}
				if value, err := call.Wait(t.Context()); value != 1 || err != nil {
					t.Errorf("got %d, %v", value, err)
				}
			})
		}
		call, isMine := g.Start(t.Context(), "another key", others.work)
		if value, err := call.Wait(t.Context()); value != 1 || err != nil || !isMine {
			t.Errorf("with another key: got %d, %v, %v", value, isMine, err)
		}
		all.Wait()
		if mine.Load() != 1 || work.Load() != 1 {
			t.Errorf("the work of %d callers was done %d times", mine.Load(), work.Load())
		}
	})
}

// A caller for whom the result will not do starts again: that must not lead to the work that has just ended. It is a
// matter of nanoseconds, so it is tried often.
func TestWorkThatHasEndedIsNotShared(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, g *group) {
		var done atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for last, tries := int64(0), 0; tries < 10_000; tries++ {
					call, _ := g.Start(t.Context(), "key", func(context.Context) (int64, error) { return done.Add(1), nil })
					value, err := call.Wait(t.Context())
					if value <= last || err != nil {
						t.Errorf("got %d, %v after %d", value, err, last)
						return
					}
					last = value
				}
			})
		}
		all.Wait()
	})
}

func TestWaitingEndsWithTheContextOfTheCaller(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, g *group) {
		var work counter
		errTired := errors.New("tired")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errTired)
		defer cancel()
		first, _ := g.Start(ctx, "key", work.work)
		began := time.Now()
		if value, err := first.Wait(ctx); value != 0 || !errors.Is(err, errTired) || time.Since(began) != time.Millisecond {
			t.Errorf("the first: got %d, %v after %v", value, err, time.Since(began))
		}
		// The work goes on for the others, although the first caller has gone.
		second, isMine := g.Start(t.Context(), "key", work.work)
		if value, err := second.Wait(t.Context()); value != 1 || err != nil || isMine {
			t.Errorf("the second: got %d, %v, %v", value, isMine, err)
		}
	})
}

func TestWorkHasTheValuesOfTheFirstCallerAndNotItsEnd(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, g *group) {
		type key struct{}
		caller, leave := context.WithTimeout(context.WithValue(t.Context(), key{}, "value"), time.Hour)
		leave()
		call, _ := g.Start(caller, "key", func(ctx context.Context) (int64, error) {
			_, hasDeadline := ctx.Deadline()
			if ctx.Value(key{}) != "value" || hasDeadline || ctx.Err() != nil {
				t.Errorf("the work has %v", ctx)
			}
			return 7, ctx.Err()
		})
		if value, err := call.Wait(t.Context()); value != 7 || err != nil {
			t.Errorf("got %d, %v", value, err)
		}
	})
}

func TestWorkThatDoesNotReturnIsAnError(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end  func()
		text string
	}{
		"after a panic":         {func() { panic("what was asked") }, "no result: panic: what was asked"},
		"after runtime.Goexit":  {runtime.Goexit, "no result"},
		"after a panic of none": {func() { panic(nil) }, "no result: panic: panic called with nil argument"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, g *group) {
				areWaiting := make(chan struct{})
				call, _ := g.Start(t.Context(), "key", func(context.Context) (int64, error) {
					<-areWaiting
					test.end()
					return 0, nil
				})
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() {
						if _, err := call.Wait(t.Context()); !errors.Is(err, flight.ErrNoResult) || !strings.HasPrefix(err.Error(), test.text) {
							t.Errorf("got %v", err)
						}
					})
				}
				synctest.Wait()
				close(areWaiting)
				all.Wait()
				again, isMine := g.Start(t.Context(), "key", new(counter).work)
				if value, err := again.Wait(t.Context()); value != 1 || err != nil || !isMine {
					t.Errorf("again: got %d, %v, %v", value, isMine, err)
				}
			})
		})
	}
}

func TestCloseEndsTheWorkAndWaitsForIt(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, g *group) {
		var ended atomic.Int64
		isCleared := make(chan struct{})
		for _, key := range []string{"one", "two"} {
			g.Start(t.Context(), key, func(ctx context.Context) (int64, error) {
				<-ctx.Done()
				<-isCleared
				if !errors.Is(context.Cause(ctx), flight.ErrClosed) {
					t.Errorf("the work ends because of %v", context.Cause(ctx))
				}
				return ended.Add(1), nil
			})
		}
		isClosed := make(chan struct{})
		go func() {
			g.Close()
			close(isClosed)
		}()
		synctest.Wait() // until Close waits for the work
		close(isCleared)
		<-isClosed
		if ended.Load() != 2 {
			t.Errorf("Close has waited for %d, want 2", ended.Load())
		}
		call, isMine := g.Start(t.Context(), "one", func(context.Context) (int64, error) {
			t.Error("work is begun after Close")
			return 0, nil
		})
		if _, err := call.Wait(t.Context()); !errors.Is(err, flight.ErrClosed) || !errors.Is(err, flight.ErrNoResult) || !isMine {
			t.Errorf("after Close: got %v, %v", isMine, err)
		}
	})
}

func TestTheContextOfTheWorkEndsWithIt(t *testing.T) {
	t.Parallel()
	in(t, func(t *testing.T, g *group) {
		var kept context.Context
		call, _ := g.Start(t.Context(), "key", func(ctx context.Context) (int64, error) {
			kept = ctx
			return 0, nil
		})
		if _, err := call.Wait(t.Context()); err != nil || kept.Err() == nil {
			t.Errorf("got %v; the context has %v", err, kept.Err())
		}
	})
}
