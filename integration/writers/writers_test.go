// Package writers_test puts programs that wrap the writer of a response, or look for more in it,
// before and behind a guard.
package writers_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	gzipwriter "github.com/gin-contrib/gzip"
	"github.com/gin-contrib/timeout"
	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// application is one on a real listener whose guard renews the session with each response.
type application struct {
	auth   *logtogin.Auth
	router *gin.Engine
	server *httptest.Server
	logto  *logtotest.Server
	cookie string
}

func start(t *testing.T, outermost ...gin.HandlerFunc) *application {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	app := &application{router: gin.New(), logto: logtotest.NewServer(t)}
	app.router.Use(outermost...)
	app.server = httptest.NewServer(app.router)
	t.Cleanup(app.server.Close)
	cfg := app.logto.Config(app.server.URL)
	cfg.IdleTimeout = 10 * time.Minute
	var err error
	if app.auth, err = logtogin.Register(app.router, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.auth.Close() })
	base, err := url.Parse(app.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := app.logto.SignIn(t, app.router, logtotest.DefaultUser())
	var pairs []string
	for _, cookie := range client.Jar.Cookies(base) {
		pairs = append(pairs, cookie.Name+"="+cookie.Value)
	}
	app.cookie = strings.Join(pairs, "; ")
	return app
}

// ask asks for a page as the user, once the session is to be written again.
func (app *application) ask(t *testing.T, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	app.logto.Advance(2 * time.Minute)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, app.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("Cookie", app.cookie)
	response, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range response.Cookies() {
		app.cookie = cookie.Name + "=" + cookie.Value
	}
	return response, string(body)
}

// isGuarded checks that a response has the header of a guard, once.
func isGuarded(t *testing.T, response *http.Response) {
	t.Helper()
	if got := response.Header.Values("Set-Cookie"); len(got) != 1 {
		t.Errorf("got the cookies %q, want that of the session", got)
	}
	if got := response.Header.Values("Cache-Control"); !slices.Equal(got, []string{"private, no-store"}) {
		t.Errorf("Cache-Control is %q, want private, no-store", got)
	}
	if got := strings.Join(response.Header.Values("Vary"), ", "); !strings.Contains(got, "Cookie") {
		t.Errorf("Vary is %q, want Cookie among them", got)
	}
}

const text = "a text that is long enough to be compressed, a text that is long enough to be compressed"

func TestCompressionWorksBeforeAndBehindAGuard(t *testing.T) {
	t.Parallel()
	for name, app := range map[string]*application{"before": start(t, gzipwriter.Gzip(gzipwriter.BestSpeed)), "behind": start(t)} {
		t.Run(name, func(t *testing.T) {
			handlers := []gin.HandlerFunc{app.auth.Guard()}
			if name == "behind" {
				handlers = append(handlers, gzipwriter.Gzip(gzipwriter.BestSpeed))
			}
			app.router.GET("/page", append(handlers, func(c *gin.Context) {
				c.Header("Cache-Control", "public")
				c.String(http.StatusOK, text)
			})...)
			response, body := app.ask(t, "/page", http.Header{"Accept-Encoding": {"gzip"}})
			if response.Header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("got %v, want a compressed answer", response.Header)
			}
			reader, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(reader); err != nil || string(got) != text {
				t.Errorf("got %q, %v, want the text", got, err)
			}
			isGuarded(t, response)
		})
	}
}

