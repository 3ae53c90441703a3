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
// The application needs no listener and the test no browser. A Server has methods for all that
// Logto, its Console and the users do:
//
//   - NewServer and Start start it; Config is the configuration of an application for it.
//   - SignIn, SignInAt, Browser and Visitor return clients: of a user who has signed in, of one who
//     does when asked, and of a visitor. AccessToken, OrganizationToken and MachineToken make tokens for APIs.
//   - AddUser, AddApplication, AddResource, AddRole, AddOrganization, AddOrganizationRole and AddWebhook
//     take plain values. SuspendUser, DeleteUser and SetMembership do what an administrator does.
//   - Advance and SetNow move the clock, RotateKey the keys.
//   - Calls, Record and Deliveries tell what was asked and sent.
//   - Misbehave makes the server do what it should not, by the faults of package faults, so that a test
//     can see what the application does then. The Change methods and Intercept are for anything else.
//   - Serve, Client and DialContext connect applications, APIs and other clients without a socket.
//
// Where there is a browser, it signs in on the server's pages with the fields "username" and "password".
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
// # What differs from Logto
//
// It answers as Logto 1.42 does, and refuses what Logto refuses. What differs on purpose:
//
// It is kinder than Logto here, so a test does not notice the mistake:
//
//   - As long as an application has no redirect URI, every loopback URI and every URI below the base URL of
//     Config is accepted. Logto accepts none.
//   - The roles of User.Roles and the organizations of User.Organizations need not be there, and a role can
//     have permissions that no Resource lists. A role has no type. An unknown claim of User.Claims comes with
//     the scope "profile".
//   - Every third-party application may see all organizations of the user. At Logto the user chooses them
//     on the consent page, and the others are refused with access_denied.
//   - A grant has no limit of number (maxAllowedGrants), and a secret does not expire.
//   - Signatures of cookies are not checked, and the clients of SignIn, Browser and Visitor do not know
//     SameSite. A null byte in a state does no harm.
//   - Logout tokens and webhooks go to loopback addresses, too. A self-hosted Logto sends no logout tokens
//     there unless it is told to. Webhooks have arrived before the request that caused them goes on; Logto
//     sends them later and in any order.
//
// It is stricter here, so a test fails where Logto would not:
//
//   - Redirect URIs are compared as strings, without wildcards, and for Native applications with their port.
//   - Authorization requests are GET only.
//
// It lacks these parts, and answers requests for them as Logto answers what it does not know:
//
//   - the Management API and the Account API, personal access tokens, and the events that Webhook does not
//     name;
//   - token exchange, device flow, pushed authorization requests and client ID metadata documents. The
//     discovery document names their endpoints as Logto's does;
//   - verification codes, MFA, social connectors, enterprise SSO, magic links and the change of a forgotten password:
//     sign-in is by password only, whatever direct_sign_in, one_time_token, identifier and first_screen say;
//   - a default API resource, scripts for custom claims (see ChangeAccessToken) and the choice of the claims
//     in ID tokens;
//   - custom domains, several secrets, rotateRefreshToken switched off, and lifetimes, except of refresh
//     tokens and of access tokens for a Resource.
//
// The rest shows on pages only: the sign-in page posts its form to its own address, where Logto's calls an
// API, texts are English, and the key set has no ETag.
package logtotest

import (
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin/logtotest/internal/jose"
	"github.com/logtogin/logtogin/logtotest/internal/serving"
)

// What Logto takes of a request: 16 KiB of address, 56 KiB of body.
const (
	maxRequestLine = 16 << 10
	maxBody        = 56 << 10
)

