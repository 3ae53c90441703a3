package docs_test

import (
	"encoding/json"
	"html"
	"html/template"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// The program of tutorial.md, its variations, and what they are said to do.

func main() {
	router, err := newRouter(logtogin.Config{
		Endpoint:     "https://example.logto.app", // these three are
		AppID:        "replace-with-your-app-id",  // on the application's page
		AppSecret:    "replace-with-your-secret",  // in the Logto Console
		BaseURL:      "http://localhost:8080",
		AfterSignOut: "/",
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(router.Run("localhost:8080"))
}

func newRouter(cfg logtogin.Config) (*gin.Engine, error) {
	router := gin.Default()
	router.SetHTMLTemplate(homePage)
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		return nil, err
	}
	router.GET("/", auth.Optional(), home(auth))
	return router, nil
}

var homePage = template.Must(template.New("home").Parse(`
{{if .claims}}
	<pre>{{.claims}}</pre>
	<pre>{{.info}}</pre>
	<a href="/sign-out">Sign out</a>
{{else}}
	Not authenticated <a href="/sign-in">Sign in</a>
{{end}}`))

func home(auth *logtogin.Auth) gin.HandlerFunc {
	return func(c *gin.Context) {
		claims, ok := logtogin.ClaimsFrom(c) // of the ID token, without a call to Logto
		if !ok {
			c.HTML(http.StatusOK, "home", nil)
			return
		}
		info, err := auth.UserInfo(c) // from Logto's userinfo endpoint
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		c.HTML(http.StatusOK, "home", gin.H{"claims": asJSON(claims), "info": asJSON(info)})
	}
}

func asJSON(claims json.Marshaler) string {
	text, err := json.MarshalIndent(claims, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

var _ = main // the integration tests run it

func firstSteps() {
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
	addStarts(router, auth)
}

var _ = firstSteps // it would call a Logto that does not exist

func addStarts(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/join", func(c *gin.Context) {
		auth.SignIn(c, logtogin.SignInOptions{
			FirstScreen: logtogin.FirstScreenRegister, // the sign-up page first
			ReturnTo:    "/first-steps",
		})
	})
	router.GET("/checkout", func(c *gin.Context) {
		if auth.IsAuthenticated(c) {
			c.JSON(http.StatusOK, gin.H{"next": "/pay"})
			return
		}
		address, err := auth.SignInURL(c, logtogin.SignInOptions{ReturnTo: "/pay"})
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		c.JSON(http.StatusOK, gin.H{"next": address}) // the page goes there by itself
	})
}

func withOwnCallback(cfg logtogin.Config) *gin.Engine {
	cfg.Paths.Callback = "-"
	cfg.SignInDefaults.RedirectURI = "/signed-in"
	router := gin.Default()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		log.Fatal(err)
	}
	router.GET("/signed-in", func(c *gin.Context) {
		result, err := auth.HandleCallback(c)
		if err != nil {
			// Change this to your error handling.
			c.String(logtogin.StatusCode(err), "Sign-in did not work. Please try again.")
			return
		}
		c.Redirect(http.StatusFound, result.ReturnTo)
	})
	return router
}

func addGoodbye(router *gin.Engine, auth *logtogin.Auth) {
	router.POST("/leave", auth.Guard(), func(c *gin.Context) {
		auth.SignOut(c, logtogin.SignOutOptions{PostLogoutRedirect: "/goodbye"})
	})
}

func addProtected(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/profile", auth.Guard(), func(c *gin.Context) {
		claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
		c.String(http.StatusOK, "Hello, "+claims.Name)
	})
	admin := router.Group("/admin", auth.Guard(logtogin.Role("admin")))
	admin.GET("/users", listUsers)
}

func listUsers(c *gin.Context) { c.String(http.StatusOK, "users") }

func emailOf(claims *logtogin.Claims) string {
	switch {
	case !claims.Has("email"):
		return "was not asked for"
	case claims.Email == "":
		return "there is none" // the claim is null
	case !claims.EmailVerified:
		return claims.Email + " (not verified)"
	}
	return claims.Email
}

