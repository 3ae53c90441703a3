package logtotest_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

// setCookies are the cookies of an answer by name. Deleted ones have no value.
func (r response) setCookies(t *testing.T) map[string]*http.Cookie {
	t.Helper()
	cookies := map[string]*http.Cookie{}
	for _, line := range r.header.Values("Set-Cookie") {
		cookie, err := http.ParseSetCookie(strings.ReplaceAll(line, `"`, "")) // raw ones in _logto
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if before := cookies[cookie.Name]; before != nil && before.Path == cookie.Path {
			t.Errorf("%s is set twice", cookie.Name)
		}
		cookies[cookie.Name] = cookie
	}
	return cookies
}

// wantCookies checks the names, beside each of which there is a signature.
func (r response) wantCookies(t *testing.T, names ...string) map[string]*http.Cookie {
	t.Helper()
	cookies := r.setCookies(t)
	for _, name := range slices.Clone(names) {
		names = append(names, name+".sig")
	}
	if got := slices.Sorted(maps.Keys(cookies)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("cookies %q, want %q", got, names)
	}
	for name, cookie := range cookies {
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s: %+v", name, cookie)
		}
		if signature := cookies[name+".sig"]; signature != nil && (signature.Path != cookie.Path || signature.MaxAge != cookie.MaxAge) {
			t.Errorf("%+v beside %+v", signature, cookie)
		}
	}
	return cookies
}

// interactions reads the cookie with the uids.
func interactions(t *testing.T, cookie *http.Cookie) map[string]string {
	t.Helper()
	decoded, err := url.PathUnescape(cookie.Value)
	var uids map[string]string
	if err == nil {
		err = json.Unmarshal([]byte(decoded), &uids)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, cookie)
	}
	return uids
}

// cookie is what the browser sends to the root of the server.
func (b *browser) cookie(name string) string {
	b.t.Helper()
	for _, cookie := range b.client.Jar.Cookies(b.endpoint("/")) {
		if cookie.Name == name {
			return cookie.Value
		}
	}
	return ""
}

func (b *browser) setCookie(path, name, value string) {
	b.t.Helper()
	b.client.Jar.SetCookies(b.endpoint("/"), []*http.Cookie{{Name: name, Value: value, Path: path}})
}

func (b *browser) endpoint(path string) *url.URL {
	b.t.Helper()
	u, err := url.Parse(b.server.Endpoint() + path)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

const hour, fortnight = 60 * 60, 14 * 24 * 60 * 60

func TestASilentSignInTakesTheHopsOfLogto(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn())
	session, appID := b.cookie("_session"), b.server.AppID()
	attempt := b.newSignIn("organization_id", "acme")

	first := b.authorize(attempt)
	if first.status != http.StatusSeeOther || first.header.Get("Location") != "/consent?app_id="+appID+"&organization_id=acme" {
		t.Fatalf("%d to %v", first.status, first.location)
	}
	cookies := first.setCookies(t)
	if logto := `_logto={"appId":"` + appID + `"}; Path=/; HttpOnly; SameSite=Lax`; !slices.Contains(first.header.Values("Set-Cookie"), logto) {
		t.Errorf("no %s in %q", logto, first.header.Values("Set-Cookie"))
	}
	first.wantCookies(t, "_logto", "_interaction", "_interaction_resume", "_session")
	uid := cookies["_interaction_resume"].Value
	if resume := cookies["_interaction_resume"]; uid == "" || resume.Path != "/oidc/auth/"+uid || resume.MaxAge != hour {
		t.Errorf("%s", resume)
	}
	if all := cookies["_interaction"]; all.Path != "/" || all.MaxAge != hour || !maps.Equal(interactions(t, all), map[string]string{"_legacy": uid, appID: uid}) {
		t.Errorf("%s", all)
	}
	if kept := cookies["_session"]; kept.Value != session || kept.Path != "/" || kept.MaxAge != fortnight {
		t.Errorf("%s, want the session %s", kept, session)
	}

	second := b.get(first.location.String())
	if second.status != http.StatusFound || second.header.Get("Location") != "/oidc/auth/"+uid {
		t.Fatalf("%d to %v", second.status, second.location)
	}
	second.wantCookies(t)

	third := b.get(second.location.String())
	query := third.location.Query()
	if third.status != http.StatusSeeOther || !strings.HasPrefix(third.location.String(), callbackURI+"?") || len(query) != 3 ||
		query.Get("code") == "" || query.Get("state") != attempt.parameters.Get("state") || query.Get("iss") != b.server.Issuer() {
		t.Fatalf("%d to %v", third.status, third.location)
	}
	cookies = third.wantCookies(t, "_interaction_resume", "_session")
	if resume := cookies["_interaction_resume"]; resume.Value != "" || resume.MaxAge >= 0 || resume.Path != "/oidc/auth/"+uid {
		t.Errorf("%s", resume)
	}
	if changed := cookies["_session"]; changed.Value == session || changed.Path != "/" || changed.MaxAge != fortnight {
		t.Errorf("%s after %s", changed, session)
	}
}

