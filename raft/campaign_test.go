// Campaigns: who may ask for votes, and what comes of it.
//
//	§5.2, Figure 2 "Candidates" · diss. §4.1, §9.6 (pre-vote)

package raft

import (
	"slices"
	"testing"

	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
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

// §6: a voter of the old half alone votes until the joint configuration is left, even if it
// is to be a learner then. Until then it may lead, too.
func TestVotersOfTheOldHalfCampaign(t *testing.T) {
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{2, 3}, VotersOutgoing: []uint64{1, 2}, LearnersNext: []uint64{1}}
	n := restart(t, s, nil)
	for range 20 {
		n.Tick()
	}
	if n.raft.role != StateCandidate {
		t.Errorf("it is %v", n.raft.role)
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

// diss. §3.10, §4.1: a leader, and whoever has a committed change of either kind to
// apply, does not campaign; once it is applied, it may. Nobody is told why not.
func TestWhoDoesNotCampaign(t *testing.T) {
	n := nodeWith(t, 1, 0, 1)
	n.lead(t)
	if err := n.Campaign(); err != nil || n.raft.Term != 2 || n.raft.role != StateLeader {
		t.Errorf("a leader became %v in term %d, %v", n.raft.role, n.raft.Term, err)
	}

	for _, change := range []pb.ConfChangeI{
		pb.ConfChange{Type: pb.ConfChangeAddNode, NodeID: 4},
		pb.ConfChangeV2{Changes: []pb.ConfChangeSingle{{Type: pb.ConfChangeAddNode, NodeID: 4}}},
	} {
		kind, data := marshalled(t, change)
		c := testConfig(1, nil)
		c.MaxCommittedSizePerReady = 1 // the log is searched for it in portions, too
		n := nodeOf(t, 1, c, 1, 1, 1)
		mustStep(t, n, pb.Message{
			Type: pb.MsgApp, From: 2, To: 1, Term: 1, Index: 1, LogTerm: 1, Commit: 3,
			Entries: []pb.Entry{{Term: 1, Index: 2}, {Term: 1, Index: 3, Type: kind, Data: data}, {Term: 1, Index: 4}},
		})
		for range 100 {
			n.Tick()
		}
		if err := n.Campaign(); err != nil || n.raft.role != StateFollower || n.raft.Term != 1 {
			t.Errorf("%v: it became %v in term %d, %v", kind, n.raft.role, n.raft.Term, err)
		}
		mustStep(t, n, pb.Message{Type: pb.MsgTimeoutNow, From: 2, To: 1, Term: 1})
		if n.raft.role != StateFollower {
			t.Errorf("%v: told to by the leader it became %v", kind, n.raft.role)
		}
		n.drain(t)
		if err := n.Campaign(); err != nil || n.raft.role != StateCandidate {
			t.Errorf("%v, applied: it became %v, %v", kind, n.raft.role, err)
		}
	}
}

// §6: a candidate asks the voters of both halves, in the order of their ids, and no
// learner; it wins with both majorities, and has lost as soon as one is out of reach.
func TestJointElection(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[uint64]bool
		role    StateType
	}{
		{"a majority of one half", map[uint64]bool{2: true}, StateCandidate},
		{"of both", map[uint64]bool{3: true, 5: true}, StateLeader},
		{"one half refuses", map[uint64]bool{5: false, 6: false}, StateFollower},
	} {
		s := NewMemoryStorage()
		s.snapshot.Metadata.ConfState = pb.ConfState{
			Voters: []uint64{3, 1, 2}, VotersOutgoing: []uint64{6, 1, 5}, Learners: []uint64{4},
		}
		n := restart(t, s, nil)
		if err := n.Campaign(); err != nil {
			t.Fatal(err)
		}
		var asked []uint64
		for _, m := range n.drain(t) {
			asked = append(asked, m.To)
		}
		if want := []uint64{2, 3, 5, 6}; !slices.Equal(asked, want) {
			t.Errorf("asked %v, want %v", asked, want)
		}
		for id, yes := range tt.answers {
			n.step(t, pb.Message{Type: pb.MsgVoteResp, From: id, To: 1, Term: 1, Reject: !yes})
		}
		if n.raft.role != tt.role || n.raft.Term != 1 || tt.role == StateFollower && n.raft.lead != None {
			t.Errorf("%s: %v in term %d", tt.name, n.raft.role, n.raft.Term)
		}
	}
}

// diss. §9.6: a pre-candidate asks about the next term and stays in its own; a majority
// sends it into the real election, a refusal of a later term into that one.
func TestPreVote(t *testing.T) {
	poll := func() *member {
		c := testConfig(1, nil)
		c.PreVote = true
		n := nodeOf(t, 1, c, 3, 0, 1, 2)
		n.step(t, pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 3})
		if err := n.Campaign(); err != nil {
			t.Fatal(err)
		}
		rd := n.Ready()
		want := "Ready MustSync=false:\nLead:0 State:StatePreCandidate\nMessages:\n" +
			"1->2 MsgPreVote Term:4 Log:2/2\n1->3 MsgPreVote Term:4 Log:2/2\n"
		if got := DescribeReady(rd, nil); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		n.do(t, rd)
		return n
	}
	answer := func(from, term uint64, reject bool) pb.Message {
		return pb.Message{Type: pb.MsgPreVoteResp, From: from, To: 1, Term: term, Reject: reject}
	}

	n := poll()
	sent := n.step(t, answer(2, 4, false))
	if want := "1->2 MsgVote Term:4 Log:2/2\n1->3 MsgVote Term:4 Log:2/2\n"; lines(sent) != want || n.raft.role != StateCandidate || n.raft.Term != 4 {
		t.Errorf("with a majority: %v in term %d, %s", n.raft.role, n.raft.Term, lines(sent))
	}
	n = poll()
	n.step(t, answer(2, 3, true))
	if n.raft.role != StatePreCandidate || n.raft.Term != 3 {
		t.Errorf("one refusal of three: %v in term %d", n.raft.role, n.raft.Term)
	}
	n.step(t, answer(3, 3, true))
	if n.raft.role != StateFollower || n.raft.Term != 3 || n.raft.lead != None {
		t.Errorf("a lost poll: %v of %d in term %d", n.raft.role, n.raft.lead, n.raft.Term)
	}
	n = poll()
	n.step(t, answer(2, 9, true))
	if n.raft.role != StateFollower || n.raft.Term != 9 {
		t.Errorf("a refusal of a later term: %v in term %d", n.raft.role, n.raft.Term)
	}
	n = poll()
	n.step(t, answer(2, 3, true))
	if err := n.Campaign(); err != nil { // asks again
		t.Fatal(err)
	}
	n.drain(t)
	n.step(t, answer(2, 4, false))
	if n.raft.role != StateCandidate {
		t.Errorf("a refusal of the last poll counts in this one: %v", n.raft.role)
	}
	n = poll()
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 3})
	if n.raft.role != StatePreCandidate {
		t.Errorf("a real vote counted in a poll: %v", n.raft.role)
	}
}

