package main

import (
	"cmp"
	"embed"
	"encoding/json"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

//go:embed templates/*.html static/*
var files embed.FS

// newApp is the application with all its routes.
func newApp(cfg logtogin.Config) (*gin.Engine, *logtogin.Auth, error) {
	templates, err := template.ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, nil, err
	}
	router := gin.New()
	if err := router.SetTrustedProxies(nil); err != nil {
		return nil, nil, err
	}
	router.SetHTMLTemplate(templates)
	// The query of the callback holds the authorization code, which does not
	// belong into a log.
	router.Use(gin.LoggerWithConfig(gin.LoggerConfig{SkipQueryString: true}), gin.Recovery(), secureHeaders)

	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		return nil, nil, err
	}
	router.GET("/", auth.Optional(), showHome(auth))
	router.GET("/profile", auth.Guard(), showProfile)
	router.GET("/protected", auth.Guard(), showProtected)
	router.NoRoute(auth.Optional(), showNotFound)
	for _, name := range []string{"static/style.css", "static/icon.svg"} {
		router.StaticFileFS("/"+name, name, http.FS(files))
	}
	return router, auth, nil
}

func secureHeaders(c *gin.Context) {
	// No form-action: browsers apply it to redirects too, and the sign-out
	// form is redirected to Logto.
	c.Header("Content-Security-Policy", "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'")
	c.Header("Referrer-Policy", "same-origin")
	c.Header("X-Content-Type-Options", "nosniff")
}

// page is what every template is given.
type page struct {
	Title  string
	Path   string
	Claims *logtogin.Claims // nil for a visitor
	Data   any
}

func show(c *gin.Context, status int, name, title string, data any) {
	claims, _ := logtogin.ClaimsFrom(c)
	c.HTML(status, name, page{Title: title, Path: c.Request.URL.Path, Claims: claims, Data: data})
}

func showHome(auth *logtogin.Auth) gin.HandlerFunc {
	return func(c *gin.Context) {
		claims, ok := logtogin.ClaimsFrom(c)
		if !ok {
			show(c, http.StatusOK, "visitor.html", "Welcome", nil)
			return
		}
		var home struct {
			Claims, UserInfo string
			Failed           bool
		}
		home.Claims = indented(claims)
		switch info, err := auth.UserInfo(c); {
		case err == nil:
			home.UserInfo = indented(info)
		case logtogin.StatusCode(err) == http.StatusUnauthorized: // the session has just ended
			auth.Refuse(c, err)
			return
		default:
			slog.ErrorContext(c.Request.Context(), "cannot fetch user info", "error", err)
			home.Failed = true
		}
		name := cmp.Or(claims.Name, claims.Username, claims.Subject)
		show(c, http.StatusOK, "home.html", "Hello, "+name, home)
	}
}

type claimRow struct{ Label, Claim, Value string }

func showProfile(c *gin.Context) {
	claims := c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims)
	rows := []claimRow{
		{"User ID", "sub", claims.Subject},
		{"Name", "name", claims.Name},
		{"Username", "username", claims.Username},
		{"E-mail", "email", claims.Email},
		{"E-mail verified", "email_verified", yesNo(claims.EmailVerified)},
		{"Phone", "phone_number", claims.PhoneNumber},
		{"Roles", "roles", strings.Join(claims.Roles, ", ")},
		{"Account created", "created_at", readable(claims.CreatedAt)},
		{"Issued by", "iss", claims.Issuer},
		{"Issued for", "aud", strings.Join(claims.Audience, ", ")},
		{"Issued at", "iat", readable(claims.IssuedAt)},
		{"Expires", "exp", readable(claims.Expiry)},
	}
	var profile struct {
		Rows []claimRow
		JSON string
	}
	for _, row := range rows {
		if claims.Has(row.Claim) {
			profile.Rows = append(profile.Rows, row)
		}
	}
	profile.JSON = indented(claims)
	show(c, http.StatusOK, "profile.html", "Your profile", profile)
}

func showProtected(c *gin.Context) {
	show(c, http.StatusOK, "protected.html", "Protected page", struct {
		Address, Page string
		Pages         []string
	}{c.Request.URL.RequestURI(), c.DefaultQuery("page", "1"), []string{"1", "2", "3"}})
}

func showNotFound(c *gin.Context) {
	show(c, http.StatusNotFound, "not-found.html", "Page not found", nil)
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
