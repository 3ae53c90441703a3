package logtogin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/record"
	"github.com/logtogin/logtogin/internal/seal"
	"github.com/logtogin/logtogin/internal/session"
)

// What refreshes have yielded, remembered for the requests that come with an older
// version of the session: those that were under way, those of a browser that has not
// received the newer one, and HTTPClients that outlive many versions.

const (
	// resultMemory is how long a result is remembered if the refresh tokens in older
	// versions are still good: losing it costs a refresh. After a refresh token has been
	// replaced, the newest version is remembered for as long as the session may last:
	// whoever came with the old one would make Logto revoke the grant.
	resultMemory = 10 * time.Minute

	// maxResults bounds the sessions in memory of which a result is remembered, of about
	// 4 KiB each.
	maxResults = 16 << 10

	// maxSteps is how many versions ahead of the newest one that is noted are looked for:
	// other instances can be about to note them.
	maxSteps = 16
)

// memory is where results are kept, here and in the shared state. It is safe for
// concurrent use.
type memory struct {
	newest *cache.Cache[string, string] // versions by the keys of their sessions
	shared *boundedState
	sealer *seal.Sealer
	prefix string // of the keys of this application
	origin string // what records keep of it
	now    func() time.Time
}

func newMemory(s *settings, shared *boundedState) (*memory, error) {
	sealer, err := seal.New(s.secrets, s.purpose("refreshed session"))
	if err != nil {
		return nil, err
	}
	return &memory{
		newest: cache.New[string, string](maxResults, s.Now),
		shared: shared,
		sealer: sealer,
		prefix: s.stateKey(""),
		origin: s.origin,
		now:    s.Now,
	}, nil
}

// keyFor begins a key of the shared state. What it is about cannot be read from it.
func (m *memory) keyFor(id string) string {
	sum := sha256.Sum256([]byte(id))
	return m.prefix + hex.EncodeToString(sum[:16])
}

// newestKey is where the newest version of a session is.
func (m *memory) newestKey(id string) string { return m.keyFor(id) + ":newest" }

// nextKey is where the version that follows this one is. Instances that refresh the same
// version at the same time agree there on whose result counts.
func (m *memory) nextKey(id string, version uint64) string {
	return m.keyFor(id) + ":" + strconv.FormatUint(version, 10)
}

// claim waits until no other instance is making the version of a session that follows the newest one, but not for
// long, and not if isNeeded says that what was to be made is there. Who gets no claim goes on without.
// hasWaited says that newest may not be the newest one any more. release has to be told whether the next version
// was made: then nobody needs the claim.
func (m *memory) claim(ctx context.Context, newest *session.Session, isNeeded func(*session.Session) bool) (release func(isMade bool), hasWaited bool) {
	if m.shared.state == nil {
		return func(bool) {}, false
	}
	var key string
	var isClaimed bool
	var until time.Time
	poll(ctx, claimPatience, func(ctx context.Context) bool {
		key, until = m.nextKey(newest.ID, newest.Version)+":claim", time.Now().Add(claimLifetime)
		set, works := m.shared.trySet(ctx, key, "1", claimLifetime)
		if isClaimed = set; set || !works {
			return true
		}
		hasWaited = true
		newest = m.newestAnywhere(ctx, newest)
		return !isNeeded(newest)
	})
	return func(isMade bool) {
		if isClaimed && !isMade && time.Now().Before(until) { // else it may be somebody else's
			m.shared.delete(context.WithoutCancel(ctx), key)
		}
	}, hasWaited
}

// newestHere is the newest version of a session that this instance knows of. It can be the
// version of the record itself, with access tokens that the browser's cookies had no room
// for.
func (m *memory) newestHere(record *session.Session) *session.Session {
	key := m.newestKey(record.ID)
	sealed, _ := m.newest.Get(key)
	return newer(record, m.open(key, sealed))
}

// newestAnywhere asks the shared state as well.
func (m *memory) newestAnywhere(ctx context.Context, record *session.Session) *session.Session {
	found := m.newestHere(record)
	if m.shared.state == nil {
		return found
	}
	key := m.newestKey(record.ID)
	sealed, _ := m.shared.get(ctx, key)
	found = newer(found, m.open(key, sealed))
	for range maxSteps {
		key := m.nextKey(record.ID, found.Version)
		sealed, ok := m.shared.get(ctx, key)
		next := newer(found, m.open(key, sealed))
		if !ok || next.Version == found.Version {
			break
		}
		found = next
	}
	return found
}

// newer is the version that is the newer one, as that of the record's request.
func newer(record, other *session.Session) *session.Session {
	if other == nil || other.ID != record.ID || other.Version < record.Version {
		return record
	}
	own := *other
	own.Entry, own.IsOutdated, own.LivesBy = record.Entry, record.IsOutdated, record.LivesBy
	if record.ActiveAt.After(own.ActiveAt) {
		own.ActiveAt = record.ActiveAt
	}
	return &own
}

