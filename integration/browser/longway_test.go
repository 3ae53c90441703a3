package browser_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// longWay leads to a server, and everything takes its time on it, in both directions.
type longWay struct {
	listener net.Listener
	target   string
	delay    time.Duration
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // nil after the end
}

// startLongWay returns the port at which the way begins.
func startLongWay(t *testing.T, target string, delay time.Duration) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &longWay{listener: listener, target: target, delay: delay, conns: []net.Conn{}}
	w.running.Go(w.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		w.closeAll()
		w.running.Wait()
	})
	return portOf(listener)
}

func (w *longWay) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.running.Go(func() {
			far, err := net.Dial("tcp", w.target)
			if err != nil {
				_ = near.Close()
				return
			}
			w.keep(near, far)
			w.running.Go(func() { w.carry(far, near) })
			w.carry(near, far)
		})
	}
}

// keep has the connections closed at the end.
func (w *longWay) keep(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		for _, conn := range conns {
			_ = conn.Close()
		}
		return
	}
	w.conns = append(w.conns, conns...)
}

func (w *longWay) closeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.conns = nil
}

// late is what has been read, and when it is to be written.
type late struct {
	due  time.Time
	data []byte
}

// carry reads on while what came before is under way, as a line does that is long and not narrow.
func (w *longWay) carry(to, from net.Conn) {
	underWay := make(chan late, 1024)
	w.running.Go(func() {
		defer close(underWay)
		for {
			data := make([]byte, 16<<10)
			n, err := from.Read(data)
			if n > 0 {
				underWay <- late{time.Now().Add(w.delay), data[:n]}
			}
			if err != nil {
				return
			}
		}
	})
	for next := range underWay {
		<-time.After(time.Until(next.due))
		if _, err := to.Write(next.data); err != nil {
			_ = from.Close() // and what is under way is lost
		}
	}
	_ = to.Close()
}
