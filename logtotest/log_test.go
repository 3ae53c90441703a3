package logtotest_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

// recordedTest stands in for a test that ends while others go on.
type recordedTest struct {
	testing.TB
	mu       sync.Mutex
	lines    bytes.Buffer
	cleanups []func()
}

func (r *recordedTest) Output() io.Writer { return r }

func (r *recordedTest) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(p)
}

func (r *recordedTest) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recordedTest) end() {
	for len(r.cleanups) > 0 {
		last := r.cleanups[len(r.cleanups)-1]
		r.cleanups = r.cleanups[:len(r.cleanups)-1]
		last()
	}
}

// log is what has been logged since the last call.
func (r *recordedTest) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines.String()
	r.lines.Reset()
	return lines
}

func newRecordedTest(t *testing.T) *recordedTest {
	r := &recordedTest{TB: t}
	t.Cleanup(r.end)
	return r
}

const warning = "this is a fake Logto, for tests and development only"

// Not parallel: the default logger is everybody's.
func TestTheFirstLineOfTheLogSaysThatItIsAFake(t *testing.T) {
	var lines bytes.Buffer
	before := log.Writer()
	log.SetOutput(&lines)
	server, err := logtotest.Start()
	log.SetOutput(before)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	r := newRecordedTest(t)
	logtotest.NewServer(r)
	for name, lines := range map[string]string{"Start": lines.String(), "NewServer": r.log()} {
		if first, _, _ := strings.Cut(lines, "\n"); !strings.Contains(first, warning) || !strings.Contains(first, "endpoint=http://127.0.0.1:") {
			t.Errorf("%s: %q", name, first)
		}
	}
	if server.Config("https://app.example.com").Logger != nil {
		t.Error("a server of Start has a logger of its own")
	}
}

func TestServersLogToTheirTests(t *testing.T) {
	t.Parallel()
	one, two := newRecordedTest(t), newRecordedTest(t)
	first := logtotest.NewServer(one)
	logger := first.Config("https://app.example.com").Logger
	other := logtotest.NewServer(two).Config("https://app.example.com").Logger
	one.log()
	two.log()
	logger.Warn("from the first")
	other.Warn("from the second")
	if first, second := one.log(), two.log(); !strings.Contains(first, "from the first") || !strings.Contains(second, "from the second") || strings.Contains(first+second, "\n\n") {
		t.Errorf("%q, %q", first, second)
	}
	one.end()
	one.log()
	logger.Warn("too late")
	other.Warn("in time")
	if first, second := one.log(), two.log(); first != "" || !strings.Contains(second, "in time") {
		t.Errorf("%q, %q", first, second)
	}
}

// What Logto answers does not say which resource it is about.
func TestTheLogNamesAResourceThatIsRefused(t *testing.T) {
	t.Parallel()
	r := newRecordedTest(t)
	b := newBrowser(t, logtotest.NewServer(r))
	b.server.AddResource(logtotest.Resource{Indicator: "https://known.example.test/"})
	robot := b.server.AddApplication(logtotest.Application{Type: logtotest.MachineToMachine})
	refresh, _ := b.tokens()["refresh_token"].(string)
	attempt := b.newSignIn()
	code := codeForm(b.callback(attempt).Get("code"), attempt)
	code.Set("resource", "https://known.example.test/")
	machine := url.Values{"grant_type": {"client_credentials"}, "resource": {"https://typo.example.test"}}
	const unknown, notRequested = `there is no API resource "%s"; AddResource adds it`, `the sign-in has not asked for the API resource "%s"`
	for name, test := range map[string]struct {
		ask            func()
		says, resource string
	}{
		"in a sign-in":  {func() { b.authorize(b.newSignIn("resource", "https://typo.example.test")) }, unknown, "https://typo.example.test"},
		"of a machine":  {func() { b.as(robot, machine) }, unknown, "https://typo.example.test"},
		"in a refresh":  {func() { b.refresh(refresh, "resource", "https://known.example.test/") }, notRequested, "https://known.example.test/"},
		"with the code": {func() { b.token(code) }, notRequested, "https://known.example.test/"},
	} {
		r.log()
		test.ask()
		if lines := strings.ReplaceAll(r.log(), `\"`, `"`); !strings.Contains(lines, "invalid_target: "+fmt.Sprintf(test.says, test.resource)) {
			t.Errorf("%s: %q", name, lines)
		}
	}
	r.log()
	b.tokens("resource", "https://known.example.test/")
	if lines := r.log(); lines != "" {
		t.Errorf("%q", lines)
	}
}
