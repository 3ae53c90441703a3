package oidcprovider_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"html"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/integration/webtest"
)

const (
	postLogoutRedirectURI = "http://127.0.0.1:8080/"
	apiIndicator          = "https://api.example.test/"

	wait = time.Minute
)

var api = oidcprovider.Resource{Indicator: apiIndicator, Scopes: []string{"read:things", "write:things"}}

var client = oidcprovider.Client{PostLogoutRedirectURIs: []string{postLogoutRedirectURI}}

// browser stops before the address of an application.
type browser struct {
	*webtest.Browser
	t        *testing.T
	provider *oidcprovider.Provider
}

func newBrowser(t *testing.T, provider *oidcprovider.Provider) *browser {
	t.Helper()
	b := &browser{webtest.New(t), t, provider}
	b.Sends = nil // errors are read as JSON
	b.Stops = func(u *url.URL) bool { return !strings.HasPrefix(u.String(), provider.Endpoint()+"/") }
	return b
}

type page = webtest.Page

func (b *browser) read(response *http.Response, err error) page {
	b.t.Helper()
	p, err := webtest.Read(response, err)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// call sends a request of the application, which is not the browser's: without
// cookies and with the application's credentials.
func (b *browser) call(path string, form url.Values) (int, map[string]any) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost,
		b.provider.Issuer()+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(oidcprovider.DefaultClientID, oidcprovider.DefaultClientSecret)
	return b.answer(req)
}

// callPublic sends a request of a public client, which has no credentials.
func (b *browser) callPublic(form url.Values) (int, map[string]any) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost,
		b.provider.Issuer()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.answer(req)
}

func (b *browser) userInfo(accessToken string) (int, map[string]any) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.provider.Issuer()+"/me", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+accessToken)
	return b.answer(req)
}

func (b *browser) answer(req *http.Request) (int, map[string]any) {
	b.t.Helper()
	application := &http.Client{Transport: b.Client.Transport, Timeout: wait}
	p := b.read(application.Do(req))
	if p.Body == "" {
		return p.Status, nil
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(p.Body), &body); err != nil {
		b.t.Fatalf("%s answered %d with %q", req.URL, p.Status, p.Body)
	}
	return p.Status, body
}

// request is an authorization request and what has to be kept for its answer.
type request struct {
	address  string
	state    string
	nonce    string
	verifier string
}

func (b *browser) newRequest(override url.Values) request {
	r := request{state: rand.Text(), nonce: rand.Text(), verifier: rand.Text() + rand.Text()}
	challenge := sha256.Sum256([]byte(r.verifier))
	query := url.Values{
		"client_id":             {oidcprovider.DefaultClientID},
		"redirect_uri":          {oidcprovider.DefaultRedirectURI},
		"response_type":         {"code"},
		"scope":                 {"openid offline_access profile email custom_data roles read:things"},
		"resource":              {apiIndicator},
		"prompt":                {"consent"},
		"state":                 {r.state},
		"nonce":                 {r.nonce},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	maps.Copy(query, override)
	maps.DeleteFunc(query, func(_ string, values []string) bool { return len(values) == 0 })
	r.address = b.provider.Issuer() + "/auth?" + query.Encode()
	return r
}

var credentials = url.Values{
	"username": {oidcprovider.DefaultUsername},
	"password": {oidcprovider.DefaultPassword},
}

// signIn goes through an authorization request and exchanges the code.
func (b *browser) signIn(override url.Values) (request, url.Values, map[string]any) {
	b.t.Helper()
	r := b.newRequest(override)
	p := b.Get(r.address)
	if p.Location == nil {
		p = b.Post(p.URL.String(), credentials)
	}
	if p.Location == nil {
		b.t.Fatalf("the sign-in ended at %s with %d: %s", p.URL, p.Status, p.Body)
	}
	callback := p.Location.Query()
	exchange := exchangeForm(r, callback.Get("code"))
	status, tokens := b.call("/token", exchange)
	if status != http.StatusOK {
		b.t.Fatalf("the code exchange was answered %d: %v", status, tokens)
	}
	return r, exchange, tokens
}

func exchangeForm(r request, code string) url.Values {
	return url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {oidcprovider.DefaultRedirectURI},
		"code_verifier": {r.verifier},
	}
}

