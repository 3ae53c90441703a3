package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/flight"
	"github.com/logtogin/logtogin/internal/oauth"
)

// When Logto is left alone: after an outage, and after a refusal that asking again would not
// change.

const (
	// After a failure of Logto a session waits for this long, twice as long after
	// each further one, before Logto is asked again on its behalf.
	minBackOff = 250 * time.Millisecond
	maxBackOff = 2 * time.Second

	maxFailures = 16 << 10

	// denialMemory is how long a token is not requested again that Logto has refused to a session, or an API twice. Users
	// can influence which tokens are requested.
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
	target  Target
}

// denial is why, and how many there are for the key.
type denial struct {
	reason error
	count  int
}

// anyTarget stands for all that a session was denied; it is no URI.
var anyTarget = Target{Resource: "any"}

// backoff is what is remembered of failures, in bounded memory. It is safe for concurrent use.
type backoff struct {
	failures     *cache.Cache[string, failure] // by session ID
	denials      *cache.Cache[denialKey, denial]
	unacceptable *cache.Cache[string, unacceptable] // by session ID

	mu      sync.Mutex
	warning unacceptableWarning
}

func newBackoff(now func() time.Time) *backoff {
	return &backoff{
		failures:     cache.New[string, failure](maxFailures, now),
		denials:      cache.New[denialKey, denial](maxFailures, now),
		unacceptable: cache.New[string, unacceptable](maxFailures, now),
	}
}

// deny remembers that a session does not get a token.
func (s *Sessions) deny(session *Session, target Target, reason error) {
	until := s.settings.Now().Add(denialMemory)
	all := denialKey{id: session.ID, target: anyTarget}
	before, _ := s.backoff.denials.Get(all)
	s.backoff.denials.Put(all, denial{reason, before.count + 1}, until)
	s.backoff.denials.Put(denialKey{session.ID, session.Version, target}, denial{reason, 1}, until)
}

// denied returns why a session does not get a token, if that is known without asking Logto.
func (s *Sessions) denied(session *Session, target Target) error {
	if all, _ := s.backoff.denials.Get(denialKey{id: session.ID, target: anyTarget}); all.count >= maxDenials && target != (Target{}) {
		return all.reason
	}
	if s.hasChanged(session) {
		return nil
	}
	its, _ := s.backoff.denials.Get(denialKey{session.ID, session.Version, target})
	return its.reason
}

// unacceptablePause is how long Logto is left alone after an answer that must not be accepted:
// asking again at once would yield the same.
const unacceptablePause = time.Minute

// unacceptable is an answer whose ID token failed a check. Until a good one comes, the requests of the session are answered
// 503; the session does not end, because it is not the user's fault.
type unacceptable struct {
	err   error
	since time.Time
	until time.Time // Logto is not asked again
}

func (s *Sessions) noteUnacceptable(ctx context.Context, session *Session, err error) {
	now := s.settings.Now()
	s.backoff.unacceptable.Put(session.ID, unacceptable{err, now, now.Add(unacceptablePause)}, session.Expires)
	s.settings.Logger.ErrorContext(ctx, "logtogin: a session could not be refreshed; its requests are answered 503 until Logto's answer is acceptable", "error", err, "sub", session.Subject)
	if areMany := s.backoff.noteOneMore(now); areMany {
		s.settings.Logger.ErrorContext(ctx, "logtogin: the ID tokens of many sessions are not acceptable; compare the clock of this machine with Logto's, and Config.Endpoint with the Logto Console, and look for a proxy that changes answers; Diagnose helps", "error", err)
	}
}

// DoubtAbout returns why the last word of Logto on the session must not be accepted, as far as this
// instance knows, or nil. Another instance may have got a better answer since.
func (s *Sessions) DoubtAbout(session *Session) error {
	last, ok := s.backoff.unacceptable.Get(session.ID)
	if !ok || session.ConfirmedAt.After(last.since) {
		return nil
	}
	return last.err
}

// Doubts is how many sessions there are about which Logto has said something that must not be accepted. A nil *Sessions has none.
func (s *Sessions) Doubts() int {
	if s == nil {
		return 0
	}
	return s.backoff.unacceptable.Len()
}

