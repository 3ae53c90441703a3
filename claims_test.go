package logtogin_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// everyClaimScope are all scopes of Logto's that release claims.
var everyClaimScope = []string{
	"email", "phone", "address", "custom_data", "identities", "roles",
	"urn:logto:scope:organizations", "urn:logto:scope:organization_roles",
}

// everyClaim are Logto's claims in the shapes in which Logto sends them, but
// for those of the protocol.
const everyClaim = `{
	"name": "Alice Example", "family_name": "Example", "given_name": "Alice", "middle_name": "B.", "nickname": "al",
	"preferred_username": "alice", "profile": "https://example.test/alice", "picture": "https://img.example.test/alice.png",
	"website": "https://alice.example.test", "gender": "female", "birthdate": "1990-01-31", "zoneinfo": "Europe/Berlin",
	"locale": "en-GB", "updated_at": 1795416888054, "username": "alice", "created_at": 1795416779476,
	"email": "alice@example.test", "email_verified": true, "phone_number": null, "phone_number_verified": false,
	"address": {"formatted": "Lane 1\n10115 Berlin", "streetAddress": "Lane 1", "locality": "Berlin", "region": "BE", "postalCode": "10115", "country": "DE"},
	"custom_data": {"plan": "pro", "seats": 3, "nested": {"a": [1, 2]}},
	"identities": {"github": {"userId": "583231", "details": {"id": "583231", "rawData": {"login": "octocat"}}}, "google": {"userId": "42"}},
	"sso_identities": [{"issuer": "https://idp.example.test", "identityId": "x-1", "detail": {"email": "alice@example.test"}}],
	"roles": ["thing-user"],
	"organizations": ["kn7nbq7r8omv", "w9nzdlivrfgq"],
	"organization_data": [{"id": "kn7nbq7r8omv", "name": "Acme", "description": "Acme Inc."}, {"id": "w9nzdlivrfgq", "name": "Initech", "description": null}],
	"organization_roles": ["kn7nbq7r8omv:editor"],
	"sid": "WgDqY8_4jZXNbx97nk", "not_documented": [null, {"a": 1e2}]
}`

// numbers decodes JSON without making floats of its numbers.
func numbers(t *testing.T, raw string) (value any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("there is more than one value in %q", raw)
	}
	return value
}

// signedIn is what a handler behind the guard sees, and what Logto sent.
type signedIn struct {
	app     *application
	browser *browser
	user    logtotest.User

	claims                *logtogin.Claims
	info                  *logtogin.UserInfo
	idTokenSent, infoSent string
}

// both are the claims of ID token and user info.
func (s *signedIn) both() map[string]*logtogin.UserClaims {
	return map[string]*logtogin.UserClaims{"ID token": &s.claims.UserClaims, "user info": &s.info.UserClaims}
}

// signInWith signs in a user with these claims, both in the ID token, for which
// the tenant has turned them all on, and in the user info.
func signInWith(t *testing.T, claims string) *signedIn {
	t.Helper()
	members, ok := numbers(t, claims).(map[string]any)
	if !ok {
		t.Fatalf("%s is no object", claims)
	}
	seen := &signedIn{}
	logto := logtotest.NewServer(t, logtotest.User{ID: "b8scm29158bd", Username: "alice", Password: "wonderland", Claims: members})
	seen.user = logtotest.User{Username: "alice", Password: "wonderland"}
	logto.ChangeIDToken(func(token *logtotest.JWT) { maps.Copy(token.Claims, members) })
	logto.Intercept(logtotest.UserInfo, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		seen.infoSent = answer.Body.String()
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		if _, err := w.Write(answer.Body.Bytes()); err != nil {
			t.Error(err)
		}
	})
	seen.app = newApplication(t, logto, func(cfg *logtogin.Config) {
		cfg.Scopes = everyClaimScope
		cfg.SignInDefaults.MaxAge = time.Hour // brings auth_time
	})
	seen.app.router.GET("/look", seen.app.auth.Guard(), func(c *gin.Context) {
		seen.claims = c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
		idToken, err := seen.app.auth.IDToken(c)
		if err != nil {
			t.Error(err)
			return
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(idToken, ".")[1])
		if err != nil {
			t.Error(err)
		}
		seen.idTokenSent = string(payload)
		if seen.info, err = seen.app.auth.UserInfo(c); err != nil {
			t.Error(err)
			return
		}
		c.String(http.StatusOK, "looked")
	})
	seen.browser = newBrowser(t)
	seen.look(t)
	return seen
}

