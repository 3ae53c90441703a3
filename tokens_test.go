package logtogin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

const (
	ordersAPI = "https://orders.example.com/"
	stockAPI  = "https://stock.example.com"
	aliceID   = "alice0000000"
)

// withAPIs is a Logto with two API resources and an organization, of which alice is a
// member.
func withAPIs(t *testing.T, more ...logtotest.User) *logtotest.Server {
	t.Helper()
	user := logtotest.DefaultUser()
	user.ID, user.Roles, user.Organizations = aliceID, []string{"clerk"}, map[string][]string{"acme": {"buyer"}}
	logto := logtotest.NewServer(t, append([]logtotest.User{user}, more...)...)
	logto.AddResource(logtotest.Resource{Indicator: ordersAPI, Permissions: []string{"read:orders", "write:orders"}})
	logto.AddResource(logtotest.Resource{Indicator: stockAPI, Permissions: []string{"read:stock"}})
	logto.AddRole(logtotest.Role{Name: "clerk", Permissions: map[string][]string{ordersAPI: {"read:orders"}, stockAPI: {"read:stock"}}})
	logto.AddOrganization(logtotest.Organization{ID: "acme", Name: "Acme"})
	logto.AddOrganization(logtotest.Organization{ID: "other", Name: "Other"})
	logto.AddOrganizationRole(logtotest.OrganizationRole{
		Name: "buyer", Permissions: []string{"invite"}, ResourcePermissions: map[string][]string{ordersAPI: {"write:orders"}},
	})
	return logto
}

func alice() logtotest.User {
	return logtotest.User{Username: "alice", Password: logtotest.DefaultUser().Password}
}

func forAPIs(cfg *logtogin.Config) {
	cfg.Scopes = []string{"urn:logto:scope:organizations", "read:orders", "write:orders", "read:stock", "invite"}
	cfg.Resources = []string{ordersAPI, stockAPI}
}

// bothWaysWithAPIs is bothWays for an application that has the routes of tokenRoutes
// and calls the APIs of withAPIs.
func bothWaysWithAPIs(t *testing.T, test func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application)) {
	t.Helper()
	bothWays(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		logto := withAPIs(t)
		test(t, logto, func(change func(*logtogin.Config)) *application {
			app := start(func(cfg *logtogin.Config) {
				forAPIs(cfg)
				cfg.Endpoint, cfg.AppID, cfg.AppSecret = logto.Endpoint(), logto.AppID(), logto.AppSecret()
				if change != nil {
					change(cfg)
				}
			})
			app.tokenRoutes()
			return app
		})
	})
}

// answeredToken is what /token answers.
type answeredToken struct {
	Value  string
	Scopes []string
	Expiry time.Time
	Claims *logtogin.AccessTokenClaims `json:"-"`
	Raw    map[string]any              `json:"claims"`
	Error  string
}

// tokenRoutes adds a route that tells the access token for its query.
func (app *application) tokenRoutes() {
	get := func(c *gin.Context) {
		var opts []logtogin.TokenOption
		for _, resource := range c.QueryArray("resource") {
			opts = append(opts, logtogin.Resource(resource))
		}
		for _, organization := range c.QueryArray("organization") {
			opts = append(opts, logtogin.Organization(organization))
		}
		token, err := app.auth.AccessToken(c, opts...)
		if err != nil {
			c.JSON(logtogin.StatusCode(err), gin.H{"Error": err.Error()})
			return
		}
		c.JSON(http.StatusOK, gin.H{"Value": token.Value, "Scopes": token.Scopes, "Expiry": token.Expiry, "claims": token.Claims})
	}
	app.router.GET("/token", get)
	app.router.GET("/clear", func(c *gin.Context) {
		if err := app.auth.ClearAccessTokens(c); err != nil {
			c.String(logtogin.StatusCode(err), err.Error())
		}
	})
}

func (b *browser) token(app *application, query url.Values) (answeredToken, page) {
	b.t.Helper()
	shown := b.get(app.url + "/token?" + query.Encode())
	var token answeredToken
	if err := json.Unmarshal([]byte(shown.body), &token); err != nil {
		b.t.Fatalf("%d %s", shown.status, shown.body)
	}
	return token, shown
}

