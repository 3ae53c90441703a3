package logto

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// C98.
func FuzzDiscovery(f *testing.F) {
	const good = testMetadata
	for _, seed := range []string{
		good, strings.ReplaceAll(good, "oidc/token\"", "oidc/token#x\""), strings.ReplaceAll(good, "https://example.logto.app/oidc/me", "http://example.logto.app/oidc/me"),
		strings.ReplaceAll(good, "https://example.logto.app/oidc/jwks", "https://user@example.logto.app"), strings.ReplaceAll(good, `"https://example.logto.app/oidc/auth"`, "null"),
		strings.ReplaceAll(good, "true", `"yes"`), `{"issuer":"https://example.logto.app/oidc"}`, `{}`, ``, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := newTestProvider(t, json200(string(body)), nil).Discover(t.Context())
		if err != nil {
			if len(body) > 50 && strings.Contains(err.Error(), string(body)) {
				t.Fatalf("the error has the body: %v", err)
			}
			return
		}
		var document struct{ Issuer string }
		if err := json.Unmarshal(body, &document); err != nil || document.Issuer != testIssuer {
			t.Fatalf("%q is believed", body)
		}
		for _, endpoint := range []string{m.AuthorizationEndpoint, m.TokenEndpoint, m.UserInfoEndpoint, m.EndSessionEndpoint, m.RevocationEndpoint, m.KeysEndpoint} {
			if u, err := url.Parse(endpoint); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
				t.Fatalf("%q: the endpoint %q", body, endpoint)
			}
		}
	})
}
