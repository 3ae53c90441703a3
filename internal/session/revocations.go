package session

import (
	"context"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/seal"
	"github.com/logtogin/logtogin/internal/shared"
)

const (
	// maxRevocations bounds the revocations in memory, so many of each kind, of 200 bytes at most.
	maxRevocations = 1 << 20

	// tokenRevocationLifetime is longer than access tokens usually last.
	tokenRevocationLifetime = 24 * time.Hour

	// sameTime is how far clocks may be apart that are the same.
	sameTime = time.Second
)

// Revocations are what has been ended before its time, here or at another instance: sessions, by their own ID, by Logto's
// session or by their user, and access tokens by their user. They are safe for concurrent use.
type Revocations struct {
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
	endings, changed *shared.Log

	settings Settings
}

// NewRevocations returns the revocations of an application, which an API without sessions has, too. Close ends what is
// under way.
func NewRevocations(s Settings) (r *Revocations, err error) {
	r = &Revocations{
		others:   cache.New[string, othersRule](maxRevocations, s.Now),
		tokenIDs: cache.New[string, struct{}](maxRevocations, s.Now),
		settings: s,
	}
	for kind := range r.byKind {
		r.byKind[kind] = cache.New[string, int64](maxRevocations, s.Now)
	}
	if r.endings, err = r.newLog("revocations", max(s.Lifetime, tokenRevocationLifetime), r.allEndings); err != nil {
		return nil, err
	}
	r.changed, err = r.newLog("changes", s.changeLifetime(), r.allChanges)
	return r, err
}

func (r *Revocations) newLog(kind string, lifetime time.Duration, all func() iter.Seq[Revocation]) (*shared.Log, error) {
	settings := shared.LogSettings{
		State: r.settings.Shared, Kind: kind, Lifetime: lifetime, Now: r.settings.Now, Logger: r.settings.Logger,
		Apply: r.applyEntry,
		All:   func() iter.Seq[[]byte] { return inEntries(all()) },
	}
	var err error
	if r.settings.Shared.Exists() {
		settings.Sealer, err = seal.New(r.settings.Secrets, r.settings.Purpose(kind))
	}
	return shared.NewLog(settings), err
}

// changeLifetime is when every session has asked Logto anyway. How long ID tokens last is not
// known here; by default it is an hour.
func (s *Settings) changeLifetime() time.Duration {
	switch {
	case s.RevalidateAfter < 0:
		return s.Lifetime
	case s.RevalidateAfter > 0:
		return min(s.RevalidateAfter+time.Hour, s.Lifetime)
	}
	return min(24*time.Hour, s.Lifetime)
}

// Close ends what is under way and waits for it.
func (r *Revocations) Close() {
	r.endings.Stop()
	r.changed.Stop()
}

// KeepUp makes sure that what other instances have revoked is known after a second; see shared.KeepUp.
func (r *Revocations) KeepUp(ctx context.Context) { shared.KeepUp(ctx, r.endings, r.changed) }

// CatchUp reads what other instances have ended until now, as far as that can be known.
func (r *Revocations) CatchUp(ctx context.Context) { r.endings.CatchUp(ctx) }

// Troubles are what the operator should know of the logs. works is false if they cannot be read now.
func (r *Revocations) Troubles(ctx context.Context) (troubles shared.Trouble, works bool) {
	troubles, works = r.endings.Troubles(ctx)
	return troubles.And(r.changed.Trouble()), works
}

// applyEntry applies an entry of a log: what another instance has revoked, or this one. An instance whose clock goes
// before ours must not end the sign-ins to come.
func (r *Revocations) applyEntry(entry []byte) error {
	all, err := decodeRevocations(entry)
	if err != nil {
		return err
	}
	for _, made := range all {
		latest := r.settings.Now()
		if made.Kind != ChangedUser {
			latest = latest.Add(r.settings.ClockSkew + r.settings.margin())
		}
		made.At = earlier(made.At, latest)
		r.apply(made)
		r.spend(made)
	}
	return nil
}

// inEntries are revocations as entries of a log.
func inEntries(all iter.Seq[Revocation]) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var entry []Revocation
		for made := range all {
			if entry = append(entry, made); len(entry) < revocationsPerEntry {
				continue
			}
			if !yield(encodeRevocations(entry...)) {
				return
			}
			entry = entry[:0]
		}
		if len(entry) > 0 {
			yield(encodeRevocations(entry...))
		}
	}
}

func (r *Revocations) allChanges() iter.Seq[Revocation] { return r.allOf(ChangedUser) }

