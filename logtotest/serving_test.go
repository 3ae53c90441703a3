package logtotest_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// served is an application of one route, where a test can ask for it.
type served struct {
	t      *testing.T
	client *http.Client
	url    string
}

// everywhere runs a test with an application that net/http serves on a socket, which tells what is
// right, and with the same application at a client of the test kit.
func everywhere(t *testing.T, handler gin.HandlerFunc, test func(s *served)) {
	t.Helper()
	newRouter := func() *gin.Engine {
		gin.SetMode(gin.ReleaseMode)
		router := gin.New()
		router.Any("/route", handler)
		return router
	}
	t.Run("on a socket", func(t *testing.T) {
		server := httptest.NewServer(newRouter())
		defer server.Close()
		network := &http.Transport{ExpectContinueTimeout: time.Hour}
		defer network.CloseIdleConnections()
		test(&served{t, &http.Client{Transport: network}, server.URL + "/route"})
	})
	t.Run("in memory", func(t *testing.T) {
		logto := logtotest.NewServer(t)
		const base = "http://app.example.com"
		logto.Config(base)
		test(&served{t, logto.Visitor(t, newRouter()), base + "/route"})
	})
}

// ask makes a request, whose answer is closed after the test.
func (s *served) ask(ctx context.Context, method string, header http.Header, body io.Reader) *http.Response {
	s.t.Helper()
	response, err := s.try(ctx, method, header, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response
}

func (s *served) try(ctx context.Context, method string, header http.Header, body io.Reader) (*http.Response, error) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, s.url, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := s.client.Do(request)
	if err == nil {
		s.t.Cleanup(func() { _ = response.Body.Close() })
	}
	return response, err
}

// text is the rest of an answer.
func text(t *testing.T, body io.Reader) string {
	t.Helper()
	raw, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAStreamIsReadWhileItIsWritten(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func(string) string{
		"data":               func(n string) string { return n },
		"server-sent events": func(n string) string { return "event:number\ndata:" + n + "\n" },
	} {
		t.Run(name, func(t *testing.T) {
			next, ended := make(chan string), make(chan string, 2)
			everywhere(t, func(c *gin.Context) {
				gone := c.Stream(func(w io.Writer) bool {
					select {
					case n := <-next:
						if name == "data" {
							_, _ = io.WriteString(w, n+"\n")
						} else {
							c.SSEvent("number", n)
						}
						return true
					case <-c.Request.Context().Done():
						return false
					}
				})
				if !gone { // which Stream has from the same channel, once
					<-c.Writer.CloseNotify()
				}
				ended <- fmt.Sprint(gone, c.Request.Context().Err())
			}, func(s *served) {
				var response *http.Response
				var lines *bufio.Reader
				for i := range 3 {
					n := fmt.Sprint(i)
					if response == nil {
						go func() { next <- n }()
						response = s.ask(s.t.Context(), http.MethodGet, nil, nil)
						lines = bufio.NewReader(response.Body)
					} else {
						next <- n
					}
					want := read(n) + "\n"
					got := make([]byte, len(want))
					if _, err := io.ReadFull(lines, got); err != nil || string(got) != want {
						s.t.Fatalf("%q %v", got, err)
					}
				}
				_ = response.Body.Close()
				if end := await(s.t, ended); !strings.HasSuffix(end, "context canceled") {
					s.t.Error(end)
				}
			})
		})
	}
}

func TestARequestIsCancelledWhenTheClientGoesAway(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(cancel func(), s *served, ctx context.Context, begun chan struct{}){
		"before the answer": func(cancel func(), s *served, ctx context.Context, begun chan struct{}) {
			go func() { <-begun; cancel() }()
			if _, err := s.try(ctx, http.MethodGet, nil, nil); !errors.Is(err, context.Canceled) {
				s.t.Error(err)
			}
		},
		"in the answer": func(cancel func(), s *served, ctx context.Context, begun chan struct{}) {
			response := s.ask(ctx, http.MethodGet, http.Header{"Flush": {"1"}}, nil)
			<-begun
			cancel()
			if _, err := response.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
				s.t.Error(err)
			}
		},
		"by closing the body": func(_ func(), s *served, ctx context.Context, begun chan struct{}) {
			response := s.ask(ctx, http.MethodGet, http.Header{"Flush": {"1"}}, nil)
			<-begun
			_ = response.Body.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan error)
			everywhere(t, func(c *gin.Context) {
				if c.GetHeader("Flush") != "" {
					c.Writer.Flush()
				}
				begun <- struct{}{}
				<-c.Request.Context().Done()
				ended <- c.Request.Context().Err()
			}, func(s *served) {
				ctx, cancel := context.WithCancel(s.t.Context())
				defer cancel()
				leave(cancel, s, ctx, begun)
				if err := await(s.t, ended); !errors.Is(err, context.Canceled) {
					s.t.Error(err)
				}
			})
		})
	}
}

