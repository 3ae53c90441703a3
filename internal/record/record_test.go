package record_test

import (
	"errors"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/record"
)

func sample() *record.Writer {
	w := record.NewWriter(7)
	w.Number(300)
	w.Text("a\x00b")
	w.Time(time.Unix(1_800_000_000, 999))
	w.Milliseconds(time.UnixMilli(1_800_000_000_123))
	w.Token("e30.e30.AAAA")
	w.Token("opaque")
	return w
}

func TestWhatIsWrittenIsReadInTheSameOrder(t *testing.T) {
	t.Parallel()
	r := record.NewReader(sample().Bytes(), 7)
	if n := r.Number(); n != 300 {
		t.Errorf("got %d, want 300", n)
	}
	if s := r.Text(); s != "a\x00b" {
		t.Errorf("got %q", s)
	}
	if at := r.Time(); !at.Equal(time.Unix(1_800_000_000, 0)) {
		t.Errorf("got %v", at)
	}
	if at := r.Milliseconds(); !at.Equal(time.UnixMilli(1_800_000_000_123)) {
		t.Errorf("got %v", at)
	}
	for _, want := range []string{"e30.e30.AAAA", "opaque"} {
		if token := r.Token(); token != want {
			t.Errorf("got %q, want %q", token, want)
		}
	}
	if err := r.Err(); err != nil || r.HasFailed() {
		t.Errorf("got %v, want no error", err)
	}
}

func TestARecordOfAnotherFormatOrLengthIsRefused(t *testing.T) {
	t.Parallel()
	whole := sample().Bytes()
	read := func(encoded []byte, format byte) error {
		r := record.NewReader(encoded, format)
		r.Number()
		r.Text()
		r.Time()
		r.Milliseconds()
		r.Token()
		r.Token()
		return r.Err()
	}
	for size := range whole {
		if err := read(whole[:size], 7); !errors.Is(err, record.ErrFormat) {
			t.Errorf("cut to %d bytes: got %v", size, err)
		}
	}
	for name, err := range map[string]error{
		"another format": read(whole, 8),
		"more":           read(append(whole[:len(whole):len(whole)], 0), 7),
		"a time that no arithmetic survives": func() error {
			w := record.NewWriter(1)
			w.Number(1 << 60)
			r := record.NewReader(w.Bytes(), 1)
			r.Time()
			return r.Err()
		}(),
	} {
		if !errors.Is(err, record.ErrFormat) {
			t.Errorf("%s: got %v, want an ErrFormat", name, err)
		}
	}
}
