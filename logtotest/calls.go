package logtotest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// Endpoint is one of the addresses whose calls are counted and that Intercept
// can take over.
type Endpoint int

const (
	Discovery     Endpoint = iota // GET /oidc/.well-known/openid-configuration and oauth-authorization-server
	Keys                          // GET /oidc/jwks
	Authorization                 // GET /oidc/auth
	Token                         // POST /oidc/token
	UserInfo                      // GET and POST /oidc/me
	Revocation                    // POST /oidc/token/revocation
	Introspection                 // POST /oidc/token/introspection
	EndSession                    // GET and POST /oidc/session/end
	endpoints
)

// String is the name of the constant.
func (e Endpoint) String() string {
	names := [endpoints]string{"Discovery", "Keys", "Authorization", "Token", "UserInfo", "Revocation", "Introspection", "EndSession"}
	if e < 0 || e >= endpoints {
		return "Endpoint(" + strconv.Itoa(int(e)) + ")"
	}
	return names[e]
}

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
	c := s.calls
	return Calls{c[Discovery], c[Keys], c[Authorization], c[Token], c[UserInfo], c[Revocation], c[Introspection], c[EndSession]}
}

// maxRecorded bounds the record; the oldest calls leave first.
const maxRecorded = 10_000

// Call is one call of an endpoint and what was answered.
type Call struct {
	Endpoint Endpoint
	Method   string
	Header   http.Header
	// Form are the parameters of query and body, as far as the server has looked
	// at them.
	Form   url.Values
	Status int
}

// Record returns the calls since the start or the last ResetCalls, in the order
// in which they were answered, the latest 10 000.
func (s *Server) Record() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.record)
}

func (s *Server) remembered(endpoint Endpoint, r *http.Request, status int) {
	form := r.Form
	if form == nil {
		form = r.URL.Query()
	}
	call := Call{Endpoint: endpoint, Method: r.Method, Header: r.Header.Clone(), Form: maps.Clone(form), Status: status}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.record) == maxRecorded {
		s.record = slices.Delete(s.record, 0, 1)
	}
	s.record = append(s.record, call)
}

// statusWriter calls begins with the status of the answer before the client can see it.
type statusWriter struct {
	http.ResponseWriter
	status int
	begins func(status int)
}

func (w *statusWriter) note(status int) {
	if w.status == 0 {
		w.status = status
		w.begins(status)
	}
}

func (w *statusWriter) WriteHeader(status int) {
	w.note(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.note(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// Unwrap and Flush are for handlers of Intercept.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) Flush() {
	w.note(http.StatusOK)
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// ResetCalls sets all counts to zero and empties the record.
func (s *Server) ResetCalls() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.record = [endpoints]int{}, nil
}

// observed counts and records the calls of an endpoint, and lets tests intercept them.
func (s *Server) observed(endpoint Endpoint, handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls[endpoint]++
		intercept := s.hooks.intercept[endpoint]
		s.mu.Unlock()
		// The call is recorded before its answer leaves, so that a client that has the answer
		// finds the call in Record.
		answer := &statusWriter{ResponseWriter: w, begins: func(status int) { s.remembered(endpoint, r, status) }}
		defer func() {
			if answer.status == 0 {
				s.remembered(endpoint, r, 0)
			}
		}()
		if intercept != nil {
			intercept(answer, r, handler)
			return
		}
		handler(answer, r)
	})
}
