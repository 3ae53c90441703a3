package logtogin_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// lacking is a provider whose discovery document does not name these endpoints, which OpenID Connect Discovery 1.0,
// section 3, RP-Initiated Logout 1.0 and RFC 8414, section 2, leave optional. They are absent, or null.
func lacking(t *testing.T, isNull bool, names ...string) *logtotest.Server {
	t.Helper()
	logto := withAPIs(t)
	logto.ChangeDiscovery(func(document map[string]any) any {
		for _, name := range names {
			if delete(document, name); isNull {
				document[name] = nil
			}
		}
		return document
	})
	return logto
}

var optionalEndpoints = []string{"end_session_endpoint", "revocation_endpoint", "userinfo_endpoint"}

// lackingEach runs a test without each of the optional endpoints, and without all of them.
func lackingEach(t *testing.T, test func(t *testing.T, logto *logtotest.Server, missing []string)) {
	t.Helper()
	for _, missing := range [][]string{optionalEndpoints[:1], optionalEndpoints[1:2], optionalEndpoints[2:], optionalEndpoints} {
		for _, isNull := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, null is %v", strings.Join(missing, " "), isNull), func(t *testing.T) {
				t.Parallel()
				test(t, lacking(t, isNull, missing...), missing)
			})
		}
	}
}

func TestSessionsWorkWithoutOptionalEndpoints(t *testing.T) {
	t.Parallel()
	lackingEach(t, func(t *testing.T, logto *logtotest.Server, missing []string) {
		now, change := withClock(logto)
		app := newApplication(t, logto, change)
		started := len(app.log.String())
		b := newBrowser(t)
		if shown := b.signIn(app.url+"/profile", alice()); shown.status != http.StatusOK || shown.url.Path != "/profile" {
			t.Fatalf("got %d %s of %s, want the page", shown.status, shown.body, shown.url)
		}
		now.advance(61 * time.Minute)
		if shown := b.get(app.url + "/profile"); shown.status != http.StatusOK || len(refreshes(logto)) != 1 {
			t.Errorf("got %d after %d refreshes, want the page after one", shown.status, len(refreshes(logto)))
		}
		info := b.get(app.url + "/user-info")
		if slices.Contains(missing, "userinfo_endpoint") {
			if info.status == http.StatusOK || !strings.Contains(info.body, "discovery names no userinfo_endpoint") {
				t.Errorf("got %d %s, want an error that names the endpoint", info.status, info.body)
			}
		} else if info.status != http.StatusOK {
			t.Errorf("user info: got %d %s", info.status, info.body)
		}
		if shown := b.get(app.url + "/profile"); shown.status != http.StatusOK {
			t.Errorf("after the user info: got %d, want the page", shown.status)
		}
		if log := app.log.String()[started:]; strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
			t.Errorf("the log says %s", log)
		}
	})
}

func TestSignOutsWorkWithoutOptionalEndpoints(t *testing.T) {
	t.Parallel()
	options := map[string]logtogin.SignOutOptions{"as configured": {}, "LocalOnly": {LocalOnly: true}, "IDTokenHint": {IDTokenHint: true}}
	lackingEach(t, func(t *testing.T, logto *logtotest.Server, missing []string) {
		for _, after := range []string{"/", "/bye?x=1", "https://www.example.com/bye", ""} {
			for option, opts := range options {
				app := newApplication(t, logto, func(cfg *logtogin.Config) {
					cfg.AfterSignOut, cfg.AfterSignIn, cfg.Paths.SignOut = after, "/profile", "-"
				})
				signOut := func(c *gin.Context) { app.auth.SignOut(c, opts) }
				app.router.GET("/sign-out", signOut)
				app.router.POST("/sign-out", signOut)
				started := len(app.log.String())
				for how, by := range ways {
					name := fmt.Sprintf("AfterSignOut %q, %s, by %s", after, option, how)
					b := newBrowser(t)
					b.signIn(app.url+"/profile", alice())
					cookies := b.ours(app)
					if !signedInWith(t, app, cookies...) {
						t.Fatalf("%s: not signed in", name)
					}
					to := by.leads(by.signOut(app, cookies))
					want := after
					switch {
					case strings.HasPrefix(after, "/"):
						want = app.url + after
					case after == "":
						want = "/profile"
					}
					if isThere := !slices.Contains(missing, "end_session_endpoint") && !opts.LocalOnly; isThere {
						want = logto.Issuer() + "/session/end?"
						to, _, _ = strings.Cut(to, "client_id=")
						if opts.IDTokenHint && by.method == http.MethodPost && by.header.Get("Sec-Fetch-Dest") == "" {
							to = want // a form is redirected then
						}
					}
					if to != want {
						t.Errorf("%s leads to %q, want %q", name, to, want)
					}
					if signedInWith(t, app, cookies...) {
						t.Errorf("%s: the session goes on", name)
					}
				}
				if log := app.log.String()[started:]; strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
					t.Errorf("the log says %s", log)
				}
			}
		}
		if calls := logto.Calls().Revocation; slices.Contains(missing, "revocation_endpoint") != (calls == 0) {
			t.Errorf("%d calls of the revocation endpoint", calls)
		}
	})
}

func TestDiagnoseNamesTheOptionalEndpointsThatAreMissing(t *testing.T) {
	t.Parallel()
	lackingEach(t, func(t *testing.T, logto *logtotest.Server, missing []string) {
		app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.AfterSignOut = "/" })
		logto.RegisterRedirectURIs(app.url + "/callback")
		logto.RegisterPostLogoutRedirectURIs(app.url + "/")
		diagnosis := app.auth.Diagnose(t.Context())
		for _, name := range optionalEndpoints {
			isNamed := slices.ContainsFunc(diagnosis.Findings, func(finding logtogin.Finding) bool {
				return finding.Severity == logtogin.SeverityWarning && strings.Contains(finding.Detail, "no "+name) && finding.Advice != ""
			})
			if isNamed != slices.Contains(missing, name) {
				_, text := found(diagnosis)
				t.Errorf("%s is named: %v\n%s", name, isNamed, text)
			}
		}
		if diagnosis.Worst() != logtogin.SeverityWarning {
			_, text := found(diagnosis)
			t.Errorf("got %s, want a warning", text)
		}
	})
}

// Without a sign-out at the provider its session goes on: a guarded page after the sign-out would sign the user in again.
func TestDiagnoseAdvisesAPageAfterASignOutThatStaysHere(t *testing.T) {
	t.Parallel()
	for after, want := range map[string]string{"/": "RP-Initiated Logout", "": `Set Config.AfterSignOut to "/"`} {
		app := newApplication(t, lacking(t, false, "end_session_endpoint"), func(cfg *logtogin.Config) { cfg.AfterSignOut = after })
		if _, text := found(app.auth.Diagnose(t.Context())); !strings.Contains(text, want) {
			t.Errorf("AfterSignOut is %q: got %s, want %s", after, text, want)
		}
	}
}
