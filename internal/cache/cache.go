// Package cache holds a bounded number of values for a bounded time.
package cache

import (
	"container/heap"
	"sync"
	"time"
)

// Cache is a map whose entries expire and whose size has a limit: when it is
// full, the entry that would have expired first makes room. It is safe for
// concurrent use and starts no goroutine.
type Cache[K comparable, V any] struct {
	limit int
	now   func() time.Time

	mu      sync.Mutex
	entries map[K]*entry[K, V]
	order   expiryOrder[K, V]
}

type entry[K comparable, V any] struct {
	key     K
	value   V
	expires time.Time
	index   int
}

// New returns an empty cache for at most limit entries.
func New[K comparable, V any](limit int, now func() time.Time) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, now: now, entries: make(map[K]*entry[K, V])}
}

// Get returns the value of a key that has not expired.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil && c.now().Before(e.expires) {
		return e.value, true
	}
	return value, false
}

// Put stores a value until it expires. It reports whether an entry that had
// not expired was dropped for it.
func (c *Cache[K, V]) Put(key K, value V, expires time.Time) (evicted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put(key, value, expires)
}

// GetOrPut returns the value of a key that has not expired, or else stores
// the given one and returns that. It reports evictions as Put does.
func (c *Cache[K, V]) GetOrPut(key K, value V, expires time.Time) (actual V, found, evicted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil && c.now().Before(e.expires) {
		return e.value, true, false
	}
	return value, false, c.put(key, value, expires)
}

// Update stores what change makes of the value of a key, which is the zero value if there is none, until the later
// of its expiry and the given one. It reports as Put does.
func (c *Cache[K, V]) Update(key K, expires time.Time, change func(V) V) (evicted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var value V
	if e := c.entries[key]; e != nil && c.now().Before(e.expires) {
		value = e.value
		if e.expires.After(expires) {
			expires = e.expires
		}
	}
	return c.put(key, change(value), expires)
}

// All are copies of the entries that have not expired, in no order.
func (c *Cache[K, V]) All() []Entry[K, V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	all := make([]Entry[K, V], 0, len(c.entries))
	for _, e := range c.order {
		if now.Before(e.expires) {
			all = append(all, Entry[K, V]{e.key, e.value, e.expires})
		}
	}
	return all
}

// Entry is one of a Cache.
type Entry[K comparable, V any] struct {
	Key     K
	Value   V
	Expires time.Time
}

// Delete forgets a key.
func (c *Cache[K, V]) Delete(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		heap.Remove(&c.order, e.index)
		delete(c.entries, key)
	}
}

// Len returns the number of entries, expired ones that still lie about
// included.
func (c *Cache[K, V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.entries)
}

func (c *Cache[K, V]) put(key K, value V, expires time.Time) (evicted bool) {
	if e := c.entries[key]; e != nil {
		e.value, e.expires = value, expires
		heap.Fix(&c.order, e.index)
		return false
	}
	now := c.now()
	for len(c.order) > 0 && (len(c.order) >= c.limit || !now.Before(c.order[0].expires)) {
		oldest := heap.Pop(&c.order).(*entry[K, V])
		delete(c.entries, oldest.key)
		evicted = evicted || now.Before(oldest.expires)
	}
	e := &entry[K, V]{key: key, value: value, expires: expires}
	c.entries[key] = e
	heap.Push(&c.order, e)
	return evicted
}

// expiryOrder is a heap with the entry that expires first on top.
type expiryOrder[K comparable, V any] []*entry[K, V]

func (o expiryOrder[K, V]) Len() int           { return len(o) }
func (o expiryOrder[K, V]) Less(i, j int) bool { return o[i].expires.Before(o[j].expires) }
func (o expiryOrder[K, V]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].index, o[j].index = i, j
}

func (o *expiryOrder[K, V]) Push(x any) {
	e := x.(*entry[K, V])
	e.index = len(*o)
	*o = append(*o, e)
}

func (o *expiryOrder[K, V]) Pop() any {
	last := len(*o) - 1
	e := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return e
}
