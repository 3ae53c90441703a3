package logtogin

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What an application can ask of one sign-in.

// SignInOptions say how one sign-in differs from another. An empty field takes
// its value from Config.SignInDefaults. All values are checked before they are
// sent, because Logto silently ignores every one of its own parameters as soon
// as one of them is wrong; a bad value is an ErrInvalidOptions. See
// https://docs.logto.io/end-user-flows/authentication-parameters.
type SignInOptions struct {
	// ReturnTo is the path of this application, with query and fragment, where
	// the user arrives afterwards. Anything but such a path is dropped, so
	// that it may come from a request. The default is Config.AfterSignIn.
	ReturnTo string

	// RedirectURI is the callback address, if it is not the one of the
	// callback route: an absolute URL, or a path of this application. It must
	// be registered in the Logto Console and lead to HandleCallback.
	RedirectURI string

	// Prompt replaces Config.Prompt.
	Prompt Prompt

	// FirstScreen is the screen that Logto shows first.
	FirstScreen FirstScreen

	// Identifiers limit what the user can type into the identifier screens.
	Identifiers []Identifier

	// DirectSignIn skips Logto's first screen: "social:<connector target>",
	// for example "social:google", or "sso:<connector id>".
	DirectSignIn string

	// LoginHint fills in the identifier, for example an e-mail address.
	LoginHint string

	// OneTimeToken is the token of a magic link. It needs LoginHint, the
	// e-mail address that the token was made for.
	OneTimeToken string

	// UILocales are the user's languages as BCP 47 tags, the preferred first.
	UILocales []string

	// OrganizationID shows the pages of Logto in that organization's branding. It also narrows the permissions
	// for API resources, in every access token of the whole session, to what the user's own roles and the
	// roles in that organization give. A user whose permissions come from roles in another organization gets
	// tokens with an empty scope, and no error. Logto does not check that the organization exists. Together
	// with Config.Resources it is therefore an ErrInvalidOptions, unless OrganizationNarrowsPermissions is
	// set. The permissions of organizations themselves stay as they are. See
	// https://docs.logto.io/end-user-flows/authentication-parameters.
	OrganizationID string

	// OrganizationNarrowsPermissions accepts that OrganizationID narrows the permissions for Config.Resources.
	// It is for an application in which a session is about one organization. Any other leaves OrganizationID
	// empty, and names the organization when it asks for a token: AccessToken with Organization. Set in
	// Config.SignInDefaults it holds for the OrganizationID of every sign-in.
	OrganizationNarrowsPermissions bool

	// MaxAge makes the user authenticate again if that was longer ago, in full
	// seconds; the ID token is refused otherwise. Zero sends nothing; to
	// authenticate in any case use PromptLoginConsent.
	MaxAge time.Duration

	// ExtraParams are further parameters of the authorization request. They
	// cannot replace a parameter of the protocol or of the fields above.
	ExtraParams map[string]string
}

// FirstScreen is the value of Logto's first_screen parameter; "" leaves the choice to Logto.
// See https://docs.logto.io/end-user-flows/authentication-parameters.
type FirstScreen string

const (
	// FirstScreenSignIn is the sign-in with all that the sign-in experience offers.
	FirstScreenSignIn FirstScreen = "sign_in"
	// FirstScreenRegister is the registration with all that it offers.
	FirstScreenRegister FirstScreen = "register"
	// FirstScreenResetPassword is for users who have forgotten their password.
	FirstScreenResetPassword FirstScreen = "reset_password"
	// FirstScreenIdentifierSignIn is a sign-in by SignInOptions.Identifiers only.
	FirstScreenIdentifierSignIn FirstScreen = "identifier:sign_in"
	// FirstScreenIdentifierRegister is a registration by SignInOptions.Identifiers only.
	FirstScreenIdentifierRegister FirstScreen = "identifier:register"
	// FirstScreenSingleSignOn asks for the e-mail address that tells the enterprise connector.
	FirstScreenSingleSignOn FirstScreen = "single_sign_on"
)

// Identifier is a value of Logto's identifier parameter: what users type to say who they
// are. It goes with the screens for identifiers and for a new password.
type Identifier string

const (
	// IdentifierEmail is the e-mail address.
	IdentifierEmail Identifier = "email"
	// IdentifierPhone is the phone number.
	IdentifierPhone Identifier = "phone"
	// IdentifierUsername is the username.
	IdentifierUsername Identifier = "username"
)

var firstScreens = []FirstScreen{
	FirstScreenSignIn, FirstScreenRegister, FirstScreenResetPassword,
	FirstScreenIdentifierSignIn, FirstScreenIdentifierRegister, FirstScreenSingleSignOn,
}

var identifiers = []Identifier{IdentifierEmail, IdentifierPhone, IdentifierUsername}

