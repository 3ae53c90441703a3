// Package remote keeps a copy of a value that another server publishes: it is
// fetched when first needed, shared by all who wait for it, renewed in time,
// and kept over an outage of that server.
package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed is the answer of a Value after Close.
var ErrClosed = errors.New("remote: closed")

// Policy says how long a fetched value and a failure count.
type Policy struct {
	// Timeout bounds a single fetch.
	Timeout time.Duration
	// RenewAfter is the age at which the value is fetched anew while callers
	// go on with the copy at hand.
	RenewAfter time.Duration
	// Lifetime is the age at which callers wait for a new copy, unless the
	// last fetch failed.
	Lifetime time.Duration
	// KeepFor is the age up to which the copy is used while fetches fail.
	KeepFor time.Duration
	// RetryAfter is how long a failure is remembered before the next fetch.
	RetryAfter time.Duration
}

// Value is the copy. It is safe for concurrent use. No fetch depends on the
// context of the caller who happened to be first.
type Value[T any] struct {
	fetch  func(context.Context) (T, error)
	policy Policy
	now    func() time.Time

	owner   context.Context
	close   context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	copy      Copy[T]
	have      bool
	err       error // of the last fetch; nil if it went well
	triedAt   time.Time
	fetching  *flight[T]
	isClosing bool
}

// Copy is a fetched value, when it was fetched, and the how-manieth it is.
type Copy[T any] struct {
	Value      T
	FetchedAt  time.Time
	Generation int
}

type flight[T any] struct {
	done chan struct{}
	copy Copy[T]
	err  error
}

// New returns a Value that nothing has been fetched for yet.
func New[T any](policy Policy, now func() time.Time, fetch func(context.Context) (T, error)) *Value[T] {
	owner, cancel := context.WithCancel(context.Background())
	return &Value[T]{fetch: fetch, policy: policy, now: now, owner: owner, close: cancel}
}

// Close ends fetches that are under way and waits for them.
func (v *Value[T]) Close() {
	v.mu.Lock()
	v.isClosing = true
	v.mu.Unlock()
	v.close()
	v.running.Wait()
}

// Get returns the copy at hand, or waits for one as the policy says.
func (v *Value[T]) Get(ctx context.Context) (Copy[T], error) {
	v.mu.Lock()
	now := v.now()
	age := now.Sub(v.copy.FetchedAt)
	usable := v.have && age < v.policy.KeepFor
	if usable && age < v.policy.RenewAfter {
		defer v.mu.Unlock()
		return v.copy, nil
	}
	if v.fetching == nil && v.err != nil && now.Sub(v.triedAt) < v.policy.RetryAfter {
		defer v.mu.Unlock()
		if usable {
			return v.copy, nil
		}
		return Copy[T]{}, v.err
	}
	under := v.start()
	if usable && (age < v.policy.Lifetime || v.err != nil) {
		defer v.mu.Unlock()
		return v.copy, nil
	}
	old := v.copy
	v.mu.Unlock()

	fetched, err := under.wait(ctx)
	if err != nil && usable && ctx.Err() == nil {
		return old, nil
	}
	return fetched, err
}

// Newer returns a copy of a later generation than the one seen. It fetches
// one if there is none yet, but not within cooldown of the last fetch: then it
// returns the copy at hand. final reports that asking again would not help;
// it is false if a fetch that was already under way served the call, because
// that one may have been answered too early.
func (v *Value[T]) Newer(ctx context.Context, seen int, cooldown time.Duration) (copy Copy[T], final bool, err error) {
	v.mu.Lock()
	if v.copy.Generation > seen {
		defer v.mu.Unlock()
		return v.copy, false, nil
	}
	if v.fetching == nil {
		if v.now().Sub(v.triedAt) < cooldown && !v.triedAt.IsZero() {
			defer v.mu.Unlock()
			return v.copy, true, v.err
		}
		final = true
	}
	under := v.start()
	v.mu.Unlock()
	copy, err = under.wait(ctx)
	return copy, final, err
}

// start returns the fetch under way, or begins one. v.mu is held.
func (v *Value[T]) start() *flight[T] {
	if v.fetching != nil {
		return v.fetching
	}
	under := &flight[T]{done: make(chan struct{})}
	if v.isClosing {
		under.err = ErrClosed
		close(under.done)
		return under
	}
	v.fetching = under
	v.running.Go(func() {
		ctx, cancel := context.WithTimeout(v.owner, v.policy.Timeout)
		defer cancel()
		value, err := v.fetchSafely(ctx)

		v.mu.Lock()
		defer v.mu.Unlock()
		now := v.now()
		if err == nil {
			v.copy, v.have = Copy[T]{Value: value, FetchedAt: now, Generation: v.copy.Generation + 1}, true
		}
		v.err, v.triedAt, v.fetching = err, now, nil
		under.err = err
		if err == nil {
			under.copy = v.copy
		}
		close(under.done)
	})
	return under
}

// fetchSafely turns a panic into an error: the goroutine is nobody's request,
// so a panic in it would end the application.
func (v *Value[T]) fetchSafely(ctx context.Context) (value T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("remote: panic while fetching: %v", r)
		}
	}()
	return v.fetch(ctx)
}

func (f *flight[T]) wait(ctx context.Context) (Copy[T], error) {
	select {
	case <-f.done:
		return f.copy, f.err
	case <-ctx.Done():
		return Copy[T]{}, context.Cause(ctx)
	}
}
