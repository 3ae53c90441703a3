package logtogin_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// told is an application that Logto tells of sign-outs.
func told(t *testing.T, logto *logtotest.Server, change func(*logtogin.Config)) *application {
	t.Helper()
	app := newApplication(t, logto, change)
	registered := logto.Application()
	registered.BackchannelLogoutURI, registered.BackchannelLogoutSessionRequired = app.url+"/backchannel-logout", true
	logto.AddApplication(registered)
	return app
}

// logoutToken sends a request as Logto does.
func (app *application) logoutToken(token string) page {
	app.t.Helper()
	return app.logoutRequest(http.MethodPost, "application/x-www-form-urlencoded", "logout_token="+url.QueryEscape(token))
}

func (app *application) logoutRequest(method, contentType, body string) page {
	app.t.Helper()
	r, err := http.NewRequest(method, app.url+"/backchannel-logout", strings.NewReader(body))
	if err != nil {
		app.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Sec-Fetch-Mode", "cors") // as node's fetch sends it
	b := newBrowser(app.t)
	b.header = nil
	return b.do(r)
}

// sidOf is the sid of the session in a browser.
func (b *browser) sidOf(app *application) string {
	b.t.Helper()
	shown := b.get(app.url + "/profile")
	sid, _ := decode(b.t, shown.body)["sid"].(string)
	return sid
}

// idOf is the user's ID in Logto.
func idOf(t *testing.T, logto *logtotest.Server, username string) string {
	t.Helper()
	user, ok := logto.User(username)
	if !ok {
		t.Fatalf("there is no %s", username)
	}
	return user.ID
}

func tokenFor(t *testing.T, logto *logtotest.Server, user, sid string) string {
	t.Helper()
	token, err := logto.LogoutToken(logto.AppID(), user, sid)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// C82 and plan oidcc-client-back-channel-logout-rp-basic (D.4), whose names begin with
// "oidcc-client-test-": exactly 200 and the session is gone, or exactly 400 and it is there.
func TestLogoutTokens(t *testing.T) {
	t.Parallel()
	set := func(claim string, value any) func(*logtotest.JWT) {
		return func(token *logtotest.JWT) { token.Claims[claim] = value }
	}
	without := func(claims ...string) func(*logtotest.JWT) {
		return func(token *logtotest.JWT) {
			for _, claim := range claims {
				delete(token.Claims, claim)
			}
		}
	}
	header := func(name string, value any) func(*logtotest.JWT) {
		return func(token *logtotest.JWT) { token.Header[name] = value }
	}
	ago := func(claim string, ago time.Duration) func(*logtotest.JWT) {
		return func(token *logtotest.JWT) { token.Claims[claim] = time.Now().Add(-ago).Unix() }
	}
	const event = "http://schemas.openid.net/event/backchannel-logout"
	for name, test := range map[string]struct {
		change func(*logtotest.JWT)
		fault  *logtotest.Fault
		accept bool
	}{
		"rp-backchannel-rpinitlogout":                   {change: set("ignored_claim", "x"), accept: true},
		"rp-backchannel-rpinitlogout-alg-none":          {fault: &faults.LogoutTokenUnsigned},
		"it is signed by HMAC":                          {fault: &faults.LogoutTokenWrongAlgorithm},
		"rp-backchannel-rpinitlogout-no-event":          {fault: &faults.LogoutTokenNoEvent},
		"rp-backchannel-rpinitlogout-wrong-event":       {fault: &faults.LogoutTokenWrongEvent},
		"rp-backchannel-rpinitlogout-with-nonce":        {fault: &faults.LogoutTokenWithNonce},
		"rp-backchannel-rpinitlogout-wrong-aud":         {fault: &faults.LogoutTokenWrongAudience},
		"rp-backchannel-rpinitlogout-wrong-iss":         {fault: &faults.LogoutTokenWrongIssuer},
		"a damaged signature":                           {change: damagedSignature},
		"alg is None, and no signature (C31)":           {change: unsigned("None")},
		"alg is nOnE, and no signature (C31)":           {change: unsigned("nOnE")},
		"the signature was taken away (C31)":            {change: func(token *logtotest.JWT) { token.Algorithm = "none" }},
		"iss in capitals (C38)":                         {change: func(token *logtotest.JWT) { token.Claims["iss"] = strings.ToUpper(token.Claims["iss"].(string)) }},
		"iss with a trailing slash (C38)":               {change: func(token *logtotest.JWT) { token.Claims["iss"] = token.Claims["iss"].(string) + "/" }},
		"aud is a list with this application":           {change: func(token *logtotest.JWT) { token.Claims["aud"] = []any{"other", token.Claims["aud"]} }, accept: true},
		"aud is an empty list":                          {change: set("aud", []any{})},
		"aud is missing":                                {change: without("aud")},
		"iss is missing":                                {change: without("iss")},
		"events is a string":                            {change: set("events", event)},
		"events is a list":                              {change: set("events", []any{event})},
		"events is null":                                {change: set("events", nil)},
		"the event is a string":                         {change: set("events", map[string]any{event: "x"})},
		"the event is null":                             {change: set("events", map[string]any{event: nil})},
		"the event is a list":                           {change: set("events", map[string]any{event: []any{}})},
		"the event is in another case":                  {change: set("events", map[string]any{strings.ToUpper(event): map[string]any{}})},
		"there is another event besides":                {change: set("events", map[string]any{event: map[string]any{}, "other": map[string]any{}}), accept: true},
		"the nonce is null":                             {change: set("nonce", nil)},
		"the nonce is empty":                            {change: set("nonce", "")},
		"neither sub nor sid":                           {change: without("sub", "sid")},
		"sub is empty and there is a sid":               {change: set("sub", "")},
		"sub is a number":                               {change: set("sub", 1)},
		"sid is empty and there is a sub":               {change: set("sid", "")},
		"sid is null":                                   {change: set("sid", nil)},
		"only sid":                                      {change: without("sub"), accept: true},
		"only sub":                                      {change: without("sid"), accept: true},
		"iat is missing":                                {change: without("iat")},
		"iat is a string":                               {change: set("iat", "1")},
		"iat is 0":                                      {change: set("iat", 0)},
		"iat is in the future":                          {change: ago("iat", -2*time.Minute)},
		"iat is long past":                              {change: ago("iat", 7*time.Minute)},
		"iat is long past and there is no exp":          {change: func(token *logtotest.JWT) { delete(token.Claims, "exp"); ago("iat", 7*time.Minute)(token) }},
		"iat is some minutes past, and there is no exp": {change: func(token *logtotest.JWT) { delete(token.Claims, "exp"); ago("iat", 5*time.Minute)(token) }, accept: true},
		"iat is within the skew of the clocks":          {change: ago("iat", -30*time.Second), accept: true},
		"there is no exp, as in Logto 1.41":             {fault: &faults.LogoutTokenNoExpiry, accept: true},
		"exp is past":                                   {fault: &faults.LogoutTokenExpired},
		"exp is null":                                   {change: set("exp", nil)},
		"exp is a string":                               {change: set("exp", "99999999999")},
		"exp is huge":                                   {change: set("exp", 1e300)},
		"jti is missing":                                {change: without("jti")},
		"jti is empty":                                  {change: set("jti", "")},
		"jti is a number":                               {change: set("jti", 1)},
		"typ is that of an access token":                {change: header("typ", "at+jwt")},
		"typ is that of an ID token":                    {change: header("typ", "JWT")},
		"typ is a number":                               {change: header("typ", 1)},
		"typ has a prefix and is in another case":       {change: header("typ", "application/Logout+JWT"), accept: true},
		"there is no typ":                               {change: func(token *logtotest.JWT) { delete(token.Header, "typ") }, accept: true},
		"a critical header":                             {change: header("crit", []any{"x"})},
		"it is no token":                                {change: func(token *logtotest.JWT) { token.Raw = "x.y.z" }},
		"it is empty":                                   {change: func(token *logtotest.JWT) { token.Raw = " " }},
		"it is encrypted":                               {change: func(token *logtotest.JWT) { token.Raw = "a.b.c.d.e" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			app := told(t, logto, nil)
			b := newBrowser(t)
			b.signIn(app.url+"/profile", alice())
			sid := b.sidOf(app)
			if test.fault != nil {
				logto.Misbehave(*test.fault)
			}
			if test.change != nil {
				logto.ChangeLogoutToken(test.change)
			}
			answer := app.logoutToken(tokenFor(t, logto, idOf(t, logto, "alice"), sid))
			want := map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[test.accept]
			if answer.status != want || answer.header.Get("Cache-Control") != "no-store" || len(setCookies(answer)) > 0 {
				t.Errorf("%d %v %s", answer.status, answer.header, answer.body)
			}
			if !test.accept && decode(t, answer.body)["error"] == nil {
				t.Errorf("the body is %s", answer.body)
			}
			if b.isSignedIn(app) == test.accept {
				t.Error("signed in:", !test.accept)
			}
		})
	}
}

// C82, C84: a token works once.
func TestALogoutTokenThatComesAgain(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := told(t, logto, nil)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	token := tokenFor(t, logto, idOf(t, logto, "alice"), "")
	if answer := app.logoutToken(token); answer.status != http.StatusOK {
		t.Fatal(answer.status)
	}
	if answer := app.logoutToken(token); answer.status != http.StatusBadRequest {
		t.Error(answer.status)
	}
}

// C18, C82, C85: the request.
func TestLogoutRequests(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := told(t, logto, nil)
	const form = "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		method, contentType string
		body                func(token string) string
		status              int
	}{
		"another parameter is ignored": {"POST", form, func(token string) string { return "ignored_parameter=x&logout_token=" + token }, 200},
		"with a charset":               {"POST", form + "; charset=utf-8", func(token string) string { return "logout_token=" + token }, 200},
		"two tokens":                   {"POST", form, func(token string) string { return "logout_token=" + token + "&logout_token=" + token }, 400},
		"no token":                     {"POST", form, func(string) string { return "" }, 400},
		"a body that is no form":       {"POST", form, func(string) string { return "%zz" }, 400},
		"JSON":                         {"POST", "application/json", func(token string) string { return `{"logout_token":"` + token + `"}` }, 400},
		"no content type":              {"POST", "", func(token string) string { return "logout_token=" + token }, 400},
		"a mebibyte":                   {"POST", form, func(token string) string { return "logout_token=" + token + "&x=" + strings.Repeat("x", 1<<20) }, 400},
		"a token of a mebibyte":        {"POST", form, func(string) string { return "logout_token=" + strings.Repeat("x", 1<<20) }, 400},
		"a hundred thousand dots":      {"POST", form, func(string) string { return "logout_token=" + strings.Repeat(".", 60_000) }, 400},
		"GET":                          {"GET", form, func(token string) string { return "logout_token=" + token }, 404},
		"PUT":                          {"PUT", form, func(token string) string { return "logout_token=" + token }, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if answer := app.logoutRequest(test.method, test.contentType, test.body(tokenFor(t, logto, idOf(t, logto, "alice"), ""))); answer.status != test.status {
				t.Errorf("%d %s", answer.status, answer.body)
			}
		})
	}
	// A parameter in the address is none of the form.
	if page := send(t, http.MethodPost, app.url+"/backchannel-logout?logout_token="+tokenFor(t, logto, idOf(t, logto, "alice"), ""), nil, nil); page.status != http.StatusBadRequest {
		t.Errorf("%d", page.status)
	}
}

