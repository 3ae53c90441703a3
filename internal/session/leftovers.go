package session

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/logtogin/logtogin/internal/anystore"
	"github.com/logtogin/logtogin/internal/web"
)

const (
	// maxPlaces bounds the places at which leftovers are looked for, each of which takes a microsecond or two.
	maxPlaces = 64
	// maxDeletions bounds the lines that delete leftovers, of about 100 bytes each.
	maxDeletions = 40
)

// leftover is a session that an earlier configuration has left in a browser, with another Domain or Path, and where
// browsers have its cookie.
type leftover struct {
	*Session
	name string // of its first cookie
	at   place
}

// leftovers returns the sessions that were sealed for another Domain or Path. This configuration rejects them. If
// the old configuration returns they are valid again, even after another user has signed in or out. entries are the ones
// of the request. A browser does not say where a cookie belongs, so all places are tried from which it is sent here
// (RFC 6265, section 5.4).
func (st *store) leftovers(ctx context.Context, r *http.Request, entries []*anystore.Entry) (found []leftover, err error) {
	for _, name := range []string{st.settings.Name, st.settings.OtherName} {
		if name == "" {
			break
		}
		if name != st.settings.Name {
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

func (st *store) openLeftover(r *http.Request, name string, entry *anystore.Entry) (found leftover, ok bool) {
	if opened, _ := st.open(entry); opened != nil || entry.Value == "" {
		return leftover{}, false
	}
	places := st.places(r)
	var contexts []string
	for _, at := range places {
		contexts = append(contexts, contextOf(name, at))
	}
	opened, i, err := st.decrypt(entry.Value, contexts...)
	if err != nil || st.isExpired(opened) || (entry.ID != "" && entry.ID != opened.ID) {
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
func (st *store) places(r *http.Request) (places []place) {
	for _, path := range pathsAbove(st.settings.Base.EscapedPath() + web.PathAndQuery(&url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath})) {
		for _, domain := range domainsAbove(st.settings.Base.Hostname()) {
			if len(places) < maxPlaces {
				places = append(places, place{domain, path})
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
		if own, _ := st.open(entry); own != nil && own.Format == FirstFormat {
			names = append(names, st.settings.Name)
		}
	}
	for _, old := range left {
		if old.Format == FirstFormat {
			names = append(names, old.name)
		}
	}
	for _, name := range slices.Compact(names) {
		for _, at := range st.places(r) {
			gone := http.Cookie{Name: name, Domain: at.domain, Path: at.path, MaxAge: -1, Secure: st.isSecure(name)}
			lines = append(lines, gone.String())
		}
	}
	return lines
}

// isSecure reports whether the deletion of a cookie is Secure: browsers refuse any other one of a name with a prefix.
func (st *store) isSecure(name string) bool {
	return st.settings.Cookie.Secure || strings.HasPrefix(name, "__")
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
