package logtogin_test

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// commonState is a SharedState in the memory of the test, and can be told to fail.
type commonState struct {
	mu        sync.Mutex
	values    map[string]string
	logs      map[string][]string
	logID     string // of all logs: a state that was emptied has others
	calls     int
	readings  int // of logs
	entries   int // that were read
	lifetimes map[string]time.Duration

	now     func() time.Time
	down    error         // what every call answers
	frozen  chan struct{} // what every call waits for
	noClaim bool          // whether everybody gets every claim
	dead    bool          // whether an instance that is gone has all claims
}

func newCommonState() *commonState {
	return &commonState{values: map[string]string{}, logID: rand.Text(), logs: map[string][]string{}, lifetimes: map[string]time.Duration{}, now: time.Now}
}

func (s *commonState) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *commonState) call(ctx context.Context, f func()) error {
	s.mu.Lock()
	s.calls++
	down, frozen := s.down, s.frozen
	s.mu.Unlock()
	if frozen != nil {
		<-frozen // whatever the context says
	}
	if down == nil {
		s.set(f)
	}
	return down
}

func (s *commonState) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	err = s.call(ctx, func() { value, ok = s.values[key] })
	return value, ok, err
}

func (s *commonState) Set(ctx context.Context, key, value string, lifetime time.Duration) error {
	return s.call(ctx, func() {
		s.values[key], s.lifetimes[key] = value, lifetime
	})
}

func (s *commonState) SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (set bool, err error) {
	err = s.call(ctx, func() {
		_, taken := s.values[key]
		if strings.HasSuffix(key, ":claim") {
			taken = (taken && !s.noClaim) || s.dead
		}
		if !taken {
			s.values[key], s.lifetimes[key], set = value, lifetime, true
		}
	})
	return set, err
}

func (s *commonState) Delete(ctx context.Context, key string) error {
	return s.call(ctx, func() { delete(s.values, key) })
}

func (s *commonState) Append(ctx context.Context, log, entry string, lifetime time.Duration) (at time.Time, err error) {
	err = s.call(ctx, func() {
		s.logs[log], s.lifetimes[log] = append(s.logs[log], entry), lifetime
		at = s.now()
	})
	return at, err
}

func (s *commonState) Read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, err error) {
	isReplaced := false
	err = s.call(ctx, func() {
		s.readings++
		id, number, _ := strings.Cut(cursor, ":")
		seen, _ := strconv.Atoi(number)
		all, exists := s.logs[log]
		if isReplaced = cursor != "" && (!exists || id != s.logID); isReplaced || !exists {
			return
		}
		entries = slices.Clone(all[seen:min(len(all), seen+limit)])
		next = s.logID + ":" + strconv.Itoa(seen+len(entries))
		s.entries += len(entries)
	})
	if isReplaced {
		return nil, "", logtogin.ErrLogReplaced
	}
	return entries, next, err
}

// lose empties the state, as a Redis that was started again without its data.
func (s *commonState) lose() {
	s.set(func() {
		s.values, s.logs, s.logID = map[string]string{}, map[string][]string{}, rand.Text()
	})
}

// instances are two applications behind one address, at a Logto that replaces the
// refresh token each time and that forgives no second use.
func instances(t *testing.T, logto *logtotest.Server, state *commonState, change func(*logtogin.Config)) [2]*application {
	t.Helper()
	var apps [2]*application
	public := rotating(logto)
	for i := range apps {
		apps[i] = newApplication(t, logto, func(cfg *logtogin.Config) {
			forAPIs(cfg)
			public(cfg)
			change(cfg)
			cfg.SharedState = state
			if i > 0 {
				cfg.BaseURL = apps[0].url
			}
		})
		apps[i].tokenRoutes()
	}
	used := map[string]bool{}
	var mu sync.Mutex
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		if token := r.PostForm.Get("refresh_token"); token != "" {
			mu.Lock()
			wasUsed := used[token]
			used[token] = true
			mu.Unlock()
			if wasUsed {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
	return apps
}

// C72, C73.
func TestInstancesShareARefresh(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(*commonState)
		calls   int // at most
	}{
		"with a claim":                   {func(*commonState) {}, 1},
		"without: the remembered counts": {func(state *commonState) { state.noClaim = true }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto)
			state := newCommonState()
			test.prepare(state)
			apps := instances(t, logto, state, change)
			b := signInAndExpire(apps[0], now)
			cookies := b.ours(apps[0])
			logto.ResetCalls()
			var good atomic.Int64
			atOnce(40, func(i int) {
				page := send(t, http.MethodGet, apps[i%2].url+"/token", cookies, nil)
				if page.status == http.StatusOK {
					good.Add(1)
				} else {
					t.Errorf("%d %s", page.status, page.body)
				}
			})
			if calls := len(refreshes(logto)); calls > test.calls || good.Load() != 40 {
				t.Errorf("%d refreshes, %d good answers", calls, good.Load())
			}
			for i, app := range apps {
				if !signedInWith(t, app, cookies...) {
					t.Errorf("instance %d has signed the user out", i)
				}
			}
		})
	}
}

