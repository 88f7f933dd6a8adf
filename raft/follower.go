// Followers: what a follower does with each message.
//
//	§5.2, Figure 2 "Followers" · diss. §3.10 (transfer), §6.4 (reads)
//
// Start at stepFollower, the index; append.go holds what matters most.

package raft

import (
	"slices"

	pb "example.com/raftexample/raft/raftpb"
)

// stepFollower is everything a follower does with a message. Step has checked
// the term.
func (r *raft) stepFollower(m pb.Message) error {
	switch m.Type {
	case pb.MsgProp:
		return r.forwardProposal(m)
	case pb.MsgApp:
		r.heardFromLeader(m.From)
		r.handleAppend(&m) // append.go
	case pb.MsgHeartbeat:
		r.heardFromLeader(m.From)
		r.handleHeartbeat(&m) // append.go
	case pb.MsgSnap:
		r.heardFromLeader(m.From)
		r.handleSnapshot(&m) // snapshot.go
	case pb.MsgTimeoutNow:
		r.campaignOnTransfer() // election.go
	case pb.MsgTransferLeader, pb.MsgReadIndex:
		r.forwardToLeader(m)
	case pb.MsgReadIndexResp:
		r.handleReadIndexResp(&m) // read.go
	case pb.MsgForgetLeader:
		r.forgetLeader()
	}
	return nil // the rest is addressed to a role we no longer have
}

// heardFromLeader starts the wait for the next word from the leader (§5.2).
func (r *raft) heardFromLeader(lead uint64) {
	r.electionElapsed = 0
	r.lead = lead
}

// forwardProposal passes a proposal to the leader. It may get lost on the way,
// and nobody would tell: the proposer has to watch what is committed.
func (r *raft) forwardProposal(m pb.Message) error {
	if r.lead == None || r.disableProposalForwarding {
		return ErrProposalDropped
	}
	r.forwardToLeader(m)
	return nil
}

// forwardToLeader passes on a request. Its entries are the sender's to use again.
func (r *raft) forwardToLeader(m pb.Message) {
	if r.lead == None {
		r.logger.Debugf("node %x knows no leader in term %d: dropped %v", r.id, r.Term, m.Type)
		return
	}
	m.To = r.lead
	m.Entries = slices.Clone(m.Entries)
	r.send(m)
}

// forgetLeader lets this node vote again before its leader's lease is over. A
// lease that reads rely on must not be given up that way.
func (r *raft) forgetLeader() {
	if r.readOnlyOption == ReadOnlyLeaseBased {
		r.logger.Error("leader not forgotten: reads rely on its lease")
		return
	}
	if r.lead != None {
		r.logger.Infof("node %x forgets its leader %x in term %d", r.id, r.lead, r.Term)
		r.lead = None
	}
}
