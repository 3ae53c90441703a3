package session

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/oauth"
)

// How sessions end before their time: here, at the other instances, in the browser and at Logto.

// overwrittenMemory is longer than a response is under way.
const overwrittenMemory = 10 * time.Minute

// reason is why a session ends before its time, as far as it makes a difference. The zero value is for sign-outs, also those
// of OnSignedIn. Leftovers have the reason of the session that takes them along.
type reason struct {
	// says is what the log says of it, "" if users have done it themselves.
	says string
	// isKnown says that the other instances are not notified, because they know the revocation that is the cause.
	isKnown bool
	// leavesToken reports whether the refresh token of a session stays good at Logto; nil: none stays good.
	leavesToken func(*Session) bool
}

var (
	bySignOut = reason{}
	// byRevocation is for a session that was revoked while the browser was away. A sign-out at Logto leaves its refresh token
	// alive.
	byRevocation = reason{says: "it was revoked", isKnown: true}
	// byRefusal is for a session that Logto does not renew.
	byRefusal = reason{
		says:        "Logto does not renew it: its user was suspended or deleted, or its refresh token has expired or was revoked, for example because of Maximum allowed grants",
		leavesToken: func(*Session) bool { return true },
	}
)

// byReplacement is for the sessions that a new one replaces in its browser. Logto shares the grant between the sign-ins of
// one browser, so the refresh token of the same user is left alone.
func (s *Sessions) byReplacement(session *Session) reason {
	return reason{leavesToken: func(old *Session) bool {
		return old.Subject == session.Subject && !s.revocations.wasLoggedOut(old)
	}}
}

// Ended are sessions that have ended.
type Ended struct {
	// Sessions are reported to the application. They had not expired, and they are no leftovers.
	Sessions []*Session

	withToken []*Session  // those whose refresh token is to be revoked
	here      http.Header // has the lines that delete cookies of this configuration
	elsewhere []string    // are the lines that delete leftovers
	isVain    func() bool // reports whether the browser may have another session by now
}

// end is where sessions end before their time, for any reason. It makes every copy of a cookie worthless, here and at the
// other instances: a request with a copy could otherwise write back the record that is deleted here. A refresh that is
// under way has either made its version known by then, or finds the session ended.
//
// Records in the store are deleted. RevokeAtLogto and DeleteCookies are left to the caller. The error is an
// ErrStoreUnavailable, with which the sessions have ended all the same.
func (s *Sessions) end(ctx context.Context, r *http.Request, why reason, all ...held) (ended Ended, err error) {
	ended.here = http.Header{}
	var first, others []string // of leftovers
	for _, one := range all {  // before any is deleted, which may take its time
		// A session that was revoked a moment ago, or has ended by itself, still has a refresh token to take away.
		if one.session != nil && !s.store.isExpired(one.session) {
			s.endOne(ctx, why, one, &ended)
		}
	}
	for _, one := range all {
		if one.entry == nil {
			continue
		}
		header, options := ended.here, s.store.attributes(time.Time{})
		if one.isLeftover {
			header = http.Header{}
			options.Domain, options.Path, options.Secure = one.at.domain, one.at.path, s.store.isSecure(one.name)
		}
		if failure := s.store.sessions.Delete(ctx, r, header, one.entry, options); failure != nil {
			err = errors.Join(err, s.store.unwritable(failure))
		}
		if lines := header["Set-Cookie"]; one.isLeftover && len(lines) > 0 {
			first, others = append(first, lines[0]), append(others, lines[1:]...) // without the first piece they are worth nothing
		}
	}
	ended.elsewhere = s.store.deletionsElsewhere(r, all, append(first, others...))
	return ended, err
}

// endOne ends a session that the browser holds. Only who ends it first tells the application and revokes the token.
func (s *Sessions) endOne(ctx context.Context, why reason, one held, ended *Ended) {
	session := one.session
	made := Revocation{Kind: revokeSession, Name: session.ID, expires: session.Expires}
	isFirst := s.revocations.endOnce(session)
	if why.isKnown {
		s.revocations.apply(made)
	} else {
		s.revocations.Record(ctx, made)
	}
	if isFirst && why.says != "" {
		s.settings.Logger.InfoContext(ctx, "logtogin: a session has ended, because "+why.says, "sub", session.Subject)
	}
	if isFirst {
		newest := s.versions.newestAnywhere(ctx, session)
		if !one.isLeftover && !s.store.isOutOfTime(newest) {
			ended.Sessions = append(ended.Sessions, newest)
		}
		if why.leavesToken == nil || !why.leavesToken(newest) {
			ended.withToken = append(ended.withToken, newest)
		}
	}
	s.versions.forget(ctx, session)
}

