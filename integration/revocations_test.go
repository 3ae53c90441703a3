package integration_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/instances"
	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/integration/webtest"
	"github.com/logtogin/logtogin/logtotest"
)

// Two processes behind one Redis: what one of them is told, the other one heeds.
func TestTwoProcessesLearnOfRevocations(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			config := place(t)
			logto := logtotest.NewServer(t)
			for _, indicator := range instances.Resources {
				logto.AddResource(logtotest.Resource{Indicator: indicator})
			}
			app := logto.Application()
			c := newCluster(t, func(baseURL string) instances.Config {
				logto.RegisterRedirectURIs(baseURL + "/callback")
				config.Endpoint, config.BaseURL, config.AppID, config.AppSecret = logto.Endpoint(), baseURL, app.ID, app.Secret
				return config
			})
			app = logto.Application()
			app.BackchannelLogoutURI, app.BackchannelLogoutSessionRequired = "http://"+c.Direct(1)+"/backchannel-logout", true
			logto.AddApplication(app)
			logto.AddWebhook(logtotest.Webhook{
				URL: "http://" + c.Direct(1) + "/webhook", SigningKey: instances.WebhookKey, Events: []string{"User.SuspensionStatus.Updated"},
			})
			user := logtotest.DefaultUser()
			known, _ := logto.User(user.Username)
			for name, revoke := range map[string]func(b *webtest.Browser){
				"a sign-out at Logto": func(b *webtest.Browser) {
					b.Submit(b.Get(logto.Issuer()+"/session/end?client_id="+app.ID), url.Values{"logout": {"yes"}})
				},
				"RevokeUser": func(*webtest.Browser) {
					if status := askWith(t, http.MethodPost, "http://"+c.Direct(1)+"/revoke?user="+known.ID, nil); status != http.StatusOK {
						t.Errorf("revoking: %d", status)
					}
				},
				"a webhook": func(*webtest.Browser) { logto.SuspendUser(known.ID, true) },
			} {
				t.Run(name, func(t *testing.T) {
					logto.SuspendUser(known.ID, false)
					waitForNextSecond(t)
					b := webtest.New(t)
					b.SignIn(c.URL+"/profile", user.Username, user.Password)
					cookies := b.Cookies(c.URL)
					for i := range 2 {
						if status := askWith(t, http.MethodGet, "http://"+c.Direct(i)+"/profile", cookies); status != http.StatusOK {
							t.Fatalf("not signed in: %d", status)
						}
					}
					revoke(b)
					at, first := time.Now(), "http://"+c.Direct(0)+"/profile"
					for askWith(t, http.MethodGet, first, cookies) == http.StatusOK {
						if time.Since(at) > time.Minute {
							t.Fatal("still signed in at the other process")
						}
					}
					t.Logf("known at the other process after %v", time.Since(at))
				})
			}
		})
	}
}

// askWith asks with nothing but these cookies, and follows no redirect.
func askWith(t *testing.T, method, address string, cookies []*http.Cookie) (status int) {
	t.Helper()
	b := webtest.New(t)
	b.Stops = func(*url.URL) bool { return true }
	page, err := b.Try(method, address, nil, cookies...)
	if err != nil {
		t.Fatal(err)
	}
	return page.Status
}

// Two applications in one browser session of the engine inside Logto: signing out at one
// signs out at the other.
func TestBackchannelLogoutByTheEngineInsideLogto(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	var sites [2]*httptest.Server
	var addresses [2]string
	var clients []oidcprovider.Client
	names := [2]string{"first", "second"}
	for i := range sites {
		sites[i], addresses[i] = webtest.Listen()
		address := addresses[i]
		clients = append(clients, oidcprovider.Client{
			ID: names[i], Secret: names[i] + "-secret-of-some-length", RedirectURIs: []string{address + "/callback"},
			PostLogoutRedirectURIs: []string{address + "/"},
			BackchannelLogoutURI:   address + "/backchannel-logout", BackchannelLogoutSessionRequired: i == 0,
		})
	}
	provider := oidcprovider.Start(t, oidcprovider.Config{Clients: clients})
	for i, server := range sites {
		router := gin.New()
		auth, err := logtogin.Register(router, logtogin.Config{
			Endpoint: provider.Endpoint(), AppID: clients[i].ID, AppSecret: clients[i].Secret,
			BaseURL: addresses[i], AfterSignOut: "/",
		})
		if err != nil {
			t.Fatal(err)
		}
		router.GET("/", auth.Optional(), func(c *gin.Context) {
			_, signedIn := logtogin.ClaimsFrom(c)
			c.JSON(http.StatusOK, gin.H{"signed_in": signedIn})
		})
		router.GET("/profile", auth.Guard(), func(c *gin.Context) { c.JSON(http.StatusOK, c.MustGet(logtogin.ClaimsKey)) })
		webtest.Serve(t, server, router, auth)
	}
	for out := range sites { // the one with a sid tells the one without, and the other way round
		b := webtest.New(t)
		b.SignIn(addresses[0]+"/profile", oidcprovider.DefaultUsername, oidcprovider.DefaultPassword)
		b.Get(addresses[1] + "/profile")
		for i := range sites {
			if signedIn := b.Get(addresses[i] + "/").Members(t)["signed_in"]; signedIn != true {
				t.Fatalf("not signed in at %s", names[i])
			}
		}
		if page := b.Submit(b.Get(addresses[out]+"/sign-out"), url.Values{"logout": {"yes"}}); page.URL.String() != addresses[out]+"/" {
			t.Errorf("arrived at %s: %d %s", page.URL, page.Status, page.Body)
		}
		for i := range sites {
			if signedIn := b.Get(addresses[i] + "/").Members(t)["signed_in"]; signedIn != false {
				t.Errorf("after the sign-out at %s: still signed in at %s", names[out], names[i])
			}
		}
		// Without a sid a later session is told from the one before by seconds.
		waitForNextSecond(t)
	}
}

// waitForNextSecond returns when the second has changed by which Logto says when a session
// has begun: one that begins in the same second as a suspension counts as begun before.
func waitForNextSecond(t *testing.T) {
	t.Helper()
	now := time.Now()
	timer := time.NewTimer(now.Truncate(time.Second).Add(time.Second + 10*time.Millisecond).Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
