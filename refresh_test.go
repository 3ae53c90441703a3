package logtogin_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// refreshes are the requests of the server's record that were refreshes.
func refreshes(logto *logtotest.Server) (found []logtotest.Call) {
	for _, call := range logto.Record() {
		if call.Endpoint == logtotest.Token && call.Form.Get("grant_type") == "refresh_token" {
			found = append(found, call)
		}
	}
	return found
}

// rotating makes every refresh replace the refresh token, as Logto does for
// applications without a secret.
func rotating(logto *logtotest.Server) func(*logtogin.Config) {
	app := logto.Application()
	app.Type, app.Secret = logtotest.Native, ""
	logto.AddApplication(app)
	return func(cfg *logtogin.Config) {
		cfg.AppSecret, cfg.Secrets = "", []string{strings.Repeat("s", 32)}
	}
}

// atOnce runs f so often at the same time.
func atOnce(count int, f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range count {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}

// signInAndExpire signs alice in and lets the tokens expire.
func signInAndExpire(app *application, now *clock) *browser {
	b := newBrowser(app.t)
	b.signIn(app.url+"/profile", alice())
	now.advance(61 * time.Minute)
	return b
}

// withClock gives server and application the same clock.
func withClock(logto *logtotest.Server, changes ...func(*logtogin.Config)) (*clock, func(*logtogin.Config)) {
	now := newClock()
	logto.SetNow(now.Now)
	return now, func(cfg *logtogin.Config) {
		cfg.Now = now.Now
		for _, change := range changes {
			change(cfg)
		}
	}
}

// C71: a burst on an expired token is one call.
func TestABurstIsOneRefresh(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/token", "/profile", "/token?resource=" + url.QueryEscape(ordersAPI)} {
		t.Run(path, func(t *testing.T) {
			bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
				now, change := withClock(logto, rotating(logto))
				app := start(change)
				b := signInAndExpire(app, now)
				cookies := b.ours(app)
				logto.ResetCalls()
				var good atomic.Int64
				atOnce(200, func(int) {
					if page := send(t, http.MethodGet, app.url+path, cookies, nil); page.status == http.StatusOK {
						good.Add(1)
					}
				})
				if calls := len(refreshes(logto)); calls != 1 || good.Load() != 200 {
					t.Errorf("%d refreshes, %d good answers, log: %s", calls, good.Load(), app.log)
				}
				// A late one, long after the grace of Logto.
				now.advance(time.Minute)
				if page := send(t, http.MethodGet, app.url+path, cookies, nil); page.status != http.StatusOK || len(refreshes(logto)) != 1 {
					t.Errorf("later: %d, %d refreshes", page.status, len(refreshes(logto)))
				}
			})
		})
	}
}

// Different tokens come one after the other, each with the newest refresh token.
func TestDifferentTokensComeOnOneChain(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto))
		app := start(change)
		b := signInAndExpire(app, now)
		cookies := b.ours(app)
		logto.ResetCalls()
		queries := []string{"", "?resource=" + url.QueryEscape(ordersAPI), "?resource=" + url.QueryEscape(stockAPI)}
		atOnce(30, func(i int) {
			if page := send(t, http.MethodGet, app.url+"/token"+queries[i%3], cookies, nil); page.status != http.StatusOK {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
		used := map[string]bool{}
		for _, call := range refreshes(logto) {
			used[call.Form.Get("refresh_token")] = true
		}
		if len(refreshes(logto)) != 3 || len(used) != 3 {
			t.Errorf("%d refreshes with %d refresh tokens", len(refreshes(logto)), len(used))
		}
	})
}

// A browser that never receives what a refresh yields comes with its old cookie, for
// weeks: it must not use the old refresh token once there is another.
func TestAnOldCookieFindsItsWay(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto))
		app := start(change)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		cookies := b.ours(app)
		for day := range 13 {
			now.advance(24 * time.Hour)
			if page := send(t, http.MethodGet, app.url+"/profile", cookies, nil); page.status != http.StatusOK {
				t.Fatalf("day %d: %d", day, page.status)
			}
		}
	})
}

