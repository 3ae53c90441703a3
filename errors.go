package logtogin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

// What errors.Is tells apart. Beside these there are ProviderError, ConfigError
// and RefusalError for errors.As, and the errors of a context that ended. None
// of them carries a token, a code, a verifier or a secret.
var (
	// ErrNotSignedIn: the request has no session, or one that has ended. Start
	// a sign-in with SignIn, or let Guard do it.
	ErrNotSignedIn = fault.NotSignedIn

	// ErrNoAttempt: the callback belongs to no sign-in that this browser
	// started within the last hour and has not finished. The usual causes are
	// a bookmarked or reloaded callback, blocked cookies, and a sign-in that
	// was started under another host name than the one in Config.BaseURL. Let
	// the user start again.
	ErrNoAttempt = fault.NoAttempt

	// ErrInvalidCallback: the callback's parameters are not what Logto sends.
	// Let the user start again.
	ErrInvalidCallback = fault.InvalidCallback

	// ErrIssuerMismatch: the callback does not come from the configured Logto
	// (RFC 9207).
	ErrIssuerMismatch = errors.New("logtogin: the callback comes from another issuer")

	// ErrCancelled: the browser came to the callback without any parameter,
	// which is what Logto makes of the Cancel button of its consent page. A
	// refusal that Logto gives a reason for, such as access_denied, is a
	// *ProviderError.
	ErrCancelled = errors.New("logtogin: sign-in was cancelled")

	// ErrInvalidToken: a token or a user info answer failed verification. The
	// text says which check; if it keeps happening, compare Config.Endpoint
	// and Config.AppID with the Logto Console, and the clocks.
	ErrInvalidToken = fault.InvalidToken

	// ErrTokenExpired: the session has no access token of this kind that is still
	// valid, and no refresh token to get one with. Let the user sign in again; if
	// it happens to everybody, ask for PromptConsent, without which Logto issues
	// no refresh token.
	ErrTokenExpired = fault.TokenExpired

	// ErrSessionTooLarge: what must be kept of the sign-in does not fit into
	// the cookies of one browser or into Config.Store, whose limit the text says
	// how to raise. Most stores of gin-contrib take 2223 bytes unless told
	// otherwise, which an ID token with a few organizations can exceed. Or
	// request fewer scopes, or leave claims out of the ID token in the Logto
	// Console.
	ErrSessionTooLarge = fault.SessionTooLarge

	// ErrSignInRefused: Config.OnSignedIn returned an error, which errors.As
	// finds, or signed the user out, or set a ReturnTo that cannot be used.
	ErrSignInRefused = errors.New("logtogin: the application refused the sign-in")

	// ErrAccountRefused: Logto does not let the account that is signed in there use this application
	// ("access_denied"), or the account does not exist any more ("invalid_grant"), or Config.OnSignedIn has
	// returned a RefusalError. errors.As finds the *ProviderError or the *RefusalError. Another sign-in ends in
	// the same way, whatever its prompt, until the user signs out at Logto: lead to SignOutPath.
	ErrAccountRefused = errors.New("logtogin: this account is not allowed in; the user has to sign out before another one can sign in")

	// ErrStoreUnavailable: the session could not be read or written. It says
	// nothing about whether the user is signed in.
	ErrStoreUnavailable = fault.StoreUnavailable

	// ErrInsufficientRights: the user or the token does not meet the requirements of
	// the guard, which a *RequirementError names, or the user had to authenticate again
	// (MaxAge) and came back from Logto without having done so.
	ErrInsufficientRights = fault.InsufficientRights

	// ErrInsufficientAuthentication: it is too long since the user authenticated (MaxAge;
	// RFC 9470). Send the user through a sign-in with SignInOptions.MaxAge.
	ErrInsufficientAuthentication = errors.New("logtogin: the user has to authenticate again")

	// ErrCrossOrigin: a page of another origin sent a request that could change
	// something. Config.TrustedOrigins are the exceptions.
	ErrCrossOrigin = errors.New("logtogin: request from another origin")

	// ErrProviderUnavailable: Logto could not be reached, or did not answer in
	// a way that an OpenID provider may. Try again later.
	ErrProviderUnavailable = fault.ProviderUnavailable

	// ErrInvalidOptions: the application passed sign-in or sign-out options
	// that Logto would refuse or silently ignore.
	ErrInvalidOptions = fault.InvalidOptions

	// ErrNoSuchClaim: the claim is absent. A claim that is null is present.
	ErrNoSuchClaim = errors.New("logtogin: no such claim")

	// ErrNoRequest: the context belongs to no request that this package knows. Pass the
	// *gin.Context, or the context of a request that Guard, Optional or Bearer has let through.
	ErrNoRequest = errors.New("logtogin: the context belongs to no request; pass the *gin.Context, or the context of a request behind Guard, Optional or Bearer")

	// ErrResponseStarted: the response has been started, so that cookies can
	// no longer be set. Call SignIn, SignOut and HandleCallback before writing.
	ErrResponseStarted = fault.ResponseStarted
)

