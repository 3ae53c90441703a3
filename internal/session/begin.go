package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"github.com/logtogin/logtogin/internal/oauth"
)

// pagesUnderWay is how long requests are under way with the cookie of a session that has just begun.
const pagesUnderWay = time.Minute

// Begin makes a session of what the ID token says and of the tokens that were asked for at that time. It is nobody's yet.
func (s *Sessions) Begin(ctx context.Context, token Session, got *oauth.Tokens, asked time.Time) *Session {
	begun, now := &token, s.settings.Now()
	begun.ID, begun.Format, begun.Origin = rand.Text(), Format, s.store.origin
	begun.StartedAt, begun.ActiveAt, begun.ConfirmedAt = now.Truncate(time.Millisecond), now, asked.Truncate(time.Millisecond)
	begun.IDToken, begun.RefreshToken = got.IDToken, got.RefreshToken
	begun.AccessTokens = []AccessToken{s.newAccessToken(begun.Subject, got, Target{})}
	begun.Expires = now.Add(s.settings.Lifetime)
	// Without a refresh token nothing would ever tell that the user has been
	// removed, so the session ends with its ID token.
	if begun.RefreshToken == "" {
		begun.Expires = earlier(begun.Expires, begun.IDTokenExpires)
	}
	s.revocations.CatchUp(ctx)
	begun.StartedAt = s.revocations.startOf(begun)
	return begun
}

// Beginning is a session that is the request's and not yet the browser's, so that the application can refuse it.
type Beginning struct {
	sessions *Sessions
	x        *Exchange
	session  *Session
	parallel *Session // of another tab, which takes its place, or nil

	before     known // what the request knew, if it did
	had        bool
	isAdmitted bool
}

// Prepare makes a session the request's, or one that another tab has just begun. Cancel must be deferred.
func (s *Sessions) Prepare(ctx context.Context, x *Exchange, started *Attempt, session *Session) *Beginning {
	b := &Beginning{sessions: s, x: x, session: session, parallel: s.parallel(ctx, x, started, session)}
	b.before, b.had = x.Known.get(s)
	s.setCreated(x, b.Session())
	return b
}

// Session is the session that the application is asked about.
func (b *Beginning) Session() *Session { return cmp.Or(b.parallel, b.session) }

// Cancel makes the request know what it knew before, unless the session was admitted.
func (b *Beginning) Cancel() {
	switch {
	case b.isAdmitted:
	case b.had:
		b.x.Known.set(b.before)
	default:
		b.x.Known.unset(b.sessions)
	}
}

// Admit gives the browser the session, by the cookies of the outcome. The error is ErrStoreUnavailable or
// ErrSessionTooLarge.
func (b *Beginning) Admit(ctx context.Context, outcome *Outcome) error {
	s := b.sessions
	created := s.createdHere(b.x) // it may have been refreshed meanwhile, and somebody may be reading it
	if b.parallel != nil && created != nil && !s.store.isOver(created) {
		b.isAdmitted, outcome.Session, outcome.IsResumed = true, created, true
		return nil
	}
	own := *b.session
	if b.parallel == nil && created != nil {
		own = *created
	}
	own.ActiveAt = s.settings.Now() // the application may have taken its time
	if err := s.replace(ctx, b.x, &own, outcome.Cookies); err != nil {
		return err
	}
	s.setCreated(b.x, &own)
	b.isAdmitted, outcome.Session = true, &own
	return nil
}

// parallel is the session of the same user that another tab of the browser has just begun, or nil.
// Pages of that tab are under way with its cookie, so it must not end. The tokens of this sign-in are as
// new as its own, and are not needed then; they are not revoked, because sign-ins in one session at Logto
// have one grant. After an attempt that had to authenticate the user again there is a new session in any
// case, or a copy of the other one would be worth more than before.
func (s *Sessions) parallel(ctx context.Context, x *Exchange, started *Attempt, session *Session) *Session {
	if started.NeedsOwnSession {
		return nil
	}
	// Not as the session of this request: what was revoked must not be taken away at Logto now, where the
	// new session shares its grant.
	found, err := s.store.load(ctx, x.Request)
	other := found.session
	if err != nil || other.Subject != session.Subject || other.LogtoSessionID != session.LogtoSessionID ||
		s.settings.Now().Sub(other.StartedAt) >= pagesUnderWay || !started.Before.isSucceededBy(s.BeforeOf(x, other)) {
		return nil
	}
	return other
}

// replace writes a new session and ends the earlier sessions of the browser.
func (s *Sessions) replace(ctx context.Context, x *Exchange, session *Session, cookies http.Header) error {
	// The code has been redeemed: what it yielded is kept even if the browser has gone.
	ctx = context.WithoutCancel(ctx)
	all, err := s.store.heldBy(ctx, x.Request)
	if err != nil {
		return err
	}
	written := http.Header{}
	if err := s.store.create(ctx, x.Request, written, session); err != nil {
		return err
	}
	s.noteOverwriting(all)
	ended, err := s.end(ctx, x.Request, s.byReplacement(session), all...)
	s.logUndeleted(ctx, err)
	cookies["Set-Cookie"] = slices.Concat(cookies["Set-Cookie"], ended.elsewhere, written["Set-Cookie"])
	s.RevokeAtLogto(ctx, ended)
	return nil
}
