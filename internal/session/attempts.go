package session

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/seal"
)

const (
	// cookieBudget bounds all our cookies of one browser together, in bytes: servers and proxies refuse
	// requests whose header is much longer.
	cookieBudget = 8 << 10

	// MaxCookieName is the longest Config.Cookies.Name. A hash of 8 characters makes the name of the
	// session's cookie of it.
	MaxCookieName = 22

	// maxAttemptCookie is what an attempt takes in the header of a request, at most: the names, the
	// verifier and what is between cookies.
	maxAttemptCookie = MaxCookieName + len("_12345678_") + idLength + len("=") + verifierLength + len("; ")

	// alwaysRoomFor is how many attempts fit beside the largest session.
	alwaysRoomFor = 20

	// maxAttempts is how many attempts a browser keeps.
	maxAttempts = 40

	// maxRemoved is how many attempts one response deletes: each takes about 150 bytes of its header,
	// for which proxies have little room, too.
	maxRemoved = 20

	// maxStarted is how many attempts one response starts, for the same reason.
	maxStarted = 20

	// verifierLength is the length of a verifier of 32 random bytes (RFC 7636, section 4.1).
	verifierLength = 43

	// announced is the value of a cookie before its attempt is at Logto.
	announced = "0"

	// announcedLifetime is how long the browser keeps that cookie.
	announcedLifetime = time.Minute

	// valueKey is the one key under which the store holds a value.
	valueKey = "logtogin"
)

// Attempts are the attempts to sign in of the browsers of one application. Nothing is kept for them
// here, so that they hold on all instances and cost no memory. It is safe for concurrent use.
type Attempts struct {
	settings Settings
	store    *anystore.Store
	states   *seal.Sealer
	starts   *seal.Sealer
}

// newAttempts returns the attempts of an application.
func newAttempts(s Settings) (*Attempts, error) {
	a := &Attempts{settings: s, store: anystore.New(cookiestore.NewShort(valueKey, verifierLength), valueKey, 0)}
	var err error
	if a.states, err = seal.New(s.Secrets, s.Purpose("state")); err != nil {
		return nil, err
	}
	if a.starts, err = seal.New(s.Secrets, s.Purpose("start of a sign-in")); err != nil {
		return nil, err
	}
	return a, nil
}

// nameOf is the name of the cookie of an attempt.
func (a *Attempts) nameOf(id ID) string { return a.settings.Name + "_" + id.String() }

// announce writes the cookie of an attempt that a guard begins and that is not at Logto yet.
func (a *Attempts) announce(r *http.Request, header http.Header, id ID) {
	a.write(r, header, id, announced, announcedLifetime)
}

// start fills in the State of an attempt and writes the cookie with its Verifier, which has 43 characters.
func (a *Attempts) start(r *http.Request, header http.Header, started *Attempt) {
	started.challenge = sha256.Sum256([]byte(started.Verifier))
	started.State = a.states.Seal(started.encode(a.settings.Origin), a.settings.Name)
	a.write(r, header, started.ID, started.Verifier, AttemptLifetime)
}

// remove writes that the browser forgets an attempt.
func (a *Attempts) remove(r *http.Request, header http.Header, id ID) {
	a.write(r, header, id, "", -time.Second)
}

func (a *Attempts) write(r *http.Request, header http.Header, id ID, value string, lifetime time.Duration) {
	options := a.settings.Cookie
	options.MaxAge = int(lifetime / time.Second)
	_, _ = a.store.Create(context.WithoutCancel(r.Context()), r, header, a.nameOf(id), "", options, // fails only for values that are too long
		func(string) string { return value })
}

// Open returns the attempt of a state, without its verifier. The error says that it was not sealed here,
// was changed, or is of another origin.
func (a *Attempts) Open(state string) (*Attempt, error) {
	encoded, _, err := a.states.Open(state, a.settings.Name)
	if err != nil {
		return nil, err
	}
	opened, err := decodeAttempt(encoded, a.settings.Origin)
	if err != nil {
		return nil, err
	}
	opened.State = state
	return opened, nil
}

// VerifierOf is the verifier of an opened attempt, or "" if the browser does not have it: a cookie with another
// value is none of this attempt, no matter where it comes from.
func (a *Attempts) VerifierOf(r *http.Request, opened *Attempt) string {
	for entry, err := range a.store.Each(context.WithoutCancel(r.Context()), r, a.nameOf(opened.ID)) {
		if err == nil && sha256.Sum256([]byte(entry.Value)) == opened.challenge {
			return entry.Value
		}
	}
	return ""
}

