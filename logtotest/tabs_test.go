package logtotest_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

// tabs are several tabs of one browser, each with an authorization request of its own.
type tabs struct {
	*browser
	all []*tab
}

type tab struct {
	attempt signIn
	at      response // the answer that it shows or follows next
}

func newTabs(b *browser, n int, changes ...string) *tabs {
	opened := &tabs{browser: b}
	for range n {
		opened.all = append(opened.all, &tab{attempt: b.newSignIn(changes...)})
	}
	return opened
}

func (o *tabs) authorizeAll() {
	o.t.Helper()
	for _, each := range o.all {
		each.at = o.authorize(each.attempt)
	}
}

// hop follows one redirect within the server.
func (o *tabs) hop(each *tab) bool {
	o.t.Helper()
	if each.at.location == nil || !strings.HasPrefix(each.at.location.String(), o.server.Endpoint()) {
		return false
	}
	each.at = o.get(each.at.location.String())
	return true
}

func (o *tabs) hopAll() {
	o.t.Helper()
	for _, each := range o.all {
		o.hop(each)
	}
}

func (o *tabs) finish(each *tab) {
	o.t.Helper()
	for o.hop(each) {
	}
}

func (o *tabs) reversed() *tabs {
	turned := &tabs{browser: o.browser}
	for _, each := range o.all {
		turned.all = append([]*tab{each}, turned.all...)
	}
	return turned
}

const (
	expired   = "400 authorization request has expired"
	unknown   = "/unknown-session"
	ownPage   = "its own page"
	noSession = "400 Session not found"
)

func pageOf(number int) string { return fmt.Sprintf("the page of tab %d", number) }

// outcome says where a tab has ended. It exchanges the code of a callback.
func (o *tabs) outcome(ended *tab) string {
	o.t.Helper()
	at := ended.at
	switch {
	case at.location != nil && strings.HasPrefix(at.location.String(), callbackURI+"?"):
		query := at.location.Query()
		for i, each := range o.all {
			if each.attempt.parameters.Get("state") != query.Get("state") {
				continue
			}
			if got := o.token(codeForm(query.Get("code"), each.attempt)); got.status != http.StatusOK {
				o.t.Errorf("the code of tab %d: %d %s", i+1, got.status, got.body)
			}
			if each == ended {
				return ownPage
			}
			return pageOf(i + 1)
		}
	case at.location != nil:
		return at.location.Path
	case at.status == http.StatusOK && strings.Contains(at.body, "Session not found"):
		return unknown
	case at.status == http.StatusBadRequest && strings.HasPrefix(at.body, "{"):
		return fmt.Sprint("400 ", decode(o.t, at.body)["error_description"])
	case at.status == http.StatusBadRequest && strings.Contains(at.body, "Session not found"):
		return noSession
	}
	return fmt.Sprintf("%d to %v: %s", at.status, at.location, at.body)
}

func TestSeveralSilentSignInsOfOneBrowserDisturbEachOther(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		run  func(*tabs)
		want func(number, n int) string
	}{
		"all consents and then all resumes": {
			func(o *tabs) { o.authorizeAll(); o.hopAll(); o.hopAll() },
			func(number, n int) string {
				if number == 1 {
					return pageOf(n)
				}
				return expired
			},
		},
		"the same in reversed order": {
			func(o *tabs) { o.authorizeAll(); o.reversed().hopAll(); o.reversed().hopAll() },
			func(number, n int) string {
				if number == n {
					return ownPage
				}
				return expired
			},
		},
		"tab by tab to the end": {
			func(o *tabs) {
				o.authorizeAll()
				for _, each := range o.all {
					o.finish(each)
				}
			},
			func(number, n int) string {
				if number == 1 {
					return pageOf(n)
				}
				return unknown
			},
		},
		"one whole sign-in after the other": {
			func(o *tabs) {
				for _, each := range o.all {
					each.at = o.authorize(each.attempt)
					o.finish(each)
				}
			},
			func(int, int) string { return ownPage },
		},
	} {
		for _, n := range []int{2, 6, 12} {
			t.Run(fmt.Sprintf("%s, %d tabs", name, n), func(t *testing.T) {
				t.Parallel()
				b := newBrowser(t, logtotest.NewServer(t))
				b.callback(b.newSignIn())
				opened := newTabs(b, n)
				test.run(opened)
				for i, each := range opened.all {
					if got, want := opened.outcome(each), test.want(i+1, n); got != want {
						t.Errorf("tab %d: %s, want %s", i+1, got, want)
					}
				}
				b.callback(b.newSignIn()) // nothing lasting was done
			})
		}
	}
}

func TestWithoutAPromptEveryTabOfOneBrowserArrives(t *testing.T) {
	t.Parallel()
	for _, prompt := range []string{"", "none"} {
		for _, n := range []int{2, 6, 12} {
			t.Run(fmt.Sprintf("prompt %q, %d tabs", prompt, n), func(t *testing.T) {
				t.Parallel()
				b := newBrowser(t, logtotest.NewServer(t))
				b.callback(b.newSignIn())
				session := b.cookie("_session")
				opened := newTabs(b, n, "prompt", prompt)
				opened.authorizeAll()
				for i, each := range opened.all {
					if got := opened.outcome(each); each.at.status != http.StatusSeeOther || got != ownPage {
						t.Errorf("tab %d: %s", i+1, got)
					}
					if cookie := each.at.wantCookies(t, "_session")["_session"]; cookie.Value != session {
						t.Errorf("tab %d: %s, want the session %s", i+1, cookie, session)
					}
				}
			})
		}
	}
}

