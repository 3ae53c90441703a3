// Package jsonobject reads JSON objects from outside: strictly, because two readers that
// understand a token differently are an attack, and without losing what was sent. It also
// writes objects that are read the same way. It knows nothing of tokens.
package jsonobject

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Object is a JSON object with its members as they were sent. The zero value has none. It is
// not changed after Parse, so it is safe for concurrent use.
type Object struct {
	source  json.RawMessage
	members map[string]json.RawMessage
}

var (
	errNotObject   = errors.New("not a JSON object")
	errMemberTwice = errors.New("a JSON object with a member that occurs twice")
)

// Parse reads one JSON object and nothing else. Member names are taken as they are, unlike by
// encoding/json, to which "Sub" is "sub"; a name that occurs twice is refused, because readers
// differ on which one counts (RFC 8259, section 4). The Object keeps source.
func Parse(source []byte) (Object, error) {
	if !json.Valid(source) {
		return Object{}, errNotObject
	}
	rest := skipSpace(string(source))
	if rest[0] != '{' {
		return Object{}, errNotObject
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
			return Object{}, errNotObject
		}
		rest = skipSpace(skipSpace(rest[end:])[len(":"):])
		end = valueEnd(rest)
		if _, isThere := members[name]; isThere {
			return Object{}, errMemberTwice
		}
		start := len(source) - len(rest)
		members[name] = source[start : start+end : start+end]
		rest = rest[end:]
	}
	return Object{source: source, members: members}, nil
}

// Source is the object as it was sent, nil for the zero value. It must not be changed.
func (o Object) Source() json.RawMessage { return o.source }

// Has reports whether there is a member of this name, null or not. Names are case-sensitive.
func (o Object) Has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// Member is the member of this name as it was sent, or nil. It must not be changed.
func (o Object) Member(name string) json.RawMessage { return o.members[name] }

// Fill decodes a member into value if it is there and of that type.
func Fill[T any](o Object, name string, value *T) {
	raw, ok := o.members[name]
	if !ok {
		return
	}
	var decoded T
	if json.Unmarshal(raw, &decoded) == nil {
		*value = decoded
	}
}

// FillStruct sets the fields of the struct that value points to, all of which have a json tag, to
// the members that the tags name: exactly these, unlike encoding/json, to which "userid" is
// "userId". A member that is absent or of another type leaves its field at the zero value.
func (o Object) FillStruct(value any) {
	fields := reflect.ValueOf(value).Elem()
	fields.SetZero()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
		decoded := reflect.New(fields.Field(i).Type())
		if json.Unmarshal(o.members[name], decoded.Interface()) == nil {
			fields.Field(i).Set(decoded.Elem())
		}
	}
}

// List returns a member that is a list of this type, or nil. A null among its elements makes it a
// list of another type; encoding/json would make a zero value of the null.
func List[T any](o Object, name string) []T {
	var elements []*T
	Fill(o, name, &elements)
	if elements == nil || slices.Contains(elements, nil) {
		return nil
	}
	list := make([]T, len(elements))
	for i, element := range elements {
		list[i] = *element
	}
	return list
}

// Map is List for an object whose members are of this type.
func Map[T any](o Object, name string) map[string]T {
	var elements map[string]*T
	Fill(o, name, &elements)
	if elements == nil {
		return nil
	}
	values := make(map[string]T, len(elements))
	for key, element := range elements {
		if element == nil {
			return nil
		}
		values[key] = *element
	}
	return values
}

// Text returns a member that is a string, or "".
func (o Object) Text(name string) string {
	text, _, _ := o.OptionalText(name)
	return text
}

// OptionalText returns a member that is a string or absent; ok is false if it is there and
// something else.
func (o Object) OptionalText(name string) (text string, isThere, ok bool) {
	raw, isThere := o.members[name]
	if !isThere {
		return "", false, true
	}
	if len(raw) < 2 || raw[0] != '"' {
		return "", true, false
	}
	inner := raw[1 : len(raw)-1]
	for _, b := range inner {
		if b == '\\' || b >= utf8.RuneSelf {
			text, err := decoded(raw)
			return text, true, err == nil
		}
	}
	return string(inner), true, true
}

