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
	minRevalidation        = 10 * time.Second
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
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
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
		if !slices.Contains(s.scopes, scope) {
			s.scopes = append(s.scopes, scope)
		}
	}
	s.Scopes = nil
	if s.OmitReservedScopes && !slices.Contains(s.scopes, "openid") && s.BaseURL != "" {
		return &ConfigError{"Scopes", `lacks "openid", without which there is no sign-in; add it or unset OmitReservedScopes`}
	}
	return nil
}

func (s *settings) checkResources() error {
	var resources []string
	add := func(resource string) {
		if !slices.Contains(resources, resource) {
			resources = append(resources, resource)
		}
	}
	for _, resource := range s.Resources {
		u, err := url.Parse(resource)
		// RFC 8707, section 2.
		if err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
			return &ConfigError{"Resources", fmt.Sprintf("has %q, which is not an absolute URI without fragment; copy the API identifier from the Logto Console", resource)}
		}
		if strings.Contains(resource, ",") {
			return &ConfigError{"Resources", fmt.Sprintf("has %q with a comma, which Logto takes for two resources; give each as an element of its own, in LOGTO_RESOURCES separated by spaces", resource)}
		}
		add(resource)
	}
	if slices.Contains(s.scopes, scopeOrganizations) {
		add(resourceOrganizations)
	}
	s.Resources = resources
	return nil
}

func (s *settings) checkSignIn() error {
	if s.Prompt == "" {
		s.Prompt = PromptConsent
	}
	if !s.Prompt.known() {
		return &ConfigError{"Prompt", fmt.Sprintf(`is %q; use one of the Prompt constants: "consent", "login consent", "login", "none", or "-" to send none`, s.Prompt)}
	}
	if err := s.SignInDefaults.check(s.Resources); err != nil {
		return &ConfigError{"SignInDefaults", "cannot be used: " + strings.TrimPrefix(err.Error(), ErrInvalidOptions.Error()+": ")}
	}
	for _, path := range []*string{&s.AfterSignIn, &s.AfterSignOut, &s.SignInDefaults.ReturnTo, &s.SignInDefaults.RedirectURI} {
		if strings.HasPrefix(*path, "/") {
			*path = web.EscapeAddress(*path)
		}
	}
	if to := s.SignInDefaults.ReturnTo; to != "" && !web.IsSafePath(to) {
		return &ConfigError{"SignInDefaults.ReturnTo", fmt.Sprintf(`is %q; give a path of this application that begins with "/", without empty or dot segments`, to)}
	}
	switch uri := s.SignInDefaults.RedirectURI; {
	case uri == "", isCallbackPath(uri):
	case strings.HasPrefix(uri, "/"):
		return &ConfigError{"SignInDefaults.RedirectURI", fmt.Sprintf("is %q; give the path of the callback without query and fragment, and without empty or dot segments", uri)}
	default:
		if _, problem := web.ParseServerURL(uri); problem != "" {
			return &ConfigError{"SignInDefaults.RedirectURI", problem + "; give the callback address as registered in the Logto Console, or its path"}
		}
	}
	if path := s.callbackPath(); path != "" && !web.IsSentTo(path, s.Cookies.Path) {
		return &ConfigError{"SignInDefaults.RedirectURI", fmt.Sprintf("is %q, to which browsers would not send cookies with the path of Cookies.Path, %q; choose a path below it, with the same escapes", s.SignInDefaults.RedirectURI, s.Cookies.Path)}
	}
	if s.AfterSignIn == "" {
		s.AfterSignIn = "/"
	}
	if !web.IsSafePath(s.AfterSignIn) {
		return &ConfigError{"AfterSignIn", fmt.Sprintf(`is %q; give a path of this application that begins with "/", without empty or dot segments`, s.AfterSignIn)}
	}
	if s.AfterSignOut != "" && !isPostLogoutPath(s.AfterSignOut) {
		if _, problem := web.ParseURL(s.AfterSignOut); problem != "" {
			return &ConfigError{"AfterSignOut", problem + `; give a path that begins with "/", without a fragment and without empty or dot segments, or an absolute https URL`}
		}
	}
	return nil
}

