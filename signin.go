package logtogin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/oauth2"
)

// SignInOptions say how one sign-in differs from another. An empty field takes
// its value from Config.SignInDefaults. All values are checked before they are
// sent, because Logto silently ignores every one of its own parameters as soon
// as one of them is wrong; a bad value is an ErrInvalidOptions. See
// https://docs.logto.io/end-user-flows/authentication-parameters.
type SignInOptions struct {
	// ReturnTo is the path of this application, with query and fragment, where
	// the user arrives afterwards. Anything but such a path is dropped, so
	// that it may come from a request. The default is Config.AfterSignIn.
	ReturnTo string

	// RedirectURI is the callback address, if it is not the one of the
	// callback route: an absolute URL, or a path of this application. It must
	// be registered in the Logto Console and lead to HandleCallback.
	RedirectURI string

	// Prompt replaces Config.Prompt.
	Prompt Prompt

	// FirstScreen is the screen that Logto shows first.
	FirstScreen FirstScreen

	// Identifiers limit what the user can type into the identifier screens.
	Identifiers []Identifier

	// DirectSignIn skips Logto's first screen: "social:<connector target>",
	// for example "social:google", or "sso:<connector id>".
	DirectSignIn string

	// LoginHint fills in the identifier, for example an e-mail address.
	LoginHint string

	// OneTimeToken is the token of a magic link. It needs LoginHint, the
	// e-mail address that the token was made for.
	OneTimeToken string

	// UILocales are the user's languages as BCP 47 tags, the preferred first.
	UILocales []string

	// OrganizationID shows the pages of Logto in that organization's branding.
	OrganizationID string

	// MaxAge makes the user authenticate again if that was longer ago, in full
	// seconds; the ID token is refused otherwise. Zero sends nothing; to
	// authenticate in any case use PromptLoginConsent.
	MaxAge time.Duration

	// ExtraParams are further parameters of the authorization request. They
	// cannot replace those of the protocol or of the fields above.
	ExtraParams map[string]string
}

// FirstScreen is the value of Logto's first_screen parameter.
type FirstScreen string

const (
	FirstScreenSignIn             FirstScreen = "sign_in"
	FirstScreenRegister           FirstScreen = "register"
	FirstScreenResetPassword      FirstScreen = "reset_password"
	FirstScreenIdentifierSignIn   FirstScreen = "identifier:sign_in"
	FirstScreenIdentifierRegister FirstScreen = "identifier:register"
	FirstScreenSingleSignOn       FirstScreen = "single_sign_on"
)

// Identifier is a value of Logto's identifier parameter.
type Identifier string

const (
	IdentifierEmail    Identifier = "email"
	IdentifierPhone    Identifier = "phone"
	IdentifierUsername Identifier = "username"
)

// SignInResult is what a finished sign-in yields.
type SignInResult struct {
	// Claims are those of the new session.
	Claims *Claims
	// ReturnTo is the path of this application to send the user to; it has
	// been checked.
	ReturnTo string
}

// ownParams are the parameters that ExtraParams cannot set.
var ownParams = []string{
	"client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope",
	"state", "nonce", "code_challenge", "code_challenge_method", "prompt", "max_age", "resource",
	"request", "request_uri", "registration", "claims", "id_token_hint", "code", "iss",
	"first_screen", "interaction_mode", "identifier", "direct_sign_in", "login_hint",
	"one_time_token", "ui_locales", "organization_id",
}

var (
	directSignIn = regexp.MustCompile(`^(social|sso):[^\s[:cntrl:]]+$`)
	languageTag  = regexp.MustCompile(`^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$`)
	plainWord    = regexp.MustCompile(`^[!-~]+$`)
)

func (o SignInOptions) clone() SignInOptions {
	o.Identifiers = slices.Clone(o.Identifiers)
	o.UILocales = slices.Clone(o.UILocales)
	o.ExtraParams = maps.Clone(o.ExtraParams)
	return o
}

