package logtogin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/logtotest/faults"
)

// resourceServer is an API that only verifies tokens: it has no AppID and no sessions.
func resourceServer(t *testing.T, logto *logtotest.Server, change func(*logtogin.Config)) (*logtogin.Auth, *gin.Engine, *logBuffer) {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	log := &logBuffer{}
	cfg := logtogin.Config{Endpoint: logto.Endpoint(), HTTPClient: logto.Client(), Now: logto.Now, Logger: log.logger()}
	if change != nil {
		change(&cfg)
	}
	auth, err := logtogin.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	return auth, gin.New(), log
}

func ask(router http.Handler, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	router.ServeHTTP(w, r)
	return w
}

func bearerHeader(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// The three models of https://docs.logto.io/authorization, C36, C55, C86, C89.
func TestBearerLetsInWhoHasTheRight(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	auth, router, _ := resourceServer(t, logto, nil)
	reached := 0
	handler := func(c *gin.Context) {
		reached++
		claims, ok := logtogin.AccessTokenClaimsFrom(c)
		if !ok || c.MustGet(logtogin.AccessTokenClaimsKey) != any(claims) {
			t.Error("no claims")
			return
		}
		c.String(http.StatusOK, "%s %s", claims.Subject, c.GetString(logtogin.OrganizationKey))
	}
	router.GET("/any", auth.Bearer(ordersAPI), handler)
	router.GET("/read", auth.Bearer(ordersAPI, logtogin.Scope("read:orders")), handler)
	router.GET("/both", auth.Bearer(ordersAPI, logtogin.Scope("read:orders", "write:orders")), handler)
	router.GET("/several", auth.Bearer(ordersAPI, logtogin.Scope("read:orders"), logtogin.Scope("write:orders", "read:orders"), logtogin.AnyOf(logtogin.Scope("admin"), logtogin.Scope("root"))), handler)
	router.GET("/either", auth.Bearer(ordersAPI, logtogin.AnyOf(logtogin.Scope("read:orders"), logtogin.Scope("write:orders"))), handler)
	router.GET("/machine", auth.Bearer(ordersAPI, logtogin.MachineOnly()), handler)
	router.GET("/user", auth.Bearer(ordersAPI, logtogin.UserOnly()), handler)
	router.GET("/own", auth.Bearer(ordersAPI, logtogin.MatchToken("the owner", func(c *gin.Context, claims *logtogin.AccessTokenClaims) bool {
		return claims.Subject == c.Query("owner")
	})), handler)
	router.GET("/within/:org", auth.Bearer(ordersAPI, logtogin.InOrganization(logtogin.FromParam("org")), logtogin.Scope("read:orders")), handler)
	router.GET("/maybe/:org", auth.Bearer(ordersAPI, logtogin.AnyOf(logtogin.InOrganization(logtogin.FromParam("org")), logtogin.Scope("admin"))), handler)
	router.GET("/organization/:org", auth.BearerOrganization(logtogin.FromParam("org"), logtogin.Scope("invite")), handler)
	router.GET("/acme", auth.BearerOrganization(logtogin.OrganizationID("acme")), handler)
	router.GET("/header", auth.BearerOrganization(logtogin.FromHeader("X-Organization")), handler)
	router.GET("/query", auth.BearerOrganization(logtogin.FromQuery("org")), handler)
	router.GET("/found", auth.BearerOrganization(logtogin.FromRequest(func(*gin.Context) string { return "acme" })), handler)

	user := logtotest.User{ID: "alice"}
	read := logto.AccessToken(user, ordersAPI, "read:orders")
	write := logto.AccessToken(user, ordersAPI, "read:orders", "write:orders")
	none := logto.AccessToken(user, ordersAPI)
	stock := logto.AccessToken(user, stockAPI, "read:orders", "admin")
	machine := logto.MachineToken("cron", ordersAPI, "read:orders")
	within := logto.OrganizationToken(user, "acme", ordersAPI, "read:orders")
	organization := logto.OrganizationToken(user, "acme", "", "invite")
	const insufficient, invalid = `Bearer error="insufficient_scope"`, `Bearer error="invalid_token"`
	for _, test := range []struct {
		path, token string
		status      int
		says        string // the body or the challenge
	}{
		{"/any", read, 200, "alice "},
		{"/any", none, 200, "alice "},
		{"/any", machine, 200, "cron "},
		{"/any", stock, 401, invalid},
		{"/any", within, 401, invalid}, // a right within one organization is none over the whole
		{"/any", organization, 401, invalid},
		{"/read", read, 200, "alice "},
		{"/read", none, 403, insufficient + `, scope="read:orders"`},
		{"/both", write, 200, "alice "},
		{"/both", read, 403, insufficient + `, scope="read:orders write:orders"`},
		{"/several", none, 403, insufficient + `, scope="read:orders write:orders admin root"`},
		{"/several", read, 403, insufficient + `, scope="write:orders read:orders admin root"`},
		{"/several", write, 403, insufficient + `, scope="admin root"`},
		{"/several", logto.AccessToken(user, ordersAPI, "read:orders", "write:orders", "root"), 200, "alice "},
		{"/either", read, 200, "alice "},
		{"/either", none, 403, insufficient + `, scope="read:orders write:orders"`},
		{"/machine", machine, 200, "cron "},
		{"/machine", read, 403, insufficient},
		{"/user", read, 200, "alice "},
		{"/user", machine, 403, insufficient},
		{"/own?owner=alice", none, 200, "alice "},
		{"/own?owner=bob", none, 403, insufficient},
		{"/within/acme", within, 200, "alice acme"},
		{"/within/other", within, 403, insufficient}, // no scope would help
		{"/within/acme", read, 403, insufficient},
		{"/within/acme", organization, 401, invalid},
		{"/within/acme", logto.OrganizationToken(user, "acme", ordersAPI), 403, insufficient + `, scope="read:orders"`},
		{"/maybe/acme", within, 200, "alice acme"},
		{"/maybe/acme", logto.AccessToken(user, ordersAPI, "admin"), 200, "alice "},
		{"/maybe/acme", logto.OrganizationToken(user, "other", ordersAPI, "admin"), 403, insufficient + `, scope="admin"`},
		{"/maybe/acme", read, 403, insufficient + `, scope="admin"`},
		{"/organization/acme", organization, 200, "alice acme"},
		{"/organization/other", organization, 401, invalid},
		{"/organization/acme", logto.OrganizationToken(user, "acme", ""), 403, insufficient + `, scope="invite"`},
		{"/organization/acme", within, 401, invalid},
		{"/organization/acme", read, 401, invalid},
		{"/acme", organization, 200, "alice acme"},
		{"/query?org=acme", organization, 200, "alice acme"},
		{"/query?org=other", organization, 401, invalid},
		{"/query", organization, 401, invalid},
		{"/header", organization, 401, invalid},
		{"/found", organization, 200, "alice acme"},
	} {
		for round := range 2 { // verified, and remembered (C93)
			before := reached
			w := ask(router, test.path, bearerHeader(test.token))
			challenge := w.Header().Get("WWW-Authenticate")
			if w.Code != test.status || (test.status == 200 && w.Body.String() != test.says) || (test.status != 200 && challenge != test.says) {
				t.Errorf("%s, round %d: %d %q %s", test.path, round, w.Code, challenge, w.Body)
			}
			if wasReached := reached > before; wasReached != (test.status == 200) {
				t.Errorf("%s: the handler has run: %v", test.path, wasReached)
			}
			if w.Header().Get("Cache-Control") != "private, no-store" || !strings.Contains(strings.Join(w.Header()["Vary"], ","), "Authorization") {
				t.Errorf("%s: %v", test.path, w.Header())
			}
		}
	}
}

// C87, C88, C40.
func TestWhatIsNoBearerToken(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	auth, router, log := resourceServer(t, logto, nil)
	router.GET("/", auth.Bearer(ordersAPI), func(*gin.Context) { t.Error("reached") })
	good := logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI)
	header, payload, _ := strings.Cut(good, ".")
	const request, invalid = `Bearer error="invalid_request"`, `Bearer error="invalid_token"`
	for name, test := range map[string]struct {
		lines     []string
		status    int
		challenge string
	}{
		"no header":            {nil, 401, "Bearer"},
		"an empty one":         {[]string{""}, 401, "Bearer"},
		"another scheme":       {[]string{"Basic YTpi"}, 401, "Bearer"},
		"a scheme that begins": {[]string{"Bearerer " + good}, 401, "Bearer"},
		"no token":             {[]string{"Bearer"}, 400, request},
		"only spaces":          {[]string{"Bearer   "}, 400, request},
		"two headers":          {[]string{"Bearer " + good, "Bearer " + good}, 400, request},
		"two in one":           {[]string{"Bearer " + good + ", Bearer " + good}, 400, request},
		"a token and more":     {[]string{"Bearer " + good + " x"}, 400, request},
		"not UTF-8":            {[]string{"Bearer \xff\xfe.a.b"}, 400, request},
		"control characters":   {[]string{"Bearer a.b.c\x01"}, 400, request},
		"a megabyte":           {[]string{"Bearer " + strings.Repeat("a", 1<<20)}, 400, request},
		"dots":                 {[]string{"Bearer " + strings.Repeat(".", 60_000)}, 401, invalid},
		"an opaque token":      {[]string{"Bearer 05ciIJG_nmxSZTP1MHXx8C817kyZ8JL3bibT352jBoA"}, 401, invalid},
		"a JWE":                {[]string{"Bearer a.b.c.d.e"}, 401, invalid},
		"without a signature":  {[]string{"Bearer " + header + "." + strings.Split(payload, ".")[0] + "."}, 401, invalid},
		"changed":              {[]string{"Bearer " + good[:len(good)-8] + "AAAAAAAA"}, 401, invalid},
	} {
		w := ask(router, "/", http.Header{"Authorization": test.lines})
		if test.lines == nil {
			w = ask(router, "/?access_token="+good, nil)
		}
		if w.Code != test.status || w.Header().Get("WWW-Authenticate") != test.challenge || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
		}
	}
	if strings.Contains(log.String(), good[:40]) || strings.Contains(log.String(), strings.Repeat("a", 100)) {
		t.Error("a token is in the log")
	}
	// Who has not enough rights is named to the operator.
	router.GET("/more", auth.Bearer(ordersAPI, logtogin.Scope("more")), func(c *gin.Context) { c.Status(http.StatusNoContent) })
	if w := ask(router, "/more", bearerHeader(good)); w.Code != http.StatusForbidden || !strings.Contains(log.String(), `sub=alice`) {
		t.Errorf("%d %s", w.Code, log)
	}
	// A scheme in another case is the same scheme.
	router.GET("/lower", auth.Bearer(ordersAPI), func(c *gin.Context) { c.Status(http.StatusNoContent) })
	if w := ask(router, "/lower", http.Header{"Authorization": {"bEARER " + good}}); w.Code != http.StatusNoContent {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// C36, C41, and what the developer is told.
func TestTokensThatAreNotAccessTokens(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		change func(*logtotest.JWT)
		reason string
	}{
		"an ID token":                  {func(token *logtotest.JWT) { token.Header["typ"] = "JWT" }, "ID token"},
		"no typ":                       {func(token *logtotest.JWT) { delete(token.Header, "typ") }, "ID token"},
		"a logout token":               {func(token *logtotest.JWT) { token.Header["typ"] = "logout+jwt" }, "logout token"},
		"another kind":                 {func(token *logtotest.JWT) { token.Header["typ"] = "secevent+jwt" }, "typ is"},
		"another issuer":               {func(token *logtotest.JWT) { token.Claims["iss"] = "https://evil.example/oidc" }, "iss"},
		"an issuer in capitals (C38)":  {func(token *logtotest.JWT) { token.Claims["iss"] = strings.ToUpper(token.Claims["iss"].(string)) }, "iss"},
		"an issuer with a slash (C38)": {func(token *logtotest.JWT) { token.Claims["iss"] = token.Claims["iss"].(string) + "/" }, "iss"},
		"no issuer":                    {func(token *logtotest.JWT) { delete(token.Claims, "iss") }, "iss"},
		"no subject":                   {func(token *logtotest.JWT) { token.Claims["sub"] = "" }, "sub"},
		"a null subject":               {func(token *logtotest.JWT) { token.Claims["sub"] = nil }, "sub"},
		"no client":                    {func(token *logtotest.JWT) { delete(token.Claims, "client_id") }, "client_id"},
		"no audience":                  {func(token *logtotest.JWT) { delete(token.Claims, "aud") }, "aud"},
		"an empty audience":            {func(token *logtotest.JWT) { token.Claims["aud"] = []any{} }, "aud"},
		"an audience like it":          {func(token *logtotest.JWT) { token.Claims["aud"] = strings.TrimRight(ordersAPI, "/") }, "aud"},
		"expired":                      {func(token *logtotest.JWT) { token.Claims["exp"] = now.Unix() - 61 }, "exp"},
		"without an end":               {func(token *logtotest.JWT) { delete(token.Claims, "exp") }, "exp"},
		"an end of 0":                  {func(token *logtotest.JWT) { token.Claims["exp"] = 0 }, "exp"},
		"issued in the future":         {func(token *logtotest.JWT) { token.Claims["iat"] = now.Unix() + 3600 }, "iat"},
		"not yet valid":                {func(token *logtotest.JWT) { token.Claims["nbf"] = now.Unix() + 3600 }, "nbf"},
		"unsigned":                     {unsigned("none"), "algorithm"},
		"unsigned, by None (C31)":      {unsigned("None"), "algorithm"},
		"unsigned, by nOnE (C31)":      {unsigned("nOnE"), "algorithm"},
		"without its signature (C31)":  {func(token *logtotest.JWT) { token.Algorithm = "none" }, "signature"},
		"a critical extension":         {func(token *logtotest.JWT) { token.Header["crit"] = []any{"b64"} }, "critical"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			auth, router, log := resourceServer(t, logto, nil)
			router.GET("/", auth.Bearer(ordersAPI), func(*gin.Context) { t.Error("reached") })
			logto.ChangeAccessToken(test.change)
			token := logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI)
			for range 2 {
				w := ask(router, "/", bearerHeader(token))
				if w.Code != 401 || !strings.Contains(log.String(), test.reason) || !strings.Contains(w.Body.String(), "The access token is not valid") {
					t.Errorf("%d %s, log: %s", w.Code, w.Body, log)
				}
			}
		})
	}
	t.Run("acceptable ones", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		auth, router, _ := resourceServer(t, logto, func(cfg *logtogin.Config) { cfg.AdditionalIssuers = []string{"https://auth.example.com/oidc"} })
		router.GET("/", auth.Bearer(ordersAPI), func(c *gin.Context) { c.Status(http.StatusNoContent) })
		for name, change := range map[string]func(*logtotest.JWT){
			"a custom domain":   func(token *logtotest.JWT) { token.Claims["iss"] = "https://auth.example.com/oidc" },
			"the long form":     func(token *logtotest.JWT) { token.Header["typ"] = "application/AT+JWT" },
			"several audiences": func(token *logtotest.JWT) { token.Claims["aud"] = []any{"https://other.example", ordersAPI} },
			"within the skew":   func(token *logtotest.JWT) { token.Claims["exp"] = logto.Now().Unix() - 30 },
			"without a scope":   func(token *logtotest.JWT) { delete(token.Claims, "scope") },
		} {
			logto.ChangeAccessToken(change)
			if w := ask(router, "/", bearerHeader(logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI))); w.Code != http.StatusNoContent {
				t.Errorf("%s: %d %s", name, w.Code, w.Body)
			}
		}
	})
}

