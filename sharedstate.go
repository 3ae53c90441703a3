package logtogin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/bounded"
	"github.com/logtogin/logtogin/internal/logto"
)

// SharedState is a memory that the instances of an application have in common; see
// Config.SharedState. Package redisstate keeps it in Redis, and memorystate in the memory of one process.
// What it is given to keep is sealed or says nothing, and its keys are hashes where they name a session.
//
// It may forget: then a session is refreshed twice, which Logto forgives for 3
// seconds, and an instance does not learn of a sign-out that it does not know yet. It must
// not invent. One clock decides when a lifetime has ended: the server's, if there is a server.
// All methods are called concurrently, with a context that ends after half a
// second, after which nobody waits for them; their errors are logged and otherwise ignored.
// logtotest.SharedStateContract tests all of this.
type SharedState interface {
	// Get returns the value of a key. ok is false if it has none, or if the
	// lifetime of the one it had is over.
	Get(ctx context.Context, key string) (value string, ok bool, err error)

	// Set gives a key a value for the lifetime, in the place of any other. A lifetime of 0 or less ends at once.
	Set(ctx context.Context, key, value string, lifetime time.Duration) error

	// SetIfAbsent is Set for a key that has no value, and reports whether that
	// was so. Of several calls at the same moment, one succeeds, also if they have the same value.
	SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (set bool, err error)

	// Delete removes the value of a key, if it has one.
	Delete(ctx context.Context, key string) error

	// Append adds an entry to the end of a log, which begins with the first one. It is kept
	// for the lifetime at least. at is the time by the one clock: of two calls, the one that begins after
	// the other has returned gets no earlier time. Once Append has returned, each Read finds the entry that has a
	// cursor before it, also if later entries have been read already.
	Append(ctx context.Context, log, entry string, lifetime time.Duration) (at time.Time, err error)

	// Read returns the entries of a log that follow a cursor, the oldest first and not more
	// than limit of them, and the cursor of the last one. The cursor "" is before all
	// entries. Fewer than limit are returned at the end of the log only. A log that does not exist has none, and the next
	// cursor is "" then.
	//
	// The error is ErrLogReplaced if the cursor is not one of this log, or of a part of it that is gone: the
	// log was deleted or restored, or belongs to another database, or entries were dropped before their
	// time that follow the cursor.
	Read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, err error)
}

// ErrLogReplaced is returned by SharedState.Read: the cursor belongs to another log than the one that is there.
// The instance starts again with the cursor "", and publishes what it knows.
var ErrLogReplaced = errors.New("logtogin: the log is not the one that the cursor belongs to")

const (
	// stateTimeout bounds a call to the shared state, and statePause is for how long
	// it is left alone after a failure: a request that meets a frozen one is delayed
	// by little more than stateTimeout in all.
	stateTimeout = 500 * time.Millisecond
	statePause   = time.Second

	// claimLifetime is how long one instance makes the next version of a session: as long as the call to
	// Logto may take. It may have been killed, so that the others wait only for claimPatience, which is
	// shorter than the 3 seconds for which Logto forgives a second use of a refresh token, of which the killed one
	// may have had the answer.
	// othersPatience is how long somebody waits for what another instance is doing.
	claimLifetime  = logto.RequestTimeout
	claimPatience  = 2 * time.Second
	othersPatience = 5 * time.Second

	maxStateCalls = 512
)

// boundedState is a SharedState that never delays anybody for long, whatever it does
// with its context. Without one, or while it is down, it knows nothing.
type boundedState struct {
	state  SharedState // may be nil
	logger *slog.Logger
	// Not every client looks at its context: go-redis does not unless it is told to.
	calls *bounded.Calls

	mu     sync.Mutex
	isDown bool
	retry  time.Time
}

func newBoundedState(s *settings) *boundedState {
	return &boundedState{state: s.SharedState, logger: s.Logger, calls: bounded.New(stateTimeout, maxStateCalls)}
}