// C77: the client has gone, and what Logto has answered is there for its next request.
func TestARequestThatIsGivenUpLosesNothing(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto))
		app := start(change)
		b := signInAndExpire(app, now)
		asked, answer := make(chan struct{}), make(chan struct{})
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			close(asked)
			<-answer
			next.ServeHTTP(w, r)
		})
		logto.ResetCalls()
		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, app.url+"/token", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, cookie := range b.ours(app) {
			r.AddCookie(cookie)
		}
		left := make(chan error)
		go func() {
			_, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
			left <- err
		}()
		<-asked
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		close(answer)
		if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" || len(refreshes(logto)) != 1 {
			t.Errorf("%d %s, %d refreshes", shown.status, shown.body, len(refreshes(logto)))
		}
	})
}

// holdRefresh lets Logto make new tokens and keeps its answer back until it is
// released. held tells when that is so.
func holdRefresh(logto *logtotest.Server) (held chan struct{}, release func()) {
	held = make(chan struct{})
	goOn := make(chan struct{})
	var once sync.Once
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		once.Do(func() {
			close(held)
			<-goOn
		})
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	})
	return held, func() { close(goOn) }
}

// Nothing brings a session back that ends while it is refreshed, and what Logto has
// issued for it is revoked.
func TestASignOutDuringARefreshWins(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto))
		app := start(change)
		b := signInAndExpire(app, now)
		cookies := b.ours(app)
		held, release := holdRefresh(logto)
		refreshed := make(chan page)
		go func() { refreshed <- send(t, http.MethodGet, app.url+"/token", cookies, nil) }()
		<-held
		logto.ResetCalls()
		b.get(app.url + "/sign-out")
		release()
		if page := <-refreshed; page.status != http.StatusUnauthorized || len(setCookies(page)) > 0 {
			t.Errorf("%d %s, sets %v", page.status, page.body, setCookies(page))
		}
		if signedInWith(t, app, cookies...) || (app.inStore() && len(app.store.values(t)) > 0) {
			t.Error("the session is back")
		}
		if calls := logto.Calls(); calls.Revocation != 2 {
			t.Errorf("%+v", calls)
		}
	})
}

// The instance that signs out shares nothing with the one that refreshes but the store,
// or nothing but the shared state.
func TestASignOutElsewhereDuringARefreshWins(t *testing.T) {
	t.Parallel()
	for name, share := range map[string]func(*logtogin.Config){
		"a store": func(store *serverStore) func(*logtogin.Config) {
			return func(cfg *logtogin.Config) { cfg.Store = store }
		}(newServerStore()),
		"a shared state": func(state *commonState) func(*logtogin.Config) {
			return func(cfg *logtogin.Config) { cfg.SharedState = state }
		}(newCommonState()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs, rotating(logto), share)
			app := newApplication(t, logto, change)
			app.tokenRoutes()
			other := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
			b := signInAndExpire(app, now)
			cookies := b.ours(app)
			held, release := holdRefresh(logto)
			refreshed := make(chan page)
			go func() { refreshed <- send(t, http.MethodGet, app.url+"/token", cookies, nil) }()
			<-held
			send(t, http.MethodGet, other.url+"/sign-out", cookies, nil)
			release()
			if page := <-refreshed; page.status != http.StatusUnauthorized || len(setCookies(page)) > 0 {
				t.Errorf("%d %s, sets %v", page.status, page.body, setCookies(page))
			}
			if app.inStore() && len(app.store.values(t)) > 0 {
				t.Error("the record is back")
			}
		})
	}
}

// The cookies of the browser are older than the newest refresh token.
func TestASignOutRevokesTheNewestRefreshToken(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, rotating(logto))
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	before := b.ours(app)
	b.token(app, nil)
	first := refreshes(logto)[0].Form.Get("refresh_token")
	send(t, http.MethodGet, app.url+"/sign-out", before, nil)
	for _, call := range logto.Record() {
		if call.Endpoint == logtotest.Revocation && call.Form.Get("token") == first {
			t.Error("the one that was replaced")
		}
	}
	if calls := logto.Calls(); calls.Revocation != 1 {
		t.Errorf("%+v", calls)
	}
}