// ownParams are the parameters that ExtraParams cannot set.
var ownParams = []string{
	"client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope",
	"state", "nonce", "code_challenge", "code_challenge_method", "prompt", "max_age", "resource",
	"request", "request_uri", "registration", "claims", "id_token_hint", "code", "iss",
	"first_screen", "interaction_mode", "identifier", "direct_sign_in", "login_hint",
	"one_time_token", "ui_locales", "organization_id",
}

var (
	directSignIn = regexp.MustCompile(`^(social|sso):[^\s[:cntrl:]]+$`)
	languageTag  = regexp.MustCompile(`^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$`)
	plainWord    = regexp.MustCompile(`^[!-~]+$`)
)

func (o SignInOptions) clone() SignInOptions {
	o.Identifiers = slices.Clone(o.Identifiers)
	o.UILocales = slices.Clone(o.UILocales)
	o.ExtraParams = maps.Clone(o.ExtraParams)
	return o
}

// withDefaults fills the empty fields. Extra parameters are merged.
func (o SignInOptions) withDefaults(defaults SignInOptions) SignInOptions {
	extra := map[string]string{}
	maps.Copy(extra, defaults.ExtraParams)
	maps.Copy(extra, o.ExtraParams)
	fields := reflect.ValueOf(&o).Elem()
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			fields.Field(i).Set(reflect.ValueOf(defaults).Field(i))
		}
	}
	o.ExtraParams = extra
	return o
}

// check is told Config.Resources.
func (o *SignInOptions) check(resources []string) error {
	invalid := func(field string, value any) error {
		return fmt.Errorf("%w: %s cannot be %q", ErrInvalidOptions, field, value)
	}
	if o.Prompt != "" && !slices.Contains(prompts, o.Prompt) {
		return invalid("Prompt", o.Prompt)
	}
	if o.FirstScreen != "" && !slices.Contains(firstScreens, o.FirstScreen) {
		return fmt.Errorf("%w: FirstScreen cannot be %q; use one of its constants", ErrInvalidOptions, o.FirstScreen)
	}
	for _, identifier := range o.Identifiers {
		if !slices.Contains(identifiers, identifier) {
			return invalid("Identifiers", identifier)
		}
	}
	for _, locale := range o.UILocales {
		if !languageTag.MatchString(locale) {
			return invalid("UILocales", locale)
		}
	}
	switch {
	case o.DirectSignIn != "" && !directSignIn.MatchString(o.DirectSignIn):
		return fmt.Errorf(`%w: DirectSignIn cannot be %q; write "social:<target>" or "sso:<connector id>"`, ErrInvalidOptions, o.DirectSignIn)
	case o.OrganizationID != "" && !plainWord.MatchString(o.OrganizationID):
		return invalid("OrganizationID", o.OrganizationID)
	case o.OrganizationID != "" && !o.OrganizationNarrowsPermissions && slices.ContainsFunc(resources, isAPI):
		return fmt.Errorf("%w: OrganizationID would narrow the permissions for Config.Resources to that organization in the whole session; to act within an organization, leave it empty and ask for a token with Organization; if the session is to be narrowed, set OrganizationNarrowsPermissions", ErrInvalidOptions)
	case o.OneTimeToken != "" && o.LoginHint == "":
		return fmt.Errorf("%w: OneTimeToken needs LoginHint", ErrInvalidOptions)
	case o.MaxAge < 0 || o.MaxAge%time.Second != 0:
		return invalid("MaxAge", o.MaxAge)
	}
	for name := range o.ExtraParams {
		if name == "" || slices.Contains(ownParams, name) {
			return fmt.Errorf("%w: ExtraParams cannot set %q", ErrInvalidOptions, name)
		}
	}
	return nil
}

// isAPI reports whether a resource is an API. Logto's own resource for the permissions of organizations is not: no
// organization narrows those.
func isAPI(resource string) bool { return resource != resourceOrganizations }

// params are Logto's parameters and the extra ones.
func (o *SignInOptions) params() url.Values {
	params := url.Values{}
	for name, value := range o.ExtraParams {
		params.Set(name, value)
	}
	var chosen []string
	for _, identifier := range o.Identifiers {
		chosen = append(chosen, string(identifier))
	}
	set := func(name, value string) {
		if value != "" {
			params.Set(name, value)
		}
	}
	set("first_screen", string(o.FirstScreen))
	set("identifier", strings.Join(chosen, " "))
	set("direct_sign_in", o.DirectSignIn)
	set("login_hint", o.LoginHint)
	set("one_time_token", o.OneTimeToken)
	set("ui_locales", strings.Join(o.UILocales, " "))
	set("organization_id", o.OrganizationID)
	if o.MaxAge > 0 {
		set("max_age", strconv.Itoa(int(o.MaxAge/time.Second)))
	}
	return params
}
