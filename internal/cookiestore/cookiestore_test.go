package cookiestore_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/cookiestore"
)

const key = "value"

// mark begins every value.
const mark = "genuine"

// jar is a browser's memory of cookies, in the order in which they came.
type jar []*http.Cookie

func (j jar) request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, cookie := range j {
		r.AddCookie(cookie)
	}
	return r
}

func (j *jar) take(t *testing.T, header http.Header) {
	t.Helper()
	for _, line := range header.Values("Set-Cookie") {
		if len(line) >= 4096 {
			t.Errorf("a Set-Cookie line of %d bytes", len(line))
		}
	}
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		if size := len(cookie.Name) + 1 + len(cookie.Value); size > 3800 {
			t.Errorf("a cookie of %d bytes", size)
		}
		var kept jar
		for _, old := range *j {
			if old.Name != cookie.Name {
				kept = append(kept, old)
			}
		}
		if cookie.MaxAge >= 0 {
			kept = append(kept, cookie)
		}
		*j = kept
	}
}

func load(t *testing.T, store *cookiestore.Store, r *http.Request, name string) string {
	t.Helper()
	session, err := store.New(r, name)
	if err != nil {
		t.Fatal(err)
	}
	value, _ := session.Values[key].(string)
	if session.IsNew != (value == "") {
		t.Errorf("IsNew is %v", session.IsNew)
	}
	return value
}

func save(t *testing.T, store *cookiestore.Store, j *jar, name, value string) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := saveTo(store, w, j.request(), name, value); err != nil {
		t.Fatal(err)
	}
	j.take(t, w.Header())
}