// An ID token is no logout token, and a logout token is no other token (C36).
func TestTokensOfOneKindAreNotOfAnother(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := told(t, logto, forAPIs)
	app.router.GET("/api", app.auth.Bearer(ordersAPI), func(*gin.Context) {})
	app.router.GET("/id-token", app.auth.Guard(), func(c *gin.Context) {
		token, err := app.auth.IDToken(c)
		c.String(http.StatusOK, "%s%v", token, err)
	})
	b := newBrowser(t)
	idToken := strings.TrimSuffix(b.signIn(app.url+"/id-token", alice()).body, "<nil>")
	for name, token := range map[string]string{"an ID token": idToken, "an access token": logto.AccessToken(alice(), ordersAPI)} {
		if answer := app.logoutToken(token); answer.status != http.StatusBadRequest {
			t.Errorf("%s is a logout token: %d", name, answer.status)
		}
	}
	logto.ChangeLogoutToken(func(token *logtotest.JWT) {
		token.Claims["aud"], token.Claims["client_id"] = ordersAPI, "x"
	})
	logout := tokenFor(t, logto, idOf(t, logto, "alice"), "")
	if page := send(t, http.MethodGet, app.url+"/api", nil, http.Header{"Authorization": {"Bearer " + logout}}); page.status != http.StatusUnauthorized {
		t.Errorf("a logout token is an access token: %d", page.status)
	}
}

