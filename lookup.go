package logtogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/flight"
	"github.com/logtogin/logtogin/internal/session"
)

// The user of a session as requirements see it: by the ID token, and, because a tenant can
// leave claims out of that, by user info.

// maxLookups bounds the user infos in memory.
const maxLookups = 16 << 10

// subject is who makes the request.
type subject struct {
	auth    *Auth
	c       *gin.Context // for functions of the application
	ctx     context.Context
	x       *session.Exchange
	session *session.Session
	claims  *Claims
}

// has reports whether a value is in a list in the ID token or, if the ID token has no such claim, in the user info.
// A claim that is null or no list is empty.
func (s *subject) has(claim, value string) (bool, error) {
	if set := s.claims.object; set.Has(claim) {
		list, _ := set.Texts(claim)
		return slices.Contains(list, value), nil
	}
	lists, err := s.auth.lookUp(s.ctx, s.x, s.session)
	return slices.Contains(lists[claim], value), err
}

// lookedUp are the claims that requirements ask for: the rest of the user info, which can be
// large, is not kept.
var lookedUp = []string{"roles", "organizations", "organization_roles"}

// lookup is what is kept of the user info of a session.
type lookup struct {
	lists map[string][]string // by the names of lookedUp
	asked time.Time
	// staleAt is when the session had to be confirmed again, as of then.
	staleAt time.Time
}

// lookUp returns the claims in user info, which is asked for once in the time for which the
// claims of a session are good, and again after a webhook has told of a change. A failure says
// nothing about the user's rights.
func (a *Auth) lookUp(ctx context.Context, x *session.Exchange, current *session.Session) (map[string][]string, error) {
	for {
		if its, found := a.lookups.Get(current.ID); found && a.isCurrent(its, current) {
			a.settings.emit(ctx, Event{Kind: EventCacheHit, Call: "user_info", Subject: current.Subject})
			return its.lists, nil
		}
		own := *x
		own.Request = x.Request.Clone(context.WithoutCancel(ctx)) // handlers change theirs when nobody waits any more
		call, isMine := a.lookingUp.Start(ctx, current.ID, func(ctx context.Context) (map[string][]string, error) {
			return a.runLookup(ctx, &own, current)
		})
		lists, err := call.Wait(ctx)
		if errors.Is(err, flight.ErrNoResult) {
			err = fault.Unavailable(err)
		}
		if isMine || err != nil {
			return lists, err
		}
	}
}

// isCurrent reports whether what was looked up is as good as the session. If that goes on
// although it should have been confirmed, because Logto is down, so does the lookup.
func (a *Auth) isCurrent(its *lookup, current *session.Session) bool {
	return !a.revocations.ChangedAt(current.Subject).After(its.asked) &&
		(a.settings.Now().Before(its.staleAt) || a.sessions.IsStale(current))
}

// runLookup asks Logto, unless another request has by now, and remembers the answer.
func (a *Auth) runLookup(ctx context.Context, x *session.Exchange, current *session.Session) (map[string][]string, error) {
	if its, found := a.lookups.Get(current.ID); found && a.isCurrent(its, current) {
		return its.lists, nil
	}
	a.lookups.Delete(current.ID)
	mine := &lookup{lists: make(map[string][]string, len(lookedUp)), asked: a.settings.Now()}
	info, err := a.userInfo(ctx, x)
	switch {
	case err == nil:
	case StatusCode(err) == http.StatusUnauthorized, errors.Is(err, ErrStoreUnavailable), errors.Is(err, ErrProviderUnavailable):
		return nil, err
	default:
		return nil, fmt.Errorf("%w: user info: %w", ErrProviderUnavailable, err)
	}
	for _, name := range lookedUp {
		mine.lists[name], _ = info.object.Texts(name)
	}
	if newest, err := a.sessions.Current(ctx, x); err == nil { // it may have been refreshed
		mine.staleAt = a.sessions.StaleAt(newest)
	}
	a.lookups.Put(current.ID, mine, current.Expires)
	return mine.lists, nil
}
