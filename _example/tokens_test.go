package main

import (
	"net/http"
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	page := b.signIn(base + "/tokens")
	page.mustBe(t, http.StatusOK, base+"/tokens", "Opaque", "API resource within acme", "Organization acme", "API resource within globex",
		readOrders, readMembers, `"aud": "`+fakeOrdersAPI+`"`, `"aud": "urn:logto:organization:acme"`, `"organization_id": "acme"`)
	page.mustLack(t, "eyJ", "refuses", "cleared")
	if n := len(jsonIn(page)); n != 5 {
		t.Errorf("claims of %d tokens, want 5", n)
	}

	again := b.get(base + "/tokens")
	if strings.Join(jsonIn(again), "") != strings.Join(jsonIn(page), "") {
		t.Error("the tokens are others when the page is opened again")
	}
	cleared := b.submit(page, "/tokens/clear", nil)
	cleared.mustBe(t, http.StatusOK, base+"/tokens?cleared", "The tokens were cleared")
	for i, claims := range jsonIn(cleared) {
		if claims == jsonIn(page)[i] {
			t.Errorf("token %d is the old one:\n%s", i, claims)
		}
	}
}

func TestTokensOfBob(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	page := b.signInAs(bob(), base+"/tokens")
	page.mustBe(t, http.StatusOK, base+"/tokens", "API resource within acme", readTeamOrders)
	page.mustLack(t, "globex", `<code class="tag">`+readMembers)
	fake.Close()
	b.get(base+"/tokens").mustBe(t, http.StatusOK, base+"/tokens", "Opaque")
}

func TestTokensOfAnOrganizationThatIsLeft(t *testing.T) {
	base, fake := startApp(t, func(cfg *config) { cfg.WebhookSigningKey = "another key" })
	b := newBrowser(t)
	b.signInAs(bob(), base+"/sign-in")
	fake.SetMembership("bob", "acme", nil)
	b.get(base+"/tokens").mustBe(t, http.StatusOK, base+"/tokens", "Logto refuses this token: access_denied.")
}

func TestTokensAreClearedFromHereOnly(t *testing.T) {
	base, _ := startApp(t)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/tokens/clear", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	if answer := b.send(request); answer.status != http.StatusForbidden {
		t.Errorf("status %d", answer.status)
	}
}
