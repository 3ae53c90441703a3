// Package cookiestore is a sessions.Store, of gorilla as of gin-contrib, that keeps one string
// per session in cookies, in as many pieces as it needs.
//
// Browsers drop a cookie of more than 4096 bytes, so a longer value is cut
// into pieces: "name", "name_1", "name_2" and so on. Each piece carries a
// random tag of the save that wrote it, and the first also how many there
// are, so that pieces of different saves are never put together. A short value
// can also be kept as it is.
//
// The store neither encrypts nor authenticates: what it is given must be
// sealed already.
package cookiestore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/sessions"
)

const (
	// pieceSize is the most that one cookie holds, its name included. It
	// leaves room for attributes below 4096 bytes, because some browsers count
	// them too.
	pieceSize = 3800

	tagSize = 8

	candidates = 8
)

// ErrTooLong says that a value does not fit within the limit of the store.
var ErrTooLong = errors.New("cookiestore: the value is too long")

// Store keeps a single value per session, a string under one key. It is safe
// for concurrent use.
type Store struct {
	key     string
	limit   int
	isShort bool
}

// New returns a store for values under the given key of at most limit bytes
// in all cookies together, their names included. Longer ones, which another version of the
// application may have written, are read all the same, up to twice as long.
func New(key string, limit int) *Store {
	return &Store{key: key, limit: limit}
}

// NewShort returns a store for values under the given key of at most limit bytes, each in one cookie as it is: the name and
// the value are all that the browser sends.
func NewShort(key string, limit int) *Store {
	return &Store{key: key, limit: limit, isShort: true}
}

// Get is New: sessions are not cached in the request.
func (s *Store) Get(r *http.Request, name string) (*sessions.Session, error) {
	return s.New(r, name)
}

// New returns the session that the request carries, or an empty one. Cookies
// that make no value count as none. Of several with one name the first counts.
func (s *Store) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	session.Options.Path, session.IsNew = "/", true
	if cookie, err := r.Cookie(name); err == nil {
		if value, ok := s.Value(r, name, cookie.Value); ok {
			session.Values[s.key], session.IsNew = value, false
		}
	}
	return session, nil
}

// Save writes the session's value into cookies of the response and deletes
// the pieces of an earlier, longer value. A session whose MaxAge is negative is
// deleted.
func (s *Store) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	name, gone := session.Name(), *session.Options
	gone.MaxAge = -1
	var pieces []string
	if session.Options.MaxAge >= 0 {
		value, ok := session.Values[s.key].(string)
		if !ok || len(session.Values) != 1 {
			return fmt.Errorf("cookiestore: the session must hold one string under %q and nothing else", s.key)
		}
		switch {
		case !s.isShort:
			pieces = s.cut(name, value)
		case len(value) <= s.limit:
			pieces = []string{value}
		}
		if pieces == nil {
			return ErrTooLong
		}
	}
	// More pieces than a value can have were planted, and deleting them would make the header of the response as long as a
	// stranger likes.
	for i := range s.maxPieces() {
		switch {
		case i < len(pieces):
			http.SetCookie(w, newCookie(pieceName(name, i), pieces[i], session.Options))
		case i == 0 || len(r.CookiesNamed(pieceName(name, i))) > 0:
			http.SetCookie(w, newCookie(pieceName(name, i), "", &gone))
		}
	}
	return nil
}

// newCookie differs from sessions.NewCookie in that it sets no Expires beside
// Max-Age: the browser's clock has no say in it.
func newCookie(name, value string, options *sessions.Options) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value,
		Path: options.Path, Domain: options.Domain, MaxAge: options.MaxAge,
		Secure: options.Secure, HttpOnly: options.HttpOnly, SameSite: options.SameSite,
	}
}

// cut returns the values of the cookies, "<count>.<tag>.<data>" for the first
// one and "<tag>.<data>" for the others, or nil for a value that is too long.
func (s *Store) cut(name, value string) []string {
	tag := rand.Text()[:tagSize]
	// The names of pieces and their counts take three digits at the most.
	perPiece := pieceSize - len(name) - len("_999=") - len("999.") - tagSize - len(".")
	count := max(1, (len(value)+perPiece-1)/perPiece)
	if len(value)+count*(pieceSize-perPiece) > s.limit {
		return nil
	}
	pieces := make([]string, count)
	for i := range pieces {
		data := value[i*perPiece : min(len(value), (i+1)*perPiece)]
		pieces[i] = tag + "." + data
	}
	pieces[0] = strconv.Itoa(count) + "." + pieces[0]
	return pieces
}

