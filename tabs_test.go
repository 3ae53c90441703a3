package logtogin_test

import (
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// tabbedBrowser is a browser that opens several pages at once, in simulated time: each message takes
// its while, answers are handled one by one, and a page is asked for with the cookies that have arrived
// by then. Nothing in it waits.
type tabbedBrowser struct {
	t        *testing.T
	clock    *clock
	random   *rand.Rand
	jar      http.CookieJar
	network  *http.Transport
	logto    string
	app      *url.URL
	servers  []*application // of one application, which take turns
	toServer time.Duration  // one way
	slots    int            // connections to the application at a time, 0 for any number
	limit    int            // of our cookies in a request, with which a proxy answers 400; 0 for none
	user     logtotest.User
	typing   time.Duration // until the user has filled in the form
	patience time.Duration // of the user

	tabs      []*tab
	pending   eventQueue
	waiting   []func() // for a connection
	busy      int
	served    int
	forms     int
	signedIn  time.Time // when the user has sent the form
	largest   int       // of our cookies together, after any response
	numbering int

	revoked     chan struct{} // a refresh token was revoked at Logto
	revocations int
}

// tab is one of them.
type tab struct {
	wants   string
	shows   string // the page in which it has come to rest
	arrived time.Time
	visits  []string
}

func (own *tab) hasArrived() bool { return own.shows == "page "+own.wants }

type event struct {
	at     time.Time
	number int
	run    func()
}

type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), cmp.Compare(q[i].number, q[j].number)) < 0
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *eventQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (b *tabbedBrowser) after(d time.Duration, run func()) {
	b.numbering++
	heap.Push(&b.pending, event{b.clock.Now().Add(d), b.numbering, run})
}

// jitter is how long a message takes that usually takes that long.
func (b *tabbedBrowser) jitter(usual time.Duration) time.Duration {
	return usual + time.Duration(b.random.Int64N(int64(usual/10)+int64(time.Millisecond)))
}

// open opens pages at the same moment, lets time pass until all tabs are at rest, and returns them.
func (b *tabbedBrowser) open(pages ...string) []*tab {
	b.t.Helper()
	b.tabs, b.forms, b.signedIn, b.busy, b.waiting = nil, 0, time.Time{}, 0, nil
	for _, page := range pages {
		opened := &tab{wants: page}
		b.tabs = append(b.tabs, opened)
		b.after(b.jitter(0), func() { b.visit(opened, http.MethodGet, b.app.String()+page, nil) })
	}
	for end := b.clock.Now().Add(b.patience); b.pending.Len() > 0; {
		next := heap.Pop(&b.pending).(event)
		if next.at.After(end) {
			b.pending = nil
			break
		}
		b.clock.advance(next.at.Sub(b.clock.Now()))
		next.run()
	}
	return b.tabs
}

// visit asks for an address with the cookies of now.
func (b *tabbedBrowser) visit(own *tab, method, address string, form url.Values) {
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	own.visits = append(own.visits, fmt.Sprintf("%s %s %s", b.clock.Now().Format("05.000"), method, address))
	cookies := b.jar.Cookies(u)
	isOurs := u.Host == b.app.Host
	send := func() {
		delay := 5 * time.Millisecond
		if isOurs {
			delay = b.toServer
		}
		b.after(b.jitter(delay), func() {
			answer := b.ask(method, u, cookies, form)
			b.after(b.jitter(delay), func() {
				if isOurs {
					b.release()
				}
				b.handle(own, u, answer)
			})
		})
	}
	if !isOurs || b.slots == 0 || b.busy < b.slots {
		if isOurs {
			b.busy++
		}
		send()
		return
	}
	b.waiting = append(b.waiting, func() { b.busy++; send() })
}

func (b *tabbedBrowser) release() {
	b.busy--
	if len(b.waiting) > 0 {
		next := b.waiting[0]
		b.waiting = b.waiting[1:]
		next()
	}
}

