package logto

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

const (
	tokenPath      = "/oidc/token"
	revocationPath = "/oidc/token/revocation"
	userInfoPath   = "/oidc/me"
	keysPath       = "/oidc/jwks"

	tokenAnswer = `{"access_token":"access token","token_type":"Bearer","expires_in":3600,"refresh_token":"new refresh token","id_token":"id token","scope":"openid profile"}`
)

// roundTrip is a transport that is a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// publicClient has no secret.
func publicClient(settings *Settings) { settings.AppSecret = "" }

// specialClient has an ID and a secret that RFC 6749, section 2.3.1, has to be followed for.
func specialClient(settings *Settings) {
	settings.AppID, settings.AppSecret = "app:1", "s%c+r/t &=:ä"
}

const specialCredentials = "app%3A1:s%25c%2Br%2Ft+%26%3D%3A%C3%A4"

// credentialsOf returns what a request says by basic authentication, as it was sent.
func credentialsOf(t *testing.T, sent sentRequest) string {
	t.Helper()
	header := sent.header.Get("Authorization")
	if header == "" {
		return ""
	}
	encoded, isBasic := strings.CutPrefix(header, "Basic ")
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if !isBasic || err != nil {
		t.Fatalf("the header Authorization is %q, want basic authentication", header)
	}
	return string(raw)
}

