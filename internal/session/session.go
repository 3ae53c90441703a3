package session

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/logtogin/logtogin/internal/anystore"
)

// Session says who a user is and how to get more. One that others can see is never
// changed; a refresh makes the next version of it.
type Session struct {
	// ID is also the key of the session in a store that has keys.
	ID string
	// Version counts the refreshes. A browser can come back with an older one, and
	// several instances can make the next one at the same time.
	Version uint64
	// Replacements counts how often Logto has replaced the refresh token.
	Replacements uint64
	// Origin stands for the origin at which the session was made: 8 bytes of its hash, because cookies have little room.
	Origin    string
	StartedAt time.Time
	ActiveAt  time.Time // when the user was last known to be active
	Expires   time.Time // absolute
	// BegunAt is the iat of the first ID token: when the session began by
	// Logto's clock.
	BegunAt time.Time
	// ConfirmedAt is when Logto was last asked whether the user is still there, and said yes.
	ConfirmedAt    time.Time
	IDTokenExpires time.Time
	AuthTime       time.Time // when the user authenticated; before 1970 if it is not known
	Subject        string
	LogtoSessionID string // sid, "" if Logto gives none
	// Data is the application's own, and DataCounter counts its changes. Nothing writes them yet: the record has room
	// for them, so that the feature will need no other format.
	Data         string
	DataCounter  uint64
	IDToken      string
	RefreshToken string
	AccessTokens []AccessToken

	// Not part of the record: where it was found, its format, and whether it has to be written again because of that
	// or because it is sealed by a secret other than the first.
	Entry      *anystore.Entry
	Format     byte
	IsOutdated bool
	// LivesBy is the generation of revocations by which the session had not ended, or nil;
	// its copies share it.
	LivesBy *atomic.Uint64
	// Memo is what the user of this package has read in the ID token; nil if it has not been read yet.
	Memo any
}

// String and MarshalJSON keep tokens out of logs and answers, whatever has a session in it.
func (*Session) String() string { return "a session" }

// MarshalJSON implements json.Marshaler.
func (*Session) MarshalJSON() ([]byte, error) { return []byte(`"a session"`), nil }

// dropAccessToken drops the access token that expires first. It returns false if there is
// none. Only a session that nobody else has seen may be changed.
func (s *Session) dropAccessToken() bool {
	if len(s.AccessTokens) == 0 {
		return false
	}
	first := 0
	for i, token := range s.AccessTokens {
		if token.Expires.Before(s.AccessTokens[first].Expires) {
			first = i
		}
	}
	s.AccessTokens = slices.Delete(slices.Clone(s.AccessTokens), first, first+1)
	return true
}

// AccessToken is a token and what it is for. Access tokens are a cache: losing
// one costs a refresh, never a sign-in.
type AccessToken struct {
	Resource     string
	Organization string
	Token        string
	Scope        string
	Expires      time.Time
	RenewAt      time.Time // a little earlier, so that nobody gets one that is about to expire
}

// Target is what an access token is for: an API resource, an organization, a
// resource within an organization, or, if both are empty, Logto itself.
type Target struct{ Resource, Organization string }

// next is the version that follows. With "", of an answer without a refresh token, it keeps the earlier one.
func (s *Session) next(refreshToken string) *Session {
	next := *s
	next.Version++
	if refreshToken != "" && refreshToken != s.RefreshToken {
		next.Replacements++
		next.RefreshToken = refreshToken
	}
	return &next
}

// accessToken returns the session's token for a target.
func (s *Session) accessToken(target Target) (AccessToken, bool) {
	for _, token := range s.AccessTokens {
		if token.Target() == target {
			return token, true
		}
	}
	return AccessToken{}, false
}

// Target is what the token is for.
func (t AccessToken) Target() Target { return Target{t.Resource, t.Organization} }
