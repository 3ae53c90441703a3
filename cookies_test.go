package logtogin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What a stranger can do to cookies: change, cut, mix and multiply them.

// ask sends a request past the network, because there are many of them.
func (app *application) ask(path, cookies string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Cookie", cookies)
	w := httptest.NewRecorder()
	app.router.ServeHTTP(w, r)
	return w
}

func header(cookies ...*http.Cookie) string {
	var pairs []string
	for _, cookie := range cookies {
		pairs = append(pairs, cookie.Name+"="+cookie.Value)
	}
	return strings.Join(pairs, "; ")
}

// damaged yields the value with each byte changed and cut at each length. What
// stands before the sealed part, count and tag, says only where to look for it:
// isSealed tells which part is damaged.
func damaged(value string, check func(changed string, isSealed bool)) {
	head := strings.LastIndexByte(value, '.') + 1
	for i := range value {
		for _, replacement := range []string{"A", "B", "-", ".", "%", "\xff"} {
			if changed := value[:i] + replacement + value[i+1:]; changed != value {
				check(changed, i >= head)
			}
		}
		check(value[:i], true)
	}
	for _, more := range []string{"A", "=", "AAAA", ".", " "} {
		check(value+more, strings.TrimSpace(more) != "")
	}
}

// C22.
func TestNoByteOfAnAttemptCanBeChanged(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	callback := b.signInUntilCallback(app, logtotest.DefaultUser())
	attempt := *b.ours(app)[0]
	damaged(attempt.Value, func(changed string, isDamaged bool) {
		if !isDamaged {
			return // this could finish the sign-in
		}
		if w := app.ask(callback.RequestURI(), attempt.Name+"="+changed); w.Code != http.StatusBadRequest {
			t.Errorf("the cookie %q: %d", changed, w.Code)
		}
	})
	damaged(callback.Query().Get("state"), func(changed string, _ bool) {
		query := callback.Query()
		query.Set("state", changed)
		if w := app.ask(callback.Path+"?"+query.Encode(), header(&attempt)); w.Code != http.StatusBadRequest {
			t.Errorf("the state %q: %d", changed, w.Code)
		}
	})
	if logto.Calls().Token != 0 {
		t.Error("a code was redeemed")
	}
	if w := app.ask(callback.RequestURI(), header(&attempt)); w.Code != http.StatusFound {
		t.Errorf("afterwards the real one: %d %s", w.Code, w.Body)
	}
}

func TestNoByteOfASessionCanBeChanged(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["custom_data"] = strings.Repeat("data ", 700) })
	app := newApplication(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	pieces := b.ours(app)
	if len(pieces) < 2 {
		t.Fatalf("%d pieces", len(pieces))
	}
	for i, piece := range pieces {
		damaged(piece.Value, func(changed string, isSealed bool) {
			cookies := slices.Clone(pieces)
			cookies[i] = &http.Cookie{Name: piece.Name, Value: changed}
			w := app.ask("/", header(cookies...))
			if w.Code != http.StatusOK || (isSealed && w.Body.String() != "not signed in") {
				t.Errorf("piece %d %.40q…: %d %s", i, changed, w.Code, w.Body)
			}
		})
	}
	if w := app.ask("/", header(pieces...)); w.Body.String() != "signed in as alice" {
		t.Errorf("afterwards the real ones: %s", w.Body)
	}
}

