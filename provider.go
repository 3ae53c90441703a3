package logtogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/remote"
)

const (
	// requestTimeout bounds every call to Logto but the one that is made only
	// to be polite.
	requestTimeout    = 10 * time.Second
	revocationTimeout = 2 * time.Second

	// failureMemory is how long a failed fetch of discovery or keys is
	// answered from memory. It is short, so that recovery is quick, and long
	// enough that a Logto that is down is not flooded.
	failureMemory = time.Second

	discoveryRenewAfter = 30 * time.Minute
	discoveryLifetime   = 24 * time.Hour
	discoveryKeepFor    = 30 * 24 * time.Hour

	maxBody = 1 << 20
)

// provider makes the calls to Logto.
type provider struct {
	issuer    string
	appID     string
	appSecret string
	client    *http.Client
	metadata  *remote.Value[*metadata]
	now       func() time.Time
	timed     func(ctx context.Context, event Event) (ended func(error))
}

// metadata is what discovery tells (OpenID Connect Discovery, section 3).
type metadata struct {
	authorizationEndpoint string
	tokenEndpoint         string
	userInfoEndpoint      string
	endSessionEndpoint    string
	revocationEndpoint    string
	keysEndpoint          string
	// issuerInCallback is authorization_response_iss_parameter_supported of
	// RFC 9207.
	issuerInCallback bool
}

func newProvider(s *settings) *provider {
	p := &provider{
		issuer:    s.issuer,
		appID:     s.AppID,
		appSecret: s.AppSecret,
		client:    newHTTPClient(s.HTTPClient),
		now:       s.Now,
		timed:     s.timed,
	}
	p.metadata = remote.New(remote.Policy{
		Timeout:    requestTimeout,
		RenewAfter: discoveryRenewAfter,
		Lifetime:   discoveryLifetime,
		KeepFor:    discoveryKeepFor,
		RetryAfter: failureMemory,
	}, s.Now, p.discover)
	return p
}

// newHTTPClient returns a client with limits. It follows no redirects: a
// redirected token request would hand the code and the client secret to
// another host.
func newHTTPClient(given *http.Client) *http.Client {
	client := http.Client{}
	if given != nil {
		client = *given
	}
	if client.Transport == nil {
		if defaults, ok := http.DefaultTransport.(*http.Transport); ok {
			transport := defaults.Clone()
			transport.MaxResponseHeaderBytes = 64 << 10
			transport.MaxIdleConnsPerHost = 16
			client.Transport = transport
		}
	}
	if client.Timeout <= 0 || client.Timeout > requestTimeout {
		client.Timeout = requestTimeout
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return &client
}

func (p *provider) close() {
	p.metadata.Close()
	p.client.CloseIdleConnections()
}

// endpoints returns Logto's metadata, from memory as a rule.
func (p *provider) endpoints(ctx context.Context) (*metadata, error) {
	found, err := p.metadata.Get(ctx)
	if err != nil {
		return nil, unavailable("discovery", err)
	}
	return found.Value, nil
}

func (p *provider) discover(ctx context.Context) (m *metadata, err error) {
	ended := p.timed(ctx, Event{Kind: EventProviderCall, Call: "discovery"})
	defer func() { ended(err) }()
	body, err := p.get(ctx, p.issuer+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	set, err := jsonobject.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("the document is %w", err)
	}
	var issuer string
	jsonobject.Fill(set, "issuer", &issuer)
	if issuer != p.issuer {
		return nil, fmt.Errorf("the issuer it names is not %q; is Config.Endpoint the address that Logto itself uses?", p.issuer)
	}
	m = &metadata{}
	for name, endpoint := range map[string]*string{
		"authorization_endpoint": &m.authorizationEndpoint,
		"token_endpoint":         &m.tokenEndpoint,
		"userinfo_endpoint":      &m.userInfoEndpoint,
		"end_session_endpoint":   &m.endSessionEndpoint,
		"revocation_endpoint":    &m.revocationEndpoint,
		"jwks_uri":               &m.keysEndpoint,
	} {
		jsonobject.Fill(set, name, endpoint)
		u, err := url.Parse(*endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, fmt.Errorf("it has no usable %s", name)
		}
		if u.Scheme == "http" && strings.HasPrefix(p.issuer, "https:") {
			return nil, fmt.Errorf("its %s is http although the issuer is https", name)
		}
	}
	jsonobject.Fill(set, "authorization_response_iss_parameter_supported", &m.issuerInCallback)
	return m, nil
}

// fetchKeys returns the JWKS document as it is.
func (p *provider) fetchKeys(ctx context.Context) (body []byte, err error) {
	m, err := p.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	ended := p.timed(ctx, Event{Kind: EventProviderCall, Call: "keys"})
	defer func() { ended(err) }()
	return p.get(ctx, m.keysEndpoint)
}

// exchange redeems an authorization code (RFC 6749, section 4.1.3, and
// RFC 7636, section 4.5).
func (p *provider) exchange(ctx context.Context, code, verifier, redirectURI string) (*tokens, error) {
	m, err := p.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.client)
	asked, ended := p.now(), p.timed(ctx, Event{Kind: EventProviderCall, Call: "token"})
	token, err := p.oauth2Config(m, redirectURI).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	return readTokens(token, tokenEndpointError(err), asked, ended)
}

