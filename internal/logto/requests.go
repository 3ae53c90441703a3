package logto

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

// Requests that Logto sends.

// maxLogoutRequest bounds the form that a logout token comes in.
const maxLogoutRequest = MaxToken + 4<<10

// LogoutTokenIn returns the logout token in a request (OpenID Connect Back-Channel Logout 1.0, section 2.5),
// which VerifyLogoutToken is for. w is the writer of the response. patience is how long the body may take. The
// error is a fault.InvalidToken.
func LogoutTokenIn(w http.ResponseWriter, r *http.Request, patience time.Duration) (string, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return "", fault.InvalidTokenf("the request is no form")
	}
	form := r.PostForm
	if form == nil { // else a middleware has read it
		body, err := readBody(w, r, maxLogoutRequest, patience)
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

// readBody reads a body of limited length in limited time: strangers can send it byte by byte, and many servers have
// a ReadHeaderTimeout only. A writer that knows no deadlines, such as a recorder, is waited for.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, patience time.Duration) ([]byte, error) {
	control := http.NewResponseController(w)
	hasDeadline := control.SetReadDeadline(time.Now().Add(patience)) == nil
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
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
