package jose_test

import (
	"testing"

	"github.com/logtogin/logtogin/logtotest/internal/jose"
)

func TestAKeyVerifiesWhatItHasSignedAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"} {
		key, err := jose.NewKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := jose.Sign(algorithm, key.Private, []byte("input"))
		if err != nil || !key.Verify([]byte("input"), signature) {
			t.Errorf("%s: not verified, %v", algorithm, err)
		}
		if key.Verify([]byte("another"), signature) || key.Verify([]byte("input"), signature[1:]) {
			t.Errorf("%s: something else is verified", algorithm)
		}
	}
}

func TestAlgorithmsWantAKeyOfTheirType(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"HS256", "ES256", "RS256", "PS256", "EdDSA", "unknown"} {
		if _, err := jose.Sign(algorithm, "no key", nil); err == nil {
			t.Errorf("%s takes any key", algorithm)
		}
	}
	if _, err := jose.NewKey("HS256"); err == nil {
		t.Error("HS256 has a key pair")
	}
}
