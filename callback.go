package logtogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// SignInResult is what a finished sign-in yields.
type SignInResult struct {
	// Claims are those of the new session.
	Claims *Claims
	// ReturnTo is the path to send the user to; it has been checked. That of
	// HandleCallback is the path as browsers see it, with the one of
	// Config.BaseURL; in Config.OnSignedIn it is without that, as in the rest of
	// the configuration.
	ReturnTo string
	// Resumed says that the session was there before, and Claims are its own: the callback came again, its
	// attempt is gone and the user has signed in meanwhile, or another tab has signed in at the same moment.
	Resumed bool
}

// HandleCallback finishes a sign-in: it is the handler behind the callback
// route, for applications that have a callback route of their own. It sets
// cookies, so it must be called before the response is written; afterwards
// redirect the browser to ReturnTo with 302 or 303.
//
// It follows OpenID Connect Core, sections 3.1.2.7 and 3.1.3, with all checks of the ID token
// in 3.1.3.7, RFC 7636 (PKCE) and RFC 9207 (the issuer of the callback).
//
// A callback that a browser loads in advance (Sec-Purpose: prefetch) or embeds into a page spends
// nothing and is an ErrInvalidCallback, with the status 503 in the first case.
// A callback that comes again within two minutes, by a double click, a reload
// or a prefetching proxy, gets the outcome of the first one; the code is
// redeemed once, because Logto revokes everything a code has yielded when it
// sees the code again. When the attempt is gone but the browser is signed in,
// the result is that session.
//
// The errors are ErrNoAttempt, ErrInvalidCallback, ErrIssuerMismatch,
// ErrCancelled, *ProviderError, ErrAccountRefused, ErrInvalidToken, ErrSignInRefused,
// ErrSessionTooLarge, ErrStoreUnavailable, ErrProviderUnavailable,
// ErrResponseStarted, *ConfigError without Config.BaseURL, and that of the
// request's context. None of them ends a session that was there before, and only
// ErrResponseStarted may leave one behind: if a time limit has answered meanwhile, the callback that
// comes again gets that session.
func (a *Auth) HandleCallback(c *gin.Context) (*SignInResult, error) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return nil, err
	}
	result, returnTo, err := a.finishSignIn(ctx, c, x)
	if err != nil && !isLate(c, x) {
		c.Set(wayBackKey{a}, returnTo) // for Refuse
	}
	return result, err
}

// wayBackKey is the key in a *gin.Context of where a sign-in was to lead that has failed.
type wayBackKey struct{ a *Auth }

// finishSignIn also returns where the attempt was to return to.
func (a *Auth) finishSignIn(ctx context.Context, c *gin.Context, x *session.Exchange) (result *SignInResult, returnTo string, err error) {
	var isFinished bool
	defer func() {
		if err != nil && !isFinished && !errors.Is(err, errPrefetched) {
			a.settings.emit(ctx, Event{Kind: EventSignInFailed, Err: err})
		}
	}()
	answer, err := a.readCallback(x)
	if err != nil {
		return nil, "", err
	}
	started := a.openAttempt(answer.State)
	if started != nil {
		returnTo, started.Verifier = started.ReturnTo, a.sessions.Attempts.VerifierOf(x.Request, started)
	}
	if started == nil || started.IsExpired(a.settings.Now()) || started.Verifier == "" {
		result, err := a.withoutAttempt(ctx, x, started, answer)
		return result, returnTo, err
	}

	result, isFinished, err = a.finishAttempt(ctx, c, x, started, answer)
	return result, returnTo, err
}

