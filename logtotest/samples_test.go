package logtotest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/logtotest"
)

// The answers of a real Logto 1.42, recorded, against those of the fake to the
// same requests: the same status, the same headers that matter, the same members
// of the same types, and the same texts of errors.

// notCompared are recordings whose requests are not known well enough.
var notCompared = map[string]string{
	"auth plain pkce":          "the recorded request led to the sign-in page, so it can have had no challenge",
	"token-error-code-expired": "the same as \"code garbage\": nothing tells them apart",
}

const (
	allScopes   = everythingButAddress + " urn:logto:scope:organizations urn:logto:scope:organization_roles"
	permissions = " read:things write:things read:docs manage:members"
	someScopes  = "openid offline_access profile email roles urn:logto:scope:organizations urn:logto:scope:organization_roles"

	everythingButAddress = "openid offline_access profile email phone address custom_data identities roles"
	recordedAPI          = "https://api.example.test/"
)

// newRecordedTenant is the tenant that the samples are from.
func newRecordedTenant(t *testing.T) *browser {
	t.Helper()
	user := logtotest.DefaultUser()
	user.ID, user.Picture = "alice", "https://img.example.test/alice.png"
	user.Roles = []string{"thing-user"}
	user.Organizations = map[string][]string{"acme": {"editor"}, "initech": {}}
	user.Claims = map[string]any{
		"family_name": "Example", "given_name": "Alice", "zoneinfo": "Europe/Berlin", "locale": "en-GB", "custom_data": map[string]any{"plan": "pro"},
	}
	server := logtotest.NewServer(t, user)
	server.AddResource(logtotest.Resource{Indicator: recordedAPI, Permissions: []string{"read:things", "write:things"}})
	server.AddResource(logtotest.Resource{Indicator: "https://other.example.test/"})
	server.AddResource(logtotest.Resource{Indicator: "https://short.example.test/", Permissions: []string{"read:short"}, AccessTokenLifetime: 15 * time.Second})
	server.AddResource(logtotest.Resource{Indicator: "https://default.logto.app/api", Permissions: []string{"all"}})
	server.AddRole(logtotest.Role{Name: "thing-user", Permissions: map[string][]string{recordedAPI: {"read:things", "write:things"}}})
	server.AddRole(logtotest.Role{Name: "short-user", Permissions: map[string][]string{"https://short.example.test/": {"read:short"}}})
	server.AddRole(logtotest.Role{Name: "manager", Permissions: map[string][]string{"https://default.logto.app/api": {"all"}}})
	server.AddOrganization(logtotest.Organization{ID: "acme", Name: "Acme", Description: "Acme Inc."})
	server.AddOrganization(logtotest.Organization{ID: "initech", Name: "Initech", Description: "Initech Inc."})
	server.AddOrganizationRole(logtotest.OrganizationRole{
		Name: "editor", Permissions: []string{"read:docs", "manage:members"},
		ResourcePermissions: map[string][]string{recordedAPI: {"read:things", "write:things"}},
	})
	return newBrowser(t, server)
}

func TestAnswersAreThoseOfTheRecordedLogto(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/samples.json")
	if err != nil {
		t.Fatal(err)
	}
	all := &comparison{t: t, samples: map[string]sample{}, done: map[string]bool{}}
	if err := json.Unmarshal(raw, &all.samples); err != nil {
		t.Fatal(err)
	}
	for _, part := range []func(*comparison, *browser){
		compareDocuments, compareTokens, compareCodes, compareOrganizations, compareRefreshTokens, compareKinds, compareIntrospection,
		compareAuthorization, compareUserInfo, compareSignOut, compareUsersKeptOut, compareMachines, compareWebhooks,
	} {
		b := newRecordedTenant(t)
		part(&comparison{t: t, server: b.server, samples: all.samples, done: all.done}, b)
	}
	for name := range all.samples {
		if reason := notCompared[name]; !all.done[name] && reason == "" {
			t.Errorf("%q is not compared", name)
		}
	}
}

func (b *browser) refresh(token string, changes ...string) response {
	b.t.Helper()
	form := refreshForm(token)
	for i := 0; i < len(changes); i += 2 {
		form.Add(changes[i], changes[i+1])
	}
	return b.token(form)
}