func addPlan(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/plan", auth.Guard(), func(c *gin.Context) {
		info, err := auth.UserInfo(c)
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		var custom struct {
			Plan string `json:"plan"`
		}
		if err := info.Get("custom_data", &custom); err != nil {
			c.AbortWithStatus(http.StatusInternalServerError)
			return
		}
		c.String(http.StatusOK, "Your plan: "+custom.Plan)
	})
}

func withResources(cfg logtogin.Config) logtogin.Config {
	cfg.Resources = []string{"https://orders.example.com/", "https://stock.example.com/"}
	cfg.Scopes = []string{"read:orders", "write:orders", "read:stock"}
	return cfg
}

func addOrders(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/orders", auth.Guard(), func(c *gin.Context) {
		token, err := auth.AccessToken(c, logtogin.Resource("https://orders.example.com/"))
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		c.JSON(http.StatusOK, gin.H{"scopes": token.Scopes, "expires": token.Expiry, "for": token.Claims.Audience})
	})
}

func withOrganizations(cfg logtogin.Config) logtogin.Config {
	cfg.Scopes = []string{
		"urn:logto:scope:organizations",      // which organizations the user is a member of
		"urn:logto:scope:organization_roles", // and with which roles
		"invite",                             // a permission of organizations
	}
	return cfg
}

func addOrganizations(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/teams/:team", auth.Guard(logtogin.InOrganization(logtogin.FromParam("team"))), func(c *gin.Context) {
		token, err := auth.AccessToken(c, logtogin.Organization(c.GetString(logtogin.OrganizationKey)))
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		c.JSON(http.StatusOK, gin.H{"may": token.Scopes, "token": token.Claims})
	})
}

func TestCheckpoint(t *testing.T) {
	logto := logtotest.NewServer(t)
	cfg := logto.Config("https://your-app.com")
	cfg.AfterSignOut = "/"
	logto.RegisterPostLogoutRedirectURIs("https://your-app.com/") // as in the Logto Console
	router, err := newRouter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client := logto.Browser(t, router, logtotest.DefaultUser())
	var visited []string
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		visited = append(visited, r.URL.String())
		return nil
	}
	show := func(response *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		page, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return html.UnescapeString(string(page))
	}

	// 1. The home page says that nobody is signed in.
	if page := show(client.Get("/")); !strings.Contains(page, "Not authenticated") {
		t.Error(page)
	}
	// 2. The link leads to Logto.
	page := show(client.Get("/sign-in"))
	if !strings.HasPrefix(visited[0], logto.Endpoint()+"/oidc/auth?") {
		t.Error(visited)
	}
	// 3. Who has signed in there comes back to the home page, which shows the user.
	if visited[len(visited)-1] != "https://your-app.com/" || !strings.Contains(page, `"username": "alice"`) || !strings.Contains(page, "Sign out") {
		t.Error(visited, page)
	}
	// 4. Signing out leads to Logto and to the home page, too.
	page = show(client.Get("/sign-out"))
	if visited[len(visited)-1] != "https://your-app.com/" || !strings.Contains(page, "Not authenticated") {
		t.Error(visited, page)
	}
}

// locationOf is where a page leads that redirects.
func locationOf(t *testing.T, client *http.Client, address string) *url.URL {
	t.Helper()
	got := get(t, stay(client), address)
	location, err := url.Parse(got.header.Get("Location"))
	if err != nil || got.status/100 != 3 {
		t.Fatalf("%s: %d %s", address, got.status, got.body)
	}
	return location
}

