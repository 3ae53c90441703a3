package main

import (
	"embed"
	"html/template"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
)

//go:embed templates/*.html static/*
var files embed.FS

const (
	backchannelLogoutPath = "/backchannel-logout"
	webhookPath           = "/webhooks/logto"
)

// application is what the handlers know.
type application struct {
	config
	auth *logtogin.Auth
}

// newApp is the application with all its routes.
func newApp(cfg config) (*gin.Engine, *logtogin.Auth, error) {
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

	a := &application{config: cfg}
	a.Logto.OnError = a.showError
	if a.auth, err = logtogin.Register(router, a.Logto); err != nil {
		return nil, nil, err
	}
	a.addPages(router)
	a.addRights(router)
	a.addTokens(router)
	a.addAPI(router)
	a.addCalls(router)
	a.addSignOuts(router)
	router.NoRoute(a.auth.Optional(), showNotFound)
	static := router.Group("", func(c *gin.Context) { c.Header("Cache-Control", "max-age=3600") })
	for _, name := range []string{"static/style.css", "static/icon.svg"} {
		static.StaticFileFS("/"+name, name, http.FS(files))
	}
	return router, a.auth, nil
}

func secureHeaders(c *gin.Context) {
	c.Header("Content-Security-Policy", "default-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'")
	c.Header("Referrer-Policy", "same-origin")
	c.Header("X-Content-Type-Options", "nosniff")
}
