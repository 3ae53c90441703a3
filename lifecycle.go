package logtogin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/session"
)

// How a session begins in a browser and how it ends: a sign-in replaces it, a sign-out ends it, and both end what
// earlier configurations have left.

// createSession writes a new session and ends the ones that the browser had; it returns these, and
// the cookies that the browser is to get, which setCookies gives it. If the store has too little
// room, access tokens are given up.
func (st *store) createSession(ctx context.Context, x *exchange, record *session.Session) (cookies http.Header, replaced []*session.Session, err error) {
	// The code has been redeemed: what it yielded is kept even if the browser
	// has gone.
	ctx = context.WithoutCancel(ctx)
	entries, err := st.entriesOf(ctx, x.request, st.sessionName)
	if err != nil {
		return nil, nil, err
	}
	left, err := st.leftovers(ctx, x.request, entries)
	if err != nil {
		return nil, nil, err
	}
	sealed := func(id string) string {
		record.ID = id
		return st.sessionSealer.Seal(record.Encode(), st.sessionContext)
	}
	cookies = http.Header{}
	for {
		record.Entry, err = st.sessions.Create(ctx, x.request, cookies, st.sessionName, record.ID, st.attributes(record.Expires), sealed)
		smaller, ok := record.WithoutAccessToken()
		if !errors.Is(err, anystore.ErrTooLong) || !ok {
			break
		}
		*record = *smaller
	}
	if err != nil {
		return nil, nil, st.unwritable(err)
	}
	st.noteOverwriting(entries)
	for _, entry := range withoutLeftovers(entries, left) {
		if old, _ := st.openSession(entry); old != nil && !st.isExpired(old) { // also one without activity
			if newest, isFirst := st.end(ctx, old); isFirst {
				replaced = append(replaced, newest)
			}
		}
		if err := st.removeRecord(ctx, x.request, entry); err != nil {
			st.s.Logger.ErrorContext(ctx, "logtogin: the session that a new one has replaced could not be deleted; its cookie may be good on other instances", "error", err)
		}
	}
	ended, err := st.endLeftovers(ctx, x.request, entries, left, cookies)
	if err != nil {
		st.s.Logger.ErrorContext(ctx, "logtogin: a session of an earlier configuration could not be deleted", "error", err)
	}
	return cookies, append(replaced, ended...), nil
}

// endSession ends the sessions that the browser has, and the one that this very response has given it, if any. It returns
// the ended sessions, the ones whose time was over already, and the cookies that delete them in the browser. isVain says
// whether the browser may have another session by now.
func (st *store) endSession(ctx context.Context, x *exchange, created *session.Session) (ended, outOfTime []*session.Session, cookies http.Header, isVain func() bool, err error) {
	ctx = context.WithoutCancel(ctx)
	entries, err := st.entriesOf(ctx, x.request, st.sessionName)
	if err != nil {
		return nil, nil, nil, never, err
	}
	left, err := st.leftovers(ctx, x.request, entries)
	if err != nil {
		return nil, nil, nil, never, err
	}
	if created != nil {
		if newest, isFirst := st.end(ctx, created); isFirst {
			ended = append(ended, newest)
		}
		if created.Entry != nil { // it is not yet saved while the application is asked
			entries = append(entries, created.Entry)
		}
	}
	for _, entry := range entries {
		found, _ := st.openSession(entry)
		if found == nil || st.isExpired(found) {
			continue
		}
		// A session that was revoked a moment ago, or has ended by itself, still has a refresh token to take away.
		newest, isFirst := st.end(ctx, found)
		switch {
		case !isFirst: // another sign-out does that
		case st.isOutOfTime(newest):
			outOfTime = append(outOfTime, newest)
		default:
			ended = append(ended, newest)
		}
	}
	isVain = st.noteOverwriting(entries)
	cookies = http.Header{}
	for _, entry := range withoutLeftovers(entries, left) {
		if failure := st.sessions.Delete(ctx, x.request, cookies, entry, st.attributes(time.Time{})); failure != nil {
			err = errors.Join(err, st.unwritable(failure))
		}
	}
	before, failure := st.endLeftovers(ctx, x.request, entries, left, cookies)
	return ended, append(outOfTime, before...), cookies, isVain, errors.Join(err, failure)
}

// noteOverwriting remembers that a response overwrites or deletes the cookies of these entries, and
// returns whether another one has come in between: the browser may have a newer session then.
func (st *store) noteOverwriting(entries []*anystore.Entry) (isOvertaken func() bool) {
	number, until := st.overwrites.Add(1), st.s.Now().Add(overwrittenMemory)
	var ids []string
	for _, entry := range entries {
		id := entry.ID()
		if found, _ := st.openSession(entry); found != nil {
			id = found.ID
		}
		if id == "" { // of no session that can be told from others
			continue
		}
		ids = append(ids, id)
		st.overwritten.Put(id, number, until)
	}
	return func() bool {
		return slices.ContainsFunc(ids, func(id string) bool {
			last, ok := st.overwritten.Get(id)
			return ok && last != number
		})
	}
}
