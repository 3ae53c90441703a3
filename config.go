package logtogin

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-gonic/gin"
)

// Config describes the application to Logto and to this package. Endpoint,
// AppID, AppSecret and BaseURL are required for sign-in; with nothing else the
// configuration is complete and safe. New copies what it is given and never
// writes to it.
type Config struct {
	// Endpoint is the address of the Logto tenant, for example
	// "https://example.logto.app", as the Logto Console shows it. It may have
	// a path; the issuer is Endpoint + "/oidc". It must be https, except on a
	// loopback host.
	Endpoint string

	// AppID and AppSecret belong to an application of the type "Traditional
	// web". Without AppSecret, the application is a public client, and Secrets
	// is required.
	AppID     string
	AppSecret string

	// BaseURL is where browsers find this application, for example
	// "https://app.example.com". The callback address that must be registered
	// in the Logto Console is made of it, and so are cookie attributes: it is
	// never derived from a request, because a request can lie. It must be
	// https, except on a loopback host. It may have a path, if a proxy in
	// front removes that path; the paths in this configuration and the
	// return paths are then meant without it. It is brought into the form that browsers
	// use (WHATWG URL): "https://Bücher.example:443/größe" becomes
	// "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe". Escapes in the path stay as they are.
	BaseURL string

	// Scopes are requested beside "openid", "profile" and "offline_access".
	// See https://docs.logto.io/end-user-flows/user-data for Logto's; the
	// permissions of the Resources are also named here.
	Scopes []string

	// OmitReservedScopes leaves the three reserved scopes out, for a
	// third-party application that may not ask for all of them. Scopes must
	// then name "openid". Without "offline_access" a session ends with its ID
	// token, by default after an hour.
	OmitReservedScopes bool

	// Resources are the indicators of the API resources (RFC 8707) that access
	// tokens will be wanted for, exactly as in the Logto Console: the trailing
	// slash counts.
	Resources []string

	// AdditionalIssuers are accepted in access tokens by Bearer and BearerOrganization,
	// beside the issuer of Endpoint: the other addresses of the same tenant, for example
	// "https://auth.example.com/oidc" of a custom domain. They have the same keys.
	AdditionalIssuers []string

	// Prompt is sent with every sign-in. The zero value is PromptConsent,
	// without which Logto issues no refresh token.
	Prompt Prompt

	// SignInDefaults fills the fields that a call of SignIn leaves empty. The
	// sign-in and sign-up routes use it as it is.
	SignInDefaults SignInOptions

	// Paths are the paths of the routes, below the router group.
	Paths Paths

	// AfterSignIn is the path of this application where a user who signed in
	// arrives if no other was asked for. The default is "/".
	AfterSignIn string

	// AfterSignOut is where Logto sends the user after the sign-out: a path of
	// this application that needs no sign-in, or an absolute URL. It must be registered as a post
	// sign-out redirect URI in the Logto Console, or the session ends here and not at
	// Logto. The default is none: the user ends on a page of Logto's.
	AfterSignOut string

	// KeepCacheOnSignOut leaves Clear-Site-Data: "cache" out of the answer to a sign-out. With the header, browsers
	// forget public pages that have fetched guarded data by a script, which the back button would show again.
	// Guarded pages are forgotten without it. In Chromium the header delays the next page by 0.2 s for each
	// 1,000 files of the origin in the cache.
	KeepCacheOnSignOut bool

	// Secrets encrypt what this package keeps in cookies. The first one seals,
	// all of them open. To replace a secret, put the new one behind the old one on
	// every instance, then before it, and remove the old one when
	// SessionLifetime has passed. Each has 32 bytes or more. The default is one that is
	// derived from AppSecret; set your own in production, because whoever may
	// read applications in Logto can read AppSecret, and because replacing
	// AppSecret would sign out every user.
	Secrets []string

	// PreviousAppSecrets open what was sealed under earlier values of
	// AppSecret, or under the present one before Secrets was set. They never
	// seal.
	PreviousAppSecrets []string

	// Store keeps the sessions, sealed: any store of gin-contrib/sessions. They
	// have a session name and attributes of their own in it, so that the
	// application can use the same store; a session gets a new ID at each
	// sign-in, and its record is deleted at sign-out. The default, nil, keeps
	// sessions in encrypted cookies and needs no server. Sign-ins under way are
	// kept in cookies in any case.
	//
	// Not every store has room for a session: see ErrSessionTooLarge. The
	// stores for gorm and MongoDB hide their failures when a session is read,
	// which then look as if nobody were signed in.
	Store ginsessions.Store

	// StoreTimeout bounds every call to Store; a request whose session cannot
	// be read in time is answered 503. At most 64 calls are made at a time; half
	// of the time may pass in waiting for one of them to end. Limit the connection pool of an SQL
	// store: see docs/sessions.md. The default is 3 s, the most is a minute.
	StoreTimeout time.Duration

	// SessionLifetime is how long a session lasts at most, however active the
	// user is. The default is 14 days, the most 400 days, and 30 with a Store,
	// because the stores of gin-contrib sign their cookies for that long. A
	// session for which Logto issued no refresh token ends with its ID token,
	// by default after an hour, because nothing would tell that the user has
	// been removed.
	SessionLifetime time.Duration

	// IdleTimeout ends a session that no request has used for so long, 10 s at
	// least. The default is none. A use is written down at most once in a tenth
	// of it. Requests that a page makes by itself count as well.
	IdleTimeout time.Duration

	// RevalidateAfter is how long the claims of a session are good: the next
	// request through Guard or Optional after that time refreshes the session,
	// one call, so that new roles and organizations reach the application, and a
	// user who was removed or suspended is signed out. The default, 0, is the life
	// of the ID token, by default an hour; a negative value means never. It is 10 s
	// at least.
	RevalidateAfter time.Duration

	// MaxStale is for how long beyond RevalidateAfter a session goes on while Logto
	// cannot be reached. Guarded requests are answered 503 after that, until Logto is back.
	// The default, 0, is 24 hours; SessionLifetime is for as long as the session lasts.
	MaxStale time.Duration

	// SharedState is what several instances of the application know together, so
	// that a session is refreshed by one of them and a sign-out is known to all; see
	// package redisstate. The default, nil, is enough for a single instance, and, with
	// Logto's 3 seconds of grace for a refresh token that was replaced, seldom
	// noticed without.
	SharedState SharedState

	// OnSignedIn is called in the callback, when Logto has confirmed the user
	// and before there is a session. Claims, UserInfo and the like know the
	// user already. A RefusalError ends the sign-in, and its message is shown;
	// so does any other error, which is not shown. It may change
	// result.ReturnTo to another path of this application, meant, as everywhere
	// in this configuration, without the path of BaseURL. If it panics or signs
	// the user out, there is no session either. Its error reaches the caller
	// of HandleCallback and OnError as an ErrSignInRefused, and a ReturnTo that
	// is no page of this application as one that is an ErrInvalidOptions, too.
	// Nil is no sign-in yet: writing the session can still fail.
	OnSignedIn func(c *gin.Context, result *SignInResult) error

	// OnSignedOut is called by SignOut and SignOutURL when the session of these
	// claims has ended, before the browser is sent to Logto; once for each, if the
	// browser had several, and once at each instance, if it signs out at two at the same
	// moment. It is not called for sessions that end by themselves or that another sign-in
	// replaces.
	OnSignedOut func(c *gin.Context, claims *Claims)

	// EndSessionsOnPasswordReset makes WebhookHandler end all sessions of a user who has reset a forgotten password
	// (PostResetPassword), and refuse older access tokens. Logto itself ends none.
	EndSessionsOnPasswordReset bool

	// OnWebhook is given every event that WebhookHandler has verified, after what it does by
	// itself, unless it is older than ten minutes or comes again. An error is answered 500 and logged.
	OnWebhook func(c *gin.Context, event *WebhookEvent) error

	// OnError may answer a request that failed or that a guard refused, in the place of
	// the page or problem document of this package: StatusCode tells the status, and
	// err can be told apart with errors.Is and errors.As. If it writes nothing, the
	// usual answer follows. WantsPage tells whether people or a program will read it,
	// and Auth.SignInPath where to try again. Status and headers are set before; an
	// answer under a status below 300 keeps the status of the error, so that no refusal
	// looks like success, except by Engine.HandleContext, whose page has to set it. What
	// fails while it runs does not come here again. A page navigation that a guard sends
	// to the sign-in route does not come here.
	OnError func(c *gin.Context, err error)

	// OnEvent is told of what happens, for metrics, traces and audits; package telemetry
	// makes OpenTelemetry of it. It is called where it happens, by many goroutines at a
	// time, so it should be quick. The context is that of the request, or of the background
	// work. The default, nil, costs nothing.
	OnEvent func(ctx context.Context, event Event)

	// Cookies are the attributes of the cookies.
	Cookies CookieOptions

	// ClockSkew is how far the clocks of Logto and of this application may be
	// apart when the times in a token are compared. The default is 60 s, the
	// most is 5 minutes.
	ClockSkew time.Duration

	// TrustedOrigins may send requests with unsafe methods to guarded routes
	// and to the sign-out route, beside BaseURL's own: "https://www.example.com", or
	// "capacitor://localhost" of an app. Each is written as browsers send it.
	// Requests from anywhere else are refused (see http.CrossOriginProtection).
	TrustedOrigins []string

	// HTTPClient makes the calls to Logto. Redirects are not followed. A call
	// ends after 10 s, or after the Timeout of the client if that is shorter.
	// The default uses a transport of its own with the settings of
	// http.DefaultTransport.
	HTTPClient *http.Client

	// Logger receives warnings and errors meant for the operator. No record
	// holds a token, code, verifier or secret. The default is slog.Default().
	Logger *slog.Logger

	// Now is the clock. The default is time.Now; tests set another.
	Now func() time.Time
}

