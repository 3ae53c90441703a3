package logtogin_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// api is an API that notes which access tokens and bodies it is sent.
type api struct {
	url    string
	mu     sync.Mutex
	tokens []string
	bodies []string
	answer func(w http.ResponseWriter, r *http.Request, call int)
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{answer: func(w http.ResponseWriter, _ *http.Request, _ int) { _, _ = w.Write([]byte("fine")) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.tokens = append(a.tokens, r.Header.Get("Authorization"))
		a.bodies = append(a.bodies, string(body))
		call := len(a.tokens)
		a.mu.Unlock()
		a.answer(w, r, call)
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *api) seen() (tokens, bodies []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.tokens), slices.Clone(a.bodies)
}

// calling adds a route whose handler has a client and does something with it.
func (app *application) calling(path string, call func(c *gin.Context, client *http.Client)) {
	app.router.GET(path, func(c *gin.Context) { call(c, app.auth.HTTPClient(c, logtogin.Resource(ordersAPI))) })
}

func post(t *testing.T, client *http.Client, address string, body io.Reader) (int, error) {
	t.Helper()
	response, err := client.Post(address, "text/plain", body)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

func TestHTTPClientSendsTheToken(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto))
		app := start(change)
		orders := newAPI(t)
		app.calling("/call", func(c *gin.Context, client *http.Client) {
			atOnce(5, func(int) {
				if status, err := post(t, client, orders.url, strings.NewReader("order")); err != nil || status != http.StatusOK {
					t.Error(status, err)
				}
			})
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		b.get(app.url + "/call")
		token, _ := b.token(app, map[string][]string{"resource": {ordersAPI}})
		tokens, bodies := orders.seen()
		for i := range 5 {
			if tokens[i] != "Bearer "+token.Value || bodies[i] != "order" {
				t.Errorf("%s %s", tokens[i], bodies[i])
			}
		}
		if calls := len(refreshes(logto)); calls != 1 {
			t.Errorf("%d refreshes", calls)
		}
		now.advance(61 * time.Minute)
		b.get(app.url + "/call")
		if tokens, _ := orders.seen(); tokens[9] == tokens[0] || tokens[9] != tokens[5] || len(refreshes(logto)) != 2 {
			t.Errorf("after an hour: %d refreshes", len(refreshes(logto)))
		}
	})
}

func TestHTTPClientAsksForAnotherTokenOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body   func() io.Reader
		answer func(w http.ResponseWriter, call int)
		status int
		calls  int
	}{
		"a token that is refused":         {func() io.Reader { return strings.NewReader("order") }, func(w http.ResponseWriter, call int) { refuseToken(w, call == 1) }, 200, 2},
		"no body":                         {func() io.Reader { return nil }, func(w http.ResponseWriter, call int) { refuseToken(w, call == 1) }, 200, 2},
		"every token is refused":          {func() io.Reader { return strings.NewReader("order") }, func(w http.ResponseWriter, _ int) { refuseToken(w, true) }, 401, 2},
		"a body that can be had but once": {func() io.Reader { return io.MultiReader(strings.NewReader("order")) }, func(w http.ResponseWriter, _ int) { refuseToken(w, true) }, 401, 1},
		"a 401 without a word":            {func() io.Reader { return strings.NewReader("order") }, func(w http.ResponseWriter, _ int) { w.WriteHeader(401) }, 401, 2},
		"a 401 for want of a right": {func() io.Reader { return strings.NewReader("order") }, func(w http.ResponseWriter, _ int) {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
			w.WriteHeader(401)
		}, 401, 1},
		"a 403": {func() io.Reader { return strings.NewReader("order") }, func(w http.ResponseWriter, _ int) { w.WriteHeader(403) }, 403, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			app := newApplication(t, logto, forAPIs)
			orders := newAPI(t)
			orders.answer = func(w http.ResponseWriter, _ *http.Request, call int) { test.answer(w, call) }
			app.calling("/call", func(c *gin.Context, client *http.Client) {
				if status, err := post(t, client, orders.url, test.body()); err != nil || status != test.status {
					t.Error(status, err)
				}
			})
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			b.get(app.url + "/call")
			tokens, bodies := orders.seen()
			if len(tokens) != test.calls || (test.calls == 2 && (tokens[0] == tokens[1] || bodies[0] != bodies[1])) {
				t.Errorf("%q %q", tokens, bodies)
			}
		})
	}
}

