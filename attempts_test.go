package logtogin_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// send makes a request with given cookies and follows no redirect.
func send(t *testing.T, method, address string, cookies []*http.Cookie, header http.Header) page {
	t.Helper()
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	b := newBrowser(t)
	b.client.Jar = nil
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for name, values := range header {
		if values == nil {
			delete(b.header, name)
			continue
		}
		b.header[name] = values
	}
	return b.do(r)
}

// setCookies are the cookies that an answer sets and does not delete.
func setCookies(p page) (set []*http.Cookie) {
	for _, cookie := range (&http.Response{Header: p.header}).Cookies() {
		if cookie.MaxAge >= 0 {
			set = append(set, cookie)
		}
	}
	return set
}

// cookieBytes is what cookies take in the header of a request.
func cookieBytes(cookies []*http.Cookie) (size int) {
	for _, cookie := range cookies {
		size += len(cookie.Name) + len(cookie.Value) + len("=; ")
	}
	return size
}

// C13.
func TestCallbackInAnotherBrowserIsRefused(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	callback := newBrowser(t).signInUntilCallback(app, logtotest.DefaultUser())
	victim := newBrowser(t)
	page := victim.get(callback.String())
	if page.status != http.StatusBadRequest || !strings.Contains(page.body, "not started in this browser") {
		t.Errorf("%d %s", page.status, page.body)
	}
	if logto.Calls().Token != 0 || victim.isSignedIn(app) || len(victim.ours(app)) > 0 {
		t.Error("the callback had an effect")
	}
}

// C14, and the warning of the protocol notes: Logto revokes the whole grant
// when it sees a code twice.
func TestCallbackThatComesAgain(t *testing.T) {
	t.Parallel()
	t.Run("in parallel shares the outcome of the first", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		b := newBrowser(t)
		callback := b.signInUntilCallback(app, logtotest.DefaultUser())
		cookies := b.ours(app)

		const parallel = 8
		arrived, proceed := make(chan struct{}), make(chan struct{})
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			close(arrived)
			<-proceed
			next.ServeHTTP(w, r)
		})
		pages := make([]page, parallel)
		var all sync.WaitGroup
		for i := range parallel {
			all.Go(func() { pages[i] = send(t, http.MethodGet, callback.String(), cookies, nil) })
		}
		<-arrived
		close(proceed)
		all.Wait()
		for i, page := range pages {
			if page.status != http.StatusFound || page.header.Get("Location") != "/" {
				t.Fatalf("answer %d is %d to %q: %s", i, page.status, page.header.Get("Location"), page.body)
			}
			home := send(t, http.MethodGet, app.url+"/user-info", setCookies(page), nil)
			if home.status != http.StatusOK {
				t.Errorf("answer %d does not sign in: %d %s", i, home.status, home.body)
			}
		}
		if calls := logto.Calls(); calls.Token != 1 {
			t.Errorf("%d token calls", calls.Token)
		}
	})
	t.Run("after the first one goes on to the page after sign-in", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		b := newBrowser(t)
		callback := b.signInUntilCallback(app, logtotest.DefaultUser())
		for range 3 {
			if page := b.get(callback.String()); page.body != "signed in as alice" || page.url.Path != "/" {
				t.Errorf("%s %s", page.url, page.body)
			}
		}
		if calls := logto.Calls(); calls.Token != 1 {
			t.Errorf("%d token calls", calls.Token)
		}
	})
	t.Run("with its old cookies minutes later is refused without a token call", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		now := newClock()
		app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Now = now.Now })
		b := newBrowser(t)
		callback := b.signInUntilCallback(app, logtotest.DefaultUser())
		cookies := b.ours(app)
		b.get(callback.String())
		for range 3 {
			now.advance(3 * time.Minute)
			page := send(t, http.MethodGet, callback.String(), cookies, nil)
			if page.status != http.StatusBadRequest || len(setCookies(page)) > 0 {
				t.Errorf("%d %s", page.status, page.body)
			}
		}
		if calls := logto.Calls(); calls.Token != 1 {
			t.Errorf("%d token calls", calls.Token)
		}
	})
	t.Run("after the user signed out brings nothing back", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		b := newBrowser(t)
		callback := b.signInUntilCallback(app, logtotest.DefaultUser())
		cookies := b.ours(app)
		b.get(callback.String())
		b.get(app.url + "/sign-out")
		page := send(t, http.MethodGet, callback.String(), cookies, nil)
		home := send(t, http.MethodGet, app.url+"/", setCookies(page), nil)
		if home.body != "not signed in" {
			t.Errorf("%d, then %s", page.status, home.body)
		}
	})
	t.Run("after Logto was down shares that failure and spends no code twice", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		b := newBrowser(t)
		callback := b.signInUntilCallback(app, logtotest.DefaultUser())
		cookies := b.ours(app)
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusBadGateway)
		})
		for range 2 {
			page := send(t, http.MethodGet, callback.String(), cookies, nil)
			if page.status != http.StatusServiceUnavailable || page.header.Get("Retry-After") == "" {
				t.Errorf("%d %s", page.status, page.body)
			}
		}
		if calls := logto.Calls(); calls.Token != 1 {
			t.Errorf("%d token calls", calls.Token)
		}
	})
}

