package logtogin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
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
	if err != nil && !x.isLate(c) {
		c.Set(wayBackKey{a}, returnTo) // for Refuse
	}
	return result, err
}

// wayBackKey is the key in a *gin.Context of where a sign-in was to lead that has failed.
type wayBackKey struct{ a *Auth }

// finishSignIn also returns where the attempt was to return to.
func (a *Auth) finishSignIn(ctx context.Context, c *gin.Context, x *exchange) (result *SignInResult, returnTo string, err error) {
	isFinished := false
	defer func() {
		if err != nil && !isFinished && !errors.Is(err, errPrefetched) {
			a.settings.emit(ctx, Event{Kind: EventSignInFailed, Err: err, Subject: subjectOf(err)})
		}
	}()
	answer, err := a.readCallback(x)
	if err != nil {
		return nil, "", err
	}
	started := a.openAttempt(answer.state)
	if started != nil {
		returnTo = started.ReturnTo
	}
	if started == nil || started.IsExpired(a.settings.Now()) || !a.store.attempts.FindVerifier(x.request, started) {
		result, err := a.withoutAttempt(ctx, x, started, answer)
		return result, returnTo, err
	}

	// First what can be tried again: an attempt is spent only once.
	m, err := a.provider.Metadata(ctx)
	if err != nil {
		return nil, returnTo, err
	}
	endTurn, err := a.redemptions.begin(ctx, answer, a.settings.Now())
	if err != nil {
		return nil, returnTo, err
	}
	defer endTurn()
	mine, isFirst := a.spend(ctx, started, answer, endTurn)
	if !isFirst {
		endTurn()
		result, err := a.shareOutcome(ctx, x, mine, started, answer)
		return result, returnTo, err
	}
	defer close(mine.done)
	mine.cookies = a.store.removal(x.request, started.ID)
	mine.returnTo = cmp.Or(returnTo, a.settings.AfterSignIn)
	copied := c.Copy()
	record, err := a.redeem(x.request, m, started, answer)
	endTurn()
	if err == nil {
		err = a.beginSession(x.hookContext(c, copied), x, started, record, mine)
	}
	mine.err = err
	a.tellOthers(context.WithoutCancel(ctx), started, answer, mine)
	if result, err = a.resultOf(mine); err == nil {
		isFinished = true
		a.settings.emit(ctx, Event{Kind: EventSignInFinished, Subject: result.Claims.Subject})
	}
	if late := a.store.setOutcome(x, mine); late != nil {
		return nil, returnTo, late // a reload gets it
	}
	return result, returnTo, err
}

// readCallback returns what the request says, if it may be finished.
func (a *Auth) readCallback(x *exchange) (*callbackAnswer, error) {
	if err := a.settings.checkSignInReady(); err != nil {
		return nil, err
	}
	if !x.response.Change(func(header http.Header) { header.Set("Referrer-Policy", "no-referrer") }) {
		return nil, ErrResponseStarted
	}
	x.response.DependOnSession(true)
	switch {
	case web.IsPrefetch(x.request.Header):
		return nil, errPrefetched
	case web.IsEmbedded(x.request.Header):
		return nil, fmt.Errorf("%w: a page has loaded it as if it were an image or an object", ErrInvalidCallback)
	}
	return parseCallback(x.request.URL.RawQuery)
}

// openAttempt returns the attempt that a state belongs to, whether or not the browser has its cookie, or
// nil. Where the user wanted to go is checked again: the routes may have changed.
func (a *Auth) openAttempt(state string) *session.Attempt {
	opened, err := a.store.attempts.Open(state)
	if err != nil {
		return nil
	}
	if !a.mayReturnTo(opened.ReturnTo) {
		opened.ReturnTo = ""
	}
	return opened
}