// signInFor signs in with these scopes and resources.
func (b *browser) signInFor(scope string, resources ...string) (got response, answer map[string]any) {
	b.t.Helper()
	attempt := b.newSignIn("scope", scope)
	attempt.parameters["resource"] = resources
	got = b.token(codeForm(b.callback(attempt).Get("code"), attempt))
	return got, decode(b.t, got.body)
}

func compareDocuments(c *comparison, b *browser) {
	for _, name := range []string{"openid-configuration", "oauth-authorization-server"} { // the recordings are the same
		c.same(b.get(b.server.Endpoint()+"/oidc/.well-known/"+name), "discovery")
	}
	c.same(b.get(b.server.Endpoint()+"/oidc/jwks"), "jwks")
	if err := b.server.RotateKey("RS256"); err != nil {
		c.t.Fatal(err)
	}
	c.same(b.get(b.server.Endpoint()+"/oidc/jwks"), "jwks-after-rotation-to-rsa")
	notified := b.server.AddApplication(logtotest.Application{
		BackchannelLogoutURI: "https://app.example.com/backchannel-logout", BackchannelLogoutSessionRequired: true,
	})
	c.token(b.signInTo(notified, "scope", "openid profile")["id_token"], "id-token-rs256-decoded")
}

func compareTokens(c *comparison, b *browser) {
	got, answer := b.signInFor(allScopes+permissions, recordedAPI)
	c.same(got, "token-success-code", "then right redirect_uri", "then right verifier")
	c.token(answer["id_token"], "id-token-decoded")
	refresh := answer["refresh_token"].(string)
	plain := c.same(b.refresh(refresh), "refresh plain", "token-success-refresh", "client_secret_post on basic client")
	c.token(decode(c.t, plain.body)["id_token"], "id-token-after-refresh-decoded")
	ofAPI := c.same(b.refresh(refresh, "resource", recordedAPI), "refresh resource", "token-success-refresh-resource")
	c.token(decode(c.t, ofAPI.body)["access_token"], "access-token-resource-decoded")
	c.same(b.refresh(refresh, "resource", recordedAPI, "scope", "read:things"), "refresh resource + scope subset")
	c.same(b.refresh(refresh, "resource", recordedAPI, "scope", "openid read:things"), "refresh resource + openid read:things")
	for _, name := range []string{"refresh urn:logto:resource:organizations", "refresh unknown resource", "refresh resource not in auth req", "refresh resource without trailing slash"} {
		resource := map[string]string{
			"refresh urn:logto:resource:organizations": orgs, "refresh resource not in auth req": "https://other.example.test/",
			"refresh resource without trailing slash": strings.TrimSuffix(recordedAPI, "/"),
		}[name]
		c.same(b.refresh(refresh, "resource", resource+map[bool]string{true: "https://unknown.example.test/"}[resource == ""]), name, "token-error-invalid-resource", "token-error-resource-not-requested")
	}
	c.same(b.refresh(refresh, "scope", "read:short"), "refresh scope not granted", "token-error-scope-not-granted")
	c.same(b.refresh("garbage"), "refresh garbage", "token-error-refresh-not-found")
	other := b.server.AddApplication(logtotest.Application{})
	c.same(b.as(other, refreshForm(refresh)), "refresh other client")
	c.same(b.post(b.server.Endpoint()+"/oidc/token", refreshForm(refresh), basicAuth(b.server.AppID(), "wrong")), "wrong secret", "token-error-wrong-client-secret")
	unknown := c.same(b.post(b.server.Endpoint()+"/oidc/token", refreshForm(refresh), basicAuth("nonexistent", "x")), "unknown client")
	if decode(c.t, unknown.body)["error_description"] != "invalid client nonexistent" {
		c.t.Errorf("%s", unknown.body)
	}
	c.same(b.token(url.Values{"grant_type": {"refresh_token"}}), "missing refresh_token")
	c.same(b.token(url.Values{"grant_type": {"password"}}), "unsupported grant", "token-error-unsupported-grant")
}

