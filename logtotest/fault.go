package logtotest

import (
	"net/http"
	"net/url"
)

// Fault is one way in which a server can misbehave; give it to Server.Misbehave.
// Package faults has them all. A test can make its own, of which the first four
// fields need no value.
type Fault struct {
	// Name is the name of the variable in package faults, for the names of tests.
	Name string
	// Conformance are the tests of the OpenID Foundation's conformance suite for
	// relying parties in which the provider does the same, "" if there is none.
	Conformance string
	// Stage is what an application is doing when it meets it.
	Stage Stage
	// Harmless says that an application has to cope with it: what it is doing must
	// work. With any other fault it must fail.
	Harmless bool

	// IDToken and LogoutToken change tokens before they are signed.
	IDToken, LogoutToken func(*Server, *JWT)
	// Documents change the successful answers of Discovery, Keys, Token and UserInfo.
	Documents map[Endpoint]func(map[string]any)
	// Callback changes the parameters of authorization responses.
	Callback func(url.Values)
	// Answers are given in the place of endpoints.
	Answers map[Endpoint]http.HandlerFunc
}

// Stage is what an application is doing when it meets a fault.
type Stage string

const (
	// StageSignIn is everything on the way to a session: metadata, keys, the callback
	// and its tokens. An application keeps metadata and keys for a while; faults of
	// theirs show in one that has just been started.
	StageSignIn Stage = "sign-in"
	// StageUserInfo is asking for user info when the user is signed in.
	StageUserInfo Stage = "user info"
	// StageSignOut is a sign-out, with the revocation of tokens.
	StageSignOut Stage = "sign-out"
	// StageBackchannelLogout is taking a logout token.
	StageBackchannelLogout Stage = "back-channel logout"
)

// Misbehave makes the server have these faults and no others. The hooks of the
// Change methods and of Intercept are removed.
func (s *Server) Misbehave(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = hooks{}
	for _, fault := range faults {
		s.add(fault)
	}
}

// Behave makes the server honest again: it removes every fault and every hook.
// Applications remember that metadata or keys could not be had for a second by their
// clock; Advance moves it past that.
func (s *Server) Behave() { s.Misbehave() }

// add puts the hooks of a fault behind those that are there. The lock is held.
func (s *Server) add(fault Fault) {
	for kind, change := range [...]func(*Server, *JWT){idToken: fault.IDToken, logoutToken: fault.LogoutToken} {
		if change != nil {
			s.hooks.tokens[kind] = append(s.hooks.tokens[kind], func(token *JWT) { change(s, token) })
		}
	}
	for endpoint, change := range fault.Documents {
		s.hooks.documents[endpoint] = append(s.hooks.documents[endpoint], func(document map[string]any) any {
			change(document)
			return document
		})
	}
	if fault.Callback != nil {
		s.hooks.callback = append(s.hooks.callback, func(parameters url.Values) url.Values {
			fault.Callback(parameters)
			return parameters
		})
	}
	for endpoint, answer := range fault.Answers {
		s.hooks.intercept[endpoint] = func(w http.ResponseWriter, r *http.Request, _ http.Handler) { answer(w, r) }
	}
}
