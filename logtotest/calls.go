package logtotest

import "net/http"

// Endpoint is one of the addresses that calls are counted for and that
// Intercept can take over.
type Endpoint int

const (
	Discovery Endpoint = iota
	Keys
	Authorization
	Token
	UserInfo
	Revocation
	EndSession
	endpoints
)

// Calls counts the calls by endpoint.
type Calls struct {
	Discovery, Keys, Authorization, Token, UserInfo, Revocation, EndSession int
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

// observed counts a call and passes it to the interceptor, if there is one.
func (s *Server) observed(endpoint Endpoint, handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		*[...]*int{
			&s.calls.Discovery, &s.calls.Keys, &s.calls.Authorization, &s.calls.Token,
			&s.calls.UserInfo, &s.calls.Revocation, &s.calls.EndSession,
		}[endpoint]++
		intercept := s.faults.intercept[endpoint]
		s.mu.Unlock()
		if intercept != nil {
			intercept(w, r, handler)
			return
		}
		handler(w, r)
	})
}
