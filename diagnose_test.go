package logtogin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// found is the worst severity of each check, and all that is said.
func found(d *logtogin.Diagnosis) (worst map[string]logtogin.Severity, text string) {
	worst = map[string]logtogin.Severity{}
	for _, finding := range d.Findings {
		if worst[finding.Check] == "" || worst[finding.Check] == logtogin.SeverityOK {
			worst[finding.Check] = finding.Severity
		}
		text += finding.Check + " " + string(finding.Severity) + ": " + finding.Detail + ". " + finding.Advice + "\n"
	}
	return worst, text
}

func TestDiagnosisOfWhatIsWrong(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.ReleaseMode)
	const base = "https://app.example.com"
	// All that a careful operator has set.
	careful := func(logto *logtotest.Server, cfg *logtogin.Config) {
		logto.RegisterRedirectURIs(base + "/callback")
		logto.RegisterPostLogoutRedirectURIs(base + "/bye")
		logto.AddResource(logtotest.Resource{Indicator: ordersAPI})
		cfg.AfterSignOut, cfg.Secrets, cfg.SharedState = "/bye", []string{strings.Repeat("s", 32)}, newCommonState()
		cfg.Resources = []string{ordersAPI}
	}
	for name, test := range map[string]struct {
		change   func(logto *logtotest.Server, cfg *logtogin.Config)
		check    string
		severity logtogin.Severity
		advice   string
	}{
		"nothing": {func(*logtotest.Server, *logtogin.Config) {}, "", logtogin.SeverityOK, ""},
		"another secret": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.AppSecret = "another-secret-of-some-length" },
			"client", logtogin.SeverityError, "App secret"},
		"an application that is not there": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.AppID = "unknown" },
			"client", logtogin.SeverityError, "App ID"},
		"a redirect URI that is not registered": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.Paths.Callback = "/another" },
			"redirect_uri", logtogin.SeverityError, "Add https://app.example.com/another to the redirect URIs"},
		"a post-logout address that is not registered": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.AfterSignOut = "/another" },
			"post_logout_redirect_uri", logtogin.SeverityError, "asks for no password. Add https://app.example.com/another to the post sign-out"},
		"no post-logout address": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.AfterSignOut = "" },
			"post_logout_redirect_uri", logtogin.SeverityWarning, "add its address, https://app.example.com/, to the post sign-out"},
		"a resource without its slash": {func(_ *logtotest.Server, cfg *logtogin.Config) {
			cfg.Resources = append(cfg.Resources, strings.TrimSuffix(ordersAPI, "/"))
		}, "resources", logtogin.SeverityError, "slash"},
		"a clock that is off": {func(logto *logtotest.Server, cfg *logtogin.Config) {
			cfg.Now = func() time.Time { return logto.Now().Add(90 * time.Second) }
		}, "clock", logtogin.SeverityError, "NTP"},
		"a clock that is a little off": {func(logto *logtotest.Server, cfg *logtogin.Config) {
			cfg.Now = func() time.Time { return logto.Now().Add(-30 * time.Second) }
		}, "clock", logtogin.SeverityWarning, "NTP"},
		"a prompt without refresh tokens": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.Prompt = logtogin.PromptLogin },
			"refresh_token", logtogin.SeverityWarning, "Prompt"},
		"no secrets": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.Secrets = nil }, "secrets", logtogin.SeverityWarning, "Secrets"},
		"no shared state": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.SharedState = nil },
			"shared_state", logtogin.SeverityWarning, "SharedState"},
		"a shared state that is down": {func(_ *logtotest.Server, cfg *logtogin.Config) {
			cfg.SharedState.(*commonState).down = errors.New("down")
		}, "shared_state", logtogin.SeverityError, "SharedState"},
		"a store that is down": {func(_ *logtotest.Server, cfg *logtogin.Config) {
			store := newServerStore()
			store.down, cfg.Store = errors.New("down"), store
		}, "store", logtogin.SeverityError, "Store"},
		"cookies for all subdomains": {func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.Cookies.Domain = "example.com" },
			"cookies", logtogin.SeverityWarning, "Domain"},
		"Logto is down":  {func(logto *logtotest.Server, _ *logtogin.Config) { logto.Misbehave(faults.Down) }, "discovery", logtogin.SeverityError, "Endpoint"},
		"another issuer": {func(logto *logtotest.Server, _ *logtogin.Config) { logto.Misbehave(faults.WrongDiscoveryIssuer) }, "discovery", logtogin.SeverityError, "Endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			// By a clock that stands still, the answer is remembered however long the test takes.
			logto.SetNow(newClock().Now)
			cfg := logto.Config(base)
			careful(logto, &cfg)
			test.change(logto, &cfg)
			auth, err := logtogin.Register(gin.New(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			closed(t, auth)
			d := auth.Diagnose(t.Context())
			worst, text := found(d)
			if d.Worst() != test.severity || (test.check != "" && worst[test.check] != test.severity) || !strings.Contains(text, test.advice) {
				t.Errorf("%s", text)
			}
			for check, severity := range worst {
				if severity != logtogin.SeverityOK && severity != logtogin.SeverityUnknown && check != test.check {
					t.Errorf("%s is %s, too: %s", check, severity, text)
				}
			}
			for _, secret := range append([]string{cfg.AppSecret}, cfg.Secrets...) {
				if strings.Contains(text, secret) {
					t.Errorf("a secret is in %s", text)
				}
			}
			before := len(logto.Record())
			if again, _ := found(auth.Diagnose(t.Context())); len(again) != len(worst) || len(logto.Record()) > before {
				t.Error("it is made again at once")
			}
		})
	}
}

