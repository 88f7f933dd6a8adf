// Elections: who may lead, and when a node may ask to.
//
//	§5.2, §5.4.1 · diss. §3.4, §3.6.1 (election restriction), §4.2.3 (stickiness), §9.6 (pre-vote)
//
// Start at campaign (asking for votes), then handleVote (giving one).

package raft

import (
	"fmt"

	"example.com/raftexample/raft/quorum"
	pb "example.com/raftexample/raft/raftpb"
)

// CampaignType says what a campaign is for.
type CampaignType string

const (
	campaignPreElection CampaignType = "CampaignPreElection" // a poll; nobody's term changes
	campaignElection    CampaignType = "CampaignElection"    // a real one
	campaignTransfer    CampaignType = "CampaignTransfer"    // a real one that the leader asked for
)

// campaignOnTimeout campaigns because no leader was heard of, or the user said so.
func (r *raft) campaignOnTimeout() {
	if !r.mayCampaign() {
		return
	}
	if r.preVote {
		r.campaign(campaignPreElection)
	} else {
		r.campaign(campaignElection)
	}
}

// campaignOnTransfer campaigns because the leader told us to (diss. §3.10). No
// poll: the leader knows that our log is complete, and is waiting.
func (r *raft) campaignOnTransfer() {
	if r.mayCampaign() {
		r.campaign(campaignTransfer)
	}
}

// mayCampaign reports whether this node could lead if it won.
func (r *raft) mayCampaign() bool {
	switch {
	case r.role == StateLeader:
		return false
	case !r.promotable():
		r.logger.Warningf("node %x cannot lead and does not campaign in term %d", r.id, r.Term)
		return false
	case r.hasConfChange(r.log.applied+1, r.log.committed+1):
		// The configuration we would count votes in is out of date already.
		r.logger.Warningf("node %x has a change of membership to apply before it can campaign in term %d", r.id, r.Term)
		return false
	}
	return true
}

// promotable reports whether this node is a voter with a log to vote on.
func (r *raft) promotable() bool {
	return r.self != nil && !r.self.IsLearner && !r.log.unstable.awaitsSnapshot()
}

// campaign asks every voter for its vote, or in a pre-election, whether it
// would give it.
func (r *raft) campaign(t CampaignType) {
	request, term := pb.MsgVote, r.Term+1
	if t == campaignPreElection {
		request = pb.MsgPreVote
		r.becomePreCandidate()
	} else {
		r.becomeCandidate() // enters term
	}

	var context []byte
	if t == campaignTransfer {
		context = []byte(t) // lets voters forget that they still hear from the old leader
	}
	last := r.log.last
	for _, p := range r.peers {
		switch {
		case !r.isVoter(p.id):
		case p.id == r.id:
			// Our own vote counts like all others: once it is durable, which is why it
			// comes back to us as a message.
			r.send(pb.Message{To: r.id, Term: term, Type: voteReply(request)})
		default:
			r.send(pb.Message{
				To: p.id, Term: term, Type: request,
				Index: last.index, LogTerm: last.term, Context: context,
			})
		}
	}
}

// poll records an answer and says how the election stands.
func (r *raft) poll(from uint64, granted bool) quorum.VoteResult {
	r.trk.RecordVote(from, granted)
	yes, no, result := r.trk.TallyVotes()
	r.logger.Infof("node %x as %v in term %d: %x says %t; %d for it, %d against: %v",
		r.id, r.role, r.Term, from, granted, yes, no, result)
	return result
}

// ignoresCandidate reports whether to drop a vote request of a higher term: we
// have heard from a leader within an election timeout, so whoever campaigns is
// mistaken or was removed (§6, diss. §4.2.3). A leader that asked for the
// election itself says so in the request.
func (r *raft) ignoresCandidate(m *pb.Message) bool {
	if m.Type != pb.MsgVote && m.Type != pb.MsgPreVote {
		return false
	}
	hasLeader := r.checkQuorum && r.lead != None && r.electionElapsed < r.electionTimeout
	if !hasLeader || string(m.Context) == string(campaignTransfer) {
		return false
	}
	r.logger.Infof("node %x in term %d ignored %v of term %d from %x: its leader %x was heard of %d ticks ago",
		r.id, r.Term, m.Type, m.Term, m.From, r.lead, r.electionElapsed)
	return true
}

// handleVote answers MsgVote and MsgPreVote.
//
// Step has already moved us to m.Term if this is a real vote, so two questions
// are left: is our vote free, and would electing this candidate lose an entry
// that may be committed?
func (r *raft) handleVote(m pb.Message) {
	last := entryID{term: m.LogTerm, index: m.Index}
	if !r.voteIsFree(m) || !r.log.isUpToDate(last) {
		r.logger.Infof("node %x in term %d (vote %x, last entry %v) refused %v of term %d to %x (last entry %v)",
			r.id, r.Term, r.Vote, r.log.last, m.Type, m.Term, m.From, last)
		r.send(pb.Message{To: m.From, Term: r.Term, Type: voteReply(m.Type), Reject: true})
		return
	}

	r.logger.Infof("node %x in term %d (last entry %v) granted %v of term %d to %x (last entry %v)",
		r.id, r.Term, r.log.last, m.Type, m.Term, m.From, last)
	if m.Type == pb.MsgVote {
		r.Vote = m.From
		r.electionElapsed = 0 // a granted vote counts as hearing from a leader
	}
	// Answer in the term we were asked about: a pre-vote is about a term we have
	// not entered, and our own would look stale. send holds this for the disk.
	r.send(pb.Message{To: m.From, Term: m.Term, Type: voteReply(m.Type)})
}

// voteIsFree reports whether m.From can have our vote in m.Term. A learner may
// vote too: whoever asks knows a configuration in which we are a voter.
func (r *raft) voteIsFree(m pb.Message) bool {
	switch {
	case r.Vote == m.From: // asked again: our first answer may have been lost
		return true
	case m.Type == pb.MsgPreVote && m.Term > r.Term: // a poll; it spends nothing
		return true
	default:
		return r.Vote == None && r.lead == None
	}
}

// voteReply is the type of message that answers a vote request.
func voteReply(request pb.MessageType) pb.MessageType {
	switch request {
	case pb.MsgVote:
		return pb.MsgVoteResp
	case pb.MsgPreVote:
		return pb.MsgPreVoteResp
	default:
		panic(fmt.Sprintf("raft: %v is not a vote request", request))
	}
}
