package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/instances"
	"github.com/logtogin/logtogin/integration/servers"
)

// scene is an application under load.
type scene struct {
	t        *testing.T
	provider *provider
	database *servers.Server
	redis    *proxy
	cluster  *instances.Cluster
	crowd    *crowd
	inStore  bool
}

// fault is what goes wrong, and for how long at least.
type fault struct {
	name       string
	begin, end func(s *scene)
	short      time.Duration
	long       time.Duration
	// asked is how long after its end Logto itself has asked to be left alone.
	asked time.Duration
	// ofLogto says that pages need nothing of what fails, ofRedis that nothing does if the
	// sessions are in cookies.
	ofLogto, ofRedis bool
	// isNoticed says that some of the requests that need it must fail.
	isNoticed bool
}

const (
	shortFault = 800 * time.Millisecond
	longFault  = 5 * time.Second
	// A request that is not answered at all meets its bound.
	shortSilence = 2300 * time.Millisecond
	longSilence  = 16 * time.Second
)

func faults() []fault {
	list := []fault{{name: "none", begin: func(*scene) {}, end: func(*scene) {}, ofLogto: true}}
	for _, of := range []struct {
		name string
		mode mode
	}{
		{"connections are refused", refuse}, {"every answer comes 0.7 s late", slow},
		{"answers end in the middle", cut}, {"bodies are garbage", garbage}, {"no answer at all", silent},
	} {
		f := fault{
			name: "Logto: " + of.name, ofLogto: true, isNoticed: of.mode == refuse || of.mode == cut || of.mode == garbage,
			begin: func(s *scene) { s.provider.tcp.set(of.mode) },
			end:   func(s *scene) { s.provider.tcp.set(honest) },
		}
		if of.mode == silent {
			f.short, f.long = shortSilence, longSilence
		}
		list = append(list, f)
	}
	for _, of := range []struct {
		name, retryAfter string
		status           int
		asked            time.Duration
	}{
		{"429", "", http.StatusTooManyRequests, 0},
		{"429, Retry-After: 1", "1", http.StatusTooManyRequests, time.Second},
		{"503", "", http.StatusServiceUnavailable, 0},
	} {
		list = append(list, fault{
			name: "Logto: " + of.name, ofLogto: true, isNoticed: true, asked: of.asked,
			begin: func(s *scene) {
				s.provider.misbehave(func(w http.ResponseWriter) {
					if of.retryAfter != "" {
						w.Header().Set("Retry-After", of.retryAfter)
					}
					w.WriteHeader(of.status)
				})
			},
			end: func(s *scene) { s.provider.misbehave(nil) },
		})
	}
	list = append(list, keyRotation())
	for _, clock := range []struct{ name, ahead string }{
		{"50 s ahead", "50s"}, {"50 s behind", "-50s"}, {"90 s ahead", "90s"}, {"90 s behind", "-90s"},
	} {
		list = append(list, fault{
			// Further behind than Config.ClockSkew, no refreshed ID token is acceptable.
			name: "the application's clock: " + clock.name, ofLogto: clock.ahead != "-90s",
			begin: func(s *scene) { s.setClock(0, clock.ahead); s.setClock(1, clock.ahead) },
			end:   func(s *scene) { s.setClock(0, "0s"); s.setClock(1, "0s") },
		})
	}
	list = append(list, fault{
		name: "the clock of one instance: 90 s ahead", ofLogto: true,
		begin: func(s *scene) { s.setClock(0, "90s") },
		end:   func(s *scene) { s.setClock(0, "0s") },
	})
	for _, of := range []struct {
		name string
		mode mode
	}{
		{"connections are refused", refuse}, {"every answer comes 0.7 s late", slow},
		{"answers end in the middle", cut}, {"answers are garbage", garbage},
	} {
		list = append(list, fault{
			name: "Redis: " + of.name, ofRedis: true, isNoticed: of.mode != slow,
			begin: func(s *scene) { s.redis.set(of.mode) },
			end:   func(s *scene) { s.redis.set(honest) },
		})
	}
	return append(list,
		fault{
			name: "Redis: stopped", ofRedis: true, isNoticed: true,
			begin: func(s *scene) { s.database.Stop() },
			end:   func(s *scene) { s.database.Start() },
		},
		fault{
			name: "Redis: frozen", ofRedis: true, short: shortSilence, long: longSilence,
			begin: func(s *scene) { s.database.Freeze() },
			end:   func(s *scene) { s.database.Thaw() },
		},
	)
}

// keyRotation has a new key twice a second, so that sign-ins are met by it in the middle.
func keyRotation() fault {
	var rotating sync.WaitGroup
	stop := func() {}
	return fault{
		name: "Logto: a new key every 0.5 s", ofLogto: true,
		begin: func(s *scene) {
			ctx, cancel := context.WithCancel(s.t.Context())
			stop = cancel
			rotating.Go(func() {
				algorithms := []string{"ES256", "EdDSA", "ES384"}
				for i := 0; ctx.Err() == nil; i++ {
					if err := s.provider.RotateKey(algorithms[i%len(algorithms)]); err != nil {
						s.t.Error(err)
					}
					pass(ctx, 500*time.Millisecond)
				}
			})
		},
		end: func(*scene) { stop(); rotating.Wait() },
	}
}

func (s *scene) setClock(instance int, ahead string) {
	response, err := http.Post("http://"+s.cluster.Direct(instance)+"/test/clock?ahead="+ahead, "", strings.NewReader(""))
	if err != nil {
		s.t.Error(err)
		return
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		s.t.Errorf("the clock: %s", response.Status)
	}
}

const (
	crowdSize = 12
	pace      = 150 * time.Millisecond
	// There are refreshes all the time.
	tokenLife       = 2 * time.Second
	revalidateAfter = 10 * time.Second
)

