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
	"errors"
	"strconv"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"

	"github.com/logtogin/logtogin"
)

// State is a logtogin.SharedState in Redis. It is safe for concurrent use.
type State struct {
	client redis.UniversalClient
	locks  *redislock.Client
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
	return &State{client: client, locks: redislock.New(client)}
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

// logMargin is how much longer an entry of a log is kept than it must, because it gets its
// time from Redis and the lifetime is counted by the application's clock.
const logMargin = time.Hour

// Append implements logtogin.SharedState. A log is a stream; the cursor is the ID of an
// entry.
func (s *State) Append(ctx context.Context, log, entry string, lifetime time.Duration) error {
	lifetime = max(lifetime, 0) + logMargin
	_, err := s.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.XAdd(ctx, &redis.XAddArgs{
			Stream: log, Values: []string{logField, entry},
			MinID: strconv.FormatInt(time.Now().Add(-lifetime).UnixMilli(), 10), Approx: true,
		})
		pipe.PExpire(ctx, log, lifetime)
		return nil
	})
	return err
}

const logField = "entry"

// Read implements logtogin.SharedState.
func (s *State) Read(ctx context.Context, log, cursor string, limit int) (entries []string, next string, err error) {
	streams, err := s.client.XRead(ctx, &redis.XReadArgs{
		Streams: []string{log, cmp.Or(cursor, "0")}, Count: int64(limit), Block: -1, // without waiting
	}).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, cursor, err
	}
	next = cursor
	for _, stream := range streams {
		for _, message := range stream.Messages {
			entry, _ := message.Values[logField].(string)
			entries, next = append(entries, entry), message.ID
		}
	}
	return entries, next, nil
}

// TryLock implements logtogin.SharedState.
func (s *State) TryLock(ctx context.Context, name string, lifetime time.Duration) (unlock func(context.Context) error, ok bool, err error) {
	lock, err := s.locks.Obtain(ctx, name, atLeastAMillisecond(lifetime), nil)
	switch {
	case errors.Is(err, redislock.ErrNotObtained):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	return func(ctx context.Context) error {
		err := lock.Release(ctx)
		if errors.Is(err, redislock.ErrLockNotHeld) { // it has expired
			return nil
		}
		return err
	}, true, nil
}

// atLeastAMillisecond keeps a lifetime from meaning "for ever" to Redis.
func atLeastAMillisecond(lifetime time.Duration) time.Duration {
	return max(lifetime, time.Millisecond)
}
