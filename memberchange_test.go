// Members as one node sees them: whom its leader hears from, whom a snapshot has
// removed, and what it must not forget of its own votes.

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/raftexample/raft"
	"example.com/raftexample/raft/quorum"
	"example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/snap"
	"example.com/raftexample/raft/tracker"
	"example.com/raftexample/raft/vfs"
	"example.com/raftexample/raft/vfs/crashfs"
)

// toldNode is a raft.Node whose status is told by a test.
type toldNode struct {
	raft.Node
	status func() raft.Status
	target uint64 // of the transfer that was asked for
}

func (n *toldNode) Status() raft.Status { return n.status() }

func (n *toldNode) TransferLeadership(_ context.Context, _, target uint64) { n.target = target }

// leaderOf returns the status of node 1 as the leader of three, which has heard from
// some of them.
func leaderOf(heard ...uint64) raft.Status {
	st := raft.Status{Progress: map[uint64]tracker.Progress{1: {}, 2: {}, 3: {}}}
	st.ID, st.RaftState = 1, raft.StateLeader
	st.Config.Voters[0] = quorum.MajorityConfig{1: {}, 2: {}, 3: {}}
	for _, id := range heard {
		st.Progress[id] = tracker.Progress{RecentActive: true, Match: id}
	}
	return st
}

// newNodeIn returns a node that is not started, on a new data directory.
func newNodeIn(t *testing.T, path string, flags ...string) *raftNode {
	t.Helper()
	cfg, err := parseFlags(append(flags, "--data-dir", path), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := openDataDir(vfs.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := settleIdentity(t.Context(), &cfg, dir, nil); err != nil {
		t.Fatal(err)
	}
	return newRaftNode(cfg, dir, nil, slog.New(slog.DiscardHandler))
}

// diss. §6.2: a leader notes anew whom it hears from once per election timeout. Until
// the next answers come, which is a round trip, that is nobody; but a change of the
// membership, or a hand-over, is not refused for that. When nobody answers, it is.
func TestSilenceOfARoundTrip(t *testing.T) {
	removal := &raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode, NodeID: 3}
	for _, tt := range []struct {
		name   string
		later  []raft.Status // one after the other; the last one stays
		change int           // the answer to the removal of 3, 0 if it may go on
		target uint64        // who leadership is handed to
	}{
		{"all are heard from", []raft.Status{leaderOf(2, 3)}, 0, 3},
		{"all, after a round trip", []raft.Status{leaderOf(), leaderOf(), leaderOf(2, 3)}, 0, 3},
		{"enough, after a round trip", []raft.Status{leaderOf(), leaderOf(2)}, 0, 2},
		{"nobody any more", []raft.Status{leaderOf()}, http.StatusConflict, raft.None},
		{"another leads by then", []raft.Status{leaderOf(), {}}, http.StatusServiceUnavailable, raft.None},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := &toldNode{}
				tell := func() {
					rest := tt.later
					told.status = func() raft.Status {
						st := rest[0]
						if len(rest) > 1 {
							rest = rest[1:]
						}
						return st
					}
				}
				n := &raftNode{node: told, members: newMembership()}
				n.members.members[3] = member{ID: 3}

				tell()
				err := n.validateChange(t.Context(), removal, leaderOf())
				var refused *apiError
				if tt.change == 0 && err != nil || tt.change != 0 && (!errors.As(err, &refused) || refused.status != tt.change) {
					t.Errorf("the removal: %v, want %d", err, tt.change)
				}
				tell()
				began := time.Now()
				n.handOver(300 * time.Millisecond)
				if told.target != tt.target {
					t.Errorf("leadership was handed to %d, want %d", told.target, tt.target)
				}
				if took := time.Since(began); took > electionTimeout {
					t.Errorf("the hand-over took %v", took)
				}
			})
		})
	}
}

