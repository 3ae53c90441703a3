package session

import (
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/record"
)

const (
	// AttemptLifetime is how long a user may take to sign in.
	AttemptLifetime = time.Hour

	// resumable is how long a state still says where its user wanted to go, without the attempt.
	resumable = 24 * time.Hour
)

// Attempt is a sign-in that has been started and not yet finished. The browser keeps the PKCE verifier
// in a cookie; all else is sealed in the state parameter, so that a callback whose cookie is gone still
// tells where the user wanted to go.
type Attempt struct {
	ID          ID
	StartedAt   time.Time // in milliseconds
	RedirectURI string
	ReturnTo    string // a return path, or "" for the default
	MaxAge      time.Duration
	// Before is the session that the browser had when the attempt started. The sign-in replaces that one, and
	// no other.
	Before Before
	// NeedsOwnSession says that the user had to authenticate again, or in a certain way, or to be a certain
	// one, so that no other session can stand for the one that this attempt would have yielded.
	NeedsOwnSession bool

	// State is the state parameter, which is sealed.
	State string
	// Verifier is the code verifier of PKCE (RFC 7636), "" if the browser does not have it.
	Verifier string

	challenge [sha256.Size]byte
}

// key is the hash of the verifier, which no two attempts share.
func (a *Attempt) key() string { return string(a.challenge[:]) }

// Nonce is the nonce of the authentication request (OpenID Connect Core, section 3.1.2.1). It cannot be
// computed from the state without the verifier.
func (a *Attempt) Nonce() string {
	state := sha256.Sum256([]byte(a.State))
	nonce := sha256.Sum256([]byte("nonce" + a.Verifier + string(state[:])))
	return base64url.EncodeToString(nonce[:])
}

// IsExpired reports whether it is too late to finish the sign-in.
func (a *Attempt) IsExpired(now time.Time) bool { return !now.Before(a.StartedAt.Add(AttemptLifetime)) }

// ResumesBy reports whether the session that the browser has now stands for this attempt: it is not the one
// from before, and began later, so that the user has arrived on another way.
func (a *Attempt) ResumesBy(current Before, now time.Time, clockSkew time.Duration) bool {
	return !a.NeedsOwnSession && a.Before.isSucceededBy(current) &&
		now.Before(a.StartedAt.Add(resumable)) && !current.Start.Before(a.StartedAt.Add(-clockSkew))
}

const attemptFormat byte = 1

const (
	needsOwnSession uint64 = 1 << iota
	isRelative             // the redirect URI begins with the origin
)

// encode binds the attempt to the origin of the application.
func (a *Attempt) encode(origin string) []byte {
	var flags uint64
	if a.NeedsOwnSession {
		flags |= needsOwnSession
	}
	redirectURI, isBelow := strings.CutPrefix(a.RedirectURI, origin)
	if isBelow {
		flags |= isRelative
	}
	w := record.NewWriter(attemptFormat)
	w.Text(string(a.ID[:]))
	w.Text(string(a.challenge[:]))
	w.Text(origin)
	w.Milliseconds(a.StartedAt)
	w.Number(flags)
	w.Number(uint64(a.MaxAge / time.Second))
	a.Before.write(w)
	w.Text(redirectURI)
	w.Text(a.ReturnTo)
	return w.Bytes()
}

var errOtherOrigin = errors.New("session: the attempt is of another origin")

func decodeAttempt(encoded []byte, origin string) (*Attempt, error) {
	r := record.NewReader(encoded, attemptFormat)
	id, challenge, of := r.Text(), r.Text(), r.Text()
	a := &Attempt{StartedAt: r.Milliseconds()}
	flags := r.Number()
	a.MaxAge = time.Duration(r.Seconds()) * time.Second
	a.Before = readBefore(r)
	a.RedirectURI, a.ReturnTo = r.Text(), r.Text()
	a.NeedsOwnSession = flags&needsOwnSession != 0
	if flags&isRelative != 0 {
		a.RedirectURI = origin + a.RedirectURI
	}
	switch {
	case r.Err() != nil:
		return nil, r.Err()
	case len(id) != len(a.ID) || len(challenge) != len(a.challenge):
		return nil, record.ErrFormat
	case of != origin:
		return nil, errOtherOrigin
	}
	copy(a.ID[:], id)
	copy(a.challenge[:], challenge)
	return a, nil
}