// callbackPath is the path of SignInDefaults.RedirectURI as browsers send it, or "" if that is not set or lies elsewhere.
func (s *settings) callbackPath() string {
	uri := s.SignInDefaults.RedirectURI
	switch {
	case s.base == nil:
		return ""
	case isCallbackPath(uri):
		return s.basePath + web.EscapePath(uri)
	}
	if u, problem := web.ParseURL(uri); problem == "" && web.Origin(u) == web.Origin(s.base) {
		return u.EscapedPath()
	}
	return ""
}

// isCallbackPath reports whether a redirect URI may be given as this path of the
// application. RFC 6749, section 3.1.2, forbids a fragment; a query is refused
// for the sake of the callback's parameters.
func isCallbackPath(path string) bool {
	return web.IsSafePath(path) && !strings.ContainsAny(path, "?#")
}

// isPostLogoutPath reports whether this path of the application can be
// registered at Logto.
func isPostLogoutPath(given string) bool {
	return web.IsSafePath(given) && !strings.Contains(given, "#")
}

func (s *settings) checkSecrets() error {
	for i, secret := range s.Secrets {
		if len(secret) < minSecret {
			return &ConfigError{"Secrets", fmt.Sprintf("has a secret of %d bytes at position %d; give each %d random bytes or more, for example from: openssl rand -base64 48", len(secret), i, minSecret)}
		}
	}
	s.secrets = slices.Clone(s.Secrets)
	if len(s.secrets) == 0 && s.AppSecret != "" {
		if len(s.AppSecret) < minDerivableSecret {
			return &ConfigError{"AppSecret", fmt.Sprintf("has %d bytes, too few to derive a key from; check it, or set Secrets", len(s.AppSecret))}
		}
		s.secrets = []string{s.AppSecret}
	}
	for _, secret := range s.PreviousAppSecrets {
		if len(secret) < minDerivableSecret {
			return &ConfigError{"PreviousAppSecrets", "has a secret that is too short to have been used; remove it"}
		}
		if len(s.secrets) == 0 {
			return &ConfigError{"PreviousAppSecrets", "is set but nothing seals; set AppSecret or Secrets"}
		}
		s.secrets = append(s.secrets, secret)
	}
	if s.SharedState != nil && len(s.secrets) == 0 {
		return &ConfigError{"SharedState", "is set, but nothing seals what would be kept there; set Secrets to the same values at all instances"}
	}
	return nil
}

func (s *settings) checkPaths() error {
	fields := []struct {
		name            string
		given, fallback string
		path            *string
	}{
		{"Paths.SignIn", s.Paths.SignIn, "/sign-in", &s.routePaths.SignIn},
		{"Paths.SignUp", s.Paths.SignUp, "/sign-up", &s.routePaths.SignUp},
		{"Paths.Callback", s.Paths.Callback, "/callback", &s.routePaths.Callback},
		{"Paths.SignOut", s.Paths.SignOut, "/sign-out", &s.routePaths.SignOut},
		{"Paths.BackchannelLogout", s.Paths.BackchannelLogout, "/backchannel-logout", &s.routePaths.BackchannelLogout},
	}
	taken := map[string]string{}
	for _, field := range fields {
		switch field.given {
		case "":
			*field.path = field.fallback
		case "-":
			continue
		default:
			*field.path = field.given
		}
		if !web.IsSafePath(*field.path) || strings.ContainsAny(*field.path, ":*?#%") {
			return &ConfigError{field.name, fmt.Sprintf(`is %q; give a plain ASCII path that begins with "/", without parameters and escapes, or "-" to leave the route out`, field.given)}
		}
		if other, ok := taken[*field.path]; ok {
			return &ConfigError{field.name, fmt.Sprintf("is %q, as is %s; give each route a path of its own", *field.path, other)}
		}
		taken[*field.path] = field.name
	}
	return nil
}

