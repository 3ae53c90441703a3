package web

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestOnlyPathsThatNobodyTakesForAnythingElseAreSafe(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]bool{
		"/": true, "/profile": true, "/profile/": true, "/profile?x=1#y": true, "/a?//b": true, "/a#//b": true, "/caf%C3%A9": true, "/a;b=1": true, "/@me": true, "/a:b": true, "/my%20file": true, "/a%2Fb": true, "/100%25": true,
		"/" + strings.Repeat("a", maxPath-1): true, "/" + strings.Repeat("a", maxPath): false,
		"": false, "profile": false, "?x": false, "#x": false, "*": false,
		"//evil.example": false, "///evil.example": false, `/\evil.example`: false, "/%2fevil.example": false, "/%252fevil.example": false, "/%5cevil.example": false,
		"/\t/x": false, "/a b": false, "/a\n": false, "/%00": false, "/%0d%0aa": false, "/café": false, "/\xff": false, "/\x7f": false,
		"/.": false, "/..": false, "/a/../b": false, "/./a": false, "/%2e%2e/a": false, "/a/%252e%252e%252fb": false, "/a//b": false,
		"https://evil.example": false, "https:/profile": false, "javascript:alert(1)": false, "//app@evil.example": false, "/%": false, "/%zz": false,
	} {
		if got := IsSafePath(target); got != want {
			t.Errorf("%q: got %t, want %t", target, got, want)
		}
	}
}

func TestPathOfIsDecodedAndWithoutQuery(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"/a?b#c": "/a", "/%61/b": "/a/b", "/a%2Fb": "/a/b", "": "", "/%zz": "",
	} {
		if got := PathOf(target); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
}

// C98.
func FuzzSafePath(f *testing.F) {
	for _, seed := range []string{
		"/", "/profile?x=1#y", "//evil.example", `/\evil.example`, "/%2f%2fevil.example", "/%255cevil", "/a/../b", "/.%2e/x", "/a//b", "/\t/x", "/a%00",
		"/%25252fevil.example", "https:evil.example", "/caf%C3%A9", "/a;b=1", "/@me", "/:80", "/%", "/a?//b", "/a#//b", "/a%2fb",
	} {
		f.Add(seed)
	}
	base := &url.URL{Scheme: "https", Host: "app.example.com"}
	f.Fuzz(func(t *testing.T, given string) {
		if !IsSafePath(given) {
			return
		}
		if given[0] != '/' || len(given) > maxPath {
			t.Fatalf("%q is accepted", given)
		}
		reference, err := url.Parse(given)
		if err != nil {
			t.Fatalf("%q: %v", given, err)
		}
		if to := base.ResolveReference(reference); to.Host != base.Host || to.Scheme != base.Scheme || to.User != nil {
			t.Fatalf("%q leads to %s", given, to)
		}
		decoded, _, _ := strings.Cut(given, "#")
		decoded, _, _ = strings.Cut(decoded, "?")
		for range 5 {
			if strings.HasPrefix(decoded, "//") || strings.ContainsAny(decoded, "\\") || strings.ContainsFunc(decoded, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
				t.Fatalf("%q becomes %q", given, decoded)
			}
			if clean := path.Clean(decoded); clean != decoded && clean+"/" != decoded {
				t.Fatalf("%q becomes %q and is cleaned to %q", given, decoded, clean)
			}
			if decoded, err = url.PathUnescape(decoded); err != nil {
				return
			}
		}
	})
}
