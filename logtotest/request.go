package logtotest

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logtogin/logtogin/logtotest/internal/jose"
)

// authorizationRequest is a request that has passed all checks.
type authorizationRequest struct {
	app           *Application
	redirectURI   string
	responseMode  string
	state, nonce  string
	scopes        []string
	resources     []string
	prompt        []string
	maxAge        time.Duration // negative: not asked for
	codeChallenge string
	hintedUserID  string
	extra         url.Values
	// organizationID narrows the permissions of the grant, also if the other extra parameters are dropped.
	organizationID string
}

// extraParameters are Logto's own, which its sign-in page gets to see.
var extraParameters = []string{
	"first_screen", "interaction_mode", "direct_sign_in", "identifier", "login_hint",
	"one_time_token", "organization_id", "ui_locales", "google_one_tap_credential",
}

var validExtra = map[string][]string{
	"first_screen": {
		"sign_in", "register", "reset_password", "identifier:sign_in", "identifier:register", "single_sign_on",
		"signIn", // the deprecated spelling
	},
	"interaction_mode": {"signIn", "signUp"},
}

// authTimeAsked tells whether the ID token must say when the user signed in.
func (a authorizationRequest) authTimeAsked() bool {
	return a.maxAge >= 0 || slices.Contains(a.prompt, "login")
}

func (a authorizationRequest) startsWithRegistration() bool {
	switch a.extra.Get("first_screen") {
	case "register", "identifier:register":
		return true
	case "":
		return a.extra.Get("interaction_mode") == "signUp"
	}
	return false
}

// checkRecipient finds the errors that must not go to the redirect URI, because
// it cannot be trusted.
func (s *Server) checkRecipient(query url.Values) (*Application, *oidcError) {
	if query.Has("request_uri") {
		// Nobody can have pushed a request: there is no endpoint for it.
		return nil, newError(http.StatusBadRequest, "invalid_request_uri", "request_uri is invalid, expired, or was already used")
	}
	for _, name := range []string{"client_id", "redirect_uri"} {
		switch len(query[name]) {
		case 0:
			return nil, invalidRequest("missing required parameter '" + name + "'")
		case 1:
		default:
			return nil, invalidRequest("'" + name + "' parameter must not be provided twice")
		}
	}
	app, failure := s.knownClient(query.Get("client_id"))
	if failure == nil && !s.acceptsRedirectURI(app, query.Get("redirect_uri")) {
		failure = newError(http.StatusBadRequest, "invalid_redirect_uri",
			"redirect_uri did not match any of the client's registered redirect_uris")
	}
	return app, failure
}

// pkceForm is the syntax of RFC 7636, for the verifier and the challenge alike.
var pkceForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// parseAuthorizationRequest fills in where the response goes even when it
// returns an error.
func (s *Server) parseAuthorizationRequest(app *Application, query url.Values) (authorizationRequest, *oidcError) {
	request := authorizationRequest{
		app:           app,
		redirectURI:   query.Get("redirect_uri"),
		responseMode:  "query",
		state:         query.Get("state"),
		nonce:         query.Get("nonce"),
		prompt:        strings.Fields(query.Get("prompt")),
		maxAge:        -1,
		codeChallenge: query.Get("code_challenge"),
		extra:         extraOf(query),

		organizationID: query.Get("organization_id"),
	}
	responseType := strings.Fields(query.Get("response_type"))
	if slices.Contains(responseType, "token") || slices.Contains(responseType, "id_token") {
		request.responseMode = "fragment"
	}
	switch mode := query.Get("response_mode"); mode {
	case "":
	case "query", "fragment", "form_post":
		request.responseMode = mode
	default:
		return request, newError(http.StatusBadRequest, "unsupported_response_mode", "unsupported response_mode requested")
	}
	if failure := noneTwice(query); failure != nil {
		return request, failure
	}
	if query.Has("request") {
		return request, newError(http.StatusBadRequest, "request_not_supported", "")
	}
	switch query.Get("response_type") {
	case "":
		return request, invalidRequest("missing required parameter 'response_type'")
	case "code":
		if app.Type == MachineToMachine {
			return request, invalidRequest("requested response_type is not allowed for this client")
		}
	case "code id_token", "id_token", "none":
		return request, invalidRequest("requested response_type is not allowed for this client")
	default:
		return request, newError(http.StatusBadRequest, "unsupported_response_type", "unsupported response_type requested")
	}
	for _, check := range []func(*authorizationRequest, url.Values) *oidcError{
		s.checkScope, checkPrompt, checkMaxAge, checkChallenge, s.checkResources, s.checkRequestHint,
	} {
		if failure := check(&request, query); failure != nil {
			return request, failure
		}
	}
	return request, nil
}

