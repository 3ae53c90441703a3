package logto

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
)

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
