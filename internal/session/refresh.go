package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/flight"
	"github.com/logtogin/logtogin/internal/oauth"
)

// Refreshing a session: once, however many requests, instances and browsers need it.

const (
	// maxAccessTokens is how many access tokens a session remembers; the latest stay.
	maxAccessTokens = 16

	// maxResultPause is the last of the pauses in which the result of another
	// instance is waited for.
	maxResultPause = 400 * time.Millisecond

	// refreshTimeout bounds a refresh, like any call to Logto.
	refreshTimeout = oauth.RequestTimeout
)

// need is what a request wants of a session.
type need struct {
	target Target
	// isMet reports whether a version of the session is sufficient: the version of the request, or a newer version.
	isMet func(*Session) bool
}

// refresh returns the newest version of a session, in which the need is met. It asks
// Logto if no version that is known will do; requests of one session with the same
// target share a call, others wait for their turn. ctx ends the waiting and not the
// refresh, whose result is remembered.
//
// The errors are ErrNotSignedIn if the session has ended, ErrTokenExpired without a
// refresh token, *ProviderError, ErrInvalidToken, ErrProviderUnavailable,
// ErrStoreUnavailable, and the cause of ctx.
func (s *Sessions) refresh(ctx context.Context, r *http.Request, session *Session, need need) (*Session, error) {
	for {
		newest := s.versions.newestHere(session)
		if err := s.store.goOn(ctx, r, newest); err != nil {
			return nil, err
		}
		if need.isMet(newest) {
			return newest, nil
		}
		if newest.RefreshToken == "" {
			return nil, fault.TokenExpired
		}
		made, isMine, err := s.share(ctx, r, session, need.target, func(ctx context.Context, r *http.Request) (*Session, error) {
			return s.runRefresh(ctx, r, session, need)
		})
		if isMine || errors.Is(err, fault.NotSignedIn) || (made.target == need.target && (err != nil || need.isMet(made.session))) {
			return made.session, err
		}
		// What another request has asked for may not do.
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// clearing is the target of a refresh that asks for no token; it is no URI.
var clearing = Target{Resource: "clear access tokens"}

// clear makes a version of the session without access tokens.
func (s *Sessions) clear(ctx context.Context, r *http.Request, session *Session) (*Session, error) {
	for {
		made, isMine, err := s.share(ctx, r, session, clearing, func(ctx context.Context, r *http.Request) (*Session, error) {
			return s.runClear(ctx, r, session)
		})
		switch {
		case isMine, errors.Is(err, fault.NotSignedIn):
			return made.session, err
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
	}
}

// refreshed is what a refresh has come to, and which access token it was for.
type refreshed struct {
	target  Target
	session *Session
}

// share waits for run, or for what makes another version of the session already. run gets a context and a request
// that outlive the caller, because no refresh may depend on the request that happened to need it first.
func (s *Sessions) share(ctx context.Context, r *http.Request, session *Session, target Target, run func(context.Context, *http.Request) (*Session, error)) (made refreshed, isMine bool, err error) {
	r = r.Clone(context.Background()) // now, because the handler may change r when nobody waits any more
	refreshing, isMine := s.refreshes.Start(context.Background(), session.ID, func(ctx context.Context) (refreshed, error) {
		made := refreshed{target: target}
		err := withoutPanic(func() (err error) { // or the others would not learn the target
			made.session, err = run(ctx, r.WithContext(ctx))
			return err
		})
		return made, err
	})
	made, err = refreshing.Wait(ctx)
	if errors.Is(err, flight.ErrNoResult) {
		err = fault.Unavailable(err)
	}
	return made, isMine, err
}

// withoutPanic makes an error of a panic.
func withoutPanic(run func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%w: panic: %v", flight.ErrNoResult, reason)
		}
	}()
	return run()
}

func (s *Sessions) runClear(ctx context.Context, r *http.Request, session *Session) (*Session, error) {
	versions := s.versions
	release, _ := versions.claim(ctx, versions.newestHere(session), func(*Session) bool { return false })
	defer release(false)
	for {
		newest, err := s.newest(ctx, r, session)
		if err != nil {
			return nil, err
		}
		cleared := newest.next("")
		cleared.AccessTokens = nil
		if versions.remember(ctx, newest, cleared) {
			return s.keep(ctx, r, newest, cleared)
		}
		// Another instance has refreshed it at the same moment.
		if theirs, err := s.newestOfOthers(ctx, r, newest); err != nil || theirs.Version == newest.Version {
			versions.note(ctx, cleared)
			return s.keep(ctx, r, newest, cleared)
		}
	}
}

// runRefresh asks Logto, unless somebody else has.
func (s *Sessions) runRefresh(ctx context.Context, r *http.Request, session *Session, need need) (*Session, error) {
	versions := s.versions
	newest, err := s.newest(ctx, r, session)
	if err != nil || need.isMet(newest) {
		return newest, err
	}
	isMade := false
	release, hasWaited := versions.claim(ctx, newest, need.isMet)
	defer func() { release(isMade) }()
	if hasWaited {
		if newest, err = s.newest(ctx, r, newest); err != nil {
			return nil, err
		}
	}
	for {
		if need.isMet(newest) {
			return newest, nil
		}
		next, err := s.askForTokens(ctx, newest, need.target)
		isFirst := next != nil && versions.remember(ctx, newest, next)
		isMade = isMade || isFirst
		switch {
		case err == nil && isFirst:
			return s.keep(ctx, r, newest, next)
		case err != nil && isFirst:
			_, _ = s.keep(ctx, r, newest, next)
			return nil, err
		case err != nil && !isRefused(err, need.target):
			return nil, err
		}
		// Somebody else has refreshed it, or may have used the refresh token: then theirs
		// is the result.
		theirs, unknown := s.newestOfOthers(ctx, r, newest)
		switch {
		case unknown != nil:
			return nil, unknown
		case theirs.Version > newest.Version:
			newest = theirs
		case err == nil: // it is not to be had
			versions.note(ctx, next)
			return s.keep(ctx, r, newest, next)
		default:
			return nil, s.endRefused(ctx, r, newest)
		}
	}
}

// newestOfOthers is newest for a refresh that somebody else may have made at the same
// moment, whose result then is about to be there.
func (s *Sessions) newestOfOthers(ctx context.Context, r *http.Request, session *Session) (*Session, error) {
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		newest, err := s.newest(ctx, r, session)
		if err != nil || newest.Version > session.Version || pause > maxResultPause || !s.hasOthers() {
			return newest, err
		}
		if !sleep(ctx, pause) {
			return newest, nil
		}
	}
}

