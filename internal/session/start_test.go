package session

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// at is an ID of that many seconds after a certain moment. Its flags are "g" for a guard and "x" for
// another site.
func at(seconds float64, flags string) ID {
	moment := time.Unix(1_800_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
	return NewID(moment, strings.Contains(flags, "g"), strings.Contains(flags, "x"))
}

func TestOneTabGoesToLogtoAndTheOthersWait(t *testing.T) {
	t.Parallel()
	mine := at(100, "g")
	fromElsewhere := at(100, "gx")
	announced := func(id ID) Pending { return Pending{ID: id} }
	started := func(id ID) Pending { return Pending{ID: id, IsStarted: true} }
	for name, test := range map[string]struct {
		start   Start
		pending []Pending
		now     float64
		want    Move
		other   ID
		pause   time.Duration
	}{
		"one that begins":                                {start: Start{Step: Begins}, now: 100, want: Announce},
		"one that insists":                               {start: Start{Step: Insists}, pending: []Pending{started(at(99, "g"))}, now: 100, want: GoToLogto},
		"alone":                                          {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(mine)}, now: 100, want: GoToLogto},
		"alone without a cookie":                         {start: Start{Step: Announced, Attempt: mine}, now: 100, want: GoToLogto},
		"its own is at Logto":                            {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{started(mine)}, now: 100, want: GoToLogto},
		"an older one is at Logto":                       {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{started(at(99, "g")), announced(mine)}, now: 100, want: Wait, other: at(99, "g"), pause: time.Second},
		"a younger one is at Logto":                      {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(mine), started(at(100.1, "g"))}, now: 100.2, want: Wait, other: at(100.1, "g"), pause: time.Second},
		"one at Logto counts more than an older one":     {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(at(99, "g")), announced(mine), started(at(100.1, "g"))}, now: 100.2, want: Wait, other: at(100.1, "g"), pause: time.Second},
		"an older one is announced":                      {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(at(99, "g")), announced(mine)}, now: 100, want: Wait, other: at(99, "g"), pause: time.Second},
		"a younger one is announced":                     {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(mine), announced(at(100.1, "g"))}, now: 100.2, want: WaitOnce, other: mine, pause: time.Second},
		"a younger one has given way":                    {start: Start{Step: GaveWay, Attempt: mine}, pending: []Pending{announced(mine)}, now: 101, want: GoToLogto},
		"a younger one comes late":                       {start: Start{Step: GaveWay, Attempt: mine}, pending: []Pending{announced(mine), announced(at(100.1, "g"))}, now: 101, want: GoToLogto},
		"a younger one was at Logto first":               {start: Start{Step: GaveWay, Attempt: mine}, pending: []Pending{announced(mine), started(at(100.1, "g"))}, now: 101, want: Wait, other: at(100.1, "g"), pause: time.Second},
		"a younger one, and its own was lost":            {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(at(100.1, "g"))}, now: 100.2, want: Wait, other: at(100.1, "g"), pause: time.Second},
		"one that a link began":                          {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{started(at(99, "")), announced(mine)}, now: 100, want: GoToLogto},
		"one that began more than 15 seconds before":     {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{started(at(84.9, "g")), announced(mine)}, now: 100, want: GoToLogto},
		"one that began 15 seconds before":               {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{started(at(85, "g")), announced(mine)}, now: 100, want: Wait, other: at(85, "g"), pause: 5 * time.Second},
		"one that was announced and did not come":        {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(at(85, "g")), announced(mine)}, now: 100, want: GoToLogto},
		"one from another site":                          {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{started(at(99, "gx")), announced(mine)}, now: 100, want: GoToLogto},
		"both from another site":                         {start: Start{Step: Announced, Attempt: fromElsewhere}, pending: []Pending{started(at(99, "gx")), announced(fromElsewhere)}, now: 100, want: Wait, other: at(99, "gx"), pause: time.Second},
		"from another site, and one that is not":         {start: Start{Step: Announced, Attempt: fromElsewhere}, pending: []Pending{started(at(99, "g")), announced(fromElsewhere)}, now: 100, want: Wait, other: at(99, "g"), pause: time.Second},
		"one from the future":                            {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(mine), started(at(161, "g"))}, now: 100, want: GoToLogto},
		"a page that was restored":                       {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(mine)}, now: 160, want: Announce},
		"one of a clock that is ahead":                   {start: Start{Step: Announced, Attempt: mine}, pending: []Pending{announced(mine), started(at(160, "g"))}, now: 100, want: Wait, other: at(160, "g"), pause: time.Second},
		"it waits, and the other one is there":           {start: Start{Step: Waits, Attempt: mine}, pending: []Pending{started(mine)}, now: 112, want: Wait, other: mine, pause: 4 * time.Second},
		"it waits for long":                              {start: Start{Step: Waits, Attempt: mine}, pending: []Pending{started(mine)}, now: 400, want: Wait, other: mine, pause: 10 * time.Second},
		"it waits, and the other one is gone":            {start: Start{Step: Waits, Attempt: mine}, pending: []Pending{started(at(101, "g"))}, now: 112, want: Announce},
		"it waits, and the other one is ten minutes old": {start: Start{Step: Waits, Attempt: mine}, pending: []Pending{started(mine)}, now: 700, want: Announce},
		"it waits for one that does not come":            {start: Start{Step: Waits, Attempt: mine}, pending: []Pending{announced(mine)}, now: 115, want: Announce},
	} {
		slices.SortFunc(test.pending, func(one, other Pending) int { return one.ID.Compare(other.ID) })
		now := at(test.now, "").Time()
		turn := test.start.next(attemptsOf(t, now, nil).awaited(test.pending), now)
		// IDs of the same time differ by what is random.
		isOther := turn.Attempt.Time().Equal(test.other.Time()) || test.other == ID{}
		if turn.Move != test.want || !isOther || turn.Pause != test.pause {
			t.Errorf("%s: got move %d for %v, pause %v, want move %d for %v, pause %v",
				name, turn.Move, turn.Attempt.Time(), turn.Pause, test.want, test.other.Time(), test.pause)
		}
	}
}