func TestAWebSocketOpensBehindAGuard(t *testing.T) {
	t.Parallel()
	app := start(t)
	app.router.GET("/socket", app.auth.Guard(), func(c *gin.Context) {
		conn, err := websocket.Accept(c.Writer, c.Request, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.CloseNow() }()
		kind, message, err := conn.Read(c.Request.Context())
		if err != nil {
			t.Error(err)
			return
		}
		claims, err := app.auth.Claims(c)
		if err != nil {
			t.Error(err)
			return
		}
		if err := conn.Write(c.Request.Context(), kind, fmt.Appendf(nil, "%s says %s", claims.Username, message)); err != nil {
			t.Error(err)
		}
		_ = conn.Close(websocket.StatusNormalClosure, "")
	})
	app.logto.Advance(2 * time.Minute)
	dial := func(header http.Header) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(t.Context(), app.server.URL+"/socket", &websocket.DialOptions{HTTPHeader: header})
	}
	conn, response, err := dial(http.Header{"Cookie": {app.cookie}, "Origin": {app.server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	isGuarded(t, response)
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, message, err := conn.Read(t.Context()); err != nil || string(message) != "alice says hello" {
		t.Errorf("got %q, %v", message, err)
	}
	for name, test := range map[string]struct {
		header http.Header
		want   int
	}{
		"without a session":   {http.Header{"Origin": {app.server.URL}}, http.StatusUnauthorized},
		"from another origin": {http.Header{"Cookie": {app.cookie}, "Origin": {"https://evil.example"}}, http.StatusForbidden},
	} {
		if _, response, err := dial(test.header); err == nil || response == nil || response.StatusCode != test.want {
			t.Errorf("%s: got %v, %v, want %d", name, response, err, test.want)
		}
	}
}

// An API behind a reverse proxy sends hints, streams and trailers; a guard lets them through.
func TestAReverseProxyWorksBelowAGuard(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, s-maxage=60")
		w.Header().Set("Trailer", "X-End")
		if r.URL.Path == "/proxied/hints" {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
		}
		_, _ = io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		if r.URL.Path == "/proxied/stream" {
			<-proceed
		}
		_, _ = io.WriteString(w, "second\n")
		w.Header().Set("X-End", "reached")
	}))
	t.Cleanup(upstream.Close)
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	app := start(t)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1}
	app.router.Any("/proxied/*path", app.auth.Guard(), gin.WrapH(proxy))

	response, body := app.ask(t, "/proxied/plain", nil)
	if body != "first\nsecond\n" || response.Trailer.Get("X-End") != "reached" {
		t.Errorf("got %q with the trailer %v", body, response.Trailer)
	}
	isGuarded(t, response)

	// Gin's own writer has no place for an informational response, so that there are no hints;
	// what follows is not to suffer.
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		t.Logf("%d %v", code, header)
		return nil
	}})
	app.logto.Advance(2 * time.Minute)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, app.server.URL+"/proxied/hints", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", app.cookie)
	response, err = http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	read, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK || string(read) != "first\nsecond\n" {
		t.Errorf("with hints: got %d %q, %v", response.StatusCode, read, err)
	}
	isGuarded(t, response)

	// The first line arrives although the second one has not been written.
	app.logto.Advance(2 * time.Minute)
	r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, app.server.URL+"/proxied/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", app.cookie)
	response, err = http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "first\n" {
		t.Errorf("got %q, %v, want the first line", line, err)
	}
	close(proceed)
	if line, err := lines.ReadString('\n'); err != nil || line != "second\n" {
		t.Errorf("got %q, %v, want the second line", line, err)
	}
	isGuarded(t, response)
}

// A time limit that is kept sends what the guard says.
func TestATimeLimitThatIsKeptWorksBeforeAndBehindAGuard(t *testing.T) {
	t.Parallel()
	limit := timeout.New(timeout.WithTimeout(time.Hour))
	for name, app := range map[string]*application{"before": start(t, limit), "behind": start(t)} {
		handlers := []gin.HandlerFunc{app.auth.Guard()}
		if name == "behind" {
			handlers = append(handlers, limit)
		}
		for path, handler := range map[string]gin.HandlerFunc{
			"/text": func(c *gin.Context) { c.String(http.StatusOK, text) },
			"/public": func(c *gin.Context) {
				c.Header("Cache-Control", "public, max-age=3600")
				c.String(http.StatusOK, text)
			},
			"/none": func(c *gin.Context) { c.Status(http.StatusNoContent) },
			"/404":  func(c *gin.Context) { http.NotFound(c.Writer, c.Request) },
		} {
			app.router.GET(path, append(slices.Clone(handlers), handler)...)
			response, body := app.ask(t, path, nil)
			isGuarded(t, response)
			if want := map[string]string{"/text": text, "/public": text, "/404": "404 page not found\n"}[path]; body != want {
				t.Errorf("%s, %s: got %d %q, want %q", name, path, response.StatusCode, body, want)
			}
		}
	}
}

// The answer of a time limit belongs to nobody, and the session goes on.
func TestATimeLimitOutsideAGuardSendsNoCookie(t *testing.T) {
	t.Parallel()
	app := start(t)
	entered, proceed, left := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	app.router.GET("/slow", app.auth.Guard(), func(c *gin.Context) {
		defer close(left)
		entered <- struct{}{}
		<-proceed
		c.String(http.StatusOK, "too late")
	})
	app.router.GET("/page", app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "a page") })
	limited := httptest.NewServer(http.TimeoutHandler(app.router, time.Millisecond, "the limit"))
	t.Cleanup(limited.Close)
	app.logto.Advance(2 * time.Minute)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, limited.URL+"/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", app.cookie)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusServiceUnavailable || string(body) != "the limit" || len(response.Header.Values("Set-Cookie")) > 0 {
		t.Errorf("got %d %q %v", response.StatusCode, body, response.Header)
	}
	select { // the limit may come before the handler
	case <-entered:
		close(proceed)
		<-left
	default:
		close(proceed)
	}
	if response, body := app.ask(t, "/page", nil); body != "a page" {
		t.Errorf("the session: got %d %s", response.StatusCode, body)
	} else {
		isGuarded(t, response)
	}
}