// extraOf drops all of Logto's own parameters when one of them is not valid, as
// Logto does without a word.
func extraOf(query url.Values) url.Values {
	extra := url.Values{}
	for _, name := range extraParameters {
		value := query.Get(name)
		if value == "" {
			continue
		}
		if valid, limited := validExtra[name]; limited && !slices.Contains(valid, value) {
			return url.Values{}
		}
		extra.Set(name, value)
	}
	return extra
}

func (s *Server) checkScope(request *authorizationRequest, query url.Values) *oidcError {
	scopes := strings.Fields(query.Get("scope"))
	if !slices.Contains(scopes, "openid") {
		for _, name := range []string{"nonce", "max_age", "id_token_hint", "acr_values"} {
			if query.Has(name) {
				return invalidRequest("openid scope must be requested when using the " + name + " parameter")
			}
		}
	}
	for _, scope := range scopes {
		ofResource := !slices.Contains(supportedScopes, scope)
		if slices.Contains(request.scopes, scope) || (ofResource && !query.Has("resource")) {
			continue
		}
		if scope == "offline_access" && !slices.Contains(request.prompt, "consent") {
			continue
		}
		request.scopes = append(request.scopes, scope)
	}
	if i := slices.IndexFunc(request.scopes, request.app.forbids); i >= 0 {
		failure := newError(http.StatusBadRequest, "invalid_scope", "requested scope is not allowed")
		failure.Scope = request.scopes[i]
		return failure
	}
	return nil
}

func checkPrompt(request *authorizationRequest, _ url.Values) *oidcError {
	for _, prompt := range request.prompt {
		switch {
		case !slices.Contains([]string{"none", "login", "consent"}, prompt):
			return invalidRequest("unsupported prompt value requested")
		case prompt == "none" && len(request.prompt) > 1:
			return invalidRequest("prompt none must only be used alone")
		}
	}
	return nil
}

func checkMaxAge(request *authorizationRequest, query url.Values) *oidcError {
	if !query.Has("max_age") {
		return nil
	}
	seconds, err := strconv.ParseUint(query.Get("max_age"), 10, 31)
	if err != nil {
		return invalidRequest("invalid max_age parameter value")
	}
	request.maxAge = time.Duration(seconds) * time.Second
	return nil
}

func checkChallenge(request *authorizationRequest, query url.Values) *oidcError {
	switch method := query.Get("code_challenge_method"); {
	case request.codeChallenge == "" && request.app.isPublic():
		return invalidRequest("Authorization Server policy requires PKCE to be used for this request")
	case request.codeChallenge == "" && method == "":
		return nil
	case request.codeChallenge == "":
		return invalidRequest("code_challenge must be provided with code_challenge_method")
	case method != "S256":
		return invalidRequest("not supported value of code_challenge_method")
	case !pkceForm.MatchString(request.codeChallenge):
		return invalidRequest("code_challenge must be a string with a minimum length of 43 characters")
	}
	return nil
}

// verifierMatches is S256 of RFC 7636.
func (a authorizationRequest) verifierMatches(verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return jose.Encode(sum[:]) == a.codeChallenge
}

func (s *Server) checkResources(request *authorizationRequest, query url.Values) *oidcError {
	for _, value := range query["resource"] {
		// Logto splits at commas too.
		for resource := range strings.SplitSeq(value, ",") {
			if _, known := s.resource(resource); !known && resource != organizationsResource {
				return unknownResource(resource)
			}
			request.resources = append(request.resources, resource)
		}
	}
	return nil
}

func (s *Server) checkRequestHint(request *authorizationRequest, query url.Values) *oidcError {
	if !query.Has("id_token_hint") {
		return nil
	}
	hint, failure := s.checkHint(query.Get("id_token_hint"))
	request.hintedUserID = hint.Subject
	return failure
}
