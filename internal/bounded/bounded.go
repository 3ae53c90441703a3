// Package bounded calls what may never answer, and waits only for so long.
package bounded

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrUnderWay says that calls have not come to an end in time.
var ErrUnderWay = errors.New("calls are still under way")

// Calls are calls of one kind. At most a limited number of them is under way, each in a
// goroutine that lasts until it is answered. It is safe for concurrent use.
type Calls struct {
	timeout time.Duration
	running chan struct{}
}

// New returns Calls of which each is waited for until the time-out. Half of that is for waiting
// until another one has ended, so that a call that is made has time to be answered: otherwise,
// with more callers than can be served, each call would begin too late and none be answered.
func New(timeout time.Duration, limit int) *Calls {
	return &Calls{timeout: timeout, running: make(chan struct{}, limit)}
}

// Run waits for f, which is given a context with the time-out, until that ends. A panic
// in f is an error. If Run returns an error, f may still be running, and what it writes
// must not be read.
func (c *Calls) Run(ctx context.Context, f func(context.Context) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.begin(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if reason := recover(); reason != nil {
				done <- fmt.Errorf("panic: %v", reason)
			}
			<-c.running
		}()
		done <- f(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin waits until a call may be made.
func (c *Calls) begin(ctx context.Context) error {
	select {
	case c.running <- struct{}{}: // the usual case, without a timer
		return nil
	default:
	}
	timer := time.NewTimer(c.timeout / 2)
	defer timer.Stop()
	select {
	case c.running <- struct{}{}:
		return nil
	case <-timer.C:
		return context.DeadlineExceeded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close waits for the calls that are under way, not longer than for one.
func (c *Calls) Close() error {
	deadline := time.After(c.timeout)
	taken := 0
	defer func() {
		for range taken {
			<-c.running
		}
	}()
	for range cap(c.running) {
		select {
		case c.running <- struct{}{}:
			taken++
		case <-deadline:
			return fmt.Errorf("%w after %v", ErrUnderWay, c.timeout)
		}
	}
	return nil
}