// C23.
func TestAttemptEndsAfterAnHour(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		wait     time.Duration
		signedIn bool
	}{
		"59 minutes are fine":     {59 * time.Minute, true},
		"an hour is too long":     {time.Hour, false},
		"61 minutes are too long": {61 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			now := newClock()
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Now = now.Now })
			logto.SetNow(now.Now)
			b := newBrowser(t)
			form := b.get(app.url + "/sign-in")
			cookies := b.ours(app)
			now.advance(test.wait)
			b.stopAt(app.url)
			// The fake's own pages live for an hour, too.
			logto.SetNow(func() time.Time { return now.Now().Add(-30 * time.Minute) })
			callback := b.enter(form, logtotest.DefaultUser()).header.Get("Location")
			page := send(t, http.MethodGet, callback, cookies, nil)
			if (page.status == http.StatusFound) != test.signedIn || (logto.Calls().Token > 0) != test.signedIn {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
	}
}

func TestTheOldestAttemptGivesWay(t *testing.T) {
	t.Parallel()
	now := newClock()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) { cfg.Now = now.Now })
	b := newBrowser(t)
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var started []string
	for i := range 50 {
		set := setCookies(b.get(app.url + "/sign-in"))
		if len(set) != 1 {
			t.Fatalf("%d cookies", len(set))
		}
		started = append(started, set[0].Name)
		now.advance(time.Minute)
		var kept []string
		for _, cookie := range b.attempts(app) {
			kept = append(kept, cookie.Name)
		}
		slices.Sort(kept)
		if want := slices.Sorted(slices.Values(started[max(0, i-39):])); !slices.Equal(kept, want) {
			t.Fatalf("after sign-in %d: got %q, want %q", i, kept, want)
		}
	}
}

// C24.
func TestAThousandSignInsInOneBrowserStaySmall(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", logtotest.DefaultUser())
	b.stopAt(logto.Endpoint())
	longPath := "/profile?q=" + strings.Repeat("x", 2_000)
	for i := range 1000 {
		path := "/profile"
		if i%2 == 0 {
			path = longPath
		}
		page := b.get(app.url + "/sign-in?return_to=" + url.QueryEscape(path))
		if page.status != http.StatusFound {
			t.Fatalf("sign-in %d: %d %s", i, page.status, page.body)
		}
		if size := cookieBytes(b.ours(app)); size > 8<<10 {
			t.Fatalf("after sign-in %d our cookies have %d bytes", i, size)
		}
	}
	if count := len(b.attempts(app)); count != 40 {
		t.Errorf("%d attempts", count)
	}
	if !b.isSignedIn(app) {
		t.Error("the attempts have displaced the session")
	}
	// The last attempt can be finished.
	b.keepGoing()
	if page := b.get(app.url + "/sign-in?return_to=/profile%3Fdone"); page.url.RequestURI() != "/profile?done" {
		t.Errorf("arrived at %s", page.url)
	}
}

// Links that are followed at the same moment know nothing of each other. The next responses make room.
func TestSixtySignInsStartedAtOnceStaySmall(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	jar := map[string]*http.Cookie{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			path := "/profile?q=" + strings.Repeat("x", 2_000)
			set := setCookies(send(t, http.MethodGet, app.url+"/sign-in?return_to="+url.QueryEscape(path), nil, nil))
			mu.Lock()
			defer mu.Unlock()
			for _, cookie := range set {
				jar[cookie.Name] = cookie
			}
		})
	}
	all.Wait()
	if size := cookieBytes(slices.Collect(maps.Values(jar))); len(jar) != 60 || size > 60*90 {
		t.Errorf("%d cookies of %d bytes", len(jar), size)
	}
	for _, want := range []int{41, 40} {
		page := send(t, http.MethodGet, app.url+"/sign-in", slices.Collect(maps.Values(jar)), nil)
		for _, cookie := range (&http.Response{Header: page.header}).Cookies() {
			if jar[cookie.Name] = cookie; cookie.MaxAge < 0 {
				delete(jar, cookie.Name)
			}
		}
		if len(jar) != want {
			t.Errorf("%d cookies, want %d", len(jar), want)
		}
	}
}