// C42 to C45: the keys that a remembered token was verified by.
func TestRememberedTokensAndKeys(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.SetNow(newClock().Now)
	auth, router, _ := resourceServer(t, logto, nil)
	router.GET("/", auth.Bearer(ordersAPI), func(c *gin.Context) { c.Status(http.StatusNoContent) })
	status := func(token string) int { return ask(router, "/", bearerHeader(token)).Code }
	user := logtotest.User{ID: "alice"}

	logto.Misbehave(faults.Down)
	old := logto.AccessToken(user, ordersAPI)
	if w := ask(router, "/", bearerHeader(old)); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" || w.Header().Get("WWW-Authenticate") != "" {
		t.Errorf("keys that were never had: %d %v", w.Code, w.Header())
	}
	logto.Behave()
	logto.Advance(2 * time.Second)
	if got := status(old); got != http.StatusNoContent {
		t.Errorf("Logto is back: %d", got)
	}
	// An outage changes nothing for keys that are known.
	logto.Misbehave(faults.Down)
	logto.Advance(20 * time.Minute)
	if got := status(old); got != http.StatusNoContent {
		t.Errorf("during an outage: %d", got)
	}
	logto.Behave()
	logto.Advance(2 * time.Second)
	logto.ResetCalls()
	for i := range 1000 {
		logto.ChangeAccessToken(func(token *logtotest.JWT) { token.Header["kid"] = fmt.Sprint("unknown-", i) })
		if got := status(logto.AccessToken(user, ordersAPI)); got != http.StatusUnauthorized {
			t.Fatalf("an unknown key: %d", got)
		}
	}
	if calls := logto.Calls().Keys; calls > 2 {
		t.Errorf("%d fetches for a thousand unknown keys", calls)
	}
	logto.Behave()
	logto.Advance(11 * time.Second)
	if err := logto.RotateKey("ES256"); err != nil {
		t.Fatal(err)
	}
	if got := status(logto.AccessToken(user, ordersAPI)); got != http.StatusNoContent {
		t.Errorf("a new key: %d", got)
	}
	if got := status(old); got != http.StatusNoContent {
		t.Errorf("the key before is still there: %d", got)
	}
	// After the second rotation the first key is withdrawn: within ten minutes, nothing
	// that it has signed is accepted.
	if err := logto.RotateKey("ES256"); err != nil {
		t.Fatal(err)
	}
	logto.Advance(10*time.Minute + time.Second)
	if got := status(old); got != http.StatusUnauthorized {
		t.Errorf("a withdrawn key: %d", got)
	}
}

