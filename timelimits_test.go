package logtogin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// timeLimits answer while the handler is still at work, once the test says so.
var timeLimits = map[string]func(app *application, expired <-chan struct{}){
	"http.TimeoutHandler": func(app *application, _ <-chan struct{}) {
		inner := app.server.Handler
		app.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Limited") == "" {
				inner.ServeHTTP(w, r)
				return
			}
			http.TimeoutHandler(inner, time.Millisecond, "too late").ServeHTTP(w, r)
		})
	},
	"a server that answers for the handler": func(app *application, expired <-chan struct{}) {
		inner := app.server.Handler
		app.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Limited") == "" {
				inner.ServeHTTP(w, r)
				return
			}
			ctx, cancel := context.WithCancel(r.Context())
			go inner.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
			<-expired
			cancel()
			w.WriteHeader(http.StatusGatewayTimeout)
		})
	},
	"a middleware that answers beside the handler": func(app *application, expired <-chan struct{}) {
		middleware := gin.HandlerFunc(func(c *gin.Context) {
			if c.GetHeader("X-Limited") == "" {
				return
			}
			shared := &lockedWriter{ResponseWriter: c.Writer}
			c.Writer = shared
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				<-expired
				shared.mu.Lock()
				defer shared.mu.Unlock()
				shared.WriteHeader(http.StatusGatewayTimeout)
				shared.ResponseWriter.WriteHeaderNow()
				shared.Flush()
			}()
			c.Next()
			<-answered
		})
		app.before.Store(&middleware)
	},
}

// lockedWriter is a writer that a time limit shares with the handler.
type lockedWriter struct {
	gin.ResponseWriter
	mu sync.Mutex
}

func (w *lockedWriter) Written() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Written()
}

func (w *lockedWriter) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Write(data)
}

func (w *lockedWriter) WriteHeaderNow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ResponseWriter.WriteHeaderNow()
}

// A time limit answers the callback with an error while it is still at work. The code is redeemed
// by then, and a reload must end signed in.
func TestACallbackThatTookTooLongIsFinishedByAReload(t *testing.T) {
	t.Parallel()
	for name, limit := range timeLimits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
				app := start(nil)
				expired := make(chan struct{})
				limit(app, expired)
				b := newBrowser(t)
				callback := b.signInUntilCallback(app, logtotest.DefaultUser())
				held := newGate()
				var once sync.Once
				logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					once.Do(held.wait)
					next.ServeHTTP(w, r)
				})
				answered := make(chan struct{})
				go func() {
					defer close(answered)
					r, err := http.NewRequest(http.MethodGet, callback.String(), nil)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("X-Limited", "yes")
					r.Header.Set("Cookie", header(b.cookies(app.url)...))
					response, err := http.DefaultTransport.RoundTrip(r) // does not wait for the body
					if err != nil {
						t.Error(err)
						return
					}
					_ = response.Body.Close()
					if response.StatusCode < 500 || len(response.Header.Values("Set-Cookie")) > 0 {
						t.Errorf("got %d %v, want an error without cookies", response.StatusCode, response.Header)
					}
				}()
				<-held.entered
				close(expired)
				<-answered
				close(held.open)
				page := b.get(callback.String())
				if page.status >= 400 || !b.isSignedIn(app) {
					t.Errorf("the reload: got %d %s, want a page and a session", page.status, page.body)
				}
				if calls := logto.Calls().Token; calls != 1 {
					t.Errorf("the code was redeemed %d times, want once", calls)
				}
			})
		})
	}
}

func TestASignInThatATimeLimitHasAnsweredIsToldOnce(t *testing.T) {
	t.Parallel()
	var started, finished, failed atomic.Int64
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.OnEvent = func(_ context.Context, event logtogin.Event) {
			switch event.Kind {
			case logtogin.EventSignInStarted:
				started.Add(1)
			case logtogin.EventSignInFinished:
				finished.Add(1)
			case logtogin.EventSignInFailed:
				failed.Add(1)
			}
		}
		cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
			if writer, ok := c.MustGet("outer").(gin.ResponseWriter); ok {
				writer.WriteHeader(http.StatusGatewayTimeout)
				writer.WriteHeaderNow()
			}
			return nil
		}
	})
	note := gin.HandlerFunc(func(c *gin.Context) { c.Set("outer", c.Writer) })
	app.before.Store(&note)
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, logtotest.DefaultUser())
	if page := b.get(callback.String()); page.status != http.StatusGatewayTimeout {
		t.Errorf("got %d, want the answer of the time limit", page.status)
	}
	b.get(callback.String())
	if !b.isSignedIn(app) || started.Load() != 1 || finished.Load() != 1 || failed.Load() != 0 {
		t.Errorf("signed in %t, %d started, %d finished, %d failed, want one that is finished", b.isSignedIn(app), started.Load(), finished.Load(), failed.Load())
	}
}