// diss. §3.10: the leader's word sends a follower into a real election at once, with or
// without pre-vote, and its requests say so.
func TestTransferElection(t *testing.T) {
	for _, preVote := range []bool{false, true} {
		c := testConfig(1, nil)
		c.PreVote = preVote
		n := nodeOf(t, 1, c, 1, 0, 1)
		sent := n.step(t, pb.Message{Type: pb.MsgTimeoutNow, From: 2, To: 1, Term: 1})
		if len(sent) != 2 || n.raft.role != StateCandidate || n.raft.Term != 2 {
			t.Fatalf("%v in term %d, %s", n.raft.role, n.raft.Term, lines(sent))
		}
		for _, m := range sent {
			if m.Type != pb.MsgVote || string(m.Context) != "CampaignTransfer" {
				t.Errorf("%s with context %q", DescribeMessage(m, nil), m.Context)
			}
		}
		// Whoever campaigns or polls already, or leads, does not begin again.
		n.step(t, pb.Message{Type: pb.MsgTimeoutNow, From: 2, To: 1, Term: 2})
		if n.raft.Term != 2 {
			t.Errorf("a candidate began term %d", n.raft.Term)
		}
		n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 2})
		n.step(t, pb.Message{Type: pb.MsgTimeoutNow, From: 2, To: 1, Term: 2})
		if n.raft.Term != 2 || n.raft.role != StateLeader {
			t.Errorf("a leader became %v in term %d", n.raft.role, n.raft.Term)
		}
	}
	c := testConfig(1, nil)
	c.PreVote = true
	n := nodeOf(t, 1, c, 1, 0, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.drain(t)
	if sent := n.step(t, pb.Message{Type: pb.MsgTimeoutNow, From: 2, To: 1, Term: 1}); n.raft.role != StatePreCandidate || len(sent) > 0 {
		t.Errorf("a pre-candidate became %v, %s", n.raft.role, lines(sent))
	}
	s := NewMemoryStorage()
	s.snapshot.Metadata.ConfState = pb.ConfState{Voters: []uint64{2}, Learners: []uint64{1}}
	n = restart(t, s, nil)
	n.step(t, pb.Message{Type: pb.MsgTimeoutNow, From: 2, To: 1, Term: 1})
	if n.raft.role != StateFollower || n.raft.Term != 1 {
		t.Errorf("a learner became %v in term %d", n.raft.role, n.raft.Term)
	}
}

