// A small web application with sign-in by Logto:
//
//	go run ./_example
//
// It starts a fake Logto beside it. To use a real one, set LOGTO_ENDPOINT,
// LOGTO_APP_ID and LOGTO_APP_SECRET, and any other variable that
// logtogin.ConfigFromEnv reads. ADDR is the address to listen on, by default
// localhost:8080.
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
	"strings"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
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

	var cfg logtogin.Config
	if withFake {
		fake, err := logtotest.Start(logtotest.DefaultUser())
		if err != nil {
			return err
		}
		defer fake.Close()
		cfg = fakeConfig(fake, localURL(addr, listener))
	} else if cfg, err = realConfig(localURL(addr, listener)); err != nil {
		return err
	}

	router, auth, err := newApp(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, auth.Close()) }()

	announce(cfg, withFake)
	return serve(ctx, listener, router)
}

// wantsFake reports whether to run with a fake Logto: only if no variable
// speaks of a real one. A variable that is set but empty does, so that a
// deployment whose secrets got lost never runs with a well-known password.
func wantsFake(environ []string) (bool, error) {
	logto := map[string]string{}
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "LOGTO_") {
			logto[name] = value
		}
	}
	if len(logto) == 0 {
		return true, nil
	}
	var missing []string
	for _, name := range []string{"LOGTO_ENDPOINT", "LOGTO_APP_ID", "LOGTO_APP_SECRET"} {
		if logto[name] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return false, fmt.Errorf("%s missing; set LOGTO_ENDPOINT, LOGTO_APP_ID and LOGTO_APP_SECRET to use a real Logto, or no LOGTO_ variable at all to use a fake one", strings.Join(missing, ", "))
	}
	return false, nil
}

func realConfig(baseURL string) (logtogin.Config, error) {
	cfg, err := logtogin.ConfigFromEnv()
	cfg.BaseURL = cmp.Or(cfg.BaseURL, baseURL)
	return cfg, err
}

func fakeConfig(fake *logtotest.Server, baseURL string) logtogin.Config {
	fake.RegisterPostLogoutRedirectURIs(baseURL + "/")
	return logtogin.Config{
		Endpoint:     fake.Endpoint(),
		AppID:        fake.AppID(),
		AppSecret:    fake.AppSecret(),
		BaseURL:      baseURL,
		Scopes:       []string{"email"},
		AfterSignOut: "/",
		// Each fake is another application with cookies of its own, which
		// would pile up in the browser.
		SessionLifetime: time.Hour,
	}
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

func announce(cfg logtogin.Config, withFake bool) {
	base := strings.TrimRight(cfg.BaseURL, "/")
	if withFake {
		user := logtotest.DefaultUser()
		fmt.Printf("No LOGTO_ variable is set: using a fake Logto at %s\n\n", cfg.Endpoint)
		fmt.Printf("  Open       %s\n  User name  %s\n  Password   %s\n\n", base, user.Username, user.Password)
		return
	}
	fmt.Printf("Using the Logto at %s\n\n", cfg.Endpoint)
	fmt.Printf("  Open                        %s\n", base)
	fmt.Printf("  Redirect URI                %s/callback\n", base)
	if after := cfg.AfterSignOut; after != "" {
		if strings.HasPrefix(after, "/") {
			after = base + after
		}
		fmt.Printf("  Post sign-out redirect URI  %s\n", after)
	}
	fmt.Print("\nRegister the redirect URIs in the Logto Console.\n\n")
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
