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

// Sessions that an earlier configuration has left in a browser, with another Cookies.Domain or Path.

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
			gone := http.Cookie{Name: name, Domain: place.Domain, Path: place.Path, MaxAge: -1, Secure: st.isSecure(name)}
			lines = append(lines, gone.String())
		}
	}
	return lines
}

// isSecure reports whether the deletion of a cookie is Secure: browsers refuse any other one of a name with a prefix.
func (st *store) isSecure(name string) bool {
	return st.options.Secure || strings.HasPrefix(name, "__")
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
		options.Domain, options.Path, options.Secure = old.place.Domain, old.place.Path, st.isSecure(old.name)
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
