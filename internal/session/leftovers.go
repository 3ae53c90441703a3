package session

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/logtogin/logtogin/internal/web"
)

const (
	// maxPlaces bounds the places at which leftovers are looked for, each of which takes a microsecond or two.
	maxPlaces = 64
	// maxDeletions bounds the lines that delete leftovers, of about 100 bytes each.
	maxDeletions = 40
)

// heldBy returns what the browser has of sessions. It is more than one if it has kept cookies of another path or domain.
func (st *store) heldBy(ctx context.Context, r *http.Request) (all []held, err error) {
	for _, name := range []string{st.settings.Name, st.settings.OtherName} {
		if name == "" {
			break
		}
		for entry, err := range st.sessions.Each(ctx, r, name) {
			if err != nil {
				return nil, unreadable(err)
			}
			one := held{entry: entry, name: name}
			if one.session, _ = st.open(entry); one.session == nil {
				one = st.openLeftover(r, one)
			}
			if one.isLeftover || name == st.settings.Name {
				all = append(all, one)
			}
		}
	}
	return all, nil
}

// openLeftover opens a session that was sealed for another Domain or Path, which this configuration rejects. If the old
// configuration returns it is valid again, even after another user has signed in or out. A browser does not say where a
// cookie belongs, so all places are tried from which it is sent here (RFC 6265, section 5.4).
func (st *store) openLeftover(r *http.Request, unopened held) held {
	sealed, id := unopened.entry.Value, unopened.entry.ID
	if sealed == "" {
		return unopened
	}
	places := st.places(r)
	var contexts []string
	for _, at := range places {
		contexts = append(contexts, contextOf(unopened.name, at))
	}
	opened, i, err := st.decrypt(sealed, contexts...)
	if err != nil || st.isExpired(opened) || (id != "" && id != opened.ID) {
		return unopened
	}
	return held{opened, unopened.entry, unopened.name, true, places[i]}
}

// places are the places from which browsers send cookies with the request.
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

// deletionsElsewhere are the lines that delete sessions of the first format, which does not say where the cookie is, and
// the lines that delete leftovers.
func (st *store) deletionsElsewhere(r *http.Request, all []held, ofLeftovers []string) (lines []string) {
	for _, one := range all {
		if one.session == nil || one.session.Format != FirstFormat {
			continue
		}
		for _, at := range st.places(r) {
			gone := http.Cookie{Name: one.name, Domain: at.domain, Path: at.path, MaxAge: -1, Secure: st.isSecure(one.name)}
			lines = append(lines, gone.String())
		}
	}
	var different []string
	for _, line := range append(lines, ofLeftovers...) {
		if len(different) < maxDeletions && !slices.Contains(different, line) {
			different = append(different, line)
		}
	}
	return different
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
