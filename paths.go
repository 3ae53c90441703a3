package logtogin

import (
	"net/url"
	"reflect"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/web"
)

// Which address has which page, as browsers send it, and which page a request is for.

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
