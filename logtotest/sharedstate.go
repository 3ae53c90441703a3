package logtotest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin"
)

// contractPatience is how long the contract waits for what has to happen soon.
const contractPatience = 3 * time.Second

// SharedStateContract tests an implementation of logtogin.SharedState: each clause of the contract, on its own
// keys and logs. open returns a state that is empty; a second one must not have what the first one was given, so
// that it stands for another database, or for one that has lost its data: it may be the same server, emptied.
// It takes about a second. That expiry is judged by the clock of the server, and that a log of the same database is
// noticed that was deleted or restored, it cannot test: do that yourself.
//
//	func TestMyState(t *testing.T) {
//		logtotest.SharedStateContract(t, func(t testing.TB) logtogin.SharedState { return mystate.New(emptyDatabase(t)) })
//	}
func SharedStateContract(t testing.TB, open func(t testing.TB) logtogin.SharedState) {
	t.Helper()
	c := &contract{TB: t, state: open(t), ctx: t.Context()}
	c.append("contract:kept", "kept")
	c.values()
	c.lifetimes()
	c.absence()
	c.deletion()
	c.logs()
	c.times()
	c.appendsAtOnce()
	c.wantEntries("an entry is kept for its lifetime", "contract:kept", "", 10, "kept")
	c.wantValue("a value is kept for its lifetime", "contract:values:0", "b", true)
	c.otherLogs(open)
}

type contract struct {
	testing.TB
	state logtogin.SharedState
	ctx   context.Context //nolint:containedctx // of one test
}

func (c *contract) must(what string, err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("%s: %v", what, err)
	}
}

func (c *contract) wantValue(what, key, want string, exists bool) {
	c.Helper()
	value, ok, err := c.state.Get(c.ctx, key)
	if value != want || ok != exists || err != nil {
		c.Errorf("%s: Get(%q) got %.40q %v %v, want %.40q %v", what, key, value, ok, err, want, exists)
	}
}

func (c *contract) values() {
	c.wantValue("a key that was never set", "contract:values:none", "", false)
	texts := []string{"a", "", "zero \x00, high \xff, line\r\n", strings.Repeat("long", 32<<10)}
	for i, text := range texts {
		c.must("Set", c.state.Set(c.ctx, fmt.Sprint("contract:values:", i), text, time.Hour))
	}
	long := "contract:values:" + strings.Repeat("k", 200)
	for i, key := range []string{"contract:VALUES:0", "contract:values", "contract:values:", long + "a", long + "b"} {
		c.must("Set", c.state.Set(c.ctx, key, fmt.Sprint("of another key: ", i), time.Hour))
	}
	c.wantValue("each key has its own value, to the byte", long+"a", "of another key: 3", true)
	for i, text := range texts {
		c.wantValue("each key has its own value, to the byte", fmt.Sprint("contract:values:", i), text, true)
	}
	c.must("Set", c.state.Set(c.ctx, "contract:values:0", "b", time.Hour))
	c.wantValue("Set replaces a value", "contract:values:0", "b", true)
}

func (c *contract) lifetimes() {
	const key = "contract:lifetimes:"
	c.must("Set", c.state.Set(c.ctx, key+"long", "long", time.Hour))
	c.must("Set", c.state.Set(c.ctx, key+"longer", "old", 50*time.Millisecond))
	c.must("Set", c.state.Set(c.ctx, key+"longer", "new", time.Hour))
	c.must("Set", c.state.Set(c.ctx, key+"shorter", "old", time.Hour))
	c.must("Set", c.state.Set(c.ctx, key+"shorter", "new", 50*time.Millisecond))
	for name, lifetime := range map[string]time.Duration{"short": 50 * time.Millisecond, "none": 0, "negative": -time.Hour} {
		c.must("Set", c.state.Set(c.ctx, key+name, name, lifetime))
	}
	for _, name := range []string{"short", "none", "negative", "shorter"} {
		c.soon("a value goes when its lifetime is over: "+name, func() bool {
			_, ok, err := c.state.Get(c.ctx, key+name)
			c.must("Get", err)
			return !ok
		})
	}
	c.wantValue("a value stays for its lifetime", key+"long", "long", true)
	c.wantValue("Set replaces a lifetime, too", key+"longer", "new", true)
}

