package logtogin

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// Guard lets signed-in users through and leaves their *Claims under ClaimsKey.
// A page navigation without a session is redirected to the sign-in route and
// comes back to the same page; anything else is answered 401 with a problem
// document (RFC 9457). A request with an unsafe method from another origin, or
// one that opens a WebSocket from there, is answered 403, and one whose session
// cannot be read 503. Config.OnError can draw these answers.
//
// Without a sign-in route, because RegisterRoutes was not called or
// Paths.SignIn is "-", a page navigation is answered 401, too.
//
// A session that Logto has not confirmed for Config.RevalidateAfter is refreshed
// first, one call to Logto; all other requests cost none.
//
// Every guarded response may not be stored by caches. Guard panics if
// Config.BaseURL is empty, without which there are no sessions.
func (a *Auth) Guard() gin.HandlerFunc {
	a.mustHaveSessions("Guard")
	return func(c *gin.Context) {
		forbidStoring(c)
		if a.isCrossOrigin(c.Request) {
			a.Refuse(c, ErrCrossOrigin)
			return
		}
		record, err := a.revalidated(c)
		if err != nil {
			a.Refuse(c, err)
			return
		}
		claims, err := record.claims()
		if err != nil {
			a.Refuse(c, err)
			return
		}
		c.Set(ClaimsKey, claims)
		c.Next()
	}
}

// Optional leaves the *Claims of a signed-in user under ClaimsKey and lets
// everybody through. A request with an unsafe method from another origin counts
// as a visitor's. What a signed-in user gets may not be stored by caches. Sessions are
// refreshed as by Guard. If the session cannot be read the request goes on as a visitor's, and Claims
// returns the error. Optional panics if Config.BaseURL is empty, without which
// there are no sessions.
func (a *Auth) Optional() gin.HandlerFunc {
	a.mustHaveSessions("Optional")
	return func(c *gin.Context) {
		varyByCookie(c)
		// What a guard of another Auth has left is not this one's.
		c.Delete(ClaimsKey)
		if !a.isCrossOrigin(c.Request) {
			if record, err := a.orVisitor(c, a.revalidated); err == nil {
				if claims, err := record.claims(); err == nil {
					c.Set(ClaimsKey, claims)
				}
			}
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
