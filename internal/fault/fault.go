// Package fault holds errors that several packages of this module return. The root package
// exports the general ones and documents what each means to an application. Text makes text from
// outside fit for an error. Package fault imports nothing of this module, so that every package
// can import it.
//
//nolint:staticcheck // ST1012, see below
package fault

import (
	"errors"
	"fmt"
	"strings"
)

//lint:file-ignore ST1012 the package name says that these are errors: fault.InvalidToken

var (
	// InvalidCallback is logtogin.ErrInvalidCallback.
	InvalidCallback = errors.New("logtogin: invalid callback")
	// InvalidToken is logtogin.ErrInvalidToken.
	InvalidToken = errors.New("logtogin: token not acceptable")
	// ProviderUnavailable is logtogin.ErrProviderUnavailable.
	ProviderUnavailable = errors.New("logtogin: Logto is unavailable")
	// InsufficientRights is logtogin.ErrInsufficientRights.
	InsufficientRights = errors.New("logtogin: insufficient rights")
	// NotSignedIn is logtogin.ErrNotSignedIn.
	NotSignedIn = errors.New("logtogin: not signed in")
	// NoAttempt is logtogin.ErrNoAttempt.
	NoAttempt = errors.New("logtogin: no such sign-in attempt in this browser")
	// TokenExpired is logtogin.ErrTokenExpired.
	TokenExpired = errors.New("logtogin: no valid access token, and no refresh token to get one with; Logto issues refresh tokens for the scope offline_access with PromptConsent")
	// SessionTooLarge is logtogin.ErrSessionTooLarge.
	SessionTooLarge = errors.New("logtogin: session too large")
	// StoreUnavailable is logtogin.ErrStoreUnavailable.
	StoreUnavailable = errors.New("logtogin: session store unavailable")
	// InvalidOptions is logtogin.ErrInvalidOptions.
	InvalidOptions = errors.New("logtogin: invalid options")
	// ResponseStarted is logtogin.ErrResponseStarted.
	ResponseStarted = errors.New("logtogin: the response has already been started")
)

var (
	// AnotherUser is an InvalidToken: the token that was to renew a session belongs to another
	// user. Nothing of that session can be trusted any more.
	AnotherUser = InvalidTokenf("sub is another user")

	// OtherTokenType is an InvalidToken: it says nothing about the user.
	OtherTokenType = InvalidTokenf("the token endpoint issued a token of a type other than Bearer")

	// NotAuthenticatedAgain is an InvalidToken of a sign-in with max_age (OpenID Connect Core,
	// section 3.1.3.7, rule 13), and an InsufficientRights.
	NotAuthenticatedAgain = fmt.Errorf("%w: %w: auth_time is missing or older than max_age", InsufficientRights, InvalidToken)
)

// Misconfigured is an InvalidToken that the operator can correct, which is worth a warning.
var Misconfigured = errors.New("misconfigured")

type misconfigured struct{ error }

func (e *misconfigured) Unwrap() error        { return e.error }
func (e *misconfigured) Is(target error) bool { return target == Misconfigured }

// Misconfiguredf is a Misconfigured. Its text names the check that failed and the setting to change.
func Misconfiguredf(format string, args ...any) error {
	return &misconfigured{InvalidTokenf(format, args...)}
}

// InvalidTokenf is an InvalidToken that names the check that failed.
func InvalidTokenf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", InvalidToken, fmt.Sprintf(format, args...))
}

// Unavailable makes a ProviderUnavailable of what keeps a session from being confirmed.
func Unavailable(err error) error {
	if errors.Is(err, ProviderUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ProviderUnavailable, err)
}

// Text makes text from outside fit for an error or a log: it keeps at most limit bytes, and replaces the characters that
// RFC 6749, appendix A.7 and A.8, does not allow in an error.
func Text(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s)
}
