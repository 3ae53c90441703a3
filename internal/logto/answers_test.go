package logto

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/oauth"
)

func TestATokenLivesAsLongAsExpiresInSays(t *testing.T) {
	t.Parallel()
	asJSON := func(member string) fixedAnswer {
		return json200(`{"access_token":"a","token_type":"Bearer"` + member + `}`)
	}
	asForm := func(parameter string) fixedAnswer {
		return fixedAnswer{status: 200, contentType: "application/x-www-form-urlencoded", body: []byte("access_token=a&token_type=Bearer" + parameter)}
	}
	for name, test := range map[string]struct {
		answer       fixedAnswer
		life, margin time.Duration
	}{
		"an hour":                      {asJSON(`,"expires_in":3600`), time.Hour, maxTokenMargin},
		"an hour as a string":          {asJSON(`,"expires_in":"3600"`), time.Hour, maxTokenMargin},
		"an hour in a form":            {asForm("&expires_in=3600"), time.Hour, maxTokenMargin},
		"five minutes":                 {asJSON(`,"expires_in":300`), 5 * time.Minute, 30 * time.Second},
		"a little less":                {asJSON(`,"expires_in":299`), 299 * time.Second, 29900 * time.Millisecond},
		"ten seconds":                  {asJSON(`,"expires_in":10`), 10 * time.Second, time.Second},
		"a second":                     {asJSON(`,"expires_in":1`), time.Second, 100 * time.Millisecond},
		"ten years":                    {asJSON(`,"expires_in":315360000`), maxTokenLife, maxTokenMargin},
		"more than that":               {asJSON(`,"expires_in":315360001`), maxTokenLife, maxTokenMargin},
		"more than fits in a duration": {asJSON(`,"expires_in":9223372036854775807`), maxTokenLife, maxTokenMargin},
		"more than that in a form":     {asForm("&expires_in=9223372036854775807"), maxTokenLife, maxTokenMargin},
		"null":                         {asJSON(`,"expires_in":null`), defaultTokenLife, maxTokenMargin},
		"nothing":                      {asJSON(``), defaultTokenLife, maxTokenMargin},
		"nothing in a form":            {asForm(""), defaultTokenLife, maxTokenMargin},
		"text in a form":               {asForm("&expires_in=soon"), defaultTokenLife, maxTokenMargin},
		"no number in a form":          {asForm("&expires_in=NaN"), defaultTokenLife, maxTokenMargin},
		"Expires_in":                   {asJSON(`,"Expires_in":3600`), defaultTokenLife, maxTokenMargin},
	} {
		got, err := newTestProvider(t, answers{tokenPath: test.answer}, nil).Refresh(t.Context(), "refresh token", "", "")
		if err != nil || got.Expires.Sub(testNow) != test.life || got.Expires.Sub(got.RenewAt) != test.margin {
			t.Errorf("%s: got %+v, %v, want a life of %v, and %v before its end another token", name, got, err, test.life, test.margin)
		}
	}
}

func TestTheLifeOfATokenBeginsWithTheRequest(t *testing.T) {
	t.Parallel()
	moment := &clock{}
	moment.advance(700 * time.Millisecond)
	logto := answers{tokenPath: json200(tokenAnswer)}
	p := newTestProvider(t, roundTrip(func(request *http.Request) (*http.Response, error) {
		if request.URL.Path == tokenPath {
			moment.advance(9 * time.Second)
		}
		return logto.RoundTrip(request)
	}), func(settings *Settings) { settings.Now = moment.now })
	if got, err := p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback"); err != nil || !got.Expires.Equal(testNow.Add(time.Hour)) {
		t.Errorf("Exchange: got %+v, %v, want the expiry an hour after the request, in full seconds", got, err)
	}
	if got, err := p.Refresh(t.Context(), "refresh token", "", ""); err != nil || !got.Expires.Equal(testNow.Add(time.Hour+9*time.Second)) {
		t.Errorf("Refresh: got %+v, %v, want the expiry an hour after the request, in full seconds", got, err)
	}
}