// Keys that are in use are fetched every five minutes, and not sooner.
func TestKeysInUseAreRenewed(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.SetNow(newClock().Now)
	auth, router, _ := resourceServer(t, logto, nil)
	router.GET("/", auth.Bearer(ordersAPI), func(c *gin.Context) { c.Status(http.StatusNoContent) })
	use := func() {
		t.Helper()
		if w := ask(router, "/", bearerHeader(logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI))); w.Code != http.StatusNoContent {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	// A token of an unknown key waits for the fetch that is under way, and causes none so soon
	// after one.
	expect := func(fetches int) {
		t.Helper()
		logto.ChangeAccessToken(func(token *logtotest.JWT) { token.Header["kid"] = "unknown" })
		if w := ask(router, "/", bearerHeader(logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI))); w.Code != http.StatusUnauthorized {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		logto.ChangeAccessToken(nil)
		if calls := logto.Calls().Keys; calls != fetches {
			t.Errorf("%d fetches, want %d", calls, fetches)
		}
	}
	use()
	for fetches := 1; fetches < 12; fetches++ {
		expect(fetches)
		logto.Advance(5*time.Minute - time.Second)
		use()
		if calls := logto.Calls().Keys; calls != fetches {
			t.Errorf("%d fetches before the time, want %d", calls, fetches)
		}
		logto.Advance(time.Second)
		use() // goes on with the keys at hand
		eventually(t, func() bool { return logto.Calls().Keys > fetches })
	}
	expect(12)
}

// C93.
func TestARememberedTokenExpires(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	logto.SetNow(newClock().Now)
	auth, router, _ := resourceServer(t, logto, nil)
	router.GET("/", auth.Bearer(ordersAPI), func(c *gin.Context) {
		claims, _ := logtogin.AccessTokenClaimsFrom(c)
		if claims.Subject != "alice" || claims.Scopes[0] != "read" || claims.Audience[0] != ordersAPI {
			t.Errorf("%+v", claims)
		}
		// What a handler gets is its own.
		claims.Subject, claims.Scopes[0], claims.Audience[0] = "spoiled", "spoiled", "spoiled"
	})
	token := logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI, "read")
	for _, after := range []time.Duration{0, 0, 0, time.Hour} {
		logto.Advance(after)
		if w := ask(router, "/", bearerHeader(token)); w.Code != http.StatusOK {
			t.Errorf("%d", w.Code)
		}
	}
	logto.Advance(61 * time.Second)
	if w := ask(router, "/", bearerHeader(token)); w.Code != 401 {
		t.Errorf("after its end: %d", w.Code)
	}
}

