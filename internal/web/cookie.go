package web

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// CookiePath is the Path of a cookie as browsers send it, "/" for none, or what is wrong with the given one.
func CookiePath(given string) (path, problem string) {
	path = cmp.Or(EscapePath(given), "/") // net/http drops what is not ASCII
	if !IsSafePath(path) || strings.ContainsAny(given, ";,?#") {
		return "", fmt.Sprintf(`is %q; give a plain path that begins with "/", without empty or dot segments and without any of ";,?#"`, given)
	}
	return path, ""
}

// CookieDomain is the Domain of a cookie as browsers write it, "" for none, or why they would refuse the given one. base
// is the address that sets the cookie, nil if it is not known.
func CookieDomain(given string, base *url.URL) (domain, problem string) {
	domain = given
	if name := strings.TrimPrefix(given, "."); name != "" {
		u, problem := ParseServerURL("https://" + name)
		if problem != "" || strings.ContainsAny(name, ":/") {
			return "", fmt.Sprintf("is %q; give the name of a host, without a port and without a dot at the end", given)
		}
		domain = u.Host
	}
	if domain != "" && base != nil && base.Hostname() != domain && !IsParentDomain(domain, base.Hostname()) {
		return "", fmt.Sprintf("is %q, so browsers would refuse cookies from %s; give that host or a parent domain of it", domain, base.Hostname())
	}
	return domain, ""
}

// CookieNameProblem is why browsers would refuse cookies whose names begin with this, or "". isBound says that they have
// no Domain and the Path "/", and isHTTP that http sends them (RFC 6265bis, section 4.1.3).
func CookieNameProblem(name string, longest int, isBound, isHTTP bool) string {
	// Browsers do not mind the case of the prefixes.
	isHost := strings.HasPrefix(strings.ToLower(name), "__host-")
	isSecure := strings.HasPrefix(strings.ToLower(name), "__secure-")
	switch {
	case isHost && !isBound:
		return `begins with "__Host-", with which browsers refuse cookies that have a Domain or a Path other than "/"; unset those or choose another name`
	case (isHost || isSecure) && isHTTP:
		return "has a prefix that browsers accept with https only, but BaseURL is http; choose another name"
	case len(name) > longest || strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}):
		return fmt.Sprintf("is %q; give up to %d letters, digits, hyphens and underscores, which are sent with each of the cookies", name, longest)
	}
	return ""
}

// IsSentTo reports whether browsers send a cookie with this Path to a path, with or without a query, both as they are
// sent (RFC 6265, section 5.1.4).
func IsSentTo(path, cookiePath string) bool {
	rest, ok := strings.CutPrefix(path, cookiePath)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?' || strings.HasSuffix(cookiePath, "/"))
}

// IsParentDomain reports whether browsers take a cookie of the host for the domain (RFC 6265,
// section 5.1.3). Only public suffixes of one label are recognized.
func IsParentDomain(domain, host string) bool {
	return net.ParseIP(host) == nil && strings.Contains(domain, ".") && strings.HasSuffix(host, "."+domain)
}

// IsAnotherName reports whether a host is this machine by another name than base, which is this machine, too, and so
// cookies of base with this Domain do not get there. Names include the addresses that servers print when they listen
// everywhere. The port does not matter: cookies go to all ports of a host (RFC 6265, section 8.5).
func IsAnotherName(host string, base *url.URL, domain string) bool {
	u, err := url.Parse(Origin(&url.URL{Scheme: base.Scheme, Host: host}))
	if err != nil || !IsLoopback(base.Hostname()) {
		return false
	}
	name := u.Hostname()
	ip := net.ParseIP(name)
	isThisMachine := IsLoopback(strings.TrimSuffix(name, ".")) || (ip != nil && ip.IsUnspecified())
	return isThisMachine && name != base.Hostname() && name != domain && !IsParentDomain(domain, name)
}
