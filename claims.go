package logtogin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/jsonobject"
	"github.com/logtogin/logtogin/internal/logto"
)

// Claims are the claims of the ID token with which the user signed in
// (OpenID Connect Core, section 2). They were verified then; reading them
// costs no network.
//
// The fields are what Logto documents. A claim that is absent, null or of
// another type leaves its field at the zero value; Has and Get tell these
// apart. Which claims of the scopes "roles", "custom_data", "identities" and
// of the organization scopes an ID token has is a setting in the Logto
// Console; user info has them all.
//
// Claims can be kept as JSON: MarshalJSON and UnmarshalJSON are the inverse of each other.
// Claims that come from UnmarshalJSON have not been verified. Claims that an application
// fills in itself have not, either. They are for caches, logs and tests of the application. They
// say nothing about who sends a request, unless nobody else can have changed the JSON.
//
// A type that embeds Claims inherits both methods (and the ones for encoding/gob), so that its other fields are neither
// written nor read. Give it a field of the type Claims instead.
type Claims struct {
	UserClaims

	Issuer   string    // iss
	Audience []string  // aud; has the app id
	IssuedAt time.Time // iat
	Expiry   time.Time // exp
	// AuthTime is when the user authenticated (auth_time). Logto gives it only
	// if MaxAge or PromptLogin was asked for.
	AuthTime time.Time
	// SessionID is Logto's session (sid). Logto gives it only to applications
	// with back-channel logout and "session required".
	SessionID string
}

// UserInfo is the answer of the userinfo endpoint (OpenID Connect Core,
// section 5.3): the claims of all granted scopes as they are now. See Claims
// for how absent and null ones are told apart, and for JSON.
type UserInfo struct {
	UserClaims
}

// UserClaims are the claims about the user that ID token and user info share. The claim of
// a field has the field's name in lower case, with underscores: GivenName is "given_name"
// (OpenID Connect Core, section 5.1). Which scope releases which claim is described at
// https://docs.logto.io/end-user-flows/user-data. See Claims for JSON.
type UserClaims struct {
	claimSet

	Subject string // sub; the user's ID in Logto, the one thing to key accounts by

	// Scope "profile".
	Name              string
	Username          string
	Picture           string
	GivenName         string
	FamilyName        string
	MiddleName        string
	Nickname          string
	PreferredUsername string
	Profile           string
	Website           string
	Gender            string
	Birthdate         string
	Zoneinfo          string
	Locale            string
	CreatedAt         time.Time // Logto sends milliseconds
	UpdatedAt         time.Time // Logto sends milliseconds

	// Scope "email". Logto calls an address verified if it has one.
	Email         string
	EmailVerified bool

	// Scope "phone".
	PhoneNumber         string
	PhoneNumberVerified bool

	// Scope "address".
	Address *Address

	// Scope "custom_data": the JSON object as Logto sent it.
	CustomData json.RawMessage

	// Scope "identities": the social connections by their target, and the
	// enterprise ones.
	Identities    map[string]Identity
	SSOIdentities []SSOIdentity

	// Scope "roles": the names of the user's roles.
	Roles []string

	// Scope "urn:logto:scope:organizations": ids, and what they stand for.
	Organizations    []string
	OrganizationData []OrganizationData

	// Scope "urn:logto:scope:organization_roles": "<organization id>:<role>".
	OrganizationRoles []string
}

// claimSet keeps claims as they were sent. It has no MarshalJSON, which every type that embeds
// it would inherit, and with which a value made by hand would lose its fields.
type claimSet struct{ object jsonobject.Object }

// Has reports whether there is a claim of this name, null or not. Names are
// case-sensitive. A value that the application has made by hand has none.
func (s claimSet) Has(name string) bool { return s.object.Has(name) }

// Get decodes the claim of this name into value as json.Unmarshal does; null
// leaves value as it is, or makes a pointer nil. It returns ErrNoSuchClaim if
// there is no such claim.
func (s claimSet) Get(name string, value any) error {
	if !s.object.Has(name) {
		return fmt.Errorf("%w: %q", ErrNoSuchClaim, name)
	}
	if err := json.Unmarshal(s.object.Member(name), value); err != nil {
		return fmt.Errorf("logtogin: claim %q does not fit into %T", name, value)
	}
	return nil
}

