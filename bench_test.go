package logtogin_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-contrib/sessions/memstore"
	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What a guard costs: a whole request through gin, a new http.Request each time and the
// same ResponseWriter. Of that, a route without a guard costs BenchmarkNoGuard.

// discard is a ResponseWriter that keeps nothing but the header.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// guarded is a router with a page behind a guard, and the header of requests that it
// lets in.
type guarded struct {
	router *gin.Engine
	header http.Header
}

func (g guarded) request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = g.header
	return r
}

func (g guarded) serve(b *testing.B, next func() http.Header) {
	b.Helper()
	w := httptest.NewRecorder()
	g.router.ServeHTTP(w, g.request())
	if w.Code != http.StatusOK {
		b.Fatalf("%d %s", w.Code, w.Body)
	}
	address := g.request().URL
	b.ReportAllocs()
	b.ResetTimer()
	kept := &discard{http.Header{}}
	for b.Loop() {
		if next != nil {
			b.StopTimer()
			g.header = next()
			b.StartTimer()
		}
		clear(kept.header)
		g.router.ServeHTTP(kept, &http.Request{Method: http.MethodGet, URL: address, Header: g.header})
	}
}

func quiet() { gin.SetMode(gin.ReleaseMode) }

// pageFor is a page behind Guard and the cookies of a user.
func pageFor(tb testing.TB, change func(*logtogin.Config)) guarded {
	tb.Helper()
	quiet()
	logto := logtotest.NewServer(tb)
	cfg := logto.Config("https://app.example.com")
	if change != nil {
		change(&cfg)
	}
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = auth.Close() })
	router.GET("/", auth.Guard(), func(c *gin.Context) {})
	client := logto.SignInAt(tb, router, "/", logtotest.DefaultUser())
	seen := http.Header{}
	router.GET("/cookies", func(c *gin.Context) { seen = c.Request.Header.Clone() })
	if _, err := client.Get("/cookies"); err != nil {
		tb.Fatal(err)
	}
	return guarded{router, http.Header{"Cookie": seen["Cookie"]}}
}

// withToken is a route behind Bearer and a token.
func withToken(tb testing.TB, algorithm string) (g guarded, token func() string) {
	tb.Helper()
	quiet()
	logto := logtotest.NewServer(tb)
	if algorithm != "" {
		if err := logto.RotateKey(algorithm); err != nil {
			tb.Fatal(err)
		}
	}
	auth, err := logtogin.New(logtogin.Config{Endpoint: logto.Endpoint(), HTTPClient: logto.Client()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = auth.Close() })
	router := gin.New()
	router.GET("/", auth.Bearer(ordersAPI, logtogin.Scope("read:orders")), func(c *gin.Context) {})
	token = func() string { return logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI, "read:orders") }
	return guarded{router, bearerHeader(token())}, token
}

func BenchmarkNoGuard(b *testing.B) {
	quiet()
	router := gin.New()
	router.GET("/", func(*gin.Context) {})
	guarded{router, http.Header{}}.serve(b, nil)
}

func BenchmarkGuardCookieWarm(b *testing.B) { pageFor(b, nil).serve(b, nil) }

func BenchmarkGuardMemstore(b *testing.B) {
	pageFor(b, func(cfg *logtogin.Config) {
		cfg.Store = memstore.NewStore([]byte("a key of thirty-two bytes, at least"))
	}).serve(b, nil)
}

func BenchmarkBearerHit(b *testing.B) {
	g, _ := withToken(b, "")
	g.serve(b, nil)
}

func BenchmarkBearerNewES256(b *testing.B) { benchmarkNewTokens(b, "ES256") }
func BenchmarkBearerNewES384(b *testing.B) { benchmarkNewTokens(b, "ES384") }

func benchmarkNewTokens(b *testing.B, algorithm string) {
	g, token := withToken(b, algorithm)
	g.serve(b, func() http.Header { return bearerHeader(token()) })
}

// Allocations are exact, and so are the bounds.
func TestGuardsAllocateLittle(t *testing.T) {
	cookies := pageFor(t, nil)
	tokens, _ := withToken(t, "")
	for name, test := range map[string]struct {
		g     guarded
		bound float64
	}{
		"a guarded page with cookies, warm": {cookies, 13},
		"a token that was seen before":      {tokens, 8},
	} {
		w := &discard{http.Header{}}
		r := test.g.request()
		measured := math.Inf(1)
		for range 10 { // what other goroutines allocate meanwhile is counted, too
			measured = min(measured, testing.AllocsPerRun(100, func() {
				clear(w.header)
				test.g.router.ServeHTTP(w, r)
			}))
		}
		if measured > test.bound {
			t.Errorf("%s: %v allocations, at most %v", name, measured, test.bound)
		}
		t.Logf("%s: %v allocations", name, measured)
	}
}
