package logtogin_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What only some files may know. jwx is to be replaced one day; who talks to
// Logto, and who knows how sessions are stored, is to stay in sight.
func TestFilesKnowOnlyWhatTheyShould(t *testing.T) {
	t.Parallel()
	fences := map[string][]string{
		"github.com/lestrrat-go/jwx":             {"keys.go", "verify.go"},
		"github.com/gorilla/":                    {"store.go", "internal/anystore/anystore.go", "internal/cookiestore/cookiestore.go"},
		"github.com/gin-contrib/sessions":        {"config.go", "internal/anystore/anystore.go", "internal/cookiestore/cookiestore.go"},
		"golang.org/x/oauth2":                    {"answers.go", "provider.go", "signin.go"},
		"github.com/logtogin/logtogin/logtotest": {"_example/announce.go", "_example/fake.go"},
		"go.opentelemetry.io/otel":               {"telemetry/telemetry.go"},
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"internal/*/*.go", "_example/*.go", "logtotest/*.go", "redisstate/*.go", "telemetry/*.go"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	checked := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		checked++
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for prefix, allowed := range fences {
				if strings.HasPrefix(path, prefix) && !slices.Contains(allowed, filepath.ToSlash(file)) {
					t.Errorf("%s imports %s, which is for %v", file, path, allowed)
				}
			}
			if file == "claims.go" && strings.Contains(path, "gin") && !strings.Contains(path, "logtogin") {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d files were found", checked)
	}
}
