package session

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func attemptsOf(t *testing.T, now time.Time, change func(*Settings)) *Attempts {
	t.Helper()
	s := SettingsForTests()
	s.Now = func() time.Time { return now }
	if change != nil {
		change(&s)
	}
	attempts, err := newAttempts(s)
	if err != nil {
		t.Fatal(err)
	}
	return attempts
}

func requestWith(cookies ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", strings.Join(cookies, "; "))
	return r
}

var verifier = strings.Repeat("v", verifierLength)

func start(t *testing.T, attempts *Attempts, now time.Time) (started *Attempt, cookie string) {
	t.Helper()
	started = &Attempt{
		ID: NewID(now, true, false), StartedAt: now, RedirectURI: "https://app.example.com/callback", ReturnTo: "/wanted?x=1",
		MaxAge: time.Minute, NeedsOwnSession: true, Verifier: verifier, Before: Before{time.UnixMilli(1_799_999_999_123), 1 << 63},
	}
	header := http.Header{}
	attempts.start(requestWith(), header, started)
	pair, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	return started, pair
}

func TestAnAttemptNeedsItsStateAndItsCookie(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 123_000_000)
	attempts := attemptsOf(t, now, nil)
	started, cookie := start(t, attempts, now)
	if size := len(cookie) + len("; "); size != maxAttemptCookie || maxAttemptCookie != 90 {
		t.Errorf("the cookie takes %d bytes", size)
	}
	if size := len(started.State); size > 205+len("/wanted?x=1")*4/3 {
		t.Errorf("the state has %d characters", size)
	}
	opened, err := attempts.Open(started.State)
	if err != nil || opened.Verifier != "" {
		t.Fatalf("got %+v, %v", opened, err)
	}
	for what, planted := range map[string]string{
		"nothing": "", "another verifier": attempts.nameOf(started.ID) + "=" + strings.Repeat("w", verifierLength),
		"a cut one": cookie[:len(cookie)-1], "a longer one": cookie + "v", "another name": strings.Replace(cookie, name, "other", 1),
		"an announced one": attempts.nameOf(started.ID) + "=" + announced,
	} {
		if attempts.VerifierOf(requestWith(planted), opened) != "" {
			t.Errorf("%s is taken for the attempt's", what)
		}
	}
	for what, cookies := range map[string][]string{
		"alone": {cookie}, "behind a planted one": {attempts.nameOf(started.ID) + "=x", cookie}, "before a planted one": {cookie, attempts.nameOf(started.ID) + "=x"},
	} {
		found, err := attempts.Open(started.State)
		if err == nil {
			found.Verifier = attempts.VerifierOf(requestWith(cookies...), found)
		}
		if err != nil || *found != *started || found.Nonce() != started.Nonce() {
			t.Errorf("%s: got %+v, %v, want %+v", what, found, err, started)
		}
	}
	if started.Nonce() == (&Attempt{State: started.State}).Nonce() || started.Nonce() == (&Attempt{Verifier: started.Verifier}).Nonce() {
		t.Error("the nonce can be told without the verifier or the state")
	}
	for what, other := range map[string]*Attempts{
		"another secret":      attemptsOf(t, now, func(s *Settings) { s.Secrets = []string{strings.Repeat("o", 32)} }),
		"another origin":      attemptsOf(t, now, func(s *Settings) { s.Origin = "https://other.example.com" }),
		"another application": attemptsOf(t, now, func(s *Settings) { s.Name = "logtogin_87654321" }),
	} {
		if _, err := other.Open(started.State); err == nil {
			t.Errorf("%s opens the state", what)
		}
	}
	rotated := attemptsOf(t, now, func(s *Settings) { s.Secrets = []string{strings.Repeat("n", 32), strings.Repeat("s", 32)} })
	if found, err := rotated.Open(started.State); err != nil || rotated.VerifierOf(requestWith(cookie), found) != started.Verifier {
		t.Errorf("after a rotation of secrets: %v", err)
	}
}

