package logtogin_test

import (
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	ginsessions "github.com/gin-contrib/sessions"
	gorilla "github.com/gorilla/sessions"
)

// serverStore is a session store that keeps its records in memory, as those of
// gin-contrib do in a database, and that fails when told to. The real ones are
// tested in the integration module.
type serverStore struct {
	mu      sync.Mutex
	records map[string]map[any]any
	last    int

	down       error         // what every call answers
	frozen     chan struct{} // what every call waits for
	limit      int           // of a value, 0 for none
	ownIDs     bool          // ignores the ID that is asked for, as gormstore does
	panics     bool
	signs      bool   // its cookies, so that a strange one is none of its own
	beforeSave func() // in every Save
	beforeLoad func() // in every New that asks for a record
}

func newServerStore() *serverStore { return &serverStore{records: map[string]map[any]any{}} }

func (s *serverStore) Options(ginsessions.Options) {}

func (s *serverStore) Get(r *http.Request, name string) (*gorilla.Session, error) {
	return gorilla.GetRegistry(r).Get(s, name)
}

func (s *serverStore) wait() error {
	s.mu.Lock()
	frozen, down, panics := s.frozen, s.down, s.panics
	s.mu.Unlock()
	if panics {
		panic("the store panics")
	}
	if frozen != nil {
		<-frozen
	}
	return down
}

func (s *serverStore) New(r *http.Request, name string) (*gorilla.Session, error) {
	session := gorilla.NewSession(s, name)
	session.Options, session.IsNew = &gorilla.Options{Path: "/"}, true
	cookie, err := r.Cookie(name)
	if err != nil {
		return session, nil
	}
	if err := s.wait(); err != nil {
		return session, err
	}
	if s.beforeLoad != nil {
		s.beforeLoad()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signs && !strings.HasPrefix(cookie.Value, "key-") {
		return session, nil
	}
	session.ID = strings.TrimPrefix(cookie.Value, "key-")
	if record, ok := s.records[session.ID]; ok {
		session.Values, session.IsNew = maps.Clone(record), false
	}
	return session, nil
}

func (s *serverStore) Save(r *http.Request, w http.ResponseWriter, session *gorilla.Session) error {
	if err := s.wait(); err != nil {
		return err
	}
	if s.beforeSave != nil {
		s.beforeSave()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if session.Options.MaxAge < 0 {
		delete(s.records, session.ID)
		http.SetCookie(w, gorilla.NewCookie(session.Name(), "", session.Options))
		return nil
	}
	for _, value := range session.Values {
		if text, ok := value.(string); !ok || (s.limit > 0 && len(text) > s.limit) {
			return errors.New("securecookie: the value is too long: " + strconv.Itoa(len(text)))
		}
	}
	if s.ownIDs {
		session.ID = ""
		if cookie, err := r.Cookie(session.Name()); err == nil {
			session.ID = strings.TrimPrefix(cookie.Value, "key-")
		}
	}
	if session.ID == "" {
		s.last++
		session.ID = "own-" + strconv.Itoa(s.last)
	}
	s.records[session.ID] = maps.Clone(session.Values)
	http.SetCookie(w, gorilla.NewCookie(session.Name(), "key-"+session.ID, session.Options))
	return nil
}

// MaxLength is how gin-contrib's stores let their limit be raised.
func (s *serverStore) MaxLength(limit int) { s.set(func() { s.limit = limit }) }

func (s *serverStore) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// values are what the store holds by key.
func (s *serverStore) values(t *testing.T) map[string]string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]string{}
	for id, record := range s.records {
		if len(record) != 1 {
			t.Errorf("%d values under one key", len(record))
		}
		for _, value := range record {
			found[id] = value.(string)
		}
	}
	return found
}
