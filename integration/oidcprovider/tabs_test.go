package oidcprovider_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/integration/oidcprovider"
)

// tab is a tab of a browser that has several. It follows one redirect at a time.
type tab struct {
	request request
	at      page
}

// newTabs returns a browser with a session of the engine's, and n tabs that have not begun.
func newTabs(t *testing.T, provider *oidcprovider.Provider, n int) (*browser, []*tab) {
	t.Helper()
	b := newBrowser(t, provider)
	b.signIn(nil)
	b.Stops = func(*url.URL) bool { return true }
	all := make([]*tab, n)
	for i := range all {
		all[i] = &tab{request: b.newRequest(nil)}
	}
	return b, all
}

func (b *browser) authorize(each *tab) { each.at = b.Get(each.request.address) }

// hop reports whether there was a redirect within the provider.
func (b *browser) hop(each *tab) bool {
	if each.at.Location == nil || !strings.HasPrefix(each.at.Location.String(), b.provider.Endpoint()+"/") {
		return false
	}
	each.at = b.Get(each.at.Location.String())
	return true
}

func (b *browser) finish(each *tab) {
	for b.hop(each) {
	}
}

// outcome is the number of the tab whose answer this one has got, or why it has none.
func outcome(ended *tab, all []*tab) string {
	if at := ended.at.Location; at != nil && at.Query().Get("code") != "" {
		for i, each := range all {
			if each.request.state == at.Query().Get("state") {
				return fmt.Sprint("tab ", i+1)
			}
		}
	}
	var refusal struct {
		Description string `json:"error_description"`
	}
	if ended.at.Status == http.StatusBadRequest && json.Unmarshal([]byte(ended.at.Body), &refusal) == nil {
		return refusal.Description
	}
	return ended.at.URL.Path
}

func (b *browser) sessionCookie() string {
	root, _ := url.Parse(b.provider.Endpoint() + "/")
	for _, cookie := range b.Client.Jar.Cookies(root) {
		if cookie.Name == "_session" {
			return cookie.Value
		}
	}
	return ""
}

func TestASilentSignInTakesTheHopsOfLogto(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})
	b, all := newTabs(t, provider, 1)
	session, own := b.sessionCookie(), all[0]
	b.authorize(own)
	if own.at.Status != http.StatusSeeOther || own.at.Location.RequestURI() != "/consent?app_id="+oidcprovider.DefaultClientID {
		t.Fatalf("%d to %v", own.at.Status, own.at.Location)
	}
	paths := map[string]string{}
	for _, line := range own.at.Header.Values("Set-Cookie") {
		name, rest, _ := strings.Cut(line, "=")
		value, attributes, _ := strings.Cut(rest, "; ")
		paths[name], _, _ = strings.Cut(strings.TrimPrefix(attributes, "path="), ";")
		if !strings.HasSuffix(name, ".sig") && (!strings.Contains(attributes, "samesite=lax") || !strings.Contains(attributes, "httponly")) {
			t.Errorf("%s", line)
		}
		if name != "_interaction" {
			continue
		}
		decoded, err := url.PathUnescape(value)
		var uids map[string]string
		if err != nil || json.Unmarshal([]byte(decoded), &uids) != nil || len(uids) != 2 || uids["_legacy"] != uids[oidcprovider.DefaultClientID] {
			t.Errorf("%s", decoded)
		}
	}
	b.hop(own)
	resume := own.at.Location.Path
	if own.at.Status != http.StatusFound || !strings.HasPrefix(resume, "/oidc/auth/") || len(own.at.Header.Values("Set-Cookie")) != 0 {
		t.Fatalf("%d to %v with %q", own.at.Status, own.at.Location, own.at.Header.Values("Set-Cookie"))
	}
	for name, path := range map[string]string{"_logto": "/", "_interaction": "/", "_interaction_resume": resume, "_session": "/"} {
		if paths[name] != path || paths[name+".sig"] != path {
			t.Errorf("%s and its signature are for %q and %q, want %s", name, paths[name], paths[name+".sig"], path)
		}
	}
	if len(paths) != 8 {
		t.Errorf("the cookies are %v", paths)
	}
	before := b.cookiesFor(own.at.Location)
	if b.hop(own); own.at.Status != http.StatusSeeOther || outcome(own, all) != "tab 1" || b.sessionCookie() == session {
		t.Errorf("%d to %v, the session is still %s", own.at.Status, own.at.Location, session)
	}
	for description, cookies := range map[string]string{
		"authorization request has expired": b.cookiesFor(own.at.URL), "interaction session not found": before,
	} {
		var body map[string]any
		again := b.getWith(own.at.URL, cookies)
		if err := json.Unmarshal([]byte(again.Body), &body); err != nil || again.Status != http.StatusBadRequest {
			t.Fatalf("%d %s", again.Status, again.Body)
		}
		expect(t, body, map[string]any{
			"code": "session.not_found", "message": "Session not found. Please go back and sign in again.",
			"error": "invalid_request", "error_description": description, "iss": provider.Issuer(),
		})
	}
}

