package web

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ParseServerURL is ParseURL for the address of a server, without a query. The result has no trailing slash.
func ParseServerURL(raw string) (u *url.URL, problem string) {
	u, problem = ParseURL(raw)
	switch {
	case problem != "":
		return nil, problem
	case u.RawQuery != "" || u.ForceQuery:
		return nil, "has a query; remove it"
	}
	setPath(u, strings.TrimRight(u.EscapedPath(), "/"))
	if u.Path != "" && !isPlainPath(u.Path) {
		return nil, "has a path with empty segments, or with a backslash or a dot segment when it is decoded; remove them"
	}
	return u, ""
}

// ParseURL parses an absolute URL of https, or of http on a loopback host, or says what is wrong with it. The result
// is as browsers write and send it (WHATWG URL, sections 3.5 and 4.4): the host in lower case and in ASCII, no port
// that the scheme implies, and a path in which escapes stay as they were given.
func ParseURL(raw string) (u *url.URL, problem string) {
	switch {
	case raw == "":
		return nil, "is empty"
	case IsPadded(raw):
		return nil, "begins or ends with a space or an invisible character; remove it"
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || !utf8.ValidString(raw):
		var reason *url.Error
		if errors.As(err, &reason) && !strings.Contains(raw, "@") { // else it could be a password
			return nil, fmt.Sprintf("is not a URL (%v)", reason.Err)
		}
		return nil, "is not a URL"
	case u.Scheme == "" || u.Hostname() == "":
		return nil, fmt.Sprintf("is %q, which is not an absolute URL", raw)
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Sprintf("has the scheme %q, not https", u.Scheme)
	case u.User != nil:
		return nil, "holds a user name or password; remove it"
	case strings.Contains(raw, "#"):
		return nil, "has a fragment; remove it"
	}
	if u.Host, problem = canonicalHost(u); problem != "" {
		return nil, problem
	}
	if u.Scheme == "http" && !IsLoopback(u.Hostname()) {
		return nil, fmt.Sprintf("is http on the host %q; only a loopback host may do without https", u.Hostname())
	}
	// url.URL decodes the path, and cannot give it back if only a part of it was escaped.
	_, path, _ := strings.Cut(raw, "//")
	path, _, _ = strings.Cut(path, "?")
	_, path, hasPath := strings.Cut(path, "/")
	if hasPath {
		path = "/" + path
	}
	setPath(u, EscapePath(path))
	if strings.Contains(path, "\\") || slices.ContainsFunc(strings.Split(u.EscapedPath(), "/"), isDotSegment) {
		return nil, "has a path with a backslash or a dot segment, which browsers change; remove it"
	}
	u.RawQuery = escape(u.RawQuery, "\"<>'")
	return u, ""
}

// IsPadded reports whether text begins or ends with a space or an invisible character. It was copied with too much, then.
func IsPadded(text string) bool {
	return strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }) != text
}

// isDotSegment reports whether browsers remove this segment of a path (WHATWG URL, section 4.1).
func isDotSegment(segment string) bool {
	dots := strings.ReplaceAll(strings.ToLower(segment), "%2e", ".")
	return dots == "." || dots == ".."
}

// setPath gives u a path that is escaped already.
func setPath(u *url.URL, escaped string) {
	u.Path, _ = url.PathUnescape(escaped)
	u.RawPath = escaped
}

// EscapePath is a path as browsers send it. Escapes in it stay as they are: browsers tell "/%7Euser" and "/~user"
// apart, also in the path of a cookie (RFC 6265, section 5.1.4). It escapes "|", too, as net/url does.
func EscapePath(path string) string { return escape(path, "?#"+neverInAddress) }

// EscapeAddress is an address, or a path with query and fragment, as it can stand in a header.
func EscapeAddress(address string) string { return escape(address, neverInAddress) }

const neverInAddress = "\"<>^`{}|"

// NormalPath is an escaped path, with or without a query, that has no more escapes than EscapePath makes, and an escaped
// slash. The query stays as it is. Routers take all spellings of a path for the same.
func NormalPath(target string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	path = escapes.ReplaceAllStringFunc(path, func(escaped string) string {
		char, _ := url.PathUnescape(escaped)
		if strings.ContainsAny(char, "/%\\") || EscapePath(char) != char {
			return strings.ToUpper(escaped)
		}
		return char
	})
	if hasQuery {
		path += "?" + query
	}
	return path
}

var escapes = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// PathAndQuery is the path and the query of an address as they were sent. url.URL.RequestURI decodes and escapes the whole
// path anew if one character in it should have been escaped, and loses an escaped slash.
func PathAndQuery(u *url.URL) string {
	path := u.EscapedPath()
	if decoded, err := url.PathUnescape(u.RawPath); err == nil && decoded == u.Path && u.RawPath != "" {
		path = EscapePath(u.RawPath)
	}
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" || u.ForceQuery {
		path += "?" + u.RawQuery
	}
	return path
}

// escape escapes what does not belong into an address, and these characters.
func escape(text, these string) string {
	var escaped strings.Builder
	for i := range len(text) {
		if b := text[i]; b <= ' ' || b >= 0x7f || strings.IndexByte(these, b) >= 0 {
			fmt.Fprintf(&escaped, "%%%02X", b)
		} else {
			escaped.WriteByte(b)
		}
	}
	return escaped.String()
}

