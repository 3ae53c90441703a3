package logtogin_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// seen is what an operator and a user see of a mistake.
type seen struct {
	log       string // since the mistake
	diagnosis *logtogin.Diagnosis
	page      page
	isAtLogto bool
}

// mistaken is an application with a mistake in its configuration, or at a Logto with one.
type mistaken struct {
	*application
	logto   *logtotest.Server
	now     *clock
	started int // lines at the start are not about the mistake
}

func newMistaken(t *testing.T, change func(logto *logtotest.Server, app *logtotest.Application, cfg *logtogin.Config)) *mistaken {
	t.Helper()
	logto := withAPIs(t)
	now, withNow := withClock(logto)
	var registered logtotest.Application
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		withNow(cfg)
		cfg.AfterSignOut, cfg.Secrets, cfg.Scopes = "/", []string{strings.Repeat("s", 32)}, []string{"email"}
		registered = logto.Application()
		registered.RedirectURIs, registered.PostLogoutRedirectURIs = []string{cfg.BaseURL + "/callback"}, []string{cfg.BaseURL + "/"}
		if change != nil {
			change(logto, &registered, cfg)
		}
	})
	logto.AddApplication(registered)
	app.router.GET("/orders", app.auth.Guard(), func(c *gin.Context) {
		if _, err := app.auth.AccessToken(c, logtogin.Resource(ordersAPI)); err != nil {
			app.auth.Refuse(c, err)
		}
	})
	app.router.GET("/teams/:team", app.auth.Guard(), func(c *gin.Context) {
		if _, err := app.auth.AccessToken(c, logtogin.Organization(c.Param("team"))); err != nil {
			app.auth.Refuse(c, err)
		}
	})
	app.router.POST("/webhooks", app.auth.WebhookHandler("its-key"))
	return &mistaken{app, logto, now, len(app.log.String())}
}

// see is what there is to see of the mistake once the user has come to a page.
func (m *mistaken) see(shown page) seen {
	m.t.Helper()
	isAtLogto := shown.url != nil && strings.HasPrefix(shown.url.String(), m.logto.Endpoint())
	m.now.advance(time.Minute) // an earlier diagnosis is not answered again
	return seen{m.log.String()[m.started:], m.auth.Diagnose(m.t.Context()), shown, isAtLogto}
}

// signsIn is a user who comes to a page and signs in.
func (m *mistaken) signsIn() page {
	m.t.Helper()
	return newBrowser(m.t).signIn(m.url+"/profile", alice())
}

// refusingScope is a Logto that does not let the application have a scope, as for a third-party application
// (https://docs.logto.io/integrate-logto/third-party-applications/permission-management).
func refusingScope(logto *logtotest.Server, scope string) {
	logto.Intercept(logtotest.Authorization, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		query := r.URL.Query()
		if !slices.Contains(strings.Fields(query.Get("scope")), scope) {
			next.ServeHTTP(w, r)
			return
		}
		answer := url.Values{"error": {"invalid_scope"}, "error_description": {"requested scope is not allowed"}, "scope": {scope}, "state": query["state"], "iss": {logto.Issuer()}}
		http.Redirect(w, r, query.Get("redirect_uri")+"?"+answer.Encode(), http.StatusSeeOther)
	})
}

// answeringTokens is a Logto whose token endpoint refuses requests with a parameter.
func answeringTokens(logto *logtotest.Server, parameter string, status int, code, description string) {
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.PostFormValue(parameter) == "" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, code, description)
	})
}

// moving is a Logto whose discovery document names these addresses for its own.
func moving(logto *logtotest.Server, issuer, endpoints string) {
	logto.ChangeDiscovery(func(document map[string]any) any {
		for name, value := range document {
			if address, ok := value.(string); ok && name == "issuer" {
				document[name] = strings.Replace(address, logto.Endpoint(), issuer, 1)
			} else if ok && (endpoints != "" && (strings.HasSuffix(name, "_endpoint") || name == "jwks_uri")) {
				document[name] = strings.Replace(address, logto.Endpoint(), endpoints, 1)
			}
		}
		return document
	})
}

