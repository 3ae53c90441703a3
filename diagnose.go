package logtogin

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
	"github.com/logtogin/logtogin/internal/web"
)

// The configuration against the running Logto: what a newcomer gets wrong, said before a
// user finds out.

const (
	// diagnosisMemory is how long a diagnosis is answered from memory, so that a page with
	// it cannot be used against Logto.
	diagnosisMemory  = 10 * time.Second
	diagnosisTimeout = 15 * time.Second
)

// Diagnosis is what Auth.Diagnose has found.
type Diagnosis struct {
	// At is when it was made.
	At time.Time `json:"at"`
	// Findings are all that was looked at, in the order in which to correct it.
	Findings []Finding `json:"findings"`
}

// Finding is one thing that was looked at. It holds no secret.
type Finding struct {
	// Check names it: "discovery", "keys", "clock", "client", "redirect_uri", "scopes", "resources",
	// "post_logout_redirect_uri", "refresh_token", "cookies", "secrets", "store", "shared_state" or
	// "confirmations".
	Check string `json:"check"`
	// Severity says how bad it is.
	Severity Severity `json:"severity"`
	// Detail is what was found.
	Detail string `json:"detail"`
	// Advice is what to change; "" if nothing.
	Advice string `json:"advice,omitempty"`
}

// Severity is how bad a finding is.
type Severity string

const (
	// SeverityOK: as it should be.
	SeverityOK Severity = "ok"
	// SeverityWarning: it works, but perhaps not as was meant.
	SeverityWarning Severity = "warning"
	// SeverityError: somebody cannot sign in, or not out.
	SeverityError Severity = "error"
	// SeverityUnknown: it could not be looked at, because of another finding.
	SeverityUnknown Severity = "unknown"
)

// Worst is the greatest severity among the findings: SeverityError, SeverityWarning,
// SeverityUnknown or SeverityOK.
func (d *Diagnosis) Worst() Severity {
	for _, severity := range []Severity{SeverityError, SeverityWarning, SeverityUnknown} {
		for _, finding := range d.Findings {
			if finding.Severity == severity {
				return severity
			}
		}
	}
	return SeverityOK
}

// Diagnose looks at the configuration and asks the running Logto what it makes of it:
// whether it can be reached and is the one that is meant, how far the clocks are apart,
// whether it knows the application, its secret, its redirect URIs, its scopes and its resources; and
// whether cookies, secrets, Store and SharedState are fit for production. For each finding it
// says what to change. Nothing at Logto is changed by it, and nobody is signed in or out.
//
// It makes about six calls, and one for each scope and resource if Logto refuses any, within 15 seconds, and keeps the answer for 10. Config.OnEvent is
// told of them as of any other, so one refresh that Logto refuses is among the events: that is
// how the secret is tried. There is no route for it: show it, if at all, on a page behind a
// guard, because it tells how the application is set up. Call it after RegisterRoutes, which
// says where the callback is.
func (a *Auth) Diagnose(ctx context.Context) *Diagnosis {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	d := &diagnosis{a: a, found: &Diagnosis{At: a.settings.Now()}}
	select {
	case a.diagnosing <- struct{}{}:
		defer func() { <-a.diagnosing }()
	case <-ctx.Done():
		d.add("discovery", SeverityUnknown, "", "another diagnosis is under way")
		return d.found
	}
	if last := a.diagnosis; last != nil && d.found.At.Sub(last.At).Abs() < diagnosisMemory {
		return last.clone()
	}
	d.run(ctx)
	if ctx.Err() == nil {
		a.diagnosis = d.found
	}
	return d.found.clone()
}

func (d *Diagnosis) clone() *Diagnosis {
	return &Diagnosis{d.At, append([]Finding(nil), d.Findings...)}
}

// diagnosis is one that is being made.
type diagnosis struct {
	a     *Auth
	found *Diagnosis
}

func (d *diagnosis) add(check string, severity Severity, advice, detail string, args ...any) {
	d.found.Findings = append(d.found.Findings, Finding{check, severity, fmt.Sprintf(detail, args...), advice})
}