func TestTutorialStartsOfASignIn(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, _ := build(t, logto.Config(baseURL), addStarts)
	visitor := logto.Browser(t, router, alice())
	if to := locationOf(t, visitor, "/join"); to.Query().Get("first_screen") != "register" {
		t.Error(to)
	}
	if to := locationOf(t, visitor, "/sign-up"); to.Query().Get("first_screen") != "register" {
		t.Error(to)
	}
	var next struct{ Next string }
	answer := ask(t, visitor, http.MethodGet, "/checkout", nil)
	if err := json.Unmarshal([]byte(answer.body), &next); err != nil || !strings.HasPrefix(next.Next, logto.Endpoint()+"/oidc/auth?") {
		t.Fatal(err, answer)
	}
	visitor.CheckRedirect = nil
	if shown := get(t, visitor, next.Next); shown.status != http.StatusNotFound { // there is no /pay
		t.Error(shown)
	}
	if answer := ask(t, visitor, http.MethodGet, "/checkout", nil); !strings.Contains(answer.body, `"/pay"`) {
		t.Error(answer)
	}
}

func TestTutorialOwnCallback(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router := withOwnCallback(logto.Config(baseURL))
	router.GET("/", func(c *gin.Context) { c.String(http.StatusOK, "home") })
	if shown := get(t, logto.Browser(t, router, alice()), "/sign-in"); shown.body != "home" {
		t.Error(shown)
	}
	logto.Misbehave(faults.AccessDenied)
	if shown := get(t, logto.Browser(t, router, alice()), "/sign-in"); shown.status != http.StatusForbidden || !strings.HasPrefix(shown.body, "Sign-in did not work.") {
		t.Error(shown)
	}
}

// The home page shows absent claims not at all, and those that are null as null.
func TestTutorialHomePageKeepsAbsentAndNull(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		scopes []string
		want   string // "" for a claim that is not there
	}{
		"not asked for": {nil, ""},
		"asked for":     {[]string{"email"}, `"email": null`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			cfg := logto.Config(baseURL)
			cfg.Scopes = test.scopes
			router, err := newRouter(cfg)
			if err != nil {
				t.Fatal(err)
			}
			client := logto.SignIn(t, router, logtotest.User{Username: "bob", Name: "Bob"}) // without an e-mail address
			shown := get(t, client, "/")
			if strings.Count(shown.body, `"email"`) != 2*len(test.scopes) || !strings.Contains(shown.body, test.want) ||
				!strings.Contains(shown.body, `"picture": null`) {
				t.Error(shown.body)
			}
		})
	}
}

func TestTutorialSignOut(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.RegisterPostLogoutRedirectURIs(baseURL + "/goodbye")
	router, _ := build(t, logto.Config(baseURL), addGoodbye)
	client := logto.SignIn(t, router, alice())
	if to := locationOf(t, client, "/sign-out"); to.Path != "/oidc/session/end" || to.Query().Has("post_logout_redirect_uri") {
		t.Error(to)
	}
	client = stay(logto.SignIn(t, router, alice()))
	answer := ask(t, client, http.MethodPost, "/leave", http.Header{"Accept": {"text/html"}})
	if to, _ := url.Parse(answer.header.Get("Location")); answer.status != http.StatusSeeOther || to.Query().Get("post_logout_redirect_uri") != baseURL+"/goodbye" {
		t.Error(answer)
	}
	if answer := ask(t, client, http.MethodPost, "/leave", nil); answer.status != http.StatusUnauthorized {
		t.Error(answer)
	}
}

func TestTutorialProtectedRoutes(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	cfg := logto.Config(baseURL)
	cfg.Scopes = []string{"roles"}
	router, _ := build(t, cfg, addProtected)
	client := logto.Browser(t, router, alice())
	if answer := ask(t, client, http.MethodGet, "/profile", nil); answer.status != http.StatusUnauthorized {
		t.Error(answer)
	}
	if shown := get(t, client, "/profile"); shown.body != "Hello, Alice Example" {
		t.Error(shown)
	}
	if shown := get(t, client, "/admin/users"); shown.status != http.StatusForbidden {
		t.Error(shown)
	}
	admin := logto.SignIn(t, router, logtotest.User{Username: "root", Roles: []string{"admin"}})
	if shown := get(t, admin, "/admin/users"); shown.body != "users" {
		t.Error(shown)
	}
}

