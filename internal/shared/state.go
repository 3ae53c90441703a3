// Package shared is what the instances of an application know together: values, and logs that each instance follows. They
// are in a Store, for example Redis, that may be down or slow: nobody waits for it for long, and each instance can go on by
// itself. What the values and the entries mean is for others to know. State is where to start reading.
package shared

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/bounded"
)

// Store keeps values and logs. It is logtogin.SharedState, which documents what is expected of each method.
type Store interface {
	Get(ctx context.Context, key string) (value string, ok bool, err error)
	Set(ctx context.Context, key, value string, lifetime time.Duration) error
	SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (set bool, err error)
	Delete(ctx context.Context, key string) error
	Append(ctx context.Context, log, entry string, lifetime time.Duration) (at time.Time, err error)
	Read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, err error)
}

// ErrLogReplaced is logtogin.ErrLogReplaced.
var ErrLogReplaced = errors.New("logtogin: the log is not the one that the cursor belongs to")

const (
	// timeout bounds a call to the Store, and pause is for how long it is left alone after a failure: a request that meets
	// a Store which does not answer is delayed by little more than the timeout in all.
	timeout = 500 * time.Millisecond
	pause   = time.Second

	maxCalls = 512
)

// State is a Store that never delays anybody for long, whatever it does with its context. Without a Store, or while that
// is down, it knows nothing. It is safe for concurrent use.
type State struct {
	store  Store  // may be nil
	prefix string // of all keys of this application
	logger *slog.Logger
	// Not every client looks at its context: go-redis does not unless it is told to.
	calls *bounded.Calls

	mu     sync.Mutex
	isDown bool
	retry  time.Time
}

// New returns the state of an application, whose keys begin with the prefix. The store may be nil.
func New(store Store, prefix string, logger *slog.Logger) *State {
	return &State{store: store, prefix: prefix, logger: logger, calls: bounded.New(timeout, maxCalls)}
}

// Exists reports whether there is a Store.
func (s *State) Exists() bool { return s.store != nil }

// Close waits for the calls that are under way, not longer than one may take.
func (s *State) Close() error {
	if err := s.calls.Close(); err != nil {
		return fmt.Errorf("logtogin: Config.SharedState: %w", err)
	}
	return nil
}

// Key is a key about something with this ID, which cannot be read from it.
func (s *State) Key(id, what string) string {
	sum := sha256.Sum256([]byte(id))
	return s.prefix + hex.EncodeToString(sum[:16]) + ":" + what
}

// Get returns the value of a key. ok is false also if nobody can tell.
func (s *State) Get(ctx context.Context, key string) (value string, ok bool) {
	type found struct {
		value string
		ok    bool
	}
	answer, _ := ask(ctx, s, func(ctx context.Context) (answer found, err error) {
		answer.value, answer.ok, err = s.store.Get(ctx, key)
		return answer, err
	})
	return answer.value, answer.ok
}

// Set gives a key a value for a while, if that is possible.
func (s *State) Set(ctx context.Context, key, value string, lifetime time.Duration) {
	ask(ctx, s, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.store.Set(ctx, key, value, lifetime)
	})
}

// SetIfAbsent is Set for a key that has no value, and reports whether that was so. works is false if nobody can tell.
func (s *State) SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (set, works bool) {
	return ask(ctx, s, func(ctx context.Context) (bool, error) {
		return s.store.SetIfAbsent(ctx, key, value, lifetime)
	})
}

// IsFirst is SetIfAbsent for somebody who goes on alone if nobody can tell.
func (s *State) IsFirst(ctx context.Context, key, value string, lifetime time.Duration) bool {
	set, works := s.SetIfAbsent(ctx, key, value, lifetime)
	return set || !works
}

// Delete removes the value of a key, if that is possible.
func (s *State) Delete(ctx context.Context, key string) {
	ask(ctx, s, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.store.Delete(ctx, key)
	})
}

// ask reports whether f was called and succeeded in time. The first failure is logged, and the recovery.
func ask[T any](ctx context.Context, s *State, f func(context.Context) (T, error)) (answered T, works bool) {
	var none, answer T // f may write its answer when nobody waits for it any more
	if s.store == nil || ctx.Err() != nil || s.isPaused() {
		return none, false
	}
	err := s.calls.Run(ctx, func(ctx context.Context) (err error) {
		answer, err = f(ctx)
		return err
	})
	if err != nil && ctx.Err() != nil {
		return none, false // the caller has given up; that says nothing about the store
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	wasDown := s.isDown
	s.isDown = err != nil
	switch {
	case err != nil:
		s.retry = time.Now().Add(pause)
		if !wasDown {
			s.logger.ErrorContext(ctx, "logtogin: the shared state does not work; each instance goes on by itself", "error", err)
		}
		return none, false
	case wasDown:
		s.logger.InfoContext(ctx, "logtogin: the shared state works again")
	}
	return answer, true
}

// isKnownToBeDown reports whether the last call has failed.
func (s *State) isKnownToBeDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isDown
}

func (s *State) isPaused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isDown && time.Now().Before(s.retry)
}
