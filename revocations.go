package logtogin

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/seal"
)

// What has been ended before its time, here or at another instance: sessions, by their own
// ID, by Logto's session or by their user, and access tokens by their user.

const (
	// maxRevocations bounds the revocations in memory: those of sessions, of Logto's
	// sessions and of users, so many of each, of about 200 bytes.
	maxRevocations = 1 << 20

	// An instance reads what the others have revoked when somebody asks, and goes on by
	// what it knows while that is younger than revocationsGoodFor.
	revocationsRenewAfter = 500 * time.Millisecond
	revocationsGoodFor    = 900 * time.Millisecond

	// revocationsPatience is how long a request waits to learn what the others have
	// revoked, if nobody has asked for long.
	revocationsPatience = time.Second

	// revocationsBatch is how many entries are read at a time.
	revocationsBatch = 1000
)

// revocation ends what had begun when it was made.
type revocation struct {
	kind    revocationKind
	name    string // of the session, Logto's session or the user
	subject string // with a logout token that also names a session of Logto's
	at      time.Time
	expires time.Time // when all that it ends is over by itself
	tokenID string    // jti of the logout token that it comes from
}

type revocationKind uint64

const (
	// revokeSession ends one session, by its own ID.
	revokeSession revocationKind = iota + 1
	// revokeLogtoSession ends the sessions of a session of Logto's (sid) that have
	// started here by then: the next sign-in can have the same sid.
	revokeLogtoSession
	// revokeUser ends the sessions of a user that have started here by then, and access
	// tokens that Logto has issued by then.
	revokeUser
	// loggedOutLogtoSession ends the sessions of a session of Logto's for good, because
	// Logto's next one has another sid, and those of the user that have no sid and
	// began, by Logto's clock, by then.
	loggedOutLogtoSession
	// loggedOutUser ends the sessions of a user that began, by Logto's clock, by then.
	loggedOutUser
	// removedUser is loggedOutUser for a user who may not come back: access tokens that
	// Logto has issued by then end as well.
	removedUser
	// changedUser makes the user's sessions ask Logto before they go on.
	changedUser
)

// String is the reason in events.
func (kind revocationKind) String() string {
	switch kind {
	case revokeUser:
		return "user"
	case revokeSession, revokeLogtoSession:
		return "session"
	case loggedOutUser, loggedOutLogtoSession:
		return "logout_token"
	case removedUser:
		return "removed_user"
	case changedUser:
		return "changed_user"
	}
	return "unknown"
}

// logtoSessionRule says which sessions of a session of Logto's have ended.
type logtoSessionRule struct {
	forGood      bool
	startedUntil time.Time
}

// userRule says which sessions and tokens of a user have ended.
type userRule struct {
	startedUntil    time.Time // sessions that started here by then
	begunUntil      time.Time // sessions that began at Logto by then
	withoutSIDUntil time.Time // the same, of those without a sid
	issuedUntil     time.Time // access tokens that were issued by then
	changedAt       time.Time // what was confirmed before is no longer current
}

// revocations is what an Auth knows of them. It is safe for concurrent use.
type revocations struct {
	sessions      *cache.Cache[string, struct{}]
	logtoSessions *cache.Cache[string, logtoSessionRule]
	users         *cache.Cache[string, userRule]
	tokenIDs      *cache.Cache[string, struct{}] // of logout tokens that have done their work
	applying      sync.Mutex

	shared *boundedState
	sealer *seal.Sealer // nil without a shared state
	log    string       // its name in the shared state

	mu      sync.Mutex
	cursor  string
	asked   time.Time // when the last reading began
	reading *reading  // the one under way
	owner   context.Context
	close   context.CancelFunc
	running sync.WaitGroup

	lifetime time.Duration
	now      func() time.Time
	logger   *slog.Logger
}

// reading is a look into the log of the shared state. works may be read once done is closed.
type reading struct {
	done  chan struct{}
	works bool
}

func newRevocations(s *settings, shared *boundedState) (r *revocations, err error) {
	r = &revocations{
		sessions:      cache.New[string, struct{}](maxRevocations, s.Now),
		logtoSessions: cache.New[string, logtoSessionRule](maxRevocations, s.Now),
		users:         cache.New[string, userRule](maxRevocations, s.Now),
		tokenIDs:      cache.New[string, struct{}](maxRevocations, s.Now),
		shared:        shared,
		log:           s.stateKey("revocations"),
		lifetime:      s.SessionLifetime,
		now:           s.Now,
		logger:        s.Logger,
	}
	r.owner, r.close = context.WithCancel(context.Background())
	if shared.state != nil {
		r.sealer, err = seal.New(s.secrets, s.purpose("revocation"))
	}
	return r, err
}

// stop ends the reading that is under way and waits for it.
func (r *revocations) stop() {
	r.mu.Lock()
	r.close()
	r.mu.Unlock()
	r.running.Wait()
}

