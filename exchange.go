package logtogin

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/session"
)

// isOf reports whether c still handles the request that r answers; a copy counts. Gin drops the keys of a c that it uses
// again, and with Engine.HandleContext.
func isOf(c *gin.Context, r response.Response) bool {
	guarded, isGuarded := c.Get(passageKey{})
	kept, isKept := c.Get(unguardedKey{})
	open, isOpen := r.(*openResponse)
	return (isGuarded && r == guarded.(*guardPassage).response) || (isKept && isOpen && open.Own == &kept.(*unguardedRequest).cookies) || r == (response.Begun{})
}

// isLate reports whether Gin handles another request with c by now: a middleware that has given up
// waiting for the handler has handed c back. The server has ended the context of the request then.
func isLate(c *gin.Context, x *session.Exchange) bool {
	return x.Request.Context().Err() != nil && // c is looked at only then
		c.Request != x.Request && !isOf(c, x.Response) && pointerOf(c.Request.Header) != pointerOf(x.Request.Header)
}

// hookContext is what a hook gets that is called after something has taken its time: the handler's
// *gin.Context, or if Gin uses that for another request by now, the copy that was made before.
func hookContext(handlers, copied *gin.Context, x *session.Exchange) *gin.Context {
	if !isLate(handlers, x) {
		return handlers
	}
	copied.Writer = response.Gone{Writer: copied.Writer}
	return copied
}

// pointerOf is for comparing: two of *gin.Context, or two headers, may be one and not only alike. A request keeps its
// header when it gets another context.
func pointerOf(one any) uintptr { return reflect.ValueOf(one).Pointer() }

// passageKey is the key of the last guard in the context of a request, and in a *gin.Context.
type passageKey struct{}

func passageOf(ctx context.Context) *guardPassage {
	passage, _ := ctx.Value(passageKey{}).(*guardPassage)
	return passage
}

// passageOfGin is the passage of the request that Gin handles, or nil. A request that a handler
// makes for another one, with the context of its own, has other credentials: it is nobody's yet.
func passageOfGin(c *gin.Context) *guardPassage {
	if kept, ok := c.Get(passageKey{}); ok {
		return kept.(*guardPassage) // whatever the handler has done to its request since
	}
	passage := passageOf(c.Request.Context())
	isKept := func(name string) bool {
		return slices.Equal(passage.exchange.Request.Header[name], c.Request.Header[name])
	}
	if passage != nil && isKept("Cookie") && isKept("Authorization") {
		return passage
	}
	return nil
}

// leadsFrom reports whether what is written through c passes the writer of the outermost guard.
func (p *guardPassage) leadsFrom(c *gin.Context) bool {
	// After Engine.HandleContext Gin has forgotten the writer and its keys. Another *gin.Context is of an inner engine,
	// below gin.WrapH, or of a request that the handler has made.
	return isOf(c, p.response) || (p.handler != pointerOf(c) && pointerOf(writerOf(c).Header()) == pointerOf(p.response.Sent))
}

// writerOf is the writer of c, which a goroutine that asks without a guard may be replacing.
func writerOf(c *gin.Context) gin.ResponseWriter {
	if kept, ok := c.Get(unguardedKey{}); ok {
		cookies := &kept.(*unguardedRequest).cookies
		cookies.Lock()
		defer cookies.Unlock()
	}
	return c.Writer
}

// identityOf returns what the last guard has found, which is nobody as long as it is checking. Without a guard it is
// what the application has set itself.
func identityOf(ctx context.Context) (who identity) {
	var passage *guardPassage
	c, _ := ginContextOf(ctx)
	switch {
	case c == nil:
		passage = passageOf(ctx)
	case c.Request != nil:
		passage = passageOfGin(c)
	}
	switch {
	case passage != nil:
		if admitted := passage.admitted.Load(); admitted != nil {
			return *admitted
		}
	case c != nil:
		claims, _ := c.Get(ClaimsKey)
		who.claims, _ = claims.(*Claims)
		token, _ := c.Get(AccessTokenClaimsKey)
		who.accessToken, _ = token.(*AccessTokenClaims)
	}
	return who
}

