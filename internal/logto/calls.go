package logto

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/oauth"
)

// fetchKeys returns the JWKS document as it is.
func (p *Provider) fetchKeys(ctx context.Context) (body []byte, err error) {
	m, err := p.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	ended := p.settings.Observe(ctx, "keys")
	defer func() { ended(err) }()
	return p.get(ctx, m.KeysEndpoint)
}

// Redeem redeems an authorization code (RFC 6749, section 4.1.3, and
// RFC 7636, section 4.5). BeginRedemption says when.
func (p *Provider) Redeem(ctx context.Context, code, verifier, redirectURI string) (got *oauth.Tokens, err error) {
	defer func() { p.redemptions.note(err, p.settings.Now()) }()
	m, err := p.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.client)
	asked, ended := p.settings.Now(), p.settings.Observe(ctx, "token")
	token, err := p.oauth2Config(m, redirectURI).Exchange(ctx, code, oauth2.VerifierOption(verifier))
	return readTokens(token, p.tokenEndpointError(ctx, err), asked, ended)
}

// Refresh asks for new tokens (RFC 6749, section 6), with the resource (RFC 8707)
// and the organization that the access token is for, if they are not empty. It goes
// by x/oauth2's clientcredentials, whose TokenSource cannot send these.
func (p *Provider) Refresh(ctx context.Context, refreshToken, resource, organization string) (*oauth.Tokens, error) {
	m, err := p.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	params := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	if resource != "" {
		params.Set("resource", resource)
	}
	if organization != "" {
		params.Set("organization_id", organization)
	}
	config := clientcredentials.Config{
		ClientID: p.settings.AppID, ClientSecret: p.settings.AppSecret,
		TokenURL: m.TokenEndpoint, AuthStyle: p.authStyle(), EndpointParams: params,
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, p.client)
	asked, ended := p.settings.Now(), p.settings.Observe(ctx, "refresh")
	token, err := config.Token(ctx)
	return readTokens(token, p.tokenEndpointError(ctx, err), asked, ended)
}