// soon waits for what must happen.
func (c *contract) soon(what string, happened func() bool) {
	c.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(contractPatience)
	for !happened() {
		select {
		case <-ticker.C:
		case <-deadline:
			if happened() { // on a machine that is busy
				return
			}
			c.Fatalf("%s: not after %v", what, contractPatience)
		}
	}
}

func (c *contract) set(key, value string, lifetime time.Duration) bool {
	c.Helper()
	set, err := c.state.SetIfAbsent(c.ctx, key, value, lifetime)
	c.must("SetIfAbsent", err)
	return set
}

func (c *contract) absence() {
	const key = "contract:absence:"
	if !c.set(key+"a", "first", time.Hour) {
		c.Errorf("SetIfAbsent sets a key that has no value: got false")
	}
	if c.set(key+"a", "second", time.Hour) {
		c.Errorf("SetIfAbsent sets no key that has a value: got true")
	}
	c.wantValue("SetIfAbsent leaves a value that is there", key+"a", "first", true)
	c.must("Set", c.state.Set(c.ctx, key+"empty", "", time.Hour))
	if c.set(key+"empty", "second", time.Hour) {
		c.Errorf("an empty value is a value: SetIfAbsent got true")
	}
	if !c.set(key+"short", "first", 50*time.Millisecond) {
		c.Errorf("SetIfAbsent sets a key that has no value: got false")
	}
	c.soon("SetIfAbsent sets a key whose lifetime is over", func() bool { return c.set(key+"short", "second", time.Hour) })
	c.wantValue("SetIfAbsent gives the new value", key+"short", "second", true)

	if c.set(key+"a", "first", time.Hour) {
		c.Errorf("SetIfAbsent sets no key that has the same value: got true")
	}

	for round := range 40 {
		var winners []string
		var mu sync.Mutex
		var running sync.WaitGroup
		begin := make(chan struct{})
		at := fmt.Sprint(key, "race:", round)
		for i := range 10 {
			running.Go(func() {
				<-begin
				value := fmt.Sprint(i)
				if round%2 == 1 {
					value = "the same"
				}
				set, err := c.state.SetIfAbsent(c.ctx, at, value, time.Hour)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					c.Errorf("SetIfAbsent: %v", err)
				} else if set {
					winners = append(winners, value)
				}
			})
		}
		close(begin)
		running.Wait()
		if len(winners) != 1 {
			c.Fatalf("of several calls of SetIfAbsent at the same moment, one succeeds: got %d", len(winners))
		}
		c.wantValue("the value is that of the call that succeeded", at, winners[0], true)
	}
}

func (c *contract) deletion() {
	const key = "contract:deletion:"
	c.must("Delete of a key that has no value", c.state.Delete(c.ctx, key+"none"))
	c.must("Set", c.state.Set(c.ctx, key+"a", "a", time.Hour))
	c.must("Set", c.state.Set(c.ctx, key+"b", "b", time.Hour))
	c.must("Delete", c.state.Delete(c.ctx, key+"a"))
	c.wantValue("Delete removes a value", key+"a", "", false)
	c.wantValue("Delete removes no other", key+"b", "b", true)
	if !c.set(key+"a", "again", time.Hour) {
		c.Errorf("SetIfAbsent sets a key that was deleted: got false")
	}
}

func (c *contract) append(log, entry string) time.Time {
	c.Helper()
	at, err := c.state.Append(c.ctx, log, entry, time.Hour)
	c.must("Append", err)
	return at
}

func (c *contract) wantEntries(what, log, cursor string, limit int, want ...string) (next string) {
	c.Helper()
	entries, next, err := c.state.Read(c.ctx, log, cursor, limit)
	if err != nil || !slices.Equal(entries, want) {
		c.Fatalf("%s: Read got %.60q %v, want %.60q", what, entries, err, want)
	}
	return next
}

