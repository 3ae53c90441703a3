package session

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

const wanted, denied = "https://wanted.example.com", "https://denied.example.com"

// slowLogto takes a second to answer, and has no token for denied.
type slowLogto struct{ noLogto }

func (slowLogto) Refresh(ctx context.Context, refreshToken, resource, _ string) (*oauth.Tokens, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch resource {
	case denied:
		return nil, fault.OtherTokenType
	case "it panics":
		panic("what Logto said")
	}
	return &oauth.Tokens{AccessToken: "token", RefreshToken: refreshToken, Expires: time.Now().Add(time.Hour), RenewAt: time.Now().Add(time.Hour)}, nil
}

// withSlowLogto tests the refreshes of one session in a bubble with a clock of its own.
func withSlowLogto(t *testing.T, test func(t *testing.T, s *Sessions, refresh func(ctx context.Context, resource string) error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(t, func(settings *Settings) { settings.Logto = slowLogto{} })
		now := time.Now()
		session := &Session{ID: "session", RefreshToken: "refresh token", StartedAt: now, ConfirmedAt: now, Expires: now.Add(24 * time.Hour)}
		test(t, s, func(ctx context.Context, resource string) error {
			_, err := s.refresh(ctx, httptest.NewRequest(http.MethodGet, "/", nil), session, s.tokenFor(Target{Resource: resource}))
			return err
		})
	})
}

func TestARefreshInheritsNoErrorOfAnotherToken(t *testing.T) {
	t.Parallel()
	withSlowLogto(t, func(t *testing.T, _ *Sessions, refresh func(context.Context, string) error) {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := refresh(t.Context(), denied); !errors.Is(err, fault.OtherTokenType) {
					t.Errorf("the token that is not to be had: got %v", err)
				}
			})
		}
		synctest.Wait()
		if err := refresh(t.Context(), wanted); err != nil {
			t.Errorf("the other token: got %v", err)
		}
		all.Wait()
	})
}

func TestARequestDoesNotWaitForTheTokenOfAnotherOneForLong(t *testing.T) {
	t.Parallel()
	withSlowLogto(t, func(t *testing.T, _ *Sessions, refresh func(context.Context, string) error) {
		var all sync.WaitGroup
		all.Go(func() {
			if err := refresh(t.Context(), denied); !errors.Is(err, fault.OtherTokenType) {
				t.Errorf("the first: got %v", err)
			}
		})
		synctest.Wait()
		began := time.Now()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errNoAnswerYet)
		defer cancel()
		if err := refresh(ctx, wanted); !errors.Is(err, errNoAnswerYet) || time.Since(began) != time.Millisecond {
			t.Errorf("the second: got %v after %v", err, time.Since(began))
		}
		all.Wait()
	})
}

func TestARefreshWithoutAResultIsAnOutage(t *testing.T) {
	t.Parallel()
	t.Run("after a panic", func(t *testing.T) {
		withSlowLogto(t, func(t *testing.T, _ *Sessions, refresh func(context.Context, string) error) {
			if err := refresh(t.Context(), "it panics"); !errors.Is(err, fault.ProviderUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("with Close", func(t *testing.T) {
		withSlowLogto(t, func(t *testing.T, s *Sessions, refresh func(context.Context, string) error) {
			var all sync.WaitGroup
			all.Go(func() {
				if err := refresh(t.Context(), wanted); err == nil {
					t.Error("got a token")
				}
				if s.hasFailed("session") {
					t.Error("Close is taken for an outage")
				}
			})
			synctest.Wait()
			s.refreshes.Close()
			all.Wait()
			if err := refresh(t.Context(), wanted); !errors.Is(err, fault.ProviderUnavailable) {
				t.Errorf("after Close: got %v", err)
			}
		})
	})
}
