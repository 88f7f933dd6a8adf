// The commit rule, and nothing else.
//
//	§5.3, §5.4.2, Figure 8 · diss. §3.6.2

package raft

// maybeCommit moves the commit index to the newest entry a quorum holds, and
// reports whether it moved.
//
// Only an entry of our own term may be counted. Figure 8: an entry of term 2
// can sit on a majority and still be lost, because a server whose last entry
// is of term 3 has the newer log, can win, and puts its own entry there. Once
// one entry of our term is committed, everything before it is safe too.
func (r *raft) maybeCommit() bool {
	index := r.trk.Committed()
	if index <= r.log.committed {
		return false
	}
	if term, err := r.log.term(index); err != nil || term != r.Term {
		return false
	}
	r.log.commitTo(index)
	return true
}

// announceCommit is what follows when a leader's commit index has moved: reads
// that waited for the first commit of the term go on, and everybody is told.
func (r *raft) announceCommit() {
	r.resumeReads() // read.go
	r.broadcastAppend()
}

// committedInTerm reports whether an entry of this leader's own term is
// committed. Before that it cannot know how far its predecessors got.
func (r *raft) committedInTerm() bool {
	term, err := r.log.term(r.log.committed)
	return err == nil && term == r.Term
}
