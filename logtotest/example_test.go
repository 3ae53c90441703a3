package logtotest_test

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// newRouter is the application under test.
func newRouter(cfg logtogin.Config) *gin.Engine {
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		panic(err)
	}
	router.GET("/admin", auth.Guard(), func(c *gin.Context) {
		if claims, _ := logtogin.ClaimsFrom(c); len(claims.Roles) == 0 {
			c.AbortWithStatus(http.StatusForbidden)
		}
	})
	return router
}

func TestAdminPage(t *testing.T) {
	logto := logtotest.NewServer(t)
	cfg := logto.Config("https://app.example.com")
	cfg.Scopes = []string{"roles"}
	router := newRouter(cfg)
	client := logto.SignIn(t, router, logtotest.User{Username: "alice", Roles: []string{"admin"}})
	if response, err := client.Get("/admin"); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
}

func TestSignInIsRefused(t *testing.T) {
	logto := logtotest.NewServer(t)
	router := newRouter(logto.Config("https://app.example.com"))
	logto.Misbehave(logtotest.AccessDenied) // or Down, WrongNonce, HugeBody, Cancelled, …
	response, err := logto.Browser(t, router, logtotest.DefaultUser()).Get("/admin")
	if err != nil || response.StatusCode != http.StatusBadRequest {
		t.Fatal(response, err)
	}
}
