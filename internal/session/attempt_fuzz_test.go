package session

import (
	"testing"
	"time"
)

// C98.
func FuzzAttemptRecord(f *testing.F) {
	const origin = "https://app.example.com"
	for _, seed := range []Attempt{
		{StartedAt: time.UnixMilli(1_800_000_000_123), RedirectURI: origin + "/callback", ReturnTo: "/x", MaxAge: time.Minute, NeedsOwnSession: true},
		{RedirectURI: "https://other.example/callback"},
	} {
		f.Add(seed.encode(origin))
	}
	f.Add([]byte{attemptFormat})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		decoded, err := decodeAttempt(encoded, origin)
		if err != nil {
			return
		}
		again, err := decodeAttempt(decoded.encode(origin), origin)
		if err != nil || *again != *decoded {
			t.Fatalf("%x: %+v comes back as %+v, %v", encoded, decoded, again, err)
		}
		if _, err := decodeAttempt(decoded.encode("https://other.example"), origin); err == nil {
			t.Fatalf("%x: an attempt of another origin is accepted", encoded)
		}
	})
}
