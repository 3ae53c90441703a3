// Package oidcprovider runs, for tests, the OpenID Provider engine that Logto
// is built on: the npm package oidc-provider, configured as Logto configures
// it and reachable at Logto's paths.
//
// It needs Node 20 or newer and, once, "npm ci" in the directory of this
// package.
//
// The sign-in page at the end of an authorization request's redirects is a form
// with the fields "username" and "password", to be posted to the address of the
// page itself. Consent is given without a page, as Logto does for first-party
// applications.
//
// The redirects of a sign-in and its cookies are Logto's. A browser has one
// interaction for each application, so that sign-ins in several tabs at once
// disturb each other.
package oidcprovider

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/processes"
)

const (
	startTimeout   = time.Minute
	stopTimeout    = time.Minute
	controlTimeout = time.Minute
)

// The application that a Client without ID stands for. The lengths are those of
// identifiers and secrets that Logto generates.
const (
	DefaultClientID     = "integrationtests00001"
	DefaultClientSecret = "0123456789abcdefghijklmnopqrstuv"
	DefaultRedirectURI  = "http://127.0.0.1:8080/callback"
)

// The user of a Config without Users.
const (
	DefaultUserID   = "alice0000001"
	DefaultUsername = "alice"
	DefaultPassword = "correct horse battery staple"
)

// SigningAlgorithm is the JWS algorithm of ID tokens, JWT access tokens and
// logout tokens.
type SigningAlgorithm string

// The algorithms of the keys that Logto generates. An RSA key has no "alg" in
// the key set.
const (
	ES384 SigningAlgorithm = "ES384"
	RS256 SigningAlgorithm = "RS256"
)

// RefreshTokenRotation says when a refresh request is answered with a new
// refresh token.
type RefreshTokenRotation string

const (
	// RotateNearExpiry is Logto's policy: a refresh token of a confidential
	// client is replaced after 70 % of its life, one of a public client on
	// every use, and a replaced one works for 3 more seconds.
	RotateNearExpiry RefreshTokenRotation = "near-expiry"

	// RotateOnEveryUse replaces the refresh token on every use. Any use of a
	// replaced one, however soon, ends the grant with all its tokens.
	RotateOnEveryUse RefreshTokenRotation = "every-use"

	// RotateNever is Logto with rotation switched off for the application.
	RotateNever RefreshTokenRotation = "never"
)

// Config describes the tenant. The zero value has one confidential web
// application and one user, the defaults of this package, and Logto's default
// lifetimes.
type Config struct {
	// Port is the TCP port on 127.0.0.1; 0 has one chosen.
	Port int

	Clients   []Client
	Users     []User
	Resources []Resource

	// SigningAlgorithm is ES384 if empty.
	SigningAlgorithm SigningAlgorithm

	// RefreshTokenRotation is RotateNearExpiry if empty.
	RefreshTokenRotation RefreshTokenRotation

	// IDTokenClaims are the claims, of those that a Logto tenant can switch on
	// and off (custom_data, identities, sso_identities, roles, organizations,
	// organization_data, organization_roles), that are put into the ID token.
	// Nil stands for Logto's initial setting: roles, organizations and
	// organization_roles.
	IDTokenClaims []string

	// Lifetimes, in whole seconds. Zero is one hour for access tokens and ID
	// tokens and 14 days for refresh tokens. An authorization code lives for
	// 60 seconds, a sign-in page for one hour.
	AccessTokenTTL  time.Duration
	IDTokenTTL      time.Duration
	RefreshTokenTTL time.Duration
}

// Client is an application. Without ID it gets DefaultClientID and
// DefaultClientSecret; with ID and without Secret it is a public client.
type Client struct {
	ID     string `json:"id"`
	Secret string `json:"secret,omitempty"`

	// RedirectURIs are compared exactly. Nil stands for DefaultRedirectURI.
	RedirectURIs           []string `json:"redirectURIs,omitempty"`
	PostLogoutRedirectURIs []string `json:"postLogoutRedirectURIs,omitempty"`

	// BackchannelLogoutURI may be on the loopback interface. Only with
	// BackchannelLogoutSessionRequired do ID tokens and logout tokens have the
	// claim sid.
	BackchannelLogoutURI             string `json:"backchannelLogoutURI,omitempty"`
	BackchannelLogoutSessionRequired bool   `json:"backchannelLogoutSessionRequired,omitempty"`

	// AlwaysIssueRefreshToken has refresh tokens issued without the scope
	// offline_access.
	AlwaysIssueRefreshToken bool `json:"alwaysIssueRefreshToken,omitempty"`

	// MachineToMachine clients have the client credentials grant and no other.
	MachineToMachine bool `json:"machineToMachine,omitempty"`
}