// allOf are the revocations of some kinds that are in force.
func (r *Revocations) allOf(kinds ...RevocationKind) iter.Seq[Revocation] {
	return func(yield func(Revocation) bool) {
		for _, kind := range kinds {
			for _, known := range r.byKind[kind].All() {
				if !yield(Revocation{Kind: kind, Name: known.Key, At: time.UnixMilli(known.Value), expires: known.Expires}) {
					return
				}
			}
		}
	}
}

func (r *Revocations) allEndings() iter.Seq[Revocation] {
	return func(yield func(Revocation) bool) {
		for made := range r.allOf(revokeSession, RevokeLogtoSession, RevokeUser, LoggedOutLogtoSession, LoggedOutUser, RemovedUser, loggedOutWithoutID) {
			if !yield(made) {
				return
			}
		}
		for _, known := range r.others.All() {
			rule := known.Value
			if !yield(Revocation{
				Kind: revokeOthers, Name: known.Key, At: time.UnixMilli(rule.at), expires: known.Expires,
				except: rule.except, started: time.UnixMilli(rule.started),
			}) {
				return
			}
		}
	}
}

// HasEnded reports whether a session has been ended before its time.
func (r *Revocations) HasEnded(session *Session) bool {
	generation := r.generation.Load() + 1 // 0 is none
	if session.LivesBy != nil && session.LivesBy.Load() == generation {
		return false
	}
	_, ended := r.byKind[revokeSession].Get(session.ID)
	if ended || r.isRevoked(session) {
		return true
	}
	if session.LivesBy != nil {
		session.LivesBy.Store(generation)
	}
	return false
}

// covers reports whether a revocation ends what has begun then.
func (r *Revocations) covers(kind RevocationKind, name string, begun time.Time) bool {
	at, ok := r.byKind[kind].Get(name)
	return ok && begun.UnixMilli() <= at
}

// isRevoked is HasEnded without the sessions that were ended by their own ID.
func (r *Revocations) isRevoked(session *Session) bool {
	if rule, ok := r.others.Get(session.Subject); ok && rule.covers(session.ID, session.StartedAt) {
		return true
	}
	return r.wasLoggedOut(session) || r.covers(RevokeUser, session.Subject, session.StartedAt) ||
		(session.LogtoSessionID != "" && r.covers(RevokeLogtoSession, session.LogtoSessionID, session.StartedAt))
}

// endOnce ends a session by its own ID, and reports whether this instance had not done so before.
func (r *Revocations) endOnce(session *Session) bool {
	_, ended, evicted := r.byKind[revokeSession].GetOrPut(strings.Clone(session.ID), 0, session.Expires)
	r.noteEviction(evicted)
	return !ended
}

// startOf returns the start of a new session. Revocations reach half of ClockSkew into the future; a start that was moved
// behind them is unique.
func (r *Revocations) startOf(session *Session) time.Time {
	now := session.StartedAt.UnixMilli()
	start := now
	for kind, name := range map[RevocationKind]string{RevokeUser: session.Subject, RevokeLogtoSession: session.LogtoSessionID} {
		if at, ok := r.byKind[kind].Get(name); ok {
			start = max(start, at+1)
		}
	}
	if rule, ok := r.others.Get(session.Subject); ok {
		start = max(start, rule.at+1)
	}
	if start == now {
		return session.StartedAt
	}
	return time.UnixMilli(r.after(start))
}

// after is a time that is later than any before, and not earlier than this one.
func (r *Revocations) after(at int64) int64 {
	for {
		latest := r.latest.Load()
		at = max(at, latest+1)
		if r.latest.CompareAndSwap(latest, at) {
			return at
		}
	}
}

// isNewsFor reports whether a session has been revoked that has not been cleared away.
func (r *Revocations) isNewsFor(session *Session) bool {
	_, ended := r.byKind[revokeSession].Get(session.ID)
	return !ended && r.isRevoked(session)
}

// wasLoggedOut reports whether a session has ended at Logto, too, so that its grant is none
// that a later session can have.
func (r *Revocations) wasLoggedOut(session *Session) bool {
	if r.covers(LoggedOutUser, session.Subject, session.BegunAt) || r.covers(RemovedUser, session.Subject, session.BegunAt) {
		return true
	}
	if session.LogtoSessionID == "" {
		return r.covers(loggedOutWithoutID, session.Subject, session.BegunAt)
	}
	_, ended := r.byKind[LoggedOutLogtoSession].Get(session.LogtoSessionID)
	return ended
}

// RefusesToken reports whether an access token was issued before its user was revoked.
func (r *Revocations) RefusesToken(subject string, issuedAt time.Time) bool {
	return r.covers(RevokeUser, subject, issuedAt) || r.covers(RemovedUser, subject, issuedAt)
}

