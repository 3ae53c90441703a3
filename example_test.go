package logtogin_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// config is that of an application in the Logto Console.
func config() logtogin.Config {
	return logtogin.Config{
		Endpoint:  "https://example.logto.app",
		AppID:     "replace-with-your-app-id",
		AppSecret: "replace-with-your-secret",
		BaseURL:   "http://localhost:8080",
	}
}

// newAuth stands for the Auth of an application.
func newAuth(router *gin.Engine) *logtogin.Auth {
	auth, err := logtogin.Register(router, config())
	if err != nil {
		panic(err)
	}
	return auth
}

// export stands for something that takes long.
func export(context.Context, *logtogin.AccessToken) {}

func quietRouter() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	return gin.New()
}

func ExampleRegister() {
	router := quietRouter()
	auth, err := logtogin.Register(router.Group("/auth"), config())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer auth.Close()
	for _, route := range router.Routes() {
		fmt.Println(route.Method, route.Path)
	}
	// Unordered output:
	// GET /auth/sign-in
	// GET /auth/sign-up
	// GET /auth/callback
	// GET /auth/sign-out
	// POST /auth/sign-out
	// POST /auth/backchannel-logout
}

// A mistake is an error at the start, which says what to do.
func ExampleConfigError() {
	cfg := config()
	cfg.BaseURL = "http://app.example.com"
	_, err := logtogin.New(cfg)
	fmt.Println(err)
	// Output: logtogin: Config.BaseURL is http on the host "app.example.com"; only a loopback host may do without https; give the address that users have in their browser, for example "https://app.example.com"
}

func ExampleAuth_Guard() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	router.GET("/profile", auth.Guard(), func(c *gin.Context) {
		claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
		c.String(http.StatusOK, "Hello, %s", claims.Name)
	})
	router.GET("/payments", auth.Guard(logtogin.MaxAge(5*time.Minute)), func(*gin.Context) {})

	// A page is led to the sign-in and back, a program is told.
	for _, accept := range []string{"text/html", "application/json"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/profile?tab=2", nil)
		r.Header.Set("Accept", accept)
		router.ServeHTTP(w, r)
		path, _, _ := strings.Cut(w.Header().Get("Location"), "&attempt=")
		fmt.Println(w.Code, path)
	}
	// Output:
	// 302 /sign-in?return_to=%2Fprofile%3Ftab%3D2
	// 401
}

func ExampleAuth_Optional() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	router.GET("/", auth.Optional(), func(c *gin.Context) {
		if claims, ok := logtogin.ClaimsFrom(c); ok {
			c.String(http.StatusOK, "Hello, %s", claims.Name)
			return
		}
		c.String(http.StatusOK, "Hello, whoever you are")
	})
	w := httptest.NewRecorder()
	router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Println(w.Body)
	// Output: Hello, whoever you are
}

// An API that only verifies tokens needs nothing but the endpoint.
func ExampleAuth_Bearer() {
	logto, err := logtotest.Start() // in the place of a real one
	if err != nil {
		fmt.Println(err)
		return
	}
	defer logto.Close()
	const api = "https://orders.example.com/"
	auth, err := logtogin.New(logtogin.Config{Endpoint: logto.Endpoint()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer auth.Close()
	router := quietRouter()
	router.GET("/orders", auth.Bearer(api, logtogin.Scope("read:orders")), func(c *gin.Context) {
		claims := c.MustGet(logtogin.AccessTokenClaimsKey).(*logtogin.AccessTokenClaims)
		c.String(http.StatusOK, "orders of %s", claims.Subject)
	})

	alice := logtotest.User{ID: "alice"}
	for _, token := range []string{"", logto.AccessToken(alice, api), logto.AccessToken(alice, api, "read:orders")} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/orders", nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		router.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	}
	// Output:
	// 401 Bearer
	// 403 Bearer error="insufficient_scope", scope="read:orders"
	// 200
}

func ExampleAuth_BearerOrganization() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	team := logtogin.FromParam("team")
	router.POST("/teams/:team/invitations", auth.BearerOrganization(team, logtogin.Scope("invite")), func(c *gin.Context) {
		c.String(http.StatusOK, "invited to %s", c.GetString(logtogin.OrganizationKey))
	})
}

// A sign-in can be started anywhere, not only by the route.
func ExampleAuth_SignIn() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	router.POST("/checkout", func(c *gin.Context) {
		if !auth.IsAuthenticated(c) {
			auth.SignIn(c, logtogin.SignInOptions{FirstScreen: logtogin.FirstScreenRegister, ReturnTo: "/checkout"})
			return
		}
		c.String(http.StatusOK, "thank you")
	})
}

