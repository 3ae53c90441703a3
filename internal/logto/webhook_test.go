package logto

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/internal/jsonobject"
)

func TestAWebhookIsSignedByOneOfTheKeysOrNot(t *testing.T) {
	t.Parallel()
	const body = `{"event":"PostSignIn"}`
	sign := func(key, body string) string {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	for name, test := range map[string]struct {
		signatures []string
		want       bool
	}{
		"by the key":              {[]string{sign("key", body)}, true},
		"by the key before":       {[]string{sign("old key", body)}, true},
		"in capitals":             {[]string{strings.ToUpper(sign("key", body))}, true},
		"by another key":          {[]string{sign("another key", body)}, false},
		"by an empty key":         {[]string{sign("", body)}, false},
		"of another body":         {[]string{sign("key", body+" ")}, false},
		"cut":                     {[]string{sign("key", body)[:32]}, false},
		"empty":                   {[]string{""}, false},
		"no hexadecimal number":   {[]string{"zz"}, false},
		"not there":               {nil, false},
		"there twice":             {[]string{sign("key", body), sign("key", body)}, false},
		"two in one line":         {[]string{sign("key", body) + "," + sign("key", body)}, false},
		"with white space around": {[]string{" " + sign("key", body)}, false},
	} {
		if got := isSignedWebhook([]byte(body), http.Header{WebhookSignature: test.signatures}, []string{"old key", "key"}); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
	if isSignedWebhook([]byte(body), http.Header{WebhookSignature: {sign("key", body)}}, nil) {
		t.Error("without keys, a webhook is signed")
	}
}

func TestAWebhookNamesItsUsersOnce(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{"event":"PostSignIn","userId":"u"}`:                                                       {"u"},
		`{"event":"User.Deleted","params":{"userId":"u"},"data":null}`:                              {"u"},
		`{"event":"User.Deleted","params":{"userId":"u"},"data":{"id":"u"}}`:                        {"u"},
		`{"event":"User.Created","params":{},"data":{"id":"u"}}`:                                    {"u"},
		`{"event":"Role.Created","data":{"id":"role"}}`:                                             nil,
		`{"event":"Organization.Membership.Updated","addedUserIds":["a","b","a",""]}`:               {"a", "b"},
		`{"event":"Organization.Membership.Updated","addedUserIds":["a"],"removedUserIds":["c"]}`:   {"a", "c"},
		`{"event":"Organization.Membership.Updated","addedUserIds":[null],"removedUserIds":["c"]}`:  {"c"},
		`{"event":"User.Data.Updated","userId":1,"params":[],"data":{"id":null},"addedUserIds":{}}`: nil,
	} {
		members, err := jsonobject.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := WebhookOf(members).UserIDs; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}
