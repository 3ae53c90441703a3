package session_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/shared"
	"github.com/logtogin/logtogin/memorystate"
)

// world is a Logto, a clock and a browser. Instances of one application live in it.
type world struct {
	t *testing.T

	mu      sync.Mutex
	now     time.Time
	refused error // what Logto answers to a refresh, or nil
	asked   []string
	revoked []string

	cookies map[string]string // of the browser
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: time.Unix(1_800_000_000, 0), cookies: map[string]string{}}
}

func (w *world) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// Refresh replaces the refresh token each time.
func (w *world) Refresh(_ context.Context, refreshToken, _, _ string) (*oauth.Tokens, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, refreshToken)
	if w.refused != nil {
		return nil, w.refused
	}
	return w.tokens(refreshToken + "+"), nil
}

func (w *world) tokens(refreshToken string) *oauth.Tokens {
	return &oauth.Tokens{
		AccessToken: "access to " + refreshToken, RefreshToken: refreshToken, IDToken: "eyJ9.eyJ9.AA",
		Expires: w.now.Add(time.Hour), RenewAt: w.now.Add(59 * time.Minute),
	}
}

func (w *world) VerifyRefreshed(context.Context, string, *oauth.Tokens, time.Duration) (expiry time.Time, err error) {
	return w.Now().Add(time.Hour), nil
}

func (w *world) Revoke(_ context.Context, refreshToken string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revoked = append(w.revoked, refreshToken)
	return nil
}

// instance is one process of the application.
type instance struct {
	*session.Sessions
	*session.Revocations
	w *world
}

func (w *world) instance(change func(*session.Settings)) instance {
	w.t.Helper()
	settings := session.SettingsForTests()
	settings.Now, settings.Logto = w.Now, w
	if change != nil {
		change(&settings)
	}
	revocations, err := session.NewRevocations(settings)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(revocations.Close)
	sessions, err := session.New(settings, revocations)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := sessions.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return instance{sessions, revocations, w}
}

// sharing makes an instance share a state with the others that get it.
func (w *world) sharing() func(*session.Settings) {
	state := memorystate.New()
	return func(s *session.Settings) { s.Shared = shared.New(state, "app:", s.Logger) }
}

// answer is a response.Response.
type answer struct{ header http.Header }

func (a *answer) Change(f func(http.Header)) bool { f(a.header); return true }
func (a *answer) SetCookies(_ string, isVain func() bool, f func(http.Header) bool) bool {
	return a.Change(func(header http.Header) {
		if !isVain() {
			f(header)
		}
	})
}
func (a *answer) HasBegun() bool       { return false }
func (a *answer) DependOnSession(bool) {}

