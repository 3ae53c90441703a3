// Package session knows who is signed in and who is signing in. It keeps sessions in any store, makes newer versions of
// them by refreshing, and ends them; it keeps attempts to sign in, decides which of several goes to Logto first, and what
// became of each. It knows no router, no page and no token format.
//
// Start with Session in session.go and Sessions in sessions.go. The way of a request is exchange.go, current.go, store.go,
// and if Logto has to be asked revalidation.go, refresh.go, versions.go. The way of a sign-in is attempt.go, attempts.go,
// outcomes.go, begin.go. What ends a session is in end.go, revocation.go and revocations.go.
package session

import (
	"fmt"
	"sync/atomic"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/flight"
)

// Sessions are the sessions of the users of one application. They are safe for concurrent use.
type Sessions struct {
	Attempts *Attempts
	Outcomes *Outcomes

	store       *store
	revocations *Revocations
	versions    *versions
	refreshes   flight.Group[string, refreshed] // at most one of a session, by its ID
	backoff     *backoff

	// overwritten has the number of the last response that overwrote or deleted the cookie of a
	// session, for sign-outs whose responses come late.
	overwritten *cache.Cache[string, uint64]
	overwrites  atomic.Uint64

	settings Settings
}

// New returns the sessions of an application. Close ends what is under way; it leaves the revocations alone.
func New(s Settings, revocations *Revocations) (*Sessions, error) {
	attempts, err := newAttempts(s)
	if err != nil {
		return nil, err
	}
	versions, err := newVersions(s)
	if err != nil {
		return nil, err
	}
	store, err := newStore(s, revocations)
	if err != nil {
		return nil, err
	}
	return &Sessions{
		Attempts:    attempts,
		Outcomes:    newOutcomes(versions.sealedState),
		store:       store,
		revocations: revocations,
		versions:    versions,
		backoff:     newBackoff(s.Now),
		overwritten: cache.New[string, uint64](maxActive, s.Now),
		settings:    s,
	}, nil
}

// Name is the name of the session's cookie.
func (s *Sessions) Name() string { return s.settings.Name }

// Close ends refreshes that are under way and waits for them, and for calls of the store, not longer than one may take.
// The error is an ErrStoreUnavailable.
func (s *Sessions) Close() error {
	s.refreshes.Close()
	if err := s.store.sessions.Close(); err != nil {
		return fmt.Errorf("%w: %w", fault.StoreUnavailable, err)
	}
	return nil
}
