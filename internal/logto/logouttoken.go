package logto

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/jsonobject"
)

// backchannelEvent is the member of "events" that makes a token a logout token.
const backchannelEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutKeyCooldown is unknownKeyCooldown for logout tokens, which Logto sends once.
const logoutKeyCooldown = time.Second

// LogoutTokenAge is how old a logout token may be. Logto sends it at once and once.
const LogoutTokenAge = 5 * time.Minute

// LogoutToken is what a logout token says that was verified.
type LogoutToken struct {
	ID        string    // jti
	Subject   string    // sub, or "" if there is a sid
	SessionID string    // sid, or "" if there is a sub
	IssuedAt  time.Time // iat
}

// VerifyLogoutToken makes the checks of OpenID Connect Back-Channel Logout 1.0, section 2.6. The
// caller has to detect replays. exp is optional, because Logto 1.41 and older sends none; iat
// must be recent.
//
// The error is a fault.InvalidToken, which names the check, or a fault.ProviderUnavailable if
// the keys cannot be had.
func (p *Provider) VerifyLogoutToken(ctx context.Context, token string) (*LogoutToken, error) {
	now, skew := p.settings.Now(), p.settings.ClockSkew
	verified, err := p.keys.verifySignature(ctx, token, logoutKeyCooldown)
	if err != nil {
		return nil, err
	}
	typ, hasType, isText := verified.header.OptionalText("typ")
	if !isText || (hasType && strings.TrimPrefix(strings.ToLower(typ), "application/") != "logout+jwt") {
		return nil, fault.InvalidTokenf("typ is not logout+jwt")
	}
	set, err := jsonobject.Parse(verified.payload)
	if err != nil {
		return nil, fault.InvalidTokenf("the claims are %v", err)
	}
	audience, hasAudience := set.TextOrTexts("aud")
	issuedAt, hasIssuedAt := set.Seconds("iat")
	expiry, hasExpiry := set.Seconds("exp")
	found := &LogoutToken{ID: set.Text("jti"), Subject: set.Text("sub"), SessionID: set.Text("sid"), IssuedAt: issuedAt}
	switch {
	case set.Text("iss") != p.settings.Issuer:
		return nil, fault.Misconfiguredf("iss is not %s; if users sign in at another domain of this Logto, change Config.Endpoint", p.settings.Issuer)
	case p.settings.AppID == "" || !hasAudience || !slices.Contains(audience, p.settings.AppID):
		return nil, fault.Misconfiguredf("aud is not this application; in the Logto Console, look for another application with this Backchannel logout URI")
	case !hasIssuedAt:
		return nil, fault.InvalidTokenf("iat is missing")
	case issuedAt.After(now.Add(skew)):
		return nil, fault.Misconfiguredf("iat is %d seconds in the future; %s", inSeconds(issuedAt.Sub(now)), clockCure)
	case issuedAt.Before(now.Add(-LogoutTokenAge - skew)):
		return nil, fault.Misconfiguredf("iat is %d seconds past; %s", inSeconds(now.Sub(issuedAt)), clockCure)
	case set.Has("exp") && !hasExpiry:
		return nil, fault.InvalidTokenf("exp is not a time")
	case set.Has("exp") && !now.Before(expiry.Add(skew)):
		return nil, fault.Misconfiguredf("exp is %d seconds past; %s", inSeconds(now.Sub(expiry)), clockCure)
	case !hasLogoutEvent(set):
		return nil, fault.InvalidTokenf("events does not say that it is a logout")
	case found.Subject == "" && found.SessionID == "", set.Has("sub") && found.Subject == "", set.Has("sid") && found.SessionID == "":
		return nil, fault.InvalidTokenf("sub and sid are missing or empty")
	case set.Has("nonce"):
		return nil, fault.InvalidTokenf("it has a nonce, as ID tokens have")
	case found.ID == "":
		return nil, fault.InvalidTokenf("jti is missing")
	}
	return found, nil
}

func hasLogoutEvent(set jsonobject.Object) bool {
	events, err := jsonobject.Parse(set.Member("events"))
	if err != nil {
		return false
	}
	_, err = jsonobject.Parse(events.Member(backchannelEvent))
	return err == nil
}
