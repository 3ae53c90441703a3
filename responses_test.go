package logtogin_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// waysToAnswer are how handlers send a response. None has a say about cookies.
var waysToAnswer = map[string]gin.HandlerFunc{
	"text":                 func(c *gin.Context) { c.String(http.StatusOK, "done") },
	"JSON":                 func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"done": true}) },
	"a status alone":       func(c *gin.Context) { c.Status(http.StatusAccepted) },
	"nothing":              func(*gin.Context) {},
	"204":                  func(c *gin.Context) { c.Status(http.StatusNoContent) },
	"304":                  func(c *gin.Context) { c.Status(http.StatusNotModified) },
	"a redirect":           func(c *gin.Context) { c.Redirect(http.StatusFound, "/elsewhere") },
	"an abort":             func(c *gin.Context) { c.AbortWithStatus(http.StatusTeapot) },
	"an error of net/http": func(c *gin.Context) { http.Error(c.Writer, "no", http.StatusInternalServerError) },
	"404 of net/http":      func(c *gin.Context) { http.NotFound(c.Writer, c.Request) },
	"404 of a file":        func(c *gin.Context) { c.File("no such file") },
	"404 of a file server": gin.WrapH(http.FileServer(http.Dir("testdata/none"))),
	"416 of net/http":      serveRange,
	"public": func(c *gin.Context) {
		c.Header("Cache-Control", "public, max-age=3600")
		c.String(http.StatusOK, "done")
	},
	"s-maxage and Vary":     answerWithVary,
	"a flush at first":      func(c *gin.Context) { c.Writer.Flush(); c.String(http.StatusOK, "done") },
	"server-sent events":    func(c *gin.Context) { c.SSEvent("message", "done"); c.Writer.Flush() },
	"a ResponseController":  func(c *gin.Context) { _ = http.NewResponseController(c.Writer).Flush() },
	"io.Copy":               func(c *gin.Context) { _, _ = io.Copy(c.Writer, strings.NewReader("done")) },
	"WriteString":           func(c *gin.Context) { _, _ = io.WriteString(c.Writer, "done") },
	"a panic":               func(*gin.Context) { panic("the handler fails") },
	"a panic after writing": func(c *gin.Context) { c.Writer.WriteHeaderNow(); panic("the handler fails") },
	"a wrapped handler":     gin.WrapF(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }),
	"a page that Gin begins anew": func(c *gin.Context) {
		c.Request.URL.Path = "/anew"
		c.MustGet("engine").(*gin.Engine).HandleContext(c)
	},
	"an error that is handed on":   func(c *gin.Context) { _ = c.Error(errors.New("no")) },
	"a panic with ErrAbortHandler": func(*gin.Context) { panic(http.ErrAbortHandler) },
	"a status 103 first": func(c *gin.Context) {
		c.Writer.WriteHeader(http.StatusEarlyHints)
		c.Writer.WriteHeaderNow()
		c.String(http.StatusOK, "done")
	},
	"rules for other caches": func(c *gin.Context) {
		c.Header("CDN-Cache-Control", "max-age=3600")
		c.Header("Surrogate-Control", "max-age=3600")
		c.Writer.Header()["cache-control"] = []string{"public, max-age=3600"}
		c.String(http.StatusOK, "done")
	},
	"early hints first":             answerWithEarlyHints,
	"a time limit behind the guard": answerBesideTheHandler,
	"a hijacked connection":         answerByHijacking,
}

// withoutBody are the ways that Gin itself ends: it sends the header past all writers of
// middlewares.
var withoutBody = []string{
	"a status alone", "nothing", "204", "304", "an error that is handed on", "a page that Gin begins anew",
	"a panic with ErrAbortHandler", "a wrapped handler", "a status 103 first",
}

func answerWithEarlyHints(c *gin.Context) {
	var writer http.ResponseWriter = c.Writer
	for { // Gin's own writer keeps a status to itself
		wrapper, ok := writer.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		writer = wrapper.Unwrap()
	}
	writer.Header().Set("Link", "</style.css>; rel=preload")
	writer.WriteHeader(http.StatusEarlyHints)
	c.String(http.StatusOK, "done")
}

func answerBesideTheHandler(c *gin.Context) {
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		c.Writer.WriteHeader(http.StatusGatewayTimeout)
		c.Writer.WriteHeaderNow()
	}()
	<-answered
}

