package logtotest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest"
)

// as makes the browser's token requests those of an application.
func (b *browser) as(app logtotest.Application, form url.Values) response {
	b.t.Helper()
	authenticate := basicAuth(app.ID, app.Secret)
	if app.Secret == "" {
		form.Set("client_id", app.ID)
		authenticate = func(*http.Request) {}
	}
	return b.post(b.server.Endpoint()+"/oidc/token", form, authenticate)
}

// signInTo signs in to an application and returns its refresh token.
func (b *browser) signInTo(app logtotest.Application, changes ...string) map[string]any {
	b.t.Helper()
	attempt := b.newSignIn(append([]string{"client_id", app.ID}, changes...)...)
	got := b.as(app, codeForm(b.callback(attempt).Get("code"), attempt))
	if got.status != http.StatusOK {
		b.t.Fatalf("%d %s", got.status, got.body)
	}
	return decode(b.t, got.body)
}

// refreshed uses a refresh token and returns the next one, "" if it is refused.
func (b *browser) refreshed(app logtotest.Application, token string) string {
	b.t.Helper()
	got := b.as(app, refreshForm(token))
	if got.status != http.StatusOK {
		got.wantError(b.t, http.StatusBadRequest, "invalid_grant")
		return ""
	}
	next, _ := decode(b.t, got.body)["refresh_token"].(string)
	return next
}

func TestRefreshTokensRotate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		app    logtotest.Application
		after  time.Duration
		rotate bool
		lives  time.Duration // of the one that comes back, from its use
	}{
		"of a web application not at once":           {logtotest.Application{}, time.Hour, false, 14*day - time.Hour},
		"of a web application not before 70 %":       {logtotest.Application{}, 9 * day, false, 5 * day},
		"of a web application after 70 %":            {logtotest.Application{}, 10 * day, true, 14 * day},
		"of a web application with a short life":     {logtotest.Application{RefreshTokenLifetime: 30 * time.Second}, 22 * time.Second, true, 30 * time.Second},
		"of a single-page application at each use":   {logtotest.Application{Type: logtotest.SinglePage}, time.Hour, true, 14*day - time.Hour},
		"of a native application, with a new life":   {logtotest.Application{Type: logtotest.Native}, time.Hour, true, 14 * day},
		"of nobody when the grant has ended":         {logtotest.Application{Type: logtotest.Native, RefreshTokenLifetime: 400 * day}, 180*day + time.Second, false, -1},
		"of a grant that ends earlier":               {logtotest.Application{Type: logtotest.Native, RefreshTokenLifetime: 100 * day}, 90 * day, true, 90 * day},
		"of nobody after its life has passed":        {logtotest.Application{}, 14*day + time.Second, false, -1},
		"of a public application that has been here": {logtotest.Application{Type: logtotest.SinglePage}, 14*day + time.Second, false, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, logtotest.NewServer(t))
			app := b.server.AddApplication(test.app)
			first, _ := b.signInTo(app)["refresh_token"].(string)
			b.server.Advance(test.after)
			next := b.refreshed(app, first)
			if test.lives < 0 {
				if next != "" {
					t.Error("an expired token is accepted")
				}
				return
			}
			if (next != first) != test.rotate || next == "" {
				t.Errorf("rotated: %v", next != first)
			}
			b.server.Advance(test.lives + time.Second)
			if b.refreshed(app, next) != "" {
				t.Error("it lives too long")
			}
		})
	}
}

func TestReplacedRefreshTokensHaveThreeSecondsOfGrace(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	app := b.server.AddApplication(logtotest.Application{Type: logtotest.SinglePage})
	answer := b.signInTo(app)
	first, _ := answer["refresh_token"].(string)
	seen := map[string]bool{first: true}
	for range 5 { // each use begins the three seconds again
		next := b.refreshed(app, first)
		if next == "" || seen[next] {
			t.Fatalf("the token %q comes back", next)
		}
		seen[next] = true
		b.server.Advance(2 * time.Second)
	}
	delete(seen, first)
	for token := range seen {
		next := b.refreshed(app, token)
		if next == "" {
			t.Fatal("one of the new tokens is worth nothing")
		}
		answer["refresh_token"] = next
	}
	b.server.Advance(2 * time.Second)
	if b.refreshed(app, first) != "" {
		t.Error("after four seconds it is accepted")
	}
	if newest, _ := answer["refresh_token"].(string); b.refreshed(app, newest) != "" {
		t.Error("the grant lives on")
	}
	b.userInfo(answer["access_token"].(string)).wantError(t, http.StatusUnauthorized, "invalid_token")
}

