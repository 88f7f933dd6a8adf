// Candidates: what a candidate or pre-candidate does with each message.
//
//	§5.2, Figure 2 "Candidates" · diss. §9.6
//
// Start at stepCandidate; election.go asks for the votes it counts.

package raft

import (
	"example.com/raftexample/raft/quorum"
	pb "example.com/raftexample/raft/raftpb"
)

// stepCandidate is everything a candidate, or a pre-candidate, does with a
// message. Step has checked the term.
func (r *raft) stepCandidate(m pb.Message) error {
	switch m.Type {
	case pb.MsgProp:
		return ErrProposalDropped
	case pb.MsgApp, pb.MsgHeartbeat, pb.MsgSnap:
		// "If AppendEntries RPC received from new leader: convert to follower." It is of our
		// term, or of none, and a term never falls.
		r.becomeFollower(r.Term, m.From)
		return r.stepFollower(m)
	case pb.MsgVoteResp:
		if r.role == StateCandidate {
			r.countVote(&m)
		}
	case pb.MsgPreVoteResp:
		if r.role == StatePreCandidate {
			r.countVote(&m)
		}
	}
	return nil // the rest is addressed to a role we no longer have
}

// countVote counts an answer, and acts once the outcome is certain: a quorum
// granted, or a quorum cannot be reached any more.
func (r *raft) countVote(m *pb.Message) {
	switch r.poll(m.From, !m.Reject) {
	case quorum.VoteWon:
		if r.role == StatePreCandidate {
			r.campaign(campaignElection)
			return
		}
		r.becomeLeader()
		r.broadcastAppend()
	case quorum.VoteLost:
		// A pre-candidate asked about the next term; it goes back to its own.
		r.becomeFollower(r.Term, None)
	}
}
