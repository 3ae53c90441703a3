package logtogin_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// C41: there is no JWE here, so that no bomb in one goes off.
func TestEncryptedTokensAreNotOpened(t *testing.T) {
	t.Parallel()
	encode := base64.RawURLEncoding.EncodeToString
	for name, header := range map[string]string{
		"by a password, a thousand million times": `{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":1000000000,"p2s":"AAAA"}`,
		"compressed":               `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`,
		"with a key of no length":  `{"alg":"A128KW","enc":"A128GCM"}`,
		"as a signed one of three": `{"alg":"dir","enc":"A256GCM","kid":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeIDToken(func(token *logtotest.JWT) {
				token.Raw = encode([]byte(header)) + ".." + encode(make([]byte, 12)) + "." + encode(make([]byte, 1000)) + "." + encode(make([]byte, 16))
				if strings.Contains(name, "three") {
					token.Raw = encode([]byte(header)) + ".e30.AAAA"
				}
			})
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			if page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); page.status != http.StatusBadRequest || b.isSignedIn(app) {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
	}
}

// C43, C44: keys change while the application runs.
func TestKeysCanRotateWithoutARestart(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now := newClock()
	logto.SetNow(now.Now)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Now = now.Now })
	for i, algorithm := range []string{"ES384", "RS256", "ES256", "EdDSA"} {
		if i > 0 {
			if err := logto.RotateKey(algorithm); err != nil {
				t.Fatal(err)
			}
		}
		b := newBrowser(t)
		if page := b.signIn(app.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusOK {
			t.Errorf("%s: %d %s", algorithm, page.status, page.body)
		}
	}
	if calls := logto.Calls(); calls.Keys != 4 {
		t.Errorf("%d fetches of the keys", calls.Keys)
	}
	// A key that is withdrawn is not believed for long.
	var old *logtotest.JWT
	logto.ChangeIDToken(func(token *logtotest.JWT) { old = token })
	newBrowser(t).signIn(app.url+"/profile", logtotest.DefaultUser())
	kid, key, algorithm := old.Header["kid"], old.Key, old.Algorithm
	logto.ChangeIDToken(func(token *logtotest.JWT) {
		token.Header["kid"], token.Header["alg"], token.Key, token.Algorithm = kid, algorithm, key, algorithm
	})
	for range 2 {
		if err := logto.RotateKey("ES384"); err != nil {
			t.Fatal(err)
		}
	}
	now.advance(11 * time.Minute)
	if page := newBrowser(t).signIn(app.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusBadRequest {
		t.Errorf("a token of a withdrawn key: %d", page.status)
	}
}

// C47: two tenants whose keys have the same kid.
func TestKeysOfOneTenantSignNothingForAnother(t *testing.T) {
	t.Parallel()
	one, two := logtotest.NewServer(t), logtotest.NewServer(t)
	sameKid := func(set map[string]any) any {
		set["keys"].([]any)[0].(map[string]any)["kid"] = "the same"
		return set
	}
	one.ChangeKeys(sameKid)
	two.ChangeKeys(sameKid)
	var ofTwo *logtotest.JWT
	two.ChangeIDToken(func(token *logtotest.JWT) { token.Header["kid"] = "the same"; ofTwo = token })
	first, second := newApplication(t, one, nil), newApplication(t, two, nil)
	if page := newBrowser(t).signIn(second.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusOK {
		t.Fatalf("%d %s", page.status, page.body)
	}
	for ofAnother, status := range map[bool]int{false: http.StatusOK, true: http.StatusBadRequest} {
		one.ChangeIDToken(func(token *logtotest.JWT) {
			token.Header["kid"] = "the same"
			if ofAnother {
				token.Key = ofTwo.Key
			}
		})
		if page := newBrowser(t).signIn(first.url+"/profile", logtotest.DefaultUser()); page.status != status {
			t.Errorf("of another %v: %d %s", ofAnother, page.status, page.body)
		}
	}
}

// C51.
func TestCertificatesAreAlwaysChecked(t *testing.T) {
	t.Parallel()
	for field := range reflect.TypeFor[logtogin.Config]().Fields() {
		if name := strings.ToLower(field.Name); strings.Contains(name, "insecure") || strings.Contains(name, "skip") || strings.Contains(name, "tls") {
			t.Errorf("there is an option %s", field.Name)
		}
	}
	asked := false
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	cfg := goodConfig()
	cfg.Endpoint = server.URL
	auth, err := logtogin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, auth)
	if err := auth.Ready(t.Context()); !errors.Is(err, logtogin.ErrProviderUnavailable) || asked {
		t.Errorf("%v, asked %v", err, asked)
	}
}

// C55: what is empty is nobody and nothing.
func TestEmptyClaimsAreNobodys(t *testing.T) {
	t.Parallel()
	for name, sub := range map[string]any{"empty": "", "null": nil, "a number": 0, "a list": []any{}, "an object": map[string]any{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["sub"] = sub })
			app := newApplication(t, logto, nil)
			if page := newBrowser(t).signIn(app.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusBadRequest {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
	}
}

// C69: one session in a hundred requests, and two users at the same time.
func TestRequestsAtTheSameTimeDoNotMix(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now := newClock()
		logto.SetNow(now.Now)
		app := start(func(cfg *logtogin.Config) { cfg.Now, cfg.IdleTimeout = now.Now, time.Hour })
		cookies := map[string]string{}
		for _, name := range []string{"bob", "carol"} {
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logto.AddUser(logtotest.User{Username: name, Password: "secret"}))
			cookies[name] = header(b.ours(app)...)
		}
		now.advance(10 * time.Minute) // so that each request writes
		var asking sync.WaitGroup
		for range 50 {
			for name, cookie := range cookies {
				asking.Go(func() {
					if w := app.ask("/", cookie); w.Body.String() != "signed in as "+name {
						t.Errorf("%s: %s", name, w.Body)
					}
				})
			}
		}
		asking.Wait()
	})
}

// C81.
func TestALongIDTokenIsNoHint(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		claim string
		hint  bool
	}{"short": {"", true}, "long": {strings.Repeat("x", 2000), false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["custom"] = test.claim })
			app := newApplication(t, logto, nil)
			var address string
			app.router.GET("/leave", func(c *gin.Context) {
				var err error
				if address, err = app.auth.SignOutURL(c, logtogin.SignOutOptions{IDTokenHint: true}); err != nil {
					t.Error(err)
				}
			})
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			b.get(app.url + "/leave")
			if strings.Contains(address, "id_token_hint=") != test.hint || !strings.Contains(address, "client_id="+logto.AppID()) || len(address) > 2000 {
				t.Errorf("%d bytes: %.200s", len(address), address)
			}
		})
	}
}

// C86: nothing behind a guard runs when it refuses.
func TestWhatIsBehindAGuardDoesNotRun(t *testing.T) {
	t.Parallel()
	store := newServerStore()
	app := inStore(t, logtotest.NewServer(t), store, func(cfg *logtogin.Config) {
		cfg.OnError = func(*gin.Context, error) {} // does not abort, and need not
	})
	ran := 0
	app.router.Any("/behind", app.auth.Guard(), func(*gin.Context) { ran++ }, func(*gin.Context) { ran++ })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	mine := b.ours(app)
	foreign := http.Header{"Sec-Fetch-Site": {"cross-site"}}
	for name, page := range map[string]func() page{
		"a visitor's page":   func() page { return send(t, http.MethodGet, app.url+"/behind", nil, nil) },
		"a visitor's script": func() page { return send(t, http.MethodGet, app.url+"/behind", nil, http.Header{"Accept": {"*/*"}}) },
		"a visitor's form":   func() page { return send(t, http.MethodPost, app.url+"/behind", nil, nil) },
		"a foreign form":     func() page { return send(t, http.MethodPost, app.url+"/behind", mine, foreign) },
		"a foreign deletion": func() page { return send(t, http.MethodDelete, app.url+"/behind", mine, foreign) },
		"a store that is down": func() page {
			store.set(func() { store.down = errors.New("down") })
			return send(t, http.MethodGet, app.url+"/behind", mine, nil)
		},
	} {
		if got := page(); got.status < 300 || ran > 0 {
			t.Errorf("%s: %d, ran %d times", name, got.status, ran)
		}
		store.set(func() { store.down = nil })
	}
	if page := send(t, http.MethodGet, app.url+"/behind", mine, nil); page.status != http.StatusOK || ran != 2 {
		t.Errorf("the user: %d, ran %d times", page.status, ran)
	}
}

// C91, C92, and C90: neither addresses nor identities come from headers.
func TestHeadersSayNothingOfIdentityOrAddress(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	forged := http.Header{"Accept": {"application/json"}, "Sec-Fetch-Mode": nil}
	for _, name := range []string{
		"X-Forwarded-User", "X_Forwarded_User", "X-Auth-Request-User", "X-Remote-User", "Remote-User", "X-User-Id", "X-Forwarded-Email", "Authorization",
		"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Uri", "X-Forwarded-Prefix", "X-Original-Url", "X-Rewrite-Url", "Forwarded",
	} {
		forged[name] = []string{"alice"}
	}
	forged["X-Original-Url"] = []string{"/callback"}
	for _, path := range []string{"/profile", "/profile?x=/sign-in", "/profile/../profile", "/profile;/callback", "/profile#/sign-in"} {
		page := send(t, http.MethodGet, app.url+path, nil, forged)
		if page.status != http.StatusUnauthorized && page.status != http.StatusNotFound && page.status != http.StatusMovedPermanently {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
	}
}

// C95.
func TestNoTokenIsInWhatHandlersShow(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	var tokens []string
	logto.ChangeTokenAnswer(func(answer map[string]any) any {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			tokens = append(tokens, answer[name].(string))
		}
		return answer
	})
	app := newApplication(t, logto, nil)
	app.router.GET("/all", app.auth.Guard(), func(c *gin.Context) {
		claims, _ := logtogin.ClaimsFrom(c)
		info, err := app.auth.UserInfo(c)
		if err != nil {
			t.Error(err)
		}
		c.String(http.StatusOK, "%+v %#v %v %+v %s", claims, *claims, info, c.Keys, asJSON(t, claims, info))
	})
	b := newBrowser(t)
	page := b.signIn(app.url+"/all", logtotest.DefaultUser())
	if page.status != http.StatusOK || len(tokens) != 3 {
		t.Fatalf("%d, %d tokens", page.status, len(tokens))
	}
	if i := slices.IndexFunc(tokens, func(token string) bool { return strings.Contains(page.body, token) }); i >= 0 {
		t.Errorf("token %d is in %s", i, page.body)
	}
}

// C95.
func TestNoTokenIsInAnErrorThatIsWrittenOut(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	var tokens []string
	logto.ChangeTokenAnswer(func(answer map[string]any) any {
		for _, name := range []string{"access_token", "refresh_token", "id_token"} {
			tokens = append(tokens, answer[name].(string))
		}
		return answer
	})
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.RevalidateAfter = -1; cfg.Resources = []string{ordersAPI} })
	logto.AddResource(logtotest.Resource{Indicator: ordersAPI})
	app.router.GET("/errors", app.auth.Guard(), func(c *gin.Context) {
		_, err := app.auth.AccessToken(c, logtogin.Resource(ordersAPI))
		var written bytes.Buffer
		slog.New(slog.NewJSONHandler(&written, nil)).Error("refused", "error", err, "within", struct{ Err error }{err})
		c.JSON(http.StatusOK, gin.H{"error": err, "text": fmt.Sprintf("%v %+v %#v", err, err, err), "log": written.String()})
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for _, code := range []string{"invalid_grant", "invalid_client", "access_denied"} {
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error":%q}`, code)
		})
		page := b.get(app.url + "/errors")
		if page.status != http.StatusOK || len(tokens) < 3 {
			t.Fatalf("%s: got %d, %d tokens", code, page.status, len(tokens))
		}
		for i, token := range tokens {
			if strings.Contains(page.body, token) {
				t.Errorf("%s: token %d is in %s", code, i, page.body)
			}
		}
		if code == "invalid_grant" {
			b = newBrowser(t)
			logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
		}
	}
}

func asJSON(t *testing.T, values ...any) string {
	t.Helper()
	raw, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
