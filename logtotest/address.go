package logtotest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/logtogin/logtogin/internal/web"
)

// Addresses as browsers write and send them, which is what applications and their cookies go by.

// canonicalBase is a base URL without its trailing slash. A wrong one stays as it is: logtogin.New says what is wrong
// with it.
func canonicalBase(given string) string {
	if u, problem := web.ParseServerURL(given); problem == "" {
		return u.String()
	}
	return strings.TrimRight(given, "/")
}

// pathOf is the path of an address, escaped.
func pathOf(u *url.URL) string {
	path, _, _ := strings.Cut(web.PathAndQuery(u), "?")
	return path
}

// isBelow reports whether an address is the base URL or below it.
func isBelow(u *url.URL, base string) bool {
	return strings.HasPrefix(web.Origin(u)+pathOf(u)+"/", base+"/")
}

// longestAbove is the longest of these base URLs that an address is below, or "".
func longestAbove(u *url.URL, bases []string) (longest string) {
	for _, base := range bases {
		if len(base) > len(longest) && isBelow(u, base) {
			longest = base
		}
	}
	return longest
}

// below is a handler behind a proxy that removes a path. http.StripPrefix compares the decoded path, in which an escaped
// slash cannot be told from a slash.
func below(removed string, handler http.Handler) http.Handler {
	if removed == "" {
		return handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(pathOf(r.URL), removed)
		path, err := url.PathUnescape(rest)
		if !ok || err != nil {
			http.NotFound(w, r)
			return
		}
		address := *r.URL
		if path == "" {
			path = "/"
		}
		address.Path, address.RawPath = path, ""
		if address.EscapedPath() != rest { // as net/http parses an address
			address.RawPath = rest
		}
		proxied := *r
		proxied.URL = &address
		handler.ServeHTTP(w, &proxied)
	})
}

// asSent is for a cookie jar of net/http, which compares the decoded path. Browsers compare it as it is sent (RFC 6265,
// section 5.1.4).
func asSent(u *url.URL) *url.URL {
	sent := *u
	sent.Path, sent.RawPath = pathOf(u), ""
	return &sent
}
