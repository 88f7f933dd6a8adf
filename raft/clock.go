// Clock: what the passing of time does. Time comes in ticks; their length is
// the user's business.
//
//	§5.2, §5.6 (timeouts) · diss. §3.4, §3.9, §6.2 (check-quorum)
//
// Start at tick.

package raft

import pb "example.com/raftexample/raft/raftpb"

// tick lets one tick pass. What it causes goes through Step like all else, so that
// a trace of messages tells the whole story.
func (r *raft) tick() {
	if r.role == StateLeader {
		r.tickLeader()
	} else {
		r.tickElection()
	}
}

// tickElection waits for a leader, and campaigns when none is heard of in time.
func (r *raft) tickElection() {
	r.electionElapsed++
	if r.electionElapsed >= r.randomizedElection && r.promotable() {
		r.electionElapsed = 0
		r.stepOrLog(pb.Message{Type: pb.MsgHup, From: r.id})
	}
}

// tickLeader sends heartbeats, and once per election timeout looks back at
// whether a quorum was there, and whether a transfer of leadership got stuck.
func (r *raft) tickLeader() {
	r.heartbeatElapsed++
	r.electionElapsed++

	if r.electionElapsed >= r.electionTimeout {
		r.electionElapsed = 0
		if r.checkQuorum {
			r.stepOrLog(pb.Message{Type: pb.MsgCheckQuorum, From: r.id})
		}
		if r.role != StateLeader {
			return
		}
		r.abortTransfer() // diss. §3.10: it has had an election timeout
	}

	if r.heartbeatElapsed >= r.heartbeatTimeout {
		r.heartbeatElapsed = 0
		r.stepOrLog(pb.Message{Type: pb.MsgBeat, From: r.id})
	}
}

// resetClocks starts both waits anew. The election timeout is drawn at random,
// so that split votes are rare (§5.2).
func (r *raft) resetClocks() {
	r.electionElapsed = 0
	r.heartbeatElapsed = 0
	r.randomizedElection = r.electionTimeout + r.rand.IntN(r.electionTimeout)
}

// stepDownWithoutQuorum makes a leader that has not heard from a quorum for an
// election timeout a follower (diss. §6.2): its clients should look elsewhere.
func (r *raft) stepDownWithoutQuorum() {
	active := r.trk.QuorumActive()
	for _, p := range r.peers {
		if p.id != r.id {
			p.pr.RecentActive = false // until it is heard of in the next timeout
		}
	}
	if !active {
		r.logger.Warningf("node %x steps down in term %d: no quorum was heard of", r.id, r.Term)
		r.becomeFollower(r.Term, None)
	}
}
