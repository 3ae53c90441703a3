package logtogin_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

var rightsScopes = []string{"roles", "urn:logto:scope:organizations", "urn:logto:scope:organization_roles"}

// withRights is a Logto whose user alice has rights, and mallory none.
func withRights(t *testing.T) *logtotest.Server {
	t.Helper()
	alice := logtotest.DefaultUser()
	alice.ID, alice.Roles = aliceID, []string{"admin", "team:lead"}
	alice.Organizations = map[string][]string{"acme": {"owner", "team:lead"}, "strict": {"owner"}}
	logto := logtotest.NewServer(t, alice, logtotest.User{Username: "mallory", Password: "mallory-password"})
	logto.AddOrganization(logtotest.Organization{ID: "acme", Name: "Acme"})
	logto.AddOrganization(logtotest.Organization{ID: "strict", Name: "Strict", RequiresMFA: true})
	return logto
}

func (app *application) guarded(path string, requirements ...logtogin.ClaimsRequirement) {
	app.router.GET(path, app.auth.Guard(requirements...), func(c *gin.Context) { c.String(http.StatusOK, "in "+c.GetString(logtogin.OrganizationKey)) })
}

func TestGuardLetsInWhoMeetsItsRequirements(t *testing.T) {
	t.Parallel()
	for name, hidden := range map[string][]string{
		"by the ID token": nil,
		"by user info, if the ID token has no claims": {"roles", "organizations", "organization_roles"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withRights(t)
			logto.ChangeIDToken(func(token *logtotest.JWT) {
				for _, claim := range hidden {
					delete(token.Claims, claim)
				}
			})
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
			org := logtogin.FromParam("org")
			app.guarded("/admin", logtogin.Role("admin"))
			app.guarded("/editor", logtogin.Role("editor"))
			app.guarded("/colon", logtogin.Role("team:lead"))
			app.guarded("/both", logtogin.Role("admin"), logtogin.Role("editor"))
			app.guarded("/either", logtogin.AnyOf(logtogin.Role("editor"), logtogin.Role("admin")))
			app.guarded("/neither", logtogin.AnyOf(logtogin.Role("editor"), logtogin.Role("author")))
			app.guarded("/in/:org", logtogin.InOrganization(org))
			app.guarded("/constant", logtogin.InOrganization(logtogin.OrganizationID("acme")))
			app.guarded("/owner/:org", logtogin.OrganizationRole(org, "owner"))
			app.guarded("/lead/:org", logtogin.OrganizationRole(org, "team:lead"))
			app.guarded("/plain-lead/:org", logtogin.OrganizationRole(org, "lead"))
			app.guarded("/access/:org", logtogin.OrganizationAccess(org))
			app.guarded("/query", logtogin.InOrganization(logtogin.FromQuery("org")))
			app.guarded("/name", logtogin.MatchClaims("is called Alice", func(_ *gin.Context, claims *logtogin.Claims) bool { return claims.Name == "Alice Example" }))
			rights := map[string]string{ // what alice gets; "" is 403
				"/admin": "in ", "/editor": "", "/colon": "in ", "/both": "", "/either": "in ", "/neither": "",
				"/in/acme": "in acme", "/in/other": "", "/constant": "in acme",
				"/owner/acme": "in acme", "/owner/other": "", "/lead/acme": "in acme",
				"/plain-lead/acme:team": "", // "acme" + ":team:lead" is another organization's role
				"/access/acme":          "in acme", "/access/strict": "", "/access/other": "",
				"/query?org=acme": "in acme", "/query": "", "/name": "in ",
			}
			b, other := newBrowser(t), newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			other.signIn(app.url+"/profile", logtotest.User{Username: "mallory", Password: "mallory-password"})
			for path, want := range rights {
				page := b.get(app.url + path)
				if (want != "") != (page.status == http.StatusOK) || (want == "" && page.status != http.StatusForbidden) || (want != "" && page.body != want) {
					t.Errorf("%s: %d %s", path, page.status, page.body)
				}
				if page := other.get(app.url + path); page.status != http.StatusForbidden {
					t.Errorf("mallory at %s: %d %s", path, page.status, page.body)
				}
				if page := send(t, http.MethodGet, app.url+path, nil, nil); page.status != http.StatusFound {
					t.Errorf("a visitor at %s: %d", path, page.status)
				}
			}
			if calls := logto.Calls().UserInfo; calls != min(2, len(hidden)) {
				t.Errorf("%d calls for user info", calls)
			}
		})
	}
}

