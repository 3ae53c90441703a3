package logtogin

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin/internal/page"
	"github.com/logtogin/logtogin/internal/response"
	"github.com/logtogin/logtogin/internal/web"
)

// Where a browser goes next or which page it shows, and what is no navigation.

// answerUnwanted answers a request that the user does not want (web.IsWanted), such that nothing happens.
func (a *Auth) answerUnwanted(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	status := http.StatusNoContent
	switch header := c.Request.Header; {
	case web.IsPrefetch(header):
		status = http.StatusServiceUnavailable // Chromium would use 204 for the click that follows
	case web.IsHTMX(header):
		// htmx cannot follow a redirect to another origin, but it can navigate.
		c.Header("HX-Redirect", a.sameRoute(c))
	}
	c.AbortWithStatus(status)
}

// redirect sends the browser on. After a POST and its like it is 303, so that no
// form is sent to where it does not belong (RFC 9700, section 4.12).
func redirect(c *gin.Context, address string) {
	if web.IsHTMX(c.Request.Header) {
		c.Header("HX-Redirect", address)
		c.AbortWithStatus(http.StatusNoContent)
		return
	}
	status := http.StatusFound
	if c.Request.Method != http.MethodGet && c.Request.Method != http.MethodHead {
		status = http.StatusSeeOther
	}
	c.Header("Location", address)
	c.AbortWithStatus(status)
}

// showPage answers with a page that no cache may store.
func showPage(c *gin.Context, status int, shown page.Document) {
	response.ForbidStoring(c.Writer.Header())
	shown.SetHeader(c.Writer.Header())
	c.Data(status, "text/html; charset=utf-8", shown.HTML)
	c.Abort()
}
