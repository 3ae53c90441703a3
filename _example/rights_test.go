package main

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

func TestRights(t *testing.T) {
	base, fake := startApp(t)
	aliceBrowser, bobBrowser := newBrowser(t), newBrowser(t)
	aliceBrowser.signIn(base + "/sign-in")
	bobBrowser.signInAs(bob(), base+"/sign-in")
	tests := []struct {
		path, route string
		alice, bob  int
		contents    []string
	}{
		{"/admin", adminRoute, 200, 403, []string{"Administration", fake.Endpoint() + " answers", "this process"}},
		{"/diagnosis", diagnosisRoute, 200, 403, []string{"Logto knows the application and accepts its secret", base + "/callback is registered", "Set Config.SharedState"}},
		{"/editors", editorsRoute, 200, 200, []string{"Editors"}},
		{"/teams/acme", teamRoute, 200, 200, []string{"Team acme", `<a href="/teams/acme" aria-current="page">acme</a>`}},
		{"/teams/globex", teamRoute, 200, 403, []string{"Team globex", `<a href="/teams/acme">acme</a>`}},
		{"/teams/acme/billing", billingRoute, 200, 403, []string{"Billing of acme", `<a href="/teams/acme" aria-current="true">acme</a>`}},
		{"/teams/globex/billing", billingRoute, 403, 403, nil},
		{"/teams/nobody", teamRoute, 403, 403, nil},
	}
	for _, test := range tests {
		for b, status := range map[*browser]int{aliceBrowser: test.alice, bobBrowser: test.bob} {
			page := b.get(base + test.path)
			page.mustBe(t, status, base+test.path, needs[test.route], `action="/sign-out"`)
			if status == http.StatusOK {
				page.mustBe(t, status, base+test.path, test.contents...)
			} else {
				page.mustBe(t, status, base+test.path, "You may not see this page", "signed in as ")
			}
		}
		newBrowser(t).get(base+test.path).mustLeadToSignIn(t, fake)
	}
}

func TestRightsPage(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	visitor := b.get(base + "/rights")
	visitor.mustBe(t, http.StatusOK, base+"/rights", `href="/admin"`, `href="/payments"`, needs[paymentsRoute])
	visitor.mustLack(t, "/teams/acme")
	b.signInAs(bob(), base+"/sign-in")
	page := b.get(base + "/rights")
	page.mustBe(t, http.StatusOK, base+"/rights", `href="/teams/acme"`, `href="/teams/acme/billing"`)
	page.mustLack(t, "/teams/globex")
}

func TestTeams(t *testing.T) {
	base, _ := startApp(t)
	newBrowser(t).signIn(base+"/teams").mustBe(t, http.StatusOK, base+"/teams",
		"Acme Corporation", "Globex Corporation", `href="/teams/globex"`, "Your roles: owner", `<a href="/teams" aria-current="page">`)
}

func TestPaymentsNeedAFreshSignIn(t *testing.T) {
	var later atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	base, fake := startApp(t, func(cfg *config) { cfg.Logto.Now = now })
	fake.SetNow(now)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	for range 2 {
		later.Add(int64(10 * time.Minute))
		b.signIn(base+"/payments").mustBe(t, http.StatusOK, base+"/payments", "Payments", needs[paymentsRoute], "You signed in")
		b.get(base+"/payments").mustBe(t, http.StatusOK, base+"/payments", "Payments")
	}
}

// TestLeanIDToken: a tenant can leave roles and organizations to user info.
func TestLeanIDToken(t *testing.T) {
	base, fake := startApp(t)
	fake.ChangeIDToken(func(token *logtotest.JWT) {
		for _, name := range []string{"roles", "organizations", "organization_roles"} {
			delete(token.Claims, name)
		}
	})
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	fake.Misbehave(faults.UserInfoDown)
	page := b.get(base + "/admin")
	page.mustBe(t, http.StatusServiceUnavailable, base+"/admin", "Please try again in a moment", `action="/sign-out"`)
	page.mustLack(t, "Administration")
	fake.Misbehave()
	b.get(base+"/admin").mustBe(t, http.StatusOK, base+"/admin", "Administration")
	b.get(base+"/teams").mustBe(t, http.StatusOK, base+"/teams", "Acme Corporation")
	b.get(base+"/teams/acme").mustBe(t, http.StatusOK, base+"/teams/acme", "Team acme")
}

// TestRightsOfTomorrow: who joins an organization is known at once, because a webhook tells. A role that changes
// is known at the next refresh.
func TestRightsOfTomorrow(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	b.signInAs(bob(), base+"/sign-in")
	b.get(base+"/teams/globex").mustBe(t, http.StatusForbidden, base+"/teams/globex")
	fake.SetMembership("bob", "globex", []string{"owner"})
	b.get(base+"/teams/globex/billing").mustBe(t, http.StatusOK, base+"/teams/globex/billing", "Billing of globex")
}