// withDefaults fills the empty fields. Extra parameters are merged.
func (o SignInOptions) withDefaults(defaults SignInOptions) SignInOptions {
	setDefault(&o.ReturnTo, defaults.ReturnTo)
	setDefault(&o.RedirectURI, defaults.RedirectURI)
	setDefault(&o.Prompt, defaults.Prompt)
	setDefault(&o.FirstScreen, defaults.FirstScreen)
	setDefault(&o.DirectSignIn, defaults.DirectSignIn)
	setDefault(&o.LoginHint, defaults.LoginHint)
	setDefault(&o.OneTimeToken, defaults.OneTimeToken)
	setDefault(&o.OrganizationID, defaults.OrganizationID)
	setDefault(&o.MaxAge, defaults.MaxAge)
	if o.Identifiers == nil {
		o.Identifiers = defaults.Identifiers
	}
	if o.UILocales == nil {
		o.UILocales = defaults.UILocales
	}
	if len(defaults.ExtraParams) > 0 {
		merged := maps.Clone(defaults.ExtraParams)
		maps.Copy(merged, o.ExtraParams)
		o.ExtraParams = merged
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *SignInOptions) check() error {
	invalid := func(field string, value any) error {
		return fmt.Errorf("%w: %s cannot be %q", ErrInvalidOptions, field, value)
	}
	if o.Prompt != "" && !o.Prompt.known() {
		return invalid("Prompt", o.Prompt)
	}
	switch o.FirstScreen {
	case "", FirstScreenSignIn, FirstScreenRegister, FirstScreenResetPassword,
		FirstScreenIdentifierSignIn, FirstScreenIdentifierRegister, FirstScreenSingleSignOn:
	default:
		return invalid("FirstScreen", o.FirstScreen)
	}
	for _, identifier := range o.Identifiers {
		switch identifier {
		case IdentifierEmail, IdentifierPhone, IdentifierUsername:
		default:
			return invalid("Identifiers", identifier)
		}
	}
	for _, locale := range o.UILocales {
		if !languageTag.MatchString(locale) {
			return invalid("UILocales", locale)
		}
	}
	switch {
	case o.DirectSignIn != "" && !directSignIn.MatchString(o.DirectSignIn):
		return invalid("DirectSignIn", o.DirectSignIn)
	case o.OrganizationID != "" && !plainWord.MatchString(o.OrganizationID):
		return invalid("OrganizationID", o.OrganizationID)
	case o.OneTimeToken != "" && o.LoginHint == "":
		return fmt.Errorf("%w: OneTimeToken needs LoginHint", ErrInvalidOptions)
	case o.MaxAge < 0 || o.MaxAge%time.Second != 0:
		return invalid("MaxAge", o.MaxAge)
	}
	for name := range o.ExtraParams {
		if name == "" || slices.Contains(ownParams, name) {
			return fmt.Errorf("%w: ExtraParams cannot set %q", ErrInvalidOptions, name)
		}
	}
	return nil
}

// params are Logto's parameters and the extra ones.
func (o *SignInOptions) params() url.Values {
	params := url.Values{}
	for name, value := range o.ExtraParams {
		params.Set(name, value)
	}
	var identifiers []string
	for _, identifier := range o.Identifiers {
		identifiers = append(identifiers, string(identifier))
	}
	for name, value := range map[string]string{
		"first_screen":    string(o.FirstScreen),
		"identifier":      strings.Join(identifiers, " "),
		"direct_sign_in":  o.DirectSignIn,
		"login_hint":      o.LoginHint,
		"one_time_token":  o.OneTimeToken,
		"ui_locales":      strings.Join(o.UILocales, " "),
		"organization_id": o.OrganizationID,
	} {
		if value != "" {
			params.Set(name, value)
		}
	}
	if o.MaxAge > 0 {
		params.Set("max_age", strconv.Itoa(int(o.MaxAge/time.Second)))
	}
	return params
}

// SignIn starts a sign-in and redirects the browser to Logto. If that is not
// possible it answers with an error page. An existing session stays until the
// new one is there.
func (a *Auth) SignIn(c *gin.Context, opts SignInOptions) {
	address, err := a.SignInURL(c, opts)
	if err != nil {
		a.showError(c, err, "")
		return
	}
	redirect(c, address)
}

// SignInURL starts a sign-in and returns the address at Logto to send the
// browser to. It sets a cookie, so it must be called before the response is
// written, and the address is good for this browser only, once, for an hour.
func (a *Auth) SignInURL(c *gin.Context, opts SignInOptions) (string, error) {
	if err := a.settings.checkRoutes(); err != nil {
		return "", err
	}
	opts = opts.withDefaults(a.settings.SignInDefaults)
	if err := opts.check(); err != nil {
		return "", err
	}
	redirectURI, err := a.redirectURI(opts.RedirectURI)
	if err != nil {
		return "", err
	}
	m, err := a.provider.endpoints(c.Request.Context())
	if err != nil {
		return "", err
	}
	record := &attempt{
		state:       rand.Text(),
		nonce:       rand.Text(),
		verifier:    oauth2.GenerateVerifier(),
		startedAt:   a.settings.Now(),
		redirectURI: redirectURI,
		maxAge:      opts.MaxAge,
	}
	if a.mayReturnTo(opts.ReturnTo) {
		record.returnTo = opts.ReturnTo
	}
	if err := a.store.saveAttempt(c, record); err != nil {
		return "", err
	}
	return a.authorizationURL(m, record, opts), nil
}

// authorizationURL is the authorization request of RFC 6749, section 4.1.1,
// with PKCE (RFC 7636), nonce and resources (RFC 8707).
func (a *Auth) authorizationURL(m *metadata, record *attempt, opts SignInOptions) string {
	params := opts.params()
	params.Set("nonce", record.nonce)
	prompt := opts.Prompt
	setDefault(&prompt, a.settings.Prompt)
	if prompt != PromptOmit {
		params.Set("prompt", string(prompt))
	}
	var options []oauth2.AuthCodeOption
	for name := range params {
		options = append(options, oauth2.SetAuthURLParam(name, params.Get(name)))
	}
	options = append(options, oauth2.S256ChallengeOption(record.verifier))
	config := a.provider.oauth2Config(m, record.redirectURI)
	config.Scopes = a.settings.scopes
	address := config.AuthCodeURL(record.state, options...)
	// x/oauth2 sends a parameter once; resources are one parameter each.
	for _, resource := range a.settings.Resources {
		address += "&resource=" + url.QueryEscape(resource)
	}
	return address
}

// redirectURI resolves a per-call redirect URI, or returns the callback
// route's.
func (a *Auth) redirectURI(given string) (string, error) {
	switch {
	case given == "":
		path := a.settings.pathsSet.Callback
		if path == "" {
			return "", fmt.Errorf("%w: the callback route is left out, so RedirectURI must be given", ErrInvalidOptions)
		}
		return a.settings.BaseURL + a.mount + path, nil
	case isReturnPath(given):
		return a.settings.BaseURL + given, nil
	}
	if _, problem := absoluteURL(given); problem != "" {
		return "", fmt.Errorf("%w: RedirectURI %s", ErrInvalidOptions, problem)
	}
	return given, nil
}

// HandleCallback finishes a sign-in: it is the handler behind the callback
// route, for applications that have a callback route of their own. It sets
// cookies, so it must be called before the response is written; afterwards
// redirect the browser to ReturnTo with 302 or 303.
//
// A callback that comes again within two minutes, by a double click, a reload
// or a prefetching proxy, gets the outcome of the first one; the code is
// redeemed once, because Logto revokes everything a code has yielded when it
// sees the code again. When the attempt is gone but the browser is signed in,
// the result is that session.
//
// The errors are ErrNoAttempt, ErrInvalidCallback, ErrIssuerMismatch,
// ErrCancelled, *ProviderError, ErrInvalidToken, ErrSessionTooLarge,
// ErrStoreUnavailable and ErrProviderUnavailable. None of them leaves a
// session behind, and none ends one that was there before.
func (a *Auth) HandleCallback(c *gin.Context) (*SignInResult, error) {
	result, _, err := a.handleCallback(c)
	return result, err
}

// handleCallback also returns where the attempt was to return to.
func (a *Auth) handleCallback(c *gin.Context) (result *SignInResult, returnTo string, err error) {
	if err := a.settings.checkRoutes(); err != nil {
		return nil, "", err
	}
	if c.Writer.Written() {
		return nil, "", ErrResponseStarted
	}
	c.Header("Referrer-Policy", "no-referrer")
	forbidStoring(c)
	answer, err := parseCallback(c.Request.URL.RawQuery)
	if err != nil {
		return nil, "", err
	}
	found, ok := a.findAttempt(c.Request, answer.state)
	if !ok {
		return a.withoutAttempt(c, answer)
	}
	returnTo = found.attempt.returnTo
	if !a.mayReturnTo(returnTo) {
		returnTo = ""
	}

	mine := &outcome{answer: *answer, done: make(chan struct{})}
	shared, isSecond := a.outcomes.GetOrPut(answer.state, mine, a.settings.Now().Add(outcomeMemory))
	if isSecond {
		return a.shareOutcome(c, shared, answer, returnTo)
	}
	if _, spent := a.spent.GetOrPut(answer.state, struct{}{}, found.attempt.startedAt.Add(attemptLifetime)); spent {
		mine.err = ErrNoAttempt
		close(mine.done)
		return a.withoutAttempt(c, answer)
	}
	defer close(mine.done)
	mine.err = ErrNoAttempt // what a panic leaves behind
	before := slices.Clone(c.Writer.Header()["Set-Cookie"])
	a.store.removeAttempt(c, found.index)
	mine.session, mine.err = a.finishSignIn(c, found.attempt, answer)
	for _, line := range c.Writer.Header()["Set-Cookie"] {
		if !slices.Contains(before, line) {
			mine.cookies = append(mine.cookies, line)
		}
	}
	return a.result(c, mine, returnTo)
}

// callbackAnswer are the parameters of the authorization response (RFC 6749,
// sections 4.1.2 and 4.1.2.1, and RFC 9207).
type callbackAnswer struct {
	state, code, issuer, errorCode, errorDescription string
}

func parseCallback(query string) (*callbackAnswer, error) {
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("%w: the query cannot be read", ErrInvalidCallback)
	}
	answer := &callbackAnswer{}
	for name, field := range map[string]*string{
		"state": &answer.state, "code": &answer.code, "iss": &answer.issuer,
		"error": &answer.errorCode, "error_description": &answer.errorDescription,
	} {
		if len(params[name]) > 1 {
			return nil, fmt.Errorf("%w: the parameter %s occurs more than once", ErrInvalidCallback, name)
		}
		*field = params.Get(name)
	}
	return answer, nil
}