// unknown is for checks that cannot be made.
func (d *diagnosis) unknown(why string, checks ...string) {
	for _, check := range checks {
		if check != "resources" || len(d.a.settings.Resources) > 0 {
			d.add(check, SeverityUnknown, "", "%s", why)
		}
	}
}

func (d *diagnosis) run(ctx context.Context) {
	m := d.discovery(ctx)
	switch {
	case d.a.settings.base == nil: // an API has no client
	case m == nil:
		d.unknown("Logto cannot be asked", "client", "redirect_uri", "scopes", "resources", "post_logout_redirect_uri", "refresh_token")
	default:
		isKnown := d.client(ctx)
		uri, isRegistered := d.redirectURI(ctx, m)
		isGranted := isRegistered && d.request(ctx, m, uri)
		if !isRegistered {
			d.unknown("Logto cannot be asked without a redirect URI that is registered", "scopes", "resources")
		}
		d.postLogoutRedirectURI(ctx, m)
		d.refreshToken(isKnown && isGranted)
	}
	if d.a.settings.base != nil {
		d.local()
		d.sessionStore(ctx)
	}
	d.sharedState(ctx)
	d.confirmations()
}

// confirmations are sessions of which Logto has said something that must not be accepted.
func (d *diagnosis) confirmations() {
	if count := d.a.refresher.unacceptable.Len(); count > 0 {
		d.add("confirmations", SeverityWarning, "Compare the clock of this machine with Logto's, and Config.Endpoint with the Logto Console, and look for a proxy that changes answers; the log says which check has failed.",
			"%d sessions are answered 503, because the ID tokens that Logto sends for them are not acceptable", count)
	}
}

// discovery asks Logto anew, not from memory.
func (d *diagnosis) discovery(ctx context.Context) *logto.Metadata {
	s := d.a.settings
	began := time.Now()
	m, err := d.a.provider.Discover(ctx)
	if err != nil {
		d.add("discovery", SeverityError, "Compare Config.Endpoint with the Logto endpoint in the Logto Console, and see that this machine reaches it. If the status is 500 or more, look at Logto, or at the proxy before it.",
			"%s cannot be used: %v", s.issuer, err)
		return nil
	}
	d.add("discovery", SeverityOK, "", "%s answers in %v and is the issuer", s.issuer, time.Since(began).Round(time.Millisecond))
	d.addresses(m)
	if m.RevocationEndpoint == "" {
		d.add("discovery", SeverityWarning, "Keep Config.SessionLifetime short, or use a provider that has one.", "There is no revocation_endpoint, so the refresh token of a session that has ended stays usable until it expires")
	}
	if m.UserInfoEndpoint == "" {
		d.add("discovery", SeverityWarning, "Let the provider put all claims into the ID token.", "There is no userinfo_endpoint, so UserInfo fails, and so do guards that need a claim which is not in the ID token")
	}
	if _, err := d.a.provider.KeyWithdrawals(ctx); err != nil {
		d.add("keys", SeverityError, "See that this machine reaches the jwks_uri of the discovery document, and that a key there is EC, Ed25519 or RSA of 2048 bits or more.", "Logto's keys cannot be used, so no token can be verified: %s", strings.TrimPrefix(err.Error(), fault.ProviderUnavailable.Error()+": "))
	} else {
		d.add("keys", SeverityOK, "", "Logto's keys can be used")
	}
	date, err := d.a.provider.DateOf(ctx, m.KeysEndpoint)
	if err != nil {
		d.add("clock", SeverityUnknown, "", "Logto does not say what time it is")
		return m
	}
	// The header has full seconds.
	difference := s.Now().Sub(date).Truncate(time.Second)
	switch apart := difference.Abs(); {
	case apart > s.ClockSkew:
		d.add("clock", SeverityError, "Let both machines get their time from the network (NTP).", "The clocks are %v apart, and Config.ClockSkew is %v", apart, s.ClockSkew)
	case apart > s.ClockSkew/4:
		d.add("clock", SeverityWarning, "Let both machines get their time from the network (NTP).", "The clocks are %v apart", apart)
	default:
		d.add("clock", SeverityOK, "", "The clocks are %v apart", apart)
	}
	return m
}