func refreshForm(tokens map[string]any) url.Values {
	token, _ := tokens["refresh_token"].(string)
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

func (b *browser) refuse(path string, form url.Values, status int, code string) {
	b.t.Helper()
	gotStatus, body := b.call(path, form)
	if gotStatus != status || body["error"] != code || body["code"] != "oidc."+code {
		b.t.Errorf("answered %d %v, want %d %s", gotStatus, body, status, code)
	}
}

func text(t *testing.T, values map[string]any, name string) string {
	t.Helper()
	value, ok := values[name].(string)
	if !ok {
		t.Fatalf("no string %q in %v", name, values)
	}
	return value
}

func decodeJWT(t *testing.T, token string) (header, payload map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	for i, into := range []*map[string]any{&header, &payload} {
		data, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, payload
}

func (b *browser) keys() []map[string]any {
	b.t.Helper()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	p := b.Get(b.provider.Issuer() + "/jwks")
	if err := json.Unmarshal([]byte(p.Body), &set); err != nil {
		b.t.Fatal(err)
	}
	return set.Keys
}

func verifyES384(t *testing.T, token string, keys []map[string]any) {
	t.Helper()
	header, _ := decodeJWT(t, token)
	i := slices.IndexFunc(keys, func(key map[string]any) bool { return key["kid"] == header["kid"] })
	if i < 0 {
		t.Fatalf("no key %v in %v", header["kid"], keys)
	}
	const uncompressed = 4
	point := []byte{uncompressed}
	for _, coordinate := range []string{"x", "y"} {
		data, err := base64.RawURLEncoding.DecodeString(text(t, keys[i], coordinate))
		if err != nil {
			t.Fatal(err)
		}
		point = append(point, data...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P384(), point)
	if err != nil {
		t.Fatal(err)
	}
	end := strings.LastIndex(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(token[end+1:])
	if err != nil || len(signature) != 96 {
		t.Fatalf("signature of %d bytes, error %v", len(signature), err)
	}
	r, s := new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:])
	if digest := sha512.Sum384([]byte(token[:end])); !ecdsa.Verify(key, digest[:], r, s) {
		t.Error("the signature is not that of the key in the key set")
	}
}

func expect(t *testing.T, values, want map[string]any) {
	t.Helper()
	for name, wanted := range want {
		value, present := values[name]
		got, _ := json.Marshal(value)
		expected, _ := json.Marshal(wanted)
		if !present || string(got) != string(expected) {
			t.Errorf("%s is %s (present: %t), want %s", name, got, present, expected)
		}
	}
}

func expectAbsent(t *testing.T, values map[string]any, names ...string) {
	t.Helper()
	for _, name := range names {
		if value, present := values[name]; present {
			t.Errorf("%s is present: %v", name, value)
		}
	}
}

func TestDiscovery(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{})
	b := newBrowser(t, provider)
	var document map[string]any
	p := b.Get(provider.Issuer() + "/.well-known/openid-configuration")
	if err := json.Unmarshal([]byte(p.Body), &document); err != nil {
		t.Fatal(err)
	}

	t.Run("the issuer is the endpoint followed by /oidc", func(t *testing.T) {
		if provider.Issuer() != provider.Endpoint()+"/oidc" {
			t.Errorf("issuer %q, endpoint %q", provider.Issuer(), provider.Endpoint())
		}
		expect(t, document, map[string]any{"issuer": provider.Issuer()})
	})
	t.Run("the endpoints are at Logto's paths", func(t *testing.T) {
		expect(t, document, map[string]any{
			"authorization_endpoint": provider.Issuer() + "/auth",
			"token_endpoint":         provider.Issuer() + "/token",
			"userinfo_endpoint":      provider.Issuer() + "/me",
			"jwks_uri":               provider.Issuer() + "/jwks",
			"end_session_endpoint":   provider.Issuer() + "/session/end",
			"introspection_endpoint": provider.Issuer() + "/token/introspection",
			"revocation_endpoint":    provider.Issuer() + "/token/revocation",
		})
	})
	t.Run("the capabilities are Logto's", func(t *testing.T) {
		expect(t, document, map[string]any{
			"authorization_response_iss_parameter_supported": true,
			"backchannel_logout_supported":                   true,
			"backchannel_logout_session_supported":           true,
			"claims_parameter_supported":                     false,
			"code_challenge_methods_supported":               []string{"S256"},
			"id_token_signing_alg_values_supported":          []string{"ES384"},
			"scopes_supported": []string{
				"openid", "offline_access", "profile", "email", "phone", "address", "custom_data",
				"identities", "roles", "urn:logto:scope:organizations", "urn:logto:scope:organization_roles",
			},
		})
	})
	t.Run("the key set must not be cached", func(t *testing.T) {
		got := b.Get(provider.Issuer() + "/jwks").Header.Get("Cache-Control")
		if got != "no-cache, max-age=0, must-revalidate" {
			t.Errorf("Cache-Control: %s", got)
		}
	})
}

func TestAuthorizationRequest(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})

	t.Run("a code comes back with the state and the issuer", func(t *testing.T) {
		b := newBrowser(t, provider)
		r := b.newRequest(nil)
		p := b.Post(b.Get(r.address).URL.String(), credentials)
		if p.Location == nil {
			t.Fatalf("no redirect: %d %s", p.Status, p.Body)
		}
		if got, _, _ := strings.Cut(p.Location.String(), "?"); got != oidcprovider.DefaultRedirectURI {
			t.Errorf("redirect to %s", got)
		}
		query := p.Location.Query()
		if query.Get("code") == "" || query.Get("state") != r.state || query.Get("iss") != provider.Issuer() {
			t.Errorf("callback with %v", query)
		}
	})
	t.Run("a wrong password shows the form again with status 400", func(t *testing.T) {
		b := newBrowser(t, provider)
		form := b.Get(b.newRequest(nil).address)
		wrong := url.Values{"username": {oidcprovider.DefaultUsername}, "password": {"wrong"}}
		p := b.Post(form.URL.String(), wrong)
		if p.Status != http.StatusBadRequest || !strings.Contains(p.Body, `name="password"`) {
			t.Fatalf("status %d: %s", p.Status, p.Body)
		}
		if p = b.Post(p.URL.String(), credentials); p.Location == nil {
			t.Errorf("no redirect after the right password: %d %s", p.Status, p.Body)
		}
	})
	t.Run("Logto's parameters and the login hint reach the sign-in page", func(t *testing.T) {
		b := newBrowser(t, provider)
		p := b.Get(b.newRequest(url.Values{
			"first_screen": {"register"}, "login_hint": {`a"b@example.test`},
		}).address)
		if got := p.URL.Query().Get("first_screen"); got != "register" {
			t.Errorf("first_screen is %q", got)
		}
		if !strings.Contains(html.UnescapeString(p.Body), `value="a"b@example.test"`) {
			t.Errorf("no login hint in %s", p.Body)
		}
	})
	t.Run("the pages without a request end at /unknown-session", func(t *testing.T) {
		for _, page := range []string{"/sign-in", "/consent"} {
			b := newBrowser(t, provider)
			address := provider.Endpoint() + page + "?app_id=" + oidcprovider.DefaultClientID
			if p := b.Get(address); p.URL.Path != "/unknown-session" || p.Status != http.StatusOK || !strings.Contains(p.Body, "Session not found") {
				t.Errorf("%s: %d at %s: %s", page, p.Status, p.URL, p.Body)
			}
			if p := b.Post(address, credentials); p.Status != http.StatusBadRequest || !strings.Contains(p.Body, `"session.not_found"`) {
				t.Errorf("the form of %s: %d %s", page, p.Status, p.Body)
			}
		}
	})
	t.Run("a second request in the session needs no form", func(t *testing.T) {
		b := newBrowser(t, provider)
		b.signIn(nil)
		if p := b.Get(b.newRequest(nil).address); p.Location == nil {
			t.Errorf("no redirect: %d %s", p.Status, p.Body)
		}
	})
	t.Run("prompt=login asks again and gives auth_time", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		_, claims := decodeJWT(t, text(t, tokens, "id_token"))
		expectAbsent(t, claims, "auth_time")

		login := url.Values{"prompt": {"login consent"}}
		if p := b.Get(b.newRequest(login).address); p.Location != nil {
			t.Errorf("redirect to %s", p.Location)
		}
		_, _, tokens = b.signIn(login)
		_, claims = decodeJWT(t, text(t, tokens, "id_token"))
		if _, ok := claims["auth_time"].(float64); !ok {
			t.Errorf("auth_time is %v", claims["auth_time"])
		}
	})

	for name, test := range map[string]struct {
		override url.Values
		want     string
	}{
		"without PKCE is refused":                   {url.Values{"code_challenge": nil, "code_challenge_method": nil}, "invalid_request"},
		"with PKCE method plain is refused":         {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"for an unknown resource is refused":        {url.Values{"resource": {"https://unknown.example.test/"}}, "invalid_target"},
		"with prompt=none needs a session":          {url.Values{"prompt": {"none"}}, "login_required"},
		"with an unsupported prompt is refused":     {url.Values{"prompt": {"create"}}, "invalid_request"},
		"for another response type is not accepted": {url.Values{"response_type": {"id_token"}, "response_mode": {"query"}}, "invalid_request"},
	} {
		t.Run("a request "+name, func(t *testing.T) {
			b := newBrowser(t, provider)
			r := b.newRequest(test.override)
			p := b.Get(r.address)
			if p.Location == nil {
				t.Fatalf("no redirect: %d %s", p.Status, p.Body)
			}
			query := p.Location.Query()
			if query.Get("error") != test.want || query.Get("state") != r.state || query.Get("iss") != provider.Issuer() {
				t.Errorf("callback with %v, want the error %s", query, test.want)
			}
		})
	}

	for name, test := range map[string]struct {
		override url.Values
		want     string
	}{
		"of an unknown client":              {url.Values{"client_id": {"nope"}}, "oidc.invalid_client"},
		"with an unregistered redirect URI": {url.Values{"redirect_uri": {oidcprovider.DefaultRedirectURI + "/"}}, "oidc.invalid_redirect_uri"},
	} {
		t.Run("a request "+name+" ends in JSON without a redirect", func(t *testing.T) {
			b := newBrowser(t, provider)
			p := b.Get(b.newRequest(test.override).address)
			var body struct {
				Code string `json:"code"`
			}
			if err := json.Unmarshal([]byte(p.Body), &body); err != nil {
				t.Fatal(err)
			}
			if p.Location != nil || p.Status != http.StatusBadRequest || body.Code != test.want {
				t.Errorf("status %d: %s", p.Status, p.Body)
			}
		})
	}
}

