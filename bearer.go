package logtogin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/recent"
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
	guard := newBearerGuard(requirements)
	return a.bearer(guard, func(_ *gin.Context, claims *AccessTokenClaims) error {
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
	guard := newBearerGuard(requirements)
	return a.bearer(guard, func(c *gin.Context, claims *AccessTokenClaims) error {
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
	requirements []TokenRequirement
	// isWithin says that tokens within an organization are welcome.
	isWithin bool
}

func newBearerGuard(requirements []TokenRequirement) *bearerGuard {
	guard := &bearerGuard{requirements: slices.Clone(requirements)}
	for _, one := range requirements {
		mustBeToldByToken(one)
		guard.isWithin = guard.isWithin || asksForOrganization(one)
	}
	return guard
}

// mustBeToldByToken panics if an access token cannot tell whether a requirement is met.
func mustBeToldByToken(one Requirement) {
	if _, ok := one.(TokenRequirement); !ok {
		panic(fmt.Sprintf("logtogin: an access token cannot tell %s", one.describe()))
	}
	if members, ok := one.(anyRequirement); ok {
		for _, member := range members {
			mustBeToldByToken(member)
		}
	}
}

// scopesOf are the permissions that a requirement asks for.
func scopesOf(one Requirement) (scopes []string) {
	switch r := one.(type) {
	case scopeRequirement:
		return r
	case anyRequirement:
		for _, member := range r {
			scopes = append(scopes, scopesOf(member)...)
		}
	}
	return scopes
}

func (a *Auth) bearer(guard *bearerGuard, checkAudience func(*gin.Context, *AccessTokenClaims) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		p := a.enter(c, "Authorization", true)
		defer p.leave(c)
		p.exchange.isByToken = true
		claims, err := a.bearerToken(c.Request)
		a.endIfLate(c, p)
		if err == nil {
			err = checkAudience(c, claims)
		}
		if err == nil && claims.OrganizationID != "" && !guard.isWithin {
			err = fault.InvalidTokenf("it is for the API within an organization, which this guard does not ask for; the requirement InOrganization does")
		}
		if err == nil && a.revocations.refuses(claims) {
			err = fault.InvalidTokenf("its user has been revoked since it was issued")
		}
		if err == nil {
			err = guard.check(c, claims)
			a.endIfLate(c, p)
		}
		if err != nil {
			subject := ""
			if claims != nil {
				subject = claims.Subject
			}
			p.deny(c)
			a.refuseBearer(c, subject, err)
			return
		}
		p.admit(c, identity{accessToken: claims})
	}
}

func (g *bearerGuard) check(c *gin.Context, claims *AccessTokenClaims) error {
	for i, one := range g.requirements {
		switch isMet, err := one.metByToken(c, claims); {
		case err != nil:
			return err
		case !isMet:
			return &RequirementError{Requirement: one.describe(), scope: missingScopes(c, claims, g.requirements[i:])}
		}
	}
	return nil
}

// missingScopes are the permissions of all requirements that are not met, for a client that is going
// to ask for another token.
func missingScopes(c *gin.Context, claims *AccessTokenClaims, requirements []TokenRequirement) string {
	var missing []string
	for _, one := range requirements {
		scopes := scopesOf(one)
		if len(scopes) == 0 {
			continue
		}
		if isMet, _ := one.metByToken(c, claims); isMet {
			continue
		}
		for _, scope := range scopes {
			if !slices.Contains(missing, scope) {
				missing = append(missing, scope)
			}
		}
	}
	return strings.Join(missing, " ")
}

// maxVerified bounds the tokens in memory, of about 2 KiB each. That so few do is
// because those that come often are kept.
const maxVerified = 8192

// verifiedToken is what was verified of a token: signature, issuer and times. It is not
// what a guard made of it.
type verifiedToken struct {
	claims  *AccessTokenClaims // to be copied before anybody gets it
	expires time.Time
	// withdrawals is how often keys had been withdrawn before the one was fetched by which
	// it was verified.
	withdrawals uint64
}

// bearerToken returns the verified claims of the request's token, for this request alone.
func (a *Auth) bearerToken(r *http.Request) (*AccessTokenClaims, error) {
	token, err := tokenOf(r.Header)
	if err != nil {
		return nil, err
	}
	ctx, now := r.Context(), a.settings.Now()
	withdrawals, err := a.provider.KeyWithdrawals(ctx)
	if err != nil {
		return nil, err
	}
	a.revocations.keepUp(ctx)
	digest := recent.DigestOf(token)
	if known, ok := a.verified.Get(digest); ok {
		if known.withdrawals == withdrawals && now.Before(known.expires) {
			a.settings.emit(ctx, Event{Kind: EventCacheHit, Call: "bearer_token", Subject: known.claims.Subject})
			return known.claims.own(), nil
		}
		a.verified.Delete(digest)
	}
	found, err := a.provider.VerifyAccessToken(ctx, token)
	if err != nil {
		return nil, err
	}
	verified := &verifiedToken{newAccessTokenClaims(found.AccessToken), found.AcceptedUntil, found.KeyWithdrawals}
	a.verified.Put(digest, verified)
	return verified.claims.own(), nil
}

// tokenOf reads the header Authorization (RFC 6750, section 2.1). Tokens in forms or
// queries are not looked at (RFC 9700, section 4.3.2).
func tokenOf(header http.Header) (string, error) {
	lines := header["Authorization"]
	if len(lines) == 0 {
		return "", errNoToken
	}
	if len(lines) > 1 || len(lines[0]) > maxAuthorization {
		return "", fmt.Errorf("%w: the header Authorization occurs more than once or is too long", errBearerRequest)
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	token = strings.TrimLeft(token, " ")
	if !isToken(token) {
		return "", fmt.Errorf("%w: the header Authorization has no token of the form that is allowed", errBearerRequest)
	}
	if strings.Count(token, ".") != 2 {
		return "", fault.InvalidTokenf("it is no JWT; an opaque token of Logto's comes from a token request without a resource; the client has to ask for one for the API (Config.Resources and Resource)")
	}
	return token, nil
}

// tokenCharacters are those of b64token in RFC 6750, section 2.1.
var tokenCharacters = func() (is [256]bool) {
	for _, b := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=") {
		is[b] = true
	}
	return is
}()

func isToken(text string) bool {
	for i := range len(text) {
		if !tokenCharacters[text[i]] {
			return false
		}
	}
	return text != ""
}

var (
	// errNoToken is an ErrNotSignedIn: the request has no token.
	errNoToken = fmt.Errorf("%w: no bearer token", ErrNotSignedIn)
	// errBearerRequest is an ErrInvalidToken of a request that is malformed.
	errBearerRequest = fmt.Errorf("%w: malformed request", ErrInvalidToken)
)

// bearerError is how RFC 6750 answers an error.
type bearerError struct {
	err     error
	status  int
	subject string // of the token, if that is verified
}

func (e *bearerError) Error() string { return e.err.Error() }
func (e *bearerError) Unwrap() error { return e.err }

func (a *Auth) refuseBearer(c *gin.Context, subject string, err error) {
	challenge, status := "Bearer", http.StatusUnauthorized
	var unmet *RequirementError
	switch {
	case errors.Is(err, errNoToken):
	case errors.Is(err, errBearerRequest):
		challenge, status = `Bearer error="invalid_request"`, http.StatusBadRequest
	case errors.Is(err, ErrInvalidToken):
		challenge = `Bearer error="invalid_token"`
	case errors.Is(err, ErrInsufficientRights):
		challenge, status = `Bearer error="insufficient_scope"`, http.StatusForbidden
		if errors.As(err, &unmet) && unmet.scope != "" {
			challenge += fmt.Sprintf(`, scope="%s"`, unmet.scope)
		}
	default:
		challenge, status = "", StatusCode(err)
	}
	if challenge != "" && !c.Writer.Written() {
		c.Header("WWW-Authenticate", challenge)
	}
	a.answerError(c, &bearerError{err, status, subject}, answering{})
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
