// Package page has the pages that a user can meet on our routes, as HTML. They get plain strings and escape them.
// They load nothing, so that nothing of the address leaks (RFC 9700, section 4.2.4), and have no script, so that every
// Content-Security-Policy allows them. html.EscapeString is enough for elements and quoted attributes. With
// html/template, which calls methods by name, the linker would keep all methods, 6.6 MB in every application.
package page

import (
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"
)

// layout has gaps for meta elements, the title and what follows it.
const layout = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
%[1]s<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%[2]s</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto 0; padding: 0 1.5rem }
h1 { font-size: 1.5rem }
.button { display: inline-block; font: inherit; padding: .6rem 1.2rem; border: 1px solid; border-radius: .4rem; color: inherit; background: none; text-decoration: none; cursor: pointer }
.detail { color: GrayText; font-size: .9rem; overflow-wrap: anywhere }
</style>
</head>
<body>
<main>
<h1>%[2]s</h1>
%[3]s</main>
</body>
</html>
`

// Document is a page that is ready to be sent. The zero value is none.
type Document struct {
	// HTML is the body of the response. It is UTF-8 if the texts of the page are.
	HTML           []byte
	referrerPolicy string
}

// SetHeader sets the header fields that protect the page. Status, Content-Type and the rules for caches are up to the
// caller.
func (d Document) SetHeader(header http.Header) {
	header.Set("Referrer-Policy", d.referrerPolicy)
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
}

// Error is the content of a page that says what happened and offers ways on. It takes none by itself, because that
// could go on for ever. A field that is "" is left out.
type Error struct {
	// Title and Advice tell the user what happened and what to do.
	Title, Advice string
	// Detail is for the developer.
	Detail string
	// Retry is the address of the same again, for a cause that goes away without the user.
	Retry string
	// SignIn is the address of a sign-in, for a cause that another one may remove.
	SignIn string
	// SignOut is the address of the sign-out that lets another user sign in.
	SignOut string
	// InNewTab says that SignOut does not lead back: this page stays open beside it.
	InNewTab bool
	// Start is the address of a page that does not lead back here.
	Start string
}

// Document is the page with this content.
func (e Error) Document() Document {
	body := "<p>" + escape(e.Advice) + "</p>\n"
	if e.Detail != "" {
		body += `<p class="detail">` + escape(e.Detail) + "</p>\n"
	}
	signOut, attributes := "Use another account", ""
	if e.InNewTab {
		signOut, attributes = "Sign out, in a new tab", ` target="_blank" rel="noopener"`
	}
	return compose(e.Title, "", body+button("Try again", e.Retry, "")+button(signOut, e.SignOut, attributes)+
		button("Sign in", e.SignIn, "")+button("Go to the start page", e.Start, ""))
}

const waiting = `<p role="status">A sign-in is under way in this browser, perhaps in another tab. This page goes on by itself when it is finished.</p>
`

// Waiting is shown while another tab signs in. It goes to the address next after a pause, in whole seconds. A user who
// does not want to wait follows signIn.
func Waiting(next string, pause time.Duration, signIn string) Document {
	return compose("One moment", "<meta name=\"robots\" content=\"noindex\">\n"+refresh(next, pause), waiting+button("Sign in here", signIn, ""))
}

// Leaving leads on to an address at Logto, as a redirect would that no form-action could stop.
func Leaving(address string) Document {
	return compose("Signing out", refresh(address, 0), "<p>You are signed out of this application.</p>\n"+button("Continue", address, ""))
}

// SignOut asks a user who came from another site whether to sign out: a link or a redirect over there must not do it by
// itself. The form sends POST to the address.
func SignOut(address string) Document {
	asked := compose("Sign out?", "", fmt.Sprintf("<form method=\"post\" action=\"%s\"><button class=\"button\">Sign out</button></form>\n", escape(address)))
	asked.referrerPolicy = "same-origin" // "no-referrer" would make the Origin of the POST "null"
	return asked
}

func compose(title, meta, body string) Document {
	return Document{fmt.Appendf(nil, layout, meta, escape(title), body), "no-referrer"}
}

// button is a link, or "" without an address.
func button(text, address, attributes string) string {
	if address == "" {
		return ""
	}
	return fmt.Sprintf("<p><a class=\"button\" href=\"%s\"%s>%s</a></p>\n", escape(address), attributes, text)
}

func refresh(address string, pause time.Duration) string {
	return fmt.Sprintf("<meta http-equiv=\"refresh\" content=\"%d; url=%s\">\n", int(pause.Seconds()), escape(address))
}

// escape also replaces NUL, which browsers drop from a text.
func escape(text string) string {
	return html.EscapeString(strings.ReplaceAll(text, "\x00", "\ufffd"))
}