// askAPI is an API behind Bearer that gets a token.
func askAPI(t *testing.T, audience string, token func(logto *logtotest.Server) string, requirements ...logtogin.TokenRequirement) seen {
	t.Helper()
	logto := withAPIs(t)
	auth, router, log := resourceServer(t, logto, nil)
	router.GET("/api", auth.Bearer(audience, requirements...), func(*gin.Context) {})
	answer := ask(router, "/api", bearerHeader(token(logto)))
	return seen{log: log.String(), diagnosis: auth.Diagnose(t.Context()), page: page{status: answer.Code, body: answer.Body.String()}}
}

// mistaking is a mistake in the configuration alone: the user signs in, and sees the page.
func mistaking(make func(logto *logtotest.Server, app *logtotest.Application, cfg *logtogin.Config)) func(*testing.T) seen {
	return func(t *testing.T) seen {
		m := newMistaken(t, make)
		return m.see(m.signsIn())
	}
}

// whileSignedIn is a mistake that is made while a user is signed in, who then comes to a page.
func whileSignedIn(path string, make func(m *mistaken, b *browser)) func(*testing.T) seen {
	return func(t *testing.T) seen {
		m := newMistaken(t, func(_ *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) { forAPIs(cfg) })
		b := newBrowser(t)
		b.signIn(m.url+"/profile", alice())
		make(m, b)
		return m.see(b.get(m.url + path))
	}
}

// afterAnHour is whileSignedIn for a session that has to be confirmed.
func afterAnHour(make func(m *mistaken, b *browser)) func(*testing.T) seen {
	return whileSignedIn("/profile", func(m *mistaken, b *browser) {
		m.now.advance(61 * time.Minute)
		make(m, b)
	})
}

// logoutTokens is a mistake that Logto's logout tokens show.
func logoutTokens(make func(m *mistaken) (token string)) func(*testing.T) seen {
	return func(t *testing.T) seen {
		m := newMistaken(t, nil)
		shown := m.logoutToken(make(m))
		if shown.status != http.StatusBadRequest {
			t.Errorf("got %d, want 400", shown.status)
		}
		return m.see(page{})
	}
}

