package session

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/logtogin/logtogin/internal/fault"
)

// flights run at most one refresh of a session at a time. No refresh depends on the
// request that happened to need it first.
type flights struct {
	owner   context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu        sync.Mutex
	bySession map[string]*flight // by its ID
}

// flight is a refresh that is under way. session and err may be read once done is
// closed.
type flight struct {
	target  Target
	done    chan struct{}
	session *Session
	err     error
}

func newFlights() *flights {
	owner, cancel := context.WithCancel(context.Background())
	return &flights{owner: owner, cancel: cancel, bySession: map[string]*flight{}}
}

// close ends refreshes that are under way and waits for them.
func (f *flights) close() {
	f.mu.Lock()
	f.cancel()
	f.mu.Unlock()
	f.running.Wait()
}

// start begins to make the next version of a session in a goroutine of its own, which
// is given a context and a request that outlive those of the caller. If one is being made
// already, it returns that.
func (f *flights) start(r *http.Request, session *Session, target Target, run func(context.Context, *http.Request) (*Session, error)) (under *flight, isMine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under := f.bySession[session.ID]; under != nil {
		return under, false
	}
	under = &flight{target: target, done: make(chan struct{})}
	if f.owner.Err() != nil {
		under.err = fmt.Errorf("%w: Close has been called", fault.ProviderUnavailable)
		close(under.done)
		return under, true
	}
	f.bySession[session.ID] = under
	r = r.Clone(f.owner)
	f.running.Go(func() {
		defer func() {
			// The goroutine is nobody's request, so a panic in it, for example of
			// Config.HTTPClient, would end the application.
			if reason := recover(); reason != nil {
				under.session, under.err = nil, fmt.Errorf("%w: panic: %v", fault.ProviderUnavailable, reason)
			}
			f.mu.Lock()
			delete(f.bySession, session.ID)
			f.mu.Unlock()
			close(under.done)
		}()
		under.session, under.err = run(f.owner, r)
	})
	return under, true
}

// wait returns the error of the context if that ends first.
func (under *flight) wait(ctx context.Context) error {
	select {
	case <-under.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