// The calls that send credentials, and the forms that they must send.
func TestFormsSayWhatIsAskedForAndNothingElse(t *testing.T) {
	t.Parallel()
	exchange := func(p *Provider) error {
		_, err := p.Redeem(t.Context(), "c&o=de", "verifier", "https://app.example.com/callback?a=b")
		return err
	}
	refresh := func(resource, organization string) func(p *Provider) error {
		return func(p *Provider) error {
			_, err := p.Refresh(t.Context(), "refresh+token", resource, organization)
			return err
		}
	}
	revoke := func(p *Provider) error { return p.Revoke(t.Context(), "refresh+token") }
	for name, test := range map[string]struct {
		path string
		call func(p *Provider) error
		want url.Values
	}{
		"Redeem": {tokenPath, exchange, url.Values{
			"grant_type": {"authorization_code"}, "code": {"c&o=de"}, "code_verifier": {"verifier"}, "redirect_uri": {"https://app.example.com/callback?a=b"},
		}},
		"Refresh":                  {tokenPath, refresh("", ""), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh+token"}}},
		"Refresh for a resource":   {tokenPath, refresh("https://api.example.com/?a=b", ""), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh+token"}, "resource": {"https://api.example.com/?a=b"}}},
		"Refresh for organization": {tokenPath, refresh("", "o"), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh+token"}, "organization_id": {"o"}}},
		"Refresh for both":         {tokenPath, refresh("r", "o"), url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh+token"}, "resource": {"r"}, "organization_id": {"o"}}},
		"Revoke":                   {revocationPath, revoke, url.Values{"token": {"refresh+token"}, "token_type_hint": {"refresh_token"}}},
	} {
		for _, client := range []struct {
			name        string
			change      func(*Settings)
			credentials string
			clientID    []string // in the form
		}{
			{"a client with a secret", nil, "app:secret", nil},
			{"a client with a special secret", specialClient, specialCredentials, nil},
			{"a public client", publicClient, "", []string{"app"}},
		} {
			logto := newObservedLogto(answers{tokenPath: json200(tokenAnswer), revocationPath: {status: http.StatusOK}})
			if err := test.call(newTestProvider(t, logto, client.change)); err != nil {
				t.Errorf("%s by %s: %v", name, client.name, err)
			}
			sent := logto.onlyRequest(t, test.path)
			want := url.Values{}
			for parameter, values := range test.want {
				want[parameter] = values
			}
			if client.clientID != nil {
				want["client_id"] = client.clientID
			}
			if got := sent.form(t); !reflect.DeepEqual(got, want) {
				t.Errorf("%s by %s: sent %v, want %v", name, client.name, got, want)
			}
			if got := credentialsOf(t, sent); got != client.credentials {
				t.Errorf("%s by %s: sent the credentials %q, want %q", name, client.name, got, client.credentials)
			}
			if sent.url != "https://example.logto.app"+test.path {
				t.Errorf("%s by %s: sent to %s, want no query", name, client.name, sent.url)
			}
		}
	}
}

func TestTokensOfAnAnswerAreReturned(t *testing.T) {
	t.Parallel()
	p := newTestProvider(t, answers{tokenPath: json200(tokenAnswer)}, nil)
	want := oauth.Tokens{
		AccessToken: "access token", Expires: testNow.Add(time.Hour), RenewAt: testNow.Add(time.Hour - maxTokenMargin),
		Scope: "openid profile", RefreshToken: "new refresh token", IDToken: "id token",
	}
	if got, err := p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback"); err != nil || *got != want {
		t.Errorf("Exchange: got %+v, %v, want %+v", got, err, want)
	}
	if got, err := p.Refresh(t.Context(), "refresh token", "", ""); err != nil || *got != want {
		t.Errorf("Refresh: got %+v, %v, want %+v", got, err, want)
	}
}

// A code and a refresh token are good for one call; so is the patience of Logto.
func TestNothingIsSentASecondTime(t *testing.T) {
	t.Parallel()
	calls := map[string]struct {
		path string
		make func(p *Provider) error
	}{
		"Redeem":   {tokenPath, func(p *Provider) error { _, err := p.Redeem(t.Context(), "code", "v", "https://a"); return err }},
		"Refresh":  {tokenPath, func(p *Provider) error { _, err := p.Refresh(t.Context(), "token", "", ""); return err }},
		"Revoke":   {revocationPath, func(p *Provider) error { return p.Revoke(t.Context(), "token") }},
		"UserInfo": {userInfoPath, func(p *Provider) error { _, err := p.UserInfo(t.Context(), "token", "u"); return err }},
	}
	for name, call := range calls {
		for what, answer := range map[string]fixedAnswer{
			"invalid_client": {status: 401, contentType: "application/json", body: []byte(`{"error":"invalid_client"}`)},
			"invalid_grant":  {status: 400, contentType: "application/json", body: []byte(`{"error":"invalid_grant"}`)},
			"an empty 401":   {status: 401},
			"an outage":      {status: 503, contentType: "text/html", retryAfter: "0"},
			"too many":       {status: 429, retryAfter: "1"},
			"garbage":        json200("garbage"),
		} {
			for _, change := range []func(*Settings){nil, publicClient} {
				logto := newObservedLogto(answers{call.path: answer})
				_ = call.make(newTestProvider(t, logto, change))
				if got := len(logto.requests(call.path)); got != 1 {
					t.Errorf("%s after %s: %d requests, want 1", name, what, got)
				}
			}
		}
	}
}

func TestRedirectsOfCallsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		var followed atomic.Int64
		server := httptest.NewServer(nil)
		server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/oidc/.well-known/openid-configuration":
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, strings.ReplaceAll(testMetadata, "https://example.logto.app", server.URL))
			case "/elsewhere":
				followed.Add(1)
			default:
				http.Redirect(w, r, server.URL+"/elsewhere", status)
			}
		})
		t.Cleanup(server.Close)
		p := newTestProvider(t, nil, func(settings *Settings) { settings.Issuer = server.URL + "/oidc" })
		_, err1 := p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback")
		_, err2 := p.Refresh(t.Context(), "token", "", "")
		err3 := p.Revoke(t.Context(), "token")
		_, err4 := p.UserInfo(t.Context(), "token", "u")
		_, err5 := p.KeyWithdrawals(t.Context())
		for i, err := range []error{err1, err2, err3, err4, err5} {
			if !errors.Is(err, fault.ProviderUnavailable) || oauth.StatusOf(err) != status {
				t.Errorf("%d, call %d: got the error %v, want a fault.ProviderUnavailable with the status", status, i+1, err)
			}
		}
		if answer := p.AskAsBrowser(t.Context(), server.URL+"/oidc/auth"); answer.Status != status || answer.Location != server.URL+"/elsewhere" {
			t.Errorf("%d: AskAsBrowser got %+v, want the redirect", status, answer)
		}
		if followed.Load() != 0 {
			t.Errorf("%d: %d redirects were followed, want none", status, followed.Load())
		}
	}
}

func TestUserInfoSendsTheTokenInTheHeader(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*Settings){nil, publicClient} {
		logto := newObservedLogto(answers{userInfoPath: json200(`{"sub":"u","name":"Ada"}`)})
		claims, err := newTestProvider(t, logto, change).UserInfo(t.Context(), "access-token", "u")
		if err != nil || claims.Text("name") != "Ada" {
			t.Errorf("got %s, %v, want the claims", claims.Source(), err)
		}
		sent := logto.onlyRequest(t, userInfoPath)
		if sent.method != http.MethodGet || sent.url != testIssuer+"/me" || sent.body != "" || !slices.Equal(sent.header["Authorization"], []string{"Bearer access-token"}) || sent.header.Get("Accept") != "application/json" {
			t.Errorf("sent %+v, want a GET with the token in the header alone", sent)
		}
	}
}

