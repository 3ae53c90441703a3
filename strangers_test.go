package logtogin_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What strangers can cause is bounded, and users do not wait for it.

// madeUp is a callback with a code that nobody has issued, and the cookies of the attempt that it belongs to.
func madeUp(t *testing.T, logto *logtotest.Server, app *application) (address string, cookies []*http.Cookie) {
	t.Helper()
	started := send(t, http.MethodGet, app.url+"/sign-in", nil, nil)
	location, err := url.Parse(started.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	answer := url.Values{"state": {location.Query().Get("state")}, "code": {"made-up"}, "iss": {logto.Issuer()}}
	return app.url + "/callback?" + answer.Encode(), setCookies(started)
}

// Codes that Logto refuses leave nothing in the shared state, which strangers could fill.
func TestMadeUpCodesLeaveNothingInTheSharedState(t *testing.T) {
	t.Parallel()
	state := newCommonState()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.SharedState = state })
	for range 5 {
		address, cookies := madeUp(t, logto, app)
		for range 2 {
			if shown := send(t, http.MethodGet, address, cookies, nil); shown.status != http.StatusBadRequest {
				t.Errorf("got %d %s, want 400", shown.status, shown.body)
			}
		}
	}
	if len(state.values) > 0 {
		t.Errorf("got %v, want nothing", state.values)
	}
	if calls := logto.Calls().Token; calls != 5 {
		t.Errorf("got %d token calls, want one for each attempt", calls)
	}
}

// Made-up callbacks wait for each other at a Logto that does not answer; users' refreshes do not wait for them. A
// callback that gets no turn has lost nothing.
func TestMadeUpCodesKeepNoUserWaiting(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	var under, most atomic.Int64
	hold := make(chan struct{})
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		if r.PostForm.Get("code") == "made-up" {
			if count := under.Add(1); count > most.Load() {
				most.Store(count)
			}
			defer under.Add(-1)
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		next.ServeHTTP(w, r)
	})
	type callback struct {
		address string
		cookies []*http.Cookie
	}
	var all []callback
	for range 60 {
		address, cookies := madeUp(t, logto, app)
		all = append(all, callback{address, cookies})
	}
	turnedAway := make(chan callback, len(all))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		atOnce(len(all), func(i int) {
			if send(t, http.MethodGet, all[i].address, all[i].cookies, nil).status == http.StatusServiceUnavailable {
				turnedAway <- all[i]
			}
		})
	}()
	eventually(t, func() bool { return under.Load() == 32 })
	if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" {
		t.Errorf("a user gets %d %s", shown.status, shown.body)
	}
	again := <-turnedAway // after two seconds
	close(hold)
	<-ended
	if most.Load() != 32 {
		t.Errorf("got %d calls at once, want 32", most.Load())
	}
	if shown := send(t, http.MethodGet, again.address, again.cookies, nil); shown.status != http.StatusBadRequest || !strings.Contains(shown.body, "invalid_grant") {
		t.Errorf("the callback that comes again: got %d %s, want Logto's refusal", shown.status, shown.body)
	}
}

// Logto's limit for sign-ins is none for the sessions that there are.
func TestALimitForSignInsSlowsNoSession(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		if r.PostForm.Has("code") {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
	logto.ResetCalls()
	for i := range 3 {
		address, cookies := madeUp(t, logto, app)
		if shown := send(t, http.MethodGet, address, cookies, nil); shown.status != http.StatusServiceUnavailable {
			t.Errorf("callback %d: got %d, want 503", i, shown.status)
		}
	}
	if calls := logto.Calls().Token; calls != 1 {
		t.Errorf("got %d token calls, want one, and then a pause", calls)
	}
	if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" {
		t.Errorf("a user gets %d %s", shown.status, shown.body)
	}
	now.advance(31 * time.Second)
	logto.Intercept(logtotest.Token, nil)
	if arrived := newBrowser(t).signIn(app.url+"/profile", alice()); arrived.url.Path != "/profile" {
		t.Errorf("after the pause: %d %s", arrived.status, arrived.url)
	}
}

// Logout tokens with unknown keys fetch the key set less and less. A new key of Logto's is found by the next sign-in.
func TestJunkLogoutTokensFetchFewKeys(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := told(t, logto, change)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	good := tokenFor(t, logto, idOf(t, logto, "alice"), "")
	_, rest, _ := strings.Cut(good, ".")
	logto.ResetCalls()
	for i := range 120 {
		now.advance(time.Second)
		header := fmt.Sprintf(`{"alg":"ES384","kid":"junk-%d","typ":"logout+jwt"}`, i)
		if answer := app.logoutToken(base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + rest); answer.status != http.StatusBadRequest {
			t.Fatalf("got %d, want 400", answer.status)
		}
	}
	if calls := logto.Calls().Keys; calls == 0 || calls > 15 {
		t.Errorf("got %d fetches in two minutes, want a few", calls)
	}
	if err := logto.RotateKey("ES384"); err != nil {
		t.Fatal(err)
	}
	if arrived := newBrowser(t).signIn(app.url+"/profile", alice()); arrived.url.Path != "/profile" {
		t.Errorf("after the keys have changed: %d %s", arrived.status, arrived.url)
	}
}

