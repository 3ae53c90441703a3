package logtogin

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/session"
)

// How the cookies of attempts and sessions get into a response, and out of a browser that has too many of them.

// announce gives the browser the cookie of an attempt that is not at Logto yet. The error is
// ErrResponseStarted.
func (st *store) announce(x *exchange, id session.ID) error {
	written := http.Header{}
	st.attempts.Announce(x.request, written, id)
	return st.setCookies(x, written, never, st.attempts.NameOf(id))
}

// startAttempt gives the browser the cookie of an attempt and fills in its state. The error is
// ErrResponseStarted, or an ErrInvalidOptions if the response starts too many.
func (st *store) startAttempt(x *exchange, started *session.Attempt) error {
	count := 0
	if !x.response.Change(func(header http.Header) { count = st.attempts.Started(header) }) {
		return ErrResponseStarted
	}
	if count >= session.MaxStarted {
		return fmt.Errorf("%w: one response starts %d sign-ins at most, because each sets a cookie; link to the sign-in route instead", ErrInvalidOptions, session.MaxStarted)
	}
	written := http.Header{}
	st.attempts.Start(x.request, written, started)
	return st.setCookies(x, written, never, st.attempts.NameOf(started.ID))
}

// removeAttempt makes the browser forget an attempt. The error is ErrResponseStarted.
func (st *store) removeAttempt(x *exchange, id session.ID) error {
	return st.setCookies(x, st.removal(x.request, id), never, st.attempts.NameOf(id))
}

// removal are the cookies with which a browser forgets an attempt.
func (st *store) removal(r *http.Request, id session.ID) http.Header {
	written := http.Header{}
	st.attempts.Remove(r, written, id)
	return written
}

// setCookies gives the browser the cookies of an attempt or a session that a store has written
// into a header of its own, and keeps within the budget. isVain says whether they should not be
// sent any more. The error is ErrResponseStarted.
func (st *store) setCookies(x *exchange, written http.Header, isVain func() bool, names ...string) error {
	if !x.response.SetCookies(names[0], isVain, func(header http.Header) bool {
		if isVain() {
			return false // a sign-out has been here, whose deletion must stay
		}
		for _, name := range names {
			if lines := cookiestore.CookiesNamed(written["Set-Cookie"], name); len(lines) > 0 {
				cookiestore.ReplaceCookies(header, name, lines)
			}
		}
		for _, line := range written["Set-Cookie"] { // of leftovers under the other default name
			if !slices.Contains(header["Set-Cookie"], line) {
				header.Add("Set-Cookie", line)
			}
		}
		st.attempts.KeepWithinBudget(x.request, header)
		return true
	}) {
		return ErrResponseStarted
	}
	return nil
}

// forgetSessions makes the browser forget sessions that have ended, unless it has another one by
// now. The error is ErrResponseStarted, with which the browser keeps a worthless cookie.
func (st *store) forgetSessions(x *exchange, cookies http.Header, isVain func() bool) error {
	x.response.DependOnSession(true)
	// What this very response has set goes in any case.
	x.response.Change(func(header http.Header) { cookiestore.ReplaceCookies(header, st.sessionName, nil) })
	return st.setCookies(x, cookies, isVain, st.sessionName)
}

func never() bool { return false }
