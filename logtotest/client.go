package logtotest

import (
	"crypto/subtle"
	"fmt"
	"mime"
	"net/http"
	"net/url"
)

// clientForm is the form of a request that the application made itself with,
// and authenticated, in one of the two ways that Logto takes.
func (s *Server) clientForm(w http.ResponseWriter, r *http.Request) (*Application, url.Values, *oidcError) {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if mediaType != "application/x-www-form-urlencoded" {
		return nil, nil, invalidRequest("only application/x-www-form-urlencoded content-type bodies are supported on " +
			r.Method + " " + r.URL.Path)
	}
	if err := r.ParseForm(); err != nil {
		return nil, nil, invalidRequest("failed to parse the request body")
	}
	form := r.PostForm
	if failure := noneTwice(form); failure != nil {
		return nil, nil, failure
	}
	id, secret, failure := presentedCredentials(r, form)
	if failure != nil {
		return nil, nil, failure
	}
	app, failure := s.knownClient(id)
	if failure != nil {
		return nil, nil, failure
	}
	if failure := s.checkOrigin(w, r, app); failure != nil {
		return nil, nil, failure
	}
	if subtle.ConstantTimeCompare([]byte(secret), []byte(app.Secret)) == 0 {
		failure := newError(http.StatusUnauthorized, "invalid_client", "client authentication failed")
		if r.Header.Get("Authorization") != "" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q, error=%q, error_description=%q",
				s.Issuer(), failure.Name, failure.Description))
		}
		return nil, nil, failure
	}
	return app, form, nil
}

func (s *Server) knownClient(id string) (*Application, *oidcError) {
	if app := s.application(id); app != nil {
		return app, nil
	}
	return nil, newError(http.StatusBadRequest, "invalid_client", "invalid client "+id)
}

func presentedCredentials(r *http.Request, form url.Values) (id, secret string, failure *oidcError) {
	if r.Header.Get("Authorization") == "" {
		if !form.Has("client_id") {
			return "", "", invalidRequest("no client authentication mechanism provided")
		}
		return form.Get("client_id"), form.Get("client_secret"), nil
	}
	if form.Has("client_secret") {
		return "", "", invalidRequest("client authentication must only be provided using one mechanism")
	}
	encodedID, encodedSecret, ok := r.BasicAuth()
	id, idErr := url.QueryUnescape(encodedID)
	secret, secretErr := url.QueryUnescape(encodedSecret)
	if !ok || idErr != nil || secretErr != nil {
		return "", "", invalidRequest("invalid authorization header value format")
	}
	if form.Has("client_id") && form.Get("client_id") != id {
		return "", "", invalidRequest("mismatch in body and authorization client ids")
	}
	return id, secret, nil
}

func require(form url.Values, names ...string) *oidcError {
	for _, name := range names {
		if form.Get(name) == "" {
			return invalidRequest("missing required parameter '" + name + "'")
		}
	}
	return nil
}

func noneTwice(parameters url.Values) *oidcError {
	for name, values := range parameters {
		if len(values) > 1 && name != "resource" {
			return invalidRequest("'" + name + "' parameter must not be provided twice")
		}
	}
	return nil
}
