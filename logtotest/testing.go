package logtotest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
)

// Config is a configuration for an application at baseURL, which may be any: it
// needs no listener. The application calls the server without a socket and goes
// by its clock.
func (s *Server) Config(baseURL string) logtogin.Config {
	s.mu.Lock()
	s.baseURLs = append(s.baseURLs, strings.TrimRight(baseURL, "/"))
	s.mu.Unlock()
	app := s.Application()
	return logtogin.Config{
		Endpoint:   s.Endpoint(),
		AppID:      app.ID,
		AppSecret:  app.Secret,
		BaseURL:    baseURL,
		Secrets:    []string{s.secret},
		HTTPClient: s.Client(),
		Now:        s.Now,
	}
}

// Client makes requests to the server, and to the applications that Serve has
// made known, without a socket. It keeps no cookies.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s.outgoing} }

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
func (s *Server) SignIn(tb testing.TB, handler http.Handler, user User) *http.Client {
	tb.Helper()
	return s.SignInAt(tb, handler, "/sign-in", user)
}

// SignInAt is SignIn for a sign-in route or a guarded page of another path.
func (s *Server) SignInAt(tb testing.TB, handler http.Handler, path string, user User) *http.Client {
	tb.Helper()
	user = s.userForTest(user)
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	b := &testBrowser{server: s, jar: jar, handler: handler, userID: user.ID}
	client := &http.Client{Transport: b, Jar: b}
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		tb.Fatalf("logtotest: signing in at %s: %v", path, err)
	}
	_ = response.Body.Close()
	if !b.calledBack {
		tb.Fatalf("logtotest: signing in at %s ended at %s with %d", path, response.Request.URL, response.StatusCode)
	}
	b.userID = ""
	return client
}

func (s *Server) userForTest(given User) User {
	known, ok := s.user(func(u User) bool {
		return (given.ID != "" && u.ID == given.ID) || (given.ID == "" && given.Username != "" && u.Username == given.Username)
	})
	if ok && reflect.DeepEqual(given, User{ID: given.ID, Username: given.Username}) {
		return known
	}
	given.ID = cmp.Or(given.ID, known.ID)
	given, _ = s.putUser(given)
	return given
}

// testBrowser is as much of a browser as a sign-in needs. The base URL of the
// application is what the first authorization request says.
type testBrowser struct {
	server     *Server
	jar        *cookiejar.Jar
	handler    http.Handler
	base       *url.URL
	userID     string // who fills in the forms of the server
	calledBack bool
}

// Cookies and SetCookies make paths into addresses of the application.
func (b *testBrowser) Cookies(u *url.URL) []*http.Cookie { return b.jar.Cookies(b.absolute(u)) }

func (b *testBrowser) SetCookies(u *url.URL, cookies []*http.Cookie) {
	b.jar.SetCookies(b.absolute(u), cookies)
}

func (b *testBrowser) absolute(u *url.URL) *url.URL {
	if b.base == nil || u.Host != "" {
		return u
	}
	return b.base.ResolveReference(u)
}

func (b *testBrowser) RoundTrip(request *http.Request) (*http.Response, error) {
	navigating := request.Clone(request.Context())
	if navigating.Header.Get("Accept") == "" {
		navigating.Header.Set("Accept", "text/html,application/json,*/*;q=0.8")
	}
	if request.URL.Host == "" && b.base != nil {
		navigating.URL = b.absolute(request.URL)
	}
	if navigating.URL.Host == "" {
		return b.first(navigating)
	}
	if b.base != nil && navigating.URL.Scheme+"://"+navigating.URL.Host == b.base.Scheme+"://"+b.base.Host {
		b.calledBack = b.calledBack || navigating.URL.Query().Has("code")
	} else if b.userID != "" {
		navigating = navigating.WithContext(context.WithValue(navigating.Context(), testUserKey{}, b.userID))
	}
	response, err := b.server.outgoing.RoundTrip(navigating)
	if response != nil {
		response.Request = request
	}
	return response, err
}

// first sends the very first requests, before it is known where the application
// is. The cookies of its answer wait until then.
func (b *testBrowser) first(request *http.Request) (*http.Response, error) {
	unplaced := &transport{server: b.server, network: b.server.outgoing.network}
	address := *request.URL
	address.Scheme, address.Host = "http", "application.invalid"
	request.URL = &address
	response, err := unplaced.serve(b.handler, request)
	if err != nil {
		return nil, err
	}
	authorization, err := url.Parse(response.Header.Get("Location"))
	if err != nil || !strings.HasPrefix(authorization.String(), b.server.Endpoint()+"/") {
		return response, nil // perhaps on the way to the sign-in route
	}
	callback, err := url.Parse(authorization.Query().Get("redirect_uri"))
	if err != nil || callback.Host == "" {
		_ = response.Body.Close()
		return nil, fmt.Errorf("logtotest: the application asks to come back to %q", authorization.Query().Get("redirect_uri"))
	}
	b.base = b.server.baseOf(callback)
	b.server.Serve(b.base.String(), b.handler)
	b.jar.SetCookies(b.base, response.Cookies())
	return response, nil
}

// baseOf is the base URL that Config was given, or else the origin.
func (s *Server) baseOf(callback *url.URL) *url.URL {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, base := range s.baseURLs {
		if parsed, err := url.Parse(base); err == nil && strings.HasPrefix(callback.String(), base+"/") {
			return parsed
		}
	}
	return &url.URL{Scheme: callback.Scheme, Host: callback.Host}
}

// testUserKey is where a request of a test says who the user is, so that no form
// needs to be filled in.
type testUserKey struct{}

func testUser(r *http.Request) string {
	id, _ := r.Context().Value(testUserKey{}).(string)
	return id
}

// AccessToken makes a JWT access token of a user for an API resource, with
// exactly these scopes, for tests of an API. It goes by the server's keys and
// clock; neither the user nor the resource need to be known to the server.
func (s *Server) AccessToken(user User, resource string, scopes ...string) string {
	return s.mustSign(s.AppID(), user.ID, audience{resource: resource}, scopes)
}

// OrganizationToken is AccessToken for an organization, or, if resource is not
// empty, for an API resource within it.
func (s *Server) OrganizationToken(user User, organizationID, resource string, scopes ...string) string {
	return s.mustSign(s.AppID(), user.ID, audience{resource: resource, organizationID: organizationID}, scopes)
}

// MachineToken is AccessToken for a machine-to-machine application.
func (s *Server) MachineToken(appID, resource string, scopes ...string) string {
	return s.mustSign(appID, appID, audience{resource: resource}, scopes)
}

func (s *Server) mustSign(appID, subject string, target audience, scopes []string) string {
	token, _, err := s.signAccessToken(appID, subject, target, strings.Join(scopes, " "))
	if err != nil {
		panic("logtotest: " + err.Error()) // a hook of the test has made it impossible
	}
	return token
}

// Now is the time by the server's clock.
func (s *Server) Now() time.Time { return s.clock() }

// Advance moves the server's clock, and that of applications with its Config, to
// let codes, tokens and sessions expire.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}