// look asks again.
func (s *signedIn) look(t *testing.T) {
	t.Helper()
	if shown := s.browser.signIn(s.app.url+"/look", s.user); shown.body != "looked" {
		t.Fatalf("%d %s", shown.status, shown.body)
	}
}

func TestEveryDocumentedClaimHasItsField(t *testing.T) {
	t.Parallel()
	seen := signInWith(t, everyClaim)
	for what, user := range seen.both() {
		fields := map[string][2]any{
			"Subject": {user.Subject, "b8scm29158bd"}, "Name": {user.Name, "Alice Example"}, "Username": {user.Username, "alice"},
			"Picture": {user.Picture, "https://img.example.test/alice.png"}, "GivenName": {user.GivenName, "Alice"}, "FamilyName": {user.FamilyName, "Example"},
			"MiddleName": {user.MiddleName, "B."}, "Nickname": {user.Nickname, "al"}, "PreferredUsername": {user.PreferredUsername, "alice"},
			"Profile": {user.Profile, "https://example.test/alice"}, "Website": {user.Website, "https://alice.example.test"}, "Gender": {user.Gender, "female"},
			"Birthdate": {user.Birthdate, "1990-01-31"}, "Zoneinfo": {user.Zoneinfo, "Europe/Berlin"}, "Locale": {user.Locale, "en-GB"},
			"CreatedAt":     {user.CreatedAt.UTC(), time.Date(2026, 11, 23, 6, 52, 59, 476e6, time.UTC)},
			"UpdatedAt":     {user.UpdatedAt.UTC(), time.Date(2026, 11, 23, 6, 54, 48, 54e6, time.UTC)},
			"Email":         {user.Email, "alice@example.test"},
			"EmailVerified": {user.EmailVerified, true}, "PhoneNumber": {user.PhoneNumber, ""}, "PhoneNumberVerified": {user.PhoneNumberVerified, false},
			"Address": {user.Address, &logtogin.Address{
				Formatted: "Lane 1\n10115 Berlin", StreetAddress: "Lane 1", Locality: "Berlin", Region: "BE", PostalCode: "10115", Country: "DE",
			}},
			"CustomData":        {numbers(t, string(user.CustomData)), numbers(t, `{"plan": "pro", "seats": 3, "nested": {"a": [1, 2]}}`)},
			"Roles":             {user.Roles, []string{"thing-user"}},
			"Organizations":     {user.Organizations, []string{"kn7nbq7r8omv", "w9nzdlivrfgq"}},
			"OrganizationRoles": {user.OrganizationRoles, []string{"kn7nbq7r8omv:editor"}},
			"OrganizationData": {user.OrganizationData, []logtogin.OrganizationData{
				{ID: "kn7nbq7r8omv", Name: "Acme", Description: "Acme Inc."}, {ID: "w9nzdlivrfgq", Name: "Initech"},
			}},
			"Identities": {user.Identities, map[string]logtogin.Identity{
				"github": {UserID: "583231", Details: json.RawMessage(`{"id":"583231","rawData":{"login":"octocat"}}`)},
				"google": {UserID: "42"},
			}},
			"SSOIdentities": {user.SSOIdentities, []logtogin.SSOIdentity{
				{Issuer: "https://idp.example.test", IdentityID: "x-1", Detail: json.RawMessage(`{"email":"alice@example.test"}`)},
			}},
		}
		for name, pair := range fields {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s: %s is %+v, want %+v", what, name, pair[0], pair[1])
			}
		}
		// A new field wants a row here.
		for field := range reflect.TypeFor[logtogin.UserClaims]().Fields() {
			if _, ok := fields[field.Name]; !ok && field.IsExported() {
				t.Errorf("the field %s is not tested", field.Name)
			}
		}
	}
	sent, ok := numbers(t, seen.idTokenSent).(map[string]any)
	if !ok {
		t.Fatal(seen.idTokenSent)
	}
	for name, at := range map[string]time.Time{"iat": seen.claims.IssuedAt, "exp": seen.claims.Expiry, "auth_time": seen.claims.AuthTime} {
		if fmt.Sprint(at.Unix()) != fmt.Sprint(sent[name]) {
			t.Errorf("%s is %v, want %v", name, at.Unix(), sent[name])
		}
	}
	if seen.claims.Issuer != sent["iss"] || seen.claims.SessionID != "WgDqY8_4jZXNbx97nk" || !slices.Equal(seen.claims.Audience, []string{sent["aud"].(string)}) {
		t.Errorf("iss %q, sid %q, aud %q", seen.claims.Issuer, seen.claims.SessionID, seen.claims.Audience)
	}
}