// Texts returns a member that is a list of strings. encoding/json would make "" of a null among
// them.
func (o Object) Texts(name string) (texts []string, ok bool) {
	raw := o.members[name]
	if len(raw) == 0 || raw[0] != '[' {
		return nil, false
	}
	if texts, ok := plainTexts(string(raw)); ok {
		return texts, true
	}
	texts = List[string](o, name)
	return texts, texts != nil
}

// TextOrTexts returns a member that is a string or a list of at least one, as "aud" is
// (RFC 7519, section 4.1.3).
func (o Object) TextOrTexts(name string) (texts []string, ok bool) {
	if raw := o.members[name]; len(raw) > 0 && raw[0] == '"' {
		return []string{o.Text(name)}, true
	}
	texts, ok = o.Texts(name)
	return texts, ok && len(texts) > 0
}

// IsTrue reports whether a member is true.
func (o Object) IsTrue(name string) bool { return string(o.members[name]) == "true" }

// maxSeconds is the year 9999: beyond it lies no time that anybody means, only overflow.
const maxSeconds = 253402300799

// Seconds reads a NumericDate (RFC 7519, section 2). ok says that it is a positive number in a
// range that time arithmetic survives.
func (o Object) Seconds(name string) (at time.Time, ok bool) {
	raw := o.members[name]
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

// Milliseconds reads a time in milliseconds, as Logto sends some; the zero time if it is none.
func (o Object) Milliseconds(name string) time.Time {
	milliseconds, err := strconv.ParseInt(string(o.members[name]), 10, 64)
	if err != nil || milliseconds <= 0 || milliseconds > maxSeconds*1000 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds)
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
			return decoded([]byte(quoted))
		}
	}
	return quoted[1 : len(quoted)-1], nil
}

// decoded is a string with escapes. It is a function of its own because its result is allocated,
// which plain strings do without.
func decoded(quoted []byte) (text string, err error) {
	err = json.Unmarshal(quoted, &text)
	return text, err
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

// plainTexts reads a list of strings, which is valid JSON, if they are plain: without
// escapes, in ASCII. Nearly all are.
func plainTexts(list string) (texts []string, ok bool) {
	texts = make([]string, 0, strings.Count(list, `"`)/2)
	for rest := skipSpace(list[1:]); rest[0] != ']'; rest = skipSpace(rest) {
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
		end := valueEnd(rest)
		if rest[0] != '"' || strings.ContainsFunc(rest[:end], func(r rune) bool { return r == '\\' || r >= utf8.RuneSelf }) {
			return nil, false
		}
		texts = append(texts, rest[1:end-1])
		rest = rest[end:]
	}
	return texts, true
}

// Writer makes an object of values that did not come from outside. Reading the object yields the
// same values. The zero value is ready for use, and is null in JSON.
type Writer struct {
	members map[string]any
	err     error
}

// Put adds a member, unless it is at its zero value. A list that is empty and not nil is added.
func (w *Writer) Put(name string, value any) {
	if reflect.ValueOf(value).IsZero() {
		return
	}
	if w.members == nil {
		w.members = map[string]any{}
	}
	w.members[name] = value
}

// PutTextOrTexts adds a list that Object.TextOrTexts reads: a single text not as a list.
func (w *Writer) PutTextOrTexts(name string, texts []string) {
	if len(texts) == 1 && texts[0] != "" {
		w.Put(name, texts[0])
	} else {
		w.Put(name, texts)
	}
}

// PutSeconds adds a time that Object.Seconds reads.
func (w *Writer) PutSeconds(name string, at time.Time) { w.putTime(name, at, at.Unix()) }

// PutMilliseconds adds a time that Object.Milliseconds reads.
func (w *Writer) PutMilliseconds(name string, at time.Time) { w.putTime(name, at, at.UnixMilli()) }

// putTime refuses a time that would be read as none: it would be lost without a word.
func (w *Writer) putTime(name string, at time.Time, number int64) {
	switch {
	case at.IsZero():
	case number <= 0 || at.UTC().Year() > 9999:
		w.err = fmt.Errorf("logtogin: the claim %q is a time before 1970 or after 9999", name)
	default:
		w.Put(name, number)
	}
}

// MarshalJSON returns the object, or null if no member was added. The error is about a time that
// was added and cannot be read, or a json.RawMessage that is no JSON.
func (w Writer) MarshalJSON() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	return json.Marshal(w.members)
}