// ask makes the request for real.
func (b *tabbedBrowser) ask(method string, u *url.URL, cookies []*http.Cookie, form url.Values) page {
	target := *u
	if u.Host == b.app.Host {
		if size := len(header(ours(cookies)...)); b.limit > 0 && size > b.limit {
			return page{http.StatusBadRequest, http.Header{}, u, "<title>Request Header Or Cookie Too Large</title>"}
		}
		target.Host = strings.TrimPrefix(b.servers[b.served%len(b.servers)].url, "http://")
		b.served++
	}
	r, err := http.NewRequest(method, target.String(), strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"none"}}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, cookie := range cookies {
		r.AddCookie(cookie)
	}
	response, err := b.network.RoundTrip(r)
	answer := readPage(b.t, response, err)
	answer.url = u // the address in the browser, not of the instance
	// What the application does in the background takes no simulated time.
	revocations := 0
	for _, server := range b.servers {
		revocations += strings.Count(server.log.String(), "because it was revoked")
	}
	for ; b.revocations < revocations; b.revocations++ {
		<-b.revoked
	}
	return answer
}

var metaRefresh = regexp.MustCompile(`<meta http-equiv="refresh" content="(\d+); url=([^"]*)">`)

// handle does what a browser does with an answer.
func (b *tabbedBrowser) handle(own *tab, u *url.URL, answer page) {
	b.jar.SetCookies(u, (&http.Response{Header: answer.header}).Cookies())
	b.largest = max(b.largest, cookieBytes(ours(b.jar.Cookies(b.app))))
	follow := func(delay time.Duration, method, target string, form url.Values) {
		next, err := u.Parse(target)
		if err != nil {
			b.t.Fatal(err)
		}
		b.after(delay, func() { b.visit(own, method, next.String(), form) })
	}
	refresh := metaRefresh.FindStringSubmatch(answer.body)
	switch {
	case answer.status >= 300 && answer.status < 400:
		// Between the cookies of an answer and the next request, other answers may be handled.
		follow(time.Duration(b.random.Int64N(int64(2*time.Millisecond))), http.MethodGet, answer.header.Get("Location"), nil)
	case refresh != nil:
		seconds, _ := strconv.Atoi(refresh[1])
		follow(time.Duration(seconds)*time.Second, http.MethodGet, html.UnescapeString(refresh[2]), nil)
	case strings.Contains(answer.body, `name="password"`):
		b.forms++
		if b.forms == 1 {
			action := html.UnescapeString(formAction.FindStringSubmatch(answer.body)[1])
			follow(b.typing, http.MethodPost, action, url.Values{"username": {b.user.Username}, "password": {b.user.Password}})
			b.after(b.typing, func() { b.signedIn = b.clock.Now() })
			return
		}
		own.shows = "Logto's form"
	default:
		own.shows, own.arrived = answer.body, b.clock.Now()
		if !strings.HasPrefix(answer.body, "page ") {
			title := regexp.MustCompile(`<title>(.*)</title>`).FindStringSubmatch(answer.body)
			own.shows = fmt.Sprintf("%d at %s: %.60s %s", answer.status, u.Path, answer.body, title)
		}
	}
}

// reopen forgets cookies, as a browser does that was closed for long.
func (b *tabbedBrowser) reopen(keep func(*http.Cookie) bool) {
	b.t.Helper()
	kept := slices.DeleteFunc(b.jar.Cookies(b.app), func(cookie *http.Cookie) bool { return !keep(cookie) })
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, cookie := range kept {
		cookie.Path = "/"
	}
	jar.SetCookies(b.app, kept)
	b.jar = jar
}

// situation is one in which a browser opens its tabs.
type situation struct {
	tabs           int
	isLogtoAlive   bool
	ourSession     string // "expired", "revoked" or "none"
	inStore        bool
	isLarge        bool
	instances      int
	isHTTP2        bool
	clockDeviation time.Duration
}

func (s situation) String() string {
	place, size, protocol, alive := "cookies", "small", "HTTP/1.1", "Logto's session has ended"
	if s.inStore {
		place = "a store"
	}
	if s.isLarge {
		size = "large"
	}
	if s.isHTTP2 {
		protocol = "HTTP/2"
	}
	if s.isLogtoAlive {
		alive = "Logto's session lives"
	}
	return fmt.Sprintf("%d tabs, %s, our session %s, %s, %s, %d instances, %s", s.tabs, alive, s.ourSession, place, size, s.instances, protocol)
}