func TestMembersOfATokenAnswerAreRead(t *testing.T) {
	t.Parallel()
	const otherType = "the token endpoint issued a token of a type other than Bearer"
	for body, test := range map[string]struct {
		want  oauth.Tokens // without its times
		check string       // that fails, "" for none
	}{
		`{"access_token":"a","token_type":"Bearer"}`:                              {oauth.Tokens{AccessToken: "a"}, ""},
		`{"access_token":"a","token_type":"bearer"}`:                              {oauth.Tokens{AccessToken: "a"}, ""},
		`{"access_token":"a","token_type":"BEARER","scope":"b c"}`:                {oauth.Tokens{AccessToken: "a", Scope: "b c"}, ""},
		`{"access_token":"a","token_type":"Bearer","id_token":"i"}`:               {oauth.Tokens{AccessToken: "a", IDToken: "i"}, ""},
		`{"access_token":"a","token_type":"Bearer","refresh_token":"r"}`:          {oauth.Tokens{AccessToken: "a", RefreshToken: "r"}, ""},
		`{"access_token":"a","token_type":"Bearer","id_token":7,"scope":["b"]}`:   {oauth.Tokens{AccessToken: "a"}, ""},
		`{"access_token":"a","token_type":"Bearer","id_token":null,"scope":null}`: {oauth.Tokens{AccessToken: "a"}, ""},
		`{"access_token":"a","token_type":"Bearer","ID_Token":"i","Scope":"b"}`:   {oauth.Tokens{AccessToken: "a"}, ""},
		`{"access_token":"a"}`:                        {oauth.Tokens{}, otherType},
		`{"access_token":"a","token_type":""}`:        {oauth.Tokens{}, otherType},
		`{"access_token":"a","token_type":"DPoP"}`:    {oauth.Tokens{}, otherType},
		`{"access_token":"a","token_type":"N_A"}`:     {oauth.Tokens{}, otherType},
		`{"access_token":"a","token_type":"Bearer "}`: {oauth.Tokens{}, otherType},
	} {
		got, err := newTestProvider(t, answers{tokenPath: json200(body)}, nil).Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback")
		checkTokenError(t, body, body, err, test.check)
		if err == nil {
			got.Expires, got.RenewAt = time.Time{}, time.Time{}
			if *got != test.want {
				t.Errorf("%s: got %+v, want %+v", body, *got, test.want)
			}
		} else if got != nil && *got != (oauth.Tokens{}) {
			t.Errorf("%s: got %+v beside the error, want no more than a refresh token", body, got)
		}
	}
}

func TestARefreshTokenThatIsNotReplacedIsKept(t *testing.T) {
	t.Parallel()
	p := newTestProvider(t, answers{tokenPath: json200(`{"access_token":"a","token_type":"Bearer"}`)}, nil)
	if got, err := p.Refresh(t.Context(), "old", "", ""); err != nil || got.RefreshToken != "old" {
		t.Errorf("got %+v, %v, want the refresh token that was sent", got, err)
	}
}

func TestRetryAfterIsReadUpToAMinute(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 15, 8, 0, 0, 400_000_000, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, "59": 59 * time.Second, "60": time.Minute, "61": time.Minute, "3601": time.Minute, "99999999999": time.Minute, "9223372036854775807": time.Minute, "99999999999999999999999": time.Minute, "007": 7 * time.Second,
		"Fri, 15 Jan 2027 08:00:30 GMT": 30 * time.Second, "Friday, 15-Jan-27 08:00:07 GMT": 7 * time.Second, "Fri Jan 15 08:00:01 2027": time.Second,
		"Fri, 15 Jan 2027 08:00:00 GMT": 0, "Fri, 15 Jan 2027 07:59:59 GMT": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0, "Sat, 15 Jan 2028 08:00:30 GMT": time.Minute,
		"Fri, 15 Jan 2027 08:00:30 CET": 0, "2027-01-15T08:00:30Z": 0,
		"-1": 0, "-9223372036854775808": 0, "1.5": 0, "1s": 0, "soon": 0, " 5 ": 5 * time.Second, "0x5": 0, "+5": 0, "٣": 0,
	} {
		if got := retryAfterHeader(&http.Response{Header: http.Header{"Retry-After": {header}}}, at); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
	if got := retryAfterHeader(&http.Response{}, at); got != 0 {
		t.Errorf("without headers: got %v, want 0", got)
	}
	ahead := http.Header{"Retry-After": {"Fri, 15 Jan 2027 09:00:20 GMT"}, "Date": {"Fri, 15 Jan 2027 09:00:00 GMT"}}
	if got := retryAfterHeader(&http.Response{Header: ahead}, at); got != 20*time.Second {
		t.Errorf("by a clock that is an hour ahead: got %v, want 20 s", got)
	}
}

