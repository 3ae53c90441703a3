package logtogin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/session"
)

// What the operator learns: events, to be counted and traced, and log lines of requests that failed.

// Event is what Config.OnEvent is told. There is none for an ordinary guarded page.
type Event struct {
	// Kind is what has happened.
	Kind EventKind

	// Duration is how long a call to Logto or a refresh took; 0 for other events, which
	// have just happened.
	Duration time.Duration

	// Err is why it failed; nil if it went well. Like all errors of this package it has no
	// secret in it.
	Err error
	// Reason is a short name for Err, one of a dozen, for counting: "no_attempt",
	// "provider_unavailable". "" if it went well.
	Reason string

	// Cause is, of an EventRevocation, what has caused it: "user", "other_sessions", "session", "logout_token",
	// "removed_user", "password_reset", "changed_user". "" for other events.
	Cause string

	// Subject is the user's ID in Logto, if it is known. It is personal data: not for
	// metrics.
	Subject string

	// Call is, of an EventProviderCall, the endpoint: "discovery", "keys", "token",
	// "refresh", "user_info" or "revocation"; of an EventCacheHit, what was at hand:
	// "access_token", "bearer_token" or "user_info".
	Call string
}

// EventKind is what has happened. Others may be added: ignore those that you don't know.
type EventKind string

const (
	// EventSignInStarted: a browser is sent to Logto.
	EventSignInStarted EventKind = "sign_in_started"
	// EventSignInFinished: a user has signed in.
	EventSignInFinished EventKind = "sign_in_finished"
	// EventSignInFailed: a callback did not end with a session.
	EventSignInFailed EventKind = "sign_in_failed"
	// EventSignedOut: a user has signed out here.
	EventSignedOut EventKind = "signed_out"
	// EventRefresh: Logto was asked for new tokens of a session.
	EventRefresh EventKind = "refresh"
	// EventCacheHit: something needed no call to Logto, or no verification.
	EventCacheHit EventKind = "cache_hit"
	// EventProviderCall: a call to Logto.
	EventProviderCall EventKind = "provider_call"
	// EventRevocation: sessions were ended, or are to be refreshed, by a logout token, a
	// webhook or the application, at this instance.
	EventRevocation EventKind = "revocation"
)

// emit tells the application of an event. What that does with it stands in nobody's way.
func (s *settings) emit(ctx context.Context, event Event) {
	if s.OnEvent == nil {
		return
	}
	defer func() {
		if reason := recover(); reason != nil {
			s.Logger.ErrorContext(ctx, "logtogin: Config.OnEvent panics", "event", string(event.Kind), "panic", reason)
		}
	}()
	if event.Err != nil {
		event.Reason = reasonOf(event.Err)
	}
	s.OnEvent(ctx, event)
}

// timed begins a call whose event is emitted with the error when it has ended.
func (s *settings) timed(ctx context.Context, event Event) (ended func(err error)) {
	if s.OnEvent == nil {
		return func(error) {}
	}
	began := time.Now()
	return func(err error) {
		event.Duration, event.Err = time.Since(began), err
		s.emit(ctx, event)
	}
}

// reasonOf names an error such that there are few names.
func reasonOf(err error) string {
	var refused *ProviderError
	for _, known := range []struct {
		is   error
		name string
	}{
		{ErrNoAttempt, "no_attempt"},
		{ErrInvalidCallback, "invalid_callback"},
		{ErrIssuerMismatch, "issuer_mismatch"},
		{ErrCancelled, "cancelled"},
		{ErrSignInRefused, "refused_by_application"},
		{fault.NotAuthenticatedAgain, "not_authenticated_again"},
		{ErrStoreUnavailable, "store_unavailable"},
		{ErrProviderUnavailable, "provider_unavailable"},
		{ErrSessionTooLarge, "session_too_large"},
		{ErrNotSignedIn, "session_ended"},
		{ErrInvalidToken, "invalid_token"},
		{context.Canceled, "request_ended"},
		{context.DeadlineExceeded, "timed_out"},
	} {
		if errors.Is(err, known.is) {
			return known.name
		}
	}
	if errors.As(err, &refused) {
		return "refused_by_logto"
	}
	return "other"
}

// logError tells the operator of what the operator has to correct. Refused
// visitors, and clients that have left, are of the level Info.
func (a *Auth) logError(ctx context.Context, x *session.Exchange, status int, err error) {
	switch {
	case errors.Is(err, ErrNotSignedIn) && status == http.StatusUnauthorized:
	case errors.Is(err, errFutile), isOfOperator(err):
		a.settings.Logger.WarnContext(ctx, "logtogin: request refused", "route", x.Route, "status", status, "error", err)
	case (status >= http.StatusInternalServerError && ctx.Err() == nil) || isOfLogto(err):
		a.settings.Logger.ErrorContext(ctx, "logtogin: request failed", "route", x.Route, "status", status, "error", err, "sub", a.subjectOf(x, err))
	default:
		a.settings.Logger.InfoContext(ctx, "logtogin: request refused", "route", x.Route, "status", status, "error", err, "sub", a.subjectOf(x, err))
	}
}

// subjectOf is the ID of the user whom an error is about, or else whose request it is, as far as that is known.
func (a *Auth) subjectOf(x *session.Exchange, err error) string {
	var bearer *bearerError
	if errors.As(err, &bearer) {
		return bearer.subject
	}
	subject := subjectOf(err)
	if current := a.sessions.KnownHere(x); current != nil && subject == "" {
		subject = current.Subject
	}
	return subject
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
