package logtotest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest"
)

func TestTheTokenAnswerIsThatOfLogto(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	attempt := b.newSignIn()
	got := b.token(codeForm(b.callback(attempt).Get("code"), attempt))
	if got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" ||
		got.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Fatalf("%d %v %s", got.status, got.header, got.body)
	}
	answer := decode(t, got.body)
	for _, name := range []string{"access_token", "refresh_token"} {
		if token, _ := answer[name].(string); len(token) != 43 || strings.Contains(token, ".") {
			t.Errorf("%s %q", name, token)
		}
	}
	if answer["expires_in"] != 3600.0 || answer["token_type"] != "Bearer" || answer["scope"] != everything || len(answer) != 6 {
		t.Errorf("answer %s", got.body)
	}
}

func TestOfflineAccessNeedsPromptConsent(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	answer := b.tokens("prompt", "", "scope", "openid offline_access")
	if _, has := answer["refresh_token"]; has || answer["scope"] != "openid" {
		t.Errorf("answer %v", answer)
	}
}

func TestClaimsFollowTheScopes(t *testing.T) {
	t.Parallel()
	created := time.UnixMilli(1795416779476)
	full := logtotest.DefaultUser()
	full.ID, full.CreatedAt, full.UpdatedAt = "b8scm29158bd", created, created
	full.PhoneNumber, full.Picture = "+4915112345678", "https://img.example.test/alice.png"
	full.Claims = map[string]any{
		"roles": []string{"admin"}, "organizations": []string{"o1"}, "organization_roles": []string{"o1:editor"},
		"custom_data": map[string]any{"plan": "pro"}, "locale": "en-GB",
	}
	empty := logtotest.DefaultUser()
	empty.ID, empty.CreatedAt, empty.UpdatedAt, empty.Name, empty.Email = "emptyemptyem", created, created, "", ""

	profile := map[string]any{
		"sub": full.ID, "name": full.Name, "picture": full.Picture, "username": "alice", "preferred_username": "alice",
		"locale": "en-GB", "created_at": 1795416779476.0, "updated_at": 1795416779476.0,
	}
	tests := map[string]struct {
		user           logtotest.User
		scope          string
		inBoth         map[string]any
		onlyInUserInfo map[string]any
	}{
		"openid alone gives the sub": {user: full, scope: "openid", inBoth: map[string]any{"sub": full.ID}},
		"profile gives the profile":  {user: full, scope: "openid profile", inBoth: profile},
		"profile gives nulls for what is not set": {user: empty, scope: "openid profile email phone", inBoth: map[string]any{
			"sub": empty.ID, "name": nil, "picture": nil, "username": "alice", "preferred_username": "alice",
			"created_at": 1795416779476.0, "updated_at": 1795416779476.0,
			"email": nil, "email_verified": false, "phone_number": nil, "phone_number_verified": false,
		}},
		"email and phone give what is verified": {user: full, scope: "openid email phone", inBoth: map[string]any{
			"sub": full.ID, "email": full.Email, "email_verified": true,
			"phone_number": full.PhoneNumber, "phone_number_verified": true,
		}},
		"roles and organizations are in both": {
			user: full, scope: "openid roles urn:logto:scope:organizations urn:logto:scope:organization_roles",
			inBoth: map[string]any{
				"sub": full.ID, "roles": []any{"admin"}, "organizations": []any{"o1"}, "organization_roles": []any{"o1:editor"},
			},
			onlyInUserInfo: map[string]any{"organization_data": []any{}},
		},
		"custom data and identities are in the user info only": {
			user: full, scope: "openid custom_data identities", inBoth: map[string]any{"sub": full.ID},
			onlyInUserInfo: map[string]any{
				"custom_data": map[string]any{"plan": "pro"}, "identities": map[string]any{}, "sso_identities": []any{},
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, logtotest.NewServer(t, test.user))
			answer := b.tokens("scope", test.scope, "nonce", "n-1")
			header, claims := decodeToken(t, answer["id_token"])
			if len(header) != 2 || header["alg"] != "ES384" || header["kid"] == "" {
				t.Errorf("header %v", header)
			}
			iat, _ := claims["iat"].(float64)
			if claims["iss"] != b.server.Issuer() || claims["aud"] != b.server.AppID() || claims["exp"] != iat+3600 || claims["nonce"] != "n-1" {
				t.Errorf("claims %v", claims)
			}
			for _, name := range []string{"iss", "aud", "exp", "iat", "nonce"} {
				delete(claims, name)
			}
			if !reflect.DeepEqual(claims, test.inBoth) {
				t.Errorf("ID token\n got %v\nwant %v", claims, test.inBoth)
			}
			want := map[string]any{}
			for _, part := range []map[string]any{test.inBoth, test.onlyInUserInfo} {
				for name, value := range part {
					want[name] = value
				}
			}
			token, _ := answer["access_token"].(string)
			if got := decode(t, b.userInfo(token).body); !reflect.DeepEqual(got, want) {
				t.Errorf("user info\n got %v\nwant %v", got, want)
			}
		})
	}
}