// However the cookies of two tabs arrive, at most one tab goes to Logto, and one does after a while.
func TestTwoTabsNeverGoToLogtoTogether(t *testing.T) {
	t.Parallel()
	now := at(100.2, "").Time()
	one, two := at(100, "g"), at(100.1, "g")
	for name, seen := range map[string]struct{ byOne, byTwo bool }{
		"both see both": {true, true}, "the older one sees both": {true, false}, "the younger one sees both": {false, true},
	} {
		jar := map[ID]bool{one: false, two: false} // whether they are at Logto
		ask := func(start Start, seesOther bool) Turn {
			var pending []Pending
			for _, id := range []ID{one, two} {
				if isStarted, ok := jar[id]; ok && (id == start.Attempt || seesOther) {
					pending = append(pending, Pending{id, isStarted})
				}
			}
			return start.next(pending, now)
		}
		// Both requests have left before either answer arrives.
		first, second := ask(Start{Step: Announced, Attempt: one}, seen.byOne), ask(Start{Step: Announced, Attempt: two}, seen.byTwo)
		apply := func(id ID, turn Turn) {
			switch turn.Move {
			case GoToLogto:
				jar[id] = true
			case Wait:
				delete(jar, id)
			}
		}
		apply(one, first)
		apply(two, second)
		if first.Move == WaitOnce {
			apply(one, ask(Start{Step: GaveWay, Attempt: one}, true))
		}
		if jar[one] == jar[two] {
			t.Errorf("%s: got %v at Logto, want one of them", name, jar)
		}
	}
}

func TestAnIDTellsWhenAndByWhomAnAttemptBegan(t *testing.T) {
	t.Parallel()
	moment := time.Date(2026, 11, 28, 12, 0, 0, 123_456_789, time.UTC)
	for _, isByGuard := range []bool{false, true} {
		for _, isCrossSite := range []bool{false, true} {
			id := NewID(moment, isByGuard, isCrossSite)
			again, ok := parseID(id.String())
			if !ok || again != id || len(id.String()) != 12 || !id.Time().Equal(moment.Truncate(time.Microsecond)) || id.IsByGuard() != isByGuard || id.IsCrossSite() != isCrossSite {
				t.Errorf("%v, %v: got %v of %v", isByGuard, isCrossSite, id, id.Time())
			}
		}
	}
	ids := map[ID]bool{}
	for i := range 1000 { // in one microsecond, of 2 to the power of 18
		ids[NewID(moment, true, false)] = true
		if earlier := NewID(moment.Add(-time.Duration(i+1)*time.Microsecond), true, true); earlier.Compare(NewID(moment, false, false)) >= 0 {
			t.Errorf("%d microseconds earlier: it sorts behind", i+1)
		}
	}
	if len(ids) < 980 {
		t.Errorf("%d different IDs of 1000", len(ids))
	}
	for _, text := range []string{"", "AAAAAAAAAAA", "AAAAAAAAAAAAA", "AAAAAAAAAAA=", "AAAAAAAAAAA/", "AAAAAAAAAAA\n"} {
		if _, ok := parseID(text); ok {
			t.Errorf("%q is an ID", text)
		}
	}
}
