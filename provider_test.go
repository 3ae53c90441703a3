package logtogin_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func TestApplicationStartsWhileLogtoIsDownAndRecovers(t *testing.T) {
	t.Parallel()
	now := newClock()
	logto := logtotest.NewServer(t)
	down := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	logto.Intercept(logtotest.Discovery, down)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Now = now.Now })
	for range 20 {
		page := send(t, http.MethodGet, app.url+"/sign-in", nil, nil)
		if page.status != http.StatusServiceUnavailable || page.header.Get("Retry-After") == "" || len(setCookies(page)) > 0 {
			t.Errorf("%d %v", page.status, page.header)
		}
	}
	if err := app.auth.Ready(t.Context()); !errors.Is(err, logtogin.ErrProviderUnavailable) {
		t.Errorf("Ready: %v", err)
	}
	if calls := logto.Calls(); calls.Discovery != 1 {
		t.Errorf("%d discovery calls within a moment", calls.Discovery)
	}
	logto.Intercept(logtotest.Discovery, nil)
	now.advance(2 * time.Second)
	if err := app.auth.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
	b := newBrowser(t)
	if b.signIn(app.url+"/profile", logtotest.DefaultUser()); !b.isSignedIn(app) {
		t.Error("no sign-in after the recovery")
	}
}

// C49: what can be wrong with an answer must neither hang nor swell.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	for what, endpoint := range map[string]logtotest.Endpoint{
		"discovery": logtotest.Discovery, "keys": logtotest.Keys, "token": logtotest.Token,
	} {
		for name, answer := range hostileAnswers {
			t.Run(what+" answers "+name, func(t *testing.T) {
				t.Parallel()
				logto := logtotest.NewServer(t)
				logto.Intercept(endpoint, answer)
				app := newApplication(t, logto, nil)
				b := newBrowser(t)
				page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
				if page.status != http.StatusServiceUnavailable {
					t.Errorf("%d %s", page.status, page.body)
				}
				if b.isSignedIn(app) || strings.Contains(page.body+app.log.String(), "secret-body") {
					t.Error("signed in, or the body is shown")
				}
			})
		}
	}
	ofUserInfo := maps.Clone(hostileAnswers)
	ofUserInfo["a JWT by its content type"] = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", "application/jwt")
		_, _ = w.Write(answer.Body.Bytes())
	}
	for name, answer := range ofUserInfo {
		t.Run("user info answers "+name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.Intercept(logtotest.UserInfo, answer)
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			page := b.signIn(app.url+"/user-info", logtotest.DefaultUser())
			isError := strings.Contains(page.body, logtogin.ErrProviderUnavailable.Error()) || strings.Contains(page.body, logtogin.ErrInvalidToken.Error())
			if page.status != http.StatusBadGateway || !isError {
				t.Errorf("%d %s", page.status, page.body)
			}
			if !b.isSignedIn(app) || strings.Contains(page.body+app.log.String(), "secret-body") {
				t.Error("signed out by it, or the body is shown")
			}
		})
	}
}

var hostileAnswers = map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
	"more than 1 MiB": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append([]byte(`{"a":"`), bytes.Repeat([]byte("x"), 2<<20)...))
	},
	"nested deeply": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bytes.Repeat([]byte(`{"a":`), 150_000))
	},
	"HTML": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>maintenance</html>"))
	},
	"null": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("null"))
	},
	"a list": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("[]"))
	},
	"text": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`"secret-body"`))
	},
	"what is not UTF-8": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{\"secret-body\":\"\xff\xfe\"}"))
	},
	"members of wrong types": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"issuer":["x"],"keys":{"a":1},"access_token":{"secret-body":1},"id_token":7,"token_type":[],"expires_in":{}}`))
	},
	"a document and more": func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(answer.Body.Bytes(), "{}secret-body"...))
	},
	"what never ends": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
				return
			}
		}
	},
	"a gigabyte, compressed": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		packed, zeros := gzip.NewWriter(w), make([]byte, 64<<10)
		for range 1 << 14 {
			if _, err := packed.Write(zeros); err != nil || r.Context().Err() != nil {
				return
			}
		}
	},
	"nothing": func(http.ResponseWriter, *http.Request, http.Handler) {},
	"a connection that breaks": func(http.ResponseWriter, *http.Request, http.Handler) {
		panic(http.ErrAbortHandler)
	},
	"an error of OAuth's with a 500": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte(`{"error":"server_error"}`))
	},
	"a quota error without OAuth's members": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"code":"auth.exceed_token_limit","message":"secret-body"}`))
	},
}

