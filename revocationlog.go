package logtogin

import (
	"context"
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
	name     string
	lifetime time.Duration
	heed     func(revocation) // what is read
	now      func() time.Time
	logger   *slog.Logger

	owner   context.Context
	close   context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	cursor  string
	asked   time.Time // when the last reading began
	known   time.Time // when the last one began that came to the end of the log
	reading *reading  // the one under way
	untold  []string  // what could not be appended, sealed
	telling bool      // whether somebody sees to that
}

// reading is a look into the log. works may be read once done is closed.
type reading struct {
	done  chan struct{}
	works bool
}

func newRevocationLog(s *settings, shared *boundedState, name string, lifetime time.Duration, heed func(revocation)) (l *revocationLog, err error) {
	l = &revocationLog{shared: shared, name: s.stateKey(name), lifetime: lifetime, heed: heed, now: s.Now, logger: s.Logger}
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

// tell appends a revocation. It returns false if that is not possible now; it is tried again
// in the background, as long as this instance lives.
func (l *revocationLog) tell(ctx context.Context, made revocation) bool {
	if l.shared.state == nil {
		return true
	}
	if l.shared.append(ctx, l.name, l.seal(made), l.lifetime) {
		return true
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
	return false
}

func (l *revocationLog) seal(made revocation) string { return l.sealer.Seal(made.encode(), l.name) }

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
			if !l.shared.append(l.owner, l.name, entry, l.lifetime) {
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
	isGood := isWithin(l.known, now, revocationsGoodFor)
	if isWithin(l.asked, now, revocationsRenewAfter) && (isGood || l.reading == nil) {
		return nil, 0
	}
	under = l.begin()
	switch {
	case isGood, l.shared.isKnownToBeDown():
		return nil, 0
	case l.known.IsZero():
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
	began, cursor := l.now(), l.cursor
	l.reading, l.asked = under, began
	l.running.Go(func() {
		cursor, under.works = l.read(l.owner, cursor)
		l.mu.Lock()
		l.cursor, l.reading = cursor, nil
		if under.works {
			l.known = began
		}
		l.mu.Unlock()
		close(under.done)
	})
	return under
}

// read heeds what follows the cursor in the log, and returns the next cursor.
func (l *revocationLog) read(ctx context.Context, cursor string) (next string, works bool) {
	for {
		entries, next, works := l.shared.read(ctx, l.name, cursor, revocationsBatch)
		if !works {
			return cursor, false
		}
		for _, sealed := range entries {
			encoded, _, err := l.sealer.Open(sealed, l.name)
			if err != nil { // by a secret that is gone, or not by us
				continue
			}
			if made, err := decodeRevocation(encoded); err == nil {
				l.heed(made)
			}
		}
		if len(entries) == 0 {
			return cursor, true
		}
		if cursor = next; len(entries) < revocationsBatch {
			return cursor, true
		}
	}
}

const revocationFormat byte = 1

func (made revocation) encode() []byte {
	w := record.NewWriter(revocationFormat)
	w.Number(uint64(made.kind))
	w.Text(made.name)
	w.Text(made.subject)
	w.Milliseconds(made.at)
	w.Time(made.expires)
	w.Text(made.tokenID)
	return w.Bytes()
}

func decodeRevocation(encoded []byte) (revocation, error) {
	r := record.NewReader(encoded, revocationFormat)
	made := revocation{
		kind:    revocationKind(r.Number()),
		name:    r.Text(),
		subject: r.Text(),
		at:      r.Milliseconds(),
		expires: r.Time(),
		tokenID: r.Text(),
	}
	return made, r.Err()
}
