package logto

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

// idClaims are the claims of a good ID token.
var idClaims = members{"iss": testIssuer, "sub": "u", "aud": "app", "exp": at(time.Hour), "iat": at(0), "nonce": "n"}

const (
	idHeader  = `{"alg":"ES256","kid":"k"}`
	freshness = time.Hour
)

func TestClaimsOfAnIDTokenAreChecked(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	for name, test := range map[string]struct {
		change members
		want   string // the check that fails, "" for none
	}{
		"a good token": {members{}, ""},

		"iss of another tenant":        {members{"iss": "https://other.logto.app/oidc"}, wrongIssuer},
		"iss with a slash at its end":  {members{"iss": testIssuer + "/"}, wrongIssuer},
		"iss in another case":          {members{"iss": strings.ToUpper(testIssuer)}, wrongIssuer},
		"iss that begins like ours":    {members{"iss": testIssuer + ".example"}, wrongIssuer},
		"iss is empty":                 {members{"iss": ""}, wrongIssuer},
		"iss is null":                  {members{"iss": nil}, wrongIssuer},
		"iss is a list":                {members{"iss": []string{testIssuer}}, wrongIssuer},
		"iss is missing":               {members{"iss": absent{}}, wrongIssuer},
		"Iss in place of iss":          {members{"iss": absent{}, "Iss": testIssuer}, wrongIssuer},
		"sub is empty":                 {members{"sub": ""}, "sub is missing"},
		"sub is a number":              {members{"sub": 7}, "sub is missing"},
		"sub is null":                  {members{"sub": nil}, "sub is missing"},
		"sub is a list":                {members{"sub": []string{"u"}}, "sub is missing"},
		"sub is missing":               {members{"sub": absent{}}, "sub is missing"},
		"aud is a list of one":         {members{"aud": []string{"app"}}, ""},
		"aud is another application":   {members{"aud": "other"}, wrongAudience},
		"aud begins like ours":         {members{"aud": "app2"}, wrongAudience},
		"aud in another case":          {members{"aud": "App"}, wrongAudience},
		"aud is a list of others":      {members{"aud": []string{"other", "another"}, "azp": "app"}, wrongAudience},
		"aud is empty":                 {members{"aud": ""}, wrongAudience},
		"aud is an empty list":         {members{"aud": []string{}}, wrongAudience},
		"aud is a list with a null":    {members{"aud": []any{"app", nil}, "azp": "app"}, wrongAudience},
		"aud is a list in a list":      {members{"aud": []any{[]string{"app"}}}, wrongAudience},
		"aud is an object":             {members{"aud": members{"app": true}}, wrongAudience},
		"aud is a number":              {members{"aud": 7}, wrongAudience},
		"aud is null":                  {members{"aud": nil}, wrongAudience},
		"aud is missing":               {members{"aud": absent{}}, wrongAudience},
		"azp is this application":      {members{"azp": "app"}, ""},
		"azp is another one":           {members{"azp": "other"}, wrongParty},
		"azp is empty":                 {members{"azp": ""}, wrongParty},
		"azp is null":                  {members{"azp": nil}, wrongParty},
		"azp is a list":                {members{"azp": []string{"app"}}, wrongParty},
		"two audiences and azp":        {members{"aud": []string{"other", "app"}, "azp": "app"}, ""},
		"two audiences without azp":    {members{"aud": []string{"app", "other"}}, wrongParty},
		"two audiences, another's azp": {members{"aud": []string{"app", "other"}, "azp": "other"}, wrongParty},

		"exp at the last moment":        {members{"exp": at(-59 * time.Second)}, ""},
		"exp a skew ago":                {members{"exp": at(-time.Minute)}, wrongExpiry},
		"exp half a second before that": {members{"exp": float64(at(-time.Minute)) + 0.5}, ""},
		"exp is a string":               {members{"exp": "1800003600"}, wrongExpiry},
		"exp is null":                   {members{"exp": nil}, wrongExpiry},
		"exp is 0":                      {members{"exp": 0}, wrongExpiry},
		"exp is negative":               {members{"exp": -1}, wrongExpiry},
		"exp is huge":                   {members{"exp": 1e300}, wrongExpiry},
		"exp in milliseconds":           {members{"exp": at(time.Hour) * 1000}, wrongExpiry},
		"exp is missing":                {members{"exp": absent{}}, wrongExpiry},
		"iat a skew ahead":              {members{"iat": at(time.Minute)}, ""},
		"iat more than a skew ahead":    {members{"iat": at(61 * time.Second)}, wrongIssuedAt},
		"iat as old as it may be":       {members{"iat": at(-freshness - time.Minute)}, ""},
		"iat older than that":           {members{"iat": at(-freshness - 61*time.Second)}, wrongIssuedAt},
		"iat is a string":               {members{"iat": "1800000000"}, wrongIssuedAt},
		"iat is null":                   {members{"iat": nil}, wrongIssuedAt},
		"iat is missing":                {members{"iat": absent{}}, wrongIssuedAt},
		"nbf a skew ahead":              {members{"nbf": at(time.Minute)}, ""},
		"nbf more than a skew ahead":    {members{"nbf": at(61 * time.Second)}, wrongNotBefore},
		"nbf is a string":               {members{"nbf": "1800000000"}, wrongNotBefore},
		"nbf is null":                   {members{"nbf": nil}, wrongNotBefore},
		"auth_time":                     {members{"auth_time": at(-time.Hour)}, ""},
		"auth_time is a string":         {members{"auth_time": "1800000000"}, wrongAuthTime},
		"auth_time is null":             {members{"auth_time": nil}, wrongAuthTime},
		"auth_time is 0":                {members{"auth_time": 0}, wrongAuthTime},

		"nonce of another attempt":    {members{"nonce": "m"}, wrongNonce},
		"nonce in another case":       {members{"nonce": "N"}, wrongNonce},
		"nonce that begins like ours": {members{"nonce": "n2"}, wrongNonce},
		"nonce is empty":              {members{"nonce": ""}, wrongNonce},
		"nonce is null":               {members{"nonce": nil}, wrongNonce},
		"nonce is a list":             {members{"nonce": []string{"n"}}, wrongNonce},
		"nonce is missing":            {members{"nonce": absent{}}, wrongNonce},
	} {
		token := key.sign(t, idHeader, idClaims.with(test.change).json())
		found, err := p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", Freshness: freshness})
		checkTokenError(t, name, token, err, test.want)
		if test.want != "" && (found.Subject != "" || found.Claims.Source() != nil) {
			t.Errorf("%s: got %+v beside the error, want nothing", name, found)
		}
	}
}

