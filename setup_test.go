package logtogin_test

import (
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

func validConfig() logtogin.Config {
	return logtogin.Config{
		Endpoint:  "https://example.logto.app",
		AppID:     "application-id-123456",
		AppSecret: strings.Repeat("s", 32),
		BaseURL:   "https://app.example.com",
		Secrets:   []string{strings.Repeat("k", 32)},
		Logger:    slog.New(slog.DiscardHandler),
	}
}

func TestMistakesInTheConfigurationAreErrorsAtTheStart(t *testing.T) {
	t.Parallel()
	type config = logtogin.Config
	for name, test := range map[string]struct {
		change func(*config)
		field  string
		says   string
	}{
		"no endpoint":               {func(c *config) { c.Endpoint = "" }, "Endpoint", "is empty; copy"},
		"a relative endpoint":       {func(c *config) { c.Endpoint = "example.logto.app" }, "Endpoint", "absolute"},
		"an ftp endpoint":           {func(c *config) { c.Endpoint = "ftp://example.logto.app" }, "Endpoint", "https"},
		"an http endpoint":          {func(c *config) { c.Endpoint = "http://example.logto.app" }, "Endpoint", "loopback"},
		"the issuer as endpoint":    {func(c *config) { c.Endpoint += "/oidc" }, "Endpoint", "leave that part"},
		"the discovery document":    {func(c *config) { c.Endpoint += "/oidc/.well-known/openid-configuration" }, "Endpoint", "leave that part"},
		"scopes with a comma":       {func(c *config) { c.Scopes = []string{"email,phone"} }, "Scopes", "element of its own"},
		"no way back":               {func(c *config) { c.Paths.Callback = "-" }, "Paths.Callback", "RedirectURI"},
		"an endpoint with a user":   {func(c *config) { c.Endpoint = "https://u:p@example.logto.app" }, "Endpoint", "user name"},
		"no app ID":                 {func(c *config) { c.AppID = "" }, "AppID", "App ID"},
		"an app ID with a space":    {func(c *config) { c.AppID += " " }, "AppID", "white space"},
		"no way to seal":            {func(c *config) { c.AppSecret, c.Secrets = "", nil }, "AppSecret", "App secret"},
		"a short app secret":        {func(c *config) { c.AppSecret, c.Secrets = "short", nil }, "AppSecret", "set Secrets"},
		"a short secret":            {func(c *config) { c.Secrets = append(c.Secrets, "short") }, "Secrets", "at position 1"},
		"a short previous secret":   {func(c *config) { c.PreviousAppSecrets = []string{"x"} }, "PreviousAppSecrets", "too short"},
		"no base URL":               {func(c *config) { c.BaseURL = "" }, "BaseURL", "in their browser"},
		"a relative base URL":       {func(c *config) { c.BaseURL = "/app" }, "BaseURL", "absolute"},
		"an http base URL":          {func(c *config) { c.BaseURL = "http://app.example.com" }, "BaseURL", "loopback"},
		"a base URL with a query":   {func(c *config) { c.BaseURL += "?x" }, "BaseURL", "query"},
		"a base URL with fragment":  {func(c *config) { c.BaseURL += "#x" }, "BaseURL", "fragment"},
		"a base URL with dots":      {func(c *config) { c.BaseURL += "/../x" }, "BaseURL", "dot segments"},
		"two scopes in one":         {func(c *config) { c.Scopes = []string{"email phone"} }, "Scopes", "element of its own"},
		"no openid":                 {func(c *config) { c.OmitReservedScopes = true }, "Scopes", "openid"},
		"a relative resource":       {func(c *config) { c.Resources = []string{"api"} }, "Resources", "API identifier"},
		"a resource with fragment":  {func(c *config) { c.Resources = []string{"https://api.example.com/#x"} }, "Resources", "fragment"},
		"two resources in one":      {func(c *config) { c.Resources = []string{"https://a.example,https://b.example"} }, "Resources", "comma"},
		"an unknown prompt":         {func(c *config) { c.Prompt = "select_account" }, "Prompt", "constants"},
		"an unknown first screen":   {func(c *config) { c.SignInDefaults.FirstScreen = "signIn" }, "SignInDefaults", "FirstScreen"},
		"a default return path":     {func(c *config) { c.SignInDefaults.ReturnTo = "//evil" }, "SignInDefaults.ReturnTo", "begins with"},
		"a default redirect URI":    {func(c *config) { c.SignInDefaults.RedirectURI = "http://app.example.com/x" }, "SignInDefaults.RedirectURI", "loopback"},
		"AfterSignIn elsewhere":     {func(c *config) { c.AfterSignIn = "https://evil.example" }, "AfterSignIn", "path of this application"},
		"AfterSignOut by script":    {func(c *config) { c.AfterSignOut = "javascript:alert(1)" }, "AfterSignOut", "absolute https URL"},
		"a path without slash":      {func(c *config) { c.Paths.SignIn = "login" }, "Paths.SignIn", "begins with"},
		"a path with parameter":     {func(c *config) { c.Paths.Callback = "/:x" }, "Paths.Callback", "plain path"},
		"a path twice":              {func(c *config) { c.Paths.SignOut = "/sign-in" }, "Paths.SignOut", "of its own"},
		"a negative lifetime":       {func(c *config) { c.SessionLifetime = -time.Hour }, "SessionLifetime", "400 days"},
		"two years":                 {func(c *config) { c.SessionLifetime = 2 * 365 * 24 * time.Hour }, "SessionLifetime", "400 days"},
		"a large skew":              {func(c *config) { c.ClockSkew = 6 * time.Minute }, "ClockSkew", "5m0s"},
		"an origin with a path":     {func(c *config) { c.TrustedOrigins = []string{"https://a.example/"} }, "TrustedOrigins", "host and port only"},
		"a cookie name with spaces": {func(c *config) { c.Cookies.Name = "a b" }, "Cookies.Name", "letters"},
		"another site's domain":     {func(c *config) { c.Cookies.Domain = "example.org" }, "Cookies.Domain", "parent domain"},
		"a cookie path elsewhere":   {func(c *config) { c.Cookies.Path = "/admin" }, "Cookies.Path", "callback"},
		"__Host- with Domain (C70)": {func(c *config) { c.Cookies = logtogin.CookieOptions{Name: "__Host-x", Domain: "example.com"} }, "Cookies.Name", "Domain"},
		"__Host- with Path (C70)":   {func(c *config) { c.Cookies = logtogin.CookieOptions{Name: "__Host-x", Path: "/app"} }, "Cookies.Name", "Path"},
		"__Host- on http (C70)":     {func(c *config) { c.BaseURL, c.Cookies.Name = "http://localhost:8080", "__Host-x" }, "Cookies.Name", "https only"},
		"__Secure- on http":         {func(c *config) { c.BaseURL, c.Cookies.Name = "http://localhost:8080", "__Secure-x" }, "Cookies.Name", "https only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := validConfig()
			test.change(&cfg)
			_, err := logtogin.Register(gin.New(), cfg)
			var mistake *logtogin.ConfigError
			if !errors.As(err, &mistake) || mistake.Field != test.field || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "short") && test.field == "Secrets" && strings.Contains(err.Error(), `"short"`) {
				t.Error("the error shows the secret")
			}
		})
	}
}