// findAttempt returns the attempt of this browser with this state.
func (a *Auth) findAttempt(r *http.Request, state string) (slot, bool) {
	if state == "" {
		return slot{}, false
	}
	for _, s := range a.store.loadAttempts(r) {
		if s.attempt != nil && s.attempt.state == state {
			return s, true
		}
	}
	return slot{}, false
}

// withoutAttempt answers a callback that nothing waits for.
func (a *Auth) withoutAttempt(c *gin.Context, answer *callbackAnswer) (*SignInResult, string, error) {
	claims, err := a.Claims(c)
	switch {
	case err == nil:
		return &SignInResult{Claims: claims, ReturnTo: a.external("")}, "", nil
	case !errors.Is(err, ErrNotSignedIn):
		return nil, "", err
	case *answer == callbackAnswer{}:
		return nil, "", ErrCancelled
	}
	return nil, "", ErrNoAttempt
}

// finishSignIn checks the answer, redeems the code, verifies the ID token and
// saves the session.
func (a *Auth) finishSignIn(c *gin.Context, started *attempt, answer *callbackAnswer) (*session, error) {
	// A request that is given up must not take the tokens of a redeemed code
	// with it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), requestTimeout)
	defer cancel()
	m, err := a.provider.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	if answer.issuer != a.settings.issuer && (answer.issuer != "" || m.issuerInCallback) {
		return nil, ErrIssuerMismatch
	}
	if !a.isCallbackOf(c.Request, started.redirectURI) {
		return nil, fmt.Errorf("%w: it arrived at another path than the redirect URI of its attempt", ErrInvalidCallback)
	}
	if answer.errorCode != "" {
		return nil, &ProviderError{Code: answer.errorCode, Description: answer.errorDescription}
	}
	if answer.code == "" {
		return nil, fmt.Errorf("%w: it has neither code nor error", ErrInvalidCallback)
	}

	got, err := a.provider.exchange(ctx, answer.code, started.verifier, started.redirectURI)
	if err != nil {
		return nil, err
	}
	now := a.settings.Now()
	claims, err := verifyIDToken(ctx, a.keys, got.idToken, idTokenExpectation{
		issuer:      a.settings.issuer,
		appID:       a.settings.AppID,
		nonce:       started.nonce,
		accessToken: got.accessToken,
		maxAge:      started.maxAge,
		now:         now,
		skew:        a.settings.ClockSkew,
	})
	if err != nil {
		return nil, err
	}
	record := a.newSession(claims, got, now)
	if !now.Before(record.expires) {
		return nil, tokenError("exp is past, and there is no refresh token")
	}
	if err := a.replaceSession(c, record); err != nil {
		return nil, err
	}
	return record, nil
}