func answerByHijacking(c *gin.Context) {
	conn, buffered, err := c.Writer.Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n")
	_ = c.Writer.Header().Write(buffered)
	_, _ = buffered.WriteString("\r\n")
	_ = buffered.Flush()
}

func serveRange(c *gin.Context) {
	c.Request.Header.Set("Range", "bytes=100-")
	http.ServeContent(c.Writer, c.Request, "a.txt", time.Time{}, strings.NewReader("short"))
}

func answerWithVary(c *gin.Context) {
	c.Header("Cache-Control", "s-maxage=60")
	c.Header("Vary", "Accept-Encoding")
	c.String(http.StatusOK, "done")
}

// changesOfASession are what happens while a handler runs, and whether the session of the
// request has ended by that.
var changesOfASession = map[string]struct {
	ends   bool
	change func(t *testing.T, app *application, b *browser)
}{
	"nothing happens": {false, func(*testing.T, *application, *browser) {}},
	"the user signs out": {true, func(_ *testing.T, app *application, b *browser) {
		b.get(app.url + "/sign-out")
	}},
	"the user signs out on a copy of the cookie": {true, func(t *testing.T, app *application, b *browser) {
		send(t, http.MethodGet, app.url+"/sign-out", b.ours(app), nil)
	}},
	"the user is revoked": {true, func(t *testing.T, app *application, _ *browser) {
		if err := app.auth.RevokeUser(t.Context(), aliceID); err != nil {
			t.Error(err)
		}
	}},
	"somebody else signs in": {true, func(t *testing.T, app *application, b *browser) {
		b.get(app.url + "/sign-out")
		if page := b.signIn(app.url+"/profile", bob()); page.status != http.StatusOK {
			t.Errorf("bob: got %d", page.status)
		}
	}},
	"the user signs out and in again": {true, func(_ *testing.T, app *application, b *browser) {
		b.get(app.url + "/sign-out")
		b.signIn(app.url+"/profile", alice())
	}},
	"the user signs in anew": {true, func(t *testing.T, app *application, b *browser) {
		if page := b.signIn(app.url+"/sign-in", alice()); page.status != http.StatusOK {
			t.Errorf("alice again: got %d", page.status)
		}
	}},
}