// errPrefetched is the ErrInvalidCallback of a callback that a browser loads in advance. It has a
// status that browsers do not keep for the click that follows.
var errPrefetched = fmt.Errorf("%w: the browser loads it before the user asks for it", ErrInvalidCallback)

// ProviderError is a refusal by Logto, in the terms of RFC 6749, sections
// 4.1.2.1 and 5.2.
type ProviderError struct {
	// Code is the error code, for example "access_denied".
	Code string
	// Description is meant for developers and may be empty. It is text from
	// outside: escape it.
	Description string
	// Status is the HTTP status of Logto's answer; 0 for an error that came
	// with the callback.
	Status int
}

func (e *ProviderError) Error() string {
	text := "logtogin: refused by Logto: " + fault.Text(e.Code, 64)
	if e.Description != "" {
		text += " (" + fault.Text(e.Description, 200) + ")"
	}
	if cure := e.cure(); cure != "" {
		text += "; " + cure
	}
	return text
}

// cure is what the operator has to change in the Logto Console or in Config, or "" if the operator cannot correct it.
func (e *ProviderError) cure() string {
	switch {
	case e.Code == "invalid_client" && e.Status == http.StatusUnauthorized:
		return "copy the App secret from the application's page in the Logto Console into Config.AppSecret; an application with a secret must be Traditional web"
	case e.refusal().IsSecretExpired():
		return "create another App secret in the Logto Console and set Config.AppSecret"
	case e.Code == "invalid_request" && e.Status != 0:
		return "look at the type of the application in the Logto Console, which must be Traditional web"
	}
	return cures[e.Code]
}

// cures are by the code of a refusal.
var cures = map[string]string{
	"invalid_client":            "copy the App ID from the application's page in the Logto Console into Config.AppID",
	"invalid_target":            "compare Config.Resources with the API identifiers of the API resources in the Logto Console, to the letter: a slash at the end counts; users who signed in before a change have to sign in again",
	"insufficient_scope":        "add the scope to Config.Scopes, for organizations " + scopeOrganizations + "; users who signed in before have to sign in again",
	"access_denied":             "look in the Logto Console at the access control of the application, the user's organizations and their multi-factor authentication, and the script of Custom JWT",
	"server_error":              "look into the log of Logto",
	"invalid_scope":             "in the Logto Console, let the application have the scopes (a third-party application on its page Permissions), or remove them from Config.Scopes; Config.OmitReservedScopes leaves out profile and offline_access",
	"invalid_request":           "compare Config.SignInDefaults and ExtraParams with what Logto takes, and the type of the application in the Logto Console, which must be Traditional web",
	"unauthorized_client":       wrongType,
	"unsupported_grant_type":    wrongType,
	"unsupported_response_type": wrongType,
	"unsupported_response_mode": wrongType,
}

const wrongType = "the type of the application in the Logto Console must be Traditional web"

// refusal is the refusal of Logto that the error is made of.
func (e *ProviderError) refusal() *oauth.Refusal {
	return &oauth.Refusal{Code: e.Code, Description: e.Description, Status: e.Status}
}

// isOfRegistration reports whether a refusal is about how the application is registered at Logto, or about what
// it asks for: nothing that a user does changes it.
func isOfRegistration(refused *ProviderError) bool {
	return slices.Contains([]string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "unsupported_response_type",
		"unsupported_response_mode", "invalid_request", "invalid_scope", "invalid_target", "insufficient_scope"}, refused.Code)
}

