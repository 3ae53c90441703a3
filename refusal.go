package logtogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/page"
	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// How a request that failed or that a guard refused is answered: by
// Config.OnError, or a page for people, or a problem document for programs.

// retryAfter is what a client is told to wait when something is unavailable, in
// seconds.
const retryAfter = 5

// Refuse answers a request that cannot be handled because of an error of this package,
// as Guard would: who has to sign in is led to the sign-in route, if a browser is about
// to show a page, and all other errors are answered under their StatusCode, by
// Config.OnError, a page or a problem document. It aborts the request.
//
// A session that comes from a sign-in which such a refusal has led to within the last minute is not
// sent through another one: that is an ErrInsufficientRights, 403, so that no browser goes in circles.
// The usual cause is an application that gets no refresh tokens and asks for tokens of an API.
//
//	token, err := auth.AccessToken(c)
//	if err != nil {
//		auth.Refuse(c, err)
//		return
//	}
func (a *Auth) Refuse(c *gin.Context, err error) { a.refuse(c, err, session.Start{}) }

// refuse is Refuse with what a sign-in is to be like that cures the error.
func (a *Auth) refuse(c *gin.Context, err error, start session.Start) {
	isPart := web.IsHTMX(c.Request.Header)
	if leads := isPart || web.IsNavigation(c.Request); leads && StatusCode(err) == http.StatusUnauthorized && a.routes.SignIn != "" {
		switch {
		case c.FullPath() == a.routes.SignIn, c.Request.URL.Path == a.routes.SignIn, c.Request.URL.Path == a.settings.base.Path+a.routes.SignIn:
			err = errGuardedSignIn
		case !isPart && !web.IsWanted(c.Request.Header):
			a.answerUnwanted(c)
			return
		case !a.getsCookies(web.NormalPath(web.PathAndQuery(c.Request.URL))):
			// A visitor can ask for anything; the route is what the operator has to correct.
			if route := c.FullPath(); route != "" && !strings.ContainsAny(route, ":*") && !a.getsCookies(web.EscapePath(route)) {
				err = errGuardedElsewhere
			}
		case start.MaxAge == 0 && a.isFutile(a.refusedBy(c, err)):
			err = fmt.Errorf("%w: %w", errFutile, err)
		default:
			if start.MaxAge == 0 { // else the sign-in is what cures it
				a.noteOffer(a.refusedBy(c, err))
			}
			address, failure := a.leadToSignIn(c, start, !isPart)
			switch {
			case failure != nil:
				err = failure
			case isPart:
				c.Header("HX-Redirect", address)
			default:
				redirect(c, address)
				return
			}
		}
	}
	a.answerError(c, err, answering{a.wantedPage(c), web.ShowsPage(c.Request), start})
}

// leadToSignIn returns the address at which a request signs in that was refused. Of several parts of a page
// the browser follows but one of the answers, so nothing is announced for them.
func (a *Auth) leadToSignIn(c *gin.Context, start session.Start, isPage bool) (string, error) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return "", err
	}
	start.Before = a.sessions.Before(ctx, x)
	if !isPage {
		return a.startPath(start, a.wantedPage(c)), nil
	}
	announced, err := a.sessions.AnnounceStart(x, start)
	return a.startPath(announced, a.wantedPage(c)), err
}

// errGuardedSignIn is an ErrInvalidOptions: a redirect to the sign-in would lead back here.
var errGuardedSignIn = fmt.Errorf("%w: the sign-in route lies behind a guard that does not know it, because it lies on an engine behind another one, or the router has given it another handler; put the guard on the engine with the routes of RegisterRoutes, or on the pages alone", ErrInvalidOptions)

// errGuardedElsewhere is an ErrInvalidOptions: the session is never sent to this page, so the sign-in would lead back here.
var errGuardedElsewhere = fmt.Errorf("%w: the guarded page lies outside Config.Cookies.Path, so browsers do not send the session to it; choose a path above all guarded pages", ErrInvalidOptions)

// errFutile is the ErrInsufficientRights of a refusal that another sign-in does not cure.
var errFutile = fmt.Errorf("%w: the user has just signed in, and another sign-in would not help; if a token is missing, ask for PromptConsent and offline_access", ErrInsufficientRights)

// offer is a sign-in that was offered to the user of a session because of a refusal.
type offer struct {
	sessionID string
	at        time.Time
}

const (
	// offerMemory is how long a second sign-in is not offered: a browser that goes in circles
	// comes back at once.
	offerMemory = time.Minute
	// maxOffers bounds the users of whom offers are remembered.
	maxOffers = 16 << 10
)

