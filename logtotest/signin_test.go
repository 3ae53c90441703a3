package logtotest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest"
)

func TestAFirstSignInGoesThroughTheForm(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	attempt := b.newSignIn("login_hint", `ali"ce`)

	first := b.authorize(attempt)
	if first.status != http.StatusSeeOther || first.location.Path != "/sign-in" || first.location.Query().Get("app_id") != b.server.AppID() {
		t.Fatalf("%d to %v", first.status, first.location)
	}
	if !strings.Contains(first.body, "Redirecting to /sign-in?app_id=") {
		t.Errorf("body %q", first.body)
	}
	page := b.get(first.location.String())
	for _, part := range []string{
		`<label for="username">`, `id="username" name="username" value="ali&#34;ce"`,
		`<label for="password">`, `name="password" type="password"`, `name="viewport"`, `href="/register?`,
	} {
		if !strings.Contains(page.body, part) {
			t.Errorf("page without %s:\n%s", part, page.body)
		}
	}
	if page.status != http.StatusOK || strings.Count(page.body, "<h1>") != 1 {
		t.Errorf("status %d, body %s", page.status, page.body)
	}

	wrong := b.post(first.location.String(), url.Values{"username": {"<alice>"}, "password": {"wrong"}})
	if wrong.status != http.StatusBadRequest || !strings.Contains(wrong.body, `role="alert"`) || !strings.Contains(wrong.body, "&lt;alice&gt;") {
		t.Errorf("wrong password: %d %s", wrong.status, wrong.body)
	}

	user := logtotest.DefaultUser()
	back := b.submit(first.location, "username", user.Username, "password", user.Password)
	got := back.location.Query()
	if !strings.HasPrefix(back.location.String(), callbackURI) || len(got) != 3 || got.Get("code") == "" ||
		got.Get("state") != attempt.parameters.Get("state") || got.Get("iss") != b.server.Issuer() {
		t.Fatalf("callback %v", back.location)
	}
}

func TestASecondSignInIsSilent(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn())
	for _, prompt := range []string{"consent", "none", ""} {
		got := b.follow(b.authorize(b.newSignIn("prompt", prompt)))
		if got.location == nil || got.location.Query().Get("code") == "" {
			t.Errorf("prompt %q: %d to %v", prompt, got.status, got.location)
		}
	}
}

func TestWhatForcesTheForm(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tests := map[string]struct {
		changes  []string
		later    time.Duration
		page     bool
		authTime bool
	}{
		"nothing":                       {},
		"prompt login":                  {changes: []string{"prompt", "login"}, page: true, authTime: true},
		"prompt login consent":          {changes: []string{"prompt", "login consent"}, page: true, authTime: true},
		"a max_age of 0":                {changes: []string{"max_age", "0"}, page: true, authTime: true},
		"a max_age that has passed":     {changes: []string{"max_age", "60"}, later: 2 * time.Minute, page: true, authTime: true},
		"a max_age that has not passed": {changes: []string{"max_age", "600"}, later: 2 * time.Minute, authTime: true},
		"a session that has expired":    {later: 15 * 24 * time.Hour, page: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, logtotest.NewServer(t))
			b.server.SetNow(func() time.Time { return now })
			b.callback(b.newSignIn())
			b.server.SetNow(func() time.Time { return now.Add(test.later) })
			if got := b.authorize(b.newSignIn(test.changes...)); (got.location.Path == "/sign-in") != test.page {
				t.Fatalf("sent to %v", got.location)
			}
			_, claims := decodeToken(t, b.tokens(test.changes...)["id_token"])
			want := now.Unix()
			if test.page {
				want = now.Add(test.later).Unix()
			}
			if got, has := claims["auth_time"]; has != test.authTime || (has && got != float64(want)) {
				t.Errorf("auth_time %v, want %v: %t", got, want, test.authTime)
			}
		})
	}
}

func TestTheFirstScreen(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	tests := map[string]struct {
		changes  []string
		path     string
		prefills bool
	}{
		"is the sign-in page":                            {path: "/sign-in", prefills: true},
		"is the register page if asked":                  {changes: []string{"first_screen", "register"}, path: "/register", prefills: true},
		"is the register page by the old parameter":      {changes: []string{"interaction_mode", "signUp"}, path: "/register", prefills: true},
		"follows first_screen before the old parameter":  {changes: []string{"first_screen", "sign_in", "interaction_mode", "signUp"}, path: "/sign-in", prefills: true},
		"is the sign-in page for other valid values":     {changes: []string{"first_screen", "reset_password"}, path: "/sign-in", prefills: true},
		"loses all extras with a misspelt value":         {changes: []string{"first_screen", "signup", "interaction_mode", "signUp"}, path: "/sign-in"},
		"loses all extras with a misspelt old parameter": {changes: []string{"first_screen", "register", "interaction_mode", "x"}, path: "/sign-in"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, server)
			got := b.authorize(b.newSignIn(append(test.changes, "login_hint", "hinted")...))
			if got.location.Path != test.path {
				t.Fatalf("sent to %v", got.location)
			}
			page := b.get(got.location.String())
			if strings.Contains(page.body, `value="hinted"`) != test.prefills {
				t.Errorf("prefilled, want %t:\n%s", test.prefills, page.body)
			}
		})
	}
}

