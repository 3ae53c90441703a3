package logtogin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
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
	// Reason is a short name for Err, for counting: "no_attempt",
	// "provider_unavailable". "" if it went well. docs/errors.md has them all.
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
		event.Reason = meaningOf(event.Err).reason
	}
	if about, ok := errors.AsType[*errorAbout](event.Err); ok {
		event.Subject = about.subject
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

// logError tells the operator of what the operator has to correct. Refused
// visitors, and clients that have left, are of the level Info.
func (a *Auth) logError(ctx context.Context, x *session.Exchange, err error) {
	found, text := meaningOf(err), "logtogin: request refused"
	switch {
	case found.level == levelNone:
		return
	case found.status >= http.StatusInternalServerError && ctx.Err() != nil:
		found.level = slog.LevelInfo
	case found.level == slog.LevelError:
		text = "logtogin: request failed"
	}
	a.settings.Logger.Log(ctx, found.level, text, "route", x.Route, "status", found.status, "error", err, "sub", a.subjectOf(x, err))
}

// subjectOf is the ID of the user whom an error is about, or else whose request it is, as far as that is known.
func (a *Auth) subjectOf(x *session.Exchange, err error) string {
	if about, ok := errors.AsType[*errorAbout](err); ok {
		return about.subject
	}
	if current := a.sessions.KnownHere(x); current != nil {
		return current.Subject
	}
	return ""
}

// logErrorOf is logError for a handler.
func (a *Auth) logErrorOf(c *gin.Context, err error) {
	if ctx, x, missing := a.exchangeOf(c); missing == nil {
		a.logError(ctx, x, err)
	}
}
