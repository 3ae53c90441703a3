package web

import (
	"net/url"
	"strings"
	"testing"
)

func TestTheAttributesOfACookieAreAsBrowsersSendThem(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{"": "/", "/": "/", "/app": "/app", "/app/": "/app/", "/größe": "/gr%C3%B6%C3%9Fe", "/%7Euser": "/%7Euser", "app": "", "/a;b": "", "/a,b": "", "/a?b": "", "/a#b": "", "/a//b": "", "/a/../b": ""} {
		if path, problem := CookiePath(given); path != want || (problem == "") != (want != "") {
			t.Errorf("the Path %q: got %q, %q, want %q", given, path, problem, want)
		}
	}
	base := &url.URL{Scheme: "https", Host: "app.example.com:8443"}
	for given, want := range map[string]string{"example.com": "example.com", ".example.com": "example.com", "APP.example.com": "app.example.com", "example.org": "", "x.app.example.com": "", "com": "", ".": "", "a b": "", "example.com:443": "", "example.com/": "", "example.com.": ""} {
		if domain, problem := CookieDomain(given, base); domain != want || (problem == "") != (want != "") {
			t.Errorf("the Domain %q: got %q, %q, want %q", given, domain, problem, want)
		}
	}
	for _, at := range []*url.URL{nil, base} {
		if domain, problem := CookieDomain("", at); domain != "" || problem != "" {
			t.Errorf("no Domain at %v: got %q, %q", at, domain, problem)
		}
	}
	if domain, problem := CookieDomain("Bücher.example", nil); domain != "xn--bcher-kva.example" || problem != "" {
		t.Errorf("a Domain of any address: got %q, %q", domain, problem)
	}
}

func TestThePrefixesOfACookieNameAreKeptByItsAttributes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		isBound, isHTTP bool
		want            string // what the problem begins with
	}{
		{"__Host-x", true, false, ""}, {"__Host-x", false, false, `begins with "__Host-"`}, {"__HOST-x", false, true, `begins with "__Host-"`}, {"__host-x", true, true, "has a prefix"},
		{"__Secure-x", false, false, ""}, {"__secure-x", false, true, "has a prefix"},
		{"", false, true, ""}, {"a-Z_09", false, true, ""}, {"0123456789", true, false, ""}, {"0123456789a", true, false, `is "0123456789a"; give up to 10 letters`},
		{"a;b", true, false, `is "a;b"`}, {"a b", true, false, `is "a b"`}, {"ä", true, false, `is "ä"`}, {"a=", true, false, `is "a="`},
	} {
		if problem := CookieNameProblem(test.name, 10, test.isBound, test.isHTTP); !strings.HasPrefix(problem, test.want) || (problem == "") != (test.want == "") {
			t.Errorf("%q, bound %t, http %t: got %q, want %q", test.name, test.isBound, test.isHTTP, problem, test.want)
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

// The examples of RFC 6265, section 5.1.4, and what a browser sends where a path only looks like another one.
func TestCookiesAreSentToTheirPathAndBelow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		path, cookiePath string
		want             bool
	}{
		{"/", "/", true}, {"/a", "/", true}, {"/app", "/app", true}, {"/app/", "/app", true}, {"/app/x", "/app", true}, {"/app/x", "/app/", true}, {"/app/", "/app/", true},
		{"/app", "/app/", false}, {"/apple", "/app", false}, {"/", "/app", false}, {"/%61pp/x", "/app", false}, {"/gr%c3%b6/x", "/gr%C3%B6", false}, {"/APP", "/app", false},
		{"/app?x", "/app", true}, {"/app?", "/app", true}, {"/?/app", "/app", false}, {"/?x", "/", true}, {"/app?/", "/app/", false},
	} {
		if got := IsSentTo(test.path, test.cookiePath); got != test.want {
			t.Errorf("%q with the Path %q: got %t, want %t", test.path, test.cookiePath, got, test.want)
		}
	}
}
