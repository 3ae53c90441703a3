package web

import (
	"net/url"
	"strings"
	"testing"
)

func TestServerURLsAreParsedOrRefusedWithAReason(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://app.example.com":       "https://app.example.com",
		"https://app.example.com/":      "https://app.example.com",
		"https://App.Example.com:443/a": "https://app.example.com/a",
		"http://localhost:80/":          "http://localhost",
		"http://127.0.0.1:3000//":       "http://127.0.0.1:3000",
		"http://[::1]:3000":             "http://[::1]:3000",
		"https://app.example.com:8443":  "https://app.example.com:8443",
		"":                              "!is empty",
		"https://a b":                   "!is not a URL",
		"app.example.com":               "!not an absolute URL",
		"//app.example.com":             "!not an absolute URL",
		"https://":                      "!not an absolute URL",
		"https://:443":                  "!not an absolute URL",
		"ftp://app.example.com":         "!has the scheme",
		"http://app.example.com":        "!only a loopback host",
		"https://user@app.example.com":  "!user name or password",
		"https://app.example.com?":      "!query or a fragment",
		"https://app.example.com/?x":    "!query or a fragment",
		"https://app.example.com/#":     "!query or a fragment",
		"https://app.example.com/a/../": "!empty or dot segments",
		"https://app.example.com//a":    "!empty or dot segments",
	} {
		u, problem := ParseServerURL(raw)
		if expected, isProblem := strings.CutPrefix(want, "!"); isProblem {
			if u != nil || !strings.Contains(problem, expected) {
				t.Errorf("%q: got %v, %q, want the problem %q", raw, u, problem, expected)
			}
		} else if problem != "" || u.String() != want {
			t.Errorf("%q: got %v, %q, want %q", raw, u, problem, want)
		}
	}
}

func TestAnOriginIsWhatABrowserSends(t *testing.T) {
	t.Parallel()
	for origin, want := range map[string]bool{
		"https://a.example": true, "https://a.example:8443": true, "http://a.example": true, "http://[::1]:3000": true,
		"": false, "null": false, "https://a.example/": false, "https://A.example": false, "https://a.example:443": false, "http://a.example:80": false, "https://*.example": false,
		"https://a.example?": false, "https://user@a.example": false, "https://:443": false, "ws://a.example": false, "a.example": false, "//a.example": false,
	} {
		if got := IsOrigin(origin); got != want {
			t.Errorf("%q: got %t, want %t", origin, got, want)
		}
	}
}

func TestLoopbackIsThisMachineAlone(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "app.localhost": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "localhost.example.com": false, "evillocalhost": false, "0.0.0.0": false, "10.0.0.1": false, "::": false, "127.0.0.1.example.com": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%q: got %t, want %t", host, got, want)
		}
	}
}

func TestAParentDomainEndsAtALabel(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		domain, host string
		want         bool
	}{
		{"example.com", "app.example.com", true},
		{"example.com", "a.b.example.com", true},
		{"example.com", "example.com", false},
		{"example.com", "evilexample.com", false},
		{"com", "example.com", false},
		{"0.0.1", "127.0.0.1", false},
		{"", "example.com", false},
	} {
		if got := IsParentDomain(test.domain, test.host); got != test.want {
			t.Errorf("%q of %q: got %t, want %t", test.domain, test.host, got, test.want)
		}
	}
}

func TestOnlyAnAddressOfTheSameOriginIsWithin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ base, address, want string }{
		{"https://app.example.com", "https://app.example.com/a?b=c#d", "/a?b=c"},
		{"https://app.example.com", "https://app.example.com", "/"},
		{"https://app.example.com/front", "https://app.example.com/front/a", "/a"},
		{"https://app.example.com/front", "https://app.example.com/back/a", ""},
		{"https://app.example.com/front", "https://app.example.com/frontier/a", ""},
		{"https://app.example.com/front", "https://app.example.com/front?a", ""},
		{"https://app.example.com", "https://evil.example/a", ""},
		{"https://app.example.com", "http://app.example.com/a", ""},
		{"https://app.example.com", "https://app.example.com:8443/a", ""},
		{"https://app.example.com", "/a", ""},
		{"https://app.example.com", "", ""},
		{"https://app.example.com", "%zz", ""},
	} {
		base, err := url.Parse(test.base)
		if err != nil {
			t.Fatal(err)
		}
		if got := PathWithin(base, test.address); got != test.want {
			t.Errorf("%q within %q: got %q, want %q", test.address, test.base, got, test.want)
		}
	}
}
