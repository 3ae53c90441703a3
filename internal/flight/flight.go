// Package flight lets callers who want the same thing at the same time share the work for it.
//
// golang.org/x/sync/singleflight does not do the job. It does not tell a caller whether the work had begun before. Nothing
// owns its goroutines. In DoChan, a panic ends the program, and runtime.Goexit leaves the waiters waiting. A wrapper that
// adds this is as long as this package.
package flight

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

var (
	// ErrNoResult is the error of work that panicked, called runtime.Goexit or was started after Close.
	ErrNoResult = errors.New("no result")
	// ErrClosed is the ErrNoResult of work that was started after Close. It is also the cause in the context of work that
	// Close ends.
	ErrClosed = fmt.Errorf("%w: Close has been called", ErrNoResult)
)

// Group does at most one piece of work for a key at a time, in a goroutine that Close ends. The zero value is ready to
// use. It is safe for concurrent use and must not be copied.
type Group[K comparable, V any] struct {
	running sync.WaitGroup

	mu       sync.Mutex
	calls    map[K]*Call[V] // under way
	isClosed bool
}

// Call is one piece of work, under way or ended. It is safe for concurrent use.
type Call[V any] struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	value  V // this and err may be read once done is closed
	err    error
}

// Start begins the work for a key and does not wait for it. If work for the key is already under way, Start returns the
// call for that, and isMine is false.
//
// The context of the work has the values of ctx, but not its deadline or its cancellation: only Close cancels it. Work
// that needs no values is given context.Background(), because the values stay in memory until the work ends.
func (g *Group[K, V]) Start(ctx context.Context, key K, work func(context.Context) (V, error)) (call *Call[V], isMine bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if call = g.calls[key]; call != nil {
		return call, false
	}
	call = &Call[V]{done: make(chan struct{})}
	if g.isClosed {
		call.err = ErrClosed
		close(call.done)
		return call, true
	}
	if g.calls == nil {
		g.calls = map[K]*Call[V]{}
	}
	g.calls[key] = call
	ctx, call.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	g.running.Go(func() {
		defer g.end(key, call)
		call.run(ctx, work)
	})
	return call, true
}

// run turns a panic into an error: no request recovers in this goroutine, so a panic would end the application.
func (c *Call[V]) run(ctx context.Context, work func(context.Context) (V, error)) {
	c.err = ErrNoResult // what Goexit leaves behind
	defer func() {
		if reason := recover(); reason != nil {
			c.err = fmt.Errorf("%w: panic: %v", ErrNoResult, reason)
		}
	}()
	c.value, c.err = work(ctx)
}

// end forgets a call before its waiters go on: what they start next must be new work.
func (g *Group[K, V]) end(key K, call *Call[V]) {
	g.mu.Lock()
	delete(g.calls, key)
	g.mu.Unlock()
	call.cancel(nil)
	close(call.done)
}

// Wait returns the result of the work. If ctx ends first, the error is the cause of ctx, and the work goes on.
func (c *Call[V]) Wait(ctx context.Context) (value V, err error) {
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		return value, context.Cause(ctx)
	}
}

// Close cancels the contexts of all work and waits until the work has ended.
func (g *Group[K, V]) Close() {
	g.mu.Lock()
	g.isClosed = true
	for _, call := range g.calls {
		call.cancel(ErrClosed)
	}
	g.mu.Unlock()
	g.running.Wait()
}
