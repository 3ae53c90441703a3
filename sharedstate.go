package logtogin

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/bounded"
)

// SharedState is a memory that the instances of an application have in common; see
// Config.SharedState. Package redisstate keeps it in Redis. What it is given to keep
// is sealed or says nothing, and its keys are hashes where they name a session.
//
// It may forget: then a session is refreshed twice, which Logto forgives for 3
// seconds, and an instance does not learn of a sign-out that it does not know yet. It must
// not invent. All methods are called concurrently, with a context that ends after half a
// second, after which nobody waits for them; their errors are logged and otherwise ignored.
type SharedState interface {
	// Get returns the value of a key. ok is false if it has none, or if the
	// lifetime of the one it had is over.
	Get(ctx context.Context, key string) (value string, ok bool, err error)

	// Set gives a key a value for the lifetime, in the place of any other.
	Set(ctx context.Context, key, value string, lifetime time.Duration) error

	// SetIfAbsent is Set for a key that has no value, and reports whether that
	// was so. Of several calls at the same moment, one succeeds.
	SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (set bool, err error)

	// Append adds an entry to the end of a log, which begins with the first one. It is kept
	// for the lifetime at least.
	Append(ctx context.Context, log, entry string, lifetime time.Duration) error

	// Read returns the entries of a log that follow a cursor, the oldest first and not more
	// than limit of them, and the cursor of the last one. The cursor "" is before all
	// entries. An entry that was appended before the call is not missed, neither by this
	// call nor by one with the cursor that it returns. A log that does not exist has none.
	Read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, err error)

	// TryLock takes the lock of this name, if nobody has it, until unlock is
	// called or the lifetime is over. ok is false if somebody has it; it does not
	// wait. A lock is only to save calls: two holders at a time do no harm.
	TryLock(ctx context.Context, name string, lifetime time.Duration) (unlock func(context.Context) error, ok bool, err error)
}

const (
	// stateTimeout bounds a call to the shared state, and statePause is for how long
	// it is left alone after a failure: a request that meets a frozen one is delayed
	// by little more than stateTimeout in all.
	stateTimeout = 500 * time.Millisecond
	statePause   = time.Second

	// lockLifetime is longer than what is done under a lock usually takes; whoever has it may
	// have been killed, and until it is over each refresh of the session waits for it, but for
	// no longer than lockPatience.
	// othersPatience is how long somebody waits for what another instance is doing.
	// lockPatience is shorter than the 3 seconds for which Logto forgives a second use of a
	// refresh token, of which a killed one may have had the answer.
	lockLifetime   = 5 * time.Second
	othersPatience = 5 * time.Second
	lockPatience   = 2 * time.Second

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
	text   string
	ok     bool
	unlock func(context.Context) error
	// of a log
	entries []string
	cursor  string
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
	set, works := b.call(ctx, func(ctx context.Context) (v stateValue, err error) {
		v.ok, err = b.state.SetIfAbsent(ctx, key, value, lifetime)
		return v, err
	})
	return set.ok || !works
}

// append reports whether the entry is in the log.
func (b *boundedState) append(ctx context.Context, log, entry string, lifetime time.Duration) bool {
	_, works := b.call(ctx, func(ctx context.Context) (stateValue, error) {
		return stateValue{}, b.state.Append(ctx, log, entry, lifetime)
	})
	return works
}

func (b *boundedState) read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, works bool) {
	found, works := b.call(ctx, func(ctx context.Context) (v stateValue, err error) {
		v.entries, v.cursor, err = b.state.Read(ctx, log, cursor, limit)
		return v, err
	})
	return found.entries, found.cursor, works
}

// lock waits for the lock, but not for long, and not if isNeeded says that what was to
// be done under it has been done meanwhile. Whoever does not get it goes on without.
func (b *boundedState) lock(ctx context.Context, name string, isNeeded func() bool) (unlock func()) {
	taken, works := stateValue{}, false
	poll(ctx, lockPatience, func(ctx context.Context) bool {
		taken, works = b.call(ctx, func(ctx context.Context) (v stateValue, err error) {
			v.unlock, v.ok, err = b.state.TryLock(ctx, name, lockLifetime)
			return v, err
		})
		return taken.ok || !works || !isNeeded()
	})
	if !taken.ok {
		return func() {}
	}
	return func() {
		b.call(context.WithoutCancel(ctx), func(ctx context.Context) (stateValue, error) {
			return stateValue{}, taken.unlock(ctx)
		})
	}
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
