package logtotest

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// User is somebody who can sign in. With an empty name, e-mail address, phone
// number, picture or username, the claim is null, as at Logto.
type User struct {
	// ID is the "sub". Empty: 12 characters are made up.
	ID string

	Username, Password, Name, Email, PhoneNumber, Picture string

	// Roles are the names of the user's roles; see Server.AddRole.
	Roles []string

	// Organizations are those that the user is a member of: the names of the
	// organization roles by the ID of the organization. See
	// Server.AddOrganization and Server.AddOrganizationRole.
	Organizations map[string][]string

	// HasMFA is what organizations can require of their members.
	HasMFA bool

	// IsSuspended keeps the user out; SuspendUser also ends what there is.
	IsSuspended bool

	// Claims are further claims, or replacements for those made from the other
	// fields, by claim name: "roles": []string{"admin"}. Each is released with
	// the scope that it belongs to at Logto; one that Logto does not know, with
	// "profile".
	Claims map[string]any

	// CreatedAt and UpdatedAt are when the user was made and last changed. Zero:
	// when the server started.
	CreatedAt, UpdatedAt time.Time
}

// DefaultUser is the user of a server that was started without any: Alice Example with
// the username "alice", the password "wonderland" and the e-mail address
// alice@example.test. It has no ID yet: each server makes one up.
func DefaultUser() User {
	return User{
		Username: "alice",
		Password: "wonderland",
		Name:     "Alice Example",
		Email:    "alice@example.test",
	}
}

// AddUser adds a user, or replaces the one with the same ID or, if it has no ID, with
// the same username, and returns it with the ID and times that it got.
//
// A user who is replaced is changed: tokens stay as they are until the next refresh. Webhooks are told what
// Logto tells, which is nothing if roles alone have changed: see Webhook. A user who is suspended now
// is kept out as by SuspendUser.
func (s *Server) AddUser(user User) User {
	user, before := s.putUser(user)
	if before == nil {
		s.sendUserCreated(user)
		return user
	}
	if user.IsSuspended && !before.IsSuspended {
		s.forgetUser(user.ID)
	}
	s.sendUserChange(*before, user)
	return user
}

// putUser is AddUser without telling anybody. before is nil if the user is new.
func (s *Server) putUser(user User) (_ User, before *User) {
	if known, ok := s.User(user.Username); ok && user.ID == "" && user.Username != "" {
		user.ID = known.ID
	}
	user.ID = cmp.Or(user.ID, strings.ToLower(rand.Text()[:12]))
	if user.CreatedAt.IsZero() {
		user.CreatedAt = s.startedAt
	}
	if user.UpdatedAt.IsZero() {
		user.UpdatedAt = s.startedAt
	}
	user.Claims = maps.Clone(user.Claims)
	user.Roles = slices.Clone(user.Roles)
	user.Organizations = maps.Clone(user.Organizations)

	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.users, func(u User) bool { return u.ID == user.ID }); i >= 0 {
		known := s.users[i]
		s.users[i] = user
		return user, &known
	}
	s.users = append(s.users, user)
	return user, nil
}

// User returns the user with this ID or username as the server knows it.
func (s *Server) User(idOrUsername string) (User, bool) {
	if user, ok := s.user(func(u User) bool { return u.ID == idOrUsername }); ok {
		return user, true
	}
	return s.user(func(u User) bool { return u.Username == idOrUsername && idOrUsername != "" })
}

// mustKnow is User for the methods that change one: of a user who is not there, a test
// would learn nothing.
func (s *Server) mustKnow(idOrUsername string) User {
	user, ok := s.User(idOrUsername)
	if !ok {
		panic(fmt.Sprintf("logtotest: there is no user with the ID or username %q", idOrUsername))
	}
	return user
}

// SuspendUser keeps the user with this ID or username out: tokens are worthless from
// now on and nobody is told but webhooks. With false it lets the user in again, who then
// has to sign in. It panics if there is no such user.
func (s *Server) SuspendUser(idOrUsername string, suspended bool) {
	id := s.mustKnow(idOrUsername).ID
	user := s.changeUser(id, func(u *User) { u.IsSuspended = suspended })
	if suspended {
		s.forgetUser(id)
	}
	s.sendSuspension(user)
}