// close waits for the calls that are under way, not longer than one may take.
func (b *boundedState) close() error {
	if err := b.calls.Close(); err != nil {
		return fmt.Errorf("logtogin: Config.SharedState: %w", err)
	}
	return nil
}

// stateValue is what a call may return.
type stateValue struct {
	text string
	ok   bool
	at   time.Time
	// of a log
	entries    []string
	cursor     string
	isReplaced bool
}

func (b *boundedState) get(ctx context.Context, key string) (value string, ok bool) {
	found, _ := b.call(ctx, func(ctx context.Context) (v stateValue, err error) {
		v.text, v.ok, err = b.state.Get(ctx, key)
		return v, err
	})
	return found.text, found.ok
}

func (b *boundedState) set(ctx context.Context, key, value string, lifetime time.Duration) {
	b.call(ctx, func(ctx context.Context) (stateValue, error) {
		return stateValue{}, b.state.Set(ctx, key, value, lifetime)
	})
}

// setIfAbsent also reports true if nobody can tell.
func (b *boundedState) setIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) bool {
	set, works := b.trySet(ctx, key, value, lifetime)
	return set || !works
}

func (b *boundedState) trySet(ctx context.Context, key, value string, lifetime time.Duration) (set, works bool) {
	found, works := b.call(ctx, func(ctx context.Context) (v stateValue, err error) {
		v.ok, err = b.state.SetIfAbsent(ctx, key, value, lifetime)
		return v, err
	})
	return found.ok, works
}

func (b *boundedState) delete(ctx context.Context, key string) {
	b.call(ctx, func(ctx context.Context) (stateValue, error) {
		return stateValue{}, b.state.Delete(ctx, key)
	})
}

// append reports whether the entry is in the log, and since when.
func (b *boundedState) append(ctx context.Context, log, entry string, lifetime time.Duration) (at time.Time, works bool) {
	added, works := b.call(ctx, func(ctx context.Context) (v stateValue, err error) {
		v.at, err = b.state.Append(ctx, log, entry, lifetime)
		return v, err
	})
	return added.at, works
}

// read may find that the cursor belongs to another log.
func (b *boundedState) read(ctx context.Context, log, cursor string, limit int) (found stateValue, works bool) {
	return b.call(ctx, func(ctx context.Context) (v stateValue, err error) {
		v.entries, v.cursor, err = b.state.Read(ctx, log, cursor, limit)
		if errors.Is(err, ErrLogReplaced) {
			v.isReplaced, err = true, nil
		}
		return v, err
	})
}

// poll asks again and again, for as long as somebody waits for another instance.
func poll(ctx context.Context, patience time.Duration, isDone func(context.Context) bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := 10 * time.Millisecond; !isDone(ctx); pause = min(2*pause, 200*time.Millisecond) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// call reports whether f was called and succeeded in time. The first failure is logged,
// and the recovery.
func (b *boundedState) call(ctx context.Context, f func(context.Context) (stateValue, error)) (value stateValue, works bool) {
	if b.state == nil || ctx.Err() != nil || b.isPaused() {
		return stateValue{}, false
	}
	var answer stateValue
	err := b.calls.Run(ctx, func(ctx context.Context) (err error) {
		answer, err = f(ctx)
		return err
	})
	if err != nil && ctx.Err() != nil {
		return stateValue{}, false // the caller has given up; that says nothing about the state
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	wasDown := b.isDown
	b.isDown = err != nil
	switch {
	case err != nil:
		b.retry = time.Now().Add(statePause)
		if !wasDown {
			b.logger.ErrorContext(ctx, "logtogin: the shared state does not work; each instance goes on by itself", "error", err)
		}
		return stateValue{}, false
	case wasDown:
		b.logger.InfoContext(ctx, "logtogin: the shared state works again")
	}
	return answer, true
}

// isKnownToBeDown reports whether the last call has failed.
func (b *boundedState) isKnownToBeDown() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.isDown
}

func (b *boundedState) isPaused() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.isDown && time.Now().Before(b.retry)
}