// Each sets a cookie, and proxies have little room for the header of a response.
func TestOneResponseStartsTwentySignIns(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/links", func(c *gin.Context) {
		for range 20 {
			if _, err := app.auth.SignInURL(c, logtogin.SignInOptions{}); err != nil {
				t.Error(err)
			}
		}
		_, err := app.auth.SignInURL(c, logtogin.SignInOptions{})
		if !errors.Is(err, logtogin.ErrInvalidOptions) || !strings.Contains(err.Error(), "link to the sign-in route") {
			t.Errorf("got %v", err)
		}
		c.String(http.StatusOK, "links")
	})
	b := newBrowser(t)
	for range 3 {
		page := b.get(app.url + "/links")
		if set := setCookies(page); len(set) != 20 {
			t.Errorf("%d cookies", len(set))
		}
	}
	if count := len(b.attempts(app)); count != 40 {
		t.Errorf("%d attempts", count)
	}
}

func TestTwoTabsSignInAtOnce(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	b.stopAt(app.url + "/callback")
	one := b.get(app.url + "/sign-in?return_to=/profile%3Ftab%3D1").header.Get("Location")
	two := b.get(app.url + "/sign-in?return_to=/profile%3Ftab%3D2").header.Get("Location")
	b.keepGoing()
	if page := b.get(one); page.url.RequestURI() != "/profile?tab=1" || page.status != http.StatusOK {
		t.Errorf("first tab: %d %s", page.status, page.url)
	}
	if page := b.get(two); page.url.RequestURI() != "/profile?tab=2" || page.status != http.StatusOK {
		t.Errorf("second tab: %d %s", page.status, page.url)
	}
}

// C26.
func TestMaxAgeIsCheckedInTheTokenOfTheSameRequest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		authTime any // nil leaves the claim out
		accept   bool
	}{
		"authenticated a minute ago":  {time.Now().Add(-time.Minute).Unix(), true},
		"authenticated two hours ago": {time.Now().Add(-2 * time.Hour).Unix(), false},
		"auth_time is missing":        {nil, false},
		"auth_time is not a number":   {"now", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeIDToken(func(token *logtotest.JWT) {
				delete(token.Claims, "auth_time")
				if test.authTime != nil {
					token.Claims["auth_time"] = test.authTime
				}
			})
			app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.SignInDefaults.MaxAge = time.Hour })
			b := newBrowser(t)
			b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
			if b.isSignedIn(app) != test.accept {
				t.Errorf("signed in: %v", !test.accept)
			}
		})
	}
}

