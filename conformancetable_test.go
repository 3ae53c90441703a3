package logtogin_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

var writeConformance = flag.String("write-conformance", "", "the document whose tables are to be written anew by TestConformance")

// observed is what a provider of the suite can see of the client, and what the user sees.
type observed struct {
	status   int // of the last page, or of the answer to a logout token
	signedIn bool
	calls    logtotest.Calls
}

func (o observed) String() string {
	user := map[bool]string{true: "signed in", false: "not signed in"}[o.signedIn]
	calls := fmt.Sprintf("authorization %d, token %d, user info %d", o.calls.Authorization, o.calls.Token, o.calls.UserInfo)
	if o.calls.EndSession > 0 {
		calls += fmt.Sprintf(", end session %d", o.calls.EndSession)
	}
	return fmt.Sprintf("status %d, %s; calls: %s", o.status, user, calls)
}

// criterion is when the suite calls a test passed.
type criterion struct {
	text  string
	holds func(observed) bool
}

// conformanceTest is one test of the suite.
type conformanceTest struct {
	provider string // what it does
	passes   criterion
	run      func(*testing.T) observed

	// differs is why this client does not pass, and is not meant to.
	differs string
}

// conformancePlan is a plan of the suite, or a part of one, with the tests in its order.
type conformancePlan struct {
	name, about string
	tests       []string
}

// notApplicable are tests that say nothing about this client.
type notApplicable struct{ tests, reason string }

// The tests of the OpenID Foundation's conformance suite for relying parties, by their
// official names, each against a provider that does what the suite's does (among them C15,
// C17, C19, C31, C32, C34, C48, C52, C75 and C82). What the run shows must be what
// docs/conformance.md says.
func TestConformance(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	results := map[string]string{}
	t.Run("test", func(t *testing.T) {
		for name, test := range conformanceTests() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				seen := test.run(t)
				result := map[bool]string{true: "passed", false: "**not passed**"}[test.passes.holds(seen)]
				if (test.differs == "") != (result == "passed") {
					t.Errorf("%s: %s", result, seen)
				}
				mu.Lock()
				defer mu.Unlock()
				results[name] = result + ": " + seen.String()
			})
		}
	})
	if t.Failed() || strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		return // there is no whole table to compare
	}
	tables := conformanceTables(t, results)
	if *writeConformance != "" {
		writeBetweenMarks(t, *writeConformance, fmt.Sprintf("_Run on %s by `make conformance`, %s, %s/%s._\n%s",
			time.Now().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, tables))
	}
	_, documented, _ := strings.Cut(betweenMarks(t, "docs/conformance.md"), "\n")
	for i, line := range strings.Split(tables, "\n") {
		if lines := strings.Split(documented, "\n"); i >= len(lines) || lines[i] != line {
			t.Fatalf("docs/conformance.md does not say what this run shows; make conformance writes it anew:\n%s", line)
		}
	}
	if len(documented) != len(tables) {
		t.Error("docs/conformance.md claims more than this run shows; make conformance writes it anew")
	}
}

// What a fault of logtotest says of itself is a name that exists.
func TestFaultsNameTestsOfTheSuite(t *testing.T) {
	t.Parallel()
	tests, found := conformanceTests(), 0
	for _, fault := range faults.All() {
		for name := range strings.FieldsSeq(fault.Conformance) {
			if _, ok := tests[name]; !ok {
				t.Errorf("%s: there is no test %s", fault.Name, name)
			}
			found++
		}
	}
	if found < 20 {
		t.Errorf("%d names", found)
	}
}

func conformanceTables(t *testing.T, results map[string]string) string {
	t.Helper()
	tests, listed := conformanceTests(), map[string]bool{}
	var differing []string
	for name, test := range tests {
		if test.differs != "" {
			differing = append(differing, fmt.Sprintf("| %s | %s |\n", name, test.differs))
		}
	}
	slices.Sort(differing)
	var text strings.Builder
	fmt.Fprintf(&text, "\n%d tests: %d passed, %d not, for reasons given below.\n", len(tests), len(tests)-len(differing), len(differing))
	for _, plan := range conformancePlans {
		fmt.Fprintf(&text, "\n### `%s`\n\n%s\n\n| Test | Provider | Passed if the client | Result |\n| --- | --- | --- | --- |\n", plan.name, plan.about)
		for _, name := range plan.tests {
			test, ok := tests[name]
			if !ok {
				t.Errorf("%s has no test %s", plan.name, name)
			}
			listed[name] = true
			fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", name, test.provider, test.passes.text, results[name])
		}
	}
	for name := range tests {
		if !listed[name] {
			t.Errorf("%s is in no plan", name)
		}
	}
	text.WriteString("\n### Not passed, and why\n\n| Test | Why |\n| --- | --- |\n" + strings.Join(differing, ""))
	text.WriteString("\n### Tests that do not apply\n\n| Tests | Why |\n| --- | --- |\n")
	for _, other := range conformanceNotApplicable {
		fmt.Fprintf(&text, "| %s | %s |\n", other.tests, other.reason)
	}
	return text.String()
}

const (
	tablesBegin = "<!-- The tables of the run begin here. -->\n"
	tablesEnd   = "<!-- They end here. -->\n"
)

func splitAtMarks(t *testing.T, file string) (before, between, after string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(raw), tablesBegin)
	between, after, ok2 := strings.Cut(rest, tablesEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for tables", file)
	}
	return before, between, after
}

func betweenMarks(t *testing.T, file string) string {
	t.Helper()
	_, between, _ := splitAtMarks(t, file)
	return between
}

func writeBetweenMarks(t *testing.T, file, text string) {
	t.Helper()
	before, _, after := splitAtMarks(t, file)
	if err := os.WriteFile(file, []byte(before+tablesBegin+text+tablesEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
