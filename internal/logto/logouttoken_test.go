package logto

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

// logoutClaims are the claims of a good logout token.
var logoutClaims = members{
	"iss": testIssuer, "sub": "u", "sid": "s", "aud": "app", "exp": at(2 * time.Minute), "iat": at(0), "jti": "j",
	"events": members{backchannelEvent: members{}},
}

func TestClaimsOfALogoutTokenAreChecked(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	const (
		expired   = "exp is …"
		noEvent   = "events does not say that it is a logout"
		noSubject = "sub and sid are missing or empty"
		hasNonce  = "it has a nonce, as ID tokens have"
		noID      = "jti is missing"
	)
	for name, test := range map[string]struct {
		change members
		want   string // the check that fails, "" for none
	}{
		"a good token": {members{}, ""},

		"iss of another tenant":         {members{"iss": "https://other.logto.app/oidc"}, wrongIssuer + "; …"},
		"iss with a slash at its end":   {members{"iss": testIssuer + "/"}, wrongIssuer + "; …"},
		"iss is null":                   {members{"iss": nil}, wrongIssuer + "; …"},
		"iss is missing":                {members{"iss": absent{}}, wrongIssuer + "; …"},
		"aud is a list":                 {members{"aud": []string{"other", "app"}}, ""},
		"aud is another application":    {members{"aud": "other"}, wrongAudience + "; …"},
		"aud is a list of others":       {members{"aud": []string{"other", "App"}}, wrongAudience + "; …"},
		"aud is an empty list":          {members{"aud": []string{}}, wrongAudience + "; …"},
		"aud is a list with a null":     {members{"aud": []any{"app", nil}}, wrongAudience + "; …"},
		"aud is a number":               {members{"aud": 7}, wrongAudience + "; …"},
		"aud is missing":                {members{"aud": absent{}}, wrongAudience + "; …"},
		"iat a skew ahead":              {members{"iat": at(time.Minute)}, ""},
		"iat more than a skew ahead":    {members{"iat": at(61 * time.Second)}, wrongIssuedAt},
		"iat as old as it may be":       {members{"iat": at(-LogoutTokenAge - time.Minute)}, ""},
		"iat older than that":           {members{"iat": at(-LogoutTokenAge - 61*time.Second)}, wrongIssuedAt},
		"iat is a string":               {members{"iat": "1800000000"}, wrongIssuedAt},
		"iat is null":                   {members{"iat": nil}, wrongIssuedAt},
		"iat is missing":                {members{"iat": absent{}}, wrongIssuedAt},
		"exp at the last moment":        {members{"exp": at(-59 * time.Second)}, ""},
		"exp a skew ago":                {members{"exp": at(-time.Minute)}, expired},
		"exp is a string":               {members{"exp": "1800003600"}, expired},
		"exp is null":                   {members{"exp": nil}, expired},
		"exp is missing":                {members{"exp": absent{}}, ""},
		"exp is missing and iat is old": {members{"exp": absent{}, "iat": at(-time.Hour)}, wrongIssuedAt},

		"a further event":           {members{"events": members{"other": 1, backchannelEvent: members{}}}, ""},
		"an event with members":     {members{"events": members{backchannelEvent: members{"a": 1}}}, ""},
		"another event":             {members{"events": members{"other": members{}}}, noEvent},
		"the event in another case": {members{"events": members{strings.ToUpper(backchannelEvent): members{}}}, noEvent},
		"the event is null":         {members{"events": members{backchannelEvent: nil}}, noEvent},
		"the event is a list":       {members{"events": members{backchannelEvent: []int{}}}, noEvent},
		"the event is true":         {members{"events": members{backchannelEvent: true}}, noEvent},
		"events is a list":          {members{"events": []string{backchannelEvent}}, noEvent},
		"events is a string":        {members{"events": backchannelEvent}, noEvent},
		"events is null":            {members{"events": nil}, noEvent},
		"events is missing":         {members{"events": absent{}}, noEvent},

		"only sub":        {members{"sid": absent{}}, ""},
		"only sid":        {members{"sub": absent{}}, ""},
		"neither":         {members{"sub": absent{}, "sid": absent{}}, noSubject},
		"sub is empty":    {members{"sub": ""}, noSubject},
		"sid is empty":    {members{"sid": ""}, noSubject},
		"both are empty":  {members{"sub": "", "sid": ""}, noSubject},
		"sub is null":     {members{"sub": nil}, noSubject},
		"sid is a number": {members{"sid": 7}, noSubject},
		"sub is a list":   {members{"sub": []string{"u"}, "sid": absent{}}, noSubject},

		"a nonce":           {members{"nonce": "n"}, hasNonce},
		"an empty nonce":    {members{"nonce": ""}, hasNonce},
		"a null as a nonce": {members{"nonce": nil}, hasNonce},
		"jti is empty":      {members{"jti": ""}, noID},
		"jti is a number":   {members{"jti": 7}, noID},
		"jti is missing":    {members{"jti": absent{}}, noID},
	} {
		claims := logoutClaims.with(test.change)
		token := key.sign(t, `{"alg":"ES256","kid":"k","typ":"logout+jwt"}`, claims.json())
		found, err := p.VerifyLogoutToken(t.Context(), token)
		checkTokenError(t, name, token, err, test.want)
		if test.want != "" {
			if found != nil {
				t.Errorf("%s: got %+v beside the error, want nothing", name, found)
			}
			continue
		}
		want := LogoutToken{ID: "j", IssuedAt: time.Unix(claims["iat"].(int64), 0)}
		want.Subject, _ = claims["sub"].(string)
		want.SessionID, _ = claims["sid"].(string)
		if found == nil || *found != want {
			t.Errorf("%s: got %+v, want %+v", name, found, want)
		}
	}
}

