package logtogin

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/logto"
	"github.com/logtogin/logtogin/internal/record"
)

// What is kept of a session, and its binary form.

// claims are those of the ID token, for the caller alone.
func (s *session) claims() (*Claims, error) {
	if s.parsed != nil {
		return s.parsed.own(), nil
	}
	token, err := logto.ReadIDToken(s.idToken)
	if err != nil {
		return nil, ErrNotSignedIn
	}
	return newClaims(token), nil
}

// session says who a user is and how to get more. One that others can see is never
// changed; a refresh makes the next version of it.
type session struct {
	// id is also the key of the session in a store that has keys.
	id string
	// version counts the refreshes. A browser can come back with an older one, and
	// several instances can make the next one at the same time.
	version uint64
	// replacements counts how often Logto has replaced the refresh token.
	replacements uint64
	// origin stands for the origin at which the session was made: 8 bytes of its hash, because cookies have little room.
	origin    string
	startedAt time.Time
	activeAt  time.Time // when the user was last known to be active
	expires   time.Time // absolute
	// begunAt is the iat of the first ID token: when the session began by
	// Logto's clock.
	begunAt time.Time
	// confirmedAt is when Logto was last asked whether the user is still there, and said yes.
	confirmedAt    time.Time
	idTokenExpires time.Time
	authTime       time.Time // when the user authenticated; before 1970 if it is not known
	subject        string
	logtoSessionID string // sid, "" if Logto gives none
	// data is the application's own, and dataCounter counts its changes. Nothing writes them yet: the record has room
	// for them, so that the feature will need no other format.
	data         string
	dataCounter  uint64
	idToken      string
	refreshToken string
	accessTokens []accessToken

	// Not part of the record: where it was found, its format, and whether it has to be written again because of that
	// or because it is sealed by a secret other than the first.
	entry      *anystore.Entry
	format     byte
	isOutdated bool
	// livesBy is the generation of revocations by which the session had not ended, or nil;
	// its copies share it.
	livesBy *atomic.Uint64
	// parsed are the claims of the ID token, to be copied before anybody gets them; nil
	// if they have not been read yet.
	parsed *Claims
}

// withoutAccessToken is the session without the access token that is worth the
// least: the one that expires first. ok is false if there is none.
func (s *session) withoutAccessToken() (smaller *session, ok bool) {
	if len(s.accessTokens) == 0 {
		return s, false
	}
	first := 0
	for i, token := range s.accessTokens {
		if token.expires.Before(s.accessTokens[first].expires) {
			first = i
		}
	}
	without := *s
	without.accessTokens = slices.Delete(slices.Clone(s.accessTokens), first, first+1)
	return &without, true
}

// accessToken is a token and what it is for. Access tokens are a cache: losing
// one costs a refresh, never a sign-in.
type accessToken struct {
	resource     string
	organization string
	token        string
	scope        string
	expires      time.Time
	renewAt      time.Time // a little earlier, so that nobody gets one that is about to expire
}

// hashOfOrigin is what a record keeps of an origin, to be compared.
func hashOfOrigin(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return string(sum[:8])
}

const (
	// sessionFormat is the format in which sessions are written.
	sessionFormat byte = 5
	// firstSessionFormat was written before: without origin and data. It is read, so that an upgrade signs nobody out.
	// A record in any other format is no session.
	firstSessionFormat byte = 4
)

func (s *session) encode() []byte {
	w := record.NewWriter(sessionFormat)
	w.Text(s.id)
	w.Number(s.version)
	w.Number(s.replacements)
	w.Text(s.origin)
	w.Milliseconds(s.startedAt)
	w.Time(s.activeAt)
	w.Time(s.expires)
	w.Time(s.begunAt)
	w.Milliseconds(s.confirmedAt)
	w.Time(s.idTokenExpires)
	w.Time(s.authTime)
	w.Text(s.subject)
	w.Text(s.logtoSessionID)
	w.Text(s.data)
	w.Number(s.dataCounter)
	w.Token(s.idToken)
	w.Text(s.refreshToken)
	w.Number(uint64(len(s.accessTokens)))
	for _, token := range s.accessTokens {
		w.Text(token.resource)
		w.Text(token.organization)
		w.Token(token.token)
		w.Text(token.scope)
		w.Time(token.expires)
		w.Time(token.renewAt)
	}
	return w.Bytes()
}

// decodeSession reads a session of either format.
func decodeSession(encoded []byte) (*session, error) {
	isFirst := len(encoded) > 0 && encoded[0] == firstSessionFormat
	format := sessionFormat
	if isFirst {
		format = firstSessionFormat
	}
	r := record.NewReader(encoded, format)
	s := &session{format: format}
	s.id, s.version, s.replacements = r.Text(), r.Number(), r.Number()
	if !isFirst {
		s.origin = r.Text()
	}
	s.startedAt, s.activeAt, s.expires, s.begunAt = r.Milliseconds(), r.Time(), r.Time(), r.Time()
	s.confirmedAt, s.idTokenExpires, s.authTime = r.Milliseconds(), r.Time(), r.Time()
	s.subject, s.logtoSessionID = r.Text(), r.Text()
	if !isFirst {
		s.data, s.dataCounter = r.Text(), r.Number()
	}
	s.idToken, s.refreshToken = r.Token(), r.Text()
	for count := r.Number(); count > 0 && !r.HasFailed(); count-- {
		s.accessTokens = append(s.accessTokens, accessToken{
			resource:     r.Text(),
			organization: r.Text(),
			token:        r.Token(),
			scope:        r.Text(),
			expires:      r.Time(),
			renewAt:      r.Time(),
		})
	}
	// They are the keys of memories that outlive the session, and must not keep the whole record there.
	ids := s.id + s.subject + s.logtoSessionID
	s.id, ids = ids[:len(s.id)], ids[len(s.id):]
	s.subject, s.logtoSessionID = ids[:len(s.subject)], ids[len(s.subject):]
	return s, r.Err()
}

const outcomeFormat byte = 1

// encode keeps of an outcome what another instance needs to answer in the same way. Of
// one that failed that is only that it is over.
func (o *outcome) encode() []byte {
	w := record.NewWriter(outcomeFormat)
	if o.err != nil {
		return w.Bytes()
	}
	w.Text(string(o.session.encode()))
	w.Text(o.returnTo)
	lines := o.cookies["Set-Cookie"]
	w.Number(uint64(len(lines)))
	for _, line := range lines {
		w.Text(line)
	}
	return w.Bytes()
}

// decode fills in an outcome that was a session.
func (o *outcome) decode(encoded []byte) {
	r := record.NewReader(encoded, outcomeFormat)
	found, err := decodeSession([]byte(r.Text()))
	returnTo := r.Text()
	var cookies []string
	for count := r.Number(); count > 0 && !r.HasFailed(); count-- {
		cookies = append(cookies, r.Text())
	}
	if err == nil && r.Err() == nil {
		o.session, o.returnTo, o.cookies, o.err = found, returnTo, http.Header{"Set-Cookie": cookies}, nil
	}
}
