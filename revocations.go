package logtogin

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
)

// What has been ended before its time, here or at another instance: sessions, by their own
// ID, by Logto's session or by their user, and access tokens by their user.

const (
	// maxRevocations bounds the revocations in memory: those of sessions, of Logto's
	// sessions and of users, and the changes of users, so many of each, of about 200 bytes.
	maxRevocations = 1 << 20

	// tokenRevocationLifetime is longer than access tokens usually last.
	tokenRevocationLifetime = 24 * time.Hour
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
	expires      time.Time
}

// userRule says which sessions and tokens of a user have ended.
type userRule struct {
	startedUntil    time.Time // sessions that started here by then
	begunUntil      time.Time // sessions that began at Logto by then
	withoutSIDUntil time.Time // the same, of those without a sid
	issuedUntil     time.Time // access tokens that were issued by then
	expires         time.Time
}

// revocations is what an Auth knows of them. It is safe for concurrent use.
type revocations struct {
	sessions      *cache.Cache[string, struct{}]
	logtoSessions *cache.Cache[string, logtoSessionRule]
	users         *cache.Cache[string, userRule]
	changes       *cache.Cache[string, time.Time] // what was confirmed before is not current
	tokenIDs      *cache.Cache[string, struct{}]  // of logout tokens that have done their work

	// generation counts what was applied. A session that had not ended by one has not ended
	// as long as that is the last one.
	generation atomic.Uint64

	applying sync.Mutex
	toldFull time.Time // when the operator was last told that there is no room

	// Changes concern nearly everybody and matter for a short time only, so that they have
	// a log of their own.
	endings, changed *revocationLog

	s *settings
}

func newRevocations(s *settings, shared *boundedState) (r *revocations, err error) {
	r = &revocations{
		sessions:      cache.New[string, struct{}](maxRevocations, s.Now),
		logtoSessions: cache.New[string, logtoSessionRule](maxRevocations, s.Now),
		users:         cache.New[string, userRule](maxRevocations, s.Now),
		changes:       cache.New[string, time.Time](maxRevocations, s.Now),
		tokenIDs:      cache.New[string, struct{}](maxRevocations, s.Now),
		s:             s,
	}
	if r.endings, err = newRevocationLog(s, shared, "revocations", max(s.SessionLifetime, tokenRevocationLifetime), r.heed); err != nil {
		return nil, err
	}
	r.changed, err = newRevocationLog(s, shared, "changes", changeLifetime(s), r.heed)
	return r, err
}

// changeLifetime is when every session has asked Logto anyway. How long ID tokens last is not
// known here; by default it is an hour.
func changeLifetime(s *settings) time.Duration {
	switch {
	case s.RevalidateAfter < 0:
		return s.SessionLifetime
	case s.RevalidateAfter > 0:
		return min(s.RevalidateAfter+time.Hour, s.SessionLifetime)
	}
	return min(24*time.Hour, s.SessionLifetime)
}

func (r *revocations) stop() {
	r.endings.stop()
	r.changed.stop()
}

// keepUp makes sure that what the others have revoked is known after a second. It waits
// only if nobody has asked for so long, and also for a client that has hung up: the request
// goes on, and must not by what was known before.
func (r *revocations) keepUp(ctx context.Context) {
	ended, patience := r.endings.renew()
	changed, _ := r.changed.renew()
	if ended == nil && changed == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(patience, revocationsPatience))
	defer cancel()
	for _, under := range []*reading{ended, changed} {
		if under == nil {
			continue
		}
		select {
		case <-under.done:
		case <-ctx.Done():
		}
	}
}

// heed applies what another instance has revoked, or this one. An instance whose clock goes
// before ours must not end the sign-ins to come.
func (r *revocations) heed(made revocation) {
	latest := r.s.Now()
	if made.kind != changedUser {
		latest = latest.Add(r.s.ClockSkew)
	}
	if made.at.After(latest) {
		made.at = latest
	}
	r.apply(made)
	r.spend(made)
}

