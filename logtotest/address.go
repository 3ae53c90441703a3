package logtotest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/logtogin/logtogin/internal/web"
)

// Addresses as browsers write and send them, which is what applications and their cookies go by.

// Endpoint is the Logto endpoint: "http://127.0.0.1:" and a port, without a
// slash at the end.
func (s *Server) Endpoint() string { return "http://" + s.listener.Addr().String() }

// Issuer is the "iss" of everything that the server issues.
func (s *Server) Issuer() string { return s.Endpoint() + "/oidc" }

// isOwn reports whether an address is one of the server itself.
func (s *Server) isOwn(u *url.URL) bool { return u.Scheme+"://"+u.Host == s.Endpoint() }

// askedBase is the address of the server as a request has it.
func askedBase(r *http.Request) string { return "http://" + r.Host }

// canonicalBase is a base URL without its trailing slash. A wrong one stays as it is: logtogin.New says what is wrong
// with it.
func canonicalBase(given string) string {
	if u, problem := web.ParseServerURL(given); problem == "" {
		return u.String()
	}
	return strings.TrimRight(given, "/")
}

// addBase makes known where an application is.
func (s *Server) addBase(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.baseURLs, base) {
		s.baseURLs = append(s.baseURLs, base)
	}
}

// bases are the base URLs that Config was given.
func (s *Server) bases() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.baseURLs)
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

func isLoopback(hostPort string) bool {
	return web.IsLoopback((&url.URL{Host: hostPort}).Hostname())
}

func originOf(uri string) string {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Host == "" {
		return ""
	}
	return web.Origin(parsed)
}

func withQuery(uri string, parameters url.Values) string {
	if strings.Contains(uri, "?") {
		return uri + "&" + parameters.Encode()
	}
	return uri + "?" + parameters.Encode()
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