func (a *Auth) newSession(claims *Claims, got *tokens, now time.Time) *session {
	record := &session{
		id:           rand.Text(),
		startedAt:    now,
		expires:      now.Add(a.settings.SessionLifetime),
		begunAt:      claims.IssuedAt,
		subject:      claims.Subject,
		sessionID:    claims.SessionID,
		idToken:      got.idToken,
		refreshToken: got.refreshToken,
		accessTokens: []accessToken{{token: got.accessToken, scope: got.scope, expires: got.expires}},
	}
	// Without a refresh token nothing would ever tell that the user has been
	// removed, so the session ends with its ID token.
	if record.refreshToken == "" && claims.Expiry.Before(record.expires) {
		record.expires = claims.Expiry
	}
	return record
}

// replaceSession saves the new session and ends those that the browser had.
// The refresh token of the same user is not revoked: Logto shares the grant
// between the sign-ins of one browser.
func (a *Auth) replaceSession(c *gin.Context, record *session) error {
	replaced := a.store.sessionsOf(c.Request)
	if err := a.store.saveSession(c, record); err != nil {
		return err
	}
	for _, old := range replaced {
		a.store.end(old)
		if old.subject != record.subject {
			a.revoke(c.Request.Context(), old)
		}
	}
	return nil
}

// isCallbackOf reports whether the request arrived where the redirect URI
// points. Its host is not compared: behind a proxy it is the proxy's.
func (a *Auth) isCallbackOf(r *http.Request, redirectURI string) bool {
	u, err := url.Parse(redirectURI)
	return err == nil && (u.Path == r.URL.Path || u.Path == a.settings.base.Path+r.URL.Path)
}