func (c *contract) logs() {
	const log = "contract:logs"
	if next := c.wantEntries("a log that does not exist", log, "", 10); next != "" {
		c.Errorf("the cursor of a log that does not exist: got %q, want none", next)
	}
	long := strings.Repeat("long", 32<<10)
	all := []string{"one", "two", "two", "zero \x00, high \xff", long}
	for _, entry := range all {
		c.append(log, entry)
	}
	c.append(log+":other", "of another log")
	c.wantEntries("all entries, in their order, also equal ones", log, "", 10, all...)
	next := c.wantEntries("no more than the limit", log, "", 2, all[:2]...)
	next = c.wantEntries("the entries that follow a cursor", log, next, 10, all[2:]...)
	again := c.wantEntries("nothing after the last entry", log, next, 10)
	c.append(log, "late")
	c.wantEntries("an entry after the last cursor", log, again, 10, "late")
	c.wantEntries("an entry after an older cursor", log, next, 10, "late")
	c.wantEntries("a log begins with the first entry", log, "", 1, all[:1]...)
}

func (c *contract) times() {
	const log = "contract:times"
	last := c.append(log, "0")
	if difference := time.Since(last).Abs(); difference > 24*time.Hour {
		c.Fatalf("Append returns the time: got %v, which is %v off", last, difference)
	}
	isStill := true
	for i := range 50 {
		at := c.append(log, fmt.Sprint(i+1))
		if at.Before(last) {
			c.Fatalf("Append returns no earlier time than a call before: got %v after %v", at, last)
		}
		isStill, last = isStill && at.Equal(last), at
	}
	c.soon("the time goes on", func() bool { return !isStill || c.append(log, "x").After(last) })
}

// appendsAtOnce reads while others append: a number that an entry gets before it can be read would let a later
// one be read first, and itself be missed.
func (c *contract) appendsAtOnce() {
	const log, writers, each = "contract:at once", 8, 50
	var running sync.WaitGroup
	for writer := range writers {
		running.Go(func() {
			for i := range each {
				if _, err := c.state.Append(c.ctx, log, fmt.Sprint(writer, ".", i), time.Hour); err != nil {
					c.Errorf("Append: %v", err)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	seen := map[string]int{}
	cursor := ""
	read := func() int {
		entries, next, err := c.state.Read(c.ctx, log, cursor, 7)
		c.must("Read", err)
		for _, entry := range entries {
			seen[entry]++
		}
		cursor = next
		return len(entries)
	}
	for isOver := false; !isOver; {
		select {
		case <-ended:
			isOver = true
		default:
		}
		for read() > 0 {
		}
	}
	for read() > 0 {
	}
	for writer := range writers {
		for i := range each {
			if count := seen[fmt.Sprint(writer, ".", i)]; count != 1 {
				c.Fatalf("each entry is read once, also while others are appended: got one %d times", count)
			}
		}
	}
	if entries, _, err := c.state.Read(c.ctx, log, "", 10*writers*each); err != nil || len(entries) != writers*each {
		c.Fatalf("fewer entries than the limit are returned at the end of the log only: Read got %d %v, want %d", len(entries), err, writers*each)
	}
}

func (c *contract) otherLogs(open func(testing.TB) logtogin.SharedState) {
	const log = "contract:replaced"
	c.append(log, "one")
	c.append(log, "two")
	next := c.wantEntries("two entries", log, "", 10, "one", "two")
	first := c.wantEntries("one entry", log, "", 1, "one")
	c.wantReplaced("a cursor that is none", c.state, log, "nonsense")
	c.wantReplaced("a cursor of a log that does not exist", c.state, log+":none", next)

	other := open(c.TB)
	for _, cursor := range []string{first, next} {
		c.wantReplaced("a cursor of another database, without the log", other, log, cursor)
	}
	for i := range 3 {
		if _, err := other.Append(c.ctx, log, fmt.Sprint("other ", i), time.Hour); err != nil {
			c.Fatalf("Append: %v", err)
		}
		for _, cursor := range []string{first, next} {
			c.wantReplaced(fmt.Sprintf("a cursor of another database, whose log has %d entries", i+1), other, log, cursor)
		}
	}
	entries, _, err := other.Read(c.ctx, log, "", 10)
	if err != nil || len(entries) != 3 {
		c.Errorf("the other log from its beginning: got %q %v, want 3 entries", entries, err)
	}
}

func (c *contract) wantReplaced(what string, state logtogin.SharedState, log, cursor string) {
	c.Helper()
	if entries, _, err := state.Read(c.ctx, log, cursor, 10); !errors.Is(err, logtogin.ErrLogReplaced) {
		c.Errorf("%s: Read got %q %v, want ErrLogReplaced", what, entries, err)
	}
}
