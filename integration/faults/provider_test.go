package faults_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin/integration/instances"
	"github.com/logtogin/logtogin/logtotest"
)

// grace is for how long Logto takes a refresh token that it has replaced.
const grace = 3 * time.Second

// provider is the fake Logto, with a book of what became of each refresh token.
type provider struct {
	*logtotest.Server
	app logtotest.Application
	tcp *proxy // what the application has before it; browsers have none

	mu       sync.Mutex
	misdeed  func(http.ResponseWriter) // answers in Logto's place
	killer   killer
	killedAt [2]time.Time
	tokens   map[string]*refreshToken

	// By user:
	answered  map[string]time.Time // when Logto has last given tokens, or refused to
	revokedAt map[string]time.Time // when a revocation has last reached Logto
	reasons   map[string]string    // why Logto has refused to refresh
}

// killer ends the instance, if it likes, in a refresh of a user's session.
type killer func(instance int, user, when string) bool

// refreshToken is one that Logto has issued.
type refreshToken struct {
	user        string
	signedInAt  time.Time // that the first of them was asked for
	predecessor *refreshToken

	// Of one that Logto has replaced:
	replacedAt time.Time
	instance   int    // which one has used it
	disturbed  string // why the answer with its successor may have come to nothing, or ""
	isLeft     bool   // a successor was used
}

// why is why Logto refuses it. p.mu is held.
func (p *provider) why(t *refreshToken) string {
	switch {
	case t.replacedAt.IsZero() || time.Since(t.replacedAt) <= grace:
		if p.revokedAt[t.user].After(t.signedInAt) {
			return lateReason
		}
		return "Logto knows no such refresh token"
	case t.disturbed != "" && !t.isLeft:
		return t.disturbed
	}
	return "a refresh token that Logto had replaced more than 3 s before was used again"
}

// newProvider knows so many users. With replaces, each refresh token is good
// for one use, as those of applications without a secret are; else Logto keeps them.
func newProvider(tb testing.TB, users int, replaces bool, tokenLife time.Duration) *provider {
	tb.Helper()
	var known []logtotest.User
	for i := range users {
		known = append(known, logtotest.User{ID: userID(i), Username: userID(i), Password: "p"})
	}
	server, err := logtotest.Start(known...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Close)
	p := &provider{
		Server: server, app: server.Application(), tokens: map[string]*refreshToken{},
		answered: map[string]time.Time{}, revokedAt: map[string]time.Time{}, reasons: map[string]string{},
	}
	if replaces {
		p.app.Type, p.app.Secret = logtotest.Native, ""
		server.AddApplication(p.app)
	}
	for _, indicator := range instances.Resources {
		server.AddResource(logtotest.Resource{Indicator: indicator, AccessTokenLifetime: tokenLife})
	}
	p.tcp = newProxy(tb, strings.TrimPrefix(server.Endpoint(), "http://"))
	server.Intercept(logtotest.Token, p.token)
	for _, endpoint := range []logtotest.Endpoint{logtotest.Discovery, logtotest.Keys, logtotest.UserInfo, logtotest.Revocation} {
		server.Intercept(endpoint, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if misdeed := p.currentMisdeed(); misdeed != nil {
				misdeed(w)
				return
			}
			if endpoint == logtotest.Revocation {
				p.noteRevocation(r)
			}
			next.ServeHTTP(w, r)
		})
	}
	return p
}

func userID(i int) string { return fmt.Sprintf("user%05d", i) }

func (p *provider) currentMisdeed() func(http.ResponseWriter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.misdeed
}

