package logtogin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
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
// have caused, or a refusal of the application itself.
const everyone = ""

// denialKey is what was denied to which version of a session: a later one may get it.
type denialKey struct {
	id      string
	version uint64
	target  session.Target
}

// denial is why, and how many there are for the key.
type denial struct {
	reason error
	count  int
}

// anyTarget stands for all that a session was denied; it is no URI.
var anyTarget = session.Target{Resource: "any"}

func (a *Auth) deny(record *session.Session, target session.Target, reason error) {
	until := a.settings.Now().Add(denialMemory)
	all := denialKey{id: record.ID, target: anyTarget}
	before, _ := a.refresher.denials.Get(all)
	a.refresher.denials.Put(all, denial{reason, before.count + 1}, until)
	a.refresher.denials.Put(denialKey{record.ID, record.Version, target}, denial{reason, 1}, until)
}

// denied returns why a session does not get a token, as far as Logto need not be asked.
func (a *Auth) denied(record *session.Session, target session.Target) error {
	if all, _ := a.refresher.denials.Get(denialKey{id: record.ID, target: anyTarget}); all.count >= maxDenials && target != (session.Target{}) {
		return all.reason
	}
	if a.hasChanged(record) {
		return nil
	}
	its, _ := a.refresher.denials.Get(denialKey{record.ID, record.Version, target})
	return its.reason
}

// unacceptablePause is how long Logto is left alone after an answer that must not be accepted:
// asking again at once would yield the same.
const unacceptablePause = time.Minute

// unacceptable is an answer that said something else about the user than it may say. Until there is
// another one nothing is done in the name of the session, because nobody knows what the user may
// do; but the session goes on, because it is not the user's fault.
type unacceptable struct {
	err   error
	since time.Time
	until time.Time // Logto is not asked again
}

func (a *Auth) noteUnacceptable(ctx context.Context, record *session.Session, err error) {
	now := a.settings.Now()
	a.refresher.unacceptable.Put(record.ID, unacceptable{err, now, now.Add(unacceptablePause)}, record.Expires)
	a.settings.Logger.ErrorContext(ctx, "logtogin: a session could not be refreshed; its requests are answered 503 until Logto's answer is acceptable", "error", err, "sub", record.Subject)
	if a.refresher.isOneOfMany(now) {
		a.settings.Logger.ErrorContext(ctx, "logtogin: the ID tokens of many sessions are not acceptable; compare the clock of this machine with Logto's, and Config.Endpoint with the Logto Console, and look for a proxy that changes answers; Diagnose helps", "error", err)
	}
}

// doubtAbout returns why the last word of Logto on the session must not be accepted, as far as this
// instance knows, or nil. Another instance may have got a better answer since.
func (a *Auth) doubtAbout(record *session.Session) error {
	last, ok := a.refresher.unacceptable.Get(record.ID)
	if !ok || record.ConfirmedAt.After(last.since) {
		return nil
	}
	return last.err
}

func (a *Auth) isUnacceptable(record *session.Session) bool { return a.doubtAbout(record) != nil }

// unacceptableWarning counts unacceptable answers, so that the operator hears of many once.
type unacceptableWarning struct {
	since time.Time
	count int
}

// manyUnacceptable in a minute are no coincidence.
const manyUnacceptable = 10

func (f *refresher) isOneOfMany(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.warning.since) >= time.Minute {
		f.warning = unacceptableWarning{since: now}
	}
	f.warning.count++
	return f.warning.count == manyUnacceptable
}

// backingOff returns the last failure as long as Logto is left alone because of it.
func (a *Auth) backingOff(record *session.Session) error {
	if last, ok := a.refresher.unacceptable.Get(record.ID); ok && a.isUnacceptable(record) && a.settings.Now().Before(last.until) {
		return last.err
	}
	for _, whose := range []string{record.ID, everyone} {
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

// noteOutcome says what a refresh has come to, and remembers it: Logto has confirmed the session,
// has refused the session or only this token, has sent something unacceptable, or there is an
// outage. Mistakes of the operator count as one, and so does a refusal that says nothing about the
// session. The operator is told of what only the operator can correct.
func (a *Auth) noteOutcome(ctx context.Context, record *session.Session, target session.Target, err error) error {
	var refused *ProviderError
	isRefusal := errors.As(err, &refused)
	isAboutToken := target != (session.Target{}) && ((isRefusal && !isOperators(refused)) || errors.Is(err, fault.OtherTokenType))
	switch {
	case err == nil:
		a.refresher.unacceptable.Delete(record.ID)
		a.endBackingOff(record.ID)
		return nil
	case isRefused(err, target):
		a.endBackingOff(record.ID)
		return err
	case isAboutToken:
		a.endBackingOff(record.ID)
		a.deny(record, target, err)
		return err
	case a.refresher.owner.Err() != nil:
		return err
	case errors.Is(err, ErrInvalidToken):
		err = fmt.Errorf("%w: Logto's answer is not acceptable: %w", ErrProviderUnavailable, err)
		a.noteUnacceptable(ctx, record, err)
		return err
	}
	isOthersToo := (isRefusal && isOfClient(refused)) || !logto.IsAnswered(err) || logto.StatusOf(err) == http.StatusTooManyRequests
	err = unavailable(err) // also a mistake of the operator
	level := slog.LevelError
	if a.hasFailed(record.ID) { // the operator knows
		level = slog.LevelDebug
	}
	a.settings.Logger.Log(ctx, level, "logtogin: a session could not be refreshed; it goes on for Config.MaxStale at most", "error", err, "sub", record.Subject)
	a.backOff(record.ID, err)
	if isOthersToo {
		a.backOff(everyone, err)
	}
	return err
}

// endBackingOff says that Logto has answered.
func (a *Auth) endBackingOff(id string) {
	a.refresher.failures.Delete(id)
	a.refresher.failures.Delete(everyone)
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

// isRefused reports whether Logto has ended the session: the refresh token is not valid any more, or the user may no
// longer use this application at all. With a resource or an organization, access_denied refuses the token only.
func isRefused(err error, target session.Target) bool {
	var refused *ProviderError
	if errors.As(err, &refused) {
		return refused.Code == "invalid_grant" || (refused.Code == "access_denied" && target == session.Target{})
	}
	return errors.Is(err, fault.AnotherUser)
}