// C27.
func TestOnlyNavigationsStartASignIn(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	for name, test := range map[string]struct {
		header http.Header
		status int
	}{
		"a navigation":              {http.Header{"Sec-Fetch-Mode": {"navigate"}}, http.StatusFound},
		"without Fetch Metadata":    {http.Header{"Sec-Fetch-Mode": nil, "Sec-Fetch-Dest": nil}, http.StatusFound},
		"an image":                  {http.Header{"Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}}, http.StatusNoContent},
		"a script's fetch":          {http.Header{"Sec-Fetch-Mode": {"cors"}}, http.StatusNoContent},
		"a prefetch":                {http.Header{"Sec-Purpose": {"prefetch"}}, http.StatusServiceUnavailable},
		"a prerender":               {http.Header{"Sec-Purpose": {"prefetch;prerender"}}, http.StatusServiceUnavailable},
		"an old browser's prefetch": {http.Header{"Purpose": {"prefetch"}}, http.StatusServiceUnavailable},
	} {
		for _, path := range []string{"/sign-in", "/sign-up", "/sign-out"} {
			page := send(t, http.MethodGet, app.url+path, nil, test.header)
			want := test.status
			if want == http.StatusNoContent && path == "/sign-out" {
				want = http.StatusForbidden // nothing that a script would take for success
			}
			if page.status != want {
				t.Errorf("%s of %s: %d, want %d", name, path, page.status, want)
			}
			if test.status != http.StatusFound && len(page.header.Values("Set-Cookie")) > 0 {
				t.Errorf("%s of %s sets cookies", name, path)
			}
			if test.status != http.StatusFound && !strings.Contains(page.header.Get("Cache-Control"), "no-store") {
				t.Errorf("%s of %s may be stored: %v", name, path, page.header)
			}
		}
	}
	page := send(t, http.MethodGet, app.url+"/sign-in?return_to=/profile", nil, http.Header{"Hx-Request": {"true"}, "Sec-Fetch-Mode": {"cors"}})
	if page.header.Get("HX-Redirect") != "/sign-in?return_to=/profile" {
		t.Errorf("htmx is told to go to %q", page.header.Get("HX-Redirect"))
	}
}

// C28.
func TestErrorsFromLogtoAreShownAsText(t *testing.T) {
	t.Parallel()
	const script = "<script>alert(1)</script>"
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.AfterSignOut = "/" })
	logto.ChangeCallback(func(q url.Values) url.Values {
		return url.Values{"error": {"access_denied"}, "error_description": {script}, "state": q["state"], "iss": q["iss"]}
	})
	b := newBrowser(t)
	page := b.signIn(app.url+"/profile?deep=1", logtotest.DefaultUser())
	if page.status != http.StatusForbidden || strings.Contains(page.body, script) || !strings.Contains(page.body, "access_denied: &lt;script&gt;") {
		t.Errorf("%d %s", page.status, page.body)
	}
	if !strings.Contains(page.body, `href="/sign-out">Use another account`) || strings.Contains(page.body, "/sign-in") {
		t.Errorf("the page leads back to the same refusal: %s", page.body)
	}
	for _, header := range []string{"Content-Security-Policy", "Referrer-Policy", "Cache-Control"} {
		if page.header.Get(header) == "" {
			t.Errorf("the error page has no %s", header)
		}
	}
	// Without an attempt of this browser the text is not shown at all.
	page = newBrowser(t).get(app.url + "/callback?state=x&error=access_denied&error_description=call+this+number")
	if page.status != http.StatusBadRequest || strings.Contains(page.body, "call this number") || strings.Contains(page.body, "access_denied") {
		t.Errorf("%d %s", page.status, page.body)
	}
}

// C29, C67.
func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	for name, test := range map[string]struct {
		baseURL, prefix string
		secure          bool
	}{
		"on http":  {"", "logtogin_", false},
		"on https": {"https://app.example.com", "__Host-logtogin_", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				if test.baseURL != "" {
					cfg.BaseURL = test.baseURL
				}
			})
			page := send(t, http.MethodGet, app.url+"/sign-in", nil, nil)
			set := setCookies(page)
			if len(set) != 1 {
				t.Fatalf("%d cookies", len(set))
			}
			cookie := set[0]
			if !strings.HasPrefix(cookie.Name, test.prefix) || !cookie.HttpOnly || cookie.Secure != test.secure ||
				cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" || cookie.MaxAge != 3600 {
				t.Errorf("%+v", cookie)
			}
			if page.header.Get("Cache-Control") != "private, no-store" || page.header.Get("Vary") != "Cookie" {
				t.Errorf("headers are %v", page.header)
			}
		})
	}
}

// C12, C30 and the headers of the callback.
func TestCallbackAnswersWithARedirect(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, logtotest.DefaultUser())
	page := send(t, http.MethodGet, callback.String(), b.ours(app), nil)
	if page.status != http.StatusFound || page.header.Get("Location") != "/" || page.header.Get("Referrer-Policy") != "no-referrer" ||
		page.header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("%d %v", page.status, page.header)
	}
	for _, secret := range []string{callback.Query().Get("code"), callback.Query().Get("state")} {
		if strings.Contains(fmt.Sprint(page.header), secret) || strings.Contains(page.body, secret) || strings.Contains(app.log.String(), secret) {
			t.Error("the answer or the log repeats code or state")
		}
	}
	if page := send(t, http.MethodPost, callback.String(), nil, nil); page.status != http.StatusNotFound && page.status != http.StatusMethodNotAllowed {
		t.Errorf("POST to the callback: %d", page.status)
	}
}

