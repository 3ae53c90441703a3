// Package documents writes what tests have measured into the project's documents.
package documents

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// Write puts the tables of a target of make, with the date and the machine, into their place
// in a document.
func Write(tb testing.TB, path, target, tables string) {
	tb.Helper()
	begin, end := []byte("<!-- The tables of make "+target+" begin here. -->\n"), []byte("<!-- They end here. -->\n")
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	before, rest, ok1 := bytes.Cut(text, begin)
	_, after, ok2 := bytes.Cut(rest, end)
	if !ok1 || !ok2 {
		tb.Fatalf("%s has no place for the tables", path)
	}
	written := fmt.Sprintf("\n_Measured on %s, %s, by `make %s`._\n\n%s\n", time.Now().Format(time.DateOnly), machine(), target, tables)
	if err := os.WriteFile(path, slices.Concat(before, begin, []byte(written), end, after), 0o644); err != nil {
		tb.Fatal(err)
	}
}

func machine() string {
	processor := runtime.GOARCH
	if file, err := os.Open("/proc/cpuinfo"); err == nil {
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				processor = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of %s, %s", runtime.NumCPU(), processor, runtime.Version())
}
