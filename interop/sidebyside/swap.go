//go:build ignore

// Swap copies directory ours to theirs, with the import paths of etcd's library.
package main

import (
	"log"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	files, err := filepath.Glob("ours/*.go")
	if err != nil {
		log.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		swapped := strings.ReplaceAll(string(text), `"example.com/raftexample/raft`, `"go.etcd.io/raft/v3`)
		if err := os.WriteFile(filepath.Join("theirs", filepath.Base(file)), []byte(swapped), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