// What one session has met of an outage spares the others the time-out.
func TestAnOutageIsMetOnce(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t, logtotest.User{ID: "bob000000000", Username: "bob", Password: "bob-password"})
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	one, other := newBrowser(t), newBrowser(t)
	one.signIn(app.url+"/profile", alice())
	other.signIn(app.url+"/profile", logtotest.User{Username: "bob", Password: "bob-password"})
	now.advance(61 * time.Minute)
	one.get(app.url + "/") // the metadata and keys are renewed
	var calls atomic.Int64
	logto.Intercept(logtotest.Token, func(http.ResponseWriter, *http.Request, http.Handler) {
		calls.Add(1)
		panic(http.ErrAbortHandler) // the connection breaks
	})
	now.advance(61 * time.Minute)
	for range 3 {
		for _, b := range []*browser{one, other} {
			if page := b.get(app.url + "/profile"); page.status != http.StatusOK {
				t.Errorf("%d %s", page.status, page.body)
			}
		}
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

// A Logto that does not answer keeps no page waiting for long, and what it says in the
// end is not lost.
func TestPagesDoNotWaitForASlowLogto(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto))
		app := start(change)
		b := signInAndExpire(app, now)
		cookies := b.ours(app)
		logto.ResetCalls()
		held, release := holdRefresh(logto)
		for range 2 {
			if page := send(t, http.MethodGet, app.url+"/profile", cookies, nil); page.status != http.StatusOK || len(setCookies(page)) > 0 {
				t.Errorf("while Logto thinks: %d %v", page.status, setCookies(page))
			}
		}
		<-held
		release()
		if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" || len(refreshes(logto)) != 1 {
			t.Errorf("afterwards: %d %s, %d refreshes", shown.status, shown.body, len(refreshes(logto)))
		}
		if page := b.get(app.url + "/profile"); page.status != http.StatusOK || len(refreshes(logto)) != 1 {
			t.Errorf("afterwards: %d, %d refreshes", page.status, len(refreshes(logto)))
		}
	})
}

// What Logto's refusals mean. C73 is in the integration module, with two instances.
func TestRefusedRefreshes(t *testing.T) {
	t.Parallel()
	refuse := func(status int, body string) func(*logtotest.Server) {
		return func(logto *logtotest.Server) {
			logto.Intercept(logtotest.Token, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			})
		}
	}
	oauth := func(status int, code string) func(*logtotest.Server) {
		return refuse(status, `{"code":"oidc.`+code+`","message":"no","error":"`+code+`","error_description":"no"}`)
	}
	for name, test := range map[string]struct {
		happens  func(*logtotest.Server)
		query    string
		status   int    // of /token
		says     string // its error
		goesOn   bool
		operator bool // hears of it as an error
	}{
		"the user is deleted":               {func(logto *logtotest.Server) { logto.DeleteUser(aliceID) }, "", 401, "not signed in", false, false},
		"the user is suspended":             {func(logto *logtotest.Server) { logto.SuspendUser(aliceID, true) }, "", 401, "not signed in", false, false},
		"the grant is revoked":              {oauth(400, "invalid_grant"), "", 401, "not signed in", false, false},
		"also for a resource":               {oauth(400, "invalid_grant"), "?resource=" + ordersAPI, 401, "not signed in", false, false},
		"the user may not use the app":      {oauth(400, "access_denied"), "", 401, "not signed in", false, false},
		"the user may not use the resource": {oauth(400, "access_denied"), "?resource=" + ordersAPI, 403, "access_denied", true, false},
		"the user is not a member":          {nil, "?organization=other", 403, "access_denied", true, false},
		"the client secret is wrong":        {oauth(401, "invalid_client"), "", 503, "invalid_client", true, true},
		"the client secret has expired":     {refuse(400, `{"error":"invalid_request","error_description":"client secret has expired"}`), "", 503, "client secret has expired", true, true},
		"the quota is used up":              {refuse(429, `{"code":"auth.exceed_token_limit","message":"no"}`), "", 503, "unavailable", true, true},
		"Logto is overloaded":               {refuse(429, `{"error":"slow_down"}`), "", 503, "unavailable", true, true},
		"Logto fails":                       {refuse(500, `{"message":"no"}`), "", 503, "unavailable", true, true},
		"Logto says invalid_grant and 502":  {oauth(502, "invalid_grant"), "", 503, "unavailable", true, true},
		"the answer is no JSON":             {refuse(200, `<html>`), "", 503, "unavailable", true, true},
		"the answer has no token":           {refuse(200, `{}`), "", 503, "unavailable", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
				now, change := withClock(logto)
				app := start(change)
				b := signInAndExpire(app, now)
				before := b.ours(app)
				if test.happens != nil {
					test.happens(logto)
				}
				page := b.get(app.url + "/token" + test.query)
				if page.status != test.status || !strings.Contains(page.body, test.says) {
					t.Errorf("%d %s", page.status, page.body)
				}
				if strings.Contains(app.log.String(), "ERROR") != test.operator {
					t.Errorf("the log: %s", app.log)
				}
				logto.Behave()
				if signedInWith(t, app, before...) != test.goesOn {
					t.Errorf("the session goes on: %v", !test.goesOn)
				}
				if !test.goesOn {
					if app.inStore() && len(app.store.values(t)) > 0 {
						t.Error("the store still has a record")
					}
					if page := send(t, http.MethodGet, app.url+"/profile", before, nil); page.status != http.StatusFound || !strings.HasPrefix(page.header.Get("Location"), "/sign-in") {
						t.Errorf("a guarded page: %d", page.status)
					}
					return
				}
				// When it is over, all is well again.
				now.advance(2 * time.Second)
				if page := b.get(app.url + "/token"); page.status != http.StatusOK {
					t.Errorf("afterwards: %d %s", page.status, page.body)
				}
			})
		})
	}
}

