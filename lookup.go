package logtogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
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

// lookup is the user info of a session, which may be under way. The rest may be read once
// done is closed.
type lookup struct {
	done  chan struct{}
	lists map[string][]string // by the names of lookedUp
	err   error
	asked time.Time
	// staleAt is when the session had to be confirmed again, as of then.
	staleAt time.Time
}

// lookUp returns the claims in user info, which is asked for once in the time for which the
// claims of a session are good, and again after a webhook has told of a change. A failure says
// nothing about the user's rights.
func (a *Auth) lookUp(ctx context.Context, x *session.Exchange, current *session.Session) (map[string][]string, error) {
	for {
		mine := &lookup{done: make(chan struct{})}
		its, found := a.lookups.GetOrPut(current.ID, mine, current.Expires)
		if !found {
			a.runLookup(ctx, x, mine, current.ID)
			return mine.lists, mine.err
		}
		select {
		case <-its.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		switch {
		case its.err == nil && a.isCurrent(its, current):
			a.settings.emit(ctx, Event{Kind: EventCacheHit, Call: "user_info", Subject: current.Subject})
			return its.lists, nil
		case its.err != nil && !errors.Is(its.err, errAskerGone):
			return nil, its.err
		case its.err == nil:
			a.lookups.Delete(current.ID)
		}
	}
}

// isCurrent reports whether what was looked up is as good as the session. If that goes on
// although it should have been confirmed, because Logto is down, so does the lookup.
func (a *Auth) isCurrent(its *lookup, current *session.Session) bool {
	return !a.revocations.ChangedAt(current.Subject).After(its.asked) &&
		(a.settings.Now().Before(its.staleAt) || a.sessions.IsStale(current))
}

func (a *Auth) runLookup(ctx context.Context, x *session.Exchange, mine *lookup, id string) {
	defer close(mine.done)
	defer func() {
		if mine.err != nil {
			a.lookups.Delete(id)
		}
	}()
	mine.err = errLookup // if it panics
	mine.asked = a.settings.Now()
	info, err := a.userInfo(ctx, x)
	switch {
	case err == nil:
		mine.lists, mine.err = make(map[string][]string, len(lookedUp)), nil
		for _, name := range lookedUp {
			mine.lists[name], _ = info.object.Texts(name)
		}
		if current, err := a.sessions.Current(ctx, x); err == nil { // it may have been refreshed
			mine.staleAt = a.sessions.StaleAt(current)
		}
	case ctx.Err() != nil:
		mine.err = fmt.Errorf("%w: %w", errAskerGone, context.Cause(ctx))
	case StatusCode(err) == http.StatusUnauthorized, errors.Is(err, ErrStoreUnavailable), errors.Is(err, ErrProviderUnavailable):
		mine.err = err
	default:
		mine.err = fmt.Errorf("%w: user info: %w", ErrProviderUnavailable, err)
	}
}

var (
	errLookup = fmt.Errorf("%w: user info", ErrProviderUnavailable)
	// errAskerGone says that the client of the request that had asked has gone, which the
	// others need not mind.
	errAskerGone = errors.New("logtogin: the request has ended")
)