// echo takes a connection over and repeats what it reads, line by line.
func echo(c *gin.Context) {
	conn, buffered, err := c.Writer.Hijack()
	if err != nil {
		_ = c.AbortWithError(http.StatusInternalServerError, err)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "echo of "+line)
	}
}

var upgrade = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}

// converse checks that a connection repeats.
func converse(t *testing.T, conn io.ReadWriter) {
	t.Helper()
	reader := bufio.NewReader(conn)
	for _, line := range []string{"one\n", "two\n"} {
		_, _ = io.WriteString(conn, line)
		if got, err := reader.ReadString('\n'); got != "echo of "+line || err != nil {
			t.Fatalf("%q %v", got, err)
		}
	}
}

func TestAConnectionCanBeTakenOver(t *testing.T) {
	t.Parallel()
	everywhere(t, echo, func(s *served) {
		response := s.ask(s.t.Context(), http.MethodGet, upgrade, nil)
		conn, isConnection := response.Body.(io.ReadWriteCloser)
		if !isConnection || response.StatusCode != http.StatusSwitchingProtocols {
			s.t.Fatalf("%s %T", response.Status, response.Body)
		}
		converse(s.t, conn)
	})
}

func TestAProxyPassesAConnectionOn(t *testing.T) {
	t.Parallel()
	behind := gin.New()
	behind.GET("/route", echo)
	backend := httptest.NewServer(behind)
	defer backend.Close()
	address, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(address) }}
	everywhere(t, gin.WrapH(proxy), func(s *served) {
		conn, isConnection := s.ask(s.t.Context(), http.MethodGet, upgrade, nil).Body.(io.ReadWriteCloser)
		if !isConnection {
			s.t.Fatal("not taken over")
		}
		converse(s.t, conn)
	})
}

