package page_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/page"
)

const (
	hostileText    = "<b>\"it's\" & 1+1 &amp; \x00 \xff\xc3( ü\u2028</b>`{{.}}"
	hostileAddress = "/a?b=<\"'>&c=d+e&amp;\x00\xff\xc3(ü`#{{.}}"
	end            = "https://logto.example/oidc/session/end?client_id=app"
)

// documents are the pages that testdata has as html/template wrote them.
var documents = map[string]page.Document{
	"error":              page.Error{Title: "Not allowed", Advice: "You are not allowed to do this."}.Document(),
	"error-with-all":     page.Error{Title: "Not allowed", Advice: "Advice.", Detail: "access_denied: no", Retry: "/retry", SignIn: "/sign-in", SignOut: "/sign-out", Start: "/"}.Document(),
	"error-with-nothing": page.Error{}.Document(),
	"error-retry":        page.Error{Title: "Temporarily unavailable", Advice: "Later.", Retry: "/page?a=b&c=d"}.Document(),
	"error-sign-in":      page.Error{Title: "Not signed in", Advice: "Sign in first.", SignIn: "/sign-in?return_to=%2F"}.Document(),
	"error-new-tab":      page.Error{Title: "Not allowed", Advice: "Sign out first.", SignOut: hostileAddress, InNewTab: true}.Document(),
	"error-hostile": page.Error{Title: hostileText, Advice: hostileText, Detail: hostileText,
		Retry: hostileAddress, SignIn: hostileAddress, SignOut: hostileAddress, Start: hostileAddress}.Document(),
	"waiting":          page.Waiting("/sign-in?attempt=a", 2*time.Second, "/sign-in?attempt=b"),
	"waiting-hostile":  page.Waiting(hostileAddress, time.Minute, hostileAddress),
	"leaving":          page.Leaving(end),
	"leaving-hostile":  page.Leaving(hostileAddress),
	"sign-out":         page.SignOut("/sign-out"),
	"sign-out-hostile": page.SignOut(hostileAddress),
}

func TestPagesAreWhatHTMLTemplateWrote(t *testing.T) {
	t.Parallel()
	// html/template escapes a plus sign, which means the same, and left the NUL of an address to browsers, which take it
	// for U+FFFD.
	same := strings.NewReplacer("&#43;", "+", "\x00", "\ufffd")
	files, err := filepath.Glob("testdata/*.html")
	if err != nil || len(files) != len(documents) {
		t.Errorf("%d pages are recorded and %d are tested: %v", len(files), len(documents), err)
	}
	for name, document := range documents {
		recorded, err := os.ReadFile("testdata/" + name + ".html")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(document.HTML), same.Replace(string(recorded)); got != want {
			t.Errorf("%s: got\n%q, want\n%q", name, got, want)
		}
	}
}

func TestNoTextBecomesMarkup(t *testing.T) {
	t.Parallel()
	for name, document := range documents {
		plain, isHostile := strings.CutSuffix(name, "-hostile")
		if plain == "error" {
			plain = "error-with-all"
		}
		tags := func(document page.Document) string {
			return fmt.Sprintf("%d < and %d quotation marks", strings.Count(string(document.HTML), "<"), strings.Count(string(document.HTML), `"`))
		}
		if got, want := tags(document), tags(documents[plain]); isHostile && got != want {
			t.Errorf("%s: got %s, want %s as in %s", name, got, want, plain)
		}
		if strings.ContainsAny(string(document.HTML), "\x00'") {
			t.Errorf("%s has a NUL or an apostrophe", name)
		}
	}
}

func TestPagesAreProtected(t *testing.T) {
	t.Parallel()
	for name, document := range documents {
		header := http.Header{"Content-Security-Policy": {"default-src *"}}
		document.SetHeader(header)
		referrer := "no-referrer"
		if strings.HasPrefix(name, "sign-out") {
			referrer = "same-origin"
		}
		want := http.Header{
			"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"},
			"Referrer-Policy":         {referrer},
			"X-Content-Type-Options":  {"nosniff"},
		}
		if fmt.Sprint(header) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", name, header, want)
		}
	}
}
