package logtogin

import (
	"time"

	"github.com/logtogin/logtogin/internal/session"
)

// How old what Logto has said of a session may be.

// staleAt is when the session has to be confirmed by Logto.
func (a *Auth) staleAt(record *session.Session) time.Time {
	at := record.IDTokenExpires
	if after := a.settings.RevalidateAfter; after > 0 {
		at = record.ConfirmedAt.Add(after)
	}
	if earliest := record.ConfirmedAt.Add(minRevalidation); at.Before(earliest) {
		at = earliest
	}
	if a.settings.RevalidateAfter < 0 {
		at = record.Expires // never
	}
	if changed := a.revocations.changedAt(record.Subject); changed.After(record.ConfirmedAt) && changed.Before(at) {
		at = changed
	}
	return at
}

func (a *Auth) isStale(record *session.Session) bool {
	return record.RefreshToken != "" && !a.settings.Now().Before(a.staleAt(record))
}

// hasChanged reports whether Logto has said that something about the user has changed since
// the session was confirmed.
func (a *Auth) hasChanged(record *session.Session) bool {
	return a.revocations.changedAt(record.Subject).After(record.ConfirmedAt)
}

func (a *Auth) isTooStale(record *session.Session) bool {
	return !a.settings.Now().Before(a.staleAt(record).Add(a.settings.MaxStale))
}
