package logtogin_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// roundTrips are the public types that come back from JSON as they were. A fixture has a value in
// every field, so that a new field is not forgotten.
var roundTrips = map[string]func(*testing.T){
	"logtogin.Claims":            comesBack(filledClaims()),
	"logtogin.UserClaims":        comesBack(filledUserClaims()),
	"logtogin.UserInfo":          comesBack(logtogin.UserInfo{UserClaims: filledUserClaims()}),
	"logtogin.AccessTokenClaims": comesBack(filledAccessTokenClaims()),
	"logtogin.Address":           comesBack(*filledUserClaims().Address),
	"logtogin.Identity":          comesBack(filledUserClaims().Identities["github"]),
	"logtogin.SSOIdentity":       comesBack(filledUserClaims().SSOIdentities[0]),
	"logtogin.OrganizationData":  comesBack(filledUserClaims().OrganizationData[0]),
	"logtogin.AccessToken": func(t *testing.T) {
		claims := filledAccessTokenClaims()
		comesBack(logtogin.AccessToken{Value: "secret", Expiry: filledAt, Scopes: []string{"a"}, Claims: &claims})(t)
	},
	"logtogin.SignInResult": func(t *testing.T) {
		claims := filledClaims()
		comesBack(logtogin.SignInResult{Claims: &claims, ReturnTo: "/a?b#c", Resumed: true})(t)
	},
	"logtogin.WebhookEvent": func(t *testing.T) {
		for _, event := range []logtogin.WebhookEvent{
			{Event: "User.SuspensionStatus.Updated", HookID: "h", CreatedAt: filledAt, UserIDs: []string{"u"}, OrganizationID: "o", IsSuspended: true},
			{Event: "User.Deleted", HookID: "h", CreatedAt: filledAt, UserIDs: []string{"u", "v", "w"}, OrganizationID: "o", IsSuspended: true},
			{Event: "PostSignIn", HookID: "h", CreatedAt: filledAt, UserIDs: []string{"u"}, OrganizationID: "o", IsSuspended: true},
			{Event: "Organization.Membership.Updated", HookID: "h", CreatedAt: filledAt, UserIDs: []string{"u", "v"}, OrganizationID: "o", IsSuspended: true},
		} {
			comesBack(event)(t)
		}
	},
	"logtogin.Diagnosis":     comesBack(logtogin.Diagnosis{At: filledAt, Findings: []logtogin.Finding{filledFinding}}),
	"logtogin.Finding":       comesBack(filledFinding),
	"logtogin.Severity":      comesBackAs(logtogin.SeverityWarning, `"warning"`),
	"logtogin.Prompt":        comesBackAs(logtogin.PromptLoginConsent, `"login consent"`),
	"logtogin.FirstScreen":   comesBackAs(logtogin.FirstScreenSingleSignOn, `"single_sign_on"`),
	"logtogin.Identifier":    comesBackAs(logtogin.IdentifierEmail, `"email"`),
	"logtogin.EventKind":     comesBackAs(logtogin.EventRefresh, `"refresh"`),
	"logtogin.Paths":         comesBack(logtogin.Paths{SignIn: "/a", SignUp: "/b", Callback: "/c", SignOut: "/d", BackchannelLogout: "-"}),
	"logtogin.CookieOptions": comesBack(logtogin.CookieOptions{Name: "n", Domain: "d", Path: "/p"}),
	"logtogin.SignInOptions": comesBack(logtogin.SignInOptions{
		ReturnTo: "/r", RedirectURI: "/c", Prompt: logtogin.PromptLogin, FirstScreen: "register", Identifiers: []logtogin.Identifier{"email"},
		DirectSignIn: "social:github", LoginHint: "h", OneTimeToken: "t", UILocales: []string{"de"}, OrganizationID: "o", OrganizationNarrowsPermissions: true, MaxAge: time.Hour,
		ExtraParams: map[string]string{"a": "b"},
	}),
	"logtogin.SignOutOptions": comesBack(logtogin.SignOutOptions{PostLogoutRedirect: "/", State: "s", IDTokenHint: true, LocalOnly: true}),
	"logtogin.ProviderError":  comesBack(logtogin.ProviderError{Code: "access_denied", Description: "d", Status: 400}),
	"logtogin.RefusalError":   comesBack(logtogin.RefusalError{Message: "m"}),
	"logtogin.ConfigError":    comesBack(logtogin.ConfigError{Field: "BaseURL", Problem: "p"}),

	"logtotest.User": comesBack(logtotest.User{
		ID: "u", Username: "alice", Password: "p", Name: "A", Email: "e", PhoneNumber: "1", Picture: "p", Roles: []string{"r"},
		Organizations: map[string][]string{"o": {"r"}}, HasMFA: true, IsSuspended: true, Claims: map[string]any{"a": []any{1.5, nil, "b"}},
		CreatedAt: filledAt, UpdatedAt: filledAt,
	}),
	"logtotest.Application": comesBack(logtotest.Application{
		ID: "i", Secret: "s", Type: logtotest.SinglePage, RedirectURIs: []string{"r"}, PostLogoutRedirectURIs: []string{"p"},
		BackchannelLogoutURI: "b", BackchannelLogoutSessionRequired: true, ThirdParty: true, ConsentScopes: []string{"openid"}, AlwaysIssueRefreshToken: true, RefreshTokenLifetime: time.Hour,
		AllowedUsers: []string{"u"}, Roles: []string{"r"}, Organizations: map[string][]string{"o": {"r"}},
	}),
	"logtotest.ApplicationType": comesBackAs(logtotest.Native, `"Native"`),
	"logtotest.Resource":        comesBack(logtotest.Resource{Indicator: "i", Permissions: []string{"p"}, AccessTokenLifetime: time.Hour}),
	"logtotest.Role":            comesBack(logtotest.Role{Name: "n", Permissions: map[string][]string{"i": {"p"}}}),
	"logtotest.Organization":    comesBack(logtotest.Organization{ID: "i", Name: "n", Description: "d", RequiresMFA: true}),
	"logtotest.OrganizationRole": comesBack(logtotest.OrganizationRole{
		Name: "n", Permissions: []string{"p"}, ResourcePermissions: map[string][]string{"i": {"p"}},
	}),
	"logtotest.Webhook":  comesBack(logtotest.Webhook{URL: "u", SigningKey: "k", Events: []string{"e"}}),
	"logtotest.Delivery": comesBack(logtotest.Delivery{URL: "u", Header: http.Header{"A": {"b"}}, Body: "b", Status: 200}),
	"logtotest.Endpoint": comesBack(logtotest.Token),
	"logtotest.Calls": comesBack(logtotest.Calls{
		Discovery: 1, Keys: 2, Authorization: 3, Token: 4, UserInfo: 5, Revocation: 6, Introspection: 7, EndSession: 8,
	}),
	"logtotest.Call": comesBack(logtotest.Call{
		Endpoint: logtotest.Keys, Method: "GET", Header: http.Header{"A": {"b"}}, Form: url.Values{"c": {"d"}}, Status: 200,
	}),
	"logtotest.Stage": comesBackAs(logtotest.StageUserInfo, `"user info"`),
}

