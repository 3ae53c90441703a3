package logtotest

import (
	"net/http"
	"net/url"
)

// faults are the ways in which the server has been told to misbehave. All but
// intercept are called while the server is locked.
type faults struct {
	intercept   [endpoints]func(http.ResponseWriter, *http.Request, http.Handler)
	idToken     func(*IDToken)
	keys        func(map[string]any) any
	discovery   func(map[string]any) any
	tokenAnswer func(map[string]any) any
	userInfo    func(map[string]any) any
	callback    func(url.Values) url.Values
}

// IDToken is an ID token before it is signed.
type IDToken struct {
	Header, Claims map[string]any
	// Algorithm and Key sign it; see SignToken. Header["alg"] can say
	// something else.
	Algorithm string
	Key       any
	// Raw, if set, is sent instead.
	Raw string
}

// ChangeIDToken lets change have every ID token before it is signed; nil makes
// the server honest again. A change function, here and below, must not call
// the server's methods.
func (s *Server) ChangeIDToken(change func(*IDToken)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.idToken = change
}

// ChangeKeys lets change decide what is served as the key set.
func (s *Server) ChangeKeys(change func(map[string]any) any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.keys = change
}

// ChangeDiscovery lets change decide what is served as the discovery document.
func (s *Server) ChangeDiscovery(change func(map[string]any) any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.discovery = change
}

// ChangeTokenAnswer lets change decide what a successful token request gets.
func (s *Server) ChangeTokenAnswer(change func(map[string]any) any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.tokenAnswer = change
}

// ChangeUserInfo lets change decide what a successful user info request gets.
func (s *Server) ChangeUserInfo(change func(map[string]any) any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.userInfo = change
}

// ChangeCallback lets change decide on the parameters of the authorization
// response.
func (s *Server) ChangeCallback(change func(url.Values) url.Values) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.callback = change
}

// Intercept lets handler answer the calls of an endpoint, with next as what
// would have answered. nil makes the server honest again.
func (s *Server) Intercept(endpoint Endpoint, handler func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.intercept[endpoint] = handler
}
