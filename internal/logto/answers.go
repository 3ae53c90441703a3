package logto

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

// What Logto's answers mean: tokens, a refusal, or an outage.

// maxRetryAfter bounds how long Logto can ask to be left alone.
const maxRetryAfter = time.Minute

const (
	// defaultTokenLife is assumed of an access token that comes without a word on
	// when it expires.
	defaultTokenLife = 5 * time.Minute
	maxTokenLife     = 10 * 365 * 24 * time.Hour

	// maxTokenMargin is how long before its expiry an access token is no longer
	// handed out if there can be another; a tenth of its life if that is less.
	maxTokenMargin = 30 * time.Second
)

// readTokens reads the answer to a request that was made at this time, and that has ended. With a
// fault.InvalidToken the refresh token is still of use: Logto has replaced the one before it.
// The arithmetic of x/oauth2 takes a token without expires_in for eternal.
func readTokens(token *oauth2.Token, err error, asked time.Time, ended func(error)) (*oauth.Tokens, error) {
	ended(err)
	if err != nil {
		return nil, err
	}
	got := &oauth.Tokens{RefreshToken: token.RefreshToken}
	if !strings.EqualFold(token.TokenType, "Bearer") {
		return got, fault.OtherTokenType
	}
	got.AccessToken = token.AccessToken
	got.IDToken, _ = token.Extra("id_token").(string)
	got.Scope, _ = token.Extra("scope").(string)
	life := lifeOf(token)
	got.Expires = asked.Truncate(time.Second).Add(life)
	got.RenewAt = got.Expires.Add(-min(maxTokenMargin, life/10))
	return got, nil
}

// lifeOf is expires_in, in which x/oauth2 also takes a string.
func lifeOf(token *oauth2.Token) time.Duration {
	var seconds float64
	switch value := token.Extra("expires_in").(type) {
	case float64:
		seconds = value
	case int64: // of an answer that is a form
		seconds = float64(value)
	case string:
		seconds, _ = strconv.ParseFloat(value, 64)
	}
	if !(seconds >= 1 && seconds <= maxTokenLife.Seconds()) {
		if seconds > 1 {
			return maxTokenLife
		}
		return defaultTokenLife
	}
	return time.Duration(seconds) * time.Second
}

var errNotJSON = errors.New("the answer is not JSON")

// maxBody bounds every answer.
const maxBody = 1 << 20

func (p *Provider) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	return p.do(request)
}

// do returns the body of an answer with status 200.
func (p *Provider) do(request *http.Request) ([]byte, error) {
	response, err := p.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, withoutURL(err)
	case len(body) > maxBody:
		return nil, errors.New("the answer is longer than 1 MiB")
	case response.StatusCode != http.StatusOK:
		return nil, &oauth.Answer{Status: response.StatusCode, Body: body, RetryAfter: retryAfterHeader(response, p.settings.Now())}
	}
	if len(body) > 0 && !isJSON(response.Header.Get("Content-Type")) {
		return nil, errNotJSON
	}
	return body, nil
}

func (p *Provider) refusal(code, description string, status int) error {
	return &oauth.Refusal{Code: code, Description: description, Status: status, Public: p.settings.PublicRefusal(code, description, status)}
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

// withoutURL drops the address from an error of net/http: an address can
// carry what does not belong in a log.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}

func unavailable(what string, err error) error {
	if errors.Is(err, fault.ProviderUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", fault.ProviderUnavailable, what, err)
}

// answerTo turns a failed call into a refusal by Logto, if the answer
// says so in OAuth's terms, or else into an outage.
func (p *Provider) answerTo(what string, err error) error {
	if err == nil {
		return nil
	}
	var answer *oauth.Answer
	if errors.As(err, &answer) {
		var body struct {
			Code        string `json:"error"`
			Description string `json:"error_description"`
		}
		if json.Unmarshal(answer.Body, &body) == nil && isRefusal(answer.Status, body.Code) {
			return p.refusal(body.Code, body.Description, answer.Status)
		}
	}
	return unavailable(what, err)
}

// tokenEndpointError is answerTo for errors of x/oauth2. Their text may hold the whole body.
func (p *Provider) tokenEndpointError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		if ctx.Err() != nil { // also of a body that does not end, which the text of the error hides
			return unavailable("the token endpoint", ctx.Err())
		}
		return unavailable("the token endpoint", describe(err))
	}
	answer := &oauth.Answer{}
	if refused.Response != nil {
		answer.Status, answer.RetryAfter = refused.Response.StatusCode, retryAfterHeader(refused.Response, p.settings.Now())
	}
	switch {
	case !isRefusal(answer.Status, refused.ErrorCode), refused.ErrorCode == "temporarily_unavailable", refused.ErrorCode == "server_error":
		return unavailable("the token endpoint", answer)
	}
	return p.refusal(refused.ErrorCode, refused.ErrorDescription, answer.Status)
}

// isRefusal reports whether an answer with this error code is one of an OAuth endpoint (RFC 6749,
// section 5.2), and not of a gateway in front of it.
func isRefusal(status int, code string) bool {
	isOAuth := code != "" && strings.IndexFunc(code, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) < 0
	return isOAuth && (status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden)
}

// retryAfterHeader reads the header Retry-After (RFC 9110, section 10.2.3), seconds or a date, up to what is believed.
// A date is compared with the Date of the answer, so that the clocks may differ, or else with now.
func retryAfterHeader(response *http.Response, now time.Time) time.Duration {
	value := strings.TrimSpace(response.Header.Get("Retry-After"))
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 32)
		if err != nil { // too many for a number
			return maxRetryAfter
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		now = date
	}
	// A date has whole seconds, and clients are told whole seconds.
	return min(max(until.Sub(now.Truncate(time.Second)), 0), maxRetryAfter)
}

// describe keeps of an error of x/oauth2 only what cannot hold a body.
func describe(err error) error {
	var netError *url.Error
	switch {
	case errors.As(err, &netError):
		return netError.Err
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	}
	return oauth.ErrUnreadable
}
