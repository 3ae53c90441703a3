package session

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/shared"
)

// Settings are what sessions and attempts need to know of the application. They have been checked and completed.
// Revocations alone need what is marked so, because an API has no sessions.
type Settings struct {
	// Name is the name of the session's cookie; the names of attempts begin with it.
	Name string
	// OtherName is the name that it would have with another Domain or Path, or "".
	OtherName string
	// Base is the address of the application, and Origin its scheme and host. Attempts and sessions are bound to it.
	Base   *url.URL
	Origin string
	// Cookie has the attributes of the cookies, without MaxAge.
	Cookie sessions.Options
	// Store keeps the sessions, each call for StoreTimeout at most. Without one they are in cookies.
	Store        sessions.Store
	StoreTimeout time.Duration
	// Secrets are what seals, the current one first. Purpose says for which application. Revocations need them, too.
	Secrets []string
	Purpose func(what string) string

	// Lifetime and IdleTimeout bound a session; an IdleTimeout of 0 does not. Revocations need the Lifetime, too.
	Lifetime, IdleTimeout time.Duration
	// RevalidateAfter is when Logto is asked again: 0 when the ID token expires, a negative value never. Revocations need
	// it, too.
	RevalidateAfter time.Duration
	// MaxStale is for how long a session goes on while Logto cannot be asked.
	MaxStale time.Duration
	// ClockSkew is by how much the clocks of instances may differ, LogoutTokenMemory is longer than any logout token is
	// accepted. Revocations need both, too.
	ClockSkew, LogoutTokenMemory time.Duration

	// Shared is what the instances know together. Revocations need it, and what follows, too.
	Shared *shared.State
	Now    func() time.Time
	Logger *slog.Logger

	// Logto is asked for tokens.
	Logto Logto
	// ReadMemo reads in the ID token of a session what the session is to remember of it.
	ReadMemo func(*Session) (memo any, err error)
	// Observe is told that a session is refreshed, and by ended how that went.
	Observe func(ctx context.Context, subject string) (ended func(error))
}

// Logto is what sessions ask Logto for. *logto.Provider does it.
type Logto interface {
	Refresh(ctx context.Context, refreshToken, resource, organization string) (*oauth.Tokens, error)
	VerifyRefreshed(ctx context.Context, original string, got *oauth.Tokens, freshness time.Duration) (expiry time.Time, err error)
	Revoke(ctx context.Context, refreshToken string) error
}
