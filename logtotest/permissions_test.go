package logtotest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest"
)

const (
	things = "https://things.example.test/"
	short  = "https://short.example.test/"
	orgs   = "urn:logto:resource:organizations"
)

// newTenant has an API, an organization and a user with a role in both.
func newTenant(t *testing.T) (*browser, logtotest.User) {
	t.Helper()
	user := logtotest.DefaultUser()
	user.ID = "alice"
	user.Roles = []string{"thing-user"}
	user.Organizations = map[string][]string{"acme": {"editor"}, "initech": {}, "strict": {"editor"}}
	server := logtotest.NewServer(t, user)
	server.AddResource(logtotest.Resource{Indicator: things, Permissions: []string{"read:things", "write:things", "delete:things"}})
	server.AddResource(logtotest.Resource{Indicator: short, Permissions: []string{"read:short"}, AccessTokenLifetime: 15 * time.Second})
	server.AddRole(logtotest.Role{Name: "thing-user", Permissions: map[string][]string{things: {"read:things", "write:things"}}})
	server.AddOrganization(logtotest.Organization{ID: "acme", Name: "Acme", Description: "Acme Inc."})
	server.AddOrganization(logtotest.Organization{ID: "initech", Name: "Initech"})
	server.AddOrganization(logtotest.Organization{ID: "strict", RequiresMFA: true})
	server.AddOrganization(logtotest.Organization{ID: "others"})
	server.AddOrganizationRole(logtotest.OrganizationRole{
		Name: "editor", Permissions: []string{"read:docs", "manage:members"},
		ResourcePermissions: map[string][]string{things: {"read:things", "delete:things"}},
	})
	return newBrowser(t, server), user
}

// signInWith signs in with all scopes and these resources, and returns the
// answer of the code and a function for refreshes.
func (b *browser) signInWith(resources ...string) (answer map[string]any, refresh func(changes ...string) response) {
	b.t.Helper()
	attempt := b.newSignIn("scope", everything+" read:things write:things delete:things read:short read:docs manage:members")
	attempt.parameters["resource"] = resources
	got := b.token(codeForm(b.callback(attempt).Get("code"), attempt))
	answer = decode(b.t, got.body)
	return answer, func(changes ...string) response {
		b.t.Helper()
		form := refreshForm(answer["refresh_token"].(string))
		for i := 0; i < len(changes); i += 2 {
			form.Add(changes[i], changes[i+1])
		}
		return b.token(form)
	}
}

func TestAccessTokensHaveWhatRolesAllow(t *testing.T) {
	t.Parallel()
	b, _ := newTenant(t)
	answer, refresh := b.signInWith(things, short, orgs)
	if answer["scope"] != everything || strings.Contains(answer["access_token"].(string), ".") {
		t.Errorf("the code gives %v", answer)
	}
	for name, test := range map[string]struct {
		ask       []string
		aud       any // nil for an opaque token
		org       any
		scope     string
		lifetime  float64
		noIDToken bool
	}{
		"for Logto":                               {nil, nil, nil, everything, 3600, false},
		"for an API":                              {[]string{"resource", things}, things, nil, "read:things write:things delete:things", 3600, false},
		"for an API without permissions":          {[]string{"resource", short}, short, nil, "", 15, false},
		"for an API, narrowed":                    {[]string{"resource", things, "scope", "read:things"}, things, nil, "read:things", 3600, true},
		"for an API, narrowed, with an ID token":  {[]string{"resource", things, "scope", "openid read:things"}, things, nil, "read:things", 3600, false},
		"for an organization":                     {[]string{"organization_id", "acme"}, "urn:logto:organization:acme", nil, "read:docs manage:members", 3600, false},
		"for an organization without roles there": {[]string{"organization_id", "initech"}, "urn:logto:organization:initech", nil, "", 3600, false},
		"for an API in an organization":           {[]string{"organization_id", "acme", "resource", things}, things, "acme", "read:things write:things delete:things", 3600, false},
		"for an API in another organization":      {[]string{"organization_id", "initech", "resource", things}, things, "initech", "read:things write:things", 3600, false},
		"for two APIs at once":                    {[]string{"resource", things, "resource", short}, nil, nil, everything, 3600, false},
	} {
		got := decode(t, refresh(test.ask...).body)
		if got["scope"] != test.scope || got["expires_in"] != test.lifetime || (got["id_token"] == nil) != test.noIDToken {
			t.Errorf("%s: %v", name, got)
		}
		token, _ := got["access_token"].(string)
		if test.aud == nil {
			if strings.Contains(token, ".") {
				t.Errorf("%s: %s", name, token)
			}
			continue
		}
		if _, claims := decodeToken(t, token); claims["aud"] != test.aud || claims["organization_id"] != test.org || claims["scope"] != test.scope || claims["sub"] != "alice" {
			t.Errorf("%s: %v", name, claims)
		}
	}
	for name, test := range map[string]struct {
		ask    []string
		status int
		error  string
	}{
		"an API that was not asked for":       {[]string{"resource", "https://other.example.test/"}, 400, "invalid_target"},
		"an API without its slash":            {[]string{"resource", strings.TrimSuffix(things, "/")}, 400, "invalid_target"},
		"the resource of organizations":       {[]string{"resource", orgs}, 400, "invalid_target"},
		"a permission that was not granted":   {[]string{"scope", "read:short"}, 400, "invalid_scope"},
		"an organization of others":           {[]string{"organization_id", "others"}, 403, "access_denied"},
		"an organization that does not exist": {[]string{"organization_id", "nowhere"}, 403, "access_denied"},
		"an organization that requires MFA":   {[]string{"organization_id", "strict"}, 403, "access_denied"},
		"an API in an organization of others": {[]string{"organization_id", "others", "resource", things}, 403, "access_denied"},
	} {
		t.Run(name, func(t *testing.T) { refresh(test.ask...).wantError(t, test.status, test.error) })
	}
}

