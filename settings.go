package logtogin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

const (
	defaultSessionLifetime = 14 * 24 * time.Hour
	maxSessionLifetime     = 400 * 24 * time.Hour // what browsers allow a cookie, RFC 6265bis 5.5
	maxStoredLifetime      = 30 * 24 * time.Hour  // securecookie's default MaxAge
	minIdleTimeout         = 10 * time.Second
	defaultStoreTimeout    = 3 * time.Second
	defaultMaxStale        = 24 * time.Hour
	maxStoreTimeout        = time.Minute
	defaultClockSkew       = 60 * time.Second
	maxClockSkew           = 5 * time.Minute
	minSecret              = 32
	minDerivableSecret     = 16

	defaultCookieName = "logtogin"
	boundCookieName   = "__Host-" + defaultCookieName // without Domain and Path, on https (RFC 6265bis, section 4.1.3.2)

	scopeOrganizations     = "urn:logto:scope:organizations"
	scopeOrganizationRoles = "urn:logto:scope:organization_roles"
	resourceOrganizations  = "urn:logto:resource:organizations"
)

// settings is a Config that has been checked and completed.
type settings struct {
	Config
	issuer     string
	issuers    []string // of access tokens
	base       *url.URL // nil without BaseURL
	basePath   string   // the path of base, as browsers send it
	scopes     []string
	secrets    []string
	routePaths Paths // "" instead of "-"
}

// providerSettings are what the calls to Logto need to know.
func (s *settings) providerSettings() logto.Settings {
	return logto.Settings{
		Issuer:             s.issuer,
		AccessTokenIssuers: s.issuers,
		AppID:              s.AppID,
		AppSecret:          s.AppSecret,
		HTTPClient:         s.HTTPClient,
		ClockSkew:          s.ClockSkew,
		Now:                s.Now,
		Observe: func(ctx context.Context, call string) (ended func(error)) {
			return s.timed(ctx, Event{Kind: EventProviderCall, Call: call})
		},
		PublicRefusal: func(code, description string, status int) error {
			return &ProviderError{Code: code, Description: description, Status: status}
		},
	}
}

// applicationKey tells applications of one host or one shared state apart, by so many
// bytes.
func (s *settings) applicationKey(bytes int) string {
	sum := sha256.Sum256([]byte(s.issuer + "\x00" + s.AppID))
	return hex.EncodeToString(sum[:bytes])
}

// purpose binds a key to what it seals, for which application of which Logto.
func (s *settings) purpose(record string) string {
	return fmt.Sprintf("logtogin/1 %s %q %q", record, s.issuer, s.AppID)
}

