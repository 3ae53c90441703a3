package logtogin_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What happens seldom: failures at the worst moment, and calls that come too late.

// OpenID Connect Core, section 3.1.3.6: the left half of the hash that belongs to the
// algorithm of the signature.
func TestHashesOfAccessTokens(t *testing.T) {
	t.Parallel()
	for algorithm, newHash := range map[string]func() hash.Hash{
		"RS256": sha256.New, "PS256": sha256.New, "ES256": sha256.New, "ES384": sha512.New384, "ES512": sha512.New, "EdDSA": sha512.New,
	} {
		for name, test := range map[string]struct {
			hashed func(string) string
			accept bool
		}{
			"of the token":          {func(token string) string { return token }, true},
			"of another":            {func(token string) string { return token + "1" }, false},
			"of the token, whole":   {nil, false},
			"of the token's length": {func(token string) string { return strings.Repeat("x", len(token)) }, false},
		} {
			t.Run(algorithm+" "+name, func(t *testing.T) {
				t.Parallel()
				logto := logtotest.NewServer(t)
				onlyKey(logto, algorithm)
				var signing *logtotest.JWT
				logto.ChangeIDToken(func(token *logtotest.JWT) { signing = token })
				logto.ChangeTokenAnswer(func(answer map[string]any) any {
					hasher := newHash()
					token := answer["access_token"].(string)
					if test.hashed != nil {
						token = test.hashed(token)
					}
					hasher.Write([]byte(token))
					sum := hasher.Sum(nil)
					if test.hashed != nil {
						sum = sum[:len(sum)/2]
					}
					signing.Claims["at_hash"] = base64.RawURLEncoding.EncodeToString(sum)
					raw, err := logtotest.SignToken(signing.Algorithm, signing.Key, signing.Header, signing.Claims)
					if err != nil {
						t.Error(err)
					}
					answer["id_token"] = raw
					return answer
				})
				app := newApplication(t, logto, nil)
				b := newBrowser(t)
				if page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); b.isSignedIn(app) != test.accept {
					t.Errorf("%d %s", page.status, page.body)
				}
			})
		}
	}
}

// OpenID Connect Core, section 12.2: a refresh is no authentication.
func TestARefreshDoesNotChangeWhenTheUserAuthenticated(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		later  time.Duration
		accept bool
	}{"the same time": {0, true}, "another time": {time.Second, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			at := now.Now().Unix()
			logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["auth_time"] = at })
			app := newApplication(t, logto, change)
			app.tokenRoutes()
			b := signInAndExpire(app, now)
			logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["auth_time"] = at + int64(test.later/time.Second) })
			if page := b.get(app.url + "/token"); (page.status == http.StatusOK) != test.accept {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
	}
}

// A store that fails between the refresh and its writing loses nothing: the instance
// remembers what Logto has issued.
func TestAStoreThatFailsWhileASessionIsRefreshed(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, rotating(logto))
	app := inStore(t, logto, store, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	logto.ResetCalls()
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		store.set(func() { store.down = errors.New("down") })
	})
	first, shown := b.token(app, nil)
	if shown.status != http.StatusOK || first.Value == "" || !strings.Contains(app.log.String(), "it is remembered") {
		t.Errorf("%d %s, log: %s", shown.status, shown.body, app.log)
	}
	store.set(func() { store.down = nil })
	if second, shown := b.token(app, nil); shown.status != http.StatusOK || second.Value != first.Value || len(refreshes(logto)) != 1 {
		t.Errorf("afterwards: %d %s, %d refreshes", shown.status, shown.body, len(refreshes(logto)))
	}
}

// A refusal ends a session only once the store has told that there is no newer version.
func TestAStoreThatFailsWhenASessionIsRefused(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := inStore(t, logto, store, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	cookies := b.ours(app)
	logto.DeleteUser(aliceID)
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		store.set(func() { store.down = errors.New("down") })
	})
	if page := b.get(app.url + "/token"); page.status != http.StatusServiceUnavailable || len(page.header.Values("Set-Cookie")) > 0 {
		t.Errorf("%d %v %s", page.status, page.header, page.body)
	}
	logto.Intercept(logtotest.Token, nil)
	store.set(func() { store.down = nil })
	now.advance(2 * time.Second)
	if page := b.get(app.url + "/token"); page.status != http.StatusUnauthorized || signedInWith(t, app, cookies...) || len(store.values(t)) > 0 {
		t.Errorf("afterwards: %d %s, %d records", page.status, page.body, len(store.values(t)))
	}
}

// C68: a callback that nothing waits for, while it cannot be told who is signed in.
func TestAStrayCallbackWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	store.set(func() { store.down = errors.New("down") })
	for _, path := range []string{"/callback", "/callback?code=x&state=y"} {
		if page := b.get(app.url + path); page.status != http.StatusServiceUnavailable || page.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
	}
}

// Logto sends a webhook again that is not answered with success.
func TestAWebhookThatCannotBeRecordedIsNotAccepted(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	state := newCommonState()
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.SharedState = state })
	app.router.POST("/webhook", app.auth.WebhookHandler("key"))
	logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhook", SigningKey: "key"})
	state.set(func() { state.down = errors.New("down") })
	logto.SuspendUser(aliceID, true)
	if deliveries := logto.Deliveries(); len(deliveries) != 1 || deliveries[0].Status != http.StatusServiceUnavailable {
		t.Errorf("%+v", deliveries)
	}
}