func compareCodes(c *comparison, b *browser) {
	attempt := b.newSignIn("scope", allScopes)
	code := b.callback(attempt).Get("code")
	wrong := func(name, value string) url.Values {
		form := codeForm(code, attempt)
		if form.Set(name, value); value == "" {
			form.Del(name)
		}
		return form
	}
	c.same(b.token(wrong("redirect_uri", "http://localhost:8080/other")), "wrong redirect_uri at token", "token-error-wrong-redirect-uri")
	c.same(b.token(wrong("code_verifier", strings.Repeat("x", 43))), "wrong verifier", "token-error-wrong-verifier")
	c.same(b.token(wrong("code_verifier", "")), "missing verifier")
	c.same(b.token(wrong("code", "garbage")), "code garbage", "token-error-code-not-found")
	c.same(b.as(b.server.AddApplication(logtotest.Application{}), codeForm(code, attempt)), "code by other client")
	answer := decode(c.t, b.token(codeForm(code, attempt)).body)
	c.same(b.token(codeForm(code, attempt)), "code reuse", "token-error-code-reuse")
	c.same(b.refresh(answer["refresh_token"].(string)), "refresh after code reuse (grant revoked?)")

	attempt = b.newSignIn("scope", allScopes+permissions, "resource", recordedAPI)
	form := codeForm(b.callback(attempt).Get("code"), attempt)
	form.Set("resource", recordedAPI)
	c.same(b.token(form), "code with resource", "token-success-code-with-resource")
	attempt = b.newSignIn("scope", someScopes, "code_challenge", "", "code_challenge_method", "")
	form = url.Values{"grant_type": {"authorization_code"}, "code": {b.callback(attempt).Get("code")}, "redirect_uri": {callbackURI}}
	c.same(b.token(form), "no pkce")
	withTime := b.newSignIn("scope", "openid offline_access profile email roles urn:logto:scope:organizations", "max_age", "600")
	c.token(decode(c.t, b.token(codeForm(b.callback(withTime).Get("code"), withTime)).body)["id_token"], "id-token-max-age-decoded")
}

func compareOrganizations(c *comparison, b *browser) {
	_, answer := b.signInFor(allScopes+permissions, recordedAPI)
	refresh := answer["refresh_token"].(string)
	got := c.same(b.refresh(refresh, "organization_id", "acme"), "refresh org", "token-success-refresh-organization")
	c.token(decode(c.t, got.body)["access_token"], "organization-token-decoded")
	c.same(b.refresh(refresh, "organization_id", "initech"), "refresh org2 (member, no role)")
	c.same(b.refresh(refresh, "organization_id", "acme", "scope", "read:docs"), "refresh org scope subset")
	got = c.same(b.refresh(refresh, "organization_id", "acme", "resource", recordedAPI), "refresh resource+org", "token-success-refresh-resource-in-organization")
	c.token(decode(c.t, got.body)["access_token"], "access-token-resource-in-organization-decoded")
	b.server.AddOrganization(logtotest.Organization{ID: "others"})
	c.same(b.refresh(refresh, "organization_id", "others"), "refresh org not member", "token-error-org-not-member")
	c.same(b.refresh(refresh, "organization_id", "nowhere"), "refresh org unknown")
	_, answer = b.signInFor(someScopes+" read:docs manage:members", orgs)
	refresh = answer["refresh_token"].(string)
	got = c.same(b.refresh(refresh, "organization_id", "acme"), "org token", "token-success-refresh-organization-with-scopes")
	c.token(decode(c.t, got.body)["access_token"], "organization-token-with-scopes-decoded")
	c.same(b.refresh(refresh, "organization_id", "acme", "scope", "read:docs"), "org token scope read:docs")
	c.same(b.refresh(refresh, "organization_id", "initech"), "org2")
}

