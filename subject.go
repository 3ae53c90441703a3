package logtogin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
)

// The user of a session as requirements see it: by the ID token, and, because a tenant can
// leave claims out of that, by user info.

// maxLookups bounds the user infos in memory.
const maxLookups = 16 << 10

// subject is who makes the request.
type subject struct {
	auth    *Auth
	c       *gin.Context
	session *session
	claims  *Claims
}

// claim is a list in the ID token or, if the ID token has no such claim, in the user info.
// One that is null or no list is empty.
func (s *subject) claim(name string) ([]string, error) {
	set := s.claims.jsonObject
	if !set.Has(name) {
		info, err := s.auth.lookUp(s.c, s.session)
		if err != nil {
			return nil, err
		}
		set = info.jsonObject
	}
	list, _ := texts(&set, name)
	return list, nil
}

// lookup is the user info of a session, which may be under way. info and err may be read
// once done is closed.
type lookup struct {
	done chan struct{}
	info *UserInfo
	err  error
}

// lookUp returns the user info, which is asked for once between two refreshes of the
// session. A failure says nothing about the user's rights.
func (a *Auth) lookUp(c *gin.Context, record *session) (*UserInfo, error) {
	for {
		mine := &lookup{done: make(chan struct{})}
		key := lookupKey(record)
		its, found := a.lookups.GetOrPut(key, mine, a.lookupEnds(record))
		if !found {
			a.runLookup(c, mine, key)
			return mine.info, mine.err
		}
		select {
		case <-its.done:
		case <-c.Request.Context().Done():
			return nil, c.Request.Context().Err()
		}
		if its.err == nil || c.Request.Context().Err() != nil {
			return its.info, its.err
		}
		if isFinal := errors.Is(its.err, ErrProviderUnavailable) || StatusCode(its.err) == http.StatusUnauthorized; isFinal {
			return nil, its.err
		}
		// The client of the request that had asked has gone.
	}
}

func (a *Auth) runLookup(c *gin.Context, mine *lookup, key string) {
	defer close(mine.done)
	defer func() {
		if mine.err != nil || mine.info == nil {
			a.lookups.Delete(key)
		}
	}()
	mine.err = errLookup // if it panics
	info, err := a.UserInfo(c)
	ctx := c.Request.Context()
	switch {
	case err == nil:
		mine.info, mine.err = info, nil
		if record, err := a.current(c); err == nil { // it may have been refreshed
			a.lookups.Put(lookupKey(record), mine, a.lookupEnds(record))
		}
	case ctx.Err() != nil:
		mine.err = ctx.Err()
	case StatusCode(err) == http.StatusUnauthorized, errors.Is(err, ErrStoreUnavailable), errors.Is(err, ErrProviderUnavailable):
		mine.err = err
	default:
		mine.err = fmt.Errorf("%w: user info: %w", ErrProviderUnavailable, err)
	}
}

var errLookup = fmt.Errorf("%w: user info", ErrProviderUnavailable)

// lookupKey changes with every refresh.
func lookupKey(record *session) string {
	return record.id + " " + strconv.FormatInt(record.confirmedAt.Unix(), 10)
}

func (a *Auth) lookupEnds(record *session) time.Time {
	if a.settings.RevalidateAfter < 0 || record.refreshToken == "" {
		return record.expires
	}
	return a.staleAt(record).Add(a.settings.MaxStale + time.Hour)
}