func TestRefreshingKeepsTheRefreshTokenAndRenewsTheOthers(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	first := b.tokens("nonce", "n-1")
	refreshToken, _ := first["refresh_token"].(string)
	second := decode(t, b.token(refreshForm(refreshToken)).body)
	if second["refresh_token"] != refreshToken || second["access_token"] == first["access_token"] || second["scope"] != everything {
		t.Errorf("answer %v", second)
	}
	if _, claims := decodeToken(t, second["id_token"]); claims["nonce"] != "n-1" || claims["email"] != "alice@example.test" {
		t.Errorf("claims %v", claims)
	}
	for scope, want := range map[string]bool{"openid": true, "profile": false} {
		form := refreshForm(refreshToken)
		form.Set("scope", scope)
		narrowed := decode(t, b.token(form).body)
		if _, has := narrowed["id_token"]; has != want || narrowed["scope"] != scope {
			t.Errorf("scope %s: %v", scope, narrowed)
		}
		if want {
			if _, claims := decodeToken(t, narrowed["id_token"]); claims["email"] != nil {
				t.Errorf("claims %v", claims)
			}
		}
	}
	form := refreshForm(refreshToken)
	form.Set("scope", "openid read:short")
	got := b.token(form)
	got.wantError(t, http.StatusBadRequest, "invalid_scope")
	if decode(t, got.body)["scope"] != "read:short" {
		t.Errorf("body %s", got.body)
	}
}