func TestMarshallingYieldsWhatLogtoSent(t *testing.T) {
	t.Parallel()
	for name, claims := range map[string]string{
		"every claim":        everyClaim,
		"no more than usual": `{}`,
		"nulls":              `{"name": null, "email": null, "phone_number": null, "picture": null, "website": null, "not_documented": null, "address": null, "roles": null}`,
		"empty values":       `{"name": "", "roles": [], "custom_data": {}, "identities": {}, "organization_data": [], "address": {}}`,
		"wrong types":        `{"name": 1, "roles": "admin", "email_verified": "true", "created_at": "now", "address": [1], "custom_data": []}`,
		"names like others":  `{"Sub": "x", "SUB": "y", "ſub": "z", "Email_Verified": true, "": "no name"}`,
		"numbers":            `{"big": 9007199254740993, "huge": 1E+300, "small": -0.1e-5, "ten": 10.0, "custom_data": {"id": 123456789012345678901234567890}}`,
		"odd text":           `{"name": "<script>&amp;\u2028\"\\\ud83d\ude00é", "nickname": "\u0000\t", "not \"documented\": {[": ":,}"}`,
		"nesting":            `{"not_documented": [[[[{"a": [{"b": {"c": [null, true, {}]}}]}]]]]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := signInWith(t, claims)
			for what, pair := range map[string]struct {
				value any
				sent  string
			}{
				"*Claims": {seen.claims, seen.idTokenSent}, "Claims": {*seen.claims, seen.idTokenSent}, "UserClaims of Claims": {seen.claims.UserClaims, seen.idTokenSent},
				"*UserInfo": {seen.info, seen.infoSent}, "UserInfo": {*seen.info, seen.infoSent},
			} {
				want := numbers(t, pair.sent)
				raw, err := json.Marshal(pair.value)
				if err != nil || !reflect.DeepEqual(numbers(t, string(raw)), want) {
					t.Errorf("%s is %s, %v; want %s", what, raw, err, pair.sent)
				}
				raw, err = json.Marshal(map[string]any{"in": []any{pair.value}})
				if err != nil || !reflect.DeepEqual(numbers(t, string(raw)), map[string]any{"in": []any{want}}) {
					t.Errorf("inside of others %s is %s, %v; want %s", what, raw, err, pair.sent)
				}
			}
			wanted, _ := numbers(t, claims).(map[string]any)
			for what, sent := range map[string]string{"ID token": seen.idTokenSent, "user info": seen.infoSent} {
				got, _ := numbers(t, sent).(map[string]any)
				for name, value := range wanted {
					if has, ok := got[name]; !ok || !reflect.DeepEqual(has, value) {
						t.Errorf("the fake's %s has %s %v, %v; want %v", what, name, has, ok, value)
					}
				}
			}
			// And through gin's renderer.
			if shown := seen.browser.get(seen.app.url + "/profile"); !reflect.DeepEqual(numbers(t, shown.body), numbers(t, seen.idTokenSent)) {
				t.Errorf("the page is %s, want %s", shown.body, seen.idTokenSent)
			}
		})
	}
	t.Run("claims that nobody sent are null", func(t *testing.T) {
		t.Parallel()
		for _, value := range []any{logtogin.Claims{}, &logtogin.Claims{}, logtogin.UserInfo{}, (*logtogin.Claims)(nil)} {
			if raw, err := json.Marshal(value); err != nil || string(raw) != "null" {
				t.Errorf("%T is %s, %v", value, raw, err)
			}
		}
	})
}

func TestHasAndGetTellAbsentAndNullApart(t *testing.T) {
	t.Parallel()
	seen := signInWith(t, `{"phone_number": null, "website": "", "roles": ["a", "b"], "yes": true, "number": 9007199254740993, "object": {"a": {"b": 9007199254740993}}, "huge": 123456789012345678901234567890}`)
	for what, user := range seen.both() {
		t.Run(what, func(t *testing.T) {
			for name, want := range map[string]bool{
				"sub": true, "phone_number": true, "website": true, "yes": true, "roles": true,
				"absent": false, "gender": false, "": false, "Sub": false, "PHONE_NUMBER": false, "phone_number ": false, "object.a": false,
			} {
				if user.Has(name) != want {
					t.Errorf("Has(%q) is %v", name, !want)
				}
				var value any
				if err := user.Get(name, &value); errors.Is(err, logtogin.ErrNoSuchClaim) == want || (want && err != nil) {
					t.Errorf("Get(%q): %v", name, err)
				}
			}
			untouched := "untouched"
			if err := user.Get("absent", &untouched); !errors.Is(err, logtogin.ErrNoSuchClaim) || untouched != "untouched" {
				t.Errorf("an absent claim is %q, %v", untouched, err)
			}
			if err := user.Get("phone_number", &untouched); err != nil || untouched != "untouched" {
				t.Errorf("a null claim is %q, %v", untouched, err)
			}
			pointer := new(string)
			if err := user.Get("phone_number", &pointer); err != nil || pointer != nil {
				t.Errorf("a null claim is the pointer %v, %v", pointer, err)
			}
			if err := user.Get("website", &pointer); err != nil || pointer == nil || *pointer != "" {
				t.Errorf("an empty claim is the pointer %v, %v", pointer, err)
			}
			var roles []string
			if err := user.Get("roles", &roles); err != nil || !slices.Equal(roles, []string{"a", "b"}) {
				t.Errorf("roles are %q, %v", roles, err)
			}
			var number int64
			if err := user.Get("number", &number); err != nil || number != 9007199254740993 {
				t.Errorf("the number is %d, %v", number, err)
			}
			var object map[string]map[string]json.Number
			if err := user.Get("object", &object); err != nil || object["a"]["b"] != "9007199254740993" {
				t.Errorf("the object is %v, %v", object, err)
			}
			var huge json.RawMessage
			if err := user.Get("huge", &huge); err != nil || string(huge) != "123456789012345678901234567890" {
				t.Errorf("the huge number is %s, %v", huge, err)
			}
			for _, misfit := range []any{&number, nil, number, (*int64)(nil)} {
				if err := user.Get("yes", misfit); err == nil || errors.Is(err, logtogin.ErrNoSuchClaim) {
					t.Errorf("true fits into %T: %v", misfit, err)
				}
			}
			if err := user.Get("huge", &number); err == nil {
				t.Errorf("a number that is too large is %d", number)
			}
		})
	}
}

// C53: encoding/json takes any case, and "ſ" and the Kelvin sign, for a name.
func TestClaimsThatLookLikeOthersDoNotReplaceThem(t *testing.T) {
	t.Parallel()
	seen := signInWith(t, `{
		"Sub": "admin", "SUB": "admin", "sUb": "admin", "ſub": "admin", "ＳＵＢ": "admin", "sub ": "admin", "sub\u0000": "admin", "s\u200bub": "admin",
		"Email_Verified": true, "EMAIL_VERIFIED": true, "emailVerified": true, "email_verified": false,
		"Email": "admin@example.test", "EMAIL": "admin@example.test", "email": null,
		"Name": "Admin", "nicKname": "admin", "Picture": "https://evil.example.test", "Roles": ["admin"], "roleſ": ["admin"], "ROLES": ["admin"], "roles": ["user"],
		"Organizations": ["admin"], "organizationſ": ["admin"], "Custom_Data": {"admin": true}, "Created_At": 1, "phone_Number_verified": true,
		"Issuer": "https://evil.example.test", "Iss": "https://evil.example.test", "iſſ": "https://evil.example.test", "Aud": "evil", "Exp": 1, "Iat": 1, "Sid": "evil", "ſid": "evil",
		"Auth_Time": 1, "Nonce": "evil", "Username": "admin", "Preferred_username": "admin",
		"address": {"Formatted": "evil", "streetaddress": "evil", "ſtreetAddress": "evil", "street_address": "evil", "Country": "evil", "locality": "Berlin"},
		"organization_data": [{"ID": "evil", "id": "good", "Id": "evil", "Name": "evil", "DESCRIPTION": "evil"}],
		"identities": {"github": {"UserId": "evil", "userid": "evil", "userId": "good", "Details": {}}},
		"sso_identities": [{"Issuer": "evil", "issuer": "good", "iſſuer": "evil", "identityID": "evil", "Detail": {}}]
	}`)
	for what, user := range seen.both() {
		for name, pair := range map[string][2]any{
			"Subject": {user.Subject, "b8scm29158bd"}, "EmailVerified": {user.EmailVerified, false}, "Email": {user.Email, ""}, "Name": {user.Name, ""},
			"Nickname": {user.Nickname, ""}, "Picture": {user.Picture, ""}, "Roles": {user.Roles, []string{"user"}}, "Username": {user.Username, "alice"},
			"PreferredUsername": {user.PreferredUsername, "alice"}, "PhoneNumberVerified": {user.PhoneNumberVerified, false},
			"Address":          {user.Address, &logtogin.Address{Locality: "Berlin"}},
			"OrganizationData": {user.OrganizationData, []logtogin.OrganizationData{{ID: "good"}}},
			"Identities":       {user.Identities, map[string]logtogin.Identity{"github": {UserID: "good"}}},
			"SSOIdentities":    {user.SSOIdentities, []logtogin.SSOIdentity{{Issuer: "good"}}},
		} {
			if !reflect.DeepEqual(pair[0], pair[1]) {
				t.Errorf("%s: %s is %+v, want %+v", what, name, pair[0], pair[1])
			}
		}
		if slices.Contains(user.Organizations, "admin") || strings.Contains(string(user.CustomData), "admin") || user.CreatedAt.UnixMilli() == 1 {
			t.Errorf("%s: organizations %q, custom data %s, created at %v", what, user.Organizations, user.CustomData, user.CreatedAt)
		}
		var admin string
		if err := user.Get("Sub", &admin); err != nil || admin != "admin" {
			t.Errorf("%s: what looks alike is %q, %v by its own name", what, admin, err)
		}
	}
	claims := seen.claims
	if claims.Issuer != seen.issuer(t) || claims.SessionID != "" || slices.Contains(claims.Audience, "evil") || claims.Expiry.Unix() == 1 || claims.IssuedAt.Unix() == 1 || claims.AuthTime.Unix() == 1 {
		t.Errorf("%+v", claims)
	}
}

// issuer is what the ID token said.
func (s *signedIn) issuer(t *testing.T) string {
	t.Helper()
	members, _ := numbers(t, s.idTokenSent).(map[string]any)
	issuer, _ := members["iss"].(string)
	return issuer
}

// C53: the member that counts must be there; one that looks like it is none.
func TestATokenWhoseSubjectOnlyLooksLikeOneIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Sub", "SUB", "ſub"} {
		logto := logtotest.NewServer(t)
		app := newApplication(t, logto, nil)
		logto.ChangeIDToken(func(token *logtotest.JWT) {
			token.Claims[name] = token.Claims["sub"]
			delete(token.Claims, "sub")
		})
		b := newBrowser(t)
		if shown := b.signIn(app.url+"/profile", logtotest.DefaultUser()); shown.status != http.StatusBadRequest || b.isSignedIn(app) {
			t.Errorf("%s: %d %s", name, shown.status, shown.body)
		}
	}
}

// C54.
func TestOnlyTrueIsVerified(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		`true`: true, `false`: false, `"true"`: false, `"True"`: false, `"1"`: false, `1`: false, `1.0`: false, `null`: false,
		`[true]`: false, `{"value": true}`: false, `"yes"`: false, `""`: false,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			seen := signInWith(t, `{"email": "alice@example.test", "email_verified": `+value+`, "phone_number": "41790000000", "phone_number_verified": `+value+`}`)
			for what, user := range seen.both() {
				if user.EmailVerified != want || user.PhoneNumberVerified != want {
					t.Errorf("%s: verified are %v and %v", what, user.EmailVerified, user.PhoneNumberVerified)
				}
				if user.Email != "alice@example.test" || user.PhoneNumber != "41790000000" {
					t.Errorf("%s: %q and %q", what, user.Email, user.PhoneNumber)
				}
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		logto := logtotest.NewServer(t)
		logto.ChangeIDToken(func(token *logtotest.JWT) { delete(token.Claims, "email_verified") })
		app := newApplication(t, logto, nil)
		var claims *logtogin.Claims
		app.router.GET("/look", app.auth.Guard(), func(c *gin.Context) { claims, _ = logtogin.ClaimsFrom(c) })
		newBrowser(t).signIn(app.url+"/look", logtotest.DefaultUser())
		if claims == nil || claims.EmailVerified || claims.Has("email_verified") || claims.Email == "" {
			t.Errorf("%+v", claims)
		}
	})
}

func TestClaimsOfAnotherTypeLeaveTheirFieldEmpty(t *testing.T) {
	t.Parallel()
	fields := map[string]string{
		"name": "Name", "username": "Username", "picture": "Picture", "given_name": "GivenName", "family_name": "FamilyName", "middle_name": "MiddleName",
		"nickname": "Nickname", "preferred_username": "PreferredUsername", "profile": "Profile", "website": "Website", "gender": "Gender",
		"birthdate": "Birthdate", "zoneinfo": "Zoneinfo", "locale": "Locale", "created_at": "CreatedAt", "updated_at": "UpdatedAt", "email": "Email",
		"email_verified": "EmailVerified", "phone_number": "PhoneNumber", "phone_number_verified": "PhoneNumberVerified", "address": "Address",
		"custom_data": "CustomData", "identities": "Identities", "sso_identities": "SSOIdentities", "roles": "Roles", "organizations": "Organizations",
		"organization_data": "OrganizationData", "organization_roles": "OrganizationRoles",
	}
	if exported := reflect.TypeFor[logtogin.UserClaims](); exported.NumField() != len(fields)+2 { // and claimSet and Subject
		t.Errorf("UserClaims has %d fields: this test wants all of them", exported.NumField())
	}
	for name, value := range map[string]string{
		"null":               `null`,
		"a list of numbers":  `[1, 2]`,
		"a list of mixtures": `["a", 1]`,
		"a list with a null": `["a", null]`,
		"a list of lists":    `[["a"]]`,
		"a fraction":         `1.5`,
		"a large number":     `1e300`,
		"a negative number":  `-1`,
		"a number too large": `9223372036854775808`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := map[string]json.RawMessage{}
			for claim := range fields {
				claims[claim] = json.RawMessage(value)
			}
			raw, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			seen := signInWith(t, string(raw))
			for what, user := range seen.both() {
				for claim, field := range fields {
					if got := reflect.ValueOf(user).Elem().FieldByName(field); !got.IsZero() {
						t.Errorf("%s: %s is %v", what, field, got)
					}
					if !user.Has(claim) {
						t.Errorf("%s: %s is not there", what, claim)
					}
				}
			}
		})
	}
	t.Run("text, true and an object, each where it does not belong", func(t *testing.T) {
		t.Parallel()
		for _, claims := range []string{
			`{"created_at": "2026-11-23T06:52:59Z", "updated_at": "1795416779476", "email_verified": "x", "address": "Lane 1", "custom_data": "{}", "identities": "x", "sso_identities": "x", "roles": "admin", "organizations": "o", "organization_data": "o", "organization_roles": "o:admin"}`,
			`{"name": true, "created_at": true, "email": true, "address": true, "custom_data": true, "identities": true, "roles": true, "organizations": true, "organization_data": true}`,
			`{"name": {"a": "b"}, "created_at": {}, "email": {"a": "b"}, "email_verified": {"a": true}, "sso_identities": {"a": {}}, "roles": {"a": "admin"}, "organizations": {"0": "o"}, "organization_data": {"0": {}}, "organization_roles": {}}`,
			`{"identities": {"github": "x"}, "sso_identities": ["x"], "organization_data": [null], "roles": [{"name": "admin"}], "custom_data": ["x"], "address": ["x"]}`,
		} {
			seen := signInWith(t, claims)
			members, _ := numbers(t, claims).(map[string]any)
			for what, user := range seen.both() {
				for claim := range members {
					if got := reflect.ValueOf(user).Elem().FieldByName(fields[claim]); !got.IsZero() {
						t.Errorf("%s: %s is %v", what, fields[claim], got)
					}
				}
			}
		}
	})
	t.Run("members of the wrong type inside of others", func(t *testing.T) {
		t.Parallel()
		seen := signInWith(t, `{
			"address": {"formatted": 1, "streetAddress": null, "locality": ["x"], "country": "DE"},
			"organization_data": [{"id": 1, "name": null, "description": {}}, {"id": "o"}],
			"identities": {"a": {"userId": 42, "details": "text"}}, "sso_identities": [{"issuer": 1, "identityId": "x"}]
		}`)
		for what, user := range seen.both() {
			for name, pair := range map[string][2]any{
				"Address":          {user.Address, &logtogin.Address{Country: "DE"}},
				"OrganizationData": {user.OrganizationData, []logtogin.OrganizationData{{}, {ID: "o"}}},
				"Identities":       {user.Identities, map[string]logtogin.Identity{"a": {Details: json.RawMessage(`"text"`)}}},
				"SSOIdentities":    {user.SSOIdentities, []logtogin.SSOIdentity{{IdentityID: "x"}}},
			} {
				if !reflect.DeepEqual(pair[0], pair[1]) {
					t.Errorf("%s: %s is %+v, want %+v", what, name, pair[0], pair[1])
				}
			}
		}
	})
}

func TestChangingWhatOneHandlerGotChangesNothingForTheNext(t *testing.T) {
	t.Parallel()
	seen := signInWith(t, everyClaim)
	// Everything that was got, without the addresses of pointers.
	got := func() string {
		claims, info := *seen.claims, *seen.info
		claims.Address, info.Address = nil, nil
		return fmt.Sprintf("%+v\n%+v\n%+v\n%+v", claims, *seen.claims.Address, info, *seen.info.Address)
	}
	before := got()
	for _, user := range seen.both() {
		for _, raw := range [][]byte{user.CustomData, user.Identities["github"].Details, user.SSOIdentities[0].Detail} {
			copy(raw, bytes.Repeat([]byte("#"), len(raw)))
		}
		raw, err := user.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		clear(raw)
		user.Roles[0], user.Organizations[0], user.OrganizationRoles[0], user.Subject = "evil", "evil", "evil", "evil"
		user.OrganizationData[0].ID, user.SSOIdentities[0].Issuer, user.Address.Country = "evil", "evil", "evil"
		user.Identities["evil"] = logtogin.Identity{UserID: "evil"}
		delete(user.Identities, "github")
		user.EmailVerified = false
	}
	seen.claims.Audience[0], seen.claims.Issuer = "evil", "evil"
	if got() == before {
		t.Fatal("nothing has been changed")
	}
	seen.look(t)
	if after := got(); after != before {
		t.Errorf("the next handler gets\n%s, want\n%s", after, before)
	}
}

func TestEveryCallOfOneRequestGetsItsOwnClaims(t *testing.T) {
	t.Parallel()
	app := newApplication(t, logtotest.NewServer(t), nil)
	app.router.GET("/look", app.auth.Optional(), app.auth.Guard(), func(c *gin.Context) {
		left, _ := logtogin.ClaimsFrom(c)
		first, err1 := app.auth.Claims(c)
		second, err2 := app.auth.Claims(c)
		if err1 != nil || err2 != nil || left == nil {
			t.Errorf("%v %v %v", left, err1, err2)
			return
		}
		first.Username, first.Audience[0] = "evil", "evil"
		raw, err := first.MarshalJSON()
		if err != nil {
			t.Error(err)
		}
		clear(raw)
		third, err := app.auth.Claims(c)
		if err != nil {
			t.Error(err)
			return
		}
		for name, claims := range map[string]*logtogin.Claims{"Guard's": left, "the second": second, "the third": third} {
			var username string
			if err := claims.Get("username", &username); err != nil || username != "alice" || claims.Username != "alice" || claims.Audience[0] == "evil" {
				t.Errorf("%s: %+v %v", name, claims, err)
			}
			if raw, err := json.Marshal(claims); err != nil || decode(t, string(raw))["username"] != "alice" {
				t.Errorf("%s: %s %v", name, raw, err)
			}
		}
		c.String(http.StatusOK, "looked")
	})
	if shown := newBrowser(t).signIn(app.url+"/look", logtotest.DefaultUser()); shown.body != "looked" {
		t.Errorf("%d %s", shown.status, shown.body)
	}
}
