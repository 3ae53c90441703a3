package logtogin

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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
// for how absent and null ones are told apart.
type UserInfo struct {
	UserClaims
}

// UserClaims are the claims about the user that ID token and user info share. The claim of
// a field has the field's name in lower case, with underscores: GivenName is "given_name"
// (OpenID Connect Core, section 5.1). Which scope releases which claim is described at
// https://docs.logto.io/end-user-flows/user-data.
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

// claimSet keeps claims as they were sent.
type claimSet struct{ object jsonobject.Object }

// Has reports whether there is a claim of this name, null or not. Names are
// case-sensitive.
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

// MarshalJSON returns exactly the claims that Logto sent: absent ones stay
// absent, null ones stay null. Changes of the fields are not in it.
func (s claimSet) MarshalJSON() ([]byte, error) {
	if s.object.Source() == nil {
		return []byte("null"), nil
	}
	return slices.Clone(s.object.Source()), nil
}

// Address is the address claim. Logto names its members in camel case, unlike
// OpenID Connect Core, section 5.1.1.
type Address struct {
	Formatted     string // formatted; the whole address, for a label
	StreetAddress string // streetAddress; with the number of the house
	Locality      string // locality; the city
	Region        string // region; the state or province
	PostalCode    string // postalCode
	Country       string // country; its name, as the user gave it
}

// Identity is a social connection of the user.
type Identity struct {
	UserID  string          // userId; the user's ID at the social provider
	Details json.RawMessage // details; what the social provider told; nil if nothing
}

// SSOIdentity is an enterprise connection of the user.
type SSOIdentity struct {
	Issuer     string          // issuer; of the enterprise's identity provider
	IdentityID string          // identityId; the user's ID there
	Detail     json.RawMessage // detail; what the identity provider told; nil if nothing
}

// OrganizationData describes an organization of the user.
type OrganizationData struct {
	ID          string // id; what guards and tokens name it by
	Name        string // name; for people
	Description string // description; empty also if null
}

func newUserClaims(set jsonobject.Object) UserClaims {
	u := UserClaims{
		claimSet:          claimSet{set},
		Subject:           set.Text("sub"),
		Name:              set.Text("name"),
		Username:          set.Text("username"),
		Picture:           set.Text("picture"),
		GivenName:         set.Text("given_name"),
		FamilyName:        set.Text("family_name"),
		MiddleName:        set.Text("middle_name"),
		Nickname:          set.Text("nickname"),
		PreferredUsername: set.Text("preferred_username"),
		Profile:           set.Text("profile"),
		Website:           set.Text("website"),
		Gender:            set.Text("gender"),
		Birthdate:         set.Text("birthdate"),
		Zoneinfo:          set.Text("zoneinfo"),
		Locale:            set.Text("locale"),
		CreatedAt:         set.Milliseconds("created_at"),
		UpdatedAt:         set.Milliseconds("updated_at"),
		Email:             set.Text("email"),
		PhoneNumber:       set.Text("phone_number"),
	}
	u.EmailVerified = set.IsTrue("email_verified")
	u.PhoneNumberVerified = set.IsTrue("phone_number_verified")
	u.Roles, _ = set.Texts("roles")
	u.Organizations, _ = set.Texts("organizations")
	u.OrganizationRoles, _ = set.Texts("organization_roles")
	jsonobject.Fill(set, "organization_data", &u.OrganizationData)
	jsonobject.Fill(set, "address", &u.Address)
	jsonobject.Fill(set, "identities", &u.Identities)
	jsonobject.Fill(set, "sso_identities", &u.SSOIdentities)
	if data := set.Member("custom_data"); len(data) > 0 && data[0] == '{' {
		u.CustomData = data
	}
	return u
}

// AccessTokenClaims are the claims of an access token that is a JWT (RFC 9068, section 2.2).
// The fields are what Logto documents; Get and Has know the others, for example those that
// a custom token script adds.
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

// The members inside these claims are decoded by name, too: encoding/json
// would take any capitalization for them.

// UnmarshalJSON takes members by their exact names; one of another type is left out.
func (a *Address) UnmarshalJSON(raw []byte) error {
	set, err := jsonobject.Parse(raw)
	if err != nil {
		return err
	}
	jsonobject.Fill(set, "formatted", &a.Formatted)
	jsonobject.Fill(set, "streetAddress", &a.StreetAddress)
	jsonobject.Fill(set, "locality", &a.Locality)
	jsonobject.Fill(set, "region", &a.Region)
	jsonobject.Fill(set, "postalCode", &a.PostalCode)
	jsonobject.Fill(set, "country", &a.Country)
	return nil
}

// UnmarshalJSON takes members by their exact names; one of another type is left out.
func (i *Identity) UnmarshalJSON(raw []byte) error {
	set, err := jsonobject.Parse(raw)
	if err != nil {
		return err
	}
	jsonobject.Fill(set, "userId", &i.UserID)
	jsonobject.Fill(set, "details", &i.Details)
	return nil
}

// UnmarshalJSON takes members by their exact names; one of another type is left out.
func (i *SSOIdentity) UnmarshalJSON(raw []byte) error {
	set, err := jsonobject.Parse(raw)
	if err != nil {
		return err
	}
	jsonobject.Fill(set, "issuer", &i.Issuer)
	jsonobject.Fill(set, "identityId", &i.IdentityID)
	jsonobject.Fill(set, "detail", &i.Detail)
	return nil
}

// UnmarshalJSON takes members by their exact names; one of another type is left out.
func (o *OrganizationData) UnmarshalJSON(raw []byte) error {
	set, err := jsonobject.Parse(raw)
	if err != nil {
		return err
	}
	jsonobject.Fill(set, "id", &o.ID)
	jsonobject.Fill(set, "name", &o.Name)
	jsonobject.Fill(set, "description", &o.Description)
	return nil
}