func TestOnErrorOfBearer(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	auth, router, _ := resourceServer(t, logto, func(cfg *logtogin.Config) {
		cfg.OnError = func(c *gin.Context, err error) { c.String(logtogin.StatusCode(err), "own: %v", err) }
	})
	router.Any("/", auth.Bearer(ordersAPI, logtogin.Scope("x")), func(c *gin.Context) { c.String(http.StatusOK, "reached") })
	w := ask(router, "/", bearerHeader(logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI)))
	if w.Code != 403 || !strings.HasPrefix(w.Body.String(), "own: logtogin: insufficient rights: scope x") || !strings.Contains(w.Header().Get("WWW-Authenticate"), "insufficient_scope") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestSessionOrBearer(t *testing.T) {
	t.Parallel()
	logto := withAPIs(t)
	app := newApplication(t, logto, forAPIs)
	app.router.GET("/orders", app.auth.SessionOrBearer(app.auth.Guard(), app.auth.Bearer(ordersAPI)), func(c *gin.Context) {
		_, bySession := logtogin.ClaimsFrom(c)
		_, byToken := logtogin.AccessTokenClaimsFrom(c)
		c.JSON(http.StatusOK, []bool{bySession, byToken})
	})
	b := newBrowser(t)
	b.signIn(app.url+"/profile", alice())
	token := logto.AccessToken(logtotest.User{ID: "alice"}, ordersAPI)
	for name, test := range map[string]struct {
		cookies []*http.Cookie
		header  http.Header
		status  int
		body    string
	}{
		"a session":                 {b.ours(app), nil, 200, "[true,false]"},
		"a token":                   {nil, bearerHeader(token), 200, "[false,true]"},
		"both":                      {b.ours(app), bearerHeader(token), 200, "[false,true]"},
		"a session and a bad token": {b.ours(app), bearerHeader("x.y.z"), 401, ""},
		"neither, in a browser":     {nil, nil, 302, ""},
		"neither, in a program":     {nil, http.Header{"Accept": {"application/json"}}, 401, ""},
	} {
		if page := send(t, http.MethodGet, app.url+"/orders", test.cookies, test.header); page.status != test.status || (test.body != "" && page.body != test.body) {
			t.Errorf("%s: %d %s", name, page.status, page.body)
		}
	}
}