// C74.
func TestWhileLogtoIsDown(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		first, _ := b.token(app, nil)
		logto.Misbehave(faults.Down)
		now.advance(59*time.Minute + 45*time.Second)
		logto.ResetCalls()
		// The token is to be renewed, but it is still good.
		if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value != first.Value {
			t.Errorf("a valid token: %d %s", shown.status, shown.body)
		}
		now.advance(5 * time.Minute)
		for range 5 {
			if page := b.get(app.url + "/profile"); page.status != http.StatusOK {
				t.Errorf("a guarded page: %d", page.status)
			}
			page := b.get(app.url + "/token")
			if page.status != http.StatusServiceUnavailable || page.header.Get("Set-Cookie") != "" {
				t.Errorf("an expired token: %d %v", page.status, page.header)
			}
		}
		if calls := logto.Calls().Token; calls != 2 { // one each time that the clock has moved
			t.Errorf("%d calls", calls)
		}
		// Every failure makes the pause longer, up to 2 seconds.
		for _, pause := range []time.Duration{250, 500, 1000, 2000, 2000} {
			now.advance(pause*time.Millisecond - time.Millisecond)
			b.get(app.url + "/profile")
			before := logto.Calls().Token
			now.advance(time.Millisecond)
			b.get(app.url + "/profile")
			if logto.Calls().Token != before+1 {
				t.Errorf("after %v: %d calls, then %d", pause*time.Millisecond, before, logto.Calls().Token)
			}
		}
		logto.Behave()
		now.advance(2 * time.Second)
		if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == first.Value {
			t.Errorf("afterwards: %d %s", shown.status, shown.body)
		}
	})
}

// Logto may ask for more patience, but not for ever.
func TestRetryAfterIsHeeded(t *testing.T) {
	t.Parallel()
	for header, pause := range map[string]time.Duration{"7": 7 * time.Second, "86400": time.Minute, "-1": 250 * time.Millisecond, "soon": 250 * time.Millisecond, "99999999999999999999": time.Minute, "Fri, 15 Jan 2027 08:00:20 GMT": 20 * time.Second, "Fri, 15 Jan 2027 07:00:00 GMT": 250 * time.Millisecond} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			app := newApplication(t, logto, change)
			app.tokenRoutes()
			b := signInAndExpire(app, now)
			logto.Intercept(logtotest.Token, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Retry-After", header)
				w.Header().Set("Date", "Fri, 15 Jan 2027 08:00:00 GMT")
				w.WriteHeader(http.StatusTooManyRequests)
			})
			logto.ResetCalls()
			app.router.GET("/refused", func(c *gin.Context) {
				if _, err := app.auth.AccessToken(c); err != nil {
					app.auth.Refuse(c, err)
				}
			})
			page := b.get(app.url + "/refused")
			if after, err := strconv.Atoi(page.header.Get("Retry-After")); err != nil || page.status != 503 || time.Duration(after)*time.Second < min(pause, time.Minute) {
				t.Errorf("%d %v", page.status, page.header)
			}
			now.advance(pause - time.Millisecond)
			b.get(app.url + "/token")
			if calls := logto.Calls().Token; calls != 1 {
				t.Errorf("%d calls before the time", calls)
			}
			now.advance(time.Millisecond)
			b.get(app.url + "/token")
			if calls := logto.Calls().Token; calls != 2 {
				t.Errorf("%d calls after the time", calls)
			}
		})
	}
}

