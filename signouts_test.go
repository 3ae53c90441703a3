package logtogin_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-contrib/sessions/memstore"
	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// A sign-out in every situation, with sessions in every place, in every way: afterwards no cookie that the
// application has ever set works, and no refresh token that Logto has ever issued is alive.

// witness has two instances of an application with the same configuration, and notes what they give to
// browsers and what Logto gives to them.
type witness struct {
	t       *testing.T
	logto   *logtotest.Server
	now     *clock
	apps    [2]*application
	store   *serverStore // nil in cookies and in memstore
	state   *commonState // nil without
	configs func(*logtogin.Config)
	// isKnownElsewhere is whether the documents promise that a sign-out holds at the other instance.
	isKnownElsewhere bool

	mu     sync.Mutex
	given  [][]*http.Cookie // the cookies of sessions, by response
	issued []string         // refresh tokens
	told   []string         // EventSignedOut and OnSignedOut

	onSignedOut func() // in every OnSignedOut, if it is set before the sign-out
}

// sessionPlace is where sessions are, and what instances share.
type sessionPlace struct{ inMemstore, inStore, shares bool }

var sessionPlaces = map[string]sessionPlace{
	"in cookies":                     {},
	"in cookies with a shared state": {shares: true},
	"in a store":                     {inStore: true},
	"in a store with a shared state": {inStore: true, shares: true},
	"in memstore":                    {inMemstore: true},
}

func (p sessionPlace) inCookies() bool { return !p.inMemstore && !p.inStore }

func witnessed(t *testing.T, p sessionPlace, changes ...func(*logtotest.Server) func(*logtogin.Config)) *witness {
	t.Helper()
	w := &witness{t: t, logto: withAPIs(t), isKnownElsewhere: !p.inCookies() || p.shares}
	var all []func(*logtogin.Config)
	for _, change := range changes {
		all = append(all, change(w.logto))
	}
	now, change := withClock(w.logto, all...)
	w.now = now
	w.logto.ChangeTokenAnswer(func(answer map[string]any) any {
		w.note(func() {
			if token, ok := answer["refresh_token"].(string); ok && !slices.Contains(w.issued, token) {
				w.issued = append(w.issued, token)
			}
		})
		return answer
	})
	memory := memstore.NewStore([]byte(strings.Repeat("k", 32)))
	if p.inStore {
		w.store = newServerStore()
	}
	if p.shares {
		w.state = newCommonState()
	}
	w.configs = func(cfg *logtogin.Config) {
		cfg.OnEvent = func(ctx context.Context, event logtogin.Event) {
			if event.Kind == logtogin.EventSignedOut {
				if ctx.Err() != nil {
					t.Errorf("the context of the event: %v", ctx.Err())
				}
				w.note(func() { w.told = append(w.told, "event") })
			}
		}
		cfg.OnSignedOut = func(*gin.Context, *logtogin.Claims) {
			w.note(func() { w.told = append(w.told, "hook") })
			if w.onSignedOut != nil {
				w.onSignedOut()
			}
		}
		if p.inMemstore {
			cfg.Store = memory
		}
		if w.store != nil {
			cfg.Store = w.store
		}
		if w.state != nil {
			cfg.SharedState = w.state
		}
		change(cfg)
	}
	w.apps[0] = w.instance(nil)
	w.apps[1] = w.instance(nil)
	return w
}

// instance is one instance more of the application.
func (w *witness) instance(change func(*logtogin.Config)) *application {
	w.t.Helper()
	app := newApplication(w.t, w.logto, func(cfg *logtogin.Config) {
		w.configs(cfg)
		if w.apps[0] != nil {
			cfg.BaseURL = w.apps[0].url
		}
		if change != nil {
			change(cfg)
		}
	})
	app.tokenRoutes()
	var keep gin.HandlerFunc = func(c *gin.Context) {
		c.Next()
		answer := http.Response{Header: c.Writer.Header()}
		set := slices.DeleteFunc(ours(answer.Cookies()), func(cookie *http.Cookie) bool { return isAttempt(cookie) || cookie.MaxAge < 0 })
		if len(set) > 0 {
			w.note(func() { w.given = append(w.given, set) })
		}
	}
	app.before.Store(&keep)
	return app
}

func (w *witness) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// isAlive asks Logto for tokens with a refresh token.
func (w *witness) isAlive(refreshToken string) bool {
	w.t.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "client_id": {w.logto.AppID()}}
	r, err := http.NewRequest(http.MethodPost, w.logto.Issuer()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret := w.logto.AppSecret(); secret != "" {
		r.SetBasicAuth(w.logto.AppID(), secret)
	}
	return newBrowser(w.t).do(r).status == http.StatusOK
}

