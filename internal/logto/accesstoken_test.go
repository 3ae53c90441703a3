package logto

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

// accessClaims are the claims of a good access token.
var accessClaims = members{"iss": testIssuer, "sub": "u", "client_id": "app", "aud": "https://api.example.com", "exp": at(time.Hour), "iat": at(0), "jti": "j", "scope": "read write"}

const accessHeader = `{"alg":"ES256","kid":"k","typ":"at+jwt"}`

func TestClaimsOfAnAccessTokenAreChecked(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, func(settings *Settings) {
		settings.AccessTokenIssuers = []string{testIssuer, "https://id.example.com/oidc"}
	})
	const (
		wrongIssuers      = "iss is not " + testIssuer + " or https://id.example.com/oidc; …"
		noSubject         = "sub or client_id is missing"
		noAudience        = "aud is missing"
		wrongIssuedAt     = "iat is …"
		wrongOrganization = "organization_id is empty or no string"
	)
	for name, test := range map[string]struct {
		change members
		want   string // the check that fails, "" for none
	}{
		"a good token": {members{}, ""},

		"iss is the other one":        {members{"iss": "https://id.example.com/oidc"}, ""},
		"iss of another tenant":       {members{"iss": "https://other.logto.app/oidc"}, wrongIssuers},
		"iss with a slash at its end": {members{"iss": testIssuer + "/"}, wrongIssuers},
		"iss is both":                 {members{"iss": []string{testIssuer, "https://id.example.com/oidc"}}, wrongIssuers},
		"iss is empty":                {members{"iss": ""}, wrongIssuers},
		"iss is missing":              {members{"iss": absent{}}, wrongIssuers},
		"sub is empty":                {members{"sub": ""}, noSubject},
		"sub is a number":             {members{"sub": 7}, noSubject},
		"sub is missing":              {members{"sub": absent{}}, noSubject},
		"client_id is empty":          {members{"client_id": ""}, noSubject},
		"client_id is a list":         {members{"client_id": []string{"app"}}, noSubject},
		"client_id is missing":        {members{"client_id": absent{}}, noSubject},
		"aud of any API":              {members{"aud": "https://other.example.com"}, ""},
		"aud is a list":               {members{"aud": []string{"a", "b"}}, ""},
		"aud is an empty list":        {members{"aud": []string{}}, noAudience},
		"aud is a list with a null":   {members{"aud": []any{"a", nil}}, noAudience},
		"aud is a number":             {members{"aud": 7}, noAudience},
		"aud is null":                 {members{"aud": nil}, noAudience},
		"aud is missing":              {members{"aud": absent{}}, noAudience},
		"exp at the last moment":      {members{"exp": at(-59 * time.Second)}, ""},
		"exp a skew ago":              {members{"exp": at(-time.Minute)}, wrongExpiry},
		"exp is a string":             {members{"exp": "1800003600"}, wrongExpiry},
		"exp is null":                 {members{"exp": nil}, wrongExpiry},
		"exp is missing":              {members{"exp": absent{}}, wrongExpiry},
		"iat a skew ahead":            {members{"iat": at(time.Minute)}, ""},
		"iat more than a skew ahead":  {members{"iat": at(61 * time.Second)}, wrongIssuedAt},
		"iat long past":               {members{"iat": at(-1000 * time.Hour)}, ""},
		"iat is a string":             {members{"iat": "1800000000"}, wrongIssuedAt},
		"iat is missing":              {members{"iat": absent{}}, wrongIssuedAt},
		"nbf a skew ahead":            {members{"nbf": at(time.Minute)}, ""},
		"nbf more than a skew ahead":  {members{"nbf": at(61 * time.Second)}, wrongNotBefore},
		"nbf is null":                 {members{"nbf": nil}, wrongNotBefore},
		"organization_id":             {members{"organization_id": "o"}, ""},
		"organization_id is empty":    {members{"organization_id": ""}, wrongOrganization},
		"organization_id is null":     {members{"organization_id": nil}, wrongOrganization},
		"organization_id is a list":   {members{"organization_id": []string{"o"}}, wrongOrganization},
		"organization_id is a number": {members{"organization_id": 7}, wrongOrganization},
		"without scope and jti":       {members{"scope": absent{}, "jti": absent{}}, ""},
	} {
		token := key.sign(t, accessHeader, accessClaims.with(test.change).json())
		found, _, err := p.VerifyAccessToken(t.Context(), token)
		checkTokenError(t, name, token, err, test.want)
		if test.want != "" && found != nil {
			t.Errorf("%s: got %+v beside the error, want nothing", name, found)
		}
	}
}