// check completes cfg by its defaults and finds the mistakes that can be seen
// without a network.
func (cfg Config) check() (*settings, error) {
	s := &settings{Config: cfg}
	s.Secrets = slices.Clone(cfg.Secrets)
	s.PreviousAppSecrets = slices.Clone(cfg.PreviousAppSecrets)
	s.TrustedOrigins = slices.Clone(cfg.TrustedOrigins)
	s.SignInDefaults = cfg.SignInDefaults.clone()
	for _, step := range []func() error{
		s.checkEndpoint, s.checkBaseURL, s.checkOrigins, s.checkCookies, s.checkScopes, s.checkResources, s.checkSignIn,
		s.checkSecrets, s.checkPaths, s.checkTimes,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	s.Logger = cmp.Or(s.Logger, slog.Default())
	if s.Now == nil {
		s.Now = time.Now
	}
	return s, nil
}

func (s *settings) checkEndpoint() error {
	endpoint, problem := web.ParseServerURL(s.Endpoint)
	if problem != "" {
		return &ConfigError{"Endpoint", problem + `; copy the Logto endpoint from the Logto Console, for example "https://example.logto.app"`}
	}
	if strings.HasSuffix(endpoint.Path, "/oidc") || strings.Contains(endpoint.Path, "/oidc/") {
		return &ConfigError{"Endpoint", `has "/oidc", which belongs to the issuer; leave that part and what follows out`}
	}
	s.Endpoint = endpoint.String()
	s.issuer = s.Endpoint + "/oidc"
	s.issuers = append([]string{s.issuer}, s.AdditionalIssuers...)
	for _, issuer := range s.AdditionalIssuers {
		if u, problem := web.ParseServerURL(issuer); problem != "" || u.String() != issuer {
			return &ConfigError{"AdditionalIssuers", fmt.Sprintf(`has %q; give issuers as they stand in tokens, for example "https://auth.example.com/oidc"`, issuer)}
		}
	}
	for _, field := range s.credentials() {
		// RFC 6749, appendix A.1 and A.2; characters outside ASCII occur all the same.
		if strings.ContainsFunc(field.value, unicode.IsControl) {
			return &ConfigError{field.name, "has a line feed or another control character; remove it"}
		}
	}
	return nil
}

type credential struct{ name, value string }

func (s *settings) credentials() []credential {
	return []credential{{"AppID", s.AppID}, {"AppSecret", s.AppSecret}}
}

// warnOfSpaces returns no error, because a provider may issue such a secret.
func (s *settings) warnOfSpaces() {
	for _, field := range s.credentials() {
		if web.IsPadded(field.value) {
			s.Logger.Warn("logtogin: Config." + field.name + " begins or ends with a space or an invisible character; remove it, unless Logto has issued it so")
		}
	}
}

func (s *settings) checkBaseURL() error {
	if s.BaseURL == "" {
		return nil
	}
	base, problem := web.ParseServerURL(s.BaseURL)
	if problem != "" {
		return &ConfigError{"BaseURL", problem + `; give the address that users have in their browser, for example "https://app.example.com"`}
	}
	s.base, s.basePath, s.BaseURL = base, base.EscapedPath(), base.String()
	return nil
}

func (s *settings) checkOrigins() error {
	for _, origin := range s.TrustedOrigins {
		if !web.IsOrigin(origin) { // it would never match
			return &ConfigError{"TrustedOrigins", fmt.Sprintf(`has %q, which cannot be trusted, or which no browser sends as an Origin; write scheme and host as browsers do, in lower case and in ASCII, a port only if it is not the usual one, and no path, for example "https://www.example.com" or "capacitor://localhost"; "null" stands for every sandboxed page`, origin)}
		}
	}
	return nil
}

func (s *settings) checkScopes() error {
	if !s.OmitReservedScopes {
		s.scopes = append(s.scopes, logto.ReservedScopes...)
	}
	for _, scope := range s.Scopes {
		// RFC 6749 allows a comma, which in practice is somebody's idea of a separator.
		if !logto.IsScope(scope) || strings.Contains(scope, ",") {
			return &ConfigError{"Scopes", fmt.Sprintf("has %q, which is not a scope; give each scope as an element of its own, in LOGTO_SCOPES separated by spaces", scope)}
		}
	}
	s.scopes, s.Scopes = appendNew(s.scopes, s.Scopes...), nil
	if s.OmitReservedScopes && !slices.Contains(s.scopes, "openid") && s.BaseURL != "" {
		return &ConfigError{"Scopes", `lacks "openid", without which there is no sign-in; add it or unset OmitReservedScopes`}
	}
	return nil
}

func (s *settings) checkResources() error {
	for _, resource := range s.Resources {
		u, err := url.Parse(resource)
		switch {
		case err != nil || !u.IsAbs() || strings.Contains(resource, "#"): // RFC 8707, section 2
			return &ConfigError{"Resources", fmt.Sprintf("has %q, which is not an absolute URI without fragment; copy the API identifier from the Logto Console", resource)}
		case strings.Contains(resource, ","):
			return &ConfigError{"Resources", fmt.Sprintf("has %q with a comma, which Logto takes for two resources; give each as an element of its own, in LOGTO_RESOURCES separated by spaces", resource)}
		}
	}
	s.Resources = appendNew(nil, s.Resources...)
	if slices.Contains(s.scopes, scopeOrganizations) {
		s.Resources = appendNew(s.Resources, resourceOrganizations)
	}
	return nil
}

// appendNew appends the texts that a list does not have yet.
func appendNew(list []string, texts ...string) []string {
	for _, text := range texts {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

func (s *settings) checkSignIn() error {
	s.Prompt = cmp.Or(s.Prompt, PromptConsent)
	s.AfterSignIn = cmp.Or(s.AfterSignIn, "/")
	defaults := &s.SignInDefaults
	if !slices.Contains(prompts, s.Prompt) {
		return &ConfigError{"Prompt", fmt.Sprintf(`is %q; use one of the Prompt constants: "consent", "login consent", "login", "none", or "-" to send none`, s.Prompt)}
	}
	if err := defaults.check(s.Resources); err != nil {
		return &ConfigError{"SignInDefaults", "cannot be used: " + strings.TrimPrefix(err.Error(), ErrInvalidOptions.Error()+": ")}
	}
	for _, path := range []*string{&s.AfterSignIn, &s.AfterSignOut, &defaults.ReturnTo, &defaults.RedirectURI} {
		if strings.HasPrefix(*path, "/") {
			*path = web.EscapeAddress(*path)
		}
	}
	const noPage = `is %q; give a path of this application that begins with "/", without empty or dot segments`
	uri, path := defaults.RedirectURI, s.callbackPath()
	_, uriProblem := web.ParseServerURL(uri)
	_, afterSignOutProblem := web.ParseURL(s.AfterSignOut)
	switch {
	case defaults.ReturnTo != "" && !web.IsSafePath(defaults.ReturnTo):
		return &ConfigError{"SignInDefaults.ReturnTo", fmt.Sprintf(noPage, defaults.ReturnTo)}
	case strings.HasPrefix(uri, "/") && !web.IsCallbackPath(uri):
		return &ConfigError{"SignInDefaults.RedirectURI", fmt.Sprintf("is %q; give the path of the callback without query and fragment, and without empty or dot segments", uri)}
	case uri != "" && !strings.HasPrefix(uri, "/") && uriProblem != "":
		return &ConfigError{"SignInDefaults.RedirectURI", uriProblem + "; give the callback address as registered in the Logto Console, or its path"}
	case path != "" && !web.IsSentTo(path, s.Cookies.Path):
		return &ConfigError{"SignInDefaults.RedirectURI", fmt.Sprintf("is %q, to which browsers would not send cookies with the path of Cookies.Path, %q; choose a path below it, with the same escapes", uri, s.Cookies.Path)}
	case !web.IsSafePath(s.AfterSignIn):
		return &ConfigError{"AfterSignIn", fmt.Sprintf(noPage, s.AfterSignIn)}
	case s.AfterSignOut != "" && !web.IsPostLogoutPath(s.AfterSignOut) && afterSignOutProblem != "":
		return &ConfigError{"AfterSignOut", afterSignOutProblem + `; give a path that begins with "/", without a fragment and without empty or dot segments, or an absolute https URL`}
	}
	return nil
}

// callbackPath is the path of SignInDefaults.RedirectURI as browsers send it, or "" if that is not set or lies elsewhere.
func (s *settings) callbackPath() string {
	uri := s.SignInDefaults.RedirectURI
	switch {
	case s.base == nil:
		return ""
	case web.IsCallbackPath(uri):
		return s.basePath + web.EscapePath(uri)
	}
	if u, problem := web.ParseURL(uri); problem == "" && web.Origin(u) == web.Origin(s.base) {
		return u.EscapedPath()
	}
	return ""
}

func (s *settings) checkSecrets() error {
	for i, secret := range s.Secrets {
		if len(secret) < minSecret {
			return &ConfigError{"Secrets", fmt.Sprintf("has a secret of %d bytes at position %d; give each %d random bytes or more, for example from: openssl rand -base64 48", len(secret), i, minSecret)}
		}
	}
	s.secrets = slices.Clone(s.Secrets)
	if len(s.secrets) == 0 && s.AppSecret != "" {
		s.secrets = []string{s.AppSecret}
	}
	isShort := func(secret string) bool { return len(secret) < minDerivableSecret }
	switch {
	case slices.ContainsFunc(s.secrets, isShort):
		return &ConfigError{"AppSecret", fmt.Sprintf("has %d bytes, too few to derive a key from; check it, or set Secrets", len(s.AppSecret))}
	case slices.ContainsFunc(s.PreviousAppSecrets, isShort):
		return &ConfigError{"PreviousAppSecrets", "has a secret that is too short to have been used; remove it"}
	case len(s.PreviousAppSecrets) > 0 && len(s.secrets) == 0:
		return &ConfigError{"PreviousAppSecrets", "is set but nothing seals; set AppSecret or Secrets"}
	case s.SharedState != nil && len(s.secrets) == 0:
		return &ConfigError{"SharedState", "is set, but nothing seals what would be kept there; set Secrets to the same values at all instances"}
	}
	s.secrets = append(s.secrets, s.PreviousAppSecrets...)
	return nil
}

func (s *settings) checkPaths() error {
	s.routePaths = s.Paths
	taken := map[string]string{}
	for _, route := range []struct {
		name, fallback string
		path           *string
	}{
		{"Paths.SignIn", "/sign-in", &s.routePaths.SignIn},
		{"Paths.SignUp", "/sign-up", &s.routePaths.SignUp},
		{"Paths.Callback", "/callback", &s.routePaths.Callback},
		{"Paths.SignOut", "/sign-out", &s.routePaths.SignOut},
		{"Paths.BackchannelLogout", "/backchannel-logout", &s.routePaths.BackchannelLogout},
	} {
		path := cmp.Or(*route.path, route.fallback)
		switch other, isTaken := taken[path]; {
		case path == "-":
			path = ""
		case !web.IsSafePath(path) || strings.ContainsAny(path, ":*?#%"):
			return &ConfigError{route.name, fmt.Sprintf(`is %q; give a plain ASCII path that begins with "/", without parameters and escapes, or "-" to leave the route out`, path)}
		case isTaken:
			return &ConfigError{route.name, fmt.Sprintf("is %q, as is %s; give each route a path of its own", path, other)}
		default:
			taken[path] = route.name
		}
		*route.path = path
	}
	return nil
}

func (s *settings) checkTimes() error {
	s.SessionLifetime = cmp.Or(s.SessionLifetime, defaultSessionLifetime)
	s.MaxStale = cmp.Or(s.MaxStale, defaultMaxStale)
	s.StoreTimeout = cmp.Or(s.StoreTimeout, defaultStoreTimeout)
	s.ClockSkew = cmp.Or(s.ClockSkew, defaultClockSkew)
	isWithin := func(value, least, most time.Duration) bool { return least <= value && value <= most }
	for _, field := range []struct {
		name    string
		value   time.Duration
		isRight bool
		cure    string
	}{
		{"SessionLifetime", s.SessionLifetime, isWithin(s.SessionLifetime, time.Second, maxSessionLifetime), "; give a time between a second and 400 days"},
		{"SessionLifetime", s.SessionLifetime, s.Store == nil || s.SessionLifetime <= maxStoredLifetime, ", but the stores of gin-contrib keep a session for 30 days; shorten it, or leave Store empty"},
		{"IdleTimeout", s.IdleTimeout, s.IdleTimeout == 0 || s.IdleTimeout >= minIdleTimeout, fmt.Sprintf("; give %v or more, or 0 for none", minIdleTimeout)},
		{"RevalidateAfter", s.RevalidateAfter, s.RevalidateAfter <= 0 || s.RevalidateAfter >= session.MinRevalidation, fmt.Sprintf("; give %v or more, 0 for the life of the ID token, or a negative value for never", session.MinRevalidation)},
		{"MaxStale", s.MaxStale, s.MaxStale >= 0, "; give 0 or more"},
		{"StoreTimeout", s.StoreTimeout, isWithin(s.StoreTimeout, time.Millisecond, maxStoreTimeout), "; give a time between a millisecond and a minute"},
		{"ClockSkew", s.ClockSkew, isWithin(s.ClockSkew, 0, maxClockSkew), fmt.Sprintf("; give a time of up to %v", maxClockSkew)},
	} {
		if !field.isRight {
			return &ConfigError{field.name, fmt.Sprintf("is %v%s", field.value, field.cure)}
		}
	}
	return nil
}

func (s *settings) checkCookies() error {
	cookies := &s.Cookies
	var problem string
	if cookies.Path, problem = web.CookiePath(cookies.Path); problem != "" {
		return &ConfigError{"Cookies.Path", problem}
	}
	if cookies.Domain, problem = web.CookieDomain(cookies.Domain, s.base); problem != "" {
		return &ConfigError{"Cookies.Domain", problem}
	}
	isBound := cookies.Domain == "" && cookies.Path == "/"
	isHTTP := s.base != nil && s.base.Scheme == "http"
	if problem = web.CookieNameProblem(cookies.Name, session.MaxCookieName, isBound, isHTTP); problem != "" {
		return &ConfigError{"Cookies.Name", problem}
	}
	if isBound && s.base != nil && !isHTTP {
		cookies.Name = cmp.Or(cookies.Name, boundCookieName)
	}
	cookies.Name = cmp.Or(cookies.Name, defaultCookieName)
	return nil
}

// checkSignInReady finds what sign-in needs and a pure API does without.
func (s *settings) checkSignInReady() error {
	switch {
	case s.AppID == "":
		return &ConfigError{"AppID", "is empty; copy the App ID from the application's page in the Logto Console"}
	case s.base == nil:
		return &ConfigError{"BaseURL", `is empty; give the address that users have in their browser, for example "https://app.example.com"`}
	case len(s.secrets) == 0:
		return &ConfigError{"AppSecret", "is empty; copy the App secret from the application's page in the Logto Console, or set Secrets for a public client"}
	}
	return nil
}