// anyAlive reports whether Logto accepts one of the refresh tokens. The newest comes first: one that was
// replaced would end them all.
func (w *witness) anyAlive() bool {
	w.t.Helper()
	var issued []string
	w.note(func() { issued = slices.Clone(w.issued) })
	slices.Reverse(issued)
	if len(issued) == 0 {
		w.t.Error("Logto has issued no refresh token")
	}
	return slices.ContainsFunc(issued, w.isAlive)
}

// anyWorks reports whether a guarded page or a token is to be had for one of the cookies.
func (w *witness) anyWorks(app *application) bool {
	w.t.Helper()
	var given [][]*http.Cookie
	w.note(func() { given = slices.Clone(w.given) })
	if len(given) == 0 {
		w.t.Error("the application has set no cookie")
	}
	return slices.ContainsFunc(given, func(cookies []*http.Cookie) bool {
		return send(w.t, http.MethodGet, app.url+"/profile", cookies, nil).status == http.StatusOK ||
			send(w.t, http.MethodGet, app.url+"/token", cookies, nil).status == http.StatusOK
	})
}

// nothingLives checks what is left of all sessions that there were.
func (w *witness) nothingLives() {
	w.t.Helper()
	if w.anyAlive() {
		w.t.Error("a refresh token is alive at Logto")
	}
	w.noCookieWorks()
}

func (w *witness) noCookieWorks() {
	w.t.Helper()
	w.now.advance(time.Second) // after which the other instance knows of it
	if w.anyWorks(w.apps[0]) {
		w.t.Error("a cookie works where the sign-out was handled")
	}
	if w.isKnownElsewhere && w.anyWorks(w.apps[1]) {
		w.t.Error("a cookie works at the other instance")
	}
	if w.store != nil && len(w.store.values(w.t)) > 0 {
		w.t.Error("the store has a record")
	}
}

// tellings are how often the application was told of a sign-out, by the event and by the hook.
func (w *witness) tellings() (events, hooks int) {
	w.note(func() {
		for _, how := range w.told {
			if how == "event" {
				events++
			} else {
				hooks++
			}
		}
	})
	return events, hooks
}

// way is how a browser asks for a sign-out.
type way struct {
	method string
	header http.Header
	status int // of an answer that leads on
}

var ways = map[string]way{
	"a link":   {http.MethodGet, http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusFound},
	"a form":   {http.MethodPost, http.Header{"Sec-Fetch-Site": {"same-origin"}}, http.StatusOK},
	"a script": {http.MethodPost, http.Header{"Accept": {"*/*"}, "Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}, http.StatusOK},
}

func (w way) signOut(app *application, cookies []*http.Cookie) page {
	app.t.Helper()
	return send(app.t, w.method, app.url+"/sign-out", cookies, w.header)
}

// leads reports where an answer leads.
func (w way) leads(answer page) string {
	switch {
	case answer.status != w.status:
		return ""
	case w.method == http.MethodGet:
		return answer.header.Get("Location")
	case strings.Contains(answer.header.Get("Content-Type"), "json"):
		var body struct{ Location string }
		_ = json.Unmarshal([]byte(answer.body), &body)
		return body.Location
	}
	_, address, _ := strings.Cut(answer.body, `content="0; url=`)
	address, _, _ = strings.Cut(address, `"`)
	return address
}

// everyWay runs a test with sessions in every place and every way to sign out, with the race detector one way for each.
func everyWay(t *testing.T, test func(t *testing.T, p sessionPlace, by way)) {
	t.Helper()
	for i, where := range slices.Sorted(maps.Keys(sessionPlaces)) {
		for j, how := range slices.Sorted(maps.Keys(ways)) {
			if isRace && (i+j)%len(ways) != 0 {
				continue
			}
			t.Run(where+" by "+how, func(t *testing.T) {
				t.Parallel()
				test(t, sessionPlaces[where], ways[how])
			})
		}
	}
}

// idling lets sessions end early; Logto's refresh tokens last for 14 days.
func idling(*logtotest.Server) func(*logtogin.Config) {
	return func(cfg *logtogin.Config) { cfg.IdleTimeout, cfg.SessionLifetime = 2*time.Hour, 6*time.Hour }
}

func TestASignOutEndsTheSessionWhateverItsAge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ages  []time.Duration
		isOut bool // by itself, of which OnSignedOut is not told
	}{
		"just begun":                    {nil, false},
		"with an expired ID token":      {[]time.Duration{61 * time.Minute}, false},
		"that was idle for too long":    {[]time.Duration{121 * time.Minute}, true},
		"idle after it was refreshed":   {[]time.Duration{61 * time.Minute, 121 * time.Minute}, true},
		"that was refreshed many times": {slices.Repeat([]time.Duration{61 * time.Minute}, 5), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyWay(t, func(t *testing.T, p sessionPlace, by way) {
				w := witnessed(t, p, rotating, idling)
				b := newBrowser(t)
				b.signIn(w.apps[0].url+"/profile", alice())
				for i, age := range test.ages {
					w.now.advance(age)
					if i < len(test.ages)-1 {
						b.get(w.apps[0].url + "/profile")
					}
				}
				answer := by.signOut(w.apps[0], b.ours(w.apps[0]))
				if to := by.leads(answer); !strings.HasPrefix(to, w.logto.Issuer()+"/session/end?") {
					t.Errorf("%d leads to %q", answer.status, to)
				}
				if len(setCookies(answer)) > 0 {
					t.Errorf("sets %v", setCookies(answer))
				}
				want := 1
				if test.isOut {
					want = 0
				}
				if events, hooks := w.tellings(); events != want || hooks != want {
					t.Errorf("%d events, %d calls of OnSignedOut, want %d", events, hooks, want)
				}
				w.nothingLives()
			})
		})
	}
}

