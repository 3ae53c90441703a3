package logtogin

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
)

// exchange is one request and the response to it, as everything below the handlers sees them.
// There is no *gin.Context in it, because Gin uses that again for the next request: whatever
// outlives the handler would see another user. It is safe for concurrent use.
type exchange struct {
	request  *http.Request
	route    string // as Gin knows it, for log lines
	response response
	known    *knownSessions
	// isByToken says that the last guard was Bearer: what the browser may have is then nobody's
	// business, and the request has no session.
	isByToken bool
}

// response is the header of a response as far as it can be changed.
type response interface {
	// change lets f change the header, unless the response has begun, and reports whether it
	// has not.
	change(f func(header http.Header)) bool
	// takeBackIf makes sure that the cookies of a session that were set under this name are not
	// sent once it is over, as far as that is up to this package: below a guard.
	takeBackIf(name string, isOver func() bool)
	// hasBegun reports whether the header can no longer be changed.
	hasBegun() bool
	// forbidStoring keeps the response out of every cache, because it belongs to one user.
	forbidStoring()
	// vary tells caches that requests with other cookies get other responses.
	vary()
}

// knownSessions are what a request knows of its sessions, one for each Auth that was asked.
type knownSessions struct {
	loading sync.Mutex // held while a session is read, so that it is read once

	mu    sync.Mutex
	list  []knownSession
	first [1]knownSession // the usual number
}

// knownSession is what a request knows of its session.
type knownSession struct {
	auth    *Auth
	session *session
	err     error
	// isNew says that the request itself has brought the session about.
	isNew bool
}

func (k *knownSessions) get(a *Auth) (found knownSession, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, found := range k.list {
		if found.auth == a {
			return found, true
		}
	}
	return knownSession{}, false
}

func (k *knownSessions) set(of knownSession) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.list {
		if k.list[i].auth == of.auth {
			k.list[i] = of
			return
		}
	}
	if k.list == nil {
		k.list = k.first[:0]
	}
	k.list = append(k.list, of)
}

// unset makes the request forget what it knew.
func (k *knownSessions) unset(a *Auth) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = slices.DeleteFunc(k.list, func(known knownSession) bool { return known.auth == a })
}

// begunResponse is the response of a copy, which nobody can change.
type begunResponse struct{}

func (begunResponse) change(func(http.Header)) bool  { return false }
func (begunResponse) takeBackIf(string, func() bool) {}
func (begunResponse) hasBegun() bool                 { return true }
func (begunResponse) forbidStoring()                 {}
func (begunResponse) vary()                          {}

// openResponse is a response without a guard, whose header is changed at once.
type openResponse struct {
	writer gin.ResponseWriter
	mu     *sync.Mutex
}

func (r *openResponse) change(f func(http.Header)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writer.Written() {
		return false
	}
	f(r.writer.Header())
	return true
}

func (r *openResponse) takeBackIf(string, func() bool) {}

func (r *openResponse) hasBegun() bool { return !r.change(func(http.Header) {}) }
func (r *openResponse) forbidStoring() { r.change(forbidStoring) }
func (r *openResponse) vary()          { r.change(func(header http.Header) { varyBy(header, "Cookie") }) }

const privateNoStore = "private, no-store"

// forbidStoring keeps a response that belongs to one user out of every cache.
func forbidStoring(header http.Header) {
	header.Set("Cache-Control", privateNoStore)
	varyBy(header, "Cookie")
}

// varyBy tells caches that requests with another header of this name get other responses.
func varyBy(header http.Header, name string) {
	for _, line := range header.Values("Vary") {
		for listed := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(listed), name) {
				return
			}
		}
	}
	header.Add("Vary", name)
}
