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

// diss. §3.10: a target that has everything is told at once; another is first brought up
// to date, and told with the answer that shows it.
func TestTransferBringsTheTargetUpToDate(t *testing.T) {
	n := leaderOf(t, nil)
	n.TransferLeader(2)
	if got, want := lines(n.drain(t)), "1->2 MsgTimeoutNow Term:2 Log:0/0\n"; got != want {
		t.Errorf("to one that has all: %s, want %s", got, want)
	}
	if st := n.BasicStatus(); st.LeadTransferee != 2 {
		t.Errorf("the status says %d", st.LeadTransferee)
	}

	n = leaderOf(t, nil)
	n.step(t, acked(3, 2, 1)) // the rest is on its way
	n.ReportUnreachable(3)
	n.TransferLeader(3)
	if got, want := lines(n.drain(t)), "1->3 MsgApp Term:2 Log:1/1 Commit:2 Entries:[2/2 EntryNormal \"\"]\n"; got != want {
		t.Errorf("to one that lags: %s, want %s", got, want)
	}
	if got, want := lines(n.step(t, acked(3, 2, 2))), "1->3 MsgTimeoutNow Term:2 Log:0/0\n"; got != want {
		t.Errorf("when it has all: %s, want %s", got, want)
	}

	n = leaderOf(t, nil)
	n.propose(t, 3, "x")
	n.ReportUnreachable(3)
	n.TransferLeader(3)
	n.drain(t)
	for _, m := range n.step(t, acked(3, 2, 2)) {
		if m.Type == pb.MsgTimeoutNow {
			t.Error("told to campaign with a part of the log")
		}
	}
	if sent := n.step(t, acked(3, 2, 3)); len(sent) == 0 || sent[len(sent)-1].Type != pb.MsgTimeoutNow {
		t.Errorf("when it has all: %s", lines(sent))
	}
}

// Whom a leader hands over to: a voter that is not itself. Another target takes the
// place of the pending one, the same again changes nothing, and asking for the leader
// itself ends it.
func TestTransferTargets(t *testing.T) {
	for _, tt := range []struct {
		name    string
		targets []uint64
		want    uint64
	}{
		{"a voter", []uint64{2}, 2},
		{"another instead", []uint64{2, 3}, 3},
		{"the leader itself", []uint64{1}, None},
		{"back to the leader", []uint64{2, 1}, None},
		{"a learner", []uint64{4}, None},
		{"a learner while one is pending", []uint64{2, 4}, 2},
		{"nobody we know", []uint64{9}, None},
		{"the same again", []uint64{2, 2}, 2},
	} {
		n := leaderOf(t, nil)
		n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: 4})
		for range 7 {
			n.Tick()
		}
		n.drain(t)
		elapsed := 7
		for i, target := range tt.targets {
			before := n.raft.leadTransferee
			n.TransferLeader(target)
			if target <= 3 && target > 1 && target != before {
				elapsed = 0
			}
			if n.raft.electionElapsed != elapsed {
				t.Errorf("%s: %d ticks elapsed after request %d, want %d", tt.name, n.raft.electionElapsed, i, elapsed)
			}
		}
		if n.raft.leadTransferee != tt.want {
			t.Errorf("%s: handing over to %d, want %d", tt.name, n.raft.leadTransferee, tt.want)
		}
		if tt.name == "the same again" {
			if sent := n.drain(t); len(sent) != 1 {
				t.Errorf("%s: %s", tt.name, lines(sent))
			}
		}
	}
}

// diss. §3.10: a transfer ends with an election timeout, with the leadership, and when
// the target stops being a voter. Meanwhile reads go on.
func TestTransferEnds(t *testing.T) {
	for name, end := range map[string]func(*member){
		"an election timeout": func(n *member) {
			for i := range 10 {
				if n.raft.leadTransferee == None {
					t.Errorf("given up after %d ticks", i)
				}
				n.Tick()
			}
		},
		"another leader":         func(n *member) { n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 3, To: 1, Term: 3}) },
		"the target was removed": func(n *member) { n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 2}) },
		"the target was demoted": func(n *member) { n.ApplyConfChange(pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: 2}) },
	} {
		n := leaderOf(t, nil)
		n.TransferLeader(2)
		n.ReadIndex([]byte("r"))
		n.drain(t)
		n.step(t, beat(3, 2, "r"))
		if got := n.takeReads(); got != "r@2" {
			t.Errorf("a read during the transfer: %q", got)
		}
		if end(n); n.raft.leadTransferee != None {
			t.Errorf("%s: still handing over to %d", name, n.raft.leadTransferee)
		}
	}
	n := leaderOf(t, nil)
	n.TransferLeader(2)
	n.ApplyConfChange(v2(pb.ConfChangeTransitionJointExplicit, "l2"))
	if n.raft.leadTransferee != 2 {
		t.Error("the target still votes in the old half, and the transfer ended")
	}
}

// A follower passes the request on to its leader, in the target's name; nobody else can
// do anything about it.
func TestTransferAskedOfOthers(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.TransferLeader(3)
	if n.HasReady() {
		t.Error("a follower of nobody does something")
	}
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	n.TransferLeader(3)
	if m := one(t, n.drain(t)); m.Type != pb.MsgTransferLeader || m.From != 3 || m.To != 2 {
		t.Errorf("%s", DescribeMessage(m, nil))
	}
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.TransferLeader(3)
	if n.HasReady() {
		t.Error("a candidate does something")
	}
}
