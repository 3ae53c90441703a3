package logtogin

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/logto"
)

// What guards ask for beyond a session or a token.

// Requirement is a ClaimsRequirement, a TokenRequirement, or both.
type Requirement interface{ details() *requirement }

// TokenRequirement is what Bearer and BearerOrganization can require of an access token.
type TokenRequirement interface {
	Requirement
	forTokens()
}

// ClaimsRequirement is what Guard can require of the user of a session.
type ClaimsRequirement interface {
	Requirement
	forSessions()
}

// requirement is a Requirement of any kind.
type requirement struct {
	name string // in logs and errors

	// byToken and byClaims report whether it is met. They are nil if an access token, or a session, cannot tell.
	byToken  func(c *gin.Context, claims *AccessTokenClaims) (isMet bool, err error)
	byClaims func(s *subject) (isMet bool, err error)

	permissions []string       // of Scope
	isWithin    bool           // it asks for the organization of a token
	scope       string         // that byClaims needs in Config.Scopes
	age         time.Duration  // of MaxAge
	choices     []*requirement // of AnyOf
}

func (r *requirement) details() *requirement { return r }
func (*requirement) forTokens()              {}
func (*requirement) forSessions()            {}

func detailsOf[R Requirement](requirements []R) []*requirement {
	details := make([]*requirement, len(requirements))
	for i, one := range requirements {
		if Requirement(one) == nil {
			panic("logtogin: a requirement is nil")
		}
		details[i] = one.details()
	}
	return details
}

// Scope requires permissions, all of them (RFC 6749, section 3.3). It panics without a name, and
// for one with characters that a scope cannot have.
func Scope(permissions ...string) TokenRequirement {
	if len(permissions) == 0 {
		panic("logtogin: Scope needs the names of permissions")
	}
	for _, name := range permissions {
		if !logto.IsScope(name) {
			panic(fmt.Sprintf("logtogin: Scope cannot require %q: RFC 6749, section 3.3, allows printable ASCII without space, quotation mark and backslash; give each permission as an argument of its own", name))
		}
	}
	permissions = slices.Clone(permissions)
	return &requirement{
		name:        "scope " + strings.Join(permissions, " "),
		permissions: permissions,
		byToken: func(_ *gin.Context, claims *AccessTokenClaims) (bool, error) {
			for _, permission := range permissions {
				if !slices.Contains(claims.Scopes, permission) {
					return false, nil
				}
			}
			return true, nil
		},
	}
}

// MachineOnly requires a token that an application got for itself by client credentials:
// its "sub" is its "client_id".
func MachineOnly() TokenRequirement {
	return MatchToken("a token of an application", func(_ *gin.Context, claims *AccessTokenClaims) bool { return claims.IsMachine() })
}

// UserOnly requires a token of a user.
func UserOnly() TokenRequirement {
	return MatchToken("a token of a user", func(_ *gin.Context, claims *AccessTokenClaims) bool { return !claims.IsMachine() })
}

// MatchToken requires what a function of the application says. The name says what that is,
// in logs and errors. The function must be safe for concurrent use.
func MatchToken(name string, match func(c *gin.Context, claims *AccessTokenClaims) bool) TokenRequirement {
	if name == "" || match == nil {
		panic("logtogin: MatchToken needs a name and a function")
	}
	return &requirement{name: name, byToken: func(c *gin.Context, claims *AccessTokenClaims) (bool, error) { return match(c, claims), nil }}
}

// InOrganization requires the organization of the source, and leaves its ID under
// OrganizationKey. It panics without a source.
//
// Of a session it is that the user is a member, by the claim "organizations"; Config.Scopes
// must have "urn:logto:scope:organizations". Logto's rule that members must use multi-factor
// authentication is enforced by OrganizationAccess only.
//
// Of a token it is the claim "organization_id" of a token for an API resource within an
// organization (https://docs.logto.io/authorization/organization-level-api-resources); a guard
// without this requirement refuses these tokens. Logto gives the permissions of all organization roles
// of the user to a token that names no organization. So a permission that organization roles give
// should protect no route without this requirement.
func InOrganization(source OrganizationSource) interface {
	ClaimsRequirement
	TokenRequirement
} {
	source.mustBeSet("InOrganization")
	return &requirement{
		name:     "organization " + source.name,
		isWithin: true,
		scope:    scopeOrganizations,
		byToken: func(c *gin.Context, claims *AccessTokenClaims) (bool, error) {
			return source.take(c, func(id string) (bool, error) { return claims.OrganizationID == id, nil })
		},
		byClaims: func(s *subject) (bool, error) {
			return source.take(s.c, func(id string) (bool, error) { return s.has("organizations", id) })
		},
	}
}