// C75, and the refresh plan of the conformance suite: the access token that comes with
// such an ID token is not used either.
func TestRefreshedIDTokens(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*logtotest.JWT)
		status int
		goesOn bool
	}{
		"oidcc-client-test-refresh-token":                {func(*logtotest.JWT) {}, 200, true},
		"without a nonce":                                {func(token *logtotest.JWT) { delete(token.Claims, "nonce") }, 200, true},
		"oidcc-client-test-refresh-token-invalid-issuer": {func(token *logtotest.JWT) { token.Claims["iss"] = "https://evil.example/oidc" }, 503, true},
		"oidcc-client-test-refresh-token-invalid-sub":    {func(token *logtotest.JWT) { token.Claims["sub"] = "somebody" }, 401, false},
		"for another application":                        {func(token *logtotest.JWT) { token.Claims["aud"] = "another" }, 503, true},
		"for one application more": {func(token *logtotest.JWT) {
			aud := token.Claims["aud"]
			token.Claims["aud"] = []any{aud, "another"}
			token.Claims["azp"] = aud
		}, 503, true},
		"with another nonce":       {func(token *logtotest.JWT) { token.Claims["nonce"] = "another" }, 503, true},
		"expired":                  {func(token *logtotest.JWT) { token.Claims["exp"] = 1 }, 503, true},
		"not signed":               {func(token *logtotest.JWT) { token.Header["alg"] = "none" }, 503, true},
		"for another access token": {func(token *logtotest.JWT) { token.Claims["at_hash"] = "AAAA" }, 503, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			app := newApplication(t, logto, change)
			app.tokenRoutes()
			b := signInAndExpire(app, now)
			before := b.ours(app)
			logto.ChangeIDToken(test.change)
			token, shown := b.token(app, nil)
			if shown.status != test.status || (token.Value == "") != (test.status != 200) {
				t.Errorf("%d %s", shown.status, shown.body)
			}
			logto.Behave()
			now.advance(time.Minute) // Logto is not asked again before
			if signedInWith(t, app, before...) != test.goesOn {
				t.Errorf("the session goes on: %v", !test.goesOn)
			}
		})
	}
}

// A refresh that names scopes yields an ID token for these alone, which could not take the
// place of the one before.
func TestARefreshAsksForNoScope(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	for _, query := range []url.Values{{}, {"resource": {ordersAPI}}, {"organization": {"acme"}}, {"resource": {ordersAPI}, "organization": {"acme"}}} {
		b.token(app, query)
	}
	now.advance(61 * time.Minute)
	b.get(app.url + "/profile")
	made := refreshes(logto)
	if len(made) != 5 {
		t.Fatalf("%d refreshes", len(made))
	}
	for _, call := range made {
		if call.Form.Has("scope") {
			t.Errorf("%v", call.Form)
		}
	}
}

// C76.
func TestARefreshThatYieldsLittle(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	logto.ChangeTokenAnswer(func(answer map[string]any) any {
		delete(answer, "refresh_token")
		delete(answer, "id_token")
		return answer
	})
	for range 3 {
		if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" {
			t.Fatalf("%d %s", shown.status, shown.body)
		}
		if page := b.get(app.url + "/profile"); page.status != http.StatusOK || decode(t, page.body)["username"] != "alice" {
			t.Fatalf("%d %s", page.status, page.body)
		}
		now.advance(61 * time.Minute)
	}
}