func TestASessionResumesAnAttemptThatBeganBeforeIt(t *testing.T) {
	t.Parallel()
	began := time.Unix(1_800_000_000, 0)
	for what, test := range map[string]struct {
		attempt Attempt
		session time.Duration // after the attempt began
		now     time.Duration
		want    bool
	}{
		"a session that began later":         {Attempt{StartedAt: began}, time.Second, time.Minute, true},
		"by another clock":                   {Attempt{StartedAt: began}, -time.Minute, time.Minute, true},
		"a session that began before":        {Attempt{StartedAt: began}, -61 * time.Second, time.Minute, false},
		"a day later":                        {Attempt{StartedAt: began}, time.Second, 24*time.Hour - 1, true},
		"more than a day later":              {Attempt{StartedAt: began}, time.Second, 24 * time.Hour, false},
		"the session that it is to replace":  {Attempt{StartedAt: began, Before: Before{Start: began.Add(-time.Second)}}, -time.Second, time.Minute, false},
		"the same cookie":                    {Attempt{StartedAt: began, Before: Before{Cookie: 1}}, time.Second, time.Minute, false},
		"a user had to authenticate for one": {Attempt{StartedAt: began, NeedsOwnSession: true}, time.Second, time.Minute, false},
	} {
		if got := test.attempt.ResumesBy(Before{began.Add(test.session), 1}, began.Add(test.now), time.Minute); got != test.want {
			t.Errorf("%s: got %t, want %t", what, got, test.want)
		}
	}
}

func TestASessionIsAnotherIfItsStartAndItsCookieDiffer(t *testing.T) {
	t.Parallel()
	attempts := attemptsOf(t, time.Unix(1_800_000_000, 0), nil)
	cookie := func(value string) uint64 { return attempts.cookieOf(requestWith("x=y", value)) }
	began := time.UnixMilli(1_800_000_000_500)
	for what, test := range map[string]struct {
		before, now Before
		want        bool
	}{
		"there was none":                       {Before{}, Before{began, cookie(name + "=a")}, true},
		"another session":                      {Before{began, cookie(name + "=a")}, Before{began.Add(1e9), cookie(name + "=b")}, true},
		"one that began before":                {Before{began, cookie(name + "=a")}, Before{began.Add(-1e9), cookie(name + "=b")}, true},
		"the same":                             {Before{began, cookie(name + "=a")}, Before{began, cookie(name + "=a")}, false},
		"the same, which was refreshed":        {Before{began, cookie(name + "=a")}, Before{began, cookie(name + "=b")}, false},
		"the same, which could not be opened":  {Before{Cookie: cookie(name + "=a")}, Before{began, cookie(name + "=a")}, false},
		"another one than could not be opened": {Before{Cookie: cookie(name + "=a")}, Before{began, cookie(name + "=b")}, true},
	} {
		if got := test.before.isSucceededBy(test.now); got != test.want {
			t.Errorf("%s: got %t, want %t", what, got, test.want)
		}
		if got := (Start{Step: Insists, Before: test.before}).MayReturnWith(test.now); got {
			t.Errorf("%s: a user who does not want to wait is led back", what)
		}
		for _, step := range []Step{Announced, GaveWay, Waits} {
			for ago, isRecent := range map[time.Duration]bool{-time.Second: true, 59 * time.Second: true, 62 * time.Second: false} {
				start := Start{Step: step, Before: test.before, Attempt: NewID(test.now.Start.Add(ago), true, false)}
				if got := start.MayReturnWith(test.now); got != (test.want && isRecent) {
					t.Errorf("%s, in step %d, %s before the attempt: got %t", what, step, ago, got)
				}
			}
		}
		if (Start{Before: test.before}).MayReturnWith(test.now) {
			t.Errorf("%s: before anything was announced, it leads back", what)
		}
	}
	if none := attempts.cookieOf(requestWith("x=y")); none != 0 {
		t.Errorf("without a cookie: got %d", none)
	}
}

func TestAStartThatIsTooLongIsNotOpened(t *testing.T) {
	t.Parallel()
	if _, ok := attemptsOf(t, time.Unix(1_800_000_000, 0), nil).OpenStart(strings.Repeat("A", 1<<20)); ok {
		t.Error("a parameter of a megabyte is opened")
	}
}

