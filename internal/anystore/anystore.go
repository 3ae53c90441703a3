// Package anystore keeps one string per session in any gin-contrib session
// store, and makes the stores behave alike: no call waits for longer than its
// time-out, no panic gets through, a new session gets a new ID, and "there is
// no session" is told apart from "the store does not work".
package anystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/bounded"
	"github.com/logtogin/logtogin/internal/cookiestore"
)

const (
	// maxRunning bounds the calls of a store that are under way; the others wait, within
	// their time-out. An SQL store without a limit of its own opens a connection for each
	// call, and PostgreSQL accepts 97 by default: too many connections at once fail and cost
	// more time than waiting. A store that takes 20 ms for a call still serves 3200 a second.
	maxRunning = 64

	// asItIs stands for the Cookie header of the request itself, which is good
	// enough for a store that does not outlive the request.
	asItIs = "*"

	// candidates is how many different cookies of one name are looked at. More
	// than one come from other paths and sibling domains.
	candidates = 8
)

var (
	// ErrUnavailable says that a store failed or did not answer in time. It
	// says nothing about whether there is a session.
	ErrUnavailable = errors.New("the store failed")

	// ErrTooLong says that a value does not fit into the store.
	ErrTooLong = errors.New("too long for the store")
)

// Store keeps strings in another store. It is safe for concurrent use.
type Store struct {
	inner sessions.Store
	key   string
	calls *bounded.Calls // nil for a store that never waits
	// remembers says that the server keeps the values.
	remembers bool
	// cookies is which that is then.
	cookies *cookiestore.Store
}

// New returns a Store that keeps its strings in inner under the given key. A
// call that inner does not answer in time fails. Its goroutine goes on until
// inner does answer, with a request and a response of its own that nobody else
// uses; there are at most maxRunning of these.
func New(inner sessions.Store, key string, timeout time.Duration) *Store {
	return &Store{inner: inner, key: key, calls: bounded.New(timeout, maxRunning), remembers: !isCookieStore(inner)}
}

// isCookieStore reports whether a store is that of gin-contrib/sessions/cookie, which wraps
// gorilla's. Its interface is one that every store has.
func isCookieStore(inner sessions.Store) bool {
	value := reflect.Indirect(reflect.ValueOf(inner))
	if value.Kind() != reflect.Struct {
		return false
	}
	for field := range value.Type().Fields() {
		if field.Type == reflect.TypeFor[*sessions.CookieStore]() {
			return true
		}
	}
	return false
}

// InCookies returns a Store for a store that keeps values in cookies and so
// never waits for anything.
func InCookies(inner *cookiestore.Store, key string) *Store {
	return &Store{inner: inner, cookies: inner, key: key}
}

// Remembers reports whether the server keeps the values, so that they can be
// read again and deleted.
func (s *Store) Remembers() bool { return s.remembers }

// Close waits for the calls that are under way, not longer than one may take.
func (s *Store) Close() error {
	if s.calls == nil {
		return nil
	}
	return s.calls.Close()
}

// Entry is what a store has for one cookie.
type Entry struct {
	// Value is what was saved, "" if there is nothing.
	Value   string
	name    string
	session *sessions.Session // nil if the value lies in cookies and was not written here
	cookie  string            // the header with which it was loaded
}

// ID is the key under which the server keeps the value, "" if it lies in
// cookies or if there is none.
func (e *Entry) ID() string {
	if e.session == nil {
		return ""
	}
	return e.session.ID
}

// session is one of its own for a call about an entry, which may outlast the caller.
func (s *Store) session(e *Entry, options sessions.Options, values map[any]any) *sessions.Session {
	own := sessions.NewSession(s.inner, e.name)
	if e.session != nil {
		*own = *e.session
	}
	own.Options, own.Values = &options, values
	return own
}