func TestAccessTokensOfEveryKind(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		app := start(nil)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		logto.ResetCalls()
		for name, test := range map[string]struct {
			query  url.Values
			aud    string
			org    any
			scopes []string
			calls  int
		}{
			"for Logto itself":                      {url.Values{}, "", nil, []string{"openid", "profile", "offline_access", "urn:logto:scope:organizations"}, 0},
			"for a resource":                        {url.Values{"resource": {ordersAPI}}, ordersAPI, nil, []string{"read:orders", "write:orders"}, 1}, // with the roles in all organizations
			"for another resource":                  {url.Values{"resource": {stockAPI}}, stockAPI, nil, []string{"read:stock"}, 1},
			"for an organization":                   {url.Values{"organization": {"acme"}}, "urn:logto:organization:acme", nil, []string{"invite"}, 1},
			"for a resource within an organization": {url.Values{"organization": {"acme"}, "resource": {ordersAPI}}, ordersAPI, "acme", []string{"read:orders", "write:orders"}, 1},
		} {
			for round, calls := range []int{test.calls, 0} {
				token, shown := b.token(app, test.query)
				if shown.status != http.StatusOK || token.Value == "" || !slices.Equal(token.Scopes, test.scopes) {
					t.Errorf("%s: %d %s", name, shown.status, shown.body)
				}
				if test.aud == "" && token.Raw != nil {
					t.Errorf("%s: an opaque token with claims: %v", name, token.Raw)
				}
				if test.aud != "" && (token.Raw["aud"] != test.aud || token.Raw["organization_id"] != test.org) {
					t.Errorf("%s: %v", name, token.Raw)
				}
				if left := time.Until(token.Expiry); left < 50*time.Minute || left > time.Hour {
					t.Errorf("%s: expires in %v", name, left)
				}
				if got := logto.Calls(); got != (logtotest.Calls{Token: calls}) {
					t.Errorf("%s, round %d: %+v", name, round, got)
				}
				logto.ResetCalls()
			}
		}
	})
}

// What OrganizationNarrowsPermissions accepts.
func TestAnOrganizationAtTheSignInNarrowsTheTokensOfTheWholeSession(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	app.tokenRoutes()
	app.router.GET("/join/:org", func(c *gin.Context) {
		app.auth.SignIn(c, logtogin.SignInOptions{OrganizationID: c.Param("org"), OrganizationNarrowsPermissions: true})
	})
	for organization, want := range map[string]string{"acme": "[read:orders write:orders]", "other": "[read:orders]", "unknown": "[read:orders]"} {
		b := newBrowser(t)
		b.signIn(app.url+"/join/"+organization, alice())
		for _, query := range []url.Values{{"resource": {ordersAPI}}, {"resource": {ordersAPI}, "organization": {"acme"}}} {
			if token, shown := b.token(app, query); fmt.Sprint(token.Scopes) != want {
				t.Errorf("%s, %v: %d %v, want %s", organization, query, shown.status, token.Scopes, want)
			}
		}
		if token, shown := b.token(app, url.Values{"organization": {"acme"}}); fmt.Sprint(token.Scopes) != "[invite]" {
			t.Errorf("%s: %d %v, want the permissions of the organization", organization, shown.status, token.Scopes)
		}
	}
}

func TestWhatIsNotConfiguredIsNotAskedFor(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Resources = []string{ordersAPI} })
	app.tokenRoutes()
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	logto.ResetCalls()
	for name, query := range map[string]url.Values{
		"a resource without its trailing slash": {"resource": {strings.TrimRight(ordersAPI, "/")}},
		"a resource that is not configured":     {"resource": {stockAPI}},
		"two resources":                         {"resource": {ordersAPI, ordersAPI}},
		"an empty resource":                     {"resource": {""}},
		"an organization without the scope":     {"organization": {"acme"}},
		"an empty organization":                 {"organization": {""}},
	} {
		if token, shown := b.token(app, query); shown.status != http.StatusInternalServerError || !strings.Contains(token.Error, logtogin.ErrInvalidOptions.Error()) {
			t.Errorf("%s: %d %s", name, shown.status, shown.body)
		}
	}
	if calls := logto.Calls(); calls != (logtotest.Calls{}) {
		t.Errorf("%+v", calls)
	}
	if token, shown := newBrowser(t).token(app, nil); shown.status != http.StatusUnauthorized || token.Error != logtogin.ErrNotSignedIn.Error() {
		t.Errorf("a visitor: %d %s", shown.status, shown.body)
	}
}

