package logtogin_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// signingIn drives a sign-in at a provider that misbehaves, to a page with user info.
func signingIn(misbehave func(*logtotest.Server)) func(*testing.T) observed {
	return func(t *testing.T) observed {
		logto := logtotest.NewServer(t)
		misbehave(logto)
		return signedInAt(t, logto, newApplication(t, logto, nil))
	}
}

func signedInAt(t *testing.T, logto *logtotest.Server, app *application) observed {
	t.Helper()
	b := newBrowser(t)
	page := b.signIn(app.url+"/user-info", logtotest.DefaultUser())
	checkRequests(t, logto)
	return observed{page.status, b.isSignedIn(app), logto.Calls()}
}

// checkRequests makes the checks that the suite makes in all of its tests.
func checkRequests(t *testing.T, logto *logtotest.Server) {
	t.Helper()
	for _, call := range logto.Record() {
		if call.Form.Has("access_token") {
			t.Error("an access token is sent as a parameter")
		}
		if call.Endpoint == logtotest.Authorization && !slices.Contains(strings.Fields(call.Form.Get("scope")), "openid") {
			t.Errorf("the scope is %q", call.Form.Get("scope"))
		}
		if call.Endpoint == logtotest.UserInfo && !strings.HasPrefix(call.Header.Get("Authorization"), "Bearer ") {
			t.Error("user info is asked for without a token")
		}
	}
}

func rotate(logto *logtotest.Server, algorithm string) {
	if err := logto.RotateKey(algorithm); err != nil {
		panic(err)
	}
}

// onlyKey makes the provider have a key of this kind and no other; "" leaves it as it is.
func onlyKey(logto *logtotest.Server, algorithm string) {
	if algorithm == "" {
		return
	}
	rotate(logto, algorithm)
	onlyNewestKey(logto)
}

func usingClaimsOfScopes(t *testing.T) observed {
	user := logtotest.DefaultUser()
	user.PhoneNumber, user.Claims = "15550100", map[string]any{"address": map[string]any{"country": "US"}}
	logto := logtotest.NewServer(t, user)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = []string{"email", "phone", "address"} })
	b := newBrowser(t)
	page := b.signIn(app.url+"/user-info", user)
	info := decode(t, page.body)
	for _, name := range []string{"name", "email", "phone_number", "address"} {
		if info[name] == nil {
			t.Errorf("there is no %s in %s", name, page.body)
		}
	}
	checkRequests(t, logto)
	return observed{page.status, b.isSignedIn(app), logto.Calls()}
}

func authenticatingInTheHeader(t *testing.T) observed {
	const secret = `a+b c:d%e/f&g=h"ä` // each of them has to be encoded
	logto := logtotest.NewServer(t)
	registered := logto.Application()
	registered.Secret = secret
	logto.AddApplication(registered)
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		id, password, ok := r.BasicAuth()
		if err := r.ParseForm(); err != nil || !ok || r.PostForm.Has("client_secret") ||
			id != url.QueryEscape(registered.ID) || password != url.QueryEscape(secret) {
			t.Errorf("%v, %q and %q, the form is %v", err, id, password, r.PostForm)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Secrets = []string{strings.Repeat("s", 32)} })
	return signedInAt(t, logto, app)
}

// findingEndpoints: the provider serves its endpoints only where the metadata say.
func findingEndpoints(t *testing.T) observed {
	logto := logtotest.NewServer(t)
	proxy := newProxy(t, logto)
	moved := []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint"}
	logto.ChangeDiscovery(func(document map[string]any) any {
		for _, name := range moved {
			document[name] = proxy.move(document[name].(string))
		}
		return document
	})
	seen := signedInAt(t, logto, newApplication(t, logto, nil))
	if asked := proxy.asked(); len(asked) != len(moved) {
		t.Errorf("%v were asked for where they are", asked)
	}
	return seen
}