// A response that is sent after its session has ended must not bring it back to the browser; and
// whatever handlers and file servers say, no cache may store what a guard has let through.
func TestALateResponseCarriesNoCookieOfASessionThatHasEnded(t *testing.T) {
	t.Parallel()
	guards := map[string]func(*logtogin.Auth) []gin.HandlerFunc{
		"Guard":    func(a *logtogin.Auth) []gin.HandlerFunc { return []gin.HandlerFunc{a.Guard()} },
		"Optional": func(a *logtogin.Auth) []gin.HandlerFunc { return []gin.HandlerFunc{a.Optional()} },
		"two guards": func(a *logtogin.Auth) []gin.HandlerFunc {
			return []gin.HandlerFunc{a.Optional(), gin.CustomRecoveryWithWriter(io.Discard, failed), a.Guard()}
		},
		"a middleware that asks": func(a *logtogin.Auth) []gin.HandlerFunc {
			return []gin.HandlerFunc{func(c *gin.Context) { a.IsAuthenticated(c) }, a.Guard()}
		},
		"no guard": func(a *logtogin.Auth) []gin.HandlerFunc {
			return []gin.HandlerFunc{func(c *gin.Context) { a.IsAuthenticated(c) }}
		},
	}
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		logto.AddUser(bob())
		now, change := withClock(logto, func(cfg *logtogin.Config) { cfg.IdleTimeout = 10 * time.Minute })
		app := start(change)
		app.router.GET("/anew", func(c *gin.Context) { c.String(http.StatusOK, identityOf(c)) })
		app.router.HEAD("/anew", func(c *gin.Context) { c.String(http.StatusOK, identityOf(c)) })
		var held gates
		for guard, guarded := range guards {
			group := app.router.Group("/"+slug(guard), append([]gin.HandlerFunc{gin.CustomRecoveryWithWriter(io.Discard, failed)}, guarded(app.auth)...)...)
			for way, answer := range waysToAnswer {
				handler := func(c *gin.Context) {
					c.Set("engine", app.router)
					held.pass(c)
					answer(c)
				}
				group.GET("/"+slug(way), handler)
				group.HEAD("/"+slug(way), handler)
			}
		}
		for what, during := range changesOfASession {
			for guard := range guards {
				now.advance(time.Minute) // after the last revocation
				b := newBrowser(t)
				b.signIn(app.url+"/profile", alice())
				cookies := b.ours(app)
				now.advance(2 * time.Minute) // so that the guard writes the session
				check := func(method, way string, response *http.Response) {
					name := fmt.Sprintf("%s, %s %s behind %s", what, method, way, guard)
					set := response.Header.Values("Set-Cookie")
					if wants := !during.ends && !app.inStore(); (len(set) > 0) != wants && !(way == "a page that Gin begins anew" && (guard == "a middleware that asks" || !during.ends)) {
						t.Errorf("%s: got %d %q, want cookies: %t", name, response.StatusCode, set, wants)
					}
					if got := response.Header.Values("Cache-Control"); !slices.Equal(got, []string{"private, no-store"}) && (guard != "no guard" || len(set) > 0) {
						t.Errorf("%s: Cache-Control is %q, want private, no-store", name, got)
					}
					if got := response.Header.Get("CDN-Cache-Control") + response.Header.Get("Surrogate-Control"); got != "" && guard != "no guard" {
						t.Errorf("%s: the rules for other caches are %q, want none", name, got)
					}
					if got := strings.Join(response.Header.Values("Vary"), ", "); guard != "no guard" && !strings.Contains(got, "Cookie") || (way == "s-maxage and Vary" && !strings.Contains(got, "Accept-Encoding")) {
						t.Errorf("%s: Vary is %q", name, got)
					}
				}
				answers := map[*gate]func(){}
				var answering sync.WaitGroup
				for way := range waysToAnswer {
					for _, method := range []string{http.MethodGet, http.MethodHead} {
						if guard == "no guard" && (method == http.MethodHead || slices.Contains(withoutBody, way)) {
							continue
						}
						name := fmt.Sprint(what, guard, way, method)
						answers[held.add(name)] = func() {
							response, err := app.fetch(method, "/"+slug(guard)+"/"+slug(way), cookies, http.Header{"X-Gate": {name}})
							if err != nil {
								t.Errorf("%s, %s %s behind %s: %v", what, method, way, guard, err)
								return
							}
							check(method, way, response)
						}
					}
				}
				for _, fetch := range answers {
					answering.Go(fetch)
				}
				for gate := range answers {
					<-gate.entered
				}
				during.change(t, app, b)
				for gate := range answers {
					close(gate.open)
				}
				answering.Wait()
			}
		}
	})
}

// A browser that gets another user's cookies from a cache is that user's. Without a guard, too, a response
// with a cookie of the package is nobody else's, whatever the handler says afterwards.
func TestNoResponseWithACookieIsPublic(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto), func(cfg *logtogin.Config) {
			cfg.IdleTimeout, cfg.RevalidateAfter = 24*time.Hour, -1
			cfg.Paths.Callback, cfg.SignInDefaults.RedirectURI = "-", "/callback"
		})
		app := start(change)
		actions := map[string]func(c *gin.Context) error{
			"SignInURL": func(c *gin.Context) error {
				_, err := app.auth.SignInURL(c, logtogin.SignInOptions{})
				return err
			},
			"SignOutURL": func(c *gin.Context) error {
				_, err := app.auth.SignOutURL(c, logtogin.SignOutOptions{})
				return err
			},
			"Claims": func(c *gin.Context) error { _, err := app.auth.Claims(c); return err },
			"AccessToken": func(c *gin.Context) error {
				_, err := app.auth.AccessToken(c, logtogin.Resource(ordersAPI))
				return err
			},
			"HandleCallback": func(c *gin.Context) error {
				_, err := app.auth.HandleCallback(c)
				return err
			},
		}
		for action, act := range actions {
			path := "/" + slug(action)
			if action == "HandleCallback" {
				path = "/callback"
			}
			app.router.GET(path, gin.CustomRecoveryWithWriter(io.Discard, failed), func(c *gin.Context) {
				if err := act(c); err != nil {
					t.Errorf("%s: %v", action, err)
				}
				answer := waysToAnswer[c.GetHeader("X-Way")]
				if answer == nil { // of a browser that is to be signed in
					answer = waysToAnswer["text"]
				}
				answer(c)
			})
		}
		for action := range actions {
			for way := range waysToAnswer {
				if slices.Contains(withoutBody, way) {
					continue
				}
				b := newBrowser(t)
				b.signIn(app.url+"/sign-in", alice())
				now.advance(4 * time.Hour)
				path := "/" + slug(action)
				if action == "HandleCallback" {
					path = b.signInUntilCallback(app, alice()).RequestURI()
				}
				response, err := app.fetch(http.MethodGet, path, b.cookies(app.url), http.Header{"X-Way": {way}})
				if err != nil {
					t.Errorf("%s, %s: %v", action, way, err)
					continue
				}
				if len(response.Cookies()) == 0 && !app.inStore() {
					t.Errorf("%s, %s: no cookie, so that this test sees nothing", action, way)
				}
				if got := response.Header.Values("Cache-Control"); len(response.Cookies()) > 0 && (!slices.Equal(got, []string{"private, no-store"}) || !strings.Contains(strings.Join(response.Header.Values("Vary"), ", "), "Cookie")) {
					t.Errorf("%s, %s: got %v, want private, no-store and Vary: Cookie", action, way, response.Header)
				}
			}
		}
	})
}

