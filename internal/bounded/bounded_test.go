package bounded_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logtogin/logtogin/internal/bounded"
)

func TestACallThatAnswers(t *testing.T) {
	t.Parallel()
	calls := bounded.New(time.Minute, 1)
	failure := errors.New("no")
	for range 3 {
		if err := calls.Run(t.Context(), func(context.Context) error { return failure }); !errors.Is(err, failure) {
			t.Error(err)
		}
		if err := calls.Run(t.Context(), func(context.Context) error { panic("dropped") }); err == nil || !strings.Contains(err.Error(), "dropped") {
			t.Error(err)
		}
	}
	if err := calls.Close(); err != nil {
		t.Error(err)
	}
}

func TestACallThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	calls := bounded.New(10*time.Millisecond, 2)
	answer := make(chan struct{})
	for range 3 { // the third finds no room
		if err := calls.Run(t.Context(), func(context.Context) error { <-answer; return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	for range 2 {
		if err := calls.Close(); !errors.Is(err, bounded.ErrUnderWay) {
			t.Error(err)
		}
	}
	close(answer)
	if err := bounded.New(time.Minute, 2).Close(); err != nil {
		t.Error(err)
	}
}

func TestACallerWhoHasLeft(t *testing.T) {
	t.Parallel()
	calls := bounded.New(time.Minute, 1)
	ctx, leave := context.WithCancel(t.Context())
	started, answer := make(chan struct{}), make(chan struct{})
	left := make(chan error)
	go func() {
		left <- calls.Run(ctx, func(context.Context) error { close(started); <-answer; return nil })
	}()
	<-started
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range 100 {
		if err := calls.Run(ctx, func(context.Context) error { t.Error("asked"); return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	close(answer)
	if err := calls.Close(); err != nil {
		t.Error(err)
	}
}

// With more callers than can be served, as many are served as can be.
func TestMoreCallersThanCanBeServedStopNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit, takes, perSecond, seconds = 16, 20 * time.Millisecond, 1250, 16
		calls := bounded.New(3*time.Second, limit)
		var callers sync.WaitGroup
		var answered [seconds + 4]atomic.Int64
		began := time.Now()
		for range perSecond * seconds {
			callers.Go(func() {
				if calls.Run(t.Context(), func(ctx context.Context) error {
					select {
					case <-time.After(takes):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}) == nil {
					answered[time.Since(began)/time.Second].Add(1)
				}
			})
			<-time.After(time.Second / perSecond)
		}
		callers.Wait()
		// By then, all who wait have waited for as long as anybody does.
		const capacity = limit * int64(time.Second/takes)
		for second := 8; second < seconds; second++ {
			if got := answered[second].Load(); got < capacity*9/10 {
				t.Errorf("in second %d: got %d answers, want %d or nearly", second, got, capacity)
			}
		}
	})
}
