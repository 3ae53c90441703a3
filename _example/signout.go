package main

import (
	"log/slog"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

// Ways in which sessions end other than by the button: the user's other browsers, and what
// Logto tells by webhooks. Back-channel logout is a route of the package's own.

func (a *application) addSignOuts(router gin.IRouter) {
	router.POST("/sign-out-everywhere", a.auth.Guard(), a.signOutEverywhere)
	if a.WebhookSigningKey != "" {
		router.POST(webhookPath, a.auth.WebhookHandler(a.WebhookSigningKey))
	}
}

func (a *application) signOutEverywhere(c *gin.Context) {
	claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
	if err := a.auth.RevokeUser(c.Request.Context(), claims.Subject); err != nil {
		// It holds at this instance, which tells the others later.
		slog.ErrorContext(c.Request.Context(), "not yet signed out at the other instances", "error", err)
	}
	// Otherwise Logto's session in this browser would sign the user in again at once.
	a.auth.SignOut(c, logtogin.SignOutOptions{})
}
