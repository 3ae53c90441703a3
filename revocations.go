package logtogin

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/session"
)

// What has been ended before its time, here or at another instance: sessions, by their own
// ID, by Logto's session or by their user, and access tokens by their user.

const (
	// maxRevocations bounds the revocations in memory, so many of each kind, of 200 bytes at most.
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
	cause   string    // in events, if it is not the kind
	// Of revokeOthers, subject is the ID of the session that goes on, which has started then.
	started time.Time
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
	// Logto's next one has another sid.
	loggedOutLogtoSession
	// loggedOutUser ends the sessions of a user that began, by Logto's clock, by then.
	loggedOutUser
	// removedUser is loggedOutUser for a user who may not come back: access tokens that
	// Logto has issued by then end as well.
	removedUser
	// changedUser makes the user's sessions ask Logto before they go on.
	changedUser
	// revokeOthers ends the sessions of a user that have started here by then, but for one.
	revokeOthers
	// loggedOutWithoutID is loggedOutUser for the sessions without a sid, which a logout token with a sid may be about.
	loggedOutWithoutID

	revocationKinds
)

// String is the cause in events.
func (kind revocationKind) String() string {
	switch kind {
	case revokeUser:
		return "user"
	case revokeOthers:
		return "other_sessions"
	case revokeSession, revokeLogtoSession:
		return "session"
	case loggedOutUser, loggedOutLogtoSession, loggedOutWithoutID:
		return "logout_token"
	case removedUser:
		return "removed_user"
	case changedUser:
		return "changed_user"
	}
	return "unknown"
}

// othersRule ends the sessions of a user that have started by then, but for one.
type othersRule struct {
	at, started int64 // in milliseconds since 1970
	except      string
}

func (rule othersRule) covers(id string, started time.Time) bool {
	return started.UnixMilli() <= rule.at && id != rule.except
}

// and is what two rules end. The session that the later one leaves alone may have been ended by the earlier one.
func (rule othersRule) and(other othersRule) othersRule {
	earlier, later := rule, other
	if earlier.at > later.at {
		earlier, later = later, earlier
	}
	if later.except != earlier.except && later.started <= earlier.at {
		later.except = ""
	}
	return later
}

// revocations is what an Auth knows of them. It is safe for concurrent use.
type revocations struct {
	// byKind has the latest revocation of each name, in milliseconds since 1970.
	byKind   [revocationKinds]*cache.Cache[string, int64]
	others   *cache.Cache[string, othersRule] // of revokeOthers, by user
	tokenIDs *cache.Cache[string, struct{}]   // of logout tokens that have done their work

	// generation counts what was applied. A session that had not ended by one has not ended
	// as long as that is the last one.
	generation atomic.Uint64

	fullMu   sync.Mutex
	toldFull time.Time // when the operator was last told that there is no room

	// latest is, in milliseconds since 1970, the latest of the revocations by the clocks of instances and of the starts of
	// sessions that come after them.
	latest atomic.Int64

	// Changes concern nearly everybody and matter for a short time only, so that they have
	// a log of their own.
	endings, changed *revocationLog

	s *settings
}

