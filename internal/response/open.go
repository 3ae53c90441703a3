package response

import (
	"net/http"
	"slices"
	"sync"

	"github.com/logtogin/logtogin/internal/cookiestore"
)

// Open is a response without a guard, whose header is changed at once. Once it has cookies
// of ours, it is corrected when it is sent, but only if the handler writes a body: otherwise Gin
// sends the header past all writers of middlewares.
type Open struct {
	// Place is where the response is written to.
	Place Place
	set   map[string]ownCookies // by their name
}

// Place is where a handler finds its writer. Open holds the lock while it uses the other methods and changes the header.
type Place interface {
	sync.Locker
	// Writer returns nil if the place is another request's by now.
	Writer() Writer
	SetWriter(Writer)
}

// ownCookies are lines that were set, and whether they are in vain by now.
type ownCookies struct {
	lines  []string
	isVain func() bool
}

// BeforeSending takes cookies back that are in vain by now, and keeps all others out of caches. Lines that
// somebody else has set, for a newer session, stay.
func (o *Open) BeforeSending(header http.Header, isSent bool) {
	if isSent {
		return
	}
	o.Place.Lock()
	defer o.Place.Unlock()
	for name, cookies := range o.set {
		if cookies.isVain() {
			isOwn := func(line string) bool { return slices.Contains(cookies.lines, line) }
			cookiestore.ReplaceCookies(header, name, slices.DeleteFunc(cookiestore.CookiesNamed(header["Set-Cookie"], name), isOwn))
		}
		ForbidStoring(header)
	}
	o.set = nil // a call that sets cookies from now on says so again
}

// Change implements Response.
func (o *Open) Change(f func(http.Header)) bool {
	o.Place.Lock()
	defer o.Place.Unlock()
	writer := o.Place.Writer()
	if writer == nil || writer.Written() {
		return false
	}
	f(writer.Header())
	return true
}

// SetCookies implements Response.
func (o *Open) SetCookies(name string, isVain func() bool, f func(http.Header) bool) bool {
	return o.Change(func(header http.Header) {
		if !f(header) {
			return
		}
		ForbidStoring(header)
		if o.set == nil {
			o.set = map[string]ownCookies{}
		}
		o.set[name] = ownCookies{cookiestore.CookiesNamed(header["Set-Cookie"], name), isVain}
		writer := o.Place.Writer()
		if sending, ok := writer.(*Sending); !ok || sending.observer != Observer(o) {
			o.Place.SetWriter(NewSending(writer, o))
		}
	})
}

// HasBegun implements Response.
func (o *Open) HasBegun() bool { return !o.Change(func(http.Header) {}) }

// DependOnSession implements Response.
func (o *Open) DependOnSession(hasOne bool) {
	o.Change(func(header http.Header) {
		if hasOne {
			ForbidStoring(header)
		}
		VaryBy(header, "Cookie")
	})
}