// hasEnded reports whether a session has been ended before its time.
func (r *revocations) hasEnded(record *session) bool {
	_, ended := r.sessions.Get(record.id)
	return ended || r.isRevoked(record)
}

// isRevoked is hasEnded without those that were ended by their own ID.
func (r *revocations) isRevoked(record *session) bool {
	if record.logtoSessionID != "" {
		if rule, ok := r.logtoSessions.Get(record.logtoSessionID); ok && (rule.forGood || !record.startedAt.After(rule.startedUntil)) {
			return true
		}
	}
	rule, ok := r.users.Get(record.subject)
	return ok && (!record.startedAt.After(rule.startedUntil) || !record.begunAt.After(rule.begunUntil) ||
		(record.logtoSessionID == "" && !record.begunAt.After(rule.withoutSIDUntil)))
}

// isNewsFor reports whether a session has been revoked that has not been cleared away.
func (r *revocations) isNewsFor(record *session) bool {
	_, ended := r.sessions.Get(record.id)
	return !ended && r.isRevoked(record)
}

// refuses reports whether an access token was issued before its user was revoked.
func (r *revocations) refuses(claims *AccessTokenClaims) bool {
	rule, ok := r.users.Get(claims.Subject)
	return ok && !claims.IssuedAt.After(rule.issuedUntil)
}

// changedAt is when Logto has last said that something about a user has changed, or the
// zero time.
func (r *revocations) changedAt(subject string) time.Time {
	rule, _ := r.users.Get(subject)
	return rule.changedAt
}

// isSpent reports whether a logout token has done its work.
func (r *revocations) isSpent(tokenID string) bool {
	_, spent := r.tokenIDs.Get(tokenID)
	return spent
}

// record makes a revocation known, here and to the others. It returns false if the others
// cannot be told; here it holds all the same.
func (r *revocations) record(ctx context.Context, made revocation) bool {
	made.at = made.at.Truncate(time.Millisecond)
	if made.expires.IsZero() {
		made.expires = r.now().Add(r.lifetime)
	}
	r.apply(made)
	if r.shared.state != nil && !r.shared.append(ctx, r.log, r.sealer.Seal(made.encode(), r.log), r.lifetime) {
		return false
	}
	r.spend(made)
	return true
}

// spend notes that a logout token has done its work. It is not before the others have been
// told: until then the token may come again.
func (r *revocations) spend(made revocation) {
	if made.tokenID != "" {
		r.tokenIDs.Put(made.tokenID, struct{}{}, r.now().Add(logoutTokenMemory))
	}
}

// apply adds a revocation to what is known.
func (r *revocations) apply(made revocation) {
	r.applying.Lock()
	defer r.applying.Unlock()
	switch made.kind {
	case revokeSession:
		r.noteEviction(r.sessions.Put(made.name, struct{}{}, made.expires))
	case revokeLogtoSession, loggedOutLogtoSession:
		rule, _ := r.logtoSessions.Get(made.name)
		if made.kind == loggedOutLogtoSession {
			rule.forGood = true
		} else {
			rule.startedUntil = later(rule.startedUntil, made.at)
		}
		r.noteEviction(r.logtoSessions.Put(made.name, rule, made.expires))
		if made.subject != "" {
			r.change(made.subject, made.expires, func(rule *userRule) { rule.withoutSIDUntil = later(rule.withoutSIDUntil, made.at) })
		}
	default:
		r.change(made.name, made.expires, func(rule *userRule) {
			switch made.kind {
			case revokeUser:
				rule.startedUntil = later(rule.startedUntil, made.at)
				rule.issuedUntil = later(rule.issuedUntil, made.at)
			case loggedOutUser:
				rule.begunUntil = later(rule.begunUntil, made.at)
			case removedUser:
				rule.begunUntil = later(rule.begunUntil, made.at)
				rule.issuedUntil = later(rule.issuedUntil, made.at)
			case changedUser:
				rule.changedAt = later(rule.changedAt, made.at)
			}
		})
	}
}

func (r *revocations) change(subject string, expires time.Time, change func(*userRule)) {
	rule, _ := r.users.Get(subject)
	change(&rule)
	r.noteEviction(r.users.Put(subject, rule, expires))
}

