package logtogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/page"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
)

// SignOutOptions say how one sign-out differs from another.
type SignOutOptions struct {
	// PostLogoutRedirect is where Logto sends the user afterwards: a path of
	// this application or an absolute URL. It must be registered in the Logto
	// Console as a post sign-out redirect URI. The default is
	// Config.AfterSignOut; without either the user ends on a page of Logto's.
	PostLogoutRedirect string

	// State comes back with the post-logout redirect. It is sent only together
	// with one.
	State string

	// IDTokenHint sends the ID token along. Logto does without it, and it
	// makes for a long address that ends up in logs.
	IDTokenHint bool

	// LocalOnly ends the session here and not at Logto: the next sign-in may
	// then need no password. The browser goes to PostLogoutRedirect, else to
	// Config.AfterSignOut, else to Config.AfterSignIn.
	LocalOnly bool
}

// maxHintedAddress bounds an address that carries an ID token; beyond it the
// token is left out.
const maxHintedAddress = 2000

// SignOut ends the session and leads the browser to Logto to end it there
// too (OpenID Connect RP-Initiated Logout 1.0). On an error of SignOutURL it
// answers with an error page. Browsers are asked to drop what they keep of the origin, as
// Config.KeepCacheOnSignOut says.
//
// A GET is redirected. A form is answered by a page that leads on by itself, because browsers apply a
// Content-Security-Policy with form-action to the redirects of a form, too. With IDTokenHint, which no page
// should carry, it is a redirect, and form-action must allow Logto. A script that sends POST, PUT or DELETE, also
// by navigator.sendBeacon, gets 200 and a JSON object whose member "location" is the address to navigate to:
// only that ends the session at Logto.
func (a *Auth) SignOut(c *gin.Context, opts SignOutOptions) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return // there is no request to answer
	}
	address, err := a.startSignOut(ctx, c, x, opts)
	if err == nil && !a.settings.KeepCacheOnSignOut {
		// When the session's cookie is deleted, Chromium forgets guarded pages. But the back button would show public
		// pages that have fetched guarded data, in other tabs, too.
		x.Response.Change(func(header http.Header) { header.Set("Clear-Site-Data", `"cache"`) })
	}
	isRead := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
	isForm := web.IsForm(c.Request)
	switch {
	case isLate(c, x):
	case err != nil && !isRead && !isForm:
		a.answerError(c, err, answering{})
	case err != nil, isRead, web.IsHTMX(c.Request.Header), isForm && hasHint(address):
		a.lead(c, x, address, err, "")
	case c.Writer.Written(): // a time limit has answered beside the handler
		c.Abort()
	case isForm:
		showPage(c, http.StatusOK, page.Leaving(address))
	default:
		c.AbortWithStatusJSON(http.StatusOK, struct {
			Location string `json:"location"`
		}{address})
	}
}

// SignOutURL ends the session in this application and returns the address to
// send the browser to. The session ends for good: a copy of its cookie is
// worthless from now on. Its refresh token is revoked at Logto (RFC 7009), which waits
// two seconds at most; Logto being down stops nothing. If not even its metadata
// are in memory, the address is the application's own page instead of Logto's.
//
// The errors are ErrInvalidOptions for a PostLogoutRedirect that Logto cannot
// know, with which the session has ended all the same, ErrResponseStarted, with
// which it has ended but the browser keeps a worthless cookie,
// ErrStoreUnavailable, with which the user should try again, because the session
// may live on, and *ConfigError without Config.BaseURL.
func (a *Auth) SignOutURL(c *gin.Context, opts SignOutOptions) (string, error) {
	ctx, x, err := a.exchangeOf(c)
	if err != nil {
		return "", err
	}
	return a.startSignOut(ctx, c, x, opts)
}

// startSignOut is SignOutURL for an exchange.
func (a *Auth) startSignOut(ctx context.Context, c *gin.Context, x *session.Exchange, opts SignOutOptions) (string, error) {
	if err := a.settings.checkSignInReady(); err != nil {
		return "", err
	}
	// A wrong address must not keep anybody signed in.
	after, wrongAddress := a.postLogoutRedirect(opts.PostLogoutRedirect)
	copied := c.Copy()
	ended, err := a.sessions.End(ctx, x)
	polite, cancel := context.WithTimeout(context.WithoutCancel(ctx), oauth.RevocationTimeout) // for all calls to Logto
	defer cancel()
	a.sessions.RevokeAtLogto(polite, ended)
	// Meanwhile the user may have signed in again in another tab.
	err = errors.Join(err, a.sessions.DeleteCookies(x, ended))
	a.tellApplication(context.WithoutCancel(ctx), hookContext(c, copied, x), ended.Sessions)
	switch {
	case err != nil:
		return "", err
	case wrongAddress != nil:
		return "", wrongAddress
	}
	return a.leavingAddress(polite, opts, after, ended.Sessions), nil
}

// leavingAddress is where the browser is sent after a sign-out: to Logto, which leads on to after, or else to after.
func (a *Auth) leavingAddress(ctx context.Context, opts SignOutOptions, after string, ended []*session.Session) string {
	here := after
	if here == "" {
		here = a.external("")
	}
	if opts.LocalOnly {
		return here
	}
	m, err := a.provider.Metadata(ctx)
	switch {
	case err != nil:
		a.settings.Logger.WarnContext(ctx, "logtogin: signed out here but not at Logto", "error", err)
		return here
	case m.EndSessionEndpoint == "":
		return here
	}
	params := url.Values{"client_id": {a.settings.AppID}}
	if after != "" {
		params.Set("post_logout_redirect_uri", after)
		if opts.State != "" {
			params.Set("state", opts.State)
		}
	}
	address := web.WithQuery(m.EndSessionEndpoint, params)
	if opts.IDTokenHint && len(ended) > 0 {
		params.Set("id_token_hint", ended[0].IDToken)
		if hinted := web.WithQuery(m.EndSessionEndpoint, params); len(hinted) <= maxHintedAddress {
			address = hinted
		}
	}
	return address
}

// hasHint reports whether an ID token is in the address.
func hasHint(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Query().Has("id_token_hint")
}

// postLogoutRedirect resolves a path into the absolute URL that Logto knows.
func (a *Auth) postLogoutRedirect(given string) (string, error) {
	given = cmp.Or(given, a.settings.AfterSignOut)
	switch {
	case given == "":
		return "", nil
	case web.IsPostLogoutPath(given):
		return a.settings.BaseURL + web.EscapeAddress(given), nil
	}
	if address, problem := web.ParseURL(given); problem == "" {
		return address.String(), nil
	}
	return "", fmt.Errorf("%w: PostLogoutRedirect must be a path of this application or an absolute https URL", ErrInvalidOptions)
}

func (a *Auth) tellApplication(ctx context.Context, c *gin.Context, ended []*session.Session) {
	for _, old := range ended {
		a.settings.emit(ctx, Event{Kind: EventSignedOut, Subject: old.Subject})
	}
	if a.settings.OnSignedOut == nil {
		return
	}
	for _, old := range ended {
		if claims, err := claimsOf(old); err == nil {
			a.settings.OnSignedOut(c, claims)
		}
	}
}
