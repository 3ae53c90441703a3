package logtogin

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/anystore"
)

// guardPassage is a request on its way through a guard: the exchange, the response that is
// corrected when it is sent, and who was let through. It is the context of the request
// afterwards, so that handlers below gin.WrapH find it, too.
type guardPassage struct {
	context.Context // that the request had before
	exchange        exchange
	response        guardedResponse
	writer          sendingWriter
	known           knownSessions
	original        *http.Request

	// identity is set before the request gets this context, and never again.
	identity identity
}

// identity is who a guard has let through: a user by a session, or a token, or with Optional
// nobody. Each guard hides what the guards before it have found.
type identity struct {
	claims      *Claims
	accessToken *AccessTokenClaims
}

// passageKey is the key of the last guard in the context of a request, and in a *gin.Context.
type passageKey struct{}

// Value finds this passage before those of the guards outside.
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
	if passage := passageOf(c.Request.Context()); passage != nil {
		return &passage.identity, c
	}
	return nil, c
}

// enter begins the passage through a guard whose response depends on this request header.
// leave must be deferred.
func (a *Auth) enter(c *gin.Context, varyBy string) *guardPassage {
	p := &guardPassage{Context: c.Request.Context(), original: c.Request}
	p.response.dependsOn = varyBy
	p.exchange = exchange{c.Request, c.FullPath(), &p.response, &p.known, false}
	// What is known already need not be read again.
	if outer := passageOf(c.Request.Context()); outer != nil {
		p.exchange.known = outer.exchange.known
	} else if kept, ok := c.Get(unguardedKey{a}); ok {
		p.exchange.known = &kept.(*unguardedRequest).known
	}
	p.writer = sendingWriter{c.Writer, p}
	c.Writer = &p.writer
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
}

// leave ends the passage, also if a handler panics: a Recovery outside still sends the header.
func (p *guardPassage) leave(c *gin.Context) {
	p.beforeSending()
	p.response.close()
	c.Writer = p.writer.ResponseWriter
	// The server removes the temporary files of the request that it has made, not of a copy.
	if p.original.MultipartForm == nil && c.Request != nil {
		p.original.MultipartForm = c.Request.MultipartForm
	}
}

// beforeSending corrects the header at the first moment at which the response is sent, because
// handlers and file servers change it until then (net/http deletes Cache-Control from a 404).
// Gin itself sends a header without a body past the writers of middlewares; that is why leave
// corrects it, too.
func (p *guardPassage) beforeSending() {
	if inner := p.writer.ResponseWriter; !inner.Written() {
		p.response.finish(inner.Header())
	} else {
		p.response.close()
	}
}

// guardedResponse collects what is added to the header of a response when it is sent. Until
// then the session may end, and whoever has signed out meanwhile must not get it back.
type guardedResponse struct {
	dependsOn string // the request header that decides about the response

	mu        sync.Mutex
	header    http.Header            // what is added; nil as long as that is nothing
	isOver    map[string]func() bool // whether the session is, by the name of its cookies
	isPrivate bool
	isClosed  bool
	lines     [2]string // what Cache-Control and Vary lead to
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

func (r *guardedResponse) takeBackIf(name string, isOver func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isOver == nil {
		r.isOver = map[string]func() bool{}
	}
	r.isOver[name] = isOver
}

func (r *guardedResponse) hasBegun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isClosed
}

func (r *guardedResponse) forbidStoring() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isPrivate = true
}

// vary has nothing to do: what passes a guard depends on it.
func (r *guardedResponse) vary() {}

func (r *guardedResponse) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isClosed = true
}

// finish adds to the header what was collected, once.
func (r *guardedResponse) finish(header http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosed {
		return
	}
	r.isClosed = true
	for name, isOver := range r.isOver {
		if isOver() {
			anystore.TakeBack(r.header, name)
		}
	}
	for name, lines := range r.header {
		header[name] = append(slices.Clip(header[name]), lines...)
		r.isPrivate = true
	}
	if r.isPrivate {
		r.lines[0] = privateNoStore
		header["Cache-Control"] = r.lines[0:1:1]
	}
	if len(header["Vary"]) == 0 {
		r.lines[1] = r.dependsOn
		header["Vary"] = r.lines[1:2:2]
	} else {
		varyBy(header, r.dependsOn)
	}
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
		return c.Request.Context(), x, nil
	}
	if passage := passageOf(ctx); passage != nil {
		return ctx, &passage.exchange, nil
	}
	// Gin's Context answers for these two keys only, and for none of the request's context.
	if c, ok := ctx.Value(gin.ContextKey).(*gin.Context); ok {
		x, err := a.exchangeOfGin(c)
		return ctx, x, err
	}
	return nil, nil, ErrNoRequest
}

func (a *Auth) exchangeOfGin(c *gin.Context) (*exchange, error) {
	if c.Request == nil {
		return nil, ErrNoRequest
	}
	passage := passageOf(c.Request.Context())
	if passage == nil {
		kept, _ := c.Get(passageKey{})
		passage, _ = kept.(*guardPassage)
	}
	switch {
	case passage != nil && isCopy(c):
		return &exchange{c.Request, c.FullPath(), begunResponse{}, passage.exchange.known, passage.exchange.isByToken}, nil
	case passage != nil:
		return &passage.exchange, nil
	}
	shared := a.unguarded(c)
	if isCopy(c) {
		return &exchange{c.Request, c.FullPath(), begunResponse{}, &shared.known, false}, nil
	}
	return &exchange{c.Request, c.FullPath(), &openResponse{c.Writer, &shared.mu}, &shared.known, false}, nil
}

// unguardedKey is where Gin keeps what a request without a guard knows.
type unguardedKey struct{ auth *Auth }

// unguardedRequest is what the exchanges of a request without a guard share.
type unguardedRequest struct {
	known knownSessions
	mu    sync.Mutex // of the response's header
}

func (a *Auth) unguarded(c *gin.Context) *unguardedRequest {
	a.unguardedLock.Lock()
	defer a.unguardedLock.Unlock()
	if kept, ok := c.Get(unguardedKey{a}); ok {
		return kept.(*unguardedRequest)
	}
	made := &unguardedRequest{}
	c.Set(unguardedKey{a}, made)
	return made
}

// isCopy reports whether this is what c.Copy() returns: its writer has lost what it writes to.
func isCopy(c *gin.Context) bool {
	writer, ok := c.Writer.(interface{ Unwrap() http.ResponseWriter })
	return ok && writer.Unwrap() == nil
}
