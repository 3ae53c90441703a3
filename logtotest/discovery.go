package logtotest

import (
	"net/http"
	"slices"
)

// supportedScopes are the scopes that belong to the provider; all others are
// permissions of API resources.
var supportedScopes = []string{
	"openid", "offline_access", "profile", "email", "phone", "address", "custom_data", "identities", "roles",
	"urn:logto:scope:organizations", "urn:logto:scope:organization_roles",
	"urn:logto:scope:sessions", "urn:logto:scope:trusted_devices",
}

// grantTypes are those that Logto knows; which of them an application may use
// depends on its type.
var grantTypes = []string{
	"implicit", "authorization_code", "refresh_token", "client_credentials",
	"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
}

func (s *Server) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	var algorithms []string
	for _, key := range s.keys {
		if !slices.Contains(algorithms, key.algorithm) {
			algorithms = append(algorithms, key.algorithm)
		}
	}
	s.mu.Unlock()

	// As at Logto, the addresses follow the host that was asked and the issuer
	// does not.
	oidc := baseURL(r) + "/oidc"
	document, err := changed(s.currentHooks().discovery, map[string]any{
		"issuer":                                s.Issuer(),
		"authorization_endpoint":                oidc + "/auth",
		"device_authorization_endpoint":         oidc + "/device/auth",
		"end_session_endpoint":                  oidc + "/session/end",
		"introspection_endpoint":                oidc + "/token/introspection",
		"jwks_uri":                              oidc + "/jwks",
		"pushed_authorization_request_endpoint": oidc + "/request",
		"revocation_endpoint":                   oidc + "/token/revocation",
		"token_endpoint":                        oidc + "/token",
		"userinfo_endpoint":                     oidc + "/me",

		"authorization_response_iss_parameter_supported": true,
		"backchannel_logout_session_supported":           true,
		"backchannel_logout_supported":                   true,
		"claims_parameter_supported":                     false,
		"request_uri_parameter_supported":                false,

		"claim_types_supported": []string{"normal"},
		"claims_supported": []string{
			"sub", "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
			"picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at", "username", "created_at",
			"email", "email_verified", "phone_number", "phone_number_verified", "address", "custom_data",
			"identities", "sso_identities", "roles", "organizations", "organization_data", "organization_roles",
			"sid", "auth_time", "iss",
		},
		"code_challenge_methods_supported":      []string{"S256"},
		"grant_types_supported":                 grantTypes,
		"id_token_signing_alg_values_supported": algorithms,
		"response_modes_supported":              []string{"form_post", "fragment", "query"},
		"response_types_supported":              []string{"code id_token", "code", "id_token", "none"},
		"scopes_supported":                      supportedScopes,
		"subject_types_supported":               []string{"public"},
		"token_endpoint_auth_methods_supported": []string{
			"client_secret_basic", "client_secret_jwt", "client_secret_post", "private_key_jwt", "none",
		},
		"token_endpoint_auth_signing_alg_values_supported": []string{
			"HS256", "RS256", "PS256", "ES256", "Ed25519", "EdDSA",
		},
	})
	if err != nil {
		writeError(w, serverError(err))
		return
	}
	writeJSON(w, http.StatusOK, "application/json; charset=utf-8", document)
}

func baseURL(r *http.Request) string { return "http://" + r.Host }
