package docs_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// The code of errors.md.

func addProfileOfUserInfo(router *gin.Engine, auth *logtogin.Auth) {
	router.GET("/profile", auth.Guard(), func(c *gin.Context) {
		info, err := auth.UserInfo(c)
		switch {
		case errors.Is(err, logtogin.ErrProviderUnavailable):
			c.String(http.StatusOK, "The profile is not available right now.") // the user is signed in all the same
			return
		case err != nil:
			auth.Refuse(c, err)
			return
		}
		c.String(http.StatusOK, info.Name)
	})
}

func TestErrorsOfUserInfo(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	router, _ := build(t, logto.Config(baseURL), addProfileOfUserInfo)
	client := logto.SignIn(t, router, alice())
	if shown := get(t, client, "/profile"); shown.body != "Alice Example" {
		t.Error(shown)
	}
	logto.Misbehave(faults.UserInfoDown)
	if shown := get(t, client, "/profile"); shown.body != "The profile is not available right now." {
		t.Error(shown)
	}
	logto.Behave()
	logto.DeleteUser("alice")
	if answer := ask(t, client, http.MethodGet, "/profile", nil); answer.status != http.StatusUnauthorized {
		t.Error(answer)
	}
}

// The column "Status" of the table.
func TestErrorsHaveTheStatusOfTheTable(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		logtogin.ErrNotSignedIn: 401, logtogin.ErrTokenExpired: 401, logtogin.ErrInsufficientAuthentication: 401,
		logtogin.ErrInsufficientRights: 403, &logtogin.RequirementError{}: 403, logtogin.ErrCrossOrigin: 403,
		logtogin.ErrSignInRefused: 500, errors.Join(logtogin.ErrSignInRefused, &logtogin.RefusalError{}): 403,
		logtogin.ErrAccountRefused: 403, errors.Join(logtogin.ErrAccountRefused, &logtogin.ProviderError{Code: "invalid_grant"}): 403,
		logtogin.ErrNoAttempt: 400, logtogin.ErrInvalidCallback: 400, logtogin.ErrIssuerMismatch: 400, logtogin.ErrCancelled: 400,
		&logtogin.ProviderError{Code: "login_required"}: 400, &logtogin.ProviderError{Code: "access_denied"}: 403,
		&logtogin.ProviderError{Code: "access_denied", Status: 400}: 403, &logtogin.ProviderError{Code: "access_denied", Status: 403}: 403,
		&logtogin.ProviderError{Code: "invalid_client", Status: 401}: 500,
		logtogin.ErrInvalidToken:                                     400, logtogin.ErrSessionTooLarge: 500, logtogin.ErrStoreUnavailable: 503,
		logtogin.ErrProviderUnavailable: 503, logtogin.ErrInvalidOptions: 500, logtogin.ErrResponseStarted: 500,
	} {
		if status := logtogin.StatusCode(err); status != want {
			t.Errorf("%v: %d, not %d", err, status, want)
		}
	}
}
