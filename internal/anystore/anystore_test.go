package anystore_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/cookiestore"
)

const key = "value"

// scripted is a store whose methods are what a test makes them.
type scripted struct {
	load func(*http.Request, *sessions.Session) error
	save func(*http.Request, http.ResponseWriter, *sessions.Session) error
}

func (s *scripted) Get(r *http.Request, name string) (*sessions.Session, error) {
	return s.New(r, name)
}
func (s *scripted) New(r *http.Request, name string) (*sessions.Session, error) {
	session := sessions.NewSession(s, name)
	return session, s.load(r, session)
}
func (s *scripted) Save(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
	return s.save(r, w, session)
}

func request(cookies ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", strings.Join(cookies, "; "))
	r.Header.Set("X-Other", "x")
	return r
}

func values(t *testing.T, store *anystore.Store, r *http.Request) (found []string, err error) {
	t.Helper()
	for entry, err := range store.Each(r.Context(), r, "s") {
		if err != nil {
			return found, err
		}
		found = append(found, entry.Value)
	}
	return found, nil
}

func TestEachDifferentCookieIsAskedFor(t *testing.T) {
	t.Parallel()
	asked := &scripted{load: func(r *http.Request, session *sessions.Session) error {
		if len(r.Header) != 1 || len(r.Cookies()) != 1 {
			t.Errorf("the store sees %v", r.Header)
		}
		cookie, err := r.Cookie("s")
		if err != nil {
			return err
		}
		session.ID, session.Values[key] = "id", "of "+cookie.Value
		return nil
	}}
	store := anystore.New(asked, key, time.Minute)
	many := []string{"s=good"}
	for i := range 20 {
		many = append([]string{fmt.Sprintf("s=%d", i)}, many...)
	}
	for name, test := range map[string]struct {
		cookies []string
		want    int
		last    string
	}{
		"none":               {[]string{"other=x"}, 0, ""},
		"one":                {[]string{"other=x", "s=a", "s_1=x"}, 1, "of a"},
		"two":                {[]string{"s=a", "s=b"}, 2, "of b"},
		"a thousand equal":   {append(strings.Split(strings.Repeat("s=a ", 1000), " "), "s=b"), 2, "of b"},
		"twenty-one of them": {many, 8, "of 12"},
	} {
		found, err := values(t, store, request(test.cookies...))
		if err != nil || len(found) != test.want || (test.want > 0 && found[test.want-1] != test.last) {
			t.Errorf("%s: %q %v", name, found, err)
		}
	}
}

func TestAbsenceAndFailureAreToldApart(t *testing.T) {
	t.Parallel()
	codec := securecookie.New([]byte(strings.Repeat("k", 32)), nil)
	long := codec.Decode("s", strings.Repeat("x", 5000), new(string))
	garbage := codec.Decode("s", "garbage", new(string))
	for name, test := range map[string]struct {
		err     error
		absence bool
	}{
		"no error":                    {nil, true},
		"a cookie of somebody else's": {securecookie.MultiError{garbage}, true},
		"a cookie that is too long":   {securecookie.MultiError{long}, true},
		"one codec":                   {garbage, true},
		"a file that is not there":    {fmt.Errorf("load: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}), true},
		"a socket that is not there":  {&net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.ENOENT)}, false},
		"memcached has dropped it":    {errors.New("memcache: cache miss"), true},
		"memcachier has dropped it":   {errors.New("mc: not found"), true},
		"the network":                 {errors.New("dial tcp: connection refused"), false},
		"the database":                {errors.New("pq: the database system is shutting down"), false},
	} {
		store := anystore.New(&scripted{load: func(_ *http.Request, session *sessions.Session) error {
			session.Values[key] = "half read"
			return test.err
		}}, key, time.Minute)
		found, err := values(t, store, request("s=x"))
		if errors.Is(err, anystore.ErrUnavailable) == test.absence || (test.absence && len(found) != 1) {
			t.Errorf("%s: %q %v", name, found, err)
		}
		if test.err != nil && test.absence && found[0] != "" {
			t.Errorf("%s: what came with the error is believed", name)
		}
	}
}

