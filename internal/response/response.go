// Package response has the header of a response, corrected when it is sent: cookies that have become vain are left out,
// and no cache may store a response that belongs to one user.
package response

import "net/http"

// Response is the header of a response as far as it can be changed. It is safe for concurrent use.
type Response interface {
	// Change lets f change the header, unless the response has begun, and reports whether it
	// has not.
	Change(f func(header http.Header)) bool
	// SetCookies is Change for the cookies of a session or an attempt with this name. Below a
	// guard they are not sent if they are in vain by then. f reports whether it has set any.
	SetCookies(name string, isVain func() bool, f func(header http.Header) bool) bool
	// HasBegun reports whether the header can no longer be changed.
	HasBegun() bool
	// DependOnSession tells caches that requests with other cookies get other responses. If the
	// request has a session, the response belongs to one user, and no cache may store it.
	DependOnSession(hasOne bool)
}