func TestOfSeveralSignInPagesOfOneBrowserOneIsOfUse(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prompt    string
		hasSignIn bool
	}{
		"without a session":            {"consent", false},
		"prompt=login with a session":  {"login consent", true},
		"without a session, no prompt": {"", false},
	} {
		for _, n := range []int{2, 6, 12} {
			for _, first := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, %d tabs, in the first %t", name, n, first), func(t *testing.T) {
					t.Parallel()
					b := newBrowser(t, logtotest.NewServer(t))
					if test.hasSignIn {
						b.callback(b.newSignIn())
					}
					opened := newTabs(b, n, "prompt", test.prompt)
					opened.authorizeAll()
					for i, each := range opened.all {
						if page := b.get(each.at.location.String()); each.at.location.Path != "/sign-in" || page.status != http.StatusOK {
							t.Fatalf("tab %d: %d at %v", i+1, page.status, each.at.location)
						}
					}
					used, want := opened.all[n-1], ownPage
					if first {
						used, want = opened.all[0], pageOf(n)
					}
					user := logtotest.DefaultUser()
					form := url.Values{"username": {user.Username}, "password": {user.Password}}
					address := used.at.location.String()
					used.at = b.post(address, form)
					opened.finish(used)
					if got := opened.outcome(used); got != want {
						t.Errorf("the tab with the sign-in: %s, want %s", got, want)
					}
					for i, each := range opened.all {
						if each == used {
							continue
						}
						each.at = b.post(address, form)
						if got := opened.outcome(each); got != noSession {
							t.Errorf("tab %d, submitted: %s", i+1, got)
						}
						each.at = b.get(address)
						opened.finish(each)
						if got := opened.outcome(each); got != unknown {
							t.Errorf("tab %d, reloaded: %s", i+1, got)
						}
					}
					again := newTabs(b, n-1)
					for i, each := range again.all {
						each.at = b.authorize(each.attempt)
						again.finish(each)
						if got := again.outcome(each); got != ownPage {
							t.Errorf("tab %d, the page of the application opened again: %s", i+1, got)
						}
					}
				})
			}
		}
	}
}

// newHeldResumes resumes two interactions at the same time with the same session: neither is
// written before both have read the session.
func newHeldResumes(t *testing.T, b *browser) *tabs {
	t.Helper()
	opened := newTabs(b, 2)
	for _, each := range opened.all {
		each.at = b.authorize(each.attempt)
		opened.hop(each) // the consent, before the other tab's
	}
	var callbacks, resumes sync.WaitGroup
	callbacks.Add(len(opened.all))
	b.server.ChangeCallback(func(parameters url.Values) url.Values {
		callbacks.Done()
		callbacks.Wait()
		return parameters
	})
	for _, each := range opened.all {
		resumes.Go(func() {
			response, err := b.client.Get(each.at.location.String())
			if err != nil {
				t.Error(err)
				callbacks.Done()
				return
			}
			defer response.Body.Close()
			if each.at.status, each.at.header = response.StatusCode, response.Header; response.StatusCode == http.StatusBadRequest {
				callbacks.Done() // or the other one would wait for ever
			}
			each.at.location, _ = response.Location()
		})
	}
	resumes.Wait()
	b.server.ChangeCallback(nil)
	return opened
}

func TestTwoResumesAtOnceDoLastingDamage(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	b.callback(b.newSignIn())
	before := b.cookie("_session")
	opened := newHeldResumes(t, b)
	sessions := map[string]bool{before: true}
	for i, each := range opened.all {
		if got := opened.outcome(each); got != ownPage {
			t.Errorf("tab %d: %s", i+1, got)
		}
		sessions[each.at.wantCookies(t, "_interaction_resume", "_session")["_session"].Value] = true
	}
	if len(sessions) != 3 {
		t.Errorf("the sessions are %v", sessions)
	}
	later := newTabs(b, 3)
	for i, want := range []string{"/consent", "/sign-in", "/sign-in"} {
		each := later.all[i]
		each.at = b.authorize(each.attempt)
		if each.at.location == nil || each.at.location.Path != want {
			t.Fatalf("later sign-in %d: %s, want %s", i+1, later.outcome(each), want)
		}
		if want != "/consent" {
			continue
		}
		if later.finish(each); later.outcome(each) != unknown {
			t.Errorf("later sign-in %d: %s, want %s", i+1, later.outcome(each), unknown)
		}
	}
	b.callback(b.newSignIn()) // by the form
	b.callback(b.newSignIn())
}

func TestTwoResumesAtOnceEndTheTokensOfTheSession(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, logtotest.NewServer(t))
	bound, offline := b.tokens("scope", "openid profile"), b.tokens()
	for _, of := range []map[string]any{bound, offline} {
		if got := b.userInfo(of["access_token"].(string)); got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	newHeldResumes(t, b)
	b.userInfo(bound["access_token"].(string)).wantError(t, http.StatusUnauthorized, "invalid_token")
	if got := b.userInfo(offline["access_token"].(string)); got.status != http.StatusOK {
		t.Errorf("with offline_access: %d %s", got.status, got.body)
	}
	// The question for the tokens was the lookup.
	if got := b.authorize(b.newSignIn()); got.location.Path != "/sign-in" {
		t.Errorf("the next sign-in leads to %v", got.location)
	}
}
