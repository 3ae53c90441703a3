package browser_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/logtogin/logtogin/integration/processes"
)

const wait = time.Minute

// chromium is a browser with a new profile.
type chromium struct{ ctx context.Context }

func startChromium(t *testing.T, options ...chromedp.ExecAllocatorOption) chromium {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("there is no chromium: install the Debian package chromium")
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), append(slices.Concat(chromedp.DefaultExecAllocatorOptions[:], options),
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // as root there is none
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		chromedp.WSURLReadTimeout(wait),
	)...)
	t.Cleanup(end)
	ctx, _ := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("chromium does not end: %v", err)
		}
	})
	return chromium{ctx}
}

// tab is one of a window. What goes wrong on its pages fails the test when it is over,
// unless it was announced by mayFail.
type tab struct {
	*testing.T
	ctx    context.Context
	opened time.Time // is set by the tests that say how long it took

	mu       sync.Mutex
	statuses map[string]int64 // of documents, by address without fragment
	visits   []string         // the requests for documents, redirects included
	largest  int              // of the plugin's cookies in one request, in bytes
	problems []problem
	expected []problem
}

// problem is an error message in the console, or a request that failed.
type problem struct{ address, what string }

// window opens the first tab of a window that shares nothing with others, as a private one
// does.
func (b chromium) window(t *testing.T) *tab {
	t.Helper()
	return openTab(t, b.ctx, chromedp.WithNewBrowserContext())
}

// another opens a tab beside this one.
func (b *tab) another() *tab {
	b.Helper()
	return openTab(b.T, b.ctx)
}

func openTab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b, err := tryTab(t, parent, options...)
	if err != nil {
		t.Fatalf("no new tab: %v", err)
	}
	return b
}

// tryTab is openTab for any goroutine.
func tryTab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) (*tab, error) {
	b := &tab{T: t, statuses: map[string]int64{}}
	var end context.CancelFunc
	b.ctx, end = chromedp.NewContext(parent, append(options, chromedp.WithListener(b.listen))...)
	t.Cleanup(func() {
		b.complain()
		end()
	})
	return b, chromedp.Do(b.ctx)
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	add := func(address, what string) { b.problems = append(b.problems, problem{address, what}) }
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		if event.Type == network.ResourceTypeDocument {
			b.visits = append(b.visits, event.Request.Method+" "+event.Request.URL)
		}
	case *network.EventRequestWillBeSentExtraInfo:
		b.largest = max(b.largest, sizeOfOurs(event.AssociatedCookies))
	case *network.EventResponseReceived:
		if event.Type == network.ResourceTypeDocument {
			b.statuses[event.Response.URL] = event.Response.Status
		}
		if event.Response.Status >= 400 {
			add(event.Response.URL, fmt.Sprintf("answered %d", event.Response.Status))
		}
	case *network.EventLoadingFailed:
		if !event.Canceled {
			add("", "a request failed: "+event.ErrorText)
		}
	case *log.EventEntryAdded:
		switch entry := event.Entry; {
		case entry.Source == log.EntrySourceNetwork: // it is listed above
		case entry.Level == log.EntryLevelError || entry.Level == log.EntryLevelWarning:
			add(entry.URL, string(entry.Level)+" in the console: "+entry.Text)
		}
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.ConsoleAPICalledTypeError || event.Type == runtime.ConsoleAPICalledTypeWarning || event.Type == runtime.ConsoleAPICalledTypeAssert {
			add("", fmt.Sprintf("console.%s was called: %v", event.Type, event.Args))
		}
	case *runtime.EventExceptionThrown:
		add(event.ExceptionDetails.URL, "a script failed: "+event.ExceptionDetails.Text)
	}
}

// sizeOfOurs is what the plugin's cookies take in the header of a request.
func sizeOfOurs(cookies []*network.AssociatedCookie) (size int) {
	for _, associated := range cookies {
		if len(associated.BlockedReasons) == 0 && strings.Contains(associated.Cookie.Name, "logtogin") {
			size += len(associated.Cookie.Name) + len("=") + len(associated.Cookie.Value) + len("; ")
		}
	}
	return size
}

// mayFail: the document at a path is going to be answered with this status.
func (b *tab) mayFail(status int, path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, problem{path, fmt.Sprintf("answered %d", status)})
}

// mayHappen is mayFail for what has no address.
func (b *tab) mayHappen(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, problem{"", what})
}

func (b *tab) complain() {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, found := range b.problems {
		if !slices.ContainsFunc(b.expected, func(e problem) bool { return e.what == found.what && pathOf(found.address) == e.address }) {
			b.Errorf("%s: %s", found.address, found.what)
		}
	}
}

func pathOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Path
}

func run[T any](b *tab, action chromedp.Action[T]) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, wait)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.Fatalf("%v; the page is %s", err, b.describe())
	}
	return result
}