// refusesTokensUntil is until when access tokens of a user are refused that are issued now, or the zero time.
func (r *Revocations) refusesTokensUntil(subject string) time.Time {
	if at, ok := r.byKind[RevokeUser].Get(subject); ok && r.settings.Now().UnixMilli() <= at {
		return time.UnixMilli(at)
	}
	return time.Time{}
}

// ChangedAt is when Logto has last said that something about a user has changed, or the
// zero time.
func (r *Revocations) ChangedAt(subject string) time.Time {
	if at, ok := r.byKind[ChangedUser].Get(subject); ok {
		return time.UnixMilli(at)
	}
	return time.Time{}
}

// IsSpent reports whether a logout token has done its work.
func (r *Revocations) IsSpent(tokenID string) bool {
	_, spent := r.tokenIDs.Get(tokenID)
	return spent
}

// Record makes a revocation known, here and to the others. It returns false if the others
// cannot be told at once; here it holds all the same, and they are told when that is possible.
func (r *Revocations) Record(ctx context.Context, made Revocation) bool {
	log := r.endings
	if made.Kind == ChangedUser {
		log = r.changed
	}
	if made.Kind != revokeSession { // which ends with the session
		made.expires = r.settings.Now().Add(log.Lifetime)
	}
	if made.isByOurClock() {
		// Sessions may have started in the future, after what others have revoked by clocks that are ahead.
		until := r.settings.Now().Add(r.settings.margin())
		log.CatchUp(ctx)
		made.At = time.UnixMilli(r.after(until.UnixMilli()))
	}
	r.apply(made)
	told, works := log.Append(ctx, encodeRevocations(made))
	if works && made.isByOurClock() {
		// The clock of the shared state may be ahead, and with it the clock of another instance.
		if latest := earlier(told, r.settings.Now().Add(r.settings.ClockSkew)).Add(r.settings.margin()); latest.Sub(made.At) > sameTime {
			made.At = latest
			r.apply(made)
			_, works = log.Append(ctx, encodeRevocations(made))
		}
	}
	if !works {
		made.TokenID = "" // the sender of a logout token hears that it failed, and may send it again
		log.AppendLater(encodeRevocations(made))
		return false
	}
	r.spend(made)
	return true
}

// margin is how far a revocation reaches into the future: another instance may have begun a session a moment ago by a
// clock that is ahead, and Logto may have issued an access token.
func (s *Settings) margin() time.Duration { return s.ClockSkew / 2 }

// spend notes that a logout token has done its work. It is not before the others have been
// told: until then the token may come again.
func (r *Revocations) spend(made Revocation) {
	if made.TokenID != "" {
		r.tokenIDs.Put(strings.Clone(made.TokenID), struct{}{}, r.settings.Now().Add(r.settings.LogoutTokenMemory))
	}
}

// apply adds a revocation to what is known.
func (r *Revocations) apply(made Revocation) {
	if made.Kind == 0 || made.Kind >= revocationKinds { // of a newer version
		return
	}
	if made.Kind == LoggedOutLogtoSession && made.Subject != "" {
		r.put(loggedOutWithoutID, made.Subject, made)
	}
	if made.Kind == revokeOthers {
		rule := othersRule{made.At.UnixMilli(), made.started.UnixMilli(), strings.Clone(made.except)}
		r.noteEviction(r.others.Update(strings.Clone(made.Name), made.expires, rule.and))
	} else {
		r.put(made.Kind, made.Name, made)
	}
	if made.isByOurClock() {
		r.noteLatest(made.At.UnixMilli())
	}
	r.generation.Add(1) // when it can be found
}

func (r *Revocations) noteLatest(at int64) {
	for latest := r.latest.Load(); at > latest && !r.latest.CompareAndSwap(latest, at); latest = r.latest.Load() {
	}
}

// put keeps nothing else of the text that a name is a part of.
func (r *Revocations) put(kind RevocationKind, name string, made Revocation) {
	at := made.At.UnixMilli()
	evicted := r.byKind[kind].Update(strings.Clone(name), made.expires, func(before int64) int64 { return max(before, at) })
	r.noteEviction(evicted && kind != ChangedUser) // losing one of these costs time only
}

// noteEviction tells the operator, once a minute, that the memory is too small.
func (r *Revocations) noteEviction(isNews bool) {
	if !isNews {
		return
	}
	r.fullMu.Lock()
	defer r.fullMu.Unlock()
	if now := r.settings.Now(); now.Sub(r.toldFull).Abs() >= time.Minute {
		r.toldFull = now
		r.settings.Logger.Error("logtogin: the memory of revocations is full; some that were still in force have been dropped", "limit", maxRevocations)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
