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
	u.leaveOutNulls()
	if data := set.Member("custom_data"); len(data) > 0 && data[0] == '{' {
		u.CustomData = data
	}
	return u
}

// leaveOutNulls empties the fields whose claim has a null in the place of an object, which
// makes it a claim of another type. UnmarshalJSON of the elements cannot say so: null leaves
// them as they are, by the convention of encoding/json. Only an empty element can have been a
// null, so that the usual claims are decoded once.
func (u *UserClaims) leaveOutNulls() {
	hasNull := func(claim string) bool {
		var list []json.RawMessage
		if json.Unmarshal(u.object.Member(claim), &list) != nil {
			var members map[string]json.RawMessage
			_ = json.Unmarshal(u.object.Member(claim), &members) // it was decoded before
			list = slices.Collect(maps.Values(members))
		}
		return slices.ContainsFunc(list, func(element json.RawMessage) bool { return string(element) == "null" })
	}
	if slices.Contains(u.OrganizationData, OrganizationData{}) && hasNull("organization_data") {
		u.OrganizationData = nil
	}
	if slices.ContainsFunc(u.SSOIdentities, func(i SSOIdentity) bool { return i.Issuer == "" && i.IdentityID == "" }) && hasNull("sso_identities") {
		u.SSOIdentities = nil
	}
	for _, identity := range u.Identities {
		if identity.UserID == "" {
			if hasNull("identities") {
				u.Identities = nil
			}
			break
		}
	}
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
