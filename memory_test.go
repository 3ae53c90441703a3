package logtogin

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
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
	newRecord := func() *session.Session {
		record, err := session.Decode((&session.Session{
			ID: rand.Text(), Subject: rand.Text()[:12], LogtoSessionID: rand.Text()[:21], IDToken: token, RefreshToken: token,
			StartedAt: now, BegunAt: now, ActiveAt: now, ConfirmedAt: now, Expires: now.Add(14 * 24 * time.Hour),
		}).Encode(), "")
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	for name, remember := range map[string]func(auth *Auth){
		"a session that was signed out": func(auth *Auth) {
			record := newRecord()
			auth.revocations.endOnce(record)
			auth.revocations.record(context.Background(), revocation{kind: revokeSession, name: record.ID, expires: record.Expires})
		},
		"a session that was revoked": func(auth *Auth) {
			_ = auth.RevokeSession(context.Background(), newRecord().LogtoSessionID)
		},
		"a session that Logto has ended": func(auth *Auth) {
			auth.revocations.record(context.Background(), revocation{kind: loggedOutLogtoSession, name: newRecord().LogtoSessionID, at: now})
		},
		"a user who was revoked": func(auth *Auth) { _ = auth.RevokeUser(context.Background(), newRecord().Subject) },
		"a user whose other sessions were ended": func(auth *Auth) {
			record := newRecord()
			auth.revocations.record(context.Background(), revocation{kind: revokeOthers, name: record.Subject, subject: record.ID, started: now, at: now})
		},
		"a logout token that was used": func(auth *Auth) {
			auth.revocations.spend(revocation{tokenID: newRecord().LogtoSessionID})
		},
		"an attempt that was finished": func(auth *Auth) {
			started := &session.Attempt{ID: session.NewID(now, false, false), StartedAt: now, ReturnTo: "/" + token, Verifier: rand.Text()}
			header := map[string][]string{}
			auth.store.attempts.Start(httptest.NewRequest(http.MethodGet, "/", nil), header, started)
			opened, err := auth.store.attempts.Open(started.State)
			if err != nil {
				t.Fatal(err)
			}
			its, _ := auth.spend(context.Background(), opened, &logto.AuthorizationResponse{State: started.State, Code: rand.Text()}, func() {})
			close(its.done)
			auth.outcomes.Delete(opened.Challenge()) // which lasts for two minutes
		},
	} {
		t.Run(name, func(t *testing.T) {
			auth, err := New(Config{Endpoint: "https://tenant.logto.app", AppID: "app", AppSecret: strings.Repeat("s", 32), BaseURL: "https://app.example.com"})
			if err != nil {
				t.Fatal(err)
			}
			defer auth.Close()
			before := heap()
			for range count {
				remember(auth)
			}
			each := int(heap()-before) / count
			t.Logf("%d bytes", each)
			if each > limit {
				t.Errorf("got %d bytes, want %d at most", each, limit)
			}
			runtime.KeepAlive(auth)
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