// hasEnded reports whether a session has been ended before its time.
func (r *revocations) hasEnded(record *session) bool {
	generation := r.generation.Load() + 1 // 0 is none
	if record.livesBy != nil && record.livesBy.Load() == generation {
		return false
	}
	_, ended := r.sessions.Get(record.id)
	if ended || r.isRevoked(record) {
		return true
	}
	if record.livesBy != nil {
		record.livesBy.Store(generation)
	}
	return false
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

// claim reports whether nobody at this instance has ended the session by its own ID before.
func (r *revocations) claim(record *session) bool {
	r.applying.Lock()
	defer r.applying.Unlock()
	if _, ended := r.sessions.Get(record.id); ended {
		return false
	}
	r.noteEviction(r.sessions.Put(record.id, struct{}{}, record.expires))
	return true
}

// isNewsFor reports whether a session has been revoked that has not been cleared away.
func (r *revocations) isNewsFor(record *session) bool {
	_, ended := r.sessions.Get(record.id)
	return !ended && r.isRevoked(record)
}

// wasLoggedOut reports whether a session has ended at Logto, too, so that its grant is none
// that a later session can have.
func (r *revocations) wasLoggedOut(record *session) bool {
	if rule, ok := r.logtoSessions.Get(record.logtoSessionID); ok && rule.forGood && record.logtoSessionID != "" {
		return true
	}
	rule, ok := r.users.Get(record.subject)
	return ok && (!record.begunAt.After(rule.begunUntil) || (record.logtoSessionID == "" && !record.begunAt.After(rule.withoutSIDUntil)))
}

// refuses reports whether an access token was issued before its user was revoked.
func (r *revocations) refuses(claims *AccessTokenClaims) bool {
	rule, ok := r.users.Get(claims.Subject)
	return ok && !claims.IssuedAt.After(rule.issuedUntil)
}

// changedAt is when Logto has last said that something about a user has changed, or the
// zero time.
func (r *revocations) changedAt(subject string) time.Time {
	at, _ := r.changes.Get(subject)
	return at
}

// isSpent reports whether a logout token has done its work.
func (r *revocations) isSpent(tokenID string) bool {
	_, spent := r.tokenIDs.Get(tokenID)
	return spent
}

// record makes a revocation known, here and to the others. It returns false if the others
// cannot be told at once; here it holds all the same, and they are told when that is possible.
func (r *revocations) record(ctx context.Context, made revocation) bool {
	made.at = made.at.Truncate(time.Millisecond)
	log := r.endings
	switch made.kind {
	case revokeSession: // ends with the session
	case changedUser:
		log, made.expires = r.changed, r.s.Now().Add(r.changed.lifetime)
	default:
		made.expires = r.s.Now().Add(r.endings.lifetime)
	}
	r.apply(made)
	if !log.tell(ctx, made) {
		return false
	}
	r.spend(made)
	return true
}

// spend notes that a logout token has done its work. It is not before the others have been
// told: until then the token may come again.
func (r *revocations) spend(made revocation) {
	if made.tokenID != "" {
		r.tokenIDs.Put(made.tokenID, struct{}{}, r.s.Now().Add(logoutTokenMemory))
	}
}

// apply adds a revocation to what is known.
func (r *revocations) apply(made revocation) {
	r.applying.Lock()
	defer r.applying.Unlock()
	defer r.generation.Add(1) // when it can be found
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
		rule.expires = later(rule.expires, made.expires)
		r.noteEviction(r.logtoSessions.Put(made.name, rule, rule.expires))
		if made.subject != "" {
			r.change(made.subject, made, func(rule *userRule) { rule.withoutSIDUntil = later(rule.withoutSIDUntil, made.at) })
		}
	case changedUser:
		at, _ := r.changes.Get(made.name)
		r.changes.Put(made.name, later(at, made.at), made.expires) // losing one costs time only
	default:
		r.change(made.name, made, func(rule *userRule) {
			switch made.kind {
			case revokeUser:
				rule.startedUntil = later(rule.startedUntil, made.at)
				rule.issuedUntil = later(rule.issuedUntil, made.at)
			case loggedOutUser:
				rule.begunUntil = later(rule.begunUntil, made.at)
			case removedUser:
				rule.begunUntil = later(rule.begunUntil, made.at)
				rule.issuedUntil = later(rule.issuedUntil, made.at)
			}
		})
	}
}

func (r *revocations) change(subject string, made revocation, change func(*userRule)) {
	rule, _ := r.users.Get(subject)
	change(&rule)
	rule.expires = later(rule.expires, made.expires)
	r.noteEviction(r.users.Put(subject, rule, rule.expires))
}

// noteEviction tells the operator, once a minute, that the memory is too small.
func (r *revocations) noteEviction(evicted bool) {
	if now := r.s.Now(); evicted && !isWithin(r.toldFull, now, time.Minute) {
		r.toldFull = now
		r.s.Logger.Error("logtogin: the memory of revocations is full; some that were still in force have been dropped", "limit", maxRevocations)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// RevokeUser ends all sessions of a user that have started until now, in all browsers, for
// a button "sign out everywhere"; access tokens of the user that were issued until now
// are refused by Bearer and BearerOrganization. A later sign-in is not concerned, and
// Logto's own session is not ended: the browser that asks should be sent through SignOut.
// The subject is the user's ID in Logto, Claims.Subject.
//
// It holds at once at this instance, and within a second at those that have the same
// Config.SharedState, AppID and Secrets, until no such session or token can be left; without
// a shared state, until this instance restarts. What is "until now" is said by the clocks of
// the instances and, for access tokens, of Logto, which should be in step. The error is
// ErrInvalidOptions without a subject, or ErrStoreUnavailable if the other instances cannot be
// told at once, which then is tried again in the background.
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
