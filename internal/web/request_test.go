package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

const (
	chromiumAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
	jqueryAccept   = "text/html, */*; q=0.01"
)

// request is one with these headers, given as name and value in turn.
func request(method string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestNavigationsAreToldFromEverythingElse(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		r                       *http.Request
		isNavigation, showsPage bool
	}{
		"a link in a browser":                   {request("GET", "Accept", chromiumAccept, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), true, true},
		"a link in a browser of before 2020":    {request("GET", "Accept", chromiumAccept), true, true},
		"HEAD":                                  {request("HEAD", "Accept", chromiumAccept), true, true},
		"a form":                                {request("POST", "Accept", chromiumAccept, "Sec-Fetch-Mode", "navigate"), false, true},
		"a form in a browser of before 2020":    {request("POST", "Accept", chromiumAccept), false, false},
		"a form by fetch":                       {request("POST", "Accept", chromiumAccept, "Sec-Fetch-Mode", "cors"), false, false},
		"fetch":                                 {request("GET", "Accept", "*/*", "Sec-Fetch-Mode", "cors"), false, false},
		"fetch that asks for HTML":              {request("GET", "Accept", "text/html", "Sec-Fetch-Mode", "same-origin"), false, false},
		"an image":                              {request("GET", "Accept", "image/avif,*/*;q=0.8", "Sec-Fetch-Mode", "no-cors"), false, false},
		"a program that says nothing":           {request("GET"), false, false},
		"a program that wants no HTML":          {request("GET", "Accept", "text/html;q=0, application/json"), false, false},
		"PUT that accepts HTML":                 {request("PUT", "Accept", chromiumAccept, "Sec-Fetch-Mode", "navigate"), false, false},
		"OPTIONS that accepts HTML":             {request("OPTIONS", "Accept", chromiumAccept), false, false},
		"a method in lower case":                {request("get", "Accept", chromiumAccept), false, false},
		"a WebSocket":                           {request("GET", "Upgrade", "websocket", "Sec-Fetch-Mode", "websocket"), false, false},
		"a script of jQuery in an old browser":  {request("GET", "Accept", jqueryAccept), true, true},
		"Accept in two lines":                   {request("GET", "Accept", "image/png", "Accept", "TEXT/HTML"), true, true},
		"Accept with HTML that has a parameter": {request("GET", "Accept", "text/html;charset=utf-8;q=0.5"), true, true},
	} {
		if got := IsNavigation(test.r); got != test.isNavigation {
			t.Errorf("%s: IsNavigation is %t, want %t", name, got, test.isNavigation)
		}
		if got := ShowsPage(test.r); got != test.showsPage {
			t.Errorf("%s: ShowsPage is %t, want %t", name, got, test.showsPage)
		}
	}
}

func TestHTMLIsAcceptedOnlyByItsName(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"text/html": true, "TEXT/Html": true, " text/html ": true, "a/b,text/html": true, "text/html;q=0.1": true, "text/html; q=1.0": true, chromiumAccept: true, jqueryAccept: true,
		"": false, "*/*": false, "text/*": false, "application/xhtml+xml": false, "text/html;q=0": false, "text/html;q=0.000": false, "text/html; Q=0.0": false, "text/htmlx": false, "text": false, ",,;": false,
	} {
		if got := AcceptsHTML(http.Header{"Accept": {accept}}); got != want {
			t.Errorf("%q: got %t, want %t", accept, got, want)
		}
	}
}

