package oidcprovider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/oidcprovider"
)

func TestAdvance(t *testing.T) {
	provider := oidcprovider.Start(t, oidcprovider.Config{
		Clients:         []oidcprovider.Client{client},
		Resources:       []oidcprovider.Resource{api},
		RefreshTokenTTL: 10 * time.Hour,
	})
	b := newBrowser(t, provider)
	_, _, tokens := b.signIn(nil)

	provider.Advance(time.Hour + time.Minute) // the engine tolerates seconds
	if status, body := b.userInfo(text(t, tokens, "access_token")); status != http.StatusUnauthorized {
		t.Errorf("the access token outlives its hour: %d %v", status, body)
	}
	provider.Advance(6 * time.Hour)
	if _, refreshed := b.call("/token", refreshForm(tokens)); refreshed["refresh_token"] == tokens["refresh_token"] {
		t.Error("after 70 % of its life the refresh token is not replaced")
	}
	provider.Advance(4 * time.Hour)
	b.refuse("/token", refreshForm(tokens), http.StatusBadRequest, "invalid_grant")
}