func TestASignOutIsKnownToARefreshElsewhere(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto)
	apps := instances(t, logto, newCommonState(), change)
	b := signInAndExpire(apps[0], now)
	cookies := b.ours(apps[0])
	b.get(apps[0].url + "/sign-out")
	if page := send(t, http.MethodGet, apps[1].url+"/token", cookies, nil); page.status != http.StatusUnauthorized {
		t.Errorf("%d %s", page.status, page.body)
	}
}

// Nobody is signed out because the shared state does not work, and the operator hears
// of it once.
func TestASharedStateThatFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*commonState){
		"down":   func(state *commonState) { state.down = errors.New("connection refused") },
		"frozen": func(state *commonState) { state.frozen = make(chan struct{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto)
			state := newCommonState()
			apps := instances(t, logto, state, change)
			b := signInAndExpire(apps[0], now)
			state.set(func() { fail(state); state.calls = 0 })
			if token, shown := b.token(apps[0], nil); shown.status != http.StatusOK || token.Value == "" {
				t.Errorf("%d %s", shown.status, shown.body)
			}
			// One call of half a second at the most, and then a pause.
			calls := 0
			state.set(func() { calls = state.calls })
			if calls < 1 || calls > 2 || strings.Count(apps[0].log.String(), "the shared state does not work") != 1 {
				t.Errorf("%d calls, log: %s", calls, apps[0].log)
			}
			if page := b.get(apps[0].url + "/profile"); page.status != http.StatusOK {
				t.Errorf("%d", page.status)
			}
			if state.frozen != nil {
				if err := apps[0].auth.Close(); err == nil || !strings.Contains(err.Error(), "SharedState") {
					t.Errorf("Close: %v", err)
				}
				close(state.frozen)
			}
		})
	}
}

// A shared state that takes 0.4 s for a call is alive: what it says counts, and it is not
// asked for more than is needed. By the clock of a bubble.
func TestASharedStateThatIsSlowButAlive(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]*serverStore{"in cookies": nil, "in a store": newServerStore()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs, rotating(logto))
			state := newCommonState()
			setUp := func(cfg *logtogin.Config) {
				change(cfg)
				cfg.SharedState = state
				if store != nil {
					cfg.Store = store
				}
			}
			app := newApplication(t, logto, setUp)
			b := signInAndExpire(app, now)
			cookies := header(b.ours(app)...)
			synctest.Test(t, func(t *testing.T) {
				slow := app.bubbled(t, func(cfg *logtogin.Config) {
					setUp(cfg)
					cfg.Endpoint, cfg.AppID, cfg.SharedState = logto.Endpoint(), logto.AppID(), slowState{state: state, delay: 400 * time.Millisecond}
				})
				expect := func(path string, status, most int) {
					t.Helper()
					before := state.count()
					w := slow.ask(path, cookies)
					if calls := state.count() - before; w.Code != status || calls > most {
						t.Errorf("%s: %d %s, with %d calls", path, w.Code, w.Body, calls)
					}
				}
				logto.ResetCalls()
				expect("/token", http.StatusOK, 10)
				expect("/token", http.StatusOK, 0)
				expect("/profile", http.StatusOK, 0)
				if made := len(refreshes(logto)); made != 1 {
					t.Errorf("%d refreshes", made)
				}
				expect("/sign-out", http.StatusFound, 4)
				now.advance(time.Second)
				expect("/token", http.StatusUnauthorized, 3) // of two logs, and what was told before the first reading

				before := state.count()
				w := slow.logOut(tokenFor(t, logto, "nobody", ""))
				if calls := state.count() - before; w.Code != http.StatusOK || calls > 3 {
					t.Errorf("a logout token: %d %s, with %d calls", w.Code, w.Body, calls)
				}
				if strings.Contains(slow.log.String(), "the shared state does not work") {
					t.Errorf("slow is taken for down: %s", slow.log)
				}
			})
			// What was done so slowly counts elsewhere as well.
			now.advance(time.Second)
			if signedInWith(t, app, b.ours(app)...) {
				t.Error("at another instance the session goes on")
			}
		})
	}
}

