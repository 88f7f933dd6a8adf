// Leadership transfer.
//
//	diss. §3.10

package raft

import (
	"errors"
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// diss. §3.10: a leader that hands over takes no proposals, sends TimeoutNow when
// the target's log is complete, and gives up after an election timeout.
func TestTransfer(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	n.TransferLeader(2)
	n.drain(t)
	if err := n.Propose([]byte("x")); !errors.Is(err, ErrProposalDropped) {
		t.Errorf("a proposal during the transfer: %v", err)
	}
	sent := n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	if !slices.ContainsFunc(sent, func(m pb.Message) bool { return m.Type == pb.MsgTimeoutNow && m.To == 2 }) {
		t.Errorf("no MsgTimeoutNow: %s", lines(sent))
	}
	for range 10 {
		n.Tick()
	}
	if err := n.Propose([]byte("x")); err != nil {
		t.Errorf("after the transfer was given up: %v", err)
	}
}