func TestSeveralSilentSignInsOfOneBrowserDisturbEachOther(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})
	const expired = "authorization request has expired"
	for name, test := range map[string]struct {
		order []int // of the tabs, once all have begun; nil: one whole sign-in after the other
		whole bool  // each tab to its end
		want  []string
	}{
		"all consents and then all resumes": {[]int{0, 1, 2}, false, []string{"tab 3", expired, expired}},
		"the same in reversed order":        {[]int{2, 1, 0}, false, []string{expired, expired, "tab 3"}},
		"tab by tab to the end":             {[]int{0, 1, 2}, true, []string{"tab 3", "/unknown-session", "/unknown-session"}},
		"one whole sign-in after the other": {nil, true, []string{"tab 1", "tab 2", "tab 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, all := newTabs(t, provider, 3)
			for _, each := range all {
				if b.authorize(each); test.order == nil {
					b.finish(each)
				}
			}
			for range 2 {
				for _, i := range test.order {
					if b.hop(all[i]); test.whole {
						b.finish(all[i])
					}
				}
			}
			for i, each := range all {
				if got := outcome(each, all); got != test.want[i] {
					t.Errorf("tab %d has got the answer of %s, want %s", i+1, got, test.want[i])
				}
			}
		})
	}
}

func TestOfSeveralSignInPagesOfOneBrowserOneIsOfUse(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})
	b := newBrowser(t, provider)
	all := []*tab{{request: b.newRequest(nil)}, {request: b.newRequest(nil)}}
	for _, each := range all {
		b.authorize(each)
	}
	if all[0].at = b.Post(all[0].at.URL.String(), credentials); outcome(all[0], all) != "tab 2" {
		t.Errorf("the tab with the sign-in has got the answer of %s", outcome(all[0], all))
	}
	page := all[1].at.URL.String()
	if reloaded := b.Get(page); reloaded.URL.Path != "/unknown-session" {
		t.Errorf("the other, reloaded: %d at %s", reloaded.Status, reloaded.URL)
	}
	if submitted := b.Post(page, credentials); submitted.Status != http.StatusBadRequest || !strings.Contains(submitted.Body, "session.not_found") {
		t.Errorf("the other, submitted: %d at %s: %s", submitted.Status, submitted.URL, submitted.Body)
	}
	if b.authorize(all[1]); outcome(all[1], all) != "tab 2" {
		t.Errorf("opened again: %d at %s", all[1].at.Status, all[1].at.URL)
	}
}

func TestAStaleSessionCannotResume(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})
	b, all := newTabs(t, provider, 2)
	for _, each := range all {
		b.authorize(each)
		b.hop(each)
	}
	stale := b.cookiesFor(all[0].at.Location)
	b.hop(all[1])
	all[0].at = b.getWith(all[0].at.Location, stale)
	if got := outcome(all[0], all); got != "interaction session and authentication session mismatch" || !strings.Contains(all[0].at.Body, `"oidc.invalid_request"`) {
		t.Errorf("%d %s", all[0].at.Status, all[0].at.Body)
	}
	if !strings.Contains(strings.Join(all[0].at.Header.Values("Set-Cookie"), "\n"), "_session=") {
		t.Errorf("no anonymous session in %q", all[0].at.Header)
	}
}

func (b *browser) cookiesFor(address *url.URL) string {
	var pairs []string
	for _, cookie := range b.Client.Jar.Cookies(address) {
		pairs = append(pairs, cookie.Name+"="+cookie.Value)
	}
	return strings.Join(pairs, "; ")
}

// getWith sends these cookies and keeps none.
func (b *browser) getWith(address *url.URL, cookies string) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address.String(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Cookie", cookies)
	response, err := b.Client.Transport.RoundTrip(r)
	return b.read(response, err)
}

// The engine reads requests that arrive in one piece before it answers the first of them.
func TestTwoResumesAtOnceDoLastingDamage(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{Resources: []oidcprovider.Resource{api}})
	b, all := newTabs(t, provider, 3)
	var both strings.Builder
	for _, each := range all[:2] {
		b.authorize(each)
		b.hop(each)
	}
	for _, each := range all[:2] {
		to := each.at.Location
		_, _ = fmt.Fprintf(&both, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", to.RequestURI(), to.Host, b.cookiesFor(to))
	}
	connection, err := net.Dial("tcp", all[0].at.Location.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte(both.String())); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(connection)
	for i, each := range all[:2] {
		request := &http.Request{Method: http.MethodGet, URL: each.at.Location}
		response, err := http.ReadResponse(answers, request)
		each.at = b.read(response, err)
		if got := outcome(each, all); got != fmt.Sprint("tab ", i+1) {
			t.Errorf("tab %d: %s", i+1, got)
		}
		b.Client.Jar.SetCookies(request.URL, response.Cookies())
	}
	last := all[2]
	b.authorize(last)
	if last.at.Location == nil || last.at.Location.Path != "/consent" {
		t.Fatalf("the next sign-in: %d to %v", last.at.Status, last.at.Location)
	}
	if b.finish(last); outcome(last, all) != "/unknown-session" {
		t.Errorf("the next sign-in: %s", outcome(last, all))
	}
	if b.authorize(last); last.at.Location == nil || last.at.Location.Path != "/sign-in" {
		t.Errorf("the one after: %d to %v", last.at.Status, last.at.Location)
	}
}
