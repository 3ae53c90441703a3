// Package logtotest is a fake Logto for tests and for development without a
// Logto: an OpenID provider with Logto's addresses, answers and habits.
//
//	func TestProfile(t *testing.T) {
//		logto := logtotest.NewServer(t)
//		router := newRouter(logto.Config("https://app.example.com"))
//		client := logto.SignIn(t, router, logtotest.DefaultUser())
//		response, err := client.Get("/profile")
//		…
//	}
//
// The application needs no listener and the test no browser. Where there is a
// browser, it signs in on the server's pages with the fields "username" and
// "password". Users, applications, roles, resources and organizations are plain
// values that the Add methods take. Advance moves the clock, RotateKey the keys;
// Misbehave, the Change methods and Intercept make the server do what it should
// not, so that a test can see what the application does then.
//
// A sign-in takes the redirects that it takes at Logto, sets Logto's cookies and fails where it
// fails at Logto. A browser has one interaction for each application, and each interaction gives
// its session another ID. So sign-ins in several tabs at once disturb each other: a tab gets the
// answer of another tab, ends at /unknown-session, or gets an error at /oidc/auth/<uid>. Two
// interactions that end at the same moment destroy the session. A request with prompt=none, or
// without a prompt after an earlier grant, needs no interaction.
//
// It is not for production: it keeps passwords in clear text and everything in
// memory, listens on 127.0.0.1 only, and refuses requests for any host name that
// is not a loopback one.
//
// Where it knowingly differs from Logto: sign-in is by password only, without
// verification codes, MFA, social connectors and enterprise SSO; there is no
// Management API and no Account API, no device flow, no token exchange, no pushed
// authorization request and no custom domain; redirect URIs have no wildcards; a
// tenant has no default API resource, and which claims ID tokens have is not to be
// set; organization_id in an authorization request has no effect on permissions; the
// sign-in page posts its form to its own address, where Logto's calls an API; the
// signatures of cookies are not checked; a grant has neither a limit of number nor one of
// 180 days; third-party applications get no invalid_scope; prompt=none is login_required or
// consent_required for applications of every type; authorization requests are GET only;
// loopback redirect URIs of Native applications are compared with their port; the key set
// has no ETag; logout tokens and webhooks go to loopback addresses, too, to which a
// self-hosted Logto 1.42 sends none unless told to; webhooks are answered for before the
// request that caused them goes on; texts are English. It answers as Logto 1.42 does.
package logtotest

import (
	"context"
	"fmt"
	"log/slog"
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
	startedAt  time.Time
	secret     string       // for Config
	testLogger *slog.Logger // nil if the server is not for one test

	listener    net.Listener
	own         http.Handler // of the server itself
	http        *http.Server // answers for the server itself, and for applications in memory
	outgoing    *transport
	running     sync.WaitGroup
	connections sync.WaitGroup
	lifetime    context.Context
	stop        context.CancelFunc
	stopping    sync.Once

	mu                sync.Mutex // guards everything below
	now               func() time.Time
	offset            time.Duration
	users             []User
	applications      []*Application // the first one is the server's own
	resources         map[string]Resource
	roles             map[string]Role
	organizations     map[string]Organization
	organizationRoles map[string]OrganizationRole
	keys              []signingKey // the first one signs
	baseURLs          []string
	routes            []route
	clients           map[net.Conn]net.Conn // in memory, by the connection at the server
	webhooks          []registeredHook
	deliveries        []Delivery
	interactions      map[string]*interaction
	sessions          map[string]*session // by the ID in the cookie
	logouts           map[string]logout
	codes             map[string]*authorizationCode
	accessTokens      map[string]*issuedToken
	refreshTokens     map[string]*issuedToken
	calls             Calls
	record            []Call
	hooks             hooks

	unknownSessionRedirect string
}

// Start starts a server on a free port of 127.0.0.1. Without users it knows
// DefaultUser. Close stops it. It says in the log that it is a fake. Config makes the
// configuration of an application for it; a Config.AfterSignOut that is added to it has to be
// registered by RegisterPostLogoutRedirectURIs.
func Start(users ...User) (*Server, error) {
	return start(users, nil)
}

func start(users []User, testLogger *slog.Logger) (*Server, error) {
	key, err := newSigningKey("ES384")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("logtotest: %w", err)
	}
	lifetime, stop := context.WithCancel(context.Background())
	s := &Server{
		startedAt:         time.Now(),
		secret:            randomToken(),
		testLogger:        testLogger,
		listener:          listener,
		lifetime:          lifetime,
		stop:              stop,
		now:               time.Now,
		resources:         map[string]Resource{},
		roles:             map[string]Role{},
		organizations:     map[string]Organization{},
		organizationRoles: map[string]OrganizationRole{},
		keys:              []signingKey{key},
		interactions:      map[string]*interaction{},
		sessions:          map[string]*session{},
		logouts:           map[string]logout{},
		codes:             map[string]*authorizationCode{},
		accessTokens:      map[string]*issuedToken{},
		refreshTokens:     map[string]*issuedToken{},
		clients:           map[net.Conn]net.Conn{},
	}
	s.AddApplication(Application{})
	if len(users) == 0 {
		users = []User{DefaultUser()}
	}
	for _, user := range users {
		s.AddUser(user)
	}
	s.own = s.handler()
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return lifetime },
		ConnContext:       withAnswerer,
		ConnState:         s.countConnection,
	}
	if testLogger != nil {
		s.http.ErrorLog = slog.NewLogLogger(testLogger.Handler(), slog.LevelError)
	}
	s.outgoing = newTransport(s)
	s.running.Go(func() { _ = s.http.Serve(listener) })
	s.log().Warn("logtotest: this is a fake Logto, for tests and development only", "endpoint", s.Endpoint())
	return s, nil
}