// C55: what is null, empty or of another type never satisfies a requirement, and Logto is
// not asked about what it has said.
func TestClaimsThatAreNothingSatisfyNothing(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]any{
		"null": nil, "empty": []any{}, "a string": "admin", "an object": map[string]any{"admin": true},
		"with a null in it": []any{nil, "admin"}, "nested": []any{[]any{"admin"}}, "an empty string": []any{""}, "true": true,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withRights(t)
			logto.ChangeIDToken(func(token *logtotest.JWT) {
				for _, claim := range []string{"roles", "organizations", "organization_roles"} {
					token.Claims[claim] = value
				}
			})
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
			app.guarded("/role", logtogin.Role("admin"))
			app.guarded("/in/:org", logtogin.InOrganization(logtogin.FromParam("org")))
			app.guarded("/query", logtogin.InOrganization(logtogin.FromQuery("org")))
			app.guarded("/owner", logtogin.OrganizationRole(logtogin.FromQuery("org"), "owner"))
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			for _, path := range []string{"/role", "/in/acme", "/query", "/query?org=", "/owner?org="} {
				if page := b.get(app.url + path); page.status != http.StatusForbidden {
					t.Errorf("%s: %d %s", path, page.status, page.body)
				}
			}
			if calls := logto.Calls().UserInfo; calls != 0 {
				t.Errorf("%d calls for user info", calls)
			}
		})
	}
}

// What a tenant leaves out of ID tokens is looked up once, absence included, until the
// session is refreshed.
func TestClaimsAreLookedUpOnce(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	now, change := withClock(logto)
	logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "roles") })
	app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.Scopes = rightsScopes })
	app.guarded("/admin", logtogin.Role("admin"))
	app.guarded("/editor", logtogin.Role("editor"))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	cookies := b.ours(app)
	logto.ResetCalls()
	var good, refused atomic.Int64
	atOnce(50, func(i int) {
		switch send(t, http.MethodGet, app.url+[]string{"/admin", "/editor"}[i%2], cookies, nil).status {
		case http.StatusOK:
			good.Add(1)
		case http.StatusForbidden:
			refused.Add(1)
		}
	})
	if calls := logto.Calls().UserInfo; calls != 1 || good.Load() != 25 || refused.Load() != 25 {
		t.Errorf("%d calls, %d let in, %d refused", calls, good.Load(), refused.Load())
	}
	demoted := logtotest.DefaultUser()
	demoted.ID = aliceID
	logto.AddUser(demoted)
	now.advance(61 * time.Minute)
	for range 3 {
		if page := b.get(app.url + "/admin"); page.status != http.StatusForbidden {
			t.Errorf("after the refresh: %d", page.status)
		}
	}
	if calls := logto.Calls().UserInfo; calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

// Not being able to tell is neither "allowed" nor "forbidden".
func TestRightsThatCannotBeLookedUp(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, http.Handler)
		status int
	}{
		"Logto fails":               {answer(500, ""), 503},
		"somebody else's user info": {answer(200, `{"sub":"somebody","roles":["admin"]}`), 503},
		"no user info at all":       {answer(200, `[]`), 503},
		"a refusal":                 {answer(403, `{"error":"insufficient_scope"}`), 503},
		"it panics":                 {func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }, 503},
		"the user was removed":      {answer(400, `{"error":"invalid_grant"}`), 302},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withRights(t)
			logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "roles") })
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
			app.guarded("/admin", logtogin.Role("admin"))
			b := newBrowser(t)
			b.signIn(app.url+"/profile", logtotest.DefaultUser())
			logto.Intercept(logtotest.UserInfo, test.answer)
			if page := send(t, http.MethodGet, app.url+"/admin", b.ours(app), nil); page.status != test.status {
				t.Errorf("%d %s", page.status, page.body)
			}
			logto.Intercept(logtotest.UserInfo, nil)
			want := http.StatusOK
			if test.status == http.StatusFound {
				want = http.StatusFound
			}
			if page := send(t, http.MethodGet, app.url+"/admin", b.ours(app), nil); page.status != want {
				t.Errorf("afterwards: %d %s", page.status, page.body)
			}
		})
	}
}

