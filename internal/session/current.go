package session

import (
	"context"
	"errors"
	"net/http"

	"github.com/logtogin/logtogin/internal/fault"
)

// Current returns the session of the request, which is read once, and marks the response as one that depends on it. The
// error is ErrNotSignedIn or ErrStoreUnavailable. A nil *Sessions has none.
func (s *Sessions) Current(ctx context.Context, x *Exchange) (*Session, error) {
	if s == nil || x.IsByToken {
		return nil, fault.NotSignedIn
	}
	// A goroutine that reads may also write, and needs the store three times for that.
	now, isKnown, err := x.Known.getOrRead(ctx, s, 4*s.settings.StoreTimeout)
	switch {
	case err != nil:
		return nil, unreadable(err)
	case isKnown:
		now = s.asOfNow(ctx, x, now)
	default:
		defer x.Known.endReading()
		now = s.open(ctx, x)
		if ctx.Err() == nil || !errors.Is(now.err, fault.StoreUnavailable) { // of this caller's context: another one may do better
			x.Known.set(now)
		}
	}
	x.Response.DependOnSession(now.err == nil)
	return now.session, now.err
}

// StoreError reads the sessions of a request, for the error of the store.
func (s *Sessions) StoreError(ctx context.Context, r *http.Request) error {
	if _, err := s.store.load(ctx, r); errors.Is(err, fault.StoreUnavailable) {
		return err
	}
	return nil
}

// open is Current for a request that asks for the first time: it reads what the browser has, clears away what was revoked
// meanwhile, and renews what is due.
func (s *Sessions) open(ctx context.Context, x *Exchange) known {
	found, err := s.store.load(ctx, x.Request)
	s.clearRevoked(ctx, x.Request, found.revoked)
	if err == nil && s.store.isDue(found.session) && !x.Response.HasBegun() {
		found.session, err = s.renew(ctx, x, found.session)
	}
	now := known{by: s, session: found.session, err: err}
	switch {
	case err == nil:
		s.store.noteActivity(found.session)
	case found.ended != nil && errors.Is(err, fault.NotSignedIn):
		now.endedStart = found.ended.StartedAt
	}
	return now
}

// asOfNow is what the request knows of its session, as of now: while a handler runs for long, the
// session can end.
func (s *Sessions) asOfNow(ctx context.Context, x *Exchange, before known) known {
	if before.err != nil {
		return before
	}
	now := before
	if now.err = s.store.goOn(ctx, x.Request, before.session); now.err != nil {
		now = known{by: s, err: now.err}
	}
	if errors.Is(now.err, fault.NotSignedIn) {
		now.endedStart = before.session.StartedAt
	}
	return now
}

// Before is the session that the browser has, whether it is good or not.
func (s *Sessions) Before(ctx context.Context, x *Exchange) Before {
	_, _ = s.Current(ctx, x) // if it cannot be read, its cookie has to do
	now, _ := x.Known.get(s)
	before := Before{Start: now.endedStart, Cookie: s.Attempts.cookieOf(x.Request)}
	if now.session != nil {
		before.Start = now.session.StartedAt
	}
	return before
}

// renew reads the session of the request again, where the store can tell more than the request, and writes it. That it
// cannot be written does not make it worse than it was. The error is ErrNotSignedIn.
func (s *Sessions) renew(ctx context.Context, x *Exchange, session *Session) (*Session, error) {
	renewed, err := s.store.reload(ctx, x.Request, session)
	if err == nil && s.store.isDue(renewed) {
		renewed, err = s.write(ctx, x, s.versions.newestHere(renewed))
	}
	switch {
	case errors.Is(err, fault.NotSignedIn):
		return nil, fault.NotSignedIn
	case errors.Is(err, fault.ResponseStarted):
		return session, nil
	case err != nil:
		s.settings.Logger.WarnContext(ctx, "logtogin: the session cannot be renewed", "error", err)
		return session, nil
	}
	return renewed, nil
}

// write writes a session into the store or the cookies of the response, and that the user
// is active. Access tokens that find no room are left out. The error is ErrNotSignedIn if it has
// ended meanwhile, and ErrResponseStarted if the browser gets no cookies any more.
func (s *Sessions) write(ctx context.Context, x *Exchange, session *Session) (*Session, error) {
	if x.Response.HasBegun() {
		return nil, fault.ResponseStarted
	}
	cookies := http.Header{}
	active := *session
	active.ActiveAt = s.settings.Now()
	written, err := s.store.update(ctx, x.Request, cookies, &active)
	if err != nil {
		return nil, err
	}
	if s.store.sessions.Remembers() {
		s.revocations.CatchUp(context.WithoutCancel(ctx))
	}
	// A sign-out that came in between must not have been in vain. What the browser has is
	// left alone: if another user has signed in, it is that session's by now.
	if s.store.hasEnded(session) {
		return nil, errors.Join(fault.NotSignedIn, s.store.remove(context.WithoutCancel(ctx), x.Request, session))
	}
	if len(cookies) == 0 { // of a store whose cookie stays as it is
		return written, nil
	}
	return written, s.setCookies(x, cookies, func() bool { return s.store.isOver(written) }, s.settings.Name)
}