// C83: which sessions end.
func TestWhichSessionsALogoutTokenEnds(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t, logtotest.User{ID: "bob000000000", Username: "bob", Password: "bob-password"})
	now, change := withClock(logto, forAPIs)
	bob := logtotest.User{Username: "bob", Password: "bob-password"}
	for name, test := range map[string]struct {
		token func(sid string) (sub, tokenSID string)
		// hidden leaves sid out of the ID tokens, as Logto does without "session required".
		hidden bool
		// Who is signed in afterwards: alice in the browser with the sid, alice in another
		// one, bob.
		after [3]bool
	}{
		"sid and sub":                      {func(sid string) (string, string) { return aliceID, sid }, false, [3]bool{false, true, true}},
		"only sub":                         {func(string) (string, string) { return aliceID, "" }, false, [3]bool{false, false, true}},
		"a sid that nobody has":            {func(string) (string, string) { return aliceID, "unknown" }, false, [3]bool{true, true, true}},
		"a sub that nobody has":            {func(string) (string, string) { return "nobody", "" }, false, [3]bool{true, true, true}},
		"the sid with another sub":         {func(sid string) (string, string) { return "nobody", sid }, false, [3]bool{false, true, true}},
		"sid and sub, sessions have none":  {func(string) (string, string) { return aliceID, "unknown" }, true, [3]bool{false, false, true}},
		"only sub, and sessions have none": {func(string) (string, string) { return aliceID, "" }, true, [3]bool{false, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			app := told(t, logto, change)
			if test.hidden {
				registered := logto.Application()
				registered.BackchannelLogoutSessionRequired = false
				logto.AddApplication(registered)
			}
			var browsers [3]*browser
			for i, user := range []logtotest.User{alice(), alice(), bob} {
				browsers[i] = newBrowser(t)
				browsers[i].signIn(app.url+"/profile", user)
			}
			sub, sid := test.token(browsers[0].sidOf(app))
			if answer := app.logoutToken(tokenFor(t, logto, sub, sid)); answer.status != http.StatusOK {
				t.Fatalf("%d %s", answer.status, answer.body)
			}
			for i, b := range browsers {
				if b.isSignedIn(app) != test.after[i] {
					t.Errorf("browser %d: signed in %v", i, !test.after[i])
				}
			}
			// Who signs in afterwards stays: by Logto's clock that is later.
			now.advance(time.Second)
			later := newBrowser(t)
			later.signIn(app.url+"/profile", alice())
			if !later.isSignedIn(app) {
				t.Error("a later sign-in has ended")
			}
		})
	}
}

