// The commit rule, and who counts.
//
//	§5.3, §5.4.2, Figure 8, §6 (joint quorums) · diss. §4.2.1 (learners)

package raft

import (
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// Figure 2, leaders: "If there exists an N such that N > commitIndex, a majority of
// matchIndex[i] >= N, and log[N].term == currentTerm: set commitIndex = N" (§5.3,
// §5.4). The leader's own copy counts once it is durable.
func TestCommitRule(t *testing.T) {
	n := nodeWith(t, 1, 0, 1, 1)
	n.lead(t) // in term 2: entry 3 opens it
	ack := func(index uint64) {
		n.step(t, pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: index})
	}
	ack(2)
	if c := n.raft.log.committed; c != 0 {
		t.Errorf("entry 2 of term 1 was committed by counting: commit %d", c)
	}
	ack(3)
	if c := n.raft.log.committed; c != 3 {
		t.Errorf("entry 3 of the leader's term is on a majority, commit is %d", c)
	}

	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready() // entry 4, not stored here yet
	if err := n.Step(pb.Message{Type: pb.MsgAppResp, From: 2, To: 1, Term: 2, Index: 4}); err != nil {
		t.Fatal(err)
	}
	if c := n.raft.log.committed; c != 3 {
		t.Errorf("the leader counted its own copy before it was stored: commit %d", c)
	}
	if err := n.storage.Append(rd.Entries); err != nil {
		t.Fatal(err)
	}
	n.Advance(rd)
	if c := n.raft.log.committed; c != 4 {
		t.Errorf("stored and on a majority, commit is %d", c)
	}

	// diss. §10.2.1: the others may commit an entry that the leader has yet to store.
	if err := n.Propose([]byte("y")); err != nil {
		t.Fatal(err)
	}
	n.Ready()
	for _, from := range []uint64{2, 3} {
		mustStep(t, n, acked(from, 2, 5))
	}
	if c := n.raft.log.committed; c != 5 {
		t.Errorf("on a majority without the leader, commit is %d", c)
	}
}

// diss. §4.2.1: learners count in no quorum.
func TestLearnersDoNotCount(t *testing.T) {
	g := newGroup(t, 3, nil)
	g.elect(1)
	for _, id := range []uint64{4, 5} {
		if err := g.nodes[1].ProposeConfChange(pb.ConfChange{Type: pb.ConfChangeAddLearnerNode, NodeID: id}); err != nil {
			t.Fatal(err)
		}
		g.settle()
	}
	n := g.nodes[1]
	committed := n.raft.log.committed
	g.drop = func(m pb.Message) bool { return true }
	if err := n.Propose([]byte("x")); err != nil {
		t.Fatal(err)
	}
	g.settle()
	last := n.raft.log.lastIndex()
	for _, id := range []uint64{4, 5} {
		n.step(t, pb.Message{Type: pb.MsgAppResp, From: id, To: 1, Term: 1, Index: last})
		n.step(t, pb.Message{Type: pb.MsgHeartbeatResp, From: id, To: 1, Term: 1})
	}
	if n.raft.log.committed != committed {
		t.Error("learners made a majority")
	}
	n.ReadIndex([]byte("r"))
	for _, id := range []uint64{4, 5} {
		n.step(t, pb.Message{Type: pb.MsgHeartbeatResp, From: id, To: 1, Term: 1, Context: []byte("r")})
	}
	if len(n.reads) > 0 {
		t.Error("learners confirmed a read")
	}
}

// §6: in a joint configuration agreement needs both majorities.
func TestJointQuorums(t *testing.T) {
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{1, 2, 3}, VotersOutgoing: []uint64{1, 4, 5}}
	rn, err := NewRawNode(testConfig(1, s))
	if err != nil {
		t.Fatal(err)
	}
	n := &member{RawNode: rn, storage: s}
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	vote := func(from uint64) {
		n.step(t, pb.Message{Type: pb.MsgVoteResp, From: from, To: 1, Term: 1})
	}
	vote(2)
	vote(3)
	if n.raft.role == StateLeader {
		t.Fatal("elected by one half")
	}
	vote(4)
	if n.raft.role != StateLeader {
		t.Fatal("not elected by both")
	}
	ack := func(from uint64) {
		n.step(t, pb.Message{Type: pb.MsgAppResp, From: from, To: 1, Term: 1, Index: 1})
	}
	ack(4)
	ack(5)
	if n.raft.log.committed != 0 {
		t.Error("committed by one half")
	}
	ack(3)
	if n.raft.log.committed != 1 {
		t.Error("not committed by both")
	}
}
