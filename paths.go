package logtogin

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/page"
	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// Which address has which page, as browsers send it, which page a request is for, and how a browser gets there.

// sameRoute is the address of the request, which is for a route of ours. The path comes from the route and not from the
// request: a router may match "//another.example/../sign-in", which a browser takes for an address of another host.
func (a *Auth) sameRoute(c *gin.Context) string {
	path := a.pathOf(c.FullPath())
	if c.Request.URL.RawQuery != "" {
		path += "?" + c.Request.URL.RawQuery
	}
	return path
}

// mayReturnTo reports whether target is a path of this application other than
// our own routes and the callback, on which a user who comes back would go in circles.
func (a *Auth) mayReturnTo(target string) bool {
	if !web.IsSafePath(target) {
		return false
	}
	path := strings.TrimRight(web.PathOf(target), "/")
	uri := a.settings.SignInDefaults.RedirectURI
	if !web.IsCallbackPath(uri) && a.settings.base != nil {
		uri = web.PathWithin(a.settings.base, uri)
	}
	// The first one is a callback route of the application's own.
	for _, route := range []string{web.PathOf(uri), a.routes.SignIn, a.routes.SignUp, a.routes.Callback, a.routes.SignOut, a.routes.BackchannelLogout} {
		if route != "" && strings.EqualFold(strings.TrimRight(route, "/"), path) {
			return false
		}
	}
	return true
}

// ownHandler is a handler that guards let requests pass to: it checks by itself what it is sent.
type ownHandler gin.HandlerFunc

func (h ownHandler) serve(c *gin.Context) { h(c) }

// isOwnRoute reports whether the handler that is going to run is one of this package. Method and
// path do not tell: another engine may have anything there. Go cannot compare functions, so the
// code is compared, which all routes of any Auth share.
func isOwnRoute(c *gin.Context) bool {
	handler := c.Handler()
	return handler != nil && codeOf(handler) == ownCode
}

var ownCode = codeOf(ownHandler(nil).serve)

func codeOf(handler gin.HandlerFunc) uintptr { return reflect.ValueOf(handler).Pointer() }

// pathOf is the path of a route as browsers send it. Gin has it decoded.
func (a *Auth) pathOf(route string) string { return a.settings.basePath + web.EscapePath(route) }

// external is a path as browsers see it. Without a path it is the default page.
func (a *Auth) external(returnTo string) string {
	if returnTo == "" {
		returnTo = a.settings.AfterSignIn
	}
	return a.settings.basePath + web.EscapeAddress(returnTo)
}

// signInPath is the sign-in route with the path to come back to, or "" if the
// route is left out.
func (a *Auth) signInPath(returnTo string) string {
	if a.routes.SignIn == "" {
		return ""
	}
	path := a.pathOf(a.routes.SignIn)
	if a.mayReturnTo(returnTo) {
		path += "?return_to=" + url.QueryEscape(returnTo)
	}
	return path
}

// getsCookies reports whether browsers send our cookies with a request for this path of the application, with or without
// a query.
func (a *Auth) getsCookies(target string) bool {
	return web.IsSentTo(a.settings.basePath+target, a.settings.Cookies.Path)
}

// SignOutPath is the path of the sign-out route, as browsers see it, for a link or a form, or "" if there is no
// such route. In Config.OnError it is the way on from ErrAccountRefused, if Config.AfterSignOut leads back from Logto.
func (a *Auth) SignOutPath() string {
	if a.routes.SignOut == "" {
		return ""
	}
	return a.pathOf(a.routes.SignOut)
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
		return a.ownPath(r.Header.Get("HX-Current-URL")) // the page that the part belongs to
	case web.IsNavigation(r):
		return a.withCookies(web.PathAndQuery(r.URL))
	case web.ShowsPage(r): // of a form
		return a.ownPath(r.Header.Get("Referer"))
	}
	return ""
}

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
	if own := web.NormalPath(target); !a.getsCookies(target) && a.getsCookies(own) {
		return own
	}
	return target
}

// startPath is the sign-in route with a start.
func (a *Auth) startPath(start session.Start, returnTo string) string {
	path := a.signInPath(returnTo)
	separator := "?"
	if path != a.signInPath("") {
		separator = "&"
	}
	return path + separator + "attempt=" + url.QueryEscape(a.sessions.Attempts.SealStart(start))
}

// signInPathFor is the path of the sign-in that cures an error.
func (a *Auth) signInPathFor(c *gin.Context, how answering) string {
	if how.start != (session.Start{}) && a.routes.SignIn != "" {
		if ctx, x, err := a.exchangeOf(c); err == nil {
			how.start.Before = a.sessions.Before(ctx, x)
			return a.startPath(how.start, how.returnTo)
		}
	}
	return a.signInPath(how.returnTo)
}

// answerUnwanted answers a request that the user does not want (web.IsWanted), such that nothing happens.
func (a *Auth) answerUnwanted(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	status := http.StatusNoContent
	switch header := c.Request.Header; {
	case web.IsPrefetch(header):
		status = http.StatusServiceUnavailable // Chromium would use 204 for the click that follows
	case web.IsHTMX(header):
		// htmx cannot follow a redirect to another origin, but it can navigate.
		c.Header("HX-Redirect", a.sameRoute(c))
	}
	c.AbortWithStatus(status)
}

// redirect sends the browser on. After a POST and its like it is 303, so that no
// form is sent to where it does not belong (RFC 9700, section 4.12).
func redirect(c *gin.Context, address string) {
	if web.IsHTMX(c.Request.Header) {
		c.Header("HX-Redirect", address)
		c.AbortWithStatus(http.StatusNoContent)
		return
	}
	status := http.StatusFound
	if c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead {
		status = http.StatusSeeOther
	}
	c.Header("Location", address)
	c.AbortWithStatus(status)
}

// showPage answers with a page that no cache may store.
func showPage(c *gin.Context, status int, shown page.Document) {
	response.ForbidStoring(c.Writer.Header())
	shown.SetHeader(c.Writer.Header())
	c.Data(status, "text/html; charset=utf-8", shown.HTML)
	c.Abort()
}