func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, wait)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// open is what the address bar does. It does not wait for the page.
func (b *tab) open(address string) {
	b.Helper()
	run(b, chromedp.Evaluate[any](fmt.Sprintf("void setTimeout(() => { location.href = %q })", address)))
}

// click does not wait for the page that it leads to.
func (b *tab) click(selector string) {
	b.Helper()
	run(b, chromedp.Click(chromedp.CSS(selector)))
}

// back waits until another page is there, which may be as the browser has kept it.
func (b *tab) back() {
	b.Helper()
	run(b, chromedp.Evaluate[any]("window.isLeft = true; void setTimeout(() => { history.back() })"))
	b.waitFor("another page", func(found seen) bool { return !found.Left })
}

// seen is what a tab shows.
type seen struct {
	Address string `json:"address"`
	Ready   string `json:"ready"`
	Title   string `json:"title"`
	Text    string `json:"text"`
	Left    bool   `json:"left"` // back has been called
	Status  int64  `json:"-"`
}

const look = `({address: location.href, ready: document.readyState, title: document.title, text: document.body ? document.body.innerText : "", left: !!window.isLeft})`

func (b *tab) look(ctx context.Context) (seen, error) {
	s, err := chromedp.Run(ctx, chromedp.Evaluate[seen](look))
	b.mu.Lock()
	defer b.mu.Unlock()
	address, _, _ := strings.Cut(s.Address, "#")
	s.Status = b.statuses[address]
	return s, err
}

func (b *tab) describe() string {
	ctx, cancel := context.WithTimeout(b.ctx, wait)
	defer cancel()
	s, err := b.look(ctx)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s %q\n%s", s.Status, s.Address, s.Title, s.Text)
}

// until repeats what fails until it succeeds.
func (b *tab) until(try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(b.ctx, wait)
	defer cancel()
	return processes.Until(ctx, func() error { return try(ctx) })
}

// waitFor returns when the tab shows what is wanted.
func (b *tab) waitFor(what string, wanted func(seen) bool) {
	b.Helper()
	err := b.until(func(ctx context.Context) error {
		// Between two pages there is nothing to look at.
		switch s, err := b.look(ctx); {
		case err != nil:
			return err
		case s.Ready != "complete" || !wanted(s):
			return errors.New("something else is there")
		}
		return nil
	})
	if err != nil {
		b.Fatalf("not %s, but %s", what, b.describe())
	}
}

// arrives waits for an address, the status of the page there, and texts on it.
func (b *tab) arrives(status int, address string, texts ...string) {
	b.Helper()
	b.waitFor(fmt.Sprintf("%d %s with %q", status, address, texts), func(s seen) bool {
		return s.Address == address && s.Status == int64(status) && !slices.ContainsFunc(texts, func(text string) bool {
			return !strings.Contains(s.Text, text)
		})
	})
}

// arrivesAtLogto waits for the page on which Logto asks who the user is.
func (b *tab) arrivesAtLogto(s *site, page string) {
	b.Helper()
	b.waitFor("the page "+page+" of Logto", func(found seen) bool {
		return strings.HasPrefix(found.Address, s.logto+page) && found.Status == 200
	})
}

// signsIn fills in the page on which Logto asks who the user is.
func (b *tab) signsIn(s *site) {
	b.Helper()
	b.signsInAs(s.username, s.password)
}

func (b *tab) signsInAs(username, password string) {
	b.Helper()
	run(b, chromedp.SendKeys(chromedp.CSS("input[name=username]"), username))
	run(b, chromedp.SendKeys(chromedp.CSS("input[name=password]"), password))
	b.click("form button[type=submit]")
}

// openSignedIn opens a page with the sign-in on the way.
func (b *tab) openSignedIn(s *site, path string) {
	b.Helper()
	b.open(s.address + path)
	b.arrivesAtLogto(s, "/sign-in")
	b.signsIn(s)
	b.arrives(200, s.address+path)
}

// forget lets the cookies of an address expire.
func (b *tab) forget(address string) {
	b.Helper()
	cookies := b.cookies(address)
	if len(cookies) == 0 {
		b.Fatalf("there are no cookies for %s", address)
	}
	for _, cookie := range cookies {
		call(b, network.DeleteCookies, network.DeleteCookiesParams{Name: cookie.Name, URL: address})
	}
}

func (b *tab) cookies(address string) []*network.Cookie {
	b.Helper()
	return call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{address}}).Cookies
}

// Ways to look at a page.

func (b *tab) setWidth(pixels int64, mobile bool) {
	b.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: pixels, Height: 800, DeviceScaleFactor: 1, Mobile: mobile,
	})
}

func (b *tab) setColors(scheme string) {
	b.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// photograph keeps the whole page in the folder "screenshots".
func (b *tab) photograph(name string) {
	b.Helper()
	if err := os.MkdirAll("screenshots", 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("screenshots", name+".png"), run(b, chromedp.FullScreenshot(100)), 0o644); err != nil {
		b.Fatal(err)
	}
}
