package logtotest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
)

// hooks are what tests have put into the way of honest answers. Those of a list run in its order.
type hooks struct {
	intercept [endpoints]func(http.ResponseWriter, *http.Request, http.Handler)
	tokens    [tokenKinds][]func(*JWT)
	documents [endpoints][]func(map[string]any) any
	callback  []func(url.Values) url.Values
}

type tokenKind int

const (
	idToken tokenKind = iota
	accessToken
	logoutToken
	tokenKinds
)

// tokenTypes are the "typ" of the headers.
var tokenTypes = [tokenKinds]string{accessToken: "at+jwt", logoutToken: "logout+jwt"}

// ChangeIDToken lets change have every ID token before it is signed. nil makes
// the server honest again.
func (s *Server) ChangeIDToken(change func(*JWT)) { replace(s, &s.hooks.tokens[idToken], change) }

// ChangeAccessToken is ChangeIDToken for access tokens that are JWTs. It also
// makes custom claims.
func (s *Server) ChangeAccessToken(change func(*JWT)) {
	replace(s, &s.hooks.tokens[accessToken], change)
}

// ChangeLogoutToken is ChangeIDToken for logout tokens.
func (s *Server) ChangeLogoutToken(change func(*JWT)) {
	replace(s, &s.hooks.tokens[logoutToken], change)
}

// ChangeKeys lets change decide what is served as the JWK set: it gets the
// honest one as decoded JSON. A json.RawMessage is served as it is, even if it
// is not JSON. nil makes the server honest again.
func (s *Server) ChangeKeys(change func(map[string]any) any) {
	replace(s, &s.hooks.documents[Keys], change)
}

// ChangeDiscovery is ChangeKeys for the discovery document.
func (s *Server) ChangeDiscovery(change func(map[string]any) any) {
	replace(s, &s.hooks.documents[Discovery], change)
}

// ChangeTokenAnswer is ChangeKeys for the answer to a successful token request.
func (s *Server) ChangeTokenAnswer(change func(map[string]any) any) {
	replace(s, &s.hooks.documents[Token], change)
}

// ChangeUserInfo is ChangeKeys for the answer to a successful user info
// request.
func (s *Server) ChangeUserInfo(change func(map[string]any) any) {
	replace(s, &s.hooks.documents[UserInfo], change)
}

// ChangeCallback lets change decide on the parameters of every authorization
// response, also of one that reports an error. nil makes the server honest
// again.
func (s *Server) ChangeCallback(change func(url.Values) url.Values) {
	replace(s, &s.hooks.callback, change)
}

// Intercept lets handler answer the calls of an endpoint: with an error, late,
// never, or by passing the call to next, which answers honestly. A handler that
// waits must give up when the request's context is done, or Close waits for it.
// nil makes the server honest again.
func (s *Server) Intercept(endpoint Endpoint, handler func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.intercept[endpoint] = handler
}

// replace replaces the hooks of a list by one, or by none if that is nil.
func replace[F any](s *Server, list *[]F, hook F) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = nil
	if !reflect.ValueOf(hook).IsNil() {
		*list = []F{hook}
	}
}

// hooksIn are the hooks of a list, to run without the lock, so that they may call the server.
func hooksIn[F any](s *Server, list *[]F) []F {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *list
}

func (s *Server) changeToken(kind tokenKind, token *JWT) error {
	changes := hooksIn(s, &s.hooks.tokens[kind])
	if len(changes) == 0 {
		return nil
	}
	claims, err := decodedJSON(token.Claims)
	if err != nil {
		return err
	}
	token.Claims = claims
	for _, change := range changes {
		change(token)
	}
	return nil
}

// writeDocument answers with a document, after the hooks of the endpoint have had their way.
func (s *Server) writeDocument(w http.ResponseWriter, endpoint Endpoint, contentType string, document map[string]any) {
	changes := hooksIn(s, &s.hooks.documents[endpoint])
	if len(changes) == 0 {
		writeJSON(w, http.StatusOK, contentType, document)
		return
	}
	decoded, err := decodedJSON(document)
	if err != nil {
		writeError(w, serverError(err))
		return
	}
	var answer any = decoded
	for _, change := range changes {
		answer = change(decoded)
	}
	writeJSON(w, http.StatusOK, contentType, answer)
}

// decodedJSON is a deep copy as a hook expects it, which it can change without
// changing the server's own state.
func decodedJSON(document map[string]any) (map[string]any, error) {
	encoded, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	var decoded map[string]any
	err = json.Unmarshal(encoded, &decoded)
	return decoded, err
}
