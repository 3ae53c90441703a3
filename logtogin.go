// Package logtogin adds sign-in with Logto (https://logto.io) to a Gin
// application.
//
//	auth, err := logtogin.Register(router, logtogin.Config{
//		Endpoint:  "https://example.logto.app",
//		AppID:     "…",
//		AppSecret: "…",
//		BaseURL:   "https://app.example.com",
//	})
//	router.GET("/profile", auth.Guard(), func(c *gin.Context) {
//		claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
//		c.JSON(http.StatusOK, claims)
//	})
//
// Register adds the routes /sign-in, /sign-up, /callback and /sign-out, and
// /backchannel-logout for Logto itself. The callback address, here
// https://app.example.com/callback, must be registered as a redirect URI in the
// Logto Console.
//
// A sign-in is the authorization code flow of OpenID Connect with PKCE, state
// and nonce. The session is kept in encrypted cookies, so that nothing has to
// be installed and nothing is lost by a restart, or in any store of
// gin-contrib/sessions. A visitor who has not signed in costs the server no
// memory.
//
// Pages are protected by Guard, APIs by Bearer and BearerOrganization; both take
// requirements such as Role, Scope and InOrganization. AccessToken and HTTPClient
// get access tokens for the user of a session. RevokeUser, WebhookHandler and
// Config.SharedState are for signing out everywhere.
//
// Package logtotest is a Logto for tests, redisstate keeps what several instances
// know together, telemetry makes OpenTelemetry spans and metrics.
package logtogin

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/flight"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/shared"
	"github.com/logtogin/logtogin/internal/web"
)

// ClaimsKey is the key under which Guard and Optional leave the *Claims of the
// user in the gin.Context.
const ClaimsKey = "logto.claims"

// Auth is sign-in with one Logto application. It is made by New or Register
// and safe for concurrent use. Several, for different applications, can live in
// one process; they do not see each other's sessions. Make one for an
// application: which sessions have ended is remembered by each for itself.
type Auth struct {
	settings *settings
	provider *logto.Provider
	sessions *session.Sessions // nil without Config.BaseURL
	origins  *http.CrossOriginProtection

	lookups     *cache.Cache[string, *lookup]             // by the ID of the session
	lookingUp   flight.Group[string, map[string][]string] // likewise
	offers      *cache.Cache[string, offer]               // by the ID of the user
	shared      *shared.State
	revocations *session.Revocations
	webhooks    *cache.Cache[string, struct{}] // by their digests

	// routes are the registered routes, "" for those left out; set by
	// RegisterRoutes, with the path of the router group before them.
	routes     Paths
	mount      string
	registered bool

	diagnosing chan struct{} // has room for one
	diagnosis  *Diagnosis    // the last one
}

// New checks the configuration and makes an Auth without adding routes. It
// makes no call to Logto, so that the application starts while Logto is down.
// Without Config.BaseURL, an Auth has no sessions: RegisterRoutes fails, and
// Guard and Optional panic. The error is a *ConfigError.
func New(cfg Config) (*Auth, error) {
	s, err := cfg.check()
	if err != nil {
		return nil, err
	}
	a := &Auth{
		settings: s,
		provider: logto.New(s.providerSettings()),
		origins:  http.NewCrossOriginProtection(),
		lookups:  cache.New[string, *lookup](maxLookups, s.Now),
		offers:   cache.New[string, offer](maxOffers, s.Now),
		webhooks: cache.New[string, struct{}](maxKnownWebhooks, s.Now),
		shared:   shared.New(s.SharedState, "logtogin:"+s.applicationKey(8)+":", s.Logger),

		diagnosing: make(chan struct{}, 1),
	}
	if a.revocations, err = session.NewRevocations(a.sessionSettings()); err != nil {
		return nil, err
	}
	if s.base == nil {
		return a, nil
	}
	if err := s.checkSignInReady(); err != nil {
		return nil, err
	}
	if a.sessions, err = session.New(a.sessionSettings(), a.revocations); err != nil {
		return nil, err
	}
	for _, origin := range append(s.TrustedOrigins, web.Origin(s.base)) {
		if err := a.origins.AddTrustedOrigin(origin); err != nil {
			return nil, &ConfigError{"TrustedOrigins", "has " + origin + ", which is no origin"}
		}
	}
	s.warnOfSpaces()
	if len(s.Secrets) == 0 && !web.IsLoopback(s.base.Hostname()) {
		s.Logger.Warn("logtogin: Config.Secrets is empty, so sessions are sealed by a key derived from AppSecret; set Secrets in production", "base_url", s.BaseURL)
	}
	return a, nil
}

// Register makes an Auth and adds its routes to the router, which may be a
// group: its path becomes part of the callback address. It is New followed by
// RegisterRoutes.
func Register(router gin.IRouter, cfg Config) (*Auth, error) {
	a, err := New(cfg)
	if err != nil {
		return nil, err
	}
	if err := a.RegisterRoutes(router); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Ready reports whether Logto's metadata and keys can be had, from memory if
// they are there already, and lets the instance learn what has been revoked before it
// started. It is meant for a readiness probe; the error is an ErrProviderUnavailable. That
// Config.SharedState is down is none.
func (a *Auth) Ready(ctx context.Context) error {
	a.revocations.KeepUp(ctx)
	if _, err := a.provider.Metadata(ctx); err != nil {
		return err
	}
	_, err := a.provider.KeyWithdrawals(ctx)
	return err
}

// Close ends what is under way in the background and waits for it. Requests
// that need Logto fail afterwards. The error says that Config.Store or
// Config.SharedState has not answered calls in time, which nothing need be done about;
// that of the Store is an ErrStoreUnavailable. Close closes neither of them.
func (a *Auth) Close() error {
	a.lookingUp.Close() // first, because it needs the others
	var err error
	if a.sessions != nil {
		err = a.sessions.Close()
	}
	a.revocations.Close()
	a.provider.Close()
	return errors.Join(a.shared.Close(), err)
}