// refusedBy is the session that an error is about, or nil.
func (a *Auth) refusedBy(c *gin.Context, err error) *session.Session {
	var refused *session.RefusedError
	if errors.As(err, &refused) {
		return refused.Session()
	}
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return nil
	}
	current, _ := a.sessions.Current(ctx, x)
	return current
}

// isFutile reports whether the session that is refused comes from a sign-in that was offered because of a refusal.
func (a *Auth) isFutile(refused *session.Session) bool {
	if refused == nil {
		return false
	}
	var skew time.Duration
	if a.settings.SharedState != nil { // the callback may have been at another instance
		skew = a.settings.ClockSkew
	}
	last, ok := a.offers.Get(refused.Subject)
	return ok && last.sessionID != refused.ID && !refused.StartedAt.Before(last.at.Truncate(time.Millisecond).Add(-skew))
}

// noteOffer remembers that a sign-in is offered to the user of a session that is refused, if there is one.
func (a *Auth) noteOffer(refused *session.Session) {
	if refused != nil {
		now := a.settings.Now()
		a.offers.Put(refused.Subject, offer{refused.ID, now}, now.Add(offerMemory))
	}
}

// showError answers a request on the sign-in and sign-out routes that failed.
// They are for people; only a client that explicitly asks for something else
// gets a problem document.
func (a *Auth) showError(c *gin.Context, err error, returnTo string) {
	accept := c.GetHeader("Accept")
	a.answerError(c, err, answering{returnTo: returnTo, asPage: web.AcceptsHTML(c.Request.Header) || accept == "" || accept == "*/*"})
}

