package logtogin

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/session"
)

// What the operator is told of requests that failed.

// logError tells the operator of what the operator has to correct. Refused
// visitors, and clients that have left, are of the level Info.
func (a *Auth) logError(ctx context.Context, x *session.Exchange, status int, err error) {
	switch {
	case errors.Is(err, ErrNotSignedIn) && status == http.StatusUnauthorized:
	case errors.Is(err, errFutile), isOfOperator(err):
		a.settings.Logger.WarnContext(ctx, "logtogin: request refused", "route", x.Route, "status", status, "error", err)
	case (status >= http.StatusInternalServerError && ctx.Err() == nil) || isOfLogto(err):
		a.settings.Logger.ErrorContext(ctx, "logtogin: request failed", "route", x.Route, "status", status, "error", err, "sub", subjectOf(err))
	default:
		subject := subjectOf(err)
		var bearer *bearerError
		if errors.As(err, &bearer) {
			subject = bearer.subject
		} else if current := a.sessions.KnownHere(x); current != nil && subject == "" {
			subject = current.Subject
		}
		a.settings.Logger.InfoContext(ctx, "logtogin: request refused", "route", x.Route, "status", status, "error", err, "sub", subject)
	}
}

// isOfOperator reports whether the operator has to change what the application is or asks for, which the error names.
// Until then nobody can sign in, or no token is issued or accepted. But visitors can make up the callback of a sign-in
// of their own, and a webhook, so the log has a warning and no error.
func isOfOperator(err error) bool {
	var refused *ProviderError
	switch {
	case errors.Is(err, ErrSignInRefused), errors.Is(err, ErrProviderUnavailable):
		return false
	case errors.Is(err, fault.Misconfigured), errors.Is(err, ErrIssuerMismatch):
		return true
	case !errors.As(err, &refused), refused.refusal().IsOfOperator(): // a refusal that Logto has sent to this server is an error
		return false
	}
	return isOfRegistration(refused) || (refused.Code == "server_error" && refused.Status == 0)
}

// isOfLogto reports whether Logto has sent a token that must not be accepted. Bearer tokens, logout tokens and webhooks
// can come from anybody.
func isOfLogto(err error) bool {
	var bearer *bearerError
	var sent *sentError
	return errors.Is(err, ErrInvalidToken) && !errors.As(err, &bearer) && !errors.As(err, &sent) && !errors.Is(err, ErrInsufficientRights)
}

// sentError is about a logout token or a webhook.
type sentError struct{ error }

func (e *sentError) Unwrap() error { return e.error }

// logErrorOf is logError for a handler.
func (a *Auth) logErrorOf(c *gin.Context, status int, err error) {
	if ctx, x, missing := a.exchangeOf(c); missing == nil {
		a.logError(ctx, x, status, err)
	}
}
