package logtogin_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// withClaims signs in a user whose ID token and user info have these claims
// beside the usual ones, and shows both to look.
func withClaims(t *testing.T, claims map[string]any, look func(*logtogin.Claims, *logtogin.UserInfo)) {
	t.Helper()
	logto := logtotest.NewServer(t)
	logto.ChangeIDToken(func(token *logtotest.IDToken) {
		for name, value := range claims {
			token.Claims[name] = value
		}
	})
	logto.ChangeUserInfo(func(info map[string]any) any {
		for name, value := range claims {
			info[name] = value
		}
		return info
	})
	app := newApplication(t, logto, nil)
	app.router.GET("/look", app.auth.Guard(), func(c *gin.Context) {
		info, err := app.auth.UserInfo(c)
		if err != nil {
			t.Error(err)
			return
		}
		look(c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims), info)
		c.String(http.StatusOK, "looked")
	})
	b := newBrowser(t)
	if page := b.signIn(app.url+"/look", logtotest.DefaultUser()); page.body != "looked" {
		t.Fatalf("%d %s", page.status, page.body)
	}
}

func TestClaimsHaveTheTypesThatLogtoDocuments(t *testing.T) {
	t.Parallel()
	var claims map[string]any
	err := json.Unmarshal([]byte(`{
		"name": "Alice", "family_name": "Example", "locale": "en-GB", "zoneinfo": "Europe/Berlin",
		"created_at": 1795416779476, "updated_at": 1795416888054,
		"email": "alice@example.test", "email_verified": true, "phone_number": null, "phone_number_verified": false,
		"address": {"formatted": "Lane 1", "streetAddress": "Lane", "postalCode": "10115", "locality": "Berlin", "region": "BE", "country": "DE"},
		"custom_data": {"plan": "pro", "nested": {"a": [1, 2]}},
		"identities": {"github": {"userId": "42", "details": {"id": "42"}}},
		"sso_identities": [{"issuer": "https://idp.example", "identityId": "x", "detail": {}}],
		"roles": ["admin"], "organizations": ["o1", "o2"], "organization_roles": ["o1:editor"],
		"organization_data": [{"id": "o1", "name": "Acme", "description": null}],
		"sid": "logto-session", "auth_time": 1700000000
	}`), &claims)
	if err != nil {
		t.Fatal(err)
	}
	withClaims(t, claims, func(idToken *logtogin.Claims, info *logtogin.UserInfo) {
		if idToken.SessionID != "logto-session" || !idToken.AuthTime.Equal(time.Unix(1700000000, 0)) || idToken.IssuedAt.IsZero() || len(idToken.Audience) != 1 {
			t.Errorf("%+v", idToken)
		}
		for what, user := range map[string]logtogin.UserClaims{"ID token": idToken.UserClaims, "user info": info.UserClaims} {
			for name, pair := range map[string][2]any{
				"Name": {user.Name, "Alice"}, "FamilyName": {user.FamilyName, "Example"}, "Locale": {user.Locale, "en-GB"},
				"CreatedAt": {user.CreatedAt.UnixMilli(), int64(1795416779476)}, "UpdatedAt": {user.UpdatedAt.UnixMilli(), int64(1795416888054)},
				"Email": {user.Email, "alice@example.test"}, "EmailVerified": {user.EmailVerified, true}, "PhoneNumber": {user.PhoneNumber, ""},
				"Address":           {*user.Address, logtogin.Address{Formatted: "Lane 1", StreetAddress: "Lane", Locality: "Berlin", Region: "BE", PostalCode: "10115", Country: "DE"}},
				"Identities":        {user.Identities["github"].UserID, "42"},
				"SSOIdentities":     {user.SSOIdentities[0].IdentityID, "x"},
				"Roles":             {user.Roles, []string{"admin"}},
				"Organizations":     {user.Organizations, []string{"o1", "o2"}},
				"OrganizationRoles": {user.OrganizationRoles, []string{"o1:editor"}},
				"OrganizationData":  {user.OrganizationData, []logtogin.OrganizationData{{ID: "o1", Name: "Acme"}}},
				"CustomData":        {string(user.CustomData), `{"nested":{"a":[1,2]},"plan":"pro"}`},
			} {
				if !reflect.DeepEqual(pair[0], pair[1]) {
					t.Errorf("%s: %s is %v, want %v", what, name, pair[0], pair[1])
				}
			}
		}
	})
}