func TestASignOutOfNobodyLeadsToLogtoAllTheSame(t *testing.T) {
	t.Parallel()
	everyWay(t, func(t *testing.T, p sessionPlace, by way) {
		w := witnessed(t, p)
		answer := by.signOut(w.apps[0], nil)
		if to := by.leads(answer); to != w.logto.Issuer()+"/session/end?client_id="+w.logto.AppID() {
			t.Errorf("%d leads to %q", answer.status, to)
		}
		if set := answer.header.Values("Set-Cookie"); len(set) > 0 {
			t.Errorf("sets %q", set)
		}
		if events, hooks := w.tellings(); events+hooks > 0 {
			t.Errorf("%d events, %d calls of OnSignedOut", events, hooks)
		}
		if calls := w.logto.Calls(); calls.Revocation > 0 {
			t.Errorf("%+v", calls)
		}
	})
}

// What cannot be read can end no session and revoke nothing, but the browser is rid of it and is led on. In
// a store the cookie is a key, and its record is deleted also if it cannot be read.
func TestASignOutWithACookieThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w *witness, cookies []*http.Cookie) (at *application, sent []*http.Cookie){
		"garbage": func(w *witness, cookies []*http.Cookie) (*application, []*http.Cookie) {
			return w.apps[0], []*http.Cookie{{Name: cookies[0].Name, Value: "garbage"}}
		},
		"half of its pieces": func(w *witness, cookies []*http.Cookie) (*application, []*http.Cookie) {
			return w.apps[0], cookies[:1]
		},
		"the other half": func(w *witness, cookies []*http.Cookie) (*application, []*http.Cookie) {
			return w.apps[0], cookies[1:]
		},
		"sealed with secrets that are gone": func(w *witness, cookies []*http.Cookie) (*application, []*http.Cookie) {
			return w.instance(func(cfg *logtogin.Config) { cfg.Secrets = []string{strings.Repeat("other", 8)} }), cookies
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyWay(t, func(t *testing.T, p sessionPlace, by way) {
				w := witnessed(t, p, rotating, large)
				b := newBrowser(t)
				b.signIn(w.apps[0].url+"/profile", logtotest.User{Username: "large", Password: "large-password"})
				cookies := slices.DeleteFunc(b.ours(w.apps[0]), isAttempt)
				if p.inCookies() != (len(cookies) == 2) {
					t.Fatalf("%d pieces", len(cookies))
				}
				if !p.inCookies() && strings.Contains(name, "half") {
					return // the key is one piece
				}
				at, sent := spoil(w, cookies)
				answer := by.signOut(at, sent)
				if to := by.leads(answer); !strings.HasPrefix(to, w.logto.Issuer()+"/session/end?") {
					t.Errorf("%d leads to %q", answer.status, to)
				}
				gone := (&http.Response{Header: answer.header}).Cookies()
				for _, cookie := range sent {
					if cookie.Name == cookies[0].Name && !slices.ContainsFunc(gone, func(other *http.Cookie) bool { return other.Name == cookie.Name && other.MaxAge < 0 }) {
						t.Errorf("the browser keeps %s", cookie.Name)
					}
				}
				if events, hooks := w.tellings(); events+hooks > 0 {
					t.Errorf("%d events, %d calls of OnSignedOut", events, hooks)
				}
				if w.store != nil && strings.HasPrefix(name, "sealed") {
					w.noCookieWorks()
				}
			})
		})
	}
}

