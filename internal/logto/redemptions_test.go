package logto

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

func TestARedemptionWaitsTwoSecondsForItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newTestProvider(t, answers{}, nil)
		withCode := &AuthorizationResponse{Code: "code"}
		var end func()
		for range maxRedemptions {
			var err error
			if end, err = p.BeginRedemption(t.Context(), withCode); err != nil {
				t.Fatal(err)
			}
		}
		asked := time.Now()
		if _, err := p.BeginRedemption(t.Context(), withCode); !errors.Is(err, fault.ProviderUnavailable) || time.Since(asked) != 2*time.Second {
			t.Errorf("got %v after %v, want an outage after 2s", err, time.Since(asked))
		}
		gone := errors.New("the client has gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		if _, err := p.BeginRedemption(ctx, withCode); !errors.Is(err, gone) {
			t.Errorf("got %v, want the cause of the context", err)
		}
		if _, err := p.BeginRedemption(t.Context(), &AuthorizationResponse{}); err != nil {
			t.Errorf("without a code: %v", err)
		}
		time.AfterFunc(time.Second, end)
		if _, err := p.BeginRedemption(t.Context(), withCode); err != nil {
			t.Errorf("after another has ended: %v", err)
		}
		end() // again, which frees no second turn
		if _, err := p.BeginRedemption(t.Context(), withCode); err == nil {
			t.Error("there are more turns than before")
		}
	})
}

func TestRedemptionsPauseWhenLogtoAsksForIt(t *testing.T) {
	t.Parallel()
	for retryAfter, want := range map[string]time.Duration{"7": 7 * time.Second, "": time.Second} {
		now := &clock{}
		p := newTestProvider(t, answers{tokenPath: {status: http.StatusTooManyRequests, retryAfter: retryAfter}}, func(s *Settings) { s.Now = now.now })
		if _, err := p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback"); oauth.StatusOf(err) != http.StatusTooManyRequests {
			t.Fatal(err)
		}
		for passed, isPaused := range map[time.Duration]bool{0: true, want - 1: true, want: false} {
			now.passed.Store(int64(passed))
			if _, err := p.BeginRedemption(t.Context(), &AuthorizationResponse{Code: "code"}); errors.Is(err, fault.ProviderUnavailable) != isPaused {
				t.Errorf("Retry-After %q, after %v: got %v, want a pause: %t", retryAfter, passed, err, isPaused)
			}
		}
	}
}
