package logtogin

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
)

// Back-channel logout: Logto tells that a session of its own has ended (OpenID Connect
// Back-Channel Logout 1.0).

const (
	// backchannelTimeout is less than the 2.5 s for which Logto waits.
	backchannelTimeout = 2 * time.Second

	// logoutTokenMemory is longer than any logout token is accepted.
	logoutTokenMemory = logto.LogoutTokenAge + 2*maxClockSkew + time.Minute
)

// serveBackchannelLogout answers 200 if the sessions have ended, here and for the other
// instances, 400 if the request is no good, and 503 if that cannot be told or done now.
func (a *Auth) serveBackchannelLogout(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), backchannelTimeout)
	defer cancel()
	err := a.logOut(ctx, c)
	c.Header("Cache-Control", "no-store")
	if err == nil {
		c.AbortWithStatus(http.StatusOK)
		return
	}
	err = &errorAbout{error: err, invalid: http.StatusBadRequest}
	a.logErrorOf(c, err)
	found := meaningOf(err)
	c.AbortWithStatusJSON(found.status, gin.H{"error": "invalid_request", "error_description": found.advice})
}

func (a *Auth) logOut(ctx context.Context, c *gin.Context) error {
	raw, err := logto.LogoutTokenIn(c.Writer, c.Request, backchannelTimeout)
	if err != nil {
		return err
	}
	token, err := a.provider.VerifyLogoutToken(ctx, raw)
	if err != nil {
		return err
	}
	// What the others have done with it is in their log. If that cannot be read the token
	// is heeded all the same: a second time it does no harm.
	a.revocations.CatchUp(ctx)
	if a.revocations.IsSpent(token.ID) {
		return fault.InvalidTokenf("jti has been used")
	}
	made := session.Revocation{Kind: session.LoggedOutUser, Name: token.Subject, At: token.IssuedAt, TokenID: token.ID}
	if token.SessionID != "" {
		made.Kind, made.Name, made.Subject = session.LoggedOutLogtoSession, token.SessionID, token.Subject
	}
	return a.revoke(ctx, made)
}