// NewServer is Start for a test: it fails the test instead of returning an
// error, closes the server when the test is over, and logs to the test.
func NewServer(tb testing.TB, users ...User) *Server {
	tb.Helper()
	s, err := start(users, slog.New(slog.NewTextHandler(newTestLog(tb), nil)))
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
		s.mu.Lock()
		// In memory, the clients leave. So a handler that is writing its answer sees no error.
		for _, client := range s.clients {
			_ = client.Close()
		}
		// The connections go first, so that no handler can still answer.
		_ = s.http.Close()
		// Serve may not have taken over the listener yet.
		_ = s.listener.Close()
		s.stop()
		s.mu.Unlock()
		s.outgoing.network.CloseIdleConnections()
		s.connections.Wait() // first, because their handlers are added to running
		s.running.Wait()
	})
}

func (s *Server) countConnection(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.connections.Add(1)
	case http.StateHijacked:
		s.connections.Done() // those in memory stay among the clients, because the http.Server forgets them
	case http.StateClosed:
		s.connections.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.clients, conn)
	}
}

func withAnswerer(ctx context.Context, conn net.Conn) context.Context {
	if conn, inMemory := conn.(*connection); inMemory {
		return context.WithValue(ctx, answererKey{}, conn.answering)
	}
	return ctx
}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	answering, inMemory := r.Context().Value(answererKey{}).(answerer)
	if !inMemory {
		s.own.ServeHTTP(w, r)
		return
	}
	// A handler that has hijacked its connection is waited for, too.
	s.running.Add(1)
	defer s.running.Done()
	answering.ServeHTTP(w, r)
}

// Endpoint is the Logto endpoint: "http://127.0.0.1:" and a port, without a
// slash at the end.
func (s *Server) Endpoint() string { return "http://" + s.listener.Addr().String() }

// Issuer is the "iss" of everything that the server issues.
func (s *Server) Issuer() string { return s.Endpoint() + "/oidc" }

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
	now, offset := s.now, s.offset
	s.mu.Unlock()
	return now().Add(offset)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, endpoint Endpoint, handler http.HandlerFunc) {
		mux.Handle(pattern, s.observed(endpoint, handler))
	}
	handle("GET /oidc/.well-known/openid-configuration", Discovery, crossOrigin(s.serveDiscovery))
	handle("GET /oidc/.well-known/oauth-authorization-server", Discovery, crossOrigin(s.serveDiscovery))
	handle("GET /oidc/jwks", Keys, crossOrigin(s.serveKeys))
	handle("GET /oidc/auth", Authorization, s.serveAuthorization)
	handle("POST /oidc/token", Token, crossOrigin(s.serveToken))
	handle("GET /oidc/me", UserInfo, crossOrigin(s.serveUserInfo))
	handle("POST /oidc/me", UserInfo, crossOrigin(s.serveUserInfo))
	handle("POST /oidc/token/revocation", Revocation, crossOrigin(s.serveRevocation))
	handle("POST /oidc/token/introspection", Introspection, crossOrigin(s.serveIntrospection))
	handle("GET /oidc/session/end", EndSession, s.serveEndSession)
	handle("POST /oidc/session/end", EndSession, s.serveEndSession)
	mux.HandleFunc("GET /oidc/auth/{uid}", s.serveResume)
	mux.HandleFunc("POST /oidc/session/end/confirm", s.serveEndSessionConfirm)
	mux.HandleFunc("GET /oidc/session/end/success", s.serveSignedOutPage)
	mux.HandleFunc("GET /sign-in", s.serveSignInPage)
	mux.HandleFunc("POST /sign-in", s.serveSignIn)
	mux.HandleFunc("GET /consent", s.serveConsentPage)
	mux.HandleFunc("POST /consent", s.serveConsent)
	mux.HandleFunc("GET /register", s.serveRegisterPage)
	mux.HandleFunc("POST /register", s.serveRegister)
	mux.HandleFunc("GET /unknown-session", s.serveUnknownSession)
	mux.HandleFunc("/oidc/", serveUnknownRoute)
	mux.HandleFunc("GET /favicon.ico", serveNoIcon)

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A foreign name that resolves to this machine is a web page on its
		// way in (DNS rebinding).
		if !isLoopback(r.Host) {
			http.Error(w, "logtotest answers requests for loopback hosts only", http.StatusForbidden)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		w.Header().Set("Date", s.clock().UTC().Format(http.TimeFormat))
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
