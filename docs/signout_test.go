package docs_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// The code of sign-out.md.

func addEverywhere(router *gin.Engine, auth *logtogin.Auth) {
	router.POST("/sign-out-everywhere", auth.Guard(), func(c *gin.Context) {
		claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
		if err := auth.RevokeUser(c.Request.Context(), claims.Subject); err != nil {
			slog.ErrorContext(c.Request.Context(), "signed out everywhere, but not yet at the other instances", "error", err)
		}
		auth.SignOut(c, logtogin.SignOutOptions{}) // Logto's session, too
	})
}

func addOtherDevices(router *gin.Engine, auth *logtogin.Auth) {
	router.POST("/sign-out-other-devices", auth.Guard(), func(c *gin.Context) {
		if err := auth.RevokeOtherSessions(c.Request.Context()); err != nil && !errors.Is(err, logtogin.ErrStoreUnavailable) {
			auth.Refuse(c, err)
			return
		}
		c.Redirect(http.StatusSeeOther, "/profile")
	})
}

func TestSignOutOfOtherDevices(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, auth := build(t, logto.Config(baseURL), addOtherDevices, addProtectedProfile)
	here, elsewhere := logto.SignIn(t, router, alice()), logto.SignIn(t, router, alice())
	if answer := ask(t, stay(here), http.MethodPost, "/sign-out-other-devices", nil); answer.status != http.StatusSeeOther {
		t.Fatal(answer)
	}
	if answer := ask(t, here, http.MethodGet, "/profile", nil); answer.status != http.StatusOK {
		t.Errorf("here: %v", answer)
	}
	if answer := ask(t, elsewhere, http.MethodGet, "/profile", nil); answer.status != http.StatusUnauthorized {
		t.Errorf("elsewhere: %v", answer)
	}
	if err := auth.RevokeOtherSessions(t.Context()); !errors.Is(err, logtogin.ErrNoRequest) {
		t.Errorf("without a request: %v", err)
	}
}

// brokenState is a shared state that is down.
type brokenState struct{}

var errBroken = errors.New("down")

func (brokenState) Get(context.Context, string) (string, bool, error)        { return "", false, errBroken }
func (brokenState) Set(context.Context, string, string, time.Duration) error { return errBroken }
func (brokenState) SetIfAbsent(context.Context, string, string, time.Duration) (bool, error) {
	return false, errBroken
}
func (brokenState) Delete(context.Context, string) error { return errBroken }
func (brokenState) Append(context.Context, string, string, time.Duration) (time.Time, error) {
	return time.Time{}, errBroken
}
func (brokenState) Read(context.Context, string, string, int) ([]string, string, error) {
	return nil, "", errBroken
}

// While the other instances cannot be told, it holds here, and the browser goes on to Logto.
func TestSignOutEverywhereWhileTheSharedStateIsDown(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	cfg := logto.Config(baseURL)
	cfg.SharedState = brokenState{}
	router, auth := build(t, cfg, addEverywhere, addProtectedProfile)
	here, elsewhere := logto.SignIn(t, router, alice()), logto.SignIn(t, router, alice())
	answer := ask(t, stay(here), http.MethodPost, "/sign-out-everywhere", http.Header{"Accept": {"text/html"}})
	if answer.status != http.StatusSeeOther || !strings.HasPrefix(answer.header.Get("Location"), logto.Endpoint()+"/oidc/session/end?") {
		t.Error(answer)
	}
	for _, client := range []*http.Client{here, elsewhere} {
		if answer := ask(t, client, http.MethodGet, "/profile", nil); answer.status != http.StatusUnauthorized {
			t.Error(answer)
		}
	}
	if err := auth.RevokeUser(t.Context(), "somebody"); !errors.Is(err, logtogin.ErrStoreUnavailable) {
		t.Error(err)
	}
}

func addWebhooks(router *gin.Engine, auth *logtogin.Auth, signingKey string) {
	router.POST("/webhooks/logto", auth.WebhookHandler(signingKey))
}

func heedingDeletions(cfg logtogin.Config, accounts *accountStore) logtogin.Config {
	hooks := logtogin.Config{
		OnWebhook: func(c *gin.Context, event *logtogin.WebhookEvent) error {
			if event.Event == "User.Deleted" {
				return accounts.Delete(c, event.UserIDs...) // an error is answered 500, and logged
			}
			return nil
		},
	}
	cfg.OnWebhook = hooks.OnWebhook
	return cfg
}

// accountStore is the application's own.
type accountStore struct{ deleted []string }

