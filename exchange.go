package logtogin

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/session"
)

// exchange is one request and the response to it, as everything below the handlers sees them.
// Only the response of a request without a guard leads to a *gin.Context, because Gin uses that
// again for the next request: whatever outlives the handler would see another user. It is safe for
// concurrent use.
type exchange struct {
	request  *http.Request
	route    string // as Gin knows it, for log lines
	response response.Response
	known    *knownSessions
	// isByToken says that the last guard was Bearer: what the browser may have is then nobody's
	// business, and the request has no session.
	isByToken bool
}

// isOf reports whether c still has the key of a response, or is a copy. Gin forgets the keys before it uses c
// again, and with Engine.HandleContext.
func isOf(c *gin.Context, r response.Response) bool {
	guarded, isGuarded := c.Get(passageKey{})
	kept, isKept := c.Get(unguardedKey{})
	open, isOpen := r.(*openResponse)
	return (isGuarded && r == guarded.(*guardPassage).response) || (isKept && isOpen && open.Own == &kept.(*unguardedRequest).cookies) || r == (response.Begun{})
}

// isLate reports whether Gin handles another request with c by now: a middleware that has given up
// waiting for the handler has handed c back. The server has ended the context of the request then.
func (x *exchange) isLate(c *gin.Context) bool {
	return x.request.Context().Err() != nil && // c is looked at only then
		c.Request != x.request && !isOf(c, x.response) && pointerOf(c.Request.Header) != pointerOf(x.request.Header)
}

// hookContext is what a hook gets that is called after something has taken its time: the handler's
// *gin.Context, or if Gin uses that for another request by now, the copy that was made before.
func (x *exchange) hookContext(handlers, copied *gin.Context) *gin.Context {
	if !x.isLate(handlers) {
		return handlers
	}
	copied.Writer = response.Gone{Writer: copied.Writer}
	return copied
}

// pointerOf is for comparing: two of *gin.Context, or two headers, may be one and not only alike. A request keeps its
// header when it gets another context.
func pointerOf(one any) uintptr { return reflect.ValueOf(one).Pointer() }

// knownSessions are what a request knows of its sessions, one for each Auth that was asked.
type knownSessions struct {
	cookies   []string // of the request, by which they are known
	mu        sync.Mutex
	list      []knownSession
	first     [1]knownSession // the usual number
	isReading bool            // so that a session is read once
	read      chan struct{}   // closed then, if somebody waits for it
}

// knownSession is what a request knows of its session.
type knownSession struct {
	auth    *Auth
	session *session.Session
	err     error
	// endedStart is when a session began that the browser still has, but that has ended; zero without one.
	endedStart time.Time
	// isNew says that the request itself has brought the session about.
	isNew bool
}

// getOrRead is get. If nothing is known, ok is false: the caller reads the session, and endReading
// must follow. If somebody else is reading, it waits for that. The error is the context's.
func (k *knownSessions) getOrRead(ctx context.Context, a *Auth, patience time.Duration) (found knownSession, ok bool, err error) {
	found, ok, read := k.getOrWait(a)
	if read == nil {
		return found, ok, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for read != nil {
		select {
		case <-read:
			found, ok, read = k.getOrWait(a)
		case <-ctx.Done():
			return knownSession{}, false, context.Cause(ctx)
		}
	}
	return found, ok, nil
}

// getOrWait also returns what is closed when somebody who is reading has done so.
func (k *knownSessions) getOrWait(a *Auth) (found knownSession, ok bool, read <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, known := range k.list {
		if known.auth == a {
			return known, true, nil
		}
	}
	if !k.isReading {
		k.isReading = true
		return knownSession{}, false, nil
	}
	if k.read == nil {
		k.read = make(chan struct{})
	}
	return knownSession{}, false, k.read
}

func (k *knownSessions) endReading() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.isReading = false
	if k.read != nil {
		close(k.read)
		k.read = nil
	}
}

// areOf reports whether a request has the cookies by which they are known.
func (k *knownSessions) areOf(r *http.Request) bool {
	return slices.Equal(k.cookies, r.Header["Cookie"])
}

func (k *knownSessions) get(a *Auth) (found knownSession, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, found := range k.list {
		if found.auth == a {
			return found, true
		}
	}
	return knownSession{}, false
}

func (k *knownSessions) set(known knownSession) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*k.entryOf(known.auth) = known
}

// replace is set for a request that has still the session with this ID, or none. It reports whether
// it has: otherwise the request has signed in meanwhile.
func (k *knownSessions) replace(id string, known knownSession) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	entry := k.entryOf(known.auth)
	if entry.session != nil && entry.session.ID != id {
		return false
	}
	known.isNew = entry.isNew
	*entry = known
	return true
}

// entryOf returns the place of what is known about one Auth. The caller holds k.mu, and fills a
// new place in.
func (k *knownSessions) entryOf(a *Auth) *knownSession {
	for i := range k.list {
		if k.list[i].auth == a {
			return &k.list[i]
		}
	}
	if k.list == nil {
		k.list = k.first[:0]
	}
	k.list = append(k.list, knownSession{})
	return &k.list[len(k.list)-1]
}

// unset makes the request forget what it knew.
func (k *knownSessions) unset(a *Auth) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = slices.DeleteFunc(k.list, func(known knownSession) bool { return known.auth == a })
}

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
		return slices.Equal(passage.exchange.request.Header[name], c.Request.Header[name])
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
func (a *Auth) exchangeOf(ctx context.Context) (context.Context, *exchange, error) {
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
	case x.response == (response.Begun{}): // of a copy
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

func exchangeOfGin(c *gin.Context) *exchange {
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
	x := exchange{known: &shared.known}
	if passage != nil {
		x = passage.exchange
	}
	open := &openResponse{c: c}
	open.Open = response.Open{Place: open, Own: &shared.cookies}
	x.request, x.route, x.response = c.Request, c.FullPath(), open
	switch {
	case isCopy:
		x.response = response.Begun{}
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
	known   knownSessions
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
	created := &unguardedRequest{known: knownSessions{cookies: c.Request.Header["Cookie"]}}
	c.Set(unguardedKey{}, created)
	return created
}

// isCopy reports whether this is the writer of what c.Copy() returns: it has lost what it writes to.
func isCopy(writer gin.ResponseWriter) bool {
	wrapper, ok := writer.(interface{ Unwrap() http.ResponseWriter })
	return ok && wrapper.Unwrap() == nil
}
