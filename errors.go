package logtogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
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

// errTurnedAway is the ErrAccountRefused of a RefusalError of Config.OnSignedIn.
var errTurnedAway = fmt.Errorf("%w", ErrAccountRefused)

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

// isOfSetup reports whether a refusal is about how the application is registered at Logto, or about what
// it asks for. The operator has to change that, and no user can: cures has these codes, and two others.
func (e *ProviderError) isOfSetup() bool {
	return cures[e.Code] != "" && e.Code != "access_denied" && e.Code != "server_error"
}

// errorAbout is an error about a user who has no session, or about a token or a webhook that anybody can have sent.
type errorAbout struct {
	error
	subject string // the ID of the user, or "" if it is not known
	invalid int    // the status of an ErrInvalidToken that anybody can have sent; 0 in a sign-in
}

func (e *errorAbout) Unwrap() error { return e.error }

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
func StatusCode(err error) int { return meaningOf(err).status }

// meaning is what errors mean to a client, to the user and to the operator.
type meaning struct {
	fits   func(error) bool // reports whether the row is about an error
	status int              // of the answer
	reason string           // Event.Reason
	level  slog.Level       // of the log line
	cure   cure             // what the page offers
	advice string           // what the page says; if it is "", what statusTexts says
}

// levelNone is for visitors who have to sign in. Nothing is logged about them.
const levelNone = slog.LevelDebug

// cure is what may help the user.
type cure int

const (
	cureNone         cure = iota
	cureWait              // the same again, later
	cureSignIn            // another sign-in
	cureSignInPage        // another sign-in, at which Logto shows a page
	cureSignInStep        // another sign-in, if a step of a sign-in has failed
	cureOtherUser         // another user, who may have the right
	cureOtherAccount      // another account, because every sign-in with this one ends here
	cureOtherStep         // another account, if a step of a sign-in has failed
)

const (
	adviceSetup   = "This application is not set up correctly. Please tell its operator."
	adviceToken   = "The access token is not valid."
	adviceSent    = "The logout token, or the webhook, is not valid."
	adviceRefused = "The sign-in service refused the request."
)

// meanings is the table of all errors. Errors wrap each other, so the first row that fits counts. docs/errors.md has a line
// for each row ("make errors").
var meanings = []meaning{
	// Nothing is known about the user.
	{is(ErrStoreUnavailable), 503, "store_unavailable", slog.LevelError, cureWait, ""},
	{is(ErrProviderUnavailable), 503, "provider_unavailable", slog.LevelError, cureWait, ""},
	{is(errPrefetched), 503, "invalid_callback", slog.LevelInfo, cureWait, "The browser loaded this page in advance. Please try again."},

	// Another sign-in of the same user changes nothing.
	{is(errFutile), 403, "insufficient_rights", slog.LevelWarn, cureOtherUser, "You have just signed in, and that was not enough for this page. Please tell the operator of this application."},
	{is(errTurnedAway), 403, "refused_by_application", slog.LevelInfo, cureOtherAccount, ""},
	{is(ErrAccountRefused), 403, "refused_by_logto", slog.LevelInfo, cureOtherAccount, "Your account cannot use this application, or does not exist any more."},
	{as(func(*RefusalError) bool { return true }), 403, "refused_by_application", slog.LevelInfo, cureOtherUser, ""},
	{as(func(e *ProviderError) bool { return e.Status == 403 && e.isOfSetup() }), 403, "refused_by_logto", slog.LevelWarn, cureOtherUser, adviceSetup},
	{as(func(e *ProviderError) bool { return e.Status == 403 || e.Code == "access_denied" }), 403, "refused_by_logto", slog.LevelInfo, cureOtherUser, ""},
	{is(fault.NotAuthenticatedAgain), 403, "not_authenticated_again", slog.LevelInfo, cureOtherUser, "You had to confirm who you are, and came back without having done so."},
	{is(ErrInsufficientRights), 403, "insufficient_rights", slog.LevelInfo, cureOtherUser, ""},
	{is(ErrCrossOrigin), 403, "other", slog.LevelInfo, cureNone, "The request came from another site."},
	{is(errSignOutNotAsked), 403, "other", slog.LevelInfo, cureNone, "Nobody was signed out. Send POST, or open the page."},

	// OnSignedIn has returned an error that would mean something else in a guard.
	{func(err error) bool { return errors.Is(err, ErrSignInRefused) && isMisuse(err) }, 500, "refused_by_application", slog.LevelError, cureNone, adviceSetup},
	{is(ErrSignInRefused), 500, "refused_by_application", slog.LevelError, cureNone, ""},

	// The user has to sign in.
	{is(errNoToken), 401, "session_ended", levelNone, cureNone, "Send an access token."},
	{is(ErrNotSignedIn), 401, "session_ended", levelNone, cureSignIn, ""},
	{is(ErrTokenExpired), 401, "other", slog.LevelInfo, cureSignIn, ""},
	{is(ErrInsufficientAuthentication), 401, "other", slog.LevelInfo, cureSignIn, "Please confirm who you are by signing in again."},

	// A sign-in has failed, or a token is not valid. Anybody can make up a callback, a logout token, a webhook or a token for
	// Bearer. Only what Logto itself has answered is an error in the log.
	{is(ErrNoAttempt), 400, "no_attempt", slog.LevelInfo, cureSignIn, "This sign-in was not started in this browser, has been used already, or is more than an hour old. If it happens again, allow cookies for this site."},
	{is(ErrInvalidCallback), 400, "invalid_callback", slog.LevelInfo, cureSignIn, ""},
	{is(ErrIssuerMismatch), 400, "issuer_mismatch", slog.LevelWarn, cureSignIn, ""},
	{is(ErrCancelled), 400, "cancelled", slog.LevelInfo, cureSignIn, "You came back without signing in."},
	{is(errBearerRequest), 400, "invalid_token", slog.LevelInfo, cureNone, "The header Authorization is malformed."},
	{is(logto.ErrWebhookSignature), 401, "invalid_token", slog.LevelWarn, cureNone, adviceSent},
	{is(logto.ErrWebhookUnsigned), 401, "invalid_token", slog.LevelInfo, cureNone, adviceSent},
	{sent(401, fault.Misconfigured), 401, "invalid_token", slog.LevelWarn, cureNone, adviceToken},
	{sent(401, ErrInvalidToken), 401, "invalid_token", slog.LevelInfo, cureNone, adviceToken},
	{sent(400, fault.Misconfigured), 400, "invalid_token", slog.LevelWarn, cureNone, adviceSent},
	{sent(400, ErrInvalidToken), 400, "invalid_token", slog.LevelInfo, cureNone, adviceSent},
	{is(fault.Misconfigured), 400, "invalid_token", slog.LevelWarn, cureSignInStep, ""},
	{is(ErrInvalidToken), 400, "invalid_token", slog.LevelError, cureSignInStep, ""},
	{as(func(e *ProviderError) bool { return e.Code == "server_error" && e.Status == 0 }), 400, "refused_by_logto", slog.LevelWarn, cureSignIn, adviceRefused},
	{as(func(e *ProviderError) bool { return strings.HasSuffix(e.Code, "_required") }), 400, "refused_by_logto", slog.LevelInfo, cureSignInPage, adviceRefused},
	{as(func(e *ProviderError) bool { return !e.isOfSetup() }), 400, "refused_by_logto", slog.LevelInfo, cureSignIn, adviceRefused},
	{as(func(e *ProviderError) bool { return !e.refusal().IsOfOperator() }), 400, "refused_by_logto", slog.LevelWarn, cureNone, adviceSetup},

	// An HTTPClient of the application has failed. Errors of our own calls have no *url.Error.
	{as((*url.Error).Timeout), 504, "timed_out", slog.LevelError, cureWait, ""},
	{as(func(e *url.Error) bool { return isMisuse(e) }), 502, "other", slog.LevelError, cureWait, adviceSetup},
	{as(func(*url.Error) bool { return true }), 502, "other", slog.LevelError, cureWait, ""},

	// The application or its operator has made a mistake, and all other errors.
	{isMisuse, 500, "other", slog.LevelError, cureNone, adviceSetup},
	{as(func(*ConfigError) bool { return true }), 500, "other", slog.LevelError, cureNone, adviceSetup},
	{as(func(*ProviderError) bool { return true }), 500, "refused_by_logto", slog.LevelError, cureNone, adviceSetup},
	{is(ErrSessionTooLarge), 500, "session_too_large", slog.LevelError, cureOtherStep, "Your account has more data than this application can keep. Please tell its operator."},
	{is(ErrNoSuchClaim), 500, "other", slog.LevelError, cureNone, ""},
	{is(ErrLogReplaced), 500, "other", slog.LevelError, cureNone, ""},
	{is(context.Canceled), 500, "request_ended", slog.LevelError, cureNone, ""},
	{is(context.DeadlineExceeded), 500, "timed_out", slog.LevelError, cureNone, ""},
	{func(error) bool { return true }, 500, "other", slog.LevelError, cureNone, ""},
}

