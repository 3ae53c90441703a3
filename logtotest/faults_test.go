package logtotest_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// outcome of a sign-in by a browser that knows the user already.
func signInAmid(t *testing.T, fault logtotest.Fault) (server *logtotest.Server, signedIn bool, userInfo error) {
	t.Helper()
	server = logtotest.NewServer(t)
	cfg := server.Config("https://app.example.com")
	cfg.Logger = slog.New(slog.DiscardHandler)
	router, auth := newApp(t, cfg, "/")
	userInfo = errors.New("never asked")
	router.GET("/look", func(c *gin.Context) {
		if signedIn = auth.IsAuthenticated(c); signedIn {
			_, userInfo = auth.UserInfo(c)
		}
	})
	client := server.SignIn(t, router, logtotest.DefaultUser())
	// Signed out here and not at the server, which then asks for nothing.
	router.GET("/leave", func(c *gin.Context) {
		if _, err := auth.SignOutURL(c, logtogin.SignOutOptions{LocalOnly: true}); err != nil {
			t.Error(err)
		}
	})
	read(t, client, "/leave")
	// The keys have to be fetched again, which takes a key ID to notice.
	if fault.Name != "MissingKeyID" {
		if err := server.RotateKey("ES384"); err != nil {
			t.Fatal(err)
		}
	}
	server.Misbehave(fault)
	server.ResetCalls()
	_, _ = client.Get("/sign-in")
	read(t, client, "/look")
	return server, signedIn, userInfo
}

func TestFaultsHappenAndApplicationsSurviveThem(t *testing.T) {
	t.Parallel()
	for _, fault := range logtotest.Faults() {
		switch fault.Name {
		case "SlowToken", "RevocationDown": // below
			continue
		}
		if strings.HasPrefix(fault.Name, "LogoutToken") {
			continue
		}
		if strings.Contains(fault.Name, "Discovery") || fault.Name == "MissingTokenEndpoint" {
			// An application that knows the metadata keeps them.
			server := logtotest.NewServer(t)
			server.Misbehave(fault)
			if _, auth := newApp(t, server.Config("https://app.example.com"), "/"); !errors.Is(auth.Ready(t.Context()), logtogin.ErrProviderUnavailable) {
				t.Errorf("%s: it is ready", fault.Name)
			}
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			server, signedIn, userInfo := signInAmid(t, fault)
			ofUserInfo := strings.Contains(fault.Name, "UserInfo")
			if signedIn != (fault.Harmless || ofUserInfo) {
				t.Errorf("signed in: %v, after %+v", signedIn, server.Calls())
			}
			if signedIn && (userInfo != nil) != ofUserInfo {
				t.Errorf("user info: %v", userInfo)
			}
		})
	}
}

func TestEveryFaultIsListedUnderItsName(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("faults.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\t([A-Z]\w+) += (?:Fault\{Name: |[a-zA-Z(]*Fault\(|everywhere\(|harmless\()`).FindAllStringSubmatch(string(source), -1) {
		declared[match[1]] = true
	}
	seen := map[string]bool{}
	for _, fault := range logtotest.Faults() {
		if !declared[fault.Name] || seen[fault.Name] {
			t.Errorf("%q is no variable, or is listed twice", fault.Name)
		}
		seen[fault.Name] = true
	}
	if len(seen) != len(declared) || len(seen) < 60 {
		t.Errorf("%d are listed and %d declared", len(seen), len(declared))
	}
}

func TestLogoutTokenFaults(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	honest, err := server.LogoutToken(server.AppID(), "alice", "sid")
	if err != nil {
		t.Fatal(err)
	}
	honestHeader, honestClaims := decodeToken(t, honest)
	for _, fault := range logtotest.Faults() {
		if !strings.HasPrefix(fault.Name, "LogoutToken") {
			continue
		}
		server.Misbehave(fault)
		token, err := server.LogoutToken(server.AppID(), "alice", "sid")
		if err != nil {
			t.Fatal(err)
		}
		header, claims := decodeToken(t, token)
		same := header["alg"] == honestHeader["alg"] && len(claims) == len(honestClaims)
		for name, value := range honestClaims {
			if text, isText := value.(string); isText && name != "jti" && claims[name] != text {
				same = false
			}
		}
		if events, _ := claims["events"].(map[string]any); same && events["http://schemas.openid.net/event/backchannel-logout"] != nil &&
			claims["exp"].(float64) >= honestClaims["exp"].(float64) {
			t.Errorf("%s changes nothing: %v", fault.Name, claims)
		}
	}
}

func TestSlowTokenAnswersNobody(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	server.Misbehave(logtotest.SlowToken)
	for name, client := range map[string]*http.Client{"without a socket": server.Client(), "with one": {Transport: &http.Transport{}}} {
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan struct{})
		server.Intercept(logtotest.Token, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			close(asked)
			<-r.Context().Done()
		})
		go func() { <-asked; cancel() }()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.Endpoint()+"/oidc/token", strings.NewReader(url.Values{}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if response, err := client.Do(request); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v %v", name, response, err)
		}
		client.CloseIdleConnections()
	}
}

func TestFaultsAddUpAndGo(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.Misbehave(logtotest.WrongNonce, logtotest.MissingIssuedAt, logtotest.MissingScope, logtotest.RevocationDown)
	attempt := b.newSignIn()
	answer := decode(t, b.token(codeForm(b.callback(attempt).Get("code"), attempt)).body)
	_, claims := decodeToken(t, answer["id_token"])
	if claims["nonce"] != attempt.parameters.Get("nonce")+"1" || claims["iat"] != nil || answer["scope"] != nil {
		t.Errorf("%v %v", answer, claims)
	}
	revoke := func() int {
		return b.post(b.server.Endpoint()+"/oidc/token/revocation", url.Values{"token": {"x"}}, b.asApp()).status
	}
	if status := revoke(); status != http.StatusServiceUnavailable {
		t.Errorf("%d", status)
	}
	b.server.Behave()
	if status := revoke(); status != http.StatusOK {
		t.Errorf("afterwards: %d", status)
	}
	if _, claims := decodeToken(t, b.tokens()["id_token"]); claims["iat"] == nil {
		t.Errorf("afterwards: %v", claims)
	}
}