// A session began when its first ID token was issued, and no refresh makes it younger.
func TestARefreshDoesNotMakeASessionYounger(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	now, change := withClock(logto, forAPIs)
	app := told(t, logto, change)
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	token := tokenFor(t, logto, idOf(t, logto, "alice"), "")
	now.advance(61 * time.Minute)
	if page := b.get(app.url + "/profile"); page.status != http.StatusOK || logto.Calls().Token != 2 {
		t.Fatalf("%d, %d token calls", page.status, logto.Calls().Token)
	}
	// The token is no longer accepted, so another one of the same moment is made.
	logto.ChangeLogoutToken(func(token *logtotest.JWT) {
		token.Claims["iat"] = now.Now().Add(-4 * time.Minute).Unix()
	})
	if answer := app.logoutToken(token); answer.status != http.StatusBadRequest {
		t.Errorf("an old token: %d", answer.status)
	}
	if answer := app.logoutToken(tokenFor(t, logto, idOf(t, logto, "alice"), "")); answer.status != http.StatusOK || b.isSignedIn(app) {
		t.Errorf("%d, signed in %v", answer.status, b.isSignedIn(app))
	}
}

// Signing out at one application signs out at another, which Logto tells; also the one that
// started it. The refresh token, which Logto leaves alone, is revoked when the browser comes.
func TestSigningOutElsewhere(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		here := start(nil)
		registered := logto.Application()
		registered.BackchannelLogoutURI, registered.BackchannelLogoutSessionRequired = here.url+"/backchannel-logout", true
		logto.AddApplication(registered)
		other := logto.AddApplication(logtotest.Application{})
		there := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.AppID, cfg.AppSecret = other.ID, other.Secret })
		other.BackchannelLogoutURI = there.url + "/backchannel-logout"
		logto.AddApplication(other)

		b := newBrowser(t)
		b.signIn(here.url+"/profile", alice())
		b.signIn(there.url+"/profile", alice())
		if !b.isSignedIn(here) || !b.isSignedIn(there) {
			t.Fatal("not signed in at both")
		}
		cookies := b.ours(here)
		logto.ResetCalls()
		b.submit(b.get(there.url+"/sign-out"), url.Values{"logout": {"yes"}})
		if deliveries := logto.Deliveries(); len(deliveries) != 2 || deliveries[0].Status != http.StatusOK || deliveries[1].Status != http.StatusOK {
			t.Fatalf("%+v", deliveries)
		}
		if b.isSignedIn(there) || logto.Calls().Revocation != 1 {
			t.Errorf("where it was started: signed in %v, %d revocations", b.isSignedIn(there), logto.Calls().Revocation)
		}
		page := send(t, http.MethodGet, here.url+"/", cookies, nil)
		if page.body != "not signed in" || len(page.header.Values("Set-Cookie")) > 0 { // a dead cookie is left alone
			t.Errorf("%s, cookies %v", page.body, page.header["Set-Cookie"])
		}
		if store := here.store; store != nil && len(store.values(t)) > 0 {
			t.Error("the record is still there")
		}
		for range 3 { // once is enough
			send(t, http.MethodGet, here.url+"/", cookies, nil)
		}
		if err := here.auth.Close(); err != nil { // waits for what is under way
			t.Error(err)
		}
		if calls := logto.Calls().Revocation; calls != 2 {
			t.Errorf("%d revocations", calls)
		}
	})
}

