package stores_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func activityIsWritten(t *testing.T, w *world) {
	app := w.start(func(cfg *logtogin.Config) { cfg.IdleTimeout = 30 * time.Minute })
	b := newBrowser(t)
	b.mustSignIn(app, w.alice)
	written := 0
	for range 12 {
		w.logto.Advance(time.Minute)
		before := kept(w, b, app)
		page := b.Get(app.url + "/profile")
		if page.Body != "profile of alice" {
			t.Fatalf("%d %s", page.Status, page.Body)
		}
		if w.remembers() && len(page.Cookies) > 0 {
			t.Errorf("a server-side session gets the cookies %v", page.Cookies)
		}
		if kept(w, b, app) != before {
			written++
		}
	}
	if written != 4 { // every third minute
		t.Errorf("in 12 minutes it was written %d times", written)
	}
	w.expectStored(1, "afterwards")
}

// kept is what the server keeps of the one session, or else the browser.
func kept(w *world, b *browser, app *application) string {
	var all strings.Builder
	if w.remembers() {
		for _, value := range w.stored() {
			all.WriteString(value)
		}
	} else {
		for _, cookie := range b.session(app) {
			all.WriteString(cookie.Value)
		}
	}
	return all.String()
}

func anIdleSessionEnds(t *testing.T, w *world) {
	app := w.start(func(cfg *logtogin.Config) { cfg.IdleTimeout = 30 * time.Minute })
	b := newBrowser(t)
	b.mustSignIn(app, w.alice)
	for range 3 {
		w.logto.Advance(30*time.Minute - time.Second)
		if page := b.Look(app.url + "/profile"); page.Body != "profile of alice" {
			t.Fatalf("it ends early: %d %s", page.Status, page.Body)
		}
	}
	w.logto.Advance(30 * time.Minute)
	for i, app := range append(w.instances(app, func(cfg *logtogin.Config) { cfg.IdleTimeout = 30 * time.Minute }), app) {
		if page := replay(t, app, "/profile", b.session(app)); page.Status != http.StatusFound {
			t.Errorf("instance %d answers %d %s", i, page.Status, page.Body)
		}
	}
	b.mustSignIn(app, w.alice)
	w.expectStored(1, "after another sign-in")
}

func activityDoesNotStretchTheLifetime(t *testing.T, w *world) {
	const lifetime, step = 2 * time.Hour, 20 * time.Minute
	app := w.start(func(cfg *logtogin.Config) { cfg.IdleTimeout, cfg.SessionLifetime = 30*time.Minute, lifetime })
	b := newBrowser(t)
	b.mustSignIn(app, w.alice)
	for passed := step; passed < lifetime; passed += step {
		w.logto.Advance(step)
		if page := b.Look(app.url + "/profile"); page.Body != "profile of alice" {
			t.Fatalf("after %v: %d %s", passed, page.Status, page.Body)
		}
	}
	w.logto.Advance(step - time.Second)
	if got := user(t, app, b.session(app)); got != "alice" {
		t.Errorf("a second before the end it belongs to %s", got)
	}
	w.logto.Advance(time.Second)
	if got := user(t, app, b.session(app)); got != "a visitor" {
		t.Errorf("at the end it belongs to %s", got)
	}
}

func secretsAreRotated(t *testing.T, w *world) {
	secrets := func(letters ...string) func(*logtogin.Config) {
		return func(cfg *logtogin.Config) {
			for _, letter := range letters {
				cfg.Secrets = append(cfg.Secrets, strings.Repeat(letter, 32))
			}
		}
	}
	old := w.start(secrets("o"))
	both, next, other := w.another(old, secrets("n", "o")), w.another(old, secrets("n")), w.another(old, secrets("x"))
	b := newBrowser(t)
	b.mustSignIn(old, w.alice)
	cookies := b.session(old)

	for name, app := range map[string]*application{"another secret": other, "the new secret before the session was renewed": next} {
		page := replay(t, app, "/profile", cookies)
		if page.Status != http.StatusFound || !strings.HasPrefix(page.Header.Get("Location"), "/sign-in?") || len(besidesAttempts(page.Cookies)) > 0 {
			t.Errorf("with %s: %d %v", name, page.Status, page.Header)
		}
	}
	page := replay(t, both, "/profile", cookies)
	if page.Body != "profile of alice" {
		t.Errorf("with both secrets: %d %s", page.Status, page.Body)
	}
	if renewed := sessionCookies(page.Cookies); w.remembers() != (len(renewed) == 0) {
		t.Errorf("with both secrets the cookies %v are set", renewed)
	} else if !w.remembers() {
		cookies = renewed
	}
	for name, app := range map[string]*application{"both secrets": both, "the new secret": next} {
		if page := replay(t, app, "/profile", cookies); page.Body != "profile of alice" || len(page.Cookies) > 0 {
			t.Errorf("afterwards with %s: %d %s %v", name, page.Status, page.Body, page.Cookies)
		}
	}
	if got := user(t, old, cookies); got != "a visitor" {
		t.Errorf("with the old secret alone it belongs to %s afterwards", got)
	}
	w.expectStored(1, "after all that")
}

