package session

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestTheNextVersionCountsAReplacedRefreshToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refreshToken, want string
		replacements       uint64
	}{
		"no refresh token in the answer": {"", "old", 1},
		"the same one":                   {"old", "old", 1},
		"another one":                    {"new", "new", 2},
	} {
		session := &Session{ID: "i", Version: 7, Replacements: 1, RefreshToken: "old"}
		next := session.next(test.refreshToken)
		if next.Version != 8 || next.RefreshToken != test.want || next.Replacements != test.replacements || next.ID != "i" {
			t.Errorf("%s: got version %d, %q, %d replacements, want 8, %q, %d", name, next.Version, next.RefreshToken, next.Replacements, test.want, test.replacements)
		}
		if session.Version != 7 || session.RefreshToken != "old" {
			t.Errorf("%s: the version before has changed", name)
		}
	}
}

func TestTheAccessTokenThatExpiresFirstIsGivenUp(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	session := &Session{AccessTokens: []AccessToken{{Token: "a", Expires: at.Add(2 * time.Hour)}, {Token: "b", Expires: at.Add(time.Hour)}, {Token: "c", Expires: at.Add(3 * time.Hour)}}}
	for _, want := range []string{"ac", "c", ""} {
		before := slices.Clone(session.AccessTokens)
		other := *session
		ok := session.dropAccessToken()
		got := ""
		for _, token := range session.AccessTokens {
			got += token.Token
		}
		if !ok || got != want {
			t.Errorf("got the tokens %q, %t, want %q", got, ok, want)
		}
		if !slices.Equal(other.AccessTokens, before) {
			t.Errorf("the tokens of another version have become %v", other.AccessTokens)
		}
	}
	if session.dropAccessToken() {
		t.Error("a token was dropped where there is none")
	}
}

func TestASessionIsStaleWhenLogtoHasToBeAsked(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	session := func(change func(*Session)) *Session {
		s := &Session{RefreshToken: "r", Subject: "u", ConfirmedAt: now.Add(-time.Minute), IDTokenExpires: now.Add(time.Hour), Expires: now.Add(24 * time.Hour)}
		change(s)
		return s
	}
	for name, test := range map[string]struct {
		after     time.Duration // Settings.RevalidateAfter
		session   *Session
		changedAt time.Time
		want      bool
	}{
		"an ID token that is valid":           {0, session(func(*Session) {}), time.Time{}, false},
		"an ID token that has expired":        {0, session(func(s *Session) { s.IDTokenExpires = now }), time.Time{}, true},
		"confirmed a moment ago all the same": {0, session(func(s *Session) { s.IDTokenExpires, s.ConfirmedAt = now, now.Add(-9*time.Second) }), time.Time{}, false},
		"without a refresh token":             {0, session(func(s *Session) { s.IDTokenExpires, s.RefreshToken = now, "" }), time.Time{}, false},
		"the time of the configuration":       {time.Minute, session(func(*Session) {}), time.Time{}, true},
		"before that":                         {2 * time.Minute, session(func(s *Session) { s.IDTokenExpires = now }), time.Time{}, false},
		"never":                               {-1, session(func(s *Session) { s.IDTokenExpires = now }), time.Time{}, false},
		"a change since":                      {-1, session(func(*Session) {}), now.Add(-time.Second), true},
		"a change before":                     {-1, session(func(*Session) {}), now.Add(-time.Hour), false},
	} {
		s := newSessions(t, func(s *Settings) { s.Now, s.RevalidateAfter = func() time.Time { return now }, test.after })
		if !test.changedAt.IsZero() {
			s.revocations.Record(t.Context(), Revocation{Kind: ChangedUser, Name: "u", At: test.changedAt})
		}
		if got := s.IsStale(test.session); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

func TestTwoRulesForOtherSessionsEndWhatEachEnds(t *testing.T) {
	t.Parallel()
	first := othersRule{at: 100, started: 10, except: "a"}
	for name, test := range map[string]struct {
		second othersRule
		except string
	}{
		"the same session goes on":             {othersRule{at: 200, started: 10, except: "a"}, "a"},
		"another one that began since":         {othersRule{at: 200, started: 150, except: "b"}, "b"},
		"another one that the first has ended": {othersRule{at: 200, started: 50, except: "b"}, ""},
	} {
		for _, both := range []othersRule{first.and(test.second), test.second.and(first)} {
			if both.at != 200 || both.except != test.except {
				t.Errorf("%s: got %+v, want all until 200 but %q", name, both, test.except)
			}
		}
	}
}

func TestCookiesComeFromPlacesAbove(t *testing.T) {
	t.Parallel()
	for host, want := range map[string][]string{
		"localhost":         {"", "localhost"},
		"app.example.com":   {"", "app.example.com", "example.com"},
		"a.app.example.com": {"", "a.app.example.com", "app.example.com", "example.com"},
		"192.0.2.1":         {"", "192.0.2.1"},
	} {
		if got := domainsAbove(host); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got the domains %q, want %q", host, got, want)
		}
	}
	for path, want := range map[string][]string{
		"":       {"/"},
		"/":      {"/"},
		"/a":     {"/", "/a"},
		"/a/":    {"/", "/a", "/a/"},
		"/a/b":   {"/", "/a", "/a/", "/a/b"},
		"/a%2Fb": {"/", "/a%2Fb"},
	} {
		if got := pathsAbove(path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got the paths %q, want %q", path, got, want)
		}
	}
}

func TestARevocationNamesItsUserAndItsCause(t *testing.T) {
	t.Parallel()
	for kind, want := range map[RevocationKind]struct{ user, cause string }{
		revokeSession:         {"name", "session"},
		RevokeLogtoSession:    {"subject", "session"},
		RevokeUser:            {"name", "user"},
		LoggedOutLogtoSession: {"subject", "logout_token"},
		LoggedOutUser:         {"name", "logout_token"},
		RemovedUser:           {"name", "removed_user"},
		ChangedUser:           {"name", "changed_user"},
		revokeOthers:          {"name", "other_sessions"},
		loggedOutWithoutID:    {"name", "logout_token"},
		revocationKinds:       {"name", "unknown"},
	} {
		made := Revocation{Kind: kind, Name: "name", Subject: "subject"}
		if user, cause := made.User(), made.Kind.String(); user != want.user || cause != want.cause {
			t.Errorf("%d: got %q, %q, want %q, %q", kind, user, cause, want.user, want.cause)
		}
	}
}