// A handler may change the header of its response in place, and nobody else's.
func TestHeadersAreOfOneResponseAlone(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/spoil", app.auth.Optional(), func(c *gin.Context) {
		c.Writer.Flush()
		for _, lines := range c.Writer.Header() {
			for i := range lines {
				lines[i] = "spoilt"
			}
		}
	})
	app.router.GET("/own", app.auth.Optional(), func(c *gin.Context) {
		for _, lines := range c.Writer.Header() {
			for i := range lines {
				lines[i] = "Accept"
			}
		}
		c.String(http.StatusOK, "done")
	})
	visitor, err := app.fetch(http.MethodGet, "/own", nil, nil)
	if err != nil || !strings.Contains(strings.Join(visitor.Header.Values("Vary"), ", "), "Cookie") {
		t.Errorf("a visitor's page whose header the handler has changed in place: got %+v, %v, want Vary: Cookie", visitor, err)
	}
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	b.get(app.url + "/spoil")
	for _, path := range []string{"/", "/profile", "/sign-in"} {
		response, err := app.fetch(http.MethodGet, path, b.ours(app), http.Header{"Accept": {"text/html"}})
		if err != nil {
			t.Fatal(err)
		}
		for name, lines := range response.Header {
			if slices.Contains(lines, "spoilt") {
				t.Errorf("%s: %s is spoilt", path, name)
			}
		}
	}
}

// Programs that look for more in a writer than that it writes find it behind a guard.
func TestAGuardedWriterIsWhatHandlersExpect(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/hijack", app.auth.Guard(), func(c *gin.Context) {
		conn, buffered, err := http.NewResponseController(c.Writer).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nhijacked")
		_ = buffered.Flush()
	})
	app.router.GET("/controller", app.auth.Guard(), func(c *gin.Context) {
		controller := http.NewResponseController(c.Writer)
		if err := errors.Join(controller.SetWriteDeadline(time.Now().Add(time.Minute)), controller.SetReadDeadline(time.Now().Add(time.Minute)), controller.EnableFullDuplex()); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(c.Writer, "controlled")
		if err := controller.Flush(); err != nil {
			t.Error(err)
		}
	})
	app.router.GET("/stream", app.auth.Guard(), func(c *gin.Context) {
		rounds := 0
		c.Stream(func(w io.Writer) bool { // needs CloseNotify and Flush
			rounds++
			_, _ = io.WriteString(w, "round ")
			return rounds < 3
		})
	})
	app.router.GET("/push", app.auth.Guard(), func(c *gin.Context) {
		c.String(http.StatusOK, "pusher: %t, size %d, status %d, written %t", c.Writer.Pusher() != nil, c.Writer.Size(), c.Writer.Status(), c.Writer.Written())
	})
	app.router.HEAD("/head", app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "a body that is not sent") })
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	for path, want := range map[string]string{
		"/hijack": "hijacked", "/controller": "controlled", "/stream": "round round round ", "/push": "pusher: false, size -1, status 200, written false",
	} {
		if page := b.get(app.url + path); page.body != want {
			t.Errorf("%s: got %d %q, want %q", path, page.status, page.body, want)
		}
	}
	response, err := app.fetch(http.MethodHead, "/head", b.ours(app), http.Header{"Accept": {"text/html"}})
	if err != nil || response.StatusCode != http.StatusOK || response.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("HEAD: got %+v, %v", response, err)
	}
}
