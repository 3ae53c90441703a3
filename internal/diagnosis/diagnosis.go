// Package diagnosis compares the configuration with the running Logto, so that the operator learns of a mistake before a
// user does. Compare makes the checks, one after the other, from discovery to refreshToken.
package diagnosis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/web"
)

// Settings are what is compared, checked and completed.
type Settings struct {
	// Settings are the settings of the Provider.
	logto.Settings
	// BaseURL is Config.BaseURL; "" for an API, which has no client at Logto, so that the other fields do not matter.
	BaseURL string
	// RedirectURI is the redirect URI of sign-ins; "" if each has its own.
	RedirectURI string
	// Scopes and Resources are what a sign-in asks for, and Prompt how.
	Scopes, Resources []string
	Prompt            string
	// PostLogoutRedirectURI is where browsers end after a sign-out; "" if Config.AfterSignOut is empty.
	PostLogoutRedirectURI string
}

// Finding is a logtogin.Finding, and Severity the text of a logtogin.Severity.
type Finding struct{ Check, Severity, Detail, Advice string }

const ok, warning, failure, unknown = "ok", "warning", "error", "unknown"

// comparison is one call of Compare.
type comparison struct {
	Settings
	provider *logto.Provider
	metadata *logto.Metadata // nil if there is none
	findings []Finding
}

// Compare asks Logto what it makes of the configuration, and returns the findings in the order in which to correct them.
// It makes about six calls, and one for each scope and resource if Logto refuses any. It changes nothing at Logto, and
// signs nobody in or out. When ctx ends, the checks that are left are "unknown".
func Compare(ctx context.Context, provider *logto.Provider, settings Settings) []Finding {
	c := &comparison{Settings: settings, provider: provider}
	c.discovery(ctx)
	switch {
	case c.BaseURL == "":
	case c.metadata == nil:
		c.unknown("Logto cannot be asked", "client", "redirect_uri", "scopes", "resources", "post_logout_redirect_uri", "refresh_token")
	default:
		isKnown := c.client(ctx)
		isGranted := c.redirectURI(ctx) && c.request(ctx)
		c.postLogoutRedirectURI(ctx)
		c.refreshToken(isKnown && isGranted)
	}
	return c.findings
}

func (c *comparison) add(check, severity, advice, detail string, args ...any) {
	c.findings = append(c.findings, Finding{check, severity, fmt.Sprintf(detail, args...), advice})
}

// unknown is for checks that cannot be made.
func (c *comparison) unknown(why string, checks ...string) {
	for _, check := range checks {
		if check != "resources" || len(c.Resources) > 0 {
			c.add(check, unknown, "", "%s", why)
		}
	}
}

// discovery asks Logto anew, not from memory.
func (c *comparison) discovery(ctx context.Context) {
	began := time.Now()
	m, err := c.provider.Discover(ctx)
	if err != nil {
		c.add("discovery", failure, "Compare Config.Endpoint with the Logto endpoint in the Logto Console, and see that this machine reaches it. If the status is 500 or more, look at Logto, or at the proxy before it.",
			"%s cannot be used: %v", c.Issuer, err)
		return
	}
	c.metadata = m
	c.add("discovery", ok, "", "%s answers in %v and is the issuer", c.Issuer, time.Since(began).Round(time.Millisecond))
	c.addresses()
	if m.RevocationEndpoint == "" {
		c.add("discovery", warning, "Keep Config.SessionLifetime short, or use a provider that has one.", "There is no revocation_endpoint, so the refresh token of a session that has ended stays usable until it expires")
	}
	if m.UserInfoEndpoint == "" {
		c.add("discovery", warning, "Let the provider put all claims into the ID token.", "There is no userinfo_endpoint, so UserInfo fails, and so do guards that need a claim which is not in the ID token")
	}
	if _, err := c.provider.KeyWithdrawals(ctx); err != nil {
		c.add("keys", failure, "See that this machine reaches the jwks_uri of the discovery document, and that a key there is EC, Ed25519 or RSA of 2048 bits or more.", "Logto's keys cannot be used, so no token can be verified: %s", strings.TrimPrefix(err.Error(), fault.ProviderUnavailable.Error()+": "))
	} else {
		c.add("keys", ok, "", "Logto's keys can be used")
	}
	c.clock(c.provider.AskAsBrowser(ctx, m.KeysEndpoint).Date)
}

