package logtotest

import (
	"net/http"
	"net/url"
	"slices"
)

// Scripts of every origin may read the documents. What an application asks for with its client ID, scripts
// of its own origins may read, which are the origins of its redirect URIs.

func toEveryOrigin(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate")
		handler(w, r)
	}
}

// toOrigin is for handlers that call checkOrigin as soon as they know the application.
func toOrigin(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if origin := r.Header.Get("Origin"); origin != "" {
			w.Header().Set("Access-Control-Allow-Origin", origin)
			w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate")
			w.Header().Set("Vary", "Origin")
			handler(w, r)
			return
		}
		toEveryOrigin(handler)(w, r)
	}
}

// servePreflight lets every script ask: a preflight request names no application.
func servePreflight(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
	w.Header().Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
	w.Header().Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
}

// checkOrigin refuses a script of another origin. Servers send no Origin.
func (s *Server) checkOrigin(w http.ResponseWriter, r *http.Request, app *Application) *oidcError {
	origin := r.Header.Get("Origin")
	if origin == "" || s.isOriginOf(app, origin) {
		return nil
	}
	w.Header().Del("Access-Control-Allow-Origin")
	return invalidRequest("origin " + origin + " not allowed for client: " + app.ID)
}

func (s *Server) isOriginOf(app *Application, origin string) bool {
	if len(app.RedirectURIs) > 0 {
		return origin == s.Endpoint() || slices.ContainsFunc(app.RedirectURIs, func(uri string) bool { return originOf(uri) == origin })
	}
	parsed, err := url.Parse(origin)
	return (err == nil && isLoopback(parsed.Host)) || slices.ContainsFunc(s.bases(), func(base string) bool { return originOf(base) == origin })
}
