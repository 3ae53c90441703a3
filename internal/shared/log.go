package shared

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/flight"
	"github.com/logtogin/logtogin/internal/seal"
)

const (
	// An instance reads a log at most so often, and goes on by what it knows while that is younger than goodFor.
	renewAfter = 500 * time.Millisecond
	goodFor    = 900 * time.Millisecond

	// usualPatience is how long a request waits for a log that nobody has asked for long, and firstPatience for one that has
	// never been read: all that is still in force is in it.
	usualPatience = time.Second
	firstPatience = 5 * time.Second

	// batch is how many entries are read at a time.
	batch = 5000

	// maxUntold bounds what waits for a shared state that is down, and untoldPause is how soon it is told again.
	maxUntold   = 10_000
	untoldPause = time.Second
)

// LogSettings are what a Log needs to know.
type LogSettings struct {
	State    *State
	Kind     string // "revocations" or "changes"; the name of the log
	Lifetime time.Duration
	// Sealer seals the entries, for this log only. It is needed with a Store.
	Sealer *seal.Sealer
	Now    func() time.Time
	Logger *slog.Logger
	// Apply is told of each entry of the log, in its order, the ones of this instance included. An error is counted.
	Apply func(entry []byte) error
	// All are entries with everything that this instance knows and that belongs in the log.
	All func() iter.Seq[[]byte]
}

// Log is a log that each instance appends to, and reads when somebody asks. It is safe for concurrent use. Without a
// Store it does nothing.
type Log struct {
	LogSettings
	name string // in the Store

	owner    context.Context // of tellLater
	close    context.CancelFunc
	running  sync.WaitGroup
	readings flight.Group[struct{}, struct{}] // one at a time

	mu        sync.Mutex
	asked     time.Time // when the last reading began
	current   time.Time // when the last one began that came to the end of the log
	isReading bool
	untold    []string // what could not be appended, sealed
	telling   bool     // whether somebody sees to that
	hasTold   bool     // whether something was appended to the log that is there
	trouble   Trouble

	// Of the reading that is under way.
	cursor  string
	isFresh bool // the log is another one, and lacks what this instance knows
}

// Trouble is what the operator should know of a log.
type Trouble struct {
	ReplacedAt time.Time // when another log was last in its place
	Replaced   int       // how often
	Unreadable int       // entries
}

// And is what the operator should know of two logs.
func (t Trouble) And(other Trouble) Trouble {
	if other.ReplacedAt.After(t.ReplacedAt) {
		t.ReplacedAt = other.ReplacedAt
	}
	t.Replaced, t.Unreadable = t.Replaced+other.Replaced, t.Unreadable+other.Unreadable
	return t
}

// reading is a look into the log, of which nobody needs a result.
type reading = *flight.Call[struct{}]

// NewLog returns a log, of which Stop ends what is under way.
func NewLog(settings LogSettings) *Log {
	l := &Log{LogSettings: settings, name: settings.State.prefix + settings.Kind}
	l.owner, l.close = context.WithCancel(context.Background())
	return l
}

// Stop ends what is under way and waits for it.
func (l *Log) Stop() {
	l.mu.Lock()
	l.close()
	l.mu.Unlock()
	l.running.Wait()
	l.readings.Close()
}

// Append adds an entry, and returns when, by the clock of the Store. It returns false if that is not possible now.
// Without a Store there is nothing to do, which is possible.
func (l *Log) Append(ctx context.Context, entry []byte) (at time.Time, works bool) {
	if !l.State.Exists() {
		return time.Time{}, true
	}
	return l.append(ctx, l.seal(entry))
}

func (l *Log) seal(entry []byte) string { return l.Sealer.Seal(entry, l.name) }

func (l *Log) append(ctx context.Context, entry string) (at time.Time, works bool) {
	at, works = ask(ctx, l.State, func(ctx context.Context) (time.Time, error) {
		return l.State.store.Append(ctx, l.name, entry, l.Lifetime)
	})
	if works {
		l.mu.Lock()
		l.hasTold = true
		l.mu.Unlock()
	}
	return at, works
}

// AppendLater adds an entry in the background when that is possible again, as long as this instance lives.
func (l *Log) AppendLater(entry []byte) {
	sealed := l.seal(entry)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.untold) == maxUntold {
		l.untold = l.untold[1:]
		l.Logger.Error("logtogin: the shared state is down for too long; other instances will not learn of a revocation", "limit", maxUntold)
	}
	l.untold = append(l.untold, sealed)
	if !l.telling && l.owner.Err() == nil {
		l.telling = true
		l.running.Go(l.tellLater)
	}
}

// tellLater appends what could not be appended. An entry that is there twice does no harm.
func (l *Log) tellLater() {
	ticker := time.NewTicker(untoldPause)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.owner.Done():
			return
		}
		for {
			l.mu.Lock()
			if len(l.untold) == 0 {
				l.telling = false
				l.mu.Unlock()
				return
			}
			entry := l.untold[0]
			l.mu.Unlock()
			if _, works := l.append(l.owner, entry); !works {
				break
			}
			l.mu.Lock()
			if len(l.untold) > 0 && l.untold[0] == entry { // it was not dropped meanwhile
				l.untold = l.untold[1:]
			}
			l.mu.Unlock()
		}
	}
}

// KeepUp makes sure that what the others have appended is known after a second. It waits only if nobody has asked for so
// long, and also for a client that has hung up: the request goes on, and must not by what was known before.
func KeepUp(ctx context.Context, logs ...*Log) {
	var readings []reading
	patience := usualPatience
	for i, l := range logs {
		r, enough := l.renew()
		if r != nil {
			readings = append(readings, r)
		}
		if i == 0 { // what the other ones have is worth no longer wait
			patience = max(patience, enough)
		}
	}
	if readings == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for _, r := range readings {
		_, _ = r.Wait(ctx)
	}
}

