package recent_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/logtogin/logtogin/internal/recent"
)

func TestValuesAreRemembered(t *testing.T) {
	t.Parallel()
	c := recent.New[int](1000)
	one, two := recent.DigestOf("one"), recent.DigestOf("two")
	if _, ok := c.Get(one); ok || one == two {
		t.Error("there is something already")
	}
	c.Put(one, 1)
	c.Put(two, 2)
	c.Put(one, 11)
	if value, ok := c.Get(one); !ok || value != 11 {
		t.Error(value, ok)
	}
	if value, ok := c.Get(two); !ok || value != 2 {
		t.Error(value, ok)
	}
}

func TestWhatIsAskedForStaysAndTheRestGoes(t *testing.T) {
	t.Parallel()
	const limit = 320
	c := recent.New[int](limit)
	wanted := recent.DigestOf("wanted")
	c.Put(wanted, -1)
	for i := range 100_000 {
		c.Put(recent.DigestOf(strconv.Itoa(i)), i)
		if _, ok := c.Get(wanted); !ok {
			t.Fatalf("forgotten after %d others", i)
		}
	}
	count := 0
	for i := range 100_000 {
		if value, ok := c.Get(recent.DigestOf(strconv.Itoa(i))); ok {
			if count++; value != i {
				t.Errorf("%d is %d", i, value)
			}
		}
	}
	if count > limit || count < limit/4 {
		t.Errorf("%d are remembered", count)
	}
}

func TestItIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	c := recent.New[int](64)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2000 {
				digest := recent.DigestOf(strconv.Itoa(i % 100))
				c.Put(digest, i%100)
				if value, ok := c.Get(digest); ok && value != i%100 {
					t.Errorf("%d is %d", i%100, value)
				}
			}
		})
	}
	all.Wait()
}