// marshal returns the claims as they were sent, or else, if they were made by hand, what write makes of the fields.
func (s claimSet) marshal(write func(*jsonobject.Writer)) ([]byte, error) {
	if source := s.object.Source(); source != nil {
		return slices.Clone(source), nil
	}
	var written jsonobject.Writer
	write(&written)
	return written.MarshalJSON()
}

// unmarshal gives read the object that UnmarshalJSON is given. null changes nothing, by the convention of
// encoding/json.
func unmarshal(raw []byte, what string, read func(jsonobject.Object)) error {
	if string(bytes.TrimSpace(raw)) == "null" {
		return nil
	}
	set, err := jsonobject.Parse(bytes.Clone(raw))
	if err != nil {
		return fmt.Errorf("logtogin: JSON of %s: %w", what, err)
	}
	read(set)
	return nil
}

// Address is the address claim. Logto names its members in camel case, unlike
// OpenID Connect Core, section 5.1.1.
type Address struct {
	Formatted     string `json:"formatted,omitempty"`     // the whole address, for a label
	StreetAddress string `json:"streetAddress,omitempty"` // with the number of the house
	Locality      string `json:"locality,omitempty"`      // the city
	Region        string `json:"region,omitempty"`        // the state or province
	PostalCode    string `json:"postalCode,omitempty"`
	Country       string `json:"country,omitempty"` // its name, as the user gave it
}

// Identity is a social connection of the user.
type Identity struct {
	UserID  string          `json:"userId,omitempty"`  // the user's ID at the social provider
	Details json.RawMessage `json:"details,omitempty"` // what the social provider told; nil if nothing
}

// SSOIdentity is an enterprise connection of the user.
type SSOIdentity struct {
	Issuer     string          `json:"issuer,omitempty"`     // of the enterprise's identity provider
	IdentityID string          `json:"identityId,omitempty"` // the user's ID there
	Detail     json.RawMessage `json:"detail,omitempty"`     // what the identity provider told; nil if nothing
}

// OrganizationData describes an organization of the user. In the claims as Logto sends them, a description
// that is not there is null; JSON of this type leaves it out.
type OrganizationData struct {
	ID          string `json:"id,omitempty"`          // what guards and tokens name it by
	Name        string `json:"name,omitempty"`        // for people
	Description string `json:"description,omitempty"` // empty also if null
}

// texts are the claims that are strings. An array takes no allocation.
func (u *UserClaims) texts() [17]textClaim {
	return [...]textClaim{
		{"sub", &u.Subject}, {"name", &u.Name}, {"username", &u.Username}, {"picture", &u.Picture},
		{"given_name", &u.GivenName}, {"family_name", &u.FamilyName}, {"middle_name", &u.MiddleName}, {"nickname", &u.Nickname},
		{"preferred_username", &u.PreferredUsername}, {"profile", &u.Profile}, {"website", &u.Website}, {"gender", &u.Gender},
		{"birthdate", &u.Birthdate}, {"zoneinfo", &u.Zoneinfo}, {"locale", &u.Locale},
		{"email", &u.Email}, {"phone_number", &u.PhoneNumber},
	}
}

type textClaim struct {
	name  string
	field *string
}

func newUserClaims(set jsonobject.Object) UserClaims {
	u := UserClaims{
		claimSet:            claimSet{set},
		CreatedAt:           set.Milliseconds("created_at"),
		UpdatedAt:           set.Milliseconds("updated_at"),
		EmailVerified:       set.IsTrue("email_verified"),
		PhoneNumberVerified: set.IsTrue("phone_number_verified"),
		Identities:          jsonobject.Map[Identity](set, "identities"),
		SSOIdentities:       jsonobject.List[SSOIdentity](set, "sso_identities"),
		OrganizationData:    jsonobject.List[OrganizationData](set, "organization_data"),
	}
	for _, claim := range u.texts() {
		*claim.field = set.Text(claim.name)
	}
	u.Roles, _ = set.Texts("roles")
	u.Organizations, _ = set.Texts("organizations")
	u.OrganizationRoles, _ = set.Texts("organization_roles")
	jsonobject.Fill(set, "address", &u.Address)
	if data := set.Member("custom_data"); len(data) > 0 && data[0] == '{' {
		u.CustomData = slices.Clone(data) // which may be changed
	}
	return u
}

