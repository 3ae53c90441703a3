package docs_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// The tests that testing.md shows, and what they test.

const webhookKey = "the signing key of the webhook"

func newShop(cfg logtogin.Config) *gin.Engine {
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		panic(err)
	}
	fine := func(c *gin.Context) { c.String(http.StatusOK, "fine") }
	router.GET("/account", auth.Guard(), fine)
	if len(cfg.Scopes) > 0 {
		router.GET("/teams/:team", auth.Guard(logtogin.InOrganization(logtogin.FromParam("team"))), fine)
	}
	router.GET("/orders", auth.Bearer("https://orders.example.com/", logtogin.Scope("read:orders")), fine)
	router.POST("/webhooks/logto", auth.WebhookHandler(webhookKey))
	return router
}

func newNewsroom(cfg logtogin.Config, news <-chan string) *gin.Engine {
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		panic(err)
	}
	router.GET("/news", auth.Guard(), func(c *gin.Context) {
		c.Header("Content-Type", "text/event-stream")
		c.Writer.Flush()
		c.Stream(func(io.Writer) bool {
			select {
			case what := <-news:
				c.SSEvent("news", what)
				return true
			case <-c.Request.Context().Done():
				return false
			}
		})
	})
	return router
}

func newRequest(t *testing.T, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMembersSeeTheirTeam(t *testing.T) {
	logto := logtotest.NewServer(t)
	logto.AddOrganization(logtotest.Organization{ID: "acme", Name: "Acme"})
	cfg := logto.Config("https://app.example.com")
	cfg.Scopes = []string{"urn:logto:scope:organizations"}
	router := newShop(cfg)
	for _, test := range []struct {
		user logtotest.User
		want int
	}{
		{logtotest.User{Username: "alice", Organizations: map[string][]string{"acme": {"owner"}}}, http.StatusOK},
		{logtotest.User{Username: "bob"}, http.StatusForbidden},
	} {
		response, err := logto.SignIn(t, router, test.user).Get("/teams/acme")
		if err != nil || response.StatusCode != test.want {
			t.Error(test.user.Username, response, err)
		}
	}
}

func TestUsersSeeWhatHappens(t *testing.T) {
	logto := logtotest.NewServer(t)
	news := make(chan string)
	client := logto.SignIn(t, newNewsroom(logto.Config("https://app.example.com"), news), logtotest.DefaultUser())
	request := newRequest(t, "/news")
	request.Header.Set("Accept", "text/event-stream")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() // the handler's context is cancelled
	events := bufio.NewScanner(response.Body)
	for _, what := range []string{"an order", "another order"} {
		news <- what
		for events.Scan() && events.Text() != "data:"+what {
		}
		if events.Text() != "data:"+what {
			t.Fatal(events.Text(), events.Err())
		}
	}
}

func TestOrdersAreForThoseWhoMayReadThem(t *testing.T) {
	logto := logtotest.NewServer(t)
	router := newShop(logto.Config("https://app.example.com"))
	const api = "https://orders.example.com/"
	for token, want := range map[string]int{
		logto.AccessToken(logtotest.User{Username: "alice"}, api, "read:orders"): http.StatusOK,
		logto.AccessToken(logtotest.User{Username: "alice"}, api):                http.StatusForbidden,
		logto.MachineToken("cron", api, "read:orders"):                           http.StatusOK,
		"": http.StatusUnauthorized,
	} {
		request := httptest.NewRequest(http.MethodGet, "/orders", nil)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		answer := httptest.NewRecorder()
		router.ServeHTTP(answer, request)
		if answer.Code != want {
			t.Error(answer.Code, answer.Body, want)
		}
	}
}

func TestSuspendedUsersAreSignedOut(t *testing.T) {
	logto := logtotest.NewServer(t)
	router := newShop(logto.Config("https://app.example.com"))
	client := logto.SignIn(t, router, logtotest.User{Username: "alice"})
	logto.SuspendUser("alice", true)
	logto.Advance(61 * time.Minute) // a session is refreshed once in the life of an ID token
	request := newRequest(t, "/account")
	request.Header.Set("Accept", "application/json") // a browser would be led to the sign-in
	response, err := client.Do(request)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		t.Fatal(response, err)
	}
}

func TestSuspendedUsersAreSignedOutAtOnce(t *testing.T) {
	logto := logtotest.NewServer(t)
	logto.AddWebhook(logtotest.Webhook{URL: "https://app.example.com/webhooks/logto", SigningKey: webhookKey})
	router := newShop(logto.Config("https://app.example.com"))
	client := logto.SignIn(t, router, logtotest.User{Username: "alice"})
	logto.SuspendUser("alice", true)
	request := newRequest(t, "/account")
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		t.Fatal(response, err, logto.Deliveries())
	}
}

func TestTheAccountPageAsksLogtoForNothing(t *testing.T) {
	logto := logtotest.NewServer(t)
	client := logto.SignIn(t, newShop(logto.Config("https://app.example.com")), logtotest.DefaultUser())
	logto.ResetCalls()
	if _, err := client.Get("/account"); err != nil || logto.Calls() != (logtotest.Calls{}) {
		t.Error(err, logto.Record())
	}
}
