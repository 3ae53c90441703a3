package logtogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// tokens is a successful answer of the token endpoint (RFC 6749, section 5.1).
type tokens struct {
	accessToken  string
	expires      time.Time
	renewAt      time.Time
	scope        string
	refreshToken string
	idToken      string
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

// readTokens reads the answer to a request that was made at this time, and that has ended.
// The arithmetic of x/oauth2 takes a token without expires_in for eternal.
func readTokens(token *oauth2.Token, err error, asked time.Time, ended func(error)) (*tokens, error) {
	ended(err)
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(token.TokenType, "Bearer") {
		return nil, fault.InvalidTokenf("the token endpoint issued a token of a type other than Bearer")
	}
	got := &tokens{accessToken: token.AccessToken, refreshToken: token.RefreshToken}
	got.idToken, _ = token.Extra("id_token").(string)
	got.scope, _ = token.Extra("scope").(string)
	life := lifeOf(token)
	got.expires = asked.Truncate(time.Second).Add(life)
	got.renewAt = got.expires.Add(-min(maxTokenMargin, life/10))
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

// answerError is an answer with a status other than 200.
type answerError struct {
	status     int
	body       []byte
	retryAfter time.Duration
}

func (e *answerError) Error() string { return fmt.Sprintf("status %d", e.status) }

// statusIn is the HTTP status of the answer that an error tells of, or 0.
func statusIn(err error) int {
	var refused *ProviderError
	var answer *answerError
	switch {
	case errors.As(err, &refused):
		return refused.Status
	case errors.As(err, &answer):
		return answer.status
	}
	return 0
}

// retryAfterIn is for how long Logto has asked to be left alone, or 0.
func retryAfterIn(err error) time.Duration {
	var answer *answerError
	if errors.As(err, &answer) {
		return answer.retryAfter
	}
	return 0
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
	if errors.Is(err, ErrProviderUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrProviderUnavailable, what, err)
}

// providerAnswer turns a failed call into a refusal by Logto, if the answer
// says so in OAuth's terms, or else into an outage.
func providerAnswer(what string, err error) error {
	if err == nil {
		return nil
	}
	var answer *answerError
	if errors.As(err, &answer) && answer.status >= 400 && answer.status < 500 && answer.status != http.StatusTooManyRequests {
		var body struct {
			Code        string `json:"error"`
			Description string `json:"error_description"`
		}
		if json.Unmarshal(answer.body, &body) == nil && body.Code != "" {
			return &ProviderError{Code: body.Code, Description: body.Description, Status: answer.status}
		}
	}
	return unavailable(what, err)
}

// tokenEndpointError is the same for x/oauth2, whose own error text may hold
// the whole body of the answer.
func tokenEndpointError(err error) error {
	if err == nil {
		return nil
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return unavailable("the token endpoint", describe(err))
	}
	answer := &answerError{}
	if refused.Response != nil {
		answer.status, answer.retryAfter = refused.Response.StatusCode, retryAfterOf(refused.Response)
	}
	switch {
	case refused.ErrorCode == "", answer.status >= 500, answer.status == http.StatusTooManyRequests,
		refused.ErrorCode == "temporarily_unavailable", refused.ErrorCode == "server_error":
		return unavailable("the token endpoint", answer)
	}
	return &ProviderError{Code: refused.ErrorCode, Description: refused.ErrorDescription, Status: answer.status}
}

// retryAfterOf reads the header Retry-After in seconds (RFC 9110, section 10.2.3),
// up to what is believed.
func retryAfterOf(response *http.Response) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, maxRetryAfter)
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

// errUnreadable: there was an answer, so that Logto is not down.
var errUnreadable = errors.New("the answer cannot be read")