// request is one of the browser, with the cookies that it has.
func (w *world) request() *session.Exchange {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
	var pairs []string
	for name, value := range w.cookies {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	r.Header.Set("Cookie", strings.Join(pairs, "; "))
	return &session.Exchange{Request: r, Response: &answer{http.Header{}}, Known: &session.Known{}}
}

// receive gives the browser the response to a request.
func (w *world) receive(x *session.Exchange) {
	for _, cookie := range (&http.Response{Header: x.Response.(*answer).header}).Cookies() {
		if w.cookies[cookie.Name] = cookie.Value; cookie.MaxAge < 0 {
			delete(w.cookies, cookie.Name)
		}
	}
}

// signIn starts an attempt, comes back with a code and gets a session.
func (i instance) signIn(subject string) *session.Session {
	w := i.w
	w.t.Helper()
	x := w.request()
	started := &session.Attempt{ID: session.NewID(w.Now(), false, false), StartedAt: w.Now(), Verifier: newVerifier(), Before: i.Before(w.t.Context(), x)}
	if err := i.StartAttempt(x, started); err != nil {
		w.t.Fatal(err)
	}
	w.receive(x)

	callback := w.request()
	opened, err := i.Attempts.Open(started.State)
	if err != nil || i.Attempts.VerifierOf(callback.Request, opened) != started.Verifier {
		w.t.Fatalf("the attempt is lost: %v", err)
	}
	outcome, isFirst := i.Outcomes.Spend(w.t.Context(), opened, sha256.Sum256([]byte("code of "+subject)), true, func() {})
	if !isFirst {
		w.t.Fatal("the attempt has been spent")
	}
	outcome.Cookies = i.Removal(callback.Request, opened.ID)
	begun := i.Begin(w.t.Context(), session.Session{Subject: subject, BegunAt: w.Now(), IDTokenExpires: w.Now().Add(time.Hour)}, w.tokens("token of "+subject), w.Now())
	beginning := i.Prepare(w.t.Context(), callback, opened, begun)
	defer beginning.Cancel()
	if err := beginning.Admit(w.t.Context(), outcome); err != nil {
		w.t.Fatal(err)
	}
	outcome.Err = nil
	i.Outcomes.Tell(w.t.Context(), opened, outcome)
	outcome.Settle()
	if err := i.SetOutcomeCookies(callback, outcome); err != nil {
		w.t.Fatal(err)
	}
	w.receive(callback)
	return outcome.Session
}

// newVerifier has the length of a PKCE verifier.
func newVerifier() string { return rand.Text() + rand.Text()[:17] }

// user is whom a request of the browser is from, "" for a visitor.
func (i instance) user() string {
	i.w.t.Helper()
	x := i.w.request()
	current, err := i.Revalidated(i.w.t.Context(), x)
	i.w.receive(x)
	switch {
	case err == nil:
		return current.Subject
	case !errors.Is(err, fault.NotSignedIn):
		return err.Error()
	}
	return ""
}

func (w *world) want(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestASessionLivesFromItsSignInToItsSignOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.instance(nil)
	w.want("before the sign-in", app.user(), "")
	app.signIn("alice")
	w.want("after the sign-in", app.user(), "alice")
	if len(w.cookies) != 1 {
		t.Errorf("got %d cookies, want the session's alone: the attempt is over", len(w.cookies))
	}
	kept := w.cookies

	x := w.request()
	ended, err := app.End(t.Context(), x)
	if err != nil || len(ended.Sessions) != 1 || ended.Sessions[0].Subject != "alice" {
		t.Fatalf("got %+v, %v, want the session of alice", ended.Sessions, err)
	}
	app.RevokeAtLogto(t.Context(), ended)
	w.want("the token that is revoked at Logto", fmt.Sprint(w.revoked), "[token of alice]")
	if err := app.DeleteCookies(x, ended); err != nil {
		t.Fatal(err)
	}
	w.cookies = map[string]string{}
	for name, value := range kept {
		w.cookies[name] = value
	}
	w.want("with a copy of the cookie", app.user(), "")
	w.receive(x)
	if len(w.cookies) != 0 {
		t.Errorf("the browser keeps %v", w.cookies)
	}
}

func TestASessionOfAnotherUserIsReplacedAndItsTokenRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := w.instance(nil)
	app.signIn("alice")
	alices := w.cookies
	w.cookies = map[string]string{}
	for name, value := range alices {
		w.cookies[name] = value
	}
	app.signIn("bob")
	w.want("after the second sign-in", app.user(), "bob")
	w.want("the token that is revoked at Logto", fmt.Sprint(w.revoked), "[token of alice]")
	w.cookies = alices
	w.want("with the first session", app.user(), "")
}

func TestWhatFollowsFromTheEndOfASession(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end     func(t *testing.T, app instance)
		revoked string // the refresh tokens that are revoked at Logto
		logged  string
	}{
		"a sign-out": {func(t *testing.T, app instance) {
			ended, err := app.End(t.Context(), app.w.request())
			if err != nil || len(ended.Sessions) != 1 {
				t.Errorf("got %+v, %v, want one session", ended.Sessions, err)
			}
			app.RevokeAtLogto(t.Context(), ended)
		}, "[token of alice]", ""},
		"another sign-out": {func(t *testing.T, app instance) {
			_, _ = app.End(t.Context(), app.w.request())
			ended, err := app.End(t.Context(), app.w.request())
			if err != nil || len(ended.Sessions) != 0 {
				t.Errorf("got %+v, %v, want no session", ended.Sessions, err)
			}
			app.RevokeAtLogto(t.Context(), ended)
		}, "[]", ""},
		"a sign-in of the same user": {func(_ *testing.T, app instance) { app.signIn("alice") }, "[]", ""},
		"a sign-in of another user":  {func(_ *testing.T, app instance) { app.signIn("bob") }, "[token of alice]", ""},
		"a revocation": {func(t *testing.T, app instance) {
			app.Record(t.Context(), session.Revocation{Kind: session.RevokeUser, Name: "alice"})
			app.user()
			app.user()
		}, "[token of alice]", "a session has ended, because it was revoked"},
		"a refusal": {func(_ *testing.T, app instance) {
			app.w.refused = &oauth.Refusal{Code: "invalid_grant", Status: http.StatusBadRequest, Public: errors.New("refused")}
			app.w.wait(2 * time.Hour)
			app.user()
			app.user()
		}, "[]", "a session has ended, because Logto does not renew it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, log := newWorld(t), &strings.Builder{}
			share := w.sharing()
			app := w.instance(func(s *session.Settings) { s.Logger = slog.New(slog.NewTextHandler(log, nil)); share(s) })
			app.signIn("alice")
			kept := maps.Clone(w.cookies)
			test.end(t, app)
			w.want("the tokens that are revoked at Logto", fmt.Sprint(w.revoked), test.revoked)
			if count := strings.Count(log.String(), "level="); count != min(len(test.logged), 1) || !strings.Contains(log.String(), test.logged) {
				t.Errorf("got the log %q, want one line with %q", log, test.logged)
			}
			w.cookies = kept
			w.want("with a copy of the cookie at another instance", w.instance(share).user(), "")
		})
	}
}

