package logtotest

import (
	"cmp"
	"reflect"
	"strings"

	"github.com/logtogin/logtogin"
)

// Config is a configuration for an application at baseURL, which may be any: it
// needs no listener. The application calls the server, and the applications that
// Serve has made known, without a socket and goes by the server's clock. With a
// server of NewServer it logs to the test, so that the lines of parallel tests are not
// mixed up. An AfterSignOut that is added to it has to be registered with
// RegisterPostLogoutRedirectURIs, as in the Logto Console, or sign-outs fail.
//
// Config("") is for logtogin.New in an API that only verifies tokens and has no sign-in:
//
//	auth, err := logtogin.New(logto.Config(""))
func (s *Server) Config(baseURL string) logtogin.Config {
	if baseURL != "" {
		s.addBase(canonicalBase(baseURL))
	}
	app := s.Application()
	return logtogin.Config{
		Endpoint:   s.Endpoint(),
		AppID:      app.ID,
		AppSecret:  app.Secret,
		BaseURL:    baseURL,
		Secrets:    []string{s.secret},
		HTTPClient: s.Client(),
		Logger:     s.testLogger,
		Now:        s.Now,
	}
}

func (s *Server) userForTest(given User) User {
	known, ok := s.user(func(u User) bool {
		return (given.ID != "" && u.ID == given.ID) || (given.ID == "" && given.Username != "" && u.Username == given.Username)
	})
	if ok && reflect.DeepEqual(given, User{ID: given.ID, Username: given.Username}) {
		return known
	}
	given.ID = cmp.Or(given.ID, known.ID)
	given, _ = s.putUser(given)
	return given
}

// AccessToken makes a JWT access token of a user for an API resource, with
// exactly these scopes, for tests of an API. It goes by the server's keys and
// clock; neither the user nor the resource need to be known to the server. A user
// without an ID is one that the server knows or gets to know by the username, as in
// SignIn.
func (s *Server) AccessToken(user User, resource string, scopes ...string) string {
	return s.mustSign(s.AppID(), s.subjectOf(user), audience{resource: resource}, scopes)
}

// OrganizationToken is AccessToken for an organization, or, if resource is not
// empty, for an API resource within it.
func (s *Server) OrganizationToken(user User, organizationID, resource string, scopes ...string) string {
	return s.mustSign(s.AppID(), s.subjectOf(user), audience{resource: resource, organizationID: organizationID}, scopes)
}

func (s *Server) subjectOf(user User) string {
	switch {
	case user.ID != "":
		return user.ID
	case user.Username == "":
		panic("logtotest: the user of a token has neither an ID nor a username")
	}
	return s.userForTest(user).ID
}

// MachineToken is AccessToken for a machine-to-machine application.
func (s *Server) MachineToken(appID, resource string, scopes ...string) string {
	return s.mustSign(appID, appID, audience{resource: resource}, scopes)
}

func (s *Server) mustSign(appID, subject string, target audience, scopes []string) string {
	token, _, err := s.signAccessToken(appID, subject, target, strings.Join(scopes, " "))
	if err != nil {
		panic("logtotest: " + err.Error()) // a hook of the test has made it impossible
	}
	return token
}
