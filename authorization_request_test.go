package logtogin_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// authorizationOf is the authorization request that a path of the application
// leads to, made by a new browser that stops before Logto.
func authorizationOf(t *testing.T, app *application, path string, header http.Header) url.Values {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, app.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	r.Host = header.Get("Host")
	b := newBrowser(t)
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return authorizationIn(t, b.do(r))
}

// authorizationIn is the authorization request that a page redirects to.
func authorizationIn(t *testing.T, shown page) url.Values {
	t.Helper()
	location, err := url.Parse(shown.header.Get("Location"))
	if err != nil || !strings.HasSuffix(location.Path, "/oidc/auth") || location.Fragment != "" {
		t.Fatalf("%s does not lead to Logto: %d %q %s", shown.url, shown.status, shown.header.Get("Location"), shown.body)
	}
	query, err := url.ParseQuery(location.RawQuery)
	if err != nil {
		t.Fatalf("%q: %v", location.RawQuery, err)
	}
	for name, values := range query {
		if name != "resource" && len(values) != 1 {
			t.Errorf("the parameter %s occurs %d times", name, len(values))
		}
	}
	return query
}

// withoutRandom are the parameters that do not differ from call to call.
func withoutRandom(query url.Values) url.Values {
	fixed := maps.Clone(query)
	for _, random := range []string{"state", "nonce", "code_challenge"} {
		delete(fixed, random)
	}
	return fixed
}

// asked makes a sign-in with options through SignInURL.
func asked(t *testing.T, change func(*logtogin.Config), options logtogin.SignInOptions) (query url.Values, shown page, err error) {
	t.Helper()
	app := newApplication(t, logtotest.NewServer(t), change)
	app.router.GET("/start", func(c *gin.Context) {
		var address string
		if address, err = app.auth.SignInURL(c, options); err == nil {
			c.Redirect(http.StatusFound, address)
		}
	})
	b := newBrowser(t)
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	shown = b.get(app.url + "/start")
	if err != nil {
		return nil, shown, err
	}
	return authorizationIn(t, shown), shown, nil
}

func TestSignInRequestsExactlyTheseParameters(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	want := url.Values{
		"client_id": {logto.AppID()}, "response_type": {"code"}, "redirect_uri": {app.url + "/callback"},
		"scope": {"openid profile offline_access email"}, "prompt": {"consent"}, "code_challenge_method": {"S256"},
	}
	if got := withoutRandom(authorizationOf(t, app, "/sign-in", nil)); !reflect.DeepEqual(got, want) {
		t.Errorf("sign-in sends %v, want %v", got, want)
	}
	want.Set("first_screen", "register")
	if got := withoutRandom(authorizationOf(t, app, "/sign-up", nil)); !reflect.DeepEqual(got, want) {
		t.Errorf("sign-up sends %v, want %v", got, want)
	}
}

// C19, C20, C21.
func TestStateNonceAndChallengeAreRandomEachTime(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	word := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	seen := map[string]string{}
	for range 40 {
		for _, path := range []string{"/sign-in", "/sign-up", "/profile"} {
			b := newBrowser(t)
			b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
				if strings.HasSuffix(r.URL.Path, "/oidc/auth") {
					return http.ErrUseLastResponse
				}
				return nil
			}
			query := authorizationIn(t, b.get(app.url+path))
			if challenge := query.Get("code_challenge"); len(challenge) != 43 || !word.MatchString(challenge) {
				t.Errorf("code_challenge is %q, want 43 characters of base64url", challenge)
			}
			for _, name := range []string{"state", "nonce", "code_challenge"} {
				value := query.Get(name)
				// Base32, of which 26 characters are 130 bits.
				if len(value) < 26 || !word.MatchString(value) {
					t.Errorf("%s is %q, too short for 128 bits", name, value)
				}
				if other, ok := seen[value]; ok {
					t.Errorf("%s %q was %s before", name, value, other)
				}
				seen[value] = name
			}
		}
	}
}