// What was looked up counts again while Logto is down, but not once Logto has failed to renew it.
func TestALookupThatCouldNotBeRenewedIsForgotten(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	now, change := withClock(logto)
	logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "roles") })
	app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.Scopes = rightsScopes })
	app.guarded("/admin", logtogin.Role("admin"))
	b := newBrowser(t)
	b.signIn(app.url+"/admin", logtotest.DefaultUser())
	now.advance(61 * time.Minute)
	logto.Intercept(logtotest.UserInfo, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusBadGateway) })
	if page := b.get(app.url + "/admin"); page.status != http.StatusServiceUnavailable {
		t.Errorf("user info is down: %d %s", page.status, page.body)
	}
	now.advance(61 * time.Minute)
	logto.Misbehave(faults.Down)
	if page := b.get(app.url + "/admin"); page.status != http.StatusServiceUnavailable {
		t.Errorf("Logto is down: %d %s", page.status, page.body)
	}
}

func TestOrganizationAccessWhileLogtoIsDown(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
	app.guarded("/access/:org", logtogin.OrganizationAccess(logtogin.FromParam("org")))
	app.guarded("/either/:org", logtogin.AnyOf(logtogin.OrganizationAccess(logtogin.FromParam("org")), logtogin.Role("admin")))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	logto.Misbehave(faults.Down)
	for path, want := range map[string]int{"/access/acme": 503, "/either/acme": 200} {
		if page := b.get(app.url + path); page.status != want {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
	}
}

// Whoever asked first may leave without taking the others along.
func TestALookupOutlivesWhoAskedFirst(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "roles") })
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
	app.router.Use(func(c *gin.Context) {
		c.Next()
		c.Request.Header.Set("Left", "yes") // the request is the middleware's again
	})
	app.guarded("/admin", logtogin.Role("admin"))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	asked, left := make(chan struct{}, 2), make(chan struct{})
	var calls atomic.Int64
	logto.Intercept(logtotest.UserInfo, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		asked <- struct{}{}
		<-left
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusUnauthorized) // so that the session is refreshed
			return
		}
		next.ServeHTTP(w, r)
	})
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, app.url+"/admin", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range b.ours(app) {
		r.AddCookie(cookie)
	}
	go func() {
		defer close(left)
		_, _ = (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	}()
	<-asked
	second := make(chan page)
	go func() { second <- send(t, http.MethodGet, app.url+"/admin", b.ours(app), nil) }()
	leave()
	if page := <-second; page.status != http.StatusOK {
		t.Errorf("%d %s", page.status, page.body)
	}
	if calls.Load() != 2 {
		t.Errorf("%d calls for user info, want those of the first request", calls.Load())
	}
}