// large makes a user whose session takes two cookies.
func large(logto *logtotest.Server) func(*logtogin.Config) {
	logto.AddUser(logtotest.User{Username: "large", Password: "large-password", Claims: map[string]any{"website": strings.Repeat("w", 3_000)}})
	return func(*logtogin.Config) {}
}

// The browser is led to Logto all the same if its addresses are in memory, and else to the application's own
// page. The refresh token, which no sealed cookie gives away any more, lives until it expires by itself.
func TestASignOutWhileLogtoIsDown(t *testing.T) {
	t.Parallel()
	hangs := func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() }
	for name, test := range map[string]struct {
		down  func(*logtotest.Server)
		knows bool // whether metadata are in memory
	}{
		"answers 503":                       {func(logto *logtotest.Server) { logto.Misbehave(faults.Down) }, true},
		"answers 503 from the start":        {func(logto *logtotest.Server) { logto.Misbehave(faults.Down) }, false},
		"refuses connections":               {func(logto *logtotest.Server) { logto.Close() }, true},
		"refuses them from the start":       {func(logto *logtotest.Server) { logto.Close() }, false},
		"hangs at the revocation":           {func(logto *logtotest.Server) { logto.Intercept(logtotest.Revocation, hangs) }, true},
		"hangs at discovery from the start": {func(logto *logtotest.Server) { logto.Intercept(logtotest.Discovery, hangs) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyWay(t, func(t *testing.T, p sessionPlace, by way) {
				if strings.HasPrefix(name, "hangs") && (p.shares || by.method == http.MethodPost) {
					return // the others differ in nothing and wait two seconds each
				}
				w := witnessed(t, p)
				b := newBrowser(t)
				b.signIn(w.apps[0].url+"/profile", alice())
				cookies := b.ours(w.apps[0])
				end, own := w.logto.Issuer()+"/session/end?client_id="+w.logto.AppID(), "/"
				test.down(w.logto)
				if !test.knows {
					w.apps[0] = w.instance(nil)
				}
				answer := by.signOut(w.apps[0], cookies)
				if to := by.leads(answer); (test.knows && to != end) || (!test.knows && to != own) {
					t.Errorf("%d leads to %q", answer.status, to)
				}
				if events, hooks := w.tellings(); events != 1 || hooks != 1 {
					t.Errorf("%d events, %d calls of OnSignedOut", events, hooks)
				}
				if !strings.Contains(w.apps[0].log.String(), "the refresh token could not be revoked") {
					t.Errorf("the log: %s", w.apps[0].log)
				}
				w.noCookieWorks()
			})
		})
	}
}

// While the store is down the user is told that the sign-out has failed, and can try again.
func TestASignOutWhileTheStoreIsDown(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	for name, test := range map[string]struct {
		fail func(*serverStore)
		ends bool // at this instance, and at Logto
	}{
		"for everything": {func(store *serverStore) { store.down = down }, false},
		"for writing":    {func(store *serverStore) { store.beforeLoad = func() { store.set(func() { store.down = down }) } }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for how, by := range ways {
				for where, shares := range map[string]bool{"alone": false, "with a shared state": true} {
					t.Run(how+" "+where, func(t *testing.T) {
						t.Parallel()
						w := witnessed(t, sessionPlace{inStore: true, shares: shares})
						b := newBrowser(t)
						b.signIn(w.apps[0].url+"/profile", alice())
						cookies := b.ours(w.apps[0])
						w.store.set(func() { test.fail(w.store) })
						answer := by.signOut(w.apps[0], cookies)
						if answer.status != http.StatusServiceUnavailable || len(answer.header.Values("Set-Cookie")) > 0 || answer.header.Get("Clear-Site-Data") != "" {
							t.Errorf("%d %v %s", answer.status, answer.header, answer.body)
						}
						w.store.set(func() { w.store.down, w.store.beforeLoad = nil, nil })
						w.now.advance(time.Second)
						if got := !w.anyWorks(w.apps[0]); got != test.ends {
							t.Errorf("it has ended here: %v", got)
						}
						if got := !w.anyWorks(w.apps[1]); got != (test.ends && shares) {
							t.Errorf("it has ended at the other instance: %v", got)
						}
						if got := !w.anyAlive(); got != test.ends {
							t.Errorf("its refresh token is dead: %v", got)
						}
						if answer := by.signOut(w.apps[0], cookies); !strings.HasPrefix(by.leads(answer), w.logto.Issuer()) || len(answer.header.Values("Set-Cookie")) == 0 {
							t.Errorf("another try: %d %v", answer.status, answer.header)
						}
						if events, hooks := w.tellings(); events != 1 || hooks != 1 {
							t.Errorf("%d events, %d calls of OnSignedOut", events, hooks)
						}
						w.nothingLives()
					})
				}
			}
		})
	}
}
