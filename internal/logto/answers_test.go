package logto

import (
	"bytes"
	"net/http"
	"testing"
	"time"
)

// C98.
func FuzzTokenAnswer(f *testing.F) {
	for _, answer := range sampleAnswers(f, "token-", "refresh ") {
		f.Add(answer.status, answer.contentType, answer.retryAfter, answer.body)
	}
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"access_token":"a"}`, `{"access_token":"a","token_type":"DPoP"}`, `{"access_token":"a","token_type":"bearer","expires_in":"60"}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":-1}`, `{"access_token":"a","token_type":"Bearer","expires_in":1e400}`, `{"access_token":"a","token_type":"Bearer","expires_in":1e15}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":"NaN"}`, `{"access_token":"a","token_type":"Bearer","id_token":1,"scope":[]}`, `{"error":"invalid_grant"}`, `{"error":1}`,
	} {
		f.Add(http.StatusOK, "application/json", "3", []byte(body))
	}
	f.Add(http.StatusOK, "application/x-www-form-urlencoded", "", []byte("access_token=a&token_type=Bearer&expires_in=60"))
	f.Add(http.StatusTooManyRequests, "text/html", "99999999999", []byte("<h1>slow down</h1>"))
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, body []byte) {
		answer := fixedAnswer{status, contentType, retryAfter, body}
		got, err := newTestProvider(t, answers{"/oidc/token": answer}, nil).Refresh(t.Context(), "refresh token", "", "")
		if err != nil {
			checkAnswerError(t, answer, err)
			return
		}
		if status < 200 || status > 299 || got.AccessToken == "" {
			t.Fatalf("%d %q is a token", status, body)
		}
		if life := got.Expires.Sub(testNow); life < time.Second || life > maxTokenLife || got.RenewAt.After(got.Expires) || got.RenewAt.Before(testNow) {
			t.Fatalf("%q: expires after %v, to be renewed at %v", body, life, got.RenewAt)
		}
	})
}

// C98.
func FuzzUserInfo(f *testing.F) {
	for _, answer := range sampleAnswers(f, "userinfo") {
		f.Add(answer.status, answer.contentType, answer.body)
	}
	for _, body := range []string{`{"sub":"b8scm29158bd"}`, `{"sub":"other"}`, `{"sub":"b8scm29158bd","sub":"other"}`, `{"sub":["b8scm29158bd"]}`, `{}`, `null`, ``} {
		f.Add(http.StatusOK, "application/json", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		answer := fixedAnswer{status: status, contentType: contentType, body: body}
		claims, err := newTestProvider(t, answers{"/oidc/me": answer}, nil).UserInfo(t.Context(), "access token", "b8scm29158bd")
		if err != nil {
			checkAnswerError(t, answer, err)
			return
		}
		if status != http.StatusOK || claims.Text("sub") != "b8scm29158bd" || !bytes.Equal(claims.Source(), body) {
			t.Fatalf("%d %q is %q", status, body, claims.Source())
		}
	})
}