func TestUserInfoIsAboutTheUserThatIsAskedFor(t *testing.T) {
	t.Parallel()
	const otherUser, notObject = "the user info is about another user", "the user info is not a JSON object"
	for name, test := range map[string]struct {
		answer  fixedAnswer
		subject string
		want    string // after fault.InvalidToken, "" for no error
	}{
		"the user":                  {json200(`{"sub":"u"}`), "u", ""},
		"in another JSON type":      {fixedAnswer{status: 200, contentType: "application/userinfo+json;charset=utf-8", body: []byte(`{"sub":"u"}`)}, "u", ""},
		"another user":              {json200(`{"sub":"v"}`), "u", otherUser},
		"a user in another case":    {json200(`{"sub":"U"}`), "u", otherUser},
		"an empty sub":              {json200(`{"sub":""}`), "u", otherUser},
		"an empty sub as asked for": {json200(`{"sub":""}`), "", otherUser},
		"no sub":                    {json200(`{}`), "u", otherUser},
		"no sub as asked for":       {json200(`{}`), "", otherUser},
		"only Sub":                  {json200(`{"Sub":"u"}`), "u", otherUser},
		"sub is a number":           {json200(`{"sub":7}`), "7", otherUser},
		"sub is null":               {json200(`{"sub":null}`), "null", otherUser},
		"sub is a list":             {json200(`{"sub":["u"]}`), "u", otherUser},
		"sub twice":                 {json200(`{"sub":"u","sub":"v"}`), "u", "the user info is a JSON object with a member that occurs twice"},
		"a list":                    {json200(`[{"sub":"u"}]`), "u", notObject},
		"null":                      {json200(`null`), "u", notObject},
		"nothing":                   {json200(``), "u", notObject},
		"no JSON":                   {json200(`<html>`), "u", notObject},
	} {
		claims, err := newTestProvider(t, answers{userInfoPath: test.answer}, nil).UserInfo(t.Context(), "access-token", test.subject)
		checkTokenError(t, name, "access-token", err, test.want)
		if isThere := claims.Source() != nil; isThere != (test.want == "") {
			t.Errorf("%s: got the claims %s beside %v", name, claims.Source(), err)
		}
	}
}

