// What others wrote for etcd's library, on ours: the tests that etcd's library comes
// with, and etcd itself. Their sources are taken from the module cache into a temporary
// directory, and their imports of the library changed.

package interop

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scenarioTest runs etcd's scenario scripts. The wording of the log is each library's own.
const scenarioTest = `package raft_test

import (
	"regexp"
	"testing"

	"github.com/cockroachdb/datadriven"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/rafttest"
)

var log = regexp.MustCompile("(?m)^ *(> *)?(DEBUG|INFO|WARN|ERROR) .*\n")

func withoutLog(text string) string {
	if text = log.ReplaceAllString(text, ""); text == "" {
		return "ok\n" // what a command says that has nothing to say
	}
	return text
}

func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		env := rafttest.NewInteractionEnv(&rafttest.InteractionOpts{SetRandomizedElectionTimeout: raft.SetElectionTimeout})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			d.Expected = withoutLog(d.Expected)
			return withoutLog(env.Handle(t, *d))
		})
	})
}
`

// Two names of etcd's library that its tests use and programs cannot see.
const (
	electionTimeout = `package raft

// SetElectionTimeout replaces what a node has drawn.
func SetElectionTimeout(rn *RawNode, ticks int) { rn.raft.randomizedElection = ticks }
`
	ackIndexer = `package quorum

type mapAckIndexer map[uint64]Index

func (m mapAckIndexer) AckedIndex(id uint64) (Index, bool) { index, ok := m[id]; return index, ok }
`
)

// sourceOf is where the go tool keeps a module's source.
func sourceOf(t *testing.T, module string) string {
	t.Helper()
	var found struct{ Dir string }
	if err := json.Unmarshal([]byte(command(t, t.TempDir(), "go", "mod", "download", "-json", module)), &found); err != nil {
		t.Fatal(err)
	}
	return found.Dir
}

// borrow copies the files below a directory whose paths are wanted, with their imports
// changed.
func borrow(t *testing.T, to, from string, wanted func(path string) bool) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(from), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !wanted(path) {
			return err
		}
		text := readFile(t, filepath.Join(from, path))
		if filepath.Ext(path) == ".go" {
			text = strings.ReplaceAll(text, `"`+theirPath, `"`+ourPath)
		}
		target := filepath.Join(to, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, []byte(text), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func everything(string) bool    { return true }
func isTest(path string) bool   { return strings.HasSuffix(path, "_test.go") }
func isSource(path string) bool { return filepath.Base(path) == path && !isTest(path) }
func ofTests(path string) bool  { return isTest(path) || strings.HasPrefix(path, "testdata/") }

// The tests of etcd's library that see it from outside: its scenario scripts, compared
// message by message, and those of its smaller packages.
func TestTheirTestsOfTheLibrary(t *testing.T) {
	t.Parallel()
	dir, theirs := t.TempDir(), sourceOf(t, "go.etcd.io/raft/v3@v3.6.0")
	ours := filepath.Join(dir, "raft")
	for _, pkg := range ofLibrary {
		borrow(t, ours+pkg, "../raft"+pkg, isSource)
		if pkg != "" {
			borrow(t, ours+pkg, theirs+pkg, ofTests)
		}
	}
	borrow(t, ours+"/rafttest", theirs+"/rafttest", everything)
	borrow(t, ours+"/testdata", theirs+"/testdata", everything)
	writeFile(t, ours+"/scenario_test.go", scenarioTest)
	writeFile(t, ours+"/timeout_test.go", electionTimeout)
	writeFile(t, ours+"/quorum/indexer_test.go", ackIndexer)

	writeFile(t, dir+"/go.mod", readFile(t, "../go.mod")+"require github.com/stretchr/testify v1.10.0\n")
	writeFile(t, dir+"/go.sum", readFile(t, "../go.sum")+readFile(t, theirs+"/go.sum"))
	out := command(t, dir, "go", "test", "-mod=mod", "-v", "./...")
	if n := strings.Count(out, "--- PASS: TestScenarios/"); n != 28 {
		t.Errorf("%d of 28 scenarios were run:\n%s", n, out)
	}
}

// etcd's own raftexample and etcd's server are built on our library and pass their tests
// of what stands on it. It takes some minutes, and fetches what etcd requires.
func TestEtcdRunsOnOurs(t *testing.T) {
	if os.Getenv("RAFT_LONG") == "" {
		t.Skip("RAFT_LONG is not set")
	}
	dir := t.TempDir()
	borrow(t, dir, sourceOf(t, "go.etcd.io/etcd/server/v3@v3.6.8"), everything)
	borrow(t, dir+"/raftexample", sourceOf(t, "go.etcd.io/etcd/v3@v3.6.8")+"/contrib/raftexample", everything)

	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	edit := []string{
		"mod", "edit", "-go=1.26.0", "-toolchain=none", "-droprequire=" + theirPath,
		"-require=example.com/raftexample@v0.0.0", "-replace=example.com/raftexample=" + root,
	}
	for _, beside := range []string{"api", "client/pkg", "client", "pkg"} { // not in this module's source
		edit = append(edit, "-dropreplace=go.etcd.io/etcd/"+beside+"/v3")
	}
	command(t, dir, "go", edit...)
	command(t, dir, "go", "mod", "tidy")

	if deps := command(t, dir, "go", "list", "-deps", "-test", "./..."); strings.Contains(deps, theirPath) || !strings.Contains(deps, ourPath) {
		t.Errorf("etcd is not built on our library alone:\n%s", deps)
	}
	command(t, dir, "go", "build", "./...")
	t.Log(command(t, dir, "go", "test", "-vet=off", "-p=2",
		"./raftexample", "./etcdserver/...", "./storage/...", "./verify/..."))
}
