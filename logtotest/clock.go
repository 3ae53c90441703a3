package logtotest

import "time"

// SetNow replaces the server's clock, to let codes, tokens and sessions expire.
// The function must be safe for concurrent use. Default, and what nil restores:
// time.Now.
func (s *Server) SetNow(now func() time.Time) {
	if now == nil {
		now = time.Now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// Now is the time by the server's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	now, offset := s.now, s.offset
	s.mu.Unlock()
	return now().Add(offset) // without the lock, because a test's clock may call the server
}

// Advance moves the server's clock, and the clock of applications with its Config, to
// let codes, tokens and sessions expire.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}
