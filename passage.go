package logtogin

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/anystore"
)

// guardPassage is a request on its way through a guard, and who was let through. It is the context
// of the request afterwards, so that handlers below gin.WrapH find it, too.
type guardPassage struct {
	context.Context // that the request had before
	exchange        exchange
	identity        identity // set before the request gets this context, and never again

	// response belongs to the outermost guard: nested guards collect in one place.
	response *guardedResponse
	own      guardedResponse // of the outermost guard
	known    knownSessions   // likewise, unless something was known before
}

// identity is who a guard has let through: a user by a session, or a token, or with Optional
// nobody. Each guard hides what the guards before it have found.
type identity struct {
	claims      *Claims
	accessToken *AccessTokenClaims
}

// passageKey is the key of the last guard in the context of a request, and in a *gin.Context.
type passageKey struct{}

// Value finds this passage before the passages of outer guards.
func (p *guardPassage) Value(key any) any {
	if key == (passageKey{}) {
		return p
	}
	return p.Context.Value(key)
}

func passageOf(ctx context.Context) *guardPassage {
	passage, _ := ctx.Value(passageKey{}).(*guardPassage)
	return passage
}

// passageOfGin is the passage of the request that Gin handles, or nil. A request that a handler
// makes for another one, with the context of its own, has other credentials: it is nobody's yet.
func passageOfGin(c *gin.Context) *guardPassage {
	passage := passageOf(c.Request.Context())
	if passage == nil {
		return nil
	}
	before, now := passage.exchange.request.Header, c.Request.Header
	if !slices.Equal(before["Cookie"], now["Cookie"]) || !slices.Equal(before["Authorization"], now["Authorization"]) {
		return nil
	}
	return passage
}

// leadsFrom reports whether what is written through c passes the writer of the outermost guard.
// After Engine.HandleContext it does not: Gin has forgotten the writer and its keys.
func (p *guardPassage) leadsFrom(c *gin.Context) bool {
	if kept, ok := c.Get(passageKey{}); ok && kept.(*guardPassage).response == p.response {
		return true
	}
	var writer http.ResponseWriter = c.Writer
	for range 8 { // an inner engine, below gin.WrapH, has a writer on ours
		if writer == http.ResponseWriter(&p.response.writer) {
			return true
		}
		wrapper, ok := writer.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		writer = wrapper.Unwrap()
	}
	return false
}

// identityOf returns what the last guard has found, or nil if there was none; and the *gin.Context
// that the context belongs to, if it is one or derived from one.
func identityOf(ctx context.Context) (who *identity, c *gin.Context) {
	c, isGin := ctx.(*gin.Context)
	if !isGin {
		if passage := passageOf(ctx); passage != nil {
			return &passage.identity, nil
		}
		c, _ = ctx.Value(gin.ContextKey).(*gin.Context)
	}
	if c == nil || c.Request == nil {
		return nil, c
	}
	if passage := passageOfGin(c); passage != nil {
		return &passage.identity, c
	}
	return nil, c
}

// enter begins the passage through a guard whose response depends on this request header.
// leave must be deferred.
func (a *Auth) enter(c *gin.Context, dependsOn string) *guardPassage {
	p := &guardPassage{Context: c.Request.Context()}
	outer := passageOfGin(c)
	if outer != nil && outer.leadsFrom(c) && !outer.response.hasBegun() {
		p.response = outer.response
	} else {
		p.response = &p.own
		p.own.original, p.own.writer = c.Request, sendingWriter{ResponseWriter: c.Writer, observer: &p.own}
		c.Writer = &p.own.writer
	}
	p.response.dependOn(dependsOn)
	p.exchange = exchange{request: c.Request, route: c.FullPath(), response: p.response, known: &p.known}
	// What is known already need not be read again.
	if outer != nil {
		p.exchange.known = outer.exchange.known
	} else if kept, ok := c.Get(unguardedKey{a}); ok {
		before := kept.(*unguardedRequest)
		p.exchange.known, p.own.before = &before.known, before
	}
	c.Set(passageKey{}, p)
	return p
}

