package logtogin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/session"
)

// firstSeen is a router with a guarded page, and so many requests with sessions that it has
// not seen, or not for long: more than are remembered.
func firstSeen(tb testing.TB) (*gin.Engine, []http.Header) {
	tb.Helper()
	gin.SetMode(gin.ReleaseMode)
	auth, err := New(Config{
		Endpoint: "https://example.logto.app", AppID: "app", AppSecret: strings.Repeat("s", 32), BaseURL: "http://localhost",
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = auth.Close() })
	claims, err := json.Marshal(map[string]any{
		"iss": "https://example.logto.app/oidc", "sub": "0123456789ab", "aud": "app", "name": "Alice Example", "username": "alice",
		"email": "alice@example.test", "email_verified": true, "picture": nil, "roles": []string{"admin", "editor"},
		"iat": 1_800_000_000, "exp": 4_000_000_000, "nonce": strings.Repeat("n", 26), "at_hash": strings.Repeat("h", 32),
		"created_at": 1_700_000_000_000, "updated_at": 1_700_000_000_000,
	})
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Now()
	encoded := base64.RawURLEncoding.EncodeToString
	record := &session.Session{
		StartedAt: now, ActiveAt: now, ConfirmedAt: now, Expires: now.Add(time.Hour), IDTokenExpires: now.Add(time.Hour), Subject: "0123456789ab",
		IDToken:      encoded([]byte(`{"alg":"ES384","kid":"x","typ":"JWT"}`)) + "." + encoded(claims) + "." + encoded(make([]byte, 96)),
		RefreshToken: strings.Repeat("r", 43),
		AccessTokens: []session.AccessToken{{Token: strings.Repeat("a", 43), Expires: now.Add(time.Hour), RenewAt: now.Add(time.Hour)}},
	}
	headers := make([]http.Header, 2*session.MaxOpened)
	for i := range headers {
		x := &session.Exchange{Request: httptest.NewRequest(http.MethodGet, "/", nil), Known: &session.Known{}}
		own := *record
		own.ID = fmt.Sprint(i)
		outcome := &session.Outcome{Cookies: http.Header{}}
		if err := auth.sessions.Prepare(tb.Context(), x, &session.Attempt{}, &own).Admit(tb.Context(), outcome); err != nil {
			tb.Fatal(err)
		}
		var cookies []string
		for _, cookie := range (&http.Response{Header: outcome.Cookies}).Cookies() {
			cookies = append(cookies, cookie.Name+"="+cookie.Value)
		}
		headers[i] = http.Header{"Cookie": {strings.Join(cookies, "; ")}}
	}
	router := gin.New()
	router.GET("/", auth.Guard(), func(*gin.Context) {})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = headers[0]
	if router.ServeHTTP(w, r); w.Code != http.StatusOK {
		tb.Fatalf("%d %s", w.Code, w.Body)
	}
	return router, headers
}

func BenchmarkGuardCookieFirstSeen(b *testing.B) {
	router, headers := firstSeen(b)
	w := httptest.NewRecorder()
	address := httptest.NewRequest(http.MethodGet, "/", nil).URL
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 1) % len(headers)
		clear(w.Header())
		router.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: address, Header: headers[i]})
	}
}

func TestAGuardAllocatesLittleForASessionItHasNotSeen(t *testing.T) {
	router, headers := firstSeen(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	i := 0
	measured := math.Inf(1)
	for range 10 { // what other goroutines allocate meanwhile is counted, too
		measured = min(measured, testing.AllocsPerRun(100, func() {
			i = (i + 1) % len(headers)
			r.Header = headers[i]
			clear(w.Header())
			router.ServeHTTP(w, r)
		}))
	}
	if measured > 40 {
		t.Errorf("%v allocations, at most 40", measured)
	}
}