func TestConfigurationsThatAreFine(t *testing.T) {
	t.Parallel()
	type config = logtogin.Config
	for name, change := range map[string]func(*config){
		"only what is required":            func(c *config) { c.Secrets = nil },
		"a public client":                  func(c *config) { c.AppSecret = "" },
		"a trailing slash":                 func(c *config) { c.Endpoint += "/"; c.BaseURL += "/" },
		"paths":                            func(c *config) { c.Endpoint += "/tenant"; c.BaseURL += "/app" },
		"localhost":                        func(c *config) { c.BaseURL = "http://localhost:8080" },
		"an IPv4 loopback":                 func(c *config) { c.Endpoint = "http://127.0.0.1:3001" },
		"an IPv6 loopback":                 func(c *config) { c.BaseURL = "http://[::1]:8080" },
		"a domain for subdomains":          func(c *config) { c.Cookies.Domain = "example.com" },
		"a path for cookies":               func(c *config) { c.BaseURL += "/app"; c.Cookies.Path = "/app" },
		"routes left out":                  func(c *config) { c.Paths = logtogin.Paths{SignUp: "-", SignOut: "-"} },
		"every reserved scope given again": func(c *config) { c.Scopes = []string{"openid", "email", "email"} },
		"reserved scopes left out":         func(c *config) { c.OmitReservedScopes, c.Scopes = true, []string{"openid"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := validConfig()
			change(&cfg)
			before := cfg
			auth, err := logtogin.Register(gin.New(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := auth.Close(); err != nil {
				t.Error(err)
			}
			if !reflect.DeepEqual(before, cfg) {
				t.Error("the Config was written to")
			}
		})
	}
	t.Run("an API that only verifies tokens needs just Endpoint", func(t *testing.T) {
		t.Parallel()
		auth, err := logtogin.New(logtogin.Config{Endpoint: "https://example.logto.app"})
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRoutesThatCannotBeRegistered(t *testing.T) {
	t.Parallel()
	nothing := func(*gin.Context) {}
	for name, prepare := range map[string]func(*gin.Engine) gin.IRouter{
		"the path is taken":             func(r *gin.Engine) gin.IRouter { r.GET("/sign-out", nothing); return r },
		"a catch-all lies beside it":    func(r *gin.Engine) gin.IRouter { r.GET("/*any", nothing); return r },
		"the group has a parameter":     func(r *gin.Engine) gin.IRouter { return r.Group("/:tenant") },
		"the group has a catch-all":     func(r *gin.Engine) gin.IRouter { return r.Group("/*rest") },
		"another Auth has the same one": func(r *gin.Engine) gin.IRouter { _, _ = logtogin.Register(r, validConfig()); return r },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := logtogin.Register(prepare(gin.New()), validConfig())
			var mistake *logtogin.ConfigError
			if !errors.As(err, &mistake) || mistake.Field != "Paths" {
				t.Errorf("error is %v", err)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		auth, err := logtogin.Register(gin.New(), validConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer auth.Close()
		if err := auth.RegisterRoutes(gin.New()); err == nil {
			t.Error("no error")
		}
	})
}

func TestWarningAboutDerivedSecrets(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*logtogin.Config)
		warns  bool
	}{
		"no Secrets on a public host": {func(c *logtogin.Config) { c.Secrets = nil }, true},
		"no Secrets on a loopback":    {func(c *logtogin.Config) { c.Secrets, c.BaseURL = nil, "http://localhost:8080" }, false},
		"Secrets on a public host":    {func(*logtogin.Config) {}, false},
	} {
		log := &logBuffer{}
		cfg := validConfig()
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
		test.change(&cfg)
		auth, err := logtogin.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), "level=WARN") != test.warns {
			t.Errorf("%s: the log is %q", name, log)
		}
	}
}

func TestConfigurationFromTheEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"LOGTO_ENDPOINT": "https://e.example", "LOGTO_APP_ID": "id", "LOGTO_APP_SECRET": "secret", "LOGTO_BASE_URL": "https://b.example",
		"LOGTO_SCOPES": "email  phone", "LOGTO_RESOURCES": "https://r.example/", "LOGTO_SECRETS": "one two",
		"LOGTO_PREVIOUS_APP_SECRETS": "three", "LOGTO_TRUSTED_ORIGINS": "https://o.example", "LOGTO_PROMPT": "login consent",
		"LOGTO_AFTER_SIGN_IN": "/in", "LOGTO_AFTER_SIGN_OUT": "/out", "LOGTO_SESSION_LIFETIME": "36h", "LOGTO_CLOCK_SKEW": "30s",
	} {
		t.Setenv(name, value)
	}
	want := logtogin.Config{
		Endpoint: "https://e.example", AppID: "id", AppSecret: "secret", BaseURL: "https://b.example",
		Scopes: []string{"email", "phone"}, Resources: []string{"https://r.example/"}, Secrets: []string{"one", "two"},
		PreviousAppSecrets: []string{"three"}, TrustedOrigins: []string{"https://o.example"}, Prompt: logtogin.PromptLoginConsent,
		AfterSignIn: "/in", AfterSignOut: "/out", SessionLifetime: 36 * time.Hour, ClockSkew: 30 * time.Second,
	}
	if got, err := logtogin.ConfigFromEnv(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	t.Setenv("LOGTO_SESSION_LIFETIME", "14 days")
	if _, err := logtogin.ConfigFromEnv(); err == nil || !strings.Contains(err.Error(), "LOGTO_SESSION_LIFETIME") {
		t.Errorf("error is %v", err)
	}
}
