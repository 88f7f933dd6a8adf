// Source compatibility: programs written for etcd's library are built against ours
// by changing import paths and nothing else, and print the same.

package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	ourPath   = "example.com/raftexample/raft"
	theirPath = "go.etcd.io/raft/v3"
)

// module makes a module in a temporary directory that requires what ours does,
// and both libraries.
func module(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(mod), "module example.com/raftexample/interop", "module example.com/swapped", 1)
	text = strings.Replace(text, "=> ../", "=> "+root, 1)
	writeFile(t, filepath.Join(dir, "go.mod"), text)
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "go.sum"), string(sum))
	return dir
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// swapImports replaces import paths that begin with from, and nothing else.
func swapImports(t *testing.T, text, from, to string) string {
	t.Helper()
	swapped := strings.ReplaceAll(strings.ReplaceAll(text, `"`+from+`"`, `"`+to+`"`), `"`+from+`/`, `"`+to+`/`)
	if swapped == text {
		t.Fatalf("the program does not import %s", from)
	}
	return swapped
}

// command runs a program of the go tool, or one that it built, and returns its
// output.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &errOut)
	}
	return out.String()
}

// The same program prints the same with either library.
func TestProgramsRunOnBoth(t *testing.T) {
	programs, err := filepath.Glob("testdata/programs/*/main.go")
	if err != nil || len(programs) == 0 {
		t.Fatal(programs, err)
	}
	for _, program := range programs {
		t.Run(filepath.Base(filepath.Dir(program)), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			run := func(text string) string {
				dir := module(t)
				writeFile(t, filepath.Join(dir, "main.go"), text)
				command(t, dir, "go", "build", "-o", "program", ".")
				return command(t, dir, filepath.Join(dir, "program"))
			}
			their := run(string(text))
			our := run(swapImports(t, string(text), theirPath, ourPath))
			if our != their {
				d := &difference{a: our, b: their}
				t.Errorf("the outputs differ:\n%s", diffLines(d, "ours", "etcd"))
			}
			if len(their) < 100 {
				t.Errorf("there is little output to compare: %q", their)
			}
		})
	}
}
