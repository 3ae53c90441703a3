package logtogin_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// arrival is an application with a browser that is signed in at Logto already,
// so that a sign-in needs no form.
type arrival struct {
	app     *application
	browser *browser
}

func newArrival(t *testing.T, change func(*logtogin.Config)) *arrival {
	t.Helper()
	a := &arrival{app: newApplication(t, logtotest.NewServer(t), change), browser: newBrowser(t)}
	a.browser.signIn(a.app.url+"/sign-in", logtotest.DefaultUser())
	if !a.browser.isSignedIn(a.app) {
		t.Fatal("not signed in")
	}
	return a
}

// after signs in by an address of the application and returns where the
// callback redirects to.
func (a *arrival) after(t *testing.T, path string) string {
	t.Helper()
	a.browser.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if previous := via[len(via)-1].URL; "http://"+previous.Host == a.app.url && previous.Query().Has("code") {
			return http.ErrUseLastResponse
		}
		if len(via) > 10 {
			t.Fatalf("%s goes in circles", path)
		}
		return nil
	}
	shown := a.browser.get(a.app.url + path)
	locations := shown.header.Values("Location")
	if shown.status != http.StatusFound || len(locations) != 1 || !shown.url.Query().Has("code") {
		t.Fatalf("%s: %s answers %d %q %s", path, shown.url, shown.status, locations, shown.body)
	}
	return locations[0]
}

// returns signs in with return_to as a form would encode it.
func (a *arrival) returns(t *testing.T, to string) string {
	t.Helper()
	return a.after(t, "/sign-in?return_to="+url.QueryEscape(to))
}

var goodReturnPaths = map[string]string{
	"the root":                                 "/",
	"a page":                                   "/profile",
	"a page with a trailing slash":             "/profile/",
	"a page with a query":                      "/profile?tab=1&sort=name",
	"a query with an address":                  "/share?u=https://example.com//x/../y",
	"a query with an encoded address":          "/share?u=https%3A%2F%2Fexample.com%2F%2Fx",
	"a query with slashes and question marks":  "/search?q=//a//b?c=d",
	"a query with an encoded backslash":        "/search?q=%5C%5Cserver",
	"a query with an encoded line break":       "/search?q=a%0D%0Ab",
	"a query with an at sign and a colon":      "/search?q=me@example.com:80",
	"a query that is empty":                    "/profile?",
	"a query on the root":                      "/?page=2",
	"a query that names our routes":            "/search?q=/sign-out",
	"a query with a return path of its own":    "/a?return_to=/sign-in",
	"a fragment":                               "/docs#part-2",
	"a fragment with slashes":                  "/app#/route//sub?x=1",
	"a query and a fragment":                   "/docs?v=1#top",
	"percent-encoded unicode":                  "/caf%C3%A9",
	"percent-encoded unicode in a query":       "/search?q=%E2%9C%93+%F0%9F%98%80",
	"a percent-encoded space":                  "/my%20file",
	"a percent-encoded percent sign":           "/100%25",
	"a space encoded three times":              "/a%252520b",
	"a semicolon":                              "/a;b=1/c;d",
	"sub-delimiters":                           "/a!$&'()*+,;=b",
	"a colon in a later segment":               "/a/b:c",
	"a colon in the first segment":             "/a:b",
	"an at sign in a segment":                  "/@alice/posts",
	"a tilde and dots in names":                "/~alice/.well-known/a.b..c/...",
	"a percent-encoded slash within a segment": "/a%2Fb",
	"a page that begins like our route":        "/sign-in-help",
	"a page below our route":                   "/sign-in/help",
	"a page that ends like our route":          "/help/sign-out",
	"the longest path":                         "/" + strings.Repeat("a", 599),
}

func TestGoodReturnPathsAreReached(t *testing.T) {
	t.Parallel()
	a := newArrival(t, nil)
	for name, path := range goodReturnPaths {
		if got := a.returns(t, path); got != path {
			t.Errorf("%s: %q leads to %q", name, path, got)
		}
	}
}

