package browser_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/gin-contrib/sessions/memstore"
	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/integration/processes"
	"github.com/logtogin/logtogin/logtotest"
)

// A browser that is started again opens all its tabs at the same moment.
func TestSeveralTabs(t *testing.T) {
	b := startChromium(t, chromedp.IgnoreCertErrors,
		chromedp.Flag("renderer-process-limit", "4")) // a process for each of 40 tabs takes long to start

	t.Run("all arrive if Logto knows the user and the application does not", func(t *testing.T) {
		s := startWithProvider(t)
		for _, count := range []int{2, 12, 40} {
			t.Run(fmt.Sprintf("%d tabs", count), func(t *testing.T) {
				first := b.window(t)
				first.openSignedIn(s, "/profile")
				first.forget(s.address)
				first.allArrive(s, first.openAtOnce(s, count), 0)
			})
		}
		t.Run("12 tabs that the browser makes meanwhile", func(t *testing.T) {
			first := b.window(t)
			first.openSignedIn(s, "/profile")
			first.forget(s.address)
			first.allArrive(s, first.openOneByOne(s, 12), 0)
		})
	})

	t.Run("all arrive if the sessions at Logto and at the application have ended", func(t *testing.T) {
		s, advance := startWithClock(t)
		first := b.window(t)
		first.openSignedIn(s, "/protected?page=first")
		first.forget(s.logto)
		advance(2 * time.Hour)
		first.allArrive(s, first.openAtOnce(s, 12), 1)
	})

	t.Run("all arrive if Logto knows the user and two instances keep sessions in a store", func(t *testing.T) {
		s := startTwoInstances(t)
		first := b.window(t)
		first.openSignedIn(s, "/protected?page=first")
		first.forget(s.address)
		first.allArrive(s, first.openAtOnce(s, 12), 0)
	})

	t.Run("all arrive if nobody knows the user and the way to the application is long", func(t *testing.T) {
		s := startFarAway(t)
		first := b.window(t)
		first.allArrive(s, first.openAtOnce(s, 40), 1)
	})

	t.Run("wait in an application with a strict Content-Security-Policy", func(t *testing.T) {
		s, _ := startWithClock(t)
		one := b.window(t)
		one.open(s.address + "/protected?page=1")
		one.arrivesAtLogto(s, "/sign-in")
		other := one.another()
		other.open(s.address + "/protected?page=2")
		other.waits(s)
		// The application's policy forbids the style that the page has in it.
		if width := run(other, chromedp.Evaluate[string]("getComputedStyle(document.body).maxWidth")); width != "512px" {
			t.Errorf("the page has no style: its width is %q", width)
		}
		one.signsIn(s)
		one.arrives(200, s.address+"/protected?page=1")
		other.arrives(200, s.address+"/protected?page=2")
	})
}

// ownPage is a page behind a guard.
func ownPage(i int) string { return fmt.Sprintf("/protected?page=%d&q=%s", i, strings.Repeat("x", i)) }

// openAtOnce opens tabs beside this one, each on a page of its own. The tabs are there before their pages,
// because Chromium takes so long to make many tabs that the pages would come one after the other.
func (b *tab) openAtOnce(s *site, count int) []*tab {
	b.Helper()
	// The window closes them all together, which is quicker.
	tabs := b.openEach(count, func(int) (*tab, error) {
		return tryTab(b.T, b.ctx, chromedp.WithNewWindow(false), chromedp.WithDetachOnCancel())
	})
	return b.openEach(count, func(i int) (*tab, error) {
		// As from the address bar. The answer comes when the tab is at some page.
		ctx, cancel := context.WithTimeout(tabs[i].ctx, wait)
		defer cancel()
		tabs[i].opened = time.Now()
		_, err := cdp.Call(ctx, chromedp.FromContext(ctx).Target, page.Navigate, page.NavigateParams{URL: s.address + ownPage(i)})
		return tabs[i], err
	})
}