// hasOthers reports whether there is a place where another instance's result can be.
func (s *Sessions) hasOthers() bool {
	return s.versions.shared.Exists() || s.store.sessions.Remembers()
}

// newest is the newest version of the session that this instance, the others or the
// store know of.
func (s *Sessions) newest(ctx context.Context, r *http.Request, session *Session) (*Session, error) {
	newest := s.versions.newestAnywhere(ctx, session)
	if s.hasEndedAnywhere(ctx, session) {
		return nil, fault.NotSignedIn
	}
	stored, err := s.store.reload(ctx, r, newest)
	if err != nil {
		return nil, err
	}
	if stored.Version > newest.Version {
		return stored, nil
	}
	return newest, nil
}

// hasEndedAnywhere reports whether the session has been ended, here or, as far as that can
// be known, at another instance until now.
func (s *Sessions) hasEndedAnywhere(ctx context.Context, session *Session) bool {
	s.revocations.CatchUp(ctx)
	return s.store.hasEnded(session)
}

// askForTokens makes the next version of a session from an answer of Logto's. With an error
// there may be a version all the same: it has only the new refresh token, because Logto has replaced the old one.
func (s *Sessions) askForTokens(ctx context.Context, session *Session, target Target) (*Session, error) {
	if err := s.backingOff(session); err != nil {
		return nil, err
	}
	if err := s.denied(session, target); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	asked, ended := s.settings.Now(), s.settings.Observe(ctx, session.Subject)
	got, err := s.settings.Logto.Refresh(ctx, session.RefreshToken, target.Resource, target.Organization)
	var next *Session
	if err == nil {
		next, err = s.nextVersion(ctx, session, got, target, asked)
	}
	if err != nil && got != nil && !errors.Is(err, fault.AnotherUser) {
		if kept := session.next(got.RefreshToken); kept.Replacements > session.Replacements {
			next = kept
		}
	}
	ended(err)
	return next, s.noteOutcome(ctx, session, target, err)
}