// Paths are the paths of the routes that RegisterRoutes adds. Each begins with
// a slash and is taken below the router group. Empty means the default, "-"
// leaves the route out.
type Paths struct {
	SignIn   string // default "/sign-in"
	SignUp   string // default "/sign-up"
	Callback string // default "/callback"
	SignOut  string // default "/sign-out"

	// BackchannelLogout is where Logto itself tells, by a POST, that a user has signed out
	// elsewhere. Its address is the "Backchannel logout URI" of the application in the
	// Logto Console; "Is session required" there should be on. The default is
	// "/backchannel-logout".
	BackchannelLogout string
}

// CookieOptions are the attributes of this package's cookies. All are HttpOnly
// and SameSite=Lax, and Secure if BaseURL is https.
type CookieOptions struct {
	// Name is the beginning of the cookies' names. The default is "logtogin",
	// with "__Host-" before it if BaseURL is https and Domain and Path are
	// empty. A hash of issuer and AppID is always appended, so that two
	// applications on one host do not disturb each other. It has at most 22
	// characters, because it is sent with each cookie. A name that begins
	// with "__Host-" or "__Secure-" needs an https BaseURL, and "__Host-" also
	// no Domain and no Path (RFC 6265bis, section 4.1.3).
	Name string

	// Domain shares the cookies with the subdomains of a host. The default,
	// none, is safer: subdomains can then neither read nor plant them. A session is bound to
	// it and to Path, so a change of either signs users out.
	Domain string

	// Path limits the cookies to a part of the host, with the escapes of BaseURL. The routes of
	// this package, a callback route of your own and all guarded pages must lie below it. The
	// default is "/".
	Path string
}