func TestCodeExchange(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})

	t.Run("the response has opaque access, refresh and ID token", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		expect(t, tokens, map[string]any{
			"token_type": "Bearer",
			"expires_in": 3600,
			"scope":      "openid offline_access profile email custom_data roles",
		})
		if strings.Contains(text(t, tokens, "access_token"), ".") {
			t.Error("the access token is not opaque")
		}
		text(t, tokens, "refresh_token")
	})
	t.Run("the ID token has Logto's header and claims", func(t *testing.T) {
		b := newBrowser(t, provider)
		r, _, tokens := b.signIn(nil)
		idToken := text(t, tokens, "id_token")
		verifyES384(t, idToken, b.keys())
		header, claims := decodeJWT(t, idToken)
		expect(t, header, map[string]any{"alg": "ES384"})
		expectAbsent(t, header, "typ")
		expect(t, claims, map[string]any{
			"iss":                provider.Issuer(),
			"sub":                oidcprovider.DefaultUserID,
			"aud":                oidcprovider.DefaultClientID,
			"nonce":              r.nonce,
			"username":           oidcprovider.DefaultUsername,
			"preferred_username": oidcprovider.DefaultUsername,
			"name":               "Alice Example",
			"picture":            nil,
			"email":              "alice@example.test",
			"email_verified":     true,
			"roles":              []string{"reader"},
		})
		expectAbsent(t, claims, "custom_data", "phone_number", "sid", "auth_time", "acr", "azp", "at_hash")
		if life := claims["exp"].(float64) - claims["iat"].(float64); life != 3600 {
			t.Errorf("it lives for %v seconds", life)
		}
	})
	t.Run("user info has all claims of the granted scopes", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		status, claims := b.userInfo(text(t, tokens, "access_token"))
		if status != http.StatusOK {
			t.Fatalf("status %d: %v", status, claims)
		}
		expect(t, claims, map[string]any{
			"sub":         oidcprovider.DefaultUserID,
			"email":       "alice@example.test",
			"picture":     nil,
			"custom_data": map[string]any{"plan": "pro"},
			"roles":       []string{"reader"},
		})
		expectAbsent(t, claims, "phone_number", "organizations")
	})
	t.Run("an unknown access token gets invalid_token at user info", func(t *testing.T) {
		status, body := newBrowser(t, provider).userInfo("unknown")
		if status != http.StatusUnauthorized || body["error"] != "invalid_token" {
			t.Errorf("answered %d %v", status, body)
		}
	})
	t.Run("a resource in the exchange gives a JWT access token", func(t *testing.T) {
		b := newBrowser(t, provider)
		r := b.newRequest(nil)
		p := b.Post(b.Get(r.address).URL.String(), credentials)
		exchange := exchangeForm(r, p.Location.Query().Get("code"))
		exchange.Set("resource", apiIndicator)
		_, tokens := b.call("/token", exchange)
		header, _ := decodeJWT(t, text(t, tokens, "access_token"))
		expect(t, header, map[string]any{"typ": "at+jwt"})
	})
	t.Run("without prompt=consent there is no refresh token", func(t *testing.T) {
		_, _, tokens := newBrowser(t, provider).signIn(url.Values{"prompt": nil})
		expectAbsent(t, tokens, "refresh_token")
		expect(t, tokens, map[string]any{"scope": "openid profile email custom_data roles"})
	})
	t.Run("a replayed code gets invalid_grant and ends the grant", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, exchange, tokens := b.signIn(nil)
		b.refuse("/token", exchange, http.StatusBadRequest, "invalid_grant")
		b.refuse("/token", refreshForm(tokens), http.StatusBadRequest, "invalid_grant")
		if status, body := b.userInfo(text(t, tokens, "access_token")); status != http.StatusUnauthorized {
			t.Errorf("user info answered %d %v", status, body)
		}
	})
	t.Run("of a code used many times at once one exchange succeeds", func(t *testing.T) {
		b := newBrowser(t, provider)
		r := b.newRequest(nil)
		p := b.Post(b.Get(r.address).URL.String(), credentials)
		exchange := exchangeForm(r, p.Location.Query().Get("code"))
		if n := succeeded(b, exchange); n != 1 {
			t.Errorf("%d exchanges succeeded", n)
		}
	})
	t.Run("a wrong verifier is refused and leaves the code usable", func(t *testing.T) {
		b := newBrowser(t, provider)
		r := b.newRequest(nil)
		p := b.Post(b.Get(r.address).URL.String(), credentials)
		exchange := exchangeForm(r, p.Location.Query().Get("code"))
		wrong := maps.Clone(exchange)
		wrong["code_verifier"] = []string{rand.Text() + rand.Text()}
		b.refuse("/token", wrong, http.StatusBadRequest, "invalid_grant")
		if status, body := b.call("/token", exchange); status != http.StatusOK {
			t.Errorf("answered %d %v", status, body)
		}
	})
}

