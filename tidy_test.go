// The tree polices itself: imports point down, the core is pure, files open with
// their subject, exported names are documented.

package main

import (
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

const module = "example.com/raftexample"

// allowed says which packages of this module each package may import. Beyond these
// the library has the standard library, and raftpb protowire.
var allowed = map[string][]string{
	"raft/raftpb":      nil,
	"raft/quorum":      nil,
	"raft/tracker":     {"raft/quorum", "raft/raftpb"},
	"raft/confchange":  {"raft/tracker", "raft/quorum", "raft/raftpb"},
	"raft":             {"raft/confchange", "raft/tracker", "raft/quorum", "raft/raftpb"},
	"raft/vfs":         nil,
	"raft/vfs/crashfs": {"raft/vfs"},
	"raft/wal":         {"raft/raftpb", "raft/vfs"},
	"raft/snap":        {"raft/raftpb", "raft/vfs"},
	"raft/rafthttp":    {"raft/raftpb"},
	"raft/rafttest":    {"raft", "raft/raftpb", "raft/wal", "raft/snap", "raft/vfs", "raft/vfs/crashfs"},
	".":                {"raft", "raft/raftpb", "raft/wal", "raft/snap", "raft/vfs", "raft/rafthttp"},
}

// source is a parsed file.
type source struct {
	path string
	dir  string
	test bool
	fset *token.FileSet
	file *ast.File
}

func parseTree(t *testing.T) []source {
	t.Helper()
	var files []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || strings.HasPrefix(d.Name(), "interop") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		files = append(files, source{path, filepath.ToSlash(filepath.Dir(path)), strings.HasSuffix(path, "_test.go"), fset, f})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 60 {
		t.Fatalf("only %d files", len(files))
	}
	return files
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range parseTree(t) {
		if s.test {
			continue
		}
		may, known := allowed[s.dir]
		if !known {
			t.Errorf("%s: package %s is not in the list of who may import whom", s.path, s.dir)
		}
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			local, inside := strings.CutPrefix(path, module+"/")
			switch {
			case inside && !slices.Contains(may, local):
				t.Errorf("%s imports %s", s.path, path)
			case !inside && strings.Contains(path, ".") && s.dir != "." && path != "google.golang.org/protobuf/encoding/protowire":
				t.Errorf("%s imports %s: the library has the standard library and protowire", s.path, path)
			case !inside && strings.Contains(path, ".") && s.dir != "." && s.dir != "raft/raftpb":
				t.Errorf("%s imports %s: that is for raftpb alone", s.path, path)
			}
		}
	}
}

// No I/O, no clock, no goroutine in the state machine.
func TestTheCoreIsPure(t *testing.T) {
	for _, s := range parseTree(t) {
		if s.test || !slices.Contains([]string{"raft", "raft/quorum", "raft/tracker", "raft/confchange"}, s.dir) {
			continue
		}
		name := filepath.Base(s.path)
		for _, spec := range s.file.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			if (path == "time" || strings.HasPrefix(path, "net") || strings.HasPrefix(path, "os") || path == "io") && name != "logger.go" {
				t.Errorf("%s imports %s", s.path, path)
			}
			if (path == "sync" || path == "context") && !strings.HasPrefix(name, "node") && name != "logger.go" && name != "memory_storage.go" {
				t.Errorf("%s imports %s", s.path, path)
			}
		}
		if strings.HasPrefix(name, "node") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.ChanType, *ast.SendStmt:
				t.Errorf("%s: goroutines and channels are for node.go and node_loop.go", s.fset.Position(n.Pos()))
			}
			return true
		})
	}
}

// Only main ends the process.
func TestOnlyMainExits(t *testing.T) {
	for _, s := range parseTree(t) {
		if s.test || s.path == "main.go" || s.path == "raft/logger.go" { // whose Fatal must
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok && (pkg.Name == "os" && sel.Sel.Name == "Exit" || pkg.Name == "log" && strings.HasPrefix(sel.Sel.Name, "Fatal")) {
					t.Errorf("%s ends the process", s.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

// A file opens with its subject.
func TestFilesOpenWithTheirSubject(t *testing.T) {
	for _, s := range parseTree(t) {
		if s.test {
			continue
		}
		if len(s.file.Comments) == 0 || s.file.Comments[0].Pos() > s.file.Package {
			t.Errorf("%s does not open with what it is about", s.path)
		}
	}
}

// Every exported name of the library says what it means.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range parseTree(t) {
		if s.test || s.dir == "." {
			continue
		}
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !documentedElsewhere(d) {
					t.Errorf("%s: %s has no comment", s.fset.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
						t.Errorf("%s: %s has no comment", s.fset.Position(ts.Pos()), ts.Name.Name)
					}
				}
			}
		}
	}
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}

// documentedElsewhere: String and the like say nothing that their names do not.
func documentedElsewhere(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Error", "String"}, d.Name.Name)
}

// What the README names is there: tests, files, flags; and no flag is left out.
func TestTheReadmeNamesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme, tests := string(text), map[string]bool{}
	for _, s := range parseTree(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && s.test {
				tests[f.Name.Name] = true
			}
		}
	}
	beside, err := filepath.Glob("interop/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range beside {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[f[1]] = true
		}
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(readme, -1)
	for _, name := range named {
		if !tests[name] {
			t.Errorf("the README names %s, which there is not", name)
		}
	}
	if len(named) < 30 {
		t.Errorf("the README names only %d tests", len(named))
	}
	for _, quoted := range regexp.MustCompile("`([a-z_./]+\\.go|(?:raft|interop)/[a-z./]*)`").FindAllStringSubmatch(readme, -1) {
		there := false
		for _, dir := range []string{".", "raft", "raft/*"} { // the README says so, or goes on with a list
			match, err := filepath.Glob(filepath.Join(dir, quoted[1]))
			there = there || err == nil && len(match) > 0
		}
		if !there {
			t.Errorf("the README names %s, which there is not", quoted[1])
		}
	}
	for word := range strings.FieldsSeq(usage) {
		if flag := strings.Trim(word, ","); strings.HasPrefix(flag, "--") && !strings.Contains(readme, "| `"+flag) && !strings.Contains(readme, ", `"+flag) {
			t.Errorf("the README's table has no %s", flag)
		}
	}
}

// Every command that the README shows is run by one of its tests, as it stands there.
func TestEveryCommandOfTheReadmeIsTried(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, block := range strings.Split(string(readme), "```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			commands++
			if line != "go test ./..." && !strings.Contains(string(tests), line) { // this is it
				t.Errorf("no test runs: %s", line)
			}
		}
	}
	if commands < 15 {
		t.Errorf("only %d commands", commands)
	}
}