func TestARefreshIsMadeOnceForAllWhoNeedIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	share := w.sharing()
	instances := []instance{w.instance(share), w.instance(share)}
	instances[0].signIn("alice")
	for round, token := range []string{"token of alice", "token of alice+"} {
		w.wait(2 * time.Hour)
		var group sync.WaitGroup
		answers := make([]*session.Exchange, 20)
		for i := range answers {
			answers[i] = w.request()
			group.Go(func() {
				if _, err := instances[i%2].Revalidated(t.Context(), answers[i]); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if len(w.asked) != round+1 || w.asked[round] != token {
			t.Fatalf("round %d: Logto was asked with %q, want %q once more", round, w.asked, token)
		}
		w.receive(answers[len(answers)-1])
	}
}

func TestWhatLogtoAnswersDecidesWhetherASessionGoesOn(t *testing.T) {
	t.Parallel()
	refusal := func(code string) error {
		return &oauth.Refusal{Code: code, Status: http.StatusBadRequest, Public: errors.New(code)}
	}
	for name, test := range map[string]struct {
		refused             error
		user, userDaysLater string
	}{
		"an outage":                {fault.Unavailable(&oauth.Answer{Status: 503}), "alice", fault.ProviderUnavailable.Error() + ": status 503"},
		"a mistake of an operator": {refusal("invalid_client"), "alice", fault.ProviderUnavailable.Error() + ": invalid_client"},
		"a user who is refused":    {refusal("access_denied"), "", ""},
		"a token that is refused":  {refusal("invalid_grant"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			app := w.instance(nil)
			app.signIn("alice")
			w.wait(2 * time.Hour)
			w.mu.Lock()
			w.refused = test.refused
			w.mu.Unlock()
			w.want("at once", app.user(), test.user)
			w.wait(48 * time.Hour)
			w.want("days later", app.user(), test.userDaysLater)
		})
	}
}

func TestARevocationReachesTheOtherInstances(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(i instance, of *session.Session) session.Revocation{
		"of the user": func(i instance, of *session.Session) session.Revocation {
			return session.Revocation{Kind: session.RevokeUser, Name: of.Subject, At: i.w.Now()}
		},
		"of a user who was removed": func(i instance, of *session.Session) session.Revocation {
			return session.Revocation{Kind: session.RemovedUser, Name: of.Subject, At: i.w.Now()}
		},
		"of the user's other sessions": func(i instance, of *session.Session) session.Revocation {
			another := *of
			another.ID = "another"
			return session.RevokeOthers(&another)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			share := w.sharing()
			one, other := w.instance(share), w.instance(share)
			begun := one.signIn("alice")
			w.want("before", other.user(), "alice")
			if !one.Record(t.Context(), revoke(one, begun)) {
				t.Fatal("the other instance is not told")
			}
			w.want("at the instance itself", one.user(), "")
			w.wait(time.Second)
			w.want("a second later at the other one", other.user(), "")
			restarted := w.instance(share)
			w.want("after a restart", restarted.user(), "")
			w.wait(time.Minute)
			restarted.signIn("alice")
			w.want("after another sign-in", one.user(), "alice")
		})
	}
}

func TestACallbackThatComesAgainGetsTheSameOutcomeAtEachInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	share := w.sharing()
	one, other := w.instance(share), w.instance(share)
	started := &session.Attempt{ID: session.NewID(w.Now(), false, false), StartedAt: w.Now(), Verifier: newVerifier()}
	if err := one.StartAttempt(w.request(), started); err != nil {
		t.Fatal(err)
	}
	code := sha256.Sum256([]byte("code"))
	first, isFirst := one.Outcomes.Spend(t.Context(), started, code, true, func() {})
	if !isFirst {
		t.Fatal("the attempt has been spent")
	}
	begun := one.Begin(t.Context(), session.Session{Subject: "alice", IDTokenExpires: w.Now().Add(time.Hour)}, w.tokens("token"), w.Now())
	first.Session, first.ReturnTo, first.Err, first.Cookies = begun, "/wanted", nil, http.Header{"Set-Cookie": {"a=b"}}
	one.Outcomes.Tell(t.Context(), started, first)
	first.Settle()
	for at, i := range map[string]instance{"the same instance": one, "another instance": other} {
		again, isFirst := i.Outcomes.Spend(t.Context(), started, code, true, func() {})
		isSame, err := again.Wait(t.Context(), code)
		if isFirst || !isSame || err != nil || again.Session.ID != begun.ID || again.ReturnTo != "/wanted" || again.Cookies.Get("Set-Cookie") != "a=b" {
			t.Errorf("at %s: got %+v, %t, %v, want the first outcome", at, again, isFirst, err)
		}
		if isSame, _ := again.Wait(t.Context(), sha256.Sum256([]byte("code of somebody else"))); isSame {
			t.Errorf("at %s: another code shares the outcome", at)
		}
	}
}