// Values yields the values of the cookies of that name in the header of a request, each different one once, and at most
// eight: more than one come from other paths and sibling domains. It takes the header apart as net/http does, but does not
// look at each byte of a value: only what was sealed here is going to be opened, and looking would take longer than the
// rest of a guarded page.
func Values(header http.Header, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := make([]string, 0, candidates)
		for _, line := range header["Cookie"] {
			for line != "" && len(seen) < candidates {
				var pair string
				pair, line, _ = strings.Cut(line, ";")
				found, value, _ := strings.Cut(pair, "=")
				if strings.Trim(found, " \t") != name {
					continue
				}
				value = strings.TrimRight(value, " \t")
				if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
					value = value[1 : len(value)-1]
				}
				if slices.Contains(seen, value) {
					continue
				}
				if seen = append(seen, value); !yield(value) {
					return
				}
			}
		}
	}
}

// Value returns what lies in the cookies of the request whose first piece has this value, which need not be the first
// cookie of its name. It is New without a session.
func (s *Store) Value(r *http.Request, name, first string) (value string, ok bool) {
	if s.isShort {
		return first, len(first) <= s.limit
	}
	counted, rest, _ := strings.Cut(first, ".")
	count, err := strconv.Atoi(counted)
	if err != nil || count < 1 || count > s.maxPieces() {
		return "", false
	}
	tag, value, ok := strings.Cut(rest, ".")
	if !ok || len(tag) != tagSize {
		return "", false
	}
	if count > 1 {
		var all strings.Builder
		all.WriteString(value)
		for i := 1; i < count; i++ {
			data, ok := pieceWithTag(r, pieceName(name, i), tag)
			if !ok {
				return "", false
			}
			all.WriteString(data)
		}
		value = all.String()
	}
	return value, len(value) <= 2*s.limit
}

// pieceWithTag finds the one cookie of this name that the save with this tag
// wrote. Two different ones are a forgery; which one cannot be told.
func pieceWithTag(r *http.Request, name, tag string) (data string, ok bool) {
	for _, cookie := range r.CookiesNamed(name) {
		t, d, cut := strings.Cut(cookie.Value, ".")
		if !cut || t != tag {
			continue
		}
		if ok && d != data {
			return "", false
		}
		data, ok = d, true
	}
	return data, ok
}

func pieceName(name string, i int) string {
	if i == 0 {
		return name
	}
	return name + "_" + strconv.Itoa(i)
}

// ReplaceCookies adds Set-Cookie lines and takes those back that an earlier
// save in this response has written for the same session.
func ReplaceCookies(header http.Header, name string, lines []string) {
	kept := slices.DeleteFunc(slices.Clone(header["Set-Cookie"]), func(line string) bool { return isPiece(line, name) })
	if kept = append(kept, lines...); len(kept) > 0 {
		header["Set-Cookie"] = kept
		return
	}
	delete(header, "Set-Cookie")
}

// CookiesNamed returns the Set-Cookie lines that belong to a session of this name.
func CookiesNamed(lines []string, name string) (named []string) {
	for _, line := range lines {
		if isPiece(line, name) {
			named = append(named, line)
		}
	}
	return named
}

// isPiece reports whether a Set-Cookie line belongs to the session of that name.
func isPiece(line, name string) bool {
	cookieName, _, _ := strings.Cut(line, "=")
	suffix, ok := strings.CutPrefix(cookieName, name)
	if !ok || suffix == "" {
		return ok
	}
	i, err := strconv.Atoi(suffix[1:])
	return err == nil && i > 0 && i < 1000 && suffix == pieceName("", i)
}

// maxPieces is how many pieces a value has at most that is read.
func (s *Store) maxPieces() int { return 2*s.limit/pieceSize + 1 }

// HeaderOnly is a response for Save of which only the header is used.
type HeaderOnly http.Header

// Header returns the header that Save writes.
func (h HeaderOnly) Header() http.Header { return http.Header(h) }

// Write drops the body.
func (h HeaderOnly) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader drops the status.
func (h HeaderOnly) WriteHeader(int) {}
