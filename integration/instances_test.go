package integration_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/logtogin/logtogin/integration/instances"
	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/integration/servers"
	"github.com/logtogin/logtogin/integration/webtest"
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
	good, bad := c.answers(t, cookies, paths...)
	for _, what := range bad {
		t.Error("answered ", what)
	}
	return good
}

// answers is burst for a test that allows other answers, which it returns.
func (c cluster) answers(t *testing.T, cookies []*http.Cookie, paths ...string) (good int, others []string) {
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
		others = append(others, what.(string))
		return true
	})
	return int(count.Load()), others
}

func tokenPath(i int) string { return "/token?resource=" + url.QueryEscape(instances.Resources[i]) }

// C71, C72: the provider replaces the refresh token with every use, and any second use
// ends the grant at once. An instance waits for Redis for half a second and then goes on by
// itself, which such a provider does not forgive: if a machine is so slow, it is tried again.
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
			const tries = 10
			for try := 1; ; try++ {
				before := c.timesAlone()
				problems := refreshOnce(t, c, provider)
				if len(problems) == 0 {
					return
				}
				if c.timesAlone() == before || try == tries {
					t.Fatal(strings.Join(problems, "\n"))
				}
				t.Logf("try %d: an instance went on without Redis: %q", try, problems)
			}
		})
	}
}

// timesAlone is how often an instance has begun to go on without Redis.
func (c cluster) timesAlone() int {
	return strings.Count(c.Output(), "the shared state does not work")
}

// refreshOnce signs in and returns what is wrong with the tokens after it.
func refreshOnce(t *testing.T, c cluster, provider *oidcprovider.Provider) (problems []string) {
	t.Helper()
	b := webtest.New(t)
	b.SignIn(c.URL+"/profile", oidcprovider.DefaultUsername, oidcprovider.DefaultPassword)
	cookies := b.Cookies(c.URL)
	for _, step := range []struct {
		what  string
		paths []string
		calls int
	}{
		{"one token", []string{tokenPath(0)}, 1},
		{"two more", []string{tokenPath(0), tokenPath(1), tokenPath(2)}, 2},
		{"still signed in", []string{"/profile"}, 0},
	} {
		provider.ResetCalls()
		good, others := c.answers(t, cookies, step.paths...)
		if calls := provider.Calls().Token; good != 200 || calls != step.calls {
			problems = append(problems, fmt.Sprintf("%s: %d good answers, others %q, %d calls", step.what, good, others, calls))
		}
	}
	return problems
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
	b := webtest.New(t)
	user := logtotest.DefaultUser()
	b.SignIn(c.URL+"/profile", user.Username, user.Password)
	cookies := b.Cookies(c.URL)
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
	if page := b.Get(c.URL + "/profile"); page.Status != http.StatusOK {
		t.Errorf("%d %s", page.Status, page.Body)
	}
}
