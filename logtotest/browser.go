package logtotest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// SignIn signs a user in to an application and returns a client with the
// session's cookies, for requests to the application by their path:
//
//	client := logto.SignIn(t, router, logtotest.DefaultUser())
//	response, err := client.Get("/profile")
//
// The handler is the application's router; there is no need for a listener. Its
// sign-in route is /sign-in; SignInAt is for another one. A user of whom nothing
// but the ID or the username is given is the one that the server knows; any other
// is added, or takes the place of the one with that ID or username.
//
// The test fails at once if the sign-in does. Afterwards nobody fills in Logto's
// pages. Another sign-in is silent as long as the session at Logto lives; when it has
// ended, by a sign-out for example, or MaxAge asks for the password, the request fails
// with ErrSignInPage. Browser is for tests of what goes wrong. The client is otherwise
// like Browser's.
func (s *Server) SignIn(tb testing.TB, handler http.Handler, user User) *http.Client {
	tb.Helper()
	return s.SignInAt(tb, handler, "/sign-in", user)
}

// ErrSignInPage is why a request of a client of SignIn has failed: it was led to a page
// of Logto's on which somebody has to sign in, register or consent.
var ErrSignInPage = errors.New("logtotest: led to Logto's sign-in page: the session has ended, or the guard asks for another sign-in; Browser lets a test see this page")

// SignInAt is SignIn for a sign-in route or a guarded page of another path, also one
// with MaxAge.
func (s *Server) SignInAt(tb testing.TB, handler http.Handler, path string, user User) *http.Client {
	tb.Helper()
	client := s.Browser(tb, handler, user)
	b := client.Transport.(*testBrowser)
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		tb.Fatalf("logtotest: signing in at %s: %v", path, err)
	}
	defer response.Body.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.callback == 0 || b.callback >= http.StatusBadRequest {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 2_000))
		tb.Fatalf("logtotest: signing in at %s ended at %s with %d (Browser lets a test see this page): %s",
			path, response.Request.URL, response.StatusCode, body)
	}
	b.userID = ""
	return client
}

// Browser returns a client that behaves as the browser of a user who has not
// signed in yet: it keeps cookies, follows up to 20 redirects and the page after a sign-out by
// a form, submits Logto's form that completes a sign-out, and when Logto asks who it is, the user signs in and
// consents. So it can see what becomes of a sign-in that goes wrong:
//
//	logto.Misbehave(faults.AccessDenied)
//	response, err := logto.Browser(t, router, logtotest.DefaultUser()).Get("/profile")
//
// Requests name paths of the application, without the path of its BaseURL if it has
// one, or absolute addresses. They are navigations: the header Accept asks for
// text/html unless it is set to something else, or the request is for a WebSocket.
// Where the application is, Config has been told. If Config has been called for several
// base URLs, the client goes by the first sign-in, or the first request names the whole
// address. The client is safe for concurrent use once it has signed in. Serve says how
// the handler is served.
func (s *Server) Browser(tb testing.TB, handler http.Handler, user User) *http.Client {
	tb.Helper()
	return s.newTestBrowser(tb, handler, s.userForTest(user).ID)
}

// Visitor returns a client that behaves as the browser of somebody who does not sign
// in, for tests of what an application shows to visitors and what it keeps from them:
//
//	response, err := logto.Visitor(t, router).Get("/profile")
//
// It stops at the first redirect to Logto, which is the response then. A second guarded page within
// 15 seconds is answered by a page that waits for the first one's sign-in, so use a visitor for
// each page. The client is otherwise like Browser's.
func (s *Server) Visitor(tb testing.TB, handler http.Handler) *http.Client {
	tb.Helper()
	client := s.newTestBrowser(tb, handler, "")
	follow := client.CheckRedirect
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if s.isOwn(next.URL) {
			return http.ErrUseLastResponse
		}
		return follow(next, via)
	}
	return client
}

// maxRedirects is that of browsers. A sign-in that leads to a page with MaxAge, and so to
// another one, takes more than the ten that http.Client follows by itself.
const maxRedirects = 20

func (s *Server) newTestBrowser(tb testing.TB, handler http.Handler, userID string) *http.Client {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	b := &testBrowser{server: s, jar: jar, handler: handler, userID: userID}
	if base := s.onlyBase(); base != nil {
		b.settle(base)
	}
	return &http.Client{Transport: b, Jar: b, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("logtotest: stopped after %d redirects", maxRedirects)
		}
		return nil
	}}
}

// testBrowser is as much of a browser as a sign-in needs.
type testBrowser struct {
	server  *Server
	jar     *cookiejar.Jar
	handler http.Handler

	mu       sync.Mutex
	base     *url.URL // of the application, nil as long as it is not known
	userID   string   // who fills in the pages of the server, "" if nobody does
	callback int      // the status with which the callback was answered
}

// unknown stands for the address of an application that has not told where it
// is.
const unknown = "application.invalid"

func (b *testBrowser) settle(base *url.URL) {
	b.base = base
	b.server.Serve(base.String(), b.handler)
}

// Cookies and SetCookies make paths into addresses of the application.
func (b *testBrowser) Cookies(u *url.URL) []*http.Cookie { return b.jar.Cookies(asSent(b.absolute(u))) }

func (b *testBrowser) SetCookies(u *url.URL, cookies []*http.Cookie) {
	b.jar.SetCookies(asSent(b.absolute(u)), cookies)
}