func TestABrowserWithoutCookiesDoesNotLoop(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.stopAt(app.url + "/callback")
	callback := b.signIn(app.url+"/profile", logtotest.DefaultUser()).header.Get("Location")
	page := send(t, http.MethodGet, callback, nil, nil)
	if page.status != http.StatusBadRequest || page.header.Get("Refresh") != "" || !strings.Contains(page.body, "allow cookies") {
		t.Errorf("%d %s", page.status, page.body)
	}
}

func TestACallbackRouteOfOnesOwn(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.Paths.Callback = "-"
		cfg.SignInDefaults.RedirectURI = "/welcome"
	})
	app.router.GET("/welcome", func(c *gin.Context) {
		result, err := app.auth.HandleCallback(c)
		if err != nil {
			c.String(http.StatusTeapot, err.Error())
			return
		}
		c.Redirect(http.StatusFound, "/profile?welcome="+result.Claims.Username+"&then="+url.QueryEscape(result.ReturnTo))
	})
	b := newBrowser(t)
	page := b.signIn(app.url+"/sign-in?return_to=/x", logtotest.DefaultUser())
	if page.url.RequestURI() != "/profile?welcome=alice&then=%2Fx" {
		t.Errorf("arrived at %s: %s", page.url, page.body)
	}
	if page := newBrowser(t).get(app.url + "/welcome?code=x&state=y"); page.status != http.StatusTeapot {
		t.Errorf("%d", page.status)
	}
}

func TestCallbackAtAnotherPathThanItsRedirectURIIsRefused(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	app.router.GET("/start", func(c *gin.Context) {
		app.auth.SignIn(c, logtogin.SignInOptions{RedirectURI: "/other"})
	})
	b := newBrowser(t)
	b.stopAt(app.url + "/other")
	callback := b.signIn(app.url+"/start", logtotest.DefaultUser()).header.Get("Location")
	page := send(t, http.MethodGet, strings.Replace(callback, "/other?", "/callback?", 1), b.ours(app), nil)
	if page.status != http.StatusBadRequest || logto.Calls().Token != 0 {
		t.Errorf("%d, %d token calls", page.status, logto.Calls().Token)
	}
}

// The routes of an application change while somebody signs in.
func TestACallbackLeadsToNoRouteOfOurOwn(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.Paths.SignOut = "/leave" })
	renewed := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.BaseURL = app.url })
	b := newBrowser(t)
	b.stopAt(app.url + "/callback")
	shown := b.signIn(app.url+"/sign-in?return_to=/sign-out", logtotest.DefaultUser())
	callback, err := url.Parse(shown.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	page := send(t, http.MethodGet, renewed.url+callback.RequestURI(), b.ours(app), nil)
	if page.status != http.StatusFound || page.header.Get("Location") != "/" {
		t.Errorf("%d %s", page.status, page.header.Get("Location"))
	}
}

// A session of two cookies leaves less room for attempts, and a long redirect
// URI less for the return path; the budget holds all the same.
func TestAttemptsBesideALargeSessionStaySmall(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	big := logtotest.DefaultUser()
	big.Username = "big"
	big.Claims = map[string]any{"website": strings.Repeat("w", 3_500)}
	logto.AddUser(big)
	app := newApplication(t, logto, nil)
	app.router.GET("/start", func(c *gin.Context) {
		app.auth.SignIn(c, logtogin.SignInOptions{RedirectURI: c.Query("redirect_uri"), ReturnTo: c.Query("return_to")})
	})
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", big)
	b.stopAt(logto.Endpoint())
	returnTo := "/profile?q=" + strings.Repeat("x", 580)
	for i, redirectURI := range []string{"", "", "", "", "/" + strings.Repeat("r", 500), "", "/" + strings.Repeat("r", 500), ""} {
		page := b.get(app.url + "/start?return_to=" + url.QueryEscape(returnTo) + "&redirect_uri=" + redirectURI)
		if page.status != http.StatusFound {
			t.Fatalf("sign-in %d: %d %s", i, page.status, page.body)
		}
		if size := cookieBytes(b.ours(app)); size > 8<<10 {
			t.Errorf("after sign-in %d our cookies have %d bytes", i, size)
		}
	}
	if count := len(b.ours(app)); count < 3 {
		t.Errorf("%d cookies: no attempt is left", count)
	}
	if !b.isSignedIn(app) {
		t.Error("the attempts have displaced the session")
	}
}

