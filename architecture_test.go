package logtogin_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/logtogin/logtogin"

// layers are the packages of this module from the top down. A package imports only packages of
// the lines below its own.
var layers = [][]string{
	{"_example", "logtotest/faults"},
	{"logtotest", "memorystate", "redisstate", "telemetry"},
	{"logtotest/internal/jose", "logtotest/internal/serving"},
	{"."},
	{"internal/diagnosis", "internal/session"},
	{"internal/logto", "internal/anystore", "internal/response", "internal/shared"},
	{"internal/cookiestore", "internal/oauth", "internal/remote", "internal/tokentransport"},
	{"internal/bounded", "internal/cache", "internal/fault", "internal/flight", "internal/jsonobject", "internal/page", "internal/recent", "internal/record", "internal/seal", "internal/web"},
}

// homes are the packages, or the files, that may import a dependency. Dependencies are replaced
// one day, and then few places have to change.
var homes = map[string][]string{
	"github.com/gin-gonic/gin":        {".", "_example"},
	"github.com/gin-contrib/sessions": {"config.go"},
	"github.com/gorilla/":             {"store.go", "internal/session", "internal/anystore", "internal/cookiestore"},
	"github.com/lestrrat-go/jwx":      {"internal/logto"},
	"golang.org/x/oauth2":             {"internal/logto"},
	"golang.org/x/net":                {"internal/web"},
	"html/template":                   {"logtotest", "_example"}, // with it the linker keeps all methods: 6.6 MB in every binary
	"github.com/redis/go-redis":       {"redisstate", "_example"},
	"go.opentelemetry.io/otel":        {"telemetry"},
	module + "/logtotest":             {"_example/announce.go", "_example/fake.go", "logtotest", "logtotest/faults"},
}

// listedPackage is what "go list" prints of a package.
type listedPackage struct {
	Dir        string
	ImportPath string
	Export     string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// listPackages returns the packages of this module, or with dependencies all that they need,
// with compiled export data.
func listPackages(t *testing.T, args ...string) []listedPackage {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=Dir,ImportPath,Export,GoFiles,Imports,Deps"}, args...)...)
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	if err := command.Run(); err != nil {
		t.Fatalf("go list: %v\n%s", err, complaints.String())
	}
	var packages []listedPackage
	for decoder := json.NewDecoder(&output); ; {
		var listed listedPackage
		if err := decoder.Decode(&listed); err == io.EOF {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, listed)
	}
}

// place is the folder of a package of this module, "." for the root.
func place(importPath string) (folder string, isOurs bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func layerOf(folder string) int {
	return slices.IndexFunc(layers, func(layer []string) bool { return slices.Contains(layer, folder) })
}

// browserLike is the one import of an internal package from above the root: the clients of logtotest write addresses as
// browsers do, and so does the root.
const browserLike = "logtotest internal/web"

func TestPackagesImportDownwardsOnly(t *testing.T) {
	t.Parallel()
	found := 0
	for _, listed := range listPackages(t, "./...", "./_example") {
		folder, _ := place(listed.ImportPath)
		if len(listed.GoFiles) == 0 {
			continue // tests only
		}
		found++
		layer := layerOf(folder)
		if layer < 0 {
			t.Errorf("%s is in no layer: enter it in layers", folder)
			continue
		}
		for _, dependency := range listed.Imports {
			if imported, isOurs := place(dependency); isOurs && layerOf(imported) <= layer {
				t.Errorf("%s imports %s, which is not in a layer below it", folder, imported)
			} else if isOurs && layer < layerOf(".") && strings.HasPrefix(imported, "internal/") && folder+" "+imported != browserLike {
				t.Errorf("%s imports %s: above the root, packages use its public API", folder, imported)
			}
		}
	}
	if want := len(slices.Concat(layers...)); found != want {
		t.Errorf("%d packages were found and %d are in layers", found, want)
	}
}

func TestDependenciesHaveAHome(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, listed := range listPackages(t, "./...", "./_example") {
		folder, _ := place(listed.ImportPath)
		for _, name := range listed.GoFiles {
			file := path.Join(folder, name)
			for _, imported := range importsOf(t, filepath.Join(listed.Dir, name)) {
				for prefix, allowed := range homes {
					if !strings.HasPrefix(imported, prefix) {
						continue
					}
					used[prefix] = true
					if !slices.Contains(allowed, folder) && !slices.Contains(allowed, file) {
						t.Errorf("%s imports %s, which only %v may", file, imported, allowed)
					}
				}
				if file == "claims.go" && strings.Contains(imported, "/gin") {
					t.Errorf("%s imports %s: claims are read without a router", file, imported)
				}
			}
		}
		for _, needed := range listed.Deps {
			switch {
			case layerOf(folder) > layerOf(".") && strings.HasPrefix(needed, "github.com/gin-"):
				t.Errorf("%s needs %s, by way of what it imports: what is below the root is to be understood, and tested, without a router", folder, needed)
			case folder == "internal/session" && (strings.HasPrefix(needed, "github.com/lestrrat-go/") || needed == "html" || needed == "html/template"):
				t.Errorf("%s needs %s, by way of what it imports: sessions know no token format and no page", folder, needed)
			}
		}
	}
	for prefix := range homes {
		if !used[prefix] {
			t.Errorf("nothing imports %s", prefix)
		}
	}
}

func importsOf(t *testing.T, file string) (paths []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, imported)
	}
	return paths
}