// User can sign in.
type User struct {
	ID       string `json:"id"`
	Username string `json:"username"`
	Password string `json:"password"`

	// Claims are released by scope. As at Logto, the identifiers that are not
	// given (name, picture, email, phone_number) are null, and email_verified
	// and phone_number_verified say whether there is one.
	Claims map[string]any `json:"claims,omitempty"`
}

// Resource is an API resource, for which JWT access tokens are issued. Every
// user and every machine-to-machine client has all its scopes.
type Resource struct {
	Indicator      string
	Scopes         []string
	AccessTokenTTL time.Duration
}

// Calls counts the requests to each endpoint since the start or the last
// ResetCalls. Redirects back from the sign-in page and the confirmation of the
// end of a session are not counted.
type Calls struct {
	Discovery     int `json:"discovery"`
	Keys          int `json:"keys"`
	Authorization int `json:"authorization"`
	Token         int `json:"token"`
	UserInfo      int `json:"userInfo"`
	Revocation    int `json:"revocation"`
	EndSession    int `json:"endSession"`
}

// Provider is a running OpenID Provider.
type Provider struct {
	tb     testing.TB
	issuer string
}

// settings is the line of configuration that provider.mjs reads. Absent members
// have their defaults there.
type settings struct {
	Port                 int                  `json:"port"`
	Clients              []Client             `json:"clients"`
	Users                []User               `json:"users"`
	Resources            []resourceSettings   `json:"resources"`
	SigningAlgorithm     SigningAlgorithm     `json:"signingAlgorithm,omitempty"`
	RefreshTokenRotation RefreshTokenRotation `json:"refreshTokenRotation,omitempty"`
	IDTokenClaims        *[]string            `json:"idTokenClaims,omitempty"`
	AccessTokenTTL       int                  `json:"accessTokenTTL,omitempty"`
	IDTokenTTL           int                  `json:"idTokenTTL,omitempty"`
	RefreshTokenTTL      int                  `json:"refreshTokenTTL,omitempty"`
}

type resourceSettings struct {
	Indicator      string   `json:"indicator"`
	Scopes         []string `json:"scopes"`
	AccessTokenTTL int      `json:"accessTokenTTL,omitempty"`
}

func (cfg Config) settings() settings {
	s := settings{
		Port:                 cfg.Port,
		Users:                cfg.Users,
		SigningAlgorithm:     cfg.SigningAlgorithm,
		RefreshTokenRotation: cfg.RefreshTokenRotation,
		AccessTokenTTL:       int(cfg.AccessTokenTTL / time.Second),
		IDTokenTTL:           int(cfg.IDTokenTTL / time.Second),
		RefreshTokenTTL:      int(cfg.RefreshTokenTTL / time.Second),
		Resources:            []resourceSettings{},
	}
	if cfg.IDTokenClaims != nil {
		s.IDTokenClaims = &cfg.IDTokenClaims
	}
	clients := cfg.Clients
	if len(clients) == 0 {
		clients = []Client{{}}
	}
	for _, client := range clients {
		if client.ID == "" {
			client.ID, client.Secret = DefaultClientID, DefaultClientSecret
		}
		if client.RedirectURIs == nil {
			client.RedirectURIs = []string{DefaultRedirectURI}
		}
		s.Clients = append(s.Clients, client)
	}
	if len(s.Users) == 0 {
		s.Users = []User{{
			ID:       DefaultUserID,
			Username: DefaultUsername,
			Password: DefaultPassword,
			Claims: map[string]any{
				"name":        "Alice Example",
				"email":       "alice@example.test",
				"custom_data": map[string]any{"plan": "pro"},
				"roles":       []string{"reader"},
			},
		}}
	}
	for _, resource := range cfg.Resources {
		s.Resources = append(s.Resources, resourceSettings{
			Indicator:      resource.Indicator,
			Scopes:         append([]string{}, resource.Scopes...),
			AccessTokenTTL: int(resource.AccessTokenTTL / time.Second),
		})
	}
	return s
}

