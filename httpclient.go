package logtogin

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
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
	transport := &bearerTransport{auth: a}
	ctx, x, err := a.exchangeOf(ctx)
	if transport.err = err; err == nil {
		transport.request = x.request.Clone(context.WithoutCancel(x.request.Context()))
		transport.request.Body, transport.request.Form, transport.request.PostForm, transport.request.MultipartForm = http.NoBody, nil, nil, nil
		transport.target, transport.err = a.targetOf(opts)
	}
	if transport.err == nil {
		transport.session, transport.err = a.current(ctx, x)
	}
	if transport.err == nil {
		// While the response can still carry what a refresh yields.
		if _, err := a.accessToken(ctx, x, transport.session, transport.target); err == nil {
			transport.session, transport.err = a.current(ctx, x)
		}
	}
	return &http.Client{Transport: transport, Timeout: apiTimeout}
}

// bearerTransport adds an access token to requests.
type bearerTransport struct {
	auth    *Auth
	target  session.Target
	request *http.Request    // with the cookies of the session, for a store that asks for them
	session *session.Session // as the browser has it, from which there is a way to the newest version
	err     error            // with which every request fails

	mu     sync.Mutex
	origin string
}

// RoundTrip implements http.RoundTripper.
func (t *bearerTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	base := cmp.Or(t.auth.provider.Transport(), http.DefaultTransport)
	if !t.isOwn(request) {
		return base.RoundTrip(request)
	}
	token, err := t.token(request.Context(), t.auth.needOf(t.target))
	if err != nil {
		closeBody(request)
		return nil, err
	}
	response, err := base.RoundTrip(withToken(request, token))
	if err != nil || !blamesToken(response) {
		return response, err
	}
	again, ok := repeated(request)
	if !ok {
		return response, nil
	}
	another, err := t.token(request.Context(), t.auth.needOfAnother(token))
	if err != nil {
		closeBody(again)
		return response, nil // what the API has said tells more
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	_ = response.Body.Close()
	response, err = base.RoundTrip(withToken(again, another))
	if err == nil && blamesToken(response) { // it is not the token, whatever the API says
		t.auth.deny(t.auth.store.memory.newestHere(t.session), t.target, errRefusedByAPI)
	}
	return response, err
}

var errRefusedByAPI = fault.InvalidTokenf("the API has refused another one, too")

// isOwn reports whether the request is one to which the token belongs.
func (t *bearerTransport) isOwn(request *http.Request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	origin := web.Origin(request.URL)
	if t.origin == "" { // also by a request with a header of its own, which a redirect loses
		t.origin = origin
	}
	return t.origin == origin && request.Header.Get("Authorization") == ""
}

// token returns the token that meets the need.
func (t *bearerTransport) token(ctx context.Context, need need) (session.AccessToken, error) {
	if t.err != nil {
		return session.AccessToken{}, t.err
	}
	t.auth.revocations.keepUp(ctx)
	newest, err := t.auth.refresh(ctx, t.request, t.session, need)
	if err != nil {
		newest = t.auth.store.memory.newestHere(t.session)
	}
	found, ok := newest.AccessToken(t.target)
	if err != nil && (!ok || !t.auth.canGoOnWith(newest, found, err)) {
		return session.AccessToken{}, err
	}
	return found, nil
}

func withToken(request *http.Request, token session.AccessToken) *http.Request {
	own := request.Clone(request.Context())
	own.Header.Set("Authorization", "Bearer "+token.Token)
	return own
}

// blamesToken reports whether an API refuses the token itself.
func blamesToken(response *http.Response) bool {
	if response.StatusCode != http.StatusUnauthorized {
		return false
	}
	challenges := response.Header.Values("WWW-Authenticate")
	for _, challenge := range challenges {
		if strings.Contains(challenge, "invalid_token") {
			return true
		}
	}
	return len(challenges) == 0
}

// repeated is the request once more, if its body can be had again.
func repeated(request *http.Request) (again *http.Request, ok bool) {
	again = request.Clone(request.Context())
	switch {
	case request.Body == nil || request.Body == http.NoBody:
		return again, true
	case request.GetBody == nil:
		return nil, false
	}
	body, err := request.GetBody()
	if err != nil {
		return nil, false
	}
	again.Body = body
	return again, true
}

func closeBody(request *http.Request) {
	if request.Body != nil {
		_ = request.Body.Close()
	}
}