func TestFilesCallEachOtherInNoCircle(t *testing.T) {
	t.Parallel()
	exports, ours := exportData(t)
	for _, listed := range ours {
		folder, _ := place(listed.ImportPath)
		graph := graphOf(t, listed, exports)
		t.Log(folder, graph)
		for _, files := range graph.circles() {
			t.Errorf("%s: %v call each other in a circle: let a file be called, or call, and not both", folder, files)
		}
	}
}

// maxFunction is how many lines a function has at most, its signature and comments included.
const maxFunction = 60

func TestFunctionsAreShort(t *testing.T) {
	t.Parallel()
	for _, listed := range listPackages(t, "./...", "./_example") {
		for _, name := range listed.GoFiles {
			files := token.NewFileSet()
			parsed, err := parser.ParseFile(files, filepath.Join(listed.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, declared := range parsed.Decls {
				function, isFunction := declared.(*ast.FuncDecl)
				if !isFunction {
					continue
				}
				if lines := files.Position(function.End()).Line - files.Position(function.Pos()).Line + 1; lines > maxFunction {
					t.Errorf("%s in %s has %d lines: split it, %d at most", function.Name, path.Join(listed.ImportPath, name), lines, maxFunction)
				}
			}
		}
	}
}

// The tables of CONTRIBUTING.md have each package, each file of the root and of packages with a table of their own, and
// no other; each arrow of its diagram is a call between two files, or an import.
func TestTheMapOfTheCodeIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## What is where")
	inTable, hasTable, folder := map[string]bool{}, map[string]bool{}, ""
	for line := range strings.Lines(table) {
		if rest, isHeading := strings.CutPrefix(line, "In `"); isHeading { // the table of its files follows
			folder, _, _ = strings.Cut(rest, "`")
			hasTable[folder] = true
		}
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		for i, name := range strings.Split(cell, "`") {
			if strings.HasPrefix(line, "| `") && i%2 == 1 {
				inTable[path.Join(folder, name)] = true
			}
		}
	}
	exports, ours := exportData(t)
	calls := map[string]map[string]bool{} // of nodes in the diagram
	for _, listed := range ours {
		folder, _ := place(listed.ImportPath)
		calls[folder] = map[string]bool{}
		if folder != "." && !inTable[folder] {
			t.Errorf("%s is missing in the table", folder)
		}
		for _, imported := range listed.Imports {
			calls[folder][strings.TrimPrefix(imported, module+"/")] = true
		}
		if hasTable[folder] {
			for _, file := range listed.GoFiles {
				if !inTable[path.Join(folder, file)] {
					t.Errorf("%s is missing in the table", path.Join(folder, file))
				}
			}
		}
		if folder != "." {
			continue
		}
		for file, called := range graphOf(t, listed, exports).calls {
			node := strings.TrimSuffix(file, ".go")
			if !inTable[file] {
				t.Errorf("%s is missing in the table", file)
			}
			calls[node] = map[string]bool{}
			for other := range called {
				calls[node][strings.TrimSuffix(other, ".go")] = true
			}
			for _, imported := range importsOf(t, file) {
				calls[node][strings.TrimPrefix(imported, module+"/")] = true
			}
		}
	}
	for entry := range inTable {
		if _, err := os.Stat(entry); err != nil {
			t.Errorf("the table has %s, which is not there", entry)
		}
	}
	_, diagram, _ := strings.Cut(string(text), "flowchart TD\n")
	diagram, _, _ = strings.Cut(diagram, "```")
	labels, arrows := map[string]string{}, 0
	for line := range strings.Lines(diagram) {
		if node, label, isPackage := strings.Cut(strings.TrimSpace(line), `["internal/`); isPackage && !strings.Contains(node, " ") {
			labels[node] = "internal/" + strings.TrimSuffix(label, `"]`)
		}
		from, to, isArrow := strings.Cut(strings.TrimSpace(line), " --> ")
		if !isArrow {
			continue
		}
		for caller := range strings.SplitSeq(from, " & ") {
			for called := range strings.SplitSeq(to, " & ") {
				caller, called := cmp.Or(labels[caller], caller), cmp.Or(labels[called], called)
				if arrows++; !calls[caller][called] {
					t.Errorf("the diagram has an arrow from %s to %s, which calls nothing there", caller, called)
				}
			}
		}
	}
	if arrows == 0 {
		t.Error("the diagram has no arrows")
	}
}

// fileGraph is which files of a package call which.
type fileGraph struct {
	calls map[string]map[string]bool
	lines int // of code, without comments and blank lines
}

func (g fileGraph) String() string {
	edges, inCircles := 0, 0
	for _, called := range g.calls {
		edges += len(called)
	}
	for _, files := range g.circles() {
		inCircles += len(files)
	}
	return fmt.Sprintf("%d files, %d lines of code, %d edges, %d files in circles", len(g.calls), g.lines, edges, inCircles)
}

// circles are the sets of files each of which leads to all the others.
func (g fileGraph) circles() (circles [][]string) {
	reached := map[string]map[string]bool{}
	for file := range g.calls {
		reached[file] = map[string]bool{}
		for pending := slices.Collect(maps.Keys(g.calls[file])); len(pending) > 0; {
			next := pending[0]
			pending = pending[1:]
			if !reached[file][next] {
				reached[file][next] = true
				pending = slices.AppendSeq(pending, maps.Keys(g.calls[next]))
			}
		}
	}
	seen := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(g.calls)) {
		if seen[file] || !reached[file][file] {
			continue
		}
		var files []string
		for _, other := range slices.Sorted(maps.Keys(reached[file])) {
			if reached[other][file] {
				seen[other] = true
				files = append(files, other)
			}
		}
		circles = append(circles, files)
	}
	return circles
}

