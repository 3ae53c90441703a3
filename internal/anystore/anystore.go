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
	// cookies is set by InCookies and nil otherwise.
	cookies   *cookiestore.Store
	calls     *bounded.Calls // nil for stores of ours, which never wait
	remembers bool
}

// New returns a Store that keeps its strings in inner under the given key. A
// call that inner does not answer in time fails. Its goroutine goes on until
// inner does answer, with a request and a response of its own that nobody else
// uses; there are at most maxRunning of these.
func New(inner sessions.Store, key string, timeout time.Duration) *Store {
	s := &Store{inner: inner, key: key}
	if _, isOurs := inner.(*cookiestore.Store); !isOurs {
		s.calls, s.remembers = bounded.New(timeout, maxRunning), !isCookieStore(inner)
	}
	return s
}

// InCookies is New for a store that never waits, on which guarded pages depend: it is called with the request itself, and
// read without making a session.
func InCookies(inner *cookiestore.Store, key string) *Store {
	return &Store{inner: inner, key: key, cookies: inner}
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
	Value string
	// ID is the key under which the server keeps the value, "" if there is none.
	ID string

	name   string
	cookie string // the header with which it is loaded; unused with InCookies
}

// session is a new one for a call about an entry, which may outlast the caller.
func (s *Store) session(e *Entry, options sessions.Options) *sessions.Session {
	own := sessions.NewSession(s.inner, e.name)
	own.ID, own.Options = e.ID, &options
	return own
}

// Each yields what the store has for each different cookie of that name in the
// request, so that a planted cookie cannot hide the real one. An error is an
// ErrUnavailable and the last thing yielded.
func (s *Store) Each(ctx context.Context, r *http.Request, name string) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		for value := range cookiestore.Values(r.Header, name) {
			var entry *Entry
			var err error
			if s.cookies == nil {
				entry, err = s.load(ctx, r, name, name+"="+value)
			} else {
				entry = &Entry{name: name}
				entry.Value, _ = s.cookies.Value(r, name, value)
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
	}
}

func (s *Store) load(ctx context.Context, r *http.Request, name, cookie string) (*Entry, error) {
	var found *sessions.Session
	err := s.call(ctx, r, cookie, func(r *http.Request) (err error) {
		found, err = s.inner.New(r, name)
		return err
	})
	entry := &Entry{name: name, cookie: cookie}
	switch {
	case err != nil && !isAbsence(err):
		return nil, unavailable(err)
	case err == nil && found != nil:
		entry.ID = found.ID
		entry.Value, _ = found.Values[s.key].(string)
	}
	return entry, nil
}

// Reload asks a store that remembers once more for an entry.
func (s *Store) Reload(ctx context.Context, r *http.Request, entry *Entry) (*Entry, error) {
	return s.load(ctx, r, entry.name, entry.cookie)
}

// Create saves a new session and puts its cookies into the header. The store is
// asked to use the given ID. value makes what is saved under an ID; it is called
// again if the store uses another one.
func (s *Store) Create(ctx context.Context, r *http.Request, header http.Header, name, id string, options sessions.Options, value func(id string) string) (*Entry, error) {
	made := s.session(&Entry{ID: id, name: name}, options)
	made.Values[s.key], made.IsNew = value(id), true
	// Without the cookie of an earlier session, whose ID some stores would use
	// again.
	lines, err := s.save(ctx, r, "", made, always)
	cookie := cookiesIn(lines)
	if err == nil && made.ID != id {
		// The store insists on an ID of its own, which the value must name.
		made.Values[s.key], made.IsNew = value(made.ID), false
		_, err = s.save(ctx, r, cookie, made, always)
	}
	if err != nil {
		return nil, err
	}
	cookiestore.ReplaceCookies(header, name, lines)
	return &Entry{Value: made.Values[s.key].(string), ID: made.ID, name: name, cookie: cookie}, nil
}

// Update saves another value for an entry. A cookie is written only if the
// value lies in cookies: that of a server-side store stays as it is. If the store
// does it after the time-out, isVain says whether it has to be undone, because the
// session has been deleted meanwhile.
func (s *Store) Update(ctx context.Context, r *http.Request, header http.Header, entry *Entry, options sessions.Options, value string, isVain func() bool) error {
	updated := s.session(entry, options)
	updated.Values[s.key] = value
	lines, err := s.save(ctx, r, entry.cookie, updated, isVain)
	if err == nil && (!s.remembers || entry.ID == "") {
		cookiestore.ReplaceCookies(header, entry.name, lines)
	}
	return err
}

// Delete removes what the store has for an entry, and has the browser remove
// its cookies.
func (s *Store) Delete(ctx context.Context, r *http.Request, header http.Header, entry *Entry, options sessions.Options) (err error) {
	options.MaxAge = -1
	lines := []string{sessions.NewCookie(entry.name, "", &options).String()}
	if !s.remembers || entry.ID != "" || entry.Value != "" { // else it is nothing of the store's: some would make a record in order to delete it
		lines, err = s.save(ctx, r, entry.cookie, s.session(entry, options), never)
	}
	if err == nil {
		cookiestore.ReplaceCookies(header, entry.name, lines)
	}
	return err
}

func always() bool { return true }
func never() bool  { return false }

// save returns the Set-Cookie lines that the store writes.
func (s *Store) save(ctx context.Context, r *http.Request, cookie string, session *sessions.Session, isVain func() bool) ([]string, error) {
	var lines []string
	err := s.call(ctx, r, cookie, func(r *http.Request) error {
		w := make(cookiestore.HeaderOnly)
		if err := s.inner.Save(r, w, session); err != nil {
			return err
		}
		lines = w["Set-Cookie"]
		if r.Context().Err() != nil && isVain() {
			options := *session.Options
			options.MaxAge = -1
			session.Options = &options
			return s.inner.Save(requestWith(r, cookiesIn(lines)).WithContext(context.WithoutCancel(r.Context())), make(cookiestore.HeaderOnly), session)
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

// call runs f with a request that has this cookie alone, for as long as a call may take. If it returns an error, f may
// still be running, and what it writes must not be read.
func (s *Store) call(ctx context.Context, r *http.Request, cookie string, f func(*http.Request) error) error {
	if s.cookies != nil {
		return f(r)
	}
	private := requestWith(r, cookie)
	if s.calls == nil {
		return f(private)
	}
	return s.calls.Run(ctx, func(ctx context.Context) error { return f(private.WithContext(ctx)) })
}

// requestWith is a request with nothing in its header but these cookies, so that
// a store that is still busy with it shares nothing that anybody writes to.
func requestWith(r *http.Request, cookies string) *http.Request {
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
