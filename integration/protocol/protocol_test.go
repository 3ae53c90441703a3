// Package protocol_test speaks plain HTTP with the fake Logto and with the
// OpenID provider engine inside Logto. What holds for the engine has to hold for
// the fake: the tests are written once and run on both.
package protocol_test

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestProtocol(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) provider{"logtotest": startFake, "oidc-provider": startReal} {
		t.Run(name, func(t *testing.T) {
			backchannelURI, deliveries := listen(t)
			p := start(t, backchannelURI)
			for _, test := range tests {
				// One after the other: some move the clock.
				t.Run(test.sentence, func(t *testing.T) { test.run(newParty(t, p, deliveries)) })
			}
		})
	}
}

var tests = []struct {
	sentence string
	run      func(*party)
}{
	{"discovery has what an application needs and the exact issuer", testDiscovery},
	{"a sign-in yields tokens for the request that began it", testSignIn},
	{"a wrong verifier is refused", testWrongVerifier},
	{"a code works once and its replay revokes what it yielded", testReplay},
	{"an unregistered redirect URI and an unknown client are not redirected", testRecipient},
	{"prompt=none without a session gives login_required", testSilentWithoutSession},
	{"a code and an access token expire", testExpiry},
	{"a wrong client secret is told with a challenge", testWrongSecret},
	{"user info needs the token and is about the same user", testUserInfo},
	{"a refresh yields a new ID token of the same user", testRefresh},
	{"a refresh token of another client is refused and stays good", testForeignRefreshToken},
	{"a client with a secret keeps its refresh token for most of its life", testConfidentialRotation},
	{"a public client gets another refresh token and must not use the old one", testPublicRotation},
	{"a refresh for a resource yields a JWT for it alone", testResource},
	{"an unknown resource is an invalid target", testUnknownResource},
	{"a revocation ends the grant", testRevocation},
	{"revoking what does not exist succeeds", testRevocationOfGarbage},
	{"introspection tells live tokens from dead ones", testIntrospection},
	{"introspection tells the session of an application with back-channel sessions", testIntrospectedSession},
	{"a machine gets a token for itself", testMachine},
	{"the end of a session leads to the application and leaves offline access", testEndSession},
	{"an unregistered post-logout URI is refused and ends nothing", testUnregisteredPostLogoutURI},
	{"the end of a session is told on the back channel", testBackchannelLogout},
}

func testDiscovery(c *party) {
	if c.document["issuer"] != c.provider.issuer() {
		c.Errorf("the issuer is %v, not %s", c.document["issuer"], c.provider.issuer())
	}
	for _, name := range []string{
		"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri",
		"revocation_endpoint", "introspection_endpoint", "end_session_endpoint",
	} {
		if address := c.endpoint(name); !strings.HasPrefix(address, c.provider.issuer()+"/") {
			c.Errorf("%s is %s", name, address)
		}
	}
	for _, name := range []string{
		"authorization_response_iss_parameter_supported", "backchannel_logout_supported", "backchannel_logout_session_supported",
	} {
		if c.document[name] != true {
			c.Errorf("%s is %v", name, c.document[name])
		}
	}
	for name, wanted := range map[string][]any{
		"response_types_supported":              {"code"},
		"response_modes_supported":              {"query"},
		"subject_types_supported":               {"public"},
		"id_token_signing_alg_values_supported": {"ES384"},
		"code_challenge_methods_supported":      {"S256"},
		"scopes_supported":                      {"openid", "offline_access", "profile"},
		"grant_types_supported":                 {"authorization_code", "refresh_token", "client_credentials"},
		"token_endpoint_auth_methods_supported": {"client_secret_basic", "client_secret_post", "none"},
		"claims_supported":                      {"sub", "iss", "sid"},
	} {
		values, _ := c.document[name].([]any)
		for _, value := range wanted {
			if !slices.Contains(values, value) {
				c.Errorf("%s has no %v: %v", name, value, values)
			}
		}
	}
}

func testSignIn(c *party) {
	r := c.newRequest(web, nil)
	tokens := c.token(web, exchangeForm(r, c.callback(r).Get("code")))
	if tokens["token_type"] != "Bearer" || tokens["expires_in"] != 3600.0 {
		c.Errorf("tokens are %v", tokens)
	}
	c.text(tokens, "access_token")
	c.text(tokens, "refresh_token")
	header, claims := c.verify(c.text(tokens, "id_token"))
	if header["typ"] != nil {
		c.Errorf("the header of the ID token is %v", header)
	}
	if claims["aud"] != web.id || claims["sub"] != userID || claims["nonce"] != r.nonce || claims["sid"] != nil {
		c.Errorf("claims are %v, nonce was %s", claims, r.nonce)
	}
}

