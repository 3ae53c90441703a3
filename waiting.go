package logtogin

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	attempts "github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// Sign-ins that guards start: one tab of a browser goes to Logto, and the others wait for it.

// newAttemptID is the ID of an attempt that the request begins.
func (a *Auth) newAttemptID(r *http.Request, isByGuard, isCrossSite bool) attempts.ID {
	return attempts.NewID(a.settings.Now(), isByGuard, isCrossSite || isOfAnotherSite(r))
}

// isOfAnotherSite reports whether a page of another site has led here, or the request comes from a frame,
// in which Logto's pages do not open.
func isOfAnotherSite(r *http.Request) bool {
	return web.IsCrossSite(r.Header) || web.IsFramed(r.Header)
}

// announceSignIn returns the sign-in route with a start whose attempt it has announced. The error is
// ErrResponseStarted.
func (a *Auth) announceSignIn(x *exchange, start attempts.Start, returnTo string) (string, error) {
	start.Step, start.Attempt = attempts.Announced, a.newAttemptID(x.request, true, start.IsCrossSite)
	start.IsCrossSite = start.Attempt.IsCrossSite()
	if err := a.store.announce(x, start.Attempt); err != nil {
		return "", err
	}
	return a.startPath(start, returnTo), nil
}

// startPath is the sign-in route with a start.
func (a *Auth) startPath(start attempts.Start, returnTo string) string {
	path := a.signInPath(returnTo)
	separator := "?"
	if path != a.signInPath("") {
		separator = "&"
	}
	return path + separator + "attempt=" + url.QueryEscape(a.store.attempts.SealStart(start))
}

// serveStart goes on with a sign-in that a guard has started.
func (a *Auth) serveStart(c *gin.Context, start attempts.Start, opts SignInOptions) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return // there is no request to answer
	}
	if !a.mayReturnTo(opts.ReturnTo) {
		opts.ReturnTo = ""
	}
	if isOfAnotherSite(x.request) && !start.IsCrossSite { // a link with an address of another browser
		start.IsCrossSite = true
		if start.Step != attempts.Insists {
			start.Step = attempts.Begins
		}
	}
	turn := a.store.attempts.Next(start, x.request)
	address, err := a.continueStart(ctx, x, start, turn, opts)
	if err != nil {
		_ = a.takeBack(x, start) // or other tabs would wait for it
	}
	switch {
	case x.isLate(c):
	case address == "" && err == nil:
		a.showWaitingPage(c, start, turn, opts.ReturnTo)
	default:
		a.lead(c, x, address, err, opts.ReturnTo)
	}
}

// continueStart returns where a sign-in goes on, or "" if it waits.
func (a *Auth) continueStart(ctx context.Context, x *exchange, start attempts.Start, turn attempts.Turn, opts SignInOptions) (string, error) {
	record, err := a.current(ctx, x)
	switch {
	case errors.Is(err, ErrStoreUnavailable):
		return "", err
	case err == nil && start.MayReturnWith(a.sessionNow(x, record)): // another tab has signed in
		return a.external(opts.ReturnTo), a.takeBack(x, start)
	}
	switch turn.Move {
	case attempts.Wait:
		return "", a.takeBack(x, start)
	case attempts.WaitOnce:
		return "", nil
	case attempts.Announce:
		return a.announceSignIn(x, start, opts.ReturnTo)
	}
	id := start.Attempt
	if !start.IsAnnounced() {
		id = a.newAttemptID(x.request, false, start.IsCrossSite)
	}
	opts.MaxAge = start.MaxAge
	if start.WantsLogin {
		opts.Prompt = PromptLoginConsent // "login" alone would yield no refresh token
	}
	return a.startSignIn(ctx, x, opts, id)
}

// takeBack makes the browser forget the attempt that was announced for a start.
func (a *Auth) takeBack(x *exchange, start attempts.Start) error {
	if !start.IsAnnounced() {
		return nil
	}
	return a.store.removeAttempt(x, start.Attempt)
}

// sessionBefore is the session that the browser has, whether it is good or not.
func (a *Auth) sessionBefore(ctx context.Context, x *exchange) attempts.Before {
	_, _ = a.current(ctx, x) // if it cannot be read, its cookie has to do
	known, _ := x.known.get(a)
	before := attempts.Before{Start: known.endedStart, Cookie: a.store.attempts.CookieOf(x.request)}
	if known.session != nil {
		before.Start = known.session.startedAt
	}
	return before
}

// sessionNow is a session of the request, to be compared with the one before.
func (a *Auth) sessionNow(x *exchange, record *session) attempts.Before {
	return attempts.Before{Start: record.startedAt, Cookie: a.store.attempts.CookieOf(x.request)}
}