func TestASignUpCreatesAUserThatIsSignedIn(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	attempt := b.newSignIn("first_screen", "register")
	page := b.authorize(attempt).location
	for name, form := range map[string]url.Values{
		"a taken username":   {"username": {"alice"}, "password": {"secret"}},
		"no password":        {"username": {"bob"}},
		"an invalid name":    {"username": {"bob smith"}, "password": {"secret"}},
		"a taken e-mail":     {"username": {"bob"}, "password": {"secret"}, "email": {"alice@example.test"}},
		"no username at all": {"password": {"secret"}},
	} {
		if got := b.post(page.String(), form); got.status != http.StatusBadRequest || !strings.Contains(got.body, `role="alert"`) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	got := b.submit(page, "username", "bob", "password", "secret", "name", "Bob", "email", "bob@example.test")
	answer := b.token(codeForm(got.location.Query().Get("code"), attempt))
	_, claims := decodeToken(t, decode(t, answer.body)["id_token"])
	if claims["username"] != "bob" || claims["name"] != "Bob" || claims["email"] != "bob@example.test" || len(fmt.Sprint(claims["sub"])) != 12 {
		t.Errorf("claims %v", claims)
	}

	other := newBrowser(t, b.server)
	page = other.authorize(other.newSignIn()).location
	if got := other.submit(page, "username", "bob", "password", "secret"); got.location.Query().Get("code") == "" {
		t.Errorf("the new user cannot sign in elsewhere: %v", got.location)
	}
}

func TestThePagesNeedASignInUnderWay(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	for _, path := range []string{"/sign-in", "/register", "/consent"} {
		got := b.get(b.server.Endpoint() + path)
		if got.status != http.StatusFound || got.location.Path != "/unknown-session" {
			t.Fatalf("%s: %d to %v", path, got.status, got.location)
		}
		if page := b.get(got.location.String()); page.status != http.StatusOK || !strings.Contains(page.body, "404 Not Found") || !strings.Contains(page.body, "Session not found") {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
		if got := b.post(b.server.Endpoint()+path, url.Values{}); got.status != http.StatusBadRequest || !strings.Contains(got.body, "Session not found") {
			t.Errorf("the form of %s: %d %s", path, got.status, got.body)
		}
	}
}

func TestBrowsersFindNothingMissing(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	if got := b.get(b.server.Endpoint() + "/favicon.ico"); got.status != http.StatusNoContent {
		t.Errorf("status %d for the icon of the pages", got.status)
	}
}

func TestAuthorizationErrorsThatStayAtLogto(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	for name, test := range map[string]struct{ parameter, value, failure string }{
		"an unknown client":              {"client_id", "nope", "invalid_client"},
		"no client":                      {"client_id", "", "invalid_request"},
		"a redirect URI elsewhere":       {"redirect_uri", "https://evil.example/callback", "invalid_redirect_uri"},
		"no redirect URI":                {"redirect_uri", "", "invalid_request"},
		"a redirect URI with a fragment": {"redirect_uri", "http://localhost:8080/callback#x", "invalid_redirect_uri"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, server)
			attempt := b.newSignIn(test.parameter, test.value)
			got := b.authorize(attempt)
			got.wantError(t, http.StatusBadRequest, test.failure)
			body := decode(t, got.body)
			if body["state"] != attempt.parameters.Get("state") || body["iss"] != server.Issuer() {
				t.Errorf("body %s", got.body)
			}
		})
	}
}

func TestOnlyRegisteredRedirectURIsAreAcceptedOnceThereAreAny(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.RegisterRedirectURIs("https://app.example.test/callback?tenant=1")
	b.authorize(b.newSignIn()).wantError(t, http.StatusBadRequest, "invalid_redirect_uri")
	got := b.authorize(b.newSignIn("redirect_uri", "https://app.example.test/callback?tenant=1", "prompt", "none"))
	if got.location == nil || got.location.Host != "app.example.test" || got.location.Query().Get("tenant") != "1" {
		t.Errorf("%d to %v", got.status, got.location)
	}
}

