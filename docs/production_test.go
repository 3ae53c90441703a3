package docs_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
	"github.com/logtogin/logtogin/redisstate"
	"github.com/logtogin/logtogin/telemetry"
)

// The code of production.md.

func withSharedState(router *gin.Engine, secret string) (*logtogin.Auth, *redis.Client, error) {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
	auth, err := logtogin.Register(router, logtogin.Config{
		Endpoint:    "https://example.logto.app",
		AppID:       "replace-with-your-app-id",
		AppSecret:   "replace-with-your-secret",
		BaseURL:     "https://app.example.com",
		Secrets:     []string{secret},
		SharedState: redisstate.New(client),
	})
	return auth, client, err
}

func addReady(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/ready", func(c *gin.Context) {
		if err := auth.Ready(c.Request.Context()); err != nil {
			c.String(http.StatusServiceUnavailable, "Logto cannot be reached")
			return
		}
		c.String(http.StatusOK, "ready")
	})
}

func addDiagnosis(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/diagnosis", auth.Guard(logtogin.Role("admin")), func(c *gin.Context) {
		c.JSON(http.StatusOK, auth.Diagnose(c.Request.Context()))
	})
}

func logDiagnosis(ctx context.Context, auth *logtogin.Auth) {
	for _, finding := range auth.Diagnose(ctx).Findings {
		if finding.Severity != logtogin.SeverityOK {
			slog.WarnContext(ctx, finding.Detail, "check", finding.Check, "severity", finding.Severity, "advice", finding.Advice)
		}
	}
}

func withTelemetry(router *gin.Engine, cfg logtogin.Config, traces trace.TracerProvider, meters metric.MeterProvider) (*logtogin.Auth, error) {
	onEvent, err := telemetry.New(traces, meters)
	if err != nil {
		return nil, err
	}
	cfg.OnEvent = onEvent
	return logtogin.Register(router, cfg)
}

func serve(ctx context.Context, server *http.Server, auth *logtogin.Auth, client *redis.Client) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		done <- server.Shutdown(ending)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	// First the requests, then what is under way in the background, then Redis.
	return errors.Join(<-done, auth.Close(), client.Close())
}

func withoutQueriesInTheLog() *gin.Engine {
	router := gin.New()
	router.Use(gin.LoggerWithConfig(gin.LoggerConfig{SkipQueryString: true}), gin.Recovery())
	return router
}

// Not parallel, because Gin's log goes to a variable.
func TestProductionLogsNoCode(t *testing.T) {
	for isDefault, shown := range map[bool]bool{true: true, false: false} {
		var out strings.Builder
		before := gin.DefaultWriter
		gin.DefaultWriter = &out
		router := withoutQueriesInTheLog()
		if isDefault {
			router = gin.Default()
		}
		gin.DefaultWriter = before
		router.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/callback?code=a-code", nil))
		if said := out.String(); !strings.Contains(said, "/callback") || strings.Contains(said, "a-code") != shown {
			t.Errorf("gin.Default() %v: %q", isDefault, said)
		}
	}
}

func TestProductionServes(t *testing.T) {
	t.Parallel()
	router := gin.New()
	auth, client, err := withSharedState(router, strings.Repeat("s", 32))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := serve(ctx, &http.Server{Addr: "127.0.0.1:0", Handler: router, ReadHeaderTimeout: time.Second}, auth, client); err != nil {
		t.Error(err)
	}
}

func TestProductionIsReadyWhenLogtoIs(t *testing.T) {
	t.Parallel()
	for fault, want := range map[*logtotest.Fault]int{nil: 200, &faults.Down: 503} {
		logto := logtotest.NewServer(t)
		router, _ := build(t, logto.Config(baseURL), addReady)
		if fault != nil {
			logto.Misbehave(*fault)
		}
		if answer := ask(t, logto.Browser(t, router, alice()), http.MethodGet, "/ready", nil); answer.status != want {
			t.Error(answer)
		}
	}
}

func TestProductionDiagnosis(t *testing.T) {
	t.Parallel()
	admin := logtotest.DefaultUser()
	admin.Roles = []string{"admin"}
	logto := logtotest.NewServer(t, admin)
	cfg := logto.Config(baseURL)
	cfg.Scopes = []string{"roles"}
	router := gin.New()
	auth, err := withTelemetry(router, cfg, tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = auth.Close() })
	addDiagnosis(router, auth)
	logDiagnosis(t.Context(), auth)
	if answer := get(t, logto.SignIn(t, router, admin), "/diagnosis"); answer.status != http.StatusOK || !strings.Contains(answer.body, `"check":"redirect_uri","severity":"ok"`) {
		t.Errorf("%d %s", answer.status, answer.body)
	}
}
