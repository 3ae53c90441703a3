// Package response is the header of a response, corrected when it is sent. It leaves out the cookies of a session that
// has ended meanwhile, and keeps a response that belongs to one user out of every cache.
package response

import (
	"net/http"
	"slices"
	"strings"
)

// Response is the header of a response as far as it can be changed. It is safe for concurrent use.
type Response interface {
	// Change lets f change the header, unless the response has begun, and reports whether it
	// has not.
	Change(f func(header http.Header)) bool
	// SetCookies is Change for the cookies of a session or an attempt with this name. They are removed if isVain returns
	// true when the response is sent; without a guard only if it has a body. f returns whether it has set any.
	SetCookies(name string, isVain func() bool, f func(header http.Header) bool) bool
	// HasBegun reports whether the header can no longer be changed.
	HasBegun() bool
	// DependOnSession tells caches that requests with other cookies get other responses. If the
	// request has a session, the response belongs to one user, and no cache may store it.
	DependOnSession(hasOne bool)
}

// Begun is a Response that nobody can change.
type Begun struct{}

// Change returns false.
func (Begun) Change(func(http.Header)) bool { return false }

// SetCookies returns false.
func (Begun) SetCookies(string, func() bool, func(http.Header) bool) bool { return false }

// HasBegun returns true.
func (Begun) HasBegun() bool { return true }

// DependOnSession does nothing.
func (Begun) DependOnSession(bool) {}

const privateNoStore = "private, no-store"

// ForbidStoring keeps a response that belongs to one user out of every cache.
func ForbidStoring(header http.Header) {
	dropCacheRules(header)
	header.Set("Cache-Control", privateNoStore)
	VaryBy(header, "Cookie")
}

// dropCacheRules removes what would overrule Cache-Control: fields for certain caches (RFC 9213),
// and fields that were set past http.Header's methods.
func dropCacheRules(header http.Header) {
	const suffix = "cache-control"
	for name := range header {
		isRule := strings.EqualFold(name[max(0, len(name)-len(suffix)):], suffix) || strings.EqualFold(name, "Surrogate-Control")
		if isRule && name != "Cache-Control" { // which is set anyway
			delete(header, name)
		}
	}
}

// VaryBy tells caches that requests with another header of this name get other responses.
func VaryBy(header http.Header, name string) {
	if slices.Contains(header["Vary"], name) {
		return
	}
	for _, line := range header["Vary"] {
		for listed := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(listed), name) {
				return
			}
		}
	}
	header.Add("Vary", name)
}
