package logtogin_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var writeAttacks = flag.String("write-attacks", "", "the document whose last column is to be written anew by TestEveryAttackIsTested")

const attackCases = 98

// Every case of attack is cited by a test, or does not apply for a reason that
// docs/security.md gives; docs/attacks.md says which, as it is.
func TestEveryAttackIsTested(t *testing.T) {
	t.Parallel()
	tested, exempt := citations(t), exemptions(t)
	raw, err := os.ReadFile("docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	next := 1
	for i, line := range lines {
		row := regexp.MustCompile(`^\| C(\d+) \| ([^|]+) \| (.*) \|$`).FindStringSubmatch(line)
		if row == nil {
			continue
		}
		if row[1] != strconv.Itoa(next) {
			t.Fatalf("C%d is missing or in the wrong place", next)
		}
		where := slices.Clone(tested[next])
		if exempt[next] {
			label := map[bool]string{true: "does not apply", false: "does not apply in part"}[len(where) == 0]
			where = append(where, "["+label+"](security.md#cases-that-do-not-apply)")
		}
		if len(where) == 0 {
			t.Errorf("C%d is not tested: %s", next, row[2])
		}
		lines[i] = fmt.Sprintf("| C%d | %s | %s |", next, row[2], strings.Join(where, "<br>"))
		if lines[i] != line && *writeAttacks == "" {
			t.Errorf("docs/attacks.md is not up to date, make attacks writes it anew:\n%s\n%s", line, lines[i])
		}
		next++
	}
	if next != attackCases+1 {
		t.Errorf("docs/attacks.md ends at C%d", next-1)
	}
	if *writeAttacks != "" {
		if err := os.WriteFile(*writeAttacks, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// exemptions are the cases in the table of docs/security.md.
func exemptions(t *testing.T) map[int]bool {
	t.Helper()
	raw, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## Cases that do not apply\n")
	exempt := map[int]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (C\d[^|]*) \| ([^|]+) \|$`).FindAllStringSubmatch(section, -1) {
		for _, number := range cited(t, row[1]) {
			if exempt[number] || len(row[2]) < 20 {
				t.Errorf("docs/security.md: C%d stands there twice or without a reason", number)
			}
			exempt[number] = true
		}
	}
	if len(exempt) == 0 {
		t.Error("docs/security.md has no table of cases that do not apply")
	}
	return exempt
}

// A "%" before it is an escaped byte of a URL.
var citation = regexp.MustCompile(`(?:^|[^%\w])C(\d{1,2})\b(?: to C(\d{1,2})\b)?`)

func cited(t *testing.T, text string) (numbers []int) {
	t.Helper()
	for _, match := range citation.FindAllStringSubmatch(text, -1) {
		first, _ := strconv.Atoi(match[1])
		last := first
		if match[2] != "" {
			last, _ = strconv.Atoi(match[2])
		}
		if first < 1 || last > attackCases || last < first {
			t.Errorf("there is no case like that in %q", text)
		}
		for number := first; number <= last; number++ {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// citations are the tests that cite each case: in their comments, in their names, or in
// what they use.
func citations(t *testing.T) map[int][]string {
	t.Helper()
	files := map[string][]string{} // by folder
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			files[filepath.Dir(path)] = append(files[filepath.Dir(path)], path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[int][]string{}
	for _, paths := range files {
		citationsIn(t, paths, found)
	}
	for number := range found {
		slices.Sort(found[number])
		found[number] = slices.Compact(found[number])
	}
	return found
}

// declaration is what a test file declares at its top.
type declaration struct {
	where  string // "" if it is no test
	cites  []int
	uses   map[string]bool
	isUsed bool
}

func citationsIn(t *testing.T, paths []string, found map[int][]string) {
	t.Helper()
	declared := map[string]*declaration{}
	for _, path := range paths {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, top := range file.Decls {
			declare(t, path, file, top, declared)
		}
	}
	for _, one := range declared {
		if one.where == "" {
			continue
		}
		reached := map[string]bool{}
		var reach func(d *declaration)
		reach = func(d *declaration) {
			for _, number := range d.cites {
				found[number] = append(found[number], one.where)
				d.isUsed = true
			}
			for name := range d.uses {
				if next := declared[name]; next != nil && next.where == "" && !reached[name] {
					reached[name] = true
					reach(next)
				}
			}
		}
		reach(one)
	}
	for name, d := range declared {
		if len(d.cites) > 0 && !d.isUsed && d.where == "" {
			t.Errorf("%s cites cases, but no test uses it", name)
		}
	}
}

func declare(t *testing.T, path string, file *ast.File, top ast.Decl, declared map[string]*declaration) {
	t.Helper()
	d := &declaration{uses: map[string]bool{}}
	from, to := top.Pos(), top.End()
	var names []string
	switch top := top.(type) {
	case *ast.FuncDecl:
		names = []string{top.Name.Name}
		if top.Doc != nil {
			from = top.Doc.Pos()
		}
		if strings.HasPrefix(names[0], "Test") || strings.HasPrefix(names[0], "Fuzz") {
			d.where = "`" + filepath.ToSlash(path) + "` " + names[0]
		}
	case *ast.GenDecl:
		if top.Doc != nil {
			from = top.Doc.Pos()
		}
		for _, spec := range top.Specs {
			if values, ok := spec.(*ast.ValueSpec); ok {
				for _, name := range values.Names {
					names = append(names, name.Name)
				}
			}
		}
	}
	for _, group := range file.Comments {
		if group.Pos() >= from && group.End() <= to {
			d.cites = append(d.cites, cited(t, group.Text())...)
		}
	}
	ast.Inspect(top, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.BasicLit:
			if text, err := strconv.Unquote(node.Value); err == nil && node.Kind == token.STRING {
				d.cites = append(d.cites, cited(t, text)...)
			}
		case *ast.Ident:
			d.uses[node.Name] = true
		}
		return true
	})
	for _, name := range names {
		declared[name] = d
	}
}