// addresses are where browsers are sent. Logto takes them from the header Host of the request for the discovery document,
// and the issuer from its own configuration.
func (c *comparison) addresses() {
	issuer, _ := url.Parse(c.Issuer) // which was checked
	for _, endpoint := range []string{c.metadata.AuthorizationEndpoint, c.metadata.EndSessionEndpoint} {
		if found, err := url.Parse(endpoint); err == nil && endpoint != "" && web.Origin(found) != web.Origin(issuer) {
			c.add("discovery", warning, "If browsers cannot reach it, let the proxy before Logto keep the header Host, or set TRUST_PROXY_HEADER=1 at Logto and send X-Forwarded-Host and X-Forwarded-Proto.",
				"Browsers are sent to %s, and the issuer is at %s", web.Origin(found), web.Origin(issuer))
			return
		}
	}
}

// clock compares the clock with the Date of an answer, which is zero if it has none.
func (c *comparison) clock(date time.Time) {
	// The header has full seconds.
	switch apart := c.Now().Sub(date).Truncate(time.Second).Abs(); {
	case date.IsZero():
		c.unknown("Logto does not say what time it is", "clock")
	case apart > c.ClockSkew:
		c.add("clock", failure, "Let both machines get their time from the network (NTP).", "The clocks are %v apart, and Config.ClockSkew is %v", apart, c.ClockSkew)
	case apart > c.ClockSkew/4:
		c.add("clock", warning, "Let both machines get their time from the network (NTP).", "The clocks are %v apart", apart)
	default:
		c.add("clock", ok, "", "The clocks are %v apart", apart)
	}
}

// client tries the credentials with a refresh token that nobody has. Nothing but the token may be refused.
func (c *comparison) client(ctx context.Context) (isKnown bool) {
	_, err := c.provider.Refresh(ctx, "diagnosis-"+rand.Text(), "", "")
	var refused *oauth.Refusal
	if !errors.As(err, &refused) {
		c.unknown(noAnswer(err), "client")
		return false
	}
	var spaces string
	for _, field := range [][2]string{{"AppID", c.AppID}, {"AppSecret", c.AppSecret}} {
		if web.IsPadded(field[1]) {
			spaces += "; Config." + field[0] + " begins or ends with a space or an invisible character"
		}
	}
	isKnown = refused.Code == "invalid_grant"
	switch {
	case isKnown && c.AppSecret == "":
		c.add("client", ok, "", "Logto knows the application, and lets it do without a secret")
	case isKnown:
		c.add("client", ok, "", "Logto knows the application and accepts its secret")
	case refused.Code != "invalid_client":
		c.add("client", failure, "See the application's page in the Logto Console: its type must be Traditional web, and its secret must not have expired.", "Logto refuses the application: %s (%s)%s", fault.Text(refused.Code, 64), fault.Text(refused.Description, 200), spaces)
	case refused.Status != http.StatusUnauthorized:
		c.add("client", failure, "Copy the App ID from the application's page in the Logto Console into Config.AppID.", "Logto knows no application %q%s", c.AppID, spaces)
	case c.AppSecret == "":
		c.add("client", failure, "Copy the App secret from the application's page in the Logto Console into Config.AppSecret.", "Logto wants a secret, and Config.AppSecret is empty")
	default:
		c.add("client", failure, "Copy the App secret from the application's page in the Logto Console into Config.AppSecret; the application's type must be Traditional web.", "Logto does not accept the secret%s", spaces)
	}
	return isKnown
}

// authorize begins a sign-in that nobody continues. Logto must not show a page (prompt=none), so it answers at once.
func (c *comparison) authorize(ctx context.Context, scopes []string, resources ...string) logto.PageAnswer {
	return c.provider.AskAsBrowser(ctx, c.provider.AuthorizationURL(c.metadata, logto.AuthorizationRequest{
		RedirectURI: c.RedirectURI,
		State:       "diagnosis",
		Verifier:    logto.NewVerifier(), // nobody sends it
		Scopes:      scopes,
		Resources:   resources,
		Params:      url.Values{"prompt": {"none"}},
	}))
}

func noAnswer(err error) string { return fmt.Sprintf("Logto does not answer: %v", err) }

