package main

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// startApp runs the application and a fake Logto.
func startApp(t *testing.T, changes ...func(*config)) (baseURL string, fake *logtotest.Server) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	baseURL = "http://" + server.Listener.Addr().String()
	fake, err := startFake(baseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	cfg := fakeConfig(fake, baseURL)
	for _, change := range changes {
		change(&cfg)
	}
	serveApp(t, server, cfg)
	return baseURL, fake
}

func serveApp(t *testing.T, server *httptest.Server, cfg config) *logtogin.Auth {
	t.Helper()
	router, auth, err := newApp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = router
	server.Start()
	t.Cleanup(func() {
		server.Close()
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	return auth
}

// browser keeps cookies and follows redirects.
type browser struct {
	t      *testing.T
	client *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar}}
}

// document is a page and the address where it was found.
type document struct {
	status int
	url    *url.URL
	header http.Header
	body   string
}

func (b *browser) do(method, address string, form url.Values) document {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.send(request)
}

func (b *browser) send(request *http.Request) document {
	b.t.Helper()
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if next := refresh.FindSubmatch(body); next != nil {
		target, err := response.Request.URL.Parse(html.UnescapeString(string(next[1])))
		if err != nil {
			b.t.Fatal(err)
		}
		return b.get(target.String())
	}
	return document{response.StatusCode, response.Request.URL, response.Header, string(body)}
}

// refresh is how a page leads on at once.
var refresh = regexp.MustCompile(`<meta http-equiv="refresh" content="0; url=([^"]*)">`)

func (b *browser) get(address string) document {
	b.t.Helper()
	return b.do(http.MethodGet, address, nil)
}

var (
	formElement = regexp.MustCompile(`(?s)<form\b[^>]*>.*?</form>`)
	fieldTag    = regexp.MustCompile(`<(?:input|button)\b[^>]*>`)
	attribute   = regexp.MustCompile(`([a-z-]+)="([^"]*)"`)
)

func attributes(tag string) map[string]string {
	found := map[string]string{}
	for _, match := range attribute.FindAllStringSubmatch(tag, -1) {
		found[match[1]] = html.UnescapeString(match[2])
	}
	return found
}

// submit sends the form of a page that goes to an action, "" for the first one, with its
// fields as they are except for those given.
func (b *browser) submit(page document, action string, fields map[string]string) document {
	b.t.Helper()
	for _, form := range formElement.FindAllString(page.body, -1) {
		tag := attributes(form[:strings.Index(form, ">")])
		if action != "" && tag["action"] != action {
			continue
		}
		values := url.Values{}
		add := func(fields []string, formID string) {
			for _, field := range fields {
				if has := attributes(field); has["name"] != "" && has["form"] == formID {
					values.Set(has["name"], has["value"])
				}
			}
		}
		add(fieldTag.FindAllString(form, -1), "")
		if tag["id"] != "" { // Logto's sign-out page has a field beside the form
			add(fieldTag.FindAllString(page.body, -1), tag["id"])
		}
		for name, value := range fields {
			if !values.Has(name) {
				b.t.Fatalf("the form at %s has no field %q", page.url, name)
			}
			values.Set(name, value)
		}
		target, err := page.url.Parse(tag["action"])
		if err != nil {
			b.t.Fatal(err)
		}
		return b.do(strings.ToUpper(tag["method"]), target.String(), values)
	}
	b.t.Fatalf("no form to %q at %s:\n%s", action, page.url, page.body)
	panic("unreachable")
}

// signIn opens an address that leads to Logto and signs alice in there.
func (b *browser) signIn(address string) document {
	b.t.Helper()
	return b.signInAs(alice(), address)
}

func (b *browser) signInAs(user logtotest.User, address string) document {
	b.t.Helper()
	return b.submit(b.get(address), "", map[string]string{"username": user.Username, "password": user.Password})
}

func (d document) mustBe(t *testing.T, status int, address string, contents ...string) {
	t.Helper()
	if d.status != status || d.url.String() != address {
		t.Fatalf("%d at %s, want %d at %s\n%s", d.status, d.url, status, address, d.body)
	}
	if n := strings.Count(d.body, "<h1"); n != 1 {
		t.Errorf("%s has %d h1, want one", address, n)
	}
	for _, content := range contents {
		if !strings.Contains(html.UnescapeString(d.body), content) {
			t.Errorf("%s lacks %q:\n%s", address, content, d.body)
		}
	}
}

func (d document) mustLack(t *testing.T, contents ...string) {
	t.Helper()
	for _, content := range contents {
		if strings.Contains(html.UnescapeString(d.body), content) {
			t.Errorf("%s has %q:\n%s", d.url, content, d.body)
		}
	}
}

// mustLeadToSignIn: the browser has been sent to Logto, which asks who it is.
func (d document) mustLeadToSignIn(t *testing.T, fake *logtotest.Server) {
	t.Helper()
	if !strings.HasPrefix(d.url.String(), fake.Endpoint()+"/sign-in") {
		t.Fatalf("%d at %s, want Logto's sign-in page\n%s", d.status, d.url, d.body)
	}
}
