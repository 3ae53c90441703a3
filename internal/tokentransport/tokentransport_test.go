package tokentransport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// api answers every request with a status and challenges. It reads the body.
type api struct {
	status     []int // of the first request, of the second one, …
	challenges []string
	got        []string
}

func (a *api) RoundTrip(request *http.Request) (*http.Response, error) {
	body := ""
	if request.Body != nil {
		read, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		body = string(read)
	}
	a.got = append(a.got, strings.TrimSpace(request.URL.Host+" "+request.Header.Get("Authorization")+" "+body))
	status := a.status[min(len(a.got), len(a.status))-1]
	return &http.Response{StatusCode: status, Header: http.Header{"Www-Authenticate": a.challenges}, Body: http.NoBody, Request: request}, nil
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	gone := errors.New("there is no other token")
	invalid := []string{`Bearer realm="api"`, `Bearer error="invalid_token"`}
	for name, test := range map[string]struct {
		status     []int
		challenges []string
		body       io.Reader
		another    error
		got        []string
		isGivenUp  bool
	}{
		"a token that is accepted":         {[]int{200}, nil, strings.NewReader("x"), nil, []string{"a Bearer 1 x"}, false},
		"a token that is refused":          {[]int{401, 200}, invalid, strings.NewReader("x"), nil, []string{"a Bearer 1 x", "a Bearer 2 x"}, false},
		"a 401 without a challenge":        {[]int{401, 200}, nil, nil, nil, []string{"a Bearer 1", "a Bearer 2"}, false},
		"every token is refused":           {[]int{401}, invalid, nil, nil, []string{"a Bearer 1", "a Bearer 2"}, true},
		"a 401 that does not blame it":     {[]int{401}, []string{`Bearer error="insufficient_scope"`}, nil, nil, []string{"a Bearer 1"}, false},
		"a 403 that blames it":             {[]int{403}, invalid, nil, nil, []string{"a Bearer 1"}, false},
		"a body that can be read once":     {[]int{401}, invalid, io.MultiReader(strings.NewReader("x")), nil, []string{"a Bearer 1 x"}, false},
		"a token for which there is none":  {[]int{401}, invalid, nil, gone, []string{"a Bearer 1"}, false},
		"another one that the API refuses": {[]int{401, 403}, invalid, nil, nil, []string{"a Bearer 1", "a Bearer 2"}, false},
	} {
		base, isGivenUp := &api{status: test.status, challenges: test.challenges}, false
		transport := &Transport{
			Base: base,
			Token: func(_ context.Context, refused string) (string, error) {
				if refused == "1" {
					return "2", test.another
				}
				return "1", nil
			},
			RefusedAgain: func() { isGivenUp = true },
		}
		request, err := http.NewRequest(http.MethodPost, "https://a/path", test.body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := test.status[len(test.status)-1]; response.StatusCode != want || !slices.Equal(base.got, test.got) || isGivenUp != test.isGivenUp {
			t.Errorf("%s: got %d, %q, given up: %t; want %d, %q, %t", name, response.StatusCode, base.got, isGivenUp, want, test.got, test.isGivenUp)
		}
		if request.Header.Get("Authorization") != "" {
			t.Errorf("%s: the request has been changed", name)
		}
	}
}

func TestTheFirstRequestSaysWhereTheTokenGoes(t *testing.T) {
	t.Parallel()
	base := &api{status: []int{200}}
	transport := &Transport{Base: base, Token: func(context.Context, string) (string, error) { return "1", nil }}
	for _, target := range []struct{ address, authorization string }{
		{"https://a/", "Basic x"}, {"https://b/", ""}, {"https://A:443/", ""}, {"http://a/", ""}, {"https://a:444/", ""}, {"https://a/", ""},
	} {
		request, err := http.NewRequest(http.MethodGet, target.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		if target.authorization != "" {
			request.Header.Set("Authorization", target.authorization)
		}
		if _, err := transport.RoundTrip(request); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"a Basic x", "b", "A:443 Bearer 1", "a", "a:444", "a Bearer 1"}; !slices.Equal(base.got, want) {
		t.Errorf("got %q, want %q", base.got, want)
	}
}

// closedBody tells whether it has been closed.
type closedBody struct{ isClosed bool }

func (b *closedBody) Read([]byte) (int, error) { return 0, io.EOF }
func (b *closedBody) Close() error             { b.isClosed = true; return nil }

func TestWithoutATokenNothingIsSent(t *testing.T) {
	t.Parallel()
	base, body, missing := &api{}, &closedBody{}, errors.New("not signed in")
	transport := &Transport{Base: base, Token: func(context.Context, string) (string, error) { return "", missing }}
	request, err := http.NewRequest(http.MethodPost, "https://a/", body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(request); !errors.Is(err, missing) || len(base.got) > 0 || !body.isClosed {
		t.Errorf("got %v, %q, body closed: %t", err, base.got, body.isClosed)
	}
}
