// The data directory as a start finds it: damaged, of another time, another cluster's,
// or with other members than the command line names.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

// refusesToStart wants a start to end with one line that says all of this.
func refusesToStart(t *testing.T, what string, args []string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := run(ctx, args, machine{fs: vfs.OS}, io.Discard, io.Discard)
	if err == nil {
		t.Errorf("%s: it started", what)
		return
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v, without %q", what, err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than a line: %v", what, err)
	}
}

// A file that is damaged, missing or of a later version is refused with its name, the
// place, and what to do; nothing is changed, so that a good copy can be put back.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	c := newTestClusterWith(t, 1, nil, "http", "--snapshot-entries", "10")
	for i := range 25 {
		put(t, c.url(0, fmt.Sprintf("/k%d", i)), "value", 20*time.Second)
	}
	waitFor(t, 10*time.Second, "a snapshot", func() bool { return c.status(0).SnapshotIndex > 0 })
	c.end(0)
	only := func(pattern string) string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(c.dir, "n1", pattern))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		return files[0]
	}
	log, snapshot, member := only("wal/*.wal"), only("snap/*.snap"), only("member.json")
	const elsewhere = "add it under a new id"
	for _, tt := range []struct {
		what, file string
		damage     func(content []byte) []byte // nil: the file is gone
		want       []string
	}{
		{"a bit in the log", log, flipped(200), []string{log + " is damaged at offset", "restore the file from a copy", elsewhere}},
		{"a bit in the log's first bytes", log, flipped(3), []string{log + " is damaged at offset 0", elsewhere}},
		{"the log is empty", log, func([]byte) []byte { return nil }, []string{log + " is damaged at offset 0", elsewhere}},
		{"the log is gone", log, nil, []string{"the log of member 1 is empty", elsewhere}},
		{"a bit in the snapshot's state", snapshot, flipped(100), []string{snapshot + " is damaged at offset", "restore the file from a copy", elsewhere}},
		{"a bit in the snapshot's head", snapshot, flipped(9), []string{snapshot + " is damaged at offset 0", elsewhere}},
		{"half of the snapshot", snapshot, func(b []byte) []byte { return b[:len(b)/2] }, []string{snapshot + " is damaged at offset", elsewhere}},
		{"the snapshot is gone", snapshot, nil, []string{snapshot, "is gone", elsewhere}},
		{"the identity is damaged", member, flipped(0), []string{member + " is damaged", elsewhere}},
		{"the identity is gone", member, nil, []string{"has a log but no member.json", "--data-dir"}},
		{"a later format", member, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"format": 2`, `"format": 3`, 1))
		}, []string{"has format 3, this program knows format 2", "needs a newer version"}},
		{"something else, in a format without a checksum", member, func(b []byte) []byte {
			return []byte(strings.NewReplacer(`"format": 2`, `"format": 1`, `"started": true`, `"started": false`).Replace(string(b)))
		}, []string{member + " is damaged", elsewhere}},
		{"no format", member, func([]byte) []byte { return []byte("null") }, []string{member + " is damaged", elsewhere}},
		{"a later format of another kind", member, func([]byte) []byte {
			return []byte(`{"format": 3, "cluster": ["a", "b"]}`)
		}, []string{"has format 3", "needs a newer version"}},
		{"the identity says something else", member, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"started": true`, `"started": false`, 1))
		}, []string{member + " is damaged (its checksum is wrong)", elsewhere}},
	} {
		whole, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(tt.file); err != nil {
			t.Fatal(err)
		}
		if tt.damage != nil {
			if err := os.WriteFile(tt.file, tt.damage(append([]byte(nil), whole...)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		refusesToStart(t, tt.what, c.args(0), tt.want...)
		if tt.damage != nil {
			if left, err := os.ReadFile(tt.file); err != nil || string(left) != string(tt.damage(append([]byte(nil), whole...))) {
				t.Errorf("%s: the file was changed, %v", tt.what, err)
			}
		}
		if tt.file == log { // a log that was begun anew must go
			if err := os.RemoveAll(filepath.Dir(log)); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Dir(log), 0o750); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(tt.file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.start(0)
	if got := get(t, c.url(0, "/k24")); got != "value" {
		t.Errorf("after all was put right: %q", got)
	}
}

// Who has lost its data, or was removed, is found out if one of the others knows it, also
// the last one that answers: not all have met it, or applied its removal.
func TestEveryMemberIsAskedAboutANewOne(t *testing.T) {
	t.Parallel()
	for _, join := range []bool{false, true} {
		for what, knows := range map[string]peerStatus{
			"its data was lost":                   {Incarnations: map[uint64]hexID{1: 77}},
			"was removed from the cluster; to br": {Removed: []uint64{1}, Incarnations: map[uint64]hexID{1: 77}},
		} {
			answered := make(chan struct{})
			list := "1=http://127.0.0.1:1"
			members := make([]peerStatus, 2)
			for i := range members {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if i == 1 {
						<-answered
						time.Sleep(50 * time.Millisecond) // until the other one was heard
					} else {
						defer close(answered)
					}
					if err := json.NewEncoder(w).Encode(members[i]); err != nil {
						t.Error(err)
					}
				}))
				defer server.Close()
				list += fmt.Sprintf(",%d=%s", i+2, server.URL)
			}
			cluster, err := parseCluster(list)
			if err != nil {
				t.Fatal(err)
			}
			cfg := config{id: 1, cluster: cluster, join: join}
			members[1] = knows
			for i := range members {
				members[i].ID, members[i].Cluster = uint64(i+2), hexID(clusterID(cluster))
				members[i].Members = []memberStatus{{member: cluster[0]}}
			}
			dir, err := openDataDir(vfs.OS, filepath.Join(t.TempDir(), "n1"))
			if err != nil {
				t.Fatal(err)
			}
			if err := settleIdentity(t.Context(), &cfg, dir, nil); err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("join %t: %v, want that it says %q", join, err, what)
			}
			if !dir.isNew() {
				t.Errorf("join %t: the directory was claimed", join)
			}
			if err := dir.close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func flipped(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 1
		return b
	}
}

// On a restart the stored members win over those on the command line, and one line
// lists both; a list that has nothing in common with them is of another cluster.
func TestStoredMembersWin(t *testing.T) {
	t.Parallel()
	c := newTestClusterWith(t, 1, nil, "http", "--snapshot-entries", "5")
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	own := "1=http://127.0.0.1:" + c.peers[0]
	warnings := func(list string) []string {
		t.Helper()
		c.end(0)
		c.logs.reset()
		c.list = list
		c.start(0)
		put(t, c.url(0, "/k"), "w", 20*time.Second)
		var lines []string
		for line := range strings.Lines(c.logs.String()) {
			if strings.Contains(line, "level=WARN") && !strings.Contains(line, "unreachable") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	if lines := warnings(own); len(lines) > 0 {
		t.Errorf("of flags that are right: %q", lines)
	}
	add := func(id string) {
		t.Helper()
		if a := do(t, "POST", c.url(0, "/-/members/"+id+"?learner"), "http://127.0.0.1:"+id); a.status != 204 {
			t.Fatalf("adding %s: %v", id, a)
		}
	}
	check := func(stored, flag string) {
		t.Helper()
		members := get(t, c.url(0, "/-/members"))
		lines := warnings(flag)
		if len(lines) != 1 || !strings.Contains(lines[0], "wins over --cluster") ||
			!strings.Contains(lines[0], fmt.Sprintf("stored=%q", stored)) || !strings.Contains(lines[0], fmt.Sprintf("flag=%q", flag)) {
			t.Errorf("of %s: %q", flag, lines)
		}
		if got := get(t, c.url(0, "/-/members")); got != members {
			t.Errorf("with %s the members are %s, not %s", flag, got, members)
		}
	}
	add("2")
	stored := own + ",2=http://127.0.0.1:2" // in the log
	check(stored, own)
	add("3")
	stored += ",3=http://127.0.0.1:3"
	for range 12 {
		put(t, c.url(0, "/k"), "x", 20*time.Second)
	}
	waitFor(t, 10*time.Second, "a snapshot", func() bool { return c.status(0).SnapshotIndex > 15 })
	check(stored, own+",2=http://127.0.0.1:9,7=http://127.0.0.1:7")
	if lines := warnings(stored); len(lines) > 0 {
		t.Errorf("of flags that are right again: %q", lines)
	}
	if a := do(t, "PUT", c.url(0, "/-/members/1"), "http://127.0.0.1:11"); a.status != 204 { // the only voter moves
		t.Fatalf("a move: %v", a)
	}
	if lines := warnings(stored); len(lines) != 2 || !strings.Contains(lines[1], "looks for this member elsewhere") ||
		!strings.Contains(lines[1], "cluster=http://127.0.0.1:11 own="+strings.TrimPrefix(own, "1=")) {
		t.Errorf("of an address that it has moved from: %q", lines)
	}
	if a := do(t, "PUT", c.url(0, "/-/members/1"), strings.TrimPrefix(own, "1=")); a.status != 204 {
		t.Fatalf("moving back: %v", a)
	}
	c.end(0)
	ports := freePorts(t, 1)
	c.list = "1=http://127.0.0.1:" + ports[0] + ",2=http://127.0.0.1:9"
	refusesToStart(t, "another cluster", c.args(0), "belongs to another cluster", own, c.list, "choose another directory with --data-dir")
}

// Before there was a checksum, directories had format 1. They are read, and get one.
func TestFormatWithoutChecksum(t *testing.T) {
	disk := crashfs.New()
	old := []byte(`{"format":1,"cluster":"00000000000000aa","id":1,"incarnation":"00000000000000bb","peers":{"2":"00000000000000cc"}}`)
	if err := errors.Join(disk.MkdirAll("/data"), vfs.WriteFile(disk, "/data/member.json", old)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d, err := openDataDir(disk, "/data")
		if err != nil {
			t.Fatal(err)
		}
		if d.Cluster != 0xaa || d.ID != 1 || d.Incarnation != 0xbb || d.Peers[2] != 0xcc {
			t.Errorf("read as %+v", d.identity)
		}
		if err := errors.Join(d.change(func(*identity) {}), d.close()); err != nil {
			t.Fatal(err)
		}
	}
	content, err := vfs.ReadFile(disk, "/data/member.json")
	if err != nil || !strings.Contains(string(content), `"format": 2`) || !strings.Contains(string(content), `"checksum": "`) {
		t.Errorf("written as %s (%v)", content, err)
	}
}

// Who asks what the directory says does not wait for a disk that writes something else.
func TestReadersDoNotWaitForTheDisk(t *testing.T) {
	disk := crashfs.New()
	d, err := openDataDir(disk, "/data")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.claim(identity{ID: 1}); err != nil {
		t.Fatal(err)
	}
	begun, goOn := make(chan bool), make(chan bool)
	disk.Fault = func(crashfs.Op) error {
		begun <- true
		<-goOn
		return syscall.EIO
	}
	met := make(chan error)
	go func() { met <- d.meet(2, 5, func() error { return nil }) }()
	<-begun
	if _, known := d.incarnations()[2]; known {
		t.Error("a peer is met before that is on disk")
	}
	goOn <- true
	if err := <-met; !errors.Is(err, syscall.EIO) {
		t.Errorf("the disk fails: %v", err)
	}
	if _, known := d.incarnations()[2]; known {
		t.Error("a peer is met that could not be written down")
	}
}