// saysNothing says why nothing follows from an answer. A proxy may have answered instead of Logto, or Logto has another
// trouble.
func saysNothing(answer logto.PageAnswer) string {
	if answer.Err != nil {
		return noAnswer(answer.Err)
	}
	return fmt.Sprintf("the answer is %d %s, which says nothing about it", answer.Status, fault.Text(answer.Code, 64))
}

// isGrantable reports whether Logto has sent the browser back because nobody is signed in, and for no other reason.
func (c *comparison) isGrantable(answer logto.PageAnswer) bool {
	return answer.IsRedirectTo(c.RedirectURI) && slices.Contains([]string{"", "login_required", "consent_required", "interaction_required"}, answer.Code)
}

// redirectURI begins a sign-in for nothing but "openid", so that only the redirect URI can be refused.
func (c *comparison) redirectURI(ctx context.Context) (isRegistered bool) {
	var answer logto.PageAnswer
	if c.RedirectURI != "" {
		answer = c.authorize(ctx, []string{"openid"})
	}
	switch {
	case c.RedirectURI == "":
		c.unknown("The callback route is left out and SignInDefaults.RedirectURI is not set, so each sign-in has its own", "redirect_uri")
	case answer.IsRedirectTo(c.RedirectURI):
		c.add("redirect_uri", ok, "", "%s is registered", c.RedirectURI)
		return true
	case strings.Contains(answer.Code, "redirect_uri"):
		c.add("redirect_uri", failure, fmt.Sprintf("Add %s to the redirect URIs of the application in the Logto Console, to the letter.", c.RedirectURI), "%s is not registered", c.RedirectURI)
	case answer.Code == "invalid_client":
		c.unknown("Logto does not know the application", "redirect_uri")
	case answer.Code == "":
		c.unknown(saysNothing(answer), "redirect_uri")
	default:
		c.add("redirect_uri", failure, "See the application's page in the Logto Console: its type must be Traditional web.", "Logto answers %d %s", answer.Status, fault.Text(answer.Code, 64))
	}
	c.unknown("Logto cannot be asked without a redirect URI that is registered", "scopes", "resources")
	return false
}

// request asks for all that a sign-in asks for and, if Logto refuses that, for each scope and each resource by itself, so
// that the answer says which.
func (c *comparison) request(ctx context.Context) (isGranted bool) {
	all := c.authorize(ctx, c.Scopes, c.Resources...)
	isGranted = c.isGrantable(all)
	c.scopes(ctx, all)
	for _, resource := range c.Resources {
		answer := all
		if !isGranted {
			answer = c.authorize(ctx, []string{"openid"}, resource)
		}
		switch {
		case answer.Err != nil:
			c.unknown(saysNothing(answer), "resources")
			return false
		case answer.Code == "invalid_target":
			c.add("resources", failure, "Copy the API identifier from the Logto Console; a slash at its end counts. Until then no sign-in works.", "Logto knows no API resource %q", resource)
		case c.isGrantable(answer):
			c.add("resources", ok, "", "Logto knows %q", resource)
		default:
			c.unknown(fmt.Sprintf("%q: %s", resource, saysNothing(answer)), "resources")
		}
	}
	return isGranted
}

// scopes finds out which scopes the answer to a request for all is about.
func (c *comparison) scopes(ctx context.Context, all logto.PageAnswer) {
	if all.Code == "invalid_target" {
		all = c.authorize(ctx, c.Scopes)
	}
	switch {
	case c.isGrantable(all):
		c.grantedScopes()
		return
	case all.Code != "invalid_scope":
		c.unknown(saysNothing(all), "scopes")
		return
	}
	before := len(c.findings)
	for _, scope := range c.Scopes {
		if c.authorize(ctx, []string{"openid", scope}).Code != "invalid_scope" {
			continue
		}
		cure := "remove it from Config.Scopes"
		if slices.Contains(logto.ReservedScopes, scope) {
			cure = "set Config.OmitReservedScopes and give the others in Config.Scopes"
		}
		c.add("scopes", failure, "On the page of the application in the Logto Console, a third-party application's Permissions, add the scope, or "+cure+". Until then no sign-in works.", "Logto does not let the application ask for %q", scope)
	}
	if len(c.findings) == before {
		c.add("scopes", failure, "Remove scopes from Config.Scopes that the application may not have. Until then no sign-in works.", "Logto does not let the application ask for %s", strings.Join(c.Scopes, " "))
	}
}