// succeeded sends a token request eight times at once.
func succeeded(b *browser, form url.Values) int {
	b.t.Helper()
	const requests = 8
	statuses := make(chan int, requests)
	var group sync.WaitGroup
	for range requests {
		group.Go(func() {
			req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost,
				b.provider.Issuer()+"/token", strings.NewReader(form.Encode()))
			if err != nil {
				b.t.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.SetBasicAuth(oidcprovider.DefaultClientID, oidcprovider.DefaultClientSecret)
			resp, err := (&http.Client{Transport: b.Client.Transport, Timeout: wait}).Do(req)
			if err != nil {
				b.t.Error(err)
				return
			}
			_ = resp.Body.Close()
			statuses <- resp.StatusCode
		})
	}
	group.Wait()
	close(statuses)
	n := 0
	for status := range statuses {
		if status == http.StatusOK {
			n++
		}
	}
	return n
}

func TestRefresh(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})

	t.Run("the same refresh token comes back with new tokens", func(t *testing.T) {
		b := newBrowser(t, provider)
		r, _, tokens := b.signIn(nil)
		status, refreshed := b.call("/token", refreshForm(tokens))
		if status != http.StatusOK {
			t.Fatalf("answered %d %v", status, refreshed)
		}
		expect(t, refreshed, map[string]any{"refresh_token": tokens["refresh_token"], "scope": tokens["scope"]})
		if refreshed["access_token"] == tokens["access_token"] {
			t.Error("the access token is the old one")
		}
		_, claims := decodeJWT(t, text(t, refreshed, "id_token"))
		expect(t, claims, map[string]any{"nonce": r.nonce, "email": "alice@example.test"})
	})
	t.Run("a resource gives a JWT access token that user info refuses", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		refresh := refreshForm(tokens)
		refresh.Set("resource", apiIndicator)
		_, refreshed := b.call("/token", refresh)
		expect(t, refreshed, map[string]any{"scope": "read:things", "expires_in": 3600})
		accessToken := text(t, refreshed, "access_token")
		verifyES384(t, accessToken, b.keys())
		header, claims := decodeJWT(t, accessToken)
		expect(t, header, map[string]any{"alg": "ES384", "typ": "at+jwt"})
		expect(t, claims, map[string]any{
			"iss":       provider.Issuer(),
			"aud":       apiIndicator,
			"sub":       oidcprovider.DefaultUserID,
			"client_id": oidcprovider.DefaultClientID,
			"scope":     "read:things",
		})
		if status, body := b.userInfo(accessToken); status != http.StatusUnauthorized || body["error"] != "invalid_token" {
			t.Errorf("user info answered %d %v", status, body)
		}
	})
	t.Run("a resource without granted scopes gives an empty scope", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(url.Values{"scope": {"openid offline_access"}})
		refresh := refreshForm(tokens)
		refresh.Set("resource", apiIndicator)
		_, refreshed := b.call("/token", refresh)
		expect(t, refreshed, map[string]any{"scope": ""})
		_, claims := decodeJWT(t, text(t, refreshed, "access_token"))
		expect(t, claims, map[string]any{"scope": ""})
	})
	t.Run("a narrowed scope narrows the ID token", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		refresh := refreshForm(tokens)
		refresh.Set("scope", "openid")
		_, refreshed := b.call("/token", refresh)
		_, claims := decodeJWT(t, text(t, refreshed, "id_token"))
		expect(t, claims, map[string]any{"sub": oidcprovider.DefaultUserID})
		expectAbsent(t, claims, "email", "username", "roles")
	})
	t.Run("two resources give an opaque access token", func(t *testing.T) {
		b := newBrowser(t, provider)
		both := []string{apiIndicator, "urn:logto:resource:organizations"}
		_, _, tokens := b.signIn(url.Values{"resource": both})
		refresh := refreshForm(tokens)
		refresh["resource"] = both
		_, refreshed := b.call("/token", refresh)
		if strings.Contains(text(t, refreshed, "access_token"), ".") {
			t.Error("the access token is not opaque")
		}
	})

	for name, test := range map[string]struct {
		add  url.Values
		want string
	}{
		"a resource that was not requested at sign-in gets invalid_target":   {url.Values{"resource": {"https://api.example.test"}}, "invalid_target"},
		"a scope that was not granted gets invalid_scope":                    {url.Values{"scope": {"openid phone"}}, "invalid_scope"},
		"an unknown refresh token gets invalid_grant":                        {url.Values{"refresh_token": {"unknown"}}, "invalid_grant"},
		"a grant type that the application does not have is not carried out": {url.Values{"grant_type": {"client_credentials"}}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t, provider)
			_, _, tokens := b.signIn(nil)
			refresh := refreshForm(tokens)
			maps.Copy(refresh, test.add)
			b.refuse("/token", refresh, http.StatusBadRequest, test.want)
		})
	}
	t.Run("a wrong client secret gets invalid_client with status 401", func(t *testing.T) {
		b := newBrowser(t, provider)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, provider.Issuer()+"/token",
			strings.NewReader("grant_type=refresh_token&refresh_token=x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(oidcprovider.DefaultClientID, "wrong")
		if status, body := b.answer(req); status != http.StatusUnauthorized || body["error"] != "invalid_client" {
			t.Errorf("answered %d %v", status, body)
		}
	})
}

