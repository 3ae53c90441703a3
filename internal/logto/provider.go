// Package logto is what Logto says: discovery, its keys, every HTTP call to it, and the
// verification of everything that it signs. It returns values of its own and errors of package
// fault, and knows nothing of sessions, of routes or of pages. It is the only package that
// imports jwx.
//
// Start with Provider in provider.go. A token's way is signature.go and keys.go, then
// idtoken.go, accesstoken.go or logouttoken.go; a call's way is calls.go, then answers.go. What the
// browser brings from Logto is in authorizationresponse.go, and what Logto itself sends is in
// requests.go and webhook.go.
package logto

import (
	"context"
	"net/http"
	"time"

	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/recent"
	"github.com/logtogin/logtogin/internal/remote"
)

const (
	// failureMemory is how long a failed fetch of discovery or keys is answered from memory.
	// It is short, so that recovery is quick, and long enough that a Logto that is down is not
	// flooded.
	failureMemory = time.Second
)

// Settings are what a Provider has to know. All fields but AppID, AppSecret, HTTPClient and
// AccessTokenIssuers are required.
type Settings struct {
	// Issuer is Logto's, to which discovery belongs.
	Issuer string
	// AccessTokenIssuers are the issuers whose access tokens are accepted.
	AccessTokenIssuers []string
	// AppID and AppSecret are the credentials of the application. Without a secret it is a
	// public client.
	AppID, AppSecret string
	// HTTPClient is a client to take the transport from, and the Timeout if that is shorter than
	// the limit of all requests.
	HTTPClient *http.Client
	// ClockSkew is how far the clocks may be apart.
	ClockSkew time.Duration
	// Now is the clock.
	Now func() time.Time
	// Observe is told of each call to Logto when it begins. call is one of the names in
	// logtogin.Event.Call. The returned function is told how the call ended.
	Observe func(ctx context.Context, call string) (ended func(error))
	// PublicRefusal makes the error that an application finds in a Refusal.
	PublicRefusal func(code, description string, status int) error
}

// Provider is Logto as one application sees it. It is safe for concurrent use.
type Provider struct {
	settings Settings
	client   *http.Client
	metadata *remote.Value[*Metadata]
	keys     *keySet

	redemptions redemptions
	verified    *recent.Cache[*verifiedAccessToken]
}

// New makes a Provider. It makes no call.
func New(settings Settings) *Provider {
	p := &Provider{
		settings: settings,
		client:   newHTTPClient(settings.HTTPClient),
		verified: recent.New[*verifiedAccessToken](maxVerified),
	}
	p.redemptions.turns = make(chan struct{}, maxRedemptions)
	p.metadata = remote.New(remote.Policy{
		Timeout:    oauth.RequestTimeout,
		RenewAfter: metadataRenewAfter,
		Lifetime:   metadataLifetime,
		KeepFor:    metadataKeepFor,
		RetryAfter: failureMemory,
	}, settings.Now, p.Discover)
	p.keys = newKeySet(settings.Now, p.fetchKeys)
	return p
}

// Close ends calls that are under way in the background and waits for them. Calls fail
// afterwards.
func (p *Provider) Close() {
	p.keys.current.Close()
	p.metadata.Close()
	p.client.CloseIdleConnections()
}

// Transport is how Logto is reached, nil for net/http's default.
func (p *Provider) Transport() http.RoundTripper { return p.client.Transport }

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
	if client.Timeout <= 0 || client.Timeout > oauth.RequestTimeout {
		client.Timeout = oauth.RequestTimeout
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return &client
}
