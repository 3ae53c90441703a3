// Package logtotest is a fake Logto for tests and for development without a
// Logto: an OpenID provider with Logto's addresses, answers and habits and one
// application of the type "Traditional web".
//
//	logto := logtotest.NewServer(t)
//	// configure the app with logto.Endpoint(), logto.AppID(), logto.AppSecret()
//
// A browser, or a client with a cookie jar, signs in with the fields "username"
// and "password" of the sign-in page. The Change… and Intercept methods make
// the server misbehave, so that a test can see what the app does then.
//
// It is not for production. It keeps passwords in clear text and everything in
// memory, listens on 127.0.0.1 only, and refuses requests for any host name
// that is not a loopback one.
//
// Where it knowingly differs from Logto: there is no consent page; a refresh
// token is never rotated; a token for an API resource carries every permission
// that was asked for, as there are no roles that could restrict them; there are
// no organization tokens, only the organization claims of User.Claims; nothing
// calls the app (no back-channel logout, no webhooks); texts are English.
package logtotest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxBody bounds every request body.
const maxBody = 1 << 20

// Server is a running fake Logto. Start or NewServer makes one; the zero value
// is of no use. All its methods may be called at any time, also while requests
// are being answered.
type Server struct {
	appID, appSecret string
	startedAt        time.Time

	listener    net.Listener
	http        *http.Server
	running     sync.WaitGroup
	connections sync.WaitGroup
	stop        context.CancelFunc
	stopping    sync.Once

	mu             sync.Mutex // guards everything below
	now            func() time.Time
	users          []User
	keys           []signingKey // the first one signs
	redirectURIs   []string
	postLogoutURIs []string
	resources      []string
	interactions   map[string]*interaction
	sessions       map[string]*session
	logouts        map[string]logout
	codes          map[string]*authorizationCode
	accessTokens   map[string]*issuedToken
	refreshTokens  map[string]*issuedToken
	calls          Calls
	faults         faults
}

// Start starts a server on a free port of 127.0.0.1. Without users it knows
// DefaultUser. Close stops it.
func Start(users ...User) (*Server, error) {
	key, err := newSigningKey("ES384")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("logtotest: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		appID:         strings.ToLower(rand.Text()[:21]),
		appSecret:     (rand.Text() + rand.Text())[:32],
		startedAt:     time.Now(),
		listener:      listener,
		stop:          stop,
		now:           time.Now,
		keys:          []signingKey{key},
		interactions:  map[string]*interaction{},
		sessions:      map[string]*session{},
		logouts:       map[string]logout{},
		codes:         map[string]*authorizationCode{},
		accessTokens:  map[string]*issuedToken{},
		refreshTokens: map[string]*issuedToken{},
	}
	if len(users) == 0 {
		users = []User{DefaultUser()}
	}
	for _, user := range users {
		s.AddUser(user)
	}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         s.countConnection,
	}
	s.running.Go(func() { _ = s.http.Serve(listener) })
	return s, nil
}

// NewServer is Start for a test: it fails the test instead of returning an
// error, and closes the server when the test is over.
func NewServer(tb testing.TB, users ...User) *Server {
	tb.Helper()
	s, err := Start(users...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Close stops the server: it drops all connections, cancels the contexts of
// the requests that are being answered and waits until their handlers have
// returned. Further calls do nothing.
func (s *Server) Close() {
	s.stopping.Do(func() {
		// The connections go first, so that no handler can still answer.
		_ = s.http.Close()
		// Serve may not have taken over the listener yet.
		_ = s.listener.Close()
		s.stop()
		s.running.Wait()
		s.connections.Wait()
	})
}

func (s *Server) countConnection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.connections.Done()
	}
}

// Endpoint is the Logto endpoint: "http://127.0.0.1:" and a port, without a
// slash at the end.
func (s *Server) Endpoint() string { return "http://" + s.listener.Addr().String() }

// Issuer is the "iss" of everything that the server issues.
func (s *Server) Issuer() string { return s.Endpoint() + "/oidc" }

// AppID is the ID of the application, 21 characters made up at the start.
func (s *Server) AppID() string { return s.appID }

// AppSecret is the secret of the application, 32 characters made up at the
// start.
func (s *Server) AppSecret() string { return s.appSecret }

// SetNow replaces the server's clock, to let codes, tokens and sessions expire.
// The function must be safe for concurrent use. Default, and what nil restores:
// time.Now.
func (s *Server) SetNow(now func() time.Time) {
	if now == nil {
		now = time.Now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// clock asks for the time without holding the lock, because a test's clock may
// call the server.
func (s *Server) clock() time.Time {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	return now()
}

// RegisterRedirectURIs adds redirect URIs of the application. A request must
// name one of them exactly. As long as there are none, every loopback URI is
// accepted.
func (s *Server) RegisterRedirectURIs(uris ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redirectURIs = append(s.redirectURIs, uris...)
}

// RegisterPostLogoutRedirectURIs adds post sign-out redirect URIs of the
// application. As long as there are none, none is accepted, as with an
// application that was just made in Logto.
func (s *Server) RegisterPostLogoutRedirectURIs(uris ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postLogoutURIs = append(s.postLogoutURIs, uris...)
}

// RegisterResources adds API resources by their indicators. Without any, only
// Logto's own urn:logto:resource:organizations is known.
func (s *Server) RegisterResources(uris ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources = append(s.resources, uris...)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, endpoint Endpoint, handler http.HandlerFunc) {
		mux.Handle(pattern, s.observed(endpoint, handler))
	}
	handle("GET /oidc/.well-known/openid-configuration", Discovery, crossOrigin(s.serveDiscovery))
	handle("GET /oidc/jwks", Keys, crossOrigin(s.serveKeys))
	handle("GET /oidc/auth", Authorization, s.serveAuthorization)
	handle("POST /oidc/token", Token, crossOrigin(s.serveToken))
	handle("GET /oidc/me", UserInfo, crossOrigin(s.serveUserInfo))
	handle("POST /oidc/me", UserInfo, crossOrigin(s.serveUserInfo))
	handle("POST /oidc/token/revocation", Revocation, crossOrigin(s.serveRevocation))
	handle("GET /oidc/session/end", EndSession, s.serveEndSession)
	handle("POST /oidc/session/end", EndSession, s.serveEndSession)
	mux.HandleFunc("GET /oidc/auth/{uid}", s.serveResume)
	mux.HandleFunc("POST /oidc/session/end/confirm", s.serveEndSessionConfirm)
	mux.HandleFunc("GET /oidc/session/end/success", s.serveSignedOutPage)
	mux.HandleFunc("GET /sign-in", s.serveSignInPage)
	mux.HandleFunc("POST /sign-in", s.serveSignIn)
	mux.HandleFunc("GET /register", s.serveRegisterPage)
	mux.HandleFunc("POST /register", s.serveRegister)
	mux.HandleFunc("/oidc/", serveUnknownRoute)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A foreign name that resolves to this machine is a web page on its
		// way in (DNS rebinding).
		if !isLoopback(r.Host) {
			http.Error(w, "logtotest answers requests for loopback hosts only", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

func crossOrigin(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate")
		handler(w, r)
	}
}

func isLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = strings.Trim(hostPort, "[]")
	}
	host = strings.ToLower(host)
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || (ip != nil && ip.IsLoopback())
}
