package main

import (
	"net/http"
	"strings"
	"testing"
)

func callAPI(t *testing.T, method, address, token string) document {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return newBrowser(t).send(request)
}

func TestAPI(t *testing.T) {
	base, fake := startApp(t)
	user := alice()
	global := fake.AccessToken(user, fakeOrdersAPI, readOrders)
	withoutScope := fake.AccessToken(user, fakeOrdersAPI)
	acme := fake.OrganizationToken(user, "acme", "", readMembers)
	acmeOrders := fake.OrganizationToken(user, "acme", fakeOrdersAPI, readOrders, readTeamOrders)
	ofMachine := fake.MachineToken(machine().ID, fakeOrdersAPI)
	tests := map[string]struct {
		method, path, token string
		status              int
		want                string
	}{
		"orders":                            {"GET", "/api/orders", global, 200, "moon laser"},
		"orders without a token":            {"GET", "/api/orders", "", 401, "Unauthorized"},
		"orders without the scope":          {"GET", "/api/orders", withoutScope, 403, "Forbidden"},
		"orders by a right in one team":     {"GET", "/api/orders", acmeOrders, 401, "Unauthorized"},
		"orders by an organization's token": {"GET", "/api/orders", acme, 401, "Unauthorized"},
		"orders by no token":                {"GET", "/api/orders", "nonsense", 401, "Unauthorized"},
		"a team's orders":                   {"GET", "/api/teams/acme/orders", acmeOrders, 200, `"team":"acme"`},
		"another team's orders":             {"GET", "/api/teams/globex/orders", acmeOrders, 403, "Forbidden"},
		"a team's orders by a global right": {"GET", "/api/teams/acme/orders", global, 403, "Forbidden"},
		"members":                           {"GET", "/api/teams/acme/members", acme, 200, `["alice","bob"]`},
		"members of another team":           {"GET", "/api/teams/globex/members", acme, 401, "Unauthorized"},
		"members by a token for orders":     {"GET", "/api/teams/acme/members", acmeOrders, 401, "Unauthorized"},
		"who am I":                          {"GET", "/api/whoami", withoutScope, 200, `"by":"bearer token"`},
		"who am I, a machine":               {"GET", "/api/whoami", ofMachine, 200, `"machine":true`},
		"who am I, a visitor":               {"GET", "/api/whoami", "", 401, "Unauthorized"},
		"a machine's job":                   {"POST", "/api/jobs", ofMachine, 202, `"accepted_from":"nightly-job"`},
		"a user's job":                      {"POST", "/api/jobs", global, 403, "Forbidden"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			answer := callAPI(t, test.method, base+test.path, test.token)
			if answer.status != test.status || !strings.Contains(answer.body, test.want) {
				t.Errorf("%d %s, want %d with %s", answer.status, answer.body, test.status, test.want)
			}
			media := answer.header.Get("Content-Type")
			if isProblem := strings.HasPrefix(media, "application/problem+json"); isProblem != (test.status >= 400) {
				t.Errorf("Content-Type is %s", media)
			}
		})
	}
}

func TestWhoAmIBySession(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	if answer := b.get(base + "/api/whoami"); answer.status != http.StatusOK || !strings.Contains(answer.body, `"by":"session"`) {
		t.Errorf("%d %s", answer.status, answer.body)
	}
}

func TestCalls(t *testing.T) {
	base, _ := startApp(t)
	aliceBrowser, bobBrowser := newBrowser(t), newBrowser(t)
	pages := map[*browser]document{
		aliceBrowser: aliceBrowser.signIn(base + "/calls"),
		bobBrowser:   bobBrowser.signInAs(bob(), base+"/calls"),
	}
	tests := []struct {
		b    *browser
		path string
		want []string
	}{
		{aliceBrowser, "/api/whoami", []string{"200 OK", `"by": "bearer token"`}},
		{aliceBrowser, "/api/orders", []string{"200 OK", "moon laser"}},
		{aliceBrowser, "/api/jobs", []string{"403 Forbidden", "insufficient_scope"}},
		{aliceBrowser, "/api/teams/globex/orders", []string{"200 OK", "moon laser"}},
		{aliceBrowser, "/api/teams/acme/members", []string{"200 OK", "alice"}},
		{aliceBrowser, "/api/teams/globex/members", []string{"403 Forbidden", `scope="read:members"`}},
		{bobBrowser, "/api/orders", []string{"403 Forbidden", `scope="read:orders"`}},
		{bobBrowser, "/api/teams/acme/orders", []string{"200 OK", "rocket skates"}},
		{bobBrowser, "/api/teams/acme/members", []string{"403 Forbidden"}},
	}
	for _, test := range tests {
		test.b.submit(pages[test.b], "/calls", map[string]string{"path": test.path}).
			mustBe(t, http.StatusOK, base+"/calls", append(test.want, "The answer", test.path)...)
	}
	for _, path := range []string{"/api/teams/globex/members", "https://example.com/", ""} {
		bobBrowser.submit(pages[bobBrowser], "/calls", map[string]string{"path": path}).mustBe(t, http.StatusNotFound, base+"/calls")
	}
}

func TestCallsFail(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	page := b.signIn(base + "/calls")
	fake.Close()
	b.submit(page, "/calls", map[string]string{"path": "/api/orders"}).
		mustBe(t, http.StatusOK, base+"/calls", "The API could not be called")
}

// TestWithoutAResource: a Logto in which nothing but the application was set up.
func TestWithoutAResource(t *testing.T) {
	base, fake := startApp(t, func(cfg *config) { cfg.OrdersAPI, cfg.Logto.Resources = "", nil })
	b := newBrowser(t)
	calls := b.signIn(base + "/calls")
	calls.mustBe(t, http.StatusOK, base+"/calls", "/api/teams/acme/members")
	calls.mustLack(t, "/api/orders", "/api/jobs")
	b.get(base+"/tokens").mustLack(t, "API resource", "refuses")
	if answer := callAPI(t, http.MethodGet, base+"/api/orders", fake.AccessToken(alice(), fakeOrdersAPI, readOrders)); answer.status != http.StatusNotFound {
		t.Errorf("status %d for orders", answer.status)
	}
	if answer := b.get(base + "/api/whoami"); answer.status != http.StatusOK {
		t.Errorf("status %d for whoami", answer.status)
	}
	carol := newBrowser(t)
	carol.submit(carol.get(base+"/sign-up"), "", map[string]string{"username": "carol", "password": "singing"})
	carol.get(base+"/calls").mustBe(t, http.StatusOK, base+"/calls", "nothing that could be called")
}