func TestGuardLearnsOfChanges(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		after   time.Duration // Config.RevalidateAfter
		unaware time.Duration
		aware   time.Duration // 0: never
	}{
		"with the ID token's end": {0, 59 * time.Minute, time.Hour},
		"earlier":                 {5 * time.Minute, 4 * time.Minute, 5 * time.Minute},
		"never":                   {-1, 13 * 24 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
				now, change := withClock(logto)
				app := start(func(cfg *logtogin.Config) {
					change(cfg)
					cfg.Scopes = append(cfg.Scopes, "roles")
					cfg.RevalidateAfter = test.after
				})
				b := newBrowser(t)
				b.signIn(app.url+"/profile", alice())
				promoted := logtotest.DefaultUser()
				promoted.ID, promoted.Roles = aliceID, []string{"clerk", "admin"}
				logto.AddUser(promoted)
				logto.ResetCalls()
				roles := func() int {
					found, _ := decode(t, b.get(app.url+"/profile").body)["roles"].([]any)
					return len(found)
				}
				now.advance(test.unaware)
				if roles() != 1 || logto.Calls().Token != 0 {
					t.Errorf("after %v: %+v", test.unaware, logto.Calls())
				}
				if test.aware == 0 {
					return
				}
				now.advance(test.aware - test.unaware)
				for range 3 {
					if roles() != 2 || logto.Calls().Token != 1 {
						t.Errorf("after %v: %+v", test.aware, logto.Calls())
					}
				}
				logto.DeleteUser(aliceID)
				now.advance(test.aware)
				if page := send(t, http.MethodGet, app.url+"/profile", b.ours(app), nil); page.status != http.StatusFound {
					t.Errorf("a user who was removed: %d", page.status)
				}
				if page := b.get(app.url + "/"); page.body != "not signed in" {
					t.Errorf("%s", page.body)
				}
			})
		})
	}
}

// An ID token of a second would otherwise mean a call for each page.
func TestVeryShortIDTokens(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto)
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["exp"] = now.Now().Unix() + 1 })
	app := newApplication(t, logto, change)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	logto.ResetCalls()
	for range 40 {
		now.advance(time.Second)
		b.get(app.url + "/profile")
	}
	if calls := logto.Calls().Token; calls != 4 {
		t.Errorf("%d calls in 40 seconds", calls)
	}
}

func TestMaxStale(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.MaxStale = 30 * time.Minute })
	app := newApplication(t, logto, change)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	logto.Misbehave(faults.Down)
	now.advance(89 * time.Minute)
	if page := b.get(app.url + "/profile"); page.status != http.StatusOK {
		t.Errorf("before: %d", page.status)
	}
	now.advance(time.Minute)
	if page := b.get(app.url + "/profile"); page.status != http.StatusServiceUnavailable {
		t.Errorf("after: %d", page.status)
	}
	if page := b.get(app.url + "/"); page.status != http.StatusOK || page.body != "not signed in" {
		t.Errorf("a page for everybody: %d %s", page.status, page.body)
	}
	logto.Behave()
	now.advance(2 * time.Second)
	// After a failure a request waits for Logto for 0.2 s, and a later one learns of the answer.
	eventually(t, func() bool { return b.get(app.url+"/profile").status == http.StatusOK })
}

func TestUserInfoGoesByAFreshToken(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		expect := func(what string, status int, want logtotest.Calls) {
			t.Helper()
			logto.ResetCalls()
			if page := send(t, http.MethodGet, app.url+"/user-info", b.ours(app), http.Header{"Accept": {"application/json"}}); page.status != status {
				t.Errorf("%s: %d %s", what, page.status, page.body)
			}
			got := logto.Calls()
			got.Discovery, got.Keys = 0, 0 // which are renewed in the background
			if got != want {
				t.Errorf("%s: %+v", what, got)
			}
		}
		expect("a valid token", 200, logtotest.Calls{UserInfo: 1})
		now.advance(61 * time.Minute)
		expect("an expired token", 200, logtotest.Calls{UserInfo: 1, Token: 1})
		refused := 0
		logto.Intercept(logtotest.UserInfo, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if refused++; refused == 1 {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
		b.get(app.url + "/profile")
		expect("a token that was withdrawn", 200, logtotest.Calls{UserInfo: 2, Token: 1})
		refused = -1000
		logto.Intercept(logtotest.UserInfo, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusUnauthorized)
		})
		expect("every token is refused", 502, logtotest.Calls{UserInfo: 2, Token: 1})
		if !b.isSignedIn(app) {
			t.Error("the session has ended")
		}
		logto.Behave()
		logto.DeleteUser(aliceID)
		cookies := b.ours(app)
		if page := b.get(app.url + "/user-info"); page.status == http.StatusOK || signedInWith(t, app, cookies...) || b.isSignedIn(app) {
			t.Errorf("the user was deleted: %d, the browser has %v", page.status, b.ours(app))
		}
	})
}