// newScene is an application with so many users, of whom nobody is signed in.
func newScene(t *testing.T, users int, tokenLife, revalidateAfter time.Duration, inStore, replaces bool) *scene {
	t.Helper()
	s := &scene{t: t, inStore: inStore, provider: newProvider(t, users, replaces, tokenLife), database: servers.Redis(t)}
	s.redis = newProxy(t, s.database.Address())
	s.cluster = instances.New(t, func(baseURL string) instances.Config {
		s.provider.RegisterRedirectURIs(baseURL + "/callback")
		return instances.Config{
			Endpoint: s.provider.Endpoint(), ProviderAddress: s.provider.tcp.address,
			AppID: s.provider.app.ID, AppSecret: s.provider.app.Secret, BaseURL: baseURL,
			Redis: s.redis.address, SessionsInRedis: inStore, RevalidateAfter: revalidateAfter,
		}
	})
	s.crowd = newCrowd(t, s.cluster.URL, s.provider, users)
	return s
}

// during lets something go wrong under the load, and waits until users see nothing of it
// any more.
func (s *scene) during(name string, wrong func()) result {
	seen := &log{}
	s.crowd.log.Store(seen)
	wrong()
	end := time.Now()
	poll(s.t.Context(), 10*time.Second, func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		_, ok := quietAfter(seen.requests, end, time.Now())
		return ok
	})
	s.crowd.log.Store(&log{})
	if !poll(s.t.Context(), patience, func() bool { return seen.underWay.Load() == 0 }) {
		s.t.Errorf("%s: requests are still under way", name)
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	r := result{fault: name, requests: seen.requests, lost: seen.lost, recovered: -1}
	if quiet, ok := quietAfter(seen.requests, end, time.Now()); ok {
		r.recovered = quiet.Sub(end)
	}
	return r
}

func (s *scene) check(r result, f fault) {
	for _, what := range r.missed(s.inStore, recoveryGoal+f.asked+margin) {
		s.t.Errorf("%s: %s", r.fault, what)
	}
	all := failures(r.requests)
	if count := failures(r.requests, aPage); f.ofLogto && count > 0 {
		s.t.Errorf("%s: %d pages were not shown, although they need nothing of Logto", r.fault, count)
	}
	switch {
	case f.ofRedis && !s.inStore && all > 0:
		s.t.Errorf("%s: %d requests have failed, although the sessions are in cookies", r.fault, all)
	case s.mustNotice(f) && all == 0:
		s.t.Errorf("%s: nobody has noticed it, so it was none", r.fault)
	}
	s.t.Log(r.row())
}

// mustNotice reports whether a fault makes requests fail here.
func (s *scene) mustNotice(f fault) bool { return f.isNoticed && (s.inStore || !f.ofRedis) }

func kills() fault {
	return fault{
		name:  fmt.Sprintf("the application: killed %d times in the middle of refreshes", pick(5, 50)),
		begin: func(s *scene) { s.kill(pick(5, 50)) },
		end:   func(*scene) {},
	}
}

// kill ends instances in the middle of refreshes, each time another way, and starts them
// again.
func (s *scene) kill(times int) {
	for i := range times {
		when := []string{beforeLogto, beforeAnswer, afterAnswer}[i%3]
		type victim struct {
			instance int
			user     string
			at       time.Time
		}
		struck := make(chan victim, 1)
		s.provider.killDuring(func(instance int, user, now string) bool {
			if now != when {
				return false
			}
			s.cluster.Kill(instance)
			struck <- victim{instance, user, time.Now()}
			return true
		})
		select {
		case of := <-struck:
			s.cluster.Wait(of.instance)
			if err := s.cluster.Start(of.instance); err != nil {
				s.t.Fatal(err)
			}
			// The next one is not killed while it makes up for this one.
			poll(s.t.Context(), settling, func() bool { return s.provider.hasAnswered(of.user, of.at) })
		case <-time.After(patience):
			s.t.Fatal("nobody refreshes")
		}
	}
}

// settling is longer than Logto forgives a second use of a refresh token.
const settling = 4 * time.Second

var combinations = []struct {
	name              string
	inStore, replaces bool
	isShort           bool // is part of the short form
}{
	{"Sessions in cookies, refresh tokens that are replaced with each use", false, true, true},
	{"Sessions in Redis, refresh tokens that stay", true, false, true},
	{"Sessions in cookies, refresh tokens that stay", false, false, false},
	{"Sessions in Redis, refresh tokens that are replaced with each use", true, true, false},
}

func TestFaults(t *testing.T) {
	if *write == "" {
		t.Parallel()
	}
	tables := make([]string, len(combinations))
	t.Run("all", func(t *testing.T) {
		for i, c := range combinations {
			if !c.isShort && *write == "" {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s := newScene(t, crowdSize, tokenLife, revalidateAfter, c.inStore, c.replaces)
				if err := s.crowd.signInAll(2); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				wait := s.crowd.live(ctx, pace)
				defer wait()
				defer cancel()
				var results []result
				for _, f := range append(faults(), kills()) {
					if !strings.Contains(f.name, *only) {
						continue
					}
					r := s.during(f.name, func() {
						f.begin(s)
						pass(ctx, pick(max(f.short, shortFault), max(f.long, longFault)))
						if s.mustNotice(f) { // few requests need it in a short time
							poll(ctx, patience, func() bool { return s.crowd.log.Load().failures() > 0 })
						}
						f.end(s)
					})
					s.check(r, f)
					results = append(results, r)
				}
				tables[i] = table(c.name, results)
			})
		}
	})
	writeTables(t, "faults.md", strings.Join(tables, "\n"))
}
