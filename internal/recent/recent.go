// Package recent remembers what was made of the latest of many long texts, by their
// digests.
package recent

import (
	"crypto/sha256"
	"sync"
	"unsafe"
)

// shards is how many parts a Cache has, each with a lock of its own.
const shards = 16

// Digest stands for a whole text, which is not kept.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a text.
func DigestOf(text string) Digest {
	// Without a copy of the text, which Sum256 only reads.
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// Cache is a map that keeps what was asked for lately, in two generations: when the young
// one is full it becomes the old one, whose predecessor is dropped, and what is asked for is
// young again. That is nearly as good as a list by the time of use, and takes no list. It is
// safe for concurrent use.
type Cache[V any] struct {
	limit  int
	shards [shards]shard[V]
}

type shard[V any] struct {
	mu         sync.Mutex
	young, old map[Digest]V
}

// New returns a Cache of about so many values, and never more, if that is 32 at least.
func New[V any](limit int) *Cache[V] { return &Cache[V]{limit: max(1, limit/shards/2)} }

// Get returns the value of a digest.
func (c *Cache[V]) Get(digest Digest) (value V, ok bool) {
	s := c.shard(digest)
	s.mu.Lock()
	defer s.mu.Unlock()
	if value, ok = s.young[digest]; ok {
		return value, true
	}
	if value, ok = s.old[digest]; ok {
		c.put(s, digest, value)
	}
	return value, ok
}

// Put remembers a value.
func (c *Cache[V]) Put(digest Digest, value V) {
	s := c.shard(digest)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.put(s, digest, value)
}

func (c *Cache[V]) shard(digest Digest) *shard[V] { return &c.shards[digest[0]%shards] }

func (c *Cache[V]) put(s *shard[V], digest Digest, value V) {
	if s.young == nil || len(s.young) >= c.limit {
		s.old, s.young = s.young, make(map[Digest]V, c.limit)
	}
	s.young[digest] = value
}