func compareRefreshTokens(c *comparison, b *browser) {
	spa := b.server.AddApplication(logtotest.Application{Type: logtotest.SinglePage})
	attempt := b.newSignIn("client_id", spa.ID, "scope", someScopes)
	next := func(got response) string { return decode(c.t, got.body)["refresh_token"].(string) }
	got := c.same(b.as(spa, codeForm(b.callback(attempt).Get("code"), attempt)), "spa code")
	accessToken, first := decode(c.t, got.body)["access_token"].(string), next(got)
	c.same(b.as(spa, refreshForm(first)), "spa refresh 1")
	second := next(c.same(b.as(spa, refreshForm(first)), "spa reuse of r0 at once", "token-refresh-reuse-immediately"))
	newest := next(c.same(b.as(spa, refreshForm(second)), "spa refresh r1 (after)"))
	b.server.Advance(4500 * time.Millisecond)
	c.same(b.as(spa, refreshForm(first)), "spa reuse of r0 after 4.5 s", "token-error-refresh-reused", "reuse after 4 s")
	c.same(b.as(spa, refreshForm(newest)), "spa newest rt after reuse detection", "token-error-refresh-after-reuse-detection", "rotated one after reuse")
	c.same(b.userInfo(accessToken), "userinfo with AT of the revoked grant", "userinfo-error-invalid-token")

	short := b.server.AddApplication(logtotest.Application{RefreshTokenLifetime: 30 * time.Second})
	refresh := b.signInTo(short, "scope", someScopes)["refresh_token"].(string)
	b.server.Advance(22 * time.Second)
	rotated := next(c.same(b.as(short, refreshForm(refresh)), "short refresh 22s"))
	c.same(b.as(short, refreshForm(refresh)), "reuse at once")
	b.server.Advance(time.Minute)
	c.same(b.as(short, refreshForm(rotated)), "expired refresh token", "token-error-refresh-expired")
}

func compareKinds(c *comparison, b *browser) {
	exchange := func(app logtotest.Application, scope, prompt string) response {
		attempt := b.newSignIn("client_id", app.ID, "scope", scope, "prompt", prompt)
		return b.as(app, codeForm(b.callback(attempt).Get("code"), attempt))
	}
	app := b.server.Application()
	c.same(exchange(app, "openid profile", "consent"), "no offline_access", "token-success-no-offline")
	c.same(exchange(app, someScopes, ""), "offline_access without prompt=consent: rt?")
	always := b.server.AddApplication(logtotest.Application{
		AlwaysIssueRefreshToken: true, BackchannelLogoutURI: "http://localhost:8080/backchannel-logout", BackchannelLogoutSessionRequired: true,
	})
	c.same(exchange(always, someScopes, ""), "alwaysIssueRefreshToken, no consent: rt?")
	_, answer := b.signInFor(someScopes+" read:short read:things", "https://short.example.test/", recordedAPI)
	if got := decode(c.t, b.refresh(answer["refresh_token"].(string), "resource", "https://short.example.test/").body); got["expires_in"] != 15.0 {
		c.t.Errorf("%v", got)
	}
}

func compareIntrospection(c *comparison, b *browser) {
	_, answer := b.signInFor(someScopes+" read:things write:things", recordedAPI)
	ask := func(path, token string) response {
		return b.post(b.server.Endpoint()+"/oidc/token/"+path, url.Values{"token": {token}}, b.asApp())
	}
	accessToken, refresh := answer["access_token"].(string), answer["refresh_token"].(string)
	ofAPI := decode(c.t, b.refresh(refresh, "resource", recordedAPI).body)["access_token"].(string)
	c.same(ask("introspection", accessToken), "introspect opaque AT")
	c.same(ask("introspection", refresh), "introspect RT")
	c.same(ask("introspection", ofAPI), "introspect JWT")
	c.same(ask("revocation", ofAPI), "revoke JWT AT")
	c.same(ask("revocation", "garbage"), "revoke garbage")
	c.same(b.userInfo(ofAPI), "userinfo with JWT AT", "userinfo-error-jwt-access-token")
	c.same(ask("revocation", accessToken), "revoke opaque AT")
	c.same(b.refresh(refresh), "refresh after AT revoked")
	_, answer = b.signInFor(someScopes)
	c.same(ask("revocation", answer["refresh_token"].(string)), "revoke RT")
	c.same(b.refresh(answer["refresh_token"].(string)), "refresh after revoke")
	c.same(b.userInfo(answer["access_token"].(string)), "userinfo after RT revoke")
}

