package logtogin

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
)

// Back-channel logout: Logto tells that a session of its own has ended (OpenID Connect
// Back-Channel Logout 1.0).

const (
	// backchannelTimeout is less than the 2.5 s for which Logto waits.
	backchannelTimeout = 2 * time.Second

	// maxLogoutRequest bounds the form that a logout token comes in.
	maxLogoutRequest = logto.MaxToken + 4<<10

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
	status := http.StatusBadRequest
	if errors.Is(err, ErrProviderUnavailable) || errors.Is(err, ErrStoreUnavailable) {
		status = http.StatusServiceUnavailable
	}
	a.logErrorOf(c, status, &sentError{err})
	c.AbortWithStatusJSON(status, gin.H{"error": "invalid_request", "error_description": adviceFor(err)})
}

func (a *Auth) logOut(ctx context.Context, c *gin.Context) error {
	raw, err := logoutTokenIn(c)
	if err != nil {
		return err
	}
	token, err := a.provider.VerifyLogoutToken(ctx, raw)
	if err != nil {
		return err
	}
	// What the others have done with it is in their log. If that cannot be read the token
	// is heeded all the same: a second time it does no harm.
	a.revocations.endings.catchUp(ctx)
	if a.revocations.isSpent(token.ID) {
		return fault.InvalidTokenf("jti has been used")
	}
	made := revocation{kind: loggedOutUser, name: token.Subject, at: token.IssuedAt, tokenID: token.ID}
	if token.SessionID != "" {
		made.kind, made.name, made.subject = loggedOutLogtoSession, token.SessionID, token.Subject
	}
	return a.record(ctx, made)
}

// readBody reads a body of limited length in limited time: strangers can send it byte by byte, and many servers have
// a ReadHeaderTimeout only. A writer that knows no deadlines, such as a recorder, is waited for.
func readBody(c *gin.Context, limit int64, patience time.Duration) ([]byte, error) {
	control := http.NewResponseController(c.Writer)
	hasDeadline := control.SetReadDeadline(time.Now().Add(patience)) == nil
	body, err := io.ReadAll(io.LimitReader(c.Request.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = errors.New("too long")
	}
	if err == nil && hasDeadline {
		// The server reads on, to learn whether the client has gone. After an error it reads what is left of the body,
		// and the deadline ends that, too.
		_ = control.SetReadDeadline(time.Time{})
	}
	return body, err
}

// logoutTokenIn reads the form of section 2.5.
func logoutTokenIn(c *gin.Context) (string, error) {
	media, _, err := mime.ParseMediaType(c.GetHeader("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return "", fault.InvalidTokenf("the request is no form")
	}
	form := c.Request.PostForm
	if form == nil { // else a middleware has read it
		body, err := readBody(c, maxLogoutRequest, backchannelTimeout)
		if err != nil {
			return "", fault.InvalidTokenf("the form cannot be read or is too long")
		}
		if form, err = url.ParseQuery(string(body)); err != nil {
			return "", fault.InvalidTokenf("the form cannot be read")
		}
	}
	if len(form["logout_token"]) != 1 {
		return "", fault.InvalidTokenf("the form has not exactly one logout_token")
	}
	return form.Get("logout_token"), nil
}
