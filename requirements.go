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
type Requirement interface{ describe() string }

// TokenRequirement is what Bearer and BearerOrganization can require of an access token.
type TokenRequirement interface {
	Requirement
	metByToken(c *gin.Context, claims *AccessTokenClaims) (bool, error)
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
	return scopeRequirement(slices.Clone(permissions))
}

type scopeRequirement []string

func (r scopeRequirement) describe() string { return "scope " + strings.Join(r, " ") }

func (r scopeRequirement) metByToken(_ *gin.Context, claims *AccessTokenClaims) (bool, error) {
	for _, permission := range r {
		if !slices.Contains(claims.Scopes, permission) {
			return false, nil
		}
	}
	return true, nil
}

// MachineOnly requires a token that an application got for itself by client credentials:
// its "sub" is its "client_id".
func MachineOnly() TokenRequirement { return machineRequirement(true) }

// UserOnly requires a token of a user.
func UserOnly() TokenRequirement { return machineRequirement(false) }

type machineRequirement bool

func (r machineRequirement) describe() string {
	if r {
		return "a token of an application"
	}
	return "a token of a user"
}

func (r machineRequirement) metByToken(_ *gin.Context, claims *AccessTokenClaims) (bool, error) {
	return claims.IsMachine() == bool(r), nil
}

// MatchToken requires what a function of the application says. The name says what that is,
// in logs and errors. The function must be safe for concurrent use.
func MatchToken(name string, match func(c *gin.Context, claims *AccessTokenClaims) bool) TokenRequirement {
	if name == "" || match == nil {
		panic("logtogin: MatchToken needs a name and a function")
	}
	return tokenFunction{name, match}
}

type tokenFunction struct {
	name  string
	match func(*gin.Context, *AccessTokenClaims) bool
}

func (r tokenFunction) describe() string { return r.name }

func (r tokenFunction) metByToken(c *gin.Context, claims *AccessTokenClaims) (bool, error) {
	return r.match(c, claims), nil
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
	return organizationRequirement{source}
}

type organizationRequirement struct{ source OrganizationSource }

func (r organizationRequirement) describe() string { return "organization " + r.source.name }

func (r organizationRequirement) metByToken(c *gin.Context, claims *AccessTokenClaims) (bool, error) {
	id, err := r.source.of(c)
	if err != nil || id == "" || claims.OrganizationID != id {
		return false, err
	}
	return setOrganization(c, id), nil
}

func (r organizationRequirement) metByClaims(s *subject) (bool, error) {
	id, err := r.source.of(s.c)
	if id == "" {
		return false, err
	}
	organizations, err := s.claim("organizations")
	if err != nil || !slices.Contains(organizations, id) {
		return false, err
	}
	return setOrganization(s.c, id), nil
}

func (organizationRequirement) scope() string { return scopeOrganizations }

// setOrganization leaves the organization of a request under OrganizationKey, unless the request has another one already:
// what one requirement says about one organization and another about another is no right over either.
func setOrganization(c *gin.Context, id string) bool {
	if other := c.GetString(OrganizationKey); other != "" && other != id {
		return false
	}
	c.Set(OrganizationKey, id)
	return true
}

// AnyOf requires one of several requirements. They must fit the guard, which panics
// otherwise when it is made.
func AnyOf(first Requirement, others ...Requirement) interface {
	ClaimsRequirement
	TokenRequirement
} {
	return anyRequirement(append([]Requirement{first}, others...))
}

type anyRequirement []Requirement

func (r anyRequirement) describe() string {
	var texts []string
	for _, one := range r {
		texts = append(texts, one.describe())
	}
	return strings.Join(texts, " or ")
}

// metByToken lets a token within an organization count only for a requirement that asks for
// the organization: the same scope over the whole API is another right.
func (r anyRequirement) metByToken(c *gin.Context, claims *AccessTokenClaims) (bool, error) {
	return r.isAnyMet(func(one Requirement) (bool, error) {
		if claims.OrganizationID != "" && !asksForOrganization(one) {
			return false, nil
		}
		return one.(TokenRequirement).metByToken(c, claims)
	})
}

// isAnyMet does not let a failure of one requirement stand in the way of another. Of
// failures, one that leaves open what is so counts for more than a refusal.
func (r anyRequirement) isAnyMet(isMet func(Requirement) (bool, error)) (bool, error) {
	var failure error
	for _, one := range r {
		met, err := isMet(one)
		if met {
			return true, nil
		}
		if failure == nil || errors.Is(failure, ErrInsufficientRights) {
			failure = cmp.Or(err, failure)
		}
	}
	return false, failure
}

