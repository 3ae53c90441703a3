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
	"github.com/logtogin/logtogin/internal/logto"
	attempts "github.com/logtogin/logtogin/internal/session"
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
func (a *Auth) Refuse(c *gin.Context, err error) { a.refuse(c, err, attempts.Start{}) }

// refuse is Refuse with what a sign-in is to be like that cures the error.
func (a *Auth) refuse(c *gin.Context, err error, start attempts.Start) {
	isPart := web.IsHTMX(c.Request.Header)
	if leads := isPart || web.IsNavigation(c.Request); leads && StatusCode(err) == http.StatusUnauthorized && a.routes.SignIn != "" {
		switch {
		case c.FullPath() == a.routes.SignIn, c.Request.URL.Path == a.routes.SignIn, c.Request.URL.Path == a.settings.base.Path+a.routes.SignIn:
			err = errGuardedSignIn
		case !isPart && !a.isWanted(c):
			return
		case !a.getsCookies(ownSpelling(web.PathAndQuery(c.Request.URL))):
			if c.FullPath() != "" { // else it is no page of the application's
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
func (a *Auth) leadToSignIn(c *gin.Context, start attempts.Start, isPage bool) (string, error) {
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

// getsCookies reports whether browsers send our cookies with a request for this path of the application, with or without
// a query.
func (a *Auth) getsCookies(target string) bool {
	path, _, _ := strings.Cut(a.settings.basePath+target, "?")
	return a.settings.Cookies.Path == "/" || web.IsSentTo(path, a.settings.Cookies.Path)
}

// ownSpelling is a path and its query as our own links would have them.
func ownSpelling(target string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	if path = web.NormalPath(path); hasQuery {
		path += "?" + query
	}
	return path
}

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
	last, ok := a.offers.Get(record.subject)
	if ok && last.sessionID != record.id && !record.startedAt.Before(last.at.Truncate(time.Millisecond).Add(-skew)) {
		return true
	}
	now := a.settings.Now()
	a.offers.Put(record.subject, offer{record.id, now}, now.Add(offerMemory))
	return false
}

// refusedBy is the session that an error is about, or nil.
func (a *Auth) refusedBy(c *gin.Context, err error) *session {
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
	forbidStoring(c.Writer.Header())
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
	start    attempts.Start // what a sign-in is to be like that cures the error
}

type answeringKey struct{ a *Auth }

func (a *Auth) answeredByHook(c *gin.Context, status int, err error, how answering) bool {
	_, x, missing := a.exchangeOf(c)
	if _, isNested := a.answering(c); isNested || missing != nil {
		return false
	}
	request := c.Request
	c.Request = request.WithContext(context.WithValue(request.Context(), answeringKey{a}, how))
	writer := &errorWriter{ResponseWriter: c.Writer, status: status}
	defer func() {
		if x.isLate(c) {
			return
		}
		if c.Writer = writer.ResponseWriter; request.MultipartForm == nil {
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
	if writer.isRedirect && !writer.Written() { // of a request whose redirect has no body
		writer.WriteHeaderNow()
	}
	return writer.Written()
}

// errorWriter lets no error look like success.
type errorWriter struct {
	gin.ResponseWriter
	status     int
	isRedirect bool
}

// Unwrap is for http.ResponseController.
func (w *errorWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *errorWriter) WriteHeader(status int) {
	if status < http.StatusMultipleChoices || status == http.StatusNotModified {
		status = w.status
	}
	w.isRedirect = status < http.StatusBadRequest
	w.ResponseWriter.WriteHeader(status)
}

// logError tells the operator of what the operator has to correct. Refused
// visitors, and clients that have left, are of the level Info.
func (a *Auth) logError(ctx context.Context, x *exchange, status int, err error) {
	switch {
	case errors.Is(err, ErrNotSignedIn) && status == http.StatusUnauthorized:
	case errors.Is(err, errFutile), isOfOperator(err):
		a.settings.Logger.WarnContext(ctx, "logtogin: request refused", "route", x.route, "status", status, "error", err)
	case (status >= http.StatusInternalServerError && ctx.Err() == nil) || isOfLogto(err):
		a.settings.Logger.ErrorContext(ctx, "logtogin: request failed", "route", x.route, "status", status, "error", err, "sub", subjectOf(err))
	default:
		subject := subjectOf(err)
		var bearer *bearerError
		if errors.As(err, &bearer) {
			subject = bearer.subject
		} else if known, ok := x.known.get(a); ok && known.err == nil && subject == "" {
			subject = known.session.subject
		}
		a.settings.Logger.InfoContext(ctx, "logtogin: request refused", "route", x.route, "status", status, "error", err, "sub", subject)
	}
}

// isOfOperator reports whether the operator has to change what the application is or asks for, which the error names.
// Until then nobody can sign in, or no token is issued or accepted. But visitors can make up the callback of a sign-in
// of their own, and a webhook, so the log has a warning and no error.
func isOfOperator(err error) bool {
	var refused *ProviderError
	switch {
	case errors.Is(err, ErrSignInRefused), errors.Is(err, ErrProviderUnavailable):
		return false
	case errors.Is(err, fault.Misconfigured), errors.Is(err, ErrIssuerMismatch):
		return true
	case !errors.As(err, &refused), isOperators(refused): // a refusal that Logto has sent to this server is an error
		return false
	}
	return isOfRegistration(refused) || (refused.Code == "server_error" && refused.Status == 0)
}

// isOfLogto reports whether Logto has sent a token that must not be accepted. Bearer tokens, logout tokens and webhooks
// can come from anybody.
func isOfLogto(err error) bool {
	var bearer *bearerError
	var sent *sentError
	return errors.Is(err, ErrInvalidToken) && !errors.As(err, &bearer) && !errors.As(err, &sent) && !errors.Is(err, ErrInsufficientRights)
}

// sentError is about a logout token or a webhook.
type sentError struct{ error }

func (e *sentError) Unwrap() error { return e.error }

// logErrorOf is logError for a handler.
func (a *Auth) logErrorOf(c *gin.Context, status int, err error) {
	if ctx, x, missing := a.exchangeOf(c); missing == nil {
		a.logError(ctx, x, status, err)
	}
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

// SignOutPath is the path of the sign-out route, as browsers see it, for a link or a form, or "" if there is no
// such route. In Config.OnError it is the way on from ErrAccountRefused, if Config.AfterSignOut leads back from Logto.
func (a *Auth) SignOutPath() string {
	if a.routes.SignOut == "" {
		return ""
	}
	return a.pathOf(a.routes.SignOut)
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

// signInPathFor is the path of the sign-in that cures an error.
func (a *Auth) signInPathFor(c *gin.Context, how answering) string {
	if how.start != (attempts.Start{}) && a.routes.SignIn != "" {
		if ctx, x, err := a.exchangeOf(c); err == nil {
			how.start.Before = a.sessionBefore(ctx, x)
			return a.startPath(how.start, how.returnTo)
		}
	}
	return a.signInPath(how.returnTo)
}

func (a *Auth) answering(c *gin.Context) (how answering, ok bool) {
	how, ok = c.Request.Context().Value(answeringKey{a}).(answering)
	return how, ok
}

// wantedPage is the path of the page that the request is for, or that it belongs
// to, or "" if that is not known. A callback is for the page that its sign-in was for.
func (a *Auth) wantedPage(c *gin.Context) string {
	r := c.Request
	if returnTo, ok := c.Get(wayBackKey{a}); ok {
		return returnTo.(string)
	}
	switch {
	case web.IsHTMX(r.Header):
		return a.htmxPage(r)
	case web.IsNavigation(r):
		return a.withCookies(web.PathAndQuery(r.URL))
	case web.ShowsPage(r): // of a form
		return a.ownPath(r.Header.Get("Referer"))
	}
	return ""
}

// htmxPage is the path of the page that an htmx request belongs to.
func (a *Auth) htmxPage(r *http.Request) string { return a.ownPath(r.Header.Get("HX-Current-URL")) }

// ownPath is the path of an address of this application, or "".
func (a *Auth) ownPath(address string) string {
	if a.settings.base == nil {
		return ""
	}
	return a.withCookies(web.PathWithin(a.settings.base, address))
}

// withCookies is a path in the spelling to which browsers send our cookies, if there is one. A router decodes "/%61pp",
// and a browser sends no cookie of "/app" there.
func (a *Auth) withCookies(target string) string {
	if own := ownSpelling(target); target != "" && !a.getsCookies(target) && a.getsCookies(own) {
		return own
	}
	return target
}