// noRoundTrips are the public types for which JSON makes no sense, and why.
var noRoundTrips = map[string]string{
	"logtogin.Auth":               "a running thing, with connections and keys",
	"logtogin.Config":             "has functions, a store and a logger, and secrets: json.Marshal refuses it",
	"logtogin.Event":              "Err is an error, of which JSON keeps neither type nor text; Reason is its name",
	"logtogin.RequirementError":   "wraps an error",
	"logtogin.OrganizationSource": "holds a function",
	"logtogin.TokenOption":        "a function",
	"logtogin.Requirement":        "an interface of this package's own values",
	"logtogin.ClaimsRequirement":  "an interface of this package's own values",
	"logtogin.TokenRequirement":   "an interface of this package's own values",
	"logtogin.SharedState":        "an interface of behaviour",
	"logtotest.Server":            "a running thing",
	"logtotest.Fault":             "holds functions; its Name is the name of the variable",
	"logtotest.JWT":               "Key is a key of any type",
	"memorystate.State":           "a running thing",
	"redisstate.State":            "a connection",
}

func TestEveryPublicTypeComesBackFromJSONOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, folder := range []string{".", "logtotest", "memorystate", "redisstate", "telemetry"} {
		for _, name := range exportedTypes(t, folder) {
			found[name] = true
			trip, hasTrip := roundTrips[name]
			if reason := noRoundTrips[name]; hasTrip == (reason != "") {
				t.Errorf("%s: enter it in roundTrips, or in noRoundTrips with the reason", name)
			}
			if hasTrip {
				t.Run(name, trip)
			}
		}
	}
	for name := range roundTrips {
		if !found[name] {
			t.Errorf("there is no type %s", name)
		}
	}
	for name := range noRoundTrips {
		if !found[name] {
			t.Errorf("there is no type %s", name)
		}
	}
}