func (u *UserClaims) write(w *jsonobject.Writer) {
	for _, claim := range u.texts() {
		w.Put(claim.name, *claim.field)
	}
	w.PutMilliseconds("created_at", u.CreatedAt)
	w.PutMilliseconds("updated_at", u.UpdatedAt)
	w.Put("email_verified", u.EmailVerified)
	w.Put("phone_number_verified", u.PhoneNumberVerified)
	w.Put("address", u.Address)
	if len(u.CustomData) > 0 {
		w.Put("custom_data", u.CustomData)
	}
	w.Put("identities", u.Identities)
	w.Put("sso_identities", u.SSOIdentities)
	w.Put("roles", u.Roles)
	w.Put("organizations", u.Organizations)
	w.Put("organization_data", u.OrganizationData)
	w.Put("organization_roles", u.OrganizationRoles)
}

// AccessTokenClaims are the claims of an access token that is a JWT (RFC 9068, section 2.2).
// The fields are what Logto documents; Get and Has know the others, for example those that
// a custom token script adds. See Claims for JSON; claims that come from UnmarshalJSON have not
// been verified.
type AccessTokenClaims struct {
	claimSet

	Subject        string    // sub; the client id in a token of a machine
	ClientID       string    // client_id
	Issuer         string    // iss
	Audience       []string  // aud; the API resource, or the organization
	Scopes         []string  // scope; the permissions
	OrganizationID string    // organization_id; in tokens for a resource within an organization
	IssuedAt       time.Time // iat
	Expiry         time.Time // exp
	ID             string    // jti
}

// IsMachine reports whether the token is one that an application got for itself, by client
// credentials, and not one of a user.
func (claims *AccessTokenClaims) IsMachine() bool { return claims.Subject == claims.ClientID }

func newAccessTokenClaims(token logto.AccessToken) *AccessTokenClaims {
	return &AccessTokenClaims{
		claimSet:       claimSet{token.Claims},
		Subject:        token.Subject,
		ClientID:       token.ClientID,
		Issuer:         token.Issuer,
		Audience:       token.Audience,
		Scopes:         token.Scopes,
		OrganizationID: token.OrganizationID,
		IssuedAt:       token.IssuedAt,
		Expiry:         token.Expiry,
		ID:             token.ID,
	}
}

// own is a copy that may be changed. The usual one, of a single audience and a few scopes,
// takes one allocation.
func (claims *AccessTokenClaims) own() *AccessTokenClaims {
	copied := &struct {
		AccessTokenClaims
		audience [1]string
		scopes   [4]string
	}{AccessTokenClaims: *claims}
	copied.Audience = append(copied.audience[:0:1], claims.Audience...)
	copied.Scopes = append(copied.scopes[:0:4], claims.Scopes...)
	return &copied.AccessTokenClaims
}

func newClaims(token logto.IDToken) *Claims {
	return &Claims{
		UserClaims: newUserClaims(token.Claims),
		Issuer:     token.Issuer,
		Audience:   token.Audience,
		IssuedAt:   token.IssuedAt,
		Expiry:     token.Expiry,
		AuthTime:   token.AuthTime,
		SessionID:  token.SessionID,
	}
}

// own is a copy that may be changed. What claimSet holds cannot be reached from outside
// but by copies.
func (claims *Claims) own() *Claims {
	copied := *claims
	copied.Audience = slices.Clone(claims.Audience)
	copied.Roles = slices.Clone(claims.Roles)
	copied.Organizations = slices.Clone(claims.Organizations)
	copied.OrganizationRoles = slices.Clone(claims.OrganizationRoles)
	copied.OrganizationData = slices.Clone(claims.OrganizationData)
	copied.CustomData = slices.Clone(claims.CustomData)
	copied.SSOIdentities = slices.Clone(claims.SSOIdentities)
	for i := range copied.SSOIdentities {
		copied.SSOIdentities[i].Detail = slices.Clone(copied.SSOIdentities[i].Detail)
	}
	copied.Identities = maps.Clone(claims.Identities)
	for target, identity := range copied.Identities {
		identity.Details = slices.Clone(identity.Details)
		copied.Identities[target] = identity
	}
	if claims.Address != nil {
		address := *claims.Address
		copied.Address = &address
	}
	return &copied
}

// Claims as JSON. Each type has both methods itself: methods of an embedded type would be
// promoted, and would know only its fields.