func TestTheTypeOfALogoutTokenIsItsOwnOrMissing(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, nil)
	const wrongType = "typ is not logout+jwt"
	for typ, want := range map[any]string{
		"logout+jwt": "", "LOGOUT+JWT": "", "application/logout+jwt": "", "Application/Logout+JWT": "", absent{}: "",
		"JWT": wrongType, "at+jwt": wrongType, "secevent+jwt": wrongType, "logout": wrongType, "logout+jwt ": wrongType, "text/logout+jwt": wrongType, "": wrongType, nil: wrongType, 7: wrongType,
	} {
		token := key.sign(t, members{"alg": "ES256", "kid": "k"}.with(members{"typ": typ}).json(), logoutClaims.json())
		_, err := p.VerifyLogoutToken(t.Context(), token)
		checkTokenError(t, fmt.Sprintf("typ %v", typ), token, err, want)
	}
}

func TestALogoutTokenThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	key := newTestKey(t)
	p := key.provider(t, func(settings *Settings) { settings.AppID = "" })
	for claims, want := range map[string]string{
		`[]`: "the claims are not a JSON object", `{"sub":"v",` + logoutClaims.json()[1:]: "the claims are a JSON object with a member that occurs twice",
		logoutClaims.with(members{"aud": ""}).json(): wrongAudience + "; …",
	} {
		token := key.sign(t, `{"alg":"ES256","typ":"logout+jwt"}`, claims)
		_, err := p.VerifyLogoutToken(t.Context(), token)
		checkTokenError(t, claims, token, err, want)
	}
	for _, token := range garbage {
		if _, err := p.VerifyLogoutToken(t.Context(), token); !errors.Is(err, fault.InvalidToken) {
			t.Errorf("%q: got the error %v, want a fault.InvalidToken", token, err)
		}
	}
}

