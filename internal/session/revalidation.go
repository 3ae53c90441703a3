package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

// revalidationPatience is how long a request waits to learn that its session is as
// good as it was, if Logto has answered the last time. The refresh itself goes on, and a
// later request learns of it.
const revalidationPatience = 2 * time.Second

var errNoAnswerYet = fmt.Errorf("%w: no answer yet", fault.ProviderUnavailable)

// Revalidated is Current for requests that must know of changes at Logto: a session
// that Logto has not confirmed for long is refreshed. While that is not possible the
// session goes on, for as long as Settings.MaxStale says.
func (s *Sessions) Revalidated(ctx context.Context, x *Exchange) (*Session, error) {
	session, err := s.Current(ctx, x)
	if err != nil || !s.mustBeConfirmed(session) {
		return session, err
	}
	patience := revalidationPatience
	if s.hasFailed(session.ID) {
		patience = revalidationPatience / 10
	}
	waiting, cancel := context.WithTimeoutCause(ctx, patience, errNoAnswerYet)
	defer cancel()
	newest, err := s.refreshFor(waiting, x, session, need{Target{}, func(version *Session) bool { return !s.mustBeConfirmed(version) }})
	switch {
	case err == nil:
		return newest, nil
	case newest == nil, errors.Is(err, fault.StoreUnavailable):
		return nil, err
	case ctx.Err() != nil: // that the client has hung up is no outage of Logto
		return nil, err
	case s.DoubtAbout(session) != nil, s.isTooStale(newest):
		return nil, fault.Unavailable(err)
	}
	// It has waited, and the user may have signed out meanwhile.
	s.revocations.KeepUp(ctx)
	if now := s.asOfNow(ctx, x, known{by: s, session: newest}); now.err != nil {
		if errors.Is(now.err, fault.NotSignedIn) {
			s.makeVisitor(x, session)
		}
		return nil, now.err
	}
	return newest, nil
}

// StillGood returns why the session of a request is not good enough any more, without a call to Logto.
func (s *Sessions) StillGood(ctx context.Context, x *Exchange) error {
	session, err := s.Current(ctx, x)
	if err != nil {
		return err
	}
	return s.DoubtAbout(session)
}

// mustBeConfirmed reports whether a request has to ask Logto about the session before it goes on.
func (s *Sessions) mustBeConfirmed(session *Session) bool {
	return s.IsStale(session) || s.DoubtAbout(session) != nil
}

// refreshFor refreshes the session of a request, which goes on with the newest
// version. With an error, that is the newest one that is known, or nil if there is none any
// more.
func (s *Sessions) refreshFor(ctx context.Context, x *Exchange, session *Session, need need) (*Session, error) {
	newest, err := s.refresh(ctx, x.Request, session, need)
	switch {
	case errors.Is(err, fault.NotSignedIn):
		s.makeVisitor(x, session)
		return nil, err
	case err != nil:
		newest = s.versions.newestHere(session)
	}
	adopted, gone := s.adopt(ctx, x, session, newest)
	if gone != nil {
		return nil, gone
	}
	return adopted, err
}

// adopt makes a newer version of a session the request's, and gives it to the browser
// if it lies in cookies. If that comes too late, or fails, the version is remembered,
// and a later request adopts it. The error is ErrNotSignedIn if the session has ended
// meanwhile.
func (s *Sessions) adopt(ctx context.Context, x *Exchange, session, newest *Session) (*Session, error) {
	own := *newest
	own.Entry = session.Entry
	if !x.Known.replace(session.ID, known{by: s, session: &own}) {
		return &own, nil
	}
	if own.Version == session.Version || own.Entry == nil || s.store.sessions.Remembers() || x.Response.HasBegun() {
		return &own, nil
	}
	switch _, err := s.write(ctx, x, &own); {
	case errors.Is(err, fault.NotSignedIn):
		return nil, fault.NotSignedIn
	case err != nil && !errors.Is(err, fault.ResponseStarted):
		s.settings.Logger.WarnContext(ctx, "logtogin: a refreshed session could not be written; it is remembered", "error", err)
	}
	return &own, nil
}

// EndRefused ends the session of a request that Logto refuses, and returns why, an ErrNotSignedIn.
func (s *Sessions) EndRefused(ctx context.Context, x *Exchange, session *Session) error {
	err := s.endRefused(context.WithoutCancel(ctx), x.Request, session)
	s.makeVisitor(x, session)
	return err
}
