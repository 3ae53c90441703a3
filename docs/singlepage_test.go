package docs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// The code of single-page.md.

func addMe(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/api/me", auth.Optional(), func(c *gin.Context) {
		claims, ok := logtogin.ClaimsFrom(c)
		if !ok {
			c.JSON(http.StatusOK, nil)
			return
		}
		c.JSON(http.StatusOK, claims)
	})
}

func addOrdersOfFrontEnd(router *gin.Engine, auth *logtogin.Auth) {
	listOrders := func(c *gin.Context) { c.JSON(http.StatusOK, []string{}) }
	createOrder := func(c *gin.Context) { c.Status(http.StatusCreated) }
	api := router.Group("/api", auth.Guard())
	api.GET("/orders", listOrders)
	api.POST("/orders", createOrder)
}

func trusting(cfg logtogin.Config) logtogin.Config {
	cfg.TrustedOrigins = logtogin.Config{
		TrustedOrigins: []string{"https://www.example.com"}, // the front end's, if it is another one
	}.TrustedOrigins
	return cfg
}

func TestSinglePageFrontEnds(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, _ := build(t, trusting(logto.Config(baseURL)), addMe, addOrdersOfFrontEnd)
	visitor := stay(logto.Browser(t, router, alice()))
	user := stay(logto.SignIn(t, router, alice()))
	fetch := func(client *http.Client, method, path, site, origin string) page {
		header := http.Header{"Accept": {"*/*"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Site": {site}}
		if origin != "" {
			header.Set("Origin", origin)
		}
		return ask(t, client, method, path, header)
	}
	if answer := fetch(visitor, http.MethodGet, "/api/me", "same-origin", ""); answer.body != "null" {
		t.Error(answer)
	}
	if answer := fetch(user, http.MethodGet, "/api/me", "same-origin", ""); !strings.Contains(answer.body, `"username":"alice"`) {
		t.Error(answer)
	}
	for _, test := range []struct {
		client               *http.Client
		method, site, origin string
		want                 int
	}{
		{visitor, http.MethodGet, "same-origin", "", 401},
		{user, http.MethodGet, "same-origin", "", 200},
		{user, http.MethodPost, "same-origin", baseURL, 201},
		{user, http.MethodPost, "same-site", "https://www.example.com", 201},
		{user, http.MethodPost, "same-site", "https://blog.example.com", 403},
		{user, http.MethodPost, "cross-site", "https://evil.example", 403},
	} {
		if answer := fetch(test.client, test.method, "/api/orders", test.site, test.origin); answer.status != test.want {
			t.Errorf("%s from %s %s: %v", test.method, test.site, test.origin, answer)
		}
	}
	for _, path := range []string{"/sign-in", "/sign-up"} {
		if answer := fetch(visitor, http.MethodGet, path, "same-origin", ""); answer.status != http.StatusNoContent {
			t.Error(answer)
		}
	}
}
