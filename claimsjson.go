package logtogin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/logto"
)

// Claims as JSON. Each type has both methods itself: the ones of an embedded type would be
// promoted, and would know only its fields.

// MarshalJSON returns exactly the claims that Logto sent, or that UnmarshalJSON has read: absent
// ones stay absent, null ones stay null. Changes of the fields are not in it.
//
// Claims that the application has made by hand are written from the fields, with Logto's names;
// a field at its zero value is left out, and without any the result is null. Times are cut to
// what Logto sends: to milliseconds for CreatedAt and UpdatedAt, to seconds for the others. The
// error is about a time before 1970 or after 9999, or a json.RawMessage that is no JSON.
func (claims Claims) MarshalJSON() ([]byte, error) {
	if source := claims.object.Source(); source != nil {
		return slices.Clone(source), nil
	}
	var written writtenClaims
	written.putUser(&claims.UserClaims)
	written.put("iss", claims.Issuer)
	written.putAudience(claims.Audience)
	written.putSeconds("iat", claims.IssuedAt)
	written.putSeconds("exp", claims.Expiry)
	written.putSeconds("auth_time", claims.AuthTime)
	written.put("sid", claims.SessionID)
	return written.json()
}

// UnmarshalJSON replaces all fields by the claims in the JSON, which it reads as it reads an ID
// token. It verifies nothing. A claim of another type leaves its field at the zero value, names
// are case-sensitive, and null in the place of the claims changes nothing. The error is about
// JSON that is no object, or has a claim twice; the fields are then as before.
func (claims *Claims) UnmarshalJSON(raw []byte) error {
	set, ok, err := objectOf(bytes.Clone(raw), "claims")
	if ok {
		*claims = *newClaims(logto.IDTokenOf(set))
		claims.CustomData = bytes.Clone(claims.CustomData) // which may be changed
	}
	return err
}

// MarshalJSON works as Claims.MarshalJSON does.
func (info UserInfo) MarshalJSON() ([]byte, error) { return info.UserClaims.MarshalJSON() }

// UnmarshalJSON works as Claims.UnmarshalJSON does, for the answer of the userinfo endpoint.
func (info *UserInfo) UnmarshalJSON(raw []byte) error { return info.UserClaims.UnmarshalJSON(raw) }

// MarshalJSON works as Claims.MarshalJSON does. The UserClaims of Claims from Logto have the claims of the
// protocol in it, too.
func (u UserClaims) MarshalJSON() ([]byte, error) {
	if source := u.object.Source(); source != nil {
		return slices.Clone(source), nil
	}
	var written writtenClaims
	written.putUser(&u)
	return written.json()
}

// UnmarshalJSON works as Claims.UnmarshalJSON does.
func (u *UserClaims) UnmarshalJSON(raw []byte) error {
	set, ok, err := objectOf(bytes.Clone(raw), "claims")
	if ok {
		*u = newUserClaims(set)
		u.CustomData = bytes.Clone(u.CustomData) // which may be changed
	}
	return err
}

// MarshalJSON works as Claims.MarshalJSON does.
func (claims AccessTokenClaims) MarshalJSON() ([]byte, error) {
	if source := claims.object.Source(); source != nil {
		return slices.Clone(source), nil
	}
	var written writtenClaims
	written.put("sub", claims.Subject)
	written.put("client_id", claims.ClientID)
	written.put("iss", claims.Issuer)
	written.putAudience(claims.Audience)
	written.put("scope", strings.Join(claims.Scopes, " "))
	written.put("organization_id", claims.OrganizationID)
	written.putSeconds("iat", claims.IssuedAt)
	written.putSeconds("exp", claims.Expiry)
	written.put("jti", claims.ID)
	return written.json()
}

// UnmarshalJSON works as Claims.UnmarshalJSON does, for an access token. It verifies nothing.
func (claims *AccessTokenClaims) UnmarshalJSON(raw []byte) error {
	set, ok, err := objectOf(bytes.Clone(raw), "claims")
	if ok {
		*claims = *newAccessTokenClaims(logto.AccessTokenOf(set))
	}
	return err
}

// encoding/gob would keep the fields only, and lose what Has and Get know. Stores of sessions use it.

// GobEncode is MarshalJSON.
func (claims Claims) GobEncode() ([]byte, error) { return claims.MarshalJSON() }

// GobDecode is UnmarshalJSON.
func (claims *Claims) GobDecode(raw []byte) error { return claims.UnmarshalJSON(raw) }

// GobEncode is MarshalJSON.
func (info UserInfo) GobEncode() ([]byte, error) { return info.MarshalJSON() }

// GobDecode is UnmarshalJSON.
func (info *UserInfo) GobDecode(raw []byte) error { return info.UnmarshalJSON(raw) }

// GobEncode is MarshalJSON.
func (u UserClaims) GobEncode() ([]byte, error) { return u.MarshalJSON() }

// GobDecode is UnmarshalJSON.
func (u *UserClaims) GobDecode(raw []byte) error { return u.UnmarshalJSON(raw) }

// GobEncode is MarshalJSON.
func (claims AccessTokenClaims) GobEncode() ([]byte, error) { return claims.MarshalJSON() }

// GobDecode is UnmarshalJSON.
func (claims *AccessTokenClaims) GobDecode(raw []byte) error { return claims.UnmarshalJSON(raw) }

// The members inside these claims are decoded by name, too: encoding/json would take any
// capitalization for them. The tags of the fields are for marshalling.

