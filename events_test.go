package logtogin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// eventLog is what Config.OnEvent was told.
type eventLog struct {
	mu   sync.Mutex
	seen []logtogin.Event
}

func (l *eventLog) add(_ context.Context, event logtogin.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, event)
}

// take returns the events since the last time, as "kind call cause reason".
func (l *eventLog) take() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, event := range l.seen {
		names = append(names, strings.Join(strings.Fields(fmt.Sprint(event.Kind, " ", event.Call, " ", event.Cause, " ", event.Reason)), " "))
	}
	l.seen = nil
	slices.Sort(names)
	return names
}

func TestEvents(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	events := &eventLog{}
	app := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.OnEvent = events.add })
	app.tokenRoutes()
	app.router.GET("/api", app.auth.Bearer(ordersAPI), func(*gin.Context) {})
	expect := func(what string, want ...string) {
		t.Helper()
		slices.Sort(want)
		if got := events.take(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	expect("a sign-in", "sign_in_started", "provider_call discovery", "provider_call token", "provider_call keys", "sign_in_finished")
	for range 3 {
		b.get(app.url + "/profile")
	}
	expect("guarded pages")
	b.token(app, nil)
	expect("a token that is at hand", "cache_hit access_token")
	b.token(app, map[string][]string{"resource": {ordersAPI}})
	expect("a token that is not", "refresh", "provider_call refresh")
	bearer := bearerHeader(logto.AccessToken(alice(), ordersAPI))
	send(t, http.MethodGet, app.url+"/api", nil, bearer)
	expect("a bearer token")
	send(t, http.MethodGet, app.url+"/api", nil, bearer)
	expect("a bearer token that was seen before", "cache_hit bearer_token")
	b.get(app.url + "/user-info")
	expect("user info", "cache_hit access_token", "provider_call user_info")
	send(t, http.MethodGet, app.url+"/callback?state=x&code=y", nil, nil)
	expect("a strange callback", "sign_in_failed no_attempt")
	b.stopAt(logto.Endpoint())
	b.get(app.url + "/sign-out")
	b.keepGoing()
	expect("a sign-out", "provider_call revocation", "signed_out")
	if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Error(err)
	}
	app.logoutToken(tokenFor(t, logto, aliceID, ""))
	expect("revocations", "revocation user", "revocation logout_token")
	now.advance(time.Second)
	b.signIn(app.url+"/profile", alice())
	events.take()
	logto.Misbehave(faults.TokenDown)
	now.advance(20 * time.Minute)
	b.token(app, map[string][]string{"resource": {stockAPI}})
	expect("a refresh that fails", "provider_call refresh provider_unavailable", "refresh provider_unavailable")
}

// What the application does with an event stands in nobody's way.
func TestAPanicInOnEvent(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnEvent = func(context.Context, logtogin.Event) { panic("the hook panics") }
	})
	b := newBrowser(t)
	if page := b.signIn(app.url+"/profile", alice()); page.status != http.StatusOK {
		t.Errorf("%d %s", page.status, page.body)
	}
	if !strings.Contains(app.log.String(), "OnEvent panics") {
		t.Error(app.log)
	}
}

func TestALogLineOfARequestThatFailedNamesTheUser(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/broken", app.auth.Guard(), func(c *gin.Context) { app.auth.Refuse(c, errors.New("the disk is full")) })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	if page := b.get(app.url + "/broken"); page.status != http.StatusInternalServerError {
		t.Errorf("got %d, want 500", page.status)
	}
	if line := app.log.String(); !strings.Contains(line, `error="the disk is full" sub=`) || strings.Contains(line, `sub=""`) {
		t.Errorf("got %s, want the user in the line", line)
	}
}
