// Package webtest has a browser without scripts, for applications and providers on real
// listeners, and starts such applications.
package webtest

import (
	"encoding/json"
	"errors"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

const timeout = 2 * time.Minute

// Page is what came of a request.
type Page struct {
	Status   int
	Header   http.Header
	Cookies  []*http.Cookie // that it sets
	URL      *url.URL       // where the redirects have ended
	Location *url.URL       // where the next one leads, nil if there is none
	Body     string
}

// Read reads what a client or a transport has returned.
func Read(response *http.Response, err error) (Page, error) {
	if err != nil {
		return Page{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	location, _ := response.Location()
	return Page{response.StatusCode, response.Header, response.Cookies(), response.Request.URL, location, string(body)}, err
}

// Members are the members of a JSON object.
func (p Page) Members(tb testing.TB) (members map[string]any) {
	tb.Helper()
	if err := json.Unmarshal([]byte(p.Body), &members); err != nil {
		tb.Fatalf("%s answers %d %q: %v", p.URL, p.Status, p.Body, err)
	}
	return members
}

var (
	formElement = regexp.MustCompile(`<form[^>]*>`)
	formAction  = regexp.MustCompile(`action="([^"]*)"`)
	hiddenInput = regexp.MustCompile(`<input[^>]*type="hidden"[^>]*>`)
	attribute   = regexp.MustCompile(`(name|value)="([^"]*)"`)
)

// Form is where the form of the page goes, and its hidden fields.
func (p Page) Form() (target *url.URL, fields url.Values, err error) {
	element := formElement.FindString(p.Body)
	if element == "" {
		return nil, nil, errors.New("there is no form")
	}
	target, fields = p.URL, url.Values{}
	if found := formAction.FindStringSubmatch(element); found != nil {
		if target, err = p.URL.Parse(html.UnescapeString(found[1])); err != nil {
			return nil, nil, err
		}
	}
	for _, input := range hiddenInput.FindAllString(p.Body, -1) {
		found := map[string]string{}
		for _, match := range attribute.FindAllStringSubmatch(input, -1) {
			found[match[1]] = html.UnescapeString(match[2])
		}
		fields.Set(found["name"], found["value"])
	}
	return target, fields, nil
}

// Browser keeps cookies, follows redirects and fills in forms. What fails fails the test.
type Browser struct {
	Client *http.Client
	tb     testing.TB

	// Sends is in the header of each request. At first it says that the browser navigates.
	Sends http.Header

	// Stops, if set, says before which addresses the browser stops. Location is such an address.
	Stops func(*url.URL) bool
}

// New returns a browser without cookies.
func New(tb testing.TB) *Browser {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	b := &Browser{tb: tb, Sends: http.Header{
		"Accept":         {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Sec-Fetch-Mode": {"navigate"},
		"Sec-Fetch-Dest": {"document"},
	}}
	b.Client = &http.Client{Jar: jar, Timeout: timeout, Transport: &http.Transport{}, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 20 || (b.Stops != nil && b.Stops(r.URL)) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	tb.Cleanup(b.Client.CloseIdleConnections)
	return b
}

// Get opens an address.
func (b *Browser) Get(address string) Page {
	b.tb.Helper()
	return b.must(b.Try(http.MethodGet, address, nil))
}

// Look is Get without following redirects.
func (b *Browser) Look(address string) Page {
	b.tb.Helper()
	defer func(stops func(*url.URL) bool) { b.Stops = stops }(b.Stops)
	b.Stops = func(*url.URL) bool { return true }
	return b.Get(address)
}

// Post sends a form.
func (b *Browser) Post(address string, form url.Values) Page {
	b.tb.Helper()
	return b.must(b.Try(http.MethodPost, address, form))
}

// Submit sends the form of a page with its hidden fields and the given ones.
func (b *Browser) Submit(page Page, fields url.Values) Page {
	b.tb.Helper()
	target, form, err := page.Form()
	if err != nil {
		b.tb.Fatalf("%s: %v: %d %s", page.URL, err, page.Status, page.Body)
	}
	maps.Copy(form, fields)
	return b.Post(target.String(), form)
}

// SignIn opens an address that leads to a sign-in page, and fills that in, unless nobody is asked.
func (b *Browser) SignIn(address, username, password string) Page {
	b.tb.Helper()
	page := b.Get(address)
	if !strings.Contains(page.Body, `name="password"`) {
		return page
	}
	return b.Submit(page, url.Values{"username": {username}, "password": {password}})
}

// Try makes a request with these cookies besides the browser's own. Any goroutine may call it.
func (b *Browser) Try(method, address string, form url.Values, cookies ...*http.Cookie) (Page, error) {
	r, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return Page{}, err
	}
	maps.Copy(r.Header, b.Sends)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	return Read(b.Client.Do(r))
}

func (b *Browser) must(page Page, err error) Page {
	b.tb.Helper()
	if err != nil {
		b.tb.Fatal(err)
	}
	return page
}

// Cookies are the cookies that the browser sends to an address.
func (b *Browser) Cookies(address string) []*http.Cookie {
	b.tb.Helper()
	return b.Client.Jar.Cookies(b.parse(address))
}

// SetCookies puts cookies into the browser, as an answer of an address does.
func (b *Browser) SetCookies(address string, cookies []*http.Cookie) {
	b.tb.Helper()
	b.Client.Jar.SetCookies(b.parse(address), cookies)
}

func (b *Browser) parse(address string) *url.URL {
	b.tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.tb.Fatal(err)
	}
	return u
}
