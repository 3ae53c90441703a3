package logtogin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/web"
)

// RegisterRoutes adds the routes of Config.Paths to the router:
//
//	GET       /sign-in             starts a sign-in; ?return_to= is the path to come back to
//	GET       /sign-up             the same, with Logto's registration screen first
//	GET       /callback            where Logto sends the browser back to
//	GET, POST /sign-out            ends the session, here and at Logto
//	POST      /backchannel-logout  where Logto tells that a session of its own has ended
//
// Their parameters come from the browser, so return_to is the only one for applications; attempt,
// with which guards say what they ask for, is sealed. The last is for
// Logto itself and needs no session: a middleware against cross-site requests must let it
// through.
//
// The error is a *ConfigError if something is missing, if the router's path
// has a parameter, or if a path is taken or lies beside a catch-all. Gin
// cannot take back a route: those that were added before the one in the error
// stay, so an application should not start after it.
func (a *Auth) RegisterRoutes(router gin.IRouter) (err error) {
	if err := a.settings.checkSignInReady(); err != nil {
		return err
	}
	if a.registered {
		return &ConfigError{"Paths", "have been registered already; an Auth has one set of routes"}
	}
	if a.mount, err = a.mountOf(router); err != nil {
		return err
	}
	paths := a.settings.routePaths
	for _, route := range []struct {
		path    string
		own     *string
		methods []string
		handler gin.HandlerFunc
	}{
		{paths.SignIn, &a.routes.SignIn, []string{http.MethodGet}, a.serveSignIn(SignInOptions{})},
		{paths.SignUp, &a.routes.SignUp, []string{http.MethodGet}, a.serveSignIn(SignInOptions{FirstScreen: FirstScreenRegister})},
		{paths.Callback, &a.routes.Callback, []string{http.MethodGet}, a.serveCallback},
		{paths.SignOut, &a.routes.SignOut, []string{http.MethodGet, http.MethodPost}, a.serveSignOut},
		{paths.BackchannelLogout, &a.routes.BackchannelLogout, []string{http.MethodPost}, a.serveBackchannelLogout},
	} {
		if route.path == "" {
			continue
		}
		for _, method := range route.methods {
			if err := addRoute(router, method, route.path, ownHandler(route.handler).serve); err != nil {
				return err
			}
		}
		*route.own = a.mount + route.path
	}
	a.registered = true
	a.warnOfForgetting()
	return a.checkDestinations()
}

// warnOfForgetting tells the operator what a restart would undo.
func (a *Auth) warnOfForgetting() {
	if a.routes.BackchannelLogout != "" && a.settings.SharedState == nil && !web.IsLoopback(a.settings.base.Hostname()) {
		a.settings.Logger.Warn("logtogin: Config.SharedState is empty, so this instance alone knows which sessions Logto and the application have ended, until it restarts; set SharedState in production, or Paths.BackchannelLogout to \"-\"", "base_url", a.settings.BaseURL)
	}
}

// mountOf returns the path below which the routes come to lie, if they can do
// their work there.
func (a *Auth) mountOf(router gin.IRouter) (mount string, err error) {
	group, ok := router.(interface{ BasePath() string })
	if !ok {
		return "", &ConfigError{"Paths", "cannot be registered on a router that does not tell its BasePath; use a *gin.Engine or a *gin.RouterGroup"}
	}
	mount = strings.TrimRight(group.BasePath(), "/")
	escaped := web.EscapePath(mount)
	switch {
	case strings.ContainsAny(mount, ":*"):
		return "", &ConfigError{"Paths", fmt.Sprintf("cannot be registered below %q: the callback address must be fixed, so the router group may have no parameter", mount)}
	case mount != "" && (strings.ContainsAny(mount, "%?#") || !web.IsSafePath(escaped)): // Gin compares with the decoded path
		return "", &ConfigError{"Paths", fmt.Sprintf("cannot be registered below %q: give the router group a plain path, without escapes, query, backslash or empty segments", mount)}
	}
	paths := a.settings.routePaths
	if paths.Callback == "" && a.settings.SignInDefaults.RedirectURI == "" && (paths.SignIn != "" || paths.SignUp != "") {
		return "", &ConfigError{"Paths.Callback", `is "-", so the sign-in routes have nowhere to come back to; set SignInDefaults.RedirectURI to the path of a callback route of your own, or leave the sign-in routes out, too`}
	}
	for _, path := range []string{paths.SignIn, paths.SignUp, paths.Callback, paths.SignOut} {
		if address := a.settings.basePath + escaped + path; path != "" && !web.IsSentTo(address, a.settings.Cookies.Path) {
			return "", &ConfigError{"Cookies.Path", fmt.Sprintf("is %q, so browsers would not send the cookies to the route %s; choose a path above all routes and guarded pages, with the same escapes", a.settings.Cookies.Path, address)}
		}
	}
	return mount, nil
}