// badReturnPaths are what return_to says after the query was decoded.
var badReturnPaths = map[string][]string{
	"C1: another host without a scheme": {
		"//evil.example", "///evil.example", "////evil.example", "/////evil.example/", "//evil.example/%2e%2e", "//evil.example/%2f..",
		"//evil.example:443/", "//evil.example?x", "//evil.example#x", "//evil", "//", "///", "//.", "//..", "//localhost", "//127.0.0.1", "//0x7f000001",
		"//2130706433", "//[::1]", "//[::ffff:127.0.0.1]/", "//evil.example/profile", "//evil%2eexample", "//evil.example\\@app.example",
		"/profile//", "/profile//evil.example", "/a//b/c", "//profile", "///profile",
	},
	"C2: backslashes": {
		`/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `/\\evil.example`, `\/\/evil.example`, `\evil.example`, `/a\b`,
		`/a/\evil.example`, `//\evil.example`, `/?x=\`, `/#\`, "/%5cevil.example", "/%5Cevil.example", "/%5c%5cevil.example", "/%5c/evil.example",
		"/%5c%2fevil.example", "%5c%5cevil.example", "%5cevil.example", "/a%5Cb",
	},
	"C3: white space and control characters": {
		"/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "/\r\n/evil.example", "/\x0b/evil.example", "/\x0c/evil.example", "/\x00/evil.example",
		"/\x1f/evil.example", "/\x7f/evil.example", " //evil.example", " /profile", "/profile ", "\t/profile", "\n/profile", "/profile\n", "/profile\r\nSet-Cookie: x=1",
		"\x00/profile", "/pro\tfile", "/ /evil.example", "/\u00a0/evil.example", "/\u0085/evil.example", "/\u2028/evil.example", "/\u2003/evil.example", "/\ufeff/evil.example", "\ufeff//evil.example",
		"/\u200b/evil.example", "/\u202e/elpmaxe.live", "/%09/evil.example", "/%0a/evil.example", "/%0d%0aLocation:%20https://evil.example", "/%00", "/%0b", "/%1f", "/%7f", "/a%00b",
		"/profile?x=\n", "/profile#\t",
	},
	"C4: dot segments": {
		"/./evil.example", "/.//evil.example", "/../evil.example", "/..//evil.example", "/./\\evil.example", "/a/../evil", "/a/../../evil.example", "/a/..//evil.example",
		"/a/./b", "/.", "/..", "/a/.", "/a/..", "/./", "/../", "/%2e%2e/evil", "/%2e/evil", "/.%2e/evil", "/%2E%2E//evil.example", "/a/%2e%2e/b",
		"/%2e%2e%2fevil", "/a/..?x", "/a/.#x", "./a", "../a", ".", "..",
	},
	"C2, C4: what appears after more decoding": {
		"/%2fevil.example", "/%2Fevil.example", "/%2f%2fevil.example", "%2f%2fevil.example", "/%252fevil.example", "/%252f%252fevil.example", "/%25252fevil.example",
		"/%255cevil.example", "/%25255cevil.example", "/%252e%252e/evil", "/%25252e%25252e/evil", "/a/%252e%252e%252fb", "/%2509/evil.example", "/%250aevil", "/%2500",
		"/a%2f%2fb", "/a%252f%252fb", "/%2f%5cevil.example", "/%2525252fevil.example", "/a/%2e%2fb",
	},
	"C5: schemes": {
		"https:evil.example", "https:/evil.example", "https://evil.example", "https:///evil.example", "HTTPS://EVIL.EXAMPLE", "http://evil.example", "http:evil.example",
		"hTTps:\\\\evil.example", "https\t://evil.example", "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "javascript://%0aalert(1)",
		"data:text/html,<script>alert(1)</script>", "vbscript:msgbox(1)", "file:///etc/passwd", "ftp://evil.example", "mailto:a@evil.example", "tel:+41", "blob:https://evil.example/x",
		"view-source:https://evil.example", "about:blank", "ws://evil.example", "intent://evil.example#Intent;end", "urn:x", ":", "://evil.example", "https:", "x:/profile",
	},
	"C6: user information and names that look good": {
		"https://app.example@evil.example", "https://app.example:x@evil.example/", "//app.example@evil.example", "//user:pass@evil.example/", "https://app.example.evil.example",
		"https://evil.example/app.example", "https://evil.example?app.example", "https://evil.example#app.example", "https://app.example%40evil.example", "@evil.example", ".evil.example", ":80", ":evil.example",
		"evil.example", "www.evil.example/profile", "evil.example/profile",
	},
	"C1: unicode that becomes ASCII": {
		"/\u2215evil.example", "/\uff0fevil.example", "\uff0f\uff0fevil.example", "/\uff3cevil.example", "/\u29f8evil.example", "//evil\u3002example", "//evil\uff0eexample", "//evil%E3%80%82example",
		"/\u3002\u3002/evil", "/\uff0e\uff0e/evil", "/café", "/é", "/\xff", "/\xc0\xaf/evil.example", "/\xc0\xae\xc0\xae/evil", "/\u0131", "/\U0001f600",
	},
	"C1 to C6: several tricks at once": {
		"/%2f/evil.example", "/%2F%2e%2e/evil", "/%5c/%2e%2e/evil", "/.%2f/evil.example", "/..%2f..%2fevil", "/..%5cevil", "/..%255cevil", "/%2e%2e%5cevil", "/%2e%2e%252fevil",
		"/%09%2fevil.example", "/%2f%09/evil.example", "/%0a%2fevil", "/%2f%0d%0aHost:evil", "/\\%2fevil.example", "/%5c%2f%5cevil", "/%252e/evil", "/%252e%2fevil", "/%2e%252e/evil",
		"/%25%32%66evil.example", "/%25%35%63evil", "/%%32%66evil.example", "/%2%66evil", "/%252525255cevil", "//%5cevil.example", "//%2fevil.example", "//%09evil.example",
		"///%2fevil.example", "/;//evil.example", "/;/../evil", "/a;/..//evil", "/a/;%2f../x/../y", "/.;/evil/..", "/..;//evil", "/%2e;//evil", "/a/..;/../b/../c",
		`//evil.example:80\@app.example`, "//app.example:80@evil.example", "//app.example%2f@evil.example", "//app.example%23@evil.example", "//[::1]:8080/x", "//[fe80::1%25en0]/", "//0/", "//0x7f.1/", "//017700000001/",
		"//1.1.1.1 &@2.2.2.2# @3.3.3.3/", "//evil.example&x=/profile", "//evil.example;x/profile", "//evil.example%00.app.example", "//evil.example%0d.app.example", "//evil\x00.example",
		"/\u2024\u2024/evil", "/\u2025/evil", "/\u2026/evil", "/\ufe52\ufe52/evil", "/\u00b7/evil", "/\u2044evil.example", "/\u2571evil", "/\u29f5evil", "/\uff61evil", "/%e2%80%a8/..//evil",
		"/profile/..%2f..%2f/evil", "/profile/%2e%2e/%2e%2e//evil", `/profile?x#//\`, "/profile%00?x", "/profile%0a#x", "/profile%3f/../..//evil", "/profile%23//evil",
	},
	"no path at all": {
		"", "profile", "profile/x", "?x=1", "#x", "*", "&", "0", "null", "a b", "<script>", "%2fprofile", "%", "%zz", "/%", "/%2", "/%zz", "/%u002f%u002fevil.example", "/a%", "[/profile]", `"/profile"`,
	},
	"C11: too long": {
		"/" + strings.Repeat("a", 2_048), "/profile?x=" + strings.Repeat("a", 2_048), "/#" + strings.Repeat("a", 2_048), "/" + strings.Repeat("a", 1<<13), strings.Repeat("/a", 1_025), "/" + strings.Repeat("%20", 683),
	},
	"C9: the plugin's own routes": {
		"/sign-in", "/sign-up", "/callback", "/sign-out", "/sign-in/", "/sign-out/", "/callback/", "/sign-up/", "/sign-in?", "/sign-out?x=1", "/sign-out#x", "/sign-in?return_to=/sign-in",
		"/sign-in?return_to=//evil.example", "/callback?code=x&state=y", "/callback?error=x", "/callback/?error=x", "/SIGN-IN", "/Sign-Out", "/CALLBACK/", "/sIgN-uP?x", "/%73ign-in", "/sign%2Dout", "/sign%2dout/", "/%63allback?code=x",
		"/%53IGN-OUT", "/sign-out%2f", "/sign-in%2F", "/ſign-out", "/%C5%BFign-out", "/sign-up/?x#y",
	},
}

func TestBadReturnPathsLeadToTheDefaultPage(t *testing.T) {
	t.Parallel()
	for class, paths := range badReturnPaths {
		t.Run(class, func(t *testing.T) {
			t.Parallel()
			a := newArrival(t, nil)
			for _, path := range paths {
				if got := a.returns(t, path); got != "/" {
					t.Errorf("%q leads to %q", path, got)
				}
			}
		})
	}
}

// What a query decoder makes of an odd query is no path either.
func TestOddQueriesOfTheSignInRouteLeadNowhereElse(t *testing.T) {
	t.Parallel()
	a := newArrival(t, nil)
	for _, test := range []struct{ query, want string }{
		{"", "/"},
		{"?", "/"},
		{"?return_to", "/"},
		{"?return_to=", "/"},
		{"?return_to=/profile", "/profile"},
		{"?return_to=%2Fprofile", "/profile"},
		{"?RETURN_TO=/profile", "/"},
		{"?return_to[]=/profile", "/"},
		{"?return%5Fto=/profile", "/profile"},
		{"?return_to=+/profile", "/"},
		{"?return_to=/a+b", "/"},
		{"?return_to=%2F%2Fevil.example", "/"},
		{"?return_to=%252F%252Fevil.example", "/"},
		{"?return_to=/%252Fevil.example", "/"},
		{"?return_to=/%09/evil.example", "/"},
		{"?return_to=%ff%fe", "/"},
		{"?return_to=%zz", "/"},
		{"?return_to=%zz&return_to=//evil.example", "/"},
		{"?return_to=//evil.example&return_to=/profile", "/"},
		{"?x=1;return_to=/profile", "/"},
		{"?return_to=/profile&x=//evil.example", "/profile"},
	} {
		if got := a.after(t, "/sign-in"+test.query); got != test.want {
			t.Errorf("%q leads to %q, want %q", test.query, got, test.want)
		}
		if got := a.after(t, "/sign-up"+test.query); got != test.want {
			t.Errorf("%q of sign-up leads to %q, want %q", test.query, got, test.want)
		}
	}
}

// C9 in a group, behind a path of BaseURL and with paths of one's own.
func TestOwnRoutesAreKnownWhereverTheyAre(t *testing.T) {
	t.Parallel()
	a := newArrival(t, func(cfg *logtogin.Config) {
		cfg.AfterSignIn = "/home"
		cfg.Paths = logtogin.Paths{SignIn: "/sign-in", SignUp: "/auth/join", Callback: "/auth/back", SignOut: "/auth/leave/"}
	})
	for path, want := range map[string]string{
		"/sign-in": "/home", "/auth/join": "/home", "/auth/join/?x": "/home", "/AUTH/back": "/home", "/auth/%6ceave": "/home", "/auth/leave#x": "/home", "/auth%2Fleave": "/home",
		"//evil.example": "/home", "": "/home",
		// The defaults are nobody's here.
		"/sign-up": "/sign-up", "/callback": "/callback", "/sign-out": "/sign-out", "/join": "/join", "/auth": "/auth", "/auth/leaves": "/auth/leaves",
	} {
		if got := a.returns(t, path); got != want {
			t.Errorf("%q leads to %q, want %q", path, got, want)
		}
	}
}

// C7: what was a page when the sign-in began is a route of ours when it ends, at an
// instance with other paths.
func TestReturnPathsAreCheckedAgainAtTheEnd(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	before := newApplication(t, logto, secrets(strings.Repeat("s", 32)))
	after := newApplication(t, logto, func(cfg *logtogin.Config) {
		secrets(strings.Repeat("s", 32))(cfg)
		cfg.BaseURL, cfg.Paths.SignOut = before.url, "/leave"
	})
	for to, want := range map[string]string{"/profile": "/profile", "/leave": "/", "/LEAVE/?x": "/"} {
		b := newBrowser(t)
		b.stopAt(before.url + "/callback")
		callback, err := url.Parse(b.signIn(before.url+"/sign-in?return_to="+url.QueryEscape(to), logtotest.DefaultUser()).header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		page := send(t, http.MethodGet, after.url+callback.RequestURI(), b.ours(before), nil)
		if got := page.header.Get("Location"); page.status != http.StatusFound || got != want {
			t.Errorf("%s: %d to %q, want %q", to, page.status, got, want)
		}
	}
}

// A path to return to is meant without BaseURL's, which browsers need.
func TestReturnPathsStandBehindBaseURLsPath(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) {
		cfg.BaseURL += "/front"
		cfg.AfterSignIn = "/home?x=1"
	})
	// A proxy that takes the path away.
	strip := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(strip.CloseIdleConnections)
	get := func(address string) string {
		t.Helper()
		response, err := strip.Get(strings.Replace(address, app.url+"/front/", app.url+"/", 1))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.Header.Get("Location")
	}
	b := newBrowser(t)
	b.stopAt(app.url + "/front/callback")
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	strip.Jar = b.client.Jar
	for to, want := range map[string]string{
		"/profile?a=b#c": "/front/profile?a=b#c", "/front/profile": "/front/front/profile", "": "/front/home?x=1", "//evil.example": "/front/home?x=1",
		"/../admin": "/front/home?x=1", "/sign-in": "/front/home?x=1", "/": "/front/",
	} {
		callback := b.get(app.url + "/sign-in?return_to=" + url.QueryEscape(to)).header.Get("Location")
		if got := get(callback); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}

// The guard's own way back is checked like any other.
func TestAGuardedPageIsReturnedToAsItWasAsked(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	for asked, want := range map[string]string{
		"/profile":                                 "/profile",
		"/profile?a=%2F%2Fb&c=//d#nobody":          "/profile?a=%2F%2Fb&c=//d", // a browser keeps the fragment for itself
		"/profile?return_to=//evil":                "/profile?return_to=//evil",
		"/profile?x=" + strings.Repeat("%41", 679): "/profile?x=" + strings.Repeat("%41", 679),
		"/profile?x=" + strings.Repeat("a", 2_048): "",
	} {
		b := newBrowser(t)
		b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		to, err := url.Parse(b.get(app.url + asked).header.Get("Location"))
		if err != nil || to.Path != "/sign-in" || to.Host != "" || to.Query().Get("return_to") != want || to.Query().Has("return_to") != (want != "") {
			t.Errorf("%q leads to %q, want the return path %q", asked, to, want)
		}
	}
}
