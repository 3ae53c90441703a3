package session

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/response"
)

// Exchange is one request and the response to it, as everything below the handlers sees them. It is safe for concurrent
// use.
type Exchange struct {
	Request  *http.Request
	Route    string // as the router knows it, for log lines
	Response response.Response
	Known    *Known
	// IsByToken says that the last guard was one for access tokens: what the browser may have is then nobody's
	// business, and the request has no session.
	IsByToken bool
}

// Known are what a request knows of its sessions, one for each Sessions that was asked. The zero value is ready to use.
// It has no flight.Group: the session is read by the request's own goroutine, because a flight would nearly double the
// allocations of a guarded page.
type Known struct {
	Cookies   []string // of the request, by which they are known
	mu        sync.Mutex
	list      []known
	first     [1]known      // the usual number
	isReading bool          // so that a session is read once
	read      chan struct{} // closed then, if somebody waits for it
}

// known is what a request knows of its session.
type known struct {
	by      *Sessions
	session *Session
	err     error
	// endedStart is when a session began that the browser still has, but that has ended; zero without one.
	endedStart time.Time
	// isNew says that the request itself has brought the session about.
	isNew bool
}

// getOrRead is get. If nothing is known, ok is false: the caller reads the session, and endReading
// must follow. If somebody else is reading, it waits for that. The error is the context's.
func (k *Known) getOrRead(ctx context.Context, s *Sessions, patience time.Duration) (found known, ok bool, err error) {
	found, ok, read := k.getOrWait(s)
	if read == nil {
		return found, ok, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for read != nil {
		select {
		case <-read:
			found, ok, read = k.getOrWait(s)
		case <-ctx.Done():
			return known{}, false, context.Cause(ctx)
		}
	}
	return found, ok, nil
}

// getOrWait also returns what is closed when somebody who is reading has done so.
func (k *Known) getOrWait(s *Sessions) (found known, ok bool, read <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.indexOf(s); i >= 0 {
		return k.list[i], true, nil
	}
	if !k.isReading {
		k.isReading = true
		return known{}, false, nil
	}
	if k.read == nil {
		k.read = make(chan struct{})
	}
	return known{}, false, k.read
}

func (k *Known) endReading() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.isReading = false
	if k.read != nil {
		close(k.read)
		k.read = nil
	}
}

// AreOf reports whether a request has the cookies by which they are known.
func (k *Known) AreOf(r *http.Request) bool {
	return slices.Equal(k.Cookies, r.Header["Cookie"])
}

func (k *Known) get(s *Sessions) (found known, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.indexOf(s); i >= 0 {
		return k.list[i], true
	}
	return known{}, false
}

func (k *Known) set(found known) {
	k.mu.Lock()
	defer k.mu.Unlock()
	*k.entryOf(found.by) = found
}

// replace calls set if the request still has the session with this ID, or none. It returns false if the request has signed
// in since.
func (k *Known) replace(id string, found known) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	entry := k.entryOf(found.by)
	if entry.session != nil && entry.session.ID != id {
		return false
	}
	found.isNew = entry.isNew
	*entry = found
	return true
}

// indexOf and entryOf find the place of what is known by one Sessions. The caller holds k.mu, and fills a new place in.
func (k *Known) indexOf(s *Sessions) int {
	for i := range k.list {
		if k.list[i].by == s {
			return i
		}
	}
	return -1
}

func (k *Known) entryOf(s *Sessions) *known {
	if i := k.indexOf(s); i >= 0 {
		return &k.list[i]
	}
	if k.list == nil {
		k.list = k.first[:0]
	}
	k.list = append(k.list, known{})
	return &k.list[len(k.list)-1]
}

// unset makes the request forget what it knew.
func (k *Known) unset(s *Sessions) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = slices.DeleteFunc(k.list, func(found known) bool { return found.by == s })
}

// setCreated makes a session the request's that the request has brought about.
func (s *Sessions) setCreated(x *Exchange, session *Session) {
	x.Known.set(known{by: s, session: session, isNew: true})
}

// createdHere returns the session that the request has brought about, or nil.
func (s *Sessions) createdHere(x *Exchange) *Session {
	if known, ok := x.Known.get(s); ok && known.isNew {
		return known.session
	}
	return nil
}

// IsKnown reports whether the request has asked for its session before.
func (s *Sessions) IsKnown(x *Exchange) bool {
	_, ok := x.Known.get(s)
	return ok
}

// KnownHere returns the session of the request, if it has been read, or nil. A nil *Sessions knows none.
func (s *Sessions) KnownHere(x *Exchange) *Session {
	known, _ := x.Known.get(s)
	return known.session
}

// makeVisitor makes the request one of a visitor. What the browser has is left alone: the cookie of a
// session that has ended is worthless, and the browser may have another session by now.
func (s *Sessions) makeVisitor(x *Exchange, session *Session) {
	x.Known.replace(session.ID, known{by: s, err: fault.NotSignedIn, endedStart: session.StartedAt})
}

// Fail makes the request one of a visitor because of an error, which Current returns from now on.
func (s *Sessions) Fail(x *Exchange, err error) {
	before, _ := x.Known.get(s)
	if before.session != nil {
		before.endedStart = before.session.StartedAt
	}
	x.Known.set(known{by: s, err: err, endedStart: before.endedStart})
}

// BeforeOf is a session of the request, to be compared with the one before.
func (s *Sessions) BeforeOf(x *Exchange, session *Session) Before {
	return Before{Start: session.StartedAt, Cookie: s.Attempts.cookieOf(x.Request)}
}
