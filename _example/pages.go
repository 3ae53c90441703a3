package main

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

// section is a part of the application that the navigation leads to.
type section struct{ Path, Name, Text string }

var sections = []section{
	{"/profile", "Profile", "What Logto tells about you, and how to sign out everywhere."},
	{"/teams", "Teams", "Your organizations, and what you may do in each."},
	{"/rights", "Rights", "Pages that need a role, an organization or a fresh sign-in."},
	{"/tokens", "Tokens", "The access tokens that this application gets for you."},
	{"/calls", "API", "Calls of this application's API, made for you."},
}

// page is what every template is given.
type page struct {
	Title  string
	Path   string
	Claims *logtogin.Claims // nil for a visitor
	Data   any
}

func (page) Sections() []section { return sections }

// Current is the value of aria-current for a link in the navigation.
func (p page) Current(path string) string {
	switch {
	case p.Path == path:
		return "page"
	case strings.HasPrefix(p.Path, path+"/"):
		return "true"
	}
	return ""
}

func show(c *gin.Context, name, title string, data any) {
	claims, _ := logtogin.ClaimsFrom(c)
	render(c, http.StatusOK, name, page{Title: title, Claims: claims, Data: data})
}

func render(c *gin.Context, status int, name string, p page) {
	p.Path = c.Request.URL.Path
	c.HTML(status, name, p)
}

func (a *application) addPages(router gin.IRouter) {
	router.GET("/", a.auth.Optional(), showHome)
	router.GET("/profile", a.auth.Guard(), a.showProfile)
	router.GET("/protected", a.auth.Guard(), showProtected)
}

func showHome(c *gin.Context) {
	title := "Welcome"
	if claims, ok := logtogin.ClaimsFrom(c); ok {
		title = "Hello, " + nameOf(claims)
	}
	show(c, "home.html", title, nil)
}

type row struct{ Label, Claim, Value string }

func (a *application) showProfile(c *gin.Context) {
	claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
	rows := []row{
		{"User ID", "sub", claims.Subject},
		{"Name", "name", claims.Name},
		{"Username", "username", claims.Username},
		{"E-mail", "email", claims.Email},
		{"E-mail verified", "email_verified", yesNo(claims.EmailVerified)},
		{"Phone", "phone_number", claims.PhoneNumber},
		{"Roles", "roles", strings.Join(claims.Roles, ", ")},
		{"Organizations", "organizations", strings.Join(claims.Organizations, ", ")},
		{"Account created", "created_at", readable(claims.CreatedAt)},
		{"Issued by", "iss", claims.Issuer},
		{"Issued for", "aud", strings.Join(claims.Audience, ", ")},
		{"Issued at", "iat", readable(claims.IssuedAt)},
		{"Expires", "exp", readable(claims.Expiry)},
	}
	var profile struct {
		Rows             []row
		Claims, UserInfo string
		Failed           bool
	}
	for _, row := range rows {
		if claims.Has(row.Claim) {
			profile.Rows = append(profile.Rows, row)
		}
	}
	profile.Claims = indented(claims)
	switch info, err := a.auth.UserInfo(c); {
	case err == nil:
		profile.UserInfo = indented(info)
	case logtogin.StatusCode(err) == http.StatusUnauthorized: // the session has just ended
		a.auth.Refuse(c, err)
		return
	default:
		slog.ErrorContext(c.Request.Context(), "cannot fetch user info", "error", err)
		profile.Failed = true
	}
	show(c, "profile.html", "Your profile", profile)
}

func showProtected(c *gin.Context) {
	show(c, "protected.html", "Protected page", struct {
		Address, Page string
		Pages         []string
	}{c.Request.URL.RequestURI(), c.DefaultQuery("page", "1"), []string{"1", "2", "3"}})
}

func showNotFound(c *gin.Context) {
	claims, _ := logtogin.ClaimsFrom(c)
	render(c, http.StatusNotFound, "not-found.html", page{Title: "Page not found", Claims: claims})
}

// nameOf is how a user is addressed.
func nameOf(claims *logtogin.Claims) string {
	return cmp.Or(claims.Name, claims.Username, claims.Subject)
}

// indented shows claims as Logto sent them: their MarshalJSON adds nothing and
// leaves nothing out.
func indented(claims json.Marshaler) string {
	text, err := json.MarshalIndent(claims, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func readable(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006, 15:04:05 UTC")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
