package logtogin_test

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/logtogin/logtogin"
)

// isShown is how code is compared: white space does not count.
func isShown(code string) string {
	return strings.TrimSpace(regexp.MustCompile(`\s+`).ReplaceAllString(code, " "))
}

// Go code in the README and the documents stands in a test as it is, which is compiled and
// mostly run. Of a whole program, package and imports need not.
func TestReadmeAndDocsShowWhatRuns(t *testing.T) {
	t.Parallel()
	read := func(pattern string) (found []string) {
		t.Helper()
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, name := range names {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, string(raw))
		}
		return found
	}
	var sources string
	for _, pattern := range []string{"readme_test.go", "docs/*_test.go", "logtotest/example_test.go", "integration/docs_test.go"} {
		sources += isShown(strings.Join(read(pattern), "\n"))
	}
	blocks := 0
	for _, document := range append(read("README.md"), read("docs/*.md")...) {
		title, _, _ := strings.Cut(document, "\n")
		for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(document, -1) {
			blocks++
			code := block[1]
			if strings.HasPrefix(code, "package main\n") {
				_, code, _ = strings.Cut(code, "\n)\n")
			}
			if !strings.Contains(sources, isShown(code)) {
				t.Errorf("%s: this is not run:\n%s", title, block[1])
			}
		}
	}
	if blocks < 50 {
		t.Errorf("only %d blocks were found", blocks)
	}
}

// Links between the documents lead somewhere, headings included.
func TestReadmeAndDocsLinksLead(t *testing.T) {
	t.Parallel()
	headings := func(name string) (anchors []string) {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
			return nil
		}
		text := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(raw), "")
		for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
			// As GitHub makes them.
			anchor := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
			anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
		}
		return anchors
	}
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, document := range append(documents, "README.md", "CONTRIBUTING.md") {
		raw, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)\s]*)\)`).FindAllStringSubmatch(string(raw), -1) {
			target, err := url.Parse(link[1])
			if err != nil {
				t.Errorf("%s: %v", document, err)
				continue
			}
			if target.IsAbs() {
				continue
			}
			links++
			file := document
			if target.Path != "" {
				file = filepath.Join(filepath.Dir(document), target.Path)
			}
			if anchors := headings(file); target.Fragment != "" && !slices.Contains(anchors, target.Fragment) {
				t.Errorf("%s: there is no %q in %s", document, target.Fragment, file)
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}

// The table of the configuration has every field, with the variable that sets it.
func TestTheReadmesTableOfTheConfiguration(t *testing.T) {
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## Configuration\n")
	section, _, _ = strings.Cut(section, "\n## ")
	variables := map[string]string{}
	for row := range strings.Lines(section) {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			continue
		}
		for _, field := range regexp.MustCompile("`([A-Za-z]+)`").FindAllStringSubmatch(cells[1], -1) {
			variables[field[1]] = strings.Trim(cells[2], " `")
		}
	}
	for field := range reflect.TypeFor[logtogin.Config]().Fields() {
		variable, ok := variables[field.Name]
		if !ok {
			t.Errorf("%s is missing", field.Name)
		}
		delete(variables, field.Name)
		inEnvironment := "LOGTO" + regexp.MustCompile(`[A-Z]+[a-z]*`).ReplaceAllStringFunc(
			strings.NewReplacer("ID", "Id", "URL", "Url").Replace(field.Name), func(word string) string { return "_" + strings.ToUpper(word) })
		t.Setenv(inEnvironment, "90s")
		cfg, err := logtogin.ConfigFromEnv()
		if err != nil {
			t.Fatal(err)
		}
		if isRead := !reflect.ValueOf(cfg).FieldByName(field.Name).IsZero(); isRead != (variable != "") || (isRead && variable != inEnvironment) {
			t.Errorf("%s: the table says %q; %s is read: %v", field.Name, variable, inEnvironment, isRead)
		}
	}
	for name := range variables {
		t.Errorf("there is no %s", name)
	}
}
