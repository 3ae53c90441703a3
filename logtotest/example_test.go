package logtotest_test

import (
	"errors"
	"log"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
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
	router.GET("/goodbye", func(c *gin.Context) { c.String(http.StatusOK, "Goodbye!") })
	return router
}

// The program of the section "By hand" of docs/testing.md.
func main() {
	logto, err := logtotest.Start() // it knows alice, whose password is wonderland
	if err != nil {
		log.Fatal(err)
	}
	logto.RegisterPostLogoutRedirectURIs("http://localhost:8080/") // as in the Logto Console
	cfg := logto.Config("http://localhost:8080")
	cfg.AfterSignOut = "/"
	router := gin.Default()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		log.Fatal(err)
	}
	router.GET("/", auth.Optional(), func(c *gin.Context) {
		claims, isSignedIn := logtogin.ClaimsFrom(c)
		c.JSON(http.StatusOK, gin.H{"signed_in": isSignedIn, "claims": claims})
	})
	log.Fatal(router.Run("localhost:8080"))
}

var _ = main // it goes on until it is stopped

const ordersAPI = "https://orders.example.com/"

// newOrders is an API that only verifies tokens.
func newOrders(cfg logtogin.Config) *gin.Engine {
	router := gin.New()
	auth, err := logtogin.New(cfg)
	if err != nil {
		panic(err)
	}
	router.GET("/orders", auth.Bearer(ordersAPI, logtogin.Scope("read:orders")), func(c *gin.Context) { c.Status(http.StatusOK) })
	return router
}

// newShop is an application that calls the API.
func newShop(cfg logtogin.Config) *gin.Engine {
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		panic(err)
	}
	router.GET("/my-orders", auth.Guard(), func(c *gin.Context) {
		response, err := auth.HTTPClient(c, logtogin.Resource(ordersAPI)).Get(ordersAPI + "orders")
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		defer response.Body.Close()
		c.DataFromReader(response.StatusCode, response.ContentLength, "application/json", response.Body, nil)
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

func TestSignOut(t *testing.T) {
	logto := logtotest.NewServer(t)
	logto.RegisterPostLogoutRedirectURIs("https://app.example.com/goodbye")
	cfg := logto.Config("https://app.example.com")
	cfg.AfterSignOut = "/goodbye"
	client := logto.SignIn(t, newRouter(cfg), logtotest.DefaultUser())
	if response, err := client.Get("/sign-out"); err != nil || response.Request.URL.Path != "/goodbye" {
		t.Fatal(response, err)
	}
	if response, err := client.Get("/admin"); !errors.Is(err, logtotest.ErrSignInPage) {
		t.Fatal(response, err)
	}
}

func TestShopAndOrders(t *testing.T) {
	logto := logtotest.NewServer(t)
	logto.AddResource(logtotest.Resource{Indicator: ordersAPI, Permissions: []string{"read:orders"}})
	logto.AddRole(logtotest.Role{Name: "buyer", Permissions: map[string][]string{ordersAPI: {"read:orders"}}})
	logto.Serve("https://orders.example.com", newOrders(logto.Config("")))
	cfg := logto.Config("https://shop.example.com")
	cfg.Resources, cfg.Scopes = []string{ordersAPI}, []string{"read:orders"}
	client := logto.SignIn(t, newShop(cfg), logtotest.User{Username: "bob", Roles: []string{"buyer"}})
	if response, err := client.Get("/my-orders"); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response, err)
	}
}

func TestSignInIsRefused(t *testing.T) {
	logto := logtotest.NewServer(t)
	router := newRouter(logto.Config("https://app.example.com"))
	logto.Misbehave(faults.AccessDenied) // or Down, WrongNonce, HugeBody, Cancelled, …
	response, err := logto.Browser(t, router, logtotest.DefaultUser()).Get("/admin")
	if err != nil || response.StatusCode != http.StatusForbidden {
		t.Fatal(response, err)
	}
}
