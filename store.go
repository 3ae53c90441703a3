package logtogin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/sessions"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/seal"
)

const (
	// cookieBudget bounds all our cookies of one browser together: servers and
	// proxies refuse requests whose header is much longer than 8 KiB.
	cookieBudget = 8 << 10

	// attemptSlots is how many sign-ins one browser can have under way. Slots
	// are fixed cookie names, so that a browser that restores sixty tabs does
	// not collect sixty cookies; the oldest attempt leaves first.
	attemptSlots = 6

	// maxAttempt bounds one attempt's cookie, its name included, such that all
	// slots fit into the budget.
	maxAttempt = 1300

	// attemptLifetime is how long a user may take to sign in.
	attemptLifetime = time.Hour

	// maxReplaced bounds how many session cookies of one request are looked at
	// to be ended; as many as are looked at to be used.
	maxReplaced = 8

	// maxEnded bounds the memory of sessions that were ended.
	maxEnded = 1 << 20

	// valueKey is the one key under which a sessions.Store holds our value.
	valueKey = "logtogin"
)

// store loads, saves and removes the two records through sessions.Stores,
// sealed. It never goes through the application's session middleware.
type store struct {
	sessions ginsessions.Store
	attempts ginsessions.Store

	sessionSealer *seal.Sealer
	attemptSealer *seal.Sealer

	sessionName string
	attemptName string // the slot's number follows
	options     sessions.Options

	// ended remembers which sessions were ended here, until they would have
	// ended by themselves: a cookie kept from before is then worth nothing.
	ended *cache.Cache[string, struct{}]

	s *settings
}

func newStore(s *settings) (*store, error) {
	sum := sha256.Sum256([]byte(s.issuer + "\x00" + s.AppID))
	prefix := s.Cookies.Name + "_" + hex.EncodeToString(sum[:4])
	st := &store{
		sessionName: prefix,
		attemptName: prefix + "_attempt_",
		options: sessions.Options{
			Path:     s.Cookies.Path,
			Domain:   s.Cookies.Domain,
			Secure:   s.base != nil && s.base.Scheme == "https",
			HttpOnly: true,
			SameSite: http.SameSiteLaxMode,
		},
		ended: cache.New[string, struct{}](maxEnded, s.Now),
		s:     s,
	}
	var err error
	if st.sessionSealer, err = seal.New(s.secrets, st.purpose("session")); err != nil {
		return nil, err
	}
	if st.attemptSealer, err = seal.New(s.secrets, st.purpose("attempt")); err != nil {
		return nil, err
	}
	st.sessions = cookiestore.New(valueKey, cookieBudget-maxAttempt, func(_, sealed string) bool {
		_, ok := st.openSession(sealed)
		return ok
	})
	st.attempts = cookiestore.New(valueKey, maxAttempt, func(name, sealed string) bool {
		_, ok := st.openAttempt(name, sealed)
		return ok
	})
	return st, nil
}

// purpose binds a key to what it seals, for which application of which Logto.
func (st *store) purpose(record string) string {
	return fmt.Sprintf("logtogin/1 %s %q %q", record, st.s.issuer, st.s.AppID)
}

// loadSession returns the session of a request, or ErrNotSignedIn.
func (st *store) loadSession(r *http.Request) (*session, error) {
	opened, err := st.sessions.New(r, st.sessionName)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	sealed, _ := opened.Values[valueKey].(string)
	found, ok := st.openSession(sealed)
	if !ok {
		return nil, ErrNotSignedIn
	}
	return found, nil
}

// openSession returns a session that can be used.
func (st *store) openSession(sealed string) (*session, bool) {
	record, err := st.sessionSealer.Open(sealed, st.sessionName)
	if err != nil {
		return nil, false
	}
	found, err := decodeSession(record)
	if err != nil || !st.s.Now().Before(found.expires) || st.hasEnded(found.id) {
		return nil, false
	}
	return found, true
}

// sessionsOf returns the sessions that the request carries, of the first
// maxReplaced different cookies. It is more than one if the browser has kept
// cookies of another path or domain.
func (st *store) sessionsOf(r *http.Request) (found []*session) {
	var others, tried []string
	for _, cookie := range r.Cookies() {
		if cookie.Name != st.sessionName {
			others = append(others, cookie.Name+"="+cookie.Value)
		}
	}
	rest := strings.Join(others, "; ")
	for _, cookie := range r.CookiesNamed(st.sessionName) {
		if slices.Contains(tried, cookie.Value) {
			continue
		}
		if len(tried) == maxReplaced {
			break
		}
		tried = append(tried, cookie.Value)
		only := *r
		only.Header = http.Header{"Cookie": {cookie.Name + "=" + cookie.Value + "; " + rest}}
		if record, err := st.loadSession(&only); err == nil {
			found = append(found, record)
		}
	}
	return found
}

