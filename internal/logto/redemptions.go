package logto

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

// redemptions bound the token calls that strangers can cause: everybody can begin a sign-in and make up its
// code. Refreshes and other calls for users are not among them and do not wait for them. Safe for concurrent
// use.
type redemptions struct {
	turns       chan struct{} // as many as there are redemptions under way
	pausedUntil atomic.Int64  // Logto has asked for a pause; Unix time in nanoseconds
}

const (
	maxRedemptions     = 32
	redemptionPatience = 2 * time.Second
)

var errBusy = fmt.Errorf("%w: too many sign-ins are being finished at once", fault.ProviderUnavailable)

// BeginRedemption waits until Redeem may be called for a response, at most 2 seconds. A response without a
// code does not wait. end must be called when Redeem has returned, and may be called again.
//
// The error is a fault.ProviderUnavailable, also while Logto wants no calls (RFC 6585, section 4), or the
// cause of ctx. The code has not been sent, and the callback can come again.
func (p *Provider) BeginRedemption(ctx context.Context, response *AuthorizationResponse) (end func(), err error) {
	r := &p.redemptions
	isPaused := func() bool { return p.settings.Now().UnixNano() < r.pausedUntil.Load() }
	switch {
	case response.Code == "":
		return func() {}, nil
	case isPaused():
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeoutCause(ctx, redemptionPatience, errBusy)
	defer cancel()
	select {
	case r.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	end = sync.OnceFunc(func() { <-r.turns })
	if isPaused() { // since
		end()
		return nil, errBusy
	}
	return end, nil
}

// note starts a pause if the error of a Redeem says that Logto wants one.
func (r *redemptions) note(err error, now time.Time) {
	if oauth.StatusOf(err) == http.StatusTooManyRequests {
		r.pausedUntil.Store(now.Add(max(oauth.RetryAfterOf(err), time.Second)).UnixNano())
	}
}
