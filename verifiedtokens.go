package logtogin

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Access tokens whose signature has been verified, so that a token that comes with every
// request costs a hash instead of a signature.

const (
	tokenShards = 16
	// maxShardTokens bounds one generation of a shard: in all there are 8192 tokens, of
	// about 2 KiB each.
	maxShardTokens = 256
)

// verifiedToken is what was verified of a token: signature, issuer and times. It is not
// what a guard made of it.
type verifiedToken struct {
	claims  *AccessTokenClaims // to be copied before anybody gets it
	expires time.Time
	// withdrawals is how often keys had been withdrawn when the token was verified.
	withdrawals uint64
}

// verifiedTokens remembers the latest tokens, in generations: when the young one is full
// it becomes the old one, whose predecessor is dropped, and what is asked for is young
// again. That is as good as a list by time of use and takes no list. It is safe for
// concurrent use.
type verifiedTokens struct {
	shards [tokenShards]tokenShard
}

type tokenShard struct {
	mu         sync.Mutex
	young, old map[tokenDigest]*verifiedToken
}

// tokenDigest stands for a whole token, whose text is not kept.
type tokenDigest [sha256.Size]byte

func (v *verifiedTokens) shard(digest tokenDigest) *tokenShard {
	return &v.shards[digest[0]%tokenShards]
}

// get returns what was verified of a token, unless keys have been withdrawn since or it
// has expired.
func (v *verifiedTokens) get(digest tokenDigest, withdrawals uint64, now time.Time) (*verifiedToken, bool) {
	s := v.shard(digest)
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.young[digest]
	if found == nil {
		if found = s.old[digest]; found == nil {
			return nil, false
		}
		s.put(digest, found)
	}
	if found.withdrawals != withdrawals || !now.Before(found.expires) {
		delete(s.young, digest)
		delete(s.old, digest)
		return nil, false
	}
	return found, true
}

func (v *verifiedTokens) put(digest tokenDigest, verified *verifiedToken) {
	s := v.shard(digest)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(digest, verified)
}

func (s *tokenShard) put(digest tokenDigest, verified *verifiedToken) {
	if len(s.young) >= maxShardTokens || s.young == nil {
		s.old, s.young = s.young, make(map[tokenDigest]*verifiedToken, maxShardTokens)
	}
	s.young[digest] = verified
}
