package cookiestore_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/cookiestore"
)

func TestAShortValueIsOneCookieAsItIs(t *testing.T) {
	t.Parallel()
	store := cookiestore.NewShort(key, 50)
	write := func(maxAge int, values map[any]any) (http.Header, error) {
		w := httptest.NewRecorder()
		session := sessions.NewSession(store, "s_x")
		session.Options, session.Values = &sessions.Options{Path: "/", MaxAge: maxAge, HttpOnly: true}, values
		err := store.Save(httptest.NewRequest(http.MethodGet, "/", nil), w, session)
		return w.Header(), err
	}
	for name, test := range map[string]struct {
		maxAge int
		values map[any]any
		want   string
		err    error
	}{
		"written":            {60, map[any]any{key: "abc"}, "s_x=abc; Path=/; Max-Age=60; HttpOnly", nil},
		"deleted":            {-1, map[any]any{}, "s_x=; Path=/; Max-Age=0; HttpOnly", nil},
		"as long as allowed": {60, map[any]any{key: strings.Repeat("a", 50)}, "s_x=" + strings.Repeat("a", 50) + "; Path=/; Max-Age=60; HttpOnly", nil},
		"too long":           {60, map[any]any{key: strings.Repeat("a", 51)}, "", cookiestore.ErrTooLong},
	} {
		header, err := write(test.maxAge, test.values)
		if got := header.Get("Set-Cookie"); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: got %q, %v, want %q, %v", name, got, err, test.want, test.err)
		}
	}
	for name, values := range map[string]map[any]any{"nothing": {}, "a number": {key: 1}, "more": {key: "a", "other": "b"}} {
		if header, err := write(60, values); err == nil || len(header) > 0 {
			t.Errorf("%s is saved: %v", name, header)
		}
	}
	for cookies, want := range map[string]string{
		"s_x=abc": "abc", "s_x=abc; s_x=def": "abc", "other=abc": "", "": "", "s_x=" + strings.Repeat("a", 51): "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", cookies)
		session, err := store.Get(r, "s_x")
		if got, _ := session.Values[key].(string); err != nil || got != want || session.IsNew != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", cookies, got, err, want)
		}
	}
}
