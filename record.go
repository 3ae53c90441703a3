package logtogin

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/logto"
)

// The two records that are kept for a browser, and their binary form. It is
// binary because an ID token is already base64: taken apart, a session is a
// quarter smaller, and browsers give cookies little room.

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

// base64url is the encoding of the parts of a token (RFC 7515, section 2), spare bits zero.
var base64url = base64.RawURLEncoding.Strict()

// attempt is a sign-in that has been started and not yet finished.
type attempt struct {
	state       string
	nonce       string
	verifier    string // PKCE, RFC 7636
	startedAt   time.Time
	redirectURI string
	returnTo    string // a return path, or "" for the default
	maxAge      time.Duration
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
	startedAt    time.Time
	activeAt     time.Time // when the user was last known to be active
	expires      time.Time // absolute
	// begunAt is the iat of the first ID token: when the session began by
	// Logto's clock.
	begunAt time.Time
	// confirmedAt is when Logto was last asked whether the user is still there, and said yes.
	confirmedAt    time.Time
	idTokenExpires time.Time
	authTime       time.Time // when the user authenticated; before 1970 if it is not known
	subject        string
	logtoSessionID string // sid, "" if Logto gives none
	idToken        string
	refreshToken   string
	accessTokens   []accessToken

	// Not part of the record: where it was found, whether it is sealed by a
	// secret other than the first.
	entry      *anystore.Entry
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

// The first byte of a record tells its format. A record of another format
// counts as none.
const (
	attemptFormat byte = 1
	sessionFormat byte = 4
)

// maxRecordSeconds bounds times and durations: a time.Duration ends after 292
// years.
const maxRecordSeconds = 200 * 365 * 24 * 60 * 60

var errRecord = errors.New("logtogin: not a record of this format")

func (a *attempt) encode() []byte {
	w := recordWriter{attemptFormat}
	w.string(a.state)
	w.string(a.nonce)
	w.string(a.verifier)
	w.time(a.startedAt)
	w.string(a.redirectURI)
	w.string(a.returnTo)
	w.number(uint64(a.maxAge / time.Second))
	return w
}

func decodeAttempt(record []byte) (*attempt, error) {
	r := newRecordReader(record, attemptFormat)
	a := &attempt{
		state:       r.string(),
		nonce:       r.string(),
		verifier:    r.string(),
		startedAt:   r.time(),
		redirectURI: r.string(),
		returnTo:    r.string(),
		maxAge:      time.Duration(r.seconds()) * time.Second,
	}
	return a, r.end()
}

func (s *session) encode() []byte {
	w := recordWriter{sessionFormat}
	w.string(s.id)
	w.number(s.version)
	w.number(s.replacements)
	w.milliseconds(s.startedAt)
	w.time(s.activeAt)
	w.time(s.expires)
	w.time(s.begunAt)
	w.milliseconds(s.confirmedAt)
	w.time(s.idTokenExpires)
	w.time(s.authTime)
	w.string(s.subject)
	w.string(s.logtoSessionID)
	w.token(s.idToken)
	w.string(s.refreshToken)
	w.number(uint64(len(s.accessTokens)))
	for _, token := range s.accessTokens {
		w.string(token.resource)
		w.string(token.organization)
		w.token(token.token)
		w.string(token.scope)
		w.time(token.expires)
		w.time(token.renewAt)
	}
	return w
}

func decodeSession(record []byte) (*session, error) {
	r := newRecordReader(record, sessionFormat)
	s := &session{
		id:             r.string(),
		version:        r.number(),
		replacements:   r.number(),
		startedAt:      r.milliseconds(),
		activeAt:       r.time(),
		expires:        r.time(),
		begunAt:        r.time(),
		confirmedAt:    r.milliseconds(),
		idTokenExpires: r.time(),
		authTime:       r.time(),
		subject:        r.string(),
		logtoSessionID: r.string(),
		idToken:        r.token(),
		refreshToken:   r.string(),
	}
	for count := r.number(); count > 0 && !r.failed; count-- {
		s.accessTokens = append(s.accessTokens, accessToken{
			resource:     r.string(),
			organization: r.string(),
			token:        r.token(),
			scope:        r.string(),
			expires:      r.time(),
			renewAt:      r.time(),
		})
	}
	return s, r.end()
}

type recordWriter []byte

func (w *recordWriter) number(n uint64) { *w = binary.AppendUvarint(*w, n) }

func (w *recordWriter) string(s string) {
	w.number(uint64(len(s)))
	*w = append(*w, s...)
}

// time writes seconds; what is before 1970 becomes 1970.
func (w *recordWriter) time(t time.Time) { w.number(uint64(max(0, t.Unix()))) }

// milliseconds writes a time that is compared with others of this application.
func (w *recordWriter) milliseconds(t time.Time) { w.number(uint64(max(0, t.UnixMilli()))) }

const (
	tokenAsIs    = 0
	tokenInParts = 1
)

// token writes a JWT as its three parts without their base64, if that gives it
// back letter by letter, and any other token as it is.
func (w *recordWriter) token(token string) {
	parts := strings.Split(token, ".")
	if len(parts) == 3 && !strings.ContainsAny(token, "\r\n") {
		var decoded [3][]byte
		var err error
		for i := range parts {
			if decoded[i], err = base64url.DecodeString(parts[i]); err != nil {
				break
			}
		}
		if err == nil {
			w.number(tokenInParts)
			for _, part := range decoded {
				w.string(string(part))
			}
			return
		}
	}
	w.number(tokenAsIs)
	w.string(token)
}

type recordReader struct {
	rest   string
	failed bool
}

func newRecordReader(record []byte, format byte) *recordReader {
	if len(record) == 0 || record[0] != format {
		return &recordReader{failed: true}
	}
	return &recordReader{rest: string(record[1:])}
}

func (r *recordReader) number() uint64 {
	n, size := binary.Uvarint([]byte(r.rest[:min(len(r.rest), binary.MaxVarintLen64)]))
	if size <= 0 {
		r.failed, r.rest = true, ""
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *recordReader) string() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.failed, r.rest = true, ""
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// seconds reads a number that time arithmetic survives.
func (r *recordReader) seconds() int64 {
	n := r.number()
	if n > maxRecordSeconds {
		r.failed = true
		return 0
	}
	return int64(n)
}

func (r *recordReader) time() time.Time { return time.Unix(r.seconds(), 0) }

func (r *recordReader) milliseconds() time.Time {
	n := r.number()
	if n > maxRecordSeconds*1000 {
		r.failed = true
		return time.Time{}
	}
	return time.UnixMilli(int64(n))
}

func (r *recordReader) token() string {
	switch r.number() {
	case tokenAsIs:
		return r.string()
	case tokenInParts:
		var parts [3]string
		size := len("..")
		for i := range parts {
			parts[i] = r.string()
			size += base64url.EncodedLen(len(parts[i]))
		}
		token := make([]byte, 0, size)
		for i, part := range parts {
			if i > 0 {
				token = append(token, '.')
			}
			token = base64url.AppendEncode(token, []byte(part))
		}
		return string(token)
	}
	r.failed = true
	return ""
}

func (r *recordReader) end() error {
	if r.failed || len(r.rest) > 0 {
		return errRecord
	}
	return nil
}

const outcomeFormat byte = 1

// encode keeps of an outcome what another instance needs to answer in the same way. Of
// one that failed that is only that it is over.
func (o *outcome) encode() []byte {
	w := recordWriter{outcomeFormat}
	if o.err != nil {
		return w
	}
	w.string(string(o.session.encode()))
	w.string(o.returnTo)
	lines := o.cookies["Set-Cookie"]
	w.number(uint64(len(lines)))
	for _, line := range lines {
		w.string(line)
	}
	return w
}

// decode fills in an outcome that was a session.
func (o *outcome) decode(record []byte) {
	r := newRecordReader(record, outcomeFormat)
	found, err := decodeSession([]byte(r.string()))
	returnTo := r.string()
	var cookies []string
	for count := r.number(); count > 0 && !r.failed; count-- {
		cookies = append(cookies, r.string())
	}
	if err == nil && r.end() == nil {
		o.session, o.returnTo, o.cookies, o.err = found, returnTo, http.Header{"Set-Cookie": cookies}, nil
	}
}
