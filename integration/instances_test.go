package integration_test

import (
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/logtogin/logtogin/integration/instances"
	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/integration/servers"
	"github.com/logtogin/logtogin/logtotest"
)

func TestMain(m *testing.M) {
	instances.RunIfAsked()
	os.Exit(m.Run())
}

// cluster are two processes behind one address.
type cluster struct{ *instances.Cluster }

func newCluster(t *testing.T, configure func(baseURL string) instances.Config) cluster {
	t.Helper()
	return cluster{instances.New(t, configure)}
}

// places are where sessions lie and what the processes know together.
var places = map[string]func(t *testing.T) instances.Config{
	"sessions in cookies": func(t *testing.T) instances.Config {
		return instances.Config{Redis: servers.Redis(t).Address()}
	},
	"sessions in Redis": func(t *testing.T) instances.Config {
		return instances.Config{Redis: servers.Redis(t).Address(), SessionsInRedis: true}
	},
	"sessions in cookies, a Redis Cluster": func(t *testing.T) instances.Config {
		var addresses []string
		for _, member := range servers.RedisCluster(t) {
			addresses = append(addresses, member.Address())
		}
		return instances.Config{RedisCluster: addresses}
	},
}

// burst makes so many requests at the same time, with the same cookies, and counts the
// good answers.
func (c cluster) burst(t *testing.T, cookies []*http.Cookie, paths ...string) (good int) {
	t.Helper()
	const requests = 200
	client := &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: requests},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	var count atomic.Int64
	var bad sync.Map
	for i := range requests {
		all.Go(func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL+paths[i%len(paths)], nil)
			if err != nil {
				t.Error(err)
				return
			}
			for _, cookie := range cookies {
				r.AddCookie(cookie)
			}
			response, err := client.Do(r)
			if err != nil {
				bad.Store(err.Error(), true)
				return
			}
			defer response.Body.Close()
			if response.StatusCode == http.StatusOK {
				count.Add(1)
			} else {
				bad.Store(response.Status, true)
			}
		})
	}
	all.Wait()
	bad.Range(func(what, _ any) bool {
		t.Error("answered ", what)
		return true
	})
	return int(count.Load())
}

func tokenPath(i int) string { return "/token?resource=" + url.QueryEscape(instances.Resources[i]) }

// C71, C72: the provider replaces the refresh token with every use, and any second use
// ends the grant at once.
func TestTwoProcessesRefreshOnce(t *testing.T) {
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			config := place(t)
			var provider *oidcprovider.Provider
			c := newCluster(t, func(baseURL string) instances.Config {
				var resources []oidcprovider.Resource
				for _, indicator := range instances.Resources {
					resources = append(resources, oidcprovider.Resource{Indicator: indicator})
				}
				provider = oidcprovider.Start(t, oidcprovider.Config{
					Clients:              []oidcprovider.Client{{RedirectURIs: []string{baseURL + "/callback"}}},
					Resources:            resources,
					RefreshTokenRotation: oidcprovider.RotateOnEveryUse,
				})
				config.Endpoint, config.BaseURL = provider.Endpoint(), baseURL
				config.AppID, config.AppSecret = oidcprovider.DefaultClientID, oidcprovider.DefaultClientSecret
				return config
			})
			b := newBrowser(t)
			b.submit(b.get(c.URL+"/profile"), url.Values{"username": {oidcprovider.DefaultUsername}, "password": {oidcprovider.DefaultPassword}})
			cookies := b.cookies(c.URL)
			provider.ResetCalls()

			if good := c.burst(t, cookies, tokenPath(0)); good != 200 || provider.Calls().Token != 1 {
				t.Errorf("one token: %d good answers, %d calls", good, provider.Calls().Token)
			}
			provider.ResetCalls()
			if good := c.burst(t, cookies, tokenPath(0), tokenPath(1), tokenPath(2)); good != 200 || provider.Calls().Token != 2 {
				t.Errorf("two more: %d good answers, %d calls", good, provider.Calls().Token)
			}
			if good := c.burst(t, cookies, "/profile"); good != 200 {
				t.Errorf("still signed in: %d", good)
			}
		})
	}
}

// Redis goes away in the very moment in which one process has got new tokens and the
// other one waits for them. Logto forgives a second use within 3 seconds, and nobody is
// signed out.
func TestRedisStopsDuringARefresh(t *testing.T) {
	database := servers.Redis(t)
	logto := logtotest.NewServer(t)
	for _, indicator := range instances.Resources {
		logto.AddResource(logtotest.Resource{Indicator: indicator})
	}
	app := logto.Application()
	app.Type, app.Secret = logtotest.Native, "" // whose refresh token is replaced each time
	logto.AddApplication(app)
	c := newCluster(t, func(baseURL string) instances.Config {
		logto.RegisterRedirectURIs(baseURL + "/callback")
		return instances.Config{Endpoint: logto.Endpoint(), AppID: app.ID, BaseURL: baseURL, Redis: database.Address()}
	})
	b := newBrowser(t)
	user := logtotest.DefaultUser()
	b.submit(b.get(c.URL+"/profile"), url.Values{"username": {user.Username}, "password": {user.Password}})
	cookies := b.cookies(c.URL)
	var once sync.Once
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		once.Do(database.Stop)
		next.ServeHTTP(w, r)
	})
	logto.ResetCalls()
	if good := c.burst(t, cookies, tokenPath(0)); good != 200 || logto.Calls().Token > 2 {
		t.Errorf("%d good answers, %d calls", good, logto.Calls().Token)
	}
	for range 3 {
		if good := c.burst(t, cookies, "/profile", tokenPath(0), tokenPath(1)); good != 200 {
			t.Errorf("with the cookies from before: %d good answers", good)
		}
	}
	if page := b.get(c.URL + "/profile"); page.status != http.StatusOK {
		t.Errorf("%d %s", page.status, page.body)
	}
}
