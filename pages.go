package logtogin

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"html/template"
	"net/http"
	"net/url"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// The pages that a user can meet on our routes. They load nothing, so that
// nothing of the address leaks (RFC 9700, section 4.2.4).

var pages = template.Must(template.New("").Funcs(template.FuncMap{"href": href}).Parse(`
{{define "head"}}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{{.Refresh}}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto 0; padding: 0 1.5rem }
h1 { font-size: 1.5rem }
.button { display: inline-block; font: inherit; padding: .6rem 1.2rem; border: 1px solid; border-radius: .4rem; color: inherit; background: none; text-decoration: none; cursor: pointer }
.detail { color: GrayText; font-size: .9rem; overflow-wrap: anywhere }
</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{end}}
{{define "error"}}{{template "head" .}}<p>{{.Advice}}</p>
{{with .Detail}}<p class="detail">{{.}}</p>
{{end}}{{with .Ways.Retry}}<p><a class="button" {{href .}}>Try again</a></p>
{{end}}{{with .Ways.SignOut}}<p><a class="button" {{href .}}>Use another account</a></p>
{{end}}{{with .Ways.SignOutBeside}}<p><a class="button" {{href .}} target="_blank" rel="noopener">Sign out, in a new tab</a></p>
{{end}}{{with .Ways.SignIn}}<p><a class="button" {{href .}}>Sign in</a></p>
{{end}}{{with .Ways.Start}}<p><a class="button" {{href .}}>Go to the start page</a></p>
{{end}}</main>
</body>
</html>
{{end}}
{{define "waiting"}}{{template "head" .}}<p role="status">A sign-in is under way in this browser, perhaps in another tab. This page goes on by itself when it is finished.</p>
<p><a class="button" {{href .SignIn}}>Sign in here</a></p>
</main>
</body>
</html>
{{end}}
{{define "leaving"}}{{template "head" .}}<p>You are signed out of this application.</p>
<p><a class="button" {{href .Address}}>Continue</a></p>
</main>
</body>
</html>
{{end}}
{{define "sign-out"}}{{template "head" .}}<form method="post" {{.Action}}><button class="button">Sign out</button></form>
</main>
</body>
</html>
{{end}}`))

func href(address string) template.HTMLAttr { return addressIn("href", address) }

// addressIn is an attribute with an address of our own making. html/template would escape characters in it anew, such as
// an apostrophe, with which it is the address of another page.
func addressIn(attribute, address string) template.HTMLAttr {
	return template.HTMLAttr(attribute + `="` + html.EscapeString(address) + `"`)
}

// writeErrorPage says what happened and offers ways on; none is taken by itself, because that could go on
// for ever.
func (a *Auth) writeErrorPage(c *gin.Context, status int, err error, how answering) {
	page := struct {
		pageHead
		Advice, Detail string
		Ways           waysOn
	}{
		pageHead: pageHead{Title: titleFor(status, err)},
		Advice:   adviceFor(err),
		Ways:     a.waysOn(c, status, err, how),
	}
	if page.Ways.SignOutBeside != "" && errors.Is(err, ErrAccountRefused) {
		page.Advice += " Sign out first, then sign in with another account."
	}
	if _, ok := c.Get(notHandled{}); ok && c.Request.Method == http.MethodPost {
		page.Advice += " What you have sent was not saved; send it again then."
	}
	var refused *ProviderError
	if errors.As(err, &refused) && !errors.Is(err, ErrSignInRefused) {
		page.Detail = errorText(refused.Code, 64)
		if refused.Description != "" {
			page.Detail += ": " + errorText(refused.Description, 200)
		}
	}
	c.Header("Referrer-Policy", "no-referrer")
	writePage(c, status, "error", page)
}

// waysOn are the addresses that an error page offers, or "".
type waysOn struct {
	// Retry is the same again, for a cause that goes away without the user.
	Retry string
	// SignIn is for a cause that another sign-in may remove.
	SignIn string
	// SignOut leads to a sign-in of another user.
	SignOut string
	// SignOutBeside is SignOut if Logto does not lead back: this page stays.
	SignOutBeside string
	// Start is a page that does not lead back here.
	Start string
}

