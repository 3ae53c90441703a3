package session

import "time"

// How old what Logto has said of a session may be.

// MinRevalidation is how soon Logto is asked again at the earliest.
const MinRevalidation = 10 * time.Second

// StaleAt is when the session has to be confirmed by Logto.
func (s *Sessions) StaleAt(session *Session) time.Time {
	at := session.IDTokenExpires
	if after := s.settings.RevalidateAfter; after > 0 {
		at = session.ConfirmedAt.Add(after)
	}
	if earliest := session.ConfirmedAt.Add(MinRevalidation); at.Before(earliest) {
		at = earliest
	}
	if s.settings.RevalidateAfter < 0 {
		at = session.Expires // never
	}
	if changed := s.revocations.ChangedAt(session.Subject); changed.After(session.ConfirmedAt) && changed.Before(at) {
		at = changed
	}
	return at
}

// IsStale reports whether Logto has to be asked about the session, and can be.
func (s *Sessions) IsStale(session *Session) bool {
	return session.RefreshToken != "" && !s.settings.Now().Before(s.StaleAt(session))
}

// hasChanged reports whether Logto has said that something about the user has changed since
// the session was confirmed.
func (s *Sessions) hasChanged(session *Session) bool {
	return s.revocations.ChangedAt(session.Subject).After(session.ConfirmedAt)
}

func (s *Sessions) isTooStale(session *Session) bool {
	return !s.settings.Now().Before(s.StaleAt(session).Add(s.settings.MaxStale))
}
