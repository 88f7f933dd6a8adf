// Changes of membership: one at a time, and what follows from each.
//
//	§6 · diss. §4.1, §4.2.2 (a leader that is removed)

package raft

import (
	"errors"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// §6, diss. §4.1: one change of membership at a time; one that comes too early is
// an empty entry in its place.
func TestOneChangeAtATime(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	change := func(id uint64) pb.EntryType {
		if err := n.ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: id}); err != nil {
			t.Fatal(err)
		}
		n.drain(t)
		return n.storage.ents[len(n.storage.ents)-1].Type
	}
	if got := change(4); got != pb.EntryNormal {
		t.Error("a new leader may have a change in its log that is not applied, and took another")
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if got := change(4); got != pb.EntryConfChange {
		t.Errorf("with nothing pending: %v", got)
	}
	if got := change(5); got != pb.EntryNormal {
		t.Errorf("with a change pending: %v", got)
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if got := change(5); got != pb.EntryConfChange {
		t.Errorf("with the change applied: %v", got)
	}
}

// A leader that is removed steps down if it was told to, or else stays and counts
// itself no more (§6).
func TestRemovedLeader(t *testing.T) {
	for _, stepDown := range []bool{true, false} {
		g := newGroup(t, 3, func(c *Config) { c.StepDownOnRemoval = stepDown })
		g.elect(1)
		if err := g.nodes[1].ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 1}); err != nil {
			t.Fatal(err)
		}
		g.settle()
		want := StateLeader
		if stepDown {
			want = StateFollower
		}
		if role := g.nodes[1].raft.role; role != want {
			t.Errorf("step down %t: %v", stepDown, role)
		}
		if err := g.nodes[1].Propose([]byte("x")); !errors.Is(err, ErrProposalDropped) {
			t.Errorf("step down %t: a proposal: %v", stepDown, err)
		}
	}
}