// admit makes somebody the one whom the handlers after the guard see.
func (p *guardPassage) admit(c *gin.Context, who identity) {
	p.identity = who
	if who.claims != nil {
		c.Set(ClaimsKey, who.claims)
	} else {
		c.Delete(ClaimsKey)
	}
	if who.accessToken != nil {
		c.Set(AccessTokenClaimsKey, who.accessToken)
	} else {
		c.Delete(AccessTokenClaimsKey)
	}
	c.Request = c.Request.WithContext(p)
	p.response.announce(c.Writer.Header())
}

// leave ends the passage, also if a handler panics: a Recovery outside still sends the header.
func (p *guardPassage) leave(c *gin.Context) {
	if p.response != &p.own {
		return // the outermost guard does it
	}
	p.own.beforeSending()
	p.own.leave()
	// A middleware that has given up waiting may have handed c back to Gin, which uses it for
	// another request by now.
	if c.Writer != gin.ResponseWriter(&p.own.writer) {
		return
	}
	c.Writer = p.own.writer.ResponseWriter
	// The server removes the temporary files of the request that it has made, not of a copy.
	if p.own.original.MultipartForm == nil {
		p.own.original.MultipartForm = c.Request.MultipartForm
	}
}

// guardedResponse collects what is added to the header of a response when it is sent. Until
// then the session may end, and a user who has signed out meanwhile must not get it back.
type guardedResponse struct {
	writer   sendingWriter
	original *http.Request
	before   *unguardedRequest // what was set before the guard
	after    *unguardedRequest // what is set once the guard has no say any more

	mu        sync.Mutex
	header    http.Header            // what is added; nil as long as that is nothing
	isVain    map[string]func() bool // whether cookies of this name are
	isPrivate bool
	hasLeft   bool // the guard
	isClosed  bool
	// What Cache-Control and Vary lead to, which belong to this response alone: a handler may
	// change them in place.
	lines [3]string
	count int // of the request headers that it depends on
}

func (r *guardedResponse) dependOn(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.lines[1:1+r.count], name) && r.count < 2 {
		r.count++
		r.lines[r.count] = name
	}
}

func (r *guardedResponse) change(f func(http.Header)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosed {
		return false
	}
	if r.header == nil {
		r.header = http.Header{}
	}
	f(r.header)
	return true
}

func (r *guardedResponse) setCookies(name string, isVain func() bool, f func(http.Header) bool) bool {
	return r.change(func(header http.Header) {
		if !f(header) {
			return
		}
		if r.isVain == nil {
			r.isVain = map[string]func() bool{}
		}
		r.isVain[name] = isVain
		r.isPrivate = true
	})
}

func (r *guardedResponse) hasBegun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isClosed
}

// dependOnSession need not say that the response depends on cookies: what passes a guard depends
// on the credentials anyway.
func (r *guardedResponse) dependOnSession(hasOne bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isPrivate = r.isPrivate || hasOne
}

// leave says that the guard has returned. Middlewares outside may still answer.
func (r *guardedResponse) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isClosed, r.hasLeft = true, true
}

func (r *guardedResponse) isLeft() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasLeft
}

// opened is the response for a handler that the guard has no say about.
func (r *guardedResponse) opened(c *gin.Context) response {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.after == nil {
		r.after = &unguardedRequest{}
	}
	return &openResponse{&c.Writer, r.after}
}

// announce sets the header already before the handler runs, for a handler that lets Gin begin
// anew with Engine.HandleContext.
func (r *guardedResponse) announce(header http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isClosed {
		r.forbid(header)
	}
}

func (r *guardedResponse) forbid(header http.Header) {
	if r.isPrivate {
		r.lines[0] = privateNoStore
		header["Cache-Control"] = r.lines[0:1:1]
	}
	if len(header["Vary"]) == 0 {
		header["Vary"] = r.lines[1 : 1+r.count : 1+r.count]
		return
	}
	for _, name := range r.lines[1 : 1+r.count] {
		varyBy(header, name)
	}
}

// beforeSending corrects the header at the first moment at which the response is sent, because
// handlers and file servers change it until then (net/http deletes Cache-Control from a 404).
// Gin itself sends a header without a body past the writers of middlewares; that is why leave
// corrects it, too.
func (r *guardedResponse) beforeSending() {
	r.finish(r.writer.ResponseWriter)
}

