// Package integration_test runs the plugin against real servers.
package integration_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/integration/webtest"
)

// application is a Gin application that signs in at a provider which knows its
// addresses. advance moves the clock of both.
func application(t *testing.T, algorithm oidcprovider.SigningAlgorithm) (address string, provider *oidcprovider.Provider, advance func(time.Duration)) {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	server, address := webtest.Listen()
	provider = oidcprovider.Start(t, oidcprovider.Config{
		Clients: []oidcprovider.Client{{
			RedirectURIs:           []string{address + "/auth/callback"},
			PostLogoutRedirectURIs: []string{address + "/"},
		}},
		Resources:        []oidcprovider.Resource{{Indicator: "https://api.example.test/", Scopes: []string{"read:things"}}},
		SigningAlgorithm: algorithm,
	})
	var ahead atomic.Int64
	router := gin.New()
	auth, err := logtogin.Register(router.Group("/auth"), logtogin.Config{
		Now:          func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		Endpoint:     provider.Endpoint(),
		AppID:        oidcprovider.DefaultClientID,
		AppSecret:    oidcprovider.DefaultClientSecret,
		BaseURL:      address,
		Scopes:       []string{"email", "roles", "read:things"},
		Resources:    []string{"https://api.example.test/"},
		AfterSignOut: "/",
	})
	if err != nil {
		t.Fatal(err)
	}
	router.GET("/", auth.Optional(), func(c *gin.Context) {
		_, signedIn := logtogin.ClaimsFrom(c)
		c.JSON(http.StatusOK, gin.H{"signed_in": signedIn})
	})
	router.GET("/profile", auth.Guard(), func(c *gin.Context) {
		c.JSON(http.StatusOK, c.MustGet(logtogin.ClaimsKey))
	})
	router.GET("/user-info", auth.Guard(), func(c *gin.Context) {
		info, err := auth.UserInfo(c)
		if err != nil {
			c.String(http.StatusBadGateway, err.Error())
			return
		}
		c.JSON(http.StatusOK, info)
	})
	router.GET("/token", func(c *gin.Context) {
		token, err := auth.AccessToken(c, logtogin.Resource("https://api.example.test/"))
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		c.JSON(http.StatusOK, token.Claims)
	})
	webtest.Serve(t, server, router, auth)
	return address, provider, func(d time.Duration) {
		t.Helper()
		provider.Advance(d)
		ahead.Add(int64(d))
	}
}

func TestSignInThroughTheEngineInsideLogto(t *testing.T) {
	for _, algorithm := range []oidcprovider.SigningAlgorithm{oidcprovider.ES384, oidcprovider.RS256} {
		t.Run("with keys for "+string(algorithm), func(t *testing.T) {
			address, provider, _ := application(t, algorithm)
			b := webtest.New(t)
			provider.ResetCalls()

			form := b.Get(address + "/profile?tab=2")
			expectCalls(t, provider, "sign-in redirect, cold", oidcprovider.Calls{Discovery: 1})
			profile := b.Submit(form, url.Values{
				"username": {oidcprovider.DefaultUsername}, "password": {oidcprovider.DefaultPassword},
			})
			expectCalls(t, provider, "callback, cold", oidcprovider.Calls{Token: 1, Keys: 1})
			if profile.Status != http.StatusOK || profile.URL.String() != address+"/profile?tab=2" {
				t.Fatalf("arrived at %s: %d %s", profile.URL, profile.Status, profile.Body)
			}
			claims := profile.Members(t)
			if claims["sub"] == "" || claims["iss"] != provider.Issuer() || claims["aud"] != oidcprovider.DefaultClientID {
				t.Errorf("claims are %s", profile.Body)
			}

			b.Get(address + "/profile")
			expectCalls(t, provider, "guarded page", oidcprovider.Calls{})
			info := b.Get(address + "/user-info")
			expectCalls(t, provider, "user info", oidcprovider.Calls{UserInfo: 1})
			if info.Status != http.StatusOK || info.Members(t)["sub"] != claims["sub"] {
				t.Errorf("user info is %d %s", info.Status, info.Body)
			}

			stolen := b.Cookies(address)
			page := b.Submit(b.Get(address+"/auth/sign-out"), nil)
			expectCalls(t, provider, "sign-out", oidcprovider.Calls{Revocation: 1})
			if page.URL.String() != address+"/" || page.Members(t)["signed_in"] != false {
				t.Errorf("after the sign-out: %s %s", page.URL, page.Body)
			}
			thief := webtest.New(t)
			thief.SetCookies(address, stolen)
			if page := thief.Get(address + "/"); page.Members(t)["signed_in"] != false {
				t.Error("the cookie from before the sign-out still signs in")
			}

			if page := b.Get(address + "/profile"); !strings.HasPrefix(page.URL.String(), provider.Endpoint()+"/") || !strings.Contains(page.Body, "<form") {
				t.Errorf("the provider still has a session: %s %s", page.URL, page.Body)
			}
			provider.ResetCalls()
			second := webtest.New(t)
			second.SignIn(address+"/auth/sign-in", oidcprovider.DefaultUsername, oidcprovider.DefaultPassword)
			expectCalls(t, provider, "sign-in and callback, warm", oidcprovider.Calls{Token: 1})
		})
	}
}