func TestNoCallWaitsForAFrozenStore(t *testing.T) {
	t.Parallel()
	thaw := make(chan struct{})
	var running sync.WaitGroup
	frozen := func(r *http.Request) error {
		running.Add(1)
		defer running.Done()
		<-thaw
		if r.Context().Err() == nil {
			t.Error("the store is not told that nobody waits")
		}
		return nil
	}
	store := anystore.New(&scripted{
		load: func(r *http.Request, _ *sessions.Session) error { return frozen(r) },
		save: func(r *http.Request, w http.ResponseWriter, _ *sessions.Session) error {
			err := frozen(r)
			w.Header().Add("Set-Cookie", "s=late")
			return err
		},
	}, key, 5*time.Millisecond)
	r := request("s=x")
	header := http.Header{}
	for range 100 { // more than may be running
		if _, err := values(t, store, r); !errors.Is(err, anystore.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if _, err := store.Create(r.Context(), r, header, "s", "id", sessions.Options{}, func(string) string { return "v" }); !errors.Is(err, anystore.ErrUnavailable) {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(r.Context())
	cancel()
	for _, err := range anystore.New(&scripted{load: func(*http.Request, *sessions.Session) error { <-thaw; return nil }}, key, time.Hour).Each(gone, r, "s") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a client that has gone: %v", err)
		}
	}
	if err := store.Close(); err == nil {
		t.Error("Close says nothing of the calls under way")
	}
	close(thaw)
	running.Wait()
	if len(header) > 0 {
		t.Errorf("a late answer is in the response: %v", header)
	}
}

func TestAPanicIsAFailure(t *testing.T) {
	t.Parallel()
	store := anystore.New(&scripted{
		load: func(*http.Request, *sessions.Session) error { panic("load") },
		save: func(*http.Request, http.ResponseWriter, *sessions.Session) error { panic("save") },
	}, key, time.Minute)
	r := request("s=x")
	for range 1000 { // each gives its place back
		if _, err := values(t, store, r); !errors.Is(err, anystore.ErrUnavailable) || !strings.Contains(err.Error(), "load") {
			t.Fatal(err)
		}
	}
	if _, err := store.Create(r.Context(), r, http.Header{}, "s", "id", sessions.Options{}, func(string) string { return "v" }); !errors.Is(err, anystore.ErrUnavailable) {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

type withMaxLength struct{ *scripted }

func (withMaxLength) MaxLength(int) {}

type withSetMaxLength struct{ *scripted }

func (withSetMaxLength) SetMaxLength(int) {}

func TestTooLongValuesNameTheRemedy(t *testing.T) {
	t.Parallel()
	saying := func(text string) *scripted {
		return &scripted{save: func(*http.Request, http.ResponseWriter, *sessions.Session) error { return errors.New(text) }}
	}
	for name, test := range map[string]struct {
		inner sessions.Store
		says  string // "" for a failure of another kind
	}{
		"redis":                      {withSetMaxLength{saying("SessionStore: the value to store is too big")}, "SetMaxLength"},
		"stores with securecookie":   {withMaxLength{saying("securecookie: the value is too long: 4104")}, "MaxLength"},
		"memcached":                  {withMaxLength{saying("SERVER_ERROR object too large for cache")}, "MaxLength"},
		"cookies and MongoDB":        {saying("securecookie: the value is too long: 4104"), "no setter"},
		"what has nothing to do it":  {withMaxLength{saying("dial tcp: connection refused")}, ""},
		"a value with a long reason": {saying("it took too long"), ""},
	} {
		r := request()
		header := http.Header{}
		_, err := anystore.New(test.inner, key, time.Minute).Create(r.Context(), r, header, "s", "id", sessions.Options{MaxAge: 60}, func(string) string { return "v" })
		if errors.Is(err, anystore.ErrTooLong) != (test.says != "") || errors.Is(err, anystore.ErrUnavailable) == (test.says != "") || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
		if len(header) > 0 {
			t.Errorf("%s: %v", name, header)
		}
	}
}

func TestASecondSaveReplacesTheFirst(t *testing.T) {
	t.Parallel()
	store := anystore.InCookies(cookiestore.New(key, 40_000), key)
	r := request("s=x")
	header := http.Header{"Set-Cookie": {"theme=dark"}}
	create := func(name, value string) *anystore.Entry {
		t.Helper()
		entry, err := store.Create(r.Context(), r, header, name, "", sessions.Options{MaxAge: 60}, func(string) string { return value })
		if err != nil {
			t.Fatal(err)
		}
		return entry
	}
	names := func() (names string) {
		for _, cookie := range (&http.Response{Header: header}).Cookies() {
			names += fmt.Sprintf("%s:%d ", cookie.Name, cookie.MaxAge)
		}
		return names
	}
	create("s", strings.Repeat("x", 15_000))
	create("s_attempt_0", "x")
	entry := create("s", "x")
	if got := names(); got != "theme:0 s_attempt_0:60 s:60 " {
		t.Errorf("set: %s", got)
	}
	if err := store.Delete(r.Context(), r, header, entry, sessions.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "theme:0 s_attempt_0:60 s:-1 " {
		t.Errorf("set: %s", got)
	}
}

// A store that insists on an ID of its own is asked twice, the second time about a
// session that is there.
func TestAStoreWithIDsOfItsOwnKeepsOneRecord(t *testing.T) {
	t.Parallel()
	var saved []string
	store := anystore.New(&scripted{save: func(r *http.Request, w http.ResponseWriter, session *sessions.Session) error {
		if session.IsNew {
			session.ID = "own"
		}
		saved = append(saved, fmt.Sprintf("%v new=%v cookie=%q", session.Values[key], session.IsNew, r.Header.Get("Cookie")))
		http.SetCookie(w, sessions.NewCookie(session.Name(), session.ID, session.Options))
		return nil
	}}, key, time.Minute)
	r, header := request("s=old"), http.Header{}
	entry, err := store.Create(r.Context(), r, header, "s", "asked-for", sessions.Options{}, func(id string) string { return "value of " + id })
	if err != nil || entry.ID != "own" || entry.Value != "value of own" || len(header["Set-Cookie"]) != 1 {
		t.Errorf("%+v %v %v", entry, err, header)
	}
	if want := []string{`value of asked-for new=true cookie=""`, `value of own new=false cookie="s=own"`}; !slices.Equal(saved, want) {
		t.Errorf("%q", saved)
	}
}

func TestAClientThatHasLeftCostsTheStoreNothing(t *testing.T) {
	t.Parallel()
	asked := false
	store := anystore.New(&scripted{load: func(*http.Request, *sessions.Session) error { asked = true; return nil }}, key, time.Minute)
	ctx, leave := context.WithCancel(t.Context())
	leave()
	for range 100 {
		if _, err := values(t, store, request("s=x").WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil || asked {
		t.Errorf("%v, asked: %v", err, asked)
	}
}

func TestAStoreSeesWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	store := anystore.New(&scripted{load: func(r *http.Request, _ *sessions.Session) error { seen = r; return nil }}, key, time.Minute)
	r := request("s=x", "other=y")
	r.TLS, r.RemoteAddr = &tls.ConnectionState{}, "192.0.2.7:1"
	if _, err := values(t, store, r); err != nil {
		t.Fatal(err)
	}
	if seen.TLS != r.TLS || seen.RemoteAddr != r.RemoteAddr || seen.RequestURI != r.RequestURI || seen.Host != r.Host || seen.Method != r.Method ||
		*seen.URL != *r.URL || len(seen.Header) != 1 || seen.Header.Get("Cookie") != "s=x" {
		t.Errorf("%+v", seen)
	}
}

// A planted cookie in front of the pieces of the real value.
func TestPlantedCookiesDoNotHideTheGenuineOne(t *testing.T) {
	t.Parallel()
	store := anystore.InCookies(cookiestore.New(key, 40_000), key)
	real := strings.Repeat("x", 8_000)
	header := http.Header{}
	empty := request()
	if _, err := store.Create(empty.Context(), empty, header, "s", "", sessions.Options{MaxAge: 60}, func(string) string { return real }); err != nil {
		t.Fatal(err)
	}
	cookies := []string{"s=1.AAAAAAAA.planted", "s=garbage", "s_1=AAAAAAAA.planted"}
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		cookies = append(cookies, cookie.Name+"="+cookie.Value)
	}
	found, err := values(t, store, request(cookies...))
	if err != nil || len(found) != 3 || found[0] != "planted" || found[1] != "" || found[2] != real {
		t.Errorf("%d values, %v", len(found), err)
	}
}

// 200 callers at once never put more than 64 calls on a store, and none of them waits for
// longer than the time-out, of which half is for waiting until a call can be made. By the clock
// of a bubble.
func TestAStoreHasFewCallsAtATime(t *testing.T) {
	t.Parallel()
	const callers, most, timeout = 200, 64, 3 * time.Second
	for name, test := range map[string]struct {
		takes    time.Duration // a call
		answered int
		last     time.Duration // when the last caller has its answer
	}{
		"that answers":             {100 * time.Millisecond, callers, 400 * time.Millisecond},
		"that is just in time":     {timeout - 1, most, timeout - 1},
		"that does not answer":     {time.Hour, 0, timeout},
		"that serves some of them": {1100 * time.Millisecond, 2 * most, 2200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var running, peak, answered atomic.Int64
				store := anystore.New(&scripted{load: func(_ *http.Request, session *sessions.Session) error {
					now := running.Add(1)
					defer running.Add(-1)
					for old := peak.Load(); now > old && !peak.CompareAndSwap(old, now); old = peak.Load() {
					}
					<-time.After(test.takes)
					session.Values[key] = "found"
					return nil
				}}, key, timeout)
				began := time.Now()
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						switch found, err := values(t, store, request("s=x")); {
						case err == nil && slices.Equal(found, []string{"found"}):
							answered.Add(1)
						case !errors.Is(err, anystore.ErrUnavailable) || (time.Since(began) != timeout && time.Since(began) != timeout/2):
							t.Errorf("after %v: %q %v", time.Since(began), found, err)
						}
					})
				}
				all.Wait()
				if took := time.Since(began); peak.Load() != most || answered.Load() != int64(test.answered) || took != test.last {
					t.Errorf("%d calls at a time, %d answered, the last after %v", peak.Load(), answered.Load(), took)
				}
				<-time.After(time.Hour) // until the store has answered all
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
