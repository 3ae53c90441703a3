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
)

// What Logto's answers mean: tokens, a refusal, or an outage.

// maxRetryAfter bounds how long Logto can ask to be left alone.
const maxRetryAfter = time.Minute

// Tokens is a successful answer of the token endpoint (RFC 6749, section 5.1).
type Tokens struct {
	AccessToken  string
	Expires      time.Time // of the access token
	RenewAt      time.Time // when the access token should no longer be handed out if there can be another
	Scope        string    // that was granted, names separated by spaces
	RefreshToken string    // "" if there is none
	IDToken      string    // as it was sent, not verified; "" if there is none
}

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
func readTokens(token *oauth2.Token, err error, asked time.Time, ended func(error)) (*Tokens, error) {
	ended(err)
	if err != nil {
		return nil, err
	}
	got := &Tokens{RefreshToken: token.RefreshToken}
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
		return nil, &answerError{response.StatusCode, body, retryAfterHeader(response, p.settings.Now())}
	}
	if len(body) > 0 && !isJSON(response.Header.Get("Content-Type")) {
		return nil, errNotJSON
	}
	return body, nil
}

// answerError is an answer with a status other than 200.
type answerError struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

func (e *answerError) Error() string { return fmt.Sprintf("status %d", e.status) }

// Refusal is a refusal by Logto, in the terms of RFC 6749, section 5.2. It unwraps to the error
// that the application gets to see.
type Refusal struct {
	// Code is the error code, for example "invalid_grant".
	Code string
	// Description is meant for developers and may be empty.
	Description string
	// Status is the HTTP status of the answer.
	Status int

	public error
}

func (r *Refusal) Error() string { return r.public.Error() }

// Unwrap returns the error of Settings.PublicRefusal.
func (r *Refusal) Unwrap() error { return r.public }

// IsOfOperator reports whether a refusal is about the application and not about the
// session: what it is registered as, or its secret, which Logto calls an invalid
// request when it has expired. What comes with a callback, visitors can make up.
func (r *Refusal) IsOfOperator() bool {
	if r.Status == 0 {
		return false
	}
	switch r.Code {
	case "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request", "invalid_scope":
		return true
	}
	return false
}

// IsSecretExpired reports whether Logto calls a request invalid because the App secret has expired.
func (r *Refusal) IsSecretExpired() bool {
	return r.Code == "invalid_request" && strings.Contains(r.Description, "secret has expired")
}

// IsOfClient reports whether Logto refuses the application itself, and so each of its requests.
func (r *Refusal) IsOfClient() bool {
	return r.Status != 0 && (r.Code == "invalid_client" || r.Code == "unauthorized_client" || r.IsSecretExpired())
}

func (p *Provider) refusal(code, description string, status int) error {
	return &Refusal{code, description, status, p.settings.PublicRefusal(code, description, status)}
}

// StatusOf returns the HTTP status of the answer of Logto in err, or 0.
func StatusOf(err error) int {
	var refused *Refusal
	var answer *answerError
	switch {
	case errors.As(err, &refused):
		return refused.Status
	case errors.As(err, &answer):
		return answer.status
	}
	return 0
}

// RetryAfterOf returns the Retry-After of the answer of Logto in err, or 0.
func RetryAfterOf(err error) time.Duration {
	var answer *answerError
	if errors.As(err, &answer) {
		return answer.retryAfter
	}
	return 0
}

// IsAnswered reports whether Logto answered the failed call, even with an error.
func IsAnswered(err error) bool {
	var answer *answerError
	return errors.As(err, &answer) || errors.Is(err, errUnreadable) || !errors.Is(err, fault.ProviderUnavailable)
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
	var answer *answerError
	if errors.As(err, &answer) {
		var body struct {
			Code        string `json:"error"`
			Description string `json:"error_description"`
		}
		if json.Unmarshal(answer.body, &body) == nil && isRefusal(answer.status, body.Code) {
			return p.refusal(body.Code, body.Description, answer.status)
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
	answer := &answerError{}
	if refused.Response != nil {
		answer.status, answer.retryAfter = refused.Response.StatusCode, retryAfterHeader(refused.Response, p.settings.Now())
	}
	switch {
	case !isRefusal(answer.status, refused.ErrorCode), refused.ErrorCode == "temporarily_unavailable", refused.ErrorCode == "server_error":
		return unavailable("the token endpoint", answer)
	}
	return p.refusal(refused.ErrorCode, refused.ErrorDescription, answer.status)
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
	return errUnreadable
}

// errUnreadable means that Logto answered, so it is not down.
var errUnreadable = errors.New("the answer cannot be read")