// Two guards on one route may not speak of different organizations.
func TestGuardsOfOneRequestAgreeOnTheOrganization(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	auth, router, _ := resourceServer(t, logto, nil)
	var reached atomic.Int64
	router.GET("/:org/orders", func(c *gin.Context) { c.Set(logtogin.OrganizationKey, c.Query("earlier")) },
		auth.BearerOrganization(logtogin.FromParam("org")), func(*gin.Context) { reached.Add(1) })
	token := bearerHeader(logto.OrganizationToken(logtotest.User{ID: "alice"}, "acme", ""))
	for query, status := range map[string]int{"": 200, "?earlier=acme": 200, "?earlier=other": 401} {
		before := reached.Load()
		if w := ask(router, "/acme/orders"+query, token); w.Code != status || (reached.Load() > before) != (status == 200) {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	}
}

// What has to set cookies says so when it is called too late.
func TestCallsAfterTheResponseHasBegun(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	calls := map[string]func(*gin.Context) error{
		"/begin-sign-in": func(c *gin.Context) error { _, err := app.auth.SignInURL(c, logtogin.SignInOptions{}); return err },
		"/finish":        func(c *gin.Context) error { _, err := app.auth.HandleCallback(c); return err },
		"/forget-tokens": func(c *gin.Context) error { return app.auth.ClearAccessTokens(c) },
	}
	for path, call := range calls {
		app.router.GET(path, func(c *gin.Context) {
			c.String(http.StatusOK, "begun ")
			c.Writer.Flush()
			if err := call(c); !errors.Is(err, logtogin.ErrResponseStarted) {
				c.String(http.StatusOK, "and %v", err)
			}
		})
	}
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	for path := range calls {
		if page := b.get(app.url + path); page.body != "begun " || len(page.header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: %q %v", path, page.body, page.header)
		}
	}
	if !b.isSignedIn(app) {
		t.Error("the session is gone")
	}
}

// Of a visitor there is nothing to refresh, to clear or to tell.
func TestTokensOfAVisitor(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	for path, call := range map[string]func(*gin.Context) error{
		"/one":   func(c *gin.Context) error { _, err := app.auth.AccessToken(c); return err },
		"/two":   func(c *gin.Context) error { return app.auth.ClearAccessTokens(c) },
		"/three": func(c *gin.Context) error { _, err := app.auth.UserInfo(c); return err },
		"/four":  func(c *gin.Context) error { _, err := app.auth.IDToken(c); return err },
	} {
		app.router.GET(path, func(c *gin.Context) {
			if err := call(c); !errors.Is(err, logtogin.ErrNotSignedIn) {
				t.Errorf("%s: %v", path, err)
			}
		})
		if page := newBrowser(t).get(app.url + path); page.status != http.StatusOK {
			t.Errorf("%s: %d", path, page.status)
		}
	}
}

// After Close nothing new is asked of Logto.
func TestNoRefreshAfterClose(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	if err := app.auth.Close(); err != nil {
		t.Fatal(err)
	}
	logto.ResetCalls()
	if page := b.get(app.url + "/token"); page.status != http.StatusServiceUnavailable || len(refreshes(logto)) != 0 {
		t.Errorf("%d %s, %d refreshes", page.status, page.body, len(refreshes(logto)))
	}
}

// What Logto says of an error is shown as it is, and an error value of it has no bytes
// that could be taken for anything else.
func TestErrorTextsArePlain(t *testing.T) {
	t.Parallel()
	const nasty = "line\r\nlevel=ERROR \"quoted\" \\ \x00 \x1b[31m é"
	logto := logtotest.NewServer(t)
	logto.ChangeCallback(func(q url.Values) url.Values {
		return url.Values{"error": {"access_denied\n"}, "error_description": {nasty}, "state": q["state"], "iss": q["iss"]}
	})
	var told error
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.OnError = func(_ *gin.Context, err error) { told = err } })
	newBrowser(t).signIn(app.url+"/sign-in", logtotest.DefaultUser())
	var refused *logtogin.ProviderError
	if !errors.As(told, &refused) || refused.Description != nasty {
		t.Fatalf("%#v", told)
	}
	for _, r := range told.Error() {
		if r < 0x20 || r > 0x7e {
			t.Errorf("%q", told.Error())
			break
		}
	}
}

// A request that is given up while another callback of the same sign-in is at work.
func TestACallbackThatIsGivenUpWaitsForNothing(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, logtotest.DefaultUser())
	cookies := b.ours(app)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(arrived)
		<-proceed
		next.ServeHTTP(w, r)
	})
	first := make(chan page)
	go func() { first <- send(t, http.MethodGet, callback.String(), cookies, nil) }()
	<-arrived
	ctx, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, callback.RequestURI(), nil)
	r.Header.Set("Cookie", header(cookies...))
	w := httptest.NewRecorder()
	app.router.ServeHTTP(w, r)
	if len(w.Result().Cookies()) > 0 || w.Code == http.StatusFound {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	close(proceed)
	if page := <-first; page.status != http.StatusFound || logto.Calls().Token != 1 {
		t.Errorf("the first: %d, %d token calls", page.status, logto.Calls().Token)
	}
}
