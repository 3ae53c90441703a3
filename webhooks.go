package logtogin

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
)

// Logto's webhooks, which are the only way in which it tells that a user was suspended,
// deleted or changed. See https://docs.logto.io/developers/webhooks.

const (
	// webhookTimeout is less than the 10 s for which Logto waits.
	webhookTimeout = 8 * time.Second

	// maxWebhookAge is how old an event may be that Config.OnWebhook is given: Logto sends each at once, and only once, so
	// that an older one is a recording. One that comes again is known for longer.
	maxWebhookAge    = 10 * time.Minute
	webhookMemory    = maxWebhookAge + 2*maxClockSkew
	maxKnownWebhooks = 16 << 10
)

// WebhookEvent is what Logto tells. Which members it has beside these depends on the event;
// Get and Has know them. It can be kept as JSON, as Claims can: an event that comes from
// UnmarshalJSON has not been verified.
type WebhookEvent struct {
	claimSet

	// Event is its name, for example "User.Data.Updated" or "PostSignIn".
	Event string
	// HookID is that of the webhook in the Logto Console.
	HookID string
	// CreatedAt is when it happened, by Logto's clock.
	CreatedAt time.Time
	// UserIDs are the users that it is about: usually one, and none in events about
	// anything else.
	UserIDs []string
	// OrganizationID is the organization that it is about, if there is one.
	OrganizationID string
	// IsSuspended says, of User.SuspensionStatus.Updated, that the user is suspended now.
	IsSuspended bool
}

// WebhookHandler receives Logto's webhooks at a route of the application's:
//
//	router.POST("/webhooks/logto", auth.WebhookHandler(signingKey))
//
// The signing key is shown in the Logto Console
// (https://docs.logto.io/developers/webhooks/secure-webhooks); several are for replacing one,
// all are good. What their signature does not cover is refused.
//
//   - PostResetPassword ends all sessions of the user, if Config.EndSessionsOnPasswordReset says so.
//   - User.Deleted, and User.SuspensionStatus.Updated for a user who is suspended now, end
//     all sessions of the user that began until then, and refuse older access tokens. A body
//     that is old or comes again therefore does no harm.
//   - User.Data.Updated and Organization.Membership.Updated make the user's sessions ask
//     Logto before the next guarded request goes on, so that new claims and organizations
//     apply at once, and drop the access tokens in them.
//
// Logto has no event for the roles of a user, neither the global ones nor those in an organization
// (https://docs.logto.io/developers/webhooks/webhooks-events). A session learns of them when it is next
// refreshed, by Config.RevalidateAfter at the latest.
//
// All events, these included, are then given to Config.OnWebhook, unless they are older than ten minutes or come
// again. How far what was learnt reaches, RevokeUser says.
//
// The answer is 200; 401 for a wrong signature; 400 for a body that is none of Logto's; 503
// if the other instances cannot be told, with which OnWebhook is not called; 500 if
// OnWebhook returns an error. Logto does not send an event again after any of them. A
// middleware against cross-site requests must let the route through; guards do, if the
// handler is the last one of its route, as it is.
//
// WebhookHandler panics without a key, or if one is empty, with which anybody could sign.
func (a *Auth) WebhookHandler(signingKeys ...string) gin.HandlerFunc {
	if len(signingKeys) == 0 || slices.Contains(signingKeys, "") {
		panic("logtogin: WebhookHandler needs the signing key that the Logto Console shows for the webhook")
	}
	signingKeys = slices.Clone(signingKeys)
	return ownHandler(func(c *gin.Context) {
		c.Header("Cache-Control", "no-store")
		read, err := logto.ReadWebhook(c.Writer, c.Request, webhookTimeout, signingKeys)
		event := newWebhookEvent(read)
		if err == nil {
			err = a.heed(c, event)
		}
		if err == nil {
			err = a.passOn(c, event)
		}
		if err == nil {
			if !c.Writer.Written() {
				c.AbortWithStatus(http.StatusOK)
			}
			return
		}
		err = &errorAbout{error: err, invalid: http.StatusBadRequest}
		a.logErrorOf(c, err)
		c.AbortWithStatus(StatusCode(err))
	}).serve
}