func testWrongVerifier(c *party) {
	r := c.newRequest(web, nil)
	form := exchangeForm(r, c.callback(r).Get("code"))
	form.Set("code_verifier", strings.Repeat("a", 43))
	c.expectError(c.post(web, "token_endpoint", form), http.StatusBadRequest, "invalid_grant")
	form.Del("code_verifier")
	if a := c.post(web, "token_endpoint", form); a.Status != http.StatusBadRequest {
		c.Errorf("without a verifier: %d %s", a.Status, a.Body)
	}
}

func testReplay(c *party) {
	r := c.newRequest(web, nil)
	form := exchangeForm(r, c.callback(r).Get("code"))
	tokens := c.token(web, form)
	c.expectError(c.post(web, "token_endpoint", form), http.StatusBadRequest, "invalid_grant")
	c.expectRevoked(web, tokens)
}

// expectRevoked expects that neither token works any more.
func (c *party) expectRevoked(app application, tokens map[string]any) {
	c.Helper()
	c.expectError(c.refresh(app, c.text(tokens, "refresh_token"), nil), http.StatusBadRequest, "invalid_grant")
	c.expectError(c.userInfo("Bearer "+c.text(tokens, "access_token")), http.StatusUnauthorized, "invalid_token")
}

func testRecipient(c *party) {
	for _, uri := range []string{"https://elsewhere.example.test/callback", redirectURI + "/", redirectURI + "?a=b"} {
		r := c.newRequest(web, url.Values{"redirect_uri": {uri}})
		c.expectError(c.browser.Get(r.address), http.StatusBadRequest, "invalid_redirect_uri")
	}
	r := c.newRequest(application{id: "unknown00000000000001"}, nil)
	c.expectError(c.browser.Get(r.address), http.StatusBadRequest, "invalid_client")
}

func testSilentWithoutSession(c *party) {
	if failure := c.silently(web); failure != "login_required" {
		c.Errorf("the error is %q", failure)
	}
	c.signIn(web)
	if failure := c.silently(web); failure != "" {
		c.Errorf("with a session, the error is %q", failure)
	}
}

func testExpiry(c *party) {
	r := c.newRequest(web, nil)
	form := exchangeForm(r, c.callback(r).Get("code"))
	c.provider.advance(61 * time.Second)
	c.expectError(c.post(web, "token_endpoint", form), http.StatusBadRequest, "invalid_grant")

	tokens := c.signIn(web)
	c.provider.advance(time.Hour + time.Minute) // a minute for the engine's tolerance
	c.expectError(c.userInfo("Bearer "+c.text(tokens, "access_token")), http.StatusUnauthorized, "invalid_token")
}

func testWrongSecret(c *party) {
	r := c.newRequest(web, nil)
	form := exchangeForm(r, c.callback(r).Get("code"))
	for _, endpoint := range []string{"token_endpoint", "revocation_endpoint", "introspection_endpoint"} {
		a := c.post(application{web.id, "wrong"}, endpoint, form)
		c.expectError(a, http.StatusUnauthorized, "invalid_client")
		if challenge := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Basic ") {
			c.Errorf("%s: the challenge is %q", endpoint, challenge)
		}
	}
	c.token(web, form) // the code is still good
}

func testUserInfo(c *party) {
	tokens := c.signIn(web)
	a := c.userInfo("Bearer " + c.text(tokens, "access_token"))
	if a.Status != http.StatusOK || a.Members(c)["sub"] != userID {
		c.Errorf("user info is %d %s", a.Status, a.Body)
	}
	for _, authorization := range []string{
		"", "Bearer garbage", "Bearer " + c.text(tokens, "refresh_token"), "Bearer " + c.text(tokens, "id_token"),
	} {
		a := c.userInfo(authorization)
		c.expectError(a, http.StatusUnauthorized, "invalid_token")
		if challenge := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer ") {
			c.Errorf("the challenge is %q", challenge)
		}
	}
}

func testRefresh(c *party) {
	tokens := c.signIn(web)
	_, before := c.verify(c.text(tokens, "id_token"))
	c.provider.advance(time.Minute) // or both could have the same times
	refreshed := c.refreshed(web, c.text(tokens, "refresh_token"), nil)
	_, after := c.verify(c.text(refreshed, "id_token"))
	if after["sub"] != before["sub"] || after["aud"] != web.id || after["iat"].(float64) <= before["iat"].(float64) {
		c.Errorf("the ID token had %v and has %v", before, after)
	}
	if a := c.userInfo("Bearer " + c.text(refreshed, "access_token")); a.Status != http.StatusOK {
		c.Errorf("the new access token gives %d %s", a.Status, a.Body)
	}
}

