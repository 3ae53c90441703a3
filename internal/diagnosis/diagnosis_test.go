package diagnosis

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/logto"
)

const callback = "https://app.example.com/callback"

// one makes a single finding.
func one(t *testing.T, name string, settings Settings, metadata *logto.Metadata, check func(*comparison)) Finding {
	t.Helper()
	c := &comparison{Settings: settings, metadata: metadata}
	check(c)
	if len(c.findings) != 1 {
		t.Fatalf("%s: got %d findings, want one: %+v", name, len(c.findings), c.findings)
	}
	return c.findings[0]
}

func TestTheClocksMayBeAQuarterOfTheSkewApart(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for apart, severity := range map[time.Duration]string{
		0: ok, 15*time.Second + 999*time.Millisecond: ok, -15 * time.Second: ok, 16 * time.Second: warning, -60 * time.Second: warning,
		61 * time.Second: failure, -61 * time.Second: failure,
	} {
		settings := Settings{Settings: logto.Settings{ClockSkew: time.Minute, Now: func() time.Time { return now.Add(apart) }}}
		if got := one(t, apart.String(), settings, nil, func(c *comparison) { c.clock(now) }); got.Severity != severity {
			t.Errorf("%v apart: got %+v, want the severity %q", apart, got, severity)
		}
		if got := one(t, "no time", settings, nil, func(c *comparison) { c.clock(time.Time{}) }); got.Severity != unknown {
			t.Errorf("Logto says no time: got %+v, want %q", got, unknown)
		}
	}
}

func TestOnlyABrowserThatComesBackForALoginWasGrantedEverything(t *testing.T) {
	t.Parallel()
	c := &comparison{Settings: Settings{RedirectURI: callback}}
	for name, test := range map[string]struct {
		answer logto.PageAnswer
		want   bool
	}{
		"a login":               {logto.PageAnswer{Status: 303, Location: callback + "?error=login_required", Code: "login_required"}, true},
		"a consent":             {logto.PageAnswer{Status: 303, Location: callback + "?error=consent_required", Code: "consent_required"}, true},
		"a code":                {logto.PageAnswer{Status: 302, Location: callback + "?code=c"}, true},
		"a refusal":             {logto.PageAnswer{Status: 303, Location: callback + "?error=invalid_scope", Code: "invalid_scope"}, false},
		"another page":          {logto.PageAnswer{Status: 303, Location: "https://example.logto.app/sign-in"}, false},
		"a login without a way": {logto.PageAnswer{Status: http.StatusBadRequest, Code: "login_required"}, false},
		"no answer":             {logto.PageAnswer{Err: errors.New("down")}, false},
	} {
		if got := c.isGrantable(test.answer); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

func TestAnAnswerOfSomethingElseIsQuotedInPlainCharacters(t *testing.T) {
	t.Parallel()
	for want, answer := range map[string]logto.PageAnswer{
		"Logto does not answer: down":                                                    {Err: errors.New("down")},
		"the answer is 502 , which says nothing about it":                                {Status: 502},
		"the answer is 400 a?b, which says nothing about it":                             {Status: 400, Code: "a\nb"},
		"the answer is 400 " + strings.Repeat("a", 64) + ", which says nothing about it": {Status: 400, Code: strings.Repeat("a", 100)},
	} {
		if got := saysNothing(answer); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestScopesThatLogtoLeavesOutAreNamed(t *testing.T) {
	t.Parallel()
	own := []string{"openid", "profile"}
	for _, test := range []struct {
		scopes, resources, supported []string
		severity, detail             string
	}{
		{own, nil, own, ok, "none of openid profile"},
		{[]string{"openid", "read:orders"}, nil, nil, ok, "none of openid read:orders"}, // nobody says what is supported
		{[]string{"openid", "read:orders"}, nil, own, warning, `"read:orders" is no scope of Logto's own`},
		{[]string{"openid", "read:orders"}, []string{"https://orders.example.com"}, own, ok, "which users get read:orders is up to their roles"},
		{[]string{"openid", "urn:logto:scope:organizaton"}, []string{"https://orders.example.com"}, own, warning, `no scope "urn:logto:scope:organizaton"`},
	} {
		name := fmt.Sprint(test.scopes, test.resources)
		got := one(t, name, Settings{Scopes: test.scopes, Resources: test.resources}, &logto.Metadata{Scopes: test.supported}, (*comparison).grantedScopes)
		if got.Severity != test.severity || !strings.Contains(got.Detail, test.detail) || (got.Advice == "") != (test.severity == ok) {
			t.Errorf("%s: got %+v, want %q, %q", name, got, test.severity, test.detail)
		}
	}
}

func TestRefreshTokensNeedTheScopeAndThePrompt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		scopes    []string
		prompt    string
		isGranted bool
		want      string
	}{
		{[]string{"openid", "offline_access"}, "consent", true, ok},
		{[]string{"openid", "offline_access"}, "login consent", true, ok},
		{[]string{"openid", "offline_access"}, "login consent", false, unknown},
		{[]string{"openid", "offline_access"}, "login", true, warning},
		{[]string{"openid", "offline_access"}, "-", false, warning},
		{[]string{"openid"}, "consent", true, warning},
	} {
		got := one(t, test.prompt, Settings{Scopes: test.scopes, Prompt: test.prompt}, nil, func(c *comparison) { c.refreshToken(test.isGranted) })
		if got.Severity != test.want {
			t.Errorf("%v, prompt %q, granted %t: got %+v, want %q", test.scopes, test.prompt, test.isGranted, got, test.want)
		}
	}
}

func TestBrowsersAreSentToTheIssuer(t *testing.T) {
	t.Parallel()
	settings := Settings{Settings: logto.Settings{Issuer: "https://example.logto.app/oidc"}}
	for _, metadata := range []*logto.Metadata{
		{AuthorizationEndpoint: "https://example.logto.app/oidc/auth"},
		{AuthorizationEndpoint: "https://example.logto.app:443/oidc/auth", EndSessionEndpoint: "https://example.logto.app/oidc/session/end"},
	} {
		c := &comparison{Settings: settings, metadata: metadata}
		if c.addresses(); len(c.findings) != 0 {
			t.Errorf("%+v: got %+v, want no finding", metadata, c.findings)
		}
	}
	for _, metadata := range []*logto.Metadata{
		{AuthorizationEndpoint: "https://logto.internal/oidc/auth", EndSessionEndpoint: "https://logto.internal/oidc/session/end"},
		{AuthorizationEndpoint: "https://example.logto.app/oidc/auth", EndSessionEndpoint: "https://logto.internal/oidc/session/end"},
	} {
		if got := one(t, "another host", settings, metadata, (*comparison).addresses); got.Severity != warning || !strings.Contains(got.Detail, "to https://logto.internal,") {
			t.Errorf("%+v: got %+v, want a warning that names the host", metadata, got)
		}
	}
}