// absolute is the address for a path of the application.
func (b *testBrowser) absolute(u *url.URL) *url.URL {
	if u.Host != "" {
		return u
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	address := *u
	if b.base == nil {
		address.Scheme, address.Host = "http", unknown
		return &address
	}
	address.Scheme, address.Host = b.base.Scheme, b.base.Host
	address.Path, address.RawPath = b.base.Path+u.Path, b.base.EscapedPath()+pathOf(u)
	return &address
}

func (b *testBrowser) RoundTrip(request *http.Request) (*http.Response, error) {
	navigating := request.Clone(request.Context())
	if navigating.Header.Get("Accept") == "" && navigating.Header.Get("Upgrade") == "" {
		navigating.Header.Set("Accept", "text/html,application/json,*/*;q=0.8")
	}
	navigating.URL = b.absolute(request.URL)
	b.mu.Lock()
	if b.base == nil && navigating.URL.Host != unknown && !b.server.isOwn(navigating.URL) {
		b.settle(b.server.baseOf(navigating.URL))
	}
	isKnown, userID := b.base != nil, b.userID
	b.mu.Unlock()

	var response *http.Response
	var err error
	switch {
	case !isKnown && navigating.URL.Host == unknown:
		if response, err = b.server.serving.RoundTrip(b.handler, navigating); err == nil {
			err = b.learn(response)
		}
	case b.server.isOwn(navigating.URL):
		response, err = b.server.serving.RoundTrip(asUser(userID, b.server.own), navigating)
		if err == nil && userID == "" && response.StatusCode == http.StatusOK && slices.Contains(pagesForUsers, navigating.URL.Path) {
			err = ErrSignInPage
		}
	default:
		response, err = transport{b.server}.RoundTrip(navigating)
	}
	if err != nil {
		if response != nil {
			_ = response.Body.Close()
		}
		if b.server.handlerFor(navigating.URL) == nil {
			err = fmt.Errorf("logtotest: %s://%s is neither the server nor the application, whose base URL is that of Config: %w", navigating.URL.Scheme, navigating.URL.Host, err)
		}
		return nil, err
	}
	leadOn(response)
	if query := navigating.URL.Query(); query.Has("state") && (query.Has("code") || query.Has("error")) {
		b.mu.Lock()
		b.callback = response.StatusCode
		b.mu.Unlock()
	}
	// As the browser sees it, which the client, knowing the path only, cannot tell.
	if location, err := navigating.URL.Parse(response.Header.Get("Location")); err == nil && response.Header.Get("Location") != "" {
		response.Header.Set("Location", location.String())
	}
	response.Request = request
	return response, nil
}

// refresh is how the page after a sign-out by a form leads on to Logto.
var refresh = regexp.MustCompile(`<meta http-equiv="refresh" content="0; url=([^"]*)">`)

// maxLeavingPage bounds what is read of such a page.
const maxLeavingPage = 64 << 10

// leadOn makes a redirect of the page with which the application answers a sign-out by a form. It reads
// no more than the head of that page, and nothing of other answers to forms, which may be streams.
func leadOn(response *http.Response) {
	if response.Request.Method != http.MethodPost || response.StatusCode != http.StatusOK ||
		!strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") || response.Header.Get("Referrer-Policy") != "no-referrer" {
		return
	}
	page := bufio.NewReaderSize(response.Body, maxLeavingPage)
	body := response.Body
	response.Body = struct {
		io.Reader
		io.Closer
	}{page, body}
	var head []byte
	for err := error(nil); err == nil && !bytes.Contains(head, []byte("</head>")); {
		_, err = page.Peek(len(head) + 1)
		head, _ = page.Peek(page.Buffered())
	}
	if next := refresh.FindSubmatch(head); next != nil {
		response.StatusCode, response.Status = http.StatusSeeOther, "303 See Other"
		response.Header.Set("Location", html.UnescapeString(string(next[1])))
	}
}

// learn finds out where the application is by its first authorization request. The
// cookies that came with it wait until then.
func (b *testBrowser) learn(response *http.Response) error {
	authorization, err := url.Parse(response.Header.Get("Location"))
	if err != nil || !b.server.isOwn(authorization) {
		return nil // perhaps on the way to the sign-in route
	}
	redirectURI := authorization.Query().Get("redirect_uri")
	callback, err := url.Parse(redirectURI)
	if err != nil || callback.Host == "" {
		return fmt.Errorf("logtotest: the application asks to come back to %q", redirectURI)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle(b.server.baseOf(callback))
	b.jar.SetCookies(asSent(b.base), response.Cookies())
	return nil
}

// onlyBase is the base URL that Config was given, if it was only one.
func (s *Server) onlyBase() *url.URL {
	bases := s.bases()
	if len(bases) != 1 {
		return nil
	}
	base, err := url.Parse(bases[0])
	if err != nil || base.Host == "" {
		return nil
	}
	return base
}

// baseOf is the base URL that Config was given for an address, or else its origin.
func (s *Server) baseOf(address *url.URL) *url.URL {
	longest := ""
	for _, base := range s.bases() {
		if len(base) > len(longest) && isBelow(address, base) {
			longest = base
		}
	}
	if base, err := url.Parse(longest); err == nil && base.Host != "" {
		return base
	}
	return &url.URL{Scheme: address.Scheme, Host: address.Host}
}