// AnyOf requires one of several requirements. They must fit the guard, which panics
// otherwise when it is made.
func AnyOf(first Requirement, others ...Requirement) interface {
	ClaimsRequirement
	TokenRequirement
} {
	r := &requirement{}
	var names []string
	for _, choice := range detailsOf(append([]Requirement{first}, others...)) {
		names = append(names, choice.name)
		r.choices = append(r.choices, choice)
		r.permissions = append(r.permissions, choice.permissions...)
		r.isWithin = r.isWithin || choice.isWithin
	}
	r.name = strings.Join(names, " or ")
	r.byToken = func(c *gin.Context, claims *AccessTokenClaims) (bool, error) {
		return r.isAnyMet(func(choice *requirement) (bool, error) {
			// A token within an organization counts only for a choice that asks for the organization: the same scope
			// over the whole API is another right.
			if claims.OrganizationID != "" && !choice.isWithin {
				return false, nil
			}
			return choice.byToken(c, claims)
		})
	}
	r.byClaims = func(s *subject) (bool, error) {
		return r.isAnyMet(func(choice *requirement) (bool, error) { return choice.byClaims(s) })
	}
	return r
}

// isAnyMet does not let a failure of one choice stand in the way of another. Of
// failures, one that leaves open what is so counts for more than a refusal.
func (r *requirement) isAnyMet(isMet func(*requirement) (bool, error)) (bool, error) {
	var failure error
	for _, choice := range r.choices {
		met, err := isMet(choice)
		if met {
			return true, nil
		}
		if failure == nil || errors.Is(failure, ErrInsufficientRights) {
			failure = cmp.Or(err, failure)
		}
	}
	return false, failure
}

// Role requires a role of the user, by its name (https://docs.logto.io/authorization).
// Config.Scopes must have "roles". It panics without a name.
func Role(name string) ClaimsRequirement {
	if name == "" {
		panic("logtogin: Role needs the name of a role")
	}
	return &requirement{
		name:     fmt.Sprintf("role %q", name),
		scope:    "roles",
		byClaims: func(s *subject) (bool, error) { return s.has("roles", name) },
	}
}

// OrganizationRole requires a role of the user within the organization of the source, by
// its name, and leaves the ID of the organization under OrganizationKey. Config.Scopes must
// have "urn:logto:scope:organization_roles". It panics without a source or a name. See
// https://docs.logto.io/authorization/organization-permissions.
func OrganizationRole(source OrganizationSource, name string) ClaimsRequirement {
	source.mustBeSet("OrganizationRole")
	if name == "" {
		panic("logtogin: OrganizationRole needs the name of a role")
	}
	return &requirement{
		name:  fmt.Sprintf("role %q in the organization %s", name, source.name),
		scope: scopeOrganizationRoles,
		byClaims: func(s *subject) (bool, error) {
			return source.take(s.c, func(id string) (bool, error) {
				// The claim has "<organization id>:<role>". The name of a role may have a colon; in an ID, it would make
				// another organization's role of this.
				if strings.Contains(id, ":") {
					return false, nil
				}
				return s.has("organization_roles", id+":"+name)
			})
		},
	}
}

// OrganizationAccess requires that Logto gives the user a token for the organization of the
// source, which is how Logto enforces that members use multi-factor authentication. It costs
// one call for each organization in the life of a token, and one in five seconds for an
// organization that Logto refuses; after 16 of these a session gets no other token in that
// time. Config.Scopes must have "urn:logto:scope:organizations". It panics without a source.
func OrganizationAccess(source OrganizationSource) ClaimsRequirement {
	source.mustBeSet("OrganizationAccess")
	name := "access to the organization " + source.name
	return &requirement{
		name:  name,
		scope: scopeOrganizations,
		byClaims: func(s *subject) (bool, error) {
			return source.take(s.c, func(id string) (bool, error) { return s.hasAccess(id, name) })
		},
	}
}

// hasAccess reports whether Logto gives the user a token for an organization. Its refusal is a RequirementError about
// the requirement of this name.
func (s *subject) hasAccess(id, requirement string) (bool, error) {
	if len(id) > maxOrganizationID {
		return false, nil
	}
	token, err := s.auth.AccessToken(s.c, Organization(id))
	if refused, ok := errors.AsType[*ProviderError](err); ok && !refused.refusal().IsOfOperator() {
		return false, &RequirementError{Requirement: requirement, reason: refused}
	}
	// Logto ignores an organization where it does not expect one.
	return err == nil && token.Claims != nil && slices.Contains(token.Claims.Audience, organizationAudience+id), err
}

// MatchClaims requires what a function of the application says about the claims of the ID
// token. The name says what that is, in logs and errors. The function must be safe for
// concurrent use.
func MatchClaims(name string, match func(c *gin.Context, claims *Claims) bool) ClaimsRequirement {
	if name == "" || match == nil {
		panic("logtogin: MatchClaims needs a name and a function")
	}
	return &requirement{name: name, byClaims: func(s *subject) (bool, error) { return match(s.c, s.claims), nil }}
}

