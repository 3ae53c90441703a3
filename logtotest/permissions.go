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

// Role is a global role, which users and machines have by its name. Logto has roles of two types, for
// users and for machines; here a role has no type.
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
	// ResourcePermissions are the permissions for API resources, by the indicator of the resource. As at Logto,
	// an access token of a user that names no organization has them for all organizations of the user.
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

// holder has roles: a user or a machine-to-machine application.
type holder struct {
	roles         []string
	organizations map[string][]string
	isMachine     bool
}

func (u User) holder() holder         { return holder{u.Roles, u.Organizations, false} }
func (a *Application) holder() holder { return holder{a.Roles, a.Organizations, true} }

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

// on returns the permissions on a resource that a holder has: a user by global roles and by the roles in
// the organization, or in all organizations without one; a machine by the roles in the organization
// only, or by global roles without one. The lock is held.
func (s *Server) on(h holder, resource, organizationID string) (granted []string) {
	if organizationID == "" || !h.isMachine {
		granted = s.globally(h, resource)
	}
	switch {
	case organizationID != "":
		granted = append(granted, s.within(h, organizationID, resource)...)
	case !h.isMachine:
		for id := range h.organizations {
			granted = append(granted, s.within(h, id, resource)...)
		}
	}
	return granted
}

// grantable returns what an authorization request can be granted: the scopes of the provider and, for each
// resource, the permissions. This is the upper bound of what later tokens have. An organization in the
// request narrows it to the roles there and the global roles; Logto accepts any name.
func (s *Server) grantable(user User, request authorizationRequest) (scopes []string, permissions map[string][]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	permissions = map[string][]string{}
	for _, resource := range request.resources {
		var allowed []string
		if resource == organizationsResource {
			// All permissions of the organization template, whether or not the user has them.
			for _, role := range s.organizationRoles {
				allowed = append(allowed, role.Permissions...)
			}
		} else {
			allowed = s.on(user.holder(), resource, request.organizationID)
		}
		permissions[resource] = intersection(request.app.consentable(request.scopes), allowed)
	}
	return intersection(request.scopes, supportedScopes), permissions
}

// permitted returns which of the scopes a token for this audience has now.
func (s *Server) permitted(h holder, audience audience, scopes []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if audience.resource == "" {
		return intersection(scopes, s.within(h, audience.organizationID, ""))
	}
	return intersection(scopes, s.on(h, audience.resource, audience.organizationID))
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
