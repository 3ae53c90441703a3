package logtogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
)

// Refreshing a session: once, however many requests, instances and browsers need it.

const (
	// maxAccessTokens is how many access tokens a session remembers; the latest stay.
	maxAccessTokens = 16

	// maxResultPause is the last of the pauses in which the result of another
	// instance is waited for.
	maxResultPause = 400 * time.Millisecond
)

// refresher runs at most one refresh of a session at a time. No refresh depends on the
// request that happened to need it first.
type refresher struct {
	owner   context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	flights   map[string]*flight // by session ID
	isClosing bool

	failures     *cache.Cache[string, failure]
	denials      *cache.Cache[denialKey, denial]
	unacceptable *cache.Cache[string, unacceptable] // by session ID
	warning      unacceptableWarning                // with mu
}

// flight is a refresh that is under way. session and err may be read once done is
// closed.
type flight struct {
	target  session.Target
	done    chan struct{}
	session *session.Session
	err     error
}

func newRefresher(now func() time.Time) *refresher {
	owner, cancel := context.WithCancel(context.Background())
	return &refresher{
		owner: owner, cancel: cancel,
		flights:      map[string]*flight{},
		failures:     cache.New[string, failure](maxFailures, now),
		denials:      cache.New[denialKey, denial](maxFailures, now),
		unacceptable: cache.New[string, unacceptable](maxFailures, now),
	}
}

// close ends refreshes that are under way and waits for them.
func (f *refresher) close() {
	f.mu.Lock()
	f.isClosing = true
	f.mu.Unlock()
	f.cancel()
	f.running.Wait()
}

// need is what a request wants of a session.
type need struct {
	target session.Target
	// isMet reports whether a version of the session, that of the request or a newer
	// one, is good enough.
	isMet func(*session.Session) bool
}

// refresh returns the newest version of a session, in which the need is met. It asks
// Logto if no version that is known will do; requests of one session with the same
// target share a call, others wait for their turn. ctx ends the waiting and not the
// refresh, whose result is remembered.
//
// The errors are ErrNotSignedIn if the session has ended, ErrTokenExpired without a
// refresh token, *ProviderError, ErrInvalidToken, ErrProviderUnavailable,
// ErrStoreUnavailable, and that of ctx.
func (a *Auth) refresh(ctx context.Context, r *http.Request, record *session.Session, need need) (*session.Session, error) {
	for {
		newest := a.store.memory.newestHere(record)
		switch isOver, err := a.store.isOverNow(ctx, r, newest); {
		case err != nil:
			return nil, err
		case isOver:
			return nil, ErrNotSignedIn
		}
		if need.isMet(newest) {
			return newest, nil
		}
		if newest.RefreshToken == "" {
			return nil, ErrTokenExpired
		}
		under, isMine := a.refresher.start(r, record, need.target, func(ctx context.Context, r *http.Request) (*session.Session, error) {
			return a.runRefresh(ctx, r, record, need)
		})
		if err := under.wait(ctx); err != nil {
			return nil, err
		}
		// What another request has asked for may not do.
		if isMine || errors.Is(under.err, ErrNotSignedIn) || (under.target == need.target && (under.err != nil || need.isMet(under.session))) {
			return under.session, under.err
		}
	}
}

// start begins to make the next version of a session in a goroutine of its own, which
// is given a context and a request that outlive those of the caller. If one is being made
// already, it returns that.
func (f *refresher) start(r *http.Request, record *session.Session, target session.Target, run func(context.Context, *http.Request) (*session.Session, error)) (under *flight, isMine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under := f.flights[record.ID]; under != nil {
		return under, false
	}
	under = &flight{target: target, done: make(chan struct{})}
	if f.isClosing {
		under.err = fmt.Errorf("%w: Close has been called", ErrProviderUnavailable)
		close(under.done)
		return under, true
	}
	f.flights[record.ID] = under
	r = r.Clone(f.owner)
	f.running.Go(func() {
		defer func() {
			// The goroutine is nobody's request, so a panic in it, for example of
			// Config.HTTPClient, would end the application.
			if reason := recover(); reason != nil {
				under.session, under.err = nil, fmt.Errorf("%w: panic: %v", ErrProviderUnavailable, reason)
			}
			f.mu.Lock()
			delete(f.flights, record.ID)
			f.mu.Unlock()
			close(under.done)
		}()
		under.session, under.err = run(f.owner, r)
	})
	return under, true
}

