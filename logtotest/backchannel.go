package logtotest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// logoutTokenTimeout is how long Logto waits for an application.
const logoutTokenTimeout = 2500 * time.Millisecond

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
	now := s.clock()
	claims := map[string]any{
		"sub":    userID,
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
		"jti":    randomToken(),
		"aud":    appID,
		"exp":    now.Add(2 * time.Minute).Unix(),
		"iat":    now.Unix(),
		"iss":    s.Issuer(),
	}
	if sid != "" {
		claims["sid"] = sid
	}
	return s.signToken(claims, map[string]any{"typ": "logout+jwt"}, s.currentHooks().logoutToken)
}

// Delivery is what the server has sent to an application, and what came of it.
type Delivery struct {
	URL    string
	Header http.Header
	Body   string
	// Status is that of the answer, 0 if there was none.
	Status int
}

// Deliveries returns the logout tokens and webhooks that were sent since the
// start, in the order in which they were answered.
func (s *Server) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Delivery(nil), s.deliveries...)
}

// post sends something to an application and never follows a redirect.
func (s *Server) post(address string, timeout time.Duration, header http.Header, body string) {
	ctx, cancel := context.WithTimeout(s.lifetime, timeout)
	defer cancel()
	delivery := Delivery{URL: address, Header: header, Body: body}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err == nil {
		request.Header = header.Clone()
		response, err := s.outgoing.RoundTrip(request)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxBody))
			_ = response.Body.Close()
			delivery.Status = response.StatusCode
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, delivery)
}
