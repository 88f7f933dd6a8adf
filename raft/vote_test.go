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
	request.Context = nil
	n.raft.electionElapsed = 9 // as after so many ticks
	if sent := n.step(t, request); len(sent) > 0 {
		t.Errorf("one tick before the end of the lease: %s", lines(sent))
	}
	n.raft.electionElapsed = 10
	if m := one(t, n.step(t, request)); m.Reject {
		t.Error("the lease did not end after an election timeout")
	}
}

// §5.2, diss. §9.6: whose vote is free. A poll about a later term spends nothing, so
// neither a vote given nor a leader known stands against it.
func TestVoteIsFree(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request pb.MessageType
		term    uint64 // ours is 2
		vote    uint64 // ours in term 2
		lead    uint64
		granted bool
	}{
		{"free", pb.MsgVote, 2, None, None, true},
		{"given to the same", pb.MsgVote, 2, 3, None, true},
		{"given to another", pb.MsgVote, 2, 2, None, false},
		{"there is a leader", pb.MsgVote, 2, None, 2, false},
		{"given to the same, though there is a leader", pb.MsgVote, 2, 3, 2, true},
		{"a poll, free", pb.MsgPreVote, 3, None, None, true},
		{"a poll, given to another in this term", pb.MsgPreVote, 3, 2, None, true},
		{"a poll, there is a leader", pb.MsgPreVote, 3, None, 2, true},
		{"a poll about this term, given to another", pb.MsgPreVote, 2, 2, None, false},
		{"a poll about this term, with a leader", pb.MsgPreVote, 2, None, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 2, 0, 1)
			n.raft.Vote, n.raft.lead, n.raft.electionElapsed = tt.vote, tt.lead, 5
			m := one(t, n.step(t, pb.Message{Type: tt.request, From: 3, To: 1, Term: tt.term, Index: 1, LogTerm: 1}))
			if m.Type != voteReply(tt.request) || m.Reject == tt.granted {
				t.Errorf("%s", DescribeMessage(m, nil))
			}
			wantTerm := uint64(2) // a refusal tells our own
			if tt.granted {
				wantTerm = tt.term
			}
			if m.Term != wantTerm {
				t.Errorf("answered in term %d, want %d", m.Term, wantTerm)
			}

			wantVote, wantElapsed := tt.vote, 5
			if tt.granted && tt.request == pb.MsgVote {
				wantVote, wantElapsed = 3, 0
			}
			if r := n.raft; r.Term != 2 || r.Vote != wantVote || r.electionElapsed != wantElapsed {
				t.Errorf("term %d, vote %d, %d ticks elapsed; want 2, %d, %d", r.Term, r.Vote, r.electionElapsed, wantVote, wantElapsed)
			}
		})
	}
}

// §6: whoever asks knows a configuration in which we vote, though we may not have heard
// of it yet. So learners vote, and so do those that are no members.
func TestLearnersAndStrangersVote(t *testing.T) {
	for name, cs := range map[string]pb.ConfState{
		"learner":  {Voters: []uint64{2, 3}, Learners: []uint64{1}},
		"stranger": {Voters: []uint64{2, 3}},
	} {
		s := NewMemoryStorage()
		s.snapshot.Metadata.ConfState = cs
		n := restart(t, s, nil)
		if m := one(t, n.step(t, pb.Message{Type: pb.MsgVote, From: 2, To: 1, Term: 1})); m.Reject || n.raft.Vote != 2 {
			t.Errorf("a %s did not vote: %s", name, DescribeMessage(m, nil))
		}
	}
}

// diss. §4.2.3: who hears from a leader, or is one, does not even hear of an election:
// neither its term nor anything else moves. Without check-quorum there is no such lease.
func TestLease(t *testing.T) {
	for _, check := range []bool{true, false} {
		for _, leads := range []bool{true, false} {
			for _, request := range []pb.MessageType{pb.MsgVote, pb.MsgPreVote} {
				c := testConfig(1, nil)
				c.CheckQuorum = check
				n := nodeOf(t, 1, c, 1, 0, 1)
				if leads {
					n.lead(t)
				} else {
					n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 2})
				}
				m := pb.Message{Type: request, From: 3, To: 1, Term: 7, Index: 9, LogTerm: 6}
				sent := n.step(t, m)
				if ignored := len(sent) == 0 && n.raft.Term == 2; ignored != check {
					t.Errorf("check-quorum %t, leads %t, %v: term %d, %s", check, leads, request, n.raft.Term, lines(sent))
				}
				if check && (n.raft.role == StateLeader) != leads {
					t.Errorf("leads %t, and now it is %v", leads, n.raft.role)
				}
			}
		}
	}
}
