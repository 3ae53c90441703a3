package logtotest

import (
	"context"
	"net/http"
)

// pagesForUsers are those that go on only when somebody has filled them in.
var pagesForUsers = []string{"/sign-in", "/register", "/consent"}

// testUserKey is where a request of a test browser says who the user is, "" if nobody is
// there, so that no form needs to be filled in.
type testUserKey struct{}

func asUser(id string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), testUserKey{}, id)))
	})
}

func testUser(r *http.Request) string {
	id, _ := r.Context().Value(testUserKey{}).(string)
	return id
}

func isTestBrowser(r *http.Request) bool { return r.Context().Value(testUserKey{}) != nil }