func TestAResourceGivesAJWT(t *testing.T) {
	t.Parallel()
	const api = "https://api.example.test/"
	user := logtotest.DefaultUser()
	user.Roles = []string{"reader"}
	b := newBrowser(t, logtotest.NewServer(t, user))
	b.server.AddResource(logtotest.Resource{Indicator: api, Permissions: []string{"read:things"}})
	b.server.AddResource(logtotest.Resource{Indicator: "https://other.example.test/"})
	b.server.AddRole(logtotest.Role{Name: "reader", Permissions: map[string][]string{api: {"read:things"}}})
	answer := b.tokens("scope", "openid offline_access read:things", "resource", api)
	if answer["scope"] != "openid offline_access" || strings.Contains(answer["access_token"].(string), ".") {
		t.Errorf("the code gives %v", answer)
	}
	form := refreshForm(answer["refresh_token"].(string))
	form.Set("resource", api)
	answer = decode(t, b.token(form).body)
	header, claims := decodeToken(t, answer["access_token"])
	if header["typ"] != "at+jwt" || header["alg"] != "ES384" || claims["aud"] != api || claims["scope"] != "read:things" ||
		claims["client_id"] != b.server.AppID() || claims["iss"] != b.server.Issuer() || claims["jti"] == "" {
		t.Errorf("%v %v", header, claims)
	}
	if answer["scope"] != "read:things" || answer["id_token"] == nil {
		t.Errorf("answer %v", answer)
	}
	got := b.userInfo(answer["access_token"].(string))
	got.wantError(t, http.StatusUnauthorized, "invalid_token")
	for _, resource := range []string{"https://other.example.test/", strings.TrimSuffix(api, "/"), "urn:logto:resource:organizations"} {
		form.Set("resource", resource)
		b.token(form).wantError(t, http.StatusBadRequest, "invalid_target")
	}
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	id, secret := b.server.AppID(), b.server.AppSecret()
	if len(id) != 21 || len(secret) != 32 {
		t.Errorf("app ID %q, secret %q", id, secret)
	}
	refreshToken, _ := b.tokens()["refresh_token"].(string)
	inBody := func(id, secret string) url.Values {
		form := refreshForm(refreshToken)
		form.Set("client_id", id)
		if secret != "" {
			form.Set("client_secret", secret)
		}
		return form
	}
	escaped := func(r *http.Request) { r.SetBasicAuth(fmt.Sprintf("%%%02X", id[0])+id[1:], secret) }
	nothing := func(*http.Request) {}
	tests := map[string]struct {
		form    url.Values
		header  func(*http.Request)
		status  int
		failure string
		basic   bool
	}{
		"in the header works":               {form: refreshForm(refreshToken), header: basicAuth(id, secret), status: 200},
		"in the header is form-url-decoded": {form: refreshForm(refreshToken), header: escaped, status: 200},
		"in the body works":                 {form: inBody(id, secret), header: nothing, status: 200},
		"in both places fails":              {form: inBody(id, secret), header: basicAuth(id, secret), status: 400, failure: "invalid_request"},
		"for two clients fails":             {form: inBody("other", ""), header: basicAuth(id, secret), status: 400, failure: "invalid_request"},
		"with a wrong secret fails":         {form: refreshForm(refreshToken), header: basicAuth(id, "no"), status: 401, failure: "invalid_client", basic: true},
		"with a wrong secret in the body":   {form: inBody(id, "no"), header: nothing, status: 401, failure: "invalid_client"},
		"as an unknown client fails":        {form: refreshForm(refreshToken), header: basicAuth("nope", secret), status: 400, failure: "invalid_client"},
		"left out fails":                    {form: refreshForm(refreshToken), header: nothing, status: 400, failure: "invalid_request"},
		"with a bearer token fails": {form: refreshForm(refreshToken), header: func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer x")
		}, status: 400, failure: "invalid_request"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := b.post(b.server.Endpoint()+"/oidc/token", test.form, test.header)
			if test.failure != "" {
				got.wantError(t, test.status, test.failure)
			} else if got.status != test.status {
				t.Errorf("%d %s", got.status, got.body)
			}
			if strings.HasPrefix(got.header.Get("WWW-Authenticate"), `Basic realm="`+b.server.Issuer()+`"`) != test.basic {
				t.Errorf("WWW-Authenticate %q", got.header.Get("WWW-Authenticate"))
			}
			if got.header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control %q", got.header.Get("Cache-Control"))
			}
		})
	}
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	attempt := b.newSignIn()
	code := b.callback(attempt).Get("code")
	change := func(form url.Values, name string, values ...string) url.Values {
		form[name] = values
		return form
	}
	for name, test := range map[string]struct {
		form    url.Values
		failure string
	}{
		"no grant type":              {url.Values{}, "invalid_request"},
		"an unknown grant type":      {url.Values{"grant_type": {"password"}}, "unsupported_grant_type"},
		"a grant type of other apps": {url.Values{"grant_type": {"client_credentials"}}, "invalid_request"},
		"no refresh token":           {refreshForm(""), "invalid_request"},
		"an unknown refresh token":   {refreshForm("garbage"), "invalid_grant"},
		"no code":                    {codeForm("", attempt), "invalid_request"},
		"an unknown code":            {codeForm("garbage", attempt), "invalid_grant"},
		"no verifier":                {change(codeForm(code, attempt), "code_verifier"), "invalid_request"},
		"a wrong verifier":           {change(codeForm(code, attempt), "code_verifier", strings.Repeat("x", 43)), "invalid_grant"},
		"another redirect URI":       {change(codeForm(code, attempt), "redirect_uri", callbackURI+"/"), "invalid_grant"},
		"a resource not asked for":   {change(codeForm(code, attempt), "resource", "https://api.example.test/"), "invalid_target"},
		"a repeated parameter":       {change(codeForm(code, attempt), "code", code, code), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) { b.token(test.form).wantError(t, http.StatusBadRequest, test.failure) })
	}
	if got := b.token(codeForm(code, attempt)); got.status != http.StatusOK {
		t.Errorf("after all these errors the code is used up: %s", got.body)
	}
	got := b.post(b.server.Endpoint()+"/oidc/token", refreshForm("x"), b.asApp(), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/json")
	})
	got.wantError(t, http.StatusBadRequest, "invalid_request")
	got = b.post(b.server.Endpoint()+"/oidc/token", url.Values{"x": {strings.Repeat("x", 56<<10)}}, b.asApp())
	if got.status != http.StatusNotFound || strings.TrimSpace(got.body) != "Not Found" {
		t.Errorf("a body that is too large: %d %s", got.status, got.body)
	}
}

func TestThingsExpire(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	start := time.Now()
	after := func(d time.Duration) { b.server.SetNow(func() time.Time { return start.Add(d) }) }
	after(0)
	attempt := b.newSignIn()
	code := b.callback(attempt).Get("code")
	answer := b.tokens()
	page := newBrowser(t, b.server)
	signInPage := page.authorize(page.newSignIn()).location

	after(61 * time.Second)
	b.token(codeForm(code, attempt)).wantError(t, http.StatusBadRequest, "invalid_grant")
	after(61 * time.Minute)
	b.userInfo(answer["access_token"].(string)).wantError(t, http.StatusUnauthorized, "invalid_token")
	if got := page.get(signInPage.String()); got.status != http.StatusFound || got.location.Path != "/unknown-session" {
		t.Errorf("the sign-in page after an hour: %d", got.status)
	}
	if got := b.token(refreshForm(answer["refresh_token"].(string))); got.status != http.StatusOK {
		t.Errorf("refresh after an hour: %s", got.body)
	}
	after(15 * 24 * time.Hour)
	b.token(refreshForm(answer["refresh_token"].(string))).wantError(t, http.StatusBadRequest, "invalid_grant")
	b.server.SetNow(nil)
}

