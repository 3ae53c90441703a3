package logtogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/recent"
	"github.com/logtogin/logtogin/internal/seal"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

const (
	// maxSessionCookies bounds the cookies of a session, such that there is always room for attempts.
	maxSessionCookies = session.CookieBudget - session.AlwaysRoomFor*session.MaxAttemptCookie

	// maxOpened bounds the sessions in memory, of about 5 KiB each.
	maxOpened = 4096

	// maxActive bounds the sessions whose last activity is remembered, of about 150 bytes each.
	maxActive = 16 << 10

	// overwrittenMemory is longer than a response is under way.
	overwrittenMemory = 10 * time.Minute

	// valueKey is the one key under which a sessions.Store holds our value.
	valueKey = "logtogin"
)

// store loads, saves and removes sessions and attempts through sessions.Stores. It never goes through the application's session middleware.
type store struct {
	sessions *anystore.Store
	attempts *session.Attempts // always in cookies

	sessionSealer  *seal.Sealer
	sessionName    string // of the first cookie
	sessionContext string // in which its value is sealed
	// sessionContexts are the ones in which values are opened. The first format is sealed for no place.
	sessionContexts []string
	options         sessions.Options

	revocations *revocations // a cookie kept from before one is worth nothing
	memory      *memory      // of what refreshes have yielded

	// opened are sessions by their sealed values. Whether one has ended or expired is
	// looked at each time.
	opened *recent.Cache[*session.Session]
	// activity is when each session was last used at this instance, for requests that last
	// longer than Config.IdleTimeout.
	activity *cache.Cache[string, time.Time]

	// overwritten says which response was the last one that overwrote or deleted the cookie of a
	// session, by a number of its own, for sign-outs whose responses come late.
	overwritten *cache.Cache[string, uint64]
	overwrites  atomic.Uint64

	s *settings
}

func newStore(s *settings, shared *boundedState, revocations *revocations) (*store, error) {
	st := &store{
		sessionName: s.Cookies.Name + "_" + s.applicationKey(4),
		options: sessions.Options{
			Path:     s.Cookies.Path,
			Domain:   s.Cookies.Domain,
			Secure:   s.base != nil && s.base.Scheme == "https",
			HttpOnly: true,
			SameSite: http.SameSiteLaxMode,
		},
		revocations: revocations,
		opened:      recent.New[*session.Session](maxOpened),
		activity:    cache.New[string, time.Time](maxActive, s.Now),
		overwritten: cache.New[string, uint64](maxActive, s.Now),
		s:           s,
	}
	st.sessionContext = sessionContext(st.sessionName, s.Cookies)
	st.sessionContexts = slices.Compact([]string{st.sessionContext, st.sessionName})
	var err error
	kept := "session in cookies"
	if s.Store != nil {
		// A record that was read in the store must not be good as a cookie.
		kept = "session in a store"
	}
	if st.sessionSealer, err = seal.New(s.secrets, s.purpose(kept)); err != nil {
		return nil, err
	}
	if st.attempts, err = session.NewAttempts(session.Settings{
		Name:      st.sessionName,
		Origin:    web.Origin(s.base),
		Cookie:    st.options,
		Secrets:   s.secrets,
		Purpose:   s.purpose,
		ClockSkew: s.ClockSkew,
		Now:       s.Now,
	}); err != nil {
		return nil, err
	}
	if st.memory, err = newMemory(s, shared); err != nil {
		return nil, err
	}
	if s.Store == nil {
		st.sessions = anystore.InCookies(cookiestore.New(valueKey, maxSessionCookies), valueKey)
	} else {
		st.sessions = anystore.New(s.Store, valueKey, s.StoreTimeout)
	}
	return st, nil
}

// loadSession returns the session of a request, and those beside it that were revoked
// while the browser was away. The error is ErrNotSignedIn or ErrStoreUnavailable. With ErrNotSignedIn,
// found is an ended session that the browser still has, or nil.
func (st *store) loadSession(ctx context.Context, r *http.Request) (found *session.Session, revoked []*session.Session, err error) {
	var first *session.Session // of the first format
	for entry, err := range st.sessions.Each(ctx, r, st.sessionName) {
		if err != nil {
			return nil, revoked, unreadable(err)
		}
		if entry.Value != "" {
			st.revocations.keepUp(ctx)
		}
		opened, ok := st.openSession(entry)
		switch {
		case ok && opened.Format == session.FirstFormat:
			// It does not say where browsers have its cookie, and may have been written anew beside it.
			first = cmp.Or(first, opened)
			continue
		case ok:
			return opened, revoked, nil
		case opened == nil:
			continue
		case !st.isExpired(opened) && st.revocations.isNewsFor(opened):
			revoked = append(revoked, opened)
		}
		found = opened
	}
	if first != nil {
		return first, revoked, nil
	}
	return found, revoked, ErrNotSignedIn
}

