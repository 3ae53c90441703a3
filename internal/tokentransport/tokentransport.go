// Package tokentransport adds an access token to the requests for one origin, and asks for another one
// when an API refuses the token. It does not know where tokens come from.
package tokentransport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/logtogin/logtogin/internal/web"
)

// Transport is an http.RoundTripper that sends an access token (RFC 6750, section 2.1). The token goes to the
// origin of the first request only, and not with a request that has a header Authorization. After a 401 that
// blames the token, the request is sent once more with another one, if its body can be sent again.
//
// All fields are required. They must not be changed after the first request. A Transport is safe for concurrent
// use if its fields are.
type Transport struct {
	// Base sends the requests.
	Base http.RoundTripper
	// Token returns an access token: one that differs from refused, unless that is "". The request fails with its
	// error if refused is "".
	Token func(ctx context.Context, refused string) (string, error)
	// RefusedAgain is called when an API has refused the other token, too.
	RefusedAgain func()

	origin atomic.Pointer[string]
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !t.isOwn(request) {
		return t.Base.RoundTrip(request)
	}
	token, err := t.Token(request.Context(), "")
	if err != nil {
		closeBody(request.Body)
		return nil, err
	}
	response, err := t.send(request, request.Body, token)
	if err != nil || !blamesToken(response) {
		return response, err
	}
	body, err := bodyAgain(request)
	if err != nil {
		return response, nil
	}
	if token, err = t.Token(request.Context(), token); err != nil {
		closeBody(body)
		return response, nil // what the API has said tells more
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	_ = response.Body.Close()
	response, err = t.send(request, body, token)
	if err == nil && blamesToken(response) { // it is not the token, whatever the API says
		t.RefusedAgain()
	}
	return response, err
}

// isOwn reports whether the request is one to which the token belongs.
func (t *Transport) isOwn(request *http.Request) bool {
	origin := web.Origin(request.URL)
	t.origin.CompareAndSwap(nil, &origin) // also by a request with a header of its own, which a redirect loses
	return *t.origin.Load() == origin && request.Header.Get("Authorization") == ""
}

func (t *Transport) send(request *http.Request, body io.ReadCloser, token string) (*http.Response, error) {
	own := request.Clone(request.Context())
	own.Body = body
	own.Header.Set("Authorization", "Bearer "+token)
	return t.Base.RoundTrip(own)
}

// blamesToken reports whether an API refuses the token itself (RFC 6750, section 3.1), or does not say why it
// answers 401.
func blamesToken(response *http.Response) bool {
	challenges := response.Header.Values("WWW-Authenticate")
	return response.StatusCode == http.StatusUnauthorized &&
		(len(challenges) == 0 || strings.Contains(strings.Join(challenges, " "), "invalid_token"))
}

// bodyAgain is the body of a request that has been sent.
func bodyAgain(request *http.Request) (io.ReadCloser, error) {
	switch {
	case request.Body == nil || request.Body == http.NoBody:
		return request.Body, nil
	case request.GetBody == nil:
		return nil, errors.New("the body can be read once")
	}
	return request.GetBody()
}

func closeBody(body io.ReadCloser) {
	if body != nil {
		_ = body.Close()
	}
}