// mistakes are made here one by one. Their names are the first column of the table in docs/errors.md.
var mistakes = map[string]func(*testing.T) seen{
	"`Endpoint` is the address of something else": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.Endpoint += "/elsewhere"
	}),
	"`Endpoint` is another domain of the Logto": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, _ *logtogin.Config) {
		moving(logto, "https://auth.example.com", "")
	}),
	"A proxy before Logto hides https": func(t *testing.T) seen {
		m := newMistaken(t, func(logto *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
			origin, err := url.Parse(logto.Endpoint())
			if err != nil {
				t.Fatal(err)
			}
			secure := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(origin))
			t.Cleanup(secure.Close)
			moving(logto, secure.URL, "")
			cfg.Endpoint, cfg.HTTPClient = secure.URL, secure.Client()
		})
		return m.see(m.signsIn())
	},
	"A proxy before Logto replaces the host": func(t *testing.T) seen {
		m := newMistaken(t, func(logto *logtotest.Server, _ *logtotest.Application, _ *logtogin.Config) {
			moving(logto, logto.Endpoint(), strings.Replace(logto.Endpoint(), "127.0.0.1", "localhost", 1))
		})
		// Browsers are sent to an address of Logto's that they may not reach.
		sent := send(t, http.MethodGet, m.url+"/sign-in", nil, nil).header.Get("Location")
		if !strings.HasPrefix(sent, "http://localhost:") {
			t.Errorf("the browser is sent to %s", sent)
		}
		result := m.see(page{})
		result.isAtLogto = true
		return result
	},
	"App ID is wrong, or the application was deleted": mistaking(func(_ *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.AppID = "unknown"
	}),
	"The application was deleted while users are signed in": afterAnHour(func(m *mistaken, _ *browser) {
		answeringTokens(m.logto, "refresh_token", http.StatusBadRequest, "invalid_client", "invalid client "+m.logto.AppID())
	}),
	"App secret is wrong, deleted, or of another application": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.AppSecret = logto.AddApplication(logtotest.Application{}).Secret
	}),
	"App secret has expired": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, _ *logtogin.Config) {
		logto.Misbehave(faults.ExpiredSecret)
	}),
	"`AppSecret` is empty": mistaking(func(_ *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) { cfg.AppSecret = "" }),
	"The application is a Single page app or a Native app": mistaking(func(_ *logtotest.Server, app *logtotest.Application, _ *logtogin.Config) {
		app.Type = logtotest.SinglePage
	}),
	"The application is Machine-to-machine": mistaking(func(_ *logtotest.Server, app *logtotest.Application, _ *logtogin.Config) {
		app.Type = logtotest.MachineToMachine
	}),
	"Redirect URI is not registered": mistaking(func(_ *logtotest.Server, app *logtotest.Application, cfg *logtogin.Config) {
		app.RedirectURIs = []string{cfg.BaseURL + "/callback/"}
	}),
	"API resource is not there, or lacks its slash": mistaking(func(_ *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.Resources = []string{strings.TrimSuffix(ordersAPI, "/")}
	}),
	"A third-party application may not have a scope": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, _ *logtogin.Config) {
		refusingScope(logto, "email")
	}),
	"A third-party application may not have `profile`": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, _ *logtogin.Config) {
		refusingScope(logto, "profile")
	}),
	"Access control of the application excludes a user who has signed in before": func(t *testing.T) seen {
		m := newMistaken(t, nil)
		b := newBrowser(t)
		b.signIn(m.url+"/profile", alice())
		app := m.logto.Application()
		app.AllowedUsers = []string{}
		m.logto.AddApplication(app)
		return m.see(b.get(m.url + "/sign-in"))
	},
	"A Custom JWT script denies the user": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, _ *logtogin.Config) {
		answeringTokens(logto, "code", http.StatusBadRequest, "access_denied", "not from here")
	}),
	"Logto itself fails": func(t *testing.T) seen {
		m := newMistaken(t, nil)
		m.logto.ChangeCallback(func(query url.Values) url.Values {
			return url.Values{"error": {"server_error"}, "state": query["state"], "iss": query["iss"]}
		})
		shown := m.signsIn()
		m.logto.ChangeCallback(nil)
		return m.see(shown)
	},
	"The clock of this machine is behind": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.Now = func() time.Time { return logto.Now().Add(-95 * time.Second) }
	}),
	"The clock of this machine is ahead": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.Now = func() time.Time { return logto.Now().Add(2 * time.Hour) }
	}),
	"Logto's signing keys cannot be used": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, _ *logtogin.Config) {
		logto.Misbehave(faults.SymmetricKeys)
	}),
	"Custom data and other large claims are in the ID token": mistaking(func(logto *logtotest.Server, _ *logtotest.Application, _ *logtogin.Config) {
		logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["custom_data"] = randomText(20_000) })
	}),
	"The unknown-session redirect URL is the callback": func(t *testing.T) seen {
		m := newMistaken(t, nil)
		return m.see(newBrowser(t).get(m.url + "/callback"))
	},
	"No refresh tokens, because `Prompt` has no consent, and a page needs the token of an API": func(t *testing.T) seen {
		m := newMistaken(t, func(_ *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
			forAPIs(cfg)
			cfg.Prompt = logtogin.PromptLogin
		})
		b := newBrowser(t)
		b.signIn(m.url+"/profile", alice())
		return m.see(b.signIn(m.url+"/orders", alice()))
	},
	"The user is suspended or deleted, the refresh token has expired, or Maximum allowed grants is low": afterAnHour(func(m *mistaken, _ *browser) {
		m.logto.SuspendUser("alice", true)
	}),
	"Roles are switched off in the ID token": func(t *testing.T) seen {
		m := newMistaken(t, func(logto *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
			cfg.Scopes = append(cfg.Scopes, "roles")
			logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "roles") })
		})
		m.router.GET("/clerks", m.auth.Guard(logtogin.Role("clerk")), func(c *gin.Context) { c.String(http.StatusOK, "clerks") })
		return m.see(newBrowser(t).signIn(m.url+"/clerks", alice()))
	},
	"A signing key was rotated to RSA": afterAnHour(func(m *mistaken, _ *browser) {
		if err := m.logto.RotateKey("RS256"); err != nil {
			m.t.Fatal(err)
		}
	}),
	"Post sign-out redirect URI is not registered": func(t *testing.T) seen {
		m := newMistaken(t, func(_ *logtotest.Server, app *logtotest.Application, _ *logtogin.Config) {
			app.PostLogoutRedirectURIs = nil
		})
		b := newBrowser(t)
		b.signIn(m.url+"/profile", alice())
		return m.see(b.get(m.url + "/sign-out"))
	},
	"Backchannel logout URI is missing or cannot be reached": whileSignedIn("/profile", func(m *mistaken, b *browser) {
		b.submit(b.get(m.logto.Issuer()+"/session/end"), url.Values{"logout": {"yes"}}) // as another application does
		if sent := m.logto.Deliveries(); len(sent) > 0 {
			m.t.Errorf("Logto has sent %+v", sent)
		}
	}),
	"Backchannel logout URI stands at another application, too": logoutTokens(func(m *mistaken) string {
		token, err := m.logto.LogoutToken("another-application", aliceID, "")
		if err != nil {
			m.t.Fatal(err)
		}
		return token
	}),
	"Logto sends logout tokens as another domain": logoutTokens(func(m *mistaken) string {
		m.logto.ChangeLogoutToken(func(token *logtotest.JWT) { token.Claims["iss"] = "https://auth.example.com/oidc" })
		return tokenFor(m.t, m.logto, aliceID, "")
	}),
	"Webhook has another Signing key": func(t *testing.T) seen {
		m := newMistaken(t, nil)
		m.logto.AddWebhook(logtotest.Webhook{URL: m.url + "/webhooks", SigningKey: "another-key"})
		m.logto.SuspendUser("alice", true)
		if sent := m.logto.Deliveries(); len(sent) != 1 || sent[0].Status != http.StatusUnauthorized {
			t.Errorf("got %+v, want one that is answered 401", sent)
		}
		return m.see(page{})
	},
	"Webhook lacks events": whileSignedIn("/profile", func(m *mistaken, _ *browser) {
		m.logto.AddWebhook(logtotest.Webhook{URL: m.url + "/webhooks", SigningKey: "its-key", Events: []string{"PostSignIn"}})
		m.logto.SuspendUser("alice", true)
	}),
	"A permission has no API in `Resources`": mistaking(func(_ *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.Scopes = append(cfg.Scopes, "read:orders")
	}),
	"A scope of Logto's is misspelt": mistaking(func(_ *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.Resources, cfg.Scopes = []string{ordersAPI}, append(cfg.Scopes, "urn:logto:scope:organisations")
	}),
	"No role of the user has the permission": func(t *testing.T) seen {
		return askAPI(t, ordersAPI, func(logto *logtotest.Server) string { return logto.AccessToken(alice(), ordersAPI, "read:orders") }, logtogin.Scope("write:orders"))
	},
	"API resource was deleted, or added after the user had signed in": whileSignedIn("/orders", func(m *mistaken, _ *browser) {
		answeringTokens(m.logto, "resource", http.StatusBadRequest, "invalid_target", "resource indicator is missing, or unknown")
	}),
	"`urn:logto:scope:organizations` was added after the user had signed in": whileSignedIn("/teams/acme", func(m *mistaken, _ *browser) {
		answeringTokens(m.logto, "organization_id", http.StatusForbidden, "insufficient_scope", "refresh token missing required scope")
	}),
	"The user is not a member of the organization": whileSignedIn("/teams/other", func(*mistaken, *browser) {}),
	"The client signs in at another domain of the Logto": func(t *testing.T) seen {
		return askAPI(t, ordersAPI, func(logto *logtotest.Server) string {
			logto.ChangeAccessToken(func(token *logtotest.JWT) { token.Claims["iss"] = "https://auth.example.com/oidc" })
			return logto.AccessToken(alice(), ordersAPI)
		})
	},
	"`Bearer` has the API identifier without its slash": func(t *testing.T) seen {
		return askAPI(t, strings.TrimSuffix(ordersAPI, "/"), func(logto *logtotest.Server) string { return logto.AccessToken(alice(), ordersAPI) })
	},
	"The client asks for a token for another API": func(t *testing.T) seen {
		return askAPI(t, ordersAPI, func(logto *logtotest.Server) string { return logto.AccessToken(alice(), stockAPI) })
	},
	"The client asks for a token for no API": func(t *testing.T) seen {
		return askAPI(t, ordersAPI, func(*logtotest.Server) string { return "an-opaque-token-of-43-characters-0123456789" })
	},
}

