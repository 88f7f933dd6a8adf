// Votes: who gets one.
//
//	§5.2, §5.4.1 · diss. §3.6.1, §4.2.3 (stickiness), §9.6 (pre-vote)

package raft

import (
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// diss. §9.6: neither a request for a pre-vote nor its grant changes a term.
func TestPreVoteChangesNoTerm(t *testing.T) {
	n := nodeWith(t, 3, 0, 3)
	answer := one(t, n.step(t, pb.Message{Type: pb.MsgPreVote, From: 2, To: 1, Term: 9, Index: 1, LogTerm: 3}))
	if answer.Type != pb.MsgPreVoteResp || answer.Reject || answer.Term != 9 {
		t.Errorf("answered %v", DescribeMessage(answer, nil))
	}
	if n.raft.Term != 3 || n.raft.Vote != None {
		t.Errorf("term %d, vote %d", n.raft.Term, n.raft.Vote)
	}
	n.step(t, pb.Message{Type: pb.MsgPreVoteResp, From: 2, To: 1, Term: 9})
	if n.raft.Term != 3 {
		t.Errorf("a grant moved the term to %d", n.raft.Term)
	}
}

// Figure 2, RequestVote 1: "Reply false if term < currentTerm." Ours is silent for
// real votes, and answers pre-votes with the newer term.
func TestStaleVoteRequestsGetNothing(t *testing.T) {
	n := nodeWith(t, 5, 0, 1)
	if sent := n.step(t, pb.Message{Type: pb.MsgVote, From: 2, To: 1, Term: 4, Index: 9, LogTerm: 4}); len(sent) != 0 {
		t.Errorf("answered %s", lines(sent))
	}
	answer := one(t, n.step(t, pb.Message{Type: pb.MsgPreVote, From: 2, To: 1, Term: 4, Index: 9, LogTerm: 4}))
	if !answer.Reject || answer.Term != 5 {
		t.Errorf("answered %v", DescribeMessage(answer, nil))
	}
}

// §5.2: "Each server will vote for at most one candidate in a given term, on a
// first-come-first-served basis"; and it says so only when that is durable.
func TestOneVotePerTerm(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	request := func(from, term uint64) pb.Message {
		return pb.Message{Type: pb.MsgVote, From: from, To: 1, Term: term, Index: 1, LogTerm: 1}
	}
	if err := n.Step(request(2, 2)); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	if rd.Vote != 2 || rd.Term != 2 || !rd.MustSync || one(t, rd.Messages).Reject {
		t.Errorf("the grant is not in one Ready with the vote to store: %v", DescribeReady(rd, nil))
	}
	n.Advance(rd)
	if m := one(t, n.step(t, request(3, 2))); !m.Reject {
		t.Error("a second vote in term 2")
	}
	if m := one(t, n.step(t, request(2, 2))); m.Reject {
		t.Error("the same candidate asked again, its answer lost, and was refused")
	}
	if m := one(t, n.step(t, request(3, 3))); m.Reject {
		t.Error("no vote in term 3")
	}
}

// §5.1 with Figure 2: a node that restarts remembers its vote.
func TestVoteSurvivesARestart(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgVote, From: 2, To: 1, Term: 2, Index: 1, LogTerm: 1})
	rn, err := NewRawNode(testConfig(1, n.storage))
	if err != nil {
		t.Fatal(err)
	}
	again := &member{RawNode: rn, storage: n.storage}
	if m := one(t, again.step(t, pb.Message{Type: pb.MsgVote, From: 3, To: 1, Term: 2, Index: 1, LogTerm: 1})); !m.Reject {
		t.Error("voted twice in term 2")
	}
}

// §5.2: a node that knows the leader of a term does not vote in it.
func TestNoVoteAgainstAKnownLeader(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 2})
	if m := one(t, n.step(t, pb.Message{Type: pb.MsgVote, From: 3, To: 1, Term: 2, Index: 9, LogTerm: 2})); !m.Reject {
		t.Error("voted in a term that has a leader")
	}
}

// §5.4.1, diss. §3.6.1: a voter refuses a candidate whose log is behind its own.
func TestVoteNeedsUpToDateLog(t *testing.T) {
	for _, tt := range []struct {
		name      string
		candidate entryID
		granted   bool
	}{
		{"same log", entryID{term: 2, index: 3}, true},
		{"longer", entryID{term: 2, index: 4}, true},
		{"shorter", entryID{term: 2, index: 2}, false},
		{"shorter but later term", entryID{term: 3, index: 1}, true},
		{"longer but earlier term", entryID{term: 1, index: 9}, false},
	} {
		for _, request := range []pb.MessageType{pb.MsgVote, pb.MsgPreVote} {
			t.Run(tt.name+" "+request.String(), func(t *testing.T) {
				n := nodeWith(t, 3, 0, 1, 1, 2)
				m := one(t, n.step(t, pb.Message{Type: request, From: 2, To: 1, Term: 4, Index: tt.candidate.index, LogTerm: tt.candidate.term}))
				if m.Reject == tt.granted {
					t.Errorf("granted %t, want %t", !m.Reject, tt.granted)
				}
			})
		}
	}
}

// §6, diss. §4.2.3: with check-quorum, a node that hears from a leader ignores
// candidates, unless the leader itself asked for the election.
func TestStickyLeader(t *testing.T) {
	c := testConfig(1, nil)
	c.CheckQuorum = true
	n := nodeOf(t, 1, c, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	request := pb.Message{Type: pb.MsgVote, From: 3, To: 1, Term: 2, Index: 9, LogTerm: 1}
	if sent := n.step(t, request); len(sent) > 0 || n.raft.Term != 1 {
		t.Errorf("term %d, answered %s", n.raft.Term, lines(sent))
	}
	request.Context = []byte(campaignTransfer)
	if m := one(t, n.step(t, request)); m.Reject {
		t.Error("a transfer of leadership was refused")
	}

	n = nodeOf(t, 1, c, 1, 0, 1)
	n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1})
	for range 10 {
		n.raft.electionElapsed++ // as ticks do, without campaigning
	}
	request.Context = nil
	if m := one(t, n.step(t, request)); m.Reject {
		t.Error("the lease did not end after an election timeout")
	}
}