// A logout token that a Logto has sent, and the key that it signed with.
const (
	sampleLogoutToken = "eyJhbGciOiJFUzM4NCIsInR5cCI6ImxvZ291dCtqd3QiLCJraWQiOiIyZXFmbWhGNElGRXZWTFNiUzFxV0JnNmN6NlVlSVBGQjczVHZHUy1PeWlnIn0." +
		"eyJzdWIiOiJiOHNjbTI5MTU4YmQiLCJldmVudHMiOnsiaHR0cDovL3NjaGVtYXMub3BlbmlkLm5ldC9ldmVudC9iYWNrY2hhbm5lbC1sb2dvdXQiOnt9fSwianRpIjoialdaYTZfQ3RiNUM1dzFLSzhUU09pUktpaGdQNmxSZHE5Smt2c2dJTUtKaiIsInNpZCI" +
		"6IjdyMjQyUmVla01sRDZxcklqQTl4bGZEa3ZialAtMWEtalRxbnJBbzFsc1kiLCJhdWQiOiJkeXNqb2hva3hsMWNqZXhpbWg0c2wiLCJleHAiOjE3OTU0MTcyMTMsImlhdCI6MTc5NTQxNzA5MywiaXNzIjoiaHR0cDovL2xvY2FsaG9zdDozMDAxL29pZGMifQ." +
		"1MqiF7W3T105wZ4xu0SAKQ9cQ6CVnng-MHvrF_DhIitm8_9nQeFTzb2rsy5_zORlg5VvgAF6bal-0RD13RhNTw4J_yMGZiVRdx1oisA06DvwoYN3uOTGF7h_s21VDQJn"
	sampleLogtoKey = `{"kty":"EC","use":"sig","kid":"2eqfmhF4IFEvVLSbS1qWBg6cz6UeIPFB73TvGS-Oyig","alg":"ES384","crv":"P-384",` +
		`"x":"JiRSGjRW1O_ES3XDOu-gOBzQ0xKY1ZNiroSK4phWf9G-RsWCCdgtjUJYw1Tz_jFl","y":"bXyCmwIVatfUAwDA6ZmD05V8sTM-k_IuLnm4CGzYOlLg_J3hB7kq4hO9h95-Vx_1"}`
)

const (
	sampleIssuer   = "http://localhost:3001/oidc"
	sampleAppID    = "dysjohokxl1cjeximh4sl"
	sampleIssuedAt = 1795417093
)

// sampleLogto is the Logto of the sample, with a key set.
func sampleLogto(keys string) http.RoundTripper {
	metadata := strings.ReplaceAll(testMetadata, testIssuer, sampleIssuer)
	return answers{"/oidc/.well-known/openid-configuration": json200(metadata), "/oidc/jwks": json200(keys)}
}

// verifySample verifies a logout token at the time of the sample, with the key of the sample
// and another one.
func verifySample(f *testing.F, other string) (verify func(token string) (*LogoutToken, error)) {
	p := newTestProvider(f, sampleLogto(`{"keys":[`+sampleLogtoKey+other+`]}`), func(settings *Settings) {
		settings.Issuer, settings.AppID = sampleIssuer, sampleAppID
		settings.Now = func() time.Time { return time.Unix(sampleIssuedAt+10, 0) }
	})
	verify = func(token string) (*LogoutToken, error) { return p.VerifyLogoutToken(context.Background(), token) }
	if token, err := verify(sampleLogoutToken); err != nil || token.Subject != "b8scm29158bd" || token.SessionID != "7r242ReekMlD6qrIjA9xlfDkvbjP-1a-jTqnrAo1lsY" || token.IssuedAt.Unix() != sampleIssuedAt {
		f.Fatalf("%+v, %v", token, err)
	}
	return verify
}

// FuzzLogoutToken puts tokens together of three parts, which can have dots themselves.
func FuzzLogoutToken(f *testing.F) {
	verify := verifySample(f, "")
	parts := strings.Split(sampleLogoutToken, ".")
	header, claims, signature := parts[0], parts[1], parts[2]
	f.Add(header, claims, signature)
	f.Add(header, claims, signature[:len(signature)-1])
	f.Add(header, claims, "")
	f.Add(base64url.EncodeToString([]byte(`{"alg":"none"}`)), claims, "")
	f.Add(header, "e30", signature)
	f.Add("\n"+header, claims, signature)
	f.Add(header, claims, signature+".a.b")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		found, err := verify(a + "." + b + "." + c)
		switch {
		case err == nil && (a != header || b != claims):
			t.Fatalf("%q %q %q is believed: %+v", a, b, c, found)
		case err != nil && !errors.Is(err, fault.InvalidToken):
			t.Fatalf("%q %q %q: %v", a, b, c, err)
		}
	})
}

