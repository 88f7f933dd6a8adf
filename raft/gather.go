// Gathering: what a Node does for throughput, and a RawNode leaves to its user.
// Skip this on a first reading.
//
//	§5.3 · diss. §10.2.2 (batching and pipelining)
//
// RawNode sends each proposal and each news of a commit at once: its user steps
// what has come in and takes one Ready. A Node's user cannot: proposals come from
// many goroutines, some while the last Ready is still at the disk. One append for
// each would cost every member a message, an answer and a wake-up per proposal.
// So a Node lets them gather until its user is ready for the next Ready.
//
// Start at sendGathered.

package raft

// gathered says what a leader has yet to send.
type gathered struct {
	due  bool   // there is news: our commit index has moved, or we have just begun
	from uint64 // entries from here on have not been sent to anybody
}

// sendGathered sends everybody what has gathered: to each as much as fits, and
// with it the news of our commit index.
//
// New entries alone wait while those sent before are not committed, and go with
// the news that they are. So all that arrives during one round of the cluster is
// the next round's batch: fewer rounds, and under load no more waiting, as what
// is sent sooner would only queue up at the disks. Unless overdue: then a round
// takes longer than a tick, and pipelining is worth its price again.
func (r *raft) sendGathered(overdue bool) {
	if r.role != StateLeader {
		return
	}
	waiting := r.log.lastIndex() >= r.gathered.from
	if !r.gathered.due && !(waiting && (overdue || !r.roundUnderWay())) {
		return
	}
	r.gathered = gathered{from: r.log.lastIndex() + 1}
	for _, p := range r.peers {
		if p.id == r.id {
			continue
		}
		for sent := r.maybeSendAppend(p, p.pr.CanBumpCommit(r.log.committed)); sent; {
			sent = r.maybeSendAppend(p, false)
		}
	}
}

// roundUnderWay reports whether entries were sent that are not committed yet.
func (r *raft) roundUnderWay() bool { return r.log.committed+1 < r.gathered.from }

// mayPipeline reports whether p may be sent its next entries now. A peer that
// lags may: only entries that nobody was sent yet gather.
func (r *raft) mayPipeline(p peer) bool { return !r.gathers || p.pr.Next < r.gathered.from }

// onlyGathers reports whether a Ready would hold nothing but entries that wait
// for the round under way: then it can wait, too, and the disk has one batch to
// write instead of two.
func (rn *RawNode) onlyGathers() bool {
	r := rn.raft
	return r.role == StateLeader && r.roundUnderWay() &&
		r.log.unstable.inProgress >= r.gathered.from &&
		len(r.outbox.now) == 0 && !r.outbox.answersOthers(r.id) &&
		!r.log.hasNextCommitted(!rn.async) &&
		len(r.readStates) == 0 &&
		r.hardState() == rn.prevHardState &&
		r.softState() == rn.prevSoftState &&
		r.log.unstable.nextSnapshot() == nil
}
