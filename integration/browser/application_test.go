// Package browser_test has a real browser use the example, as people do.
package browser_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/logtogin/logtogin/integration/oidcprovider"
	"github.com/logtogin/logtogin/integration/processes"
	"github.com/logtogin/logtogin/integration/servers"
)

func TestMain(m *testing.M) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "LOGTO_") || name == "REDIS_ADDR" {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	status := m.Run()
	if binaries != "" {
		if err := os.RemoveAll(binaries); err != nil {
			panic(err)
		}
	}
	os.Exit(status)
}

var binaries string // the directory of the example, once it is built

var buildExample = sync.OnceValues(func() (path string, err error) {
	if binaries, err = os.MkdirTemp("", "logtogin-example-"); err != nil {
		return "", err
	}
	path = filepath.Join(binaries, "example")
	build := exec.Command("go", "build", "-race", "-o", path, "./_example")
	build.Dir = filepath.Join("..", "..")
	if said, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, said)
	}
	return path, nil
})

// site is the example and the Logto that it uses.
type site struct {
	address, logto     string // "http://" and so on, without a path
	username, password string // of Alice Example
	process            *servers.Server
	provider           *oidcprovider.Provider // nil for the fake
}

func startExample(t *testing.T, variables func(address string) []string) *site {
	t.Helper()
	path, err := buildExample()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	t.Cleanup(func() { // the process has ended by then
		if said := s.process.Output(); strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic") {
			t.Errorf("the example says:\n%s", said)
		}
	})
	s.process = servers.Application(t, path, func(port string) []string {
		// Not the host of Logto, so that the two are different sites.
		addr := "localhost:" + port
		s.address = "http://" + addr
		return append(variables(s.address), "ADDR="+addr)
	})
	return s
}

var fakeAddress = regexp.MustCompile(`using a fake Logto at (\S+)`)

func startWithFake(t *testing.T) *site {
	t.Helper()
	s := startExample(t, func(string) []string { return nil })
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var found []string
	err := processes.Until(ctx, func() error { // what it writes comes here by a pipe
		if found = fakeAddress.FindStringSubmatch(s.process.Output()); found == nil {
			return errors.New("the example does not say where its fake Logto is")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v:\n%s", err, s.process.Output())
	}
	s.logto, s.username, s.password = found[1], "alice", "wonderland"
	return s
}

const api = "https://api.example.test/"

func startWithProvider(t *testing.T) *site {
	t.Helper()
	var provider *oidcprovider.Provider
	s := startExample(t, func(address string) []string {
		provider = oidcprovider.Start(t, oidcprovider.Config{
			Clients: []oidcprovider.Client{{
				RedirectURIs:                     []string{address + "/callback"},
				PostLogoutRedirectURIs:           []string{address + "/"},
				BackchannelLogoutURI:             address + "/backchannel-logout",
				BackchannelLogoutSessionRequired: true,
			}},
			Resources: []oidcprovider.Resource{{Indicator: api, Scopes: []string{"read:orders"}}},
		})
		return []string{
			"LOGTO_ENDPOINT=" + provider.Endpoint(),
			"LOGTO_APP_ID=" + oidcprovider.DefaultClientID,
			"LOGTO_APP_SECRET=" + oidcprovider.DefaultClientSecret,
			"LOGTO_RESOURCES=" + api,
			"LOGTO_AFTER_SIGN_OUT=/",
		}
	})
	s.provider, s.logto = provider, provider.Endpoint()
	s.username, s.password = oidcprovider.DefaultUsername, oidcprovider.DefaultPassword
	return s
}
