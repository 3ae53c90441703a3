package logtotest

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.indexOf(idOrUsername); i >= 0 {
		return s.users[i], true
	}
	return User{}, false
}

// indexOf returns -1 if there is no user with this ID or username. The lock is held.
func (s *Server) indexOf(idOrUsername string) int {
	i := slices.IndexFunc(s.users, func(u User) bool { return u.ID == idOrUsername })
	if i < 0 && idOrUsername != "" {
		i = slices.IndexFunc(s.users, func(u User) bool { return u.Username == idOrUsername })
	}
	return i
}

// mustFind is indexOf for the methods that change a user: of a user who is not there, a test
// would learn nothing. The lock is held.
func (s *Server) mustFind(idOrUsername string) int {
	i := s.indexOf(idOrUsername)
	if i < 0 {
		panic(fmt.Sprintf("logtotest: there is no user with the ID or username %q", idOrUsername))
	}
	return i
}

func (s *Server) changeUser(idOrUsername string, change func(*User)) (before, after User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := &s.users[s.mustFind(idOrUsername)]
	before = *user
	change(user)
	return before, *user
}

func (s *Server) removeUser(idOrUsername string) (removed User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.mustFind(idOrUsername)
	removed = s.users[i]
	s.users = slices.Delete(s.users, i, i+1)
	return removed
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

func (s *Server) userByID(id string) (User, bool) {
	return s.user(func(u User) bool { return u.ID == id })
}

// activeUser finds no user who is suspended.
func (s *Server) activeUser(id string) (User, bool) {
	return s.user(func(u User) bool { return u.ID == id && !u.IsSuspended })
}

// userByIdentifier finds a user by what people type in to say who they are.
func (s *Server) userByIdentifier(identifier string) (User, bool) {
	return s.user(func(u User) bool {
		return identifier != "" && (u.Username == identifier || strings.EqualFold(u.Email, identifier))
	})
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
	"organizations":         scopeOrganizations,
	"organization_data":     scopeOrganizations,
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
