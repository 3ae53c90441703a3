package logtotest

import (
	"net/http"
	"slices"
)

// grantTypes are those that Logto knows; which of them an application may use
// depends on its type.
var grantTypes = []string{
	"implicit", "authorization_code", "refresh_token", "client_credentials",
	"urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:token-exchange",
}

func (s *Server) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	var algorithms []string
	for _, key := range s.currentKeys() {
		if !slices.Contains(algorithms, key.Algorithm) {
			algorithms = append(algorithms, key.Algorithm)
		}
	}
	// As at Logto, the addresses follow the host that was asked and the issuer
	// does not.
	oidc := askedBase(r) + "/oidc"
	s.writeDocument(w, Discovery, jsonType, map[string]any{
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
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	var keys []map[string]any
	for _, key := range s.currentKeys() {
		keys = append(keys, key.JWK)
	}
	w.Header().Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	s.writeDocument(w, Keys, "application/jwk-set+json; charset=utf-8", map[string]any{"keys": keys})
}
