package logtogin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/redisstate"
)

// The examples of the README's section "Calling APIs".

func ordersPage(auth *logtogin.Auth, ordersURL string) gin.HandlerFunc {
	return func(c *gin.Context) {
		client := auth.HTTPClient(c, logtogin.Resource("https://orders.example.com/"))
		response, err := client.Get(ordersURL)
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		defer response.Body.Close()
		c.DataFromReader(response.StatusCode, response.ContentLength, "application/json", response.Body, nil)
	}
}

func tokensPage(auth *logtogin.Auth) gin.HandlerFunc {
	return func(c *gin.Context) {
		own, err := auth.AccessToken(c) // opaque: Logto's Account API and user info
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		resource, err := auth.AccessToken(c, logtogin.Resource("https://orders.example.com/"))
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		organization, err := auth.AccessToken(c, logtogin.Organization("acme"))
		if err != nil {
			auth.Refuse(c, err) // 403 if the user is not a member
			return
		}
		both, err := auth.AccessToken(c, logtogin.Resource("https://orders.example.com/"), logtogin.Organization("acme"))
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		c.JSON(http.StatusOK, []any{own.Expiry, resource.Scopes, organization.Scopes, both.Claims})
	}
}

func machineClient(ctx context.Context, endpoint, id, secret string) *http.Client {
	config := clientcredentials.Config{
		ClientID:       id, // of an application of the type "Machine-to-machine"
		ClientSecret:   secret,
		TokenURL:       endpoint + "/oidc/token",
		EndpointParams: url.Values{"resource": {"https://orders.example.com/"}},
		Scopes:         []string{"read:orders"},
	}
	return config.Client(ctx)
}

func TestTheReadmesExamplesOfCallingAPIs(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	orders := newAPI(t)
	app.router.GET("/orders", ordersPage(app.auth, orders.url))
	app.router.GET("/tokens", tokensPage(app.auth))
	b := newBrowser(t)
	if page := b.signIn(app.url+"/orders", alice()); page.status != http.StatusOK || page.body != "fine" {
		t.Errorf("%d %s", page.status, page.body)
	}
	page := b.get(app.url + "/tokens")
	var shown []any
	if err := json.Unmarshal([]byte(page.body), &shown); err != nil || len(shown) != 4 || fmt.Sprint(shown[1:3]) != "[[read:orders write:orders] [invite]]" {
		t.Errorf("%d %s", page.status, page.body)
	}

	logto.AddApplication(logtotest.Application{ID: "machine", Secret: "a secret of the machine", Type: logtotest.MachineToMachine, Roles: []string{"clerk"}})
	response, err := machineClient(t.Context(), logto.Endpoint(), "machine", "a secret of the machine").Get(orders.url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "fine" {
		t.Errorf("%s %v", body, err)
	}
	tokens, _ := orders.seen()
	for i, token := range tokens {
		if !strings.HasPrefix(token, "Bearer eyJ") {
			t.Errorf("call %d: %q", i, token)
		}
	}
}

// The examples of the sections "Protect pages" and "Protect an API".

func protectPages(router *gin.Engine, auth *logtogin.Auth, page gin.HandlerFunc) {
	router.GET("/account", auth.Guard(), page)
	router.GET("/admin", auth.Guard(logtogin.Role("admin")), page)
	router.GET("/drafts", auth.Guard(logtogin.AnyOf(logtogin.Role("editor"), logtogin.Role("admin"))), page)
	router.GET("/teams/:team", auth.Guard(logtogin.InOrganization(logtogin.FromParam("team"))), page)
	router.GET("/teams/:team/billing", auth.Guard(logtogin.OrganizationRole(logtogin.FromParam("team"), "owner")), page)
	router.GET("/payments", auth.Guard(logtogin.MaxAge(5*time.Minute)), page)
}

func protectAPI(router *gin.Engine, auth *logtogin.Auth, handler gin.HandlerFunc) {
	const api = "https://orders.example.com/" // the API identifier, exactly
	// An API resource, with permissions of the user's or machine's roles.
	router.GET("/orders", auth.Bearer(api, logtogin.Scope("read:orders")), handler)
	router.POST("/jobs", auth.Bearer(api, logtogin.MachineOnly()), handler)
	// The permissions of an organization itself.
	router.POST("/teams/:team/invitations", auth.BearerOrganization(logtogin.FromParam("team"), logtogin.Scope("invite")), handler)
	// The API within an organization, with a permission of its own: a token without an organization has all.
	router.GET("/teams/:team/orders", auth.Bearer(api, logtogin.InOrganization(logtogin.FromParam("team")), logtogin.Scope("read:team-orders")), handler)
	// For the pages of this application and for other clients alike.
	router.GET("/both", auth.SessionOrBearer(auth.Guard(), auth.Bearer(api)), handler)
}

func TestTheReadmesGuards(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Scopes = rightsScopes })
	protectPages(app.router, app.auth, func(c *gin.Context) { c.Status(http.StatusOK) })
	b := newBrowser(t)
	b.signIn(app.url+"/account", logtotest.DefaultUser())
	for path, want := range map[string]int{
		"/account": 200, "/admin": 200, "/drafts": 200, "/teams/acme": 200, "/teams/other": 403, "/teams/acme/billing": 200,
	} {
		if page := b.get(app.url + path); page.status != want {
			t.Errorf("%s: %d", path, page.status)
		}
	}
	if page := b.get(app.url + "/payments"); !strings.Contains(page.body, `name="password"`) {
		t.Errorf("/payments: %d", page.status)
	}
	protectAPI(app.router, app.auth, func(c *gin.Context) { c.Status(http.StatusOK) })
	user := logtotest.User{ID: aliceID}
	read := logto.AccessToken(user, ordersAPI, "read:orders")
	for path, test := range map[string]struct {
		token string
		want  int
	}{
		"/orders":            {read, 200},
		"/both":              {read, 200},
		"/teams/acme/orders": {logto.OrganizationToken(user, "acme", ordersAPI, "read:team-orders"), 200},
		"/teams/b/orders":    {logto.OrganizationToken(user, "acme", ordersAPI, "read:team-orders"), 403},
	} {
		if page := send(t, http.MethodGet, app.url+path, nil, bearerHeader(test.token)); page.status != test.want {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
	}
	for path, token := range map[string]string{
		"/jobs":                   logto.MachineToken("cron", ordersAPI),
		"/teams/acme/invitations": logto.OrganizationToken(user, "acme", "", "invite"),
	} {
		if page := send(t, http.MethodPost, app.url+path, nil, bearerHeader(token)); page.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
	}
}

