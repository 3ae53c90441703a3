// Package integration_test runs the plugin against real servers.
package integration_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/oidcprovider"
)

// application is a Gin application that signs in at a provider which knows its
// addresses. advance moves the clock of both.
func application(t *testing.T, algorithm oidcprovider.SigningAlgorithm) (address string, provider *oidcprovider.Provider, advance func(time.Duration)) {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = "http://" + listener.Addr().String()
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
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: router}}
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
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
			b := newBrowser(t)
			provider.ResetCalls()

			form := b.get(address + "/profile?tab=2")
			b.expectCalls(provider, "sign-in redirect, cold", oidcprovider.Calls{Discovery: 1})
			profile := b.submit(form, url.Values{
				"username": {oidcprovider.DefaultUsername}, "password": {oidcprovider.DefaultPassword},
			})
			b.expectCalls(provider, "callback, cold", oidcprovider.Calls{Token: 1, Keys: 1})
			if profile.status != http.StatusOK || profile.url.String() != address+"/profile?tab=2" {
				t.Fatalf("arrived at %s: %d %s", profile.url, profile.status, profile.body)
			}
			claims := profile.members(t)
			if claims["sub"] == "" || claims["iss"] != provider.Issuer() || claims["aud"] != oidcprovider.DefaultClientID {
				t.Errorf("claims are %s", profile.body)
			}

			b.get(address + "/profile")
			b.expectCalls(provider, "guarded page", oidcprovider.Calls{})
			info := b.get(address + "/user-info")
			b.expectCalls(provider, "user info", oidcprovider.Calls{UserInfo: 1})
			if info.status != http.StatusOK || info.members(t)["sub"] != claims["sub"] {
				t.Errorf("user info is %d %s", info.status, info.body)
			}

			stolen := b.cookies(address)
			page := b.submit(b.get(address+"/auth/sign-out"), nil)
			b.expectCalls(provider, "sign-out", oidcprovider.Calls{Revocation: 1})
			if page.url.String() != address+"/" || page.members(t)["signed_in"] != false {
				t.Errorf("after the sign-out: %s %s", page.url, page.body)
			}
			thief := newBrowser(t)
			thief.setCookies(address, stolen)
			if page := thief.get(address + "/"); page.members(t)["signed_in"] != false {
				t.Error("the cookie from before the sign-out still signs in")
			}

			if page := b.get(address + "/profile"); !strings.HasPrefix(page.url.String(), provider.Endpoint()+"/") || !strings.Contains(page.body, "<form") {
				t.Errorf("the provider still has a session: %s %s", page.url, page.body)
			}
			provider.ResetCalls()
			second := newBrowser(t)
			second.submit(second.get(address+"/auth/sign-in"), url.Values{
				"username": {oidcprovider.DefaultUsername}, "password": {oidcprovider.DefaultPassword},
			})
			second.expectCalls(provider, "sign-in and callback, warm", oidcprovider.Calls{Token: 1})
		})
	}
}

// The rest of the table "Calls to Logto" of the design.
func TestTokensOfTheEngineInsideLogto(t *testing.T) {
	address, provider, advance := application(t, oidcprovider.ES384)
	b := newBrowser(t)
	b.submit(b.get(address+"/profile"), url.Values{
		"username": {oidcprovider.DefaultUsername}, "password": {oidcprovider.DefaultPassword},
	})
	expect := func(what, path string, want oidcprovider.Calls) {
		t.Helper()
		page := b.get(address + path)
		if page.status != http.StatusOK {
			t.Errorf("%s: %d %s", what, page.status, page.body)
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
	if claims := b.get(address + "/token").members(t); claims["aud"] != "https://api.example.test/" || claims["scope"] != "read:things" {
		t.Errorf("%v", claims)
	}
	// Logto replaces the refresh token after 70 % of 14 days.
	for range 11 {
		advance(24 * time.Hour)
		if page := b.get(address + "/profile"); page.status != http.StatusOK || page.url.Path != "/profile" {
			t.Fatalf("%s: %d", page.url, page.status)
		}
	}
}

// browser keeps cookies, follows redirects and fills in forms.
type browser struct {
	t      *testing.T
	client *http.Client
}

type page struct {
	status int
	url    *url.URL
	body   string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, &http.Client{Jar: jar, Timeout: time.Minute, Transport: &http.Transport{}}}
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

func (b *browser) do(method, address string, form url.Values) page {
	b.t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{response.StatusCode, response.Request.URL, string(body)}
}

func (b *browser) get(address string) page {
	b.t.Helper()
	return b.do(http.MethodGet, address, nil)
}

var (
	formElement = regexp.MustCompile(`<form[^>]*>`)
	action      = regexp.MustCompile(`action="([^"]*)"`)
	inputs      = regexp.MustCompile(`<input[^>]*type="hidden"[^>]*>`)
	attribute   = regexp.MustCompile(`(name|value)="([^"]*)"`)
)

// submit sends the form of a page with its hidden fields and the given ones.
func (b *browser) submit(shown page, fields url.Values) page {
	b.t.Helper()
	element := formElement.FindString(shown.body)
	if element == "" {
		b.t.Fatalf("%s shows no form: %d %s", shown.url, shown.status, shown.body)
	}
	target := shown.url
	if found := action.FindStringSubmatch(element); found != nil {
		var err error
		if target, err = shown.url.Parse(found[1]); err != nil {
			b.t.Fatal(err)
		}
	}
	form := url.Values{}
	for _, input := range inputs.FindAllString(shown.body, -1) {
		found := map[string]string{}
		for _, match := range attribute.FindAllStringSubmatch(input, -1) {
			found[match[1]] = match[2]
		}
		form.Set(found["name"], found["value"])
	}
	for name, values := range fields {
		form[name] = values
	}
	return b.do(http.MethodPost, target.String(), form)
}

func (b *browser) cookies(address string) []*http.Cookie {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.client.Jar.Cookies(u)
}

func (b *browser) setCookies(address string, cookies []*http.Cookie) {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, cookies)
}

// expectCalls compares the application's calls since the last time; what the
// browser itself called is left out.
func (b *browser) expectCalls(provider *oidcprovider.Provider, what string, want oidcprovider.Calls) {
	b.t.Helper()
	got := provider.Calls()
	got.Authorization, got.EndSession = 0, 0
	if got != want {
		b.t.Errorf("%s: calls are %+v, want %+v", what, got, want)
	}
	provider.ResetCalls()
}

func (p page) members(t *testing.T) map[string]any {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal([]byte(p.body), &members); err != nil {
		t.Fatalf("%s answers %d %q: %v", p.url, p.status, p.body, err)
	}
	return members
}
