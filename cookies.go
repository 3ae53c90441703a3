package logtogin

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/cookiestore"
	attempts "github.com/logtogin/logtogin/internal/session"
)

// How the cookies of attempts and sessions get into a response.

// announce gives the browser the cookie of an attempt that is not at Logto yet. The error is
// ErrResponseStarted.
func (st *store) announce(x *exchange, id attempts.ID) error {
	written := http.Header{}
	st.attempts.Announce(x.request, written, id)
	return st.setCookies(x, written, never, st.attempts.NameOf(id))
}

// startAttempt gives the browser the cookie of an attempt and fills in its state. The error is
// ErrResponseStarted, or an ErrInvalidOptions if the response starts too many.
func (st *store) startAttempt(x *exchange, started *attempts.Attempt) error {
	count := 0
	if !x.response.change(func(header http.Header) { count = st.attempts.Started(header) }) {
		return ErrResponseStarted
	}
	if count >= attempts.MaxStarted {
		return fmt.Errorf("%w: one response starts %d sign-ins at most, because each sets a cookie; link to the sign-in route instead", ErrInvalidOptions, attempts.MaxStarted)
	}
	written := http.Header{}
	st.attempts.Start(x.request, written, started)
	return st.setCookies(x, written, never, st.attempts.NameOf(started.ID))
}

// removeAttempt makes the browser forget an attempt. The error is ErrResponseStarted.
func (st *store) removeAttempt(x *exchange, id attempts.ID) error {
	return st.setCookies(x, st.removal(x.request, id), never, st.attempts.NameOf(id))
}

// removal are the cookies with which a browser forgets an attempt.
func (st *store) removal(r *http.Request, id attempts.ID) http.Header {
	written := http.Header{}
	st.attempts.Remove(r, written, id)
	return written
}

// setCookies gives the browser the cookies of an attempt or a session that a store has written
// into a header of its own, and keeps within the budget. isVain says whether they should not be
// sent any more. The error is ErrResponseStarted.
func (st *store) setCookies(x *exchange, written http.Header, isVain func() bool, names ...string) error {
	if !x.response.setCookies(names[0], isVain, func(header http.Header) bool {
		if isVain() {
			return false // a sign-out has been here, whose deletion must stay
		}
		for _, name := range names {
			if lines := anystore.CookiesNamed(written["Set-Cookie"], name); len(lines) > 0 {
				anystore.ReplaceCookies(header, name, lines)
			}
		}
		for _, line := range written["Set-Cookie"] { // of leftovers with other names
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
	x.response.dependOnSession(true)
	// What this very response has set goes in any case.
	x.response.change(func(header http.Header) { anystore.ReplaceCookies(header, st.sessionName, nil) })
	return st.setCookies(x, cookies, isVain, st.sessionName)
}

// maxLeftovers bounds the lines with which one response deletes leftovers, of about 90 bytes each.
const maxLeftovers = 20

// forgetLeftovers makes the browser forget what it has of sessions that were set with another Cookies.Name, Domain or
// Path. They are worth nothing here, but would be if that configuration came back, after another user has signed in or
// out. entries are those of the request. A browser does not say where a cookie belongs, so all places are tried from
// which it is sent here (RFC 6265, section 5.4).
func (st *store) forgetLeftovers(r *http.Request, entries []*anystore.Entry, cookies http.Header) {
	isForeign := slices.ContainsFunc(entries, func(entry *anystore.Entry) bool {
		found, _ := st.openSession(entry)
		return found == nil
	})
	var names []string
	for _, cookie := range r.Cookies() {
		isOwn := cookiestore.IsPiece(cookie.Name, st.sessionName)
		if (isOwn && isForeign || !isOwn && st.isOfApplication(cookie.Name)) && !slices.Contains(names, cookie.Name) {
			names = append(names, cookie.Name)
		}
	}
	if len(names) == 0 {
		return
	}
	// First, because some browsers take a cookie of the host alone for one of its Domain (RFC 6265, section 5.3).
	var deletions []string
	defer func() { cookies["Set-Cookie"] = append(deletions, cookies["Set-Cookie"]...) }()
	for _, path := range pathsAbove(st.s.basePath + r.URL.EscapedPath()) {
		for _, domain := range domainsAbove(st.s.base.Hostname()) {
			for _, name := range names {
				isPlaced := cookiestore.IsPiece(name, st.sessionName) && path == st.options.Path && domain == strings.TrimPrefix(st.options.Domain, ".")
				if isPlaced || strings.HasPrefix(name, "__Host-") && (domain != "" || path != "/") {
					continue
				}
				if len(deletions) == maxLeftovers {
					return
				}
				gone := http.Cookie{Name: name, Path: path, Domain: domain, MaxAge: -1, Secure: st.options.Secure}
				deletions = append(deletions, gone.String())
			}
		}
	}
}

// isOfApplication reports whether a cookie is a piece of a session of this application, whatever Cookies.Name was.
func (st *store) isOfApplication(cookieName string) bool {
	key := "_" + st.s.applicationKey(4)
	at := strings.LastIndex(cookieName, key)
	return at >= 0 && cookiestore.IsPiece(cookieName, cookieName[:at+len(key)])
}

// domainsAbove are the values of Domain with which cookies are sent to a host, "" first.
func domainsAbove(host string) []string {
	domains := []string{""}
	for net.ParseIP(host) == nil && strings.Contains(host, ".") {
		domains = append(domains, host)
		_, host, _ = strings.Cut(host, ".")
	}
	return domains
}

// pathsAbove are the values of Path with which cookies are sent to a path, "/" first.
func pathsAbove(path string) []string {
	paths := []string{"/"}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			paths = append(paths, path[:i], path[:i+1])
		}
	}
	return paths
}

func never() bool { return false }
