package logtotest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
	"github.com/logtogin/logtogin/memorystate"
)

func TestTheStateInMemoryKeepsTheContract(t *testing.T) {
	t.Parallel()
	logtotest.SharedStateContract(t, func(testing.TB) logtogin.SharedState { return memorystate.New() })
}

// verdict is a test whose failures are noted.
type verdict struct {
	testing.TB
	mu    sync.Mutex
	texts []string
}

func (v *verdict) Errorf(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.texts = append(v.texts, fmt.Sprintf(format, args...))
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Helper() {}

// wrong is a state that is right but for the functions that are set.
type wrong struct {
	logtogin.SharedState
	get         func(s logtogin.SharedState, key string) (string, bool, error)
	set         func(s logtogin.SharedState, key, value string, lifetime time.Duration) error
	setIfAbsent func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error)
	delete      func(s logtogin.SharedState, key string) error
	append      func(s logtogin.SharedState, log, entry string) (time.Time, error)
	read        func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error)
}

func (w wrong) Get(ctx context.Context, key string) (string, bool, error) {
	if w.get != nil {
		return w.get(w.SharedState, key)
	}
	return w.SharedState.Get(ctx, key)
}

func (w wrong) Set(ctx context.Context, key, value string, lifetime time.Duration) error {
	if w.set != nil {
		return w.set(w.SharedState, key, value, lifetime)
	}
	return w.SharedState.Set(ctx, key, value, lifetime)
}

func (w wrong) SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (bool, error) {
	if w.setIfAbsent != nil {
		return w.setIfAbsent(w.SharedState, key, value, lifetime)
	}
	return w.SharedState.SetIfAbsent(ctx, key, value, lifetime)
}

func (w wrong) Delete(ctx context.Context, key string) error {
	if w.delete != nil {
		return w.delete(w.SharedState, key)
	}
	return w.SharedState.Delete(ctx, key)
}

func (w wrong) Append(ctx context.Context, log, entry string, lifetime time.Duration) (time.Time, error) {
	if w.append != nil {
		return w.append(w.SharedState, log, entry)
	}
	return w.SharedState.Append(ctx, log, entry, lifetime)
}

func (w wrong) Read(ctx context.Context, log, cursor string, limit int) ([]string, string, error) {
	if w.read != nil {
		return w.read(w.SharedState, log, cursor, limit)
	}
	return w.SharedState.Read(ctx, log, cursor, limit)
}