// addresses are where browsers are sent. Logto takes them from the header Host of the request for the discovery document,
// and the issuer from its own configuration.
func (d *diagnosis) addresses(m *logto.Metadata) {
	issuer, _ := url.Parse(d.a.settings.issuer) // which was checked
	for _, endpoint := range []string{m.AuthorizationEndpoint, m.EndSessionEndpoint} {
		if found, err := url.Parse(endpoint); err == nil && endpoint != "" && web.Origin(found) != web.Origin(issuer) {
			d.add("discovery", SeverityWarning, "If browsers cannot reach it, let the proxy before Logto keep the header Host, or set TRUST_PROXY_HEADER=1 at Logto and send X-Forwarded-Host and X-Forwarded-Proto.",
				"Browsers are sent to %s, and the issuer is at %s", web.Origin(found), web.Origin(issuer))
			return
		}
	}
}

// client tries the credentials with a refresh token that nobody has. Nothing but the token may be refused.
func (d *diagnosis) client(ctx context.Context) (isKnown bool) {
	s := d.a.settings
	_, err := d.a.provider.Refresh(ctx, "diagnosis-"+rand.Text(), "", "")
	var refused *ProviderError
	var spaces string
	for _, field := range s.credentials() {
		if web.IsPadded(field.value) {
			spaces += "; Config." + field.name + " begins or ends with a space or an invisible character"
		}
	}
	switch {
	case errors.As(err, &refused) && refused.Code == "invalid_grant":
		if s.AppSecret == "" {
			d.add("client", SeverityOK, "", "Logto knows the application, and lets it do without a secret")
		} else {
			d.add("client", SeverityOK, "", "Logto knows the application and accepts its secret")
		}
		return true
	case errors.As(err, &refused) && refused.Code == "invalid_client" && refused.Status == http.StatusUnauthorized && s.AppSecret == "":
		d.add("client", SeverityError, "Copy the App secret from the application's page in the Logto Console into Config.AppSecret.", "Logto wants a secret, and Config.AppSecret is empty")
	case errors.As(err, &refused) && refused.Code == "invalid_client" && refused.Status == http.StatusUnauthorized:
		d.add("client", SeverityError, "Copy the App secret from the application's page in the Logto Console into Config.AppSecret; the application's type must be Traditional web.", "Logto does not accept the secret%s", spaces)
	case errors.As(err, &refused) && refused.Code == "invalid_client":
		d.add("client", SeverityError, "Copy the App ID from the application's page in the Logto Console into Config.AppID.", "Logto knows no application %q%s", s.AppID, spaces)
	case errors.As(err, &refused):
		d.add("client", SeverityError, "See the application's page in the Logto Console: its type must be Traditional web, and its secret must not have expired.", "Logto refuses the application: %s (%s)%s", fault.Text(refused.Code, 64), fault.Text(refused.Description, 200), spaces)
	default:
		d.add("client", SeverityUnknown, "", "Logto does not answer: %v", err)
	}
	return false
}

// redirectURI begins a sign-in that nobody goes on with, without any page.
func (d *diagnosis) redirectURI(ctx context.Context, m *logto.Metadata) (uri string, isRegistered bool) {
	uri, err := d.a.redirectURI(d.a.settings.SignInDefaults.RedirectURI)
	if err != nil {
		d.add("redirect_uri", SeverityUnknown, "", "The callback route is left out and SignInDefaults.RedirectURI is not set, so each sign-in has its own")
		return "", false
	}
	answer, err := d.authorize(ctx, m, uri, []string{"openid"})
	switch {
	case err != nil:
		d.add("redirect_uri", SeverityUnknown, "", "Logto does not answer: %v", err)
	case answer.IsRedirectTo(uri):
		d.add("redirect_uri", SeverityOK, "", "%s is registered", uri)
		return uri, true
	case strings.Contains(answer.Code, "redirect_uri"):
		d.add("redirect_uri", SeverityError, fmt.Sprintf("Add %s to the redirect URIs of the application in the Logto Console, to the letter.", uri), "%s is not registered", uri)
	case answer.Code == "invalid_client":
		d.add("redirect_uri", SeverityUnknown, "", "Logto does not know the application")
	case answer.Code == "":
		d.add("redirect_uri", SeverityUnknown, "", "%s", noAnswerOfLogto(answer))
	default:
		d.add("redirect_uri", SeverityError, "See the application's page in the Logto Console: its type must be Traditional web.", "Logto answers %d %s", answer.Status, fault.Text(answer.Code, 64))
	}
	return "", false
}

