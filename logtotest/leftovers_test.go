package logtotest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// goroutines are the stacks of all goroutines by their names.
func goroutines() map[string]string {
	all := make([]byte, 1<<20)
	stacks := map[string]string{}
	for stack := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		name, _, _ := strings.Cut(stack, " [")
		stacks[name] = stack
	}
	return stacks
}

// Not parallel: the goroutines of other tests must not come in between.
func TestNoGoroutineIsLeftBehind(t *testing.T) {
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer hook.Close()
	before := goroutines()

	server, err := logtotest.Start()
	if err != nil {
		t.Fatal(err)
	}
	router, auth := newApp(t, server.Config("https://app.example.com"), "/")
	client := server.SignIn(t, router, logtotest.DefaultUser())
	read(t, client, "/profile")

	router.GET("/stream", func(c *gin.Context) { c.Writer.Flush(); <-c.Request.Context().Done() })
	router.GET("/socket", echo)
	for _, path := range []string{"/stream", "/socket"} { // and forget them
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/socket" {
			request.Header = upgrade.Clone()
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
	}
	raw, err := server.DialContext(t.Context(), "tcp", "app.example.com:443")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()

	network := &http.Transport{}
	defer network.CloseIdleConnections()
	read(t, &http.Client{Transport: network}, server.Endpoint()+"/oidc/jwks") // the connection stays
	server.AddWebhook(logtotest.Webhook{URL: hook.URL})
	server.SuspendUser("alice", true)

	server.Misbehave(faults.HugeBody)
	forgotten, err := server.Client().Post(server.Endpoint()+"/oidc/token", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, forgotten.Body, 1); err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	asked := make(chan struct{}, 2)
	server.Intercept(logtotest.UserInfo, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	for _, client := range []*http.Client{server.Client(), {Transport: network}} {
		asking.Go(func() {
			if response, err := client.Get(server.Endpoint() + "/oidc/me"); err == nil {
				_ = response.Body.Close()
			}
		})
		<-asked
	}
	if during := goroutines(); len(during) < len(before)+5 {
		t.Errorf("%d goroutines before and %d meanwhile: this test sees nothing", len(before), len(during))
	}

	server.Close()
	asking.Wait()
	if err := auth.Close(); err != nil {
		t.Error(err)
	}
	// What Close has ended may be on its last instructions.
	var left []string
	for range 5_000 {
		left = nil
		for name, stack := range goroutines() {
			if before[name] == "" {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d are left behind:\n%s", len(left), strings.Join(left, "\n\n"))
}
