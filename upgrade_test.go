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

// samplesOfFormat4 were made by the first version (commit bd34ddb).
func samplesOfFormat4(t *testing.T) (samples []sealedSample) {
	t.Helper()
	raw, err := os.ReadFile("testdata/sessions/format4.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &samples); err != nil || len(samples) == 0 {
		t.Fatal(len(samples), err)
	}
	return samples
}

// deploy starts the application of a sample, with other attributes of its cookies.
func (sample *sealedSample) deploy(t *testing.T, store *serverStore, cookies logtogin.CookieOptions) *proxied {
	t.Helper()
	app, err := newProxied(t, logtotest.NewServer(t), sample.BaseURL, "/app", func(cfg *logtogin.Config) {
		cfg.Endpoint, cfg.AppID, cfg.AppSecret, cfg.Secrets = sample.Endpoint, sample.AppID, sample.AppSecret, sample.Secrets
		cfg.Cookies, cfg.Resources = cookies, []string{sample.Resource}
		cfg.Now = func() time.Time { return sample.At.Add(time.Minute) }
		if len(sample.Stored) > 0 {
			cfg.Store = store
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func (sample *sealedSample) store() *serverStore {
	store := newServerStore()
	for id, sealed := range sample.Stored {
		store.records[id] = map[any]any{"logtogin": sealed}
	}
	return store
}

// browser has the cookies of a sample.
func (sample *sealedSample) browser(t *testing.T, app *proxied) *browser {
	t.Helper()
	b := app.browser()
	at, err := url.Parse(sample.BaseURL + "/app/who")
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
	return b
}

func TestAnUpgradeSignsNobodyOut(t *testing.T) {
	t.Parallel()
	for _, sample := range samplesOfFormat4(t) {
		t.Run(sample.Name, func(t *testing.T) {
			t.Parallel()
			store := sample.store()
			app := sample.deploy(t, store, logtogin.CookieOptions{Domain: sample.Domain, Path: sample.Path})
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
			b := sample.browser(t, app)
			at := sample.BaseURL + "/app/subject"
			sealed := func() string {
				for _, record := range store.records {
					return record["logtogin"].(string)
				}
				var values []string
				for _, cookie := range b.cookies(at) {
					values = append(values, cookie.Value)
				}
				return strings.Join(values, " ")
			}
			before := sealed()
			for _, when := range []string{"the first time", "from what was written anew"} {
				if page := b.get(at); page.body != sample.Subject || token != sample.AccessToken {
					t.Errorf("%s: %d %q", when, page.status, page.body)
				}
			}
			after := sealed()
			if after == before {
				t.Error("the session is not written anew")
			}
			b.get(at)
			if sealed() != after {
				t.Error("it is written again and again")
			}
		})
	}
}

// The first format does not say where browsers have its cookie.
func TestASessionOfTheFirstFormatNeverComesBack(t *testing.T) {
	t.Parallel()
	for _, sample := range samplesOfFormat4(t) {
		for _, after := range []logtogin.CookieOptions{{}, {Domain: "example.com"}, {Path: "/app"}, {Domain: "app.example.com", Path: "/app/"}} {
			if sample.BaseURL == "http://localhost:8080" {
				after.Domain = ""
			}
			before := logtogin.CookieOptions{Domain: sample.Domain, Path: sample.Path}
			store := sample.store()
			b := sample.browser(t, sample.deploy(t, store, after))
			who := sample.BaseURL + "/app/who"
			writes := 0
			for range 3 {
				if len(b.get(who).header.Values("Set-Cookie")) > 0 {
					writes++
				}
			}
			if writes > 1 {
				t.Errorf("%s, then %+v: it is written %d times", sample.Name, after, writes)
			}
			b.header.Set("Sec-Fetch-Site", "same-origin")
			b.stopAt(sample.Endpoint)
			if page := b.get(sample.BaseURL + "/app/sign-out"); page.status >= http.StatusBadRequest {
				t.Errorf("%s, then %+v: the sign-out is %d", sample.Name, after, page.status)
			}
			for when, cookies := range map[string]logtogin.CookieOptions{"before": before, "after": after} {
				b.client.Transport = sample.deploy(t, store, cookies)
				if page := b.get(who); page.body != `""` {
					t.Errorf("%s, then %+v: as it was %s: %s", sample.Name, after, when, page.body)
				}
			}
		}
	}
}
