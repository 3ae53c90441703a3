package logtogin

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"html/template"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	attempts "github.com/logtogin/logtogin/internal/session"
)

// The pages that a user can meet on our routes. They load nothing, so that
// nothing of the address leaks (RFC 9700, section 4.2.4).

var pages = template.Must(template.New("").Parse(`
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
{{end}}{{with .Retry}}<p><a class="button" href="{{.}}">Try again</a></p>
{{end}}{{with .SignIn}}<p><a class="button" href="{{.}}">Sign in</a></p>
{{end}}{{with .SignOut}}<p><a class="button" href="{{.}}">Use another account</a></p>
{{end}}{{with .Start}}<p><a class="button" href="{{.}}">Go to the start page</a></p>
{{end}}</main>
</body>
</html>
{{end}}
{{define "waiting"}}{{template "head" .}}<p role="status">A sign-in is under way in this browser, perhaps in another tab. This page goes on by itself when it is finished.</p>
<p><a class="button" href="{{.SignIn}}">Sign in here</a></p>
</main>
</body>
</html>
{{end}}
{{define "leaving"}}{{template "head" .}}<p>You are signed out of this application.</p>
<p><a class="button" href="{{.Address}}">Continue</a></p>
</main>
</body>
</html>
{{end}}
{{define "sign-out"}}{{template "head" .}}<form method="post" action="{{.Action}}"><button class="button">Sign out</button></form>
</main>
</body>
</html>
{{end}}`))

// writeErrorPage says what happened and offers to start again; never by itself,
// because that could go on for ever.
func (a *Auth) writeErrorPage(c *gin.Context, status int, err error, returnTo string) {
	page := struct {
		pageHead
		Advice, Detail, Retry, SignIn, SignOut, Start string
	}{
		pageHead: pageHead{Title: titleFor(status, err)},
		Advice:   adviceFor(err),
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
	switch {
	case isOfAccount(err) && a.routes.SignOut != "": // from where a new sign-in is another user's
		page.SignOut = a.settings.base.Path + a.routes.SignOut
	case isOfAccount(err), errors.Is(err, ErrInsufficientRights), errors.Is(err, ErrInvalidOptions): // another sign-in would end here again
		if a.settings.base != nil {
			page.Start = a.external("")
		}
	case status == http.StatusServiceUnavailable && a.routes.SignOut != "" && c.FullPath() == a.routes.SignOut:
		page.Retry = a.settings.base.Path + a.routes.SignOut
	case status == http.StatusServiceUnavailable && a.isOfPage(c) && a.mayReturnTo(returnTo): // the session may be good
		page.Retry = a.external(returnTo)
	case !errors.Is(err, ErrCrossOrigin):
		page.SignIn = a.signInPath(returnTo)
	}
	c.Header("Referrer-Policy", "no-referrer")
	writePage(c, status, "error", page)
}

// isOfPage reports whether the request is for a page of the application, and not a step of a sign-in.
func (a *Auth) isOfPage(c *gin.Context) bool {
	_, isCallback := c.Get(wayBackKey{a})
	return !isCallback && !isOwnRoute(c)
}

// showSignOutPage asks a user who came from another site whether to sign out:
// a link or a redirect over there must not do it by itself.
func (a *Auth) showSignOutPage(c *gin.Context) {
	// "no-referrer" would make the Origin of the form's POST "null".
	c.Header("Referrer-Policy", "same-origin")
	writePage(c, http.StatusOK, "sign-out", struct {
		pageHead
		Action string
	}{
		pageHead{Title: "Sign out?"}, a.settings.base.Path + a.routes.SignOut,
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
func (a *Auth) showWaitingPage(c *gin.Context, start attempts.Start, turn attempts.Turn, returnTo string) {
	step := attempts.Waits
	if turn.Move == attempts.WaitOnce {
		step = attempts.GaveWay
	}
	next := fmt.Sprintf(`<meta name="robots" content="noindex">
<meta http-equiv="refresh" content="%d; url=%s">
`, int(turn.Pause.Seconds()), html.EscapeString(a.startPath(start.With(step, turn.Attempt), returnTo)))
	c.Header("Referrer-Policy", "no-referrer")
	writePage(c, http.StatusOK, "waiting", struct {
		pageHead
		SignIn string
	}{
		pageHead{Title: "One moment", Refresh: template.HTML(next)}, a.startPath(start.With(attempts.Insists, attempts.ID{}), returnTo),
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
	forbidStoring(c.Writer.Header())
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
	case http.StatusServiceUnavailable:
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
	case errors.As(err, &refused) && isOperators(refused):
		return "This application is not set up correctly. Please tell its operator."
	case isOfAccount(err):
		return "Your account cannot use this application, or does not exist any more."
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
	}
	return "Something about this sign-in was not right. Please start again."
}
