package logtogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/logtogin/logtogin/internal/session"
)

// The session of a request, which is read once, and what it tells without a
// call to Logto.

// IsAuthenticated reports whether the request comes from a signed-in user. It
// is false also if the session cannot be read; Claims says which. It makes no
// call to Logto. Which page the request comes from is not checked: Guard is what
// protects against requests of other sites.
//
// While a handler runs for long, the answer changes when the session ends: by a sign-out, a
// revocation, its lifetime or IdleTimeout. In cookies with SharedState asking counts as activity,
// so that IdleTimeout does not end a stream that keeps asking. Of what Logto tells only when it is
// asked, such as a suspended user without a webhook, UserInfo learns.
//
// Like all methods that ask for the session of a request, it takes a *gin.Context, its Copy, a
// context that is derived from one, or the context of a request that Guard, Optional or Bearer
// has let through. After Bearer there is no session. Any other context is an ErrNoRequest, here
// false with a warning in the log.
//
// Goroutines of one handler may call these methods at the same time. The handler must not change
// the header of the request meanwhile, and without a guard not touch the response either. A
// goroutine that outlives the handler needs c.Copy(), made before it starts, or behind a guard
// context.WithoutCancel(c.Request.Context()): Gin uses c again for another request, and the server
// cancels the context of the request. With Engine.ContextWithFallback, derive contexts of such a
// goroutine from context.WithoutCancel(c.Copy()), because the copy is cancelled, too.
func (a *Auth) IsAuthenticated(ctx context.Context) bool {
	asked := ctx
	ctx, x, err := a.exchangeOf(ctx)
	if err != nil {
		a.settings.Logger.WarnContext(asked, "logtogin: IsAuthenticated is false because it was asked without a request", "error", err)
		return false
	}
	_, err = a.orVisitor(ctx, x, a.current)
	return err == nil
}

// orVisitor gets the session for a caller that takes an error for a visitor, so that
// nobody else tells the operator of it.
func (a *Auth) orVisitor(ctx context.Context, x *exchange, get func(context.Context, *exchange) (*session.Session, error)) (*session.Session, error) {
	_, isKnown := x.known.get(a)
	record, err := get(ctx, x)
	if err != nil && !isKnown {
		a.logError(ctx, x, StatusCode(err), err)
	}
	return record, err
}

// Claims returns the claims of the session's ID token, without a call to
// Logto. They are the caller's own: changing them changes nothing else. The
// error is ErrNotSignedIn, ErrStoreUnavailable or ErrNoRequest. Which page the request comes
// from is not checked: Guard is what protects against requests of other sites.
func (a *Auth) Claims(ctx context.Context) (*Claims, error) {
	_, _, record, err := a.sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	return claimsOf(record)
}

// IDToken returns the ID token as Logto sent it. It may have expired: it says
// who signed in, not that somebody may do something now. The error is
// ErrNotSignedIn, ErrStoreUnavailable or ErrNoRequest.
func (a *Auth) IDToken(ctx context.Context) (string, error) {
	_, _, record, err := a.sessionOf(ctx)
	if err != nil {
		return "", err
	}
	return record.IDToken, nil
}