// saveSession writes the session into the response, which must not have been
// started. If the cookies would grow too large it gives up unfinished
// attempts, the oldest first.
func (st *store) saveSession(c *gin.Context, record *session) error {
	if c.Writer.Written() {
		return ErrResponseStarted
	}
	sealed := st.sessionSealer.Seal(record.encode(), st.sessionName)
	saving := st.newSession(st.sessions, st.sessionName, record.expires)
	saving.Values[valueKey] = sealed
	if err := st.sessions.Save(c.Request, c.Writer, saving); errors.Is(err, cookiestore.ErrTooLong) {
		return fmt.Errorf("%w: %d bytes", ErrSessionTooLarge, len(sealed))
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	forbidStoring(c)
	st.keepWithinBudget(c)
	return nil
}

// endSession removes the session from the browser and makes every copy of its
// cookie worthless.
func (st *store) endSession(c *gin.Context) error {
	for _, record := range st.sessionsOf(c.Request) {
		st.end(record)
	}
	if c.Writer.Written() {
		return ErrResponseStarted
	}
	gone := st.newSession(st.sessions, st.sessionName, time.Time{})
	if err := st.sessions.Save(c.Request, c.Writer, gone); err != nil {
		return fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	forbidStoring(c)
	return nil
}

// end makes every copy of the session's cookie worthless.
func (st *store) end(record *session) {
	if st.ended.Put(record.id, struct{}{}, record.expires) {
		st.s.Logger.Warn("logtogin: the memory of ended sessions is full; one that had not expired was dropped", "limit", maxEnded)
	}
}

func (st *store) hasEnded(id string) bool {
	_, ended := st.ended.Get(id)
	return ended
}

// slot is an attempt's cookie as the request carries it.
type slot struct {
	index   int
	attempt *attempt // nil if it cannot be used any more
}

// loadAttempts returns the slots of the request that are not empty.
func (st *store) loadAttempts(r *http.Request) (slots []slot) {
	for i := range attemptSlots {
		name := st.attemptName + strconv.Itoa(i)
		if len(r.CookiesNamed(name)) == 0 {
			continue
		}
		found := slot{index: i}
		if opened, err := st.attempts.New(r, name); err == nil {
			sealed, _ := opened.Values[valueKey].(string)
			found.attempt, _ = st.openAttempt(name, sealed)
		}
		slots = append(slots, found)
	}
	return slots
}

// openAttempt returns an attempt that can still be finished.
func (st *store) openAttempt(name, sealed string) (*attempt, bool) {
	record, err := st.attemptSealer.Open(sealed, name)
	if err != nil {
		return nil, false
	}
	found, err := decodeAttempt(record)
	now := st.s.Now()
	if err != nil || !now.Before(found.startedAt.Add(attemptLifetime)) || found.startedAt.After(now.Add(st.s.ClockSkew)) {
		return nil, false
	}
	return found, true
}

// saveAttempt puts the attempt into a slot of its own, or into that of the
// oldest one. A return path that makes it too large is dropped.
func (st *store) saveAttempt(c *gin.Context, record *attempt) error {
	if c.Writer.Written() {
		return ErrResponseStarted
	}
	index := freeSlot(st.loadAttempts(c.Request), st.writtenSlots(c))
	name := st.attemptName + strconv.Itoa(index)
	saving := st.newSession(st.attempts, name, record.startedAt.Add(attemptLifetime))
	saving.Values[valueKey] = st.attemptSealer.Seal(record.encode(), name)
	err := st.attempts.Save(c.Request, c.Writer, saving)
	if errors.Is(err, cookiestore.ErrTooLong) && record.returnTo != "" {
		record.returnTo = ""
		return st.saveAttempt(c, record)
	}
	if errors.Is(err, cookiestore.ErrTooLong) {
		return fmt.Errorf("%w: the redirect URI is too long", ErrInvalidOptions)
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
	}
	forbidStoring(c)
	st.keepWithinBudget(c)
	return nil
}

// removeAttempt deletes a slot's cookie.
func (st *store) removeAttempt(c *gin.Context, index int) {
	name := st.attemptName + strconv.Itoa(index)
	gone := st.newSession(st.attempts, name, time.Time{})
	if err := st.attempts.Save(c.Request, c.Writer, gone); err != nil {
		st.s.Logger.Error("logtogin: cannot delete the cookie of a sign-in attempt", "error", err)
	}
	forbidStoring(c)
}

// keepWithinBudget deletes attempts, the useless and then the oldest first,
// until what the browser will have after this response fits into the budget.
// What this response has set itself stays.
func (st *store) keepWithinBudget(c *gin.Context) {
	sizes := map[string]int{}
	for _, cookie := range c.Request.Cookies() {
		if strings.HasPrefix(cookie.Name, st.sessionName) {
			sizes[cookie.Name] += cookieSize(cookie)
		}
	}
	for _, cookie := range cookiesSet(c) {
		if strings.HasPrefix(cookie.Name, st.sessionName) {
			sizes[cookie.Name] = 0
			if cookie.MaxAge >= 0 {
				sizes[cookie.Name] = cookieSize(cookie)
			}
		}
	}
	written := st.writtenSlots(c)
	total := 0
	for _, size := range sizes {
		total += size
	}
	slots := st.loadAttempts(c.Request)
	for total > cookieBudget {
		oldest, ok := oldestSlot(slots, written)
		if !ok {
			return
		}
		total -= sizes[st.attemptName+strconv.Itoa(oldest.index)]
		written = append(written, oldest.index)
		st.removeAttempt(c, oldest.index)
	}
}

// writtenSlots are the slots that this response has set or deleted already.
func (st *store) writtenSlots(c *gin.Context) (written []int) {
	for _, cookie := range cookiesSet(c) {
		if number, ok := strings.CutPrefix(cookie.Name, st.attemptName); ok {
			if index, err := strconv.Atoi(number); err == nil {
				written = append(written, index)
			}
		}
	}
	return written
}

// cookiesSet are the cookies that the response sets so far.
func cookiesSet(c *gin.Context) []*http.Cookie {
	return (&http.Response{Header: c.Writer.Header()}).Cookies()
}

// cookieSize is what a cookie takes in the header of a request.
func cookieSize(cookie *http.Cookie) int {
	return len(cookie.Name) + len("=") + len(cookie.Value) + len("; ")
}

// freeSlot returns a slot for a new attempt, other than those that this
// response has written. Among free ones it takes any: tabs that are opened at
// the same moment then seldom meet in one.
func freeSlot(taken []slot, written []int) int {
	var free []int
	for i := range attemptSlots {
		used := slices.ContainsFunc(taken, func(s slot) bool { return s.index == i && s.attempt != nil })
		if !used && !slices.Contains(written, i) {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		oldest, _ := oldestSlot(taken, written)
		return oldest.index
	}
	return free[rand.IntN(len(free))]
}

// oldestSlot returns the slot that is missed least, but none of the excluded.
func oldestSlot(slots []slot, excluded []int) (oldest slot, ok bool) {
	for _, s := range slots {
		if slices.Contains(excluded, s.index) {
			continue
		}
		switch {
		case !ok, s.attempt == nil,
			oldest.attempt != nil && s.attempt.startedAt.Before(oldest.attempt.startedAt):
			oldest, ok = s, true
		}
	}
	return oldest, ok
}

// newSession returns a session of a store with our attributes and without a
// value; one that has expired already is one to delete.
func (st *store) newSession(in ginsessions.Store, name string, expires time.Time) *sessions.Session {
	made := sessions.NewSession(in, name)
	options := st.options
	options.MaxAge = -1
	if left := expires.Sub(st.s.Now()); left > 0 {
		options.MaxAge = int((left + time.Second - 1) / time.Second)
	}
	made.Options = &options
	made.IsNew = true
	return made
}

// forbidStoring keeps a response that belongs to one user out of every cache.
func forbidStoring(c *gin.Context) {
	c.Header("Cache-Control", "private, no-store")
	varyByCookie(c)
}

// varyByCookie tells caches that others may get another response.
func varyByCookie(c *gin.Context) {
	header := c.Writer.Header()
	for _, vary := range header.Values("Vary") {
		if strings.Contains(strings.ToLower(vary), "cookie") {
			return
		}
	}
	header.Add("Vary", "Cookie")
}