// The log says why a callback does not find its attempt.
func TestTheLogSaysWhyThereIsNoAttempt(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	port := app.url[strings.LastIndex(app.url, ":"):]
	for what, visit := range map[string]func(){
		"sent no cookie at all": func() { send(t, http.MethodGet, app.url+"/callback?state=x&code=y", nil, nil) },
		"sent cookies, but none of": func() {
			send(t, http.MethodGet, app.url+"/callback?state=x&code=y", []*http.Cookie{{Name: "a", Value: "b"}}, nil)
		},
		"of its 1 under way, none has": func() {
			started := send(t, http.MethodGet, app.url+"/sign-in", nil, nil)
			send(t, http.MethodGet, app.url+"/callback?state=x&code=y", setCookies(started), nil)
		},
		"started at another address than": func() { send(t, http.MethodGet, "http://localhost"+port+"/sign-in", nil, nil) },
	} {
		if strings.Contains(app.log.String(), what) {
			t.Errorf("%q is in the log before", what)
		}
		if visit(); !strings.Contains(app.log.String(), what) {
			t.Errorf("%q is not in %s", what, app.log)
		}
	}
}

// Cookies go to all ports of a host, so a second instance on the next port, or a development server in front, is no
// other address (RFC 6265, section 8.5).
func TestAWarningOfAnotherAddressIsAboutTheHost(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	for _, test := range []struct {
		baseURL, host, domain string
		isWarned              bool
		header                http.Header
	}{
		{"http://localhost:8080", "localhost:8080", "", false, nil},
		{"http://localhost:8080", "localhost:8081", "", false, nil},
		{"http://localhost:5173", "localhost:8080", "", false, nil},
		{"http://localhost:8080", "localhost", "", false, nil},
		{"http://localhost:8080", "LOCALHOST:8080", "", false, nil},
		{"http://[::1]:8080", "[0:0::1]:8081", "", false, nil},
		{"http://localhost:8080", "127.0.0.1:8080", "", true, nil},
		{"http://127.0.0.1:8080", "localhost:8080", "", true, nil},
		{"http://127.0.0.1:8080", "127.0.0.2:8080", "", true, nil},
		{"http://localhost:8080", "[::1]:8080", "", true, nil},
		{"http://localhost:8080", "app.localhost:8080", "", true, nil},
		{"http://a.app.localhost:8080", "b.app.localhost:8080", "", true, nil},
		{"http://a.app.localhost:8080", "b.app.localhost:8080", "app.localhost", false, nil},
		{"http://a.app.localhost:8080", "app.localhost:8080", ".app.localhost", false, nil},
		{"http://localhost:8080", "0.0.0.0:8080", "", true, nil},
		{"http://localhost:8080", "[::]:8080", "", true, nil},
		{"http://localhost:8080", "localhost.:8080", "", true, nil},
		{"http://localhost:5173", "127.0.0.1:8080", "", true, nil},
		// A development server in front that has changed the host.
		{"http://localhost:5173", "127.0.0.1:8080", "", false, http.Header{"X-Forwarded-Host": {"localhost:5173"}}},
		{"http://localhost:5173", "127.0.0.1:8080", "", false, http.Header{"Forwarded": {"host=localhost:5173"}}},
		{"http://localhost:5173", "127.0.0.1:8080", "", false, http.Header{"Referer": {"http://localhost:5173/home"}}},
		{"http://localhost:5173", "127.0.0.1:8080", "", true, http.Header{"Referer": {"http://127.0.0.1:8080/home"}}},
		{"http://localhost:8080", "app:8080", "", false, nil}, // a name within a cluster
		{"https://app.example.com", "localhost:8080", "", false, nil},
		{"https://app.example.com", "10.0.0.7:8080", "", false, nil},
		{"http://localhost:8080", "", "", false, nil},
		{"http://localhost:8080", "%zz", "", false, nil},
	} {
		log := &logBuffer{}
		router := gin.New()
		auth, err := logtogin.Register(router, logtogin.Config{
			Endpoint: logto.Endpoint(), AppID: logto.AppID(), AppSecret: logto.AppSecret(), BaseURL: test.baseURL,
			Cookies: logtogin.CookieOptions{Domain: test.domain}, Logger: log.logger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		closed(t, auth)
		r := httptest.NewRequest(http.MethodGet, "/sign-in", nil)
		if test.header == nil {
			test.header = http.Header{}
		}
		r.Host, r.Header = test.host, test.header
		router.ServeHTTP(httptest.NewRecorder(), r)
		if got := strings.Contains(log.String(), "at another address"); got != test.isWarned {
			t.Errorf("%s at %q: a warning: %t", test.baseURL, test.host, got)
		}
	}
}
