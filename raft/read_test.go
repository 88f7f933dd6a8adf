// Reads without a place in the log.
//
//	§8 · diss. §6.4

package raft

import (
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"github.com/google/go-cmp/cmp"
)

// §8, diss. §6.4: a read waits until the leader has committed in its term, then for
// a quorum to answer heartbeats that were sent for it.
func TestReadIndex(t *testing.T) {
	n := nodeWith(t, 1, 1, 1)
	n.lead(t)
	n.ReadIndex([]byte("early"))
	if sent := n.drain(t); len(sent) > 0 {
		t.Errorf("a read before the first commit of the term: %s", lines(sent))
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	if len(n.reads) > 0 {
		t.Error("answered without asking")
	}
	n.step(t, pb.Message{Type: pb.MsgHeartbeatResp, From: 2, To: 1, Term: 2, Context: []byte("early")})
	if diff := cmp.Diff([]ReadState{{Index: 2, RequestCtx: []byte("early")}}, n.reads); diff != "" {
		t.Error(diff)
	}
}

// A context that is used again is a new read: answers to heartbeats of its first
// use, late or doubled, do not confirm it.
func TestReadContextUsedAgain(t *testing.T) {
	n := nodeWith(t, 1, 1, 1)
	n.lead(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	old := pb.Message{Type: pb.MsgHeartbeatResp, From: 2, To: 1, Term: 2, Context: []byte("r")}

	n.ReadIndex([]byte("r"))
	n.drain(t)
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 3})
	n.ReadIndex([]byte("r"))
	sent := n.drain(t)
	n.step(t, old)
	if len(n.reads) > 0 {
		t.Fatalf("an answer to the first round confirmed %v", n.reads)
	}
	fresh := old
	for _, m := range sent {
		if m.Type == pb.MsgHeartbeat && m.To == 2 {
			fresh.Context = m.Context
		}
	}
	n.step(t, fresh)
	if diff := cmp.Diff([]ReadState{{Index: 3, RequestCtx: []byte("r")}}, n.reads); diff != "" {
		t.Error(diff)
	}

	// The same once it has been answered.
	n.reads = nil
	n.ReadIndex([]byte("r"))
	n.drain(t)
	n.step(t, old)
	n.step(t, fresh)
	if len(n.reads) > 0 {
		t.Errorf("answers to former rounds confirmed %v", n.reads)
	}
}

// diss. §6.4: a single voter postpones reads, too; a removed leader asks the voter
// that is left.
func TestReadOfASingleVoter(t *testing.T) {
	s := storageWith(1)
	rn, err := NewRawNode(testConfig(1, s))
	if err != nil {
		t.Fatal(err)
	}
	n := &member{RawNode: rn, storage: s}
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	if err := s.SetHardState(rd.HardState); err != nil {
		t.Fatal(err)
	}
	n.Advance(rd) // it leads now, and its first entry is not stored
	n.ReadIndex([]byte("r"))
	if len(n.raft.readStates) > 0 {
		t.Error("answered before the first commit of the term")
	}
	n.drain(t)
	if len(n.reads) != 1 || n.reads[0].Index != 1 {
		t.Errorf("reads %v, want one at 1", n.reads)
	}

	g := newGroup(t, 2, nil)
	g.elect(1)
	if err := g.nodes[1].ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1}); err != nil {
		t.Fatal(err)
	}
	g.settle()
	g.nodes[1].ReadIndex([]byte("r"))
	g.drop = func(pb.Message) bool { return true }
	g.settle()
	if len(g.nodes[1].reads) > 0 {
		t.Error("a removed leader answered alone")
	}
}
