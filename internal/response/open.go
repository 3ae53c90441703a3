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
	Place Place
	// Own is shared by all Open of a request.
	Own *OwnCookies
}

// Place is where a handler finds its writer. The methods are called while Own is locked.
type Place interface {
	// Writer returns nil if the place is another request's by now.
	Writer() Writer
	SetWriter(Writer)
}

// OwnCookies are the cookies that a request has set without a guard. The zero value has none. It is locked while the
// header is changed or the writer replaced.
type OwnCookies struct {
	sync.Mutex
	set map[string]ownLines // by their name
}

// ownLines are Set-Cookie lines that were set, and whether they are in vain by now.
type ownLines struct {
	lines  []string
	isVain func() bool
}

// BeforeSending takes cookies back that are in vain by now, and keeps all others out of caches. Lines that
// somebody else has set, for a newer session, stay.
func (o *OwnCookies) BeforeSending(header http.Header, isSent bool) {
	if isSent {
		return
	}
	o.Lock()
	defer o.Unlock()
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
	o.Own.Lock()
	defer o.Own.Unlock()
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
		if o.Own.set == nil {
			o.Own.set = map[string]ownLines{}
		}
		o.Own.set[name] = ownLines{cookiestore.CookiesNamed(header["Set-Cookie"], name), isVain}
		writer := o.Place.Writer()
		if sending, ok := writer.(*Sending); !ok || sending.observer != Observer(o.Own) {
			o.Place.SetWriter(NewSending(writer, o.Own))
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
