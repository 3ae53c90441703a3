package logtogin

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/session"
)

// BenchmarkRevocationCheck is what a guarded page pays for there being 100 000 revocations:
// of sessions, of Logto's sessions and of users.
func BenchmarkRevocationCheck(b *testing.B) {
	const entries = 100_000
	now := time.Now()
	id := func(kind string, i int) string { return kind + "-" + strconv.Itoa(i) + "-of-the-usual-length" }
	for name, test := range map[string]struct {
		session func(i int) *session.Session
		ended   bool
	}{
		"of one that was asked for before": {func(i int) *session.Session {
			return &session.Session{ID: id("other", i), Subject: id("other", i), LogtoSessionID: id("other", i), StartedAt: now, BegunAt: now, LivesBy: new(atomic.Uint64)}
		}, false},
		"of nobody who was revoked": {func(i int) *session.Session {
			return &session.Session{ID: id("other", i), Subject: id("other", i), LogtoSessionID: id("other", i), StartedAt: now, BegunAt: now}
		}, false},
		"of a user who has signed in again": {func(i int) *session.Session {
			return &session.Session{ID: id("other", i), Subject: id("user", i), LogtoSessionID: id("other", i), StartedAt: now, BegunAt: now}
		}, false},
		"of a user who was revoked": {func(i int) *session.Session {
			return &session.Session{ID: id("other", i), Subject: id("user", i), LogtoSessionID: id("other", i), StartedAt: now.Add(-2 * time.Hour), BegunAt: now}
		}, true},
	} {
		b.Run(name, func(b *testing.B) {
			auth, err := New(Config{Endpoint: "https://tenant.logto.app"})
			if err != nil {
				b.Fatal(err)
			}
			defer auth.Close()
			for i := range entries {
				made := revocation{kind: revokeSession, name: id("session", i), at: now.Add(-time.Hour), expires: now.Add(time.Hour)}
				switch i % 3 {
				case 1:
					made.kind, made.name = revokeLogtoSession, id("logto", i)
				case 2:
					made.kind, made.name = revokeUser, id("user", i)
				}
				auth.revocations.apply(made)
			}
			var sessions [1 << 12]*session.Session
			for i := range sessions {
				sessions[i] = test.session(3*i + 2)
			}
			next := 0
			b.ReportAllocs()
			for b.Loop() {
				if auth.revocations.hasEnded(sessions[next%len(sessions)]) != test.ended {
					b.Fatal("the wrong answer")
				}
				next++
			}
		})
	}
}
