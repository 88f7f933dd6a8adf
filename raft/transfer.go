// Leadership transfer: a leader steps aside for a chosen follower.
//
//	diss. §3.10
//
// Start at handleTransfer. The leader takes no proposals meanwhile, brings the
// target's log up to its own, and tells it to campaign at once.

package raft

import pb "example.com/raftexample/raft/raftpb"

// handleTransfer starts a transfer to p, in place of any other.
func (r *raft) handleTransfer(p peer) {
	switch {
	case p.pr.IsLearner:
		r.logger.Infof("node %x does not hand over to %x: it is a learner", r.id, p.id)
		return
	case p.id == r.leadTransferee:
		return // under way
	}
	r.abortTransfer()
	if p.id == r.id {
		return
	}

	r.electionElapsed = 0 // it has an election timeout from now
	r.leadTransferee = p.id
	r.logger.Infof("node %x hands leadership over to %x in term %d", r.id, p.id, r.Term)
	if p.pr.Match == r.log.lastIndex() {
		r.sendTimeoutNow(p.id)
	} else {
		r.maybeSendAppend(p, true) // handleAppendResp goes on from here
	}
}

// sendTimeoutNow tells a node to campaign without waiting for its timeout.
func (r *raft) sendTimeoutNow(to uint64) {
	r.send(pb.Message{To: to, Type: pb.MsgTimeoutNow})
}

// abortTransfer lets proposals in again. A target that campaigns all the same
// does no harm: it has to win like anybody.
func (r *raft) abortTransfer() { r.leadTransferee = None }