// A callback route of the application's own.
func ExampleAuth_HandleCallback() {
	router := quietRouter()
	cfg := config()
	cfg.Paths.Callback = "-"
	cfg.SignInDefaults.RedirectURI = "/welcome"
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer auth.Close()
	router.GET("/welcome", func(c *gin.Context) {
		result, err := auth.HandleCallback(c)
		if err != nil {
			c.String(logtogin.StatusCode(err), "That did not work.")
			return
		}
		c.Redirect(http.StatusFound, result.ReturnTo)
	})
}

func ExampleAuth_AccessToken() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	router.GET("/tokens", auth.Guard(), func(c *gin.Context) {
		token, err := auth.AccessToken(c, logtogin.Resource("https://orders.example.com/"), logtogin.Organization("acme"))
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		c.JSON(http.StatusOK, token.Scopes)
	})
}

func ExampleAuth_HTTPClient() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	router.GET("/orders", auth.Guard(), func(c *gin.Context) {
		response, err := auth.HTTPClient(c, logtogin.Resource("https://orders.example.com/")).Get("https://orders.example.com/mine")
		if err != nil {
			auth.Refuse(c, err)
			return
		}
		defer response.Body.Close()
		c.DataFromReader(response.StatusCode, response.ContentLength, "application/json", response.Body, nil)
	})
}

// A goroutine that goes on after the response needs a copy, made before it starts: Gin uses the
// *gin.Context again for another request.
func ExampleAuth_AccessToken_goroutine() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	router.POST("/export", auth.Guard(), func(c *gin.Context) {
		kept := c.Copy()
		go func() {
			ctx, cancel := context.WithTimeout(kept, time.Minute)
			defer cancel()
			token, err := auth.AccessToken(ctx, logtogin.Resource("https://orders.example.com/"))
			if err != nil {
				slog.ErrorContext(ctx, "the export has failed", "error", err)
				return
			}
			export(ctx, token)
		}()
		c.Status(http.StatusAccepted)
	})
}

// A stream of server-sent events ends with the session.
func ExampleAuth_IsAuthenticated_serverSentEvents() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	router.GET("/events", auth.Guard(), func(c *gin.Context) {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		c.Stream(func(io.Writer) bool {
			if !auth.IsAuthenticated(c) {
				return false
			}
			c.SSEvent("time", time.Now())
			select {
			case <-tick.C:
				return true
			case <-c.Request.Context().Done():
				return false
			}
		})
	})
}

// A handler of net/http finds the user in the context of its request.
func ExampleClaimsFrom_netHTTP() {
	logto, err := logtotest.Start() // in the place of a real one
	if err != nil {
		fmt.Println(err)
		return
	}
	defer logto.Close()
	router := quietRouter()
	auth, err := logtogin.Register(router, logto.Config("https://app.example.com"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer auth.Close()
	query := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if claims, ok := logtogin.ClaimsFrom(r.Context()); ok {
			fmt.Fprintf(w, "Hello, %s", claims.Username)
			return
		}
		http.Error(w, "Sign in first", http.StatusUnauthorized)
	})
	router.GET("/query", auth.Optional(), gin.WrapH(query))
	w := httptest.NewRecorder()
	router.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/query", nil))
	fmt.Println(w.Code, w.Body)
	// Output: 401 Sign in first
}

// "Sign out everywhere".
func ExampleAuth_RevokeUser() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	router.POST("/sign-out-everywhere", auth.Guard(), func(c *gin.Context) {
		claims, _ := logtogin.ClaimsFrom(c)
		if err := auth.RevokeUser(c.Request.Context(), claims.Subject); err != nil {
			// It holds here, and the other instances are told later.
			slog.ErrorContext(c.Request.Context(), "not yet signed out at the other instances", "error", err)
		}
		auth.SignOut(c, logtogin.SignOutOptions{}) // Logto's session, too
	})
}

func ExampleAuth_WebhookHandler() {
	router := quietRouter()
	cfg := config()
	cfg.OnWebhook = func(_ *gin.Context, event *logtogin.WebhookEvent) error {
		if event.Event == "User.Deleted" {
			fmt.Println("forget", event.UserIDs)
		}
		return nil
	}
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer auth.Close()
	router.POST("/webhooks/logto", auth.WebhookHandler("the signing key of the webhook"))
}

func ExampleAuth_Diagnose() {
	router := quietRouter()
	auth := newAuth(router)
	defer auth.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, finding := range auth.Diagnose(ctx).Findings {
		if finding.Severity == logtogin.SeverityError {
			fmt.Println(finding.Check, finding.Detail, finding.Advice)
		}
	}
}
