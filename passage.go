package logtogin

import (
	"context"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/session"
)

// guardPassage is a request on its way through a guard, and who was let through. It is the context
// of the request afterwards, so that handlers below gin.WrapH find it, too.
type guardPassage struct {
	context.Context // that the request had before
	exchange        session.Exchange
	identity        identity
	admitted        atomic.Pointer[identity] // of the field before, once that is set
	handler         uintptr                  // of the *gin.Context, to be compared: it must not be kept

	// response belongs to the outermost guard: nested guards collect in one place.
	response *guardedResponse
	own      guardedResponse // of the outermost guard
	known    session.Known   // likewise, unless something was known before
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
	if kept, ok := c.Get(passageKey{}); ok {
		return kept.(*guardPassage) // whatever the handler has done to its request since
	}
	passage := passageOf(c.Request.Context())
	if passage == nil {
		return nil
	}
	before, now := passage.exchange.Request.Header, c.Request.Header
	if !slices.Equal(before["Cookie"], now["Cookie"]) || !slices.Equal(before["Authorization"], now["Authorization"]) {
		return nil
	}
	return passage
}

// leadsFrom reports whether what is written through c passes the writer of the outermost guard.
func (p *guardPassage) leadsFrom(c *gin.Context) bool {
	switch {
	case isOf(c, p.response):
		return true
	case p.handler == pointerOf(c): // after Engine.HandleContext, with which Gin has forgotten the writer and its keys
		return false
	}
	// The *gin.Context of an inner engine, below gin.WrapH, or of a request that the handler has made.
	return isSameHeader(writerOf(c).Header(), p.response.sent)
}

func pointerOf(c *gin.Context) uintptr { return reflect.ValueOf(c).Pointer() }

// writerOf is the writer of c, which a goroutine that asks without a guard may be replacing.
func writerOf(c *gin.Context) gin.ResponseWriter {
	if kept, ok := c.Get(unguardedKey{}); ok {
		shared := kept.(*unguardedRequest)
		shared.mu.Lock()
		defer shared.mu.Unlock()
	}
	return c.Writer
}

// who is nobody as long as the guard is checking.
func (p *guardPassage) who() *identity {
	if admitted := p.admitted.Load(); admitted != nil {
		return admitted
	}
	return &identity{}
}

// identityOf returns what the last guard has found, or nil if there was none; and the *gin.Context
// that the context belongs to, if it is one or derived from one.
func identityOf(ctx context.Context) (who *identity, c *gin.Context) {
	c, isGin := ctx.(*gin.Context)
	if !isGin {
		c, _ = ctx.Value(gin.ContextKey).(*gin.Context)
	}
	if c == nil {
		if passage := passageOf(ctx); passage != nil {
			return passage.who(), nil
		}
		return nil, nil
	}
	if c.Request == nil {
		return nil, c
	}
	if passage := passageOfGin(c); passage != nil {
		return passage.who(), c
	}
	return nil, c
}