func randomText(length int) string {
	var text strings.Builder
	for text.Len() < length {
		text.WriteString(rand.Text())
	}
	return text.String()
}

// What the table in docs/errors.md says about the mistakes that an operator can make is what happens.
func TestEachMistakeInTheLogtoConsoleNamesItsCure(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## Mistakes in the Logto Console\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| (.+) \| (.+) \| (.+) \| (.+) \| (.+) \|$`).FindAllStringSubmatch(section, -1)
	documented := map[string]bool{}
	for _, row := range rows[min(2, len(rows)):] {
		name, says := row[1], row[2:5]
		if strings.HasPrefix(name, "**") {
			continue
		}
		documented[name] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			happens := mistakes[name]
			if happens == nil {
				t.Fatal("no test makes this mistake")
			}
			result := happens(t)
			checkLogOf(t, result.log, says[0])
			checkDiagnosisOf(t, result.diagnosis, says[1])
			checkPageOf(t, result, says[2])
		})
	}
	for name := range mistakes {
		if !documented[name] {
			t.Errorf("docs/errors.md does not say: %s", name)
		}
	}
}

var logLevels = map[string]string{"Error": "ERROR", "Warning": "WARN", "Info": "INFO"}

// checkLogOf looks for a line of this level with the cure, and for none of a higher level.
func checkLogOf(t *testing.T, log, says string) {
	t.Helper()
	level, cure, _ := strings.Cut(says, ": ")
	cure = strings.Trim(cure, "`")
	isThere := says == "nothing"
	for line := range strings.Lines(log) {
		switch {
		case says != "nothing" && strings.Contains(line, "level="+logLevels[level]) && strings.Contains(line, cure):
			isThere = true
		case level != "Error" && strings.Contains(line, "level=ERROR"),
			level != "Error" && level != "Warning" && strings.Contains(line, "level=WARN"):
			t.Errorf("the log also says %s", line)
		}
	}
	if !isThere {
		t.Errorf("the log says %s, want %s", log, says)
	}
}