// Each yields what the store has for each different cookie of that name in the
// request, so that a planted cookie cannot hide the real one. An error is an
// ErrUnavailable and the last thing yielded.
func (s *Store) Each(ctx context.Context, r *http.Request, name string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		different := make([]string, 0, candidates)
		if s.cookies != nil {
			different = cookiestore.AppendValues(different, r.Header, name, candidates)
		} else {
			for _, cookie := range r.CookiesNamed(name) {
				if len(different) < candidates && !slices.Contains(different, cookie.Value) {
					different = append(different, cookie.Value)
				}
			}
		}
		for _, value := range different {
			entry, err := s.entry(ctx, r, name, value)
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

// entry is what the store has for one cookie.
func (s *Store) entry(ctx context.Context, r *http.Request, name, value string) (*Entry, error) {
	if s.cookies == nil {
		return s.load(ctx, r, name, name+"="+value)
	}
	value, _ = s.cookies.Value(r, name, value)
	return &Entry{Value: value, name: name, cookie: asItIs}, nil
}

func (s *Store) load(ctx context.Context, r *http.Request, name, header string) (*Entry, error) {
	var found *sessions.Session
	request := requestWith(r, header)
	err := s.call(ctx, func(ctx context.Context) (err error) {
		found, err = s.inner.New(request.WithContext(ctx), name)
		return err
	})
	if err != nil && !isAbsence(err) {
		return nil, unavailable(err)
	}
	entry := &Entry{name: name, session: found, cookie: header}
	if err != nil || found == nil {
		entry.session = sessions.NewSession(s.inner, name)
		return entry, nil
	}
	entry.Value, _ = found.Values[s.key].(string)
	return entry, nil
}

// Reload asks the store once more for an entry.
func (s *Store) Reload(ctx context.Context, r *http.Request, entry *Entry) (*Entry, error) {
	return s.load(ctx, r, entry.name, entry.cookie)
}

// Create saves a new session and puts its cookies into the header. The store is
// asked to use the given ID. value makes what is saved under an ID; it is called
// again if the store uses another one.
func (s *Store) Create(ctx context.Context, r *http.Request, header http.Header, name, id string, options sessions.Options, value func(id string) string) (*Entry, error) {
	made := sessions.NewSession(s.inner, name)
	made.ID, made.IsNew, made.Options = id, true, &options
	made.Values[s.key] = value(id)
	// Without the cookie of an earlier session, whose ID some stores would use
	// again.
	cookie := ""
	if !s.Remembers() {
		cookie = asItIs
	}
	lines, err := s.save(ctx, r, cookie, made, always)
	if err != nil {
		return nil, err
	}
	if s.Remembers() {
		cookie = cookiesIn(lines)
	}
	if made.ID != id {
		// The store insists on an ID of its own, which the value must name.
		made.Values[s.key], made.IsNew = value(made.ID), false
		if _, err := s.save(ctx, r, cookie, made, always); err != nil {
			return nil, err
		}
	}
	cookiestore.ReplaceCookies(header, name, lines)
	return &Entry{Value: made.Values[s.key].(string), name: name, session: made, cookie: cookie}, nil
}

// Update saves another value for an entry. A cookie is written only if the
// value lies in cookies: that of a server-side store stays as it is. If the store
// does it after the time-out, isVain says whether it has to be undone, because the
// session has been deleted meanwhile.
func (s *Store) Update(ctx context.Context, r *http.Request, header http.Header, entry *Entry, options sessions.Options, value string, isVain func() bool) error {
	lines, err := s.save(ctx, r, entry.cookie, s.session(entry, options, map[any]any{s.key: value}), isVain)
	if err != nil {
		return err
	}
	if !s.Remembers() || entry.ID() == "" {
		cookiestore.ReplaceCookies(header, entry.name, lines)
	}
	return nil
}

// Delete removes what the store has for an entry, and has the browser remove
// its cookies.
func (s *Store) Delete(ctx context.Context, r *http.Request, header http.Header, entry *Entry, options sessions.Options) error {
	options.MaxAge = -1
	if s.Remembers() && entry.ID() == "" && entry.Value == "" {
		// Nothing of the store's: some would make a record in order to delete it.
		w := make(cookiestore.HeaderOnly)
		http.SetCookie(w, sessions.NewCookie(entry.name, "", &options))
		cookiestore.ReplaceCookies(header, entry.name, w["Set-Cookie"])
		return nil
	}
	lines, err := s.save(ctx, r, entry.cookie, s.session(entry, options, map[any]any{}), never)
	if err != nil {
		return err
	}
	cookiestore.ReplaceCookies(header, entry.name, lines)
	return nil
}

func always() bool { return true }
func never() bool  { return false }

// save returns the Set-Cookie lines that the store writes.
func (s *Store) save(ctx context.Context, r *http.Request, cookie string, session *sessions.Session, isVain func() bool) ([]string, error) {
	var lines []string
	request := requestWith(r, cookie)
	err := s.call(ctx, func(ctx context.Context) error {
		w := make(cookiestore.HeaderOnly)
		if err := s.inner.Save(request.WithContext(ctx), w, session); err != nil {
			return err
		}
		lines = w["Set-Cookie"]
		if ctx.Err() != nil && isVain() {
			options := *session.Options
			options.MaxAge = -1
			session.Options = &options
			return s.inner.Save(requestWith(r, cookiesIn(lines)).WithContext(context.WithoutCancel(ctx)), make(cookiestore.HeaderOnly), session)
		}
		return nil
	})
	switch {
	case err == nil:
		return lines, nil
	case isTooLong(err):
		value, _ := session.Values[s.key].(string)
		return nil, fmt.Errorf("%w: %d bytes; %s", ErrTooLong, len(value), s.remedy())
	}
	return nil, unavailable(err)
}

// call runs f for as long as a call may take. If it returns an error, f may
// still be running, and what it writes must not be read.
func (s *Store) call(ctx context.Context, f func(context.Context) error) error {
	if s.calls == nil {
		return f(ctx)
	}
	return s.calls.Run(ctx, f)
}

// requestWith is a request with nothing in its header but these cookies, so that
// a store that is still busy with it shares nothing that anybody writes to.
func requestWith(r *http.Request, cookies string) *http.Request {
	if cookies == asItIs {
		return r
	}
	private := &http.Request{
		Method: r.Method, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, Header: make(http.Header, 1),
		Host: r.Host, RemoteAddr: r.RemoteAddr, RequestURI: r.RequestURI, TLS: r.TLS, Body: http.NoBody,
	}
	address := *r.URL
	private.URL = &address
	if cookies != "" {
		private.Header["Cookie"] = []string{cookies}
	}
	return private
}

// cookiesIn makes the header of a request that comes with the cookies that
// were just set.
func cookiesIn(lines []string) string {
	var cookies []string
	for _, line := range lines {
		pair, _, _ := strings.Cut(line, ";")
		cookies = append(cookies, pair)
	}
	return strings.Join(cookies, "; ")
}

// isAbsence reports whether the error of a store means that there is no
// session: the cookie is not one of its own, or the record has gone. The
// stores of gin-contrib share no error for that.
func isAbsence(err error) bool {
	var bad securecookie.Error
	var many securecookie.MultiError
	var file *fs.PathError
	switch {
	case errors.As(err, &many): // of the decoding, also where it does not say so
		return true
	case errors.As(err, &bad):
		return bad.IsDecode()
	case errors.As(err, &file): // but not a socket that is not there
		return file.Op == "open" && errors.Is(err, fs.ErrNotExist)
	}
	return strings.Contains(err.Error(), "memcache: cache miss") || strings.Contains(err.Error(), "mc: not found")
}

// isTooLong recognizes what cookies, securecookie, redis and memcached say.
func isTooLong(err error) bool {
	return errors.Is(err, cookiestore.ErrTooLong) ||
		strings.Contains(err.Error(), "the value is too long") ||
		strings.Contains(err.Error(), "the value to store is too big") ||
		strings.Contains(err.Error(), "object too large for cache")
}

// remedy says how to raise the limit of the store.
func (s *Store) remedy() string {
	switch s.inner.(type) {
	case *cookiestore.Store:
		return "cookies have no more room"
	case interface{ SetMaxLength(int) }:
		return "raise its limit with SetMaxLength, for the redis store on what redis.GetRedisStore returns"
	case interface{ MaxLength(int) }:
		return "raise its limit with MaxLength"
	}
	return "it has no setter for its limit; raise that of its codecs (securecookie's MaxLength) or use another store"
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }
