// Replication, the sending side: appends and heartbeats from the leader.
//
//	§5.3 · diss. §3.5, §10.2.2 (pipelining)
//
// Start at maybeSendAppend. tracker.Progress says what each peer is ready for;
// acks.go is the other half.

package raft

import pb "example.com/raftexample/raft/raftpb"

// broadcastAppend sends everybody the entries they lack, or just the news of
// our commit index.
func (r *raft) broadcastAppend() {
	if r.gathers {
		r.gathered.due = true
		return
	}
	for _, p := range r.peers {
		if p.id != r.id {
			r.maybeSendAppend(p, true)
		}
	}
}

// maybeSendAppend sends p the entries from its Next, as many as fit into one
// message, and reports whether it sent anything. Without entries to send it
// sends nothing unless evenIfEmpty: an empty append still tells the commit
// index, and asks the follower where it is.
func (r *raft) maybeSendAppend(p peer, evenIfEmpty bool) bool {
	if p.pr.IsPaused() {
		return false
	}

	prev := entryID{index: p.pr.Next - 1}
	var err error
	if prev.term, err = r.log.term(prev.index); err != nil {
		return r.maybeSendSnapshot(p) // the log does not reach back that far
	}

	// A full window sends no entries, but still an empty message: if what is on its
	// way was lost, the answer to that one will show it.
	var entries []pb.Entry
	if !windowFull(p) {
		if entries, err = r.log.entries(p.pr.Next, r.maxMsgSize); err != nil {
			return r.maybeSendSnapshot(p)
		}
	}
	if len(entries) == 0 && !evenIfEmpty {
		return false
	}

	r.send(pb.Message{
		To: p.id, Type: pb.MsgApp,
		Index: prev.index, LogTerm: prev.term,
		Entries: entries, Commit: r.log.committed,
	})
	p.pr.SentEntries(len(entries), payloadSize(entries))
	p.pr.SentCommit(r.log.committed)
	return true
}

// broadcastHeartbeat tells everybody that we lead. While reads wait for
// confirmation, it asks for that too.
func (r *raft) broadcastHeartbeat() {
	context := r.reads.newestContext()
	for _, p := range r.peers {
		if p.id == r.id {
			continue
		}
		// A heartbeat checks nothing (§5.3's consistency check is for appends), so it
		// may commit only what the peer is known to hold.
		commit := min(p.pr.Match, r.log.committed)
		r.send(pb.Message{To: p.id, Type: pb.MsgHeartbeat, Commit: commit, Context: context})
		p.pr.SentCommit(commit)
	}
}