func (s *settings) checkTimes() error {
	if s.SessionLifetime == 0 {
		s.SessionLifetime = defaultSessionLifetime
	}
	if s.SessionLifetime < time.Second || s.SessionLifetime > maxSessionLifetime {
		return &ConfigError{"SessionLifetime", fmt.Sprintf("is %v; give a time between a second and 400 days", s.SessionLifetime)}
	}
	if s.Store != nil && s.SessionLifetime > maxStoredLifetime {
		return &ConfigError{"SessionLifetime", fmt.Sprintf("is %v, but the stores of gin-contrib keep a session for 30 days; shorten it, or leave Store empty", s.SessionLifetime)}
	}
	if s.IdleTimeout != 0 && s.IdleTimeout < minIdleTimeout {
		return &ConfigError{"IdleTimeout", fmt.Sprintf("is %v; give %v or more, or 0 for none", s.IdleTimeout, minIdleTimeout)}
	}
	if s.RevalidateAfter > 0 && s.RevalidateAfter < minRevalidation {
		return &ConfigError{"RevalidateAfter", fmt.Sprintf("is %v; give %v or more, 0 for the life of the ID token, or a negative value for never", s.RevalidateAfter, minRevalidation)}
	}
	if s.MaxStale == 0 {
		s.MaxStale = defaultMaxStale
	}
	if s.MaxStale < 0 {
		return &ConfigError{"MaxStale", fmt.Sprintf("is %v; give 0 or more", s.MaxStale)}
	}
	if s.StoreTimeout == 0 {
		s.StoreTimeout = defaultStoreTimeout
	}
	if s.StoreTimeout < time.Millisecond || s.StoreTimeout > maxStoreTimeout {
		return &ConfigError{"StoreTimeout", fmt.Sprintf("is %v; give a time between a millisecond and a minute", s.StoreTimeout)}
	}
	if s.ClockSkew == 0 {
		s.ClockSkew = defaultClockSkew
	}
	if s.ClockSkew < 0 || s.ClockSkew > maxClockSkew {
		return &ConfigError{"ClockSkew", fmt.Sprintf("is %v; give a time of up to %v", s.ClockSkew, maxClockSkew)}
	}
	return nil
}

func (s *settings) checkCookies() error {
	secure := s.base != nil && s.base.Scheme == "https"
	cookies := &s.Cookies
	path := web.EscapePath(cookies.Path) // net/http drops what is not ASCII
	if path != "" && (!web.IsSafePath(path) || strings.ContainsAny(cookies.Path, ";,?#")) {
		return &ConfigError{"Cookies.Path", fmt.Sprintf(`is %q; give a plain path that begins with "/", without empty or dot segments and without any of ";,?#"`, cookies.Path)}
	}
	cookies.Path = path
	if domain := strings.TrimPrefix(cookies.Domain, "."); domain != "" {
		u, problem := web.ParseServerURL("https://" + domain)
		if problem != "" || strings.ContainsAny(domain, ":/") {
			return &ConfigError{"Cookies.Domain", fmt.Sprintf("is %q; give the name of a host, without a port and without a dot at the end", cookies.Domain)}
		}
		cookies.Domain = u.Host
	}
	if cookies.Domain != "" && s.base != nil &&
		s.base.Hostname() != cookies.Domain && !web.IsParentDomain(cookies.Domain, s.base.Hostname()) {
		return &ConfigError{"Cookies.Domain", fmt.Sprintf("is %q, so browsers would refuse cookies from %s; give that host or a parent domain of it", cookies.Domain, s.base.Hostname())}
	}
	// Browsers do not mind the case of the prefixes.
	name := strings.ToLower(cookies.Name)
	host := strings.HasPrefix(name, "__host-")
	switch {
	case host && (cookies.Domain != "" || (cookies.Path != "" && cookies.Path != "/")):
		return &ConfigError{"Cookies.Name", `begins with "__Host-", with which browsers refuse cookies that have a Domain or a Path other than "/"; unset those or choose another name`}
	case (host || strings.HasPrefix(name, "__secure-")) && !secure && s.base != nil:
		return &ConfigError{"Cookies.Name", "has a prefix that browsers accept with https only, but BaseURL is http; choose another name"}
	case len(cookies.Name) > session.MaxCookieName || strings.ContainsFunc(cookies.Name, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}):
		return &ConfigError{"Cookies.Name", fmt.Sprintf("is %q; give up to %d letters, digits, hyphens and underscores, which are sent with each of the cookies", cookies.Name, session.MaxCookieName)}
	}
	cookies.Path = cmp.Or(cookies.Path, "/")
	if cookies.Name == "" {
		cookies.Name = defaultCookieName
		if secure && cookies.Domain == "" && cookies.Path == "/" {
			cookies.Name = boundCookieName
		}
	}
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
