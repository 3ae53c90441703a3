package logtogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/page"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// SignIn starts a sign-in (OpenID Connect Core, section 3.1.2.1, with PKCE by S256, RFC 7636)
// and redirects the browser to Logto. If that is not possible it answers with an error page.
// An existing session stays until the new one is there.
func (a *Auth) SignIn(c *gin.Context, opts SignInOptions) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return // there is no request to answer
	}
	address, err := a.startSignIn(ctx, x, opts, session.Start{})
	a.lead(c, x, address, err, opts.ReturnTo)
}

// SignInURL starts a sign-in and returns the address at Logto to send the
// browser to. It sets a cookie, so it must be called before the response is
// written. The address works once, in this browser, for an hour. A user
// who follows it later sees a page with a button that starts again and leads to ReturnTo.
// One response can start 20 sign-ins. A browser keeps 40 and evicts the oldest.
// Use the sign-in route for a page with more links, or for links that last longer.
//
// The errors are ErrInvalidOptions, ErrProviderUnavailable, ErrResponseStarted,
// *ConfigError without Config.BaseURL, and the error of the request's context.
func (a *Auth) SignInURL(c *gin.Context, opts SignInOptions) (string, error) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return "", err
	}
	return a.startSignIn(ctx, x, opts, session.Start{})
}

func (a *Auth) startSignIn(ctx context.Context, x *session.Exchange, opts SignInOptions, start session.Start) (string, error) {
	if err := a.settings.checkSignInReady(); err != nil {
		return "", err
	}
	id := start.Attempt
	if !start.IsAnnounced() {
		id = a.sessions.NewAttemptID(x.Request, start.IsCrossSite)
	}
	opts = opts.withDefaults(a.settings.SignInDefaults)
	if err := opts.check(a.settings.Resources); err != nil {
		return "", err
	}
	a.warnOfAnotherHost(ctx, x.Request)
	redirectURI, err := a.redirectURI(opts.RedirectURI)
	if err != nil {
		return "", err
	}
	m, err := a.provider.Metadata(ctx)
	if err != nil {
		return "", err
	}
	prompt := cmp.Or(opts.Prompt, a.settings.Prompt)
	started := &session.Attempt{
		ID:          id,
		StartedAt:   a.settings.Now().Truncate(time.Millisecond),
		RedirectURI: redirectURI,
		MaxAge:      opts.MaxAge,
		Before:      a.sessions.Before(ctx, x),
		NeedsOwnSession: opts.MaxAge > 0 || prompt == PromptLogin || prompt == PromptLoginConsent ||
			opts.LoginHint != "" || // which OneTimeToken needs
			opts.ExtraParams["acr_values"] != "",
		Verifier: logto.NewVerifier(),
	}
	if a.mayReturnTo(opts.ReturnTo) {
		started.ReturnTo = opts.ReturnTo
	}
	if err := a.sessions.StartAttempt(x, started); err != nil {
		return "", err
	}
	a.settings.emit(ctx, Event{Kind: EventSignInStarted})
	return a.authorizationURL(m, started, prompt, opts), nil
}

// warnOfAnotherHost tells a developer who has opened 127.0.0.1 in the place of localhost. Elsewhere, a proxy may call
// the host as it likes.
func (a *Auth) warnOfAnotherHost(ctx context.Context, r *http.Request) {
	isProxied := r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-Host") != "" || a.ownPath(r.Header.Get("Referer")) != ""
	if !isProxied && web.IsAnotherName(r.Host, a.settings.base, a.settings.Cookies.Domain) {
		a.settings.Logger.WarnContext(ctx, "logtogin: the sign-in was started at another address than Config.BaseURL, to which Logto sends the browser back; unless a proxy has changed the host, it will not find its cookie there", "host", fault.Text(r.Host, 100), "base_url", a.settings.BaseURL)
	}
}