// checkDiagnosisOf looks for a finding of this check with advice, and for no other of its severity.
func checkDiagnosisOf(t *testing.T, diagnosis *logtogin.Diagnosis, says string) {
	t.Helper()
	check, severity, _ := strings.Cut(says, " ")
	check = strings.Trim(check, "`")
	isThere := says == "nothing"
	for _, finding := range diagnosis.Findings {
		switch {
		case finding.Check == check && string(finding.Severity) == severity && finding.Advice != "":
			isThere = true
		case slices.Contains([]string{"cookies", "secrets", "shared_state"}, finding.Check): // of the test's own application
		case finding.Severity == logtogin.SeverityError, finding.Severity == logtogin.SeverityWarning:
			t.Errorf("it also finds %+v", finding)
		}
	}
	if !isThere {
		_, text := found(diagnosis)
		t.Errorf("Diagnose says %s, want %s", text, says)
	}
}

func checkPageOf(t *testing.T, result seen, says string) {
	t.Helper()
	body, status := result.page.body, result.page.status
	switch {
	case says == "nothing":
	case strings.HasPrefix(says, `"`):
		if !strings.Contains(body, strings.Trim(says, `"`)) || status < 400 {
			t.Errorf("the user sees %d %s, want %s", status, body, says)
		}
		if len(offered(result.page)) == 0 || strings.Contains(body, `http-equiv="refresh"`) {
			t.Errorf("the page has no way on, or takes one by itself, which could go in circles: %s", body)
		}
	case says == "Logto's page":
		if !result.isAtLogto {
			t.Errorf("the user sees %d %s of %s, want a page of Logto's", status, body, result.page.url)
		}
	case strings.HasPrefix(says, "the page"):
		if status != http.StatusOK || result.isAtLogto {
			t.Errorf("the user sees %d %s of %s, want the page", status, body, result.page.url)
		}
	case says == "the sign-in":
		if !result.isAtLogto || status != http.StatusOK {
			t.Errorf("the user sees %d %s of %s, want the sign-in", status, body, result.page.url)
		}
	default:
		if fmt.Sprint(status) != says {
			t.Errorf("got %d, want %s", status, says)
		}
	}
}