// C34.
func TestBearerGuardsAreCheckedWhenTheyAreMade(t *testing.T) {
	t.Parallel()
	auth, _, _ := resourceServer(t, logtotest.NewServer(t), nil)
	for name, make := range map[string]func(){
		"no audience":                 func() { auth.Bearer("") },
		"no scope":                    func() { logtogin.Scope() },
		"an empty scope":              func() { logtogin.Scope("read", "") },
		"no function":                 func() { logtogin.MatchToken("x", nil) },
		"no organization":             func() { logtogin.OrganizationID("") },
		"no source":                   func() { auth.BearerOrganization(logtogin.OrganizationSource{}) },
		"no source, in a requirement": func() { logtogin.InOrganization(logtogin.OrganizationSource{}) },
		"a requirement that is nil":   func() { auth.Bearer(ordersAPI, nil) },
		"one guard of two":            func() { auth.SessionOrBearer(nil, auth.Bearer(ordersAPI)) },
	} {
		func() {
			defer func() {
				if reason, _ := recover().(string); !strings.HasPrefix(reason, "logtogin: ") {
					t.Errorf("%s: %q", name, reason)
				}
			}()
			make()
		}()
	}
}

// C55: what is no organization is not none.
func TestAnOrganizationOfAnotherTypeIsRefused(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]any{"a list": []any{"acme"}, "a number": 7, "null": nil, "empty": "", "an object": map[string]any{"id": "acme"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logto := logtotest.NewServer(t)
			logto.ChangeAccessToken(func(token *logtotest.JWT) { token.Claims["organization_id"] = value })
			auth, router, _ := resourceServer(t, logto, nil)
			router.GET("/any", auth.Bearer(ordersAPI), func(*gin.Context) {})
			token := logto.OrganizationToken(logtotest.User{ID: "alice"}, "acme", ordersAPI)
			if w := ask(router, "/any", bearerHeader(token)); w.Code != http.StatusUnauthorized {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// RFC 9110, section 15.5.2: a client without anything is told what would do.
func TestSessionOrBearerSaysThatATokenWouldDo(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/both", app.auth.SessionOrBearer(app.auth.Guard(), app.auth.Bearer(ordersAPI)), func(*gin.Context) {})
	program := http.Header{"Accept": {"application/json"}}
	if page := send(t, http.MethodGet, app.url+"/both", nil, program); page.status != 401 || page.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%d %v", page.status, page.header)
	}
	if page := send(t, http.MethodGet, app.url+"/profile", nil, program); page.status != 401 || page.header.Get("WWW-Authenticate") != "" {
		t.Errorf("where only a session does: %d %v", page.status, page.header)
	}
}
