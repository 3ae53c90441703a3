package logtogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/response"
)

// Protecting an API by access tokens (RFC 6750).

// AccessTokenClaimsKey is the key under which Bearer and BearerOrganization leave the
// *AccessTokenClaims of the token in the gin.Context.
const AccessTokenClaimsKey = "logto.access_token"

// organizationAudience begins the audience of tokens for organizations.
const organizationAudience = "urn:logto:organization:"

// maxAuthorization bounds the header Authorization.
const maxAuthorization = logto.MaxToken + len("Bearer ")

// Bearer lets requests through that have an access token for the API resource in the
// header Authorization: a JWT that Logto has signed for this audience, which is the API
// identifier in the Logto Console, exactly, and that meets all requirements. It leaves its
// *AccessTokenClaims under AccessTokenClaimsKey and in the context of the request, for
// AccessTokenClaimsFrom. The request has no session then, whatever cookies it has: Claims,
// AccessToken and the like return ErrNotSignedIn.
//
// A token for the API within an organization is let through only with the requirement
// InOrganization. Tokens are verified once and then remembered while they last; audience
// and requirements are checked for every request. A token that was issued before RevokeUser
// was called for its user, or before a webhook told that the user is suspended or deleted,
// is refused.
//
// Refused are requests without a token with 401, with a token that is no good with 401 and
// error="invalid_token", with one that does not suffice with 403 and
// error="insufficient_scope", malformed ones with 400, each with the header
// WWW-Authenticate (RFC 6750, section 3) and a problem document (RFC 9457); and with 503 if
// Logto's keys have never been fetched. Config.OnError can draw these answers. A CORS preflight
// request has no token and is answered 401, so a CORS middleware belongs before the guard.
//
// The requirements and the audience are the application's: Bearer panics if the audience is
// empty or a requirement does not fit. It needs Config.Endpoint and nothing else. See
// https://docs.logto.io/authorization/global-api-resources and, for APIs within an
// organization, https://docs.logto.io/authorization/organization-level-api-resources.
func (a *Auth) Bearer(audience string, requirements ...TokenRequirement) gin.HandlerFunc {
	if audience == "" {
		panic("logtogin: Bearer needs the API identifier that tokens must be for")
	}
	return a.bearer(requirements, func(_ *gin.Context, claims *AccessTokenClaims) error {
		if !slices.Contains(claims.Audience, audience) {
			return audienceError(claims, audience)
		}
		return nil
	})
}

// audienceError is about a token for another API. Logto compares API identifiers to the letter. A missing slash is the
// operator's mistake.
func audienceError(claims *AccessTokenClaims, audience string) error {
	for _, found := range claims.Audience {
		if strings.TrimSuffix(found, "/") == strings.TrimSuffix(audience, "/") {
			return fault.Misconfiguredf("aud is not %s, but differs by the slash at the end; give Bearer the API identifier of the API resource in the Logto Console, to the letter", audience)
		}
	}
	return fault.InvalidTokenf("aud is not %s; the client has to ask for a token for this API identifier (Config.Resources and Resource)", audience)
}

// BearerOrganization is Bearer for the permissions of an organization itself: tokens with
// the audience "urn:logto:organization:<id>" of the organization of the source, whose ID it
// leaves under OrganizationKey. It panics without a source. See
// https://docs.logto.io/authorization/organization-permissions.
func (a *Auth) BearerOrganization(source OrganizationSource, requirements ...TokenRequirement) gin.HandlerFunc {
	source.mustBeSet("BearerOrganization")
	return a.bearer(requirements, func(c *gin.Context, claims *AccessTokenClaims) error {
		id, err := source.of(c)
		if err != nil {
			return err
		}
		if id == "" || !slices.Contains(claims.Audience, organizationAudience+id) {
			return fault.InvalidTokenf("aud is not the organization %s", source.name)
		}
		if !setOrganization(c, id) {
			return fault.InvalidTokenf("it is for another organization than the rest of the request")
		}
		return nil
	})
}

// AccessTokenClaimsFrom returns the claims of the token that Bearer or BearerOrganization has let
// through. The context is one that ClaimsFrom takes. ok is false if the last guard was another
// one. All who ask in one request share the claims: do not change them.
func AccessTokenClaimsFrom(ctx context.Context) (claims *AccessTokenClaims, ok bool) {
	claims = identityOf(ctx).accessToken
	return claims, claims != nil
}

// bearerGuard is what a guard requires of tokens.
type bearerGuard struct {
	requirements  []*requirement
	isWithin      bool // tokens within an organization are welcome
	checkAudience func(*gin.Context, *AccessTokenClaims) error
}

func (a *Auth) bearer(requirements []TokenRequirement, checkAudience func(*gin.Context, *AccessTokenClaims) error) gin.HandlerFunc {
	guard := bearerGuard{requirements: detailsOf(requirements), checkAudience: checkAudience}
	for _, one := range guard.requirements {
		mustBeToldByToken(one)
		guard.isWithin = guard.isWithin || one.isWithin
	}
	return func(c *gin.Context) {
		p := a.enter(c, "Authorization", true)
		defer p.leave(c)
		p.exchange.IsByToken = true
		claims, err := a.bearerToken(c.Request)
		a.endIfLate(c, p)
		subject := ""
		if err == nil {
			subject = claims.Subject
			err = a.checkToken(c, claims, guard)
			a.endIfLate(c, p)
		}
		if err != nil {
			p.deny(c)
			a.refuseBearer(c, subject, err)
			return
		}
		p.admit(c, identity{accessToken: claims})
	}
}