// misbehave answers the application's calls in Logto's place; nil makes an end of it.
func (p *provider) misbehave(answer func(http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.misdeed = answer
}

// killDuring has kill called in the refreshes that follow, until it returns true.
func (p *provider) killDuring(kill killer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killer = kill
}

// killed asks the killer, and forgets it when it has struck.
func (p *provider) killed(instance int, used, when string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	token := p.tokens[used]
	if p.killer == nil || token == nil || !p.killer(instance, token.user, when) {
		return false
	}
	p.killer = nil
	p.killedAt[instance] = time.Now()
	for _, token := range p.tokens {
		if token.instance == instance && time.Since(token.replacedAt) < writing {
			token.disturbed = killedReason
		}
	}
	return true
}

// writing is how long an instance may take to write what Logto has answered.
const writing = 500 * time.Millisecond

const (
	killedReason = "the application was killed between Logto's answer and the write of it"
	lostReason   = "Logto's answer with the new refresh token did not arrive"
	lateReason   = "the revocation of an earlier sign-out reached Logto only now, and Logto revokes the grant that both sign-ins share"
)

// The moments of a refresh in which an instance is killed.
const (
	beforeLogto  = "before Logto has seen the refresh"
	beforeAnswer = "when Logto has replaced the token and not answered yet"
	afterAnswer  = "when Logto has answered"
)

func (p *provider) token(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if misdeed := p.currentMisdeed(); misdeed != nil {
		misdeed(w)
		return
	}
	_ = r.ParseForm()
	instance, _ := strconv.Atoi(r.Header.Get(instances.Number))
	used := r.PostForm.Get("refresh_token")
	isRefresh := used != ""
	if isRefresh && p.killed(instance, used, beforeLogto) {
		return
	}
	asked, answer := time.Now(), httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	p.note(instance, used, asked, answer.Body.Bytes())
	if isRefresh && p.killed(instance, used, beforeAnswer) {
		return
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	if isRefresh {
		_ = http.NewResponseController(w).Flush()
		p.killed(instance, used, afterAnswer)
	}
}

// note writes down what Logto did with a refresh token, or, if none was used, which one it
// has issued.
func (p *provider) note(instance int, used string, asked time.Time, answer []byte) {
	var said struct {
		IDToken      string `json:"id_token"`
		RefreshToken string `json:"refresh_token"`
		Error        string `json:"error"`
	}
	_ = json.Unmarshal(answer, &said)
	m, _ := p.tcp.current()
	p.mu.Lock()
	defer p.mu.Unlock()
	if used == "" {
		user := subjectOf(said.IDToken)
		p.answered[user] = time.Now()
		p.tokens[said.RefreshToken] = &refreshToken{user: user, signedInAt: asked}
		return
	}
	token := p.tokens[used]
	if token == nil {
		token = &refreshToken{}
	}
	p.answered[token.user] = time.Now()
	if token.predecessor != nil {
		token.predecessor.isLeft = true
	}
	switch {
	case said.Error == "invalid_grant":
		p.reasons[token.user] = p.why(token)
	case said.RefreshToken != "" && said.RefreshToken != used:
		if token.replacedAt.IsZero() {
			token.replacedAt = time.Now()
		}
		token.instance = instance
		switch {
		case time.Since(p.killedAt[instance]) < writing:
			token.disturbed = killedReason
		case m != honest && m != slow:
			token.disturbed = lostReason
		}
		p.tokens[said.RefreshToken] = &refreshToken{user: token.user, signedInAt: token.signedInAt, predecessor: token}
	}
}

// hasAnswered reports whether a user was given tokens, or refused, since then.
func (p *provider) hasAnswered(user string, since time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered[user].After(since)
}

// noteRevocation tells revocations that come when the user has signed in again: Logto
// revokes the grant, which sign-ins in one session of its own share.
func (p *provider) noteRevocation(r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	defer p.mu.Unlock()
	if revoked := p.tokens[r.PostForm.Get("token")]; revoked != nil {
		p.revokedAt[revoked.user] = time.Now()
	}
}

// reason is why Logto has refused to refresh the session of a user since the last call.
func (p *provider) reason(user string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	why := p.reasons[user]
	delete(p.reasons, user)
	return why
}

func subjectOf(idToken string) string {
	var claims struct {
		Subject string `json:"sub"`
	}
	if parts := strings.Split(idToken, "."); len(parts) == 3 {
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(payload, &claims)
	}
	return claims.Subject
}
