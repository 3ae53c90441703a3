// Package docs_test holds the Go code of the documents beside it, so that it is compiled and
// does what they say. Which code a document shows is compared by the test of the README.
package docs_test

import (
	"html"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

const baseURL = "https://app.example.com"

// build makes an application out of the code of a document.
func build(t *testing.T, cfg logtogin.Config, routes ...func(*gin.Engine, *logtogin.Auth)) (*gin.Engine, *logtogin.Auth) {
	t.Helper()
	router := gin.New()
	auth, err := logtogin.Register(router, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := auth.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, add := range routes {
		add(router, auth)
	}
	return router, auth
}

// page is what came of a request.
type page struct {
	status int
	header http.Header
	body   string
}

func read(t *testing.T, response *http.Response, err error) page {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return page{response.StatusCode, response.Header, html.UnescapeString(string(body))}
}

func get(t *testing.T, client *http.Client, address string) page {
	t.Helper()
	response, err := client.Get(address)
	return read(t, response, err)
}

// ask makes a request as a script does, or another program.
func ask(t *testing.T, client *http.Client, method, address string, header http.Header) page {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := client.Do(r)
	return read(t, response, err)
}

// stay makes a client show redirects instead of following them.
func stay(client *http.Client) *http.Client {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

func alice() logtotest.User { return logtotest.User{Username: logtotest.DefaultUser().Username} }
