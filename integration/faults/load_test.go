package faults_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/instances"
)

const (
	// workers is how many users do something at a time.
	workers = 8

	// loadTokenLife lets most of the token pages need a refresh.
	loadTokenLife = time.Minute

	// What an instance may need more at the end than in the middle, or when it has warmed
	// up, and still is called flat.
	moreHeap       = 8 << 20
	moreGoroutines = 200
)

// memories are what the instances use at one time.
type memories struct {
	when string
	of   [2]instances.Memory
}

func measure(t *testing.T, c *instances.Cluster, when string) memories {
	t.Helper()
	m := memories{when: when}
	for i := range m.of {
		response, err := http.Get("http://" + c.Direct(i) + "/test/memory")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(response.Body).Decode(&m.of[i])
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// checkFlat compares what is used at two times.
func checkFlat(t *testing.T, before, after memories) {
	t.Helper()
	for i := range before.of {
		if after.of[i].Heap > before.of[i].Heap+before.of[i].Heap/10+moreHeap {
			t.Errorf("instance %d: the heap grows from %d bytes %s to %d %s", i, before.of[i].Heap, before.when, after.of[i].Heap, after.when)
		}
		if after.of[i].Goroutines > before.of[i].Goroutines+moreGoroutines {
			t.Errorf("instance %d: %d goroutines %s, %d %s", i, before.of[i].Goroutines, before.when, after.of[i].Goroutines, after.when)
		}
	}
}

func memoryTable(measured []memories) string {
	var text strings.Builder
	text.WriteString("| | heap of each instance, MiB | goroutines of each |\n| --- | ---: | ---: |\n")
	for _, m := range measured {
		fmt.Fprintf(&text, "| %s | %.1f, %.1f | %d, %d |\n", m.when,
			float64(m.of[0].Heap)/(1<<20), float64(m.of[1].Heap)/(1<<20), m.of[0].Goroutines, m.of[1].Goroutines)
	}
	return text.String()
}

func latencyTable(requests []request, lasted time.Duration) string {
	var text strings.Builder
	text.WriteString("| | requests | in a second | errors | median, ms | 95 %, ms | 99 %, ms | 99.9 %, ms | longest, ms |\n")
	text.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, kind := range []string{aPage, aToken, aSignIn, aCallback, aSignOut} {
		var took []time.Duration
		failed := 0
		for _, r := range requests {
			if r.kind != kind {
				continue
			}
			took = append(took, r.ended.Sub(r.began))
			if r.failure != "" {
				failed++
			}
		}
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		at := func(part float64) float64 {
			return float64(took[min(len(took)-1, int(part*float64(len(took))))].Microseconds()) / 1000
		}
		fmt.Fprintf(&text, "| %s | %d | %.0f | %d | %.1f | %.1f | %.1f | %.1f | %.1f |\n", kind, len(took), float64(len(took))/lasted.Seconds(),
			failed, at(0.5), at(0.95), at(0.99), at(0.999), at(1))
	}
	return text.String()
}

// work is what users do under a load, one of them at a time in each worker.
func (u *user) work() {
	defer u.watched()()
	if !u.isSignedIn {
		u.signIn()
		return
	}
	lost := false
	switch dice := rand.IntN(1000); {
	case dice < 750:
		lost = u.view()
	case dice < 990:
		lost = u.useToken(instances.Resources[dice%len(instances.Resources)])
	default:
		u.signOut()
		u.signIn()
	}
	if lost {
		u.lose()
	}
}

// workUntil lets workers work until ctx ends. Each has users of its own.
func (c *crowd) workUntil(ctx context.Context) {
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for ctx.Err() == nil {
				c.users[w+workers*rand.IntN(len(c.users)/workers)].work()
			}
		})
	}
	all.Wait()
}

func TestLoad(t *testing.T) {
	if *write == "" {
		t.Parallel()
	}
	var tables []string
	t.Run("sessions in cookies", func(t *testing.T) { tables = append(tables, load(t, "sessions in cookies", false)) })
	t.Run("sessions in Redis", func(t *testing.T) { tables = append(tables, load(t, "sessions in Redis", true)) })
	t.Run("nobody signed in", func(t *testing.T) { tables = append(tables, anonymous(t)) })
	writeTables(t, "load.md", strings.Join(tables, "\n"))
}

// load is what users see while many of them are signed in.
func load(t *testing.T, place string, inStore bool) string {
	users, lasts := pick(200, *loadOf), pick(4*time.Second, *loadFor)
	s := newScene(t, users, loadTokenLife, 0, inStore, false)
	began := time.Now()
	if err := s.crowd.signInAll(workers); err != nil {
		t.Fatal(err)
	}
	signedIn, took := s.crowd.log.Swap(&log{}), time.Since(began)
	measured := []memories{measure(t, s.cluster, "when all have signed in")}
	seen := s.crowd.log.Load()
	for _, when := range []string{"in the middle", "at the end"} {
		ctx, cancel := context.WithTimeout(t.Context(), lasts/2)
		s.crowd.workUntil(ctx)
		cancel()
		s.crowd.transport.CloseIdleConnections()
		measured = append(measured, measure(t, s.cluster, when))
	}
	checkFlat(t, measured[1], measured[2])
	for why, count := range counts(seen.lost) {
		t.Errorf("%d sessions were lost: %s", count, why)
	}
	var failures []string
	for _, r := range append(signedIn.requests, seen.requests...) {
		if r.failure != "" {
			failures = append(failures, r.kind+": "+r.failure)
		}
	}
	if len(failures) > 0 {
		t.Errorf("errors: %s", list(counts(failures)))
	}
	return fmt.Sprintf("### %d users, %s\n\nThe load, %v by %d at a time:\n\n%s\nAll of them signing in before it:\n\n%s\n%s", users, place, lasts, workers,
		latencyTable(seen.requests, lasts), latencyTable(signedIn.requests, took), memoryTable(measured))
}

// anonymous begins sign-ins that nobody goes on with.
func anonymous(t *testing.T) string {
	total := pick(20_000, *visitors)
	s := newScene(t, 1, loadTokenLife, 0, false, false)
	var measured []memories
	began, done := time.Now(), 0
	for _, until := range []int{total / 10, total / 2, total} {
		visit(t, s.cluster, until-done)
		done = until
		measured = append(measured, measure(t, s.cluster, fmt.Sprintf("after %d", done)))
	}
	took := time.Since(began)
	checkFlat(t, measured[0], measured[2])
	return fmt.Sprintf("### Nobody signed in: %d sign-ins that are not gone on with\n\n%.0f in a second.\n\n%s", total, float64(total)/took.Seconds(), memoryTable(measured))
}

// visit sends so many requests to the sign-in route, to both instances, without a cookie.
func visit(t *testing.T, c *instances.Cluster, count int) {
	t.Helper()
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(count))
	for w := range workers {
		all.Go(func() {
			conn, err := net.Dial("tcp", c.Direct(w%2))
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			question := []byte("GET /sign-in HTTP/1.1\r\nHost: " + strings.TrimPrefix(c.URL, "http://") + "\r\nAccept: text/html\r\n\r\n")
			for left.Add(-1) >= 0 {
				if _, err := conn.Write(question); err != nil {
					t.Error(err)
					return
				}
				response, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				if response.StatusCode != http.StatusFound {
					t.Errorf("a sign-in is answered %s", response.Status)
					return
				}
			}
		})
	}
	all.Wait()
}