// newTabbedBrowser starts the application of a situation and a browser that has been there before.
func newTabbedBrowser(t *testing.T, s situation, seed uint64) *tabbedBrowser {
	t.Helper()
	logto := logtotest.NewServer(t)
	now := newClock()
	logto.SetNow(now.Now)
	if s.isLarge {
		logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["custom_data"] = strings.Repeat("d", 3_800) })
	}
	b := &tabbedBrowser{
		t: t, clock: now, random: rand.New(rand.NewPCG(seed, 0)), logto: logto.Endpoint(),
		network: &http.Transport{}, toServer: 100 * time.Millisecond, user: logto.AddUser(logtotest.User{Username: "tabby", Password: "tabby-password"}), typing: 7 * time.Second, patience: 15 * time.Minute,
	}
	t.Cleanup(b.network.CloseIdleConnections)
	if !s.isHTTP2 {
		b.slots = 6
	}
	b.revoked = make(chan struct{}, 100)
	logto.Intercept(logtotest.Revocation, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		b.revoked <- struct{}{}
	})
	state, store := newCommonState(), newServerStore()
	for i := range s.instances {
		app := newApplication(t, logto, func(cfg *logtogin.Config) {
			cfg.Now = func() time.Time { return now.Now().Add(time.Duration(i) * s.clockDeviation) }
			cfg.IdleTimeout = time.Hour
			cfg.Secrets = []string{strings.Repeat("s", 32)}
			if s.instances > 1 {
				cfg.SharedState = state
			}
			if s.inStore {
				cfg.Store = store
			}
			if i > 0 {
				cfg.BaseURL = b.app.String()
			}
		})
		app.router.GET("/pages/:page", app.auth.Guard(), func(c *gin.Context) { c.String(http.StatusOK, "page "+c.Request.URL.RequestURI()) })
		app.router.GET("/confirmed/:page", app.auth.Guard(logtogin.MaxAge(5*time.Minute)), func(c *gin.Context) {
			c.String(http.StatusOK, "page "+c.Request.URL.RequestURI())
		})
		b.servers = append(b.servers, app)
		if i == 0 {
			var err error
			if b.app, err = url.Parse(app.url); err != nil {
				t.Fatal(err)
			}
		}
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.jar = jar
	if first := b.open("/pages/first"); !first[0].hasArrived() {
		t.Fatalf("the first sign-in: %+v", first[0])
	}
	b.largest = 0
	switch s.ourSession {
	case "expired":
		now.advance(2 * time.Hour)
	case "revoked":
		now.advance(5 * time.Minute)
		if err := b.servers[0].auth.RevokeUser(t.Context(), b.user.ID); err != nil {
			t.Fatal(err)
		}
		now.advance(5 * time.Minute)
	}
	b.reopen(func(cookie *http.Cookie) bool {
		if strings.HasPrefix(cookie.Name, "logtogin_") {
			return s.ourSession != "none"
		}
		return s.isLogtoAlive
	})
	return b
}

func pagesOf(count int) (pages []string) {
	for i := range count {
		pages = append(pages, fmt.Sprintf("/pages/%d?q=%s", i, strings.Repeat("x", i)))
	}
	return pages
}

// situations are all of them, or with the race detector, which takes six times as long, every seventh.
func situations() (all []situation) {
	for _, tabs := range []int{2, 6, 12, 40} {
		for _, isLogtoAlive := range []bool{true, false} {
			for _, ourSession := range []string{"expired", "revoked", "none"} {
				for variant := range 16 {
					s := situation{
						tabs: tabs, isLogtoAlive: isLogtoAlive, ourSession: ourSession,
						inStore: variant&1 != 0, isLarge: variant&2 != 0, isHTTP2: variant&4 != 0, instances: 1,
					}
					if variant&8 != 0 {
						s.instances, s.clockDeviation = 2, 300*time.Millisecond
					}
					all = append(all, s)
				}
			}
		}
	}
	if !isRace {
		return all
	}
	var some []situation
	for i := 0; i < len(all); i += 7 {
		some = append(some, all[i])
	}
	return some
}

