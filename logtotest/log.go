package logtotest

import (
	"cmp"
	"io"
	"log/slog"
	"sync"
	"testing"
)

// testLog is the output of a test until the test has ended. A line after that would be a
// panic of the testing package, and an application that is left running may have some.
type testLog struct {
	mu     sync.Mutex
	output io.Writer
}

func newTestLog(tb testing.TB) *testLog {
	l := &testLog{output: tb.Output()}
	tb.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.output = io.Discard
	})
	return l
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.output.Write(line)
}

func (s *Server) log() *slog.Logger { return cmp.Or(s.testLogger, slog.Default()) }

// explain tells the log what the answer, which is Logto's, does not say.
func (s *Server) explain(failure *oidcError) {
	if failure.hint != "" {
		s.log().Warn("logtotest: " + failure.Name + ": " + failure.hint)
	}
}
