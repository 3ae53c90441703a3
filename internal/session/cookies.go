package session

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/web"
)

// How the cookies of attempts and sessions get into a response.

// NewAttemptID is the ID of an attempt that the request begins, and no guard. isCrossSite is as for NewID.
func (s *Sessions) NewAttemptID(r *http.Request, isCrossSite bool) ID {
	return NewID(s.settings.Now(), false, isCrossSite || IsOfAnotherSite(r))
}

// IsOfAnotherSite reports whether a page of another site has led here, or the request comes from a frame,
// in which Logto's pages do not open.
func IsOfAnotherSite(r *http.Request) bool {
	return web.IsCrossSite(r.Header) || web.IsFramed(r.Header)
}

// AnnounceStart returns the start with an attempt, whose cookie the browser gets although the attempt is not at Logto yet.
// The error is ErrResponseStarted.
func (s *Sessions) AnnounceStart(x *Exchange, start Start) (Start, error) {
	start.Step, start.Attempt = Announced, NewID(s.settings.Now(), true, start.IsCrossSite || IsOfAnotherSite(x.Request))
	start.IsCrossSite = start.Attempt.IsCrossSite()
	written := http.Header{}
	s.Attempts.announce(x.Request, written, start.Attempt)
	return start, s.setCookies(x, written, never, s.Attempts.nameOf(start.Attempt))
}

// StartAttempt gives the browser the cookie of an attempt and fills in its state. The error is
// ErrResponseStarted, or an ErrInvalidOptions if the response starts too many.
func (s *Sessions) StartAttempt(x *Exchange, started *Attempt) error {
	count := 0
	if !x.Response.Change(func(header http.Header) { count = s.Attempts.started(header) }) {
		return fault.ResponseStarted
	}
	if count >= maxStarted {
		return fmt.Errorf("%w: one response starts %d sign-ins at most, because each sets a cookie; link to the sign-in route instead", fault.InvalidOptions, maxStarted)
	}
	written := http.Header{}
	s.Attempts.start(x.Request, written, started)
	return s.setCookies(x, written, never, s.Attempts.nameOf(started.ID))
}

// RemoveAttempt makes the browser forget an attempt. The error is ErrResponseStarted.
func (s *Sessions) RemoveAttempt(x *Exchange, id ID) error {
	return s.setCookies(x, s.Removal(x.Request, id), never, s.Attempts.nameOf(id))
}

// Removal are the cookies with which a browser forgets an attempt.
func (s *Sessions) Removal(r *http.Request, id ID) http.Header {
	written := http.Header{}
	s.Attempts.remove(r, written, id)
	return written
}

// SetOutcomeCookies gives the browser the cookies of an outcome: the attempt's goes and the session's
// comes in one response, never one without the other. The error is ErrResponseStarted.
func (s *Sessions) SetOutcomeCookies(x *Exchange, outcome *Outcome) error {
	isVain := never
	if outcome.Session != nil {
		isVain = func() bool { return s.store.isOver(outcome.Session) }
	}
	return s.setCookies(x, outcome.Cookies, isVain, s.settings.Name, s.Attempts.nameOf(outcome.Attempt))
}

// Share gives the browser an outcome that another callback has had, and makes its session the request's. The error is
// ErrResponseStarted.
func (s *Sessions) Share(x *Exchange, outcome *Outcome) error {
	if err := s.SetOutcomeCookies(x, outcome); err != nil {
		return err
	}
	if outcome.Session != nil {
		s.setCreated(x, outcome.Session)
	}
	return nil
}

// setCookies gives the browser the cookies of an attempt or a session that a store has written
// into a header of its own, and keeps within the budget. isVain says whether they should not be
// sent any more. The error is ErrResponseStarted.
func (s *Sessions) setCookies(x *Exchange, written http.Header, isVain func() bool, names ...string) error {
	if !x.Response.SetCookies(names[0], isVain, func(header http.Header) bool {
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
		s.Attempts.keepWithinBudget(x.Request, header)
		return true
	}) {
		return fault.ResponseStarted
	}
	return nil
}

func never() bool { return false }
