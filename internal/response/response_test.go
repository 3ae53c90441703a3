package response_test

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/logtogin/logtogin/internal/response"
)

// writer behaves like Gin's: the header is sent with the body, or by WriteHeaderNow.
type writer struct {
	*httptest.ResponseRecorder
	status int
	isSent bool
}

func newWriter() *writer {
	return &writer{ResponseRecorder: httptest.NewRecorder(), status: http.StatusOK}
}

func (w *writer) WriteHeader(status int)      { w.status = status }
func (w *writer) Status() int                 { return w.status }
func (w *writer) Size() int                   { return w.Body.Len() }
func (w *writer) Written() bool               { return w.isSent }
func (w *writer) CloseNotify() <-chan bool    { return nil }
func (w *writer) Pusher() http.Pusher         { return nil }
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseRecorder }
func (w *writer) Flush()                      { w.WriteHeaderNow() }
func (w *writer) WriteHeaderNow() {
	if !w.isSent {
		w.isSent = true
		w.ResponseRecorder.WriteHeader(w.status)
	}
}

func (w *writer) Write(data []byte) (int, error) {
	w.WriteHeaderNow()
	return w.ResponseRecorder.Write(data)
}

func (w *writer) WriteString(data string) (int, error) { return w.Write([]byte(data)) }

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.isSent = true
	return nil, nil, nil
}

// place is where a handler finds its writer.
type place struct {
	w      response.Writer
	isGone bool
}

func (p *place) Writer() response.Writer {
	if p.isGone {
		return nil
	}
	return p.w
}

func (p *place) SetWriter(w response.Writer) { p.w = w }

// set is what SetCookies is called with: it adds these lines.
func set(lines ...string) func(http.Header) bool {
	return func(header http.Header) bool {
		header["Set-Cookie"] = append(header["Set-Cookie"], lines...)
		return len(lines) > 0
	}
}

func yes() bool { return true }
func no() bool  { return false }

