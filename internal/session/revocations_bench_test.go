package session

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkRevocationCheck is what a guarded page pays for there being 100 000 revocations:
// of sessions, of Logto's sessions and of users.
func BenchmarkRevocationCheck(b *testing.B) {
	const entries = 100_000
	now := time.Now()
	id := func(kind string, i int) string { return kind + "-" + strconv.Itoa(i) + "-of-the-usual-length" }
	for name, test := range map[string]struct {
		session func(i int) *Session
		ended   bool
	}{
		"of one that was asked for before": {func(i int) *Session {
			return &Session{ID: id("other", i), Subject: id("other", i), LogtoSessionID: id("other", i), StartedAt: now, BegunAt: now, LivesBy: new(atomic.Uint64)}
		}, false},
		"of nobody who was revoked": {func(i int) *Session {
			return &Session{ID: id("other", i), Subject: id("other", i), LogtoSessionID: id("other", i), StartedAt: now, BegunAt: now}
		}, false},
		"of a user who has signed in again": {func(i int) *Session {
			return &Session{ID: id("other", i), Subject: id("user", i), LogtoSessionID: id("other", i), StartedAt: now, BegunAt: now}
		}, false},
		"of a user who was revoked": {func(i int) *Session {
			return &Session{ID: id("other", i), Subject: id("user", i), LogtoSessionID: id("other", i), StartedAt: now.Add(-2 * time.Hour), BegunAt: now}
		}, true},
	} {
		b.Run(name, func(b *testing.B) {
			revocations := newSessions(b, nil).revocations
			for i := range entries {
				made := Revocation{Kind: revokeSession, Name: id("session", i), At: now.Add(-time.Hour), expires: now.Add(time.Hour)}
				switch i % 3 {
				case 1:
					made.Kind, made.Name = RevokeLogtoSession, id("logto", i)
				case 2:
					made.Kind, made.Name = RevokeUser, id("user", i)
				}
				revocations.apply(made)
			}
			var sessions [1 << 12]*Session
			for i := range sessions {
				sessions[i] = test.session(3*i + 2)
			}
			next := 0
			b.ReportAllocs()
			for b.Loop() {
				if revocations.HasEnded(sessions[next%len(sessions)]) != test.ended {
					b.Fatal("the wrong answer")
				}
				next++
			}
		})
	}
}
