package web

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// ParseServerURL parses the URL of a server without its trailing slash, or says what is wrong
// with it. Its host is as browsers write it.
func ParseServerURL(raw string) (u *url.URL, problem string) {
	if raw == "" {
		return nil, "is empty"
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, "is not a URL"
	case u.Scheme == "" || u.Host == "" || u.Hostname() == "":
		return nil, fmt.Sprintf("is %q, which is not an absolute URL", raw)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Sprintf("has the scheme %q, not https", u.Scheme)
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return nil, fmt.Sprintf("is http on the host %q; only a loopback host may do without https", u.Hostname())
	case u.User != nil:
		return nil, "holds a user name or password; remove it"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, "has a query or a fragment; remove it"
	}
	u.Host = CanonicalHost(u)
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	if u.Path != "" && !isPlainPath(u.Path) {
		return nil, "has a path with empty or dot segments; remove them"
	}
	return u, ""
}

// CanonicalHost is host and port as browsers write them in an Origin (RFC 6454, section 6.2).
func CanonicalHost(u *url.URL) string {
	usual := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	return strings.TrimSuffix(strings.ToLower(u.Host), usual)
}

// Origin is the origin of an address as browsers write it.
func Origin(u *url.URL) string { return u.Scheme + "://" + CanonicalHost(u) }

// IsOrigin reports whether browsers send exactly this as an Origin, of http or https.
func IsOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" &&
		!strings.Contains(u.Host, "*") && Origin(u) == origin
}

// IsLoopback reports whether a host is this machine: localhost, a name below it (RFC 6761,
// section 6.3), or an address of the loopback network.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// IsParentDomain reports whether browsers take a cookie of the host for the domain (RFC 6265,
// section 5.1.3). Only public suffixes of one label are recognized.
func IsParentDomain(domain, host string) bool {
	return net.ParseIP(host) == nil && strings.Contains(domain, ".") && strings.HasSuffix(host, "."+domain)
}

// PathWithin is the path and the query of an address below a base, or "" if it is elsewhere.
func PathWithin(base *url.URL, address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != base.Scheme || u.Host != base.Host {
		return ""
	}
	path, ok := strings.CutPrefix(u.RequestURI(), base.Path)
	if !ok || !strings.HasPrefix(path, "/") { // "/apple" is not below "/app"
		return ""
	}
	return path
}

// WithQuery returns an address with these parameters set. They replace parameters of the same
// name; only the first value of each counts.
func WithQuery(address string, params url.Values) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	query := u.Query()
	for name := range params {
		query.Set(name, params.Get(name))
	}
	u.RawQuery = query.Encode()
	return u.String()
}