func TestRotateOnEveryUse(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{
		Resources:            []oidcprovider.Resource{api},
		RefreshTokenRotation: oidcprovider.RotateOnEveryUse,
	})

	t.Run("each refresh replaces the refresh token", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		for range 3 {
			status, refreshed := b.call("/token", refreshForm(tokens))
			if status != http.StatusOK {
				t.Fatalf("answered %d %v", status, refreshed)
			}
			if refreshed["refresh_token"] == tokens["refresh_token"] {
				t.Error("the refresh token is the old one")
			}
			tokens = refreshed
		}
	})
	t.Run("using a replaced refresh token ends the grant", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		_, refreshed := b.call("/token", refreshForm(tokens))
		b.refuse("/token", refreshForm(tokens), http.StatusBadRequest, "invalid_grant")
		b.refuse("/token", refreshForm(refreshed), http.StatusBadRequest, "invalid_grant")
	})
	t.Run("of a refresh token used many times at once one use succeeds and the grant ends", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		if n := succeeded(b, refreshForm(tokens)); n != 1 {
			t.Errorf("%d refreshes succeeded", n)
		}
		if status, body := b.userInfo(text(t, tokens, "access_token")); status != http.StatusUnauthorized {
			t.Errorf("user info answered %d %v", status, body)
		}
	})
}

