// The programs that tests run as processes of their own, each built once for all.

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// atOnce is how many tests run at once, but for those that measure: they mostly wait, for
// elections and for time to pass, so there can be more of them than processors.
func atOnce() int {
	processors := runtime.GOMAXPROCS(0)
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return 2 * processors // the race detector keeps them busier
	}
	return max(8, processors)
}

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce())); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if err := binaries.remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// binaries are the programs that have been built.
var binaries builder

type builder struct {
	mu    sync.Mutex
	dir   string
	files map[string]string // by package
}

// link puts the program of a package under a path, so that its processes can be told
// from those of other tests.
func (b *builder) link(t testing.TB, pkg, path string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "raftexample-programs")
		if err != nil {
			t.Fatal(err)
		}
		b.dir, b.files = dir, map[string]string{}
	}
	if b.files[pkg] == "" {
		file := filepath.Join(b.dir, fmt.Sprint(len(b.files)))
		if out, err := exec.Command("go", "build", "-o", file, pkg).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
		b.files[pkg] = file
	}
	if err := os.Symlink(b.files[pkg], path); err != nil {
		t.Fatal(err)
	}
}

func (b *builder) remove() error {
	if b.dir == "" {
		return nil
	}
	return os.RemoveAll(b.dir)
}
