// Package web answers questions about a request or an address: is it a page navigation, a
// prefetch, a safe path, of the same origin? Its functions are pure, and it knows nothing of
// sessions, of Logto or of a router. It does not decide what follows from an answer.
package web

import (
	"net/http"
	"strings"
)

// IsNavigation reports whether a browser is about to show the answer as a page, so that a
// redirect makes sense: a GET or HEAD that accepts HTML and is no subresource.
func IsNavigation(r *http.Request) bool {
	if (r.Method != http.MethodGet && r.Method != http.MethodHead) || isOfScript(r.Header) {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	return AcceptsHTML(r.Header)
}

// ShowsPage reports whether a browser says that it is about to show the answer, be it that to a
// form: a redirect would lose what was typed, but people should get something to read.
func ShowsPage(r *http.Request) bool {
	return IsNavigation(r) ||
		(r.Method == http.MethodPost && r.Header.Get("Sec-Fetch-Mode") == "navigate" && AcceptsHTML(r.Header))
}

// IsForm reports whether a browser is about to show the answer to a form.
func IsForm(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return r.Method == http.MethodPost && AcceptsHTML(r.Header) && !isOfScript(r.Header) && (mode == "" || mode == "navigate")
}

// AcceptsHTML reports whether the client asks for HTML in so many words; "*/*" is what every
// script sends (RFC 9110, section 12.5.1).
func AcceptsHTML(header http.Header) bool {
	for _, line := range header.Values("Accept") {
		for entry := range strings.SplitSeq(line, ",") {
			media, params, _ := strings.Cut(entry, ";")
			if strings.EqualFold(strings.TrimSpace(media), "text/html") && !isZeroQuality(params) {
				return true
			}
		}
	}
	return false
}

func isZeroQuality(params string) bool {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "q") {
			return strings.Trim(value, "0.") == ""
		}
	}
	return false
}

// IsPrefetch reports whether a browser loads a page before the user asks for it. Prerenders count.
func IsPrefetch(header http.Header) bool {
	return strings.Contains(header.Get("Sec-Purpose"), "prefetch") ||
		header.Get("Purpose") == "prefetch" || header.Get("X-Purpose") == "preview" || header.Get("X-Moz") == "prefetch"
}

// IsSubresource reports whether a browser loads something for a page that is already there: an
// image, a script, an object, or what a script fetches.
func IsSubresource(header http.Header) bool {
	mode := header.Get("Sec-Fetch-Mode")
	return (mode != "" && mode != "navigate") || IsEmbedded(header) || isOfScript(header)
}

// IsEmbedded reports whether a browser loads something that a page names, such as an image or an
// object, without a script of the page that could read it.
func IsEmbedded(header http.Header) bool {
	destination := header.Get("Sec-Fetch-Dest")
	return header.Get("Sec-Fetch-Mode") == "no-cors" || destination == "object" || destination == "embed"
}

// isOfScript reports whether an XMLHttpRequest says what it is; browsers without Fetch Metadata say
// nothing else. An Android WebView sends the name of its application in this header, with pages, too.
func isOfScript(header http.Header) bool {
	return strings.EqualFold(header.Get("X-Requested-With"), "XMLHttpRequest")
}

// IsWanted reports whether the user wants what a request asks for: it is no image, no script and no prefetch.
func IsWanted(header http.Header) bool {
	return !IsPrefetch(header) && !IsHTMX(header) && !IsSubresource(header)
}

// IsHTMX reports whether htmx made the request, which navigates by headers of its own.
func IsHTMX(header http.Header) bool { return header.Get("HX-Request") == "true" }

// ComesFromAnotherOrigin reports whether the browser says that a page of another origin led here.
func ComesFromAnotherOrigin(header http.Header) bool {
	site := header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

// IsCrossSite reports whether the browser says that a page of another site led here.
func IsCrossSite(header http.Header) bool { return header.Get("Sec-Fetch-Site") == "cross-site" }

// IsFramed reports whether a browser is about to show the answer within another page.
func IsFramed(header http.Header) bool {
	destination := header.Get("Sec-Fetch-Dest")
	return destination == "iframe" || destination == "frame"
}

// IsCrossOrigin reports whether an untrusted origin makes a request that can change state. A
// WebSocket handshake is a GET but counts as a POST.
func IsCrossOrigin(r *http.Request, trusted *http.CrossOriginProtection) bool {
	if opensWebSocket(r.Header) {
		unsafe := *r
		unsafe.Method = http.MethodPost
		r = &unsafe
	}
	return trusted.Check(r) != nil
}

// opensWebSocket reports whether one of the protocols that the request asks for is WebSocket
// (RFC 9110, section 7.8).
func opensWebSocket(header http.Header) bool {
	for _, line := range header.Values("Upgrade") {
		for protocol := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(protocol), "/")
			if strings.EqualFold(name, "websocket") {
				return true
			}
		}
	}
	return false
}