func (a *Auth) answerError(c *gin.Context, err error, how answering) {
	found := meaningOf(err)
	status := found.status
	a.logErrorOf(c, err)
	c.Abort()
	if c.Writer.Written() {
		return
	}
	response.ForbidStoring(c.Writer.Header())
	if _, ok := c.Get(bearerWelcome{}); ok && status == http.StatusUnauthorized && c.Writer.Header().Get("WWW-Authenticate") == "" {
		c.Header("WWW-Authenticate", "Bearer")
	}
	if status == http.StatusServiceUnavailable {
		c.Header("Retry-After", strconv.Itoa(max(retryAfter, int(oauth.RetryAfterOf(err)/time.Second))))
	}
	if a.settings.OnError != nil && a.answeredByHook(c, status, err, how) {
		return
	}
	if how.asPage {
		showPage(c, status, a.errorPage(c, found, err, how))
		return
	}
	c.Header("Content-Type", "application/problem+json") // RFC 9457
	c.AbortWithStatusJSON(status, gin.H{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": found.advice})
}

// errorPage says what happened and offers ways on.
func (a *Auth) errorPage(c *gin.Context, found meaning, err error, how answering) page.Document {
	shown := a.waysOn(c, found.cure, how)
	shown.Title, shown.Advice = statusTexts[found.status].title, found.advice
	if found.status == http.StatusUnauthorized && errors.Is(err, ErrInsufficientAuthentication) {
		shown.Title = "Sign in again"
	}
	if shown.InNewTab && found.cure == cureOtherAccount {
		shown.Advice += " Sign out first, then sign in with another account."
	}
	if _, ok := c.Get(notHandled{}); ok && c.Request.Method == http.MethodPost {
		shown.Advice += " What you have sent was not saved; send it again then."
	}
	if refused, ok := errors.AsType[*ProviderError](err); ok && !errors.Is(err, ErrSignInRefused) {
		shown.Detail = fault.Text(refused.Code, 64)
		if refused.Description != "" {
			shown.Detail += ": " + fault.Text(refused.Description, 200)
		}
	}
	return shown.Document()
}

// waysOn are the addresses that an error page offers.
func (a *Auth) waysOn(c *gin.Context, cure cure, how answering) (ways page.Error) {
	isOfRoute := a.isOfRoute(c)
	start := a.homePage(c, isOfRoute)
	switch {
	case cure == cureOtherUser, cure == cureOtherAccount, cure == cureOtherStep && isOfRoute:
		ways.SignOut = a.SignOutPath()
		ways.InNewTab = ways.SignOut != "" && a.settings.AfterSignOut == ""
		switch {
		case cure == cureOtherUser:
			ways.Start = start
		case ways.InNewTab: // a page that was refused can be loaded again, and a callback cannot
			ways.SignIn = a.signInPath(how.returnTo)
		}
	case cure == cureWait:
		ways.Retry = a.retryPath(c, how.returnTo)
	case cure == cureSignIn, cure == cureSignInPage, cure == cureSignInStep && isOfRoute:
		how.start.WantsLogin = how.start.WantsLogin || cure == cureSignInPage
		ways.SignIn = a.signInPathFor(c, how)
	case isOfRoute:
		ways.Retry, ways.Start = a.retryPath(c, how.returnTo), start
	}
	if ways == (page.Error{}) {
		ways.Start = start
	}
	return ways
}

// isOfRoute reports whether the request is a step of a sign-in or a sign-out, and not for a page of the application.
func (a *Auth) isOfRoute(c *gin.Context) bool {
	_, isCallback := c.Get(wayBackKey{a})
	return isCallback || isOwnRoute(c)
}

// homePage is the page after a sign-in, unless that page was refused. It may be guarded, so that after a
// sign-in that has failed it is the page after a sign-out.
func (a *Auth) homePage(c *gin.Context, isOfRoute bool) string {
	start := a.settings.AfterSignIn
	if isOfRoute {
		start = a.settings.AfterSignOut
	}
	if a.settings.base == nil || !web.IsSafePath(start) || (web.IsNavigation(c.Request) && c.Request.URL.Path == web.PathOf(start)) {
		return ""
	}
	return a.external(start)
}

// retryPath is what a user tries again, or "" if that is not known, or would send a form again. A callback cannot be
// tried again, because its code is spent.
func (a *Auth) retryPath(c *gin.Context, returnTo string) string {
	path := c.FullPath()
	isForm := c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead
	switch {
	case a.settings.base == nil, isForm && web.PathOf(returnTo) == c.Request.URL.Path:
		return ""
	case path != "" && path == a.routes.SignOut:
		return a.SignOutPath()
	case path != "" && path == a.routes.SignUp:
		return a.sameRoute(c)
	case a.isOfRoute(c) && a.routes.SignIn != "":
		return a.signInPath(returnTo)
	case a.mayReturnTo(returnTo):
		return a.external(returnTo)
	}
	return ""
}

// answering is how an error is answered. It is known while Config.OnError of an Auth runs, which must not be
// asked about its own failures.
type answering struct {
	returnTo string
	asPage   bool
	start    session.Start // what a sign-in is to be like that cures the error
}

type answeringKey struct{ a *Auth }

func (a *Auth) answeredByHook(c *gin.Context, status int, err error, how answering) bool {
	_, x, missing := a.exchangeOf(c)
	if isNested := c.Request.Context().Value(answeringKey{a}) != nil; isNested || missing != nil {
		return false
	}
	request := c.Request
	c.Request = request.WithContext(context.WithValue(request.Context(), answeringKey{a}, how))
	writer := &response.ErrorWriter{Writer: c.Writer, ErrorStatus: status}
	defer func() {
		if isLate(c, x) {
			return
		}
		if c.Writer = writer.Writer; request.MultipartForm == nil {
			request.MultipartForm = c.Request.MultipartForm
		}
		c.Request = request
	}()
	c.Writer = writer
	c.Status(status)
	a.settings.OnError(c, err)
	if isLate(c, x) {
		return true
	}
	if writer.IsRedirect && !writer.Written() { // of a request whose redirect has no body
		writer.WriteHeaderNow()
	}
	return writer.Written()
}

// WantsPage reports whether people are going to read the answer: a browser is
// about to show it, so that a page or a redirect makes sense. A program wants JSON
// or a bare status. In Config.OnError it is what the answer of this package would
// have been.
func (a *Auth) WantsPage(c *gin.Context) bool { return a.answering(c).asPage }

// SignInPath is the path of the sign-in route, as browsers see it, which leads back
// to the page that the browser is on, for a link or a button. In Config.OnError
// it leads to where the user had wanted to go, and asks for what the guard asks for (MaxAge). It is "" if there
// is no sign-in route. It is no way on from ErrAccountRefused.
func (a *Auth) SignInPath(c *gin.Context) string { return a.signInPathFor(c, a.answering(c)) }

// RetryPath is the path, as browsers see it, to try again after an outage (StatusCode 502, 503 or 504): the same page, the page
// of a form, or the sign-in if a callback has failed, whose code is spent. It is for Config.OnError, and "" if that page is
// not known.
func (a *Auth) RetryPath(c *gin.Context) string { return a.retryPath(c, a.answering(c).returnTo) }

// answering is how the error is answered that Config.OnError is asked about, or else how one would be.
func (a *Auth) answering(c *gin.Context) answering {
	if how, ok := c.Request.Context().Value(answeringKey{a}).(answering); ok {
		return how
	}
	return answering{returnTo: a.wantedPage(c), asPage: web.ShowsPage(c.Request)}
}

// lead sends the browser on, or shows the error, unless a time limit has answered.
func (a *Auth) lead(c *gin.Context, x *session.Exchange, address string, err error, returnTo string) {
	switch {
	case isLate(c, x):
	case err != nil:
		a.showError(c, err, returnTo)
	default:
		redirect(c, address)
	}
}
