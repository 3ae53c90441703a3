package logtogin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// JSON objects from outside, read strictly and kept as they were sent.

// jsonObject keeps the claims as they were sent.
type jsonObject struct {
	raw     json.RawMessage
	members map[string]json.RawMessage
}

// Has reports whether there is a claim of this name, null or not. Names are
// case-sensitive.
func (s jsonObject) Has(name string) bool {
	_, ok := s.members[name]
	return ok
}

// Get decodes the claim of this name into value as json.Unmarshal does; null
// leaves value as it is, or makes a pointer nil. It returns ErrNoSuchClaim if
// there is no such claim.
func (s jsonObject) Get(name string, value any) error {
	raw, ok := s.members[name]
	if !ok {
		return fmt.Errorf("%w: %q", ErrNoSuchClaim, name)
	}
	if err := json.Unmarshal(raw, value); err != nil {
		return fmt.Errorf("logtogin: claim %q does not fit into %T", name, value)
	}
	return nil
}

// MarshalJSON returns exactly the claims that Logto sent: absent ones stay
// absent, null ones stay null. Changes of the fields are not in it.
func (s jsonObject) MarshalJSON() ([]byte, error) {
	if s.raw == nil {
		return []byte("null"), nil
	}
	return slices.Clone(s.raw), nil
}

var (
	errNotObject   = errors.New("not a JSON object")
	errMemberTwice = errors.New("a JSON object with a member that occurs twice")
)

// parseObject reads one JSON object and nothing else. Member names are taken
// as they are, unlike by encoding/json, to which "Sub" is "sub"; a name that
// occurs twice is refused, because readers differ on which one counts.
func parseObject(raw []byte) (jsonObject, error) {
	if !json.Valid(raw) {
		return jsonObject{}, errNotObject
	}
	rest := skipSpace(string(raw))
	if rest[0] != '{' {
		return jsonObject{}, errNotObject
	}
	members := make(map[string]json.RawMessage, 16)
	// What follows is valid, so it only needs to be taken apart.
	for rest = skipSpace(rest[1:]); rest[0] != '}'; rest = skipSpace(rest) {
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
		end := valueEnd(rest)
		name, err := memberName(rest[:end])
		if err != nil {
			return jsonObject{}, errNotObject
		}
		rest = skipSpace(skipSpace(rest[end:])[len(":"):])
		end = valueEnd(rest)
		if _, isThere := members[name]; isThere {
			return jsonObject{}, errMemberTwice
		}
		start := len(raw) - len(rest)
		members[name] = raw[start : start+end : start+end]
		rest = rest[end:]
	}
	return jsonObject{raw: raw, members: members}, nil
}

func skipSpace(text string) string {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t' || text[0] == '\r' || text[0] == '\n') {
		text = text[1:]
	}
	return text
}

// memberName reads the quoted name of a member.
func memberName(quoted string) (name string, err error) {
	for i := 1; i < len(quoted)-1; i++ {
		if quoted[i] == '\\' || quoted[i] >= utf8.RuneSelf {
			return decodedName(quoted)
		}
	}
	return quoted[1 : len(quoted)-1], nil
}

func decodedName(quoted string) (name string, err error) {
	err = json.Unmarshal([]byte(quoted), &name)
	return name, err
}

// valueEnd is the length of the value with which valid JSON begins.
func valueEnd(text string) int {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		b := text[i]
		switch {
		case inString && b == '\\':
			i++
		case b == '"':
			if inString = !inString; !inString && depth == 0 {
				return i + 1
			}
		case inString:
		case b == '{', b == '[':
			depth++
		case b == '}', b == ']':
			if depth == 0 { // of what is around a number or a word
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && (b == ',' || b == ':' || b == ' ' || b == '\t' || b == '\r' || b == '\n'):
			return i
		}
	}
	return len(text)
}

// fill decodes the claim into value if it is there and of that type.
func fill[T any](s *jsonObject, name string, value *T) {
	raw, ok := s.members[name]
	if !ok {
		return
	}
	var decoded T
	if json.Unmarshal(raw, &decoded) == nil {
		*value = decoded
	}
}

// text returns a claim that is a string.
func text(set *jsonObject, name string) (value string) {
	raw := set.members[name]
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	inner := raw[1 : len(raw)-1]
	for _, b := range inner {
		if b == '\\' || b >= 0x80 {
			fill(set, name, &value)
			return value
		}
	}
	return string(inner)
}

// texts returns a claim that is a list of strings. encoding/json would make ""
// of a null among them.
func texts(set *jsonObject, name string) (values []string, ok bool) {
	raw := set.members[name]
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	if values, ok := plainTexts(string(raw)); ok {
		return values, true
	}
	var elements []*string
	if json.Unmarshal(raw, &elements) != nil {
		return nil, false
	}
	values = make([]string, len(elements))
	for i, element := range elements {
		if element == nil {
			return nil, false
		}
		values[i] = *element
	}
	return values, true
}

// plainTexts reads a list of strings, which is valid JSON, if they are plain: without
// escapes, in ASCII. Nearly all are.
func plainTexts(list string) (values []string, ok bool) {
	values = make([]string, 0, strings.Count(list, `"`)/2)
	for rest := skipSpace(list[1:]); rest[0] != ']'; rest = skipSpace(rest) {
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
		end := valueEnd(rest)
		if rest[0] != '"' || strings.ContainsFunc(rest[:end], func(r rune) bool { return r == '\\' || r >= utf8.RuneSelf }) {
			return nil, false
		}
		values = append(values, rest[1:end-1])
		rest = rest[end:]
	}
	return values, true
}

// flag returns a claim that is true.
func flag(set *jsonObject, name string) bool { return string(set.members[name]) == "true" }

// audienceOf reads a claim that is a string or a list of strings.
func audienceOf(set *jsonObject) (audience []string, ok bool) {
	raw, ok := set.members["aud"]
	if ok && raw[0] == '"' {
		return []string{text(set, "aud")}, true
	}
	audience, ok = texts(set, "aud")
	return audience, ok && len(audience) > 0
}

// maxSeconds is the year 9999: beyond it lies no token, only overflow.
const maxSeconds = 253402300799

// secondsOf reads a NumericDate (RFC 7519, section 2). ok says that it is a
// positive number in a range that time arithmetic survives.
func secondsOf(set *jsonObject, name string) (at time.Time, ok bool) {
	raw := set.members[name]
	if len(raw) == 0 || (raw[0] != '-' && (raw[0] < '0' || raw[0] > '9')) {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return time.Time{}, false
	}
	if !(seconds > 0 && seconds <= maxSeconds) {
		return time.Time{}, false
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)), true
}

func millisecondsOf(set *jsonObject, name string) time.Time {
	milliseconds, err := strconv.ParseInt(string(set.members[name]), 10, 64)
	if err != nil || milliseconds <= 0 || milliseconds > maxSeconds*1000 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds)
}
