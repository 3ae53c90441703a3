package logto

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/jsonobject"
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
	UserInfoEndpoint      string
	EndSessionEndpoint    string
	RevocationEndpoint    string
	KeysEndpoint          string // jwks_uri
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
		return nil, fmt.Errorf("the issuer it names is not %q; is Config.Endpoint the address that Logto itself uses?", p.settings.Issuer)
	}
	m = &Metadata{}
	for name, endpoint := range map[string]*string{
		"authorization_endpoint": &m.AuthorizationEndpoint,
		"token_endpoint":         &m.TokenEndpoint,
		"userinfo_endpoint":      &m.UserInfoEndpoint,
		"end_session_endpoint":   &m.EndSessionEndpoint,
		"revocation_endpoint":    &m.RevocationEndpoint,
		"jwks_uri":               &m.KeysEndpoint,
	} {
		jsonobject.Fill(set, name, endpoint)
		u, err := url.Parse(*endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "https" && u.Scheme != "http") {
			return nil, fmt.Errorf("it has no usable %s", name)
		}
		if u.Scheme == "http" && strings.HasPrefix(p.settings.Issuer, "https:") {
			return nil, fmt.Errorf("its %s is http although the issuer is https", name)
		}
	}
	jsonobject.Fill(set, "authorization_response_iss_parameter_supported", &m.IssuerInCallback)
	return m, nil
}
