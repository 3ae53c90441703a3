package logtotest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	answer := b.tokens()
	b.userInfo(answer["access_token"].(string))
	b.get(b.server.Endpoint() + "/oidc/.well-known/openid-configuration")
	b.get(b.server.Endpoint() + "/oidc/jwks")
	b.post(b.server.Endpoint()+"/oidc/token/revocation", nil)
	b.signOut(nil)
	want := logtotest.Calls{Discovery: 1, Keys: 1, Authorization: 1, Token: 1, UserInfo: 1, Revocation: 1, EndSession: 1}
	if got := b.server.Calls(); got != want {
		t.Errorf("got %+v", got)
	}
	b.server.ResetCalls()
	if got := b.server.Calls(); got != (logtotest.Calls{}) {
		t.Errorf("got %+v", got)
	}
}

func TestAnInterceptedEndpoint(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	keys := b.server.Endpoint() + "/oidc/jwks"
	b.server.Intercept(logtotest.Keys, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("down") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-Passed", "on")
		next.ServeHTTP(w, r)
	})
	if got := b.get(keys + "?down"); got.status != http.StatusServiceUnavailable {
		t.Errorf("down: %d", got.status)
	}
	if got := b.get(keys); got.status != http.StatusOK || got.header.Get("X-Passed") != "on" {
		t.Errorf("passed on: %d", got.status)
	}
	b.server.Intercept(logtotest.Keys, nil)
	if got := b.get(keys + "?down"); got.status != http.StatusOK {
		t.Errorf("honest again: %d", got.status)
	}
	if got := b.server.Calls().Keys; got != 3 {
		t.Errorf("%d calls", got)
	}
}

func TestAnswersThatAreChanged(t *testing.T) {
	t.Parallel()
	add := func(document map[string]any) any {
		document["changed"] = true
		return document
	}
	b := newBrowser(t, logtotest.NewServer(t))
	discovery := func() response { return b.get(b.server.Endpoint() + "/oidc/.well-known/openid-configuration") }
	keys := func() response { return b.get(b.server.Endpoint() + "/oidc/jwks") }
	token := func() response {
		attempt := b.newSignIn()
		return b.token(codeForm(b.callback(attempt).Get("code"), attempt))
	}
	userInfo := func() response {
		return b.userInfo(b.tokens()["access_token"].(string))
	}
	for name, test := range map[string]struct {
		change func(func(map[string]any) any)
		get    func() response
	}{
		"discovery": {b.server.ChangeDiscovery, discovery},
		"keys":      {b.server.ChangeKeys, keys},
		"token":     {b.server.ChangeTokenAnswer, token},
		"user info": {b.server.ChangeUserInfo, userInfo},
	} {
		t.Run(name, func(t *testing.T) {
			test.change(add)
			if got := decode(t, test.get().body); got["changed"] != true || len(got) < 2 {
				t.Errorf("got %v", got)
			}
			test.change(func(map[string]any) any { return json.RawMessage("{") })
			if got := test.get(); got.body != "{" || got.status != http.StatusOK {
				t.Errorf("got %v", got)
			}
			test.change(nil)
			if got := decode(t, test.get().body); got["changed"] != nil {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestACallbackThatIsChanged(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.ChangeCallback(func(parameters url.Values) url.Values {
		parameters.Del("iss")
		return parameters
	})
	if got := b.callback(b.newSignIn()); got.Has("iss") || got.Get("code") == "" {
		t.Errorf("got %v", got)
	}
	b.server.ChangeCallback(nil)
	if got := b.callback(b.newSignIn()); !got.Has("iss") {
		t.Errorf("got %v", got)
	}
}

func TestAnIDTokenThatIsChanged(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	for name, test := range map[string]struct {
		change func(*logtotest.JWT)
		want   func(t *testing.T, token string)
	}{
		"in its claims": {func(token *logtotest.JWT) {
			token.Claims["iss"] = "https://evil.example"
			token.Claims["exp"] = token.Claims["iat"]
		}, func(t *testing.T, token string) {
			if _, claims := decodeToken(t, token); claims["iss"] != "https://evil.example" || claims["exp"] != claims["iat"] {
				t.Errorf("claims %v", claims)
			}
		}},
		"in its header": {func(token *logtotest.JWT) { delete(token.Header, "kid") }, func(t *testing.T, token string) {
			if header, _ := decodeToken(t, token); header["kid"] != nil || header["alg"] != "ES384" {
				t.Errorf("header %v", header)
			}
		}},
		"to have no signature": {func(token *logtotest.JWT) {
			token.Header["alg"], token.Algorithm = "none", "none"
		}, func(t *testing.T, token string) {
			if !strings.HasSuffix(token, ".") {
				t.Errorf("token %s", token)
			}
		}},
		"to be signed with a secret": {func(token *logtotest.JWT) {
			token.Header["alg"], token.Algorithm, token.Key = "HS256", "HS256", []byte("secret")
		}, func(t *testing.T, token string) {
			header, claims := decodeToken(t, token)
			if want, err := logtotest.SignToken("HS256", []byte("secret"), header, claims); err != nil || token != want {
				t.Errorf("token %s, want %s", token, want)
			}
		}},
		"as a whole": {func(token *logtotest.JWT) { token.Raw = "not a token" }, func(t *testing.T, token string) {
			if token != "not a token" {
				t.Errorf("token %s", token)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b.server.ChangeIDToken(test.change)
			test.want(t, b.tokens()["id_token"].(string))
		})
	}
	b.server.ChangeIDToken(func(token *logtotest.JWT) { token.Key = "unusable" })
	attempt := b.newSignIn()
	b.token(codeForm(b.callback(attempt).Get("code"), attempt)).wantError(t, http.StatusInternalServerError, "server_error")
	b.server.ChangeIDToken(nil)
	if header, _ := decodeToken(t, b.tokens()["id_token"]); header["kid"] == nil {
		t.Errorf("header %v", header)
	}
}

func TestHooksMayBeSetAndMayCallTheServerWhileRequestsRun(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	var running sync.WaitGroup
	for range 8 {
		b := newBrowser(t, server)
		running.Go(func() { b.tokens() })
		running.Go(func() {
			server.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["calls"] = server.Calls().Token })
			server.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				server.Intercept(logtotest.Token, nil)
				next.ServeHTTP(w, r)
			})
			if err := server.RotateKey("ES256"); err != nil {
				t.Error(err)
			}
			server.AddUser(logtotest.User{Username: "bob"})
		})
	}
	running.Wait()
}

// An application that a test does not close can send requests after the test has ended.
func TestAClosedServerAnswersNoApplication(t *testing.T) {
	t.Parallel()
	server, err := logtotest.Start()
	if err != nil {
		t.Fatal(err)
	}
	client := server.Config("https://app.example.com").HTTPClient
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				response, err := client.Get(server.Issuer() + "/jwks")
				if err != nil {
					return
				}
				_ = response.Body.Close()
			}
		})
	}
	server.Close()
	asking.Wait()
	if response, err := client.Get(server.Issuer() + "/jwks"); err == nil {
		_ = response.Body.Close()
		t.Error("it answers")
	}
}

