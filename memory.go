package logtogin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/seal"
)

// What refreshes have yielded, remembered for the requests that come with an older
// version of the session: those that were under way, and those of a browser that has
// not received the newer one. Each version leads to the next, and so to the newest.

const (
	// resultMemory is how long a result is remembered if the refresh token in the
	// older version is still good: losing it costs a refresh. A result that has
	// another refresh token is remembered for as long as the session may last, until
	// the browser comes with it.
	resultMemory = 10 * time.Minute

	// maxResults bounds the results in memory, of about 2 KiB each.
	maxResults = 16 << 10
)

// memory is where results are kept, here and in the shared state. It is safe for
// concurrent use.
type memory struct {
	results *cache.Cache[string, string]
	shared  *boundedState
	sealer  *seal.Sealer
	prefix  string // of the keys of this application
	now     func() time.Time
}

func newMemory(s *settings, shared *boundedState) (*memory, error) {
	sealer, err := seal.New(s.secrets, s.purpose("refreshed session"))
	if err != nil {
		return nil, err
	}
	return &memory{
		results: cache.New[string, string](maxResults, s.Now),
		shared:  shared,
		sealer:  sealer,
		prefix:  s.stateKey(""),
		now:     s.Now,
	}, nil
}

// keyFor begins a key of the shared state. What it is about cannot be read from it.
func (m *memory) keyFor(id string) string {
	sum := sha256.Sum256([]byte(id))
	return m.prefix + hex.EncodeToString(sum[:16])
}

// resultKey is where the version that follows this one is.
func (m *memory) resultKey(id string, version uint64) string {
	return m.keyFor(id) + ":" + strconv.FormatUint(version, 10)
}

// newestHere is the newest version of a session that this instance knows of.
func (m *memory) newestHere(record *session) *session {
	return m.newest(record, m.results.Get)
}

// newestAnywhere asks the shared state as well.
func (m *memory) newestAnywhere(ctx context.Context, record *session) *session {
	return m.newest(record, func(key string) (string, bool) {
		if value, ok := m.results.Get(key); ok {
			return value, true
		}
		return m.shared.get(ctx, key)
	})
}

func (m *memory) newest(record *session, get func(key string) (string, bool)) *session {
	found := record
	// The result that the record itself is: it has access tokens that the
	// browser's cookies had no room for.
	if record.version > 0 {
		if same := m.open(record.id, record.version-1, get); same != nil && same.version >= record.version {
			found = same
		}
	}
	for {
		next := m.open(record.id, found.version, get)
		if next == nil || next.version <= found.version {
			break
		}
		found = next
	}
	if found == record {
		return record
	}
	own := *found
	own.entry, own.isOutdated = record.entry, record.isOutdated
	if record.activeAt.After(own.activeAt) {
		own.activeAt = record.activeAt
	}
	return &own
}

func (m *memory) open(id string, version uint64, get func(key string) (string, bool)) *session {
	key := m.resultKey(id, version)
	sealed, ok := get(key)
	if !ok {
		return nil
	}
	record, _, err := m.sealer.Open(sealed, key)
	if err != nil {
		return nil
	}
	found, err := decodeSession(record)
	if err != nil {
		return nil
	}
	return found
}

// remember leads from the version that was refreshed, and from the older one that the
// request came with, to the next. ok is false if another instance has already made
// another next version of it, which is then the one that counts.
func (m *memory) remember(ctx context.Context, came, refreshed, next *session) (ok bool) {
	lifetime := m.lifetime(refreshed, next)
	key, sealed := m.seal(refreshed.version, next)
	if !m.shared.setIfAbsent(ctx, key, sealed, lifetime) {
		return false
	}
	m.results.Put(key, sealed, m.now().Add(lifetime))
	if came.version != refreshed.version {
		m.replace(ctx, came, next)
	} else if came.version > 0 {
		m.wasSeen(ctx, came)
	}
	return true
}

// lifetime is how long the way from an older version to a newer one is remembered.
func (m *memory) lifetime(older, newer *session) time.Duration {
	if older.refreshToken != newer.refreshToken {
		return max(resultMemory, newer.expires.Sub(m.now()))
	}
	return resultMemory
}

// replace leads from a version to another newest one, whatever followed it before.
func (m *memory) replace(ctx context.Context, older, next *session) {
	lifetime := m.lifetime(older, next)
	key, sealed := m.seal(older.version, next)
	m.results.Put(key, sealed, m.now().Add(lifetime))
	m.shared.set(ctx, key, sealed, lifetime)
}

// wasSeen lets the result that the browser has come with be forgotten soon: only
// requests that are under way can still need it.
func (m *memory) wasSeen(ctx context.Context, record *session) {
	key := m.resultKey(record.id, record.version-1)
	sealed, ok := m.results.Get(key)
	if !ok {
		sealed, ok = m.shared.get(ctx, key)
	}
	if ok {
		m.results.Put(key, sealed, m.now().Add(resultMemory))
		m.shared.set(ctx, key, sealed, resultMemory)
	}
}

func (m *memory) seal(version uint64, next *session) (key, sealed string) {
	key = m.resultKey(next.id, version)
	return key, m.sealer.Seal(next.encode(), key)
}

// end forgets what is remembered of a session that has ended.
func (m *memory) end(ctx context.Context, record *session) {
	newest := m.newestAnywhere(ctx, record)
	for version := max(record.version, 1) - 1; version < newest.version; version++ {
		key := m.resultKey(record.id, version)
		m.results.Delete(key)
		m.shared.set(ctx, key, "", time.Millisecond)
	}
}

// spend tells the other instances that an attempt has been used up. It reports whether
// this instance is the first one.
func (m *memory) spend(ctx context.Context, started *attempt, lifetime time.Duration) (isFirst bool) {
	return m.shared.setIfAbsent(ctx, m.keyFor(started.state)+":spent", "1", lifetime)
}

// outcomeKey is where the outcome of an attempt is, for the very callback that had it.
func (m *memory) outcomeKey(started *attempt, its *outcome) string {
	return m.keyFor(started.state+string(its.answer[:])) + ":outcome"
}

// tellOutcome lets the other instances share the outcome of an attempt.
func (m *memory) tellOutcome(ctx context.Context, started *attempt, its *outcome) {
	if m.shared.state == nil {
		return
	}
	key := m.outcomeKey(started, its)
	m.shared.set(ctx, key, m.sealer.Seal(its.encode(), key), outcomeMemory)
}

// awaitOutcome fills in the outcome that another instance has had, or is about to have.
// Without one, it stays as it is.
func (m *memory) awaitOutcome(ctx context.Context, started *attempt, its *outcome) {
	key := m.outcomeKey(started, its)
	poll(ctx, func(ctx context.Context) bool {
		sealed, ok := m.shared.get(ctx, key)
		if record, _, err := m.sealer.Open(sealed, key); ok && err == nil {
			its.decode(record)
		}
		return ok
	})
}