// A request that is being handled while its session is revoked cannot save it back.
func TestASessionThatIsRevokedDuringARequest(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		now, change := withClock(logto)
		app := start(change)
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		cookies := b.ours(app)
		now.advance(61 * time.Minute)
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if err := app.auth.RevokeUser(r.Context(), idOf(t, logto, "alice")); err != nil {
				t.Error(err)
			}
			next.ServeHTTP(w, r)
		})
		if page := send(t, http.MethodGet, app.url+"/profile", cookies, nil); page.status != http.StatusFound {
			t.Errorf("%d %s", page.status, page.body)
		}
		logto.Intercept(logtotest.Token, nil)
		for _, order := range [][]*http.Cookie{cookies, b.ours(app)} {
			if page := send(t, http.MethodGet, app.url+"/", order, nil); page.body != "not signed in" {
				t.Errorf("%s", page.body)
			}
		}
		if store := app.store; store != nil && len(store.values(t)) > 0 {
			t.Error("the record is back")
		}
	})
}

func TestRevokingUsersAndSessions(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t, logtotest.User{ID: "bob000000000", Username: "bob", Password: "bob-password"})
	now, change := withClock(logto, forAPIs)
	for name, test := range map[string]struct {
		revoke func(app *application, sid string) error
		after  [3]bool
		token  int // what an access token of alice's from before gets
	}{
		"a user":                  {func(app *application, _ string) error { return app.auth.RevokeUser(t.Context(), aliceID) }, [3]bool{false, false, true}, 401},
		"a session":               {func(app *application, sid string) error { return app.auth.RevokeSession(t.Context(), sid) }, [3]bool{false, true, true}, 200},
		"nobody":                  {func(app *application, _ string) error { return app.auth.RevokeUser(t.Context(), "nobody") }, [3]bool{true, true, true}, 200},
		"a session nobody has":    {func(app *application, _ string) error { return app.auth.RevokeSession(t.Context(), "none") }, [3]bool{true, true, true}, 200},
		"a user as a session":     {func(app *application, _ string) error { return app.auth.RevokeSession(t.Context(), aliceID) }, [3]bool{true, true, true}, 200},
		"a session as of no user": {func(app *application, sid string) error { return app.auth.RevokeUser(t.Context(), sid) }, [3]bool{true, true, true}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			app := told(t, logto, change)
			app.router.GET("/api", app.auth.Bearer(ordersAPI), func(*gin.Context) {})
			api := func(token string) int {
				return send(t, http.MethodGet, app.url+"/api", nil, http.Header{"Authorization": {"Bearer " + token}}).status
			}
			var browsers [3]*browser
			for i, user := range []logtotest.User{alice(), alice(), {Username: "bob", Password: "bob-password"}} {
				browsers[i] = newBrowser(t)
				browsers[i].signIn(app.url+"/profile", user)
			}
			before := logto.AccessToken(alice(), ordersAPI)
			if status := api(before); status != http.StatusOK {
				t.Fatal(status)
			}
			now.advance(time.Millisecond)
			if err := test.revoke(app, browsers[0].sidOf(app)); err != nil {
				t.Fatal(err)
			}
			for i, b := range browsers {
				if b.isSignedIn(app) != test.after[i] {
					t.Errorf("browser %d: signed in %v", i, !test.after[i])
				}
			}
			if status := api(before); status != test.token {
				t.Errorf("the token gets %d", status)
			}
			// No later sign-in ends: in the same second, by our clock, and with the same sid.
			now.advance(time.Millisecond)
			if page := browsers[0].signIn(app.url+"/profile", alice()); page.status != http.StatusOK || !browsers[0].isSignedIn(app) {
				t.Errorf("a later sign-in: %d %s", page.status, page.body)
			}
			now.advance(31 * time.Second) // half of ClockSkew
			if status := api(logto.AccessToken(alice(), ordersAPI)); status != http.StatusOK {
				t.Errorf("a later token gets %d", status)
			}
		})
	}
	app := told(t, logto, nil)
	if err := app.auth.RevokeUser(t.Context(), ""); !errors.Is(err, logtogin.ErrInvalidOptions) {
		t.Error(err)
	}
	if err := app.auth.RevokeSession(t.Context(), ""); !errors.Is(err, logtogin.ErrInvalidOptions) {
		t.Error(err)
	}
}

