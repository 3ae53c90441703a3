package logtogin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// What guards ask for beyond a session or a token.

// Requirement is a ClaimsRequirement, a TokenRequirement, or both.
type Requirement interface{ describe() string }

// TokenRequirement is what Bearer and BearerOrganization can require of an access token.
type TokenRequirement interface {
	Requirement
	metByToken(c *gin.Context, claims *AccessTokenClaims) bool
}

// Scope requires permissions, all of them (RFC 6749, section 3.3).
func Scope(permissions ...string) TokenRequirement {
	if len(permissions) == 0 || slices.Contains(permissions, "") {
		panic("logtogin: Scope needs the names of permissions")
	}
	return scopeRequirement(slices.Clone(permissions))
}

type scopeRequirement []string

func (r scopeRequirement) describe() string { return "scope " + strings.Join(r, " ") }

func (r scopeRequirement) metByToken(_ *gin.Context, claims *AccessTokenClaims) bool {
	for _, permission := range r {
		if !slices.Contains(claims.Scopes, permission) {
			return false
		}
	}
	return true
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

func (r machineRequirement) metByToken(_ *gin.Context, claims *AccessTokenClaims) bool {
	return claims.IsMachine() == bool(r)
}

// MatchToken requires what a function of the application says. The function must be safe
// for concurrent use.
func MatchToken(name string, match func(c *gin.Context, claims *AccessTokenClaims) bool) TokenRequirement {
	if match == nil {
		panic("logtogin: MatchToken needs a function")
	}
	return tokenFunction{name, match}
}

type tokenFunction struct {
	name  string
	match func(*gin.Context, *AccessTokenClaims) bool
}

func (r tokenFunction) describe() string { return r.name }

func (r tokenFunction) metByToken(c *gin.Context, claims *AccessTokenClaims) bool {
	return r.match(c, claims)
}

// InOrganization requires the organization of the source. Of a token it is the
// claim "organization_id" of a token for an API resource within an organization; a guard
// that has no such requirement refuses these tokens, because a right within one
// organization is no right over the whole API.
func InOrganization(source OrganizationSource) TokenRequirement {
	source.mustBeSet("InOrganization")
	return organizationRequirement{source}
}

type organizationRequirement struct{ source OrganizationSource }

func (r organizationRequirement) describe() string { return "organization " + r.source.name }

func (r organizationRequirement) metByToken(c *gin.Context, claims *AccessTokenClaims) bool {
	id := r.source.of(c)
	if id == "" || claims.OrganizationID != id {
		return false
	}
	c.Set(OrganizationKey, id)
	return true
}

// AnyOf requires one of several requirements. They must fit the guard, which panics
// otherwise when it is made.
func AnyOf(first Requirement, others ...Requirement) interface {
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

func (r anyRequirement) metByToken(c *gin.Context, claims *AccessTokenClaims) bool {
	return slices.ContainsFunc(r, func(one Requirement) bool {
		return one.(TokenRequirement).metByToken(c, claims)
	})
}

// OrganizationKey is the key under which a guard leaves the ID of the organization that
// matched in the gin.Context.
const OrganizationKey = "logto.organization"

// OrganizationSource is where a guard takes the ID of the organization from that a request
// is about: OrganizationID for a constant, or the request.
type OrganizationSource struct {
	name string
	of   func(*gin.Context) string
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
	return OrganizationSource{fmt.Sprintf("%q", id), func(*gin.Context) string { return id }}
}

// FromParam is the organization in a parameter of the route's path, as in
// "/organizations/:id".
func FromParam(name string) OrganizationSource {
	return OrganizationSource{"in the path parameter " + name, func(c *gin.Context) string { return c.Param(name) }}
}

// FromQuery is the organization in a query parameter.
func FromQuery(name string) OrganizationSource {
	return OrganizationSource{"in the query parameter " + name, func(c *gin.Context) string { return c.Query(name) }}
}

// FromHeader is the organization in a header of the request.
func FromHeader(name string) OrganizationSource {
	return OrganizationSource{"in the header " + name, func(c *gin.Context) string { return c.GetHeader(name) }}
}

// FromRequest is the organization that a function of the application finds; "" is none,
// and matches nothing.
func FromRequest(find func(*gin.Context) string) OrganizationSource {
	return OrganizationSource{"of the request", find}
}
