package logtotest

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
)

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.ParseFS(templateFiles, "templates/*.html"))

// formPage is the sign-in or the register page.
type formPage struct {
	Query                 template.URL // of the links, so that the address stays complete
	Username, Name, Email string       // what the fields are filled with
	Message               string
}

type messagePage struct {
	Heading, Text string
	SignOut       string // the address, if the page has a link to it
}

type submitPage struct {
	Action     string
	Parameters url.Values
}

type signOutPage struct{ Action, XSRF string }

// consentPage asks for what a third-party application wants.
type consentPage struct {
	Query             template.URL
	Application, User string
	Scopes            []string
}

func showPage(w http.ResponseWriter, status int, name string, data any) {
	var body bytes.Buffer
	if err := templates.ExecuteTemplate(&body, name, data); err != nil {
		http.Error(w, "logtotest: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

func linkQuery(r *http.Request) template.URL {
	return template.URL(r.URL.Query().Encode())
}

// showForm shows the sign-in or the register page.
func showForm(w http.ResponseWriter, r *http.Request, status int, name string, page formPage) {
	page.Query = linkQuery(r)
	showPage(w, status, name, page)
}
