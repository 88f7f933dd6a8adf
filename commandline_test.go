// The command line, as a person at a terminal meets it: what a process prints, its exit
// status, where it listens, and how it takes signals.

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each mistake is one line on stderr, with exit status 2 if the command line cannot be
// meant and 1 if the machine cannot do it; --help goes to stdout.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin := filepath.Join(dir, "raftexample")
	binaries.link(t, ".", bin)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	free := freePorts(t, 2)
	alone := []string{"--cluster", "http://127.0.0.1:" + free[0], "--port", free[1], "--data-dir", filepath.Join(dir, "n1")}
	with := func(more ...string) []string { return append(alone[:len(alone):len(alone)], more...) }

	for _, tt := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"help", []string{"--help"}, 0, "usage: raftexample"},
		{"short help", []string{"-h"}, 0, "usage: raftexample"},
		{"no such flag", with("--nonsense"), 2, "--help lists the flags"},
		{"id not in the cluster", with("--id", "4"), 2, "--id 4 is not in --cluster, which has 1=http://127.0.0.1:" + free[0]},
		{"no id", with("--id", "18446744073709551615"), 2, "--id is a positive integer"},
		{"no URL", with("--cluster", "127.0.0.1:12379"), 2, "use http://HOST:PORT"},
		{"clients' port taken", with("--port", port), 1, "in use: choose another with --host and --port, or find the process that has it with: lsof -i :" + port},
		{"peers' port taken", with("--cluster", "http://127.0.0.1:"+port), 1, "in use: choose another with --cluster"},
		{"peers' address elsewhere", with("--cluster", "http://192.0.2.1:"+free[0]), 1, "choose an address of this machine with --cluster"},
		{"clients' address elsewhere", with("--host", "192.0.2.1"), 1, "choose an address of this machine with --host and --port"},
		{"a file for a directory", with("--data-dir", file), 1, "choose another directory with --data-dir"},
		{"no place for a directory", with("--data-dir", filepath.Join(file, "sub")), 1, "choose another directory with --data-dir"},
		{"nothing to recover", with("--force-new-cluster"), 1, "holds no member's data"},
		{"nobody to join", with("--join"), 1, "no other member in --cluster answers"},
		{"no certificate", with("--cluster", "https://127.0.0.1:"+free[0], "--peer-ca", "x", "--peer-cert", "y", "--peer-key", "z"), 1, "--peer-ca"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, bin, tt.args...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			said, silent := &stderr, &stdout
			if tt.status == 0 {
				said, silent = &stdout, &stderr
			}
			if got := cmd.ProcessState.ExitCode(); got != tt.status || !strings.Contains(said.String(), tt.want) || silent.Len() > 0 {
				t.Errorf("exit status %d, stdout %q, stderr %q; want %d with %q", got, stdout.String(), stderr.String(), tt.status, tt.want)
			}
			if tt.status != 0 && (strings.Count(said.String(), "\n") != 1 || !strings.HasPrefix(said.String(), "raftexample: ")) {
				t.Errorf("not one line: %q", said.String())
			}
		})
	}
}

// What is no command line is told so, in one line.
func TestCommandLine(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--id 0", "--id is a positive integer"},
		{"--id 18446744073709551615 --cluster 18446744073709551615=http://a:1", "--id is a positive integer up to 9223372036854775807"},
		{"--id x", "--help lists the flags"},
		{"--id 4", "--id 4 is not in --cluster"},
		{"--nonsense", "--help lists the flags"},
		{"extra", `"extra" is not a flag`},
		{"--cluster nonsense", "use http://HOST:PORT"},
		{"--cluster http://a:1,http://a:1", "the same member twice"},
		{"--cluster x=http://a:1", "begins with no ID"},
		{"--cluster http://a:1/path", "more than a host and a port"},
		{"--cluster http://a:0", "no port from 1 to 65535"},
		{"--cluster http://a:65536", "no port from 1 to 65535"},
		{"--cluster 9223372036854775808=http://a:1", "begins with no ID"},
		{"--cluster https://a:1", "need --peer-ca"},
		{"--peer-ca x", "go together"},
		{"--port 0", "not a port"},
		{"--log-level loud", "debug, info, warn or error"},
		{"--log-format xml", "text or json"},
		{"--snapshot-entries 0", "positive integer"},
		{"--join --force-new-cluster", "exclude each other"},
	} {
		_, err := parseFlags(strings.Fields(tt.args), io.Discard)
		var mistake usageError
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", tt.args, err, tt.want)
		}
	}
}

