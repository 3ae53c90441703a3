package logtogin_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What goes beyond the tests of the OpenID Foundation's suite, which TestConformance makes.
// The criterion is the same: what the client must accept ends signed in; what it must
// refuse ends without a session and without a call of the userinfo endpoint.

func TestConformanceOfIDTokens(t *testing.T) {
	t.Parallel()
	set := func(claim string, value any) func(*logtotest.JWT) {
		return func(token *logtotest.JWT) { token.Claims[claim] = value }
	}
	// Of the moment at which the token is made, whenever the test gets its turn.
	setTime := func(claim string, from time.Duration) func(*logtotest.JWT) {
		return func(token *logtotest.JWT) { token.Claims[claim] = time.Now().Add(from).Unix() }
	}
	for name, test := range map[string]struct {
		algorithm string // of the provider's key; default ES384
		change    func(*logtotest.JWT)
		accept    bool
	}{
		"alg is none (C31)":                {change: unsigned("none")},
		"an honest token, without at_hash": {accept: true},
		"no kid, and the key has one":      {change: func(token *logtotest.JWT) { delete(token.Header, "kid") }, accept: true},
		"a damaged signature by ES384":     {change: damagedSignature},
		"a damaged signature by EdDSA":     {algorithm: "EdDSA", change: damagedSignature},
		"signature with spare bits set":    {algorithm: "RS256", change: spareBitsSet},
		"signed by ES256":                  {algorithm: "ES256", accept: true},
		"signed by ES512":                  {algorithm: "ES512", accept: true},
		"signed by PS256":                  {algorithm: "PS256", accept: true},
		"signed by EdDSA":                  {algorithm: "EdDSA", accept: true},
		"signed by HS256 and a known secret (C32)": {change: func(token *logtotest.JWT) {
			token.Header["alg"], token.Algorithm, token.Key = "HS256", "HS256", []byte("secret")
		}},
		"at_hash is no hash":                     {change: set("at_hash", "invalid")},
		"alg is not that of the signature (C33)": {change: func(token *logtotest.JWT) { token.Header["alg"] = "ES256" }},
		"alg is null (C31)":                      {change: func(token *logtotest.JWT) { token.Header["alg"] = nil }},
		"two audiences without azp (C35)":        {change: func(token *logtotest.JWT) { token.Claims["aud"] = []any{token.Claims["aud"], "other"} }},
		"two audiences and azp (C35)": {change: func(token *logtotest.JWT) {
			token.Claims["azp"] = token.Claims["aud"]
			token.Claims["aud"] = []any{token.Claims["aud"], "other"}
		}, accept: true},
		"alg is None, and no signature (C31)":      {change: unsigned("None")},
		"alg is nOnE, and no signature (C31)":      {change: unsigned("nOnE")},
		"alg is NONE, and no signature (C31)":      {change: unsigned("NONE")},
		"alg is None, and there is a signature":    {change: func(token *logtotest.JWT) { token.Header["alg"] = "None" }},
		"alg is none, and there is a signature":    {change: func(token *logtotest.JWT) { token.Header["alg"] = "none" }},
		"the signature was taken away (C31)":       {change: func(token *logtotest.JWT) { token.Algorithm = "none" }},
		"the signature and its dot are gone (C31)": {change: func(token *logtotest.JWT) { unsigned("none")(token); token.Raw = strings.TrimSuffix(rawOf(token), ".") }},
		"iss in another case (C38)": {change: func(token *logtotest.JWT) {
			token.Claims["iss"] = strings.Replace(token.Claims["iss"].(string), "/oidc", "/OIDC", 1)
		}},
		"iss with its scheme in another case (C38)": {change: func(token *logtotest.JWT) {
			token.Claims["iss"] = strings.Replace(token.Claims["iss"].(string), "http", "HTTP", 1)
		}},
		"iss with a trailing slash (C38)": {change: func(token *logtotest.JWT) { token.Claims["iss"] = token.Claims["iss"].(string) + "/" }},
		"foreign azp (C35)":               {change: set("azp", "other")},
		"aud is an empty list (C34)":      {change: set("aud", []any{})},
		"aud is a number (C34)":           {change: set("aud", 7)},
		"sub is empty":                    {change: set("sub", "")},
		"sub is null":                     {change: set("sub", nil)},
		"only Sub, not sub (C53)":         {change: func(token *logtotest.JWT) { token.Claims["Sub"] = token.Claims["sub"]; delete(token.Claims, "sub") }},
		"exp is 0 (C37)":                  {change: set("exp", 0)},
		"exp is a string (C37)":           {change: set("exp", "9999999999")},
		"exp is 1e300 (C37)":              {change: set("exp", 1e300)},
		"exp is negative (C37)":           {change: set("exp", -1)},
		"exp is null":                     {change: set("exp", nil)},
		"exp 50 s ago, within the skew":   {change: setTime("exp", -50*time.Second), accept: true},
		"iat in the far future (C37)":     {change: setTime("iat", time.Hour)},
		"iat 50 s ahead, within the skew": {change: setTime("iat", 50*time.Second), accept: true},
		"iat a week in the past (FAPI 1)": {change: setTime("iat", -7*24*time.Hour)},
		"iat an hour in the past":         {change: setTime("iat", -time.Hour), accept: true},
		"nbf in the future":               {change: setTime("nbf", time.Hour)},
		"nbf is not a time":               {change: set("nbf", "now")},
		"crit in the header (C39)":        {change: func(token *logtotest.JWT) { token.Header["crit"] = []string{"exp"} }},
		"an access token's type (C36)":    {change: func(token *logtotest.JWT) { token.Header["typ"] = "at+jwt" }},
		"a logout token's type":           {change: func(token *logtotest.JWT) { token.Header["typ"] = "logout+jwt" }},
		"the type JWT of older Logtos":    {change: func(token *logtotest.JWT) { token.Header["typ"] = "JWT" }, accept: true},
		"no token at all":                 {change: func(token *logtotest.JWT) { token.Raw = " " }},
		"something with five parts (JWE)": {change: func(token *logtotest.JWT) { token.Raw = "a.b.c.d.e" }},
		"100 000 dots (C40)":              {change: func(token *logtotest.JWT) { token.Raw = strings.Repeat(".", 100_000) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			if test.algorithm != "" {
				if err := logto.RotateKey(test.algorithm); err != nil {
					t.Fatal(err)
				}
				onlyNewestKey(logto)
			}
			logto.ChangeIDToken(test.change)
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			page := b.signIn(app.url+"/user-info", logtotest.DefaultUser())
			if test.accept {
				if page.status != http.StatusOK || logto.Calls().UserInfo != 1 {
					t.Errorf("refused: %d %s\n%s", page.status, page.body, app.log)
				}
				return
			}
			if page.status != http.StatusBadRequest || page.url.Path != "/callback" || logto.Calls().UserInfo != 0 || b.isSignedIn(app) {
				t.Errorf("not refused: %d %s", page.status, page.body)
			}
			if logto.Calls().Token != 1 {
				t.Errorf("%d token calls", logto.Calls().Token)
			}
		})
	}
}