func TestRotateNearExpiry(t *testing.T) {
	// For a confidential client the policy shows after days; for a public one, at
	// once.
	const publicClientID = "integrationtests00002"
	provider := oidcprovider.Start(t, oidcprovider.Config{
		Clients: []oidcprovider.Client{{ID: publicClientID}},
	})
	b := newBrowser(t, provider)
	r := b.newRequest(url.Values{"client_id": {publicClientID}, "resource": nil})
	p := b.Post(b.Get(r.address).URL.String(), credentials)

	call := func(form url.Values) (int, map[string]any) {
		form.Set("client_id", publicClientID)
		return b.callPublic(form)
	}
	_, tokens := call(exchangeForm(r, p.Location.Query().Get("code")))

	t.Run("a public client gets a new refresh token on every use", func(t *testing.T) {
		_, refreshed := call(refreshForm(tokens))
		if text(t, refreshed, "refresh_token") == tokens["refresh_token"] {
			t.Error("the refresh token is the old one")
		}
	})
	t.Run("a replaced refresh token works for a moment", func(t *testing.T) {
		first, refreshed := call(refreshForm(tokens))
		if first != http.StatusOK {
			t.Fatalf("answered %d %v", first, refreshed)
		}
		if second, body := call(refreshForm(refreshed)); second != http.StatusOK {
			t.Errorf("answered %d %v", second, body)
		}
	})
}

func TestRevocation(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})

	for _, kind := range []string{"refresh_token", "access_token"} {
		t.Run("revoking the "+kind+" ends the grant", func(t *testing.T) {
			b := newBrowser(t, provider)
			_, _, tokens := b.signIn(nil)
			status, body := b.call("/token/revocation", url.Values{"token": {text(t, tokens, kind)}})
			if status != http.StatusOK {
				t.Fatalf("answered %d %v", status, body)
			}
			b.refuse("/token", refreshForm(tokens), http.StatusBadRequest, "invalid_grant")
			if status, body := b.userInfo(text(t, tokens, "access_token")); status != http.StatusUnauthorized {
				t.Errorf("user info answered %d %v", status, body)
			}
		})
	}
	t.Run("revoking an unknown token succeeds", func(t *testing.T) {
		b := newBrowser(t, provider)
		if status, body := b.call("/token/revocation", url.Values{"token": {"unknown"}}); status != http.StatusOK {
			t.Errorf("answered %d %v", status, body)
		}
	})
	t.Run("introspection follows the life of a token", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		token := url.Values{"token": {text(t, tokens, "access_token")}}
		_, body := b.call("/token/introspection", token)
		expect(t, body, map[string]any{"active": true, "sub": oidcprovider.DefaultUserID})
		b.call("/token/revocation", token)
		_, body = b.call("/token/introspection", token)
		expect(t, body, map[string]any{"active": false})
	})
}

