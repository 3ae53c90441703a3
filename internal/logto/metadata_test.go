package logto

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

// isSaid reports whether an error has this text; "…" stands for any rest.
func isSaid(err error, want string) bool {
	beginning, isBeginning := strings.CutSuffix(want, "…")
	return err.Error() == want || (isBeginning && strings.HasPrefix(err.Error(), beginning))
}

// metadataWith is testMetadata with these changes.
func metadataWith(changes members) string {
	var document members
	if err := json.Unmarshal([]byte(testMetadata), &document); err != nil {
		panic(err)
	}
	return document.with(changes).json()
}

func TestMetadataAreRead(t *testing.T) {
	t.Parallel()
	want := Metadata{
		AuthorizationEndpoint: testIssuer + "/auth", TokenEndpoint: testIssuer + "/token", UserInfoEndpoint: testIssuer + "/me",
		EndSessionEndpoint: testIssuer + "/session/end", RevocationEndpoint: testIssuer + "/token/revocation", KeysEndpoint: testIssuer + "/jwks", IssuerInCallback: true,
	}
	for name, test := range map[string]struct {
		answer           fixedAnswer
		issuerInCallback bool
	}{
		"as usual":                          {json200(testMetadata), true},
		"with a charset":                    {fixedAnswer{status: 200, contentType: "application/json; charset=utf-8", body: []byte(testMetadata)}, true},
		"in another JSON type":              {fixedAnswer{status: 200, contentType: "application/jwk-set+json", body: []byte(testMetadata)}, true},
		"with members that are not known":   {json200(metadataWith(members{"other": []int{1}, "scopes_supported": nil})), true},
		"without a word on iss":             {json200(metadataWith(members{"authorization_response_iss_parameter_supported": absent{}})), false},
		"with false":                        {json200(metadataWith(members{"authorization_response_iss_parameter_supported": false})), false},
		"with a string in place of a truth": {json200(metadataWith(members{"authorization_response_iss_parameter_supported": "true"})), false},
	} {
		logto := newObservedLogto(answers{"/oidc/.well-known/openid-configuration": test.answer})
		want := want
		want.IssuerInCallback = test.issuerInCallback
		got, err := newTestProvider(t, logto, nil).Discover(t.Context())
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
		sent := logto.onlyRequest(t, "/oidc/.well-known/openid-configuration")
		if sent.method != http.MethodGet || sent.url != testIssuer+"/.well-known/openid-configuration" || sent.header.Get("Accept") != "application/json" || sent.header.Get("Authorization") != "" {
			t.Errorf("%s: sent %+v", name, sent)
		}
	}
}

