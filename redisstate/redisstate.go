// Package redisstate keeps the shared state of several instances of an application in
// Redis:
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
//	auth, err := logtogin.Register(router, logtogin.Config{
//		// …
//		SharedState: redisstate.New(client),
//	})
//
// It needs Redis 6.2 or newer, or one of its relatives, and little of it: what it keeps are
// sealed sessions of a few kilobytes, most of them for ten minutes, and of each session that
// was ended a line, for as long as sessions last. If Redis is down, the application goes
// on. If it forgets, instances that start afterwards do not know which sessions were ended:
// let it keep its data on disk.
package redisstate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/logtogin/logtogin"
)

// State is a logtogin.SharedState in Redis. It is safe for concurrent use.
type State struct {
	client redis.UniversalClient
}

var _ logtogin.SharedState = (*State)(nil)

// New returns the state that is kept by this client, which may be one of a single
// server, of Sentinel or of a Cluster. All keys begin with "logtogin:" and a hash of
// issuer and app ID, so that applications can share a server. The client stays the
// caller's to close, after the Auth.
//
// No request waits for Redis for more than half a second. The calls themselves end then
// if the client's options have ContextTimeoutEnabled, and otherwise after its own
// time-outs and retries, by default some seconds later.
func New(client redis.UniversalClient) *State {
	return &State{client: client}
}

// Get implements logtogin.SharedState.
func (s *State) Get(ctx context.Context, key string) (value string, ok bool, err error) {
	value, err = s.client.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	return value, err == nil, err
}

// Set implements logtogin.SharedState.
func (s *State) Set(ctx context.Context, key, value string, lifetime time.Duration) error {
	return s.client.Set(ctx, key, value, atLeastAMillisecond(lifetime)).Err()
}

// SetIfAbsent implements logtogin.SharedState.
func (s *State) SetIfAbsent(ctx context.Context, key, value string, lifetime time.Duration) (set bool, err error) {
	return s.client.SetNX(ctx, key, value, atLeastAMillisecond(lifetime)).Result()
}

// Delete implements logtogin.SharedState.
func (s *State) Delete(ctx context.Context, key string) error { return s.client.Del(ctx, key).Err() }

// A log is a stream, with a name that is given to it when it begins: Redis can lose the stream, by a failover or
// an operator, and a new one can have entries with smaller IDs. Entries go by the clock of Redis.
const (
	logField = "entry"

	// logMargin is how much longer an entry is kept than it must, because the lifetime is counted by the
	// application's clock.
	logMargin = time.Hour
)

// nameOf is the key of the name of a log, in the same slot of a Cluster.
func nameOf(log string) string { return "{" + log + "}:name" }

// appending adds an entry and returns the time. KEYS: the log and its name; ARGV: the entry, the lifetime in
// milliseconds, and a new name. The longest lifetime that an entry was given is kept behind the name.
var appending = redis.NewScript(`
local now = redis.call('TIME')
local name, lifetime = string.match(redis.call('GET', KEYS[2]) or '', '^(%w+) (%d+)$')
if not name or redis.call('EXISTS', KEYS[1]) == 0 then
	name = ARGV[3]
end
lifetime = math.max(tonumber(lifetime or 0), tonumber(ARGV[2]))
local milliseconds = string.format('%.0f', lifetime)
redis.call('SET', KEYS[2], name .. ' ' .. milliseconds, 'PX', milliseconds)
redis.call('XADD', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(now[1] * 1000 - lifetime, 0)), '*', '` + logField + `', ARGV[1])
redis.call('PEXPIRE', KEYS[1], milliseconds)
return now
`)

// Append implements logtogin.SharedState.
func (s *State) Append(ctx context.Context, log, entry string, lifetime time.Duration) (at time.Time, err error) {
	milliseconds := (max(lifetime, 0) + logMargin).Milliseconds()
	now, err := appending.Run(ctx, s.client, []string{log, nameOf(log)}, entry, milliseconds, rand.Text()).Int64Slice()
	if err == nil && len(now) != 2 {
		err = errors.New("redisstate: Redis does not say what time it is")
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(now[0], now[1]*1000), nil
}

// Read implements logtogin.SharedState. A cursor is the name of the log and the ID of an entry, which must still be there.
func (s *State) Read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, err error) {
	known, last, _ := strings.Cut(cursor, "/")
	last = cmp.Or(last, "0")
	var value *redis.StringCmd
	var length *redis.IntCmd
	var read *redis.XMessageSliceCmd
	var following *redis.XStreamSliceCmd
	_, err = s.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		value, length = pipe.Get(ctx, nameOf(log)), pipe.XLen(ctx, log)
		read = pipe.XRange(ctx, log, last, last)
		following = pipe.XRead(ctx, &redis.XReadArgs{Streams: []string{log, last}, Count: int64(limit), Block: -1}) // without waiting
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, "", err
	}
	name, _, _ := strings.Cut(value.Val(), " ")
	switch isThere := name != "" && length.Val() > 0; {
	case cursor == "" && !isThere:
		return nil, "", nil
	case cursor != "" && (!isThere || name != known || (last != "0" && len(read.Val()) == 0)): // an older state has been restored
		return nil, "", logtogin.ErrLogReplaced
	}
	for _, stream := range following.Val() {
		for _, message := range stream.Messages {
			entry, _ := message.Values[logField].(string)
			entries, last = append(entries, entry), message.ID
		}
	}
	return entries, name + "/" + last, nil
}

// atLeastAMillisecond keeps a lifetime from meaning "for ever" to Redis.
func atLeastAMillisecond(lifetime time.Duration) time.Duration {
	return max(lifetime, time.Millisecond)
}