// Every flag is in the help, and the help has no other and no long lines.
func TestHelpNamesEveryFlag(t *testing.T) {
	source, err := os.ReadFile("flags.go")
	if err != nil {
		t.Fatal(err)
	}
	flags := 0
	for line := range strings.Lines(string(source)) {
		if _, call, ok := strings.Cut(line, "fs."); ok && strings.Contains(call, `, "`) {
			name := strings.Split(call, `"`)[1]
			flags++
			if !strings.Contains(usage, "--"+name) {
				t.Errorf("--help does not have --%s", name)
			}
		}
	}
	named := map[string]bool{}
	for word := range strings.FieldsSeq(usage) {
		if strings.HasPrefix(word, "--") {
			named[strings.Trim(word, ",")] = true
		}
	}
	if flags < 14 || len(named) != flags {
		t.Errorf("there are %d flags, --help has %v", flags, named)
	}
	for line := range strings.Lines(usage) {
		if len(line) > 90 {
			t.Errorf("a long line: %s", line)
		}
	}
}

// The client port is for this machine, unless --host says otherwise.
func TestClientPortIsLoopback(t *testing.T) {
	t.Parallel()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	outside := ""
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && !ip.IP.IsLoopback() {
			outside = ip.IP.String()
		}
	}
	if outside == "" {
		t.Skip("this machine has no address but loopback")
	}
	for _, flags := range [][]string{nil, {"--host", outside}} {
		c := newTestClusterWith(t, 1, nil, "http", flags...)
		host := "127.0.0.1"
		if flags != nil {
			host = outside
		}
		waitFor(t, 20*time.Second, "an answer on "+host, func() bool { return tryPut(t.Context(), "http://"+host+":"+c.ports[0]+"/k", "x") == 204 })
		other := map[string]string{"127.0.0.1": outside, outside: "127.0.0.1"}[host]
		for _, port := range []string{c.ports[0], c.peers[0]} {
			if port == c.peers[0] {
				other = outside // peers listen where the cluster's list says
			}
			if conn, err := net.DialTimeout("tcp", net.JoinHostPort(other, port), time.Second); err == nil {
				conn.Close()
				t.Errorf("with %v, port %s takes connections at %s", flags, port, other)
			}
		}
	}
}

// Logs are lines of JSON if that is wanted, and no more than is wanted.
func TestLogFormatAndLevel(t *testing.T) {
	t.Parallel()
	c := newTestClusterWith(t, 1, nil, "http", "--log-format", "json")
	put(t, c.url(0, "/k"), "x", 20*time.Second)
	c.end(0)
	messages := map[string]bool{}
	for scanner := bufio.NewScanner(strings.NewReader(c.logs.String())); scanner.Scan(); {
		var line struct{ Time, Level, Msg string }
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil || line.Level == "" {
			t.Errorf("not a line of JSON: %s (%v)", scanner.Text(), err)
		}
		messages[line.Msg] = true
	}
	if !messages["serving"] || !messages["the cluster has a leader, try it"] {
		t.Errorf("logged: %v", messages)
	}

	quiet := newTestClusterWith(t, 1, nil, "http", "--log-level", "error")
	put(t, quiet.url(0, "/k"), "x", 20*time.Second)
	quiet.end(0)
	if got := quiet.logs.String(); got != "" {
		t.Errorf("there was no error, and it says: %s", got)
	}
}

// INT and TERM end a node within a second with status 0, the leader of a cluster under
// load, too; the requests under way are answered.
func TestSignals(t *testing.T) {
	t.Parallel()
	c := newProcessCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	var p pauses
	p.begin()
	wg := c.load(ctx, 8, &p)
	defer wg.Wait()
	defer cancel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		lead := c.leader(0)
		began := time.Now()
		c.procs[lead].signal(sig)
		if err := c.procs[lead].ended(5 * time.Second); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%v: it took %v to end", sig, took)
		}
		c.start(lead)
		waitFor(t, 20*time.Second, "it to be ready again", func() bool { return tryGetStatus(c.url(lead)+"/-/ready") == 200 })
	}
}

// A cluster is named after the members it begins with: their ids and URLs, in whatever
// order and notation they are given. The first one is SHA-256's, and stays what it is: a
// cluster that runs is known by it.
func TestClusterIDs(t *testing.T) {
	id := func(list string) string {
		t.Helper()
		members, err := parseCluster(list)
		if err != nil {
			t.Fatal(err)
		}
		return hexID(clusterID(members)).String()
	}
	const want = "c09ad0b3e937152c" // printf '1=http://a:1\n2=http://b:2\n' | sha256sum | cut -c1-16
	for _, list := range []string{"http://a:1,http://b:2", "2=http://b:2,1=http://a:1", "http://a:1/, http://b:2"} {
		if got := id(list); got != want {
			t.Errorf("%s is %s, want %s", list, got, want)
		}
	}
	for _, list := range []string{"http://a:1", "http://a:1,http://b:3", "http://b:2,http://a:1", "1=http://a:1,3=http://b:2", "http://a:1,https://b:2"} {
		if id(list) == want {
			t.Errorf("%s is %s, too", list, want)
		}
	}
}