// The error says by how much the clocks are apart.
func TestAnErrorAboutTheClockSaysByHowMuchItIsWrong(t *testing.T) {
	t.Parallel()
	for off, want := range map[time.Duration]string{
		-95 * time.Second: "iat is 95 seconds in the future; compare the clock of this machine with Logto's (NTP)",
		2 * time.Hour:     "exp is 3600 seconds past, and iat 7200 seconds; compare the clock of this machine with Logto's (NTP)",
	} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			m := newMistaken(t, func(logto *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
				cfg.Now = func() time.Time { return logto.Now().Add(off) }
			})
			m.signsIn()
			if log := m.log.String(); !strings.Contains(log, want) {
				t.Errorf("the log says %s, want %s", log, want)
			}
		})
	}
}

// An App secret that has expired is reported once and not for each session, and nobody is signed out until Config.MaxStale
// has passed, nor then.
func TestAnExpiredSecretIsReportedOnceAndEndsNoSession(t *testing.T) {
	t.Parallel()
	m := newMistaken(t, nil)
	var browsers []*browser
	for range 3 {
		b := newBrowser(t)
		b.signIn(m.url+"/profile", alice())
		browsers = append(browsers, b)
	}
	m.logto.Misbehave(faults.ExpiredSecret)
	m.now.advance(61 * time.Minute)
	for range 3 {
		for _, b := range browsers {
			if shown := b.get(m.url + "/profile"); shown.status != http.StatusOK {
				t.Errorf("got %d %s, want the page", shown.status, shown.body)
			}
		}
		m.now.advance(10 * time.Second)
	}
	log := m.log.String()[m.started:]
	if strings.Count(log, "level=ERROR") != 1 || strings.Count(log, "level=WARN") != 0 || !strings.Contains(log, "create another App secret") {
		t.Errorf("the log says %s, want one error with the cure", log)
	}
	m.now.advance(25 * time.Hour)
	if shown := browsers[0].get(m.url + "/profile"); shown.status != http.StatusServiceUnavailable {
		t.Errorf("after MaxStale: got %d, want 503", shown.status)
	}
	m.logto.Behave()
	m.now.advance(3 * time.Second)
	for _, b := range browsers {
		if shown := b.get(m.url + "/profile"); shown.status != http.StatusOK || !strings.HasPrefix(shown.url.String(), m.url) {
			t.Errorf("with a new secret: got %d of %s, want the page", shown.status, shown.url)
		}
	}
}