// bubbled is an instance of an application that can live in a bubble.
func (app *application) bubbled(t *testing.T, change func(*logtogin.Config)) *application {
	t.Helper()
	own := &application{t: t, url: app.url, log: &logBuffer{}, router: gin.New()}
	cfg := logtogin.Config{
		BaseURL: app.url, Logger: own.log.logger(),
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, // whose goroutines do not stay
	}
	change(&cfg)
	auth, err := logtogin.Register(own.router, cfg)
	if err != nil {
		t.Fatal(err)
	}
	own.auth = closed(t, auth)
	own.tokenRoutes()
	own.guarded("/profile")
	return own
}

// logOut sends a logout token past the network.
func (app *application) logOut(token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/backchannel-logout", strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	app.router.ServeHTTP(w, r)
	return w
}

// Whoever asks often enough waits for nobody, and nobody waits for what does not answer.
// A reading that is under way may have looked too early.
func TestWhoWaitsForTheSharedState(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	state := newCommonState()
	setUp := func(cfg *logtogin.Config) {
		change(cfg)
		cfg.Endpoint, cfg.AppID, cfg.AppSecret, cfg.SharedState = logto.Endpoint(), logto.AppID(), logto.AppSecret(), state
	}
	app := newApplication(t, logto, setUp)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	cookies := header(b.ours(app)...)
	token := tokenFor(t, logto, "nobody", "")
	synctest.Test(t, func(t *testing.T) {
		slow := &slowState{state: state, delay: 400 * time.Millisecond}
		one := app.bubbled(t, func(cfg *logtogin.Config) { setUp(cfg); cfg.SharedState = slow })
		other := app.bubbled(t, setUp)
		expect := func(what string, status int, after time.Duration, do func() *httptest.ResponseRecorder) {
			t.Helper()
			started := time.Now()
			if w := do(); w.Code != status || time.Since(started) != after {
				t.Errorf("%s: %d %s, after %v", what, w.Code, w.Body, time.Since(started))
			}
		}
		page := func() *httptest.ResponseRecorder { return one.ask("/profile", cookies) }
		if err := errors.Join(one.auth.Ready(t.Context()), other.auth.Ready(t.Context())); err != nil {
			t.Fatal(err)
		}
		expect("the first one after Ready", 200, 0, page)
		now.advance(600 * time.Millisecond)
		expect("one after 0.6 s", 200, 0, page)
		<-time.After(400 * time.Millisecond)
		synctest.Wait() // until that is over
		now.advance(900 * time.Millisecond)
		expect("one after 0.9 s", 200, 400*time.Millisecond, page)

		now.advance(time.Second)
		slow.looksFirst = true
		go page()
		synctest.Wait() // it has looked
		expect("a logout token, elsewhere", 200, 0, func() *httptest.ResponseRecorder { return other.logOut(token) })
		expect("the same one, here", 400, 800*time.Millisecond, func() *httptest.ResponseRecorder { return one.logOut(token) })

		slow.delay = time.Hour
		now.advance(time.Second)
		expect("the first one that gets no answer", 200, 500*time.Millisecond, page)
		for range 3 {
			<-time.After(2 * time.Second) // until it is asked again
			synctest.Wait()
			now.advance(2 * time.Second)
			expect("another one", 200, 0, page)
		}
	})
}

// slowState is a SharedState that takes its time.
type slowState struct {
	state      *commonState
	delay      time.Duration
	looksFirst bool
}