// Prompt is the prompt parameter of OpenID Connect Core, section 3.1.2.1.
type Prompt string

const (
	// PromptConsent is the default. Logto shows nothing for it to users of a
	// first-party application.
	PromptConsent Prompt = "consent"
	// PromptLogin makes the user authenticate again. Logto then issues no
	// refresh token.
	PromptLogin Prompt = "login"
	// PromptLoginConsent makes the user authenticate again and yields a
	// refresh token.
	PromptLoginConsent Prompt = "login consent"
	// PromptNone asks for an answer without any page. It fails with
	// login_required or consent_required if one would be needed, and yields no
	// refresh token.
	PromptNone Prompt = "none"
	// PromptOmit sends no prompt parameter at all. Logto then issues no
	// refresh token.
	PromptOmit Prompt = "-"
)

var prompts = []Prompt{PromptConsent, PromptLogin, PromptLoginConsent, PromptNone, PromptOmit}

// ConfigFromEnv reads a Config from environment variables:
//
//	LOGTO_ENDPOINT, LOGTO_APP_ID, LOGTO_APP_SECRET, LOGTO_BASE_URL
//	LOGTO_SCOPES, LOGTO_RESOURCES, LOGTO_SECRETS,
//	LOGTO_PREVIOUS_APP_SECRETS, LOGTO_TRUSTED_ORIGINS   separated by spaces
//	LOGTO_PROMPT                                        "consent", "login consent", "login", "none" or "-"
//	LOGTO_AFTER_SIGN_IN, LOGTO_AFTER_SIGN_OUT
//	LOGTO_SESSION_LIFETIME, LOGTO_IDLE_TIMEOUT,
//	LOGTO_REVALIDATE_AFTER, LOGTO_MAX_STALE,
//	LOGTO_STORE_TIMEOUT, LOGTO_CLOCK_SKEW               as "336h", "60s"
//
// Each stands for the field of Config with that name; one that is unset or
// empty leaves the field at its default. The error is a *ConfigError and tells
// of a value that cannot be read; whether the values make sense is found out
// by New.
func ConfigFromEnv() (Config, error) {
	cfg := Config{
		Endpoint:           os.Getenv("LOGTO_ENDPOINT"),
		AppID:              os.Getenv("LOGTO_APP_ID"),
		AppSecret:          os.Getenv("LOGTO_APP_SECRET"),
		BaseURL:            os.Getenv("LOGTO_BASE_URL"),
		Scopes:             strings.Fields(os.Getenv("LOGTO_SCOPES")),
		Resources:          strings.Fields(os.Getenv("LOGTO_RESOURCES")),
		Secrets:            strings.Fields(os.Getenv("LOGTO_SECRETS")),
		PreviousAppSecrets: strings.Fields(os.Getenv("LOGTO_PREVIOUS_APP_SECRETS")),
		TrustedOrigins:     strings.Fields(os.Getenv("LOGTO_TRUSTED_ORIGINS")),
		Prompt:             Prompt(os.Getenv("LOGTO_PROMPT")),
		AfterSignIn:        os.Getenv("LOGTO_AFTER_SIGN_IN"),
		AfterSignOut:       os.Getenv("LOGTO_AFTER_SIGN_OUT"),
	}
	for _, duration := range []struct {
		field, variable string
		value           *time.Duration
	}{
		{"SessionLifetime", "LOGTO_SESSION_LIFETIME", &cfg.SessionLifetime},
		{"IdleTimeout", "LOGTO_IDLE_TIMEOUT", &cfg.IdleTimeout},
		{"RevalidateAfter", "LOGTO_REVALIDATE_AFTER", &cfg.RevalidateAfter},
		{"MaxStale", "LOGTO_MAX_STALE", &cfg.MaxStale},
		{"StoreTimeout", "LOGTO_STORE_TIMEOUT", &cfg.StoreTimeout},
		{"ClockSkew", "LOGTO_CLOCK_SKEW", &cfg.ClockSkew},
	} {
		text := os.Getenv(duration.variable)
		parsed, err := time.ParseDuration(cmp.Or(text, "0"))
		if err != nil {
			return Config{}, &ConfigError{duration.field, fmt.Sprintf(`cannot be read from %s=%q; write a duration such as "336h" or "90s"`, duration.variable, text)}
		}
		*duration.value = parsed
	}
	return cfg, nil
}
