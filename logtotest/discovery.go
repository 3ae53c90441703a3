package logtotest

import (
	"encoding/json"
	"net/http"
)

func (s *Server) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	algorithm := s.keys[0].algorithm
	change := s.faults.discovery
	s.mu.Unlock()

	issuer := s.Issuer()
	document := map[string]any{
		"issuer":                                         issuer,
		"authorization_endpoint":                         issuer + "/auth",
		"token_endpoint":                                 issuer + "/token",
		"userinfo_endpoint":                              issuer + "/me",
		"jwks_uri":                                       issuer + "/jwks",
		"end_session_endpoint":                           issuer + "/session/end",
		"revocation_endpoint":                            issuer + "/token/revocation",
		"code_challenge_methods_supported":               []string{"S256"},
		"claims_parameter_supported":                     false,
		"grant_types_supported":                          []string{"authorization_code", "refresh_token"},
		"response_modes_supported":                       []string{"query"},
		"response_types_supported":                       []string{"code"},
		"subject_types_supported":                        []string{"public"},
		"scopes_supported":                               knownScopes,
		"id_token_signing_alg_values_supported":          []string{algorithm},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post"},
		"authorization_response_iss_parameter_supported": true,
		"request_uri_parameter_supported":                false,
	}
	var answer any = document
	if change != nil {
		answer = change(document)
	}
	writeJSON(w, http.StatusOK, "application/json; charset=utf-8", answer)
}

var knownScopes = []string{
	"openid", "offline_access", "profile", "email", "phone", "address", "custom_data", "identities", "roles",
	"urn:logto:scope:organizations", "urn:logto:scope:organization_roles",
}

func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "logtotest: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// writeError answers as Logto does: OAuth's members beside its own.
func writeError(w http.ResponseWriter, status int, code, description string) {
	body := map[string]any{
		"code": "oidc." + code, "message": description,
		"error": code, "error_description": description,
	}
	if code == "invalid_grant" {
		body["error_uri"] = "https://openid.sh/debug/invalid_grant"
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, "application/json; charset=utf-8", body)
}