func check(t *testing.T, what string, got, want http.Header) {
	t.Helper()
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestNoCacheStoresAResponseOfOneUser(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]http.Header{
		"nothing":                       {},
		"public":                        {"Cache-Control": {"public, max-age=3600"}},
		"rules for certain caches":      {"Cdn-Cache-Control": {"max-age=60"}, "Surrogate-Control": {"max-age=60"}, "surrogate-control": {"x"}},
		"in small letters":              {"cache-control": {"public"}},
		"it varies already":             {"Vary": {"cookie"}},
		"it varies by several, in line": {"Vary": {"Accept, Cookie", "Origin"}},
	} {
		want := http.Header{"Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}}
		if set, ok := header["Vary"]; ok {
			want["Vary"] = slices.Clone(set)
		}
		response.ForbidStoring(header)
		check(t, name, header, want)
	}
	other := http.Header{"Vary": {"Accept"}, "Control": {"x"}}
	response.ForbidStoring(other)
	check(t, "other headers", other, http.Header{"Vary": {"Accept", "Cookie"}, "Control": {"x"}, "Cache-Control": {"private, no-store"}})
}

// A guard lets a handler answer in many ways. Each of them sends what was collected.
func TestAGuardedResponseIsCorrectedWhenItIsSent(t *testing.T) {
	t.Parallel()
	for way, send := range map[string]func(w response.Writer, r *response.Guarded){
		"Write":          func(w response.Writer, _ *response.Guarded) { _, _ = w.Write([]byte("done")) },
		"WriteString":    func(w response.Writer, _ *response.Guarded) { _, _ = w.WriteString("done") },
		"WriteHeaderNow": func(w response.Writer, _ *response.Guarded) { w.WriteHeaderNow() },
		"Flush":          func(w response.Writer, _ *response.Guarded) { w.Flush() },
		"Hijack":         func(w response.Writer, _ *response.Guarded) { _, _, _ = w.Hijack() },
		"Leave":          func(_ response.Writer, r *response.Guarded) { r.Leave() },
	} {
		below := newWriter()
		var r response.Guarded
		w := r.Wrap(below)
		r.DependOn("Cookie")
		r.DependOn("Authorization")
		r.DependOn("Cookie")
		r.DependOnSession(true)
		r.DependOnSession(false)
		r.Announce(w.Header())
		check(t, way+", announced", below.Header(), http.Header{"Cache-Control": {"private, no-store"}, "Vary": {"Cookie", "Authorization"}})
		below.Header()["Set-Cookie"] = []string{"theirs=1", "new=0", "new_1=0", "vain=0"}
		for name, isVain := range map[string]func() bool{"vain": yes, "new": no} {
			if !r.SetCookies(name, isVain, set(name+"=2")) {
				t.Errorf("%s: no cookies can be set", way)
			}
		}
		r.SetCookies("vain", no, set()) // sets none, so the cookies of before stay in vain
		r.Change(func(header http.Header) { header.Set("Referrer-Policy", "no-referrer") })
		w.Header()["Cache-Control"][0] = "public"
		w.Header().Set("CDN-Cache-Control", "public")
		w.Header().Set("Vary", "Accept, authorization")
		if r.HasBegun() || r.HasLeft() {
			t.Errorf("%s: has begun %t, left %t, want neither", way, r.HasBegun(), r.HasLeft())
		}
		send(w, &r)
		want := http.Header{
			"Cache-Control": {"private, no-store"}, "Vary": {"Accept, authorization", "Cookie"}, "Referrer-Policy": {"no-referrer"},
			"Set-Cookie": {"theirs=1", "vain=0", "new=2"},
		}
		check(t, way, below.Header(), want)
		if !r.HasBegun() || r.HasLeft() != (way == "Leave") || r.SetCookies("late", no, set("late=1")) {
			t.Errorf("%s: begun %t, left %t, or cookies can be set that nobody sends", way, r.HasBegun(), r.HasLeft())
		}
		r.Announce(w.Header())
		r.Leave()
		check(t, way+", and once more", below.Header(), want)
	}
}

func TestAGuardedResponseOfAVisitorMayBeStored(t *testing.T) {
	t.Parallel()
	below := newWriter()
	var r response.Guarded
	w := r.Wrap(below)
	r.DependOn("Cookie")
	w.Header().Set("Cache-Control", "public")
	w.Header().Set("CDN-Cache-Control", "public")
	_, _ = w.Write(nil)
	check(t, "a visitor", below.Header(), http.Header{"Cache-Control": {"public"}, "Cdn-Cache-Control": {"public"}, "Vary": {"Cookie"}})
}

// The header of a response that somebody has sent past the guard belongs to the server.
func TestAGuardedResponseThatWasSentStaysAsItIs(t *testing.T) {
	t.Parallel()
	below := newWriter()
	var r response.Guarded
	r.Wrap(below)
	r.DependOn("Cookie")
	r.SetCookies("a", no, set("a=1"))
	below.WriteHeaderNow()
	r.Leave()
	check(t, "sent", below.Header(), http.Header{})
}

// After a status like 103 the response is still to come.
func TestEarlyHintsDoNotBeginTheResponse(t *testing.T) {
	t.Parallel()
	for status, begins := range map[int]bool{http.StatusEarlyHints: false, http.StatusSwitchingProtocols: true, http.StatusOK: true} {
		below := newWriter()
		var r response.Guarded
		w := r.Wrap(response.NewSending(below, response.ObserverFunc(func() {})))
		w.WriteHeader(status)
		w.WriteHeaderNow()
		if r.HasBegun() != begins || below.Written() != begins || below.Code != status {
			t.Errorf("%d: begun %t, written %t, sent %d", status, r.HasBegun(), below.Written(), below.Code)
		}
	}
}

func TestCookiesAreTakenBackFromAnOpenResponse(t *testing.T) {
	t.Parallel()
	for name, isVain := range map[string]func() bool{"in vain": yes, "still good": no} {
		below := newWriter()
		here := &place{w: below}
		r := &response.Open{Place: here, Own: &response.OwnCookies{}}
		below.Header()["Set-Cookie"] = []string{"theirs=1"}
		r.SetCookies("a", isVain, set("a=1", "a_1=1"))
		r.SetCookies("b", no, set("b=1"))
		r.SetCookies("a", no, set()) // sets none
		check(t, name+", at once", below.Header(), http.Header{
			"Set-Cookie": {"theirs=1", "a=1", "a_1=1", "b=1"}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"},
		})
		if sending, ok := here.w.(*response.Sending); !ok || sending.Writer != response.Writer(below) {
			t.Fatalf("%s: the writer is %T, want one that is wrapped once", name, here.w)
		}
		below.Header().Add("Set-Cookie", "a=2") // of a newer session
		below.Header().Set("Cache-Control", "public")
		_, _ = here.w.Write(nil)
		want := http.Header{"Set-Cookie": {"theirs=1", "a=1", "a_1=1", "b=1", "a=2"}, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}}
		if isVain() {
			want["Set-Cookie"] = []string{"theirs=1", "b=1", "a=2"}
		}
		check(t, name, below.Header(), want)
		if !r.HasBegun() || r.SetCookies("late", no, set("late=1")) {
			t.Errorf("%s: cookies can be set that nobody sends", name)
		}
	}
}