func TestAuthorizationErrorsThatGoToTheApp(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	for name, test := range map[string]struct {
		changes []string
		failure string
	}{
		"prompt none without a session":        {[]string{"prompt", "none"}, "login_required"},
		"prompt none with another":             {[]string{"prompt", "none login"}, "invalid_request"},
		"prompt create":                        {[]string{"prompt", "create"}, "invalid_request"},
		"prompt select_account":                {[]string{"prompt", "select_account"}, "invalid_request"},
		"no response type":                     {[]string{"response_type", ""}, "invalid_request"},
		"an unknown response type":             {[]string{"response_type", "coda"}, "unsupported_response_type"},
		"a response type that the app has not": {[]string{"response_type", "none"}, "invalid_request"},
		"an unknown response mode":             {[]string{"response_mode", "smoke"}, "unsupported_response_mode"},
		"a challenge without a method":         {[]string{"code_challenge_method", ""}, "invalid_request"},
		"a plain challenge":                    {[]string{"code_challenge_method", "plain"}, "invalid_request"},
		"a method without a challenge":         {[]string{"code_challenge", ""}, "invalid_request"},
		"a short challenge":                    {[]string{"code_challenge", "short"}, "invalid_request"},
		"an unknown resource":                  {[]string{"resource", "https://api.example.test"}, "invalid_target"},
		"a max_age that is no number":          {[]string{"max_age", "soon"}, "invalid_request"},
		"a nonce without the openid scope":     {[]string{"scope", "profile"}, "invalid_request"},
		"a scope that needs consent, silently": {[]string{"prompt", "none", "scope", "openid"}, "login_required"},
		"a request object":                     {[]string{"request", "x.y.z"}, "request_not_supported"},
		"an ID token hint that cannot be read": {[]string{"id_token_hint", "garbage"}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(t, server)
			attempt := b.newSignIn(test.changes...)
			got := b.authorize(attempt)
			if got.status != http.StatusSeeOther || !strings.HasPrefix(got.location.String(), callbackURI+"?") {
				t.Fatalf("%d to %v: %s", got.status, got.location, got.body)
			}
			query := got.location.Query()
			if query.Get("error") != test.failure || query.Get("state") != attempt.parameters.Get("state") || query.Get("iss") != server.Issuer() {
				t.Errorf("sent to %v", got.location)
			}
			if test.failure != "request_not_supported" && query.Get("error_description") == "" {
				t.Errorf("no description in %v", got.location)
			}
		})
	}
}

func TestARepeatedParameterIsAnErrorUnlessItIsAResource(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.AddResource(logtotest.Resource{Indicator: "https://api.example.test/"})
	attempt := b.newSignIn()
	attempt.parameters.Add("scope", "openid")
	if got := b.authorize(attempt); got.location.Query().Get("error") != "invalid_request" {
		t.Errorf("sent to %v", got.location)
	}
	attempt = b.newSignIn()
	attempt.parameters["resource"] = []string{"https://api.example.test/", "urn:logto:resource:organizations"}
	if got := b.authorize(attempt); got.location.Path != "/sign-in" {
		t.Errorf("sent to %v", got.location)
	}
}

func TestPromptNoneNeedsAGrantForAllScopes(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn("scope", "openid profile"))
	got := b.authorize(b.newSignIn("scope", "openid profile email", "prompt", "none"))
	if got.location.Query().Get("error") != "consent_required" {
		t.Errorf("sent to %v", got.location)
	}
}

func TestTheResponseModes(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn())
	if got := b.authorize(b.newSignIn("response_mode", "fragment", "prompt", "")); !strings.Contains(got.location.Fragment, "code=") || got.location.RawQuery != "" {
		t.Errorf("fragment: %v", got.location)
	}
	got := b.authorize(b.newSignIn("response_mode", "form_post", "prompt", ""))
	if got.status != http.StatusOK || !strings.Contains(got.body, `action="`+callbackURI+`"`) || !strings.Contains(got.body, `name="code"`) {
		t.Errorf("form_post: %d %s", got.status, got.body)
	}
}

func TestForeignHostsAreRefused(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	for host, want := range map[string]int{
		"evil.example":           http.StatusForbidden,
		"127.0.0.1.evil.example": http.StatusForbidden,
		"192.0.2.1:80":           http.StatusForbidden,
		"localhost.evil.example": http.StatusForbidden,
		"localhost:1234":         http.StatusOK,
		"127.0.0.2":              http.StatusOK,
		"[::1]:80":               http.StatusOK,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.Endpoint()+"/oidc/.well-known/openid-configuration", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		got := b.do(r)
		if got.status != want {
			t.Errorf("%s: %d, want %d", host, got.status, want)
		}
		if want == http.StatusOK {
			document := decode(t, got.body)
			if document["issuer"] != b.server.Issuer() || document["token_endpoint"] != "http://"+host+"/oidc/token" {
				t.Errorf("%s: %s", host, got.body)
			}
		}
	}
}
