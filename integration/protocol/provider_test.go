package protocol_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/logtotest"
)

// provider is an OpenID provider at which the applications of this file and one
// user are registered. Everything else about it, tests learn from its discovery
// document.
type provider interface {
	issuer() string
	// advance moves the provider's clock, now reads it.
	advance(d time.Duration)
	now() time.Time
}

// application is what an application knows of its registration.
type application struct{ id, secret string }

// All but machine have redirectURI and postLogoutURI, which nothing listens at.
var (
	web     = application{"protocolweb0000000001", "web-secret-0123456789abcdefghijk"}
	other   = application{"protocolother00000001", "other-secret-0123456789abcdefghi"}
	public  = application{"protocolpublic0000001", ""}
	machine = application{"protocolmachine000001", "machine-secret-0123456789abcdefg"}
	// listening is told of the end of its sessions.
	listening = application{"protocollistening0001", "listening-secret-0123456789abcde"}
)

const (
	redirectURI   = "http://127.0.0.1:8080/callback"
	postLogoutURI = "http://127.0.0.1:8080/signed-out"

	apiIndicator  = "https://api.example.test/"
	apiPermission = "read:things"

	userID = "alice0000001"
)

// credentials are the fields of the sign-in page.
var credentials = url.Values{"username": {"alice"}, "password": {"wonderland"}}

// fake is this repository's fake Logto. It knowingly differs from realProvider in
// what no test here is about: an application that it does not know, it refuses
// at the token endpoint with 400 and no challenge, because Logto's storage does;
// realProvider says 401 as for a wrong secret.
type fake struct{ server *logtotest.Server }

func (f fake) issuer() string          { return f.server.Issuer() }
func (f fake) advance(d time.Duration) { f.server.Advance(d) }
func (f fake) now() time.Time          { return f.server.Now() }

func startFake(t *testing.T, backchannelURI string) provider {
	server := logtotest.NewServer(t, logtotest.User{
		ID:       userID,
		Username: credentials.Get("username"),
		Password: credentials.Get("password"),
		Roles:    []string{"reader"},
	})
	server.AddResource(logtotest.Resource{Indicator: apiIndicator, Permissions: []string{apiPermission}})
	server.AddRole(logtotest.Role{Name: "reader", Permissions: map[string][]string{apiIndicator: {apiPermission}}})
	add := func(app application, settings logtotest.Application) {
		settings.ID, settings.Secret = app.id, app.secret
		if settings.Type != logtotest.MachineToMachine {
			settings.RedirectURIs = []string{redirectURI}
			settings.PostLogoutRedirectURIs = []string{postLogoutURI}
		}
		server.AddApplication(settings)
	}
	add(web, logtotest.Application{})
	add(other, logtotest.Application{})
	add(public, logtotest.Application{Type: logtotest.SinglePage})
	add(machine, logtotest.Application{Type: logtotest.MachineToMachine, Roles: []string{"reader"}})
	add(listening, logtotest.Application{BackchannelLogoutURI: backchannelURI, BackchannelLogoutSessionRequired: true})
	return fake{server}
}

// realProvider is the engine inside Logto with Logto's configuration. Its users
// and machines have every permission without roles, because those are Logto's
// own and not the engine's. The grace of replaced refresh tokens comes from its
// storage, as at Logto: the engine has none itself. Of opaque access tokens and
// of ID token hints, it tolerates that they expired up to 15 seconds ago.
type realProvider struct {
	running  *oidcprovider.Provider
	advanced time.Duration
}

func (r *realProvider) issuer() string { return r.running.Issuer() }
func (r *realProvider) now() time.Time { return time.Now().Add(r.advanced) }

func (r *realProvider) advance(d time.Duration) {
	r.running.Advance(d)
	r.advanced += d
}

func startReal(t *testing.T, backchannelURI string) provider {
	register := func(app application) oidcprovider.Client {
		return oidcprovider.Client{
			ID: app.id, Secret: app.secret,
			RedirectURIs:           []string{redirectURI},
			PostLogoutRedirectURIs: []string{postLogoutURI},
		}
	}
	told := register(listening)
	told.BackchannelLogoutURI, told.BackchannelLogoutSessionRequired = backchannelURI, true
	return &realProvider{running: oidcprovider.Start(t, oidcprovider.Config{
		Clients: []oidcprovider.Client{
			register(web), register(other), register(public), told,
			{ID: machine.id, Secret: machine.secret, MachineToMachine: true},
		},
		Users: []oidcprovider.User{{
			ID: userID, Username: credentials.Get("username"), Password: credentials.Get("password"),
		}},
		Resources: []oidcprovider.Resource{{Indicator: apiIndicator, Scopes: []string{apiPermission}}},
	})}
}

// delivery is a request to the back channel of an application.
type delivery struct {
	method, contentType string
	form                url.Values
}

// listen is the back channel of the application "listening".
func listen(t *testing.T) (address string, deliveries <-chan delivery) {
	// Room for more than one, so that a surplus is seen instead of blocking.
	received := make(chan delivery, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		received <- delivery{r.Method, r.Header.Get("Content-Type"), r.PostForm}
	}))
	t.Cleanup(server.Close)
	return server.URL + "/backchannel-logout", received
}
