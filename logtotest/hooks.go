package logtotest

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// hooks are what tests have put into the way of honest answers.
type hooks struct {
	intercept   [endpoints]func(http.ResponseWriter, *http.Request, http.Handler)
	idToken     func(*JWT)
	accessToken func(*JWT)
	logoutToken func(*JWT)
	keys        func(map[string]any) any
	discovery   func(map[string]any) any
	tokenAnswer func(map[string]any) any
	userInfo    func(map[string]any) any
	callback    func(url.Values) url.Values
}

// JWT is a token on its way to be signed.
type JWT struct {
	// Header and Claims are what the token will say. Numbers are float64, as
	// in any decoded JSON.
	Header, Claims map[string]any

	// Algorithm and Key are what it is signed with; SignToken says which fit
	// together. They do not follow Header["alg"], nor does the header follow
	// them.
	Algorithm string
	Key       any

	// Raw, if set, is sent in place of the signed token.
	Raw string
}

// ChangeIDToken lets change have every ID token before it is signed. nil makes
// the server honest again.
func (s *Server) ChangeIDToken(change func(*JWT)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.idToken = change
}

// ChangeAccessToken is ChangeIDToken for access tokens that are JWTs. It also
// makes custom claims.
func (s *Server) ChangeAccessToken(change func(*JWT)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.accessToken = change
}

// ChangeLogoutToken is ChangeIDToken for logout tokens.
func (s *Server) ChangeLogoutToken(change func(*JWT)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.logoutToken = change
}

// ChangeKeys lets change decide what is served as the JWK set: it gets the
// honest one as decoded JSON. A json.RawMessage is served as it is, even if it
// is not JSON. nil makes the server honest again.
func (s *Server) ChangeKeys(change func(map[string]any) any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.keys = change
}

// ChangeDiscovery is ChangeKeys for the discovery document.
func (s *Server) ChangeDiscovery(change func(map[string]any) any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.discovery = change
}

// ChangeTokenAnswer is ChangeKeys for the answer to a successful token request.
func (s *Server) ChangeTokenAnswer(change func(map[string]any) any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.tokenAnswer = change
}

// ChangeUserInfo is ChangeKeys for the answer to a successful user info
// request.
func (s *Server) ChangeUserInfo(change func(map[string]any) any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.userInfo = change
}

// ChangeCallback lets change decide on the parameters of every authorization
// response, also of one that reports an error. nil makes the server honest
// again.
func (s *Server) ChangeCallback(change func(url.Values) url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks.callback = change
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

// currentHooks is a copy, so that hooks run without the lock and may call the
// server.
func (s *Server) currentHooks() hooks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hooks
}

func changed(change func(map[string]any) any, document map[string]any) (any, error) {
	if change == nil {
		return document, nil
	}
	decoded, err := decodedJSON(document)
	if err != nil {
		return nil, err
	}
	return change(decoded), nil
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