// Start runs a provider until the end of the test. It fails the test if Node or
// the npm packages are missing. What the provider writes to its standard error
// is logged if the test fails.
func Start(tb testing.TB, cfg Config) *Provider {
	tb.Helper()

	dir, err := directory()
	if err != nil {
		tb.Fatalf("oidcprovider: %v", err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		tb.Fatalf("oidcprovider: %v: install Node 20 or newer", err)
	}
	if err := checkInstallation(dir); err != nil {
		tb.Fatalf("oidcprovider: %v: run \"npm ci\" in integration/oidcprovider", err)
	}
	line, err := json.Marshal(cfg.settings())
	if err != nil {
		tb.Fatalf("oidcprovider: encoding the configuration: %v", err)
	}

	var output processes.Output
	cmd := exec.Command(node, filepath.Join(dir, "provider.mjs"))
	cmd.Dir = dir
	cmd.Stderr = &output
	cmd.WaitDelay = stopTimeout
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatalf("oidcprovider: %v", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatalf("oidcprovider: %v", err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("oidcprovider: starting Node: %v", err)
	}

	ready := make(chan string, 1)
	exited := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		if lines.Scan() {
			ready <- lines.Text()
		}
		_, _ = io.Copy(io.Discard, stdout)
		exited <- cmd.Wait()
	}()
	tb.Cleanup(func() {
		// Closing its standard input asks the provider to end.
		_ = stdin.Close()
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			tb.Errorf("oidcprovider: the provider did not end within %v of being asked to", stopTimeout)
			_ = cmd.Process.Kill()
			<-exited
		}
		if said := withoutWarning(output.String()); tb.Failed() && said != "" {
			tb.Logf("oidcprovider: standard error of the provider:\n%s", said)
		}
	})

	go func() {
		// A provider that ended already does not read; its end is reported
		// below. One that hangs is waited for below, not here.
		_, _ = stdin.Write(append(line, '\n'))
	}()

	p := &Provider{tb: tb}
	select {
	case line := <-ready:
		var started struct {
			Issuer string `json:"issuer"`
		}
		if err := json.Unmarshal([]byte(line), &started); err != nil || started.Issuer == "" {
			tb.Fatalf("oidcprovider: the provider announced itself with %q", line)
		}
		p.issuer = started.Issuer
	case err := <-exited:
		exited <- err
		tb.Fatalf("oidcprovider: the provider ended before it was ready (%v); it needs Node 20 or newer", err)
	case <-time.After(startTimeout):
		tb.Fatalf("oidcprovider: the provider was not ready within %v", startTimeout)
	}
	return p
}

// Endpoint returns the address of the tenant, without "/oidc".
func (p *Provider) Endpoint() string {
	return strings.TrimSuffix(p.issuer, "/oidc")
}

// Issuer returns the issuer, which is the endpoint followed by "/oidc".
func (p *Provider) Issuer() string {
	return p.issuer
}

// Calls returns the number of requests to each endpoint.
func (p *Provider) Calls() Calls {
	p.tb.Helper()
	return p.control(http.MethodGet, "/control/calls")
}

// ResetCalls sets all counts to zero.
func (p *Provider) ResetCalls() {
	p.tb.Helper()
	p.control(http.MethodPost, "/control/calls/reset")
}

// Advance moves the provider's clock forward, to let codes, tokens and sessions
// expire. It does not wait.
func (p *Provider) Advance(d time.Duration) {
	p.tb.Helper()
	p.control(http.MethodPost, fmt.Sprintf("/control/advance?milliseconds=%d", d.Milliseconds()))
}

func (p *Provider) control(method, path string) Calls {
	p.tb.Helper()
	calls, err := p.requestCalls(method, path)
	if err != nil {
		// Not Fatal: the caller may be in a subtest's goroutine.
		p.tb.Errorf("oidcprovider: %s %s: %v", method, path, err)
	}
	return calls
}

func (p *Provider) requestCalls(method, path string) (Calls, error) {
	ctx, cancel := context.WithTimeout(context.Background(), controlTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.Endpoint()+path, nil)
	if err != nil {
		return Calls{}, err
	}
	// A connection of its own: a kept one would be left open when the provider
	// ends.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Calls{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return Calls{}, errors.New(resp.Status)
	}
	var calls Calls
	return calls, json.NewDecoder(resp.Body).Decode(&calls)
}

// directory returns where the JavaScript files of this package are.
func directory() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		return filepath.Dir(file), nil
	}
	// Built with -trimpath, the binary does not know the directory.
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	const importPath = "github.com/logtogin/logtogin/integration/oidcprovider"
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", importPath).Output()
	if err != nil {
		return "", fmt.Errorf("finding the directory of the package: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// checkInstallation tells whether the engine is installed in the version that
// package.json asks for.
func checkInstallation(dir string) error {
	var wanted struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if err := readJSON(filepath.Join(dir, "package.json"), &wanted); err != nil {
		return err
	}
	var installed struct {
		Version string `json:"version"`
	}
	if err := readJSON(filepath.Join(dir, "node_modules", "oidc-provider", "package.json"), &installed); err != nil {
		return fmt.Errorf("oidc-provider is not installed: %w", err)
	}
	if want := wanted.Dependencies["oidc-provider"]; installed.Version != want {
		return fmt.Errorf("oidc-provider is installed as %s, not %s", installed.Version, want)
	}
	return nil
}

func readJSON(name string, v any) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// withoutWarning leaves out the engine's warning about Node 20, on which it runs all
// the same.
func withoutWarning(output string) string {
	var kept strings.Builder
	for line := range strings.Lines(output) {
		if !strings.Contains(line, "oidc-provider WARNING: Unsupported runtime") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