// An answer that stops in the middle: the Timeout of the given client ends the wait. What
// ends it without one is in TestAnAnswerThatDripsIsGivenUp.
func TestAnAnswerThatStallsIsGivenUp(t *testing.T) {
	t.Parallel()
	for what, endpoint := range map[string]logtotest.Endpoint{
		"discovery": logtotest.Discovery, "token": logtotest.Token,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.Intercept(endpoint, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"issuer":`))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.HTTPClient = &http.Client{Timeout: time.Second} })
			b := newBrowser(t)
			if page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); page.status != http.StatusServiceUnavailable {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
	}
}

// C49: the same for everything that is fetched, by the clock of a bubble: an answer that
// stalls, and one that comes a byte a second, end after ten seconds, or after the Timeout of
// the given client if that is shorter.
func TestAnAnswerThatDripsIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		isDripping     bool
		timeout, ended time.Duration
	}{
		"stalls":                         {isDripping: false, ended: 10 * time.Second},
		"stalls, with a longer time-out": {isDripping: false, timeout: 17 * time.Second, ended: 10 * time.Second},
		"drips":                          {isDripping: true, ended: 10 * time.Second},
		"drips, with a shorter time-out": {isDripping: true, timeout: 3 * time.Second, ended: 3 * time.Second},
	} {
		t.Run("token "+name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				cfg.HTTPClient = &http.Client{Timeout: test.timeout, Transport: &slowAnswers{slow: logto.Issuer() + "/token", isDripping: test.isDripping}}
			})
			b := newBrowser(t)
			callback := b.signInUntilCallback(app, logtotest.DefaultUser())
			cookies := header(b.ours(app)...)
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				if w := app.ask(callback.RequestURI(), cookies); w.Code != http.StatusServiceUnavailable {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				if took := time.Since(started); took != test.ended {
					t.Errorf("after %v", took)
				}
			})
		})
		t.Run("user info "+name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			now := newClock()
			outgoing := &slowAnswers{isDripping: test.isDripping}
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				cfg.Now, cfg.HTTPClient = now.Now, &http.Client{Timeout: test.timeout, Transport: outgoing}
			})
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			cookies := header(b.ours(app)...)
			outgoing.slow = logto.Issuer() + "/me"
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				w := app.ask("/user-info", cookies)
				if w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), logtogin.ErrProviderUnavailable.Error()) {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				if took := time.Since(started); took != test.ended {
					t.Errorf("after %v", took)
				}
			})
		})
		for what, path := range map[string]string{"discovery": "/.well-known/openid-configuration", "keys": "/jwks"} {
			t.Run(what+" "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					const issuer = "https://example.logto.app/oidc"
					auth, err := logtogin.New(logtogin.Config{
						Endpoint: strings.TrimSuffix(issuer, "/oidc"), Logger: slog.New(slog.DiscardHandler),
						HTTPClient: &http.Client{Timeout: test.timeout, Transport: &slowAnswers{slow: issuer + path, isDripping: test.isDripping, answers: map[string]string{
							issuer + "/.well-known/openid-configuration": `{"issuer":"` + issuer + `","authorization_endpoint":"` + issuer + `/auth","token_endpoint":"` + issuer +
								`/token","userinfo_endpoint":"` + issuer + `/me","end_session_endpoint":"` + issuer + `/session/end","revocation_endpoint":"` + issuer +
								`/token/revocation","jwks_uri":"` + issuer + `/jwks"}`,
						}}},
					})
					if err != nil {
						t.Fatal(err)
					}
					closed(t, auth)
					router := gin.New()
					router.GET("/", auth.Bearer(ordersAPI), func(*gin.Context) { t.Error("reached") })
					started := time.Now()
					if w := ask(router, "/", bearerHeader("x.y.z")); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
						t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
					}
					if took := time.Since(started); took != test.ended {
						t.Errorf("after %v", took)
					}
				})
			})
		}
	}
}

// slowAnswers is a transport that begins to answer the requests for one address and does
// not come to an end. For others it has answers, or else asks the network.
type slowAnswers struct {
	slow       string
	isDripping bool
	answers    map[string]string
}