// request asks for all that a sign-in asks for and, if Logto refuses that, for each scope and each resource by itself, so
// that the answer says which.
func (d *diagnosis) request(ctx context.Context, m *logto.Metadata, uri string) (isGranted bool) {
	s := d.a.settings
	answer, err := d.authorize(ctx, m, uri, s.scopes, s.Resources...)
	isGranted = err == nil && isGrantable(answer, uri)
	d.scopes(ctx, m, uri, answer, err)
	for _, resource := range s.Resources {
		answer, err := answer, err
		if !isGranted {
			answer, err = d.authorize(ctx, m, uri, []string{"openid"}, resource)
		}
		switch {
		case err != nil:
			d.add("resources", SeverityUnknown, "", "Logto does not answer: %v", err)
			return false
		case answer.Code == "invalid_target":
			d.add("resources", SeverityError, "Copy the API identifier from the Logto Console; a slash at its end counts. Until then no sign-in works.", "Logto knows no API resource %q", resource)
		case !isGrantable(answer, uri):
			d.add("resources", SeverityUnknown, "", "%q: %s", resource, noAnswerOfLogto(answer))
		default:
			d.add("resources", SeverityOK, "", "Logto knows %q", resource)
		}
	}
	return isGranted
}

// scopes finds out which scopes the answer to a request is about, or the error.
func (d *diagnosis) scopes(ctx context.Context, m *logto.Metadata, uri string, answer logto.PageAnswer, err error) {
	if err == nil && answer.Code == "invalid_target" {
		answer, err = d.authorize(ctx, m, uri, d.a.settings.scopes)
	}
	switch {
	case err != nil:
		d.add("scopes", SeverityUnknown, "", "Logto does not answer: %v", err)
		return
	case isGrantable(answer, uri):
		d.grantedScopes(m)
		return
	case answer.Code != "invalid_scope":
		d.add("scopes", SeverityUnknown, "", "%s", noAnswerOfLogto(answer))
		return
	}
	count := 0
	for _, scope := range d.a.settings.scopes {
		if answer, err := d.authorize(ctx, m, uri, []string{"openid", scope}); err != nil || answer.Code != "invalid_scope" {
			continue
		}
		count++
		advice := "On the page of the application in the Logto Console, a third-party application's Permissions, add the scope, or remove it from Config.Scopes. Until then no sign-in works."
		if slices.Contains(logto.ReservedScopes, scope) {
			advice = "On the page of the application in the Logto Console, a third-party application's Permissions, add the scope, or set Config.OmitReservedScopes and give the others in Config.Scopes. Until then no sign-in works."
		}
		d.add("scopes", SeverityError, advice, "Logto does not let the application ask for %q", scope)
	}
	if count == 0 {
		d.add("scopes", SeverityError, "Remove scopes from Config.Scopes that the application may not have. Until then no sign-in works.", "Logto does not let the application ask for %s", strings.Join(d.a.settings.scopes, " "))
	}
}

// grantedScopes says what Logto makes of scopes that it does not refuse. It leaves out what it does not know, and
// permissions that no role of a user has.
func (d *diagnosis) grantedScopes(m *logto.Metadata) {
	s := d.a.settings
	var permissions []string
	isFine := true
	warn := func(advice, detail string, args ...any) {
		isFine = false
		d.add("scopes", SeverityWarning, advice, detail, args...)
	}
	for _, scope := range s.scopes {
		switch {
		case slices.Contains(m.Scopes, scope), m.Scopes == nil:
		case strings.HasPrefix(scope, "urn:logto:scope:"):
			warn("Correct the name in Config.Scopes.", "Logto knows no scope %q and leaves it out of every sign-in without a word", scope)
		case len(s.Resources) == 0:
			warn("Add the API identifier of the permission to Config.Resources, or correct the name in Config.Scopes.", "%q is no scope of Logto's own, and Config.Resources names no API resource whose permission it could be, so Logto leaves it out of every sign-in without a word", scope)
		default:
			permissions = append(permissions, scope)
		}
	}
	switch {
	case !isFine:
	case len(permissions) > 0:
		d.add("scopes", SeverityOK, "", "Logto refuses none of %s; which users get %s is up to their roles, and a name that no API resource has is left out without a word", strings.Join(s.scopes, " "), strings.Join(permissions, " "))
	default:
		d.add("scopes", SeverityOK, "", "Logto refuses none of %s", strings.Join(s.scopes, " "))
	}
}