// finishAttempt spends an attempt, or shares in what became of it. isFinished says that there is a session, even if the
// error is that the browser gets it by a reload only.
func (a *Auth) finishAttempt(ctx context.Context, c *gin.Context, x *session.Exchange, started *session.Attempt, answer *logto.AuthorizationResponse) (result *SignInResult, isFinished bool, err error) {
	// First what can be tried again: an attempt is spent only once.
	m, err := a.provider.Metadata(ctx)
	if err != nil {
		return nil, false, err
	}
	endTurn, err := a.provider.BeginRedemption(ctx, answer)
	if err != nil {
		return nil, false, err
	}
	defer endTurn()
	outcome, isFirst := a.sessions.Outcomes.Spend(ctx, started, answer.Digest(), answer.Code != "", endTurn)
	if !isFirst {
		endTurn()
		result, err := a.shareOutcome(ctx, x, outcome, started, answer)
		return result, false, err
	}
	defer outcome.Settle()
	outcome.Cookies = a.sessions.Removal(x.Request, started.ID)
	outcome.ReturnTo = cmp.Or(started.ReturnTo, a.settings.AfterSignIn)
	hasReturned := false
	defer func() {
		if !hasReturned { // Config.OnSignedIn panics: the attempt is spent all the same
			a.tellOthers(context.WithoutCancel(ctx), started, answer, outcome)
			_ = a.sessions.SetOutcomeCookies(x, outcome)
			a.settings.emit(ctx, Event{Kind: EventSignInFailed, Err: fmt.Errorf("%w: it panics", ErrSignInRefused)})
		}
	}()
	copied := c.Copy()
	var begun *session.Session
	if err = a.checkAnswer(x.Request, m, started, answer); err == nil {
		begun, err = a.redeem(ctx, started, answer)
	}
	endTurn()
	if err == nil {
		err = a.beginSession(hookContext(c, copied, x), x, started, begun, outcome)
	}
	hasReturned, outcome.Err = true, err
	a.tellOthers(context.WithoutCancel(ctx), started, answer, outcome)
	if result, err = a.resultOf(outcome); err == nil {
		a.settings.emit(ctx, Event{Kind: EventSignInFinished, Subject: result.Claims.Subject})
	}
	if late := a.sessions.SetOutcomeCookies(x, outcome); late != nil {
		return nil, err == nil, late
	}
	return result, err == nil, err
}

// readCallback returns what the request says, if it may be finished.
func (a *Auth) readCallback(x *session.Exchange) (*logto.AuthorizationResponse, error) {
	if err := a.settings.checkSignInReady(); err != nil {
		return nil, err
	}
	if !x.Response.Change(func(header http.Header) { header.Set("Referrer-Policy", "no-referrer") }) {
		return nil, ErrResponseStarted
	}
	x.Response.DependOnSession(true)
	switch {
	case web.IsPrefetch(x.Request.Header):
		return nil, errPrefetched
	case web.IsEmbedded(x.Request.Header):
		return nil, fmt.Errorf("%w: a page has loaded it as if it were an image or an object", ErrInvalidCallback)
	}
	return logto.ParseAuthorizationResponse(x.Request.URL.RawQuery)
}

// openAttempt returns the attempt that a state belongs to, whether or not the browser has its cookie, or
// nil. Where the user wanted to go is checked again: the routes may have changed.
func (a *Auth) openAttempt(state string) *session.Attempt {
	opened, err := a.sessions.Attempts.Open(state)
	if err != nil {
		return nil
	}
	if !a.mayReturnTo(opened.ReturnTo) {
		opened.ReturnTo = ""
	}
	return opened
}

// checkAnswer returns why an answer is not one to redeem: it comes from elsewhere, or Logto has refused the sign-in.
func (a *Auth) checkAnswer(r *http.Request, m *logto.Metadata, started *session.Attempt, answer *logto.AuthorizationResponse) error {
	switch {
	case answer.Issuer != a.settings.issuer && (answer.Issuer != "" || m.IssuerInCallback):
		return fmt.Errorf("%w; if this happens to everybody, compare Config.Endpoint with the Logto endpoint in the Logto Console", ErrIssuerMismatch)
	case !a.isCallbackOf(r, started.RedirectURI):
		return fmt.Errorf("%w: it arrived at another path than the redirect URI of its attempt", ErrInvalidCallback)
	case answer.ErrorCode != "" && answer.Code != "":
		return fmt.Errorf("%w: it has both code and error", ErrInvalidCallback)
	case answer.ErrorCode != "":
		return asAccountRefusal(&ProviderError{Code: answer.ErrorCode, Description: answer.ErrorDescription})
	case answer.Code == "":
		return fmt.Errorf("%w: it has neither code nor error", ErrInvalidCallback)
	}
	return nil
}