// Pending is the cookie of an attempt that a request carries, as far as its name and length tell.
type Pending struct {
	ID ID
	// IsStarted says that the browser was sent to Logto; before, the attempt is only announced.
	IsStarted bool
}

// Pending returns the attempts of a request, the oldest first.
func (a *Attempts) Pending(r *http.Request) (pending []Pending) {
	for _, cookie := range r.Cookies() {
		if id, ok := a.idOf(cookie.Name); ok {
			pending = append(pending, Pending{ID: id, IsStarted: len(cookie.Value) == verifierLength})
		}
	}
	slices.SortStableFunc(pending, func(one, other Pending) int { return one.ID.Compare(other.ID) })
	return slices.CompactFunc(pending, func(one, other Pending) bool { return one.ID == other.ID })
}

// idOf is the ID in the name of a cookie, if it is one of an attempt of this application.
func (a *Attempts) idOf(name string) (id ID, ok bool) {
	rest, ok := strings.CutPrefix(name, a.settings.Name+"_")
	if !ok {
		return ID{}, false
	}
	return parseID(rest)
}

// started is how many attempts a response starts.
func (a *Attempts) started(header http.Header) (count int) {
	for _, cookie := range cookiesSet(header) {
		if _, ok := a.idOf(cookie.Name); ok && cookie.MaxAge >= 0 {
			count++
		}
	}
	return count
}

// keepWithinBudget deletes attempts of the request until what the browser will have after this response
// fits into the budget, but no more of them than a response has room for. First go attempts that cannot be
// finished any more, then what other sites have begun, then what is not at Logto yet, the youngest first,
// because tabs wait for the oldest, and then the oldest. What this response has written itself stays.
func (a *Attempts) keepWithinBudget(r *http.Request, header http.Header) {
	total, sizes, written := a.sizes(r, header)
	pending := slices.DeleteFunc(a.Pending(r), func(p Pending) bool { return written[a.nameOf(p.ID)] })
	count := a.started(header) + len(pending)
	if total <= cookieBudget && count <= maxAttempts {
		return
	}
	now := a.settings.Now()
	slices.SortStableFunc(pending, func(one, other Pending) int {
		if worth := a.worth(one, now); worth != a.worth(other, now) || worth != worthAWait {
			return worth - a.worth(other, now)
		}
		return other.ID.Compare(one.ID)
	})
	for _, p := range pending[:min(len(pending), maxRemoved)] {
		if total <= cookieBudget && count <= maxAttempts {
			break
		}
		a.remove(r, header, p.ID)
		total -= sizes[a.nameOf(p.ID)]
		count--
	}
}

// sizes are the sizes of our cookies in the header of the next request, by their names.
func (a *Attempts) sizes(r *http.Request, header http.Header) (total int, sizes map[string]int, written map[string]bool) {
	sizes, written = map[string]int{}, map[string]bool{}
	for _, cookie := range r.Cookies() {
		if strings.HasPrefix(cookie.Name, a.settings.Name) {
			sizes[cookie.Name] += cookieSize(cookie)
		}
	}
	for _, cookie := range cookiesSet(header) {
		if !strings.HasPrefix(cookie.Name, a.settings.Name) {
			continue
		}
		written[cookie.Name], sizes[cookie.Name] = true, 0
		if cookie.MaxAge >= 0 {
			sizes[cookie.Name] = cookieSize(cookie)
		}
	}
	for _, size := range sizes {
		total += size
	}
	return total, sizes, written
}

const (
	worthNothing = iota
	worthLittle
	worthAWait
	worthASignIn
)

// worth orders attempts for eviction, the lowest first.
func (a *Attempts) worth(p Pending, now time.Time) int {
	age, lifetime := now.Sub(p.ID.Time()), announcedLifetime
	if p.IsStarted {
		lifetime = AttemptLifetime
	}
	switch {
	case age >= lifetime, age < -a.settings.ClockSkew:
		return worthNothing
	case p.ID.IsCrossSite():
		return worthLittle
	case !p.IsStarted:
		return worthAWait
	}
	return worthASignIn
}

// cookiesSet are the cookies that the response sets so far.
func cookiesSet(header http.Header) []*http.Cookie {
	return (&http.Response{Header: header}).Cookies()
}

// cookieSize is what a cookie takes in the header of a request.
func cookieSize(cookie *http.Cookie) int {
	return len(cookie.Name) + len("=") + len(cookie.Value) + len("; ")
}