// Both ways to a WebSocket, with the session of the user who is signed in.
func TestWebSocketsAreOpenedInTheNameOfTheUser(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"https://app.example.com", "http://localhost:8080/app"} {
		logto := logtotest.NewServer(t)
		router, auth := newApp(t, logto.Config(base), "/")
		router.GET("/messages", auth.Guard(), echo)
		client := logto.SignIn(t, router, logtotest.DefaultUser())

		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/messages", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = upgrade.Clone()
		response, err := client.Do(request.Clone(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		conn, isConnection := response.Body.(io.ReadWriteCloser)
		if !isConnection {
			t.Fatalf("%s: %s", base, response.Status)
		}
		converse(t, conn)

		if response, err = logto.Visitor(t, router).Do(request.Clone(t.Context())); err != nil || response.StatusCode != http.StatusUnauthorized {
			t.Fatalf("a visitor: %v %v", response, err)
		}
		_ = response.Body.Close()

		address := map[bool]string{true: "app.example.com:443", false: "localhost:8080"}[request.URL.Scheme == "https"]
		raw, err := logto.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		for _, cookie := range client.Jar.Cookies(request.URL) {
			request.AddCookie(cookie)
		}
		if err := request.Write(raw); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, len("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
		if _, err := io.ReadFull(raw, head); err != nil || !strings.HasPrefix(string(head), "HTTP/1.1 101 ") {
			t.Fatalf("%s: %s %v", base, head, err)
		}
		converse(t, raw)
	}
}

func TestAConnectionLeadsToWhatIsServed(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.Serve("https://example.com/app", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.URL.Path, " ", r.TLS != nil)
	}))
	client := &http.Client{Transport: &http.Transport{DialContext: logto.DialContext, DialTLSContext: logto.DialContext, DisableKeepAlives: true}}
	if _, body := read(t, client, "https://example.com/app/page"); body != "/page true" {
		t.Error(body)
	}
	if status, _ := read(t, client, "https://example.com/other"); status != http.StatusNotFound {
		t.Error(status)
	}
	if status, _ := read(t, client, logto.Endpoint()+"/oidc/jwks"); status != http.StatusOK {
		t.Error(status)
	}
	for _, address := range []string{"example.com:80", "other.example.com:443", ""} {
		if conn, err := logto.DialContext(t.Context(), "tcp", address); err == nil || !strings.Contains(err.Error(), "nothing is served at "+address) {
			t.Error(conn, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := logto.DialContext(ctx, "tcp", "example.com:443"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	logto.Close()
	if _, err := logto.DialContext(t.Context(), "tcp", "example.com:443"); err == nil || !strings.Contains(err.Error(), "has been closed") {
		t.Error(err)
	}
}

func TestAHandlerControlsItsResponse(t *testing.T) {
	t.Parallel()
	everywhere(t, func(c *gin.Context) {
		control := http.NewResponseController(c.Writer)
		if err := errors.Join(control.EnableFullDuplex(), control.Flush(), control.SetWriteDeadline(time.Now().Add(time.Hour)), control.SetReadDeadline(time.Now().Add(time.Hour))); err != nil {
			t.Error(err)
		}
		body := bufio.NewReader(c.Request.Body)
		line, err := body.ReadString('\n')
		_, _ = fmt.Fprintf(c.Writer, "%s%v\n", line, err)
		c.Writer.Flush()
		_, _ = body.ReadString('\n')
		for _, at := range []time.Time{time.Now().Add(time.Millisecond), time.Unix(1, 0)} {
			if err := control.SetReadDeadline(at); err != nil {
				t.Error(err)
			}
			_, err = body.ReadString('\n')
			_, _ = fmt.Fprintln(c.Writer, errors.Is(err, os.ErrDeadlineExceeded))
			c.Writer.Flush()
		}
		_ = control.SetWriteDeadline(time.Unix(1, 0))
		_, _ = io.WriteString(c.Writer, "too late")
		c.Writer.Flush()
	}, func(s *served) {
		sent, sending := io.Pipe()
		defer sending.Close()
		response := s.ask(s.t.Context(), http.MethodPost, nil, sent)
		answer := bufio.NewReader(response.Body)
		for _, exchange := range [][]string{{"first\n", "first\n", "<nil>\n"}, {"second\n", "true\n", "true\n"}} {
			_, _ = io.WriteString(sending, exchange[0])
			for _, want := range exchange[1:] {
				if got, err := answer.ReadString('\n'); got != want || err != nil {
					s.t.Fatalf("%q %v", got, err)
				}
			}
		}
		if rest, err := io.ReadAll(answer); err == nil || len(rest) > 0 {
			s.t.Errorf("%q %v", rest, err)
		}
	})
}

func TestInformationalAnswersArriveFirst(t *testing.T) {
	t.Parallel()
	everywhere(t, func(c *gin.Context) {
		c.Header("Link", "</style.css>; rel=preload")
		raw := c.Writer.(interface{ Unwrap() http.ResponseWriter }).Unwrap() // Gin's WriteHeader waits for the body
		raw.WriteHeader(http.StatusEarlyHints)
		body, err := io.ReadAll(c.Request.Body)
		c.String(http.StatusOK, "%d %v", len(body), err)
	}, func(s *served) {
		var seen []string
		ctx := httptrace.WithClientTrace(s.t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				seen = append(seen, fmt.Sprint(code, header.Get("Link")))
				return nil
			},
			Got100Continue: func() { seen = append(seen, "continue") },
		})
		response := s.ask(ctx, http.MethodPost, http.Header{"Expect": {"100-continue"}}, strings.NewReader("uploaded"))
		if body := text(s.t, response.Body); body != "8 <nil>" {
			s.t.Error(body)
		}
		if !slices.Equal(seen, []string{"103</style.css>; rel=preload", "100", "continue"}) && !slices.Equal(seen, []string{"103</style.css>; rel=preload", "continue", "100"}) {
			s.t.Errorf("%q", seen)
		}
	})
}

// unwanted is a body that must not be sent.
type unwanted struct{ t *testing.T }

func (u unwanted) Read([]byte) (int, error) {
	u.t.Error("it is sent")
	return 0, io.EOF
}

func TestABodyThatTheHandlerDoesNotWantIsNotSent(t *testing.T) {
	t.Parallel()
	everywhere(t, func(c *gin.Context) { c.Status(http.StatusForbidden) }, func(s *served) {
		if response := s.ask(s.t.Context(), http.MethodPost, http.Header{"Expect": {"100-continue"}}, unwanted{s.t}); response.StatusCode != http.StatusForbidden {
			s.t.Error(response.Status)
		}
	})
}

// describe is what a client sees of an answer, but for the time.
func describe(t *testing.T, response *http.Response, err error) string {
	t.Helper()
	if err != nil {
		return "no answer: " + errors.Unwrap(err).Error()
	}
	body, err := io.ReadAll(response.Body)
	header := response.Header.Clone()
	if header.Get("Date") == "" {
		t.Error("no date")
	}
	header.Del("Date")
	var lines strings.Builder
	_ = header.Write(&lines)
	return fmt.Sprintf("%s %s\n%slength %d, coding %q, trailer %v, decompressed %v, no body %v\n%.40q of %d, %v", response.Proto, response.Status, lines.String(),
		response.ContentLength, response.TransferEncoding, response.Trailer, response.Uncompressed, response.Body == http.NoBody, body, len(body), err)
}

// What a client gets is compared with what it gets on a socket.
func TestAnswersAreThoseOfARealServer(t *testing.T) {
	t.Parallel()
	form := &bytes.Buffer{}
	writer := multipart.NewWriter(form)
	file, err := writer.CreateFormFile("file", "large.bin")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.Write(make([]byte, 3<<20))
	_ = writer.Close()
	upload := http.Header{"Content-Type": {writer.FormDataContentType()}}
	for name, test := range map[string]struct {
		handler gin.HandlerFunc
		method  string
		header  http.Header
		body    []byte
	}{
		"nothing is written": {handler: func(*gin.Context) {}},
		"only a status":      {handler: func(c *gin.Context) { c.Status(http.StatusNoContent) }},
		"not modified":       {handler: func(c *gin.Context) { c.Status(http.StatusNotModified) }},
		"a type is guessed":  {handler: func(c *gin.Context) { _, _ = c.Writer.WriteString("<!DOCTYPE html><title>") }},
		"a length is known":  {handler: func(c *gin.Context) { c.String(http.StatusOK, "short") }},
		"a length is wrong": {handler: func(c *gin.Context) {
			c.Header("Content-Length", "9")
			c.String(http.StatusOK, "short")
		}},
		"a long answer": {handler: func(c *gin.Context) { c.String(http.StatusOK, strings.Repeat("long", 1<<20)) }},
		"HEAD":          {method: http.MethodHead, handler: func(c *gin.Context) { c.String(http.StatusOK, "not sent") }},
		"trailers": {handler: func(c *gin.Context) {
			c.Header("Trailer", "Checksum")
			c.String(http.StatusOK, "body")
			c.Writer.Flush()
			c.Header("Checksum", "1234")
			c.Header(http.TrailerPrefix+"Late", "5678")
		}},
		"a part": {header: http.Header{"Range": {"bytes=2-3"}}, handler: func(c *gin.Context) {
			http.ServeContent(c.Writer, c.Request, "a.txt", time.Time{}, strings.NewReader("abcdef"))
		}},
		"compression": {handler: func(c *gin.Context) { c.String(http.StatusOK, c.GetHeader("Accept-Encoding")) }},
		"the connection": {handler: func(c *gin.Context) {
			c.String(http.StatusOK, "%q %v %v", c.Request.Header["Connection"], c.Request.Close, c.Request.TransferEncoding)
		}},
		"an upload": {method: http.MethodPost, header: upload, body: form.Bytes(), handler: func(c *gin.Context) {
			file, err := c.FormFile("file")
			if err != nil {
				c.String(http.StatusBadRequest, err.Error())
				return
			}
			c.String(http.StatusOK, "%s of %d", file.Filename, file.Size)
		}},
		"an upload that is not read": {method: http.MethodPost, body: make([]byte, 200<<10), handler: func(c *gin.Context) { c.String(http.StatusOK, "enough") }},
		"an upload that is too long": {method: http.MethodPost, body: make([]byte, 10<<10), handler: func(c *gin.Context) {
			_, err := io.Copy(io.Discard, http.MaxBytesReader(c.Writer, c.Request.Body, 1<<10))
			c.String(http.StatusRequestEntityTooLarge, "%v", err)
		}},
		"a body that is read after the answer": {method: http.MethodPost, body: make([]byte, 300<<10), handler: func(c *gin.Context) {
			c.Writer.Flush()
			n, err := io.Copy(io.Discard, c.Request.Body)
			c.String(http.StatusOK, "%v %v", n < 300<<10, err)
		}},
		"a handler that aborts":                  {handler: func(*gin.Context) { panic(http.ErrAbortHandler) }},
		"a handler that aborts in the answer":    {handler: func(c *gin.Context) { c.Writer.Flush(); panic(http.ErrAbortHandler) }},
		"an answer that is lost when it aborts":  {handler: func(c *gin.Context) { c.String(http.StatusOK, "lost"); panic(http.ErrAbortHandler) }},
		"a hijacked connection without a status": {handler: func(c *gin.Context) { conn, _, _ := c.Writer.Hijack(); _ = conn.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var right string
			everywhere(t, test.handler, func(s *served) {
				header := http.Header{"Accept": {"text/plain"}}
				for key, values := range test.header {
					header[key] = values
				}
				response, err := s.try(s.t.Context(), test.method, header, bytes.NewReader(test.body))
				got := describe(s.t, response, err)
				if right == "" {
					right = got
				} else if got != right {
					s.t.Errorf("%s\n\nIt is on a socket:\n\n%s", got, right)
				}
			})
		})
	}
}

func TestARequestIsWhatARealServerMakesOfIt(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	for base, isTLS := range map[string]bool{"https://app.example.com/app": true, "http://localhost:8080/app": false} {
		var seen *http.Request
		logto.Serve(base, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r }))
		read(t, logto.Client(), base+"/a%2Fb?c=d")
		if (seen.TLS != nil) != isTLS || (isTLS && (!seen.TLS.HandshakeComplete || seen.TLS.ServerName != "app.example.com")) {
			t.Errorf("%s: %+v", base, seen.TLS)
		}
		if seen.Host != strings.TrimSuffix(base[strings.Index(base, "//")+2:], "/app") || seen.RequestURI != "/app/a%2Fb?c=d" || seen.Proto != "HTTP/1.1" {
			t.Errorf("%s: %+v", base, seen)
		}
		if seen.URL.String() != "/a%2Fb?c=d" || seen.URL.Path != "/a/b" {
			t.Errorf("%s: %+v", base, seen.URL)
		}
		if host, _, err := net.SplitHostPort(seen.RemoteAddr); err != nil || host != "127.0.0.1" {
			t.Errorf("%s: %v from %s", base, err, seen.RemoteAddr)
		}
		_, hasServer := seen.Context().Value(http.ServerContextKey).(*http.Server)
		address, hasAddress := seen.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !hasServer || !hasAddress || address.Network() != "tcp" {
			t.Errorf("%s: %v %v", base, hasServer, address)
		}
	}
}

