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
