package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is remembered of a session that has ended, for as long as it might have lasted, and of an attempt of a
// stranger takes no more than the documents say. Other tests must not run meanwhile.
func TestWhatIsRememberedForLongIsSmall(t *testing.T) {
	count, limit := 100_000, 200
	if info, _ := debug.ReadBuildInfo(); slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		count = 5_000 // with which everything takes longer
	}
	now := time.Now()
	token := strings.Repeat("x", 1500)
	newSession := func() *Session {
		record, err := Decode((&Session{
			ID: rand.Text(), Subject: rand.Text()[:12], LogtoSessionID: rand.Text()[:21], IDToken: token, RefreshToken: token,
			StartedAt: now, BegunAt: now, ActiveAt: now, ConfirmedAt: now, Expires: now.Add(14 * 24 * time.Hour),
		}).Encode(), "")
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	for name, remember := range map[string]func(s *Sessions){
		"a session that was signed out": func(s *Sessions) {
			if _, err := s.end(context.Background(), nil, bySignOut, s.store.hold(newSession())); err != nil {
				t.Error(err)
			}
		},
		"a session that was revoked": func(s *Sessions) {
			s.revocations.Record(context.Background(), Revocation{Kind: RevokeLogtoSession, Name: newSession().LogtoSessionID, At: now})
		},
		"a session that Logto has ended": func(s *Sessions) {
			s.revocations.Record(context.Background(), Revocation{Kind: LoggedOutLogtoSession, Name: newSession().LogtoSessionID, At: now})
		},
		"a user who was revoked": func(s *Sessions) {
			s.revocations.Record(context.Background(), Revocation{Kind: RevokeUser, Name: newSession().Subject, At: now})
		},
		"a user whose other sessions were ended": func(s *Sessions) {
			s.revocations.Record(context.Background(), RevokeOthers(newSession()))
		},
		"a logout token that was used": func(s *Sessions) {
			s.revocations.spend(Revocation{TokenID: newSession().LogtoSessionID})
		},
		"an attempt that was finished": func(s *Sessions) {
			started := &Attempt{ID: NewID(now, false, false), StartedAt: now, ReturnTo: "/" + token, Verifier: rand.Text()}
			header := map[string][]string{}
			s.Attempts.start(httptest.NewRequest(http.MethodGet, "/", nil), header, started)
			opened, err := s.Attempts.Open(started.State)
			if err != nil {
				t.Fatal(err)
			}
			outcome, _ := s.Outcomes.Spend(context.Background(), opened, sha256.Sum256([]byte(rand.Text())), true, func() {})
			outcome.Settle()
			s.Outcomes.outcomes.Delete(opened.key()) // which lasts for two minutes
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSessions(t, nil)
			before := heap()
			for range count {
				remember(s)
			}
			each := int(heap()-before) / count
			t.Logf("%d bytes", each)
			if each > limit {
				t.Errorf("got %d bytes, want %d at most", each, limit)
			}
			runtime.KeepAlive(s)
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
