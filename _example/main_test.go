package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWantsFake(t *testing.T) {
	tests := map[string]struct {
		environ []string
		want    bool
		missing []string
	}{
		"nothing":             {environ: []string{"HOME=/", "ADDR=:80", "MY_LOGTO_ENDPOINT=x"}, want: true},
		"all":                 {environ: []string{"LOGTO_ENDPOINT=a", "LOGTO_APP_ID=b", "LOGTO_APP_SECRET=c=d"}},
		"all and more":        {environ: []string{"LOGTO_ENDPOINT=a", "LOGTO_APP_ID=b", "LOGTO_APP_SECRET=c", "LOGTO_BASE_URL=d"}},
		"one lacks":           {environ: []string{"LOGTO_ENDPOINT=a", "LOGTO_APP_ID=b"}, missing: []string{"LOGTO_APP_SECRET"}},
		"two lack":            {environ: []string{"LOGTO_APP_ID=b"}, missing: []string{"LOGTO_ENDPOINT", "LOGTO_APP_SECRET"}},
		"one is empty":        {environ: []string{"LOGTO_ENDPOINT=a", "LOGTO_APP_ID=", "LOGTO_APP_SECRET=c"}, missing: []string{"LOGTO_APP_ID"}},
		"all are empty":       {environ: []string{"LOGTO_ENDPOINT=", "LOGTO_APP_ID=", "LOGTO_APP_SECRET="}, missing: []string{"LOGTO_ENDPOINT", "LOGTO_APP_ID", "LOGTO_APP_SECRET"}},
		"only others are set": {environ: []string{"LOGTO_BASE_URL=d"}, missing: []string{"LOGTO_ENDPOINT", "LOGTO_APP_ID", "LOGTO_APP_SECRET"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := wantsFake(test.environ)
			if got != test.want || (err != nil) != (test.missing != nil) {
				t.Fatalf("%v, %v", got, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), strings.Join(test.missing, ", ")+" missing;") {
				t.Errorf("%q does not name %v", err, test.missing)
			}
		})
	}
}

func TestRealConfig(t *testing.T) {
	for _, name := range []string{"LOGTO_BASE_URL", "LOGTO_AFTER_SIGN_OUT", "LOGTO_SCOPES", "LOGTO_RESOURCES", "LOGTO_WEBHOOK_SIGNING_KEY", "REDIS_ADDR"} {
		t.Setenv(name, "")
	}
	t.Setenv("LOGTO_ENDPOINT", "https://example.logto.app")
	t.Setenv("LOGTO_APP_ID", "app")
	t.Setenv("LOGTO_APP_SECRET", "secret")

	cfg, err := realConfig("http://localhost:8080")
	if err != nil {
		t.Fatal(err)
	}
	logto := cfg.Logto
	if logto.Endpoint != "https://example.logto.app" || logto.AppID != "app" || logto.AppSecret != "secret" ||
		logto.BaseURL != "http://localhost:8080" || logto.AfterSignOut != "" || cfg.OrdersAPI != "" || cfg.WebhookSigningKey != "" {
		t.Errorf("%+v", cfg)
	}

	t.Setenv("LOGTO_BASE_URL", "https://app.example.com")
	t.Setenv("LOGTO_AFTER_SIGN_OUT", "/bye")
	t.Setenv("LOGTO_SCOPES", "phone")
	t.Setenv("LOGTO_RESOURCES", "https://api.example.com/ https://other.example.com/")
	if cfg, err = realConfig("http://localhost:8080"); err != nil {
		t.Fatal(err)
	}
	if cfg.Logto.BaseURL != "https://app.example.com" || cfg.Logto.AfterSignOut != "/bye" || cfg.OwnURL != "http://localhost:8080" ||
		cfg.OrdersAPI != "https://api.example.com/" || len(cfg.Logto.Scopes) != len(scopes)+1 {
		t.Errorf("%+v", cfg)
	}

	t.Setenv("LOGTO_CLOCK_SKEW", "soon")
	if _, err := realConfig("http://localhost:8080"); err == nil {
		t.Error("a clock skew that is no duration was accepted")
	}
}

