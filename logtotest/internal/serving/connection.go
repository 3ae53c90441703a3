package serving

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// connection is one end of a connection in memory. net.Pipe has no buffer: a handler could not write
// its answer before the client reads, and would see an error of a client that does not.
type connection struct {
	in, out       *stream
	local, remote net.Addr
	answering     answerer
}

// What both ends call each other: a client on this machine. Gin and others parse the addresses.
var (
	clientAddress = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	serverAddress = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
)

func newConnection(answering answerer) (client, server *connection) {
	up, down := newStream(), newStream()
	return &connection{in: down, out: up, local: clientAddress, remote: serverAddress},
		&connection{in: up, out: down, local: serverAddress, remote: clientAddress, answering: answering}
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.explained("read", err)
}

func (c *connection) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.explained("write", err)
}

// explained wraps an error in the *net.OpError that a socket returns, which applications and Gin's Recovery look for.
func (c *connection) explained(op string, err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errBrokenPipe) {
		return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
	}
	return err
}

func (c *connection) Close() error {
	c.in.change(func() { c.in.isLeft, c.in.unread = true, nil })
	return c.CloseWrite()
}

// CloseWrite is for proxies, which pass on that one direction has ended.
func (c *connection) CloseWrite() error {
	c.out.change(func() { c.out.hasEnded = true })
	return nil
}

func (c *connection) LocalAddr() net.Addr  { return c.local }
func (c *connection) RemoteAddr() net.Addr { return c.remote }

func (c *connection) SetDeadline(at time.Time) error {
	_ = c.SetReadDeadline(at)
	return c.SetWriteDeadline(at)
}

func (c *connection) SetReadDeadline(at time.Time) error {
	c.in.setDeadline(&c.in.reading, at)
	return nil
}

func (c *connection) SetWriteDeadline(at time.Time) error {
	c.out.setDeadline(&c.out.writing, at)
	return nil
}

// maxUnread is how much one end can write before the other one reads. A writer waits then, so that
// an answer that never ends takes no memory.
const maxUnread = 256 << 10

// maxLost is how many writes succeed after the reader has left. At a socket the first one does, and
// whether a second one does is a matter of time. An answer that has begun must not fail in a test only
// because the client has seen enough; a handler that goes by errors must not go on for ever.
const maxLost = 16

var errBrokenPipe error = os.NewSyscallError("write", syscall.EPIPE)

// stream is one direction of a connection.
type stream struct {
	mu               sync.Mutex
	changed          *sync.Cond
	unread           []byte
	hasEnded         bool // by the writer
	isLeft           bool // by the reader
	lost             int
	reading, writing deadline
}

func newStream() *stream {
	s := &stream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// change makes a change that those who wait have to see.
func (s *stream) change(how func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how()
	s.changed.Broadcast()
}

func (s *stream) read(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.isLeft:
			return 0, net.ErrClosed
		case s.reading.hasPassed:
			return 0, os.ErrDeadlineExceeded
		case len(s.unread) > 0 || len(p) == 0:
			n = copy(p, s.unread)
			if s.unread = s.unread[n:]; len(s.unread) == 0 {
				s.unread = nil
			}
			s.changed.Broadcast()
			return n, nil
		case s.hasEnded:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.isLeft && s.lost < maxLost: // also if the server has closed it, so that nothing is in Gin's log then
			s.lost++
			return n + len(p), nil
		case s.hasEnded:
			return n, net.ErrClosed
		case s.writing.hasPassed:
			return n, os.ErrDeadlineExceeded
		case s.isLeft:
			return n, errBrokenPipe
		case len(s.unread) < maxUnread:
			fits := min(len(p), maxUnread-len(s.unread))
			s.unread = append(s.unread, p[:fits]...)
			s.changed.Broadcast()
			n, p = n+fits, p[fits:]
			if len(p) == 0 {
				return n, nil
			}
		default:
			s.changed.Wait()
		}
	}
}

// deadline is the read or the write deadline of a stream.
type deadline struct {
	timer     *time.Timer
	hasPassed bool
}

func (s *stream) setDeadline(d *deadline, at time.Time) {
	s.change(func() {
		if d.timer != nil {
			d.timer.Stop()
		}
		d.timer, d.hasPassed = nil, false
		if at.IsZero() {
			return
		}
		left := time.Until(at)
		if d.hasPassed = left <= 0; d.hasPassed {
			return
		}
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			s.change(func() { d.hasPassed = d.hasPassed || d.timer == timer })
		})
		d.timer = timer
	})
}