// Each clause of the contract fails for a state that breaks it.
func TestTheContractFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	ctx, started := t.Context(), time.Now()
	for name, test := range map[string]struct {
		wrong wrong
		finds string
	}{
		"it invents values": {wrong{get: func(s logtogin.SharedState, key string) (string, bool, error) {
			value, _, err := s.Get(ctx, key)
			return value, true, err
		}}, "a key that was never set"},
		"it forgets empty values": {wrong{get: func(s logtogin.SharedState, key string) (string, bool, error) {
			value, ok, err := s.Get(ctx, key)
			return value, ok && value != "", err
		}}, "each key has its own value"},
		"it keeps text only": {wrong{set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
			return s.Set(ctx, key, strings.ToValidUTF8(value, "?"), lifetime)
		}}, "to the byte"},
		"it cuts long values": {wrong{set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
			return s.Set(ctx, key, value[:min(len(value), 60_000)], lifetime)
		}}, "to the byte"},
		"it does not replace values": {wrong{set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
			_, err := s.SetIfAbsent(ctx, key, value, lifetime)
			return err
		}}, "Set replaces a value"},
		"it takes no lifetime for an endless one": {wrong{set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
			if lifetime <= 0 {
				lifetime = time.Hour
			}
			return s.Set(ctx, key, value, lifetime)
		}}, "a value goes when its lifetime is over"},
		"it keeps nothing for long": {wrong{set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
			return s.Set(ctx, key, value, min(lifetime, 20*time.Millisecond))
		}}, "a value stays for its lifetime"},
		"it always sets": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error) {
			return true, s.Set(ctx, key, value, lifetime)
		}}, "SetIfAbsent sets no key that has a value"},
		"it compares values": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error) {
			if _, err := s.SetIfAbsent(ctx, key, value, lifetime); err != nil {
				return false, err
			}
			now, _, err := s.Get(ctx, key)
			return now == value, err
		}}, "SetIfAbsent sets no key that has the same value"},
		"it looks before it sets": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error) {
			if _, ok, err := s.Get(ctx, key); ok || err != nil {
				return false, err
			}
			runtime.Gosched()
			return true, s.Set(ctx, key, value, lifetime)
		}}, "of several calls of SetIfAbsent at the same moment"},
		"it takes an empty value for none": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error) {
			if value, ok, _ := s.Get(ctx, key); ok && value == "" {
				return true, s.Set(ctx, key, value, lifetime)
			}
			return s.SetIfAbsent(ctx, key, value, lifetime)
		}}, "an empty value is a value"},
		"it never sets twice": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, _ time.Duration) (bool, error) {
			return s.SetIfAbsent(ctx, key, value, time.Hour)
		}}, "SetIfAbsent sets a key whose lifetime is over"},
		"it deletes nothing": {wrong{delete: func(logtogin.SharedState, string) error { return nil }}, "Delete removes a value"},
		"it empties instead of deleting": {wrong{delete: func(s logtogin.SharedState, key string) error { return s.Set(ctx, key, "", time.Hour) }},
			"Delete removes a value"},
		"it will not delete what is not there": {wrong{delete: func(s logtogin.SharedState, key string) error {
			if _, ok, _ := s.Get(ctx, key); !ok {
				return fmt.Errorf("no such key")
			}
			return s.Delete(ctx, key)
		}}, "Delete of a key that has no value"},
		"it keeps one of equal entries": {wrong{append: func(s logtogin.SharedState, log, entry string) (time.Time, error) {
			if entries, _, _ := s.Read(ctx, log, "", 1000); len(entries) > 0 && entries[len(entries)-1] == entry {
				return time.Now(), nil
			}
			return s.Append(ctx, log, entry, time.Hour)
		}}, "also equal ones"},
		"it has one log": {wrong{append: func(s logtogin.SharedState, _, entry string) (time.Time, error) {
			return s.Append(ctx, "contract:logs", entry, time.Hour)
		}}, "a log that does not exist"},
		"it has no limit": {wrong{read: func(s logtogin.SharedState, log, cursor string, _ int) ([]string, string, error) {
			return s.Read(ctx, log, cursor, 1000)
		}}, "no more than the limit"},
		"it reads from the end": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			entries, next, err := s.Read(ctx, log, cursor, limit)
			for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
				entries[i], entries[j] = entries[j], entries[i]
			}
			return entries, next, err
		}}, "in their order"},
		"it always begins anew": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			entries, _, err := s.Read(ctx, log, "", limit)
			return entries, cursor, err
		}}, "the entries that follow a cursor"},
		"it does not say when": {wrong{append: func(s logtogin.SharedState, log, entry string) (time.Time, error) {
			_, err := s.Append(ctx, log, entry, time.Hour)
			return time.Time{}, err
		}}, "Append returns the time"},
		"its clock goes back": {wrong{append: func(s logtogin.SharedState, log, entry string) (time.Time, error) {
			_, err := s.Append(ctx, log, entry, time.Hour)
			return started.Add(-time.Since(started)), err
		}}, "no earlier time"},
		"it misses what is appended beside":        {wrong{read: missing(ctx)}, "each entry is read once"},
		"it keeps the lifetime of the first value": {wrong{set: firstLifetime(ctx)}, "Set replaces a lifetime, too"},
		"it keeps the longer lifetime": {wrong{set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
			if strings.HasSuffix(key, ":shorter") {
				lifetime = time.Hour
			}
			return s.Set(ctx, key, value, lifetime)
		}}, "a value goes when its lifetime is over: shorter"},
		"its keys have no case": {wrong{set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
			return s.Set(ctx, strings.ToLower(key), value, lifetime)
		}}, "each key has its own value"},
		"it cuts long keys": {wrong{
			set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
				return s.Set(ctx, key[:min(len(key), 191)], value, lifetime)
			},
			get: func(s logtogin.SharedState, key string) (string, bool, error) {
				return s.Get(ctx, key[:min(len(key), 191)])
			},
		}, "each key has its own value"},
		"it forgets values after a while": {wrong{set: func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
			if key == "contract:values:0" && value == "b" {
				lifetime = 30 * time.Millisecond
			}
			return s.Set(ctx, key, value, lifetime)
		}}, "a value is kept for its lifetime"},
		"it never sets if absent": {wrong{setIfAbsent: func(logtogin.SharedState, string, string, time.Duration) (bool, error) { return false, nil }},
			"SetIfAbsent sets a key that has no value"},
		"it overwrites what is there": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error) {
			set, err := s.SetIfAbsent(ctx, key, value, lifetime)
			if !set && !strings.Contains(key, "race") {
				err = s.Set(ctx, key, value, lifetime)
			}
			return set, err
		}}, "SetIfAbsent leaves a value that is there"},
		"it keeps the value that is over": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error) {
			set, err := s.SetIfAbsent(ctx, key, value, lifetime)
			if set && value == "second" {
				err = s.Set(ctx, key, "first", lifetime)
			}
			return set, err
		}}, "SetIfAbsent gives the new value"},
		"the last of many wins the value": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error) {
			set, err := s.SetIfAbsent(ctx, key, value, lifetime)
			if !set && strings.Contains(key, "race") {
				err = s.Set(ctx, key, value, lifetime)
			}
			return set, err
		}}, "the value is that of the call that succeeded"},
		"it deletes the neighbour, too": {wrong{delete: func(s logtogin.SharedState, key string) error {
			return errors.Join(s.Delete(ctx, key), s.Delete(ctx, strings.TrimSuffix(key, "a")+"b"))
		}}, "Delete removes no other"},
		"it remembers what was deleted": {wrong{setIfAbsent: func(s logtogin.SharedState, key, value string, lifetime time.Duration) (bool, error) {
			if value == "again" {
				return false, nil
			}
			return s.SetIfAbsent(ctx, key, value, lifetime)
		}}, "SetIfAbsent sets a key that was deleted"},
		"it knows no log that is not there": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			entries, next, err := s.Read(ctx, log, cursor, limit)
			if err == nil && next == "" {
				err = errors.New("no such log")
			}
			return entries, next, err
		}}, "a log that does not exist"},
		"it has a cursor for nothing": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			entries, next, err := s.Read(ctx, log, strings.TrimPrefix(cursor, "nothing"), limit)
			if err == nil && next == "" {
				next = "nothing"
			}
			return entries, next, err
		}}, "the cursor of a log that does not exist"},
		"it repeats the last entry": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			entries, next, err := s.Read(ctx, log, cursor, limit)
			if all, _, _ := s.Read(ctx, log, "", 1000); err == nil && len(entries) == 0 && len(all) > 0 && log == "contract:logs" {
				entries = all[len(all)-1:]
			}
			return entries, next, err
		}}, "nothing after the last entry"},
		"it loses the cursor at the end": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			entries, next, err := s.Read(ctx, log, cursor, limit)
			if len(entries) == 0 {
				next = ""
			}
			return entries, next, err
		}}, "an entry after the last cursor"},
		"its cursors are good for two readings": {wrong{read: twice(ctx)}, "an entry after an older cursor"},
		"it drops the first entries": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			if all, _, _ := s.Read(ctx, log, "", 1000); log == "contract:logs" && cursor == "" && len(all) > 5 {
				_, cursor, _ = s.Read(ctx, log, "", len(all)-5)
			}
			return s.Read(ctx, log, cursor, limit)
		}}, "a log begins with the first entry"},
		"it keeps entries for a moment": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			if log == "contract:kept" {
				return nil, "", nil
			}
			return s.Read(ctx, log, cursor, limit)
		}}, "an entry is kept for its lifetime"},
		"its clock is wrong by days": {wrong{append: func(s logtogin.SharedState, log, entry string) (time.Time, error) {
			at, err := s.Append(ctx, log, entry, time.Hour)
			return at.Add(48 * time.Hour), err
		}}, "Append returns the time"},
		"its clock stands still": {wrong{append: func(s logtogin.SharedState, log, entry string) (time.Time, error) {
			_, err := s.Append(ctx, log, entry, time.Hour)
			return started, err
		}}, "the time goes on"},
		"it takes nonsense for a cursor":                {wrong{read: forgiving(ctx, func(_, cursor string, _ bool) bool { return cursor == "nonsense" })}, "a cursor that is none"},
		"it takes a cursor for a log that is not there": {wrong{read: forgiving(ctx, func(log, _ string, _ bool) bool { return strings.HasSuffix(log, ":none") })}, "a cursor of a log that does not exist"},
		"it takes a cursor for a log that is gone":      {wrong{read: forgiving(ctx, func(_, _ string, exists bool) bool { return !exists })}, "a cursor of another database, without the log"},
		"it takes a cursor for a log that is another":   {wrong{read: forgiving(ctx, func(_, cursor string, exists bool) bool { return exists && cursor != "nonsense" })}, "whose log has 1 entries"},
		"it does not begin again":                       {wrong{read: stubborn(ctx)}, "the other log from its beginning"},
		"it takes any cursor": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			entries, next, _ := s.Read(ctx, log, cursor, limit)
			return entries, cmp.Or(next, cursor), nil
		}}, "want ErrLogReplaced"},
		"its pages are small": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			return s.Read(ctx, log, cursor, min(limit, 100))
		}}, "at the end of the log only"},
		"it begins again in another log by itself": {wrong{read: func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
			entries, next, err := s.Read(ctx, log, cursor, limit)
			if err != nil {
				return s.Read(ctx, log, "", limit)
			}
			return entries, next, err
		}}, "want ErrLogReplaced"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := &verdict{TB: t}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				logtotest.SharedStateContract(v, func(testing.TB) logtogin.SharedState {
					test.wrong.SharedState = memorystate.New()
					return test.wrong
				})
			}()
			<-ended
			if all := strings.Join(v.texts, "\n"); !strings.Contains(all, test.finds) {
				t.Errorf("got %q, want %q", all, test.finds)
			}
		})
	}
}