// What RFC 7515 and RFC 8259 leave no room for, but lenient readers accept.
// Each token is honestly signed, over exactly what is sent.
func TestTokensAreReadStrictly(t *testing.T) {
	t.Parallel()
	encode := base64.RawURLEncoding.EncodeToString
	signed := func(token *logtotest.JWT, header, claims string) string {
		raw, err := logtotest.SignInput(token.Algorithm, token.Key, header+"."+claims)
		if err != nil {
			panic(err)
		}
		return raw
	}
	for name, test := range map[string]struct {
		raw    func(token *logtotest.JWT, header, claims []byte) string
		accept bool
	}{
		"as it should be": {func(token *logtotest.JWT, header, claims []byte) string {
			return signed(token, encode(header), encode(claims))
		}, true},
		"garbage after the claims": {func(token *logtotest.JWT, header, claims []byte) string {
			return signed(token, encode(header), encode(append(claims, "{}"...)))
		}, false},
		"a claim twice": {func(token *logtotest.JWT, header, claims []byte) string {
			return signed(token, encode(header), encode(append([]byte(`{"sub":"admin",`), claims[1:]...)))
		}, false},
		"a header member twice": {func(token *logtotest.JWT, header, claims []byte) string {
			return signed(token, encode(append([]byte(`{"alg":"none",`), header[1:]...)), encode(claims))
		}, false},
		"claims that are a list": {func(token *logtotest.JWT, header, claims []byte) string {
			return signed(token, encode(header), encode([]byte("["+string(claims)+"]")))
		}, false},
		"padding": {func(token *logtotest.JWT, header, claims []byte) string {
			return signed(token, encode(header), base64.URLEncoding.EncodeToString(append(claims, ' '))) + "="
		}, false},
		"a line break": {func(token *logtotest.JWT, header, claims []byte) string {
			return signed(token, encode(header), encode(claims)) + "\n"
		}, false},
		"white space around": {func(token *logtotest.JWT, header, claims []byte) string {
			return " " + signed(token, encode(header), encode(claims))
		}, false},
		"JSON serialization": {func(token *logtotest.JWT, header, claims []byte) string {
			parts := strings.Split(signed(token, encode(header), encode(claims)), ".")
			return `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`
		}, false},
		"a signature cut short": {func(token *logtotest.JWT, header, claims []byte) string {
			raw := signed(token, encode(header), encode(claims))
			return raw[:len(raw)-4]
		}, false},
		"no signature (C31)": {func(token *logtotest.JWT, header, claims []byte) string {
			raw := signed(token, encode(header), encode(claims))
			return raw[:strings.LastIndexByte(raw, '.')+1]
		}, false},
		"an embedded key (C39)": {func(token *logtotest.JWT, header, claims []byte) string {
			private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			if err != nil {
				panic(err)
			}
			token.Key = private
			point, err := private.PublicKey.Bytes()
			if err != nil {
				panic(err)
			}
			jwk := `"jwk":{"kty":"EC","crv":"P-384","x":"` + encode(point[1:49]) + `","y":"` + encode(point[49:]) + `"}`
			return signed(token, encode([]byte(`{"alg":"ES384",`+jwk+`}`)), encode(claims))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeIDToken(func(token *logtotest.JWT) {
				header, err1 := json.Marshal(token.Header)
				claims, err2 := json.Marshal(token.Claims)
				if err1 != nil || err2 != nil {
					panic("not JSON")
				}
				token.Raw = test.raw(token, header, claims)
			})
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			page := b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			if b.isSignedIn(app) != test.accept {
				t.Errorf("signed in: %v; %d %s", !test.accept, page.status, app.log)
			}
		})
	}
}