// A body that comes byte by byte is given up, although the server has a ReadHeaderTimeout only; the connection is not
// needed any more.
func TestSlowBodiesAreGivenUp(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.POST("/webhooks/logto", app.auth.WebhookHandler("key"))
	for path, contentType := range map[string]string{"/backchannel-logout": "application/x-www-form-urlencoded", "/webhooks/logto": "application/json"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			dialer := net.Dialer{Timeout: time.Minute}
			conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(app.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\nlogout", path, contentType)
			if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if answer, err := io.ReadAll(io.LimitReader(conn, 12)); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
				t.Errorf("got %q %v, want 400", answer, err)
			}
		})
	}
}

// A middleware that reads forms, such as one against cross-site requests, takes nothing away.
func TestAFormThatWasReadBeforeIsALogoutToken(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := told(t, logto, nil)
	router := gin.New()
	router.Use(func(c *gin.Context) { c.PostForm("csrf") })
	router.NoRoute(gin.WrapH(app.router))
	app.server.Handler = router
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	if answer := app.logoutToken(tokenFor(t, logto, idOf(t, logto, "alice"), "")); answer.status != http.StatusOK || b.isSignedIn(app) {
		t.Errorf("got %d, signed in: %v, want 200 and false", answer.status, b.isSignedIn(app))
	}
}

// A recording of a webhook ends sessions as of its own time, and does nothing else. One that the application could not
// handle may be sent again.
func TestRecordedWebhooksReachNoApplication(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	var seen []string
	var failure error
	apps := two(t, logto, func(cfg *logtogin.Config) {
		change(cfg)
		cfg.SharedState = state
		cfg.OnWebhook = func(_ *gin.Context, event *logtogin.WebhookEvent) error {
			seen = append(seen, event.Event)
			return failure
		}
	})
	for _, app := range apps {
		app.router.POST("/webhooks/logto", app.auth.WebhookHandler("key"))
	}
	post := func(app *application, body string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, app.url+"/webhooks/logto", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("logto-signature-sha-256", logtotest.WebhookSignature("key", body))
		return newBrowser(t).do(r).status
	}
	event := func(name string, age time.Duration) string {
		return fmt.Sprintf(`{"event":%q,"createdAt":%q,"userId":"u"}`, name, now.Now().Add(-age).UTC().Format(time.RFC3339Nano))
	}
	fresh := event("PostSignIn", 9*time.Minute)
	for _, body := range []string{fresh, fresh, event("PostRegister", 11*time.Minute), event("PostRegister", 3*365*24*time.Hour)} {
		for _, app := range apps {
			if status := post(app, body); status != http.StatusOK {
				t.Errorf("got %d, want 200", status)
			}
		}
	}
	if fmt.Sprint(seen) != "[PostSignIn]" {
		t.Errorf("got %v, want one event", seen)
	}
	failed := event("PostRegister", 0)
	failure = context.DeadlineExceeded
	if status := post(apps[0], failed); status != http.StatusInternalServerError {
		t.Errorf("got %d, want 500", status)
	}
	failure = nil
	if status := post(apps[0], failed); status != http.StatusOK || fmt.Sprint(seen) != "[PostSignIn PostRegister PostRegister]" {
		t.Errorf("sent again: got %d, %v", status, seen)
	}

	b := newBrowser(t)
	b.signIn(apps[0].url+"/profile", alice())
	now.advance(time.Hour)
	late := fmt.Sprintf(`{"event":"User.Deleted","createdAt":%q,"params":{"userId":%q}}`, now.Now().Add(-30*time.Minute).UTC().Format(time.RFC3339Nano), aliceID)
	if status := post(apps[0], late); status != http.StatusOK || b.isSignedIn(apps[0]) || len(seen) != 3 {
		t.Errorf("a late one: got %d, %v, signed in: %v; want the session to end", status, seen, b.isSignedIn(apps[0]))
	}
	// The user has been admitted again since: what comes late does not end the session that has begun since.
	b.signIn(apps[0].url+"/profile", alice())
	suspended := strings.Replace(strings.Replace(late, "User.Deleted", "User.SuspensionStatus.Updated", 1), `"params"`, `"data":{"isSuspended":true},"params"`, 1)
	for _, app := range apps {
		if status := post(app, suspended); status != http.StatusOK || !b.isSignedIn(apps[0]) {
			t.Errorf("in the wrong order: got %d, signed in: %v", status, b.isSignedIn(apps[0]))
		}
	}
}