// A token is handed out until 30 seconds before its end, or a tenth of its life.
func TestWhenATokenIsRefreshed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		expiresIn any
		good      time.Duration // since it was issued
		expired   time.Duration
	}{
		"an hour":              {3600, 3569 * time.Second, 3571 * time.Second},
		"a minute":             {60, 53 * time.Second, 55 * time.Second},
		"as a string":          {"100", 89 * time.Second, 91 * time.Second},
		"none at all":          {nil, 269 * time.Second, 271 * time.Second},
		"zero":                 {0, 269 * time.Second, 271 * time.Second},
		"negative":             {-4294963696, 269 * time.Second, 271 * time.Second},
		"more than a lifetime": {float64(9e9), 9 * 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			logto.Application()
			now := newClock()
			logto.SetNow(now.Now)
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				forAPIs(cfg)
				cfg.Now, cfg.RevalidateAfter = now.Now, -1
				cfg.SessionLifetime = 400 * 24 * time.Hour
			})
			app.tokenRoutes()
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			logto.ChangeTokenAnswer(func(answer map[string]any) any {
				answer["expires_in"] = test.expiresIn
				if test.expiresIn == nil {
					delete(answer, "expires_in")
				}
				return answer
			})
			query := url.Values{"resource": {ordersAPI}}
			first, _ := b.token(app, query)
			if test.good > 400*24*time.Hour {
				if first.Expiry.Sub(now.Now()) > 10*365*24*time.Hour {
					t.Errorf("expires %v", first.Expiry)
				}
				return
			}
			now.advance(test.good)
			if token, _ := b.token(app, query); token.Value != first.Value {
				t.Errorf("another one after %v", test.good)
			}
			now.advance(test.expired - test.good)
			if token, shown := b.token(app, query); token.Value == first.Value || shown.status != http.StatusOK {
				t.Errorf("the same after %v: %s", test.expired, shown.body)
			}
		})
	}
}

func TestClearedTokensComeFromLogtoAgain(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		app := start(nil)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		before := b.ours(app)
		query := url.Values{"resource": {ordersAPI}}
		first, _ := b.token(app, query)
		between := b.ours(app)
		if page := b.get(app.url + "/clear"); page.status != http.StatusOK {
			t.Fatalf("%d %s", page.status, page.body)
		}
		// Requests that were under way come with cookies from before.
		for name, cookies := range map[string][]*http.Cookie{"from before the token": before, "from before the clearing": between, "now": b.ours(app)} {
			page := send(t, http.MethodGet, app.url+"/token?"+query.Encode(), cookies, nil)
			var token answeredToken
			if err := json.Unmarshal([]byte(page.body), &token); err != nil || token.Value == "" || token.Value == first.Value {
				t.Errorf("%s: %d %s", name, page.status, page.body)
			}
		}
		if calls := logto.Calls(); calls.Token != 3 { // the code, the first token, the second
			t.Errorf("%+v", calls)
		}
	})
}

// As many access tokens as fit into the cookies: none is ever an error.
func TestManyAccessTokensDoNotEndASession(t *testing.T) {
	t.Parallel()
	user := logtotest.User{Username: "many", Password: "many-password", Organizations: map[string][]string{}}
	logto := withAPIs(t)
	var ids []string
	for i := range 12 {
		id := "organization-" + string(rune('a'+i))
		logto.AddOrganization(logtotest.Organization{ID: id})
		user.Organizations[id] = []string{"buyer"}
		ids = append(ids, id)
	}
	logto.AddUser(user)
	app := newApplication(t, logto, forAPIs)
	app.tokenRoutes()
	b := newBrowser(t)
	b.signIn(app.url+"/profile", user)
	logto.ResetCalls()
	for round := range 2 {
		for _, id := range ids {
			if token, shown := b.token(app, url.Values{"organization": {id}}); shown.status != http.StatusOK || token.Raw["aud"] != "urn:logto:organization:"+id {
				t.Fatalf("round %d: %d %s", round, shown.status, shown.body)
			}
			if size := cookieBytes(b.ours(app)); size > 8<<10 {
				t.Errorf("%d bytes of cookies", size)
			}
		}
	}
	// What the cookies had no room for is remembered for a while.
	if calls := logto.Calls(); calls.Token != len(ids) {
		t.Errorf("%+v", calls)
	}
	if page := b.get(app.url + "/profile"); page.status != http.StatusOK {
		t.Errorf("%d %s", page.status, page.body)
	}
}