func asksForOrganization(one Requirement) bool {
	switch r := one.(type) {
	case organizationRequirement:
		return true
	case anyRequirement:
		return slices.ContainsFunc(r, asksForOrganization)
	}
	return false
}

func (r anyRequirement) metByClaims(s *subject) (bool, error) {
	return r.isAnyMet(func(one Requirement) (bool, error) { return one.(ClaimsRequirement).metByClaims(s) })
}

// ClaimsRequirement is what Guard can require of the user of a session.
type ClaimsRequirement interface {
	Requirement
	metByClaims(s *subject) (bool, error)
}

// Role requires a role of the user, by its name (https://docs.logto.io/authorization).
// Config.Scopes must have "roles". It panics without a name.
func Role(name string) ClaimsRequirement {
	if name == "" {
		panic("logtogin: Role needs the name of a role")
	}
	return roleRequirement(name)
}

type roleRequirement string

func (r roleRequirement) describe() string { return fmt.Sprintf("role %q", string(r)) }
func (roleRequirement) scope() string      { return "roles" }

func (r roleRequirement) metByClaims(s *subject) (bool, error) {
	roles, err := s.claim("roles")
	return slices.Contains(roles, string(r)), err
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
	return organizationRoleRequirement{source, name}
}

type organizationRoleRequirement struct {
	source OrganizationSource
	name   string
}

func (r organizationRoleRequirement) describe() string {
	return fmt.Sprintf("role %q in the organization %s", r.name, r.source.name)
}

func (organizationRoleRequirement) scope() string { return scopeOrganizationRoles }

// metByClaims compares the whole of "<organization id>:<role>". The name of a role may have
// a colon; in an ID, it would make another organization's role of this.
func (r organizationRoleRequirement) metByClaims(s *subject) (bool, error) {
	id, err := r.source.of(s.c)
	if id == "" || strings.Contains(id, ":") {
		return false, err
	}
	roles, err := s.claim("organization_roles")
	if err != nil || !slices.Contains(roles, id+":"+r.name) {
		return false, err
	}
	return setOrganization(s.c, id), nil
}

// OrganizationAccess requires that Logto gives the user a token for the organization of the
// source, which is how Logto enforces that members use multi-factor authentication. It costs
// one call for each organization in the life of a token, and one in five seconds for an
// organization that Logto refuses; after 16 of these a session gets no other token in that
// time. Config.Scopes must have "urn:logto:scope:organizations". It panics without a source.
func OrganizationAccess(source OrganizationSource) ClaimsRequirement {
	source.mustBeSet("OrganizationAccess")
	return organizationAccessRequirement{source}
}

type organizationAccessRequirement struct{ source OrganizationSource }

func (r organizationAccessRequirement) describe() string {
	return "access to the organization " + r.source.name
}

func (organizationAccessRequirement) scope() string { return scopeOrganizations }

func (r organizationAccessRequirement) metByClaims(s *subject) (bool, error) {
	id, err := r.source.of(s.c)
	if id == "" || len(id) > maxOrganizationID {
		return false, err
	}
	token, err := s.auth.AccessToken(s.c, Organization(id))
	var refused *ProviderError
	if errors.As(err, &refused) && !refused.refusal().IsOfOperator() {
		return false, &RequirementError{Requirement: r.describe(), reason: refused}
	}
	if err != nil {
		return false, err
	}
	// Logto ignores an organization where it does not expect one.
	if token.Claims == nil || !slices.Contains(token.Claims.Audience, organizationAudience+id) {
		return false, nil
	}
	return setOrganization(s.c, id), nil
}

// MatchClaims requires what a function of the application says about the claims of the ID
// token. The name says what that is, in logs and errors. The function must be safe for
// concurrent use.
func MatchClaims(name string, match func(c *gin.Context, claims *Claims) bool) ClaimsRequirement {
	if name == "" || match == nil {
		panic("logtogin: MatchClaims needs a name and a function")
	}
	return claimsFunction{name, match}
}

type claimsFunction struct {
	name  string
	match func(*gin.Context, *Claims) bool
}

func (r claimsFunction) describe() string { return r.name }

func (r claimsFunction) metByClaims(s *subject) (bool, error) {
	return r.match(s.c, s.claims), nil
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
	return ageRequirement(age)
}

type ageRequirement time.Duration

func (r ageRequirement) describe() string {
	return fmt.Sprintf("an authentication within %v", time.Duration(r))
}

func (r ageRequirement) metByClaims(s *subject) (bool, error) {
	at := s.session.AuthTime
	if at.Unix() > 0 && !s.auth.settings.Now().After(at.Add(time.Duration(r)+s.auth.settings.ClockSkew)) {
		return true, nil
	}
	return false, &ageError{time.Duration(r)}
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
