package logtotest

import (
	"cmp"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"
)

// Who may do what: API resources with their permissions, roles that grant them,
// and the same within organizations.

// organizationsResource is known to every Logto: requested, it makes the
// permissions of organizations part of a sign-in.
const organizationsResource = "urn:logto:resource:organizations"

// Resource is an API resource.
type Resource struct {
	// Indicator is the "aud" of its access tokens; the trailing slash counts.
	Indicator string
	// Permissions are the scopes that the API knows.
	Permissions []string
	// AccessTokenLifetime is an hour by default.
	AccessTokenLifetime time.Duration
}

// Role is a global role, which users have by its name.
type Role struct {
	Name string
	// Permissions are those that it grants, by the indicator of the resource.
	Permissions map[string][]string
}

// Organization is an organization; who belongs to it, says User.Organizations.
type Organization struct {
	ID, Name, Description string // ID is made up if it is empty
	// RequiresMFA refuses organization tokens to members without User.HasMFA.
	RequiresMFA bool
}

// OrganizationRole is a role of the organization template: the same in every
// organization.
type OrganizationRole struct {
	Name string
	// Permissions are those of the organization itself.
	Permissions []string
	// ResourcePermissions are those on API resources within the organization, by
	// the indicator of the resource.
	ResourcePermissions map[string][]string
}

// AddResource adds an API resource, or replaces the one with the same
// indicator.
func (s *Server) AddResource(resource Resource) {
	resource.Permissions = slices.Clone(resource.Permissions)
	resource.AccessTokenLifetime = cmp.Or(resource.AccessTokenLifetime, accessTokenLifetime)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources[resource.Indicator] = resource
}

// AddRole adds a role, or replaces the one with the same name.
func (s *Server) AddRole(role Role) {
	role.Permissions = maps.Clone(role.Permissions)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[role.Name] = role
}

// AddOrganization adds an organization, or replaces the one with the same ID,
// and returns it with its ID.
func (s *Server) AddOrganization(organization Organization) Organization {
	organization.ID = cmp.Or(organization.ID, strings.ToLower(rand.Text()[:12]))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.organizations[organization.ID] = organization
	return organization
}

// AddOrganizationRole adds a role of the organization template, or replaces the
// one with the same name.
func (s *Server) AddOrganizationRole(role OrganizationRole) {
	role.Permissions = slices.Clone(role.Permissions)
	role.ResourcePermissions = maps.Clone(role.ResourcePermissions)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.organizationRoles[role.Name] = role
}

// holder is whoever has roles: a user or a machine-to-machine application.
type holder struct {
	roles         []string
	organizations map[string][]string
}

func (u User) holder() holder         { return holder{u.Roles, u.Organizations} }
func (a *Application) holder() holder { return holder{a.Roles, a.Organizations} }

// globally returns the permissions on a resource that the global roles grant.
// The lock is held.
func (s *Server) globally(h holder, resource string) (granted []string) {
	for _, name := range h.roles {
		granted = append(granted, s.roles[name].Permissions[resource]...)
	}
	return granted
}

// within returns the permissions that the roles in an organization grant: on the
// organization itself if resource is "", or else on the resource. The lock is
// held.
func (s *Server) within(h holder, organizationID, resource string) (granted []string) {
	for _, name := range h.organizations[organizationID] {
		role := s.organizationRoles[name]
		if resource == "" {
			granted = append(granted, role.Permissions...)
		} else {
			granted = append(granted, role.ResourcePermissions[resource]...)
		}
	}
	return granted
}

// grantable returns which of the requested scopes can be granted at the
// authorization request, by the resources in it: this is the upper bound of what
// later tokens have.
func (s *Server) grantable(h holder, resources, requested []string) (scopes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var allowed []string
	for _, resource := range resources {
		if resource == organizationsResource {
			for id := range h.organizations {
				allowed = append(allowed, s.within(h, id, "")...)
			}
			continue
		}
		allowed = append(allowed, s.globally(h, resource)...)
		for id := range h.organizations {
			allowed = append(allowed, s.within(h, id, resource)...)
		}
	}
	for _, scope := range requested {
		if slices.Contains(supportedScopes, scope) || slices.Contains(allowed, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// permitted returns which of the scopes a token for this audience has now.
func (s *Server) permitted(h holder, audience audience, scopes []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var allowed []string
	if audience.organizationID == "" {
		allowed = s.globally(h, audience.resource)
	} else {
		allowed = s.within(h, audience.organizationID, audience.resource)
	}
	return slices.DeleteFunc(slices.Clone(scopes), func(scope string) bool { return !slices.Contains(allowed, scope) })
}

// audience is what an access token is for. Both empty mean Logto itself.
type audience struct{ resource, organizationID string }

func (a audience) isLogto() bool { return a == audience{} }

// claim is the "aud" of a token.
func (a audience) claim() string {
	if a.resource != "" {
		return a.resource
	}
	return "urn:logto:organization:" + a.organizationID
}

func (s *Server) resource(indicator string) (Resource, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.resources[indicator]
	return found, ok
}

func (s *Server) organization(id string) (Organization, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.organizations[id]
	return found, ok
}
