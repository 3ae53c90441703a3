package session

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
	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/recent"
	"github.com/logtogin/logtogin/internal/seal"
)

const (
	// maxSessionCookies bounds the cookies of a session, such that there is always room for attempts.
	maxSessionCookies = cookieBudget - alwaysRoomFor*maxAttemptCookie

	// MaxOpened bounds the sessions in memory, of about 5 KiB each.
	MaxOpened = 4096

	// maxActive bounds the sessions whose last activity is remembered, of about 150 bytes each.
	maxActive = 16 << 10
)

// store keeps sessions, sealed, in a sessions.Store. It never goes through the application's session middleware. It is safe
// for concurrent use.
type store struct {
	sessions *anystore.Store
	sealer   *seal.Sealer
	origin   string // what records keep of it
	context  string // in which sessions are sealed
	// contexts are tried when a session is opened. Sessions of the first format are sealed for no place.
	contexts []string

	revocations *Revocations // which make copies of a revoked session's cookie worthless

	// opened are sessions by their sealed values. Whether one has ended or expired is
	// looked at each time.
	opened *recent.Cache[*Session]
	// activity is when each session was last used at this instance, for requests that last
	// longer than Settings.IdleTimeout.
	activity *cache.Cache[string, time.Time]

	settings Settings
}

func newStore(s Settings, revocations *Revocations) (st *store, err error) {
	st = &store{
		context:     contextOf(s.Name, place{s.Cookie.Domain, s.Cookie.Path}),
		origin:      hashOfOrigin(s.Origin),
		revocations: revocations,
		opened:      recent.New[*Session](MaxOpened),
		activity:    cache.New[string, time.Time](maxActive, s.Now),
		settings:    s,
	}
	st.contexts = slices.Compact([]string{st.context, s.Name})
	// A record that was read in the store must not be good as a cookie.
	kept := "session in a store"
	if s.Store != nil {
		st.sessions = anystore.New(s.Store, valueKey, s.StoreTimeout)
	} else {
		kept, st.sessions = "session in cookies", anystore.InCookies(cookiestore.New(valueKey, maxSessionCookies), valueKey)
	}
	st.sealer, err = seal.New(s.Secrets, s.Purpose(kept))
	return st, err
}

// place is where browsers send a cookie.
type place struct{ domain, path string }

// contextOf binds a sealed session to the name of its cookie and to where browsers send that. If Domain or Path
// changes, a browser keeps the cookies of before beside the new ones, and nothing that it sends tells them apart: one of
// them could belong to another user.
func contextOf(name string, at place) string {
	if at == (place{"", "/"}) {
		return name
	}
	return fmt.Sprintf("%s %q %q", name, at.domain, at.path)
}

// held is what a browser has of one session.
type held struct {
	session *Session        // nil if it cannot be opened
	entry   *anystore.Entry // nil if it is not yet saved
	name    string          // of its first cookie
	// isLeftover says that an earlier configuration has left it there, with another Domain or Path.
	isLeftover bool
	at         place
}

// hold is what a browser has of a session of this configuration.
func (st *store) hold(session *Session) held {
	return held{session: session, entry: session.Entry, name: st.settings.Name}
}

// loaded is what a browser has of sessions.
type loaded struct {
	session *Session // the session that can be used, or nil
	ended   *Session // without one, another that the browser still has, or nil
	revoked []held   // those beside it that were revoked while the browser was away
}

// load returns the sessions of a request. The error is ErrNotSignedIn or ErrStoreUnavailable.
func (st *store) load(ctx context.Context, r *http.Request) (found loaded, err error) {
	var first *Session // of the first format
	for entry, err := range st.sessions.Each(ctx, r, st.settings.Name) {
		if err != nil {
			return found, unreadable(err)
		}
		if entry.Value != "" {
			st.revocations.KeepUp(ctx)
		}
		opened, ok := st.open(entry)
		switch {
		case ok && opened.Format == FirstFormat:
			// It does not say where browsers have its cookie, and may have been written anew beside it.
			first = cmp.Or(first, opened)
			continue
		case ok:
			found.session = opened
			return found, nil
		case opened == nil:
			continue
		case !st.isExpired(opened) && st.revocations.isNewsFor(opened):
			found.revoked = append(found.revoked, st.hold(opened))
		}
		found.ended = opened
	}
	if found.session = first; first != nil {
		return found, nil
	}
	return found, fault.NotSignedIn
}

