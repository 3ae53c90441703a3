package logtotest_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// impatient gives the token endpoint so little time that only an answer that never comes
// is certain to be too late.
type impatient struct{ http.RoundTripper }

func (i impatient) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Path != "/oidc/token" {
		return i.RoundTripper.RoundTrip(request)
	}
	ctx, cancel := context.WithTimeout(request.Context(), time.Millisecond)
	defer cancel()
	return i.RoundTripper.RoundTrip(request.WithContext(ctx))
}

// An application just started, which has to ask for everything.
func TestFaultsHappenAndApplicationsSurviveThem(t *testing.T) {
	t.Parallel()
	met := map[logtotest.Stage]int{}
	for _, fault := range faults.All() {
		met[fault.Stage]++
		if fault.Stage == logtotest.StageBackchannelLogout { // below
			continue
		}
		t.Run(fault.Name, func(t *testing.T) {
			t.Parallel()
			server := logtotest.NewServer(t)
			cfg := server.Config("https://app.example.com")
			if fault.Name == "SlowToken" {
				cfg.HTTPClient.Transport = impatient{cfg.HTTPClient.Transport}
			}
			router, auth := newApp(t, cfg, "/")
			signedIn, userInfo := false, errors.New("never asked")
			router.GET("/look", func(c *gin.Context) {
				if signedIn = auth.IsAuthenticated(c); signedIn {
					_, userInfo = auth.UserInfo(c)
				}
			})
			server.Misbehave(fault)
			client := server.Browser(t, router, logtotest.DefaultUser())
			_, _ = client.Get("/sign-in")
			read(t, client, "/look")
			if signedIn != (fault.Harmless || fault.Stage != logtotest.StageSignIn) {
				t.Errorf("signed in: %v, after %+v", signedIn, server.Calls())
			}
			if signedIn && (userInfo != nil) != (fault.Stage == logtotest.StageUserInfo) {
				t.Errorf("user info: %v", userInfo)
			}
			if fault.Stage == logtotest.StageSignOut {
				status, _ := read(t, client, "/sign-out")
				if read(t, client, "/look"); status != http.StatusOK || signedIn || server.Calls().Revocation != 1 {
					t.Errorf("signing out: %d, signed in: %v, %+v", status, signedIn, server.Calls())
				}
			}
		})
	}
	if met[logtotest.StageSignIn] < 40 || met[logtotest.StageUserInfo] != 3 || met[logtotest.StageSignOut] != 1 || met[logtotest.StageBackchannelLogout] != 9 || len(met) != 4 {
		t.Errorf("%v", met)
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
	for _, fault := range faults.All() {
		if fault.Stage != logtotest.StageBackchannelLogout {
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
	server.Misbehave(faults.SlowToken)
	for name, client := range map[string]*http.Client{"without a socket": server.Client(), "with one": {Transport: &http.Transport{}}} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.Endpoint()+"/oidc/token", strings.NewReader(url.Values{}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if response, err := client.Do(request); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v %v", name, response, err)
		}
		client.CloseIdleConnections()
	}
}

func TestFaultsAddUpAndGo(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.Misbehave(faults.WrongNonce, faults.MissingIssuedAt, faults.MissingScope, faults.RevocationDown)
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

// As the documentation of Behave and RotateKey says.
func TestApplicationsLearnByTheirClock(t *testing.T) {
	t.Parallel()
	server := logtotest.NewServer(t)
	router, auth := newApp(t, server.Config("https://app.example.com"), "/")
	router.GET("/orders", auth.Bearer("https://api.example.test/"), func(*gin.Context) {})
	server.Misbehave(faults.DiscoveryDown)
	if err := auth.Ready(t.Context()); err == nil {
		t.Error("ready")
	}
	server.Behave()
	if err := auth.Ready(t.Context()); err == nil {
		t.Error("ready at once: the documentation says more than there is")
	}
	server.Advance(time.Second)
	if err := auth.Ready(t.Context()); err != nil {
		t.Error(err)
	}

	if err := server.RotateKey("ES384"); err != nil {
		t.Fatal(err)
	}
	token := server.AccessToken(logtotest.User{ID: "alice"}, "https://api.example.test/")
	for _, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := server.Visitor(t, router).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d, want %d", response.StatusCode, want)
		}
		server.Advance(10 * time.Second)
	}
}

func TestAFaultOfOnesOwn(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.Misbehave(faults.MissingScope, logtotest.Fault{
		IDToken:   func(s *logtotest.Server, token *logtotest.JWT) { token.Claims["secret"] = s.AppSecret() },
		Documents: map[logtotest.Endpoint]func(map[string]any){logtotest.Token: func(answer map[string]any) { answer["expires_in"] = "soon" }},
		Callback:  func(parameters url.Values) { parameters.Set("extra", "1") },
		Answers: map[logtotest.Endpoint]http.HandlerFunc{
			logtotest.UserInfo: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
		},
	})
	attempt := b.newSignIn()
	callback := b.callback(attempt)
	answer := decode(t, b.token(codeForm(callback.Get("code"), attempt)).body)
	_, claims := decodeToken(t, answer["id_token"])
	if callback.Get("extra") != "1" || answer["expires_in"] != "soon" || answer["scope"] != nil || claims["secret"] != b.server.AppSecret() {
		t.Errorf("%v %v %v", callback, answer, claims)
	}
	if got := b.userInfo(answer["access_token"].(string)); got.status != http.StatusTeapot {
		t.Errorf("user info: %d", got.status)
	}
}