// MaxAge requires that the user has authenticated within this time, and Config.ClockSkew
// more, for what is more dangerous than the rest. A page navigation of a user who has not is
// sent through a sign-in with max_age (OpenID Connect Core, section 3.1.2.1), in which Logto
// asks for the password again; anything else is answered 401 with
// error="insufficient_user_authentication" (RFC 9470), so guard the page with the form as
// well as the route that it is sent to.
//
// Logto tells when the user authenticated only if a sign-in asks for it. A session that began
// without never satisfies MaxAge, however new it is; SignInOptions.MaxAge in
// Config.SignInDefaults, of a day for example, has every sign-in ask. MaxAge panics if the
// time is not of full seconds.
func MaxAge(age time.Duration) ClaimsRequirement {
	if age < time.Second || age%time.Second != 0 {
		panic("logtogin: MaxAge needs a time of full seconds")
	}
	return &requirement{
		name: fmt.Sprintf("an authentication within %v", age),
		age:  age,
		byClaims: func(s *subject) (bool, error) {
			at, now, skew := s.session.AuthTime, s.auth.settings.Now(), s.auth.settings.ClockSkew
			if at.Unix() > 0 && !now.After(at.Add(age+skew)) {
				return true, nil
			}
			return false, &ageError{age}
		},
	}
}

// ageError is the ErrInsufficientAuthentication of a guard with MaxAge.
type ageError struct{ age time.Duration }

func (e *ageError) Error() string        { return ErrInsufficientAuthentication.Error() }
func (e *ageError) Is(target error) bool { return target == ErrInsufficientAuthentication }

// OrganizationKey is the key under which a guard leaves the ID of the organization that
// matched in the gin.Context.
const OrganizationKey = "logto.organization"

// OrganizationSource is where a guard takes the ID of the organization from that a request
// is about: OrganizationID for a constant, or the request. The zero value is none, with which
// guards and requirements panic.
type OrganizationSource struct {
	name string
	of   func(*gin.Context) (id string, err error)
}

func (s OrganizationSource) mustBeSet(what string) {
	if s.of == nil {
		panic("logtogin: " + what + " needs an OrganizationSource, for example OrganizationID or FromParam")
	}
}

// take leaves the ID of the organization of a request under OrganizationKey, if it is the right one and the request has no
// other one there already, and reports whether it has.
func (s OrganizationSource) take(c *gin.Context, isRight func(id string) (bool, error)) (bool, error) {
	id, err := s.of(c)
	if err != nil || id == "" {
		return false, err
	}
	if ok, err := isRight(id); err != nil || !ok {
		return false, err
	}
	return setOrganization(c, id), nil
}

// setOrganization leaves the organization of a request under OrganizationKey, unless the request has another one already:
// what one requirement says about one organization and another about another is no right over either.
func setOrganization(c *gin.Context, id string) bool {
	if other := c.GetString(OrganizationKey); other != "" && other != id {
		return false
	}
	c.Set(OrganizationKey, id)
	return true
}

// OrganizationID is always the same organization.
func OrganizationID(id string) OrganizationSource {
	if id == "" {
		panic("logtogin: OrganizationID is empty")
	}
	return OrganizationSource{fmt.Sprintf("%q", id), func(*gin.Context) (string, error) { return id, nil }}
}

// FromParam is the organization in a parameter of the route's path, as in
// "/organizations/:id". A route that has no such parameter is a mistake, and answered 500.
func FromParam(name string) OrganizationSource {
	return OrganizationSource{"in the path parameter " + name, func(c *gin.Context) (string, error) {
		id, ok := c.Params.Get(name)
		if !ok {
			return "", fmt.Errorf("logtogin: the route %s has no parameter %q, as its guard expects", c.FullPath(), name)
		}
		return id, nil
	}}
}

// FromQuery is the organization in a query parameter.
func FromQuery(name string) OrganizationSource {
	return OrganizationSource{"in the query parameter " + name, func(c *gin.Context) (string, error) { return c.Query(name), nil }}
}

// FromHeader is the organization in a header of the request.
func FromHeader(name string) OrganizationSource {
	return OrganizationSource{"in the header " + name, func(c *gin.Context) (string, error) { return c.GetHeader(name), nil }}
}

// FromRequest is the organization that a function of the application finds; "" is none,
// and matches nothing.
func FromRequest(find func(*gin.Context) string) OrganizationSource {
	if find == nil {
		panic("logtogin: FromRequest needs a function")
	}
	return OrganizationSource{"of the request", func(c *gin.Context) (string, error) { return find(c), nil }}
}
