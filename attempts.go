package logtogin

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/anystore"
)

// Sign-ins under way: each is one small cookie of its own, in one of a few
// slots, so that many tabs work and a visitor costs the server no memory.

const (
	// attemptSlots is how many sign-ins one browser can have under way. Slots
	// are fixed cookie names, so that a browser that restores sixty tabs does
	// not collect sixty cookies; the oldest attempt leaves first.
	attemptSlots = 6

	// maxAttempt bounds one attempt's cookie, its name included, such that all
	// slots fit into the budget.
	maxAttempt = 1300

	// attemptLifetime is how long a user may take to sign in.
	attemptLifetime = time.Hour
)

// slot is an attempt's cookie as the request carries it.
type slot struct {
	index   int
	entry   *anystore.Entry
	attempt *attempt // nil if it cannot be used any more
}

// loadAttempts returns the slots of the request that are not empty.
func (st *store) loadAttempts(r *http.Request) (slots []slot) {
	for i, name := range st.attemptNames {
		found := slot{index: i}
		for entry, err := range st.attempts.Each(r.Context(), r, name) {
			if err != nil { // cookies do not fail
				break
			}
			found.entry = entry
			if found.attempt = st.openAttempt(name, entry.Value); found.attempt != nil {
				break
			}
		}
		if found.entry != nil {
			slots = append(slots, found)
		}
	}
	return slots
}

// openAttempt returns an attempt that can still be finished, or nil.
func (st *store) openAttempt(name, sealed string) *attempt {
	record, _, err := st.attemptSealer.Open(sealed, name)
	if err != nil {
		return nil
	}
	found, err := decodeAttempt(record)
	if err != nil || !st.s.Now().Before(found.startedAt.Add(attemptLifetime)) {
		return nil
	}
	return found
}

// saveAttempt puts the attempt into a slot of its own, or into that of the
// oldest one. A return path that makes it too large is dropped.
func (st *store) saveAttempt(ctx context.Context, x *exchange, record *attempt) error {
	var taken []int
	if !x.response.change(func(header http.Header) { taken = st.writtenSlots(header) }) {
		return ErrResponseStarted
	}
	index := freeSlot(st.loadAttempts(x.request), taken)
	name := st.attemptNames[index]
	header := http.Header{}
	save := func() error {
		sealed := func(string) string { return st.attemptSealer.Seal(record.encode(), name) }
		_, err := st.attempts.Create(ctx, x.request, header, name, "",
			st.attributes(record.startedAt.Add(attemptLifetime)), sealed)
		return err
	}
	err := save()
	if errors.Is(err, anystore.ErrTooLong) && record.returnTo != "" {
		record.returnTo = ""
		err = save()
	}
	if errors.Is(err, anystore.ErrTooLong) {
		return fmt.Errorf("%w: the redirect URI is too long", ErrInvalidOptions)
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	return st.setCookies(x, header, never, name)
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
		st.keepWithinBudget(x.request, header)
		return true
	}) {
		return ErrResponseStarted
	}
	return nil
}

func never() bool { return false }

// setOutcome gives the browser the cookies of an outcome: the attempt's goes and the session's
// comes in one response, never one without the other. The error is ErrResponseStarted.
func (st *store) setOutcome(x *exchange, its *outcome) error {
	isVain := never
	if its.session != nil {
		isVain = func() bool { return st.isOver(its.session) }
	}
	return st.setCookies(x, its.cookies, isVain, append([]string{st.sessionName}, st.attemptNames[:]...)...)
}

// removeAttempt deletes a slot's cookie.
func (st *store) removeAttempt(r *http.Request, header http.Header, s slot) {
	if err := st.attempts.Delete(r.Context(), r, header, s.entry, st.attributes(time.Time{})); err != nil {
		st.s.Logger.Error("logtogin: cannot delete the cookie of a sign-in attempt", "error", err)
	}
}

// keepWithinBudget deletes attempts, the useless and then the oldest first,
// until what the browser will have after this response fits into the budget.
// What this response has set itself stays.
func (st *store) keepWithinBudget(r *http.Request, header http.Header) {
	sizes := map[string]int{}
	for _, cookie := range r.Cookies() {
		if strings.HasPrefix(cookie.Name, st.sessionName) {
			sizes[cookie.Name] += cookieSize(cookie)
		}
	}
	for _, cookie := range cookiesSet(header) {
		if strings.HasPrefix(cookie.Name, st.sessionName) {
			sizes[cookie.Name] = 0
			if cookie.MaxAge >= 0 {
				sizes[cookie.Name] = cookieSize(cookie)
			}
		}
	}
	total := 0
	for _, size := range sizes {
		total += size
	}
	if total <= cookieBudget {
		return
	}
	written := st.writtenSlots(header)
	slots := st.loadAttempts(r)
	for total > cookieBudget {
		oldest, ok := oldestSlot(slots, written)
		if !ok {
			return
		}
		total -= sizes[st.attemptNames[oldest.index]]
		written = append(written, oldest.index)
		st.removeAttempt(r, header, oldest)
	}
}

// writtenSlots are the slots that this response has set or deleted already.
func (st *store) writtenSlots(header http.Header) (written []int) {
	for _, cookie := range cookiesSet(header) {
		if index := slices.Index(st.attemptNames[:], cookie.Name); index >= 0 {
			written = append(written, index)
		}
	}
	return written
}

// cookiesSet are the cookies that the response sets so far.
func cookiesSet(header http.Header) []*http.Cookie {
	return (&http.Response{Header: header}).Cookies()
}

// cookieSize is what a cookie takes in the header of a request.
func cookieSize(cookie *http.Cookie) int {
	return len(cookie.Name) + len("=") + len(cookie.Value) + len("; ")
}

// freeSlot returns a slot for a new attempt, other than those that this
// response has written. Among free ones it takes any: tabs that are opened at
// the same moment then seldom meet in one.
func freeSlot(taken []slot, written []int) int {
	var free []int
	for i := range attemptSlots {
		used := slices.ContainsFunc(taken, func(s slot) bool { return s.index == i && s.attempt != nil })
		if !used && !slices.Contains(written, i) {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		oldest, _ := oldestSlot(taken, written)
		return oldest.index
	}
	return free[rand.IntN(len(free))]
}

// oldestSlot returns the slot that is missed least, but none of the excluded.
func oldestSlot(slots []slot, excluded []int) (oldest slot, ok bool) {
	for _, s := range slots {
		if slices.Contains(excluded, s.index) {
			continue
		}
		switch {
		case !ok, s.attempt == nil,
			oldest.attempt != nil && s.attempt.startedAt.Before(oldest.attempt.startedAt):
			oldest, ok = s, true
		}
	}
	return oldest, ok
}
