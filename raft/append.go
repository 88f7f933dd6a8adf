// Followers' logs: the consistency check and what comes of it.
//
//	§5.3, Figure 2 "AppendEntries RPC" · diss. §3.5
//
// Start at handleAppend.

package raft

import pb "example.com/raftexample/raft/raftpb"

// handleAppend answers MsgApp. The answer waits in the outbox until the entries
// are durable: it is what the leader counts.
func (r *raft) handleAppend(m *pb.Message) {
	if m.Index < r.log.committed {
		// We hold all of this for certain; say how far, so that the leader skips ahead.
		r.send(pb.Message{To: m.From, Type: pb.MsgAppResp, Index: r.log.committed})
		return
	}

	slice := sliceOf(m)
	if slice.hasGap() {
		r.logger.Warningf("node %x ignored entries from %x that do not follow %v", r.id, m.From, slice.prev)
		return
	}
	if !r.log.maybeAppend(slice) {
		r.refuseAppend(m)
		return
	}
	// "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of
	// last new entry)": beyond that our log is not known to be the leader's.
	r.log.commitTo(min(m.Commit, slice.lastIndex()))
	r.send(pb.Message{To: m.From, Type: pb.MsgAppResp, Index: slice.lastIndex()})
}

// refuseAppend answers an append whose previous entry we do not have, with a
// hint: the last of our entries that can be in the leader's log at that place,
// given that terms in a log never fall.
func (r *raft) refuseAppend(m *pb.Message) {
	hint := r.log.lastAtOrBelow(entryID{term: m.LogTerm, index: min(m.Index, r.log.lastIndex())})
	r.logger.Debugf("node %x refused entries after %d/%d from %x: it has %v", r.id, m.LogTerm, m.Index, m.From, hint)
	r.send(pb.Message{
		To: m.From, Type: pb.MsgAppResp, Index: m.Index,
		Reject: true, RejectHint: hint.index, LogTerm: hint.term,
	})
}

// handleHeartbeat answers MsgHeartbeat. The answer promises nothing, so it need
// not wait for the disk.
func (r *raft) handleHeartbeat(m *pb.Message) {
	r.log.commitTo(m.Commit)
	r.send(pb.Message{To: m.From, Type: pb.MsgHeartbeatResp, Context: m.Context})
}
