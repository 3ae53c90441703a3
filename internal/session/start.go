package session

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/logtogin/logtogin/internal/record"
)

const (
	// simultaneous is how much later than another one an attempt may begin and still wait for it. A user
	// who comes back from Logto's form and tries again later is not told to wait. It is also how long one
	// is waited for that was announced and did not come, because its tab was closed or the user has clicked
	// again: long enough for a browser with many tabs on a slow line.
	simultaneous = 15 * time.Second

	// maxSignIn is how long an attempt at Logto is waited for.
	maxSignIn = 10 * time.Minute

	// clockDifference is by how much the clocks of instances usually differ, at most. More costs a user a
	// sign-in at Logto.
	clockDifference = time.Minute

	// maxStart is the longest parameter that is looked at. Ours are far shorter.
	maxStart = 512

	// minPause and maxPause are how soon a page that waits asks again.
	minPause = time.Second
	maxPause = 10 * time.Second
)

// Start is a sign-in that a guard has asked for. It travels sealed in the address of the sign-in route, so
// that what the guard has asked for survives the wait. The guard itself looks at what has come of it.
//
// Logto keeps one interaction for each application and browser, so few of several sign-ins at the same
// time succeed. One tab goes to Logto, and the others wait for it:
//
//   - The redirect of a guard announces an attempt by a cookie. The request to the sign-in route carries
//     the cookies of other tabs that have arrived by then.
//   - If another attempt is at Logto, or an older one is announced, this one waits, and takes its own
//     cookie back.
//   - If only younger ones are announced, it waits once for them to take theirs back. A younger one that
//     was the first to arrive has not seen this one, and is at Logto by then.
//   - When the attempt that it waits for is gone and has left no session, it begins anew.
type Start struct {
	Step Step
	// Attempt is the announced one, or for a start that Waits the one that it waits for.
	Attempt ID
	// Before is the session with which the guard was not content.
	Before Before
	// IsCrossSite says that another site has led the tab here, also if it has waited since.
	IsCrossSite bool
	// MaxAge and WantsLogin are the options of the sign-in.
	MaxAge     time.Duration
	WantsLogin bool
}

// Step is how far a Start has come.
type Step byte

const (
	// Begins has no attempt yet.
	Begins Step = iota
	// Announced has an attempt whose cookie the guard has set.
	Announced
	// GaveWay is Announced, and has waited for younger attempts.
	GaveWay
	// Waits is for another attempt.
	Waits
	// Insists is what a user chooses who does not want to wait.
	Insists
)

const startFormat byte = 1

const (
	wantsLogin uint64 = 1 << iota
	isCrossSite
)

// SealStart makes a parameter of a start.
func (a *Attempts) SealStart(start Start) string {
	w := record.NewWriter(startFormat)
	w.Number(uint64(start.Step))
	w.Text(string(start.Attempt[:]))
	start.Before.write(w)
	w.Number(uint64(start.MaxAge / time.Second))
	var flags uint64
	if start.WantsLogin {
		flags |= wantsLogin
	}
	if start.IsCrossSite {
		flags |= isCrossSite
	}
	w.Number(flags)
	return a.starts.Seal(w.Bytes(), a.settings.Name)
}

// OpenStart returns the start of a parameter. ok is false if it was not sealed here.
func (a *Attempts) OpenStart(sealed string) (start Start, ok bool) {
	if len(sealed) > maxStart {
		return Start{}, false
	}
	encoded, _, err := a.starts.Open(sealed, a.settings.Name)
	if err != nil {
		return Start{}, false
	}
	r := record.NewReader(encoded, startFormat)
	step, id := r.Number(), r.Text()
	start = Start{Step: Step(step), Before: readBefore(r), MaxAge: time.Duration(r.Seconds()) * time.Second}
	flags := r.Number()
	start.WantsLogin, start.IsCrossSite = flags&wantsLogin != 0, flags&isCrossSite != 0
	if r.Err() != nil || step > uint64(Insists) || len(id) != len(start.Attempt) {
		return Start{}, false
	}
	copy(start.Attempt[:], id)
	return start, true
}