// C39: where a token says that its key is, nobody looks, whoever has signed it.
func TestKeysAreNotFetchedFromWhereATokenSays(t *testing.T) {
	t.Parallel()
	foreign, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := foreign.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	set := `{"keys":[{"kty":"EC","crv":"P-384","alg":"ES384","kid":"foreign","x":"` + encode(point[1:49]) + `","y":"` + encode(point[49:]) + `"}]}`
	for _, member := range []string{"jku", "x5u"} {
		for whose, isOwn := range map[string]bool{"Logto": true, "somebody else": false} {
			t.Run(member+" in a token that "+whose+" has signed", func(t *testing.T) {
				t.Parallel()
				var fetches atomic.Int64
				elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					fetches.Add(1)
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte(set))
				}))
				defer elsewhere.Close()
				change := func(token *logtotest.JWT) {
					token.Header[member] = elsewhere.URL + "/keys"
					if !isOwn {
						token.Header["kid"], token.Key = "foreign", foreign
					}
				}
				logto := logtotest.NewServer(t)
				logto.ChangeIDToken(change)
				logto.ChangeAccessToken(change)
				logto.ChangeLogoutToken(change)
				app := told(t, logto, nil)
				app.router.GET("/api", app.auth.Bearer(ordersAPI), func(*gin.Context) {})
				b := newBrowser(t)
				if b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); b.isSignedIn(app) != isOwn {
					t.Errorf("the ID token is believed: %v", !isOwn)
				}
				status := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[isOwn]
				if page := send(t, http.MethodGet, app.url+"/api", nil, bearerHeader(logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI))); page.status != status {
					t.Errorf("the access token: %d %s", page.status, page.body)
				}
				status = map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[isOwn]
				if answer := app.logoutToken(tokenFor(t, logto, idOf(t, logto, "alice"), "")); answer.status != status {
					t.Errorf("the logout token: %d %s", answer.status, answer.body)
				}
				if fetches.Load() != 0 {
					t.Errorf("%d requests to %s", fetches.Load(), elsewhere.URL)
				}
			})
		}
	}
}

// unsigned leaves the signature out and names the algorithm so.
func unsigned(alg string) func(*logtotest.JWT) {
	return func(token *logtotest.JWT) { token.Header["alg"], token.Algorithm = alg, "none" }
}

// rawOf is the token as it would be sent.
func rawOf(token *logtotest.JWT) string {
	raw, err := logtotest.SignToken(token.Algorithm, token.Key, token.Header, token.Claims)
	if err != nil {
		panic(err)
	}
	return raw
}

// damagedSignature flips a bit in the middle of the signature.
func damagedSignature(token *logtotest.JWT) {
	raw := rawOf(token)
	at := strings.LastIndexByte(raw, '.') + 20
	flipped := byte('A')
	if raw[at] == 'A' {
		flipped = 'B'
	}
	token.Raw = raw[:at] + string(flipped) + raw[at+1:]
}