var writeTabs = flag.String("write-tabs", "", "the document whose table is to be written anew by TestAllTabsArriveAfterOneSignIn")

// tabResult is what becomes of the tabs in all situations of one kind.
type tabResult struct {
	tabs, arrived, forms, largest int
	seconds                       time.Duration
}

// A browser that comes back with its tabs asks for all of them at once, and all arrive, whatever there
// was before.
func TestAllTabsArriveAfterOneSignIn(t *testing.T) {
	results := map[string]*tabResult{}
	var mu sync.Mutex
	t.Run("in simulated time", func(t *testing.T) {
		for number, s := range situations() {
			t.Run(s.String(), func(t *testing.T) {
				t.Parallel()
				got := tryTabs(t, s, uint64(number))
				mu.Lock()
				defer mu.Unlock()
				key := fmt.Sprintf("| %d | %s | %s |", s.tabs, map[bool]string{true: "lives", false: "has ended"}[s.isLogtoAlive], s.ourSession)
				row := results[key]
				if row == nil {
					row = &tabResult{}
					results[key] = row
				}
				row.tabs, row.arrived = row.tabs+got.tabs, row.arrived+got.arrived
				row.forms, row.largest, row.seconds = max(row.forms, got.forms), max(row.largest, got.largest), max(row.seconds, got.seconds)
			})
		}
	})
	var rows []string
	for key, row := range results {
		rows = append(rows, fmt.Sprintf("%s %d of %d | %d | %.1f | %d |", key, row.arrived, row.tabs, row.forms, row.seconds.Seconds(), row.largest))
	}
	slices.SortFunc(rows, func(one, other string) int {
		var first, second int
		_, _ = fmt.Sscanf(one, "| %d", &first)
		_, _ = fmt.Sscanf(other, "| %d", &second)
		return cmp.Or(cmp.Compare(first, second), cmp.Compare(one, other))
	})
	t.Log(strings.Join(rows, "\n"))
	if *writeTabs == "" {
		return
	}
	raw, err := os.ReadFile(*writeTabs)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(raw), "| --- | --- | --- | ---: | ---: | ---: | ---: |\n")
	rest := after
	for strings.HasPrefix(rest, "|") {
		_, rest, _ = strings.Cut(rest, "\n")
	}
	if !ok || isRace {
		t.Fatalf("%s has no table for the results, or the race detector is on", *writeTabs)
	}
	table := before + "| --- | --- | --- | ---: | ---: | ---: | ---: |\n" + strings.Join(rows, "\n") + "\n" + rest
	if err := os.WriteFile(*writeTabs, []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tryTabs opens the tabs of a situation, and then one more, twice.
func tryTabs(t *testing.T, s situation, seed uint64) (got tabResult) {
	b := newTabbedBrowser(t, s, seed)
	start := b.clock.Now()
	opened := b.open(pagesOf(s.tabs)...)
	if !b.signedIn.IsZero() {
		start = b.signedIn
	}
	for _, own := range opened {
		got.tabs++
		if !own.hasArrived() {
			t.Errorf("a tab shows %q after\n\t%s\n%s", own.shows, strings.Join(own.visits, "\n\t"), b.servers[0].log)
			continue
		}
		got.arrived++
		got.seconds = max(got.seconds, own.arrived.Sub(start))
	}
	got.forms, got.largest = b.forms, b.largest
	if want := map[bool]int{true: 0, false: 1}[s.isLogtoAlive]; b.forms != want {
		t.Errorf("got %d forms, want %d", b.forms, want)
	}
	// What is at Logto is whole: later sign-ins are silent.
	for range 2 {
		b.reopen(func(cookie *http.Cookie) bool { return !strings.HasPrefix(cookie.Name, "logtogin_") })
		if again := b.open("/pages/again"); !again[0].hasArrived() || b.forms > 0 {
			t.Errorf("a later sign-in shows %q and %d forms", again[0].shows, b.forms)
		}
	}
	return got
}
