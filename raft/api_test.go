// The exported API, name by name, against a list: programs are written to it, so it
// changes on purpose or not at all. go test -run API -rewrite writes api.txt anew.

package raft

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// exportedAPI lists what the files of a directory export, one line each.
func exportedAPI(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	add := func(parts ...any) {
		var text bytes.Buffer
		for _, part := range parts {
			if node, ok := part.(ast.Node); ok {
				if err := printer.Fprint(&text, token.NewFileSet(), node); err != nil {
					t.Fatal(err)
				}
				continue
			}
			fmt.Fprint(&text, part)
		}
		lines = append(lines, dir+": "+strings.Join(strings.Fields(text.String()), " "))
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
					signature := *d
					signature.Body, signature.Doc = nil, nil
					add(&signature)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					describeSpec(d.Tok, spec, add)
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// describeSpec lists an exported constant, variable or type with its exported fields
// or methods.
func describeSpec(tok token.Token, spec ast.Spec, add func(...any)) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() {
				add(tok, " ", name.Name)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		var members *ast.FieldList
		switch kind := s.Type.(type) {
		case *ast.StructType:
			add("type ", s.Name.Name, " struct")
			members = kind.Fields
		case *ast.InterfaceType:
			add("type ", s.Name.Name, " interface")
			members = kind.Methods
		default:
			add("type ", s.Name.Name, " ", s.Type)
			return
		}
		for _, field := range members.List {
			if len(field.Names) == 0 {
				add(s.Name.Name, " embeds ", field.Type)
			}
			for _, name := range field.Names {
				if name.IsExported() {
					add(s.Name.Name, ".", name.Name, " ", field.Type)
				}
			}
		}
	}
}

// receiver returns the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	switch t := d.Recv.List[0].Type.(type) {
	case *ast.StarExpr:
		if name, ok := t.X.(*ast.Ident); ok {
			return name.Name
		}
	case *ast.Ident:
		return t.Name
	}
	return ""
}

func TestAPI(t *testing.T) {
	var lines []string
	for _, dir := range []string{".", "raftpb", "quorum", "tracker", "confchange"} {
		lines = append(lines, exportedAPI(t, dir)...)
	}
	got := strings.Join(lines, "\n") + "\n"
	if rewrite := flag.Lookup("rewrite"); rewrite != nil && rewrite.Value.String() == "true" {
		if err := os.WriteFile("api.txt", []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("api.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("the exported API is not what api.txt lists (-listed +is):\n%s", diff)
	}
}

// Programs match these by name, and show their texts.
func TestErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		"requested index is unavailable due to compaction":    ErrCompacted,
		"requested index is older than the existing snapshot": ErrSnapOutOfDate,
		"requested entry at index is unavailable":             ErrUnavailable,
		"snapshot is temporarily unavailable":                 ErrSnapshotTemporarilyUnavailable,
		"raft proposal dropped":                               ErrProposalDropped,
		"raft: cannot step raft local message":                ErrStepLocalMsg,
		"raft: cannot step as peer not found":                 ErrStepPeerNotFound,
		"raft: stopped":                                       ErrStopped,
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
