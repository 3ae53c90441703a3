package logtogin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
)

// When Logto is left alone: after an outage, and after a refusal that asking again would not
// change.

const (
	// After a failure of Logto a session waits for this long, twice as long after
	// each further one, before Logto is asked again on its behalf.
	minBackOff = 250 * time.Millisecond
	maxBackOff = 2 * time.Second

	maxFailures = 16 << 10

	// denialMemory is how long a token that Logto has refused to a session, or an API has
	// refused twice, is not asked for again: which ones are is up to the user.
	denialMemory = 5 * time.Second

	// maxDenials is how many different tokens may be denied to a session in that time before
	// it gets none at all: organizations can come from requests, which can make them up.
	maxDenials = 16
)

// failure is an outage of Logto as a session has met it.
type failure struct {
	err   error
	count int
	until time.Time
}

// everyone is the session ID under which an outage is noted that no single session can
// have caused.
const everyone = ""

// denialKey is what was denied to which version of a session: a later one may get it.
type denialKey struct {
	id      string
	version uint64
	target  tokenTarget
}

// denial is why, and how many there are for the key.
type denial struct {
	reason error
	count  int
}

// anyTarget stands for all that a session was denied; it is no URI.
var anyTarget = tokenTarget{resource: "any"}

func (a *Auth) deny(record *session, target tokenTarget, reason error) {
	until := a.settings.Now().Add(denialMemory)
	all := denialKey{id: record.id, target: anyTarget}
	before, _ := a.refresher.denials.Get(all)
	a.refresher.denials.Put(all, denial{reason, before.count + 1}, until)
	a.refresher.denials.Put(denialKey{record.id, record.version, target}, denial{reason, 1}, until)
}

// denied returns why a session does not get a token, as far as Logto need not be asked.
func (a *Auth) denied(record *session, target tokenTarget) error {
	if all, _ := a.refresher.denials.Get(denialKey{id: record.id, target: anyTarget}); all.count >= maxDenials {
		return all.reason
	}
	if a.hasChanged(record) {
		return nil
	}
	its, _ := a.refresher.denials.Get(denialKey{record.id, record.version, target})
	return its.reason
}

// backingOff returns the last failure as long as Logto is left alone because of it.
func (a *Auth) backingOff(id string) error {
	for _, whose := range []string{id, everyone} {
		if last, ok := a.refresher.failures.Get(whose); ok && a.settings.Now().Before(last.until) {
			return last.err
		}
	}
	return nil
}

// hasFailed reports whether the last refresh that concerns the session has failed.
func (a *Auth) hasFailed(id string) bool {
	_, own := a.refresher.failures.Get(id)
	_, others := a.refresher.failures.Get(everyone)
	return own || others
}

// noteOutcome begins or ends backing off, and tells the operator of what is the
// operator's to mend.
func (a *Auth) noteOutcome(ctx context.Context, id string, err error) {
	var refused *ProviderError
	switch {
	case err == nil, errors.As(err, &refused) && !isOperators(refused):
		a.refresher.failures.Delete(id)
		a.refresher.failures.Delete(everyone)
		return
	case errors.Is(err, fault.AnotherUser), a.refresher.owner.Err() != nil: // it is no outage
		return
	}
	a.settings.Logger.ErrorContext(ctx, "logtogin: a session could not be refreshed", "error", err)
	a.backOff(id, err)
	if !logto.IsAnswered(err) || logto.StatusOf(err) == http.StatusTooManyRequests {
		a.backOff(everyone, err)
	}
}

func (a *Auth) backOff(whose string, err error) {
	now := a.settings.Now()
	last, _ := a.refresher.failures.Get(whose)
	pause := min(minBackOff<<min(last.count, 10), maxBackOff)
	if asked := logto.RetryAfterOf(err); asked > pause {
		pause = asked
	}
	a.refresher.failures.Put(whose, failure{err, last.count + 1, now.Add(pause)}, now.Add(pause+time.Minute))
}