// finish adds to the header what was collected, once.
func (r *guardedResponse) finish(writer gin.ResponseWriter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosed {
		return
	}
	r.isClosed = true
	if writer.Written() {
		return
	}
	header := writer.Header()
	if r.before != nil {
		r.before.correct(header)
	}
	for name, isVain := range r.isVain {
		if lines := anystore.CookiesNamed(r.header["Set-Cookie"], name); !isVain() {
			anystore.ReplaceCookies(header, name, lines)
		}
		anystore.ReplaceCookies(r.header, name, nil)
	}
	for name, lines := range r.header {
		if name == "Set-Cookie" {
			lines = append(slices.Clip(header[name]), lines...)
		}
		header[name] = lines
	}
	r.forbid(header)
}

// exchangeOf finds the exchange that a context belongs to: a *gin.Context, one that is derived
// from it, or the context of a request that a guard has let through. It also returns the context
// that the caller waits with. The error is ErrNoRequest.
func (a *Auth) exchangeOf(ctx context.Context) (context.Context, *exchange, error) {
	if c, ok := ctx.(*gin.Context); ok {
		x, err := a.exchangeOfGin(c)
		if err != nil {
			return nil, nil, err
		}
		if x.response == (begunResponse{}) { // of a copy
			// It is for what outlives the request, whose context the server ends.
			return context.WithoutCancel(c.Request.Context()), x, nil
		}
		return c.Request.Context(), x, nil
	}
	if passage := passageOf(ctx); passage != nil {
		return ctx, &passage.exchange, nil
	}
	// Gin's Context answers for these two keys only, and for none of the request's context.
	if c, ok := ctx.Value(gin.ContextKey).(*gin.Context); ok {
		x, err := a.exchangeOfGin(c)
		if err != nil {
			return nil, nil, err
		}
		return derivedContext{ctx, c.Request.Context()}, x, nil
	}
	return nil, nil, ErrNoRequest
}

// derivedContext ends when the caller's context does. Its values are those of the request: what
// is called with it may outlive the handler, and must not ask a *gin.Context that Gin uses again.
type derivedContext struct {
	context.Context
	values context.Context
}

func (d derivedContext) Value(key any) any { return d.values.Value(key) }

func (a *Auth) exchangeOfGin(c *gin.Context) (*exchange, error) {
	if c.Request == nil {
		return nil, ErrNoRequest
	}
	passage := passageOfGin(c)
	if passage == nil {
		// Of a guard that is still checking.
		kept, _ := c.Get(passageKey{})
		if passage, _ = kept.(*guardPassage); passage != nil && passage.exchange.request != c.Request {
			passage = nil
		}
	}
	switch {
	case passage == nil:
		return a.unguardedExchange(c), nil
	case isCopy(c):
		return passage.exchange.with(c, begunResponse{}), nil
	case passage.response.isLeft():
		// A middleware outside the guard, which answers.
		return passage.exchange.with(c, passage.response.opened(c)), nil
	case !passage.leadsFrom(c):
		passage.response.finish(c.Writer)
		return passage.exchange.with(c, passage.response.opened(c)), nil
	}
	return &passage.exchange, nil
}

// unguardedKey is where Gin keeps what a request without a guard knows.
type unguardedKey struct{ auth *Auth }

func (a *Auth) unguardedExchange(c *gin.Context) *exchange {
	a.unguardedLock.Lock()
	kept, ok := c.Get(unguardedKey{a})
	if !ok {
		kept = &unguardedRequest{}
		c.Set(unguardedKey{a}, kept)
	}
	a.unguardedLock.Unlock()
	shared := kept.(*unguardedRequest)
	x := exchange{known: &shared.known}
	shared.mu.Lock() // another goroutine may be replacing the writer
	defer shared.mu.Unlock()
	if isCopy(c) {
		return x.with(c, begunResponse{})
	}
	return x.with(c, &openResponse{&c.Writer, shared})
}

// isCopy reports whether this is what c.Copy() returns: its writer has lost what it writes to.
func isCopy(c *gin.Context) bool {
	writer, ok := c.Writer.(interface{ Unwrap() http.ResponseWriter })
	return ok && writer.Unwrap() == nil
}