func TestAnnounce(t *testing.T) {
	var out strings.Builder
	cfg := config{RedisAddr: "localhost:6379", OwnURL: "http://localhost:8080"}
	cfg.Logto.Endpoint, cfg.Logto.BaseURL = "http://127.0.0.1:3001", "http://localhost:8080"
	announceFake(&out, cfg)
	for _, want := range []string{"http://127.0.0.1:3001", "alice", "bob", "nightly-job", "ADDR=localhost:8081 ", "LOGTO_BASE_URL=http://localhost:8080 "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, &out)
		}
	}

	out.Reset()
	announce(&out, cfg)
	if said := out.String(); !strings.Contains(said, "The fake Logto of the first instance knows these addresses.") {
		t.Errorf("for a second instance:\n%s", said)
	}

	out.Reset()
	cfg.RedisAddr = ""
	cfg.Logto.BaseURL, cfg.Logto.AfterSignOut, cfg.WebhookSigningKey = "https://app.example.com/", "/bye", "key"
	announce(&out, cfg)
	for _, want := range []string{"https://app.example.com/callback", "https://app.example.com/bye", "http://localhost:8080",
		"https://app.example.com/backchannel-logout", "https://app.example.com/webhooks/logto", "\nRegister these addresses"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, &out)
		}
	}
}

// TestSecondInstance starts one from what is printed for it.
func TestSecondInstance(t *testing.T) {
	var first config
	base, _ := startApp(t, func(cfg *config) { cfg.RedisAddr = "localhost:6379"; first = *cfg })
	var addr string
	for _, variable := range secondInstance(first) {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
		if name == "ADDR" {
			addr = value
		}
	}
	if addr == "" || addr == strings.TrimPrefix(base, "http://") {
		t.Errorf("the second address is %q", addr)
	}
	server := httptest.NewUnstartedServer(nil)
	ownURL := "http://" + server.Listener.Addr().String()
	second, err := realConfig(ownURL)
	if err != nil {
		t.Fatal(err)
	}
	serveApp(t, server, second)

	b := newBrowser(t)
	// The callback is the first one's; to a browser, both are one host.
	b.signIn(ownURL+"/profile").mustBe(t, http.StatusOK, base+"/profile")
	b.get(ownURL+"/admin").mustBe(t, http.StatusOK, ownURL+"/admin", "Redis at localhost:6379", ownURL, base)
	calls := b.get(ownURL + "/calls")
	b.submit(calls, "/calls", map[string]string{"path": "/api/orders"}).mustBe(t, http.StatusOK, ownURL+"/calls", "200 OK")
	b.submit(b.submit(calls, "/sign-out", nil), "", nil).mustBe(t, http.StatusOK, base+"/", "You are not signed in")
}

func TestListen(t *testing.T) {
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"127.0.0.1:0": "http://" + addr,
		"localhost:0": "http://localhost:" + port,
		":0":          "http://localhost:" + port,
		"0.0.0.0:0":   "http://localhost:" + port,
		"[::]:0":      "http://localhost:" + port,
		"[::1]:0":     "http://[::1]:" + port,
	} {
		if got := localURL(given, listener); got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
	if _, err := listen(addr); err == nil || !strings.Contains(err.Error(), "another program listens on "+addr) {
		t.Errorf("for a port that is taken: %v", err)
	}
}

func TestServeShutsDown(t *testing.T) {
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		cancel() // A request under way is still answered.
		w.WriteHeader(http.StatusNoContent)
	})
	go func() { ended <- serve(ctx, listener, handler) }()
	if answer := newBrowser(t).get("http://" + listener.Addr().String()); answer.status != http.StatusNoContent {
		t.Errorf("status %d", answer.status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestConfigErrors: what New refuses must come out of newApp.
func TestConfigErrors(t *testing.T) {
	if _, _, err := newApp(config{}); err == nil {
		t.Error("an empty configuration was accepted")
	}
}
