package logtogin

import "time"

// How old what Logto has said of a session may be.

// staleAt is when the session has to be confirmed by Logto.
func (a *Auth) staleAt(record *session) time.Time {
	at := record.idTokenExpires
	if after := a.settings.RevalidateAfter; after > 0 {
		at = record.confirmedAt.Add(after)
	}
	if earliest := record.confirmedAt.Add(minRevalidation); at.Before(earliest) {
		at = earliest
	}
	if a.settings.RevalidateAfter < 0 {
		at = record.expires // never
	}
	if changed := a.revocations.changedAt(record.subject); changed.After(record.confirmedAt) && changed.Before(at) {
		at = changed
	}
	return at
}

func (a *Auth) isStale(record *session) bool {
	return record.refreshToken != "" && !a.settings.Now().Before(a.staleAt(record))
}

// hasChanged reports whether Logto has said that something about the user has changed since
// the session was confirmed.
func (a *Auth) hasChanged(record *session) bool {
	return a.revocations.changedAt(record.subject).After(record.confirmedAt)
}

func (a *Auth) isTooStale(record *session) bool {
	return !a.settings.Now().Before(a.staleAt(record).Add(a.settings.MaxStale))
}