// exportedTypes are the exported types of the package in a folder, with its name before them.
func exportedTypes(t *testing.T, folder string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no Go files in %s: %v", folder, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for declared := range ast.Preorder(file) {
			if spec, ok := declared.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				names = append(names, file.Name.Name+"."+spec.Name.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// comesBack tests that a value and what contains it come back from JSON as they were, also into
// a value that was used before.
func comesBack[T any](value T) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		for _, empty := range emptyFields("", reflect.ValueOf(value)) {
			t.Errorf("%T%s has no value here: give it one", value, empty)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var back T
		if err := json.Unmarshal(raw, &back); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if difference := differ(value, back); difference != "" {
			t.Errorf("%s comes back different: %s", raw, difference)
		}
		again, err := json.Marshal(&back)
		if err != nil || !bytes.Equal(raw, again) {
			t.Errorf("%s is marshalled again as %s, %v", raw, again, err)
		}
		if err := json.Unmarshal([]byte("null"), &back); err != nil || differ(value, back) != "" {
			t.Errorf("null leaves of it %+v, %v", back, err)
		}
		// Inside of others, and several from one stream into the same variable.
		type holder struct {
			Value   T
			Pointer *T
			List    []T
			Map     map[string]*T
		}
		var stream bytes.Buffer
		held := holder{value, &value, []T{value, value}, map[string]*T{"a": &value}}
		for range 2 {
			if err := json.NewEncoder(&stream).Encode(held); err != nil {
				t.Fatal(err)
			}
		}
		decoder, holds := json.NewDecoder(&stream), holder{}
		for range 2 {
			if err := decoder.Decode(&holds); err != nil {
				t.Fatal(err)
			}
			if difference := differ(held, holds); difference != "" {
				t.Errorf("inside of others it comes back different: %s", difference)
			}
		}
	}
}

// comesBackAs is comesBack for a value whose JSON people read.
func comesBackAs[T any](value T, want string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		if raw, err := json.Marshal(value); err != nil || string(raw) != want {
			t.Errorf("%v is %s, %v; want %s", value, raw, err, want)
		}
		comesBack(value)(t)
	}
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// emptyFields are the exported fields at their zero value.
func emptyFields(path string, value reflect.Value) (empty []string) {
	if value.IsZero() {
		return []string{path}
	}
	if value.Kind() == reflect.Pointer {
		return emptyFields(path, value.Elem())
	}
	if value.Kind() != reflect.Struct || value.Type() == timeType {
		return nil
	}
	for field, inner := range value.Fields() {
		if field.IsExported() {
			empty = append(empty, emptyFields(path+"."+field.Name, inner)...)
		}
	}
	return empty
}

// differ says where the exported fields of two values differ, or "". Moments are the same in any
// time zone, and JSON in any spacing.
func differ(a, b any) string { return differAt("", reflect.ValueOf(a), reflect.ValueOf(b)) }

func differAt(path string, a, b reflect.Value) string {
	different := func() string { return fmt.Sprintf("%s: %v is not %v", path, a, b) } // only if they differ: it is slow
	if a.IsValid() != b.IsValid() || (a.IsValid() && a.Type() != b.Type()) {
		return different()
	}
	if !a.IsValid() {
		return ""
	}
	switch {
	case a.Type() == timeType:
		if !a.Interface().(time.Time).Equal(b.Interface().(time.Time)) {
			return different()
		}
		return ""
	case a.Type() == rawType:
		if !reflect.DeepEqual(anyNumbers(a.Bytes()), anyNumbers(b.Bytes())) {
			return different()
		}
		return ""
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		return differAt(path, a.Elem(), b.Elem())
	case reflect.Struct:
		for field, inner := range a.Fields() {
			if !field.IsExported() {
				continue
			}
			if difference := differAt(path+"."+field.Name, inner, b.FieldByIndex(field.Index)); difference != "" {
				return difference
			}
		}
		return ""
	case reflect.Slice:
		if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
			return different()
		}
		for i := range a.Len() {
			if difference := differAt(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i)); difference != "" {
				return difference
			}
		}
		return ""
	case reflect.Map:
		if a.Len() != b.Len() || a.IsNil() != b.IsNil() {
			return different()
		}
		for _, key := range a.MapKeys() {
			if difference := differAt(fmt.Sprintf("%s[%v]", path, key), a.MapIndex(key), b.MapIndex(key)); difference != "" {
				return difference
			}
		}
		return ""
	}
	if !reflect.DeepEqual(a.Interface(), b.Interface()) {
		return different()
	}
	return ""
}