// redeem checks the answer, redeems the code and verifies the ID token.
func (a *Auth) redeem(r *http.Request, m *logto.Metadata, started *session.Attempt, answer *callbackAnswer) (*session.Session, error) {
	// A request that is given up must not take the tokens of a redeemed code
	// with it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), logto.RequestTimeout)
	defer cancel()
	if answer.issuer != a.settings.issuer && (answer.issuer != "" || m.IssuerInCallback) {
		return nil, fmt.Errorf("%w; if this happens to everybody, compare Config.Endpoint with the Logto endpoint in the Logto Console", ErrIssuerMismatch)
	}
	if !a.isCallbackOf(r, started.RedirectURI) {
		return nil, fmt.Errorf("%w: it arrived at another path than the redirect URI of its attempt", ErrInvalidCallback)
	}
	if answer.errorCode != "" && answer.code != "" {
		return nil, fmt.Errorf("%w: it has both code and error", ErrInvalidCallback)
	}
	if answer.errorCode != "" {
		return nil, ofSignIn(&ProviderError{Code: excerpt(answer.errorCode), Description: excerpt(answer.errorDescription)})
	}
	if answer.code == "" {
		return nil, fmt.Errorf("%w: it has neither code nor error", ErrInvalidCallback)
	}

	asked := a.settings.Now()
	got, err := a.provider.Exchange(ctx, answer.code, started.Verifier, started.RedirectURI)
	if err != nil {
		a.redemptions.note(err, a.settings.Now())
		return nil, ofSignIn(err)
	}
	now := a.settings.Now()
	token, err := a.provider.VerifyIDToken(ctx, got.IDToken, logto.IDTokenExpectation{
		Nonce:       started.Nonce(),
		AccessToken: got.AccessToken,
		MaxAge:      started.MaxAge,
		Freshness:   session.AttemptLifetime, // it answers an attempt that is no older
	})
	if err != nil {
		return nil, err
	}
	record := a.newSession(token, got, asked, now)
	a.revocations.endings.catchUp(ctx)
	record.StartedAt = a.revocations.startOf(record)
	if !now.Before(record.Expires) {
		return nil, fault.InvalidTokenf("exp is past, and there is no refresh token")
	}
	return record, nil
}

// ofSignIn makes an ErrAccountRefused of a refusal by Logto that another sign-in does not change.
func ofSignIn(err error) error {
	var refused *ProviderError
	if errors.As(err, &refused) && isOfAccount(refused) {
		return fmt.Errorf("%w: %w", ErrAccountRefused, err)
	}
	return err
}

// newSession is the session of tokens that were asked for at that time.
func (a *Auth) newSession(token logto.IDToken, got *logto.Tokens, asked, now time.Time) *session.Session {
	record := &session.Session{
		ID:             rand.Text(),
		Format:         session.Format,
		Origin:         a.settings.origin,
		StartedAt:      now.Truncate(time.Millisecond),
		ActiveAt:       now,
		Expires:        now.Add(a.settings.SessionLifetime),
		BegunAt:        token.IssuedAt,
		ConfirmedAt:    asked.Truncate(time.Millisecond),
		IDTokenExpires: token.Expiry,
		AuthTime:       token.AuthTime,
		Subject:        token.Subject,
		LogtoSessionID: token.SessionID,
		IDToken:        got.IDToken,
		RefreshToken:   got.RefreshToken,
		AccessTokens:   []session.AccessToken{a.newAccessToken(token.Subject, got, session.Target{})},
	}
	// Without a refresh token nothing would ever tell that the user has been
	// removed, so the session ends with its ID token.
	if record.RefreshToken == "" && token.Expiry.Before(record.Expires) {
		record.Expires = token.Expiry
	}
	return record
}

// beginSession gives the browser the new session if the application agrees, or goes on with one that
// another tab has just begun.
func (a *Auth) beginSession(c *gin.Context, x *exchange, started *session.Attempt, record *session.Session, its *outcome) error {
	ctx := context.WithoutCancel(x.request.Context()) // the code has been redeemed
	parallel := a.parallelSession(ctx, x, started, record)
	previous, had := x.known.get(a)
	a.remember(x, cmp.Or(parallel, record))
	admitted := false
	defer func() {
		switch {
		case admitted:
		case had:
			x.known.set(previous)
		default:
			x.known.unset(a)
		}
	}()
	if err := a.askApplication(c, x, cmp.Or(parallel, record), its); err != nil {
		return err
	}
	created := a.createdHere(x) // it may have been refreshed meanwhile, and somebody may be reading it
	if parallel != nil && created != nil && !a.store.isOver(created) {
		admitted, its.session, its.isResumed = true, created, true
		return nil
	}
	if parallel == nil && created != nil {
		record = created
	}
	own := *record
	own.ActiveAt = a.settings.Now() // the application may have taken its time
	if err := a.replaceSessions(ctx, x, &own, its); err != nil {
		return err
	}
	a.remember(x, &own)
	admitted, its.session = true, &own
	return nil
}