// DeleteUser removes the user with this ID or username: the next refresh and the next
// user info fail, and nobody is told but webhooks. It panics if there is no such user.
func (s *Server) DeleteUser(idOrUsername string) {
	user := s.mustKnow(idOrUsername)
	s.mu.Lock()
	s.users = slices.DeleteFunc(s.users, func(u User) bool { return u.ID == user.ID })
	s.mu.Unlock()
	s.sendUserWebhook("User.Deleted", user, managementCall{"DELETE", "/users/:userId", http.StatusNoContent, ofUser(user.ID)})
}

// SetMembership makes the user with this ID or username a member of an organization with
// these roles, or, with nil, none any more. Webhooks are told who joins and who leaves; Logto has no event for
// other roles of a member. It panics if there is no such user.
func (s *Server) SetMembership(idOrUsername, organizationID string, roles []string) {
	userID := s.mustKnow(idOrUsername).ID
	var was bool
	s.changeUser(userID, func(u *User) {
		organizations := maps.Clone(u.Organizations)
		if organizations == nil {
			organizations = map[string][]string{}
		}
		_, was = organizations[organizationID]
		if roles == nil {
			delete(organizations, organizationID)
		} else {
			organizations[organizationID] = slices.Clone(roles)
		}
		u.Organizations = organizations
	})
	if is := roles != nil; is != was {
		s.sendMembership(organizationID, userID, is)
	}
}

func (s *Server) changeUser(id string, change func(*User)) (changed User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.users, func(u User) bool { return u.ID == id }); i >= 0 {
		change(&s.users[i])
		changed = s.users[i]
	}
	return changed
}

func (s *Server) user(match func(User) bool) (User, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.users, match)
	if i < 0 {
		return User{}, false
	}
	return s.users[i], true
}

// userByIdentifier finds a user by what people type in to say who they are.
func (s *Server) userByIdentifier(identifier string) (User, bool) {
	if identifier == "" {
		return User{}, false
	}
	return s.user(func(u User) bool { return u.Username == identifier || strings.EqualFold(u.Email, identifier) })
}

// claimScope names the scope of each claim that does not come with "profile".
var claimScope = map[string]string{
	"email":                 "email",
	"email_verified":        "email",
	"phone_number":          "phone",
	"phone_number_verified": "phone",
	"address":               "address",
	"custom_data":           "custom_data",
	"identities":            "identities",
	"sso_identities":        "identities",
	"roles":                 "roles",
	"organizations":         "urn:logto:scope:organizations",
	"organization_data":     "urn:logto:scope:organizations",
	"organization_roles":    "urn:logto:scope:organization_roles",
}

// userInfoOnly are the claims that Logto keeps out of ID tokens unless a tenant
// turns them on.
var userInfoOnly = []string{"custom_data", "identities", "sso_identities", "organization_data"}

func (s *Server) userInfo(u User, scopes []string) map[string]any {
	all := map[string]any{
		"name":                  orNull(u.Name),
		"username":              orNull(u.Username),
		"picture":               orNull(u.Picture),
		"created_at":            u.CreatedAt.UnixMilli(),
		"updated_at":            u.UpdatedAt.UnixMilli(),
		"email":                 orNull(u.Email),
		"email_verified":        u.Email != "",
		"phone_number":          orNull(u.PhoneNumber),
		"phone_number_verified": u.PhoneNumber != "",
		"custom_data":           map[string]any{},
		"identities":            map[string]any{},
		"sso_identities":        []any{},
		"roles":                 append([]string{}, u.Roles...),
	}
	maps.Copy(all, s.organizationClaims(u))
	if u.Username != "" {
		all["preferred_username"] = u.Username
	}
	maps.Copy(all, u.Claims)
	released := map[string]any{"sub": u.ID}
	for name, value := range all {
		if slices.Contains(scopes, cmp.Or(claimScope[name], "profile")) {
			released[name] = value
		}
	}
	return released
}

func (s *Server) organizationClaims(u User) map[string]any {
	ids, data, roles := []string{}, []any{}, []string{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(u.Organizations)) {
		organization := s.organizations[id]
		ids = append(ids, id)
		data = append(data, map[string]any{"id": id, "name": organization.Name, "description": orNull(organization.Description)})
		for _, role := range u.Organizations[id] {
			roles = append(roles, id+":"+role)
		}
	}
	return map[string]any{"organizations": ids, "organization_data": data, "organization_roles": roles}
}

func orNull(value string) any {
	if value == "" {
		return nil
	}
	return value
}