// anyNumbers decodes JSON and keeps numbers as they are written; nothing becomes nil.
func anyNumbers(raw []byte) (value any) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return errors.New(string(raw))
	}
	return value
}

// What the fixtures are made of. Times have milliseconds only where Logto sends them.
var (
	filledAt      = time.Unix(1_800_000_000, 0)
	filledFinding = logtogin.Finding{Check: "clock", Severity: logtogin.SeverityError, Detail: "d", Advice: "a"}
)

func filledUserClaims() logtogin.UserClaims {
	return logtogin.UserClaims{
		Subject: "u", Name: "<Alice> & \u2028", Username: "alice", Picture: "p", GivenName: "Alice", FamilyName: "Example", MiddleName: "B.", Nickname: "al",
		PreferredUsername: "ali", Profile: "https://a.test", Website: "https://b.test", Gender: "f", Birthdate: "1990-01-31", Zoneinfo: "Europe/Berlin", Locale: "en",
		CreatedAt: filledAt.Add(123 * time.Millisecond), UpdatedAt: filledAt.Add(456 * time.Millisecond),
		Email: "alice@example.test", EmailVerified: true, PhoneNumber: "41790000000", PhoneNumberVerified: true,
		Address:           &logtogin.Address{Formatted: "f", StreetAddress: "s", Locality: "l", Region: "r", PostalCode: "p", Country: "c"},
		CustomData:        json.RawMessage(`{"id": 123456789012345678901234567890, "tags": ["<a>"]}`),
		Identities:        map[string]logtogin.Identity{"github": {UserID: "1", Details: json.RawMessage(`{"login": "octocat"}`)}, "x": {UserID: "2"}},
		SSOIdentities:     []logtogin.SSOIdentity{{Issuer: "i", IdentityID: "x", Detail: json.RawMessage(`null`)}, {Issuer: "j"}},
		Roles:             []string{"admin", ""},
		Organizations:     []string{"o", "p"},
		OrganizationData:  []logtogin.OrganizationData{{ID: "o", Name: "n", Description: "d"}, {ID: "p"}, {}},
		OrganizationRoles: []string{"o:admin"},
	}
}

func filledClaims() logtogin.Claims {
	return logtogin.Claims{
		UserClaims: filledUserClaims(), Issuer: "https://logto.test/oidc", Audience: []string{"app"}, IssuedAt: filledAt, Expiry: filledAt.Add(time.Hour),
		AuthTime: filledAt.Add(-time.Hour), SessionID: "sid",
	}
}

func filledAccessTokenClaims() logtogin.AccessTokenClaims {
	return logtogin.AccessTokenClaims{
		Subject: "u", ClientID: "c", Issuer: "i", Audience: []string{"a", "b"}, Scopes: []string{"read:things", "write:things"}, OrganizationID: "o",
		IssuedAt: filledAt, Expiry: filledAt.Add(time.Hour), ID: "j",
	}
}
