package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/logtogin/logtogin"
)

// The permissions of the application's API, as they are called in the Logto Console.
const (
	readOrders     = "read:orders"      // of the API resource, for all teams
	readTeamOrders = "read:team-orders" // of the API resource, for one team; given by organization roles
	readMembers    = "read:members"     // of an organization
)

// scopes are what the pages of this application need.
var scopes = []string{
	"email",
	"roles",
	"urn:logto:scope:organizations",
	"urn:logto:scope:organization_roles",
	readOrders,
	readTeamOrders,
	readMembers,
}

// config is what the application is told from outside.
type config struct {
	Logto logtogin.Config
	// OrdersAPI is the identifier of the application's API resource; without one there
	// is no orders API, because Logto refuses sign-ins that ask for an unknown resource.
	OrdersAPI string
	// WebhookSigningKey is shown in the Logto Console; without one there are no webhooks.
	WebhookSigningKey string
	RedisAddr         string
	// OwnURL is the listener, which BaseURL is not if there is a proxy in front.
	OwnURL string
}

// wantsFake reports whether to run with a fake Logto: only if no variable
// speaks of a real one. A variable that is set but empty does, so that a
// deployment whose secrets got lost never runs with a well-known password.
func wantsFake(environ []string) (bool, error) {
	logto := map[string]string{}
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "LOGTO_") {
			logto[name] = value
		}
	}
	if len(logto) == 0 {
		return true, nil
	}
	var missing []string
	for _, name := range []string{"LOGTO_ENDPOINT", "LOGTO_APP_ID", "LOGTO_APP_SECRET"} {
		if logto[name] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return false, fmt.Errorf("%s missing; set LOGTO_ENDPOINT, LOGTO_APP_ID and LOGTO_APP_SECRET to use a real Logto, or no LOGTO_ variable at all to use a fake one", strings.Join(missing, ", "))
	}
	return false, nil
}

// realConfig takes the first of LOGTO_RESOURCES for the application's own API.
func realConfig(ownURL string) (config, error) {
	logto, err := logtogin.ConfigFromEnv()
	logto.BaseURL = cmp.Or(logto.BaseURL, ownURL)
	logto.Scopes = slices.Concat(scopes, logto.Scopes)
	cfg := config{
		Logto:             logto,
		WebhookSigningKey: os.Getenv("LOGTO_WEBHOOK_SIGNING_KEY"),
		RedisAddr:         os.Getenv("REDIS_ADDR"),
		OwnURL:            ownURL,
	}
	if len(logto.Resources) > 0 {
		cfg.OrdersAPI = logto.Resources[0]
	}
	return cfg, err
}
