package logtogin_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// What Logto says when a session is to be confirmed, and what follows.

// verdict is what an answer of Logto's means for a session.
type verdict int

const (
	confirmed verdict = iota
	outage
	refused
	unacceptable
)

// answerOf makes the token endpoint answer so.
func answerOf(status int, header http.Header, body string) func(*logtotest.Server) {
	return func(logto *logtotest.Server) {
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "application/json")
			for name, values := range header {
				w.Header()[name] = values
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
}

func oauthError(status int, code string) func(*logtotest.Server) {
	return answerOf(status, nil, fmt.Sprintf(`{"code":"oidc.%s","message":"no","error":%q,"error_description":"no"}`, code, code))
}

func changedIDToken(change func(claims map[string]any)) func(*logtotest.Server) {
	return func(logto *logtotest.Server) {
		logto.ChangeIDToken(func(token *logtotest.JWT) { change(token.Claims) })
	}
}

// answersToARefresh are what Logto, or something in front of it, may say.
var answersToARefresh = map[string]struct {
	happens func(*logtotest.Server)
	verdict verdict
}{
	"as always":           {func(*logtotest.Server) {}, confirmed},
	"without an ID token": {func(logto *logtotest.Server) { logto.ChangeTokenAnswer(without("id_token")) }, confirmed},
	"without a refresh token": {func(logto *logtotest.Server) {
		logto.ChangeTokenAnswer(without("refresh_token"))
	}, confirmed},

	"no answer": {func(logto *logtotest.Server) {
		logto.Intercept(logtotest.Token, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
	}, outage},
	"200 with HTML":                   {answerOf(200, http.Header{"Content-Type": {"text/html"}}, "<html>sign in to the network</html>"), outage},
	"200 with nothing":                {answerOf(200, nil, ""), outage},
	"200 with {}":                     {answerOf(200, nil, "{}"), outage},
	"200 with a list":                 {answerOf(200, nil, "[]"), outage},
	"200 with half of an object":      {answerOf(200, nil, `{"access_token":"a","token_type":"Bea`), outage},
	"a body that is cut":              {answerOf(200, http.Header{"Content-Length": {"1000"}}, `{"access_token":"a",`), outage},
	"400 with HTML":                   {answerOf(400, http.Header{"Content-Type": {"text/html"}}, "<html>no</html>"), outage},
	"400 with nothing":                {answerOf(400, nil, ""), outage},
	"429":                             {answerOf(429, nil, `{"code":"too_many","message":"no"}`), outage},
	"429 with Retry-After":            {answerOf(429, http.Header{"Retry-After": {"7"}}, `{"error":"slow_down"}`), outage},
	"500":                             {answerOf(500, nil, `{"code":"internal","message":"no"}`), outage},
	"502 with invalid_grant":          {oauthError(502, "invalid_grant"), outage},
	"503 with Retry-After":            {answerOf(503, http.Header{"Retry-After": {"7"}}, ""), outage},
	"the wrong secret":                {oauthError(401, "invalid_client"), outage},
	"an application that may not":     {oauthError(400, "unauthorized_client"), outage},
	"a secret that has expired":       {oauthError(400, "invalid_request"), outage},
	"a scope that is not enabled":     {oauthError(400, "invalid_scope"), outage},
	"keys that cannot be had":         {withoutKeys, outage},
	"a code that says nothing of it":  {oauthError(400, "login_required"), outage},
	"a code that nobody knows":        {oauthError(400, "something_new"), outage},
	"404 of a gateway":                {answerOf(404, nil, `{"status":404,"error":"Not Found"}`), outage},
	"403 of a gateway":                {answerOf(403, nil, `{"error":"Forbidden"}`), outage},
	"200 with invalid_grant":          {answerOf(200, nil, `{"error":"invalid_grant"}`), outage},
	"temporarily_unavailable":         {oauthError(400, "temporarily_unavailable"), outage},
	"a refresh token that is no good": {oauthError(400, "invalid_grant"), refused},
	"no access to the application":    {oauthError(400, "access_denied"), refused},
	"no access to it, with 403":       {oauthError(403, "access_denied"), refused},
	"an ID token of another user":     {changedIDToken(func(claims map[string]any) { claims["sub"] = "somebody" }), refused},
	"an ID token of another issuer":   {changedIDToken(func(claims map[string]any) { claims["iss"] = "https://evil.example/oidc" }), unacceptable},
	"an ID token for another":         {changedIDToken(func(claims map[string]any) { claims["aud"] = "another" }), unacceptable},
	"an ID token for one more": {changedIDToken(func(claims map[string]any) {
		claims["aud"], claims["azp"] = []any{claims["aud"], "another"}, claims["aud"]
	}), unacceptable},
	"an ID token of 65 KiB":          {changedIDToken(func(claims map[string]any) { claims["large"] = strings.Repeat("a", 65<<10) }), unacceptable},
	"an ID token of tomorrow":        {changedIDToken(moved(24 * time.Hour)), unacceptable},
	"an ID token of yesterday":       {changedIDToken(moved(-24 * time.Hour)), unacceptable},
	"an ID token with another nonce": {changedIDToken(func(claims map[string]any) { claims["nonce"] = "another" }), unacceptable},
	"an ID token without sub":        {changedIDToken(func(claims map[string]any) { delete(claims, "sub") }), unacceptable},
	"an ID token for another token":  {changedIDToken(func(claims map[string]any) { claims["at_hash"] = "AAAA" }), unacceptable},
	"an ID token that is not signed": {func(logto *logtotest.Server) {
		logto.ChangeIDToken(func(token *logtotest.JWT) { token.Header["alg"] = "none" })
	}, unacceptable},
	"an ID token that is none":          {func(logto *logtotest.Server) { logto.ChangeTokenAnswer(with("id_token", "none")) }, unacceptable},
	otherTokenType:                      {func(logto *logtotest.Server) { logto.ChangeTokenAnswer(with("token_type", "DPoP")) }, unacceptable},
	"an ID token of a key nobody knows": {signedByAStranger, unacceptable},
}

// otherTokenType says nothing about the user, so that for an API it is about the token alone.
const otherTokenType = "an access token of another type"

func without(member string) func(map[string]any) any {
	return func(answer map[string]any) any { delete(answer, member); return answer }
}

func with(member string, value any) func(map[string]any) any {
	return func(answer map[string]any) any { answer[member] = value; return answer }
}

// moved is a clock that is so far ahead.
func moved(by time.Duration) func(map[string]any) {
	return func(claims map[string]any) {
		for _, name := range []string{"iat", "exp"} {
			switch at := claims[name].(type) {
			case int64:
				claims[name] = at + int64(by/time.Second)
			case float64:
				claims[name] = at + by.Seconds()
			default:
				panic(fmt.Sprintf("%s is a %T", name, at))
			}
		}
	}
}

func withoutKeys(logto *logtotest.Server) {
	if err := logto.RotateKey("ES256"); err != nil {
		panic(err)
	}
	logto.Intercept(logtotest.Keys, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusBadGateway) })
}

