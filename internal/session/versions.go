package session

import (
	"context"
	"strconv"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/seal"
	"github.com/logtogin/logtogin/internal/shared"
)

const (
	// resultMemory is how long a result is remembered if the refresh tokens in older
	// versions are still good: losing it costs a refresh. After a refresh token has been
	// replaced, the newest version is remembered for as long as the session may last:
	// a request with the old refresh token would make Logto revoke the grant.
	resultMemory = 10 * time.Minute

	// maxResults bounds the sessions in memory of which a result is remembered, of about
	// 4 KiB each.
	maxResults = 16 << 10

	// maxSteps is how many versions ahead of the newest one that is noted are looked for:
	// other instances can be about to note them.
	maxSteps = 16

	// claimLifetime is how long one instance makes the next version of a session: as long as the call to
	// Logto may take. It may have been killed, so that the others wait only for claimPatience, which is
	// shorter than the 3 seconds for which Logto forgives a second use of a refresh token, of which the killed one
	// may have had the answer.
	claimLifetime = refreshTimeout
	claimPatience = 2 * time.Second

	// othersPatience is how long somebody waits for what another instance is doing.
	othersPatience = 5 * time.Second
)

// versions are what refreshes have yielded, here and in the shared state, remembered for the requests that come with an
// older version of the session: those that were under way, those of a browser that has not received the newer one, and
// HTTP clients that outlive many versions. It is safe for concurrent use.
type versions struct {
	sealedState
	newest *cache.Cache[string, string] // versions by the keys of their sessions
}

// sealedState is the shared state, and what is needed to keep sessions in it.
type sealedState struct {
	shared *shared.State
	sealer *seal.Sealer
	origin string // what records keep of it
	now    func() time.Time
}

func newVersions(s Settings) (*versions, error) {
	sealer, err := seal.New(s.Secrets, s.Purpose("refreshed session"))
	return &versions{
		sealedState: sealedState{s.Shared, sealer, hashOfOrigin(s.Origin), s.Now},
		newest:      cache.New[string, string](maxResults, s.Now),
	}, err
}

// newestKey is where the newest version of a session is.
func (v *versions) newestKey(id string) string { return v.shared.Key(id, "newest") }

// nextKey is where the version that follows this one is. Instances that refresh the same
// version at the same time agree there on whose result counts.
func (v *versions) nextKey(session *Session) string {
	return v.shared.Key(session.ID, strconv.FormatUint(session.Version, 10))
}

// claim waits, for claimPatience at most, until no other instance is making the version that follows the newest one, or
// isMet accepts one that is there. Without a claim the caller goes on. hasWaited says that newest may be outdated. release
// has to be told whether the next version was made: then nobody needs the claim.
func (v *versions) claim(ctx context.Context, newest *Session, isMet func(*Session) bool) (release func(isMade bool), hasWaited bool) {
	if !v.shared.Exists() {
		return func(bool) {}, false
	}
	var key string
	var isClaimed bool
	var until time.Time
	poll(ctx, claimPatience, func(ctx context.Context) bool {
		key, until = v.nextKey(newest)+":claim", time.Now().Add(claimLifetime)
		set, works := v.shared.SetIfAbsent(ctx, key, "1", claimLifetime)
		if isClaimed = set; set || !works {
			return true
		}
		hasWaited = true
		newest = v.newestAnywhere(ctx, newest)
		return isMet(newest)
	})
	return func(isMade bool) {
		if isClaimed && !isMade && time.Now().Before(until) { // else it may be somebody else's
			v.shared.Delete(context.WithoutCancel(ctx), key)
		}
	}, hasWaited
}

// poll asks again and again, for as long as somebody waits for another instance.
func poll(ctx context.Context, patience time.Duration, isDone func(context.Context) bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for pause := 10 * time.Millisecond; !isDone(ctx); pause = min(2*pause, 200*time.Millisecond) {
		if !sleep(ctx, pause) {
			return
		}
	}
}

// sleep reports whether the context lasted that long.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// newestHere is the newest version of a session that this instance knows of. It can be the
// version of the session itself, with access tokens that the browser's cookies had no room
// for.
func (v *versions) newestHere(session *Session) *Session {
	key := v.newestKey(session.ID)
	sealed, _ := v.newest.Get(key)
	return newer(session, v.open(key, sealed))
}

// newestAnywhere asks the shared state as well.
func (v *versions) newestAnywhere(ctx context.Context, session *Session) *Session {
	found := v.newestHere(session)
	if !v.shared.Exists() {
		return found
	}
	key := v.newestKey(session.ID)
	sealed, _ := v.shared.Get(ctx, key)
	found = newer(found, v.open(key, sealed))
	for range maxSteps {
		key := v.nextKey(found)
		sealed, ok := v.shared.Get(ctx, key)
		next := newer(found, v.open(key, sealed))
		if !ok || next.Version == found.Version {
			break
		}
		found = next
	}
	return found
}

// newer returns the newer version, with the Entry, LivesBy and activity of the request's own.
func newer(session, other *Session) *Session {
	if other == nil || other.ID != session.ID || other.Version < session.Version {
		return session
	}
	own := *other
	own.Entry, own.IsOutdated, own.LivesBy = session.Entry, session.IsOutdated, session.LivesBy
	if session.ActiveAt.After(own.ActiveAt) {
		own.ActiveAt = session.ActiveAt
	}
	return &own
}

func (v *versions) open(key, sealed string) *Session {
	if sealed == "" {
		return nil
	}
	encoded, _, err := v.sealer.Open(sealed, key)
	if err != nil {
		return nil
	}
	found, err := Decode(encoded, v.origin)
	if err != nil {
		return nil
	}
	return found
}

// remember leads from all older versions to the next. ok is false if another instance has
// already made another next version, which is then the one that counts.
func (v *versions) remember(ctx context.Context, refreshed, next *Session) (ok bool) {
	if v.shared.Exists() {
		key := v.nextKey(refreshed)
		if !v.shared.IsFirst(ctx, key, v.sealer.Seal(next.Encode(), key), resultMemory) {
			return false
		}
	}
	v.note(ctx, next)
	return true
}

// note makes a version the newest one, whatever others have made.
func (v *versions) note(ctx context.Context, next *Session) {
	lifetime := resultMemory
	if next.Replacements > 0 {
		lifetime = max(lifetime, next.Expires.Sub(v.now()))
	}
	key := v.newestKey(next.ID)
	sealed := v.sealer.Seal(next.Encode(), key)
	v.newest.Put(key, sealed, v.now().Add(lifetime))
	v.shared.Set(ctx, key, sealed, lifetime)
}

// forget forgets what is remembered of a session that has ended. Results that an instance
// may be about to read go by themselves.
func (v *versions) forget(ctx context.Context, session *Session) {
	key := v.newestKey(session.ID)
	v.newest.Delete(key)
	v.shared.Delete(ctx, key)
}
