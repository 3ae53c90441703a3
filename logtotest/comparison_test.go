package logtotest_test

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/logtotest"
)

type sample struct {
	Status   int               `json:"status"`
	Headers  map[string]string `json:"headers"`
	Location string            `json:"location"`
	Body     any               `json:"body"`
	Text     string            `json:"text"`
	HTML     string            `json:"html"`
	JWT      any               `json:"jwt"`
}

type comparison struct {
	t       *testing.T
	server  *logtotest.Server
	samples map[string]sample
	done    map[string]bool
}

func (c *comparison) sample(name string) sample {
	c.t.Helper()
	found, ok := c.samples[name]
	if !ok {
		c.t.Fatalf("there is no sample %q", name)
	}
	c.done[name] = true
	return found
}

// here replaces the recorded Logto's address by the fake's.
func (c *comparison) here(text string) string {
	text = strings.ReplaceAll(text, "http://localhost:3001", c.server.Endpoint())
	return strings.ReplaceAll(text, url.QueryEscape("http://localhost:3001"), url.QueryEscape(c.server.Endpoint()))
}

// same compares an answer with samples.
func (c *comparison) same(got response, names ...string) response {
	c.t.Helper()
	for _, name := range names {
		want := c.sample(name)
		if got.status != want.Status {
			c.t.Errorf("%s: status %d, want %d: %s", name, got.status, want.Status, got.body)
			continue
		}
		for header, value := range want.Headers {
			if got.header.Get(header) != c.here(value) {
				c.t.Errorf("%s: %s is %q, want %q", name, header, got.header.Get(header), c.here(value))
			}
		}
		c.sameLocation(name, got, want)
		if want.Body != nil {
			var body any
			if err := json.Unmarshal([]byte(got.body), &body); err != nil {
				c.t.Errorf("%s: %v in %s", name, err, got.body)
			}
			c.sameShape(name, "", body, want.Body)
		}
	}
	return got
}

func (c *comparison) sameLocation(name string, got response, want sample) {
	c.t.Helper()
	if want.Location == "" {
		if got.location != nil {
			c.t.Errorf("%s: leads to %s", name, got.location)
		}
		return
	}
	to, err := url.Parse(c.here(want.Location))
	if err != nil || got.location == nil {
		c.t.Errorf("%s: leads to %v: %v", name, got.location, err)
		return
	}
	if to.Path != got.location.Path || !strings.HasPrefix(got.body, "Redirecting to ") {
		c.t.Errorf("%s: leads to %s, want %s", name, got.location, to)
	}
	wanted, given := to.Query(), got.location.Query()
	if to.Fragment != "" {
		wanted, _ = url.ParseQuery(to.Fragment)
		given, _ = url.ParseQuery(got.location.Fragment)
	}
	for parameter := range wanted {
		made := slices.Contains([]string{"code", "state", "app_id", "organization_id"}, parameter)
		if !given.Has(parameter) || (!made && given.Get(parameter) != wanted.Get(parameter)) {
			c.t.Errorf("%s: %s is %q, want %q", name, parameter, given.Get(parameter), wanted.Get(parameter))
		}
	}
	if len(given) != len(wanted) {
		c.t.Errorf("%s: %v, want %v", name, given, wanted)
	}
}

// exact are the members that do not only have a type.
var exact = []string{"code", "message", "error", "error_description", "error_uri", "token_type", "expires_in", "scope", "typ", "alg", "use", "kty", "crv", "iss", "active"}

func (c *comparison) sameShape(name, path string, got, want any) {
	c.t.Helper()
	switch want := want.(type) {
	case map[string]any:
		if token, isJWT := want["jwt"].(map[string]any); isJWT {
			header, claims := decodeToken(c.t, got)
			c.sameShape(name, path+".header", header, token["header"])
			c.sameShape(name, path+".claims", claims, token["claims"])
			return
		}
		if strings.HasSuffix(path, ".custom_data") {
			return // whatever the tenant keeps there
		}
		object, ok := got.(map[string]any)
		if !ok || !slices.Equal(slices.Sorted(maps.Keys(object)), slices.Sorted(maps.Keys(want))) {
			c.t.Errorf("%s: %s has %v, want %v", name, path, slices.Sorted(maps.Keys(object)), slices.Sorted(maps.Keys(want)))
			return
		}
		for member, value := range want {
			if text, isText := value.(string); isText && slices.Contains(exact, member) && !(member == "error_description" && strings.HasPrefix(text, "invalid client")) {
				value = c.here(text)
				if object[member] != value {
					c.t.Errorf("%s: %s.%s is %q, want %q", name, path, member, object[member], value)
				}
			} else if number, isNumber := value.(float64); isNumber && slices.Contains(exact, member) && object[member] != number {
				c.t.Errorf("%s: %s.%s is %v, want %v", name, path, member, object[member], number)
			}
			c.sameShape(name, path+"."+member, object[member], value)
		}
	case []any:
		list, ok := got.([]any)
		if !ok || (len(list) == 0) != (len(want) == 0) {
			c.t.Errorf("%s: %s is %v, want %v", name, path, got, want)
		} else if len(want) > 0 {
			c.sameShape(name, path+"[0]", list[0], want[0])
		}
	default:
		if reflect.TypeOf(got) != reflect.TypeOf(want) {
			c.t.Errorf("%s: %s is %v (%T), want %v", name, path, got, got, want)
		}
	}
}

// token compares a JWT.
func (c *comparison) token(token any, names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.sameShape(name, "", token, map[string]any{"jwt": c.sample(name).JWT})
	}
}

// form is what a browser gets to do, whatever the page looks like.
func form(page string) string {
	action := page[strings.Index(page, "<form"):]
	action = action[:strings.Index(action, ">")]
	return fmt.Sprint(html.UnescapeString(action), strings.Count(page, `name="xsrf"`), strings.Count(page, `name="logout"`))
}
