// Campaigns: who may ask for votes, and what comes of it.
//
//	§5.2, Figure 2 "Candidates" · diss. §4.1, §9.6 (pre-vote)

package raft

import (
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"github.com/google/go-cmp/cmp"
)

// Figure 2, candidates: "Increment currentTerm, vote for self, send RequestVote RPCs
// to all other servers." The vote for itself counts once it is durable.
func TestCampaign(t *testing.T) {
	n := nodeWith(t, 4, 0, 2, 3)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	want := "1->2 MsgVote Term:5 Log:3/2\n1->3 MsgVote Term:5 Log:3/2\n"
	if diff := cmp.Diff(want, lines(rd.Messages)); diff != "" || rd.Term != 5 || rd.Vote != 1 || !rd.MustSync {
		t.Errorf("%s%v", diff, DescribeReady(rd, nil))
	}
	if len(n.raft.trk.Votes) != 0 {
		t.Error("its own vote counts before it is stored")
	}
	n.Advance(rd)
	if !n.raft.trk.Votes[1] {
		t.Error("its own vote does not count when it is stored")
	}
}

// §5.2: a candidate wins with votes from a majority, and its first answer is what
// counts of each voter.
func TestMajorityWins(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []bool // of 2, 3
		role    StateType
	}{
		{"one yes", []bool{true}, StateLeader},
		{"one no", []bool{false}, StateCandidate},
		{"no and yes", []bool{false, true}, StateLeader},
		{"no and no", []bool{false, false}, StateFollower},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := nodeWith(t, 1, 0, 1)
			if err := n.Campaign(); err != nil {
				t.Fatal(err)
			}
			n.drain(t)
			for i, yes := range tt.answers {
				n.step(t, pb.Message{Type: pb.MsgVoteResp, From: uint64(i + 2), To: 1, Term: 2, Reject: !yes})
			}
			if n.raft.role != tt.role || n.raft.Term != 2 {
				t.Errorf("%v in term %d, want %v", n.raft.role, n.raft.Term, tt.role)
			}
		})
	}
	n := nodeWith(t, 1, 0, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 2, Reject: true})
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 2})
	if n.raft.role != StateCandidate {
		t.Errorf("a voter that changed its mind made it %v", n.raft.role)
	}
}

// A pre-vote's answer is no vote, and the other way round (diss. §9.6).
func TestVotesOfTheOtherKindDoNotCount(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, pb.Message{Type: pb.MsgPreVoteResp, From: 2, To: 1, Term: 2})
	if n.raft.role != StateCandidate {
		t.Errorf("elected by pre-votes: %v", n.raft.role)
	}
}

// §5.4.2, §8: a new leader appends an empty entry of its term, and sends it at once,
// after what was its last entry.
func TestNewLeaderOpensItsTerm(t *testing.T) {
	n := nodeWith(t, 1, 1, 1, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	sent := n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 3, To: 1, Term: 2})
	want := `1->2 MsgApp Term:2 Log:1/2 Commit:1 Entries:[2/3 EntryNormal ""]
1->3 MsgApp Term:2 Log:1/2 Commit:1 Entries:[2/3 EntryNormal ""]
`
	if diff := cmp.Diff(want, lines(sent)); diff != "" {
		t.Error(diff)
	}
	if data := n.storage.ents[2].Data; data != nil {
		t.Errorf("the entry has data: %q", data)
	}
}

// diss. §4.2.1: a learner does not campaign, nor does one that was removed.
func TestOnlyVotersCampaign(t *testing.T) {
	for name, cs := range map[string]pb.ConfState{
		"learner":  {Voters: []uint64{2, 3}, Learners: []uint64{1}},
		"stranger": {Voters: []uint64{2, 3}},
	} {
		s := NewMemoryStorage()
		s.snapshot.Metadata.ConfState = cs
		rn, err := NewRawNode(testConfig(1, s))
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			rn.Tick()
		}
		if err := rn.Campaign(); err != nil || rn.raft.role != StateFollower || rn.raft.Term != 0 {
			t.Errorf("a %s became %v in term %d, %v", name, rn.raft.role, rn.raft.Term, err)
		}
	}
}

// diss. §4.1: who has a change of membership to apply does not campaign.
func TestNoCampaignWithAnUnappliedChange(t *testing.T) {
	s := storageWith(1, 2, 3)
	data, err := (&pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: 3}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append([]pb.Entry{{Term: 1, Index: 1, Type: pb.EntryConfChange, Data: data}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetHardState(pb.HardState{Term: 1, Commit: 1}); err != nil {
		t.Fatal(err)
	}
	rn, err := NewRawNode(testConfig(1, s))
	if err != nil {
		t.Fatal(err)
	}
	if err := rn.Campaign(); err != nil || rn.raft.role != StateFollower {
		t.Errorf("%v, role %v", err, rn.raft.role)
	}
}
