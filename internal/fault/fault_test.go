package fault_test

import (
	"testing"

	"github.com/logtogin/logtogin/internal/fault"
)

func TestTextFromOutsideIsShortAndPlain(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"denied":             "denied",
		"line\r\nlevel=INFO": "line??leve",
		"\"a\" \\ b\x7f":     "?a? ? b?",
		"\x1b[31m é":         "?[31m ?",
		"0123456789é":        "0123456789",
		"012345678é":         "012345678?", // cut within the character
		"":                   "",
	} {
		if got := fault.Text(text, 10); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