// ginLog collects what Gin and its handlers have to say about errors.
type ginLog struct {
	mu     sync.Mutex
	log    bytes.Buffer
	errors []error
}

func (l *ginLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

func (l *ginLog) watch(router *gin.Engine) {
	router.Use(gin.LoggerWithConfig(gin.LoggerConfig{Output: l, Formatter: func(p gin.LogFormatterParams) string { return p.ErrorMessage }}),
		gin.RecoveryWithWriter(l), func(c *gin.Context) {
			c.Next()
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, one := range c.Errors {
				l.errors = append(l.errors, one.Err)
			}
		})
}

// check waits for the handlers: closing the server does.
func (l *ginLog) check(t *testing.T, logto *logtotest.Server) {
	t.Helper()
	logto.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.log.Len() > 0 || len(l.errors) > 0 {
		t.Errorf("%s, %v", l.log.String(), l.errors)
	}
}

func TestARefusedSignInLeavesNothingInGinsLog(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 1_000, 5_000, 60_000, 2_000_000} {
		logto, log := logtotest.NewServer(t), &ginLog{}
		cfg := logto.Config("https://app.example.com")
		cfg.OnSignedIn = func(*gin.Context, *logtogin.SignInResult) error { return &logtogin.RefusalError{Message: "not you"} }
		cfg.OnError = func(c *gin.Context, err error) { c.String(logtogin.StatusCode(err), strings.Repeat("no", size/2)) }
		router := gin.New()
		log.watch(router)
		auth, err := logtogin.Register(router, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer auth.Close()
		failing := &failingTest{TB: t}
		func() {
			defer func() { _ = recover() }()
			logto.SignIn(failing, router, logtotest.DefaultUser())
		}()
		if !strings.Contains(failing.message, "with 403") {
			t.Error(failing.message)
		}
		log.check(t, logto)
	}
}

func TestAClientThatStopsReadingLeavesNothingInGinsLog(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(c *gin.Context){
		"a page":           func(c *gin.Context) { c.String(http.StatusOK, "a page") },
		"a long page":      func(c *gin.Context) { c.String(http.StatusOK, strings.Repeat("a page", 8_000)) },
		"a very long page": func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", make([]byte, 5<<20)) },
		"a page in parts":  func(c *gin.Context) { c.String(200, "a"); c.Writer.Flush(); c.String(200, strings.Repeat("b", 30_000)) },
		"a file":           func(c *gin.Context) { c.File("testdata/README.md") },
		"an endless stream": func(c *gin.Context) {
			c.Stream(func(w io.Writer) bool { _, _ = w.Write(make([]byte, 1<<10)); return true })
		},
		"server-sent events": func(c *gin.Context) { c.Stream(func(io.Writer) bool { c.SSEvent("tick", "tock"); return true }) },
		"a redirect with page": func(c *gin.Context) {
			c.Header("Location", "/done")
			c.String(http.StatusFound, strings.Repeat("moved", 4_000))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for leaving, leave := range map[string]func(*http.Response, context.CancelFunc){
				"closes the body":         func(r *http.Response, _ context.CancelFunc) { _ = r.Body.Close() },
				"cancels the request":     func(_ *http.Response, cancel context.CancelFunc) { cancel() },
				"reads a byte and closes": func(r *http.Response, _ context.CancelFunc) { _, _ = r.Body.Read(make([]byte, 1)); _ = r.Body.Close() },
			} {
				logto, log := logtotest.NewServer(t), &ginLog{}
				logto.Config("https://app.example.com")
				gone := make(chan struct{})
				router := gin.New()
				log.watch(router)
				router.GET("/done", func(*gin.Context) {})
				router.GET("/", func(c *gin.Context) {
					defer close(gone)
					write(c)
				})
				ctx, cancel := context.WithCancel(t.Context())
				request, err := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := logto.Visitor(t, router).Do(request)
				if err != nil {
					t.Fatal(leaving, err)
				}
				leave(response, cancel)
				await(t, gone)
				cancel()
				log.check(t, logto)
			}
		})
	}
}