func TestCloseEndsWhatIsGoingOn(t *testing.T) {
	t.Parallel()
	server, err := logtotest.Start()
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan struct{}), make(chan struct{})
	server.Intercept(logtotest.Token, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		close(started)
		<-r.Context().Done()
		close(ended)
	})
	failed := make(chan error, 1)
	go func() {
		answer, err := http.PostForm(server.Endpoint()+"/oidc/token", url.Values{"a": {"b"}})
		if err == nil {
			err = answer.Body.Close()
		}
		failed <- err
	}()
	<-started
	server.Close()
	server.Close()
	select {
	case <-ended:
	default:
		t.Error("a handler is still running")
	}
	if err := <-failed; err == nil {
		t.Error("the call got an answer")
	}
	fresh, err := logtotest.Start(logtotest.User{Username: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	fresh.Close()
}

func TestEndpointsHaveTheNamesOfTheirConstants(t *testing.T) {
	t.Parallel()
	calls := reflect.TypeFor[logtotest.Calls]()
	for i := range calls.NumField() {
		if got, want := logtotest.Endpoint(i).String(), calls.Field(i).Name; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, unknown := range []logtotest.Endpoint{-1, logtotest.EndSession + 1} {
		if got, want := unknown.String(), fmt.Sprintf("Endpoint(%d)", int(unknown)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if logtotest.EndSession.String() != "EndSession" || logtotest.Discovery.String() != "Discovery" {
		t.Error("Calls has another order than the constants")
	}
}

func TestCallsAreRecorded(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	answer := b.tokens()
	b.userInfo(answer["access_token"].(string))
	b.token(refreshForm("garbage"))
	record := b.server.Record()
	if len(record) != 4 {
		t.Fatalf("%d calls: %v", len(record), record)
	}
	if call := record[0]; call.Endpoint != logtotest.Authorization || call.Status != http.StatusSeeOther || call.Form.Get("code_challenge_method") != "S256" {
		t.Errorf("%+v", call)
	}
	if call := record[1]; call.Endpoint != logtotest.Token || call.Status != http.StatusOK || call.Form.Get("grant_type") != "authorization_code" || call.Header.Get("Authorization") == "" {
		t.Errorf("%+v", call)
	}
	if call := record[3]; call.Status != http.StatusBadRequest || call.Form.Get("refresh_token") != "garbage" {
		t.Errorf("%+v", call)
	}
	if b.server.ResetCalls(); len(b.server.Record()) > 0 {
		t.Error("the record is not emptied")
	}
}

// A test that has an answer counts the calls at once, while the handler may still be running.
func TestACallIsRecordedBeforeItsAnswerLeaves(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	mayReturn := make(chan struct{})
	server.Intercept(logtotest.Keys, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusTeapot)
		w.(http.Flusher).Flush()
		<-mayReturn
	})
	for name, client := range map[string]*http.Client{"over the network": {Transport: &http.Transport{DisableKeepAlives: true}}, "without a socket": server.Client()} {
		server.ResetCalls()
		response, err := client.Get(server.Endpoint() + "/oidc/jwks")
		if err != nil {
			t.Fatal(err)
		}
		if record := server.Record(); len(record) != 1 || record[0].Status != http.StatusTeapot {
			t.Errorf("%s: %+v", name, record)
		}
		defer func() { _ = response.Body.Close() }()
	}
	close(mayReturn)
}
