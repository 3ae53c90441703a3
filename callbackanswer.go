package logtogin

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"
)

// The authorization response.

// callbackAnswer are the parameters of the authorization response (RFC 6749,
// sections 4.1.2 and 4.1.2.1, and RFC 9207).
type callbackAnswer struct {
	state, code, issuer, errorCode, errorDescription string
}

// digest stands for the whole answer: many of them are remembered for a while,
// and strangers decide how long they are.
func (a *callbackAnswer) digest() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q", []string{a.state, a.code, a.issuer, a.errorCode, a.errorDescription}))
}

// excerpt is the beginning of a text from outside, and does not keep the rest of
// it in memory.
func excerpt(text string) string { return strings.Clone(text[:min(len(text), 500)]) }

// maxCallbackQuery bounds what is looked at; what Logto sends is far shorter.
const maxCallbackQuery = 8 << 10

func parseCallback(query string) (*callbackAnswer, error) {
	if len(query) > maxCallbackQuery {
		return nil, fmt.Errorf("%w: the query is too long", ErrInvalidCallback)
	}
	params, err := url.ParseQuery(query)
	if err != nil {
		return nil, fmt.Errorf("%w: the query cannot be read", ErrInvalidCallback)
	}
	answer := &callbackAnswer{}
	for name, field := range map[string]*string{
		"state": &answer.state, "code": &answer.code, "iss": &answer.issuer,
		"error": &answer.errorCode, "error_description": &answer.errorDescription,
	} {
		if len(params[name]) > 1 {
			return nil, fmt.Errorf("%w: the parameter %s occurs more than once", ErrInvalidCallback, name)
		}
		*field = params.Get(name)
	}
	if strings.ContainsFunc(answer.code, func(r rune) bool { return r < 0x20 || r > 0x7e }) { // RFC 6749, appendix A.11
		return nil, fmt.Errorf("%w: the code has characters that no code has", ErrInvalidCallback)
	}
	return answer, nil
}