func TestWhatEndsAGrant(t *testing.T) {
	t.Parallel()
	revoke := func(b *browser, token any) response {
		return b.post(b.server.Endpoint()+"/oidc/token/revocation", url.Values{"token": {token.(string)}}, b.asApp())
	}
	tests := map[string]struct {
		act  func(t *testing.T, b *browser, again func() response, answer map[string]any)
		ends bool
	}{
		"a replayed code does": {func(t *testing.T, _ *browser, again func() response, _ map[string]any) {
			again().wantError(t, http.StatusBadRequest, "invalid_grant")
		}, true},
		"revoking the refresh token does": {func(t *testing.T, b *browser, _ func() response, answer map[string]any) {
			got := revoke(b, answer["refresh_token"])
			if got.status != http.StatusOK || got.body != "" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
				t.Errorf("%d %s", got.status, got.body)
			}
		}, true},
		"revoking the access token does": {func(t *testing.T, b *browser, _ func() response, answer map[string]any) {
			if got := revoke(b, answer["access_token"]); got.status != http.StatusOK {
				t.Errorf("%d %s", got.status, got.body)
			}
		}, true},
		"revoking an unknown token does not": {func(t *testing.T, b *browser, _ func() response, _ map[string]any) {
			if got := revoke(b, "garbage"); got.status != http.StatusOK {
				t.Errorf("%d %s", got.status, got.body)
			}
		}, false},
		"revoking a JWT does not": {func(t *testing.T, b *browser, _ func() response, answer map[string]any) {
			revoke(b, answer["id_token"]).wantError(t, http.StatusBadRequest, "unsupported_token_type")
		}, false},
		"revoking without authentication does not": {func(t *testing.T, b *browser, _ func() response, answer map[string]any) {
			b.post(b.server.Endpoint()+"/oidc/token/revocation", url.Values{"token": {answer["refresh_token"].(string)}}).
				wantError(t, http.StatusBadRequest, "invalid_request")
		}, false},
		"signing out does not, with offline_access": {func(_ *testing.T, b *browser, _ func() response, _ map[string]any) {
			b.signOut(url.Values{"client_id": {b.server.AppID()}})
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, logtotest.NewServer(t))
			attempt := b.newSignIn()
			form := codeForm(b.callback(attempt).Get("code"), attempt)
			answer := decode(t, b.token(form).body)
			test.act(t, b, func() response { return b.token(form) }, answer)
			refreshed := b.token(refreshForm(answer["refresh_token"].(string)))
			userInfo := b.userInfo(answer["access_token"].(string))
			if !test.ends {
				if refreshed.status != http.StatusOK || userInfo.status != http.StatusOK {
					t.Errorf("%s %s", refreshed.body, userInfo.body)
				}
				return
			}
			refreshed.wantError(t, http.StatusBadRequest, "invalid_grant")
			userInfo.wantError(t, http.StatusUnauthorized, "invalid_token")
		})
	}
}

func TestUserInfoErrors(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	realm := `Bearer realm="` + b.server.Issuer() + `"`
	got := b.get(b.server.Endpoint() + "/oidc/me")
	got.wantError(t, http.StatusUnauthorized, "invalid_token")
	if got.header.Get("WWW-Authenticate") != realm || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", got.header)
	}
	got = b.userInfo("garbage")
	got.wantError(t, http.StatusUnauthorized, "invalid_token")
	if got.header.Get("WWW-Authenticate") != realm+`, error="invalid_token", error_description="invalid token provided"` {
		t.Errorf("header %v", got.header)
	}
	withoutOpenID := b.tokens("scope", "profile", "nonce", "")
	if _, has := withoutOpenID["id_token"]; has {
		t.Errorf("answer %v", withoutOpenID)
	}
	b.userInfo(withoutOpenID["access_token"].(string)).wantError(t, http.StatusForbidden, "insufficient_scope")
}

func TestUnknownRoutesAreAnsweredLikeErrors(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.get(b.server.Endpoint()+"/oidc/nowhere").wantError(t, http.StatusNotFound, "invalid_request")
	b.get(b.server.Endpoint()+"/oidc/token").wantError(t, http.StatusNotFound, "invalid_request")
}
