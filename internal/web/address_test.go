package web

import (
	"net/url"
	"strings"
	"testing"
)

func TestServerURLsAreParsedOrRefusedWithAReason(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://app.example.com":           "https://app.example.com",
		"https://app.example.com/":          "https://app.example.com",
		"https://App.Example.com:443/a":     "https://app.example.com/a",
		"http://localhost:80/":              "http://localhost",
		"http://127.0.0.1:3000//":           "http://127.0.0.1:3000",
		"http://[::1]:3000":                 "http://[::1]:3000",
		"https://app.example.com:8443":      "https://app.example.com:8443",
		"":                                  "!is empty",
		"https://a b":                       "!is not a URL",
		"app.example.com":                   "!not an absolute URL",
		"//app.example.com":                 "!not an absolute URL",
		"https://":                          "!not an absolute URL",
		"https://:443":                      "!not an absolute URL",
		"ftp://app.example.com":             "!has the scheme",
		"http://app.example.com":            "!only a loopback host",
		"https://user:secret/w@a.example/b": "!is not a URL",
		"https://user@app.example.com":      "!user name or password",
		"https://app.example.com?":          "!; remove it",
		"https://app.example.com/?x":        "!; remove it",
		"https://app.example.com/#":         "!; remove it",
		"https://app.example.com/a/../":     "!a dot segment",
		"https://app.example.com//a":        "!empty segments",
		"https://app.example.com/a%zz":      "!is not a URL",
		"https://app.example.com/\x00":      "!invisible character",
		`https://app.example.com/a\b`:       "!a backslash",
		"https://app.example.com/a%5Cb":     "!a backslash",
		"https://app.example.com/%2e/a":     "!a dot segment",
		"https://app.example.com/a/%2F":     "!empty segments",

		// Hosts, as the URL parser of browsers takes them.
		"https://bücher.example":             "https://xn--bcher-kva.example",
		"https://BÜCHER.example":             "https://xn--bcher-kva.example",
		"https://xn--bcher-kva.example":      "https://xn--bcher-kva.example",
		"https://XN--Bcher-kva.example":      "https://xn--bcher-kva.example",
		"https://faß.example":                "https://xn--fa-hia.example",
		"https://例え.テスト":                     "https://xn--r8jz45g.xn--zckzah",
		"https://ａｐｐ.example.com":            "https://app.example.com",
		"https://app。example。com":            "https://app.example.com",
		"https://b%C3%BCcher.example":        "https://xn--bcher-kva.example",
		"https://xn--a.example":              "!not a valid internationalized name",
		"https://xn--.example":               "!not a valid internationalized name",
		"https://ｌocalhost":                  "https://localhost",
		"http://ｌocalhost:3000":              "http://localhost:3000",
		"https://app.example.com:":           "https://app.example.com",
		"https://app.example.com:0443":       "https://app.example.com",
		"https://app.example.com:08443":      "https://app.example.com:8443",
		"http://localhost:0080":              "http://localhost",
		"https://app.example.com:80":         "https://app.example.com:80",
		"https://app.example.com:0":          "!the port 0",
		"https://app.example.com:65536":      "!the port 65536",
		"https://app.example.com:1e3":        "!is not a URL",
		"https://app.example.com:-1":         "!is not a URL",
		"https://[2001:0DB8:0:0:0:0:0:1]":    "https://[2001:db8::1]",
		"https://[2001:db8:0:1:1:1:1:1]":     "https://[2001:db8:0:1:1:1:1:1]",
		"https://[2001:db8::]:0443":          "https://[2001:db8::]",
		"http://[0:0:0:0:0:0:0:1]:3000":      "http://[::1]:3000",
		"http://[::ffff:127.0.0.1]":          "http://[::ffff:7f00:1]",
		"https://xn--app-.example":           "!not a valid internationalized name",
		"http://xn--localhost-":              "!not a valid internationalized name",
		"https://bü.xn--app-.example":        "!not a valid internationalized name",
		"https://bü.xn--bcher-kva.example":   "!all in letters or all",
		"https://aℵb.example":                "!not a valid internationalized name",
		"https://app.example.com/\xff":       "!is not a URL",
		"https://%97.example":                "!not a valid internationalized name",
		"https://my_app.bücher.example":      "https://my_app.xn--bcher-kva.example",
		"https://ab--cd.bücher.example":      "https://ab--cd.xn--bcher-kva.example",
		"https://xn--i-7iq.example":          "https://xn--i-7iq.example",
		"https://i❤.example":                 "https://xn--i-7iq.example",
		"https://[fe80::1%25eth0]":           "!an IPv6 address",
		"https://[1.2.3.4]":                  "!is not a URL",
		"https://[::g]":                      "!is not a URL",
		"https://192.0.2.1":                  "https://192.0.2.1",
		"http://127.1":                       "!take for a number",
		"http://2130706433":                  "!take for a number",
		"http://0x7f000001":                  "!take for a number",
		"http://0x":                          "!take for a number",
		"http://127.0.0.01":                  "!take for a number",
		"http://１２７.0.0.1":                   "http://127.0.0.1",
		"https://256.256.256.256":            "!take for a number",
		"https://app.example.com.":           "!none at the end",
		"https://app..example.com":           "!letters, digits",
		"https://.example.com":               "!letters, digits",
		"https://*.example.com":              "!letters, digits",
		"https://a<b.example":                "!letters, digits",
		"https://a,b.example":                "!letters, digits",
		"https://my_app.example":             "https://my_app.example",
		"https://-app-.example":              "https://-app-.example",
		"https://" + strings.Repeat("a", 64): "!letters, digits",

		" https://app.example.com":           "!begins or ends with a space",
		"https://app.example.com/ ":          "!begins or ends with a space",
		"https://app.example.com/\u00a0":     "!invisible character",
		"https://app.example.com/a\ufeff":    "!invisible character",
		"https://app.example.com\r\n":        "!invisible character",
		"https://app.example.com/.../..a/.b": "https://app.example.com/.../..a/.b",

		// Paths, as browsers send them.
		"https://app.example.com/my%20app":      "https://app.example.com/my%20app",
		"https://app.example.com/my app":        "https://app.example.com/my%20app",
		"https://app.example.com/a%2Fb":         "https://app.example.com/a%2Fb",
		"https://app.example.com/a%2fb/":        "https://app.example.com/a%2fb",
		"https://app.example.com/%7Euser":       "https://app.example.com/%7Euser",
		"https://app.example.com/~user":         "https://app.example.com/~user",
		"https://app.example.com/größe":         "https://app.example.com/gr%C3%B6%C3%9Fe",
		"https://app.example.com/gr%c3%b6ße":    "https://app.example.com/gr%c3%b6%C3%9Fe",
		"https://app.example.com/größe%2Fx":     "https://app.example.com/gr%C3%B6%C3%9Fe%2Fx",
		"https://app.example.com/100%25":        "https://app.example.com/100%25",
		"https://app.example.com/a(b)!*'[c];d=": "https://app.example.com/a(b)!*'[c];d=",
		`https://app.example.com/"<>^` + "`{|}": "https://app.example.com/%22%3C%3E%5E%60%7B%7C%7D",
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
		"https://a.example": true, "https://a.example:8443": true, "http://a.example": true, "http://[::1]:3000": true, "https://xn--bcher-kva.example": true, "http://192.0.2.1": true,
		"capacitor://localhost": true, "ionic://localhost": true, "tauri://localhost": true, "app://localhost:8080": true, "chrome-extension://abcdefghijklmnopabcdefghijklmnop": true, "moz-extension://6ea8b6c2-9d7a-4b0e-8f43-1f6a6d1c7a50": true, "vscode-webview://0Abc": true,
		"capacitor://localhost/": false, "capacitor://": false, "CAPACITOR://localhost": false, "capacitor://user@localhost": false, "capacitor://localhost?": false, "capacitor://localhost#": false, "capacitor:localhost": false, "chrome-extension://*": false, "file:///": false, "wss://a.example": false, "data:text/html,x": false, "data://x": false, "blob://x": false, "javascript://x": false, "about://blank": false, "capacitor://localhost:": false, "capacitor://ü": false, "http://127.0.0.1.": false, "https://1.2.3.4.:8443": false,
		"https://bücher.example": false, "https://a.example:0443": false, "https://a.example:": false, "https://[0:0:0:0:0:0:0:1]": false, "https://127.1": false, "https://a.example..": false, "https://.": false,
		"https://a.example.": true, "https://a.example.:8443": true, "https://my_app.xn--bcher-kva.example": true, "https://ab--cd.xn--bcher-kva.example": true, "https://xn--a-.example": false,
		"": false, "null": false, "https://a.example/": false, "https://A.example": false, "https://a.example:443": false, "http://a.example:80": false, "https://*.example": false,
		"https://a.example?": false, "https://user@a.example": false, "https://:443": false, "ws://a.example": false, "a.example": false, "//a.example": false,
	} {
		if got := IsOrigin(origin); got != want {
			t.Errorf("%q: got %t, want %t", origin, got, want)
		}
	}
}