// Of the access tokens that do not fit into a session the soonest to expire are left out,
// in whatever order they have come.
func TestTheAccessTokensThatLastAreKept(t *testing.T) {
	t.Parallel()
	targets := map[string]url.Values{ // by when their tokens expire, in hundreds of seconds
		"10": {"resource": {ordersAPI}}, "20": {"resource": {stockAPI}}, "30": {"organization": {"acme"}}, "40": {"organization": {"acme"}, "resource": {ordersAPI}},
	}
	for _, order := range [][]string{{"10", "20", "30", "40"}, {"40", "30", "20", "10"}, {"30", "10", "40", "20"}} {
		t.Run(strings.Join(order, ", "), func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			logto.ChangeAccessToken(func(token *logtotest.JWT) { token.Claims["filler"] = strings.Repeat("x", 1350) })
			app := newApplication(t, logto, change)
			app.tokenRoutes()
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			for _, life := range order {
				logto.ChangeTokenAnswer(func(answer map[string]any) any {
					answer["expires_in"] = life + "00"
					return answer
				})
				if token, shown := b.token(app, targets[life]); shown.status != http.StatusOK || token.Value == "" {
					t.Fatalf("%d %s", shown.status, shown.body)
				}
			}
			logto.ChangeTokenAnswer(nil)
			cookies := b.ours(app)
			now.advance(time.Second)
			for life, calls := range map[string]int{"10": 1, "20": 1, "30": 0, "40": 0} {
				// An instance that remembers nothing has what is in the cookies.
				fresh := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
				fresh.tokenRoutes()
				logto.ResetCalls()
				page := send(t, http.MethodGet, fresh.url+"/token?"+targets[life].Encode(), cookies, nil)
				if got := logto.Calls().Token; page.status != http.StatusOK || got != calls {
					t.Errorf("the token for %v costs %d calls, want %d; %d %s", targets[life], got, calls, page.status, page.body)
				}
			}
		})
	}
}

// A session without a refresh token has its first access token and no other.
// C65: a session without a refresh token has its first access token and no other.
func TestWithoutARefreshToken(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { forAPIs(cfg); cfg.Prompt = logtogin.PromptOmit })
	app.tokenRoutes()
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" {
		t.Errorf("%d %s", shown.status, shown.body)
	}
	if token, shown := b.token(app, url.Values{"resource": {ordersAPI}}); shown.status != http.StatusUnauthorized || token.Error != logtogin.ErrTokenExpired.Error() {
		t.Errorf("%d %s", shown.status, shown.body)
	}
	if !b.isSignedIn(app) {
		t.Error("the session has ended")
	}
}

// In Config.OnSignedIn there is no session yet; what it asks for is in the one to come.
func TestTokensInOnSignedIn(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		var app *application
		value := ""
		app = start(func(cfg *logtogin.Config) {
			cfg.OnSignedIn = func(c *gin.Context, _ *logtogin.SignInResult) error {
				token, err := app.auth.AccessToken(c, logtogin.Resource(ordersAPI))
				if err == nil {
					value = token.Value
				}
				return errors.Join(err, app.auth.ClearAccessTokens(c), func() error {
					token, err = app.auth.AccessToken(c, logtogin.Resource(ordersAPI))
					if err == nil && token.Value == value {
						t.Error("the token that was cleared")
					}
					value = token.Value
					return err
				}())
			}
		})
		b := newBrowser(t)
		if page := b.signIn(app.url+"/profile", alice()); page.status != http.StatusOK {
			t.Fatalf("%d %s", page.status, page.body)
		}
		if token, _ := b.token(app, url.Values{"resource": {ordersAPI}}); token.Value != value || value == "" {
			t.Errorf("%q and %q", token.Value, value)
		}
	})
}