func (s slowState) wait(ctx context.Context) error {
	select {
	case <-time.After(s.delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slowState) Get(ctx context.Context, key string) (string, bool, error) {
	if err := s.wait(ctx); err != nil {
		return "", false, err
	}
	return s.state.Get(ctx, key)
}

func (s slowState) Set(ctx context.Context, key, value string, lifetime time.Duration) error {
	return errors.Join(s.wait(ctx), s.state.Set(ctx, key, value, lifetime))
}

func (s slowState) SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (bool, error) {
	if err := s.wait(ctx); err != nil {
		return false, err
	}
	return s.state.SetIfAbsent(ctx, key, value, lifetime)
}

func (s slowState) Delete(ctx context.Context, key string) error {
	return errors.Join(s.wait(ctx), s.state.Delete(ctx, key))
}

func (s slowState) Append(ctx context.Context, log, entry string, lifetime time.Duration) (time.Time, error) {
	if err := s.wait(ctx); err != nil {
		return time.Time{}, err
	}
	return s.state.Append(ctx, log, entry, lifetime)
}

func (s slowState) Read(ctx context.Context, log, cursor string, limit int) ([]string, string, error) {
	if s.looksFirst {
		entries, next, err := s.state.Read(ctx, log, cursor, limit)
		return entries, next, errors.Join(s.wait(ctx), err)
	}
	if err := s.wait(ctx); err != nil {
		return nil, "", err
	}
	return s.state.Read(ctx, log, cursor, limit)
}

// count is how many calls there were.
func (s *commonState) count() (count int) {
	s.set(func() { count = s.calls })
	return count
}

// An instance was killed when Logto had replaced the refresh token: its claim is still there,
// and Logto forgives a second use for three seconds only. Logto's clock is slow, so that a
// slow machine does not matter.
func TestTheClaimOfAnInstanceThatWasKilled(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto)
	state := newCommonState()
	apps := instances(t, logto, state, change)
	b := signInAndExpire(apps[0], now)
	cookies := b.ours(apps[0])
	var once sync.Once
	logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		once.Do(func() {
			next.ServeHTTP(httptest.NewRecorder(), r)
			at := time.Now()
			logto.SetNow(func() time.Time { return now.Now().Add(time.Since(at) * 7 / 10) })
			state.set(func() { state.dead = true })
			panic(http.ErrAbortHandler)
		})
		next.ServeHTTP(w, r)
	})
	if page := send(t, http.MethodGet, apps[0].url+"/token", cookies, nil); page.status != http.StatusServiceUnavailable {
		t.Fatal(page.status)
	}
	if page := send(t, http.MethodGet, apps[1].url+"/token", cookies, nil); page.status != http.StatusOK {
		t.Errorf("%d %s", page.status, page.body)
	}
}

func TestAPanicOfTheSharedStateIsAFailure(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, func(cfg *logtogin.Config) { cfg.SharedState = panickingState{} })
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" {
		t.Errorf("%d %s", shown.status, shown.body)
	}
}

type panickingState struct{ logtogin.SharedState }

// Whoever can write to the shared state must not make one user another, and whoever can
// read it learns nothing.
func TestWhatTheSharedStateSees(t *testing.T) {
	t.Parallel()
	bob := logtotest.User{ID: "bob000000000", Username: "bob", Password: "bob-password"}
	logto := withAPIs(t, bob)
	now, change := withClock(logto)
	state := newCommonState()
	apps := instances(t, logto, state, change)
	var keys [2][]string
	var browsers [2]*browser
	for i, user := range []logtotest.User{alice(), bob} {
		before := slices.Collect(maps.Keys(state.values))
		browsers[i] = newBrowser(t)
		browsers[i].signIn(apps[0].url+"/profile", user)
		now.advance(61 * time.Minute)
		cookies := browsers[i].ours(apps[0])
		browsers[i].get(apps[0].url + "/profile")
		browsers[i].client.Jar.SetCookies(apps[0].parsed(), cookies) // its newer ones are lost
		for key, value := range state.values {
			if (isResult(key) || strings.HasSuffix(key, ":newest")) && !slices.Contains(before, key) {
				keys[i] = append(keys[i], key)
			}
			for _, secret := range []string{aliceID, bob.ID, "eyJhbGciOi", "alice", logto.AppID()} {
				if strings.Contains(key, secret) || strings.Contains(value, secret) {
					t.Errorf("%s is in %s: %s", secret, key, value)
				}
			}
		}
	}
	if len(keys[0]) != 2 || len(keys[1]) != 2 {
		t.Fatalf("%q", keys)
	}
	bySuffix := func(a, b string) int {
		return strings.Compare(a[strings.LastIndex(a, ":"):], b[strings.LastIndex(b, ":"):])
	}
	state.set(func() {
		for i := range keys {
			slices.SortFunc(keys[i], bySuffix)
		}
		for i := range keys[0] {
			state.values[keys[0][i]], state.values[keys[1][i]] = state.values[keys[1][i]], state.values[keys[0][i]]
		}
	})
	page := send(t, http.MethodGet, apps[1].url+"/profile", browsers[0].ours(apps[0]), nil)
	if strings.Contains(page.body, bob.ID) {
		t.Errorf("%s", page.body)
	}
}

func (app *application) parsed() *url.URL {
	app.t.Helper()
	u, err := url.Parse(app.url)
	if err != nil {
		app.t.Fatal(err)
	}
	return u
}

