package faults_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// mode is what a proxy does with connections.
type mode int

const (
	honest  mode = iota
	refuse       // connections are refused, and those that there are end
	slow         // everything that the server says comes late
	cut          // the server's answers end in the middle, and the connection with them
	garbage      // the bodies of the server's answers are random bytes
	silent       // nothing comes through, in neither direction, until the mode changes
)

// slowness is for how long a slow proxy keeps what the server says.
const slowness = 700 * time.Millisecond

// proxy stands before a server.
type proxy struct {
	tb      testing.TB
	address string
	target  string
	running sync.WaitGroup

	mu       sync.Mutex
	mode     mode
	changed  chan struct{} // closed when the mode changes
	listener net.Listener
	conns    map[net.Conn]struct{}
}

// newProxy takes a port that no outgoing connection can take while it is refused.
func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	p := &proxy{tb: tb, target: target, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	for range 100 {
		p.address = fmt.Sprintf("127.0.0.1:%d", 10000+mathrand.IntN(12000))
		if p.listen() == nil {
			break
		}
	}
	if p.listener == nil {
		tb.Fatal("no free port")
	}
	tb.Cleanup(func() {
		p.set(refuse)
		p.running.Wait()
	})
	return p
}

// listen is called with p.mu held, or before anybody else knows the proxy.
func (p *proxy) listen() error {
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		return err
	}
	p.listener = listener
	p.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(conn) })
		}
	})
	return nil
}

// set changes the mode, also of connections that there are.
func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
	switch {
	case m == refuse && p.listener != nil:
		_ = p.listener.Close()
		p.listener = nil
		for conn := range p.conns {
			_ = conn.Close()
		}
	case m != refuse && p.listener == nil:
		if err := p.listen(); err != nil {
			p.tb.Errorf("the proxy cannot listen again: %v", err)
		}
	}
}

func (p *proxy) current() (m mode, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.changed
}

// keep lets a connection be closed when connections are refused.
func (p *proxy) keep(conn net.Conn) (forget func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = struct{}{}
	if p.mode == refuse {
		_ = conn.Close()
	}
	return func() {
		_ = conn.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, conn)
	}
}

func (p *proxy) serve(client net.Conn) {
	defer p.keep(client)()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.keep(server)()
	ended := make(chan struct{}, 2)
	p.running.Go(func() {
		p.copy(server, client, false)
		ended <- struct{}{}
	})
	p.running.Go(func() {
		p.copy(client, server, true)
		ended <- struct{}{}
	})
	<-ended
}

// copy ends when one of the connections does.
func (p *proxy) copy(to, from net.Conn, isAnswer bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.pass(to, buffer[:n], isAnswer) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass reports whether the connection goes on.
func (p *proxy) pass(to net.Conn, chunk []byte, isAnswer bool) bool {
	m, changed := p.current()
	for m == silent {
		<-changed
		m, changed = p.current()
	}
	switch {
	case m == refuse:
		return false
	case m == slow && isAnswer:
		late := time.NewTimer(slowness)
		defer late.Stop()
		<-late.C
	case m == cut && isAnswer:
		_, _ = to.Write(chunk[:len(chunk)/2])
		return false
	case m == garbage && isAnswer:
		body := chunk
		if _, after, isHTTP := bytes.Cut(chunk, []byte("\r\n\r\n")); isHTTP && len(after) > 0 {
			body = after
		}
		_, _ = rand.Read(body)
	}
	_, err := to.Write(chunk)
	return err == nil
}
