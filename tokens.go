package logtogin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/tokentransport"
)

// Access tokens of the session's user, and the user info that one of them is for.

// AccessToken is a token with which this application can call an API on behalf of the
// user.
type AccessToken struct {
	// Value goes into the header Authorization, after "Bearer ". It is a secret.
	Value string
	// Expiry is when the token expires.
	Expiry time.Time
	// Scopes are the permissions that Logto has granted, which can be fewer than
	// were asked for.
	Scopes []string
	// Claims are those of a token that is a JWT; nil for the opaque one, which is
	// for Logto itself. They came from Logto but their signature was not verified:
	// that is the business of the API.
	Claims *AccessTokenClaims
}

// publicToken is what the application gets.
func publicToken(t session.AccessToken) *AccessToken {
	token := &AccessToken{Value: t.Token, Expiry: t.Expires, Scopes: strings.Fields(t.Scope)}
	if read, err := logto.ReadAccessToken(t.Token); err == nil {
		token.Claims = newAccessTokenClaims(read)
	}
	return token
}

// TokenOption says what an access token is for.
type TokenOption func(*session.Target) error

// Resource asks for a token for an API resource, one of Config.Resources (RFC 8707).
func Resource(indicator string) TokenOption {
	return func(target *session.Target) error { return targetOnce(&target.Resource, "Resource", indicator) }
}

// Organization asks for a token for an organization, or, together with Resource, for
// an API resource within it. Config.Scopes must have "urn:logto:scope:organizations",
// and the organization's permissions that are wanted. See
// https://docs.logto.io/authorization/organization-permissions.
func Organization(id string) TokenOption {
	return func(target *session.Target) error { return targetOnce(&target.Organization, "Organization", id) }
}

// maxOrganizationID bounds what is asked for and remembered; Logto's have 12 to 21 characters.
const maxOrganizationID = 128

func targetOnce(field *string, option, value string) error {
	if value == "" || *field != "" {
		return fmt.Errorf("%w: %s must be given once, and not be empty", ErrInvalidOptions, option)
	}
	*field = value
	return nil
}

// targetOf checks what can be known without asking Logto.
func (a *Auth) targetOf(opts []TokenOption) (target session.Target, err error) {
	for _, option := range opts {
		if err := option(&target); err != nil {
			return session.Target{}, err
		}
	}
	switch {
	case target.Resource != "" && !slices.Contains(a.settings.Resources, target.Resource):
		return session.Target{}, fmt.Errorf("%w: the resource %q is not in Config.Resources, as which it would have to be asked for at the sign-in", ErrInvalidOptions, target.Resource)
	case len(target.Organization) > maxOrganizationID:
		return session.Target{}, fmt.Errorf("%w: the ID of the organization is too long", ErrInvalidOptions)
	case target.Organization != "" && !slices.Contains(a.settings.scopes, scopeOrganizations):
		return session.Target{}, fmt.Errorf("%w: a token for an organization needs the scope %q in Config.Scopes", ErrInvalidOptions, scopeOrganizations)
	}
	return target, nil
}

// AccessToken returns an access token of the user that is valid for some time yet: 30
// seconds, or a tenth of its life if that is less. Without an option it is the opaque token
// for Logto's own APIs. It comes from the session, or from Logto by one call (RFC 6749,
// section 6), which requests of the same session share. Call it before the response is
// written, so that the token can be kept in the session.
//
// The errors are ErrNotSignedIn, also if Logto does not renew the session, which has
// then ended; ErrTokenExpired without a refresh token; ErrInvalidOptions; *ProviderError
// if Logto refuses this token, for example "access_denied" for an organization that the
// user is not a member of; ErrInvalidToken; ErrProviderUnavailable, which ends no
// session; ErrStoreUnavailable; ErrNoRequest; and the error of ctx. See IsAuthenticated for which
// contexts there are.
func (a *Auth) AccessToken(ctx context.Context, opts ...TokenOption) (*AccessToken, error) {
	target, err := a.targetOf(opts)
	if err != nil {
		return nil, err
	}
	ctx, x, current, err := a.sessionOf(ctx)
	if err != nil {
		return nil, err
	}
	found, err := a.accessToken(ctx, x, current, target)
	if err != nil {
		return nil, err
	}
	return publicToken(found), nil
}

// accessToken is AccessToken for a session and a target that were checked.
func (a *Auth) accessToken(ctx context.Context, x *session.Exchange, current *session.Session, target session.Target) (session.AccessToken, error) {
	if a.settings.OnEvent != nil && a.sessions.HasToken(current, target) {
		a.settings.emit(ctx, Event{Kind: EventCacheHit, Call: "access_token", Subject: current.Subject})
	}
	return a.sessions.Token(ctx, x, current, target)
}

// ClearAccessTokens drops the access tokens of the session, so that the next one comes
// from Logto, for example after the user's permissions have changed. Call it before the
// response is written. The errors are ErrNotSignedIn, ErrStoreUnavailable,
// ErrResponseStarted, ErrProviderUnavailable after Close, ErrNoRequest, and the error of ctx.
func (a *Auth) ClearAccessTokens(ctx context.Context) error {
	ctx, x, current, err := a.sessionOf(ctx)
	if err != nil {
		return err
	}
	return a.sessions.ClearTokens(ctx, x, current)
}