// C97: two applications of Logto in one process.
func TestApplicationsDoNotSeeEachOthersRevocations(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	other := logto.AddApplication(logtotest.Application{})
	state := newCommonState()
	one := told(t, logto, func(cfg *logtogin.Config) { cfg.SharedState = state })
	two := newApplication(t, logto, func(cfg *logtogin.Config) { cfg.AppID, cfg.AppSecret, cfg.SharedState = other.ID, other.Secret, state })
	b := newBrowser(t)
	b.signIn(one.url+"/profile", alice())
	b.signIn(two.url+"/profile", alice())
	if answer := two.logoutToken(tokenFor(t, logto, idOf(t, logto, "alice"), "")); answer.status != http.StatusBadRequest {
		t.Errorf("a logout token for the other one: %d", answer.status)
	}
	if err := one.auth.RevokeUser(t.Context(), idOf(t, logto, "alice")); err != nil {
		t.Error(err)
	}
	if b.isSignedIn(one) || !b.isSignedIn(two) {
		t.Error("signed in at one:", b.isSignedIn(one), "and at two:", b.isSignedIn(two))
	}
	if len(state.logs) != 1 {
		t.Errorf("%d logs", len(state.logs))
	}
}

// Without keys nothing can be said about a token, and Logto may be down for everybody.
func TestALogoutTokenThatCannotBeVerifiedNow(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := told(t, logto, nil)
	token := tokenFor(t, logto, idOf(t, logto, "alice"), "")
	logto.Misbehave(faults.KeysDown)
	if answer := app.logoutToken(token); answer.status != http.StatusServiceUnavailable || answer.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", answer.status, answer.header)
	}
}

