package logto

import (
	"context"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"testing"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

func TestAProviderMakesNoCallBeforeItIsAsked(t *testing.T) {
	t.Parallel()
	logto := newObservedLogto(nil)
	p := newTestProvider(t, logto, nil)
	if len(logto.sent) != 0 {
		t.Errorf("requests to %v, want none", logto.sent)
	}
	if p.Transport() != http.RoundTripper(logto) {
		t.Errorf("the transport is %v, want that of the client", p.Transport())
	}
}

func TestTheClientIsACopyWithLimits(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	given := &http.Client{Jar: jar, Transport: roundTrip(nil)}
	for name, client := range map[string]*http.Client{"none": newHTTPClient(nil), "an empty one": newHTTPClient(&http.Client{}), "one with a transport": newHTTPClient(given)} {
		if client.Timeout != oauth.RequestTimeout || client.Jar != nil || client.CheckRedirect == nil || !errors.Is(client.CheckRedirect(nil, nil), http.ErrUseLastResponse) {
			t.Errorf("%s: got %+v, want a client with a timeout, without cookies and redirects", name, client)
		}
		transport, ok := client.Transport.(*http.Transport)
		if name != "one with a transport" && (!ok || transport == http.DefaultTransport || transport.MaxResponseHeaderBytes != 64<<10) {
			t.Errorf("%s: got the transport %+v, want a copy of the default one with a limit of headers", name, client.Transport)
		}
	}
	if given.Timeout != 0 || given.Jar != jar || given.CheckRedirect != nil {
		t.Errorf("the client that was given is %+v now, want it unchanged", given)
	}
}

func TestAClosedProviderFails(t *testing.T) {
	t.Parallel()
	logto := newObservedLogto(nil)
	p := newTestProvider(t, logto, nil)
	p.Close()
	_, err1 := p.Metadata(t.Context())
	_, err2 := p.KeyWithdrawals(t.Context())
	_, err3 := p.Refresh(t.Context(), "token", "", "")
	for i, err := range []error{err1, err2, err3} {
		if !errors.Is(err, fault.ProviderUnavailable) || oauth.IsAnswered(err) {
			t.Errorf("call %d: got the error %v, want a fault.ProviderUnavailable", i+1, err)
		}
	}
	if len(logto.sent) != 0 {
		t.Errorf("requests to %v, want none", logto.sent)
	}
}

func TestACallerWhoGivesUpIsNotMadeToWait(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := newTestProvider(t, roundTrip(func(request *http.Request) (*http.Response, error) {
		<-release
		return json200(testMetadata).RoundTrip(request)
	}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Metadata(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, fault.ProviderUnavailable) {
		t.Errorf("got the error %v, want context.Canceled as a fault.ProviderUnavailable", err)
	}
	close(release)
	if _, err := p.Metadata(t.Context()); err != nil {
		t.Errorf("got the error %v of the same fetch, want none", err)
	}
}