func TestAddressesOfOneOriginHaveTheSame(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"https://api.example", "https://api.example:443", "https://api.example:", "https://api.example:0443", "HTTPS://API.example/x?y#z", "https://user:password@api.example"},
		{"https://api.example:8443", "https://API.EXAMPLE:08443/"},
		{"http://api.example", "http://api.example:80", "http://api.example:080"},
		{"https://xn--bcher-kva.example", "https://bücher.example", "https://BÜCHER.example:443", "https://b%C3%BCcher.example"},
		{"https://[::1]", "https://[0:0:0:0:0:0:0:1]:443", "https://[0000::0001]"},
		{"https://api.example.", "https://API.example.", "https://api.example.:443"}, // a name of its own for browsers, too
		{"https://xn--bcher-kva.example.", "https://bücher.example."},
		{"https://xn--api-bec.example.", "https://apİ.example."}, // a dotted capital I is no i
		{"https://api..example", "https://api..example"},
		{"https://127.1", "https://127.1/"},
		{"https://xn--api-.example", "https://xn--api-.example/"}, // and not "https://api.example", which its decoding is
		{"https://xn--a.example", "https://xn--a.example/"},
	} {
		for _, address := range same {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			if got := Origin(u); got != same[0] {
				t.Errorf("%s: got %s, want %s", address, got, same[0])
			}
		}
	}
}

