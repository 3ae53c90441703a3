package web

import (
	"net/url"
	"path"
	"strings"
)

// maxPath is the longest path that is carried through a sign-in, in bytes. A longer one is dropped, and
// the sign-in ends on the default page: written into a query twice, it would not fit into the 8 KiB that
// servers take for an address.
const maxPath = 2048

// IsSafePath reports whether target is a path of this application, with or
// without query and fragment, that no browser and no proxy takes for anything
// else. It is as strict as it can afford to be: what is refused only costs the
// user a click.
func IsSafePath(target string) bool {
	if target == "" || len(target) > maxPath || target[0] != '/' {
		return false
	}
	for i := range len(target) {
		// Browsers drop control characters and treat a backslash as a slash;
		// bytes outside ASCII belong percent-encoded.
		if b := target[i]; b <= ' ' || b >= 0x7f || b == '\\' {
			return false
		}
	}
	u, err := url.Parse(target)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" {
		return false
	}
	return isPlainPath(u.Path)
}

// IsCallbackPath reports whether a redirect URI may be given as this path of the application.
// RFC 6749, section 3.1.2, forbids a fragment; a query is refused for the sake of the
// callback's parameters.
func IsCallbackPath(path string) bool { return IsSafePath(path) && !strings.ContainsAny(path, "?#") }

// IsPostLogoutPath reports whether a post-logout redirect URI may be given as this path of the
// application.
func IsPostLogoutPath(path string) bool { return IsSafePath(path) && !strings.Contains(path, "#") }

// isPlainPath refuses a path that means another one after cleaning, or after
// decoding once more than it should be, as proxies and routers do.
func isPlainPath(decoded string) bool {
	for range 3 {
		if !strings.HasPrefix(decoded, "/") || strings.Contains(decoded, "//") || strings.Contains(decoded, "\\") {
			return false
		}
		for i := range len(decoded) {
			if decoded[i] < ' ' || decoded[i] == 0x7f {
				return false
			}
		}
		if cleaned := path.Clean(decoded); cleaned != decoded && cleaned+"/" != decoded {
			return false
		}
		again, err := url.PathUnescape(decoded)
		if err != nil || again == decoded {
			return true
		}
		decoded = again
	}
	return false
}

// PathOf returns the path part of a return path, decoded.
func PathOf(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return u.Path
}
