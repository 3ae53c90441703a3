package session

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/shared"
)

const name = "logtogin-logtogin-logt_12345678" // as long as it can be

// SettingsForTests are the settings of an application at https://app.example.com with sessions in cookies.
func SettingsForTests() Settings {
	return Settings{
		Name: name, Base: &url.URL{Scheme: "https", Host: "app.example.com"}, Origin: "https://app.example.com",
		Cookie:  sessions.Options{Path: "/", Secure: true, HttpOnly: true},
		Secrets: []string{strings.Repeat("s", 32)}, Purpose: func(what string) string { return what },
		Lifetime: 14 * 24 * time.Hour, MaxStale: 24 * time.Hour, ClockSkew: time.Minute, LogoutTokenMemory: 10 * time.Minute,
		Shared: shared.New(nil, "", slog.New(slog.DiscardHandler)), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Logto:    noLogto{},
		ReadMemo: func(*Session) (any, error) { return nil, nil },
		Observe:  func(context.Context, string) func(error) { return func(error) {} },
	}
}

func newSessions(tb testing.TB, change func(*Settings)) *Sessions {
	tb.Helper()
	settings := SettingsForTests()
	if change != nil {
		change(&settings)
	}
	revocations, err := NewRevocations(settings)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(revocations.Close)
	s, err := New(settings, revocations)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// noLogto is not asked.
type noLogto struct{ Logto }