// givenUp is a writer of a middleware that has given up waiting for the handler.
type givenUp struct {
	gin.ResponseWriter
	// isCareless says that it does not tell the handler that it is too late.
	isCareless bool
	isLate     atomic.Bool
}

func (w *givenUp) Written() bool {
	return (w.isLate.Load() && !w.isCareless) || w.ResponseWriter.Written()
}

func (w *givenUp) Write(data []byte) (int, error) {
	if w.isLate.Load() {
		return len(data), nil
	}
	return w.ResponseWriter.Write(data)
}

func (w *givenUp) WriteHeader(status int) {
	if !w.isLate.Load() {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *givenUp) WriteHeaderNow() {
	if !w.isLate.Load() {
		w.ResponseWriter.WriteHeaderNow()
	}
}

// Some time limits let the handler run on in a goroutine while Gin uses its context for another
// request. Whatever comes late must not touch that one.
func TestWhatComesLateLeavesTheNextRequestAlone(t *testing.T) {
	t.Parallel()
	waits := func(held *gates, isMet bool) logtogin.Requirement {
		return logtogin.MatchClaims("waits", func(c *gin.Context, _ *logtogin.Claims) bool {
			held.pass(c)
			return isMet
		})
	}
	hold := func(held *gates) gin.HandlerFunc { return held.pass }
	lates := map[string]struct {
		path     string
		handlers func(auth *logtogin.Auth, held *gates) []gin.HandlerFunc
	}{
		"a guard that admits": {"/late", func(auth *logtogin.Auth, held *gates) []gin.HandlerFunc {
			return []gin.HandlerFunc{auth.Guard(waits(held, true).(logtogin.ClaimsRequirement))}
		}},
		"a guard that refuses": {"/late", func(auth *logtogin.Auth, held *gates) []gin.HandlerFunc {
			return []gin.HandlerFunc{auth.Guard(waits(held, false).(logtogin.ClaimsRequirement))}
		}},
		"a guard for tokens": {"/late", func(auth *logtogin.Auth, held *gates) []gin.HandlerFunc {
			return []gin.HandlerFunc{auth.Bearer(ordersAPI, logtogin.MatchToken("waits", func(c *gin.Context, _ *logtogin.AccessTokenClaims) bool {
				held.pass(c)
				return true
			}))}
		}},
		"a handler behind guards": {"/late", func(auth *logtogin.Auth, held *gates) []gin.HandlerFunc {
			return []gin.HandlerFunc{auth.Optional(), auth.Guard(), hold(held)}
		}},
		"a callback, in OnSignedIn":  {"/callback", nil},
		"a callback, in a call":      {"/callback", nil},
		"a sign-out, in OnSignedOut": {"/sign-out", nil},
		"a sign-out, in a call":      {"/sign-out", nil},
		"a refusal, in OnError":      {"/profile", nil},
		"a sign-in, in a call":       {"/sign-in", nil},
		"a guard, in a store":        {"/profile", nil},
	}
	for name, late := range lates {
		for _, isCareless := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, careless %t", name, isCareless), func(t *testing.T) {
				t.Parallel()
				var held gates
				logto := withAPIs(t)
				store := &blockingStore{Store: newServerStore()}
				app := newApplication(t, logto, func(cfg *logtogin.Config) {
					cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
						if name == "a callback, in OnSignedIn" {
							held.pass(c)
						}
						return nil
					}
					cfg.OnSignedOut = func(c *gin.Context, _ *logtogin.Claims) {
						if name == "a sign-out, in OnSignedOut" {
							held.pass(c)
						}
					}
					cfg.OnError = func(c *gin.Context, _ error) { held.pass(c) }
					if strings.HasSuffix(name, "in a store") {
						cfg.Store, cfg.StoreTimeout = store, time.Minute
					}
				})
				left := make(chan struct{})
				gateOf := func() *gate {
					switch {
					case strings.HasSuffix(name, "in a store"):
						found := newGate()
						store.held.Store(found)
						return found
					case strings.HasSuffix(name, "in a call"):
						found := newGate()
						var once sync.Once
						for _, endpoint := range []logtotest.Endpoint{logtotest.Token, logtotest.Revocation, logtotest.Discovery} {
							logto.Intercept(endpoint, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
								once.Do(found.wait)
								next.ServeHTTP(w, r)
							})
						}
						return found
					}
					return held.add("late")
				}
				limit := gin.HandlerFunc(func(c *gin.Context) {
					expired, _ := c.Request.Context().Value(testKey{}).(*gate)
					if expired == nil {
						return
					}
					outer := c.Writer
					writer := &givenUp{ResponseWriter: outer, isCareless: isCareless}
					c.Writer = writer
					go func() {
						defer close(left)
						c.Next()
					}()
					<-expired.entered
					writer.isLate.Store(true)
					c.Writer = outer
					c.AbortWithStatus(http.StatusGatewayTimeout)
				})
				app.before.Store(&limit)
				if late.handlers != nil {
					app.router.GET(late.path, late.handlers(app.auth, &held)...)
				}
				second := newGate()
				var seen []string
				// The handlers before the last one stand for a guard that is still checking.
				app.router.GET("/other", func(*gin.Context) { second.wait() }, func(c *gin.Context) { c.Set("checked", true) }, func(c *gin.Context) {
					if strings.HasPrefix(name, "a guard") && !c.GetBool("checked") {
						t.Error("the last handler of the other request runs before the one before it")
					}
					seen = []string{identityOf(c), identityOf(c.Request.Context()), identityByKeys(c)}
					c.String(http.StatusOK, "the answer to the other request")
				})
				b := newBrowser(t)
				request := httptest.NewRequest(http.MethodGet, app.url+late.path, nil)
				switch name {
				case "a callback, in OnSignedIn", "a callback, in a call":
					request = httptest.NewRequest(http.MethodGet, b.signInUntilCallback(app, alice()).String(), nil)
				case "a refusal, in OnError", "a sign-in, in a call":
				default:
					b.signIn(app.url+"/profile", alice())
				}
				if name == "a sign-in, in a call" { // of an instance that does not know Logto yet
					request.Header.Set("Accept", "text/html")
				}
				request.Header.Set("X-Gate", "late")
				if name == "a guard for tokens" {
					request.Header.Set("Authorization", bearerHeader(logto.AccessToken(alice(), ordersAPI)).Get("Authorization"))
				}
				for _, cookie := range b.ours(app) {
					request.AddCookie(cookie)
				}
				first := gateOf()
				w := httptest.NewRecorder()
				// A server ends the context when it has the answer.
				ctx, ended := context.WithCancel(context.WithValue(request.Context(), testKey{}, first))
				app.router.ServeHTTP(w, request.WithContext(ctx))
				isSet := func(cookie *http.Cookie) bool { return cookie.MaxAge >= 0 }
				if w.Code != http.StatusGatewayTimeout || slices.ContainsFunc(w.Result().Cookies(), isSet) {
					t.Fatalf("the answer of the time limit: got %d %v, want 504 without cookies", w.Code, w.Header())
				}
				other, done := httptest.NewRecorder(), make(chan struct{})
				go func() {
					defer close(done)
					app.router.ServeHTTP(other, httptest.NewRequest(http.MethodGet, "/other", nil))
				}()
				<-second.entered
				ended()
				close(first.open)
				<-left
				close(second.open)
				<-done
				if other.Code != http.StatusOK || other.Body.String() != "the answer to the other request" || len(other.Header()) != 1 {
					t.Errorf("the other request: got %d %q %v, want its own answer", other.Code, other.Body, other.Header())
				}
				if !slices.Equal(seen, []string{"nobody", "nobody", "nobody"}) {
					t.Errorf("the other request is made by %q, want nobody", seen)
				}
			})
		}
	}
}