func TestGrantsAreSharedWithinABrowser(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	b, other := newBrowser(t, server), newBrowser(t, server)
	second := server.AddApplication(logtotest.Application{})
	one, two := b.tokens(), b.tokens()
	ofAnotherApp, ofAnotherBrowser := b.signInTo(second), other.tokens()
	got := b.post(server.Endpoint()+"/oidc/token/revocation", url.Values{"token": {one["refresh_token"].(string)}}, b.asApp())
	if got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.token(refreshForm(two["refresh_token"].(string))).wantError(t, http.StatusBadRequest, "invalid_grant")
	if b.refreshed(second, ofAnotherApp["refresh_token"].(string)) == "" || b.refreshed(server.Application(), ofAnotherBrowser["refresh_token"].(string)) == "" {
		t.Error("another grant has gone, too")
	}
	if again := b.tokens(); b.refreshed(server.Application(), again["refresh_token"].(string)) == "" {
		t.Error("a new sign-in yields nothing")
	}
	// A refresh token of one application is nothing to another.
	b.as(second, refreshForm(ofAnotherBrowser["refresh_token"].(string))).wantError(t, http.StatusBadRequest, "invalid_grant")
	b.post(server.Endpoint()+"/oidc/token/revocation", url.Values{"token": {ofAnotherBrowser["refresh_token"].(string)}},
		basicAuth(second.ID, second.Secret)).wantError(t, http.StatusBadRequest, "invalid_request")
}

func TestRefreshTokensWithoutOfflineAccessEndWithTheSession(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	app := b.server.AddApplication(logtotest.Application{AlwaysIssueRefreshToken: true})
	bound, _ := b.signInTo(app, "prompt", "")["refresh_token"].(string)
	if bound == "" || b.refreshed(app, bound) == "" {
		t.Fatal("no refresh token")
	}
	offline := b.tokens()["refresh_token"].(string)
	b.signOut(url.Values{"client_id": {app.ID}})
	if b.refreshed(app, bound) != "" {
		t.Error("it outlives the session")
	}
	if b.refreshed(b.server.Application(), offline) == "" {
		t.Error("the one with offline_access does not")
	}
}

func TestWhatHappensToTokensOfUsersWhoAreKeptOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change   func(*logtotest.Server, string)
		refresh  string
		userInfo int
	}{
		"suspended": {func(s *logtotest.Server, id string) { s.SuspendUser(id, true) }, "invalid_grant", http.StatusUnauthorized},
		"deleted":   {func(s *logtotest.Server, id string) { s.DeleteUser(id) }, "invalid_grant", http.StatusBadRequest},
		"denied the application": {func(s *logtotest.Server, _ string) {
			app := s.Application()
			app.AllowedUsers = []string{"somebody else"}
			s.AddApplication(app)
		}, "access_denied", http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, logtotest.NewServer(t))
			answer := b.tokens()
			_, claims := decodeToken(t, answer["id_token"])
			test.change(b.server, claims["sub"].(string))
			b.token(refreshForm(answer["refresh_token"].(string))).wantError(t, http.StatusBadRequest, test.refresh)
			if got := b.userInfo(answer["access_token"].(string)); got.status != test.userInfo {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}

func TestIntrospection(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	answer := b.tokens()
	ask := func(token string) response {
		return b.post(b.server.Endpoint()+"/oidc/token/introspection", url.Values{"token": {token}}, b.asApp())
	}
	for name, token := range map[string]string{"access_token": answer["access_token"].(string), "refresh_token": answer["refresh_token"].(string)} {
		got := decode(t, ask(token).body)
		if got["active"] != true || got["client_id"] != b.server.AppID() || got["scope"] != everything || (got["token_type"] != nil) != (name == "access_token") {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := decode(t, ask("garbage").body); len(got) != 1 || got["active"] != false {
		t.Errorf("%v", got)
	}
	ask(answer["id_token"].(string)).wantError(t, http.StatusBadRequest, "unsupported_token_type")
	public, confidential := b.server.AddApplication(logtotest.Application{Type: logtotest.SinglePage}), b.server.AddApplication(logtotest.Application{})
	for app, want := range map[*logtotest.Application]bool{&public: false, &confidential: true} {
		form := url.Values{"token": {answer["access_token"].(string)}, "client_id": {app.ID}}
		if app.Secret != "" {
			form.Set("client_secret", app.Secret)
		}
		if got := decode(t, b.post(b.server.Endpoint()+"/oidc/token/introspection", form).body); got["active"] != want {
			t.Errorf("another application of the type %s: %v", app.Type, got)
		}
	}
	b.server.Advance(time.Hour + time.Second)
	if got := decode(t, ask(answer["access_token"].(string)).body); got["active"] != false {
		t.Errorf("%v", got)
	}
	if calls := b.server.Calls(); calls.Introspection != 7 {
		t.Errorf("%+v", calls)
	}
}
