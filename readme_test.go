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
	_, section, _ := strings.Cut(string(raw), "\n## Calling APIs\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 4 {
		t.Fatalf("%d examples", len(blocks))
	}
	for _, block := range blocks {
		if text := strings.TrimSpace(regexp.MustCompile(`\s+`).ReplaceAllString(block[1], " ")); !strings.Contains(source, text) {
			t.Errorf("this is not run:\n%s", block[1])
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
	cfg.Endpoint = "https://example.logto.app"
	auth, err := logtogin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.Close(); err != nil {
		t.Error(err)
	}
}
