// A small web application with sign-in by Logto:
//
//	go run ./_example
//
// It starts a fake Logto beside it. To use a real one, set LOGTO_ENDPOINT,
// LOGTO_APP_ID and LOGTO_APP_SECRET, and any other variable that
// logtogin.ConfigFromEnv reads: the first of LOGTO_RESOURCES is taken for the
// application's own API. LOGTO_WEBHOOK_SIGNING_KEY makes it receive webhooks. ADDR
// is the address to listen on, by default localhost:8080.
//
// Sessions are kept in cookies. Several instances share what they know in Redis:
//
//	REDIS_ADDR=localhost:6379 go run ./_example
//
// This one prints the command that starts a second one, which uses the first one's
// fake Logto and therefore needs its address and keys.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"

	"github.com/logtogin/logtogin/redisstate"
)

func main() {
	if os.Getenv(gin.EnvGinMode) == "" {
		gin.SetMode(gin.ReleaseMode)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // so that a second signal ends the process at once

	withFake, err := wantsFake(os.Environ())
	if err != nil {
		return err
	}
	addr := cmp.Or(os.Getenv("ADDR"), "localhost:8080")
	listener, err := listen(addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	ownURL := localURL(addr, listener)

	var cfg config
	if withFake {
		fake, err := startFake(ownURL)
		if err != nil {
			return err
		}
		defer fake.Close()
		cfg = fakeConfig(fake, ownURL)
	} else if cfg, err = realConfig(ownURL); err != nil {
		return err
	}
	if cfg.RedisAddr != "" {
		client := redis.NewClient(&redis.Options{Addr: cfg.RedisAddr, ContextTimeoutEnabled: true})
		defer client.Close()
		// Later on an outage stops nothing, so a wrong address would go unnoticed.
		if err := client.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("no Redis at REDIS_ADDR=%s: %w", cfg.RedisAddr, err)
		}
		cfg.Logto.SharedState = redisstate.New(client)
	}

	router, auth, err := newApp(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, auth.Close()) }()

	if withFake {
		announceFake(os.Stdout, cfg)
	} else {
		announce(os.Stdout, cfg)
	}
	return serve(ctx, listener, router)
}

func listen(addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("another program listens on %s already; stop it, or choose another address such as ADDR=localhost:8081", addr)
	}
	return listener, err
}

// localURL is where a browser on this machine finds the application.
func localURL(addr string, listener net.Listener) string {
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return "http://" + net.JoinHostPort(host, port)
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
