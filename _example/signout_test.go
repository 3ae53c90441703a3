package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

func TestSignOutEverywhere(t *testing.T) {
	base, fake := startApp(t)
	here, there, other := newBrowser(t), newBrowser(t), newBrowser(t)
	profile := here.signIn(base + "/profile")
	there.signIn(base + "/profile")
	other.signInAs(bob(), base+"/profile")
	token := fake.AccessToken(alice(), fakeOrdersAPI, readOrders)

	home := here.submit(here.submit(profile, "/sign-out-everywhere", nil), "", nil)
	home.mustBe(t, http.StatusOK, base+"/", "You are not signed in")
	there.get(base+"/").mustBe(t, http.StatusOK, base+"/", "You are not signed in")
	here.get(base+"/profile").mustLeadToSignIn(t, fake)
	other.get(base+"/profile").mustBe(t, http.StatusOK, base+"/profile")
	if answer := callAPI(t, http.MethodGet, base+"/api/orders", token); answer.status != http.StatusUnauthorized {
		t.Errorf("status %d for a token of before", answer.status)
	}
}

func TestSignOutEverywhereIsForTheUserOnly(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	b.signIn(base + "/sign-in")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/sign-out-everywhere", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Origin", fake.Endpoint())
	if answer := b.send(request); answer.status != http.StatusForbidden {
		t.Errorf("status %d from another origin", answer.status)
	}
	if answer := newBrowser(t).do(http.MethodPost, base+"/sign-out-everywhere", nil); answer.status != http.StatusUnauthorized {
		t.Errorf("status %d for a visitor", answer.status)
	}
	b.get(base+"/profile").mustBe(t, http.StatusOK, base+"/profile")
}

func TestBackchannelLogout(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	b.signIn(base + "/profile")
	// The user signs out at Logto, from whatever application.
	b.submit(b.get(fake.Endpoint()+"/oidc/session/end"), "", nil)
	b.get(base+"/").mustBe(t, http.StatusOK, base+"/", "You are not signed in")
	mustBeDelivered(t, fake, base+backchannelLogoutPath)
}

func TestSuspension(t *testing.T) {
	base, fake := startApp(t)
	b, other := newBrowser(t), newBrowser(t)
	b.signInAs(bob(), base+"/profile")
	other.signIn(base + "/profile")
	fake.SuspendUser("bob", true)
	mustBeDelivered(t, fake, base+webhookPath)
	b.get(base+"/").mustBe(t, http.StatusOK, base+"/", "You are not signed in")
	b.get(base+"/profile").mustLeadToSignIn(t, fake)
	other.get(base+"/profile").mustBe(t, http.StatusOK, base+"/profile")
}

func TestDeletion(t *testing.T) {
	base, fake := startApp(t)
	b := newBrowser(t)
	b.signInAs(bob(), base+"/profile")
	fake.DeleteUser("bob")
	b.get(base+"/").mustBe(t, http.StatusOK, base+"/", "You are not signed in")
}

func TestWebhooksAreSigned(t *testing.T) {
	base, fake := startApp(t)
	user, _ := fake.User("alice")
	body := `{"event":"User.Deleted","createdAt":"2100-01-01T00:00:00Z","params":{"userId":"` + user.ID + `"}}`
	b := newBrowser(t)
	b.signIn(base + "/profile")
	for signature, status := range map[string]int{
		"": http.StatusUnauthorized,
		logtotest.WebhookSignature("another key", body):         http.StatusUnauthorized,
		logtotest.WebhookSignature(fakeWebhookSigningKey, "{}"): http.StatusUnauthorized,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+webhookPath, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("logto-signature-sha-256", signature)
		if answer := newBrowser(t).send(request); answer.status != status {
			t.Errorf("status %d, want %d", answer.status, status)
		}
	}
	b.get(base+"/profile").mustBe(t, http.StatusOK, base+"/profile")
}

func TestNoWebhooksWithoutAKey(t *testing.T) {
	base, _ := startApp(t, func(cfg *config) { cfg.WebhookSigningKey = "" })
	newBrowser(t).signIn(base+"/admin").mustBe(t, http.StatusOK, base+"/admin", "no signing key is set")
	if answer := newBrowser(t).do(http.MethodPost, base+webhookPath, nil); answer.status != http.StatusNotFound {
		t.Errorf("status %d", answer.status)
	}
}

// mustBeDelivered: something was sent to the address, and everything was taken.
func mustBeDelivered(t *testing.T, fake *logtotest.Server, address string) {
	t.Helper()
	var n int
	for _, delivery := range fake.Deliveries() {
		if delivery.Status != http.StatusOK {
			t.Errorf("%s answered %d", delivery.URL, delivery.Status)
		}
		if delivery.URL == address {
			n++
		}
	}
	if n == 0 {
		t.Errorf("nothing was sent to %s", address)
	}
}
