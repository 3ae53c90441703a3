package webtest

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/logtogin/logtogin"
)

// Listen returns a server that has an address, which configurations need, before it has an
// application.
func Listen() (server *httptest.Server, address string) {
	server = httptest.NewUnstartedServer(nil)
	return server, "http://" + server.Listener.Addr().String()
}

// Serve starts an application, and ends the server and then the Auth with the test.
func Serve(tb testing.TB, server *httptest.Server, application http.Handler, auth *logtogin.Auth) {
	server.Config.Handler = application
	server.Start()
	tb.Cleanup(func() {
		server.Close()
		if err := auth.Close(); err != nil {
			tb.Error(err)
		}
	})
}