func TestMaxAgeSendsUsersThroughASignIn(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, change)
	app.guarded("/pay", logtogin.MaxAge(5*time.Minute))
	app.router.POST("/pay", app.auth.Guard(logtogin.MaxAge(5*time.Minute)), func(*gin.Context) {})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	// The first sign-in was not asked when the user had authenticated.
	form := b.get(app.url + "/pay?order=7")
	if !strings.Contains(form.body, `name="password"`) {
		t.Fatalf("%d %s", form.status, form.body)
	}
	authorization := ""
	for _, address := range b.visited {
		if strings.Contains(address, "max_age=300") && strings.Contains(address, "prompt=login+consent") {
			authorization = address
		}
	}
	if authorization == "" {
		t.Errorf("%q", b.visited)
	}
	if page := b.enter(form, logtotest.DefaultUser()); page.status != http.StatusOK || page.url.RequestURI() != "/pay?order=7" {
		t.Fatalf("%s %d %s", page.url, page.status, page.body)
	}
	now.advance(4 * time.Minute)
	if page := b.get(app.url + "/pay"); page.status != http.StatusOK {
		t.Errorf("after 4 minutes: %d", page.status)
	}
	now.advance(3 * time.Minute)
	program := send(t, http.MethodGet, app.url+"/pay", b.ours(app), http.Header{"Accept": {"application/json"}})
	if program.status != http.StatusUnauthorized || program.header.Get("WWW-Authenticate") != `Bearer error="insufficient_user_authentication", max_age="300"` {
		t.Errorf("a program: %d %v", program.status, program.header)
	}
	form = send(t, http.MethodPost, app.url+"/pay", b.ours(app), http.Header{
		"Accept": {browserAccept}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {app.url}, "Referer": {app.url + "/pay?order=7"},
	})
	if form.status != http.StatusUnauthorized || !strings.Contains(form.body, "Sign in again") ||
		!strings.Contains(form.body, "was not saved") || !strings.Contains(form.body, "/sign-in?return_to=%2Fpay%3Forder%3D7") {
		t.Errorf("a form: %d %s", form.status, form.body)
	}
	// Still signed in elsewhere, and after a refresh it is still known when it was.
	if page := b.get(app.url + "/profile"); page.status != http.StatusOK {
		t.Errorf("%d", page.status)
	}
	if form := b.get(app.url + "/pay"); !strings.Contains(form.body, `name="password"`) {
		t.Errorf("after 7 minutes: %d %s", form.status, form.body)
	}
	hour := newApplication(t, logto, change)
	hour.guarded("/pay", logtogin.MaxAge(2*time.Hour))
	other := newBrowser(t)
	other.enter(other.get(hour.url+"/pay"), logtotest.DefaultUser()) // signs in
	page := other.get(hour.url + "/pay")
	if strings.Contains(page.body, `name="password"`) {
		page = other.enter(page, logtotest.DefaultUser())
	}
	now.advance(61 * time.Minute)
	logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "auth_time") })
	if page := other.get(hour.url + "/pay"); page.status != http.StatusOK || page.body != "in " {
		t.Errorf("after a refresh without auth_time: %d %s", page.status, page.body)
	}
}

func TestGuardsAreCheckedWhenTheyAreMade(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	org := logtogin.OrganizationID("acme")
	for name, make := range map[string]func(){
		"a role without the scope":               func() { app.auth.Guard(logtogin.Role("admin")) },
		"the same in a choice":                   func() { app.auth.Guard(logtogin.AnyOf(logtogin.MaxAge(time.Second), logtogin.Role("admin"))) },
		"an organization without the scope":      func() { app.auth.Guard(logtogin.InOrganization(org)) },
		"an organization role without the scope": func() { app.auth.Guard(logtogin.OrganizationRole(org, "owner")) },
		"organization access without the scope":  func() { app.auth.Guard(logtogin.OrganizationAccess(org)) },
		"a permission of tokens":                 func() { app.auth.Guard(logtogin.AnyOf(logtogin.Scope("read"))) },
		"a role for tokens":                      func() { app.auth.Bearer(ordersAPI, logtogin.AnyOf(logtogin.Role("admin"))) },
		"no role":                                func() { logtogin.Role("") },
		"no role in an organization":             func() { logtogin.OrganizationRole(org, "") },
		"no source":                              func() { logtogin.OrganizationAccess(logtogin.OrganizationSource{}) },
		"no permission":                          func() { logtogin.Scope() },
		"an empty permission":                    func() { logtogin.Scope("read", "") },
		"two permissions in one":                 func() { logtogin.Scope("read write") },
		"a permission with a quotation mark":     func() { logtogin.Scope(`read"`) },
		"a permission with a backslash":          func() { logtogin.Scope(`read\orders`) },
		"a permission with an umlaut":            func() { logtogin.Scope("lösen") },
		"a permission with a line break":         func() { logtogin.Scope("read\nwrite") },
		"a permission with DEL":                  func() { logtogin.AnyOf(logtogin.Scope("a\x7f")) },
		"no function":                            func() { logtogin.MatchClaims("x", nil) },
		"no age":                                 func() { logtogin.MaxAge(0) },
		"half a second":                          func() { logtogin.MaxAge(1500 * time.Millisecond) },
		"a requirement that is nil":              func() { app.auth.Guard(nil) },
		"one of a choice that is nil":            func() { logtogin.AnyOf(logtogin.MaxAge(time.Second), nil) },
	} {
		func() {
			defer func() {
				if reason, _ := recover().(string); !strings.HasPrefix(reason, "logtogin: ") {
					t.Errorf("%s: %q", name, reason)
				}
			}()
			make()
		}()
	}
}

