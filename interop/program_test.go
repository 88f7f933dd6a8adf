// The program of this repository on etcd's library: copied, its imports of the
// library changed, built and run.

package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ofLibrary are the packages that etcd's library has too. Disk and network are the
// program's own; they come along, with their imports changed in the same way.
var ofLibrary = []string{"", "/raftpb", "/tracker", "/quorum", "/confchange"}

// onEtcd copies the program and what it needs into a temporary directory, on
// etcd's library, and builds it.
func onEtcd(t *testing.T) (binary string) {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{".", "raft/wal", "raft/snap", "raft/vfs", "raft/rafthttp"} {
		files, err := filepath.Glob(filepath.Join("..", part, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no program in %s (%v)", part, err)
		}
		if err := os.MkdirAll(filepath.Join(dir, part), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, part, filepath.Base(file)), swapLibrary(string(text)))
		}
	}

	writeFile(t, filepath.Join(dir, "page.html"), readFile(t, "../page.html"))
	writeFile(t, filepath.Join(dir, "go.mod"), readFile(t, "../go.mod"))
	writeFile(t, filepath.Join(dir, "go.sum"), readFile(t, "../go.sum")+readFile(t, "go.sum"))
	for _, need := range []string{"go.etcd.io/raft/v3@v3.6.0", "github.com/gogo/protobuf@v1.3.2", "github.com/golang/protobuf@v1.5.4"} {
		command(t, dir, "go", "mod", "edit", "-require", need)
	}
	binary = filepath.Join(dir, "raftexample")
	command(t, dir, "go", "build", "-mod=mod", "-o", binary, ".")
	return binary
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// swapLibrary changes the imports of the library.
func swapLibrary(text string) string {
	for _, pkg := range ofLibrary {
		text = strings.ReplaceAll(text, `"`+ourPath+pkg+`"`, `"`+theirPath+pkg+`"`)
	}
	return text
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// request asks until the answer has the wanted status, or time is up.
func request(t *testing.T, method, url, body string, want int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var last string
	for {
		req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			text, readErr := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == want && readErr == nil {
				return string(text)
			}
			err = fmt.Errorf("status %d %s %v", resp.StatusCode, text, readErr)
		}
		if ctx.Err() != nil {
			t.Fatalf("%s %s: %s", method, url, last)
		}
		last = err.Error()
		time.Sleep(20 * time.Millisecond)
	}
}

// The program runs on etcd's library after changing the import paths, takes a
// write, serves it, and still has it after a restart.
func TestProgramRunsOnEtcds(t *testing.T) {
	t.Parallel()
	binary := onEtcd(t)
	peerPort, port := freePort(t), freePort(t)
	data := t.TempDir()
	url := fmt.Sprintf("http://127.0.0.1:%d/some/key", port)

	run := func(use func()) {
		cmd := exec.Command(binary, "--id", "1", "--cluster", fmt.Sprintf("http://127.0.0.1:%d", peerPort),
			"--port", fmt.Sprint(port), "--data-dir", filepath.Join(data, "node"))
		var log strings.Builder
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, &log)
			}
		}()
		use()
	}
	run(func() {
		request(t, http.MethodPut, url, "some value", http.StatusNoContent)
		if got := request(t, http.MethodGet, url, "", http.StatusOK); got != "some value" {
			t.Errorf("read %q", got)
		}
	})
	run(func() {
		if got := request(t, http.MethodGet, url, "", http.StatusOK); got != "some value" {
			t.Errorf("after a restart: read %q", got)
		}
	})
}