// enter begins the passage through a guard whose response depends on this request header, and is
// nobody else's if that is known beforehand. leave must be deferred.
func (a *Auth) enter(c *gin.Context, dependsOn string, isPrivate bool) *guardPassage {
	p := &guardPassage{Context: c.Request.Context(), handler: pointerOf(c)}
	outer := passageOfGin(c)
	if outer != nil && outer.leadsFrom(c) && !outer.response.HasBegun() {
		p.response = outer.response
		p.response.dependOn(dependsOn)
		p.response.DependOnSession(isPrivate)
	} else {
		if outer != nil && outer.handler == p.handler { // Engine.HandleContext has begun anew
			outer.response.finish(c.Writer.Header(), c.Writer.Written())
		}
		p.response = &p.own
		p.own.original, p.own.writer = c.Request, sendingWriter{ResponseWriter: c.Writer, observer: &p.own}
		p.own.sent = c.Writer.Header()
		p.own.dependsOn[0], p.own.isPrivate = dependsOn, isPrivate
		c.Writer = &p.own.writer
	}
	p.known.Cookies = c.Request.Header["Cookie"]
	p.exchange = session.Exchange{Request: c.Request, Route: c.FullPath(), Response: p.response, Known: &p.known}
	// What is known already need not be read again.
	if kept, ok := c.Get(unguardedKey{}); ok {
		p.own.before = kept.(*unguardedRequest)
		if p.own.before.known.AreOf(c.Request) {
			p.exchange.Known = &p.own.before.known
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

// admit makes somebody the one whom the handlers after the guard see.
func (p *guardPassage) admit(c *gin.Context, who identity) {
	p.identity = who
	p.admitted.Store(&p.identity)
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
	p.Context = c.Request.Context() // a requirement may have changed it
	c.Request = c.Request.WithContext(p)
	p.response.announce(c.Writer.Header())
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
	p.own.leave()
	// Of another request neither the writer nor the context is this guard's.
	if c.Writer == gin.ResponseWriter(&p.own.writer) {
		c.Writer = p.own.writer.ResponseWriter
	}
	if form := c.Request.MultipartForm; form != nil && p.own.original.MultipartForm == nil {
		// The server removes the temporary files of the request that it has made, not of a copy.
		if last := passageOf(c.Request.Context()); last != nil && last.response == p.response {
			p.own.original.MultipartForm = form
		}
	}
}

// guardedResponse collects what is added to the header of a response when it is sent. Until
// then the session may end, and a user who has signed out meanwhile must not get it back.
type guardedResponse struct {
	writer   sendingWriter
	sent     http.Header // is what the writer sends
	original *http.Request
	before   *unguardedRequest // what was set before the guard

	mu        sync.Mutex
	header    http.Header            // what is added; nil as long as that is nothing
	isVain    map[string]func() bool // whether cookies of this name are
	isPrivate bool
	hasLeft   bool // the guard
	isClosed  bool
	dependsOn [2]string // names of request headers
	// What Cache-Control and Vary lead to, which belong to this response alone: a handler may
	// change them in place.
	lines [3]string
}

func (r *guardedResponse) dependOn(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, known := range r.dependsOn {
		if known == name {
			return
		}
		if known == "" {
			r.dependsOn[i] = name
			return
		}
	}
}

func (r *guardedResponse) Change(f func(http.Header)) bool {
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

func (r *guardedResponse) SetCookies(name string, isVain func() bool, f func(http.Header) bool) bool {
	return r.Change(func(header http.Header) {
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

func (r *guardedResponse) HasBegun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.isClosed
}

// DependOnSession need not say that the response depends on cookies: what passes a guard depends
// on the credentials anyway.
func (r *guardedResponse) DependOnSession(hasOne bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isPrivate = r.isPrivate || hasOne
}

// leave says that the guard has returned. Middlewares outside may still answer.
func (r *guardedResponse) leave() {
	r.beforeSending()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hasLeft = true
}

func (r *guardedResponse) isLeft() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasLeft
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
	if set := header["Cache-Control"]; r.isPrivate && (len(set) != 1 || set[0] != privateNoStore) {
		r.lines[0] = privateNoStore
		header["Cache-Control"] = r.lines[0:1:1]
	}
	names := r.dependsOn[:]
	if names[1] == "" {
		names = names[:1]
	}
	if len(header["Vary"]) == 0 {
		end := 1 + copy(r.lines[1:], names)
		header["Vary"] = r.lines[1:end:end]
		return
	}
	for _, name := range names {
		if lines := header["Vary"]; !slices.Contains(lines, name) {
			varyBy(header, name)
		}
	}
}

// beforeSending corrects the header at the first moment at which the response is sent, because
// handlers and file servers change it until then (net/http deletes Cache-Control from a 404).
// Gin itself sends a header without a body past the writers of middlewares; that is why leave
// corrects it, too.
func (r *guardedResponse) beforeSending() {
	r.finish(r.sent, r.writer.Written())
}

// finish adds to the header what was collected, once.
func (r *guardedResponse) finish(header http.Header, isSent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosed {
		return
	}
	r.isClosed = true
	if isSent {
		return
	}
	if r.before != nil {
		r.before.correct(header)
	}
	for name, isVain := range r.isVain {
		if lines := cookiestore.CookiesNamed(r.header["Set-Cookie"], name); !isVain() {
			cookiestore.ReplaceCookies(header, name, lines)
		}
		cookiestore.ReplaceCookies(r.header, name, nil)
	}
	for name, lines := range r.header {
		if name == "Set-Cookie" {
			lines = append(slices.Clip(header[name]), lines...)
		}
		header[name] = lines
	}
	if r.isPrivate {
		dropCacheRules(header)
	}
	r.forbid(header)
}

// exchangeOf finds the exchange that a context belongs to: a *gin.Context, one that is derived
// from it, or the context of a request that a guard has let through. It also returns the context
// that the caller waits with. The error is ErrNoRequest.
func (a *Auth) exchangeOf(ctx context.Context) (context.Context, *session.Exchange, error) {
	if c, ok := ctx.(*gin.Context); ok {
		x, err := a.exchangeOfGin(c)
		if err != nil {
			return nil, nil, err
		}
		if x.Response == (begunResponse{}) { // of a copy
			// It is for what outlives the request, whose context the server ends.
			return context.WithoutCancel(c.Request.Context()), x, nil
		}
		return c.Request.Context(), x, nil
	}
	// Before the context of the request, which Gin's Context answers for with
	// Engine.ContextWithFallback.
	if c, ok := ctx.Value(gin.ContextKey).(*gin.Context); ok {
		x, err := a.exchangeOfGin(c)
		if err != nil {
			return nil, nil, err
		}
		return derivedContext{ctx, c.Request.Context()}, x, nil
	}
	if passage := passageOf(ctx); passage != nil {
		return ctx, &passage.exchange, nil
	}
	return nil, nil, ErrNoRequest
}

// derivedContext ends when the caller's context does, and has the values of the request. A call with
// it may outlive the handler, and must not ask a *gin.Context that Gin uses again.
type derivedContext struct {
	context.Context
	values context.Context
}

func (d derivedContext) Value(key any) any { return d.values.Value(key) }

func (a *Auth) exchangeOfGin(c *gin.Context) (*session.Exchange, error) {
	if c.Request == nil {
		return nil, ErrNoRequest
	}
	passage := passageOfGin(c)
	switch {
	case passage == nil:
		return unguardedExchange(c), nil
	case isCopy(writerOf(c)):
		return with(passage.exchange, c, begunResponse{}), nil
	case !passage.response.isLeft() && passage.leadsFrom(c):
		if pointerOf(c) != passage.handler {
			c.Set(passageKey{}, passage) // of an inner engine, for isOf
		}
		return &passage.exchange, nil
	}
	// A middleware outside the guard, which answers, or Engine.HandleContext has begun anew, or it is
	// a request that the handler has made, with a writer of its own.
	shared := unguardedRequestOf(c)
	if !passage.response.isLeft() && pointerOf(c) == passage.handler {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		passage.response.finish(c.Writer.Header(), c.Writer.Written())
	}
	return with(passage.exchange, c, &openResponse{c, shared}), nil
}

// unguardedKey is where Gin keeps what a request without a guard knows.
type unguardedKey struct{}

func unguardedExchange(c *gin.Context) *session.Exchange {
	shared := unguardedRequestOf(c)
	x := session.Exchange{Known: &shared.known}
	if isCopy(writerOf(c)) {
		return with(x, c, begunResponse{})
	}
	return with(x, c, &openResponse{c, shared})
}

// creating is held while a request gets its unguardedRequest: Gin has no call that sets a key
// unless it is there, and goroutines of one handler may ask several Auth at the same time.
var creating sync.Mutex

func unguardedRequestOf(c *gin.Context) *unguardedRequest {
	if kept, ok := c.Get(unguardedKey{}); ok {
		return kept.(*unguardedRequest)
	}
	creating.Lock()
	defer creating.Unlock()
	if kept, ok := c.Get(unguardedKey{}); ok {
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