func TestAVerifiedIDTokenIsReturned(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	claims := idClaims.with(members{"aud": []string{"app", "other"}, "azp": "app", "auth_time": at(-time.Minute), "sid": "s", "email": "a@example.com"}).json()
	token := key.sign(t, idHeader, claims)
	check := func(what string, found IDToken, err error) {
		t.Helper()
		if err != nil || found.Issuer != testIssuer || found.Subject != "u" || found.SessionID != "s" || !slices.Equal(found.Audience, []string{"app", "other"}) ||
			found.IssuedAt.Unix() != at(0) || found.Expiry.Unix() != at(time.Hour) || found.AuthTime.Unix() != at(-time.Minute) || string(found.Claims.Source()) != claims {
			t.Errorf("%s: got %+v with the claims %s, %v, want %s", what, found, found.Claims.Source(), err, claims)
		}
	}
	found, err := key.provider(t, nil).VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", Freshness: freshness})
	check("VerifyIDToken", found, err)
	found, err = ReadIDToken(token)
	check("ReadIDToken", found, err)

	found, err = ReadIDToken(key.sign(t, idHeader, `{}`))
	if err != nil || found.Subject != "" || found.Audience != nil || !found.AuthTime.IsZero() {
		t.Errorf("without claims: got %+v, %v, want zero values", found, err)
	}
}