// Who waits and asks again must still be asked for all that the guard wants.
func TestAStartThatGoesOnKeepsWhatTheGuardHasAskedFor(t *testing.T) {
	t.Parallel()
	id := NewID(time.Unix(1_800_000_000, 0), true, false)
	start := Start{Step: Announced, Before: Before{time.UnixMilli(1), 2}, IsCrossSite: true, MaxAge: time.Hour, WantsLogin: true}
	want := start
	want.Step, want.Attempt = Waits, id
	if got := start.With(Waits, id); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAStartComesBackAsItWasSealed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	attempts := attemptsOf(t, now, nil)
	for _, want := range []Start{
		{}, {Step: Announced, Attempt: NewID(now, true, false), MaxAge: time.Hour, WantsLogin: true, IsCrossSite: true, Before: Before{time.UnixMilli(1_799_999_999_123), 7}}, {Step: Insists},
	} {
		sealed := attempts.SealStart(want)
		if got, ok := attempts.OpenStart(sealed); !ok || got != want {
			t.Errorf("got %+v, %t, want %+v", got, ok, want)
		}
		for i := range sealed {
			if _, ok := attempts.OpenStart(sealed[:i] + string(sealed[i]^1) + sealed[i+1:]); ok {
				t.Errorf("changed at %d, it is still good", i)
			}
		}
	}
	started, _ := start(t, attempts, now)
	if _, ok := attempts.OpenStart(started.State); ok {
		t.Error("a state is taken for a start")
	}
	if _, err := attempts.Open(attempts.SealStart(Start{})); err == nil {
		t.Error("a start is taken for a state")
	}
}

func TestUselessAttemptsGiveWayFirst(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	attempts := attemptsOf(t, now, nil)
	cookie := func(ago time.Duration, isCrossSite bool, value string) string {
		return attempts.nameOf(NewID(now.Add(-ago), true, isCrossSite)) + "=" + value
	}
	order := []string{ // in which they go
		cookie(61*time.Minute, false, verifier),
		cookie(61*time.Second, false, announced),
		cookie(-2*time.Minute, false, verifier), // from the future
		cookie(30*time.Minute, true, verifier),
		cookie(time.Minute, true, verifier),
		cookie(10*time.Second, false, announced),
		cookie(20*time.Second, false, announced),
		cookie(50*time.Minute, false, verifier),
		cookie(40*time.Minute, false, verifier),
	}
	for count := range order {
		// A session leaves room for all but so many.
		room := 0
		for _, kept := range order[count:] {
			room += len(kept) + len("; ")
		}
		session := name + "=" + strings.Repeat("x", cookieBudget-room-len(name)-len("=; "))
		header := http.Header{}
		attempts.keepWithinBudget(requestWith(append([]string{session}, order...)...), header)
		var gone []string
		for _, line := range header["Set-Cookie"] {
			deleted, rest, _ := strings.Cut(line, "=")
			if !strings.Contains(rest, "Max-Age=0") {
				t.Errorf("%q is no deletion", line)
			}
			gone = append(gone, deleted)
		}
		if len(gone) != count {
			t.Errorf("%d are deleted, want %d", len(gone), count)
		}
		for i, deleted := range gone {
			if want, _, _ := strings.Cut(order[i], "="); deleted != want {
				t.Errorf("of %d, number %d is %q, want %q", count, i, deleted, want)
			}
		}
	}
}

func TestAResponseDeletesTwentyAttemptsAtMost(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	attempts := attemptsOf(t, now, nil)
	for count, want := range map[int]int{40: 0, 41: 1, 60: 20, 100: 20} {
		var cookies []string
		for i := range count { // at different times, because of the random bits of one there are few
			cookies = append(cookies, attempts.nameOf(NewID(now.Add(time.Duration(i)*time.Microsecond), true, false))+"="+announced)
		}
		header := http.Header{}
		attempts.keepWithinBudget(requestWith(cookies...), header)
		if got := len(header["Set-Cookie"]); got != want {
			t.Errorf("of %d, %d are deleted, want %d", count, got, want)
		}
	}
}