func TestAbsentAndNullClaimsAreKeptApart(t *testing.T) {
	t.Parallel()
	withClaims(t, map[string]any{"phone_number": nil, "unknown": map[string]any{"big": json.Number("9007199254740993")}}, func(claims *logtogin.Claims, info *logtogin.UserInfo) {
		for what, user := range map[string]logtogin.UserClaims{"ID token": claims.UserClaims, "user info": info.UserClaims} {
			var phone, website *string
			if !user.Has("phone_number") || user.Get("phone_number", &phone) != nil || phone != nil {
				t.Errorf("%s: null is not there", what)
			}
			if user.Has("website") || !errors.Is(user.Get("website", &website), logtogin.ErrNoSuchClaim) {
				t.Errorf("%s: absent is there", what)
			}
			var number int
			if err := user.Get("name", &number); err == nil || errors.Is(err, logtogin.ErrNoSuchClaim) {
				t.Errorf("%s: a name is a number: %v", what, err)
			}
			var unknown struct{ Big int64 }
			if err := user.Get("unknown", &unknown); err != nil || unknown.Big != 9007199254740993 {
				t.Errorf("%s: %v %v", what, unknown, err)
			}
		}
		for what, value := range map[string]any{"*Claims": claims, "Claims": *claims, "*UserInfo": info, "UserInfo": *info} {
			raw, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			members := decode(t, string(raw))
			if phone, ok := members["phone_number"]; !ok || phone != nil {
				t.Errorf("%s: phone_number is %v, %v", what, phone, ok)
			}
			if _, ok := members["website"]; ok || members["sub"] != claims.Subject {
				t.Errorf("%s: %s", what, raw)
			}
		}
	})
}

// C53, C54.
func TestClaimsAreNotTakenForOthers(t *testing.T) {
	t.Parallel()
	withClaims(t, map[string]any{
		"Sub": "admin", "SUB": "admin", "\u017fub": "admin", "Email_Verified": true, "email_verified": "true",
		"phone_number_verified": 1, "roles": "admin", "created_at": "now", "address": "here", "organizations": nil,
		"identities": []any{1}, "updated_at": 1e300,
	}, func(claims *logtogin.Claims, info *logtogin.UserInfo) {
		for what, user := range map[string]logtogin.UserClaims{"ID token": claims.UserClaims, "user info": info.UserClaims} {
			if user.Subject == "admin" || user.EmailVerified || user.PhoneNumberVerified || user.Roles != nil || !user.CreatedAt.IsZero() ||
				!user.UpdatedAt.IsZero() || user.Address != nil || user.Organizations != nil || user.Identities != nil {
				t.Errorf("%s: %+v", what, user)
			}
		}
	})
}

func TestWhatAHandlerGetsIsItsOwn(t *testing.T) {
	t.Parallel()
	logto := logtotest.NewServer(t)
	app := newApplication(t, logto, nil)
	app.router.GET("/spoil", app.auth.Guard(), func(c *gin.Context) {
		claims, _ := logtogin.ClaimsFrom(c)
		raw, err := claims.MarshalJSON()
		if err != nil {
			t.Error(err)
		}
		clear(raw)
		claims.Audience[0], claims.Username = "spoiled", "spoiled"
		again, err := app.auth.Claims(c)
		if err != nil || again.Username != "alice" || again.Audience[0] != logto.AppID() {
			t.Errorf("%+v %v", again, err)
		}
	})
	b := newBrowser(t)
	b.signIn(app.url+"/sign-in", logtotest.DefaultUser())
	b.get(app.url + "/spoil")
	if page := b.get(app.url + "/profile"); decode(t, page.body)["username"] != "alice" {
		t.Error(page.body)
	}
}
