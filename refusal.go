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

	"github.com/logtogin/logtogin/internal/logto"
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
		case !isPart && !isWanted(c.Request.Header):
			a.answerUnwanted(c)
			return
		case !a.getsCookies(ownSpelling(web.PathAndQuery(c.Request.URL))):
			// A visitor can ask for anything; the route is what the operator has to correct.
			if route := c.FullPath(); route != "" && !strings.ContainsAny(route, ":*") && !a.getsCookies(web.EscapePath(route)) {
				err = errGuardedElsewhere
			}
		case start.MaxAge == 0 && a.isFutile(c, err):
			err = fmt.Errorf("%w: %w", errFutile, err)
		default:
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
	start.Before = a.sessionBefore(ctx, x)
	if !isPage {
		return a.startPath(start, a.wantedPage(c)), nil
	}
	return a.announceSignIn(x, start, a.wantedPage(c))
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

// isFutile reports whether the session that is refused comes from a sign-in that was offered
// because of a refusal. If not, one is going to be offered.
func (a *Auth) isFutile(c *gin.Context, err error) bool {
	record := a.refusedBy(c, err)
	if record == nil {
		return false
	}
	var skew time.Duration
	if a.settings.SharedState != nil { // the callback may have been at another instance
		skew = a.settings.ClockSkew
	}
	last, ok := a.offers.Get(record.Subject)
	if ok && last.sessionID != record.ID && !record.StartedAt.Before(last.at.Truncate(time.Millisecond).Add(-skew)) {
		return true
	}
	now := a.settings.Now()
	a.offers.Put(record.Subject, offer{record.ID, now}, now.Add(offerMemory))
	return false
}

// refusedBy is the session that an error is about, or nil.
func (a *Auth) refusedBy(c *gin.Context, err error) *session.Session {
	var refused *refusedSession
	if errors.As(err, &refused) {
		return refused.session
	}
	ctx, x, missing := a.exchangeOf(c)
	if missing != nil {
		return nil
	}
	record, _ := a.current(ctx, x)
	return record
}

// showError answers a request on the sign-in and sign-out routes that failed.
// They are for people; only a client that explicitly asks for something else
// gets a problem document.
func (a *Auth) showError(c *gin.Context, err error, returnTo string) {
	accept := c.GetHeader("Accept")
	a.answerError(c, err, answering{returnTo: returnTo, asPage: web.AcceptsHTML(c.Request.Header) || accept == "" || accept == "*/*"})
}

func (a *Auth) answerError(c *gin.Context, err error, how answering) {
	status := StatusCode(err)
	a.logErrorOf(c, status, err)
	c.Abort()
	if c.Writer.Written() {
		return
	}
	response.ForbidStoring(c.Writer.Header())
	if _, ok := c.Get(bearerWelcome{}); ok && status == http.StatusUnauthorized && c.Writer.Header().Get("WWW-Authenticate") == "" {
		c.Header("WWW-Authenticate", "Bearer")
	}
	if status == http.StatusServiceUnavailable {
		c.Header("Retry-After", strconv.Itoa(max(retryAfter, int(logto.RetryAfterOf(err)/time.Second))))
	}
	if a.settings.OnError != nil && a.answeredByHook(c, status, err, how) {
		return
	}
	if how.asPage {
		a.writeErrorPage(c, status, err, how)
		return
	}
	c.Header("Content-Type", "application/problem+json")
	c.AbortWithStatusJSON(status, problem{
		Type:   "about:blank",
		Title:  http.StatusText(status),
		Status: status,
		Detail: adviceFor(err),
	})
}

// problem is a problem document of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
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
	if _, isNested := a.answering(c); isNested || missing != nil {
		return false
	}
	request := c.Request
	c.Request = request.WithContext(context.WithValue(request.Context(), answeringKey{a}, how))
	writer := &response.ErrorWriter{Writer: c.Writer, ErrorStatus: status}
	defer func() {
		if x.isLate(c) {
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
	if x.isLate(c) {
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
func (a *Auth) WantsPage(c *gin.Context) bool {
	if how, ok := a.answering(c); ok {
		return how.asPage
	}
	return web.ShowsPage(c.Request)
}

// SignInPath is the path of the sign-in route, as browsers see it, which leads back
// to the page that the browser is on, for a link or a button. In Config.OnError
// it leads to where the user had wanted to go, and asks for what the guard asks for (MaxAge). It is "" if there
// is no sign-in route. It is no way on from ErrAccountRefused.
func (a *Auth) SignInPath(c *gin.Context) string {
	if how, ok := a.answering(c); ok {
		return a.signInPathFor(c, how)
	}
	return a.signInPath(a.wantedPage(c))
}

// RetryPath is the path, as browsers see it, to try again after an outage (StatusCode 502, 503 or 504): the same page, the page
// of a form, or the sign-in if a callback has failed, whose code is spent. It is for Config.OnError, and "" if that page is
// not known.
func (a *Auth) RetryPath(c *gin.Context) string {
	if how, ok := a.answering(c); ok {
		return a.retryPath(c, how.returnTo)
	}
	return a.retryPath(c, a.wantedPage(c))
}

func (a *Auth) answering(c *gin.Context) (how answering, ok bool) {
	how, ok = c.Request.Context().Value(answeringKey{a}).(answering)
	return how, ok
}

// lead sends the browser on, or shows the error, unless a time limit has answered.
func (a *Auth) lead(c *gin.Context, x *exchange, address string, err error, returnTo string) {
	switch {
	case x.isLate(c):
	case err != nil:
		a.showError(c, err, returnTo)
	default:
		redirect(c, address)
	}
}
