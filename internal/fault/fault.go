// Package fault holds the errors that several packages of this module return and that the root
// package exports. It knows nothing else, so that every package can import it. What each error
// means to an application is documented where the root package declares it.
package fault

import (
	"errors"
	"fmt"
)

var (
	// InvalidToken is logtogin.ErrInvalidToken.
	InvalidToken = sentinel("token not acceptable")
	// ProviderUnavailable is logtogin.ErrProviderUnavailable.
	ProviderUnavailable = sentinel("Logto is unavailable")
	// InsufficientRights is logtogin.ErrInsufficientRights.
	InsufficientRights = sentinel("insufficient rights")
)

var (
	// AnotherUser is an InvalidToken after which nothing of a session can be trusted any more:
	// what was to renew it belongs to another user.
	AnotherUser = InvalidTokenf("sub is another user")

	// NotAuthenticatedAgain is an InvalidToken of a sign-in with max_age (OpenID Connect Core,
	// section 3.1.3.7, rule 13).
	NotAuthenticatedAgain = both(InsufficientRights, InvalidTokenf("auth_time is missing or older than max_age"))
)

func sentinel(text string) error { return errors.New("logtogin: " + text) }

func both(kind, err error) error { return fmt.Errorf("%w: %w", kind, err) }

// InvalidTokenf is an InvalidToken that names the check that failed.
func InvalidTokenf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", InvalidToken, fmt.Sprintf(format, args...))
}