func (s *accountStore) Delete(_ context.Context, ids ...string) error {
	s.deleted = append(s.deleted, ids...)
	return nil
}

func TestSignOutEverywhere(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, _ := build(t, logto.Config(baseURL), addEverywhere, addProtectedProfile)
	here, elsewhere, other := logto.SignIn(t, router, alice()), logto.SignIn(t, router, alice()), logto.SignIn(t, router, logtotest.User{Username: "bob"})
	answer := ask(t, stay(here), http.MethodPost, "/sign-out-everywhere", http.Header{"Accept": {"text/html"}})
	if answer.status != http.StatusSeeOther || !strings.HasPrefix(answer.header.Get("Location"), logto.Endpoint()+"/oidc/session/end?") {
		t.Error(answer)
	}
	for client, want := range map[*http.Client]int{here: 401, elsewhere: 401, other: 200} {
		if answer := ask(t, client, http.MethodGet, "/profile", nil); answer.status != want {
			t.Error(answer)
		}
	}
}

func addProtectedProfile(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/profile", auth.Guard(), func(c *gin.Context) { c.JSON(http.StatusOK, c.MustGet(logtogin.ClaimsKey)) })
}

func TestSignOutByWebhooks(t *testing.T) {
	t.Parallel()
	const signingKey = "the signing key of the webhook"
	logto := logtotest.NewServer(t)
	logto.AddWebhook(logtotest.Webhook{URL: baseURL + "/webhooks/logto", SigningKey: signingKey})
	accounts := &accountStore{}
	router, auth := build(t, heedingDeletions(logto.Config(baseURL), accounts), addProtectedProfile)
	addWebhooks(router, auth, signingKey)
	bob := logto.AddUser(logtotest.User{Username: "bob"})
	suspended, deleted := logto.SignIn(t, router, alice()), logto.SignIn(t, router, bob)
	logto.Advance(time.Second)
	logto.SuspendUser("alice", true)
	logto.DeleteUser("bob")
	for _, client := range []*http.Client{suspended, deleted} {
		if answer := ask(t, client, http.MethodGet, "/profile", nil); answer.status != http.StatusUnauthorized {
			t.Error(answer)
		}
	}
	if len(accounts.deleted) != 1 || accounts.deleted[0] != bob.ID {
		t.Error(accounts.deleted)
	}
}

func TestSignOutElsewhereEndsTheSessionOfTheBrowser(t *testing.T) {
	t.Parallel()
	for isSessionRequired, want := range map[bool]int{true: 200, false: 401} {
		logto := logtotest.NewServer(t)
		app := logto.Application()
		app.BackchannelLogoutURI, app.BackchannelLogoutSessionRequired = baseURL+"/backchannel-logout", isSessionRequired
		logto.AddApplication(app)
		router, _ := build(t, logto.Config(baseURL), addProtectedProfile)
		here, elsewhere := logto.SignIn(t, router, alice()), logto.SignIn(t, router, alice())
		logto.Advance(time.Second)
		get(t, here, logto.Issuer()+"/session/end?client_id="+app.ID) // whose form is submitted by itself
		if answer := ask(t, here, http.MethodGet, "/profile", nil); answer.status != http.StatusUnauthorized {
			t.Errorf("session required %v: %v", isSessionRequired, answer)
		}
		if answer := ask(t, elsewhere, http.MethodGet, "/profile", nil); answer.status != want {
			t.Errorf("session required %v: %v", isSessionRequired, answer)
		}
	}
}

func TestSignOutByAScript(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, _ := build(t, logto.Config(baseURL), addProtectedProfile)
	client := logto.SignIn(t, router, alice())
	fetch := http.Header{"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Site": {"same-origin"}}
	if answer := ask(t, client, http.MethodGet, "/sign-out", fetch); answer.status != http.StatusForbidden {
		t.Error(answer)
	}
	if answer := ask(t, client, http.MethodGet, "/profile", fetch); answer.status != http.StatusOK {
		t.Error(answer)
	}
	answer := ask(t, client, http.MethodPost, "/sign-out", fetch)
	var told struct{ Location string }
	if err := json.Unmarshal([]byte(answer.body), &told); err != nil || answer.status != http.StatusOK {
		t.Fatal(answer, err)
	}
	if answer := ask(t, client, http.MethodGet, "/profile", fetch); answer.status != http.StatusUnauthorized {
		t.Error(answer)
	}
	get(t, client, told.Location) // whose form is submitted by itself
	if _, err := client.Get("/sign-in"); !errors.Is(err, logtotest.ErrSignInPage) {
		t.Errorf("Logto's session goes on: %v", err)
	}
}
