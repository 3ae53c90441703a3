package logtotest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// transport sends requests to handlers of this process without a socket: to the
// server itself, and to the applications that Serve has made known. All others
// go to the network.
type transport struct {
	server  *Server
	network *http.Transport
	memory  *http.Transport // whose connections have no socket
}

func newTransport(s *Server) *transport {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.dial(ctx, ctx.Value(answererKey{}).(answerer))
	}
	return &transport{server: s, network: &http.Transport{}, memory: &http.Transport{
		DialContext: dial, DialTLSContext: dial,
		// A server of net/http always tells whether it wants the body.
		ExpectContinueTimeout: time.Hour,
		// Each request has a connection of its own: the handler runs on behalf of that request,
		// and in its bubble of testing/synctest.
		MaxIdleConnsPerHost: -1,
	}}
}

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

// handlerFor returns nil for an address outside of this process.
func (t *transport) handlerFor(u *url.URL) http.Handler {
	origin := u.Scheme + "://" + u.Host
	if origin == t.server.Endpoint() {
		return t.server.own
	}
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	var bases []string
	for _, r := range t.server.routes {
		bases = append(bases, r.base)
	}
	longest := longestAbove(u, bases)
	for _, r := range t.server.routes {
		if longest != "" && r.base == longest {
			return below(r.path, r.handler)
		}
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if handler := t.handlerFor(request.URL); handler != nil {
		return t.serve(handler, request)
	}
	return t.network.RoundTrip(request)
}

var errServerClosed = errors.New("logtotest: the server has been closed")

// answerer is who answers the requests of a connection in memory.
type answerer struct {
	handler http.Handler
	isTLS   bool
	user    any // the value of testUserKey
}

// answererKey is where the context of a request has it, at the client and at the server.
type answererKey struct{}

func (a answerer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.user != nil {
		r = r.WithContext(context.WithValue(r.Context(), testUserKey{}, a.user))
	}
	if a.isTLS {
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, NegotiatedProtocol: "http/1.1", ServerName: (&url.URL{Host: r.Host}).Hostname()}
	}
	a.handler.ServeHTTP(w, r)
}

func (t *transport) serve(handler http.Handler, request *http.Request) (*http.Response, error) {
	if t.server.lifetime.Err() != nil {
		return nil, errServerClosed
	}
	answering := answerer{handler, request.URL.Scheme == "https", request.Context().Value(testUserKey{})}
	ctx, cancel := context.WithCancel(context.WithValue(request.Context(), answererKey{}, answering))
	// A test that forgets to close a body leaves no goroutine behind when the server is closed.
	forget := context.AfterFunc(t.server.lifetime, cancel)
	release := func() { forget(); cancel() }
	response, err := t.memory.RoundTrip(request.WithContext(ctx))
	if err != nil {
		release()
		return nil, err
	}
	response.Request = request
	if _, isConnection := response.Body.(io.Writer); isConnection || response.Body == http.NoBody {
		release()
	} else {
		response.Body = &releasingBody{response.Body, release}
	}
	return response, nil
}

// releasingBody is a body whose request holds something until it is closed.
type releasingBody struct {
	io.ReadCloser
	release func()
}

func (b *releasingBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
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
		if handler := s.outgoing.handlerFor(&url.URL{Scheme: origin.Scheme, Host: origin.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}); handler != nil {
			handler.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	}
	return s.dial(ctx, answerer{handler: http.HandlerFunc(byPath), isTLS: origin.Scheme == "https"})
}

// originAt is the origin that is served at a host and port, nil if there is none.
func (s *Server) originAt(address string) *url.URL {
	s.mu.Lock()
	defer s.mu.Unlock()
	bases := []string{s.Endpoint()}
	for _, r := range s.routes {
		bases = append(bases, r.base)
	}
	for _, base := range bases {
		u, err := url.Parse(base)
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

// dial connects to an answerer, whose server runs on behalf of the caller.
func (s *Server) dial(ctx context.Context, answering answerer) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, server := newConnection(answering)
	// The lock keeps Close from coming in between: it closes all connections that are served by then.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lifetime.Err() != nil {
		return nil, errServerClosed
	}
	s.clients[server] = client
	_ = s.http.Serve(&oneConnection{conn: server}) // returns at once
	return client, nil
}

// oneConnection is a listener to which one client connects.
type oneConnection struct{ conn net.Conn }

func (l *oneConnection) Accept() (net.Conn, error) {
	conn := l.conn
	if l.conn = nil; conn == nil {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l *oneConnection) Close() error   { return nil }
func (l *oneConnection) Addr() net.Addr { return serverAddress }