func newWebhookEvent(read logto.Webhook) *WebhookEvent {
	return &WebhookEvent{claimSet{read.Members}, read.Event, read.HookID, read.CreatedAt, read.UserIDs, read.OrganizationID, read.IsSuspended}
}

// MarshalJSON returns exactly what Logto sent, without changes of the fields. An event that the
// application has made by hand is written from its fields, with Logto's names; an empty one is
// null.
func (event WebhookEvent) MarshalJSON() ([]byte, error) {
	return event.marshal(event.write)
}

func (event WebhookEvent) write(w *jsonobject.Writer) {
	w.Put("event", event.Event)
	w.Put("hookId", event.HookID)
	w.Put("createdAt", event.CreatedAt)
	w.Put("organizationId", event.OrganizationID)
	// Where the users stand depends on the event; logto.WebhookOf finds them in this order.
	var data jsonobject.Writer
	users := event.UserIDs
	switch {
	case len(users) > 0 && logto.IsAboutOneUser(event.Event):
		data.Put("id", users[0])
		users = users[1:]
	case len(users) == 1:
		w.Put("userId", users[0])
		users = nil
	}
	if len(users) > 0 {
		w.Put("addedUserIds", users)
	}
	data.Put("isSuspended", event.IsSuspended)
	w.Put("data", data)
}

// UnmarshalJSON fills all fields as if Logto had sent the JSON, which it does not verify. A
// member of another type leaves its field at the zero value; null changes nothing. The error is
// about JSON that is no object, or has a member twice.
func (event *WebhookEvent) UnmarshalJSON(raw []byte) error {
	return unmarshal(raw, "webhook event", func(set jsonobject.Object) { *event = *newWebhookEvent(logto.WebhookOf(set)) })
}

// passOn gives an event to the application, unless it is a recording.
func (a *Auth) passOn(c *gin.Context, event *WebhookEvent) error {
	if a.settings.OnWebhook == nil {
		return nil
	}
	if age := a.settings.Now().Sub(event.CreatedAt); age > maxWebhookAge {
		a.settings.Logger.WarnContext(c.Request.Context(), "logtogin: a webhook is too old for Config.OnWebhook: it was recorded, or a clock is wrong", "event", event.Event, "age", age.Round(time.Second))
		return nil
	}
	digest := sha256.Sum256(event.object.Source())
	key := string(digest[:])
	if _, found, _ := a.webhooks.GetOrPut(key, struct{}{}, a.settings.Now().Add(webhookMemory)); found {
		return nil
	}
	shared := a.shared.Key(key, "webhook")
	if !a.shared.IsFirst(c.Request.Context(), shared, "1", webhookMemory) {
		return nil
	}
	isDone := false
	defer func() {
		if !isDone {
			a.webhooks.Delete(key) // it may be sent again, by hand
			a.shared.Delete(context.WithoutCancel(c.Request.Context()), shared)
		}
	}()
	err := a.settings.OnWebhook(c, event)
	isDone = err == nil
	return err
}

// heed does what an event means for sessions and tokens.
func (a *Auth) heed(c *gin.Context, event *WebhookEvent) error {
	made := session.Revocation{At: event.CreatedAt}
	switch event.Event {
	case "User.Deleted":
		made.Kind = session.RemovedUser
	case "User.SuspensionStatus.Updated":
		if !event.IsSuspended {
			return nil
		}
		made.Kind = session.RemovedUser
	case "PostResetPassword":
		if !a.settings.EndSessionsOnPasswordReset {
			return nil
		}
		made.Kind, made.Cause = session.RemovedUser, "password_reset"
	case "User.Data.Updated", "Organization.Membership.Updated":
		// By our own clock, as everything that it is compared with.
		made.Kind, made.At = session.ChangedUser, a.settings.Now()
	default:
		return nil
	}
	// Logto's clock may go before ours, but no event ends the sign-ins of tomorrow.
	if latest := a.settings.Now().Add(a.settings.ClockSkew); made.At.After(latest) {
		made.At = latest
	}
	// All of them, here at once; that Logto or the shared state gives up changes nothing.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), webhookTimeout)
	defer cancel()
	var failed error
	for _, made.Name = range event.UserIDs {
		if err := a.revoke(ctx, made); err != nil {
			failed = err // as the others
		}
	}
	return failed
}