func signedByAStranger(logto *logtotest.Server) {
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Header["kid"] = "a stranger's" })
}

// asks are the ways in which a request comes to need a session that Logto confirms.
func (app *application) asks() map[string]string {
	answer := func(c *gin.Context, err error) {
		if err != nil {
			c.String(logtogin.StatusCode(err), "%v", err)
			return
		}
		c.String(http.StatusOK, "done")
	}
	app.router.GET("/asks/guard", app.auth.Guard(), func(c *gin.Context) { answer(c, nil) })
	app.router.GET("/asks/optional", app.auth.Optional(), func(c *gin.Context) {
		_, ok := logtogin.ClaimsFrom(c)
		if _, err := app.auth.Claims(c); ok != (err == nil) || ok != app.auth.IsAuthenticated(c) {
			app.t.Errorf("behind Optional, ClaimsFrom says %t and Claims %v", ok, err)
		}
		if !ok {
			answer(c, logtogin.ErrNotSignedIn)
			return
		}
		answer(c, nil)
	})
	app.router.GET("/asks/info", func(c *gin.Context) { _, err := app.auth.UserInfo(c); answer(c, err) })
	app.router.GET("/asks/token", func(c *gin.Context) { _, err := app.auth.AccessToken(c); answer(c, err) })
	app.router.GET("/asks/api", func(c *gin.Context) {
		_, err := app.auth.AccessToken(c, logtogin.Resource(ordersAPI))
		answer(c, err)
	})
	return map[string]string{"Guard": "/asks/guard", "Optional": "/asks/optional", "UserInfo": "/asks/info", "AccessToken": "/asks/token", "AccessToken for an API": "/asks/api"}
}