// The rest of the table "Calls to Logto" of the design.
func TestTokensOfTheEngineInsideLogto(t *testing.T) {
	address, provider, advance := application(t, oidcprovider.ES384)
	b := webtest.New(t)
	b.SignIn(address+"/profile", oidcprovider.DefaultUsername, oidcprovider.DefaultPassword)
	expect := func(what, path string, want oidcprovider.Calls) {
		t.Helper()
		page := b.Get(address + path)
		if page.Status != http.StatusOK {
			t.Errorf("%s: %d %s", what, page.Status, page.Body)
		}
		// Metadata and keys are renewed now and then, in the background.
		got := provider.Calls()
		provider.ResetCalls()
		if got.Discovery, got.Keys = 0, 0; got != want {
			t.Errorf("%s: calls are %+v, want %+v", what, got, want)
		}
	}
	provider.ResetCalls()
	expect("access token, the first for a resource", "/token", oidcprovider.Calls{Token: 1})
	expect("access token, cached", "/token", oidcprovider.Calls{})
	for range 2 { // once for each life of the tokens
		advance(61 * time.Minute)
		expect("access token, to be refreshed", "/token", oidcprovider.Calls{Token: 1})
		expect("guarded page, once the ID token was renewed", "/profile", oidcprovider.Calls{})
		expect("user info, token expired", "/user-info", oidcprovider.Calls{Token: 1, UserInfo: 1})
		expect("user info, token valid", "/user-info", oidcprovider.Calls{UserInfo: 1})
	}
	advance(61 * time.Minute)
	expect("guarded page after the ID token's end", "/profile", oidcprovider.Calls{Token: 1})
	expect("guarded page", "/profile", oidcprovider.Calls{})
	if claims := b.Get(address + "/token").Members(t); claims["aud"] != "https://api.example.test/" || claims["scope"] != "read:things" {
		t.Errorf("%v", claims)
	}
	// Logto replaces the refresh token after 70 % of 14 days.
	for range 11 {
		advance(24 * time.Hour)
		if page := b.Get(address + "/profile"); page.Status != http.StatusOK || page.URL.Path != "/profile" {
			t.Fatalf("%s: %d", page.URL, page.Status)
		}
	}
}

// expectCalls compares the application's calls since the last time; what the
// browser itself called is left out.
func expectCalls(t *testing.T, provider *oidcprovider.Provider, what string, want oidcprovider.Calls) {
	t.Helper()
	got := provider.Calls()
	got.Authorization, got.EndSession = 0, 0
	if got != want {
		t.Errorf("%s: calls are %+v, want %+v", what, got, want)
	}
	provider.ResetCalls()
}
