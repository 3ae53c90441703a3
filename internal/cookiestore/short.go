package cookiestore

import (
	"fmt"
	"net/http"

	"github.com/gorilla/sessions"
)

// Short keeps one short string per session in one cookie, as it is: the name and the string are all
// that the browser sends. It neither encrypts nor authenticates. It is safe for concurrent use.
type Short struct {
	key   string
	limit int
}

// NewShort returns a store for strings under the given key of at most limit bytes.
func NewShort(key string, limit int) *Short { return &Short{key: key, limit: limit} }

// Get is New: sessions are not cached in the request.
func (s *Short) Get(r *http.Request, name string) (*sessions.Session, error) { return s.New(r, name) }

// New returns the session that the request carries, or an empty one. A cookie that is too long counts
// as none, and the first of several with one name counts.
func (s *Short) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	session.Options, session.IsNew = &sessions.Options{Path: "/"}, true
	if cookie, err := r.Cookie(name); err == nil && len(cookie.Value) <= s.limit {
		session.Values[s.key], session.IsNew = cookie.Value, false
	}
	return session, nil
}

// Save writes the session's string into a cookie of the response. A session whose MaxAge is negative
// is deleted.
func (s *Short) Save(_ *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	value, ok := session.Values[s.key].(string)
	switch {
	case session.Options.MaxAge < 0:
		value = ""
	case !ok || len(session.Values) != 1:
		return fmt.Errorf("cookiestore: the session must hold one string under %q and nothing else", s.key)
	case len(value) > s.limit:
		return ErrTooLong
	}
	http.SetCookie(w, newCookie(session.Name(), value, session.Options))
	return nil
}