// C75, and the refresh plan of the conformance suite.
func TestWhatLogtoSaysOfASessionDecidesWhatFollows(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		ways := app.asks()
		for what, answer := range answersToARefresh {
			logto.Behave()
			now.advance(time.Hour) // after all that was remembered of an outage
			cookies := map[string][]*http.Cookie{}
			leaving := newBrowser(t)
			leaving.signIn(app.url+"/profile", alice())
			for way := range ways {
				b := newBrowser(t)
				b.signIn(app.url+"/profile", alice())
				cookies[way] = b.ours(app)
			}
			now.advance(61 * time.Minute)
			answer.happens(logto)
			logto.ResetCalls()
			pages := askAll(t, app, ways, cookies)
			if calls := logto.Calls(); answer.verdict != confirmed && calls.UserInfo > 0 {
				t.Errorf("%s: user info was asked with the old token", what)
			}
			for way, page := range pages {
				if want := answerTo(what, way); page.status != want {
					t.Errorf("%s, %s: got %d %s, want %d", what, way, page.status, page.body, want)
				}
				if renewed := setCookies(page); len(renewed) > 0 {
					cookies[way] = renewed
				}
			}
			leaving.get(app.url + ways["Guard"])
			before := leaving.ours(app)
			if page := leaving.get(app.url + "/sign-out"); page.status >= 400 || len(leaving.ours(app)) > 0 || signedInWith(t, app, before...) {
				t.Errorf("%s, signing out: got %d, and the browser has %v", what, page.status, leaving.ours(app))
			}
			logto.Behave()
			guarded := map[string]string{}
			for way := range ways {
				guarded[way] = ways["Guard"]
			}
			if answer.verdict == unacceptable {
				logto.ResetCalls()
				for way, page := range askAll(t, app, guarded, cookies) {
					if (page.status != http.StatusServiceUnavailable || page.header.Get("Retry-After") == "") && !isAboutTheAPI(what, way) {
						t.Errorf("%s, %s, at once again: got %d, want 503", what, way, page.status)
					}
				}
				if calls := logto.Calls().Token; calls > 0 && what != otherTokenType {
					t.Errorf("%s, at once again: %d calls, want none", what, calls)
				}
			}
			now.advance(time.Minute)
			for way, page := range askAll(t, app, guarded, cookies) {
				want := http.StatusOK
				if answer.verdict == refused && !isAboutTheAPI(what, way) {
					want = http.StatusUnauthorized
				}
				if page.status != want {
					t.Errorf("%s, %s, a minute later: got %d %s, want %d", what, way, page.status, page.body, want)
				}
				if renewed := setCookies(page); len(renewed) > 0 {
					cookies[way] = renewed
				}
			}
			logto.ResetCalls()
			askAll(t, app, guarded, cookies)
			if calls := logto.Calls().Token; calls > 0 {
				t.Errorf("%s, when all is well again: %d calls, want none", what, calls)
			}
		}
	})
}

// askAll asks in all ways at the same time, in the name of a session for each.
func askAll(t *testing.T, app *application, ways map[string]string, cookies map[string][]*http.Cookie) map[string]page {
	t.Helper()
	var mu sync.Mutex
	pages := map[string]page{}
	var asking sync.WaitGroup
	for way, path := range ways {
		asking.Go(func() {
			page := send(t, http.MethodGet, app.url+path, cookies[way], http.Header{"Accept": nil})
			mu.Lock()
			defer mu.Unlock()
			pages[way] = page
		})
	}
	asking.Wait()
	return pages
}

