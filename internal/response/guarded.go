package response

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/logtogin/logtogin/internal/cookiestore"
)

// Guarded is a response below a guard, and the writer for the handlers there. It collects what is added to the header
// when the response is sent. Until then the session may end, and a user who has signed out meanwhile must not get it
// back. Wrap has to be called first.
type Guarded struct {
	Sending
	// Before is what was set before the guard, or nil.
	Before *OwnCookies

	isClosed, hasLeft, isPrivate atomic.Bool // each becomes true once

	mu        sync.Mutex
	header    http.Header            // what is added; nil as long as that is nothing
	isVain    map[string]func() bool // whether cookies of this name are
	dependsOn [2]string              // names of request headers: Cookie and Authorization
	// What Cache-Control and Vary lead to, which belong to this response alone: a handler may
	// change them in place.
	lines [3]string
}

// Wrap makes the response one that w sends, and returns the writer for the handlers.
func (r *Guarded) Wrap(w Writer) *Guarded {
	r.Sending = Sending{w, w.Header(), r}
	return r
}

// DependOn tells caches that requests with another header of this name get other responses. There is room for two names.
func (r *Guarded) DependOn(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.dependsOn[:], ""); i >= 0 && !slices.Contains(r.dependsOn[:], name) {
		r.dependsOn[i] = name
	}
}

// DependOnSession implements Response. It need not say that the response depends on cookies: what passes a guard depends
// on the credentials anyway.
func (r *Guarded) DependOnSession(hasOne bool) { r.isPrivate.CompareAndSwap(false, hasOne) }

// Change implements Response.
func (r *Guarded) Change(f func(http.Header)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosed.Load() {
		return false
	}
	if r.header == nil {
		r.header = http.Header{}
	}
	f(r.header)
	return true
}

// SetCookies implements Response.
func (r *Guarded) SetCookies(name string, isVain func() bool, f func(http.Header) bool) bool {
	return r.Change(func(header http.Header) {
		if !f(header) {
			return
		}
		if r.isVain == nil {
			r.isVain = map[string]func() bool{}
		}
		r.isVain[name] = isVain
		r.isPrivate.Store(true)
	})
}

// HasBegun implements Response.
func (r *Guarded) HasBegun() bool { return r.isClosed.Load() }

// Leave says that the guard has returned. Middlewares outside may still answer. Gin itself sends a header without
// a body past the writers of middlewares; that is why Leave corrects the header, too.
func (r *Guarded) Leave() {
	r.tell()
	r.hasLeft.Store(true)
}

// HasLeft reports whether the guard has returned.
func (r *Guarded) HasLeft() bool { return r.hasLeft.Load() }

// Announce sets the header already before the handler runs, for a handler that lets Gin begin
// anew with Engine.HandleContext.
func (r *Guarded) Announce(header http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isClosed.Load() {
		r.forbid(header)
	}
}

// forbid keeps the response out of caches. It allocates nothing, unlike ForbidStoring.
func (r *Guarded) forbid(header http.Header) {
	if set := header["Cache-Control"]; r.isPrivate.Load() && (len(set) != 1 || set[0] != privateNoStore) {
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
		VaryBy(header, name)
	}
}

// BeforeSending adds to the header what was collected, once. That is at the first moment at which the response is sent,
// because handlers and file servers change the header until then (net/http deletes Cache-Control from a 404).
func (r *Guarded) BeforeSending(header http.Header, isSent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isClosed.Swap(true) || isSent {
		return
	}
	if r.Before != nil {
		r.Before.BeforeSending(header, false)
	}
	for name, isVain := range r.isVain {
		if isVain() {
			cookiestore.ReplaceCookies(r.header, name, nil)
		} else { // newer than cookies of a middleware before the guard
			cookiestore.ReplaceCookies(header, name, nil)
		}
	}
	if added := r.header["Set-Cookie"]; len(added) > 0 {
		r.header["Set-Cookie"] = slices.Concat(header["Set-Cookie"], added)
	}
	maps.Copy(header, r.header)
	if r.isPrivate.Load() {
		dropCacheRules(header)
	}
	r.forbid(header)
}