func (a *Auth) waysOn(c *gin.Context, status int, err error, how answering) (ways waysOn) {
	if a.settings.base == nil {
		return waysOn{}
	}
	isOfRoute := a.isOfRoute(c)
	start := a.startPage(c, isOfRoute)
	isOfAccount := errors.Is(err, ErrAccountRefused) || (errors.Is(err, ErrSessionTooLarge) && isOfRoute)
	switch {
	case isOfAccount, status == http.StatusForbidden && !errors.Is(err, ErrCrossOrigin):
		if a.settings.AfterSignOut == "" {
			ways.SignOutBeside = a.SignOutPath()
		} else {
			ways.SignOut = a.SignOutPath()
		}
		switch {
		case !isOfAccount, a.routes.SignOut == "":
			ways.Start = start
		case ways.SignOutBeside != "": // a page that was refused can be loaded again, and a callback cannot
			ways.SignIn = a.signInPath(how.returnTo)
		}
		return ways
	case isOutage(status):
		ways.Retry = a.retryPath(c, how.returnTo)
	case isOfSignIn(err) && (isOfRoute || !errors.Is(err, ErrInvalidToken)):
		how.start.WantsLogin = how.start.WantsLogin || needsPrompt(err)
		ways.SignIn = a.signInPathFor(c, how)
	case isOfRoute:
		ways.Retry, ways.Start = a.retryPath(c, how.returnTo), start
		return ways
	}
	if ways.Retry == "" && ways.SignIn == "" {
		ways.Start = start
	}
	return ways
}

// isOfRoute reports whether the request is a step of a sign-in or a sign-out, and not for a page of the application.
func (a *Auth) isOfRoute(c *gin.Context) bool {
	_, isCallback := c.Get(wayBackKey{a})
	return isCallback || isOwnRoute(c)
}

func isOutage(status int) bool {
	return status == http.StatusServiceUnavailable || status == http.StatusBadGateway || status == http.StatusGatewayTimeout
}

// startPage is the page after a sign-in, unless that page was refused. It may be guarded, so that after a
// sign-in that has failed it is the page after a sign-out.
func (a *Auth) startPage(c *gin.Context, isOfRoute bool) string {
	page := a.settings.AfterSignIn
	if isOfRoute {
		page = a.settings.AfterSignOut
	}
	if !web.IsSafePath(page) || (web.IsNavigation(c.Request) && c.Request.URL.Path == web.PathOf(page)) {
		return ""
	}
	return a.external(page)
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

// needsPrompt reports whether Logto could not answer without a page, which the sign-in did not allow.
func needsPrompt(err error) bool {
	var refused *ProviderError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case "login_required", "consent_required", "interaction_required", "account_selection_required":
		return true
	}
	return false
}

// isOfSignIn reports whether another sign-in may end better.
func isOfSignIn(err error) bool {
	var refused *ProviderError
	switch {
	case errors.Is(err, ErrSignInRefused), errors.Is(err, ErrInvalidOptions):
		return false
	case errors.As(err, &refused):
		return !isOfRegistration(refused)
	}
	return slices.ContainsFunc([]error{ErrNotSignedIn, ErrTokenExpired, ErrInsufficientAuthentication, ErrCancelled,
		ErrNoAttempt, ErrInvalidCallback, ErrIssuerMismatch, ErrInvalidToken}, func(one error) bool { return errors.Is(err, one) })
}

// showSignOutPage asks a user who came from another site whether to sign out:
// a link or a redirect over there must not do it by itself.
func (a *Auth) showSignOutPage(c *gin.Context) {
	// "no-referrer" would make the Origin of the form's POST "null".
	c.Header("Referrer-Policy", "same-origin")
	writePage(c, http.StatusOK, "sign-out", struct {
		pageHead
		Action template.HTMLAttr
	}{
		pageHead{Title: "Sign out?"}, addressIn("action", a.SignOutPath()),
	})
}

// showLeavingPage leads on to an address at Logto, as a redirect would that no form-action could stop.
func (a *Auth) showLeavingPage(c *gin.Context, address string) {
	next := `<meta http-equiv="refresh" content="0; url=` + html.EscapeString(address) + "\">\n"
	c.Header("Referrer-Policy", "no-referrer")
	writePage(c, http.StatusOK, "leaving", struct {
		pageHead
		Address string
	}{
		pageHead{Title: "Signing out", Refresh: template.HTML(next)}, address,
	})
}