// replaceSessions writes a new session and ends those that the browser had. The refresh token of the same
// user is not revoked: Logto shares the grant between the sign-ins of one browser.
func (a *Auth) replaceSessions(ctx context.Context, x *exchange, record *session.Session, its *outcome) error {
	created, replaced, err := a.store.createSession(ctx, x, record)
	if err != nil {
		return err
	}
	its.cookies["Set-Cookie"] = append(its.cookies["Set-Cookie"], created["Set-Cookie"]...)
	polite, cancel := politely(ctx)
	defer cancel()
	a.revoke(polite, slices.DeleteFunc(replaced, func(old *session.Session) bool {
		return old.Subject == record.Subject && !a.revocations.wasLoggedOut(old)
	}))
	return nil
}

// pagesUnderWay is how long requests are under way with the cookie of a session that has just begun.
const pagesUnderWay = time.Minute

// parallelSession is the session of the same user that another tab of the browser has just begun, or nil.
// Pages of that tab are under way with its cookie, so it must not end. The tokens of this sign-in are as
// new as its own, and are not needed then; they are not revoked, because sign-ins in one session at Logto
// have one grant. After an attempt that had to authenticate the user again there is a new session in any
// case, or a copy of the other one would be worth more than before.
func (a *Auth) parallelSession(ctx context.Context, x *exchange, started *session.Attempt, record *session.Session) *session.Session {
	if started.NeedsOwnSession {
		return nil
	}
	// Not as the session of this request: what was revoked must not be taken away at Logto now, where the
	// new session shares its grant.
	found, _, err := a.store.loadSession(ctx, x.request)
	if err != nil || found.Subject != record.Subject || found.LogtoSessionID != record.LogtoSessionID ||
		a.settings.Now().Sub(found.StartedAt) >= pagesUnderWay || !started.Before.IsSucceededBy(a.sessionNow(x, found)) {
		return nil
	}
	return found
}

// askApplication lets Config.OnSignedIn refuse the user, or choose where to go.
func (a *Auth) askApplication(c *gin.Context, x *exchange, record *session.Session, its *outcome) error {
	if a.settings.OnSignedIn == nil {
		return nil
	}
	claims, err := claimsOf(record)
	if err != nil {
		return err
	}
	result := &SignInResult{Claims: claims, ReturnTo: its.returnTo}
	hasAnswered, err := a.callOnSignedIn(c, x, result, its)
	if err != nil {
		var refusal *RefusalError
		if errors.As(err, &refusal) {
			err = fmt.Errorf("%w: %w", ErrAccountRefused, err)
		}
		return &errorAbout{fmt.Errorf("%w: %w", ErrSignInRefused, err), record.Subject}
	}
	if hasAnswered || !(isOf(c, x.response) || x.isLate(c)) { // or by Engine.HandleContext
		return ErrResponseStarted
	}
	if result.ReturnTo != its.returnTo && !a.mayReturnTo(result.ReturnTo) {
		return fmt.Errorf("%w: %w: it set ReturnTo to something that is no page of this application", ErrSignInRefused, ErrInvalidOptions)
	}
	if a.store.hasEnded(record) {
		return fmt.Errorf("%w: it signed the user out", ErrSignInRefused)
	}
	its.returnTo = result.ReturnTo
	return nil
}

// callOnSignedIn calls the hook, and reports whether that has answered the request itself, unlike a middleware that
// answers beside it because it takes too long. That answer is the last chance to delete the cookie
// of the attempt.
func (a *Auth) callOnSignedIn(c *gin.Context, x *exchange, result *SignInResult, its *outcome) (hasAnswered bool, err error) {
	outer := c.Writer
	c.Writer = response.NewSending(outer, response.ObserverFunc(func() {
		if !hasAnswered {
			hasAnswered = true
			_ = a.store.setOutcome(x, its)
		}
	}))
	defer func() {
		if !x.isLate(c) {
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
