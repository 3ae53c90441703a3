package logtotest

import (
	"net/http"
	"net/url"
	"sync"
	"time"
)

// logoutTokenTimeout is how long Logto waits for an application.
const logoutTokenTimeout = 2500 * time.Millisecond

// endSession tells the applications of the session, and keeps grants with
// offline_access alive: such tokens survive a sign-out at Logto until they are
// revoked.
func (s *Server) endSession(ended *session) {
	s.mu.Lock()
	wasEnded := ended.ended
	s.discard(ended)
	told := map[string]string{}
	for id, p := range ended.applications {
		told[id] = p.sid
		if !p.grant.offline {
			p.grant.revoked = true
		}
	}
	s.mu.Unlock()
	if !wasEnded {
		s.sendLogoutTokens(ended.userID, told)
	}
}

// sendLogoutTokens tells the applications of a session that it has ended (OpenID
// Connect Back-Channel Logout 1.0), all at once, and waits for them. sids are
// those of the applications by their IDs.
func (s *Server) sendLogoutTokens(userID string, sids map[string]string) {
	var sending sync.WaitGroup
	defer sending.Wait()
	for id, sid := range sids {
		app := s.application(id)
		if app == nil || app.BackchannelLogoutURI == "" {
			continue
		}
		if !app.BackchannelLogoutSessionRequired {
			sid = ""
		}
		token, err := s.LogoutToken(app.ID, userID, sid)
		if err != nil {
			continue
		}
		sending.Go(func() {
			s.post(app.BackchannelLogoutURI, logoutTokenTimeout, http.Header{
				"Content-Type": {"application/x-www-form-urlencoded"},
				"User-Agent":   {""},
			}, url.Values{"logout_token": {token}}.Encode())
		})
	}
}

// LogoutToken makes a logout token for an application, with a "sid" unless that
// is empty, as the server sends it to Application.BackchannelLogoutURI.
func (s *Server) LogoutToken(appID, userID, sid string) (string, error) {
	claims := map[string]any{
		"sub":    userID,
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
		"jti":    randomToken(),
		"aud":    appID,
	}
	if sid != "" {
		claims["sid"] = sid
	}
	return s.signToken(logoutToken, 2*time.Minute, claims)
}
