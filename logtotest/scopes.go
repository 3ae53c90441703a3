package logtotest

import "slices"

// supportedScopes are the scopes that belong to the provider; all others are
// permissions of API resources.
var supportedScopes = []string{
	"openid", "offline_access", "profile", "email", "phone", "address", "custom_data", "identities", "roles",
	scopeOrganizations, "urn:logto:scope:organization_roles",
	"urn:logto:scope:sessions", "urn:logto:scope:trusted_devices",
}

const scopeOrganizations = "urn:logto:scope:organizations"

// intersection keeps the order of the first.
func intersection(of, with []string) []string {
	return slices.DeleteFunc(slices.Clone(of), func(value string) bool { return !slices.Contains(with, value) })
}

func containsAll(set, wanted []string) bool {
	return len(intersection(wanted, set)) == len(wanted)
}