// openSession returns a session. ok says that it can be used.
func (st *store) openSession(entry *anystore.Entry) (found *session.Session, ok bool) {
	digest := recent.DigestOf(entry.Value)
	opened, ok := st.opened.Get(digest)
	if !ok {
		var err error
		var context int
		opened, context, err = st.decrypt(entry.Value, st.sessionContexts...)
		if err != nil || (context > 0 && opened.Format != session.FirstFormat) {
			return nil, false
		}
		st.opened.Put(digest, opened)
	}
	// Whoever can write to the store must not be able to put one user's session
	// under the key of another's.
	if entry.ID() != "" && entry.ID() != opened.ID {
		return nil, false
	}
	own := *opened
	own.Entry = entry
	return &own, !st.isOver(&own)
}

// decrypt is the costly part of openSession, which is the same for the same value.
func (st *store) decrypt(sealed string, contexts ...string) (found *session.Session, context int, err error) {
	record, isCurrent, context, err := st.sessionSealer.OpenIn(sealed, contexts...)
	if err != nil {
		return nil, 0, err
	}
	if found, err = session.Decode(record, st.s.origin); err != nil {
		return nil, 0, err
	}
	found.IsOutdated, found.LivesBy = !isCurrent || found.Format != session.Format, new(atomic.Uint64)
	found.Memo, err = claimsOf(found)
	return found, context, err
}

// isOver reports whether a session has ended, by its lifetime, for want of
// activity, or by a sign-out.
func (st *store) isOver(record *session.Session) bool {
	return st.isOutOfTime(record) || st.hasEnded(record)
}

// isExpired reports whether browsers have deleted the cookie of a session. Its end is not remembered any more, so that
// a copy could take the refresh token away again and again, and the grant that a newer session shares.
func (st *store) isExpired(record *session.Session) bool { return !st.s.Now().Before(record.Expires) }

// isOutOfTime reports whether a session has ended by itself.
func (st *store) isOutOfTime(record *session.Session) bool {
	now := st.s.Now()
	return st.isExpired(record) ||
		// The lifetime may have been shortened since.
		!now.Before(record.StartedAt.Add(st.s.SessionLifetime)) ||
		(st.s.IdleTimeout > 0 && now.Sub(record.ActiveAt) >= st.s.IdleTimeout)
}

// isOverNow is isOver for a request that has lasted for a while. Other requests of the session
// count as activity, because they are the same user's. The error is an ErrStoreUnavailable, which
// leaves open whether the user was active at another instance.
func (st *store) isOverNow(ctx context.Context, r *http.Request, record *session.Session) (bool, error) {
	if st.s.IdleTimeout == 0 || st.hasEnded(record) {
		return st.isOver(record), nil
	}
	current := *record
	if at, ok := st.activity.Get(record.ID); ok && at.After(current.ActiveAt) {
		current.ActiveAt = at
	}
	switch {
	case !st.isOver(&current):
		if st.s.SharedState != nil && !st.sessions.Remembers() {
			st.noteActivity(record) // what other instances have seen of the user is in the cookies only
		}
		return false, nil
	case !st.sessions.Remembers():
		return true, nil
	}
	// Another instance may have seen the user.
	stored, err := st.reloadSession(ctx, r, record)
	switch {
	case errors.Is(err, ErrNotSignedIn):
		return true, nil
	case err != nil:
		return false, err
	}
	st.activity.Put(record.ID, stored.ActiveAt, stored.ActiveAt.Add(st.s.IdleTimeout))
	return false, nil
}

// noteActivity remembers that the user of a session is active.
func (st *store) noteActivity(record *session.Session) {
	if st.s.IdleTimeout > 0 {
		now := st.s.Now()
		st.activity.Put(record.ID, now, now.Add(st.s.IdleTimeout))
	}
}

// isDue reports whether the session should be written although nothing in it
// has changed: because it was sealed by a secret that will go, or to remember
// that the user is active. That is done once in a tenth of the time-out; a
// time of activity that lies ahead comes from a clock that was wrong.
func (st *store) isDue(record *session.Session) bool {
	idle := st.s.Now().Sub(record.ActiveAt)
	return record.IsOutdated ||
		(st.s.IdleTimeout > 0 && (idle >= st.s.IdleTimeout/10 || idle < -st.s.ClockSkew))
}

// renewSession reads the session of the request again, where the store can
// tell more than the request, and writes it. The errors are those of writeSession.
func (st *store) renewSession(ctx context.Context, x *exchange, record *session.Session) (*session.Session, error) {
	stored, err := st.reloadSession(ctx, x.request, record)
	if err != nil || !st.isDue(stored) {
		return stored, err
	}
	return st.writeSession(ctx, x, st.memory.newestHere(stored))
}

