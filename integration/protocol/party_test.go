package protocol_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/webtest"
)

const timeout = time.Minute

// party is a browser together with the applications that it signs in to. It
// knows nothing of the provider but the discovery document.
type party struct {
	*testing.T
	provider   provider
	deliveries <-chan delivery
	document   map[string]any
	browser    *webtest.Browser
	back       *http.Client // what applications call without the browser
}

func newParty(t *testing.T, p provider, deliveries <-chan delivery) *party {
	t.Helper()
	origin := strings.TrimSuffix(p.issuer(), "/oidc")
	c := &party{T: t, provider: p, deliveries: deliveries, browser: webtest.New(t)}
	c.browser.Sends = nil                                                                         // errors are read as JSON
	c.browser.Stops = func(u *url.URL) bool { return !strings.HasPrefix(u.String(), origin+"/") } // it has arrived at an application
	c.back = &http.Client{Transport: c.browser.Client.Transport, Timeout: timeout}
	found := c.read(c.back.Get(p.issuer() + "/.well-known/openid-configuration"))
	if found.Status != http.StatusOK {
		t.Fatalf("discovery is answered %d %s", found.Status, found.Body)
	}
	c.document = found.Members(c)
	return c
}

// endpoint is an address of the discovery document.
func (c *party) endpoint(name string) string {
	c.Helper()
	return c.text(c.document, name)
}

type answer = webtest.Page

func (c *party) read(response *http.Response, err error) answer {
	c.Helper()
	a, err := webtest.Read(response, err)
	if err != nil {
		c.Fatal(err)
	}
	return a
}

// expectError expects an error answer in JSON and no redirect.
func (c *party) expectError(a answer, status int, name string) {
	c.Helper()
	if a.Status != status || a.Location != nil || a.Members(c)["error"] != name {
		c.Errorf("%s answers %d %s, location %v; want %d %s", a.URL, a.Status, a.Body, a.Location, status, name)
	}
}

func (c *party) text(members map[string]any, name string) string {
	c.Helper()
	value, ok := members[name].(string)
	if !ok || value == "" {
		c.Fatalf("no text %q in %v", name, members)
	}
	return value
}

// post calls an endpoint as an application: with its secret in the header, or,
// without one, with its ID in the form.
func (c *party) post(app application, endpoint string, form url.Values) answer {
	c.Helper()
	form = maps.Clone(form)
	if app.secret == "" {
		form.Set("client_id", app.id)
	}
	r, err := http.NewRequestWithContext(c.Context(), http.MethodPost, c.endpoint(endpoint), strings.NewReader(form.Encode()))
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if app.secret != "" {
		r.SetBasicAuth(url.QueryEscape(app.id), url.QueryEscape(app.secret))
	}
	return c.read(c.back.Do(r))
}

// token is a token request that has to succeed.
func (c *party) token(app application, form url.Values) map[string]any {
	c.Helper()
	a := c.post(app, "token_endpoint", form)
	if a.Status != http.StatusOK {
		c.Fatalf("%s is answered %d %s", form.Get("grant_type"), a.Status, a.Body)
	}
	if control := a.Header.Get("Cache-Control"); control != "no-store" {
		c.Errorf("tokens may be cached: %q", control)
	}
	return a.Members(c)
}

func (c *party) refresh(app application, refreshToken string, more url.Values) answer {
	c.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	maps.Copy(form, more)
	return c.post(app, "token_endpoint", form)
}

// refreshed is a refresh that has to succeed.
func (c *party) refreshed(app application, refreshToken string, more url.Values) map[string]any {
	c.Helper()
	a := c.refresh(app, refreshToken, more)
	if a.Status != http.StatusOK {
		c.Fatalf("the refresh is answered %d %s", a.Status, a.Body)
	}
	return a.Members(c)
}

