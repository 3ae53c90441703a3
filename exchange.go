package logtogin

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/session"
)

// isOf reports whether c still has the key of a response. Gin forgets the keys before it uses c
// again, and with Engine.HandleContext.
func isOf(c *gin.Context, r response.Response) bool {
	switch r := r.(type) {
	case *guardedResponse:
		kept, ok := c.Get(passageKey{})
		return ok && kept.(*guardPassage).response == r
	case *openResponse:
		kept, ok := c.Get(unguardedKey{})
		return ok && kept == any(r.shared)
	}
	return true // of a copy
}

// isLate reports whether Gin handles another request with c by now: a middleware that has given up
// waiting for the handler has handed c back. The server has ended the context of the request then.
func isLate(c *gin.Context, x *session.Exchange) bool {
	return x.Request.Context().Err() != nil && // c is looked at only then
		c.Request != x.Request && !isOf(c, x.Response) && !isSameHeader(c.Request.Header, x.Request.Header)
}

// hookContext is what a hook gets that is called after something has taken its time: the handler's
// *gin.Context, or if Gin uses that for another request by now, the copy that was made before.
type hookContext struct{ handlers, copied *gin.Context }

func (h hookContext) of(x *session.Exchange) *gin.Context {
	if !isLate(h.handlers, x) {
		return h.handlers
	}
	h.copied.Writer = goneWriter{h.copied.Writer}
	return h.copied
}

// isSameHeader reports whether these are one, and not only alike. A request keeps it when it gets
// another context.
func isSameHeader(a, b http.Header) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// with is the same request with another response, as a handler sees it that has this context.
func with(x session.Exchange, c *gin.Context, r response.Response) *session.Exchange {
	x.Request, x.Route, x.Response = c.Request, c.FullPath(), r
	return &x
}

// begunResponse is the response of a copy, which nobody can change.
type begunResponse struct{}

func (begunResponse) Change(func(http.Header)) bool { return false }
func (begunResponse) SetCookies(string, func() bool, func(http.Header) bool) bool {
	return false
}
func (begunResponse) HasBegun() bool       { return true }
func (begunResponse) DependOnSession(bool) {}

// unguardedRequest is what the exchanges of a request without a guard share, of any Auth.
type unguardedRequest struct {
	known session.Known

	mu  sync.Mutex            // of the response's header
	set map[string]ownCookies // by their name
}

// ownCookies are lines that were set, and whether they are in vain by now.
type ownCookies struct {
	lines  []string
	isVain func() bool
}

// correct takes cookies back that are in vain by now, and keeps all others out of caches. Lines that
// somebody else has set, for a newer session, stay.
func (u *unguardedRequest) correct(header http.Header) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, cookies := range u.set {
		if cookies.isVain() {
			header["Set-Cookie"] = slices.DeleteFunc(slices.Clone(header["Set-Cookie"]), func(line string) bool { return slices.Contains(cookies.lines, line) })
			if len(header["Set-Cookie"]) == 0 {
				delete(header, "Set-Cookie")
			}
		}
		forbidStoring(header)
	}
	u.set = nil // a call that sets cookies from now on says so again
}

// openResponse is a response without a guard, whose header is changed at once. Once it has cookies
// of ours, it is corrected when it is sent, but only if the handler writes a body: otherwise Gin
// sends the header past all writers of middlewares.
type openResponse struct {
	c      *gin.Context
	shared *unguardedRequest
}

// openWriter is what openResponse gives to the handler.
type openWriter struct {
	sendingWriter
	shared *unguardedRequest
}

func (w *openWriter) beforeSending() {
	if !w.Written() {
		w.shared.correct(w.Header())
	}
}

func (r *openResponse) Change(f func(http.Header)) bool {
	r.shared.mu.Lock()
	defer r.shared.mu.Unlock()
	if !isOf(r.c, r) || r.c.Writer.Written() {
		return false
	}
	f(r.c.Writer.Header())
	return true
}

func (r *openResponse) SetCookies(name string, isVain func() bool, f func(http.Header) bool) bool {
	return r.Change(func(header http.Header) {
		if !f(header) {
			return
		}
		forbidStoring(header)
		if r.shared.set == nil {
			r.shared.set = map[string]ownCookies{}
		}
		r.shared.set[name] = ownCookies{cookiestore.CookiesNamed(header["Set-Cookie"], name), isVain}
		if corrected, ok := r.c.Writer.(*openWriter); !ok || corrected.shared != r.shared {
			writer := &openWriter{sendingWriter{ResponseWriter: r.c.Writer}, r.shared}
			writer.observer = writer
			r.c.Writer = writer
		}
	})
}

func (r *openResponse) HasBegun() bool { return !r.Change(func(http.Header) {}) }

func (r *openResponse) DependOnSession(hasOne bool) {
	if hasOne {
		r.Change(forbidStoring)
		return
	}
	r.Change(func(header http.Header) { varyBy(header, "Cookie") })
}

const privateNoStore = "private, no-store"

// forbidStoring keeps a response that belongs to one user out of every cache.
func forbidStoring(header http.Header) {
	dropCacheRules(header)
	header.Set("Cache-Control", privateNoStore)
	varyBy(header, "Cookie")
}

// dropCacheRules removes what would overrule Cache-Control: fields for certain caches (RFC 9213),
// and fields that were set past http.Header's methods.
func dropCacheRules(header http.Header) {
	const suffix = "cache-control"
	for name := range header {
		if name == "Cache-Control" { // is set anyway
			continue
		}
		start := len(name) - len(suffix)
		if (start >= 0 && strings.EqualFold(name[start:], suffix)) || strings.EqualFold(name, "Surrogate-Control") {
			delete(header, name)
		}
	}
}

// varyBy tells caches that requests with another header of this name get other responses.
func varyBy(header http.Header, name string) {
	for _, line := range header.Values("Vary") {
		for listed := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(listed), name) {
				return
			}
		}
	}
	header.Add("Vary", name)
}
