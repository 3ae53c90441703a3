package logtogin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/logtogin/logtogin/internal/diagnosis"
	"github.com/logtogin/logtogin/internal/shared"
)

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
	severities := []Severity{SeverityOK, SeverityUnknown, SeverityWarning, SeverityError}
	worst := 0
	for _, finding := range d.Findings {
		worst = max(worst, slices.Index(severities, finding.Severity))
	}
	return severities[worst]
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
	d := &Diagnosis{At: a.settings.Now()}
	select {
	case a.diagnosing <- struct{}{}:
		defer func() { <-a.diagnosing }()
	case <-ctx.Done():
		d.add("discovery", SeverityUnknown, "", "another diagnosis is under way")
		return d
	}
	if last := a.diagnosis; last != nil && d.At.Sub(last.At).Abs() < diagnosisMemory {
		d = last
	} else if a.diagnose(ctx, d); ctx.Err() == nil {
		a.diagnosis = d
	}
	return &Diagnosis{d.At, slices.Clone(d.Findings)}
}

func (d *Diagnosis) add(check string, severity Severity, advice, detail string, args ...any) {
	d.Findings = append(d.Findings, Finding{check, severity, fmt.Sprintf(detail, args...), advice})
}

func (a *Auth) diagnose(ctx context.Context, d *Diagnosis) {
	s := a.settings
	compared := diagnosis.Settings{Settings: s.providerSettings(), BaseURL: s.BaseURL, Scopes: s.scopes, Resources: s.Resources, Prompt: string(s.Prompt)}
	compared.RedirectURI, _ = a.redirectURI(s.SignInDefaults.RedirectURI)
	compared.PostLogoutRedirectURI, _ = a.postLogoutRedirect("")
	for _, found := range diagnosis.Compare(ctx, a.provider, compared) {
		d.Findings = append(d.Findings, Finding{found.Check, Severity(found.Severity), found.Detail, found.Advice})
	}
	if a.sessions != nil {
		a.diagnoseSessions(ctx, d)
	}
	a.diagnoseSharedState(ctx, d)
	// Sessions of which Logto has said something that must not be accepted.
	if count := a.sessions.Doubts(); count > 0 {
		d.add("confirmations", SeverityWarning, "Compare the clock of this machine with Logto's, and Config.Endpoint with the Logto Console, and look for a proxy that changes answers; the log says which check has failed.",
			"%d sessions are answered 503, because the ID tokens that Logto sends for them are not acceptable", count)
	}
}

// diagnoseSessions looks at where sessions are kept: in cookies, sealed, or in Config.Store.
func (a *Auth) diagnoseSessions(ctx context.Context, d *Diagnosis) {
	s := a.settings
	switch {
	case s.base.Scheme == "http":
		d.add("cookies", SeverityWarning, "Use https in production, and open the application under the host name in Config.BaseURL and no other: localhost and 127.0.0.1 are two.",
			"%s is http, so cookies are not Secure", s.BaseURL)
	case s.Cookies.Domain != "":
		d.add("cookies", SeverityWarning, "Leave Config.Cookies.Domain empty unless subdomains must share the session.", "All subdomains of %s can read and plant the cookies", s.Cookies.Domain)
	default:
		d.add("cookies", SeverityOK, "", "Secure, HttpOnly, SameSite=Lax, and %s fits %s", a.sessions.Name(), s.BaseURL)
	}
	if len(s.Secrets) == 0 {
		d.add("secrets", SeverityWarning, "Set Config.Secrets in production.", "Sessions are sealed by a key derived from AppSecret, which everybody has who may read applications in Logto")
	} else {
		d.add("secrets", SeverityOK, "", "Config.Secrets is set")
	}
	if s.Store == nil {
		return
	}
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.BaseURL, nil) // an address that was checked
	request.AddCookie(&http.Cookie{Name: a.sessions.Name(), Value: "diagnosis"})
	if err := a.sessions.StoreError(ctx, request); err != nil {
		d.add("store", SeverityError, "See that this machine reaches the server behind Config.Store.", "%v", err)
	} else {
		d.add("store", SeverityOK, "", "Config.Store answers")
	}
}

func (a *Auth) diagnoseSharedState(ctx context.Context, d *Diagnosis) {
	if !a.shared.Exists() {
		d.add("shared_state", SeverityWarning, "Set Config.SharedState, for example to redisstate.New, in production.",
			"Config.SharedState is empty, so a restart forgets which sessions were ended, and other instances do not learn of it")
		return
	}
	troubles, works := a.revocations.Troubles(ctx)
	switch {
	case !works:
		d.add("shared_state", SeverityError, "See that this machine reaches the server behind Config.SharedState.", "Config.SharedState does not answer")
		return
	case troubles == (shared.Trouble{}):
		d.add("shared_state", SeverityOK, "", "Config.SharedState answers")
	}
	if troubles.Unreadable > 0 {
		d.add("shared_state", SeverityError, "Give all instances the same Config.Secrets, and keep a replaced one for Config.SessionLifetime; then start this instance again.",
			"%d revocations of other instances cannot be read here: they are sealed by other Config.Secrets, or made by another version", troubles.Unreadable)
	}
	if troubles.Replaced > 0 {
		d.add("shared_state", SeverityWarning, "Look whether Redis was emptied, restored or replaced, and let it keep its data on disk.",
			"The log of revocations was lost %d times, last at %s; this instance has published again what it knew", troubles.Replaced, troubles.ReplacedAt.UTC().Format(time.RFC3339))
	}
}