// refresh asks for new tokens (RFC 6749, section 6), with the resource (RFC 8707)
// and the organization that the access token is for, if they are not empty. It goes
// by x/oauth2's clientcredentials, whose TokenSource cannot send these.
func (p *provider) refresh(ctx context.Context, refreshToken string, target tokenTarget) (*tokens, error) {
	m, err := p.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	params := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	if target.resource != "" {
		params.Set("resource", target.resource)
	}
	if target.organization != "" {
		params.Set("organization_id", target.organization)
	}
	config := clientcredentials.Config{
		ClientID: p.appID, ClientSecret: p.appSecret,
		TokenURL: m.tokenEndpoint, AuthStyle: p.authStyle(), EndpointParams: params,
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.client)
	asked, ended := p.now(), p.timed(ctx, Event{Kind: EventProviderCall, Call: "refresh"})
	token, err := config.Token(ctx)
	return readTokens(token, tokenEndpointError(err), asked, ended)
}

// authStyle is how the client authenticates. Left to find out, x/oauth2 would send
// a code or a refresh token a second time after any error.
func (p *provider) authStyle() oauth2.AuthStyle {
	if p.appSecret == "" {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

func (p *provider) oauth2Config(m *metadata, redirectURI string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     p.appID,
		ClientSecret: p.appSecret,
		Endpoint:     oauth2.Endpoint{AuthURL: m.authorizationEndpoint, TokenURL: m.tokenEndpoint, AuthStyle: p.authStyle()},
		RedirectURL:  redirectURI,
	}
}

// revoke makes Logto forget a refresh token and its grant (RFC 7009).
func (p *provider) revoke(ctx context.Context, refreshToken string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, revocationTimeout)
	defer cancel()
	m, err := p.endpoints(ctx)
	if err != nil {
		return err
	}
	ended := p.timed(ctx, Event{Kind: EventProviderCall, Call: "revocation"})
	defer func() { ended(err) }()
	form := url.Values{"token": {refreshToken}, "token_type_hint": {"refresh_token"}}
	if p.appSecret == "" {
		form.Set("client_id", p.appID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.revocationEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return unavailable("revocation", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p.appSecret != "" {
		// RFC 6749, section 2.3.1: both are form-encoded first.
		request.SetBasicAuth(url.QueryEscape(p.appID), url.QueryEscape(p.appSecret))
	}
	_, err = p.do(request)
	return providerAnswer("revocation", err)
}

// userInfo asks who the access token belongs to (OpenID Connect Core, section
// 5.3). The token goes into the header, never into the URL.
func (p *provider) userInfo(ctx context.Context, accessToken string) (body []byte, err error) {
	m, err := p.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	ended := p.timed(ctx, Event{Kind: EventProviderCall, Call: "user_info"})
	defer func() { ended(err) }()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.userInfoEndpoint, nil)
	if err != nil {
		return nil, unavailable("user info", err)
	}
	request.Header.Set("Authorization", "Bearer "+accessToken)
	request.Header.Set("Accept", "application/json")
	body, err = p.do(request)
	return body, providerAnswer("user info", err)
}

func (p *provider) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	return p.do(request)
}

// pageAnswer is an answer that is meant for a browser.
type pageAnswer struct {
	status   int
	location string
	code     string // the OAuth error, be it in the address or in the body
}

// isRedirectTo reports whether Logto sends the browser back to this redirect URI.
func (p pageAnswer) isRedirectTo(uri string) bool {
	return p.status >= 300 && p.status < 400 && strings.HasPrefix(p.location, uri+"?")
}

// askAsBrowser requests an address to which browsers are sent, without a cookie.
func (p *provider) askAsBrowser(ctx context.Context, address string) (answer pageAnswer, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return pageAnswer{}, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return pageAnswer{}, withoutURL(err)
	}
	defer response.Body.Close()
	answer = pageAnswer{status: response.StatusCode, location: response.Header.Get("Location")}
	if to, err := url.Parse(answer.location); err == nil {
		answer.code = to.Query().Get("error")
	}
	var body struct {
		Code string `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(&body) == nil && body.Code != "" {
		answer.code = body.Code
	}
	return answer, nil
}

// dateOf returns when Logto answers, by its own clock, in full seconds.
func (p *provider) dateOf(ctx context.Context, address string) (time.Time, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return time.Time{}, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return time.Time{}, withoutURL(err)
	}
	defer response.Body.Close()
	return http.ParseTime(response.Header.Get("Date"))
}

// do returns the body of an answer with status 200.
func (p *provider) do(request *http.Request) ([]byte, error) {
	response, err := p.client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, withoutURL(err)
	case len(body) > maxBody:
		return nil, errors.New("the answer is longer than 1 MiB")
	case response.StatusCode != http.StatusOK:
		return nil, &answerError{response.StatusCode, body, retryAfterOf(response)}
	}
	if len(body) > 0 && !isJSON(response.Header.Get("Content-Type")) {
		return nil, errors.New("the answer is not JSON")
	}
	return body, nil
}