func compareAuthorization(c *comparison, b *browser) {
	ask := func(changes ...string) response { return b.authorize(b.newSignIn(changes...)) }
	b.server.RegisterRedirectURIs(callbackURI)
	c.same(ask("redirect_uri", "http://localhost:8080/other"), "auth unregistered redirect_uri", "auth-error-redirect-uri")
	c.same(ask("client_id", "nope"), "auth unknown client", "auth-error-unknown-client")
	c.same(ask("resource", "https://unknown.example.test/"), "auth unknown resource", "auth-error-invalid-resource")
	c.same(ask("scope", "openid unknown"), "auth unknown scope")
	c.same(ask("prompt", "none"), "auth prompt=none, no session", "auth-error-login-required")
	c.same(ask("response_type", "nonsense"), "auth bad response_type")
	c.same(ask("response_type", "token"), "auth response_type=token")
	c.same(ask("prompt", "none", "response_mode", "form_post"), "auth form_post error")
	c.same(ask("organization_id", "acme"), "auth organization_id")
	c.same(ask("request", "x"), "auth request=")
	c.same(ask("scope", "profile"), "auth without openid")
	spa := b.server.AddApplication(logtotest.Application{Type: logtotest.SinglePage})
	c.same(ask("client_id", spa.ID, "code_challenge", "", "code_challenge_method", ""), "auth SPA no pkce")
	b.callback(b.newSignIn("scope", "openid profile"))
	c.same(ask("scope", "openid profile", "prompt", "none"), "prompt=none with session, same client")
	other := b.server.AddApplication(logtotest.Application{})
	c.same(ask("client_id", other.ID, "scope", "openid profile", "prompt", "none"), "prompt=none with session, other client (never consented)")
}

func compareUserInfo(c *comparison, b *browser) {
	_, answer := b.signInFor(allScopes)
	c.same(b.userInfo(answer["access_token"].(string)), "userinfo")
	c.same(b.userInfo("garbage"), "userinfo garbage")
	c.same(b.get(b.server.Endpoint()+"/oidc/me"), "userinfo no token")
}

func compareSignOut(c *comparison, b *browser) {
	const scopes = "openid offline_access profile email roles urn:logto:scope:organizations"
	gin.SetMode(gin.ReleaseMode)
	received := gin.New()
	var told []string
	received.POST("/backchannel-logout", func(g *gin.Context) {
		told = append(told, g.PostForm("logout_token"))
		want := c.sample("backchannel-logout-request")
		if g.GetHeader("Content-Type") != want.Headers["content-type"] || g.GetHeader("User-Agent") != want.Headers["user-agent"] {
			c.t.Errorf("headers %v", g.Request.Header)
		}
	})
	b.server.Serve("https://app.example.com", received)
	notified := b.server.AddApplication(logtotest.Application{
		BackchannelLogoutURI: "https://app.example.com/backchannel-logout", BackchannelLogoutSessionRequired: true,
	})
	b.server.RegisterPostLogoutRedirectURIs("http://localhost:8080/")
	attempt := b.newSignIn("scope", scopes, "max_age", "600")
	offline := decode(c.t, b.token(codeForm(b.callback(attempt).Get("code"), attempt)).body)
	bound := b.server.AddApplication(logtotest.Application{AlwaysIssueRefreshToken: true})
	online := b.signInTo(bound, "scope", "openid profile", "prompt", "")
	withSID := b.signInTo(notified, "scope", "openid profile email roles urn:logto:scope:organizations urn:logto:scope:organization_roles")
	c.token(withSID["id_token"], "id-token-bcl-app-decoded")

	end := b.server.Endpoint() + "/oidc/session/end?"
	c.same(b.get(end+url.Values{"client_id": {b.server.AppID()}, "post_logout_redirect_uri": {"https://evil.example/"}}.Encode()), "end-session unregistered post_logout uri")
	c.same(b.get(end+"id_token_hint=garbage"), "end-session garbage hint")
	for _, name := range []string{"end-session no hint no client", "end-session with hint", "end-session-response"} {
		query := map[string]string{"end-session with hint": "id_token_hint=" + offline["id_token"].(string)}[name]
		got := c.same(b.get(end+query), name)
		if page := c.sample("end-session-response").HTML; form(c.here(page)) != form(got.body) {
			c.t.Errorf("%s: the form is %s, want %s", name, form(got.body), form(c.here(page)))
		}
	}
	got := b.signOut(url.Values{"client_id": {b.server.AppID()}, "post_logout_redirect_uri": {"http://localhost:8080/"}, "state": {"abc"}})
	c.same(got, "end-session-confirm")
	if got.body != c.sample("end-session-confirm").Text {
		c.t.Errorf("%s", got.body)
	}
	if len(told) != 1 {
		c.t.Fatalf("told %d times", len(told))
	}
	c.token(told[0], "backchannel-logout-request")
	c.same(b.refresh(offline["refresh_token"].(string)), "refresh (offline_access) after logout")
	c.same(b.userInfo(offline["access_token"].(string)), "userinfo after logout")
	c.same(b.authorize(b.newSignIn("prompt", "none")), "prompt=none after logout")
	c.same(b.get(end+"client_id="+b.server.AppID()), "end-session client_id only, no session")
	c.same(b.userInfo(online["access_token"].(string)), "userinfo (no offline_access) after logout")
}