// authorizationURL is the authorization request of RFC 6749, section 4.1.1,
// with PKCE (RFC 7636), nonce and resources (RFC 8707).
func (a *Auth) authorizationURL(m *logto.Metadata, started *session.Attempt, prompt Prompt, opts SignInOptions) string {
	params := opts.params()
	params.Set("nonce", started.Nonce())
	if prompt != PromptOmit {
		params.Set("prompt", string(prompt))
	}
	return a.provider.AuthorizationURL(m, logto.AuthorizationRequest{
		RedirectURI: started.RedirectURI,
		State:       started.State,
		Verifier:    started.Verifier,
		Scopes:      a.settings.scopes,
		Resources:   a.settings.Resources,
		Params:      params,
	})
}

// maxRedirectURI is the longest redirect URI, in bytes, as long as the longest return path. The state has
// both, and is a parameter of one address.
const maxRedirectURI = 2048

// redirectURI resolves a per-call redirect URI, or returns the callback
// route's.
func (a *Auth) redirectURI(given string) (string, error) {
	route := a.settings.routePaths.Callback
	_, problem := web.ParseServerURL(given)
	switch {
	case given == "" && route == "":
		return "", fmt.Errorf("%w: the callback route is left out, so RedirectURI must be given", ErrInvalidOptions)
	case given == "":
		return a.settings.BaseURL + web.EscapePath(a.mount) + route, nil
	case web.IsCallbackPath(given):
		return a.settings.BaseURL + web.EscapePath(given), nil
	case problem != "":
		return "", fmt.Errorf("%w: RedirectURI %s", ErrInvalidOptions, problem)
	}
	uri, _ := web.ParseURL(given)
	if address := uri.String(); len(address) <= maxRedirectURI {
		return address, nil
	}
	return "", fmt.Errorf("%w: RedirectURI has %d bytes, which is too long for a query", ErrInvalidOptions, len(given))
}

// serveStart goes on with a sign-in that a guard has started.
func (a *Auth) serveStart(c *gin.Context, start session.Start, opts SignInOptions) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return // there is no request to answer
	}
	if !a.mayReturnTo(opts.ReturnTo) {
		opts.ReturnTo = ""
	}
	if session.IsOfAnotherSite(x.Request) && !start.IsCrossSite { // a link with an address of another browser
		start.IsCrossSite = true
		if start.Step != session.Insists {
			start.Step = session.Begins
		}
	}
	turn := a.sessions.Attempts.Next(start, x.Request)
	address, err := a.continueStart(ctx, x, start, turn, opts)
	if err != nil {
		_ = a.takeBack(x, start) // or other tabs would wait for it
	}
	switch {
	case isLate(c, x):
	case address == "" && err == nil:
		step := session.Waits
		if turn.Move == session.WaitOnce {
			step = session.GaveWay
		}
		next := a.startPath(start.With(step, turn.Attempt), opts.ReturnTo)
		insisting := a.startPath(start.With(session.Insists, session.ID{}), opts.ReturnTo)
		showPage(c, http.StatusOK, page.Waiting(next, turn.Pause, insisting))
	default:
		a.lead(c, x, address, err, opts.ReturnTo)
	}
}

// continueStart returns where a sign-in goes on, or "" if it waits.
func (a *Auth) continueStart(ctx context.Context, x *session.Exchange, start session.Start, turn session.Turn, opts SignInOptions) (string, error) {
	current, err := a.sessions.Current(ctx, x)
	switch {
	case errors.Is(err, ErrStoreUnavailable):
		return "", err
	case err == nil && start.MayReturnWith(a.sessions.BeforeOf(x, current)): // another tab has signed in
		return a.external(opts.ReturnTo), a.takeBack(x, start)
	}
	switch turn.Move {
	case session.Wait:
		return "", a.takeBack(x, start)
	case session.WaitOnce:
		return "", nil
	case session.Announce:
		announced, err := a.sessions.AnnounceStart(x, start)
		return a.startPath(announced, opts.ReturnTo), err
	}
	opts.MaxAge = start.MaxAge
	if start.WantsLogin {
		opts.Prompt = PromptLoginConsent // "login" alone would yield no refresh token
	}
	return a.startSignIn(ctx, x, opts, start)
}

// takeBack makes the browser forget the attempt that was announced for a start.
func (a *Auth) takeBack(x *session.Exchange, start session.Start) error {
	if !start.IsAnnounced() {
		return nil
	}
	return a.sessions.RemoveAttempt(x, start.Attempt)
}
