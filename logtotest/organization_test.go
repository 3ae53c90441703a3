package logtotest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

// signInFrom signs in with this organization in the authorization request, and returns a function for
// refreshes, which returns the scope of the answer.
func (b *browser) signInFrom(organization string, changes ...string) (scopeOf func(changes ...string) any) {
	b.t.Helper()
	attempt := b.newSignIn(append([]string{
		"scope", everything + " read:things write:things delete:things read:docs manage:members", "organization_id", organization,
	}, changes...)...)
	attempt.parameters["resource"] = []string{things, orgs}
	answer := decode(b.t, b.token(codeForm(b.callback(attempt).Get("code"), attempt)).body)
	return func(changes ...string) any {
		b.t.Helper()
		got := b.refresh(answer["refresh_token"].(string), changes...)
		if got.status != http.StatusOK {
			b.t.Fatalf("%d %s", got.status, got.body)
		}
		return decode(b.t, got.body)["scope"]
	}
}

// A running Logto 1.42 was seen to do this; its documents speak of the branding of the sign-in page
// (https://docs.logto.io/end-user-flows/authentication-parameters).
func TestAnOrganizationInTheAuthorizationRequestNarrowsThePermissionsOfTheWholeGrant(t *testing.T) {
	t.Parallel()
	const (
		own      = "read:things write:things"
		ofEditor = "read:things delete:things"
		all      = "read:things write:things delete:things"
	)
	inAcme, inInitech := []string{"resource", things, "organization_id", "acme"}, []string{"resource", things, "organization_id", "initech"}
	for name, test := range map[string]struct {
		organization string
		roles        []string // global ones
		alone        string   // the permissions of the API
		acme         string   // the same within Acme, where the user is an editor
		initech      string   // the same within Initech, where the user has no role
	}{
		"none":                               {"", []string{"thing-user"}, all, all, own},
		"none, and the user has no role":     {"", nil, ofEditor, ofEditor, ""},
		"that with the role":                 {"acme", nil, ofEditor, ofEditor, ""},
		"another one":                        {"initech", nil, "", "", ""},
		"one of others":                      {"others", nil, "", "", ""},
		"one that does not exist":            {"nowhere", nil, "", "", ""},
		"another one, and the user has more": {"initech", []string{"thing-user"}, own, own, own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, user := newTenant(t)
			user.Roles = test.roles
			user.Organizations = map[string][]string{"acme": {"editor"}, "initech": {}}
			b.server.AddUser(user)
			scopeOf := b.signInFrom(test.organization)
			if got := scopeOf("resource", things); got != test.alone {
				t.Errorf("the API: %q, want %q", got, test.alone)
			}
			if got := scopeOf(inAcme...); got != test.acme {
				t.Errorf("the API within Acme: %q, want %q", got, test.acme)
			}
			if got := scopeOf(inInitech...); got != test.initech {
				t.Errorf("the API within Initech: %q, want %q", got, test.initech)
			}
			if got := scopeOf("organization_id", "acme"); got != "read:docs manage:members" {
				t.Errorf("the organization itself: %q, want no effect", got)
			}
		})
	}
}

func TestAnOrganizationInTheAuthorizationRequestCountsWhenTheOtherParametersAreDropped(t *testing.T) {
	t.Parallel()
	b, user := newTenant(t)
	user.Roles = nil
	b.server.AddUser(user)
	if got := b.signInFrom("initech", "first_screen", "misspelt")("resource", things); got != "" {
		t.Errorf("got %q, want no permission", got)
	}
}

// A grant is of the browser's session at Logto: what it has been given once, it keeps.
func TestASignInWithoutTheOrganizationGivesThePermissionsBack(t *testing.T) {
	t.Parallel()
	b, user := newTenant(t)
	user.Roles = nil
	b.server.AddUser(user)
	narrowed := b.signInFrom("initech")
	if got := narrowed("resource", things); got != "" {
		t.Errorf("at first %q, want no permission", got)
	}
	full := b.signInFrom("")
	if got := full("resource", things); got != "read:things delete:things" {
		t.Errorf("without the organization: %q", got)
	}
}

// The sign-in bounds the permissions of APIs, and not the permissions of organizations.
func TestPermissionsThatTheUserGetsAfterTheSignIn(t *testing.T) {
	t.Parallel()
	b, user := newTenant(t)
	user.Roles, user.Organizations = nil, map[string][]string{"acme": {}}
	b.server.AddUser(user)
	scopeOf := b.signInFrom("")
	if got := scopeOf("organization_id", "acme", "scope", "read:docs"); got != "" {
		t.Errorf("before: %q", got)
	}
	b.server.SetMembership("alice", "acme", []string{"editor"})
	if got := scopeOf("organization_id", "acme"); got != "read:docs manage:members" {
		t.Errorf("of the organization: %q", got)
	}
	if got := scopeOf("organization_id", "acme", "resource", things); got != "" {
		t.Errorf("of the API: %q", got)
	}
}

