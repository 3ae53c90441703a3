package docs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// The code of apis.md.

func newAPI() (*logtogin.Auth, error) {
	auth, err := logtogin.New(logtogin.Config{Endpoint: "https://example.logto.app"})
	return auth, err
}

func addAPI(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/orders", auth.Bearer("https://orders.example.com/", logtogin.Scope("read:orders")), func(c *gin.Context) {
		claims := c.MustGet(logtogin.AccessTokenClaimsKey).(*logtogin.AccessTokenClaims)
		if claims.IsMachine() {
			c.JSON(http.StatusOK, gin.H{"orders_for": "application " + claims.ClientID})
			return
		}
		c.JSON(http.StatusOK, gin.H{"orders_for": "user " + claims.Subject})
	})
	reports := func(c *gin.Context) { c.String(http.StatusOK, "reports") }
	premium := logtogin.MatchToken("the plan premium", func(_ *gin.Context, claims *logtogin.AccessTokenClaims) bool {
		var plan string
		return claims.Get("plan", &plan) == nil && plan == "premium"
	})
	router.GET("/reports", auth.Bearer("https://orders.example.com/", premium), reports)
}

func addBoth(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/both", auth.SessionOrBearer(auth.Guard(), auth.Bearer("https://orders.example.com/")), func(c *gin.Context) {
		if claims, ok := logtogin.ClaimsFrom(c); ok {
			c.String(http.StatusOK, "a session of "+claims.Subject)
			return
		}
		claims, _ := logtogin.AccessTokenClaimsFrom(c)
		c.String(http.StatusOK, "a token of "+claims.Subject)
	})
}

func TestAPIs(t *testing.T) {
	t.Parallel()
	auth, err := newAPI()
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.Close(); err != nil {
		t.Error(err)
	}

	logto := logtotest.NewServer(t)
	router, _ := build(t, logto.Config(baseURL), addAPI, addBoth)
	client := logto.Browser(t, router, alice())
	const api = "https://orders.example.com/"
	user := logtotest.User{ID: "u1"}
	opaque := "an_opaque_token_of_Logto"
	for name, test := range map[string]struct {
		path, token, body, challenge string
		status                       int
	}{
		"a user":                 {"/orders", logto.AccessToken(user, api, "read:orders"), "user u1", "", 200},
		"a machine":              {"/orders", logto.MachineToken("cron", api, "read:orders"), "application cron", "", 200},
		"without the permission": {"/orders", logto.AccessToken(user, api), "", `Bearer error="insufficient_scope", scope="read:orders"`, 403},
		"without the slash":      {"/orders", logto.AccessToken(user, strings.TrimSuffix(api, "/"), "read:orders"), "", `Bearer error="invalid_token"`, 401},
		"in an organization":     {"/orders", logto.OrganizationToken(user, "acme", api, "read:orders"), "", `Bearer error="invalid_token"`, 401},
		"of an organization":     {"/orders", logto.OrganizationToken(user, "acme", "", "read:orders"), "", `Bearer error="invalid_token"`, 401},
		"an opaque one":          {"/orders", opaque, "", `Bearer error="invalid_token"`, 401},
		"malformed":              {"/orders", "a b", "", `Bearer error="invalid_request"`, 400},
		"without the plan":       {"/reports", logto.AccessToken(user, api), "", `Bearer error="insufficient_scope"`, 403},
		"a token for both":       {"/both", logto.AccessToken(user, api), "a token of u1", "", 200},
	} {
		answer := ask(t, client, http.MethodGet, test.path, http.Header{"Authorization": {"Bearer " + test.token}})
		if answer.status != test.status || !strings.Contains(answer.body, test.body) || answer.header.Get("WWW-Authenticate") != test.challenge {
			t.Errorf("%s: %v", name, answer)
		}
	}
	if answer := ask(t, client, http.MethodGet, "/orders", nil); answer.status != http.StatusUnauthorized || answer.header.Get("WWW-Authenticate") != "Bearer" {
		t.Error(answer)
	}
	logto.ChangeAccessToken(func(token *logtotest.JWT) { token.Claims["plan"] = "premium" })
	if answer := ask(t, client, http.MethodGet, "/reports", http.Header{"Authorization": {"Bearer " + logto.AccessToken(user, api)}}); answer.body != "reports" {
		t.Error(answer)
	}
	if shown := get(t, client, "/both"); !strings.HasPrefix(shown.body, "a session of ") {
		t.Error(shown)
	}
}
