package logto

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"

	"github.com/logtogin/logtogin/internal/fault"
)

const (
	// maxCallbackQuery bounds the query that is parsed, in bytes. Logto's are far shorter.
	maxCallbackQuery = 8 << 10
	// maxCallbackError bounds ErrorCode and ErrorDescription, in bytes. Errors are remembered, and strangers
	// decide how long they are.
	maxCallbackError = 500
)

// AuthorizationResponse has the parameters of the authorization response (RFC 6749, sections 4.1.2
// and 4.1.2.1, and RFC 9207). A parameter that is missing is "". Nothing in it has been verified: the
// browser brings it.
type AuthorizationResponse struct {
	State            string // state
	Code             string // code
	Issuer           string // iss
	ErrorCode        string // error
	ErrorDescription string // error_description; of both, the first 500 bytes
}

// ParseAuthorizationResponse reads the query of a callback. The error is a fault.InvalidCallback.
func ParseAuthorizationResponse(query string) (*AuthorizationResponse, error) {
	if len(query) > maxCallbackQuery {
		return nil, fmt.Errorf("%w: the query is too long", fault.InvalidCallback)
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("%w: the query cannot be read", fault.InvalidCallback)
	}
	for _, name := range []string{"state", "code", "iss", "error", "error_description"} {
		if len(params[name]) > 1 {
			return nil, fmt.Errorf("%w: the parameter %s occurs more than once", fault.InvalidCallback, name)
		}
	}
	code := params.Get("code")
	if strings.ContainsFunc(code, func(r rune) bool { return r < 0x20 || r > 0x7e }) { // RFC 6749, appendix A.11
		return nil, fmt.Errorf("%w: the code has characters that no code has", fault.InvalidCallback)
	}
	return &AuthorizationResponse{params.Get("state"), code, params.Get("iss"), excerpt(params.Get("error")), excerpt(params.Get("error_description"))}, nil
}

// excerpt is the beginning of a text. It does not keep the rest of the text in memory.
func excerpt(text string) string { return strings.Clone(text[:min(len(text), maxCallbackError)]) }

// Digest stands for the whole response. Many digests are remembered for a while, and strangers decide how
// long a response is. Instances of different versions compare it.
func (r *AuthorizationResponse) Digest() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q", []string{r.State, r.Code, r.Issuer, r.ErrorCode, r.ErrorDescription}))
}