func (m *memory) open(key, sealed string) *session.Session {
	if sealed == "" {
		return nil
	}
	record, _, err := m.sealer.Open(sealed, key)
	if err != nil {
		return nil
	}
	found, err := session.Decode(record, m.origin)
	if err != nil {
		return nil
	}
	return found
}

// remember leads from all older versions to the next. ok is false if another instance has
// already made another next version, which is then the one that counts.
func (m *memory) remember(ctx context.Context, refreshed, next *session.Session) (ok bool) {
	if m.shared.state != nil {
		key := m.nextKey(next.ID, refreshed.Version)
		if !m.shared.setIfAbsent(ctx, key, m.sealer.Seal(next.Encode(), key), resultMemory) {
			return false
		}
	}
	m.note(ctx, next)
	return true
}

// note makes a version the newest one, whatever others have made.
func (m *memory) note(ctx context.Context, next *session.Session) {
	lifetime := resultMemory
	if next.Replacements > 0 {
		lifetime = max(lifetime, next.Expires.Sub(m.now()))
	}
	key := m.newestKey(next.ID)
	sealed := m.sealer.Seal(next.Encode(), key)
	m.newest.Put(key, sealed, m.now().Add(lifetime))
	m.shared.set(ctx, key, sealed, lifetime)
}

// end forgets what is remembered of a session that has ended. Results that an instance
// may be about to read go by themselves.
func (m *memory) end(ctx context.Context, record *session.Session) {
	key := m.newestKey(record.ID)
	m.newest.Delete(key)
	m.shared.delete(ctx, key)
}

// noteWebhook reports whether no instance has given this webhook to the application, as far as is known.
func (m *memory) noteWebhook(ctx context.Context, digest string) bool {
	return m.shared.setIfAbsent(ctx, m.keyFor(digest)+":webhook", "1", webhookMemory)
}

// forgetWebhook lets a webhook come again.
func (m *memory) forgetWebhook(ctx context.Context, digest string) {
	m.shared.delete(context.WithoutCancel(ctx), m.keyFor(digest)+":webhook")
}

// spend tells the other instances that an attempt has been used up. It reports whether
// this instance is the first one.
func (m *memory) spend(ctx context.Context, started *session.Attempt, lifetime time.Duration) (isFirst bool) {
	return m.shared.setIfAbsent(ctx, m.keyFor(started.Challenge())+":spent", "1", lifetime)
}

// unspend lets an attempt be used again, whose code Logto has refused.
func (m *memory) unspend(ctx context.Context, started *session.Attempt) {
	m.shared.delete(ctx, m.keyFor(started.Challenge())+":spent")
}

// outcomeKey is where the outcome of an attempt is, for the very callback that had it.
func (m *memory) outcomeKey(started *session.Attempt, its *outcome) string {
	return m.keyFor(started.Challenge()+string(its.answer[:])) + ":outcome"
}

// tellOutcome lets the other instances share the outcome of an attempt.
func (m *memory) tellOutcome(ctx context.Context, started *session.Attempt, its *outcome) {
	if m.shared.state == nil {
		return
	}
	key := m.outcomeKey(started, its)
	m.shared.set(ctx, key, m.sealer.Seal(its.encode(), key), outcomeMemory)
}

// awaitOutcome fills in the outcome that another instance has had, or is about to have.
// Without one, it stays as it is.
func (m *memory) awaitOutcome(ctx context.Context, started *session.Attempt, its *outcome) {
	key := m.outcomeKey(started, its)
	poll(ctx, othersPatience, func(ctx context.Context) bool {
		sealed, ok := m.shared.get(ctx, key)
		if record, _, err := m.sealer.Open(sealed, key); ok && err == nil {
			its.decode(record, m.origin)
		}
		return ok
	})
}

const outcomeFormat byte = 1

// encode keeps of an outcome what another instance needs to answer in the same way. An outcome that failed has no more
// than the format: the other instance learns that the attempt has been used.
func (o *outcome) encode() []byte {
	w := record.NewWriter(outcomeFormat)
	if o.err != nil {
		return w.Bytes()
	}
	w.Text(string(o.session.Encode()))
	w.Text(o.returnTo)
	lines := o.cookies["Set-Cookie"]
	w.Number(uint64(len(lines)))
	for _, line := range lines {
		w.Text(line)
	}
	return w.Bytes()
}

// decode fills in an outcome that was a session.
func (o *outcome) decode(encoded []byte, origin string) {
	r := record.NewReader(encoded, outcomeFormat)
	found, err := session.Decode([]byte(r.Text()), origin)
	returnTo := r.Text()
	var cookies []string
	for count := r.Number(); count > 0 && !r.HasFailed(); count-- {
		cookies = append(cookies, r.Text())
	}
	if err == nil && r.Err() == nil {
		o.session, o.returnTo, o.cookies, o.err = found, returnTo, http.Header{"Set-Cookie": cookies}, nil
	}
}
