package logtogin

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/page"
	"github.com/logtogin/logtogin/internal/session"
)

// Sign-ins that guards start: one tab of a browser goes to Logto, and the others wait for it.

// serveStart goes on with a sign-in that a guard has started.
func (a *Auth) serveStart(c *gin.Context, start session.Start, opts SignInOptions) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return // there is no request to answer
	}
	if !a.mayReturnTo(opts.ReturnTo) {
		opts.ReturnTo = ""
	}
	if isOfAnotherSite(x.Request) && !start.IsCrossSite { // a link with an address of another browser
		start.IsCrossSite = true
		if start.Step != session.Insists {
			start.Step = session.Begins
		}
	}
	turn := a.sessions.Attempts.Next(start, x.Request)
	address, err := a.continueStart(ctx, x, start, turn, opts)
	if err != nil {
		_ = a.takeBack(x, start) // or other tabs would wait for it
	}
	switch {
	case isLate(c, x):
	case address == "" && err == nil:
		step := session.Waits
		if turn.Move == session.WaitOnce {
			step = session.GaveWay
		}
		next := a.startPath(start.With(step, turn.Attempt), opts.ReturnTo)
		insisting := a.startPath(start.With(session.Insists, session.ID{}), opts.ReturnTo)
		showPage(c, http.StatusOK, page.Waiting(next, turn.Pause, insisting))
	default:
		a.lead(c, x, address, err, opts.ReturnTo)
	}
}

// continueStart returns where a sign-in goes on, or "" if it waits.
func (a *Auth) continueStart(ctx context.Context, x *session.Exchange, start session.Start, turn session.Turn, opts SignInOptions) (string, error) {
	current, err := a.sessions.Current(ctx, x)
	switch {
	case errors.Is(err, ErrStoreUnavailable):
		return "", err
	case err == nil && start.MayReturnWith(a.sessions.BeforeOf(x, current)): // another tab has signed in
		return a.external(opts.ReturnTo), a.takeBack(x, start)
	}
	switch turn.Move {
	case session.Wait:
		return "", a.takeBack(x, start)
	case session.WaitOnce:
		return "", nil
	case session.Announce:
		return a.announceSignIn(x, start, opts.ReturnTo)
	}
	id := start.Attempt
	if !start.IsAnnounced() {
		id = a.newAttemptID(x.Request, false, start.IsCrossSite)
	}
	opts.MaxAge = start.MaxAge
	if start.WantsLogin {
		opts.Prompt = PromptLoginConsent // "login" alone would yield no refresh token
	}
	return a.startSignIn(ctx, x, opts, id)
}

// takeBack makes the browser forget the attempt that was announced for a start.
func (a *Auth) takeBack(x *session.Exchange, start session.Start) error {
	if !start.IsAnnounced() {
		return nil
	}
	return a.sessions.RemoveAttempt(x, start.Attempt)
}