// showWaitingPage asks the sign-in route again after a while. Without a script, so that every
// Content-Security-Policy allows it; a user who does not want to wait can go on.
func (a *Auth) showWaitingPage(c *gin.Context, start session.Start, turn session.Turn, returnTo string) {
	step := session.Waits
	if turn.Move == session.WaitOnce {
		step = session.GaveWay
	}
	next := fmt.Sprintf(`<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="%d; url=%s">
`, int(turn.Pause.Seconds()), html.EscapeString(a.startPath(start.With(step, turn.Attempt), returnTo)))
	c.Header("Referrer-Policy", "no-referrer")
	writePage(c, http.StatusOK, "waiting", struct {
		pageHead
		SignIn string
	}{
		pageHead{Title: "One moment", Refresh: template.HTML(next)}, a.startPath(start.With(session.Insists, session.ID{}), returnTo),
	})
}

// pageHead is what differs in the heads of the pages.
type pageHead struct {
	Title   string
	Refresh template.HTML // a meta element, or nothing
}

func writePage(c *gin.Context, status int, name string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil { // impossible: the data are strings
		c.AbortWithStatus(status)
		return
	}
	response.ForbidStoring(c.Writer.Header())
	c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	c.Header("X-Content-Type-Options", "nosniff")
	c.Data(status, "text/html; charset=utf-8", page.Bytes())
	c.Abort()
}

func titleFor(status int, err error) string {
	if errors.Is(err, ErrInsufficientAuthentication) && !errors.Is(err, errFutile) {
		return "Sign in again"
	}
	switch status {
	case http.StatusInternalServerError:
		return "Something went wrong"
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return "Temporarily unavailable"
	case http.StatusForbidden:
		return "Not allowed"
	case http.StatusUnauthorized:
		return "Not signed in"
	}
	return "Sign-in did not work"
}

// adviceFor tells a user what to do.
func adviceFor(err error) string {
	var refused *ProviderError
	var refusal *RefusalError
	var bearer *bearerError
	var called *url.Error
	switch {
	case errors.Is(err, errNoToken):
		return "Send an access token."
	case errors.Is(err, errBearerRequest):
		return "The header Authorization is malformed."
	case errors.As(err, &bearer) && bearer.status == http.StatusUnauthorized:
		return "The access token is not valid."
	case errors.Is(err, errFutile):
		return "You have just signed in, and that was not enough for this page. Please tell the operator of this application."
	case errors.Is(err, ErrStoreUnavailable), errors.Is(err, ErrProviderUnavailable):
		return "The service is temporarily unavailable. Please try again in a moment."
	case errors.As(err, &refusal):
		return refusal.Message
	case errors.Is(err, ErrInvalidOptions), errors.Is(err, ErrResponseStarted), errors.Is(err, ErrNoRequest):
		return "This application is not set up correctly. Please tell its operator."
	case errors.Is(err, ErrSignInRefused):
		return "Something in this application went wrong. Please try again later."
	case errors.Is(err, ErrAccountRefused):
		return "Your account cannot use this application, or does not exist any more."
	case errors.As(err, &refused) && isOfRegistration(refused):
		return "This application is not set up correctly. Please tell its operator."
	case errors.As(err, &refused) && StatusCode(err) == http.StatusForbidden:
		return "You are not allowed to do this."
	case errors.As(err, &refused):
		return "The sign-in service refused the request."
	case errors.Is(err, ErrNotSignedIn), errors.Is(err, ErrTokenExpired):
		return "Sign in first."
	case errors.Is(err, ErrCancelled):
		return "You came back without signing in."
	case errors.Is(err, ErrNoAttempt):
		return "This sign-in was not started in this browser, has been used already, or is more than an hour old. If it happens again, allow cookies for this site."
	case errors.Is(err, ErrInsufficientAuthentication):
		return "Please confirm who you are by signing in again."
	case errors.Is(err, fault.NotAuthenticatedAgain):
		return "You had to confirm who you are, and came back without having done so."
	case errors.Is(err, ErrInsufficientRights):
		return "You are not allowed to do this."
	case errors.Is(err, ErrCrossOrigin):
		return "The request came from another site."
	case errors.Is(err, errSignOutNotAsked):
		return "Nobody was signed out. Send POST, or open the page."
	case errors.Is(err, ErrSessionTooLarge):
		return "Your account has more data than this application can keep. Please tell its operator."
	case errors.As(err, &called):
		return "Something that this page needs does not answer. Please try again in a moment."
	case isOfSignIn(err):
		return "Something about this sign-in was not right. Please start again. If it happens again, tell the operator of this application."
	}
	return "Something in this application went wrong. Please try again later."
}