func TestASignInByTheFormTakesTheHopsOfLogto(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	page := b.authorize(b.newSignIn())
	page.wantCookies(t, "_logto", "_interaction", "_interaction_resume") // nobody has a session
	user := logtotest.DefaultUser()
	got := b.post(page.location.String(), url.Values{"username": {user.Username}, "password": {user.Password}})
	var paths []string
	sessions := map[string]bool{}
	for strings.HasPrefix(got.location.String(), b.server.Endpoint()) {
		path, uid, _ := strings.Cut(got.location.Path, "auth/")
		if uid != "" && slices.Contains(paths, path+uid) {
			t.Error("the second interaction has the uid of the first")
		}
		paths = append(paths, path+uid)
		got = b.get(got.location.String())
		if cookie := got.setCookies(t)["_session"]; cookie != nil {
			sessions[cookie.Value] = true
		}
	}
	if len(paths) != 3 || paths[1] != "/consent" || len(sessions) != 2 || got.location.Query().Get("code") == "" {
		t.Errorf("by %q to %v, %d IDs of the session", paths, got.location, len(sessions))
	}
}

func TestTheSIDOutlivesTheIDsOfTheSession(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	app := b.server.Application()
	app.BackchannelLogoutURI, app.BackchannelLogoutSessionRequired = "http://localhost:1/logout", true
	b.server.AddApplication(app)
	sids, ids := map[any]bool{}, map[string]bool{}
	for _, prompt := range []string{"consent", "consent", "login consent"} {
		_, claims := decodeToken(t, b.tokens("prompt", prompt)["id_token"])
		sids[claims["sid"]], ids[b.cookie("_session")] = true, true
	}
	if len(sids) != 1 || sids[nil] || len(ids) != 3 {
		t.Errorf("sids %v of the sessions %v", sids, ids)
	}
}

func TestApplicationsHaveInteractionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	other := b.server.AddApplication(logtotest.Application{})
	b.callback(b.newSignIn())
	one, two := b.newSignIn(), b.newSignIn("client_id", other.ID)
	first, second := b.authorize(one), b.authorize(two)
	uids := interactions(t, second.setCookies(t)["_interaction"])
	if uids[b.server.AppID()] != first.setCookies(t)["_interaction_resume"].Value || uids["_legacy"] != uids[other.ID] || len(uids) != 3 {
		t.Errorf("%v", uids)
	}
	for got, attempt := range map[*response]signIn{&first: one, &second: two} {
		if back := b.follow(*got); back.location == nil || back.location.Query().Get("state") != attempt.parameters.Get("state") {
			t.Errorf("%d to %v: %s", back.status, back.location, back.body)
		}
	}
}

// wantSessionError checks the answers of /oidc/auth/<uid> that keep the browser at Logto.
func (r response) wantSessionError(t *testing.T, server *logtotest.Server, code, message, description string) {
	t.Helper()
	want := map[string]any{
		"code": code, "message": message, "error": "invalid_request", "error_description": description, "iss": server.Issuer(),
	}
	if r.status != http.StatusBadRequest || !maps.Equal(decode(t, r.body), want) {
		t.Errorf("%d %s, want %v", r.status, r.body, want)
	}
}

const sessionNotFound = "Session not found. Please go back and sign in again."

func TestAnInteractionIsResumedOnce(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn())
	resume := b.get(b.authorize(b.newSignIn()).location.String()).location
	if first := b.get(resume.String()); first.location == nil || first.location.Query().Get("code") == "" {
		t.Fatalf("%d to %v", first.status, first.location)
	}
	b.get(resume.String()).wantSessionError(t, b.server, "session.not_found", sessionNotFound, "authorization request has expired")
	b.setCookie(resume.Path, "_interaction_resume", strings.TrimPrefix(resume.Path, "/oidc/auth/"))
	again := b.get(resume.String())
	again.wantSessionError(t, b.server, "session.not_found", sessionNotFound, "interaction session not found")
	if cookie := again.setCookies(t)["_session"]; cookie.Value != b.cookie("_session") {
		t.Errorf("%s after an error", cookie)
	}
	// Other browsers have no such cookie.
	open := b.get(b.authorize(b.newSignIn()).location.String()).location
	newBrowser(t, b.server).get(open.String()).wantSessionError(t, b.server, "session.not_found", sessionNotFound, "authorization request has expired")
	if own := b.get(open.String()); own.location == nil || own.location.Query().Get("code") == "" {
		t.Errorf("%d to %v", own.status, own.location)
	}
}

