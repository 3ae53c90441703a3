package faults_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// The bounds of the package, from which those of requests follow.
const (
	callToLogto     = 10 * time.Second // logto.RequestTimeout
	callToRevoke    = 2 * time.Second  // logto.RevocationTimeout
	pageForLogto    = 2 * time.Second  // revalidationPatience
	lockOfAnother   = 2 * time.Second  // lockPatience
	callToStore     = 3 * time.Second  // Config.StoreTimeout
	sharedState     = time.Second      // stateTimeout, after which it is left alone, and once more after that
	revocationsRead = 5 * time.Second  // othersPatience, for the first request; revocationsPatience, 1 s, for later ones

	// margin is for a machine that is busy with the load itself.
	margin = 2 * time.Second
)

// bounds are the longest that a request of a kind may wait. Sessions in a store are read
// once by each request; a refresh reads and writes them once more. A request for a token may
// have to wait for a refresh for another one, and then for its own lock.
func bounds(inStore bool) map[string]time.Duration {
	store := map[bool]time.Duration{true: callToStore}[inStore]
	refresh := lockOfAnother + callToLogto + sharedState + 2*store
	return map[string]time.Duration{
		aPage:     store + revocationsRead + pageForLogto,
		aToken:    store + revocationsRead + refresh + lockOfAnother,
		aSignIn:   callToLogto,
		aCallback: 3*callToLogto + sharedState + 2*store, // discovery, tokens, keys
		aSignOut:  2*store + revocationsRead + sharedState + callToRevoke,
	}
}

// recoveryGoal is when, after the end of a fault, the first second without an error begins
// at the latest.
const recoveryGoal = 2 * time.Second

// result is what users saw of a fault.
type result struct {
	fault     string
	requests  []request
	lost      []string
	recovered time.Duration // negative: not at all
}

// quietAfter is when the first second without an error begins that has a good answer. ok is
// false as long as there has been none by now.
func quietAfter(requests []request, end, now time.Time) (quiet time.Time, ok bool) {
	requests = slices.Clone(requests)
	slices.SortFunc(requests, func(a, b request) int { return a.ended.Compare(b.ended) })
	quiet, good := end, 0
	for _, r := range requests {
		isOver := r.ended.After(quiet.Add(time.Second))
		switch {
		case r.ended.Before(quiet):
		case isOver && good > 0:
			return quiet, true
		case r.failure != "":
			quiet, good = r.ended, 0
		case isOver: // of a second in which nothing was answered
			quiet, good = r.ended, 1
		default:
			good++
		}
	}
	return quiet, good > 0 && now.After(quiet.Add(time.Second))
}

func (r result) longest(kinds ...string) (longest time.Duration) {
	for _, request := range r.requests {
		if slices.Contains(kinds, request.kind) {
			longest = max(longest, request.ended.Sub(request.began))
		}
	}
	return longest
}

// failures counts the requests of these kinds that failed; without kinds, of all.
func failures(requests []request, kinds ...string) (count int) {
	for _, r := range requests {
		if r.failure != "" && (len(kinds) == 0 || slices.Contains(kinds, r.kind)) {
			count++
		}
	}
	return count
}

// lossesAtMost is how many sessions may be lost to one fault, or to all the kills: those after
// which nobody has come in time.
func lossesAtMost(why string) int {
	switch why {
	case killedReason:
		return pick(2, 5)
	case lostReason, lateReason:
		return crowdSize / 2
	}
	return 0
}

// missed are the goals that were not reached.
func (r result) missed(inStore bool, until time.Duration) (missed []string) {
	for why, count := range counts(r.lost) {
		if count > lossesAtMost(why) {
			missed = append(missed, fmt.Sprintf("%d sessions were lost: %s", count, why))
		}
	}
	for kind, bound := range bounds(inStore) {
		if longest := r.longest(kind); longest > bound+margin {
			missed = append(missed, fmt.Sprintf("a %s took %v, and its bound is %v", kind, longest, bound))
		}
	}
	switch {
	case r.recovered < 0:
		missed = append(missed, "there was no second without an error any more")
	case r.recovered > until:
		missed = append(missed, fmt.Sprintf("the first second without an error began after %v", r.recovered))
	}
	return missed
}

func counts(texts []string) map[string]int {
	counted := map[string]int{}
	for _, text := range texts {
		counted[text]++
	}
	return counted
}

// list is like "12 of this, 3 of that", the most first.
func list(counted map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counted), func(a, b string) int {
		return cmp.Or(counted[b]-counted[a], strings.Compare(a, b))
	})
	var texts []string
	for _, name := range names {
		texts = append(texts, fmt.Sprintf("%d %s", counted[name], name))
	}
	return cmp.Or(strings.Join(texts, "; "), "none")
}

func (r result) row() string {
	var answers, failures []string
	for _, request := range r.requests {
		answers = append(answers, map[bool]string{true: "without answer", false: "× " + fmt.Sprint(request.status)}[request.status == 0])
		if request.failure != "" {
			failures = append(failures, request.kind+": "+request.failure)
		}
	}
	return fmt.Sprintf("| %s | %d | %s | %s | %s | %s | %s | %s | %s |\n", r.fault, len(r.requests), list(counts(answers)), list(counts(failures)),
		list(counts(r.lost)), seconds(r.longest(aPage)), seconds(r.longest(aToken)), seconds(r.longest(aSignIn, aCallback, aSignOut)), seconds(r.recovered))
}

func seconds(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}

func table(title string, results []result) string {
	var text strings.Builder
	fmt.Fprintf(&text, "### %s\n\n", title)
	text.WriteString("| fault | requests | answers | errors | sessions lost | longest page, s | longest token, s | longest sign-in or sign-out, s | recovered after, s |\n")
	text.WriteString("| --- | ---: | --- | --- | --- | ---: | ---: | ---: | ---: |\n")
	for _, r := range results {
		text.WriteString(r.row())
	}
	return text.String()
}

func TestASecondWithoutAnErrorIsFound(t *testing.T) {
	t.Parallel()
	end := time.Now()
	at := func(seconds float64, failure string) request {
		return request{ended: end.Add(time.Duration(seconds * float64(time.Second))), failure: failure}
	}
	for name, test := range map[string]struct {
		requests []request
		after    time.Duration
		ok       bool
	}{
		"at once":                         {[]request{at(-1, "x"), at(0.5, ""), at(1.5, "")}, 0, true},
		"after the last error":            {[]request{at(0.5, ""), at(0.75, "x"), at(1, ""), at(2, "")}, 750 * time.Millisecond, true},
		"after seconds without an answer": {[]request{at(3, ""), at(3.5, ""), at(4.5, "")}, 3 * time.Second, true},
		"before an error that comes late": {[]request{at(0.5, ""), at(3, "x")}, 0, true},
		"never, as errors go on":          {[]request{at(0.5, "x"), at(1.25, "x"), at(2, "x"), at(2.75, "x"), at(4.75, "x")}, 0, false},
		"never, as nothing is answered":   {nil, 0, false},
	} {
		quiet, ok := quietAfter(test.requests, end, end.Add(5*time.Second))
		if ok != test.ok || (ok && quiet.Sub(end) != test.after) {
			t.Errorf("%s: %v after %v", name, ok, quiet.Sub(end))
		}
	}
}
