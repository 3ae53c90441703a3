package logtogin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// An account that Logto refuses is still signed in there: another sign-in would end on the same page. A
// sign-out leads to a sign-in of another user.
func TestARefusedAccountCanBeLeft(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*logtotest.Server){
		"an account that was deleted":   func(logto *logtotest.Server) { logto.DeleteUser("carol") },
		"an account that was suspended": func(logto *logtotest.Server) { logto.SuspendUser("carol", true) },
		"an account without access": func(logto *logtotest.Server) {
			logto.ChangeCallback(func(query url.Values) url.Values {
				return url.Values{"error": {"access_denied"}, "state": query["state"], "iss": query["iss"]}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			carol := logto.AddUser(logtotest.User{Username: "carol", Password: "carol-password"})
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.AfterSignOut = "/" })
			logto.RegisterPostLogoutRedirectURIs(app.url + "/")
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", carol)
			for _, cookie := range b.ours(app) {
				b.plant(app, []*http.Cookie{{Name: cookie.Name, MaxAge: -1}})
			}
			refuse(logto)
			shown := b.get(app.url + "/sign-in?return_to=/profile")
			if isForm(shown) {
				return // Logto's session has ended with the account
			}
			if shown.status != http.StatusForbidden || strings.Contains(shown.body, "/sign-in") || !strings.Contains(shown.body, `href="/sign-out">Use another account`) {
				t.Fatalf("%d %s %s", shown.status, shown.url, shown.body)
			}
			logto.ChangeCallback(nil)
			left := b.get(app.url + "/sign-out")
			if left = b.submit(left, nil); left.url.Path != "/" {
				t.Fatalf("the sign-out ends at %s: %s", left.url, left.body)
			}
			if arrived := b.signIn(app.url+"/profile", logtotest.DefaultUser()); arrived.url.Path != "/profile" || !strings.Contains(arrived.body, "alice") {
				t.Errorf("another user arrives at %s", arrived.url)
			}
		})
	}
}
