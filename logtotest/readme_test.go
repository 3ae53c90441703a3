package logtotest_test

import (
	"os"
	"strings"
	"testing"
)

// What the README shows is what is compiled and run here.
func TestTheExampleIsTheReadmes(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	source := read("example_test.go")
	for _, example := range strings.Split(source, "\n\nfunc Test")[1:] {
		example = "func Test" + strings.TrimRight(example, "\n") + "\n"
		if !strings.Contains(read("../README.md"), "```go\n"+example+"```") {
			t.Errorf("the README does not show this:\n%s", example)
		}
		if lines := strings.Count(example, "\n"); lines >= 15 {
			t.Errorf("%d lines", lines)
		}
	}
}