// MarshalJSON returns exactly the claims that Logto sent, or that UnmarshalJSON has read: absent
// ones stay absent, null ones stay null. Changes of the fields are not in it.
//
// Claims that the application has made by hand are written from the fields, with Logto's names;
// a field at its zero value is left out, and without any the result is null. Times are cut to
// what Logto sends: to milliseconds for CreatedAt and UpdatedAt, to seconds for the others. The
// error is about a time before 1970 or after 9999, or a json.RawMessage that is no JSON.
func (claims Claims) MarshalJSON() ([]byte, error) {
	return claims.marshal(func(w *jsonobject.Writer) {
		claims.write(w)
		w.Put("iss", claims.Issuer)
		w.PutTextOrTexts("aud", claims.Audience)
		w.PutSeconds("iat", claims.IssuedAt)
		w.PutSeconds("exp", claims.Expiry)
		w.PutSeconds("auth_time", claims.AuthTime)
		w.Put("sid", claims.SessionID)
	})
}

// UnmarshalJSON replaces all fields by the claims in the JSON, which it reads as it reads an ID
// token. It verifies nothing. A claim of another type leaves its field at the zero value, names
// are case-sensitive, and null in the place of the claims changes nothing. The error is about
// JSON that is no object, or has a claim twice; the fields are then as before.
func (claims *Claims) UnmarshalJSON(raw []byte) error {
	return unmarshal(raw, "claims", func(set jsonobject.Object) { *claims = *newClaims(logto.IDTokenOf(set)) })
}

// MarshalJSON works as Claims.MarshalJSON does.
func (info UserInfo) MarshalJSON() ([]byte, error) { return info.UserClaims.MarshalJSON() }

// UnmarshalJSON works as Claims.UnmarshalJSON does, for the answer of the userinfo endpoint.
func (info *UserInfo) UnmarshalJSON(raw []byte) error { return info.UserClaims.UnmarshalJSON(raw) }

// MarshalJSON works as Claims.MarshalJSON does. The UserClaims of Claims from Logto have the claims of the
// protocol in it, too.
func (u UserClaims) MarshalJSON() ([]byte, error) { return u.marshal(u.write) }

// UnmarshalJSON works as Claims.UnmarshalJSON does.
func (u *UserClaims) UnmarshalJSON(raw []byte) error {
	return unmarshal(raw, "claims", func(set jsonobject.Object) { *u = newUserClaims(set) })
}

// MarshalJSON works as Claims.MarshalJSON does.
func (claims AccessTokenClaims) MarshalJSON() ([]byte, error) {
	return claims.marshal(func(w *jsonobject.Writer) {
		w.Put("sub", claims.Subject)
		w.Put("client_id", claims.ClientID)
		w.Put("iss", claims.Issuer)
		w.PutTextOrTexts("aud", claims.Audience)
		w.Put("scope", strings.Join(claims.Scopes, " "))
		w.Put("organization_id", claims.OrganizationID)
		w.PutSeconds("iat", claims.IssuedAt)
		w.PutSeconds("exp", claims.Expiry)
		w.Put("jti", claims.ID)
	})
}

// UnmarshalJSON works as Claims.UnmarshalJSON does, for an access token. It verifies nothing.
func (claims *AccessTokenClaims) UnmarshalJSON(raw []byte) error {
	return unmarshal(raw, "claims", func(set jsonobject.Object) { *claims = *newAccessTokenClaims(logto.AccessTokenOf(set)) })
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
// capitalization for them.

// UnmarshalJSON replaces all fields. It takes members by their exact names. A member that is
// absent or of another type leaves its field at the zero value. The error is about JSON that is no
// object, or has a member twice; null changes nothing.
func (a *Address) UnmarshalJSON(raw []byte) error { return unmarshalStruct(raw, "address", a) }

// UnmarshalJSON works as Address.UnmarshalJSON does.
func (i *Identity) UnmarshalJSON(raw []byte) error { return unmarshalStruct(raw, "identity", i) }

// UnmarshalJSON works as Address.UnmarshalJSON does.
func (i *SSOIdentity) UnmarshalJSON(raw []byte) error {
	return unmarshalStruct(raw, "enterprise identity", i)
}

// UnmarshalJSON works as Address.UnmarshalJSON does.
func (o *OrganizationData) UnmarshalJSON(raw []byte) error {
	return unmarshalStruct(raw, "organization", o)
}

func unmarshalStruct(raw []byte, what string, value any) error {
	return unmarshal(raw, what, func(set jsonobject.Object) { set.FillStruct(value) })
}