func TestWhatIsNoIDTokenIsNotRead(t *testing.T) {
	t.Parallel()
	for _, token := range garbage {
		if found, err := ReadIDToken(token); err == nil {
			t.Errorf("%q: got %+v, want an error", token, found)
		}
	}
}

func TestTheTypeOfAnIDTokenIsNotThatOfAnotherToken(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	const wrongType = "the type is not that of an ID token"
	for typ, want := range map[string]string{
		"": "", "JWT": "", "jwt": "", "Jwt": "",
		"at+jwt": wrongType, "application/at+jwt": wrongType, "logout+jwt": wrongType, "secevent+jwt": wrongType, "JWE": wrongType, "JWT ": wrongType,
	} {
		token := key.sign(t, members{"alg": "ES256", "kid": "k", "typ": typ}.json(), idClaims.json())
		_, err := p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", Freshness: freshness})
		checkTokenError(t, "typ "+typ, token, err, want)
	}
}

func TestClaimsThatAreNoObjectAreRefused(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	const notObject, twice = "the claims are not a JSON object", "the claims are a JSON object with a member that occurs twice"
	for claims, want := range map[string]string{
		"": notObject, "null": notObject, "[]": notObject, `"u"`: notObject, "[" + idClaims.json() + "]": notObject, idClaims.json() + "{}": notObject,
		`{"sub":"admin",` + idClaims.json()[1:]: twice,
	} {
		token := key.sign(t, idHeader, claims)
		_, err := p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", Freshness: freshness})
		checkTokenError(t, claims, token, err, want)
	}
}

func TestNothingIsExpectedByAnEmptyValue(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	for name, test := range map[string]struct {
		app    string
		nonce  string
		change members
		want   string
	}{
		"no application": {"", "n", members{"aud": "", "azp": ""}, wrongAudience},
		"no nonce":       {"app", "", members{"nonce": ""}, wrongNonce},
		"neither nonce":  {"app", "", members{"nonce": absent{}}, wrongNonce},
	} {
		p := key.provider(t, func(settings *Settings) { settings.AppID = test.app })
		token := key.sign(t, idHeader, idClaims.with(test.change).json())
		_, err := p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: test.nonce, Freshness: freshness})
		checkTokenError(t, name, token, err, test.want)
	}
}

func TestMaxAgeIsComparedWithAuthTime(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	for name, test := range map[string]struct {
		maxAge   time.Duration
		authTime any
		want     error
	}{
		"now":                        {time.Second, at(0), nil},
		"as old as it may be":        {5 * time.Minute, at(-6 * time.Minute), nil},
		"older than that":            {5 * time.Minute, at(-6*time.Minute - time.Second), fault.NotAuthenticatedAgain},
		"a fraction older than that": {5 * time.Minute, float64(at(-6*time.Minute)) - 0.5, fault.NotAuthenticatedAgain},
		"missing":                    {5 * time.Minute, absent{}, fault.NotAuthenticatedAgain},
		"no time":                    {5 * time.Minute, "now", fault.InvalidToken},
		"missing and not asked for":  {0, absent{}, nil},
		"old and not asked for":      {0, at(-1000 * time.Hour), nil},
	} {
		token := key.sign(t, idHeader, idClaims.with(members{"auth_time": test.authTime}).json())
		_, err := p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", MaxAge: test.maxAge, Freshness: freshness})
		if !errors.Is(err, test.want) || errors.Is(err, fault.NotAuthenticatedAgain) != errors.Is(test.want, fault.NotAuthenticatedAgain) {
			t.Errorf("%s: got the error %v, want %v", name, err, test.want)
		}
		if errors.Is(err, fault.NotAuthenticatedAgain) && (!errors.Is(err, fault.InvalidToken) || !strings.Contains(err.Error(), "auth_time")) {
			t.Errorf("%s: the error %v is no fault.InvalidToken or does not name the check", name, err)
		}
	}
}

