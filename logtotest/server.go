// Package logtotest is a fake Logto: an OpenID provider with Logto's paths,
// answers and habits, for tests and for development without a Logto.
//
//	logto := logtotest.NewServer(t)
//	auth, err := logtogin.Register(router, logtogin.Config{
//		Endpoint: logto.Endpoint(), AppID: logto.AppID(), AppSecret: logto.AppSecret(), …
//
// It is not for production: it keeps everything in memory, passwords too, and
// serves requests to loopback hosts only.
//
// Where it knowingly differs from Logto: there is one application and no
// organizations; a refresh token is never rotated; access tokens for resources
// carry every scope that was asked for; texts are not localized.
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

// Server is a running fake Logto with one application of the type
// "Traditional web". It is safe for concurrent use, also while requests run.
type Server struct {
	listener net.Listener
	http     *http.Server
	served   sync.WaitGroup
	closing  sync.Once

	appID, appSecret string

	mu             sync.Mutex
	now            func() time.Time
	startedAt      time.Time
	users          []User
	keys           []signingKey // the first one signs
	redirectURIs   []string
	postLogoutURIs []string
	resources      []string
	interactions   map[string]*interaction
	sessions       map[string]*userSession
	logouts        map[string]*logout
	codes          map[string]*authorizationCode
	grants         map[string]*grant
	accessTokens   map[string]*issuedToken
	refreshTokens  map[string]*issuedToken
	calls          Calls
	faults         faults
}

// Start starts a server on a free port of 127.0.0.1. Without users it knows
// DefaultUser. Close stops it.
func Start(users ...User) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("logtotest: %w", err)
	}
	key, err := newSigningKey("ES384")
	if err != nil {
		return nil, err
	}
	s := &Server{
		listener:      listener,
		appID:         strings.ToLower(rand.Text()[:21]),
		appSecret:     (rand.Text() + rand.Text())[:32],
		now:           time.Now,
		startedAt:     time.Now(),
		keys:          []signingKey{key},
		interactions:  map[string]*interaction{},
		sessions:      map[string]*userSession{},
		logouts:       map[string]*logout{},
		codes:         map[string]*authorizationCode{},
		grants:        map[string]*grant{},
		accessTokens:  map[string]*issuedToken{},
		refreshTokens: map[string]*issuedToken{},
	}
	if len(users) == 0 {
		users = []User{DefaultUser()}
	}
	for _, user := range users {
		s.AddUser(user)
	}
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	s.served.Go(func() { _ = s.http.Serve(listener) })
	return s, nil
}

// NewServer is Start for a test, at the end of which the server is closed.
func NewServer(tb testing.TB, users ...User) *Server {
	tb.Helper()
	s, err := Start(users...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Close stops the server and waits until it has stopped. It may be called more
// than once.
func (s *Server) Close() {
	s.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
		}
		s.served.Wait()
	})
}

// Endpoint is the Logto endpoint, for Config.Endpoint.
func (s *Server) Endpoint() string { return "http://" + s.listener.Addr().String() }

// Issuer is the "iss" of its tokens.
func (s *Server) Issuer() string { return s.Endpoint() + "/oidc" }

// AppID is the application's ID.
func (s *Server) AppID() string { return s.appID }

// AppSecret is the application's secret.
func (s *Server) AppSecret() string { return s.appSecret }

// SetNow sets the server's clock. The default is time.Now.
func (s *Server) SetNow(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// RegisterRedirectURIs registers redirect URIs of the application. As long as
// there are none, every loopback URI is accepted.
func (s *Server) RegisterRedirectURIs(uris ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.redirectURIs = append(s.redirectURIs, uris...)
}

// RegisterPostLogoutRedirectURIs registers post sign-out redirect URIs. As
// long as there are none, none is accepted, as by a fresh Logto application.
func (s *Server) RegisterPostLogoutRedirectURIs(uris ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.postLogoutURIs = append(s.postLogoutURIs, uris...)
}

// RegisterResources registers API resources by their indicators.
func (s *Server) RegisterResources(indicators ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resources = append(s.resources, indicators...)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, endpoint Endpoint, handler http.HandlerFunc) {
		mux.Handle(pattern, s.observed(endpoint, handler))
	}
	handle("GET /oidc/.well-known/openid-configuration", Discovery, s.serveDiscovery)
	handle("GET /oidc/jwks", Keys, s.serveKeys)
	handle("GET /oidc/auth", Authorization, s.serveAuthorization)
	handle("POST /oidc/token", Token, s.serveToken)
	handle("GET /oidc/me", UserInfo, s.serveUserInfo)
	handle("POST /oidc/me", UserInfo, s.serveUserInfo)
	handle("POST /oidc/token/revocation", Revocation, s.serveRevocation)
	handle("GET /oidc/session/end", EndSession, s.serveEndSession)
	mux.HandleFunc("GET /oidc/auth/{id}", s.serveResume)
	mux.HandleFunc("POST /oidc/session/end/confirm", s.serveEndSessionConfirm)
	mux.HandleFunc("GET /oidc/session/end/success", s.serveSignedOutPage)
	mux.HandleFunc("GET /sign-in", s.serveSignInPage)
	mux.HandleFunc("POST /sign-in", s.serveSignInPage)
	mux.HandleFunc("GET /register", s.serveRegisterPage)
	mux.HandleFunc("POST /register", s.serveRegisterPage)
	mux.HandleFunc("/oidc/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "invalid_request", "unrecognized route or not allowed method")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Another host name that resolves to this machine is somebody else's
		// page trying to get in.
		if !isLoopbackHost(r.Host) {
			http.Error(w, "logtotest serves loopback hosts only", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		mux.ServeHTTP(w, r)
	})
}

func isLoopbackHost(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
