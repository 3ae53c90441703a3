// Package servers starts, for tests, the servers that sessions can be kept on, and web
// applications.
// Each runs on a free port of 127.0.0.1, keeps its data in a directory of its
// own, and is gone when the test is over, also if the test fails or panics.
//
// They are the real ones and must be installed: on Debian, the packages
// redis-server, memcached and postgresql. A test whose server is missing fails.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/processes"
)

const (
	host         = "127.0.0.1"
	startTimeout = time.Minute
	stopTimeout  = time.Minute
	startTries   = 5
)

// Server is a server process. Its methods fail the test if the server does not
// do as it is told, so they must be called from the goroutine of the test.
type Server struct {
	tb      testing.TB
	recipe  recipe
	port    string
	told    []string // environment variables
	command *exec.Cmd
	exited  chan struct{} // closed when the process is gone
	output  processes.Output
}

// recipe is how one kind of server is run.
type recipe struct {
	program    string
	args       func(port string) []string
	dir        string
	variables  func(port string) []string // nil for none
	credential *syscall.Credential        // nil for the user of the test
	// ask returns no error if the server answers in its own protocol.
	ask func(ctx context.Context, address string) error
	// besides is the distance to another port that the server takes, or 0.
	besides int
	// end is the signal that ends the server at once. SIGCONT comes after it, so
	// that it reaches a server that is frozen.
	end syscall.Signal
}

func start(tb testing.TB, r recipe) *Server {
	tb.Helper()
	s := &Server{tb: tb, recipe: r}
	tb.Cleanup(func() {
		s.Stop()
		if tb.Failed() {
			tb.Logf("servers: output of %s:\n%s", filepath.Base(r.program), &s.output)
		}
	})
	// The port may be taken between the choice and the start.
	for try := 1; ; try++ {
		s.port = freePort(tb, r.besides)
		if r.variables != nil {
			s.told = r.variables(s.port)
		}
		err := s.run()
		if err == nil {
			return s
		}
		if try == startTries {
			tb.Fatalf("servers: %v; its output:\n%s", err, &s.output)
		}
		s.Stop()
	}
}

// freePort returns a port that is free, and so is the one so far above it. It does not
// choose among the ports that systems give to outgoing connections, of which one could
// take the server's while it is stopped.
func freePort(tb testing.TB, besides int) string {
	tb.Helper()
	for range 100 {
		port := 10000 + rand.IntN(12000)
		if isFree(port) && isFree(port+besides) {
			return strconv.Itoa(port)
		}
	}
	tb.Fatal("servers: no free port")
	return ""
}

func isFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	return err == nil && listener.Close() == nil
}

// Address is host and port. It stays the same when the server starts again.
func (s *Server) Address() string { return net.JoinHostPort(host, s.port) }

// Start starts the server again after Stop, with the data that it has on disk,
// and returns when it answers.
func (s *Server) Start() {
	s.tb.Helper()
	if err := s.run(); err != nil {
		s.tb.Fatalf("servers: %v; its output:\n%s", err, &s.output)
	}
}

func (s *Server) run() error {
	command := exec.Command(s.recipe.program, s.recipe.args(s.port)...)
	command.Dir = s.recipe.dir
	command.Stdout, command.Stderr = &s.output, &s.output
	command.Env = append(append(os.Environ(), "LC_ALL=C"), s.told...)
	command.SysProcAttr = attributes(s.recipe.credential)
	if err := command.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.command, s.exited = command, exited
	go func() {
		defer close(exited)
		_ = command.Wait() // that a signal ended it is no news
	}()

	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	err := processes.Until(ctx, func() error {
		select {
		case <-exited:
			cancel()
			return errors.New("it ended by itself")
		default:
			return s.recipe.ask(ctx, s.Address())
		}
	})
	if err != nil {
		return fmt.Errorf("%s is not ready: %w", filepath.Base(s.recipe.program), err)
	}
	return nil
}

// Output is what the server has written so far.
func (s *Server) Output() string { return s.output.String() }

// Stop ends the server as a crash does and returns when it is gone. What it has
// written to disk stays.
func (s *Server) Stop() {
	s.tb.Helper()
	if s.command == nil {
		return
	}
	for _, signal := range []syscall.Signal{s.recipe.end, syscall.SIGCONT} {
		s.signal(signal, s.command.Process.Pid)
	}
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		s.tb.Errorf("servers: %s did not end within %v", filepath.Base(s.recipe.program), stopTimeout)
		_ = s.command.Process.Kill()
		<-s.exited
	}
	s.command = nil
}

// Freeze lets the server neither answer nor close its connections, as one does
// that swaps, or that a firewall has cut off.
func (s *Server) Freeze() {
	s.tb.Helper()
	pid := s.command.Process.Pid
	// The parent first: it must start no more children.
	s.freeze(pid)
	for _, child := range children(pid) {
		s.freeze(child)
	}
}

// freeze returns when the process stands still: the signal alone does not stop
// a thread that is running.
func (s *Server) freeze(pid int) {
	s.tb.Helper()
	s.signal(syscall.SIGSTOP, pid)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := processes.Until(ctx, func() error {
		// Without Linux's /proc there are none, and it has to be taken on trust.
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			return err
		}
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if err != nil {
				return err
			}
			// "pid (name) state ...", and the name may have anything in it.
			if state := stat[bytes.LastIndexByte(stat, ')')+1:]; !bytes.HasPrefix(state, []byte(" T")) {
				return fmt.Errorf("%s says %q", thread, stat)
			}
		}
		return nil
	})
	if err != nil {
		s.tb.Errorf("servers: %s does not stand still: %v", filepath.Base(s.recipe.program), err)
	}
}

// Thaw lets the server go on after Freeze.
func (s *Server) Thaw() {
	s.tb.Helper()
	pid := s.command.Process.Pid
	for _, child := range children(pid) {
		s.signal(syscall.SIGCONT, child)
	}
	s.signal(syscall.SIGCONT, pid)
}

func (s *Server) signal(signal syscall.Signal, pid int) {
	s.tb.Helper()
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		s.tb.Errorf("servers: sending %v: %v", signal, err)
	}
}

// children are the processes that a process has started: PostgreSQL has one for
// each connection.
func children(pid int) (found []int) {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, field := range strings.Fields(string(list)) {
		if child, err := strconv.Atoi(field); err == nil {
			found = append(found, child)
		}
	}
	return found
}

// program finds a program in PATH or in one of the other places, and fails the
// test with the name of the Debian package that has it.
func program(tb testing.TB, name, debianPackage string, patterns ...string) string {
	tb.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, pattern := range patterns {
		// The names are sorted, so that the last one has the newest version.
		if paths, err := filepath.Glob(filepath.Join(pattern, name)); err == nil && len(paths) > 0 {
			return paths[len(paths)-1]
		}
	}
	tb.Fatalf("servers: there is no %s: install the Debian package %s", name, debianPackage)
	return ""
}

// says returns a recipe's ask for a protocol of lines. All that is expected must be in the
// answer.
func says(question string, expected ...string) func(context.Context, string) error {
	return func(ctx context.Context, address string) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if deadline, ok := ctx.Deadline(); ok {
			if err := conn.SetDeadline(deadline); err != nil {
				return err
			}
		}
		if _, err := conn.Write([]byte(question)); err != nil {
			return err
		}
		said := make([]byte, 1024)
		n, err := conn.Read(said)
		if err != nil {
			return err
		}
		for _, text := range expected {
			if !bytes.Contains(said[:n], []byte(text)) {
				return fmt.Errorf("it says %q", said[:n])
			}
		}
		return nil
	}
}