func TestAClosedServerLeavesNothingInGinsLog(t *testing.T) {
	t.Parallel()
	logto, log := logtotest.NewServer(t), &ginLog{}
	logto.Config("https://app.example.com")
	router := gin.New()
	log.watch(router)
	router.GET("/", func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", make([]byte, 5<<20)) }) // the client does not read it
	response, err := logto.Visitor(t, router).Get("/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	log.check(t, logto)
}

// As on a socket, so that a handler without an eye on its context ends.
func TestAHandlerThatGoesByErrorsEndsWhenTheClientHasLeft(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 2)
	everywhere(t, func(c *gin.Context) {
		for {
			if _, err := c.Writer.WriteString("tick\n"); err != nil {
				ended <- err
				return
			}
			if err := http.NewResponseController(c.Writer).Flush(); err != nil {
				ended <- err
				return
			}
		}
	}, func(s *served) {
		_ = s.ask(s.t.Context(), http.MethodGet, nil, nil).Body.Close()
		err := await(s.t, ended)
		var operation *net.OpError
		if !errors.As(err, &operation) || (!errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET)) {
			s.t.Errorf("%#v", err)
		}
	})
}

// An answer that never ends must not take all the memory.
func TestAHandlerWaitsForAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	ended := make(chan int, 1)
	logto := logtotest.NewServer(t)
	logto.Serve("https://app.example.com", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		_ = control.Flush() // the client has the header
		_ = control.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		written := 0
		for {
			n, err := w.Write(make([]byte, 1<<10))
			if written += n; err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				ended <- written
				return
			}
		}
	}))
	response, err := logto.Client().Get("https://app.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if written := await(t, ended); written > 1<<20 {
		t.Errorf("%d bytes are kept", written)
	}
}