func TestOnlyJSONIsJSON(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]bool{
		"application/json": true, "Application/JSON": true, "application/json; charset=utf-8": true, "application/problem+json": true, "application/jwk-set+json;a=b": true,
		"": false, "text/json": false, "text/html": false, "application/jsonp": false, "application/jwt": false, "json": false, "application/json;": true, "application/json;;": false, "application/x+json+xml": false,
	} {
		if got := isJSON(contentType); got != want {
			t.Errorf("%q: got %t, want %t", contentType, got, want)
		}
	}
}

// bodySecret is in bodies of which an error must hold nothing.
const bodySecret = "body-secret"

// answerCase is an answer, and the error that is made of it.
type answerCase struct {
	answer     fixedAnswer
	code       string // of the refusal, "" for an outage
	retryAfter time.Duration
}

// check makes sure that an error is what the answer means.
func (c answerCase) check(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: got no error", name)
		return
	}
	var refused *oauth.Refusal
	var public *publicError
	switch isRefused := errors.As(err, &refused); {
	case isRefused != (c.code != "") || isRefused == errors.Is(err, fault.ProviderUnavailable) || errors.Is(err, fault.InvalidToken):
		t.Errorf("%s: got the error %v, want the refusal %q, or a fault.ProviderUnavailable if that is empty", name, err, c.code)
	case !isRefused:
	case refused.Code != c.code || refused.Description != "described" || refused.Status != c.answer.status:
		t.Errorf("%s: got %+v, want the code %s, its description and the status %d", name, refused, c.code, c.answer.status)
	case !errors.As(err, &public) || public.code != refused.Code || public.description != refused.Description || public.status != refused.Status || err.Error() != public.Error():
		t.Errorf("%s: got the error %q, want that of Settings.PublicRefusal", name, err)
	}
	if got := oauth.StatusOf(err); got != c.answer.status {
		t.Errorf("%s: the status is %d, want %d", name, got, c.answer.status)
	}
	if got := oauth.RetryAfterOf(err); got != c.retryAfter {
		t.Errorf("%s: to be asked again after %v, want %v", name, got, c.retryAfter)
	}
	if !oauth.IsAnswered(err) {
		t.Errorf("%s: got %v, of which IsAnswered is false", name, err)
	}
	if strings.Contains(fmt.Sprintf("%v", err), bodySecret) {
		t.Errorf("%s: the error %q holds the body", name, err)
	}
}

// refusalBody is a refusal in OAuth's terms.
func refusalBody(status int, code string) fixedAnswer {
	return fixedAnswer{status: status, contentType: "application/json", body: []byte(`{"error":"` + code + `","error_description":"described","more":"` + bodySecret + `"}`)}
}

func otherBody(status int, contentType, retryAfter, body string) fixedAnswer {
	return fixedAnswer{status, contentType, retryAfter, []byte(strings.ReplaceAll(body, "*", bodySecret))}
}

// What is the same for all calls.
var answerCases = map[string]answerCase{
	"invalid_grant":                  {refusalBody(400, "invalid_grant"), "invalid_grant", 0},
	"invalid_client":                 {refusalBody(401, "invalid_client"), "invalid_client", 0},
	"access_denied":                  {refusalBody(403, "access_denied"), "access_denied", 0},
	"a code that is not known":       {refusalBody(400, "other"), "other", 0},
	"422 with a code":                {refusalBody(422, "invalid_grant"), "", 0},
	"404 of a gateway":               {refusalBody(404, "Not Found"), "", 0},
	"401 of a gateway":               {refusalBody(401, "Unauthorized"), "", 0},
	"403 of a gateway":               {refusalBody(403, "Forbidden"), "", 0},
	"408 of a gateway":               {refusalBody(408, "timeout"), "", 0},
	"an outage with a code":          {refusalBody(500, "server_error"), "", 0},
	"a refusal with the status 503":  {refusalBody(503, "invalid_grant"), "", 0},
	"too many requests with a code":  {refusalBody(429, "invalid_grant"), "", 0},
	"too many requests":              {otherBody(429, "text/html", "7", "<h1>*</h1>"), "", 7 * time.Second},
	"an outage for an hour":          {otherBody(503, "text/html", "3600", "<h1>*</h1>"), "", time.Minute},
	"a gateway":                      {otherBody(502, "text/html", "", "<h1>*</h1>"), "", 0},
	"an empty 400":                   {otherBody(400, "", "", ""), "", 0},
	"an empty 401 that asks to wait": {otherBody(401, "", "5", ""), "", 5 * time.Second},
	"HTML with 403":                  {otherBody(403, "text/html", "", "<h1>*</h1>"), "", 0},
	"a body without a code":          {otherBody(400, "application/json", "", `{"message":"*"}`), "", 0},
	"an empty code":                  {otherBody(400, "application/json", "", `{"error":"","error_description":"*"}`), "", 0},
	"a code that is a number":        {otherBody(400, "application/json", "", `{"error":7,"error_description":"*"}`), "", 0},
	"a code in a list":               {otherBody(400, "application/json", "", `[{"error":"invalid_grant","error_description":"*"}]`), "", 0},
	"JSON that ends early":           {otherBody(400, "application/json", "", `{"error":"invalid_grant","error_description":"*"`), "", 0},
	"a redirect":                     {otherBody(302, "text/html", "", "<h1>*</h1>"), "", 0},
	"nothing to say":                 {otherBody(304, "", "", ""), "", 0},
}

