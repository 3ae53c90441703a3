package integration_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-contrib/cors"
	"github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/memstore"
	"github.com/gin-contrib/sessions/redis"
	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/webtest"
	"github.com/logtogin/logtogin/logtotest"
)

// Code of the documents that needs more than the root module has. That they show it is
// compared by the test of the README.

func withStore(router *gin.Engine, cookieKey, secret string) (*logtogin.Auth, error) {
	store, err := redis.NewStore(10, "tcp", "localhost:6379", "", "", []byte(cookieKey))
	if err != nil {
		return nil, err
	}
	if redisStore, err := redis.GetRedisStore(store); err == nil {
		redisStore.SetMaxLength(16 << 10)
	}
	return logtogin.Register(router, logtogin.Config{
		Endpoint:  "https://example.logto.app",
		AppID:     "replace-with-your-app-id",
		AppSecret: "replace-with-your-secret",
		BaseURL:   "https://app.example.com",
		Store:     store,
		Secrets:   []string{secret},
	})
}

var _ = withStore // it wants a Redis at the usual port

func limitConnections(db *sql.DB) {
	db.SetMaxOpenConns(20)
	db.SetMaxIdleConns(20)
}

func addCORS(router *gin.Engine, auth *logtogin.Auth) {
	router.Use(cors.New(cors.Config{
		AllowOrigins:  []string{"https://www.example.com"},
		AllowMethods:  []string{"GET", "POST"},
		AllowHeaders:  []string{"Authorization", "Content-Type"},
		ExposeHeaders: []string{"WWW-Authenticate", "Retry-After"},
		MaxAge:        time.Hour,
	}))
	router.GET("/orders", auth.Bearer("https://orders.example.com/"), func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"orders": []string{}})
	})
}

// A browser asks whether it may, and then does.
func TestACORSMiddlewareStandsBeforeTheGuard(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	logto := logtotest.NewServer(t)
	auth, err := logtogin.New(logtogin.Config{Endpoint: logto.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	defer auth.Close()
	router := gin.New()
	addCORS(router, auth)
	ask := func(method string, header http.Header) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(method, "/orders", nil)
		r.Header = header
		router.ServeHTTP(w, r)
		return w
	}
	const origin = "https://www.example.com"
	preflight := ask(http.MethodOptions, http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"authorization"}})
	if preflight.Code != http.StatusNoContent || preflight.Header().Get("Access-Control-Allow-Origin") != origin || !strings.Contains(strings.ToLower(preflight.Header().Get("Access-Control-Allow-Headers")), "authorization") {
		t.Errorf("the preflight: got %d %v, want leave", preflight.Code, preflight.Header())
	}
	token := logto.AccessToken(logtotest.DefaultUser(), "https://orders.example.com/")
	if w := ask(http.MethodGet, http.Header{"Origin": {origin}, "Authorization": {"Bearer " + token}}); w.Code != http.StatusOK || w.Header().Get("Access-Control-Allow-Origin") != origin {
		t.Errorf("with a token: got %d %v, want 200", w.Code, w.Header())
	}
	for what, header := range map[string]http.Header{"without a token": {"Origin": {origin}}, "from another origin": {"Origin": {"https://evil.example"}, "Access-Control-Request-Method": {"GET"}}} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			if w := ask(method, header.Clone()); w.Code < 300 && method == http.MethodGet || strings.Contains(w.Body.String(), "orders") {
				t.Errorf("%s %s: got %d %s", method, what, w.Code, w.Body)
			}
		}
	}
}

var _ = limitConnections // what it is worth is tested with the stores

func withOwnSession(cfg logtogin.Config) logtogin.Config {
	cfg.OnSignedIn = func(c *gin.Context, result *logtogin.SignInResult) error {
		own := sessions.Default(c)
		if own.Get("user") != result.Claims.Subject {
			own.Clear() // nothing of the user before
			own.Set("user", result.Claims.Subject)
			return own.Save()
		}
		return nil
	}
	return cfg
}

// A session of the application's own is cleared for another user, and kept for the same.
func TestASessionOfTheApplicationsOwn(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	logto := logtotest.NewServer(t)
	for _, name := range []string{"alice", "bob"} {
		logto.AddUser(logtotest.User{Username: name, Password: name})
	}
	router := gin.New()
	router.Use(sessions.Sessions("own", memstore.NewStore([]byte("a key of the application's own"))))
	server := httptest.NewServer(router)
	defer server.Close()
	cfg := withOwnSession(logto.Config(server.URL))
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer auth.Close()
	router.GET("/again", func(c *gin.Context) { auth.SignIn(c, logtogin.SignInOptions{Prompt: logtogin.PromptLoginConsent}) })
	router.GET("/", func(c *gin.Context) {
		own := sessions.Default(c)
		visits, _ := own.Get("visits").(int)
		own.Set("visits", visits+1)
		if err := own.Save(); err != nil {
			t.Error(err)
		}
		c.JSON(http.StatusOK, gin.H{"visits": visits})
	})
	b := webtest.New(t)
	for i, step := range []struct {
		user string
		want float64
	}{{"alice", 0}, {"alice", 1}, {"bob", 0}} {
		page := b.SignIn(server.URL+"/again", step.user, step.user)
		if visits := page.Members(t)["visits"]; visits != step.want {
			t.Errorf("sign-in %d, of %s: %v visits", i, step.user, visits)
		}
	}
}

func newChat(cfg logtogin.Config) *gin.Engine {
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		panic(err)
	}
	router.GET("/chat", auth.Guard(), func(c *gin.Context) {
		claims, err := auth.Claims(c)
		if err != nil {
			c.AbortWithStatus(http.StatusInternalServerError)
			return
		}
		conn, err := websocket.Accept(c.Writer, c.Request, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, message, err := conn.Read(c.Request.Context())
			if err != nil {
				return
			}
			if err := conn.Write(c.Request.Context(), kind, fmt.Appendf(nil, "%s says %s", claims.Username, message)); err != nil {
				return
			}
		}
	})
	return router
}

func TestUsersChat(t *testing.T) {
	logto := logtotest.NewServer(t)
	client := logto.SignIn(t, newChat(logto.Config("https://app.example.com")), logtotest.DefaultUser())
	conn, _, err := websocket.Dial(t.Context(), "wss://app.example.com/chat", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, answer, err := conn.Read(t.Context()); err != nil || string(answer) != "alice says hello" {
		t.Error(string(answer), err)
	}
}