// open returns a session. ok says that it can be used.
func (st *store) open(entry *anystore.Entry) (found *Session, ok bool) {
	digest := recent.DigestOf(entry.Value)
	opened, ok := st.opened.Get(digest)
	if !ok {
		var err error
		var context int
		opened, context, err = st.decrypt(entry.Value, st.contexts...)
		if err != nil || (context > 0 && opened.Format != FirstFormat) {
			return nil, false
		}
		st.opened.Put(digest, opened)
	}
	// Whoever can write to the store must not be able to put one user's session
	// under the key of another's.
	if entry.ID != "" && entry.ID != opened.ID {
		return nil, false
	}
	own := *opened
	own.Entry = entry
	return &own, !st.isOver(&own)
}

// decrypt is the costly part of open, which is the same for the same value.
func (st *store) decrypt(sealed string, contexts ...string) (found *Session, context int, err error) {
	encoded, isCurrent, context, err := st.sealer.OpenIn(sealed, contexts...)
	if err != nil {
		return nil, 0, err
	}
	if found, err = Decode(encoded, st.origin); err != nil {
		return nil, 0, err
	}
	found.IsOutdated, found.LivesBy = !isCurrent || found.Format != Format, new(atomic.Uint64)
	found.Memo, err = st.settings.ReadMemo(found)
	return found, context, err
}

// hasEnded reports whether a session has been ended before its time.
func (st *store) hasEnded(session *Session) bool { return st.revocations.HasEnded(session) }

// isOver reports whether a session has ended, by its lifetime, for want of
// activity, or by a sign-out.
func (st *store) isOver(session *Session) bool {
	return st.isOutOfTime(session) || st.hasEnded(session)
}

// isExpired reports whether browsers have deleted the cookie of a session. Such a session is not ended again: its end has
// been forgotten, so a copy of its cookie could revoke the grant of a newer session repeatedly.
func (st *store) isExpired(session *Session) bool { return !st.settings.Now().Before(session.Expires) }

// isOutOfTime reports whether a session has ended by itself.
func (st *store) isOutOfTime(session *Session) bool {
	now := st.settings.Now()
	return st.isExpired(session) ||
		// The lifetime may have been shortened since.
		!now.Before(session.StartedAt.Add(st.settings.Lifetime)) ||
		(st.settings.IdleTimeout > 0 && now.Sub(session.ActiveAt) >= st.settings.IdleTimeout)
}

// goOn lets a request go on that has lasted for a while, or returns why it cannot: the error is ErrNotSignedIn, or
// ErrStoreUnavailable, which leaves open whether the user was active at another instance. Other requests of the session
// count as activity, because they are the same user's; so does this one, if other instances cannot be asked.
func (st *store) goOn(ctx context.Context, r *http.Request, session *Session) error {
	current := *session
	if at, ok := st.activity.Get(session.ID); ok && at.After(current.ActiveAt) {
		current.ActiveAt = at
	}
	switch {
	case !st.isOver(&current):
		if st.settings.Shared.Exists() && !st.sessions.Remembers() {
			st.noteActivity(session) // what other instances have seen of the user is in the cookies only
		}
		return nil
	case st.settings.IdleTimeout == 0, st.hasEnded(session), !st.sessions.Remembers():
		return fault.NotSignedIn
	}
	// Another instance may have seen the user.
	stored, err := st.reload(ctx, r, session)
	if err != nil {
		return err
	}
	st.activity.Put(session.ID, stored.ActiveAt, stored.ActiveAt.Add(st.settings.IdleTimeout))
	return nil
}

// noteActivity remembers that the user of a session is active.
func (st *store) noteActivity(session *Session) {
	if st.settings.IdleTimeout > 0 {
		now := st.settings.Now()
		st.activity.Put(session.ID, now, now.Add(st.settings.IdleTimeout))
	}
}

