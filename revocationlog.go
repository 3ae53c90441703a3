package logtogin

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/record"
	"github.com/logtogin/logtogin/internal/seal"
)

// How instances tell each other what they have revoked: by a log in the shared state, which
// each reads when somebody asks.

const (
	// An instance reads the log at most so often, and goes on by what it knows while that
	// is younger than revocationsGoodFor.
	revocationsRenewAfter = 500 * time.Millisecond
	revocationsGoodFor    = 900 * time.Millisecond

	// revocationsPatience is how long a request waits for a log that nobody has asked for
	// long, and othersPatience for one that has never been read: all that is still in force
	// is in it.
	revocationsPatience = time.Second

	// revocationsBatch is how many entries are read at a time.
	revocationsBatch = 5000

	// maxUntold bounds what waits for a shared state that is down, and untoldPause is how
	// soon it is told again.
	maxUntold   = 10_000
	untoldPause = time.Second
)

// revocationLog is one of them. It is safe for concurrent use. Without a shared state it does
// nothing.
type revocationLog struct {
	shared   *boundedState
	sealer   *seal.Sealer
	name     string // of the log in the shared state
	kind     string // "revocations" or "changes"
	lifetime time.Duration
	apply    func(revocation)                          // what others have made known
	all      func(*revocationLog) iter.Seq[revocation] // what this instance knows that belongs in the log
	now      func() time.Time
	logger   *slog.Logger

	owner   context.Context
	close   context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	asked   time.Time // when the last reading began
	current time.Time // when the last one began that came to the end of the log
	reading *reading  // the one under way
	untold  []string  // what could not be appended, sealed
	telling bool      // whether somebody sees to that
	hasTold bool      // whether something was appended to the log that is there
	trouble logTrouble

	// Of the reading that is under way.
	cursor  string
	isFresh bool // the log is another one, and lacks what this instance knows
}

// logTrouble is what the operator should know of a log.
type logTrouble struct {
	replacedAt time.Time // when another log was last in its place
	replaced   int       // how often
	unreadable int       // entries
}

// and is what the operator should know of two logs.
func (t logTrouble) and(other logTrouble) logTrouble {
	if other.replacedAt.After(t.replacedAt) {
		t.replacedAt = other.replacedAt
	}
	t.replaced, t.unreadable = t.replaced+other.replaced, t.unreadable+other.unreadable
	return t
}

// reading is a look into the log. works may be read once done is closed.
type reading struct {
	done  chan struct{}
	works bool
}

func newRevocationLog(s *settings, shared *boundedState, name string, lifetime time.Duration) (l *revocationLog, err error) {
	l = &revocationLog{shared: shared, name: s.stateKey(name), kind: name, lifetime: lifetime, now: s.Now, logger: s.Logger}
	l.owner, l.close = context.WithCancel(context.Background())
	if shared.state != nil {
		l.sealer, err = seal.New(s.secrets, s.purpose(name))
	}
	return l, err
}

// stop ends what is under way and waits for it.
func (l *revocationLog) stop() {
	l.mu.Lock()
	l.close()
	l.mu.Unlock()
	l.running.Wait()
}

// tell appends a revocation, and returns when, by the clock of the shared state. It returns false if that is not
// possible now; it is tried again in the background, as long as this instance lives.
func (l *revocationLog) tell(ctx context.Context, made revocation) (at time.Time, works bool) {
	if l.shared.state == nil {
		return time.Time{}, true
	}
	if at, works = l.append(ctx, l.seal(made)); works {
		return at, true
	}
	made.tokenID = "" // the sender of a logout token hears that it failed, and may send it again
	entry := l.seal(made)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.untold) == maxUntold {
		l.untold = l.untold[1:]
		l.logger.Error("logtogin: the shared state is down for too long; other instances will not learn of a revocation", "limit", maxUntold)
	}
	l.untold = append(l.untold, entry)
	if !l.telling && l.owner.Err() == nil {
		l.telling = true
		l.running.Go(l.tellLater)
	}
	return time.Time{}, false
}

func (l *revocationLog) seal(made ...revocation) string {
	return l.sealer.Seal(encodeRevocations(made), l.name)
}

func (l *revocationLog) append(ctx context.Context, entry string) (at time.Time, works bool) {
	at, works = l.shared.append(ctx, l.name, entry, l.lifetime)
	if works {
		l.mu.Lock()
		l.hasTold = true
		l.mu.Unlock()
	}
	return at, works
}

