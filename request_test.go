package logtogin_test

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// startURL is the authorization request that a sign-in with these options
// makes.
func startURL(t *testing.T, change func(*logtogin.Config), options logtogin.SignInOptions) (query url.Values, err error) {
	t.Helper()
	app := newApplication(t, logtotest.NewServer(t), change)
	app.router.GET("/start", func(c *gin.Context) {
		var address string
		if address, err = app.auth.SignInURL(c, options); err != nil {
			return
		}
		var u *url.URL
		if u, err = url.Parse(address); err == nil {
			query = u.Query()
		}
	})
	page := send(t, http.MethodGet, app.url+"/start", nil, nil)
	if err != nil && len(page.header.Values("Set-Cookie")) > 0 {
		t.Error("a refused sign-in sets cookies")
	}
	return query, err
}

func TestAuthorizationRequest(t *testing.T) {
	t.Parallel()
	type config = logtogin.Config
	type options = logtogin.SignInOptions
	for name, test := range map[string]struct {
		change  func(*config)
		options options
		want    url.Values // nil values: absent
	}{
		"by default": {nil, options{}, url.Values{
			"response_type": {"code"}, "prompt": {"consent"}, "scope": {"openid profile offline_access email"},
			"code_challenge_method": {"S256"}, "resource": nil, "first_screen": nil, "response_mode": nil, "max_age": nil,
		}},
		"without a prompt":  {func(c *config) { c.Prompt = logtogin.PromptOmit }, options{}, url.Values{"prompt": nil}},
		"a prompt per call": {nil, options{Prompt: logtogin.PromptLogin}, url.Values{"prompt": {"login"}}},
		"only given scopes": {func(c *config) { c.OmitReservedScopes, c.Scopes = true, []string{"openid"} }, options{}, url.Values{"scope": {"openid"}}},
		"resources":         {func(c *config) { c.Resources = []string{"https://a.example/?x=1&y", "https://b.example"} }, options{}, url.Values{"resource": {"https://a.example/?x=1&y", "https://b.example"}}},
		"organizations":     {func(c *config) { c.Scopes = []string{"urn:logto:scope:organizations"} }, options{}, url.Values{"resource": {"urn:logto:resource:organizations"}}},
		"Logto's parameters": {nil, options{
			FirstScreen: logtogin.FirstScreenIdentifierSignIn, Identifiers: []logtogin.Identifier{logtogin.IdentifierEmail, logtogin.IdentifierPhone},
			DirectSignIn: "social:google", LoginHint: "a+b&c#d%20 é@example.com", OneTimeToken: "t+t", UILocales: []string{"de-CH", "en"},
			OrganizationID: "org1", MaxAge: 90 * time.Second, ExtraParams: map[string]string{"x y": "1&2"},
		}, url.Values{
			"first_screen": {"identifier:sign_in"}, "identifier": {"email phone"}, "direct_sign_in": {"social:google"},
			"login_hint": {"a+b&c#d%20 é@example.com"}, "one_time_token": {"t+t"}, "ui_locales": {"de-CH en"},
			"organization_id": {"org1"}, "max_age": {"90"}, "x y": {"1&2"},
		}},
		"defaults and a call": {func(c *config) {
			c.SignInDefaults = options{LoginHint: "default", DirectSignIn: "sso:x", ExtraParams: map[string]string{"a": "1", "b": "1"}}
		}, options{LoginHint: "call", ExtraParams: map[string]string{"b": "2"}}, url.Values{
			"login_hint": {"call"}, "direct_sign_in": {"sso:x"}, "a": {"1"}, "b": {"2"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			query, err := startURL(t, test.change, test.options)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range test.want {
				if got := query[name]; !slices.Equal(got, want) {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			for name, values := range query {
				if name != "resource" && len(values) != 1 {
					t.Errorf("%s is sent %d times", name, len(values))
				}
			}
			// C20, C21: 26 characters of base32 are 128 bit.
			if len(query.Get("code_challenge")) != 43 || len(query.Get("state")) < 26 || len(query.Get("nonce")) < 26 {
				t.Errorf("challenge %q, state %q, nonce %q", query.Get("code_challenge"), query.Get("state"), query.Get("nonce"))
			}
		})
	}
}

// C19, C21.
func TestNothingRandomComesTwice(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	seen := map[string]bool{}
	for range 50 {
		location, err := url.Parse(send(t, http.MethodGet, app.url+"/sign-in?state=mine&nonce=mine", nil, nil).header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"state", "nonce", "code_challenge"} {
			value := location.Query().Get(name)
			if seen[value] || value == "mine" || value == "" {
				t.Errorf("%s %q", name, value)
			}
			seen[value] = true
		}
	}
}

func TestOptionsThatLogtoWouldRefuseOrIgnore(t *testing.T) {
	t.Parallel()
	type options = logtogin.SignInOptions
	tests := map[string]options{
		"an unknown prompt":             {Prompt: "create"},
		"an unknown first screen":       {FirstScreen: "signIn"},
		"an unknown identifier":         {Identifiers: []logtogin.Identifier{"mail"}},
		"a direct sign-in without kind": {DirectSignIn: "google"},
		"a direct sign-in of two lines": {DirectSignIn: "social:a\nb"},
		"a language that is none":       {UILocales: []string{"de_CH"}},
		"an organization with a space":  {OrganizationID: "a b"},
		"a magic link without hint":     {OneTimeToken: "x"},
		"a negative max age":            {MaxAge: -time.Second},
		"a max age of half a second":    {MaxAge: time.Second / 2},
		"a redirect URI without https":  {RedirectURI: "http://app.example.com/callback"},
		"a redirect URI that is none":   {RedirectURI: "callback"},
		"an extra without name":         {ExtraParams: map[string]string{"": "x"}},
	}
	// C25.
	for _, name := range []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "state", "nonce", "code_challenge",
		"code_challenge_method", "scope", "prompt", "resource", "max_age", "request", "request_uri", "first_screen", "login_hint",
	} {
		tests["an extra parameter "+name] = options{ExtraParams: map[string]string{name: "x"}}
	}
	for name, options := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := startURL(t, nil, options); !errors.Is(err, logtogin.ErrInvalidOptions) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// C25, C92: nothing but return_to comes from the request.
func TestSignInRouteTakesNothingElseFromTheRequest(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	fixed := func(query url.Values) url.Values {
		for _, random := range []string{"state", "nonce", "code_challenge"} {
			query.Del(random)
		}
		return query
	}
	request := func(path string, header http.Header) url.Values {
		location, err := url.Parse(send(t, http.MethodGet, app.url+path, nil, header).header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return fixed(location.Query())
	}
	want := request("/sign-in", nil)
	if want.Get("redirect_uri") != app.url+"/callback" {
		t.Errorf("redirect_uri is %q", want.Get("redirect_uri"))
	}
	got := request("/sign-in?client_id=x&redirect_uri=https://evil.example&scope=x&prompt=none&login_hint=x&first_screen=register&resource=x", http.Header{
		"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Prefix": {"/evil"},
		"X-Forwarded-Uri": {"/evil"}, "Forwarded": {"host=evil.example;proto=https"},
	})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	r, err := http.NewRequest(http.MethodGet, app.url+"/sign-in", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example"
	b := newBrowser(t)
	b.stopAt(logto.Endpoint())
	location, err := url.Parse(b.do(r).header.Get("Location"))
	if err != nil || !reflect.DeepEqual(fixed(location.Query()), want) {
		t.Errorf("with another Host: %s", location)
	}
	up := request("/sign-up", nil)
	if wantUp := maps.Clone(want); up.Get("first_screen") != "register" || len(up) != len(wantUp)+1 {
		t.Errorf("sign-up sends %v", up)
	}
}

func TestPathsOfGroupAndBaseURLArePartOfTheCallbackAddress(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	other, err := logtogin.Register(app.router.Group("/a").Group("/b/"), logtogin.Config{
		Endpoint: logto.Endpoint(), AppID: logto.AppID(), AppSecret: logto.AppSecret(), BaseURL: app.url + "/front/",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	app.router.GET("/guarded", other.Guard(), func(*gin.Context) {})
	location, err := url.Parse(send(t, http.MethodGet, app.url+"/a/b/sign-in", nil, nil).header.Get("Location"))
	if err != nil || location.Query().Get("redirect_uri") != app.url+"/front/a/b/callback" {
		t.Errorf("redirect_uri is %q", location.Query().Get("redirect_uri"))
	}
	if to := send(t, http.MethodGet, app.url+"/guarded?x", nil, nil).header.Get("Location"); to != "/front/a/b/sign-in?return_to=%2Fguarded%3Fx" {
		t.Errorf("the guard leads to %q", to)
	}
}

// C1 to C5, C7, C9, C11: at the start and again at the end.
func TestReturnPathsLeadNowhereElse(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	b.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if via[len(via)-1].URL.Path == "/callback" && strings.HasPrefix(via[len(via)-1].URL.String(), app.url) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	arrives := func(returnTo string) string {
		page := b.get(app.url + "/sign-in?return_to=" + url.QueryEscape(returnTo))
		if page.status != http.StatusFound {
			t.Errorf("%q: %d %s", returnTo, page.status, page.body)
		}
		return page.header.Get("Location")
	}
	good := []string{
		"/", "/profile", "/profile/", "/profile?tab=1", "/profile?next=https://example.com//x", "/profile?a=%5C", "/a/b.c/d~e",
		"/caf%C3%A9", "/a;b=1", "/a#fragment", "/search?q=a+b%20c&r[]=1", "/100%25", "/%E3%80%82x", "/sign-in-help", "/a?x=/sign-in",
	}
	for _, path := range good {
		if got := arrives(path); got != path {
			t.Errorf("%q leads to %q", path, got)
		}
	}
	evil := []string{
		"evil.com", "//evil.com", "///evil.com", "////evil.com", "/\\evil.com", "\\/evil.com", "\\\\evil.com", "/\\/evil.com", "/%5cevil.com", "/%5c%5cevil.com",
		"/%2fevil.com", "/%2f%2fevil.com", "/%252fevil.com", "/%25252fevil.com", "/%255cevil.com", "/\t/evil.com", "/\n//evil.com", "/\r/evil.com", "/\x0b/evil.com", "/\x00/evil.com",
		"/%09/evil.com", "/%0a/evil.com", "/%0d%0aSet-Cookie:x", "/%00", " //evil.com", "/ /evil.com", "\t/evil.com", "/\x7f/evil.com", "/%7f",
		"/./\\evil.com", "/.//evil.com", "/..//evil.com", "/../evil.com", "/a/../evil", "/a/../../evil", "/a/./b", "/%2e%2e/evil", "/%2e/evil", "/a/%2e%2e/b", "/a/%252e%252e/b", "/..", "/.",
		"https:evil.com", "https:/evil.com", "https://evil.com", "HTTPS://evil.com", "http://evil.com", "//evil.com/%2f..", "https:///evil.com", "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "mailto:x@evil.com", "ftp://evil.com",
		"https://good.com@evil.com", "//good.com@evil.com", "@evil.com", ":evil.com", "?x", "#x", "", "*", ".", "..", "a", "a/b", "./a", "//", "/a//b", "//a", "/a//", "//localhost:80/x",
		"/\u2215evil.com", "/\uff0fevil.com", "\uff0f\uff0fevil.com", "/\u3002evil.com", "/é", "/\u202eevil", "/\u200b/evil", "/\xff\xfe",
		"/sign-in", "/sign-in/", "/sign-in?return_to=/x", "/SIGN-IN", "/%73ign-in", "/sign-up", "/sign-out", "/sign-out?x=1", "/sign-out#x", "/callback", "/callback?code=x&state=y", "/callback/", "/Sign-Out/",
		"/%", "/%zz", "/a%2", "/" + strings.Repeat("a", 601), "/" + strings.Repeat("a", 1<<14), "/?" + strings.Repeat("%2f", 300),
		"http://[::1]/", "//[::1]/", "/\\[::1]", "//evil%E3%80%82com", "//0x7f.1/", "//evil.com:443/", "//user:pass@evil.com/", "///user@evil.com", "\x01//evil.com", "/\u0085/evil.com", "//\u2028evil.com",
	}
	for _, path := range evil {
		if got := arrives(path); got != "/" {
			t.Errorf("%q leads to %q", path, got)
		}
	}
}
