package logtogin

import (
	"context"
	"runtime"
	"sync/atomic"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/session"
)

// guardPassage is a request on its way through a guard, and who was let through. It is the context
// of the request afterwards, so that handlers below gin.WrapH find it, too.
type guardPassage struct {
	context.Context // that the request had before
	exchange        session.Exchange
	identity        identity
	admitted        atomic.Pointer[identity] // points to identity once the guard has let the request through
	handler         uintptr                  // of the *gin.Context, to be compared: it must not be kept

	// response belongs to the outermost guard: nested guards collect in one place.
	response *response.Guarded
	own      response.Guarded // of the outermost guard
	known    session.Known    // likewise, unless something was known before
}

// identity is who a guard has let through: a user by a session, or a token, or with Optional
// nobody. Each guard hides what the guards before it have found.
type identity struct {
	claims      *Claims
	accessToken *AccessTokenClaims
}

// Value finds this passage before the passages of outer guards.
func (p *guardPassage) Value(key any) any {
	if key == (passageKey{}) {
		return p
	}
	return p.Context.Value(key)
}

// enter begins the passage through a guard and wraps the response. dependsOn goes into Vary; isPrivate forbids caching from
// the start. leave must be deferred.
func (a *Auth) enter(c *gin.Context, dependsOn string, isPrivate bool) *guardPassage {
	p := &guardPassage{Context: c.Request.Context(), handler: pointerOf(c)}
	outer := passageOfGin(c)
	if outer != nil && outer.leadsFrom(c) && !outer.response.HasBegun() {
		p.response = outer.response
	} else {
		if outer != nil && outer.handler == p.handler { // Engine.HandleContext has begun anew
			outer.response.BeforeSending(c.Writer.Header(), c.Writer.Written())
		}
		p.response = &p.own
		c.Writer = p.own.Wrap(c.Writer)
	}
	p.response.DependOn(dependsOn)
	p.response.DependOnSession(isPrivate)
	p.known.Cookies = c.Request.Header["Cookie"]
	p.exchange = session.Exchange{Request: c.Request, Route: c.FullPath(), Response: p.response, Known: &p.known}
	// What is known already need not be read again.
	if kept, ok := c.Get(unguardedKey{}); ok {
		shared := kept.(*unguardedRequest)
		p.own.Before = &shared.cookies
		if shared.known.AreOf(c.Request) {
			p.exchange.Known = &shared.known
		}
	}
	if outer != nil && outer.exchange.Known.AreOf(c.Request) {
		p.exchange.Known = outer.exchange.Known
	}
	c.Set(passageKey{}, p)
	if outer != nil { // what it has found no longer counts
		c.Delete(ClaimsKey)
		c.Delete(AccessTokenClaimsKey)
	}
	return p
}

// endIfLate ends the goroutine of a guard that comes too late. If the guard returned, Gin would go on
// with the next handler of the request that it handles with c by now, whose own guard may still be
// checking.
func (a *Auth) endIfLate(c *gin.Context, p *guardPassage) {
	if isLate(c, &p.exchange) {
		a.settings.Logger.Warn("logtogin: a guard comes too late, because something in front has given up waiting for it, or a requirement has replaced the request; its goroutine ends", "route", p.exchange.Route)
		runtime.Goexit()
	}
}

// admit makes somebody the one whom the handlers after the guard see, and calls them.
func (p *guardPassage) admit(c *gin.Context, who identity) {
	p.identity = who
	p.admitted.Store(&p.identity)
	c.Delete(ClaimsKey)
	c.Delete(AccessTokenClaimsKey)
	if who.claims != nil {
		c.Set(ClaimsKey, who.claims)
	}
	if who.accessToken != nil {
		c.Set(AccessTokenClaimsKey, who.accessToken)
	}
	p.Context = c.Request.Context() // a requirement may have changed it
	c.Request = c.Request.WithContext(p)
	p.response.Announce(c.Writer.Header())
	c.Next()
}

// deny makes nobody the one whom hooks see: what an outer guard has found does not count here.
func (p *guardPassage) deny(c *gin.Context) { c.Request = c.Request.WithContext(p) }

// leave ends the passage, also if a handler panics: a Recovery outside still sends the header.
func (p *guardPassage) leave(c *gin.Context) {
	if p.admitted.Load() == nil && !isLate(c, &p.exchange) {
		c.Abort() // if a requirement panics, and a Recovery outside does not
	}
	if p.response != &p.own {
		return // the outermost guard does it
	}
	p.own.Leave()
	// Of another request neither the writer nor the context is this guard's.
	if c.Writer == gin.ResponseWriter(&p.own) {
		c.Writer = p.own.Writer
	}
	form, last := c.Request.MultipartForm, passageOf(c.Request.Context())
	if form != nil && p.exchange.Request.MultipartForm == nil && last != nil && last.response == p.response {
		// The server removes the temporary files of the request that it has made, not of a copy.
		p.exchange.Request.MultipartForm = form
	}
}