func (s *slowAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	address := r.URL.String()
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}
	switch body, ok := s.answers[address]; {
	case address == s.slow:
		answer.Body = io.NopCloser(&slowBody{ctx: r.Context(), isDripping: s.isDripping})
	case ok:
		answer.Body = io.NopCloser(strings.NewReader(body))
	default:
		return http.DefaultTransport.RoundTrip(r)
	}
	return answer, nil
}

// slowBody has one byte, or one a second, until the request is given up.
type slowBody struct {
	ctx        context.Context
	isDripping bool
	hasBegun   bool
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.hasBegun {
		var next <-chan time.Time
		if b.isDripping {
			next = time.After(time.Second)
		}
		select {
		case <-next:
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	b.hasBegun = true
	p[0] = ' '
	return 1, nil
}

// C49: what an answer may cost. Nothing else runs meanwhile.
func TestAnswersOfAGigabyteTakeLittleMemory(t *testing.T) {
	for what, endpoint := range map[string]logtotest.Endpoint{
		"discovery": logtotest.Discovery, "keys": logtotest.Keys, "token": logtotest.Token, "user info": logtotest.UserInfo,
	} {
		for _, name := range []string{"more than 1 MiB", "what never ends", "a gigabyte, compressed"} {
			t.Run(what+" answers "+name, func(t *testing.T) {
				logto := logtotest.NewServer(t)
				app := newApplication(t, logto, nil)
				b := newBrowser(t)
				if endpoint == logtotest.UserInfo {
					b.signIn(app.url+"/profile", logtotest.DefaultUser())
				}
				logto.Intercept(endpoint, hostileAnswers[name])
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				page := b.signIn(app.url+"/user-info", logtotest.DefaultUser())
				runtime.ReadMemStats(&after)
				if page.status < http.StatusInternalServerError {
					t.Errorf("%d %s", page.status, page.body)
				}
				if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
					t.Errorf("%d MiB", took>>20)
				}
			})
		}
	}
}

// C52: what user info can be.
func TestUserInfoThatIsNone(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"null": "null", "a list": `[{"sub":"x"}]`, "text": `"x"`, "a number": "7", "a JWT": "eyJhbGciOiJub25lIn0.e30.", "nothing": "", "not JSON": "{",
		"an object without sub": `{"name":"x"}`, "a sub of another type": `{"sub":7}`, "sub twice": `{"sub":"x","sub":"y"}`, "Sub": `{"Sub":"x"}`,
		"nested deeply": strings.Repeat(`{"a":`, 20_000), "two documents": `{"sub":"x"}{"sub":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.Intercept(logtotest.UserInfo, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(body))
			})
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			if page := b.signIn(app.url+"/user-info", logtotest.DefaultUser()); page.status != http.StatusBadGateway || !strings.Contains(page.body, logtogin.ErrInvalidToken.Error()) {
				t.Errorf("%d %s", page.status, page.body)
			}
			if !b.isSignedIn(app) {
				t.Error("signed out by it")
			}
		})
	}
}

// C48: a redirect of the token endpoint would carry code and secret away.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for what, endpoint := range map[string]logtotest.Endpoint{
		"discovery": logtotest.Discovery, "keys": logtotest.Keys, "token": logtotest.Token,
		"user info": logtotest.UserInfo, "revocation": logtotest.Revocation,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			elsewhere := logtotest.NewServer(t)
			logto := logtotest.NewServer(t)
			logto.Intercept(endpoint, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				http.Redirect(w, r, elsewhere.Endpoint()+r.URL.Path, http.StatusTemporaryRedirect)
			})
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			b.signIn(app.url+"/user-info", logtotest.DefaultUser())
			b.get(app.url + "/sign-out")
			if calls := elsewhere.Calls(); calls != (logtotest.Calls{}) {
				t.Errorf("followed: %+v", calls)
			}
		})
	}
}

func TestDiscoveryOfUnusableEndpoints(t *testing.T) {
	t.Parallel()
	for name, endpoint := range map[string]any{
		"relative": "/oidc/token", "another scheme": "ftp://x/token", "missing": nil, "with a user": "http://u:p@localhost/token",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeDiscovery(func(document map[string]any) any {
				document["token_endpoint"] = endpoint
				return document
			})
			app := newApplication(t, logto, nil)
			if err := app.auth.Ready(t.Context()); !errors.Is(err, logtogin.ErrProviderUnavailable) {
				t.Errorf("%v", err)
			}
		})
	}
}

// C48: https must not lead to http.
func TestAnHTTPSIssuerHasNoHTTPEndpoints(t *testing.T) {
	t.Parallel()
	for endpoint, isReady := range map[string]bool{
		"none": true, "authorization_endpoint": false, "token_endpoint": false, "userinfo_endpoint": false,
		"end_session_endpoint": false, "revocation_endpoint": false, "jwks_uri": false,
	} {
		t.Run(endpoint+" is http", func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			origin, err := url.Parse(logto.Endpoint())
			if err != nil {
				t.Fatal(err)
			}
			secure := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(origin))
			defer secure.Close()
			logto.ChangeDiscovery(func(document map[string]any) any {
				for name, value := range document {
					if address, ok := value.(string); ok && name != endpoint {
						address = strings.Replace(address, logto.Endpoint(), secure.URL, 1)
						document[name] = strings.Replace(address, "http:", "https:", 1)
					}
				}
				return document
			})
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				cfg.Endpoint, cfg.HTTPClient = secure.URL, secure.Client()
			})
			err = app.auth.Ready(t.Context())
			if isReady {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, logtogin.ErrProviderUnavailable) || !strings.Contains(err.Error(), endpoint) {
				t.Errorf("Ready: %v", err)
			}
			page := newBrowser(t).get(app.url + "/sign-in")
			if calls := logto.Calls(); page.status != http.StatusServiceUnavailable || calls.Authorization+calls.Keys != 0 {
				t.Errorf("%d, calls %+v", page.status, calls)
			}
		})
	}
}

func TestRefusalsOfTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*logtogin.Config)
		status int
		says   string
	}{
		"a wrong client secret is the operator's to mend": {
			func(cfg *logtogin.Config) { cfg.AppSecret = "wrong-" + cfg.AppSecret }, http.StatusInternalServerError, "not set up correctly",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			app := newApplication(t, logto, test.change)
			b := newBrowser(t)
			page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			if page.status != test.status || !strings.Contains(page.body, test.says) {
				t.Errorf("%d %s", page.status, page.body)
			}
			if calls := logto.Calls(); calls.Token != 1 {
				t.Errorf("%d token calls: the code was sent more than once", calls.Token)
			}
			if !strings.Contains(app.log.String(), "level=ERROR") {
				t.Errorf("the operator is not told: %s", app.log)
			}
		})
	}
}

func TestKeySets(t *testing.T) {
	t.Parallel()
	edit := func(change func(keys []any) []any) func(map[string]any) any {
		return func(set map[string]any) any {
			set["keys"] = change(set["keys"].([]any))
			return set
		}
	}
	with := func(member string, value any) func(map[string]any) any {
		return edit(func(keys []any) []any { keys[0].(map[string]any)[member] = value; return keys })
	}
	for name, test := range map[string]struct {
		change func(map[string]any) any
		status int
	}{
		"an unknown key type beside ours (C50)": {edit(func(keys []any) []any { return append([]any{map[string]any{"kty": "MLDSA", "kid": "pq"}}, keys...) }), http.StatusOK},
		"rubbish beside ours (C50)":             {edit(func(keys []any) []any { return append([]any{7, "x", nil, map[string]any{}}, keys...) }), http.StatusOK},
		"a symmetric key beside ours": {edit(func(keys []any) []any {
			return append([]any{map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "s"}}, keys...)
		}), http.StatusOK},
		"only a symmetric key":            {edit(func([]any) []any { return []any{map[string]any{"kty": "oct", "k": "c2VjcmV0"}} }), http.StatusServiceUnavailable},
		"empty":                           {edit(func([]any) []any { return []any{} }), http.StatusServiceUnavailable},
		"our key is for encryption (C33)": {with("use", "enc"), http.StatusServiceUnavailable},
		"our key names another alg (C33)": {with("alg", "ES256"), http.StatusServiceUnavailable},
		"our key is not on its curve":     {with("x", strings.Repeat("A", 64)), http.StatusServiceUnavailable},
		"our key without alg and use":     {edit(func(keys []any) []any { k := keys[0].(map[string]any); delete(k, "alg"); delete(k, "use"); return keys }), http.StatusOK},
		"our key under another name":      {with("kid", "other"), http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeKeys(test.change)
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			page := b.signIn(app.url+"/profile", logtotest.DefaultUser())
			if page.status != test.status {
				t.Errorf("%d %s\n%s", page.status, page.body, app.log)
			}
		})
	}
}

// C32: a token signed by HMAC with what everybody can read.
func TestHMACWithAPublicKeyIsRefused(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	if err := logto.RotateKey("RS256"); err != nil {
		t.Fatal(err)
	}
	public := make(chan []byte, 1)
	logto.ChangeKeys(func(set map[string]any) any {
		key, err := json.Marshal(set["keys"].([]any)[0])
		if err != nil {
			t.Error(err)
		}
		public <- key
		return set
	})
	var signer crypto.Signer
	logto.ChangeIDToken(func(token *logtotest.JWT) { signer = token.Key.(crypto.Signer) })
	app := newApplication(t, logto, nil)
	if err := app.auth.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if page := newBrowser(t).signIn(app.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusOK {
		t.Fatalf("%d %s", page.status, page.body)
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	for what, key := range map[string][]byte{
		"the public key as JWK": <-public, "as DER": der, "as PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"its modulus": signer.Public().(*rsa.PublicKey).N.Bytes(), "the client secret": []byte(logto.AppSecret()), "nothing": {},
	} {
		logto.ChangeIDToken(func(token *logtotest.JWT) {
			token.Header["alg"], token.Algorithm, token.Key = "HS256", "HS256", key
		})
		b := newBrowser(t)
		if b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); b.isSignedIn(app) {
			t.Errorf("HMAC with %s is accepted", what)
		}
	}
}

// C45: an outage of the key set does not matter while keys are known; after a
// day it does. C44: a withdrawn key is refused after ten minutes.
func TestKeysOverAnOutage(t *testing.T) {
	t.Parallel()
	now := newClock()
	logto := logtotest.NewServer(t)
	logto.SetNow(now.Now)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Now = now.Now })
	signsIn := func() bool {
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		return b.isSignedIn(app)
	}
	if !signsIn() {
		t.Fatal("no sign-in")
	}
	logto.Intercept(logtotest.Keys, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusBadGateway)
	})
	now.advance(23 * time.Hour)
	if !signsIn() {
		t.Error("the known keys are not used during an outage")
	}
	now.advance(2 * time.Hour)
	if signsIn() {
		t.Error("keys of 25 hours ago are still used")
	}
	logto.Intercept(logtotest.Keys, nil)
	now.advance(2 * time.Second)
	if !signsIn() {
		t.Error("no recovery")
	}
	onlyForeignKeys(logto)
	now.advance(11 * time.Minute)
	if signsIn() {
		t.Error("a withdrawn key is still used")
	}
}

func onlyForeignKeys(logto *logtotest.Server) {
	logto.ChangeKeys(func(set map[string]any) any {
		set["keys"].([]any)[0].(map[string]any)["kid"] = "withdrawn"
		return set
	})
}

// Many visitors at a cold start share one discovery, and one who leaves does
// not take it with them (C46).
func TestDiscoveryIsSharedByAllWhoWait(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	logto.Intercept(logtotest.Discovery, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		close(arrived)
		<-proceed
		next.ServeHTTP(w, r)
	})
	app := newApplication(t, logto, nil)
	first, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := app.auth.Ready(first); !errors.Is(err, logtogin.ErrProviderUnavailable) {
			t.Errorf("the one who left: %v", err)
		}
	})
	<-arrived
	leave()
	for range 50 {
		all.Go(func() {
			if err := app.auth.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	close(proceed)
	all.Wait()
	if calls := logto.Calls(); calls.Discovery != 1 || calls.Keys != 1 {
		t.Errorf("calls are %+v", calls)
	}
}

// secretsOf are what a server has been sent and has issued, and that belong into no log. A
// token is as bad in parts.
type secretsOf struct {
	mu    sync.Mutex
	logto *logtotest.Server
	found []string
}

func (s *secretsOf) add(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range secrets {
		s.found = append(s.found, secret)
		if parts := strings.Split(secret, "."); strings.HasPrefix(secret, "eyJ") && len(parts) == 3 {
			s.found = append(s.found, parts[1], parts[2])
		}
	}
}

// watch collects the tokens that Logto issues.
func (s *secretsOf) watch() {
	s.logto.ChangeTokenAnswer(func(answer map[string]any) any {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			if token, ok := answer[name].(string); ok {
				s.add(token)
			}
		}
		return answer
	})
}

// checkThatNoneIsIn also looks at what the server has been sent.
func (s *secretsOf) checkThatNoneIsIn(t *testing.T, log string) {
	t.Helper()
	for _, call := range s.logto.Record() {
		for _, name := range []string{"code", "code_verifier", "state", "nonce", "refresh_token", "token", "client_secret"} {
			if value := call.Form.Get(name); value != "" {
				s.add(value)
			}
		}
		if _, credentials, ok := strings.Cut(call.Header.Get("Authorization"), " "); ok {
			s.add(credentials)
		}
	}
	for _, secret := range s.found {
		if len(secret) < 16 {
			t.Errorf("%q is no secret", secret)
		}
		if strings.Contains(log, secret) {
			t.Errorf("the log has %.4s…: %s", secret, log)
		}
	}
}

// C94, for all that comes after the sign-in, and whatever goes wrong with it. Whoever is
// asked echoes what it was sent.
func TestLogsCarryNoSecretsLaterOn(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		const signingKey, otherKey = "webhook-signing-key-one", "webhook-signing-key-two"
		now, change := withClock(logto)
		state := newCommonState()
		secrets := &secretsOf{logto: logto}
		secrets.watch()
		secrets.add(logto.AppSecret(), signingKey, otherKey, strings.Repeat("s", 32), strings.Repeat("o", 32))
		app := start(func(cfg *logtogin.Config) {
			change(cfg)
			cfg.SharedState, cfg.Secrets, cfg.PreviousAppSecrets = state, []string{strings.Repeat("s", 32)}, []string{strings.Repeat("o", 32)}
			cfg.OnWebhook = func(_ *gin.Context, event *logtogin.WebhookEvent) error {
				if event.Event == "Fails" {
					return errors.New("the application fails")
				}
				return nil
			}
		})
		app.router.GET("/api", app.auth.Bearer(ordersAPI, logtogin.Scope("read:orders")), func(*gin.Context) {})
		app.router.POST("/webhook", app.auth.WebhookHandler(signingKey, otherKey))
		echo := func(status int) func(http.ResponseWriter, *http.Request, http.Handler) {
			return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				_ = r.ParseForm()
				text := r.Header.Get("Authorization") + " " + r.Form.Encode()
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="`+text+`"`)
				w.WriteHeader(status)
				_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
			}
		}
		orders := newAPI(t)
		app.calling("/call", func(c *gin.Context, client *http.Client) {
			for _, address := range []string{orders.url, "http://127.0.0.1:1"} {
				if _, err := post(t, client, address, nil); err != nil {
					app.auth.Refuse(c, err)
				}
			}
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		cookie := func() {
			for _, one := range b.ours(app) {
				secrets.add(strings.TrimPrefix(one.Value, "key-"))
			}
		}
		logged := func(what string, do func()) {
			t.Helper()
			before := len(app.log.String())
			do()
			cookie()
			if line := app.log.String()[before:]; !strings.Contains(line, "logtogin: ") {
				t.Errorf("nothing is logged of %s", what)
			}
		}
		path := func(path string) func() { return func() { b.get(app.url + path) } }

		// Refreshes and user info.
		b.token(app, url.Values{"resource": {ordersAPI}})
		cookie()
		logto.Intercept(logtotest.Token, echo(http.StatusInternalServerError))
		now.advance(61 * time.Minute)
		logged("a refresh that fails", path("/profile"))
		now.advance(2 * time.Second)
		logto.Intercept(logtotest.Token, echo(http.StatusOK))
		logged("an answer that has no token", path("/profile"))
		now.advance(2 * time.Second)
		logto.Intercept(logtotest.Token, nil)
		logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["aud"] = "another" })
		logged("a refreshed ID token that is refused", path("/profile"))
		logto.ChangeIDToken(nil)
		now.advance(2 * time.Second)
		b.get(app.url + "/user-info")
		app.router.GET("/refused", app.auth.Guard(), func(c *gin.Context) {
			if _, err := app.auth.UserInfo(c); err != nil {
				app.auth.Refuse(c, err)
			}
		})
		for _, status := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusInternalServerError} {
			logto.Intercept(logtotest.UserInfo, echo(status))
			logged("user info that fails", path("/refused"))
		}
		logto.Intercept(logtotest.UserInfo, nil)
		orders.answer = func(w http.ResponseWriter, r *http.Request, _ int) { echo(http.StatusUnauthorized)(w, r, nil) }
		b.get(app.url + "/call")
		logto.Intercept(logtotest.Token, echo(http.StatusBadGateway))
		now.advance(61 * time.Minute)
		logged("a client without a token", path("/call"))
		logto.Intercept(logtotest.Token, nil)
		now.advance(2 * time.Second)

		// Bearer tokens.
		good, bad := logto.AccessToken(alice(), ordersAPI, "read:orders"), logto.AccessToken(alice(), stockAPI)
		foreign := good[:len(good)-8] + "AAAAAAAA"
		secrets.add(good, bad, foreign)
		for what, lines := range map[string][]string{
			"a token for another API": {"Bearer " + bad}, "a token that was changed": {"Bearer " + foreign}, "a token that is none": {"Bearer " + strings.Split(good, ".")[1]},
			"two tokens": {"Bearer " + good, "Bearer " + bad}, "a token and more": {"Bearer " + good + " x"},
		} {
			logged(what, func() {
				send(t, http.MethodGet, app.url+"/api?access_token="+good, nil, http.Header{"Authorization": lines})
			})
		}
		send(t, http.MethodGet, app.url+"/api", nil, bearerHeader(good))

		// Webhooks and logout tokens.
		hook := func(event, key string) func() {
			return func() {
				body := `{"event":"` + event + `","hookId":"h","createdAt":"2026-01-01T00:00:00Z"}`
				r, err := http.NewRequest(http.MethodPost, app.url+"/webhook", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Logto-Signature-Sha-256", logtotest.WebhookSignature(key, body))
				secrets.add(r.Header.Get("Logto-Signature-Sha-256"))
				newBrowser(t).do(r)
			}
		}
		logged("a webhook that is not signed", hook("PostSignIn", "webhook-signing-key-none"))
		logged("a webhook that the application cannot take", hook("Fails", otherKey))
		token := tokenFor(t, logto, "nobody", "")
		changed, strange := token[:len(token)-8]+"AAAAAAAA", tokenFor(t, logto, "nobody", "")
		secrets.add(token, changed, strange)
		app.logoutToken(token)
		logged("a logout token that comes again", func() { app.logoutToken(token) })
		logged("a logout token that was changed", func() { app.logoutToken(changed) })
		logged("a logout token in JSON", func() { app.logoutRequest(http.MethodPost, "application/json", `{"logout_token":"`+strange+`"}`) })
		state.set(func() { state.down = errors.New("down") })
		logged("a logout token that cannot be told", func() { app.logoutToken(strange) })

		logto.Intercept(logtotest.Revocation, echo(http.StatusBadRequest))
		logged("a revocation that fails", path("/sign-out"))
		logto.Behave()
		secrets.checkThatNoneIsIn(t, app.log.String())
	})
}