// sessionOf returns the exchange that a caller's context belongs to, and its session. The error is
// ErrNoRequest, or current's.
func (a *Auth) sessionOf(ctx context.Context) (context.Context, *exchange, *session.Session, error) {
	ctx, x, err := a.exchangeOf(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	record, err := a.current(ctx, x)
	return ctx, x, record, err
}

// current returns the session of the request, which is read once, and marks the
// response as one that depends on it.
func (a *Auth) current(ctx context.Context, x *exchange) (*session.Session, error) {
	if a.store == nil || x.isByToken {
		return nil, ErrNotSignedIn
	}
	// A goroutine that reads may also write, and needs the store three times for that.
	known, ok, err := x.known.getOrRead(ctx, a, 4*a.settings.StoreTimeout)
	switch {
	case err != nil:
		return nil, unreadable(err)
	case ok:
		known = a.asOfNow(ctx, x, known)
		x.response.DependOnSession(known.err == nil)
		return known.session, known.err
	}
	defer x.known.endReading()
	record, revoked, err := a.store.loadSession(ctx, x.request)
	a.removeRevoked(ctx, x, revoked)
	known = knownSession{auth: a}
	if errors.Is(err, ErrNotSignedIn) && record != nil {
		known.endedStart, record = record.StartedAt, nil
	}
	if err == nil && a.store.isDue(record) && !x.response.HasBegun() {
		record, err = a.renew(ctx, x, record)
	}
	x.response.DependOnSession(err == nil)
	if err == nil {
		a.store.noteActivity(record)
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, ErrStoreUnavailable) {
		return nil, err // of this caller's context: another one may do better
	}
	known.session, known.err = record, err
	x.known.set(known)
	return record, err
}

// asOfNow is what the request knows of its session, as of now: while a handler runs for long, the
// session can end.
func (a *Auth) asOfNow(ctx context.Context, x *exchange, known knownSession) knownSession {
	if known.err != nil {
		return known
	}
	switch isOver, err := a.store.isOverNow(ctx, x.request, known.session); {
	case err != nil:
		return knownSession{auth: a, err: err}
	case isOver:
		return knownSession{auth: a, err: ErrNotSignedIn, endedStart: known.session.StartedAt}
	}
	return known
}

// revalidated is current for requests that must know of changes at Logto: a session
// that Logto has not confirmed for long is refreshed. While that is not possible the
// session goes on, for as long as Config.MaxStale says.
func (a *Auth) revalidated(ctx context.Context, x *exchange) (*session.Session, error) {
	record, err := a.current(ctx, x)
	if err != nil || !a.mustBeConfirmed(record) {
		return record, err
	}
	patience := revalidationPatience
	if a.hasFailed(record.ID) {
		patience = revalidationPatience / 10
	}
	waiting, cancel := context.WithTimeoutCause(ctx, patience, errNoAnswerYet)
	defer cancel()
	newest, err := a.refreshFor(waiting, x, record, need{session.Target{}, func(s *session.Session) bool { return !a.mustBeConfirmed(s) }})
	switch {
	case err == nil:
		return newest, nil
	case newest == nil, errors.Is(err, ErrStoreUnavailable):
		return nil, err
	case ctx.Err() != nil: // that the client has hung up is no outage of Logto
		return nil, err
	case a.isUnacceptable(record), a.isTooStale(newest):
		return nil, unavailable(err)
	}
	// It has waited, and the user may have signed out meanwhile.
	a.revocations.keepUp(ctx)
	if known := a.asOfNow(ctx, x, knownSession{auth: a, session: newest}); known.err != nil {
		if errors.Is(known.err, ErrNotSignedIn) {
			a.forget(x, record)
		}
		return nil, known.err
	}
	return newest, nil
}

// mustBeConfirmed reports whether a request has to ask Logto about the session before it goes on.
func (a *Auth) mustBeConfirmed(record *session.Session) bool {
	return a.isStale(record) || a.isUnacceptable(record)
}

// revalidationPatience is how long a request waits to learn that its session is as
// good as it was, if Logto has answered the last time. The refresh itself goes on, and a
// later request learns of it.
const revalidationPatience = 2 * time.Second

var errNoAnswerYet = fmt.Errorf("%w: no answer yet", ErrProviderUnavailable)

// refreshFor refreshes the session of a request, which goes on with the newest
// version. With an error, that is the newest one that is known, or nil if there is none any
// more.
func (a *Auth) refreshFor(ctx context.Context, x *exchange, record *session.Session, need need) (*session.Session, error) {
	newest, err := a.refresh(ctx, x.request, record, need)
	if errors.Is(err, ErrNotSignedIn) {
		a.forget(x, record)
		return nil, err
	}
	if err != nil {
		known, gone := a.adopt(ctx, x, record, a.store.memory.newestHere(record))
		if gone != nil {
			return nil, gone
		}
		return known, err
	}
	return a.adopt(ctx, x, record, newest)
}

// adopt makes a newer version of a session the request's, and gives it to the browser
// if it lies in cookies. If that comes too late, or fails, the version is remembered,
// and a later request adopts it. The error is ErrNotSignedIn if the session has ended
// meanwhile.
func (a *Auth) adopt(ctx context.Context, x *exchange, record, newest *session.Session) (*session.Session, error) {
	own := *newest
	own.Entry = record.Entry
	if !x.known.replace(record.ID, knownSession{auth: a, session: &own}) {
		return &own, nil
	}
	if own.Version == record.Version || own.Entry == nil || a.store.sessions.Remembers() || x.response.HasBegun() {
		return &own, nil
	}
	switch _, err := a.store.writeSession(ctx, x, &own); {
	case errors.Is(err, ErrNotSignedIn):
		return nil, ErrNotSignedIn
	case err != nil && !errors.Is(err, ErrResponseStarted):
		a.settings.Logger.WarnContext(ctx, "logtogin: a refreshed session could not be written; it is remembered", "error", err)
	}
	return &own, nil
}

// forget makes the request one of a visitor. What the browser has is left alone: the cookie of a
// session that has ended is worthless, and the browser may have another session by now.
func (a *Auth) forget(x *exchange, record *session.Session) {
	x.known.replace(record.ID, knownSession{auth: a, err: ErrNotSignedIn, endedStart: record.StartedAt})
}

// removeRevoked removes sessions that were revoked while the browser was away from the store,
// and takes their refresh tokens away, which a sign-out at Logto leaves alive. It waits for that, two seconds at
// most: a sign-in that follows shares the grant at Logto, and its code would go with the token.
func (a *Auth) removeRevoked(ctx context.Context, x *exchange, revoked []*session.Session) {
	if len(revoked) == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	for i, record := range revoked {
		revoked[i] = a.store.memory.newestAnywhere(ctx, record)
		a.settings.Logger.InfoContext(ctx, "logtogin: a session has ended, because it was revoked", "sub", record.Subject)
		if err := a.store.removeRevoked(ctx, x.request, record); err != nil {
			a.settings.Logger.ErrorContext(ctx, "logtogin: a session that was revoked could not be deleted", "error", err)
		}
	}
	polite, cancel := politely(ctx)
	defer cancel()
	a.revoke(polite, revoked)
}

// removeRevoked removes a session that was revoked while the browser was away, whose cookie the
// browser keeps: a sign-in overwrites it, and nothing else can be sure that it is still there.
func (st *store) removeRevoked(ctx context.Context, r *http.Request, record *session.Session) error {
	st.revocations.apply(revocation{kind: revokeSession, name: record.ID, expires: record.Expires})
	st.memory.end(ctx, record)
	return st.removeRecord(ctx, r, record.Entry)
}

// renew writes the session. That it cannot be written does not make it worse
// than it was.
func (a *Auth) renew(ctx context.Context, x *exchange, record *session.Session) (*session.Session, error) {
	renewed, err := a.store.renewSession(ctx, x, record)
	switch {
	case errors.Is(err, ErrNotSignedIn):
		return nil, ErrNotSignedIn
	case errors.Is(err, ErrResponseStarted):
		return record, nil
	case err != nil:
		a.settings.Logger.WarnContext(ctx, "logtogin: the session cannot be renewed", "error", err)
		return record, nil
	}
	return renewed, nil
}

// remember makes a session the request's that the request has brought about.
func (a *Auth) remember(x *exchange, record *session.Session) {
	x.known.set(knownSession{auth: a, session: record, isNew: true})
}

// createdHere returns the session that the request has brought about, or nil.
func (a *Auth) createdHere(x *exchange) *session.Session {
	if known, ok := x.known.get(a); ok && known.isNew {
		return known.session
	}
	return nil
}
