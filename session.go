package logtogin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/logto"
)

// The session of a request, which is read once, and what it tells without a
// call to Logto.

// IsAuthenticated reports whether the request comes from a signed-in user. It
// is false also if the session cannot be read; Claims says which. It makes no
// call to Logto. Which page the request comes from is not checked: Guard is what
// protects against requests of other sites.
func (a *Auth) IsAuthenticated(c *gin.Context) bool {
	_, err := a.orVisitor(c, a.current)
	return err == nil
}

// orVisitor gets the session for a caller that takes an error for a visitor, so that
// nobody else tells the operator of it.
func (a *Auth) orVisitor(c *gin.Context, get func(*gin.Context) (*session, error)) (*session, error) {
	_, isKnown := a.kept(c)
	record, err := get(c)
	if err != nil && !isKnown {
		a.logError(c, StatusCode(err), err)
	}
	return record, err
}

// Claims returns the claims of the session's ID token, without a call to
// Logto. They are the caller's own: changing them changes nothing else. The
// error is ErrNotSignedIn or ErrStoreUnavailable. Which page the request comes
// from is not checked: Guard is what protects against requests of other sites.
func (a *Auth) Claims(c *gin.Context) (*Claims, error) {
	record, err := a.current(c)
	if err != nil {
		return nil, err
	}
	return record.claims()
}

// IDToken returns the ID token as Logto sent it. It may have expired: it says
// who signed in, not that somebody may do something now. The error is
// ErrNotSignedIn or ErrStoreUnavailable.
func (a *Auth) IDToken(c *gin.Context) (string, error) {
	record, err := a.current(c)
	if err != nil {
		return "", err
	}
	return record.idToken, nil
}

// requestKey is where a request keeps the session of an Auth.
type requestKey struct{ a *Auth }

// requestSession is what a request knows of its session.
type requestSession struct {
	session *session
	err     error
	// isNew says that the request itself has brought the session about.
	isNew bool
}

// current returns the session of the request, which is read once, and marks the
// response as one that depends on it.
func (a *Auth) current(c *gin.Context) (*session, error) {
	if kept, ok := a.kept(c); ok {
		return kept.session, kept.err
	}
	var record *session
	err := ErrNotSignedIn
	if a.store != nil {
		var revoked []*session
		record, revoked, err = a.store.loadSession(c.Request)
		a.clearAway(c, revoked)
	}
	if err == nil && a.store.isDue(record) && !c.Writer.Written() {
		record, err = a.renew(c, record)
	}
	if !c.Writer.Written() {
		varyByCookie(c)
		if err == nil {
			forbidStoring(c)
		}
	}
	c.Set(requestKey{a}, requestSession{session: record, err: err})
	return record, err
}

// kept returns what the request knows already of its session.
func (a *Auth) kept(c *gin.Context) (found requestSession, ok bool) {
	kept, ok := c.Get(requestKey{a})
	if !ok {
		return requestSession{}, false
	}
	found = kept.(requestSession)
	if found.err == nil && a.store.hasEnded(found.session) {
		return requestSession{err: ErrNotSignedIn}, true
	}
	return found, true
}

// revalidated is current for requests that must know of changes at Logto: a session
// that Logto has not confirmed for long is refreshed. While that is not possible the
// session goes on, for as long as Config.MaxStale says.
func (a *Auth) revalidated(c *gin.Context) (*session, error) {
	record, err := a.current(c)
	if err != nil || !a.isStale(record) {
		return record, err
	}
	patience := revalidationPatience
	if a.hasFailed(record.id) {
		patience = revalidationPatience / 10
	}
	ctx, cancel := context.WithTimeoutCause(c.Request.Context(), patience, errNoAnswerYet)
	defer cancel()
	newest, err := a.refreshFor(ctx, c, record, need{tokenTarget{}, func(s *session) bool { return !a.isStale(s) }})
	switch {
	case err == nil:
		return newest, nil
	case newest == nil, errors.Is(err, ErrStoreUnavailable), a.isTooStale(newest):
		return nil, err
	case c.Request.Context().Err() != nil: // that the client has hung up is no outage of Logto
		return nil, err
	}
	return newest, nil
}

// revalidationPatience is how long a request waits to learn that its session is as
// good as it was, if Logto has answered the last time. The refresh itself goes on, and a
// later request learns of it.
const revalidationPatience = 2 * time.Second

var errNoAnswerYet = fmt.Errorf("%w: no answer yet", ErrProviderUnavailable)

// staleAt is when the session has to be confirmed by Logto.
func (a *Auth) staleAt(record *session) time.Time {
	at := record.idTokenExpires
	if after := a.settings.RevalidateAfter; after > 0 {
		at = record.confirmedAt.Add(after)
	}
	if earliest := record.confirmedAt.Add(minRevalidation); at.Before(earliest) {
		at = earliest
	}
	if a.settings.RevalidateAfter < 0 {
		at = record.expires // never
	}
	if changed := a.revocations.changedAt(record.subject); changed.After(record.confirmedAt) {
		at = changed
	}
	return at
}

