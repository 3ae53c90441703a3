package logto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/jsonobject"
)

const (
	// WebhookSignature is the header of a webhook that has the HMAC of its body
	// (https://docs.logto.io/developers/webhooks/secure-webhooks).
	WebhookSignature = "Logto-Signature-Sha-256"

	maxWebhook = 1 << 20
)

// What ReadWebhook returns for a webhook that nobody with a key has sent.
var (
	// ErrWebhookUnsigned is a fault.InvalidToken.
	ErrWebhookUnsigned = fault.InvalidTokenf("the webhook is not signed")
	// ErrWebhookSignature is a fault.Misconfigured.
	ErrWebhookSignature = fault.Misconfiguredf("the webhook is not signed by one of the keys; compare the Signing key of the webhook in the Logto Console with the one that WebhookHandler is given, and look for a proxy that changes the body")
)

// Webhook is an event that Logto tells (https://docs.logto.io/developers/webhooks/webhooks-request). A member that
// is absent, or of another type, leaves its field at the zero value.
type Webhook struct {
	Members        jsonobject.Object // all, as they were sent
	Event          string            // event
	HookID         string            // hookId
	CreatedAt      time.Time         // createdAt
	UserIDs        []string          // the users that it is about, each once
	OrganizationID string            // organizationId
	IsSuspended    bool              // data.isSuspended
}

// ReadWebhook reads a webhook that one of the keys has signed. w is the writer of the response. patience is how
// long the body may take. The error is a fault.InvalidToken.
func ReadWebhook(w http.ResponseWriter, r *http.Request, patience time.Duration, signingKeys []string) (Webhook, error) {
	body, err := readBody(w, r, maxWebhook, patience)
	switch {
	case err != nil:
		return Webhook{}, fault.InvalidTokenf("the webhook cannot be read or is too long")
	case r.Header.Get(WebhookSignature) == "":
		return Webhook{}, ErrWebhookUnsigned
	case !isSignedWebhook(body, r.Header, signingKeys):
		return Webhook{}, ErrWebhookSignature
	}
	members, err := jsonobject.Parse(body)
	if err != nil {
		return Webhook{}, fault.InvalidTokenf("the webhook is %v", err)
	}
	hook := WebhookOf(members)
	if hook.Event == "" || hook.CreatedAt.IsZero() {
		return Webhook{}, fault.InvalidTokenf("the webhook has no event or no createdAt")
	}
	return hook, nil
}

// isSignedWebhook reports whether a webhook carries the signature of its body by one of the keys.
// It takes the same time whatever the signature is.
func isSignedWebhook(body []byte, header http.Header, signingKeys []string) (isSigned bool) {
	signatures := header.Values(WebhookSignature)
	if len(signatures) != 1 {
		return false
	}
	given, err := hex.DecodeString(signatures[0])
	if err != nil {
		return false
	}
	for _, key := range signingKeys {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		isSigned = hmac.Equal(mac.Sum(nil), given) || isSigned
	}
	return isSigned
}

// WebhookOf reads the members of a webhook. It verifies nothing.
func WebhookOf(members jsonobject.Object) Webhook {
	hook := Webhook{Members: members, Event: members.Text("event"), HookID: members.Text("hookId"), OrganizationID: members.Text("organizationId")}
	hook.CreatedAt, _ = time.Parse(time.RFC3339, members.Text("createdAt")) // else the zero time
	params, _ := jsonobject.Parse(members.Member("params"))                 // without members if it is no object
	data, _ := jsonobject.Parse(members.Member("data"))
	hook.IsSuspended = data.IsTrue("isSuspended")
	// Different events name the users in different places.
	named := []string{members.Text("userId"), params.Text("userId")}
	if IsAboutOneUser(hook.Event) {
		named = append(named, data.Text("id"))
	}
	added, _ := members.Texts("addedUserIds")
	removed, _ := members.Texts("removedUserIds")
	seen := map[string]bool{"": true}
	for _, id := range slices.Concat(named, added, removed) {
		if !seen[id] {
			seen[id] = true
			hook.UserIDs = append(hook.UserIDs, id)
		}
	}
	return hook
}

// IsAboutOneUser reports whether the data of this event is a user.
func IsAboutOneUser(event string) bool {
	return slices.Contains([]string{"User.Created", "User.Deleted", "User.Data.Updated", "User.SuspensionStatus.Updated"}, event)
}