func saveTo(store *cookiestore.Store, w http.ResponseWriter, r *http.Request, name, value string) error {
	session := sessions.NewSession(store, name)
	session.Options = &sessions.Options{Path: "/", MaxAge: 60, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
	if value == "" {
		session.Options.MaxAge = -1
	} else {
		session.Values[key] = value
	}
	return store.Save(r, w, session)
}

func text(size int) string { return mark + strings.Repeat("x", size-len(mark)) }

// C60: growing and shrinking, ten pieces and more.
func TestValuesOfAnySize(t *testing.T) {
	t.Parallel()
	store := cookiestore.New(key, 80_000)
	var browser jar
	for _, size := range []int{10, 15_000, 7_000, 3_000, 15_000, 60_000, 10, 3_770, 3_780, 3_790, 7_540, 7_560} {
		save(t, store, &browser, "s", text(size))
		if got := load(t, store, browser.request(), "s"); got != text(size) {
			t.Errorf("of %d bytes come %d back", size, len(got))
		}
		if pieces := len(browser); pieces > size/3700+1 {
			t.Errorf("%d bytes are left in %d cookies", size, pieces)
		}
	}
	save(t, store, &browser, "s", text(60_000))
	save(t, store, &browser, "s", "")
	if len(browser) > 0 {
		t.Errorf("%d cookies are left of a deleted session", len(browser))
	}
}

// C61, C62.
func TestPiecesThatDoNotBelongTogether(t *testing.T) {
	t.Parallel()
	store := cookiestore.New(key, 40_000)
	var one, two jar
	save(t, store, &one, "s", text(15_000))
	save(t, store, &two, "s", text(15_000))
	with := func(j jar, changes ...*http.Cookie) jar { return append(append(jar{}, j...), changes...) }
	for name, cookies := range map[string]jar{
		"a piece is missing":            append(append(jar{}, one[:2]...), one[3:]...),
		"the first is missing":          one[1:],
		"a piece of another save":       append(append(jar{}, one[:2]...), append(jar{two[2]}, one[3:]...)...),
		"two pieces that differ":        with(one, &http.Cookie{Name: "s_2", Value: one[2].Value[:9] + "other"}),
		"a count of a thousand million": {{Name: "s", Value: "1000000000.AAAAAAAA." + mark}},
		"a count of zero":               {{Name: "s", Value: "0.AAAAAAAA." + mark}},
		"a negative count":              {{Name: "s", Value: "-1.AAAAAAAA." + mark}},
		"a count that is none":          {{Name: "s", Value: "x.AAAAAAAA." + mark}},
		"a short tag":                   {{Name: "s", Value: "1.A." + mark}},
		"no tag":                        {{Name: "s", Value: mark}},
		"nothing":                       {{Name: "s", Value: ""}},
	} {
		if got := load(t, store, cookies.request(), "s"); got != "" {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
	if got := load(t, store, with(two, one...).request(), "s"); got != text(15_000) {
		t.Error("two whole saves in one request hide each other")
	}
}

func TestForeignCookiesDoNotDisturb(t *testing.T) {
	t.Parallel()
	store := cookiestore.New(key, 40_000)
	var browser jar
	save(t, store, &browser, "s", text(8_000))
	for name, cookies := range map[string]jar{
		"planted pieces":    append(append(jar{}, browser...), &http.Cookie{Name: "s_1", Value: "x"}, &http.Cookie{Name: "s_2", Value: "AAAAAAAA.x"}),
		"and other cookies": append(jar{{Name: "s_attempt_0", Value: "1.AAAAAAAA.x"}, {Name: "ss", Value: "x"}}, browser...),
	} {
		if got := load(t, store, cookies.request(), "s"); got != text(8_000) {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", `_logto={"a":"b"}; s=`+browser[0].Value+`; s_1=`+browser[1].Value+"; s_2="+browser[2].Value+`; _session=x`)
	if got := load(t, store, r, "s"); got != text(8_000) {
		t.Errorf("beside cookies with raw quotes: %d bytes", len(got))
	}
}

func TestWhatCannotBeSaved(t *testing.T) {
	t.Parallel()
	store := cookiestore.New(key, 5_000)
	for name, test := range map[string]struct {
		values map[any]any
		is     error
	}{
		"too long":       {map[any]any{key: text(4_990)}, cookiestore.ErrTooLong},
		"no string":      {map[any]any{key: 7}, nil},
		"another key":    {map[any]any{"other": "x"}, nil},
		"one key more":   {map[any]any{key: "x", "other": "x"}, nil},
		"nothing at all": {nil, nil},
	} {
		session := sessions.NewSession(store, "s")
		session.Values = test.values
		w := httptest.NewRecorder()
		err := store.Save(jar{}.request(), w, session)
		if err == nil || (test.is != nil && !errors.Is(err, test.is)) {
			t.Errorf("%s: %v", name, err)
		}
		if len(w.Header()) > 0 {
			t.Errorf("%s: something is written: %v", name, w.Header())
		}
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	store := cookiestore.New(key, 40_000)
	w := httptest.NewRecorder()
	if err := saveTo(store, w, jar{}.request(), "s", text(5_000)); err != nil {
		t.Fatal(err)
	}
	for i, line := range w.Header().Values("Set-Cookie") {
		if !strings.HasPrefix(line, []string{"s=", "s_1="}[i]) || !strings.HasSuffix(line, "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax") {
			t.Errorf("%.20s…%s", line, line[strings.Index(line, ";"):])
		}
	}
}

// C98.
func FuzzNew(f *testing.F) {
	store := cookiestore.New(key, 20_000)
	f.Add("s=1.AAAAAAAA." + mark)
	f.Add("s=2.AAAAAAAA." + mark + "; s_1=AAAAAAAA.x")
	f.Add(`s="x"; s=; s_1=; =; ;;; s=999999999999999999999.A.`)
	f.Fuzz(func(t *testing.T, cookies string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", cookies)
		session, err := store.New(r, "s")
		if err != nil {
			t.Fatal(err)
		}
		if value, ok := session.Values[key].(string); ok && len(r.CookiesNamed("s")) == 0 {
			t.Errorf("%q comes from nowhere", value)
		}
		w := httptest.NewRecorder()
		session.Values[key] = mark
		if err := store.Save(r, w, session); err != nil {
			t.Error(fmt.Errorf("%q: %w", cookies, err))
		}
	})
}

// Browsers and proxies write the header in the ways that net/http reads.
func TestValuesAreReadAsNetHTTPReadsThem(t *testing.T) {
	t.Parallel()
	for _, lines := range [][]string{
		{"a=1"}, {"a=1; b=2"}, {"b=2;a=1"}, {"b=2;  a=1 ;c=3"}, {`a="x"`}, {`a=""`}, {"a =1"}, {"\ta=1\t"}, {"a"}, {"a="}, {"a=="}, {"a=b=c"}, {"A=1"}, {"aa=1"}, {"a_1=2; a=1"},
		{";;a=1;"}, {"a=1", "a=2"}, {"a=1; a=1; a=2", "a=2; a=3"}, {""}, {" "}, {"="}, {"=1"}, nil,
	} {
		r := &http.Request{Header: http.Header{"Cookie": lines}}
		var want []string
		for _, cookie := range r.CookiesNamed("a") {
			if !slices.Contains(want, cookie.Value) {
				want = append(want, cookie.Value)
			}
		}
		if got := slices.Collect(cookiestore.Values(r.Header, "a")); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", lines, got, want)
		}
	}
	many := http.Header{"Cookie": {"a=1; a=2; a=3; a=3; a=4; a=5", "a=6; a=7; a=8; a=9"}}
	if got := strings.Join(slices.Collect(cookiestore.Values(many, "a")), ""); got != "12345678" {
		t.Errorf("of nine at most eight: got %q", got)
	}
}

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
