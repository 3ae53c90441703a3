// Package oauth is what an authorization server has answered: tokens, a refusal, or nothing that can be used; and for how
// long anybody waits for its answer. It is for those who must know what an answer means, and not how to ask.
package oauth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

const (
	// RequestTimeout bounds every call to Logto but a revocation.
	RequestTimeout = 10 * time.Second

	// RevocationTimeout bounds the revocation of tokens. Sign-out does not depend on its result.
	RevocationTimeout = 2 * time.Second
)

// Tokens is a successful answer of the token endpoint (RFC 6749, section 5.1).
type Tokens struct {
	AccessToken  string
	Expires      time.Time // of the access token
	RenewAt      time.Time // when the access token should no longer be handed out if there can be another
	Scope        string    // that was granted, names separated by spaces
	RefreshToken string    // "" if there is none
	IDToken      string    // as it was sent, not verified; "" if there is none
}

// Answer is the error of an answer with a status other than 200.
type Answer struct {
	Status     int
	Body       []byte        `json:"-"` // which may have anything in it
	RetryAfter time.Duration // what the header Retry-After asks for, or 0
}

func (e *Answer) Error() string { return fmt.Sprintf("status %d", e.Status) }

// Refusal is a refusal by Logto, in the terms of RFC 6749, section 5.2. It unwraps to the error
// that the application gets to see.
type Refusal struct {
	// Code is the error code, for example "invalid_grant".
	Code string
	// Description is meant for developers and may be empty.
	Description string
	// Status is the HTTP status of the answer.
	Status int
	// Public is the error that the application gets to see.
	Public error
}

func (r *Refusal) Error() string { return r.Public.Error() }

// Unwrap returns the public error.
func (r *Refusal) Unwrap() error { return r.Public }

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

// StatusOf returns the HTTP status of the answer of Logto in err, or 0.
func StatusOf(err error) int {
	var refused *Refusal
	var answer *Answer
	switch {
	case errors.As(err, &refused):
		return refused.Status
	case errors.As(err, &answer):
		return answer.Status
	}
	return 0
}

// RetryAfterOf returns the Retry-After of the answer of Logto in err, or 0.
func RetryAfterOf(err error) time.Duration {
	var answer *Answer
	if errors.As(err, &answer) {
		return answer.RetryAfter
	}
	return 0
}

// IsAnswered reports whether Logto answered the failed call, even with an error.
func IsAnswered(err error) bool {
	var answer *Answer
	return errors.As(err, &answer) || errors.Is(err, ErrUnreadable) || !errors.Is(err, fault.ProviderUnavailable)
}

// ErrUnreadable means that Logto answered, so it is not down.
var ErrUnreadable = errors.New("the answer cannot be read")
