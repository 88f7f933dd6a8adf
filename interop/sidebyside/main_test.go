package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ours "example.com/raftexample/interop/sidebyside/ours"
	theirs "example.com/raftexample/interop/sidebyside/theirs"
)

// Both do the same work: their sources differ in import paths only.
func TestBothDoTheSameWork(t *testing.T) {
	files, err := filepath.Glob("ours/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		our, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		their, err := os.ReadFile(filepath.Join("theirs", filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		if strings.ReplaceAll(string(our), `"example.com/raftexample/raft`, `"go.etcd.io/raft/v3`) != string(their) {
			t.Errorf("%s and its copy differ: run go generate", file)
		}
	}
}

// Every row runs with both.
func TestEveryRowRuns(t *testing.T) {
	if err := flag.Set("test.benchtime", "2x"); err != nil {
		t.Fatal(err)
	}
	for i, row := range ours.Rows() {
		for name, run := range map[string]func(*testing.B){"ours": row.Run, "etcd": theirs.Rows()[i].Run} {
			if testing.Benchmark(run).N == 0 {
				t.Errorf("%s fails with %s", row.Name, name)
			}
		}
	}
}

// Ours keeps the limits in time and allocations.
func TestOursKeepsTheLimits(t *testing.T) {
	if os.Getenv("RAFT_LONG") == "" {
		t.Skip("takes minutes and wants a quiet machine: set RAFT_LONG=1")
	}
	if err := flag.Set("test.benchtime", defaultTime.String()); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if !compare(&table, defaultRounds, "") {
		t.Errorf("over a limit:\n%s", &table)
	}
	t.Logf("\n%s", &table)
}

// The rows as benchmarks, for profiles of either library.
func BenchmarkOurs(b *testing.B) {
	for _, row := range ours.Rows() {
		b.Run(row.Name, row.Run)
	}
}

func BenchmarkEtcd(b *testing.B) {
	for _, row := range theirs.Rows() {
		b.Run(row.Name, row.Run)
	}
}
