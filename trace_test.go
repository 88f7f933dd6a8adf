// The trace and the scenario scripts: one notation.

package main

import (
	"bytes"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/raftpb"
)

// nodeOfScript begins what a script says of one node's Ready.
var nodeOfScript = regexp.MustCompile(`^node (\d+): Ready`)

// scriptLines returns the messages and the changes of state in a script, each once.
func scriptLines(t *testing.T, file string) []string {
	t.Helper()
	script, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	node := ""
	for line := range strings.Lines(string(script)) {
		line = strings.TrimSuffix(line, "\n")
		if m := nodeOfScript.FindStringSubmatch(line); m != nil {
			node = m[1]
		}
		switch text := strings.TrimSpace(line); {
		case strings.Contains(text, "->") && strings.HasPrefix(line, "  "):
			lines = append(lines, text)
		case strings.HasPrefix(text, "Lead:"), strings.HasPrefix(text, "HardState "):
			lines = append(lines, node+" "+text)
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// founded is a storage whose log is empty and whose members are there already, as the
// scripts have them.
type founded struct{ *raft.MemoryStorage }

func (f founded) InitialState() (raftpb.HardState, raftpb.ConfState, error) {
	hs, _, err := f.MemoryStorage.InitialState()
	return hs, raftpb.ConfState{Voters: []uint64{1, 2, 3}}, err
}

// traceElection does what the script of an election does, an election and a write
// among three nodes, and returns what --trace prints of it.
func traceElection(t *testing.T) []string {
	t.Helper()
	var out bytes.Buffer
	nodes, storages := map[uint64]*raft.RawNode{}, map[uint64]*raft.MemoryStorage{}
	for id := uint64(1); id <= 3; id++ {
		storages[id] = raft.NewMemoryStorage()
		config := &raft.Config{
			ID: id, ElectionTick: 10, HeartbeatTick: 1, Storage: founded{storages[id]},
			MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256, Logger: raftLogger{slog.New(slog.DiscardHandler)},
		}
		node, err := raft.NewRawNode(config)
		if err != nil {
			t.Fatal(err)
		}
		nodes[id] = node
	}
	settle := func() {
		for busy := true; busy; {
			busy = false
			var sent []raftpb.Message
			for id := uint64(1); id <= 3; id++ {
				tracer := &raftNode{cfg: config{id: id, stderr: &out}}
				for nodes[id].HasReady() {
					busy = true
					rd := nodes[id].Ready()
					tracer.traceState(rd)
					for _, m := range rd.Messages {
						tracer.traceMessage(m)
					}
					if err := storages[id].Append(rd.Entries); err != nil {
						t.Fatal(err)
					}
					sent = append(sent, rd.Messages...)
					nodes[id].Advance(rd)
				}
			}
			for _, m := range sent {
				if err := nodes[m.To].Step(m); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := nodes[1].Campaign(); err != nil {
		t.Fatal(err)
	}
	settle()
	if err := nodes[1].Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	settle()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	slices.Sort(lines)
	return slices.Compact(lines)
}

// Who has read the scripts can read a trace: of the same messages and changes of state
// both print the same lines.
func TestTraceIsLikeTheScripts(t *testing.T) {
	want := scriptLines(t, "raft/testdata/01_election.txt")
	if len(want) < 20 {
		t.Fatalf("only %d lines in the script", len(want))
	}
	if diff := cmp.Diff(want, traceElection(t)); diff != "" {
		t.Errorf("script and trace (+):\n%s", diff)
	}
}

// A running node prints what it sends and what it receives, a write as what it does.
func TestTraceOfANode(t *testing.T) {
	t.Parallel()
	c := newTestClusterWith(t, 3, nil, "http", "--trace")
	put(t, c.url(0, "/k"), "v", 20*time.Second)
	for _, pattern := range []string{
		`[1-3]->[1-3] MsgPreVote Term:\d+ Log:1/3`,
		`[1-3]->[1-3] MsgVoteResp Term:\d+ Log:0/0`,
		`[1-3] Lead:[1-3] State:StateLeader`,
		`[1-3] HardState Term:\d+ Vote:[1-3] Commit:\d+`,
		`[1-3]->[1-3] MsgApp Term:\d+ Log:\d+/\d+ Commit:\d+ Entries:\[\d+/\d+ EntryNormal put "k" 1 bytes\]`,
	} {
		if !regexp.MustCompile("(?m)^" + pattern + "$").MatchString(c.logs.String()) {
			t.Errorf("no line like %s", pattern)
		}
	}
}
