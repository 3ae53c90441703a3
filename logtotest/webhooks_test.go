package logtotest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/logtotest"
)

// withWebhooks makes a server whose webhooks go to an application, and returns the events since the last call.
func withWebhooks(t *testing.T, server *logtotest.Server) (events func() (names []string, bodies []map[string]any)) {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.POST("/hook", func(*gin.Context) {})
	server.Serve("https://hooks.example.com", router)
	server.AddWebhook(logtotest.Webhook{URL: "https://hooks.example.com/hook", SigningKey: "key"})
	seen := 0
	return func() (names []string, bodies []map[string]any) {
		t.Helper()
		all := server.Deliveries()
		for _, delivery := range all[seen:] {
			if delivery.Status != http.StatusOK {
				t.Errorf("%+v", delivery)
			}
			body := decode(t, delivery.Body)
			names, bodies = append(names, body["event"].(string)), append(bodies, body)
		}
		seen = len(all)
		return names, bodies
	}
}

// Logto has no event for the roles of a user, neither the global ones nor those in an organization
// (https://docs.logto.io/developers/webhooks/webhooks-events).
func TestNoWebhookTellsOfTheRolesOfAUser(t *testing.T) {
	t.Parallel()
	b, user := newTenant(t)
	events := withWebhooks(t, b.server)
	user.Roles = []string{"thing-user", "admin"}
	b.server.AddUser(user)
	user.Roles = nil
	b.server.AddUser(user)
	user.Claims = map[string]any{"roles": []string{"admin"}}
	b.server.AddUser(user)
	user.HasMFA = true
	b.server.AddUser(user)
	b.server.SetMembership("alice", "acme", []string{})
	b.server.SetMembership("alice", "acme", []string{"editor", "owner"})
	user.Organizations = map[string][]string{"acme": {"owner"}, "initech": {"editor"}, "strict": {}}
	b.server.AddUser(user)
	b.server.AddRole(logtotest.Role{Name: "thing-user"})
	b.server.AddOrganizationRole(logtotest.OrganizationRole{Name: "editor"})
	b.server.SetMembership("alice", "others", nil) // of which the user was no member
	if names, _ := events(); names != nil {
		t.Errorf("got %q, want no event", names)
	}
}

func TestWebhooksTellWhatHasChangedOfAUser(t *testing.T) {
	t.Parallel()
	b, alice := newTenant(t)
	events := withWebhooks(t, b.server)
	for _, test := range []struct {
		what   string
		change func()
		want   string
	}{
		{"the name", func() { alice.Name = "Alicia" }, "User.Data.Updated"},
		{"the password", func() { alice.Password = "another" }, "User.Data.Updated"},
		{"custom data", func() { alice.Claims = map[string]any{"custom_data": map[string]any{"plan": "pro"}} }, "User.Data.Updated"},
		{"the suspension", func() { alice.IsSuspended = true }, "User.SuspensionStatus.Updated"},
		{"the same again", func() {}, ""},
		{"an organization more and one less", func() { alice.Organizations = map[string][]string{"acme": {}, "strict": {}, "others": {"editor"}} }, "Organization.Membership.Updated Organization.Membership.Updated"},
		{"everything", func() { alice.Name, alice.Roles, alice.IsSuspended, alice.Organizations = "Alice", nil, false, nil }, "User.Data.Updated User.SuspensionStatus.Updated Organization.Membership.Updated Organization.Membership.Updated Organization.Membership.Updated"},
	} {
		test.change()
		b.server.AddUser(alice)
		if names, bodies := events(); strings.Join(names, " ") != test.want {
			t.Errorf("%s: %q %v, want %s", test.what, names, bodies, test.want)
		}
	}
	b.server.SuspendUser("alice", false)
	b.server.SuspendUser("alice", false)
	if names, _ := events(); len(names) != 2 {
		t.Errorf("a suspension that changes nothing: %q, want the event each time", names)
	}
}

func TestAUserWhoIsAddedAsSuspendedHasNoTokensAnyMore(t *testing.T) {
	t.Parallel()
	b, alice := newTenant(t)
	answer := b.tokens()
	alice.IsSuspended = true
	b.server.AddUser(alice)
	alice.IsSuspended = false
	b.server.AddUser(alice)
	b.token(refreshForm(answer["refresh_token"].(string))).wantError(t, http.StatusBadRequest, "invalid_grant")
	if b.isSignedIn() {
		t.Error("the session goes on")
	}
}

func TestAMembershipEventNamesTheMember(t *testing.T) {
	t.Parallel()
	b, _ := newTenant(t)
	events := withWebhooks(t, b.server)
	b.server.SetMembership("alice", "others", []string{"editor"})
	b.server.SetMembership("alice", "others", nil)
	_, bodies := events()
	if len(bodies) != 2 {
		t.Fatalf("%v", bodies)
	}
	for i, member := range []string{"addedUserIds", "removedUserIds"} {
		other := []string{"removedUserIds", "addedUserIds"}[i]
		if ids, _ := bodies[i][member].([]any); !slices.Equal(ids, []any{"alice"}) || bodies[i][other] != nil || bodies[i]["organizationId"] != "others" {
			t.Errorf("%v", bodies[i])
		}
	}
}

func TestARegistrationIsToldByTwoEvents(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	events := withWebhooks(t, b.server)
	page := b.authorize(b.newSignIn("first_screen", "register")).location
	b.submit(page, "username", "carol", "password", "singing")
	if names, bodies := events(); strings.Join(names, " ") != "User.Created PostRegister" || bodies[1]["interactionEvent"] != "Register" {
		t.Errorf("%q %v", names, bodies)
	}
	b.callback(b.newSignIn("prompt", ""))
	if names, _ := events(); names != nil {
		t.Errorf("a silent sign-in: %q, want no event", names)
	}
}

func compareWebhooks(c *comparison, b *browser) {
	events := withWebhooks(c.t, b.server)
	last := func(name string) {
		c.t.Helper()
		_, bodies := events()
		if len(bodies) == 0 {
			c.t.Fatalf("%s: there is no event", name)
		}
		c.sameShape(name, "", bodies[len(bodies)-1], c.sample(name).Body)
	}
	user, _ := b.server.User("alice")
	user.Picture, user.Claims, user.Email = "", nil, ""
	b.server.AddUser(user)
	last("webhook User.Data.Updated")
	user.Email = "alice@example.com"
	b.server.AddUser(user)
	events()
	b.callback(b.newSignIn())
	last("webhook PostSignIn")
	b.server.SetMembership("alice", "acme", nil)
	last("webhook Organization.Membership.Updated, removed")
	b.server.SetMembership("alice", "acme", []string{})
	last("webhook Organization.Membership.Updated, added")
	b.server.SuspendUser("alice", true)
	last("webhook User.SuspensionStatus.Updated")
	b.server.DeleteUser("alice")
	last("webhook User.Deleted")
	other := newBrowser(c.t, b.server)
	other.submit(other.authorize(other.newSignIn("first_screen", "register")).location, "username", "carol", "password", "singing")
	last("webhook PostRegister")
}