// A cookie that was set before the guard is corrected with the guarded response.
func TestAGuardCorrectsWhatWasSetBefore(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		isVain func() bool
		want   []string
	}{"in vain": {yes, []string{"b=2"}}, "still good": {no, []string{"a=1", "b=2"}}} {
		below := newWriter()
		before := &response.Open{Place: &place{w: below}, Own: &response.OwnCookies{}}
		before.SetCookies("a", test.isVain, set("a=1"))
		r := response.Guarded{Before: before.Own}
		w := r.Wrap(below)
		r.DependOn("Cookie")
		r.SetCookies("b", no, set("b=2"))
		_, _ = w.Write(nil)
		check(t, name, below.Header(), http.Header{"Set-Cookie": test.want, "Cache-Control": {"private, no-store"}, "Vary": {"Cookie"}})
	}
}

func TestAnOpenResponseSaysOnWhatItDepends(t *testing.T) {
	t.Parallel()
	for hasOne, want := range map[bool]http.Header{false: {"Vary": {"Cookie"}}, true: {"Vary": {"Cookie"}, "Cache-Control": {"private, no-store"}}} {
		below := newWriter()
		r := &response.Open{Place: &place{w: below}, Own: &response.OwnCookies{}}
		r.DependOnSession(hasOne)
		check(t, fmt.Sprint(hasOne), below.Header(), want)
		if r.HasBegun() {
			t.Error("the response has begun")
		}
	}
}

// Gin uses its context again. What comes late must not touch the next response.
func TestWhatComesLateTouchesNoOtherResponse(t *testing.T) {
	t.Parallel()
	below := newWriter()
	here := &place{w: below, isGone: true}
	for name, r := range map[string]response.Response{"open": &response.Open{Place: here, Own: &response.OwnCookies{}}, "of a copy": response.Begun{}} {
		r.DependOnSession(true)
		if r.Change(func(http.Header) { t.Errorf("%s: the header is changed", name) }) || r.SetCookies("a", no, set("a=1")) || !r.HasBegun() {
			t.Errorf("%s: it can be changed", name)
		}
	}
	check(t, "the next response", below.Header(), http.Header{})

	gone := response.Gone{Writer: newWriter()}
	gone.Header().Set("X", "x")
	gone.WriteHeader(http.StatusTeapot)
	gone.WriteHeaderNow()
	gone.Flush()
	_, errOfWrite := gone.Write([]byte("x"))
	_, errOfString := gone.WriteString("x")
	_, _, errOfHijack := gone.Hijack()
	for _, err := range []error{errOfWrite, errOfString, errOfHijack} {
		if !errors.Is(err, http.ErrHandlerTimeout) {
			t.Errorf("got %v, want http.ErrHandlerTimeout", err)
		}
	}
	if below := gone.Writer.(*writer); !gone.Written() || len(below.Header()) > 0 || below.isSent || below.status != http.StatusOK {
		t.Errorf("something was written: %+v", below)
	}
}

func TestNoErrorLooksLikeSuccess(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		status     int
		isRedirect bool
	}{
		http.StatusOK: {http.StatusForbidden, false}, http.StatusEarlyHints: {http.StatusForbidden, false}, http.StatusNotModified: {http.StatusForbidden, false},
		http.StatusFound: {http.StatusFound, true}, http.StatusNotFound: {http.StatusNotFound, false}, http.StatusBadGateway: {http.StatusBadGateway, false},
	} {
		below := newWriter()
		w := &response.ErrorWriter{Writer: below, ErrorStatus: http.StatusForbidden}
		w.WriteHeader(status)
		if w.Status() != want.status || w.IsRedirect != want.isRedirect || w.Unwrap() != http.ResponseWriter(below) {
			t.Errorf("%d: got %d, a redirect: %t, want %v", status, w.Status(), w.IsRedirect, want)
		}
	}
}
