package session

import (
	"context"
	"errors"
	"net/http"

	"github.com/logtogin/logtogin/internal/fault"
)

// Token returns an access token that stays valid for some time. logtogin.Auth.AccessToken documents the errors.
func (s *Sessions) Token(ctx context.Context, x *Exchange, session *Session, target Target) (AccessToken, error) {
	newest, err := s.refreshFor(ctx, x, session, s.tokenFor(target))
	return s.tokenIn(newest, target, err)
}

// HasToken reports whether Token needs no call to Logto.
func (s *Sessions) HasToken(session *Session, target Target) bool {
	return s.tokenFor(target).isMet(session)
}

// AnotherToken returns an access token in the place of a refused one.
func (s *Sessions) AnotherToken(ctx context.Context, x *Exchange, session *Session, refused AccessToken) (AccessToken, error) {
	newest, err := s.refreshFor(ctx, x, session, s.anotherThan(refused.Token, refused.Target()))
	if err != nil {
		return AccessToken{}, err
	}
	found, _ := newest.accessToken(refused.Target())
	return found, nil
}

// TokenLater is Token without a response, for a request with the cookies of the session, which may have ended long ago.
// With refused, unless it is "", it is AnotherToken.
func (s *Sessions) TokenLater(ctx context.Context, r *http.Request, session *Session, target Target, refused string) (AccessToken, error) {
	s.revocations.KeepUp(ctx)
	need := s.tokenFor(target)
	if refused != "" {
		need = s.anotherThan(refused, target)
	}
	newest, err := s.refresh(ctx, r, session, need)
	if err != nil {
		newest = s.versions.newestHere(session)
	}
	return s.tokenIn(newest, target, err)
}

// tokenIn is the token of a session after a refresh that may have failed. One that is valid yet will do if there could be
// no other.
func (s *Sessions) tokenIn(newest *Session, target Target, err error) (AccessToken, error) {
	if newest == nil {
		return AccessToken{}, err
	}
	found, ok := newest.accessToken(target)
	isOurs := errors.Is(err, fault.ProviderUnavailable) || errors.Is(err, fault.TokenExpired)
	if err != nil && !(ok && isOurs && s.isUsable(newest, found)) {
		return AccessToken{}, err
	}
	return found, nil
}

// isUsable reports whether a token is valid, and nothing is doubtful about its session.
func (s *Sessions) isUsable(session *Session, found AccessToken) bool {
	return s.settings.Now().Before(found.Expires) && s.DoubtAbout(session) == nil
}

// tokenFor is the need for a token that stays valid for some time.
func (s *Sessions) tokenFor(target Target) need {
	return need{target, func(session *Session) bool {
		found, ok := session.accessToken(target)
		return ok && s.settings.Now().Before(found.RenewAt) && !s.hasChanged(session) && s.DoubtAbout(session) == nil
	}}
}

func (s *Sessions) anotherThan(refused string, target Target) need {
	return need{target, func(session *Session) bool {
		found, ok := session.accessToken(target)
		return ok && found.Token != refused && s.isUsable(session, found)
	}}
}

// ClearTokens drops the access tokens of a session. The errors are ErrNotSignedIn, ErrStoreUnavailable,
// ErrResponseStarted, ErrProviderUnavailable after Close, and the cause of ctx.
func (s *Sessions) ClearTokens(ctx context.Context, x *Exchange, session *Session) error {
	if x.Response.HasBegun() {
		return fault.ResponseStarted
	}
	cleared, err := s.clear(ctx, x.Request, session)
	if errors.Is(err, fault.NotSignedIn) {
		s.makeVisitor(x, session)
	}
	if err != nil {
		return err
	}
	_, err = s.adopt(ctx, x, session, cleared)
	return err
}

// DenyRefused remembers that an API has refused another token, too, so that it gets no more of them for a while.
func (s *Sessions) DenyRefused(session *Session, target Target) {
	s.deny(s.versions.newestHere(session), target, errRefusedByAPI)
}

var errRefusedByAPI = fault.InvalidTokenf("the API has refused another one, too")