// It says that it has a result, and does not give it away: the one that was made counts.
func TestASharedStateThatForgetsASecondLater(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, rotating(logto), func(cfg *logtogin.Config) { cfg.SharedState = forgetfulState{newCommonState()} })
	app := newApplication(t, logto, change)
	app.tokenRoutes()
	b := signInAndExpire(app, now)
	for range 2 {
		if token, shown := b.token(app, nil); shown.status != http.StatusOK || token.Value == "" {
			t.Errorf("%d %s", shown.status, shown.body)
		}
		now.advance(61 * time.Minute)
	}
}

type forgetfulState struct{ *commonState }

func (forgetfulState) SetIfAbsent(_ context.Context, key, _ string, _ time.Duration) (bool, error) {
	return !isResult(key), nil
}

// isResult reports whether a key is that of a refreshed session.
func isResult(key string) bool {
	_, version, _ := strings.Cut(strings.TrimPrefix(key, "logtogin:"), ":")
	_, version, _ = strings.Cut(version, ":")
	return version != "" && strings.Trim(version, "0123456789") == ""
}

// The newest version of a session is kept as long as an older one could do harm, and
// otherwise for ten minutes.
func TestHowLongResultsAreKept(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rotates bool
		newest  time.Duration
	}{
		"another refresh token":  {true, 14*24*time.Hour - 61*time.Minute},
		"the same refresh token": {false, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			now, change := withClock(logto, forAPIs)
			if test.rotates {
				now, change = withClock(logto, forAPIs, rotating(logto))
			}
			state := newCommonState()
			app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.SharedState = state })
			app.tokenRoutes()
			b := signInAndExpire(app, now)
			b.token(app, nil)
			for key, lifetime := range state.lifetimes {
				switch {
				case isResult(key) && lifetime != 10*time.Minute:
					t.Errorf("a result: %v", lifetime)
				case strings.HasSuffix(key, ":newest") && lifetime != test.newest:
					t.Errorf("the newest version: %v", lifetime)
				}
				if strings.HasSuffix(key, ":claim") && lifetime != 10*time.Second {
					t.Errorf("a claim: %v", lifetime)
				}
			}
			if len(state.lifetimes) != 5 { // two of the callback, the claim, the result and the newest version
				t.Errorf("%v", state.lifetimes)
			}
		})
	}
}

// What visitors make up stays out of the shared state, whose memory they could fill.
func TestVisitorsFillNoSharedState(t *testing.T) {
	t.Parallel()
	state := newCommonState()
	app := newApplication(t, logtotest.NewServer(t), func(cfg *logtogin.Config) { cfg.SharedState = state })
	for _, made := range []string{"", "&error=access_denied", "&iss=x"} {
		started := send(t, http.MethodGet, app.url+"/sign-in", nil, nil)
		address, err := url.Parse(started.header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if page := send(t, http.MethodGet, app.url+"/callback?state="+address.Query().Get("state")+made, setCookies(started), nil); page.status != http.StatusBadRequest {
			t.Errorf("%q: %d", made, page.status)
		}
	}
	if len(state.values)+len(state.logs) > 0 {
		t.Errorf("%v %v", state.values, state.logs)
	}
}

// A double click whose callbacks arrive at two instances: Logto revokes everything when
// it sees a code twice.
func TestACallbackThatComesAgainElsewhere(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*url.URL)
		status int
	}{
		"the very same":     {func(*url.URL) {}, http.StatusFound},
		"with another code": {func(u *url.URL) { u.RawQuery = strings.Replace(u.RawQuery, "code=", "code=x", 1) }, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := withAPIs(t)
			_, change := withClock(logto)
			apps := instances(t, logto, newCommonState(), change)
			b := newBrowser(t)
			callback := b.signInUntilCallback(apps[0], alice())
			cookies := b.ours(apps[0])
			held, release := holdRefresh(logto)
			logto.ResetCalls()
			var first, second page
			var both sync.WaitGroup
			both.Go(func() { first = send(t, http.MethodGet, callback.String(), cookies, nil) })
			<-held
			again := *callback
			test.change(&again)
			both.Go(func() { second = send(t, http.MethodGet, apps[1].url+again.RequestURI(), cookies, nil) })
			release()
			both.Wait()
			if first.status != http.StatusFound || second.status != test.status || logto.Calls().Token != 1 {
				t.Errorf("%d and %d %s, %+v", first.status, second.status, second.body, logto.Calls())
			}
			if test.status == http.StatusFound {
				for i, page := range []page{first, second} {
					if !signedInWith(t, apps[i], setCookies(page)...) {
						t.Errorf("callback %d has not signed in", i)
					}
				}
			}
		})
	}
}