// FuzzLogoutClaims goes past the signature. It is the same each time for the same token, so
// that what is covered is, too.
func FuzzLogoutClaims(f *testing.F) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	sign := func(header, claims string) string {
		input := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString([]byte(claims))
		return input + "." + base64url.EncodeToString(ed25519.Sign(private, []byte(input)))
	}
	verify := verifySample(f, fmt.Sprintf(`,{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}`, base64url.EncodeToString(public)))
	raw, err := payloadOf(sampleLogoutToken)
	if err != nil {
		f.Fatal(err)
	}
	sample := string(raw)
	const header = `{"alg":"EdDSA","kid":"k","typ":"logout+jwt"}`
	f.Add(header, sample)
	f.Add(`{"alg":"EdDSA"}`, strings.Replace(sample, `"exp":1795417213,`, "", 1))
	f.Add(`{"alg":"EdDSA","typ":"JWT"}`, sample)
	f.Add(`{"alg":"EdDSA","typ":null}`, sample)
	f.Add(`{"alg":"EdDSA","typ":"application/logout+JWT"}`, strings.Replace(sample, `"sub":"b8scm29158bd",`, "", 1))
	f.Add(`{"alg":"none"}`, sample)
	for _, claims := range []string{
		strings.Replace(sample, "{}", "[]", 1), strings.Replace(sample, `"sub"`, `"nonce"`, 1), strings.Replace(sample, `"b8scm29158bd"`, `""`, 1), strings.Replace(sample, `"dysjohokxl1cjeximh4sl"`, `["dysjohokxl1cjeximh4sl","x"]`, 1),
		`{}`, `[]`, `{"sub":"a","sub":"b"}`, `{"iat":1e300}`, "{\"jti\":\"\xff\"}",
	} {
		f.Add(header, claims)
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		found, err := verify(sign(header, claims))
		if err != nil {
			if !errors.Is(err, fault.InvalidToken) {
				t.Fatalf("%q %q: %v", header, claims, err)
			}
			return
		}
		var head, members map[string]any
		if json.Unmarshal([]byte(header), &head) != nil || json.Unmarshal([]byte(claims), &members) != nil {
			t.Fatalf("%q %q is believed", header, claims)
		}
		if typ, ok := head["typ"]; ok && strings.TrimPrefix(strings.ToLower(fmt.Sprint(typ)), "application/") != "logout+jwt" {
			t.Fatalf("the type %v is believed", typ)
		}
		audience, ok := members["aud"].([]any)
		if !ok {
			audience = []any{members["aud"]}
		}
		events, _ := members["events"].(map[string]any)
		_, isLogout := events[backchannelEvent].(map[string]any)
		iat, hasIssuedAt := members["iat"].(float64)
		_, hasNonce := members["nonce"]
		sub, hasSub := members["sub"].(string)
		sid, hasSession := members["sid"].(string)
		switch {
		case members["iss"] != sampleIssuer, !slices.Contains(audience, any(sampleAppID)), !isLogout, hasNonce, members["jti"] != found.ID || found.ID == "",
			!hasIssuedAt || iat > sampleIssuedAt+71 || iat < sampleIssuedAt-350, sub != found.Subject, sid != found.SessionID,
			(sub == "" && sid == "") || (hasSub && sub == "") || (hasSession && sid == ""):
			t.Fatalf("%q is believed: %+v", claims, found)
		}
		if exp, ok := members["exp"].(float64); members["exp"] != nil && (!ok || exp <= sampleIssuedAt-50) {
			t.Fatalf("%q is believed, although it has expired", claims)
		}
	})
}