func TestOrganizationTokensNeedTheScopeAndTheResource(t *testing.T) {
	t.Parallel()
	b, _ := newTenant(t)
	_, refresh := b.signInWith(things)
	if got := decode(t, refresh("organization_id", "acme").body); got["scope"] != "" {
		t.Errorf("without the resource: %v", got)
	}
	refresh("organization_id", "acme", "scope", "read:docs").wantError(t, http.StatusBadRequest, "invalid_scope")
	attempt := b.newSignIn("scope", "openid offline_access")
	answer := decode(t, b.token(codeForm(b.callback(attempt).Get("code"), attempt)).body)
	form := refreshForm(answer["refresh_token"].(string))
	form.Set("organization_id", "acme")
	b.token(form).wantError(t, http.StatusForbidden, "insufficient_scope")
}

func TestRightsFollowTheUserAtTheNextRefresh(t *testing.T) {
	t.Parallel()
	b, user := newTenant(t)
	_, refresh := b.signInWith(things, orgs)
	user.Roles = nil
	b.server.AddUser(user)
	if got := decode(t, refresh("resource", things).body); got["scope"] != "read:things delete:things" {
		t.Errorf("by organization roles alone: %v", got)
	}
	b.server.SetMembership("alice", "acme", nil)
	b.server.SetMembership("alice", "strict", []string{})
	if got := decode(t, refresh("resource", things).body); got["scope"] != "" {
		t.Errorf("without roles: %v", got)
	}
	refresh("organization_id", "acme").wantError(t, http.StatusForbidden, "access_denied")
	got := decode(t, refresh().body)
	if _, claims := decodeToken(t, got["id_token"]); len(claims["roles"].([]any)) != 0 || len(claims["organization_roles"].([]any)) != 0 {
		t.Errorf("%v", claims)
	}
	info := decode(t, b.userInfo(got["access_token"].(string)).body)
	if data := info["organization_data"].([]any); len(data) != 2 || data[0].(map[string]any)["description"] != nil {
		t.Errorf("%v", info)
	}
}