// missing is a Read that loses the first of two entries that it finds at once in the log that many append to.
func missing(ctx context.Context) func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
	return func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
		entries, next, err := s.Read(ctx, log, cursor, limit)
		if log == "contract:at once" && len(entries) > 1 {
			entries = entries[1:]
		}
		return entries, next, err
	}
}

// firstLifetime is a Set that does not change the lifetime of a key that has a value.
func firstLifetime(ctx context.Context) func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
	first := map[string]time.Duration{}
	return func(s logtogin.SharedState, key, value string, lifetime time.Duration) error {
		if given, ok := first[key]; ok && lifetime > given {
			lifetime = given
		}
		first[key] = lifetime
		return s.Set(ctx, key, value, lifetime)
	}
}

// twice is a Read that finds nothing by a cursor that was used twice before.
func twice(ctx context.Context) func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
	used := map[string]int{}
	return func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
		if cursor != "" && log == "contract:logs" {
			used[cursor]++
		}
		entries, next, err := s.Read(ctx, log, cursor, limit)
		if used[cursor] > 2 {
			entries = nil
		}
		return entries, next, err
	}
}

// forgiving is a Read that takes some cursors for good ones.
func forgiving(ctx context.Context, takes func(log, cursor string, exists bool) bool) func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
	return func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
		entries, next, err := s.Read(ctx, log, cursor, limit)
		if _, beginning, _ := s.Read(ctx, log, "", 1); errors.Is(err, logtogin.ErrLogReplaced) && takes(log, cursor, beginning != "") {
			return s.Read(ctx, log, "", limit)
		}
		return entries, next, err
	}
}

// stubborn is a Read that finds nothing in a log any more of which it has said that it is another one.
func stubborn(ctx context.Context) func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
	replaced := map[string]bool{}
	return func(s logtogin.SharedState, log, cursor string, limit int) ([]string, string, error) {
		entries, next, err := s.Read(ctx, log, cursor, limit)
		if errors.Is(err, logtogin.ErrLogReplaced) {
			replaced[log] = true
		} else if replaced[log] {
			return nil, "", nil
		}
		return entries, next, err
	}
}