// "Sign out everywhere": a session that was revoked in the same request is signed out like
// any other.
func TestSigningOutAfterRevoking(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		told := 0
		app := start(func(cfg *logtogin.Config) { cfg.OnSignedOut = func(*gin.Context, *logtogin.Claims) { told++ } })
		app.router.POST("/everywhere", app.auth.Guard(), func(c *gin.Context) {
			claims, _ := logtogin.ClaimsFrom(c)
			if err := app.auth.RevokeUser(c.Request.Context(), claims.Subject); err != nil {
				t.Error(err)
			}
			app.auth.SignOut(c, logtogin.SignOutOptions{LocalOnly: true})
		})
		b := newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		b.post(app.url+"/everywhere", nil)
		if calls := logto.Calls().Revocation; calls != 1 || told != 1 || b.isSignedIn(app) {
			t.Errorf("%d revocations, told %d times, signed in %v", calls, told, b.isSignedIn(app))
		}
	})
}

// C57: a late answer to a request of A's neither brings A back nor signs B out, who has
// signed in in the same browser meanwhile.
func TestALateAnswerLeavesTheNextUserAlone(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, logto *logtotest.Server, start func(func(*logtogin.Config)) *application) {
		bob := logto.AddUser(logtotest.User{Username: "bob", Password: "bob-password"})
		now, change := withClock(logto)
		app := start(func(cfg *logtogin.Config) { change(cfg); cfg.IdleTimeout = 10 * time.Hour })
		b, other := newBrowser(t), newBrowser(t)
		b.signIn(app.url+"/profile", alice())
		now.advance(61 * time.Minute) // for a refresh, and for activity to be written
		callback := other.signInUntilCallback(app, bob)
		b.plant(app, other.ours(app))
		signIn := func() {
			request, err := http.NewRequest(http.MethodGet, callback.String(), nil)
			if err != nil {
				t.Error(err)
				return
			}
			b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			response, err := b.client.Do(request)
			if err != nil || response.StatusCode != http.StatusFound {
				t.Errorf("the callback: %v %v", response, err)
				return
			}
			_ = response.Body.Close()
		}
		asked := false
		logto.Intercept(logtotest.Token, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			if r.PostForm.Get("grant_type") == "refresh_token" && !asked {
				asked = true
				signIn()
			}
			next.ServeHTTP(w, r)
		})
		request, err := http.NewRequest(http.MethodGet, app.url+"/profile", nil)
		if err != nil {
			t.Fatal(err)
		}
		late := b.do(request)
		if !asked || late.status == http.StatusOK {
			t.Errorf("asked %v, the late answer: %d %s", asked, late.status, late.body)
		}
		b.keepGoing()
		if page := b.get(app.url + "/"); page.body != "signed in as bob" {
			t.Errorf("%d %s", page.status, page.body)
		}
	})
}
