package logtogin_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// neighbours are two applications on one host, below /a and /b, in one browser.
type neighbours struct {
	logto *logtotest.Server
	now   *clock
	url   string
	b     *browser
}

// startNeighbours signs alice in at both. change may adjust either, by its path.
func startNeighbours(t *testing.T, store *serverStore, isApart bool, change func(path string, cfg *logtogin.Config)) *neighbours {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	n := &neighbours{logto: withAPIs(t), now: newClock(), b: newBrowser(t)}
	n.logto.SetNow(n.now.Now)
	router := gin.New()
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	n.url = server.URL
	for _, path := range []string{"/a", "/b"} {
		registered := n.logto.Application()
		if path == "/b" && isApart {
			registered = n.logto.AddApplication(logtotest.Application{RedirectURIs: []string{n.url + "/b/callback"}})
		}
		cfg := logtogin.Config{
			Endpoint: n.logto.Endpoint(), AppID: registered.ID, AppSecret: registered.Secret, BaseURL: n.url,
			Now: n.now.Now, AfterSignIn: "/", Logger: (&logBuffer{}).logger(),
		}
		if store != nil {
			cfg.Store = store
		}
		change(path, &cfg)
		group := router.Group(path)
		auth, err := logtogin.Register(group, cfg)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, auth)
		group.GET("/profile", auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "page") })
	}
	for _, path := range []string{"/a", "/b"} {
		if shown := n.b.signIn(n.url+path+"/profile", alice()); shown.body != "page" {
			t.Fatalf("%s: %d %s %s", path, shown.status, shown.url, shown.body)
		}
	}
	return n
}

// isIn reports whether a browser with these cookies is signed in at the application below the path.
func (n *neighbours) isIn(path string, cookies []*http.Cookie) bool {
	n.b.t.Helper()
	return send(n.b.t, http.MethodGet, n.url+path+"/profile", cookies, nil).status == http.StatusOK
}

// A sign-out of one application ends its own session, whatever cookies the other one has, and leaves that one
// signed in. Two of the same AppID have one grant at Logto, so that the session of the other one ends when it
// is next refreshed.
func TestASignOutLeavesAnotherApplicationOnTheHostSignedIn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		isApart bool // they have different AppIDs
		change  func(path string, cfg *logtogin.Config)
	}{
		"with another AppID":                   {true, func(string, *logtogin.Config) {}},
		"with another AppID and cookie name":   {true, func(path string, cfg *logtogin.Config) { cfg.Cookies.Name = "app" + path[1:] }},
		"with another AppID and path":          {true, func(path string, cfg *logtogin.Config) { cfg.Cookies.Path = path }},
		"with the same AppID and another name": {false, func(path string, cfg *logtogin.Config) { cfg.Cookies.Name = "app" + path[1:] }},
		"with the same AppID and another path": {false, func(path string, cfg *logtogin.Config) { cfg.Cookies.Path = path }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for where, store := range map[string]*serverStore{"in cookies": nil, "in a store": newServerStore()} {
				for how, by := range ways {
					for _, path := range []string{"/a", "/b"} {
						if by.method == http.MethodPost && (path == "/b" || isRace) {
							continue
						}
						t.Run(where+" by "+how+" of "+path, func(t *testing.T) {
							n := startNeighbours(t, store, test.isApart, test.change)
							other := map[string]string{"/a": "/b", "/b": "/a"}[path]
							own, others := n.b.cookies(n.url+path+"/"), n.b.cookies(n.url+other+"/")
							r, err := http.NewRequest(by.method, n.url+path+"/sign-out", nil)
							if err != nil {
								t.Fatal(err)
							}
							for header, values := range by.header {
								r.Header[header] = values
							}
							n.b.stopAt(n.logto.Issuer())
							answer := n.b.do(r)
							n.b.keepGoing()
							end := by.leads(answer)
							if !strings.HasPrefix(end, n.logto.Issuer()+"/session/end?") {
								t.Errorf("%d leads to %q", answer.status, end)
							}
							n.b.submit(n.b.get(strings.ReplaceAll(end, "&amp;", "&")), url.Values{"logout": {"yes"}})
							for what, cookies := range map[string][]*http.Cookie{"its own": own, "what the browser has": n.b.cookies(n.url + path + "/")} {
								if n.isIn(path, cookies) {
									t.Errorf("signed in with %s", what)
								}
							}
							if n.isIn(path, slices.Concat(own, others)) {
								t.Error("signed in with the cookies of both")
							}
							if !n.isIn(other, n.b.cookies(n.url+other+"/")) {
								t.Error("the other application has signed out, too")
							}
							n.now.advance(61 * time.Minute)
							if got := n.isIn(other, n.b.cookies(n.url+other+"/")); got != test.isApart {
								t.Errorf("after an hour the session of the other one goes on: %v", got)
							}
						})
					}
				}
			}
		})
	}
}

func TestABackchannelLogoutEndsTheSessionOfAnotherApplicationOnTheHost(t *testing.T) {
	t.Parallel()
	for where, store := range map[string]*serverStore{"in cookies": nil, "in a store": newServerStore()} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			n := startNeighbours(t, store, true, func(string, *logtogin.Config) {})
			told := n.logto.Application()
			told.BackchannelLogoutURI = n.url + "/a/backchannel-logout"
			n.logto.AddApplication(told)
			cookies := n.b.cookies(n.url + "/a/")
			n.now.advance(time.Second)
			n.b.submit(n.b.get(n.url+"/b/sign-out"), url.Values{"logout": {"yes"}})
			eventually(t, func() bool { return !n.isIn("/a", cookies) })
			if n.isIn("/b", cookies) {
				t.Error("the one that was left goes on")
			}
		})
	}
}
