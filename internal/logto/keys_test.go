package logto

import "testing"

// C98.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(newTestKey(f).set))
	for _, seed := range []string{`{"keys":[]}`, `{"keys":null}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, `{"keys":[1,null,{}]}`, `{}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		keys, err := parseKeys(body)
		if (err == nil) != (len(keys) > 0) || len(keys) > maxKeys {
			t.Fatalf("%q: %d keys, %v", body, len(keys), err)
		}
	})
}