// grantedScopes says what Logto makes of scopes that it does not refuse. It leaves out what it does not know, and
// permissions that no role of a user has.
func (c *comparison) grantedScopes() {
	before := len(c.findings)
	var permissions []string
	for _, scope := range c.Scopes {
		switch {
		case c.metadata.Scopes == nil, slices.Contains(c.metadata.Scopes, scope):
		case strings.HasPrefix(scope, "urn:logto:scope:"):
			c.add("scopes", warning, "Correct the name in Config.Scopes.", "Logto knows no scope %q and leaves it out of every sign-in without a word", scope)
		case len(c.Resources) == 0:
			c.add("scopes", warning, "Add the API identifier of the permission to Config.Resources, or correct the name in Config.Scopes.", "%q is no scope of Logto's own, and Config.Resources names no API resource whose permission it could be, so Logto leaves it out of every sign-in without a word", scope)
		default:
			permissions = append(permissions, scope)
		}
	}
	if len(c.findings) > before {
		return
	}
	detail := "Logto refuses none of " + strings.Join(c.Scopes, " ")
	if len(permissions) > 0 {
		detail += "; which users get " + strings.Join(permissions, " ") + " is up to their roles, and a name that no API resource has is left out without a word"
	}
	c.add("scopes", ok, "", "%s", detail)
}

// postLogoutRedirectURI asks for the page that would sign somebody out.
func (c *comparison) postLogoutRedirectURI(ctx context.Context) {
	const check, cure = "post_logout_redirect_uri", `Set Config.AfterSignOut to "/" or another page that needs no sign-in`
	after := c.PostLogoutRedirectURI
	switch {
	case c.metadata.EndSessionEndpoint == "":
		advice := "Use a provider with OpenID Connect RP-Initiated Logout if a sign-out has to end its session, too."
		if after == "" { // then the browser goes to AfterSignIn
			advice = cure + ": a guarded page would sign the user in again at once. " + advice
		}
		c.add(check, warning, advice, "There is no end_session_endpoint, so a sign-out ends the session here only: the next sign-in asks for no password")
		return
	case after == "":
		c.add(check, warning, fmt.Sprintf("%s, and add its address, %s/, to the post sign-out redirect URIs of the application in the Logto Console.", cure, c.BaseURL),
			"Config.AfterSignOut is empty, so users end on a page of Logto's after signing out, which does not lead back")
		return
	}
	answer := c.provider.AskAsBrowser(ctx, web.WithQuery(c.metadata.EndSessionEndpoint, url.Values{"client_id": {c.AppID}, "post_logout_redirect_uri": {after}}))
	switch {
	case answer.Code == "invalid_client":
		c.unknown("Logto does not know the application", check)
	case answer.Err == nil && answer.Status < http.StatusBadRequest:
		c.add(check, ok, "", "%s is registered", after)
	case answer.Code == "":
		c.unknown(saysNothing(answer), check)
	default:
		c.add(check, failure, fmt.Sprintf("Add %s to the post sign-out redirect URIs of the application in the Logto Console, to the letter.", after),
			"%s is not registered, so a sign-out ends at Logto with %q and without a way back, and Logto's session goes on: the next sign-in asks for no password", after, fault.Text(answer.Code, 64))
	}
}

// refreshToken says whether sessions can be confirmed.
func (c *comparison) refreshToken(isGranted bool) {
	switch {
	case !slices.Contains(c.Scopes, "offline_access"):
		c.add("refresh_token", warning, "Add offline_access to Config.Scopes, if Logto lets the application have it.", "There are no refresh tokens, so sessions end with their ID token")
	case !slices.Contains(strings.Fields(c.Prompt), "consent"):
		c.add("refresh_token", warning, "Leave Config.Prompt empty, or use PromptLoginConsent.", "With the prompt %q Logto issues no refresh token, so sessions end with their ID token", c.Prompt)
	case !isGranted:
		c.unknown("Sign-ins ask for a refresh token; whether one can succeed is not known, or see the other findings", "refresh_token")
	default:
		c.add("refresh_token", ok, "", "Sign-ins ask for a refresh token, and Logto refuses nothing that they ask for")
	}
}