// spareBitsSet changes the bits of the last character that carry no data: the
// same signature in another spelling.
func spareBitsSet(token *logtotest.JWT) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	raw := rawOf(token)
	last := strings.IndexByte(alphabet, raw[len(raw)-1])
	token.Raw = raw[:len(raw)-1] + alphabet[last|1:last|1+1]
}

func onlyNewestKey(logto *logtotest.Server) {
	logto.ChangeKeys(func(set map[string]any) any {
		set["keys"] = set["keys"].([]any)[:1]
		return set
	})
}

// Unlike in the suite, the keys have names.
func TestConformanceOfATokenWithoutKidAndSeveralKeys(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	if err := logto.RotateKey("ES384"); err != nil {
		t.Fatal(err)
	}
	logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Header, "kid") })
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	if page := b.signIn(app.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusOK {
		t.Errorf("refused: %d %s", page.status, page.body)
	}
}

// oidcc-client-test-userinfo-invalid-sub, and C52.
func TestConformanceOfUserInfo(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(map[string]any) any{
		"oidcc-client-test-userinfo-invalid-sub": func(info map[string]any) any {
			info["sub"] = info["sub"].(string) + "invalid"
			return info
		},
		"no sub":   func(info map[string]any) any { delete(info, "sub"); return info },
		"a list":   func(info map[string]any) any { return []any{info} },
		"null":     func(map[string]any) any { return nil },
		"a string": func(map[string]any) any { return "alice" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeUserInfo(change)
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			page := b.signIn(app.url+"/user-info", logtotest.DefaultUser())
			if page.status != http.StatusBadGateway || !strings.Contains(page.body, "token not acceptable") {
				t.Errorf("user info was used: %d %s", page.status, page.body)
			}
			if !b.isSignedIn(app) {
				t.Error("the session is gone")
			}
		})
	}
}

// D.2, plan oidcc-client-config-certification-test-plan.
func TestConformanceOfDiscovery(t *testing.T) {
	t.Parallel()
	t.Run("oidcc-client-test-discovery-openid-config", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		if calls := logto.Calls(); calls.Discovery != 1 || !b.isSignedIn(app) {
			t.Errorf("calls are %+v", calls)
		}
	})
	t.Run("oidcc-client-test-discovery-jwks-uri-keys", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		elsewhere := logtotest.NewServer(t)
		logto.ChangeDiscovery(func(document map[string]any) any {
			document["jwks_uri"] = elsewhere.Issuer() + "/jwks"
			return document
		})
		app := newApplication(t, logto, nil)
		b := newBrowser(t)
		page := b.signIn(app.url+"/profile", logtotest.DefaultUser())
		if elsewhere.Calls().Keys == 0 || logto.Calls().Keys != 0 {
			t.Error("the keys did not come from the jwks_uri of the document")
		}
		if page.status != http.StatusBadRequest {
			t.Errorf("a token of another's key was accepted: %d", page.status)
		}
	})
	t.Run("oidcc-client-test-discovery-issuer-mismatch", func(t *testing.T) {
		t.Parallel()
		for name, issuer := range map[string]func(string) any{
			"INVALID appended":       func(issuer string) any { return issuer + "INVALID" },
			"a slash appended (C38)": func(issuer string) any { return issuer + "/" },
			"absent":                 func(string) any { return nil },
		} {
			logto := logtotest.NewServer(t)
			logto.ChangeDiscovery(func(document map[string]any) any {
				document["issuer"] = issuer(document["issuer"].(string))
				return document
			})
			app := newApplication(t, logto, nil)
			page := newBrowser(t).get(app.url + "/sign-in")
			if page.status != http.StatusServiceUnavailable || logto.Calls().Authorization != 0 {
				t.Errorf("%s: %d, calls %+v", name, page.status, logto.Calls())
			}
		}
	})
	t.Run("oidcc-client-test-signing-key-rotation-just-before-signing", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		if err := app.auth.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if err := logto.RotateKey("RS256"); err != nil {
				t.Error(err)
			}
			next.ServeHTTP(w, r)
		})
		b := newBrowser(t)
		if b.signIn(app.url+"/profile", logtotest.DefaultUser()); !b.isSignedIn(app) {
			t.Error("the new key was not fetched")
		}
		if calls := logto.Calls(); calls.Keys != 2 {
			t.Errorf("%d key calls, want 2", calls.Keys)
		}
	})
	t.Run("oidcc-client-test-signing-key-rotation", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		for range 3 { // within one cooldown of ten seconds
			b := newBrowser(t)
			if b.signIn(app.url+"/profile", logtotest.DefaultUser()); !b.isSignedIn(app) {
				t.Error("not signed in")
			}
			if err := logto.RotateKey("ES384"); err != nil {
				t.Fatal(err)
			}
		}
		if calls := logto.Calls(); calls.Keys != 3 {
			t.Errorf("%d key calls, want 3", calls.Keys)
		}
	})
}