// isAboutTheAPI says that a refusal is one of the token alone.
func isAboutTheAPI(what, way string) bool {
	return way == "AccessToken for an API" && (strings.HasPrefix(what, "no access") || strings.HasPrefix(what, "a code that") || what == otherTokenType)
}

// answerTo is the status of the first request after Logto has said so.
func answerTo(what, way string) int {
	switch verdict := answersToARefresh[what].verdict; {
	case isAboutTheAPI(what, way) && strings.Contains(what, "no access to"):
		return http.StatusForbidden
	case isAboutTheAPI(what, way):
		return http.StatusBadRequest
	case verdict == confirmed, verdict == outage && (way == "Guard" || way == "Optional"): // with the claims that there are
		return http.StatusOK
	case verdict == outage, verdict == unacceptable && way != "Optional":
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// A session of which Logto has said something unacceptable gets no token that is still there, and
// can be ended.
func TestNothingIsDoneInTheNameOfASessionThatIsInDoubt(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto, rotating(logto), func(cfg *logtogin.Config) { cfg.RevalidateAfter = 10 * time.Minute })
		app := start(change)
		ways := app.asks()
		var called int
		api := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ })
		server := httptest.NewServer(api)
		t.Cleanup(server.Close)
		app.router.GET("/asks/client", func(c *gin.Context) {
			response, err := app.auth.HTTPClient(c, logtogin.Resource(ordersAPI)).Get(server.URL)
			if err == nil {
				_ = response.Body.Close()
			}
			c.String(logtogin.StatusCode(err), "%v", err)
		})
		for what, answer := range answersToARefresh {
			if answer.verdict != unacceptable {
				continue
			}
			logto.Behave()
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			for _, path := range ways { // with tokens that are good for an hour
				if page := b.get(app.url + path); page.status != http.StatusOK {
					t.Fatalf("%s, before: %s: got %d %s", what, path, page.status, page.body)
				}
			}
			now.advance(11 * time.Minute)
			answer.happens(logto)
			if page := b.get(app.url + "/asks/guard"); page.status != http.StatusServiceUnavailable {
				t.Errorf("%s: got %d %s, want 503", what, page.status, page.body)
			}
			logto.ResetCalls()
			called = 0
			for way, path := range ways {
				want := http.StatusServiceUnavailable
				if way == "Optional" {
					want = http.StatusUnauthorized // nobody
				}
				if page := b.get(app.url + path); page.status != want {
					t.Errorf("%s, then %s: got %d %s, want %d", what, way, page.status, page.body, want)
				}
			}
			if page := b.get(app.url + "/asks/client"); page.status == http.StatusOK || called > 0 {
				t.Errorf("%s: the API was called %d times", what, called)
			}
			if calls := logto.Calls(); calls.Token > 0 || calls.UserInfo > 0 {
				t.Errorf("%s: got %+v, want no call in the name of the session", what, calls)
			}
			// Logto has replaced the refresh token all the same.
			logto.Behave()
			now.advance(time.Minute)
			if page := b.get(app.url + "/asks/guard"); page.status != http.StatusOK {
				t.Errorf("%s, when Logto is right again: got %d %s, want 200", what, page.status, page.body)
			}
			now.advance(11 * time.Minute)
			answer.happens(logto)
			b.get(app.url + "/asks/guard")
			logto.ResetCalls()
			if page := b.get(app.url + "/sign-out"); page.status >= 400 || logto.Calls().Revocation != 1 {
				t.Errorf("%s, signing out: got %d after %d revocations, want a page after one", what, page.status, logto.Calls().Revocation)
			}
			if len(b.ours(app)) > 0 {
				t.Errorf("%s: the browser still has %v", what, b.ours(app))
			}
		}
	})
}

