package logtotest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

const webhookTimeout = 10 * time.Second

// Webhook is an address that is told of events: User.Data.Updated,
// User.SuspensionStatus.Updated, User.Deleted, Organization.Membership.Updated,
// PostSignIn and PostRegister.
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

func (s *Server) sendUserWebhook(event string, user User, more map[string]any) {
	payload := map[string]any{"params": map[string]any{"userId": user.ID}, "data": userEntity(user)}
	for name, value := range more {
		payload[name] = value
	}
	s.sendWebhooks(event, payload)
}

func (s *Server) sendMembershipWebhook(organizationID string, change map[string]any) {
	change["organizationId"] = organizationID
	s.sendWebhooks("Organization.Membership.Updated", change)
}

// sendInteractionWebhook tells of a sign-in or a registration.
func (s *Server) sendInteractionWebhook(event string, finished *interaction, user User) {
	s.sendWebhooks(event, map[string]any{
		"sessionId":   finished.uid,
		"userId":      user.ID,
		"user":        userEntity(user),
		"application": map[string]any{"id": finished.request.app.ID, "type": finished.request.app.Type},
	})
}

func userEntity(user User) map[string]any {
	return map[string]any{
		"id": user.ID, "username": orNull(user.Username), "primaryEmail": orNull(user.Email), "primaryPhone": orNull(user.PhoneNumber),
		"name": orNull(user.Name), "avatar": orNull(user.Picture), "isSuspended": user.IsSuspended,
		"createdAt": user.CreatedAt.UnixMilli(), "updatedAt": user.UpdatedAt.UnixMilli(),
	}
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
		payload["createdAt"] = s.clock().UTC().Format("2006-01-02T15:04:05.000Z")
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
