package logtotest

import (
	"cmp"
	"crypto/rand"
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

	// Claims are further claims, or replacements for those made from the other
	// fields, by claim name: "roles": []string{"admin"}. Each is released with
	// the scope that it belongs to at Logto; one that Logto does not know, with
	// "profile".
	Claims map[string]any

	// CreatedAt and UpdatedAt are when the user was made and last changed. Zero:
	// when the server started.
	CreatedAt, UpdatedAt time.Time
}

// DefaultUser is the user of a server that was started without any. It has no ID
// yet: each server makes one up.
func DefaultUser() User {
	return User{
		Username: "alice",
		Password: "wonderland",
		Name:     "Alice Example",
		Email:    "alice@example.test",
	}
}

// AddUser adds a user, or replaces the one with the same ID, and returns it
// with the ID and times that it got.
func (s *Server) AddUser(user User) User {
	user.ID = cmp.Or(user.ID, strings.ToLower(rand.Text()[:12]))
	if user.CreatedAt.IsZero() {
		user.CreatedAt = s.startedAt
	}
	if user.UpdatedAt.IsZero() {
		user.UpdatedAt = s.startedAt
	}
	user.Claims = maps.Clone(user.Claims)

	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.users, func(u User) bool { return u.ID == user.ID }); i >= 0 {
		s.users[i] = user
	} else {
		s.users = append(s.users, user)
	}
	return user
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

func (u User) userInfo(scopes []string) map[string]any {
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
		"roles":                 []any{},
		"organizations":         []any{},
		"organization_data":     []any{},
		"organization_roles":    []any{},
	}
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

func (u User) idTokenClaims(scopes []string) map[string]any {
	claims := u.userInfo(scopes)
	for _, name := range userInfoOnly {
		delete(claims, name)
	}
	return claims
}

func orNull(value string) any {
	if value == "" {
		return nil
	}
	return value
}