func TestMachinesGetTokensForThemselves(t *testing.T) {
	t.Parallel()
	b, _ := newTenant(t)
	robot := b.server.AddApplication(logtotest.Application{
		Type: logtotest.MachineToMachine, Roles: []string{"thing-user"}, Organizations: map[string][]string{"acme": {"editor"}},
	})
	ask := func(changes ...string) response {
		form := url.Values{"grant_type": {"client_credentials"}}
		for i := 0; i < len(changes); i += 2 {
			form.Add(changes[i], changes[i+1])
		}
		return b.as(robot, form)
	}
	for name, test := range map[string]struct {
		ask   []string
		aud   string
		scope any
	}{
		"for an API":                                    {[]string{"resource", things, "scope", "read:things delete:things"}, things, "read:things"},
		"for an API without a scope":                    {[]string{"resource", things}, things, nil},
		"for an organization":                           {[]string{"organization_id", "acme", "scope", "read:docs"}, "urn:logto:organization:acme", "read:docs"},
		"for an API in an organization":                 {[]string{"organization_id", "acme", "resource", things, "scope", "write:things delete:things"}, things, "delete:things"},
		"for an organization without a scope":           {[]string{"organization_id", "acme"}, "urn:logto:organization:acme", ""},
		"for an API in an organization without a scope": {[]string{"organization_id", "acme", "resource", things}, things, nil},
	} {
		got := decode(t, ask(test.ask...).body)
		_, claims := decodeToken(t, got["access_token"])
		if got["scope"] != test.scope || claims["scope"] != test.scope || claims["sub"] != robot.ID || claims["client_id"] != robot.ID || claims["aud"] != test.aud || got["refresh_token"] != nil || got["id_token"] != nil {
			t.Errorf("%s: %v %v", name, got, claims)
		}
	}
	ask().wantError(t, http.StatusBadRequest, "invalid_target")
	ask("resource", "https://unknown.example.test/").wantError(t, http.StatusBadRequest, "invalid_target")
	ask("resource", things, "resource", short).wantError(t, http.StatusBadRequest, "invalid_target")
	ask("organization_id", "others").wantError(t, http.StatusForbidden, "access_denied")
	b.as(b.server.Application(), url.Values{"grant_type": {"client_credentials"}}).wantError(t, http.StatusBadRequest, "invalid_request")
	b.as(robot, refreshForm("x")).wantError(t, http.StatusBadRequest, "invalid_request")
}

func TestThirdPartyApplicationsAskForConsent(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	app := b.server.AddApplication(logtotest.Application{ThirdParty: true, ConsentScopes: []string{"email"}})
	alice := logtotest.DefaultUser()
	attempt := b.newSignIn("client_id", app.ID, "scope", "openid email", "prompt", "")
	page := b.submit(b.authorize(attempt).location, "username", alice.Username, "password", alice.Password)
	if page.location == nil || page.location.Path != "/consent" {
		t.Fatalf("%d %v", page.status, page.location)
	}
	if shown := b.get(page.location.String()); !strings.Contains(shown.body, "<li>email</li>") || !strings.Contains(shown.body, alice.Name) {
		t.Errorf("%s", shown.body)
	}
	if allowed := b.submit(page.location, "answer", "allow"); allowed.location.Query().Get("code") == "" {
		t.Errorf("allowed: %v", allowed.location)
	}
	if again := b.authorize(attempt); again.location.Query().Get("code") == "" {
		t.Errorf("a second time: %v", again.location)
	}
	asked := b.authorize(b.newSignIn("client_id", app.ID, "scope", "openid email", "prompt", "consent"))
	if asked.location.Path != "/consent" {
		t.Fatalf("with prompt=consent: %v", asked.location)
	}
	cancelled := b.post(asked.location.String(), url.Values{"answer": {"cancel"}})
	if cancelled.location == nil || cancelled.location.String() != callbackURI {
		t.Errorf("cancelled: %v", cancelled.location)
	}
}

