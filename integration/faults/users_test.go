package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/instances"
)

// The kinds of requests.
const (
	aPage     = "page"
	aToken    = "token"
	aSignIn   = "sign-in"
	aCallback = "callback"
	aSignOut  = "sign-out"
)

// request is what became of one.
type request struct {
	kind         string
	status       int    // 0 if there was no answer
	failure      string // what kind of error it was, or ""
	began, ended time.Time
}

// log takes what users do. It is safe for concurrent use.
type log struct {
	underWay atomic.Int64

	mu       sync.Mutex
	requests []request
	lost     []string // why, for each session that was lost
}

func (l *log) add(r request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
}

func (l *log) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return failures(l.requests)
}

// crowd are users at one application.
type crowd struct {
	t         *testing.T
	base      string
	provider  *provider
	transport *http.Transport
	log       atomic.Pointer[log]
	users     []*user
}

// user does one thing after the other, apart from opening two tabs at once.
type user struct {
	crowd      *crowd
	id         string
	client     *http.Client // follows no redirect
	isSignedIn bool
	log        *log // of what it is doing
}

func newCrowd(t *testing.T, base string, p *provider, users int) *crowd {
	t.Helper()
	c := &crowd{t: t, base: base, provider: p, transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	t.Cleanup(c.transport.CloseIdleConnections)
	c.log.Store(&log{})
	for i := range users {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		c.users = append(c.users, &user{crowd: c, id: userID(i), client: &http.Client{
			Transport: c.transport, Jar: jar,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}})
	}
	return c
}

// patience is longer than any bound of a request.
const patience = time.Minute

// do makes a request and tells the log of it, if it is one to the application.
func (u *user) do(kind, method, address string, form url.Values) (response *http.Response, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		u.crowd.t.Error(err)
		return nil, ""
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if kind != aToken {
		r.Header.Set("Accept", "text/html")
	}
	began := time.Now()
	response, err = u.client.Do(r)
	if err == nil {
		defer response.Body.Close()
		var read []byte
		read, err = io.ReadAll(response.Body)
		body = string(read)
	}
	if kind == "" {
		return response, body
	}
	done := request{kind: kind, began: began, ended: time.Now()}
	switch {
	case err != nil:
		done.failure, response = failureOf(err), nil
	case response.StatusCode == http.StatusBadGateway && response.Header.Get(instances.ErrorKind) == "":
		done.status, done.failure = response.StatusCode, "the instance has ended"
	default:
		done.status = response.StatusCode
		if done.status >= 400 {
			done.failure = response.Header.Get(instances.ErrorKind)
			if done.failure == "" {
				done.failure = response.Status
			}
		}
	}
	u.log.add(done)
	return response, body
}

func failureOf(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within " + patience.String()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection has ended"
	}
	return err.Error()
}

// lose is called when the application knows nobody any more who has not signed out.
func (u *user) lose() {
	why := u.crowd.provider.reason(u.id)
	if why == "" {
		why = "Logto has refused nothing"
	}
	u.isSignedIn = false
	u.log.mu.Lock()
	defer u.log.mu.Unlock()
	u.log.lost = append(u.log.lost, why)
}

func (u *user) view() (lost bool) {
	response, _ := u.do(aPage, http.MethodGet, u.crowd.base+"/profile", nil)
	return response != nil && response.StatusCode == http.StatusFound
}

func (u *user) useToken(resource string) (lost bool) {
	response, _ := u.do(aToken, http.MethodGet, u.crowd.base+"/token?resource="+url.QueryEscape(resource), nil)
	return response != nil && response.StatusCode == http.StatusUnauthorized
}

// twoTabs shows a page that itself needs a token, in two tabs at once.
func (u *user) twoTabs() (lost bool) {
	var all sync.WaitGroup
	var losses [4]bool
	for i := range losses {
		all.Go(func() {
			if i%2 == 0 {
				losses[i] = u.view()
			} else {
				losses[i] = u.useToken(instances.Resources[0])
			}
		})
	}
	all.Wait()
	return losses != [4]bool{}
}

var formAction = regexp.MustCompile(`<form[^>]*action="([^"]*)"`)

// signIn goes through Logto's pages, if it asks who it is.
func (u *user) signIn() {
	at := u.crowd.base + "/sign-in"
	response, body := u.do(aSignIn, http.MethodGet, at, nil)
	for range 20 {
		if response == nil {
			return
		}
		if response.StatusCode == http.StatusOK { // the form of the sign-in page
			to := at
			if action := formAction.FindStringSubmatch(body); action != nil && action[1] != "" {
				to = resolve(at, strings.ReplaceAll(action[1], "&amp;", "&"))
			}
			response, body = u.do("", http.MethodPost, to, url.Values{"username": {u.id}, "password": {"p"}})
			at = to
			continue
		}
		to := response.Header.Get("Location")
		if response.StatusCode >= 400 || to == "" {
			return
		}
		at = resolve(at, to)
		if strings.HasPrefix(at, u.crowd.base+"/callback") {
			response, _ = u.do(aCallback, http.MethodGet, at, nil)
			u.isSignedIn = response != nil && response.StatusCode < 400
			u.crowd.provider.reason(u.id)
			return
		}
		response, body = u.do("", http.MethodGet, at, nil)
	}
	u.crowd.t.Errorf("%s goes round in circles at %s", u.id, at)
}

func resolve(base, reference string) string {
	from, err := url.Parse(base)
	if err != nil {
		return reference
	}
	to, err := from.Parse(reference)
	if err != nil {
		return reference
	}
	return to.String()
}

// signOut may have ended the session, whatever the answer is. The session at Logto goes
// on, and the next sign-in is silent.
func (u *user) signOut() {
	u.isSignedIn = false
	u.do(aSignOut, http.MethodGet, u.crowd.base+"/sign-out", nil)
}

// watched tells the log that something is under way.
func (u *user) watched() (done func()) {
	u.log = u.crowd.log.Load()
	u.log.underWay.Add(1)
	return func() { u.log.underWay.Add(-1) }
}

// act does what users do.
func (u *user) act() {
	defer u.watched()()
	if !u.isSignedIn {
		u.signIn()
		return
	}
	lost := false
	switch dice := rand.IntN(100); {
	case dice < 45:
		lost = u.view()
	case dice < 85:
		lost = u.useToken(instances.Resources[0])
	case dice < 95:
		lost = u.twoTabs()
	default:
		u.signOut()
	}
	if lost {
		u.lose()
	}
}

// live lets everybody act at this pace until ctx ends.
func (c *crowd) live(ctx context.Context, pace time.Duration) (wait func()) {
	var all sync.WaitGroup
	for _, u := range c.users {
		all.Go(func() {
			ticker := time.NewTicker(pace + rand.N(pace/2))
			defer ticker.Stop()
			for {
				select {
				case <-ticker.C:
					u.act()
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return all.Wait
}

// signInAll lets so many at a time sign in.
func (c *crowd) signInAll(atATime int) error {
	queue := make(chan *user)
	var all sync.WaitGroup
	for range atATime {
		all.Go(func() {
			for u := range queue {
				done := u.watched()
				u.signIn()
				done()
			}
		})
	}
	for _, u := range c.users {
		queue <- u
	}
	close(queue)
	all.Wait()
	for _, u := range c.users {
		if !u.isSignedIn {
			return fmt.Errorf("%s could not sign in", u.id)
		}
	}
	return nil
}