// What the README says of MaxAge and SignInDefaults, and of what is taken for a page.
func TestTheReadmesMaxAge(t *testing.T) {
	t.Parallel()
	for asksAlways, wantsPassword := range map[bool]bool{true: false, false: true} {
		app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
			if asksAlways {
				cfg.SignInDefaults = logtogin.SignInOptions{MaxAge: 24 * time.Hour}
			}
		})
		form := app.auth.Guard(logtogin.MaxAge(5 * time.Minute))
		app.router.GET("/payments", form, func(c *gin.Context) { c.Status(http.StatusOK) })
		app.router.POST("/payments", form, func(c *gin.Context) { c.Status(http.StatusOK) })
		b := newBrowser(t)
		b.signIn(app.url+"/profile", logtotest.DefaultUser())
		if page := b.get(app.url + "/payments"); strings.Contains(page.body, `name="password"`) != wantsPassword {
			t.Errorf("asked for always: %v: %d %s", asksAlways, page.status, page.body)
		}
		if page := b.post(app.url+"/payments", nil); (page.status == http.StatusUnauthorized) != wantsPassword {
			t.Errorf("asked for always: %v: the form is answered %d", asksAlways, page.status)
		}
	}
}

func TestTheReadmesPageViews(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.POST("/account", app.auth.Guard(), func(*gin.Context) {})
	app.router.Match([]string{http.MethodGet, http.MethodHead}, "/account", app.auth.Guard(), func(*gin.Context) {})
	html, navigate, fetch := []string{"text/html"}, []string{"navigate"}, []string{"cors"}
	for _, test := range []struct {
		method       string
		accept, mode []string
		want         int
		says         string
	}{
		{http.MethodGet, html, nil, 302, ""},
		{http.MethodHead, html, navigate, 302, ""},
		{http.MethodGet, html, fetch, 401, `"status":401`},
		{http.MethodGet, []string{"*/*"}, nil, 401, `"status":401`},
		{http.MethodPost, html, navigate, 401, "was not saved"},
		{http.MethodPost, html, nil, 401, `"status":401`},
	} {
		page := send(t, test.method, app.url+"/account", nil, http.Header{"Accept": test.accept, "Sec-Fetch-Mode": test.mode})
		if page.status != test.want || !strings.Contains(page.body, test.says) {
			t.Errorf("%+v: %d %s", test, page.status, page.body)
		}
	}
}

// The quick start. The integration tests build and run it as it stands in the README.

func main() {
	router := gin.Default()
	auth, err := logtogin.Register(router, logtogin.Config{
		Endpoint:  "https://example.logto.app", // these three are
		AppID:     "replace-with-your-app-id",  // on the application's page
		AppSecret: "replace-with-your-secret",  // in the Logto Console
		BaseURL:   "http://localhost:8080",
	})
	if err != nil {
		log.Fatal(err)
	}
	router.GET("/profile", auth.Guard(), func(c *gin.Context) {
		claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
		c.JSON(http.StatusOK, claims) // exactly the claims that Logto sent
	})
	log.Fatal(router.Run("localhost:8080"))
}

var _ = main

// The examples of the section "In a handler".

func inAHandler(auth *logtogin.Auth, c *gin.Context, err error) {
	auth.Guard()           // signed-in users only
	auth.Optional()        // everybody, with claims if signed in
	logtogin.ClaimsFrom(c) // what either left in the context
	auth.Claims(c)         // the same without a guard, and the reason if there are none
	auth.IsAuthenticated(c)
	auth.UserInfo(c)    // the claims as they are now, from Logto
	auth.AccessToken(c) // see Calling APIs
	auth.Refuse(c, err) // answers an error of any of these, as a guard would
	auth.IDToken(c)
	auth.SignIn(c, logtogin.SignInOptions{ReturnTo: "/cart", FirstScreen: logtogin.FirstScreenRegister})
	auth.SignOut(c, logtogin.SignOutOptions{})
}