// redeem makes a session of the code of an answer.
func (a *Auth) redeem(ctx context.Context, started *session.Attempt, answer *logto.AuthorizationResponse) (*session.Session, error) {
	// A request that is given up must not take the tokens of a redeemed code
	// with it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), oauth.RequestTimeout)
	defer cancel()
	asked := a.settings.Now()
	got, err := a.provider.Redeem(ctx, answer.Code, started.Verifier, started.RedirectURI)
	if err != nil {
		return nil, asAccountRefusal(err)
	}
	token, err := a.provider.VerifyIDToken(ctx, got.IDToken, logto.IDTokenExpectation{
		Nonce:       started.Nonce(),
		AccessToken: got.AccessToken,
		MaxAge:      started.MaxAge,
		Freshness:   session.AttemptLifetime, // it answers an attempt that is no older
	})
	if err != nil {
		return nil, err
	}
	begun := a.sessions.Begin(ctx, session.Session{
		Subject: token.Subject, LogtoSessionID: token.SessionID,
		BegunAt: token.IssuedAt, IDTokenExpires: token.Expiry, AuthTime: token.AuthTime,
	}, got, asked)
	if !a.settings.Now().Before(begun.Expires) {
		return nil, fault.InvalidTokenf("exp is past, and there is no refresh token")
	}
	return begun, nil
}

// asAccountRefusal makes an ErrAccountRefused of a refusal by Logto that another sign-in does not change.
func asAccountRefusal(err error) error {
	// An invalid_grant of the token endpoint is about the code, and so about this attempt only.
	if refused, ok := errors.AsType[*ProviderError](err); ok && (refused.Code == "access_denied" || (refused.Code == "invalid_grant" && refused.Status == 0)) {
		return fmt.Errorf("%w: %w", ErrAccountRefused, err)
	}
	return err
}

// beginSession gives the browser the new session if the application agrees, or goes on with one that
// another tab has just begun.
func (a *Auth) beginSession(c *gin.Context, x *session.Exchange, started *session.Attempt, begun *session.Session, outcome *session.Outcome) error {
	ctx := context.WithoutCancel(x.Request.Context()) // the code has been redeemed
	beginning := a.sessions.Prepare(ctx, x, started, begun)
	defer beginning.Cancel()
	if err := a.askApplication(c, x, beginning.Session(), outcome); err != nil {
		return err
	}
	return beginning.Admit(ctx, outcome)
}

// askApplication lets Config.OnSignedIn refuse the user, or choose where to go.
func (a *Auth) askApplication(c *gin.Context, x *session.Exchange, begun *session.Session, outcome *session.Outcome) error {
	if a.settings.OnSignedIn == nil {
		return nil
	}
	claims, err := claimsOf(begun)
	if err != nil {
		return err
	}
	result := &SignInResult{Claims: claims, ReturnTo: outcome.ReturnTo}
	hasAnswered, err := a.callOnSignedIn(c, x, result, outcome)
	if err != nil {
		if _, ok := errors.AsType[*RefusalError](err); ok {
			err = fmt.Errorf("%w: %w", errTurnedAway, err)
		}
		return &errorAbout{error: fmt.Errorf("%w: %w", ErrSignInRefused, err), subject: begun.Subject}
	}
	if hasAnswered || !(isOf(c, x.Response) || isLate(c, x)) { // or by Engine.HandleContext
		return ErrResponseStarted
	}
	if result.ReturnTo != outcome.ReturnTo && !a.mayReturnTo(result.ReturnTo) {
		return fmt.Errorf("%w: %w: it set ReturnTo to something that is no page of this application", ErrSignInRefused, ErrInvalidOptions)
	}
	if a.revocations.HasEnded(begun) {
		return fmt.Errorf("%w: it signed the user out", ErrSignInRefused)
	}
	outcome.ReturnTo = result.ReturnTo
	return nil
}

// callOnSignedIn calls the hook, and reports whether that has answered the request itself, unlike a middleware that
// answers beside it because it takes too long. That answer is the last chance to delete the cookie
// of the attempt.
func (a *Auth) callOnSignedIn(c *gin.Context, x *session.Exchange, result *SignInResult, outcome *session.Outcome) (hasAnswered bool, err error) {
	outer := c.Writer
	c.Writer = response.NewSending(outer, response.ObserverFunc(func() {
		if !hasAnswered {
			hasAnswered = true
			_ = a.sessions.SetOutcomeCookies(x, outcome)
		}
	}))
	defer func() {
		if !isLate(c, x) {
			c.Writer = outer
		}
	}()
	err = a.settings.OnSignedIn(c, result)
	return hasAnswered, err
}

// isCallbackOf reports whether the request arrived where the redirect URI
// points. Its host is not compared: behind a proxy it is the proxy's.
func (a *Auth) isCallbackOf(r *http.Request, redirectURI string) bool {
	u, err := url.Parse(redirectURI)
	return err == nil && (u.Path == r.URL.Path || u.Path == a.settings.base.Path+r.URL.Path)
}