// D.6: the answer of the token endpoint.
func TestConformanceOfTheTokenAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(map[string]any) any
		accept bool
	}{
		"token-endpoint-response-without-expires_in": {func(a map[string]any) any { delete(a, "expires_in"); return a }, true},
		"token-type-case-insensitivity":              {func(a map[string]any) any { a["token_type"] = "bEARER"; return a }, true},
		"no scope":                                   {func(a map[string]any) any { delete(a, "scope"); return a }, true},
		"expires_in in quotes":                       {func(a map[string]any) any { a["expires_in"] = "3600"; return a }, true},
		"another token type":                         {func(a map[string]any) any { a["token_type"] = "DPoP"; return a }, false},
		"no token type":                              {func(a map[string]any) any { delete(a, "token_type"); return a }, false},
		"no id token":                                {func(a map[string]any) any { delete(a, "id_token"); return a }, false},
		"an id token that is no string":              {func(a map[string]any) any { a["id_token"] = 7; return a }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeTokenAnswer(test.change)
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			page := b.signIn(app.url+"/user-info", logtotest.DefaultUser())
			if test.accept != (page.status == http.StatusOK) || test.accept != b.isSignedIn(app) {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
	}
}

// D.6: the authorization response. None of these may lead to a token call
// (C15).
func TestConformanceOfTheCallback(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(url.Values) url.Values
		status int
	}{
		"invalid-authorization-response-iss (C17)":                       {func(q url.Values) url.Values { q.Set("iss", q.Get("iss")+"1"); return q }, http.StatusBadRequest},
		"remove-authorization-response-iss (C17)":                        {func(q url.Values) url.Values { q.Del("iss"); return q }, http.StatusBadRequest},
		"ensure-authorization-response-with-invalid-state-fails":         {func(q url.Values) url.Values { q.Set("state", q.Get("state")+"1"); return q }, http.StatusBadRequest},
		"ensure-authorization-response-with-invalid-missing-state-fails": {func(q url.Values) url.Values { q.Del("state"); return q }, http.StatusBadRequest},
		"state twice (C18)":                     {func(q url.Values) url.Values { q.Add("state", q.Get("state")); return q }, http.StatusBadRequest},
		"code twice (C18)":                      {func(q url.Values) url.Values { q.Add("code", q.Get("code")); return q }, http.StatusBadRequest},
		"iss twice (C18)":                       {func(q url.Values) url.Values { q.Add("iss", q.Get("iss")); return q }, http.StatusBadRequest},
		"error twice (C18)":                     {func(q url.Values) url.Values { q["error"] = []string{"a", "b"}; return q }, http.StatusBadRequest},
		"neither code nor error":                {func(q url.Values) url.Values { q.Del("code"); return q }, http.StatusBadRequest},
		"a code with a zero byte":               {func(q url.Values) url.Values { q.Set("code", "a\x00b"); return q }, http.StatusBadRequest},
		"error beside a code":                   {func(q url.Values) url.Values { q.Set("error", "access_denied"); return q }, http.StatusBadRequest},
		"nothing, a consent that was cancelled": {func(url.Values) url.Values { return url.Values{} }, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeCallback(test.change)
			app := newApplication(t, logto, nil)
			b := newBrowser(t)
			page := b.signIn(app.url+"/profile", logtotest.DefaultUser())
			if page.status != test.status || page.url.Path != "/callback" {
				t.Errorf("%d at %s: %s", page.status, page.url, page.body)
			}
			if calls := logto.Calls(); calls.Token != 0 || calls.UserInfo != 0 {
				t.Errorf("calls are %+v", calls)
			}
			if !strings.Contains(page.body, `href="/sign-in`) || b.isSignedIn(app) {
				t.Errorf("the page offers no new start: %s", page.body)
			}
		})
	}
}

// The clock of the application off by 90 s is more than the default skew.
func TestClockSkewIsConfigurable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		skew   time.Duration
		accept bool
	}{
		"90 s off with the default of 60 s": {0, false},
		"90 s off with 2 minutes allowed":   {2 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				cfg.ClockSkew = test.skew
				cfg.Now = func() time.Time { return time.Now().Add(-90 * time.Second) }
			})
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			if b.isSignedIn(app) != test.accept {
				t.Errorf("signed in: %v", !test.accept)
			}
		})
	}
}