// C94, for the sign-in.
func TestLogsCarryNoSecrets(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	secrets := &secretsOf{logto: logto}
	secrets.watch()
	secrets.add(logto.AppSecret())
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, logtotest.DefaultUser())
	secrets.add(callback.Query().Get("code"), callback.Query().Get("state"), b.ours(app)[0].Value)
	b.get(callback.String())
	secrets.add(b.ours(app)[0].Value)
	newBrowser(t).get(callback.String()) // refused
	logto.Intercept(logtotest.Revocation, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"message":"` + r.PostFormValue("token") + `"}`))
	})
	b.get(app.url + "/sign-out")
	log := app.log.String()
	if !strings.Contains(log, "level=WARN") || !strings.Contains(log, "level=INFO") {
		t.Errorf("the log is %q", log)
	}
	secrets.checkThatNoneIsIn(t, log)
}

// RFC 7518, section 3.3: RSA keys have 2048 bits or more.
func TestWeakKeysAreNotUsed(t *testing.T) {
	t.Parallel()
	for bits, accept := range map[int]bool{1024: false, 2048: true} {
		weak, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		logto := logtotest.NewServer(t)
		logto.ChangeKeys(func(set map[string]any) any {
			set["keys"] = append(set["keys"].([]any), map[string]any{
				"kty": "RSA", "kid": "weak", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(weak.N.Bytes()),
			})
			return set
		})
		logto.ChangeIDToken(func(token *logtotest.JWT) {
			token.Header["kid"], token.Header["alg"] = "weak", "RS256"
			token.Algorithm, token.Key = "RS256", weak
		})
		app := newApplication(t, logto, nil)
		b := newBrowser(t)
		if b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); b.isSignedIn(app) != accept {
			t.Errorf("%d bits: signed in: %v", bits, !accept)
		}
	}
}