// mustBeToldByToken panics if an access token cannot tell whether a requirement is met.
func mustBeToldByToken(r *requirement) {
	if r.byToken == nil {
		panic("logtogin: an access token cannot tell " + r.name)
	}
	for _, choice := range r.choices {
		mustBeToldByToken(choice)
	}
}

// checkToken returns why a verified token does not get in.
func (a *Auth) checkToken(c *gin.Context, claims *AccessTokenClaims, guard bearerGuard) error {
	if err := guard.checkAudience(c, claims); err != nil {
		return err
	}
	switch {
	case claims.OrganizationID != "" && !guard.isWithin:
		return fault.InvalidTokenf("it is for the API within an organization, which this guard does not ask for; the requirement InOrganization does")
	case a.revocations.RefusesToken(claims.Subject, claims.IssuedAt):
		return fault.InvalidTokenf("its user has been revoked since it was issued")
	}
	for i, one := range guard.requirements {
		switch isMet, err := one.byToken(c, claims); {
		case err != nil:
			return err
		case !isMet:
			return &RequirementError{Requirement: one.name, scope: missingScopes(c, claims, guard.requirements[i:])}
		}
	}
	return nil
}

// missingScopes are the permissions of all requirements that are not met, for a client that is going
// to ask for another token.
func missingScopes(c *gin.Context, claims *AccessTokenClaims, requirements []*requirement) string {
	var missing []string
	for _, one := range requirements {
		if len(one.permissions) == 0 {
			continue
		}
		if isMet, _ := one.byToken(c, claims); isMet {
			continue
		}
		missing = appendNew(missing, one.permissions...)
	}
	return strings.Join(missing, " ")
}

// bearerToken returns the verified claims of the request's token, for this request alone.
func (a *Auth) bearerToken(r *http.Request) (*AccessTokenClaims, error) {
	token, err := tokenOf(r.Header)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	found, isKnown, err := a.provider.VerifyAccessToken(ctx, token)
	if err != nil {
		return nil, err
	}
	a.revocations.KeepUp(ctx) // for a token of Logto's only: nobody else's is revoked
	if isKnown {
		a.settings.emit(ctx, Event{Kind: EventCacheHit, Call: "bearer_token", Subject: found.Subject})
	}
	return newAccessTokenClaims(*found).own(), nil
}

// tokenOf reads the header Authorization (RFC 6750, section 2.1). Tokens in forms or
// queries are not looked at (RFC 9700, section 4.3.2).
func tokenOf(header http.Header) (string, error) {
	lines := header["Authorization"]
	if len(lines) == 0 {
		return "", errNoToken
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case len(lines) > 1 || len(lines[0]) > maxAuthorization:
		return "", fmt.Errorf("%w: the header Authorization occurs more than once or is too long", errBearerRequest)
	case !strings.EqualFold(scheme, "Bearer"):
		return "", errNoToken
	case !logto.IsBearerToken(token):
		return "", fmt.Errorf("%w: the header Authorization has no token of the form that is allowed", errBearerRequest)
	case strings.Count(token, ".") != 2:
		return "", fault.InvalidTokenf("it is no JWT; an opaque token of Logto's comes from a token request without a resource; the client has to ask for one for the API (Config.Resources and Resource)")
	}
	return token, nil
}

var (
	// errNoToken is an ErrNotSignedIn: the request has no token.
	errNoToken = fmt.Errorf("%w: no bearer token", ErrNotSignedIn)
	// errBearerRequest is an ErrInvalidToken of a request that is malformed.
	errBearerRequest = fmt.Errorf("%w: malformed request", ErrInvalidToken)
)

// challenges are by the status (RFC 6750, section 3.1).
var challenges = map[int]string{
	http.StatusBadRequest:   `Bearer error="invalid_request"`,
	http.StatusUnauthorized: `Bearer error="invalid_token"`,
	http.StatusForbidden:    `Bearer error="insufficient_scope"`,
}

func (a *Auth) refuseBearer(c *gin.Context, subject string, err error) {
	err = &errorAbout{err, subject, http.StatusUnauthorized}
	challenge := challenges[StatusCode(err)]
	if errors.Is(err, errNoToken) {
		challenge = "Bearer"
	}
	if unmet, ok := errors.AsType[*RequirementError](err); ok && unmet.scope != "" {
		challenge += fmt.Sprintf(`, scope="%s"`, unmet.scope)
	}
	if challenge != "" && !c.Writer.Written() {
		c.Header("WWW-Authenticate", challenge)
	}
	a.answerError(c, err, answering{})
}

// SessionOrBearer is a guard for clients of two kinds: requests with a header Authorization of the
// scheme Bearer go through the guard for bearer tokens, all others through the one for sessions.
//
//	router.GET("/orders", auth.SessionOrBearer(auth.Guard(), auth.Bearer(api)), orders)
//
// It panics if one of them is nil.
func (a *Auth) SessionOrBearer(session, bearer gin.HandlerFunc) gin.HandlerFunc {
	if session == nil || bearer == nil {
		panic("logtogin: SessionOrBearer needs two guards")
	}
	return func(c *gin.Context) {
		response.VaryBy(c.Writer.Header(), "Authorization")
		c.Set(bearerWelcome{}, true)
		for _, line := range c.Request.Header["Authorization"] {
			// Of another scheme is what a proxy in front asks for.
			if scheme, _, _ := strings.Cut(line, " "); strings.EqualFold(scheme, "Bearer") {
				bearer(c)
				return
			}
		}
		session(c)
	}
}

// bearerWelcome is the key under which a request knows that a token would do in the place of
// a session.
type bearerWelcome struct{}