// C20: the verifier that goes to the token endpoint is the challenge's, and
// only its hash was in the browser before.
func TestVerifierBelongsToTheChallenge(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	var form url.Values
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form = maps.Clone(r.PostForm)
		next.ServeHTTP(w, r)
	})
	b := newBrowser(t)
	if b.signIn(app.url+"/sign-in", logtotest.DefaultUser()); !b.isSignedIn(app) {
		t.Fatal("not signed in")
	}
	var challenge string
	for _, address := range b.visited {
		if u, err := url.Parse(address); err == nil && u.Path == "/oidc/auth" && u.Query().Has("code_challenge") {
			challenge = u.Query().Get("code_challenge")
		}
	}
	verifier := form.Get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	if !regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`).MatchString(verifier) || base64.RawURLEncoding.EncodeToString(sum[:]) != challenge {
		t.Errorf("verifier %q, challenge %q", verifier, challenge)
	}
	for _, address := range b.visited {
		if strings.Contains(address, verifier) {
			t.Errorf("the verifier is in the address %s", address)
		}
	}
}

// C20: what the metadata say of PKCE changes nothing.
func TestChallengesAreHashedWhateverTheMetadataSay(t *testing.T) {
	t.Parallel()
	for name, methods := range map[string]any{"nothing": nil, "only plain": []any{"plain"}, "an empty list": []any{}, "no list": "plain"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeDiscovery(func(document map[string]any) any {
				if document["code_challenge_methods_supported"] = methods; methods == nil {
					delete(document, "code_challenge_methods_supported")
				}
				return document
			})
			app := newApplication(t, logto, nil)
			query := authorizationOf(t, app, "/sign-in", nil)
			if query.Get("code_challenge_method") != "S256" || len(query.Get("code_challenge")) != 43 {
				t.Errorf("%v", query)
			}
			if page := newBrowser(t).signIn(app.url+"/profile", logtotest.DefaultUser()); page.status != http.StatusOK {
				t.Errorf("%d %s", page.status, page.body)
			}
		})
	}
}

func TestEveryOptionArrivesAsItWasGiven(t *testing.T) {
	t.Parallel()
	type config = logtogin.Config
	type options = logtogin.SignInOptions
	const nasty = "a+b&c=d#e%f%20g h;i/j?k:l@m,n\"o'p<q>é✓😀"
	tests := map[string]struct {
		change  func(*config)
		options options
		want    url.Values // beside the default; nil: absent
	}{
		"PromptConsent is the default":                 {nil, options{}, url.Values{"prompt": {"consent"}}},
		"PromptOmit in the Config sends none":          {func(c *config) { c.Prompt = logtogin.PromptOmit }, options{}, url.Values{"prompt": nil}},
		"PromptOmit in a call sends none":              {nil, options{Prompt: logtogin.PromptOmit}, url.Values{"prompt": nil}},
		"PromptOmit in the defaults sends none":        {func(c *config) { c.SignInDefaults.Prompt = logtogin.PromptOmit }, options{}, url.Values{"prompt": nil}},
		"PromptLogin in the Config":                    {func(c *config) { c.Prompt = logtogin.PromptLogin }, options{}, url.Values{"prompt": {"login"}}},
		"PromptLoginConsent in a call":                 {nil, options{Prompt: logtogin.PromptLoginConsent}, url.Values{"prompt": {"login consent"}}},
		"PromptNone in a call":                         {nil, options{Prompt: logtogin.PromptNone}, url.Values{"prompt": {"none"}}},
		"a prompt in a call replaces an omitted one":   {func(c *config) { c.Prompt = logtogin.PromptOmit }, options{Prompt: logtogin.PromptConsent}, url.Values{"prompt": {"consent"}}},
		"a prompt in the defaults replaces Config's":   {func(c *config) { c.Prompt, c.SignInDefaults.Prompt = logtogin.PromptNone, logtogin.PromptLogin }, options{}, url.Values{"prompt": {"login"}}},
		"scopes follow the reserved ones":              {func(c *config) { c.Scopes = []string{"email", "phone", "roles"} }, options{}, url.Values{"scope": {"openid profile offline_access email phone roles"}}},
		"scopes are sent once":                         {func(c *config) { c.Scopes = []string{"profile", "email", "openid", "email"} }, options{}, url.Values{"scope": {"openid profile offline_access email"}}},
		"no scopes leave the reserved ones":            {func(c *config) { c.Scopes = nil }, options{}, url.Values{"scope": {"openid profile offline_access"}}},
		"omitted reserved scopes leave the given ones": {func(c *config) { c.OmitReservedScopes, c.Scopes = true, []string{"email", "openid"} }, options{}, url.Values{"scope": {"email openid"}}},
		"scopes with odd characters":                   {func(c *config) { c.Scopes = []string{"a+b&c=d#e%20f"} }, options{}, url.Values{"scope": {"openid profile offline_access a+b&c=d#e%20f"}}},
		"no resource is sent without one":              {nil, options{}, url.Values{"resource": nil}},
		"each resource is a parameter of its own":      {func(c *config) { c.Resources = []string{"https://b.example/", "https://a.example"} }, options{}, url.Values{"resource": {"https://b.example/", "https://a.example"}}},
		"a resource is sent once":                      {func(c *config) { c.Resources = []string{"https://a.example", "https://a.example"} }, options{}, url.Values{"resource": {"https://a.example"}}},
		"resources differ by a slash":                  {func(c *config) { c.Resources = []string{"https://a.example", "https://a.example/"} }, options{}, url.Values{"resource": {"https://a.example", "https://a.example/"}}},
		"a resource with odd characters":               {func(c *config) { c.Resources = []string{"https://a.example/x+y?a=1&b=%20;c"} }, options{}, url.Values{"resource": {"https://a.example/x+y?a=1&b=%20;c"}}},
		"the organizations scope brings its resource":  {func(c *config) { c.Scopes = []string{"urn:logto:scope:organizations"} }, options{}, url.Values{"resource": {"urn:logto:resource:organizations"}, "scope": {"openid profile offline_access urn:logto:scope:organizations"}}},
		"the organizations resource follows the others": {func(c *config) {
			c.Scopes, c.Resources = []string{"urn:logto:scope:organizations"}, []string{"https://a.example"}
		}, options{}, url.Values{"resource": {"https://a.example", "urn:logto:resource:organizations"}, "scope": {"openid profile offline_access urn:logto:scope:organizations"}}},
		"the organizations resource is sent once": {func(c *config) {
			c.Scopes, c.Resources = []string{"urn:logto:scope:organizations"}, []string{"urn:logto:resource:organizations"}
		}, options{}, url.Values{"resource": {"urn:logto:resource:organizations"}, "scope": {"openid profile offline_access urn:logto:scope:organizations"}}},
		"organization roles alone bring no resource": {func(c *config) { c.Scopes = []string{"urn:logto:scope:organization_roles"} }, options{}, url.Values{"resource": nil, "scope": {"openid profile offline_access urn:logto:scope:organization_roles"}}},
		"an AppID with odd characters":               {func(c *config) { c.AppID = "a+b&c=d%20#é" }, options{}, url.Values{"client_id": {"a+b&c=d%20#é"}}},
		"several identifiers in the order given":     {nil, options{Identifiers: []logtogin.Identifier{logtogin.IdentifierUsername, logtogin.IdentifierPhone, logtogin.IdentifierEmail}}, url.Values{"identifier": {"username phone email"}}},
		"an empty list of identifiers sends none":    {nil, options{Identifiers: []logtogin.Identifier{}}, url.Values{"identifier": nil}},
		"a direct sign-in by social connector":       {nil, options{DirectSignIn: "social:a+b&c=d#e%20é"}, url.Values{"direct_sign_in": {"social:a+b&c=d#e%20é"}}},
		"a direct sign-in by enterprise connector":   {nil, options{DirectSignIn: "sso:abc"}, url.Values{"direct_sign_in": {"sso:abc"}}},
		"a hint with odd characters":                 {nil, options{LoginHint: nasty}, url.Values{"login_hint": {nasty}}},
		"a hint that is a phone number":              {nil, options{LoginHint: "+41 79 000 00 00"}, url.Values{"login_hint": {"+41 79 000 00 00"}}},
		"a hint that would be other parameters":      {nil, options{LoginHint: "x&state=mine&prompt=none"}, url.Values{"login_hint": {"x&state=mine&prompt=none"}}},
		"a magic link with odd characters":           {nil, options{OneTimeToken: nasty, LoginHint: "a@example.test"}, url.Values{"one_time_token": {nasty}, "login_hint": {"a@example.test"}}},
		"languages in the order given":               {nil, options{UILocales: []string{"zh-Hant-TW", "de-CH", "en"}}, url.Values{"ui_locales": {"zh-Hant-TW de-CH en"}}},
		"an organization with odd characters":        {nil, options{OrganizationID: "a+b&c=d#e%20f"}, url.Values{"organization_id": {"a+b&c=d#e%20f"}}},
		"an organization beside its own resource": {func(c *config) { c.Scopes = []string{"urn:logto:scope:organizations"} }, options{OrganizationID: "acme"}, url.Values{
			"organization_id": {"acme"}, "resource": {"urn:logto:resource:organizations"}, "scope": {"openid profile offline_access urn:logto:scope:organizations"},
		}},
		"an organization that narrows permissions": {func(c *config) { c.Resources = []string{ordersAPI} }, options{OrganizationID: "acme", OrganizationNarrowsPermissions: true}, url.Values{
			"organization_id": {"acme"}, "resource": {ordersAPI},
		}},
		"an organization that may narrow permissions by default": {func(c *config) {
			c.Resources, c.SignInDefaults = []string{ordersAPI}, options{OrganizationNarrowsPermissions: true}
		}, options{OrganizationID: "acme"}, url.Values{"organization_id": {"acme"}, "resource": {ordersAPI}}},
		"max age in full seconds":                {nil, options{MaxAge: 90 * time.Minute}, url.Values{"max_age": {"5400"}}},
		"an extra parameter with odd characters": {nil, options{ExtraParams: map[string]string{nasty: nasty}}, url.Values{nasty: {nasty}}},
		"an extra parameter that is empty":       {nil, options{ExtraParams: map[string]string{"flag": ""}}, url.Values{"flag": {""}}},
		"an extra parameter in another case":     {nil, options{ExtraParams: map[string]string{"State": "x"}}, url.Values{"State": {"x"}}},
		"a redirect URI that is an address":      {nil, options{RedirectURI: "https://app.example.com/a/callback"}, url.Values{"redirect_uri": {"https://app.example.com/a/callback"}}},
		"a redirect URI with a trailing slash":   {nil, options{RedirectURI: "https://app.example.com/"}, url.Values{"redirect_uri": {"https://app.example.com/"}}},
		"a redirect URI by default":              {func(c *config) { c.SignInDefaults.RedirectURI = "https://app.example.com/d" }, options{}, url.Values{"redirect_uri": {"https://app.example.com/d"}}},
		"a redirect URI replaces the default":    {func(c *config) { c.SignInDefaults.RedirectURI = "https://app.example.com/d" }, options{RedirectURI: "https://app.example.com/e"}, url.Values{"redirect_uri": {"https://app.example.com/e"}}},
		"where to return to is no parameter":     {nil, options{ReturnTo: "/secret?x=1"}, url.Values{}},
		"all fields come from the defaults": {func(c *config) { c.SignInDefaults = everyOption(); c.SignInDefaults.RedirectURI = "" }, options{}, url.Values{
			"prompt": {"login"}, "first_screen": {"reset_password"}, "identifier": {"email username"}, "direct_sign_in": {"sso:x"},
			"login_hint": {"alice@example.test"}, "one_time_token": {"t"}, "ui_locales": {"de en"}, "organization_id": {"o"}, "max_age": {"60"}, "one": {"1"}, "two": {"2"},
		}},
		"all fields of a call replace the defaults": {func(c *config) { c.SignInDefaults = everyOption() }, options{
			RedirectURI: "https://app.example.com/mine", Prompt: logtogin.PromptConsent, FirstScreen: logtogin.FirstScreenRegister, Identifiers: []logtogin.Identifier{logtogin.IdentifierPhone},
			DirectSignIn: "social:y", LoginHint: "bob@example.test", OneTimeToken: "u", UILocales: []string{"fr"}, OrganizationID: "p", MaxAge: time.Second,
			ExtraParams: map[string]string{"two": "zwei", "three": "3"},
		}, url.Values{
			"redirect_uri": {"https://app.example.com/mine"}, "prompt": {"consent"}, "first_screen": {"register"}, "identifier": {"phone"},
			"direct_sign_in": {"social:y"}, "login_hint": {"bob@example.test"}, "one_time_token": {"u"}, "ui_locales": {"fr"}, "organization_id": {"p"},
			"max_age": {"1"}, "one": {"1"}, "two": {"zwei"}, "three": {"3"},
		}},
		"an empty list in a call takes the default away": {func(c *config) {
			c.SignInDefaults.Identifiers, c.SignInDefaults.UILocales = []logtogin.Identifier{logtogin.IdentifierPhone}, []string{"fr"}
		}, options{Identifiers: []logtogin.Identifier{}, UILocales: []string{}}, url.Values{"identifier": nil, "ui_locales": nil}},
	}
	for _, screen := range []logtogin.FirstScreen{
		logtogin.FirstScreenSignIn, logtogin.FirstScreenRegister, logtogin.FirstScreenResetPassword,
		logtogin.FirstScreenIdentifierSignIn, logtogin.FirstScreenIdentifierRegister, logtogin.FirstScreenSingleSignOn,
	} {
		row := tests["no resource is sent without one"]
		row.options, row.want = options{FirstScreen: screen}, url.Values{"first_screen": {string(screen)}}
		tests["the first screen "+string(screen)] = row
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cfg logtogin.Config
			query, _, err := asked(t, func(c *config) {
				if test.change != nil {
					test.change(c)
				}
				cfg = *c
			}, test.options)
			if err != nil {
				t.Fatal(err)
			}
			want := url.Values{
				"client_id": {cfg.AppID}, "response_type": {"code"}, "redirect_uri": {cfg.BaseURL + "/callback"},
				"scope": {"openid profile offline_access email"}, "prompt": {"consent"}, "code_challenge_method": {"S256"},
			}
			for name, values := range test.want {
				want[name] = values
			}
			maps.DeleteFunc(want, func(_ string, values []string) bool { return values == nil })
			if got := withoutRandom(query); !reflect.DeepEqual(got, want) {
				t.Errorf("it sends\n%v, want\n%v", got, want)
			}
		})
	}
}

// protocolParams are the names that belong to the protocol, to this package or
// to another field.
var protocolParams = []string{
	"client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "prompt", "max_age", "resource", "request", "request_uri", "registration",
	"claims", "id_token_hint", "code", "iss", "first_screen", "interaction_mode", "identifier", "direct_sign_in",
	"login_hint", "one_time_token", "ui_locales", "organization_id",
}

func TestOptionsThatCannotBeSentAreErrorsAndSetNoCookie(t *testing.T) {
	t.Parallel()
	type options = logtogin.SignInOptions
	tests := map[string]options{
		"an unknown prompt":                      {Prompt: "select_account"},
		"two prompts in the wrong order":         {Prompt: "consent login"},
		"a prompt with another parameter":        {Prompt: "consent&state=x"},
		"a first screen in the old spelling":     {FirstScreen: "signIn"},
		"a first screen with another parameter":  {FirstScreen: "register&state=x"},
		"an identifier that Logto has not":       {Identifiers: []logtogin.Identifier{logtogin.IdentifierEmail, "mail"}},
		"an identifier that is empty":            {Identifiers: []logtogin.Identifier{""}},
		"two identifiers in one":                 {Identifiers: []logtogin.Identifier{"email phone"}},
		"a direct sign-in without a kind":        {DirectSignIn: "google"},
		"a direct sign-in of an unknown kind":    {DirectSignIn: "oidc:google"},
		"a direct sign-in without a target":      {DirectSignIn: "social:"},
		"a direct sign-in with a space":          {DirectSignIn: "social:a b"},
		"a direct sign-in with a line break":     {DirectSignIn: "social:google\n"},
		"a direct sign-in in upper case":         {DirectSignIn: "Social:google"},
		"a language with an underscore":          {UILocales: []string{"en_GB"}},
		"two languages in one":                   {UILocales: []string{"de en"}},
		"a language that is empty":               {UILocales: []string{"en", ""}},
		"a language with a wildcard":             {UILocales: []string{"*"}},
		"an organization with a space":           {OrganizationID: "a b"},
		"an organization with a line break":      {OrganizationID: "a\n"},
		"a magic link without a hint":            {OneTimeToken: "t"},
		"a negative max age":                     {MaxAge: -time.Hour},
		"a max age of less than a second":        {MaxAge: time.Millisecond},
		"a max age of one and a half seconds":    {MaxAge: 1500 * time.Millisecond},
		"a redirect URI on http":                 {RedirectURI: "http://app.example.com/callback"},
		"a redirect URI with a fragment":         {RedirectURI: "https://app.example.com/callback#x"},
		"a redirect URI with a user":             {RedirectURI: "https://me@app.example.com/callback"},
		"a redirect URI that is relative":        {RedirectURI: "callback"},
		"a redirect URI with two slashes":        {RedirectURI: "//evil.example/callback"},
		"a redirect URI with a backslash":        {RedirectURI: `/\evil.example/callback`},
		"a redirect URI that is a script":        {RedirectURI: "javascript:alert(1)"},
		"a redirect URI of an application's own": {RedirectURI: "com.example.app://callback"},
		"an extra parameter without a name":      {ExtraParams: map[string]string{"": "x"}},
	}
	for _, name := range protocolParams {
		tests["C25: the extra parameter "+name] = options{ExtraParams: map[string]string{"fine": "x", name: "x"}}
		tests["C25: the empty extra parameter "+name] = options{ExtraParams: map[string]string{name: ""}}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, shown, err := asked(t, nil, test)
			if !errors.Is(err, logtogin.ErrInvalidOptions) {
				t.Errorf("the error is %v", err)
			}
			if cookies := shown.header.Values("Set-Cookie"); len(cookies) > 0 {
				t.Errorf("it sets %q", cookies)
			}
		})
	}
	t.Run("an organization beside an API", func(t *testing.T) {
		t.Parallel()
		for _, scopes := range [][]string{nil, {"urn:logto:scope:organizations"}} {
			_, shown, err := asked(t, func(c *logtogin.Config) { c.Resources, c.Scopes = []string{ordersAPI}, scopes }, options{OrganizationID: "acme"})
			if !errors.Is(err, logtogin.ErrInvalidOptions) || !strings.Contains(err.Error(), "OrganizationNarrowsPermissions") || len(shown.header.Values("Set-Cookie")) > 0 {
				t.Errorf("the error is %v, the cookies %q", err, shown.header.Values("Set-Cookie"))
			}
		}
	})
	t.Run("SignIn answers with an error page", func(t *testing.T) {
		t.Parallel()
		app := newApplication(t, logtotest.NewServer(t), nil)
		app.router.GET("/start", func(c *gin.Context) { app.auth.SignIn(c, options{Prompt: "select_account"}) })
		shown := newBrowser(t).get(app.url + "/start")
		if shown.status != http.StatusInternalServerError || len(shown.header.Values("Set-Cookie")) > 0 || shown.header.Get("Location") != "" {
			t.Errorf("%d %v", shown.status, shown.header)
		}
	})
}

// C25: whatever a link to the route says, return_to is all that is taken.
func TestSignInRoutesTakeOnlyReturnToFromTheirQuery(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	others := []string{
		"redirectUri", "ReturnTo", "returnTo", "RETURN_TO", "next", "redirect", "firstScreen", "scopes", "audience", "acr_values",
		"display", "extra", "google_one_tap_credential", "login_challenge",
	}
	for _, path := range []string{"/sign-in", "/sign-up"} {
		want := withoutRandom(authorizationOf(t, app, path, nil))
		everything := url.Values{}
		for _, name := range slices.Concat(protocolParams, others) {
			everything.Set(name, "https://evil.example/")
			query := authorizationOf(t, app, path+"?"+url.Values{name: {"evil"}}.Encode(), nil)
			if got := withoutRandom(query); !reflect.DeepEqual(got, want) {
				t.Errorf("%s?%s=evil sends %v, want %v", path, name, got, want)
			}
			for _, random := range []string{"state", "nonce", "code_challenge"} {
				if query.Get(random) == "evil" {
					t.Errorf("%s is taken from the query", random)
				}
			}
		}
		if got := withoutRandom(authorizationOf(t, app, path+"?"+everything.Encode(), nil)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s with all of them sends %v, want %v", path, got, want)
		}
		if got := withoutRandom(authorizationOf(t, app, path+"?return_to=/x&return_to=%2F%2Fevil.example", nil)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s with two return_to sends %v, want %v", path, got, want)
		}
	}
}

// forgedAddresses are headers in which a request can claim to have been sent elsewhere.
var forgedAddresses = map[string]string{
	"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Scheme": "https",
	"X-Forwarded-Port": "444", "X-Forwarded-Prefix": "/evil", "X-Forwarded-For": "203.0.113.1", "X-Forwarded-Server": "evil.example",
	"X-Forwarded-Uri": "/evil", "X-Forwarded-Ssl": "on", "Forwarded": `host="evil.example";proto=https;for=203.0.113.1`, "X-Host": "evil.example",
	"X-Original-Host": "evil.example", "X-Original-Url": "/evil", "X-Rewrite-Url": "/evil", "X-Real-Ip": "203.0.113.1", "X-Url-Scheme": "https",
	"Front-End-Https": "on", "Origin": "https://evil.example", "Referer": "https://evil.example/", "X-Http-Method-Override": "POST",
}

// C92: the address of the callback is Config's, not the request's.
func TestHeadersOfTheRequestChangeNothing(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	want := withoutRandom(authorizationOf(t, app, "/sign-in", nil))
	all := http.Header{}
	for name, value := range forgedAddresses {
		all.Set(name, value)
		if got := withoutRandom(authorizationOf(t, app, "/sign-in", http.Header{name: {value}})); !reflect.DeepEqual(got, want) {
			t.Errorf("with %s: %s it sends %v, want %v", name, value, got, want)
		}
	}
	if got := withoutRandom(authorizationOf(t, app, "/sign-in", all)); !reflect.DeepEqual(got, want) {
		t.Errorf("with all of them it sends %v, want %v", got, want)
	}
}

func TestRedirectURIIsMadeOfBaseURLAndGroup(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		base, group string
		paths       logtogin.Paths
		start, want string // want is below the host
	}{
		"a plain application":               {"", "", logtogin.Paths{}, "/sign-in", "/callback"},
		"a BaseURL with a trailing slash":   {"/", "", logtogin.Paths{}, "/sign-in", "/callback"},
		"a BaseURL with a path":             {"/front", "", logtogin.Paths{}, "/sign-in", "/front/callback"},
		"a BaseURL with a path and slash":   {"/front/", "", logtogin.Paths{}, "/sign-in", "/front/callback"},
		"a BaseURL with an encoded path":    {"/caf%C3%A9", "", logtogin.Paths{}, "/sign-in", "/caf%C3%A9/callback"},
		"a group":                           {"", "/auth", logtogin.Paths{}, "/auth/sign-in", "/auth/callback"},
		"a group with a trailing slash":     {"", "/auth/", logtogin.Paths{}, "/auth/sign-in", "/auth/callback"},
		"a group of two segments":           {"", "/a/b", logtogin.Paths{}, "/a/b/sign-up", "/a/b/callback"},
		"a BaseURL with a path and a group": {"/front", "/auth", logtogin.Paths{}, "/auth/sign-in", "/front/auth/callback"},
		"a callback path of its own":        {"/front", "/auth", logtogin.Paths{SignIn: "/in", Callback: "/back/here"}, "/auth/in", "/front/auth/back/here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			// Its own routes stay out of the way; only its router counts.
			app := newApplication(t, logto, func(cfg *logtogin.Config) {
				cfg.Paths = logtogin.Paths{SignIn: "-", SignUp: "-", Callback: "-", SignOut: "-", BackchannelLogout: "-"}
			})
			auth, err := logtogin.Register(app.router.Group(test.group), logtogin.Config{
				Endpoint: logto.Endpoint(), AppID: logto.AppID(), AppSecret: logto.AppSecret(), BaseURL: app.url + test.base, Paths: test.paths,
			})
			if err != nil {
				t.Fatal(err)
			}
			closed(t, auth)
			if got := authorizationOf(t, app, test.start, nil).Get("redirect_uri"); got != app.url+test.want {
				t.Errorf("redirect_uri is %q, want %q", got, app.url+test.want)
			}
		})
	}
}

// A redirect URI of the call is meant without BaseURL's path, like all paths,
// and the token request names it again.
func TestASignInCanHaveItsOwnRedirectURIAndReturnPath(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.SignInDefaults.ReturnTo = "/default?x=1" })
	app.router.GET("/mine", func(c *gin.Context) {
		result, err := app.auth.HandleCallback(c)
		if err != nil {
			c.String(http.StatusBadRequest, err.Error())
			return
		}
		c.String(http.StatusOK, "return to "+result.ReturnTo)
	})
	var options logtogin.SignInOptions
	app.router.GET("/start", func(c *gin.Context) { app.auth.SignIn(c, options) })
	var redirectURI string
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		redirectURI = r.PostForm.Get("redirect_uri")
		next.ServeHTTP(w, r)
	})
	for name, test := range map[string]struct {
		options logtogin.SignInOptions
		want    string
	}{
		"a path":                        {logtogin.SignInOptions{RedirectURI: "/mine", ReturnTo: "/there?a=b#c"}, "return to /there?a=b#c"},
		"an address":                    {logtogin.SignInOptions{RedirectURI: app.url + "/mine", ReturnTo: "/there"}, "return to /there"},
		"the default return path":       {logtogin.SignInOptions{RedirectURI: "/mine"}, "return to /default?x=1"},
		"a return path that is dropped": {logtogin.SignInOptions{RedirectURI: "/mine", ReturnTo: "https://evil.example"}, "return to /"},
	} {
		options = test.options
		if shown := newBrowser(t).signIn(app.url+"/start", logtotest.DefaultUser()); shown.body != test.want {
			t.Errorf("%s: %d %q, want %q", name, shown.status, shown.body, test.want)
		}
		if redirectURI != app.url+"/mine" {
			t.Errorf("%s: the token request names %q", name, redirectURI)
		}
	}
}