// It does not matter whether the session had to be confirmed when Logto said so.
func TestAGuardKnowsOfADoubtThatATokenHasRaised(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		app.asks()
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["iss"] = "https://evil.example/oidc" })
		for _, path := range []string{"/asks/api", "/asks/guard"} {
			if page := b.get(app.url + path); page.status != http.StatusServiceUnavailable {
				t.Errorf("%s: got %d %s, want 503", path, page.status, page.body)
			}
		}
		logto.Behave()
		now.advance(time.Minute)
		if page := b.get(app.url + "/asks/guard"); page.status != http.StatusOK {
			t.Errorf("a minute later: got %d %s, want 200", page.status, page.body)
		}
	})
}

// While there is an outage a session goes on, for MaxStale at most.
func TestAnOutageIsBoundedByMaxStale(t *testing.T) {
	t.Parallel()
	bothWaysWithAPIs(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		app.asks()
		for what, answer := range answersToARefresh {
			if answer.verdict != outage {
				continue
			}
			logto.Behave()
			now.advance(time.Hour)
			b := signInAndExpire(app, now)
			answer.happens(logto)
			for _, step := range []struct {
				after time.Duration
				want  int
			}{{0, http.StatusOK}, {12 * time.Hour, http.StatusOK}, {11*time.Hour + 50*time.Minute, http.StatusOK}, {11 * time.Minute, http.StatusServiceUnavailable}} {
				now.advance(step.after)
				page := send(t, http.MethodGet, app.url+"/asks/guard", b.ours(app), nil)
				if page.status != step.want || (step.want == http.StatusServiceUnavailable && page.header.Get("Retry-After") == "") {
					t.Errorf("%s, %v later: got %d %s, want %d", what, step.after, page.status, page.body, step.want)
				}
			}
			logto.Behave()
			now.advance(time.Minute)
			if page := send(t, http.MethodGet, app.url+"/asks/guard", b.ours(app), nil); page.status != http.StatusOK {
				t.Errorf("%s, when it is over: got %d %s, want 200", what, page.status, page.body)
			}
		}
	})
}

// That the clock is wrong shows in many sessions, and the operator should not have to find out by
// one line for each.
func TestManyUnacceptableAnswersAreHeardOfOnce(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	var browsers []*browser
	for range 12 {
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		browsers = append(browsers, b)
	}
	now.advance(61 * time.Minute)
	logto.ChangeIDToken(func(token *logtotest.JWT) { moved(24 * time.Hour)(token.Claims) })
	for i, b := range browsers {
		b.get(app.url + "/profile")
		if got := strings.Count(app.log.String(), "the ID tokens of many sessions are not acceptable"); got != map[bool]int{true: 1}[i >= 9] {
			t.Errorf("after %d sessions: got %d lines", i+1, got)
		}
	}
	if got := fmt.Sprint(app.auth.Diagnose(t.Context()).Findings); !strings.Contains(got, "12 sessions") {
		t.Errorf("Diagnose says nothing of them: %s", got)
	}
}

func TestAnUnacceptableAnswerIsAnErrProviderUnavailable(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.router.GET("/errors", func(c *gin.Context) {
		_, err := app.auth.AccessToken(c)
		if !errors.Is(err, logtogin.ErrProviderUnavailable) || !errors.Is(err, logtogin.ErrInvalidToken) || errors.Is(err, logtogin.ErrNotSignedIn) {
			t.Errorf("got %v, want an ErrProviderUnavailable and an ErrInvalidToken", err)
		}
	})
	b := signInAndExpire(app, now)
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["iss"] = "https://evil.example/oidc" })
	b.get(app.url + "/errors")
}

