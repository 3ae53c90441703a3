package logtotest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
)

// route is where the requests for addresses below a base URL go.
type route struct {
	base    string
	path    string // of the base
	handler http.Handler
}

// Serve puts an application that has no listener at baseURL: requests for addresses
// below it go to the handler, those that the server makes (back-channel logouts and
// webhooks) and those of applications with its Config. So an application can be tested
// together with an API that it calls by Auth.HTTPClient:
//
//	logto.Serve("https://orders.example.com", newAPI(logto.Config("")))
//
// As behind a proxy that removes it, the handler does not see the path of baseURL. The
// applications of SignIn, Browser and Visitor need no Serve.
//
// A server of net/http serves the handler, by HTTP/1.1 over a connection in memory. So the handler
// can stream, flush, hijack and set deadlines as in production, and its request is cancelled when
// the client goes away. The TLS of a request to an https address is set, but nothing is encrypted.
func (s *Server) Serve(baseURL string, handler http.Handler) {
	baseURL = canonicalBase(baseURL)
	base, err := url.Parse(baseURL)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes = slices.DeleteFunc(s.routes, func(r route) bool { return r.base == baseURL })
	s.routes = append(s.routes, route{base: baseURL, path: base.EscapedPath(), handler: handler})
}

// Client makes requests to the server, and to the applications that Serve has
// made known, without a socket. It keeps no cookies.
func (s *Server) Client() *http.Client { return &http.Client{Transport: transport{s}} }

// transport sends requests to handlers of this process without a socket: to the
// server itself, and to the applications that Serve has made known. All others
// go to the network.
type transport struct{ *Server }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if handler := t.handlerFor(request.URL); handler != nil {
		return t.serving.RoundTrip(handler, request)
	}
	return t.network.RoundTrip(request)
}

// handlerFor returns nil for an address outside of this process.
func (s *Server) handlerFor(u *url.URL) http.Handler {
	if s.isOwn(u) {
		return s.own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var longest route
	for _, r := range s.routes {
		if len(r.base) > len(longest.base) && isBelow(u, r.base) {
			longest = r
		}
	}
	return below(longest.path, longest.handler)
}

// DialContext connects to an application that Serve, SignIn or Browser has made known, or to the
// server itself, without a socket. It is for clients that do not take an http.Client, such as those
// of WebSockets:
//
//	dialer := websocket.Dialer{NetDialContext: logto.DialContext, NetDialTLSContext: logto.DialContext, Jar: client.Jar}
//	conn, _, err := dialer.DialContext(ctx, "wss://app.example.com/messages", nil)
//
// The client is one of SignIn. An https address, too, is spoken to without TLS.
func (s *Server) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	origin := s.originAt(address)
	if origin == nil {
		return nil, fmt.Errorf("logtotest: nothing is served at %s", address)
	}
	byPath := func(w http.ResponseWriter, r *http.Request) {
		if handler := s.handlerFor(&url.URL{Scheme: origin.Scheme, Host: origin.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}); handler != nil {
			handler.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	}
	return s.serving.Dial(ctx, http.HandlerFunc(byPath), origin.Scheme == "https")
}

// originAt is the origin that is served at a host and port, nil if there is none.
func (s *Server) originAt(address string) *url.URL {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range append([]route{{base: s.Endpoint()}}, s.routes...) {
		u, err := url.Parse(r.base)
		if err != nil {
			continue
		}
		port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		if net.JoinHostPort(u.Hostname(), port) == address {
			return u
		}
	}
	return nil
}
