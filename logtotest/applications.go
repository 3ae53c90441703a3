package logtotest

import (
	"cmp"
	"crypto/rand"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ApplicationType is the type of an application in the Logto Console.
type ApplicationType string

const (
	// TraditionalWeb is an application with a secret. Its refresh tokens are
	// replaced when 70 % of their life have passed.
	TraditionalWeb ApplicationType = "Traditional"
	// SinglePage is a public client: no secret, PKCE required, and a new refresh
	// token at each use.
	SinglePage ApplicationType = "SPA"
	// Native is like SinglePage, with a refresh token that lives on.
	Native ApplicationType = "Native"
	// MachineToMachine has no users: it gets tokens for itself.
	MachineToMachine ApplicationType = "MachineToMachine"
)

// Application is an application that is registered at the server. The zero
// value is a first-party application of the type TraditionalWeb.
type Application struct {
	// ID and Secret are made up if they are empty; public clients have no
	// secret.
	ID, Secret string

	Type ApplicationType

	// RedirectURIs must be named exactly. As long as there are none, every
	// loopback URI is accepted, and those below the base URLs that Server.Config
	// was given.
	RedirectURIs []string

	// PostLogoutRedirectURIs are where a sign-out may lead to. As long as there
	// are none, none is accepted, as with an application just made in Logto.
	PostLogoutRedirectURIs []string

	// BackchannelLogoutURI is told of every sign-out in a browser that had signed
	// in to this application. With BackchannelLogoutSessionRequired, ID tokens
	// and logout tokens have a "sid".
	BackchannelLogoutURI             string
	BackchannelLogoutSessionRequired bool

	// ThirdParty makes the user consent on a page of its own.
	ThirdParty bool

	// ConsentScopes are, for a third-party application, the scopes of users and the permissions that it may
	// ask for besides "openid" and "offline_access". Other scopes of users are refused with invalid_scope,
	// other permissions are left out.
	ConsentScopes []string

	// AlwaysIssueRefreshToken issues one without offline_access, too; it ends
	// with the browser's session. Native applications have no such setting.
	AlwaysIssueRefreshToken bool

	// RefreshTokenLifetime is 14 days by default.
	RefreshTokenLifetime time.Duration

	// AllowedUsers are the IDs of the users who may use the application
	// (app-level access control); nil means all.
	AllowedUsers []string

	// Roles and Organizations are for MachineToMachine what they are for a User.
	Roles         []string
	Organizations map[string][]string
}

func (a *Application) isPublic() bool { return a.Type == SinglePage || a.Type == Native }

func (a *Application) allows(userID string) bool {
	return a.AllowedUsers == nil || slices.Contains(a.AllowedUsers, userID)
}

// forbids reports whether a third-party application may not ask for a scope of users.
func (a *Application) forbids(scope string) bool {
	return a.ThirdParty && scope != "openid" && scope != "offline_access" &&
		slices.Contains(supportedScopes, scope) && !slices.Contains(a.ConsentScopes, scope)
}

// consentable returns the permissions that the application may get.
func (a *Application) consentable(permissions []string) []string {
	if !a.ThirdParty {
		return permissions
	}
	return intersection(permissions, a.ConsentScopes)
}

// AddApplication adds an application, or replaces the one with the same ID, and
// returns it with what was made up.
func (s *Server) AddApplication(app Application) Application {
	app.ID = cmp.Or(app.ID, strings.ToLower(rand.Text()[:21]))
	app.Type = cmp.Or(app.Type, TraditionalWeb)
	app.RefreshTokenLifetime = cmp.Or(app.RefreshTokenLifetime, 14*24*time.Hour)
	if app.isPublic() {
		app.Secret = "" // it could not keep one
	} else if app.Secret == "" {
		app.Secret = (rand.Text() + rand.Text())[:32]
	}
	app.RedirectURIs = slices.Clone(app.RedirectURIs)
	app.PostLogoutRedirectURIs = slices.Clone(app.PostLogoutRedirectURIs)
	app.AllowedUsers = slices.Clone(app.AllowedUsers)
	app.ConsentScopes = slices.Clone(app.ConsentScopes)

	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.applications, func(a *Application) bool { return a.ID == app.ID }); i >= 0 {
		s.applications[i] = &app
	} else {
		s.applications = append(s.applications, &app)
	}
	return app
}

// Application is the one that the server was started with; AppID and AppSecret
// are its. To change it, change the copy and give it to AddApplication.
func (s *Server) Application() Application {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.applications[0]
}

// AppID is the ID of the application, 21 characters made up at the start.
func (s *Server) AppID() string { return s.Application().ID }

// AppSecret is the secret of the application, 32 characters made up at the
// start.
func (s *Server) AppSecret() string { return s.Application().Secret }

// RegisterRedirectURIs adds redirect URIs of the application that the server was
// started with. A request must name one of them exactly.
func (s *Server) RegisterRedirectURIs(uris ...string) {
	app := s.Application()
	app.RedirectURIs = append(app.RedirectURIs, uris...)
	s.AddApplication(app)
}

// RegisterPostLogoutRedirectURIs adds post sign-out redirect URIs of the
// application that the server was started with.
func (s *Server) RegisterPostLogoutRedirectURIs(uris ...string) {
	app := s.Application()
	app.PostLogoutRedirectURIs = append(app.PostLogoutRedirectURIs, uris...)
	s.AddApplication(app)
}

// application returns nil for an unknown ID. What it points to is never
// written to.
func (s *Server) application(id string) *Application {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.applications, func(a *Application) bool { return a.ID == id })
	if i < 0 {
		return nil
	}
	return s.applications[i]
}

// registered is the application as it is now: a sign-in page can be open for an hour.
func (s *Server) registered(app *Application) *Application {
	if now := s.application(app.ID); now != nil {
		return now
	}
	return app
}

// acceptsRedirectURI reports whether a sign-in may lead there.
func (s *Server) acceptsRedirectURI(app *Application, uri string) bool {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Fragment != "" {
		return false
	}
	if len(app.RedirectURIs) > 0 {
		return slices.Contains(app.RedirectURIs, uri)
	}
	return slices.ContainsFunc(s.bases(), func(base string) bool { return strings.HasPrefix(uri, base+"/") }) ||
		((parsed.Scheme == "http" || parsed.Scheme == "https") && isLoopback(parsed.Host))
}