// §6, §8: a leader that has not applied an entry of its own term yet may have a change of
// its predecessor's before it, beside which Raft would drop another without a word.
func TestLeaderThatHasOnlyBegun(t *testing.T) {
	for term, want := range map[uint64]int{3: http.StatusServiceUnavailable, 4: http.StatusConflict} {
		st := leaderOf(2, 3)
		st.Term, st.Applied = 4, 1
		n := &raftNode{storage: raft.NewMemoryStorage(), members: newMembership(), node: &toldNode{status: func() raft.Status { return st }}}
		n.members.removed[9] = true // what stands against the change, if it comes that far
		if err := n.storage.Append([]raftpb.Entry{{Index: 1, Term: term}, {Index: 2, Term: 4}}); err != nil {
			t.Fatal(err)
		}
		err := n.changeMember(t.Context(), raftpb.ConfChange{Type: raftpb.ConfChangeAddLearnerNode, NodeID: 9, Context: []byte("http://127.0.0.1:9")})
		var refused *apiError
		if !errors.As(err, &refused) || refused.status != want {
			t.Errorf("applied up to term %d of 4: %v, want %d", term, err, want)
		}
	}
}

// What cannot be read back is not written: a list of members that is too long for a
// snapshot is not made longer, but can be made shorter.
func TestListOfMembersIsBounded(t *testing.T) {
	n := &raftNode{members: newMembership(), node: &toldNode{status: func() raft.Status { return leaderOf(2, 3) }}}
	url := "http://" + strings.Repeat("x", 4000)
	change := func(kind raftpb.ConfChangeType, id uint64) error {
		cc := raftpb.ConfChange{Type: kind, NodeID: id}
		if kind != raftpb.ConfChangeRemoveNode {
			cc.Context = fmt.Appendf(nil, "%s:%d", url, id)
		}
		return n.validateChange(t.Context(), &cc, leaderOf(2, 3))
	}
	last := uint64(10)
	for change(raftpb.ConfChangeAddLearnerNode, last) == nil {
		n.members.members[last] = member{ID: last, URL: fmt.Sprint(url, ":", last), Learner: true}
		if last++; last > 10_000 {
			t.Fatal("there is no end")
		}
	}
	var refused *apiError
	if err := change(raftpb.ConfChangeAddLearnerNode, last); !errors.As(err, &refused) || refused.status != http.StatusConflict {
		t.Errorf("one more: %v", err)
	}
	if err := change(raftpb.ConfChangeRemoveNode, 10); err != nil {
		t.Errorf("one less: %v", err)
	}
	if err := newMembership().load(bufio.NewReader(bytes.NewReader(n.members.save()))); err != nil {
		t.Errorf("%d members cannot be read back: %v", len(n.members.members), err)
	}
}

// advancingNode is a raft.Node that tells a test of its Advance.
type advancingNode struct {
	raft.Node
	advance func()
}

func (n *advancingNode) Advance() { n.advance() }

func (n *advancingNode) ApplyConfChange(raftpb.ConfChangeI) *raftpb.ConfState {
	return &raftpb.ConfState{Voters: []uint64{1}, Learners: []uint64{2}}
}

// A change is answered once Raft takes the next one: after Advance.
func TestChangeIsAnsweredAfterAdvance(t *testing.T) {
	n, err := follower(t, crashfs.New())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(n.close(), n.dir.close()); err != nil {
			t.Error(err)
		}
	}()
	id, applied := n.changes.enter()
	answered := func() bool {
		select {
		case <-applied:
			return true
		default:
			return false
		}
	}
	advanced := false
	n.node = &advancingNode{advance: func() {
		advanced = true
		if answered() {
			t.Error("answered before Advance")
		}
	}}
	change, err := (&raftpb.ConfChange{ID: id, Type: raftpb.ConfChangeAddLearnerNode, NodeID: 2, Context: []byte("http://127.0.0.1:2")}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	entries := []raftpb.Entry{{Term: 1, Index: 1, Type: raftpb.EntryConfChange, Data: change}}
	rd := raft.Ready{HardState: raftpb.HardState{Term: 1, Commit: 1}, Entries: entries, CommittedEntries: entries, MustSync: true}
	if err := n.handleReady(rd); err != nil {
		t.Fatal(err)
	}
	if !advanced || !answered() {
		t.Errorf("advanced %t, answered %t", advanced, answered())
	}
}

