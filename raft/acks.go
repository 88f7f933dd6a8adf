// Replication, the answering side: what the leader learns from its peers.
//
//	§5.3 · diss. §3.5
//
// Start at handleAppendResp.

package raft

import (
	pb "example.com/raftexample/raft/raftpb"
	"example.com/raftexample/raft/tracker"
)

// handleAppendResp moves nextIndex and matchIndex as Figure 2 says, and sends
// what the answer makes possible.
func (r *raft) handleAppendResp(p peer, m *pb.Message) {
	p.pr.RecentActive = true
	if m.Reject {
		r.backUp(p, m)
		return
	}
	// An answer that brings no news can still show that a peer we probe is where
	// we thought: after lost messages, when it has all we sent before.
	probed := p.pr.State == tracker.StateProbe && p.pr.Match == m.Index
	if !p.pr.MaybeUpdate(m.Index) && !probed {
		return
	}

	switch p.pr.State {
	case tracker.StateProbe:
		p.pr.BecomeReplicate()
	case tracker.StateSnapshot:
		// Whichever snapshot brought it there: our log continues from where it is.
		if p.pr.Match+1 >= r.log.firstIndex() {
			p.pr.BecomeReplicate()
		}
	case tracker.StateReplicate:
		p.pr.Inflights.FreeLE(m.Index)
	}
	r.afterMatch(p)
}

// afterMatch does what follows from a peer's (or our own) log having grown.
func (r *raft) afterMatch(p peer) {
	// An answer about what is committed already makes no quorum, so none is counted: 5 %
	// of a proposal. Once we are no voter it may: of the others nobody has counted yet.
	committed := (p.pr.Match > r.log.committed || !r.isVoter(r.id)) && r.maybeCommit()
	if committed {
		r.announceCommit()
	}
	if p.id == r.id {
		return
	}
	if !committed && p.pr.CanBumpCommit(r.log.committed) {
		r.maybeSendAppend(p, true)
	}
	for r.mayPipeline(p) && r.maybeSendAppend(p, false) { // until flow control or our log ends it
	}
	if p.id == r.leadTransferee && p.pr.Match == r.log.lastIndex() {
		r.sendTimeoutNow(p.id)
	}
}

// backUp moves p.Next towards where the logs agree. Instead of one entry at a
// time, as in Figure 2, it skips what the answer rules out: the follower named
// the last place at which its log could agree with the term we asked about, and
// we skip from there to the last place at which ours could agree with that. So
// there is at most one probe per term that differs (§5.3, end).
func (r *raft) backUp(p peer, m *pb.Message) {
	agree := m.RejectHint
	if m.LogTerm > 0 {
		agree = r.log.lastAtOrBelow(entryID{term: m.LogTerm, index: m.RejectHint}).index
	}
	r.logger.Debugf("node %x: %x refused the append after %d; trying %d", r.id, p.id, m.Index, agree)
	if !p.pr.MaybeDecrTo(m.Index, agree) {
		return // an old answer
	}
	if p.pr.State == tracker.StateReplicate {
		p.pr.BecomeProbe()
	}
	r.maybeSendAppend(p, true)
}

// handleHeartbeatResp resumes a peer that was silent, and counts its word for
// the reads that wait.
func (r *raft) handleHeartbeatResp(p peer, m *pb.Message) {
	p.pr.RecentActive = true
	p.pr.MsgAppFlowPaused = false
	if p.pr.Match < r.log.lastIndex() || p.pr.State == tracker.StateProbe {
		r.maybeSendAppend(p, true)
	}
	r.confirmReads(m.From, m.Context) // read.go
}

// handleUnreachable stops sending ahead to a peer that messages get lost to.
func (r *raft) handleUnreachable(p peer) {
	if p.pr.State == tracker.StateReplicate {
		p.pr.BecomeProbe()
	}
}

// windowFull reports whether p has as many appends under way as it may.
func windowFull(p peer) bool {
	return p.pr.State == tracker.StateReplicate && p.pr.Inflights.Full()
}