// authStyle is how the client authenticates. Left to find out, x/oauth2 would send
// a code or a refresh token a second time after any error.
func (p *Provider) authStyle() oauth2.AuthStyle {
	if p.settings.AppSecret == "" {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

func (p *Provider) oauth2Config(m *Metadata, redirectURI string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     p.settings.AppID,
		ClientSecret: p.settings.AppSecret,
		Endpoint:     oauth2.Endpoint{AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, AuthStyle: p.authStyle()},
		RedirectURL:  redirectURI,
	}
}

// AuthorizationRequest is what an authorization request says about one sign-in.
type AuthorizationRequest struct {
	RedirectURI string
	State       string
	Verifier    string // of PKCE (RFC 7636); its S256 challenge is sent
	Scopes      []string
	Resources   []string   // API resources (RFC 8707)
	Params      url.Values // all others, with one value each
}

// ReservedScopes are the scopes that Logto's SDKs ask for in every sign-in.
var ReservedScopes = []string{"openid", "profile", "offline_access"}

// IsScope reports whether a name can be one of a list of scopes (RFC 6749, section 3.3).
func IsScope(name string) bool {
	for i := range len(name) {
		if b := name[i]; b <= ' ' || b > '~' || b == '"' || b == '\\' {
			return false
		}
	}
	return name != ""
}

// NewVerifier returns a random PKCE verifier (RFC 7636, section 4.1).
func NewVerifier() string { return oauth2.GenerateVerifier() }

// AuthorizationURL is the address of an authorization request (RFC 6749, section 4.1.1).
func (p *Provider) AuthorizationURL(m *Metadata, request AuthorizationRequest) string {
	var options []oauth2.AuthCodeOption
	for name := range request.Params {
		options = append(options, oauth2.SetAuthURLParam(name, request.Params.Get(name)))
	}
	options = append(options, oauth2.S256ChallengeOption(request.Verifier))
	config := p.oauth2Config(m, request.RedirectURI)
	config.Scopes = request.Scopes
	address := config.AuthCodeURL(request.State, options...)
	// x/oauth2 sends a parameter once; resources are one parameter each.
	for _, resource := range request.Resources {
		address += "&resource=" + url.QueryEscape(resource)
	}
	return address
}

// Revoke makes Logto forget a refresh token and its grant (RFC 7009). It does nothing if Logto has no endpoint for that.
func (p *Provider) Revoke(ctx context.Context, refreshToken string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, oauth.RevocationTimeout)
	defer cancel()
	m, err := p.Metadata(ctx)
	if err != nil || m.RevocationEndpoint == "" {
		return err
	}
	ended := p.settings.Observe(ctx, "revocation")
	defer func() { ended(err) }()
	form := url.Values{"token": {refreshToken}, "token_type_hint": {"refresh_token"}}
	if p.settings.AppSecret == "" {
		form.Set("client_id", p.settings.AppID)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.RevocationEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return unavailable("revocation", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p.settings.AppSecret != "" {
		// RFC 6749, section 2.3.1: both are form-encoded first.
		request.SetBasicAuth(url.QueryEscape(p.settings.AppID), url.QueryEscape(p.settings.AppSecret))
	}
	_, err = p.do(request)
	return p.answerTo("revocation", err)
}

// UserInfo asks for the claims of the user to whom an access token belongs, and makes sure that
// they are about this subject (OpenID Connect Core, sections 5.3 and 5.3.2).
func (p *Provider) UserInfo(ctx context.Context, accessToken, subject string) (jsonobject.Object, error) {
	body, err := p.askUserInfo(ctx, accessToken)
	if err != nil {
		return jsonobject.Object{}, err
	}
	claims, err := jsonobject.Parse(body)
	if err != nil {
		return jsonobject.Object{}, fault.InvalidTokenf("the user info is %v", err)
	}
	if found := claims.Text("sub"); found == "" || found != subject {
		return jsonobject.Object{}, fault.InvalidTokenf("the user info is about another user")
	}
	return claims, nil
}

// askUserInfo sends the token in the header, never in the URL (RFC 9700, section 4.3.2).
func (p *Provider) askUserInfo(ctx context.Context, accessToken string) (body []byte, err error) {
	m, err := p.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	if m.UserInfoEndpoint == "" {
		return nil, unavailable("user info", errors.New("discovery names no userinfo_endpoint; let the provider put all claims into the ID token"))
	}
	ended := p.settings.Observe(ctx, "user_info")
	defer func() { ended(err) }()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.UserInfoEndpoint, nil)
	if err != nil {
		return nil, unavailable("user info", err)
	}
	request.Header.Set("Authorization", "Bearer "+accessToken)
	request.Header.Set("Accept", "application/json")
	body, err = p.do(request)
	return body, p.answerTo("user info", err)
}

// PageAnswer is an answer that is meant for a browser.
type PageAnswer struct {
	Status   int
	Location string
	Code     string    // the OAuth error, be it in the address or in the body
	Date     time.Time // the clock of Logto, in whole seconds; zero if it is not told
	Err      error     // why there is no answer, and so nothing else in here
}

// IsRedirectTo reports whether Logto sends the browser back to this redirect URI.
func (a PageAnswer) IsRedirectTo(uri string) bool {
	return a.Status >= 300 && a.Status < 400 && strings.HasPrefix(a.Location, uri+"?")
}

// AskAsBrowser requests an address without a cookie, as a browser would that is sent there. Redirects are not followed.
func (p *Provider) AskAsBrowser(ctx context.Context, address string) PageAnswer {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return PageAnswer{Err: err}
	}
	response, err := p.client.Do(request)
	if err != nil {
		return PageAnswer{Err: withoutURL(err)}
	}
	defer response.Body.Close()
	answer := PageAnswer{Status: response.StatusCode, Location: response.Header.Get("Location")}
	answer.Date, _ = http.ParseTime(response.Header.Get("Date"))
	if to, err := url.Parse(answer.Location); err == nil {
		answer.Code = to.Query().Get("error")
	}
	var body struct {
		Code string `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(&body) == nil && body.Code != "" {
		answer.Code = body.Code
	}
	return answer
}
