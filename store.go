package logtogin

import (
	"context"
	"net/http"
	"time"

	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/shared"
	"github.com/logtogin/logtogin/internal/web"
)

// From Config.Store and Config.SharedState to package session, which keeps the sessions.

// SharedState is a memory that the instances of an application have in common; see
// Config.SharedState. Package redisstate keeps it in Redis, and memorystate in the memory of one process.
// What it is given to keep is sealed or says nothing, and its keys are hashes where they name a session.
//
// It may forget: then a session is refreshed twice, which Logto forgives for 3
// seconds, and an instance does not learn of a sign-out that it does not know yet. It must
// not invent. One clock decides when a lifetime has ended: the server's, if there is a server.
// All methods are called concurrently, with a context that ends after half a
// second, after which nobody waits for them; their errors are logged and otherwise ignored.
// logtotest.SharedStateContract tests all of this.
type SharedState interface {
	// Get returns the value of a key. ok is false if it has none, or if the
	// lifetime of the one it had is over.
	Get(ctx context.Context, key string) (value string, ok bool, err error)

	// Set gives a key a value for the lifetime, in the place of any other. A lifetime of 0 or less ends at once.
	Set(ctx context.Context, key, value string, lifetime time.Duration) error

	// SetIfAbsent is Set for a key that has no value, and reports whether that
	// was so. Of several calls at the same moment, one succeeds, also if they have the same value.
	SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (set bool, err error)

	// Delete removes the value of a key, if it has one.
	Delete(ctx context.Context, key string) error

	// Append adds an entry to the end of a log, which begins with the first one. It is kept
	// for the lifetime at least. at is the time by the one clock: of two calls, the one that begins after
	// the other has returned gets no earlier time. Once Append has returned, each Read finds the entry that has a
	// cursor before it, also if later entries have been read already.
	Append(ctx context.Context, log, entry string, lifetime time.Duration) (at time.Time, err error)

	// Read returns the entries of a log that follow a cursor, the oldest first and not more
	// than limit of them, and the cursor of the last one. The cursor "" is before all
	// entries. Fewer than limit are returned at the end of the log only. A log that does not exist has none, and the next
	// cursor is "" then.
	//
	// The error is ErrLogReplaced if the cursor is not one of this log, or of a part of it that is gone: the
	// log was deleted or restored, or belongs to another database, or entries were dropped before their
	// time that follow the cursor.
	Read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, err error)
}

// ErrLogReplaced is returned by SharedState.Read: the cursor belongs to another log than the one that is there.
// The instance starts again with the cursor "", and publishes what it knows.
var ErrLogReplaced = shared.ErrLogReplaced

// sessionSettings are what sessions need to know of the configuration.
func (a *Auth) sessionSettings() session.Settings {
	s := a.settings
	settings := session.Settings{
		Secrets:           s.secrets,
		Purpose:           s.purpose,
		Lifetime:          s.SessionLifetime,
		IdleTimeout:       s.IdleTimeout,
		RevalidateAfter:   s.RevalidateAfter,
		MaxStale:          s.MaxStale,
		ClockSkew:         s.ClockSkew,
		LogoutTokenMemory: logoutTokenMemory,
		Shared:            a.shared,
		Now:               s.Now,
		Logger:            s.Logger,
		Logto:             a.provider,
		ReadMemo:          func(read *session.Session) (any, error) { return claimsOf(read) },
		Observe: func(ctx context.Context, subject string) (ended func(error)) {
			return s.timed(ctx, Event{Kind: EventRefresh, Subject: subject})
		},
	}
	if s.base == nil {
		return settings // an API has no sessions
	}
	settings.Name = s.Cookies.Name + "_" + s.applicationKey(4)
	switch s.Cookies.Name { // the default depends on Domain and Path
	case boundCookieName:
		settings.OtherName = defaultCookieName + "_" + s.applicationKey(4)
	case defaultCookieName:
		settings.OtherName = boundCookieName + "_" + s.applicationKey(4)
	}
	settings.Base, settings.Origin = s.base, web.Origin(s.base)
	settings.Cookie = sessions.Options{
		Path:     s.Cookies.Path,
		Domain:   s.Cookies.Domain,
		Secure:   s.base.Scheme == "https",
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	}
	settings.Store, settings.StoreTimeout = s.Store, s.StoreTimeout
	return settings
}

// claimsOf are the claims of the ID token of a session, for the caller alone.
func claimsOf(current *session.Session) (*Claims, error) {
	if known, ok := current.Memo.(*Claims); ok {
		return known.own(), nil
	}
	token, err := logto.ReadIDToken(current.IDToken)
	if err != nil {
		return nil, ErrNotSignedIn
	}
	return newClaims(token), nil
}