// tokens are what Logto has issued last.
type tokens struct {
	mu  sync.Mutex
	all map[string]any
}

func (tk *tokens) note(answer map[string]any) any {
	tk.mu.Lock()
	defer tk.mu.Unlock()
	tk.all = answer
	return answer
}

func (tk *tokens) get(t *testing.T, name string) string {
	t.Helper()
	tk.mu.Lock()
	defer tk.mu.Unlock()
	token, _ := tk.all[name].(string)
	if token == "" {
		t.Fatalf("Logto has issued no %s", name)
	}
	return token
}

func whatIsKeptIsSealed(t *testing.T, w *world) {
	issued := &tokens{}
	w.logto.ChangeTokenAnswer(issued.note)
	app, b := w.start(nil), newBrowser(t)
	b.mustSignIn(app, w.alice)

	idToken := issued.get(t, "id_token")
	header, rest, _ := strings.Cut(idToken, ".")
	payload, _, _ := strings.Cut(rest, ".")
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{
		"the header of the ID token":    header[:20], // begins with eyJ
		"the ID token":                  payload[:20],
		"the claims":                    string(claims[:20]),
		"the user's name":               w.alice.Username,
		"the issuer":                    w.logto.Issuer(),
		"the refresh token":             issued.get(t, "refresh_token"),
		"the access token":              issued.get(t, "access_token"),
		"the name of a claim":           `"iss"`,
		"the name of a header's member": `"alg"`,
	}
	everything := kept(w, b, app)
	for _, cookie := range b.session(app) {
		everything += " " + cookie.Value
	}
	for name, secret := range secrets {
		if slices.ContainsFunc(layers(everything), func(layer string) bool { return strings.Contains(layer, secret) }) {
			t.Errorf("%s can be read", name)
		}
	}

	// The same search finds what is not sealed.
	if w.store == nil {
		return
	}
	b.Get(app.url + "/cart/add/umbrella")
	seen := ""
	for _, cookie := range b.cookies(app) {
		seen += " " + cookie.Value
	}
	if w.remembers() {
		seen = kept(w, b, app)
	}
	if !slices.ContainsFunc(layers(seen), func(layer string) bool { return strings.Contains(layer, "umbrella") }) {
		t.Error("the search does not even find what the application keeps openly")
	}
}

var encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{12,}`)

// layers are a text and what is encoded in it in base64, three times at most.
func layers(text string) []string { return layersBelow(text, 3) }

func layersBelow(text string, depth int) []string {
	found := []string{text}
	if depth == 0 {
		return found
	}
	for _, part := range encoded.FindAllString(text, -1) {
		for _, encoding := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
			// What stands before the encoded text may look like a part of it.
			for skip := range 4 {
				piece := part[skip:]
				if len(piece)%4 == 1 {
					piece = piece[:len(piece)-1]
				}
				if decoded, err := encoding.DecodeString(piece); err == nil {
					found = append(found, layersBelow(string(decoded), depth-1)...)
				}
			}
		}
	}
	return found
}

func theApplicationsSessionLivesBeside(t *testing.T, w *world) {
	if w.store == nil {
		// The application then has a store of another kind, which has nothing to
		// do with ours.
		w.store = ginCookies(t).open(t)
	}
	app, b := w.start(nil), newBrowser(t)
	cart := func() string {
		t.Helper()
		return strings.TrimPrefix(b.Get(app.url+"/cart").Body, "cart: ")
	}
	add := func(item string) {
		t.Helper()
		if page := b.Get(app.url + "/cart/add/" + item); page.Body != "done" {
			t.Fatalf("%d %s", page.Status, page.Body)
		}
	}
	add("umbrella")
	b.mustSignIn(app, w.alice)
	if got := cart(); got != "umbrella" {
		t.Errorf("after the sign-in the cart has %q", got)
	}
	add("lamp")
	if got := cart(); got != "lamp" {
		t.Errorf("the cart has %q", got)
	}
	before := b.session(app)
	if page := b.Get(app.url + "/cart/clear"); page.Body != "done" || len(sessionCookies(page.Cookies)) > 0 {
		t.Fatalf("%d %s %v", page.Status, page.Body, page.Cookies)
	}
	if got := cart(); got != "" {
		t.Errorf("after Clear the cart has %q", got)
	}
	if page := b.Get(app.url + "/profile"); page.Body != "profile of alice" || b.session(app)[0].Value != before[0].Value {
		t.Errorf("after Clear the guarded page is %d %s", page.Status, page.Body)
	}
	add("scarf")
	b.Get(app.url + "/sign-out")
	if got := cart(); got != "scarf" || user(t, app, b.cookies(app)) != "a visitor" {
		t.Errorf("after the sign-out the cart has %q", got)
	}
}

// withAccessToken lets Logto issue an access token of its own length.
func withAccessToken(logto *logtotest.Server, length int) {
	logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "at_hash") })
	logto.ChangeTokenAnswer(func(answer map[string]any) any {
		answer["access_token"] = strings.Repeat("a", length)
		return answer
	})
}

func aLargeAccessToken(t *testing.T, w *world) {
	withAccessToken(w.logto, 3<<10)
	app, b := w.start(nil), newBrowser(t)
	b.mustSignIn(app, w.alice)
	calls := 1
	if w.remedy != "" {
		calls = 2 // another one, which is remembered for a while
	}
	for range 2 {
		if page := b.Get(app.url + "/token"); page.Status != http.StatusOK || len(page.Body) != 3<<10 {
			t.Errorf("%d %s", page.Status, page.Body)
		}
	}
	if got := w.logto.Calls().Token; got != calls {
		t.Errorf("%d calls for tokens, want %d", got, calls)
	}
	for i, app := range append(w.instances(app, nil), app) {
		if got := user(t, app, b.session(app)); got != "alice" {
			t.Errorf("on instance %d the cookie belongs to %s", i, got)
		}
	}
	w.expectStored(1, "afterwards")
}

// A burst on an expired token is one refresh, and the record is the newest one for every
// instance, whichever cookies it is sent.
func tokensAreRefreshedOnce(t *testing.T, w *world) {
	app, b := w.start(nil), newBrowser(t)
	b.mustSignIn(app, w.alice)
	before := b.session(app)
	w.logto.Advance(61 * time.Minute)
	w.logto.ResetCalls()
	var all sync.WaitGroup
	var mu sync.Mutex
	tokens := map[string]bool{}
	for range 200 {
		all.Go(func() {
			page := replay(t, app, "/token", before)
			mu.Lock()
			defer mu.Unlock()
			tokens[strconv.Itoa(page.Status)+" "+page.Body] = true
		})
	}
	all.Wait()
	if len(tokens) != 1 || w.logto.Calls().Token != 1 {
		t.Errorf("%d refreshes, answers %v", w.logto.Calls().Token, tokens)
	}
	for i, app := range append(w.instances(app, nil), app) {
		if got := user(t, app, before); got != "alice" {
			t.Errorf("on instance %d the cookie belongs to %s", i, got)
		}
	}
	if w.remembers() && w.remedy == "" && w.logto.Calls().Token != 1 {
		t.Errorf("the record is not the newest: %d calls", w.logto.Calls().Token)
	}
	w.expectStored(1, "afterwards")
	b.Get(app.url + "/sign-out")
	if got := user(t, app, before); got != "a visitor" {
		t.Errorf("after the sign-out the cookie belongs to %s", got)
	}
	w.expectStored(0, "after the sign-out")
}

func aLargeIDToken(t *testing.T, w *world) {
	app, b, visitor := w.start(nil), newBrowser(t), newBrowser(t)
	b.mustSignIn(app, w.alice)
	before := b.session(app)
	filling := randomText(3 << 10)
	w.logto.ChangeIDToken(func(token *logtotest.JWT) { token.Claims["filling"] = filling })

	if w.remedy == "" {
		b.mustSignIn(app, w.alice)
		visitor.mustSignIn(app, w.bob)
		w.expectStored(2, "after two large sign-ins")
		return
	}
	page := visitor.signIn(app.url+"/sign-in?return_to=/profile", w.bob)
	if page.Status != http.StatusInternalServerError || !strings.Contains(page.Body, "more data than this application can keep") {
		t.Errorf("the sign-in is answered %d %s", page.Status, page.Body)
	}
	if err := app.lastError(); !errors.Is(err, logtogin.ErrSessionTooLarge) || !strings.Contains(err.Error(), w.remedy) {
		t.Errorf("the error is %v, want one that names %s", err, w.remedy)
	}
	if left := visitor.session(app); len(left) > 0 || user(t, app, visitor.cookies(app)) != "a visitor" {
		t.Errorf("the browser has %v", left)
	}
	// A session that was there before stays as it was.
	if page := b.signIn(app.url+"/sign-in", w.alice); page.Status != http.StatusInternalServerError {
		t.Errorf("another sign-in is answered %d %s", page.Status, page.Body)
	}
	if got := user(t, app, b.session(app)); got != "alice" || b.session(app)[0].Value != before[0].Value {
		t.Errorf("the session from before belongs to %s", got)
	}
	w.expectStored(1, "after the sign-ins that failed")
}
