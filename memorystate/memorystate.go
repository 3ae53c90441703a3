// Package memorystate keeps the shared state of several Auth of one process in its memory:
//
//	state := memorystate.New()
//	shop, err := logtogin.Register(router.Group("/shop"), logtogin.Config{ /* … */ SharedState: state})
//	admin, err := logtogin.Register(router.Group("/admin"), logtogin.Config{ /* … */ SharedState: state})
//
// Without a shared state, what one Auth revokes the others do not know. Those that are to know it have the
// same Config.Endpoint, AppID and Secrets. What is in memory is gone when the process ends; package redisstate
// keeps it in Redis.
package memorystate

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/logtogin/logtogin"
)

const (
	// maxValues bounds the values. If too few have expired, any quarter of them makes room.
	maxValues = 128 << 10

	// maxEntries bounds the entries of each log. The oldest one makes room, and those who have not read it
	// are told.
	maxEntries = 1 << 20

	maxLogs = 64
)

// State is a logtogin.SharedState in memory. It is safe for concurrent use, and nobody has to close it.
type State struct {
	mu     sync.Mutex
	values map[string]value
	sweep  int // expired values are removed when there are so many
	logs   map[string]*log
}

type value struct {
	text    string
	expires time.Time
}

var _ logtogin.SharedState = (*State)(nil)

// New returns an empty state, for all that are given it.
func New() *State {
	return &State{values: map[string]value{}, sweep: 1024, logs: map[string]*log{}}
}

// Get implements logtogin.SharedState.
func (s *State) Get(_ context.Context, key string) (text string, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, ok = s.get(key)
	return text, ok, nil
}

// Set implements logtogin.SharedState.
func (s *State) Set(_ context.Context, key, text string, lifetime time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, text, lifetime)
	return nil
}

// SetIfAbsent implements logtogin.SharedState.
func (s *State) SetIfAbsent(_ context.Context, key, text string, lifetime time.Duration) (set bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, found := s.get(key); found {
		return false, nil
	}
	s.set(key, text, lifetime)
	return true, nil
}

// Delete implements logtogin.SharedState.
func (s *State) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	return nil
}

func (s *State) get(key string) (text string, ok bool) {
	found, ok := s.values[key]
	if !ok || !time.Now().Before(found.expires) {
		return "", false
	}
	return found.text, true
}

func (s *State) set(key, text string, lifetime time.Duration) {
	now := time.Now()
	if len(s.values) >= s.sweep {
		maps.DeleteFunc(s.values, func(_ string, v value) bool { return !now.Before(v.expires) })
		for some := range s.values {
			if len(s.values) <= maxValues/4*3 {
				break
			}
			delete(s.values, some)
		}
		s.sweep = min(max(1024, 2*len(s.values)), maxValues)
	}
	s.values[strings.Clone(key)] = value{strings.Clone(text), now.Add(lifetime)}
}

// log are the entries that were appended, without the first ones.
type log struct {
	id      string
	dropped int // how many are missing
	unread  int // how many of these had not expired: who has not read them has missed something
	entries []entry
	expires time.Time
}

type entry struct {
	text    string
	expires time.Time
}

// Append implements logtogin.SharedState.
func (s *State) Append(_ context.Context, name, text string, lifetime time.Duration) (at time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at = time.Now()
	l := s.logs[name]
	if l == nil || !at.Before(l.expires) {
		if l == nil && len(s.logs) == maxLogs {
			return time.Time{}, fmt.Errorf("memorystate: there are %d logs already", maxLogs)
		}
		l = &log{id: rand.Text()}
		s.logs[strings.Clone(name)] = l
	}
	gone := 0
	for gone < len(l.entries) && !at.Before(l.entries[gone].expires) {
		gone++
	}
	if gone == 0 && len(l.entries) == maxEntries {
		gone, l.unread = 1, l.dropped+1
	}
	l.dropped += gone
	l.entries = append(l.entries[gone:], entry{strings.Clone(text), at.Add(lifetime)})
	if expires := at.Add(lifetime); expires.After(l.expires) {
		l.expires = expires
	}
	return at, nil
}

// Read implements logtogin.SharedState. A cursor is the ID of the log and how many entries were read.
func (s *State) Read(_ context.Context, name, cursor string, limit int) (entries []string, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.logs[name]
	if l != nil && !time.Now().Before(l.expires) {
		l = nil
	}
	if l == nil && cursor == "" {
		return nil, "", nil
	}
	seen := 0
	if cursor != "" {
		id, number, _ := strings.Cut(cursor, ":")
		if seen, err = strconv.Atoi(number); err != nil || l == nil || id != l.id || seen < l.unread || seen > l.dropped+len(l.entries) {
			return nil, "", logtogin.ErrLogReplaced
		}
	}
	seen = max(seen, l.dropped)
	for _, one := range l.entries[seen-l.dropped:] {
		if len(entries) == limit {
			break
		}
		entries = append(entries, one.text)
	}
	return entries, l.id + ":" + strconv.Itoa(seen+len(entries)), nil
}