func TestAStaleSessionAsksForThePassword(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn())
	stale := b.cookie("_session")
	b.callback(b.newSignIn())
	good := b.cookie("_session")
	b.setCookie("/", "_session", stale)
	got := b.authorize(b.newSignIn())
	if got.status != http.StatusSeeOther || got.location.Path != "/sign-in" {
		t.Fatalf("%d to %v", got.status, got.location)
	}
	cookies := got.wantCookies(t, "_logto", "_interaction", "_interaction_resume", "_session")
	anonymous := cookies["_session"].Value
	if anonymous == stale || anonymous == good {
		t.Errorf("%s", cookies["_session"])
	}
	if again := b.authorize(b.newSignIn()); again.location.Path != "/sign-in" || b.cookie("_session") != anonymous {
		t.Errorf("to %v with the session %s after %s", again.location, b.cookie("_session"), anonymous)
	}
	b.setCookie("/", "_session", good)
	if silent := b.follow(b.authorize(b.newSignIn())); silent.location == nil || silent.location.Query().Get("code") == "" {
		t.Errorf("the good cookie leads to %v", silent.location)
	}
}

func TestAStaleSessionCannotResume(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn())
	stale := b.cookie("_session")
	resume := b.get(b.authorize(b.newSignIn()).location.String()).location
	b.callback(b.newSignIn("client_id", b.server.AddApplication(logtotest.Application{}).ID))
	good := b.cookie("_session")

	b.setCookie("/", "_session", stale)
	got := b.get(resume.String())
	got.wantSessionError(t, b.server, "oidc.invalid_request", "Request is invalid.", "interaction session and authentication session mismatch")
	if anonymous := got.wantCookies(t, "_session")["_session"].Value; anonymous == stale || anonymous == good {
		t.Errorf("the session is %s", anonymous)
	}
	if next := b.authorize(b.newSignIn()); next.location.Path != "/sign-in" {
		t.Errorf("then to %v", next.location)
	}
}

func TestAResumeDoesNotBringBackASessionThatHasEnded(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn())
	b.server.ChangeCallback(func(parameters url.Values) url.Values {
		b.server.SuspendUser("alice", true)
		b.server.SuspendUser("alice", false)
		return parameters
	})
	b.follow(b.authorize(b.newSignIn()))
	b.server.ChangeCallback(nil)
	if next := b.authorize(b.newSignIn()); next.location.Path != "/sign-in" {
		t.Errorf("then to %v", next.location)
	}
}

func TestScopesThatNoRoleAllowsAreNotAskedForAgain(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.server.AddResource(logtotest.Resource{Indicator: "https://api.example.test/", Permissions: []string{"read:things"}})
	parameters := []string{"prompt", "", "scope", "openid read:things", "resource", "https://api.example.test/"}
	b.callback(b.newSignIn(parameters...))
	if got := b.authorize(b.newSignIn(parameters...)); got.location.Query().Get("code") == "" {
		t.Errorf("to %v", got.location)
	}
	b.server.AddRole(logtotest.Role{Name: "reader", Permissions: map[string][]string{"https://api.example.test/": {"read:things"}}})
	user, _ := b.server.User("alice")
	user.Roles = []string{"reader"}
	b.server.AddUser(user)
	if got := b.authorize(b.newSignIn(parameters...)); got.location.Path != "/consent" {
		t.Errorf("with the role to %v", got.location)
	}
}

func TestNobodyConsentsWithoutASignIn(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	consent := b.server.Endpoint() + "/consent?app_id=" + b.server.AppID()
	page := b.authorize(b.newSignIn()).location
	for name, got := range map[string]response{"the page": b.get(consent), "the form": b.post(consent, url.Values{"answer": {"allow"}})} {
		if got.status != http.StatusBadRequest || got.location != nil {
			t.Errorf("%s: %d to %v", name, got.status, got.location)
		}
	}
	user := logtotest.DefaultUser()
	b.submit(page, "username", user.Username, "password", user.Password)
	b.authorize(b.newSignIn("prompt", "login consent"))
	if got := b.follow(b.get(consent)); got.location == nil || got.location.Path != "/sign-in" {
		t.Errorf("a consent in place of a sign-in leads to %v", got.location)
	}
}

func TestAnUnknownSessionLeadsToTheAddressOfTheTenant(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	for _, address := range []string{"https://app.example.com/start", ""} {
		b.server.SetUnknownSessionRedirect(address)
		got := b.get(b.server.Endpoint() + "/sign-in?app_id=" + b.server.AppID())
		want := address
		if want == "" {
			want = b.server.Endpoint() + "/unknown-session"
		}
		if got.status != http.StatusFound || got.location.String() != want {
			t.Errorf("%d to %v, want %s", got.status, got.location, want)
		}
	}
}
