package logtotest

import "net/http"

// Endpoint is one of the addresses whose calls are counted and that Intercept
// can take over.
type Endpoint int

const (
	Discovery     Endpoint = iota // GET /oidc/.well-known/openid-configuration
	Keys                          // GET /oidc/jwks
	Authorization                 // GET /oidc/auth
	Token                         // POST /oidc/token
	UserInfo                      // GET and POST /oidc/me
	Revocation                    // POST /oidc/token/revocation
	Introspection                 // POST /oidc/token/introspection
	EndSession                    // GET and POST /oidc/session/end
	endpoints
)

// Calls says how often each endpoint was called. Calls that were answered with
// an error or by an interceptor count too; the sign-in pages, and the way back
// from them to the app, do not.
type Calls struct {
	Discovery, Keys, Authorization, Token, UserInfo, Revocation, Introspection, EndSession int
}

// Calls returns the counts since the start or the last ResetCalls.
func (s *Server) Calls() Calls {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// ResetCalls sets all counts to zero.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = Calls{}
}

func (s *Server) observed(endpoint Endpoint, handler http.HandlerFunc) http.Handler {
	count := [endpoints]*int{
		&s.calls.Discovery, &s.calls.Keys, &s.calls.Authorization, &s.calls.Token,
		&s.calls.UserInfo, &s.calls.Revocation, &s.calls.Introspection, &s.calls.EndSession,
	}[endpoint]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		*count++
		intercept := s.hooks.intercept[endpoint]
		s.mu.Unlock()
		if intercept != nil {
			intercept(w, r, handler)
			return
		}
		handler(w, r)
	})
}