func testForeignRefreshToken(c *party) {
	token := c.text(c.signIn(web), "refresh_token")
	c.expectError(c.refresh(other, token, nil), http.StatusBadRequest, "invalid_grant")
	c.refreshed(web, token, nil)
}

func testConfidentialRotation(c *party) {
	const life = 14 * 24 * time.Hour
	first := c.text(c.signIn(web), "refresh_token")
	c.provider.advance(life*7/10 - time.Minute)
	if kept := c.text(c.refreshed(web, first, nil), "refresh_token"); kept != first {
		c.Error("it is replaced before 70 % of its life have passed")
	}
	c.provider.advance(2 * time.Minute)
	second := c.text(c.refreshed(web, first, nil), "refresh_token")
	if second == first {
		c.Error("it is not replaced after 70 % of its life")
	}
	c.provider.advance(life - time.Minute)
	c.refreshed(web, second, nil)
	c.provider.advance(2 * time.Minute)
	c.expectError(c.refresh(web, second, nil), http.StatusBadRequest, "invalid_grant")
}

func testPublicRotation(c *party) {
	first := c.text(c.signIn(public), "refresh_token")
	tokens := c.refreshed(public, first, nil)
	if tokens["refresh_token"] == first {
		c.Error("the refresh token is not replaced")
	}
	// Two tabs may refresh at once.
	c.refreshed(public, first, nil)
	c.provider.advance(4 * time.Second)
	c.expectError(c.refresh(public, first, nil), http.StatusBadRequest, "invalid_grant")
	c.expectRevoked(public, tokens)
}

func testResource(c *party) {
	tokens := c.signIn(web)
	refreshed := c.refreshed(web, c.text(tokens, "refresh_token"), url.Values{"resource": {apiIndicator}})
	if refreshed["scope"] != apiPermission {
		c.Errorf("the scope is %v", refreshed["scope"])
	}
	token := c.text(refreshed, "access_token")
	c.expectAccessToken(token, web, userID)
	c.expectError(c.userInfo("Bearer "+token), http.StatusUnauthorized, "invalid_token")
}

// expectAccessToken expects a JWT for the API (RFC 9068).
func (c *party) expectAccessToken(token string, app application, subject string) {
	c.Helper()
	header, claims := c.verify(token)
	if header["typ"] != "at+jwt" || claims["aud"] != apiIndicator || claims["sub"] != subject ||
		claims["client_id"] != app.id || claims["scope"] != apiPermission {
		c.Errorf("header is %v, claims are %v", header, claims)
	}
	c.text(claims, "jti")
}

func testUnknownResource(c *party) {
	unknown := url.Values{"resource": {"https://unknown.example.test/"}}
	tokens := c.signIn(web)
	c.expectError(c.refresh(web, c.text(tokens, "refresh_token"), unknown), http.StatusBadRequest, "invalid_target")
	// Without its slash the indicator is another one.
	almost := url.Values{"resource": {strings.TrimSuffix(apiIndicator, "/")}}
	c.expectError(c.refresh(web, c.text(tokens, "refresh_token"), almost), http.StatusBadRequest, "invalid_target")
	if parameters := c.callback(c.newRequest(web, unknown)); parameters.Get("error") != "invalid_target" {
		c.Errorf("the authorization request comes back with %v", parameters)
	}
}

func testRevocation(c *party) {
	for _, kind := range []string{"refresh_token", "access_token"} {
		tokens := c.signIn(web)
		if a := c.post(web, "revocation_endpoint", url.Values{"token": {c.text(tokens, kind)}}); a.Status != http.StatusOK {
			c.Errorf("revoking the %s is answered %d %s", kind, a.Status, a.Body)
		}
		c.expectRevoked(web, tokens)
	}
	tokens := c.signIn(web)
	form := url.Values{"token": {c.text(tokens, "refresh_token")}}
	c.expectError(c.post(other, "revocation_endpoint", form), http.StatusBadRequest, "invalid_request")
	c.refreshed(web, c.text(tokens, "refresh_token"), nil)
}

func testRevocationOfGarbage(c *party) {
	if a := c.post(web, "revocation_endpoint", url.Values{"token": {"garbage"}}); a.Status != http.StatusOK {
		c.Errorf("answered %d %s", a.Status, a.Body)
	}
	c.expectError(c.post(web, "revocation_endpoint", url.Values{}), http.StatusBadRequest, "invalid_request")
}