func TestNoIssuerMeansNoAccessToken(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, func(settings *Settings) { settings.AccessTokenIssuers = nil })
	for _, issuer := range []string{testIssuer, ""} {
		token := key.sign(t, accessHeader, accessClaims.with(members{"iss": issuer}).json())
		_, _, err := p.VerifyAccessToken(t.Context(), token)
		checkTokenError(t, issuer, token, err, "iss is not …")
	}
}

func TestTheTypeOfAnAccessTokenTellsItFromOtherTokens(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	const idToken, logoutToken, other = "it is an ID token or one of another kind, not an access token (typ at+jwt)", "it is a logout token", "typ is not at+jwt"
	for typ, want := range map[any]string{
		"at+jwt": "", "AT+JWT": "", "application/at+jwt": "", "Application/At+Jwt": "",
		"JWT": idToken, "jwt": idToken, "application/jwt": idToken, "": idToken, absent{}: idToken, 7: idToken, nil: idToken,
		"logout+jwt": logoutToken, "application/logout+jwt": logoutToken,
		"at+jwt ": other, "text/at+jwt": other, "application/application/at+jwt": other, "secevent+jwt": other, "at": other,
	} {
		token := key.sign(t, members{"alg": "ES256", "kid": "k"}.with(members{"typ": typ}).json(), accessClaims.json())
		_, _, err := p.VerifyAccessToken(t.Context(), token)
		checkTokenError(t, fmt.Sprintf("typ %v", typ), token, err, want)
	}
}

func TestAVerifiedAccessTokenIsReturned(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	claims := accessClaims.with(members{"aud": []string{"a", "b"}, "organization_id": "o"}).json()
	token := key.sign(t, accessHeader, claims)
	check := func(what string, found AccessToken, err error) {
		t.Helper()
		if err != nil || found.Issuer != testIssuer || found.Subject != "u" || found.ClientID != "app" || found.OrganizationID != "o" || found.ID != "j" || !slices.Equal(found.Audience, []string{"a", "b"}) ||
			!slices.Equal(found.Scopes, []string{"read", "write"}) || found.IssuedAt.Unix() != at(0) || found.Expiry.Unix() != at(time.Hour) || string(found.Claims.Source()) != claims {
			t.Errorf("%s: got %+v with the claims %s, %v, want %s", what, found, found.Claims.Source(), err, claims)
		}
	}
	moment := &clock{}
	p := key.provider(t, func(settings *Settings) { settings.Now = moment.now })
	for _, wasKnown := range []bool{false, true} {
		verified, isKnown, err := p.VerifyAccessToken(t.Context(), token)
		if check("VerifyAccessToken", *verified, err); isKnown != wasKnown {
			t.Errorf("the token is known: %t, want %t", isKnown, wasKnown)
		}
		moment.advance(time.Hour + time.Minute - time.Nanosecond)
	}
	if _, _, err := p.VerifyAccessToken(t.Context(), token); !errors.Is(err, fault.InvalidToken) {
		t.Errorf("after its expiry and the clock skew the known token has the error %v, want a fault.InvalidToken", err)
	}
	read, err := ReadAccessToken(token)
	check("ReadAccessToken", read, err)
}

func TestAnyClaimsOfAnAccessTokenAreRead(t *testing.T) {
	t.Parallel()
	for claims, want := range map[string]AccessToken{
		`{}`: {},
		`{"sub":7,"client_id":null,"iss":[],"scope":["a"],"aud":[],"exp":"1","organization_id":{}}`: {},
		`{"scope":"  a\tb ","aud":"x"}`: {Scopes: []string{"a", "b"}, Audience: []string{"x"}},
	} {
		found, err := ReadAccessToken("e30." + base64url.EncodeToString([]byte(claims)) + ".")
		if err != nil || found.Subject != "" || found.ClientID != "" || found.Issuer != "" || found.OrganizationID != "" || !slices.Equal(found.Scopes, want.Scopes) || !slices.Equal(found.Audience, want.Audience) || !found.Expiry.IsZero() {
			t.Errorf("%s: got %+v, %v, want %+v", claims, found, err, want)
		}
	}
}