// tellOthers lets the other instances share the outcome of a code. A code that Logto has refused is not shared: asking
// again has the same result, and strangers can make up many codes.
func (a *Auth) tellOthers(ctx context.Context, started *session.Attempt, answer *logto.AuthorizationResponse, outcome *session.Outcome) {
	var refused *ProviderError
	switch {
	case answer.Code == "":
	case errors.As(outcome.Err, &refused) && outcome.Session == nil && !errors.Is(outcome.Err, ErrSignInRefused):
		a.sessions.Outcomes.Unspend(ctx, started)
	default:
		a.sessions.Outcomes.Tell(ctx, started, outcome)
	}
}

// shareOutcome waits for the callback that came first and answers as it did.
//
// It must be the very same callback: an attacker who has planted an attempt in somebody's browser
// knows its state, but not the code that came with it, and must not share in what the victim's
// callback yields.
func (a *Auth) shareOutcome(ctx context.Context, x *session.Exchange, first *session.Outcome, opened *session.Attempt, answer *logto.AuthorizationResponse) (*SignInResult, error) {
	isSame, err := first.Wait(ctx, answer.Digest())
	if err != nil {
		return nil, err
	}
	if !isSame || errors.Is(first.Err, ErrNoAttempt) || (first.Session != nil && a.revocations.HasEnded(first.Session)) {
		return a.withoutAttempt(ctx, x, opened, answer)
	}
	if err := a.sessions.Share(x, first); err != nil {
		return nil, err
	}
	result, err := a.resultOf(first)
	if err == nil {
		result.Resumed = true
	}
	return result, err
}

// resultOf is what an outcome means to one of the callbacks that share it.
func (a *Auth) resultOf(shared *session.Outcome) (*SignInResult, error) {
	if shared.Err != nil {
		return nil, shared.Err
	}
	claims, err := claimsOf(shared.Session)
	if err != nil {
		return nil, err
	}
	return &SignInResult{Claims: claims, ReturnTo: a.external(shared.ReturnTo), Resumed: shared.IsResumed}, nil
}

// withoutAttempt answers a callback whose attempt the browser does not have, or has used. If it has
// signed in meanwhile, by another tab or this very callback, the user goes on to the page that the
// attempt was for. Nothing else of the callback counts: the state alone is worth nothing in another
// browser.
func (a *Auth) withoutAttempt(ctx context.Context, x *session.Exchange, opened *session.Attempt, answer *logto.AuthorizationResponse) (*SignInResult, error) {
	current, err := a.sessions.Current(ctx, x)
	isEmpty := *answer == (logto.AuthorizationResponse{})
	switch {
	case err != nil && !errors.Is(err, ErrNotSignedIn):
		return nil, err
	case err == nil && isEmpty:
		return a.resultOf(&session.Outcome{Session: current, IsResumed: true})
	case isEmpty:
		return nil, ErrCancelled
	case err == nil && opened != nil && answer.Code != "" && opened.ResumesBy(a.sessions.BeforeOf(x, current), a.settings.Now(), a.settings.ClockSkew):
		return a.resultOf(&session.Outcome{Session: current, IsResumed: true, ReturnTo: opened.ReturnTo})
	}
	return nil, a.whyNoAttempt(x.Request, opened)
}

// whyNoAttempt is an ErrNoAttempt that tells the operator what the usual cause is. opened is the attempt
// of the state, or nil if that cannot be opened.
func (a *Auth) whyNoAttempt(r *http.Request, opened *session.Attempt) error {
	pending := len(a.sessions.Attempts.Pending(r))
	switch {
	case opened != nil && opened.IsExpired(a.settings.Now()):
		return fmt.Errorf("%w: it was started more than an hour ago", ErrNoAttempt)
	case pending > 0:
		return fmt.Errorf("%w: of its %d under way, none has this state; it was finished, is more than an hour old, or was started elsewhere", ErrNoAttempt, pending)
	case len(r.Header["Cookie"]) == 0:
		return fmt.Errorf("%w: it sent no cookie at all; it blocks cookies, something in front makes them SameSite=Strict or drops them, or the sign-in was started under another address than %s", ErrNoAttempt, a.settings.BaseURL)
	}
	return fmt.Errorf("%w: it sent cookies, but none of a sign-in; it was finished, is more than an hour old, or was started under another address than %s", ErrNoAttempt, a.settings.BaseURL)
}