// Two APIs can have permissions of the same name.
func TestAPermissionIsGrantedForOneAPI(t *testing.T) {
	t.Parallel()
	const copied = "https://copied.example.test/"
	b, user := newTenant(t)
	b.server.AddResource(logtotest.Resource{Indicator: copied, Permissions: []string{"read:things"}})
	_, refresh := b.signInWith(things, copied)
	b.server.AddRole(logtotest.Role{Name: "copier", Permissions: map[string][]string{copied: {"read:things"}}})
	user.Roles = append(user.Roles, "copier")
	b.server.AddUser(user)
	if got := decode(t, refresh("resource", copied).body); got["scope"] != "" {
		t.Errorf("got %v, want none: the user had no permission there when signing in", got["scope"])
	}
}

// What a running Logto answered to prompt=none.
func TestSilentSignIns(t *testing.T) {
	t.Parallel()
	b, _ := newTenant(t)
	b.callback(b.newSignIn("scope", "openid profile read:things", "resource", things))
	other := newBrowser(t, b.server)
	bob := b.server.AddUser(logtotest.User{Username: "bob", Password: "secret"})
	attempt := other.newSignIn("scope", "openid")
	code := other.submit(other.authorize(attempt).location, "username", bob.Username, "password", bob.Password).location.Query().Get("code")
	hint := decode(t, other.token(codeForm(code, attempt)).body)["id_token"].(string)
	native := b.server.AddApplication(logtotest.Application{Type: logtotest.Native})
	for name, test := range map[string]struct {
		changes            []string
		error, description string
	}{
		"with fewer scopes":                  {[]string{"scope", "openid"}, "", ""},
		"with a resource without scopes":     {[]string{"resource", short}, "", ""},
		"with a new scope of the provider":   {[]string{"scope", "openid email"}, "consent_required", "requested scopes not granted"},
		"with a new permission":              {[]string{"scope", "openid write:things", "resource", things}, "consent_required", "requested scopes not granted"},
		"with a permission the user has not": {[]string{"scope", "openid read:short", "resource", short}, "", ""},
		"of a native application":            {[]string{"client_id", native.ID}, "interaction_required", "native clients require End-User interaction"},
		"with max_age=0":                     {[]string{"max_age", "0"}, "login_required", "login prompt was not resolved"},
		"with the hint of another user":      {[]string{"id_token_hint", hint}, "login_required", "id_token_hint and authenticated subject do not match"},
		"with an organization":               {[]string{"organization_id", "acme"}, "", ""},
	} {
		got := b.authorize(b.newSignIn(append([]string{"scope", "openid profile", "prompt", "none"}, test.changes...)...)).location.Query()
		if got.Get("error") != test.error || got.Get("error_description") != test.description || got.Has("code") == (test.error != "") {
			t.Errorf("%s: %v, want %q", name, got, test.error)
		}
	}
}

// RFC 8252, section 8.6.
func TestANativeApplicationIsLedToTheConsentPageEachTime(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	native := b.server.AddApplication(logtotest.Application{Type: logtotest.Native, AlwaysIssueRefreshToken: true})
	if answer := b.signInTo(native, "scope", "openid", "prompt", ""); answer["refresh_token"] != nil {
		t.Errorf("%v, want no refresh token", answer)
	}
	for range 2 {
		if got := b.authorize(b.newSignIn("client_id", native.ID, "scope", "openid", "prompt", "")); got.location.Path != "/consent" {
			t.Errorf("%v", got.location)
		}
	}
}

// https://github.com/panva/node-oidc-provider/blob/main/recipes/client_based_origins.md
func TestScriptsOfOtherOriginsReadNoTokens(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.RegisterRedirectURIs(callbackURI, "https://app.example.com/callback")
	token := b.tokens("scope", "openid offline_access")
	for origin, allowed := range map[string]bool{"https://app.example.com": true, "http://localhost:8080": true, "https://evil.example": false, "http://app.example.com": false} {
		from := func(r *http.Request) { r.Header.Set("Origin", origin) }
		for name, got := range map[string]response{
			"token": b.post(b.server.Endpoint()+"/oidc/token", refreshForm(token["refresh_token"].(string)), b.asApp(), from),
			"user info": b.post(b.server.Endpoint()+"/oidc/me", nil, from, func(r *http.Request) {
				r.Header.Set("Authorization", "Bearer "+token["access_token"].(string))
			}),
		} {
			if (got.status == http.StatusOK) != allowed || (got.header.Get("Access-Control-Allow-Origin") == origin) != allowed {
				t.Errorf("%s to %s: %d, %q", name, origin, got.status, got.header.Get("Access-Control-Allow-Origin"))
			}
		}
	}
	preflight, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, b.server.Endpoint()+"/oidc/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	preflight.Header = http.Header{"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"authorization"}}
	if got := b.do(preflight); got.status != http.StatusNoContent || got.header.Get("Access-Control-Allow-Headers") != "authorization" || got.header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("%d %v", got.status, got.header)
	}
}

func TestRequestsThatAreTooLargeOrNameAPushedOne(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	state := make([]byte, 16<<10)
	for i := range state {
		state[i] = 's'
	}
	if got := b.authorize(b.newSignIn("state", string(state))); got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d %s", got.status, got.body)
	}
	pushed := b.newSignIn("request_uri", "urn:ietf:params:oauth:request_uri:x")
	b.authorize(pushed).wantError(t, http.StatusBadRequest, "invalid_request_uri")
	b.post(b.server.Endpoint()+"/oidc/request", url.Values{"client_id": {b.server.AppID()}}, b.asApp()).wantError(t, http.StatusNotFound, "invalid_request")
}