func TestMetadataThatCannotBeTrustedAreErrors(t *testing.T) {
	t.Parallel()
	const noIssuer = `it names no issuer, or something else than a URL, and not "` + testIssuer + `"; is that a Logto?`
	otherIssuer := func(found string) string {
		return fmt.Sprintf("the issuer it names is %q and not %q; Config.Endpoint must be the address by which Logto calls itself (its ENDPOINT), without /oidc", found, testIssuer)
	}
	for name, test := range map[string]struct {
		answer fixedAnswer
		want   string
	}{
		"another issuer":                {json200(metadataWith(members{"issuer": "https://other.logto.app/oidc"})), otherIssuer("https://other.logto.app/oidc")},
		"the issuer with a slash":       {json200(metadataWith(members{"issuer": testIssuer + "/"})), otherIssuer(testIssuer + "/")},
		"the issuer in another case":    {json200(metadataWith(members{"issuer": "https://example.logto.app/OIDC"})), otherIssuer("https://example.logto.app/OIDC")},
		"the issuer without its path":   {json200(metadataWith(members{"issuer": "https://example.logto.app"})), otherIssuer("https://example.logto.app")},
		"the issuer is a password":      {json200(metadataWith(members{"issuer": "https://user:password@example.logto.app/oidc"})), noIssuer},
		"the issuer is a page":          {json200(metadataWith(members{"issuer": "https://example.logto.app/" + strings.Repeat("x", 200)})), noIssuer},
		"the issuer is no address":      {json200(metadataWith(members{"issuer": "secret"})), noIssuer},
		"the issuer is null":            {json200(metadataWith(members{"issuer": nil})), noIssuer},
		"the issuer is a list":          {json200(metadataWith(members{"issuer": []string{testIssuer}})), noIssuer},
		"no issuer":                     {json200(metadataWith(members{"issuer": absent{}})), noIssuer},
		"nothing but the issuer's case": {json200(metadataWith(members{"issuer": absent{}, "Issuer": testIssuer})), noIssuer},

		"no JSON":           {json200("<html>"), "the document is not a JSON object"},
		"a list":            {json200("[" + testMetadata + "]"), "the document is not a JSON object"},
		"null":              {json200("null"), "the document is not a JSON object"},
		"nothing":           {json200(""), "the document is not a JSON object"},
		"cut short":         {json200(testMetadata[:len(testMetadata)-1]), "the document is not a JSON object"},
		"the issuer twice":  {json200(`{"issuer":"` + testIssuer + `",` + testMetadata[1:]), "the document is a JSON object with a member that occurs twice"},
		"HTML":              {fixedAnswer{status: 200, contentType: "text/html", body: []byte(testMetadata)}, "the answer is not JSON; …"},
		"text":              {fixedAnswer{status: 200, contentType: "text/plain", body: []byte(testMetadata)}, "the answer is not JSON; …"},
		"JavaScript":        {fixedAnswer{status: 200, contentType: "application/javascript", body: []byte(testMetadata)}, "the answer is not JSON; …"},
		"without a type":    {fixedAnswer{status: 200, body: []byte(testMetadata)}, "the answer is not JSON; …"},
		"1 MiB and a byte":  {json200(testMetadata + strings.Repeat(" ", maxBody+1-len(testMetadata))), "the answer is longer than 1 MiB"},
		"10 MiB":            {json200(testMetadata + strings.Repeat(" ", 10<<20)), "the answer is longer than 1 MiB"},
		"an outage":         {fixedAnswer{status: 503, contentType: "application/json", body: []byte(testMetadata)}, "status 503"},
		"not there":         {fixedAnswer{status: 404}, "status 404; …"},
		"created":           {fixedAnswer{status: 201, contentType: "application/json", body: []byte(testMetadata)}, "status 201"},
		"a partial content": {fixedAnswer{status: 206, contentType: "application/json", body: []byte(testMetadata)}, "status 206"},
	} {
		got, err := newTestProvider(t, answers{"/oidc/.well-known/openid-configuration": test.answer}, nil).Discover(t.Context())
		if err == nil || !isSaid(err, test.want) || got != nil {
			t.Errorf("%s: got %+v, %v, want the error %q", name, got, err, test.want)
		}
	}
	long := json200(testMetadata + strings.Repeat(" ", maxBody-len(testMetadata)))
	if _, err := newTestProvider(t, answers{"/oidc/.well-known/openid-configuration": long}, nil).Discover(t.Context()); err != nil {
		t.Errorf("exactly 1 MiB: got the error %v, want none", err)
	}
}

func TestEndpointsThatAreNotUsableAreErrors(t *testing.T) {
	t.Parallel()
	for endpoint, isOptional := range map[string]bool{
		"authorization_endpoint": false, "token_endpoint": false, "jwks_uri": false,
		"userinfo_endpoint": true, "end_session_endpoint": true, "revocation_endpoint": true,
	} {
		notUsable, notHTTPS := "it has no usable "+endpoint, "its "+endpoint+" is http although the issuer is https; …"
		missing := notUsable
		if isOptional {
			missing = ""
		}
		for _, test := range []struct {
			value any
			want  string
		}{
			{"https://example.logto.app/x?y=z", ""},
			{"https://elsewhere.example:8443/x", ""},
			{"http://example.logto.app/x", notHTTPS},
			{"HTTP://example.logto.app/x", notHTTPS},
			{absent{}, missing},
			{nil, missing},
			{"", missing},
			{" ", notUsable},
			{false, notUsable},
			{7, notUsable},
			{[]string{"https://example.logto.app/x"}, notUsable},
			{"/oidc/x", notUsable},
			{"//example.logto.app/x", notUsable},
			{"example.logto.app/x", notUsable},
			{"https:///x", notUsable},
			{"https:example.logto.app/x", notUsable},
			{"https://user@example.logto.app/x", notUsable},
			{"https://user:password@example.logto.app/x", notUsable},
			{"https://@example.logto.app/x", notUsable},
			{"https://example.logto.app/x#y", notUsable},
			{"ftp://example.logto.app/x", notUsable},
			{"file:///etc/passwd", notUsable},
			{"javascript:alert(1)", notUsable},
			{"https://example.logto.app/%zz", notUsable},
			{"https://exa mple.logto.app/x", notUsable},
			{"https://example.logto.app/\n", notUsable},
		} {
			got, err := newTestProvider(t, json200(metadataWith(members{endpoint: test.value})), nil).Discover(t.Context())
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%s %v: got the error %v, want none", endpoint, test.value, err)
			case test.want != "" && (err == nil || !isSaid(err, test.want) || got != nil):
				t.Errorf("%s %v: got %+v, %v, want the error %q", endpoint, test.value, got, err, test.want)
			}
		}
	}
}