func TestTutorialClaims(t *testing.T) {
	t.Parallel()
	for want, test := range map[string]struct {
		scopes []string
		email  string
	}{
		"was not asked for": {nil, "alice@example.test"},
		"there is none":     {[]string{"email"}, ""},
		"bob@example.test":  {[]string{"email"}, "bob@example.test"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			cfg := logto.Config(baseURL)
			cfg.Scopes = test.scopes
			router, _ := build(t, cfg, func(router *gin.Engine, auth *logtogin.Auth) {
				router.GET("/email", auth.Guard(), func(c *gin.Context) {
					claims, _ := logtogin.ClaimsFrom(c)
					c.String(http.StatusOK, emailOf(claims))
				})
			})
			if shown := get(t, logto.SignIn(t, router, logtotest.User{Username: "bob", Email: test.email}), "/email"); shown.body != want {
				t.Error(shown)
			}
		})
	}
}

func TestTutorialClaimsOfUserInfoOnly(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	cfg := logto.Config(baseURL)
	cfg.Scopes = []string{"custom_data", "identities", "urn:logto:scope:organizations"}
	router, auth := build(t, cfg, addPlan)
	router.GET("/claims", auth.Guard(), func(c *gin.Context) {
		claims, _ := logtogin.ClaimsFrom(c)
		info, err := auth.UserInfo(c)
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		for _, name := range []string{"custom_data", "identities", "sso_identities", "organization_data"} {
			if claims.Has(name) || !info.Has(name) {
				t.Errorf("%s: in the ID token %v, in user info %v", name, claims.Has(name), info.Has(name))
			}
		}
	})
	client := logto.SignIn(t, router, logtotest.User{Username: "bob", Claims: map[string]any{"custom_data": map[string]any{"plan": "pro"}}})
	if shown := get(t, client, "/plan"); shown.body != "Your plan: pro" {
		t.Error(shown)
	}
	if shown := get(t, client, "/claims"); shown.status != http.StatusOK {
		t.Error(shown)
	}
}

// withOrders is a Logto with API resources, an organization and a user who may something.
func withOrders(t *testing.T) (*logtotest.Server, logtotest.User) {
	t.Helper()
	logto := logtotest.NewServer(t)
	logto.AddResource(logtotest.Resource{Indicator: "https://orders.example.com/", Permissions: []string{"read:orders", "write:orders"}})
	logto.AddResource(logtotest.Resource{Indicator: "https://stock.example.com/", Permissions: []string{"read:stock"}})
	logto.AddRole(logtotest.Role{Name: "clerk", Permissions: map[string][]string{
		"https://orders.example.com/": {"read:orders"}, "https://stock.example.com/": {"read:stock"},
	}})
	logto.AddOrganization(logtotest.Organization{ID: "acme", Name: "Acme"})
	logto.AddOrganizationRole(logtotest.OrganizationRole{Name: "owner", Permissions: []string{"invite"}})
	user := logto.AddUser(logtotest.User{Username: "carol", Roles: []string{"clerk"}, Organizations: map[string][]string{"acme": {"owner"}}})
	return logto, user
}

func TestTutorialResources(t *testing.T) {
	t.Parallel()
	logto, user := withOrders(t)
	router, _ := build(t, withResources(logto.Config(baseURL)), addOrders)
	// Of the scopes, the token has those that the API knows and the user may use.
	shown := get(t, logto.SignIn(t, router, user), "/orders")
	if !strings.Contains(shown.body, `"scopes":["read:orders"]`) || !strings.Contains(shown.body, `"for":["https://orders.example.com/"]`) {
		t.Error(shown)
	}
}

func TestTutorialOrganizations(t *testing.T) {
	t.Parallel()
	logto, user := withOrders(t)
	router, _ := build(t, withOrganizations(logto.Config(baseURL)), addOrganizations)
	client := logto.SignIn(t, router, user)
	shown := get(t, client, "/teams/acme")
	if !strings.Contains(shown.body, `"may":["invite"]`) || !strings.Contains(shown.body, `"aud":"urn:logto:organization:acme"`) {
		t.Error(shown)
	}
	if shown := get(t, client, "/teams/other"); shown.status != http.StatusForbidden {
		t.Error(shown)
	}
}
