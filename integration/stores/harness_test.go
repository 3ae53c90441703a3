// Package stores_test takes sessions through their whole life on every store of
// gin-contrib/sessions, with the servers that the stores are made for.
//
// The stores for PostgreSQL and gorm write to their own fields whenever they
// read a session, which the race detector rightly reports. Their tests are
// built without it only, so run this package both with -race and without.
package stores_test

import (
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/webtest"
	"github.com/logtogin/logtogin/logtotest"
)

func init() { gin.SetMode(gin.ReleaseMode) }

// application is a Gin application that uses the plugin as its users do.
type application struct {
	t     *testing.T
	url   string
	auth  *logtogin.Auth
	logto *logtotest.Server

	mu     sync.Mutex
	errors []error
}

// newApplication starts an application that keeps its sessions in a store, and
// one of its own beside them. change may adjust the configuration.
func newApplication(t *testing.T, logto *logtotest.Server, store ginsessions.Store, change func(*logtogin.Config)) *application {
	t.Helper()
	server, address := webtest.Listen()
	app := &application{t: t, url: address, logto: logto}
	cfg := logtogin.Config{
		Endpoint:  logto.Endpoint(),
		AppID:     logto.AppID(),
		AppSecret: logto.AppSecret(),
		BaseURL:   app.url,
		Store:     store,
		// Few tests are about it, and on a slow machine a call takes its time.
		StoreTimeout: time.Minute,
		OnError:      app.noteError,
		Logger:       slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	router := gin.New()
	router.Use(gin.RecoveryWithWriter(io.Discard, func(c *gin.Context, reason any) {
		t.Errorf("%s panics: %v", c.Request.URL.Path, reason)
		c.AbortWithStatus(http.StatusInternalServerError)
	}))
	var err error
	if app.auth, err = logtogin.Register(router, cfg); err != nil {
		t.Fatal(err)
	}
	router.GET("/", app.auth.Optional(), func(c *gin.Context) { c.String(http.StatusOK, "for "+userOf(c)) })
	router.GET("/profile", app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "profile of "+userOf(c)) })
	router.GET("/user-info", app.auth.Guard(), func(c *gin.Context) {
		if _, err := app.auth.UserInfo(c); err != nil {
			c.String(http.StatusBadGateway, err.Error())
			return
		}
		c.String(http.StatusOK, "user info")
	})
	router.GET("/token", func(c *gin.Context) {
		token, err := app.auth.AccessToken(c)
		if err != nil {
			c.String(logtogin.StatusCode(err), err.Error())
			return
		}
		c.String(http.StatusOK, token.Value)
	})
	if store != nil {
		addCart(router, store)
	}
	webtest.Serve(t, server, router, app.auth)
	return app
}

func userOf(c *gin.Context) string {
	if claims, ok := logtogin.ClaimsFrom(c); ok {
		return claims.Username
	}
	return "a visitor"
}

// addCart adds pages that use a session of the application's own.
func addCart(router *gin.Engine, store ginsessions.Store) {
	cart := router.Group("/cart", ginsessions.Sessions("app", store))
	finish := func(c *gin.Context, session ginsessions.Session) {
		// Without these, some stores do not keep it and no browser sends it.
		session.Options(ginsessions.Options{Path: "/", MaxAge: 3600, HttpOnly: true})
		if err := session.Save(); err != nil {
			c.String(http.StatusBadGateway, err.Error())
			return
		}
		c.String(http.StatusOK, "done")
	}
	cart.GET("", func(c *gin.Context) {
		item, _ := ginsessions.Default(c).Get("item").(string)
		c.String(http.StatusOK, "cart: "+item)
	})
	cart.GET("/add/:item", func(c *gin.Context) {
		session := ginsessions.Default(c)
		session.Set("item", c.Param("item"))
		finish(c, session)
	})
	cart.GET("/clear", func(c *gin.Context) {
		session := ginsessions.Default(c)
		session.Clear()
		finish(c, session)
	})
}

// noteError is an OnError that leaves the answer to the plugin.
func (app *application) noteError(_ *gin.Context, err error) {
	app.mu.Lock()
	defer app.mu.Unlock()
	app.errors = append(app.errors, err)
}

// lastError is what OnError was told last.
func (app *application) lastError() error {
	app.mu.Lock()
	defer app.mu.Unlock()
	if len(app.errors) == 0 {
		return nil
	}
	return app.errors[len(app.errors)-1]
}

type page = webtest.Page

// browser is one whose user signs in to applications of this package.
type browser struct {
	*webtest.Browser
	t *testing.T
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	return &browser{webtest.New(t), t}
}

// never follows a redirect.
func never(*url.URL) bool { return true }