func TestTheHashOfAnAccessTokenGoesByTheAlgorithm(t *testing.T) {
	t.Parallel()
	// The access token and the hash come from OpenID Connect Core, appendix A.3.
	const accessToken, hash256 = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ"
	sum384, sum512 := sha512.Sum384([]byte(accessToken)), sha512.Sum512([]byte(accessToken))
	hash384, hash512 := base64url.EncodeToString(sum384[:24]), base64url.EncodeToString(sum512[:32])
	whole256 := sha256.Sum256([]byte(accessToken))
	for algorithm, own := range map[string]string{"RS256": hash256, "PS256": hash256, "ES256": hash256, "ES384": hash384, "ES512": hash512, "EdDSA": hash512} {
		key := newTestKeyOf(t, algorithm, "k")
		p := key.provider(t, nil)
		verify := func(accessToken string, hash any) (token string, err error) {
			token = key.sign(t, members{"alg": algorithm, "kid": "k"}.json(), idClaims.with(members{"at_hash": hash}).json())
			_, err = p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", AccessToken: accessToken, Freshness: freshness})
			return token, err
		}
		for _, hash := range []any{hash256, hash384, hash512, absent{}, "", nil, 7, base64url.EncodeToString(whole256[:]), own + "=", strings.ToLower(own)} {
			want := wrongAccessToken
			if hash == own || hash == (absent{}) {
				want = ""
			}
			token, err := verify(accessToken, hash)
			checkTokenError(t, fmt.Sprintf("%s with the hash %v", algorithm, hash), token, err, want)
		}
		token, err := verify("another access token", own)
		checkTokenError(t, algorithm+" with another access token", token, err, wrongAccessToken)
		token, err = verify("", own)
		checkTokenError(t, algorithm+" without an access token", token, err, wrongAccessToken)
	}
}

