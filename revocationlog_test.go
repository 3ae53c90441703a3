package logtogin_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

// A Redis that was emptied, also one whose clock is behind, makes no instance deaf: those that know something tell it
// once more, and the operator hears of it once.
func TestALogThatWasLostIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*commonState){
		"emptied": (*commonState).lose,
		"emptied, with other entries since": func(state *commonState) {
			state.lose()
			state.set(func() {
				for log := range state.lifetimes {
					state.logs[log] = []string{"sealed by nobody", "and another one", "and a third one"}
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			state := newCommonState()
			setUp := func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state }
			apps := two(t, logto, setUp)
			gone, here := newBrowser(t), newBrowser(t)
			gone.signIn(apps[0].url+"/profile", alice())
			cookies := gone.ours(apps[0])
			token := logto.AccessToken(alice(), ordersAPI)
			out := newBrowser(t)
			out.signIn(apps[0].url+"/profile", alice())
			signedOut := out.ours(apps[0])
			out.get(apps[0].url + "/sign-out")
			if err := apps[0].auth.RevokeUser(t.Context(), aliceID); err != nil {
				t.Fatal(err)
			}
			now.advance(time.Minute)
			here.signIn(apps[0].url+"/profile", alice())
			for _, app := range apps {
				signedInWith(t, app, cookies...) // all have read the log
			}
			lose(state)
			now.advance(time.Second)
			eventually(t, func() bool {
				here.isSignedIn(apps[0])
				now.advance(time.Second)
				return strings.Contains(apps[0].log.String(), "has lost the log of revocations")
			})
			late := told(t, logto, func(cfg *logtogin.Config) { setUp(cfg); cfg.BaseURL = apps[0].url })
			late.router.GET("/api", late.auth.Bearer(ordersAPI), func(c *gin.Context) {})
			for name, cookies := range map[string][]*http.Cookie{"revoked": cookies, "signed out": signedOut} {
				if signedInWith(t, late, cookies...) {
					t.Errorf("the session that was %s is good at an instance that starts now", name)
				}
			}
			if answer := send(t, http.MethodGet, late.url+"/api", nil, http.Header{"Authorization": {"Bearer " + token}}); answer.status != http.StatusUnauthorized {
				t.Errorf("the token of the user: got %d, want 401", answer.status)
			}
			if !here.isSignedIn(apps[0]) || !signedInWith(t, late, here.ours(apps[0])...) {
				t.Error("a later session has ended")
			}
			for range 3 {
				now.advance(time.Second)
				here.isSignedIn(apps[0])
			}
			if count := strings.Count(apps[0].log.String(), "has lost the log of revocations"); count != 1 {
				t.Errorf("it was logged %d times, want once", count)
			}
			if text := fmt.Sprint(apps[0].auth.Diagnose(t.Context()).Findings); !strings.Contains(text, "The log of revocations was lost") {
				t.Errorf("Diagnose says nothing of it: %s", text)
			}
		})
	}
}

// An instance with other Secrets cannot read what the others revoke, and says so.
func TestEntriesThatCannotBeReadAreReported(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	app := told(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state })
	other := told(t, logto, func(cfg *logtogin.Config) {
		change(cfg)
		cfg.SharedState, cfg.Secrets = state, []string{strings.Repeat("x", 32)}
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	for range 3 {
		if err := other.auth.RevokeUser(t.Context(), aliceID); err != nil {
			t.Fatal(err)
		}
		now.advance(time.Second)
		eventually(t, func() bool {
			b.isSignedIn(app)
			now.advance(time.Second)
			return strings.Contains(app.log.String(), "cannot read")
		})
	}
	if count := strings.Count(app.log.String(), "cannot read"); count != 1 {
		t.Errorf("it was logged %d times, want once", count)
	}
	if text := fmt.Sprint(app.auth.Diagnose(t.Context()).Findings); !strings.Contains(text, "cannot be read here") {
		t.Errorf("Diagnose says nothing of it: %s", text)
	}
}

// A log that is lost again while it is written again, or before it was ever read, is written again, too.
func TestALogThatIsLostTwiceIsWrittenAgain(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	setUp := func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state }
	apps := two(t, logto, setUp)
	b := newBrowser(t)
	b.signIn(apps[0].url+"/profile", alice())
	cookies := b.ours(apps[0])
	for i := range 1200 { // more than an entry has
		if err := apps[0].auth.RevokeUser(t.Context(), fmt.Sprint("user ", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := apps[0].auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	state.lose()
	if err := apps[1].auth.RevokeUser(t.Context(), "somebody else"); err != nil { // at the new log
		t.Fatal(err)
	}
	learns := func() {
		t.Helper()
		late := told(t, logto, func(cfg *logtogin.Config) { setUp(cfg); cfg.BaseURL = apps[0].url })
		eventually(t, func() bool {
			signedInWith(t, apps[0], cookies...)
			now.advance(time.Second)
			return !signedInWith(t, late, cookies...)
		})
	}
	learns()
	for range 3 {
		state.lose()
		if err := apps[0].auth.RevokeUser(t.Context(), "somebody"); err != nil {
			t.Fatal(err)
		}
		state.lose()
		now.advance(time.Second)
		learns()
	}
}
