package logtotest

import (
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"
)

// User is somebody who can sign in. An empty name, e-mail address, phone
// number, picture or username is a null claim, as at Logto.
type User struct {
	// ID is the "sub". Empty: made up, of 12 characters.
	ID string

	Username, Password                string
	Name, Email, PhoneNumber, Picture string

	// Claims are further claims, or replacements, by claim name, for example
	// "roles": []string{"admin"}. They are released with their scope.
	Claims map[string]any

	// CreatedAt and UpdatedAt: zero means when the server started.
	CreatedAt, UpdatedAt time.Time
}

// DefaultUser is the user of a server that was started without any.
func DefaultUser() User {
	return User{
		Username: "alice",
		Password: "wonderland",
		Name:     "Alice Example",
		Email:    "alice@example.test",
	}
}

// AddUser adds a user and returns it with its ID.
func (s *Server) AddUser(user User) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addUser(user)
}

func (s *Server) addUser(user User) User {
	if user.ID == "" {
		user.ID = strings.ToLower(rand.Text()[:12])
	}
	if user.CreatedAt.IsZero() {
		user.CreatedAt = s.startedAt
	}
	if user.UpdatedAt.IsZero() {
		user.UpdatedAt = s.startedAt
	}
	user.Claims = maps.Clone(user.Claims)
	s.users = append(s.users, user)
	return user
}

func (s *Server) userByName(username string) (User, bool) {
	i := slices.IndexFunc(s.users, func(u User) bool { return u.Username == username && username != "" })
	if i < 0 {
		return User{}, false
	}
	return s.users[i], true
}

func (s *Server) userByID(id string) (User, bool) {
	i := slices.IndexFunc(s.users, func(u User) bool { return u.ID == id })
	if i < 0 {
		return User{}, false
	}
	return s.users[i], true
}

// scopeOfClaim tells which scope releases a claim of User.Claims; those not
// named come with "profile".
var scopeOfClaim = map[string]string{
	"email": "email", "email_verified": "email",
	"phone_number": "phone", "phone_number_verified": "phone",
	"address":     "address",
	"custom_data": "custom_data",
	"identities":  "identities", "sso_identities": "identities",
	"roles":              "roles",
	"organizations":      "urn:logto:scope:organizations",
	"organization_data":  "urn:logto:scope:organizations",
	"organization_roles": "urn:logto:scope:organization_roles",
}

// onlyInUserInfo are the claims that a fresh Logto tenant keeps out of ID
// tokens.
var onlyInUserInfo = []string{"custom_data", "identities", "sso_identities", "organization_data"}

// claims returns what the scopes release about the user.
func (u User) claims(scopes []string, inUserInfo bool) map[string]any {
	all := map[string]any{
		"name": orNull(u.Name), "username": orNull(u.Username), "picture": orNull(u.Picture),
		"created_at": u.CreatedAt.UnixMilli(), "updated_at": u.UpdatedAt.UnixMilli(),
		"email": orNull(u.Email), "email_verified": u.Email != "",
		"phone_number": orNull(u.PhoneNumber), "phone_number_verified": u.PhoneNumber != "",
		"custom_data": map[string]any{}, "identities": map[string]any{}, "sso_identities": []any{},
		"roles":         []string{},
		"organizations": []string{}, "organization_data": []any{}, "organization_roles": []string{},
	}
	maps.Copy(all, u.Claims)
	released := map[string]any{"sub": u.ID}
	for name, value := range all {
		scope, ok := scopeOfClaim[name]
		if !ok {
			scope = "profile"
		}
		if slices.Contains(scopes, scope) && (inUserInfo || !slices.Contains(onlyInUserInfo, name)) {
			released[name] = value
		}
	}
	return released
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
