package logtogin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logtogin/logtogin/internal/fault"
	"github.com/logtogin/logtogin/internal/logto"
)

var writeErrors = flag.String("write-errors", "", "the document whose table of what errors lead to is to be written anew by TestTheDocumentSaysWhatErrorsLeadTo")

// wrong is an ErrInvalidToken that the operator can correct.
var wrong = fault.Misconfiguredf("iss")

// examples has an error for each row of meanings, in the same order.
var examples = []error{
	ErrStoreUnavailable,
	ErrProviderUnavailable,
	errPrefetched,
	errFutile,
	fmt.Errorf("%w: %w", errTurnedAway, &RefusalError{Message: "its `Message`"}),
	ErrAccountRefused,
	&RefusalError{Message: "its `Message`"},
	&ProviderError{Code: "insufficient_scope", Status: 403},
	&ProviderError{Code: "access_denied"},
	fault.NotAuthenticatedAgain,
	ErrInsufficientRights,
	ErrCrossOrigin,
	errSignOutNotAsked,
	fmt.Errorf("%w: %w", ErrSignInRefused, ErrInvalidOptions),
	ErrSignInRefused,
	errNoToken,
	ErrNotSignedIn,
	ErrTokenExpired,
	ErrInsufficientAuthentication,
	ErrNoAttempt,
	ErrInvalidCallback,
	ErrIssuerMismatch,
	ErrCancelled,
	errBearerRequest,
	logto.ErrWebhookSignature,
	logto.ErrWebhookUnsigned,
	&errorAbout{error: wrong, invalid: 401},
	&errorAbout{error: ErrInvalidToken, invalid: 401},
	&errorAbout{error: wrong, invalid: 400},
	&errorAbout{error: ErrInvalidToken, invalid: 400},
	wrong,
	ErrInvalidToken,
	&ProviderError{Code: "server_error"},
	&ProviderError{Code: "login_required"},
	&ProviderError{Code: "invalid_grant", Status: 400},
	&ProviderError{Code: "invalid_scope"},
	&url.Error{Err: context.DeadlineExceeded},
	&url.Error{Err: ErrInvalidOptions},
	&url.Error{Err: errors.New("connection refused")},
	ErrInvalidOptions,
	&ConfigError{"BaseURL", "is missing"},
	&ProviderError{Code: "invalid_client", Status: 401},
	ErrSessionTooLarge,
	ErrNoSuchClaim,
	ErrLogReplaced,
	context.Canceled,
	context.DeadlineExceeded,
	errors.New("of the application"),
}

func TestEachRowOfTheErrorsIsReached(t *testing.T) {
	t.Parallel()
	if len(examples) != len(meanings) {
		t.Fatalf("there are %d examples of %d rows", len(examples), len(meanings))
	}
	for i, err := range examples {
		if row := slices.IndexFunc(meanings, func(m meaning) bool { return m.fits(err) }); row != i {
			t.Errorf("%v has row %d, want %d", err, row, i)
		}
		if found := meaningOf(err); found.status != StatusCode(err) || found.reason == "" || found.advice == "" || statusTexts[found.status].title == "" {
			t.Errorf("%v means %+v", err, found)
		}
	}
}