func TestAnswersOfTheTokenEndpointAreRefusalsOrOutages(t *testing.T) {
	t.Parallel()
	cases := map[string]answerCase{
		"a refusal with the status 200":   {refusalBody(200, "invalid_grant"), "", 0},
		"a refusal in a form":             {otherBody(400, "application/x-www-form-urlencoded", "", "error=invalid_grant&error_description=described&more=*"), "invalid_grant", 0},
		"a form that cannot be read":      {otherBody(400, "application/x-www-form-urlencoded", "", "error=%zz&more=*"), "", 0},
		"an outage that calls itself one": {refusalBody(400, "server_error"), "", 0},
		"one that is about to be over":    {refusalBody(400, "temporarily_unavailable"), "", 0},
	}
	for _, table := range []map[string]answerCase{answerCases, cases} {
		for name, test := range table {
			p := newTestProvider(t, answers{tokenPath: test.answer}, nil)
			_, err := p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback")
			test.check(t, "Exchange: "+name, err)
			_, err = p.Refresh(t.Context(), "refresh token", "", "")
			test.check(t, "Refresh: "+name, err)
		}
	}
}

func TestAnswersOfOtherEndpointsAreRefusalsOrOutages(t *testing.T) {
	t.Parallel()
	for name, test := range answerCases {
		p := newTestProvider(t, answers{userInfoPath: test.answer, revocationPath: test.answer}, nil)
		_, err := p.UserInfo(t.Context(), "access token", "u")
		test.check(t, "UserInfo: "+name, err)
		test.check(t, "Revoke: "+name, p.Revoke(t.Context(), "refresh token"))
	}
}

func TestTokenAnswersThatCannotBeReadAreOutages(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]fixedAnswer{
		"no JSON":                     json200("<h1>" + bodySecret + "</h1>"),
		"nothing":                     json200(""),
		"no object":                   json200(`["` + bodySecret + `"]`),
		"no access token":             json200(`{"token_type":"Bearer","more":"` + bodySecret + `"}`),
		"an empty access token":       json200(`{"access_token":"","token_type":"Bearer"}`),
		"an access token of a number": json200(`{"access_token":7,"token_type":"Bearer"}`),
		"expires_in that is text":     json200(`{"access_token":"a","token_type":"Bearer","expires_in":"` + bodySecret + `"}`),
		"a form that is cut short":    otherBody(200, "application/x-www-form-urlencoded", "", "access_token=%*"),
		"more than a MiB":             json200(`{"access_token":"` + bodySecret + strings.Repeat("a", maxBody) + `","token_type":"Bearer"}`),
	} {
		p := newTestProvider(t, answers{tokenPath: answer}, nil)
		_, err1 := p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback")
		_, err2 := p.Refresh(t.Context(), "refresh token", "", "")
		for _, err := range []error{err1, err2} {
			if !errors.Is(err, fault.ProviderUnavailable) || !errors.Is(err, oauth.ErrUnreadable) || !oauth.IsAnswered(err) || oauth.StatusOf(err) != 0 || oauth.RetryAfterOf(err) != 0 || strings.Contains(err.Error(), bodySecret) {
				t.Errorf("%s: got the error %v, want an answer that cannot be read", name, err)
			}
		}
	}
}