// wait returns the error of the context if that ends first.
func (under *flight) wait(ctx context.Context) error {
	select {
	case <-under.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// clearing is the target of a flight that asks for no token; it is no URI.
var clearing = session.Target{Resource: "clear access tokens"}

// clear makes a version of the session without access tokens.
func (a *Auth) clear(ctx context.Context, r *http.Request, record *session.Session) (*session.Session, error) {
	for {
		under, isMine := a.refresher.start(r, record, clearing, func(ctx context.Context, r *http.Request) (*session.Session, error) {
			return a.runClear(ctx, r, record)
		})
		if err := under.wait(ctx); err != nil {
			return nil, err
		}
		if isMine || errors.Is(under.err, ErrNotSignedIn) {
			return under.session, under.err
		}
	}
}

func (a *Auth) runClear(ctx context.Context, r *http.Request, record *session.Session) (*session.Session, error) {
	memory := a.store.memory
	release, _ := memory.claim(ctx, memory.newestHere(record), func(*session.Session) bool { return true })
	defer release(false)
	for {
		newest, err := a.newest(ctx, r, record)
		if err != nil {
			return nil, err
		}
		cleared := *newest
		cleared.Version++
		cleared.AccessTokens = nil
		if memory.remember(ctx, newest, &cleared) {
			return a.keep(ctx, r, newest, &cleared)
		}
		// Another instance has refreshed it at the same moment.
		if theirs, err := a.newestOfOthers(ctx, r, newest); err != nil || theirs.Version == newest.Version {
			memory.note(ctx, &cleared)
			return a.keep(ctx, r, newest, &cleared)
		}
	}
}

// runRefresh asks Logto, unless somebody else has.
func (a *Auth) runRefresh(ctx context.Context, r *http.Request, record *session.Session, need need) (*session.Session, error) {
	memory := a.store.memory
	newest, err := a.newest(ctx, r, record)
	if err != nil || need.isMet(newest) {
		return newest, err
	}
	isMade := false
	release, hasWaited := memory.claim(ctx, newest, func(other *session.Session) bool { return !need.isMet(other) })
	defer func() { release(isMade) }()
	if hasWaited {
		if newest, err = a.newest(ctx, r, newest); err != nil {
			return nil, err
		}
	}
	for {
		if need.isMet(newest) {
			return newest, nil
		}
		next, err := a.askForTokens(ctx, newest, need.target)
		isFirst := next != nil && memory.remember(ctx, newest, next)
		isMade = isMade || isFirst
		switch {
		case err == nil && isFirst:
			return a.keep(ctx, r, newest, next)
		case err != nil && isFirst:
			_, _ = a.keep(ctx, r, newest, next)
			return nil, err
		case err != nil && !isRefused(err, need.target):
			return nil, err
		}
		// Somebody else has refreshed it, or may have used the refresh token: then theirs
		// is the result.
		theirs, unknown := a.newestOfOthers(ctx, r, newest)
		switch {
		case unknown != nil:
			return nil, unknown
		case theirs.Version > newest.Version:
			newest = theirs
		case err == nil: // it is not to be had
			memory.note(ctx, next)
			return a.keep(ctx, r, newest, next)
		default:
			return nil, a.endRefused(ctx, r, newest)
		}
	}
}

// newestOfOthers is newest for a refresh that somebody else may have made at the same
// moment, whose result then is about to be there.
func (a *Auth) newestOfOthers(ctx context.Context, r *http.Request, record *session.Session) (*session.Session, error) {
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		newest, err := a.newest(ctx, r, record)
		if err != nil || newest.Version > record.Version || pause > maxResultPause || !a.hasOthers() {
			return newest, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return newest, nil
		}
	}
}

// hasOthers reports whether there is a place where another instance's result can be.
func (a *Auth) hasOthers() bool {
	return a.store.memory.shared.state != nil || a.store.sessions.Remembers()
}

// newest is the newest version of the session that this instance, the others or the
// store know of.
func (a *Auth) newest(ctx context.Context, r *http.Request, record *session.Session) (*session.Session, error) {
	newest := a.store.memory.newestAnywhere(ctx, record)
	if a.hasEndedAnywhere(ctx, record) {
		return nil, ErrNotSignedIn
	}
	stored, err := a.store.reloadSession(ctx, r, newest)
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
func (a *Auth) hasEndedAnywhere(ctx context.Context, record *session.Session) bool {
	a.revocations.endings.catchUp(ctx)
	return a.store.hasEnded(record)
}

// askForTokens makes the next version of a session from an answer of Logto's. With an error,
// a version has the refresh token of an answer of which nothing else can be used: Logto has
// replaced the one before it.
func (a *Auth) askForTokens(ctx context.Context, record *session.Session, target session.Target) (*session.Session, error) {
	if err := a.backingOff(record); err != nil {
		return nil, err
	}
	if err := a.denied(record, target); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, logto.RequestTimeout)
	defer cancel()
	asked, ended := a.settings.Now(), a.settings.timed(ctx, Event{Kind: EventRefresh, Subject: record.Subject})
	got, err := a.provider.Refresh(ctx, record.RefreshToken, target.Resource, target.Organization)
	var next *session.Session
	if err == nil {
		next, err = a.nextVersion(ctx, record, got, target, asked)
	}
	if err != nil && got != nil && !errors.Is(err, fault.AnotherUser) {
		next = record.WithRefreshToken(got.RefreshToken)
	}
	ended(err)
	return next, a.noteOutcome(ctx, record, target, err)
}

// nextVersion is the session with what a refresh has yielded that was begun at that time.
// An answer without a refresh token or an ID token leaves those that are there.
func (a *Auth) nextVersion(ctx context.Context, record *session.Session, got *logto.Tokens, target session.Target, asked time.Time) (*session.Session, error) {
	now := a.settings.Now()
	next := *record
	next.Version++
	next.ConfirmedAt = asked.Truncate(time.Millisecond)
	if got.RefreshToken != "" && got.RefreshToken != record.RefreshToken {
		next.RefreshToken = got.RefreshToken
		next.Replacements++
	}
	if got.IDToken != "" {
		original, err := logto.ReadIDToken(record.IDToken)
		if err != nil {
			return nil, ErrNotSignedIn
		}
		token, err := a.provider.VerifyIDToken(ctx, got.IDToken, logto.IDTokenExpectation{
			Original:    &original,
			AccessToken: got.AccessToken,
			Freshness:   session.AttemptLifetime,
		})
		if err != nil {
			return nil, err
		}
		next.IDToken, next.IDTokenExpires, next.Memo = got.IDToken, token.Expiry, nil
	}
	next.AccessTokens = append([]session.AccessToken{a.newAccessToken(record.Subject, got, target)},
		slices.DeleteFunc(slices.Clone(record.AccessTokens), func(token session.AccessToken) bool {
			return token.Target() == target || !now.Before(token.Expires) || a.hasChanged(record)
		})...)
	next.AccessTokens = next.AccessTokens[:min(len(next.AccessTokens), maxAccessTokens)]
	return &next, nil
}

// keep writes the next version into a store that remembers. A sign-out that came in
// between wins.
func (a *Auth) keep(ctx context.Context, r *http.Request, before, next *session.Session) (*session.Session, error) {
	err := a.store.writeRecord(ctx, r, next)
	if err != nil && !errors.Is(err, ErrNotSignedIn) {
		a.settings.Logger.WarnContext(ctx, "logtogin: a refreshed session could not be written; it is remembered", "error", err)
	}
	if errors.Is(err, ErrNotSignedIn) || a.hasEndedAnywhere(ctx, next) {
		if err := a.store.removeRecord(ctx, r, next.Entry); err != nil {
			a.settings.Logger.ErrorContext(ctx, "logtogin: the record of a session that has ended could not be deleted", "error", err)
		}
		if next.RefreshToken != before.RefreshToken {
			a.revoke(ctx, []*session.Session{next})
		}
		return nil, ErrNotSignedIn
	}
	return next, nil
}

// endRefused ends a session that Logto does not renew.
func (a *Auth) endRefused(ctx context.Context, r *http.Request, record *session.Session) error {
	a.settings.Logger.InfoContext(ctx, "logtogin: a session has ended, because Logto does not renew it: its user was suspended or deleted, or its refresh token has expired or was revoked, for example because of Maximum allowed grants", "sub", record.Subject)
	a.store.end(ctx, record)
	if err := a.store.removeRecord(ctx, r, record.Entry); err != nil {
		a.settings.Logger.ErrorContext(ctx, "logtogin: the record of a session that has ended could not be deleted", "error", err)
	}
	return &refusedSession{record}
}

// refusedSession is the ErrNotSignedIn of a session that Logto does not renew.
type refusedSession struct{ session *session.Session }

func (*refusedSession) Error() string {
	return ErrNotSignedIn.Error() + ": Logto does not renew the session"
}

// Unwrap makes it an ErrNotSignedIn.
func (*refusedSession) Unwrap() error { return ErrNotSignedIn }