// isGrantable reports whether Logto has sent the browser back because nobody is signed in, and for no other reason.
func isGrantable(answer logto.PageAnswer, uri string) bool {
	switch answer.Code {
	case "", "login_required", "consent_required", "interaction_required":
		return answer.IsRedirectTo(uri)
	}
	return false
}

// noAnswerOfLogto says what has been answered in the place of Logto, or by a Logto with another trouble.
func noAnswerOfLogto(answer logto.PageAnswer) string {
	return fmt.Sprintf("the answer is %d %s, which says nothing about it", answer.Status, fault.Text(answer.Code, 64))
}

// postLogoutRedirectURI asks for the page that would sign somebody out.
func (d *diagnosis) postLogoutRedirectURI(ctx context.Context, m *logto.Metadata) {
	if m.EndSessionEndpoint == "" {
		advice := "Use a provider with OpenID Connect RP-Initiated Logout if a sign-out has to end its session, too."
		if d.a.settings.AfterSignOut == "" { // then the browser goes to AfterSignIn
			advice = `Set Config.AfterSignOut to "/" or another page that needs no sign-in: a guarded page would sign the user in again at once. ` + advice
		}
		d.add("post_logout_redirect_uri", SeverityWarning, advice, "There is no end_session_endpoint, so a sign-out ends the session here only: the next sign-in asks for no password")
		return
	}
	after, err := d.a.postLogoutRedirect("")
	if err != nil || after == "" {
		d.add("post_logout_redirect_uri", SeverityWarning, fmt.Sprintf(`Set Config.AfterSignOut to "/" or another page that needs no sign-in, and add its address, %s/, to the post sign-out redirect URIs of the application in the Logto Console.`, d.a.settings.BaseURL),
			"Config.AfterSignOut is empty, so users end on a page of Logto's after signing out, which does not lead back")
		return
	}
	params := url.Values{"client_id": {d.a.settings.AppID}, "post_logout_redirect_uri": {after}}
	answer, err := d.a.provider.AskAsBrowser(ctx, web.WithQuery(m.EndSessionEndpoint, params))
	switch {
	case err != nil:
		d.add("post_logout_redirect_uri", SeverityUnknown, "", "Logto does not answer: %v", err)
	case answer.Code == "invalid_client":
		d.add("post_logout_redirect_uri", SeverityUnknown, "", "Logto does not know the application")
	case answer.Status < http.StatusBadRequest:
		d.add("post_logout_redirect_uri", SeverityOK, "", "%s is registered", after)
	case answer.Code == "":
		d.add("post_logout_redirect_uri", SeverityUnknown, "", "%s", noAnswerOfLogto(answer))
	default:
		d.add("post_logout_redirect_uri", SeverityError, fmt.Sprintf("Add %s to the post sign-out redirect URIs of the application in the Logto Console, to the letter.", after),
			"%s is not registered, so a sign-out ends at Logto with %q and without a way back, and Logto's session goes on: the next sign-in asks for no password", after, fault.Text(answer.Code, 64))
	}
}

// refreshToken says whether sessions can be confirmed.
func (d *diagnosis) refreshToken(isGranted bool) {
	s := d.a.settings
	switch {
	case !slices.Contains(s.scopes, "offline_access"):
		d.add("refresh_token", SeverityWarning, "Add offline_access to Config.Scopes, if Logto lets the application have it.", "There are no refresh tokens, so sessions end with their ID token")
	case s.Prompt != PromptConsent && s.Prompt != PromptLoginConsent:
		d.add("refresh_token", SeverityWarning, "Leave Config.Prompt empty, or use PromptLoginConsent.", "With the prompt %q Logto issues no refresh token, so sessions end with their ID token", s.Prompt)
	case !isGranted:
		d.add("refresh_token", SeverityUnknown, "", "Sign-ins ask for a refresh token; whether one can succeed is not known, or see the other findings")
	default:
		d.add("refresh_token", SeverityOK, "", "Sign-ins ask for a refresh token, and Logto refuses nothing that they ask for")
	}
}

