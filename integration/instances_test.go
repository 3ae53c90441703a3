package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ginredis "github.com/gin-contrib/sessions/redis"
	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/integration/servers"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/redisstate"
)

// instanceVariable makes a process of the test an instance of an application.
const instanceVariable = "LOGTOGIN_TEST_INSTANCE"

// instanceConfig is what an instance is told.
type instanceConfig struct {
	Endpoint, AppID, AppSecret, BaseURL string
	Redis                               string // its address
	SessionsInRedis                     bool
}

func TestMain(m *testing.M) {
	if raw := os.Getenv(instanceVariable); raw != "" {
		if err := runInstance(raw); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const webhookKey = "the signing key of the webhook"

var instanceResources = []string{"https://one.example.test", "https://two.example.test", "https://three.example.test"}

// runInstance serves until its standard input ends. The first line of its output is its
// address.
func runInstance(raw string) error {
	var given instanceConfig
	if err := json.Unmarshal([]byte(raw), &given); err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	client := redis.NewClient(&redis.Options{Addr: given.Redis})
	cfg := logtogin.Config{
		Endpoint: given.Endpoint, AppID: given.AppID, AppSecret: given.AppSecret, BaseURL: given.BaseURL,
		Secrets:     []string{strings.Repeat("s", 32)},
		Resources:   instanceResources,
		SharedState: redisstate.New(client),
	}
	if given.SessionsInRedis {
		store, err := ginredis.NewStore(8, "tcp", given.Redis, "", "", []byte(strings.Repeat("k", 32)))
		if err != nil {
			return err
		}
		cfg.Store = store
	}
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		return err
	}
	router.GET("/profile", auth.Guard(), func(c *gin.Context) { c.JSON(http.StatusOK, c.MustGet(logtogin.ClaimsKey)) })
	router.POST("/webhook", auth.WebhookHandler(webhookKey))
	router.POST("/revoke", func(c *gin.Context) {
		if err := auth.RevokeUser(c.Request.Context(), c.Query("user")); err != nil {
			c.String(logtogin.StatusCode(err), err.Error())
		}
	})
	router.GET("/token", func(c *gin.Context) {
		token, err := auth.AccessToken(c, logtogin.Resource(c.Query("resource")))
		if err != nil {
			c.String(logtogin.StatusCode(err), err.Error())
			return
		}
		c.String(http.StatusOK, token.Value)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: router}
	go func() { _ = server.Serve(listener) }()
	fmt.Println(listener.Addr())
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return server.Close()
}

// cluster are two processes behind one address.
type cluster struct {
	url    string
	direct [2]string // of each process
}

// newCluster starts the processes. The address is known before them, so that a
// provider can be told of it.
func newCluster(t *testing.T, configure func(baseURL string) instanceConfig) *cluster {
	t.Helper()
	c := &cluster{}
	var next atomic.Uint64
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		target, _ := url.Parse("http://" + c.direct[next.Add(1)%2])
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(proxy.Close)
	c.url = proxy.URL
	raw, err := json.Marshal(configure(c.url))
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.direct {
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), instanceVariable+"="+string(raw))
		command.Stderr = os.Stderr
		input, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		output, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = input.Close()
			if err := command.Wait(); err != nil {
				t.Errorf("instance %d: %v", i, err)
			}
		})
		line, err := bufio.NewReader(output).ReadString('\n')
		if err != nil {
			t.Fatalf("instance %d says no address: %v", i, err)
		}
		c.direct[i] = strings.TrimSpace(line)
	}
	return c
}

// burst makes so many requests at the same time, with the same cookies, and counts the
// good answers.
func (c *cluster) burst(t *testing.T, cookies []*http.Cookie, paths ...string) (good int) {
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
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+paths[i%len(paths)], nil)
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

func tokenPath(i int) string { return "/token?resource=" + url.QueryEscape(instanceResources[i]) }

// C71, C72: the provider replaces the refresh token with every use, and any second use
// ends the grant at once.
func TestTwoProcessesRefreshOnce(t *testing.T) {
	for name, inRedis := range map[string]bool{"sessions in cookies": false, "sessions in Redis": true} {
		t.Run(name, func(t *testing.T) {
			database := servers.Redis(t)
			var provider *oidcprovider.Provider
			c := newCluster(t, func(baseURL string) instanceConfig {
				var resources []oidcprovider.Resource
				for _, indicator := range instanceResources {
					resources = append(resources, oidcprovider.Resource{Indicator: indicator})
				}
				provider = oidcprovider.Start(t, oidcprovider.Config{
					Clients:              []oidcprovider.Client{{RedirectURIs: []string{baseURL + "/callback"}}},
					Resources:            resources,
					RefreshTokenRotation: oidcprovider.RotateOnEveryUse,
				})
				return instanceConfig{
					Endpoint: provider.Endpoint(), AppID: oidcprovider.DefaultClientID, AppSecret: oidcprovider.DefaultClientSecret,
					BaseURL: baseURL, Redis: database.Address(), SessionsInRedis: inRedis,
				}
			})
			b := newBrowser(t)
			b.submit(b.get(c.url+"/profile"), url.Values{"username": {oidcprovider.DefaultUsername}, "password": {oidcprovider.DefaultPassword}})
			cookies := b.cookies(c.url)
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
	for _, indicator := range instanceResources {
		logto.AddResource(logtotest.Resource{Indicator: indicator})
	}
	app := logto.Application()
	app.Type, app.Secret = logtotest.Native, "" // whose refresh token is replaced each time
	logto.AddApplication(app)
	c := newCluster(t, func(baseURL string) instanceConfig {
		logto.RegisterRedirectURIs(baseURL + "/callback")
		return instanceConfig{Endpoint: logto.Endpoint(), AppID: app.ID, BaseURL: baseURL, Redis: database.Address()}
	})
	b := newBrowser(t)
	user := logtotest.DefaultUser()
	b.submit(b.get(c.url+"/profile"), url.Values{"username": {user.Username}, "password": {user.Password}})
	cookies := b.cookies(c.url)
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
	if page := b.get(c.url + "/profile"); page.status != http.StatusOK {
		t.Errorf("%d %s", page.status, page.body)
	}
}