func findingKeys(t *testing.T) observed {
	logto := logtotest.NewServer(t)
	proxy := newProxy(t, logto)
	logto.ChangeDiscovery(func(document map[string]any) any {
		document["jwks_uri"] = proxy.move(document["jwks_uri"].(string))
		return document
	})
	seen := signedInAt(t, logto, newApplication(t, logto, nil))
	if asked := proxy.asked(); len(asked) != 1 || logto.Calls().Keys != 1 {
		t.Errorf("%v were asked for where they are, %d calls of the usual place", asked, logto.Calls().Keys-len(asked))
	}
	return seen
}

// proxy is where a provider has moved endpoints to.
type proxy struct {
	t      *testing.T
	logto  *logtotest.Server
	server *httptest.Server
	log    *logBuffer
}

func newProxy(t *testing.T, logto *logtotest.Server) *proxy {
	t.Helper()
	p := &proxy{t: t, logto: logto, log: &logBuffer{}}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.server.Close)
	return p
}

func (p *proxy) move(address string) string {
	return p.server.URL + "/moved" + strings.TrimPrefix(address, p.logto.Endpoint())
}

func (p *proxy) asked() []string { return strings.Fields(p.log.String()) }

func (p *proxy) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/moved")
	_, _ = p.log.Write([]byte(path + "\n"))
	if strings.HasSuffix(path, "/auth") { // a browser goes there
		http.Redirect(w, r, p.logto.Endpoint()+path+"?"+r.URL.RawQuery, http.StatusFound)
		return
	}
	request, err := http.NewRequestWithContext(r.Context(), r.Method, p.logto.Endpoint()+path, r.Body)
	if err != nil {
		p.t.Error(err)
		return
	}
	request.Header = r.Header.Clone()
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		p.t.Error(err)
		return
	}
	defer response.Body.Close()
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

func rotatingBeforeSigning(t *testing.T) observed {
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	if err := app.auth.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		onlyKey(logto, "ES384")
		next.ServeHTTP(w, r)
	})
	seen := signedInAt(t, logto, app)
	if calls := logto.Calls(); calls.Keys != 2 {
		t.Errorf("%d calls for keys", calls.Keys)
	}
	return seen
}

func rotatingBetweenSignIns(t *testing.T) observed {
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	if first := signedInAt(t, logto, app); !signsIn.holds(first) {
		t.Errorf("the first sign-in: %s", first)
	}
	onlyKey(logto, "ES384")
	logto.ResetCalls()
	return signedInAt(t, logto, app)
}

// signingOut drives a sign-out at Logto, which tells the application of it and sends the
// browser back with the state that change makes of the one it was given.
func signingOut(change func(state string) string) func(*testing.T) observed {
	return func(t *testing.T) observed {
		const state = "a state of the application's"
		logto := logtotest.NewServer(t)
		app := told(t, logto, nil)
		logto.RegisterPostLogoutRedirectURIs(app.url + "/")
		app.router.GET("/leave", func(c *gin.Context) {
			app.auth.SignOut(c, logtogin.SignOutOptions{PostLogoutRedirect: "/", State: state, IDTokenHint: true})
		})
		var idToken string
		logto.ChangeTokenAnswer(func(answer map[string]any) any {
			idToken = answer["id_token"].(string)
			return answer
		})
		logto.Intercept(logtotest.EndSession, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			if hint := r.Form.Get("id_token_hint"); hint != idToken || hint == "" {
				t.Errorf("the hint %q is not the ID token %q", hint, idToken)
			}
			if target := r.Form.Get("post_logout_redirect_uri"); target != app.url+"/" {
				t.Errorf("the browser is to be sent to %q", target)
			}
			if given := r.Form.Get("state"); given != state {
				t.Errorf("the state is %q", given)
			}
			if r.Form.Set("state", change(state)); change(state) == "" {
				r.Form.Del("state")
			}
			next.ServeHTTP(w, r)
		})
		b := newBrowser(t)
		b.signIn(app.url+"/user-info", logtotest.DefaultUser())
		old := b.ours(app)
		page := b.submit(b.get(app.url+"/leave"), url.Values{"logout": {"yes"}})
		if page.url.Path != "/" || page.url.Query().Get("state") != change(state) || page.body != "not signed in" {
			t.Errorf("the browser is at %s: %s", page.url, page.body)
		}
		if deliveries := logto.Deliveries(); len(deliveries) != 1 || deliveries[0].Status != http.StatusOK {
			t.Errorf("the logout token: %+v", deliveries)
		}
		if len(b.ours(app)) > 0 || signedInWith(t, app, old...) {
			t.Errorf("the browser has %v, the old cookies are good: %v", b.ours(app), signedInWith(t, app, old...))
		}
		seen := observed{page.status, b.isSignedIn(app), logto.Calls()}
		if again := b.signIn(app.url+"/profile", logtotest.DefaultUser()); again.status != http.StatusOK || !b.isSignedIn(app) {
			t.Errorf("another sign-in: %d %s", again.status, again.body)
		}
		return seen
	}
}

