package seal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/internal/seal"
)

func newSealer(t testing.TB, purpose string, secrets ...string) *seal.Sealer {
	t.Helper()
	sealer, err := seal.New(secrets, purpose)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

func TestOpenGivesBackWhatWasSealed(t *testing.T) {
	t.Parallel()
	sealer := newSealer(t, "session", "secret")
	for _, size := range []int{0, 1, 100, 10_000} {
		value := bytes.Repeat([]byte("v"), size)
		sealed := sealer.Seal(value, "name")
		if opened, isCurrent, err := sealer.Open(sealed, "name"); err != nil || !isCurrent || !bytes.Equal(opened, value) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if sealer.Seal(value, "name") == sealed {
			t.Error("the same value is sealed the same way twice")
		}
	}
}

// C22: each changed byte, each length.
func TestChangedValuesAreRefused(t *testing.T) {
	t.Parallel()
	sealer := newSealer(t, "session", "secret")
	sealed := sealer.Seal([]byte("value"), "name")
	for i := range sealed {
		for _, replacement := range "Ab9-_=. \n" {
			changed := sealed[:i] + string(replacement) + sealed[i+1:]
			if changed == sealed {
				continue
			}
			if _, _, err := sealer.Open(changed, "name"); !errors.Is(err, seal.ErrOpen) {
				t.Errorf("byte %d changed to %q: %v", i, replacement, err)
			}
		}
		if _, _, err := sealer.Open(sealed[:i], "name"); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("cut to %d: %v", i, err)
		}
	}
}

// C63, C64.
func TestWhoCanOpen(t *testing.T) {
	t.Parallel()
	sealed := newSealer(t, "session", "old").Seal([]byte("value"), "name")
	for name, test := range map[string]struct {
		purpose, context string
		secrets          []string
		opens            bool
	}{
		"the same secret":           {"session", "name", []string{"old"}, true},
		"after a new secret before": {"session", "name", []string{"new", "old"}, true},
		"after the old one is gone": {"session", "name", []string{"new"}, false},
		"another purpose":           {"attempt", "name", []string{"old"}, false},
		"another context":           {"session", "other", []string{"old"}, false},
	} {
		_, _, err := newSealer(t, test.purpose, test.secrets...).Open(sealed, test.context)
		if (err == nil) != test.opens {
			t.Errorf("%s: %v", name, err)
		}
	}
	rotated := newSealer(t, "session", "new", "old").Seal([]byte("value"), "name")
	if _, _, err := newSealer(t, "session", "old").Open(rotated, "name"); err == nil {
		t.Error("the old secret still seals")
	}
	if _, err := seal.New(nil, "session"); err == nil {
		t.Error("no secret is enough")
	}
}

// C98.
func FuzzOpen(f *testing.F) {
	sealer := newSealer(f, "session", "secret")
	good := sealer.Seal([]byte("value"), "name")
	for _, seed := range []string{"", "A", good, good[1:], good + "A", strings.Repeat("A", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sealed string) {
		// What opens can only be what has been sealed, by whichever process.
		if opened, _, err := sealer.Open(sealed, "name"); err == nil && string(opened) != "value" {
			t.Errorf("%q opens as %q", sealed, opened)
		}
	})
}