func TestPrefetchesEmbeddingsAndHTMXAreKnownByTheirHeaders(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, value string
		is          func(http.Header) bool
		want        bool
	}{
		{"Sec-Purpose", "prefetch", IsPrefetch, true},
		{"Sec-Purpose", "prefetch;prerender", IsPrefetch, true},
		{"Sec-Purpose", "prefetch;anonymous-client-ip", IsPrefetch, true},
		{"Purpose", "prefetch", IsPrefetch, true},
		{"X-Moz", "prefetch", IsPrefetch, true},
		{"Sec-Purpose", "", IsPrefetch, false},
		{"Purpose", "preview", IsPrefetch, false},
		{"Sec-Fetch-Mode", "no-cors", IsSubresource, true},
		{"Sec-Fetch-Mode", "cors", IsSubresource, true},
		{"Sec-Fetch-Dest", "object", IsSubresource, true},
		{"Sec-Fetch-Dest", "embed", IsSubresource, true},
		{"Sec-Fetch-Mode", "navigate", IsSubresource, false},
		{"Sec-Fetch-Dest", "iframe", IsSubresource, false},
		{"Sec-Fetch-Dest", "document", IsSubresource, false},
		{"Sec-Fetch-Mode", "navigate", IsWanted, true},
		{"Sec-Purpose", "prefetch", IsWanted, false},
		{"Sec-Fetch-Dest", "object", IsWanted, false},
		{"HX-Request", "true", IsWanted, false},
		{"HX-Request", "true", IsHTMX, true},
		{"HX-Request", "false", IsHTMX, false},
		{"HX-Boosted", "true", IsHTMX, false},
		{"Sec-Fetch-Site", "cross-site", ComesFromAnotherOrigin, true},
		{"Sec-Fetch-Site", "same-site", ComesFromAnotherOrigin, true},
		{"Sec-Fetch-Site", "same-origin", ComesFromAnotherOrigin, false},
		{"Sec-Fetch-Site", "none", ComesFromAnotherOrigin, false},
	} {
		if got := test.is(request("GET", test.name, test.value).Header); got != test.want {
			t.Errorf("%s: %s: got %t, want %t", test.name, test.value, got, test.want)
		}
	}
	for name, is := range map[string]func(http.Header) bool{"IsPrefetch": IsPrefetch, "IsSubresource": IsSubresource, "IsHTMX": IsHTMX, "ComesFromAnotherOrigin": ComesFromAnotherOrigin} {
		if is(http.Header{}) {
			t.Errorf("%s is true without a header", name)
		}
	}
}

func TestUnsafeRequestsAndWebSocketsOfOtherOriginsAreCrossOrigin(t *testing.T) {
	t.Parallel()
	trusted := http.NewCrossOriginProtection()
	if err := trusted.AddTrustedOrigin("https://friend.example"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		r    *http.Request
		want bool
	}{
		"a form of our own":                 {request("POST", "Sec-Fetch-Site", "same-origin"), false},
		"a form of another site":            {request("POST", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"), true},
		"a form of a sibling":               {request("POST", "Sec-Fetch-Site", "same-site", "Origin", "https://a.example.com"), true},
		"a form of a friend":                {request("POST", "Sec-Fetch-Site", "cross-site", "Origin", "https://friend.example"), false},
		"an old browser at our host":        {request("POST", "Origin", "http://example.com"), false}, // httptest's host
		"an old browser at another host":    {request("DELETE", "Origin", "https://evil.example"), true},
		"a program":                         {request("POST"), false},
		"a link on another site":            {request("GET", "Sec-Fetch-Site", "cross-site"), false},
		"a WebSocket of another site":       {request("GET", "Upgrade", "websocket", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"), true},
		"a WebSocket in an old browser":     {request("GET", "Upgrade", "WebSocket", "Origin", "https://evil.example"), true},
		"a WebSocket of our own":            {request("GET", "Upgrade", "websocket", "Sec-Fetch-Site", "same-origin"), false},
		"a WebSocket of a friend":           {request("GET", "Upgrade", "websocket", "Origin", "https://friend.example"), false},
		"a WebSocket among others":          {request("GET", "Upgrade", "h2c, websocket", "Origin", "https://evil.example"), true},
		"a WebSocket with a version":        {request("GET", "Upgrade", "WebSocket/13", "Origin", "https://evil.example"), true},
		"an upgrade to something else":      {request("GET", "Upgrade", "h2c", "Sec-Fetch-Site", "cross-site"), false},
		"a WebSocket of a page without one": {request("GET", "Upgrade", "websocket", "Origin", "null"), true},
	} {
		method := test.r.Method
		if got := IsCrossOrigin(test.r, trusted); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
		if test.r.Method != method {
			t.Errorf("%s: the request has become %s", name, test.r.Method)
		}
	}
}
