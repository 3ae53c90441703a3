package logtogin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
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
	if err := json.Unmarshal([]byte(page.body), &shown); err != nil || len(shown) != 4 || fmt.Sprint(shown[1:3]) != "[[read:orders] [invite]]" {
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
	// The API within an organization.
	router.GET("/teams/:team/orders", auth.Bearer(api, logtogin.InOrganization(logtogin.FromParam("team")), logtogin.Scope("read:orders")), handler)
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
		"/teams/acme/orders": {logto.OrganizationToken(user, "acme", ordersAPI, "read:orders"), 200},
		"/teams/b/orders":    {logto.OrganizationToken(user, "acme", ordersAPI, "read:orders"), 403},
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

// What the README shows is what is compiled and run here.
func TestTheReadmeShowsWhatRuns(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`\s+`).ReplaceAllString(string(raw), " ")
	}
	source := read("readme_test.go")
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for title, count := range map[string]int{"Calling APIs": 4, "Protect pages": 1, "Protect an API": 1} {
		_, section, _ := strings.Cut(string(raw), "\n## "+title+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(section, -1)
		if len(blocks) != count {
			t.Errorf("%s: %d examples", title, len(blocks))
		}
		for _, block := range blocks {
			if text := strings.TrimSpace(regexp.MustCompile(`\s+`).ReplaceAllString(block[1], " ")); !strings.Contains(source, text) {
				t.Errorf("this is not run:\n%s", block[1])
			}
		}
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