// tellLater appends what could not be appended. An entry that is there twice does no harm.
func (l *revocationLog) tellLater() {
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

// renew reads the log if it is time to. The reading that is returned has to be waited for,
// as long as patience says; it is nil if what is known will do.
func (l *revocationLog) renew() (under *reading, patience time.Duration) {
	if l.shared.state == nil {
		return nil, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	isGood := isWithin(l.current, now, revocationsGoodFor)
	if isWithin(l.asked, now, revocationsRenewAfter) && (isGood || l.reading == nil) {
		return nil, 0
	}
	under = l.begin()
	switch {
	case isGood, l.shared.isKnownToBeDown():
		return nil, 0
	case l.current.IsZero():
		return under, othersPatience
	}
	return under, revocationsPatience
}

// isWithin reports whether a time was so long ago or less. A clock that was put back says
// nothing.
func isWithin(at, now time.Time, age time.Duration) bool {
	ago := now.Sub(at)
	return ago >= 0 && ago < age
}

// catchUp reads what the others have revoked until now, as far as that can be known.
func (l *revocationLog) catchUp(ctx context.Context) {
	if l.shared.state == nil {
		return
	}
	l.mu.Lock()
	earlier := l.reading
	l.mu.Unlock()
	if earlier != nil { // it may have looked already
		select {
		case <-earlier.done:
		case <-ctx.Done():
			return
		}
	}
	l.mu.Lock()
	under := l.begin()
	l.mu.Unlock()
	select {
	case <-under.done:
	case <-ctx.Done():
	}
}

// begin starts a reading, unless one is under way, which it returns. The caller has the lock.
func (l *revocationLog) begin() *reading {
	if l.reading != nil {
		return l.reading
	}
	under := &reading{done: make(chan struct{})}
	if l.owner.Err() != nil {
		close(under.done)
		return under
	}
	began := l.now()
	l.reading, l.asked = under, began
	l.running.Go(func() {
		under.works = l.read(l.owner)
		l.mu.Lock()
		l.reading = nil
		if under.works {
			l.current = began
		}
		l.mu.Unlock()
		close(under.done)
	})
	return under
}

// read applies the entries that follow the cursor in the log. If the log is another one, it starts at the beginning, and
// then publishes what this instance knows. Until then, other instances may not know it.
func (l *revocationLog) read(ctx context.Context) (works bool) {
	for restarts := 0; ; {
		hadTold := l.hasToldThis()
		found, works := l.shared.read(ctx, l.name, l.cursor, revocationsBatch)
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
		if len(found.entries) == revocationsBatch {
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
func (l *revocationLog) hasToldThis() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hasTold
}

func (l *revocationLog) applyAll(ctx context.Context, entries []string) {
	unreadable := 0
	for _, sealed := range entries {
		var all []revocation
		encoded, _, err := l.sealer.Open(sealed, l.name)
		if err == nil {
			all, err = decodeRevocations(encoded)
		}
		if err != nil {
			unreadable++
		}
		for _, made := range all {
			l.apply(made)
		}
	}
	if unreadable == 0 {
		return
	}
	l.mu.Lock()
	isFirst := l.trouble.unreadable == 0
	l.trouble.unreadable += unreadable
	l.mu.Unlock()
	if isFirst {
		l.logger.ErrorContext(ctx, "logtogin: the shared state has revocations that this instance cannot read, and does not apply: they are sealed by other Config.Secrets, or made by another version; give all instances the same Secrets, and keep a replaced one for Config.SessionLifetime", "log", l.kind, "entries", unreadable)
	}
}

// noteReplaced tells the operator that another log is in the place of the one that was read, unless that one may have
// expired with all that was in it.
func (l *revocationLog) noteReplaced(ctx context.Context) {
	isLost := false // and not yet noted
	for range l.all(l) {
		isLost = !l.isFresh
		break
	}
	l.mu.Lock()
	l.hasTold = false
	if isLost {
		l.trouble.replacedAt = l.now()
		l.trouble.replaced++
	}
	l.mu.Unlock()
	if isLost {
		l.logger.ErrorContext(ctx, "logtogin: the shared state has lost the log of revocations, or is another one; this instance publishes again what it knows; look whether Redis was emptied, restored or replaced", "log", l.kind)
	}
}

// publish appends what this instance knows. An entry that is there twice does no harm.
func (l *revocationLog) publish(ctx context.Context) bool {
	var entry []revocation
	for made := range l.all(l) {
		if entry = append(entry, made); len(entry) < revocationsPerEntry {
			continue
		}
		if _, works := l.append(ctx, l.seal(entry...)); !works {
			return false
		}
		entry = entry[:0]
	}
	if len(entry) == 0 {
		return true
	}
	_, works := l.append(ctx, l.seal(entry...))
	return works
}

// whatTroubles is what the operator should know of the log.
func (l *revocationLog) whatTroubles() logTrouble {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble
}

const (
	revocationFormat byte = 2

	// revocationsPerEntry is how many share an entry if many are published, some 60 KiB.
	revocationsPerEntry = 500
)

func encodeRevocations(all []revocation) []byte {
	w := record.NewWriter(revocationFormat)
	w.Number(uint64(len(all)))
	for _, made := range all {
		w.Number(uint64(made.kind))
		w.Text(made.name)
		w.Text(made.subject)
		w.Milliseconds(made.at)
		w.Time(made.expires)
		w.Text(made.tokenID)
		w.Milliseconds(made.started)
	}
	return w.Bytes()
}

func decodeRevocations(encoded []byte) (all []revocation, err error) {
	r := record.NewReader(encoded, revocationFormat)
	for range r.Number() {
		if r.HasFailed() {
			break
		}
		all = append(all, revocation{
			kind:    revocationKind(r.Number()),
			name:    r.Text(),
			subject: r.Text(),
			at:      r.Milliseconds(),
			expires: r.Time(),
			tokenID: r.Text(),
			started: r.Milliseconds(),
		})
	}
	return all, r.Err()
}
