package logtogin

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/tokentransport"
)

// apiTimeout bounds a call of HTTPClient.
const apiTimeout = 30 * time.Second

// HTTPClient returns a client whose requests carry an access token of the user (RFC
// 6750, section 2.1), as AccessToken returns it for these options. It belongs to the
// session and not to the request or to ctx: it may be used after the handler has returned, by
// several goroutines, until the session ends. Make one for each request that is
// handled.
//
// The token goes to one origin only, that of the client's first request, so that
// neither a redirect nor a mistake can carry it elsewhere; requests to other origins go
// without. A request that has a header Authorization keeps it. If the answer is 401 and
// blames the token (RFC 6750, section 3.1), the client asks Logto for another one, once,
// and sends the request again, provided that its body can be sent again (see
// http.Request.GetBody).
//
// Without a valid token its requests fail with the errors of AccessToken, which
// errors.Is finds. It goes by the transport of Config.HTTPClient, and its Timeout is 30 s.
// Change the Timeout before it is used if need be; the Transport is what adds the token, so
// it can be wrapped but not replaced.
func (a *Auth) HTTPClient(ctx context.Context, opts ...TokenOption) *http.Client {
	source := &tokenSource{auth: a}
	ctx, x, err := a.exchangeOf(ctx)
	if source.err = err; err == nil {
		source.request = x.Request.Clone(context.WithoutCancel(x.Request.Context()))
		source.request.Body, source.request.Form, source.request.PostForm, source.request.MultipartForm = http.NoBody, nil, nil, nil
		source.target, source.err = a.targetOf(opts)
	}
	if source.err == nil {
		source.session, source.err = a.sessions.Current(ctx, x)
	}
	if source.err == nil {
		// While the response can still carry what a refresh yields.
		if _, err := a.accessToken(ctx, x, source.session, source.target); err == nil {
			source.session, source.err = a.sessions.Current(ctx, x)
		}
	}
	return &http.Client{Timeout: apiTimeout, Transport: &tokentransport.Transport{
		Base: cmp.Or(a.provider.Transport(), http.DefaultTransport), Token: source.token, RefusedAgain: source.deny,
	}}
}

// tokenSource is where the tokens of a client come from.
type tokenSource struct {
	auth    *Auth
	target  session.Target
	request *http.Request    // with the cookies of the session, for a store that asks for them
	session *session.Session // as the browser has it, from which there is a way to the newest version
	err     error            // with which every request fails
}

// token returns the token, or another one if that was refused.
func (s *tokenSource) token(ctx context.Context, refused string) (string, error) {
	if s.err != nil {
		return "", s.err
	}
	found, err := s.auth.sessions.TokenLater(ctx, s.request, s.session, s.target, refused)
	return found.Token, err
}

// deny remembers that the API refuses every token.
func (s *tokenSource) deny() { s.auth.sessions.DenyRefused(s.session, s.target) }