func (r *revocations) noteEviction(evicted bool) {
	if evicted {
		r.logger.Error("logtogin: the memory of revocations is full; one that was still in force has been dropped", "limit", maxRevocations)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// keepUp makes sure that what the others have revoked is known after a second. It waits
// only if nobody has asked for so long.
func (r *revocations) keepUp(ctx context.Context) {
	if r.shared.state == nil {
		return
	}
	r.mu.Lock()
	age := r.now().Sub(r.asked)
	if age >= 0 && age < revocationsRenewAfter {
		r.mu.Unlock()
		return
	}
	under := r.begin()
	r.mu.Unlock()
	if (age >= 0 && age < revocationsGoodFor) || r.shared.isKnownToBeDown() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, revocationsPatience)
	defer cancel()
	select {
	case <-under.done:
	case <-ctx.Done():
	}
}

// catchUp reads what the others have revoked until now. It returns false if that cannot be
// known.
func (r *revocations) catchUp(ctx context.Context) bool {
	if r.shared.state == nil {
		return true
	}
	r.mu.Lock()
	earlier := r.reading
	r.mu.Unlock()
	if earlier != nil { // it may have looked already
		select {
		case <-earlier.done:
		case <-ctx.Done():
			return false
		}
	}
	r.mu.Lock()
	under := r.begin()
	r.mu.Unlock()
	select {
	case <-under.done:
		return under.works
	case <-ctx.Done():
		return false
	}
}

// begin starts a reading, unless one is under way, which it returns. The caller has the lock.
func (r *revocations) begin() *reading {
	if r.reading != nil {
		return r.reading
	}
	under := &reading{done: make(chan struct{})}
	if r.owner.Err() != nil {
		close(under.done)
		return under
	}
	r.reading, r.asked = under, r.now()
	cursor := r.cursor
	r.running.Go(func() {
		cursor, under.works = r.read(r.owner, cursor)
		r.mu.Lock()
		r.cursor, r.reading = cursor, nil
		r.mu.Unlock()
		close(under.done)
	})
	return under
}

// read applies what follows the cursor in the log, and returns the next cursor.
func (r *revocations) read(ctx context.Context, cursor string) (next string, works bool) {
	for {
		entries, next, works := r.shared.read(ctx, r.log, cursor, revocationsBatch)
		if !works {
			return cursor, false
		}
		for _, sealed := range entries {
			encoded, _, err := r.sealer.Open(sealed, r.log)
			if err != nil { // by a secret that is gone, or not by us
				continue
			}
			if made, err := decodeRevocation(encoded); err == nil {
				r.apply(made)
				r.spend(made)
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

// RevokeUser ends all sessions of a user that have started until now, in all browsers, for
// a button "sign out everywhere"; access tokens of the user that were issued until now
// are refused by Bearer and BearerOrganization. A later sign-in is not concerned, and
// Logto's own session is not ended: the browser that asks should be sent through SignOut.
// The subject is the user's ID in Logto, Claims.Subject.
//
// It holds at once at this instance, and within a second at those that have the same
// Config.SharedState, until Config.SessionLifetime has passed; without one, until this
// instance restarts. The error is ErrInvalidOptions without a subject, or
// ErrStoreUnavailable if the other instances cannot be told: try again.
func (a *Auth) RevokeUser(ctx context.Context, subject string) error {
	return a.revokeNow(ctx, revokeUser, subject)
}

// RevokeSession is RevokeUser for the sessions here that belong to one session of Logto's,
// which is Claims.SessionID ("sid"). Logto names it only to applications with
// back-channel logout and "session required". Access tokens are not concerned.
func (a *Auth) RevokeSession(ctx context.Context, sessionID string) error {
	return a.revokeNow(ctx, revokeLogtoSession, sessionID)
}

func (a *Auth) revokeNow(ctx context.Context, kind revocationKind, name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is not said whose sessions to revoke", ErrInvalidOptions)
	}
	return a.record(ctx, revocation{kind: kind, name: name, at: a.settings.Now()})
}

// record is revocations.record with an error for whoever can try again.
func (a *Auth) record(ctx context.Context, made revocation) (err error) {
	if !a.revocations.record(ctx, made) {
		err = errStateUnavailable
	}
	event := Event{Kind: EventRevocation, Err: err, Reason: made.kind.String(), Subject: made.subject}
	if made.kind != revokeLogtoSession && made.kind != loggedOutLogtoSession {
		event.Subject = made.name
	}
	a.settings.emit(ctx, event)
	return err
}

var errStateUnavailable = fmt.Errorf("%w: the shared state does not answer, so that the other instances cannot be told of a revocation", ErrStoreUnavailable)

const revocationFormat byte = 1

func (made revocation) encode() []byte {
	w := recordWriter{revocationFormat}
	w.number(uint64(made.kind))
	w.string(made.name)
	w.string(made.subject)
	w.milliseconds(made.at)
	w.time(made.expires)
	w.string(made.tokenID)
	return w
}

func decodeRevocation(record []byte) (revocation, error) {
	r := newRecordReader(record, revocationFormat)
	made := revocation{
		kind:    revocationKind(r.number()),
		name:    r.string(),
		subject: r.string(),
		at:      r.milliseconds(),
		expires: r.time(),
		tokenID: r.string(),
	}
	return made, r.end()
}