// An outage is an error, also if Logto gives a reason that would be a warning at a sign-in.
func TestARefusalThatMakesAPageUnavailableIsAnErrorInTheLog(t *testing.T) {
	t.Parallel()
	m := newMistaken(t, func(_ *logtotest.Server, _ *logtotest.Application, cfg *logtogin.Config) {
		cfg.Scopes = append(cfg.Scopes, "roles")
	})
	m.logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "roles") })
	m.logto.Intercept(logtotest.UserInfo, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"error":"insufficient_scope"}`))
	})
	m.router.GET("/clerks", m.auth.Guard(logtogin.Role("clerk")), func(*gin.Context) {})
	shown := newBrowser(t).signIn(m.url+"/clerks", alice())
	if log := m.log.String()[m.started:]; shown.status != http.StatusServiceUnavailable || !strings.Contains(log, "level=ERROR") {
		t.Errorf("got %d, and the log says %s, want 503 and an error", shown.status, log)
	}
}

// An API has no client, no redirect URI and no sign-in, of which Diagnose could know nothing while Logto is down.
func TestADiagnosisOfAnAPIIsNotAboutSignIns(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string][]logtotest.Fault{"Logto answers": nil, "Logto is down": {faults.Down}} {
		logto := logtotest.NewServer(t)
		logto.Misbehave(fault...)
		auth, _, _ := resourceServer(t, logto, nil)
		worst, text := found(auth.Diagnose(t.Context()))
		for _, check := range []string{"client", "redirect_uri", "scopes", "resources", "post_logout_redirect_uri", "refresh_token"} {
			if worst[check] != "" {
				t.Errorf("%s: got %s, want nothing about %s", name, text, check)
			}
		}
	}
}

// Strangers cause no error in the log, and without the cookie of an attempt no warning.
func TestWhatStrangersMakeUpIsNoErrorInTheLog(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		send  func(t *testing.T, m *mistaken) (status int)
		level string // of the worst line
	}{
		"a callback without a cookie": {func(t *testing.T, m *mistaken) int {
			return send(t, http.MethodGet, m.url+"/callback?error=invalid_scope&state=x", nil, nil).status
		}, "INFO"},
		"the callback of another browser": {func(t *testing.T, m *mistaken) int {
			address, _ := madeUp(t, m.logto, m.application)
			return send(t, http.MethodGet, strings.Replace(address, "code=made-up", "error=invalid_scope", 1), nil, nil).status
		}, "INFO"},
		"the callback of a sign-in of their own": {func(t *testing.T, m *mistaken) int {
			address, cookies := madeUp(t, m.logto, m.application)
			return send(t, http.MethodGet, strings.Replace(address, "code=made-up", "error=invalid_scope", 1), cookies, nil).status
		}, "WARN"},
		"a callback from another issuer": {func(t *testing.T, m *mistaken) int {
			address, cookies := madeUp(t, m.logto, m.application)
			return send(t, http.MethodGet, strings.Replace(address, "iss=", "iss=x", 1), cookies, nil).status
		}, "WARN"},
		"a code": {func(t *testing.T, m *mistaken) int {
			address, cookies := madeUp(t, m.logto, m.application)
			return send(t, http.MethodGet, address, cookies, nil).status
		}, "INFO"},
		"a logout token":             {func(_ *testing.T, m *mistaken) int { return m.logoutToken("a.b.c").status }, "INFO"},
		"a logout token in no form":  {func(_ *testing.T, m *mistaken) int { return m.logoutRequest(http.MethodPost, "text/plain", "x").status }, "INFO"},
		"a webhook":                  {func(t *testing.T, m *mistaken) int { return hook(t, m, "") }, "INFO"},
		"a webhook with a signature": {func(t *testing.T, m *mistaken) int { return hook(t, m, strings.Repeat("0", 64)) }, "WARN"},
		"a bearer token": {func(t *testing.T, m *mistaken) int {
			m.router.GET("/api", m.auth.Bearer(ordersAPI), func(*gin.Context) {})
			return send(t, http.MethodGet, m.url+"/api", nil, bearerHeader("e30.e30.e30")).status
		}, "INFO"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMistaken(t, nil)
			if status := test.send(t, m); status != http.StatusBadRequest && status != http.StatusUnauthorized {
				t.Errorf("got %d, want a refusal", status)
			}
			log := m.log.String()[m.started:]
			worst := ""
			for _, level := range []string{"INFO", "WARN", "ERROR"} {
				if strings.Contains(log, "level="+level) {
					worst = level
				}
			}
			if worst != test.level {
				t.Errorf("the log says %s, want no more than %s", log, test.level)
			}
		})
	}
}

// hook sends a webhook with a signature.
func hook(t *testing.T, m *mistaken, signature string) (status int) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, m.url+"/webhooks", strings.NewReader(`{"event":"User.Deleted"}`))
	if err != nil {
		t.Fatal(err)
	}
	if signature != "" {
		r.Header.Set("Logto-Signature-Sha-256", signature)
	}
	return newBrowser(t).do(r).status
}
