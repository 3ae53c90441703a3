package integration_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/processes"
	"github.com/logtogin/logtogin/integration/webtest"
	"github.com/logtogin/logtogin/logtotest"
)

// The road of somebody who has never seen any of this: an empty directory, the program of
// the document, and a sign-in, in less than ten commands.
func TestANewcomerIsSignedIn(t *testing.T) {
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for document, test := range map[string]struct{ path, shows string }{
		"README.md":        {"/profile", `"username":"alice"`},
		"docs/tutorial.md": {"/sign-in", `&#34;username&#34;: &#34;alice&#34;`},
	} {
		t.Run(document, func(t *testing.T) {
			logto := logtotest.NewServer(t)
			address := freeLocalAddress(t)
			n := &newcomer{t: t}
			n.enterEmptyDirectory()
			n.run("mod", "init", "example.com/shop")
			n.run("mod", "edit", "-replace", "github.com/logtogin/logtogin="+checkout) // there is no release yet
			n.paste(filepath.Join(checkout, document),
				"https://example.logto.app", logto.Endpoint(),
				"replace-with-your-app-id", logto.AppID(),
				"replace-with-your-secret", logto.AppSecret(),
				"localhost:8080", address)
			n.run("mod", "tidy")
			n.run("build", "-o", "shop", ".")
			n.start("shop", address)
			b, user := webtest.New(t), logtotest.DefaultUser()
			page := b.Submit(n.open(b, "http://"+address+test.path), url.Values{"username": {user.Username}, "password": {user.Password}})
			if page.Status != http.StatusOK || page.URL.Host != address || !strings.Contains(page.Body, test.shows) {
				t.Errorf("arrived at %s: %d %s", page.URL, page.Status, page.Body)
			}
			t.Logf("signed in after %d commands: %s", len(n.commands), strings.Join(n.commands, "; "))
			if len(n.commands) >= 10 {
				t.Error("that is too many")
			}
		})
	}
}

// newcomer notes what there is to do.
type newcomer struct {
	t        *testing.T
	dir      string
	commands []string
}

func (n *newcomer) enterEmptyDirectory() {
	n.commands = append(n.commands, "mkdir shop && cd shop")
	n.dir = n.t.TempDir()
}

// run is one command of the go tool.
func (n *newcomer) run(args ...string) {
	n.t.Helper()
	n.commands = append(n.commands, "go "+strings.Join(args, " "))
	ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = n.dir
	command.Env = append(os.Environ(), n.environment()...)
	if output, err := command.CombinedOutput(); err != nil {
		n.t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

// environment lets the go tool take modules from where this test has its own, which were
// verified, before it looks for them elsewhere.
func (n *newcomer) environment() []string {
	n.t.Helper()
	get := func(name string) string {
		output, err := exec.CommandContext(n.t.Context(), "go", "env", name).Output()
		if err != nil {
			n.t.Fatal(err)
		}
		return strings.TrimSpace(string(output))
	}
	modules := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(get("GOMODCACHE"), "cache", "download"))}
	return []string{"GOWORK=off", "GOSUMDB=off", "GOPROXY=" + modules.String() + "," + get("GOPROXY")}
}

// paste writes the program of a document into main.go, with what there is to replace in it:
// the old and the new, in turns.
func (n *newcomer) paste(document string, replacements ...string) {
	n.t.Helper()
	n.commands = append(n.commands, "$EDITOR main.go")
	raw, err := os.ReadFile(document)
	if err != nil {
		n.t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindSubmatch(raw)
	if program == nil {
		n.t.Fatalf("%s shows no program", document)
	}
	code := strings.NewReplacer(replacements...).Replace(string(program[1]))
	if err := os.WriteFile(filepath.Join(n.dir, "main.go"), []byte(code), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// start runs the program until the test is over, and returns when it listens.
func (n *newcomer) start(program, address string) {
	n.t.Helper()
	n.commands = append(n.commands, "./"+program)
	command := exec.Command(filepath.Join(n.dir, program))
	var output processes.Output
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		n.t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(exited)
	}()
	n.t.Cleanup(func() {
		_ = command.Process.Kill()
		<-exited
		if n.t.Failed() {
			n.t.Logf("the program says:\n%s", &output)
		}
	})
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	err := processes.Until(ctx, func() error {
		select {
		case <-exited:
			cancel()
			return errors.New("the program has ended")
		default:
		}
		connection, err := net.Dial("tcp", address)
		if err == nil {
			_ = connection.Close()
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *newcomer) open(b *webtest.Browser, address string) webtest.Page {
	n.t.Helper()
	n.commands = append(n.commands, "open "+address)
	return b.Get(address)
}

// freeLocalAddress is one on localhost that nobody listens on.
func freeLocalAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("localhost", port)
}
