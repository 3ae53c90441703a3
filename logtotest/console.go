package logtotest

import (
	"maps"
	"net/http"
	"slices"
)

// What an administrator does in the Logto Console, and the webhooks that tell it.

// AddUser adds a user, or replaces the one with the same ID or, if it has no ID, with
// the same username, and returns it with the ID and times that it got.
//
// A user who is replaced is changed: tokens stay as they are until the next refresh. Webhooks are told what
// Logto tells, which is nothing if roles alone have changed: see Webhook. A user who is suspended now
// is kept out as by SuspendUser.
func (s *Server) AddUser(user User) User {
	user, before := s.putUser(user)
	if before == nil {
		s.sendUserWebhook("User.Created", user, managementCall{"POST", "/users", http.StatusOK, map[string]string{}})
		return user
	}
	if user.IsSuspended && !before.IsSuspended {
		s.forgetUser(user.ID)
	}
	s.sendUserChange(*before, user)
	return user
}

// SuspendUser keeps the user with this ID or username out: tokens are worthless from
// now on and nobody is told but webhooks. With false it lets the user in again, who then
// has to sign in. It panics if there is no such user.
func (s *Server) SuspendUser(idOrUsername string, suspended bool) {
	_, user := s.changeUser(idOrUsername, func(u *User) { u.IsSuspended = suspended })
	if suspended {
		s.forgetUser(user.ID)
	}
	s.sendSuspension(user)
}

// DeleteUser removes the user with this ID or username: the next refresh and the next
// user info fail, and nobody is told but webhooks. It panics if there is no such user.
func (s *Server) DeleteUser(idOrUsername string) {
	user := s.removeUser(idOrUsername)
	s.sendUserWebhook("User.Deleted", user, managementCall{"DELETE", "/users/:userId", http.StatusNoContent, ofUser(user.ID)})
}

// SetMembership makes the user with this ID or username a member of an organization with
// these roles, or, with nil, none any more. Webhooks are told who joins and who leaves; Logto has no event for
// other roles of a member. It panics if there is no such user.
func (s *Server) SetMembership(idOrUsername, organizationID string, roles []string) {
	s.sendUserChange(s.changeUser(idOrUsername, func(u *User) {
		organizations := map[string][]string{}
		maps.Copy(organizations, u.Organizations)
		if organizations[organizationID] = slices.Clone(roles); roles == nil {
			delete(organizations, organizationID)
		}
		u.Organizations = organizations
	}))
}
