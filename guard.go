package logtogin

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
)

// Guard lets signed-in users through and leaves their *Claims under ClaimsKey.
// A page navigation without a session is redirected to the sign-in route and
// comes back to the same page; anything else is answered 401 with a problem
// document (RFC 9457). A request with an unsafe method from another origin, or
// one that opens a WebSocket from there, is answered 403, and one whose session cannot be read 503.
//
// Without a sign-in route, because RegisterRoutes was not called or
// Paths.SignIn is "-", a page navigation is answered 401, too.
//
// Every guarded response may not be stored by caches. Guard panics if
// Config.BaseURL is empty, without which there are no sessions.
func (a *Auth) Guard() gin.HandlerFunc {
	a.mustHaveSessions("Guard")
	return func(c *gin.Context) {
		forbidStoring(c)
		if a.isCrossOrigin(c.Request) {
			a.refuse(c, errCrossOrigin)
			return
		}
		claims, err := a.Claims(c)
		if err != nil {
			a.refuse(c, err)
			return
		}
		c.Set(ClaimsKey, claims)
		c.Next()
	}
}

// Optional leaves the *Claims of a signed-in user under ClaimsKey and lets
// everybody through. A request with an unsafe method from another origin counts
// as a visitor's. What a signed-in user gets may not be stored by caches. If
// the session cannot be read the request goes on as a
// visitor's, and Claims returns the error. Optional panics if
// Config.BaseURL is empty, without which there are no sessions.
func (a *Auth) Optional() gin.HandlerFunc {
	a.mustHaveSessions("Optional")
	return func(c *gin.Context) {
		varyByCookie(c)
		if claims, err := a.Claims(c); err == nil && !a.isCrossOrigin(c.Request) {
			forbidStoring(c)
			c.Set(ClaimsKey, claims)
		} else {
			// What a guard of another Auth has left is not this one's.
			c.Delete(ClaimsKey)
		}
		c.Next()
	}
}

// isCrossOrigin reports whether a page of another origin makes a request that
// could change something. A WebSocket opens with a GET, but what goes through it
// afterwards is no less than a POST.
func (a *Auth) isCrossOrigin(r *http.Request) bool {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		unsafe := *r
		unsafe.Method = http.MethodPost
		r = &unsafe
	}
	return a.origins.Check(r) != nil
}

func (a *Auth) mustHaveSessions(what string) {
	if a.store == nil {
		panic("logtogin: " + what + " needs sessions, but Config.BaseURL is empty")
	}
}

// ClaimsFrom returns what Guard or Optional left in the context.
func ClaimsFrom(c *gin.Context) (*Claims, bool) {
	value, _ := c.Get(ClaimsKey)
	claims, ok := value.(*Claims)
	return claims, ok
}

// IsAuthenticated reports whether the request comes from a signed-in user. It
// is false also if the session cannot be read; Claims says which. It makes no
// call to Logto.
func (a *Auth) IsAuthenticated(c *gin.Context) bool {
	_, err := a.current(c)
	return err == nil
}

// Claims returns the claims of the session's ID token, without a call to
// Logto. They are the caller's own: changing them changes nothing else. The
// error is ErrNotSignedIn or ErrStoreUnavailable.
func (a *Auth) Claims(c *gin.Context) (*Claims, error) {
	record, err := a.current(c)
	if err != nil {
		return nil, err
	}
	return record.claims()
}

// IDToken returns the ID token as Logto sent it. It may have expired: it says
// who signed in, not that somebody may do something now.
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
}

// current returns the session of the request, which is read once.
func (a *Auth) current(c *gin.Context) (*session, error) {
	if a.store == nil {
		return nil, ErrNotSignedIn
	}
	if kept, ok := c.Get(requestKey{a}); ok {
		found := kept.(loaded)
		if found.err == nil && a.store.hasEnded(found.session.id) {
			return nil, ErrNotSignedIn
		}
		return found.session, found.err
	}
	record, err := a.store.loadSession(c.Request)
	if err != nil && !errors.Is(err, ErrNotSignedIn) {
		a.settings.Logger.ErrorContext(c.Request.Context(), "logtogin: cannot read the session", "error", err)
	}
	c.Set(requestKey{a}, loaded{record, err})
	return record, err
}

// remember makes the session that has just been saved the request's.
func (a *Auth) remember(c *gin.Context, record *session) {
	c.Set(requestKey{a}, loaded{session: record})
}

// forget makes the request one without a session.
func (a *Auth) forget(c *gin.Context) {
	c.Set(requestKey{a}, loaded{err: ErrNotSignedIn})
}

// refuse answers a request that a guard does not let through.
func (a *Auth) refuse(c *gin.Context, err error) {
	status := statusOf(err)
	if status == http.StatusServiceUnavailable {
		c.Header("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	if status == http.StatusUnauthorized {
		if isNavigation(c.Request) && a.routes.SignIn != "" {
			redirect(c, a.signInPath(c.Request.URL.RequestURI()))
			return
		}
		if isHTMX(c.Request.Header) && a.routes.SignIn != "" {
			c.Header("HX-Redirect", a.signInPath(a.htmxPage(c.Request)))
		}
	}
	if isNavigation(c.Request) {
		a.showError(c, err, "")
		return
	}
	writeProblem(c, status, err)
}

// htmxPage is the path of the page that an htmx request belongs to.
func (a *Auth) htmxPage(r *http.Request) string {
	u, err := url.Parse(r.Header.Get("HX-Current-URL"))
	if err != nil || u.Scheme != a.settings.base.Scheme || u.Host != a.settings.base.Host {
		return ""
	}
	return a.internal(u.RequestURI())
}

// writeProblem answers a client that is not a person (RFC 9457).
func writeProblem(c *gin.Context, status int, err error) {
	forbidStoring(c)
	c.Header("Content-Type", "application/problem+json")
	c.AbortWithStatusJSON(status, problem{
		Type:   "about:blank",
		Title:  http.StatusText(status),
		Status: status,
		Detail: adviceFor(err),
	})
}

type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
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
