package session

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/cookiestore"
	"github.com/logtogin/logtogin/internal/oauth"
)

// How sessions end before their time: here, at the other instances, in the browser and at Logto.

// overwrittenMemory is longer than a response is under way.
const overwrittenMemory = 10 * time.Minute

// end makes every copy of the session's cookie worthless, here and at the other instances:
// one of them could be about to write the record again that is deleted here.
//
// It returns the newest version, whose refresh token is the one to take away, if nobody has ended the
// session before. A refresh that is under way has either made that version known by then, or finds the
// session ended.
func (s *Sessions) end(ctx context.Context, session *Session) (newest *Session, isFirst bool) {
	isFirst = s.revocations.endOnce(session)
	s.revocations.Record(ctx, Revocation{Kind: revokeSession, Name: session.ID, expires: session.Expires})
	if isFirst {
		newest = s.versions.newestAnywhere(ctx, session)
	}
	s.versions.forget(ctx, session)
	return newest, isFirst
}

// RevokeAtLogto makes the refresh tokens of sessions worthless at Logto (RFC 7009), which would
// otherwise outlive them. It waits two seconds at most, and its failure stops nothing.
func (s *Sessions) RevokeAtLogto(ctx context.Context, ended []*Session) {
	ctx, cancel := context.WithTimeout(ctx, oauth.RevocationTimeout) // for all of them
	defer cancel()
	for _, session := range ended {
		if session.RefreshToken == "" {
			continue
		}
		if err := s.settings.Logto.Revoke(ctx, session.RefreshToken); err != nil {
			s.settings.Logger.WarnContext(ctx, "logtogin: the refresh token could not be revoked", "error", err)
		}
	}
}

// requestEntries are the entries of a request, and the ones of them that an earlier configuration has left.
type requestEntries struct {
	entries []*anystore.Entry
	left    []leftover
}

func (s *Sessions) find(ctx context.Context, r *http.Request) (f requestEntries, err error) {
	if f.entries, err = s.store.entriesOf(ctx, r, s.settings.Name); err == nil {
		f.left, err = s.store.leftovers(ctx, r, f.entries)
	}
	return f, err
}

// Ended are the sessions of a browser that a sign-out has ended.
type Ended struct {
	Sessions  []*Session
	OutOfTime []*Session // whose time was over already

	cookies http.Header // which delete them in the browser
	isVain  func() bool // whether the browser may have another session by now
}

// End ends the sessions that the browser has, and the one that this very request has brought about, if any. Their cookies
// and their refresh tokens are still there.
func (s *Sessions) End(ctx context.Context, x *Exchange) (ended Ended, err error) {
	ctx = context.WithoutCancel(ctx)
	ended = Ended{cookies: http.Header{}, isVain: never}
	f, err := s.find(ctx, x.Request)
	if err != nil {
		return ended, err
	}
	if created := s.createdHere(x); created != nil {
		if newest, isFirst := s.end(ctx, created); isFirst {
			ended.Sessions = append(ended.Sessions, newest)
		}
		if created.Entry != nil { // it is not yet saved while the application is asked
			f.entries = append(f.entries, created.Entry)
		}
	}
	for _, entry := range f.entries {
		session, _ := s.store.open(entry)
		if session == nil || s.store.isExpired(session) {
			continue
		}
		// A session that was revoked a moment ago, or has ended by itself, still has a refresh token to take away.
		newest, isFirst := s.end(ctx, session)
		switch {
		case !isFirst: // another sign-out does that
		case s.store.isOutOfTime(newest):
			ended.OutOfTime = append(ended.OutOfTime, newest)
		default:
			ended.Sessions = append(ended.Sessions, newest)
		}
	}
	ended.isVain = s.noteOverwriting(f.entries)
	for _, entry := range withoutLeftovers(f.entries, f.left) {
		if failure := s.store.sessions.Delete(ctx, x.Request, ended.cookies, entry, s.store.attributes(time.Time{})); failure != nil {
			err = errors.Join(err, s.store.unwritable(failure))
		}
	}
	before, failure := s.endLeftovers(ctx, x.Request, f, ended.cookies)
	ended.OutOfTime = append(ended.OutOfTime, before...)
	return ended, errors.Join(err, failure)
}

// DeleteCookies makes the browser forget sessions that have ended, unless it has another one by
// now. The error is ErrResponseStarted, with which the browser keeps a worthless cookie.
func (s *Sessions) DeleteCookies(x *Exchange, ended Ended) error {
	x.Response.DependOnSession(true)
	// What this very response has set goes in any case.
	x.Response.Change(func(header http.Header) { cookiestore.ReplaceCookies(header, s.settings.Name, nil) })
	return s.setCookies(x, ended.cookies, ended.isVain, s.settings.Name)
}

// endLeftovers ends the leftovers and makes the browser forget them, by lines that come before the ones in cookies. It
// returns the sessions whose refresh token is to be revoked.
func (s *Sessions) endLeftovers(ctx context.Context, r *http.Request, f requestEntries, cookies http.Header) (ended []*Session, err error) {
	first := s.store.deletionsOfFirstFormat(r, f.entries, f.left)
	var others []string
	for _, old := range f.left {
		if newest, isFirst := s.end(ctx, old.Session); isFirst {
			ended = append(ended, newest)
		}
		deleted, options := http.Header{}, s.store.attributes(time.Time{})
		options.Domain, options.Path, options.Secure = old.at.domain, old.at.path, s.store.isSecure(old.name)
		if failure := s.store.sessions.Delete(ctx, r, deleted, old.Entry, options); failure != nil {
			err = errors.Join(err, s.store.unwritable(failure))
		}
		for _, line := range deleted["Set-Cookie"] {
			if strings.HasPrefix(line, old.name+"=") {
				first = append(first, line)
			} else { // without the first piece it is worth nothing
				others = append(others, line)
			}
		}
	}
	var lines []string
	for _, line := range append(first, others...) {
		if len(lines) < maxDeletions && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	// First, because some browsers take a cookie of the host alone for one of its Domain (RFC 6265, section 5.3).
	if len(lines) > 0 {
		cookies["Set-Cookie"] = append(lines, cookies["Set-Cookie"]...)
	}
	return ended, err
}

// noteOverwriting remembers that a response overwrites or deletes the cookies of these entries, and
// returns whether another one has come in between: the browser may have a newer session then.
func (s *Sessions) noteOverwriting(entries []*anystore.Entry) (isOvertaken func() bool) {
	number, until := s.overwrites.Add(1), s.settings.Now().Add(overwrittenMemory)
	var ids []string
	for _, entry := range entries {
		id := entry.ID
		if session, _ := s.store.open(entry); session != nil {
			id = session.ID
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
