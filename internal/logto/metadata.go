package logto

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/oauth"
)

const (
	metadataRenewAfter = 30 * time.Minute
	metadataLifetime   = 24 * time.Hour
	metadataKeepFor    = 30 * 24 * time.Hour // over an outage of Logto
)

// Metadata is what discovery tells (OpenID Connect Discovery 1.0, section 3).
type Metadata struct {
	AuthorizationEndpoint string
	TokenEndpoint         string
	KeysEndpoint          string // jwks_uri

	// "" if there is none.
	UserInfoEndpoint   string
	EndSessionEndpoint string // OpenID Connect RP-Initiated Logout 1.0, section 2.1
	RevocationEndpoint string // RFC 8414, section 2

	// Scopes is scopes_supported: the provider's own scopes, without the permissions of APIs. nil if it is absent.
	Scopes []string

	// IssuerInCallback is authorization_response_iss_parameter_supported of RFC 9207.
	IssuerInCallback bool
}

// Metadata returns Logto's metadata, from memory as a rule. The error is a
// fault.ProviderUnavailable.
func (p *Provider) Metadata(ctx context.Context) (*Metadata, error) {
	found, err := p.metadata.Get(ctx)
	if err != nil {
		return nil, unavailable("discovery", err)
	}
	return found.Value, nil
}

// Discover asks Logto for its metadata, not from memory.
func (p *Provider) Discover(ctx context.Context) (m *Metadata, err error) {
	ended := p.settings.Observe(ctx, "discovery")
	defer func() { ended(err) }()
	body, err := p.get(ctx, p.settings.Issuer+"/.well-known/openid-configuration")
	if oauth.StatusOf(err) == http.StatusNotFound || errors.Is(err, errNotJSON) {
		err = fmt.Errorf("%w; Config.Endpoint must be the Logto endpoint of the Logto Console, without /oidc", err)
	}
	if err != nil {
		return nil, err
	}
	set, err := jsonobject.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("the document is %w", err)
	}
	var issuer string
	jsonobject.Fill(set, "issuer", &issuer)
	if issuer != p.settings.Issuer {
		return nil, p.issuerMismatch(issuer)
	}
	m = &Metadata{}
	for _, endpoint := range []struct {
		name     string
		value    *string
		required bool
	}{
		{"authorization_endpoint", &m.AuthorizationEndpoint, true},
		{"token_endpoint", &m.TokenEndpoint, true},
		{"jwks_uri", &m.KeysEndpoint, true},
		{"userinfo_endpoint", &m.UserInfoEndpoint, false},
		{"end_session_endpoint", &m.EndSessionEndpoint, false},
		{"revocation_endpoint", &m.RevocationEndpoint, false},
	} {
		if raw := string(set.Member(endpoint.name)); !endpoint.required && (raw == "" || raw == "null" || raw == `""`) {
			continue
		}
		jsonobject.Fill(set, endpoint.name, endpoint.value)
		u, err := url.Parse(*endpoint.value)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, fmt.Errorf("it has no usable %s", endpoint.name)
		}
		if u.Scheme == "http" && strings.HasPrefix(p.settings.Issuer, "https:") {
			return nil, fmt.Errorf("its %s is http although the issuer is https; behind a proxy, Logto needs TRUST_PROXY_HEADER=1 and the header X-Forwarded-Proto", endpoint.name)
		}
	}
	m.Scopes, _ = set.Texts("scopes_supported")
	jsonobject.Fill(set, "authorization_response_iss_parameter_supported", &m.IssuerInCallback)
	return m, nil
}

// issuerMismatch names the issuer that was found, if it can be one: nothing else of an answer belongs in an error.
func (p *Provider) issuerMismatch(found string) error {
	u, err := url.Parse(found)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") || len(found) > 200 {
		return fmt.Errorf("it names no issuer, or something else than a URL, and not %q; is that a Logto?", p.settings.Issuer)
	}
	return fmt.Errorf("the issuer it names is %q and not %q; Config.Endpoint must be the address by which Logto calls itself (its ENDPOINT), without /oidc", found, p.settings.Issuer)
}
