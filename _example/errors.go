package main

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

// showError leaves the usual answer to programs, and to people whose sign-in has failed in
// a way that this application has nothing to say about.
func (a *application) showError(c *gin.Context, err error) {
	if !a.auth.WantsPage(c) {
		return
	}
	claims, _ := a.auth.Claims(c)
	var failure struct{ Text, Needs, SignIn, SignOut, Retry string }
	var title string
	switch {
	case errors.Is(err, logtogin.ErrInsufficientRights) && claims != nil:
		title, failure.Text, failure.Needs = "You may not see this page", "It is for others, and you are signed in as "+nameOf(claims)+".", needs[c.FullPath()]
		failure.SignOut = a.auth.SignOutPath()
	case errors.Is(err, logtogin.ErrAccountRefused): // another sign-in would end here again
		title, failure.Text, failure.SignOut = "You may not use this application", "Your account is not allowed in, or does not exist any more.", a.auth.SignOutPath()
	case errors.Is(err, logtogin.ErrCancelled):
		title, failure.Text, failure.SignIn = "You have not signed in", "The sign-in was cancelled.", a.auth.SignInPath(c)
	case logtogin.StatusCode(err) == http.StatusServiceUnavailable:
		title, failure.Text = "Please try again in a moment", "Something that this page needs does not answer. If you were signed in, you still are."
		failure.Retry = a.auth.RetryPath(c)
	default:
		return
	}
	render(c, logtogin.StatusCode(err), "error.html", page{Title: title, Claims: claims, Data: failure})
}
