package session

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/record"
)

// Before is the session that a browser had when a guard refused it or a sign-in started, whether it was
// good or not. The zero value is no session. Sessions are told apart without a clock, because instances
// have different ones; if a start is not known, the cookies alone decide.
type Before struct {
	// Start is when the session began, zero if that is not known.
	Start time.Time
	// Cookie is a digest of its cookies, 0 without one.
	Cookie uint64
}

// cookieOf is the digest of the session's cookies in a request.
func (a *Attempts) cookieOf(r *http.Request) uint64 {
	values := slices.Collect(cookiestore.Values(r.Header, a.settings.Name))
	if len(values) == 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(strings.Join(values, ";")))
	return binary.BigEndian.Uint64(sum[:])
}

// isSucceededBy reports whether what the browser has now is another session. Both must differ: a refresh changes the
// cookie, and an instance that cannot open a session does not know its start.
func (b Before) isSucceededBy(current Before) bool {
	return current.Cookie != b.Cookie && !current.Start.Equal(b.Start)
}

func (b Before) write(w *record.Writer) {
	var start uint64
	if !b.Start.IsZero() {
		start = uint64(b.Start.UnixMilli())
	}
	w.Number(start)
	w.Number(b.Cookie)
}

func readBefore(r *record.Reader) (b Before) {
	if start := r.Milliseconds(); start.UnixMilli() != 0 {
		b.Start = start
	}
	b.Cookie = r.Number()
	return b
}
