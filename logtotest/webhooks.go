package logtotest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

const webhookTimeout = 10 * time.Second

// Webhook is an address that is told of these events:
//
//   - User.Created and User.Deleted;
//   - User.SuspensionStatus.Updated;
//   - User.Data.Updated, if the user's own data has changed;
//   - Organization.Membership.Updated, if somebody has joined or left;
//   - PostSignIn, and PostRegister after User.Created. A sign-in without a page is not told.
//
// As at Logto, no event tells that a role of a user has changed, neither a global role nor a role in an
// organization, nor the roles of a machine or the MFA of a user. An application learns of it at the next
// refresh. The events of roles, permissions and organizations themselves, PostResetPassword and the others
// of Logto are not sent.
type Webhook struct {
	URL string
	// SigningKey signs the body; without one there is no signature.
	SigningKey string
	// Events are those to tell of; nil means all.
	Events []string
}

// AddWebhook adds a webhook. Unlike Logto, the server waits for the answer
// before it goes on.
func (s *Server) AddWebhook(hook Webhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhooks = append(s.webhooks, registeredHook{Webhook: hook, id: strings.ToLower(rand.Text()[:21])})
}

type registeredHook struct {
	Webhook
	id string
}

// WebhookSignature is the value of the header logto-signature-sha-256 for a
// body.
func WebhookSignature(signingKey, body string) string {
	mac := hmac.New(sha256.New, []byte(signingKey))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

// managementCall is the call of the Management API that has caused an event.
type managementCall struct {
	method, route string // the route has parameters as in "/users/:userId"
	status        int
	params        map[string]string
}

func (c managementCall) members() map[string]any {
	path := c.route
	for name, value := range c.params {
		path = strings.ReplaceAll(path, ":"+name, value)
	}
	return map[string]any{
		"userAgent": "logtotest", "ip": "127.0.0.1", "path": path, "method": c.method, "status": c.status, "params": c.params, "matchedRoute": c.route,
	}
}

func ofUser(id string) map[string]string { return map[string]string{"userId": id} }

// sendUserWebhook sends the event of a call of the Management API about a user.
func (s *Server) sendUserWebhook(event string, user User, call managementCall) {
	payload := call.members()
	entity := s.userEntity(user)
	if event != "User.Deleted" {
		entity["hasPassword"] = user.Password != ""
	}
	payload["data"] = entity
	s.sendWebhooks(event, payload)
}

func (s *Server) sendSuspension(user User) {
	s.sendUserWebhook("User.SuspensionStatus.Updated", user,
		managementCall{"PATCH", "/users/:userId/is-suspended", http.StatusOK, ofUser(user.ID)})
}

// sendUserChange tells what has changed of a user: nothing of roles.
func (s *Server) sendUserChange(before, after User) {
	if !sameData(before, after) {
		s.sendUserWebhook("User.Data.Updated", after, managementCall{"PATCH", "/users/:userId", http.StatusOK, ofUser(after.ID)})
	}
	if before.IsSuspended != after.IsSuspended {
		s.sendSuspension(after)
	}
	for _, id := range slices.Sorted(maps.Keys(after.Organizations)) {
		if _, was := before.Organizations[id]; !was {
			s.sendMembership(id, after.ID, true)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before.Organizations)) {
		if _, stays := after.Organizations[id]; !stays {
			s.sendMembership(id, after.ID, false)
		}
	}
}

// sameData compares what Logto keeps with the user. Roles and memberships are relations of their own.
func sameData(a, b User) bool {
	ofRelations := []string{"roles", "organizations", "organization_data", "organization_roles"}
	for _, user := range []*User{&a, &b} {
		user.Roles, user.Organizations, user.HasMFA, user.IsSuspended = nil, nil, false, false
		user.CreatedAt, user.UpdatedAt = time.Time{}, time.Time{}
		claims := map[string]any{}
		for name, value := range user.Claims {
			if !slices.Contains(ofRelations, name) {
				claims[name] = value
			}
		}
		user.Claims = claims
	}
	return reflect.DeepEqual(a, b)
}

func (s *Server) sendMembership(organizationID, userID string, joined bool) {
	call := managementCall{"POST", "/organizations/:id/users", http.StatusCreated, map[string]string{"id": organizationID}}
	change := "addedUserIds"
	if !joined {
		call = managementCall{"DELETE", "/organizations/:id/users/:userId", http.StatusNoContent, map[string]string{"id": organizationID, "userId": userID}}
		change = "removedUserIds"
	}
	payload := call.members()
	payload["organizationId"], payload[change] = organizationID, []string{userID}
	s.sendWebhooks("Organization.Membership.Updated", payload)
}

// sendInteractionWebhook tells of a sign-in or a registration.
func (s *Server) sendInteractionWebhook(r *http.Request, event string, finished *interaction, user User) {
	app := finished.request.app
	s.sendWebhooks(event, map[string]any{
		"interactionEvent": strings.TrimPrefix(event, "Post"),
		"sessionId":        finished.uid,
		"userAgent":        r.UserAgent(),
		"userIp":           "127.0.0.1",
		"userId":           user.ID,
		"user":             s.userEntity(user),
		"application":      map[string]any{"id": app.ID, "type": app.Type, "name": app.ID, "description": nil},
	})
}

// profileMembers are Logto's names of claims that it keeps in the member "profile".
var profileMembers = map[string]string{
	"family_name": "familyName", "given_name": "givenName", "middle_name": "middleName", "nickname": "nickname",
	"preferred_username": "preferredUsername", "profile": "profile", "website": "website", "gender": "gender",
	"birthdate": "birthdate", "zoneinfo": "zoneinfo", "locale": "locale", "address": "address",
}

// userEntity is a user as Logto's APIs and webhooks show it.
func (s *Server) userEntity(user User) map[string]any {
	profile := map[string]any{}
	for claim, member := range profileMembers {
		if value, ok := user.Claims[claim]; ok {
			profile[member] = value
		}
	}
	entity := map[string]any{
		"id": user.ID, "username": orNull(user.Username), "primaryEmail": orNull(user.Email), "primaryPhone": orNull(user.PhoneNumber),
		"name": orNull(user.Name), "avatar": orNull(user.Picture), "isSuspended": user.IsSuspended,
		"customData": map[string]any{}, "identities": map[string]any{}, "profile": profile,
		"createdAt": user.CreatedAt.UnixMilli(), "updatedAt": user.UpdatedAt.UnixMilli(),
		"lastSignInAt": nil, "applicationId": nil, "cimdClientId": nil,
	}
	for claim, member := range map[string]string{"custom_data": "customData", "identities": "identities"} {
		if value, ok := user.Claims[claim]; ok {
			entity[member] = value
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if signedIn, ok := s.signIns[user.ID]; ok {
		entity["lastSignInAt"] = signedIn.at.UnixMilli()
		if signedIn.appID != "" {
			entity["applicationId"] = signedIn.appID
		}
	}
	return entity
}

// lastSignIn is when a user last signed in on a page, and the application of the first time.
type lastSignIn struct {
	at    time.Time
	appID string
}

func (s *Server) sendWebhooks(event string, payload map[string]any) {
	s.mu.Lock()
	hooks := slices.Clone(s.webhooks)
	s.mu.Unlock()
	for _, hook := range hooks {
		if hook.Events != nil && !slices.Contains(hook.Events, event) {
			continue
		}
		payload["hookId"], payload["event"] = hook.id, event
		payload["createdAt"] = s.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		body, err := json.Marshal(payload)
		if err != nil {
			continue // impossible: the values are plain
		}
		header := http.Header{
			"Content-Type": {"application/json"},
			"User-Agent":   {"Logto (https://logto.io/)"},
		}
		if hook.SigningKey != "" {
			header["Logto-Signature-Sha-256"] = []string{WebhookSignature(hook.SigningKey, string(body))}
		}
		s.post(hook.URL, webhookTimeout, header, string(body))
	}
}
