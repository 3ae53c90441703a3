package memorystate_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/memorystate"
)

func TestItKeepsTheContract(t *testing.T) {
	t.Parallel()
	logtotest.SharedStateContract(t, func(testing.TB) logtogin.SharedState { return memorystate.New() })
}

// Expired values go, and so do good ones when there are too many.
func TestItsValuesAreBounded(t *testing.T) {
	t.Parallel()
	state := memorystate.New()
	ctx := t.Context()
	const count = 300_000
	for i := range count {
		if err := state.Set(ctx, strconv.Itoa(i), "x", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for i := range count {
		if _, ok, _ := state.Get(ctx, strconv.Itoa(i)); ok {
			kept++
		}
	}
	if kept > 128<<10 || kept < 64<<10 {
		t.Errorf("%d values are kept, want 131072 at most", kept)
	}
	if _, ok, _ := state.Get(ctx, strconv.Itoa(count-1)); !ok {
		t.Error("the last one is gone")
	}
}

// Who has not read what is dropped is told, and who has goes on.
func TestItsLogsAreBounded(t *testing.T) {
	t.Parallel()
	state := memorystate.New()
	ctx := t.Context()
	add := func(count int) {
		for range count {
			if _, err := state.Append(ctx, "log", "x", time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(10)
	_, early, err := state.Read(ctx, "log", "", 5)
	if err != nil {
		t.Fatal(err)
	}
	_, late, err := state.Read(ctx, "log", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	add(1<<20 - 2) // eight are dropped
	if _, _, err := state.Read(ctx, "log", early, 10); !errors.Is(err, logtogin.ErrLogReplaced) {
		t.Errorf("got %v, want ErrLogReplaced", err)
	}
	if entries, _, err := state.Read(ctx, "log", late, 10); err != nil || len(entries) != 10 {
		t.Errorf("got %d entries, %v, want 10", len(entries), err)
	}
}

// What one Auth of a process revokes, another one knows.
func TestTwoAuthOfOneProcessKnowTheSame(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.ReleaseMode)
	logto := logtotest.NewServer(t)
	state := memorystate.New()
	start := func() (*gin.Engine, *logtogin.Auth) {
		cfg := logto.Config("https://app.example.com")
		cfg.SharedState = state
		router := gin.New()
		auth, err := logtogin.Register(router, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := auth.Close(); err != nil {
				t.Error(err)
			}
		})
		router.GET("/page", auth.Guard(), func(*gin.Context) {})
		return router, auth
	}
	router, _ := start()
	_, other := start()
	client := logto.SignIn(t, router, logtotest.DefaultUser())
	status := func() int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/page", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "application/json")
		response, err := client.Do(request) // which no guard leads to a sign-in
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	if got := status(); got != 200 {
		t.Fatalf("before: got %d, want 200", got)
	}
	user, _ := logto.User(logtotest.DefaultUser().Username)
	if err := other.RevokeUser(t.Context(), user.ID); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); status() == 200; { // within a second
		if time.Now().After(deadline) {
			t.Fatal("the session goes on")
		}
	}
}
