// The term rule: whoever is out of date gives way, before anything else.
//
//	§5.1, Figure 2 "Rules for Servers"

package raft

import (
	"testing"

	pb "example.com/raftexample/raft/raftpb"
)

// Figure 2, all servers: "If RPC request or response contains term T >
// currentTerm: set currentTerm = T, convert to follower."
func TestHigherTermMakesAFollower(t *testing.T) {
	for _, role := range []StateType{StateFollower, StateCandidate, StateLeader} {
		for _, m := range []pb.Message{
			{Type: pb.MsgApp},
			{Type: pb.MsgHeartbeat},
			{Type: pb.MsgVote},
			{Type: pb.MsgAppResp},
			{Type: pb.MsgVoteResp, Reject: true},
			{Type: pb.MsgHeartbeatResp},
			{Type: pb.MsgPreVoteResp, Reject: true},
		} {
			t.Run(role.String()+" "+m.Type.String(), func(t *testing.T) {
				n := nodeWith(t, 1, 0, 1)
				switch role {
				case StateCandidate:
					if err := n.Campaign(); err != nil {
						t.Fatal(err)
					}
					n.drain(t)
				case StateLeader:
					n.lead(t)
				}
				m.From, m.To, m.Term = 2, 1, 7
				n.step(t, m)
				if n.raft.Term != 7 || n.raft.role != StateFollower {
					t.Errorf("%v in term %d", n.raft.role, n.raft.Term)
				}
				wantLead := None
				if m.Type == pb.MsgApp || m.Type == pb.MsgHeartbeat {
					wantLead = 2
				}
				if n.raft.lead != wantLead {
					t.Errorf("leader %d, want %d", n.raft.lead, wantLead)
				}
			})
		}
	}
}

// Figure 2, candidates: "If AppendEntries RPC received from new leader: convert to
// follower."
func TestCandidateGivesWayToALeader(t *testing.T) {
	for _, preVote := range []bool{false, true} {
		for _, mt := range []pb.MessageType{pb.MsgApp, pb.MsgHeartbeat} {
			c := testConfig(1, nil)
			c.PreVote = preVote
			n := nodeOf(t, 1, c, 1, 0, 1)
			if err := n.Campaign(); err != nil {
				t.Fatal(err)
			}
			n.drain(t)
			n.step(t, pb.Message{Type: mt, From: 3, To: 1, Term: n.raft.Term, Index: 1, LogTerm: 1})
			if n.raft.role != StateFollower || n.raft.lead != 3 {
				t.Errorf("pre-vote %t, %v: %v of %d", preVote, mt, n.raft.role, n.raft.lead)
			}
		}
	}
}