// slowStore is an application's store, in which a deletion takes its time: deleting runs meanwhile.
type slowStore struct {
	values   map[string]string
	deleting func()
}

func (s *slowStore) Get(r *http.Request, name string) (*sessions.Session, error) {
	return s.New(r, name)
}

func (s *slowStore) New(r *http.Request, name string) (*sessions.Session, error) {
	found := sessions.NewSession(s, name)
	if cookie, err := r.Cookie(name); err == nil {
		if value, ok := s.values[cookie.Value]; ok {
			found.ID, found.Values["logtogin"] = cookie.Value, value
		}
	}
	return found, nil
}

func (s *slowStore) Save(_ *http.Request, w http.ResponseWriter, saved *sessions.Session) error {
	if saved.Options.MaxAge < 0 {
		if deleting := s.deleting; deleting != nil {
			s.deleting = nil
			deleting()
		}
		delete(s.values, saved.ID)
	} else {
		s.values[saved.ID], _ = saved.Values["logtogin"].(string)
	}
	http.SetCookie(w, sessions.NewCookie(saved.Name(), saved.ID, saved.Options))
	return nil
}

func TestASignInWhileASignOutDeletesIsNotDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &slowStore{values: map[string]string{}}
	app := w.instance(func(s *session.Settings) { s.Store, s.StoreTimeout = store, time.Minute })
	app.signIn("alice")
	x := w.request()
	store.deleting = func() { app.signIn("alice") }
	ended, err := app.End(t.Context(), x)
	if err != nil || len(ended.Sessions) != 1 {
		t.Fatalf("got %d sessions, %v, want one", len(ended.Sessions), err)
	}
	if err := app.DeleteCookies(x, ended); err != nil {
		t.Fatal(err)
	}
	w.receive(x)
	w.want("after both", app.user(), "alice")
}

func TestAllSessionsHaveEndedBeforeTheFirstIsDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &slowStore{values: map[string]string{}}
	app := w.instance(func(s *session.Settings) { s.Store, s.StoreTimeout = store, time.Minute })
	app.signIn("alice")
	alice := w.request().Request.Header.Get("Cookie")
	w.cookies = map[string]string{}
	app.signIn("bob")
	bob := w.request().Request.Header.Get("Cookie")
	x := w.request()
	x.Request.Header.Set("Cookie", alice+"; "+bob)
	isCalled := false
	store.deleting = func() {
		isCalled = true
		for who, cookie := range map[string]string{"alice": alice, "bob": bob} {
			other := w.request()
			other.Request.Header.Set("Cookie", cookie)
			if current, err := app.Current(t.Context(), other); !errors.Is(err, fault.NotSignedIn) {
				t.Errorf("%s: got %v, %v while a record is deleted, want a visitor", who, current, err)
			}
		}
	}
	if ended, err := app.End(t.Context(), x); err != nil || len(ended.Sessions) != 2 || !isCalled {
		t.Errorf("got %d sessions, %v, deleted: %t, want two", len(ended.Sessions), err, isCalled)
	}
}