// unacceptableWarning counts unacceptable answers, so that the operator hears of many once.
type unacceptableWarning struct {
	since time.Time
	count int
}

// manyUnacceptable in a minute are no coincidence.
const manyUnacceptable = 10

func (b *backoff) noteOneMore(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.warning.since) >= time.Minute {
		b.warning = unacceptableWarning{since: now}
	}
	b.warning.count++
	return b.warning.count == manyUnacceptable
}

// backingOff returns the last failure as long as Logto is left alone because of it.
func (s *Sessions) backingOff(session *Session) error {
	if last, ok := s.backoff.unacceptable.Get(session.ID); ok && s.DoubtAbout(session) != nil && s.settings.Now().Before(last.until) {
		return last.err
	}
	for _, whose := range []string{session.ID, everyone} {
		if last, ok := s.backoff.failures.Get(whose); ok && s.settings.Now().Before(last.until) {
			return last.err
		}
	}
	return nil
}

// hasFailed reports whether the last refresh that concerns the session has failed.
func (s *Sessions) hasFailed(id string) bool {
	_, own := s.backoff.failures.Get(id)
	_, others := s.backoff.failures.Get(everyone)
	return own || others
}

// noteOutcome says what a refresh has come to, and remembers it: Logto has confirmed the session,
// has refused the session or only this token, has sent something unacceptable, or there is an
// outage. Mistakes of the operator count as one, and so does a refusal that says nothing about the
// session. The operator is told of what only the operator can correct.
func (s *Sessions) noteOutcome(ctx context.Context, session *Session, target Target, err error) error {
	var refused *oauth.Refusal
	isRefusal := errors.As(err, &refused)
	isAboutToken := target != (Target{}) && ((isRefusal && !refused.IsOfOperator()) || errors.Is(err, fault.OtherTokenType))
	switch {
	case err == nil:
		s.backoff.unacceptable.Delete(session.ID)
		s.endBackingOff(session.ID)
		return nil
	case isRefused(err, target):
		s.endBackingOff(session.ID)
		return err
	case isAboutToken:
		s.endBackingOff(session.ID)
		s.deny(session, target, err)
		return err
	case errors.Is(context.Cause(ctx), flight.ErrClosed):
		return err
	case errors.Is(err, fault.InvalidToken):
		err = fmt.Errorf("%w: Logto's answer is not acceptable: %w", fault.ProviderUnavailable, err)
		s.noteUnacceptable(ctx, session, err)
		return err
	}
	isOthersToo := (isRefusal && refused.IsOfClient()) || !oauth.IsAnswered(err) || oauth.StatusOf(err) == http.StatusTooManyRequests
	err = fault.Unavailable(err) // also a mistake of the operator
	level := slog.LevelError
	if s.hasFailed(session.ID) { // the operator knows
		level = slog.LevelDebug
	}
	s.settings.Logger.Log(ctx, level, "logtogin: a session could not be refreshed; it goes on for Config.MaxStale at most", "error", err, "sub", session.Subject)
	s.backOff(session.ID, err)
	if isOthersToo {
		s.backOff(everyone, err)
	}
	return err
}

// endBackingOff says that Logto has answered.
func (s *Sessions) endBackingOff(id string) {
	s.backoff.failures.Delete(id)
	s.backoff.failures.Delete(everyone)
}

func (s *Sessions) backOff(whose string, err error) {
	now := s.settings.Now()
	last, _ := s.backoff.failures.Get(whose)
	pause := min(minBackOff<<min(last.count, 10), maxBackOff)
	if asked := oauth.RetryAfterOf(err); asked > pause {
		pause = asked
	}
	s.backoff.failures.Put(whose, failure{err, last.count + 1, now.Add(pause)}, now.Add(pause+time.Minute))
}

// isRefused reports whether Logto has ended the session: the refresh token is not valid any more, or the user may no
// longer use this application at all. With a resource or an organization, access_denied refuses the token only.
func isRefused(err error, target Target) bool {
	var refused *oauth.Refusal
	if errors.As(err, &refused) {
		return refused.Code == "invalid_grant" || (refused.Code == "access_denied" && target == Target{})
	}
	return errors.Is(err, fault.AnotherUser)
}