func TestARefreshedIDTokenBelongsToTheSignInBefore(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	const (
		otherAudience = "aud is not that of the ID token before"
		otherNonce    = "nonce is not that of the ID token before"
		otherAuthTime = "auth_time is not that of the ID token before"
		otherUser     = "sub is another user"
	)
	for name, test := range map[string]struct {
		original, change members
		want             string
	}{
		"the same claims":                 {members{}, members{}, ""},
		"the same claims, later":          {members{"iat": at(-24 * time.Hour), "exp": at(-23 * time.Hour)}, members{}, ""},
		"another user":                    {members{}, members{"sub": "v"}, otherUser},
		"a user in another case":          {members{}, members{"sub": "U"}, otherUser},
		"another user and another nonce":  {members{}, members{"sub": "v", "nonce": "m"}, otherUser},
		"no user":                         {members{}, members{"sub": absent{}}, "sub is missing"},
		"of another issuer":               {members{}, members{"iss": "https://other.logto.app/oidc"}, wrongIssuer},
		"aud is a list now":               {members{}, members{"aud": []string{"app"}}, ""},
		"aud in another order":            {members{"aud": []string{"app", "b"}, "azp": "app"}, members{"aud": []string{"b", "app"}, "azp": "app"}, ""},
		"a further audience":              {members{}, members{"aud": []string{"app", "b"}, "azp": "app"}, otherAudience},
		"an audience less":                {members{"aud": []string{"app", "b"}, "azp": "app"}, members{"azp": "app"}, otherAudience},
		"an audience twice":               {members{"aud": []string{"app", "b"}, "azp": "app"}, members{"aud": []string{"app", "app"}, "azp": "app"}, otherAudience},
		"no nonce any more":               {members{}, members{"nonce": absent{}}, ""},
		"another nonce":                   {members{}, members{"nonce": "m"}, otherNonce},
		"an empty nonce":                  {members{}, members{"nonce": ""}, otherNonce},
		"a nonce that is null":            {members{}, members{"nonce": nil}, otherNonce},
		"a nonce, and there was none":     {members{"nonce": absent{}}, members{}, otherNonce},
		"no nonce as before":              {members{"nonce": absent{}}, members{"nonce": absent{}}, ""},
		"the same auth_time":              {members{"auth_time": at(-time.Hour)}, members{"auth_time": at(-time.Hour)}, ""},
		"another auth_time":               {members{"auth_time": at(-time.Hour)}, members{"auth_time": at(-time.Hour + time.Second)}, otherAuthTime},
		"no auth_time any more":           {members{"auth_time": at(-time.Hour)}, members{}, ""},
		"auth_time, and there was none":   {members{}, members{"auth_time": at(-time.Hour)}, ""},
		"auth_time is null":               {members{"auth_time": at(-time.Hour)}, members{"auth_time": nil}, wrongAuthTime},
		"auth_time that was no time":      {members{"auth_time": "x"}, members{"auth_time": at(-time.Hour)}, otherAuthTime},
		"iat older than freshness":        {members{}, members{"iat": at(-freshness - 61*time.Second)}, wrongIssuedAt},
		"at_hash of another access token": {members{}, members{"at_hash": "x"}, wrongAccessToken},
		"exp is past":                     {members{}, members{"exp": at(-time.Minute)}, wrongExpiry},
		"an azp that is not ours":         {members{"azp": "app"}, members{"azp": "other"}, wrongParty},
		"another user who has signed in":  {members{"auth_time": at(-time.Hour)}, members{"sub": "v", "auth_time": at(0)}, otherUser},
		"another user, expired":           {members{}, members{"sub": "v", "exp": at(-time.Minute)}, wrongExpiry},
	} {
		original, err := ReadIDToken(key.sign(t, idHeader, idClaims.with(test.original).json()))
		if err != nil {
			t.Fatal(err)
		}
		token := key.sign(t, idHeader, idClaims.with(test.change).json())
		_, err = p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Original: &original, Freshness: freshness})
		checkTokenError(t, name, token, err, test.want)
		if errors.Is(err, fault.AnotherUser) != (test.want == otherUser) {
			t.Errorf("%s: got the error %v, want fault.AnotherUser: %t", name, err, test.want == otherUser)
		}
	}
}

// C98.
func FuzzIDToken(f *testing.F) {
	key := newTestKey(f)
	p := key.provider(f, nil)
	const good = `{"iss":"https://example.logto.app/oidc","sub":"u","aud":"app","exp":1800003600,"iat":1800000000,"nonce":"n"}`
	valid := key.sign(f, `{"alg":"ES256","kid":"k"}`, good)
	for _, seed := range []string{
		valid, key.sign(f, `{"alg":"none"}`, good), key.sign(f, `{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}`, good),
		key.sign(f, `{"alg":"ES256","kid":"k"}`, `{"exp":1e300}`), key.sign(f, `{"alg":"ES256","kid":"k"}`, `[]`), key.sign(f, `{"alg":"ES256"}`, `{"sub":"u","sub":"v"}`),
		"..", "a.b.c", strings.Repeat(".", 1000), "", valid + ".", valid[:len(valid)-1], "\n" + valid,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := p.VerifyIDToken(t.Context(), token, IDTokenExpectation{Nonce: "n", Freshness: time.Hour})
		switch {
		case err == nil && token != valid && !strings.HasPrefix(token, valid[:strings.LastIndexByte(valid, '.')+1]):
			t.Fatalf("%q is believed: %+v", token, claims)
		case err != nil && !errors.Is(err, fault.InvalidToken):
			t.Fatalf("%q: %v", token, err)
		}
	})
}