// isOfAccount reports whether Logto has refused, in a sign-in, the account and not this one attempt. An invalid_grant
// of the token endpoint is about the code.
func isOfAccount(refused *ProviderError) bool {
	return refused.Code == "access_denied" || (refused.Code == "invalid_grant" && refused.Status == 0)
}

// errorAbout is an error about a user who has no session.
type errorAbout struct {
	error
	subject string
}

func (e *errorAbout) Unwrap() error { return e.error }

// subjectOf is the ID of the user whom an error is about, or "".
func subjectOf(err error) string {
	var about *errorAbout
	if errors.As(err, &about) {
		return about.subject
	}
	return ""
}

// RequirementError is the ErrInsufficientRights of a guard. errors.As finds a *ProviderError
// in it if Logto has refused a token.
type RequirementError struct {
	// Requirement says what was asked for, for developers: `role "admin"`.
	Requirement string

	reason error // of Logto's; may be nil
	// scope are the permissions that were missing from a token.
	scope string
}

func (e *RequirementError) Error() string {
	text := ErrInsufficientRights.Error() + ": " + e.Requirement
	if e.reason != nil {
		text += ": " + e.reason.Error()
	}
	if e.scope != "" { // of which Logto leaves out, without a word, what no role of the user has
		text += "; the client has to ask for it (Config.Scopes, and the API in Config.Resources), and in the Logto Console a role of the user must have the permission"
	}
	return text
}

// Is makes it an ErrInsufficientRights.
func (e *RequirementError) Is(target error) bool { return target == ErrInsufficientRights }

// Unwrap returns what Logto has said, or nil.
func (e *RequirementError) Unwrap() error { return e.reason }

// RefusalError is what Config.OnSignedIn returns to turn a user away and to say
// why.
type RefusalError struct {
	// Message is shown to the user.
	Message string
}

func (e *RefusalError) Error() string { return e.Message }

// ConfigError is a mistake in the configuration, found at the start.
type ConfigError struct {
	// Field is the field of Config, for example "BaseURL" or "Paths.Callback".
	Field string
	// Problem says what is wrong with it and what to do.
	Problem string
}

func (e *ConfigError) Error() string {
	return "logtogin: Config." + e.Field + " " + e.Problem
}

// StatusCode is the HTTP status with which a request that failed so is
// answered: 401 to sign in, 403 for what is not allowed, also to an account that is refused, 503 if something is
// unavailable, 400 for a sign-in or a token that Logto refuses, 502 or 504 if an API that an
// HTTPClient was to call could not be reached, and 500 for mistakes of the application and
// all other errors.
func StatusCode(err error) int {
	var refused *ProviderError
	var refusal *RefusalError
	var bearer *bearerError
	var called *url.Error // of an http.Client; our own calls leave it out
	switch {
	case errors.As(err, &bearer):
		return bearer.status
	case errors.Is(err, ErrStoreUnavailable), errors.Is(err, ErrProviderUnavailable), errors.Is(err, errPrefetched):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrCrossOrigin), errors.Is(err, errSignOutNotAsked), errors.Is(err, ErrInsufficientRights), errors.As(err, &refusal),
		errors.Is(err, ErrAccountRefused), errors.As(err, &refused) && (refused.Status == http.StatusForbidden || refused.Code == "access_denied"):
		return http.StatusForbidden
	case errors.Is(err, ErrSignInRefused): // whatever the application's own error says
		return http.StatusInternalServerError
	case errors.Is(err, ErrNotSignedIn), errors.Is(err, ErrTokenExpired), errors.Is(err, ErrInsufficientAuthentication):
		return http.StatusUnauthorized
	case errors.As(err, &refused) && !refused.refusal().IsOfOperator(), errors.Is(err, ErrNoAttempt), errors.Is(err, ErrInvalidCallback),
		errors.Is(err, ErrIssuerMismatch), errors.Is(err, ErrCancelled), errors.Is(err, ErrInvalidToken):
		return http.StatusBadRequest
	case errors.As(err, &called) && called.Timeout():
		return http.StatusGatewayTimeout
	case errors.As(err, &called):
		return http.StatusBadGateway
	default:
		return http.StatusInternalServerError
	}
}