// replay asks for a page with nothing but these cookies and follows no redirect.
func replay(t *testing.T, app *application, path string, cookies []*http.Cookie) page {
	t.Helper()
	b := webtest.New(t)
	b.Client.Transport, b.Stops = &http.Transport{DisableKeepAlives: true}, never
	shown, err := b.Try(http.MethodGet, app.url+path, nil, cookies...)
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

func (b *browser) signIn(address string, user logtotest.User) page {
	b.t.Helper()
	return b.SignIn(address, user.Username, user.Password)
}

// mustSignIn signs in and checks that the user arrives at the guarded page,
// without going round again because the session that was made is not there.
func (b *browser) mustSignIn(app *application, user logtotest.User) {
	b.t.Helper()
	before := app.logto.Calls().Token
	defer func() {
		b.t.Helper()
		if redeemed := app.logto.Calls().Token - before; redeemed != 1 {
			b.t.Errorf("the sign-in redeemed %d codes", redeemed)
		}
	}()
	if shown := b.signIn(app.url+"/sign-in?return_to=/profile", user); shown.Body != "profile of "+user.Username {
		b.t.Fatalf("the sign-in ends at %s: %d %s (%v)", shown.URL, shown.Status, shown.Body, app.lastError())
	}
}

// signInUntilCallback signs in and stops before the callback, whose address it
// returns.
func (b *browser) signInUntilCallback(app *application, path string, user logtotest.User) string {
	b.t.Helper()
	b.Stops = func(u *url.URL) bool { return strings.HasPrefix(u.String(), app.url+"/callback") }
	defer func() { b.Stops = nil }()
	shown := b.signIn(app.url+path, user)
	callback := shown.Header.Get("Location")
	if !strings.HasPrefix(callback, app.url+"/callback?") {
		b.t.Fatalf("no callback: %d %q %s", shown.Status, callback, shown.Body)
	}
	return callback
}

// forgetLogto deletes the cookies of Logto, so that it asks for the password.
func (b *browser) forgetLogto(app *application) {
	b.t.Helper()
	b.setCookies(app, func(cookie *http.Cookie) *http.Cookie {
		if strings.HasPrefix(cookie.Name, "logtogin_") {
			return nil
		}
		return &http.Cookie{Name: cookie.Name, Path: "/", MaxAge: -1}
	}, b.cookies(app))
}

// plant puts cookies into the browser.
func (b *browser) plant(app *application, cookies []*http.Cookie) {
	b.t.Helper()
	b.setCookies(app, func(cookie *http.Cookie) *http.Cookie {
		return &http.Cookie{Name: cookie.Name, Value: cookie.Value, Path: "/"}
	}, cookies)
}

func (b *browser) setCookies(app *application, change func(*http.Cookie) *http.Cookie, cookies []*http.Cookie) {
	b.t.Helper()
	var changed []*http.Cookie
	for _, cookie := range cookies {
		if cookie := change(cookie); cookie != nil {
			changed = append(changed, cookie)
		}
	}
	b.SetCookies(app.url, changed)
}

// cookies are those that the browser sends to an application.
func (b *browser) cookies(app *application) []*http.Cookie {
	b.t.Helper()
	return b.Cookies(app.url)
}

var sessionCookieName = regexp.MustCompile(`^logtogin_[0-9a-f]{8}(_[0-9]+)?$`)

// session are the cookies of the session among them: one with a server-side
// store, one or more where the session itself lies in cookies.
func (b *browser) session(app *application) []*http.Cookie {
	b.t.Helper()
	return sessionCookies(b.cookies(app))
}

func sessionCookies(cookies []*http.Cookie) (found []*http.Cookie) {
	for _, cookie := range cookies {
		if sessionCookieName.MatchString(cookie.Name) {
			found = append(found, cookie)
		}
	}
	return found
}

var attemptCookieName = regexp.MustCompile(`^logtogin_[0-9a-f]{8}_[A-Za-z0-9_-]{12}$`)

// besidesAttempts are the cookies that are not of an attempt to sign in. A guard that sends a visitor to
// the sign-in sets one of an attempt; any other would touch a session.
func besidesAttempts(cookies []*http.Cookie) []*http.Cookie {
	return slices.DeleteFunc(slices.Clone(cookies), func(cookie *http.Cookie) bool {
		return attemptCookieName.MatchString(cookie.Name)
	})
}

// user is who a request with these cookies comes from.
func user(t *testing.T, app *application, cookies []*http.Cookie) string {
	t.Helper()
	return strings.TrimPrefix(replay(t, app, "/", cookies).Body, "for ")
}

// randomText does not get smaller by any encoding.
func randomText(length int) string {
	var text strings.Builder
	for text.Len() < length {
		text.WriteString(rand.Text())
	}
	return text.String()[:length]
}