func TestCloseWaitsForHandlersThatHaveTakenAConnectionOver(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	var hasReturned atomic.Bool
	router := gin.New()
	router.GET("/", func(c *gin.Context) {
		echo(c)
		for range 10_000 {
			runtime.Gosched()
		}
		hasReturned.Store(true)
	})
	logto.Config("https://app.example.com")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = upgrade.Clone()
	response, err := logto.Visitor(t, router).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	logto.Close()
	if !hasReturned.Load() {
		t.Error("it is still running")
	}
}

func TestAFormMayBeAnsweredByAStreamOfHTML(t *testing.T) {
	t.Parallel()
	next := make(chan string)
	everywhere(t, func(c *gin.Context) {
		c.Header("Content-Type", "text/html; charset=utf-8")
		c.Writer.Flush()
		for part := range next {
			_, _ = c.Writer.WriteString(part)
			c.Writer.Flush()
			if part == "." {
				return
			}
		}
	}, func(s *served) {
		response := s.ask(s.t.Context(), http.MethodPost, nil, nil)
		next <- "<p>one"
		next <- "."
		if body := text(s.t, response.Body); body != "<p>one." {
			s.t.Error(body)
		}
	})
}

func TestRequestsAreAnsweredSideBySide(t *testing.T) {
	t.Parallel()
	const clients = 20
	logto := logtotest.NewServer(t)
	router, auth := newApp(t, logto.Config("https://app.example.com"), "/")
	arrived, all := make(chan struct{}, clients), make(chan struct{})
	router.GET("/together", auth.Guard(), func(c *gin.Context) {
		arrived <- struct{}{}
		<-all
		c.String(http.StatusOK, c.Query("n"))
	})
	client := logto.SignIn(t, router, logtotest.DefaultUser())
	var asking sync.WaitGroup
	for n := range clients {
		asking.Go(func() {
			response, err := client.Get(fmt.Sprint("/together?n=", n))
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); string(body) != fmt.Sprint(n) {
				t.Errorf("%d: %q %v", n, body, err)
			}
		})
	}
	for range clients {
		await(t, arrived)
	}
	close(all)
	asking.Wait()
}

func TestABubbleCanHaveAServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logto := logtotest.NewServer(t)
		router, _ := newApp(t, logto.Config("https://app.example.com"), "/")
		if status, body := read(t, logto.SignIn(t, router, logtotest.DefaultUser()), "/profile"); status != http.StatusOK {
			t.Errorf("%d %s", status, body)
		}
	})
}

func TestAHandlerThatPanicsIsInTheLogOfTheTest(t *testing.T) {
	t.Parallel()
	log := &ginLog{}
	logto := logtotest.NewServer(&loggingTest{t, log})
	logto.Serve("https://app.example.com", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("the handler fails") }))
	if response, err := logto.Client().Get("https://app.example.com/"); err == nil {
		t.Error(response.Body.Close())
	}
	logto.Close()
	if !strings.Contains(log.log.String(), "the handler fails") {
		t.Error(log.log.String())
	}
}

// loggingTest is a test whose output is seen.
type loggingTest struct {
	testing.TB
	output io.Writer
}

func (l *loggingTest) Output() io.Writer { return l.output }

// An application can be at any address that Config.BaseURL takes, in any spelling of it.
func TestApplicationsAreServedAtEveryAddress(t *testing.T) {
	t.Parallel()
	for _, baseURL := range []string{
		"https://app.example.com", "https://APP.example.com", "HTTPS://app.example.com", "https://app.example.com:443", "https://app.example.com:/", "https://app.example.com:08443",
		"https://bücher.example", "https://xn--bcher-kva.example", "https://[0:0::1]:0443", "http://localhost:", "http://[::1]:08080", "https://192.0.2.1",
		"https://app.example.com/a", "https://app.example.com/a b/", "https://app.example.com/größe", "https://app.example.com/gr%C3%B6%C3%9Fe", "https://app.example.com/gr%c3%b6%c3%9fe",
		"https://app.example.com/%7Euser", "https://app.example.com/~user", "https://app.example.com/a%2Fb", "https://bücher.example/o'neil",
	} {
		logto := logtotest.NewServer(t)
		cfg := logto.Config(baseURL)
		_, address, _ := strings.Cut(baseURL, "//")
		if _, path, _ := strings.Cut(address, "/"); path != "" {
			cfg.Cookies.Path = "/" + strings.TrimRight(path, "/")
		}
		router := gin.New()
		auth, err := logtogin.Register(router, cfg)
		if err != nil {
			t.Errorf("%s: %v", baseURL, err)
			continue
		}
		t.Cleanup(func() { _ = auth.Close() })
		router.GET("/files/*name", auth.Guard(), func(c *gin.Context) {
			c.String(http.StatusOK, "%s %s", c.Param("name"), c.Request.URL.EscapedPath())
		})
		client := logto.SignIn(t, router, logtotest.DefaultUser())
		response, err := client.Get("/files/%C3%BC%20a%2Fb")
		if err != nil {
			t.Errorf("%s: %v", baseURL, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || string(body) != "/ü a/b /files/%C3%BC%20a%2Fb" {
			t.Errorf("%s: %d %s (%v)", baseURL, response.StatusCode, body, err)
		}
	}
}

// A path is parsed as net/http parses it, and a client of WebSockets finds the application, too.
func TestPathsBelowABaseURLAreAsOnAServer(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"https://app.example.com", "https://app.example.com/my%20app", "https://app.example.com/a%2Fb"} {
		logto := logtotest.NewServer(t)
		router := gin.New()
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "x.txt"), []byte("hello"), 0o600); err != nil {
			t.Fatal(err)
		}
		router.Static("/my files", folder)
		router.GET("/page", func(c *gin.Context) { c.String(http.StatusOK, "%q", c.Request.URL.RawPath) })
		logto.Serve(base, router)
		for path, want := range map[string]string{"/my%20files/x.txt": "hello", "/page": `""`} {
			client := &http.Client{Transport: &http.Transport{DialTLSContext: logto.DialContext}}
			for how, client := range map[string]*http.Client{"by the client": logto.Client(), "by DialContext": client} {
				response, err := client.Get(base + path)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if string(body) != want {
					t.Errorf("%s%s %s: %d %s", base, path, how, response.StatusCode, body)
				}
			}
			client.CloseIdleConnections()
		}
	}
}

func TestOfTwoApplicationsTheOneWithTheLongerPathAnswers(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	is := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, name+" "+r.URL.Path) })
	}
	logto.Serve("https://example.com", is("root"))
	logto.Serve("https://example.com/two", is("two"))
	for address, want := range map[string]string{
		"https://example.com/two/p": "two /p", "https://example.com/two": "two /", "https://example.com/twofold": "root /twofold", "https://EXAMPLE.com:443/x": "root /x", "https://example.com": "root /",
	} {
		response, err := logto.Client().Get(address)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if string(body) != want {
			t.Errorf("%s: %s, want %s", address, body, want)
		}
	}
}

// await is for what must come, and would otherwise keep the tests waiting for as long as they may take.
func await[T any](t testing.TB, channel <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-channel:
	case <-time.After(time.Minute):
		t.Fatal("nothing has come within a minute")
	}
	return value
}
