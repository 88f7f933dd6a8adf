// Proposals: what a leader lets into its log.
//
//	§5.3

package raft

import (
	"errors"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// Proposals beyond the limit are dropped; one is always taken, however large; what
// was applied makes room.
func TestUncommittedLimit(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxUncommittedEntriesSize = 10
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t)
	if err := n.Propose(make([]byte, 100)); err != nil {
		t.Errorf("the first proposal: %v", err)
	}
	if err := n.Propose([]byte("x")); !errors.Is(err, ErrProposalDropped) {
		t.Errorf("beyond the limit: %v", err)
	}
	if err := n.Propose(nil); err != nil {
		t.Errorf("nothing fits always: %v", err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: n.raft.log.lastIndex()})
	if err := n.Propose([]byte("x")); err != nil {
		t.Errorf("after all was applied: %v", err)
	}
}