// Figure 2: "Volatile state on leaders (Reinitialized after election)": of peers nothing
// is known; the new leader's own record is up to date. Late votes change nothing.
func TestNewLeaderKnowsNothing(t *testing.T) {
	n := nodeWith(t, 1, 0, 1, 1)
	if err := n.Campaign(); err != nil {
		t.Fatal(err)
	}
	n.Tick()
	n.drain(t)
	mustStep(t, n, pb.Message{Type: pb.MsgVoteResp, From: 2, To: 1, Term: 2})
	if r := n.raft; r.role != StateLeader || r.electionElapsed != 0 || len(r.trk.Votes) > 0 || r.self.State != tracker.StateReplicate || !r.self.RecentActive || r.self.Match != 2 {
		t.Errorf("%v, %d ticks elapsed, votes %v, its own record %v", r.role, r.electionElapsed, r.trk.Votes, r.self)
	}
	n.drain(t)
	for id, pr := range n.Status().Progress {
		want := "StateProbe match=0 next=3 paused inactive" // the first append is under way
		if id == 1 {
			want = "StateReplicate match=3 next=4"
		}
		if got := pr.String(); got != want {
			t.Errorf("record of %d: %s, want %s", id, got, want)
		}
	}
	for _, m := range []pb.Message{{Type: pb.MsgVoteResp}, {Type: pb.MsgVoteResp, Reject: true}, {Type: pb.MsgPreVoteResp}} {
		m.From, m.To, m.Term = 3, 1, 2
		if sent := n.step(t, m); len(sent) > 0 || n.raft.role != StateLeader {
			t.Errorf("%v: %v, %s", m.Type, n.raft.role, lines(sent))
		}
	}
	n = nodeWith(t, 1, 0, 1, 1)
	n.step(t, pb.Message{Type: pb.MsgVoteResp, From: 3, To: 1, Term: 1})
	if n.raft.role != StateFollower || len(n.raft.trk.Votes) > 0 {
		t.Errorf("a follower that got a vote is %v", n.raft.role)
	}
}

// A user may compact entries that it has applied before it says so with Advance. What was in
// them is not known any more: it may have been a change of membership, and the node waits.
func TestCompactedEntriesMayHoldAChange(t *testing.T) {
	n := nodeWith(t, 1, 0, 1, 1)
	if err := n.Step(pb.Message{Type: pb.MsgHeartbeat, From: 2, To: 1, Term: 1, Commit: 2}); err != nil {
		t.Fatal(err)
	}
	rd := n.Ready()
	if err := n.storage.Compact(2); err != nil {
		t.Fatal(err)
	}
	if err := n.Campaign(); err != nil || n.raft.role != StateFollower {
		t.Errorf("before Advance it became %v, %v", n.raft.role, err)
	}
	n.Advance(rd)
	if err := n.Campaign(); err != nil || n.raft.role != StateCandidate {
		t.Errorf("after Advance it is %v, %v", n.raft.role, err)
	}
}

// Figure 2: currentTerm increases monotonically, and with it stays the vote. A leader's
// message without a term is of none that we could go back to.
func TestTermNeverFalls(t *testing.T) {
	for _, typ := range []pb.MessageType{pb.MsgHeartbeat, pb.MsgApp, pb.MsgSnap} {
		n := nodeWith(t, 0, 0)
		if err := n.Campaign(); err != nil {
			t.Fatal(err)
		}
		n.drain(t)
		n.step(t, pb.Message{Type: typ, From: 2, To: 1})
		if hs := n.raft.hardState(); hs.Term != 1 || hs.Vote != 1 {
			t.Errorf("after %v: %+v", typ, hs)
		}
	}
}