func TestAuthorizationRequests(t *testing.T) {
	t.Parallel()
	// The verifier and its challenge come from RFC 7636, appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	base := AuthorizationRequest{RedirectURI: "https://app.example.com/callback?a=b", State: "s&t", Verifier: verifier, Scopes: []string{"openid", "offline_access"}}
	usual := url.Values{
		"client_id": {"app"}, "response_type": {"code"}, "redirect_uri": {"https://app.example.com/callback?a=b"}, "state": {"s&t"},
		"scope": {"openid offline_access"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	for name, test := range map[string]struct {
		endpoint string
		change   func(*AuthorizationRequest)
		want     url.Values // beside what is usual
	}{
		"as usual":     {"https://example.logto.app/oidc/auth", func(*AuthorizationRequest) {}, nil},
		"one resource": {"https://example.logto.app/oidc/auth", func(r *AuthorizationRequest) { r.Resources = []string{"https://api.example.com"} }, url.Values{"resource": {"https://api.example.com"}}},
		"three resources": {"https://example.logto.app/oidc/auth", func(r *AuthorizationRequest) {
			r.Resources = []string{"a&b=c", "d", "urn:logto:resource:organizations"}
		}, url.Values{"resource": {"a&b=c", "d", "urn:logto:resource:organizations"}}},
		"parameters": {"https://example.logto.app/oidc/auth", func(r *AuthorizationRequest) {
			r.Params = url.Values{"nonce": {"n"}, "prompt": {"login consent"}, "max_age": {"0"}}
		}, url.Values{"nonce": {"n"}, "prompt": {"login consent"}, "max_age": {"0"}}},
		"an endpoint with a query": {"https://example.logto.app/oidc/auth?tenant=t", func(r *AuthorizationRequest) { r.Resources = []string{"r"} }, url.Values{"tenant": {"t"}, "resource": {"r"}}},
		"a parameter that would weaken the challenge": {"https://example.logto.app/oidc/auth", func(r *AuthorizationRequest) {
			r.Params = url.Values{"code_challenge_method": {"plain"}, "code_challenge": {"x"}}
		}, nil},
		"no scopes": {"https://example.logto.app/oidc/auth", func(r *AuthorizationRequest) { r.Scopes = nil }, url.Values{"scope": nil}},
	} {
		for _, client := range []func(*Settings){nil, publicClient} {
			logto := newObservedLogto(nil)
			request := base
			test.change(&request)
			address := newTestProvider(t, logto, client).AuthorizationURL(&Metadata{AuthorizationEndpoint: test.endpoint}, request)
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			want := url.Values{}
			for _, values := range []url.Values{usual, test.want} {
				for parameter := range values {
					want[parameter] = values[parameter]
				}
			}
			if want["scope"] == nil {
				delete(want, "scope")
			}
			if got := u.Query(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v, want %v", name, got, want)
			}
			if u.Scheme != "https" || u.Host != "example.logto.app" || u.Path != "/oidc/auth" || strings.Contains(address, verifier) || strings.Contains(address, "secret") {
				t.Errorf("%s: got %s, want the endpoint without the verifier and the secret", name, address)
			}
			if len(logto.sent) != 0 {
				t.Errorf("%s: a request was sent", name)
			}
		}
	}
}

func TestCallsWithoutMetadataAreNotMade(t *testing.T) {
	t.Parallel()
	logto := newObservedLogto(answers{"/oidc/.well-known/openid-configuration": {status: 503}})
	p := newTestProvider(t, logto, nil)
	_, err1 := p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback")
	_, err2 := p.Refresh(t.Context(), "token", "", "")
	err3 := p.Revoke(t.Context(), "token")
	_, err4 := p.UserInfo(t.Context(), "token", "u")
	_, err5 := p.KeyWithdrawals(t.Context())
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if !errors.Is(err, fault.ProviderUnavailable) || oauth.StatusOf(err) != 503 || strings.Count(err.Error(), fault.ProviderUnavailable.Error()) != 1 {
			t.Errorf("call %d: got the error %v, want one fault.ProviderUnavailable with the status", i+1, err)
		}
	}
	if len(logto.sent) != 1 {
		t.Errorf("requests to %v, want discovery alone", logto.sent)
	}
}

func TestErrorsOfTheNetworkNameNoAddressAndNoSecret(t *testing.T) {
	t.Parallel()
	failure := errors.New("connection reset")
	for name, test := range map[string]struct {
		fail error
		want error
	}{
		"a connection that breaks": {failure, failure},
		"a timeout":                {context.DeadlineExceeded, context.DeadlineExceeded},
		"a caller who gives up":    {context.Canceled, context.Canceled},
	} {
		p := newTestProvider(t, roundTrip(func(request *http.Request) (*http.Response, error) {
			if strings.HasSuffix(request.URL.Path, "openid-configuration") {
				return json200(testMetadata).RoundTrip(request)
			}
			return nil, test.fail
		}), nil)
		_, err1 := p.Redeem(t.Context(), "secret-code", "secret-verifier", "https://app.example.com/callback")
		_, err2 := p.Refresh(t.Context(), "secret-token", "", "")
		err3 := p.Revoke(t.Context(), "secret-token")
		_, err4 := p.UserInfo(t.Context(), "secret-token", "u")
		_, err5 := p.KeyWithdrawals(t.Context())
		for i, err := range []error{err1, err2, err3, err4, err5} {
			if !errors.Is(err, fault.ProviderUnavailable) || !errors.Is(err, test.want) || oauth.IsAnswered(err) || oauth.StatusOf(err) != 0 {
				t.Errorf("%s, call %d: got the error %v, want a fault.ProviderUnavailable that is %v", name, i+1, err, test.want)
			}
			if strings.Contains(err.Error(), "https:") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s, call %d: the error %q has an address or a secret", name, i+1, err)
			}
		}
		err := p.AskAsBrowser(t.Context(), "https://example.logto.app/oidc/auth?state=secret").Err
		if !errors.Is(err, test.want) || strings.Contains(err.Error(), "https:") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s, browser's call: got the error %v, want %v without the address", name, err, test.want)
		}
	}
}

func TestATokenThatNoHeaderCanHoldIsKeptOutOfTheError(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.ReplaceAll(testMetadata, "https://example.logto.app", server.URL))
	})
	t.Cleanup(server.Close)
	p := newTestProvider(t, nil, func(settings *Settings) { settings.Issuer = server.URL + "/oidc" })
	if _, err := p.UserInfo(t.Context(), "secret-token\n", "u"); !errors.Is(err, fault.ProviderUnavailable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got the error %v, want a fault.ProviderUnavailable without the token", err)
	}
}