// Server is a running fake Logto. Start or NewServer makes one; the zero value
// is of no use. All its methods may be called at any time, also while requests
// are being answered.
type Server struct {
	startedAt  time.Time
	secret     string       // for Config
	testLogger *slog.Logger // nil if the server is not for one test

	listener net.Listener
	own      http.Handler // of the server itself
	serving  *serving.Server
	network  *http.Transport // to everything outside of this process

	mu                sync.Mutex // guards everything below
	now               func() time.Time
	offset            time.Duration
	users             []User
	applications      []*Application // the first one is the server's own
	resources         map[string]Resource
	roles             map[string]Role
	organizations     map[string]Organization
	organizationRoles map[string]OrganizationRole
	keys              []jose.Key // the first one signs
	baseURLs          []string
	routes            []route
	webhooks          []registeredHook
	deliveries        []Delivery
	interactions      map[string]*interaction
	sessions          map[string]*session   // by the ID in the cookie
	signIns           map[string]lastSignIn // by the ID of the user
	logouts           map[string]logout
	codes             map[string]*authorizationCode
	accessTokens      map[string]*issuedToken
	refreshTokens     map[string]*issuedToken
	calls             [endpoints]int
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
	key, err := jose.NewKey("ES384")
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("logtotest: %w", err)
	}
	s := &Server{
		startedAt:         time.Now(),
		secret:            randomToken(),
		testLogger:        testLogger,
		listener:          listener,
		network:           &http.Transport{},
		now:               time.Now,
		resources:         map[string]Resource{},
		roles:             map[string]Role{},
		organizations:     map[string]Organization{},
		organizationRoles: map[string]OrganizationRole{},
		keys:              []jose.Key{key},
		interactions:      map[string]*interaction{},
		sessions:          map[string]*session{},
		signIns:           map[string]lastSignIn{},
		logouts:           map[string]logout{},
		codes:             map[string]*authorizationCode{},
		accessTokens:      map[string]*issuedToken{},
		refreshTokens:     map[string]*issuedToken{},
	}
	s.AddApplication(Application{})
	if len(users) == 0 {
		users = []User{DefaultUser()}
	}
	for _, user := range users {
		s.AddUser(user)
	}
	var errorLog *log.Logger
	if testLogger != nil {
		errorLog = slog.NewLogLogger(testLogger.Handler(), slog.LevelError)
	}
	s.own = s.handler()
	s.serving = serving.Start(listener, s.own, errorLog)
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
	s.serving.Close()
	s.network.CloseIdleConnections()
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, endpoint Endpoint, handler http.HandlerFunc) {
		mux.Handle(pattern, s.observed(endpoint, handler))
	}
	handle("GET /oidc/.well-known/openid-configuration", Discovery, toEveryOrigin(s.serveDiscovery))
	handle("GET /oidc/.well-known/oauth-authorization-server", Discovery, toEveryOrigin(s.serveDiscovery))
	handle("GET /oidc/jwks", Keys, toEveryOrigin(s.serveKeys))
	handle("GET /oidc/auth", Authorization, s.serveAuthorization)
	handle("POST /oidc/token", Token, toOrigin(s.serveToken))
	handle("GET /oidc/me", UserInfo, toOrigin(s.serveUserInfo))
	handle("POST /oidc/me", UserInfo, toOrigin(s.serveUserInfo))
	handle("POST /oidc/token/revocation", Revocation, toOrigin(s.serveRevocation))
	handle("POST /oidc/token/introspection", Introspection, toOrigin(s.serveIntrospection))
	for _, path := range []string{"/token", "/me", "/token/revocation", "/token/introspection"} {
		mux.HandleFunc("OPTIONS /oidc"+path, toOrigin(servePreflight))
	}
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
		switch {
		case len(r.URL.RequestURI()) > maxRequestLine:
			http.Error(w, "", http.StatusRequestHeaderFieldsTooLarge)
			return
		case r.ContentLength > maxBody && strings.HasPrefix(r.URL.Path, "/oidc/"):
			http.Error(w, "Not Found", http.StatusNotFound) // so it is at Logto, and not 413
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		w.Header().Set("Date", s.Now().UTC().Format(http.TimeFormat))
		mux.ServeHTTP(w, r)
	})
}