func TestAnHTTPIssuerHasHTTPEndpoints(t *testing.T) {
	t.Parallel()
	issuer := "http://localhost:3001/oidc"
	document := strings.ReplaceAll(testMetadata, testIssuer, issuer)
	p := newTestProvider(t, json200(document), func(settings *Settings) { settings.Issuer = issuer })
	if got, err := p.Discover(t.Context()); err != nil || got.TokenEndpoint != issuer+"/token" {
		t.Errorf("got %+v, %v, want the endpoints of %s", got, err, issuer)
	}
}

func TestRedirectsOfDiscoveryAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		var followed atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				followed.Add(1)
			}
			http.Redirect(w, r, "/elsewhere", status)
		}))
		t.Cleanup(server.Close)
		p := newTestProvider(t, nil, func(settings *Settings) { settings.Issuer = server.URL + "/oidc" })
		_, err := p.Discover(t.Context())
		if oauth.StatusOf(err) != status || followed.Load() != 0 {
			t.Errorf("%d: got the error %v after %d more requests, want the status after none", status, err, followed.Load())
		}
	}
}

func TestMetadataAreRememberedAndKeptOverAnOutage(t *testing.T) {
	t.Parallel()
	const path = "/oidc/.well-known/openid-configuration"
	logto, moment := newObservedLogto(answers{path: {status: 503}}), &clock{}
	p := newTestProvider(t, logto, func(settings *Settings) { settings.Now = moment.now })
	for _, step := range []struct {
		name    string
		age     time.Duration
		answer  fixedAnswer
		fetches int
		isThere bool
	}{
		{"an outage", 0, fixedAnswer{status: 503}, 1, false},
		{"within a second it is remembered", failureMemory - 1, json200(testMetadata), 1, false},
		{"after it Logto is asked", failureMemory, json200(testMetadata), 2, true},
		{"and then no more", failureMemory + metadataRenewAfter - 1, fixedAnswer{status: 503}, 2, true},
		{"an outage when they are old", failureMemory + metadataLifetime, fixedAnswer{status: 503}, 3, true},
		{"an outage that lasts too long", failureMemory + metadataKeepFor, fixedAnswer{status: 503}, 4, false},
	} {
		moment.passed.Store(int64(step.age))
		logto.answer(path, step.answer)
		got, err := p.Metadata(t.Context())
		if (err == nil) != step.isThere || (err != nil && (!errors.Is(err, fault.ProviderUnavailable) || oauth.StatusOf(err) != 503)) || (err == nil && got.KeysEndpoint != testIssuer+"/jwks") {
			t.Errorf("%s: got %+v, %v, want metadata: %t", step.name, got, err, step.isThere)
		}
		if got := len(logto.requests(path)); got != step.fetches {
			t.Errorf("%s: %d fetches, want %d", step.name, got, step.fetches)
		}
	}
}

// C98.
func FuzzDiscovery(f *testing.F) {
	const good = testMetadata
	for _, seed := range []string{
		good, strings.ReplaceAll(good, "oidc/token\"", "oidc/token#x\""), strings.ReplaceAll(good, "https://example.logto.app/oidc/me", "http://example.logto.app/oidc/me"),
		strings.ReplaceAll(good, "https://example.logto.app/oidc/jwks", "https://user@example.logto.app"), strings.ReplaceAll(good, `"https://example.logto.app/oidc/auth"`, "null"),
		strings.ReplaceAll(good, "true", `"yes"`), `{"issuer":"https://example.logto.app/oidc"}`, `{}`, ``, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := newTestProvider(t, json200(string(body)), nil).Discover(t.Context())
		if err != nil {
			if len(body) > 50 && strings.Contains(err.Error(), string(body)) {
				t.Fatalf("the error has the body: %v", err)
			}
			return
		}
		var document struct{ Issuer string }
		if err := json.Unmarshal(body, &document); err != nil || document.Issuer != testIssuer {
			t.Fatalf("%q is believed", body)
		}
		for i, endpoint := range []string{m.UserInfoEndpoint, m.EndSessionEndpoint, m.RevocationEndpoint, m.AuthorizationEndpoint, m.TokenEndpoint, m.KeysEndpoint} {
			if endpoint == "" && i < 3 {
				continue
			}
			if u, err := url.Parse(endpoint); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
				t.Fatalf("%q: the endpoint %q", body, endpoint)
			}
		}
	})
}
