package logtotest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// newApp is an application without a listener.
func newApp(t *testing.T, cfg logtogin.Config, mount string) (*gin.Engine, *logtogin.Auth) {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	auth, err := logtogin.Register(router.Group(mount), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	router.GET("/profile", auth.Guard(), func(c *gin.Context) {
		info, err := auth.UserInfo(c)
		if err != nil {
			c.AbortWithStatus(http.StatusBadGateway)
			return
		}
		c.JSON(http.StatusOK, info)
	})
	return router, auth
}

func read(t *testing.T, client *http.Client, address string) (status int, body string) {
	t.Helper()
	response, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(raw)
}

func TestSignInNeedsNoSockets(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ base, mount, path string }{
		"on https":                          {"https://app.example.com", "/", ""},
		"on localhost":                      {"http://localhost:8080", "/", ""},
		"behind a path":                     {"https://example.com/app", "/", ""},
		"in a group":                        {"https://app.example.com", "/auth", "/auth/sign-in"},
		"behind a path and in a group":      {"https://example.com/app", "/auth", "/auth/sign-in"},
		"from a guarded page":               {"https://app.example.com", "/", "/profile"},
		"from a guarded page behind a path": {"https://example.com/app", "/", "/profile?tab=2"},
		"from a guarded page in both":       {"https://example.com/app", "/auth", "/profile"},
		"by the whole address":              {"https://example.com/app", "/auth", "https://example.com/app/profile"},
		"from the registration's address":   {"https://app.example.com", "/", "/sign-up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			cfg := logto.Config(test.base)
			router, _ := newApp(t, cfg, test.mount)
			var client *http.Client
			if test.path == "" {
				client = logto.SignIn(t, router, logtotest.DefaultUser())
			} else {
				client = logto.SignInAt(t, router, test.path, logtotest.DefaultUser())
			}
			for _, address := range []string{"/profile", test.base + "/profile"} {
				status, body := read(t, client, address)
				if status != http.StatusOK || !strings.Contains(body, `"username":"alice"`) {
					t.Errorf("%s: %d %s", address, status, body)
				}
			}
			if calls := logto.Calls(); calls.Token != 1 {
				t.Errorf("%+v", calls)
			}
		})
	}
}

