package logtogin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/session"
	"github.com/logtogin/logtogin/internal/web"
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

const (
	// maxPlaces bounds the places at which leftovers are looked for, each of which takes a microsecond or two.
	maxPlaces = 64
	// maxDeletions bounds the lines that delete leftovers, of about 100 bytes each.
	maxDeletions = 40
)

// leftovers returns the sessions that were sealed for another Cookies.Domain or Path. This configuration rejects them. If
// the old configuration returns they are valid again, even after another user has signed in or out. entries are the ones
// of the request. A browser does not say where a cookie belongs, so all places are tried from which it is sent here
// (RFC 6265, section 5.4).
func (st *store) leftovers(ctx context.Context, r *http.Request, entries []*anystore.Entry) (found []leftover, err error) {
	names := []string{st.sessionName}
	// The default name depends on Domain and Path.
	if rest, ok := strings.CutPrefix(st.sessionName, boundCookieName+"_"); ok {
		names = append(names, defaultCookieName+"_"+rest)
	} else if rest, ok := strings.CutPrefix(st.sessionName, defaultCookieName+"_"); ok {
		names = append(names, boundCookieName+"_"+rest)
	}
	for i, name := range names {
		if i > 0 {
			if entries, err = st.entriesOf(ctx, r, name); err != nil {
				return nil, err
			}
		}
		for _, entry := range entries {
			if left, ok := st.openLeftover(r, name, entry); ok {
				found = append(found, left)
			}
		}
	}
	return found, nil
}

// leftover is a session and where browsers have its cookie.
type leftover struct {
	*session.Session
	name  string // of its first cookie
	place CookieOptions
}

func (st *store) openLeftover(r *http.Request, name string, entry *anystore.Entry) (found leftover, ok bool) {
	if opened, _ := st.openSession(entry); opened != nil || entry.Value == "" {
		return leftover{}, false
	}
	places := st.places(r)
	var contexts []string
	for _, place := range places {
		contexts = append(contexts, sessionContext(name, place))
	}
	opened, i, err := st.decrypt(entry.Value, contexts...)
	if err != nil || st.isExpired(opened) || (entry.ID() != "" && entry.ID() != opened.ID) {
		return leftover{}, false
	}
	opened.Entry = entry
	return leftover{opened, name, places[i]}, true
}

// withoutLeftovers are the entries that are no leftovers.
func withoutLeftovers(entries []*anystore.Entry, left []leftover) []*anystore.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(entry *anystore.Entry) bool {
		return slices.ContainsFunc(left, func(old leftover) bool { return old.Entry == entry })
	})
}

// places are the ones from which browsers send cookies with the request.
func (st *store) places(r *http.Request) (places []CookieOptions) {
	for _, path := range pathsAbove(st.s.basePath + web.PathAndQuery(&url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath})) {
		for _, domain := range domainsAbove(st.s.base.Hostname()) {
			if len(places) < maxPlaces {
				places = append(places, CookieOptions{Domain: domain, Path: path})
			}
		}
	}
	return places
}

// deletionsOfFirstFormat are the lines that delete sessions of the first format, which does not say where the cookie is.
// Without its first piece it is worth nothing.
func (st *store) deletionsOfFirstFormat(r *http.Request, entries []*anystore.Entry, left []leftover) (lines []string) {
	var names []string
	for _, entry := range entries {
		if own, _ := st.openSession(entry); own != nil && own.Format == session.FirstFormat {
			names = append(names, st.sessionName)
		}
	}
	for _, old := range left {
		if old.Format == session.FirstFormat {
			names = append(names, old.name)
		}
	}
	for _, name := range slices.Compact(names) {
		for _, place := range st.places(r) {
			gone := http.Cookie{Name: name, Domain: place.Domain, Path: place.Path, MaxAge: -1, Secure: st.options.Secure || strings.HasPrefix(name, "__")}
			lines = append(lines, gone.String())
		}
	}
	return lines
}

// endLeftovers ends these sessions and makes the browser forget them. It returns the ones whose refresh token is to be
// revoked. entries are all of the request.
func (st *store) endLeftovers(ctx context.Context, r *http.Request, entries []*anystore.Entry, left []leftover, cookies http.Header) (ended []*session.Session, err error) {
	first := st.deletionsOfFirstFormat(r, entries, left)
	var others []string
	for _, old := range left {
		if newest, isFirst := st.end(ctx, old.Session); isFirst {
			ended = append(ended, newest)
		}
		deleted, options := http.Header{}, st.attributes(time.Time{})
		options.Domain, options.Path = old.place.Domain, old.place.Path
		options.Secure = options.Secure || strings.HasPrefix(old.name, "__") // else browsers refuse the deletion, too
		if failure := st.sessions.Delete(ctx, r, deleted, old.Entry, options); failure != nil {
			err = errors.Join(err, st.unwritable(failure))
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

// domainsAbove are the values of Domain with which cookies are sent to a host, "" first.
func domainsAbove(host string) []string {
	domains := []string{"", host}
	for net.ParseIP(host) == nil && strings.Count(host, ".") > 1 {
		_, host, _ = strings.Cut(host, ".")
		domains = append(domains, host)
	}
	return domains
}

// pathsAbove are the values of Path with which cookies are sent to a path, "/" first.
func pathsAbove(path string) []string {
	paths := []string{"/"}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			paths = append(paths, path[:i], path[:i+1])
		}
	}
	if path != "" && !strings.HasSuffix(path, "/") {
		paths = append(paths, path)
	}
	return paths
}