// titleFor tells a user what happened.
func titleFor(status int, err error) string {
	if errors.Is(err, ErrInsufficientAuthentication) && !errors.Is(err, errFutile) {
		return "Sign in again"
	}
	switch status {
	case http.StatusInternalServerError:
		return "Something went wrong"
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return "Temporarily unavailable"
	case http.StatusForbidden:
		return "Not allowed"
	case http.StatusUnauthorized:
		return "Not signed in"
	}
	return "Sign-in did not work"
}

// adviceFor tells a user what to do.
func adviceFor(err error) string {
	var refused *ProviderError
	var refusal *RefusalError
	var bearer *bearerError
	var called *url.Error
	switch {
	case errors.Is(err, errNoToken):
		return "Send an access token."
	case errors.Is(err, errBearerRequest):
		return "The header Authorization is malformed."
	case errors.As(err, &bearer) && bearer.status == http.StatusUnauthorized:
		return "The access token is not valid."
	case errors.Is(err, errFutile):
		return "You have just signed in, and that was not enough for this page. Please tell the operator of this application."
	case errors.Is(err, ErrStoreUnavailable), errors.Is(err, ErrProviderUnavailable):
		return "The service is temporarily unavailable. Please try again in a moment."
	case errors.As(err, &refusal):
		return refusal.Message
	case errors.Is(err, ErrInvalidOptions), errors.Is(err, ErrResponseStarted), errors.Is(err, ErrNoRequest):
		return "This application is not set up correctly. Please tell its operator."
	case errors.Is(err, ErrSignInRefused):
		return "Something in this application went wrong. Please try again later."
	case errors.Is(err, ErrAccountRefused):
		return "Your account cannot use this application, or does not exist any more."
	case errors.As(err, &refused) && isOfRegistration(refused):
		return "This application is not set up correctly. Please tell its operator."
	case errors.As(err, &refused) && StatusCode(err) == http.StatusForbidden:
		return "You are not allowed to do this."
	case errors.As(err, &refused):
		return "The sign-in service refused the request."
	case errors.Is(err, ErrNotSignedIn), errors.Is(err, ErrTokenExpired):
		return "Sign in first."
	case errors.Is(err, ErrCancelled):
		return "You came back without signing in."
	case errors.Is(err, ErrNoAttempt):
		return "This sign-in was not started in this browser, has been used already, or is more than an hour old. If it happens again, allow cookies for this site."
	case errors.Is(err, ErrInsufficientAuthentication):
		return "Please confirm who you are by signing in again."
	case errors.Is(err, fault.NotAuthenticatedAgain):
		return "You had to confirm who you are, and came back without having done so."
	case errors.Is(err, ErrInsufficientRights):
		return "You are not allowed to do this."
	case errors.Is(err, ErrCrossOrigin):
		return "The request came from another site."
	case errors.Is(err, errSignOutNotAsked):
		return "Nobody was signed out. Send POST, or open the page."
	case errors.Is(err, ErrSessionTooLarge):
		return "Your account has more data than this application can keep. Please tell its operator."
	case errors.As(err, &called):
		return "Something that this page needs does not answer. Please try again in a moment."
	case isOfSignIn(err):
		return "Something about this sign-in was not right. Please start again. If it happens again, tell the operator of this application."
	}
	return "Something in this application went wrong. Please try again later."
}

// needsPrompt reports whether Logto could not answer without a page, which the sign-in did not allow.
func needsPrompt(err error) bool {
	var refused *ProviderError
	return errors.As(err, &refused) &&
		slices.Contains([]string{"login_required", "consent_required", "interaction_required", "account_selection_required"}, refused.Code)
}

// isOfSignIn reports whether another sign-in may end better.
func isOfSignIn(err error) bool {
	var refused *ProviderError
	switch {
	case errors.Is(err, ErrSignInRefused), errors.Is(err, ErrInvalidOptions):
		return false
	case errors.As(err, &refused):
		return !isOfRegistration(refused)
	}
	return slices.ContainsFunc([]error{ErrNotSignedIn, ErrTokenExpired, ErrInsufficientAuthentication, ErrCancelled,
		ErrNoAttempt, ErrInvalidCallback, ErrIssuerMismatch, ErrInvalidToken}, func(one error) bool { return errors.Is(err, one) })
}
