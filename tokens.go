package logtogin

import (
	"context"

	"github.com/gin-gonic/gin"
)

// UserInfo asks Logto for the claims of the user as they are now, one call.
// They are checked to be about the session's user. The errors are
// ErrNotSignedIn, ErrStoreUnavailable, ErrTokenExpired if the access token of
// the session has expired, *ProviderError, ErrInvalidToken and
// ErrProviderUnavailable.
func (a *Auth) UserInfo(c *gin.Context) (*UserInfo, error) {
	record, err := a.current(c)
	if err != nil {
		return nil, err
	}
	token, ok := record.accessToken("", "")
	if !ok || !a.settings.Now().Before(token.expires) {
		return nil, ErrTokenExpired
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), requestTimeout)
	defer cancel()
	body, err := a.provider.userInfo(ctx, token.token)
	if err != nil {
		return nil, err
	}
	return checkUserInfo(body, record.subject)
}

// accessToken returns the session's token for a resource and an organization;
// both empty mean the opaque one for Logto itself.
func (s *session) accessToken(resource, organization string) (accessToken, bool) {
	for _, token := range s.accessTokens {
		if token.resource == resource && token.organization == organization {
			return token, true
		}
	}
	return accessToken{}, false
}
