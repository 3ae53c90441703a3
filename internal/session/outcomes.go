package session

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/logtogin/logtogin/internal/cache"
	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/record"
)

const (
	// outcomeMemory is how long a callback that comes again gets the outcome
	// of the first one.
	outcomeMemory = 2 * time.Minute
	// codeMemory is how long the instances know that a code has been redeemed.
	codeMemory  = 10 * time.Minute
	maxOutcomes = 16 << 10
	maxSpent    = 128 << 10
)

// Outcomes are what became of attempts: each is spent once, and callbacks that come again share the outcome. They are safe
// for concurrent use. They are no flight.Group: an outcome is kept for two minutes and shared only with the very same
// callback, and the callback itself makes it, because it writes the response.
type Outcomes struct {
	sealedState
	// Both by the challenge of the attempt: what became of it, for a short time, and that it was used up, for as long as
	// its cookie could come again.
	outcomes *cache.Cache[string, *Outcome]
	spent    *cache.Cache[string, struct{}]
}

func newOutcomes(state sealedState) *Outcomes {
	return &Outcomes{
		sealedState: state,
		outcomes:    cache.New[string, *Outcome](maxOutcomes, state.now),
		spent:       cache.New[string, struct{}](maxSpent, state.now),
	}
}

// Outcome is what became of an attempt. Who has spent the attempt fills in the exported fields before Settle; others read
// them after Wait.
type Outcome struct {
	Attempt ID
	answer  [sha256.Size]byte // of the callback that spent the attempt, as a digest
	done    chan struct{}     // closed by Settle

	Session  *Session
	ReturnTo string // a path of this application
	Err      error  // ErrNoAttempt until there is something better to say
	// IsResumed says that the session was there before.
	IsResumed bool
	Cookies   http.Header // the Set-Cookie lines that go with it
}

// Spend marks the attempt as used up by an answer. isFirst says that the caller fills in the outcome and settles it;
// otherwise the outcome is the earlier callback's, here or at another instance. hasCode says that the answer has a code.
// Before Spend waits for another instance, it calls beforeWaiting.
func (o *Outcomes) Spend(ctx context.Context, started *Attempt, answer [sha256.Size]byte, hasCode bool, beforeWaiting func()) (outcome *Outcome, isFirst bool) {
	outcome = &Outcome{Attempt: started.ID, answer: answer, done: make(chan struct{}), Err: fault.NoAttempt}
	if first, found, _ := o.outcomes.GetOrPut(started.key(), outcome, o.now().Add(outcomeMemory)); found {
		return first, false
	}
	if _, spent, _ := o.spent.GetOrPut(started.key(), struct{}{}, started.StartedAt.Add(AttemptLifetime)); spent {
		close(outcome.done)
		return outcome, false
	}
	// The shared state has no entries for answers without a code, which strangers can make up. Logto accepts a code for a
	// minute.
	if hasCode && !o.shared.IsFirst(ctx, o.shared.Key(started.key(), "spent"), "1", codeMemory) {
		beforeWaiting()
		o.await(ctx, started, outcome)
		close(outcome.done)
		return outcome, false
	}
	return outcome, true
}

// Wait returns the error of the context if that ends before the outcome is settled. isSame is false if it is the one of
// another answer: an attacker who has planted an attempt in somebody's browser knows its state, but not the code that came
// with it, and must not share in what the victim's callback yields.
func (o *Outcome) Wait(ctx context.Context, answer [sha256.Size]byte) (isSame bool, err error) {
	if o.answer != answer {
		return false, nil
	}
	select {
	case <-o.done:
		return true, nil
	case <-ctx.Done():
		return true, context.Cause(ctx)
	}
}

// Settle lets those go on who wait for the outcome at this instance.
func (o *Outcome) Settle() { close(o.done) }

// Unspend lets the other instances use an attempt again, whose code Logto has refused.
func (o *Outcomes) Unspend(ctx context.Context, started *Attempt) {
	o.shared.Delete(ctx, o.shared.Key(started.key(), "spent"))
}

// Tell lets the other instances share the outcome of an attempt.
func (o *Outcomes) Tell(ctx context.Context, started *Attempt, outcome *Outcome) {
	if !o.shared.Exists() {
		return
	}
	key := o.key(started, outcome)
	o.shared.Set(ctx, key, o.sealer.Seal(outcome.encode(), key), outcomeMemory)
}

// key is where the outcome of an attempt is, for the very callback that had it.
func (o *Outcomes) key(started *Attempt, outcome *Outcome) string {
	return o.shared.Key(started.key()+string(outcome.answer[:]), "outcome")
}

// await fills in the outcome that another instance has had, or is about to have.
// Without one, it stays as it is.
func (o *Outcomes) await(ctx context.Context, started *Attempt, outcome *Outcome) {
	key := o.key(started, outcome)
	poll(ctx, othersPatience, func(ctx context.Context) bool {
		sealed, ok := o.shared.Get(ctx, key)
		if encoded, _, err := o.sealer.Open(sealed, key); ok && err == nil {
			outcome.decode(encoded, o.origin)
		}
		return ok
	})
}

const outcomeFormat byte = 1

// encode keeps of an outcome what another instance needs to answer in the same way. An outcome that failed has no more
// than the format: the other instance learns that the attempt has been used.
func (o *Outcome) encode() []byte {
	w := record.NewWriter(outcomeFormat)
	if o.Err != nil {
		return w.Bytes()
	}
	w.Text(string(o.Session.Encode()))
	w.Text(o.ReturnTo)
	lines := o.Cookies["Set-Cookie"]
	w.Number(uint64(len(lines)))
	for _, line := range lines {
		w.Text(line)
	}
	return w.Bytes()
}

// decode fills in an outcome that was a session.
func (o *Outcome) decode(encoded []byte, origin string) {
	r := record.NewReader(encoded, outcomeFormat)
	found, err := Decode([]byte(r.Text()), origin)
	returnTo := r.Text()
	var cookies []string
	for count := r.Number(); count > 0 && !r.HasFailed(); count-- {
		cookies = append(cookies, r.Text())
	}
	if err == nil && r.Err() == nil {
		o.Session, o.ReturnTo, o.Cookies, o.Err = found, returnTo, http.Header{"Set-Cookie": cookies}, nil
	}
}