// local are findings for which nobody has to be asked.
func (d *diagnosis) local() {
	s := d.a.settings
	switch {
	case s.base.Scheme == "http":
		d.add("cookies", SeverityWarning, "Use https in production, and open the application under the host name in Config.BaseURL and no other: localhost and 127.0.0.1 are two.",
			"%s is http, so cookies are not Secure", s.BaseURL)
	case s.Cookies.Domain != "":
		d.add("cookies", SeverityWarning, "Leave Config.Cookies.Domain empty unless subdomains must share the session.", "All subdomains of %s can read and plant the cookies", s.Cookies.Domain)
	default:
		d.add("cookies", SeverityOK, "", "Secure, HttpOnly, SameSite=Lax, and %s fits %s", d.a.store.sessionName, s.BaseURL)
	}
	if len(s.Secrets) == 0 {
		d.add("secrets", SeverityWarning, "Set Config.Secrets in production.", "Sessions are sealed by a key derived from AppSecret, which everybody has who may read applications in Logto")
	} else {
		d.add("secrets", SeverityOK, "", "Config.Secrets is set")
	}
}

func (d *diagnosis) sessionStore(ctx context.Context) {
	if d.a.settings.Store == nil {
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.a.settings.BaseURL, nil)
	if err != nil {
		return
	}
	request.AddCookie(&http.Cookie{Name: d.a.store.sessionName, Value: "diagnosis"})
	if _, _, err := d.a.store.loadSession(ctx, request); errors.Is(err, ErrStoreUnavailable) {
		d.add("store", SeverityError, "See that this machine reaches the server behind Config.Store.", "%v", err)
		return
	}
	d.add("store", SeverityOK, "", "Config.Store answers")
}

func (d *diagnosis) sharedState(ctx context.Context) {
	shared := d.a.shared
	if shared.state == nil {
		d.add("shared_state", SeverityWarning, "Set Config.SharedState, for example to redisstate.New, in production.",
			"Config.SharedState is empty, so a restart forgets which sessions were ended, and other instances do not learn of it")
		return
	}
	if _, works := shared.read(ctx, d.a.revocations.endings.name, "", 1); !works {
		d.add("shared_state", SeverityError, "See that this machine reaches the server behind Config.SharedState.", "Config.SharedState does not answer")
		return
	}
	troubles := d.a.revocations.endings.whatTroubles().and(d.a.revocations.changed.whatTroubles())
	if troubles.unreadable > 0 {
		d.add("shared_state", SeverityError, "Give all instances the same Config.Secrets, and keep a replaced one for Config.SessionLifetime; then start this instance again.",
			"%d revocations of other instances cannot be read here: they are sealed by other Config.Secrets, or made by another version", troubles.unreadable)
	}
	if troubles.replaced > 0 {
		d.add("shared_state", SeverityWarning, "Look whether Redis was emptied, restored or replaced, and let it keep its data on disk.",
			"The log of revocations was lost %d times, last at %s; this instance has published again what it knew", troubles.replaced, troubles.replacedAt.UTC().Format(time.RFC3339))
	}
	if troubles == (logTrouble{}) {
		d.add("shared_state", SeverityOK, "", "Config.SharedState answers")
	}
}

// authorize begins a sign-in in which Logto may show no page, and returns its refusal.
func (d *diagnosis) authorize(ctx context.Context, m *logto.Metadata, redirectURI string, scopes []string, resources ...string) (logto.PageAnswer, error) {
	return d.a.provider.AskAsBrowser(ctx, d.a.provider.AuthorizationURL(m, logto.AuthorizationRequest{
		RedirectURI: redirectURI,
		State:       "diagnosis",
		Verifier:    logto.NewVerifier(), // nobody sends it
		Scopes:      scopes,
		Resources:   resources,
		Params:      url.Values{"prompt": {"none"}},
	}))
}