// https://docs.logto.io/integrate-logto/third-party-applications/permission-management
func TestThirdPartyApplicationsGetTheScopesThatTheyAreEnabledFor(t *testing.T) {
	t.Parallel()
	b, _ := newTenant(t)
	app := b.server.AddApplication(logtotest.Application{ThirdParty: true, ConsentScopes: []string{"profile", "read:things"}})
	alice := logtotest.DefaultUser()
	refused := b.authorize(b.newSignIn("client_id", app.ID, "scope", "openid profile email phone")).location.Query()
	if refused.Get("error") != "invalid_scope" || refused.Get("error_description") != "requested scope is not allowed" || refused.Get("scope") != "email" {
		t.Errorf("a scope of users that is not enabled: %v", refused)
	}
	attempt := b.newSignIn("client_id", app.ID, "scope", "openid offline_access profile read:things write:things unknown", "resource", things)
	page := b.submit(b.authorize(attempt).location, "username", alice.Username, "password", alice.Password)
	code := b.submit(page.location, "answer", "allow").location.Query().Get("code")
	form := refreshForm(decode(t, b.as(app, codeForm(code, attempt)).body)["refresh_token"].(string))
	form.Set("resource", things)
	if got := decode(t, b.as(app, form).body); got["scope"] != "read:things" {
		t.Errorf("a permission that is not enabled: %v", got)
	}
	app.ConsentScopes = nil
	b.server.AddApplication(app)
	if got := decode(t, b.as(app, form).body); got["scope"] != "" || got["id_token"] == nil {
		t.Errorf("when no permission is enabled any more: %v", got)
	}
}

func TestUsersWhoMayNotUseAnApplication(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	app := b.server.AddApplication(logtotest.Application{AllowedUsers: []string{"somebody"}})
	alice := logtotest.DefaultUser()
	attempt := b.newSignIn("client_id", app.ID)
	page := b.submit(b.authorize(attempt).location, "username", alice.Username, "password", alice.Password)
	if page.location == nil || page.location.Path != "/consent" {
		t.Fatalf("at first: %d %v", page.status, page.location)
	}
	if shown := b.get(page.location.String()); shown.status != http.StatusOK || !strings.Contains(shown.body, "Access denied") || !strings.Contains(shown.body, "Sign out") {
		t.Errorf("at first: %d %s", shown.status, shown.body)
	}
	b.post(page.location.String(), url.Values{"answer": {"allow"}}).wantError(t, http.StatusBadRequest, "access_denied")
	if none := b.authorize(b.newSignIn("client_id", app.ID, "prompt", "none")).location.Query(); none.Get("error") != "consent_required" {
		t.Errorf("with prompt=none: %v", none)
	}
	app.AllowedUsers = nil
	b.server.AddApplication(app)
	code := b.callback(attempt).Get("code")
	login := b.authorize(b.newSignIn("client_id", app.ID, "prompt", "login")).location
	app.AllowedUsers = []string{}
	b.server.AddApplication(app)
	if late := b.submit(login, "username", alice.Username, "password", alice.Password).location.Query(); late.Get("error") != "access_denied" {
		t.Errorf("on the sign-in page meanwhile: %v", late)
	}
	for _, prompt := range []string{"consent", "login", "none", ""} {
		again := b.authorize(b.newSignIn("client_id", app.ID, "prompt", prompt)).location.Query()
		if again.Get("error") != "access_denied" || again.Get("error_description") != "Access denied." {
			t.Errorf("once there is a grant, with prompt=%s: %v", prompt, again)
		}
	}
	if got := b.as(app, codeForm(code, attempt)); got.status != http.StatusOK {
		t.Errorf("a code of before: %d %s", got.status, got.body)
	}
}

func TestSuspendedUsersCannotSignIn(t *testing.T) {
	t.Parallel()
	user := logtotest.DefaultUser()
	user.ID = "alice"
	b := newBrowser(t, logtotest.NewServer(t, user))
	b.server.SuspendUser("alice", true)
	page := b.authorize(b.newSignIn()).location
	shown := b.post(page.String(), url.Values{"username": {user.Username}, "password": {user.Password}})
	if shown.status != http.StatusForbidden || !strings.Contains(shown.body, "suspended") {
		t.Errorf("%d %s", shown.status, shown.body)
	}
	b.server.SuspendUser("alice", false)
	b.callback(b.newSignIn())
}

func TestPublicClientsNeedPKCE(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	app := b.server.AddApplication(logtotest.Application{Type: logtotest.SinglePage})
	if app.Secret != "" {
		t.Error("it has a secret")
	}
	got := b.authorize(b.newSignIn("client_id", app.ID, "code_challenge", "", "code_challenge_method", ""))
	if got.location.Query().Get("error") != "invalid_request" || !strings.Contains(got.location.Query().Get("error_description"), "PKCE") {
		t.Errorf("%v", got.location)
	}
}