// C16, C62, C63, C97: with the very same secrets.
func TestSealedValuesAreGoodForOneThingOnly(t *testing.T) {
	t.Parallel()
	logto, foreign := logtotest.NewServer(t), logtotest.NewServer(t)
	bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"})
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["custom_data"] = strings.Repeat("data ", 700) })
	shared := secrets(strings.Repeat("s", 32))
	app := newApplication(t, logto, shared)
	applications := map[string]*application{
		"another tenant's application": newApplication(t, foreign, shared),
		"another application of the tenant": newApplication(t, logto, func(cfg *logtogin.Config) {
			shared(cfg)
			cfg.AppID = "another-application-id"
		}),
	}
	alice, bobs := newBrowser(t), newBrowser(t)
	callback := alice.signInUntilCallback(app, logtotest.DefaultUser())
	attempt := *alice.ours(app)[0]
	stale := newBrowser(t)
	staleCallback := stale.signInUntilCallback(app, logtotest.DefaultUser())
	staleAttempt := *stale.ours(app)[0]
	alice.get(callback.String())
	bobs.signIn(app.url+"/sign-in", bob)
	ofAlice, ofBob := alice.ours(app), bobs.ours(app)
	sessionName, attemptName := ofAlice[0].Name, attempt.Name

	for name, cookies := range map[string][]*http.Cookie{
		"an attempt as a session":                  {{Name: sessionName, Value: attempt.Value}},
		"one user's first piece, another's second": {ofAlice[0], ofBob[1]},
		"the pieces in the wrong order":            {{Name: ofAlice[0].Name, Value: ofAlice[1].Value}, {Name: ofAlice[1].Name, Value: ofAlice[0].Value}},
		"a second piece of nobody's":               {ofAlice[0], {Name: ofAlice[1].Name, Value: "x"}},
		"the second piece missing":                 {ofAlice[0]},
		"the first piece missing":                  {ofAlice[1]},
	} {
		if w := app.ask("/", header(cookies...)); w.Code != http.StatusOK || w.Body.String() != "not signed in" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	calls := logto.Calls().Token + foreign.Calls().Token
	for name, moved := range map[string]*http.Cookie{
		"a session as an attempt":               {Name: staleAttempt.Name, Value: ofBob[0].Value},
		"an attempt under the name of another":  {Name: attemptName, Value: staleAttempt.Value},
		"the verifier of another attempt":       {Name: staleAttempt.Name, Value: attempt.Value},
		"an attempt that is only announced":     {Name: staleAttempt.Name, Value: "0"},
		"an attempt under the session's name":   {Name: sessionName, Value: staleAttempt.Value},
		"an attempt whose value is in brackets": {Name: staleAttempt.Name, Value: "(" + staleAttempt.Value[1:]},
	} {
		if w := app.ask(staleCallback.RequestURI(), moved.Name+"="+moved.Value); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for name, other := range applications {
		w := other.ask("/sign-in", "")
		attemptThere := (&http.Response{Header: w.Header()}).Cookies()[0].Name
		sessionThere := attemptThere[:len(attemptThere)-len("_123456789012")]
		if sessionThere == sessionName {
			t.Errorf("%s: the cookies have the same names", name)
		}
		moved := []*http.Cookie{{Name: sessionThere, Value: ofAlice[0].Value}, {Name: sessionThere + "_1", Value: ofAlice[1].Value}}
		if w := other.ask("/", header(moved...)); w.Body.String() != "not signed in" {
			t.Errorf("%s: a session: %s", name, w.Body)
		}
		for _, moved := range []string{sessionThere + staleAttempt.Name[len(sessionName):], staleAttempt.Name} {
			if w := other.ask(staleCallback.RequestURI(), moved+"="+staleAttempt.Value); w.Code != http.StatusBadRequest {
				t.Errorf("%s: an attempt: %d", name, w.Code)
			}
		}
	}
	if now := logto.Calls().Token + foreign.Calls().Token; now != calls {
		t.Errorf("%d codes were redeemed", now-calls)
	}
	if w := app.ask(staleCallback.RequestURI(), header(&staleAttempt)); w.Code != http.StatusFound {
		t.Errorf("afterwards the real attempt: %d %s", w.Code, w.Body)
	}
}

// C61, and cookie tossing: what a sibling domain plants stands before or behind.
func TestManyAndLongCookiesDoNotDisturb(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		app := start(nil)
		b := newBrowser(t)
		b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
		real := header(b.ours(app)...)
		name := sessionCookie(t, b, app).Name
		many := func(format string, count int) string {
			var all []string
			for i := range count {
				all = append(all, fmt.Sprintf(format, i))
			}
			return strings.Join(all, "; ")
		}
		for what, planted := range map[string]string{
			"nothing":                         "",
			"200 cookies of others":           many("other_%d=x", 200),
			"200 pieces":                      many(name+"_%d=AAAAAAAA.x", 200),
			"200 equal ones":                  strings.Repeat(name+"=x; ", 199) + name + "=x",
			"seven different ones":            many(name+"=%d", 7),
			"one of 8 KiB":                    name + "=" + strings.Repeat("A", 8<<10),
			"one of 8 KiB that looks real":    name + "=1.AAAAAAAA." + strings.Repeat("A", 8<<10),
			"a count of a thousand million":   name + "=999999999.AAAAAAAA.x",
			"a negative count":                name + "=-1.AAAAAAAA.x",
			"an empty one":                    name + "=",
			"attempts of 8 KiB":               many(name+"_AAAAAAAAAAA%d="+strings.Repeat("A", 8<<10), 6),
			"Logto's own, with raw quotes":    `_logto={"appId":"x","b":1}; _session=abc; _interaction=def`,
			"raw bytes":                       name + "=\xff\xfe\x80; \xff=\xff",
			"a name that only begins alike":   name + "x=1; " + name + "_=1; " + name + "_01=1; " + name + "_-1=1",
			"a name in upper case":            strings.ToUpper(name) + "=1",
			"separators without an end":       ";;;;=;=;;,,",
			"what looks like a server's key":  name + "=key-own-1",
			"a path in the place of a key":    name + "=key-../../etc/passwd",
			"a key of another kind of record": name + "_AAAAAAAAAAAA=key-x",
		} {
			for order, cookies := range map[string]string{"before": planted + "; " + real, "behind": real + "; " + planted} {
				if w := app.ask("/", cookies); w.Code != http.StatusOK || w.Body.String() != "signed in as alice" {
					t.Errorf("%s, %s: %d %s", what, order, w.Code, w.Body)
				}
			}
			for _, path := range []string{"/", "/profile", "/sign-in", "/callback?code=x&state=y", "/callback"} {
				if w := app.ask(path, planted); w.Code >= 500 || (path == "/" && w.Body.String() != "not signed in") {
					t.Errorf("%s alone at %s: %d %s", what, path, w.Code, w.Body)
				}
			}
		}
		for _, path := range []string{"/sign-in", "/sign-out"} {
			if w := app.ask(path, many(name+"=%d", 200)+"; "+many(name+"_AAAAAAAAAAA%d=x", 6)); w.Code >= 500 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	})
}