func TestOtherAnswersThatCannotBeReadAreOutages(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]fixedAnswer{
		"HTML":            otherBody(200, "text/html", "", "<h1>*</h1>"),
		"a JWT":           otherBody(200, "application/jwt", "", "*"),
		"no type":         otherBody(200, "", "", `{"sub":"u","more":"*"}`),
		"more than a MiB": otherBody(200, "application/json", "", `{"sub":"u","more":"*`+strings.Repeat("a", maxBody)+`"}`),
	} {
		_, err := newTestProvider(t, answers{userInfoPath: answer}, nil).UserInfo(t.Context(), "access token", "u")
		if !errors.Is(err, fault.ProviderUnavailable) || errors.Is(err, fault.InvalidToken) || oauth.StatusOf(err) != 0 || strings.Contains(err.Error(), bodySecret) {
			t.Errorf("%s: got the error %v, want a fault.ProviderUnavailable without the body", name, err)
		}
	}
}

func TestAnAnswerThatBreaksOffIsAnOutage(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	p := newTestProvider(t, roundTrip(func(request *http.Request) (*http.Response, error) {
		response, err := answers{tokenPath: json200(tokenAnswer), userInfoPath: json200(`{"sub":"u"}`), revocationPath: json200("{}")}.RoundTrip(request)
		if !strings.HasSuffix(request.URL.Path, "openid-configuration") {
			response.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"sub":"u",`), iotest.ErrReader(broken)))
		}
		return response, err
	}), nil)
	_, err1 := p.Redeem(t.Context(), "code", "verifier", "https://app.example.com/callback")
	_, err2 := p.Refresh(t.Context(), "refresh token", "", "")
	_, err3 := p.UserInfo(t.Context(), "access token", "u")
	err4 := p.Revoke(t.Context(), "refresh token")
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, fault.ProviderUnavailable) || oauth.StatusOf(err) != 0 {
			t.Errorf("call %d: got the error %v, want a fault.ProviderUnavailable", i+1, err)
		}
	}
	for i, err := range []error{err3, err4} {
		if !errors.Is(err, broken) || oauth.IsAnswered(err) {
			t.Errorf("call %d: got the error %v, want %v", i+3, err, broken)
		}
	}
}

func TestErrorsTellWhatLogtoHasAnswered(t *testing.T) {
	t.Parallel()
	public := &publicError{code: "invalid_grant"}
	refused := &oauth.Refusal{Code: "invalid_grant", Status: 400, Public: public}
	answered := &oauth.Answer{Status: 503, Body: []byte(bodySecret), RetryAfter: time.Second}
	for name, test := range map[string]struct {
		err        error
		status     int
		retryAfter time.Duration
		isAnswered bool
	}{
		"a refusal":                     {refused, 400, 0, true},
		"a refusal that is wrapped":     {fmt.Errorf("sign-in: %w", refused), 400, 0, true},
		"an outage with an answer":      {unavailable("user info", answered), 503, time.Second, true},
		"an outage that was unreadable": {unavailable("the token endpoint", oauth.ErrUnreadable), 0, 0, true},
		"an outage without an answer":   {unavailable("user info", io.ErrUnexpectedEOF), 0, 0, false},
		"an outage by its name alone":   {fault.ProviderUnavailable, 0, 0, false},
		"a timeout":                     {unavailable("user info", context.DeadlineExceeded), 0, 0, false},
		"a token that is not good":      {fault.InvalidTokenf("x"), 0, 0, true},
		"no error":                      {nil, 0, 0, true},
	} {
		if status, retryAfter, isAnswered := oauth.StatusOf(test.err), oauth.RetryAfterOf(test.err), oauth.IsAnswered(test.err); status != test.status || retryAfter != test.retryAfter || isAnswered != test.isAnswered {
			t.Errorf("%s: got the status %d, %v, answered: %t, want %d, %v, %t", name, status, retryAfter, isAnswered, test.status, test.retryAfter, test.isAnswered)
		}
	}
	if err := unavailable("user info", unavailable("discovery", answered)); err.Error() != fault.ProviderUnavailable.Error()+": discovery: status 503" {
		t.Errorf("an outage of an outage is %q, want it to be named once", err)
	}
	if !errors.Is(refused, public) || refused.Error() != public.Error() {
		t.Errorf("a refusal is %v, want %v", refused, public)
	}
}

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
