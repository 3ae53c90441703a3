package cache_test

import (
	"sync"
	"testing"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
)

func TestCache(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	now := start
	c := cache.New[string, int](3, func() time.Time { return now })
	after := func(d time.Duration) time.Time { return start.Add(d) }
	has := func(what string, want ...string) {
		t.Helper()
		for _, key := range []string{"a", "b", "c", "d", "e"} {
			wanted := false
			for _, w := range want {
				wanted = wanted || w == key
			}
			if _, ok := c.Get(key); ok != wanted {
				t.Errorf("%s: has %s: %v", what, key, ok)
			}
		}
	}
	if c.Put("a", 1, after(3*time.Minute)) || c.Put("b", 2, after(time.Minute)) || c.Put("c", 3, after(2*time.Minute)) {
		t.Error("an entry was dropped before the limit")
	}
	has("at the limit", "a", "b", "c")
	if !c.Put("d", 4, after(4*time.Minute)) {
		t.Error("nothing is said of the dropped entry")
	}
	has("the one that would have expired first is gone", "a", "c", "d")
	now = after(2 * time.Minute)
	has("an entry has expired at its very time", "a", "d")
	if c.Put("e", 5, after(5*time.Minute)) {
		t.Error("an expired entry counts as dropped")
	}
	has("the expired one made room", "a", "d", "e")
	if c.Len() != 3 {
		t.Errorf("%d entries", c.Len())
	}
	if c.Put("a", 10, after(10*time.Minute)) {
		t.Error("replacing drops something")
	}
	if value, found, _ := c.GetOrPut("a", 0, after(time.Hour)); !found || value != 10 {
		t.Errorf("%d, %v", value, found)
	}
	now = after(4 * time.Minute)
	if value, found, _ := c.GetOrPut("d", 40, after(time.Hour)); found || value != 40 {
		t.Errorf("an expired entry is found: %d", value)
	}
	now = after(6 * time.Minute)
	has("in the end", "a", "d")
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	c := cache.New[int, int](50, time.Now)
	var all sync.WaitGroup
	firsts := make(chan int, 1000)
	for range 10 {
		all.Go(func() {
			for i := range 100 {
				c.Put(1000+i, i, time.Now().Add(time.Hour))
				c.Get(1000 + i)
			}
			if _, found, _ := c.GetOrPut(1, 1, time.Now().Add(24*time.Hour)); !found {
				firsts <- 1
			}
		})
	}
	all.Wait()
	if len(firsts) != 1 {
		t.Errorf("%d were first", len(firsts))
	}
	if c.Len() > 50 {
		t.Errorf("%d entries", c.Len())
	}
}

func TestAnUpdateKeepsTheLaterExpiry(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := cache.New[string, int](10, func() time.Time { return now })
	add := func(before int) int { return before + 1 }
	c.Update("a", now.Add(time.Hour), add)
	c.Update("a", now.Add(time.Minute), add)
	now = now.Add(30 * time.Minute)
	if value, ok := c.Get("a"); value != 2 || !ok {
		t.Errorf("got %d %v, want 2 true", value, ok)
	}
	now = now.Add(time.Hour)
	if all := c.All(); len(all) != 0 {
		t.Errorf("got %v, want nothing that has expired", all)
	}
	c.Update("a", now.Add(time.Hour), add) // on nothing: the value before has expired
	if all := c.All(); len(all) != 1 || all[0] != (cache.Entry[string, int]{"a", 1, now.Add(time.Hour)}) {
		t.Errorf("got %v, want one entry with 1", all)
	}
}
