package session

import (
	"time"

	"github.com/logtogin/logtogin/internal/record"
)

// Revocation ends what had begun when it was made.
type Revocation struct {
	Kind    RevocationKind
	Name    string // of the session, Logto's session or the user
	Subject string // with a logout token that also names a session of Logto's
	At      time.Time
	TokenID string // jti of the logout token that it comes from
	Cause   string // in events, if it is not the kind; other instances do not learn it

	expires time.Time // when everything that it ends has expired anyway
	// Of revokeOthers, except is the ID of the session that goes on, and started when that has started.
	except  string
	started time.Time
}

// RevocationKind says what a Revocation ends.
type RevocationKind uint64

const (
	// revokeSession ends one session, by its own ID.
	revokeSession RevocationKind = iota + 1
	// RevokeLogtoSession ends the sessions of a session of Logto's (sid) that have
	// started here by then: the next sign-in can have the same sid.
	RevokeLogtoSession
	// RevokeUser ends the sessions of a user that have started here by then, and access
	// tokens that Logto has issued by then.
	RevokeUser
	// LoggedOutLogtoSession ends the sessions of a session of Logto's for good, because
	// Logto's next one has another sid.
	LoggedOutLogtoSession
	// LoggedOutUser ends the sessions of a user that began, by Logto's clock, by then.
	LoggedOutUser
	// RemovedUser is LoggedOutUser for a user who may not come back: access tokens that
	// Logto has issued by then end as well.
	RemovedUser
	// ChangedUser makes the user's sessions ask Logto before they go on.
	ChangedUser
	// revokeOthers ends the sessions of a user that have started here by then, but for one.
	revokeOthers
	// loggedOutWithoutID is LoggedOutUser for the sessions without a sid, which a logout token with a sid may be about.
	loggedOutWithoutID

	revocationKinds
)

// RevokeOthers ends all sessions of a user that have started until now, except the given session.
func RevokeOthers(goesOn *Session) Revocation {
	return Revocation{Kind: revokeOthers, Name: goesOn.Subject, except: goesOn.ID, started: goesOn.StartedAt}
}

// String is the cause in events.
func (kind RevocationKind) String() string {
	switch kind {
	case RevokeUser:
		return "user"
	case revokeOthers:
		return "other_sessions"
	case revokeSession, RevokeLogtoSession:
		return "session"
	case LoggedOutUser, LoggedOutLogtoSession, loggedOutWithoutID:
		return "logout_token"
	case RemovedUser:
		return "removed_user"
	case ChangedUser:
		return "changed_user"
	}
	return "unknown"
}

// User is the ID of the user whom the revocation is about, or "" if that is not known.
func (made Revocation) User() string {
	if made.Kind == RevokeLogtoSession || made.Kind == LoggedOutLogtoSession {
		return made.Subject
	}
	return made.Name
}

// isByOurClock reports whether a revocation is compared with times at which sessions have started here.
func (made Revocation) isByOurClock() bool {
	return made.Kind == RevokeUser || made.Kind == RevokeLogtoSession || made.Kind == revokeOthers
}

// othersRule ends the sessions of a user that have started by then, but for one.
type othersRule struct {
	at, started int64 // in milliseconds since 1970
	except      string
}

func (rule othersRule) covers(id string, started time.Time) bool {
	return started.UnixMilli() <= rule.at && id != rule.except
}

// and is what two rules end. The session that the later one leaves alone may have been ended by the earlier one.
func (rule othersRule) and(other othersRule) othersRule {
	earlier, later := rule, other
	if earlier.at > later.at {
		earlier, later = later, earlier
	}
	if later.except != earlier.except && later.started <= earlier.at {
		later.except = ""
	}
	return later
}

const (
	revocationFormat byte = 2

	// revocationsPerEntry is how many share an entry of the log if many are published, some 60 KiB.
	revocationsPerEntry = 500
)

func encodeRevocations(all ...Revocation) []byte {
	w := record.NewWriter(revocationFormat)
	w.Number(uint64(len(all)))
	for _, made := range all {
		w.Number(uint64(made.Kind))
		w.Text(made.Name)
		w.Text(made.Subject + made.except) // of which there is one
		w.Milliseconds(made.At)
		w.Time(made.expires)
		w.Text(made.TokenID)
		w.Milliseconds(made.started)
	}
	return w.Bytes()
}

func decodeRevocations(encoded []byte) (all []Revocation, err error) {
	r := record.NewReader(encoded, revocationFormat)
	for range r.Number() {
		if r.HasFailed() {
			break
		}
		made := Revocation{
			Kind:    RevocationKind(r.Number()),
			Name:    r.Text(),
			Subject: r.Text(),
			At:      r.Milliseconds(),
			expires: r.Time(),
			TokenID: r.Text(),
			started: r.Milliseconds(),
		}
		if made.Kind == revokeOthers {
			made.Subject, made.except = "", made.Subject
		}
		all = append(all, made)
	}
	return all, r.Err()
}
