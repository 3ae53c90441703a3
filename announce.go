package logtogin

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// How a guard's redirect announces a sign-in, and what the sign-in route is told.

// newAttemptID is the ID of an attempt that the request begins.
func (a *Auth) newAttemptID(r *http.Request, isByGuard, isCrossSite bool) session.ID {
	return session.NewID(a.settings.Now(), isByGuard, isCrossSite || isOfAnotherSite(r))
}

// isOfAnotherSite reports whether a page of another site has led here, or the request comes from a frame,
// in which Logto's pages do not open.
func isOfAnotherSite(r *http.Request) bool {
	return web.IsCrossSite(r.Header) || web.IsFramed(r.Header)
}

// announceSignIn returns the sign-in route with a start whose attempt it has announced. The error is
// ErrResponseStarted.
func (a *Auth) announceSignIn(x *session.Exchange, start session.Start, returnTo string) (string, error) {
	start.Step, start.Attempt = session.Announced, a.newAttemptID(x.Request, true, start.IsCrossSite)
	start.IsCrossSite = start.Attempt.IsCrossSite()
	if err := a.sessions.Announce(x, start.Attempt); err != nil {
		return "", err
	}
	return a.startPath(start, returnTo), nil
}

// startPath is the sign-in route with a start.
func (a *Auth) startPath(start session.Start, returnTo string) string {
	path := a.signInPath(returnTo)
	separator := "?"
	if path != a.signInPath("") {
		separator = "&"
	}
	return path + separator + "attempt=" + url.QueryEscape(a.sessions.Attempts.SealStart(start))
}

// signInPathFor is the path of the sign-in that cures an error.
func (a *Auth) signInPathFor(c *gin.Context, how answering) string {
	if how.start != (session.Start{}) && a.routes.SignIn != "" {
		if ctx, x, err := a.exchangeOf(c); err == nil {
			how.start.Before = a.sessions.Before(ctx, x)
			return a.startPath(how.start, how.returnTo)
		}
	}
	return a.signInPath(how.returnTo)
}