// openOneByOne asks the browser at the same moment for tabs that are to load their pages at once.
func (b *tab) openOneByOne(s *site, count int) []*tab {
	b.Helper()
	return b.openEach(count, func(i int) (*tab, error) {
		window, began := chromedp.FromContext(b.ctx), time.Now()
		created, err := cdp.Call(b.ctx, window.Browser, target.CreateTarget, target.CreateTargetParams{
			URL: s.address + ownPage(i), BrowserContextID: window.BrowserContextID,
		})
		if err != nil {
			return nil, err
		}
		var opened *tab
		err = b.until(func(context.Context) error { // between two pages there is nothing for a debugger to hold on to
			opened, err = tryTab(b.T, b.ctx, chromedp.WithTargetID(created.TargetID), chromedp.WithDetachOnCancel())
			opened.opened = began
			// It wants to see the page that is there by then, which was not to be stored.
			opened.mayHappen("a request failed: net::ERR_CACHE_MISS")
			return err
		})
		return opened, err
	})
}

// openEach asks for all before any is there.
func (b *tab) openEach(count int, open func(i int) (*tab, error)) []*tab {
	b.Helper()
	tabs, errs := make([]*tab, count), make([]error, count)
	var opening sync.WaitGroup
	for i := range count {
		opening.Go(func() { tabs[i], errs[i] = open(i) })
	}
	opening.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return tabs
}

// allArrive waits until the tabs beside this one show their own pages. The user signs in where Logto asks
// for it, which has to be in so many tabs.
func (b *tab) allArrive(s *site, tabs []*tab, forms int) {
	b.Helper()
	began := tabs[0].opened
	if forms > 0 {
		form := oneAtLogto(s, tabs)
		call(form, page.BringToFront, cdp.Empty{}) // a tab that nobody sees takes no clicks
		form.signsIn(s)
		began = time.Now()
	}

	arrived, asked, largest := 0, 0, 0
	deadline := time.Now().Add(wait)
	for i, tab := range tabs {
		if err := tab.arrivesUntil(deadline, s.address+ownPage(i)); err != nil {
			b.Errorf("tab %d shows %s after\n%s", i, tab.describe(), strings.Join(tab.visited(), "\n"))
			continue
		}
		arrived++
	}
	took := time.Since(began)
	for _, tab := range tabs {
		asked += tab.formsSeen(s)
		largest = max(largest, tab.largestCookies())
	}
	b.Logf("%d of %d tabs arrive, %.1f s after they were opened or the form was sent; %d forms; the plugin's cookies take up to %d bytes", arrived, len(tabs), took.Seconds(), asked, largest)
	if arrived < len(tabs) {
		for _, cookie := range slices.Concat(b.cookies(s.address), b.cookies(s.logto)) {
			b.Logf("the browser has %s %s", cookie.Domain, cookie.Name)
		}
	}
	if asked != forms {
		b.Errorf("Logto asks %d times who the user is, not %d times", asked, forms)
	}
	if largest > 8<<10 {
		b.Errorf("the plugin's cookies take %d bytes", largest)
	}

	// What is at Logto is whole.
	b.forget(s.address)
	before := b.formsSeen(s)
	b.open(s.address + ownPage(len(tabs)))
	if err := b.arrivesUntil(time.Now().Add(wait), s.address+ownPage(len(tabs))); err != nil || b.formsSeen(s) > before {
		b.Errorf("a later sign-in is not silent: %s after\n%s", b.describe(), strings.Join(b.visited(), "\n"))
	}
}

// arrivesUntil waits for a page of its own, which only a user who is signed in gets to see.
func (b *tab) arrivesUntil(deadline time.Time, address string) error {
	ctx, cancel := context.WithDeadline(b.ctx, deadline)
	defer cancel()
	return processes.Until(ctx, func() error {
		looking, end := context.WithTimeout(b.ctx, wait) // another tab may have used up the whole time
		defer end()
		found, err := b.look(looking)
		if err == nil && (found.Address != address || found.Ready != "complete" || !strings.Contains(found.Text, "Page ")) {
			err = fmt.Errorf("it shows %s", found.Address)
		}
		return err
	})
}