const (
	// outcomeMemory is how long a callback that comes again gets the outcome
	// of the first one.
	outcomeMemory = 2 * time.Minute
	maxOutcomes   = 16 << 10
	maxSpent      = 128 << 10
)

// outcome is what became of an attempt. Its fields may be read once done is
// closed.
type outcome struct {
	answer  callbackAnswer
	done    chan struct{}
	session *session
	err     error
	cookies []string
}

// shareOutcome waits for the callback that came first and answers as it did.
//
// It must be the very same callback: whoever has planted an attempt of his own
// in somebody's browser knows its state, but not the code that came with it,
// and must not share in what the victim's callback yields.
func (a *Auth) shareOutcome(c *gin.Context, first *outcome, answer *callbackAnswer, returnTo string) (*SignInResult, string, error) {
	if first.answer != *answer {
		return a.withoutAttempt(c, answer)
	}
	select {
	case <-first.done:
	case <-c.Request.Context().Done():
		return nil, returnTo, context.Cause(c.Request.Context())
	}
	if errors.Is(first.err, ErrNoAttempt) || (first.session != nil && a.store.hasEnded(first.session.id)) {
		return a.withoutAttempt(c, answer)
	}
	for _, line := range first.cookies {
		c.Writer.Header().Add("Set-Cookie", line)
	}
	return a.result(c, first, returnTo)
}

// result is what an outcome means to one of the callbacks that share it.
func (a *Auth) result(c *gin.Context, shared *outcome, returnTo string) (*SignInResult, string, error) {
	if shared.err != nil {
		return nil, returnTo, shared.err
	}
	a.remember(c, shared.session)
	claims, err := shared.session.claims()
	if err != nil {
		return nil, returnTo, err
	}
	return &SignInResult{Claims: claims, ReturnTo: a.external(returnTo)}, returnTo, nil
}
