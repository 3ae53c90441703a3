package main

import (
	"os"
	"time"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What an administrator would set up in the Logto Console, at a fake Logto.

const (
	fakeOrdersAPI         = "https://orders.example.com/"
	fakeWebhookSigningKey = "signing-key-of-the-fake-logto"
)

// alice may do everything but see the bills of globex.
func alice() logtotest.User {
	user := logtotest.DefaultUser()
	user.Roles = []string{"admin"}
	user.Organizations = map[string][]string{"acme": {"owner"}, "globex": {"member"}}
	return user
}

// bob is there to be refused.
func bob() logtotest.User {
	return logtotest.User{
		Username:      "bob",
		Password:      "builder",
		Name:          "Bob Example",
		Email:         "bob@example.test",
		Roles:         []string{"editor"},
		Organizations: map[string][]string{"acme": {"member"}},
	}
}

// machine gets tokens for itself.
func machine() logtotest.Application {
	return logtotest.Application{ID: "nightly-job", Secret: "secret-of-the-nightly-job", Type: logtotest.MachineToMachine}
}

func startFake(baseURL string) (*logtotest.Server, error) {
	fake, err := logtotest.Start(alice(), bob())
	if err != nil {
		return nil, err
	}
	fake.AddResource(logtotest.Resource{Indicator: fakeOrdersAPI, Permissions: []string{readOrders, readTeamOrders}})
	fake.AddRole(logtotest.Role{Name: "admin", Permissions: map[string][]string{fakeOrdersAPI: {readOrders}}})
	fake.AddRole(logtotest.Role{Name: "editor"})
	fake.AddOrganization(logtotest.Organization{ID: "acme", Name: "Acme Corporation"})
	fake.AddOrganization(logtotest.Organization{ID: "globex", Name: "Globex Corporation"})
	fake.AddOrganizationRole(logtotest.OrganizationRole{
		Name:                "owner",
		Permissions:         []string{readMembers},
		ResourcePermissions: map[string][]string{fakeOrdersAPI: {readTeamOrders}},
	})
	fake.AddOrganizationRole(logtotest.OrganizationRole{
		Name:                "member",
		ResourcePermissions: map[string][]string{fakeOrdersAPI: {readTeamOrders}},
	})
	fake.AddApplication(machine())

	app := fake.Application()
	app.PostLogoutRedirectURIs = []string{baseURL + "/"}
	app.BackchannelLogoutURI = baseURL + backchannelLogoutPath
	app.BackchannelLogoutSessionRequired = true
	fake.AddApplication(app)
	fake.AddWebhook(logtotest.Webhook{URL: baseURL + webhookPath, SigningKey: fakeWebhookSigningKey})
	return fake, nil
}

func fakeConfig(fake *logtotest.Server, ownURL string) config {
	return config{
		Logto: logtogin.Config{
			Endpoint:     fake.Endpoint(),
			AppID:        fake.AppID(),
			AppSecret:    fake.AppSecret(),
			BaseURL:      ownURL,
			Scopes:       scopes,
			Resources:    []string{fakeOrdersAPI},
			AfterSignOut: "/",
			// Each fake is another application with cookies of its own, which
			// would pile up in the browser.
			SessionLifetime: time.Hour,
		},
		OrdersAPI:         fakeOrdersAPI,
		WebhookSigningKey: fakeWebhookSigningKey,
		RedisAddr:         os.Getenv("REDIS_ADDR"),
		OwnURL:            ownURL,
	}
}
