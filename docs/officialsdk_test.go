package docs_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

// The code of official-sdk.md.

func movedApplication() (*gin.Engine, error) {
	router := gin.Default()
	auth, err := logtogin.Register(router, logtogin.Config{
		Endpoint:     "https://example.logto.app",
		AppID:        "replace-with-your-app-id",
		AppSecret:    "replace-with-your-secret",
		BaseURL:      "http://localhost:8080",
		Paths:        logtogin.Paths{Callback: "/sign-in-callback"},
		AfterSignOut: "/",
	})
	if err != nil {
		return nil, err
	}
	router.GET("/user-id-token-claims", auth.Guard(), func(c *gin.Context) {
		c.JSON(http.StatusOK, c.MustGet(logtogin.ClaimsKey))
	})
	router.GET("/user-info", auth.Guard(), func(c *gin.Context) {
		info, err := auth.UserInfo(c)
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		c.JSON(http.StatusOK, info)
	})
	return router, nil
}

func TestMovedApplicationKeepsItsPaths(t *testing.T) {
	t.Parallel()
	router, err := movedApplication()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, route := range router.Routes() {
		paths = append(paths, route.Path)
	}
	for _, path := range []string{"/sign-in", "/sign-in-callback", "/sign-out", "/user-id-token-claims", "/user-info"} {
		if !strings.Contains(strings.Join(paths, " ")+" ", path+" ") {
			t.Errorf("there is no %s in %v", path, paths)
		}
	}
}