// exportData is where the compiled packages are, and which of them are the root, internal packages and logtotest.
func exportData(t *testing.T) (exports map[string]string, ours []listedPackage) {
	t.Helper()
	exports = map[string]string{}
	for _, listed := range listPackages(t, "-export", "-deps", ".", "./logtotest/...") {
		exports[listed.ImportPath] = listed.Export
		if _, isOurs := place(listed.ImportPath); isOurs {
			ours = append(ours, listed)
		}
	}
	return exports, ours
}

// graphOf finds out which files of a package call functions and methods of which others.
func graphOf(t *testing.T, listed listedPackage, exports map[string]string) fileGraph {
	t.Helper()
	files := token.NewFileSet()
	var parsed []*ast.File
	graph := fileGraph{calls: map[string]map[string]bool{}}
	for _, name := range listed.GoFiles {
		source, err := os.ReadFile(filepath.Join(listed.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
		graph.calls[name] = map[string]bool{}
		graph.lines += linesOfCode(source)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	checked, err := config.Check(listed.ImportPath, files, parsed, info)
	if err != nil {
		t.Fatal(err)
	}
	for use, object := range info.Uses {
		called, isFunction := object.(*types.Func)
		if !isFunction || called.Pkg() != checked {
			continue
		}
		from, to := files.File(use.Pos()).Name(), files.File(called.Pos()).Name()
		if from != to {
			graph.calls[from][to] = true
		}
	}
	return graph
}

// linesOfCode counts the lines that have more than a comment.
func linesOfCode(source []byte) int {
	files := token.NewFileSet()
	file := files.AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, nil, 0)
	lines := map[int]bool{}
	for {
		at, what, literal := s.Scan()
		if what == token.EOF {
			return len(lines)
		}
		if what == token.SEMICOLON && literal == "\n" {
			continue
		}
		for line := range strings.Count(literal, "\n") + 1 {
			lines[file.Line(at)+line] = true
		}
	}
}
