package logtogin_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/logtogin/logtogin"
	"github.com/logtogin/logtogin/logtotest"
)

// sealedSample is a session as an earlier version has left it in a browser, or in a store. Its secrets and tokens are of
// a fake Logto that is gone.
type sealedSample struct {
	Name        string            `json:"name"`
	Endpoint    string            `json:"endpoint"`
	AppID       string            `json:"appID"`
	AppSecret   string            `json:"appSecret"`
	BaseURL     string            `json:"baseURL"`
	Secrets     []string          `json:"secrets"`
	Domain      string            `json:"domain"`
	Path        string            `json:"path"`
	At          time.Time         `json:"at"`
	Cookies     map[string]string `json:"cookies"`
	Stored      map[string]string `json:"stored"` // by their IDs
	Subject     string            `json:"subject"`
	Resource    string            `json:"resource"`
	AccessToken string            `json:"accessToken"`
}

// The samples of format 4 were made by the first version (commit bd34ddb).
func TestAnUpgradeSignsNobodyOut(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/sessions/format4.json")
	if err != nil {
		t.Fatal(err)
	}
	var samples []sealedSample
	if err := json.Unmarshal(raw, &samples); err != nil || len(samples) == 0 {
		t.Fatal(len(samples), err)
	}
	for _, sample := range samples {
		t.Run(sample.Name, func(t *testing.T) {
			t.Parallel()
			store := newServerStore()
			for id, sealed := range sample.Stored {
				store.records[id] = map[any]any{"logtogin": sealed}
			}
			app, err := newProxied(t, logtotest.NewServer(t), sample.BaseURL, "/app", func(cfg *logtogin.Config) {
				cfg.Endpoint, cfg.AppID, cfg.AppSecret, cfg.Secrets = sample.Endpoint, sample.AppID, sample.AppSecret, sample.Secrets
				cfg.Cookies.Domain, cfg.Cookies.Path, cfg.Resources = sample.Domain, sample.Path, []string{sample.Resource}
				cfg.Now = func() time.Time { return sample.At.Add(time.Minute) }
				if len(sample.Stored) > 0 {
					cfg.Store = store
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			var token string
			app.router.GET("/app/subject", app.auth.Guard(), func(c *gin.Context) {
				got, err := app.auth.AccessToken(c, logtogin.Resource(sample.Resource))
				if err != nil {
					t.Error(err)
				} else {
					token = got.Value
				}
				c.String(http.StatusOK, c.MustGet(logtogin.ClaimsKey).(*logtogin.Claims).Subject)
			})
			b := app.browser()
			at, err := url.Parse(sample.BaseURL + "/app/subject")
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range sample.Cookies {
				cookie := &http.Cookie{Name: name, Value: value, Path: "/", Domain: sample.Domain, Secure: at.Scheme == "https"}
				if sample.Path != "" {
					cookie.Path = sample.Path
				}
				b.client.Jar.SetCookies(at, []*http.Cookie{cookie})
			}
			sealed := func() string {
				for _, record := range store.records {
					return record["logtogin"].(string)
				}
				var values []string
				for _, cookie := range b.cookies(at.String()) {
					values = append(values, cookie.Value)
				}
				return strings.Join(values, " ")
			}
			before := sealed()
			for _, when := range []string{"the first time", "from what was written anew"} {
				if page := b.get(at.String()); page.body != sample.Subject || token != sample.AccessToken {
					t.Errorf("%s: %d %q", when, page.status, page.body)
				}
			}
			after := sealed()
			if after == before {
				t.Error("the session is not written anew")
			}
			b.get(at.String())
			if sealed() != after {
				t.Error("it is written again and again")
			}
		})
	}
}