// Organizations that refuse a user say nothing about the session.
func TestManyRefusedOrganizationsEndNoSession(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, _ *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		logto := withRights(t)
		now, change := withClock(logto)
		app := start(func(cfg *logtogin.Config) {
			change(cfg)
			cfg.Endpoint, cfg.AppID, cfg.AppSecret, cfg.Scopes = logto.Endpoint(), logto.AppID(), logto.AppSecret(), rightsScopes
		})
		app.guarded("/in/:org", logtogin.OrganizationAccess(logtogin.FromParam("org")))
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		now.advance(59*time.Minute + 58*time.Second)
		for i := range 20 {
			if page := b.get(fmt.Sprintf("%s/in/organization-%d", app.url, i)); page.status != http.StatusForbidden {
				t.Errorf("organization %d: got %d, want 403", i, page.status)
			}
		}
		now.advance(3 * time.Second) // the session has to be confirmed
		logto.ResetCalls()
		if page := b.get(app.url + "/profile"); page.status != http.StatusOK || logto.Calls().Token != 1 {
			t.Errorf("got %d after %d calls, want the page after one", page.status, logto.Calls().Token)
		}
	})
}

// Webhooks tell that something has changed, and not that Logto could be asked.
func TestWebhooksDoNotPutMaxStaleOff(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := newApplication(t, logto, change)
	app.router.POST("/webhook", app.auth.WebhookHandler("key"))
	logto.AddWebhook(logtotest.Webhook{URL: app.url + "/webhook", SigningKey: "key", Events: []string{"User.Data.Updated"}})
	b := signInAndExpire(app, now)
	oauthError(401, "invalid_client")(logto)
	for _, want := range []int{http.StatusOK, http.StatusOK, http.StatusServiceUnavailable} {
		if page := b.get(app.url + "/profile"); page.status != want {
			t.Errorf("got %d, want %d", page.status, want)
		}
		changed := alice()
		changed.Name = now.Now().String()
		logto.AddUser(changed)
		now.advance(13 * time.Hour)
	}
}

// What another instance has learnt since counts for more than a doubt of this one.
func TestADoubtEndsWithABetterAnswerOfAnotherInstance(t *testing.T) {
	t.Parallel()
	state := newCommonState()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs, func(cfg *logtogin.Config) { cfg.SharedState = state })
	app := newApplication(t, logto, change)
	other := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.BaseURL = app.url })
	app.guarded("/required", logtogin.MatchClaims("anybody", func(*gin.Context, *logtogin.Claims) bool { return true }))
	app.asks()
	b := signInAndExpire(app, now)
	cookies := b.ours(app)
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["iss"] = "https://evil.example/oidc" })
	if page := send(t, http.MethodGet, app.url+"/profile", cookies, nil); page.status != http.StatusServiceUnavailable {
		t.Fatalf("got %d, want 503", page.status)
	}
	logto.Behave()
	now.advance(time.Second)
	for _, address := range []string{other.url + "/profile", app.url + "/profile", app.url + "/required", app.url + "/asks/api"} {
		if page := send(t, http.MethodGet, address, cookies, nil); page.status != http.StatusOK {
			t.Errorf("%s: got %d %s, want 200", address, page.status, page.body)
		}
	}
}

// A requirement that is met by something else lets nobody through whose session is in doubt since.
func TestAChoiceOfRequirementsKeepsADoubt(t *testing.T) {
	t.Parallel()
	logto := withRights(t)
	now, change := withClock(logto)
	app := newApplication(t, logto, func(cfg *logtogin.Config) { change(cfg); cfg.Scopes = rightsScopes })
	app.guarded("/either", logtogin.AnyOf(logtogin.OrganizationAccess(logtogin.OrganizationID("acme")), logtogin.Role("admin")))
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["iss"] = "https://evil.example/oidc" })
	for range 2 {
		if page := b.get(app.url + "/either"); page.status != http.StatusServiceUnavailable {
			t.Errorf("got %d, want 503", page.status)
		}
	}
	_ = now
}

// That every sign-in fails is not the visitors' doing.
func TestAnUnacceptableSignInIsAnErrorInTheLog(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	logto.ChangeIDToken(func(token *logtotest.JWT) { moved(24 * time.Hour)(token.Claims) })
	newBrowser(t).signIn(app.url+"/profile", logtotest.DefaultUser())
	if got := app.log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "iat is") {
		t.Errorf("the log says %s, want an error", got)
	}
}