func (c *party) userInfo(authorization string) answer {
	c.Helper()
	r, err := http.NewRequestWithContext(c.Context(), http.MethodGet, c.endpoint("userinfo_endpoint"), nil)
	if err != nil {
		c.Fatal(err)
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return c.read(c.back.Do(r))
}

// request is an authorization request with what is kept for its answer.
type request struct {
	app                    application
	address                string
	state, nonce, verifier string
}

// newRequest asks for everything that tests need; override replaces parameters,
// or, with nil, removes them.
func (c *party) newRequest(app application, override url.Values) request {
	c.Helper()
	r := request{app: app, state: rand.Text(), nonce: rand.Text(), verifier: rand.Text() + rand.Text()}
	challenge := sha256.Sum256([]byte(r.verifier))
	query := url.Values{
		"client_id":             {app.id},
		"redirect_uri":          {redirectURI},
		"response_type":         {"code"},
		"scope":                 {"openid offline_access profile " + apiPermission},
		"resource":              {apiIndicator},
		"prompt":                {"consent"},
		"state":                 {r.state},
		"nonce":                 {r.nonce},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	maps.Copy(query, override)
	maps.DeleteFunc(query, func(_ string, values []string) bool { return len(values) == 0 })
	r.address = c.endpoint("authorization_endpoint") + "?" + query.Encode()
	return r
}

// callback sends the browser through a request, past the sign-in page if there
// is one, and returns the parameters that it comes back with.
func (c *party) callback(r request) url.Values {
	c.Helper()
	a := c.browser.Get(r.address)
	if a.Location == nil && a.Status == http.StatusOK {
		a = c.browser.Submit(a, credentials)
	}
	if a.Location == nil || !strings.HasPrefix(a.Location.String(), redirectURI+"?") {
		c.Fatalf("the sign-in ends at %s with %d %s, location %v", a.URL, a.Status, a.Body, a.Location)
	}
	parameters := a.Location.Query()
	if parameters.Get("state") != r.state || parameters.Get("iss") != c.provider.issuer() {
		c.Errorf("state and iss do not come back: %v", parameters)
	}
	return parameters
}

func exchangeForm(r request, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {r.verifier},
	}
}

// signIn returns the answer to the exchange of the code.
func (c *party) signIn(app application) map[string]any {
	c.Helper()
	r := c.newRequest(app, nil)
	return c.token(app, exchangeForm(r, c.callback(r).Get("code")))
}

// silently is the error of a prompt=none request, "" if it yields a code.
func (c *party) silently(app application) string {
	c.Helper()
	parameters := c.callback(c.newRequest(app, url.Values{"prompt": {"none"}}))
	if parameters.Has("code") == parameters.Has("error") {
		c.Errorf("neither a code nor an error, or both: %v", parameters)
	}
	return parameters.Get("error")
}

// endSession opens the page that asks whether to end the session.
func (c *party) endSession(app application, parameters url.Values) answer {
	c.Helper()
	parameters.Set("client_id", app.id)
	return c.browser.Get(c.endpoint("end_session_endpoint") + "?" + parameters.Encode())
}

// verify checks what every JWT of the provider must have: a signature by a key
// of the key set, the issuer, and times that fit. Both providers sign with ES384
// as they are set up here.
func (c *party) verify(token string) (header, claims map[string]any) {
	c.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		c.Fatalf("not a JWT: %q", token)
	}
	decode := func(part string) []byte {
		data, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			c.Fatal(err)
		}
		return data
	}
	for part, into := range map[string]*map[string]any{parts[0]: &header, parts[1]: &claims} {
		if err := json.Unmarshal(decode(part), into); err != nil {
			c.Fatal(err)
		}
	}
	var set struct{ Keys []map[string]any }
	found := c.read(c.back.Get(c.endpoint("jwks_uri")))
	if err := json.Unmarshal([]byte(found.Body), &set); err != nil {
		c.Fatal(err)
	}
	i := slices.IndexFunc(set.Keys, func(key map[string]any) bool { return key["kid"] == header["kid"] })
	if i < 0 || header["alg"] != "ES384" || set.Keys[i]["crv"] != "P-384" {
		c.Fatalf("no key for %v in %s", header, found.Body)
	}
	point := slices.Concat([]byte{4}, decode(c.text(set.Keys[i], "x")), decode(c.text(set.Keys[i], "y"))) // 4: uncompressed
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P384(), point)
	if err != nil {
		c.Fatal(err)
	}
	digest := sha512.Sum384([]byte(parts[0] + "." + parts[1]))
	signature := decode(parts[2])
	if len(signature) != 96 || !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:])) {
		c.Fatal("the signature is not that of the key in the key set")
	}
	now := float64(c.provider.now().Unix())
	issuedAt, _ := claims["iat"].(float64)
	expiresAt, _ := claims["exp"].(float64)
	if claims["iss"] != c.provider.issuer() || issuedAt > now+1 || issuedAt < now-60 || expiresAt <= now {
		c.Errorf("issuer or times are wrong at %v: %v", now, claims)
	}
	return header, claims
}