// statusTexts are the titles of error pages, and what they say of errors without an advice of their own.
var statusTexts = map[int]struct{ title, advice string }{
	400: {"Sign-in did not work", "Something about this sign-in was not right. Please start again. If it happens again, tell the operator of this application."},
	401: {"Not signed in", "Sign in first."},
	403: {"Not allowed", "You are not allowed to do this."},
	500: {"Something went wrong", "Something in this application went wrong. Please try again later."},
	502: {"Temporarily unavailable", "Something that this page needs does not answer. Please try again in a moment."},
	503: {"Temporarily unavailable", "The service is temporarily unavailable. Please try again in a moment."},
	504: {"Temporarily unavailable", "Something that this page needs does not answer. Please try again in a moment."},
}

// is fits an error in which errors.Is finds the sentinel.
func is(sentinel error) func(error) bool {
	return func(err error) bool { return errors.Is(err, sentinel) }
}

// as fits an error in which errors.As finds one for which the condition holds.
func as[E error](holds func(E) bool) func(error) bool {
	return func(err error) bool {
		found, ok := errors.AsType[E](err)
		return ok && holds(found)
	}
}

// sent fits an errorAbout with this status for an ErrInvalidToken, in which errors.Is finds the sentinel.
func sent(invalid int, sentinel error) func(error) bool {
	return as(func(e *errorAbout) bool { return e.invalid == invalid && errors.Is(e, sentinel) })
}

// isMisuse fits a mistake in how the application calls this package.
func isMisuse(err error) bool {
	return errors.Is(err, ErrInvalidOptions) || errors.Is(err, ErrResponseStarted) || errors.Is(err, ErrNoRequest)
}

// meaningOf returns the row of an error. A RefusalError brings its own advice.
func meaningOf(err error) meaning {
	found := meanings[slices.IndexFunc(meanings, func(row meaning) bool { return row.fits(err) })]
	found.advice = cmp.Or(found.advice, statusTexts[found.status].advice)
	if refusal, ok := errors.AsType[*RefusalError](err); ok && found.status == http.StatusForbidden {
		found.advice = refusal.Message
	}
	return found
}