// Origin is the origin of an address as browsers write it (RFC 6454, section 6.2).
func Origin(u *url.URL) string {
	origin, problem := originOf(u)
	if problem != "" { // browsers do not go there, and other clients use the host unchanged
		return strings.ToLower(u.Scheme) + "://" + u.Host
	}
	return origin
}

// originOf is the origin of an address, or what is wrong with its host. A name that ends in a dot is a host of its own.
func originOf(u *url.URL) (origin, problem string) {
	own := &url.URL{Scheme: strings.ToLower(u.Scheme), Host: u.Host}
	name, isRooted := strings.CutSuffix(u.Hostname(), ".")
	if isRooted {
		own.Host = strings.Replace(u.Host, name+".", name, 1)
	}
	host, problem := canonicalHost(own)
	if _, err := netip.ParseAddr(name); isRooted && err == nil {
		problem = "has an IP address that ends in a dot"
	}
	if isRooted {
		name, port, hasPort := strings.Cut(host, ":")
		if host = name + "."; hasPort {
			host += ":" + port
		}
	}
	return own.Scheme + "://" + host, problem
}

// canonicalHost is host and port as browsers write them, or what is wrong with them.
func canonicalHost(u *url.URL) (host, problem string) {
	if host, problem = canonicalHostname(u); problem != "" || u.Port() == "" {
		return host, problem
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case err != nil || port == 0:
		return "", fmt.Sprintf("has the port %s; give one from 1 to 65535", u.Port())
	case (u.Scheme == "https" && port == 443) || (u.Scheme == "http" && port == 80):
		return host, ""
	}
	return host + ":" + strconv.FormatUint(port, 10), ""
}

func canonicalHostname(u *url.URL) (host, problem string) {
	name := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		address, err := netip.ParseAddr(name)
		switch {
		case err != nil || address.Zone() != "":
			return "", fmt.Sprintf("has the host %q, which browsers do not take for an IPv6 address; write it without a zone", u.Host)
		case address.Is4In6(): // netip writes the end as IPv4 does
			end := address.As16()
			return fmt.Sprintf("[::ffff:%x:%x]", uint16(end[12])<<8|uint16(end[13]), uint16(end[14])<<8|uint16(end[15])), ""
		}
		return "[" + address.String() + "]", ""
	}
	isASCII := !strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf })
	hasASCIIForm := strings.Contains(strings.ToLower(name), "xn--")
	if !isASCII || hasASCIIForm {
		ascii, err := internationalized.ToASCII(name)
		if err == nil { // what letters are mapped to must be valid, too
			_, err = internationalized.ToASCII(ascii)
		}
		// The ASCII form of a name that needs none is another host than that name.
		if err != nil || !utf8.ValidString(name) || hasASCIIForm && ascii != strings.ToLower(name) {
			return "", fmt.Sprintf("has the host %q, which is not a valid internationalized name; write it as your registrar does, all in letters or all in the form that begins with xn--", name)
		}
		name = ascii
	}
	name = strings.ToLower(name)
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
		}) {
			return "", fmt.Sprintf("has the host %q; write names of at most 63 letters, digits and hyphens in ASCII with a dot between them, and none at the end", u.Hostname())
		}
	}
	if address, err := netip.ParseAddr(name); isNumber(labels[len(labels)-1]) && (err != nil || !address.Is4()) {
		return "", fmt.Sprintf("has the host %q, which browsers take for a number; write an IP address as four decimal numbers", u.Hostname())
	}
	return name, ""
}

// internationalized is the processing of names by browsers (UTS 46, with CheckBidi and CheckJoiners).
var internationalized = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))

// isNumber reports whether browsers take a name that ends in this label for an IPv4 address (WHATWG URL, section 3.5).
func isNumber(label string) bool {
	digits, isHex := strings.CutPrefix(label, "0x")
	return strings.Trim(digits, "0123456789") == "" || (isHex && strings.Trim(digits, "0123456789abcdef") == "")
}

// IsOrigin reports whether browsers send exactly this as an Origin. Applications and browser extensions have schemes
// of their own, such as "capacitor://localhost".
func IsOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || strings.Contains(u.Host, "*") {
		return false
	}
	switch u.Scheme {
	case "https", "http":
		own, problem := originOf(u)
		return problem == "" && own == origin
	case "ws", "wss", "ftp", "file", "about", "blob", "data", "javascript": // no page has such an origin
		return false
	}
	isASCII := !strings.ContainsFunc(origin, func(r rune) bool { return r >= utf8.RuneSelf })
	return isASCII && u.Scheme+"://"+u.Host == origin && !strings.HasSuffix(origin, ":")
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

// PathWithin is the path and the query of an address below a base, or "" if it is elsewhere.
func PathWithin(base *url.URL, address string) string {
	u, err := url.Parse(address)
	if err != nil || Origin(u) != Origin(base) {
		return ""
	}
	path, ok := strings.CutPrefix(PathAndQuery(u), base.EscapedPath())
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