// UnmarshalJSON replaces all fields. It takes members by their exact names. A member that is
// absent or of another type leaves its field at the zero value. The error is about JSON that is no
// object, or has a member twice; null changes nothing.
func (a *Address) UnmarshalJSON(raw []byte) error {
	set, ok, err := objectOf(raw, "address")
	if ok {
		*a = Address{}
		jsonobject.Fill(set, "formatted", &a.Formatted)
		jsonobject.Fill(set, "streetAddress", &a.StreetAddress)
		jsonobject.Fill(set, "locality", &a.Locality)
		jsonobject.Fill(set, "region", &a.Region)
		jsonobject.Fill(set, "postalCode", &a.PostalCode)
		jsonobject.Fill(set, "country", &a.Country)
	}
	return err
}

// UnmarshalJSON works as Address.UnmarshalJSON does.
func (i *Identity) UnmarshalJSON(raw []byte) error {
	set, ok, err := objectOf(raw, "identity")
	if ok {
		*i = Identity{}
		jsonobject.Fill(set, "userId", &i.UserID)
		jsonobject.Fill(set, "details", &i.Details)
	}
	return err
}

// UnmarshalJSON works as Address.UnmarshalJSON does.
func (i *SSOIdentity) UnmarshalJSON(raw []byte) error {
	set, ok, err := objectOf(raw, "enterprise identity")
	if ok {
		*i = SSOIdentity{}
		jsonobject.Fill(set, "issuer", &i.Issuer)
		jsonobject.Fill(set, "identityId", &i.IdentityID)
		jsonobject.Fill(set, "detail", &i.Detail)
	}
	return err
}

// UnmarshalJSON works as Address.UnmarshalJSON does.
func (o *OrganizationData) UnmarshalJSON(raw []byte) error {
	set, ok, err := objectOf(raw, "organization")
	if ok {
		*o = OrganizationData{}
		jsonobject.Fill(set, "id", &o.ID)
		jsonobject.Fill(set, "name", &o.Name)
		jsonobject.Fill(set, "description", &o.Description)
	}
	return err
}

// objectOf reads what UnmarshalJSON is given. ok is false for null, too, which changes nothing
// by the convention of encoding/json. The object keeps raw.
func objectOf(raw []byte, what string) (set jsonobject.Object, ok bool, err error) {
	if string(bytes.TrimSpace(raw)) == "null" {
		return jsonobject.Object{}, false, nil
	}
	set, err = jsonobject.Parse(raw)
	if err != nil {
		return jsonobject.Object{}, false, fmt.Errorf("logtogin: JSON of %s: %w", what, err)
	}
	return set, true, nil
}

// writtenClaims are claims made by hand, on their way to JSON. The zero value is ready for use.
type writtenClaims struct {
	members map[string]any
	err     error
}

// put adds a member, unless it is at its zero value. A list that is empty and not nil is added:
// it is read as such, too.
func (w *writtenClaims) put(name string, value any) {
	if reflect.ValueOf(value).IsZero() {
		return
	}
	if w.members == nil {
		w.members = map[string]any{}
	}
	w.members[name] = value
}

// putAudience writes a single audience as Logto does: not as a list.
func (w *writtenClaims) putAudience(audience []string) {
	if len(audience) == 1 && audience[0] != "" {
		w.put("aud", audience[0])
	} else {
		w.put("aud", audience)
	}
}

func (w *writtenClaims) putSeconds(name string, at time.Time) { w.putTime(name, at, at.Unix()) }

func (w *writtenClaims) putMilliseconds(name string, at time.Time) {
	w.putTime(name, at, at.UnixMilli())
}

// putTime refuses a time that would be read as none: it would be lost without a word.
func (w *writtenClaims) putTime(name string, at time.Time, written int64) {
	switch {
	case at.IsZero():
	case written <= 0 || at.UTC().Year() > 9999:
		w.err = fmt.Errorf("logtogin: the claim %q is a time before 1970 or after 9999", name)
	default:
		w.put(name, written)
	}
}

func (w *writtenClaims) putUser(u *UserClaims) {
	for name, text := range map[string]string{
		"sub": u.Subject, "name": u.Name, "username": u.Username, "picture": u.Picture,
		"given_name": u.GivenName, "family_name": u.FamilyName, "middle_name": u.MiddleName, "nickname": u.Nickname,
		"preferred_username": u.PreferredUsername, "profile": u.Profile, "website": u.Website, "gender": u.Gender,
		"birthdate": u.Birthdate, "zoneinfo": u.Zoneinfo, "locale": u.Locale, "email": u.Email, "phone_number": u.PhoneNumber,
	} {
		w.put(name, text)
	}
	w.putMilliseconds("created_at", u.CreatedAt)
	w.putMilliseconds("updated_at", u.UpdatedAt)
	w.put("email_verified", u.EmailVerified)
	w.put("phone_number_verified", u.PhoneNumberVerified)
	w.put("address", u.Address)
	if len(u.CustomData) > 0 {
		w.put("custom_data", u.CustomData)
	}
	w.put("identities", u.Identities)
	w.put("sso_identities", u.SSOIdentities)
	w.put("roles", u.Roles)
	w.put("organizations", u.Organizations)
	w.put("organization_data", u.OrganizationData)
	w.put("organization_roles", u.OrganizationRoles)
}

// json is null if there is nothing to write.
func (w *writtenClaims) json() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	return json.Marshal(w.members)
}