func refuseToken(w http.ResponseWriter, refuse bool) {
	if refuse {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// C-style leaks of x/oauth2's transport: the token is for one origin.
func TestHTTPClientKeepsTheTokenToOneOrigin(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	orders, elsewhere := newAPI(t), newAPI(t)
	orders.answer = func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, elsewhere.url, http.StatusTemporaryRedirect)
		} else if r.URL.Path == "/moved" {
			http.Redirect(w, r, orders.url+"/here", http.StatusTemporaryRedirect)
		}
	}
	app.calling("/call", func(c *gin.Context, client *http.Client) {
		for _, address := range []string{orders.url + "/moved", orders.url + "/away", elsewhere.url + "/by-mistake"} {
			if status, err := post(t, client, address, strings.NewReader("order")); err != nil || status != http.StatusOK {
				t.Error(address, status, err)
			}
		}
		r, err := http.NewRequestWithContext(c.Request.Context(), http.MethodGet, orders.url, nil)
		if err != nil {
			t.Error(err)
			return
		}
		r.Header.Set("Authorization", "Basic b3duOm93bg==")
		response, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		_ = response.Body.Close()
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	b.get(app.url + "/call")
	tokens, _ := orders.seen()
	if len(tokens) != 4 || !strings.HasPrefix(tokens[0], "Bearer ey") || tokens[1] != tokens[0] || tokens[2] != tokens[0] || tokens[3] != "Basic b3duOm93bg==" {
		t.Errorf("%q", tokens)
	}
	if tokens, _ := elsewhere.seen(); len(tokens) != 2 || tokens[0] != "" || tokens[1] != "" {
		t.Errorf("elsewhere: %q", tokens)
	}
}

// anyHost answers requests for any host but Logto's, and notes which of them carry a token.
type anyHost struct {
	rest   http.RoundTripper
	logto  string
	mu     sync.Mutex
	tokens []string
}

func (h *anyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if "http://"+r.URL.Host == h.logto {
		return h.rest.RoundTrip(r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens = append(h.tokens, r.Header.Get("Authorization"))
	answer := httptest.NewRecorder()
	answer.WriteHeader(http.StatusNoContent)
	return answer.Result(), nil
}

func TestHTTPClientTakesAnOriginForTheSameHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	network := &anyHost{rest: &http.Transport{}, logto: logto.Endpoint()}
	app := newApplication(t, logto, func(cfg *logtogin.Config) { forAPIs(cfg); cfg.HTTPClient = &http.Client{Transport: network} })
	for _, test := range []struct {
		first, then string
		isSame      bool
	}{
		{"https://api.example/orders", "https://api.example:443/orders", true},
		{"https://api.example:443", "https://api.example", true},
		{"https://api.example", "https://api.example:", true},
		{"https://api.example", "https://API.example:0443", true},
		{"https://api.example", "HTTPS://api.example", true},
		{"http://api.example:80", "http://api.example", true},
		{"https://bücher.example", "https://xn--bcher-kva.example", true},
		{"https://[::1]", "https://[0:0:0:0:0:0:0:1]:443", true},
		{"https://api.example", "http://api.example", false},
		{"https://api.example:443", "http://api.example:443", false},
		{"https://api.example", "https://api.example:8443", false},
		{"https://api.example", "https://api.example.", false},
		{"https://api.example", "https://api.example.evil.example", false},
		{"https://api.example", "https://api.example@evil.example", false},
		{"https://127.0.0.1", "https://127.1", false},
	} {
		network.tokens = nil
		path := "/" + rand.Text()
		app.calling(path, func(_ *gin.Context, client *http.Client) {
			for _, address := range []string{test.first, test.then} {
				if _, err := post(t, client, address, nil); err != nil {
					t.Error(err)
				}
			}
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		b.get(app.url + path)
		if len(network.tokens) != 2 || !strings.HasPrefix(network.tokens[0], "Bearer ") || (network.tokens[1] == network.tokens[0]) != test.isSame {
			t.Errorf("%s, then %s: %q", test.first, test.then, network.tokens)
		}
	}
}

// A client that outlives its handler refreshes by itself, and the next request of the
// browser knows of it.
func TestHTTPClientOutlivesItsHandler(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto))
		app := start(change)
		orders := newAPI(t)
		var kept *http.Client
		app.calling("/keep", func(_ *gin.Context, client *http.Client) { kept = client })
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		b.get(app.url + "/keep")
		call := func() error {
			_, err := post(t, kept, orders.url, nil)
			return err
		}
		for range 3 {
			now.advance(61 * time.Minute)
			if err := call(); err != nil {
				t.Error(err)
			}
		}
		logto.ResetCalls()
		tokens, _ := orders.seen()
		if token, _ := b.token(app, map[string][]string{"resource": {ordersAPI}}); "Bearer "+token.Value != tokens[2] || logto.Calls().Token != 0 {
			t.Errorf("the browser has another token, after %d calls", logto.Calls().Token)
		}
		b.get(app.url + "/sign-out")
		if err := call(); !errors.Is(err, logtogin.ErrNotSignedIn) {
			t.Errorf("after the sign-out: %v", err)
		}
		if tokens, _ := orders.seen(); len(tokens) != 3 {
			t.Errorf("%d calls", len(tokens))
		}
	})
}

func TestHTTPClientTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	orders := newAPI(t)
	var visitor, wrong error
	app.router.GET("/visitor", func(c *gin.Context) {
		_, visitor = post(t, app.auth.HTTPClient(c), orders.url, strings.NewReader("order"))
	})
	app.router.GET("/wrong", func(c *gin.Context) {
		_, wrong = post(t, app.auth.HTTPClient(c, logtogin.Resource("https://unknown.example")), orders.url, nil)
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	app.calling("/cancelled", func(c *gin.Context, client *http.Client) {
		r, err := http.NewRequestWithContext(ended, http.MethodGet, orders.url, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if response, err := client.Do(r); !errors.Is(err, context.Canceled) {
			t.Error(response, err)
		}
	})
	send(t, http.MethodGet, app.url+"/visitor", nil, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	b.get(app.url + "/wrong")
	b.get(app.url + "/cancelled")
	if !errors.Is(visitor, logtogin.ErrNotSignedIn) || !errors.Is(wrong, logtogin.ErrInvalidOptions) {
		t.Errorf("%v, %v", visitor, wrong)
	}
	if tokens, _ := orders.seen(); len(tokens) != 0 {
		t.Errorf("%q", tokens)
	}
}

// A first request with a header of its own, which net/http drops on the way to another host.
func TestTheTokenDoesNotFollowARedirectOfAnotherRequest(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	elsewhere := newAPI(t)
	orders := newAPI(t)
	other := strings.Replace(elsewhere.url, "127.0.0.1", "localhost", 1)
	orders.answer = func(w http.ResponseWriter, r *http.Request, _ int) {
		http.Redirect(w, r, other, http.StatusTemporaryRedirect)
	}
	app.calling("/call", func(c *gin.Context, client *http.Client) {
		request, err := http.NewRequest(http.MethodGet, orders.url, nil)
		if err != nil {
			t.Error(err)
			return
		}
		request.SetBasicAuth("somebody", "else")
		response, err := client.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		_ = response.Body.Close()
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	b.get(app.url + "/call")
	if tokens, _ := elsewhere.seen(); len(tokens) != 1 || tokens[0] != "" {
		t.Errorf("elsewhere: %q", tokens)
	}
}

// Another service that is down is no mistake of this application.
func TestAnAPIThatCannotBeReached(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	gone := httptest.NewServer(nil)
	gone.Close()
	frozen := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(frozen.Close)
	for path, address := range map[string]string{"/gone": gone.URL, "/frozen": frozen.URL} {
		app.calling(path, func(c *gin.Context, client *http.Client) {
			client.Timeout = time.Minute
			if path == "/frozen" {
				client.Timeout = 50 * time.Millisecond
			}
			_, err := client.Get(address)
			app.auth.Refuse(c, err)
		})
	}
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	if page := b.get(app.url + "/gone"); page.status != http.StatusBadGateway {
		t.Errorf("gone: %d %s", page.status, page.body)
	}
	if page := b.get(app.url + "/frozen"); page.status != http.StatusGatewayTimeout {
		t.Errorf("frozen: %d %s", page.status, page.body)
	}
	if page := send(t, http.MethodGet, app.url+"/gone", nil, nil); page.status != http.StatusFound {
		t.Errorf("a visitor: %d", page.status)
	}
}

// An API that refuses whatever token it gets does not make Logto work for each request.
func TestAnAPIThatRefusesEveryToken(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	orders := newAPI(t)
	orders.answer = func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusUnauthorized) }
	app.calling("/call", func(c *gin.Context, client *http.Client) {
		status, err := post(t, client, orders.url, strings.NewReader("x"))
		c.String(http.StatusOK, "%d %v", status, err)
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	logto.ResetCalls()
	for range 20 {
		if page := b.get(app.url + "/call"); page.body != "401 <nil>" {
			t.Errorf("%s", page.body)
		}
	}
	if calls := logto.Calls().Token; calls != 2 { // the first token and another one
		t.Errorf("%d calls", calls)
	}
}