// What wraps what in this package, and in applications.
func TestOfErrorsThatWrapEachOtherTheFirstRowCounts(t *testing.T) {
	t.Parallel()
	both := func(one, other error) error { return fmt.Errorf("%w: %w", one, other) }
	bearer := func(err error) error { return &errorAbout{error: err, invalid: 401} }
	refused := func(code string, status int) error { return &ProviderError{Code: code, Status: status} }
	const info, warn, failed = slog.LevelInfo, slog.LevelWarn, slog.LevelError
	for name, test := range map[string]struct {
		err    error
		status int
		reason string
		level  slog.Level
		cure   cure
		advice string
	}{
		"the hook turns an account away":           {both(ErrSignInRefused, both(errTurnedAway, &RefusalError{"Not you."})), 403, "refused_by_application", info, cureOtherAccount, "Not you."},
		"the hook meets an outage":                 {both(ErrSignInRefused, ErrStoreUnavailable), 503, "store_unavailable", failed, cureWait, "temporarily unavailable"},
		"the hook finds rights missing":            {both(ErrSignInRefused, ErrInsufficientRights), 403, "insufficient_rights", info, cureOtherUser, "not allowed"},
		"the hook is refused a token":              {both(ErrSignInRefused, refused("access_denied", 400)), 403, "refused_by_logto", info, cureOtherUser, "not allowed"},
		"the hook finds nobody signed in":          {both(ErrSignInRefused, ErrNotSignedIn), 500, "refused_by_application", failed, cureNone, "Something in this application"},
		"the hook calls us in a wrong way":         {both(ErrSignInRefused, ErrNoRequest), 500, "refused_by_application", failed, cureNone, "not set up correctly"},
		"a hook's API is down":                     {both(ErrSignInRefused, &url.Error{Err: context.DeadlineExceeded}), 500, "refused_by_application", failed, cureNone, "Something in this application"},
		"Logto refuses the account":                {both(ErrAccountRefused, refused("invalid_grant", 0)), 403, "refused_by_logto", info, cureOtherAccount, "Your account"},
		"another sign-in is futile":                {both(errFutile, both(ErrTokenExpired, ErrInvalidOptions)), 403, "insufficient_rights", warn, cureOtherUser, "just signed in"},
		"a refreshed token is not acceptable":      {both(ErrProviderUnavailable, ErrInvalidToken), 503, "provider_unavailable", failed, cureWait, "temporarily unavailable"},
		"a refresh with a wrong secret":            {both(ErrProviderUnavailable, refused("invalid_client", 401)), 503, "provider_unavailable", failed, cureWait, "temporarily unavailable"},
		"a call that takes too long":               {both(ErrProviderUnavailable, context.DeadlineExceeded), 503, "provider_unavailable", failed, cureWait, "temporarily unavailable"},
		"a requirement that Logto denies":          {&RequirementError{reason: refused("access_denied", 400)}, 403, "refused_by_logto", info, cureOtherUser, "not allowed"},
		"a requirement without its scope":          {&RequirementError{reason: refused("insufficient_scope", 403)}, 403, "refused_by_logto", warn, cureOtherUser, "not set up correctly"},
		"a requirement that is not met at Bearer":  {bearer(&RequirementError{}), 403, "insufficient_rights", info, cureOtherUser, "not allowed"},
		"an outage at Bearer":                      {bearer(ErrProviderUnavailable), 503, "provider_unavailable", failed, cureWait, "temporarily unavailable"},
		"a mistake of the application at Bearer":   {bearer(errors.New("no such parameter")), 500, "other", failed, cureNone, "Something in this application"},
		"an HTTPClient without a session":          {&url.Error{Err: ErrNotSignedIn}, 401, "session_ended", levelNone, cureSignIn, "Sign in first"},
		"an HTTPClient whose token is refused":     {&url.Error{Err: refused("invalid_target", 400)}, 400, "refused_by_logto", warn, cureNone, "not set up correctly"},
		"an HTTPClient in an outage of the store":  {&url.Error{Err: ErrStoreUnavailable}, 503, "store_unavailable", failed, cureWait, "temporarily unavailable"},
		"a message beside missing rights":          {errors.Join(ErrInsufficientRights, &RefusalError{"Not you."}), 403, "refused_by_application", info, cureOtherUser, "Not you."},
		"a message beside an outage":               {errors.Join(&RefusalError{"Not you."}, ErrStoreUnavailable), 503, "store_unavailable", failed, cureWait, "temporarily unavailable"},
		"a made-up refusal at the callback":        {refused("insufficient_scope", 0), 400, "refused_by_logto", warn, cureNone, "not set up correctly"},
		"an unknown code with the status 403":      {refused("unknown", 403), 403, "refused_by_logto", info, cureOtherUser, "not allowed"},
		"a server_error that is no callback":       {refused("server_error", 400), 400, "refused_by_logto", info, cureSignIn, "refused the request"},
		"a response type that Logto does not know": {refused("unsupported_response_type", 0), 400, "refused_by_logto", warn, cureNone, "not set up correctly"},
	} {
		found := meaningOf(test.err)
		if found.status != test.status || found.reason != test.reason || found.level != test.level || found.cure != test.cure || !strings.Contains(found.advice, test.advice) {
			t.Errorf("%s means %+v", name, found)
		}
	}
}