// The response has begun: what a refresh yields cannot be written into cookies, and is
// remembered.
func TestATokenAfterTheResponseHasBegun(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, rotating(logto))
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	app.router.GET("/late", func(c *gin.Context) {
		c.String(http.StatusOK, "begun ")
		c.Writer.Flush()
		token, err := app.auth.AccessToken(c)
		if err != nil {
			c.String(http.StatusOK, err.Error())
			return
		}
		c.String(http.StatusOK, token.Value)
	})
	b := signInAndExpire(app, now)
	logto.ResetCalls()
	first := b.get(app.url + "/late")
	now.advance(time.Minute)
	second, _ := b.token(app, nil)
	if first.body != "begun "+second.Value || len(refreshes(logto)) != 1 {
		t.Errorf("%s, %s, %d refreshes", first.body, second.Value, len(refreshes(logto)))
	}
}

// A panic in a goroutine of the plugin would end the application.
func TestAPanicDuringARefreshIsAnError(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	var isPanicking atomic.Bool
	now, change := withClock(logto, forAPIs, func(cfg *logtogin.Config) {
		cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if isPanicking.Load() {
				panic("the transport panics")
			}
			return http.DefaultTransport.RoundTrip(r)
		})}
	})
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	isPanicking.Store(true)
	if _, shown := b.token(app, nil); shown.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", shown.status, shown.body)
	}
	isPanicking.Store(false)
	if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" {
		t.Errorf("%d %s", shown.status, shown.body)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A guard goes by the newest version that it knows, not by the one in an old cookie.
func TestAnOldCookieBringsNoRightsBackWhileLogtoIsDown(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	now, change := withClock(logto, rotating(logto))
	app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.Scopes, cfg.MaxStale = rightsScopes, 30*time.Minute })
	app.guarded("/admin", logtogin.Role("admin"))
	b := newBrowser(t)
	b.signIn(app.url+"/admin", alice())
	old := b.ours(app)
	demoted, _ := logto.User("alice")
	demoted.Roles = nil
	logto.AddUser(demoted)
	now.advance(61 * time.Minute)
	if page := b.get(app.url + "/admin"); page.status != http.StatusForbidden {
		t.Fatalf("%d %s", page.status, page.body)
	}
	now.advance(61 * time.Minute)
	logto.Misbehave(faults.Down)
	if page := send(t, http.MethodGet, app.url+"/admin", old, nil); page.status != http.StatusForbidden {
		t.Errorf("with the old cookie: %d %s", page.status, page.body)
	}
	now.advance(30 * time.Minute)
	if page := send(t, http.MethodGet, app.url+"/admin", old, nil); page.status != http.StatusServiceUnavailable {
		t.Errorf("too stale: %d %s", page.status, page.body)
	}
}

// What one user alone can cause does not silence Logto for the others.
func TestUnreadableAnswersAreTheSessionsOwn(t *testing.T) {
	t.Parallel()
	mallory := logtotest.User{Username: "mallory", Password: "mallory-password", Organizations: map[string][]string{"acme": nil}}
	logto := withAPIs(t, mallory)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b, other := newBrowser(t), newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	other.signIn(app.url+"/profile", mallory)
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		if r.PostForm.Get("organization_id") == "" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"` + strings.Repeat("x", 2<<20) + `"}`))
	})
	for range 5 {
		if page := other.get(app.url + "/token?organization=acme"); page.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", page.status, page.body)
		}
		if _, page := b.token(app, url.Values{"resource": {ordersAPI}}); page.status != http.StatusOK {
			t.Errorf("the other user: %d %s", page.status, page.body)
		}
		b.get(app.url + "/clear")
		now.advance(500 * time.Millisecond)
	}
}
