package main

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

func (a *application) addTokens(router gin.IRouter) {
	router.GET("/tokens", a.auth.Guard(), a.showTokens)
	router.POST("/tokens/clear", a.auth.Guard(), a.clearTokens)
}

// tokenKind is one of the kinds of access tokens that Logto issues.
type tokenKind struct {
	Title, Purpose string
	options        []logtogin.TokenOption
}

func (a *application) tokenKinds(claims *logtogin.Claims) []tokenKind {
	kinds := []tokenKind{{"Opaque", "For Logto's own APIs, user info for example.", nil}}
	if a.OrdersAPI != "" {
		kinds = append(kinds, tokenKind{"API resource", "For " + a.OrdersAPI + ".",
			[]logtogin.TokenOption{logtogin.Resource(a.OrdersAPI)}})
	}
	for _, team := range teamsOf(&claims.UserClaims) {
		kinds = append(kinds, tokenKind{"Organization " + team.ID, "For the permissions of the organization itself.",
			[]logtogin.TokenOption{logtogin.Organization(team.ID)}})
		if a.OrdersAPI != "" {
			kinds = append(kinds, tokenKind{"API resource within " + team.ID, "For " + a.OrdersAPI + " within the organization.",
				[]logtogin.TokenOption{logtogin.Resource(a.OrdersAPI), logtogin.Organization(team.ID)}})
		}
	}
	return kinds
}

// tokenView has everything of a token but the token, which is a secret: a page can be
// photographed.
type tokenView struct {
	tokenKind
	Scopes          []string
	Expires, Claims string
	Problem         string
}

func (a *application) showTokens(c *gin.Context) {
	claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
	var views []tokenView
	for _, kind := range a.tokenKinds(claims) {
		view := tokenView{tokenKind: kind}
		token, err := a.auth.AccessToken(c, kind.options...)
		var refused *logtogin.ProviderError
		switch {
		case err == nil:
			view.Scopes, view.Expires = token.Scopes, readable(token.Expiry)
			if token.Claims != nil {
				view.Claims = indented(token.Claims)
			}
		case logtogin.StatusCode(err) == http.StatusUnauthorized: // the session has just ended
			a.auth.Refuse(c, err)
			return
		case errors.As(err, &refused):
			view.Problem = "Logto refuses this token: " + refused.Code + "."
		default:
			slog.ErrorContext(c.Request.Context(), "cannot get an access token", "error", err)
			view.Problem = "This token could not be had from Logto. Please try again in a moment."
		}
		views = append(views, view)
	}
	show(c, "tokens.html", "Your access tokens", struct {
		Cleared bool
		Tokens  []tokenView
	}{c.Request.URL.Query().Has("cleared"), views})
}

func (a *application) clearTokens(c *gin.Context) {
	if err := a.auth.ClearAccessTokens(c); err != nil {
		a.auth.Refuse(c, err)
		return
	}
	c.Redirect(http.StatusSeeOther, "/tokens?cleared")
}