func newRevocations(s *settings, shared *boundedState) (r *revocations, err error) {
	r = &revocations{
		others:   cache.New[string, othersRule](maxRevocations, s.Now),
		tokenIDs: cache.New[string, struct{}](maxRevocations, s.Now),
		s:        s,
	}
	for kind := range r.byKind {
		r.byKind[kind] = cache.New[string, int64](maxRevocations, s.Now)
	}
	if r.endings, err = newRevocationLog(s, shared, "revocations", max(s.SessionLifetime, tokenRevocationLifetime)); err != nil {
		return nil, err
	}
	if r.changed, err = newRevocationLog(s, shared, "changes", changeLifetime(s)); err != nil {
		return nil, err
	}
	for _, log := range []*revocationLog{r.endings, r.changed} {
		log.apply, log.all = r.applyRead, r.all
	}
	return r, nil
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

// applyRead applies an entry of the log: what another instance has revoked, or this one. An instance whose clock goes
// before ours must not end the sign-ins to come.
func (r *revocations) applyRead(made revocation) {
	latest := r.s.Now()
	if made.kind != changedUser {
		latest = latest.Add(r.s.ClockSkew + r.s.margin())
	}
	if made.at.After(latest) {
		made.at = latest
	}
	r.apply(made)
	r.spend(made)
}

// all are the revocations in force of which a log tells.
func (r *revocations) all(l *revocationLog) iter.Seq[revocation] {
	return func(yield func(revocation) bool) {
		for kind := revokeSession; kind < revocationKinds; kind++ {
			if r.logOf(kind) != l {
				continue
			}
			for _, one := range r.byKind[kind].All() {
				if !yield(revocation{kind: kind, name: one.Key, at: time.UnixMilli(one.Value), expires: one.Expires}) {
					return
				}
			}
		}
		if l != r.endings {
			return
		}
		for _, one := range r.others.All() {
			if !yield(revocation{
				kind: revokeOthers, name: one.Key, subject: one.Value.except,
				at: time.UnixMilli(one.Value.at), started: time.UnixMilli(one.Value.started), expires: one.Expires,
			}) {
				return
			}
		}
	}
}

func (r *revocations) logOf(kind revocationKind) *revocationLog {
	if kind == changedUser {
		return r.changed
	}
	return r.endings
}

// hasEnded reports whether a session has been ended before its time.
func (r *revocations) hasEnded(record *session.Session) bool {
	generation := r.generation.Load() + 1 // 0 is none
	if record.LivesBy != nil && record.LivesBy.Load() == generation {
		return false
	}
	_, ended := r.byKind[revokeSession].Get(record.ID)
	if ended || r.isRevoked(record) {
		return true
	}
	if record.LivesBy != nil {
		record.LivesBy.Store(generation)
	}
	return false
}

// covers reports whether a revocation ends what has begun then.
func (r *revocations) covers(kind revocationKind, name string, begun time.Time) bool {
	at, ok := r.byKind[kind].Get(name)
	return ok && begun.UnixMilli() <= at
}

// isRevoked is hasEnded without those that were ended by their own ID.
func (r *revocations) isRevoked(record *session.Session) bool {
	if rule, ok := r.others.Get(record.Subject); ok && rule.covers(record.ID, record.StartedAt) {
		return true
	}
	return r.wasLoggedOut(record) || r.covers(revokeUser, record.Subject, record.StartedAt) ||
		(record.LogtoSessionID != "" && r.covers(revokeLogtoSession, record.LogtoSessionID, record.StartedAt))
}

// endOnce ends a session by its own ID, and reports whether this instance had not done so before.
func (r *revocations) endOnce(record *session.Session) bool {
	_, ended := r.byKind[revokeSession].GetOrPut(strings.Clone(record.ID), 0, record.Expires)
	return !ended
}

// startOf is when a session starts that is new now: after all that has ended sessions of the user, which
// reaches a little into the future, and after all sessions that had to start in the future, so that each has a
// start of its own.
func (r *revocations) startOf(record *session.Session) time.Time {
	now := record.StartedAt.UnixMilli()
	start := now
	for kind, name := range map[revocationKind]string{revokeUser: record.Subject, revokeLogtoSession: record.LogtoSessionID} {
		if at, ok := r.byKind[kind].Get(name); ok {
			start = max(start, at+1)
		}
	}
	if rule, ok := r.others.Get(record.Subject); ok {
		start = max(start, rule.at+1)
	}
	if start == now {
		return record.StartedAt
	}
	return time.UnixMilli(r.after(start))
}

// after is a time that is later than any before, and not earlier than this one.
func (r *revocations) after(at int64) int64 {
	for {
		latest := r.latest.Load()
		at = max(at, latest+1)
		if r.latest.CompareAndSwap(latest, at) {
			return at
		}
	}
}

// isNewsFor reports whether a session has been revoked that has not been cleared away.
func (r *revocations) isNewsFor(record *session.Session) bool {
	_, ended := r.byKind[revokeSession].Get(record.ID)
	return !ended && r.isRevoked(record)
}

// wasLoggedOut reports whether a session has ended at Logto, too, so that its grant is none
// that a later session can have.
func (r *revocations) wasLoggedOut(record *session.Session) bool {
	if r.covers(loggedOutUser, record.Subject, record.BegunAt) || r.covers(removedUser, record.Subject, record.BegunAt) {
		return true
	}
	if record.LogtoSessionID == "" {
		return r.covers(loggedOutWithoutID, record.Subject, record.BegunAt)
	}
	_, ended := r.byKind[loggedOutLogtoSession].Get(record.LogtoSessionID)
	return ended
}

// refuses reports whether an access token was issued before its user was revoked.
func (r *revocations) refuses(claims *AccessTokenClaims) bool {
	return r.covers(revokeUser, claims.Subject, claims.IssuedAt) || r.covers(removedUser, claims.Subject, claims.IssuedAt)
}

// changedAt is when Logto has last said that something about a user has changed, or the
// zero time.
func (r *revocations) changedAt(subject string) time.Time {
	if at, ok := r.byKind[changedUser].Get(subject); ok {
		return time.UnixMilli(at)
	}
	return time.Time{}
}

// isSpent reports whether a logout token has done its work.
func (r *revocations) isSpent(tokenID string) bool {
	_, spent := r.tokenIDs.Get(tokenID)
	return spent
}

// record makes a revocation known, here and to the others. It returns false if the others
// cannot be told at once; here it holds all the same, and they are told when that is possible.
func (r *revocations) record(ctx context.Context, made revocation) bool {
	log := r.logOf(made.kind)
	if made.kind != revokeSession { // which ends with the session
		made.expires = r.s.Now().Add(log.lifetime)
	}
	if made.isByOurClock() {
		// Sessions may have started in the future, after what others have revoked by clocks that are ahead.
		log.catchUp(ctx)
		made.at = time.UnixMilli(r.after(made.at.UnixMilli()))
	}
	r.apply(made)
	told, works := log.tell(ctx, made)
	if works && made.isByOurClock() {
		// The clock of the shared state may be ahead, and with it the clock of another instance.
		if latest := earlier(told, r.s.Now().Add(r.s.ClockSkew)).Add(r.s.margin()); latest.Sub(made.at) > sameTime {
			made.at = latest
			r.apply(made)
			_, works = log.tell(ctx, made)
		}
	}
	if !works {
		return false
	}
	r.spend(made)
	return true
}

// sameTime is how far clocks may be apart that are the same.
const sameTime = time.Second

// isByOurClock reports whether a revocation is compared with times at which sessions have started here.
func (made revocation) isByOurClock() bool {
	return made.kind == revokeUser || made.kind == revokeLogtoSession || made.kind == revokeOthers
}

// margin is how far a revocation reaches into the future: another instance may have begun a session a moment ago by a
// clock that is ahead, and Logto may have issued an access token.
func (s *settings) margin() time.Duration { return s.ClockSkew / 2 }

// spend notes that a logout token has done its work. It is not before the others have been
// told: until then the token may come again.
func (r *revocations) spend(made revocation) {
	if made.tokenID != "" {
		r.tokenIDs.Put(strings.Clone(made.tokenID), struct{}{}, r.s.Now().Add(logoutTokenMemory))
	}
}

// apply adds a revocation to what is known.
func (r *revocations) apply(made revocation) {
	if made.kind == 0 || made.kind >= revocationKinds { // of a newer version
		return
	}
	if made.kind == loggedOutLogtoSession && made.subject != "" {
		r.put(loggedOutWithoutID, made.subject, made)
	}
	if made.kind == revokeOthers {
		rule := othersRule{made.at.UnixMilli(), made.started.UnixMilli(), strings.Clone(made.subject)}
		r.noteEviction(r.others.Update(strings.Clone(made.name), made.expires, rule.and))
	} else {
		r.put(made.kind, made.name, made)
	}
	if made.isByOurClock() {
		r.noteLatest(made.at.UnixMilli())
	}
	r.generation.Add(1) // when it can be found
}

func (r *revocations) noteLatest(at int64) {
	for latest := r.latest.Load(); at > latest && !r.latest.CompareAndSwap(latest, at); latest = r.latest.Load() {
	}
}

// refusesTokensUntil is until when access tokens of a user are refused that are issued now, or the zero time.
func (r *revocations) refusesTokensUntil(subject string) time.Time {
	if at, ok := r.byKind[revokeUser].Get(subject); ok && r.s.Now().UnixMilli() <= at {
		return time.UnixMilli(at)
	}
	return time.Time{}
}

// put keeps nothing else of the text that a name is a part of.
func (r *revocations) put(kind revocationKind, name string, made revocation) {
	at := made.at.UnixMilli()
	evicted := r.byKind[kind].Update(strings.Clone(name), made.expires, func(before int64) int64 { return max(before, at) })
	r.noteEviction(evicted && kind != changedUser) // losing one of these costs time only
}

// noteEviction tells the operator, once a minute, that the memory is too small.
func (r *revocations) noteEviction(isNews bool) {
	if !isNews {
		return
	}
	r.fullMu.Lock()
	defer r.fullMu.Unlock()
	if now := r.s.Now(); !isWithin(r.toldFull, now, time.Minute) {
		r.toldFull = now
		r.s.Logger.Error("logtogin: the memory of revocations is full; some that were still in force have been dropped", "limit", maxRevocations)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// record is revocations.record with an error for whoever can try again.
func (a *Auth) record(ctx context.Context, made revocation) (err error) {
	if !a.revocations.record(ctx, made) {
		err = errStateUnavailable
	}
	event := Event{Kind: EventRevocation, Err: err, Cause: cmp.Or(made.cause, made.kind.String()), Subject: made.subject}
	if made.kind != revokeLogtoSession && made.kind != loggedOutLogtoSession {
		event.Subject = made.name
	}
	a.settings.emit(ctx, event)
	return err
}

var errStateUnavailable = fmt.Errorf("%w: the shared state does not answer, so that the other instances cannot be told of a revocation", ErrStoreUnavailable)
