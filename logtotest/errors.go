package logtotest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
)

// oidcError is an error body as Logto words it.
type oidcError struct {
	Code        string `json:"code"`
	Message     string `json:"message"`
	URI         string `json:"error_uri,omitempty"`
	Name        string `json:"error"`
	Description string `json:"error_description,omitempty"`
	Scope       string `json:"scope,omitempty"`
	State       string `json:"state,omitempty"`
	Issuer      string `json:"iss,omitempty"`

	status int
	hint   string // for the log
}

func (e *oidcError) Error() string { return e.Name + ": " + e.Description }

var messages = map[string]string{
	"invalid_request":        "Request is invalid.",
	"invalid_redirect_uri":   "`redirect_uri` did not match any of the client's registered `redirect_uris`.",
	"invalid_grant":          "Grant request is invalid.",
	"invalid_scope":          "Invalid scope: {{error_description}}.", // the placeholder is Logto's slip
	"invalid_target":         "Invalid resource indicator.",
	"invalid_token":          "Invalid token provided.",
	"access_denied":          "Access denied.",
	"unsupported_grant_type": "Unsupported `grant_type` requested.",
}

func newError(status int, name, description string) *oidcError {
	e := &oidcError{
		Code:        "oidc." + name,
		Message:     cmp.Or(messages[name], "An OIDC error occurred: oidc."+name+"."),
		Name:        name,
		Description: description,
		status:      status,
	}
	if name == "invalid_grant" {
		e.URI = "https://openid.sh/debug/invalid_grant"
	}
	return e
}

func invalidRequest(description string) *oidcError {
	return newError(http.StatusBadRequest, "invalid_request", description)
}

// invalidGrant has one description for every reason, so that a client cannot
// tell them apart.
func invalidGrant() *oidcError {
	return newError(http.StatusBadRequest, "invalid_grant", "grant request is invalid")
}

// accessDenied is the answer of app-level access control.
func accessDenied() *oidcError {
	return newError(http.StatusBadRequest, "access_denied", "Access denied.")
}

func invalidTarget(hint string) *oidcError {
	failure := newError(http.StatusBadRequest, "invalid_target", "resource indicator is missing, or unknown")
	failure.hint = hint
	return failure
}

func unknownResource(indicator string) *oidcError {
	return invalidTarget(fmt.Sprintf("there is no API resource %q; AddResource adds it; a slash at its end counts", indicator))
}

func resourceNotRequested(indicator string) *oidcError {
	return invalidTarget(fmt.Sprintf("the sign-in has not asked for the API resource %q; Config.Resources of the application lists what it asks for", indicator))
}

func serverError(err error) *oidcError {
	return newError(http.StatusInternalServerError, "server_error", err.Error())
}

const jsonType = "application/json; charset=utf-8"

func writeError(w http.ResponseWriter, e *oidcError) {
	writeJSON(w, e.status, jsonType, e)
}

func writeJSON(w http.ResponseWriter, status int, contentType string, document any) {
	body, raw := document.(json.RawMessage)
	if !raw {
		var err error
		if body, err = json.Marshal(document); err != nil {
			status, contentType = http.StatusInternalServerError, "text/plain; charset=utf-8"
			body = []byte("logtotest: " + err.Error())
		}
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func redirect(w http.ResponseWriter, location string) { redirectWith(w, http.StatusSeeOther, location) }

func redirectWith(w http.ResponseWriter, status int, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "Redirecting to %s.", html.EscapeString(location))
}

func serveUnknownRoute(w http.ResponseWriter, r *http.Request) {
	description := fmt.Sprintf("unrecognized route or not allowed method (%s on %s)", r.Method, r.URL.Path)
	writeError(w, newError(http.StatusNotFound, "invalid_request", description))
}
