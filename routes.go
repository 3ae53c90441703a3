package logtogin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/page"
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
		{paths.SignIn, &a.routes.SignIn, []string{http.MethodGet}, a.serveSignIn("")},
		{paths.SignUp, &a.routes.SignUp, []string{http.MethodGet}, a.serveSignIn(FirstScreenRegister)},
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

func (a *Auth) serveSignIn(first FirstScreen) gin.HandlerFunc {
	return func(c *gin.Context) {
		if !web.IsWanted(c.Request.Header) {
			a.answerUnwanted(c)
			return
		}
		opts := SignInOptions{FirstScreen: first, ReturnTo: c.Query("return_to")}
		if start, ok := a.sessions.Attempts.OpenStart(c.Query("attempt")); ok {
			a.serveStart(c, start, opts)
			return
		}
		a.SignIn(c, opts)
	}
}

func (a *Auth) serveCallback(c *gin.Context) {
	if !web.IsWanted(c.Request.Header) {
		a.answerUnwanted(c)
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
	case !web.IsWanted(header):
		a.answerUnwanted(c)
	case web.ComesFromAnotherOrigin(header):
		showPage(c, http.StatusOK, page.SignOut(a.SignOutPath()))
	default:
		a.SignOut(c, SignOutOptions{})
	}
}

// errSignOutNotAsked is for images, and for scripts that have to send POST.
var errSignOutNotAsked = errors.New("logtogin: a script or an image has asked for the sign-out with GET; send POST, or navigate there")
