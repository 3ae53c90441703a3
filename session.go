package logtogin

import (
	"errors"
	"slices"

	"github.com/gin-gonic/gin"
)

// The session of a request, which is read once, and what it tells without a
// call to Logto.

// IsAuthenticated reports whether the request comes from a signed-in user. It
// is false also if the session cannot be read; Claims says which. It makes no
// call to Logto. Which page the request comes from is not checked: Guard is what
// protects against requests of other sites.
func (a *Auth) IsAuthenticated(c *gin.Context) bool {
	_, err := a.current(c)
	return err == nil
}

// Claims returns the claims of the session's ID token, without a call to
// Logto. They are the caller's own: changing them changes nothing else. The
// error is ErrNotSignedIn or ErrStoreUnavailable. Which page the request comes
// from is not checked: Guard is what protects against requests of other sites.
func (a *Auth) Claims(c *gin.Context) (*Claims, error) {
	record, err := a.current(c)
	if err != nil {
		return nil, err
	}
	return record.claims()
}

// IDToken returns the ID token as Logto sent it. It may have expired: it says
// who signed in, not that somebody may do something now. The error is
// ErrNotSignedIn or ErrStoreUnavailable.
func (a *Auth) IDToken(c *gin.Context) (string, error) {
	record, err := a.current(c)
	if err != nil {
		return "", err
	}
	return record.idToken, nil
}

// requestKey is where a request keeps the session of an Auth.
type requestKey struct{ a *Auth }

type loaded struct {
	session *session
	err     error
	// created says that the request itself has brought the session about.
	created bool
}

// current returns the session of the request, which is read once, and marks the
// response as one that depends on it.
func (a *Auth) current(c *gin.Context) (*session, error) {
	if kept, ok := a.kept(c); ok {
		return kept.session, kept.err
	}
	record, err := a.load(c)
	if err == nil && a.store.isDue(record) && !c.Writer.Written() {
		record, err = a.renew(c, record)
	}
	if !c.Writer.Written() {
		varyByCookie(c)
		if err == nil {
			forbidStoring(c)
		}
	}
	c.Set(requestKey{a}, loaded{session: record, err: err})
	return record, err
}

// kept returns what the request knows already of its session.
func (a *Auth) kept(c *gin.Context) (found loaded, ok bool) {
	kept, ok := c.Get(requestKey{a})
	if !ok {
		return loaded{}, false
	}
	found = kept.(loaded)
	if found.err == nil && a.store.hasEnded(found.session.id) {
		return loaded{err: ErrNotSignedIn}, true
	}
	return found, true
}

func (a *Auth) load(c *gin.Context) (*session, error) {
	if a.store == nil {
		return nil, ErrNotSignedIn
	}
	record, err := a.store.loadSession(c.Request)
	// Of a client that has left, the operator need not hear.
	if ctx := c.Request.Context(); err != nil && !errors.Is(err, ErrNotSignedIn) && ctx.Err() == nil {
		a.settings.Logger.ErrorContext(ctx, "logtogin: cannot read the session", "error", err)
	}
	return record, err
}

// leaving returns the session that a sign-out is about to end, which is not
// written once more.
func (a *Auth) leaving(c *gin.Context) *session {
	if kept, ok := a.kept(c); ok {
		return kept.session
	}
	record, _ := a.load(c)
	return record
}

// renew writes the session. That it cannot be written does not make it worse
// than it was.
func (a *Auth) renew(c *gin.Context, record *session) (*session, error) {
	renewed, err := a.store.renewSession(c, record)
	switch {
	case errors.Is(err, ErrNotSignedIn):
		return nil, ErrNotSignedIn
	case err != nil:
		a.settings.Logger.WarnContext(c.Request.Context(), "logtogin: the session cannot be renewed", "error", err)
		return record, nil
	}
	return renewed, nil
}

// remember makes a session the request's that the request has brought about.
func (a *Auth) remember(c *gin.Context, record *session) {
	c.Set(requestKey{a}, loaded{session: record, created: true})
}

// createdHere returns the session that the request has brought about, or nil.
func (a *Auth) createdHere(c *gin.Context) *session {
	kept, _ := c.Get(requestKey{a})
	if found, ok := kept.(loaded); ok && found.created {
		return found.session
	}
	return nil
}

func (s *session) claims() (*Claims, error) {
	payload, err := payloadOf(s.idToken)
	if err != nil {
		return nil, ErrNotSignedIn
	}
	claims, err := newClaims(slices.Clone(payload))
	if err != nil {
		return nil, ErrNotSignedIn
	}
	return claims, nil
}
