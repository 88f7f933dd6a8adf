// Replication at the leader: what is sent, and what the answers change.
//
//	§5.3 · diss. §10.2.1 (pipelining)

package raft

import (
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// §5.3: a follower that refused is probed from where the logs may agree; a late
// refusal is ignored.
func TestBackingUp(t *testing.T) {
	n := nodeWith(t, 5, 0, 1, 1, 4, 4, 4)
	n.lead(t) // term 6, entry 6; the probe to 2 is after entry 5
	refuse := func(index, hint, term uint64) []pb.Message {
		return n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 6, Index: index, Reject: true, RejectHint: hint, LogTerm: term})
	}
	// The follower's last entry at or below 5 with a term up to 4 is 4, of term 2: of
	// ours, entries 3 to 5 are of term 4, so 2 is the first that can agree.
	if m := one(t, refuse(5, 4, 2)); m.Index != 2 || m.LogTerm != 1 {
		t.Errorf("probed with %v", DescribeMessage(m, nil))
	}
	if sent := refuse(5, 4, 2); len(sent) > 0 {
		t.Errorf("a late refusal caused %s", lines(sent))
	}
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 6, Index: 6})
	pr := n.raft.trk.Progress[2]
	if pr.State != tracker.StateReplicate || pr.Match != 6 {
		t.Errorf("after agreeing: %v", pr)
	}
}

// diss. §10.2.1: appends are sent ahead, as many as the window holds.
func TestPipelining(t *testing.T) {
	c := testConfig(1, nil)
	c.MaxInflightMsgs = 3
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.lead(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	var entries int
	for range 5 {
		if err := n.Propose([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for _, m := range n.drain(t) {
			if m.To == 2 && m.Type == pb.MsgApp {
				entries += len(m.Entries)
			}
		}
	}
	if entries != 3 {
		t.Errorf("%d entries sent without an answer, want 3", entries)
	}
	sent := n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 4})
	entries = 0
	for _, m := range sent {
		if m.To == 2 {
			entries += len(m.Entries)
		}
	}
	if entries != 2 {
		t.Errorf("%d entries sent when there was room again, want 2", entries)
	}
}

// §5.2: heartbeats commit only what the follower is known to hold.
func TestHeartbeatCommit(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 2})
	n.Tick()
	commits := map[uint64]uint64{}
	for _, m := range n.drain(t) {
		commits[m.To] = m.Commit
	}
	if commits[2] != 2 || commits[3] != 0 {
		t.Errorf("heartbeats commit %v, want 2 for node 2 and 0 for node 3", commits)
	}
}