// UserInfo asks Logto for the claims of the user as they are now (OpenID Connect Core,
// section 5.3), one call, and one before it if the access token has expired. They are checked
// to be about the session's user. The errors are those of AccessToken; ErrNotSignedIn also
// means that the user has been removed, with which the session has ended.
func (a *Auth) UserInfo(ctx context.Context) (*UserInfo, error) {
	ctx, x, err := a.exchangeOf(ctx)
	if err != nil {
		return nil, err
	}
	return a.userInfo(ctx, x)
}

func (a *Auth) userInfo(ctx context.Context, x *session.Exchange) (*UserInfo, error) {
	current, err := a.sessions.Current(ctx, x)
	if err != nil {
		return nil, err
	}
	token, err := a.accessToken(ctx, x, current, session.Target{})
	if err != nil {
		return nil, err
	}
	claims, err := a.askUserInfo(ctx, token, current.Subject)
	if oauth.StatusOf(err) == http.StatusUnauthorized {
		// Logto has withdrawn the token before its time.
		if token, err = a.sessions.AnotherToken(ctx, x, current, token); err != nil {
			return nil, err
		}
		claims, err = a.askUserInfo(ctx, token, current.Subject)
	}
	if refused, ok := errors.AsType[*ProviderError](err); ok && refused.Code == "invalid_grant" {
		err = a.sessions.EndRefused(ctx, x, current)
	}
	if err != nil {
		return nil, err
	}
	return &UserInfo{newUserClaims(claims)}, nil
}

func (a *Auth) askUserInfo(ctx context.Context, token session.AccessToken, subject string) (jsonobject.Object, error) {
	asking, cancel := context.WithTimeout(ctx, oauth.RequestTimeout)
	defer cancel()
	claims, err := a.provider.UserInfo(asking, token.Token, subject)
	if err != nil && ctx.Err() != nil { // that the caller has given up is no outage of Logto
		err = context.Cause(ctx)
	}
	return claims, err
}

// apiTimeout bounds a call of HTTPClient.
const apiTimeout = 30 * time.Second

// HTTPClient returns a client whose requests carry an access token of the user (RFC
// 6750, section 2.1), as AccessToken returns it for these options. It belongs to the
// session and not to the request or to ctx: it may be used after the handler has returned, by
// several goroutines, until the session ends. Make one for each request that is
// handled.
//
// The token goes to one origin only, the origin of the client's first request, so that
// neither a redirect nor a mistake can carry it elsewhere; requests to other origins go
// without. A request that has a header Authorization keeps it. If the answer is 401 and
// blames the token (RFC 6750, section 3.1), the client asks Logto for another one, once,
// and sends the request again, provided that its body can be sent again (see
// http.Request.GetBody).
//
// Without a valid token its requests fail with the errors of AccessToken, which
// errors.Is finds. It goes by the transport of Config.HTTPClient, and its Timeout is 30 s.
// Change the Timeout before it is used if need be; the Transport is what adds the token, so
// it can be wrapped but not replaced.
func (a *Auth) HTTPClient(ctx context.Context, opts ...TokenOption) *http.Client {
	source := &tokenSource{auth: a}
	ctx, x, err := a.exchangeOf(ctx)
	if source.err = err; err == nil {
		source.request = x.Request.Clone(context.WithoutCancel(x.Request.Context()))
		source.request.Body, source.request.Form, source.request.PostForm, source.request.MultipartForm = http.NoBody, nil, nil, nil
		source.target, source.err = a.targetOf(opts)
	}
	if source.err == nil {
		source.session, source.err = a.sessions.Current(ctx, x)
	}
	if source.err == nil {
		// While the response can still carry what a refresh yields.
		if _, err := a.accessToken(ctx, x, source.session, source.target); err == nil {
			source.session, source.err = a.sessions.Current(ctx, x)
		}
	}
	return &http.Client{Timeout: apiTimeout, Transport: &tokentransport.Transport{
		Base: cmp.Or(a.provider.Transport(), http.DefaultTransport), Token: source.token, RefusedAgain: source.deny,
	}}
}

// tokenSource is where the tokens of a client come from.
type tokenSource struct {
	auth    *Auth
	target  session.Target
	request *http.Request    // with the cookies of the session, for a store that asks for them
	session *session.Session // as the browser has it, from which there is a way to the newest version
	err     error            // with which every request fails
}

// token returns the token, or another one if that was refused.
func (s *tokenSource) token(ctx context.Context, refused string) (string, error) {
	if s.err != nil {
		return "", s.err
	}
	found, err := s.auth.sessions.TokenLater(ctx, s.request, s.session, s.target, refused)
	return found.Token, err
}

// deny remembers that the API refuses every token.
func (s *tokenSource) deny() { s.auth.sessions.DenyRefused(s.session, s.target) }