// IsAnnounced reports whether the attempt is the start's own.
func (s Start) IsAnnounced() bool { return s.Step == Announced || s.Step == GaveWay }

// MayReturnWith reports whether the session that the browser has now is what the tab has waited for, so that
// the guard is asked again. One that is older than the attempt has not come since: the guard knew it, or is
// not sent its cookie, and would lead here again.
func (s Start) MayReturnWith(current Before) bool {
	return s.Step != Insists && s.Step != Begins && s.Before.isSucceededBy(current) &&
		!current.Start.Before(s.Attempt.Time().Add(-clockDifference))
}

// With is the start with which a page asks again that waits, or that the user does not want to wait on.
func (s Start) With(step Step, attempt ID) Start {
	s.Step, s.Attempt = step, attempt
	return s
}

// Turn is what the sign-in route does next.
type Turn struct {
	Move Move
	// Attempt is the one to wait for, or with WaitOnce the start's own.
	Attempt ID
	// Pause is how soon to ask again.
	Pause time.Duration
}

// Move is a kind of Turn.
type Move byte

const (
	// GoToLogto starts the sign-in.
	GoToLogto Move = iota
	// Announce begins anew, as a guard would.
	Announce
	// Wait takes the start's own attempt back and waits for another one.
	Wait
	// WaitOnce keeps the start's own attempt.
	WaitOnce
)

// Next decides whose turn it is, by the attempts of the request.
func (a *Attempts) Next(start Start, r *http.Request) Turn {
	return start.next(a.awaited(a.Pending(r)), a.settings.Now())
}

// awaited are the attempts that others still wait for.
func (a *Attempts) awaited(pending []Pending) []Pending {
	now := a.settings.Now()
	return slices.DeleteFunc(pending, func(p Pending) bool {
		longest, age := simultaneous, now.Sub(p.ID.Time())
		if p.IsStarted {
			longest = maxSignIn
		}
		return age >= longest || age < -a.settings.ClockSkew // what is farther ahead is made up
	})
}

// next is Next by the attempts that are awaited, the oldest first.
func (s Start) next(awaited []Pending, now time.Time) Turn {
	switch {
	case s.Step == Insists:
		return Turn{Move: GoToLogto}
	case s.Step == Waits:
		if slices.ContainsFunc(awaited, func(other Pending) bool { return other.ID == s.Attempt }) {
			return wait(s.Attempt, now)
		}
		return Turn{Move: Announce}
	case s.Step == Begins, now.Sub(s.Attempt.Time()) >= announcedLifetime: // of a page that was restored, with an old address
		return Turn{Move: Announce}
	}
	return s.takeTurn(awaited, now)
}

// takeTurn is next for an announced attempt.
func (s Start) takeTurn(awaited []Pending, now time.Time) Turn {
	var older, younger *ID
	isKept := false
	for _, other := range awaited {
		id := other.ID
		switch {
		case id == s.Attempt:
			isKept = true
		case !id.IsByGuard(), s.Attempt.Time().Sub(id.Time()) > simultaneous,
			id.IsCrossSite() && !s.Attempt.IsCrossSite(): // or other sites could make everybody wait
		case other.IsStarted:
			return wait(id, now)
		case id.Compare(s.Attempt) > 0:
			younger = cmp.Or(younger, &id)
		default:
			older = cmp.Or(older, &id)
		}
	}
	switch {
	case older != nil:
		return wait(*older, now)
	case younger != nil && !isKept: // its own cookie is gone, so other tabs cannot see it
		return wait(*younger, now)
	case younger != nil && s.Step == Announced:
		return Turn{Move: WaitOnce, Attempt: s.Attempt, Pause: minPause}
	}
	return Turn{Move: GoToLogto}
}

// wait has a pause that grows with the age of the other attempt: a user may have to type a password.
func wait(other ID, now time.Time) Turn {
	pause := (now.Sub(other.Time()) / 3).Truncate(time.Second)
	return Turn{Move: Wait, Attempt: other, Pause: min(max(pause, minPause), maxPause)}
}