var (
	formAction = regexp.MustCompile(`<form id="op\.logoutForm" method="post" action="([^"]+)">`)
	formXSRF   = regexp.MustCompile(`name="xsrf" value="([^"]+)"`)
)

// endSession opens the end session endpoint and submits its form, which a
// browser does by itself.
func (b *browser) endSession(query url.Values) page {
	b.t.Helper()
	p := b.Get(b.provider.Issuer() + "/session/end?" + query.Encode())
	action, xsrf := formAction.FindStringSubmatch(p.Body), formXSRF.FindStringSubmatch(p.Body)
	if action == nil || xsrf == nil || !strings.Contains(p.Body, `onload="document.getElementById('op.logoutForm').submit();"`) {
		b.t.Fatalf("no form that submits itself: %d %s", p.Status, p.Body)
	}
	return b.Post(action[1], url.Values{"xsrf": {xsrf[1]}, "logout": {"yes"}})
}

func TestEndSession(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{
		Clients:   []oidcprovider.Client{client},
		Resources: []oidcprovider.Resource{api},
	})

	t.Run("the form leads back to the application with the state", func(t *testing.T) {
		b := newBrowser(t, provider)
		b.signIn(nil)
		p := b.endSession(url.Values{
			"client_id":                {oidcprovider.DefaultClientID},
			"post_logout_redirect_uri": {postLogoutRedirectURI},
			"state":                    {"abc"},
		})
		if p.Location == nil || p.Location.String() != postLogoutRedirectURI+"?state=abc" {
			t.Errorf("status %d, redirect to %v", p.Status, p.Location)
		}
	})
	t.Run("an ID token hint stands for the client", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		p := b.endSession(url.Values{
			"id_token_hint":            {text(t, tokens, "id_token")},
			"post_logout_redirect_uri": {postLogoutRedirectURI},
		})
		if p.Location == nil || p.Location.String() != postLogoutRedirectURI {
			t.Errorf("status %d, redirect to %v", p.Status, p.Location)
		}
	})
	t.Run("afterwards a sign-in asks for the password", func(t *testing.T) {
		b := newBrowser(t, provider)
		b.signIn(nil)
		b.endSession(nil)
		if p := b.Get(b.newRequest(nil).address); p.Location != nil {
			t.Errorf("redirect to %s", p.Location)
		}
	})
	t.Run("a refresh token with offline_access survives", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(nil)
		b.endSession(nil)
		if status, body := b.call("/token", refreshForm(tokens)); status != http.StatusOK {
			t.Errorf("answered %d %v", status, body)
		}
	})
	t.Run("an access token without offline_access ends with the session", func(t *testing.T) {
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(url.Values{"prompt": nil})
		b.endSession(nil)
		if status, body := b.userInfo(text(t, tokens, "access_token")); status != http.StatusUnauthorized {
			t.Errorf("user info answered %d %v", status, body)
		}
	})
	t.Run("an unregistered post-logout URI is refused and the session goes on", func(t *testing.T) {
		b := newBrowser(t, provider)
		b.signIn(nil)
		p := b.Get(provider.Issuer() + "/session/end?" + url.Values{
			"client_id":                {oidcprovider.DefaultClientID},
			"post_logout_redirect_uri": {"https://elsewhere.example.test/"},
		}.Encode())
		if p.Status != http.StatusBadRequest || !strings.Contains(p.Body, `"oidc.invalid_request"`) {
			t.Errorf("status %d: %s", p.Status, p.Body)
		}
		if p := b.Get(b.newRequest(nil).address); p.Location == nil {
			t.Errorf("the session ended: %d %s", p.Status, p.Body)
		}
	})
}

func TestBackchannelLogout(t *testing.T) {
	received := make(chan string, 1)
	application := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		received <- r.PostFormValue("logout_token")
	}))
	t.Cleanup(application.Close)

	provider := oidcprovider.Start(t, oidcprovider.Config{
		Clients: []oidcprovider.Client{{
			BackchannelLogoutURI:             application.URL + "/backchannel-logout",
			BackchannelLogoutSessionRequired: true,
		}},
		Resources: []oidcprovider.Resource{api},
	})
	b := newBrowser(t, provider)
	_, _, tokens := b.signIn(nil)
	_, idClaims := decodeJWT(t, text(t, tokens, "id_token"))
	b.endSession(nil)

	select {
	case token := <-received:
		verifyES384(t, token, b.keys())
		header, claims := decodeJWT(t, token)
		expect(t, header, map[string]any{"alg": "ES384", "typ": "logout+jwt"})
		expect(t, claims, map[string]any{
			"iss": provider.Issuer(),
			"aud": oidcprovider.DefaultClientID,
			"sub": oidcprovider.DefaultUserID,
			"sid": text(t, idClaims, "sid"),
			"events": map[string]any{
				"http://schemas.openid.net/event/backchannel-logout": map[string]any{},
			},
		})
		expectAbsent(t, claims, "nonce")
	case <-time.After(wait):
		t.Error("no logout token came")
	}
}