// rowless are errors that reach no user.
var rowless = []string{
	"errAskerGone", // the others ask again
}

var (
	anError     = regexp.MustCompile(`\b[Ee]rr[A-Z]\w*`)
	declaration = regexp.MustCompile(`(?m)^(?:var |\t)([Ee]rr[A-Z]\w*) += (.*)$`)
	rowOfTable  = regexp.MustCompile(`(?m)^\t\{(.*), \d{3}, "`)
)

// sourceOf is the code of the files with these names, without the tests.
func sourceOf(t *testing.T, pattern string) (source string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source += string(raw)
		}
	}
	return source
}

// An error has a row, or wraps one that has.
func TestEachErrorHasARow(t *testing.T) {
	t.Parallel()
	source := sourceOf(t, "*.go")
	_, misuse, _ := strings.Cut(source, "\nfunc isMisuse(")
	misuse, _, _ = strings.Cut(misuse, "\n}")
	inTable := anError.FindAllString(misuse, -1)
	for _, row := range rowOfTable.FindAllStringSubmatch(source, -1) {
		inTable = append(inTable, anError.FindAllString(row[1], -1)...)
	}
	declared := declaration.FindAllStringSubmatch(source, -1)
	for range declared { // an error may wrap one that wraps one
		for _, one := range declared {
			if wrapped := anError.FindString(one[2]); slices.Contains(inTable, wrapped) && !slices.Contains(inTable, one[1]) {
				inTable = append(inTable, one[1])
			}
		}
	}
	for _, one := range declared {
		if !slices.Contains(inTable, one[1]) && !slices.Contains(rowless, one[1]) {
			t.Errorf("%s has no row in meanings, and wraps no error that has one", one[1])
		}
	}
	if len(declared) < 30 {
		t.Errorf("only %d errors were found", len(declared))
	}
}

var levelNames = map[slog.Level]string{levelNone: "nothing", slog.LevelInfo: "Info", slog.LevelWarn: "Warning", slog.LevelError: "Error"}

// docs/errors.md has a line for each row, in the same order. Its first column is written by hand.
func TestTheDocumentSaysWhatErrorsLeadTo(t *testing.T) {
	t.Parallel()
	const heading = "\n## What an error leads to\n"
	raw, err := os.ReadFile("docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	before, section, _ := strings.Cut(string(raw), heading)
	section, after, _ := strings.Cut(section, "\n## ")
	rows := rowOfTable.FindAllStringSubmatch(sourceOf(t, "errors.go"), -1)
	lines, next := strings.Split(section, "\n"), 0
	for i, line := range lines {
		cells := strings.Split(line, " | ")
		if len(cells) < 2 || cells[0] == "| Error" || cells[0] == "| ---" {
			continue
		}
		if next == len(rows) || next == len(examples) {
			t.Fatalf("docs/errors.md has a line for no row: %s", cells[0])
		}
		if name := regexp.MustCompile(`[( ](Err\w+)`).FindStringSubmatch(rows[next][1]); name != nil && !strings.Contains(cells[0], "`"+name[1]+"`") {
			t.Fatalf("docs/errors.md has the line %s in the place of %s", cells[0], name[1])
		}
		found := meaningOf(examples[next])
		lines[i] = fmt.Sprintf("%s | %d | `%s` | %s | %s |", cells[0], found.status, found.reason, levelNames[found.level], found.advice)
		if lines[i] != line && *writeErrors == "" {
			t.Errorf("docs/errors.md is not up to date, make errors writes it anew:\n%s\n%s", line, lines[i])
		}
		next++
	}
	if next != len(rows) {
		t.Errorf("docs/errors.md has %d lines for %d rows", next, len(rows))
	}
	if *writeErrors != "" {
		if err := os.WriteFile(*writeErrors, []byte(before+heading+strings.Join(lines, "\n")+"\n## "+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