func TestEachCallIsObservedWithItsEnd(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	token := key.sign(t, idHeader, idClaims.json())
	for name, test := range map[string]struct {
		answers answers
		isError bool
	}{
		"calls that go well": {answers{keysPath: json200(key.set), tokenPath: json200(tokenAnswer), revocationPath: {status: 200}, userInfoPath: json200(`{"sub":"u"}`)}, false},
		"calls that fail":    {answers{keysPath: {status: 503}, tokenPath: {status: 503}, revocationPath: {status: 503}, userInfoPath: {status: 503}}, true},
	} {
		ended := make(chan string, 16)
		p := newTestProvider(t, test.answers, func(settings *Settings) {
			settings.Observe = func(_ context.Context, call string) func(error) {
				return func(err error) { ended <- fmt.Sprint(call, " ", err != nil) }
			}
		})
		_, _ = p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback")
		_, _ = p.Refresh(t.Context(), "token", "", "")
		_ = p.Revoke(t.Context(), "token")
		_, _ = p.UserInfo(t.Context(), "token", "u")
		_, _ = p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", Freshness: freshness})
		close(ended)
		var got []string
		for call := range ended {
			got = append(got, call)
		}
		want := []string{"discovery false"}
		for _, call := range []string{"token", "refresh", "revocation", "user_info", "keys"} {
			want = append(want, fmt.Sprint(call, " ", test.isError))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: observed %q, want %q", name, got, want)
		}
	}
}

func TestWhatABrowserWouldGetIsTold(t *testing.T) {
	t.Parallel()
	const callback = "https://app.example.com/callback"
	for name, test := range map[string]struct {
		status         int
		location, body string
		want           PageAnswer
		isCallback     bool
	}{
		"the sign-in page":           {303, "https://example.logto.app/sign-in", "", PageAnswer{Status: 303, Location: "https://example.logto.app/sign-in"}, false},
		"an error at the callback":   {303, callback + "?error=access_denied&state=s", "", PageAnswer{Status: 303, Location: callback + "?error=access_denied&state=s", Code: "access_denied"}, true},
		"a code at the callback":     {302, callback + "?code=c", "", PageAnswer{Status: 302, Location: callback + "?code=c"}, true},
		"a page that begins like it": {302, callback + "2?code=c", "", PageAnswer{Status: 302, Location: callback + "2?code=c"}, false},
		"no redirect":                {200, callback + "?code=c", "", PageAnswer{Status: 200, Location: callback + "?code=c"}, false},
		"an error in the body":       {400, "", `{"error":"invalid_client","error_description":"x"}`, PageAnswer{Status: 400, Code: "invalid_client"}, false},
		"HTML":                       {400, "", `<html>`, PageAnswer{Status: 400}, false},
		"an error that is a number":  {400, "", `{"error":7}`, PageAnswer{Status: 400}, false},
	} {
		var sent *http.Request
		p := newTestProvider(t, roundTrip(func(request *http.Request) (*http.Response, error) {
			sent = request
			response, err := fixedAnswer{status: test.status, body: []byte(test.body)}.RoundTrip(request)
			response.Header.Set("Location", test.location)
			return response, err
		}), nil)
		got := p.AskAsBrowser(t.Context(), testIssuer+"/auth?client_id=app")
		if got != test.want || got.IsRedirectTo(callback) != test.isCallback {
			t.Errorf("%s: got %+v, to the callback: %t, want %+v, %t", name, got, got.IsRedirectTo(callback), test.want, test.isCallback)
		}
		if sent.Method != http.MethodGet || sent.URL.String() != testIssuer+"/auth?client_id=app" || sent.Header.Get("Cookie") != "" || sent.Header.Get("Authorization") != "" {
			t.Errorf("%s: sent %s %s with %v", name, sent.Method, sent.URL, sent.Header)
		}
	}
}

func TestTheDateOfAnAnswerIsRead(t *testing.T) {
	t.Parallel()
	for date, want := range map[string]time.Time{
		"Fri, 15 Jan 2027 08:00:00 GMT": testNow, "": {}, "1800000000": {}, "yesterday": {},
	} {
		p := newTestProvider(t, roundTrip(func(request *http.Request) (*http.Response, error) {
			response, err := fixedAnswer{status: 404}.RoundTrip(request)
			response.Header.Set("Date", date)
			return response, err
		}), nil)
		if got := p.AskAsBrowser(t.Context(), testIssuer); !got.Date.Equal(want) || got.Err != nil {
			t.Errorf("%q: got %v, %v, want %v", date, got.Date, got.Err, want)
		}
	}
	if newTestProvider(t, nil, nil).AskAsBrowser(t.Context(), "%zz").Err == nil {
		t.Error("AskAsBrowser of what is no address: got no error")
	}
}