var _ = inAHandler

func addOwnCallback(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/welcome", func(c *gin.Context) {
		result, err := auth.HandleCallback(c)
		if err != nil {
			auth.Refuse(c, err) // logs it, and answers with a page
			return
		}
		c.Redirect(http.StatusFound, result.ReturnTo)
	})
}

func TestTheReadmesOwnCallback(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/welcome"
	})
	addOwnCallback(app.router, app.auth)
	b := newBrowser(t)
	if page := b.signIn(app.url+"/profile", logtotest.DefaultUser()); page.url.Path != "/profile" || page.status != http.StatusOK {
		t.Errorf("%s: %d %s", page.url, page.status, page.body)
	}
	if page := newBrowser(t).get(app.url + "/welcome?state=x"); page.status != http.StatusBadRequest || !strings.Contains(page.body, "<h1>Sign-in did not work</h1>") {
		t.Errorf("%d %s", page.status, page.body)
	}
}

// The example of the section "Hooks".

type userTable struct{ subjects []string }

func (u *userTable) Upsert(_ context.Context, subject string) error {
	u.subjects = append(u.subjects, subject)
	return nil
}

func withHooks(router *gin.Engine, cfg logtogin.Config, users *userTable, audit func(*gin.Context, string)) (*logtogin.Auth, error) {
	var auth *logtogin.Auth
	hooks := logtogin.Config{
		OnSignedIn: func(c *gin.Context, result *logtogin.SignInResult) error {
			if !strings.HasSuffix(result.Claims.Email, "@example.com") {
				return &logtogin.RefusalError{Message: "This application is for employees only."}
			}
			return users.Upsert(c, result.Claims.Subject) // an error ends the sign-in, too
		},
		OnSignedOut: func(c *gin.Context, claims *logtogin.Claims) { audit(c, claims.Subject) },
		OnError: func(c *gin.Context, err error) {
			if auth.WantsPage(c) { // a program gets the usual problem document
				c.HTML(logtogin.StatusCode(err), "error.html", gin.H{
					"cancelled": errors.Is(err, logtogin.ErrCancelled),
					"refused":   errors.Is(err, logtogin.ErrAccountRefused), // and another sign-in is, too
					"sign_in":   auth.SignInPath(c),                         // back to where the user had wanted to go
					"sign_out":  auth.SignOutPath(),                         // for another account
					"retry":     auth.RetryPath(c),                          // after an outage
				})
			}
		},
	}
	cfg.OnSignedIn, cfg.OnSignedOut, cfg.OnError = hooks.OnSignedIn, hooks.OnSignedOut, hooks.OnError
	var err error
	auth, err = logtogin.Register(router, cfg)
	return auth, err
}

func TestTheReadmesHooks(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.ReleaseMode)
	logto := logtotest.NewServer(t)
	bob := logto.AddUser(logtotest.User{Username: "bob", Email: "bob@example.com"})
	cfg := logto.Config("https://app.example.com")
	cfg.Scopes = []string{"email"}
	router := gin.New()
	router.SetHTMLTemplate(template.Must(template.New("error.html").Parse("cancelled: {{.cancelled}}, refused: {{.refused}}, again: {{.sign_in}}, or: {{.sign_out}}")))
	var users userTable
	var signedOut []string
	auth, err := withHooks(router, cfg, &users, func(_ *gin.Context, subject string) { signedOut = append(signedOut, subject) })
	if err != nil {
		t.Fatal(err)
	}
	defer auth.Close()
	router.GET("/profile", auth.Guard(), func(*gin.Context) {})
	for user, want := range map[string]string{"alice": "403 cancelled: false, refused: true, again: /sign-in?return_to=%2Fprofile, or: /sign-out", "bob": "200 "} {
		client := logto.Browser(t, router, logtotest.User{Username: user})
		response, err := client.Get("/profile")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if got := fmt.Sprint(response.StatusCode, " ", string(body)); err != nil || got != want {
			t.Errorf("%s: %v %q", user, err, got)
		}
		if response, err := client.Get("/sign-out"); err != nil || response.Body.Close() != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(users.subjects, []string{bob.ID}) || !slices.Equal(signedOut, []string{bob.ID}) {
		t.Errorf("signed in %v, signed out %v", users.subjects, signedOut)
	}
}

func sharedInRedis() logtogin.Config {
	return logtogin.Config{
		SharedState: redisstate.New(redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})),
	}
}

func TestTheReadmesSharedState(t *testing.T) {
	t.Parallel()
	cfg := sharedInRedis()
	cfg.Endpoint, cfg.Secrets = "https://example.logto.app", []string{strings.Repeat("s", 32)}
	auth, err := logtogin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.Close(); err != nil {
		t.Error(err)
	}
}
