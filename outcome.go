package logtogin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
)

// What became of an attempt: it is spent once, and callbacks that come again share
// the outcome.

const (
	// outcomeMemory is how long a callback that comes again gets the outcome
	// of the first one.
	outcomeMemory = 2 * time.Minute
	// codeMemory is how long the instances know that a code has been redeemed.
	codeMemory  = 10 * time.Minute
	maxOutcomes = 16 << 10
	maxSpent    = 128 << 10
)

// outcome is what became of an attempt. All fields but the first two may be read once
// done is closed.
type outcome struct {
	attempt  session.ID
	answer   [sha256.Size]byte // of the callback that spent the attempt, as a digest
	done     chan struct{}
	session  *session.Session
	returnTo string // a path of this application
	err      error  // ErrNoAttempt until there is something better to say
	// isResumed says that the session was there before.
	isResumed bool
	cookies   http.Header // the Set-Cookie lines that go with it
}

// spend marks the attempt as used up and returns the outcome to be filled in, or
// that of the callback that came first, here or at another instance.
// Before it waits for another instance, it ends the turn.
func (a *Auth) spend(ctx context.Context, started *session.Attempt, answer *logto.AuthorizationResponse, endTurn func()) (its *outcome, isFirst bool) {
	its = &outcome{attempt: started.ID, answer: answer.Digest(), done: make(chan struct{}), err: ErrNoAttempt}
	if first, found := a.outcomes.GetOrPut(started.Challenge(), its, a.settings.Now().Add(outcomeMemory)); found {
		return first, false
	}
	if _, spent := a.spent.GetOrPut(started.Challenge(), struct{}{}, started.StartedAt.Add(session.AttemptLifetime)); spent {
		close(its.done)
		return its, false
	}
	// The others need not know of what strangers make up. The code itself is good for a
	// minute at Logto.
	if answer.Code != "" && !a.store.memory.spend(ctx, started, codeMemory) {
		endTurn()
		a.store.memory.awaitOutcome(ctx, started, its)
		close(its.done)
		return its, false
	}
	return its, true
}

// tellOthers lets the other instances share the outcome of a code. They need not know of a code that Logto has
// refused: to ask again yields the same, and strangers can make up many.
func (a *Auth) tellOthers(ctx context.Context, started *session.Attempt, answer *logto.AuthorizationResponse, its *outcome) {
	var refused *ProviderError
	switch {
	case answer.Code == "":
	case errors.As(its.err, &refused) && its.session == nil && !errors.Is(its.err, ErrSignInRefused):
		a.store.memory.unspend(ctx, started)
	default:
		a.store.memory.tellOutcome(ctx, started, its)
	}
}

// shareOutcome waits for the callback that came first and answers as it did.
//
// It must be the very same callback: an attacker who has planted an attempt in somebody's browser
// knows its state, but not the code that came with it, and must not share in what the victim's
// callback yields.
func (a *Auth) shareOutcome(ctx context.Context, x *exchange, first *outcome, opened *session.Attempt, answer *logto.AuthorizationResponse) (*SignInResult, error) {
	isSame := first.answer == answer.Digest()
	if isSame {
		select {
		case <-first.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if !isSame || errors.Is(first.err, ErrNoAttempt) || (first.session != nil && a.store.hasEnded(first.session)) {
		return a.withoutAttempt(ctx, x, opened, answer)
	}
	if err := a.store.setOutcome(x, first); err != nil {
		return nil, err
	}
	if first.session != nil {
		a.remember(x, first.session)
	}
	result, err := a.resultOf(first)
	if err == nil {
		result.Resumed = true
	}
	return result, err
}

// setOutcome gives the browser the cookies of an outcome: the attempt's goes and the session's
// comes in one response, never one without the other. The error is ErrResponseStarted.
func (st *store) setOutcome(x *exchange, its *outcome) error {
	isVain := never
	if its.session != nil {
		isVain = func() bool { return st.isOver(its.session) }
	}
	return st.setCookies(x, its.cookies, isVain, st.sessionName, st.attempts.NameOf(its.attempt))
}

// resultOf is what an outcome means to one of the callbacks that share it.
func (a *Auth) resultOf(shared *outcome) (*SignInResult, error) {
	if shared.err != nil {
		return nil, shared.err
	}
	claims, err := claimsOf(shared.session)
	if err != nil {
		return nil, err
	}
	return &SignInResult{Claims: claims, ReturnTo: a.external(shared.returnTo), Resumed: shared.isResumed}, nil
}

// withoutAttempt answers a callback whose attempt the browser does not have, or has used. If it has
// signed in meanwhile, by another tab or this very callback, the user goes on to the page that the
// attempt was for. Nothing else of the callback counts: the state alone is worth nothing in another
// browser.
func (a *Auth) withoutAttempt(ctx context.Context, x *exchange, opened *session.Attempt, answer *logto.AuthorizationResponse) (*SignInResult, error) {
	record, err := a.current(ctx, x)
	isEmpty := *answer == (logto.AuthorizationResponse{})
	switch {
	case err != nil && !errors.Is(err, ErrNotSignedIn):
		return nil, err
	case err == nil && isEmpty:
		return a.resume(record, "")
	case isEmpty:
		return nil, ErrCancelled
	case err == nil && opened != nil && answer.Code != "" && opened.ResumesBy(a.sessionNow(x, record), a.settings.Now(), a.settings.ClockSkew):
		return a.resume(record, opened.ReturnTo)
	}
	return nil, a.whyNoAttempt(x.request, opened)
}

// whyNoAttempt is an ErrNoAttempt that tells the operator what the usual cause is. opened is the attempt
// of the state, or nil if that cannot be opened.
func (a *Auth) whyNoAttempt(r *http.Request, opened *session.Attempt) error {
	pending := len(a.store.attempts.Pending(r))
	switch {
	case opened != nil && opened.IsExpired(a.settings.Now()):
		return fmt.Errorf("%w: it was started more than an hour ago", ErrNoAttempt)
	case pending > 0:
		return fmt.Errorf("%w: of its %d under way, none has this state; it was finished, is more than an hour old, or was started elsewhere", ErrNoAttempt, pending)
	case len(r.Header["Cookie"]) == 0:
		return fmt.Errorf("%w: it sent no cookie at all; it blocks cookies, something in front makes them SameSite=Strict or drops them, or the sign-in was started under another address than %s", ErrNoAttempt, a.settings.BaseURL)
	}
	return fmt.Errorf("%w: it sent cookies, but none of a sign-in; it was finished, is more than an hour old, or was started under another address than %s", ErrNoAttempt, a.settings.BaseURL)
}

// resume is the result of a callback by a session that was there before.
func (a *Auth) resume(record *session.Session, returnTo string) (*SignInResult, error) {
	claims, err := claimsOf(record)
	if err != nil {
		return nil, err
	}
	return &SignInResult{Claims: claims, ReturnTo: a.external(returnTo), Resumed: true}, nil
}