// oneAtLogto waits until one of the tabs shows the page on which Logto asks who the user is.
func oneAtLogto(s *site, tabs []*tab) (form *tab) {
	tabs[0].Helper()
	err := tabs[0].until(func(context.Context) error {
		for _, tab := range tabs {
			if tab.formsSeen(s) > 0 {
				form = tab
				return nil
			}
		}
		return fmt.Errorf("no tab is at %s", s.logto)
	})
	if err != nil {
		tabs[0].Fatal(err)
	}
	form.arrivesAtLogto(s, "/sign-in")
	return form
}

// formsSeen is how often Logto has asked, in this tab, who the user is.
func (b *tab) formsSeen(s *site) (count int) {
	for _, visit := range b.visited() {
		if strings.HasPrefix(visit, "GET "+s.logto+"/sign-in") {
			count++
		}
	}
	return count
}

func (b *tab) visited() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.visits)
}

func (b *tab) largestCookies() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.largest
}

// Applications for what the example does not have.

// newSmallApplication has one page behind a guard, and the strictest Content-Security-Policy.
func newSmallApplication(t *testing.T, cfg logtogin.Config) http.Handler {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(func(c *gin.Context) {
		c.Header("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")
	})
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	router.GET("/protected", auth.Guard(), func(c *gin.Context) {
		c.Data(http.StatusOK, "text/html; charset=utf-8", []byte("<!DOCTYPE html>\n<html lang=\"en\"><title>Protected</title><p>Page "+html.EscapeString(c.Query("page"))))
	})
	return router
}

// unstarted is a server whose address is known before its application.
func unstarted(t *testing.T) (server *httptest.Server, address string) {
	t.Helper()
	server = httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	return server, "localhost:" + portOf(server.Listener)
}

func portOf(listener net.Listener) string {
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// startWithClock starts an application with the engine inside Logto, whose clocks advance moves together.
func startWithClock(t *testing.T) (s *site, advance func(time.Duration)) {
	t.Helper()
	server, address := unstarted(t)
	s = &site{address: "http://" + address, username: oidcprovider.DefaultUsername, password: oidcprovider.DefaultPassword}
	provider := oidcprovider.Start(t, oidcprovider.Config{
		Clients: []oidcprovider.Client{{RedirectURIs: []string{s.address + "/callback"}}},
	})
	s.provider, s.logto = provider, provider.Endpoint()
	var ahead atomic.Int64
	server.Config.Handler = newSmallApplication(t, logtogin.Config{
		Endpoint: s.logto, AppID: oidcprovider.DefaultClientID, AppSecret: oidcprovider.DefaultClientSecret, BaseURL: s.address,
		IdleTimeout: time.Hour,
		Now:         func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	server.Start()
	return s, func(d time.Duration) {
		provider.Advance(d)
		ahead.Add(int64(d))
	}
}

// startTwoInstances starts two instances that take turns at one address.
func startTwoInstances(t *testing.T) *site {
	t.Helper()
	server, address := unstarted(t)
	logto := logtotest.NewServer(t, logtotest.DefaultUser())
	s := &site{address: "http://" + address, logto: logto.Endpoint(), username: logtotest.DefaultUser().Username, password: logtotest.DefaultUser().Password}
	store := memstore.NewStore([]byte(strings.Repeat("k", 32)))
	var instances [2]http.Handler
	for i := range instances {
		cfg := logto.Config(s.address)
		cfg.Store = store
		instances[i] = newSmallApplication(t, cfg)
	}
	var requests atomic.Uint64
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		instances[requests.Add(1)%2].ServeHTTP(w, r)
	})
	server.Start()
	return s
}

// startFarAway starts an application with TLS and HTTP/2, which everything takes 100 ms to reach, and as long back.
func startFarAway(t *testing.T) *site {
	t.Helper()
	server, _ := unstarted(t)
	address := "https://localhost:" + startLongWay(t, server.Listener.Addr().String(), 100*time.Millisecond)
	logto := logtotest.NewServer(t, logtotest.DefaultUser())
	app := newSmallApplication(t, logto.Config(address))
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("%s comes by %s", r.URL.Path, r.Proto)
		}
		app.ServeHTTP(w, r)
	})
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // Chromium leaves connections that it does not need
	server.EnableHTTP2 = true
	server.StartTLS()
	return &site{address: address, logto: logto.Endpoint(), username: logtotest.DefaultUser().Username, password: logtotest.DefaultUser().Password}
}
