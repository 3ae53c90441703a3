package bench_test

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/integration/documents"
)

// Without -write the comparison is made in a very short form, to see that it works.
var (
	write  = flag.String("write", "", "the document whose tables are to be written anew")
	rounds = flag.Int("rounds", 5, "how often each row of a written table is measured; the median counts")
	tokens = flag.Int("tokens", 1_000_000, "how many different tokens are sent to see what of them stays in memory")
)

func TestMain(m *testing.M) {
	flag.Parse()
	gin.SetMode(gin.ReleaseMode)
	if *write == "" {
		*rounds, *tokens = 1, 2000
	}
	duration := map[bool]string{true: "10x", false: "300ms"}[*write == ""]
	if err := flag.Set("test.benchtime", duration); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// several is so many sessions or tokens that none is remembered until it comes again.
func several() int {
	if *write == "" {
		return 20
	}
	return 16 << 10
}

// discard keeps nothing but the header and the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

func (c *contestant) serve(w *discard, header http.Header) {
	c.router.ServeHTTP(w, c.request(header))
}

// row is what a request costs.
type row struct {
	name        string
	nanoseconds float64
	allocations float64
}

// measure measures all of them in turn, so that what else the machine does hits all alike.
func measure(contestants []*contestant) (rows []row) {
	times := make([][]float64, len(contestants))
	for _, c := range contestants {
		rows = append(rows, row{name: c.name, allocations: math.Inf(1)})
	}
	for range *rounds {
		for i, c := range contestants {
			result := testing.Benchmark(func(b *testing.B) {
				b.ReportAllocs()
				for range b.N {
					c.serve(&discard{header: http.Header{}}, c.next())
				}
			})
			times[i] = append(times[i], float64(result.T.Nanoseconds())/float64(result.N))
			rows[i].allocations = min(rows[i].allocations, float64(result.AllocsPerOp()))
		}
	}
	for i := range rows {
		slices.Sort(times[i])
		rows[i].nanoseconds = times[i][len(times[i])/2]
	}
	return rows
}

// All do the same work: they let the good request through and not the bad one.
func checkThatTheyGuard(t *testing.T, contestants []*contestant) {
	t.Helper()
	for _, c := range contestants {
		w := httptest.NewRecorder()
		if c.router.ServeHTTP(w, c.request(c.next())); w.Code != http.StatusOK {
			t.Errorf("%s: a good request gets %d %s", c.name, w.Code, w.Body)
		}
		if c.bad == nil {
			continue
		}
		w = httptest.NewRecorder()
		if c.router.ServeHTTP(w, c.request(c.bad)); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: a bad request gets %d", c.name, w.Code)
		}
	}
}

func TestComparison(t *testing.T) {
	sessionGuards := append([]*contestant{noGuard()}, pages(t, several())...)
	es256, es384 := newSigner(t, "ES256"), newSigner(t, "ES384")
	byES256, byES384 := apis(t, es256, several()), apis(t, es384, several())
	for _, contestants := range [][]*contestant{sessionGuards, byES256, byES384} {
		checkThatTheyGuard(t, contestants)
	}
	var tables []string
	tables = append(tables, table("A guarded page", measure(sessionGuards), "logtogin, cookies"))
	tables = append(tables, table("An API, tokens signed by ES256", measure(byES256), "the signature alone (crypto/ecdsa)"))
	tables = append(tables, table("An API, tokens signed by ES384, as by a new Logto", measure(byES384), "the signature alone (crypto/ecdsa)"))
	tables = append(tables, throughput(t, sessionGuards[1], byES256[0], byES256[1]))
	tables = append(tables, memory(t, es256))
	for _, text := range tables {
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("not measured:\n%s", text)
		}
	}
	if *write != "" {
		documents.Write(t, *write, "bench", strings.Join(tables, "\n"))
	}
}

func table(title string, rows []row, unit string) string {
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.nanoseconds, b.nanoseconds) })
	one := rows[slices.IndexFunc(rows, func(r row) bool { return r.name == unit })].nanoseconds
	var text strings.Builder
	fmt.Fprintf(&text, "### %s\n\n| | µs | allocations | ratio |\n| --- | ---: | ---: | ---: |\n", title)
	for _, r := range rows {
		fmt.Fprintf(&text, "| %s | %.2f | %.0f | %.2f |\n", r.name, r.nanoseconds/1000, r.allocations, r.nanoseconds/one)
	}
	return text.String()
}

// throughput is how many requests so many goroutines get through at the same time.
func throughput(t *testing.T, contestants ...*contestant) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("### Requests in a second\n\n| | 1 goroutine | 2 | 4 |\n| --- | ---: | ---: | ---: |\n")
	for _, c := range contestants {
		fmt.Fprintf(&text, "| %s |", c.name)
		headers := make([]http.Header, several())
		for i := range headers {
			headers[i] = c.next()
		}
		for _, goroutines := range []int{1, 2, 4} {
			result := testing.Benchmark(func(b *testing.B) {
				var all sync.WaitGroup
				for g := range goroutines {
					all.Go(func() {
						for i := g; i < b.N; i += goroutines {
							c.serve(&discard{header: http.Header{}}, headers[i%len(headers)])
						}
					})
				}
				all.Wait()
			})
			fmt.Fprintf(&text, " %.0f |", float64(result.N)/result.T.Seconds())
		}
		text.WriteString("\n")
	}
	return text.String()
}

// memory is what stays of tokens that come once each.
func memory(t *testing.T, s *signer) string {
	t.Helper()
	c := &contestant{router: behind(logtoginBearer(t, s))}
	var text strings.Builder
	text.WriteString("### Memory after so many different tokens\n\n| tokens | heap in use, MiB |\n| ---: | ---: |\n")
	w := &discard{header: http.Header{}}
	sent := 0
	for _, until := range []int{*tokens / 1000, *tokens / 100, *tokens / 10, *tokens} {
		for ; sent < until; sent++ {
			clear(w.header)
			w.status = 0
			if c.serve(w, bearer(s.token(t))); w.status != http.StatusOK {
				t.Fatalf("token %d gets %d", sent, w.status)
			}
		}
		fmt.Fprintf(&text, "| %d | %.1f |\n", sent, float64(heap())/(1<<20))
	}
	return text.String()
}

func heap() uint64 {
	for range 2 {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