// A diagnosis signs nobody in or out.
func TestADiagnosisChangesNothing(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	for range 3 {
		now.advance(time.Minute)
		if d := app.auth.Diagnose(t.Context()); d.Worst() != logtogin.SeverityWarning {
			_, text := found(d)
			t.Error(text)
		}
	}
	if !b.isSignedIn(app) {
		t.Error("the session has ended")
	}
	now.advance(61 * time.Minute)
	if page := b.get(app.url + "/profile"); page.status != http.StatusOK {
		t.Errorf("%d %s", page.status, page.body)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	now.advance(time.Minute)
	if d := app.auth.Diagnose(ended); d.Worst() == logtogin.SeverityOK {
		t.Errorf("%+v", d)
	}
	if d := app.auth.Diagnose(t.Context()); d.Worst() != logtogin.SeverityWarning {
		t.Errorf("one that was given up is remembered: %+v", d)
	}
}

// What is said is what was seen.
func TestADiagnosisClaimsNothingThatItHasNotSeen(t *testing.T) {
	t.Parallel()
	const base = "https://app.example.com"
	diagnose := func(change func(logto *logtotest.Server, cfg *logtogin.Config)) (map[string]logtogin.Severity, string) {
		logto := logtotest.NewServer(t)
		logto.RegisterRedirectURIs(base + "/callback")
		cfg := logto.Config(base)
		change(logto, &cfg)
		auth, err := logtogin.Register(gin.New(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, auth)
		return found(auth.Diagnose(t.Context()))
	}
	_, text := diagnose(func(logto *logtotest.Server, cfg *logtogin.Config) {
		public := logto.AddApplication(logtotest.Application{Type: logtotest.SinglePage, RedirectURIs: []string{base + "/callback"}})
		cfg.AppID, cfg.AppSecret = public.ID, ""
	})
	if strings.Contains(text, "accepts its secret") || !strings.Contains(text, "without a secret") {
		t.Errorf("a public client: %s", text)
	}
	worst, text := diagnose(func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.AppSecret = " not-the-secret-of-the-application" })
	if worst["client"] != logtogin.SeverityError || worst["refresh_token"] != logtogin.SeverityUnknown || !strings.Contains(text, "Config.AppSecret begins or ends with a space") {
		t.Errorf("a wrong secret: %s", text)
	}
	worst, text = diagnose(func(logto *logtotest.Server, cfg *logtogin.Config) {
		third := logto.AddApplication(logtotest.Application{ThirdParty: true, ConsentScopes: []string{"email"}, RedirectURIs: []string{base + "/callback"}})
		cfg.AppID, cfg.AppSecret, cfg.Scopes = third.ID, third.Secret, []string{"email", "phone"}
	})
	if worst["scopes"] != logtogin.SeverityError || worst["refresh_token"] != logtogin.SeverityUnknown ||
		!strings.Contains(text, `"phone". On the page`) || !strings.Contains(text, `ask for "profile"`) || strings.Contains(text, `ask for "email"`) {
		t.Errorf("a third-party application: %s", text)
	}
	worst, text = diagnose(func(_ *logtotest.Server, cfg *logtogin.Config) { cfg.Endpoint = "http://localhost:1" })
	for check, severity := range worst {
		if severity == logtogin.SeverityOK && check != "cookies" && check != "secrets" {
			t.Errorf("nothing answers, and %s is ok: %s", check, text)
		}
	}
	worst, text = diagnose(func(logto *logtotest.Server, cfg *logtogin.Config) {
		cfg.Resources = []string{"https://orders.example.com/"}
		logto.Intercept(logtotest.Authorization, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusTooManyRequests)
		})
	})
	for _, check := range []string{"redirect_uri", "scopes", "resources", "refresh_token"} {
		if worst[check] != logtogin.SeverityUnknown {
			t.Errorf("too many requests, and %s is %s: %s", check, worst[check], text)
		}
	}
	worst, text = diagnose(func(_ *logtotest.Server, cfg *logtogin.Config) {
		cfg.Paths = logtogin.Paths{SignIn: "-", SignUp: "-", Callback: "-"}
	})
	if worst["redirect_uri"] != logtogin.SeverityUnknown || worst["resources"] != "" || strings.Contains(text, "none can succeed") {
		t.Errorf("each sign-in has its own redirect URI: %s", text)
	}
}