func compareUsersKeptOut(c *comparison, b *browser) {
	_, answer := b.signInFor("openid offline_access profile email roles urn:logto:scope:organizations read:things read:short", recordedAPI, "https://short.example.test/")
	refresh := answer["refresh_token"].(string)
	c.same(b.refresh(refresh, "resource", recordedAPI, "resource", "https://short.example.test/"), "two resources in one refresh")
	user := logtotest.User{ID: "alice", Username: "alice", Roles: []string{"short-user"}, Organizations: map[string][]string{"acme": {}}}
	b.server.AddUser(user)
	got := b.refresh(refresh, "resource", recordedAPI)
	c.token(decode(c.t, got.body)["access_token"], "access-token-no-scope-decoded")
	b.server.SuspendUser("alice", true)
	c.same(b.refresh(refresh), "refresh, suspended user", "token-error-suspended-user")
	c.same(b.userInfo(answer["access_token"].(string)), "userinfo, suspended")

	b = newRecordedTenant(c.t)
	c.server = b.server
	_, answer = b.signInFor(someScopes)
	b.server.DeleteUser("alice")
	c.same(b.refresh(answer["refresh_token"].(string)), "token-error-deleted-user")

	b = newRecordedTenant(c.t)
	c.server = b.server
	b.server.AddRole(logtotest.Role{Name: "thing-user", Permissions: map[string][]string{"https://short.example.test/": {"read:short"}}})
	_, answer = b.signInFor("openid offline_access profile email roles urn:logto:scope:organizations read:short", "https://short.example.test/")
	c.same(b.refresh(answer["refresh_token"].(string), "resource", "https://short.example.test/"), "short AT")
}

func compareMachines(c *comparison, b *browser) {
	robot := b.server.AddApplication(logtotest.Application{Type: logtotest.MachineToMachine, Roles: []string{"thing-user", "manager"}})
	ask := func(changes ...string) response {
		form := url.Values{"grant_type": {"client_credentials"}}
		for i := 0; i < len(changes); i += 2 {
			form.Add(changes[i], changes[i+1])
		}
		return b.as(robot, form)
	}
	c.same(ask("resource", recordedAPI, "scope", "read:things"), "cc resource", "token-success-client-credentials")
	c.same(ask("resource", recordedAPI), "cc resource no scope")
	c.same(ask(), "cc no resource")
	c.same(ask("resource", "https://unknown.example.test/"), "cc unknown resource")
	got := c.same(ask("resource", "https://default.logto.app/api", "scope", "all"), "token-success-client-credentials-mgmt")
	c.token(decode(c.t, got.body)["access_token"], "access-token-mgmt-decoded")
	c.same(b.token(url.Values{"grant_type": {"client_credentials"}}), "cc by web app")
	if got.status != http.StatusOK {
		c.t.Error(got.status)
	}
}