// logoutTests: RP-initiated and back-channel logout.
func logoutTests() map[string]conformanceTest {
	copes := criterion{"sends the request, answers the logout token with 200, copes with the redirect", func(o observed) bool {
		return o.status == http.StatusOK && !o.signedIn && o.calls.EndSession == 1
	}}
	answers200 := criterion{"answers exactly 200, and the session is gone", func(o observed) bool { return o.status == http.StatusOK && !o.signedIn }}
	answers400 := criterion{"answers exactly 400", func(o observed) bool { return o.status == http.StatusBadRequest && o.signedIn }}
	const initiated, backchannel = "oidcc-client-test-rp-init-logout", "oidcc-client-test-rp-backchannel-rpinitlogout"
	tests := map[string]conformanceTest{
		initiated:                  {"ends the session, sends a logout token and sends the browser back", copes, signingOut(func(state string) string { return state }), ""},
		initiated + "-other-state": {"the same, with _INVALID appended to `state`", copes, signingOut(func(state string) string { return state + "_INVALID" }), ""},
		initiated + "-no-state":    {"the same, without `state`", copes, signingOut(func(string) string { return "" }), ""},
		backchannel:                {"sends a good logout token", answers200, receivingLogoutToken(func(*logtotest.JWT) {}), ""},
		backchannel + "-alg-none":  {"sends `alg` none without a signature", answers400, receivingLogoutToken(unsigned("none")), ""},
		backchannel + "-no-event":  {"leaves `events` out", answers400, receivingLogoutToken(withoutClaim("events")), ""},
		backchannel + "-wrong-event": {"has only another event in `events`", answers400, receivingLogoutToken(func(token *logtotest.JWT) {
			token.Claims["events"] = map[string]any{"http://schemas.openid.net/event/foobar": map[string]any{}}
		}), ""},
		backchannel + "-with-nonce": {"adds `nonce`", answers400, receivingLogoutToken(func(token *logtotest.JWT) { token.Claims["nonce"] = "nonce" }), ""},
		backchannel + "-wrong-aud":  {"appends INVALID to `aud`", answers400, receivingLogoutToken(appended("aud", "INVALID")), ""},
		backchannel + "-wrong-iss":  {"appends INVALID to `iss`", answers400, receivingLogoutToken(appended("iss", "INVALID")), ""},
		backchannel + "-wrong-alg": {"signs by RS256, with a key of its own, where ID tokens are signed by ES384", answers400, byAnotherAlgorithm,
			"Answered with 200. The suite registers an algorithm for each client; Logto has none to register and signs with its newest key, of whatever type. " +
				"To this client the token is a genuine one from around a rotation of keys. An algorithm that does not fit the key is refused, and so are HMAC and none."},
	}
	return tests
}

// receivingLogoutToken lets the provider send a logout token to an application where a
// user is signed in.
func receivingLogoutToken(change func(*logtotest.JWT)) func(*testing.T) observed {
	return func(t *testing.T) observed {
		logto := logtotest.NewServer(t)
		return receivedLogoutToken(t, logto, change)
	}
}