// checkDestinations makes sure that no configured destination is one of our own
// routes, on which the browser would go in circles.
func (a *Auth) checkDestinations() error {
	for field, path := range map[string]string{
		"AfterSignIn":             a.settings.AfterSignIn,
		"AfterSignOut":            a.settings.AfterSignOut,
		"SignInDefaults.ReturnTo": a.settings.SignInDefaults.ReturnTo,
	} {
		if web.IsSafePath(path) && !a.mayReturnTo(path) {
			return &ConfigError{field, fmt.Sprintf("is %q, which is a route of sign-in or sign-out itself; give a page of the application", path)}
		}
	}
	return nil
}

// addRoute turns gin's panic about a conflict into an error.
func addRoute(router gin.IRouter, method, path string, handler gin.HandlerFunc) (err error) {
	defer func() {
		if conflict := recover(); conflict != nil {
			err = &ConfigError{"Paths", fmt.Sprintf("cannot have %s %s: %v; choose another path for this route or for the other one (a catch-all can become NoRoute), and call Register once", method, path, conflict)}
		}
	}()
	router.Handle(method, path, handler)
	return nil
}

func (a *Auth) serveSignIn(opts SignInOptions) gin.HandlerFunc {
	return func(c *gin.Context) {
		if !a.isWanted(c) {
			return
		}
		opts := opts
		opts.ReturnTo = c.Query("return_to")
		if start, ok := a.store.attempts.OpenStart(c.Query("attempt")); ok {
			a.serveStart(c, start, opts)
			return
		}
		a.SignIn(c, opts)
	}
}

func (a *Auth) serveCallback(c *gin.Context) {
	if !a.isWanted(c) {
		return
	}
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return // there is no request to answer
	}
	result, returnTo, err := a.finishSignIn(ctx, c, x)
	if err != nil {
		a.lead(c, x, "", err, returnTo)
		return
	}
	a.lead(c, x, result.ReturnTo, nil, "")
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

// serveSignOut never answers with success while the session goes on: a script would take that for a
// sign-out.
func (a *Auth) serveSignOut(c *gin.Context) {
	header := c.Request.Header
	switch {
	case c.Request.Method == http.MethodPost && web.IsCrossOrigin(c.Request, a.origins):
		a.answerError(c, ErrCrossOrigin, answering{asPage: web.IsForm(c.Request)})
	case c.Request.Method == http.MethodPost:
		a.SignOut(c, SignOutOptions{})
	case web.IsSubresource(header) && !web.IsHTMX(header) && !web.IsPrefetch(header):
		a.answerError(c, errSignOutNotAsked, answering{})
	case !a.isWanted(c):
	case web.ComesFromAnotherOrigin(header):
		a.showSignOutPage(c)
	default:
		a.SignOut(c, SignOutOptions{})
	}
}

// errSignOutNotAsked is for images, and for scripts that have to send POST.
var errSignOutNotAsked = errors.New("logtogin: a script or an image has asked for the sign-out with GET; send POST, or navigate there")

// isWanted reports whether the user wants what the request asks for. If it is an
// image, a script or a prefetch that asks, it answers such that nothing happens.
func (a *Auth) isWanted(c *gin.Context) bool {
	header := c.Request.Header
	switch {
	case web.IsPrefetch(header):
		// Not 204: Chromium would use that for the click that follows.
		c.Header("Cache-Control", "no-store")
		c.AbortWithStatus(http.StatusServiceUnavailable)
	case web.IsHTMX(header):
		// htmx cannot follow a redirect to another origin, but it can navigate.
		c.Header("Cache-Control", "no-store")
		c.Header("HX-Redirect", a.sameRoute(c))
		c.AbortWithStatus(http.StatusNoContent)
	case web.IsSubresource(header):
		c.Header("Cache-Control", "no-store")
		c.AbortWithStatus(http.StatusNoContent)
	default:
		return true
	}
	return false
}

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
	if !isCallbackPath(uri) && a.settings.base != nil {
		uri = web.PathWithin(a.settings.base, uri)
	}
	if uri != "" && strings.EqualFold(strings.TrimRight(web.PathOf(uri), "/"), path) {
		return false // a callback route of the application's own
	}
	for _, route := range []string{a.routes.SignIn, a.routes.SignUp, a.routes.Callback, a.routes.SignOut, a.routes.BackchannelLogout} {
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

// external is the path as browsers see it, or that of the default page.
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
