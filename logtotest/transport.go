package logtotest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// transport sends requests to handlers of this process without a socket: to the
// server itself, and to the applications that Serve has made known. All others
// go to the network.
type transport struct {
	server  *Server
	network *http.Transport
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
func (s *Server) Serve(baseURL string, handler http.Handler) {
	baseURL = strings.TrimRight(baseURL, "/")
	base, err := url.Parse(baseURL)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.routes = slices.DeleteFunc(s.routes, func(r route) bool { return r.base == baseURL })
	s.routes = append(s.routes, route{base: baseURL, path: base.Path, handler: handler})
}

// handlerFor returns nil for an address outside of this process.
func (t *transport) handlerFor(u *url.URL) http.Handler {
	origin := u.Scheme + "://" + u.Host
	if origin == t.server.Endpoint() {
		return t.server.http.Handler
	}
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	for _, r := range t.server.routes {
		if address := origin + u.Path; address == r.base || strings.HasPrefix(address, r.base+"/") {
			if r.path == "" {
				return r.handler
			}
			return http.StripPrefix(r.path, r.handler)
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

var errPanic = errors.New("logtotest: the handler panicked")

func (t *transport) serve(handler http.Handler, request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(request.Context())
	incoming := request.Clone(ctx)
	incoming.RequestURI = request.URL.RequestURI()
	incoming.RemoteAddr = "127.0.0.1:1"
	if incoming.Host == "" {
		incoming.Host = request.URL.Host
	}
	if incoming.Body == nil {
		incoming.Body = http.NoBody
	}
	body, writing := io.Pipe()
	w := &pipeWriter{header: http.Header{}, writing: writing, started: make(chan struct{})}
	isRunning := t.server.run(func() {
		defer cancel()
		defer func() {
			if reason := recover(); reason != nil {
				_ = writing.CloseWithError(errPanic)
				w.once.Do(func() { close(w.started) }) // without an answer, as of a server that hangs up
			}
			w.WriteHeader(http.StatusOK)
			_ = writing.Close()
		}()
		handler.ServeHTTP(w, incoming)
	})
	if !isRunning {
		cancel()
		return nil, errServerClosed
	}
	// A test that forgets to close a body must not keep Close waiting.
	forget := context.AfterFunc(t.server.lifetime, cancel)
	stop := context.AfterFunc(ctx, func() { _ = writing.CloseWithError(context.Canceled) })
	select {
	case <-w.started:
	case <-request.Context().Done():
		cancel()
		return nil, request.Context().Err()
	}
	if w.status == 0 {
		stop()
		forget()
		return nil, errPanic
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status, Header: w.sent,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: &pipeBody{Reader: body, close: func() { forget(); stop(); cancel(); _ = body.Close() }}, ContentLength: -1, Request: request,
	}, nil
}

// pipeWriter hands the answer over as it is written, so that one that never ends
// takes no memory.
type pipeWriter struct {
	header, sent http.Header
	status       int
	once         sync.Once
	started      chan struct{}
	writing      *io.PipeWriter
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.started)
	})
}

func (w *pipeWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.writing.Write(p)
}

func (w *pipeWriter) Flush() { w.WriteHeader(http.StatusOK) }

type pipeBody struct {
	io.Reader
	close func()
}

func (b *pipeBody) Close() error { b.close(); return nil }
