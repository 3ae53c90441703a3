package logto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
)

// WebhookSignature is the header of a webhook that has the HMAC of its body
// (https://docs.logto.io/developers/webhooks/secure-webhooks).
const WebhookSignature = "Logto-Signature-Sha-256"

// IsSignedWebhook reports whether a webhook carries the signature of its body by one of the keys.
// It takes the same time whatever the signature is.
func IsSignedWebhook(body []byte, header http.Header, signingKeys []string) (isSigned bool) {
	signatures := header.Values(WebhookSignature)
	if len(signatures) != 1 {
		return false
	}
	given, err := hex.DecodeString(signatures[0])
	if err != nil {
		return false
	}
	for _, key := range signingKeys {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write(body)
		isSigned = hmac.Equal(mac.Sum(nil), given) || isSigned
	}
	return isSigned
}