// Which organization a request asks about is up to the user; how often Logto is asked is not.
func TestARefusedTokenIsNotAskedForAgainAtOnce(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.Scopes = rightsScopes })
	app.guarded("/in/:org", logtogin.OrganizationAccess(logtogin.FromParam("org")))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	logto.ResetCalls()
	for range 20 {
		if page := b.get(app.url + "/in/other"); page.status != http.StatusForbidden {
			t.Fatalf("%d %s", page.status, page.body)
		}
	}
	if calls := logto.Calls().Token; calls != 1 {
		t.Errorf("%d calls", calls)
	}
	logto.AddOrganization(logtotest.Organization{ID: "other", Name: "Other"})
	logto.SetMembership(idOf(t, logto, "alice"), "other", []string{})
	now.advance(6 * time.Second)
	if page := b.get(app.url + "/in/other"); page.status != http.StatusOK {
		t.Errorf("a member: %d %s", page.status, page.body)
	}
}

// Of organizations that are made up, Logto is asked about a few, and of impossible ones not.
func TestMadeUpOrganizationsCostFewCalls(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.Scopes = rightsScopes })
	app.guarded("/in", logtogin.OrganizationAccess(logtogin.FromQuery("org")))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	logto.ResetCalls()
	expectForbidden := func(id string) {
		t.Helper()
		if page := b.get(app.url + "/in?org=" + id); page.status != http.StatusForbidden {
			t.Fatalf("%.20s: %d %s", id, page.status, page.body)
		}
	}
	expectForbidden(strings.Repeat("x", 200))
	if calls := logto.Calls().Token; calls != 0 {
		t.Errorf("%d calls for an ID that nobody has", calls)
	}
	for i := range 50 {
		expectForbidden("made-up-" + strconv.Itoa(i))
	}
	if calls := logto.Calls().Token; calls != 16 {
		t.Errorf("%d calls", calls)
	}
	now.advance(6 * time.Second)
	if page := b.get(app.url + "/in?org=acme"); page.status != http.StatusOK {
		t.Errorf("a member, a little later: %d %s", page.status, page.body)
	}
}

// A Logto that ignores the organization, as it does in other requests.
func TestOrganizationAccessLooksAtTheToken(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
	app.guarded("/in/:org", logtogin.OrganizationAccess(logtogin.FromParam("org")))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	for name, change := range map[string]func(url.Values){
		"another kind of token":        func(form url.Values) { form.Del("organization_id") },
		"that of another organization": func(form url.Values) { form.Set("organization_id", "acme") },
	} {
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			change(r.PostForm)
			body := r.PostForm.Encode()
			r.Body, r.ContentLength, r.Form, r.PostForm = io.NopCloser(strings.NewReader(body)), int64(len(body)), nil, nil
			next.ServeHTTP(w, r)
		})
		if page := b.get(app.url + "/in/" + strings.ReplaceAll(name, " ", "-")); page.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, page.status, page.body)
		}
	}
}