// RevokeAtLogto makes the refresh tokens of sessions worthless at Logto (RFC 7009), which would
// otherwise outlive them. It waits two seconds at most, and its failure stops nothing.
func (s *Sessions) RevokeAtLogto(ctx context.Context, ended Ended) {
	ctx, cancel := context.WithTimeout(ctx, oauth.RevocationTimeout) // for all of them
	defer cancel()
	for _, session := range ended.withToken {
		if session.RefreshToken == "" {
			continue
		}
		if err := s.settings.Logto.Revoke(ctx, session.RefreshToken); err != nil {
			s.settings.Logger.WarnContext(ctx, "logtogin: the refresh token could not be revoked", "error", err)
		}
	}
}

// logUndeleted logs the error of end, or of remove, where no user can be told.
func (s *Sessions) logUndeleted(ctx context.Context, err error) {
	if err != nil {
		s.settings.Logger.ErrorContext(ctx, "logtogin: the record of a session that has ended could not be deleted; its cookie may be good on other instances", "error", err)
	}
}

// End ends the sessions that the browser has, and the one that this very request has brought about, if any. Their cookies
// and their refresh tokens are still there.
func (s *Sessions) End(ctx context.Context, x *Exchange) (Ended, error) {
	ctx = context.WithoutCancel(ctx)
	all, err := s.store.heldBy(ctx, x.Request)
	if err != nil {
		return Ended{isVain: never}, err
	}
	if created := s.createdHere(x); created != nil {
		all = append([]held{s.store.hold(created)}, all...)
	}
	isVain := s.noteOverwriting(all) // before anything that takes its time: a sign-in may come in between
	ended, err := s.end(ctx, x.Request, bySignOut, all...)
	ended.isVain = isVain
	return ended, err
}

// clearRevoked ends sessions that were revoked while the browser was away. It waits for Logto, two seconds at most: a
// sign-in that follows shares the grant at Logto, and its code would go with the token. The browser keeps the cookies: a
// sign-in overwrites them, and nothing else can be sure that they are still there.
func (s *Sessions) clearRevoked(ctx context.Context, r *http.Request, revoked []held) {
	if len(revoked) == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	ended, err := s.end(ctx, r, byRevocation, revoked...)
	s.logUndeleted(ctx, err)
	s.RevokeAtLogto(ctx, ended)
}

// endRefused ends a session that Logto does not renew.
func (s *Sessions) endRefused(ctx context.Context, r *http.Request, session *Session) error {
	_, err := s.end(ctx, r, byRefusal, s.store.hold(session))
	s.logUndeleted(ctx, err)
	return &RefusedError{refused: session}
}

// DeleteCookies makes the browser forget sessions that have ended, unless it has another one by
// now. The error is ErrResponseStarted, with which the browser keeps a worthless cookie.
func (s *Sessions) DeleteCookies(x *Exchange, ended Ended) error {
	x.Response.DependOnSession(true)
	// What this very response has set goes in any case.
	x.Response.Change(func(header http.Header) { cookiestore.ReplaceCookies(header, s.settings.Name, nil) })
	// Leftovers come first, because some browsers take a cookie of the host alone for one of its Domain (RFC 6265, section 5.3).
	lines := slices.Concat(ended.elsewhere, ended.here["Set-Cookie"])
	return s.setCookies(x, http.Header{"Set-Cookie": lines}, ended.isVain, s.settings.Name)
}

// noteOverwriting remembers that a response overwrites or deletes these cookies, and
// returns whether another one has come in between: the browser may have a newer session then.
func (s *Sessions) noteOverwriting(all []held) (isOvertaken func() bool) {
	number, until := s.overwrites.Add(1), s.settings.Now().Add(overwrittenMemory)
	var ids []string
	for _, one := range all {
		id := ""
		switch {
		case one.session != nil:
			id = one.session.ID
		case one.entry != nil:
			id = one.entry.ID
		}
		if id == "" { // of no session that can be told from others
			continue
		}
		ids = append(ids, id)
		s.overwritten.Put(id, number, until)
	}
	return func() bool {
		return slices.ContainsFunc(ids, func(id string) bool {
			last, ok := s.overwritten.Get(id)
			return ok && last != number
		})
	}
}