func receivedLogoutToken(t *testing.T, logto *logtotest.Server, change func(*logtotest.JWT)) observed {
	t.Helper()
	app := told(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/user-info", alice())
	sid := b.sidOf(app)
	logto.ChangeLogoutToken(func(token *logtotest.JWT) {
		token.Claims["ignored_claim"] = "ignored"
		change(token)
	})
	token := tokenFor(t, logto, idOf(t, logto, "alice"), sid)
	answer := app.logoutRequest(http.MethodPost, "application/x-www-form-urlencoded",
		url.Values{"logout_token": {token}, "ignored_parameter": {"ignored"}}.Encode())
	if answer.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the answer may be stored: %v", answer.header)
	}
	return observed{answer.status, b.isSignedIn(app), logto.Calls()}
}

// byAnotherAlgorithm: the provider has two keys, and signs logout tokens by the one that it
// does not sign ID tokens by.
func byAnotherAlgorithm(t *testing.T) observed {
	logto := logtotest.NewServer(t)
	rotate(logto, "RS256")
	var other logtotest.JWT
	logto.ChangeLogoutToken(func(token *logtotest.JWT) { other = *token })
	tokenFor(t, logto, idOf(t, logto, "alice"), "")
	rotate(logto, "ES384")
	return receivedLogoutToken(t, logto, func(token *logtotest.JWT) {
		token.Header["alg"], token.Header["kid"] = other.Header["alg"], other.Header["kid"]
		token.Algorithm, token.Key = other.Algorithm, other.Key
	})
}

// refreshTests: the ID token that comes with a refresh.
func refreshTests() map[string]conformanceTest {
	usesNewToken := criterion{"calls user info with the new access token", func(o observed) bool {
		return o.status == http.StatusOK && o.calls.Token == 1 && o.calls.UserInfo == 1
	}}
	neverUsesNewToken := criterion{"never calls user info with the new access token", func(o observed) bool {
		return o.status >= http.StatusBadRequest && o.calls.Token > 0 && o.calls.UserInfo == 0
	}}
	const name = "oidcc-client-test-refresh-token"
	return map[string]conformanceTest{
		name:                     {"is honest", usesNewToken, refreshing(func(*logtotest.JWT) {}), ""},
		name + "-invalid-issuer": {"appends 1 to `iss` of the refreshed ID token", neverUsesNewToken, refreshing(appended("iss", "1")), ""},
		name + "-invalid-sub":    {"appends 1 to `sub` of the refreshed ID token", neverUsesNewToken, refreshing(appended("sub", "1")), ""},
		name + "-invalid-aud":    {"appends 1 to `aud` of the refreshed ID token", neverUsesNewToken, refreshing(appended("aud", "1")), ""},
		name + "-invalid-azp": {"adds a foreign `azp` to the refreshed ID token", neverUsesNewToken, refreshing(func(token *logtotest.JWT) {
			token.Claims["azp"] = "another"
		}), ""},
	}
}

// refreshing lets the tokens of a session expire and asks for user info, of a provider
// that changes the refreshed ID tokens.
func refreshing(change func(*logtotest.JWT)) func(*testing.T) observed {
	return func(t *testing.T) observed {
		logto := logtotest.NewServer(t)
		now, configure := withClock(logto)
		app := newApplication(t, logto, configure)
		b := newBrowser(t)
		b.signIn(app.url+"/user-info", logtotest.DefaultUser())
		now.advance(61 * time.Minute)
		logto.ChangeIDToken(change)
		var tokens []string
		logto.ChangeTokenAnswer(func(answer map[string]any) any {
			tokens = append(tokens, answer["access_token"].(string))
			return answer
		})
		logto.ResetCalls()
		page := send(t, http.MethodGet, app.url+"/user-info", b.ours(app), http.Header{"Accept": {"application/json"}, "Sec-Fetch-Mode": {"cors"}})
		checkRequests(t, logto)
		for _, call := range logto.Record() {
			if call.Endpoint == logtotest.UserInfo && call.Header.Get("Authorization") != "Bearer "+tokens[0] {
				t.Error("user info is asked for with another token than the new one")
			}
		}
		signedIn := signedInWith(t, app, b.ours(app)...)
		return observed{page.status, signedIn, logto.Calls()}
	}
}