func TestWhatIsNoAccessTokenIsNeitherReadNorVerified(t *testing.T) {
	t.Parallel()
	p := newTestKey(t).provider(t, nil)
	for _, token := range garbage {
		if found, err := ReadAccessToken(token); err == nil || (len(token) > 10 && strings.Contains(err.Error(), token)) {
			t.Errorf("%q: ReadAccessToken returns %+v, %v, want an error without the token", token, found, err)
		}
		if _, _, err := p.VerifyAccessToken(t.Context(), token); !errors.Is(err, fault.InvalidToken) {
			t.Errorf("%q: VerifyAccessToken returns the error %v, want a fault.InvalidToken", token, err)
		}
	}
}

func TestAccessTokensWithoutAnObjectOfClaimsAreRefused(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	for claims, want := range map[string]string{
		`[]`: "the claims are not a JSON object", ``: "the claims are not a JSON object", `{"sub":"admin",` + accessClaims.json()[1:]: "the claims are a JSON object with a member that occurs twice",
	} {
		token := key.sign(t, accessHeader, claims)
		_, _, err := p.VerifyAccessToken(t.Context(), token)
		checkTokenError(t, claims, token, err, want)
	}
}

func TestWithdrawnKeysAreCounted(t *testing.T) {
	t.Parallel()
	first, second, replaced := newTestKeyOf(t, "ES256", "first"), newTestKeyOf(t, "ES256", "second"), newTestKeyOf(t, "ES256", "second")
	logto := newObservedLogto(answers{})
	moment := &clock{}
	p := newTestProvider(t, logto, func(settings *Settings) { settings.Now = moment.now })
	claims := accessClaims.with(members{"exp": at(1000 * time.Hour)}).json()
	tokens := map[*testKey]string{}
	for _, key := range []*testKey{first, second} {
		tokens[key] = key.sign(t, members{"alg": "ES256", "kid": key.member["kid"], "typ": "at+jwt"}.json(), claims)
	}
	const withdrawn = noKeyFits
	for _, step := range []struct {
		name          string
		answer        fixedAnswer
		withdrawals   uint64
		first, second string // the check that a token by this key fails at, "" for none
	}{
		{"both keys", json200(keySetOf(first.member.json(), second.member.json())), 0, "", ""},
		{"in another order", json200(keySetOf(second.member.json(), first.member.json())), 0, "", ""},
		{"one is withdrawn", json200(second.set), 1, withdrawn, ""},
		{"nothing changes", json200(second.set), 1, withdrawn, ""},
		{"Logto is down", fixedAnswer{status: 503}, 1, withdrawn, ""},
		{"it comes back", json200(keySetOf(first.member.json(), second.member.json())), 1, "", ""},
		{"one is for encryption now", json200(keySetOf(first.member.json(), second.member.with(members{"use": "enc"}).json())), 2, "", withdrawn},
		{"a key joins", json200(keySetOf(first.member.json(), second.member.json())), 2, "", ""},
		{"a key is replaced under its name", json200(keySetOf(first.member.json(), replaced.member.json())), 3, "", "the signature is wrong"},
		{"both are withdrawn", json200(newTestKeyOf(t, "ES256", "third").set), 4, withdrawn, withdrawn},
	} {
		logto.answer("/oidc/jwks", step.answer)
		moment.advance(keysLifetime)
		if got, err := p.KeyWithdrawals(t.Context()); err != nil || got != step.withdrawals {
			t.Errorf("%s: got %d withdrawals, %v, want %d", step.name, got, err, step.withdrawals)
		}
		if step.answer.status == 200 {
			for key, want := range map[*testKey]string{first: step.first, second: step.second} {
				_, _, err := p.VerifyAccessToken(t.Context(), tokens[key])
				checkTokenError(t, fmt.Sprintf("%s: the key %s", step.name, key.member["kid"]), tokens[key], err, want)
			}
		}
	}
}

func TestWithoutKeysNothingIsKnownOfWithdrawals(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := newTestProvider(t, answers{"/oidc/jwks": {status: 503}}, nil)
	if _, err := p.KeyWithdrawals(t.Context()); !errors.Is(err, fault.ProviderUnavailable) {
		t.Errorf("KeyWithdrawals: got the error %v, want a fault.ProviderUnavailable", err)
	}
	if _, _, err := p.VerifyAccessToken(t.Context(), key.sign(t, accessHeader, accessClaims.json())); !errors.Is(err, fault.ProviderUnavailable) || errors.Is(err, fault.InvalidToken) {
		t.Errorf("VerifyAccessToken: got the error %v, want a fault.ProviderUnavailable alone", err)
	}
}