// §7: a snapshot replaces the log before it, the removals in there too: a member whose
// removal we did not see is no peer any more.
func TestSnapshotRemovesPeers(t *testing.T) {
	n := newNodeIn(t, filepath.Join(t.TempDir(), "n1"))
	n.node = &toldNode{}
	var err error
	if n.snaps, err = snap.Open(n.dir.snapDir(), vfs.OS); err != nil {
		t.Fatal(err)
	}
	go n.applyCommits()
	defer func() {
		if err := errors.Join(n.close(), n.dir.close()); err != nil {
			t.Error(err)
		}
	}()
	for id, url := range map[uint64]string{2: "http://127.0.0.1:2", 3: "http://127.0.0.1:3"} {
		n.transport.SetPeer(id, url)
	}

	later := newMembership()
	later.members = map[uint64]member{1: {ID: 1, URL: "http://127.0.0.1:1"}, 2: {ID: 2, URL: "http://127.0.0.1:2"}, 4: {ID: 4, URL: "http://127.0.0.1:4"}}
	later.removed = map[uint64]bool{3: true}
	meta := raftpb.SnapshotMetadata{Index: 9, Term: 1, ConfState: raftpb.ConfState{Voters: []uint64{1, 2, 4}}}
	if _, err := n.writeSnapshot(meta, later.save(), n.store.snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := n.publishSnapshot(meta); err != nil {
		t.Fatal(err)
	}
	peers := n.transport.Reachable()
	for id, want := range map[uint64]bool{2: true, 3: false, 4: true} {
		if _, is := peers[id]; is != want {
			t.Errorf("member %d is a peer: %t, want %t", id, is, want)
		}
	}
}

// Figure 2, "Persistent state": a member that has stored a term or a vote and nothing
// else, as one that has just joined, notices when that is gone.
func TestLostVote(t *testing.T) {
	path, ports := filepath.Join(t.TempDir(), "n1"), freePorts(t, 2)
	flags := []string{"--cluster", "http://127.0.0.1:" + ports[0], "--port", ports[1]}
	n := newNodeIn(t, path, flags...)
	go n.applyCommits()
	if _, err := n.replay(); err != nil {
		t.Fatal(err)
	}
	if err := n.save(raft.Ready{HardState: raftpb.HardState{Term: 2, Vote: 3}, MustSync: true}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.close(), n.dir.close()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(path, "wal")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := run(ctx, append(flags, "--data-dir", path), machine{fs: vfs.OS}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "log of member 1 is gone") {
		t.Errorf("without its log it ended with %v", err)
	}
}

// A member that hears from another that it was removed, which its log does not say, ends
// and stays so, also when nobody is there to tell it again.
func TestRemovalIsNoted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "n1")
	n := newNodeIn(t, path)
	n.Removed(2)
	select {
	case err := <-n.errorC:
		if !errors.Is(err, errRemoved) {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
	if err := n.dir.close(); err != nil {
		t.Fatal(err)
	}
	dir, err := openDataDir(vfs.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := settleIdentity(t.Context(), &n.cfg, dir, nil); !errors.Is(err, errRemoved) {
		t.Errorf("started again: %v", err)
	}
	if err := dir.close(); err != nil {
		t.Error(err)
	}
}

// Figure 2, "Persistent state": a leader commits by heartbeat what this member has
// acknowledged. If its log is shorter, that was lost: it ends, with the recipe, and does
// not vote.
func TestHeartbeatBeyondTheLog(t *testing.T) {
	n := newNodeIn(t, filepath.Join(t.TempDir(), "n1"))
	defer func() {
		if err := n.dir.close(); err != nil {
			t.Error(err)
		}
	}()
	stepped := 0
	n.node = &steppedNode{step: func() { stepped++ }}
	n.term.Store(2)
	if err := n.storage.Append([]raftpb.Entry{{Index: 1, Term: 2}}); err != nil {
		t.Fatal(err)
	}
	for _, m := range []raftpb.Message{
		{Type: raftpb.MsgHeartbeat, Term: 2, Commit: 1},
		{Type: raftpb.MsgHeartbeat, Term: 1, Commit: 9}, // who leads no more
	} {
		if err := n.Process(t.Context(), m); err != nil {
			t.Errorf("%v: %v", &m, err)
		}
	}
	if err := n.Process(t.Context(), raftpb.Message{Type: raftpb.MsgHeartbeat, Term: 2, Commit: 2}); err == nil || stepped != 2 {
		t.Errorf("beyond the log: %v, after %d were stepped", err, stepped)
	}
	select {
	case err := <-n.errorC:
		if !strings.Contains(err.Error(), "ends at 1, but it has acknowledged entry 2") || !strings.Contains(err.Error(), wipedRecipe(1)) {
			t.Errorf("it ends with %v", err)
		}
	default:
		t.Error("it goes on")
	}
}