// What Logto says against a token reaches OnError: a member may only have to turn on MFA.
func TestWhatWasAskedForCanBeTold(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	var seen error
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.Scopes = rightsScopes
		cfg.OnError = func(_ *gin.Context, err error) { seen = err }
	})
	app.guarded("/strict", logtogin.OrganizationAccess(logtogin.OrganizationID("strict")))
	app.guarded("/editor", logtogin.Role("editor"))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	var unmet *logtogin.RequirementError
	var refused *logtogin.ProviderError
	if page := b.get(app.url + "/strict"); page.status != http.StatusForbidden || !errors.As(seen, &unmet) || !errors.As(seen, &refused) || refused.Code != "access_denied" {
		t.Errorf("%d %v", page.status, seen)
	}
	if page := b.get(app.url + "/editor"); page.status != http.StatusForbidden || !errors.As(seen, &unmet) || unmet.Requirement != `role "editor"` || !errors.Is(seen, logtogin.ErrInsufficientRights) {
		t.Errorf("%d %v", page.status, seen)
	}
	if !strings.Contains(app.log.String(), "sub="+idOf(t, logto, "alice")) {
		t.Errorf("whose request it was is not in %s", app.log)
	}
}

// A right over one organization and a right over another are none over either.
func TestOneRequestIsAboutOneOrganization(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
	app.guarded("/x/:org", logtogin.OrganizationRole(logtogin.FromParam("org"), "owner"), logtogin.InOrganization(logtogin.FromHeader("X-Org")))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	for other, status := range map[string]int{"acme": http.StatusOK, "strict": http.StatusForbidden} {
		if page := send(t, http.MethodGet, app.url+"/x/acme", b.ours(app), http.Header{"X-Org": {other}}); page.status != status {
			t.Errorf("%s: %d %s", other, page.status, page.body)
		}
	}
}

// A mistake of the application is not the user's want of rights.
func TestARouteWithoutTheParameterOfItsGuardIsAMistake(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
	app.guarded("/squads/:squad", logtogin.InOrganization(logtogin.FromParam("team")))
	app.router.GET("/api/:squad", app.auth.Bearer(ordersAPI, logtogin.InOrganization(logtogin.FromParam("team"))), func(*gin.Context) {})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	token := http.Header{"Authorization": {"Bearer " + logto.OrganizationToken(alice(), "acme", ordersAPI)}}
	for path, header := range map[string]http.Header{"/squads/acme": nil, "/api/acme": token} {
		if page := send(t, http.MethodGet, app.url+path, b.ours(app), header); page.status != http.StatusInternalServerError {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
	}
	if !strings.Contains(app.log.String(), `the route /squads/:squad has no parameter \"team\"`) {
		t.Error(app.log)
	}
}

// A visitor of a page with MaxAge signs in once, and one step-up that yields nothing is 403.
func TestMaxAgeAsksOnce(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	app := newApplication(t, logto, nil)
	app.guarded("/pay", logtogin.MaxAge(5*time.Minute))
	b := newBrowser(t)
	if page := b.enter(b.get(app.url+"/pay?order=7"), alice()); page.status != http.StatusOK || page.url.RequestURI() != "/pay?order=7" {
		t.Errorf("%s %d %s", page.url, page.status, page.body)
	}
	if calls := logto.Calls().Authorization; calls != 1 {
		t.Errorf("%d authorization requests", calls)
	}
	for name, change := range map[string]func(*logtotest.JWT){
		"no auth_time":     func(token *logtotest.JWT) { delete(token.Claims, "auth_time") },
		"an old auth_time": func(token *logtotest.JWT) { token.Claims["auth_time"] = time.Now().Add(-time.Hour).Unix() },
	} {
		logto.ChangeIDToken(nil)
		other := newBrowser(t)
		other.signIn(app.url+"/profile", alice())
		logto.ChangeIDToken(change)
		logto.ResetCalls()
		page := other.enter(other.get(app.url+"/pay"), alice())
		if page.status != http.StatusForbidden || strings.Contains(page.body, "/sign-in") || logto.Calls().Authorization != 1 {
			t.Errorf("%s: %d after %d authorization requests: %s", name, page.status, logto.Calls().Authorization, page.body)
		}
		if !other.isSignedIn(app) {
			t.Errorf("%s: the session from before has ended", name)
		}
	}
}