// Two applications in one test: where a client belongs shows when it first signs in,
// or by a whole address.
func TestSeveralApplicationsInOneTest(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	one, _ := newApp(t, logto.Config("https://one.example.com"), "/")
	two, _ := newApp(t, logto.Config("https://two.example.com/app"), "/")
	for name, test := range map[string]struct {
		handler http.Handler
		path    string
	}{
		"by the first sign-in":     {one, "/profile"},
		"by the whole address":     {two, "https://two.example.com/app/profile"},
		"by the sign-in's address": {two, "/sign-in"},
	} {
		client := logto.SignInAt(t, test.handler, test.path, logtotest.DefaultUser())
		if status, body := read(t, client, "/profile"); status != http.StatusOK || !strings.Contains(body, `"username":"alice"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// What a test of one's own error pages sees.
func TestABrowserSeesWhatGoesWrong(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	cfg := logto.Config("https://example.com/app")
	cfg.OnError = func(c *gin.Context, err error) { c.String(logtogin.StatusCode(err), "own page: %v", err) }
	cfg.OnSignedIn = func(_ *gin.Context, result *logtogin.SignInResult) error {
		if result.Claims.Username == "mallory" {
			return &logtogin.RefusalError{Message: "not you"}
		}
		return nil
	}
	router, _ := newApp(t, cfg, "/")
	for name, test := range map[string]struct {
		faults []logtotest.Fault
		user   logtotest.User
		status int
		shows  string
	}{
		"all is well":             {nil, logtotest.DefaultUser(), 200, `"username":"alice"`},
		"the application refuses": {nil, logtotest.User{Username: "mallory"}, 403, "own page: logtogin: the application refused"},
		"the user is suspended":   {nil, logtotest.User{Username: "sam", IsSuspended: true}, 403, "suspended"},
		"Logto refuses":           {[]logtotest.Fault{faults.AccessDenied}, logtotest.DefaultUser(), 403, "own page: logtogin: this account is not allowed in"},
		"the user gives up":       {[]logtotest.Fault{faults.Cancelled}, logtotest.DefaultUser(), 400, "own page: logtogin: sign-in was cancelled"},
		"the nonce is wrong":      {[]logtotest.Fault{faults.WrongNonce}, logtotest.DefaultUser(), 400, "own page: logtogin: token not acceptable"},
	} {
		logto.Misbehave(test.faults...)
		status, body := read(t, logto.Browser(t, router, test.user), "/profile")
		if status != test.status || !strings.Contains(body, test.shows) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// It stands in for the test in which a sign-in fails.
type failingTest struct {
	testing.TB
	message string
}

func (f *failingTest) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	panic(f)
}

func TestSignInFailsTheTestIfItFails(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	cfg := logto.Config("https://app.example.com")
	cfg.OnSignedIn = func(*gin.Context, *logtogin.SignInResult) error { return &logtogin.RefusalError{Message: "not you"} }
	refusing, _ := newApp(t, cfg, "/")
	moved := logto.Config("https://app.example.com")
	moved.BaseURL = "https://nowhere.invalid"
	elsewhere, _ := newApp(t, moved, "/")
	for name, test := range map[string]struct {
		handler http.Handler
		path    string
		says    string
	}{
		"the application refuses":         {refusing, "/sign-in", "with 403"},
		"there is no such page":           {refusing, "/nothing", "with 404"},
		"Config was told another address": {elsewhere, "/sign-in", "redirect_uri did not match"},
	} {
		failing := &failingTest{TB: t}
		func() {
			defer func() {
				if reason := recover(); reason != nil && reason != any(failing) {
					panic(reason)
				}
			}()
			logto.SignInAt(failing, test.handler, test.path, logtotest.DefaultUser())
		}()
		if !strings.Contains(failing.message, test.says) {
			t.Errorf("%s: %q", name, failing.message)
		}
	}
}

func TestUsersWhoSignInAreAddedIfNeedBe(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, _ := newApp(t, logto.Config("https://app.example.com"), "/")
	bob := logto.AddUser(logtotest.User{Username: "bob"})
	for want, user := range map[string]logtotest.User{
		`"username":"bob"`:   {ID: bob.ID},
		`"username":"carol"`: {Username: "carol", Roles: []string{"admin"}},
		`"sub":"dave"`:       {ID: "dave"},
		`"name":"Alicia"`:    {Username: "alice", Name: "Alicia"},
	} {
		if _, body := read(t, logto.SignIn(t, router, user), "/profile"); !strings.Contains(body, want) {
			t.Errorf("%s: %s", want, body)
		}
	}
}

// What a test says of a user who is not there would otherwise go unnoticed.
func TestUsersAreNamedByIDOrUsername(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	alice, ok := logto.User("alice")
	if byID, found := logto.User(alice.ID); !ok || !found || alice.ID == "" || byID.Username != "alice" {
		t.Errorf("%+v %v %+v %v", alice, ok, byID, found)
	}
	if again := logto.AddUser(logtotest.User{Username: "alice", Name: "Alicia"}); again.ID != alice.ID {
		t.Errorf("there are two of the name: %s and %s", alice.ID, again.ID)
	}
	logto.SuspendUser("alice", true)
	if now, _ := logto.User("alice"); !now.IsSuspended || now.Name != "Alicia" {
		t.Errorf("%+v", now)
	}
	logto.SetMembership("alice", "acme", []string{"buyer"})
	if now, _ := logto.User("alice"); len(now.Organizations["acme"]) != 1 {
		t.Errorf("%+v", now)
	}
	logto.DeleteUser("alice")
	if _, ok := logto.User("alice"); ok {
		t.Error("alice is still there")
	}
	for name, change := range map[string]func(){
		"SuspendUser":   func() { logto.SuspendUser("nobody", true) },
		"DeleteUser":    func() { logto.DeleteUser("nobody") },
		"SetMembership": func() { logto.SetMembership("nobody", "acme", nil) },
	} {
		func() {
			defer func() {
				if reason, _ := recover().(string); !strings.Contains(reason, `"nobody"`) {
					t.Errorf("%s: %q", name, reason)
				}
			}()
			change()
		}()
	}
}

func TestSeveralUsersInOneTest(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, _ := newApp(t, logto.Config("https://app.example.com"), "/")
	alice := logto.SignIn(t, router, logtotest.DefaultUser())
	bob := logto.SignIn(t, router, logtotest.User{Username: "bob"})
	for want, client := range map[string]*http.Client{"alice": alice, "bob": bob} {
		if _, body := read(t, client, "/profile"); !strings.Contains(body, `"username":"`+want+`"`) {
			t.Errorf("%s: %s", want, body)
		}
	}
	if status, _ := read(t, alice, "/sign-out"); status != http.StatusOK { // on the server's page
		t.Errorf("%d", status)
	}
	if status, body := read(t, bob, "/profile"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

func TestTheClockOfConfigIsTheServers(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	cfg := logto.Config("https://app.example.com")
	cfg.SessionLifetime = time.Hour
	router, _ := newApp(t, cfg, "/")
	client := logto.SignIn(t, router, logtotest.DefaultUser())
	logto.Advance(59 * time.Minute)
	if status, body := read(t, client, "/profile"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if calls := logto.Calls(); calls.Token != 1 {
		t.Errorf("%+v", calls)
	}
	logto.Advance(time.Minute)
	// The browser is still signed in at the server, which asks for nothing.
	if status, _ := read(t, client, "/profile"); status != http.StatusOK || logto.Calls().Token != 2 {
		t.Errorf("%d, %+v", status, logto.Calls())
	}
}

func TestAnAPIWithoutASignInHasNoAddress(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	api, err := logtogin.New(logto.Config(""))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	router, _ := newApp(t, logto.Config("https://app.example.com"), "/")
	router.GET("/host", func(c *gin.Context) { c.String(http.StatusOK, c.Request.Host) })
	// There is one base URL only, so that clients know theirs at once.
	if _, body := read(t, logto.Visitor(t, router), "/host"); body != "app.example.com" {
		t.Errorf("%s", body)
	}
}

func TestTokensForTestsOfAnAPI(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	alice := logto.AddUser(logtotest.User{ID: "alice"})
	for name, test := range map[string]struct {
		token string
		want  map[string]any
	}{
		"for an API":                    {logto.AccessToken(alice, "https://api.example.test/", "read", "write"), map[string]any{"sub": "alice", "aud": "https://api.example.test/", "scope": "read write", "client_id": logto.AppID(), "organization_id": nil}},
		"for an organization":           {logto.OrganizationToken(alice, "org", "", "manage"), map[string]any{"sub": "alice", "aud": "urn:logto:organization:org", "scope": "manage", "organization_id": nil}},
		"for an API in an organization": {logto.OrganizationToken(alice, "org", "https://api.example.test/"), map[string]any{"sub": "alice", "aud": "https://api.example.test/", "scope": "", "organization_id": "org"}},
		"for a machine":                 {logto.MachineToken("robot", "https://api.example.test/", "read"), map[string]any{"sub": "robot", "client_id": "robot", "scope": "read"}},
	} {
		header, claims := decodeToken(t, test.token)
		if header["typ"] != "at+jwt" {
			t.Errorf("%s: %v", name, header)
		}
		for claim, want := range test.want {
			if claims[claim] != want {
				t.Errorf("%s: %s is %v, want %v", name, claim, claims[claim], want)
			}
		}
	}
}

func TestWebhooksAreSentAndSigned(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, _ := newApp(t, logto.Config("https://app.example.com"), "/")
	var got []map[string]any
	router.POST("/hook", func(c *gin.Context) {
		body, err := io.ReadAll(c.Request.Body)
		if err != nil || c.GetHeader("logto-signature-sha-256") != logtotest.WebhookSignature("key", string(body)) {
			t.Errorf("%v, signature %q", err, c.GetHeader("logto-signature-sha-256"))
		}
		var event map[string]any
		if err := json.Unmarshal(body, &event); err != nil {
			t.Error(err)
		}
		got = append(got, event)
	})
	logto.Serve("https://app.example.com", router)
	logto.AddWebhook(logtotest.Webhook{URL: "https://app.example.com/hook", SigningKey: "key"})
	logto.AddWebhook(logtotest.Webhook{URL: "https://app.example.com/hook", SigningKey: "key", Events: []string{"nothing"}})
	alice := logto.AddUser(logtotest.User{ID: "alice", Username: "alice"})
	organization := logto.AddOrganization(logtotest.Organization{Name: "Acme"})
	alice.Name = "Alice"
	logto.AddUser(alice)
	logto.SetMembership("alice", organization.ID, []string{"member"})
	logto.SetMembership("alice", organization.ID, nil)
	logto.SuspendUser("alice", true)
	logto.DeleteUser("alice")
	var names []string
	for _, event := range got {
		names = append(names, event["event"].(string))
		if _, err := time.Parse(time.RFC3339, event["createdAt"].(string)); err != nil || event["hookId"] == "" {
			t.Errorf("%v", event)
		}
	}
	want := "User.Created User.Data.Updated Organization.Membership.Updated Organization.Membership.Updated User.SuspensionStatus.Updated User.Deleted"
	if strings.Join(names, " ") != want {
		t.Errorf("%q", names)
	}
	if data := got[4]["data"].(map[string]any); data["isSuspended"] != true || data["id"] != "alice" {
		t.Errorf("%v", got[4])
	}
	if deliveries := logto.Deliveries(); len(deliveries) != 6 || deliveries[0].Status != http.StatusOK {
		t.Errorf("%+v", deliveries)
	}
}

func TestWebhooksTellOfASignInBeforeTheApplicationKnows(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	var happened []string
	cfg := logto.Config("https://app.example.com")
	cfg.OnSignedIn = func(*gin.Context, *logtogin.SignInResult) error {
		happened = append(happened, "session")
		return nil
	}
	router, _ := newApp(t, cfg, "/")
	router.POST("/hook", func(c *gin.Context) {
		var event struct{ Event string }
		if err := c.BindJSON(&event); err != nil {
			t.Error(err)
		}
		happened = append(happened, event.Event)
	})
	logto.Serve("https://app.example.com", router)
	logto.AddWebhook(logtotest.Webhook{URL: "https://app.example.com/hook", SigningKey: "key"})
	logto.SignIn(t, router, logtotest.DefaultUser())
	if want := []string{"PostSignIn", "session"}; !slices.Equal(happened, want) {
		t.Errorf("%q, want %q", happened, want)
	}
}

func TestAnApplicationThatPanicsIsOneThatHangsUp(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.Serve("https://app.example.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.WriteHeader(http.StatusAccepted)
			w.(http.Flusher).Flush()
		}
		panic("the handler fails")
	}))
	client := logto.Client()
	if response, err := client.Get("https://app.example.com/"); err == nil {
		t.Errorf("answered with %s", response.Status)
		response.Body.Close()
	}
	response, err := client.Get("https://app.example.com/late")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err == nil || response.Status != "202 Accepted" {
		t.Errorf("%s %q %v", response.Status, body, err)
	}
}

func TestSuspendedUsersHaveNoUserInfo(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	b := newBrowser(t, logto)
	token, _ := b.tokens()["access_token"].(string)
	if got := b.userInfo(token); got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	user, _ := logto.User("alice")
	user.IsSuspended = true
	logto.AddUser(user)
	if got := b.userInfo(token); got.status != http.StatusUnauthorized || !strings.Contains(got.body, "invalid_token") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestBackchannelLogoutReachesEveryApplicationOfTheSession(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	var mu sync.Mutex // the logout tokens are sent in parallel
	told := map[string]map[string]any{}
	gin.SetMode(gin.ReleaseMode)
	received := gin.New()
	for _, app := range []string{"first", "second", "third"} {
		received.POST("/"+app, func(c *gin.Context) {
			_, claims := decodeToken(t, c.PostForm("logout_token"))
			mu.Lock()
			told[app] = claims
			mu.Unlock()
			if app == "second" {
				c.Status(http.StatusBadRequest)
			}
		})
	}
	server.Serve("https://app.example.com", received)
	first := server.Application()
	first.BackchannelLogoutURI, first.BackchannelLogoutSessionRequired = "https://app.example.com/first", true
	server.AddApplication(first)
	second := server.AddApplication(logtotest.Application{BackchannelLogoutURI: "https://app.example.com/second"})
	server.AddApplication(logtotest.Application{ID: "third", BackchannelLogoutURI: "https://app.example.com/third"})

	b := newBrowser(t, server)
	_, idToken := decodeToken(t, b.tokens()["id_token"])
	if sid, _ := idToken["sid"].(string); sid == "" {
		t.Errorf("no sid in %v", idToken)
	}
	b.callback(b.newSignIn("client_id", second.ID))
	b.signOut(url.Values{"client_id": {first.ID}})
	if len(told) != 2 || told["first"]["sid"] != idToken["sid"] || told["first"]["aud"] != first.ID || told["second"]["sid"] != nil || told["first"]["sub"] != idToken["sub"] {
		t.Errorf("told %v", told)
	}
	if events, _ := told["first"]["events"].(map[string]any); events["http://schemas.openid.net/event/backchannel-logout"] == nil {
		t.Errorf("%v", told["first"])
	}
}
