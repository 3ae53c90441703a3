package logtogin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

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

// leadToSignIn sends a page navigation that a guard has refused to the sign-in route, and announces the
// attempt that is to begin there.
func (a *Auth) leadToSignIn(c *gin.Context, start attempts.Start, returnTo string) {
	_, x, err := a.exchangeOf(c)
	if err != nil {
		return // there is no request to answer
	}
	address, err := a.announceSignIn(x, start, returnTo)
	if err != nil {
		a.answerError(c, err, returnTo, web.ShowsPage(c.Request))
		return
	}
	redirect(c, address)
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
	address, err := a.takeTurn(ctx, x, start, turn, opts)
	if x.isLate(c) {
		return
	}
	if address == "" && err == nil {
		a.showWaitingPage(c, start, turn, opts.ReturnTo)
		return
	}
	a.lead(c, x, address, err, opts.ReturnTo)
}

// takeTurn returns where a sign-in goes on, or "" if it waits.
func (a *Auth) takeTurn(ctx context.Context, x *exchange, start attempts.Start, turn attempts.Turn, opts SignInOptions) (string, error) {
	if start.Step != attempts.Insists {
		record, err := a.current(ctx, x)
		switch {
		case errors.Is(err, ErrStoreUnavailable):
			return "", err
		case err == nil && start.EndsBy(record.startedAt): // another tab has signed in
			return a.external(opts.ReturnTo), a.takeBack(x, start)
		}
	}
	switch turn.Step {
	case attempts.Waits:
		return "", a.takeBack(x, start)
	case attempts.GaveWay:
		return "", nil
	case attempts.Begins:
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

// refusedStart is the start of the session with which a guard was not content, or zero.
func (a *Auth) refusedStart(c *gin.Context, err error) time.Time {
	var refused *refusedSession
	if errors.As(err, &refused) {
		return refused.session.startedAt
	}
	ctx, x, missing := a.exchangeOf(c)
	if missing != nil {
		return time.Time{}
	}
	return a.startOfSession(ctx, x)
}

// startOfSession is the start of the session that the browser has, also of one that has ended, or zero.
func (a *Auth) startOfSession(ctx context.Context, x *exchange) time.Time {
	if record, err := a.current(ctx, x); err == nil {
		return record.startedAt
	}
	known, _ := x.known.get(a)
	return known.endedStart
}
