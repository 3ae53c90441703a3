package session

import (
	"crypto/sha256"

	"github.com/logtogin/logtogin/internal/record"
)

// The binary form of a session.

// hashOfOrigin is what a record keeps of an origin, to be compared.
func hashOfOrigin(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return string(sum[:8])
}

const (
	// Format is the format in which sessions are written.
	Format byte = 5
	// FirstFormat was written before: without origin and data. It is read, so that an upgrade signs nobody out.
	// A record in any other format is no session.
	FirstFormat byte = 4
)

// Encode is the record of a session.
func (s *Session) Encode() []byte {
	w := record.NewWriter(Format)
	w.Text(s.ID)
	w.Number(s.Version)
	w.Number(s.Replacements)
	w.Text(s.Origin)
	w.Milliseconds(s.StartedAt)
	w.Time(s.ActiveAt)
	w.Time(s.Expires)
	w.Time(s.BegunAt)
	w.Milliseconds(s.ConfirmedAt)
	w.Time(s.IDTokenExpires)
	w.Time(s.AuthTime)
	w.Text(s.Subject)
	w.Text(s.LogtoSessionID)
	w.Text(s.Data)
	w.Number(s.DataCounter)
	w.Token(s.IDToken)
	w.Text(s.RefreshToken)
	w.Number(uint64(len(s.AccessTokens)))
	for _, token := range s.AccessTokens {
		w.Text(token.Resource)
		w.Text(token.Organization)
		w.Token(token.Token)
		w.Text(token.Scope)
		w.Time(token.Expires)
		w.Time(token.RenewAt)
	}
	return w.Bytes()
}

// Decode reads a session of either format. One of the first gets this origin, in the form of HashOfOrigin.
func Decode(encoded []byte, origin string) (*Session, error) {
	isFirst := len(encoded) > 0 && encoded[0] == FirstFormat
	format := Format
	if isFirst {
		format = FirstFormat
	}
	r := record.NewReader(encoded, format)
	s := &Session{Format: format}
	s.ID, s.Version, s.Replacements = r.Text(), r.Number(), r.Number()
	if s.Origin = origin; !isFirst {
		s.Origin = r.Text()
	}
	s.StartedAt, s.ActiveAt, s.Expires, s.BegunAt = r.Milliseconds(), r.Time(), r.Time(), r.Time()
	s.ConfirmedAt, s.IDTokenExpires, s.AuthTime = r.Milliseconds(), r.Time(), r.Time()
	s.Subject, s.LogtoSessionID = r.Text(), r.Text()
	if !isFirst {
		s.Data, s.DataCounter = r.Text(), r.Number()
	}
	s.IDToken, s.RefreshToken = r.Token(), r.Text()
	for count := r.Number(); count > 0 && !r.HasFailed(); count-- {
		s.AccessTokens = append(s.AccessTokens, AccessToken{
			Resource:     r.Text(),
			Organization: r.Text(),
			Token:        r.Token(),
			Scope:        r.Text(),
			Expires:      r.Time(),
			RenewAt:      r.Time(),
		})
	}
	// They are the keys of memories that outlive the session, and must not keep the whole record there.
	ids := s.ID + s.Subject + s.LogtoSessionID
	s.ID, ids = ids[:len(s.ID)], ids[len(s.ID):]
	s.Subject, s.LogtoSessionID = ids[:len(s.Subject)], ids[len(s.Subject):]
	return s, r.Err()
}