// nextVersion is the session with what a refresh has yielded that was begun at that time.
// An answer without a refresh token or an ID token leaves the earlier token.
func (s *Sessions) nextVersion(ctx context.Context, session *Session, got *oauth.Tokens, target Target, asked time.Time) (*Session, error) {
	now := s.settings.Now()
	next := session.next(got.RefreshToken)
	next.ConfirmedAt = asked.Truncate(time.Millisecond)
	if got.IDToken != "" {
		expiry, err := s.settings.Logto.VerifyRefreshed(ctx, session.IDToken, got, AttemptLifetime)
		if err != nil {
			return nil, err
		}
		next.IDToken, next.IDTokenExpires, next.Memo = got.IDToken, expiry, nil
	}
	next.AccessTokens = append([]AccessToken{s.newAccessToken(session.Subject, got, target)},
		slices.DeleteFunc(slices.Clone(session.AccessTokens), func(token AccessToken) bool {
			return token.Target() == target || !now.Before(token.Expires) || s.hasChanged(session)
		})...)
	next.AccessTokens = next.AccessTokens[:min(len(next.AccessTokens), maxAccessTokens)]
	return next, nil
}

// keep writes the next version into a store that remembers. A sign-out that came in
// between wins.
func (s *Sessions) keep(ctx context.Context, r *http.Request, before, next *Session) (*Session, error) {
	err := s.store.updateStored(ctx, r, next)
	if err != nil && !errors.Is(err, fault.NotSignedIn) {
		s.settings.Logger.WarnContext(ctx, "logtogin: a refreshed session could not be written; it is remembered", "error", err)
	}
	if errors.Is(err, fault.NotSignedIn) || s.hasEndedAnywhere(ctx, next) {
		s.logUndeleted(ctx, s.store.remove(ctx, r, next))
		if next.Replacements > before.Replacements {
			s.RevokeAtLogto(ctx, Ended{withToken: []*Session{next}})
		}
		return nil, fault.NotSignedIn
	}
	return next, nil
}

// RefusedError is the ErrNotSignedIn of a session that Logto does not renew. The application gets it, and may write it out
// as JSON, so the session is in no exported field.
type RefusedError struct{ refused *Session }

// Session is the session that has ended.
func (e *RefusedError) Session() *Session { return e.refused }

func (*RefusedError) Error() string {
	return fault.NotSignedIn.Error() + ": Logto does not renew the session"
}

// Unwrap makes it an ErrNotSignedIn.
func (*RefusedError) Unwrap() error { return fault.NotSignedIn }

// newAccessToken is the access token of an answer, with what it was asked for. One that guards refuse, because its user
// has just been revoked, is renewed as soon as a new one is accepted.
func (s *Sessions) newAccessToken(subject string, got *oauth.Tokens, target Target) AccessToken {
	token := AccessToken{
		Resource: target.Resource, Organization: target.Organization,
		Token: got.AccessToken, Scope: got.Scope, Expires: got.Expires, RenewAt: got.RenewAt,
	}
	if until := s.revocations.refusesTokensUntil(subject); !until.IsZero() {
		token.RenewAt = earlier(token.RenewAt, until.Add(time.Second))
	}
	return token
}