// ginContextOf returns the *gin.Context that a context is, or is derived from, or nil. It looks before the context
// of the request, which Gin's Context answers for with Engine.ContextWithFallback.
func ginContextOf(ctx context.Context) (c *gin.Context, isDerived bool) {
	if c, ok := ctx.(*gin.Context); ok {
		return c, false
	}
	c, isDerived = ctx.Value(gin.ContextKey).(*gin.Context)
	return c, isDerived
}

// exchangeOf finds the exchange that a context belongs to: a *gin.Context, one that is derived
// from it, or the context of a request that a guard has let through. It also returns the context
// that the caller waits with. The error is ErrNoRequest.
func (a *Auth) exchangeOf(ctx context.Context) (context.Context, *session.Exchange, error) {
	c, isDerived := ginContextOf(ctx)
	if passage := passageOf(ctx); c == nil && passage != nil {
		return ctx, &passage.exchange, nil
	}
	if c == nil || c.Request == nil {
		return nil, nil, ErrNoRequest
	}
	x := exchangeOfGin(c)
	switch {
	case isDerived:
		return derivedContext{ctx, c.Request.Context()}, x, nil
	case x.Response == (response.Begun{}): // of a copy
		// It is for what outlives the request, whose context the server ends.
		return context.WithoutCancel(c.Request.Context()), x, nil
	}
	return c.Request.Context(), x, nil
}

// derivedContext ends when the caller's context does, and has the values of the request. A call with
// it may outlive the handler, and must not ask a *gin.Context that Gin uses again.
type derivedContext struct {
	context.Context
	values context.Context
}

func (d derivedContext) Value(key any) any { return d.values.Value(key) }

func exchangeOfGin(c *gin.Context) *session.Exchange {
	passage, isCopy := passageOfGin(c), isCopy(writerOf(c))
	isOutside := passage == nil || passage.response.HasLeft()
	if !isOutside && !isCopy && passage.leadsFrom(c) {
		if pointerOf(c) != passage.handler {
			c.Set(passageKey{}, passage) // of an inner engine, for isOf
		}
		return &passage.exchange
	}
	// A middleware outside the guard, which answers, or Engine.HandleContext has begun anew, or it is
	// a request that the handler has made, with a writer of its own.
	shared := unguardedRequestOf(c)
	x := session.Exchange{Known: &shared.known}
	if passage != nil {
		x = passage.exchange
	}
	open := &openResponse{c: c}
	open.Open = response.Open{Place: open, Own: &shared.cookies}
	x.Request, x.Route, x.Response = c.Request, c.FullPath(), open
	switch {
	case isCopy:
		x.Response = response.Begun{}
	case !isOutside && pointerOf(c) == passage.handler:
		shared.cookies.Lock()
		defer shared.cookies.Unlock()
		passage.response.BeforeSending(c.Writer.Header(), c.Writer.Written())
	}
	return &x
}

// unguardedKey is where Gin keeps what a request without a guard knows.
type unguardedKey struct{}

// unguardedRequest is what the exchanges of a request without a guard share, of any Auth.
type unguardedRequest struct {
	known   session.Known
	cookies response.OwnCookies
}

// openResponse is a response without a guard, which finds its writer in c.
type openResponse struct {
	response.Open
	c *gin.Context
}

// Writer implements response.Place.
func (r *openResponse) Writer() response.Writer {
	if !isOf(r.c, r) {
		return nil
	}
	return r.c.Writer
}

// SetWriter implements response.Place.
func (r *openResponse) SetWriter(w response.Writer) { r.c.Writer = w }

// creating is held while a request gets its unguardedRequest: Gin has no call that sets a key
// unless it is there, and goroutines of one handler may ask several Auth at the same time.
var creating sync.Mutex

func unguardedRequestOf(c *gin.Context) *unguardedRequest {
	kept, ok := c.Get(unguardedKey{})
	if ok {
		return kept.(*unguardedRequest)
	}
	creating.Lock()
	defer creating.Unlock()
	if kept, ok = c.Get(unguardedKey{}); ok {
		return kept.(*unguardedRequest)
	}
	created := &unguardedRequest{known: session.Known{Cookies: c.Request.Header["Cookie"]}}
	c.Set(unguardedKey{}, created)
	return created
}

// isCopy reports whether this is the writer of what c.Copy() returns: it has lost what it writes to.
func isCopy(writer gin.ResponseWriter) bool {
	wrapper, ok := writer.(interface{ Unwrap() http.ResponseWriter })
	return ok && wrapper.Unwrap() == nil
}