func TestConfig(t *testing.T) {
	t.Run("an RS256 key has no alg in the key set", func(t *testing.T) {
		provider := oidcprovider.Start(t, oidcprovider.Config{SigningAlgorithm: oidcprovider.RS256})
		b := newBrowser(t, provider)
		_, _, tokens := b.signIn(url.Values{"resource": nil})
		header, _ := decodeJWT(t, text(t, tokens, "id_token"))
		expect(t, header, map[string]any{"alg": "RS256"})
		keys := b.keys()
		if len(keys) != 1 {
			t.Fatalf("%d keys", len(keys))
		}
		expect(t, keys[0], map[string]any{"kty": "RSA", "use": "sig", "kid": header["kid"]})
		expectAbsent(t, keys[0], "alg", "d")
		modulus, err := base64.RawURLEncoding.DecodeString(text(t, keys[0], "n"))
		if err != nil || len(modulus) != 256 {
			t.Errorf("modulus of %d bytes, error %v", len(modulus), err)
		}
	})
	t.Run("lifetimes, users, ID token claims and refresh tokens follow the configuration", func(t *testing.T) {
		provider := oidcprovider.Start(t, oidcprovider.Config{
			Clients: []oidcprovider.Client{{AlwaysIssueRefreshToken: true}},
			Users: []oidcprovider.User{
				{ID: "first0000001", Username: "first", Password: "1"},
				{ID: "second000002", Username: "second", Password: "2", Claims: map[string]any{"custom_data": map[string]any{"a": 1}}},
			},
			Resources:      []oidcprovider.Resource{{Indicator: apiIndicator, Scopes: api.Scopes, AccessTokenTTL: time.Minute}},
			IDTokenClaims:  []string{"custom_data"},
			AccessTokenTTL: 2 * time.Minute,
			IDTokenTTL:     3 * time.Minute,
		})
		b := newBrowser(t, provider)
		r := b.newRequest(url.Values{"prompt": nil})
		p := b.Post(b.Get(r.address).URL.String(), url.Values{"username": {"second"}, "password": {"2"}})
		_, tokens := b.call("/token", exchangeForm(r, p.Location.Query().Get("code")))
		expect(t, tokens, map[string]any{"expires_in": 120})

		_, claims := decodeJWT(t, text(t, tokens, "id_token"))
		expect(t, claims, map[string]any{
			"sub": "second000002", "custom_data": map[string]any{"a": 1}, "email": nil, "email_verified": false,
		})
		expectAbsent(t, claims, "roles")
		if life := claims["exp"].(float64) - claims["iat"].(float64); life != 180 {
			t.Errorf("the ID token lives for %v seconds", life)
		}

		refresh := refreshForm(tokens)
		refresh.Set("resource", apiIndicator)
		_, refreshed := b.call("/token", refresh)
		expect(t, refreshed, map[string]any{"expires_in": 60})
	})
	t.Run("a machine-to-machine client gets a JWT for a resource and nothing without", func(t *testing.T) {
		provider := oidcprovider.Start(t, oidcprovider.Config{
			Clients:   []oidcprovider.Client{{MachineToMachine: true}},
			Resources: []oidcprovider.Resource{api},
		})
		b := newBrowser(t, provider)
		form := url.Values{"grant_type": {"client_credentials"}, "scope": {"read:things"}}
		b.refuse("/token", form, http.StatusBadRequest, "invalid_target")
		form.Set("resource", apiIndicator)
		_, tokens := b.call("/token", form)
		_, claims := decodeJWT(t, text(t, tokens, "access_token"))
		expect(t, claims, map[string]any{
			"sub": oidcprovider.DefaultClientID, "client_id": oidcprovider.DefaultClientID,
			"aud": apiIndicator, "scope": "read:things",
		})
	})
}

func TestCalls(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{
		Clients:   []oidcprovider.Client{client},
		Resources: []oidcprovider.Resource{api},
	})
	b := newBrowser(t, provider)

	t.Run("each kind of request is counted", func(t *testing.T) {
		b.Get(provider.Issuer() + "/.well-known/openid-configuration")
		b.keys()
		_, _, tokens := b.signIn(nil)
		b.call("/token", refreshForm(tokens))
		b.userInfo(text(t, tokens, "access_token"))
		b.call("/token/revocation", url.Values{"token": {text(t, tokens, "refresh_token")}})
		b.endSession(nil)
		want := oidcprovider.Calls{
			Discovery: 1, Keys: 1, Authorization: 1, Token: 2, UserInfo: 1, Revocation: 1, EndSession: 1,
		}
		if got := provider.Calls(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("ResetCalls starts the counts again", func(t *testing.T) {
		provider.ResetCalls()
		b.keys()
		if got, want := provider.Calls(), (oidcprovider.Calls{Keys: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
