// The end: all trouble stops, and the group has to come to an agreement.
//
//	§5.4.3, §6
//
// Start at heal. stranded tells the ends that the library cannot prevent.

package rafttest

import (
	"fmt"
	"slices"
	"strings"

	"example.com/raftexample/raft"
	pb "example.com/raftexample/raft/raftpb"
)

// heal ends all trouble. From now on the group has to come to an agreement in
// reasonable time: one leader, everything committed and applied everywhere, no
// joint configuration left.
func (s *sim) heal() {
	s.note("all heals")
	s.net.heal()
	s.healed = true
	s.plan.drop, s.plan.duplicate, s.plan.faults = 0, 0, 0
	for _, n := range s.nodes {
		if !n.up {
			s.start(n)
		}
	}
	const rounds = 600
	for round := range rounds {
		for range 200 {
			if !s.settleOnce() {
				break
			}
		}
		if s.agreed() {
			return
		}
		if round%25 == 24 {
			s.nudge(round%100 == 99)
		}
		s.note("round %d: all tick", round)
		for _, n := range s.nodes {
			if n.up {
				s.on(n, n.tick)
			}
			// Once in a round: a newcomer that is in no snapshot yet ignores the old one,
			// and would be sent it again and again.
			for n.up && len(n.reports) > 0 {
				s.report(n)
			}
		}
	}
	if s.stranded() {
		s.result.Stranded++
		return
	}
	var state []string
	for _, n := range s.nodes {
		if n.up {
			state = append(state, fmt.Sprintf("node %d applied %d: %v", n.id, n.applied, n.raw.Status()))
		}
	}
	s.fail("no agreement %d ticks after all was healed:\n%s", rounds, strings.Join(state, "\n"))
}

// stranded reports whether the group has met one of the ends that the library
// cannot prevent.
func (s *sim) stranded() bool { return s.removedLeaderIsNeeded() || s.termBeyondReach() }

// removedLeaderIsNeeded is the first of them. A change of membership takes effect when
// it is applied. So a leader that has applied its own removal, or demotion, may not
// campaign any more, while those who have not still need its vote; and if its log has
// entries beyond what they have, it will not give that. So nobody leads. Only a node
// that knows the newer configuration could help, and that is the one. (In the paper a
// configuration counts as soon as it is in the log, and the others would go on without it.)
func (s *sim) removedLeaderIsNeeded() bool {
	if s.leader() != nil {
		return false
	}
	for _, n := range s.nodes {
		if !n.up || n.applied == 0 || slices.Contains(n.confState.Voters, n.id) {
			continue
		}
		for _, other := range s.nodes {
			cs := &other.confState
			if other.up && other.applied < n.applied && (slices.Contains(cs.Voters, n.id) || slices.Contains(cs.VotersOutgoing, n.id)) {
				return true
			}
		}
	}
	return false
}

// termBeyondReach is the second, which pre-vote or check-quorum rule out. A newcomer
// has voted for a candidate that crashed, and forgot, before its own vote was on
// disk. What the leader says of a lower term the newcomer does not answer without
// either option, and it may not campaign to make its term known.
func (s *sim) termBeyondReach() bool {
	if s.plan.preVote || s.plan.checkQuorum {
		return false
	}
	leader := s.leader()
	for _, n := range s.nodes {
		if n.up && leader != nil && n.raw.BasicStatus().Term > leader.raw.BasicStatus().Term && !slices.Contains(n.confState.Voters, n.id) {
			return true
		}
	}
	return false
}

// settleOnce lets every node do what it has to do, and delivers what was sent.
// It reports whether anything happened.
func (s *sim) settleOnce() bool {
	did := false
	for _, n := range s.nodes {
		for n.up && s.busy(n) {
			did = true
			s.proceed(n)
		}
	}
	for len(s.net.flying) > 0 {
		did = true
		s.deliverAt(0)
	}
	return did
}

// nudge does what an operator does when a healthy group does not get on: it
// proposes something, takes a snapshot, leaves a joint configuration that is left
// by hand, and now and then restarts a leader that has no vote.
func (s *sim) nudge(restart bool) {
	for _, n := range s.nodes {
		if !n.up {
			continue
		}
		st := n.raw.Status()
		if st.RaftState != raft.StateLeader {
			continue
		}
		// A member that was added after the last snapshot cannot be in it, and ignores
		// it: the user has to take a newer one.
		s.snapshot(n)
		if restart && !slices.Contains(n.confState.Voters, n.id) {
			// It leads until the user ends that, if it was not told to step down. It must
			// still vote: the others may not know yet that its removal is committed.
			s.crash(n)
			s.start(n)
			continue
		}
		if len(n.confState.VotersOutgoing) > 0 && !n.confState.AutoLeave && (!s.plan.trusting || s.mayChange(n)) {
			s.note("%d is asked to leave the joint configuration", n.id)
			s.on(n, func() { s.ignore(n.raw.ProposeConfChange(pb.ConfChangeV2{})) })
		}
		s.propose(n)
	}
}

// agreed reports whether the members of the group are of one mind.
func (s *sim) agreed() bool {
	leader := s.leader()
	if leader == nil {
		return false
	}
	st := leader.raw.Status()
	cs := leader.confState
	if leader.applied < s.judge.committedTo || len(cs.VotersOutgoing) > 0 || st.Applied < st.Commit ||
		!slices.Contains(cs.Voters, leader.id) {
		return false
	}
	for _, n := range s.nodes {
		if n.up && (slices.Contains(cs.Voters, n.id) || slices.Contains(cs.Learners, n.id)) && n.applied != leader.applied {
			return false
		}
	}
	return true
}

// leader returns the node that leads in the latest term, or nil.
func (s *sim) leader() *node {
	var leader *node
	for _, n := range s.nodes {
		if n.up && n.raw.BasicStatus().RaftState == raft.StateLeader {
			if leader == nil || n.raw.BasicStatus().Term > leader.raw.BasicStatus().Term {
				leader = n
			}
		}
	}
	return leader
}