func TestAURLIsKeptExceptForItsForm(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://BÜCHER.example:443/größe/?q=a b&r=ü%20": "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe/?q=a%20b&r=%C3%BC%20",
		"https://www.example.com":                        "https://www.example.com",
		"https://www.example.com/":                       "https://www.example.com/",
		"https://www.example.com//a/b":                   "https://www.example.com//a/b",
		"https://www.example.com?a=/b//c":                "https://www.example.com?a=/b//c",
		"https://www.example.com/?":                      "https://www.example.com/?",
		"https://www.example.com/?q=\"<>'":               "https://www.example.com/?q=%22%3C%3E%27",
	} {
		if u, problem := ParseURL(raw); problem != "" || u.String() != want {
			t.Errorf("%q: got %v, %q, want %q", raw, u, problem, want)
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

func TestThisMachineByAnotherNameGetsOtherCookies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		host, base, domain string
		want               bool
	}{
		{"127.0.0.1:8080", "localhost:8080", "", true}, {"localhost", "127.0.0.1", "", true}, {"[::1]:8080", "localhost", "", true}, {"0.0.0.0:8080", "localhost", "", true}, {"localhost.", "localhost", "", true},
		{"a.localhost", "b.localhost", "", true}, {"a.localhost", "b.localhost", "b.localhost", true}, {"a.b.localhost", "b.localhost", "b.localhost", false}, {"b.localhost", "a.b.localhost", "b.localhost", false},
		{"LOCALHOST:1", "localhost:2", "", false}, {"app.example.com", "localhost", "", false}, {"10.0.0.1", "localhost", "", false}, {"localhost", "app.example.com", "", false}, {"", "localhost", "", false}, {"%", "localhost", "", false},
	} {
		if got := IsAnotherName(test.host, &url.URL{Scheme: "http", Host: test.base}, test.domain); got != test.want {
			t.Errorf("%q of %q with the Domain %q: got %t, want %t", test.host, test.base, test.domain, got, test.want)
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
		{"https://app.example.com", "https://app.example.com:443/a", "/a"},
		{"https://app.example.com/my%20app", "https://app.example.com/my%20app/a%20b?c", "/a%20b?c"},
		{"https://app.example.com/%7Euser", "https://app.example.com/%7Euser/a", "/a"},
		{"https://app.example.com/a%2Fb", "https://app.example.com/a%2Fb/c", "/c"},
		{"https://app.example.com/a%2Fb", "https://app.example.com/a/b/c", ""},
		{"https://app.example.com/gr%C3%B6%C3%9Fe", "https://app.example.com/gr%C3%B6%C3%9Fe/x", "/x"},
		{"https://app.example.com/a%2Fb", "https://app.example.com/a%2Fb/c|d?e", "/c%7Cd?e"},
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

func TestBrowsersChangeSomePathsWhichAreRefused(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`https://www.example.com/a\b`, "https://www.example.com/a/../b", "https://www.example.com/./a", "https://www.example.com/a/%2E%2e"} {
		if u, problem := ParseURL(raw); !strings.Contains(problem, "which browsers change") {
			t.Errorf("%s: %v, %q", raw, u, problem)
		}
	}
}

func TestSpellingsOfAPathBecomeOne(t *testing.T) {
	t.Parallel()
	for escaped, want := range map[string]string{
		"": "", "/": "/", "/app": "/app", "/%61pp/%2f%5c%25": "/app/%2F%5C%25", "/%7Euser": "/~user", "/o%27neil": "/o'neil", "/gr%c3%b6": "/gr%C3%B6", "/a%20b": "/a%20b",
		"/a%3fb%23": "/a%3Fb%23", "/%7C": "/%7C", "/%zz%6": "/%zz%6", "/100%": "/100%", "/%00": "/%00", "/%2e%2e/x": "/../x",
		"/%61?%61": "/a?%61", "/%61?": "/a?", "?": "?", "/%%61%": "/%a%", "/%25%361": "/%2561", "/a%3F?": "/a%3F?",
	} {
		if got := NormalPath(escaped); got != want {
			t.Errorf("%q: got %q, want %q", escaped, got, want)
		}
	}
}

func TestPathAndQueryAreAsTheyWereSent(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"/": "/", "": "/", "/a?": "/a?", "/a?b=c%20d#e": "/a?b=c%20d", "/a%2Fb": "/a%2Fb", "/%7Euser": "/%7Euser", "/~user": "/~user",
		"/a%2Fb|c": "/a%2Fb%7Cc", "/%7Euser|x?|": "/%7Euser%7Cx?|", "/gr%c3%b6%C3%9Fe": "/gr%c3%b6%C3%9Fe", "/größe%2Fx": "/gr%C3%B6%C3%9Fe%2Fx", `/a"b%2F`: "/a%22b%2F",
	} {
		u, err := url.Parse("https://app.example.com" + sent)
		if err != nil {
			t.Fatal(err)
		}
		if got := PathAndQuery(u); got != want {
			t.Errorf("%q: got %q, want %q", sent, got, want)
		}
	}
	moved := &url.URL{Path: "/b c", RawPath: "/a"} // by a middleware
	if got := PathAndQuery(moved); got != "/b%20c" {
		t.Errorf("a path without its RawPath: got %q", got)
	}
}

func TestTextIsPaddedByWhatNobodySees(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "secret": false, "two words": false, "s\u200becret": false,
		" secret": true, "secret\n": true, "\u00a0secret": true, "secret\u200b": true, "\ufeffsecret": true,
	} {
		if got := IsPadded(text); got != want {
			t.Errorf("%q: got %t, want %t", text, got, want)
		}
	}
}
