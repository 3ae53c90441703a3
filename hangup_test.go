package logtogin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// Whoever sends a request and hangs up at once gets no answer, but what the request was to
// do could be done all the same, before it is known that it must not be.

// hangUp sends a request whose client has gone.
func (app *application) hangUp(path string, header http.Header) {
	app.t.Helper()
	ctx, leave := context.WithCancel(app.t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, path, nil)
	r.Header = header
	app.router.ServeHTTP(httptest.NewRecorder(), r)
}

// counted is a route behind a guard that counts the requests it is passed by.
func (app *application) counted(path string, guard gin.HandlerFunc) *atomic.Int64 {
	passed := &atomic.Int64{}
	app.router.POST(path, guard, func(*gin.Context) { passed.Add(1) })
	return passed
}

func TestNobodyPassesAGuardByHangingUpAfterARevocation(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	change2 := func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state }
	app := newApplication(t, logto, change2)
	other := newApplication(t, logto, func(cfg *logtogin.Config) { change2(cfg); cfg.BaseURL = app.url })
	pages := app.counted("/page", app.auth.Guard())
	orders := app.counted("/orders", app.auth.Bearer(ordersAPI))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	withSession := http.Header{"Cookie": {header(sessionCookie(t, b, app))}}
	withToken := bearerHeader(logto.AccessToken(logtotest.User{ID: aliceID}, ordersAPI, "read:orders"))
	app.hangUp("/page", withSession)
	app.hangUp("/orders", withToken)
	if pages.Load() != 1 || orders.Load() != 1 {
		t.Fatal("they are good, and do not pass", pages.Load(), orders.Load())
	}
	now.advance(time.Minute)
	if err := other.auth.RevokeUser(t.Context(), aliceID); err != nil {
		t.Fatal(err)
	}
	app.hangUp("/page", withSession)
	now.advance(time.Minute)
	app.hangUp("/orders", withToken)
	if pages.Load() != 1 || orders.Load() != 1 {
		t.Errorf("the page was passed %d times more, the API %d times", pages.Load()-1, orders.Load()-1)
	}
}

func TestNobodyPassesAGuardByHangingUpBeforeTheSessionIsConfirmed(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	passed := app.counted("/page", app.auth.Guard())
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	cookie := http.Header{"Cookie": {header(sessionCookie(t, b, app))}}
	app.hangUp("/page", cookie)
	now.advance(61 * time.Minute) // the ID token has expired
	answer := make(chan struct{})
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		<-answer
		next.ServeHTTP(w, r)
	})
	app.hangUp("/page", cookie)
	close(answer)
	if passed.Load() != 1 {
		t.Errorf("passed %d times more", passed.Load()-1)
	}
}
