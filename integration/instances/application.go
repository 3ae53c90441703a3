// Package instances runs processes of one application behind one address. The processes
// are the test's own program: its TestMain calls RunIfAsked first.
package instances

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	ginredis "github.com/gin-contrib/sessions/redis"
	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/redisstate"
)

// variable makes a process of a test an instance of an application.
const variable = "LOGTOGIN_TEST_INSTANCE"

// Config is what an instance is told.
type Config struct {
	Endpoint, AppID, AppSecret, BaseURL string

	Redis           string   // its address
	RedisCluster    []string // addresses of members, in the place of Redis
	SessionsInRedis bool

	// ProviderAddress is where Endpoint is, if not there.
	ProviderAddress string
	RevalidateAfter time.Duration

	// Number is which of the instances it is. A Cluster fills it in.
	Number int
}

// Number is how an instance says its number when it calls the provider.
const Number = "Test-Instance"

// ErrorKind is the header in which an instance says what kind of error has happened.
const ErrorKind = "Test-Error"

// WebhookKey is the signing key of the webhook.
const WebhookKey = "the signing key of the webhook"

// Resources are those of the application.
var Resources = []string{"https://one.example.test", "https://two.example.test", "https://three.example.test"}

// RunIfAsked makes the process an instance, if it was started as one, and ends it.
func RunIfAsked() {
	raw := os.Getenv(variable)
	if raw == "" {
		return
	}
	if err := run(raw); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Memory is what an instance uses.
type Memory struct {
	Heap       uint64 // in bytes, after a garbage collection
	Goroutines int
}

// run serves until the standard input ends. The first line of the output is the address.
func run(raw string) error {
	var given Config
	if err := json.Unmarshal([]byte(raw), &given); err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	var ahead atomic.Int64 // of the clock
	cfg, err := given.settings()
	if err != nil {
		return err
	}
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		return err
	}
	addRoutes(router, auth)
	router.POST("/test/clock", func(c *gin.Context) {
		d, err := time.ParseDuration(c.Query("ahead"))
		if err != nil {
			c.String(http.StatusBadRequest, err.Error())
			return
		}
		ahead.Store(int64(d))
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

func (given Config) settings() (logtogin.Config, error) {
	var client redis.UniversalClient = redis.NewClient(&redis.Options{Addr: given.Redis})
	if len(given.RedisCluster) > 0 {
		client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: given.RedisCluster})
	}
	cfg := logtogin.Config{
		Endpoint: given.Endpoint, AppID: given.AppID, AppSecret: given.AppSecret, BaseURL: given.BaseURL,
		Secrets:         []string{strings.Repeat("s", 32)},
		Resources:       Resources,
		SharedState:     redisstate.New(client),
		RevalidateAfter: given.RevalidateAfter,
		HTTPClient:      given.httpClient(),
		OnError:         func(c *gin.Context, err error) { c.Header(ErrorKind, kindOf(err)) },
	}
	if given.SessionsInRedis {
		store, err := ginredis.NewStore(8, "tcp", given.Redis, "", "", []byte(strings.Repeat("k", 32)))
		if err != nil {
			return cfg, err
		}
		cfg.Store = store
	}
	return cfg, nil
}

// numbered says with each request which instance makes it.
type numbered struct {
	transport *http.Transport
	number    string
}

func (n numbered) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set(Number, n.number)
	return n.transport.RoundTrip(request)
}

func (given Config) httpClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	if given.ProviderAddress != "" {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, given.ProviderAddress)
		}
	}
	return &http.Client{Transport: numbered{transport, fmt.Sprint(given.Number)}}
}

func addRoutes(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/", func(c *gin.Context) { c.String(http.StatusOK, "home") })
	router.GET("/profile", auth.Guard(), func(c *gin.Context) { c.JSON(http.StatusOK, c.MustGet(logtogin.ClaimsKey)) })
	router.POST("/webhook", auth.WebhookHandler(WebhookKey))
	router.POST("/revoke", func(c *gin.Context) {
		if err := auth.RevokeUser(c.Request.Context(), c.Query("user")); err != nil {
			c.String(logtogin.StatusCode(err), err.Error())
		}
	})
	router.GET("/token", func(c *gin.Context) {
		token, err := auth.AccessToken(c, logtogin.Resource(c.Query("resource")))
		if err != nil {
			c.Header(ErrorKind, kindOf(err))
			c.String(logtogin.StatusCode(err), err.Error())
			return
		}
		c.String(http.StatusOK, token.Value)
	})
	router.GET("/test/memory", func(c *gin.Context) {
		for range 2 {
			runtime.GC()
		}
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		c.JSON(http.StatusOK, Memory{stats.HeapAlloc, runtime.NumGoroutine()})
	})
}

// kindOf is what errors.Is finds in an error.
func kindOf(err error) string {
	var refused *logtogin.ProviderError
	if errors.As(err, &refused) {
		return "refused by Logto: " + refused.Code
	}
	for _, kind := range []error{
		logtogin.ErrNotSignedIn, logtogin.ErrNoAttempt, logtogin.ErrInvalidToken, logtogin.ErrStoreUnavailable,
		logtogin.ErrProviderUnavailable, context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, kind) {
			return strings.TrimPrefix(kind.Error(), "logtogin: ")
		}
	}
	return err.Error()
}
