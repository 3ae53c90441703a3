package logtogin

import (
	"context"

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
	_, err = a.orVisitor(ctx, x, a.sessions.Current)
	return err == nil
}

// orVisitor gets the session for a caller that takes an error for a visitor, so that
// nobody else tells the operator of it.
func (a *Auth) orVisitor(ctx context.Context, x *session.Exchange, get func(context.Context, *session.Exchange) (*session.Session, error)) (*session.Session, error) {
	isKnown := a.sessions.IsKnown(x)
	current, err := get(ctx, x)
	if err != nil && !isKnown {
		a.logError(ctx, x, err)
	}
	return current, err
}

// Claims returns the claims of the session's ID token, without a call to
// Logto. They are the caller's own: changing them changes nothing else. The
// error is ErrNotSignedIn, ErrStoreUnavailable or ErrNoRequest. Which page the request comes
// from is not checked: Guard is what protects against requests of other sites.
func (a *Auth) Claims(ctx context.Context) (*Claims, error) {
	_, _, current, err := a.sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	return claimsOf(current)
}

// IDToken returns the ID token as Logto sent it. It may have expired: it says
// who signed in, not that somebody may do something now. The error is
// ErrNotSignedIn, ErrStoreUnavailable or ErrNoRequest.
func (a *Auth) IDToken(ctx context.Context) (string, error) {
	_, _, current, err := a.sessionOf(ctx)
	if err != nil {
		return "", err
	}
	return current.IDToken, nil
}

// sessionOf returns the exchange that a caller's context belongs to, and its session. The error is
// ErrNoRequest, or an error of Current.
func (a *Auth) sessionOf(ctx context.Context) (context.Context, *session.Exchange, *session.Session, error) {
	ctx, x, err := a.exchangeOf(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	current, err := a.sessions.Current(ctx, x)
	return ctx, x, current, err
}