// renew reads the log if it is time to. The reading that is returned has to be waited for, as long as patience says; it
// is nil if what is known will do.
func (l *Log) renew() (r reading, patience time.Duration) {
	if !l.State.Exists() {
		return nil, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.Now()
	isGood := isWithin(l.current, now, goodFor)
	if isWithin(l.asked, now, renewAfter) && (isGood || !l.isReading) {
		return nil, 0
	}
	r, _ = l.begin()
	switch {
	case isGood, l.State.isKnownToBeDown():
		return nil, 0
	case l.current.IsZero():
		return r, firstPatience
	}
	return r, usualPatience
}

// isWithin reports whether a time was so long ago or less. A clock that was put back says nothing.
func isWithin(at, now time.Time, age time.Duration) bool {
	ago := now.Sub(at)
	return ago >= 0 && ago < age
}

// CatchUp reads what the others have appended until now, as far as that can be known.
func (l *Log) CatchUp(ctx context.Context) {
	if !l.State.Exists() {
		return
	}
	for range 2 { // a reading that was under way may have looked already
		l.mu.Lock()
		r, isMine := l.begin()
		l.mu.Unlock()
		if _, _ = r.Wait(ctx); ctx.Err() != nil || isMine {
			return
		}
	}
}

// begin starts a reading, unless one is under way, which it returns. The caller has the lock.
func (l *Log) begin() (r reading, isMine bool) {
	began := l.Now()
	r, isMine = l.readings.Start(context.Background(), struct{}{}, func(ctx context.Context) (struct{}, error) {
		works := l.read(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.isReading = false
		if works {
			l.current = began
		}
		return struct{}{}, nil
	})
	if isMine {
		l.isReading, l.asked = true, began
	}
	return r, isMine
}

// part is what the Store has after a cursor.
type part struct {
	entries    []string
	cursor     string
	isReplaced bool // the cursor belongs to another log
}

func (l *Log) readPart(ctx context.Context, cursor string, limit int) (found part, works bool) {
	return ask(ctx, l.State, func(ctx context.Context) (found part, err error) {
		found.entries, found.cursor, err = l.State.store.Read(ctx, l.name, cursor, limit)
		if errors.Is(err, ErrLogReplaced) {
			found.isReplaced, err = true, nil
		}
		return found, err
	})
}

// read applies the entries that follow the cursor in the log. If the log is another one, it starts at the beginning, and
// then publishes what this instance knows. Until then, other instances may not know it.
func (l *Log) read(ctx context.Context) (works bool) {
	for restarts := 0; ; {
		hadTold := l.hasToldThis()
		found, works := l.readPart(ctx, l.cursor, batch)
		switch {
		case !works:
			return false
		case found.isReplaced, found.cursor == "" && hadTold:
			if restarts++; restarts > 2 {
				return false // later
			}
			l.noteReplaced(ctx)
			l.cursor, l.isFresh = "", true
			continue
		}
		l.applyAll(ctx, found.entries)
		// What was told before the first reading may have been lost with a log of which nobody knows the name.
		l.isFresh = l.isFresh || (l.cursor == "" && hadTold)
		if found.cursor != "" {
			l.cursor = found.cursor
		}
		if len(found.entries) == batch {
			continue
		}
		if l.isFresh && !l.publish(ctx) {
			return false
		}
		l.isFresh = false
		return true
	}
}

// hasToldThis reports whether something was appended to the log that is thought to be there.
func (l *Log) hasToldThis() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hasTold
}

func (l *Log) applyAll(ctx context.Context, entries []string) {
	unreadable := 0
	for _, sealed := range entries {
		entry, _, err := l.Sealer.Open(sealed, l.name)
		if err == nil {
			err = l.Apply(entry)
		}
		if err != nil {
			unreadable++
		}
	}
	if unreadable == 0 {
		return
	}
	l.mu.Lock()
	isFirst := l.trouble.Unreadable == 0
	l.trouble.Unreadable += unreadable
	l.mu.Unlock()
	if isFirst {
		l.Logger.ErrorContext(ctx, "logtogin: the shared state has revocations that this instance cannot read, and does not apply: they are sealed by other Config.Secrets, or made by another version; give all instances the same Secrets, and keep a replaced one for Config.SessionLifetime", "log", l.Kind, "entries", unreadable)
	}
}

// noteReplaced tells the operator that another log is in the place of the one that was read, unless that one may have
// expired with all that was in it.
func (l *Log) noteReplaced(ctx context.Context) {
	isLost := false // and not yet noted
	for range l.All() {
		isLost = !l.isFresh
		break
	}
	l.mu.Lock()
	l.hasTold = false
	if isLost {
		l.trouble.ReplacedAt = l.Now()
		l.trouble.Replaced++
	}
	l.mu.Unlock()
	if isLost {
		l.Logger.ErrorContext(ctx, "logtogin: the shared state has lost the log of revocations, or is another one; this instance publishes again what it knows; look whether Redis was emptied, restored or replaced", "log", l.Kind)
	}
}

// publish appends what this instance knows. An entry that is there twice does no harm.
func (l *Log) publish(ctx context.Context) bool {
	for entry := range l.All() {
		if _, works := l.append(ctx, l.seal(entry)); !works {
			return false
		}
	}
	return true
}

// Troubles is Trouble, and whether the log can be read now.
func (l *Log) Troubles(ctx context.Context) (troubles Trouble, works bool) {
	_, works = l.readPart(ctx, "", 1)
	return l.Trouble(), works
}

// Trouble is what the operator should know of the log.
func (l *Log) Trouble() Trouble {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble
}