// isDue reports whether the session should be written although nothing in it
// has changed: because it was sealed by a secret that will go, or to remember
// that the user is active. That is done once in a tenth of the time-out; a
// time of activity in the future comes from a wrong clock.
func (st *store) isDue(session *Session) bool {
	idle := st.settings.Now().Sub(session.ActiveAt)
	return session.IsOutdated ||
		(st.settings.IdleTimeout > 0 && (idle >= st.settings.IdleTimeout/10 || idle < -st.settings.ClockSkew))
}

// create writes a new session, which gets its Entry, and its cookies into the header.
func (st *store) create(ctx context.Context, r *http.Request, header http.Header, session *Session) error {
	return st.fit(session, func() (err error) {
		session.Entry, err = st.sessions.Create(ctx, r, header, st.settings.Name, session.ID, st.attributes(session.Expires), func(id string) string {
			session.ID = id
			return st.seal(session)
		})
		return err
	})
}

// update writes a session that is there already, and for a session in cookies its cookies into the header.
func (st *store) update(ctx context.Context, r *http.Request, header http.Header, session *Session) (*Session, error) {
	written := *session
	written.IsOutdated, written.Format = false, Format
	return &written, st.fit(&written, func() error {
		return st.sessions.Update(ctx, r, header, session.Entry, st.attributes(session.Expires), st.seal(&written),
			func() bool { return st.hasEnded(session) })
	})
}

func (st *store) seal(session *Session) string { return st.sealer.Seal(session.Encode(), st.context) }

// fit calls write until the session finds room, and drops an access token each time.
func (st *store) fit(session *Session, write func() error) error {
	for {
		err := write()
		if !errors.Is(err, anystore.ErrTooLong) || !session.dropAccessToken() {
			return st.unwritable(err)
		}
	}
}

// updateStored is update for a session in a store, without a response. The error is
// ErrNotSignedIn if it is no longer there.
func (st *store) updateStored(ctx context.Context, r *http.Request, session *Session) error {
	if !st.keeps(session) {
		return nil
	}
	if _, err := st.reload(ctx, r, session); err != nil {
		return err
	}
	_, err := st.update(ctx, r, http.Header{}, session)
	return err
}

// reload reads a session in a store once more. A session in cookies is returned unchanged. The error is ErrNotSignedIn if it has gone, or ErrStoreUnavailable.
func (st *store) reload(ctx context.Context, r *http.Request, session *Session) (*Session, error) {
	if !st.keeps(session) {
		return session, nil
	}
	entry, err := st.sessions.Reload(ctx, r, session.Entry)
	if err != nil {
		return nil, unreadable(err)
	}
	stored, ok := st.open(entry)
	if !ok || stored.ID != session.ID {
		return nil, fault.NotSignedIn
	}
	return stored, nil
}

// remove deletes the record of a session; what the browser has stays.
func (st *store) remove(ctx context.Context, r *http.Request, session *Session) error {
	if !st.keeps(session) {
		return nil
	}
	return st.sessions.Delete(ctx, r, http.Header{}, session.Entry, st.attributes(time.Time{}))
}

// keeps reports whether a session has a record at the server.
func (st *store) keeps(session *Session) bool { return st.sessions.Remembers() && session.Entry != nil }

// attributes are the attributes of a cookie that expires then.
func (st *store) attributes(expires time.Time) sessions.Options {
	options := st.settings.Cookie
	options.MaxAge = -1
	if left := expires.Sub(st.settings.Now()); left > 0 {
		options.MaxAge = int((left + time.Second - 1) / time.Second)
	}
	return options
}

func unreadable(err error) error {
	return fmt.Errorf("%w: cannot read: %w", fault.StoreUnavailable, err)
}

func (st *store) unwritable(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, anystore.ErrTooLong) && st.settings.Store == nil:
		return fmt.Errorf("%w: %w; set Config.Store, or leave claims out of the ID token in the Logto Console", fault.SessionTooLarge, err)
	case errors.Is(err, anystore.ErrTooLong):
		return fmt.Errorf("%w: %w", fault.SessionTooLarge, err)
	}
	return fmt.Errorf("%w: cannot write: %w", fault.StoreUnavailable, err)
}