func testIntrospection(c *party) {
	tokens := c.signIn(web)
	introspect := func(token string) map[string]any {
		c.Helper()
		a := c.post(web, "introspection_endpoint", url.Values{"token": {token}})
		if a.Status != http.StatusOK {
			c.Fatalf("answered %d %s", a.Status, a.Body)
		}
		return a.Members(c)
	}
	for _, kind := range []string{"access_token", "refresh_token"} {
		told := introspect(c.text(tokens, kind))
		if told["active"] != true || told["client_id"] != web.id || told["sub"] != userID || told["iss"] != c.provider.issuer() {
			c.Errorf("of a live %s it tells %v", kind, told)
		}
	}
	c.post(web, "revocation_endpoint", url.Values{"token": {c.text(tokens, "refresh_token")}})
	for _, token := range []string{"garbage", c.text(tokens, "access_token"), c.text(tokens, "refresh_token")} {
		if told := introspect(token); !reflect.DeepEqual(told, map[string]any{"active": false}) {
			c.Errorf("of a dead token it tells %v", told)
		}
	}
}

func testIntrospectedSession(c *party) {
	tokens := c.signIn(listening)
	_, claims := c.verify(c.text(tokens, "id_token"))
	for _, kind := range []string{"access_token", "refresh_token"} {
		told := c.post(listening, "introspection_endpoint", url.Values{"token": {c.text(tokens, kind)}}).Members(c)
		if sid := c.text(claims, "sid"); told["sid"] != sid {
			c.Errorf("of the %s it tells the sid %v, that of the ID token is %s", kind, told["sid"], sid)
		}
	}
}

func testMachine(c *party) {
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {apiIndicator}, "scope": {apiPermission}}
	tokens := c.token(machine, form)
	if tokens["token_type"] != "Bearer" || tokens["scope"] != apiPermission || tokens["refresh_token"] != nil || tokens["id_token"] != nil {
		c.Errorf("tokens are %v", tokens)
	}
	c.expectAccessToken(c.text(tokens, "access_token"), machine, machine.id)
	if a := c.post(web, "token_endpoint", form); a.Status != http.StatusBadRequest {
		c.Errorf("an application for users gets %d %s", a.Status, a.Body)
	}
	form.Del("resource")
	c.expectError(c.post(machine, "token_endpoint", form), http.StatusBadRequest, "invalid_target")
}

func testEndSession(c *party) {
	tokens := c.signIn(web)
	page := c.endSession(web, url.Values{
		"id_token_hint":            {c.text(tokens, "id_token")},
		"post_logout_redirect_uri": {postLogoutURI},
		"state":                    {"kept"},
	})
	if failure := c.silently(web); failure != "" {
		c.Errorf("the page alone ends the session: %s", failure)
	}
	a := c.browser.Submit(page, nil)
	if a.Location == nil || a.Location.String() != postLogoutURI+"?state=kept" {
		c.Errorf("the browser is sent to %v: %d %s", a.Location, a.Status, a.Body)
	}
	if failure := c.silently(web); failure != "login_required" {
		c.Errorf("afterwards, prompt=none gives %q", failure)
	}
	c.refreshed(web, c.text(tokens, "refresh_token"), nil)
}

func testUnregisteredPostLogoutURI(c *party) {
	c.signIn(web)
	page := c.endSession(web, url.Values{"post_logout_redirect_uri": {"https://elsewhere.example.test/"}})
	c.expectError(page, http.StatusBadRequest, "invalid_request")
	if failure := c.silently(web); failure != "" {
		c.Errorf("the session has ended: %s", failure)
	}
}

func testBackchannelLogout(c *party) {
	c.signIn(web) // is in the session, but not to be told
	_, idClaims := c.verify(c.text(c.signIn(listening), "id_token"))
	c.browser.Submit(c.endSession(web, url.Values{}), nil)

	var told delivery
	select {
	case told = <-c.deliveries:
	case <-time.After(timeout):
		c.Fatal("no logout token came")
	}
	if told.method != http.MethodPost || !strings.HasPrefix(told.contentType, "application/x-www-form-urlencoded") || len(told.form) != 1 {
		c.Errorf("the request is %+v", told)
	}
	header, claims := c.verify(told.form.Get("logout_token"))
	if header["typ"] != "logout+jwt" {
		c.Errorf("the header is %v", header)
	}
	events := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	if claims["aud"] != listening.id || claims["sub"] != userID || !reflect.DeepEqual(claims["events"], events) {
		c.Errorf("the claims are %v", claims)
	}
	if _, present := claims["nonce"]; present {
		c.Error("a logout token with a nonce could be taken for an ID token")
	}
	c.text(claims, "jti")
	if sid := c.text(idClaims, "sid"); claims["sid"] != sid {
		c.Errorf("the sid is %v, that of the ID token %s", claims["sid"], sid)
	}
	// The provider has waited for all its requests before it answered.
	if surplus := len(c.deliveries); surplus > 0 {
		c.Errorf("%d more requests came", surplus)
	}
}