// writeSession writes a session into the store or the cookies of the response, and that the user
// is active. Access tokens that find no room are left out. The error is ErrNotSignedIn if it has
// ended meanwhile, and ErrResponseStarted if the browser gets no cookies any more.
func (st *store) writeSession(ctx context.Context, x *exchange, record *session.Session) (*session.Session, error) {
	if x.response.HasBegun() {
		return nil, ErrResponseStarted
	}
	cookies := http.Header{}
	active := *record
	active.ActiveAt = st.s.Now()
	written, err := st.update(ctx, x.request, cookies, &active)
	if err != nil {
		return nil, err
	}
	if st.sessions.Remembers() {
		st.revocations.endings.catchUp(context.WithoutCancel(ctx))
	}
	// A sign-out that came in between must not have been in vain. What the browser has is
	// left alone: if another user has signed in, it is that session's by now.
	if st.hasEnded(record) {
		return nil, errors.Join(ErrNotSignedIn, st.removeRecord(context.WithoutCancel(ctx), x.request, record.Entry))
	}
	if len(cookies) == 0 { // of a store whose cookie stays as it is
		return written, nil
	}
	return written, st.setCookies(x, cookies, func() bool { return st.isOver(written) }, st.sessionName)
}

// writeRecord writes a session that lies in a store, without a response. The error is
// ErrNotSignedIn if it is no longer there.
func (st *store) writeRecord(ctx context.Context, r *http.Request, record *session.Session) error {
	if !st.sessions.Remembers() || record.Entry == nil {
		return nil
	}
	if _, err := st.reloadSession(ctx, r, record); err != nil {
		return err
	}
	_, err := st.update(ctx, r, http.Header{}, record)
	return err
}

func (st *store) update(ctx context.Context, r *http.Request, header http.Header, record *session.Session) (*session.Session, error) {
	written := *record
	written.IsOutdated, written.Format = false, session.Format
	for {
		sealed := st.sessionSealer.Seal(written.Encode(), st.sessionContext)
		err := st.sessions.Update(ctx, r, header, record.Entry, st.attributes(record.Expires), sealed,
			func() bool { return st.hasEnded(record) })
		smaller, ok := written.WithoutAccessToken()
		if !errors.Is(err, anystore.ErrTooLong) || !ok {
			return &written, st.unwritable(err)
		}
		written = *smaller
	}
}

// reloadSession reads a session that lies in a store once more. What lies in cookies is
// as it was. The error is ErrNotSignedIn if it has gone, or ErrStoreUnavailable.
func (st *store) reloadSession(ctx context.Context, r *http.Request, record *session.Session) (*session.Session, error) {
	if !st.sessions.Remembers() || record.Entry == nil {
		return record, nil
	}
	entry, err := st.sessions.Reload(ctx, r, record.Entry)
	if err != nil {
		return nil, unreadable(err)
	}
	stored, ok := st.openSession(entry)
	if !ok || stored.ID != record.ID {
		return nil, ErrNotSignedIn
	}
	return stored, nil
}

// entriesOf returns what the store has for the request. It is more than one if
// the browser has kept cookies of another path or domain.
func (st *store) entriesOf(ctx context.Context, r *http.Request, name string) (entries []*anystore.Entry, err error) {
	for entry, err := range st.sessions.Each(ctx, r, name) {
		if err != nil {
			return nil, unreadable(err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// removeRecord deletes an entry from a store; what the browser has stays.
func (st *store) removeRecord(ctx context.Context, r *http.Request, entry *anystore.Entry) error {
	if !st.sessions.Remembers() || entry == nil {
		return nil
	}
	return st.sessions.Delete(ctx, r, http.Header{}, entry, st.attributes(time.Time{}))
}

// end makes every copy of the session's cookie worthless, here and at the other instances:
// one of them could be about to write the record again that is deleted here.
//
// It returns the newest version, whose refresh token is the one to take away, if nobody has ended the
// session before. A refresh that is under way has either made that version known by then, or finds the
// session ended.
func (st *store) end(ctx context.Context, record *session.Session) (newest *session.Session, isFirst bool) {
	isFirst = st.revocations.endOnce(record)
	st.revocations.record(ctx, revocation{kind: revokeSession, name: record.ID, expires: record.Expires})
	if isFirst {
		newest = st.memory.newestAnywhere(ctx, record)
	}
	st.memory.end(ctx, record)
	return newest, isFirst
}

// hasEnded reports whether a session has been ended before its time.
func (st *store) hasEnded(record *session.Session) bool { return st.revocations.hasEnded(record) }

// attributes are those of a cookie that lives until then.
func (st *store) attributes(expires time.Time) sessions.Options {
	options := st.options
	options.MaxAge = -1
	if left := expires.Sub(st.s.Now()); left > 0 {
		options.MaxAge = int((left + time.Second - 1) / time.Second)
	}
	return options
}

func unreadable(err error) error {
	return fmt.Errorf("%w: cannot read: %w", ErrStoreUnavailable, err)
}

func (st *store) unwritable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, anystore.ErrTooLong) && st.s.Store == nil:
		return fmt.Errorf("%w: %w; set Config.Store, or leave claims out of the ID token in the Logto Console", ErrSessionTooLarge, err)
	case errors.Is(err, anystore.ErrTooLong):
		return fmt.Errorf("%w: %w", ErrSessionTooLarge, err)
	}
	return fmt.Errorf("%w: cannot write: %w", ErrStoreUnavailable, err)
}