func (a *Auth) isStale(record *session) bool {
	return record.refreshToken != "" && !a.settings.Now().Before(a.staleAt(record))
}

// hasChanged reports whether Logto has said that something about the user has changed since
// the session was confirmed.
func (a *Auth) hasChanged(record *session) bool {
	return a.revocations.changedAt(record.subject).After(record.confirmedAt)
}

func (a *Auth) isTooStale(record *session) bool {
	return a.settings.MaxStale > 0 && !a.settings.Now().Before(a.staleAt(record).Add(a.settings.MaxStale))
}

// refreshFor refreshes the session of a request, which goes on with the newest
// version. With an error, that is the newest one that is known, or nil if there is none any
// more.
func (a *Auth) refreshFor(ctx context.Context, c *gin.Context, record *session, need need) (*session, error) {
	newest, err := a.refresh(ctx, c.Request, record, need)
	if errors.Is(err, ErrNotSignedIn) {
		a.forget(c, record, err)
	}
	if err != nil {
		if errors.Is(err, ErrNotSignedIn) {
			return nil, err
		}
		known, gone := a.adopt(c, record, a.store.memory.newestHere(record))
		if gone != nil {
			return nil, gone
		}
		return known, err
	}
	return a.adopt(c, record, newest)
}

// adopt makes a newer version of a session the request's, and gives it to the browser
// if it lies in cookies. If that comes too late, or fails, the version is remembered,
// and a later request adopts it. The error is ErrNotSignedIn if the session has ended
// meanwhile.
func (a *Auth) adopt(c *gin.Context, record, newest *session) (*session, error) {
	own := *newest
	own.entry = record.entry
	known, _ := a.kept(c)
	c.Set(requestKey{a}, requestSession{session: &own, isNew: known.isNew})
	if own.version == record.version || own.entry == nil || a.store.sessions.Remembers() || c.Writer.Written() {
		return &own, nil
	}
	switch _, err := a.store.writeSession(c, &own); {
	case errors.Is(err, ErrNotSignedIn):
		return nil, ErrNotSignedIn
	case err != nil:
		a.settings.Logger.WarnContext(c.Request.Context(), "logtogin: a refreshed session could not be written; it is remembered", "error", err)
	}
	return &own, nil
}

// forget makes the request one of a visitor, and the browser forget a session that Logto
// has refused. After a sign-out the browser has done so already, or has another session by
// now, whose cookies have the same names and must stay as they are.
func (a *Auth) forget(c *gin.Context, record *session, reason error) {
	c.Set(requestKey{a}, requestSession{err: ErrNotSignedIn})
	anystore.TakeBack(c.Writer.Header(), a.store.sessionName)
	if !errors.Is(reason, errRefused) || record.entry == nil || a.store.sessions.Remembers() || c.Writer.Written() {
		return
	}
	if err := a.store.remove(c, record.entry); err != nil {
		a.settings.Logger.ErrorContext(c.Request.Context(), "logtogin: the cookies of a session that has ended could not be deleted", "error", err)
	}
}

// clearAway removes sessions that were revoked while the browser was away, and their
// refresh tokens, which a sign-out at Logto leaves alive.
func (a *Auth) clearAway(c *gin.Context, revoked []*session) {
	for _, record := range revoked {
		ctx := context.WithoutCancel(c.Request.Context())
		newest := a.store.memory.newestAnywhere(ctx, record)
		a.settings.Logger.InfoContext(ctx, "logtogin: a session has ended, because it was revoked", "sub", record.subject)
		if err := a.store.clearAway(c, record); err != nil {
			a.settings.Logger.ErrorContext(ctx, "logtogin: a session that was revoked could not be deleted", "error", err)
		}
		a.refresher.inBackground(func(ctx context.Context) { a.revoke(ctx, []*session{newest}) })
	}
}

// renew writes the session. That it cannot be written does not make it worse
// than it was.
func (a *Auth) renew(c *gin.Context, record *session) (*session, error) {
	renewed, err := a.store.renewSession(c, record)
	switch {
	case errors.Is(err, ErrNotSignedIn):
		return nil, ErrNotSignedIn
	case err != nil:
		a.settings.Logger.WarnContext(c.Request.Context(), "logtogin: the session cannot be renewed", "error", err)
		return record, nil
	}
	return renewed, nil
}

// remember makes a session the request's that the request has brought about.
func (a *Auth) remember(c *gin.Context, record *session) {
	c.Set(requestKey{a}, requestSession{session: record, isNew: true})
}

// createdHere returns the session that the request has brought about, or nil.
func (a *Auth) createdHere(c *gin.Context) *session {
	kept, _ := c.Get(requestKey{a})
	if found, ok := kept.(requestSession); ok && found.isNew {
		return found.session
	}
	return nil
}

// claims are those of the ID token, for the caller alone.
func (s *session) claims() (*Claims, error) {
	if s.parsed != nil {
		return s.parsed.own(), nil
	}
	token, err := logto.ReadIDToken(s.idToken)
	if err != nil {
		return nil, ErrNotSignedIn
	}
	return newClaims(token), nil
}
