// Package serving serves HTTP for the fake Logto: one handler to a listener, and any handler to
// clients of the same process, by HTTP/1.1 over connections that have no socket.
package serving

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Server serves until Close. Start makes one. All its methods may be called at any time.
type Server struct {
	http        *http.Server
	memory      *http.Transport // whose connections have no socket
	listener    net.Listener
	lifetime    context.Context
	stop        context.CancelFunc
	running     sync.WaitGroup
	connections sync.WaitGroup
	stopping    sync.Once

	mu      sync.Mutex
	clients map[net.Conn]net.Conn // in memory, by the connection at the server
}

// Start serves a handler to those who connect to the listener. errorLog is what http.Server
// takes.
func Start(listener net.Listener, handler http.Handler, errorLog *log.Logger) *Server {
	s := &Server{listener: listener, clients: map[net.Conn]net.Conn{}}
	s.lifetime, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.answering(handler),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return s.lifetime },
		ConnContext:       withAnswerer,
		ConnState:         s.countConnection,
		ErrorLog:          errorLog,
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		answering := ctx.Value(answererKey{}).(answerer)
		return s.Dial(ctx, answering.handler, answering.isTLS)
	}
	s.memory = &http.Transport{
		DialContext: dial, DialTLSContext: dial,
		// A server of net/http always tells whether it wants the body.
		ExpectContinueTimeout: time.Hour,
		// Each request has a connection of its own: the handler runs on behalf of that request,
		// and in its bubble of testing/synctest.
		MaxIdleConnsPerHost: -1,
	}
	s.running.Go(func() { _ = s.http.Serve(listener) })
	return s
}

// Lifetime ends when the server is closed.
func (s *Server) Lifetime() context.Context { return s.lifetime }

// Close drops all connections, cancels the contexts of the requests that are being answered and
// waits until their handlers have returned. Further calls do nothing.
func (s *Server) Close() {
	s.stopping.Do(func() {
		s.mu.Lock()
		// In memory, the clients leave. So a handler that is writing its answer sees no error.
		for _, client := range s.clients {
			_ = client.Close()
		}
		// The connections go first, so that no handler can still answer.
		_ = s.http.Close()
		// Serve may not have taken over the listener yet.
		_ = s.listener.Close()
		s.stop()
		s.mu.Unlock()
		s.connections.Wait() // first, because their handlers are added to running
		s.running.Wait()
	})
}

func (s *Server) countConnection(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateHijacked:
		s.connections.Done() // those in memory stay among the clients, because the http.Server forgets them
	case http.StateClosed:
		s.connections.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.clients, conn)
	}
}

// answerer is who answers the requests of a connection in memory.
type answerer struct {
	handler http.Handler
	isTLS   bool
}

// answererKey is where the context of a request has it, at the client and at the server.
type answererKey struct{}

func withAnswerer(ctx context.Context, conn net.Conn) context.Context {
	if conn, inMemory := conn.(*connection); inMemory {
		return context.WithValue(ctx, answererKey{}, conn.answering)
	}
	return ctx
}

// answering is the handler of all connections; own is for those of the listener.
func (s *Server) answering(own http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answering, inMemory := r.Context().Value(answererKey{}).(answerer)
		if !inMemory {
			own.ServeHTTP(w, r)
			return
		}
		// A handler that has hijacked its connection is waited for, too.
		s.running.Add(1)
		defer s.running.Done()
		if answering.isTLS {
			r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, NegotiatedProtocol: "http/1.1", ServerName: (&url.URL{Host: r.Host}).Hostname()}
		}
		answering.handler.ServeHTTP(w, r)
	}
}

var errClosed = errors.New("logtotest: the server has been closed")

// RoundTrip sends a request to a handler. The request of the handler has the TLS of an https
// address, but nothing is encrypted, and it is cancelled when the client goes away.
func (s *Server) RoundTrip(handler http.Handler, request *http.Request) (*http.Response, error) {
	if s.lifetime.Err() != nil {
		return nil, errClosed
	}
	ctx, cancel := context.WithCancel(context.WithValue(request.Context(), answererKey{}, answerer{handler, request.URL.Scheme == "https"}))
	// A test that forgets to close a body leaves no goroutine behind when the server is closed.
	forget := context.AfterFunc(s.lifetime, cancel)
	release := func() { forget(); cancel() }
	response, err := s.memory.RoundTrip(request.WithContext(ctx))
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

// Dial connects to a handler, whose server runs on behalf of the caller. The connection has no
// TLS; isTLS is what the requests of the handler say.
func (s *Server) Dial(ctx context.Context, handler http.Handler, isTLS bool) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	client, server := newConnection(answerer{handler, isTLS})
	// The lock keeps Close from coming in between: it closes all connections that are served by then.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lifetime.Err() != nil {
		return nil, errClosed
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
