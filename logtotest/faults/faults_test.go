package faults_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/logtogin/logtogin/logtotest/faults"
)

func TestEveryFaultIsListedUnderItsName(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("faults.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\t([A-Z]\w+) += [a-zA-Z(]+\("`).FindAllStringSubmatch(string(source), -1) {
		declared[match[1]] = true
	}
	seen := map[string]bool{}
	for _, fault := range faults.All() {
		if !declared[fault.Name] || seen[fault.Name] {
			t.Errorf("%q is no variable, or is listed twice", fault.Name)
		}
		seen[fault.Name] = true
	}
	if len(seen) != len(declared) || len(seen) < 60 {
		t.Errorf("%d are listed and %d declared", len(seen), len(declared))
	}
}
