package logtogin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
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
				shared.ResponseWriter.WriteHeader(http.StatusGatewayTimeout)
				shared.ResponseWriter.WriteHeaderNow()
				shared.ResponseWriter.Flush()
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
	isLate atomic.Bool
}

func (w *givenUp) Written() bool { return w.isLate.Load() || w.ResponseWriter.Written() }

func (w *givenUp) Write(data []byte) (int, error) {
	if w.isLate.Load() {
		return len(data), nil
	}
	return w.ResponseWriter.Write(data)
}

// Some time limits let the handler run on in a goroutine while Gin uses its context for another
// request. Its guard must not touch that one.
func TestAGuardThatReturnsLateLeavesTheNextRequestAlone(t *testing.T) {
	t.Parallel()
	router := gin.New()
	logto := logtotest.NewServer(t)
	auth, err := logtogin.Register(router, logto.Config("https://app.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = auth.Close() })
	first, second := newGate(), newGate()
	left := make(chan struct{})
	router.GET("/limited", func(c *gin.Context) {
		outer := c.Writer
		writer := &givenUp{ResponseWriter: outer}
		c.Writer = writer
		go func() {
			c.Next()
			close(left)
		}()
		<-first.entered
		writer.isLate.Store(true)
		c.Writer = outer
		c.AbortWithStatus(http.StatusGatewayTimeout)
	}, auth.Optional(), func(*gin.Context) { first.wait() })
	router.GET("/other", func(c *gin.Context) {
		second.wait()
		c.String(http.StatusOK, "the answer to the other request")
	})
	router.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/limited", nil))
	w, done := httptest.NewRecorder(), make(chan struct{})
	go func() {
		defer close(done)
		router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/other", nil))
	}()
	<-second.entered
	close(first.open)
	<-left
	close(second.open)
	<-done
	if w.Code != http.StatusOK || w.Body.String() != "the answer to the other request" {
		t.Errorf("the other request: got %d %q", w.Code, w.Body)
	}
}
