package logtotest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

func (b *browser) isSignedIn() bool {
	b.t.Helper()
	return b.authorize(b.newSignIn("prompt", "none")).location.Query().Get("code") != ""
}

func TestSigningOutByTheForm(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		query func(b *browser, idToken string) url.Values
		want  string // a path at the provider, or an address
	}{
		"leads back to the app with the state": {func(b *browser, _ string) url.Values {
			return url.Values{"client_id": {b.server.AppID()}, "post_logout_redirect_uri": {signedOut}, "state": {"s 1"}}
		}, signedOut + "?state=s+1"},
		"leads back to the app without a state": {func(b *browser, _ string) url.Values {
			return url.Values{"client_id": {b.server.AppID()}, "post_logout_redirect_uri": {signedOut}}
		}, signedOut},
		"works with a hint in place of the client": {func(_ *browser, idToken string) url.Values {
			return url.Values{"id_token_hint": {idToken}, "post_logout_redirect_uri": {signedOut}}
		}, signedOut},
		"ignores the address if nobody says whose it is": {func(*browser, string) url.Values {
			return url.Values{"post_logout_redirect_uri": {"https://evil.example"}, "state": {"s"}}
		}, "/oidc/session/end/success"},
		"ends on a page if there is no address": {func(b *browser, _ string) url.Values {
			return url.Values{"client_id": {b.server.AppID()}}
		}, "/oidc/session/end/success"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, logtotest.NewServer(t))
			b.server.RegisterPostLogoutRedirectURIs(signedOut)
			idToken, _ := b.tokens()["id_token"].(string)
			got := b.signOut(test.query(b, idToken))
			if got.status != http.StatusSeeOther || (got.location.String() != test.want && got.location.Path != test.want) {
				t.Errorf("%d to %v", got.status, got.location)
			}
			if b.isSignedIn() {
				t.Error("still signed in")
			}
			if strings.HasPrefix(test.want, "/") {
				if page := b.get(got.location.String()); page.status != http.StatusOK || !strings.Contains(page.body, "signed out") {
					t.Errorf("%d %s", page.status, page.body)
				}
			}
		})
	}
}

func TestASignOutThatIsRefusedEndsNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		query   func(b *browser, idToken string) url.Values
		failure string
	}{
		"for an address that is not registered": {func(b *browser, _ string) url.Values {
			return url.Values{"client_id": {b.server.AppID()}, "post_logout_redirect_uri": {signedOut}}
		}, "invalid_request"},
		"for an unknown client": {func(*browser, string) url.Values {
			return url.Values{"client_id": {"nope"}}
		}, "invalid_client"},
		"for a hint that cannot be read": {func(*browser, string) url.Values {
			return url.Values{"id_token_hint": {"garbage"}}
		}, "invalid_request"},
		"for a hint of another client": {func(_ *browser, idToken string) url.Values {
			return url.Values{"id_token_hint": {idToken}, "client_id": {"other"}}
		}, "invalid_request"},
		"for a hint with another signature": {func(_ *browser, idToken string) url.Values {
			return url.Values{"id_token_hint": {idToken[:strings.LastIndex(idToken, ".")] + ".AAAA"}}
		}, "invalid_request"},
		"for a hint whose key is gone": {func(b *browser, idToken string) url.Values {
			for range 2 {
				if err := b.server.RotateKey("ES384"); err != nil {
					b.t.Fatal(err)
				}
			}
			return url.Values{"id_token_hint": {idToken}}
		}, "invalid_request"},
		"for a hint of another type of key": {func(b *browser, idToken string) url.Values {
			if err := b.server.RotateKey("ES256"); err != nil {
				b.t.Fatal(err)
			}
			return url.Values{"id_token_hint": {idToken}}
		}, "invalid_request"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, logtotest.NewServer(t))
			idToken, _ := b.tokens()["id_token"].(string)
			got := b.get(b.server.Endpoint() + "/oidc/session/end?" + test.query(b, idToken).Encode())
			got.wantError(t, http.StatusBadRequest, test.failure)
			if !b.isSignedIn() {
				t.Error("signed out")
			}
		})
	}
}

func TestOnlyTheBrowserThatGotTheFormCanSubmitIt(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.tokens()
	confirm := b.server.Endpoint() + "/oidc/session/end/confirm"
	b.post(confirm, url.Values{"xsrf": {"guessed"}, "logout": {"yes"}}).wantError(t, http.StatusBadRequest, "invalid_request")

	page := newBrowser(t, b.server).get(b.server.Endpoint() + "/oidc/session/end")
	xsrf := xsrfField.FindStringSubmatch(page.body)
	if xsrf == nil {
		t.Fatalf("no form: %s", page.body)
	}
	b.post(confirm, url.Values{"xsrf": {xsrf[1]}, "logout": {"yes"}}).wantError(t, http.StatusBadRequest, "invalid_request")
	if !b.isSignedIn() {
		t.Error("signed out")
	}
}

func TestASignOutEndsTokensWithoutOfflineAccess(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	answer := b.tokens("scope", "openid")
	b.signOut(url.Values{"client_id": {b.server.AppID()}})
	b.userInfo(answer["access_token"].(string)).wantError(t, http.StatusUnauthorized, "invalid_token")
}

func TestAnotherUserEndsTheSessionOfTheFirst(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.AddUser(logtotest.User{Username: "bob", Password: "secret"})
	first := b.tokens("scope", "openid")
	page := b.authorize(b.newSignIn("prompt", "login")).location
	if got := b.submit(page, "username", "bob", "password", "secret"); got.location.Query().Get("code") == "" {
		t.Fatalf("sent to %v", got.location)
	}
	b.userInfo(first["access_token"].(string)).wantError(t, http.StatusUnauthorized, "invalid_token")

	hint, _ := first["id_token"].(string)
	if got := b.authorize(b.newSignIn("id_token_hint", hint)); got.location.Path != "/sign-in" {
		t.Errorf("a hint at the first user leads to %v", got.location)
	}
}
