package logto

import (
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/internal/fault"
)

// C98.
func FuzzAuthorizationResponse(f *testing.F) {
	for _, seed := range []string{
		"code=x&state=y&iss=https%3A%2F%2Fexample.logto.app%2Foidc", "error=access_denied&error_description=%3Cscript%3E&state=y", "", "code", "code=&code=",
		"state=a&state=a", "code=x;state=y", "%", "a=%zz", "code[]=x", "code=x&code=y", "=&=", "&&&", "Code=x", "code=%00",
		"error=" + strings.Repeat("a", 600), "state=" + strings.Repeat("a", 9000),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		response, err := ParseAuthorizationResponse(query)
		if err != nil {
			if !errors.Is(err, fault.InvalidCallback) || strings.ContainsFunc(err.Error(), func(r rune) bool { return r > 0x7e }) {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		params, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("%q is accepted", query)
		}
		for name, got := range map[string]string{"code": response.Code, "state": response.State, "iss": response.Issuer, "error": response.ErrorCode} {
			want := params.Get(name)
			if name == "error" {
				want = want[:min(len(want), 500)]
			}
			if values := params[name]; len(values) > 1 || got != want {
				t.Fatalf("%q: %s is %q of %q", query, name, got, values)
			}
		}
	})
}

func TestAResponseHasADigestOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]AuthorizationResponse{}
	for _, response := range []AuthorizationResponse{
		{}, {State: "a"}, {Code: "a"}, {Issuer: "a"}, {ErrorCode: "a"}, {ErrorDescription: "a"}, {State: "a", Code: "b"}, {State: "ab"}, {State: `a" "b`},
	} {
		digest := response.Digest()
		if other, found := seen[string(digest[:])]; found {
			t.Errorf("%+v has the digest of %+v", response, other)
		}
		seen[string(digest[:])] = response
	}
	// Instances of an earlier version look for outcomes under it.
	digest := (&AuthorizationResponse{"s", "c", "i", "e", "d"}).Digest()
	if got, want := hex.EncodeToString(digest[:]), "69833d4b6019171087cbab9b9ad5e9f9e901c909e43e39496e0982fb44958808"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
