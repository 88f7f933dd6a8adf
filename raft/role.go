// Roles: the four a node can have, and the only functions that change them.
//
//	Figure 4, §5.1, §5.2 · diss. Figure 3.3, §9.6 (pre-candidate)
//
//	           times out          quorum would vote        quorum votes
//	follower ───────────→ pre-candidate ───────────→ candidate ───────────→ leader
//	   ↑                       │                         │                     │
//	   └───────────────────────┴── a leader, a higher ───┴─── a higher term ───┘
//	                               term, or a lost vote
//
// Without Config.PreVote the first arrow leads to candidate at once.

package raft

import (
	"fmt"

	"example.com/raftexample/raft/tracker"
)

// StateType is a node's role.
type StateType uint64

// The roles of a node.
const (
	StateFollower     StateType = iota // answers leaders and candidates
	StateCandidate                     // asks for votes in a new term
	StateLeader                        // appends to everybody's log
	StatePreCandidate                  // asks whether it could win, in its old term
)

var stateNames = [...]string{"StateFollower", "StateCandidate", "StateLeader", "StatePreCandidate"}

// String returns the constant's name.
func (st StateType) String() string {
	if st < StateType(len(stateNames)) {
		return stateNames[st]
	}
	return fmt.Sprintf("StateType(%d)", uint64(st))
}

// MarshalJSON returns the quoted name.
func (st StateType) MarshalJSON() ([]byte, error) { return []byte(`"` + st.String() + `"`), nil }

// becomeFollower enters term as a follower of lead, which may be None.
func (r *raft) becomeFollower(term, lead uint64) {
	r.reset(term)
	r.role = StateFollower
	r.lead = lead
	r.logger.Infof("node %x became follower of %s in term %d", r.id, describeTarget(lead), r.Term)
}

// becomePreCandidate prepares a poll. Term and vote stay as they are: if the
// poll is lost, nobody has been disturbed (diss. §9.6).
func (r *raft) becomePreCandidate() {
	r.mustNotBe(StateLeader, StatePreCandidate)
	r.trk.ResetVotes()
	r.role = StatePreCandidate
	r.lead = None
	r.logger.Infof("node %x became pre-candidate in term %d", r.id, r.Term)
}

// becomeCandidate enters the next term and votes for itself there. The vote
// counts once it is durable: campaign sends it through the outbox.
func (r *raft) becomeCandidate() {
	r.mustNotBe(StateLeader, StateCandidate)
	r.reset(r.Term + 1)
	r.Vote = r.id
	r.role = StateCandidate
	r.logger.Infof("node %x became candidate in term %d", r.id, r.Term)
}

// becomeLeader takes over after a won election, and appends the empty entry that
// lets entries of earlier terms be committed (§5.4.2, §8).
func (r *raft) becomeLeader() {
	r.mustNotBe(StateFollower, StateLeader)
	r.reset(r.Term)
	r.lead = r.id
	r.role = StateLeader
	r.self.BecomeReplicate()
	r.self.RecentActive = true

	// Any entry that is not applied yet may change the membership, and we have not
	// looked: no further change before all of them are applied.
	r.pendingConfIndex = r.log.lastIndex()

	r.appendEntries(noEntry[:])
	r.logger.Infof("node %x became leader in term %d", r.id, r.Term)
}

// reset is what all changes of role but the one to pre-candidate begin with.
func (r *raft) reset(term uint64) {
	if r.Term != term {
		r.Term = term
		r.Vote = None
	}
	r.lead = None
	r.leaderState = leaderState{}
	r.resetClocks()

	// Volatile state on leaders (Figure 2): nextIndex one past our log, matchIndex
	// unknown. What a follower keeps here means nothing.
	r.trk.ResetVotes()
	for _, p := range r.peers {
		*p.pr = tracker.Progress{
			Next:      r.log.lastIndex() + 1,
			Inflights: tracker.NewInflights(r.maxInflight, r.maxInflightBytes),
			IsLearner: p.pr.IsLearner,
		}
	}
	if r.self != nil {
		r.self.Match = r.log.lastIndex()
	}
}

// mustNotBe asserts that a change of role is one of Figure 4's: no arrow there leads
// from the one role to the other.
func (r *raft) mustNotBe(from, to StateType) {
	if r.role == from {
		panic(fmt.Sprintf("raft: node %x went from %v to %v in term %d", r.id, from, to, r.Term))
	}
}
