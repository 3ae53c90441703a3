// Package remote keeps a copy of a value that another server publishes: it is
// fetched when first needed, shared by all who wait for it, renewed in time,
// and kept over an outage of that server.
package remote

import (
	"context"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/flight"
)

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

	fetches flight.Group[struct{}, Copy[T]] // one at a time

	mu         sync.Mutex
	copy       Copy[T]
	have       bool
	err        error // of the last fetch; nil if it went well
	triedAt    time.Time
	isFetching bool
}

// Copy is a fetched value, when it was fetched, and the how-manieth it is.
type Copy[T any] struct {
	Value      T
	FetchedAt  time.Time
	Generation int
}

// New returns a Value that nothing has been fetched for yet.
func New[T any](policy Policy, now func() time.Time, fetch func(context.Context) (T, error)) *Value[T] {
	return &Value[T]{fetch: fetch, policy: policy, now: now}
}

// Close ends fetches that are under way and waits for them. What is fetched afterwards fails with flight.ErrClosed.
func (v *Value[T]) Close() { v.fetches.Close() }

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
	if !v.isFetching && v.err != nil && now.Sub(v.triedAt) < v.policy.RetryAfter {
		defer v.mu.Unlock()
		if usable {
			return v.copy, nil
		}
		return Copy[T]{}, v.err
	}
	fetching, _ := v.start()
	if usable && (age < v.policy.Lifetime || v.err != nil) {
		defer v.mu.Unlock()
		return v.copy, nil
	}
	old := v.copy
	v.mu.Unlock()

	fetched, err := fetching.Wait(ctx)
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
	if !v.isFetching && v.now().Sub(v.triedAt) < cooldown && !v.triedAt.IsZero() {
		defer v.mu.Unlock()
		return v.copy, true, v.err
	}
	fetching, isMine := v.start()
	v.mu.Unlock()
	copy, err = fetching.Wait(ctx)
	return copy, isMine, err
}

// start returns the fetch under way, or begins one. v.mu is held.
func (v *Value[T]) start() (fetching *flight.Call[Copy[T]], isMine bool) {
	fetching, isMine = v.fetches.Start(context.Background(), struct{}{}, func(ctx context.Context) (fetched Copy[T], err error) {
		ctx, cancel := context.WithTimeout(ctx, v.policy.Timeout)
		defer cancel()
		err = flight.ErrNoResult // unless fetch returns
		defer func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.err, v.triedAt, v.isFetching = err, v.now(), false
			if err == nil {
				fetched.FetchedAt, fetched.Generation = v.triedAt, v.copy.Generation+1
				v.copy, v.have = fetched, true
			}
		}()
		fetched.Value, err = v.fetch(ctx)
		return fetched, err
	})
	v.isFetching = v.isFetching || isMine
	return fetching, isMine
}
